/* The API's handlers over a made-up scheduler: what they ask it, what they answer, when, and to whom. */
#include "tests/support/api_fixture.h"

#include "cronsched/api/api_priv.h"
#include "jobs/yaml/yaml.h"

/* ---- writes ---- */

static void test_writes(void **state)
{
    static const struct {
        const char *line, *body;
        const char *asked; /* of the scheduler */
    } cases[] = {
        {"DELETE /v1/jobs/nightly", NULL, "delete nightly - by unix:root"},
        {"POST /v1/jobs/nightly/pause", NULL, "pause nightly {\"reason\":null,\"until\":0} by unix:root"},
        {"POST /v1/jobs/nightly/pause", "{\"until\":\"2026-11-22T04:00:00+01:00\",\"reason\":\"work\"}",
         "pause nightly {\"reason\":\"work\",\"until\":1795316400000} by unix:root"},
        {"POST /v1/pause", "{\"reason\":\"all\"}", "pause - {\"reason\":\"all\",\"until\":0} by unix:root"},
        {"POST /v1/jobs/nightly/resume", "{}", "resume nightly - by unix:root"},
        {"POST /v1/resume", NULL, "resume - - by unix:root"},
        {"POST /v1/jobs/nightly/trigger", NULL, "trigger nightly - by unix:root"},
        {"POST /v1/jobs/nightly/trigger", "{\"key\":\"k\",\"params\":{\"a\":\"1\"}}",
         "trigger nightly {\"key\":\"k\",\"params\":{\"a\":\"1\"}} by unix:root"},
        {"POST /v1/runs/nightly@20261122T030000Z/kill", NULL, "kill nightly@20261122T030000Z - by unix:root"},
        {"POST /v1/apply", "{\"jobs\":{}}", "apply - {\"jobs\":{}} by unix:root"},
    };

    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_answer(cases[i].line, cases[i].body, 200, "\"did\":");
        assert_string_equal(fake.asked, cases[i].asked);
    }
}

static void test_bad_bodies_go_no_further(void **state)
{
    static const struct {
        const char *line, *body, *text;
    } cases[] = {
        {"POST /v1/pause", "{\"untill\":1}", "did you mean 'until'?"},
        {"POST /v1/pause", "{\"until\":1}", "pause: until must be a time in RFC 3339"},
        {"POST /v1/pause", "{\"until\":\"tomorrow\"}", "pause: until: "},
        {"POST /v1/pause", "{\"reason\":[]}", "pause: reason must be a text"},
        {"POST /v1/resume", "{\"x\":1}", "resume: 'x' is not known"},
        {"POST /v1/runs/a@20261122T030000Z/kill", "{\"x\":1}", "kill: 'x' is not known"},
        {"POST /v1/apply", NULL, "the body is missing"},
        {"POST /v1/jobs/a/backfill", NULL, "backfill: from is missing"},
        {"POST /v1/jobs/a/backfill", "{\"from\":\"2026-01-01T00:00:00Z\"}", "backfill: to is missing"},
        {"POST /v1/jobs/a/backfill", "{\"cancel\":true,\"again\":true}", "'again' is not known"},
        {"POST /v1/jobs/a/backfill", "{\"cancel\":false}", "'cancel' is not known"},
        {"POST /v1/jobs/a/backfill",
         "{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-02T00:00:00Z\",\"existing\":[]}",
         "'existing' is not known"},
        {"POST /v1/jobs/a/backfill",
         "{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-02T00:00:00Z\","
         "\"max_parallel\":0}",
         "whole number from 1 to 1000"},
        {"POST /v1/jobs/a/backfill",
         "{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-02T00:00:00Z\",\"again\":1}",
         "again must be true or false"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_answer(cases[i].line, cases[i].body, 400, cases[i].text);
        assert_string_equal(fake.asked, "");
    }
}

static void test_statuses_of_refusals(void **state)
{
    static const struct {
        int code, status;
        const char *name;
    } cases[] = {
        {ERR_INVALID, 400, "invalid"},
        {ERR_NOT_FOUND, 404, "not-found"},
        {ERR_CONFLICT, 409, "conflict"},
        {ERR_BUSY, 409, "busy"},
        {ERR_LIMIT, 413, "limit"},
        {ERR_DENIED, 403, "denied"},
        {ERR_NO_LEADER, 503, "no-leader"},
        {ERR_TIMEOUT, 504, "timeout"},
        {ERR_UNSUPPORTED, 501, "unsupported"},
        {ERR_FULL, 507, "full"},
        {ERR_CORRUPT, 500, "corrupt"},
        {ERR_INTERNAL, 500, "internal"},
        {ERR_UNREACHABLE, 502, "unreachable"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r;
        char value[16], text[64];

        fake.fails = cases[i].code;
        r = ask("POST /v1/jobs/nightly/trigger", NULL);
        snprintf(text, sizeof(text), "{\"error\":{\"code\":\"%s\",\"text\":\"trigger is refused\"}}",
                 cases[i].name);
        assert_int_equal(r.status, cases[i].status);
        assert_non_null(strstr(r.body, text));
        assert_int_equal(client_header(&r, "Retry-After", value, sizeof(value)) != NULL, r.status == 503);
        reply_release(&r);
    }
}

static void turn_until_held(size_t n)
{
    uint64_t deadline = client_deadline();

    while (fake.held_count < n && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(fake.held_count, n);
}

static void test_a_write_answers_only_when_durable(void **state)
{
    struct reply r;
    int fd;

    fake.hold = true;
    fd = send_line("POST /v1/jobs/nightly/trigger");
    turn_until_held(1);
    assert_int_equal(fake.held[0].index, 1);
    for (int i = 0; i < 5; i++)
        turn(&loop, -1, 0);
    assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), -1);
    release(0);
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fd);

    fd = send_line("POST /v1/jobs/nightly/trigger");
    turn_until_held(1);
    release(ERR_DEPOSED);
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 504);
    assert_non_null(strstr(r.body, "\"unknown\""));
    reply_release(&r);
    close(fd);
}

