/* The state: what version 0.1 wrote is read, and written again byte for byte; what does not fit is refused.
 *
 * tests/data/state holds a journal with every verdict, cause, stop reason and state, the rows that it gave to
 * history, and the snapshot after it, all as version 0.1 wrote them. They stay as they are: replicas of two
 * versions read one another's batches and compare hashes of their states.
 */
#include "jobs/state/state.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FILE_MAX (1024 * 1024)

/* ---- what version 0.1 wrote ---- */

static char *read_data(const char *name)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], *text = alloc_zero(FILE_MAX);
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/tests/data/state/%s", root ? root : ".", name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    size = fread(text, 1, FILE_MAX - 1, file);
    assert_in_range(size, 1, FILE_MAX - 2);
    fclose(file);
    return text;
}

static void add_history(struct text *t, const struct history_write *w)
{
    for (size_t i = 0; i < w->run_count; i++) {
        const struct history_run *r = &w->runs[i];

        text_addf(t, "run %s %s %s %s\n", r->run, r->state, r->verdict ? r->verdict : "-", r->json);
    }
    for (size_t i = 0; i < w->skip_count; i++) {
        const struct history_skip *k = &w->skips[i];

        text_addf(t, "skip %s %lld %s %s\n", k->job, (long long)k->count, k->reason, k->text);
    }
    for (size_t i = 0; i < w->record_count; i++)
        text_addf(t, "record %s %s\n", w->records[i].kind, w->records[i].json);
}

/* A line of the journal: written again to the same bytes, applied, and its rows added to history. */
static void apply_line(struct state *s, char *line, struct text *history)
{
    struct history_write *write = NULL;
    struct error error = {0};
    struct batch *b = NULL;
    size_t size;
    char *again;

    if (batch_decode(&b, line, strlen(line), &error) < 0)
        fail_msg("%s", error.text);
    again = batch_encode(b, &size);
    assert_string_equal(again, line);
    if (state_apply(s, b, line, strlen(line), &write, &error) < 0)
        fail_msg("%s", error.text);
    add_history(history, write);
    history_write_free(write);
    free(again);
    batch_free(b);
}

static void apply_journal(struct state *s, struct text *history)
{
    char *journal = read_data("journal-0.1.jsonl"), *rest = journal;
    int lines = 0;

    state_init(s);
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++)
        apply_line(s, line, history);
    assert_int_equal(lines, 58);
    free(journal);
}

static void a_journal_of_0_1_gives_the_same_state_and_history(void **state)
{
    char *snapshot = read_data("snapshot-0.1.json"), *rows = read_data("history-0.1.txt"), *text;
    struct text history;
    struct state s;
    size_t size;

    (void)state;
    text_init(&history, FILE_MAX);
    apply_journal(&s, &history);
    assert_string_equal(text_str(&history), rows);
    text = state_encode(&s, &size);
    assert_string_equal(text, snapshot);
    free(text);
    free(rows);
    free(snapshot);
    text_release(&history);
    state_release(&s);
}

static void a_snapshot_of_0_1_is_read_and_written_again(void **state)
{
    char *snapshot = read_data("snapshot-0.1.json"), *text;
    struct error error = {0};
    struct state s;
    size_t size;

    (void)state;
    state_init(&s);
    if (state_decode(&s, snapshot, strlen(snapshot), &error) < 0)
        fail_msg("%s", error.text);
    text = state_encode(&s, &size);
    assert_string_equal(text, snapshot);
    free(text);
    free(snapshot);
    state_release(&s);
}

/* ---- what does not fit ---- */

/* Applies one more batch of these records, an array in JSON; what becomes of it. */
static int apply_records(struct state *s, const char *records, struct error *error)
{
    char line[8192];
    struct batch *b = NULL;
    int rc;

    snprintf(line, sizeof(line), "{\"n\":%llu,\"e\":1,\"t\":1763800000000,\"p\":\"%s\",\"r\":%s}",
             (unsigned long long)s->index + 1, s->hash, records);
    rc = batch_decode(&b, line, strlen(line), error);
    if (rc == 0)
        rc = state_apply(s, b, line, strlen(line), NULL, error);
    batch_free(b);
    return rc;
}

/* A leader and a job. */
static void begin(struct state *s)
{
    struct error error = {0};

    state_init(s);
    if (apply_records(
            s,
            "[{\"k\":\"epoch\",\"epoch\":1,\"replica\":\"r\",\"cluster\":\"c\",\"level\":2},"
            "{\"k\":\"job\",\"job\":\"a\",\"version\":1,\"def\":{\"image\":\"x\",\"retries\":{\"max\":3},"
            "\"on_lost\":\"rerun\"},\"seed\":1,"
            "\"anchor\":0,\"cursor\":0}]",
            &error) < 0)
        fail_msg("%s", error.text);
}

