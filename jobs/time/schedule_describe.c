/* A sentence has up to four parts, each by its own function: the time of day, the days, the months, the
 * years. */
#include "jobs/time/schedule_describe.h"

#include "jobs/time/civil.h"

#include <string.h>

#define TIMES_MAX 6 /* times of day that are listed one by one */

static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

/* ---- lists ---- */

/* Writes value number `value` of a list. */
typedef void (*put_value)(struct line *line, int value);

static void put_number(struct line *line, int value)
{
    line_add(line, "%d", value);
}

static void put_weekday(struct line *line, int value)
{
    line_add(line, "%s", weekdays[value % 7]);
}

static void put_month(struct line *line, int value)
{
    line_add(line, "%s", months[value - 1]);
}

static void put_ordinal(struct line *line, int value)
{
    const char *ending = "th";

    if (value % 10 == 1 && value % 100 != 11)
        ending = "st";
    else if (value % 10 == 2 && value % 100 != 12)
        ending = "nd";
    else if (value % 10 == 3 && value % 100 != 13)
        ending = "rd";
    line_add(line, "%d%s", value, ending);
}

/* The comma or the "and" before item number `at` of `count`. */
static void put_joint(struct line *line, int at, int count)
{
    if (at > 0)
        line_add(line, at + 1 == count ? " and " : ", ");
}

static int run_end(uint64_t bits, int from)
{
    while (from < 63 && bits >> (from + 1) & 1)
        from++;
    return from;
}

/* "1, 3 and 10 to 15": runs of three and more as such. */
static void put_list(struct line *line, uint64_t bits, put_value put)
{
    int count = 0, at = 0;

    for (uint64_t rest = bits; rest; count++) {
        int from = __builtin_ctzll(rest), to = run_end(rest, from);

        rest &= to - from >= 2 ? ~(UINT64_MAX >> (63 - to)) : rest - 1;
    }
    for (uint64_t rest = bits; rest; at++) {
        int from = __builtin_ctzll(rest), to = run_end(rest, from);

        put_joint(line, at, count);
        put(line, from);
        if (to - from >= 2) {
            line_add(line, " to ");
            put(line, to);
            rest &= ~(UINT64_MAX >> (63 - to));
        } else {
            rest &= rest - 1;
        }
    }
}

/* The step of a set that is 0, n, 2n, ... throughout, with n dividing size; 0 for others. */
static int even_step(uint64_t bits, int size)
{
    for (int step = 1; step <= size / 2; step++) {
        uint64_t wanted = 0;

        if (size % step)
            continue;
        for (int v = 0; v < size; v += step)
            wanted |= UINT64_C(1) << v;
        if (bits == wanted)
            return step;
    }
    return 0;
}

/* ---- the time of day ---- */

static void put_clock(struct line *line, int hour, int minute, int second)
{
    line_add(line, "%02d:%02d", hour, minute);
    if (second)
        line_add(line, ":%02d", second);
}

static void put_every(struct line *line, int step, const char *unit)
{
    if (step == 1)
        line_add(line, "every %s", unit);
    else
        line_add(line, "every %d %ss", step, unit);
}

static bool is_single(uint64_t bits)
{
    return (bits & (bits - 1)) == 0;
}

/* Few enough to be listed; seconds are then one value. */
static void put_times(struct line *line, const struct cron *c)
{
    int count = __builtin_popcount(c->hour) * __builtin_popcountll(c->minute), at = 0;

    line_add(line, "at ");
    for (uint32_t hours = c->hour; hours; hours &= hours - 1)
        for (uint64_t minutes = c->minute; minutes; minutes &= minutes - 1) {
            put_joint(line, at++, count);
            put_clock(line, __builtin_ctz(hours), __builtin_ctzll(minutes), __builtin_ctzll(c->second));
        }
}

/* The hours around something that repeats within them. */
static void put_hours(struct line *line, const struct cron *c, bool whole_hours)
{
    int from = __builtin_ctz(c->hour), to = 31 - __builtin_clz(c->hour), step = even_step(c->hour, 24);

    if (step == 1)
        return;
    if (run_end(c->hour, from) == to) {
        line_add(line, " from ");
        put_clock(line, from, c->first_s / 60 % 60, whole_hours ? 0 : c->first_s % 60);
        line_add(line, " to ");
        put_clock(line, to, c->last_s / 60 % 60, whole_hours ? 0 : c->last_s % 60);
    } else if (step) {
        line_add(line, " in every ");
        put_ordinal(line, step);
        line_add(line, " hour");
    } else {
        line_add(line, " in the hours ");
        put_list(line, c->hour, put_number);
    }
}

