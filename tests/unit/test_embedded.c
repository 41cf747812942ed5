/* The embedded journal: order, group commit, snapshots, every kind of damage, two processes, kill -9, full
 * disks. */
#include "jobs/base/sqlite.h"
#include "leader/embedded/journal_db.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/journal_owner.h"
#include "tests/support/sample.h"

#define KILLS       200
#define KILLS_A_DAY 40 /* at other moments in each run */

static char dir[64], path[96];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cronsched-journal-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/journal.db", dir);
    return 0;
}

static int tear_down(void **state)
{
    umount2(dir, MNT_DETACH); /* of the tests that have a small disk */
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_and_lead(struct owner *o)
{
    struct error error = {0};

    if (owner_open(o, path, &error) < 0)
        fail_msg("%s", error.text);
    OWNER_UNTIL(o, o->leading);
}

static void append_many(struct owner *o, int count, size_t bytes)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(owner_append(o, bytes), 0);
    OWNER_UNTIL(o, o->acked == o->index);
}

/* A journal of `count` batches, closed. */
static void make_journal(int count)
{
    struct owner o;

    open_and_lead(&o);
    append_many(&o, count, 100);
    owner_close(&o);
}

/* Changes the closed file behind the journal's back. */
static void sql(const char *text)
{
    sqlite3 *db;
    struct error error = {0};

    assert_int_equal(sqlite_open(&db, path, false, &error), 0);
    if (sqlite_exec(db, text, &error) < 0)
        fail_msg("%s", error.text);
    sqlite3_close(db);
}

static int64_t sql_int(const char *text)
{
    sqlite3 *db;
    int64_t value = -1;

    assert_int_equal(sqlite_open(&db, path, false, NULL), 0);
    assert_int_equal(sqlite_get_int(db, text, &value, NULL), 0);
    sqlite3_close(db);
    return value;
}

static void test_life(void **state)
{
    struct owner o;
    struct journal_status status;

    open_and_lead(&o);
    assert_int_equal(o.epoch, 1);
    assert_int_equal(o.restores, 1);
    assert_int_equal(o.batches, 0);
    append_many(&o, 3, 100);
    o.journal->ops->status(o.journal, &status);
    assert_true(status.leading);
    assert_int_equal(status.acked, 3);
    assert_int_equal(status.appends, 3);
    assert_int_equal(status.in_flight, 0);
    assert_true(status.total_append_us >= status.last_append_us);
    owner_close(&o);

    open_and_lead(&o);
    assert_int_equal(o.epoch, 2);
    assert_int_equal(o.batches, 3);
    append_many(&o, 1, 100);
    assert_int_equal(o.acked, 4);
    owner_close(&o);
}

static void test_group_commit_and_limit(void **state)
{
    struct owner o;

    open_and_lead(&o);
    for (int i = 0; i < EMBEDDED_IN_FLIGHT_MAX; i++)
        assert_int_equal(owner_append(&o, 20), 0);
    assert_int_equal(owner_append(&o, 20), ERR_LIMIT);
    OWNER_UNTIL(&o, o.acked == EMBEDDED_IN_FLIGHT_MAX);
    assert_true(o.acks <= 2 + EMBEDDED_IN_FLIGHT_MAX / EMBEDDED_GROUP_MAX);
    assert_int_equal(owner_append(&o, 20), 0); /* the one refused was not taken: its number is free */
    OWNER_UNTIL(&o, o.acked == o.index);
    owner_close(&o);
    assert_int_equal(sql_int("SELECT count(*) FROM batches"), EMBEDDED_IN_FLIGHT_MAX + 1);
}

static void test_large_batches(void **state)
{
    struct owner o;
    int n = 0;

    open_and_lead(&o);
    while (owner_append(&o, 200 * 1024) == 0)
        n++;
    assert_in_range(n, EMBEDDED_IN_FLIGHT_BYTES / (220 * 1024), EMBEDDED_IN_FLIGHT_BYTES / (200 * 1024) + 1);
    OWNER_UNTIL(&o, o.acked == o.index);
    owner_close(&o);
    open_and_lead(&o);
    assert_int_equal(o.batches, n);
    owner_close(&o);
}

/* What was appended before close is written and acked. */
static void test_close_writes_the_queue(void **state)
{
    struct owner o;

    open_and_lead(&o);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(owner_append(&o, 50), 0);
    o.journal->ops->close(o.journal, owner_closed, &o);
    assert_int_equal(owner_append(&o, 50), ERR_DEPOSED);
    OWNER_UNTIL(&o, o.closed);
    assert_int_equal(o.acked, 3000);
    assert_int_equal(uv_loop_close(&o.loop), 0);
}

