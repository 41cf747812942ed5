/* What an engine has accepted and not started yet: it is watched, told in the engine's words, and withdrawn in time. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>

/* Reaches the state in which the engine has accepted it, and is watched. */
static void bench_accepted(char run[RUN_ID_MAX])
{
    bench_trigger(run);
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){.event = ENGINE_ACCEPTED, .exit_code = -1, .text = "new"});
    bench_until(ENGINE_WATCH);
    assert_int_equal(b.started_ms, 0);
}

/* Of a watch, which goes on. */
static void bench_tell(enum engine_event event, const char *text)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    struct engine_answer answer = {.ticket = b.ticket, .event = event, .exit_code = -1, .text = text};

    if (event == ENGINE_STARTED)
        answer.started_ms = b.now_ms;
    host->answer(host, &answer);
    bench_settle();
}

/* "STATE ATTEMPT'S-STATE TEXT" of a run under way. */
static void expect(const char *run, const char *expected)
{
    json_t *json = scheduler_run_json(b.scheduler, run), *attempt;
    const char *text;
    char seen[256];

    assert_non_null(json);
    attempt = json_array_get(json_object_get(json, "attempts"), 0);
    text = json_string_value(json_object_get(attempt, "text"));
    snprintf(seen, sizeof(seen), "%s %s %s", json_string_value(json_object_get(json, "state")),
             json_string_value(json_object_get(attempt, "state")), text ? text : "-");
    json_decref(json);
    assert_string_equal(seen, expected);
}

static void what_is_accepted_is_not_started_until_it_is(void **state)
{
    char run[RUN_ID_MAX];
    uint64_t before;

    bench_accepted(run);
    expect(run, "starting accepted new");
    bench_tell(ENGINE_PENDING, "no suitable node");
    expect(run, "starting accepted no suitable node");
    before = b.appended;
    bench_tell(ENGINE_PENDING, "no suitable node");
    assert_int_equal(b.appended, before); /* nothing new */
    b.now_ms += 7000;
    bench_tell(ENGINE_STARTED, NULL);
    expect(run, "running running -");
    bench_tell(ENGINE_PENDING, "it comes late");
    expect(run, "running running -");
    bench_answer((struct engine_answer){
        .event = ENGINE_ENDED, .at_ms = b.now_ms + 1000, .exit_code = 0, .cause = "exit"});
    assert_null(scheduler_run_json(b.scheduler, run));
    assert_non_null(strstr(b.last, "\"ended\""));
}

/* An engine that changes its mind all the time does not fill the journal. */
static void its_reasons_are_recorded_so_often_at_most(void **state)
{
    char run[RUN_ID_MAX], text[32];
    uint64_t before;

    bench_accepted(run);
    before = b.appended;
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "reason %d", i);
        bench_tell(ENGINE_PENDING, text);
    }
    assert_int_equal(b.appended - before, 16);
}

static void withdraw(char run[RUN_ID_MAX])
{
    bench_tell(ENGINE_PENDING, "no suitable node");
    for (int s = 0; s < 2 * 3600 && !(b.asked && b.op == ENGINE_STOP); s++) {
        b.now_ms += 1000;
        bench_settle();
    }
    assert_true(b.asked && b.op == ENGINE_STOP);
    expect(run, "starting accepted no suitable node");
}

/* The bench keeps the ticket of the last request alone: of the stop. That of the watch comes before it. */
static void answer_watch(struct engine_answer answer)
{
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    uint64_t stop = b.ticket;

    host->answer(host, &(struct engine_answer){.ticket = stop, .event = ENGINE_DONE, .exit_code = -1});
    b.asked = false;
    answer.ticket = stop - 1;
    host->answer(host, &answer);
    bench_settle();
}

static void what_cannot_start_within_its_limit_is_withdrawn(void **state)
{
    char run[RUN_ID_MAX];
    int64_t fired_ms = b.now_ms;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"start_within\":\"90s\"}}}";
    bench_accepted(run);
    withdraw(run);
    assert_in_range(b.now_ms - fired_ms, 90000, 100000);
    answer_watch((struct engine_answer){
        .event = ENGINE_NEVER_RAN, .exit_code = -1, .text = "withdrawn: no suitable node"});
    assert_null(scheduler_run_json(b.scheduler, run));
    assert_non_null(strstr(b.last, "\"verdict\":\"deadline\",\"text\":\"withdrawn: no suitable node\""));
}

/* The withdrawal came too late: it ran, and that is what is told. */
static void what_started_while_it_was_withdrawn_has_run(void **state)
{
    char run[RUN_ID_MAX];

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\",\"start_within\":\"90s\"}}}";
    bench_accepted(run);
    withdraw(run);
    answer_watch((struct engine_answer){.event = ENGINE_ENDED,
                                        .started_ms = b.now_ms - 10,
                                        .at_ms = b.now_ms,
                                        .exit_code = 143,
                                        .cause = "signal"});
    assert_null(scheduler_run_json(b.scheduler, run));
    assert_non_null(strstr(b.last, "\"k\":\"started\""));
    assert_non_null(strstr(b.last, "\"code\":143"));
}

static void without_a_limit_of_its_own_it_is_withdrawn_too(void **state)
{
    char run[RUN_ID_MAX];
    int64_t fired_ms = b.now_ms;

    bench_accepted(run);
    withdraw(run);
    assert_true(b.now_ms - fired_ms > 60000);
    answer_watch((struct engine_answer){.event = ENGINE_NEVER_RAN, .exit_code = -1});
    assert_null(scheduler_run_json(b.scheduler, run));
    assert_non_null(strstr(b.last, "\"verdict\":\"deadline\""));
}

/* Somebody took it back: it never ran, and is prepared again. */
static void what_others_took_back_is_prepared_again(void **state)
{
    char run[RUN_ID_MAX];

    bench_accepted(run);
    bench_answer((struct engine_answer){.event = ENGINE_NEVER_RAN, .exit_code = -1, .text = "scaled to 0"});
    if (b.asked && b.op == ENGINE_DISCARD)
        b.asked = false;
    bench_until(ENGINE_PREPARE);
}

static void a_new_leader_watches_it_and_does_not_fence_it(void **state)
{
    char run[RUN_ID_MAX];

    bench_accepted(run);
    bench_restore();
    b.asked = false;
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    for (int s = 0; s < 10 && !b.asked; s++) {
        b.now_ms += 1000;
        bench_settle();
    }
    assert_int_equal(b.op, ENGINE_WATCH);
    expect(run, "starting accepted new");
}

static void an_engine_that_is_away_leaves_it_unresolved_for_a_while(void **state)
{
    char run[RUN_ID_MAX];

    bench_accepted(run);
    bench_tell(ENGINE_UNREACHABLE, "no answer");
    expect(run, "unresolved accepted new");
    bench_tell(ENGINE_PENDING, "new");
    expect(run, "starting accepted new");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_accepted_is_not_started_until_it_is, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(its_reasons_are_recorded_so_often_at_most, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_start_within_its_limit_is_withdrawn, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(what_started_while_it_was_withdrawn_has_run, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(without_a_limit_of_its_own_it_is_withdrawn_too, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(what_others_took_back_is_prepared_again, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_new_leader_watches_it_and_does_not_fence_it, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(an_engine_that_is_away_leaves_it_unresolved_for_a_while, bench_setup,
                                        bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
