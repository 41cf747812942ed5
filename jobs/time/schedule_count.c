/* The span is cut where the zone's offset changes, and again where excluded days begin and end; within a
 * piece wall time runs like UTC. The rules for gaps and overlaps are those of jobs/time/walltime.h. */
#include "jobs/time/schedule_count.h"

#include "jobs/time/walltime.h"

#define KNOWN_MAX 8 /* groups of expressions whose count for a whole day is kept */

/* A set of expressions: bit i is cron[i] of the counted schedule. */
typedef uint32_t group;

struct count {
    const struct schedule_counted *counted;
    struct {
        group group;
        int64_t times;
    } known[KNOWN_MAX];
    size_t known_count;
};

static uint64_t below(int bit)
{
    return (UINT64_C(1) << bit) - 1;
}

/* ---- the times of a day ---- */

/* How many seconds of the day before second `s` match: all hours below, all minutes below, the seconds below.
 */
static int64_t times_of_one(const struct cron *c, int32_t s)
{
    int hour = s / 3600, minute = s / 60 % 60, second = s % 60;
    int64_t per_minute = __builtin_popcountll(c->second);
    int64_t per_hour = __builtin_popcountll(c->minute) * per_minute;
    int64_t times = __builtin_popcountll(c->hour & below(hour)) * per_hour;

    if (hour < 24 && c->hour >> hour & 1) {
        times += __builtin_popcountll(c->minute & below(minute)) * per_minute;
        if (c->minute >> minute & 1)
            times += __builtin_popcountll(c->second & below(second));
    }
    return times;
}

static uint64_t seconds_of_minute(const struct schedule_counted *t, group g, int minute)
{
    uint64_t seconds = 0;

    for (; g; g &= g - 1) {
        const struct cron *c = t->cron[__builtin_ctz(g)];

        if (c->minute >> minute & 1)
            seconds |= c->second;
    }
    return seconds;
}

static group with_hour(const struct schedule_counted *t, group g, int hour)
{
    group with = 0;

    for (group rest = g; rest; rest &= rest - 1)
        if (t->cron[__builtin_ctz(rest)]->hour >> hour & 1)
            with |= rest & -rest;
    return with;
}

/* Likewise for the union of a group. */
static int64_t times_of_group(const struct schedule_counted *t, group g, int32_t s)
{
    int hour = s / 3600, minute = s / 60 % 60, second = s % 60;
    int64_t times = 0, per_hour = 0;
    group last = 0, now;

    for (int h = 0; h < hour; h++) {
        now = with_hour(t, g, h);
        if (now != last) { /* neighbouring hours are mostly alike */
            per_hour = 0;
            for (int m = 0; m < 60; m++)
                per_hour += __builtin_popcountll(seconds_of_minute(t, now, m));
            last = now;
        }
        times += per_hour;
    }
    if (hour < 24) {
        now = with_hour(t, g, hour);
        for (int m = 0; m < minute; m++)
            times += __builtin_popcountll(seconds_of_minute(t, now, m));
        times += __builtin_popcountll(seconds_of_minute(t, now, minute) & below(second));
    }
    return times;
}

static int64_t times_before(const struct schedule_counted *t, group g, int32_t s)
{
    if (g == 0 || s == 0)
        return 0;
    return (g & (g - 1)) == 0 ? times_of_one(t->cron[__builtin_ctz(g)], s) : times_of_group(t, g, s);
}

static int64_t times_of_day(struct count *count, group g)
{
    size_t i;

    if ((g & (g - 1)) == 0)
        return times_before(count->counted, g, CIVIL_DAY_S);
    for (i = 0; i < count->known_count; i++)
        if (count->known[i].group == g)
            return count->known[i].times;
    if (i == KNOWN_MAX)
        i = g % KNOWN_MAX;
    else
        count->known_count++;
    count->known[i].group = g;
    count->known[i].times = times_of_group(count->counted, g, CIVIL_DAY_S);
    return count->known[i].times;
}

/* ---- days ---- */

static uint32_t days_of_month(const struct cron *c, int year, int month, int64_t first)
{
    if (!(c->month >> month & 1) || !cron_year_match(c, year))
        return 0;
    return cron_month_days(c, civil_weekday(first), civil_month_days(year, month));
}