static void test_a_client_that_hangs_up_while_it_waits(void **state)
{
    fake.hold = true;
    for (int i = 0; i < 3; i++) {
        int fd = send_line(i == 2 ? "GET /v1/jobs" : "POST /v1/jobs/nightly/trigger");

        turn_until_held(1);
        close(fd);
        turn(&loop, -1, 0);
        release(i == 1 ? ERR_DEPOSED : 0);
        for (int k = 0; k < 3; k++)
            turn(&loop, -1, 0);
    }
}

static void test_closing_with_answers_outstanding(void **state)
{
    int write, read, asked;
    struct reply r;

    fake.hold = true;
    write = send_line("POST /v1/jobs/nightly/trigger");
    read = send_line("GET /v1/jobs");
    turn_until_held(2);
    fake.hold = false;
    fake.hold_history = true;
    asked = send_line("GET /v1/runs");
    while (!fake.answer)
        turn(&loop, -1, 0);
    stop_api();
    r = client_receive(&loop, write, false);
    assert_int_equal(r.status, 503);
    reply_release(&r);
    r = client_receive(&loop, read, false);
    assert_int_equal(r.status, 503);
    reply_release(&r);
    close(write);
    close(read);
    close(asked); /* tear_down lets the answers come */
}

/* ---- reads ---- */

