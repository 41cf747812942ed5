/* What a replica says that is no part of its cluster: why, and which command helps. */
#include "cronsched/cluster/membership.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_advice(const struct replicated_view *v, const char *expected)
{
    char text[MEMBERSHIP_TEXT_SIZE];
    const char *advice = membership_advice(v, text);

    if (!expected)
        assert_null(advice);
    else if (!strstr(advice, expected))
        fail_msg("'%s' does not say '%s'", advice, expected);
    else
        assert_true(strlen(advice) < 300); /* it is shown behind the reason */
}

static void each_refusal_names_the_way_out(void **state)
{
    struct replicated_view v = {
        .standing = REPLICATED_REFUSING, .alarm = "why", .other_leader = "", .against = ""};

    assert_advice(&v, "cronsched cluster recover");
    v.against = "r3";
    v.against_member = true;
    assert_advice(&v, "if what r3 alone holds may be given up: stop it (the others go on)");
    assert_advice(&v, "cronsched cluster rejoin --data-dir DIR --yes");
    assert_advice(&v, "cronsched cluster recover --from r3");
    v.against_member = false;
    assert_advice(&v, "cronsched cluster forget r3 --yes");
    v.other_leader = "r3 leads";
    assert_advice(&v, "`zookeeper:`");
}

static void every_standing_but_a_members_has_an_advice(void **state)
{
    static const char *const advice[] = {NULL, "cluster init",    "cluster join",
                                         NULL, "cluster recover", "restart"};

    for (int i = REPLICATED_CONNECTING; i <= REPLICATED_STOPPED; i++) {
        struct replicated_view v = {
            .standing = (enum replicated_standing)i, .alarm = "why", .other_leader = "", .against = ""};
        char text[MEMBERSHIP_TEXT_SIZE];

        assert_advice(&v, advice[i]);
        assert_int_equal(membership_trouble(&v, text) != NULL, advice[i] != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_names_the_way_out),
        cmocka_unit_test(every_standing_but_a_members_has_an_advice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
