#include "leader/embedded/journal_db_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/mutant.h"
#include "jobs/base/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPOINT_PAGES 1000
#define WAL_KEEP_BYTES   "16777216" /* what a burst may leave of the write-ahead log */

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE batches(idx INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, time INTEGER NOT NULL,"
    " hash TEXT NOT NULL, text TEXT NOT NULL) STRICT;"
    "CREATE TABLE snapshot(idx INTEGER PRIMARY KEY, hash TEXT NOT NULL, head TEXT NOT NULL, text TEXT NOT "
    "NULL) STRICT;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;"
    "INSERT INTO meta VALUES('epoch', 0);"
    "PRAGMA application_id = 1668444528;" /* "crnp" */
    "PRAGMA user_version = 1;"
    "COMMIT;";
#define APPLICATION_ID 1668444528
static_assert(JOURNAL_DB_FORMAT == 1, "user_version in the schema above");

static const struct journal_db_options no_options = {0};

/* ---- opening ---- */

static void db_disconnect(struct journal_db *j)
{
    sqlite3_finalize(j->insert);
    sqlite3_finalize(j->trim);
    sqlite3_finalize(j->read);
    sqlite3_finalize(j->compare);
    j->insert = j->trim = j->read = j->compare = NULL;
    if (j->db)
        journal_files_release_wal(j->files);
    sqlite3_close(j->db);
    j->db = NULL;
    assert(!j->db && !j->read);
}

/* The lock file is ours, so whoever has the database open is no cronsched. */
static int busy_means_stranger(struct journal_db *j, int rc, struct error *error)
{
    if (rc != ERR_BUSY)
        return rc;
    return error_set(error, rc, "%s is in use by another program (such as an sqlite3 shell)", j->path);
}

static int db_prepare_all(struct journal_db *j, struct error *error)
{
    int rc = sqlite_prepare(j->db, "INSERT INTO batches VALUES(?1, ?2, ?3, ?4, ?5)", &j->insert, error);

    assert(!j->trim && !j->read && !j->compare);
    if (rc == 0)
        rc = sqlite_prepare(j->db,
                            "DELETE FROM batches WHERE idx IN"
                            " (SELECT idx FROM batches WHERE idx <= ?1 ORDER BY idx LIMIT ?2)",
                            &j->trim, error);
    if (rc == 0)
        rc = sqlite_prepare(
            j->db, "SELECT idx, epoch, time, hash, text FROM batches WHERE idx > ?1 ORDER BY idx LIMIT ?2",
            &j->read, error);
    if (rc == 0)
        rc = sqlite_prepare(
            j->db,
            "SELECT value, (SELECT max(idx) FROM batches),"
            " (SELECT hash FROM batches ORDER BY idx DESC LIMIT 1) FROM meta WHERE key = 'epoch'",
            &j->compare, error);
    return rc;
}

/* 'cronsched journal migrate' renames the file when it has moved all of it. */
static bool was_moved(const struct journal_db *j)
{
    char moved[PATH_MAX + 32];

    snprintf(moved, sizeof(moved), "%s.moved-%" PRIu64, j->path, journal_lock_mark(j->lock));
    return access(moved, F_OK) == 0;
}

/* A new file may only be made where there was none. */
static int refuse_new_file(struct journal_db *j, struct error *error)
{
    const char *who;
    uint64_t known = journal_db_known(j, &who);

    if (known == 0 || MUTANT(EMPTY_IS_NEW))
        return 0;
    if (was_moved(j))
        return error_set(
            error, ERR_CORRUPT,
            "%s is missing or empty: 'cronsched journal migrate' has moved it into ZooKeeper, where batch "
            "%" PRIu64 " is, and can move it back; 'cronsched cluster reset-journal' would begin without it",
            j->path, known);
    return error_set(
        error, ERR_CORRUPT,
        "%s is missing or empty, but batch %" PRIu64
        " was acknowledged (%s says so): put the file back, or see 'cronsched cluster reset-journal'",
        j->path, known, who);
}

/* Before SQLite opens it: that would make a new file, and take away a -wal file left alone. */
static int check_file(struct journal_db *j, struct error *error)
{
    struct stat st;

    assert(!j->db); /* it would make a file, and take -wal away */
    if (lstat(j->path, &st) < 0)
        return errno == ENOENT ? refuse_new_file(j, error) : 0; /* whatever else it is, opening tells */
    if (S_ISLNK(st.st_mode))
        return error_set(
            error, ERR_UNSUPPORTED,
            "%s is a symbolic link, so its -wal file would be elsewhere: put the file itself there, "
            "or make data_dir the link",
            j->path);
    return st.st_size == 0 ? refuse_new_file(j, error) : 0;
}

static int db_make_schema(struct journal_db *j, const char *cluster, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = refuse_new_file(j, error);

    ASSERT_NO_TRANSACTION(j);
    if (rc == 0)
        rc = sqlite_exec(j->db, schema, error);
    if (rc == 0 && cluster)
        rc = sqlite_prepare(j->db, "INSERT INTO meta VALUES('cluster', ?1)", &stmt, error);
    if (rc == 0 && cluster) {
        sqlite_bind_text(stmt, 1, cluster);
        rc = sqlite_run(j->db, stmt, error);
        sqlite3_finalize(stmt);
    }
    return rc;
}

static int db_check_seal(struct journal_db *j, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "SELECT value FROM meta WHERE key = 'sealed'", &stmt, error);

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(j->sealed, sizeof(j->sealed), "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    if (!j->sealed[0])
        return error_set(error, ERR_CORRUPT, "%s is sealed, and does not say why", j->path);
    if (!j->take_sealed)
        return error_set(
            error, ERR_CONFLICT,
            "%s is sealed: the journal is elsewhere, or on its way (%s); see 'cronsched journal migrate'",
            j->path, j->sealed);
    assert(j->sealed[0] && j->take_sealed);
    return 0;
}

static int db_check_format(struct journal_db *j, const char *cluster, struct error *error)
{
    int64_t application = 0, version = 0, tables = 0;
    int rc = sqlite_get_int(j->db, "PRAGMA application_id", &application, error);

    assert(!j->insert && !j->read); /* which need the tables */
    if (rc == 0)
        rc = sqlite_get_int(j->db, "PRAGMA user_version", &version, error);
    if (rc == 0)
        rc = sqlite_get_int(j->db, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (rc < 0)
        return busy_means_stranger(j, rc, error);
    if (tables == 0)
        return db_make_schema(j, cluster, error);
    if (application != APPLICATION_ID)
        return error_set(error, ERR_CORRUPT, "%s is an SQLite database, but not a journal", j->path);
    if (version == JOURNAL_DB_SEALED)
        return db_check_seal(j, error);
    if (version != JOURNAL_DB_FORMAT)
        return error_set(error, ERR_UNSUPPORTED, "%s has format %" PRId64 "; this program knows format %d",
                         j->path, version, JOURNAL_DB_FORMAT);
    return 0;
}

static int db_read_cluster(struct journal_db *j, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "SELECT value FROM meta WHERE key = 'cluster'", &stmt, error);

    ASSERT_CONNECTED(j);
    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(j->cluster, sizeof(j->cluster), "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return 0;
}

/* As SQLite does by itself, but told. */
static int checkpoint_when_long(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct journal_db *j = OBJECT(struct journal_db, arg);

    if (pages < CHECKPOINT_PAGES)
        return SQLITE_OK;
    journal_files_writing_db(j->files);
    sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL,
                              NULL); /* what fails is left for the next */
    return SQLITE_OK;
}

static int db_connect(struct journal_db *j, bool create, const char *cluster, struct error *error)
{
    int rc;

    assert(!j->db);
    rc = sqlite_open(&j->db, j->path, create, error);
    /* exclusive before the first read: then the WAL's index is in memory and there is no -shm file */
    if (rc == 0)
        rc = busy_means_stranger(
            j,
            sqlite_exec(j->db,
                        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                        "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = " WAL_KEEP_BYTES,
                        error),
            error);
    if (rc == ERR_CORRUPT)
        rc = error_set(error, ERR_CORRUPT,
                       "%s cannot be read: %s: put the right one there, as from a backup, or move it away "
                       "and accept that "
                       "with 'cronsched cluster reset-journal'",
                       j->path, sqlite3_errmsg(j->db));
    if (rc == 0)
        rc = db_check_format(j, cluster, error);
    if (rc == 0)
        rc = db_prepare_all(j, error);
    if (rc == 0)
        sqlite3_wal_hook(j->db, checkpoint_when_long, j);
    if (rc == 0)
        rc = journal_files_bind(j->files, j->db, error);
    if (rc < 0)
        db_disconnect(j);
    else
        ASSERT_CONNECTED(j);
    return rc;
}

int journal_db_reopen(struct journal_db *j, struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    if (rc < 0)
        return rc;
    db_disconnect(j);
    rc = db_connect(j, false, NULL, error);
    if (rc == 0)
        rc = sqlite_exec(j->db, "PRAGMA wal_checkpoint(TRUNCATE)", error);
    return journal_files_leave(j->files, rc, error);
}

static int take_cluster(struct journal_db *j, struct error *error)
{
    char path[PATH_MAX];

    assert(!j->cluster_place);
    snprintf(path, sizeof(path), "%s", j->path);
    return j->cluster[0] ? journal_place_take_cluster(&j->cluster_place, dirname(path), j->cluster, error)
                         : 0;
}

static int open_locked(struct journal_db *j, const struct journal_db_options *options, struct error *error)
{
    int rc;

    assert(j->lock && !j->files);
    j->files = journal_files_new(j->path, j->lock);
    rc = check_file(j, error);
    if (rc == 0)
        rc = db_connect(j, true, options->cluster, error);
    if (rc == 0)
        rc = db_read_cluster(j, error);
    if (rc == 0 && options->sole)
        rc = take_cluster(j, error);
    if (rc == 0)
        rc = journal_db_verify(j, error);
    return rc == 0 ? journal_files_leave(j->files, rc, error) : rc;
}

int journal_db_open(struct journal_db **ret, const char *path, const struct journal_db_options *options,
                    struct error *error)
{
    struct journal_db *j = OBJECT_NEW(struct journal_db);
    int rc;

    options = options ? options : &no_options;
    j->path = alloc_text(path);
    j->history = options->history;
    j->take_sealed = options->sealed;
    rc = journal_lock_take(&j->lock, path, options->lock_pause_ms, error);
    if (rc == 0)
        rc = open_locked(j, options, error);
    if (rc < 0) {
        journal_db_close(j);
        return rc;
    }
    ASSERT_CONNECTED(j);
    *ret = j;
    return 0;
}

int journal_db_examine(const char *path, bool accept, struct journal_db_rest *ret, struct error *error)
{
    struct journal_db *j = OBJECT_NEW(struct journal_db);
    struct stat st;
    int rc;

    *ret = (struct journal_db_rest){.exists = stat(path, &st) == 0 && st.st_size > 0};
    j->path = alloc_text(path);
    j->examining = true;
    rc = journal_lock_take(&j->lock, path, 0, error);
    if (rc == 0 && ret->exists)
        rc = open_locked(j, &no_options, error);
    if (rc == 0) {
        ret->index = j->head.index;
        ret->acknowledged = journal_lock_mark(j->lock);
        if (accept)
            journal_lock_set_mark(j->lock, ret->index);
    }
    journal_db_close(j);
    return rc;
}

/* SQLite removes -wal by its path, whoever's it is by now. */
static void leave_files_alone(struct journal_db *j)
{
    assert(j->db);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

void journal_db_close(struct journal_db *j)
{
    if (!j)
        return;
    if (j->db && journal_files_check(j->files, NULL) < 0)
        leave_files_alone(j);
    db_disconnect(j);
    journal_files_free(j->files);
    journal_place_free(j->cluster_place);
    journal_lock_free(j->lock);
    free(j->path);
    OBJECT_FREE(struct journal_db, j);
}

int journal_db_check(struct journal_db *j, struct error *error)
{
    journal_lock_answer(j->lock);
    journal_place_answer(j->cluster_place);
    return journal_files_check(j->files, error);
}

/* ---- writing ---- */

/* Within a transaction. What was read before is dropped from memory first, so that the file itself is compared. */
static int compare(struct journal_db *j, struct error *error)
{
    int64_t epoch, index;
    const char *hash;
    int rc = 0;

    ASSERT_IN_TRANSACTION(j);
    if (sqlite3_step(j->compare) != SQLITE_ROW) {
        rc = sqlite_error(j->db, "compare", error);
        sqlite3_reset(j->compare);
        return rc;
    }
    epoch = sqlite3_column_int64(j->compare, 0);
    index = sqlite3_column_int64(j->compare, 1); /* 0: none, all are in the snapshot */
    hash = (const char *)sqlite3_column_text(j->compare, 2);
    if (epoch != j->epoch || (index && (uint64_t)index != j->head.index) ||
        (index && hash && strcmp(hash, j->head.hash) != 0))
        rc = error_set(error, ERR_DEPOSED,
                       "%s is not as it was left: it holds epoch %" PRId64 " and ends at batch %" PRId64
                       ", not epoch %" PRId64 " and batch %" PRIu64 ": another server or program wrote to it",
                       j->path, epoch, index, j->epoch, j->head.index);
    sqlite3_reset(j->compare);
    return rc;
}

int journal_db_begin(struct journal_db *j, struct error *error)
{
    int rc;

    ASSERT_CONNECTED(j);
    ASSERT_NO_TRANSACTION(j);
    sqlite3_db_release_memory(j->db);
    rc = sqlite_exec(j->db, "BEGIN IMMEDIATE", error);
    return rc == 0 && !MUTANT(APPEND_WITHOUT_EPOCH) ? compare(j, error) : rc;
}

static int claim(struct journal_db *j, struct error *error)
{
    int64_t epoch = -1;
    int rc = sqlite_exec(j->db, "BEGIN IMMEDIATE", error);

    ASSERT_CONNECTED(j);
    if (rc == 0)
        rc = sqlite_get_int(j->db, "SELECT value FROM meta WHERE key = 'epoch'", &epoch, error);
    if (rc == 0 && epoch != j->epoch && epoch != j->epoch_tried && !MUTANT(CLAIM_WITHOUT_EPOCH))
        rc = error_set(error, ERR_DEPOSED,
                       "%s holds epoch %" PRId64 ", not %" PRId64
                       ": another server claimed it, or it is an older copy",
                       j->path, epoch, j->epoch);
    if (rc == 0) {
        j->epoch_tried = epoch + 1;
        rc = sqlite_exec(j->db, "UPDATE meta SET value = value + 1 WHERE key = 'epoch'", error);
    }
    if (rc == 0)
        rc = sqlite_exec(j->db, "COMMIT", error);
    if (rc < 0)
        sqlite_rollback(j->db);
    else
        j->epoch = epoch + 1;
    return rc;
}

int journal_db_claim(struct journal_db *j, int64_t *ret_epoch, struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    if (rc == 0)
        rc = journal_files_leave(j->files, claim(j, error), error);
    assert(rc < 0 || j->epoch == j->epoch_tried);
    if (rc == 0)
        *ret_epoch = j->epoch;
    return rc;
}

static int insert_batch(struct journal_db *j, const struct journal_db_batch *b, struct error *error)
{
    ASSERT_IN_TRANSACTION(j);
    sqlite3_bind_int64(j->insert, 1, (int64_t)b->index);
    sqlite3_bind_int64(j->insert, 2, b->epoch);
    sqlite3_bind_int64(j->insert, 3, b->time_ms);
    sqlite_bind_text(j->insert, 4, b->hash);
    sqlite3_bind_text64(j->insert, 5, b->text, b->size, SQLITE_STATIC, SQLITE_UTF8);
    return sqlite_run(j->db, j->insert, error);
}

static int trim_some(struct journal_db *j, bool *ret_more, struct error *error)
{
    int rc;

    assert(j->trimming);
    ASSERT_IN_TRANSACTION(j);
    sqlite3_bind_int64(j->trim, 1, (int64_t)j->trim_to);
    sqlite3_bind_int(j->trim, 2, JOURNAL_DB_TRIM_MAX);
    rc = sqlite_run(j->db, j->trim, error);
    if (rc == 0)
        *ret_more = sqlite3_changes(j->db) == JOURNAL_DB_TRIM_MAX;
    return rc;
}

static int append_group(struct journal_db *j, const struct journal_db_batch *batches, size_t count,
                        struct error *error)
{
    bool more = j->trimming;
    char last[24];
    int rc = journal_db_begin(j, error);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        assert(batches[i].index == j->head.index + 1 + i);
        rc = insert_batch(j, &batches[i], error);
    }
    if (rc == 0 && j->trimming)
        rc = trim_some(j, &more, error);
    snprintf(last, sizeof(last), "%" PRIu64, count ? batches[count - 1].index : j->head.index);
    FAULT_POINT("journal-before-commit", last);
    if (rc == 0)
        rc = sqlite_exec(j->db, "COMMIT", error);
    if (rc < 0) {
        sqlite_rollback(j->db);
        return rc;
    }
    FAULT_POINT("journal-after-commit", last);
    ASSERT_NO_TRANSACTION(j);
    j->trimming = more;
    return 0;
}

int journal_db_append(struct journal_db *j, const struct journal_db_batch *batches, size_t count,
                      struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    assert(count == 0 || batches[0].index == j->head.index + 1);
    if (rc == 0)
        rc = journal_files_leave(j->files, append_group(j, batches, count, error), error);
    if (rc < 0)
        return rc;
    if (count) {
        j->head.index = batches[count - 1].index;
        memcpy(j->head.hash, batches[count - 1].hash, sizeof(j->head.hash));
        journal_lock_set_mark(j->lock, j->head.index);
    }
    return 0;
}

bool journal_db_trimming(const struct journal_db *j)
{
    return j->trimming;
}

/* The hash of the batch at index: of the head, of one in the table, or as an earlier snapshot there knew it.
 */
static int hash_at(struct journal_db *j, uint64_t index, char ret[33], struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    assert(index <= j->head.index);
    if (index == j->head.index) {
        memcpy(ret, j->head.hash, 33);
        return 0;
    }
    rc = sqlite_prepare(
        j->db, "SELECT hash FROM batches WHERE idx = ?1 UNION ALL SELECT head FROM snapshot WHERE idx = ?1",
        &stmt, error);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, (int64_t)index);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(ret, 33, "%s", (const char *)sqlite3_column_text(stmt, 0));
    else
        rc = error_set(error, ERR_INTERNAL, "%s: there is no batch %" PRIu64 " for a snapshot", j->path,
                       index);
    sqlite3_finalize(stmt);
    return rc;
}

