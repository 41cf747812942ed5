/* One field of a cron expression, item by item into a set. A token is used whole or refused ("1x", "WEDS"),
 * and the first fault ends it, with its place and what to write instead. */
#include "jobs/time/cron_field.h"

#include "jobs/base/hash.h"
#include "jobs/base/scan.h"
#include "jobs/time/civil.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct field {
    const char *name;
    int min, max;
    int spread_max;    /* upper end of a bare H or ~: no month lacks it */
    const char *names; /* three letters each */
    int names_count, names_base;
    int items_max;
};

#define MONTHS   "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
#define WEEKDAYS "SUNMONTUEWEDTHUFRISAT"

static const struct field fields[CRON_FIELDS] = {
    [CRON_SECOND] = {"second", 0, 59, 59, NULL, 0, 0, CRON_ITEMS_MAX},
    [CRON_MINUTE] = {"minute", 0, 59, 59, NULL, 0, 0, CRON_ITEMS_MAX},
    [CRON_HOUR] = {"hour", 0, 23, 23, NULL, 0, 0, CRON_ITEMS_MAX},
    [CRON_DOM] = {"day of month", 1, 31, 28, NULL, 0, 0, CRON_ITEMS_LONG_MAX},
    [CRON_MONTH] = {"month", 1, 12, 12, MONTHS, 12, 1, CRON_ITEMS_MAX},
    [CRON_DOW] = {"day of week", 0, 7, 6, WEEKDAYS, 7, 0, CRON_ITEMS_MAX},
    [CRON_YEAR] = {"year", 1970, 2199, 2199, NULL, 0, 0, CRON_ITEMS_LONG_MAX},
};
static const struct field quartz_dow = {"day of week", 1, 7, 7, WEEKDAYS, 7, 1, CRON_ITEMS_MAX};

struct set { /* bit of value v: v, or v - 1970 for years */
    uint64_t w[4];
};

