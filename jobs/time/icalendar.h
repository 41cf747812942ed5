/* Calendars of days off: the whole-day events of an iCalendar text (RFC 5545) as stretches of days, for a
 * schedule's `except`. Reads text, not files.
 *
 * It reads DTSTART, DTEND, DURATION, RRULE (daily to yearly with INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY,
 * BYDAY), RDATE, EXDATE and STATUS:CANCELLED. Whatever would change the days and is not understood is an error,
 * never a guess; so is an event that is not of whole days. Pure; any thread.
 *
 * Not libical: it needs ICU, GLib and Berkeley DB in every server, and does not say which line is wrong.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/civil.h"

#include <stddef.h>
#include <stdint.h>

#define ICALENDAR_BYTES_MAX  (1024 * 1024)
#define ICALENDAR_LINE_MAX   4096 /* bytes of an unfolded line that matters */
#define ICALENDAR_EVENTS_MAX 4096
#define ICALENDAR_RANGES_MAX 65536 /* before those that touch are joined */
#define ICALENDAR_DATES_MAX  1024  /* RDATE and EXDATE of one event */

/* The days of all events that touch [from_day, to_day] (numbers since 1970-01-01), sorted and joined, for
 * free(). ERR_INVALID, ERR_UNSUPPORTED, ERR_LIMIT with *ret_line (may be NULL), from 1; ERR_NOMEM. */
int icalendar_read(const char *text, size_t size, int64_t from_day, int64_t to_day, struct civil_range **ret,
                   size_t *ret_count, int *ret_line, struct error *error);
