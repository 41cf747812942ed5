/* The text of a cron expression as a whole: one pass splits it into fields and refuses every byte outside the
 * grammar, then their number and a `?` show the dialect. */
#include "jobs/base/scan.h"
#include "jobs/time/cron.h"

#include "jobs/base/near.h"
#include "jobs/time/civil.h"
#include "jobs/time/cron_field.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct parser {
    const char *text;
    const struct cron_context *context;
    bool quartz;
    struct error *error;
    size_t column; /* of the fault */
    struct cron cron;
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

/* ---- fields ---- */

static bool is_question(const struct parser *p, struct cron_span span)
{
    return span.to - span.from == 1 && p->text[span.from] == '?';
}

/* Six fields with the year last are AWS's order. */
static bool looks_like_aws(const struct parser *p, const struct cron_span *span, size_t count)
{
    const char *last = p->text + span[count - 1].from;

    if (count != 6 || p->quartz)
        return false;
    return is_question(p, span[2]) || is_question(p, span[4]) ||
           (span[5].to - span[5].from >= 4 && scan_is_digit(last[0]) && scan_is_digit(last[1]) &&
            scan_is_digit(last[2]) && scan_is_digit(last[3]));
}

static bool is_every_year(const struct cron *c)
{
    static const uint64_t last = (UINT64_C(1) << (CIVIL_YEAR_MAX - CIVIL_YEAR_MIN + 1) % 64) - 1;

    return (c->year[0] & c->year[1] & c->year[2]) == UINT64_MAX && c->year[3] == last;
}

static void finish(struct cron *c)
{
    if (c->flags & (CRON_DOM_ANY | CRON_DOW_ANY))
        c->flags &= ~CRON_DAYS_AND;
    if (c->flags & CRON_YEAR_ANY || is_every_year(c)) {
        c->flags |= CRON_YEAR_ANY;
        memset(c->year, 0, sizeof(c->year));
    }
    c->first_s = __builtin_ctz(c->hour) * 3600 + __builtin_ctzll(c->minute) * 60 + __builtin_ctzll(c->second);
    c->last_s = (31 - __builtin_clz(c->hour)) * 3600 + (63 - __builtin_clzll(c->minute)) * 60 +
                (63 - __builtin_clzll(c->second));
}

static int parse_fields(struct parser *p, const struct cron_span *span, size_t count)
{
    enum cron_field id = count == 5 ? CRON_MINUTE : CRON_SECOND;
    int r;

    if (count == 5)
        p->cron.second = 1;
    if (count < 7)
        p->cron.flags |= CRON_YEAR_ANY;
    for (size_t i = 0; i < count; i++, id++) {
        r = cron_field_parse(id, p->text, span[i], p->quartz, p->context, &p->cron, &p->column, p->error);
        if (r < 0) {
            if (looks_like_aws(p, span, count))
                error_prefix(p->error,
                             "six fields are second, minute, hour, day, month, weekday (if the year "
                             "was meant to be the last, put a second in front): ");
            return r;
        }
    }
    finish(&p->cron);
    return 0;
}

/* ---- dialects ---- */

/* A weekday number in a text with one `?`: 1 is Sunday in Quartz and Monday in cron. */
static int check_dialect(struct parser *p, const struct cron_span *span, size_t count)
{
    bool one_question;

    if (count < 6) {
        if (p->quartz)
            return fail(p, span[count - 1].to, "the quartz dialect has six or seven fields, seconds first");
        return 0;
    }
    one_question = is_question(p, span[3]) != is_question(p, span[5]);
    if (p->quartz) {
        if (!one_question)
            return fail(p, span[3].from, "the quartz dialect needs '?' in exactly one of the two day fields");
        return 0;
    }
    if (!one_question)
        return 0;
    for (size_t i = span[5].from; i < span[5].to; i++)
        if (scan_is_digit(p->text[i]) &&
            (i == span[5].from || (p->text[i - 1] != '#' && p->text[i - 1] != '/')))
            return fail(p, i,
                        "day of week: a number next to '?' is ambiguous, 1 is Sunday in Quartz and Monday in "
                        "cron: write names, or state the dialect (quartz: in front)");
    p->quartz = true;
    return 0;
}

/* ---- the text as a whole ---- */

/* Splits at blanks; refuses bytes that no field may hold. */
static int split(struct parser *p, size_t length, struct cron_span *ret_span, size_t max, size_t *ret_count)
{
    size_t count = 0;
    bool inside = false;

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)p->text[i];

        if (c == ' ' || c == '\t') {
            inside = false;
            continue;
        }
        if (c >= 0x80)
            return fail(p, i, "a character outside ASCII (byte 0x%02x)", c);
        if (c < 0x20 || c == 0x7f)
            return fail(p, i, "a control character (byte 0x%02x)", c);
        if (!inside) {
            if (count == max)
                return fail(p, i,
                            "more than %zu fields: cron has five to seven; a command belongs into 'command'",
                            max);
            ret_span[count++].from = i;
            inside = true;
        }
        ret_span[count - 1].to = i + 1;
    }
    *ret_count = count;
    return 0;
}

