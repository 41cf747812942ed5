#include "jobs/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MS_PER_S   INT64_C(1000)
#define MS_PER_DAY (INT64_C(86400) * MS_PER_S)

/* --- builder --- */

void text_init(struct text *text, size_t max_bytes)
{
    *text = (struct text){.max_bytes = max_bytes};
}

void text_release(struct text *text)
{
    if (!text)
        return;
    free(text->data);
    *text = (struct text){.max_bytes = text->max_bytes};
}

void text_clear(struct text *text)
{
    text->len = 0;
    text->failed = 0;
    if (text->data)
        text->data[0] = '\0';
}

/* Room for n more bytes and the NUL. */
static int text_reserve(struct text *text, size_t n)
{
    size_t cap = text->cap ? text->cap : 64;
    char *data;

    if (text->failed)
        return text->failed;
    if (n > text->max_bytes - text->len)
        return text->failed = ERR_LIMIT;
    if (text->len + n < text->cap)
        return 0;
    while (cap <= text->len + n)
        cap *= 2;
    data = realloc(text->data, cap);
    if (!data)
        return text->failed = ERR_NOMEM;
    text->data = data;
    text->cap = cap;
    return 0;
}

int text_add_bytes(struct text *text, const void *bytes, size_t n)
{
    int r = text_reserve(text, n);

    if (r < 0)
        return r;
    if (n > 0)
        memcpy(text->data + text->len, bytes, n);
    text->len += n;
    text->data[text->len] = '\0';
    return 0;
}

int text_add(struct text *text, const char *s)
{
    return text_add_bytes(text, s, strlen(s));
}

int text_add_char(struct text *text, char c)
{
    return text_add_bytes(text, &c, 1);
}

int text_addf(struct text *text, const char *format, ...)
{
    va_list ap;
    int n, r;

    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    assert(n >= 0);
    r = text_reserve(text, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, format);
    vsnprintf(text->data + text->len, (size_t)n + 1, format, ap);
    va_end(ap);
    text->len += (size_t)n;
    return 0;
}

const char *text_str(const struct text *text)
{
    return text->data ? text->data : "";
}

char *text_take(struct text *text)
{
    char *data;

    if (text->failed || text_reserve(text, 0) < 0) {
        text_release(text);
        return NULL;
    }
    data = text->data;
    data[text->len] = '\0';
    *text = (struct text){.max_bytes = text->max_bytes};
    return data;
}

/* --- durations and sizes --- */

struct unit {
    const char *name;
    int64_t value;
};

static const struct unit duration_units[] = {
    {"d", MS_PER_DAY}, {"h", 3600 * MS_PER_S}, {"m", 60 * MS_PER_S}, {"s", MS_PER_S}, {"ms", 1},
};

static const struct unit size_units[] = {
    {"g", INT64_C(1) << 30},
    {"m", INT64_C(1) << 20},
    {"k", INT64_C(1) << 10},
    {"", 1},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Decimal digits at *s, at least one; moves *s behind them. False: no digit, or above max. */
static bool take_number(const char **s, int64_t max, int64_t *ret)
{
    int64_t value = 0;

    if (!isdigit((unsigned char)**s))
        return false;
    for (; isdigit((unsigned char)**s); (*s)++) {
        int digit = **s - '0';

        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

int text_parse_duration(const char *s, int64_t *ret_ms, struct error *error)
{
    const char *at = s;
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

        if (!take_number(&at, TEXT_DURATION_MAX_MS, &n))
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
        if (__builtin_mul_overflow(n, duration_units[u].value, &value) || value > TEXT_DURATION_MAX_MS - sum)
            return error_set(error, ERR_LIMIT, "'%s' is longer than 100 years", s);
        sum += value;
    }
    *ret_ms = sum;
    return 0;
}

const char *text_format_duration(int64_t ms, char *buffer, size_t size)
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

int text_parse_size(const char *s, int64_t *ret_bytes, struct error *error)
{
    const char *at = s;
    int64_t n, value;
    size_t u;
    char unit;

    if (!take_number(&at, TEXT_SIZE_MAX_BYTES, &n))
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
    if (__builtin_mul_overflow(n, size_units[u].value, &value) || value > TEXT_SIZE_MAX_BYTES)
        return error_set(error, ERR_LIMIT, "'%s' is more than a petabyte", s);
    *ret_bytes = value;
    return 0;
}

const char *text_format_size(int64_t bytes, char *buffer, size_t size)
{
    size_t u = 0;

    assert(size >= TEXT_NUMBER_BUFFER);
    while (bytes == 0 ? size_units[u].value != 1 : bytes % size_units[u].value != 0)
        u++;
    snprintf(buffer, size, "%lld%s", (long long)(bytes / size_units[u].value), size_units[u].name);
    return buffer;
}

/* --- instants --- */

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

int text_parse_time(const char *s, int64_t *ret_ms, struct error *error)
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

int text_parse_time_basic(const char *s, int64_t *ret_ms, struct error *error)
{
    struct civil c;
    const char *at = s;

    if (!take_civil(&at, '\0', '\0', &c) || at[0] != 'Z' || at[1])
        return error_set(error, ERR_INVALID, "'%s' is not a time of the form 20261122T030000Z", s);
    return civil_to_ms(&c, s, ret_ms, error);
}

const char *text_format_time(int64_t ms, enum text_time form, char *buffer, size_t size)
{
    const int64_t first = days_of_civil(0, 1, 1) * MS_PER_DAY;
    const int64_t last = days_of_civil(10000, 1, 1) * MS_PER_DAY - 1;
    bool basic = form == TEXT_TIME_BASIC_S || form == TEXT_TIME_BASIC_MS;
    bool fraction = form == TEXT_TIME_MS || form == TEXT_TIME_BASIC_MS;
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

/* --- names and bytes --- */

size_t text_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    size_t rows[3][TEXT_NAME_MAX + 1]; /* two before, one before, this one */
    size_t *before = rows[0], *above = rows[1], *row = rows[2];

    if (la > TEXT_NAME_MAX || lb > TEXT_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        above[j] = j;
    for (size_t i = 1; i <= la; i++) {
        int ca = tolower((unsigned char)a[i - 1]);
        size_t *spare = before;

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            int cb = tolower((unsigned char)b[j - 1]);
            size_t best = above[j - 1] + (ca != cb);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[lb];
}

const char *text_nearest(const char *name, const char *const *names, size_t count)
{
    size_t len = strlen(name), limit = len < 6 ? 1 : len / 3, best = SIZE_MAX;
    const char *nearest = NULL;

    for (size_t i = 0; i < count; i++) {
        size_t distance = text_distance(name, names[i]);

        if (len >= 3 && strncasecmp(name, names[i], len) == 0)
            distance = distance < 1 ? distance : 1; /* cut short: "env" */
        /* a distance of the whole name would call any two short words near */
        if (distance <= limit && distance < strlen(names[i]) && distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

/* Length of the UTF-8 sequence at s, or 0. */
static size_t utf8_length(const unsigned char *s, size_t size)
{
    unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    n = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    if (size < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

size_t text_utf8_check(const char *bytes, size_t size)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t at = 0;

    while (at < size) {
        size_t n = utf8_length(s + at, size - at);

        if (n == 0)
            return at;
        at += n;
    }
    return size;
}