#define RUN     "a@20251122T082640.000Z"
#define TRIGGER "{\"k\":\"trigger\",\"run\":\"" RUN "\",\"fire\":1763800000000,\"cause\":\"manual\"}"
#define ATTEMPT "\"run\":\"" RUN "\",\"attempt\":1"
#define ARM                                                                                                  \
    "{\"k\":\"arm\"," ATTEMPT ",\"try\":1,\"engine\":\"d\",\"fire\":1763800000000,\"due\":1763800000000}"
#define COMMIT   "{\"k\":\"committed\"," ATTEMPT ",\"id\":\"c1\"}"
#define STARTED  "{\"k\":\"started\"," ATTEMPT ",\"at\":1763800000000}"
#define STOPPING "{\"k\":\"stopping\"," ATTEMPT ",\"reason\":\"killed\"}"
#define RUNNING  TRIGGER "," ARM "," COMMIT "," STARTED

/* A journal is outside input: a word that is not in its table is refused like any other error. */
static void words_that_are_not_known_are_refused(void **state)
{
    static const struct {
        const char *records, *why;
    } cases[] = {
        {"[{\"k\":\"trigger\",\"run\":\"" RUN "\",\"fire\":1763800000000,\"cause\":\"moon\"}]", "cause"},
        {"[{\"k\":\"fire\",\"run\":\"" RUN "\",\"fire\":1763800000000,\"due\":1763800000000,\"cause\":\"\"}]",
         "cause"},
        {"[" RUNNING ",{\"k\":\"stopping\"," ATTEMPT ",\"reason\":\"boredom\"}]", "reason"},
        {"[" TRIGGER ",{\"k\":\"closed\",\"run\":\"" RUN "\",\"verdict\":\"fine\"}]", "verdict"},
        {"[{\"k\":\"skipped\",\"job\":\"a\",\"from\":0,\"to\":0,\"count\":1,\"reason\":\"succeeded\"}]",
         "skip"},
        {"[{\"k\":\"skipped\",\"job\":\"a\",\"from\":0,\"to\":0,\"count\":1,\"reason\":\"rain\"}]", "skip"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {0};
        struct state s;

        begin(&s);
        if (apply_records(&s, cases[i].records, &error) != ERR_CORRUPT || !strstr(error.text, cases[i].why))
            fail_msg("%s: %s", cases[i].records, error.text);
        state_release(&s);
    }
}

/* What a newer build wrote is refused when it is decoded, not when it is applied: the replica stands aside. */
static void a_job_of_a_newer_build_is_refused_before_it_is_applied(void **state)
{
    static const char *const defs[][2] = {
        {"{\"image\":\"x\",\"rewind\":true}", "unknown key 'rewind'"},
        {"{\"image\":\"x\",\"retries\":{\"max\":3,\"spread\":\"1s\"}}", "unknown key 'spread'"},
        {"{\"image\":\"x\",\"concurrency\":\"sometimes\"}", "concurrency"},
    };
    static const char *const kinds[] = {"job", "stage"};

    (void)state;
    for (size_t i = 0; i < sizeof(defs) / sizeof(defs[0]) * 2; i++) {
        struct error error = {0};
        struct batch *b = NULL;
        char line[1024];

        snprintf(
            line, sizeof(line),
            "{\"n\":1,\"e\":1,\"t\":1,\"p\":\"\",\"r\":[{\"k\":\"%s\",\"job\":\"a\",\"version\":1,\"def\":%s,"
            "\"seed\":1,\"anchor\":0,\"cursor\":0}]}",
            kinds[i % 2], defs[i / 2][0]);
        assert_int_equal(batch_decode(&b, line, strlen(line), &error), ERR_CORRUPT);
        if (!strstr(error.text, "a newer cronsched is needed") || !strstr(error.text, defs[i / 2][1]))
            fail_msg("%s", error.text);
    }
}

/* The same words in a snapshot. */
static void a_snapshot_with_unknown_words_is_refused(void **state)
{
    static const char *const changes[][2] = {{"\"cause\":\"manual\"", "\"cause\":\"planet\""},
                                             {"\"stop\":\"killed\"", "\"stop\":\"kilted\""},
                                             {"\"state\":3", "\"state\":7"},
                                             {"\"state\":2,\"stop\"", "\"state\":9,\"stop\""}};
    struct error error = {0};
    struct state s;
    size_t size;
    char *text;

    (void)state;
    begin(&s);
    if (apply_records(&s, "[" RUNNING "," STOPPING "]", &error) < 0)
        fail_msg("%s", error.text);
    text = state_encode(&s, &size);
    state_release(&s);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *changed = alloc_text(text), *at = strstr(changed, changes[i][0]);

        assert_non_null(at);
        memcpy(at, changes[i][1], strlen(changes[i][1]));
        state_init(&s);
        if (state_decode(&s, changed, size, &error) != ERR_CORRUPT)
            fail_msg("%s is taken", changes[i][1]);
        state_release(&s);
        free(changed);
    }
    free(text);
}

