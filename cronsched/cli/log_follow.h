/* Following a run from the command line: its log as it grows, and its end. Both go on over a change of leader
 * or a restart of the server: what was printed is not printed again. Main thread.
 */
#pragma once

#include "cronsched/cli/cli_context.h"

#define FOLLOW_PATIENCE_MS 120000 /* how long servers may stay silent before following gives up */

/* Prints the log of one attempt (0: what the server takes for the right one) as it is now. tail 0: all of it.
 */
int log_follow_print(struct cli_context *cli, const char *run, long attempt, long tail);

/* Prints the logs of a run, attempt by attempt, until it is over. attempt 0: all from the newest on; tail -1:
 * all lines. */
int log_follow(struct cli_context *cli, const char *run, long attempt, long tail);

/* Waits until the run is over. timeout_ms 0: as long as it takes. *ret_run is a new reference. */
int log_follow_wait(struct cli_context *cli, const char *run, int64_t timeout_ms, json_t **ret_run);
