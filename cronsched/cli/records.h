/* The journal's records, as history has them: all of a time, page by page. */
#pragma once

#include "cronsched/cli/cli_context.h"

#define RECORDS_PAGE 1000
#define RECORDS_MAX  100000 /* in one answer of ours; more: ERR_LIMIT, with advice */

/* The path of the call must be that of /v1/records with all that narrows it. *ret: a new reference, an array, the oldest
 * first. An exit code. */
int records_get(struct cli_context *cli, json_t **ret);
