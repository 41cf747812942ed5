/* Lines are unfolded one at a time; those of an event are gathered into a struct event, which adds its days
 * when it ends. A recurrence is asked day by day: simple, and bounded by the caller's span. */
#include "jobs/time/icalendar.h"

#include "jobs/base/scan.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NONE           INT64_MIN
#define DAYS_ASKED_MAX 20000000 /* over all recurring events: a second or less */

enum frequency { FREQ_NONE, FREQ_DAILY, FREQ_WEEKLY, FREQ_MONTHLY, FREQ_YEARLY };

struct rule {
    enum frequency frequency;
    int interval;
    int64_t count, until; /* count INT64_MAX, until INT64_MAX: no end */
    uint32_t months;      /* BYMONTH: bits 1-12; 0: none given */
    uint32_t days;        /* BYMONTHDAY: bits 1-31 */
    uint32_t days_back;   /* likewise -1 to -31, bit 1 the last day */
    uint8_t weekdays;     /* BYDAY without a number: bits 0-6 */
    uint16_t nth[7];      /* BYDAY with one: bits 1-5 from the first, 6-10 for -1 to -5 */
    bool any_nth;
};

struct event {
    int64_t start, end; /* end exclusive, NONE: not given */
    int64_t duration;   /* days; 0: not given */
    bool cancelled;
    struct rule rule;
    int64_t exdate[ICALENDAR_DATES_MAX], rdate[ICALENDAR_DATES_MAX];
    size_t exdates, rdates;
    int line;
};

struct reader {
    const char *text;
    size_t size, at;
    int line, next_line; /* of the line at hand, of the one to read */
    char buffer[ICALENDAR_LINE_MAX + 1];
    size_t length;
    bool cut; /* it was longer than the buffer */
    int64_t from, to;
    struct event event;
    int depth;     /* of components inside the event; -1 outside of one */
    bool calendar; /* BEGIN:VCALENDAR was seen */
    size_t events;
    int64_t asked; /* days that a recurrence was asked for */
    struct civil_range *ranges;
    size_t count, capacity;
    struct error *error;
};

static int fail(struct reader *r, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct reader *r, int code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    error_setv(r->error, code, format, ap);
    va_end(ap);
    return code;
}

/* ---- values ---- */

/* At most nine digits; 0: none, or more. */
static int take_number(const char **s)
{
    int64_t value;

    return scan_number(s, *s + strlen(*s), SCAN_DIGITS_MAX, SCAN_NUMBER_MAX, &value) ? (int)value : 0;
}

/* "20261225"; leaves *s behind it. */
static bool take_date(const char **s, int64_t *ret)
{
    const char *end = *s + strlen(*s);
    int year, month, day;

    if (!scan_digits(s, end, 4, &year) || !scan_digits(s, end, 2, &month) || !scan_digits(s, end, 2, &day) ||
        month < 1 || month > 12 || day < 1 || day > civil_month_days(year, month))
        return false;
    *ret = civil_days(year, month, day);
    return true;
}

static int read_date(struct reader *r, const char *value, const char *what, int64_t *ret)
{
    const char *at = value;
    int64_t day;

    if (!take_date(&at, &day))
        return fail(r, ERR_INVALID, "%s is not a date like 20261225", what);
    if (*at == 'T')
        return fail(r, ERR_UNSUPPORTED, "%s has a time of day: only whole days can be excluded", what);
    if (*at)
        return fail(r, ERR_INVALID, "%s is not a date like 20261225", what);
    *ret = day;
    return 0;
}

static int read_dates(struct reader *r, const char *value, const char *what, int64_t *dates, size_t *count)
{
    for (;;) {
        char one[32];
        size_t length = strcspn(value, ",");
        int code;

        if (length >= sizeof(one))
            return fail(r, ERR_INVALID, "%s is not a list of dates", what);
        memcpy(one, value, length);
        one[length] = '\0';
        if (*count == ICALENDAR_DATES_MAX)
            return fail(r, ERR_LIMIT, "more than %d dates of %s", ICALENDAR_DATES_MAX, what);
        code = read_date(r, one, what, &dates[*count]);
        if (code < 0)
            return code;
        (*count)++;
        if (!value[length])
            return 0;
        value += length + 1;
    }
}

