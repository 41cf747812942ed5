/* Fire times that were passed over by a clock that was ahead, and that are still to come by the one that is believed now.
 * The cursor is beyond them and stays there: each is made good when it comes, by a run of its own, as a backfill would.
 *
 * Only history knows them: it is asked for the ranges that were skipped at a later time than it is now, and for the runs
 * that there were (a fire time that has had its run does not have another). Until it has answered, and where it cannot,
 * the job waits for its cursor.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define VOID_TIMES_MAX   10000 /* of one job at a time; then history is asked again */
#define VOID_RANGES_MAX  1000
#define ASKS_MAX         32 /* of history at a time, while all jobs are looked at: it refuses what is too much */
#define LOOKED_AT_A_STEP 1024 /* jobs: most have nothing to come */

struct void_times {
    int64_t *at_s; /* ascending */
    size_t count, done;
    bool more; /* there may be others after them */
};

/* A question to history. */
struct void_ask {
    struct object object;
    struct scheduler *s;
    int64_t epoch, since_ms, until_ms;
    int64_t version; /* of the job's definition */
    json_t *ranges;
    char job[RUN_ID_MAX];
};

void void_times_forget(struct job_state *j)
{
    struct void_times *v = j->live.voided;

    j->live.voided = NULL;
    if (!v)
        return;
    free(v->at_s);
    free(v);
}

int64_t void_times_next_s(const struct job_state *j)
{
    const struct void_times *v = j->live.voided;

    assert(!v || v->done == 0 || v->done == v->count || v->at_s[v->done] > v->at_s[v->done - 1]);
    return v && v->done < v->count ? v->at_s[v->done] : SCHEDULE_NEVER;
}

void void_times_pass(struct scheduler *s, struct job_state *j)
{
    struct void_times *v = j->live.voided;

    assert(v && v->done < v->count);
    if (++v->done == v->count && v->more)
        void_times_look(s, j);
}

/* ---- what history says ---- */

/* Passed over for the sake of time alone; a pause or a deletion would have done so with any clock. */
static bool is_void(const json_t *range, int64_t since_ms)
{
    static const enum run_verdict reasons[] = {VERDICT_COALESCED, VERDICT_MISSED, VERDICT_DEADLINE,
                                               VERDICT_OVERLAP, VERDICT_QUEUE_FULL};
    enum run_verdict reason = run_verdict_of(json_string_value(json_object_get(range, "reason")));
    const char *time = json_string_value(json_object_get(range, "time")),
               *text = json_string_value(json_object_get(range, "text"));
    int64_t decided_ms;

    if (!time || instant_parse(time, &decided_ms, NULL) < 0 || decided_ms <= since_ms ||
        (text && strcmp(text, TEXT_HAD_LOCAL_TIME) == 0))
        return false;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reason == reasons[i])
            return true;
    return false;
}

static bool range_of(const json_t *range, int64_t *ret_from_s, int64_t *ret_to_s)
{
    const char *from = json_string_value(json_object_get(range, "from")),
               *to = json_string_value(json_object_get(range, "to"));
    int64_t from_ms, to_ms;

    if (!from || !to || instant_parse(from, &from_ms, NULL) < 0 || instant_parse(to, &to_ms, NULL) < 0)
        return false;
    *ret_from_s = from_ms / 1000;
    *ret_to_s = to_ms / 1000;
    return true;
}

struct span {
    int64_t from_s, to_s;
};

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return x->from_s < y->from_s ? -1 : x->from_s > y->from_s;
}

/* The ranges that are void, by their begin; they may overlap. Returns their number. */
static size_t read_spans(const struct void_ask *ask, struct span *spans)
{
    size_t count = 0, i;
    json_t *range;

    json_array_foreach(ask->ranges, i, range)
    {
        struct span *span = &spans[count];

        if (is_void(range, ask->since_ms) && range_of(range, &span->from_s, &span->to_s))
            count++;
    }
    assert(count <= json_array_size(ask->ranges));
    if (count)
        qsort(spans, count, sizeof(*spans), by_begin);
    return count;
}

/* What has fired, in the order in which the times are looked at. */
struct fired {
    const json_t *times;
    size_t at;
};

static bool has_fired(struct fired *f, int64_t at_ms)
{
    assert(f->at <= json_array_size(f->times));
    while (f->at < json_array_size(f->times) && json_integer_value(json_array_get(f->times, f->at)) < at_ms)
        f->at++;
    return json_integer_value(json_array_get(f->times, f->at)) == at_ms;
}

/* The times of one range after `last_s`; each of them has fired or is added. False: there is no room for more. */
static bool gather_span(struct void_times *v, const struct schedule *schedule, const struct span *span,
                        struct fired *fired, int64_t last_s)
{
    int64_t at = schedule_next(schedule, span->from_s - 1 > last_s ? span->from_s - 1 : last_s);

    for (; at != SCHEDULE_NEVER && at <= span->to_s; at = schedule_next(schedule, at)) {
        if (has_fired(fired, at * 1000))
            continue;
        if (v->count == VOID_TIMES_MAX)
            return false;
        assert(v->count == 0 || v->at_s[v->count - 1] < at);
        v->at_s[v->count++] = at;
    }
    return true;
}

