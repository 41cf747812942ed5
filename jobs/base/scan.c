#include "jobs/base/scan.h"

#include <assert.h>

int scan_hex(char c)
{
    if (scan_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool scan_digits(const char **at, const char *end, int count, int *ret)
{
    const char *s = *at;
    int value = 0;

    assert(count > 0 && count <= SCAN_DIGITS_MAX);
    for (int i = 0; i < count; i++, s++) {
        if (s >= end || !scan_is_digit(*s))
            return false;
        value = value * 10 + (*s - '0');
    }
    *at = s;
    *ret = value;
    return true;
}

bool scan_number(const char **at, const char *end, int digits_max, int64_t max, int64_t *ret)
{
    int64_t value = 0;
    int digits = 0;

    assert(digits_max > 0 && max > 0);
    for (; *at < end && scan_is_digit(**at); (*at)++, digits++) {
        int digit = **at - '0';

        if (digits == digits_max || digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (digits == 0)
        return false;
    *ret = value;
    return true;
}
