/* A leader that hands over says so, and who asked: the journal has it, and its successor does not call it a failure. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>

static struct batch *last_batch(void)
{
    struct batch *batch = NULL;
    struct error error = {0};

    if (batch_decode(&batch, b.last, strlen(b.last), &error) < 0)
        fail_msg("%s", error.text);
    return batch;
}

/* What the leader before has written comes as a batch; then this replica leads, as the journal says for that cause. */
static void follow_and_lead(const char *written, const char *cause)
{
    struct batch *batch = NULL;
    struct error error = {0}, why = {.code = ERR_DEPOSED};
    char text[2048];

    scheduler_journal_events.deposed(b.scheduler, &why);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    snprintf(text, sizeof(text),
             "{\"n\":1,\"e\":1,\"t\":1763800000000,\"p\":\"\",\"r\":[{\"k\":\"epoch\",\"epoch\":1,"
             "\"replica\":\"q\","
             "\"cluster\":\"c\",\"level\":3}%s]}",
             written);
    if (batch_decode(&batch, text, strlen(text), &error) < 0)
        fail_msg("%s", error.text);
    scheduler_journal_events.batch(b.scheduler, batch, text, strlen(text));
    batch_free(batch);
    scheduler_journal_events.lead(b.scheduler, 2, cause);
    scheduler_flush(b.scheduler);
}

static void test_it_is_recorded_who_asked(void **state)
{
    struct batch *batch;
    const json_t *report;

    scheduler_yield_by(b.scheduler, "alice");
    scheduler_journal_events.yield(b.scheduler);
    batch = last_batch();
    assert_int_equal(batch->records[0].kind, RECORD_TAKEOVER);
    report = batch->records[0].report;
    assert_string_equal(json_string_value(json_object_get(report, "by")), "alice");
    assert_string_equal(json_string_value(json_object_get(report, "text")), "r hands over: asked by alice");
    batch_free(batch);
}

static void test_a_server_that_stops_says_so(void **state)
{
    scheduler_yield_by(b.scheduler, "alice");
    scheduler_yield_by(b.scheduler, NULL); /* it was refused */
    scheduler_stop(b.scheduler);
    scheduler_journal_events.yield(b.scheduler);
    assert_non_null(strstr(b.last, "r hands over: it is stopping"));
}

static void test_the_successor_does_not_call_it_a_failure(void **state)
{
    static const char goes[] =
        ",{\"k\":\"takeover\",\"report\":{\"epoch\":1,\"handing_over\":true,\"text\":\"\"}}";
    static const char *const seen[] = {"session-ended", "connection-closed"};

    for (size_t i = 0; i < 2; i++) {
        follow_and_lead(goes, seen[i]);
        assert_non_null(strstr(b.last, "\"cause\":\"handed-over\""));
        follow_and_lead("", seen[i]);
        assert_null(strstr(b.last, "handed-over"));
        assert_non_null(strstr(b.last, seen[i]));
    }
    follow_and_lead(goes, "start");
    assert_null(strstr(b.last, "handed-over"));
}

static void apply_with_jitter(int job, const char *jitter)
{
    char jobs[256];

    snprintf(jobs, sizeof(jobs),
             "{\"jobs\":{\"job-%d\":{\"image\":\"x\",\"schedule\":\"@every 20s\","
             "\"concurrency\":\"forbid\",\"jitter\":\"%s\"}}}",
             job, jitter);
    bench_apply(json_loads(jobs, 0, NULL));
}

/* An earlier leader has committed it with a jitter that an edit takes away while its engine does not answer: its time comes sooner
 * than it said. It becomes a run, and its job waits for it. */
static void test_a_reservation_whose_time_comes_sooner_holds_its_job(void **state)
{
    int fired = 0;

    /* by its name each has another jitter; one with a short one waits */
    for (int job = 0; job < 10; job++) {
        json_t *shown, *first;
        char name[16];

        bench_setup(NULL);
        apply_with_jitter(job, "20s");
        bench_until(ENGINE_PREPARE);
        bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id", .exit_code = -1});
        bench_restore();
        scheduler_journal_events.lead(b.scheduler, 2, "start");
        bench_settle();
        apply_with_jitter(job, "0s");
        bench_pass(60);
        snprintf(name, sizeof(name), "job-%d", job);
        shown = scheduler_job_json(b.scheduler, name);
        first = json_array_get(json_object_get(shown, "unfinished"), 0);
        fired += strcmp(json_string_value(json_object_get(first, "state")), "starting") == 0;
        json_decref(shown);
        bench_teardown(NULL);
    }
    assert_true(fired > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_is_recorded_who_asked, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_stops_says_so, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_the_successor_does_not_call_it_a_failure, bench_setup,
                                        bench_teardown),
        cmocka_unit_test(test_a_reservation_whose_time_comes_sooner_holds_its_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
