/* What a request may cost the loop: the scheduler's commands with the largest input that they take. The time is that of
 * the processor, so a machine that is busy with others is not slow by it; the bounds are those of a fast machine without
 * optimisation, far above what is seen there and far below what grows in another way than its input.
 */
#include "jobs/base/text.h"
#include "jobs/definition/after.h"
#include "jobs/time/instant.h"
#include "tests/support/patience.h"
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- a history that counts ---- */

static int pruned; /* so often a job's history was */

static void history_take(struct history *history, struct history_write *write)
{
    history_write_free(write);
}

static void history_prune(struct history *history, const char *job, int keep_runs, int64_t older_than_ms)
{
    pruned++;
}

static uint64_t history_applied(const struct history *history)
{
    return UINT64_MAX;
}

static const struct history_ops history_ops = {
    .write = history_take, .prune = history_prune, .applied = history_applied};
static struct history history = {.ops = &history_ops};

static int setup(void **state)
{
    pruned = 0;
    history.ops = &history_ops;
    b.with_history = &history;
    return bench_setup(state);
}

/* ---- time ---- */

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 5
#else
#define SANITIZED 1
#endif

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* Since `since_us`, which must be less than that on this machine; with sanitizers, SANITIZED times that. */
static void assert_cpu_below(int64_t since_us, int64_t ms, const char *what)
{
    int64_t took_us = cpu_us() - since_us;

    ms *= SANITIZED;
    print_message("%s: %lld ms\n", what, (long long)took_us / 1000);
    if (took_us > patience_ms(ms) * 1000)
        fail_msg("%s: %lld ms of the processor, more than %lld", what, (long long)took_us / 1000,
                 (long long)patience_ms(ms));
}

/* ---- apply ---- */

/* A job that comes after jobs of the layer below, all of them; the first layer has a schedule. */
static json_t *layered_job(int layer, int width)
{
    json_t *job = json_pack("{s:s}", "image", "x"), *after = json_array();
    char name[32];

    for (int i = 0; layer > 0 && i < width; i++) {
        snprintf(name, sizeof(name), "l%d-%d", layer - 1, i);
        json_array_append_new(after, json_string(name));
    }
    if (layer > 0)
        json_object_set(job, "after", after);
    else
        json_object_set_new(job, "schedule", json_pack("[s]", "@hourly"));
    json_decref(after);
    return job;
}

static json_t *layers(int depth, int width)
{
    json_t *jobs = json_object();
    char name[32];

    for (int layer = 0; layer < depth; layer++)
        for (int i = 0; i < width; i++) {
            snprintf(name, sizeof(name), "l%d-%d", layer, i);
            json_object_set_new(jobs, name, layered_job(layer, width));
        }
    return jobs;
}

static bool find_none(void *arg, const char *name, const struct job **ret)
{
    return false;
}

static int no_missing(void *arg, const struct job *job, size_t parent)
{
    fail_msg("%s: parent %zu is missing", job->name, parent);
    return 0;
}

static int no_circle(void *arg, const struct job *const *path, size_t count, size_t parent)
{
    fail_msg("a circle of %zu", count);
    return 0;
}

/* From one layer to the next there are 32 times as many ways as to the one before. */
static void layers_are_walked_once(void **state)
{
    const struct after_check check = {find_none, no_missing, no_circle, NULL};
    enum { DEPTH = 200, WIDTH = 32 };
    static struct job *jobs[DEPTH * WIDTH];
    json_t *all = layers(DEPTH, WIDTH), *item;
    const char *name;
    size_t n = 0;
    int64_t since_us;

    json_object_foreach(all, name, item)
    {
        assert_int_equal(job_from_json(&jobs[n++], name, item, NULL, NULL), 0);
    }
    assert_int_equal(n, DEPTH * WIDTH);
    since_us = cpu_us();
    assert_int_equal(after_check(&check, (const struct job *const *)jobs, n), 0);
    assert_cpu_below(since_us, 100, "after, 200 layers of 32");
    since_us = cpu_us();
    assert_int_equal(bench_try_apply(all, true, NULL), 0);
    assert_cpu_below(since_us, 2500, "a dry run of them");
    while (n > 0)
        job_unref(jobs[--n]);
}

