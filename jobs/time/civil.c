#include "jobs/time/civil.h"

#include "jobs/base/scan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int64_t civil_seconds(const struct civil *c)
{
    return civil_days(c->year, c->month, c->day) * CIVIL_DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

void civil_from_seconds(int64_t local_s, struct civil *ret)
{
    int64_t days = civil_day_of(local_s);
    int rest = (int)(local_s - days * CIVIL_DAY_S);

    civil_from_days(days, &ret->year, &ret->month, &ret->day);
    ret->hour = rest / 3600;
    ret->minute = rest / 60 % 60;
    ret->second = rest % 60;
    assert(rest >= 0 && ret->month >= 1 && ret->month <= 12 && ret->day >= 1 && ret->day <= 31);
}

/* ---- stretches of days ---- */

static int compare_ranges(const void *a, const void *b)
{
    const struct civil_range *x = a, *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

size_t civil_range_sort(struct civil_range *days, size_t count)
{
    size_t last = 0;

    if (count == 0)
        return 0;
    qsort(days, count, sizeof(*days), compare_ranges);
    for (size_t i = 1; i < count; i++) {
        if (days[i].from > days[last].to + 1)
            days[++last] = days[i];
        else if (days[i].to > days[last].to)
            days[last].to = days[i].to;
        assert(days[last].from <= days[last].to);
    }
    return last + 1;
}

size_t civil_range_find(const struct civil_range *days, size_t count, int64_t day)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (days[middle].to < day)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- reading ---- */

struct cursor {
    const char *at, *end;
};

static bool take_char(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_digits(struct cursor *c, int count, int *ret)
{
    return scan_digits(&c->at, c->end, count, ret);
}

bool civil_scan_fraction(const char **at, const char *end, struct civil_text *ret)
{
    const char *s = *at;
    int scale = 100;

    if (s == end || *s != '.')
        return true;
    for (s++; s < end && scan_is_digit(*s); s++, scale /= 10) {
        ret->has_fraction |= *s != '0';
        ret->ms += (*s - '0') * scale;
    }
    if (s == *at + 1)
        return false;
    *at = s;
    return true;
}

static bool take_offset(struct cursor *c, struct civil_text *ret)
{
    int sign, hours, minutes;

    if (c->at == c->end)
        return true;
    ret->has_offset = true;
    if (take_char(c, 'Z') || take_char(c, 'z'))
        return true;
    sign = take_char(c, '+') ? 1 : -1;
    if (sign < 0 && !take_char(c, '-'))
        return false;
    if (!take_digits(c, 2, &hours) || !take_char(c, ':') || !take_digits(c, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    ret->offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool take_date(struct cursor *c, struct civil *ret)
{
    return take_digits(c, 4, &ret->year) && take_char(c, '-') && take_digits(c, 2, &ret->month) &&
           take_char(c, '-') && take_digits(c, 2, &ret->day);
}

/* Seconds may be left out. */
static bool take_time(struct cursor *c, struct civil *ret, struct civil_text *text)
{
    if (!take_char(c, 'T') && !take_char(c, 't') && !take_char(c, ' '))
        return false;
    if (!take_digits(c, 2, &ret->hour) || !take_char(c, ':') || !take_digits(c, 2, &ret->minute))
        return false;
    text->has_seconds = take_char(c, ':');
    if (text->has_seconds && (!take_digits(c, 2, &ret->second) || !civil_scan_fraction(&c->at, c->end, text)))
        return false;
    return take_offset(c, text);
}

bool civil_scan(const char *text, size_t length, struct civil *ret, struct civil_text *ret_text,
                size_t *ret_column)
{
    struct cursor c = {text, text + length};
    bool fine;

    *ret = (struct civil){0};
    *ret_text = (struct civil_text){0};
    fine = take_date(&c, ret);
    if (fine && c.at == c.end)
        ret_text->date_only = true;
    else
        fine = fine && take_time(&c, ret, ret_text) && c.at == c.end;
    if (ret_column)
        *ret_column = (size_t)(c.at - text);
    return fine;
}

static int fault_at(size_t column, size_t *ret_column)
{
    if (ret_column)
        *ret_column = column;
    return ERR_INVALID;
}

int civil_check(const struct civil *civil, size_t *ret_column, struct error *error)
{
    if (civil->month < 1 || civil->month > 12) {
        error_set(error, ERR_INVALID, "month %02d is out of range: 01-12 are allowed", civil->month);
        return fault_at(5, ret_column);
    }
    if (civil->day < 1 || civil->day > civil_month_days(civil->year, civil->month)) {
        error_set(error, ERR_INVALID, "%04d-%02d has no day %02d", civil->year, civil->month, civil->day);
        return fault_at(8, ret_column);
    }
    if (civil->hour > 23 || civil->minute > 59 || civil->second > 59) {
        error_set(error, ERR_INVALID, "the time of day is out of range: 00:00:00-23:59:59 are allowed");
        return fault_at(11, ret_column);
    }
    return 0;
}

int civil_parse(const char *text, size_t length, struct civil_text *ret, size_t *ret_column,
                struct error *error)
{
    struct civil civil;
    struct civil_text got;
    int r;

    if (!civil_scan(text, length, &civil, &got, ret_column))
        return error_set(
            error, ERR_INVALID,
            "not a date or time: write it like 2026-12-24, 2026-12-24T18:00:00 or 2026-12-24T18:00:00Z");
    r = civil_check(&civil, ret_column, error);
    if (r < 0)
        return r;
    got.local_s = civil_seconds(&civil);
    *ret = got;
    return 0;
}

/* ---- printing ---- */

const char *civil_format(int64_t local_s, int32_t offset_s, bool zulu, char *buffer, size_t size)
{
    struct civil c;
    int east = abs(offset_s), n;

    civil_from_seconds(local_s, &c);
    n = snprintf(buffer, size, "%04d-%02d-%02dT%02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute,
                 c.second);
    if (n < 0 || (size_t)n >= size)
        return buffer;
    buffer += n;
    size -= (size_t)n;
    if (zulu && offset_s == 0)
        snprintf(buffer, size, "Z");
    else if (east % 60)
        snprintf(buffer, size, "%c%02d:%02d:%02d", offset_s < 0 ? '-' : '+', east / 3600, east / 60 % 60,
                 east % 60);
    else
        snprintf(buffer, size, "%c%02d:%02d", offset_s < 0 ? '-' : '+', east / 3600, east / 60 % 60);
    return buffer - n;
}

/* "2026-12-25" of a day number. Returns buffer. */
static const char *format_date(int64_t days, char *buffer, size_t size)
{
    int year, month, day;

    civil_from_days(days, &year, &month, &day);
    snprintf(buffer, size, "%04d-%02d-%02d", year, month, day);
    return buffer;
}

const char *civil_range_format(const struct civil_range *range, char *buffer, size_t size)
{
    char from[CIVIL_TEXT_MAX], to[CIVIL_TEXT_MAX];

    format_date(range->from, from, sizeof(from));
    format_date(range->to, to, sizeof(to));
    snprintf(buffer, size, range->from == range->to ? "%s" : "%s/%s", from, to);
    return buffer;
}
