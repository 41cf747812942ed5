/* The sample of expressions with their right answers, and that of texts to refuse: all of both, and the
 * answers backwards as well. */
#include "jobs/time/civil.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zoneinfo.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct zoneinfo *zones;

static int set_up(void **state)
{
    return zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL);
}

static int tear_down(void **state)
{
    zoneinfo_free(zones);
    return 0;
}

static FILE *open_data(const char *name)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    return file;
}

static const char *string(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    assert_non_null(s);
    return s;
}

static int64_t instant(const char *text)
{
    struct civil_text civil;

    assert_int_equal(civil_parse(text, strlen(text), &civil, NULL, NULL), 0);
    return civil.local_s - civil.offset_s;
}

static int compile(const char *text, const char *zone, const char *dialect, struct schedule **ret,
                   struct error *error)
{
    struct schedule_options options = {
        .zone = zone,
        .dialect = strcmp(dialect, "quartz") == 0 ? SCHEDULE_QUARTZ : SCHEDULE_CRON,
    };

    return schedule_new(ret, &text, 1, &options, zoneinfo_source(zones), NULL, error);
}

/* True when all of a case's answers come, forwards and then backwards. */
static bool answers(const json_t *item, char *note, size_t size)
{
    const char *text = string(item, "expr");
    int64_t after = instant(string(item, "after")), at = after;
    json_t *next = json_object_get(item, "next"), *value;
    struct error error = {0};
    struct schedule *schedule;
    bool fine = true;
    size_t i;

    if (compile(text, string(item, "tz"), string(item, "dialect"), &schedule, &error) < 0) {
        snprintf(note, size, "refused: %s", error.text);
        return false;
    }
    json_array_foreach(next, i, value)
    {
        int64_t wanted = instant(json_string_value(value)), got = schedule_next(schedule, at);

        fine = fine && got == wanted && schedule_match(schedule, got) &&
               (i == 0 || schedule_prev(schedule, got) == at) &&
               schedule_count(schedule, after, got, 100) == (int64_t)i + 1;
        if (!fine) {
            snprintf(note, size, "number %zu: %lld, not %lld", i, (long long)got, (long long)wanted);
            break;
        }
        at = got;
    }
    if (fine && json_array_size(next) < 10 && schedule_next(schedule, at) != SCHEDULE_NEVER) {
        snprintf(note, size, "it goes on");
        fine = json_array_size(next) > 0; /* some cases give only their first answers */
    }
    schedule_free(schedule);
    return fine;
}

static void every_sample_is_answered_right(void **state)
{
    FILE *file = open_data("cron-sample.jsonl");
    char line[8192], note[ERROR_TEXT_MAX + 64];
    size_t count = 0, wrong = 0;

    while (fgets(line, sizeof(line), file)) {
        json_t *item = json_loads(line, 0, NULL);

        assert_non_null(item);
        count++;
        if (!answers(item, note, sizeof(note))) {
            wrong++;
            print_error("'%s' (%s) in %s after %s: %s\n", string(item, "expr"), string(item, "dialect"),
                        string(item, "tz"), string(item, "after"), note);
        }
        json_decref(item);
    }
    fclose(file);
    if (wrong > 0)
        print_error("with tzdata %s; 11 answers need 2026c or later\n", zoneinfo_version(zones));
    assert_int_equal(wrong, 0);
    assert_int_equal(count, 520);
}

static void every_bad_sample_is_refused(void **state)
{
    FILE *file = open_data("cron-bad-sample.jsonl");
    size_t count = 0, wrong = 0;
    char line[8192];

    while (fgets(line, sizeof(line), file)) {
        json_t *item = json_loads(line, 0, NULL);
        struct schedule *schedule;
        struct error error = {0};

        assert_non_null(item);
        count++;
        if (compile(string(item, "expr"), NULL, "cron", &schedule, &error) == 0) {
            wrong++;
            print_error("'%s' is accepted: %s\n", string(item, "expr"), string(item, "why"));
            schedule_free(schedule);
        } else if (getenv("TEST_VERBOSE")) {
            print_message("%-40s %s\n", string(item, "expr"), error.text);
        }
        json_decref(item);
    }
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_int_equal(count, 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_answered_right),
        cmocka_unit_test(every_bad_sample_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
