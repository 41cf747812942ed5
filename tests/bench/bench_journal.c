/* How fast the embedded journal is, beside what the disk and SQLite give by themselves, all in one run.
 *
 *   meson setup build-release --buildtype=release && ninja -C build-release tests/bench/bench_journal
 *   build-release/tests/bench/bench_journal [FOLDER [SECONDS [BYTES]]]
 *
 * FOLDER (default .) says which disk; a folder of our own is made in it and removed. Each line is one kind
 * of append of about BYTES (600) for SECONDS (2):
 *   fdatasync  append to a plain file and fdatasync: what one durable write costs
 *   sqlite     one INSERT and COMMIT with the journal's own settings, and with its alternatives
 *   dependent  the journal, each append sent when the one before is acked: what a chain of decisions can do
 *   pipelined  the journal, with a number of appends in flight: what many independent ones can do
 *   opening    verifying and replaying what pipelined left
 */
#include "jobs/base/sqlite.h"

#include "tests/support/journal_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLES_MAX 2000000

static char dir[4096], path[4200];
static double seconds = 2;
static size_t bytes = 600;
static double *samples;
static size_t sample_count;

static double now_s(void)
{
    return (double)uv_hrtime() / 1e9;
}

static void sample(double since_s)
{
    if (sample_count < SAMPLES_MAX)
        samples[sample_count++] = now_s() - since_s;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(const char *name, double took_s, uint64_t appends)
{
    qsort(samples, sample_count, sizeof(*samples), by_value);
    printf("%-34s %9.0f /s", name, (double)appends / took_s);
    if (sample_count)
        printf("   median %7.3f ms   99 %% %7.3f ms   worst %7.3f ms", samples[sample_count / 2] * 1e3,
               samples[sample_count * 99 / 100] * 1e3, samples[sample_count - 1] * 1e3);
    printf("\n");
    sample_count = 0;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static void clean(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_journal: %s: %s\n", what, why);
    clean();
    exit(1);
}

static void begin(const char *file)
{
    clean();
    if (mkdir(dir, 0700) < 0)
        die(dir, strerror(errno));
    snprintf(path, sizeof(path), "%s/%s", dir, file);
}

/* ---- by themselves ---- */

static void bench_fdatasync(void)
{
    char *text = alloc_zero(bytes);
    double start;
    uint64_t n = 0;
    int fd;

    begin("plain");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, strerror(errno));
    for (start = now_s(); now_s() - start < seconds; n++) {
        double since = now_s();

        if (pwrite(fd, text, bytes, (off_t)(n * bytes)) != (ssize_t)bytes || fdatasync(fd) < 0)
            die(path, strerror(errno));
        sample(since);
    }
    report("fdatasync", now_s() - start, n);
    close(fd);
    free(text);
}

static void bench_sqlite(const char *name, const char *pragmas, int group)
{
    struct error error = {0};
    char *text = alloc_zero(bytes + 1);
    sqlite3_stmt *insert;
    sqlite3 *db;
    double start;
    uint64_t n = 0;

    begin("plain.db");
    memset(text, 'x', bytes);
    if (sqlite_open(&db, path, true, &error) < 0 || sqlite_exec(db, pragmas, &error) < 0 ||
        sqlite_exec(db, "CREATE TABLE batches(idx INTEGER PRIMARY KEY, text TEXT)", &error) < 0 ||
        sqlite_prepare(db, "INSERT INTO batches VALUES(?1, ?2)", &insert, &error) < 0)
        die("sqlite", error.text);
    for (start = now_s(); now_s() - start < seconds;) {
        double since = now_s();
        int rc = sqlite_exec(db, "BEGIN IMMEDIATE", &error);

        for (int i = 0; rc == 0 && i < group; i++) {
            sqlite3_bind_int64(insert, 1, (sqlite3_int64)++n);
            sqlite_bind_text(insert, 2, text);
            rc = sqlite_run(db, insert, &error);
        }
        if (rc < 0 || sqlite_exec(db, "COMMIT", &error) < 0)
            die("sqlite", error.text);
        sample(since);
    }
    report(name, now_s() - start, n);
    sqlite3_finalize(insert);
    sqlite3_close(db);
    free(text);
}

/* ---- the journal ---- */

static void open_journal(struct owner *o)
{
    struct error error = {0};

    if (owner_open(o, path, &error) < 0)
        die("journal", error.text);
    OWNER_UNTIL(o, o->leading);
}

static void bench_journal(const char *name, uint64_t window)
{
    struct owner o;
    struct journal_status status;
    double start;

    begin("journal.db");
    open_journal(&o);
    for (start = now_s(); now_s() - start < seconds;) {
        uint64_t acked = o.acked;
        double since = now_s();

        while (o.index - o.acked < window)
            owner_append(&o, bytes - 100);
        while (o.acked == acked)
            uv_run(&o.loop, UV_RUN_ONCE);
        sample(since);
    }
    OWNER_UNTIL(&o, o.acked == o.index);
    report(name, now_s() - start, o.acked);
    o.journal->ops->status(o.journal, &status);
    printf("%-34s %9.3f ms from append to ack on average, %llu appends in %d transactions\n", "",
           (double)status.total_append_us / 1e3 / (double)status.appends, (unsigned long long)status.appends,
           o.acks);
    owner_close(&o);
}

static void bench_opening(void)
{
    struct owner o;
    struct stat st;
    double start = now_s();

    if (stat(path, &st) < 0)
        die(path, strerror(errno));
    open_journal(&o);
    printf("%-34s %9.3f s for %d batches, %.1f MB\n", "opening", now_s() - start, o.batches,
           (double)st.st_size / 1e6);
    owner_close(&o);
}

int main(int argc, char **argv)
{
    snprintf(dir, sizeof(dir), "%s/bench-journal-%ld", argc > 1 ? argv[1] : ".", (long)getpid());
    if (argc > 2)
        seconds = strtod(argv[2], NULL);
    if (argc > 3)
        bytes = strtoul(argv[3], NULL, 10);
    if (seconds <= 0 || bytes < 200 || bytes > 200000) {
        fprintf(stderr, "usage: bench_journal [FOLDER [SECONDS [BYTES]]], BYTES from 200 to 200000\n");
        return 2;
    }
    samples = alloc_zero(SAMPLES_MAX * sizeof(*samples));
    printf("appends of %zu bytes in %s, %g s each\n", bytes, dir, seconds);
    bench_fdatasync();
    bench_sqlite("sqlite, rollback journal, full", "PRAGMA synchronous = FULL", 1);
    bench_sqlite("sqlite, wal, full", "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", 1);
    bench_sqlite("sqlite, wal, full, exclusive",
                 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", 1);
    bench_sqlite("sqlite, the same, 64 a commit",
                 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", 64);
    bench_journal("journal, dependent", 1);
    bench_journal("journal, pipelined, 16 in flight", 16);
    bench_journal("journal, pipelined, 256 in flight", 256);
    bench_journal("journal, pipelined, 4096 in flight", 4096);
    bench_opening();
    clean();
    free(samples);
    return 0;
}
