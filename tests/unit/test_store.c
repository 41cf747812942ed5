/* The history store: what is written is found, in order, exactly once; pruning. */
#include "tests/support/store_bench.h"

#include "cronsched/server/thread_pool.h"

static bool is_behind(const void *arg, const json_t *run)
{
    return strcmp(json_string_value(json_object_get(run, "run")), arg) >= 0;
}

static void test_queries(void **state)
{
    static const struct {
        struct history_query query;
        const char *key, *expected;
    } cases[] = {
        {{.kind = HISTORY_RUNS},
         "run",
         "b@20231114T030000Z a@20231114T020000.123Z a@20231114T020000Z a@20231114T010000Z"},
        {{.kind = HISTORY_RUNS, .job = "a"},
         "run",
         "a@20231114T020000.123Z a@20231114T020000Z a@20231114T010000Z"},
        {{.kind = HISTORY_RUNS, .state = "running"}, "run", "b@20231114T030000Z"},
        {{.kind = HISTORY_RUNS, .job = "a", .verdict = "failed"}, "run", "a@20231114T020000Z"},
        {{.kind = HISTORY_RUNS, .limit = 1}, "run", "b@20231114T030000Z"},
        {{.kind = HISTORY_RUNS, .since_ms = T0 + 2 * HOUR, .until_ms = T0 + 2 * HOUR},
         "run",
         "a@20231114T020000Z"},
        {{.kind = HISTORY_RUNS, .job = "none"}, "run", ""},
        {{.kind = HISTORY_RUNS, .cause = "manual"}, "run", "a@20231114T020000.123Z"},
        {{.kind = HISTORY_RUNS, .until_ms = T0 + 2 * HOUR + 123, .before = "a@20231114T020000.123Z"},
         "run",
         "a@20231114T020000Z a@20231114T010000Z"},
        {{.kind = HISTORY_RUNS, .until_ms = T0 + 2 * HOUR, .before = "b"},
         "run",
         "a@20231114T020000Z a@20231114T010000Z"}, /* of one instant: by the id */
        {{.kind = HISTORY_RUNS, .match = is_behind, .match_arg = "a@20231114T020000.123Z"},
         "run",
         "b@20231114T030000Z a@20231114T020000.123Z a@20231114T020000Z"},
        {{.kind = HISTORY_RUNS, .match = is_behind, .match_arg = "b", .limit = 1},
         "run",
         "b@20231114T030000Z"},
        {{.kind = HISTORY_BUCKETS, .bucket_ms = 2 * HOUR},
         NULL,
         "[236111, \"succeeded\", 1] [236112, \"failed\", 1] [236112, \"running\", 1] [236112, "
         "\"succeeded\", 1]"},
        {{.kind = HISTORY_BUCKETS,
          .bucket_ms = HOUR,
          .job = "a",
          .since_ms = T0 + 2 * HOUR,
          .until_ms = T0 + 2 * HOUR},
         NULL,
         "[472224, \"failed\", 1]"},
        {{.kind = HISTORY_SKIPS}, "from", "2023-11-14T22:13:20Z 2023-11-15T02:13:20Z"},
        {{.kind = HISTORY_SKIPS}, "count", "1 5"},
        {{.kind = HISTORY_SKIPS, .since_ms = T0 + 5 * HOUR, .until_ms = T0 + 6 * HOUR}, "reason", "paused"},
        {{.kind = HISTORY_SKIPS, .since_ms = T0 + HOUR, .until_ms = T0 + 3 * HOUR}, "reason", ""},
        {{.kind = HISTORY_SKIPS, .job = "a"}, "time", "2023-11-14T22:13:21.000Z"},
        {{.kind = HISTORY_RECORDS}, "kind", "job fire ended pause"},
        {{.kind = HISTORY_RECORDS}, "index", "1 1 2 2"},
        {{.kind = HISTORY_RECORDS}, "seq", "0 1 0 1"},
        {{.kind = HISTORY_RECORDS, .job = "a"}, "kind", "job fire"},
        {{.kind = HISTORY_RECORDS, .run = "b@20231114T030000Z"}, "kind", "ended"},
        {{.kind = HISTORY_RECORDS, .kinds = "pause,job"}, "kind", "job pause"},
        {{.kind = HISTORY_RECORDS, .since_ms = T0 + 2000},
         "time",
         "2023-11-14T22:13:22.000Z 2023-11-14T22:13:22.000Z"},
        {{.kind = HISTORY_RECORDS, .limit = 2},
         "record",
         "{\"k\": \"job\", \"number\": 0} {\"k\": \"fire\", \"number\": 1}"},
    };
    struct history_write *w = new_write(1);
    struct history_query one = {.kind = HISTORY_RUN, .run = "a@20231114T020000Z"};
    json_t *run;

    open_with(0);
    add_run(w, "a@20231114T010000Z", T0 + HOUR, "ended", "succeeded", "schedule");
    add_run(w, "a@20231114T020000Z", T0 + 2 * HOUR, "running", NULL, "schedule");
    add_run(w, "b@20231114T030000Z", T0 + 3 * HOUR, "running", NULL, "schedule");
    add_skip(w, "a", T0, T0, 1, "overlap");
    add_record(w, "job", "a", NULL);
    add_record(w, "fire", "a", "a@20231114T010000Z");
    put(w);
    w = new_write(2);
    add_run(w, "a@20231114T020000Z", T0 + 2 * HOUR, "ended", "failed", "schedule"); /* replaced as a whole */
    add_run(w, "a@20231114T020000.123Z", T0 + 2 * HOUR + 123, "ended", "succeeded", "manual");
    add_skip(w, "b", T0 + 4 * HOUR, T0 + 8 * HOUR, 5, "paused");
    add_record(w, "ended", "b", "b@20231114T030000Z");
    add_record(w, "pause", NULL, NULL);
    put(w);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_answer(&cases[i].query, cases[i].key, cases[i].expected);
    run = get(&one);
    assert_string_equal(json_string_value(json_object_get(run, "state")), "ended");
    json_decref(run);
    one.run = "none@20231114T010000Z";
    run = get(&one);
    assert_true(json_is_null(run));
    json_decref(run);
    one = (struct history_query){.kind = HISTORY_RECORDS, .kinds = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"};
    {
        struct answer a;

        ask(&one, &a);
        drain();
        assert_null(a.result);
        assert_int_equal(a.error.code, ERR_INVALID);
    }
    assert_int_equal(b.history->ops->applied(b.history), 2);
    close_store();

    open_with(0); /* it is all there in another life */
    assert_int_equal(b.history->ops->applied(b.history), 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_answer(&cases[i].query, cases[i].key, cases[i].expected);
    close_store();
    assert_int_equal(b.failures, 0);
}

/* However many writes are queued, a query asked after them sees them; and it does not wait for those after
 * it. */
static void test_query_sees_the_writes_before_it(void **state)
{
    struct history_query all = {.kind = HISTORY_RUNS, .job = "a"};
    struct answer early, late;

    open_with(0);
    for (int i = 0; i < 700; i++)
        put_minute((uint64_t)i + 1, "a", i);
    ask(&all, &early);
    for (int i = 700; i < 2000; i++)
        put_minute((uint64_t)i + 1, "a", i);
    ask(&all, &late);
    while (!early.calls)
        assert_true(step(0));
    assert_in_range(json_array_size(early.result), 700, 2000);
    drain();
    assert_int_equal(json_array_size(late.result), 2000);
    assert_int_equal(b.history->ops->applied(b.history), 2000);
    json_decref(early.result);
    json_decref(late.result);
    close_store();
}

/* Feeding batches again changes nothing, and an older one never undoes a newer one. */
static void test_feeding_again(void **state)
{
    struct history_query records = {.kind = HISTORY_RECORDS}, runs = {.kind = HISTORY_RUNS};

    open_with(0);
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 1; i <= 5; i++) {
            struct history_write *w = new_write(i);

            add_run(w, "a@20231114T010000Z", T0, i == 5 ? "ended" : "running", i == 5 ? "failed" : NULL,
                    "schedule");
            add_record(w, "x", "a", NULL);
            add_skip(w, "a", T0, T0, 1, "overlap");
            put(w);
            if (round == 1)
                drain();
        }
    drain();
    assert_answer(&runs, "state", "ended");
    assert_int_equal(count_of(&records), 5);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_SKIPS}), 5);
    assert_int_equal(b.history->ops->applied(b.history), 5);
    close_store();
}

