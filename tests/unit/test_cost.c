/* What a request may cost the loop: the scheduler's commands with the largest input that they take. The time is that of
 * the processor, so a machine that is busy with others is not slow by it; the bounds are those of a fast machine without
 * optimisation, far above what is seen there and far below what grows in another way than its input.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/definition/after.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/patience.h"

#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct bench {
    struct scheduler_env env;
    struct journal journal;
    struct engine table;
    struct engine *engines[1];
    struct zoneinfo *zones;
    struct scheduler *scheduler;
    int64_t now_ms, wake_ms;
    uint64_t appended;
    int64_t max_state_bytes;
    int snapshots;
    struct history history;
    int pruned;           /* so often a job's history was */
    char run[RUN_ID_MAX]; /* the last that was triggered */
    struct error error;   /* of the last command that failed */
};

static struct bench b;

/* ---- the tables that the scheduler is given: nothing ever runs ---- */

static int64_t env_wall_ms(struct scheduler_env *env)
{
    return b.now_ms;
}

static uint64_t env_random(struct scheduler_env *env)
{
    return 4;
}

static void env_wake_at(struct scheduler_env *env, int64_t wall_ms)
{
    b.wake_ms = wall_ms;
}

static void env_log(struct scheduler_env *env, enum log_level level, const char *event, const char *job,
                    const char *run, const char *text)
{
    if (level == LOG_ERROR)
        fail_msg("%s: %s", event, text);
}

static int journal_append(struct journal *journal, struct batch *batch)
{
    b.appended = batch->index;
    batch_free(batch);
    return 0;
}

static void journal_snapshot(struct journal *journal, char *text, size_t size, uint64_t index, int level)
{
    b.snapshots++;
    free(text);
}

static bool journal_may_act(const struct journal *journal)
{
    return true;
}

static void journal_status(const struct journal *journal, struct journal_status *ret)
{
    *ret = (struct journal_status){.leading = true, .level = RECORD_LEVEL};
}

static const struct journal_ops journal_ops = {.append = journal_append,
                                               .snapshot = journal_snapshot,
                                               .may_act = journal_may_act,
                                               .status = journal_status};

static void history_take(struct history *history, struct history_write *write)
{
    history_write_free(write);
}

static void history_prune(struct history *history, const char *job, int keep_runs, int64_t older_than_ms)
{
    b.pruned++;
}

static uint64_t history_applied(const struct history *history)
{
    return UINT64_MAX;
}

static const struct history_ops history_ops = {
    .write = history_take, .prune = history_prune, .applied = history_applied};

static int engine_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return 0;
}

static void engine_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
}

static void engine_status(const struct engine *engine, struct engine_status *ret)
{
    *ret = (struct engine_status){.reachable = true};
}

static void engine_abandon(struct engine *engine)
{
}

static const struct engine_ops engine_ops = {
    .check = engine_check, .submit = engine_submit, .abandon = engine_abandon, .status = engine_status};

static void settle(void)
{
    uint64_t acked = 0;

    scheduler_tick(b.scheduler);
    scheduler_flush(b.scheduler);
    while (acked < b.appended) {
        acked = b.appended;
        scheduler_journal_events.acked(b.scheduler, acked);
        scheduler_flush(b.scheduler);
    }
}

static void begin(void)
{
    struct scheduler_options o = {.replica = "r",
                                  .cluster_uuid = "c",
                                  .default_engine = "e",
                                  .engine_count = 1,
                                  .arm_ahead_ms = 30000,
                                  .late_grace_ms = 60000,
                                  .resolve_within_ms = 3600000};

    int64_t max_state_bytes = b.max_state_bytes;

    b = (struct bench){.now_ms = 1763800000000,
                       .env = {env_wall_ms, env_random, env_wake_at, env_log},
                       .journal = {.ops = &journal_ops},
                       .history = {.ops = &history_ops},
                       .table = {.ops = &engine_ops, .name = "e", .type = "test", .max_armed = 4},
                       .engines = {&b.table}};
    assert_int_equal(zoneinfo_new(&b.zones, "/usr/share/zoneinfo", NULL), 0);
    o.engines = b.engines;
    o.history = &b.history;
    o.zones = zoneinfo_source(b.zones);
    o.env = &b.env;
    o.max_state_bytes = max_state_bytes;
    b.scheduler = scheduler_new(&o);
    scheduler_set_journal(b.scheduler, &b.journal);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    scheduler_journal_events.lead(b.scheduler, 1, "start");
    settle();
}

