#include "jobs/time/instant.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void instants(void **state)
{
    static const struct {
        const char *in;
        int64_t ms;
        const char *plain, *basic;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z", "19700101T000000.000Z"},
        {"2026-11-22T03:00:00Z", 1795316400000, "2026-11-22T03:00:00.000Z", "20261122T030000.000Z"},
        {"2026-11-22T10:15:02.123Z", 1795342502123, "2026-11-22T10:15:02.123Z", "20261122T101502.123Z"},
        {"2026-11-22T10:15:02.1239999Z", 1795342502123, "2026-11-22T10:15:02.123Z", "20261122T101502.123Z"},
        {"2026-11-22T04:00:00+01:00", 1795316400000, "2026-11-22T03:00:00.000Z", "20261122T030000.000Z"},
        {"2026-11-21t22:30:00-04:30", 1795316400000, "2026-11-22T03:00:00.000Z", "20261122T030000.000Z"},
        {"2026-11-22 03:00:00z", 1795316400000, "2026-11-22T03:00:00.000Z", "20261122T030000.000Z"},
        {"2024-02-29T23:59:59Z", 1709251199000, "2024-02-29T23:59:59.000Z", "20240229T235959.000Z"},
        {"2000-02-29T00:00:00Z", 951782400000, "2000-02-29T00:00:00.000Z", "20000229T000000.000Z"},
        {"1969-12-31T23:59:59.999Z", -1, "1969-12-31T23:59:59.999Z", "19691231T235959.999Z"},
        {"0001-01-01T00:00:00Z", -62135596800000, "0001-01-01T00:00:00.000Z", "00010101T000000.000Z"},
        {"9999-12-31T23:59:59Z", 253402300799000, "9999-12-31T23:59:59.000Z", "99991231T235959.000Z"},
    };
    static const char *const bad[] = {
        "",
        "now",
        "2026-11-22",
        "2026-11-22T03:00:00",
        "2026-11-22T03:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00Zx",
        "20260101T000000Z",
        " 2026-01-01T00:00:00Z",
    };
    char buffer[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t ms = 77, again = 77;

        assert_int_equal(instant_parse(good[i].in, &ms, NULL), 0);
        assert_int_equal(ms, good[i].ms);
        assert_string_equal(instant_format(ms, INSTANT_MS, buffer, sizeof(buffer)), good[i].plain);
        assert_string_equal(instant_format(ms, INSTANT_BASIC_MS, buffer, sizeof(buffer)), good[i].basic);
        assert_int_equal(instant_parse_basic(buffer, &again, NULL), 0);
        assert_int_equal(again, ms);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 77;
        struct error e = {0};

        assert_int_equal(instant_parse(bad[i], &ms, &e), ERR_INVALID);
        assert_int_equal(ms, 77);
        assert_true(e.text[0]);
    }
    assert_string_equal(instant_format(-1, INSTANT_S, buffer, sizeof(buffer)), "1969-12-31T23:59:59Z");
    assert_string_equal(instant_format(1795316400999, INSTANT_BASIC_S, buffer, sizeof(buffer)),
                        "20261122T030000Z");
    assert_string_equal(instant_format(INT64_MAX, INSTANT_S, buffer, sizeof(buffer)), "9999-12-31T23:59:59Z");
    assert_string_equal(instant_format(INT64_MIN, INSTANT_S, buffer, sizeof(buffer)), "0000-01-01T00:00:00Z");
}

static void instants_of_every_day_round_trip(void **state)
{
    char buffer[TEXT_NUMBER_BUFFER];

    for (int64_t day = -719528; day < 2932897; day += 13) {
        int64_t ms = -1;

        instant_format(day * 86400000 + 3723004, INSTANT_MS, buffer, sizeof(buffer));
        assert_int_equal(instant_parse(buffer, &ms, NULL), 0);
        assert_int_equal(ms, day * 86400000 + 3723004);
    }
}

static void seconds_are_rounded_to_one_side(void **state)
{
    static const struct {
        int64_t ms, floor_s, ceil_s;
    } cases[] = {{0, 0, 0},
                 {1, 0, 1},
                 {999, 0, 1},
                 {1000, 1, 1},
                 {-1, -1, 0},
                 {-999, -1, 0},
                 {-1000, -1, -1},
                 {INT64_MIN, INT64_MIN / 1000 - 1, INT64_MIN / 1000},
                 {INT64_MAX, INT64_MAX / 1000, INT64_MAX / 1000 + 1}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(instant_floor_s(cases[i].ms), cases[i].floor_s);
        assert_int_equal(instant_ceil_s(cases[i].ms), cases[i].ceil_s);
    }
}

static void basic_instants_are_strict(void **state)
{
    static const char *const bad[] = {"20261122T030000",
                                      "20261122t030000Z",
                                      "2026-11-22T03:00:00Z",
                                      "20261122T030000+01:00",
                                      "20261122T0300Z",
                                      "20261322T030000Z",
                                      ""};

    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 77;

        assert_int_equal(instant_parse_basic(bad[i], &ms, NULL), ERR_INVALID);
    }
}

/* One parser reads what users write for schedules and for instants; each says what it needs. */
static void errors_say_what_is_missing(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"2026-11-22", "'2026-11-22' is not a time; write it like"},
        {"2026-11-22T03:00Z", "is not a time; write it like"},
        {"2026-11-22T03:00:00", "lacks its offset: end it with Z or +HH:MM"},
        {"2026-11-22T03:00:00+1", "is not a time; write it like"},
        {"2026-13-22T03:00:00Z", "'2026-13-22T03:00:00Z': month 13 is out of range: 01-12 are allowed"},
        {"2026-02-30T03:00:00Z", "'2026-02-30T03:00:00Z': 2026-02 has no day 30"},
        {"2026-02-03T24:00:00Z", "the time of day is out of range"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct error error = {0};
        int64_t ms;

        assert_int_equal(instant_parse(cases[i].text, &ms, &error), ERR_INVALID);
        assert_non_null(strstr(error.text, cases[i].says));
        assert_int_equal(instant_parse(cases[i].text, &ms, NULL), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instants),
        cmocka_unit_test(instants_of_every_day_round_trip),
        cmocka_unit_test(seconds_are_rounded_to_one_side),
        cmocka_unit_test(basic_instants_are_strict),
        cmocka_unit_test(errors_say_what_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