static void put_minutes(struct line *line, const struct cron *c)
{
    int step = even_step(c->minute, 60);

    if (step) {
        put_every(line, step, "minute");
        put_hours(line, c, true);
        return;
    }
    if (c->minute == 1 && even_step(c->hour, 24)) {
        put_every(line, even_step(c->hour, 24), "hour");
        return;
    }
    if (c->minute == 1 && run_end(c->hour, __builtin_ctz(c->hour)) == 31 - __builtin_clz(c->hour)) {
        line_add(line, "every hour");
        put_hours(line, c, true);
        return;
    }
    line_add(line, is_single(c->minute) ? "at minute " : "at minutes ");
    put_list(line, c->minute, put_number);
    if (even_step(c->hour, 24) == 1)
        line_add(line, " of every hour");
    put_hours(line, c, true);
}

/* The minutes around something that repeats within them: "every second of every 10th minute". */
static void put_minutes_around(struct line *line, const struct cron *c, int second_step)
{
    int step = even_step(c->minute, 60);

    if (second_step && step > 1) {
        line_add(line, " of every ");
        put_ordinal(line, step);
        line_add(line, " minute");
        put_hours(line, c, true);
        return;
    }
    line_add(line, second_step ? " within " : ", ");
    put_minutes(line, c);
}

/* Returns true when it names single times, which a day should follow. */
static bool put_time(struct line *line, const struct cron *c)
{
    int step = even_step(c->second, 60);
    int times = __builtin_popcount(c->hour) * __builtin_popcountll(c->minute);

    if (is_single(c->second) &&
        (times <= TIMES_MAX && !(even_step(c->hour, 24) && c->minute == 1 && times > 1))) {
        put_times(line, c);
        return true;
    }
    if (c->second == 1) {
        put_minutes(line, c);
        return false;
    }
    if (step) {
        put_every(line, step, "second");
    } else {
        line_add(line, is_single(c->second) ? "at second " : "at seconds ");
        put_list(line, c->second, put_number);
    }
    if (even_step(c->minute, 60) == 1) {
        if (!step)
            line_add(line, " of every minute");
        put_hours(line, c, false);
        return false;
    }
    put_minutes_around(line, c, step);
    return false;
}

/* ---- days ---- */

struct parts { /* a list whose items are written one after the other */
    struct line *line;
    int at, count;
};

static void next_part(struct parts *parts)
{
    put_joint(parts->line, parts->at++, parts->count);
}

static void put_dom(struct line *line, const struct cron *c)
{
    struct parts parts = {line, 0,
                          (c->dom != 0) + __builtin_popcount(c->dom_last) +
                              __builtin_popcount(c->dom_last_weekday) + __builtin_popcount(c->dom_weekday)};

    line_add(line, "on ");
    if (c->dom) {
        next_part(&parts);
        line_add(line, "the ");
        put_list(line, c->dom, put_ordinal);
    }
    for (uint32_t rest = c->dom_weekday; rest; rest &= rest - 1) {
        next_part(&parts);
        line_add(line, "the weekday nearest to the ");
        put_ordinal(line, __builtin_ctz(rest));
    }
    for (int n = 0; n <= 30; n++) {
        const char *days = n == 1 ? "day" : "days";

        if (c->dom_last >> n & 1) {
            next_part(&parts);
            if (n)
                line_add(line, "the day %d %s before the last of the month", n, days);
            else
                line_add(line, "the last day of the month");
        }
        if (c->dom_last_weekday >> n & 1) {
            next_part(&parts);
            if (n)
                line_add(line, "the weekday nearest to %d %s before the last of the month", n, days);
            else
                line_add(line, "the last weekday of the month");
        }
    }
}