static void test_jump_is_a_gap(void **state)
{
    open_with(0);
    put(new_write(10));
    put(new_write(11));
    put(new_write(20));
    assert_gaps("[{\"from\":0,\"to\":1700000010000},{\"from\":1700000011000,\"to\":1700000020000}]");
    assert_int_equal(b.history->ops->applied(b.history), 20);
    close_store();
}

static void assert_gap(uint64_t below, const char *expected)
{
    json_t *gap = get(&(struct history_query){.kind = HISTORY_GAP, .first = below});
    char *text = json_dumps(gap, JSON_COMPACT | JSON_ENCODE_ANY);

    assert_string_equal(text, expected);
    free(text);
    json_decref(gap);
}

/* The index of a recovery's snapshot is no batch; what this replica had not seen before it is missing all the same. */
static void test_a_recovery_takes_an_index(void **state)
{
    struct history_write *w;

    open_with(0);
    for (uint64_t i = 1; i <= 5; i++)
        put(new_write(i));
    w = new_write(7);
    add_record(w, "recovered", NULL, NULL);
    put(w);
    assert_gaps("[]");
    w = new_write(12);
    add_record(w, "recovered", NULL, NULL);
    put(w);
    assert_gap(0, "{\"first\":8,\"last\":10}");
    assert_int_equal(b.history->ops->applied(b.history), 12);
    close_store();
}

