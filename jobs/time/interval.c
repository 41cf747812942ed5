#include "jobs/time/interval.h"

#include "jobs/base/scan.h"
#include "jobs/time/civil.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Fire times end with 2199, also for intervals; in UTC. */
#define INSTANT_END CIVIL_LOCAL_END

/* ---- the k-th fire time ---- */

static bool is_elapsed(const struct interval *v)
{
    return v->months == 0 && v->days == 0;
}

/* The wall time of k calendar periods after the start; above every fire time when the calendar ends before.
 */
static int64_t kth_local(const struct interval *v, int64_t k)
{
    struct civil c;
    int64_t months;
    int last;

    if (v->months == 0)
        return v->start_local_s + k * v->days * CIVIL_DAY_S;
    civil_from_seconds(v->start_local_s, &c);
    months = (int64_t)c.year * 12 + c.month - 1 + k * v->months;
    if (months / 12 > CIVIL_YEAR_MAX + 1)
        return INSTANT_END * 2;
    c.year = (int)(months / 12);
    c.month = (int)(months % 12) + 1;
    last = civil_month_days(c.year, c.month);
    if (c.day > last)
        c.day = last;
    return civil_seconds(&c) + k * v->days * CIVIL_DAY_S;
}

/* k is at most INSTANT_END / period + 2, so that nothing here overflows. */
static int64_t kth(const struct interval *v, const struct zone *zone, int64_t k)
{
    if (is_elapsed(v))
        return v->start_s + k * v->seconds;
    if (k == 0)
        return v->start_s;
    return zone_instant(zone, kth_local(v, k), NULL) + k * v->seconds;
}

/* How many of the k = 0, 1, ... fire at or before at_s. */
static int64_t count_until(const struct interval *v, const struct zone *zone, int64_t at_s)
{
    int64_t period, k;

    if (at_s >= INSTANT_END)
        at_s = INSTANT_END - 1;
    if (at_s < v->start_s || v->count == 0)
        return 0;
    if (v->kind == INTERVAL_AT)
        return 1;
    /* a month is 30.436875 days on average: exact enough to be one or two off */
    period = v->months * 2629746 + v->days * CIVIL_DAY_S + v->seconds;
    k = (at_s - v->start_s) / period;
    if (!is_elapsed(v)) {
        while (k > 0 && kth(v, zone, k) > at_s)
            k--;
        while (kth(v, zone, k + 1) <= at_s)
            k++;
    }
    return k + 1 < v->count ? k + 1 : v->count;
}

int64_t interval_next(const struct interval *v, const struct zone *zone, int64_t after_s)
{
    int64_t k = count_until(v, zone, after_s), at_s;

    if (k >= v->count)
        return INT64_MAX;
    at_s = kth(v, zone, k);
    return at_s > after_s && at_s < INSTANT_END ? at_s : INT64_MAX;
}

int64_t interval_prev(const struct interval *v, const struct zone *zone, int64_t before_s)
{
    int64_t k = before_s == INT64_MIN ? 0 : count_until(v, zone, before_s - 1);

    return k > 0 ? kth(v, zone, k - 1) : INT64_MIN;
}

int64_t interval_count(const struct interval *v, const struct zone *zone, int64_t after_s, int64_t until_s,
                       int64_t most)
{
    int64_t count = 0;

    if (after_s >= until_s || most <= 0)
        return 0;
    if (is_elapsed(v) || zone->gap_max_s < CIVIL_DAY_S) {
        count = count_until(v, zone, until_s) - count_until(v, zone, after_s);
        return count < most ? count : most;
    }
    /* a gap of a day or more (the Pacific, in the past): two steps can fall on its end, as one fire time */
    while (count < most) {
        after_s = interval_next(v, zone, after_s);
        if (after_s > until_s || after_s == INT64_MAX)
            break;
        count++;
    }
    return count;
}

