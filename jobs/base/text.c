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