static const struct {
    const char *name, *fields, *spread; /* spread: with /H behind it */
} nicknames[] = {
    {"@yearly", "0 0 1 1 *", "H H H H *"},  {"@annually", "0 0 1 1 *", "H H H H *"},
    {"@monthly", "0 0 1 * *", "H H H * *"}, {"@weekly", "0 0 * * 0", "H H * * H"},
    {"@daily", "0 0 * * *", "H H * * *"},   {"@midnight", "0 0 * * *", "H H(0-2) * * *"},
    {"@hourly", "0 * * * *", "H * * * *"},  {"@minutely", "* * * * *", "H * * * * *"},
};

static const char *const nickname_names[] = {"@yearly",   "@annually", "@monthly", "@weekly",
                                             "@daily",    "@midnight", "@hourly",  "@minutely",
                                             "@manually", "@reboot",   "@every",   "@at"};

static int parse_nickname(struct parser *p, struct cron_span span)
{
    size_t length = span.to - span.from;
    char token[CRON_SHOWN_MAX + 1], hint[NEAR_HINT_BUFFER];
    const char *near;

    for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++) {
        size_t n = strlen(nicknames[i].name);
        bool spread = length == n + 2 && memcmp(p->text + span.from + n, "/H", 2) == 0;

        if ((length == n || spread) && memcmp(p->text + span.from, nicknames[i].name, n) == 0) {
            struct cron_span part[CRON_FIELDS];
            size_t count;
            int r;

            p->text = spread ? nicknames[i].spread : nicknames[i].fields;
            p->quartz = false;
            r = split(p, strlen(p->text), part, CRON_FIELDS, &count);
            assert(r == 0);
            (void)r;
            return parse_fields(p, part, count);
        }
    }
    snprintf(token, sizeof(token), "%.*s", (int)(length > CRON_SHOWN_MAX ? CRON_SHOWN_MAX : length),
             p->text + span.from);
    near = near_find(token, nickname_names, sizeof(nickname_names) / sizeof(nickname_names[0]));
    return fail(p, span.from, "unknown nickname '%s'%s", token, near_hint(near, hint, sizeof(hint)));
}

static int fail_count(struct parser *p, const struct cron_span *span, size_t count)
{
    if (count == 0)
        return fail(p, 0, "the schedule is empty");
    return fail(p, span[count - 1].to,
                "%zu field%s: cron has five (minute, hour, day of month, month, day of "
                "week), six (seconds first) or seven (year last)",
                count, count == 1 ? "" : "s");
}

/* AWS writes its schedules inside of a word and brackets. */
static bool is_wrapped(const char *text, size_t length)
{
    static const char *const wrappers[] = {"cron(", "rate(", "at("};

    for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]); i++) {
        size_t n = strlen(wrappers[i]);

        if (length >= n && memcmp(text, wrappers[i], n) == 0)
            return true;
    }
    return false;
}

static bool names_weekday(const char *text, size_t length)
{
    static const char names[] = "sunmontuewedthufrisat";

    for (size_t i = 0; length >= 3 && names[i]; i += 3)
        if (strncasecmp(text, names + i, 3) == 0)
            return true;
    return false;
}

/* Five fields that are right, and behind them something that no field of a schedule begins with. */
static bool is_crontab_line(const struct parser *p, const struct cron_span *span)
{
    struct error error;
    struct parser five = {.text = p->text, .context = p->context, .error = &error};
    const char *rest = p->text + span[5].from;
    size_t length = span[5].to - span[5].from, letters = 0;

    while (letters < length && (rest[letters] | 0x20) >= 'a' && (rest[letters] | 0x20) <= 'z')
        letters++;
    if (letters > 3 ? names_weekday(rest, length) : !strchr("/.[$&", rest[0]))
        return false;
    return parse_fields(&five, span, 5) == 0;
}

static int parse_text(struct parser *p, size_t length)
{
    struct cron_span span[CRON_FIELDS] = {{0}};
    size_t count, start = 0;
    int r;

    if (length > CRON_TEXT_MAX)
        return fail(p, CRON_TEXT_MAX, "the text is longer than %d bytes", CRON_TEXT_MAX);
    r = split(p, length, span, CRON_FIELDS, &count);
    if (r < 0)
        return r;
    start = span[0].from;
    if (count > 0 && (p->text[start] == '"' || p->text[start] == '\''))
        return fail(p, start, "the text itself begins with a quote: one pair of quotes around it is enough");
    if (count > 0 && p->text[start] == '@') {
        if (count > 1)
            return fail(p, span[1].from, "nothing may follow '%.*s'", (int)(span[0].to - start),
                        p->text + start);
        return parse_nickname(p, span[0]);
    }
    if (is_wrapped(p->text + start, length - start))
        return fail(p, start, "write cron(...) without its wrapper, rate(...) as @every, at(...) as @at");
    if (count < 5)
        return fail_count(p, span, count);
    r = check_dialect(p, span, count);
    r = r < 0 ? r : parse_fields(p, span, count);
    if (r < 0 && count > 5 && is_crontab_line(p, span))
        return fail(
            p, span[5].from,
            "the first five fields are a schedule, and this is none: in a line of a crontab the command "
            "follows; it belongs into 'command'");
    return r;
}

int cron_parse(const char *text, size_t length, const struct cron_context *context, struct cron *ret,
               size_t *ret_column, struct error *error)
{
    struct parser p = {
        .text = text,
        .context = context,
        .quartz = context->dialect == SCHEDULE_QUARTZ,
        .error = error,
    };
    int r = parse_text(&p, length);

    if (r == 0)
        *ret = p.cron;
    else if (ret_column)
        *ret_column = p.column;
    return r;
}
