/* What the process engine never starts, and what it removes: fencing, discarding, the sweep. */
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/definition/job_keys.h"
#include "tests/integration/process_case.h"
#include "tests/support/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- fencing ---- */

static void test_fence_of_a_waiting_one_is_proof(void **state)
{
    char id[160];
    pid_t supervisor;

    job = fixture_script(f, "echo start >>$D/ledger");
    fixture_prepared(f, job, "cs-1", id);
    supervisor = fixture_supervisor(f, "cs-1");
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_NEVER_RAN);
    fixture_until_gone(f, supervisor);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_UNKNOWN);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_NEVER_RAN); /* it stays so */
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, true)->event, ENGINE_UNKNOWN);
    assert_int_equal(fixture_count(f, "ledger", "start"), 0);
}

static void test_abandoned_supervisors_leave(void **state)
{
    char id[160];
    pid_t supervisor;

    job = fixture_script(f, "echo start >>$D/ledger");
    fixture_prepared(f, job, "cs-1", id);
    supervisor = fixture_supervisor(f, "cs-1");
    f->engine->ops->abandon(f->engine);
    fixture_until_gone(f, supervisor);
    assert_true(fixture_exists(f, "attempts/cs-1/ready")); /* left to the successor */
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, false)->event, ENGINE_NEVER_RAN);
    assert_int_equal(fixture_count(f, "ledger", "start"), 0);
}

static void test_abandoned_requests_are_not_answered(void **state)
{
    char id[160];

    job = fixture_script(f, "sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    f->answer_count = 0;
    for (int i = 0; i < 40; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cs-x%d", i);
        fixture_prepare(f, job, name, 1);
    }
    fixture_submit(f, ENGINE_WATCH, job, id, false);
    fixture_submit(f, ENGINE_FENCE, job, id, true);
    fixture_submit(f, ENGINE_RELEASE, job, "cs-9@0", false);
    f->engine->ops->abandon(f->engine);
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, true)->event, ENGINE_DONE);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, true)->event,
                     ENGINE_ENDED); /* of the new leader */
    assert_int_equal(f->answer_count, 2);
}

static void test_fence_without_a_folder(void **state)
{
    char id[160];

    job = fixture_script(f, "true");
    fixture_prepared(f, job, "cs-1", id);
    memcpy(id, "cs-2", 4); /* one that is not there */
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, false)->event, ENGINE_NEVER_RAN);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_UNKNOWN);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, true)->event, ENGINE_UNKNOWN);
}

static void test_discard_leaves_nothing(void **state)
{
    char id[160];
    pid_t supervisor;

    job = fixture_script(f, "true");
    fixture_prepared(f, job, "cs-1", id);
    supervisor = fixture_supervisor(f, "cs-1");
    assert_int_equal(fixture_ask(f, ENGINE_DISCARD, job, id, false)->event, ENGINE_DONE);
    assert_false(fixture_exists(f, "attempts/cs-1"));
    fixture_until_gone(f, supervisor);
    assert_int_equal(fixture_ask(f, ENGINE_DISCARD, job, id, false)->event, ENGINE_DONE);
}

static void test_discard_of_a_started_one_harms_nothing(void **state)
{
    uint64_t watch;
    char id[160];

    job = fixture_script(f, "echo up >$D/up; while [ ! -e $D/go-on ]; do sleep 0.01; done; exit 4");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    fixture_until_file(f, "up");
    assert_int_equal(fixture_ask(f, ENGINE_DISCARD, job, id, false)->event, ENGINE_DONE);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    fixture_write(f, "go-on", "");
    assert_int_equal(fixture_wait(f, watch)->exit_code, 4);
}

/* ---- the sweep ---- */

static bool is_swept(void *arg)
{
    char path[128];

    snprintf(path, sizeof(path), "attempts/%s", (const char *)arg);
    return !fixture_exists(f, path);
}

