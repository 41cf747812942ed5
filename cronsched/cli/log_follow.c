/* Happy path of log_follow: ask for the run, stream attempt by attempt with follow=1, until the run is over.
 *   no attempt yet, or no log yet  ask again a little later
 *   the stream is cut off          ask again for the whole log and pass over what was printed
 *   it ends                        once more after the attempt is over, so that nothing is missed when a
 *                                  server stops in the middle
 *   no server answers              ask again, for FOLLOW_PATIENCE_MS at most
 */
#include "cronsched/cli/log_follow.h"

#include "cronsched/cli/run_view.h"
#include "cronsched/io/clock.h"
#include "jobs/base/object.h"
#include "jobs/base/printable.h"

#include <string.h>
#include <time.h>

#define POLL_LEAST_MS 100
#define POLL_MOST_MS  1000
#define PIECE_BYTES   4096

struct retry {
    int64_t silent_since_ms; /* 0: the last question was answered */
    int64_t poll_ms;
};

static void pause_before_retry(struct retry *retry)
{
    struct timespec ts;

    if (retry->poll_ms == 0)
        retry->poll_ms = POLL_LEAST_MS;
    ts = (struct timespec){.tv_sec = retry->poll_ms / 1000, .tv_nsec = retry->poll_ms % 1000 * 1000000};
    fflush(stdout);
    nanosleep(&ts, NULL);
    retry->poll_ms = retry->poll_ms * 3 / 2 < POLL_MOST_MS ? retry->poll_ms * 3 / 2 : POLL_MOST_MS;
}

/* An answer may yet come: is it worth asking again? A replica that has not applied the trigger yet does not
 * know the run, so even "not found" is retried at first. */
static bool worth_asking_again(struct retry *retry, int r)
{
    int64_t now = clock_boot_ms();

    switch (r) {
    case ERR_NO_LEADER:
    case ERR_UNREACHABLE:
    case ERR_DEPOSED:
    case ERR_TIMEOUT:
    case ERR_UNKNOWN:
        if (retry->silent_since_ms == 0)
            retry->silent_since_ms = now;
        return now - retry->silent_since_ms < FOLLOW_PATIENCE_MS;
    default:
        return false;
    }
}

/* The run, however long that takes. An error is printed. */
static int get_run(struct cli_context *s, struct retry *retry, const char *run, json_t **ret)
{
    struct error error;
    int r;

    for (;;) {
        cli_path(s, "/v1/runs/%s", run);
        r = client_call(&s->client, "GET", text_str(&s->path), NULL, CLIENT_REPEATABLE, ret, &error);
        if (r == 0 && !run_view_known(*ret)) {
            json_decref(*ret);
            *ret = NULL;
            return cli_fail(ERR_CORRUPT, "what the server answers is no run that this cronsched knows");
        }
        if (r == 0) {
            retry->silent_since_ms = 0;
            return EXIT_FINE;
        }
        if (!worth_asking_again(retry, r))
            return verb_fail(&error);
        pause_before_retry(retry);
    }
}

int log_follow_wait(struct cli_context *s, const char *run, int64_t timeout_ms, json_t **ret_run)
{
    struct retry retry = {0};
    int64_t deadline_ms = clock_boot_ms() + timeout_ms;

    for (;;) {
        json_t *reply = NULL;
        int code = get_run(s, &retry, run, &reply);

        if (code != EXIT_FINE)
            return code;
        if (run_view_over(reply)) {
            *ret_run = reply;
            return EXIT_FINE;
        }
        json_decref(reply);
        if (timeout_ms > 0 && clock_boot_ms() >= deadline_ms)
            return cli_fail(ERR_TIMEOUT, "%s has not ended in time; it is still running", run);
        pause_before_retry(&retry);
    }
}

/* ---- logs ---- */

struct printer {
    struct object object;
    bool raw; /* the bytes as they are */
    struct printable_stream stream;
    int64_t seen, skip; /* bytes of the log that came, and that were printed before */
    bool begun, failed;
};

/* Whoever wrote the log must not write commands to this terminal. */
static bool write_bytes(struct printer *p, const char *bytes, size_t n)
{
    char clean[PIECE_BYTES + PRINTABLE_HELD_MAX];

    if (p->raw)
        return fwrite(bytes, 1, n, stdout) == n;
    while (n > 0) {
        size_t piece = n < PIECE_BYTES ? n : PIECE_BYTES;
        size_t size = printable_stream(&p->stream, bytes, piece, clean);

        if (fwrite(clean, 1, size, stdout) < size)
            return false;
        bytes += piece;
        n -= piece;
    }
    return true;
}

