/* `explain JOB TIME`: the causal chain of one fire time, from what history has: the definition in force and
 * what its expression says of that time, the zone, pauses, what it overlapped, the leader, the intent, each
 * call to the engine and its answer, the attempts, the verdict. For a time that is not a fire time: why not, and
 * the nearest ones.
 *
 *   explain_init(&request, ...);
 *   for each part: explain_query(&request, part, &query), ask history for it, keep the answer
 *   explain_build(&request, answers, zones, &explained, &error);
 *
 * Pure. The zone source must be the calling thread's own.
 */
#pragma once

#include "jobs/history/history.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "jobs/time/schedule.h"

enum explain_part {
    EXPLAIN_JOB,     /* records that defined, deleted, paused and resumed it */
    EXPLAIN_PAUSES,  /* records that paused and resumed all */
    EXPLAIN_EPOCHS,  /* records of epochs */
    EXPLAIN_RUN,     /* the run */
    EXPLAIN_RECORDS, /* its records */
    EXPLAIN_SKIPS,   /* ranges that cover the time */
    EXPLAIN_AROUND,  /* runs of the job up to that time */
    EXPLAIN_PARTS
};

struct explain_request {
    const char *job; /* borrowed */
    int64_t at_ms, now_ms, late_grace_ms;
    char run[RUN_ID_MAX];
};

void explain_init(struct explain_request *request, const char *job, int64_t at_ms, int64_t now_ms,
                  int64_t late_grace_ms);
void explain_query(const struct explain_request *request, enum explain_part part, struct history_query *ret);

/* A new reference:
 *   {"job","time","run","is_fire_time":bool,"verdict","text","previous","next",
 *    "lines":[{"time":RFC 3339 or null,"what","text"}...]}
 * verdict: the run's or the skip's word; open, not-a-fire-time, not-defined, unaccounted. text: the same as a
 * sentence. previous and next: the nearest fire times of the definition in force, null where there is none.
 * ERR_NOT_FOUND: history knows of no such job. */
int explain_build(const struct explain_request *request, json_t *const answers[EXPLAIN_PARTS],
                  struct zone_source *zones, json_t **ret, struct error *error);
