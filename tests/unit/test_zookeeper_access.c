/* The file of ZooKeeper's users, and what access lists say of others. */
#include "leader/zookeeper/zookeeper_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

#include <cmocka.h>

static void test_files(void **state)
{
    static const struct {
        const char *text, *error; /* NULL: fine */
        size_t count;
    } cases[] = {
        {"cron:0123456789abcdef", NULL, 1},
        {"cron:0123456789abcdef\n", NULL, 1},
        {"cron:new-0123456789abcdef\r\n\ncron:old-0123456789abcdef\n", NULL, 2},
        {"cron:a:b", NULL, 1},
        {"", "its first line must be USER:PASSWORD", 0},
        {"\n", "its first line must be USER:PASSWORD", 0},
        {"cron", "line 1 must be USER:PASSWORD", 0},
        {"a:b\n:sesame", "line 2 must be USER:PASSWORD", 0},
        {"cron:", "line 1 must be USER:PASSWORD", 0},
        {"cron:sesame ", "line 1 has a blank", 0},
        {" cron:sesame", "line 1 has a blank", 0},
        {"cron:ses\tame", "line 1 has a blank", 0},
        {"a:b\nb:b\nc:b\nd:b\ne:b\n", "more than 4 users", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zookeeper_users users;
        struct error e = {0};
        int r = zookeeper_users_parse(cases[i].text, &users, &e);

        if (cases[i].error ? r >= 0 || !strstr(e.text, cases[i].error) : r < 0)
            fail_msg("'%s': %d %s", cases[i].text, r, e.text);
        assert_int_equal(users.count, cases[i].count);
    }
}

static void test_weak_passwords(void **state)
{
    static const struct {
        const char *text, *weakness;
    } cases[] = {
        {"cron:0123456789abcdef", NULL},
        {"cron:sesame", "less than 16 characters"},
        {"a:0123456789abcdef\nb:short", "less than 16 characters"},
        {"cronjobs-scheduler:cronjobs-scheduler", "begins with the user's name"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zookeeper_users users;
        const char *weakness;

        assert_int_equal(zookeeper_users_parse(cases[i].text, &users, NULL), 0);
        weakness = zookeeper_users_weakness(&users);
        if (cases[i].weakness)
            assert_non_null(strstr(weakness, cases[i].weakness));
        else
            assert_null(weakness);
    }
}

/* As DigestAuthenticationProvider makes it: "super:admin" is in ZooKeeper's own documentation. */
static void test_ids(void **state)
{
    struct zookeeper_users users;

    assert_int_equal(zookeeper_users_parse("super:admin", &users, NULL), 0);
    assert_string_equal(users.items[0].id, "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
}

static void test_lists(void **state)
{
    static char world[] = "world", anyone[] = "anyone", digest[] = "digest", other[] = "cron:AAAA",
                ip[] = "ip", address[] = "10.0.0.1";
    struct zookeeper_users users;
    struct ACL entries[3];
    struct ACL_vector list = {1, entries};
    char who[ZOOKEEPER_ACCESS_TEXT];

    assert_int_equal(zookeeper_users_parse("cron:one\ncron:two", &users, NULL), 0);
    for (int i = 0; i < 2; i++) {
        entries[0] = (struct ACL){ZOO_PERM_ALL, {digest, users.items[i].id}};
        assert_true(zookeeper_access_is_ours(&list, &users, who));
    }
    list.count = 2;
    entries[1] = (struct ACL){ZOO_PERM_READ, {world, anyone}}; /* to read the secret is enough */
    assert_false(zookeeper_access_is_ours(&list, &users, who));
    assert_string_equal(who, "everybody");
    assert_false(zookeeper_access_is_open(&list));
    entries[1] = (struct ACL){ZOO_PERM_WRITE, {digest, other}}; /* of the same name, with another password */
    assert_false(zookeeper_access_is_ours(&list, &users, who));
    assert_string_equal(who, "digest user cron");
    entries[1] = (struct ACL){ZOO_PERM_ADMIN, {ip, address}};
    assert_false(zookeeper_access_is_ours(&list, &users, who));
    entries[1] = (struct ACL){ZOO_PERM_ALL, {world, anyone}};
    assert_true(zookeeper_access_is_open(&list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_weak_passwords),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_lists),
    };

    return cmocka_run_group_tests_name("zookeeper_access", tests, NULL, NULL);
}
