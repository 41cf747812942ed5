/* The scheduler with an engine and a journal that say what the simulator's never do. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>

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
    bench_to_release(run);
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

/* A job of one reservation, due in 20 s, that is prepared where it is said so; then 3 s before its time another leads. */
static void bench_reserve_and_lead(const char *concurrency, bool prepared)
{
    bench_apply(json_pack("{s:{s:{s:s,s:s,s:s}}}", "jobs", "a", "image", "x", "schedule", "0 * * * * *",
                          "concurrency", concurrency));
    bench_until(ENGINE_PREPARE);
    if (prepared)
        bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    b.now_ms = b.fire_ms - 3000;
    bench_settle();
    bench_restore();
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_settle();
}

/* The engine would be busy with it when it is to start what is due. */
static void a_new_leader_leaves_reservations_for_a_moment(void **state)
{
    for (int prepared = 0; prepared < 2; prepared++) {
        if (prepared) {
            bench_teardown(NULL);
            bench_setup(NULL);
        }
        bench_reserve_and_lead("allow", prepared);
        assert_false(b.asked);
        b.now_ms += 1500;
        bench_settle();
        assert_true(b.asked && b.op == (prepared ? ENGINE_FENCE : ENGINE_PREPARE));
        assert_int_equal(b.fire_ms - b.now_ms, 1500);
    }
}

static void where_runs_may_not_overlap_it_fences_at_once_what_is_due_soon(void **state)
{
    bench_reserve_and_lead("forbid", true);
    assert_true(b.asked && b.op == ENGINE_FENCE);
}

/* In the time that is lost it may have been prepared again, under another name. */
static void what_a_lost_journal_may_have_started_is_not_started_again(void **state)
{
    static const enum engine_event nothing[] = {ENGINE_NEVER_RAN, ENGINE_UNKNOWN, ENGINE_REFUSED};

    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        char run[RUN_ID_MAX];
        int prepared;

        if (i > 0) {
            bench_teardown(NULL);
            bench_setup(NULL);
        }
        bench_release(run);
        prepared = b.prepared;
        bench_recover(60000);
        bench_until(ENGINE_FENCE);
        bench_answer((struct engine_answer){.event = nothing[i], .exit_code = -1});
        assert_null(scheduler_run_json(b.scheduler, run));
        bench_pass(300);
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
            bench_teardown(NULL);
            bench_setup(NULL);
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
    bench_pass(60);
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
    bench_to_release(run);
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

/* Records that change nothing of a run do not hold it up: nothing would wake it when they are durable. */
static void a_note_about_a_run_does_not_keep_it_from_its_retry(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"concurrency\":\"allow\",\"retries\":{\"max\":1,\"delay\":"
            "\"20s\"}}}}";
    bench_run(run);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 1, .cause = "exit"});
    b.now_ms += 30000; /* it is looked at while the note is under way */
    host->stray(host, &b.table, run, 1, "id-1", true);
    scheduler_flush(b.scheduler);
    scheduler_tick(b.scheduler);
    bench_settle();
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
    b.journal.batch_bytes_usual = 8192;
    b.largest = 0;
    batches = b.batches;
    assert_int_equal(apply_large(40, 4100, &result), 0);
    assert_true(b.largest < 8192 + 2 * 4100);
    assert_true(b.batches - batches > 10);
    assert_int_equal(apply_large(1, 30000, &result), 0); /* what is larger alone goes alone */
}

/* ---- an engine whose clock is another ---- */

