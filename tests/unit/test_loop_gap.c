/* The time a loop is away: a callback that blocks shows, sleep does not. And nobody keeps it away: a timer that is
 * started with 0 by its own callback, a turn that asks for the next one. */
#include "cronsched/api/loop_gap.h"
#include "leader/worker/loop.h"

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
    uv_update_time(timer->loop);
    uv_timer_start(timer->data, on_wake, 120, 0); /* however long the processor was somebody else's */
}

static void test_work_counts_and_sleep_does_not(void **state)
{
    struct loop_gap gap;
    uv_timer_t busy, wake;
    uint64_t begun, passed, longest, most_cpu;
    uv_loop_t loop;

    uv_loop_init(&loop);
    loop_gap_start(&gap, &loop);
    uv_timer_init(&loop, &busy);
    uv_timer_init(&loop, &wake);
    uv_timer_start(&busy, on_busy, 1, 0);
    busy.data = &wake;
    begun = uv_hrtime();
    uv_run(&loop, UV_RUN_DEFAULT);
    passed = uv_hrtime() - begun;
    longest = loop_gap_longest_ns(&gap);
    most_cpu = loop_gap_most_cpu_ns(&gap);
    uv_close((uv_handle_t *)&busy, NULL);
    uv_close((uv_handle_t *)&wake, NULL);
    loop_gap_close(&gap, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);

    assert_true(longest >= 30 * MS);
    assert_true(most_cpu > 0 && most_cpu <= longest + 10 * MS); /* to wait costs a little, too */
    assert_true(gap.busy_ns >= longest);
    assert_true(gap.busy_ns <= passed - 100 * MS); /* it slept for about 120 ms of it */
}

static int timer_runs, turn_runs, other_runs;

static void on_again(uv_timer_t *timer)
{
    if (++timer_runs < 1000)
        loop_timer_start(timer, on_again, 0, 0);
}

static void on_turn(void *arg)
{
    if (++turn_runs < 1000)
        loop_turn_ask(arg);
}

static void on_other(uv_prepare_t *prepare)
{
    other_runs++;
}

static void test_what_comes_again_at_once_lets_others_in_between(void **state)
{
    struct loop_turn turn;
    uv_prepare_t other;
    uv_timer_t timer;
    uv_loop_t loop;

    uv_loop_init(&loop);
    uv_prepare_init(&loop, &other);
    uv_prepare_start(&other, on_other);
    uv_timer_init(&loop, &timer);
    loop_turn_init(&turn, &loop, on_turn, &turn);
    loop_timer_start(&timer, on_again, 0, 0);
    loop_turn_ask(&turn);
    loop_turn_ask(&turn);
    for (int i = 1; i <= 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_true(timer_runs <= i);
        assert_int_equal(turn_runs, i);
        assert_int_equal(other_runs, i);
    }
    loop_turn_close(&turn, NULL);
    loop_turn_ask(&turn);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&other, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(turn_runs, 20);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_counts_and_sleep_does_not),
        cmocka_unit_test(test_what_comes_again_at_once_lets_others_in_between),
    };

    return cmocka_run_group_tests_name("loop_gap", tests, NULL, NULL);
}
