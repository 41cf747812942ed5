/* No turn of the loop does the work of all jobs: what concerns them all goes on in later turns. Each test compares the longest
 * turn with all of them together, in time of the processor and in the same run: a machine that is slow, or busy with others,
 * changes both. What one request may cost is in test_cost.c.
 */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MANY 12000
#define SOME 8000 /* whose snapshot takes more turns than one */

/* ---- turns ---- */

static struct {
    int64_t longest_us, all_us;
    int count;
} turns;

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void turn_since(int64_t begun_us)
{
    int64_t took_us = cpu_us() - begun_us;

    turns.longest_us = took_us > turns.longest_us ? took_us : turns.longest_us;
    turns.all_us += took_us;
    turns.count++;
}

/* A tick is a turn, and so is the journal's answer to what it wrote. */
static void turn_pass(void)
{
    int64_t begun_us = cpu_us();

    b.wake_ms = INT64_MAX; /* the alarm has rung */
    scheduler_tick(b.scheduler);
    scheduler_flush(b.scheduler);
    turn_since(begun_us);
    if (!scheduler_leading(b.scheduler))
        return;
    begun_us = cpu_us();
    scheduler_journal_events.acked(b.scheduler, b.appended);
    scheduler_flush(b.scheduler);
    turn_since(begun_us);
}

/* Turns follow until the scheduler asks for none at this instant, and nothing is to be answered. */
static void turns_pass(void)
{
    for (int i = 0; i < 2000; i++) {
        turn_pass();
        if (b.wake_ms > b.now_ms &&
            (!scheduler_leading(b.scheduler) || scheduler_acked(b.scheduler) == b.appended))
            return;
    }
    fail_msg("it never rests");
}

static void turns_begin(void)
{
    turns.longest_us = turns.all_us = turns.count = 0;
}

/* The longest turn is at most that part of them all. */
static void assert_no_turn_beyond(int part, const char *what)
{
    print_message("%s: %d turns, the longest %lld us of %lld us\n", what, turns.count,
                  (long long)turns.longest_us, (long long)turns.all_us);
    if (turns.longest_us * part > turns.all_us)
        fail_msg("%s: a turn of %lld us, more than 1/%d of all", what, (long long)turns.longest_us, part);
}

static void fill(int count, const char *every)
{
    bench_fill(count, every);
    turns_pass();
    turns_begin();
}

/* ---- all jobs ---- */

static void other_zones_are_followed_in_pieces(void **state)
{
    int64_t begun_us;
    size_t batches;

    fill(MANY, NULL);
    batches = b.batches;
    begun_us = cpu_us();
    scheduler_zones_changed(b.scheduler);
    turn_since(begun_us);
    turns_pass();
    assert_non_null(strstr(b.last, "\"tzdata\""));
    assert_int_equal(b.batches, batches + 1);
    assert_no_turn_beyond(3, "other zone rules");
}

static bool is_paused(void)
{
    json_t *status = scheduler_status_json(b.scheduler);
    bool paused = json_is_true(json_object_get(status, "paused"));

    json_decref(status);
    return paused;
}

static void on_paused(void *arg, int result)
{
    *(int *)arg = result;
}

/* What was due is evaluated as before a pause, and the client hears of it when PAUSE is durable. */
static void a_pause_of_jobs_that_are_due_is_in_pieces(void **state)
{
    enum { DUE = 4000 };
    struct scheduler_result result = {0};
    int paused = 1;
    int64_t begun_us;

    fill(DUE, "* * * * *");
    b.now_ms += 61 * 1000;
    begun_us = cpu_us();
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    turn_since(begun_us);
    json_decref(result.reply);
    assert_true(result.index == SCHEDULER_INDEX_LATER);
    scheduler_wait(b.scheduler, result.index, on_paused, &paused);
    result = (struct scheduler_result){0};
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), ERR_BUSY);
    assert_int_equal(scheduler_resume(b.scheduler, NULL, "test", &result), ERR_BUSY);
    for (int i = 0; i < 1000 && !is_paused(); i++) {
        assert_int_equal(paused, 1);
        turn_pass();
    }
    turn_pass();
    assert_int_equal(paused, 0);
    assert_int_equal(scheduler_run_count(b.scheduler, NULL), DUE);
    assert_no_turn_beyond(2, "a pause of 4000 jobs that are due");
}