static void test_reads(void **state)
{
    static const struct {
        const char *line;
        int status;
        const char *text;
    } cases[] = {
        {"GET /v1/jobs", 200, "[{\"job\":\"nightly\""},
        {"GET /v1/jobs/nightly", 200, "{\"job\":\"nightly\",\"version\":3}"},
        {"GET /v1/jobs/nihgtly", 404, "no job nihgtly; did you mean 'nightly'?"},
        {"GET /v1/jobs/zzz", 404, "\"no job zzz\""},
        {"GET /v1/defs", 200, "\"index\":5"},
        {"GET /v1/defs?set=finance", 200, "\"set\":\"finance\""},
        {"GET /v1/version", 200, "\"version\":\"" CRONSCHED_VERSION "\""},
        {"GET /v1/cluster", 200, "\"leader\":{\"id\":\"r1\",\"url\":null}"},
        {"GET /v1/cluster", 200,
         "\"replicas\":[{\"id\":\"r1\",\"url\":null,\"role\":\"leader\",\"applied\":42,"},
        {"GET /healthz", 200, "ok\n"},
        {"GET /readyz", 200, "{\"ready\":true,\"role\":\"leader\",\"reasons\":[]}"},
        {"GET /v1/runs/nightly", 400, "not a run id"},
        {"GET /v1/runs/nightly@20261122T030000Z", 404, "no run nightly@20261122T030000Z"},
        {"GET /v1/runs?state=runing", 400, "did you mean 'running'?"},
        {"GET /v1/runs?verdict=ok", 400, "verdict: there is no 'ok'"},
        {"GET /v1/runs?limit=0", 400, "limit: '0' is not a whole number from 1 to 10000"},
        {"GET /v1/runs?since=now", 400, "since: "},
        {"GET /v1/runs?sate=running", 400, "did you mean 'state'?"},
        {"GET /v1/records?kinds=trigger,delte", 400, "did you mean 'delete'?"},
        {"GET /v1/job", 404, "did you mean '/v1/jobs'?"},
        {"PATCH /v1/jobs/nightly", 405, "GET, HEAD, DELETE"},
        {"POST /v1/cluster/step-down", 501, "alone"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_answer(cases[i].line, NULL, cases[i].status, cases[i].text);
}

static void test_a_read_waits_for_what_is_in_flight(void **state)
{
    struct reply r;
    int fd;

    fake.hold = true;
    fd = send_line("GET /v1/jobs");
    turn_until_held(1);
    assert_int_equal(fake.held[0].index, 0);
    release(ERR_DEPOSED); /* void is fine: the read shows what is left */
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 200);
    assert_null(client_header(&r, "Cronsched-Stale", (char[8]){0}, 8));
    reply_release(&r);
    close(fd);
}

static void test_a_read_does_not_wait_for_ever(void **state)
{
    char value[16];
    struct reply r;

    fake.hold = true;
    r = ask("GET /v1/jobs", NULL);
    assert_int_equal(r.status, 200);
    assert_non_null(client_header(&r, "Cronsched-Stale", value, sizeof(value)));
    reply_release(&r);
    assert_int_equal(fake.held_count, 1);
    release(0); /* late; the request is served */
}

static json_t *run_row(const char *id, const char *state, const char *verdict)
{
    return json_pack("{s:s, s:s#, s:s, s:s?}", "run", id, "job", id, (int)(strchr(id, '@') - id), "state",
                     state, "verdict", verdict);
}

/* Ids and states as "a b:running ..." for comparison. */
static void assert_runs(const char *line, const char *expected, bool more)
{
    struct reply r = ask(line, NULL);
    json_t *runs = body_of(&r), *run;
    char got[1024] = "", value[8];
    size_t i, n = 0;

    json_array_foreach(runs, i, run) n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s:%s", i ? " " : "",
                                                           json_string_value(json_object_get(run, "run")),
                                                           json_string_value(json_object_get(run, "state")));
    assert_string_equal(got, expected);
    assert_int_equal(client_header(&r, "Cronsched-More", value, sizeof(value)) != NULL, more);
    json_decref(runs);
    reply_release(&r);
}

