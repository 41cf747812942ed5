/* Happy path of log_follow: ask for the run, stream attempt by attempt with follow=1, until the run is over.
 *   no attempt yet, or no log yet  ask again a little later
 *   the stream is cut off          ask again from the last stamp on, and pass over what was printed with it
 *   it ends                        once more after the attempt is over, so that nothing is missed when a
 *                                  server stops in the middle
 *   no server answers              ask again, for FOLLOW_PATIENCE_MS at most
 */
#include "cronsched/cli/log_follow.h"

#include "cronsched/cli/human_time.h"
#include "cronsched/cli/log_printer.h"
#include "cronsched/cli/run_view.h"
#include "cronsched/io/run_log_reader.h"
#include "jobs/base/clock.h"

#include <string.h>
#include <time.h>

#define POLL_LEAST_MS 100
#define POLL_MOST_MS  1000

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
            return cli_fail(ERR_CORRUPT, "what the server answers is not a run that this cronsched knows");
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

static struct log_printer printer_of(const struct cli_context *s, const struct log_request *q, bool stamped)
{
    return log_printer_of(s->raw_logs || !s->out.terminal, stamped, q->timestamps);
}

/* Up to the options that say from where on. */
static void log_path(struct cli_context *s, const char *run, long attempt)
{
    char number[32];

    cli_path(s, "/v1/runs/%s/logs", run);
    snprintf(number, sizeof(number), "%ld", attempt);
    cli_query(s, "attempt", attempt > 0 ? number : NULL);
}

/* The last lines, and from the time of the call's option --since on. */
static int log_path_from(struct cli_context *s, const struct log_request *q)
{
    char number[32];
    int64_t ns;

    snprintf(number, sizeof(number), "%ld", q->tail);
    cli_query(s, "tail", q->tail >= 0 ? number : NULL);
    if (!q->since)
        return EXIT_FINE;
    if (run_log_stamp_parse(q->since, &ns, NULL) < 0)
        return cli_query_time(s, "since", "since", HUMAN_TIME_PAST);
    cli_query(s, "since", q->since); /* a stamp as it was printed, to the nanosecond */
    return EXIT_FINE;
}

static void print_head(const json_t *run, long attempt)
{
    const json_t *one = json_array_get(json_object_get(run, "attempts"), (size_t)attempt - 1);
    const json_t *exit_code = json_object_get(one, "exit_code");

    printf("--- attempt %ld", attempt);
    if (json_is_integer(exit_code))
        printf(", exit code %d", (int)json_integer_value(exit_code));
    putchar('\n');
}

static int print_attempt(struct cli_context *s, const char *run, const struct log_request *q, long attempt,
                         bool end_line)
{
    struct log_printer printer = printer_of(s, q, false);
    struct error error;
    bool any;
    int r;

    log_path(s, run, attempt);
    r = log_path_from(s, q);
    if (r != EXIT_FINE)
        return r;
    cli_query(s, "timestamps", q->timestamps ? "1" : NULL);
    r = client_stream(&s->client, text_str(&s->path), log_printer_take, &printer, &any, &error);
    log_printer_end(&printer, end_line);
    if (printer.failed)
        return EXIT_INTERNAL; /* stdout is gone; verbs_main says so */
    return r < 0 ? verb_fail(&error) : EXIT_FINE;
}

/* All of them, whichever have none. */
static int print_all(struct cli_context *s, const char *run, const struct log_request *q)
{
    struct retry retry = {0};
    json_t *reply = NULL;
    int code = get_run(s, &retry, run, &reply), worst = EXIT_FINE;
    long count = (long)json_array_size(json_object_get(reply, "attempts"));

    for (long i = 1; code != EXIT_INTERNAL && i <= count; i++) {
        print_head(reply, i);
        code = print_attempt(s, run, q, i, true);
        worst = code != EXIT_FINE ? code : worst;
    }
    json_decref(reply);
    return code == EXIT_FINE ? worst : code;
}

