/* The scheduler beside an engine and a journal that do what a test says: for what the simulator's engines
 * never do. Their requests are answered by the test, and batches are durable when bench_settle runs.
 */
#include "jobs/base/alloc.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/state/run_id.h"
#include "jobs/time/zoneinfo.h"

#include <stdio.h>

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
    int64_t now_ms;
    uint64_t appended;
    size_t batches, largest; /* appended; bytes */
    const char *refused;     /* why the journal takes nothing; NULL: it does */
    bool asked;              /* a request that is not answered yet: */
    enum engine_op op;
    uint64_t ticket;
    int64_t started_ms; /* of that request */
    char identity[32];  /* likewise; "": none */
    bool unresolved;    /* likewise */
    const char *engine; /* the identity of the engine; NULL: none */
    const char *job;    /* what bench_trigger applies; NULL: the simplest */
    char last[4096];    /* the last batch, as JSON */
    int64_t fire_ms;
    int prepared;              /* so often it was asked to prepare */
    int64_t prepared_after_ms; /* and never for a fire time up to this; 0: for any */
    int started_early;         /* so often the log said so */
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
                       .table = {.ops = &engine_ops, .name = "e", .type = "test", .max_armed = 4},
                       .engines = {&b.table}};
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

/* Takes the reference. */
static void bench_apply(json_t *body)
{
    struct scheduler_result result = {0};

    if (scheduler_apply(b.scheduler, body, "test", &result) < 0)
        fail_msg("%s", result.error.text);
    json_decref(body);
    json_decref(result.reply);
    bench_settle();
}

static void bench_trigger(char run[RUN_ID_MAX])
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

/* The lead is lost, and the state as it stands given to the same scheduler again, as that of a batch above. */
static void bench_restore(void)
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

/* So much time is lost, and it leads again. */
static void bench_recover(int64_t lost_ms)
{
    struct journal_recovery recovery = {.from_ms = b.now_ms, .until_ms = b.now_ms + lost_ms, .by = "test"};

    b.now_ms += lost_ms;
    scheduler_journal_events.recovered(b.scheduler, &recovery);
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_settle();
}

/* ---- tests ---- */

/* How long before its time an attempt is prepared, on an engine that says so much of itself. */
static int64_t prepared_ahead(int64_t ahead_ms)
{
    b.table.ahead_ms = ahead_ms;
    bench_apply(json_loads("{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"0 0 * * * *\"}}}", 0, NULL));
    for (int s = 0; !b.asked && s < 3600; s++) {
        b.now_ms += 1000;
        bench_settle();
    }
    assert_true(b.asked && b.op == ENGINE_PREPARE);
    return b.fire_ms - b.now_ms;
}

static void attempts_are_prepared_half_a_minute_ahead(void **state)
{
    assert_int_equal(prepared_ahead(0), 30000);
}

static void an_engine_may_want_less_to_be_prepared_ahead(void **state)
{
    assert_int_equal(prepared_ahead(5000), 5000);
}

static void it_is_never_more_than_configured(void **state)
{
    assert_int_equal(prepared_ahead(60000), 30000);
}

/* A run that is being released when its leader is deposed. */
static void bench_release(char run[RUN_ID_MAX])
{
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"retries\":{\"max\":3},\"on_lost\":\"rerun\"}}}";
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_restore();
}

static void what_never_ran_is_prepared_again(void **state)
{
    char run[RUN_ID_MAX];

    bench_release(run);
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_until(ENGINE_FENCE);
    bench_answer((struct engine_answer){.event = ENGINE_NEVER_RAN, .exit_code = -1});
    bench_until(ENGINE_PREPARE);
}

/* In the time that is lost it may have been prepared again, under another name. */
static void what_a_lost_journal_may_have_started_is_not_started_again(void **state)
{
    static const enum engine_event nothing[] = {ENGINE_NEVER_RAN, ENGINE_UNKNOWN, ENGINE_REFUSED};

    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        char run[RUN_ID_MAX];
        int prepared;

        if (i > 0) {
            teardown(NULL);
            setup(NULL);
        }
        bench_release(run);
        prepared = b.prepared;
        bench_recover(60000);
        bench_until(ENGINE_FENCE);
        bench_answer((struct engine_answer){.event = nothing[i], .exit_code = -1});
        assert_null(scheduler_run_json(b.scheduler, run));
        for (int s = 0; s < 300; s++) {
            b.now_ms += 1000;
            bench_settle();
        }
        assert_int_equal(b.prepared, prepared);
        bench_trigger(run); /* what comes later runs */
        bench_until(ENGINE_PREPARE);
    }
}

