/* The embedded journal whose files are moved, removed, replaced, written to or taken by another server while it is
 * open: noticed within a second and before anything more is acked, never taken back, and no other server beside it.
 *
 * test_journal_lost [--mutant NAME | --mutants]: with a deliberate fault (jobs/base/mutant.h) it has to fail.
 */
#include "jobs/base/mutant.h"
#include "jobs/base/sqlite.h"
#include "leader/embedded/journal_db.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/journal_owner.h"

static char top[64], dir[96], path[128], wal[140], lock[140], copy[96];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    snprintf(top, sizeof(top), "/tmp/cronsched-lost-XXXXXX");
    if (!mkdtemp(top))
        return -1;
    snprintf(dir, sizeof(dir), "%s/data", top);
    snprintf(copy, sizeof(copy), "%s/copy", top);
    snprintf(path, sizeof(path), "%s/journal.db", dir);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    return mkdir(dir, 0700);
}

static int tear_down(void **state)
{
    umount2(dir, MNT_DETACH);
    return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static uv_timer_t keep; /* the watch alone keeps no loop alive; a server's listeners do */

static void on_keep(uv_timer_t *timer)
{
}

static void close_owner(struct owner *o)
{
    uv_close((uv_handle_t *)&keep, NULL);
    owner_close(o);
}

static void open_and_lead(struct owner *o)
{
    struct error error = {0};

    if (owner_open(o, path, &error) < 0)
        fail_msg("%s", error.text);
    uv_timer_init(&o->loop, &keep);
    uv_timer_start(&keep, on_keep, 5, 5);
    OWNER_UNTIL(o, o->leading);
}

static void append_many(struct owner *o, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(owner_append(o, 300), 0);
    OWNER_UNTIL(o, o->acked == o->index);
}

static void shell(const char *command)
{
    char line[512];
    char *words[] = {(char *)"sh", (char *)"-c", line, NULL};
    int status;
    pid_t pid;

    snprintf(line, sizeof(line), "cd %s && %s", top, command);
    assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, words, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* ---- what may happen ---- */

/* Before: a copy of an older state lies in copy/. */
static const struct event {
    const char *name, *command, *expected;
} events[] = {
    {"moved and restored", "mv data data.old && cp -a copy data", "journal.db was replaced"},
    {"moved away", "mv data data.old", "journal.db was moved or removed"},
    {"removed", "rm data/journal.db*", "journal.db was moved or removed"},
    {"folder removed", "rm -r data", "journal.db was moved or removed"},
    {"file renamed", "mv data/journal.db data/journal.db.old", "journal.db was moved or removed"},
    {"log removed", "rm data/journal.db-wal", "journal.db-wal was moved or removed"},
    {"log replaced", "cp data/journal.db-wal x && mv x data/journal.db-wal", "journal.db-wal was replaced"},
    {"lock removed", "rm data/journal.db.lock", "journal.db.lock was moved or removed"},
    {"lock replaced", "cp data/journal.db.lock x && mv x data/journal.db.lock",
     "journal.db.lock was replaced"},
    {"lock emptied", ": >data/journal.db.lock", "journal.db.lock was overwritten"},
    {"file truncated", ": >data/journal.db", "journal.db was written to by another program"},
    {"log truncated", ": >data/journal.db-wal", "journal.db-wal was written to by another program"},
    {"older copy in place", "cat copy/journal.db >data/journal.db",
     "journal.db was written to by another program"},
    {"replaced by a link", "mv data/journal.db x && cp x y && ln -s ../y data/journal.db",
     "journal.db was replaced"},
    {"moved behind a link", "mv data/journal.db x && ln -s ../x data/journal.db", "journal.db was replaced"},
    {"taken by a newer server",
     "printf 'pid %-10d\\nacknowledged %-20d\\ntoken 00000000deadbeef\\nhost elsewhere\\n' 77 5 "
     "1<>data/journal.db.lock",
     "was taken by process 77 on elsewhere"},
};

static void make_copy(struct owner *o)
{
    append_many(o, 3);
    shell("cp -a data copy");
    append_many(o, 3);
}

static void assert_lost(struct owner *o, const char *expected)
{
    struct journal_status status = {0};

    o->journal->ops->status(o->journal, &status);
    if (!strstr(status.text, expected) || !strstr(status.text, "until it is started again"))
        fail_msg("\"%s\" does not say \"%s\"", status.text, expected);
    assert_true(status.lost);
    assert_false(status.leading);
    assert_false(o->journal->ops->may_act(o->journal));
    assert_int_equal(owner_append(o, 10), ERR_DEPOSED);
    assert_int_equal(o->deposals, 1);
    assert_int_equal(o->leads, 1);
}

static void run_for(struct owner *o, uint64_t ms)
{
    uint64_t end = now_ms() + ms;

    while (now_ms() < end) {
        uv_run(&o->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

/* Nobody writes: the watch finds it. */
static void test_noticed_within_a_second(void **state)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        struct owner o;
        uint64_t began;

        open_and_lead(&o);
        make_copy(&o);
        assert_true(o.journal->ops->may_act(o.journal));
        shell(events[i].command);
        began = now_ms();
        while (!o.deposals) {
            run_for(&o, 1);
            if (now_ms() - began > 1000)
                fail_msg("%s: not noticed within a second", events[i].name);
        }
        assert_lost(&o, events[i].expected);
        run_for(&o, 60); /* longer than any of its back-offs */
        assert_lost(&o, events[i].expected);
        close_owner(&o);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

/* The write that comes at once finds it itself. */
static void test_nothing_is_acked_afterwards(void **state)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        struct owner o;
        uint64_t acked;

        open_and_lead(&o);
        make_copy(&o);
        acked = o.acked;
        shell(events[i].command);
        assert_int_equal(owner_append(&o, 300), 0);
        OWNER_UNTIL(&o, o.deposals || o.acked > acked);
        if (o.acked > acked)
            fail_msg("%s: batch %llu was acked", events[i].name, (unsigned long long)o.acked);
        assert_lost(&o, events[i].expected);
        close_owner(&o);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

static void test_mounted_over(void **state)
{
    struct owner o;

    open_and_lead(&o);
    append_many(&o, 3);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0) {
        print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s)\n", strerror(errno));
        close_owner(&o);
        return;
    }
    OWNER_UNTIL(&o, o.deposals);
    assert_lost(&o, "journal.db was moved or removed");
    umount2(dir, MNT_DETACH);
    run_for(&o, 600); /* what is there again may have been written to meanwhile */
    assert_lost(&o, "journal.db was moved or removed");
    close_owner(&o);
    open_and_lead(&o);
    assert_int_equal(o.index, 3);
    close_owner(&o);
}

/* SQLite would put its log into the file, and remove the log at that path, whoever's it is. */
static void test_closing_changes_no_file_of_others(void **state)
{
    struct owner o;

    open_and_lead(&o);
    make_copy(&o);
    shell("test -s copy/journal.db-wal && mv data data.old && cp -a copy data && cp -a data data.then");
    OWNER_UNTIL(&o, o.deposals);
    close_owner(&o);
    shell("diff -r data data.then");
    open_and_lead(&o); /* what was restored is whole */
    assert_int_equal(o.index, 3);
    close_owner(&o);
}

/* ---- a second server ---- */

static void assert_busy(const char *expected)
{
    struct error error = {0};
    struct journal_db *db = NULL;
    int rc = journal_db_open(&db, path, NULL, &error);

    if (rc == 0)
        fail_msg("opened, though expected: %s", expected);
    if (rc != ERR_BUSY || !strstr(error.text, expected))
        fail_msg("\"%s\" does not say \"%s\"", error.text, expected);
}

static void test_no_second_server_beside_the_first(void **state)
{
    char expected[64];
    struct owner o;

    snprintf(expected, sizeof(expected), "is in use by process %ld", (long)getpid());
    open_and_lead(&o);
    make_copy(&o);
    shell("mv data data.old && cp -a copy data"); /* at once: before the first has noticed */
    assert_busy(expected);
    OWNER_UNTIL(&o, o.deposals);
    for (int i = 0; i < 200; i++) /* also when many ask */
        assert_busy(expected);
    close_owner(&o);
    open_and_lead(&o);
    shell("rm data/journal.db*");
    assert_busy("another server has locked its folder");
    close_owner(&o);
}

/* ---- what may not be taken for new, or for whole ---- */

static void assert_refused(uint64_t history, const char *expected)
{
    struct journal_db_options options = {.history = history};
    struct error error = {0};
    struct journal_db *db = NULL;
    int rc = journal_db_open(&db, path, &options, &error);

    if (rc == 0)
        fail_msg("opened, though expected: %s", expected);
    assert_int_equal(rc, ERR_CORRUPT);
    if (!strstr(error.text, expected) || !strstr(error.text, "reset-journal"))
        fail_msg("\"%s\" does not say \"%s\"", error.text, expected);
}

static void test_missing_or_older_than_the_history(void **state)
{
    struct journal_db_rest rest;
    struct error error = {0};
    struct owner o;

    assert_refused(5, "is missing or empty, but batch 5 was acknowledged (history.db says so)");
    assert_int_equal(access(path, F_OK), -1); /* refusing makes no file */
    shell(": >data/journal.db; echo log >data/journal.db-wal");
    assert_refused(5, "is missing or empty");
    shell("grep -q log data/journal.db-wal && rm data/journal.db*"); /* nor does it remove any */

    open_and_lead(&o);
    append_many(&o, 6);
    close_owner(&o);
    assert_refused(7, "ends at batch 6, but batch 7 was acknowledged (history.db says so)");
    shell("sed -i 's/acknowledged 6/acknowledged 9/' data/journal.db.lock");
    assert_refused(7, "ends at batch 6, but batch 9 was acknowledged (journal.db.lock says so)");

    assert_int_equal(journal_db_examine(path, false, &rest, &error), 0);
    assert_true(rest.exists);
    assert_int_equal(rest.index, 6);
    assert_int_equal(rest.acknowledged, 9);
    assert_refused(0, "ends at batch 6, but batch 9"); /* looking accepts nothing */
    assert_int_equal(journal_db_examine(path, true, &rest, &error), 0);
    open_and_lead(&o);
    assert_int_equal(o.index, 6);
    assert_int_equal(journal_db_examine(path, true, &rest, &error), ERR_BUSY);
    close_owner(&o);

    shell("rm data/journal.db");
    assert_refused(0, "is missing or empty, but batch 6 was acknowledged (journal.db.lock says so)");
    shell(": >data/journal.db.moved-5");
    assert_refused(0, "is missing or empty, but batch 6"); /* of an earlier move, and back */
    shell(": >data/journal.db.moved-6");
    assert_refused(9, "'cronsched journal migrate' has moved it into ZooKeeper, where batch 9 is");
    shell("rm data/journal.db.moved-*");
    assert_int_equal(journal_db_examine(path, true, &rest, &error), 0);
    assert_false(rest.exists);
    open_and_lead(&o);
    assert_int_equal(o.index, 0);
    close_owner(&o);
}

static void test_symbolic_link(void **state)
{
    struct error error = {0};
    struct journal_db *db;

    shell("ln -s ../elsewhere data/journal.db");
    assert_int_equal(journal_db_open(&db, path, NULL, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "is a symbolic link"));
}

static void test_hard_link_is_told(void **state)
{
    struct owner o;
    struct journal_status status = {0};

    open_and_lead(&o);
    o.journal->ops->status(o.journal, &status);
    assert_string_equal(status.warning, "");
    close_owner(&o);
    shell("ln data/journal.db x");
    open_and_lead(&o);
    o.journal->ops->status(o.journal, &status);
    assert_non_null(strstr(status.warning, "has 2 names"));
    close_owner(&o);
}

/* ---- the comparison in the transaction ---- */

/* As on a network file system, where sizes and times prove nothing: another content of the same size and time. */
static void write_behind(const char *sql)
{
    char other[160], bytes[65536];
    sqlite3 *db;
    struct stat st;
    ssize_t n;
    int fd;

    snprintf(other, sizeof(other), "%s/other.db", top);
    shell("cp data/journal.db other.db");
    assert_int_equal(sqlite_open(&db, other, false, NULL), 0);
    assert_int_equal(sqlite_exec(db, sql, NULL), 0);
    sqlite3_close(db);
    assert_int_equal(stat(path, &st), 0);
    fd = open(other, O_RDONLY);
    n = read(fd, bytes, sizeof(bytes));
    close(fd);
    assert_int_equal(n, st.st_size);
    fd = open(path, O_WRONLY);
    assert_int_equal(write(fd, bytes, (size_t)n), n);
    assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
    close(fd);
}

#define HASH(digit) "abcdef0123456789abcdef012345678" digit

static void test_append_compares_and_sets(void **state)
{
    static const char *const sql[] = {"UPDATE meta SET value = value - 1 WHERE key = 'epoch'",
                                      "UPDATE meta SET value = value + 1 WHERE key = 'epoch'",
                                      "DELETE FROM batches WHERE idx = 2",
                                      "UPDATE batches SET hash = upper(hash) WHERE idx = 2"};

    for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
        const struct journal_db_batch one = {1, 1, 1000, HASH("1"), "text", 4},
                                      two = {2, 1, 1000, HASH("2"), "text", 4},
                                      three = {3, 1, 1000, HASH("3"), "text", 4};
        struct error error = {0};
        struct journal_db *db;
        int64_t epoch;

        assert_int_equal(journal_db_open(&db, path, NULL, &error), 0);
        assert_int_equal(journal_db_claim(db, &epoch, &error), 0);
        assert_int_equal(journal_db_append(db, &one, 1, &error), 0);
        assert_int_equal(journal_db_append(db, &two, 1, &error), 0);
        assert_int_equal(journal_db_reopen(db, &error), 0); /* all of it in the file, the log empty */
        write_behind(sql[i]);
        if (journal_db_append(db, &three, 1, &error) != ERR_DEPOSED)
            fail_msg("%s: %s", sql[i], error.code ? error.text : "appended");
        assert_non_null(strstr(error.text, "is not as it was left"));
        journal_db_close(db);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

static void test_claim_compares_and_sets(void **state)
{
    struct error error = {0};
    struct journal_db *db;
    int64_t epoch;

    assert_int_equal(journal_db_open(&db, path, NULL, &error), 0);
    assert_int_equal(journal_db_claim(db, &epoch, &error), 0);
    assert_int_equal(journal_db_reopen(db, &error), 0);
    write_behind("UPDATE meta SET value = 0 WHERE key = 'epoch'");
    assert_int_equal(journal_db_reopen(db, &error), 0);
    assert_int_equal(journal_db_claim(db, &epoch, &error), ERR_DEPOSED);
    assert_non_null(strstr(error.text, "holds epoch 0, not 1"));
    journal_db_close(db);
}

/* ---- what passes ---- */

/* The folder's rights are taken away and given back: nothing is known meanwhile, and nothing was lost. */
static void test_rights_taken_away(void **state)
{
    struct journal_status status = {0};
    struct owner o;

    if (geteuid() == 0) { /* whom no rights bind */
        assert_int_equal(chmod(top, 0755), 0);
        assert_int_equal(chown(dir, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    open_and_lead(&o);
    append_many(&o, 3);
    assert_int_equal(chmod(dir, 0), 0);
    OWNER_UNTIL(&o, o.deposals);
    o.journal->ops->status(o.journal, &status);
    assert_false(status.lost);
    assert_non_null(strstr(status.text, "Permission denied"));
    run_for(&o, 300);
    assert_int_equal(o.leads, 1);
    assert_int_equal(chmod(dir, 0700), 0);
    OWNER_UNTIL(&o, o.leading);
    assert_int_equal(o.index, 3);
    OWNER_UNTIL(&o, o.journal->ops->may_act(o.journal));
    append_many(&o, 1);
    close_owner(&o);
    assert_int_equal(seteuid(getuid()), 0);
}

#ifdef CRONSCHED_FAULTS
static const struct {
    const char *name, *text;
    enum mutant id;
} mutants[] = {
#define X(id, name, text) {name, text, MUTANT_##id},
    EMBEDDED_MUTANTS(X)
#undef X
};
#endif

/* False: such words are not known. */
static bool mutate(int argc, char **argv)
{
    bool known = argc == 1 || (argc == 2 && strcmp(argv[1], "--mutants") == 0);

#ifdef CRONSCHED_FAULTS
    for (size_t i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++) {
        if (argc == 2)
            printf("%s\t%s\n", mutants[i].name, mutants[i].text);
        if (argc == 3 && strcmp(argv[1], "--mutant") == 0 && strcmp(argv[2], mutants[i].name) == 0)
            mutant_on = mutants[i].id;
    }
    known = known || mutant_on != MUTANT_NONE;
#endif
    return known;
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_noticed_within_a_second),
        T(test_nothing_is_acked_afterwards),
        T(test_mounted_over),
        T(test_closing_changes_no_file_of_others),
        T(test_no_second_server_beside_the_first),
        T(test_missing_or_older_than_the_history),
        T(test_symbolic_link),
        T(test_hard_link_is_told),
        T(test_append_compares_and_sets),
        T(test_claim_compares_and_sets),
        T(test_rights_taken_away),
    };

    if (!mutate(argc, argv))
        return 2;
    if (argc == 3)
        cmocka_set_skip_filter("test_noticed_within_a_second"); /* the next one finds the same, and sooner */
    return argc == 2 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
