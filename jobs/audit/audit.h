/* The audit: is every fire time that the schedules implied accounted for, by exactly one run or one recorded
 * skip?
 *
 * It computes the fire times again from the definitions in the journal's records and compares them with
 * history's runs, skipped ranges and pruned days. A fire time is
 *   accounted for  by a run that has ended, by one skipped range, or by the count of a pruned day;
 *   open           when its run is unfinished, or when no decision was due yet: not late beyond the grace,
 *                  in a pause that goes on, or its job waits for a run that is unresolved;
 *   doubled        by a run and a range, or by two ranges (a run of a backfill may exist beside the skip that
 *                  it makes good, and one of a time whose journal was lost beside the range that tells of the loss);
 *                  or by a run of which an attempt ended twice;
 *   unaccounted    otherwise.
 * Each range's count is recomputed as well.
 *
 * Pure, but it takes its time: up to AUDIT_FIRE_TIMES_MAX fire times are stepped through. Fit for a thread of
 * its own with a zone source of its own.
 */
#pragma once

#include "jobs/time/schedule.h"

#include <jansson.h>

#define AUDIT_FIRE_TIMES_MAX 20000000
#define AUDIT_CLOCK_AHEAD_MS                                                                                 \
    60000 /* what was decided so much later than it is now, a clock decided that was ahead */
#define AUDIT_FINDINGS_MAX 1000 /* listed of each kind; all are counted */

struct audit_options {
    int64_t since_ms, until_ms; /* fire times in (since, until]; until beyond now is now */
    int64_t now_ms;
    int64_t late_grace_ms; /* as the scheduler's */
    const char *job;       /* this job alone; NULL: all */
};

/* history: the answer to HISTORY_AUDIT for the same job and time. The result, a new reference:
 *   {"since","until","fire_times":N,"runs":N,"skipped":N,"pruned":N,"open":N,
 *    "unaccounted":[{"job","fire_time","why"}],"doubled":[{"job","fire_time","why"}],
 *    "ranges":[{"job","from","to","reason","count","implied"}],
 *    "unaccounted_count":N,"doubled_count":N,"range_count":N,"gaps":[{"from","to"}]}
 * fire_times = runs + skipped + pruned + open + unaccounted_count; open counts unfinished runs too, runs does
 * not. gaps are times before `until` in which batches are missing from history: what was defined there cannot
 * be audited. ERR_LIMIT: too many fire times. ERR_CORRUPT: it is not such an answer. */
int audit_check(const json_t *history, const struct audit_options *options, struct zone_source *zones,
                json_t **ret, struct error *error);

/* Added to the result by a server whose wall clock jumped and is not followed: by so many milliseconds. */
#define AUDIT_CLOCK_KEY "clock_jump_ms"

/* Nothing unaccounted, doubled or miscounted, no gap, and a clock that is believed. */
bool audit_passed(const json_t *result);