static void test_live_runs_come_before_stored_ones(void **state)
{
    /* history lags: b still runs there, and has ended by now; d is unknown to it */
    json_array_append_new(fake.runs, run_row("b@20261122T020000Z", "ended", "failed"));
    json_array_append_new(fake.runs, run_row("d@20261122T030000Z", "running", NULL));
    json_array_append_new(fake.stored, run_row("c@20261122T021500Z", "ended", "succeeded"));
    json_array_append_new(fake.stored, run_row("b@20261122T020000Z", "running", NULL));
    json_array_append_new(fake.stored, run_row("a@20261122T010000Z", "skipped", "overlap"));

    assert_runs("GET /v1/runs",
                "d@20261122T030000Z:running c@20261122T021500Z:ended b@20261122T020000Z:ended "
                "a@20261122T010000Z:skipped",
                false);
    assert_int_equal(fake.query.kind, HISTORY_RUNS);
    assert_int_equal(fake.query.limit, 1000 + 1 + 2);
    assert_runs("GET /v1/runs?limit=2", "d@20261122T030000Z:running c@20261122T021500Z:ended", true);
    assert_int_equal(fake.query.limit, 2 + 1 + 2);

    /* the stored b matches, but is no longer true */
    json_array_remove(fake.stored, 2);
    json_array_remove(fake.stored, 0);
    assert_runs("GET /v1/runs?state=running", "d@20261122T030000Z:running", false);
    assert_string_equal(fake.query_text, "- - running -");
    json_array_clear(fake.stored);
    assert_runs("GET /v1/runs?verdict=failed", "b@20261122T020000Z:ended", false);
    assert_runs("GET /v1/runs?since=2026-11-22T02:30:00Z", "d@20261122T030000Z:running", false);
    assert_runs("GET /v1/runs?until=2026-11-22T03:30:00%2B01:00", "b@20261122T020000Z:ended", false);
    assert_runs("GET /v1/runs?job=d", "d@20261122T030000Z:running", false);
    assert_string_equal(fake.query_text, "d - - -");
}

static void test_one_run(void **state)
{
    json_array_append_new(fake.runs, run_row("b@20261122T020000Z", "running", NULL));
    assert_answer("GET /v1/runs/b@20261122T020000Z", NULL, 200, "\"state\":\"running\"");
    json_decref(fake.stored);
    fake.stored = run_row("a@20261122T010000Z", "ended", "succeeded");
    assert_answer("GET /v1/runs/a%4020261122T010000Z", NULL, 200, "\"verdict\":\"succeeded\"");
    assert_string_equal(fake.query_text, "- a@20261122T010000Z - -");
    json_decref(fake.stored);
    fake.stored = json_null();
    assert_answer("GET /v1/runs/a@20261122T010000Z", NULL, 404, "no run");
    fake.stored = NULL;
    assert_answer("GET /v1/runs/a@20261122T010000Z", NULL, 507, "the disk is full");
}

static void test_records(void **state)
{
    json_array_append_new(fake.stored, json_pack("{s:i}", "index", 1));
    json_array_append_new(fake.stored, json_pack("{s:i}", "index", 2));
    assert_answer("GET /v1/records?job=a", NULL, 200, "[{\"index\":1},{\"index\":2}]");
    assert_string_equal(
        fake.query_text,
        "a - - job,delete,pause,resume,trigger,backfill,stopping,note,epoch,takeover,recovered");
    assert_answer("GET /v1/records?kinds=all&limit=1", NULL, 200, "[{\"index\":1}]\n");
    assert_string_equal(fake.query_text, "- - - -");
    assert_int_equal(fake.query.limit, 2);
}

static void test_audit(void **state)
{
    json_decref(fake.stored);
    fake.stored = json_pack("{s:[], s:[], s:[], s:[], s:[]}", "runs", "skips", "records", "pruned", "gaps");
    assert_answer("GET /v1/audit", NULL, 400, "since is missing");
    assert_answer("GET /v1/audit?since=yesterday", NULL, 400, "since: ");
    assert_answer("GET /v1/audit?since=2026-11-21T00:00:00Z&until=2026-11-22T00:00:00Z&job=a", NULL, 200,
                  "\"fire_times\":0");
    assert_int_equal(fake.query.kind, HISTORY_AUDIT);
    assert_string_equal(fake.query_text, "a - - -");
    assert_int_equal(fake.query.until_ms, INT64_C(1795305600000));
    assert_answer("GET /v1/audit?since=2026-11-21T00:00:00Z", NULL, 200, "\"unaccounted\":[]");
    assert_int_equal(fake.query.until_ms, fake_wall(NULL));
}