#define ENDED       "{\"k\":\"ended\"," ATTEMPT ",\"at\":1763800000000,\"code\":1}"
#define NEVER_RAN   "{\"k\":\"never-ran\"," ATTEMPT ",\"text\":\"seal\"}"
#define REVOKED     "{\"k\":\"revoked\"," ATTEMPT ",\"reason\":\"waiting\"}"
#define FAILED      "{\"k\":\"start-failed\"," ATTEMPT ",\"text\":\"no image\"}"
#define UNKNOWN     "{\"k\":\"unknown\"," ATTEMPT ",\"text\":\"gone\"}"
#define UNRESOLVED  "{\"k\":\"unresolved\"," ATTEMPT ",\"text\":\"silent\"}"
#define AGAIN       "{\"k\":\"started-again\"," ATTEMPT ",\"count\":3,\"text\":\"by hand\"}"
#define HANDED_OVER "{\"k\":\"handed-over\"," ATTEMPT "}"

/* What each state of an attempt allows: all other moves are refused. The job retries, so that what failed
 * stays. */
static void an_attempt_moves_as_its_table_says(void **state)
{
    static const char *const records[] = {COMMIT,  STARTED,    ENDED,    NEVER_RAN,   REVOKED, FAILED,
                                          UNKNOWN, UNRESOLVED, STOPPING, HANDED_OVER, ARM,     AGAIN};
    static const struct {
        const char *name, *before, *allowed; /* in the order of records */
    } cases[] = {
        {"armed", TRIGGER "," ARM, "C..NRF....A."},
        {"committed", TRIGGER "," ARM "," COMMIT, ".S.NRFUusH.."},
        {"handed over", TRIGGER "," ARM "," COMMIT "," HANDED_OVER, "CS.NRFUusH.."},
        {"started", RUNNING, ".SE..FUus..G"},
        {"revoked", TRIGGER "," ARM "," REVOKED, "..........A."},
        {"never ran", TRIGGER "," ARM "," COMMIT "," NEVER_RAN, "....R.....A."},
        {"start failed", TRIGGER "," ARM "," FAILED, "..........A."},
        {"ended", RUNNING "," ENDED, "..........A."},
        {"unknown", RUNNING "," UNKNOWN, "..........A."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t k = 0; k < sizeof(records) / sizeof(records[0]); k++) {
            struct error error = {0};
            char text[4096];
            struct state s;
            int rc;

            begin(&s);
            snprintf(text, sizeof(text), "[%s]", cases[i].before);
            if (apply_records(&s, text, &error) < 0)
                fail_msg("%s: %s", cases[i].name, error.text);
            snprintf(text, sizeof(text), "[%s]", records[k]);
            rc = apply_records(&s, text, &error);
            if (rc != (cases[i].allowed[k] == '.' ? ERR_CORRUPT : 0))
                fail_msg("%s: %s: %d %s", cases[i].name, records[k], rc, error.text);
            state_release(&s);
        }
}

/* The count is kept by snapshots and shown; once is not worth a word. */
static void an_attempt_counts_its_starts(void **state)
{
    struct error error = {0};
    struct state s, back;
    struct run *run;
    json_t *json;
    char *text;
    size_t size;

    (void)state;
    begin(&s);
    assert_int_equal(apply_records(&s, "[" RUNNING "]", &error), 0);
    run = state_run(&s, RUN);
    json = state_run_json(run);
    assert_null(json_object_get(json_array_get(json_object_get(json, "attempts"), 0), "starts"));
    json_decref(json);
    assert_int_equal(apply_records(&s, "[{\"k\":\"started-again\"," ATTEMPT ",\"count\":1}]", &error),
                     ERR_CORRUPT);
    state_release(&s);
    begin(&s);
    assert_int_equal(apply_records(&s, "[" RUNNING "," AGAIN "]", &error), 0);
    text = state_encode(&s, &size);
    state_init(&back);
    assert_int_equal(state_decode(&back, text, size, &error), 0);
    free(text);
    json = state_run_json(state_run(&back, RUN));
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(json, "attempts"), 0), "starts")),
        3);
    json_decref(json);
    state_release(&s);
    state_release(&back);
}