/* P3D or P2W. */
static int read_duration(struct reader *r, char *value)
{
    const char *at = value;
    int n;

    if (*at == 'P')
        at++;
    n = take_number(&at);
    if (*value != 'P' || n < 1 || n > 3660 || (strcmp(at, "D") != 0 && strcmp(at, "W") != 0))
        return fail(r, ERR_UNSUPPORTED, "DURATION is not of whole days, like P3D");
    r->event.duration = *at == 'W' ? 7 * n : n;
    return 0;
}

/* ---- recurrence rules ---- */

static int weekday_of(const char *name)
{
    static const char names[] = "SUMOTUWETHFRSA";

    for (int i = 0; i < 7; i++)
        if (strncasecmp(name, names + 2 * i, 2) == 0)
            return i;
    return -1;
}

/* "MO", "4TH", "-1FR", in a list */
static bool read_by_day(struct rule *rule, const char *value)
{
    for (;; value++) {
        bool back = *value == '-';
        int n, weekday;

        if (back || *value == '+')
            value++;
        n = take_number(&value);
        weekday = weekday_of(value);
        if (weekday < 0 || n > 5 || (back && n == 0))
            return false;
        value += 2;
        if (n == 0) {
            rule->weekdays |= (uint8_t)(1 << weekday);
        } else {
            rule->nth[weekday] |= (uint16_t)(1 << (back ? n + 5 : n));
            rule->any_nth = true;
        }
        if (*value != ',')
            return *value == '\0';
    }
}

/* Numbers from 1 to max, and with ret_back also negative ones. */
static bool read_by_number(const char *value, int max, uint32_t *ret, uint32_t *ret_back)
{
    for (;; value++) {
        bool back = *value == '-';
        int n;

        if (back)
            value++;
        n = take_number(&value);
        if (n < 1 || n > max || (back && !ret_back))
            return false;
        *(back ? ret_back : ret) |= UINT32_C(1) << n;
        if (*value != ',')
            return *value == '\0';
    }
}

static bool read_until(struct rule *rule, const char *value)
{
    return take_date(&value, &rule->until) && (*value == '\0' || *value == 'T');
}

