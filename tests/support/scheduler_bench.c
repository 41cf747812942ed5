/* See scheduler_bench.h. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>

struct bench b;

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
    b.wake_ms = wall_ms;
}

static void env_log(struct scheduler_env *env, enum log_level level, const char *event, const char *job,
                    const char *run, const char *text)
{
    b.started_early += strcmp(event, "started-early") == 0 && strstr(text, "somebody was first");
    if (level == LOG_ERROR)
        fail_msg("%s: %s", event, text);
}

static int journal_append(struct journal *journal, struct batch *batch)
{
    size_t size;
    char *text = batch_encode(batch, &size);

    snprintf(b.last, sizeof(b.last), "%s", text);
    free(text);
    b.appended = batch->index;
    b.batches++;
    b.largest = batch->bytes > b.largest ? batch->bytes : b.largest;
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
    *ret = (struct journal_status){.leading = true, .level = RECORD_LEVEL, .refused = b.refused};
    snprintf(ret->text, sizeof(ret->text), "%s", b.refused ? b.refused : "");
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
    b.started_ms = request->started_ms;
    b.fire_ms = request->fire_ms;
    b.prepared += op == ENGINE_PREPARE;
    if (op == ENGINE_PREPARE && b.prepared_after_ms)
        assert_true(request->fire_ms > b.prepared_after_ms);
    b.unresolved = request->unresolved;
    snprintf(b.identity, sizeof(b.identity), "%s", request->identity ? request->identity : "");
}

static void engine_status(const struct engine *engine, struct engine_status *ret)
{
    *ret = (struct engine_status){.reachable = true};
    snprintf(ret->identity, sizeof(ret->identity), "%s", b.engine ? b.engine : "");
}

static void engine_abandon(struct engine *engine)
{
}

static const struct engine_ops engine_ops = {
    .check = engine_check, .submit = engine_submit, .abandon = engine_abandon, .status = engine_status};

/* ---- the bench ---- */

void bench_settle(void)
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

void bench_until(enum engine_op op)
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

void bench_answer(struct engine_answer answer)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);

    assert_true(b.asked);
    b.asked = false;
    answer.ticket = b.ticket;
    host->answer(host, &answer);
    bench_settle();
}

int bench_setup(void **state)
{
    struct scheduler_options o = {.replica = "r",
                                  .cluster_uuid = "c",
                                  .default_engine = "e",
                                  .engine_count = 1,
                                  .arm_ahead_ms = 30000,
                                  .late_grace_ms = 60000,
                                  .resolve_within_ms = 3600000};

    b = (struct bench){.now_ms = 1763800000000,
                       .with_history = b.with_history,
                       .max_state_bytes = b.max_state_bytes,
                       .env = {env_wall_ms, env_random, env_wake_at, env_log},
                       .journal = {.ops = &journal_ops},
                       .table = {.ops = &engine_ops, .name = "e", .type = "test", .max_armed = 4},
                       .engines = {&b.table}};
    assert_int_equal(zoneinfo_new(&b.zones, "/usr/share/zoneinfo", NULL), 0);
    o.engines = b.engines;
    o.zones = zoneinfo_source(b.zones);
    o.env = &b.env;
    o.history = b.with_history;
    o.max_state_bytes = b.max_state_bytes;
    b.scheduler = scheduler_new(&o);
    scheduler_set_journal(b.scheduler, &b.journal);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    scheduler_journal_events.lead(b.scheduler, 1, "start");
    bench_settle();
    return 0;
}

int bench_teardown(void **state)
{
    scheduler_free(b.scheduler);
    zoneinfo_free(b.zones);
    b.max_state_bytes = 0;
    return 0;
}

void bench_apply(json_t *body)
{
    struct scheduler_result result = {0};

    if (scheduler_apply(b.scheduler, body, "test", &result) < 0)
        fail_msg("%s", result.error.text);
    json_decref(body);
    json_decref(result.reply);
    bench_settle();
}

int bench_try_apply(json_t *jobs, bool dry, json_t **ret_reply)
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

void bench_fill(int count, const char *every)
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
        assert_int_equal(bench_try_apply(jobs, false, NULL), 0);
        bench_settle();
    }
}

void bench_trigger(char run[RUN_ID_MAX])
{
    json_t *body = json_object();
    struct scheduler_result result = {0};

    bench_apply(json_loads(b.job ? b.job : "{\"jobs\":{\"a\":{\"image\":\"x\"}}}", 0, NULL));
    if (scheduler_trigger(b.scheduler, "a", body, "test", &result) < 0)
        fail_msg("%s", result.error.text);
    snprintf(run, RUN_ID_MAX, "%s", json_string_value(json_object_get(result.reply, "run")));
    json_decref(body);
    json_decref(result.reply);
    bench_settle();
}

void bench_restore(void)
{
    static const char hash[] = "00000000000000000000000000000001";
    struct error why = {.code = ERR_DEPOSED};
    int64_t time_ms = 0;
    int level = 0;
    size_t size;
    char *text;

    scheduler_journal_events.deposed(b.scheduler, &why);
    text = scheduler_state_text(b.scheduler, b.appended + 1, hash, &size, &level, &time_ms);
    assert_non_null(text);
    assert_int_equal(level, RECORD_LEVEL);
    assert_true(time_ms > 0 && time_ms <= b.now_ms);
    b.appended++;
    b.asked = false;
    scheduler_journal_events.restore(b.scheduler, text, size, b.appended);
    free(text);
}

void bench_recover(int64_t lost_ms)
{
    struct journal_recovery recovery = {.from_ms = b.now_ms, .until_ms = b.now_ms + lost_ms, .by = "test"};

    b.now_ms += lost_ms;
    scheduler_journal_events.recovered(b.scheduler, &recovery);
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_settle();
}

void bench_to_release(char run[RUN_ID_MAX])
{
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
}

void bench_pass(int seconds)
{
    while (seconds-- > 0) {
        b.now_ms += 1000;
        bench_settle();
    }
}