bool interval_moved(const struct interval *v, const struct zone *zone, int64_t at_s)
{
    enum zone_fit fit;
    int64_t k = count_until(v, zone, at_s);

    if (k == 0 || v->has_offset || kth(v, zone, k - 1) != at_s)
        return false;
    if (is_elapsed(v) && (k > 1 || !v->start_given))
        return false;
    zone_instant(zone, kth_local(v, k - 1), &fit);
    return fit == ZONE_NONE;
}

int64_t interval_local(const struct interval *v, const struct zone *zone, int64_t at_s)
{
    int64_t k = count_until(v, zone, at_s) - 1;

    assert(k >= 0);
    return kth_local(v, k);
}

/* ---- reading ---- */

struct parser {
    const char *text;
    size_t length, at;
    size_t column;
    struct error *error;
};

static int fail(struct parser *p, size_t column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct parser *p, size_t column, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    error_setv(p->error, ERR_INVALID, format, ap);
    va_end(ap);
    p->column = column;
    return ERR_INVALID;
}

static char peek(const struct parser *p)
{
    return p->at < p->length ? p->text[p->at] : '\0';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(peek(p)))
        p->at++;
}

static bool take_word(struct parser *p, const char *word)
{
    size_t n = strlen(word);

    if (p->length - p->at < n || memcmp(p->text + p->at, word, n) != 0)
        return false;
    if (p->length - p->at > n && !is_blank(p->text[p->at + n]))
        return false;
    p->at += n;
    return true;
}

struct unit {
    char letter;
    int64_t seconds;
};

/* A number of at most nine digits; false when there is none, or more. */
static bool take_number(struct parser *p, int64_t *ret)
{
    const char *at = p->text + p->at;
    bool fine = scan_number(&at, p->text + p->length, SCAN_DIGITS_MAX, SCAN_NUMBER_MAX, ret);

    p->at = (size_t)(at - p->text);
    return fine;
}