static void gather(struct scheduler *s, struct job_state *j, const struct void_ask *ask, const json_t *times)
{
    struct span *spans = alloc_zero((json_array_size(ask->ranges) + 1) * sizeof(*spans));
    const struct schedule *schedule = rules_schedule(s, j);
    struct void_times *v = alloc_zero(sizeof(*v));
    size_t count = schedule ? read_spans(ask, spans) : 0;
    int64_t last_s = s->now_ms / 1000, until_s = ask->until_ms / 1000;
    struct fired fired = {.times = times};

    assert(s->leading && j->version == ask->version);
    v->at_s = alloc_zero(VOID_TIMES_MAX * sizeof(*v->at_s));
    v->more = json_array_size(ask->ranges) == VOID_RANGES_MAX;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].to_s > until_s)
            spans[i].to_s = until_s;
        if (!gather_span(v, schedule, &spans[i], &fired, last_s)) {
            v->more = true;
            break;
        }
        last_s = spans[i].to_s > last_s ? spans[i].to_s : last_s;
    }
    free(spans);
    void_times_forget(j);
    j->live.voided = v;
    if (v->count)
        turn_log(s, LOG_NOTE, "fire-times-void", NULL,
                 "%s: %zu%s fire times were passed over by a clock that was ahead; they run when they come",
                 j->name, v->count, v->more ? " and more" : "");
    turn_wake_job(s, j, s->now_ms);
}

/* It is answered: the look at all jobs goes on if it waits for that. */
static void ask_end(struct void_ask *ask)
{
    struct scheduler *s = ask->s;

    json_decref(ask->ranges);
    OBJECT_FREE(struct void_ask, ask);
    assert(s->set_back_asks > 0);
    s->set_back_asks--;
    if (void_times_wants_turn(s)) {
        turn_enter(s);
        reconcile_due(s); /* sets the alarm */
    }
}

/* The job that was asked about, if the answer is still of use. */
static struct job_state *asked_job(const struct void_ask *ask)
{
    struct scheduler *s = ask->s;
    struct job_state *j =
        s->leading && s->epoch == ask->epoch && !s->stopping ? state_job(&s->state, ask->job) : NULL;

    return j && j->version == ask->version ? j : NULL;
}

static void on_fired(void *arg, json_t *result, const struct error *error)
{
    struct void_ask *ask = OBJECT(struct void_ask, arg);
    struct job_state *j = asked_job(ask);

    if (j && result) {
        turn_enter(ask->s);
        gather(ask->s, j, ask, json_object_get(result, "times"));
        reconcile_due(ask->s);
    } else if (j) {
        turn_log(ask->s, LOG_WARN, "fire-times-void", NULL,
                 "%s: %s: it waits until its last fire time is past", j->name, error ? error->text : "");
    }
    json_decref(result);
    ask_end(ask);
}

static void on_skips(void *arg, json_t *result, const struct error *error)
{
    struct void_ask *ask = OBJECT(struct void_ask, arg);
    struct history *history = ask->s->o.history;
    struct history_query query = {
        .kind = HISTORY_FIRED, .job = ask->job, .since_ms = ask->since_ms, .until_ms = ask->until_ms};

    (void)error;
    ask->ranges = result;
    if (asked_job(ask) && json_array_size(result) > 0)
        history->ops->query(history, &query, on_fired, ask);
    else
        ask_end(ask);
}

void void_times_look(struct scheduler *s, struct job_state *j)
{
    struct history *history = s->o.history;
    struct history_query query = {.kind = HISTORY_SKIPS,
                                  .job = j->name,
                                  .since_ms = s->now_ms,
                                  .until_ms = j->cursor_ms,
                                  .limit = VOID_RANGES_MAX};
    struct void_ask *ask;

    assert(s->leading);
    void_times_forget(j);
    if (!history || !history->ops->query || !j->def || j->cursor_ms <= s->now_ms)
        return;
    ask = OBJECT_NEW(struct void_ask);
    ask->s = s;
    ask->epoch = s->epoch;
    ask->version = j->version;
    ask->since_ms = s->now_ms;
    ask->until_ms = j->cursor_ms;
    snprintf(ask->job, sizeof(ask->job), "%s", j->name);
    s->set_back_asks++;
    history->ops->query(history, &query, on_skips, ask);
}

/* ---- the clock was set back ---- */

/* What this leader had put off goes by the clock as it is. */
static void hasten(struct scheduler *s, struct run *r)
{
    struct run_live *live = &r->live;

    assert(s->leading);
    live->not_before_ms = live->stop_again_ms = 0;
    if (live->started_ms > s->now_ms)
        live->started_ms = s->now_ms;
    if (live->recover_by_ms > s->now_ms + RECOVER_WATCH_MS)
        live->recover_by_ms = s->now_ms + RECOVER_WATCH_MS;
    turn_wake_run(s, r, s->now_ms);
}

void void_times_clock_set_back(struct scheduler *s)
{
    assert(s->leading && s->set_back);
    s->set_back = false;
    turn_log(s, LOG_WARN, "clock-set-back", NULL,
             "the clock is behind the journal's last batch, and is believed: what is still to come is fired "
             "again, but "
             "for what has run");
    s->set_back_next = s->state.jobs;
    void_times_step(s);
}

void void_times_step(struct scheduler *s)
{
    for (int left = LOOKED_AT_A_STEP; void_times_wants_turn(s) && left > 0; left--) {
        struct job_state *j = s->set_back_next;

        invariant_job(s, j);
        s->set_back_next = j->by_name.next;
        if (j->cursor_ms > s->now_ms)
            void_times_look(s, j);
        LIST_EACH(link, &j->runs)
        {
            hasten(s, LIST_ITEM(link, struct run, of_job));
        }
        turn_wake_job_later(s, j);
    }
}

bool void_times_wants_turn(const struct scheduler *s)
{
    return s->leading && s->set_back_next && s->set_back_asks < ASKS_MAX;
}
