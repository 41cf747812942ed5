/* The pruning of the history: what goes, what stays counted, and that it leaves room for everything else. */
#include "tests/support/store_bench.h"

static void test_prune(void **state)
{
    struct history_query runs = {.kind = HISTORY_RUNS}, records = {.kind = HISTORY_RECORDS};
    struct history_write *w;

    open_with(0);
    for (uint64_t i = 1; i <= 1000; i++)
        put_minute(i, "a", (int)i);
    put_minute(1001, "b", 1);
    w = new_write(1002);
    add_run(w, "a@20231101T000000Z", T0 - 14 * DAY, "running", NULL,
            "schedule"); /* old, but not ended: stays */
    add_record(w, "job", "a", NULL);
    add_record(w, "resume", "a", NULL);
    put(w);
    drain();
    b.history->ops->prune(b.history, "a", 990, 0);
    drain();
    assert_int_equal(b.removed, 10);
    assert_memory_equal(b.removed_runs, "a@20231114T000100Z a@20231114T000200Z ", 38);
    assert_int_equal(count_of(&runs), 990 + 1 + 1);
    assert_int_equal(count_of(&records), 2 * 991 + 2); /* theirs went with them */
    b.history->ops->prune(b.history, "a", 990, 0);
    drain();
    assert_int_equal(b.removed, 10);
    b.history->ops->prune(b.history, "a", 10000, T0 + 500 * 60000); /* older than minute 500, by their end */
    drain();
    assert_int_equal(b.removed, 499);
    assert_int_equal(count_of(&runs), 501 + 1 + 1);
    b.history->ops->prune(b.history, "none", 0, INT64_MAX);
    b.history->ops->prune(b.history, "a", 0, 0);
    drain();
    assert_int_equal(count_of(&runs), 2);
    assert_answer(&(struct history_query){.kind = HISTORY_RECORDS, .job = "a"}, "kind", "job resume");
    close_store();
}

/* What goes stays counted, once: a skipped fire time is a run's row and a skip. */
static void test_prune_keeps_count(void **state)
{
    struct history_query audit = {.kind = HISTORY_AUDIT, .since_ms = T0, .until_ms = T0 + 30 * DAY};
    struct history_write *w = new_write(1);
    json_t *answer;
    char *pruned;

    open_with(0);
    for (int i = 0; i < 6; i++) {
        char run[64];

        snprintf(run, sizeof(run), "a@20231115T0%d0000Z", i);
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
    }
    add_run(w, "a@20231115T060000Z", T0 + 6 * HOUR, "skipped", "overlap", "schedule");
    add_skip(w, "a", T0 + 6 * HOUR, T0 + 6 * HOUR, 1, "overlap");
    add_run(w, "a@20231115T070000Z", T0 + 7 * HOUR, "skipped", "deadline", "schedule"); /* no skip for it */
    add_run(w, "a@20231115T080000.500Z", T0 + 8 * HOUR + 500, "ended", "failed", "manual");
    add_run(w, "a@20231110T000000Z", T0 + 9 * HOUR, "ended", "failed", "backfill");
    add_skip(w, "a", T0 + 10 * HOUR, T0 + 12 * HOUR, 3, "paused");
    add_run(w, "a@20231125T000000Z", T0 + 10 * DAY, "ended", "succeeded", "schedule");
    put(w);
    b.history->ops->prune(b.history, "a", 100, T0 + 5 * DAY);
    drain();
    assert_int_equal(b.removed, 10);
    answer = get(&audit);
    pruned = json_dumps(json_object_get(answer, "pruned"), JSON_COMPACT | JSON_SORT_KEYS);
    /* T0 is 22:13:20 on one day: the first two hours' worth, then 4 runs, 2 skipped fire times, a range of 3
     */
    assert_string_equal(pruned, "[{\"count\":2,\"from\":1700000000000,\"job\":\"a\",\"to\":1700003600000},"
                                "{\"count\":9,\"from\":1700007200000,\"job\":\"a\",\"to\":1700043200000}]");
    free(pruned);
    assert_int_equal(json_array_size(json_object_get(answer, "runs")), 1);
    assert_int_equal(json_array_size(json_object_get(answer, "skips")), 0);
    json_decref(answer);
    close_store();
}

/* Pruning and writing take turns. */
static void test_prune_between_writes(void **state)
{
    open_with(0);
    for (uint64_t i = 1; i <= 1400; i++)
        put_minute(i, "a", (int)i);
    drain();
    b.history->ops->prune(b.history, "a", 0, 0);
    for (uint64_t i = 1401; i <= 1410; i++)
        put_minute(i, "b", (int)i);
    for (int i = 0; i < 4; i++)
        step(0);
    assert_int_equal(b.history->ops->applied(b.history), 1410); /* long before the pruning is done */
    assert_in_range(b.removed, 1, 1399);
    drain();
    assert_int_equal(b.removed, 1400);
    close_store();
}

/* Between two steps of pruning there is a pause, and the logs of what went are removed: nothing is pruned meanwhile,
 * and whatever else there is to do is done. */
static void test_prune_leaves_room(void **state)
{
    struct answer answer;
    int removed;

    open_with(0);
    for (uint64_t i = 1; i <= 1400; i++)
        put_minute(i, "a", (int)i);
    drain();
    b.history->ops->prune(b.history, "a", 0, 0);
    while (step(0)) {
    }
    removed = b.removed;
    assert_in_range(removed, 1, STORE_PRUNE_ROWS);
    assert_in_range(b.delay_ms[STORE_PAUSE], removed / STORE_PRUNE_PER_MS, STORE_RETRY_MIN_MS);
    put_minute(1401, "b", 1);
    ask(&(struct history_query){.kind = HISTORY_RUNS, .job = "b"}, &answer);
    while (step(0)) {
    }
    assert_int_equal(b.history->ops->applied(b.history), 1401);
    assert_int_equal(answer.calls, 1);
    json_decref(answer.result);
    assert_int_equal(b.removed, removed);
    assert_true(step(STORE_RETRY_MIN_MS - 1)); /* the pause is over */
    assert_true(step(0));
    assert_int_equal(b.count, 1); /* logs to be removed */
    assert_non_null(b.wake[STORE_PAUSE]);
    assert_int_equal(b.removed, removed);
    b.wake[STORE_PAUSE](b.wake_arg[STORE_PAUSE]);
    b.wake[STORE_PAUSE] = NULL;
    assert_int_equal(b.count, 1);
    drain();
    assert_int_equal(b.removed, 1400);
    close_store();
}

/* It closes though logs are being removed, and after them. */
static void test_close_while_logs_are_removed(void **state)
{
    open_with(0);
    for (uint64_t i = 1; i <= 1000; i++)
        put_minute(i, "a", (int)i);
    drain();
    b.history->ops->prune(b.history, "a", 0, 0);
    assert_true(step(0));
    assert_int_equal(b.count, 1);
    close_store();
    assert_in_range(b.removed, 1, STORE_PRUNE_ROWS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_prune),
        T(test_prune_keeps_count),
        T(test_prune_between_writes),
        T(test_prune_leaves_room),
        T(test_close_while_logs_are_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
