#include "cronsched/cli/human_time.h"

#include "jobs/base/duration.h"
#include "jobs/base/text.h"
#include "jobs/time/civil.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_PER_S INT64_C(1000)

/* The instant at which the caller's clock shows this; a time in a gap or an overlap is what mktime makes of
 * it. */
static int from_local(int64_t local_s, int64_t *ret_ms, struct error *error)
{
    struct civil c;
    struct tm tm = {.tm_isdst = -1};
    time_t t;

    civil_from_seconds(local_s, &c);
    tm.tm_year = c.year - 1900;
    tm.tm_mon = c.month - 1;
    tm.tm_mday = c.day;
    tm.tm_hour = c.hour;
    tm.tm_min = c.minute;
    tm.tm_sec = c.second;
    t = mktime(&tm);
    if (t == (time_t)-1)
        return error_set(error, ERR_INVALID, "a time that cannot be represented");
    *ret_ms = (int64_t)t * MS_PER_S;
    return 0;
}

/* Midnight `days` from the caller's today. */
static int midnight(int64_t now_ms, int days, int64_t *ret_ms, struct error *error)
{
    time_t now = (time_t)(now_ms / MS_PER_S);
    struct tm tm;

    if (!localtime_r(&now, &tm))
        return error_set(error, ERR_INVALID, "a time that cannot be represented");
    return from_local((civil_days(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday) + days) * CIVIL_DAY_S, ret_ms,
                      error);
}

/* "2h", "2h ago", "in 2h", "+2h", "-2h". */
static int parse_relative(const char *text, int64_t now_ms, enum human_time_sense sense, int64_t *ret_ms)
{
    static const char ago[] = " ago", in[] = "in ";
    char word[TEXT_NUMBER_BUFFER];
    size_t n = strlen(text);
    int sign = sense == HUMAN_TIME_PAST ? -1 : 1;
    int64_t span;

    if (strncmp(text, in, strlen(in)) == 0) {
        sign = 1;
        text += strlen(in);
        n -= strlen(in);
    } else if (*text == '+' || *text == '-') {
        sign = *text == '+' ? 1 : -1;
        text++;
        n--;
    } else if (n > strlen(ago) && strcmp(text + n - strlen(ago), ago) == 0) {
        sign = -1;
        n -= strlen(ago);
    }
    if (n >= sizeof(word))
        return ERR_INVALID;
    memcpy(word, text, n);
    word[n] = '\0';
    if (duration_parse(word, &span, NULL) < 0)
        return ERR_INVALID;
    *ret_ms = now_ms + sign * span;
    return 0;
}

int human_time_parse(const char *text, int64_t now_ms, enum human_time_sense sense, int64_t *ret_ms,
                     struct error *error)
{
    static const struct {
        const char *word;
        int days;
    } days[] = {{"yesterday", -1}, {"today", 0}, {"tomorrow", 1}};
    struct civil_text civil;

    if (strcmp(text, "now") == 0) {
        *ret_ms = now_ms;
        return 0;
    }
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
        if (strcmp(text, days[i].word) == 0)
            return midnight(now_ms, days[i].days, ret_ms, error);
    if (instant_parse(text, ret_ms, NULL) == 0 || instant_parse_basic(text, ret_ms, NULL) == 0)
        return 0;
    if (parse_relative(text, now_ms, sense, ret_ms) == 0)
        return 0;
    if (civil_parse(text, strlen(text), &civil, NULL, NULL) < 0)
        return error_set(error, ERR_INVALID,
                         "'%s' is not a time; examples: 2h, yesterday, 2026-11-22, '2026-11-22 10:30', "
                         "2026-11-22T10:30:00Z",
                         text);
    if (civil.has_offset) {
        *ret_ms = (civil.local_s - civil.offset_s) * MS_PER_S;
        return 0;
    }
    return from_local(civil.local_s, ret_ms, error);
}

const char *human_time_span(int64_t span_ms, char *buffer, size_t size)
{
    static const struct {
        const char *unit;
        int64_t s;
    } units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
    int64_t s = span_ms / MS_PER_S;
    size_t i = 0;

    if (span_ms < MS_PER_S)
        snprintf(buffer, size, "%" PRId64 " ms", span_ms);
    else if (s < 10)
        snprintf(buffer, size, "%" PRId64 ".%" PRId64 " s", s, span_ms % MS_PER_S / 100);
    if (s < 10)
        return buffer;
    while (s < units[i].s)
        i++;
    if (i == 3 || s % units[i].s < units[i + 1].s)
        snprintf(buffer, size, "%" PRId64 " %s", s / units[i].s, units[i].unit);
    else
        snprintf(buffer, size, "%" PRId64 " %s %" PRId64 " %s", s / units[i].s, units[i].unit,
                 s % units[i].s / units[i + 1].s, units[i + 1].unit);
    return buffer;
}

const char *human_time_relative(int64_t ms, int64_t now_ms, char *buffer, size_t size)
{
    char span[TEXT_NUMBER_BUFFER];
    int64_t away = ms > now_ms ? ms - now_ms : now_ms - ms;

    away -= away % MS_PER_S;
    if (away == 0)
        snprintf(buffer, size, "now");
    else if (away < 10 * MS_PER_S)
        snprintf(buffer, size, ms > now_ms ? "in %" PRId64 " s" : "%" PRId64 " s ago", away / MS_PER_S);
    else
        snprintf(buffer, size, ms > now_ms ? "in %s" : "%s ago", human_time_span(away, span, sizeof(span)));
    return buffer;
}

const char *human_time_local(int64_t ms, char *buffer, size_t size)
{
    time_t t = (time_t)(ms >= 0 ? ms / MS_PER_S : (ms - MS_PER_S + 1) / MS_PER_S);
    struct tm tm;

    if (!localtime_r(&t, &tm) || strftime(buffer, size, "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
        return instant_format(ms, INSTANT_S, buffer, size);
    return buffer;
}
