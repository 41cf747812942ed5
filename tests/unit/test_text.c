#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"
#include "jobs/base/near.h"
#include "jobs/base/text.h"
#include "jobs/base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void builder_adds_and_takes(void **state)
{
    struct text t;
    char *s;

    text_init(&t, 1000);
    assert_string_equal(text_str(&t), "");
    assert_int_equal(text_add(&t, "ab"), 0);
    assert_int_equal(text_add_char(&t, 'c'), 0);
    assert_int_equal(text_addf(&t, "-%d-%s", 42, "x"), 0);
    assert_int_equal(text_add_bytes(&t, "yzw", 2), 0);
    assert_string_equal(text_str(&t), "abc-42-xyz");
    s = text_take(&t);
    assert_string_equal(s, "abc-42-xyz");
    free(s);
    s = text_take(&t);
    assert_string_equal(s, "");
    free(s);
    text_release(&t);
    text_release(NULL);
}

static void builder_is_bounded_and_failure_sticks(void **state)
{
    struct text t;

    text_init(&t, 5);
    assert_int_equal(text_add(&t, "12345"), 0);
    assert_int_equal(text_add(&t, "6"), ERR_LIMIT);
    assert_int_equal(text_add(&t, ""), ERR_LIMIT);
    assert_int_equal(text_addf(&t, "%s", ""), ERR_LIMIT);
    assert_string_equal(text_str(&t), "12345");
    assert_null(text_take(&t));
    assert_int_equal(text_add(&t, "again"), 0);
    text_clear(&t);
    assert_string_equal(text_str(&t), "");
    text_release(&t);
}

static void builder_grows(void **state)
{
    struct text t;

    text_init(&t, 1 << 20);
    for (int i = 0; i < 10000; i++)
        text_addf(&t, "%d,", i % 10);
    assert_int_equal(t.failed, 0);
    assert_int_equal(t.len, 20000);
    assert_int_equal(strlen(text_str(&t)), 20000);
    text_release(&t);
}

static void durations(void **state)
{
    static const struct {
        const char *in;
        int64_t ms;
        const char *printed;
    } good[] = {
        {"0", 0, "0s"},
        {"0s", 0, "0s"},
        {"90s", 90000, "1m30s"},
        {"15m", 900000, "15m"},
        {"2h", 7200000, "2h"},
        {"1d", 86400000, "1d"},
        {"24h", 86400000, "1d"},
        {"1h30m", 5400000, "1h30m"},
        {"500ms", 500, "500ms"},
        {"1s500ms", 1500, "1s500ms"},
        {"007s", 7000, "7s"},
        {"36500d", DURATION_MAX_MS, "36500d"},
        {"90d", 7776000000, "90d"},
    };
    static const struct {
        const char *in;
        int code;
        const char *says;
    } bad[] = {
        {"", ERR_INVALID, "empty"},
        {"15", ERR_INVALID, "lacks its unit"},
        {"s", ERR_INVALID, "not a duration"},
        {"-5s", ERR_INVALID, "not a duration"},
        {"1.5h", ERR_INVALID, "not a duration"},
        {"1h 30m", ERR_INVALID, "not a duration"},
        {"1h30", ERR_INVALID, "lacks its unit"},
        {"30m1h", ERR_INVALID, "large to small"},
        {"1h1h", ERR_INVALID, "large to small"},
        {"1w", ERR_INVALID, "unknown unit 'w'"},
        {"1S", ERR_INVALID, "unknown unit 'S'"},
        {"36501d", ERR_LIMIT, "100 years"},
        {"99999999999999999999s", ERR_LIMIT, "100 years"},
        {"9223372036854775807d", ERR_LIMIT, "100 years"},
        {"36500d1ms", ERR_LIMIT, "100 years"},
    };
    char buffer[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t ms = -1, again = -1;

        assert_int_equal(duration_parse(good[i].in, &ms, NULL), 0);
        assert_int_equal(ms, good[i].ms);
        assert_string_equal(duration_format(ms, buffer, sizeof(buffer)), good[i].printed);
        assert_int_equal(duration_parse(buffer, &again, NULL), 0);
        assert_int_equal(again, ms);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 77;
        struct error e = {0};

        assert_int_equal(duration_parse(bad[i].in, &ms, &e), bad[i].code);
        assert_int_equal(ms, 77);
        assert_non_null(strstr(e.text, bad[i].says));
    }
    assert_string_equal(duration_format(-1500, buffer, sizeof(buffer)), "-1s500ms");
    duration_format(INT64_MIN, buffer, sizeof(buffer));
    assert_int_equal(buffer[0], '-');
}

