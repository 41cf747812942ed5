/* The search for matching wall times: years, months, days, hours, minutes, seconds, each by a shift and a
 * count of trailing (or leading) zeros. A carry resets the lower fields to their first (or last) value. */
#include "jobs/time/cron.h"

#include "jobs/time/civil.h"

#define MONTH_ALL 0x1ffeu

/* ---- days ---- */

/* The weekday (Monday to Friday) nearest to a day, within its month. */
static int weekday_near(int day, int first_weekday, int length)
{
    int weekday = (first_weekday + day - 1) % 7;

    if (weekday == 6)
        return day > 1 ? day - 1 : day + 2;
    if (weekday == 0)
        return day < length ? day + 1 : day - 2;
    return day;
}

static uint32_t dom_specials(const struct cron *c, int first_weekday, int length)
{
    uint32_t days = 0, rest;

    for (rest = c->dom_last; rest; rest &= rest - 1) {
        int day = length - __builtin_ctz(rest);

        if (day >= 1)
            days |= UINT32_C(1) << day;
    }
    for (rest = c->dom_last_weekday; rest; rest &= rest - 1) {
        int day = length - __builtin_ctz(rest);

        if (day >= 1)
            days |= UINT32_C(1) << weekday_near(day, first_weekday, length);
    }
    for (rest = c->dom_weekday; rest; rest &= rest - 1) {
        int day = __builtin_ctz(rest);

        if (day <= length)
            days |= UINT32_C(1) << weekday_near(day, first_weekday, length);
    }
    return days;
}

static uint32_t dow_specials(const struct cron *c, int first_weekday, int length)
{
    uint32_t days = 0;

    for (int weekday = 0; weekday < 7; weekday++) {
        int first = 1 + (weekday - first_weekday + 7) % 7;

        for (uint32_t rest = c->nth[weekday] & 0x3eu; rest; rest &= rest - 1) {
            int day = first + 7 * (__builtin_ctz(rest) - 1);

            if (day <= length)
                days |= UINT32_C(1) << day;
        }
        if (c->nth[weekday] & 0x40u)
            days |= UINT32_C(1) << (first + 28 <= length ? first + 28 : first + 21);
    }
    return days;
}

uint32_t cron_month_days(const struct cron *c, int first_weekday, int length)
{
    uint32_t inside = (UINT32_C(2) << length) - 2;
    uint32_t dom = c->dom, dow, week;

    if (c->flags & CRON_DOM_SPECIAL)
        dom |= dom_specials(c, first_weekday, length);
    if (c->flags & CRON_DOW_ANY)
        return dom & inside;
    /* the week as seen from the first day on, repeated over the month */
    week = ((uint32_t)c->dow >> first_weekday | (uint32_t)c->dow << (7 - first_weekday)) & 0x7f;
    dow = (uint32_t)(week * UINT64_C(0x10204081) << 1);
    if (c->flags & CRON_DOW_SPECIAL)
        dow |= dow_specials(c, first_weekday, length);
    if (c->flags & CRON_DOM_ANY)
        return dow & inside;
    return (c->flags & CRON_DAYS_AND ? dom & dow : dom | dow) & inside;
}

bool cron_year_match(const struct cron *c, int year)
{
    unsigned bit = (unsigned)(year - CIVIL_YEAR_MIN);

    return c->flags & CRON_YEAR_ANY || (c->year[bit / 64] >> bit % 64 & 1);
}

/* The days of a month, whose first day is day number `first`. */
static uint32_t days_of(const struct cron *c, int year, int month, int64_t first)
{
    return cron_month_days(c, (int)((uint32_t)(first + 4) % 7), civil_month_days(year, month));
}

/* The first matching day in a month after `month` of `year`, or later; -1 when there is none. */
static int64_t next_day(const struct cron *c, int year, int month)
{
    for (;; year++, month = 0) {
        uint32_t months;

        if (year > CIVIL_YEAR_MAX)
            return -1;
        if (!cron_year_match(c, year))
            continue;
        for (months = c->month & (MONTH_ALL << month); months; months &= months - 1) {
            int m = __builtin_ctz(months);
            int64_t first = civil_days(year, m, 1);
            uint32_t days = days_of(c, year, m, first);

            if (days)
                return first + __builtin_ctz(days) - 1;
        }
    }
}

