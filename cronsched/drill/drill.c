/* The course of a drill, see drill.h. */
#include "cronsched/drill/drill.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_MS  250
#define FRESH_START_MS 3000  /* an engine fires when its last start is not older */
#define SUCCESSOR_MS   30000 /* beyond the session timeout */

static void on_signal(int sig)
{
    (void)sig;
    drill_interrupted = 1;
}

/* ---- looking ---- */

/* Started by the leader after the fault. What was handed over has the epoch that prepared it. */
static bool by_successor(const struct drill *d, const struct drill_line *line)
{
    return line->epoch > d->before.epoch || (d->leading_ms && line->at_ms >= d->leading_ms);
}

/* The wall clock of the newest start of an engine; 0 when there is none. */
static int64_t newest_start(const struct drill *d, size_t engine, bool successor)
{
    for (size_t i = d->ledger.count; i > 0; i--) {
        const struct drill_line *line = &d->ledger.lines[i - 1];

        if (!line->end && (!successor || by_successor(d, line)) &&
            drill_canary_engine(d, line->canary) == engine)
            return line->at_ms;
    }
    return 0;
}

static bool fires_since(const struct drill *d, int64_t since_ms, bool successor)
{
    for (size_t e = 0; e < d->engine_count; e++)
        if (newest_start(d, e, successor) < since_ms)
            return false;
    return true;
}

static bool successor_fires(const struct drill *d)
{
    for (size_t e = 0; e < d->engine_count; e++)
        if (newest_start(d, e, true) > 0)
            return true;
    return false;
}

static int interrupted(struct error *error)
{
    return drill_interrupted ? error_set(error, ERR_CANCELLED, "interrupted") : 0;
}

/* A leader, everybody there, and every engine fires. */
static int wait_steady(struct drill *d, struct error *error)
{
    int64_t until_ms = drill_now_ms() + DRILL_STEADY_MS, look_ms = 0;
    struct drill_view view = {0};
    struct error why = {0};
    const char *fires;

    while (drill_now_ms() < until_ms) {
        int64_t now_ms = drill_now_ms();
        int r = interrupted(error);

        if (r == 0)
            r = drill_ledger_read(&d->ledger, error);
        if (r < 0)
            return r;
        if (now_ms >= look_ms) {
            drill_look(d, NULL, &view, &why);
            look_ms = now_ms + LOOK_EVERY_MS;
        }
        if (view.epoch > 0 && view.replicas >= drill_lab_replicas(&d->lab) &&
            fires_since(d, now_ms - FRESH_START_MS, false)) {
            d->before = view;
            d->leading_ms = 0;
            return 0;
        }
        drill_sleep_until(now_ms + DRILL_POLL_MS);
    }
    fires = fires_since(d, drill_now_ms() - FRESH_START_MS, false) ? "every" : "not every";
    return error_set(
        error, ERR_TIMEOUT,
        "not steady within %d s: leader %s, %zu replicas, %s engine has fired in the last seconds",
        DRILL_STEADY_MS / 1000, view.leader[0] ? view.leader : "none", view.replicas, fires);
}

/* ---- one repeat ---- */

static void wait_point(struct drill *d)
{
    int64_t next_ms = (drill_now_ms() / 1000 + 2) * 1000;
    int span = d->point->to_ms - d->point->from_ms + 1;

    drill_sleep_until(next_ms + d->point->from_ms + (int64_t)drill_random(d, (uint64_t)span));
}

/* Until the successor has fired once, or for so many sessions. */
static int hold(struct drill *d, int64_t fault_ms, struct error *error)
{
    int64_t until_ms = fault_ms + d->fault->hold_sessions * d->lab.session_timeout_ms;
    bool until_fired = d->fault->heal && d->fault->hold_sessions == 0;

    if (until_fired)
        until_ms = fault_ms + d->lab.session_timeout_ms + SUCCESSOR_MS;
    while (drill_now_ms() < until_ms && !drill_interrupted) {
        int r = drill_ledger_read(&d->ledger, error);

        if (r < 0 || (until_fired && successor_fires(d)))
            return r;
        drill_sleep_until(drill_now_ms() + DRILL_POLL_MS);
    }
    return 0;
}

static void look_for_successor(struct drill *d)
{
    struct drill_view view;
    struct error unheard;

    if (!d->leading_ms && drill_look(d, NULL, &view, &unheard) == 0 && view.epoch > d->before.epoch)
        d->leading_ms = drill_now_ms();
}

