/* What is kept of each job about its last runs, so that any replica can show it without its history: the last verdicts,
 * how often each verdict came, the last success, failures in a row. It decides nothing.
 *
 * It is part of the state from record level RECORD_RECENT_LEVEL on: all replicas of a cluster begin with the same batch. A
 * job that is made again after its deletion begins anew.
 */
#pragma once

#include "jobs/state/run.h"

#include <jansson.h>

#define RECENT_STRIP_MAX 24

struct recent {
    char strip[RECENT_STRIP_MAX + 1]; /* a letter for each run or skipped range, oldest first */
    int64_t failures;                 /* runs that failed, timed out or were lost since the last success */
    int64_t success_ms;               /* fire time of the newest run that succeeded; 0: none */
    int64_t success_ended_ms;         /* when it ended */
    int64_t duration_ms;              /* of the newest ended run, from its first start to its end; -1: none */
    uint64_t counts[VERDICT_COUNT];   /* fire times and other runs, by verdict */
};

void recent_init(struct recent *recent);
/* What an older build kept stands in for what it did not: the newest ended run. Nothing when there is something. */
void recent_seed(struct recent *recent, enum run_verdict last, int64_t ended_ms);

/* A run ended so. started_ms 0: it never started. */
void recent_ended(struct recent *recent, enum run_verdict verdict, int64_t fire_ms, int64_t started_ms,
                  int64_t ended_ms);
/* So many fire times were passed over for that reason. */
void recent_skipped(struct recent *recent, enum run_verdict reason, int64_t count);

bool recent_is_failure(enum run_verdict verdict);
char recent_letter(enum run_verdict verdict);           /* of the strip; '?' for none */
enum run_verdict recent_verdict_of_letter(char letter); /* VERDICT_NONE: there is no such letter */

/* For the snapshot: a new reference, NULL when there is nothing. And back: what does not fit is ERR_CORRUPT. */
json_t *recent_encode(const struct recent *recent);
int recent_decode(struct recent *recent, const json_t *json);