static void test_an_audit_is_told_of_attempts_that_ended_twice(void **state)
{
    static const char *const attempts[] = {"{\"attempt\":1}", "{\"attempt\":2}", "{\"attempt\":3}"};
    struct history_query q = {.kind = HISTORY_AUDIT};
    json_t *audit;
    char *text;

    open_with(0);
    for (uint64_t i = 1; i <= 3; i++) {
        struct history_write *w = new_write(i);

        add_record(w, "ended", "a", "a@20231114T010000Z");
        if (i > 1)
            add_record(w, "ended", "b", "b@20231114T010000Z");
        free(w->records[0].json);
        w->records[0].json = alloc_text(attempts[i - 1]);
        put(w);
    }
    audit = get(&q);
    text = json_dumps(json_object_get(audit, "ends"), JSON_COMPACT);
    assert_string_equal(text, "[{\"run\":\"b@20231114T010000Z\",\"count\":2}]");
    free(text);
    json_decref(audit);
    close_store();
}

static void add_record_json(struct history_write *w, const char *kind, const char *job, const char *run,
                            const char *text)
{
    add_record(w, kind, job, run);
    free(w->records[w->record_count - 1].json);
    w->records[w->record_count - 1].json = alloc_text(text);
}

/* The journal of a time was lost: the end of an attempt may be read again, which is no second end. */
static void test_an_end_that_is_read_again_after_a_recovery(void **state)
{
    static const char *const runs[] = {"a@20231114T010000Z", "b@20231114T010000Z", "c@20231114T010000Z"};
    struct history_query q = {.kind = HISTORY_AUDIT};
    struct history_write *w;
    json_t *audit;
    char *text;

    open_with(0);
    for (uint64_t i = 1; i <= 5; i++) {
        w = new_write(i < 4 ? i : i + 1);
        if (i == 4)
            add_record_json(w, "recovered", NULL, NULL, "{\"from\":1,\"until\":2}");
        if (i == 1 || i == 5)
            add_record_json(w, "ended", "a", runs[0], "{\"attempt\":1,\"at\":7}");
        if (i == 2 || i == 3) /* in one life of the journal */
            add_record_json(w, "ended", "b", runs[1], "{\"attempt\":1,\"at\":7}");
        if (i == 3 || i == 5) /* another end: it ran twice */
            add_record_json(w, "ended", "c", runs[2],
                            i == 3 ? "{\"attempt\":1,\"at\":7}" : "{\"attempt\":1,\"at\":8}");
        put(w);
    }
    audit = get(&q);
    text = json_dumps(json_object_get(audit, "ends"), JSON_COMPACT);
    assert_string_equal(
        text, "[{\"run\":\"b@20231114T010000Z\",\"count\":2},{\"run\":\"c@20231114T010000Z\",\"count\":2}]");
    free(text);
    json_decref(audit);
    close_store();
}

