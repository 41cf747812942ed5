/* The docker engine's fence, and dockerd's crashes, against a real one. A container writes a line into the
 * ledger when it runs: the ledger, not the engine, says how often that was. */
#include "tests/integration/docker_fixture.h"
#include "tests/integration/orders.h"
#include "tests/support/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HANG_NOTICED_MS 8000 /* of a fast machine, with a ping of 1 s */

/* ---- the fence, in each state ---- */

static void fence_of_one_that_was_never_started(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "fence", RAN, NULL);
    for (int may = 0; may < 2; may++) {
        struct attempt_id a = fixture_prepared(f, job);
        fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, may), ENGINE_NEVER_RAN);
        assert_int_equal(fixture_start(f, &a), 400); /* nobody can any more */
        fixture_make_forget(f);
        struct test_answer *t =
            fixture_ask(f, ENGINE_FENCE, job, &a, may); /* a second fence, after a lost verdict */
        fixture_expect(t, ENGINE_NEVER_RAN);
        fixture_expect_text(t->text, "sealed");
        fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &a, false), ENGINE_DONE);
        assert_int_equal(fixture_start(f, &a), 404);
    }
    struct attempt_id a = fixture_prepared(f, job); /* the engine's memory decides, without a boot */
    snprintf(a.boot_id, sizeof(a.boot_id), "kernel=another");
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_NEVER_RAN);

    a = fixture_prepared(f, job); /* the engine has forgotten its creation: witness and boot decide */
    fixture_make_forget(f);
    struct test_answer *t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_NEVER_RAN);
    fixture_expect_text(t->text, "not restarted");

    a = fixture_prepared(f, job); /* and nothing is known of the boot */
    fixture_make_forget(f);
    snprintf(a.boot_id, sizeof(a.boot_id), "kernel=another");
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_UNKNOWN);
    fixture_expect_text(t->text, "restarted");
    assert_int_equal(fixture_count(f, "ran"), 0);
    job_unref(job);
}

static void fence_of_one_that_runs_or_ran(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "ran", RAN "sleep 30", NULL);
    struct job *quick = fixture_job(f, "quick", RAN "exit 6", NULL);
    struct attempt_id a = fixture_prepared(f, job);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    struct test_answer *t = fixture_ask(f, ENGINE_FENCE, job, &a, false);
    fixture_expect(t, ENGINE_STARTED);
    assert_true(t->started_ms > 0);
    assert_string_equal(fixture_status(f, &a), "running");
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_expect(fixture_ask(f, ENGINE_STOP, job, &a, true), ENGINE_DONE);
    fixture_expect(fixture_wait(f, watch), ENGINE_ENDED);

    a = fixture_prepared(f, quick);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, quick, &a, false), ENGINE_STARTED);
    fixture_until_lines(f, "ran", 2);
    fixture_turn(f, 200);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, quick, &a, true), ENGINE_STARTED);
    t = fixture_ask(f, ENGINE_WATCH, quick, &a, true);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 6);

    assert_int_equal(fixture_remove(f, &a), 204); /* somebody tidied up */
    t = fixture_ask(f, ENGINE_FENCE, quick, &a, true);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 6);
    fixture_make_forget(f);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, quick, &a, true), ENGINE_UNKNOWN);
    job_unref(job);
    job_unref(quick);
}

static void a_container_pruned_before_its_start_never_ran(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "pruned", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job);
    assert_int_equal(fixture_remove(f, &a), 204);
    fixture_make_forget(f);
    struct test_answer *t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    fixture_expect(t, ENGINE_UNKNOWN);
    fixture_expect_text(t->text, "removed");
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_NEVER_RAN); /* it knows of that 404 */
    assert_int_equal(fixture_count(f, "ran"), 0);
    job_unref(job);
}

