#include "jobs/time/instant.h"

#include "jobs/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>

#define MS_PER_S   INT64_C(1000)
#define MS_PER_DAY (INT64_C(86400) * MS_PER_S)

struct civil {
    int year, month, day, hour, minute, second, ms;
};

/* Days since 1970-01-01 of a proleptic Gregorian date. Years are counted from March, so that a leap day is
 * the last of its year, in eras of 400 years, which all have the same length. */
static int64_t days_of_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_of_days(int64_t days, struct civil *ret)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;

    ret->day = (int)(of_year - (153 * month + 2) / 5 + 1);
    ret->month = (int)(month < 10 ? month + 3 : month - 9);
    ret->year = (int)(year + era * 400 + (ret->month <= 2));
}

static bool take_digits(const char **s, int n, int *ret)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*s)[i]))
            return false;
        value = value * 10 + ((*s)[i] - '0');
    }
    *s += n;
    *ret = value;
    return true;
}

static bool take_char(const char **s, char c)
{
    if (!c)
        return true;
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static bool take_fraction(const char **s, int *ret_ms)
{
    int scale = 100;

    *ret_ms = 0;
    if (**s != '.')
        return true;
    (*s)++;
    if (!isdigit((unsigned char)**s))
        return false;
    for (; isdigit((unsigned char)**s); (*s)++, scale /= 10)
        *ret_ms += (**s - '0') * scale;
    return true;
}

/* dash and colon are NUL for the basic form. */
static bool take_civil(const char **s, char dash, char colon, struct civil *ret)
{
    if (!take_digits(s, 4, &ret->year) || !take_char(s, dash) || !take_digits(s, 2, &ret->month) ||
        !take_char(s, dash) || !take_digits(s, 2, &ret->day))
        return false;
    if (**s != 'T' && (!dash || (**s != 't' && **s != ' ')))
        return false;
    (*s)++;
    return take_digits(s, 2, &ret->hour) && take_char(s, colon) && take_digits(s, 2, &ret->minute) &&
           take_char(s, colon) && take_digits(s, 2, &ret->second) && take_fraction(s, &ret->ms);
}

static bool leap_year(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int civil_to_ms(const struct civil *c, const char *s, int64_t *ret_ms, struct error *error)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (c->month < 1 || c->month > 12)
        return error_set(error, ERR_INVALID, "'%s': month %02d is out of range", s, c->month);
    if (c->day < 1 || c->day > days[c->month - 1] + (c->month == 2 && leap_year(c->year)))
        return error_set(error, ERR_INVALID, "'%s': %04d-%02d has no day %02d", s, c->year, c->month, c->day);
    if (c->hour > 23 || c->minute > 59 || c->second > 59)
        return error_set(error, ERR_INVALID, "'%s': the time of day is out of range", s);
    *ret_ms = days_of_civil(c->year, c->month, c->day) * MS_PER_DAY +
              (c->hour * 3600 + c->minute * 60 + c->second) * MS_PER_S + c->ms;
    return 0;
}

static bool take_offset(const char **s, int *ret_minutes)
{
    int hours, minutes, sign;

    if (**s == 'Z' || **s == 'z') {
        (*s)++;
        *ret_minutes = 0;
        return true;
    }
    sign = **s == '+' ? 1 : **s == '-' ? -1 : 0;
    if (!sign)
        return false;
    (*s)++;
    if (!take_digits(s, 2, &hours) || !take_char(s, ':') || !take_digits(s, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

int instant_parse(const char *s, int64_t *ret_ms, struct error *error)
{
    struct civil c;
    const char *at = s;
    int offset, r;
    int64_t ms;

    if (!take_civil(&at, '-', ':', &c))
        return error_set(error, ERR_INVALID, "'%s' is not a time; write it like 2026-11-22T03:00:00Z", s);
    if (!*at)
        return error_set(error, ERR_INVALID, "'%s' lacks its offset: end it with Z or +HH:MM", s);
    if (!take_offset(&at, &offset) || *at)
        return error_set(error, ERR_INVALID, "'%s' has a wrong offset: end it with Z or +HH:MM", s);
    r = civil_to_ms(&c, s, &ms, error);
    if (r < 0)
        return r;
    *ret_ms = ms - offset * 60 * MS_PER_S;
    return 0;
}

int instant_parse_basic(const char *s, int64_t *ret_ms, struct error *error)
{
    struct civil c;
    const char *at = s;

    if (!take_civil(&at, '\0', '\0', &c) || at[0] != 'Z' || at[1])
        return error_set(error, ERR_INVALID, "'%s' is not a time of the form 20261122T030000Z", s);
    return civil_to_ms(&c, s, ret_ms, error);
}

const char *instant_format(int64_t ms, enum instant_form form, char *buffer, size_t size)
{
    const int64_t first = days_of_civil(0, 1, 1) * MS_PER_DAY;
    const int64_t last = days_of_civil(10000, 1, 1) * MS_PER_DAY - 1;
    bool basic = form == INSTANT_BASIC_S || form == INSTANT_BASIC_MS;
    bool fraction = form == INSTANT_MS || form == INSTANT_BASIC_MS;
    const char *dash = basic ? "" : "-", *colon = basic ? "" : ":";
    struct civil c;
    int64_t days;
    int rest, n;

    assert(size >= TEXT_NUMBER_BUFFER);
    ms = ms < first ? first : ms > last ? last : ms;
    days = (ms >= 0 ? ms : ms - (MS_PER_DAY - 1)) / MS_PER_DAY;
    rest = (int)(ms - days * MS_PER_DAY);
    civil_of_days(days, &c);
    n = snprintf(buffer, size, "%04d%s%02d%s%02dT%02d%s%02d%s%02d", c.year, dash, c.month, dash, c.day,
                 rest / 3600000, colon, rest / 60000 % 60, colon, rest / 1000 % 60);
    if (fraction)
        n += snprintf(buffer + n, size - (size_t)n, ".%03d", rest % 1000);
    snprintf(buffer + n, size - (size_t)n, "Z");
    return buffer;
}
