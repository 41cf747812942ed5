/* How much runs at once: by engine, by job, by queue. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>

/* One that is released, and being watched from then on: the ticket of its WATCH. */
static uint64_t bench_start(char run[RUN_ID_MAX])
{
    bench_to_release(run);
    bench_answer((struct engine_answer){.event = ENGINE_STARTED, .started_ms = b.now_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    b.asked = false;
    return b.ticket;
}

static void bench_end(uint64_t watch)
{
    b.asked = true;
    b.ticket = watch;
    bench_answer((struct engine_answer){.event = ENGINE_ENDED, .at_ms = b.now_ms, .cause = "exit"});
}

static void bench_nothing_for(int seconds)
{
    for (int i = 0; i < seconds; i++) {
        b.now_ms += 1000;
        bench_settle();
        if (b.asked)
            fail_msg("the engine is asked for %s", engine_op_name(b.op));
    }
}

/* Runs of jobs that may overlap: the third waits, says so once in its records, and goes on when one has ended. */
static void no_more_than_max_running_are_under_way_on_an_engine(void **state)
{
    char first[RUN_ID_MAX], second[RUN_ID_MAX], third[RUN_ID_MAX];
    uint64_t watch;
    size_t batches;
    json_t *json;

    b.table.max_running = 2;
    scheduler_set_engines(b.scheduler, b.engines, 1);
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\"}}}";
    watch = bench_start(first);
    bench_start(second);
    bench_trigger(third);
    assert_non_null(strstr(b.last, "waits: 2 runs are under way on engine e, and its max_running is 2"));
    batches = b.batches;
    bench_nothing_for(30);
    assert_int_equal(b.batches, batches);
    json = scheduler_status_json(b.scheduler);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(json, "engines"), 0), "waiting")),
        1);
    json_decref(json);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void a_new_leader_counts_what_runs(void **state)
{
    char run[RUN_ID_MAX];

    b.table.max_running = 1;
    scheduler_set_engines(b.scheduler, b.engines, 1);
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\"}}}";
    bench_start(run);
    bench_restore();
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_until(ENGINE_WATCH);
    b.asked = false;
    bench_trigger(run);
    assert_non_null(strstr(b.last, "waits: 1 runs"));
    bench_nothing_for(5);
}

/* What could only fail when the attempt is prepared, or means nothing, is refused to whoever sends it. */
static void parameters_and_ranges_are_checked_at_once(void **state)
{
    static const struct {
        const char *params, *says;
    } cases[] = {
        {"{\"\":\"x\"}", "trigger: parameter '': the name is empty or too long"},
        {"{\"a b\":\"x\"}", "trigger: parameter 'a b': only letters"},
        {"{\"a=b\":\"x\"}", "trigger: parameter 'a=b': only letters"},
        {"{\"\xc3\xa4\":\"x\"}", "only letters"},
        {"{\"a\":7}", "trigger: parameter 'a' is not a text"},
        {"{\"a\":\"\\u0000\"}", "holds a NUL byte"},
        {"{\"a-b\":\"x\",\"A_B\":\"y\"}", "another one gives the variable CRONSCHED_PARAM_A_B as well"},
    };
    struct scheduler_result result = {0};
    char run[RUN_ID_MAX];
    json_t *body;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\",\"schedule\":\"@hourly\"}}}";
    bench_start(run);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        body = json_pack("{s:o}", "params", json_loads(cases[i].params, JSON_ALLOW_NUL, NULL));
        assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), ERR_INVALID);
        if (!strstr(result.error.text, cases[i].says))
            fail_msg("%s: %s", cases[i].params, result.error.text);
        json_decref(body);
    }
    body = json_pack("{s:s, s:s, s:b}", "from", "2020-01-02T00:00:00Z", "to", "2020-01-01T00:00:00Z",
                     "dry_run", 1);
    assert_int_equal(scheduler_backfill(b.scheduler, "a", body, "test", &result), ERR_INVALID);
    assert_string_equal(result.error.text, "backfill: from is later than to");
    json_decref(body);
}

static void a_job_has_a_limit_of_its_own(void **state)
{
    char first[RUN_ID_MAX], second[RUN_ID_MAX];
    struct scheduler_result result = {0};
    json_t *body = json_object();
    uint64_t watch;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\",\"max_running\":2}}}";
    watch = bench_start(first);
    bench_start(second);
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), ERR_CONFLICT);
    assert_string_equal(result.error.text,
                        "2 runs of a have not ended, and its max_running is 2; --queue waits for one");
    json_object_set_new(body, "queue", json_true());
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), 0);
    json_decref(result.reply);
    json_decref(body);
    bench_settle();
    bench_nothing_for(5);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void a_fire_time_beyond_the_limit_is_skipped(void **state)
{
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"@every 1h\",\"concurrency\":\"allow\","
            "\"max_running\":1}}}";
    bench_start(run);
    for (int i = 0; i < 3600 && !strstr(b.last, "max_running"); i++) {
        b.now_ms += 1000;
        b.asked = false;
        bench_settle();
    }
    assert_non_null(strstr(b.last, "1 runs have not ended, and max_running is 1"));
    assert_non_null(strstr(b.last, "overlap"));
}

/* With queue so many go on beside each other, and the next one when one of them has ended. */
static void a_queue_may_be_worked_off_by_several(void **state)
{
    char run[RUN_ID_MAX];
    uint64_t watch;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"queue\",\"max_running\":2}}}";
    watch = bench_start(run);
    bench_start(run);
    bench_trigger(run);
    bench_nothing_for(5);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void what_a_job_keeps_of_its_logs_is_known_by_its_run(void **state)
{
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"keep\":{\"logs\":\"64k\"}}}}";
    bench_trigger(run);
    assert_int_equal(scheduler_keep_logs(b.scheduler, run), 65536);
    assert_int_equal(scheduler_keep_logs(b.scheduler, "gone@20261122T030000Z"), -1);
    assert_int_equal(scheduler_keep_logs(b.scheduler, "../../x"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_more_than_max_running_are_under_way_on_an_engine, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_new_leader_counts_what_runs, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(parameters_and_ranges_are_checked_at_once, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_job_has_a_limit_of_its_own, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_fire_time_beyond_the_limit_is_skipped, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_queue_may_be_worked_off_by_several, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_a_job_keeps_of_its_logs_is_known_by_its_run, bench_setup,
                                        bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
