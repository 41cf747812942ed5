/* Containers that somebody else starts, against a real dockerd: before their release, while they are watched, after
 * their end. The ledger, not the engine, says how often a container ran. */
#include "tests/integration/docker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNTIL_END "while [ ! -e /ledger/end ]; do sleep 0.05; done; exit 4"

static void let_end(struct fixture *f)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/ledger/end", f->folder);
    fclose(fopen(path, "w"));
}

static void docker(struct fixture *f, const struct attempt_id *a, const char *what, const char *body)
{
    char path[300];
    int status;

    snprintf(path, sizeof(path), "/containers/%s/%s", a->id, what);
    status = fixture_docker(f, "POST", path, body, NULL);
    assert_true(status == 200 || status == 204);
}

/* Released and watched, by this leader. */
static struct attempt_id running(struct fixture *f, struct job *job, uint64_t *ret_watch)
{
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);

    fixture_expect(t, ENGINE_STARTED);
    assert_string_equal(t->text, "");
    a.started_ms = t->started_ms;
    *ret_watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_until_lines(f, "ran", 1);
    fixture_turn(f, 300);
    return a;
}

static void next_leader(struct fixture *f)
{
    f->engine->ops->abandon(f->engine);
    fixture_engine_close(f);
    f->epoch++;
    fixture_engine_new(f);
}

static void expect_again(const struct test_answer *t, enum engine_event event, int starts)
{
    char text[64];

    fixture_expect(t, event);
    assert_int_equal(t->starts, starts);
    snprintf(text, sizeof(text), "it was started %d times", starts);
    fixture_expect_text(t->text, text);
}

static void restarted_while_watched_it_runs_on(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "restarted", RAN UNTIL_END, NULL);
    uint64_t watch;
    struct attempt_id a = running(f, job, &watch);
    struct test_answer *t;

    docker(f, &a, "restart?t=0", NULL);
    expect_again(fixture_wait(f, watch), ENGINE_STARTED, 2);
    fixture_until_lines(f, "ran", 2);
    docker(f, &a, "restart?t=0", NULL);
    expect_again(fixture_wait(f, watch), ENGINE_STARTED, 3);
    fixture_until_lines(f, "ran", 3);
    assert_null(fixture_wait_ms(f, watch, 4000)); /* no end while it runs */
    let_end(f);
    t = fixture_wait(f, watch);
    expect_again(t, ENGINE_ENDED, 3);
    assert_int_equal(t->exit_code, 4);
    assert_string_equal(t->cause, "exit");
    job_unref(job);
}

/* The next leader finds what was started again while nobody watched. */
static void restarted_unwatched_the_next_leader_counts_it(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "unwatched", RAN UNTIL_END, NULL);
    uint64_t watch;
    struct attempt_id a = running(f, job, &watch);

    f->engine->ops->abandon(f->engine);
    fixture_engine_close(f);
    docker(f, &a, "restart?t=0", NULL);
    fixture_until_lines(f, "ran", 2);
    fixture_make_forget(f); /* the engine remembers no event of it */
    f->epoch++;
    fixture_engine_new(f);
    watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    expect_again(fixture_wait(f, watch), ENGINE_STARTED, 2);
    let_end(f);
    expect_again(fixture_wait(f, watch), ENGINE_ENDED, 2);
    job_unref(job);
}

/* An ordinary one is counted once, by the next leader and over a lost link as well. */
static void adopted_it_was_started_once(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "once", RAN UNTIL_END, NULL);
    uint64_t watch;
    struct attempt_id a = running(f, job, &watch);
    struct test_answer *t;

    next_leader(f);
    watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    assert_null(fixture_wait_ms(f, watch, 1000));
    fixture_proxy(f, PROXY_CLOSED, NULL);
    fixture_turn(f, 500);
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_turn(f, 1000);
    let_end(f);
    while ((t = fixture_wait(f, watch))->event != ENGINE_ENDED)
        assert_true(t->starts <= 1);
    assert_true(t->starts <= 1);
    assert_string_equal(t->text, "");
    job_unref(job);
}

static void a_restart_policy_that_is_set_later_is_told(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "policy", RAN "sleep 0.3", NULL);
    uint64_t watch;
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t;
    int starts;

    docker(f, &a, "update", "{\"RestartPolicy\":{\"Name\":\"always\"}}");
    fixture_expect(t = fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    a.started_ms = t->started_ms;
    watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_until_lines(f, "ran", 3);
    do
        fixture_expect(t = fixture_wait(f, watch), ENGINE_STARTED);
    while (t->starts < 3);
    fixture_expect_text(t->text, "restart policy");
    fixture_expect(fixture_ask(f, ENGINE_STOP, job, &a, true), ENGINE_DONE);
    while ((t = fixture_wait(f, watch))->event == ENGINE_STARTED)
        ;
    fixture_expect(t, ENGINE_ENDED);
    starts = fixture_count(f, "ran");
    assert_int_equal(t->starts, starts);
    job_unref(job);
}

