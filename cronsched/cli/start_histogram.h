/* Launches per minute of one day, counted from schedules, and their histogram: how many minutes launch how
 * many. Jitter counts, the rest of what decides a launch (overlap, pauses) does not. Plain data, main thread.
 */
#pragma once

#include "cronsched/cli/output.h"
#include "jobs/time/schedule.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define LAUNCHES_MINUTES (24 * 60)
#define LAUNCHES_MAX     2000000 /* fire times looked at; beyond, it says "at least" */

struct launches {
    int64_t from_s; /* the first second of the first minute */
    int64_t total;
    bool cut; /* LAUNCHES_MAX was reached */
    int per_minute[LAUNCHES_MINUTES];
};

void launches_init(struct launches *launches, int64_t now_ms); /* from the minute of now_ms on */
void launches_add(struct launches *launches, const struct schedule *schedule);

/* {"launches","peak","peak_at","at_least","histogram":[{"launches","minutes"},...]}, the histogram by
 * launches, without the minutes that have none. */
json_t *launches_json(const struct launches *launches);

/* For people: the sums, and both histograms side by side. `load`: {"before","after"}, each as above. */
void launches_print(const json_t *load);
