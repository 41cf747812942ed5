/* A journal file that is sealed is opened by nobody but who moves it; one that comes from elsewhere is a journal. */
#include "leader/embedded/journal_seal.h"

#include "jobs/base/alloc.h"

#include <ftw.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WHERE "ZooKeeper at zk:2181, node /cron/main"

static char dir[64], path[96];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cronsched-seal-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/journal.db", dir);
    return 0;
}

static int tear_down(void **state)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct journal_db *open_at(const char *file)
{
    struct journal_db *db = NULL;
    struct error error;

    if (journal_db_open(&db, file, &(struct journal_db_options){.cluster = "uuid", .sealed = true}, &error) <
        0)
        fail_msg("%s", error.text);
    return db;
}

static void append(struct journal_db *db, int64_t epoch)
{
    const struct journal_db_head *head = journal_db_head(db);
    struct journal_db_batch b = {.index = head->index + 1, .epoch = epoch, .time_ms = 1000};
    char text[256], hash[33];
    struct error error;

    b.size = (size_t)snprintf(text, sizeof(text), "{\"n\":%d,\"e\":%d,\"t\":1000,\"p\":\"%s\",\"r\":[]}",
                              (int)b.index, (int)epoch, head->hash);
    batch_hash(text, b.size, hash);
    b.text = text;
    b.hash = hash;
    if (journal_db_append(db, &b, 1, &error) < 0)
        fail_msg("%s", error.text);
}

static void a_sealed_journal_is_opened_by_nobody_else(void **state)
{
    struct journal_db *db = open_at(path), *other = NULL;
    struct error error;
    int64_t epoch;

    assert_int_equal(journal_db_claim(db, &epoch, &error), 0);
    append(db, epoch);
    append(db, epoch);
    assert_string_equal(journal_seal_where(db), "");
    assert_int_equal(journal_seal(db, WHERE, &error), 0);
    journal_db_close(db);
    assert_int_equal(journal_db_open(&other, path, NULL, &error), ERR_CONFLICT);
    assert_non_null(strstr(error.text, WHERE));
    assert_null(other);

    db = open_at(path);
    assert_string_equal(journal_seal_where(db), WHERE);
    assert_int_equal(journal_db_head(db)->index, 2);
    assert_string_equal(journal_db_cluster(db), "uuid");
    assert_int_equal(journal_db_epoch(db), epoch);
    assert_int_equal(journal_seal(db, WHERE ", again", &error), 0);
    assert_int_equal(journal_seal(db, NULL, &error), 0);
    journal_db_close(db);
    assert_int_equal(journal_db_open(&other, path, NULL, &error), 0);
    assert_string_equal(journal_seal_where(other), "");
    append(other, epoch);
    journal_db_close(other);
}

/* To builds that know nothing of seals. */
static void a_seal_is_a_newer_format(void **state)
{
    struct journal_db *db = open_at(path);
    struct error error;
    sqlite3_stmt *stmt;
    sqlite3 *raw;

    assert_int_equal(journal_seal(db, WHERE, &error), 0);
    journal_db_close(db);
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(raw, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), JOURNAL_DB_SEALED);
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_exec(raw, "DELETE FROM meta WHERE key = 'sealed'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
    assert_int_equal(journal_db_open(&db, path, NULL, &error), ERR_CORRUPT);
}

static void what_comes_from_elsewhere_is_a_journal(void **state)
{
    static const char snapshot[] = "{\"a\":1}";
    struct journal_seal_import in = {
        .text = snapshot, .size = sizeof(snapshot) - 1, .at = {.index = 41}, .epoch = 9, .where = WHERE};
    struct journal_db *db = open_at(path);
    struct journal_db_rows rows;
    struct error error;
    uint64_t index;
    int64_t epoch;
    size_t size;
    char *text;

    snprintf(in.at.hash, sizeof(in.at.hash), "0123456789abcdef0123456789abcdef");
    assert_int_equal(journal_seal_import(db, &in, &error), 0);
    append(db, 7);
    append(db, 8);
    journal_db_close(db);
    assert_int_equal(journal_db_open(&db, path, NULL, &error), ERR_CONFLICT);
    db = open_at(path);
    assert_int_equal(journal_seal(db, NULL, &error), 0);
    journal_db_close(db);

    assert_int_equal(journal_db_open(&db, path, &(struct journal_db_options){.history = 43}, &error), 0);
    assert_int_equal(journal_db_read_snapshot(db, &text, &size, &index, &error), 0);
    assert_string_equal(text, snapshot);
    assert_int_equal(index, 41);
    free(text);
    assert_int_equal(journal_db_read(db, 41, &rows, &error), 0);
    assert_int_equal(rows.count, 2);
    journal_db_rows_release(&rows);
    assert_int_equal(journal_db_claim(db, &epoch, &error), 0);
    assert_int_equal(epoch, 10); /* above all that were */
    append(db, epoch);
    assert_int_equal(journal_db_head(db)->index, 44);
    journal_db_close(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_sealed_journal_is_opened_by_nobody_else),
        TEST(a_seal_is_a_newer_format),
        TEST(what_comes_from_elsewhere_is_a_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