static void test_explain(void **state)
{
    assert_answer("GET /v1/explain", NULL, 400, "job is missing");
    assert_answer("GET /v1/explain?job=a", NULL, 400, "time is missing");
    assert_answer("GET /v1/explain?job=A&time=2026-11-22T00:00:00Z", NULL, 400, "not a job name");
    assert_answer("GET /v1/explain?job=a&time=now", NULL, 400, "time: ");
    assert_answer("GET /v1/explain?job=a&time=2026-11-22T00:00:00Z", NULL, 404,
                  "a");                              /* nothing is known of it */
    assert_int_equal(fake.query.kind, HISTORY_RUNS); /* the last part asked for */
}

static void test_backfill_knows_what_ran(void **state)
{
    static const char body[] = "{\"from\":\"2026-11-20T00:00:00Z\",\"to\":\"2026-11-21T00:00:00Z\"}";
    static const char again[] =
        "{\"again\":true,\"from\":\"2026-11-20T00:00:00Z\",\"to\":\"2026-11-21T00:00:00Z\"}";

    json_decref(fake.stored);
    fake.stored = json_pack("{s:[i], s:i, s:i}", "times", 1000, "pruned", 0, "gaps", 0);
    assert_answer("POST /v1/jobs/a/backfill", body, 200, "backfill");
    assert_int_equal(fake.query.kind, HISTORY_FIRED);
    assert_int_equal(fake.query.since_ms, INT64_C(1795132799999));
    assert_int_equal(fake.query.until_ms, INT64_C(1795219200000));
    assert_non_null(strstr(fake.asked, "\"existing\":[1000],\"from\""));

    /* what is not known is not run a second time unasked */
    json_object_set_new(fake.stored, "pruned", json_integer(1));
    fake.asked[0] = '\0';
    assert_answer("POST /v1/jobs/a/backfill", body, 409, "is no longer kept");
    assert_string_equal(fake.asked, "");
    assert_answer("POST /v1/jobs/a/backfill", again, 200, "backfill");
    assert_null(strstr(fake.asked, "existing"));
    assert_answer("POST /v1/jobs/a/backfill", "{\"cancel\":true}", 200, "cancel");
}

/* ---- logs ---- */

static void test_logs(void **state)
{
    set_attempts("running", "ended", "running");
    write_log(1, "one\ntwo\nthree");
    write_log(2, "second\n");
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 200, "second\n");
    assert_answer("GET /v1/runs/" RUN "/logs?attempt=1", NULL, 200, "one\ntwo\nthree");
    assert_answer("GET /v1/runs/" RUN "/logs?attempt=3", NULL, 404, "no attempt of that number");
    assert_answer("GET /v1/runs/" RUN "/logs?attempt=0", NULL, 400, "attempt: '0'");
    assert_answer("GET /v1/runs/" RUN "/logs?follow=yes", NULL, 400, "follow: 'yes'");
    assert_answer("GET /v1/runs/../logs", NULL, 400, "not a run id");
    assert_answer("GET /v1/runs/..%2F..%2Fx@20261122T010000Z/logs", NULL, 400, "not a run id");
}

static void assert_tail(int tail, const char *expected)
{
    char line[128];
    struct reply r;

    snprintf(line, sizeof(line), "GET /v1/runs/" RUN "/logs?tail=%d", tail);
    r = ask(line, NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, expected);
    reply_release(&r);
}

static void test_the_last_lines_of_a_log(void **state)
{
    static char long_text[200000];
    char *at = long_text;

    set_attempts("ended", "ended", NULL);
    write_log(1, "one\ntwo\nthree\n");
    assert_tail(0, "");
    assert_tail(1, "three\n");
    assert_tail(2, "two\nthree\n");
    assert_tail(9, "one\ntwo\nthree\n");
    write_log(1, "four");
    assert_tail(1, "four");
    assert_tail(2, "three\nfour");
    for (int i = 0; i < 20000; i++)
        at += snprintf(at, 32, "\n%07d", i);
    write_log(1, long_text);
    assert_tail(2, "0019998\n0019999");
    assert_tail(20000, long_text + 1);
}

