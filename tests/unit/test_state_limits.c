/* What fills the state: its keys, runs and definitions have each a bound, and a snapshot comes by bytes. */
#include "jobs/base/text.h"
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>

static char run[RUN_ID_MAX]; /* the last that was triggered */

static int trigger(const char *key, const char *param)
{
    json_t *body = json_pack("{s:s*,s:{s:s}}", "key", key, "params", "p", param);
    struct scheduler_result result = {0};
    int rc = scheduler_trigger(b.scheduler, "a", body, "test", &result);

    b.error = result.error;
    snprintf(run, sizeof(run), "%s", rc == 0 ? json_string_value(json_object_get(result.reply, "run")) : "");
    json_decref(body);
    json_decref(result.reply);
    return rc;
}

/* Its key stays. */
static void kill_run(void)
{
    struct scheduler_result result = {0};

    bench_settle();
    scheduler_kill(b.scheduler, run, "test", &result);
    json_decref(result.reply);
    bench_settle();
}

static void restart_with(int64_t max_state_bytes)
{
    bench_teardown(NULL);
    b.max_state_bytes = max_state_bytes;
    bench_setup(NULL);
    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:s}}", "a", "image", "x", "concurrency", "allow"), false, NULL),
        0);
}

/* Keys fill their share; a trigger without one and an apply still go through. */
static void keys_fill_a_share_of_the_state(void **state)
{
    char key[160];
    int taken = 0;

    restart_with(1 << 20);
    memset(key, 'k', sizeof(key));
    do {
        snprintf(key + 100, sizeof(key) - 100, "%d", taken);
        kill_run();
    } while (trigger(key, "x") == 0 && ++taken < 100000);
    assert_in_range(taken, 300, 2000);
    assert_non_null(strstr(b.error.text, "the keys of the state have "));
    assert_int_equal(trigger(NULL, "x"), 0);
    bench_fill(100, NULL);
}

static void waiting_runs_fill_a_share_of_the_state(void **state)
{
    static char param[15000];
    int taken = 0;

    memset(param, 'p', sizeof(param) - 1);
    restart_with(4 << 20);
    do
        bench_settle();
    while (trigger(NULL, param) == 0 && ++taken < 100000);
    assert_in_range(taken, 100, 200);
    assert_non_null(strstr(b.error.text, "the runs of the state have "));
    bench_fill(100, NULL);
}

static void an_apply_fills_the_state_and_no_more(void **state)
{
    static char text[4000];
    int taken = 0;

    memset(text, 'd', sizeof(text) - 1);
    restart_with(1 << 20);
    for (int i = 0; i < 400; i++) {
        char name[16];

        snprintf(name, sizeof(name), "big-%d", i);
        taken += bench_try_apply(json_pack("{s:{s:s,s:s}}", name, "image", "x", "description", text), false,
                                 NULL) == 0;
        bench_settle();
    }
    if (taken < 220 || taken > 260)
        fail_msg("%d jobs were taken: %s", taken, b.error.text);
    /* what makes nothing larger is still taken */
    assert_int_equal(bench_try_apply(json_pack("{s:{s:s}}", "big-0", "image", "x"), false, NULL), 0);
}

/* Few batches, and large ones: the next snapshot comes by their bytes, long before it would by their number. */
static void a_snapshot_comes_by_bytes(void **state)
{
    static char text[4000];
    int batches = 0;

    memset(text, 'd', sizeof(text) - 1);
    restart_with(0);
    for (; batches < 1000 && b.snapshots == 0; batches++) {
        json_t *words = json_array();

        text[0] = (char)('a' + batches % 2);
        for (int i = 0; i < 10; i++)
            json_array_append_new(words, json_string(text));
        assert_int_equal(
            bench_try_apply(json_pack("{s:{s:s,s:o}}", "big", "image", "x", "command", words), false, NULL),
            0);
        bench_settle();
    }
    assert_in_range(batches, 180, 260); /* 8 MB of 40 KB each */
    assert_true(b.appended < 1000);
}

/* One job whose runs never end: no trigger and no fire time adds to them for ever. */
static void the_runs_of_a_job_are_bounded(void **state)
{
    int taken = 0;

    restart_with(0);
    while (trigger(NULL, "x") == 0 && ++taken < 20000)
        if (taken % 100 == 0)
            bench_settle();
    assert_int_equal(taken, 10000);
    assert_string_equal(b.error.text, "10000 runs of a have not ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_fill_a_share_of_the_state, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(waiting_runs_fill_a_share_of_the_state, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(an_apply_fills_the_state_and_no_more, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_comes_by_bytes, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(the_runs_of_a_job_are_bounded, bench_setup, bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
