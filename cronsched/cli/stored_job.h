/* A job as the server has it, compiled here: for verbs that ask about its times. Main thread. */
#pragma once

#include "cronsched/cli/cli_context.h"
#include "jobs/definition/job.h"

/* One entry of GET /v1/defs: {"def","seed","anchor"}. *ret NULL with 0: it has no schedule. */
int stored_job_compile(const char *name, const json_t *stored, struct zone_source *zones,
                       struct schedule **ret, struct error *error);

/* All of the server's definitions: {NAME: {"def","seed","anchor",...}}, a new reference. Prints what went
 * wrong and returns an exit code. */
int stored_jobs_get(struct cli_context *cli, json_t **ret);