/* What ended in the lost time may have been retried in it; what ended after it was not. */
static void a_failure_after_the_lost_time_is_retried(void **state)
{
    char run[RUN_ID_MAX];
    json_t *json;
    int prepared;

    for (int after = 0; after < 2; after++) {
        if (after) {
            teardown(NULL);
            setup(NULL);
        }
        bench_release(run);
        prepared = b.prepared;
        bench_recover(60000);
        bench_until(ENGINE_FENCE);
        bench_answer((struct engine_answer){.event = ENGINE_ENDED,
                                            .started_ms = b.now_ms - 59000,
                                            .at_ms = b.now_ms - (after ? -1000 : 30000),
                                            .exit_code = 1,
                                            .cause = "exit"});
        json = scheduler_run_json(b.scheduler, run);
        assert_int_equal(json != NULL, after);
        json_decref(json);
        for (int s = 0; s < 60 && b.prepared == prepared; s++) {
            b.now_ms += 1000;
            bench_settle();
        }
        assert_int_equal(b.prepared, prepared + after);
    }
}

static void fire_times_of_a_lost_journal_are_skipped(void **state)
{
    int64_t until_ms;

    bench_apply(json_pack("{s:{s:{s:s,s:s,s:s,s:s}}}", "jobs", "a", "image", "x", "schedule",
                          "*/10 * * * * *", "catch_up", "all", "concurrency", "allow"));
    bench_until(ENGINE_PREPARE); /* those of the next half minute are reserved, one is being prepared */
    bench_restore();
    until_ms = b.prepared_after_ms = b.now_ms + 600000;
    bench_recover(600000);
    for (int s = 0; s < 60; s++) {
        b.now_ms += 1000;
        bench_settle();
    }
    assert_true(b.asked && b.op == ENGINE_PREPARE);
    assert_true(b.fire_ms > until_ms && b.fire_ms <= until_ms + 40000);
}

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

/* Reaches the state in which the attempt runs and is watched. */
static void bench_run(char run[RUN_ID_MAX])
{
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){
        .event = ENGINE_STARTED, .started_ms = 1763800001000, .exit_code = -1, .text = "somebody was first"});
    bench_until(ENGINE_WATCH);
    assert_int_equal(b.started_ms, 1763800001000);
    assert_int_equal(b.started_early, 1);
}

/* Not the end of the watch: it is told once for each count. */
static void bench_again(int starts)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    struct engine_answer answer = {.ticket = b.ticket,
                                   .event = ENGINE_STARTED,
                                   .started_ms = 1763800009000,
                                   .starts = starts,
                                   .exit_code = -1,
                                   .text = "by hand"};

    host->answer(host, &answer);
    bench_settle();
}

static int64_t starts_of(const char *run)
{
    json_t *json = scheduler_run_json(b.scheduler, run);
    int64_t n;

    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "running");
    n = json_integer_value(json_object_get(json_array_get(json_object_get(json, "attempts"), 0), "starts"));
    json_decref(json);
    return n;
}

/* It is one attempt still, which runs on; the count is on it, and each is journaled once. */
static void one_that_was_started_again_runs_on_and_is_counted(void **state)
{
    char run[RUN_ID_MAX];
    uint64_t before;

    bench_run(run);
    assert_int_equal(starts_of(run), 0); /* once is not worth a word */
    bench_again(2);
    assert_int_equal(starts_of(run), 2);
    before = b.appended;
    bench_again(2);
    assert_int_equal(b.appended, before);
    bench_again(4);
    assert_int_equal(starts_of(run), 4);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 0, .cause = "exit", .starts = 5});
    assert_null(scheduler_run_json(b.scheduler, run));
}

/* After its end, while what somebody started again runs, the job is busy; then it is not. */
static void what_was_started_again_after_its_end_keeps_its_job_busy(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char run[RUN_ID_MAX], next[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"queue\"}}}";
    bench_run(run);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 0, .cause = "exit"});
    host->stray(host, &b.table, run, 1, "id-1", true);
    bench_settle();
    bench_trigger(next);
    for (int s = 0; s < 30; s++) {
        b.now_ms += 1000;
        bench_settle();
        assert_false(b.asked); /* not beside it */
    }
    host->stray(host, &b.table, run, 1, "id-1", false);
    bench_until(ENGINE_PREPARE);
}

