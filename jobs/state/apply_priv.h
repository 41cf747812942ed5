/* Between the files that apply records: apply.c (jobs, pauses, ranges, and the whole of a batch) calls
 * apply_attempt.c (attempts), and both call apply_run.c (runs). A function that gives an int gives 0 or
 * ERR_CORRUPT, with the error set; after that the state must be thrown away.
 */
#pragma once

#include "jobs/state/state_priv.h"

struct apply_context {
    struct state *s;
    const struct batch *batch;
    const struct record *r;
    struct error *error;
    bool bad_move;
    struct staged_part *part; /* that r is, with its definition read; NULL: none */
};

static inline int64_t apply_later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int apply_corrupt(struct apply_context *c, const char *what);

/* ---- apply_run.c ---- */

/* A move that the table does not allow is noted in bad_move. */
void apply_run_move(struct apply_context *c, struct run *run, enum run_state to);
/* The batch changed this run: history gets it when the batch is finished. */
void apply_run_touch(struct apply_context *c, struct run *run);
/* Adds the notifications that the definition asks for. Takes body; def may be NULL. */
void apply_run_notify(struct state *s, const struct job *def, const char *run, enum run_verdict verdict,
                      json_t *body);
/* A run of this job, when all its parents have succeeded since its last one. */
void apply_run_after(struct apply_context *c, struct job_state *j);
/* Takes the run out of the state. */
void apply_run_end(struct apply_context *c, struct run *run, enum run_verdict verdict);
void apply_run_set_fired(struct apply_context *c, struct run *run, bool in_order);
/* The newest attempt failed: another one later, or the end with this verdict. */
void apply_run_retry_or_end(struct apply_context *c, struct run *run, enum run_verdict verdict);
int64_t apply_run_retry_ms(const struct apply_context *c, const struct run *run);
/* A new run from the id in the record. */
int apply_run_new(struct apply_context *c, struct run **ret);
int apply_run_trigger(struct apply_context *c);
int apply_run_fire(struct apply_context *c);
int apply_run_close(struct apply_context *c);

/* ---- apply_attempt.c ---- */

int apply_attempt_arm(struct apply_context *c);
/* Records about the newest attempt of a run. */
int apply_attempt_record(struct apply_context *c);
