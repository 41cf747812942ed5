/* The cookie of a session: what was sealed is read, and nothing else. */
#include "cronsched/http/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1796080263

static const struct session one = {.role = AUTH_OPERATE,
                                   .token = 0xfeedULL,
                                   .issued_s = NOW - 10,
                                   .expires_s = NOW + 100,
                                   .name = "token:al.ice"};

static void what_was_sealed_is_read(void **state)
{
    char key[SESSION_KEY_BYTES + 1], cookie[SESSION_COOKIE_SIZE];
    struct session s;

    (void)state;
    session_key("secret", key);
    session_seal(&one, key, cookie);
    assert_true(strspn(cookie, "abcdefghijklmnopqrstuvwxyz0123456789.") == strlen(cookie));
    assert_int_equal(session_open(&s, cookie, key, NOW), 0);
    assert_int_equal(s.role, AUTH_OPERATE);
    assert_int_equal(s.token, 0xfeed);
    assert_string_equal(s.name, one.name);
    assert_int_equal(session_open(&s, cookie, key, NOW + 100), ERR_DENIED);
    session_key("another", key);
    assert_int_equal(session_open(&s, cookie, key, NOW), ERR_DENIED);
    assert_int_equal(session_open(&s, cookie, "", NOW), ERR_DENIED);
}

/* Any byte of it, changed, is refused; so is a cookie that is longer or shorter, and what somebody sealed with the key but never
 * should have. */
static void nothing_else_is(void **state)
{
    char key[SESSION_KEY_BYTES + 1], cookie[SESSION_COOKIE_SIZE], bad[SESSION_COOKIE_SIZE + 8];
    struct session s;

    (void)state;
    session_key("secret", key);
    session_seal(&one, key, cookie);
    for (size_t i = 0; i < strlen(cookie); i++) {
        memcpy(bad, cookie, sizeof(cookie));
        bad[i] ^= 1;
        assert_int_equal(session_open(&s, bad, key, NOW), ERR_DENIED);
        memcpy(bad, cookie, sizeof(cookie));
        bad[i] = '\0';
        assert_int_equal(session_open(&s, bad, key, NOW), ERR_DENIED);
    }
    snprintf(bad, sizeof(bad), "%s0", cookie);
    assert_int_equal(session_open(&s, bad, key, NOW), ERR_DENIED);
    for (const char *const *odd =
             (const char *const[]){"", ".", "......", "v1", "v1......", "v1.admin.0.0.9.61.", NULL};
         *odd; odd++)
        assert_int_equal(session_open(&s, *odd, key, NOW), ERR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_is_read),
        cmocka_unit_test(nothing_else_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
