/* A history in the making for the tests of the audit, kept as the JSON that the store answers with, and what the audit
 * finds in it. Whatever is wrong fails the test.
 */
#pragma once

#include "jobs/audit/audit.h"

#include <jansson.h>

#define HOUR   INT64_C(3600000)
#define DAY    (24 * HOUR)
#define HOURLY "{\"schedule\":[\"0 * * * *\"]}"

extern struct audit_history {
    json_t *runs, *skips, *records, *unfinished, *pruned, *gaps, *copied, *ends;
    int index;
} made;

/* Of each test: an empty history, and its end. */
int set_up(void **state);
int tear_down(void **state);

int64_t ms(const char *time);     /* RFC 3339 */
int64_t day_ms(const char *hour); /* "HH:MM[:SS]" of 2026-11-22 */

/* `record` is taken. `to` is one of the arrays of `made`. */
void add_record(int64_t time_ms, const char *kind, json_t *record);
void add_job_at(int64_t time_ms, const char *job, const char *def);
void add_run_at(const char *job, int64_t at_ms, const char *state, const char *cause);
void add_range(json_t *to, const char *job, int64_t from_ms, int64_t to_ms, int64_t count,
               const char *reason);

json_t *history_json(void);
json_t *audit(int64_t since_ms, int64_t until_ms, int64_t now_ms, struct zone_source *zones);
json_int_t number(const json_t *result, const char *key);
/* "fire_times runs skipped pruned open | unaccounted doubled ranges"; they take the result. */
void assert_numbers(json_t *result, const char *expected);
void assert_numbers_of(json_t *result, const char *expected, const char *name);
