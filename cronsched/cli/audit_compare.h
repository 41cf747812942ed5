/* The books of all replicas of a cluster for one window of time, compared: each replica's own audit, and its runs, one by
 * one. Asks each member where client_ask_replica finds it, with the caller's own token. Main thread.
 */
#pragma once

#include "cronsched/cli/cli_context.h"

#define AUDIT_COMPARE_DIFFERENCES_MAX 100 /* listed; all are counted */
#define AUDIT_COMPARE_TRIES           3   /* one that lags catches up */
#define AUDIT_COMPARE_AGAIN_MS        2000

/* The path of `cli` is that of the audit; `job`, `since`, `until` (RFC 3339, NULL: none) are those of its query. An exit
 * code; *ret, a new reference:
 *   {"replicas":[{"id","url","error":TEXT|null,"audit":{...}|null}],"differences":[{"run","text"}],"difference_count":N} */
int audit_compare(struct cli_context *cli, const char *job, const char *since, const char *until,
                  json_t **ret);

/* Every replica answered, every audit passed, and no run differs. */
bool audit_compare_passed(const json_t *result);
