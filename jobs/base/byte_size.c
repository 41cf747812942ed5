#include "jobs/base/byte_size.h"

#include "jobs/base/scan.h"
#include "jobs/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct unit {
    const char *name;
    int64_t value;
};

static const struct unit size_units[] = {
    {"g", INT64_C(1) << 30},
    {"m", INT64_C(1) << 20},
    {"k", INT64_C(1) << 10},
    {"", 1},
};

int byte_size_parse(const char *s, int64_t *ret_bytes, struct error *error)
{
    const char *at = s;
    int64_t n, value;
    size_t u;
    char unit;

    if (!scan_number(&at, s + strlen(s), INT_MAX, BYTE_SIZE_MAX, &n))
        return isdigit((unsigned char)*at)
                   ? error_set(error, ERR_LIMIT, "'%s' is more than a petabyte", s)
                   : error_set(error, ERR_INVALID, "'%s' is not a size; write it like 256m or 2g", s);
    unit = (char)tolower((unsigned char)*at);
    for (u = 0; u < COUNT(size_units); u++)
        if (unit == size_units[u].name[0])
            break;
    if (u < COUNT(size_units) && unit)
        at++;
    if (tolower((unsigned char)*at) == 'b')
        at++;
    if (*at)
        return error_set(error, ERR_INVALID, "'%s' is not a size; write it like 256m or 2g (k, m or g)", s);
    if (u == COUNT(size_units))
        u--; /* the unit was a bare b */
    if (__builtin_mul_overflow(n, size_units[u].value, &value) || value > BYTE_SIZE_MAX)
        return error_set(error, ERR_LIMIT, "'%s' is more than a petabyte", s);
    *ret_bytes = value;
    return 0;
}

const char *byte_size_format(int64_t bytes, char *buffer, size_t size)
{
    size_t u = 0;

    assert(size >= TEXT_NUMBER_BUFFER);
    while (bytes == 0 ? size_units[u].value != 1 : bytes % size_units[u].value != 0)
        u++;
    snprintf(buffer, size, "%lld%s", (long long)(bytes / size_units[u].value), size_units[u].name);
    return buffer;
}