/* What the state does not know any more would stay unfinished for ever. What it does know has its row in the batch. */
static void test_a_recovery_ends_what_nobody_knows_any_more(void **state)
{
    struct history_query runs = {.kind = HISTORY_RUNS}, lost = {.kind = HISTORY_RUNS, .verdict = "lost"};
    struct history_write *w = new_write(1);

    open_with(0);
    add_run(w, "a@20231114T010000Z", T0 + HOUR, "running", NULL, "schedule");
    add_run(w, "b@20231114T020000Z", T0 + 2 * HOUR, "running", NULL, "schedule");
    add_run(w, "c@20231114T030000Z", T0 + 3 * HOUR, "ended", "succeeded", "schedule");
    put(w);
    for (int round = 0; round < 2; round++) { /* the second time after what came later: that stays */
        w = new_write(5);
        add_run(w, "a@20231114T010000Z", T0 + HOUR, "running", NULL, "schedule");
        add_record(w, "recovered", NULL, NULL);
        put(w);
        assert_answer(&lost, "run", "b@20231114T020000Z");
        if (round == 0) {
            w = new_write(6);
            add_run(w, "d@20231114T040000Z", T0 + 4 * HOUR, "running", NULL, "schedule");
            put(w);
        }
    }
    assert_answer(&runs, "run",
                  "d@20231114T040000Z c@20231114T030000Z b@20231114T020000Z a@20231114T010000Z");
    assert_answer(&runs, "state", "running ended ended running");
    assert_answer(&lost, "ended", "2023-11-14T22:13:25.000Z");
    close_store();
}

/* What a backfill asks: what fired, and whether all of it is known. */
static void test_what_fired(void **state)
{
    struct history_query q = {.kind = HISTORY_FIRED, .job = "a", .since_ms = T0, .until_ms = T0 + 30 * DAY};
    struct history_write *w = new_write(1);
    json_t *answer, *expected;

    open_with(0);
    add_run(w, "a@20231114T010000Z", T0 + HOUR, "ended", "succeeded", "schedule");
    add_run(w, "a@20231114T020000Z", T0 + 2 * HOUR, "skipped", "overlap", "schedule");
    add_run(w, "a@20231114T030000.123Z", T0 + 3 * HOUR + 123, "ended", "succeeded", "manual");
    add_run(w, "b@20231114T040000Z", T0 + 4 * HOUR, "ended", "succeeded", "schedule");
    add_run(w, "a@20231125T000000Z", T0 + 10 * DAY, "running", NULL, "schedule");
    put(w);
    answer = get(&q);
    expected = json_pack("{s:[I,I],s:i,s:i}", "times", (json_int_t)(T0 + HOUR), (json_int_t)(T0 + 10 * DAY),
                         "pruned", 0, "gaps", 0);
    assert_true(json_equal(answer, expected));
    json_decref(answer);
    json_decref(expected);
    b.history->ops->prune(b.history, "a", 100, T0 + 5 * DAY);
    drain();
    answer = get(&q);
    assert_true(json_integer_value(json_object_get(answer, "pruned")) > 0);
    json_decref(answer);
    close_store();
}

static void test_nobody_waits_for_an_audit(void **state)
{
    struct answer audits[2], copy, runs;

    open_with(0);
    put_minute(1, "a", 1);
    drain();
    ask(&(struct history_query){.kind = HISTORY_AUDIT, .since_ms = 1}, &audits[0]);
    ask(&(struct history_query){.kind = HISTORY_AUDIT, .since_ms = 1}, &audits[1]);
    ask(&(struct history_query){.kind = HISTORY_COPY, .first = 1, .last = 1}, &copy);
    ask(&(struct history_query){.kind = HISTORY_RUNS}, &runs);
    assert_true(step(0));
    assert_int_equal(b.count, 2); /* one audit, and the runs beside it */
    drain();
    assert_int_equal(audits[0].calls + audits[1].calls + copy.calls + runs.calls, 4);
    assert_int_equal(json_array_size(runs.result), 1);
    json_decref(audits[0].result);
    json_decref(audits[1].result);
    json_decref(copy.result);
    json_decref(runs.result);
    close_store();
}