static int read_rule_part(struct reader *r, const char *name, const char *value)
{
    static const char *const frequencies[] = {"", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"};
    struct rule *rule = &r->event.rule;
    const char *at = value;
    bool fine = false;

    if (strcasecmp(name, "FREQ") == 0) {
        for (int i = FREQ_DAILY; i <= FREQ_YEARLY; i++)
            if (strcasecmp(value, frequencies[i]) == 0)
                rule->frequency = (enum frequency)i;
        fine = rule->frequency != FREQ_NONE;
    } else if (strcasecmp(name, "INTERVAL") == 0) {
        rule->interval = take_number(&at);
        fine = rule->interval > 0 && !*at;
    } else if (strcasecmp(name, "COUNT") == 0) {
        rule->count = take_number(&at);
        fine = rule->count > 0 && !*at;
    } else if (strcasecmp(name, "UNTIL") == 0) {
        fine = read_until(rule, value);
    } else if (strcasecmp(name, "BYMONTH") == 0) {
        fine = read_by_number(value, 12, &rule->months, NULL);
    } else if (strcasecmp(name, "BYMONTHDAY") == 0) {
        fine = read_by_number(value, 31, &rule->days, &rule->days_back);
    } else if (strcasecmp(name, "BYDAY") == 0) {
        fine = read_by_day(rule, value);
    } else if (strcasecmp(name, "WKST") == 0) {
        fine = strcasecmp(value, "MO") == 0;
    }
    return fine ? 0 : fail(r, ERR_UNSUPPORTED, "RRULE: %.40s=%.80s is not understood", name, value);
}

static int read_rule(struct reader *r, char *value)
{
    struct rule *rule = &r->event.rule;
    char *part;

    if (rule->frequency != FREQ_NONE)
        return fail(r, ERR_UNSUPPORTED, "a second RRULE");
    *rule = (struct rule){.interval = 1, .count = INT64_MAX, .until = INT64_MAX};
    while ((part = strsep(&value, ";"))) {
        char *name = strsep(&part, "=");
        int code = read_rule_part(r, name, part ? part : "");

        if (code < 0)
            return code;
    }
    if (rule->frequency == FREQ_NONE)
        return fail(r, ERR_INVALID, "RRULE has no FREQ");
    if (rule->any_nth && rule->frequency != FREQ_MONTHLY && !(rule->frequency == FREQ_YEARLY && rule->months))
        return fail(r, ERR_UNSUPPORTED,
                    "RRULE: BYDAY with a number needs FREQ=MONTHLY, or YEARLY with BYMONTH");
    return 0;
}

/* Every n-th day, week (from Monday), month or year since the start. */
static bool in_period(const struct rule *rule, int64_t start, const struct civil *first, int64_t day,
                      const struct civil *c)
{
    int64_t periods = 0;

    switch (rule->frequency) {
    case FREQ_DAILY:
        periods = day - start;
        break;
    case FREQ_WEEKLY:
        periods = (day - (civil_weekday(day) + 6) % 7 - (start - (civil_weekday(start) + 6) % 7)) / 7;
        break;
    case FREQ_MONTHLY:
        periods = (c->year - first->year) * 12 + c->month - first->month;
        break;
    case FREQ_YEARLY:
        periods = c->year - first->year;
        break;
    case FREQ_NONE:
        return false;
    }
    return periods % rule->interval == 0;
}

static bool rule_has_days(const struct rule *rule)
{
    return rule->weekdays || rule->any_nth || rule->days || rule->days_back;
}

/* May move *day to the last one of a month that the rule leaves out as a whole. */
static bool day_fits(const struct rule *rule, int64_t start, const struct civil *first, int64_t *day)
{
    int weekday = civil_weekday(*day), length;
    struct civil c;

    civil_from_seconds(*day * CIVIL_DAY_S, &c);
    length = civil_month_days(c.year, c.month);
    if (rule->months && !(rule->months >> c.month & 1)) {
        *day += length - c.day;
        return false;
    }
    if (!in_period(rule, start, first, *day, &c))
        return false;
    if ((rule->days || rule->days_back) && !(rule->days >> c.day & 1) &&
        !(rule->days_back >> (length - c.day + 1) & 1))
        return false;
    if ((rule->weekdays || rule->any_nth) && !(rule->weekdays >> weekday & 1) &&
        !(rule->nth[weekday] >> ((c.day - 1) / 7 + 1) & 1) &&
        !(rule->nth[weekday] >> ((length - c.day) / 7 + 6) & 1))
        return false;
    /* what the rule leaves open is as at the start */
    if (rule->frequency == FREQ_WEEKLY && !rule->weekdays)
        return weekday == civil_weekday(start);
    if (rule->frequency >= FREQ_MONTHLY && !rule_has_days(rule))
        return c.day == first->day;
    return true;
}

/* ---- events ---- */

static int add_range(struct reader *r, int64_t from, int64_t days)
{
    if (from + days <= r->from || from > r->to)
        return 0;
    if (r->count == ICALENDAR_RANGES_MAX)
        return fail(r, ERR_LIMIT, "more than %d days off", ICALENDAR_RANGES_MAX);
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        struct civil_range *grown = realloc(r->ranges, capacity * sizeof(*grown));

        if (!grown)
            return fail(r, ERR_NOMEM, "out of memory");
        r->ranges = grown;
        r->capacity = capacity;
    }
    r->ranges[r->count++] = (struct civil_range){from, from + days - 1};
    return 0;
}

static bool is_exdate(const struct event *e, int64_t day)
{
    for (size_t i = 0; i < e->exdates; i++)
        if (e->exdate[i] == day)
            return true;
    return false;
}

