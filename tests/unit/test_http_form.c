/* Forms and cookies as browsers send them, and as nobody should. */
#include "cronsched/http/http_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_form(const char *body, const char *expected)
{
    json_t *form = NULL;
    struct error e;
    char *text;

    if (http_form_parse(body, strlen(body), &form, &e) < 0)
        fail_msg("%s: %s", body, e.text);
    text = json_dumps(form, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, expected);
    free(text);
    json_decref(form);
}

static void forms_are_read(void **state)
{
    (void)state;
    assert_form("", "{}");
    assert_form("&&", "{}");
    assert_form("a=1&b=2", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_form("q=a+b%2Bc%26%3D%23%25%3B%22%C3%A9", "{\"q\":\"a b+c&=#%;\\\"\xc3\xa9\"}");
    assert_form("job=a&job=b&job=c&x", "{\"job\":[\"a\",\"b\",\"c\"],\"x\":\"\"}");
    assert_form("t=one%0D%0Atwo%0Athree", "{\"t\":\"one\\ntwo\\nthree\"}");
    assert_form("a=b=c", "{\"a\":\"b=c\"}");
    assert_form("=v", "{\"\":\"v\"}");
}

static void what_is_no_form_is_refused(void **state)
{
    static const char *const bad[] = {"a=%",   "a=%4",  "a=%zz",  "%=1",  "a=%00",
                                      "a=%ff", "a=%C3", "a=\xff", "x%0=1"};
    json_t *form;
    struct error e;
    char many[3 * (HTTP_FORM_FIELDS_MAX + 1) + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (http_form_parse(bad[i], strlen(bad[i]), &form, &e) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(http_form_parse("a\0b", 3, &form, &e), ERR_INVALID);
    for (size_t i = 0; i <= HTTP_FORM_FIELDS_MAX; i++)
        memcpy(many + 3 * i, "a=&", 3);
    assert_int_equal(http_form_parse(many, 3 * (HTTP_FORM_FIELDS_MAX + 1), &form, &e), ERR_LIMIT);
    assert_int_equal(http_form_parse(many, 3 * HTTP_FORM_FIELDS_MAX, &form, &e), 0);
    json_decref(form);
}

static void cookies_are_found(void **state)
{
    char value[8];

    (void)state;
    assert_null(http_cookie(NULL, "a", value, sizeof(value)));
    assert_null(http_cookie("", "a", value, sizeof(value)));
    assert_string_equal(http_cookie("a=1", "a", value, sizeof(value)), "1");
    assert_string_equal(http_cookie("aa=2; a=1", "a", value, sizeof(value)), "1");
    assert_string_equal(http_cookie("x;;=; a= ;a=1", "a", value, sizeof(value)), "");
    assert_string_equal(http_cookie("x=\"y; z\"; a=3 ; b=4", "a", value, sizeof(value)), "3");
    assert_null(http_cookie("a", "a", value, sizeof(value)));
    assert_null(http_cookie("a=12345678", "a", value, sizeof(value)));
    assert_null(http_cookie("A=1", "a", value, sizeof(value)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_read),
        cmocka_unit_test(what_is_no_form_is_refused),
        cmocka_unit_test(cookies_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
