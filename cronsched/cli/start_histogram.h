/* Launches per minute of one day, counted from schedules, and their histogram: how many minutes launch how
 * many. Jitter counts, the rest of what decides a launch (overlap, pauses) does not. Plain data, main thread.
 */
#pragma once

#include "cronsched/cli/output.h"
#include "jobs/time/schedule.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define START_HISTOGRAM_MINUTES (24 * 60)
#define START_HISTOGRAM_MAX     2000000 /* fire times looked at; beyond, it says "at least" */

struct start_histogram {
    int64_t from_s; /* the first second of the first minute */
    int64_t total;
    bool cut; /* START_HISTOGRAM_MAX was reached */
    int per_minute[START_HISTOGRAM_MINUTES];
};

void start_histogram_init(struct start_histogram *launches,
                          int64_t now_ms); /* from the minute of now_ms on */
void start_histogram_add(struct start_histogram *launches, const struct schedule *schedule);

/* {"launches","peak","peak_at","at_least","histogram":[{"launches","minutes"},...]}, the histogram by
 * launches, without the minutes that have none. */
json_t *start_histogram_json(const struct start_histogram *launches);

/* For people: the sums, and both histograms side by side. `load`: {"before","after"}, each as above. */
void start_histogram_print(const json_t *load);