static int setup(void **state)
{
    b.max_state_bytes = 0;
    begin();
    return 0;
}

static int teardown(void **state)
{
    scheduler_free(b.scheduler);
    zoneinfo_free(b.zones);
    return 0;
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

/* Takes the reference to `jobs`. */
static int apply(json_t *jobs, bool dry, json_t **ret_reply)
{
    json_t *body = json_pack("{s:o,s:b}", "jobs", jobs, "dry_run", dry);
    struct scheduler_result result = {0};
    int rc = scheduler_apply(b.scheduler, body, "test", &result);

    b.error = result.error;
    json_decref(body);
    json_decref(result.details);
    if (ret_reply)
        *ret_reply = result.reply;
    else
        json_decref(result.reply);
    return rc;
}

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
    assert_int_equal(apply(all, true, NULL), 0);
    assert_cpu_below(since_us, 2500, "a dry run of them");
    while (n > 0)
        job_unref(jobs[--n]);
}

static void a_chain_of_ten_thousand_is_fine(void **state)
{
    json_t *jobs = layers(10000, 1);
    int64_t since_us = cpu_us();

    assert_int_equal(apply(jobs, false, NULL), 0);
    assert_cpu_below(since_us, 8000, "apply of a chain of 10000");
    settle();
    since_us = cpu_us();
    assert_int_equal(apply(json_pack("{s:o}", "l9999-0", layered_job(9999, 1)), true, NULL), 0);
    assert_cpu_below(since_us, 100, "its last job again");
    assert_int_equal(
        apply(json_pack("{s:{s:s,s:[s]}}", "l0-0", "image", "x", "after", "l9999-0"), true, NULL),
        ERR_INVALID);
    assert_non_null(strstr(b.error.text, "l1-0: after: a cycle of 10000 jobs: l0-0 after l9999-0 after "));
}

static void circles_and_missing_parents_are_told(void **state)
{
    assert_int_equal(
        apply(json_pack("{s:{s:s,s:[s]},s:{s:s,s:[s]},s:{s:s,s:[s]}}", "a", "image", "x", "after", "b", "b",
                        "image", "x", "after", "c", "c", "image", "x", "after", "a"),
              true, NULL),
        ERR_INVALID);
    assert_string_equal(b.error.text, "c: after: a cycle: a after b after c after a");
    assert_int_equal(apply(json_pack("{s:{s:s,s:[s]}}", "a", "image", "x", "after", "q"), true, NULL),
                     ERR_INVALID);
    assert_string_equal(b.error.text, "a: after: there is no job q");
    assert_int_equal(
        apply(json_pack("{s:{s:s},s:{s:s,s:[s]}}", "p", "image", "x", "c", "image", "x", "after", "p"), false,
              NULL),
        0);
    /* through what is there already */
    assert_int_equal(apply(json_pack("{s:{s:s,s:[s]}}", "p", "image", "x", "after", "c"), true, NULL),
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
    assert_int_equal(apply(jobs, true, NULL), ERR_LIMIT);
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
    assert_int_equal(apply(json_incref(jobs), true, NULL), ERR_LIMIT);
    assert_string_equal(b.error.text, "after: 1001 jobs would come after p; at most 1000");
    json_object_del(jobs, "child-7");
    assert_int_equal(apply(json_incref(jobs), false, NULL), 0);
    settle();
    /* one at a time, too; and what is there may be applied again */
    assert_int_equal(apply(children(7, 1, "p"), false, NULL), ERR_LIMIT);
    assert_string_equal(b.error.text, "after: 1001 jobs would come after p; at most 1000");
    assert_int_equal(apply(jobs, false, NULL), 0);
    assert_int_equal(apply(children(8, 1, "child-9"), false, NULL), 0);
    assert_int_equal(apply(children(7, 1, "p"), false, NULL), 0);
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
        apply(json_pack("{s:{s:s,s:s}}", "each", "image", "x", "schedule", "@every 1s"), false, NULL), 0);
    b.now_ms += (BACKFILL_RANGE + 1000) * 1000; /* skipped, as nobody was there */
    settle();
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
        apply(json_pack("{s:{s:s,s:s}}", "each", "image", "x", "schedule", "* * * * *"), false, NULL), 0);
    since_us = cpu_us();
    assert_int_equal(backfill(INT64_C(86400) * 365 * 50, json_array(), true, &reply), ERR_LIMIT);
    assert_cpu_below(since_us, 20, "a range of fifty years");
    assert_string_equal(b.error.text, "more than 10000 fire times in the range; take a shorter one");
}

