/* The one grammar by which jobs and runs are chosen: in the API, on the command line and on the page.
 *
 *   WORD          a part of the name, the description or the owner (of a run: of its id); letter case counts for nothing
 *   KEY:VALUE     what a key says; several values with commas: any of them. `*` stands for any text.
 *   "..."         a word or a value with blanks or colons in it
 *
 * All terms have to match. Everything else is literal. Keys: see FILTER_KEYS. Pure; a filter is immutable, so any thread may
 * use it.
 */
#pragma once

#include "jobs/state/state.h"

#define FILTER_BYTES_MAX 1024 /* of the text */
#define FILTER_TERMS_MAX 16
#define FILTER_VALUE_MAX 200 /* bytes of a word or a value */

/* key, of jobs, of runs */
#define FILTER_KEYS(X)                                                                                       \
    X(job, true, true)                                                                                       \
    X(set, true, false)                                                                                      \
    X(label, true, false) /* NAME or NAME=VALUE */                                                           \
    X(owner, true, false)                                                                                    \
    X(engine, true, true)                                                                                    \
    X(zone, true, false)                                                                                     \
    X(state, true, true) /* jobs: ok, failing, running, paused, never */                                     \
    X(verdict, true, true)                                                                                   \
    X(paused, true, false) /* yes, no */                                                                     \
    X(cause, false, true)                                                                                    \
    X(by, false, true)

enum filter_of { FILTER_JOBS, FILTER_RUNS };

struct filter;

/* NULL or an empty text matches everything. ERR_INVALID says what is wrong, and what may be meant. */
int filter_new(struct filter **ret, const char *text, enum filter_of of, struct error *error);
/* One more term, as KEY:VALUE would say it. */
int filter_add(struct filter *filter, const char *key, const char *value, struct error *error);
void filter_free(struct filter *filter); /* NULL is fine */
bool filter_is_empty(const struct filter *filter);

/* default_engine: of jobs that name none. */
bool filter_job(const struct filter *filter, const struct state *state, const struct job_state *job,
                const char *default_engine);
/* The run in the shape of the API. */
bool filter_run(const struct filter *filter, const json_t *run);
/* One that has not ended. */
bool filter_live_run(const struct filter *filter, const struct run *run);

/* Text against a pattern in which `*` stands for any text. */
bool filter_glob(const char *pattern, const char *text, bool same_case);
