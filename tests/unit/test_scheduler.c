/* The scheduler beside an engine and a journal that do what a test says: for what the simulator's engines
 * never do. Their requests are answered by the test, and batches are durable when bench_settle runs.
 */
#include "jobs/base/alloc.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/time/zoneinfo.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct bench {
    struct scheduler_env env;
    struct journal journal;
    struct engine engine;
    struct engine *engines[1];
    struct zoneinfo *zones;
    struct scheduler *scheduler;
    int64_t now_ms;
    uint64_t appended;
    bool asked; /* a request that is not answered yet: */
    enum engine_op op;
    uint64_t ticket;
};

static struct bench b;

/* ---- the tables that the scheduler is given ---- */

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

static int engine_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return 0;
}

static void engine_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    b.asked = true;
    b.op = op;
    b.ticket = request->ticket;
}

static void engine_abandon(struct engine *engine)
{
}

static const struct engine_ops engine_ops = {
    .check = engine_check, .submit = engine_submit, .abandon = engine_abandon};

/* ---- the bench ---- */

static void bench_settle(void)
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

/* Time passes until the engine is asked for that. */
static void bench_until(enum engine_op op)
{
    bench_settle();
    for (int s = 0; !b.asked && s < 60; s++) {
        b.now_ms += 1000;
        bench_settle();
    }
    if (!b.asked || b.op != op)
        fail_msg("the engine is asked for %s, not for %s", b.asked ? engine_op_name(b.op) : "nothing",
                 engine_op_name(op));
}

static void bench_answer(struct engine_answer answer)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);

    assert_true(b.asked);
    b.asked = false;
    answer.ticket = b.ticket;
    host->answer(host, &answer);
    bench_settle();
}

static int setup(void **state)
{
    struct scheduler_options o = {.replica = "r",
                                  .cluster_uuid = "c",
                                  .default_engine = "e",
                                  .engine_count = 1,
                                  .arm_ahead_ms = 30000,
                                  .late_grace_ms = 60000,
                                  .resolve_within_ms = 3600000};

    b = (struct bench){.now_ms = 1763800000000,
                       .env = {env_wall_ms, env_random, env_wake_at, env_log},
                       .journal = {.ops = &journal_ops},
                       .engine = {.ops = &engine_ops, .name = "e", .type = "test", .max_armed = 4},
                       .engines = {&b.engine}};
    assert_int_equal(zoneinfo_new(&b.zones, "/usr/share/zoneinfo", NULL), 0);
    o.engines = b.engines;
    o.zones = zoneinfo_source(b.zones);
    o.env = &b.env;
    b.scheduler = scheduler_new(&o);
    scheduler_set_journal(b.scheduler, &b.journal);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    scheduler_journal_events.lead(b.scheduler, 1, "start");
    bench_settle();
    return 0;
}

static int teardown(void **state)
{
    scheduler_free(b.scheduler);
    zoneinfo_free(b.zones);
    return 0;
}

static void bench_trigger(char run[RUN_ID_MAX])
{
    json_t *body = json_pack("{s:{s:{s:s}}}", "jobs", "a", "image", "x");
    struct scheduler_result result = {0};

    if (scheduler_apply(b.scheduler, body, "test", &result) < 0)
        fail_msg("%s", result.error.text);
    json_decref(body);
    json_decref(result.reply);
    body = json_object();
    if (scheduler_trigger(b.scheduler, "a", body, "test", &result) < 0)
        fail_msg("%s", result.error.text);
    snprintf(run, RUN_ID_MAX, "%s", json_string_value(json_object_get(result.reply, "run")));
    json_decref(body);
    json_decref(result.reply);
    bench_settle();
}

/* ---- tests ---- */

/* An engine is asked over a network, and a peer for its own: its answers are outside input. One that does not
 * fit what was asked proves nothing and harms nothing. */
static void an_answer_that_does_not_fit_is_asked_again(void **state)
{
    static const enum engine_event wrong[][5] = {
        [ENGINE_PREPARE] = {ENGINE_STARTED, ENGINE_ENDED, ENGINE_NEVER_RAN, ENGINE_UNKNOWN, ENGINE_DONE},
        [ENGINE_FENCE] = {ENGINE_PREPARED, ENGINE_DONE, ENGINE_DONE, ENGINE_DONE, ENGINE_DONE},
        [ENGINE_WATCH] = {ENGINE_PREPARED, ENGINE_NEVER_RAN, ENGINE_DONE, ENGINE_DONE, ENGINE_DONE},
    };
    static const struct engine_answer right[] = {
        [ENGINE_PREPARE] = {.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1},
        [ENGINE_FENCE] = {.event = ENGINE_STARTED, .started_ms = 1763800001000, .exit_code = -1},
        [ENGINE_WATCH] = {.event = ENGINE_ENDED, .at_ms = 1763800002000, .exit_code = 0, .cause = "exit"},
    };
    static const enum engine_op order[] = {ENGINE_PREPARE, ENGINE_FENCE, ENGINE_WATCH};
    char run[RUN_ID_MAX];

    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .exit_code = -1}); /* without its id */
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        for (int k = 0; k < 5; k++) {
            bench_until(order[i]);
            bench_answer((struct engine_answer){.event = wrong[order[i]][k], .id = "x", .exit_code = -1});
        }
        bench_until(order[i]);
        bench_answer(right[order[i]]);
        if (order[i] == ENGINE_PREPARE) {
            bench_until(ENGINE_RELEASE); /* which may have started it: fenced, and not sent again */
            bench_answer((struct engine_answer){.event = ENGINE_NEVER_RAN, .exit_code = -1});
        }
    }
    assert_null(scheduler_run_json(b.scheduler, run)); /* it has ended */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_that_does_not_fit_is_asked_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