/* ---- reads ---- */

#define MANY 20000

static void fill_with(int count, const char *every)
{
    for (int at = 0; at < count; at += SCHEDULER_APPLY_JOBS_MAX) {
        json_t *jobs = json_object();
        char name[32], schedule[32];

        for (int i = at; i < at + SCHEDULER_APPLY_JOBS_MAX && i < count; i++) {
            snprintf(name, sizeof(name), "job-%06d", i);
            snprintf(schedule, sizeof(schedule), "%d 4 1 %d *", i % 60, 1 + i % 12);
            json_object_set_new(jobs, name,
                                json_pack("{s:s,s:s}", "image", "x", "schedule", every ? every : schedule));
        }
        assert_int_equal(apply(jobs, false, NULL), 0);
        settle();
    }
}

static void fill(int count)
{
    fill_with(count, NULL);
}

/* Sorted without one large sort, and each call is short. */
static void a_walk_over_many_jobs_takes_short_steps(void **state)
{
    struct scheduler_walk *walk;
    int64_t worst_us = 0, before_us;
    char last_next[64] = "";
    const char *name;
    json_t *row;
    int rows = 0, r;

    fill(MANY);
    walk = scheduler_jobs_walk(b.scheduler);
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

    fill(count);
    scheduler_prune(b.scheduler);
    assert_int_equal(b.pruned, SCHEDULER_PRUNED_MAX);
    scheduler_prune(b.scheduler);
    assert_int_equal(b.pruned, count);
    scheduler_prune(b.scheduler);
    assert_int_equal(b.pruned, count + SCHEDULER_PRUNED_MAX);
}

static void a_walk_ends_with_its_state(void **state)
{
    struct scheduler_walk *walk;
    struct error why = {.code = ERR_DEPOSED};
    const char *name;
    json_t *row;

    fill(10);
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
    assert_int_equal(apply(jobs, false, NULL), 0);
    memset(name, 'b', JOB_NAME_MAX);
    since_us = cpu_us();
    assert_null(scheduler_near_job(b.scheduler, name));
    assert_cpu_below(since_us, 50, "a name like 5000 others");
    assert_null(scheduler_near_job(b.scheduler, "x"));
}

/* ---- all jobs at once ---- */

/* No entry looks at all of them: a pause concerns those that have something due, and a resume has the others wait. */
static void all_jobs_are_paused_and_resumed_in_pieces(void **state)
{
    struct scheduler_result result = {0};
    int64_t since_us, worst_us = 0;

    fill(MANY);
    settle();
    for (int i = 0; i < 200; i++)
        settle();
    since_us = cpu_us();
    assert_int_equal(scheduler_pause(b.scheduler, NULL, b.now_ms + 5000, "test", "test", &result), 0);
    assert_cpu_below(since_us, 50, "a pause of 20000 jobs");
    json_decref(result.reply);
    settle();
    result = (struct scheduler_result){0};
    since_us = cpu_us();
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), 0);
    assert_cpu_below(since_us, 50, "a resume");
    json_decref(result.reply);
    for (int i = 0; i < 200; i++) {
        int64_t before_us = cpu_us();

        b.now_ms += 10;
        settle();
        worst_us = cpu_us() - before_us > worst_us ? cpu_us() - before_us : worst_us;
    }
    print_message("the longest turn after it: %lld us\n", (long long)worst_us);
    assert_true(worst_us < patience_ms(50) * 1000);
}

static void on_resumed(void *arg, int result)
{
    *(int *)arg = result;
}

static bool is_paused(void)
{
    json_t *status = scheduler_status_json(b.scheduler);
    bool paused = json_is_true(json_object_get(status, "paused"));

    json_decref(status);
    return paused;
}

