/* The number of fire times in a span, without visiting them: by the sizes of sets, months at a time.
 *
 * For one expression a day's fire times are a product of three set sizes, and its days are counted per month.
 * For the union of several, days are grouped by which expressions have them, and the union of their times of
 * day is counted once per group. Intervals are counted by division; only a mixture of intervals with other
 * texts is stepped through, the intervals' fire times alone. Pure; any thread; works in the caller's stack.
 */
#pragma once

#include "jobs/time/civil.h"
#include "jobs/time/cron.h"
#include "jobs/time/interval.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zone.h"

#define SCHEDULE_COUNTED_MAX SCHEDULE_TEXTS_MAX

struct schedule_counted {
    const struct zone *zone;
    enum schedule_dst dst;
    const struct civil_range *except; /* sorted, apart: local days that do not count */
    size_t except_count;
    size_t crons, intervals;
    const struct cron *cron[SCHEDULE_COUNTED_MAX];
    const struct interval *interval[SCHEDULE_COUNTED_MAX];
};

/* The number of instants in (after_s, until_s] at which any of them fires, counted up to `most`. */
int64_t schedule_count_fires(const struct schedule_counted *counted, int64_t after_s, int64_t until_s,
                             int64_t most);
