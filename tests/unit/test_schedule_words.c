/* What people see of schedules: their description in English, marks and effects of clock changes, local times. */
#include "jobs/time/schedule.h"

#include "jobs/time/civil.h"
#include "jobs/time/zone.h"
#include "tests/support/schedule_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void dst_marks_tell_what_happened(void **state)
{
    static const struct {
        const char *text, *zone, *at;
        enum schedule_mark mark;
    } cases[] = {
        {"30 2 * * *", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_MOVED},
        {"0,30 2,3 * * *", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_PLAIN}, /* due then anyway */
        {"30 2 * * *", "America/New_York", "2025-03-10T06:30:00Z", SCHEDULE_PLAIN},
        {"30 1 * * *", "America/New_York", "2025-11-02T05:30:00Z", SCHEDULE_FIRST},
        {"* * * * *", "America/New_York", "2025-11-02T05:30:00Z", SCHEDULE_FIRST},
        {"* * * * *", "America/New_York", "2025-11-02T06:30:00Z", SCHEDULE_SECOND},
        {"* * * * *", "America/New_York", "2025-11-02T07:00:00Z", SCHEDULE_PLAIN},
        {"@at 2025-03-09T02:30:00", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_MOVED},
        {"@at 2025-03-09T03:00:00", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_PLAIN},
        {"R/2025-03-01T02:30:00/P1D", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_MOVED},
        {"@every 1h", "America/New_York", "2025-03-09T07:00:00Z", SCHEDULE_PLAIN},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule_options options = {.zone = cases[i].zone};
        struct schedule *schedule = compile(cases[i].text, &options);

        assert_true(schedule_match(schedule, instant(cases[i].at)));
        if (schedule_mark(schedule, instant(cases[i].at)) != cases[i].mark)
            fail_msg("'%s' at %s: mark %d", cases[i].text, cases[i].at,
                     (int)schedule_mark(schedule, instant(cases[i].at)));
        schedule_free(schedule);
    }
}

/* What the changes of New York's clock in 2025 do: "kind first-wall-time count" per effect. */
static void effects_of_clock_changes_are_told(void **state)
{
    static const struct {
        const char *text;
        enum schedule_dst dst;
        const char *effects;
    } cases[] = {
        {"30 2 * * *", SCHEDULE_HYBRID, "moved 2025-03-09T02:30:00 1;"},
        {"15,45 2 * * *", SCHEDULE_HYBRID, "moved 2025-03-09T02:15:00 2;"},
        {"30 2 * * *", SCHEDULE_SKIP, "lost 2025-03-09T02:30:00 1;"},
        {"*/20 * * * *", SCHEDULE_HYBRID, "lost 2025-03-09T02:00:00 3;twice 2025-11-02T01:00:00 3;"},
        {"* * * * * *", SCHEDULE_BOTH, "lost 2025-03-09T02:00:00 3600;twice 2025-11-02T01:00:00 3600;"},
        {"30 1 * * *", SCHEDULE_HYBRID, "once 2025-11-02T01:30:00 1;"},
        {"30 1 * * *", SCHEDULE_BOTH, "twice 2025-11-02T01:30:00 1;"},
        {"30 1,2 * * *", SCHEDULE_UTC, ""},
        {"30 3 * * *", SCHEDULE_HYBRID, ""},
        {"30 2 * * MON", SCHEDULE_HYBRID, ""},
        {"@every 10m", SCHEDULE_HYBRID, ""},
        {"@at 2025-03-09T02:30:00", SCHEDULE_HYBRID, "moved 2025-03-09T02:30:00 1;"},
        {"@at 2025-11-02T01:30:00", SCHEDULE_HYBRID, "once 2025-11-02T01:30:00 1;"},
        {"@at 2025-11-02T01:30:00-04:00", SCHEDULE_HYBRID, ""},
        {"R/2025-01-01T02:10:00/P1D", SCHEDULE_HYBRID, "moved 2025-03-09T02:10:00 1;"},
        {"R/2025-01-01T01:10:00/P1D", SCHEDULE_HYBRID, "once 2025-11-02T01:10:00 1;"},
        {"R/2025-01-01T02:10:00/PT24H", SCHEDULE_HYBRID, ""},
    };
    static const char *const kinds[] = {"moved", "lost", "once", "twice"};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule_options options = {.zone = "America/New_York", .dst = cases[i].dst};
        struct schedule *schedule = compile(cases[i].text, &options);
        struct schedule_effect effects[8];
        size_t count = schedule_effects(schedule, instant("2025-01-01"), instant("2025-12-31"), effects, 8),
               n = 0;
        char got[256] = "", local[CIVIL_TEXT_MAX];

        for (size_t k = 0; k < count; k++) {
            civil_format(effects[k].local_s, 0, true, local, sizeof(local));
            n += (size_t)snprintf(got + n, sizeof(got) - n, "%s %.19s %lld;", kinds[effects[k].what], local,
                                  (long long)effects[k].count);
        }
        if (strcmp(got, cases[i].effects) != 0)
            fail_msg("'%s' policy %d: '%s', not '%s'", cases[i].text, cases[i].dst, got, cases[i].effects);
        schedule_free(schedule);
    }
}