/* Each of them has fire times in the pause: a record for each, some in a turn. The client hears of the last one. */
static void a_resume_of_jobs_that_are_due_is_in_pieces(void **state)
{
    enum { DUE = 5000 };
    struct scheduler_result result = {0};
    int64_t before_us, worst_us = 0;
    int resumed = 1, turns = 0;

    fill_with(DUE, "* * * * *");
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
    b.now_ms += 150 * 1000;
    settle();
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
        settle();
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

    fill_with(2000, "* * * * *");
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
    b.now_ms += 150 * 1000;
    settle();
    result = (struct scheduler_result){0};
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), 0);
    json_decref(result.reply);
    scheduler_wait(b.scheduler, result.index, on_resumed, &resumed);
    settle();
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

    fill(10);
    settle();
    assert_int_equal(scheduler_pause(b.scheduler, NULL, b.now_ms + 5000, "test", "test", &result), 0);
    json_decref(result.reply);
    settle();
    assert_in_range(b.wake_ms, b.now_ms, b.now_ms + 5000);
    b.now_ms += 5000;
    settle();
    status = scheduler_status_json(b.scheduler);
    assert_true(json_is_false(json_object_get(status, "paused")));
    json_decref(status);
}

/* ---- growth ---- */

static int trigger(const char *key, const char *param)
{
    json_t *body = json_pack("{s:s*,s:{s:s}}", "key", key, "params", "p", param);
    struct scheduler_result result = {0};
    int rc = scheduler_trigger(b.scheduler, "a", body, "test", &result);

    b.error = result.error;
    snprintf(b.run, sizeof(b.run), "%s",
             rc == 0 ? json_string_value(json_object_get(result.reply, "run")) : "");
    json_decref(body);
    json_decref(result.reply);
    return rc;
}

/* Its key stays. */
static void kill_run(void)
{
    struct scheduler_result result = {0};

    settle();
    scheduler_kill(b.scheduler, b.run, "test", &result);
    json_decref(result.reply);
    settle();
}

static void restart_with(int64_t max_state_bytes)
{
    teardown(NULL);
    b.max_state_bytes = max_state_bytes;
    begin();
    assert_int_equal(
        apply(json_pack("{s:{s:s,s:s}}", "a", "image", "x", "concurrency", "allow"), false, NULL), 0);
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
    fill(100);
}

static void waiting_runs_fill_a_share_of_the_state(void **state)
{
    static char param[15000];
    int taken = 0;

    memset(param, 'p', sizeof(param) - 1);
    restart_with(4 << 20);
    do
        settle();
    while (trigger(NULL, param) == 0 && ++taken < 100000);
    assert_in_range(taken, 100, 200);
    assert_non_null(strstr(b.error.text, "the runs of the state have "));
    fill(100);
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
        taken += apply(json_pack("{s:{s:s,s:s}}", name, "image", "x", "description", text), false, NULL) == 0;
        settle();
    }
    if (taken < 220 || taken > 260)
        fail_msg("%d jobs were taken: %s", taken, b.error.text);
    /* what makes nothing larger is still taken */
    assert_int_equal(apply(json_pack("{s:{s:s}}", "big-0", "image", "x"), false, NULL), 0);
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
            apply(json_pack("{s:{s:s,s:o}}", "big", "image", "x", "command", words), false, NULL), 0);
        settle();
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
            settle();
    assert_int_equal(taken, 10000);
    assert_string_equal(b.error.text, "10000 runs of a have not ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layers_are_walked_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_chain_of_ten_thousand_is_fine, setup, teardown),
        cmocka_unit_test_setup_teardown(circles_and_missing_parents_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_apply_has_so_many_jobs_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(so_many_jobs_come_after_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backfill_is_one_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_walk_over_many_jobs_takes_short_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(every_job_is_pruned_in_its_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_walk_ends_with_its_state, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_is_compared_with_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(all_jobs_are_paused_and_resumed_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resume_of_jobs_that_are_due_is_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resume_that_was_cut_is_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pause_of_all_ends_in_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_fill_a_share_of_the_state, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_runs_fill_a_share_of_the_state, setup, teardown),
        cmocka_unit_test_setup_teardown(an_apply_fills_the_state_and_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_comes_by_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_runs_of_a_job_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(the_range_of_a_backfill_is_bounded_first, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
