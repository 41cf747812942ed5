/* How late answers are: what lasts is kept, what happened once is forgotten. */
#include "cronsched/cluster/lateness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND 4 /* answers */

static void note(struct lateness *l, uint64_t late_ms, int times)
{
    while (times-- > 0)
        lateness_note(l, late_ms);
}

static void test_one_that_was_held_up_is_soon_forgotten(void **state)
{
    struct lateness l = {0};

    assert_int_equal(lateness_ms(&l), 0);
    note(&l, 2, 20);
    assert_in_range(lateness_ms(&l), 0, 5);
    note(&l, 700, 1);
    assert_in_range(lateness_ms(&l), 150, 400);
    note(&l, 2, 2 * SECOND);
    assert_in_range(lateness_ms(&l), 0, 120);
    note(&l, 2, 5 * SECOND);
    assert_in_range(lateness_ms(&l), 0, 10);
}

static void test_a_way_that_is_slow_is_known_to_be(void **state)
{
    struct lateness l = {0};

    note(&l, 400, 1); /* from the first answer on */
    assert_in_range(lateness_ms(&l), 400, 700);
    note(&l, 400, 100);
    assert_in_range(lateness_ms(&l), 390, 420);
    note(&l, 0, 100);
    assert_in_range(lateness_ms(&l), 0, 10);
    note(&l, 400, SECOND); /* it becomes slow: at least as much is allowed for before long */
    assert_in_range(lateness_ms(&l), 350, 700);
}

static void test_one_that_strays_is_allowed_for(void **state)
{
    struct lateness l = {0};

    for (int i = 0; i < 100; i++)
        lateness_note(&l, i % 4 == 0 ? 300 : 20);
    assert_in_range(lateness_ms(&l), 150, 300);
    note(&l, UINT64_MAX, 100);
    assert_int_equal(lateness_ms(&l), LATENESS_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_was_held_up_is_soon_forgotten),
        cmocka_unit_test(test_a_way_that_is_slow_is_known_to_be),
        cmocka_unit_test(test_one_that_strays_is_allowed_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