static void local_times_have_their_offset(void **state)
{
    struct schedule_options paris = {.zone = "Europe/Paris"}, utc = {0},
                            monrovia = {.zone = "Africa/Monrovia"};
    struct schedule *schedule = compile("@daily", &paris);
    char text[CIVIL_TEXT_MAX];

    assert_string_equal(schedule_local(schedule, instant("2026-03-29T01:00:00Z"), text, sizeof(text)),
                        "2026-03-29T03:00:00+02:00");
    schedule_free(schedule);
    schedule = compile("@daily", &utc);
    assert_string_equal(schedule_local(schedule, 0, text, sizeof(text)), "1970-01-01T00:00:00Z");
    schedule_free(schedule);
    schedule = compile("@daily", &monrovia);
    assert_string_equal(schedule_local(schedule, 0, text, sizeof(text)), "1969-12-31T23:15:30-00:44:30");
    schedule_free(schedule);
}

static const struct {
    const char *text, *english;
} described[] = {
    {"30 2 * * MON-FRI", "at 02:30 on weekdays, Europe/Paris"},
    {"0 9 * * *", "at 09:00 every day, Europe/Paris"},
    {"0 9,13,17 * * *", "at 09:00, 13:00 and 17:00 every day, Europe/Paris"},
    {"* * * * *", "every minute, Europe/Paris"},
    {"*/15 * * * *", "every 15 minutes, Europe/Paris"},
    {"*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:45 on weekdays, Europe/Paris"},
    {"0 * * * *", "every hour, Europe/Paris"},
    {"0 */2 * * *", "every 2 hours, Europe/Paris"},
    {"0 9-17 * * *", "every hour from 09:00 to 17:00, Europe/Paris"},
    {"5,35 * * * *", "at minutes 5 and 35 of every hour, Europe/Paris"},
    {"*/10 * * * * *", "every 10 seconds, Europe/Paris"},
    {"15 30 2 * * *", "at 02:30:15 every day, Europe/Paris"},
    {"0 0 1,15 * *", "at 00:00 on the 1st and 15th of the month, Europe/Paris"},
    {"0 0 1 1 *", "at 00:00 on the 1st of January, Europe/Paris"},
    {"0 0 13 * FRI", "at 00:00 on the 13th or on Friday, Europe/Paris"},
    {"0 0 13 * +FRI", "at 00:00 on the 13th if on Friday, Europe/Paris"},
    {"0 9 L * *", "at 09:00 on the last day of the month, Europe/Paris"},
    {"0 9 L-3 * *", "at 09:00 on the day 3 days before the last of the month, Europe/Paris"},
    {"0 9 LW * *", "at 09:00 on the last weekday of the month, Europe/Paris"},
    {"0 9 15W * *", "at 09:00 on the weekday nearest to the 15th, Europe/Paris"},
    {"0 9 * * FRI#L", "at 09:00 on the last Friday of the month, Europe/Paris"},
    {"0 9 * * TUE#2", "at 09:00 on the second Tuesday of the month, Europe/Paris"},
    {"0 9 * 6-8 SAT,SUN", "at 09:00 on weekends in June to August, Europe/Paris"},
    {"0 0 9 1 1 * 2027-2030", "at 09:00 on the 1st of January from 2027 to 2030, Europe/Paris"},
    {"@every 90m", "every 1 hour and 30 minutes, counted from 1970-01-01T00:00:00Z, Europe/Paris"},
    {"@at 2026-12-24T18:00:00", "once, at 2026-12-24T18:00:00, Europe/Paris"},
    {"R5/2026-01-31T09:00:00Z/P1M",
     "every month by the calendar, counted from 2026-01-31T09:00:00Z, 5 times in all, Europe/Paris"},
    {"@manually", "never by itself, only when triggered, Europe/Paris"},
};

