/* A large apply goes on over many turns of the loop, all of it or none. */
#include "tests/support/patience.h"
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <time.h>

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* At once. Takes the reference to `jobs`. */
static int apply(json_t *jobs, struct error *ret_error)
{
    json_t *body = json_pack("{s:o}", "jobs", jobs);
    struct scheduler_result result = {0};
    int rc = scheduler_apply(b.scheduler, body, "test", &result);

    *ret_error = result.error;
    json_decref(body);
    json_decref(result.reply);
    json_decref(result.details);
    return rc;
}

/* What became of an apply that goes on. */
struct applied {
    int rc;
    bool done;
    uint64_t index;
    size_t created, changed, deleted;
    struct error error;
};

static void on_applied(void *arg, int rc, struct scheduler_result *result)
{
    struct applied *a = arg;

    *a = (struct applied){.rc = rc, .done = true, .index = result->index, .error = result->error};
    a->created = json_array_size(json_object_get(result->reply, "created"));
    a->changed = json_array_size(json_object_get(result->reply, "changed"));
    a->deleted = json_array_size(json_object_get(result->reply, "deleted"));
    json_decref(result->reply);
    json_decref(result->details);
}

static void apply_body_then(json_t *body, struct applied *ret)
{
    *ret = (struct applied){0};
    scheduler_apply_then(b.scheduler, body, "test", on_applied, ret);
    json_decref(body);
}

static void apply_then(json_t *jobs, struct applied *ret)
{
    apply_body_then(json_pack("{s:o}", "jobs", jobs), ret);
}

/* The set is these jobs alone from here on. */
static void apply_set_then(json_t *jobs, struct applied *ret)
{
    apply_body_then(json_pack("{s:o,s:s,s:b}", "jobs", jobs, "set", "all", "prune", 1), ret);
}

static json_t *jobs_named(int count, const char *image)
{
    json_t *jobs = json_object();
    char name[32];

    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "job-%06d", i);
        json_object_set_new(
            jobs, name, json_pack("{s:s,s:s}", "image", image, "schedule", i ? "4 4 1 1 *" : "@every 1s"));
    }
    return jobs;
}

/* The longest turn until it is done, while the clock goes on. Most turns: 2000. */
static int64_t turns_until_done(const struct applied *a, size_t jobs_before)
{
    int64_t worst_us = 0, before_us;

    for (int i = 0; i < 2000 && !a->done; i++) {
        assert_int_equal(scheduler_job_count(b.scheduler), jobs_before); /* all or none */
        b.now_ms += 10;
        before_us = cpu_us();
        scheduler_tick(b.scheduler);
        scheduler_flush(b.scheduler);
        worst_us = cpu_us() - before_us > worst_us ? cpu_us() - before_us : worst_us;
        scheduler_journal_events.acked(b.scheduler, b.appended);
    }
    assert_true(a->done);
    return worst_us;
}

static void a_large_apply_goes_on_in_pieces(void **state)
{
    struct error error;
    struct scheduler_result result = {0};
    static struct applied a, other;
    int64_t worst_us;

    apply_then(jobs_named(10000, "x"), &a);
    assert_false(a.done);
    apply_then(jobs_named(200, "y"), &other);
    assert_int_equal(other.rc, ERR_BUSY);
    worst_us = turns_until_done(&a, 0);
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.created, 10000);
    assert_int_equal(scheduler_job_count(b.scheduler), 10000);
    print_message("10000 new jobs, the longest turn: %lld us\n", (long long)worst_us);

    apply_then(jobs_named(10000, "y"), &a);
    for (int i = 0; i < 200; i++)
        scheduler_tick(b.scheduler);
    assert_int_equal(scheduler_delete(b.scheduler, "job-000007", "test", &result), ERR_BUSY);
    assert_int_equal(apply(json_pack("{s:{s:s}}", "z", "image", "x"), &error), ERR_BUSY);
    worst_us = turns_until_done(&a, 10000);
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.changed, 10000);
    print_message("10000 changed jobs, the longest turn: %lld us\n", (long long)worst_us);
    assert_true(worst_us < patience_ms(120) * 1000);
    assert_int_equal(apply(json_pack("{s:{s:s}}", "z", "image", "x"), &error), 0);
}

static size_t unfinished(void)
{
    return scheduler_run_count(b.scheduler, "job-000000");
}

/* What it changes is not planned between its part and the end of it all, and is afterwards. */
static void a_job_that_is_being_changed_waits(void **state)
{
    struct error error;
    static struct applied a;
    size_t before;

    assert_int_equal(apply(jobs_named(300, "x"), &error), 0);
    bench_settle();
    apply_then(jobs_named(300, "y"), &a);
    for (int i = 0; i < 14; i++)
        scheduler_tick(b.scheduler); /* its part is staged, not all are */
    assert_false(a.done);
    before = unfinished();
    b.now_ms += 3000;
    scheduler_tick(b.scheduler);
    assert_true(unfinished() <= before);
    turns_until_done(&a, 300);
    b.now_ms += 3000;
    bench_settle();
    assert_true(unfinished() > 0);
}