int log_follow_print(struct cli_context *s, const char *run, const struct log_request *q)
{
    if (q->attempt == LOG_ATTEMPTS_ALL)
        return print_all(s, run, q);
    return print_attempt(s, run, q, q->attempt, false);
}

/* ---- followed ---- */

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

struct follower {
    struct cli_context *s;
    const char *run;
    struct log_request q; /* what is still to be asked for */
    struct retry retry;
    struct log_printer printer; /* of the attempt under way */
    long attempt;
    bool begun, later; /* its log has been read; it is not the first one */
};

/* From where the last answer ended. */
static int follow_path(struct follower *f)
{
    struct cli_context *s = f->s;
    int code = EXIT_FINE;

    log_path(s, f->run, f->attempt);
    if (f->printer.stamp[0] && strcmp(f->printer.stamp, "-") != 0)
        cli_query(s, "since", f->printer.stamp);
    else
        code = log_path_from(s, &f->q);
    cli_query(s, "timestamps", "1");
    cli_query(s, "follow", "1");
    return code;
}

/* What has come of one attempt's log since the last time, up to its end or to a cut; *ret_cut says which. */
static int follow_attempt(struct follower *f, bool *ret_cut)
{
    struct error error;
    bool any;
    int r = follow_path(f);

    if (r != EXIT_FINE)
        return r;
    log_printer_again(&f->printer);
    r = client_stream(&f->s->client, text_str(&f->s->path), log_printer_take, &f->printer, &any, &error);
    if (f->printer.failed)
        return EXIT_INTERNAL;
    if (f->printer.printed)
        f->retry = (struct retry){0};
    *ret_cut = r < 0 && r != ERR_NOT_FOUND;
    if (*ret_cut && !worth_asking_again(&f->retry, r))
        return verb_fail(&error);
    if (f->q.tail >= 0 && any && strcmp(f->printer.stamp, "-") == 0) {
        f->q.tail = 0; /* where in the log that was is not known: only what is new from here on */
        f->printer = printer_of(f->s, &f->q, true);
    }
    f->begun |= any;
    return EXIT_FINE;
}

static void next_attempt(struct follower *f)
{
    log_printer_end(&f->printer, f->q.attempt == LOG_ATTEMPTS_ALL);
    f->printer = printer_of(f->s, &f->q, true);
    f->attempt++;
    f->later = true;
    f->begun = false;
    f->q.tail = -1;
}

/* Of one attempt; *ret_done: of this one that was all. */
static int follow_turn(struct follower *f, const json_t *run, bool *ret_done)
{
    bool open = attempt_open(run, f->attempt), cut = false, all = f->q.attempt == LOG_ATTEMPTS_ALL;
    int code;

    if (all && !f->begun)
        print_head(run, f->attempt);
    else if (f->later && !f->begun)
        fprintf(stderr, "--- attempt %ld\n", f->attempt);
    f->begun |= all;
    code = follow_attempt(f, &cut);
    *ret_done = !open && !cut; /* it was over before its log was read */
    return code;
}

int log_follow(struct cli_context *s, const char *run, const struct log_request *q)
{
    struct follower f = {.s = s, .run = run, .q = *q, .printer = printer_of(s, q, true)};
    bool one = q->attempt > 0;

    f.attempt = q->attempt == LOG_ATTEMPTS_ALL ? 1 : q->attempt;
    for (;;) {
        json_t *reply = NULL;
        int code = get_run(s, &f.retry, run, &reply);
        bool over = run_view_over(reply), done = false;
        long count = (long)json_array_size(json_object_get(reply, "attempts"));

        if (code != EXIT_FINE)
            return code;
        if (f.attempt == 0)
            f.attempt = count;
        if (f.attempt > 0 && f.attempt <= count)
            code = follow_turn(&f, reply, &done);
        else if (over || (one && f.attempt < count))
            one = done = true;
        json_decref(reply);
        if (one && done)
            log_printer_end(&f.printer, false);
        if (code != EXIT_FINE || (one && done))
            return code;
        if (done)
            next_attempt(&f);
        else
            pause_before_retry(&f.retry);
    }
}
