/* The docker engine against a real dockerd. A container writes a line into the ledger when it
 * runs: the ledger, not the engine, says how often that was. */
#include "jobs/base/alloc.h"
#include "tests/integration/docker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REFUSED_SOON_MS 2000 /* six calls to an engine that is away, or as long as six that are answered */

/* ---- ordinary runs ---- */

static void a_run_from_prepare_to_end(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "normal",
                                  RAN "echo out; echo err >&2; env | sort > /ledger/env; id -u > /ledger/id; "
                                      "pwd > /ledger/pwd; echo x > /read-only/x; exit 3",
                                  NULL);
    struct attempt_id a;
    struct test_answer *t = fixture_run(f, job, &a);
    char *text;

    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 3);
    assert_string_equal(t->cause, "exit");
    assert_true(t->started_ms > TEST_FIRE_MS - INT64_C(100) * 365 * 86400000);
    assert_true(t->at_ms >= t->started_ms);
    assert_int_equal(fixture_count(f, "ran"), 1);
    fixture_expect_text(a.boot_id, "engine="); /* and no kernel: behind a proxy the engine may be anywhere */
    assert_null(strstr(a.boot_id, "kernel="));
    text = fixture_log(f, &a);
    fixture_expect_text(text, "out\n");
    fixture_expect_text(text, "err\n");
    free(text);
    text = fixture_read(f, "env");
    fixture_expect_text(text, "CRONSCHED_JOB=normal\n");
    fixture_expect_text(text, "CRONSCHED_ATTEMPT=1\n");
    fixture_expect_text(text, "CRONSCHED_FIRE_TIME=2026-11-22T03:00:00Z\n");
    fixture_expect_text(text, "CRONSCHED_EPOCH=7\n");
    free(text);

    f->direct = true;
    fixture_engine_close(f);
    fixture_engine_new(f);
    a = fixture_prepared(f, job);
    fixture_expect_text(a.boot_id, "kernel=");
    fixture_expect_text(a.boot_id, " engine=");
    job_unref(job);
}

/* ---- what bounds a container ---- */

static void over_tls_with_certificates_on_both_sides(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "tls", RAN "echo over tls", NULL);
    struct attempt_id a;
    static const struct {
        const char *ca, *client;
    } wrong[] = {{"other", "client"}, {"ca", NULL}};

    for (size_t i = 0; i < 2; i++) {
        fixture_engine_close(f);
        f->tls_ca = wrong[i].ca;
        f->tls_client = wrong[i].client;
        fixture_engine_new(f);
        a = fixture_attempt(f, job);
        fixture_expect(fixture_ask(f, ENGINE_PREPARE, job, &a, false), ENGINE_UNREACHABLE);
    }
    fixture_engine_close(f);
    f->tls_ca = "ca";
    f->tls_client = "client";
    fixture_engine_new(f);
    fixture_expect(fixture_run(f, job, &a), ENGINE_ENDED);
    char *text = fixture_log(f, &a);
    fixture_expect_text(text, "over tls");
    free(text);
    fixture_expect_text(a.boot_id, "engine=");
    assert_null(strstr(a.boot_id, "kernel=")); /* a port may lead anywhere */
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_STARTED);
    job_unref(job);
}

static void eight_at_once(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "many", RAN "echo $CRONSCHED_RUN", "{\"concurrency\":\"allow\"}");
    struct attempt_id a[8];
    uint64_t tickets[8];
    for (int i = 0; i < 8; i++) {
        a[i] = fixture_attempt(f, job);
        tickets[i] = fixture_submit(f, ENGINE_PREPARE, job, &a[i], false);
    }
    for (int i = 0; i < 8; i++) {
        struct test_answer *t = fixture_wait(f, tickets[i]);
        fixture_expect(t, ENGINE_PREPARED);
        snprintf(a[i].id, sizeof(a[i].id), "%s", t->id);
    }
    for (int i = 0; i < 8; i++)
        tickets[i] = fixture_submit(f, ENGINE_RELEASE, job, &a[i], false);
    for (int i = 0; i < 8; i++) {
        fixture_expect(fixture_wait(f, tickets[i]), ENGINE_STARTED);
        tickets[i] = fixture_submit(f, ENGINE_WATCH, job, &a[i], true);
    }
    for (int i = 0; i < 8; i++) {
        struct test_answer *t = fixture_wait(f, tickets[i]);
        fixture_expect(t, ENGINE_ENDED);
        char *text = fixture_log(f, &a[i]);
        fixture_expect_text(text, a[i].run);
        free(text);
    }
    assert_int_equal(fixture_count(f, "ran"), 8);
    job_unref(job);
}

