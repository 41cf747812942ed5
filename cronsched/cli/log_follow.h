/* Logs of a run on the command line: as they are now, or followed to the run's end, over a change of leader or a restart
 * of the server; what was printed is not printed again. Main thread.
 */
#pragma once

#include "cronsched/cli/cli_context.h"

#define FOLLOW_PATIENCE_MS 120000 /* how long servers may stay silent before following gives up */
#define LOG_ATTEMPTS_ALL   (-1)

struct log_request {
    long
        attempt; /* 0: the newest, and when it is followed those that come after it; LOG_ATTEMPTS_ALL: one by one */
    long tail;         /* lines; -1: all */
    const char *since; /* the call's option of that name, NULL: not given */
    bool timestamps;
};

int log_follow_print(struct cli_context *cli, const char *run, const struct log_request *request);
int log_follow(struct cli_context *cli, const char *run, const struct log_request *request);

/* Waits until the run is over. timeout_ms 0: as long as it takes. *ret_run is a new reference. */
int log_follow_wait(struct cli_context *cli, const char *run, int64_t timeout_ms, json_t **ret_run);