/* The last one in a month before `month` of `year`, or earlier. */
static int64_t prev_day(const struct cron *c, int year, int month)
{
    for (;; year--, month = 13) {
        uint32_t months;

        if (year < CIVIL_YEAR_MIN)
            return -1;
        if (!cron_year_match(c, year))
            continue;
        for (months = c->month & (MONTH_ALL >> (13 - month)) & MONTH_ALL; months;) {
            int m = 31 - __builtin_clz(months);
            int64_t first = civil_days(year, m, 1);
            uint32_t days = days_of(c, year, m, first);

            if (days)
                return first + 31 - __builtin_clz(days) - 1;
            months &= ~(UINT32_C(1) << m);
        }
    }
}

/* ---- the time of day ---- */

/* The least matching second of the day >= s, or -1. */
static int32_t next_time(const struct cron *c, int32_t s)
{
    int hour = s / 3600, minute = s / 60 % 60;
    uint64_t seconds = c->second >> s % 60, minutes = c->minute >> minute;
    uint32_t hours = c->hour >> hour;

    if (hours & 1) {
        if (minutes & 1 && seconds)
            return s + __builtin_ctzll(seconds);
        minutes &= ~UINT64_C(1);
        if (minutes)
            return hour * 3600 + (minute + __builtin_ctzll(minutes)) * 60 + c->first_s % 60;
    }
    hours &= ~UINT32_C(1);
    if (!hours)
        return -1;
    return (hour + __builtin_ctz(hours)) * 3600 + c->first_s % 3600;
}

/* The greatest <= s, or -1. */
static int32_t prev_time(const struct cron *c, int32_t s)
{
    int hour = s / 3600, minute = s / 60 % 60, second = s % 60;
    uint64_t seconds = c->second << (63 - second), minutes = c->minute << (63 - minute);
    uint32_t hours = c->hour << (31 - hour);

    if (hours >> 31) {
        if (minutes >> 63 && seconds)
            return s - __builtin_clzll(seconds);
        minutes &= INT64_MAX;
        if (minutes)
            return hour * 3600 + (minute - __builtin_clzll(minutes)) * 60 + c->last_s % 60;
    }
    hours &= INT32_MAX;
    if (!hours)
        return -1;
    return (hour - __builtin_clz(hours)) * 3600 + c->last_s % 3600;
}

/* ---- both ---- */

int64_t cron_next(const struct cron *c, int64_t local_s)
{
    uint32_t day, days = 0;
    int year, month, dom;
    int32_t time_s;
    int64_t later;

    if (local_s < 0)
        local_s = 0;
    if (local_s >= CIVIL_LOCAL_END)
        return CRON_NEVER;
    day = (uint32_t)((uint64_t)local_s / CIVIL_DAY_S);
    civil_from_days(day, &year, &month, &dom);
    if (c->month >> month & 1 && cron_year_match(c, year))
        days = days_of(c, year, month, (int64_t)day - dom + 1) >> dom;
    if (days & 1) {
        time_s = next_time(c, (int32_t)(local_s - (int64_t)day * CIVIL_DAY_S));
        if (time_s >= 0)
            return (int64_t)day * CIVIL_DAY_S + time_s;
    }
    days &= ~UINT32_C(1);
    later = days ? (int64_t)day + __builtin_ctz(days) : next_day(c, year, month);
    return later < 0 ? CRON_NEVER : later * CIVIL_DAY_S + c->first_s;
}

int64_t cron_prev(const struct cron *c, int64_t local_s)
{
    uint32_t day, days = 0;
    int year, month, dom;
    int32_t time_s;
    int64_t earlier;

    if (local_s < 0)
        return CRON_NEVER_BEFORE;
    if (local_s >= CIVIL_LOCAL_END)
        local_s = CIVIL_LOCAL_END - 1;
    day = (uint32_t)((uint64_t)local_s / CIVIL_DAY_S);
    civil_from_days(day, &year, &month, &dom);
    if (c->month >> month & 1 && cron_year_match(c, year))
        days = days_of(c, year, month, (int64_t)day - dom + 1) << (31 - dom);
    if (days >> 31) {
        time_s = prev_time(c, (int32_t)(local_s - (int64_t)day * CIVIL_DAY_S));
        if (time_s >= 0)
            return (int64_t)day * CIVIL_DAY_S + time_s;
    }
    days &= INT32_MAX;
    earlier = days ? (int64_t)day - __builtin_clz(days) : prev_day(c, year, month);
    return earlier < 0 ? CRON_NEVER_BEFORE : earlier * CIVIL_DAY_S + c->last_s;
}

bool cron_match(const struct cron *c, int64_t local_s)
{
    return cron_next(c, local_s) == local_s;
}