static void nothing_is_answered_from_within_submit(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "within", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job);
    static const enum engine_op ops[] = {ENGINE_RELEASE, ENGINE_FENCE, ENGINE_WATCH, ENGINE_STOP,
                                         ENGINE_DISCARD};
    struct engine_status status;
    for (size_t i = 0; i < 5; i++) {
        size_t before = f->answer_count;
        fixture_submit(f, ops[i], job, &a, true);
        assert_int_equal(f->answer_count, before);
    }
    f->engine->ops->status(f->engine, &status);
    assert_int_equal(status.queued, 4);
    assert_int_equal(status.watched, 1);
    assert_true(status.reachable);
    fixture_expect_text(status.text, "docker 20");
    f->engine->ops->abandon(f->engine);
    f->engine->ops->status(f->engine, &status);
    assert_int_equal(status.queued + status.watched + status.in_flight, 0);
    fixture_turn(f, 300);
    assert_int_equal(f->answer_count, 1); /* PREPARED alone */
    job_unref(job);
}

/* ---- lost replies ---- */

static void prepare_again_finds_what_the_first_one_made(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "again", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
    fixture_expect(t, ENGINE_PREPARED);
    assert_string_equal(t->id, a.id);

    struct attempt_id b = fixture_attempt(f, job); /* the reply to the creation is lost, each time */
    fixture_proxy(f, PROXY_LOSE_REPLY, "/containers/create");
    t = fixture_ask(f, ENGINE_PREPARE, job, &b, false);
    fixture_expect(t, ENGINE_UNREACHABLE);
    assert_true(f->lost > 1);
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_turn(f, 300);
    t = fixture_ask(f, ENGINE_PREPARE, job, &b, false);
    fixture_expect(t, ENGINE_PREPARED);

    snprintf(b.run, sizeof(b.run), "%s", "other@20261122T030000Z"); /* a name that is taken by another run */
    t = fixture_ask(f, ENGINE_PREPARE, job, &b, false);
    fixture_expect(t, ENGINE_REFUSED);
    fixture_expect_text(t->text, "is not this attempt's");

    job_unref(job);
}

static void a_lost_reply_to_the_start_is_settled_by_the_fence(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "lost", RAN "sleep 1; exit 4", NULL);
    struct attempt_id a = fixture_prepared(f, job);
    fixture_proxy(f, PROXY_LOSE_REPLY, "/start");
    struct test_answer *t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    fixture_expect(t, ENGINE_UNKNOWN);
    assert_int_equal(f->lost, 1);
    fixture_proxy(f, PROXY_PASS, NULL);
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_STARTED);
    assert_true(t->started_ms > 0);
    t = fixture_ask(f, ENGINE_WATCH, job, &a, true);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 4);
    assert_int_equal(fixture_count(f, "ran"), 1);
    job_unref(job);
}

static void a_start_that_got_lost_on_the_way_never_ran(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "cut", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job);
    fixture_proxy(f, PROXY_CUT, "/start");
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_UNKNOWN);
    assert_int_equal(f->lost, 1); /* it was not sent a second time */
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_NEVER_RAN);
    assert_string_equal(fixture_status(f, &a), "created"); /* the evidence stays until it is in the journal */
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &a, true), ENGINE_DONE);
    assert_string_equal(fixture_status(f, &a), "gone");
    assert_int_equal(fixture_count(f, "ran"), 0);
    job_unref(job);
}

