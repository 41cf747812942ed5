#include "jobs/base/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void hexadecimal_digits(void **state)
{
    static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF", others[] = "/:@G`g x";

    for (int i = 0; i < 16; i++) {
        assert_int_equal(scan_hex(digits[i]), i);
        assert_int_equal(scan_hex(upper[i]), i);
    }
    for (size_t i = 0; i < sizeof(others); i++)
        assert_int_equal(scan_hex(others[i]), -1);
}

static void so_many_digits(void **state)
{
    const char *text = "20261124x", *at = text;
    int value = 77;

    assert_true(scan_digits(&at, text + 9, 4, &value));
    assert_int_equal(value, 2026);
    assert_ptr_equal(at, text + 4);
    assert_false(scan_digits(&at, text + 9, 5, &value)); /* the x */
    assert_false(scan_digits(&at, text + 6, 4, &value)); /* the end */
    assert_int_equal(value, 2026);
    assert_ptr_equal(at, text + 4);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        int digits_max;
        int64_t max;
        bool fine;
        int64_t value;
        int taken;
    } cases[] = {
        {"12x", 9, 100, true, 12, 2},
        {"x", 9, 100, false, 0, 0},
        {"", 9, 100, false, 0, 0},
        {"100", 9, 100, true, 100, 3},
        {"101", 9, 100, false, 0, 2},
        {"7", 9, 6, false, 0, 0}, /* a maximum below ten */
        {"6", 9, 6, true, 6, 1},
        {"0001", 3, 100, false, 0, 3},
        {"9223372036854775807", 99, INT64_MAX, true, INT64_MAX, 19},
        {"9223372036854775808", 99, INT64_MAX, false, 0, 18},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *at = cases[i].text;
        int64_t value = 0;

        assert_int_equal(scan_number(&at, at + strlen(at), cases[i].digits_max, cases[i].max, &value),
                         cases[i].fine);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(at - cases[i].text, cases[i].taken);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hexadecimal_digits),
        cmocka_unit_test(so_many_digits),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
