#include "jobs/base/duration.h"

#include "jobs/base/scan.h"
#include "jobs/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MS_PER_S     INT64_C(1000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct unit {
    const char *name;
    int64_t value;
};

static const struct unit duration_units[] = {
    {"d", 86400 * MS_PER_S}, {"h", 3600 * MS_PER_S}, {"m", 60 * MS_PER_S}, {"s", MS_PER_S}, {"ms", 1},
};

int duration_parse(const char *s, int64_t *ret_ms, struct error *error)
{
    const char *at = s, *end = s + strlen(s);
    size_t next_unit = 0;
    int64_t sum = 0;

    if (strcmp(s, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    if (!*s)
        return error_set(error, ERR_INVALID, "an empty duration; write it like 90s, 15m, 1h30m or 1d");
    while (*at) {
        int64_t n, value;
        size_t len = 0, u;

        if (!scan_number(&at, end, INT_MAX, DURATION_MAX_MS, &n))
            return isdigit((unsigned char)*at)
                       ? error_set(error, ERR_LIMIT, "'%s' is longer than 100 years", s)
                       : error_set(error, ERR_INVALID,
                                   "'%s' is not a duration; write it like 90s, 15m, 1h30m or 1d", s);
        while (isalpha((unsigned char)at[len]))
            len++;
        if (len == 0)
            return error_set(error, ERR_INVALID,
                             *at ? "'%s' is not a duration; write it like 90s, 15m, 1h30m or 1d"
                                 : "'%s' lacks its unit: d, h, m, s or ms",
                             s);
        for (u = 0; u < COUNT(duration_units); u++)
            if (strlen(duration_units[u].name) == len && memcmp(duration_units[u].name, at, len) == 0)
                break;
        if (u == COUNT(duration_units))
            return error_set(error, ERR_INVALID,
                             "'%s' has an unknown unit '%.*s'; the units are d, h, m, s and ms", s,
                             (int)(len > 16 ? 16 : len), at);
        if (u < next_unit)
            return error_set(error, ERR_INVALID, "'%s': units go from large to small, each once, like 1h30m",
                             s);
        next_unit = u + 1;
        at += len;
        if (__builtin_mul_overflow(n, duration_units[u].value, &value) || value > DURATION_MAX_MS - sum)
            return error_set(error, ERR_LIMIT, "'%s' is longer than 100 years", s);
        sum += value;
    }
    *ret_ms = sum;
    return 0;
}

const char *duration_format(int64_t ms, char *buffer, size_t size)
{
    uint64_t rest = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    size_t len = 0;

    assert(size >= TEXT_NUMBER_BUFFER);
    if (rest == 0)
        len = (size_t)snprintf(buffer, size, "0s");
    else if (ms < 0)
        buffer[len++] = '-';
    for (size_t u = 0; u < COUNT(duration_units) && rest > 0; u++) {
        uint64_t n = rest / (uint64_t)duration_units[u].value;

        rest %= (uint64_t)duration_units[u].value;
        if (n > 0)
            len += (size_t)snprintf(buffer + len, size - len, "%llu%s", (unsigned long long)n,
                                    duration_units[u].name);
    }
    return buffer;
}
