#include "tests/support/audit_fixture.h"

#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct audit_history made;
static int version; /* of the job that was added last */

int64_t ms(const char *time)
{
    int64_t value;

    assert_int_equal(instant_parse(time, &value, NULL), 0);
    return value;
}

int set_up(void **state)
{
    made = (struct audit_history){json_array(), json_array(), json_array(),
                                  json_array(), json_array(), json_array(),
                                  json_array(), json_array(), 0};
    version = 0;
    return 0;
}

int tear_down(void **state)
{
    json_decref(made.runs);
    json_decref(made.skips);
    json_decref(made.records);
    json_decref(made.unfinished);
    json_decref(made.pruned);
    json_decref(made.gaps);
    json_decref(made.copied);
    json_decref(made.ends);
    return 0;
}

void add_record(int64_t time_ms, const char *kind, json_t *record)
{
    json_array_append_new(made.records,
                          json_pack("{s:i,s:i,s:I,s:i,s:s,s:o}", "index", ++made.index, "seq", 0, "time",
                                    (json_int_t)time_ms, "epoch", 1, "kind", kind, "record", record));
}

void add_job_at(int64_t time_ms, const char *job, const char *def)
{
    json_t *json = json_loads(def, 0, NULL);

    assert_non_null(json);
    add_record(time_ms, "job",
               json_pack("{s:s,s:i,s:o,s:i,s:I,s:I}", "job", job, "version", ++version, "def", json, "seed",
                         7, "anchor", (json_int_t)time_ms / 1000 * 1000, "cursor", (json_int_t)time_ms));
}

void add_run_at(const char *job, int64_t at_ms, const char *state, const char *cause)
{
    json_array_append_new(made.runs, json_pack("{s:s,s:[I],s:s,s:s}", "job", job, "at", (json_int_t)at_ms,
                                               "state", state, "cause", cause));
}

void add_range(json_t *to, const char *job, int64_t from_ms, int64_t to_ms, int64_t count, const char *reason)
{
    json_array_append_new(to,
                          json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:I}", "job", job, "from", (json_int_t)from_ms,
                                    "to", (json_int_t)to_ms, "count", (json_int_t)count, "reason", reason,
                                    "text", "", "time", (json_int_t)to_ms));
}

json_t *history_json(void)
{
    return json_pack("{s:O,s:O,s:O,s:O,s:O,s:O,s:O,s:O}", "ends", made.ends, "runs", made.runs, "skips",
                     made.skips, "records", made.records, "unfinished", made.unfinished, "pruned",
                     made.pruned, "gaps", made.gaps, "copied", made.copied);
}

json_t *audit(int64_t since_ms, int64_t until_ms, int64_t now_ms, struct zone_source *zones)
{
    struct audit_options o = {since_ms, until_ms, now_ms, 60000, NULL};
    struct error error = {0};
    json_t *history = history_json(), *result = NULL;

    if (audit_check(history, &o, zones, &result, &error) < 0)
        fail_msg("%s", error.text);
    json_decref(history);
    return result;
}

json_int_t number(const json_t *result, const char *key)
{
    json_t *value = json_object_get(result, key);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* "fire_times runs skipped pruned open | unaccounted doubled ranges" */
void assert_numbers_of(json_t *result, const char *expected, const char *name)
{
    char text[256];

    snprintf(text, sizeof(text), "%lld %lld %lld %lld %lld | %lld %lld %lld", number(result, "fire_times"),
             number(result, "runs"), number(result, "skipped"), number(result, "pruned"),
             number(result, "open"), number(result, "unaccounted_count"), number(result, "doubled_count"),
             number(result, "range_count"));
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, not %s: %s", name, text, expected, json_dumps(result, JSON_INDENT(2)));
    json_decref(result);
}

void assert_numbers(json_t *result, const char *expected)
{
    assert_numbers_of(result, expected, "");
}

int64_t day_ms(const char *hour)
{
    char text[40];

    snprintf(text, sizeof(text), "2026-11-22T%s%sZ", hour, strlen(hour) == 5 ? ":00" : "");
    return ms(text);
}
