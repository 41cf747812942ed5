/* Schedules that are not cron: `@every 15m`, `@at 2026-12-24T18:00:00`, `R5/2026-01-01T00:00:00Z/P1M`.
 *
 * An interval is plain data. Its k-th fire time follows from its start, never from the one before: elapsed
 * time by division, calendar steps by adding k periods to the start's wall time, whose day is clamped to the
 * month's end. A wall time in a gap moves to the gap's end, one in an overlap is the first pass. Pure; any
 * thread.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/zone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERVAL_MAX_S (INT64_C(3650) * 24 * 3600) /* the longest period, some ten years */

enum interval_kind { INTERVAL_EVERY, INTERVAL_AT, INTERVAL_REPEAT };

struct interval {
    int64_t start_s;               /* the instant of k = 0 */
    int64_t start_local_s;         /* its wall time as written: what calendar steps are added to */
    int64_t count;                 /* fire times in all; INT64_MAX: no end */
    int64_t months, days, seconds; /* the period: calendar parts and elapsed time; all 0: @at */
    int32_t offset_s;              /* of the text, when it had one */
    uint8_t kind;                  /* enum interval_kind */
    bool has_offset;
    bool start_given; /* false: the anchor */
    uint8_t reserved;
};

/* True when the text is one of these forms and not cron's. */
bool interval_is(const char *text, size_t length);

/* `anchor_s` is the start where the text names none. ERR_INVALID with *ret_column (may be NULL). */
int interval_parse(const char *text, size_t length, const struct zone *zone, int64_t anchor_s,
                   struct interval *ret, size_t *ret_column, struct error *error);

/* The least fire time > after_s, or INT64_MAX; the greatest < before_s, or INT64_MIN. */
int64_t interval_next(const struct interval *interval, const struct zone *zone, int64_t after_s);
int64_t interval_prev(const struct interval *interval, const struct zone *zone, int64_t before_s);

/* How many fire times are in (after_s, until_s], counted up to `most`. */
int64_t interval_count(const struct interval *interval, const struct zone *zone, int64_t after_s,
                       int64_t until_s, int64_t most);

/* The wall time was moved out of a gap. */
bool interval_moved(const struct interval *interval, const struct zone *zone, int64_t at_s);

/* The wall time that the fire time at_s (which must be one) was meant for: another than the clock shows, if
 * moved. */
int64_t interval_local(const struct interval *interval, const struct zone *zone, int64_t at_s);

/* Returns buffer; size: 192 bytes hold any. */
const char *interval_print(const struct interval *interval, char *buffer, size_t size);