static void what_was_certainly_not_sent_may_be_released_again(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "unsent", RAN, NULL);
    int64_t begin = (int64_t)uv_hrtime();
    struct attempt_id a = fixture_prepared(f, job);
    int64_t peer_ns = (int64_t)uv_hrtime() - begin; /* one call that is answered */
    fixture_proxy(f, PROXY_CLOSED, NULL);
    begin = (int64_t)uv_hrtime();
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_UNREACHABLE);
    for (int i = 0; i < 5; i++)
        fixture_expect(fixture_ask(f, i % 2 ? ENGINE_FENCE : ENGINE_PREPARE, job, &a, false),
                       ENGINE_UNREACHABLE);
    int64_t took_ns = (int64_t)uv_hrtime() - begin;
    assert_true(took_ns < REFUSED_SOON_MS * INT64_C(1000000) || took_ns < 6 * peer_ns);
    struct engine_status status;
    f->engine->ops->status(f->engine, &status);
    assert_false(status.reachable);
    fixture_expect_text(status.text, "proxy.sock");
    fixture_proxy(f, PROXY_PASS, NULL);
    struct test_answer *t;
    do {
        fixture_turn(f, 100);
        t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    } while (t->event == ENGINE_UNREACHABLE);
    fixture_expect(t, ENGINE_STARTED);
    fixture_expect(fixture_ask(f, ENGINE_WATCH, job, &a, true), ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ran"), 1);
    job_unref(job);
}

/* ---- watching ---- */

static void a_log_grows_while_it_runs_and_keeps_both_ends(void **state)
{
    struct fixture *f = *state;
    struct job *job =
        fixture_job(f, "chatty",
                    "echo first; while [ ! -e /ledger/go ]; do sleep 0.05; done; "
                    "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo 0123456789abcdef; done; echo last",
                    "{\"keep\":{\"logs\":\"4k\"}}");
    struct attempt_id a = fixture_prepared(f, job);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    char *text = NULL;
    for (int i = 0; i < 100 && !(text && *text); i++) {
        free(text);
        fixture_turn(f, 50);
        text = fixture_log(f, &a);
    }
    assert_string_equal(text, "first\n");
    free(text);
    char path[300];
    snprintf(path, sizeof(path), "%s/ledger/go", f->folder);
    fclose(fopen(path, "w"));
    fixture_expect(fixture_wait(f, watch), ENGINE_ENDED);
    text = fixture_log(f, &a);
    assert_in_range(strlen(text), 4096 - 20, 4096 + 120);
    fixture_expect_text(text,
                        "cronsched: 29918 bytes (1760 lines) of output are missing here: keep.logs is 4k");
    fixture_expect_text(text, "first\n0123456789abcdef\n");
    free(text);
    job_unref(job);
}

static void much_output_is_kept_whole(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(
        f, "much", "yes 0123456789abcde | head -n 300000; sleep 2", /* or dockerd may not read it all */
        "{\"keep\":{\"logs\":\"64m\"}}");
    struct attempt_id a;
    fixture_expect(fixture_run(f, job, &a), ENGINE_ENDED);
    char *text = fixture_log(f, &a);
    assert_int_equal(strlen(text), 300000 * 16);
    free(text);
    job_unref(job);
}