static void a_chain_of_ten_thousand_is_fine(void **state)
{
    json_t *jobs = layers(10000, 1);
    int64_t since_us = cpu_us();

    assert_int_equal(bench_try_apply(jobs, false, NULL), 0);
    assert_cpu_below(since_us, 8000, "apply of a chain of 10000");
    bench_settle();
    since_us = cpu_us();
    assert_int_equal(bench_try_apply(json_pack("{s:o}", "l9999-0", layered_job(9999, 1)), true, NULL), 0);
    assert_cpu_below(since_us, 100, "its last job again");
    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:[s]}}", "l0-0", "image", "x", "after", "l9999-0"), true, NULL),
        ERR_INVALID);
    assert_non_null(strstr(b.error.text, "l1-0: after: a cycle of 10000 jobs: l0-0 after l9999-0 after "));
}

static void circles_and_missing_parents_are_told(void **state)
{
    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:[s]},s:{s:s,s:[s]},s:{s:s,s:[s]}}", "a", "image", "x", "after",
                                  "b", "b", "image", "x", "after", "c", "c", "image", "x", "after", "a"),
                        true, NULL),
        ERR_INVALID);
    assert_string_equal(b.error.text, "c: after: a cycle: a after b after c after a");
    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:[s]}}", "a", "image", "x", "after", "q"), true, NULL),
        ERR_INVALID);
    assert_string_equal(b.error.text, "a: after: there is no job q");
    assert_int_equal(bench_try_apply(json_pack("{s:{s:s},s:{s:s,s:[s]}}", "p", "image", "x", "c", "image",
                                               "x", "after", "p"),
                                     false, NULL),
                     0);
    /* through what is there already */
    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:[s]}}", "p", "image", "x", "after", "c"), true, NULL),
        ERR_INVALID);
    assert_string_equal(b.error.text, "c: after: a cycle: p after c after p");
}

static void an_apply_has_so_many_jobs_at_most(void **state)
{
    json_t *jobs = json_object();
    char name[32];

    for (int i = 0; i <= SCHEDULER_APPLY_JOBS_MAX; i++) {
        snprintf(name, sizeof(name), "j%d", i);
        json_object_set_new(jobs, name, json_pack("{s:s}", "image", "x"));
    }
    assert_int_equal(bench_try_apply(jobs, true, NULL), ERR_LIMIT);
    assert_string_equal(b.error.text, "apply: 10001 jobs at once; at most 10000");
}

static json_t *children(int from, int count, const char *parent)
{
    json_t *jobs = json_object();
    char name[32];

    for (int i = from; i < from + count; i++) {
        snprintf(name, sizeof(name), "child-%d", i);
        json_object_set_new(jobs, name, json_pack("{s:s,s:[s]}", "image", "x", "after", parent));
    }
    return jobs;
}

/* The end of a job starts all that come after it, in one turn. */
static void so_many_jobs_come_after_one(void **state)
{
    json_t *jobs = children(0, SCHEDULER_CHILDREN_MAX + 1, "p");

    json_object_set_new(jobs, "p", json_pack("{s:s}", "image", "x"));
    assert_int_equal(bench_try_apply(json_incref(jobs), true, NULL), ERR_LIMIT);
    assert_string_equal(b.error.text, "after: 1001 jobs would come after p; at most 1000");
    json_object_del(jobs, "child-7");
    assert_int_equal(bench_try_apply(json_incref(jobs), false, NULL), 0);
    bench_settle();
    /* one at a time, too; and what is there may be applied again */
    assert_int_equal(bench_try_apply(children(7, 1, "p"), false, NULL), ERR_LIMIT);
    assert_string_equal(b.error.text, "after: 1001 jobs would come after p; at most 1000");
    assert_int_equal(bench_try_apply(jobs, false, NULL), 0);
    assert_int_equal(bench_try_apply(children(8, 1, "child-9"), false, NULL), 0);
    assert_int_equal(bench_try_apply(children(7, 1, "p"), false, NULL), 0);
}