/* 1h30m: units w d h m s, each at most once, from large to small. */
static int parse_duration(struct parser *p, int64_t *ret_s)
{
    static const struct unit units[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    size_t start = p->at, next_unit = 0;
    int64_t sum = 0;

    while (p->at < p->length && !is_blank(peek(p))) {
        size_t unit = 0, from = p->at;
        int64_t n;

        if (!take_number(p, &n))
            return fail(p, from, "not a duration: write it like 90s, 15m, 1h30m or 2d");
        while (unit < 5 && units[unit].letter != peek(p))
            unit++;
        if (unit == 5)
            return fail(p, p->at, "a unit must follow the number: w, d, h, m or s");
        if (unit == 3 && p->at + 1 < p->length && p->text[p->at + 1] == 's')
            return fail(p, p->at, "whole seconds only: there are no milliseconds");
        if (unit < next_unit)
            return fail(p, p->at, "units go from large to small, each once, like 1h30m");
        next_unit = unit + 1;
        p->at++;
        sum += n * units[unit].seconds;
        if (sum > INTERVAL_MAX_S)
            return fail(p, start, "the period is longer than ten years (3650d)");
    }
    if (sum == 0)
        return fail(p, start,
                    p->at == start ? "a period must follow, such as 15m"
                                   : "a period of zero is not possible: 1s is the least");
    *ret_s = sum;
    return 0;
}

/* A date-time up to `end`; without an offset it is a wall time of the zone. */
static int parse_start(struct parser *p, size_t end, const struct zone *zone, struct interval *v)
{
    struct civil_text text;
    size_t column;
    int r = civil_parse(p->text + p->at, end - p->at, &text, &column, p->error);

    if (r < 0) {
        p->column = p->at + column;
        return r;
    }
    if (text.has_fraction)
        return fail(p, p->at, "whole seconds only");
    if (text.local_s < 0 || text.local_s >= CIVIL_LOCAL_END)
        return fail(p, p->at, "the year is out of range: 1970-2199 are allowed");
    v->has_offset = text.has_offset;
    v->offset_s = text.offset_s;
    v->start_given = true;
    if (text.has_offset) {
        v->start_s = text.local_s - text.offset_s;
        v->start_local_s = v->start_s + zone_offset(zone, v->start_s);
    } else {
        v->start_local_s = text.local_s;
        v->start_s = zone_instant(zone, text.local_s, NULL);
    }
    p->at = end;
    return 0;
}

static void start_at_anchor(struct interval *v, const struct zone *zone, int64_t anchor_s)
{
    v->start_s = anchor_s;
    v->start_local_s = anchor_s + zone_offset(zone, anchor_s);
}

/* @every PERIOD [from TIME] */
static int parse_every(struct parser *p, const struct zone *zone, int64_t anchor_s, struct interval *v)
{
    int r;

    v->kind = INTERVAL_EVERY;
    v->count = INT64_MAX;
    skip_blanks(p);
    r = parse_duration(p, &v->seconds);
    if (r < 0)
        return r;
    skip_blanks(p);
    if (p->at == p->length) {
        start_at_anchor(v, zone, anchor_s);
        return 0;
    }
    if (!take_word(p, "from"))
        return fail(p, p->at, "nothing but 'from TIME' may follow the period");
    skip_blanks(p);
    return parse_start(p, p->length, zone, v);
}

static int parse_at(struct parser *p, const struct zone *zone, struct interval *v)
{
    v->kind = INTERVAL_AT;
    v->count = 1;
    skip_blanks(p);
    return parse_start(p, p->length, zone, v);
}

/* P1Y2M3W4DT5H6M7S, at least one part, in this order. */
static int parse_period(struct parser *p, struct interval *v)
{
    static const char letters[] = "YMWDHMS";
    static const int64_t scale[] = {12, 1, 7, 1, 3600, 60, 1};
    int64_t *const sum[] = {&v->months,  &v->months,  &v->days,   &v->days,
                            &v->seconds, &v->seconds, &v->seconds};
    size_t start = p->at, part = 0;
    bool time = false;

    if (peek(p) != 'P')
        return fail(p, p->at, "a period must follow, such as P1D or PT15M");
    p->at++;
    while (p->at < p->length) {
        size_t last = time ? 7 : 4, from = p->at;
        int64_t n;

        if (peek(p) == 'T' && !time) {
            time = true;
            part = 4;
            p->at++;
            if (p->at == p->length)
                return fail(p, p->at, "hours, minutes or seconds must follow 'T'");
            continue;
        }
        if (!take_number(p, &n))
            return fail(p, from, "not a period: write it like P1D, P1M, PT15M or P1DT12H");
        while (part < last && letters[part] != peek(p))
            part++;
        if (part == last)
            return fail(p, p->at, "not a period: %s",
                        time ? "after T come H, M and S, in this order"
                             : "Y, M, W and D come in this order, then T");
        *sum[part] += n * scale[part];
        part++;
        p->at++;
        if (v->months > 120 || v->days > 3653 || v->seconds > INTERVAL_MAX_S)
            return fail(p, start, "the period is longer than ten years");
    }
    if (v->months == 0 && v->days == 0 && v->seconds == 0)
        return fail(p, start, "a period of zero is not possible");
    return 0;
}

/* R[n]/[start]/period */
static int parse_repeat(struct parser *p, const struct zone *zone, int64_t anchor_s, struct interval *v)
{
    const char *slash;
    size_t from = ++p->at;
    int r;

    v->kind = INTERVAL_REPEAT;
    v->count = INT64_MAX;
    if (scan_is_digit(peek(p)) && !take_number(p, &v->count))
        return fail(p, from, "a repeat count has at most %d digits", SCAN_DIGITS_MAX);
    if (peek(p) != '/')
        return fail(p, p->at, "'/' must follow: R[count]/[start]/period");
    p->at++;
    slash = memchr(p->text + p->at, '/', p->length - p->at);
    if (!slash)
        return fail(p, p->length, "a second '/' is missing: R[count]/[start]/period");
    if (slash == p->text + p->at)
        start_at_anchor(v, zone, anchor_s);
    else {
        r = parse_start(p, (size_t)(slash - p->text), zone, v);
        if (r < 0)
            return r;
    }
    p->at++;
    return parse_period(p, v);
}

bool interval_is(const char *text, size_t length)
{
    struct parser p = {.text = text, .length = length};

    skip_blanks(&p);
    if (take_word(&p, "@every") || take_word(&p, "@at"))
        return true;
    return peek(&p) == 'R' && memchr(text, '/', length);
}

int interval_parse(const char *text, size_t length, const struct zone *zone, int64_t anchor_s,
                   struct interval *ret, size_t *ret_column, struct error *error)
{
    struct parser p = {.text = text, .length = length, .error = error};
    struct interval v;
    int r;

    memset(&v, 0, sizeof(v)); /* all bytes: it may be compared with memcmp */
    while (p.length > 0 && is_blank(text[p.length - 1]))
        p.length--;
    skip_blanks(&p);
    if (take_word(&p, "@every"))
        r = parse_every(&p, zone, anchor_s, &v);
    else if (take_word(&p, "@at"))
        r = parse_at(&p, zone, &v);
    else if (peek(&p) == 'R')
        r = parse_repeat(&p, zone, anchor_s, &v);
    else
        r = fail(&p, p.at, "not an interval");
    if (r == 0)
        *ret = v;
    else if (ret_column)
        *ret_column = p.column;
    return r;
}

/* ---- printing ---- */

/* "1w2d3h4m5s" of a number of seconds. Returns buffer. */
static const char *format_period(int64_t seconds, char *buffer, size_t size)
{
    static const struct unit units[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    size_t n = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < 5; i++) {
        if (i == 0 && seconds % units[0].seconds)
            continue; /* "10d", not "1w3d" */
        if (seconds >= units[i].seconds && n < size)
            n += (size_t)snprintf(buffer + n, size - n, "%lld%c", (long long)(seconds / units[i].seconds),
                                  units[i].letter);
        seconds %= units[i].seconds;
    }
    return buffer;
}

static const char *format_start(const struct interval *v, char *buffer, size_t size)
{
    if (!v->has_offset) {
        civil_format(v->start_local_s, 0, true, buffer, size);
        buffer[strlen(buffer) - 1] = '\0'; /* no Z: it is a wall time */
        return buffer;
    }
    return civil_format(v->start_s, 0, true, buffer, size);
}

static void print_period(const struct interval *v, char *buffer, size_t size)
{
    const struct {
        int64_t value;
        char letter;
    } part[] = {
        {v->months / 12, 'Y'},    {v->months % 12, 'M'},       {v->days, 'D'},
        {v->seconds / 3600, 'H'}, {v->seconds / 60 % 60, 'M'}, {v->seconds % 60, 'S'},
    };
    size_t n = (size_t)snprintf(buffer, size, "P");

    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]) && n < size; i++) {
        if (i == 3 && v->seconds)
            n += (size_t)snprintf(buffer + n, size - n, "T");
        if (part[i].value && n < size)
            n += (size_t)snprintf(buffer + n, size - n, "%lld%c", (long long)part[i].value, part[i].letter);
    }
}

const char *interval_print(const struct interval *v, char *buffer, size_t size)
{
    char start[CIVIL_TEXT_MAX] = "", period[CIVIL_TEXT_MAX], count[24] = "";

    if (v->start_given)
        format_start(v, start, sizeof(start));
    switch (v->kind) {
    case INTERVAL_AT:
        snprintf(buffer, size, "@at %s", start);
        break;
    case INTERVAL_EVERY:
        snprintf(buffer, size, "@every %s%s%s", format_period(v->seconds, period, sizeof(period)),
                 v->start_given ? " from " : "", start);
        break;
    case INTERVAL_REPEAT:
    default:
        if (v->count != INT64_MAX)
            snprintf(count, sizeof(count), "%lld", (long long)v->count);
        print_period(v, period, sizeof(period));
        snprintf(buffer, size, "R%s/%s/%s", count, start, period);
    }
    return buffer;
}
