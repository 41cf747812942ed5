/* A compiled schedule: its texts as plain data, its zone, its window and its exclusions. Every question goes
 * to the entries one by one and is then put through window and exclusions; none of them steps through time.
 */
#include "jobs/time/cron_remark.h"
#include "jobs/time/schedule_priv.h"

#include "jobs/base/hash.h"
#include "jobs/base/line.h"
#include "jobs/time/schedule_count.h"
#include "jobs/time/schedule_describe.h"
#include "jobs/time/walltime.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- zones ---- */

static bool is_version(const char *text)
{
    for (int i = 0; i < 4; i++)
        if (!text || text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

bool schedule_tzdata_older(const char *a, const char *b)
{
    return is_version(a) && is_version(b) && strcmp(a, b) < 0;
}

static bool is_utc(const char *name)
{
    return strcmp(name, "UTC") == 0 || strcmp(name, "Z") == 0;
}

static int zone_acquire(struct zone_source *source, const char *name, const struct zone **ret,
                        struct error *error)
{
    if (is_utc(name)) {
        *ret = zone_utc();
        return 0;
    }
    if (!zone_name_valid(name, strlen(name)))
        return zone_name_fail(name, error);
    if (!source)
        return error_set(error, ERR_NOT_FOUND, "unknown time zone '%s'", name);
    return source->get(source, name, ret, error);
}

static void zone_give_back(struct zone_source *source, const struct zone *zone)
{
    if (zone && zone != zone_utc())
        source->put(source, zone);
}

/* ---- prefixes ---- */

/* What may stand in front of a text: "TZ=Europe/Paris quartz: ..." in either order, each once. */
struct prefix {
    char zone[ZONE_NAME_MAX + 2]; /* one too many shows a name too long; "" without a prefix */
    size_t zone_column;
    bool quartz;
    size_t end; /* where the rest begins */
};

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void read_prefix(const char *text, struct prefix *ret)
{
    size_t at = strspn(text, " \t");

    *ret = (struct prefix){0};
    for (;;) {
        size_t skip = 0;

        if (starts(text + at, "TZ="))
            skip = strlen("TZ=");
        else if (starts(text + at, "CRON_TZ="))
            skip = strlen("CRON_TZ=");
        if (skip && !ret->zone_column) {
            size_t n = strcspn(text + at + skip, " \t");

            ret->zone_column = at + skip;
            memcpy(ret->zone, text + at + skip, n < sizeof(ret->zone) ? n : sizeof(ret->zone) - 1);
            at += skip + n;
        } else if (starts(text + at, "quartz:") && !ret->quartz) {
            ret->quartz = true;
            at += 7;
        } else {
            break;
        }
        at += strspn(text + at, " \t");
    }
    ret->end = at;
}

/* ---- compiling ---- */

struct compiler {
    struct schedule *schedule;
    const struct schedule_options *options;
    struct schedule_fault *fault; /* never NULL */
    struct error *error;
};

static int fail_at(struct compiler *c, int where, size_t index, size_t column, int code)
{
    c->fault->where = where;
    c->fault->index = index;
    c->fault->column = column;
    return code;
}

static int check_lengths(struct compiler *c, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strnlen(texts[i], SCHEDULE_TEXT_MAX + 1) > SCHEDULE_TEXT_MAX) {
            error_set(c->error, ERR_INVALID, "the schedule is longer than %d bytes", SCHEDULE_TEXT_MAX);
            return fail_at(c, SCHEDULE_FAULT_TEXT, i, SCHEDULE_TEXT_MAX, ERR_INVALID);
        }
    return 0;
}

/* Whether text number `index` agrees with the schedule's zone, `name` (NULL: none is named). */
static int check_prefix(struct compiler *c, const char *text, size_t index, const char *name)
{
    struct prefix prefix;
    size_t column;

    read_prefix(text, &prefix);
    column = prefix.zone_column ? prefix.zone_column : prefix.end;
    if (prefix.zone_column && !is_utc(prefix.zone) && !zone_name_valid(prefix.zone, strlen(prefix.zone)))
        return fail_at(c, SCHEDULE_FAULT_TEXT, index, column, zone_name_fail(prefix.zone, c->error));
    if (prefix.zone_column ? name && strcmp(name, prefix.zone) == 0 : c->options->zone || !name)
        return 0;
    if (c->options->zone)
        error_set(c->error, ERR_INVALID, "the text's time zone '%s' is not the given one, '%s'", prefix.zone,
                  name);
    else
        error_set(c->error, ERR_INVALID, "all texts of a schedule share one time zone: name it once, apart");
    return fail_at(c, SCHEDULE_FAULT_TEXT, index, column, ERR_INVALID);
}

/* The zone is the options' or the texts' own; they must not disagree. */
static int compile_zone(struct compiler *c, const char *const *texts, size_t count)
{
    struct schedule *s = c->schedule;
    const char *name = c->options->zone;
    struct prefix first;
    int r = 0;

    read_prefix(texts[0], &first);
    if (!name && first.zone_column)
        name = first.zone;
    for (size_t i = 0; i < count && r == 0; i++)
        r = check_prefix(c, texts[i], i, name);
    if (r < 0)
        return r;
    s->zone_name = strdup(name ? name : "UTC");
    if (!s->zone_name)
        return error_set(c->error, ERR_NOMEM, "out of memory");
    r = zone_acquire(s->source, s->zone_name, &s->zone, c->error);
    if (r < 0)
        return c->options->zone ? fail_at(c, SCHEDULE_FAULT_ZONE, 0, 0, r)
                                : fail_at(c, SCHEDULE_FAULT_TEXT, 0, first.zone_column, r);
    s->clock = s->dst == SCHEDULE_UTC ? zone_utc() : s->zone;
    return 0;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

static int compile_text(struct compiler *c, const char *text, size_t index)
{
    struct schedule *s = c->schedule;
    struct schedule_entry *entry = &s->entries[index];
    const struct schedule_options *options = c->options;
    struct cron_context context = {.dialect = options->dialect, .job = options->job, .seed = options->seed};
    struct prefix prefix;
    size_t length, column = 0;
    int r = 0;

    read_prefix(text, &prefix);
    text += prefix.end;
    length = strlen(text);
    if (prefix.quartz)
        context.dialect = SCHEDULE_QUARTZ;
    entry->text = strdup(text);
    if (!entry->text)
        return error_set(c->error, ERR_NOMEM, "out of memory");
    s->count = index + 1;
    entry->dialect = context.dialect;
    if (is_word(text, length, "@reboot") || is_word(text, length, "@manually")) {
        entry->kind = ENTRY_NEVER;
    } else if (interval_is(text, length)) {
        entry->kind = ENTRY_INTERVAL;
        r = interval_parse(text, length, s->clock, options->anchor_s, &entry->interval, &column, c->error);
    } else {
        entry->kind = ENTRY_CRON;
        r = cron_parse(text, length, &context, &entry->cron, &column, c->error);
    }
    return r < 0 ? fail_at(c, SCHEDULE_FAULT_TEXT, index, prefix.end + column, r) : 0;
}

/* One end of the window; a date as `end` includes its day. */
static int compile_bound(struct compiler *c, const char *text, bool end, int64_t *ret_s)
{
    int where = end ? SCHEDULE_FAULT_END : SCHEDULE_FAULT_START;
    struct civil_text civil;
    size_t column;
    int r;

    if (!text)
        return 0;
    r = civil_parse(text, strlen(text), &civil, &column, c->error);
    if (r < 0)
        return fail_at(c, where, 0, column, r);
    if (civil.date_only && end)
        civil.local_s += CIVIL_DAY_S;
    if (civil.has_offset)
        *ret_s = civil.local_s - civil.offset_s;
    else
        *ret_s = zone_instant(c->schedule->clock, civil.local_s, NULL);
    if (civil.has_fraction)
        (*ret_s)++; /* the first whole second that is not before it */
    return 0;
}

static int compile_window(struct compiler *c)
{
    struct schedule *s = c->schedule;
    int r;

    s->start_s = INT64_MIN;
    s->end_s = INT64_MAX;
    r = compile_bound(c, c->options->start, false, &s->start_s);
    if (r == 0)
        r = compile_bound(c, c->options->end, true, &s->end_s);
    if (r == 0 && s->end_s <= s->start_s) {
        error_set(c->error, ERR_INVALID, "the end is not after the start");
        return fail_at(c, SCHEDULE_FAULT_END, 0, 0, ERR_INVALID);
    }
    return r;
}

static int parse_day(const char *text, size_t length, int64_t *ret, size_t *ret_column, struct error *error)
{
    struct civil_text civil;
    int r = civil_parse(text, length, &civil, ret_column, error);

    if (r < 0)
        return r;
    if (!civil.date_only) {
        *ret_column = 10;
        return error_set(error, ERR_INVALID, "whole days only: write 2026-12-25 or 2026-07-14/2026-07-20");
    }
    *ret = civil_day_of(civil.local_s);
    return 0;
}

static int parse_days(const char *text, struct civil_range *ret, size_t *ret_column, struct error *error)
{
    const char *slash = strchr(text, '/');
    size_t first = slash ? (size_t)(slash - text) : strlen(text);
    int r = parse_day(text, first, &ret->from, ret_column, error);

    if (r < 0)
        return r;
    ret->to = ret->from;
    if (!slash)
        return 0;
    r = parse_day(slash + 1, strlen(slash + 1), &ret->to, ret_column, error);
    *ret_column += first + 1;
    if (r == 0 && ret->to < ret->from) {
        *ret_column = first + 1;
        r = error_set(error, ERR_INVALID, "the last day comes before the first");
    }
    return r;
}

static int compile_except(struct compiler *c)
{
    struct schedule *s = c->schedule;
    size_t count = c->options->except_count, column = 0;

    if (count == 0)
        return 0;
    if (count > SCHEDULE_EXCEPT_MAX) {
        error_set(c->error, ERR_LIMIT, "more than %d exclusions", SCHEDULE_EXCEPT_MAX);
        return fail_at(c, SCHEDULE_FAULT_EXCEPT, SCHEDULE_EXCEPT_MAX, 0, ERR_LIMIT);
    }
    s->except = calloc(count, sizeof(*s->except));
    if (!s->except)
        return error_set(c->error, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        int r = parse_days(c->options->except[i], &s->except[i], &column, c->error);

        if (r < 0)
            return fail_at(c, SCHEDULE_FAULT_EXCEPT, i, column, r);
    }
    s->except_count = civil_range_sort(s->except, count);
    return 0;
}

static int compile(struct compiler *c, const char *const *texts, size_t count)
{
    int r = check_lengths(c, texts, count);

    if (r == 0)
        r = compile_zone(c, texts, count);
    for (size_t i = 0; i < count && r == 0; i++)
        r = compile_text(c, texts[i], i);
    if (r == 0)
        r = compile_window(c);
    if (r == 0)
        r = compile_except(c);
    return r;
}

int schedule_new(struct schedule **ret, const char *const *texts, size_t count,
                 const struct schedule_options *options, struct zone_source *source,
                 struct schedule_fault *fault, struct error *error)
{
    struct schedule_fault unseen;
    struct compiler c = {.options = options, .fault = fault ? fault : &unseen, .error = error};
    int r;

    *c.fault = (struct schedule_fault){0};
    if (count == 0)
        return error_set(error, ERR_INVALID, "the schedule is empty");
    if (count > SCHEDULE_TEXTS_MAX) {
        error_set(error, ERR_LIMIT, "more than %d texts in one schedule", SCHEDULE_TEXTS_MAX);
        return fail_at(&c, SCHEDULE_FAULT_TEXT, SCHEDULE_TEXTS_MAX, 0, ERR_LIMIT);
    }
    if (options->anchor_s < 0 || options->anchor_s >= CIVIL_LOCAL_END || options->jitter_ms < 0)
        return error_set(error, ERR_INVALID, "the anchor or the jitter is out of range");
    c.schedule = calloc(1, sizeof(*c.schedule) + count * sizeof(struct schedule_entry));
    if (!c.schedule)
        return error_set(error, ERR_NOMEM, "out of memory");
    c.schedule->source = source;
    c.schedule->dst = options->dst;
    c.schedule->jitter_ms = options->jitter_ms;
    c.schedule->job = strdup(options->job ? options->job : "");
    r = c.schedule->job ? compile(&c, texts, count) : error_set(error, ERR_NOMEM, "out of memory");
    if (r < 0) {
        schedule_free(c.schedule);
        return r;
    }
    *ret = c.schedule;
    return 0;
}

void schedule_free(struct schedule *s)
{
    if (!s)
        return;
    zone_give_back(s->source, s->zone);
    for (size_t i = 0; i < s->count; i++)
        free(s->entries[i].text);
    free(s->except);
    free(s->zone_name);
    free(s->job);
    free(s);
}

/* ---- one entry ---- */

int64_t schedule_entry_next(const struct schedule *s, const struct schedule_entry *e, int64_t after_s)
{
    switch (e->kind) {
    case ENTRY_CRON:
        return walltime_next(&e->cron, s->clock, s->dst, after_s);
    case ENTRY_INTERVAL:
        return interval_next(&e->interval, s->clock, after_s);
    case ENTRY_NEVER:
    default:
        return SCHEDULE_NEVER;
    }
}

static int64_t entry_prev(const struct schedule *s, const struct schedule_entry *e, int64_t before_s)
{
    switch (e->kind) {
    case ENTRY_CRON:
        return walltime_prev(&e->cron, s->clock, s->dst, before_s);
    case ENTRY_INTERVAL:
        return interval_prev(&e->interval, s->clock, before_s);
    case ENTRY_NEVER:
    default:
        return INT64_MIN;
    }
}

/* ---- exclusions ---- */

/* The excluded stretch of days that holds an instant, or NULL. */
const struct civil_range *schedule_excluded(const struct schedule *s, int64_t at_s)
{
    int64_t day;
    size_t i;

    if (s->except_count == 0)
        return NULL;
    day = civil_day_of(at_s + zone_offset(s->clock, at_s));
    i = civil_range_find(s->except, s->except_count, day);
    return i < s->except_count && s->except[i].from <= day ? &s->except[i] : NULL;
}

static int64_t day_start(const struct schedule *s, int64_t day)
{
    return zone_instant(s->clock, day * CIVIL_DAY_S, NULL);
}

/* ---- questions ---- */

int64_t schedule_next(const struct schedule *s, int64_t after_s)
{
    if (s->start_s != INT64_MIN && after_s < s->start_s - 1)
        after_s = s->start_s - 1;
    for (;;) {
        int64_t best_s = SCHEDULE_NEVER, resume_s;
        const struct civil_range *days;

        for (size_t i = 0; i < s->count; i++) {
            int64_t at_s = schedule_entry_next(s, &s->entries[i], after_s);

            best_s = at_s < best_s ? at_s : best_s;
        }
        if (best_s >= s->end_s)
            return SCHEDULE_NEVER;
        assert(best_s > after_s);
        if (best_s == SCHEDULE_NEVER || !(days = schedule_excluded(s, best_s)))
            return best_s;
        resume_s = day_start(s, days->to + 1) - 1;
        after_s = resume_s > best_s ? resume_s : best_s;
    }
}

int64_t schedule_prev(const struct schedule *s, int64_t before_s)
{
    if (before_s > s->end_s)
        before_s = s->end_s;
    for (;;) {
        int64_t best_s = INT64_MIN, resume_s;
        const struct civil_range *days;

        for (size_t i = 0; i < s->count; i++) {
            int64_t at_s = entry_prev(s, &s->entries[i], before_s);

            best_s = at_s > best_s ? at_s : best_s;
        }
        if (best_s < s->start_s || best_s == INT64_MIN)
            return INT64_MIN;
        assert(best_s < before_s);
        days = schedule_excluded(s, best_s);
        if (!days)
            return best_s;
        resume_s = day_start(s, days->from);
        before_s = resume_s < best_s ? resume_s : best_s;
    }
}

bool schedule_days_either(const struct schedule *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->entries[i].kind == ENTRY_CRON &&
            !(s->entries[i].cron.flags & (CRON_DOM_ANY | CRON_DOW_ANY | CRON_DAYS_AND)))
            return true;
    return false;
}

bool schedule_match(const struct schedule *s, int64_t at_s)
{
    return at_s > INT64_MIN && at_s < SCHEDULE_NEVER && schedule_next(s, at_s - 1) == at_s;
}

int64_t schedule_count(const struct schedule *s, int64_t after_s, int64_t until_s, int64_t most)
{
    struct schedule_counted counted = {
        .zone = s->clock, .dst = s->dst, .except = s->except, .except_count = s->except_count};

    for (size_t i = 0; i < s->count; i++) {
        const struct schedule_entry *e = &s->entries[i];

        if (e->kind == ENTRY_CRON)
            counted.cron[counted.crons++] = &e->cron;
        else if (e->kind == ENTRY_INTERVAL)
            counted.interval[counted.intervals++] = &e->interval;
    }
    if (s->start_s != INT64_MIN && after_s < s->start_s - 1)
        after_s = s->start_s - 1;
    if (until_s >= s->end_s)
        until_s = s->end_s - 1;
    return schedule_count_fires(&counted, after_s, until_s, most);
}

int64_t schedule_jitter_ms(const struct schedule *s, int64_t at_s)
{
    static const uint8_t key[16] = "cronsched jitter";
    uint64_t key_hash, span = (uint64_t)s->jitter_ms;
    uint8_t message[16];
    int64_t next_s;

    if (s->jitter_ms == 0)
        return 0;
    next_s = schedule_next(s, at_s);
    if (next_s != SCHEDULE_NEVER && (uint64_t)(next_s - at_s) * 1000 < span)
        span = (uint64_t)(next_s - at_s) * 1000;
    key_hash = hash_siphash(key, s->job, strlen(s->job));
    for (int i = 0; i < 8; i++) {
        message[i] = (uint8_t)(key_hash >> (8 * i));
        message[8 + i] = (uint8_t)((uint64_t)at_s >> (8 * i));
    }
    return (int64_t)((__uint128_t)hash_siphash(key, message, sizeof(message)) * span >> 64);
}

bool schedule_fixed(const struct schedule *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct schedule_entry *e = &s->entries[i];

        if (e->kind == ENTRY_CRON && !cron_fixed(&e->cron))
            return false;
        if (e->kind == ENTRY_INTERVAL && e->interval.seconds != 0)
            return false;
    }
    return true;
}