static void stop_asks_first_and_kills_after_the_grace(void **state)
{
    struct fixture *f = *state;
    struct job *polite = fixture_job(f, "polite", RAN "trap 'exit 5' TERM; while true; do sleep 0.05; done",
                                     "{\"stop_grace\":\"20s\"}");
    struct job *stubborn = fixture_job(f, "stubborn", RAN "trap '' TERM; while true; do sleep 0.05; done",
                                       "{\"stop_grace\":\"1s\"}");
    struct attempt_id a = fixture_prepared(f, polite), b = fixture_prepared(f, stubborn);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, polite, &a, false), ENGINE_STARTED);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, stubborn, &b, false), ENGINE_STARTED);
    uint64_t wa = fixture_submit(f, ENGINE_WATCH, polite, &a, true),
             wb = fixture_submit(f, ENGINE_WATCH, stubborn, &b, true);
    fixture_until_lines(f, "ran", 2);
    fixture_turn(f, 200);
    fixture_expect(fixture_ask(f, ENGINE_STOP, polite, &a, true), ENGINE_DONE);
    struct test_answer *t = fixture_wait(f, wa);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 5);
    assert_string_equal(t->cause, "exit");
    fixture_expect(fixture_ask(f, ENGINE_STOP, stubborn, &b, true), ENGINE_DONE);
    t = fixture_wait(f, wb);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 137);
    assert_string_equal(t->cause, "signal");
    fixture_expect_text(t->text, "SIGKILL");
    fixture_expect(fixture_ask(f, ENGINE_STOP, stubborn, &b, true), ENGINE_DONE); /* it is over */
    job_unref(polite);
    job_unref(stubborn);
}

static void memory_is_limited_and_the_end_says_so(void **state)
{
    struct fixture *f = *state;
    /* the engine watches a container's memory a moment after its start: of the first it may not know */
    struct job *job = fixture_job(f, "hungry", "for i in 1 2 3 4 5; do $H; sleep 0.2; done; exec $H",
                                  "{\"resources\":{\"memory\":\"8m\"},\"environment\":{\"H\":"
                                  "\"dd if=/dev/zero of=/dev/null bs=64M count=1\"}}");
    struct test_answer *t = fixture_run(f, job, NULL);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 137);
    assert_string_equal(t->cause, "oom");
    fixture_expect_text(t->text, "memory");
    job_unref(job);
    job = fixture_job(f, "child",
                      "for i in 1 2 3 4 5; do $H; sleep 0.2; done; exit 0", /* it lives on itself */
                      "{\"resources\":{\"memory\":\"8m\"},\"environment\":{\"H\":"
                      "\"dd if=/dev/zero of=/dev/null bs=64M count=1\"}}");
    t = fixture_run(f, job, NULL);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 0);
    assert_string_equal(t->cause, "exit");
    fixture_expect_text(t->text, "a process in it was killed");
    job_unref(job);
}

/* One who comes during the grace does not know whether the stop was sent, and the engine does. */
static void a_stop_by_a_later_leader_is_no_second_signal(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "asked",
                                  RAN "trap 'echo term >> /ledger/term' TERM; while true; do sleep 0.1; done",
                                  "{\"stop_grace\":\"3s\"}");
    struct attempt_id a = fixture_prepared(f, job);
    uint64_t watch, first, second;
    struct test_answer *t;

    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_until_lines(f, "ran", 1);
    first = fixture_submit(f, ENGINE_STOP, job, &a, true);
    a.stopping_ms = f->host.now_ms(&f->host);
    fixture_until_lines(f, "term", 1);
    fixture_turn(f, 500); /* the engine writes down what it has sent a moment later */
    second = fixture_submit(f, ENGINE_STOP, job, &a, true);
    t = fixture_wait(f, watch);
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 137);
    assert_true(t->at_ms - a.stopping_ms < 5000); /* the grace was not begun again */
    fixture_expect(fixture_wait(f, first), ENGINE_DONE);
    fixture_expect(fixture_wait(f, second), ENGINE_DONE);
    assert_int_equal(fixture_count(f, "term"), 1);

    a = fixture_prepared(f, job); /* the one before had not sent it */
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    fixture_until_lines(f, "ran", 2);
    a.stopping_ms = f->host.now_ms(&f->host);
    fixture_expect(fixture_ask(f, ENGINE_STOP, job, &a, true), ENGINE_DONE);
    assert_int_equal(fixture_count(f, "term"), 2);
    job_unref(job);
}

