#include "jobs/time/instant.h"

#include "jobs/base/scan.h"
#include "jobs/base/text.h"
#include "jobs/time/civil.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MS_PER_S INT64_C(1000)

int instant_parse(const char *s, int64_t *ret_ms, struct error *error)
{
    struct civil civil;
    struct civil_text text;

    if (!civil_scan(s, strlen(s), &civil, &text, NULL) || !text.has_seconds)
        return error_set(
            error, ERR_INVALID,
            "'%s' is not a time; write it like 2026-11-22T03:00:00Z or 2026-11-22T04:00:00+01:00", s);
    if (!text.has_offset)
        return error_set(error, ERR_INVALID, "'%s' lacks its offset: end it with Z or +HH:MM", s);
    if (civil_check(&civil, NULL, error) < 0) {
        error_prefix(error, "'%s': ", s);
        return ERR_INVALID;
    }
    *ret_ms = (civil_seconds(&civil) - text.offset_s) * MS_PER_S + text.ms;
    return 0;
}

int instant_parse_basic(const char *s, int64_t *ret_ms, struct error *error)
{
    const char *at = s, *end = s + strlen(s);
    struct civil_text text = {0};
    struct civil civil;

    if (!scan_digits(&at, end, 4, &civil.year) || !scan_digits(&at, end, 2, &civil.month) ||
        !scan_digits(&at, end, 2, &civil.day) || *at++ != 'T' || !scan_digits(&at, end, 2, &civil.hour) ||
        !scan_digits(&at, end, 2, &civil.minute) || !scan_digits(&at, end, 2, &civil.second) ||
        !civil_scan_fraction(&at, end, &text) || strcmp(at, "Z") != 0)
        return error_set(error, ERR_INVALID, "'%s' is not a time of the form 20261122T030000Z", s);
    if (civil_check(&civil, NULL, error) < 0) {
        error_prefix(error, "'%s': ", s);
        return ERR_INVALID;
    }
    *ret_ms = civil_seconds(&civil) * MS_PER_S + text.ms;
    return 0;
}

const char *instant_format(int64_t ms, enum instant_form form, char *buffer, size_t size)
{
    const int64_t first = civil_days(0, 1, 1) * CIVIL_DAY_S * MS_PER_S;
    const int64_t last = civil_days(10000, 1, 1) * CIVIL_DAY_S * MS_PER_S - 1;
    bool basic = form == INSTANT_BASIC_S || form == INSTANT_BASIC_MS;
    bool fraction = form == INSTANT_MS || form == INSTANT_BASIC_MS;
    const char *dash = basic ? "" : "-";
    const char *colon = basic ? "" : ":";
    struct civil c;
    int64_t at_s;
    int n;

    assert(size >= TEXT_NUMBER_BUFFER);
    ms = ms < first ? first : ms;
    ms = ms > last ? last : ms;
    at_s = (ms >= 0 ? ms : ms - (MS_PER_S - 1)) / MS_PER_S;
    civil_from_seconds(at_s, &c);
    n = snprintf(buffer, size, "%04d%s%02d%s%02dT%02d%s%02d%s%02d", c.year, dash, c.month, dash, c.day,
                 c.hour, colon, c.minute, colon, c.second);
    if (fraction)
        n += snprintf(buffer + n, size - (size_t)n, ".%03d", (int)(ms - at_s * MS_PER_S));
    snprintf(buffer + n, size - (size_t)n, "Z");
    return buffer;
}

int64_t instant_floor_s(int64_t ms)
{
    return ms / MS_PER_S - (ms % MS_PER_S < 0);
}

int64_t instant_ceil_s(int64_t ms)
{
    return ms / MS_PER_S + (ms % MS_PER_S > 0);
}
