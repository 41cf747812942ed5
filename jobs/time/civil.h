/* Civil time: the proleptic Gregorian calendar without zones, and the text forms of dates and times (RFC
 * 3339).
 *
 * "Local seconds" are the seconds since 1970-01-01T00:00:00 that a wall clock shows, as if every day had
 * 86,400: plain arithmetic, which jobs/time/zone.h ties to UTC. Pure functions; any thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CIVIL_DAY_S     86400
#define CIVIL_YEAR_MIN  1970 /* the span in which schedules live */
#define CIVIL_YEAR_MAX  2199
#define CIVIL_DAYS_END  84006 /* days from 1970-01-01 to 2200-01-01 */
#define CIVIL_LOCAL_END ((int64_t)CIVIL_DAYS_END * CIVIL_DAY_S)
#define CIVIL_TEXT_MAX  64 /* buffer for civil_format */

struct civil {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
};

/* Days since 1970-01-01. Years are counted from March, so that a leap day is the last of its year, in eras of
 * 400 years, which all have the same length. */
static inline int64_t civil_days(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static inline void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned of_era = (unsigned)(z - era * 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;

    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year + era * 400) + (*ret_month <= 2);
}

static inline int civil_month_days(int year, int month)
{
    if (month == 2)
        return 28 + (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    return 30 + ((month + (month >> 3)) & 1);
}

/* 0 is Sunday. */
static inline int civil_weekday(int64_t days)
{
    int w = (int)((days + 4) % 7);

    return w < 0 ? w + 7 : w;
}

/* Rounds down, also below zero. */
static inline int64_t civil_day_of(int64_t local_s)
{
    return local_s >= 0 ? local_s / CIVIL_DAY_S : -((-local_s + CIVIL_DAY_S - 1) / CIVIL_DAY_S);
}

/* A stretch of whole days, both ends included, as numbers since 1970-01-01. */
struct civil_range {
    int64_t from, to;
};

/* Sorts, and joins what touches; returns how many are left. */
size_t civil_range_sort(struct civil_range *days, size_t count);

/* The index of the first stretch of a sorted list that does not end before `day`; `count` when there is none.
 */
size_t civil_range_find(const struct civil_range *days, size_t count, int64_t day);

int64_t civil_seconds(const struct civil *civil);
void civil_from_seconds(int64_t local_s, struct civil *ret);

/* What a text of a date or time said. */
struct civil_text {
    int64_t local_s;   /* the wall time as written, without fraction */
    int32_t offset_s;  /* east of UTC; 0 unless has_offset */
    bool has_offset;   /* "Z" or "+02:00" was written */
    bool date_only;    /* "2026-12-25" */
    bool has_seconds;  /* "18:00:00", not "18:00" */
    bool has_fraction; /* a fraction above zero was written */
    int ms;            /* of the fraction, cut to milliseconds */
};

/* The two halves of civil_parse, for callers with texts of their own: the notation alone, without local_s; and the
 * ranges of what it said. *ret_column (may be NULL) is where the notation ends or is wrong. */
bool civil_scan(const char *text, size_t length, struct civil *ret, struct civil_text *ret_text,
                size_t *ret_column);
int civil_check(const struct civil *civil, size_t *ret_column, struct error *error);

/* ".5", or nothing: any number of digits, of which milliseconds are kept. False: a point without a digit. */
bool civil_scan_fraction(const char **at, const char *end, struct civil_text *ret);

/* "2026-12-25", "2026-12-25T18:00", "2026-12-25T18:00:00.5+01:00"; years 0000-9999; a blank or lower-case t
 * in place of T is fine, a leap second is not. All of the text must be used. Untouched on failure:
 * ERR_INVALID with *ret_column (may be NULL) the offset of the fault. */
int civil_parse(const char *text, size_t length, struct civil_text *ret, size_t *ret_column,
                struct error *error);

/* "2026-03-29T03:00:00+02:00", and "Z" for offset 0 if `zulu`; seconds of an offset are shown if there are
 * any. Returns buffer. */
const char *civil_format(int64_t local_s, int32_t offset_s, bool zulu, char *buffer, size_t size);

/* "2026-12-25" or "2026-07-14/2026-07-20". Returns buffer. */
const char *civil_range_format(const struct civil_range *range, char *buffer, size_t size);