/* Which engine prepared it is kept, also by a snapshot; absent is not known, as in what older builds wrote. */
static void the_identity_of_an_attempts_engine_is_kept(void **state)
{
    static const char with[] = "[" TRIGGER "," ARM ",{\"k\":\"committed\"," ATTEMPT
                               ",\"id\":\"i\",\"identity\":\"e1\"}]";
    struct state s, back;
    struct error error;
    size_t size;
    char *text;

    (void)state;
    begin(&s);
    assert_int_equal(apply_records(&s, "[" RUNNING "]", &error), 0);
    assert_null(run_attempt(state_run(&s, RUN))->identity);
    state_release(&s);
    begin(&s);
    assert_int_equal(apply_records(&s, with, &error), 0);
    text = state_encode(&s, &size);
    state_init(&back);
    assert_int_equal(state_decode(&back, text, size, &error), 0);
    free(text);
    assert_string_equal(run_attempt(state_run(&back, RUN))->identity, "e1");
    state_release(&s);
    state_release(&back);
}

/* A notification keeps what its definition named then, also by a snapshot: the job may be another meanwhile. */
static void the_headers_of_a_notification_are_kept(void **state)
{
    static const char def[] =
        "[{\"k\":\"job\",\"job\":\"a\",\"version\":2,\"def\":{\"image\":\"x\",\"notify\":[{\"on\":["
        "\"failed\"],\"url\":\"http://h\",\"headers\":{\"A\":{\"from_file\":\"/f\"}},\"sign\":{"
        "\"from_file\":\"/k\"}}]},\"seed\":1,\"anchor\":0,\"cursor\":0}]";
    static const char end[] = "[" RUNNING ",{\"k\":\"ended\"," ATTEMPT
                              ",\"at\":1763800001000,\"code\":1,\"cause\":\"exit\"}]";
    struct state s, back;
    struct error error = {0};
    const struct notice *n;
    size_t size;
    char *text;

    (void)state;
    begin(&s);
    assert_int_equal(apply_records(&s, def, &error), 0);
    if (apply_records(&s, end, &error) < 0)
        fail_msg("%s", error.text);
    text = state_encode(&s, &size);
    state_init(&back);
    assert_int_equal(state_decode(&back, text, size, &error), 0);
    free(text);
    assert_int_equal(back.notice_count, 1);
    n = LIST_ITEM(back.notices.next, const struct notice, all);
    text = json_dumps(n->headers, JSON_COMPACT);
    assert_string_equal(text, "{\"headers\":{\"A\":{\"from_file\":\"/f\"}},\"sign\":{\"from_file\":\"/k\"}}");
    free(text);
    state_release(&s);
    state_release(&back);
}

/* Parts of a large apply that a snapshot was taken in the midst of: APPLY makes all of them effective in one turn. */
static void staged_parts_are_read_with_their_snapshot(void **state)
{
    static const char text[] = "{\"hash\":\"00\",\"index\":7,\"jobs\":{},\"staged\":[{\"job\":\"a\","
                               "\"version\":1,\"seed\":1,\"anchor\":1,"
                               "\"cursor\":1,\"def\":{\"image\":\"x\"}},{\"job\":\"b\",\"version\":2}]}";
    static const char odd[] = "{\"hash\":\"00\",\"index\":7,\"jobs\":{},\"staged\":[1,{\"job\":2}]}";
    struct error error;
    struct state s;

    state_init(&s);
    assert_int_equal(state_decode(&s, text, strlen(text), &error), 0);
    assert_int_equal(s.part_count, 2);
    assert_non_null(s.parts[0].def);
    assert_null(s.parts[1].def); /* a deletion */
    state_release(&s);
    state_init(&s);
    assert_int_equal(state_decode(&s, odd, strlen(odd), &error), 0); /* APPLY says what is wrong */
    assert_int_equal(s.part_count, 0);
    state_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_headers_of_a_notification_are_kept),
        cmocka_unit_test(staged_parts_are_read_with_their_snapshot),
        cmocka_unit_test(the_identity_of_an_attempts_engine_is_kept),
        cmocka_unit_test(a_journal_of_0_1_gives_the_same_state_and_history),
        cmocka_unit_test(a_snapshot_of_0_1_is_read_and_written_again),
        cmocka_unit_test(words_that_are_not_known_are_refused),
        cmocka_unit_test(a_job_of_a_newer_build_is_refused_before_it_is_applied),
        cmocka_unit_test(a_snapshot_with_unknown_words_is_refused),
        cmocka_unit_test(an_attempt_moves_as_its_table_says),
        cmocka_unit_test(an_attempt_counts_its_starts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
