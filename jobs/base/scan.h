/* Digits of a text, whatever its locale: ASCII only. Pure functions; any thread.
 *
 * `*at` moves behind what was taken; nothing at or behind `end` is looked at.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SCAN_DIGITS_MAX 9
#define SCAN_NUMBER_MAX INT64_C(999999999) /* of that many digits: an int holds it */

static inline bool scan_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit, in either case; -1: it is none. */
int scan_hex(char c);

/* Exactly `count` (1 to SCAN_DIGITS_MAX) decimal digits. False, and nothing is moved: there are fewer. */
bool scan_digits(const char **at, const char *end, int count, int *ret);

/* One to `digits_max` decimal digits, their value at most `max`. False: no digit, then *at is not moved; or too
 * many of them or a value above `max`, then *at is at the digit that is too much. */
bool scan_number(const char **at, const char *end, int digits_max, int64_t max, int64_t *ret);
