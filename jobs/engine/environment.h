/* The environment of an attempt: the job's own variables and the CRONSCHED_* ones (see cronsched-job(5)).
 *
 * Pure. Values from files and secrets are somebody else's to fetch: they come in through a resolver, and are
 * wiped when the environment is released. Names are unique; a name that begins with CRONSCHED_ is the
 * scheduler's, and a job's variable of such a name gives way. The order is fixed: the job's as written, then
 * the scheduler's, then the parameters sorted by name; so the same request always gives the same list.
 *
 * Ownership: the environment owns its strings. Any thread.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/definition/job.h"
#include "jobs/engine/engine.h"

#include <stddef.h>

#define ENVIRONMENT_VARS_MAX    1024
#define ENVIRONMENT_VALUE_BYTES (64 * 1024)  /* one value; Linux refuses strings of 128 KiB at exec */
#define ENVIRONMENT_BYTES       (512 * 1024) /* all of "NAME=VALUE\0" together */

struct environment {
    char **items; /* "NAME=VALUE", ended by NULL, for execve; NULL when empty and never built */
    size_t count;
    size_t bytes;
};

/* Would environment_build take these parameters (an object, or NULL)? ERR_INVALID, ERR_LIMIT, ERR_NOMEM. */
int environment_check_params(const json_t *params, struct error *error);

/* Gives the value of a variable with from_file or from_secret: malloc'd, the environment takes it over.
 * Errors are codes of error.h with a text that does not hold the value. */
typedef int environment_resolve(void *arg, const struct job_env *variable, char **ret_value,
                                struct error *error);

/* Fills *ret, which need not be initialized; on failure it is left alone. `resolve` may be NULL: then a
 * variable with from_file or from_secret is ERR_UNSUPPORTED. Also ERR_INVALID (a bad name, two parameters
 * that give one variable), ERR_LIMIT, ERR_NOMEM; errors name the variable, never its value. */
int environment_build(struct environment *ret, const struct engine_request *request,
                      environment_resolve *resolve, void *arg, struct error *error);

void environment_release(struct environment *environment); /* wipes the values; NULL is fine */

/* A file could not be read for this reason: is it one of this process, which has too few descriptors or too little
 * memory just now? Then the attempt is to be prepared again; anything else refuses it. */
bool environment_file_later(int code);