/* Those of a group that have the day. */
static group with_day(const struct schedule_counted *t, group g, int64_t day)
{
    int year, month, dom;
    group with = 0;

    civil_from_days(day, &year, &month, &dom);
    for (group rest = g; rest; rest &= rest - 1)
        if (days_of_month(t->cron[__builtin_ctz(rest)], year, month, day - dom + 1) >> dom & 1)
            with |= rest & -rest;
    return with;
}

/* The fire times of one month's days that are in `wanted`. */
static int64_t count_month(struct count *count, group g, int year, int month, int64_t first, uint32_t wanted)
{
    const struct schedule_counted *t = count->counted;
    uint32_t days[SCHEDULE_COUNTED_MAX], any = 0;
    int64_t sum = 0;

    for (group rest = g; rest; rest &= rest - 1) {
        int i = __builtin_ctz(rest);

        days[i] = days_of_month(t->cron[i], year, month, first) & wanted;
        any |= days[i];
    }
    if ((g & (g - 1)) == 0)
        return __builtin_popcount(any) * times_of_day(count, g);
    for (; any; any &= any - 1) {
        int day = __builtin_ctz(any);
        group with = 0;

        for (group rest = g; rest; rest &= rest - 1)
            if (days[__builtin_ctz(rest)] >> day & 1)
                with |= rest & -rest;
        sum += times_of_day(count, with);
    }
    return sum;
}

/* Whole days, from `from` to before `to`. */
static int64_t count_days(struct count *count, group g, int64_t from, int64_t to)
{
    int64_t sum = 0;
    int year, month, dom;

    while (from < to) {
        int64_t first, next;
        uint32_t wanted;

        civil_from_days(from, &year, &month, &dom);
        first = from - dom + 1;
        next = first + civil_month_days(year, month);
        wanted = UINT32_MAX << dom;
        if (to < next)
            wanted &= (uint32_t)below((int)(to - first) + 1);
        sum += count_month(count, g, year, month, first, wanted);
        from = next;
    }
    return sum;
}

/* Wall times from `from` to before `to`, no excluded day among them. */
static int64_t count_stretch(struct count *count, group g, int64_t from, int64_t to)
{
    const struct schedule_counted *t = count->counted;
    int64_t first = civil_day_of(from), last = civil_day_of(to), sum;
    group on_first = with_day(t, g, first);
    int32_t from_s = (int32_t)(from - first * CIVIL_DAY_S), to_s = (int32_t)(to - last * CIVIL_DAY_S);

    if (first == last)
        return times_before(t, on_first, to_s) - times_before(t, on_first, from_s);
    sum = times_of_day(count, on_first) - times_before(t, on_first, from_s);
    sum += count_days(count, g, first + 1, last);
    return to_s > 0 ? sum + times_before(t, with_day(t, g, last), to_s) : sum;
}

/* ---- excluded days ---- */

/* The next stretch of wall time in [*from, to) without an excluded day; false when there is none. */
static bool next_stretch(const struct schedule_counted *t, int64_t *from, int64_t to, int64_t *ret_to)
{
    size_t i = civil_range_find(t->except, t->except_count, civil_day_of(*from));

    if (i < t->except_count && t->except[i].from * CIVIL_DAY_S <= *from)
        *from = (t->except[i++].to + 1) * CIVIL_DAY_S;
    if (*from >= to)
        return false;
    *ret_to = i < t->except_count && t->except[i].from * CIVIL_DAY_S < to ? t->except[i].from * CIVIL_DAY_S
                                                                          : to;
    return true;
}

static bool is_excluded(const struct schedule_counted *t, int64_t local_s)
{
    int64_t day = civil_day_of(local_s);
    size_t i = civil_range_find(t->except, t->except_count, day);

    return i < t->except_count && t->except[i].from <= day;
}

/* Wall times from `from` to before `to`. */
static int64_t count_local(struct count *count, group g, int64_t from, int64_t to)
{
    int64_t sum = 0, stop;

    if (from < 0)
        from = 0;
    if (to > CIVIL_LOCAL_END)
        to = CIVIL_LOCAL_END;
    if (g == 0)
        return 0;
    for (; from < to && next_stretch(count->counted, &from, to, &stop); from = stop)
        sum += count_stretch(count, g, from, stop);
    return sum;
}

/* ---- segments ---- */