/* Whatever it finds, or does not find, under that id: it is another engine's, and nothing is sent. */
static void another_engine_knows_nothing_of_an_attempt(void **state)
{
    static const enum engine_op ops[] = {ENGINE_FENCE, ENGINE_RELEASE, ENGINE_STOP, ENGINE_DISCARD};
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "elsewhere", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job), other = a;
    struct test_answer *t;
    uint64_t watch;

    assert_int_equal(strlen(a.identity), 32);
    snprintf(other.identity, sizeof(other.identity), "0123456789abcdef0123456789abcdef");
    for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
        t = fixture_ask(f, ops[i], job, &other, true);
        fixture_expect(t, ENGINE_UNREACHABLE);
        fixture_expect_text(t->text, "this is another engine");
        fixture_expect_text(t->text, a.identity);
        fixture_expect_text(t->text, other.identity);
    }
    watch = fixture_submit(f, ENGINE_WATCH, job, &other, true);
    t = fixture_wait(f, watch);
    fixture_expect(t, ENGINE_UNREACHABLE);
    fixture_expect_text(t->text, "this is another engine");
    assert_null(fixture_wait_ms(f, watch, 2000)); /* once */
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    fixture_expect(fixture_ask(f, ENGINE_WATCH, job, &a, true), ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ran"), 1);
    snprintf(other.id, sizeof(other.id), "%064d", 1); /* of no container here */
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &other, false), ENGINE_UNREACHABLE);
    job_unref(job);
}

/* The mark is another one while the connection stands: what is not there is believed only after it was read. */
static void an_engine_that_is_replaced_behind_a_fence(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "replaced", RAN, NULL);
    struct attempt_id a = fixture_prepared(f, job), b;
    struct test_answer *t;
    char path[200], body[400];
    json_t *json;

    snprintf(path, sizeof(path), "/volumes/cronsched-%s-identity", f->host.cluster(&f->host));
    assert_int_equal(fixture_docker(f, "DELETE", path, NULL, NULL), 204);
    snprintf(body, sizeof(body), "{\"Name\":\"%s\",\"Labels\":{\"cronsched.identity\":\"%032d\"}}", path + 9,
             7);
    assert_int_equal(fixture_docker(f, "POST", "/volumes/create", body, &json), 201);
    json_decref(json);
    assert_int_equal(fixture_remove(f, &a), 204);
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_UNREACHABLE);
    fixture_expect_text(t->text, "this is another engine");
    b = fixture_prepared(f, job);
    assert_string_equal(b.identity, "00000000000000000000000000000007");
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &b, false), ENGINE_DONE);
    job_unref(job);
}

static void a_container_removed_while_watched(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "removed", RAN "sleep 30", NULL);
    struct attempt_id a = fixture_prepared(f, job);
    char path[300];
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_until_lines(f, "ran", 1);
    fixture_turn(f, 300);
    snprintf(path, sizeof(path), "/containers/%s?force=1", a.id);
    assert_int_equal(fixture_docker(f, "DELETE", path, NULL, NULL), 204);
    struct test_answer *t = fixture_wait(f, watch); /* its death was seen */
    fixture_expect(t, ENGINE_ENDED);
    assert_int_equal(t->exit_code, 137);
    fixture_expect_text(t->text, "removed");

    fixture_make_forget(f); /* a watch that comes later finds nothing */
    fixture_expect(fixture_ask(f, ENGINE_WATCH, job, &a, true), ENGINE_UNKNOWN);
    job_unref(job);
}

