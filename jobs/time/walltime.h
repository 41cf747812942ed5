/* Fire times: the instants at which a cron expression fires in a zone, under a DST policy.
 *
 * The set is defined per segment of constant offset (jobs/time/zone.h); let a change be a gap when the clock goes
 * forward and an overlap when it goes back:
 *
 *   an instant fires when its wall time matches, except, under the policies that take the first pass only,
 * when that wall time was already shown before the segment's first change ("second pass"); the instant of a
 * gap fires, under hybrid for fixed times, when any wall time that the gap leaves out matches and the gap is
 * not longer than three hours.
 *
 *              fixed: gap / overlap     wildcard: gap / overlap
 *   hybrid     its end / first pass     nothing / both passes
 *   skip       nothing / first pass     nothing / first pass
 *   both       nothing / both passes    nothing / both passes
 *
 * The policy utc is the caller's: it passes zone_utc(). Pure, without allocation; any thread.
 */
#pragma once

#include "jobs/time/civil.h"
#include "jobs/time/cron.h"
#include "jobs/time/zone.h"

#define WALLTIME_GAP_MAX_S (3 * 3600) /* what a longer gap leaves out is lost, as with ISC cron */

/* Instants outside cannot fire, whatever the offset; keeps sums of a time and an offset from overflowing. */
#define WALLTIME_FIRST_S (-(int64_t)2 * CIVIL_DAY_S)
#define WALLTIME_LAST_S  (CIVIL_LOCAL_END + 2 * CIVIL_DAY_S)

struct walltime_policy {
    bool first_pass; /* the second pass of an overlap is silent */
    bool gap_edge;   /* what a gap leaves out fires at its end */
};

struct walltime_policy walltime_policy(const struct cron *cron, enum schedule_dst dst);

/* The least fire time > after_s, or INT64_MAX; the greatest < before_s, or INT64_MIN. */
int64_t walltime_next(const struct cron *cron, const struct zone *zone, enum schedule_dst dst,
                      int64_t after_s);
int64_t walltime_prev(const struct cron *cron, const struct zone *zone, enum schedule_dst dst,
                      int64_t before_s);

/* A fire time that is one only because of a gap: no text of wall time names it. */
bool walltime_moved(const struct cron *cron, const struct zone *zone, enum schedule_dst dst, int64_t at_s);
