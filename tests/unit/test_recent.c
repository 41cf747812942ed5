/* What is kept of a job's last runs: from its record level on, the same after a snapshot, nothing hostile in it. */
#include "jobs/state/state.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define T0 INT64_C(1798761600000) /* 2027-01-01T00:00:00Z */
#define JOB                                                                                                  \
    "{\"k\":\"job\",\"job\":\"a\",\"version\":1,\"seed\":1,\"anchor\":0,\"cursor\":0,\"def\":{\"image\":"    \
    "\"x\"}}"

/* A batch of these records, an array in JSON, after all that is there. */
static void apply_records(struct state *s, int64_t time_ms, const char *records)
{
    struct error error = {0};
    struct batch *b = NULL;
    struct text t;

    text_init(&t, 65536);
    text_addf(&t, "{\"n\":%llu,\"e\":1,\"t\":%lld,\"p\":\"%s\",\"r\":%s}", (unsigned long long)s->index + 1,
              (long long)time_ms, s->hash, records);
    if (batch_decode(&b, text_str(&t), t.len, &error) < 0 ||
        state_apply(s, b, text_str(&t), t.len, NULL, &error) < 0)
        fail_msg("%s", error.text);
    batch_free(b);
    text_release(&t);
}

static void begin(struct state *s, int level)
{
    char records[512];

    state_init(s);
    snprintf(records, sizeof(records),
             "[{\"k\":\"epoch\",\"epoch\":1,\"replica\":\"r\",\"cluster\":\"c\",\"level\":%d}," JOB "]",
             level);
    apply_records(s, T0, records);
}

/* A run that ends with this code, `nth` of its job. */
static void run(struct state *s, int nth, int code)
{
    char records[1024], id[RUN_ID_MAX];
    int64_t at_ms = T0 + nth * INT64_C(60000);

    run_id_format("a", at_ms, true, id);
    snprintf(
        records, sizeof(records),
        "[{\"k\":\"trigger\",\"run\":\"%s\",\"fire\":%lld,\"cause\":\"manual\"},"
        "{\"k\":\"arm\",\"run\":\"%s\",\"attempt\":1,\"try\":1,\"engine\":\"e\",\"fire\":%lld,\"due\":%lld},"
        "{\"k\":\"committed\",\"run\":\"%s\",\"attempt\":1,\"id\":\"i\"},"
        "{\"k\":\"started\",\"run\":\"%s\",\"attempt\":1,\"at\":%lld},"
        "{\"k\":\"ended\",\"run\":\"%s\",\"attempt\":1,\"at\":%lld,\"code\":%d}]",
        id, (long long)at_ms, id, (long long)at_ms, (long long)at_ms, id, id, (long long)at_ms, id,
        (long long)at_ms + 1500, code);
    apply_records(s, at_ms, records);
}

static void verdicts_are_counted_and_kept(void **state)
{
    struct state s, again;
    const struct job_state *j;
    struct error error = {0};
    size_t size, size_again;
    char *text, *text_again;

    (void)state;
    begin(&s, RECORD_RECENT_LEVEL);
    j = state_job(&s, "a");
    run(&s, 1, 0);
    run(&s, 2, 1);
    run(&s, 3, 1);
    assert_string_equal(j->recent.strip, "sff");
    assert_int_equal(j->recent.failures, 2);
    assert_int_equal(j->recent.success_ms, T0 + 60000);
    assert_int_equal(j->recent.duration_ms, 1500);
    apply_records(&s, T0 + 240000,
                  "[{\"k\":\"skipped\",\"job\":\"a\",\"from\":1798761900000,\"to\":1798762200000,\"count\":6,"
                  "\"reason\":\"paused\"}]");
    assert_string_equal(j->recent.strip, "sffp");
    assert_int_equal(j->recent.counts[VERDICT_PAUSED], 6);
    assert_int_equal(j->recent.failures, 2);

    text = state_encode(&s, &size);
    state_init(&again);
    assert_int_equal(state_decode(&again, text, size, &error), 0);
    assert_memory_equal(&state_job(&again, "a")->recent, &j->recent, sizeof(j->recent));
    text_again = state_encode(&again, &size_again);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    state_release(&again);

    for (int i = 5; i < 40; i++)
        run(&s, i, 0);
    assert_string_equal(j->recent.strip, "ssssssssssssssssssssssss");
    assert_int_equal(j->recent.failures, 0);
    assert_int_equal(j->recent.counts[VERDICT_SUCCEEDED], 36);
    state_release(&s);
}

/* A job that is deleted and made again has nothing of its earlier life. */
static void a_job_that_is_made_again_begins_anew(void **state)
{
    struct state s;

    (void)state;
    begin(&s, RECORD_RECENT_LEVEL);
    run(&s, 1, 1);
    apply_records(&s, T0 + 120000, "[{\"k\":\"delete\",\"job\":\"a\"}," JOB "]");
    assert_string_equal(state_job(&s, "a")->recent.strip, "");
    assert_int_equal(state_job(&s, "a")->recent.failures, 0);
    state_release(&s);
}

/* Before all replicas know of it the state has nothing that the older ones have not. */
static void below_its_level_nothing_is_kept(void **state)
{
    struct state s;
    char *text;
    size_t size;

    (void)state;
    begin(&s, RECORD_RECENT_LEVEL - 1);
    run(&s, 1, 1);
    text = state_encode(&s, &size);
    assert_null(strstr(text, "recent"));
    free(text);
    apply_records(&s, T0 + 120000, "[{\"k\":\"rise\",\"level\":5}]");
    assert_int_equal(state_recent(state_job(&s, "a")).failures, 1); /* from what the older build kept */
    run(&s, 3, 1);
    assert_string_equal(state_job(&s, "a")->recent.strip, "ff");
    assert_int_equal(state_job(&s, "a")->recent.failures, 2);
    state_release(&s);
}

static void what_does_not_fit_is_refused(void **state)
{
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "7",
                                      "{\"strip\":\"\"}",
                                      "{\"strip\":\"sx\"}",
                                      "{\"strip\":\"sssssssssssssssssssssssss\"}",
                                      "{\"strip\":5,\"counts\":{}}"};
    struct recent r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);

        assert_int_equal(recent_decode(&r, json), ERR_CORRUPT);
        json_decref(json);
    }
    assert_int_equal(recent_decode(&r, NULL), 0);
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++) /* each has a letter of its own */
        assert_int_equal(recent_verdict_of_letter(recent_letter(v)), v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_counted_and_kept),
        cmocka_unit_test(a_job_that_is_made_again_begins_anew),
        cmocka_unit_test(below_its_level_nothing_is_kept),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