/* A leader that goes in the midst of it: nothing of it happened. */
static void a_large_apply_that_is_cut_did_nothing(void **state)
{
    struct error error;
    struct error why = {.code = ERR_DEPOSED, .text = "another leads"};
    static struct applied a;

    assert_int_equal(apply(jobs_named(300, "x"), &error), 0);
    bench_settle();
    apply_then(jobs_named(400, "y"), &a);
    for (int i = 0; i < 20; i++)
        scheduler_tick(b.scheduler);
    assert_false(a.done);
    scheduler_journal_events.deposed(b.scheduler, &why);
    assert_int_equal(a.rc, ERR_NO_LEADER);
    assert_string_equal(a.error.text, "another leads; nothing was changed");
    assert_int_equal(scheduler_job_count(b.scheduler), 300);
}

/* One that has few jobs and deletes many goes on, too; no turn records many of them. */
static void what_is_pruned_goes_in_pieces(void **state)
{
    static struct applied a;
    int64_t worst_us;

    apply_set_then(jobs_named(5000, "x"), &a);
    turns_until_done(&a, 0);
    apply_set_then(json_pack("{s:{s:s}}", "one", "image", "x"), &a);
    assert_false(a.done);
    worst_us = turns_until_done(&a, 5000);
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.created, 1);
    assert_int_equal(a.deleted, 5000);
    assert_int_equal(scheduler_job_count(b.scheduler), 1);
    print_message("5000 jobs deleted by an apply, the longest turn: %lld us\n", (long long)worst_us);
    assert_true(worst_us < patience_ms(120) * 1000);
}

/* Until all of it takes effect: what is due meanwhile is fired. */
static void what_will_be_pruned_is_planned(void **state)
{
    static struct applied a;
    struct error why = {.code = ERR_DEPOSED, .text = "another leads"};
    json_t *jobs = jobs_named(300, "x");
    size_t before;

    json_object_set_new(json_object_get(jobs, "job-000000"), "concurrency", json_string("allow"));
    apply_set_then(jobs, &a);
    turns_until_done(&a, 0);
    bench_settle();
    before = unfinished();
    apply_set_then(json_pack("{s:{s:s}}", "one", "image", "x"), &a);
    for (int i = 0; i < 6; i++)
        scheduler_tick(b.scheduler); /* some deletions are staged, not all */
    assert_false(a.done);
    b.now_ms += 20000;
    bench_settle();
    assert_false(a.done);
    assert_true(unfinished() > before);
    scheduler_journal_events.deposed(b.scheduler, &why);
    assert_int_equal(a.rc, ERR_NO_LEADER);
    assert_int_equal(scheduler_job_count(b.scheduler), 300);
}

/* A dry run keeps nobody from changing jobs: what it has compared may be gone when it ends. */
static void a_dry_run_remembers_no_job(void **state)
{
    struct error error;
    struct error why = {.code = ERR_DEPOSED, .text = "another leads"};
    struct scheduler_result result = {0};
    static struct applied a;

    assert_int_equal(apply(jobs_named(300, "x"), &error), 0);
    bench_settle();
    apply_body_then(json_pack("{s:o,s:b}", "jobs", jobs_named(300, "y"), "dry_run", 1), &a);
    for (int i = 0; i < 14; i++)
        scheduler_tick(b.scheduler);
    assert_false(a.done);
    assert_int_equal(scheduler_delete(b.scheduler, "job-000007", "test", &result), 0);
    json_decref(result.reply);
    bench_settle();
    scheduler_journal_events.deposed(b.scheduler, &why);
    assert_int_equal(a.rc, ERR_NO_LEADER);
}

/* What is wrong is found before anything is recorded, also what became so after the first jobs were read. */
static void a_large_apply_that_is_wrong_changes_nothing(void **state)
{
    struct error error;
    json_t *jobs = jobs_named(300, "x");
    static struct applied a;
    uint64_t index = b.appended;

    json_object_set_new(jobs, "zz", json_pack("{s:s,s:[s]}", "image", "x", "after", "nobody"));
    apply_then(jobs, &a);
    turns_until_done(&a, 0);
    assert_int_equal(a.rc, ERR_INVALID);
    assert_string_equal(a.error.text, "zz: after: there is no job nobody");
    assert_int_equal(b.appended, index);
    apply_then(jobs_named(300, "x"), &a);
    assert_int_equal(apply(json_pack("{s:{s:s}}", "job-000005", "image", "other"), &error), 0);
    turns_until_done(&a, 1);
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.created, 299);
    assert_int_equal(a.changed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_apply_goes_on_in_pieces, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_job_that_is_being_changed_waits, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_large_apply_that_is_cut_did_nothing, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_is_pruned_goes_in_pieces, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_will_be_pruned_is_planned, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_remembers_no_job, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_large_apply_that_is_wrong_changes_nothing, bench_setup,
                                        bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
