#include "cronsched/cli/log_follow.h"
#include "cronsched/cli/run_find.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_option options[] = {
    {"follow", 'f', NULL, "follow the log until the run ends"},
    {"tail", 0, "N", "the last N lines only"},
    {"since", 0, "TIME", "from the first line of this time or later on: 10m, 2026-11-22T03:00:00Z"},
    {"timestamps", 't', NULL, "before each line its time, in UTC"},
    {"attempt", 0, "N", "the log of this attempt (default the newest); 'all': of each, with a head line"},
    {"raw", 0, NULL, "the bytes as they are, also to a terminal (which may obey them)"},
    {0}};

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
    struct cli_context s;
    struct error error;
    char *run = NULL;
    int code;

    if (verb_option_int(call, "tail", 0, INT_MAX, &request.tail, &error) < 0 ||
        read_attempt(call, &request.attempt, &error) < 0)
        return verb_usage(call, "%s", error.text);
    code = cli_open(&s, call);
    s.raw_logs = verb_flag(call, "raw");
    if (code == EXIT_FINE)
        code = run_find_last(&s, call->args[0], &run);
    if (code == EXIT_FINE && strcmp(run, call->args[0]) != 0)
        fprintf(stderr, "--- %s\n", run);
    if (code == EXIT_FINE && verb_flag(call, "follow"))
        code = log_follow(&s, run, &request);
    else if (code == EXIT_FINE)
        code = log_follow_print(&s, run, &request);
    free(run);
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
