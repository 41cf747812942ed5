/* Torture: the n-th write, sync or truncation under the journal and under the history fails, for every n,
 * once or several times in a row. Whatever happens: no crash, no damage, nothing lost that was acknowledged,
 * and it goes on by itself when the disk does. And the process is killed at the journal's own fault points.
 */
#include "jobs/base/fault.h"
#include "jobs/history/store.h"
#include "leader/embedded/journal_db.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/fault_vfs.h"
#include "tests/support/journal_owner.h"
#include "tests/support/sample.h"

static char dir[64], path[96];

static const struct blow {
    int code;
    long count;
} blows[] = {
    {SQLITE_FULL, 1},        {SQLITE_FULL, 7},        {SQLITE_IOERR_WRITE, 1},
    {SQLITE_IOERR_FSYNC, 1}, {SQLITE_IOERR_FSYNC, 4},
};
#define BLOWS  (sizeof(blows) / sizeof(blows[0]))
#define ONE_IN 4 /* calls that fail on a day */

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static void new_dir(const char *file)
{
    snprintf(dir, sizeof(dir), "%s/cronsched-torture-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/%s", dir, file);
}

static void drop_dir(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The n-th call fails, for every n there is; on a day for one in so many, beginning with another one each day and with
 * each blow. */
static void each_call(const char *path_of_code, bool (*survives)(const struct blow *blow, long n))
{
    int step = sample_is_whole(path_of_code) ? 1 : ONE_IN;

    for (size_t b = 0; b < BLOWS; b++) {
        long n = 1 + (sample_first(step) + (long)b) % step;

        while (survives(&blows[b], n))
            n += step;
        assert_true(n > 40);
    }
}

/* ---- the journal ---- */

/* Sixteen batches in groups, two snapshots; what fails is tried again. Returns what was acked, of the
 * newest epoch. */
static uint64_t journal_work(struct owner *o)
{
    uint64_t most = 0;

    for (int round = 0; round < 4; round++) {
        OWNER_UNTIL(o, o->leading);
        for (int i = 0; i < 4 && o->leading; i++)
            owner_append(o, 900);
        if (o->leading && round % 2 == 1)
            owner_snapshot(o);
        OWNER_UNTIL(o, o->acked == o->index || !o->leading);
        most = o->acked > most ? o->acked : most;
    }
    OWNER_UNTIL(o, o->leading);
    return most;
}

/* All that was acked is there, and whole: open verifies. */
static void assert_journal(uint64_t acked, long n)
{
    struct error error = {0};
    struct journal_db *db;

    if (journal_db_open(&db, path, NULL, &error) < 0)
        fail_msg("call %ld: %s", n, error.text);
    if (journal_db_head(db)->index < acked)
        fail_msg("call %ld: %llu of %llu batches", n, (unsigned long long)journal_db_head(db)->index,
                 (unsigned long long)acked);
    journal_db_close(db);
}

/* The n-th call fails; false: there was no n-th. */
static bool journal_survives(const struct blow *blow, long n)
{
    struct error error = {0};
    struct owner o;
    uint64_t acked = 0;
    int rc;

    new_dir("journal.db");
    fault_vfs_arm(blow->code, n, blow->count);
    rc = owner_open(&o, path, &error);
    if (rc == 0) {
        acked = journal_work(&o);
        owner_close(&o);
    } else {
        assert_true(rc == ERR_FULL || rc == ERR_IO); /* and not ERR_CORRUPT, nor anything else */
        assert_int_equal(uv_loop_close(&o.loop), 0);
    }
    fault_vfs_disarm();
    assert_journal(acked, n);
    drop_dir();
    return fault_vfs.calls >= n;
}

static void test_journal(void **state)
{
    each_call("leader/embedded/", journal_survives);
}

/* ---- the history ---- */

static void on_answer(void *arg, json_t *result, const struct error *error)
{
    *(size_t *)arg = result ? json_array_size(result) : SIZE_MAX - 1;
    json_decref(result);
}

static void feed(struct history *history, uint64_t index)
{
    struct history_write *w = alloc_zero(sizeof(*w));
    char run[64];

    snprintf(run, sizeof(run), "a@20261122T00%02u%02uZ", (unsigned)(index / 60), (unsigned)(index % 60));
    w->index = index;
    w->time_ms = 1000 * (int64_t)index;
    w->runs = alloc_zero(sizeof(*w->runs));
    w->run_count = 1;
    w->runs[0] = (struct history_run){.run = alloc_text(run),
                                      .job = alloc_text("a"),
                                      .at_ms = w->time_ms,
                                      .fire_ms = w->time_ms,
                                      .state = alloc_text("ended"),
                                      .over = true,
                                      .ended_ms = w->time_ms,
                                      .json = alloc_text("{\"cause\":\"schedule\"}")};
    history->ops->write(history, w);
}

/* A pool that works at once, and never waits: a back-off is over as soon as nothing else is to be done. */
struct hasty {
    struct store_pool table;
    struct {
        void (*work)(void *arg), (*done)(void *arg);
        void *arg;
    } tasks[STORE_WORK_MAX];
    int count;
    void (*wake[STORE_TIMERS])(void *arg);
    void *wake_arg[STORE_TIMERS];
};

static void hasty_run(struct store_pool *pool, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct hasty *h = (struct hasty *)pool;

    h->tasks[h->count].work = work;
    h->tasks[h->count].done = done;
    h->tasks[h->count++].arg = arg;
}

static void hasty_later(struct store_pool *pool, enum store_timer timer, uint64_t delay_ms,
                        void (*wake)(void *arg), void *arg)
{
    struct hasty *h = (struct hasty *)pool;

    h->wake[timer] = wake;
    h->wake_arg[timer] = arg;
}

static bool hasty_step(struct hasty *h)
{
    if (h->count > 0) {
        void (*done)(void *arg) = h->tasks[0].done;
        void *arg = h->tasks[0].arg;

        h->tasks[0].work(arg);
        memmove(&h->tasks[0], &h->tasks[1], (size_t)--h->count * sizeof(h->tasks[0]));
        done(arg);
        return true;
    }
    for (int i = 0; i < STORE_TIMERS; i++) {
        void (*wake)(void *arg) = h->wake[i];

        h->wake[i] = NULL;
        if (wake) {
            wake(h->wake_arg[i]);
            return true;
        }
    }
    return false;
}

static bool history_survives(const struct blow *blow, long n)
{
    struct hasty pool = {.table = {hasty_run, hasty_later}};
    struct store_options options = {.path = path, .pool = &pool.table};
    struct history_query runs = {.kind = HISTORY_RUNS};
    struct error error = {0};
    struct history *history;
    size_t seen = SIZE_MAX;
    int rc;

    new_dir("history.db");
    fault_vfs_arm(blow->code, n, blow->count);
    rc = store_open(&history, &options, &error);
    if (rc < 0) {
        assert_true(rc == ERR_FULL || rc == ERR_IO);
        fault_vfs_disarm();
        assert_int_equal(store_open(&history, &options, &error), 0);
    }
    for (uint64_t i = history->ops->applied(history) + 1; i <= 30; i++) {
        feed(history, i);
        if (i % 5 == 0) {
            history->ops->prune(history, "a", 12, 0);
            hasty_step(&pool);
        }
    }
    for (int i = 0; history->ops->applied(history) < 30; i++) {
        assert_true(i < 1000);
        hasty_step(&pool);
    }
    fault_vfs_disarm();
    history->ops->prune(history, "a", 12, 0);
    while (hasty_step(&pool)) {
    }
    history->ops->query(history, &runs, on_answer, &seen);
    while (hasty_step(&pool)) {
    }
    assert_int_equal(seen, 12);
    history->ops->close(history, free, calloc(1, 1));
    while (hasty_step(&pool)) {
    }
    drop_dir();
    return fault_vfs.calls >= n;
}

static void test_history(void **state)
{
    each_call("jobs/history/", history_survives);
}

/* ---- killed at a fault point ---- */

#ifdef CRONSCHED_FAULTS
static const char *fatal_point;

static void strike(const char *point, const char *detail)
{
    if (strcmp(point, fatal_point) == 0 && strcmp(detail, "7") == 0)
        kill(getpid(), SIGKILL);
}

/* Batch 7 is killed just before or just after its commit: it is there or not, and all before it are. */
static void test_fault_points(void **state)
{
    static const struct {
        const char *point;
        uint64_t expected;
    } cases[] = {{"journal-before-commit", 6}, {"journal-after-commit", 7}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct journal_db *db;
        int status;
        pid_t pid;

        new_dir("journal.db");
        pid = fork();
        if (pid == 0) {
            struct owner o;

            fatal_point = cases[i].point;
            fault_hook = strike;
            owner_open(&o, path, NULL);
            OWNER_UNTIL(&o, o.leading);
            for (int k = 0; k < 10; k++) {
                owner_append(&o, 100);
                OWNER_UNTIL(&o, o.acked == o.index);
            }
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(journal_db_open(&db, path, NULL, NULL), 0);
        assert_int_equal(journal_db_head(db)->index, cases[i].expected);
        journal_db_close(db);
        drop_dir();
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef CRONSCHED_FAULTS
        cmocka_unit_test(test_fault_points), /* first: it forks, and the pool has no threads yet */
#endif
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_history),
    };

    fault_vfs_install();
    fault_vfs_disarm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
