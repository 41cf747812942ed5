/* The log of what runs and who changed what: a line for the start and for the end of each run, and for each change that
 * people make. It is made of the journal's records once they are durable, by the leader that wrote them. The journal has
 * all of it (`cronsched records`, `cronsched runs`); a leader that dies may have logged less.
 *
 *   run-started  info     job, run, attempt
 *   run-ended    info     job, run, verdict, exit_code, cause, engine, attempts, took_ms: it succeeded, or people ended it
 *   run-failed   warning  likewise: any other end
 *   applied, deleted, paused, resumed, triggered, backfilled, run-stopping, noted
 *                info     job, run, by, text
 */
#pragma once

#include "jobs/history/history.h"

/* Borrowed during the call. The loop's thread. */
void activity_log_write(const struct history_write *write);
