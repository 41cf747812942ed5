/* Which run is meant by a job's name. */
#pragma once

#include "cronsched/cli/cli_context.h"

/* *ret, for the caller to free: a run's id as it is, or the id of the run of that job that began last. ERR_NOT_FOUND's exit code
 * when there is no such job, or none of its runs has begun. */
int run_find_last(struct cli_context *cli, const char *run_or_job, char **ret);

/* The same, but of the one run that has not ended; several: an error that names them. */
int run_find_unfinished(struct cli_context *cli, const char *run_or_job, char **ret);
