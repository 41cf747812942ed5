/* What servers say of themselves, and which versions lose what they acknowledged. The asking itself is
 * tested with a real ensemble (tests/integration/cluster_test.py); here only with nobody at the other end.
 */
#include "leader/zookeeper/zookeeper_version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void versions_are_read_from_answers(void **state)
{
    char version[32] = "old";

    assert_true(zookeeper_version_read("Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2022\nLatency",
                                       version, sizeof(version)));
    assert_string_equal(version, "3.8.0");
    assert_true(zookeeper_version_read("Zookeeper version: 3.9.2\n", version, sizeof(version)));
    assert_string_equal(version, "3.9.2");
    assert_false(zookeeper_version_read("srvr is not executed because it is not in the whitelist.\n", version,
                                        sizeof(version)));
    assert_false(zookeeper_version_read("Zookeeper version: unknown", version, sizeof(version)));
    assert_false(zookeeper_version_read("Zookeeper version: 11111111111111111111111111111111.1", version,
                                        sizeof(version)));
    assert_false(zookeeper_version_read("", version, sizeof(version)));
    assert_string_equal(version, "3.9.2");
}

static void versions_before_the_fix_lose(void **state)
{
    static const struct {
        const char *version;
        bool loses;
    } cases[] = {
        {"3.4.14", true},  {"3.7.2", true}, {"3.8.0", true}, {"3.8.4", true},  {"3.8.5", false},
        {"3.8.10", false}, {"3.9.0", true}, {"3.9.1", true}, {"3.9.2", false}, {"3.10.0", false},
        {"4.0.0", false},  {"2.9.9", true}, {"", false},     {"x", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (zookeeper_version_loses(cases[i].version) != cases[i].loses)
            fail_msg("%s", cases[i].version);
}

static void who_is_not_there_is_named(void **state)
{
    struct zookeeper_version_answer answers[ZOOKEEPER_VERSION_SERVERS_MAX];

    assert_int_equal(zookeeper_version_ask("127.0.0.1:1,[::1]:1,nobody.invalid/chroot,more", answers), 3);
    assert_string_equal(answers[0].server, "127.0.0.1:1");
    assert_string_equal(answers[1].server, "[::1]:1");
    assert_string_equal(answers[2].server, "nobody.invalid");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(answers[i].version, "");
        assert_string_not_equal(answers[i].problem, "");
    }
    assert_int_equal(zookeeper_version_ask("", answers), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_read_from_answers),
        cmocka_unit_test(versions_before_the_fix_lose),
        cmocka_unit_test(who_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