/* Starts and fences side by side: whatever the fence says must agree with the ledger. */
static void fence_against_start(void **state)
{
    struct fixture *f = *state;
    int never = 0, ran = 0;
    struct job *job = fixture_job(f, "race", "echo ran >> /ledger/$CRONSCHED_RUN", NULL);
    f->direct = true;
    fixture_engine_close(f);
    fixture_engine_new(f);
    for (int i = 0; i < 16; i++) {
        struct attempt_id a = fixture_prepared(f, job);
        bool start_first = i % 2;
        uint64_t start = 0, fence_ticket = 0;
        for (int turn = 0; turn < 2; turn++) {
            if (start_first == (turn == 0))
                start = fixture_submit(f, ENGINE_RELEASE, job, &a, false);
            else
                fence_ticket = fixture_submit(f, ENGINE_FENCE, job, &a, true);
            if (turn == 0 && i > 1)
                fixture_turn(f, start_first ? 10 * i : 4 * i);
        }
        struct test_answer *fence = fixture_wait(f, fence_ticket);
        fixture_wait(f, start);
        fixture_turn(f, 100);
        switch (fence->event) {
        case ENGINE_NEVER_RAN:
            never++;
            assert_int_equal(fixture_count(f, a.run), 0);
            break;
        case ENGINE_STARTED:
        case ENGINE_ENDED:
            ran++;
            assert_int_equal(fixture_count(f, a.run), 1);
            break;
        default:
            fail_msg("%s: %s", engine_event_name(fence->event), fence->text);
        }
    }
    print_message("# %d ran, %d never\n", ran, never);
    job_unref(job);
}

/* ---- the engine dies ---- */

static void killed_in_mid_start_the_verdict_agrees_with_the_ledger(void **state)
{
    struct fixture *f = *state;
    int events[ENGINE_DONE + 1] = {0};
    struct job *job = fixture_job(
        f, "crash", "trap 'exit 0' TERM; echo ran >> /ledger/$CRONSCHED_RUN; sleep 20 & wait", NULL);
    srand48((long)uv_hrtime());
    f->direct = true;
    fixture_engine_close(f);
    fixture_engine_new(f);
    for (int i = 0; i < 10; i++) {
        struct attempt_id a = fixture_prepared(f, job);
        uint64_t release = fixture_submit(f, ENGINE_RELEASE, job, &a, false);
        fixture_turn(f, 20 + (int64_t)(drand48() * 330));
        order("kill");
        struct test_answer *t = fixture_wait(f, release);
        enum engine_event released = t->event;
        fixture_turn(f, 300);
        order("start");
        do {
            fixture_turn(f, 200);
            t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
        } while (t->event == ENGINE_UNREACHABLE);
        int count = fixture_count(f, a.run);
        print_message("# released %s, fence %s, ran %d: %s\n", engine_event_name(released),
                      engine_event_name(t->event), count, t->text);
        events[t->event]++;
        assert_in_range(count, 0, 1);
        if (t->event == ENGINE_NEVER_RAN)
            assert_int_equal(count, 0);
        if (t->event == ENGINE_STARTED || t->event == ENGINE_ENDED)
            assert_int_equal(count, 1);
        if (t->event == ENGINE_REFUSED)
            assert_int_equal(count, 0);
        assert_true(released == ENGINE_STARTED || released == ENGINE_UNKNOWN ||
                    released == ENGINE_UNREACHABLE);
    }
    job_unref(job);
}

static void an_engine_that_hangs_is_unreachable(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "hangs", RAN "sleep 2; exit 3", NULL);
    fixture_engine_close(f);
    f->ping_ms = 1000;
    fixture_engine_new(f);
    struct attempt_id a = fixture_prepared(f, job), b = fixture_prepared(f, job);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_until_lines(f, "ran", 1);
    order("freeze");
    int64_t begin = (int64_t)uv_hrtime();
    uint64_t prepare = fixture_submit(f, ENGINE_PREPARE, job, &b, false);
    uint64_t release = fixture_submit(f, ENGINE_RELEASE, job, &b, false);
    fixture_expect(fixture_wait(f, prepare), ENGINE_UNREACHABLE);
    fixture_expect(fixture_wait(f, release), ENGINE_UNKNOWN);
    fixture_expect(fixture_wait(f, watch), ENGINE_UNREACHABLE);
    assert_true((int64_t)uv_hrtime() - begin < patience_ms(HANG_NOTICED_MS) * 1000000);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &b, true), ENGINE_UNREACHABLE);
    order("thaw");
    struct test_answer *t = fixture_wait(f, watch);
    if (t->event == ENGINE_STARTED)
        t = fixture_wait(f, watch);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 3);
    do {
        fixture_turn(f, 200);
        t = fixture_ask(f, ENGINE_FENCE, job, &b, true);
    } while (t->event == ENGINE_UNREACHABLE);
    fixture_expect(t, ENGINE_STARTED); /* the start was in its ear already */
    fixture_until_lines(f, "ran", 2);  /* the container's process may not have got to it yet */
    job_unref(job);
}