static int add_recurring(struct reader *r, struct event *e, int64_t days)
{
    int64_t last = r->to < e->rule.until ? r->to : e->rule.until, count = 0;
    struct civil first;
    int code = 0;

    civil_from_seconds(e->start * CIVIL_DAY_S, &first);
    if (e->rule.frequency == FREQ_YEARLY && !rule_has_days(&e->rule) && !e->rule.months)
        e->rule.months = UINT32_C(1) << first.month;
    for (int64_t day = e->start; day <= last && count < e->rule.count && code == 0; day++) {
        if (++r->asked > DAYS_ASKED_MAX)
            return fail(r, ERR_LIMIT, "the recurring events span too many days");
        /* the start counts, whether the rule fits it or not */
        if (day != e->start && !day_fits(&e->rule, e->start, &first, &day))
            continue;
        count++;
        if (!is_exdate(e, day))
            code = add_range(r, day, days);
    }
    return code;
}

static int end_event(struct reader *r)
{
    struct event *e = &r->event;
    int64_t days = 1;
    int code = 0;

    r->line = e->line; /* faults of the event as a whole are shown at its beginning */
    if (e->cancelled)
        return 0;
    if (e->start == NONE)
        return fail(r, ERR_INVALID, "an event without DTSTART");
    if (e->start < 0 || e->start >= CIVIL_DAYS_END)
        return fail(r, ERR_INVALID, "an event outside of the years 1970-2199");
    if (e->end != NONE && e->end > e->start)
        days = e->end - e->start;
    else if (e->end != NONE && e->end < e->start)
        return fail(r, ERR_INVALID, "an event that ends before it starts");
    else if (e->duration)
        days = e->duration;
    if (days > 3660)
        return fail(r, ERR_INVALID, "an event of more than ten years");
    if (e->rule.frequency != FREQ_NONE)
        code = add_recurring(r, e, days);
    else if (!is_exdate(e, e->start))
        code = add_range(r, e->start, days);
    for (size_t i = 0; i < e->rdates && code == 0; i++)
        if (!is_exdate(e, e->rdate[i]))
            code = add_range(r, e->rdate[i], days);
    return code;
}

static int on_start(struct reader *r, char *value)
{
    return read_date(r, value, "DTSTART", &r->event.start);
}

static int on_end(struct reader *r, char *value)
{
    return read_date(r, value, "DTEND", &r->event.end);
}

static int on_exdate(struct reader *r, char *value)
{
    return read_dates(r, value, "EXDATE", r->event.exdate, &r->event.exdates);
}

static int on_rdate(struct reader *r, char *value)
{
    return read_dates(r, value, "RDATE", r->event.rdate, &r->event.rdates);
}

static int on_status(struct reader *r, char *value)
{
    r->event.cancelled = strcasecmp(value, "CANCELLED") == 0;
    return 0;
}

static int on_unsupported(struct reader *r, char *value)
{
    return fail(r, ERR_UNSUPPORTED, "%s is not supported", r->buffer);
}

static int event_property(struct reader *r, const char *name, char *value)
{
    static const struct {
        const char *name;
        int (*read)(struct reader *r, char *value);
    } properties[] = {
        {"DTSTART", on_start}, {"DTEND", on_end},          {"DURATION", read_duration},
        {"RRULE", read_rule},  {"EXDATE", on_exdate},      {"RDATE", on_rdate},
        {"STATUS", on_status}, {"EXRULE", on_unsupported}, {"RECURRENCE-ID", on_unsupported},
    };

    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        if (strcasecmp(name, properties[i].name) != 0)
            continue;
        if (r->cut)
            return fail(r, ERR_LIMIT, "%s is longer than %d bytes", name, ICALENDAR_LINE_MAX);
        return properties[i].read(r, value);
    }
    return 0;
}

/* ---- lines ---- */

/* The next line, unfolded, without its end; what is longer than the buffer is cut: no line that matters is.
 */