static void test_logs_that_are_not_there(void **state)
{
    set_attempts("starting", "committed", NULL);
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 200, "");
    set_attempts("ended", "ended", NULL);
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 404, "no log of " RUN);
    assert_answer("GET /v1/runs/" RUN "/logs?follow=1", NULL, 404, "no log of " RUN);
    json_array_clear(json_object_get(json_array_get(fake.runs, 0), "attempts"));
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 404, "no attempt yet");
    json_array_clear(fake.runs);
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 404, "no run");
}

static void test_a_log_is_followed_to_its_end(void **state)
{
    struct reply r = {0};
    int fd;

    set_attempts("starting", "committed", NULL); /* there is no file yet */
    fd = send_line("GET /v1/runs/" RUN "/logs?follow=1");
    while (!r.raw)
        receive_more(&loop, fd, &r);
    write_log(1, "first\n");
    assert_true(client_expect(&loop, fd, &r, "first\n"));
    set_attempts("running", "running", NULL);
    write_log(1, "second\n");
    assert_true(client_expect(&loop, fd, &r, "second\n"));
    write_log(1, "last\n");
    set_attempts("ended", "ended", NULL);
    while (!reply_parse(&r, false) && !r.closed)
        receive_more(&loop, fd, &r);
    assert_string_equal(r.body, "first\nsecond\nlast\n");
    assert_false(r.closed);
    reply_release(&r);
    close(fd);
}