/* Its leader goes before PAUSE is written: the client does not know, and no job is paused. */
static void a_pause_that_was_cut_is_none(void **state)
{
    struct scheduler_result result = {0};
    struct error why = {.code = ERR_DEPOSED};
    int paused = 1;

    fill(3000, "* * * * *");
    b.now_ms += 61 * 1000;
    assert_int_equal(scheduler_pause(b.scheduler, NULL, 0, "test", "test", &result), 0);
    json_decref(result.reply);
    assert_true(result.index == SCHEDULER_INDEX_LATER);
    scheduler_wait(b.scheduler, result.index, on_paused, &paused);
    bench_settle();
    assert_int_equal(paused, 1);
    scheduler_journal_events.deposed(b.scheduler, &why);
    assert_int_equal(paused, ERR_DEPOSED);
    assert_false(is_paused());
}

/* What doctor asks: all jobs are looked at when definitions have changed, and not else. */
static void jobs_without_an_engine_are_counted_once(void **state)
{
    const char *engine = NULL;
    int64_t begun_us, first_us, again_us;

    fill(MANY, NULL);
    begun_us = cpu_us();
    assert_int_equal(scheduler_jobs_without_engine(b.scheduler, &engine), 0);
    first_us = cpu_us() - begun_us;
    begun_us = cpu_us();
    assert_int_equal(scheduler_jobs_without_engine(b.scheduler, &engine), 0);
    again_us = cpu_us() - begun_us;
    print_message("jobs without an engine: %lld us, and again %lld us\n", (long long)first_us,
                  (long long)again_us);
    assert_true(again_us * 5 < first_us);
    b.table.name = "other"; /* a restart with another configuration */
    scheduler_set_engines(b.scheduler, b.engines, 1);
    assert_int_equal(scheduler_jobs_without_engine(b.scheduler, &engine), MANY);
    assert_string_equal(engine, "e");
    b.table.name = "e";
    scheduler_set_engines(b.scheduler, b.engines, 1);
}

/* ---- a standby ---- */

static void a_standby_looks_at_the_leader_in_pieces(void **state)
{
    char text[256];
    bool more;

    fill(2 * MANY, NULL);
    bench_restore();
    turns_pass();
    turns_begin();
    do {
        int64_t begun_us = cpu_us();

        more = scheduler_leader_stall_step(b.scheduler);
        turn_since(begun_us);
    } while (more);
    assert_false(scheduler_leader_stall(b.scheduler, text, sizeof(text)));
    assert_no_turn_beyond(2, "the look of a standby");
    b.now_ms += INT64_C(366) * 86400 * 1000;
    while (scheduler_leader_stall_step(b.scheduler))
        assert_false(scheduler_leader_stall(b.scheduler, text, sizeof(text)));
    assert_true(scheduler_leader_stall(b.scheduler, text, sizeof(text)));
    assert_memory_equal(text, "job-", strlen("job-"));
}

/* ---- a snapshot ---- */

static size_t jobs_seen(void)
{
    struct scheduler_walk *walk = scheduler_defs_walk(b.scheduler, NULL);
    const char *name;
    size_t count = 0;
    json_t *row;

    while (scheduler_walk_next(walk, &name, &row) == 0) {
        count += row != NULL;
        json_decref(row);
    }
    scheduler_walk_free(walk);
    return count;
}