/* A fire time is skipped, and says why. */
static void a_fire_time_is_skipped_beside_it(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"0 0 * * *\",\"concurrency\":\"forbid\"}}}";
    bench_run(run);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 0, .cause = "exit"});
    host->stray(host, &b.table, run, 1, "id-1", true);
    b.asked = false;
    b.last[0] = '\0';
    for (int m = 0; m < 16 * 60 && !strstr(b.last, "\"k\":\"skipped\""); m++) {
        b.now_ms += 60000;
        bench_settle();
        if (b.asked && b.op == ENGINE_PREPARE)
            bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-2", .exit_code = -1});
        assert_true(!b.asked || b.op != ENGINE_RELEASE);
        b.asked = false;
    }
    assert_non_null(strstr(b.last, "\"reason\":\"overlap\""));
    assert_non_null(strstr(b.last, "was started again by somebody else"));
}

/* One that is asked for by hand is refused; one that was permitted before, and not started yet, does not start. */
static void nothing_that_forbids_it_starts_beside_what_was_started_again(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    struct scheduler_result result = {0};
    char run[RUN_ID_MAX], next[RUN_ID_MAX];
    json_t *body = json_object(), *json;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"forbid\"}}}";
    bench_run(run);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 0, .cause = "exit"});
    bench_trigger(next);
    bench_until(ENGINE_PREPARE);
    host->stray(host, &b.table, run, 1, "id-1", true);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-2", .exit_code = -1});
    for (int s = 0; s < 30; s++) {
        b.now_ms += 1000;
        bench_settle();
        assert_true(!b.asked || b.op != ENGINE_RELEASE);
    }
    json = scheduler_run_json(b.scheduler, next);
    assert_null(json); /* it has ended, as overlap */
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), ERR_CONFLICT);
    assert_non_null(strstr(result.error.text, "was started again by somebody else"));
    json_decref(body);
}

/* Applies jobs j0, j1, ..., each with a text of so many bytes. */
static int apply_large(int count, size_t bytes, struct scheduler_result *ret)
{
    json_t *jobs = json_object(), *body;
    char *text = alloc_zero(bytes + 1), name[16];
    int rc;

    memset(text, 'x', bytes);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "j%d", i);
        json_object_set_new(jobs, name, json_pack("{s:s, s:[s,s]}", "image", "x", "command", "echo", text));
    }
    body = json_pack("{s:o}", "jobs", jobs);
    *ret = (struct scheduler_result){0};
    rc = scheduler_apply(b.scheduler, body, "test", ret);
    json_decref(ret->reply);
    json_decref(body);
    free(text);
    bench_settle();
    return rc;
}

static void while_the_journal_refuses_commands_are_told_why(void **state)
{
    struct scheduler_result result;

    b.refused = "ZooKeeper refuses appends: its quota is exceeded (-125)";
    assert_int_equal(apply_large(1, 10, &result), ERR_FULL);
    assert_string_equal(result.error.text, b.refused);
    b.refused = NULL;
    assert_int_equal(apply_large(1, 10, &result), 0);
}

static void batches_keep_to_what_the_journal_takes(void **state)
{
    struct scheduler_result result;
    size_t batches = b.batches;

    b.journal.batch_bytes = 32768;
    assert_int_equal(apply_large(40, 4000, &result), 0);
    assert_true(b.largest < 32768);
    assert_true(b.batches - batches > 10);
    assert_int_equal(apply_large(1, 30000, &result), ERR_LIMIT);
    assert_non_null(strstr(result.error.text, "jute.maxbuffer"));
    b.journal.batch_bytes = 0;
    assert_int_equal(apply_large(1, 30000, &result), 0);
}

/* ---- which engine it is ---- */

static void bench_prepared(const char *id, const char *identity)
{
    bench_answer(
        (struct engine_answer){.event = ENGINE_PREPARED, .id = id, .identity = identity, .exit_code = -1});
}

static const char *bench_text(const char *run, const char *key, char ret[512])
{
    json_t *json = scheduler_run_json(b.scheduler, run);
    const char *text = json_string_value(json_object_get(json, key));

    snprintf(ret, 512, "%s", text ? text : "");
    json_decref(json);
    return ret;
}

