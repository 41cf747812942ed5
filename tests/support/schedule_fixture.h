/* What the tests of schedules stand on: the zones of this machine, and schedules and times from their texts. A text
 * that is refused fails the test.
 */
#pragma once

#include "jobs/time/schedule.h"
#include "jobs/time/zoneinfo.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern struct zoneinfo *zones;

/* Of a group of tests. */
int zones_open(void **state);
int zones_close(void **state);

int64_t instant(const char *text); /* in seconds since 1970, UTC */
/* To be released with schedule_free. */
struct schedule *compile(const char *text, const struct schedule_options *options);
