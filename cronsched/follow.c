/* Happy path of follow_logs: ask for the run, stream attempt by attempt with follow=1, until the run is over.
 *   no attempt yet, or no log yet     ask again a little later
 *   the stream is cut off             ask again for the whole log and pass over what was printed
 *   nobody answers                    ask again, for FOLLOW_PATIENCE_MS at most
 */
#include "cronsched/follow.h"

#include "cronsched/run_view.h"

#include <string.h>
#include <time.h>

#define POLL_LEAST_MS 100
#define POLL_MOST_MS  1000

struct clock {
    int64_t silent_since_ms; /* 0: the last question was answered */
    int64_t poll_ms;
};

static int64_t monotonic_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void pause_a_little(struct clock *clock)
{
    struct timespec ts;

    if (clock->poll_ms == 0)
        clock->poll_ms = POLL_LEAST_MS;
    ts = (struct timespec){.tv_sec = clock->poll_ms / 1000, .tv_nsec = clock->poll_ms % 1000 * 1000000};
    fflush(stdout);
    nanosleep(&ts, NULL);
    clock->poll_ms = clock->poll_ms * 3 / 2 < POLL_MOST_MS ? clock->poll_ms * 3 / 2 : POLL_MOST_MS;
}

/* An answer may yet come: is it worth asking again? A replica that has not applied the trigger yet does not
 * know the run, so even that is no answer at first. */
static bool bear(struct clock *clock, int r)
{
    int64_t now = monotonic_ms();

    switch (r) {
    case ERR_NO_LEADER:
    case ERR_UNREACHABLE:
    case ERR_DEPOSED:
    case ERR_TIMEOUT:
    case ERR_UNKNOWN:
        if (clock->silent_since_ms == 0)
            clock->silent_since_ms = now;
        return now - clock->silent_since_ms < FOLLOW_PATIENCE_MS;
    default:
        return false;
    }
}

/* The run, however long that takes. An error is printed. */
static int get_run(struct session *s, struct clock *clock, const char *run, json_t **ret)
{
    struct error error;
    int r;

    for (;;) {
        session_path(s, "/v1/runs/%s", run);
        r = client_call(&s->client, "GET", text_str(&s->path), NULL, CLIENT_REPEATABLE, ret, &error);
        if (r == 0) {
            clock->silent_since_ms = 0;
            return EXIT_FINE;
        }
        if (!bear(clock, r))
            return verb_fail(&error);
        pause_a_little(clock);
    }
}

int follow_wait(struct session *s, const char *run, int64_t timeout_ms, json_t **ret_run)
{
    struct clock clock = {0};
    int64_t deadline_ms = monotonic_ms() + timeout_ms;

    for (;;) {
        json_t *reply = NULL;
        int code = get_run(s, &clock, run, &reply);

        if (code != EXIT_FINE)
            return code;
        if (run_view_over(reply)) {
            *ret_run = reply;
            return EXIT_FINE;
        }
        json_decref(reply);
        if (timeout_ms > 0 && monotonic_ms() >= deadline_ms)
            return session_fail(ERR_TIMEOUT, "%s has not ended in time; it runs on", run);
        pause_a_little(&clock);
    }
}

/* --- logs
 * --------------------------------------------------------------------------------------------------- */

struct printer {
    int64_t seen, skip; /* bytes of the log that came, and that were printed before */
    bool failed;
};

static bool print_bytes(void *arg, const char *bytes, size_t n)
{
    struct printer *p = arg;
    size_t skip = p->seen < p->skip ? (size_t)(p->skip - p->seen) : 0;

    if (skip > n)
        skip = n;
    p->seen += (int64_t)n;
    if (fwrite(bytes + skip, 1, n - skip, stdout) < n - skip || fflush(stdout) != 0)
        p->failed = true;
    return !p->failed;
}

static void log_path(struct session *s, const char *run, long attempt, long tail, bool follow)
{
    char number[32];

    session_path(s, "/v1/runs/%s/logs", run);
    snprintf(number, sizeof(number), "%ld", attempt);
    session_query(s, "attempt", attempt > 0 ? number : NULL);
    snprintf(number, sizeof(number), "%ld", tail);
    session_query(s, "tail", tail >= 0 ? number : NULL);
    session_query(s, "follow", follow ? "1" : NULL);
}

int follow_print_log(struct session *s, const char *run, long attempt, long tail)
{
    struct printer printer = {0};
    struct error error;
    bool any;
    int r;

    log_path(s, run, attempt, tail, false);
    r = client_stream(&s->client, text_str(&s->path), print_bytes, &printer, &any, &error);
    if (printer.failed)
        return EXIT_INTERNAL; /* stdout is gone; verbs_main says so */
    return r < 0 ? verb_fail(&error) : EXIT_FINE;
}

/* One attempt's log until its end; over cuts, which only the lines asked for by `tail` do not survive. */
static int follow_attempt(struct session *s, struct clock *clock, const char *run, long attempt, long tail)
{
    struct printer printer = {0};

    for (;;) {
        struct error error;
        bool any;
        int r;

        log_path(s, run, attempt, tail, true);
        printer.skip = printer.seen > printer.skip ? printer.seen : printer.skip;
        printer.seen = 0;
        r = client_stream(&s->client, text_str(&s->path), print_bytes, &printer, &any, &error);
        if (printer.failed)
            return EXIT_INTERNAL;
        if (any) {
            clock->silent_since_ms = 0;
            clock->poll_ms = 0;
        }
        if (r == 0 || r == ERR_NOT_FOUND)
            return EXIT_FINE;
        if (!bear(clock, r))
            return verb_fail(&error);
        if (any && tail >= 0) {
            fprintf(stderr, "cronsched: %s\n", error.text);
            tail = 0; /* the place in the log is lost: only what is new from here on */
            printer = (struct printer){0};
        }
        pause_a_little(clock);
    }
}

int follow_logs(struct session *s, const char *run, long attempt, long tail)
{
    struct clock clock = {0};
    bool one = attempt > 0, begun = false;
    int code = EXIT_FINE;

    while (code == EXIT_FINE) {
        json_t *reply = NULL;
        long count;
        bool over;

        code = get_run(s, &clock, run, &reply);
        if (code != EXIT_FINE)
            break;
        count = (long)json_array_size(json_object_get(reply, "attempts"));
        over = run_view_over(reply);
        json_decref(reply);
        if (attempt == 0 && count > 0)
            attempt = count;
        if (attempt > 0 && attempt <= count) {
            if (begun)
                fprintf(stderr, "--- attempt %ld\n", attempt);
            code = follow_attempt(s, &clock, run, attempt, tail);
            begun = true;
            tail = -1;
            if (one)
                break;
            attempt++;
        } else if (over) {
            break;
        } else {
            pause_a_little(&clock);
        }
    }
    return code;
}