static void test_close_at_once(void **state)
{
    struct owner o;

    assert_int_equal(owner_open(&o, path, NULL), 0);
    owner_close(&o);
    assert_int_equal(o.leads, 0);
    for (int turns = 0; turns < 6; turns++) { /* in the middle of each step of the opening */
        assert_int_equal(owner_open(&o, path, NULL), 0);
        for (int i = 0; i < turns; i++)
            uv_run(&o.loop, UV_RUN_ONCE);
        owner_close(&o);
    }
}

static void append_from_acked(struct owner *o)
{
    if (o->index < 500)
        assert_int_equal(owner_append(o, 30), 0);
}

static void test_append_from_acked(void **state)
{
    struct owner o;

    open_and_lead(&o);
    o.on_acked = append_from_acked;
    assert_int_equal(owner_append(&o, 30), 0);
    OWNER_UNTIL(&o, o.acked == 500);
    assert_int_equal(o.acks, 500);
    owner_close(&o);
}

static void test_snapshots(void **state)
{
    struct owner o;
    struct error error = {0};

    open_and_lead(&o);
    append_many(&o, 1000, 50);
    owner_snapshot(&o); /* the first: nothing is deleted yet */
    append_many(&o, 1000, 50);
    owner_close(&o);
    assert_int_equal(sql_int("SELECT min(idx) FROM batches"), 1);

    open_and_lead(&o);
    assert_int_equal(o.index, 2000);
    assert_int_equal(o.batches, 1000);
    assert_memory_equal(o.snapshot, "1000 ", 5);
    for (int i = 0; i < 10; i++)
        assert_int_equal(owner_append(&o, 50), 0);
    owner_snapshot(&o); /* of what is still in flight */
    append_many(&o, 10, 50);
    OWNER_UNTIL(&o, !uv_loop_alive(&o.loop)); /* until the deleting is done, chunk by chunk */
    owner_close(&o);
    assert_int_equal(sql_int("SELECT min(idx) FROM batches"), 1001);
    assert_int_equal(sql_int("SELECT count(*) FROM snapshot"), 2);

    open_and_lead(&o);
    assert_memory_equal(o.snapshot, "2010 ", 5);
    assert_int_equal(o.batches, 10);
    owner_snapshot(&o);
    owner_snapshot(&o); /* one takes the place of the other */
    OWNER_UNTIL(&o, !uv_loop_alive(&o.loop));
    owner_close(&o);
    assert_int_equal(sql_int("SELECT min(idx) FROM snapshot"), 2010);
    assert_int_equal(sql_int("SELECT max(idx) FROM snapshot"), 2020);
    assert_int_equal(sql_int("SELECT min(idx) FROM batches"), 2011);

    /* a restart at a snapshot with no batch after it */
    open_and_lead(&o);
    assert_memory_equal(o.snapshot, "2020 ", 5);
    assert_int_equal(o.batches, 0);
    append_many(&o, 1, 50);
    owner_close(&o);

    /* a crash in the middle of deleting: it goes on at the next opening */
    sql("INSERT INTO snapshot SELECT 2015, hash, (SELECT hash FROM batches WHERE idx = 2015), text FROM "
        "snapshot"
        " WHERE idx = 2010; DELETE FROM snapshot WHERE idx = 2010");
    open_and_lead(&o);
    OWNER_UNTIL(&o, !uv_loop_alive(&o.loop));
    owner_close(&o);
    assert_int_equal(sql_int("SELECT min(idx) FROM batches"), 2016);
    if (owner_open(&o, path, &error) < 0)
        fail_msg("%s", error.text);
    owner_close(&o);
}

/* ---- refusals ---- */

static void assert_refused(int code, const char *expected)
{
    struct owner o;
    struct error error = {0};
    int rc = owner_open(&o, path, &error);

    if (rc == 0)
        fail_msg("opened, though expected: %s", expected);
    assert_int_equal(uv_loop_close(&o.loop), 0);
    if (!strstr(error.text, expected))
        fail_msg("\"%s\" does not say \"%s\"", error.text, expected);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(rc, code);
    assert_int_equal(error.code, code);
}