static void test_followers_that_go_and_a_server_that_goes(void **state)
{
    struct reply r = {0};
    uint64_t deadline = client_deadline();
    int stays, goes;

    set_attempts("running", "running", NULL);
    write_log(1, "first\n");
    stays = send_line("GET /v1/runs/" RUN "/logs?follow=1");
    goes = send_line("GET /v1/runs/" RUN "/logs?follow=1");
    assert_true(client_expect(&loop, goes, &r, "first\n"));
    reply_release(&r);
    assert_int_equal(api->stream_count, 2);
    close(goes);
    while (api->stream_count > 1 && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(api->stream_count, 1);
    stop_api();
    while (!r.closed)
        receive_more(&loop, stays, &r);
    assert_non_null(strstr(r.raw, "first\n"));
    assert_null(strstr(r.raw, "\r\n0\r\n")); /* cut, not ended: the client is to ask again */
    reply_release(&r);
    close(stays);
}

/* ---- health ---- */

static const json_t *find_check(const json_t *reply, const char *name)
{
    const json_t *check;
    size_t i;

    json_array_foreach(json_object_get(reply, "checks"), i,
                       check) if (strcmp(json_string_value(json_object_get(check, "check")), name) ==
                                  0) return check;
    fail_msg("no check '%s'", name);
    return NULL;
}

static void assert_check(const json_t *reply, const char *name, const char *status)
{
    assert_string_equal(json_string_value(json_object_get(find_check(reply, name), "status")), status);
}

static void test_doctor(void **state)
{
    struct reply r = ask("GET /v1/doctor", NULL);
    json_t *reply = body_of(&r);

    assert_check(reply, "leadership", "ok");
    assert_check(reply, "journal", "ok");
    assert_check(reply, "engine docker", "ok");
    assert_check(reply, "data folder", "ok");
    assert_check(reply, "time zones", "ok");
    find_check(reply, "clock");
    find_check(reply, "free space");
    find_check(reply, "event loop");
    json_decref(reply);
    reply_release(&r);

    fake.leading = fake.engine_reachable = false;
    fake.journal_text = "the disk is full";
    fake.engine_clock_offset_ms = -600000;
    assert_answer("GET /v1/doctor", NULL, 200, "its clock was -600 s off this server's");
    fake.engine_clock_offset_ms = 0;
    r = ask("GET /v1/doctor", NULL);
    reply = body_of(&r);
    assert_check(reply, "leadership", "error");
    assert_check(reply, "journal", "error");
    assert_check(reply, "engine docker", "error");
    json_decref(reply);
    reply_release(&r);
}

/* Every line is a comment or a sample; every sample's family was introduced; no sample comes twice. */
static void check_metrics(const char *text)
{
    char seen[512][256];
    size_t seen_count = 0;

    while (*text) {
        size_t n = strcspn(text, "\n"), name = strcspn(text, " ");
        char family[128];

        assert_int_equal(text[n], '\n');
        if (text[0] != '#') {
            char *end;

            assert_true(name < n && name < sizeof(seen[0]));
            strtod(text + name + 1, &end);
            assert_ptr_equal(end, text + n);
            snprintf(seen[seen_count], sizeof(seen[0]), "%.*s", (int)name, text);
            for (size_t i = 0; i < seen_count; i++)
                assert_string_not_equal(seen[i], seen[seen_count]);
            assert_true(++seen_count < 512);
            snprintf(family, sizeof(family), "%.*s", (int)strcspn(text, "{ "), text);
            assert_int_equal(strspn(family, "abcdefghijklmnopqrstuvwxyz_"), strlen(family));
        }
        text += n + 1;
    }
    assert_true(seen_count > 20);
}

static void test_metrics(void **state)
{
    struct reply r;
    char value[64];

    r = ask("GET /v1/jobs", NULL);
    reply_release(&r);
    r = ask("GET /metrics", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(client_header(&r, "Content-Type", value, sizeof(value)),
                        "text/plain; version=0.0.4; charset=utf-8");
    check_metrics(r.body);
    assert_non_null(strstr(r.body, "\ncronsched_leading 1\n"));
    assert_non_null(strstr(r.body, "\ncronsched_engine_up{engine=\"docker\",type=\"docker\"} 1\n"));
    assert_non_null(strstr(r.body, "\ncronsched_journal_append_seconds_sum 0.025000\n"));
    assert_non_null(
        strstr(r.body, "\ncronsched_http_requests_total{method=\"GET\",path=\"/v1/jobs\",code=\"2xx\"} 1\n"));
    assert_non_null(strstr(r.body, "\nprocess_open_fds "));
    assert_non_null(strstr(r.body, "\ncronsched_loop_gap_seconds "));
    reply_release(&r);
}

/* ---- roles ---- */

static void test_apply_is_for_admins_also_when_dry(void **state)
{
    char file[64], token[AUTH_TOKEN_SIZE], line[AUTH_LINE_SIZE], request[512];
    struct api_options o = {.tokens_file = file};
    static const char *const bodies[] = {"{\"jobs\":{}}", "{\"jobs\":{},\"dry_run\":false}",
                                         "{\"jobs\":{},\"dry_run\":true}"};
    struct error e;
    int fd;

    assert_int_equal(auth_token_new("ci", AUTH_OPERATE, token, line, &e), 0);
    snprintf(file, sizeof(file), "%s/tokens", dir);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    close(fd);
    start_api(&o);
    for (int i = 0; i < 3; i++) {
        struct reply r;

        snprintf(
            request, sizeof(request),
            "POST /v1/apply HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s",
            token, strlen(bodies[i]), bodies[i]);
        r = client_exchange(&loop, address, request);
        assert_int_equal(r.status, 403);
        reply_release(&r);
    }
    assert_string_equal(fake.asked, "");

    /* revoked: noticed without a restart */
    fd = open(file, O_WRONLY | O_TRUNC, 0600);
    close(fd);
    assert_int_equal(api_reload(api, &e), 0);
    {
        struct reply r = client_exchange(&loop, address, request);

        assert_int_equal(r.status, 401);
        reply_release(&r);
    }
}

/* ---- the description ---- */

static void on_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    print_error("openapi.yaml:%d:%d: %s\n", line, column, text);
}

static bool is_method(const char *name)
{
    return strcmp(name, "get") == 0 || strcmp(name, "post") == 0 || strcmp(name, "delete") == 0 ||
           strcmp(name, "put") == 0 || strcmp(name, "patch") == 0;
}

static char *read_description(size_t *ret_size)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[512], *text = malloc(1 << 20);
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "%s/contrib/openapi.yaml", root ? root : ".");
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    n = read(fd, text, 1 << 20);
    assert_true(n > 0 && n < 1 << 20);
    close(fd);
    *ret_size = (size_t)n;
    return text;
}

