/* The null engine keeps the contract of jobs/engine/engine.h. */
#include "cronsched/engines/null.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ANSWERS_MAX 64

struct world {
    struct engine_host host; /* first */
    uv_loop_t loop;
    struct engine *engine;
    struct engine_answer answers[ANSWERS_MAX];
    char ids[ANSWERS_MAX][160];
    int count;
    bool keep;
    int64_t epoch;
    uint64_t ticket;
};

static struct world w;
static struct job *job;

static void on_answer(struct engine_host *host, const struct engine_answer *answer)
{
    assert_true(w.count < ANSWERS_MAX);
    snprintf(w.ids[w.count], sizeof(w.ids[0]), "%s", answer->id ? answer->id : "");
    w.answers[w.count++] = *answer;
}

static bool keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    return w.keep;
}

static int64_t now_ms(struct engine_host *host)
{
    return 1000 + w.count;
}

static int64_t epoch(struct engine_host *host)
{
    return w.epoch;
}

static const char *cluster(struct engine_host *host)
{
    return "c";
}

static void new_engine(int64_t delay_ms, int exit_code)
{
    const struct null_engine_options options = {.name = "none", .delay_ms = delay_ms, .exit_code = exit_code};

    assert_int_equal(null_engine_new(&w.engine, &w.loop, &options, &w.host, NULL), 0);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_engine(void)
{
    bool closed = false;

    w.engine->ops->close(w.engine, on_closed, &closed);
    while (!closed)
        uv_run(&w.loop, UV_RUN_ONCE);
}

static int set_up(void **state)
{
    memset(&w, 0, sizeof(w));
    w.host = (struct engine_host){on_answer, keep, now_ms, epoch, cluster, NULL};
    w.epoch = 1;
    w.keep = true;
    uv_loop_init(&w.loop);
    job = job_new("report");
    new_engine(0, 3);
    return job ? 0 : -1;
}

static int tear_down(void **state)
{
    close_engine();
    job_unref(job);
    return uv_loop_close(&w.loop);
}

static uint64_t submit(enum engine_op op, const char *name, const char *id, bool may_have_run)
{
    struct engine_request r = {.ticket = ++w.ticket,
                               .job = job,
                               .run = "report@20261122T030000Z",
                               .attempt = 1,
                               .try = 1,
                               .epoch = w.epoch,
                               .name = name,
                               .id = id,
                               .may_have_run = may_have_run};
    int before = w.count;

    w.engine->ops->submit(w.engine, op, &r);
    assert_int_equal(w.count, before); /* never from within */
    return r.ticket;
}

static struct engine_answer *wait_for(uint64_t ticket)
{
    for (int turns = 0; turns < 1000; turns++) {
        for (int i = 0; i < w.count; i++)
            if (w.answers[i].ticket == ticket)
                return &w.answers[i];
        uv_run(&w.loop, UV_RUN_ONCE);
    }
    fail_msg("no answer to %llu", (unsigned long long)ticket);
    return NULL;
}

static const char *prepare(const char *name)
{
    struct engine_answer *a = wait_for(submit(ENGINE_PREPARE, name, NULL, false));

    assert_int_equal(a->event, ENGINE_PREPARED);
    assert_non_null(a->boot_id);
    return w.ids[a - w.answers];
}

static enum engine_event ask(enum engine_op op, const char *id, bool may_have_run)
{
    return wait_for(submit(op, "cs-1", id, may_have_run))->event;
}

static void test_life(void **state)
{
    const char *id = prepare("cs-1");
    struct engine_answer *a;

    assert_string_equal(prepare("cs-1"), id); /* twice is once */
    assert_int_equal(ask(ENGINE_RELEASE, id, false), ENGINE_STARTED);
    assert_int_equal(ask(ENGINE_RELEASE, id, false), ENGINE_UNKNOWN);
    a = wait_for(submit(ENGINE_WATCH, "cs-1", id, false));
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 3);
    assert_string_equal(a->cause, "exit");
    assert_true(a->started_ms > 0 && a->at_ms >= a->started_ms);
    assert_int_equal(ask(ENGINE_FENCE, id, true), ENGINE_ENDED);
}

static void test_fence(void **state)
{
    const char *id = prepare("cs-1");

    assert_int_equal(ask(ENGINE_FENCE, id, true), ENGINE_NEVER_RAN);
    assert_int_equal(ask(ENGINE_RELEASE, id, false), ENGINE_UNKNOWN);
    assert_int_equal(ask(ENGINE_WATCH, id, false), ENGINE_UNKNOWN);
    assert_int_equal(ask(ENGINE_FENCE, "cs-1@elsewhere", false), ENGINE_NEVER_RAN);
    assert_int_equal(ask(ENGINE_FENCE, "cs-1@elsewhere", true), ENGINE_UNKNOWN);
}

static void test_stop_ends_a_long_one(void **state)
{
    const char *id;
    uint64_t watch;

    close_engine();
    new_engine(3600 * 1000, 0);
    id = prepare("cs-1");
    assert_int_equal(ask(ENGINE_RELEASE, id, false), ENGINE_STARTED);
    watch = submit(ENGINE_WATCH, "cs-1", id, false);
    assert_int_equal(ask(ENGINE_FENCE, id, true), ENGINE_STARTED);
    assert_int_equal(ask(ENGINE_STOP, id, false), ENGINE_DONE);
    assert_int_equal(wait_for(watch)->exit_code, 143);
}

static void test_discard_and_abandon(void **state)
{
    const char *id = prepare("cs-1");

    assert_int_equal(ask(ENGINE_DISCARD, id, false), ENGINE_DONE);
    assert_int_equal(ask(ENGINE_FENCE, id, true), ENGINE_UNKNOWN); /* it is forgotten */
    submit(ENGINE_PREPARE, "cs-2", NULL, false);
    w.engine->ops->abandon(w.engine);
    w.count = 0;
    prepare("cs-3");
    assert_int_equal(w.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_fence),
        TEST(test_stop_ends_a_long_one),
        TEST(test_discard_and_abandon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
