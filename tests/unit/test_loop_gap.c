/* The time a loop is away: a callback that blocks shows, sleep does not. */
#include "cronsched/api/loop_gap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static void on_wake(uv_timer_t *timer)
{
}

static void on_busy(uv_timer_t *timer)
{
    uint64_t until = uv_hrtime() + 30 * MS;

    while (uv_hrtime() < until)
        ;
}

static void test_work_counts_and_sleep_does_not(void **state)
{
    struct loop_gap gap;
    uv_timer_t busy, wake;
    uint64_t begun, passed, longest;
    uv_loop_t loop;

    uv_loop_init(&loop);
    loop_gap_start(&gap, &loop);
    uv_timer_init(&loop, &busy);
    uv_timer_init(&loop, &wake);
    uv_timer_start(&busy, on_busy, 1, 0);
    uv_timer_start(&wake, on_wake, 150, 0);
    begun = uv_hrtime();
    uv_run(&loop, UV_RUN_DEFAULT);
    passed = uv_hrtime() - begun;
    longest = loop_gap_longest_ns(&gap);
    uv_close((uv_handle_t *)&busy, NULL);
    uv_close((uv_handle_t *)&wake, NULL);
    loop_gap_close(&gap, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);

    assert_true(longest >= 30 * MS);
    assert_true(gap.busy_ns >= longest);
    assert_true(gap.busy_ns <= passed - 100 * MS); /* it slept for about 120 of 150 ms */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_work_counts_and_sleep_does_not)};

    return cmocka_run_group_tests_name("loop_gap", tests, NULL, NULL);
}
