#include "jobs/base/percent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void all_but_the_unreserved_is_encoded(void **state)
{
    char buffer[128] = "q=";
    struct text text;

    text_init(&text, 128);
    text_add(&text, "q=");
    percent_add(&text, "aZ09-._~ /?&=%\"\xc3\xbc");
    assert_string_equal(text_str(&text), "q=aZ09-._~%20%2F%3F%26%3D%25%22%C3%BC");
    assert_int_equal(percent_append(buffer, sizeof(buffer), "aZ09-._~ /?&=%\"\xc3\xbc"), 0);
    assert_string_equal(buffer, text_str(&text));
    text_release(&text);
}

static void what_does_not_fit_is_left_out(void **state)
{
    char buffer[8] = "q=";

    assert_int_equal(percent_append(buffer, sizeof(buffer), "a/bc"), ERR_LIMIT);
    assert_string_equal(buffer, "q=");
    assert_int_equal(percent_append(buffer, sizeof(buffer), "a/b"), 0);
    assert_string_equal(buffer, "q=a%2Fb");
    assert_int_equal(percent_append(buffer, sizeof(buffer), ""), 0);
    assert_int_equal(percent_append(buffer, sizeof(buffer), "c"), ERR_LIMIT);
    assert_string_equal(buffer, "q=a%2Fb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_but_the_unreserved_is_encoded),
        cmocka_unit_test(what_does_not_fit_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
