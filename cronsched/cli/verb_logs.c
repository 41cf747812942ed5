#include "cronsched/cli/log_follow.h"
#include "cronsched/cli/run_view.h"
#include "jobs/base/alloc.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_LOOKED_AT "1000" /* the newest, for the last one that has begun */

static const struct verb_option options[] = {
    {"follow", 'f', NULL, "follow the log until the run ends"},
    {"tail", 0, "N", "the last N lines only"},
    {"since", 0, "TIME", "from the first line of this time or later on: 10m, 2026-11-22T03:00:00Z"},
    {"timestamps", 't', NULL, "before each line its time, in UTC"},
    {"attempt", 0, "N", "the log of this attempt (default the newest); 'all': of each, with a head line"},
    {"raw", 0, NULL, "the bytes as they are, also to a terminal (which may obey them)"},
    {0}};

/* Whether any of it has been started, or is being. */
static bool has_begun(const json_t *run)
{
    static const char *const not_yet[] = {"waiting", "armed", "skipped"};
    const char *state = run_view_text(run, "state");

    for (size_t i = 0; state && i < sizeof(not_yet) / sizeof(*not_yet); i++)
        if (strcmp(state, not_yet[i]) == 0)
            return false;
    return json_array_size(json_object_get(run, "attempts")) > 0;
}

/* The one that started last, which is not always the one of the latest fire time: a backfill runs old ones. */
static const json_t *last_begun(const json_t *runs)
{
    const json_t *run, *last = NULL;
    size_t i;

    json_array_foreach(runs, i, run)
    {
        const char *started = run_view_text(run, "started"), *latest = run_view_text(last, "started");

        if (has_begun(run) && (!last || (started && latest && strcmp(started, latest) > 0)))
            last = run;
    }
    return last;
}

/* Why there is none. */
static int no_run(struct cli_context *s, const char *job)
{
    json_t *known = NULL;
    int code;

    cli_path(s, "/v1/jobs/%s", job); /* one that is not there has its error here */
    code = cli_get(s, &known);
    json_decref(known);
    return code != EXIT_FINE ? code : cli_fail(ERR_NOT_FOUND, "no run of %s has begun yet", job);
}

/* The last run of a job, whose id is the caller's to free. A job that is gone may have runs. */
static int find_last_run(struct cli_context *s, const char *job, char **ret)
{
    json_t *runs = NULL;
    const json_t *last;
    int code;

    cli_path(s, "/v1/runs");
    cli_query(s, "job", job);
    cli_query(s, "limit", RUNS_LOOKED_AT);
    code = cli_get(s, &runs);
    last = last_begun(runs);
    if (last)
        *ret = alloc_text(run_view_text(last, "run"));
    json_decref(runs);
    return code == EXIT_FINE && !last ? no_run(s, job) : code;
}

static int read_attempt(const struct verb_call *call, long *ret, struct error *error)
{
    const char *text = verb_option(call, "attempt");

    if (text && strcmp(text, "all") == 0) {
        *ret = LOG_ATTEMPTS_ALL;
        return 0;
    }
    return verb_option_int(call, "attempt", 1, INT_MAX, ret, error);
}

static int run_logs(const struct verb_call *call)
{
    struct log_request request = {
        .tail = -1, .since = verb_option(call, "since"), .timestamps = verb_flag(call, "timestamps")};
    const char *run = call->args[0];
    struct cli_context s;
    struct error error;
    char *last = NULL;
    int code;

    if (verb_option_int(call, "tail", 0, INT_MAX, &request.tail, &error) < 0 ||
        read_attempt(call, &request.attempt, &error) < 0)
        return verb_usage(call, "%s", error.text);
    code = cli_open(&s, call);
    s.raw_logs = verb_flag(call, "raw");
    if (code == EXIT_FINE && !strchr(run, '@')) {
        code = find_last_run(&s, run, &last);
        run = last;
        if (code == EXIT_FINE)
            fprintf(stderr, "--- %s\n", run);
    }
    if (code == EXIT_FINE && verb_flag(call, "follow"))
        code = log_follow(&s, run, &request);
    else if (code == EXIT_FINE)
        code = log_follow_print(&s, run, &request);
    free(last);
    return cli_close(&s, code);
}

const struct verb verb_logs = {
    .name = "logs",
    .args = "RUN|JOB",
    .help = "print the output of a run, or of the last run of a job",
    .text = "Of an output that is longer than the job's keep.logs the first half of that and the last part "
            "are there, "
            "with a line between that says how much is missing.",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER,
    .options = options,
    .run = run_logs,
};
