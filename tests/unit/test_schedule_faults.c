/* Schedules that are refused: each fault with its text and its place, and the limits. */
#include "jobs/time/schedule.h"

#include "jobs/time/zone.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/schedule_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void faults_name_the_text_and_the_place(void **state)
{
    static const struct {
        const char *texts[2], *zone, *start, *end, *except;
        int where;
        size_t index, column;
        const char *why;
    } cases[] = {
        {{"0 0 * * *", "0 24 * * *"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         1,
         2,
         "hour 24 is out of range"},
        {{"  TZ=Europe/Paris 0 24 * * *"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 20, "hour 24"},
        {{"quartz:0 0 24 * * ?"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 11, "hour 24"},
        {{"TZ=Europe/Pariss 0 0 * * *"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         0,
         3,
         "did you mean 'Europe/Paris'"},
        {{"TZ=../etc 0 0 * * *"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         0,
         3,
         "not the name of a time zone"},
        {{"TZ= 0 0 * * *"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 3, "not the name of a time zone"},
        {{"TZ=Europe/Paris"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 15, "empty"},
        {{"TZ=Asia/Tokyo 0 0 * * *"},
         "Europe/Paris",
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         0,
         3,
         "is not the given one"},
        {{"TZ=Asia/Tokyo 0 0 * * *", "0 1 * * *"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         1,
         0,
         "share one time zone"},
        {{"0 0 * * *"},
         "Mars/Olympus",
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_ZONE,
         0,
         0,
         "unknown time zone 'Mars/Olympus'"},
        {{"0 0 * * *"}, NULL, "2026-13-01", NULL, NULL, SCHEDULE_FAULT_START, 0, 5, "month 13"},
        {{"0 0 * * *"}, NULL, NULL, "tomorrow", NULL, SCHEDULE_FAULT_END, 0, 0, "not a date or time"},
        {{"0 0 * * *"},
         NULL,
         "2026-03-02",
         "2026-03-01",
         NULL,
         SCHEDULE_FAULT_END,
         0,
         0,
         "the end is not after the start"},
        {{"0 0 * * *"}, NULL, NULL, NULL, "2026-02-30", SCHEDULE_FAULT_EXCEPT, 0, 8, "has no day 30"},
        {{"0 0 * * *"},
         NULL,
         NULL,
         NULL,
         "2026-02-20/2026-02-19",
         SCHEDULE_FAULT_EXCEPT,
         0,
         11,
         "before the first"},
        {{"0 0 * * *"}, NULL, NULL, NULL, "2026-02-20/", SCHEDULE_FAULT_EXCEPT, 0, 11, "not a date"},
        {{"0 0 * * *"},
         NULL,
         NULL,
         NULL,
         "2026-02-20T10:00",
         SCHEDULE_FAULT_EXCEPT,
         0,
         10,
         "whole days only"},
        {{"@every x"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 7, "not a duration"},
        {{"@every"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 6, "a period must follow"},
        {{"@every 0s"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 7, "zero"},
        {{"@every 90"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 9, "a unit must follow"},
        {{"@every 1m1h"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 10, "from large to small"},
        {{"@every 500ms"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 10, "whole seconds"},
        {{"@every 99999999h"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 7, "longer than ten years"},
        {{"@every 1h since"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 10, "from TIME"},
        {{"@at"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 3, "not a date or time"},
        {{"@at 2026-12-24T18:00:00.5"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 4, "whole seconds"},
        {{"@at 2200-01-01"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 4, "1970-2199"},
        {{"R/2026-01-01T00:00:00Z"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         0,
         22,
         "a second '/' is missing"},
        {{"R1234567890/2026-01-01/P1D"},
         NULL,
         NULL,
         NULL,
         NULL,
         SCHEDULE_FAULT_TEXT,
         0,
         1,
         "at most 9 digits"},
        {{"R/2026-01-01/P"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 13, "zero"},
        {{"R/2026-01-01/P1DT"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 17, "must follow 'T'"},
        {{"R/2026-01-01/P1H"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 15, "then T"},
        {{"R/2026-01-01/1D"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 13, "such as P1D"},
        {{"R/2026-01-01/P1D1Y"}, NULL, NULL, NULL, NULL, SCHEDULE_FAULT_TEXT, 0, 17, "in this order"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule_options options = {.zone = cases[i].zone,
                                           .start = cases[i].start,
                                           .end = cases[i].end,
                                           .except = &cases[i].except,
                                           .except_count = cases[i].except ? 1 : 0};
        struct schedule_fault fault;
        struct schedule *schedule;
        struct error error = {0};

        if (schedule_new(&schedule, cases[i].texts, cases[i].texts[1] ? 2 : 1, &options,
                         zoneinfo_source(zones), &fault, &error) >= 0)
            fail_msg("case %zu, '%s', is accepted", i, cases[i].texts[0]);
        if ((int)fault.where != cases[i].where || fault.index != cases[i].index ||
            fault.column != cases[i].column || !strstr(error.text, cases[i].why))
            fail_msg("case %zu, '%s': %d %zu %zu '%s'", i, cases[i].texts[0], (int)fault.where, fault.index,
                     fault.column, error.text);
    }
}

static void limits_are_told(void **state)
{
    const char *texts[SCHEDULE_TEXTS_MAX + 1];
    struct schedule_options options = {0};
    struct schedule *schedule;
    char *huge = malloc(200001);

    for (size_t i = 0; i < COUNT(texts); i++)
        texts[i] = "@daily";
    assert_int_equal(schedule_new(&schedule, texts, COUNT(texts), &options, NULL, NULL, NULL), ERR_LIMIT);
    assert_int_equal(schedule_new(&schedule, texts, 0, &options, NULL, NULL, NULL), ERR_INVALID);
    assert_int_equal(schedule_new(&schedule, texts, COUNT(texts) - 1, &options, NULL, NULL, NULL), 0);
    schedule_free(schedule);
    assert_non_null(huge);
    memset(huge, ' ', 200000);
    huge[200000] = '\0';
    texts[0] = huge;
    assert_int_equal(schedule_new(&schedule, texts, 1, &options, NULL, NULL, NULL), ERR_INVALID);
    free(huge);
    schedule_free(NULL);
}

static void the_zone_may_be_a_prefix(void **state)
{
    static const char *const texts[] = {"TZ=Asia/Tokyo 0 9 * * *", "CRON_TZ=Asia/Tokyo 0 9 * * *",
                                        "TZ=Asia/Tokyo quartz:0 0 9 ? * 1-7",
                                        "quartz: TZ=Asia/Tokyo 0 0 9 ? * *"};
    static const char *const zones_given[] = {NULL, "Asia/Tokyo"};

    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t k = 0; k < COUNT(zones_given); k++) {
            struct schedule_options options = {.zone = zones_given[k]};
            struct schedule *schedule = compile(texts[i], &options);

            assert_string_equal(schedule_zone(schedule), "Asia/Tokyo");
            assert_int_equal(schedule_next(schedule, -1), 0);
            schedule_free(schedule);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_name_the_text_and_the_place),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(the_zone_may_be_a_prefix),
    };

    return cmocka_run_group_tests(tests, zones_open, zones_close);
}