int journal_db_insert_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index,
                               const char *head, struct error *error)
{
    char hash[33];
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "INSERT OR REPLACE INTO snapshot VALUES(?1, ?2, ?3, ?4)", &stmt, error);

    ASSERT_IN_TRANSACTION(j);
    if (rc < 0)
        return rc;
    batch_hash(text, size, hash);
    sqlite3_bind_int64(stmt, 1, (int64_t)index);
    sqlite_bind_text(stmt, 2, hash);
    sqlite_bind_text(stmt, 3, head);
    sqlite3_bind_text64(stmt, 4, text, size, SQLITE_STATIC, SQLITE_UTF8);
    rc = sqlite_run(j->db, stmt, error);
    sqlite3_finalize(stmt);
    return rc;
}

/* Deletes all but the newest `keep`; *ret_oldest: the index of the oldest kept, 0 when there are fewer. */
static int drop_snapshots(struct journal_db *j, int keep, int64_t *ret_oldest, struct error *error)
{
    char sql[160];
    int rc;

    assert(keep >= 1);
    snprintf(sql, sizeof(sql), "SELECT idx FROM snapshot ORDER BY idx DESC LIMIT 1 OFFSET %d", keep - 1);
    rc = sqlite_get_int(j->db, sql, ret_oldest, error);
    snprintf(sql, sizeof(sql), "DELETE FROM snapshot WHERE idx < %" PRId64, *ret_oldest);
    return rc < 0 ? rc : sqlite_exec(j->db, sql, error);
}