/* Of a line that is longer than the engine's buffer it has given the beginning, all with one stamp. */
static void a_successor_adopts_and_continues_the_log(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "adopted",
                                  RAN "echo before; sleep 0.2; echo wrong >&2; sleep 0.2; "
                                      "head -c 40000 /dev/zero | tr '\\0' x; "
                                      "while [ ! -e /ledger/go ]; do sleep 0.05; done; echo after",
                                  NULL);
    struct attempt_id a = fixture_prepared(f, job);
    char path[300], *text = NULL, *expected;
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_STARTED);
    fixture_submit(f, ENGINE_WATCH, job, &a, true);
    for (int i = 0; i < 200 && !(text && strlen(text) > 30000); i++) {
        free(text);
        fixture_turn(f, 50);
        text = fixture_log(f, &a);
    }
    assert_in_range(strlen(text), 30000, 40000);
    free(text);
    f->engine->ops->abandon(f->engine);
    fixture_engine_close(f);
    f->epoch++;
    fixture_engine_new(f);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_STARTED);
    uint64_t watch = fixture_submit(f, ENGINE_WATCH, job, &a, true);
    fixture_turn(f, 300);
    snprintf(path, sizeof(path), "%s/ledger/go", f->folder);
    fclose(fopen(path, "w"));
    fixture_expect(fixture_wait(f, watch), ENGINE_ENDED);
    text = fixture_log(f, &a);
    expected = alloc_zero(40100);
    memset(expected + snprintf(expected, 40100, "before\nwrong\n"), 'x', 40000);
    memcpy(expected + strlen(expected), "after\n", sizeof("after\n"));
    assert_string_equal(text, expected);
    free(expected);
    free(text);
    assert_int_equal(fixture_count(f, "ran"), 1);
    job_unref(job);
}

/* ---- removal ---- */

static void discard_removes_only_what_was_never_started(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "discard", RAN "sleep 30", NULL);
    struct attempt_id a = fixture_prepared(f, job), b = fixture_prepared(f, job);
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &a, false), ENGINE_DONE);
    assert_string_equal(fixture_status(f, &a), "gone");
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &a, false), ENGINE_DONE);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &b, false), ENGINE_STARTED);
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &b, false), ENGINE_DONE);
    assert_string_equal(fixture_status(f, &b), "running");
    job_unref(job);
}

static bool is_gone(struct fixture *f, void *arg)
{
    return strcmp(fixture_status(f, arg), "gone") == 0;
}

/* One that was made under a name of ours; without `name`, of an image that bears our labels. */
static struct attempt_id foreign(struct fixture *f, const char *cluster, const char *epoch, const char *name)
{
    struct attempt_id a = {0};
    char body[512], path[128] = "/containers/create";
    json_t *json;

    if (name)
        snprintf(path, sizeof(path), "/containers/create?name=cs-%s", name);
    snprintf(body, sizeof(body),
             "{\"Image\":\"" TEST_IMAGE
             "\",\"Cmd\":[\"true\"],\"Labels\":{\"cronsched.cluster\":\"%s\",\"cronsched.epoch\":"
             "\"%s\",\"cronsched.run\":\"x@20261122T030000Z\",\"cronsched.attempt\":\"1\","
             "\"cronsched.witness\":\"/.cronsched-%s\"}}",
             cluster, epoch, name ? name : "feed");
    assert_int_equal(fixture_docker(f, "POST", path, body, &json), 201);
    snprintf(a.id, sizeof(a.id), "%s", json_string_value(json_object_get(json, "Id")));
    json_decref(json);
    return a;
}

static void the_sweep_removes_what_nobody_needs_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct job *quick = fixture_job(f, "swept", RAN, NULL),
               *runs = fixture_job(f, "runs", RAN "sleep 30", NULL);
    fixture_engine_close(f);
    f->retention_ms = 1500;
    f->sweep_ms = 300;
    fixture_engine_new(f);
    struct attempt_id ended, running = fixture_prepared(f, runs), waiting = fixture_prepared(f, quick);
    struct attempt_id other_cluster = foreign(f, "another", "1", "feed1"),
                      newer = foreign(f, TEST_CLUSTER, "8", "feed2"),
                      older = foreign(f, TEST_CLUSTER, "6", "feed3"),
                      labelled = foreign(f, TEST_CLUSTER, "6", NULL);
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, runs, &running, false), ENGINE_STARTED);
    fixture_expect(fixture_run(f, quick, &ended), ENGINE_ENDED);
    fixture_turn(f, 2500); /* the journal needs them all */
    assert_string_equal(fixture_status(f, &ended), "exited");
    assert_string_equal(fixture_status(f, &older), "created");
    f->epoch = 0; /* nobody leads here */
    f->keep = false;
    fixture_turn(f, 1000);
    assert_string_equal(fixture_status(f, &ended), "exited");
    f->epoch = 7;
    fixture_until(f, is_gone, &ended, "the ended one to go");
    fixture_until(f, is_gone, &older, "the one of an older epoch to go");
    fixture_until(f, is_gone, &waiting, "one of this epoch that nobody wants to go");
    struct attempt_id late;
    fixture_expect(fixture_run(f, quick, &late), ENGINE_ENDED);
    fixture_turn(f, 500);
    assert_string_equal(fixture_status(f, &late), "exited"); /* within the retention */
    fixture_until(f, is_gone, &late, "that too to go");
    assert_string_equal(fixture_status(f, &running), "running");
    assert_string_equal(fixture_status(f, &other_cluster), "created");
    assert_string_equal(fixture_status(f, &newer), "created");
    assert_string_equal(fixture_status(f, &labelled), "created");
    job_unref(quick);
    job_unref(runs);
}

