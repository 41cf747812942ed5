/* The guarded wall clock: which steps are followed, and when. */
#include "cronsched/server/guarded_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOON INT64_C(1763800000000)

static void test_ordinary_time_and_small_steps_are_followed(void **state)
{
    struct guarded_clock c = {0};

    (void)state;
    assert_int_equal(guarded_clock_read(&c, NOON, 1000), NOON);
    assert_int_equal(guarded_clock_read(&c, NOON + 5000, 6000), NOON + 5000);
    assert_int_equal(guarded_clock_read(&c, NOON + 5000 + 60000, 6000), NOON + 65000); /* just not a jump */
    assert_int_equal(guarded_clock_read(&c, NOON + 5001, 6001), NOON + 5001);          /* and back */
    assert_false(c.held);
    /* a machine that slept: both clocks went on */
    assert_int_equal(guarded_clock_read(&c, NOON + 86400000, 86401000), NOON + 86400000);
    assert_false(c.held);
}

static void test_a_jump_that_nobody_confirms_is_not_followed(void **state)
{
    struct guarded_clock c = {0};

    (void)state;
    guarded_clock_read(&c, NOON, 1000);
    assert_int_equal(guarded_clock_read(&c, NOON + 7200000, 2000), NOON + 1000);
    assert_true(c.held);
    assert_int_equal(c.jump_ms, 7199000);
    assert_int_equal(guarded_clock_read(&c, NOON + 7201000, 3000), NOON + 2000);
    assert_int_equal(c.held_boot_ms, 2000); /* since the jump, however often it is read */
    /* and when the clock is set right again, all is as before */
    assert_int_equal(guarded_clock_read(&c, NOON + 4000, 5000), NOON + 4000);
    assert_false(c.held);
}

static void test_a_jump_that_is_confirmed_is_followed(void **state)
{
    static const int64_t jumps[] = {7200000, -7200000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct guarded_clock c = {0};

        guarded_clock_read(&c, NOON, 1000);
        assert_int_equal(guarded_clock_read(&c, NOON + jumps[i], 2000), NOON + 1000);
        guarded_clock_confirm(&c);
        assert_int_equal(guarded_clock_read(&c, NOON + jumps[i] + 1000, 3000), NOON + jumps[i] + 1000);
        assert_false(c.held);
    }
}

/* It starts with a clock that is behind the journal: one that was not set yet, or the journal is of one that was ahead. */
static void test_time_goes_on_from_the_journal(void **state)
{
    struct guarded_clock c = {0};

    (void)state;
    guarded_clock_read(&c, NOON - 7200000, 1000);
    guarded_clock_not_before(&c, NOON, 1000);
    assert_int_equal(guarded_clock_read(&c, NOON - 7200000 + 1000, 2000), NOON + 1000);
    assert_true(c.held);
    assert_int_equal(c.jump_ms, -7200000);
    /* it is set, and is as good as any at a start */
    assert_int_equal(guarded_clock_read(&c, NOON + 28800000, 3000), NOON + 28800000);
    assert_false(c.held);
    /* from then on a jump is a jump */
    assert_int_equal(guarded_clock_read(&c, NOON + 36000000, 4000), NOON + 28801000);
    assert_true(c.held);

    c = (struct guarded_clock){0};
    guarded_clock_read(&c, NOON - 7200000, 1000);
    guarded_clock_not_before(&c, NOON, 1000);
    guarded_clock_read(&c, NOON - 7200000 + 1000, 2000);
    guarded_clock_confirm(&c); /* somebody knows that it is right */
    assert_int_equal(guarded_clock_read(&c, NOON - 7200000 + 2000, 3000), NOON - 7200000 + 2000);
    assert_false(c.held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_time_and_small_steps_are_followed),
        cmocka_unit_test(test_a_jump_that_nobody_confirms_is_not_followed),
        cmocka_unit_test(test_a_jump_that_is_confirmed_is_followed),
        cmocka_unit_test(test_time_goes_on_from_the_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