static bool next_line(struct reader *r)
{
    if (r->at == r->size)
        return false;
    r->length = 0;
    r->cut = false;
    r->line = r->next_line;
    do {
        if (r->at > 0 && (r->text[r->at] == ' ' || r->text[r->at] == '\t') && r->length > 0)
            r->at++;
        while (r->at < r->size && r->text[r->at] != '\n') {
            if (r->length == ICALENDAR_LINE_MAX)
                r->cut = true;
            else if (r->text[r->at] != '\r')
                r->buffer[r->length++] = r->text[r->at];
            r->at++;
        }
        if (r->at < r->size)
            r->at++;
        r->next_line++;
    } while (r->length > 0 && r->at < r->size && (r->text[r->at] == ' ' || r->text[r->at] == '\t'));
    r->buffer[r->length] = '\0';
    return true;
}

/* Cuts "NAME;PARAM=\"a:b\":VALUE" in place; NULL when there is no value. */
static char *cut_value(char *line)
{
    bool quoted = false;

    for (char *at = line; *at; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (*at == ':' && !quoted) {
            *at = '\0';
            line[strcspn(line, ";")] = '\0';
            return at + 1;
        }
    }
    return NULL;
}

static int begin_component(struct reader *r, const char *name)
{
    if (r->depth >= 0) {
        r->depth++;
        return 0;
    }
    if (strcasecmp(name, "VCALENDAR") == 0)
        r->calendar = true;
    if (strcasecmp(name, "VEVENT") != 0)
        return 0;
    if (++r->events > ICALENDAR_EVENTS_MAX)
        return fail(r, ERR_LIMIT, "more than %d events", ICALENDAR_EVENTS_MAX);
    r->depth = 0;
    r->event.start = r->event.end = NONE;
    r->event.duration = 0;
    r->event.cancelled = false;
    r->event.rule = (struct rule){0};
    r->event.exdates = r->event.rdates = 0;
    r->event.line = r->line;
    return 0;
}

static int read_line(struct reader *r)
{
    char *value;

    if (r->length == 0)
        return 0;
    if (strlen(r->buffer) != r->length)
        return fail(r, ERR_INVALID, "a NUL byte");
    value = cut_value(r->buffer);
    if (!value)
        return fail(r, ERR_INVALID, "a line without ':'");
    if (strcasecmp(r->buffer, "BEGIN") == 0)
        return begin_component(r, value);
    if (!r->calendar)
        return fail(r, ERR_INVALID, "not an iCalendar text: it does not begin with BEGIN:VCALENDAR");
    if (strcasecmp(r->buffer, "END") == 0) {
        if (r->depth > 0)
            r->depth--;
        else if (r->depth == 0) {
            r->depth = -1;
            return end_event(r);
        }
        return 0;
    }
    return r->depth == 0 ? event_property(r, r->buffer, value) : 0;
}

int icalendar_read(const char *text, size_t size, int64_t from_day, int64_t to_day, struct civil_range **ret,
                   size_t *ret_count, int *ret_line, struct error *error)
{
    struct reader *r;
    int code = 0;

    if (size > ICALENDAR_BYTES_MAX)
        return error_set(error, ERR_LIMIT, "the calendar is larger than %d bytes", ICALENDAR_BYTES_MAX);
    r = calloc(1, sizeof(*r));
    if (!r)
        return error_set(error, ERR_NOMEM, "out of memory");
    r->text = text;
    r->size = size;
    r->next_line = 1;
    r->from = from_day;
    r->to = to_day;
    r->depth = -1;
    r->error = error;
    while (code == 0 && next_line(r))
        code = read_line(r);
    if (code == 0 && (!r->calendar || r->depth >= 0))
        code = fail(r, ERR_INVALID, r->calendar ? "an event without END:VEVENT" : "the calendar is empty");
    if (code == 0) {
        *ret_count = civil_range_sort(r->ranges, r->count);
        *ret = r->ranges;
    } else {
        free(r->ranges);
        if (ret_line)
            *ret_line = r->line;
    }
    free(r);
    return code;
}
