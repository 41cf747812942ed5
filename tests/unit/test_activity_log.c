/* The log has a line for the start and the end of each run and for each change, and none of what is not durable. */
#include "cronsched/io/log.h"
#include "cronsched/server/activity_log.h"
#include "jobs/base/text.h"
#include "tests/support/patience.h"
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <time.h>

static struct text lines;

static void put(void *arg, const char *line, size_t n)
{
    text_add_bytes(&lines, line, n);
}

static int64_t wall(void *arg)
{
    return 0;
}

static void durable(struct scheduler_env *env, const struct history_write *write)
{
    activity_log_write(write);
}

static int setup(void **state)
{
    bench_setup(state);
    b.env.durable = durable;
    text_init(&lines, 1 << 20);
    log_open(&(struct log_options){.least = LOG_NOTE, .put = put, .wall_ms = wall});
    return 0;
}

static int teardown(void **state)
{
    log_close();
    text_release(&lines);
    return bench_teardown(state);
}

/* How many lines have this, each of which is whole. */
static int count(const char *what)
{
    int n = 0;

    for (const char *p = text_str(&lines); (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void expect(const char *what)
{
    if (count(what) != 1)
        fail_msg("not once \"%s\" in:\n%s", what, text_str(&lines));
}

/* One run to its end, with this exit code. */
static void run_to_end(int code)
{
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){.event = ENGINE_STARTED, .at_ms = b.now_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = b.now_ms + 1500, .started_ms = b.now_ms, .exit_code = code});
}

static void test_a_run_has_two_lines(void **state)
{
    char run[RUN_ID_MAX], line[512];

    bench_trigger(run);
    run_to_end(0);
    expect("INFO  applied (job=a by=test)");
    snprintf(line, sizeof(line), "INFO  triggered: manual (job=a run=%s by=test)", run);
    expect(line);
    snprintf(line, sizeof(line), "INFO  run-started (job=a run=%s attempt=1)", run);
    expect(line);
    snprintf(line, sizeof(line),
             "INFO  run-ended (job=a run=%s verdict=succeeded exit_code=0 cause=manual engine=e", run);
    expect(line);
}

static void test_a_failure_is_a_warning(void **state)
{
    char run[RUN_ID_MAX], line[512];

    bench_trigger(run);
    run_to_end(3);
    snprintf(line, sizeof(line),
             "WARN  run-failed (job=a run=%s verdict=failed exit_code=3 cause=manual engine=e", run);
    expect(line);
    assert_int_equal(count("run-ended"), 0);
}

static void forget(struct scheduler_result *r)
{
    json_decref(r->reply);
    *r = (struct scheduler_result){0};
}

static void test_changes_say_who(void **state)
{
    struct scheduler_result r = {0};
    char run[RUN_ID_MAX];

    bench_trigger(run);
    assert_int_equal(scheduler_pause(b.scheduler, "a", 0, "for a while", "alice", &r), 0);
    forget(&r);
    assert_int_equal(scheduler_resume(b.scheduler, "a", "bob", &r), 0);
    forget(&r);
    assert_int_equal(scheduler_delete(b.scheduler, "a", "carol", &r), 0);
    forget(&r);
    assert_int_equal(count("by=alice"), 0); /* it is not durable */
    bench_settle();
    expect("INFO  paused: for a while (job=a by=alice)");
    expect("INFO  resumed (job=a by=bob)");
    expect("INFO  deleted (job=a by=carol)");
}

/* A thousand of them a second, start and end: what the loop's thread spends on lines. */
static void test_lines_cost_little(void **state)
{
    struct history_run row = {
        .run = (char *)"a@20261122T030000Z",
        .job = (char *)"a",
        .verdict = (char *)"succeeded",
        .over = true,
        .started_ms = 1,
        .ended_ms = 2,
        .json = (char *)"{\"run\":\"a@20261122T030000Z\",\"job\":\"a\",\"cause\":\"schedule\","
                        "\"exit_code\":0,\"attempts\":[{\"attempt\":1,\"engine\":\"e\"}]}"};
    struct history_record record = {.kind = (char *)"started",
                                    .job = (char *)"a",
                                    .run = (char *)"a@20261122T030000Z",
                                    .json = (char *)"{\"k\":\"started\",\"attempt\":1,\"at\":1}"};
    struct history_write write = {.runs = &row, .run_count = 1, .records = &record, .record_count = 1};
    struct timespec from, to;
    int64_t ms;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < 1000; i++)
        activity_log_write(&write);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    print_message("# 2000 lines: %d ms\n", (int)ms);
    assert_int_equal(count("run-ended"), 1000); /* none is left out */
    assert_true(ms < patience_ms(200));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_run_has_two_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failure_is_a_warning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_say_who, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_cost_little, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