static void test_damage(void **state)
{
    static const struct {
        const char *sql;
        int code;
        const char *expected;
    } cases[] = {
        {"DELETE FROM batches WHERE idx = 7", ERR_CORRUPT, "batch 7 is missing: batch 8 follows batch 6"},
        {"DELETE FROM batches WHERE idx < 3", ERR_CORRUPT, "batch 1 is missing: the first one is batch 3"},
        {"UPDATE batches SET text = replace(text, 'xx', 'xy') WHERE idx = 5", ERR_CORRUPT,
         "batch 5 is damaged: its text"},
        {"UPDATE batches SET text = substr(text, 1, 40) WHERE idx = 10", ERR_CORRUPT,
         "batch 10 is damaged: its text (40 bytes)"},
        {"UPDATE batches SET hash = '' WHERE idx = 4", ERR_CORRUPT, "batch 4 is damaged"},
        {"UPDATE batches SET text = (SELECT text FROM batches WHERE idx = 2), hash = (SELECT hash FROM "
         "batches WHERE"
         " idx = 2) WHERE idx = 3",
         ERR_CORRUPT, "batch 3 does not continue batch 2"},
        {"UPDATE batches SET epoch = 9 WHERE idx = 6", ERR_CORRUPT, "batch 6 does not continue batch 5"},
        {"UPDATE meta SET value = 0 WHERE key = 'epoch'", ERR_CORRUPT,
         "batch 10 is of epoch 1, but the newest epoch is 0"},
        {"DELETE FROM batches WHERE idx > 8", ERR_CORRUPT, "ends at batch 8, but batch 10 was acknowledged"},
        {"DELETE FROM batches", ERR_CORRUPT, "ends at batch 0, but batch 10 was acknowledged"},
        {"INSERT INTO snapshot VALUES(5, 'x', 'y', 'z')", ERR_CORRUPT, "the snapshot at batch 5 is damaged"},
        /* the hash is that of the empty text */
        {"INSERT INTO snapshot VALUES(5, 'e3b0c44298fc1c149afbf4c8996fb924', 'y', '')", ERR_CORRUPT,
         "but the snapshot there was made after y"},
        {"INSERT INTO snapshot VALUES(50, 'e3b0c44298fc1c149afbf4c8996fb924', 'y', '')", ERR_CORRUPT,
         "ends at batch 10, before its snapshot at batch 50"},
        {"PRAGMA application_id = 5", ERR_CORRUPT, "is an SQLite database, but not a journal"},
        {"PRAGMA user_version = 9", ERR_UNSUPPORTED, "has format 9; this program knows format 1"},
        {"PRAGMA user_version = 2", ERR_CORRUPT, "is sealed, and does not say why"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_journal(10);
        sql(cases[i].sql);
        assert_refused(cases[i].code, cases[i].expected);
        assert_refused(cases[i].code, cases[i].expected); /* refusing changes nothing */
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
}

static void overwrite(off_t at, const char *bytes)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
    close(fd);
}

static void test_torn_file(void **state)
{
    struct stat st;
    char copy[128];

    make_journal(500);
    snprintf(copy, sizeof(copy), "%s.copy", path);
    copy_file(path, copy);

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
    assert_refused(ERR_CORRUPT, "malformed");
    copy_file(copy, path);
    overwrite(0, "nonsense nonsense");
    assert_refused(ERR_CORRUPT,
                   "cannot be read: file is not a database: put the right one there, as from a backup");
    copy_file(copy, path);
    overwrite(3 * 4096, "\x55\x55\x55\x55\x55\x55\x55\x55");
    assert_refused(ERR_CORRUPT, "is damaged: Page 4: ");
    copy_file(copy, path);
    overwrite(10 * 4096 + 2000, "flipped"); /* inside a batch: SQLite sees nothing, the hash does */
    assert_refused(ERR_CORRUPT, "is damaged: its text");
    assert_int_equal(unlink(path), 0);
    assert_refused(ERR_CORRUPT, "is missing or empty, but batch 500 was acknowledged");
    copy_file(copy, path);
    make_journal(1); /* and whole again, it goes on */
}

/* The write-ahead log of a killed process left behind: SQLite itself would take this for the end of the
 * journal. */
static void test_lost_wal(void **state)
{
    uint64_t *acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char wal[128];
    int status;
    pid_t pid;

    make_journal(3);
    pid = fork();
    if (pid == 0) {
        struct owner o;

        open_and_lead(&o);
        append_many(&o, 20, 100);
        *acked = o.acked;
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(*acked, 23);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    assert_int_equal(unlink(wal), 0);
    assert_refused(ERR_CORRUPT, "ends at batch 3, but batch 23 was acknowledged");
    munmap(acked, 4096);
}

static void test_second_process_is_refused_by_name(void **state)
{
    struct owner o;
    char expected[64];
    int status;
    pid_t pid;

    open_and_lead(&o);
    snprintf(expected, sizeof(expected), "is in use by process %ld", (long)getpid());
    pid = fork();
    if (pid == 0) {
        struct error error = {0};
        struct journal_db *db;

        _exit(journal_db_open(&db, path, NULL, &error) == ERR_BUSY && strstr(error.text, expected) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_refused(ERR_BUSY, expected); /* nor within one process */
    owner_close(&o);
    make_journal(1);
}

static void test_stranger_in_the_file(void **state)
{
    sqlite3 *db;

    make_journal(1);
    assert_int_equal(sqlite_open(&db, path, false, NULL), 0);
    assert_int_equal(sqlite_exec(db, "BEGIN; SELECT * FROM batches", NULL), 0);
    assert_refused(ERR_BUSY, "is in use by another program");
    sqlite3_close(db);
    make_journal(1);
}

static void test_folder_missing(void **state)
{
    snprintf(path, sizeof(path), "%s/none/journal.db", dir);
    assert_refused(ERR_IO, "No such file or directory");
}

/* ---- failure and recovery ---- */

/* Every write beyond a file size fails: deposed once, then recovery by itself when there is room again. */
static void test_io_error(void **state)
{
    struct rlimit old, tight = {256 * 1024, RLIM_INFINITY};
    struct journal_status status;
    struct owner o;
    uint64_t acked;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    open_and_lead(&o);
    append_many(&o, 50, 1000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    while (!o.deposals) {
        if (o.index - o.acked < 20)
            assert_int_equal(owner_append(&o, 1000), 0);
        else
            uv_run(&o.loop, UV_RUN_ONCE);
    }
    acked = o.acked;
    assert_int_equal(owner_append(&o, 100), ERR_DEPOSED);
    o.journal->ops->status(o.journal, &status);
    assert_false(status.leading);
    assert_int_equal(status.in_flight, 0);
    assert_non_null(strstr(status.text, path));
    for (int i = 0; i < 20; i++)
        uv_run(&o.loop, UV_RUN_ONCE); /* tries again, in vain or not: it is told once */
    assert_int_equal(o.deposals, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    OWNER_UNTIL(&o, o.leading);
    assert_int_equal(o.restores, 2);
    assert_true(o.epoch >= 2);
    assert_true(o.index >= acked);
    o.journal->ops->status(o.journal, &status);
    assert_string_equal(status.text, "");
    append_many(&o, 100, 1000);
    owner_close(&o);
    signal(SIGXFSZ, SIG_DFL);
    open_and_lead(&o);
    owner_close(&o);
}

static bool small_disk(const char *options)
{
    if (mount("tmpfs", dir, "tmpfs", 0, options) == 0)
        return true;
    print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s): the full disk is not tested\n",
                  strerror(errno));
    return false;
}

static void ballast(size_t leave_bytes)
{
    char file[128], zeros[4096] = {0};
    struct stat st;
    int fd;

    snprintf(file, sizeof(file), "%s/ballast", dir);
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros)) {
    }
    assert_int_equal(fstat(fd, &st), 0);
    assert_true((size_t)st.st_size > leave_bytes);
    assert_int_equal(ftruncate(fd, st.st_size - (off_t)leave_bytes), 0);
    close(fd);
}

static void drop_ballast(void)
{
    char file[128];

    snprintf(file, sizeof(file), "%s/ballast", dir);
    assert_int_equal(unlink(file), 0);
}

static void test_disk_full(void **state)
{
    struct owner o;

    if (!small_disk("size=2m"))
        return;
    open_and_lead(&o);
    append_many(&o, 10, 1000);
    for (int round = 1; round <= 5; round++) {
        uint64_t acked;
        int64_t epoch = o.epoch;

        ballast((size_t)round * 20 * 1024);
        while (o.leading) {
            if (o.index - o.acked < 50)
                assert_int_equal(owner_append(&o, 1000), 0);
            else
                uv_run(&o.loop, UV_RUN_ONCE);
        }
        assert_int_equal(o.deposals, round);
        assert_int_equal(o.error.code, ERR_FULL);
        assert_non_null(strstr(o.error.text, "full"));
        acked = o.acked;
        for (int i = 0; i < 10; i++)
            uv_run(&o.loop, UV_RUN_ONCE);
        drop_ballast();
        OWNER_UNTIL(&o, o.leading);
        assert_int_equal(o.restores, 1 + round);
        assert_true(o.index >= acked); /* all that was acked, and at most what was in flight */
        assert_true(o.epoch > epoch);
        owner_snapshot(&o);
        append_many(&o, 5, 100);
        owner_snapshot(&o); /* so that deleted batches make room */
        append_many(&o, 5, 100);
        OWNER_UNTIL(&o, !uv_loop_alive(&o.loop));
    }
    owner_close(&o);
    open_and_lead(&o);
    owner_close(&o);
}

/* The disk is full already when the program starts: it reads, says what is wrong, and leads when there is
 * room. */
static void test_disk_full_at_start(void **state)
{
    struct owner o;
    struct error error = {0};
    struct journal_status status = {0};

    if (!small_disk("size=1m"))
        return;
    make_journal(50);
    ballast(0);
    if (owner_open(&o, path, &error) < 0)
        fail_msg("%s", error.text);
    while (!status.text[0]) {
        uv_run(&o.loop, UV_RUN_ONCE);
        o.journal->ops->status(o.journal, &status);
    }
    assert_int_equal(o.batches, 50);
    assert_int_equal(o.deposals, 0);
    assert_false(o.leading);
    drop_ballast();
    OWNER_UNTIL(&o, o.leading);
    assert_int_equal(o.restores, 1);
    append_many(&o, 1, 100);
    owner_close(&o);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/journal.db.lock", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/journal.db", dir);
    ballast(0);
    assert_refused(ERR_FULL, "No space left on device"); /* a new one cannot be made */
}

/* ---- kill -9 ---- */

struct shared {
    volatile uint64_t acked;
    volatile int64_t epoch;
};

/* The child: appends without end, now in bursts, now one by one, with snapshots, and says what was acked. */
static void load(struct shared *shared, unsigned seed)
{
    struct owner o;
    struct error error = {0};

    if (owner_open(&o, path, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        _exit(1);
    }
    for (;;) {
        for (int i = rand_r(&seed) % 40; o.leading && i >= 0; i--)
            owner_append(&o, (size_t)(rand_r(&seed) % 600) + 1);
        if (o.leading && rand_r(&seed) % 8 == 0)
            owner_snapshot(&o);
        uv_run(&o.loop, UV_RUN_ONCE);
        shared->acked = o.acked;
        shared->epoch = o.leading ? o.epoch : shared->epoch;
    }
}

static void sleep_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};

    nanosleep(&t, NULL);
}