static void schedules_read_as_english(void **state)
{
    struct schedule_options options = {.zone = "Europe/Paris"};
    char text[1024];

    for (size_t i = 0; i < COUNT(described); i++) {
        struct schedule *schedule = compile(described[i].text, &options);

        schedule_describe(schedule, text, sizeof(text));
        if (strcmp(text, described[i].english) != 0)
            fail_msg("'%s': '%s', not '%s'", described[i].text, text, described[i].english);
        schedule_free(schedule);
    }
    options.dst = SCHEDULE_UTC;
    {
        struct schedule *schedule = compile("30 2 * * *", &options);
        char small[8];

        assert_string_equal(schedule_describe(schedule, text, sizeof(text)), "at 02:30 every day, UTC");
        assert_string_equal(schedule_describe(schedule, small, sizeof(small)), "at 02:3");
        schedule_free(schedule);
    }
}

static void canonical_texts_compile_to_the_same(void **state)
{
    static const char *const texts[] = {"*/15 9-17 * * MON-FRI",
                                        "H/15 H 1W,L * *",
                                        "~/7 ~ * * *",
                                        "@every 90m",
                                        "@every 90m from 2026-01-01T00:30:00+02:00",
                                        "@every 1w from 2026-01-01",
                                        "@at 2026-12-24T18:00:00",
                                        "@at 2026-12-24T18:00:00-05:00",
                                        "R5/2026-01-31T09:00/P1Y2M3W4DT5H6M7S",
                                        "R/2026-01-31T09:00:00+01:00/PT1H",
                                        "R//P1M",
                                        "@manually",
                                        "quartz:0 0/5 9 ? * 2-6 2026/2"};
    struct schedule_options options = {.zone = "Europe/Paris", .job = "x", .seed = 9, .anchor_s = 1234567};
    char first[SCHEDULE_TEXT_MAX + 1], second[SCHEDULE_TEXT_MAX + 1];

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct schedule *a = compile(texts[i], &options), *b;
        int64_t at = instant("2026-01-01T00:00:00Z");

        b = compile(schedule_canonical(a, 0, first, sizeof(first)), &options);
        assert_string_equal(first, schedule_canonical(b, 0, second, sizeof(second)));
        for (int k = 0; k < 50 && at != SCHEDULE_NEVER; k++) {
            assert_int_equal(schedule_next(a, at), schedule_next(b, at));
            at = schedule_next(a, at);
        }
        schedule_free(a);
        schedule_free(b);
    }
}

static void fixed_schedules_are_told_from_the_others(void **state)
{
    static const struct {
        const char *text;
        bool fixed;
    } cases[] = {{"30 2 * * *", true},       {"*/5 2 * * *", false},         {"@every 1d", false},
                 {"R/2026-01-01/P1D", true}, {"R/2026-01-01/P1DT1H", false}, {"@at 2026-01-01", true},
                 {"@manually", true}};
    struct schedule_options options = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule *schedule = compile(cases[i].text, &options);

        assert_int_equal(schedule_fixed(schedule), cases[i].fixed);
        schedule_free(schedule);
    }
}

static void test_tzdata_versions_are_compared_when_both_are_versions(void **state)
{
    (void)state;
    assert_true(schedule_tzdata_older("2019a", "2026f"));
    assert_true(schedule_tzdata_older("2026e", "2026f"));
    assert_false(schedule_tzdata_older("2026f", "2026f"));
    assert_false(schedule_tzdata_older("2026f", "unknown"));
    assert_false(schedule_tzdata_older("unknown", "2026f"));
    assert_false(schedule_tzdata_older(NULL, "2026f"));
    assert_false(schedule_tzdata_older("2026", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dst_marks_tell_what_happened),
        cmocka_unit_test(effects_of_clock_changes_are_told),
        cmocka_unit_test(local_times_have_their_offset),
        cmocka_unit_test(schedules_read_as_english),
        cmocka_unit_test(canonical_texts_compile_to_the_same),
        cmocka_unit_test(fixed_schedules_are_told_from_the_others),
        cmocka_unit_test(test_tzdata_versions_are_compared_when_both_are_versions),
    };

    return cmocka_run_group_tests(tests, zones_open, zones_close);
}
