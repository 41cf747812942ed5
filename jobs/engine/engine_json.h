/* Requests to an engine and its answers as JSON, a line each: what a plug-in is spoken to in (contrib/guide/plugins.md), and how
 * `cronsched drill engine` drives an engine from outside. Pure; any thread.
 */
#pragma once

#include "jobs/engine/environment.h"

#include <jansson.h>

/* {"ticket", "op", "name", "run", "attempt", "try", "epoch", "job_name", "job", ...}; a new reference. environment NULL: none is
 * told. NULL: the environment is not UTF-8. */
json_t *engine_request_json(enum engine_op op, const struct engine_request *request,
                            const struct environment *environment);

/* *ret is to be released by engine_request_release, its job a reference of its own. ERR_INVALID, ERR_LIMIT: *ret is not set. */
int engine_request_read(const json_t *json, enum engine_op *ret_op, struct engine_request *ret,
                        struct error *error);

/* {"ticket", "event", ...}, with what the answer has; a new reference. */
json_t *engine_answer_json(const struct engine_answer *answer);

/* Borrows from `json`. ERR_INVALID: it is none, or one that says things which cannot be. */
int engine_answer_read(const json_t *json, struct engine_answer *ret, struct error *error);
