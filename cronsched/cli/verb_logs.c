#include "cronsched/cli/log_follow.h"

#include <limits.h>

static const struct verb_option options[] = {
    {"follow", 'f', NULL, "follow the log until the run ends"},
    {"tail", 0, "N", "the last N lines only"},
    {"attempt", 0, "N", "the log of this attempt (default the newest)"},
    {"raw", 0, NULL, "the bytes as they are, also to a terminal (which may obey them)"},
    {0}};

static int run_logs(const struct verb_call *call)
{
    struct cli_context s;
    struct error error;
    long tail = -1, attempt = 0;
    int code;

    if (verb_option_int(call, "tail", 0, INT_MAX, &tail, &error) < 0 ||
        verb_option_int(call, "attempt", 1, INT_MAX, &attempt, &error) < 0)
        return verb_usage(call, "%s", error.text);
    code = cli_open(&s, call);
    s.raw_logs = verb_flag(call, "raw");
    if (code == EXIT_FINE && verb_flag(call, "follow"))
        code = log_follow(&s, call->args[0], attempt, tail);
    else if (code == EXIT_FINE)
        code = log_follow_print(&s, call->args[0], attempt, tail);
    return cli_close(&s, code);
}

const struct verb verb_logs = {
    .name = "logs",
    .args = "RUN",
    .help = "print the output of a run",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER,
    .options = options,
    .run = run_logs,
};