static void sizes(void **state)
{
    static const struct {
        const char *in;
        int64_t bytes;
        const char *printed;
    } good[] = {
        {"0", 0, "0"},
        {"1", 1, "1"},
        {"1500", 1500, "1500"},
        {"1024", 1024, "1k"},
        {"64k", 65536, "64k"},
        {"256m", 268435456, "256m"},
        {"256M", 268435456, "256m"},
        {"256mb", 268435456, "256m"},
        {"2g", 2147483648, "2g"},
        {"2048m", 2147483648, "2g"},
        {"10b", 10, "10"},
        {"1048576g", BYTE_SIZE_MAX, "1048576g"},
    };
    static const struct {
        const char *in;
        int code;
    } bad[] = {
        {"", ERR_INVALID},
        {"m", ERR_INVALID},
        {"-1m", ERR_INVALID},
        {"1.5g", ERR_INVALID},
        {"256 m", ERR_INVALID},
        {"256mib", ERR_INVALID},
        {"1t", ERR_INVALID},
        {"1048577g", ERR_LIMIT},
        {"99999999999999999999", ERR_LIMIT},
        {"1bb", ERR_INVALID},
        {"9007199254740993g", ERR_LIMIT},
    };
    char buffer[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t bytes = -1;

        assert_int_equal(byte_size_parse(good[i].in, &bytes, NULL), 0);
        assert_int_equal(bytes, good[i].bytes);
        assert_string_equal(byte_size_format(bytes, buffer, sizeof(buffer)), good[i].printed);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t bytes = 77;

        assert_int_equal(byte_size_parse(bad[i].in, &bytes, NULL), bad[i].code);
        assert_int_equal(bytes, 77);
    }
}

static void near_names(void **state)
{
    static const char *const names[] = {"schedule", "timezone", "image", "command", "environment",  "dst",
                                        "pull",     "pool",     "user",  "start",   "start_within", "on"};
    static const struct {
        const char *in, *near;
    } cases[] = {
        {"shcedule", "schedule"},
        {"schedul", "schedule"},
        {"Image", "image"},
        {"imgae", "image"},
        {"comand", "command"},
        {"env", "environment"},
        {"time_zone", "timezone"},
        {"pul", "pull"},
        {"star", "start"},
        {"startwithin", "start_within"},
        {"zebra", NULL},
        {"x", NULL},
        {"", NULL},
        {"in", "on"},
        {"ports", NULL},
    };
    char longest[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *near = near_find(cases[i].in, names, COUNT(names));

        if (cases[i].near)
            assert_string_equal(near ? near : "(none)", cases[i].near);
        else
            assert_null(near);
    }
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_null(near_find(longest, names, COUNT(names)));
    assert_null(near_find("image", NULL, 0));
}

static void hints(void **state)
{
    char hint[NEAR_HINT_BUFFER], longest[300];

    assert_string_equal(near_hint("image", hint, sizeof(hint)), "; did you mean 'image'?");
    assert_string_equal(near_hint(NULL, hint, sizeof(hint)), "");
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_non_null(
        strstr(near_hint(longest, hint, sizeof(hint)), "aaa'?")); /* cut, and whole all the same */
}

static void distances(void **state)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"abc", "ABC", 0},
        {"abc", "acb", 1},
        {"kitten", "sitting", 3},
        {"ab", "ba", 1},
        {"abcd", "badc", 2},
        {"Europe/Berln", "Europe/Berlin", 1},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(near_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(near_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
}

static void utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t size, wrong_at;
    } cases[] = {
        {"", 0, 0},
        {"plain", 5, 5},
        {"gr\xc3\xbc\xc3\x9f", 6, 6},
        {"\xe2\x82\xac", 3, 3},
        {"\xf0\x9f\x98\x80", 4, 4},
        {"\xef\xbf\xbf", 3, 3},
        {"a\x00z", 3, 3}, /* NUL is UTF-8; who minds says so */
        {"a\xff", 2, 1},
        {"a\xc3", 2, 1},    /* cut */
        {"\xc0\xaf", 2, 0}, /* overlong */
        {"\xe0\x80\xaf", 3, 0},
        {"\xf0\x80\x80\xaf", 4, 0},
        {"\xed\xa0\x80", 3, 0},     /* a surrogate */
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"ab\x80", 3, 2},
        {"caf\xe9 au lait", 12, 3}, /* Latin-1 */
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(utf8_check(cases[i].bytes, cases[i].size), cases[i].wrong_at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builder_adds_and_takes),
        cmocka_unit_test(builder_is_bounded_and_failure_sticks),
        cmocka_unit_test(builder_grows),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(near_names),
        cmocka_unit_test(hints),
        cmocka_unit_test(distances),
        cmocka_unit_test(utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