/* It is in the journal, and comes back with each request. */
static void the_identity_of_the_engine_is_kept(void **state)
{
    char run[RUN_ID_MAX];

    b.engine = "A";
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_prepared("id-1", "A");
    assert_non_null(strstr(b.last, "\"identity\":\"A\""));
    bench_until(ENGINE_RELEASE);
    assert_string_equal(b.identity, "A");
    bench_answer((struct engine_answer){.event = ENGINE_UNKNOWN, .exit_code = -1});
    bench_until(ENGINE_FENCE);
    assert_string_equal(b.identity, "A");
    bench_answer(
        (struct engine_answer){.event = ENGINE_STARTED, .started_ms = 1763800001000, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    assert_string_equal(b.identity, "A");
}

/* It is unresolved, with the reason, until resolve_within; nothing is started beside it. */
static void what_runs_on_an_engine_that_was_replaced_is_unresolved_and_then_lost(void **state)
{
    static const char text[] = "this is another engine (B), the attempt was prepared on A";
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char run[RUN_ID_MAX], buffer[512];
    int64_t since_ms;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"on_lost\":\"rerun\"}}}";
    b.engine = "A";
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_prepared("id-1", "A");
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){.event = ENGINE_STARTED, .started_ms = b.now_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    b.asked = false;
    host->answer(host,
                 &(struct engine_answer){
                     .ticket = b.ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = "no answer"});
    bench_settle();
    since_ms = b.now_ms;
    b.engine = "B";
    host->answer(host, &(struct engine_answer){
                           .ticket = b.ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = text});
    bench_settle();
    assert_string_equal(bench_text(run, "state", buffer), "unresolved");
    assert_string_equal(bench_text(run, "text", buffer), text); /* better than the text before */
    host->back(host,
               &b.table); /* maybe another replica reaches it: who is asked knows that it is unresolved */
    bench_until(ENGINE_WATCH);
    assert_true(b.unresolved);
    b.asked = false;
    while (b.now_ms < since_ms + 3600000 - 1000) {
        b.now_ms += 1000;
        bench_settle();
        assert_false(b.asked);
    }
    bench_until(ENGINE_PREPARE); /* after resolve_within on_lost decides */
    b.last[0] = '\0';
    assert_string_equal(b.identity, "");
}

/* Nobody has released it and nobody will: it is prepared on the engine that is there now, in time. */
static void what_was_only_prepared_on_an_engine_that_was_replaced_is_prepared_again(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char run[RUN_ID_MAX];

    b.engine = "A";
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_prepared("id-1", "A");
    bench_until(ENGINE_RELEASE);
    b.engine = "B";
    bench_answer((struct engine_answer){.event = ENGINE_UNREACHABLE, .exit_code = -1, .text = "another"});
    host->back(host, &b.table);
    bench_settle();
    if (b.asked && b.op == ENGINE_DISCARD) /* the sweep of the first engine would find it, too */
        b.asked = false;
    bench_until(ENGINE_PREPARE);
    bench_prepared("id-2", "B");
    bench_until(ENGINE_RELEASE);
    assert_string_equal(b.identity, "B");
}

/* An engine that cannot say, now or then, is believed as before. */
static void an_identity_that_is_not_known_is_not_compared(void **state)
{
    char run[RUN_ID_MAX];

    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_prepared("id-1", NULL);
    assert_null(strstr(b.last, "identity"));
    b.engine = "B";
    bench_until(ENGINE_RELEASE);
    assert_string_equal(b.identity, "");
}

/* ---- how much runs at once ---- */

/* One that is released, and being watched from then on: the ticket of its WATCH. */
static uint64_t bench_start(char run[RUN_ID_MAX])
{
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){.event = ENGINE_STARTED, .started_ms = b.now_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    b.asked = false;
    return b.ticket;
}

static void bench_end(uint64_t watch)
{
    b.asked = true;
    b.ticket = watch;
    bench_answer((struct engine_answer){.event = ENGINE_ENDED, .at_ms = b.now_ms, .cause = "exit"});
}

static void bench_nothing_for(int seconds)
{
    for (int i = 0; i < seconds; i++) {
        b.now_ms += 1000;
        bench_settle();
        if (b.asked)
            fail_msg("the engine is asked for %s", engine_op_name(b.op));
    }
}

/* Runs of jobs that may overlap: the third waits, says so once in its records, and goes on when one has ended. */
static void no_more_than_max_running_are_under_way_on_an_engine(void **state)
{
    char first[RUN_ID_MAX], second[RUN_ID_MAX], third[RUN_ID_MAX];
    uint64_t watch;
    size_t batches;
    json_t *json;

    b.table.max_running = 2;
    scheduler_set_engines(b.scheduler, b.engines, 1);
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\"}}}";
    watch = bench_start(first);
    bench_start(second);
    bench_trigger(third);
    assert_non_null(strstr(b.last, "waits: 2 runs are under way on engine e, and its max_running is 2"));
    batches = b.batches;
    bench_nothing_for(30);
    assert_int_equal(b.batches, batches);
    json = scheduler_status_json(b.scheduler);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(json, "engines"), 0), "waiting")),
        1);
    json_decref(json);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void a_new_leader_counts_what_runs(void **state)
{
    char run[RUN_ID_MAX];

    b.table.max_running = 1;
    scheduler_set_engines(b.scheduler, b.engines, 1);
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\"}}}";
    bench_start(run);
    bench_restore();
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_until(ENGINE_WATCH);
    b.asked = false;
    bench_trigger(run);
    assert_non_null(strstr(b.last, "waits: 1 runs"));
    bench_nothing_for(5);
}

