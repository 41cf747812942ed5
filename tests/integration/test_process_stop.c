/* How attempts of the process engine are ended: by a stop, with its grace for all that descends from the command, by
 * their supervisor when no server does, and by others. */
#include "tests/integration/process_case.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_stop_asks_first(void **state)
{
    struct test_answer *a;
    uint64_t watch;
    char id[160];

    job = fixture_script(f, "trap 'echo bye; exit 7' TERM; echo up >$D/up; while :; do sleep 0.05; done");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    fixture_until_file(f, "up");
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE);
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 7);
    assert_non_null(strstr(fixture_log(f), "bye\n"));
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE); /* long over */
}

/* The command and a child in a session of its own both ignore SIGTERM. */
static void test_stop_kills_all_after_the_grace(void **state)
{
    uint64_t watch, begin;
    struct test_answer *a;
    pid_t child;
    char id[160];

    job = fixture_script(
        f, "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >$D/child; while :; do sleep 1; done' & "
           "while :; do sleep 0.05; done");
    job->stop_grace_ms = 300;
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    child = fixture_pid_in(f, "child");
    begin = uv_hrtime();
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE);
    a = fixture_wait(f, watch);
    assert_true(a->seen_ns - begin >= UINT64_C(300000000));
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 128 + SIGKILL);
    assert_non_null(strstr(a->text, "after stop_grace"));
    assert_true(process_gone(child));
}

static bool log_is_cut(void *arg)
{
    return strstr(fixture_log(f), "lines) of output are missing here: keep.logs is 100\n") != NULL;
}

static void test_stop_is_heard_through_endless_output(void **state)
{
    uint64_t watch;
    char id[160];

    job = fixture_script(f, "exec yes");
    job->keep_logs_bytes = 100;
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    fixture_until(f, log_is_cut, NULL, "the log to be cut");
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE);
    assert_int_equal(fixture_wait(f, watch)->exit_code, 128 + SIGTERM);
}

/* ---- all that descends has the grace ---- */

/* Cleans up when it is asked to, which takes a while. */
#define WORKER                                                                                               \
    "trap 'echo asked >$D/asked; sleep 0.1; echo done >$D/cleaned; exit 0' TERM\n"                           \
    "echo $$ >$D/worker; while :; do sleep 0.02; done\n"

static void without_groups(void)
{
    f->without_groups = true;
    fixture_restart(f);
}

/* Starts a script that runs the worker, and stops it. */
static struct test_answer *stopped(const char *script, int64_t grace_ms)
{
    struct test_answer *a;
    uint64_t watch;
    char id[160];

    fixture_write(f, "worker.sh", WORKER);
    job = fixture_script(f, script);
    job->stop_grace_ms = grace_ms;
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    fixture_pid_in(f, "worker");
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE);
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_ENDED);
    return a;
}

/* The shell is gone at once; a worker in another process group or session hears of it at all. */
static void test_worker_behind_a_shell_cleans_up(void **state)
{
    static const char *const scripts[] = {
        "sh $D/worker.sh; echo next >$D/next",
        "sh $D/worker.sh | cat",
        "timeout 60 sh $D/worker.sh; true",
        "setsid --wait sh $D/worker.sh; true",
        "setsid sh -c 'timeout 60 sh $D/worker.sh; true' & wait",
        "(sh $D/worker.sh &); sleep 60", /* and an orphan */
        "sh -c 'sh $D/worker.sh; true'; true",
    };

    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]) * 2; i++) {
        const char *script = scripts[i / 2];

        if (i > 0) {
            process_case_again();
        }
        if (i % 2)
            without_groups();
        stopped(script, 20000);
        if (!fixture_exists(f, "cleaned"))
            fail_msg("%s, control groups %s: %s", script, i % 2 ? "off" : "as they are",
                     fixture_exists(f, "asked") ? "killed while it cleaned up" : "not asked");
        assert_false(fixture_exists(f, "next"));
    }
}

/* One that cleans up by other programs, in whatever group they are: these are not asked to end. */
static void test_what_a_handler_starts_is_left_alone(void **state)
{
    struct test_answer *a =
        stopped("trap 'timeout 60 sh -c \"sleep 0.1; echo done >$D/cleaned\"; exit 3' TERM; "
                "echo $$ >$D/worker; while :; do sleep 0.02; done",
                20000);

    assert_int_equal(a->exit_code, 3);
    assert_true(fixture_exists(f, "cleaned"));
}

static void test_suspended_job_hears_of_the_stop(void **state)
{
    struct test_answer *a =
        stopped("trap 'exit 4' TERM; (sleep 0.1; echo $$ >$D/worker) & kill -STOP $$; sleep 60", 20000);

    assert_int_equal(a->exit_code, 4);
}

/* The worker has the rest of the grace, and no more. */
static void test_deaf_worker_behind_a_shell_is_killed_after_the_grace(void **state)
{
    struct test_answer *a;
    uint64_t begin = uv_hrtime();

    a = stopped("sh -c 'trap \"\" TERM; echo $$ >$D/worker; while :; do sleep 1; done'; true", 400);
    assert_true(a->seen_ns - begin >= UINT64_C(400000000));
    assert_int_equal(a->exit_code, 128 + SIGTERM); /* the shell's */
    assert_non_null(strstr(a->text, "what it left running was killed after stop_grace: "));
    assert_true(process_gone(fixture_pid_in(f, "worker")));
}

/* ---- without a server, and by others ---- */

static void test_supervisor_ends_it_when_no_server_does(void **state)
{
    struct test_answer *a;

    job = fixture_script(f, "trap 'echo bye; exit 9' TERM; while :; do sleep 0.02; done");
    job->timeout_ms = 200;
    a = fixture_run(f, job, "cs-1");
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 9);
    assert_string_equal(a->cause, "timeout");
    assert_non_null(strstr(a->text, "no server ended it"));
    assert_non_null(strstr(fixture_log(f), "bye\n"));
    assert_in_range(a->at_ms - a->started_ms, 1200, 20000); /* a server would have been earlier */
}

static void test_signal_of_somebody_else_is_told_from_a_stop(void **state)
{
    struct test_answer *a;
    char text[64];

    job = fixture_script(f, "kill -TERM $$");
    a = fixture_run(f, job, "cs-8");
    assert_string_equal(a->text, "signal 15 (Terminated), which cronsched did not send");
    job_unref(job);
    job = fixture_script(f, "kill -TERM $PPID; sleep 60");
    a = fixture_run(f, job, "cs-9");
    assert_int_equal(a->exit_code, 128 + SIGTERM);
    snprintf(text, sizeof(text), "of user %u asked its supervisor to end it, not cronsched", geteuid());
    assert_non_null(strstr(a->text, text));
    job_unref(job);
    job = NULL;
    a = stopped("echo $$ >$D/worker; exec sleep 60", 20000);
    assert_string_equal(a->text, "signal 15 (Terminated)");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stop_asks_first),
        TEST(test_stop_kills_all_after_the_grace),
        TEST(test_stop_is_heard_through_endless_output),
        TEST(test_worker_behind_a_shell_cleans_up),
        TEST(test_what_a_handler_starts_is_left_alone),
        TEST(test_suspended_job_hears_of_the_stop),
        TEST(test_deaf_worker_behind_a_shell_is_killed_after_the_grace),
        TEST(test_supervisor_ends_it_when_no_server_does),
        TEST(test_signal_of_somebody_else_is_told_from_a_stop),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