static int write_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index, int keep,
                          struct error *error)
{
    char head[33];
    int64_t oldest = 0;
    int rc;

    ASSERT_CONNECTED(j);
    ASSERT_NO_TRANSACTION(j);
    rc = hash_at(j, index, head, error);
    if (rc == 0)
        rc = journal_db_begin(j, error);
    if (rc == 0)
        rc = journal_db_insert_snapshot(j, text, size, index, head, error);
    if (rc == 0)
        rc = drop_snapshots(j, keep, &oldest, error);
    if (rc == 0)
        rc = sqlite_exec(j->db, "COMMIT", error);
    if (rc < 0) {
        sqlite_rollback(j->db);
        return rc;
    }
    return oldest ? journal_db_find_trim(j, oldest, error) : 0;
}

int journal_db_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index, int keep,
                        struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    assert(keep >= 1 && index <= j->head.index);
    return rc == 0 ? journal_files_leave(j->files, write_snapshot(j, text, size, index, keep, error), error)
                   : rc;
}

/* ---- reading ---- */

int journal_db_read_snapshot(struct journal_db *j, char **ret_text, size_t *ret_size, uint64_t *ret_index,
                             struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "SELECT idx, text FROM snapshot ORDER BY idx DESC LIMIT 1", &stmt, error),
        step;
    char *text = NULL;
    size_t size = 0;
    uint64_t index = 0;

    if (rc < 0)
        return rc;
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(stmt, 1);

        index = (uint64_t)sqlite3_column_int64(stmt, 0);
        size = (size_t)sqlite3_column_bytes(stmt, 1);
        text = alloc_zero(size + 1);
        if (column)
            memcpy(text, column, size);
    } else if (step != SQLITE_DONE) {
        rc = sqlite_error(j->db, "read", error);
    }
    sqlite3_finalize(stmt);
    if (rc < 0)
        return rc;
    assert(text || (size == 0 && index == 0));
    *ret_text = text;
    *ret_size = size;
    *ret_index = index;
    return 0;
}

