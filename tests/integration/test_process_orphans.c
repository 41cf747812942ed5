/* What happens to the work of an attempt of the process engine when its supervisor is killed or stopped: with control
 * groups and without; and what another machine knows of it. */
#include "tests/integration/process_case.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A command with a child, and one that has got away: forked twice, in a session of its own. All are deaf to SIGTERM. */
static void start_with_family(char *id, pid_t *ret_child, pid_t *ret_daemon)
{
    job = fixture_script(f, "trap '' TERM HUP; sh -c 'echo $$ >$D/child; exec sleep 1000' & "
                            "(setsid sh -c 'echo $$ >$D/daemon; exec sleep 1000' &); sleep 1000; sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    *ret_child = fixture_pid_in(f, "child");
    *ret_daemon = fixture_pid_in(f, "daemon");
}

static void expect_killed(const struct test_answer *a, pid_t child, pid_t daemon)
{
    assert_int_equal(a->event, ENGINE_UNKNOWN);
    assert_non_null(strstr(a->text, "what still ran of the command was killed"));
    assert_true(process_gone(child)); /* not a moment later: by now it may be started again */
    assert_true(process_gone(daemon));
}

static void watched_orphans(void)
{
    pid_t child, daemon;
    uint64_t watch;
    char id[160];

    start_with_family(id, &child, &daemon);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED);
    assert_int_equal(kill(fixture_supervisor(f, "cs-1"), SIGKILL), 0);
    expect_killed(fixture_wait(f, watch), child, daemon);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_UNKNOWN);
}

/* The server was away when the supervisor was killed. */
static void orphans_found_later(void)
{
    pid_t child, daemon, supervisor;
    char id[160];

    start_with_family(id, &child, &daemon);
    supervisor = fixture_supervisor(f, "cs-1");
    fixture_restart(f);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    fixture_until_gone(f, supervisor);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED);
    assert_false(process_gone(child));
    assert_false(process_gone(daemon));
    expect_killed(fixture_ask(f, ENGINE_WATCH, job, id, true), child, daemon);
}

static void orphans_are_stopped(void)
{
    pid_t child, daemon, supervisor;
    char id[160];

    start_with_family(id, &child, &daemon);
    supervisor = fixture_supervisor(f, "cs-1");
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    fixture_until_gone(f, supervisor);
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, true)->event, ENGINE_DONE);
    expect_killed(fixture_ask(f, ENGINE_FENCE, job, id, true), child, daemon);
}

static void a_command_kills_its_supervisor(void)
{
    struct test_answer *a;

    job = fixture_script(f, "(setsid sh -c 'echo $$ >$D/daemon; exec sleep 1000' &); "
                            "sh -c 'echo $$ >$D/child; exec sleep 1000' & "
                            "while [ ! -s $D/daemon ] || [ ! -s $D/child ]; do sleep 0.01; done; "
                            "kill -9 $PPID; sleep 1000");
    a = fixture_run(f, job, "cs-1");
    expect_killed(a, fixture_pid_in(f, "child"), fixture_pid_in(f, "daemon"));
}

static void test_stop_reaches_a_supervisor_that_was_stopped(void **state)
{
    uint64_t watch;
    struct test_answer *a;
    char id[160];

    job = fixture_script(f, "while [ ! -s $D/go ]; do sleep 0.01; done; kill -STOP $PPID; echo up >$D/up; "
                            "exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    fixture_write(f, "go", "go");
    fixture_until_file(f, "up");
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, false)->event, ENGINE_DONE);
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 128 + SIGTERM);
}

/* With control groups where this machine lets the test have them, and without. */
static void in_both_ways(void (*test)(void))
{
    test();
    process_case_again();
    f->without_groups = true;
    fixture_restart(f);
    test();
}

static void test_work_of_a_killed_supervisor_is_killed_before_its_end_is_told(void **state)
{
    in_both_ways(watched_orphans);
}

static void test_work_of_a_supervisor_that_was_killed_without_a_server_runs(void **state)
{
    in_both_ways(orphans_found_later);
}

static void test_stop_reaches_work_without_a_supervisor(void **state)
{
    in_both_ways(orphans_are_stopped);
}

static void test_command_that_kills_its_supervisor_gets_nowhere(void **state)
{
    in_both_ways(a_command_kills_its_supervisor);
}

/* A leader that does not know whether it runs has to be told, not only how it ends. */
static void test_a_watch_of_an_unresolved_one_tells_that_it_runs(void **state)
{
    char id[160];
    uint64_t watch;

    job = fixture_script(f, "echo $$ >$D/up; exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_STARTED);
    f->unresolved = true;
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(fixture_wait(f, watch)->event, ENGINE_STARTED);
    assert_int_equal(kill(fixture_pid_in(f, "up"), SIGKILL), 0);
    assert_int_equal(fixture_wait(f, watch)->event, ENGINE_ENDED);
}

/* ---- which engine it is ---- */

/* The folder of another machine, copied to this one: its attempts may run on there. */
static void test_another_machine_knows_nothing_of_an_attempt(void **state)
{
    static const enum engine_op ops[] = {ENGINE_FENCE, ENGINE_WATCH, ENGINE_STOP, ENGINE_RELEASE,
                                         ENGINE_DISCARD};
    char id[160], own[ENGINE_IDENTITY_MAX];
    struct test_answer *a;

    job = fixture_script(f, "echo start >>$D/ledger");
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_PREPARED);
    memcpy(id, a->id, sizeof(id));
    memcpy(own, a->identity, sizeof(own));
    assert_int_equal(strncmp(own, strchr(id, '@') + 1, strcspn(own, ".")), 0);
    f->identity = "elsewhere";
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        a = fixture_ask(f, ops[i], job, id, true);
        assert_int_equal(a->event, ENGINE_UNREACHABLE);
        assert_non_null(strstr(a->text, "this is another engine"));
        assert_non_null(strstr(a->text, "elsewhere"));
    }
    f->identity = own; /* and nothing has become of it */
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_STARTED);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, true)->event, ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ledger", "start"), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_work_of_a_killed_supervisor_is_killed_before_its_end_is_told),
        TEST(test_work_of_a_supervisor_that_was_killed_without_a_server_runs),
        TEST(test_stop_reaches_work_without_a_supervisor),
        TEST(test_stop_reaches_a_supervisor_that_was_stopped),
        TEST(test_command_that_kills_its_supervisor_gets_nowhere),
        TEST(test_a_watch_of_an_unresolved_one_tells_that_it_runs),
        TEST(test_another_machine_knows_nothing_of_an_attempt),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