/* ---- backfill ---- */

#define BACKFILL_RANGE 10000 /* fire times; more are refused */

/* Every second of that time, of which history has every one. Takes the reference to `existing`. */
static int backfill(int64_t seconds, json_t *existing, bool dry, json_t **ret_reply)
{
    char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];
    struct scheduler_result result = {0};
    json_t *body;
    int rc;

    instant_format(b.now_ms - (seconds + 10) * 1000, INSTANT_S, from, sizeof(from));
    instant_format(b.now_ms - 10000 - 1000, INSTANT_S, to, sizeof(to));
    body = json_pack("{s:s,s:s,s:o,s:b}", "from", from, "to", to, "existing", existing, "dry_run", dry);
    rc = scheduler_backfill(b.scheduler, "each", body, "test", &result);
    b.error = result.error;
    json_decref(body);
    *ret_reply = result.reply;
    return rc;
}

static json_t *seconds_before(int64_t seconds)
{
    json_t *times = json_array();

    for (int64_t i = 0; i < seconds; i++)
        json_array_append_new(times, json_integer(b.now_ms - (seconds + 10 - i) * 1000));
    return times;
}

/* Three walks side by side: the range, what has run, what other backfills have on their lists. */
static void a_backfill_is_one_walk(void **state)
{
    json_t *reply;
    int64_t since_us;

    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:s}}", "each", "image", "x", "schedule", "@every 1s"), false,
                        NULL),
        0);
    b.now_ms += (BACKFILL_RANGE + 1000) * 1000; /* skipped, as nobody was there */
    bench_settle();
    since_us = cpu_us();
    assert_int_equal(backfill(BACKFILL_RANGE, seconds_before(BACKFILL_RANGE), true, &reply), 0);
    assert_cpu_below(since_us, 200, "10000 fire times, all of them run");
    assert_int_equal(json_integer_value(json_object_get(reply, "count")), 0);
    json_decref(reply);
    assert_int_equal(backfill(4000, json_array(), false, &reply), 0);
    assert_in_range(json_integer_value(json_object_get(reply, "count")), 3999,
                    4000); /* one may wait to be run */
    json_decref(reply);
    since_us = cpu_us();
    assert_int_equal(backfill(BACKFILL_RANGE, seconds_before(BACKFILL_RANGE - 3990), true, &reply), 0);
    assert_cpu_below(since_us, 200, "beside another backfill");
    json_decref(reply);
}

static void the_range_of_a_backfill_is_bounded_first(void **state)
{
    int64_t since_us;
    json_t *reply;

    assert_int_equal(
        bench_try_apply(json_pack("{s:{s:s,s:s}}", "each", "image", "x", "schedule", "* * * * *"), false,
                        NULL),
        0);
    since_us = cpu_us();
    assert_int_equal(backfill(INT64_C(86400) * 365 * 50, json_array(), true, &reply), ERR_LIMIT);
    assert_cpu_below(since_us, 20, "a range of fifty years");
    assert_string_equal(b.error.text, "more than 10000 fire times in the range; take a shorter one");
}

/* ---- reads ---- */

#define MANY 20000

/* Sorted without one large sort, and each call is short. */
static void a_walk_over_many_jobs_takes_short_steps(void **state)
{
    struct scheduler_walk *walk;
    int64_t worst_us = 0, before_us;
    char last_next[64] = "";
    const char *name;
    json_t *row;
    int rows = 0, r;

    bench_fill(MANY, NULL);
    walk = scheduler_jobs_walk(b.scheduler, NULL, SCHEDULER_JOB_FIELDS_ALL);
    do {
        before_us = cpu_us();
        r = scheduler_walk_next(walk, &name, &row);
        worst_us = cpu_us() - before_us > worst_us ? cpu_us() - before_us : worst_us;
        if (row) {
            const char *next = json_string_value(json_object_get(row, "next"));

            assert_true(strcmp(next, last_next) >= 0);
            snprintf(last_next, sizeof(last_next), "%s", next);
            rows++;
        }
        json_decref(row);
    } while (r == 0);
    assert_int_equal(r, 1);
    assert_int_equal(rows, MANY);
    print_message("the longest step: %lld us\n", (long long)worst_us);
    assert_true(worst_us < patience_ms(20) * 1000);
    scheduler_walk_free(walk);
}

