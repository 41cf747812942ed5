/* The history store when things go wrong: too much at once, full disks, damaged and foreign files. */
#include "tests/support/store_bench.h"

#include <errno.h>
#include <fcntl.h>

/* ---- limits and failures ---- */

static void test_too_much_waits(void **state)
{
    uint64_t first_left_out, i;

    open_with(100000);
    for (i = 1; b.failures == 0; i++)
        put_minute(i, "a", (int)i);
    first_left_out = i - 1;
    assert_int_equal(b.failure.code, ERR_LIMIT);
    assert_non_null(strstr(b.failure.text, "are left out"));
    for (; i < first_left_out + 50; i++)
        put_minute(i, "a", (int)i);
    assert_int_equal(b.failures, 1); /* told once */
    drain();
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    put_minute(i, "a", (int)i); /* there is room again: written, but applied stays below the hole */
    drain();
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), first_left_out);
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    close_store();

    open_with(0); /* the owner feeds again from applied() + 1 */
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    for (uint64_t again = first_left_out; again <= i; again++)
        put_minute(again, "a", (int)again);
    drain();
    assert_int_equal(b.history->ops->applied(b.history), i);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), i);
    assert_gaps("[]");
    close_store();
}

static void test_too_many_queries(void **state)
{
    static struct answer answers[STORE_QUERIES_MAX + 10];
    struct history_query q = {.kind = HISTORY_RUNS};
    int refused = 0;

    open_with(0);
    for (int i = 0; i < STORE_QUERIES_MAX + 10; i++)
        ask(&q, &answers[i]);
    drain();
    for (int i = 0; i < STORE_QUERIES_MAX + 10; i++) {
        assert_int_equal(answers[i].calls, 1);
        refused += answers[i].error.code == ERR_LIMIT;
        json_decref(answers[i].result);
    }
    assert_int_equal(refused, 10);
    close_store();
}

static void test_close_answers_and_writes(void **state)
{
    struct answer a;

    open_with(0);
    put_minute(1, "a", 1);
    put_minute(2, "a", 2);
    ask(&(struct history_query){.kind = HISTORY_RUNS}, &a);
    close_store();
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.error.code, ERR_CANCELLED);
    open_with(0);
    assert_int_equal(b.history->ops->applied(b.history), 2);
    close_store();
}

static void ballast(bool on)
{
    char file[128], zeros[4096] = {0};
    int fd;

    snprintf(file, sizeof(file), "%s/ballast", b.dir);
    if (!on) {
        assert_int_equal(unlink(file), 0);
        return;
    }
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros)) {
    }
    close(fd);
}

static void test_disk_full(void **state)
{
    struct history_query q = {.kind = HISTORY_RUNS};
    struct answer a;

    if (mount("tmpfs", b.dir, "tmpfs", 0, "size=2m") < 0) {
        print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s): the full disk is not tested\n",
                      strerror(errno));
        return;
    }
    open_with(0);
    put_minute(1, "a", 1);
    drain();
    ballast(true);
    for (uint64_t i = 2; i <= 400; i++)
        put_minute(i, "a", (int)i);
    drain();
    assert_int_equal(b.failures, 1);
    assert_int_equal(b.failure.code, ERR_FULL);
    assert_non_null(strstr(b.failure.text, b.path));
    assert_int_equal(b.history->ops->applied(b.history), 1);
    ask(&q, &a); /* not half the truth */
    drain();
    assert_int_equal(a.error.code, ERR_FULL);
    assert_non_null(strstr(a.error.text, "history is not up to date: "));
    for (int i = 0; i < 10; i++)
        step(STORE_RETRY_MAX_MS); /* tried again and again, told once */
    assert_int_equal(b.failures, 1);
    assert_true(b.delay_ms[STORE_WAKE] <= STORE_RETRY_MAX_MS);
    ballast(false);
    while (b.history->ops->applied(b.history) < 400)
        assert_true(step(STORE_RETRY_MAX_MS));
    assert_int_equal(count_of(&q), 400);
    close_store();
}

/* Closing while the disk is full ends. */
static void test_close_with_a_full_disk(void **state)
{
    if (mount("tmpfs", b.dir, "tmpfs", 0, "size=1m") < 0) {
        print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s)\n", strerror(errno));
        return;
    }
    open_with(0);
    ballast(true);
    for (uint64_t i = 1; i <= 400; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    ballast(false);
    open_with(0);
    assert_int_equal(b.history->ops->applied(b.history), 0);
    close_store();
}

/* ---- damage ---- */