static void test_audit_answer(void **state)
{
    struct history_query audit = {
        .kind = HISTORY_AUDIT, .job = "a", .since_ms = T0 + HOUR, .until_ms = T0 + 3 * HOUR};
    struct history_write *w = new_write(1);
    json_t *answer, *runs;

    open_with(0);
    for (int i = 0; i < 6; i++) {
        char run[64];

        snprintf(run, sizeof(run), "a@20231115T0%d0000Z", i);
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
        *run = 'b';
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
    }
    add_run(w, "a@20231115T080000.500Z", T0 + 2 * HOUR, "ended", "failed", "manual");
    add_run(w, "a@20231115T001420Z", T0 + 2 * HOUR + 60000, "ended", "succeeded", "backfill");
    add_skip(w, "a", T0, T0 + HOUR, 1, "paused");
    add_skip(w, "a", T0 + 2 * HOUR, T0 + 9 * HOUR, 1, "paused");
    add_record(w, "job", "a", NULL);
    add_record(w, "job", "b", NULL);
    add_record(w, "fire", "a", NULL);
    add_record(w, "pause", NULL, NULL);
    put(w);
    answer = get(&audit);
    runs = json_pack("[{s:s,s:s,s:s,s:[I,I]},{s:s,s:s,s:s,s:[I]}]", "job", "a", "state", "ended", "cause",
                     "schedule", "at", T0 + 2 * HOUR, T0 + 3 * HOUR, "job", "a", "state", "ended", "cause",
                     "backfill", "at", T0 + 2 * HOUR + 60000); /* since is exclusive */
    assert_true(json_equal(runs, json_object_get(answer, "runs")));
    json_decref(runs);
    assert_int_equal(json_array_size(json_object_get(answer, "skips")), 1);
    assert_int_equal(json_array_size(json_object_get(answer, "records")), 2);
    json_decref(answer);
    close_store();
}

/* ---- over libuv ---- */

static void on_pool_closed(void *arg)
{
    ++*(int *)arg;
}

static void on_store_closed(void *arg)
{
    thread_pool_close(arg, on_pool_closed, &b.closed);
}

static void test_over_libuv(void **state)
{
    struct thread_pool pool;
    struct store_options options = {
        .path = b.path, .pool = &pool.table, .failed = on_failed, .removed = on_removed};
    struct history_query q = {.kind = HISTORY_RUNS, .job = "a"};
    struct answer answers[20];
    uv_loop_t loop;

    uv_loop_init(&loop);
    assert_int_equal(thread_pool_init(&pool, &loop, NULL), 0);
    assert_int_equal(store_open(&b.history, &options, NULL), 0);
    for (int i = 0; i < 20; i++) {
        for (uint64_t k = 1; k <= 50; k++)
            put_minute((uint64_t)i * 50 + k, "a", i * 50 + (int)k);
        ask(&q, &answers[i]);
    }
    b.history->ops->prune(b.history, "b", 1, 0);
    while (!answers[19].calls)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++) {
        assert_true(json_array_size(answers[i].result) >= (size_t)(i + 1) * 50);
        json_decref(answers[i].result);
    }
    b.history->ops->close(b.history, on_store_closed, &pool);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(b.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(b.failures, 0);
}

/* ---- from another replica ---- */

struct filled {
    int calls, code;
};

static void on_filled(void *arg, const struct error *error)
{
    struct filled *f = arg;

    f->calls++;
    f->code = error ? error->code : 0;
}

static int fill(json_t *page)
{
    struct filled f = {0};

    b.history->ops->fill(b.history, page, on_filled, &f);
    assert_int_equal(f.calls, 0);
    drain();
    assert_int_equal(f.calls, 1);
    return f.code;
}

static json_t *page_of(uint64_t first, uint64_t last)
{
    return get(&(struct history_query){.kind = HISTORY_COPY, .first = first, .last = last});
}

/* Takes the page. */
static void assert_last(json_t *page, int64_t last)
{
    assert_true(json_is_object(page));
    assert_int_equal(json_integer_value(json_object_get(page, "last")), last);
    json_decref(page);
}

/* What the first 1300 batches left, in pages, from a store that has them all. */
static json_t *other_replicas_pages(json_t **ret_runs)
{
    json_t *pages = json_array();
    uint64_t first = 1;

    open_with(0);
    for (int i = 0; i < 1300; i++)
        put_minute((uint64_t)i + 1, "a", i);
    assert_gap(0, "null");
    while (first <= 1300) {
        json_t *page = page_of(first, 1300);

        assert_true(json_is_object(page));
        assert_int_equal(json_integer_value(json_object_get(page, "first")), first);
        first = (uint64_t)json_integer_value(json_object_get(page, "last")) + 1;
        json_array_append_new(pages, page);
    }
    assert_true(json_array_size(pages) > 1);
    assert_last(page_of(1300, 1301), 1300);         /* so much of it as there is */
    assert_true(json_is_null(page_of(1301, 1302))); /* (null is one object) beyond what it has */
    *ret_runs = get(&(struct history_query){.kind = HISTORY_RUNS});
    close_store();
    unlink(b.path);
    return pages;
}