/* How long after its start, by this clock, a run of 5 minutes' timeout is stopped. */
static int64_t stopped_after(int64_t offset_ms, bool adopted)
{
    char run[RUN_ID_MAX];
    int64_t started_ms;

    bench_teardown(NULL);
    bench_setup(NULL);
    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"timeout\":\"5m\"}}}";
    bench_to_release(run);
    started_ms = b.now_ms;
    bench_answer(
        (struct engine_answer){.event = ENGINE_STARTED, .started_ms = b.now_ms + offset_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    if (adopted) {
        b.now_ms += 10000;
        bench_restore();
        scheduler_journal_events.lead(b.scheduler, 2, "start");
        bench_until(ENGINE_WATCH);
    }
    for (b.asked = false; !b.asked && b.now_ms < started_ms + 3600000; b.now_ms += 1000)
        bench_settle();
    assert_true(b.asked && b.op == ENGINE_STOP);
    return b.now_ms - 1000 - started_ms;
}

static void a_timeout_is_measured_on_one_clock(void **state)
{
    static const int64_t offsets_ms[] = {0, -600000, 600000};

    for (size_t i = 0; i < sizeof(offsets_ms) / sizeof(offsets_ms[0]); i++) {
        assert_in_range(stopped_after(offsets_ms[i], false), 299000, 301000);
        assert_in_range(stopped_after(offsets_ms[i], true), 299000, 311000); /* to what was before it led */
    }
}

static void nothing_ends_before_it_started(void **state)
{
    char run[RUN_ID_MAX];

    bench_run(run); /* started at 1763800001000 */
    bench_answer((struct engine_answer){.event = ENGINE_ENDED,
                                        .started_ms = 1763800000900,
                                        .at_ms = 1763800000950,
                                        .exit_code = 0,
                                        .cause = "exit"});
    assert_non_null(strstr(b.last, "\"at\":1763800001050"));
}

/* ---- what is told, and when ---- */

/* An image that is not there half a minute before its time may be there in time; nothing ends before its time. */
static void a_refusal_ahead_of_its_time_is_not_final(void **state)
{
    static const struct engine_answer refused = {
        .event = ENGINE_REFUSED, .exit_code = -1, .text = "no such image"};

    for (int there = 0; there < 2; there++) {
        int64_t fire_ms;

        bench_teardown(NULL);
        bench_setup(NULL);
        bench_apply(json_loads("{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"0 * * * * *\"}}}", 0, NULL));
        bench_until(ENGINE_PREPARE);
        fire_ms = b.fire_ms;
        assert_true(b.now_ms < fire_ms);
        bench_answer(refused);
        assert_null(strstr(b.last, "start-failed"));
        bench_until(ENGINE_PREPARE);
        assert_int_equal(b.fire_ms, fire_ms);
        assert_true(b.now_ms >= fire_ms && b.now_ms <= fire_ms + 1000);
        if (there) {
            bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
            bench_until(ENGINE_RELEASE);
        } else {
            bench_answer(refused);
            assert_non_null(strstr(b.last, "start-failed"));
            bench_until(ENGINE_PREPARE); /* the next fire time is prepared ahead again */
            assert_int_equal(b.fire_ms, fire_ms + 60000);
            assert_true(b.now_ms <= fire_ms + 31000);
        }
    }
}

/* What is asked to stop and runs on is told of. */
static void a_stop_without_effect_is_told(void **state)
{
    char run[RUN_ID_MAX], text[256];
    int told = 0;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"timeout\":\"10s\",\"stop_grace\":\"5s\"}}}";
    bench_run(run);
    assert_int_equal(scheduler_deaf_runs(b.scheduler, text, sizeof(text)), 0);
    b.asked = false; /* the watch has nothing to say */
    for (int s = 0; s < 200; s++) {
        b.now_ms += 1000;
        bench_settle();
        if (b.asked && b.op == ENGINE_STOP)
            bench_answer((struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
        told += strstr(b.last, "and runs on") != NULL;
        b.last[0] = '\0';
    }
    assert_in_range(told, 2, 3);
    assert_int_equal(scheduler_deaf_runs(b.scheduler, text, sizeof(text)), 1);
    assert_non_null(strstr(text, run));
    assert_non_null(strstr(text, "is to end (timeout) for "));
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

/* Its engine was away while it ran, and has told since what became of it. */
static void the_text_of_a_run_is_of_no_trouble_that_is_over(void **state)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    struct engine_answer away = {.event = ENGINE_UNREACHABLE, .exit_code = -1, .text = "Connection refused"};
    char run[RUN_ID_MAX], buffer[512];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"retries\":{\"max\":1}}}}";
    bench_run(run);
    away.ticket = b.ticket;
    host->answer(host, &away);
    bench_settle();
    assert_string_equal(bench_text(run, "state", buffer), "unresolved");
    assert_string_equal(bench_text(run, "text", buffer), "Connection refused");
    bench_answer((struct engine_answer){.event = ENGINE_ENDED,
                                        .at_ms = b.now_ms,
                                        .exit_code = 137,
                                        .cause = "signal",
                                        .text = "SIGKILL was sent to it by somebody else"});
    assert_string_equal(bench_text(run, "state", buffer), "retrying");
    assert_string_equal(bench_text(run, "text", buffer), "SIGKILL was sent to it by somebody else");
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

/* While nobody led: the verdict is the same as if somebody had. */
static void what_its_engine_ended_at_its_timeout_has_timed_out(void **state)
{
    char run[RUN_ID_MAX];
    json_t *job;

    bench_run(run);
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = 1763800012000, .exit_code = 143, .cause = "timeout"});
    assert_null(scheduler_run_json(b.scheduler, run));
    job = scheduler_job_json(b.scheduler, "a");
    assert_string_equal(json_string_value(json_object_get(job, "verdict")), "timed-out");
    json_decref(job);
}

/* Two requests of one turn, between which a clock was set: each is recorded with its own time. */
static void a_batch_is_of_one_time(void **state)
{
    struct scheduler_result paused = {0}, resumed = {0};
    size_t before;
    char time[40];

    bench_apply(json_pack("{s:{s:{s:s}}}", "jobs", "a", "image", "x"));
    bench_settle();
    before = b.batches;
    assert_int_equal(scheduler_pause(b.scheduler, "a", 0, NULL, "test", &paused), 0);
    b.now_ms += 200000;
    assert_int_equal(scheduler_resume(b.scheduler, "a", "test", &resumed), 0);
    scheduler_flush(b.scheduler);
    assert_int_equal(b.batches, before + 2);
    snprintf(time, sizeof(time), "\"t\":%lld,", (long long)b.now_ms);
    assert_non_null(strstr(b.last, time));
    json_decref(paused.reply);
    json_decref(resumed.reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attempts_are_prepared_half_a_minute_ahead, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(an_engine_may_want_less_to_be_prepared_ahead, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(it_is_never_more_than_configured, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_batch_is_of_one_time, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_does_not_fit_is_asked_again, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(one_that_was_started_again_runs_on_and_is_counted, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(what_was_started_again_after_its_end_keeps_its_job_busy, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(nothing_that_forbids_it_starts_beside_what_was_started_again,
                                        bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_note_about_a_run_does_not_keep_it_from_its_retry, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_fire_time_is_skipped_beside_it, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(while_the_journal_refuses_commands_are_told_why, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(batches_keep_to_what_the_journal_takes, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_never_ran_is_prepared_again, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_new_leader_leaves_reservations_for_a_moment, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(where_runs_may_not_overlap_it_fences_at_once_what_is_due_soon,
                                        bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_a_lost_journal_may_have_started_is_not_started_again,
                                        bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_failure_after_the_lost_time_is_retried, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(fire_times_of_a_lost_journal_are_skipped, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_timeout_is_measured_on_one_clock, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(nothing_ends_before_it_started, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_its_engine_ended_at_its_timeout_has_timed_out, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_ahead_of_its_time_is_not_final, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_stop_without_effect_is_told, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(the_text_of_a_run_is_of_no_trouble_that_is_over, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(the_identity_of_the_engine_is_kept, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_runs_on_an_engine_that_was_replaced_is_unresolved_and_then_lost,
                                        bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(
            what_was_only_prepared_on_an_engine_that_was_replaced_is_prepared_again, bench_setup,
            bench_teardown),
        cmocka_unit_test_setup_teardown(an_identity_that_is_not_known_is_not_compared, bench_setup,
                                        bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