static void rows_add(struct journal_db_rows *rows, struct batch *batch, const char *text, size_t size)
{
    struct journal_db_row *row = &rows->items[rows->count++];

    assert(rows->count <= JOURNAL_DB_READ_MAX);
    row->batch = batch;
    row->size = size;
    row->text = alloc_zero(size + 1);
    memcpy(row->text, text, size);
}

int journal_db_read(struct journal_db *j, uint64_t after, struct journal_db_rows *ret, struct error *error)
{
    struct journal_db_head before = {.index = after}; /* its hash is not at hand: open has checked it */
    struct journal_db_rows rows = {.items = alloc_zero(JOURNAL_DB_READ_MAX * sizeof(*rows.items))};
    int64_t epoch = INT64_MIN;
    size_t bytes = 0;
    int rc = 0, step = SQLITE_DONE;

    ASSERT_CONNECTED(j);
    sqlite3_bind_int64(j->read, 1, (int64_t)after);
    sqlite3_bind_int64(j->read, 2, JOURNAL_DB_READ_MAX);
    while (rc == 0 && bytes < JOURNAL_DB_READ_BYTES && (step = sqlite3_step(j->read)) == SQLITE_ROW) {
        struct batch *batch = NULL;

        if (after == 0 && rows.count == 0 && sqlite3_column_int64(j->read, 0) != 1)
            rc = error_set(error, ERR_CORRUPT, "%s: batch 1 is missing", j->path);
        else
            rc = journal_db_row_check(j, &before, &epoch, &batch, error);
        if (rc == 0 && before.index == j->head.index && strcmp(before.hash, j->head.hash) != 0) {
            rc = error_set(error, ERR_DEPOSED, "%s: batch %" PRIu64 " is not the one that was acknowledged",
                           j->path, before.index);
            batch_free(batch);
        }
        if (rc == 0) {
            rows_add(&rows, batch, (const char *)sqlite3_column_text(j->read, 4),
                     (size_t)sqlite3_column_bytes(j->read, 4));
            bytes += rows.items[rows.count - 1].size;
        }
    }
    if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE)
        rc = sqlite_error(j->db, "read", error);
    sqlite3_reset(j->read);
    if (rc == 0 && step == SQLITE_DONE && rows.count < JOURNAL_DB_READ_MAX && before.index < j->head.index)
        rc = error_set(error, ERR_CORRUPT,
                       "%s ends at batch %" PRIu64 ", but batch %" PRIu64 " was acknowledged", j->path,
                       before.index, j->head.index);
    if (rc < 0) {
        journal_db_rows_release(&rows);
        return rc;
    }
    if (rows.count)
        j->head = before.index > j->head.index ? before
                                               : j->head; /* an append of unknown outcome was committed */
    *ret = rows;
    return 0;
}

void journal_db_rows_release(struct journal_db_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        batch_free(rows->items[i].batch);
        free(rows->items[i].text);
    }
    free(rows->items);
    *rows = (struct journal_db_rows){0};
}

const struct journal_db_head *journal_db_head(const struct journal_db *j)
{
    return &j->head;
}

int64_t journal_db_epoch(const struct journal_db *j)
{
    return j->epoch;
}

const char *journal_db_cluster(const struct journal_db *j)
{
    return j->cluster;
}

const char *journal_db_warning(const struct journal_db *j)
{
    return journal_files_warning(j->files);
}