/* A replica that joined late, or was deposed before it heard of its last batches, has the whole history in
 * the end. */
static void test_what_is_missing_comes_from_another(void **state)
{
    struct history_query runs = {.kind = HISTORY_RUNS}, records = {.kind = HISTORY_RECORDS};
    json_t *theirs, *pages = other_replicas_pages(&theirs), *ours, *page;
    size_t i;

    open_with(0);
    put_minute(1301, "a", 1300);
    drain();
    assert_gap(0, "{\"first\":1,\"last\":1300}");
    assert_int_equal(fill(json_pack("{s:i}", "first", 1)), ERR_CORRUPT);
    page = json_deep_copy(json_array_get(pages, 0));
    json_array_set_new(json_array_get(json_object_get(page, "runs"), 0), 2, json_string("no time"));
    assert_int_equal(fill(page), ERR_CORRUPT);
    assert_int_equal(fill(json_incref(json_array_get(pages, 1))), ERR_NOT_FOUND); /* that is not its turn */
    assert_gap(0, "{\"first\":1,\"last\":1300}");
    json_array_foreach(pages, i, page)
    {
        assert_int_equal(fill(json_incref(page)), 0);
    }
    assert_gap(0, "null");
    assert_gaps("[]");
    ours = get(&runs);
    json_array_remove(ours, 0); /* of batch 1301 */
    assert_true(json_equal(ours, theirs));
    assert_int_equal(count_of(&records), 2 * 1301);
    assert_int_equal(fill(json_incref(json_array_get(pages, 0))), ERR_NOT_FOUND); /* a second time */
    assert_int_equal(count_of(&records), 2 * 1301);
    json_decref(ours);
    json_decref(theirs);
    json_decref(pages);
    close_store();
    assert_int_equal(b.failures, 0);
}

static void test_a_gap_in_the_middle_leaves_newer_rows_alone(void **state)
{
    struct history_query run = {.kind = HISTORY_RUN, .run = "a@20231114T000500Z"};
    struct history_write *w;
    json_t *page, *found;

    open_with(0);
    for (int i = 0; i < 20; i++)
        put_minute((uint64_t)i + 1, "a", i);
    page = page_of(4, 9);
    close_store();
    unlink(b.path);
    open_with(0);
    for (int i = 0; i < 3; i++)
        put_minute((uint64_t)i + 1, "a", i);
    w = new_write(10);
    add_run(w, "a@20231114T000500Z", T0 + 5 * 60000, "running", NULL, "schedule"); /* changed later */
    put(w);
    for (int i = 10; i < 20; i++)
        put_minute((uint64_t)i + 3, "a", i);
    drain();
    assert_gap(0, "{\"first\":11,\"last\":12}");
    assert_gap(11, "{\"first\":4,\"last\":9}");
    assert_gap(4, "null");
    assert_int_equal(fill(page), 0);
    assert_gap(11, "null");
    found = get(&run);
    assert_string_equal(json_string_value(json_object_get(found, "state")), "running");
    json_decref(found);
    found = page_of(3, 10); /* what was filled in is there for others */
    assert_true(json_is_object(found));
    json_decref(found);
    assert_last(page_of(10, 12), 10); /* up to what is missing here, too */
    found = page_of(11, 13);
    assert_true(json_is_null(found));
    json_decref(found);
    close_store();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_queries),
        T(test_query_sees_the_writes_before_it),
        T(test_feeding_again),
        T(test_jump_is_a_gap),
        T(test_a_recovery_takes_an_index),
        T(test_an_audit_is_told_of_attempts_that_ended_twice),
        T(test_an_end_that_is_read_again_after_a_recovery),
        T(test_a_recovery_ends_what_nobody_knows_any_more),
        T(test_what_fired),
        T(test_nobody_waits_for_an_audit),
        T(test_audit_answer),
        T(test_over_libuv),
        T(test_what_is_missing_comes_from_another),
        T(test_a_gap_in_the_middle_leaves_newer_rows_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
