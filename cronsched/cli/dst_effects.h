/* What changes of the clock do to a schedule, as JSON and in words: for dst-report and plan. Main thread. */
#pragma once

#include "jobs/time/schedule.h"

#include <jansson.h>

#define DST_EFFECTS_MAX 1024 /* of one schedule in one call; a year has some two changes a text */

/* The effects of all changes in (after_s, until_s]: array of {"job" (unless it is
 * NULL),"schedule","timezone", "change_at","change_local","before","after","wall_time","count","effect":
 * moved, lost, once or twice}. NULL when out of memory. */
json_t *dst_effects(const char *job, const struct schedule *schedule, int64_t after_s, int64_t until_s);

/* Of one of these: "2026-03-29 02:30 and 3 more". Returns buffer. */
const char *dst_effect_times(const json_t *effect, char *buffer, size_t size);

/* "skipped by the clock: runs at the change" */
const char *dst_effect_words(const json_t *effect);