/* The query keys of the operation are those of the route. */
static void assert_query_described(const struct http_route *route, const struct yaml_node *operation)
{
    const struct yaml_node *parameters = yaml_node_get(operation, "parameters");
    char known[256] = "";
    size_t n = 0;

    for (size_t i = 0; parameters && i < parameters->count; i++) {
        const struct yaml_node *in = yaml_node_get(parameters->items[i], "in");

        if (in && strcmp(in->text, "query") == 0)
            n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? "," : "",
                                  yaml_node_get(parameters->items[i], "name")->text);
    }
    if (strcmp(known, route->query ? route->query : "") != 0)
        print_error("%s %s: described query '%s'\n", route->method, route->path, known);
    assert_string_equal(known, route->query ? route->query : "");
}

/* The role of the operation is the route's. */
static void assert_role_described(const struct http_route *route, const struct yaml_node *operation)
{
    const struct yaml_node *role = yaml_node_get(operation, "x-role");
    const char *known = role ? role->text : "(none)";

    if (strcmp(known, auth_role_name(route->role)) != 0)
        fail_msg("%s %s: described for %s, and is for %s", route->method, route->path, known,
                 auth_role_name(route->role));
}

static void test_every_route_is_described_and_every_description_is_a_route(void **state)
{
    static const struct yaml_limits limits = {1 << 20, 100000, 30};
    struct yaml_sink sink = {on_fault};
    const struct yaml_node *paths;
    struct yaml_doc *doc;
    size_t size, described = 0;
    char *text = read_description(&size);

    assert_int_equal(yaml_doc_parse(&doc, text, size, &limits, &sink), 0);
    paths = yaml_node_get(yaml_doc_root(doc), "paths");
    assert_non_null(paths);
    for (size_t i = 0; i < paths->count; i++)
        for (size_t k = 0; k < paths->items[i]->count; k++)
            described += is_method(paths->items[i]->keys[k]->text);
    for (size_t i = 0; i < api_route_count; i++) {
        const struct http_route *r = &api_routes[i];
        const struct yaml_node *path = yaml_node_get(paths, r->path), *operation;
        char method[16];

        for (size_t k = 0; k <= strlen(r->method); k++)
            method[k] = (char)(r->method[k] | (r->method[k] ? 0x20 : 0));
        operation = path ? yaml_node_get(path, method) : NULL;
        if (!operation)
            fail_msg("%s %s is not described", r->method, r->path);
        assert_query_described(r, operation);
        assert_role_described(r, operation);
    }
    assert_int_equal(described, api_route_count);
    yaml_doc_free(doc);
    free(text);
}

#define SERVER(f) cmocka_unit_test_setup_teardown(f, set_up_api, tear_down)
#define PLAIN(f)  cmocka_unit_test_setup_teardown(f, set_up_plain, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_writes),
        SERVER(test_bad_bodies_go_no_further),
        SERVER(test_statuses_of_refusals),
        SERVER(test_a_write_answers_only_when_durable),
        SERVER(test_a_client_that_hangs_up_while_it_waits),
        SERVER(test_closing_with_answers_outstanding),
        SERVER(test_reads),
        SERVER(test_a_read_waits_for_what_is_in_flight),
        SERVER(test_a_read_does_not_wait_for_ever),
        SERVER(test_live_runs_come_before_stored_ones),
        SERVER(test_one_run),
        SERVER(test_records),
        SERVER(test_audit),
        SERVER(test_explain),
        SERVER(test_backfill_knows_what_ran),
        SERVER(test_logs),
        SERVER(test_the_last_lines_of_a_log),
        SERVER(test_logs_that_are_not_there),
        SERVER(test_a_log_is_followed_to_its_end),
        SERVER(test_followers_that_go_and_a_server_that_goes),
        SERVER(test_doctor),
        SERVER(test_metrics),
        PLAIN(test_apply_is_for_admins_also_when_dry),
        cmocka_unit_test(test_every_route_is_described_and_every_description_is_a_route),
    };

    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
