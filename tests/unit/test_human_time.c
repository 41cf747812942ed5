/* Times as people type and read them. What depends on the caller's zone is tested with the whole program. */
#include "cronsched/cli/human_time.h"
#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1795345200000) /* 2026-11-22T11:00:00Z */

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        enum human_time_sense sense;
        int64_t ms;
    } cases[] = {
        {"now", HUMAN_TIME_PAST, NOW},
        {"2h", HUMAN_TIME_PAST, NOW - 7200000},
        {"2h", HUMAN_TIME_FUTURE, NOW + 7200000},
        {"1h30m", HUMAN_TIME_PAST, NOW - 5400000},
        {"+2h", HUMAN_TIME_PAST, NOW + 7200000},
        {"-2h", HUMAN_TIME_FUTURE, NOW - 7200000},
        {"2h ago", HUMAN_TIME_FUTURE, NOW - 7200000},
        {"in 2h", HUMAN_TIME_PAST, NOW + 7200000},
        {"0s", HUMAN_TIME_PAST, NOW},
        {"2026-11-22T03:00:00Z", HUMAN_TIME_PAST, NOW - 8 * 3600000},
        {"2026-11-22T03:00:00.250+01:00", HUMAN_TIME_PAST, NOW - 9 * 3600000 + 250},
        {"2026-11-22 03:00+01:00", HUMAN_TIME_PAST, NOW - 9 * 3600000},
        {"20261122T030000Z", HUMAN_TIME_PAST, NOW - 8 * 3600000},
        {"20261122T030000.123Z", HUMAN_TIME_PAST, NOW - 8 * 3600000 + 123},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 0;
        struct error error = {0};

        if (human_time_parse(cases[i].text, NOW, cases[i].sense, &ms, &error) < 0)
            fail_msg("%s: %s", cases[i].text, error.text);
        if (ms != cases[i].ms)
            fail_msg("%s: %lld and not %lld", cases[i].text, (long long)ms, (long long)cases[i].ms);
    }
}

static void test_faults(void **state)
{
    static const char *const cases[] = {"",
                                        "soon",
                                        "2",
                                        "2x",
                                        "ago",
                                        " ago",
                                        "in ",
                                        "+",
                                        "--2h",
                                        "2026-13-01",
                                        "2026-02-29",
                                        "25:00",
                                        "2026-11-22T25:00:00Z",
                                        "2h ago ago",
                                        "99999999999999999999d"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 42;
        struct error error = {0};

        if (human_time_parse(cases[i], NOW, HUMAN_TIME_PAST, &ms, &error) != ERR_INVALID || ms != 42)
            fail_msg("'%s' was taken", cases[i]);
        assert_non_null(strstr(error.text, "is not a time"));
    }
}

static void test_yesterday_is_a_midnight_before_now(void **state)
{
    int64_t yesterday, today, tomorrow;

    assert_int_equal(human_time_parse("yesterday", NOW, HUMAN_TIME_PAST, &yesterday, NULL), 0);
    assert_int_equal(human_time_parse("today", NOW, HUMAN_TIME_PAST, &today, NULL), 0);
    assert_int_equal(human_time_parse("tomorrow", NOW, HUMAN_TIME_PAST, &tomorrow, NULL), 0);
    assert_true(yesterday < today && today <= NOW && NOW < tomorrow);
    assert_in_range(today - yesterday, 23 * 3600000, 25 * 3600000);
}

static void test_spans(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0 ms"},       {999, "999 ms"},       {1000, "1.0 s"},
        {1290, "1.2 s"},   {9999, "9.9 s"},       {10000, "10 s"},
        {59999, "59 s"},   {60000, "1 m"},        {61000, "1 m 1 s"},
        {3600000, "1 h"},  {3659000, "1 h"},      {3660000, "1 h 1 m"},
        {86400000, "1 d"}, {90000000, "1 d 1 h"}, {86400000LL * 400, "400 d"},
    };
    char buffer[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(human_time_span(cases[i].ms, buffer, sizeof(buffer)), cases[i].text);
}

static void test_relative(void **state)
{
    static const struct {
        int64_t away;
        const char *text;
    } cases[] = {
        {0, "now"},           {500, "now"},
        {-500, "now"},        {1500, "in 1 s"},
        {-9000, "9 s ago"},   {11520000, "in 3 h 12 m"},
        {-120000, "2 m ago"}, {-86400000 * 3, "3 d ago"},
    };
    char buffer[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(human_time_relative(NOW + cases[i].away, NOW, buffer, sizeof(buffer)),
                            cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_yesterday_is_a_midnight_before_now),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_relative),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