/* As many as the history has room for, and no job is left out for ever. */
static void every_job_is_pruned_in_its_turn(void **state)
{
    int count = SCHEDULER_PRUNED_MAX + 2000;

    bench_fill(count, NULL);
    scheduler_prune(b.scheduler);
    assert_int_equal(pruned, SCHEDULER_PRUNED_MAX);
    scheduler_prune(b.scheduler);
    assert_int_equal(pruned, count);
    scheduler_prune(b.scheduler);
    assert_int_equal(pruned, count + SCHEDULER_PRUNED_MAX);
}

static void a_walk_ends_with_its_state(void **state)
{
    struct scheduler_walk *walk;
    struct error why = {.code = ERR_DEPOSED};
    const char *name;
    json_t *row;

    bench_fill(10, NULL);
    walk = scheduler_defs_walk(b.scheduler, NULL);
    assert_int_equal(scheduler_walk_next(walk, &name, &row), 0);
    json_decref(row);
    scheduler_journal_events.deposed(b.scheduler, &why);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    assert_int_equal(scheduler_walk_next(walk, &name, &row), ERR_DEPOSED);
    scheduler_walk_free(walk);
}

/* The names of many jobs, as long as they may be, and one that is as long. */
static void a_name_is_compared_with_so_many(void **state)
{
    char name[JOB_NAME_MAX + 1];
    json_t *jobs = json_object();
    int64_t since_us;

    memset(name, 'a', JOB_NAME_MAX);
    name[JOB_NAME_MAX] = '\0';
    for (int i = 0; i < 5000; i++) {
        snprintf(name + JOB_NAME_MAX - 10, 11, "%010u", (unsigned)i);
        json_object_set_new(jobs, name, json_pack("{s:s}", "image", "x"));
    }
    assert_int_equal(bench_try_apply(jobs, false, NULL), 0);
    memset(name, 'b', JOB_NAME_MAX);
    since_us = cpu_us();
    assert_null(scheduler_near_job(b.scheduler, name));
    assert_cpu_below(since_us, 50, "a name like 5000 others");
    assert_null(scheduler_near_job(b.scheduler, "x"));
}

/* ---- all jobs at once ---- */

static bool is_paused(void)
{
    json_t *status = scheduler_status_json(b.scheduler);
    bool paused = json_is_true(json_object_get(status, "paused"));

    json_decref(status);
    return paused;
}

/* Turns until all are; the longest of them is in longest_us. */
static int64_t longest_us;

static int until_paused(void)
{
    int turns = 0;

    for (longest_us = 0; turns < 1000 && !is_paused(); turns++) {
        int64_t before_us = cpu_us();

        bench_settle();
        longest_us = cpu_us() - before_us > longest_us ? cpu_us() - before_us : longest_us;
    }
    assert_true(is_paused());
    return turns;
}

/* No entry looks at all of them: a pause concerns those that have something due, and a resume has the others wait. */
static void all_jobs_are_paused_and_resumed_in_pieces(void **state)
{
    struct scheduler_result result = {0};
    int64_t since_us, worst_us = 0;

    bench_fill(MANY, NULL);
    bench_settle();
    for (int i = 0; i < 200; i++)
        bench_settle();
    since_us = cpu_us();
    assert_int_equal(scheduler_pause(b.scheduler, NULL, b.now_ms + 5000, "test", "test", &result), 0);
    assert_cpu_below(since_us, 50, "a pause of 20000 jobs");
    json_decref(result.reply);
    assert_in_range(until_paused(), 1, 10);
    result = (struct scheduler_result){0};
    since_us = cpu_us();
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), 0);
    assert_cpu_below(since_us, 50, "a resume");
    json_decref(result.reply);
    for (int i = 0; i < 200; i++) {
        int64_t before_us = cpu_us();

        b.now_ms += 10;
        bench_settle();
        worst_us = cpu_us() - before_us > worst_us ? cpu_us() - before_us : worst_us;
    }
    print_message("the longest turn after it: %lld us\n", (long long)worst_us);
    assert_true(worst_us < patience_ms(50) * 1000);
}