/* 1 when the gap that begins segment i fires at its end and nothing else does. */
static int64_t count_gap(const struct schedule_counted *t, uint32_t i)
{
    int32_t gap = i > 0 ? t->zone->offset_s[i] - t->zone->offset_s[i - 1] : 0;
    int64_t local_s;
    bool edge = false;

    if (gap <= 0 || gap > WALLTIME_GAP_MAX_S)
        return 0;
    local_s = t->zone->start_s[i] + t->zone->offset_s[i];
    if (is_excluded(t, local_s))
        return 0;
    for (size_t k = 0; k < t->crons; k++) {
        if (cron_match(t->cron[k], local_s))
            return 0; /* counted with the segment */
        edge = edge || (walltime_policy(t->cron[k], t->dst).gap_edge &&
                        cron_next(t->cron[k], local_s - gap) < local_s);
    }
    return edge;
}

/* The instants from at_s to before end_s, all in segment i. */
static int64_t count_segment(struct count *count, uint32_t i, int64_t at_s, int64_t end_s)
{
    const struct schedule_counted *t = count->counted;
    int64_t offset = t->zone->offset_s[i], from = at_s + offset, to = end_s + offset, sum = 0;
    group all = 0, both_passes = 0;

    for (size_t k = 0; k < t->crons; k++) {
        all |= UINT32_C(1) << k;
        if (!walltime_policy(t->cron[k], t->dst).first_pass)
            both_passes |= UINT32_C(1) << k;
    }
    if (i > 0) {
        int64_t new_local_s = t->zone->start_s[i] + t->zone->offset_s[i - 1];

        if (at_s == t->zone->start_s[i])
            sum += count_gap(t, i);
        if (from < new_local_s) {
            int64_t stop = to < new_local_s ? to : new_local_s;

            sum += count_local(count, both_passes, from, stop);
            from = stop;
        }
    }
    return sum + count_local(count, all, from, to);
}

static int64_t count_interval(const struct schedule_counted *t, uint32_t i, int64_t at_s, int64_t end_s,
                              int64_t most)
{
    int64_t offset = t->zone->offset_s[i], from = at_s + offset, to = end_s + offset, sum = 0, stop;

    for (; sum < most && next_stretch(t, &from, to, &stop); from = stop)
        sum += interval_count(t->interval[0], t->zone, from - offset - 1, stop - offset - 1, most - sum);
    return sum;
}

/* The fire times of intervals at which no cron expression fires as well. */
static int64_t count_mixed(const struct schedule_counted *t, int64_t after_s, int64_t until_s, int64_t most)
{
    int64_t sum = 0;

    while (sum < most) {
        int64_t at_s = INT64_MAX;
        bool other = false;

        for (size_t k = 0; k < t->intervals; k++) {
            int64_t next_s = interval_next(t->interval[k], t->zone, after_s);

            at_s = next_s < at_s ? next_s : at_s;
        }
        if (at_s > until_s || at_s == INT64_MAX)
            break;
        for (size_t k = 0; k < t->crons && !other; k++)
            other = walltime_next(t->cron[k], t->zone, t->dst, at_s - 1) == at_s;
        if (!other && !is_excluded(t, at_s + zone_offset(t->zone, at_s)))
            sum++;
        after_s = at_s;
    }
    return sum;
}

int64_t schedule_count_fires(const struct schedule_counted *t, int64_t after_s, int64_t until_s, int64_t most)
{
    struct count count = {.counted = t};
    bool one_interval = t->crons == 0 && t->intervals == 1;
    int64_t sum = 0, at_s, end_s;

    if (after_s < WALLTIME_FIRST_S)
        after_s = WALLTIME_FIRST_S;
    if (until_s > WALLTIME_LAST_S)
        until_s = WALLTIME_LAST_S;
    if (after_s >= until_s || most <= 0)
        return 0;
    if (t->crons > 0 || one_interval) {
        at_s = after_s + 1;
        for (uint32_t i = zone_segment(t->zone, at_s); at_s <= until_s && sum < most; i++, at_s = end_s) {
            end_s = t->zone->start_s[i + 1] <= until_s ? t->zone->start_s[i + 1] : until_s + 1;
            sum += one_interval ? count_interval(t, i, at_s, end_s, most - sum)
                                : count_segment(&count, i, at_s, end_s);
        }
    }
    if (t->intervals > 0 && !one_interval && sum < most)
        sum += count_mixed(t, after_s, until_s, most - sum);
    return sum < most ? sum : most;
}