/* Every engine fires, under the successor where there must be one. */
static int wait_again(struct drill *d, int64_t since_ms, struct error *error)
{
    int64_t until_ms = drill_now_ms() + DRILL_STEADY_MS;

    while (drill_now_ms() < until_ms) {
        int r = interrupted(error);

        if (r == 0)
            r = drill_ledger_read(&d->ledger, error);
        if (d->fault->successor)
            look_for_successor(d);
        if (r < 0 || fires_since(d, since_ms, d->fault->successor))
            return r;
        drill_sleep_until(drill_now_ms() + DRILL_POLL_MS);
    }
    return error_set(error, ERR_TIMEOUT, "%s %d s after the fault was healed",
                     d->fault->successor ? "not every engine fires under a new leader"
                                         : "not every engine fires",
                     DRILL_STEADY_MS / 1000);
}

static int check_leader(const struct drill *d, struct error *error)
{
    if (!d->leader_named || strcmp(d->leader_named, d->before.leader) == 0)
        return 0;
    return error_set(error, ERR_CONFLICT, "%s leads, not %s", d->before.leader, d->leader_named);
}

static int inject(struct drill *d, struct drill_repeat *repeat, struct error *error)
{
    int r = 0;

    if (d->fault->prepare) {
        r = d->fault->prepare(d, error);
        if (r == 0)
            r = wait_steady(d, error);
    }
    if (r == 0)
        r = check_leader(d, error);
    if (r < 0)
        return r;
    repeat->before = d->before;
    wait_point(d);
    repeat->fault_ms = drill_now_ms();
    r = d->fault->inject(d, error);
    repeat->backup_ms = d->backup_ms;
    return r == 0 ? hold(d, repeat->fault_ms, error) : r;
}

static int one_repeat(struct drill *d, struct error *error)
{
    struct drill_repeat *repeat = &d->done[d->done_count];
    struct error healing = {0};
    int r = wait_steady(d, error);

    if (r < 0)
        return r;
    r = inject(d, repeat, error);
    if (d->fault->heal && d->fault->heal(d, &healing) < 0 && r == 0) {
        *error = healing;
        r = healing.code;
    }
    repeat->healed_ms = drill_now_ms();
    if (r == 0)
        r = wait_again(d, repeat->healed_ms, error);
    if (r == 0)
        r = drill_look(d, NULL, &repeat->after, error);
    if (r == 0)
        r = drill_measure(d, repeat, error);
    if (r == 0 && d->fault->stays)
        d->verdict.led_count += (size_t)(repeat->after.epoch - repeat->before.epoch);
    if (r == 0)
        d->done_count++;
    return r;
}

static void print_progress(const struct drill *d)
{
    const struct drill_repeat *repeat = &d->done[d->done_count - 1];

    fprintf(stderr, "%zu of %ld: %s", d->done_count, d->repeats, repeat->before.leader);
    if (repeat->gap_ms >= 0)
        fprintf(stderr, " -> %s after %" PRId64 " ms", repeat->after.leader, repeat->gap_ms);
    fputc('\n', stderr);
}

static int all_repeats(struct drill *d, struct error *error)
{
    int r = 0;

    while (r == 0 && d->done_count < (size_t)d->repeats) {
        r = one_repeat(d, error);
        if (r == 0)
            print_progress(d);
    }
    return r;
}

/* ---- the whole ---- */

static int with_canaries(struct drill *d, struct error *error)
{
    struct error later = {0};
    int r = drill_canaries_apply(d, error);

    if (r < 0)
        return r;
    r = all_repeats(d, error);
    drill_interrupted = 0; /* a second one while it cleans up is heard again */
    if (r == 0 || d->done_count > 0) {
        int settled = drill_settle(d, r == 0 ? error : &later);

        r = r < 0 ? r : settled;
    }
    if (drill_canaries_delete(d, r == 0 ? error : &later) < 0 && r == 0)
        r = error->code;
    return r;
}

int drill_go(struct drill *d, bool *ret_passed, struct error *error)
{
    struct sigaction act = {.sa_handler = on_signal}; /* without SA_RESTART: sleeping ends */
    int r;

    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    d->done = calloc((size_t)d->repeats, sizeof(*d->done));
    if (!d->done)
        return error_set(error, ERR_NOMEM, "out of memory");
    r = with_canaries(d, error);
    if (r == 0)
        r = drill_evaluate(d, error);
    if (r == 0)
        *ret_passed = drill_passed(&d->verdict);
    return r;
}

void drill_release(struct drill *d)
{
    drill_lab_release(&d->lab);
    drill_ledger_release(&d->ledger);
    json_decref(d->verdict.doubled);
    json_decref(d->verdict.lost);
    json_decref(d->verdict.unaccounted);
    json_decref(d->verdict.skipped);
    json_decref(d->verdict.unprovable);
    free(d->done);
}