static void without_live_restore_a_restart_ends_the_run_and_says_so(void **state)
{
    struct fixture *f = *state;
    struct job *job =
        fixture_job(f, "restart", RAN "trap 'exit 9' TERM; while true; do sleep 0.1; done", NULL);
    static const char *const manners[] = {"stop", "kill"};
    for (int i = 0; i < 2; i++) {
        struct attempt_id a = fixture_prepared(f, job);
        fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
        uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
        fixture_until_lines(f, "ran", i + 1);
        fixture_turn(f, 300);
        order(manners[i]);
        struct test_answer *t = fixture_wait(f, watch);
        if (t->event == ENGINE_UNREACHABLE) { /* else the end came before the engine went */
            order("start");
            t = fixture_wait(f, watch);
        } else {
            order("start");
        }
        fixture_expect(t, ENGINE_ENDED);
        assert_string_equal(t->cause, "engine");
        print_message("# %s: exit code %d: %s\n", manners[i], t->exit_code, t->text);
    }
    assert_int_equal(fixture_count(f, "ran"), 2);
    job_unref(job);
}

static void say_enough(struct fixture *f)
{
    char path[300];
    FILE *out;

    snprintf(path, sizeof(path), "%s/ledger/enough", f->folder);
    out = fopen(path, "w");
    assert_non_null(out);
    fclose(out);
}

/* How many there are: "line 1", "line 2", ... */
static int lines_in_order(const char *text)
{
    int lines = 0;

    while (*text) {
        char expected[32];
        int n = snprintf(expected, sizeof(expected), "line %d\n", ++lines);

        if (strncmp(text, expected, (size_t)n) != 0)
            fail_msg("instead of line %d: %.20s", lines, text);
        text += n;
    }
    return lines;
}

static void with_live_restore_the_run_goes_on_and_its_log_too(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(
        f, "live",
        RAN "i=0; while [ ! -e /ledger/enough ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 5", NULL);
    struct job *brief = fixture_job(f, "brief", "sleep 1; echo over; exit 8", NULL);
    order("stop");
    order("start-live");
    fixture_turn(f, 500);
    struct attempt_id a = fixture_prepared(f, job), b = fixture_prepared(f, brief);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, brief, &b, false), ENGINE_STARTED);
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true),
             short_watch = fixture_submit(f, ENGINE_WATCH, brief, &b, true);
    fixture_turn(f, 500);
    order("kill");
    fixture_expect(fixture_wait(f, watch), ENGINE_UNREACHABLE);
    fixture_expect(fixture_wait(f, short_watch), ENGINE_UNREACHABLE);
    fixture_turn(f, 1500);
    order("start-live");
    fixture_expect(fixture_wait(f, watch), ENGINE_STARTED); /* alive again */
    fixture_turn(f, 500);
    say_enough(f);
    struct test_answer *t = fixture_wait(f, short_watch); /* ended meanwhile */
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 8);
    assert_string_equal(t->cause, "exit");
    fixture_expect_text(t->text, "what it wrote last may be missing");
    t = fixture_wait(f, watch);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 5);
    char *text = fixture_log(f, &a);
    assert_true(lines_in_order(text) >= 20); /* none twice, none missing */
    free(text);
    assert_int_equal(fixture_count(f, "ran"), 1);
    order("stop");
    order("start");
    job_unref(job);
    job_unref(brief);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fence_of_one_that_was_never_started),
        TEST(fence_of_one_that_runs_or_ran),
        TEST(a_container_pruned_before_its_start_never_ran),
        TEST(fence_against_start),
        TEST(killed_in_mid_start_the_verdict_agrees_with_the_ledger),
        TEST(an_engine_that_hangs_is_unreachable),
        TEST(without_live_restore_a_restart_ends_the_run_and_says_so),
        TEST(with_live_restore_the_run_goes_on_and_its_log_too),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