/* Kills the child some time after its start, or after it began to lead. */
static void kill_after(pid_t pid, const struct shared *shared, bool leading, long us)
{
    int64_t before = shared->epoch;
    int status;

    for (int i = 0; leading && shared->epoch == before && i < 100000; i++)
        sleep_us(100);
    sleep_us(us);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not end by itself: nothing was refused */
}

static void test_kill(void **state)
{
    struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t acked = 0, written = 0;
    unsigned seed = (unsigned)time(NULL);
    int kills = sample_is_whole("leader/embedded/") ? KILLS : KILLS_A_DAY;

    print_message("# kill: seed %u\n", seed);
    for (int i = 0; i < kills; i++) {
        unsigned child_seed = (unsigned)rand_r(&seed);
        bool leading = rand_r(&seed) % 4 > 0;
        long us = rand_r(&seed) % 15000;
        struct journal_db *db;
        struct error error = {0};
        int64_t epoch;
        pid_t pid = fork();

        if (pid == 0)
            load(shared, child_seed);
        kill_after(pid, shared, leading, us);
        acked = shared->acked > acked ? shared->acked : acked;
        if (journal_db_open(&db, path, NULL, &error) < 0) /* whole and contiguous, or it would be refused */
            fail_msg("kill %d: %s", i, error.text);
        written = journal_db_head(db)->index;
        if (written < acked)
            fail_msg("kill %d: batch %llu was acked, the journal ends at %llu", i, (unsigned long long)acked,
                     (unsigned long long)written);
        assert_int_equal(journal_db_claim(db, &epoch, &error), 0);
        assert_true(epoch > shared->epoch);
        journal_db_close(db);
    }
    print_message("# kill: %d kills, %llu batches\n", kills, (unsigned long long)written);
    assert_true(written > (uint64_t)kills);
    munmap(shared, 4096);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_kill), /* first: it forks, and what others have used of the memory would be copied each time */
        T(test_life),
        T(test_group_commit_and_limit),
        T(test_large_batches),
        T(test_close_writes_the_queue),
        T(test_close_at_once),
        T(test_append_from_acked),
        T(test_snapshots),
        T(test_damage),
        T(test_torn_file),
        T(test_lost_wal),
        T(test_second_process_is_refused_by_name),
        T(test_stranger_in_the_file),
        T(test_folder_missing),
        T(test_io_error),
        T(test_disk_full),
        T(test_disk_full_at_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