static void test_sweep_removes_what_nobody_keeps(void **state)
{
    const struct process_engine_options options = {.retention_ms = 1, .sweep_ms = 5};
    char ended[] = "cs-ended", waiting[] = "cs-waiting", running[160], armed[160], old[160];
    uint64_t watch;

    process_case_with(NULL, &options);
    job = fixture_script(f, "true");
    fixture_run(f, job, ended);
    fixture_prepared(f, job, waiting, old);
    job_unref(job);
    job = fixture_script(f, "while [ ! -e $D/go-on ]; do sleep 0.01; done");
    fixture_prepared(f, job, "cs-running", running);
    fixture_ask(f, ENGINE_RELEASE, job, running, false);
    f->epoch = 2;
    fixture_prepared(f, job, "cs-armed", armed);
    f->engine->ops->abandon(f->engine); /* the supervisor of cs-armed leaves, but its epoch still leads */
    fixture_prepared(f, job, "cs-armed2", armed);
    f->keep = false;
    fixture_until(f, is_swept, ended, "the sweep of the ended one");
    fixture_until(f, is_swept, waiting, "the sweep of the one of an older epoch");
    assert_true(fixture_exists(f, "attempts/cs-running/start"));
    assert_true(fixture_exists(f, "attempts/cs-armed2/ready"));
    f->keep = true;
    watch = fixture_submit(f, ENGINE_WATCH, job, running, true);
    fixture_write(f, "go-on", "");
    assert_int_equal(fixture_wait(f, watch)->event, ENGINE_ENDED);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, armed, false)->event, ENGINE_STARTED);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, armed, false)->event, ENGINE_ENDED);
}

static void test_sweep_asks_before_it_removes(void **state)
{
    const struct process_engine_options options = {.retention_ms = 1, .sweep_ms = 5};
    char id[160], marker[] = "cs-marker";

    process_case_with(NULL, &options);
    job = fixture_script(f, "true");
    fixture_run(f, job, "cs-1");
    f->epoch = 0; /* not leading: nothing is swept */
    f->keep = false;
    fixture_prepared(f, job, "cs-2", id);
    fixture_run(f, job, "cs-3");
    assert_true(fixture_exists(f, "attempts/cs-1/end"));
    f->keep = true;
    f->epoch = 3;
    fixture_prepared(f, job, marker, id);
    assert_true(fixture_exists(f, "attempts/cs-1/end"));
    f->engine->ops->abandon(f->engine);
    f->keep = false;
    f->epoch = 4;
    fixture_until(f, is_swept, marker, "the sweep");
}

/* The pool thread waits at the first folder that it removes until the engine has been told to close. */
static atomic_int sweep_points, sweep_may_go;

static void on_sweep_point(const char *point, const char *detail)
{
    if (strcmp(point, "process-sweep") != 0)
        return;
    atomic_fetch_add(&sweep_points, 1);
    for (int ms = 0; ms < patience_ms(DEADLINE_MS) && !atomic_load(&sweep_may_go); ms++)
        usleep(1000);
}

static bool is_sweeping(void *arg)
{
    return atomic_load(&sweep_points) > 0;
}

static void on_let_go(uv_timer_t *timer)
{
    atomic_store(&sweep_may_go, 1);
    uv_close((uv_handle_t *)timer, NULL);
}

/* A server that had not swept for long did not end on SIGTERM before it had removed ten thousand folders. */
static void test_closing_does_not_wait_for_a_whole_sweep(void **state)
{
    const struct process_engine_options options = {.retention_ms = 1, .sweep_ms = 5};
    void (*hook)(const char *, const char *) = fault_hook;
    uv_timer_t let_go;
    char name[32];

    process_case_with(NULL, &options);
    job = fixture_script(f, "true");
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "cs-many-%d", i);
        fixture_run(f, job, name);
    }
    atomic_store(&sweep_points, 0);
    atomic_store(&sweep_may_go, 0);
    fault_hook = on_sweep_point;
    f->keep = false;
    fixture_until(f, is_sweeping, NULL, "a sweep");
    uv_timer_init(&f->loop, &let_go);
    uv_timer_start(&let_go, on_let_go, 0, 0); /* in the first turn after close was called */
    fixture_restart(f);
    fault_hook = hook;
    assert_in_range(atomic_load(&sweep_points), 1, 2);
}

/* ---- many, and troubles of the server ---- */

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fence_of_a_waiting_one_is_proof),
        TEST(test_abandoned_supervisors_leave),
        TEST(test_abandoned_requests_are_not_answered),
        TEST(test_fence_without_a_folder),
        TEST(test_discard_leaves_nothing),
        TEST(test_discard_of_a_started_one_harms_nothing),
        TEST(test_sweep_removes_what_nobody_keeps),
        TEST(test_sweep_asks_before_it_removes),
        TEST(test_closing_does_not_wait_for_a_whole_sweep),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