static void on_resumed(void *arg, int result)
{
    *(int *)arg = result;
}

/* Each of them has fire times in the pause: a record for each, some in a turn. The client hears of the last one. */
static void a_resume_of_jobs_that_are_due_is_in_pieces(void **state)
{
    enum { DUE = 5000 };
    struct scheduler_result result = {0};
    int64_t before_us, worst_us = 0;
    int resumed = 1, turns = 0;

    bench_fill(DUE, "* * * * *");
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
    until_paused();
    b.now_ms += 150 * 1000;
    bench_settle();
    result = (struct scheduler_result){0};
    before_us = cpu_us();
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), 0);
    assert_cpu_below(before_us, 50, "the begin of a resume of 5000 jobs that are due");
    json_decref(result.reply);
    assert_true(result.index == SCHEDULER_INDEX_LATER);
    scheduler_wait(b.scheduler, result.index, on_resumed, &resumed);
    result = (struct scheduler_result){0};
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), ERR_BUSY);
    for (; turns < 200 && is_paused(); turns++) {
        assert_int_equal(resumed, 1);
        before_us = cpu_us();
        bench_settle();
        worst_us = cpu_us() - before_us > worst_us ? cpu_us() - before_us : worst_us;
    }
    assert_in_range(turns, 5, 100);
    assert_int_equal(resumed, 0);
    print_message("the longest of %d turns: %lld us\n", turns, (long long)worst_us);
    assert_true(worst_us < patience_ms(50) * 1000);
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
}

/* A leader that goes in the midst of it: the client does not know, the jobs are paused, and the next resume goes on. */
static void a_resume_that_was_cut_is_repeated(void **state)
{
    struct error why = {.code = ERR_DEPOSED};
    struct scheduler_result result = {0};
    int resumed = 1;

    bench_fill(2000, "* * * * *");
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
    b.now_ms += 150 * 1000;
    bench_settle();
    result = (struct scheduler_result){0};
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), 0);
    json_decref(result.reply);
    scheduler_wait(b.scheduler, result.index, on_resumed, &resumed);
    bench_settle();
    assert_int_equal(resumed, 1);
    scheduler_journal_events.deposed(b.scheduler, &why);
    assert_int_equal(resumed, ERR_DEPOSED);
    scheduler_tick(b.scheduler);
    assert_true(is_paused());
}

/* What was paused until a time goes on then, though no job is due. */
static void a_pause_of_all_ends_in_its_time(void **state)
{
    struct scheduler_result result = {0};
    json_t *status;

    bench_fill(10, NULL);
    bench_settle();
    assert_int_equal(scheduler_pause(b.scheduler, NULL, b.now_ms + 5000, "test", "test", &result), 0);
    json_decref(result.reply);
    bench_settle();
    assert_in_range(b.wake_ms, b.now_ms, b.now_ms + 5000);
    b.now_ms += 5000;
    bench_settle();
    status = scheduler_status_json(b.scheduler);
    assert_true(json_is_false(json_object_get(status, "paused")));
    json_decref(status);
}

/* ---- a clock that was ahead ---- */

#define ASKED_MAX 1000

static struct {
    struct history_ops ops;
    struct {
        enum history_query_kind kind;
        void (*answer)(void *arg, json_t *result, const struct error *error);
        void *arg;
    } asked[ASKED_MAX];
    size_t count, most; /* questions that wait */
    int skips;          /* questions of that kind, ever */
} past;

static void past_query(struct history *asked, const struct history_query *query,
                       void (*answer)(void *arg, json_t *result, const struct error *error), void *arg)
{
    assert_true(past.count < ASKED_MAX);
    past.asked[past.count].kind = query->kind;
    past.asked[past.count].answer = answer;
    past.asked[past.count++].arg = arg;
    past.most = past.count > past.most ? past.count : past.most;
    past.skips += query->kind == HISTORY_SKIPS;
}