/* More than a sweep removes, and behind a page of those that are too young: with 64 of these in front nothing was ever
 * removed. */
static const char *numbered(int i, char name[16])
{
    snprintf(name, 16, "face%04d", i);
    return name;
}

static void the_sweep_gets_through_many(void **state)
{
    char name[16];

    struct fixture *f = *state;
    struct attempt_id old[70], young = {0};

    fixture_engine_close(f);
    f->retention_ms = 3600000;
    f->sweep_ms = 3600000; /* the first one comes soon, and the others by its leaving some */
    f->keep = false;
    for (int i = 0; i < 70; i++)
        old[i] = foreign(f, TEST_CLUSTER, "6", numbered(i, name));
    for (int i = 0; i < 70; i++)
        young = foreign(f, TEST_CLUSTER, "7", numbered(100 + i, name));
    fixture_engine_new(f);
    for (int i = 0; i < 70; i++)
        fixture_until(f, is_gone, &old[i], "one of an older epoch to go");
    assert_string_equal(fixture_status(f, &young), "created");
}

/* ---- closing ---- */

static void it_closes_at_any_moment(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "close", RAN "echo x; sleep 1",
                                  "{\"environment\":{\"H\":{\"from_file\":\"/etc/hostname\"}}}");
    for (int i = 0; i < 8; i++) {
        struct attempt_id a = fixture_attempt(f, job);
        fixture_submit(f, ENGINE_PREPARE, job, &a, false);
        if (i)
            fixture_turn(f, i * 5);
        if (i == 7) {
            struct attempt_id b = fixture_prepared(f, job);
            fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &b, false), ENGINE_STARTED);
            fixture_submit(f, ENGINE_WATCH, job, &b, false);
            fixture_submit(f, ENGINE_FENCE, job, &b, false);
            fixture_turn(f, 10);
        }
        fixture_engine_close(f);
        fixture_engine_new(f);
    }
    job_unref(job);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_run_from_prepare_to_end),
        TEST(over_tls_with_certificates_on_both_sides),
        TEST(eight_at_once),
        TEST(nothing_is_answered_from_within_submit),
        TEST(prepare_again_finds_what_the_first_one_made),
        TEST(a_lost_reply_to_the_start_is_settled_by_the_fence),
        TEST(a_start_that_got_lost_on_the_way_never_ran),
        TEST(what_was_certainly_not_sent_may_be_released_again),
        TEST(a_log_grows_while_it_runs_and_keeps_both_ends),
        TEST(much_output_is_kept_whole),
        TEST(stop_asks_first_and_kills_after_the_grace),
        TEST(memory_is_limited_and_the_end_says_so),
        TEST(a_stop_by_a_later_leader_is_no_second_signal),
        TEST(a_container_removed_while_watched),
        TEST(another_engine_knows_nothing_of_an_attempt),
        TEST(an_engine_that_is_replaced_behind_a_fence),
        TEST(a_successor_adopts_and_continues_the_log),
        TEST(discard_removes_only_what_was_never_started),
        TEST(the_sweep_removes_what_nobody_needs_and_nothing_else),
        TEST(the_sweep_gets_through_many),
        TEST(it_closes_at_any_moment),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
