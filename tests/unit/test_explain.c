/* explain, through the real store: why a fire time ran, was skipped, is open, or is none at all. */
#include "jobs/audit/explain.h"

#include "jobs/base/alloc.h"
#include "jobs/base/duration.h"
#include "jobs/base/text.h"
#include "jobs/history/store_db.h"
#include "jobs/time/instant.h"
#include "jobs/time/zoneinfo.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];
static struct store_db *db;
static sqlite3 *reader;
static struct zoneinfo *zones;
static struct history_write *pending;
static uint64_t written;

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cronsched-explain-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/history.db", dir);
    written = 0;
    return store_db_open(&db, path, NULL) || store_reader_open(&reader, path, NULL) ||
           zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL);
}

static int tear_down(void **state)
{
    sqlite3_close(reader);
    store_db_close(db);
    zoneinfo_free(zones);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int64_t ms(const char *time)
{
    int64_t value;

    assert_int_equal(instant_parse(time, &value, NULL), 0);
    return value;
}

/* ---- batches ---- */

static void at(const char *time, int epoch)
{
    pending = alloc_zero(sizeof(*pending));
    pending->index = ++written;
    pending->epoch = epoch;
    pending->time_ms = ms(time);
}

static void flush(void)
{
    struct error error = {0};

    if (store_db_write(db, pending, 1, false, &error) < 0)
        fail_msg("%s", error.text);
    history_write_free(pending);
}

/* One record in a batch of its own. */
static void record(const char *time, int epoch, const char *kind, const char *job, const char *run,
                   const char *json)
{
    at(time, epoch);
    pending->records = alloc_zero(sizeof(*pending->records));
    pending->record_count = 1;
    pending->records[0] =
        (struct history_record){alloc_text(kind), alloc_text(job), alloc_text(run), alloc_text(json)};
    flush();
}

static void define(const char *time, int version, const char *def)
{
    char json[2048];
    long long instant = ms(time);

    snprintf(json, sizeof(json),
             "{\"k\":\"job\",\"job\":\"a\",\"version\":%d,\"def\":%s,\"seed\":7,\"anchor\":%lld,\"cursor\":%"
             "lld,\"by\":\"ann\"}",
             version, def, instant / 1000 * 1000, instant);
    record(time, 1, "job", "a", NULL, json);
}

static void skipped(const char *time, const char *from, const char *to, int count, const char *reason,
                    const char *text)
{
    at(time, 1);
    pending->skips = alloc_zero(sizeof(*pending->skips));
    pending->skip_count = 1;
    pending->skips[0] = (struct history_skip){alloc_text("a"),    ms(from),         ms(to),          count,
                                              alloc_text(reason), alloc_text(text), pending->time_ms};
    flush();
}

static void run_row(const char *time, const char *run, const char *fire, const char *json)
{
    json_t *parsed = json_loads(json, 0, NULL);
    const char *state = json_string_value(json_object_get(parsed, "state"));

    assert_non_null(state);
    at(time, 1);
    pending->runs = alloc_zero(sizeof(*pending->runs));
    pending->run_count = 1;
    pending->runs[0] = (struct history_run){
        .run = alloc_text(run),
        .job = alloc_text("a"),
        .at_ms = ms(fire),
        .fire_ms = ms(fire),
        .state = alloc_text(state),
        .over = strcmp(state, "ended") == 0 || strcmp(state, "skipped") == 0,
        .json = alloc_text(json),
    };
    json_decref(parsed);
    flush();
}

/* ---- asking ---- */

static json_t *explain_now(const char *time, const char *now)
{
    struct explain_request request;
    json_t *answers[EXPLAIN_PARTS], *result = NULL;
    struct error error = {0};
    int rc;

    explain_init(&request, "a", ms(time), ms(now), 60000);
    for (int i = 0; i < EXPLAIN_PARTS; i++) {
        struct history_query query;

        explain_query(&request, (enum explain_part)i, &query);
        assert_int_equal(store_query(reader, &query, &answers[i], NULL), 0);
    }
    rc = explain_build(&request, answers, zoneinfo_source(zones), &result, &error);
    for (int i = 0; i < EXPLAIN_PARTS; i++)
        json_decref(answers[i]);
    if (rc < 0) {
        assert_int_equal(rc, ERR_NOT_FOUND);
        assert_string_equal(error.text, "the history has no job a");
    }
    return result;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const char *text_or_none(const json_t *object, const char *key)
{
    const char *text = text_of(object, key);

    return *text ? text : "none";
}
/* All of an explanation in lines, malloc'd. */
static char *text_of_explanation(const json_t *explained)
{
    json_t *line;
    struct text t;
    size_t i;

    text_init(&t, 1 << 20);
    text_addf(&t, "%s at %s: %s\n", text_of(explained, "job"), text_of(explained, "time"),
              text_of(explained, "text"));
    json_array_foreach(json_object_get(explained, "lines"), i, line) text_addf(
        &t, "  %-24s  %-9s  %s\n", text_of(line, "time"), text_of(line, "what"), text_of(line, "text"));
    if (!json_is_true(json_object_get(explained, "is_fire_time")))
        text_addf(&t, "  nearest fire times: %s before, %s after\n", text_or_none(explained, "previous"),
                  text_or_none(explained, "next"));
    return text_take(&t);
}

/* The text for people must have these lines, in this order; one that begins with "!" must not be there. */
static void assert_explains(const char *time, const char *now, bool is_fire_time, const char *verdict,
                            const char *const *lines)
{
    json_t *result = explain_now(time, now);
    char *text;
    const char *from;

    assert_non_null(result);
    from = text = text_of_explanation(result);
    for (; *lines; lines++) {
        const char *found = **lines == '!' ? strstr(text, *lines + 1) : strstr(from, *lines);

        if (**lines == '!' ? found != NULL : found == NULL)
            fail_msg("\"%s\" in:\n%s", *lines, text);
        if (**lines != '!')
            from = found;
    }
    if (strcmp(json_string_value(json_object_get(result, "verdict")), verdict) != 0)
        fail_msg("%s, not %s:\n%s", json_string_value(json_object_get(result, "verdict")), verdict, text);
    assert_int_equal(json_is_true(json_object_get(result, "is_fire_time")), is_fire_time);
    free(text);
    json_decref(result);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_unknown_job(void **state)
{
    assert_null(explain_now("2026-11-22T03:00:00Z", "2026-11-23T00:00:00Z"));
}

static void test_whole_chain(void **state)
{
    const char *run = "a@20261122T013000Z";

    record("2026-11-20T00:00:00Z", 6, "epoch", NULL, NULL,
           "{\"k\":\"epoch\",\"epoch\":6,\"replica\":\"r1\"}");
    define("2026-11-21T12:00:00Z", 1, "{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}");
    record("2026-11-22T01:29:30Z", 6, "arm", "a", run,
           "{\"k\":\"arm\",\"run\":\"a@20261122T013000Z\",\"attempt\":1,\"try\":1,\"engine\":\"docker\","
           "\"fire\":1795311000000,"
           "\"due\":1795311000000}");
    record("2026-11-22T01:29:31Z", 6, "committed", "a", run,
           "{\"k\":\"committed\",\"run\":\"a@20261122T013000Z\",\"attempt\":1,\"id\":\"c0ffee\",\"boot\":\"b-"
           "1\"}");
    record("2026-11-22T01:30:00.004Z", 6, "fire", "a", run,
           "{\"k\":\"fire\",\"run\":\"a@20261122T013000Z\",\"fire\":1795311000000,\"due\":1795311000000}");
    record("2026-11-22T01:30:00.200Z", 6, "started", "a", run,
           "{\"k\":\"started\",\"run\":\"a@20261122T013000Z\",\"attempt\":1,\"at\":1795311000150}");
    record("2026-11-22T01:31:00Z", 7, "epoch", NULL, NULL,
           "{\"k\":\"epoch\",\"epoch\":7,\"replica\":\"r2\",\"cause\":\"connection refused\"}");
    record("2026-11-22T01:35:00Z", 7, "ended", "a", run,
           "{\"k\":\"ended\",\"run\":\"a@20261122T013000Z\",\"attempt\":1,\"at\":1795311300150,\"code\":3,"
           "\"cause\":\"exit\"}");
    record("2026-11-22T01:40:00Z", 8, "epoch", NULL, NULL,
           "{\"k\":\"epoch\",\"epoch\":8,\"replica\":\"r3\"}");
    run_row("2026-11-22T01:35:00Z", run, "2026-11-22T01:30:00Z",
            "{\"run\":\"a@20261122T013000Z\",\"job\":\"a\",\"state\":\"ended\",\"verdict\":\"failed\",\"exit_"
            "code\":3,"
            "\"started\":\"2026-11-22T01:30:00.150Z\",\"ended\":\"2026-11-22T01:35:00.150Z\",\"attempts\":[{"
            "\"attempt\":1}]}");
    assert_explains("2026-11-22T01:30:00Z", "2026-11-23T00:00:00Z", true, "failed",
                    LINES("a at 2026-11-22T01:30:00Z: it failed, exit code 3, after 5m",
                          "\"30 2 * * *\": ", "2026-11-22T02:30:00+01:00 in Europe/Paris",
                          "it is a fire time", "replica r1 leads: epoch 6", "version 1 is defined by ann",
                          "attempt 1, try 1: reserved on engine docker, due at 2026-11-22T01:30:00Z; epoch 6",
                          "the engine has prepared c0ffee; only epoch 6 may start it",
                          "becomes a run, to be released at 2026-11-22T01:30:00Z; epoch 6",
                          "the engine says that it started at 2026-11-22T01:30:00.150Z\n",
                          "replica r2 leads: epoch 7, connection refused",
                          "ended at 2026-11-22T01:35:00.150Z with exit code 3, exit\n",
                          "2026-11-22T01:35:00Z      verdict    it failed", "!epoch 8", "!nearest"));
}

static void test_skips(void **state)
{
    define("2026-11-21T12:00:00Z", 1, "{\"schedule\":[\"0 * * * *\"]}");
    run_row("2026-11-22T01:00:00Z", "a@20261122T010000Z", "2026-11-22T01:00:00Z",
            "{\"run\":\"a@20261122T010000Z\",\"state\":\"ended\",\"verdict\":\"succeeded\",\"ended\":\"2026-"
            "11-22T02:20:00.000Z\"}");
    skipped("2026-11-22T02:00:00.010Z", "2026-11-22T02:00:00Z", "2026-11-22T02:00:00Z", 1, "overlap",
            "a@20261122T010000Z has not ended");
    record("2026-11-22T02:30:00Z", 1, "pause", NULL, NULL,
           "{\"k\":\"pause\",\"until\":1795330800000,\"reason\":\"move of the rack\",\"by\":\"bob\"}");
    skipped("2026-11-22T07:00:01Z", "2026-11-22T03:00:00Z", "2026-11-22T06:00:00Z", 4, "paused",
            "move of the rack");
    record("2026-11-22T07:00:01Z", 1, "resume", NULL, NULL, "{\"k\":\"resume\",\"by\":\"expiry\"}");
    record("2026-11-22T07:30:00Z", 1, "pause", "b", NULL, "{\"k\":\"pause\",\"job\":\"b\"}");
    assert_explains("2026-11-22T02:00:00Z", "2026-11-23T00:00:00Z", true, "overlap",
                    LINES("it was skipped: overlap",
                          "overlap    a@20261122T010000Z had not ended then: it ended at 2026-11-22T02:20",
                          "skipped: overlap, a@20261122T010000Z has not ended\n", "!pause"));
    assert_explains("2026-11-22T04:00:00Z", "2026-11-23T00:00:00Z", true, "paused",
                    LINES("it was skipped: paused",
                          "2026-11-22T02:30:00Z      pause      all jobs are paused until "
                          "2026-11-22T07:00:00Z by bob: move of the rack",
                          "2026-11-22T07:00:00Z      pause      the pause ends by expiry",
                          "skipped: paused, move of the rack; one of 4 fire times from 2026-11-22T03:00:00Z "
                          "to 2026-11-22T06:00:00Z"));
    /* nobody recorded anything for this one, though it is long past */
    assert_explains("2026-11-22T08:00:00Z", "2026-11-23T00:00:00Z", true, "unaccounted",
                    LINES("no run and no skip is recorded", "!pause"));
    assert_explains("2026-11-22T08:00:00Z", "2026-11-22T08:00:30Z", true, "open", LINES("it is due now"));
    assert_explains("2026-11-22T08:00:00Z", "2026-11-22T07:50:00Z", true, "open", LINES("it is not due yet"));
}

static void test_still_paused(void **state)
{
    define("2026-11-21T12:00:00Z", 1, "{\"schedule\":[\"0 * * * *\"],\"paused\":true}");
    assert_explains(
        "2026-11-22T08:00:00Z", "2026-11-23T00:00:00Z", true, "open",
        LINES("it waits for the end of the pause", "the job is paused by ann: paused in its file"));
    assert_explains("2026-11-22T08:00:00Z", "2026-11-22T08:00:30Z", true, "open",
                    LINES("it waits for the end of the pause", "!it is due now"));
}

static void test_versions(void **state)
{
    define("2026-11-21T12:00:00Z", 1, "{\"schedule\":[\"0 * * * *\"]}");
    define("2026-11-22T02:30:00Z", 2, "{\"schedule\":[\"15 * * * *\"]}");
    record("2026-11-22T05:30:00Z", 1, "delete", "a", NULL, "{\"k\":\"delete\",\"job\":\"a\",\"by\":\"bob\"}");
    define("2026-11-22T08:30:00Z", 1, "{\"schedule\":[\"0 * * * *\"]}");
    assert_explains("2026-11-22T02:00:00Z", "2026-11-23T00:00:00Z", true, "unaccounted",
                    LINES("version 1 is defined by ann, in force for fire times after 2026-11-21T12:00:00Z",
                          "a newer version takes over"));
    assert_explains("2026-11-22T03:00:00Z", "2026-11-23T00:00:00Z", false, "not-a-fire-time",
                    LINES("the expression does not name this time", "version 2 is defined",
                          "the job is deleted by bob",
                          "nearest fire times: 2026-11-22T02:15:00Z before, 2026-11-22T03:15:00Z after"));
    assert_explains("2026-11-22T07:00:00Z", "2026-11-23T00:00:00Z", false, "not-defined",
                    LINES("it was not defined then: deleted at 2026-11-22T05:30:00Z by bob",
                          "it was defined at 2026-11-22T08:30:00Z by ann"));
    assert_explains("2026-11-20T07:00:00Z", "2026-11-23T00:00:00Z", false, "not-defined",
                    LINES("not then: it was defined at 2026-11-21T12:00:00Z"));
}

static void test_a_job_that_was_taken_over(void **state)
{
    static const char *const sets[] = {"", ",\"set\":\"x\"", ",\"set\":\"x\"", ",\"set\":\"y\"", ""};
    static const char *const times[] = {"2026-11-21T12:30:00Z", "2026-11-22T12:30:00Z",
                                        "2026-11-23T12:30:00Z", "2026-11-24T12:30:00Z",
                                        "2026-11-25T12:30:00Z"};
    char json[512];

    for (int i = 0; i < 5; i++) {
        snprintf(
            json, sizeof(json),
            "{\"k\":\"job\",\"job\":\"a\",\"version\":%d,\"def\":{\"schedule\":[\"0 * * * *\"]},\"seed\":7,"
            "\"anchor\":%lld,\"cursor\":%lld,\"by\":\"ann\"%s}",
            i + 1, (long long)ms(times[i]), (long long)ms(times[i]), sets[i]);
        record(times[i], 1, "job", "a", NULL, json);
    }
    assert_explains("2026-11-23T00:00:00Z", "2026-11-26T00:00:00Z", true, "unaccounted",
                    LINES("version 2 is defined by ann, taken over from no set, in force"));
    assert_explains("2026-11-24T00:00:00Z", "2026-11-26T00:00:00Z", true, "unaccounted",
                    LINES("version 3 is defined by ann, in force"));
    assert_explains("2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z", true, "unaccounted",
                    LINES("version 4 is defined by ann, taken over from the set x, in force"));
    assert_explains("2026-11-25T20:00:00Z", "2026-11-26T00:00:00Z", true, "unaccounted",
                    LINES("version 5 is defined by ann, taken over from the set y, in force"));
}

static void test_no_fire_time(void **state)
{
    static const struct {
        const char *def, *time, *expected;
    } cases[] = {
        {"{\"image\":\"x\"}", "2026-11-22T03:00:00Z", "it has no schedule: it runs when it is triggered"},
        {"{\"after\":[\"b\",\"c\"]}", "2026-11-22T03:00:00Z", "it has no schedule: it runs after b, c"},
        {"{\"schedule\":[\"30 2 * * *\"]}", "2026-11-22T03:00:00Z", "the expression does not name this time"},
        {"{\"schedule\":[\"30 2 * * *\"]}", "2026-11-22T02:30:00.250Z", "fire times are whole seconds"},
        {"{\"schedule\":[\"30 2 * * *\"],\"except\":[\"2026-12-25\",\"2026-11-20/2026-11-25\"]}",
         "2026-11-22T02:30:00Z", "the day is excluded: except \"2026-11-20/2026-11-25\""},
        {"{\"schedule\":[\"30 2 * * *\"],\"start\":\"2026-11-23\"}", "2026-11-22T02:30:00Z",
         "it is before the job's start, 2026-11-23"},
        {"{\"schedule\":[\"30 2 * * *\"],\"end\":\"2026-11-21\"}", "2026-11-22T02:30:00Z",
         "it is after the job's end, 2026-11-21"},
        {"{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}", "2026-10-25T01:30:00Z",
         "it is the second pass of a time that the zone's clocks repeat; dst: hybrid runs the first only"},
        {"{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\",\"dst\":\"skip\"}",
         "2026-03-29T01:00:00Z",
         "the wall time falls into a gap of the zone's clocks; dst: skip leaves it out"},
        {"{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}", "2026-11-22T02:30:00Z",
         "dst: hybrid does not run it; dst: utc would"},
        {"{\"schedule\":[\"0 25 * * *\"]}", "2026-11-22T03:00:00Z",
         "the definition cannot be read any more: "},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        define("2026-01-01T00:00:00Z", 1, cases[i].def);
        assert_explains(cases[i].time, "2026-12-01T00:00:00Z", false, "not-a-fire-time",
                        LINES(cases[i].expected));
        tear_down(NULL);
        set_up(NULL);
    }
}

static void test_dst_marks(void **state)
{
    define("2026-01-01T00:00:00Z", 1, "{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}");
    assert_explains("2026-03-29T01:00:00Z", "2026-12-01T00:00:00Z", true, "unaccounted",
                    LINES("2026-03-29T03:00:00+02:00 in Europe/Paris", "it runs at the end of the gap"));
    assert_explains("2026-10-25T00:30:00Z", "2026-12-01T00:00:00Z", true, "unaccounted",
                    LINES("the first pass of a time that the zone's clocks repeat"));
}

static void test_jitter(void **state)
{
    json_t *result;
    char released[TEXT_NUMBER_BUFFER];
    const char *text;
    size_t i;
    json_t *line;
    int64_t jitter_ms = 0;

    define("2026-01-01T00:00:00Z", 1, "{\"schedule\":[\"30 2 * * *\"],\"jitter\":\"1h\"}");
    result = explain_now("2026-11-22T02:30:00Z", "2026-12-01T00:00:00Z");
    json_array_foreach(json_object_get(result, "lines"), i, line)
    {
        text = json_string_value(json_object_get(line, "text"));
        if (strcmp(json_string_value(json_object_get(line, "what")), "jitter") == 0) {
            char duration[TEXT_NUMBER_BUFFER];

            assert_int_equal(sscanf(text, "it is released %63s later", duration), 1);
            assert_int_equal(duration_parse(duration, &jitter_ms, NULL), 0);
        }
    }
    json_decref(result);
    assert_true(jitter_ms > 0);
    instant_format(ms("2026-11-22T02:30:00Z") + jitter_ms, INSTANT_S, released, sizeof(released));
    assert_explains(released, "2026-12-01T00:00:00Z", false, "not-a-fire-time",
                    LINES("the fire time 2026-11-22T02:30:00Z is released then"));
}

static void test_manual_run(void **state)
{
    define("2026-11-22T10:15:02.050Z", 1, "{\"schedule\":[\"30 2 * * *\"]}");
    record("2026-11-22T10:15:02.123Z", 4, "trigger", "a", "a@20261122T101502.123Z",
           "{\"k\":\"trigger\",\"run\":\"a@20261122T101502.123Z\",\"cause\":\"manual\",\"by\":\"ann\","
           "\"key\":\"k1\"}");
    run_row("2026-11-22T10:15:03Z", "a@20261122T101502.123Z", "2026-11-22T10:15:02.123Z",
            "{\"run\":\"a@20261122T101502.123Z\",\"state\":\"running\",\"verdict\":null}");
    assert_explains(
        "2026-11-22T10:15:02.123Z", "2026-12-01T00:00:00Z", false, "open",
        LINES("it has not ended: running", "triggered by ann, cause manual, key k1; epoch 4", "!not then"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_unknown_job),
        T(test_whole_chain),
        T(test_skips),
        T(test_still_paused),
        T(test_versions),
        T(test_no_fire_time),
        T(test_a_job_that_was_taken_over),
        T(test_dst_marks),
        T(test_jitter),
        T(test_manual_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
