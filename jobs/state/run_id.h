/* The id of a run is its job and an instant: JOB@20261122T101502Z. A fire time's is that fire time, in whole
 * seconds; a run that no fire time names (manual, after, again) has the milliseconds too, JOB@20261122T101502.123Z.
 * Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RUN_ID_MAX 128 /* with its NUL */

/* Returns ret. Without has_ms, at_ms is a whole second. */
const char *run_id_format(const char *job, int64_t at_ms, bool has_ms, char ret[RUN_ID_MAX]);
/* ERR_INVALID: not an id. Whether the job's name is one is for the caller to check. */
int run_id_parse(const char *id, char ret_job[RUN_ID_MAX], int64_t *ret_at_ms, bool *ret_has_ms);
