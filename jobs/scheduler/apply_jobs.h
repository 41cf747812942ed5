/* The command apply, between its two files: apply_check.c says what is wrong with a change set, apply_jobs.c reads it and
 * does it.
 */
#pragma once

#include "jobs/scheduler/scheduler_priv.h"

#define APPLY_SET_BYTES_MAX 200 /* of a set's name */
#define APPLY_FAULTS_MAX    500 /* that are listed; the others are counted */

struct apply_change {
    struct job *def;
    size_t bytes;          /* of the definition as it was sent */
    struct job_state *old; /* NULL: new */
    bool same;             /* there is nothing to do */
    /* A pause by hand, put again after the record that would end it. reason and by are copies. */
    struct {
        bool kept;
        char *reason, *by;
        int64_t until_ms;
        size_t runs; /* that the job had before the change */
    } pause;
};

/* From APPLY_COMPARES on nobody else changes definitions, unless it is dry. */
enum apply_step {
    APPLY_READS,
    APPLY_CHECKS,
    APPLY_COMPARES,
    APPLY_LISTS,
    APPLY_STAGES,
    APPLY_PRUNES,
    APPLY_ENDS
};

struct apply {
    struct object object;
    struct scheduler *s;
    json_t *body;
    const json_t *jobs;
    const char *set; /* NULL: none is named */
    char *by;
    bool prune, take_over, allow_empty, dry;
    bool has_check_index;
    json_int_t check_index;
    enum apply_step step;
    void *at; /* of the jobs: the next to be read */
    struct apply_change *changes;
    size_t count;
    size_t compared; /* of the changes */
    size_t next;     /* of the changes: to be staged */
    size_t pruned;   /* of those to be deleted: are staged */
    size_t unchanged;
    size_t bytes; /* of the definitions as they were sent */
    size_t grows; /* the state, in bytes */
    bool staged;  /* larger than a batch: in parts, which one last record makes effective */
    json_t *created, *changed, *deleted, *warnings, *conflicts, *taken_over, *unlisted, *pauses;
    json_t *faults;                     /* {"job","text"} */
    size_t fault_count, unlisted_count; /* also of those that are not listed */
    struct error *error;
    struct scheduler_result result; /* of one that goes on */
    void (*done)(void *arg, int rc, struct scheduler_result *result);
    void *arg;
};

/* "the set NAME", "no set" */
#define APPLY_OWNER_SIZE (APPLY_SET_BYTES_MAX + 32)
const char *apply_owner(const char *set, char buffer[APPLY_OWNER_SIZE]);

/* It is of the set, or like the apply of none, and not in its files: prune would delete it. */
bool apply_is_unlisted(const struct apply *a, const struct job_state *j);
bool apply_is_pruned(const struct apply *a, const struct job_state *j);

/* Nothing of it would change, not even whose it is. */
bool apply_is_unchanged(const struct apply *a, const struct apply_change *c);

/* It would be changed, or taken, and is another's: of another set, or of none while the apply names one. */
bool apply_is_conflict(const struct apply *a, const struct apply_change *c);
bool apply_is_taken_over(const struct apply *a, const struct apply_change *c);

/* Engines and pool of a definition. Each fault is in a->faults; the first is the error. */
void apply_check_job(struct apply *a, const struct job *def);
/* Parents of all definitions. */
int apply_check_parents(struct apply *a);
void apply_fault(struct apply *a, const char *job, const struct error *fault);
/* 0, or the first fault's code; its text says how many others there are. */
int apply_judge(struct apply *a);

/* ERR_CONFLICT when a job is another's. With a->dry it is listed in a->conflicts only. */
int apply_check_owners(struct apply *a);
/* ERR_INVALID when all that a set owns would be pruned, by an apply that has no job at all and was not told so. */
int apply_check_empty(struct apply *a);
/* Jobs that stay must keep their parents. */
int apply_check_pruned(struct apply *a);
/* What the journal and the state can take. */
int apply_check_sizes(struct apply *a);