struct parser {
    const char *text;
    size_t at, end;
    const struct cron_context *context;
    bool quartz;
    enum cron_field id;
    const struct field *field;
    struct cron *cron;
    size_t item, start; /* of the item: its index within the list, where it begins */
    struct set set;
    bool any;      /* the whole field is a star */
    size_t column; /* of the fault */
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

/* ---- characters ---- */

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_letter(char c)
{
    return upper(c) >= 'A' && upper(c) <= 'Z';
}

static char peek(const struct parser *p)
{
    return p->at < p->end ? p->text[p->at] : '\0';
}

/* A letter of the grammar: Quartz does not mind its case. */
static char peek_letter(const struct parser *p)
{
    return p->quartz ? upper(peek(p)) : peek(p);
}

static bool at_item_end(const struct parser *p)
{
    return p->at == p->end || p->text[p->at] == ',';
}

/* The letters and digits at `from`, for messages. */
static int token_length(const struct parser *p, size_t from)
{
    size_t n = 0;

    while (from + n < p->end && n < CRON_SHOWN_MAX &&
           (is_letter(p->text[from + n]) || scan_is_digit(p->text[from + n])))
        n++;
    return (int)n;
}

/* A value is missing here. */
static int fail_no_value(struct parser *p)
{
    const struct field *f = p->field;
    const char *names = f->names ? " or a name" : "";

    if (at_item_end(p)) /* an item that is not empty: something comes before */
        return fail(p, p->at, "%s: %d-%d%s must follow '%c'", f->name, f->min, f->max, names,
                    p->text[p->at - 1]);
    return fail(p, p->at, "%s: unexpected '%c': %d-%d%s are allowed", f->name, p->text[p->at], f->min, f->max,
                names);
}

/* What follows an item that could have ended. */
static int fail_trailing(struct parser *p)
{
    const char *name = p->field->name;
    char c = p->text[p->at];

    if ((p->id == CRON_DOM || p->id == CRON_DOW) && strchr("lw", c))
        return fail(p, p->at, "%s: L and W are written in upper case", name);
    if (c == '#' && p->id != CRON_DOW)
        return fail(p, p->at, "%s: unexpected '#': it is for the day of week, as in FRI#2", name);
    if (c == 'W' && p->id != CRON_DOM)
        return fail(p, p->at, "%s: unexpected 'W': it is for the day of month, as in 15W", name);
    return fail(p, p->at, "%s: unexpected '%c': ',' or a blank must follow '%.*s'", name, c,
                (int)(p->at - p->start), p->text + p->start);
}

/* ---- sets ---- */

static void set_add(struct parser *p, int value)
{
    unsigned bit = (unsigned)(p->id == CRON_YEAR ? value - CIVIL_YEAR_MIN : value);

    p->set.w[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void set_add_range(struct parser *p, int lo, int hi, int step)
{
    if (step == 1 && p->id != CRON_YEAR) { /* the usual case, at once */
        p->set.w[0] |= (~UINT64_C(0) >> (63 - hi)) & (~UINT64_C(0) << lo);
        return;
    }
    for (int v = lo; v <= hi; v += step)
        set_add(p, v);
}

/* A Quartz range that runs over the field's end. */
static void set_add_wrapped(struct parser *p, int lo, int hi, int step)
{
    int size = p->field->max - p->field->min + 1;

    for (int v = lo; v <= hi + size; v += step)
        set_add(p, v > p->field->max ? v - size : v);
}

/* ---- values and steps ---- */

/* Moves over digits, `most` of them at most: their value, of which only the first SCAN_DIGITS_MAX count. */
static int take_digits(struct parser *p, size_t most)
{
    int value = 0;

    for (size_t n = 0; n < most && scan_is_digit(peek(p)); n++, p->at++)
        if (n < SCAN_DIGITS_MAX)
            value = value * 10 + (peek(p) - '0');
    return value;
}

static int parse_number(struct parser *p, int *ret)
{
    size_t start = p->at;
    int value = take_digits(p, SIZE_MAX);

    if (p->at - start > 4 || value < p->field->min || value > p->field->max) {
        bool cut = p->at - start > CRON_SHOWN_MAX;
        int shown = cut ? CRON_SHOWN_MAX : (int)(p->at - start);
        const char *note = p->field == &quartz_dow ? ", 1 is Sunday" : "";
        const char *dots = cut ? "..." : "";

        return fail(p, start, "%s %.*s%s is out of range: %d-%d are allowed%s", p->field->name, shown,
                    p->text + start, dots, p->field->min, p->field->max, note);
    }
    *ret = value;
    return 0;
}

static int fail_name(struct parser *p)
{
    const struct field *f = p->field;
    int length = token_length(p, p->at);
    const char *token = p->text + p->at;

    if (p->id == CRON_DOM && length == 1 && (*token == 'l' || *token == 'w'))
        return fail(p, p->at, "day of month: L and W are written in upper case");
    if (f->names)
        return fail(p, p->at, "%s: '%.*s' is not a name: write %.3s ... %.3s or %d-%d", f->name, length,
                    token, f->names, f->names + 3 * (f->names_count - 1), f->min, f->max);
    return fail(p, p->at, "%s: '%.*s' is not a number: %d-%d are allowed", f->name, length, token, f->min,
                f->max);
}

/* A name of three letters; in day of week an L may follow it. */
static int parse_name(struct parser *p, int *ret)
{
    const struct field *f = p->field;
    size_t letters = 0;

    while (p->at + letters < p->end && is_letter(p->text[p->at + letters]))
        letters++;
    if (letters == 4 && p->id == CRON_DOW &&
        (p->text[p->at + 3] == 'L' || (p->quartz && p->text[p->at + 3] == 'l')))
        letters = 3;
    if (!f->names || letters != 3 || (p->at + 3 < p->end && scan_is_digit(p->text[p->at + 3])))
        return fail_name(p);
    for (int i = 0; i < f->names_count; i++) {
        const char *name = f->names + 3 * i, *have = p->text + p->at;

        if (upper(have[0]) == name[0] && upper(have[1]) == name[1] && upper(have[2]) == name[2]) {
            p->at += 3;
            *ret = i + f->names_base;
            return 0;
        }
    }
    return fail_name(p);
}

static int parse_value(struct parser *p, int *ret)
{
    if (scan_is_digit(peek(p)))
        return parse_number(p, ret);
    if (is_letter(peek(p)))
        return parse_name(p, ret);
    return fail_no_value(p);
}

/* The upper end of a range; in the cron dialect SUN is 7 there, so that FRI-SUN is a range. */
static int parse_upper(struct parser *p, int lo, int *ret)
{
    bool name = is_letter(peek(p));
    int r = parse_value(p, ret);

    if (r == 0 && name && p->id == CRON_DOW && !p->quartz && *ret == 0 && lo > 0)
        *ret = 7;
    return r;
}

/* Behind a '/' that is there. */
static int parse_step(struct parser *p, int *ret)
{
    size_t start = ++p->at;
    int value = take_digits(p, 5);

    if (p->at == start)
        return fail(p, start, "%s: a number must follow '/'", p->field->name);
    if (p->at - start > 4)
        return fail(p, start, "%s: a step has at most four digits", p->field->name);
    if (value == 0)
        return fail(p, start, "%s: step 0 is not possible: 1 is the least", p->field->name);
    *ret = value;
    return 0;
}

static int parse_optional_step(struct parser *p, int *ret)
{
    *ret = 1;
    return peek(p) == '/' ? parse_step(p, ret) : 0;
}

/* ---- items ---- */

static int parse_star(struct parser *p)
{
    const struct field *f = p->field;
    bool leads = p->item == 0;
    int step, r;

    p->at++;
    r = parse_optional_step(p, &step);
    if (r < 0)
        return r;
    if (leads && p->id <= CRON_HOUR)
        p->cron->flags |= CRON_STAR(p->id);
    p->any = leads && step == 1 && p->at == p->end;
    /* 7 is a second name of Sunday, not one more day */
    set_add_range(p, f->min, p->id == CRON_DOW && !p->quartz ? 6 : f->max, step);
    return 0;
}

/* The step behind a range, without a word about what is wrong with it; 1: there is none. */
static int step_behind(const struct parser *p)
{
    int step = 0;

    if (peek(p) != '/')
        return 1;
    for (size_t i = p->at + 1; i < p->end && scan_is_digit(p->text[i]) && step < 1000; i++)
        step = step * 10 + (p->text[i] - '0');
    return step > 0 ? step : 1;
}

/* A range of one value is that value. */
static const char *range_text(int lo, int hi, int step, char *buffer, size_t size)
{
    if (lo + step > hi)
        snprintf(buffer, size, "%d", lo);
    else if (step > 1)
        snprintf(buffer, size, "%d-%d/%d", lo, hi, step);
    else
        snprintf(buffer, size, "%d-%d", lo, hi);
    return buffer;
}

static int fail_backwards(struct parser *p, size_t start, int lo, int hi)
{
    const struct field *f = p->field;
    int length = (int)(p->at - start), step = step_behind(p), max, second;
    const char *text = p->text + start;
    char first[32], rest[34] = "";

    if (p->id == CRON_YEAR)
        return fail(p, start, "year: the range %d-%d runs backwards", lo, hi);
    if (p->id == CRON_DOW && lo == 7)
        return fail(p, start, "day of week: the range %.*s runs backwards: write 0-%d", length, text, hi);
    max = p->id == CRON_DOW && !p->quartz ? 6 : f->max;
    second = f->min + (step - 1 - (max - lo) % step); /* the steps go on over the end */
    if (second <= hi) {
        rest[0] = ',';
        range_text(second, hi, step, rest + 1, sizeof(rest) - 1);
    }
    return fail(p, start, "%s: the range %.*s runs backwards: write %s%s", f->name, length, text,
                range_text(lo, max, step, first, sizeof(first)), rest);
}

static int parse_range(struct parser *p, size_t start, int lo)
{
    int hi, step, r;

    p->at++;
    r = parse_upper(p, lo, &hi);
    if (r < 0)
        return r;
    if (lo > hi && (!p->quartz || p->id == CRON_YEAR))
        return fail_backwards(p, start, lo, hi);
    if (peek(p) == 'W')
        return fail(p, p->at, "day of month: W takes a single day, not a range");
    r = parse_optional_step(p, &step);
    if (r < 0)
        return r;
    if (lo > hi)
        set_add_wrapped(p, lo, hi, step);
    else
        set_add_range(p, lo, hi, step);
    return 0;
}

/* 0/15: fine in Quartz, a trap elsewhere: engines differ on what it means. */
static int parse_open_step(struct parser *p, size_t start, int lo)
{
    int max = p->id == CRON_DOW && !p->quartz ? 6 : p->field->max;
    int step, r;
    size_t slash = p->at;

    r = parse_step(p, &step);
    if (r < 0)
        return r;
    if (!p->quartz)
        return fail(p, slash, "%s: '%.*s': a step needs a range before it: write %d-%d/%d", p->field->name,
                    (int)(p->at - start), p->text + start, lo, max, step);
    set_add_range(p, lo, max, step);
    return 0;
}

static int parse_nth(struct parser *p, int weekday)
{
    int n;

    p->at++;
    if (peek_letter(p) == 'L')
        n = 6;
    else if (peek(p) >= '1' && peek(p) <= '5')
        n = peek(p) - '0';
    else
        return fail(p, p->at, "day of week: 1-5 or L must follow '#'");
    p->at++;
    p->cron->nth[weekday] |= (uint8_t)(1 << n);
    p->cron->flags |= CRON_DOW_SPECIAL;
    return 0;
}

/* ---- H and ~ ---- */

static uint64_t scale(uint64_t hash, uint64_t span)
{
    return (uint64_t)((__uint128_t)hash * span >> 64);
}

/* A number below span: for H by the job's name and the field, the same on every node and in every version;
 * for ~ by the seed that is stored with the job. */
static int spread_choose(const struct parser *p, bool random, int span)
{
    static const uint8_t hash_key[16] = "cronsched field", random_key[16] = "cronsched chance";
    uint8_t message[CRON_TEXT_MAX + 2];
    size_t n;

    if (random) {
        for (n = 0; n < 8; n++)
            message[n] = (uint8_t)(p->context->seed >> (8 * n));
        message[n++] = (uint8_t)p->item;
    } else {
        const char *job = p->context->job ? p->context->job : "";

        n = strnlen(job, CRON_TEXT_MAX);
        memcpy(message, job, n);
        message[n++] = 0;
    }
    message[n++] = (uint8_t)p->id;
    return (int)scale(hash_siphash(random ? random_key : hash_key, message, n), (uint64_t)span);
}

/* One value of lo-hi, or with a step: a first one below the step, and then every step. */
static int spread_add(struct parser *p, bool random, bool leads, int lo, int hi, int step)
{
    int span = hi - lo + 1, first;

    if (step == 0) {
        set_add(p, lo + spread_choose(p, random, span));
        return 0;
    }
    if (step > span)
        step = span;
    first = lo + spread_choose(p, random, step);
    set_add_range(p, first, hi, step);
    if (leads && p->id <= CRON_HOUR) {
        p->cron->flags |= CRON_SPREAD(p->id);
        p->cron->spread_step[p->id] = (uint8_t)step;
        p->cron->spread_first[p->id] = (uint8_t)first;
        if (random)
            p->cron->spread_random |= (uint8_t)(1 << p->id);
    }
    return 0;
}

static int fail_spread(struct parser *p, char letter)
{
    if (p->quartz)
        return fail(p, p->at, "%s: '%c' is not in the quartz dialect", p->field->name, letter);
    return fail(p, p->at, "year: '%c' cannot choose a year", letter);
}

/* H, H(a-b), H/n, H(a-b)/n */
static int parse_hash(struct parser *p)
{
    size_t start = p->at;
    int lo = p->field->min, hi = p->field->spread_max, step = 0, r;
    bool leads = p->item == 0;

    if (p->quartz || p->id == CRON_YEAR)
        return fail_spread(p, 'H');
    p->at++;
    if (peek(p) == '(') {
        leads = false;
        p->at++;
        r = parse_value(p, &lo);
        if (r < 0)
            return r;
        if (peek(p) != '-')
            return fail(p, p->at, "%s: H takes a range, as in H(%d-%d)", p->field->name, p->field->min,
                        p->field->spread_max);
        p->at++;
        r = parse_upper(p, lo, &hi);
        if (r < 0)
            return r;
        if (peek(p) != ')')
            return fail(p, p->at, "%s: ')' is missing", p->field->name);
        p->at++;
        if (lo > hi)
            return fail(p, start, "%s: the range %d-%d runs backwards", p->field->name, lo, hi);
    }
    if (peek(p) == '/') {
        r = parse_step(p, &step);
        if (r < 0)
            return r;
        if (step > hi - lo + 1)
            return fail(p, start, "%s: H/%d: the step is larger than the range of %d values", p->field->name,
                        step, hi - lo + 1);
    }
    return spread_add(p, false, leads, lo, hi, step);
}

/* a~b, a~, ~b, ~, each with an optional /n; p->at is at the ~. */
static int parse_random(struct parser *p, size_t start, bool has_lo, int lo)
{
    int hi = p->field->spread_max, step = 0, r;
    bool has_hi;

    if (p->quartz || p->id == CRON_YEAR)
        return fail_spread(p, '~');
    p->at++;
    has_hi = scan_is_digit(peek(p)) || is_letter(peek(p));
    if (!has_lo)
        lo = p->field->min;
    if (has_hi) {
        r = parse_upper(p, lo, &hi);
        if (r < 0)
            return r;
    } else if (lo > hi) {
        hi = p->field->max;
    }
    if (lo > hi)
        return fail_backwards(p, start, lo, hi);
    if (peek(p) == '/') {
        r = parse_step(p, &step);
        if (r < 0)
            return r;
    }
    return spread_add(p, true, p->item == 0 && !has_lo && !has_hi, lo, hi, step);
}

/* ---- the day fields' specials ---- */

/* L, L-n, LW, L-nW of day of month; p->at is at the L. */
static int parse_last_day(struct parser *p)
{
    int n = 0;

    p->at++;
    if (peek(p) == '-') {
        size_t start = ++p->at;

        n = take_digits(p, 3);
        if (p->at == start || n < 1 || n > 30)
            return fail(p, start, "day of month: L- takes 1-30, days before the last one");
    }
    if (peek_letter(p) == 'W') {
        p->at++;
        p->cron->dom_last_weekday |= UINT32_C(1) << n;
    } else {
        p->cron->dom_last |= UINT32_C(1) << n;
    }
    p->cron->flags |= CRON_DOM_SPECIAL;
    return 0;
}

static int parse_weekday_near(struct parser *p, int day)
{
    p->at++;
    p->cron->dom_weekday |= UINT32_C(1) << day;
    p->cron->flags |= CRON_DOM_SPECIAL;
    return 0;
}

/* What begins with a value. */
static int parse_value_item(struct parser *p)
{
    size_t start = p->at;
    int value, r, weekday;

    r = parse_value(p, &value);
    if (r < 0)
        return r;
    weekday = p->quartz ? value - 1 : value % 7;
    switch (peek_letter(p)) {
    case '-':
        return parse_range(p, start, value);
    case '~':
        return parse_random(p, start, true, value);
    case '/':
        return parse_open_step(p, start, value);
    case 'W':
        if (p->id == CRON_DOM)
            return parse_weekday_near(p, value);
        break;
    case '#':
        if (p->id == CRON_DOW)
            return parse_nth(p, weekday);
        break;
    case 'L':
        if (p->id == CRON_DOW) {
            p->at++;
            p->cron->nth[weekday] |= 1 << 6;
            p->cron->flags |= CRON_DOW_SPECIAL;
            return 0;
        }
        break;
    default:
        break;
    }
    set_add(p, value);
    return 0;
}

static int fail_question(struct parser *p)
{
    if (p->id == CRON_DOM || p->id == CRON_DOW)
        return fail(p, p->at, "%s: '?' cannot be combined with anything", p->field->name);
    return fail(p, p->at, "%s: '?' is for the two day fields; write '*'", p->field->name);
}

static int parse_item(struct parser *p)
{
    switch (peek_letter(p)) {
    case '*':
        return parse_star(p);
    case '?':
        return fail_question(p);
    case 'H':
        if (p->at + 1 < p->end && is_letter(p->text[p->at + 1]))
            break; /* a word */
        return parse_hash(p);
    case '~':
        return parse_random(p, p->at, false, 0);
    case 'L':
        if (p->id == CRON_DOM)
            return parse_last_day(p);
        if (p->id != CRON_DOW)
            break;
        if (!p->quartz)
            return fail(p, p->at, "day of week: L needs a day before it, as in 5L");
        p->at++;
        set_add(p, 7);
        return 0;
    case '/':
        if (p->at + 1 == p->end || !scan_is_digit(p->text[p->at + 1]))
            return fail(p, p->at, "%s: unexpected '/'; a command does not belong into the schedule",
                        p->field->name);
        return fail(p, p->at, "%s: a step needs a range before it: write *%.*s", p->field->name,
                    token_length(p, p->at + 1) + 1, p->text + p->at);
    case '+':
        if (p->id == CRON_DOW)
            return fail(p, p->at, "day of week: '+' comes first, once");
        return fail(p, p->at, "%s: '+' is for the day of week", p->field->name);
    case '-':
        return fail(p, p->at, "%s: a range needs a start: there are no negative numbers", p->field->name);
    case '\0':
    case ',':
        return fail(p, p->at, "%s: an empty item in the list", p->field->name);
    default:
        break;
    }
    return parse_value_item(p);
}

/* ---- fields ---- */

static void store(struct parser *p)
{
    struct cron *c = p->cron;
    uint64_t bits = p->set.w[0];

    switch (p->id) {
    case CRON_SECOND:
        c->second = bits;
        break;
    case CRON_MINUTE:
        c->minute = bits;
        break;
    case CRON_HOUR:
        c->hour = (uint32_t)bits;
        break;
    case CRON_DOM:
        c->dom = (uint32_t)bits;
        if (p->any)
            c->flags |= CRON_DOM_ANY;
        break;
    case CRON_MONTH:
        c->month = (uint16_t)bits;
        break;
    case CRON_DOW:
        c->dow = (uint8_t)(p->quartz ? bits >> 1 : (bits | bits >> 7) & 0x7f);
        if (p->any)
            c->flags |= CRON_DOW_ANY;
        break;
    case CRON_YEAR:
    default:
        memcpy(c->year, p->set.w, sizeof(c->year));
    }
}

static int parse_field(struct parser *p)
{
    enum cron_field id = p->id;
    int r;

    if (id == CRON_DOW && !p->quartz && peek(p) == '+') {
        p->at++;
        p->cron->flags |= CRON_DAYS_AND;
    }
    if ((id == CRON_DOM || id == CRON_DOW) && p->end - p->at == 1 && peek(p) == '?') {
        p->any = true;
        set_add_range(p, p->field->min, p->field->max, 1);
        store(p);
        return 0;
    }
    for (;; p->at++, p->item++) {
        if ((int)p->item == p->field->items_max)
            return fail(p, p->at, "%s: more than %d items", p->field->name, p->field->items_max);
        p->start = p->at;
        r = parse_item(p);
        if (r < 0)
            return r;
        if (!at_item_end(p))
            return fail_trailing(p);
        if (p->at == p->end)
            break;
    }
    store(p);
    return 0;
}

int cron_field_parse(enum cron_field id, const char *text, struct cron_span span, bool quartz,
                     const struct cron_context *context, struct cron *cron, size_t *ret_column,
                     struct error *error)
{
    struct parser p = {
        .text = text,
        .at = span.from,
        .end = span.to,
        .context = context,
        .quartz = quartz,
        .id = id,
        .field = id == CRON_DOW && quartz ? &quartz_dow : &fields[id],
        .cron = cron,
        .error = error,
    };
    int r = parse_field(&p);

    if (r < 0)
        *ret_column = p.column;
    return r;
}