/* Beside the state that there is: who asks meanwhile sees that one, whole. */
static void a_snapshot_is_read_in_pieces(void **state)
{
    uint64_t index;

    fill(SOME, NULL);
    index = b.appended;
    bench_restore();
    assert_true(scheduler_is_reading(b.scheduler));
    assert_null(scheduler_state_text(b.scheduler, index, "", &(size_t){0}, &(int){0}, &(int64_t){0}));
    for (int i = 0; i < 10 && scheduler_is_reading(b.scheduler); i++) {
        assert_int_equal(jobs_seen(), SOME);
        turn_pass();
    }
    turns_pass(); /* and the state before it is freed */
    assert_false(scheduler_is_reading(b.scheduler));
    assert_int_equal(jobs_seen(), SOME);
    assert_no_turn_beyond(4, "a snapshot of 8000 jobs");
}

/* Of another leader: it pauses all. */
static void other_leader_writes(const char *prev)
{
    struct batch *batch = batch_new(2, b.now_ms);
    struct record *r;
    size_t size;
    char *text;

    batch->index = ++b.appended;
    snprintf(batch->prev, sizeof(batch->prev), "%s", prev);
    r = batch_add(batch, RECORD_EPOCH);
    RECORD_INT(batch, r, epoch, 2);
    RECORD_TEXT(batch, r, replica, "q");
    RECORD_TEXT(batch, r, cluster, "c");
    RECORD_INT(batch, r, level, RECORD_LEVEL);
    RECORD_TEXT(batch, r, cause, "start");
    r = batch_add(batch, RECORD_PAUSE);
    RECORD_TEXT(batch, r, by, "test");
    text = batch_encode(batch, &size);
    scheduler_journal_events.batch(b.scheduler, batch, text, size);
    free(text);
    batch_free(batch);
}

/* What comes meanwhile waits for its turn: a batch of another leader, and then the lead. */
static void what_follows_a_snapshot_waits_for_it(void **state)
{
    static const char hash[] = "00000000000000000000000000000001"; /* bench_restore's */

    fill(SOME, NULL);
    bench_restore();
    other_leader_writes(hash);
    scheduler_journal_events.lead(b.scheduler, 3, "start");
    assert_true(scheduler_is_reading(b.scheduler));
    assert_false(scheduler_leading(b.scheduler));
    assert_false(is_paused());
    turns_pass();
    assert_true(scheduler_leading(b.scheduler));
    assert_true(is_paused());
}

/* A new leader looks at each job, some in a turn. */
static void a_lead_begins_in_pieces(void **state)
{
    fill(MANY, NULL);
    bench_restore();
    turns_pass();
    turns_begin();
    {
        int64_t begun_us = cpu_us();

        scheduler_journal_events.lead(b.scheduler, 3, "start");
        turn_since(begun_us);
    }
    turns_pass();
    assert_true(scheduler_leading(b.scheduler));
    assert_no_turn_beyond(3, "the first turns of a leader of 12000 jobs");
}

/* A lead that is lost before it began is none, and a new snapshot begins again. */
static void a_lead_that_is_lost_meanwhile_is_none(void **state)
{
    struct error why = {.code = ERR_DEPOSED};

    fill(SOME, NULL);
    bench_restore();
    scheduler_journal_events.lead(b.scheduler, 3, "start");
    turn_pass();
    scheduler_journal_events.deposed(b.scheduler, &why);
    scheduler_journal_events.restore(b.scheduler, NULL, 0, 0);
    assert_false(scheduler_is_reading(b.scheduler));
    for (int i = 0; i < 100; i++)
        scheduler_tick(b.scheduler);
    assert_false(scheduler_leading(b.scheduler));
    assert_int_equal(jobs_seen(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(other_zones_are_followed_in_pieces, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_pause_of_jobs_that_are_due_is_in_pieces, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_pause_that_was_cut_is_none, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(jobs_without_an_engine_are_counted_once, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_standby_looks_at_the_leader_in_pieces, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_is_read_in_pieces, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(what_follows_a_snapshot_waits_for_it, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_lead_that_is_lost_meanwhile_is_none, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_lead_begins_in_pieces, bench_setup, bench_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
