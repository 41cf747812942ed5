#include "jobs/time/zone.h"

#include "jobs/base/scan.h"
#include "jobs/time/civil.h"
#include "jobs/time/zone_advice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9636, 3.2: no time is to be below -2**59. It leaves room for sums of times and offsets. */
#define CHANGE_MOST_S    (INT64_C(1) << 59)
#define HEADER_BYTES     44
#define FOOTER_MAX       255
#define EXPAND_YEAR_MIN  1850 /* a rule older than this is expanded from here */
#define EXPAND_YEAR_LAST 2200 /* fire times end with 2199 local */
#define EXPAND_MAX       (2 * (EXPAND_YEAR_LAST - EXPAND_YEAR_MIN + 2))

/* ---- the table under construction ---- */

struct builder {
    int64_t *start_s;
    int32_t *offset_s;
    size_t count, max;
};

/* Adds a change. Changes of one instant: the last one counts. What is not a change of offset is dropped. */
static void builder_add(struct builder *b, int64_t at_s, int32_t offset_s)
{
    while (b->count > 1 && b->start_s[b->count - 1] >= at_s)
        b->count--;
    if (b->offset_s[b->count - 1] == offset_s)
        return;
    assert(b->count < b->max);
    b->start_s[b->count] = at_s;
    b->offset_s[b->count] = offset_s;
    b->count++;
}

/* One allocation: the struct, the starts with the sentinel, the offsets. */
static int builder_finish(const struct builder *b, const char *name, struct zone **ret)
{
    size_t starts = (b->count + 1) * sizeof(int64_t), offsets = b->count * sizeof(int32_t);
    struct zone *zone = calloc(1, sizeof(*zone) + starts + offsets);
    int64_t *start_s;
    int32_t *offset_s;

    if (!zone)
        return ERR_NOMEM;
    start_s = (int64_t *)(zone + 1);
    offset_s = (int32_t *)(start_s + b->count + 1);
    memcpy(start_s, b->start_s, b->count * sizeof(int64_t));
    memcpy(offset_s, b->offset_s, offsets);
    start_s[b->count] = INT64_MAX;
    zone->count = (uint32_t)b->count;
    zone->start_s = start_s;
    zone->offset_s = offset_s;
    zone->offset_min_s = zone->offset_max_s = offset_s[0];
    for (size_t i = 1; i < b->count; i++) {
        int32_t gap = offset_s[i] - offset_s[i - 1];

        if (offset_s[i] < zone->offset_min_s)
            zone->offset_min_s = offset_s[i];
        if (offset_s[i] > zone->offset_max_s)
            zone->offset_max_s = offset_s[i];
        if (gap > zone->gap_max_s)
            zone->gap_max_s = gap;
    }
    strncpy(zone->name, name, ZONE_NAME_MAX);
    *ret = zone;
    return 0;
}

/* ---- the footer: a POSIX TZ string with RFC 9636's extensions ---- */

struct rule {
    enum { RULE_JULIAN, RULE_DAY, RULE_MONTH } kind; /* Jn, n, Mm.w.d */
    int day, week, month;
    int32_t time_s; /* wall time before the change, -167 h to 167 h */
};

struct footer {
    int32_t standard_s, dst_s; /* offsets east */
    bool has_dst;
    struct rule begin, end;
};

struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_number(struct cursor *c, int max, int *ret)
{
    int64_t value;

    if (!scan_number(&c->at, c->end, 3, max, &value))
        return false;
    *ret = (int)value;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool take_hms(struct cursor *c, int max_hours, int32_t *ret_s)
{
    int sign = 1, h, m = 0, s = 0;

    if (take(c, '-'))
        sign = -1;
    else
        take(c, '+');
    if (!take_number(c, max_hours, &h))
        return false;
    if (take(c, ':') && (!take_number(c, 59, &m) || (take(c, ':') && !take_number(c, 59, &s))))
        return false;
    *ret_s = sign * (h * 3600 + m * 60 + s);
    return true;
}

/* "CET" or "<+03>": at least three characters. */
static bool take_designation(struct cursor *c)
{
    bool quoted = take(c, '<');
    const char *start = c->at;

    for (; c->at < c->end; c->at++) {
        char x = *c->at;
        bool letter = (x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z');

        if (!letter && !(quoted && ((x >= '0' && x <= '9') || x == '+' || x == '-')))
            break;
    }
    return c->at - start >= 3 && (!quoted || take(c, '>'));
}

static bool take_rule(struct cursor *c, struct rule *ret)
{
    *ret = (struct rule){.time_s = 2 * 3600};
    if (!take(c, ','))
        return false;
    if (take(c, 'M')) {
        ret->kind = RULE_MONTH;
        if (!take_number(c, 12, &ret->month) || ret->month < 1 || !take(c, '.') ||
            !take_number(c, 5, &ret->week) || ret->week < 1 || !take(c, '.') || !take_number(c, 6, &ret->day))
            return false;
    } else if (take(c, 'J')) {
        ret->kind = RULE_JULIAN;
        if (!take_number(c, 365, &ret->day) || ret->day < 1)
            return false;
    } else {
        ret->kind = RULE_DAY;
        if (!take_number(c, 365, &ret->day))
            return false;
    }
    return !take(c, '/') || take_hms(c, 167, &ret->time_s);
}

static bool footer_parse(const char *text, size_t length, struct footer *ret)
{
    struct cursor c = {text, text + length};
    int32_t west_s;

    *ret = (struct footer){0};
    if (!take_designation(&c) || !take_hms(&c, 24, &west_s))
        return false;
    ret->standard_s = -west_s;
    if (c.at == c.end)
        return true;
    ret->has_dst = true;
    ret->dst_s = ret->standard_s + 3600;
    if (!take_designation(&c))
        return false;
    if (c.at < c.end && *c.at != ',') {
        if (!take_hms(&c, 24, &west_s))
            return false;
        ret->dst_s = -west_s;
    }
    return take_rule(&c, &ret->begin) && take_rule(&c, &ret->end) && c.at == c.end;
}

/* Local seconds, by the clock before the change, of a rule in a year. */
static int64_t rule_local(const struct rule *rule, int year)
{
    int64_t first = civil_days(year, 1, 1), day;
    int weekday;

    switch (rule->kind) {
    case RULE_JULIAN: /* 29 February is never counted */
        day = first + rule->day - 1 + (rule->day >= 60 && civil_month_days(year, 2) == 29);
        break;
    case RULE_DAY:
        day = first + rule->day;
        break;
    case RULE_MONTH:
    default:
        first = civil_days(year, rule->month, 1);
        weekday = civil_weekday(first);
        day = first + (rule->day - weekday + 7) % 7 + 7 * (rule->week - 1);
        if (day >= first + civil_month_days(year, rule->month))
            day -= 7; /* week 5 is the last one */
    }
    return day * CIVIL_DAY_S + rule->time_s;
}

/* The changes after `from_s` that the footer makes. */
static void footer_expand(const struct footer *footer, int64_t from_s, struct builder *b)
{
    int year = EXPAND_YEAR_MIN, month, day;

    if (!footer->has_dst)
        return;
    if (from_s > (int64_t)EXPAND_YEAR_LAST * 366 * CIVIL_DAY_S)
        return;
    if (from_s > civil_days(EXPAND_YEAR_MIN + 1, 1, 1) * CIVIL_DAY_S) {
        civil_from_days(civil_day_of(from_s), &year, &month, &day);
        year--; /* an offset may carry it across new year */
    }
    for (; year <= EXPAND_YEAR_LAST; year++) {
        struct {
            int64_t at_s;
            int32_t offset_s;
        } change[2] = {
            {rule_local(&footer->begin, year) - footer->standard_s, footer->dst_s},
            {rule_local(&footer->end, year) - footer->dst_s, footer->standard_s},
        };
        int early = change[1].at_s < change[0].at_s;

        for (int i = 0; i < 2; i++)
            if (change[i ^ early].at_s > from_s)
                builder_add(b, change[i ^ early].at_s, change[i ^ early].offset_s);
    }
}

/* ---- the file ---- */

struct block { /* one of a file's one or two data blocks */
    uint32_t isut, isstd, leap, times, types, chars;
    uint32_t time_bytes; /* 4 or 8 */
    char version;
    const uint8_t *data;
    size_t data_bytes;
};

static uint32_t read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t read_be64(const uint8_t *p)
{
    return (int64_t)((uint64_t)read_be32(p) << 32 | read_be32(p + 4));
}

static int corrupt(struct error *error, const char *why)
{
    return error_set(error, ERR_CORRUPT, "the zone file is not valid: %s", why);
}

/* Header and bounds of the block at `bytes`. */
static int block_open(const uint8_t *bytes, size_t size, uint32_t time_bytes, struct block *ret,
                      struct error *error)
{
    uint64_t need;

    if (size < HEADER_BYTES || memcmp(bytes, "TZif", 4) != 0)
        return corrupt(error, "no TZif header");
    *ret = (struct block){
        .isut = read_be32(bytes + 20),
        .isstd = read_be32(bytes + 24),
        .leap = read_be32(bytes + 28),
        .times = read_be32(bytes + 32),
        .types = read_be32(bytes + 36),
        .chars = read_be32(bytes + 40),
        .time_bytes = time_bytes,
        .version = (char)bytes[4],
        .data = bytes + HEADER_BYTES,
    };
    if (ret->version != '\0' && (ret->version < '2' || ret->version > '4'))
        return corrupt(error, "unknown version");
    need = (uint64_t)ret->times * (time_bytes + 1) + (uint64_t)ret->types * 6 + ret->chars +
           (uint64_t)ret->leap * (time_bytes + 4) + ret->isstd + ret->isut;
    if (need > size - HEADER_BYTES)
        return corrupt(error, "it is shorter than its header says");
    ret->data_bytes = (size_t)need;
    return 0;
}

static int block_check(const struct block *b, struct error *error)
{
    const uint8_t *index = b->data + (size_t)b->times * b->time_bytes;
    const uint8_t *type = index + b->times;
    const uint8_t *chars = type + (size_t)b->types * 6;

    if (b->leap > 0)
        return error_set(error, ERR_UNSUPPORTED, "the zone file counts leap seconds (one of right/)");
    if (b->types == 0 || b->types > 256)
        return corrupt(error, "no local time type, or more than 256");
    if (b->times > ZONE_CHANGES_MAX)
        return corrupt(error, "more than 2000 changes");
    if ((b->isut != 0 && b->isut != b->types) || (b->isstd != 0 && b->isstd != b->types))
        return corrupt(error, "the counts of indicators disagree");
    for (uint32_t i = 0; i < b->types; i++) {
        int32_t offset = (int32_t)read_be32(type + 6 * i);
        uint8_t name = type[6 * i + 5];

        if (offset <= -ZONE_OFFSET_MAX || offset >= ZONE_OFFSET_MAX)
            return corrupt(error, "an offset of 26 hours or more");
        if (type[6 * i + 4] > 1)
            return corrupt(error, "a DST flag that is neither 0 nor 1");
        if (name >= b->chars || !memchr(chars + name, '\0', b->chars - name))
            return corrupt(error, "a designation without an end");
    }
    for (uint32_t i = 0; i < b->times; i++)
        if (index[i] >= b->types)
            return corrupt(error, "a change to an unknown type");
    return 0;
}

static int64_t block_time(const struct block *b, uint32_t i)
{
    const uint8_t *p = b->data + (size_t)i * b->time_bytes;

    return b->time_bytes == 8 ? read_be64(p) : (int32_t)read_be32(p);
}

static int32_t block_offset(const struct block *b, uint32_t type)
{
    return (int32_t)read_be32(b->data + (size_t)b->times * (b->time_bytes + 1) + (size_t)type * 6);
}

/* The text between the two newlines that end a file of version 2 and later. */
static int find_footer(const uint8_t *bytes, size_t size, const char **ret, size_t *ret_length,
                       struct error *error)
{
    const uint8_t *end;

    if (size < 2 || bytes[0] != '\n')
        return corrupt(error, "no footer");
    end = memchr(bytes + 1, '\n', size - 1);
    if (!end || end - bytes - 1 > FOOTER_MAX)
        return corrupt(error, "the footer has no end");
    *ret = (const char *)bytes + 1;
    *ret_length = (size_t)(end - bytes - 1);
    return 0;
}

/* Finds the block to use (the 64-bit one where there is one) and the footer; an absent footer has length 0.
 */
static int open_file(const uint8_t *bytes, size_t size, struct block *ret, const char **ret_footer,
                     size_t *ret_footer_length, struct error *error)
{
    struct block block;
    size_t used;
    int r = block_open(bytes, size, 4, &block, error);

    if (r < 0)
        return r;
    *ret_footer = "";
    *ret_footer_length = 0;
    if (block.version != '\0') {
        used = HEADER_BYTES + block.data_bytes;
        r = block_open(bytes + used, size - used, 8, &block, error);
        if (r < 0)
            return r;
        used += HEADER_BYTES + block.data_bytes;
        r = find_footer(bytes + used, size - used, ret_footer, ret_footer_length, error);
        if (r < 0)
            return r;
    }
    *ret = block;
    return block_check(ret, error);
}

static int build(const struct block *block, const struct footer *footer, struct builder *b,
                 struct error *error)
{
    const uint8_t *index = block->data + (size_t)block->times * block->time_bytes;
    int64_t last = INT64_MIN;

    b->start_s[0] = INT64_MIN;
    b->offset_s[0] = block->times == 0 && footer ? footer->standard_s : block_offset(block, 0);
    b->count = 1;
    for (uint32_t i = 0; i < block->times; i++) {
        int64_t at_s = block_time(block, i);

        if (at_s < -CHANGE_MOST_S || at_s > CHANGE_MOST_S)
            return corrupt(error, "a change before the Big Bang, or as far ahead");
        if (i > 0 && at_s <= last)
            return corrupt(error, "the changes are not in order");
        builder_add(b, at_s, block_offset(block, index[i]));
        last = at_s;
    }
    if (footer)
        footer_expand(footer, last, b);
    return 0;
}

int zone_parse(const void *bytes, size_t size, const char *name, struct zone **ret, struct error *error)
{
    struct block block;
    struct footer footer;
    struct builder builder = {0};
    const char *text;
    size_t length;
    int r;

    if (size > ZONE_FILE_MAX)
        return corrupt(error, "it is larger than 64 KiB");
    r = open_file(bytes, size, &block, &text, &length, error);
    if (r < 0)
        return r;
    if (length > 0 && !footer_parse(text, length, &footer))
        return corrupt(error, "the footer is not a rule");
    builder.max = block.times + 1 + EXPAND_MAX;
    builder.start_s = malloc(builder.max * sizeof(*builder.start_s));
    builder.offset_s = malloc(builder.max * sizeof(*builder.offset_s));
    if (builder.start_s && builder.offset_s)
        r = build(&block, length > 0 ? &footer : NULL, &builder, error);
    else
        r = ERR_NOMEM;
    if (r == 0)
        r = builder_finish(&builder, name, ret);
    if (r == ERR_NOMEM)
        error_set(error, r, "out of memory");
    free(builder.start_s);
    free(builder.offset_s);
    return r;
}

void zone_free(struct zone *zone)
{
    free(zone);
}

/* ---- questions ---- */

const struct zone *zone_utc(void)
{
    static const int64_t start_s[] = {INT64_MIN, INT64_MAX};
    static const int32_t offset_s[] = {0};
    static const struct zone utc = {.name = "UTC", .count = 1, .start_s = start_s, .offset_s = offset_s};

    return &utc;
}

bool zone_name_valid(const char *name, size_t length)
{
    static const char *const refused[] = {"posix", "right", "localtime", "posixrules"};
    size_t part = 0, parts = 1;

    if (length == 0 || length > ZONE_NAME_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        char x = name[i];

        if (x == '/') {
            if (part == 0 || ++parts > 3)
                return false;
            part = 0;
            continue;
        }
        if (!((x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x == '+' ||
              x == '-' || x == '_'))
            return false;
        part++;
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        size_t n = strlen(refused[i]);

        if (length >= n && memcmp(name, refused[i], n) == 0 && (length == n || name[n] == '/'))
            return false;
    }
    return part > 0;
}

int zone_name_fail(const char *name, struct error *error)
{
    size_t length = strnlen(name, ZONE_NAME_MAX + 1);
    char advice[ZONE_ADVICE_MAX];

    for (size_t i = 0; i < length; i++)
        if (name[i] < ' ' || name[i] > '~')
            length = 0;
    if (length == 0 || length > ZONE_NAME_MAX)
        return error_set(error, ERR_INVALID, "not the name of a time zone: write it like Europe/Paris");
    if (zone_advice(name, advice))
        return error_set(error, ERR_INVALID, "'%s' is not the name of a time zone%s", name, advice);
    return error_set(error, ERR_INVALID, "'%s' is not the name of a time zone: write it like Europe/Paris",
                     name);
}

bool zone_equal(const struct zone *a, const struct zone *b)
{
    return a->count == b->count && memcmp(a->start_s, b->start_s, a->count * sizeof(*a->start_s)) == 0 &&
           memcmp(a->offset_s, b->offset_s, a->count * sizeof(*a->offset_s)) == 0;
}

int64_t zone_instant(const struct zone *zone, int64_t local_s, enum zone_fit *ret_fit)
{
    /* no earlier segment can hold it: with the largest offset it would be over already */
    uint32_t i = zone_segment(zone, local_s - zone->offset_max_s);
    enum zone_fit fit = ZONE_ONCE;
    int64_t at_s;

    while (i + 1 < zone->count && local_s - zone->offset_s[i] >= zone->start_s[i + 1])
        i++;
    at_s = local_s - zone->offset_s[i];
    if (at_s < zone->start_s[i]) {
        fit = ZONE_NONE;
        at_s = zone->start_s[i];
    } else if (i + 1 < zone->count && local_s - zone->offset_s[i + 1] >= zone->start_s[i + 1]) {
        fit = ZONE_TWICE;
    }
    assert(at_s >= zone->start_s[i]);
    if (ret_fit)
        *ret_fit = fit;
    return at_s;
}