/* The oldest question gets this. Takes the reference. */
static void past_answer(json_t *result)
{
    void (*answer)(void *arg, json_t *result, const struct error *error) = past.asked[0].answer;
    void *arg = past.asked[0].arg;

    memmove(&past.asked[0], &past.asked[1], --past.count * sizeof(past.asked[0]));
    answer(arg, result, NULL);
}

/* These jobs have gone on for so long by a clock that was ahead, and it is right again. */
static void be_ahead(json_t *jobs, int64_t ms)
{
    past.ops = history_ops;
    past.ops.query = past_query;
    past.count = past.most = 0;
    past.skips = 0;
    history.ops = &past.ops;
    assert_int_equal(bench_try_apply(jobs, false, NULL), 0);
    bench_settle();
    b.now_ms += ms;
    for (int i = 0; i < 50; i++) {
        bench_settle();
        b.now_ms += 1000;
    }
    b.now_ms -= ms;
    bench_settle();
}

/* Ten hours in a thousand ranges: each is looked at once, whatever their number. */
static void what_a_clock_passed_over_is_gathered_in_one_walk(void **state)
{
    json_t *ranges = json_array(), *fired = json_array();
    char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];
    int64_t since_us, at_ms;

    be_ahead(json_pack("{s:{s:s,s:s}}", "each", "image", "x", "schedule", "@every 1s"), 36000 * 1000);
    assert_true(past.count > 0 && past.asked[0].kind == HISTORY_SKIPS);
    for (int i = 0; i < 1000; i++) {
        at_ms = b.now_ms + i * 36000;
        json_array_append_new(ranges, json_pack("{s:s,s:s,s:s,s:s}", "reason", "coalesced", "time",
                                                "2030-01-01T00:00:00Z", "from",
                                                instant_format(at_ms, INSTANT_S, from, sizeof(from)), "to",
                                                instant_format(at_ms + 30000, INSTANT_S, to, sizeof(to))));
        for (int k = 0; k < 25; k++)
            json_array_append_new(fired, json_integer(at_ms / 1000 * 1000 + k * 1000));
    }
    past_answer(ranges);
    assert_true(past.count > 0);
    while (past.count > 0 && past.asked[0].kind != HISTORY_FIRED)
        past_answer(json_array());
    assert_true(past.count > 0);
    since_us = cpu_us();
    past_answer(json_pack("{s:o}", "times", fired));
    assert_cpu_below(since_us, 400, "36000 fire times in 1000 ranges");
    while (past.count > 0)
        past_answer(json_array());
}

/* History refuses too many questions at once: they are asked some at a time, and all are asked. */
static void all_jobs_ask_history_in_their_turn(void **state)
{
    json_t *jobs = json_object();
    char name[32];

    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof(name), "job-%03d", i);
        json_object_set_new(jobs, name, json_pack("{s:s,s:s}", "image", "x", "schedule", "* * * * *"));
    }
    be_ahead(jobs, 7200 * 1000);
    for (int i = 0; i < 5000 && past.count > 0; i++) {
        past_answer(json_array());
        bench_settle();
    }
    assert_int_equal(past.count, 0);
    assert_in_range(past.most, 0, 100);
    assert_int_equal(past.skips, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layers_are_walked_once, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_chain_of_ten_thousand_is_fine, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(circles_and_missing_parents_are_told, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(an_apply_has_so_many_jobs_at_most, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(so_many_jobs_come_after_one, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_backfill_is_one_walk, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_walk_over_many_jobs_takes_short_steps, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(every_job_is_pruned_in_its_turn, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_walk_ends_with_its_state, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_name_is_compared_with_so_many, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(all_jobs_are_paused_and_resumed_in_pieces, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_resume_of_jobs_that_are_due_is_in_pieces, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_resume_that_was_cut_is_repeated, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_pause_of_all_ends_in_its_time, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(the_range_of_a_backfill_is_bounded_first, setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_a_clock_passed_over_is_gathered_in_one_walk, setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(all_jobs_ask_history_in_their_turn, setup, bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