static void a_job_has_a_limit_of_its_own(void **state)
{
    char first[RUN_ID_MAX], second[RUN_ID_MAX];
    struct scheduler_result result = {0};
    json_t *body = json_object();
    uint64_t watch;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\",\"max_running\":2}}}";
    watch = bench_start(first);
    bench_start(second);
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), ERR_CONFLICT);
    assert_string_equal(result.error.text,
                        "2 runs of a have not ended, and its max_running is 2; --queue waits for one");
    json_object_set_new(body, "queue", json_true());
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), 0);
    json_decref(result.reply);
    json_decref(body);
    bench_settle();
    bench_nothing_for(5);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void a_fire_time_beyond_the_limit_is_skipped(void **state)
{
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"@every 1h\",\"concurrency\":\"allow\","
            "\"max_running\":1}}}";
    bench_start(run);
    for (int i = 0; i < 3600 && !strstr(b.last, "max_running"); i++) {
        b.now_ms += 1000;
        b.asked = false;
        bench_settle();
    }
    assert_non_null(strstr(b.last, "1 runs have not ended, and max_running is 1"));
    assert_non_null(strstr(b.last, "overlap"));
}

/* With queue so many go on beside each other, and the next one when one of them has ended. */
static void a_queue_may_be_worked_off_by_several(void **state)
{
    char run[RUN_ID_MAX];
    uint64_t watch;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"queue\",\"max_running\":2}}}";
    watch = bench_start(run);
    bench_start(run);
    bench_trigger(run);
    bench_nothing_for(5);
    bench_end(watch);
    bench_until(ENGINE_PREPARE);
}

static void what_a_job_keeps_of_its_logs_is_known_by_its_run(void **state)
{
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"keep\":{\"logs\":\"64k\"}}}}";
    bench_trigger(run);
    assert_int_equal(scheduler_keep_logs(b.scheduler, run), 65536);
    assert_int_equal(scheduler_keep_logs(b.scheduler, "gone@20261122T030000Z"), -1);
    assert_int_equal(scheduler_keep_logs(b.scheduler, "../../x"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attempts_are_prepared_half_a_minute_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(an_engine_may_want_less_to_be_prepared_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_never_more_than_configured, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_does_not_fit_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_was_started_again_runs_on_and_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_started_again_after_its_end_keeps_its_job_busy, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_that_forbids_it_starts_beside_what_was_started_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_fire_time_is_skipped_beside_it, setup, teardown),
        cmocka_unit_test_setup_teardown(while_the_journal_refuses_commands_are_told_why, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_keep_to_what_the_journal_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_never_ran_is_prepared_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_lost_journal_may_have_started_is_not_started_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failure_after_the_lost_time_is_retried, setup, teardown),
        cmocka_unit_test_setup_teardown(fire_times_of_a_lost_journal_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_identity_of_the_engine_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_runs_on_an_engine_that_was_replaced_is_unresolved_and_then_lost,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_was_only_prepared_on_an_engine_that_was_replaced_is_prepared_again, setup, teardown),
        cmocka_unit_test_setup_teardown(an_identity_that_is_not_known_is_not_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_than_max_running_are_under_way_on_an_engine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_leader_counts_what_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_has_a_limit_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fire_time_beyond_the_limit_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_may_be_worked_off_by_several, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_job_keeps_of_its_logs_is_known_by_its_run, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