static void spoil(off_t at, const char *bytes)
{
    int fd = open(b.path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
    close(fd);
}

static void assert_there(const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", b.dir, name);
    if (access(path, F_OK) != 0)
        fail_msg("%s is not there", path);
}

static void test_damaged_at_opening(void **state)
{
    for (int i = 1; i <= 5; i++) {
        b.failures = 0;
        spoil(
            0,
            "this is no database, and it is long enough to be seen as such: more than a hundred bytes of text"
            " that nobody can read as the header of SQLite");
        open_with(0);
        assert_int_equal(b.failures, 0); /* not from within */
        drain();
        assert_int_equal(b.failures, 1);
        assert_int_equal(b.failure.code, ERR_CORRUPT);
        assert_non_null(strstr(b.failure.text, "was damaged; it was moved to "));
        put(new_write(1));
        drain();
        assert_int_equal(b.history->ops->applied(b.history), 1);
        close_store();
        assert_there(i == 1   ? "history.db.corrupt-1"
                     : i == 2 ? "history.db.corrupt-2"
                              : "history.db.corrupt-3");
    }
}

static void test_damaged_at_work(void **state)
{
    struct history_query q = {.kind = HISTORY_RUNS};
    struct answer a;
    char junk[4097];

    open_with(0);
    for (uint64_t i = 1; i <= 3000; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    memset(junk, 0x5a, sizeof(junk) - 1);
    junk[sizeof(junk) - 1] = '\0';
    for (off_t page = 3; page < 40; page++)
        spoil(page * 4096, junk);
    open_with(0); /* the damage is not seen yet */
    ask(&q, &a);
    drain();
    assert_int_equal(a.error.code, ERR_CORRUPT);
    assert_int_equal(b.failures, 1);
    assert_non_null(strstr(b.failure.text, "history.db.corrupt-1, and a new history is begun"));
    assert_int_equal(b.history->ops->applied(b.history), 0);
    put_minute(3001, "a", 1);
    assert_int_equal(count_of(&q), 1);
    assert_gaps("[{\"from\":0,\"to\":1700000060000}]");
    close_store();
}

/* A file without a name takes writes for ever, and is gone at the next start. */
static void test_removed_at_work(void **state)
{
    char away[256];

    open_with(0);
    put_minute(1, "a", 1);
    drain();
    snprintf(away, sizeof(away), "%s.away", b.path);
    assert_int_equal(rename(b.path, away), 0);
    put_minute(2, "a", 2);
    drain();
    assert_int_equal(b.failures, 1);
    assert_non_null(strstr(b.failure.text, "moved, removed or replaced"));
    assert_string_equal(b.history->ops->trouble(b.history), b.failure.text);
    assert_int_equal(b.history->ops->applied(b.history), 1);
    assert_int_equal(rename(away, b.path), 0);
    while (b.history->ops->applied(b.history) < 2)
        assert_true(step(STORE_RETRY_MAX_MS));
    assert_null(b.history->ops->trouble(b.history));
    close_store();
}

/* Seen by a write, with more writes queued behind: they go to the new file. */
static void test_damaged_under_a_write(void **state)
{
    char junk[4097];

    open_with(0);
    for (uint64_t i = 1; i <= 3000; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    memset(junk, 0x5a, sizeof(junk) - 1);
    junk[sizeof(junk) - 1] = '\0';
    for (off_t page = 3; page < 100; page++)
        spoil(page * 4096, junk);
    open_with(0);
    for (uint64_t i = 3001; i <= 3010; i++)
        put_minute(i, "a", (int)i);
    drain();
    assert_int_equal(b.history->ops->applied(b.history), 3010);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), 10);
    assert_int_equal(b.failures, 2); /* the damage, and that it was moved */
    close_store();
}

static void test_newer_and_foreign_files(void **state)
{
    struct store_options options = {.path = b.path, .pool = &b.table};
    struct error error = {0};
    struct history *history;
    sqlite3 *db;

    open_with(0);
    close_store();
    assert_int_equal(sqlite_open(&db, b.path, false, NULL), 0);
    assert_int_equal(sqlite_exec(db, "PRAGMA user_version = 99", NULL), 0);
    sqlite3_close(db);
    assert_int_equal(store_open(&history, &options, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "has version 99, of a newer program"));
    assert_int_equal(sqlite_open(&db, b.path, false, NULL), 0);
    assert_int_equal(sqlite_exec(db, "PRAGMA application_id = 1", NULL), 0);
    sqlite3_close(db);
    assert_int_equal(store_open(&history, &options, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "not a history"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_too_much_waits),           T(test_too_many_queries),
        T(test_close_answers_and_writes), T(test_disk_full),
        T(test_close_with_a_full_disk),   T(test_damaged_at_opening),
        T(test_damaged_at_work),          T(test_removed_at_work),
        T(test_damaged_under_a_write),    T(test_newer_and_foreign_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
