/* Times as people type and read them on the command line: "2h", "yesterday", "2026-11-22 10:30", and "in 3 h
 * 12 m".
 *
 * Local times are in the caller's zone (TZ, or the machine's). Any thread; `now_ms` is an argument.
 */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum human_time_sense {
    HUMAN_TIME_PAST,
    HUMAN_TIME_FUTURE
}; /* what a bare duration means: "2h" ago, or in "2h" */

/* RFC 3339 in any of its forms; a date or a local date and time, "2026-11-22 10:30"; the form of run ids;
 * now, today, yesterday, tomorrow (midnight); durations "2h", "2h ago", "in 2h", "+2h", "-2h". */
int human_time_parse(const char *text, int64_t now_ms, enum human_time_sense sense, int64_t *ret_ms,
                     struct error *error);

/* "in 3 h 12 m", "2 m ago", "now": the two largest units. Returns buffer. */
const char *human_time_relative(int64_t ms, int64_t now_ms, char *buffer, size_t size);

/* "3 h 12 m", "1.2 s", "40 ms". Returns buffer. */
const char *human_time_span(int64_t span_ms, char *buffer, size_t size);

/* "2026-11-22 03:00:00 CET", for people. Returns buffer. */
const char *human_time_local(int64_t ms, char *buffer, size_t size);