static struct printer printer_of(const struct cli_context *s)
{
    return (struct printer){.object = OBJECT_MARK(struct printer), .raw = s->raw_logs || !s->out.terminal};
}

static bool print_bytes(void *arg, const char *bytes, size_t n)
{
    struct printer *p = OBJECT(struct printer, arg);
    size_t skip = p->seen < p->skip ? (size_t)(p->skip - p->seen) : 0;

    if (skip > n)
        skip = n;
    p->seen += (int64_t)n;
    if (!write_bytes(p, bytes + skip, n - skip) || fflush(stdout) != 0)
        p->failed = true;
    return !p->failed;
}

static void log_path(struct cli_context *s, const char *run, long attempt, long tail, bool follow)
{
    char number[32];

    cli_path(s, "/v1/runs/%s/logs", run);
    snprintf(number, sizeof(number), "%ld", attempt);
    cli_query(s, "attempt", attempt > 0 ? number : NULL);
    snprintf(number, sizeof(number), "%ld", tail);
    cli_query(s, "tail", tail >= 0 ? number : NULL);
    cli_query(s, "follow", follow ? "1" : NULL);
}

int log_follow_print(struct cli_context *s, const char *run, long attempt, long tail)
{
    struct printer printer = printer_of(s);
    struct error error;
    bool any;
    int r;

    log_path(s, run, attempt, tail, false);
    r = client_stream(&s->client, text_str(&s->path), print_bytes, &printer, &any, &error);
    if (printer.failed)
        return EXIT_INTERNAL; /* stdout is gone; verbs_main says so */
    return r < 0 ? verb_fail(&error) : EXIT_FINE;
}

/* Whether the log of an attempt may still grow. */
static bool attempt_open(const json_t *run, long attempt)
{
    const json_t *attempts = json_object_get(run, "attempts");
    const char *state = run_view_text(json_array_get(attempts, (size_t)attempt - 1), "state");

    if (run_view_over(run) || (size_t)attempt < json_array_size(attempts))
        return false;
    return state &&
           (strcmp(state, "armed") == 0 || strcmp(state, "committed") == 0 || strcmp(state, "running") == 0);
}

/* What has come of one attempt's log since the last time, up to its end or to a cut; *ret_cut says which. */
static int follow_attempt(struct cli_context *s, struct retry *retry, const char *run, long attempt,
                          long *tail, struct printer *printer, bool *ret_cut)
{
    struct error error;
    bool any;
    int r;

    log_path(s, run, attempt, *tail, true);
    printer->skip = printer->seen > printer->skip ? printer->seen : printer->skip;
    printer->seen = 0;
    r = client_stream(&s->client, text_str(&s->path), print_bytes, printer, &any, &error);
    if (printer->failed)
        return EXIT_INTERNAL;
    if (printer->seen > printer->skip)
        *retry = (struct retry){0};
    *ret_cut = r < 0 && r != ERR_NOT_FOUND;
    if (*ret_cut && !worth_asking_again(retry, r))
        return verb_fail(&error);
    if (*tail >= 0 && any) { /* where in the log that was is not known: only what is new from here on */
        *tail = 0;
        *printer = printer_of(s);
        printer->begun = true;
    }
    printer->begun |= any;
    return EXIT_FINE;
}

int log_follow(struct cli_context *s, const char *run, long attempt, long tail)
{
    struct retry retry = {0};
    struct printer printer = printer_of(s);
    bool one = attempt > 0, later = false, cut = false;

    for (;;) {
        json_t *reply = NULL;
        int code = get_run(s, &retry, run, &reply);
        bool over = run_view_over(reply), open;
        long count = (long)json_array_size(json_object_get(reply, "attempts"));

        if (code != EXIT_FINE)
            return code;
        if (attempt == 0)
            attempt = count;
        open = attempt > 0 && attempt_open(reply, attempt);
        json_decref(reply);
        if (attempt > 0 && attempt <= count) {
            if (later && !printer.begun)
                fprintf(stderr, "--- attempt %ld\n", attempt);
            code = follow_attempt(s, &retry, run, attempt, &tail, &printer, &cut);
            if (code != EXIT_FINE)
                return code;
            if (!open && !cut) { /* it was over before its log was read: that was all */
                if (one)
                    return EXIT_FINE;
                attempt++;
                later = true;
                tail = -1;
                printer = printer_of(s);
                continue;
            }
        } else if (over || (one && attempt < count)) {
            return EXIT_FINE;
        }
        pause_before_retry(&retry);
    }
}