const char *schedule_local(const struct schedule *s, int64_t at_s, char *buffer, size_t size)
{
    int32_t offset_s = zone_offset(s->zone, at_s);

    return civil_format(at_s + offset_s, offset_s, s->zone == zone_utc(), buffer, size);
}

int64_t schedule_instant(const struct schedule *s, int64_t local_s)
{
    return zone_instant(s->zone, local_s, NULL);
}

const char *schedule_zone(const struct schedule *s)
{
    return s->zone_name;
}

/* ---- text ---- */

const char *schedule_canonical(const struct schedule *s, size_t index, char *buffer, size_t size)
{
    const struct schedule_entry *e = &s->entries[index];
    char text[CRON_TEXT_MAX];
    struct line line;

    assert(index < s->count);
    if (e->kind == ENTRY_INTERVAL)
        interval_print(&e->interval, text, sizeof(text));
    else if (e->kind == ENTRY_CRON)
        cron_print(&e->cron, text, sizeof(text));
    line_init(&line, buffer, size);
    if (e->kind == ENTRY_NEVER ||
        strlen(text) > SCHEDULE_TEXT_MAX) /* the sets are too odd for a short list */
        line_add(&line, "%s%s", e->dialect == SCHEDULE_QUARTZ ? "quartz:" : "", e->text);
    else
        line_add(&line, "%s", text);
    return buffer;
}

const char *schedule_describe(const struct schedule *s, char *buffer, size_t size)
{
    struct line line;

    line_init(&line, buffer, size);
    for (size_t i = 0; i < s->count; i++) {
        const struct schedule_entry *e = &s->entries[i];

        line_add(&line, i ? "; " : "");
        if (e->kind == ENTRY_CRON)
            schedule_describe_cron(&line, &e->cron);
        else if (e->kind == ENTRY_INTERVAL)
            schedule_describe_interval(&line, &e->interval);
        else
            line_add(&line, "never by itself, only when triggered");
    }
    line_add(&line, ", %s", s->clock == zone_utc() ? "UTC" : s->zone_name);
    return buffer;
}

const char *schedule_remark(const struct schedule *schedule, size_t index, char buffer[SCHEDULE_REMARK_MAX])
{
    const struct schedule_entry *entry = &schedule->entries[index];

    _Static_assert(SCHEDULE_REMARK_MAX == CRON_REMARK_MAX, "it is the same buffer");
    if (entry->kind != ENTRY_CRON || entry->dialect != SCHEDULE_CRON)
        return NULL;
    return cron_remark(entry->text, buffer) ? buffer : NULL;
}