static void put_dow(struct line *line, const struct cron *c)
{
    static const char *const ordinals[] = {"", "first", "second", "third", "fourth", "fifth", "last"};
    struct parts parts = {line, 0, c->dow != 0};
    uint64_t from_monday = c->dow & 1 ? (c->dow & 0x7e) | 0x80 : c->dow; /* so that Sunday ends the week */

    for (int day = 0; day < 7; day++)
        parts.count += __builtin_popcount(c->nth[day]);
    line_add(line, "on ");
    if (c->dow) {
        next_part(&parts);
        if (c->dow == 0x3e)
            line_add(line, "weekdays");
        else if (c->dow == 0x41)
            line_add(line, "weekends");
        else if (c->dow == 0x7f)
            line_add(line, "every day of the week");
        else
            put_list(line, from_monday, put_weekday);
    }
    for (int day = 0; day < 7; day++)
        for (int n = 1; n <= 6; n++)
            if (c->nth[day] >> n & 1) {
                next_part(&parts);
                line_add(line, "the %s %s of the month", ordinals[n], weekdays[day]);
            }
}

static void put_days(struct line *line, const struct cron *c, bool single_times)
{
    if (c->flags & CRON_DOM_ANY && c->flags & CRON_DOW_ANY) {
        if (single_times && c->month == 0x1ffe)
            line_add(line, " every day");
        return;
    }
    line_add(line, " ");
    if (!(c->flags & CRON_DOM_ANY)) {
        put_dom(line, c);
        if (!(c->flags & CRON_DOW_ANY))
            line_add(line, c->flags & CRON_DAYS_AND ? " if " : " or ");
    }
    if (!(c->flags & CRON_DOW_ANY))
        put_dow(line, c);
}

static void put_years(struct line *line, const struct cron *c)
{
    int first = -1, last = -1, count = 0;

    for (int year = CIVIL_YEAR_MIN; year <= CIVIL_YEAR_MAX; year++)
        if (cron_year_match(c, year)) {
            first = first < 0 ? year : first;
            last = year;
            count++;
        }
    if (count == last - first + 1 && count >= 3) {
        line_add(line, " from %d to %d", first, last);
        return;
    }
    line_add(line, " in ");
    for (int year = first, at = 0; year <= last; year++)
        if (cron_year_match(c, year)) {
            put_joint(line, at++, count);
            line_add(line, "%d", year);
        }
}

void schedule_describe_cron(struct line *line, const struct cron *c)
{
    bool single_times = put_time(line, c);
    bool plain_dom = !(c->flags & (CRON_DOM_ANY | CRON_DOM_SPECIAL)) && c->flags & CRON_DOW_ANY;

    put_days(line, c, single_times);
    if (c->month != 0x1ffe) {
        line_add(line, plain_dom ? " of " : " in ");
        put_list(line, c->month, put_month);
    } else if (plain_dom) {
        line_add(line, " of the month");
    }
    if (!(c->flags & CRON_YEAR_ANY))
        put_years(line, c);
}

/* ---- intervals ---- */

static void put_amount(struct line *line, int64_t n, const char *unit, int *at, int count)
{
    if (n == 0)
        return;
    put_joint(line, (*at)++, count);
    if (n == 1 && count == 1)
        line_add(line, "%s", unit);
    else
        line_add(line, "%lld %s%s", (long long)n, unit, n == 1 ? "" : "s");
}

static void put_period(struct line *line, const struct interval *v)
{
    const struct {
        int64_t n;
        const char *unit;
    } part[] = {
        {v->months / 12, "year"},
        {v->months % 12, "month"},
        {v->days % 7 ? 0 : v->days / 7, "week"},
        {v->days % 7 ? v->days : 0, "day"},
        {v->seconds / 3600, "hour"},
        {v->seconds / 60 % 60, "minute"},
        {v->seconds % 60, "second"},
    };
    const size_t parts = sizeof(part) / sizeof(part[0]);
    int count = 0, at = 0;

    for (size_t i = 0; i < parts; i++)
        count += part[i].n != 0;
    line_add(line, "every ");
    for (size_t i = 0; i < parts; i++)
        put_amount(line, part[i].n, part[i].unit, &at, count);
}

void schedule_describe_interval(struct line *line, const struct interval *v)
{
    char start[CIVIL_TEXT_MAX];

    civil_format(v->has_offset || !v->start_given ? v->start_s : v->start_local_s, 0, true, start,
                 sizeof(start));
    if (!v->has_offset && v->start_given)
        start[strlen(start) - 1] = '\0'; /* a wall time has no Z */
    if (v->kind == INTERVAL_AT) {
        line_add(line, "once, at %s", start);
        return;
    }
    put_period(line, v);
    if (v->months || v->days)
        line_add(line, " by the calendar");
    line_add(line, ", counted from %s", start);
    if (v->count != INT64_MAX)
        line_add(line, ", %lld time%s in all", (long long)v->count, v->count == 1 ? "" : "s");
}