enum then { THEN_NOTHING, NEXT_LEADER, PREPARED_AGAIN };

/* Started by somebody else while it was armed, the release is no second start: whether it still runs or not,
 * whether this engine or the one before saw the event, and when it was started in the middle of the preparation. */
static void release_of_a_started_one(struct fixture *f, const char *script, bool ends, enum then then)
{
    struct job *job = fixture_job(f, "armed", script, NULL);
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t;
    int before = fixture_count(f, "ran");

    assert_int_equal(fixture_start(f, &a), 204);
    fixture_until_lines(f, "ran", before + 1);
    for (int i = 0; ends && i < 200 && strcmp(fixture_status(f, &a), "exited") != 0; i++)
        fixture_turn(f, 50);
    fixture_turn(f, 300); /* for the event to be read */
    if (then == NEXT_LEADER)
        next_leader(f);
    if (then == PREPARED_AGAIN)
        fixture_expect(fixture_ask(f, ENGINE_PREPARE, job, &a, false), ENGINE_PREPARED);
    t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    fixture_expect(t, ENGINE_STARTED);
    fixture_expect_text(t->text, "somebody else");
    a.started_ms = t->started_ms;
    t = fixture_wait(f, fixture_submit(f, ENGINE_WATCH, job, &a, true));
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 5);
    assert_true(t->starts <= 1);
    fixture_turn(f, 300);
    assert_int_equal(fixture_count(f, "ran"), before + 1);
    job_unref(job);
}

static void a_started_one_that_was_armed_is_not_started_again(void **state)
{
    release_of_a_started_one(*state, RAN "exit 5", true, THEN_NOTHING);
    release_of_a_started_one(*state, RAN "exit 5", true, NEXT_LEADER);
    release_of_a_started_one(*state, RAN "exit 5", true, PREPARED_AGAIN);
    release_of_a_started_one(*state, RAN "sleep 2; exit 5", false, THEN_NOTHING);
    release_of_a_started_one(*state, RAN "sleep 2; exit 5", false, NEXT_LEADER);
    release_of_a_started_one(*state, RAN "sleep 2; exit 5", false, PREPARED_AGAIN);
}

static bool is_told(struct fixture *f, void *arg)
{
    return f->strays == *(int *)arg;
}

static bool is_over(struct fixture *f, void *arg)
{
    return f->strays_over == *(int *)arg;
}

static void started_after_its_end_it_is_a_stray_while_it_runs(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "stray", RAN UNTIL_END, NULL);
    uint64_t watch;
    struct attempt_id a = running(f, job, &watch);
    int told = 1, over = 1;

    f->retention_ms = 600000;
    docker(f, &a, "kill", NULL);
    fixture_expect(fixture_wait(f, watch), ENGINE_ENDED);
    assert_int_equal(f->strays, 0);
    f->keep = false; /* the journal has its end */
    assert_int_equal(fixture_start(f, &a), 204);
    fixture_until(f, is_told, &told, "the stray");
    assert_string_equal(f->stray, a.id);
    assert_int_equal(f->strays_over, 0);

    told = 2; /* the next leader is told as well, though it saw no event */
    f->sweep_ms = 1000;
    next_leader(f);
    fixture_until(f, is_told, &told, "the stray, once more");
    let_end(f);
    fixture_until(f, is_over, &over, "the end of the stray");
    assert_int_equal(f->strays, 2);
    job_unref(job);
}

/* By docker stop, with the signal that the image or the job names for that. */
static void a_stop_by_somebody_else_is_told_whatever_its_signal(void **state)
{
    struct fixture *f = *state;
    struct job *job =
        fixture_job(f, "stopped", "trap 'exit 0' USR1; " RAN UNTIL_END, "{\"stop_signal\":\"SIGUSR1\"}");
    uint64_t watch;
    struct attempt_id a = running(f, job, &watch);
    struct test_answer *t;

    docker(f, &a, "stop?t=20", NULL);
    t = fixture_wait(f, watch);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 0);
    fixture_expect_text(t->text, "SIGUSR1 was sent to it through the engine by somebody else");
    job_unref(job);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(restarted_while_watched_it_runs_on),
        TEST(a_stop_by_somebody_else_is_told_whatever_its_signal),
        TEST(restarted_unwatched_the_next_leader_counts_it),
        TEST(adopted_it_was_started_once),
        TEST(a_restart_policy_that_is_set_later_is_told),
        TEST(a_started_one_that_was_armed_is_not_started_again),
        TEST(started_after_its_end_it_is_a_stray_while_it_runs),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
