#include "leader/embedded/journal_db.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/sqlite.h"
#include "leader/embedded/journal_lock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define WAL_KEEP_BYTES "16777216" /* what a burst may leave of the write-ahead log */

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

struct journal_db {
    char *path;
    struct journal_lock *lock;
    sqlite3 *db; /* NULL between a failed reopen and the next */
    sqlite3_stmt *insert, *trim, *read;
    struct journal_db_head head;
    uint64_t trim_to; /* batches up to here are to be deleted, */
    bool trimming;    /* and some are left */
    char cluster[64];
};

/* ---- opening ---- */

static void db_disconnect(struct journal_db *j)
{
    sqlite3_finalize(j->insert);
    sqlite3_finalize(j->trim);
    sqlite3_finalize(j->read);
    j->insert = j->trim = j->read = NULL;
    sqlite3_close(j->db);
    j->db = NULL;
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
    int rc = db_prepare(j->db, "INSERT INTO batches VALUES(?1, ?2, ?3, ?4, ?5)", &j->insert, error);

    if (rc == 0)
        rc = db_prepare(j->db,
                        "DELETE FROM batches WHERE idx IN"
                        " (SELECT idx FROM batches WHERE idx <= ?1 ORDER BY idx LIMIT ?2)",
                        &j->trim, error);
    if (rc == 0)
        rc = db_prepare(
            j->db, "SELECT idx, epoch, time, hash, text FROM batches WHERE idx > ?1 ORDER BY idx LIMIT ?2",
            &j->read, error);
    return rc;
}

static int db_make_schema(struct journal_db *j, const char *cluster, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    if (journal_lock_mark(j->lock) > 0)
        return error_set(error, ERR_CORRUPT,
                         "%s is missing or empty, but batch %" PRIu64
                         " was acknowledged: put the file back, or remove %s.lock to begin anew without it",
                         j->path, journal_lock_mark(j->lock), j->path);
    rc = db_exec(j->db, schema, error);
    if (rc == 0 && cluster)
        rc = db_prepare(j->db, "INSERT INTO meta VALUES('cluster', ?1)", &stmt, error);
    if (rc == 0 && cluster) {
        db_bind_text(stmt, 1, cluster);
        rc = db_run(j->db, stmt, error);
        sqlite3_finalize(stmt);
    }
    return rc;
}

static int db_check_format(struct journal_db *j, const char *cluster, struct error *error)
{
    int64_t application = 0, version = 0, tables = 0;
    int rc = db_get_int(j->db, "PRAGMA application_id", &application, error);

    if (rc == 0)
        rc = db_get_int(j->db, "PRAGMA user_version", &version, error);
    if (rc == 0)
        rc = db_get_int(j->db, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (rc < 0)
        return busy_means_stranger(j, rc, error);
    if (tables == 0)
        return db_make_schema(j, cluster, error);
    if (application != APPLICATION_ID)
        return error_set(error, ERR_CORRUPT, "%s is an SQLite database, but not a journal", j->path);
    if (version != JOURNAL_DB_FORMAT)
        return error_set(error, ERR_UNSUPPORTED, "%s has format %" PRId64 "; this program knows format %d",
                         j->path, version, JOURNAL_DB_FORMAT);
    return 0;
}

static int db_read_cluster(struct journal_db *j, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(j->db, "SELECT value FROM meta WHERE key = 'cluster'", &stmt, error);

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(j->cluster, sizeof(j->cluster), "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return 0;
}

static int db_connect(struct journal_db *j, const char *cluster, struct error *error)
{
    int rc;

    assert(!j->db);
    rc = db_open(&j->db, j->path, true, error);
    /* exclusive before the first read: then the WAL's index is in memory and there is no -shm file */
    if (rc == 0)
        rc = busy_means_stranger(
            j,
            db_exec(j->db,
                    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                    "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = " WAL_KEEP_BYTES,
                    error),
            error);
    if (rc == 0)
        rc = db_check_format(j, cluster, error);
    if (rc == 0)
        rc = db_prepare_all(j, error);
    if (rc < 0)
        db_disconnect(j);
    return rc;
}

int journal_db_reopen(struct journal_db *j, struct error *error)
{
    int rc;

    db_disconnect(j);
    rc = db_connect(j, NULL, error);
    if (rc == 0)
        rc = db_exec(j->db, "PRAGMA wal_checkpoint(TRUNCATE)", error);
    return rc;
}

/* ---- reading and verifying ---- */

/* Checks the current row of `read` against itself and against the batch before, and decodes it. `before` is
 * what precedes it: index 0 and no hash where nothing is known. */
static int row_check(struct journal_db *j, struct journal_db_head *before, int64_t *epoch, struct batch **ret,
                     struct error *error)
{
    uint64_t index = (uint64_t)sqlite3_column_int64(j->read, 0);
    const char *hash = (const char *)sqlite3_column_text(j->read, 3);
    const char *text = (const char *)sqlite3_column_text(j->read, 4);
    size_t size = (size_t)sqlite3_column_bytes(j->read, 4);
    char computed[33];
    struct batch *batch;

    if (!hash || !text)
        return db_error(j->db, "read", error);
    if (before->index && index != before->index + 1)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is missing: batch %" PRIu64 " follows batch %" PRIu64,
                         j->path, before->index + 1, index, before->index);
    batch_hash(text, size, computed);
    if (strcmp(computed, hash) != 0)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is damaged: its text (%zu bytes) has the hash %s, not %s",
                         j->path, index, size, computed, hash);
    if (batch_decode(&batch, text, size, error) < 0)
        return error_prefix(error, "%s: batch %" PRIu64 ": ", j->path, index);
    if (batch->index != index || batch->epoch != sqlite3_column_int64(j->read, 1) || batch->epoch < *epoch ||
        (before->hash[0] && strcmp(batch->prev, before->hash) != 0) || (index == 1 && batch->prev[0])) {
        int rc =
            error_set(error, ERR_CORRUPT,
                      "%s: batch %" PRIu64 " does not continue batch %" PRIu64 ": it says number %" PRIu64
                      ", epoch %" PRId64 " (before: %" PRId64 "), after %s (before: %s)",
                      j->path, index, before->index, batch->index, batch->epoch, *epoch,
                      batch->prev[0] ? batch->prev : "nothing", before->hash[0] ? before->hash : "not known");
        batch_free(batch);
        return rc;
    }
    before->index = index;
    memcpy(before->hash, hash, sizeof(before->hash));
    *epoch = batch->epoch;
    *ret = batch;
    return 0;
}

/* What SQLite itself finds wrong: it names the page or the row, below a heading of its own. */
static int verify_pages(struct journal_db *j, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(j->db, "PRAGMA quick_check(1)", &stmt, error);
    const char *text, *line;

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) != SQLITE_ROW || !(text = (const char *)sqlite3_column_text(stmt, 0))) {
        rc = db_error(j->db, "check", error);
    } else if (strcmp(text, "ok") != 0) {
        line = strchr(text, '\n');
        rc = error_set(error, ERR_CORRUPT, "%s is damaged: %s", j->path, line ? line + 1 : text);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* What the snapshots say about the batches. */
struct journal_db_snapshots {
    struct journal_db_head oldest, newest; /* index 0: there are none */
};

/* Every snapshot is whole. */
static int verify_snapshots(struct journal_db *j, struct journal_db_snapshots *ret, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(j->db, "SELECT idx, hash, head, text FROM snapshot ORDER BY idx", &stmt, error), step;

    if (rc < 0)
        return rc;
    while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        struct journal_db_head *at = &ret->newest;
        char computed[33];

        if (step != SQLITE_ROW) {
            rc = db_error(j->db, "read", error);
            break;
        }
        batch_hash((const char *)sqlite3_column_text(stmt, 3), (size_t)sqlite3_column_bytes(stmt, 3),
                   computed);
        at->index = (uint64_t)sqlite3_column_int64(stmt, 0);
        snprintf(at->hash, sizeof(at->hash), "%s", (const char *)sqlite3_column_text(stmt, 2));
        if (!ret->oldest.index)
            ret->oldest = *at;
        if (strcmp(computed, (const char *)sqlite3_column_text(stmt, 1)) != 0)
            rc = error_set(error, ERR_CORRUPT,
                           "%s: the snapshot at batch %" PRIu64 " is damaged: its hash is %s, not %s",
                           j->path, at->index, computed, (const char *)sqlite3_column_text(stmt, 1));
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* Where a snapshot was made, the batch must be the one it was made after. */
static int verify_tie(struct journal_db *j, const struct journal_db_snapshots *snapshots,
                      const struct journal_db_head *at, struct error *error)
{
    const struct journal_db_head *both[] = {&snapshots->oldest, &snapshots->newest};

    for (size_t i = 0; i < 2; i++)
        if (at->index == both[i]->index && strcmp(at->hash, both[i]->hash) != 0)
            return error_set(error, ERR_CORRUPT,
                             "%s: batch %" PRIu64
                             " has the hash %s, but the snapshot there was made after %s",
                             j->path, at->index, at->hash, both[i]->hash);
    return 0;
}

/* The first batch kept is batch 1, or lies at or below the one that follows the oldest snapshot. */
static int verify_beginning(struct journal_db *j, const struct journal_db_head *oldest,
                            struct journal_db_head *ret_before, struct error *error)
{
    int64_t first = 0;
    int rc = db_get_int(j->db, "SELECT min(idx) FROM batches", &first, error);

    if (rc < 0)
        return rc;
    if ((uint64_t)first > oldest->index + 1)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is missing: the first one is batch %" PRId64, j->path,
                         oldest->index + 1, first);
    if ((uint64_t)first == oldest->index + 1)
        *ret_before = *oldest;
    return 0;
}

static int verify_epoch(struct journal_db *j, uint64_t index, int64_t epoch, struct error *error)
{
    int64_t claimed = 0;
    int rc = db_get_int(j->db, "SELECT value FROM meta WHERE key = 'epoch'", &claimed, error);

    if (rc < 0 || epoch <= claimed)
        return rc;
    return error_set(error, ERR_CORRUPT,
                     "%s: batch %" PRIu64 " is of epoch %" PRId64 ", but the newest epoch is %" PRId64,
                     j->path, index, epoch, claimed);
}

static int verify_chain(struct journal_db *j, const struct journal_db_snapshots *snapshots,
                        struct error *error)
{
    struct journal_db_head at = {0};
    int64_t epoch = INT64_MIN;
    int rc = verify_beginning(j, &snapshots->oldest, &at, error), step;

    sqlite3_bind_int64(j->read, 1, 0);
    sqlite3_bind_int64(j->read, 2, -1);
    while (rc == 0 && (step = sqlite3_step(j->read)) != SQLITE_DONE) {
        struct batch *batch = NULL;

        rc = step == SQLITE_ROW ? row_check(j, &at, &epoch, &batch, error) : db_error(j->db, "read", error);
        batch_free(batch);
        if (rc == 0)
            rc = verify_tie(j, snapshots, &at, error);
    }
    sqlite3_reset(j->read);
    if (rc == 0)
        rc = verify_epoch(j, at.index, epoch, error);
    if (rc < 0)
        return rc;
    j->head = at.index ? at : snapshots->oldest; /* no batches: all went with the only snapshot */
    if (j->head.index < snapshots->newest.index)
        return error_set(error, ERR_CORRUPT,
                         "%s ends at batch %" PRIu64 ", before its snapshot at batch %" PRIu64, j->path,
                         j->head.index, snapshots->newest.index);
    return 0;
}

static int verify_mark(struct journal_db *j, struct error *error)
{
    uint64_t mark = journal_lock_mark(j->lock);

    if (j->head.index >= mark)
        return 0;
    return error_set(error, ERR_CORRUPT,
                     "%s ends at batch %" PRIu64 ", but batch %" PRIu64
                     " was acknowledged: it is an older copy, or its -wal "
                     "file is missing or damaged; put the right files back, or remove %s.lock to go on "
                     "without those batches",
                     j->path, j->head.index, mark, j->path);
}

static int find_trim(struct journal_db *j, int64_t to, struct error *error)
{
    int64_t first = INT64_MAX;
    int rc = db_get_int(j->db, "SELECT min(idx) FROM batches", &first, error);

    j->trim_to = (uint64_t)to;
    j->trimming = rc == 0 && first <= to;
    return rc;
}

static int db_verify(struct journal_db *j, struct error *error)
{
    struct journal_db_snapshots snapshots = {0};
    int rc = verify_pages(j, error);

    if (rc == 0)
        rc = verify_snapshots(j, &snapshots, error);
    if (rc == 0)
        rc = verify_chain(j, &snapshots, error);
    if (rc == 0)
        rc = verify_mark(j, error);
    if (rc == 0 &&
        snapshots.oldest.index < snapshots.newest.index) /* deleting goes on where a crash ended it */
        rc = find_trim(j, (int64_t)snapshots.oldest.index, error);
    return rc;
}

int journal_db_open(struct journal_db **ret, const char *path, const char *cluster, struct error *error)
{
    struct journal_db *j = alloc_zero(sizeof(*j));
    int rc;

    j->path = alloc_text(path);
    rc = journal_lock_take(&j->lock, path, error);
    if (rc == 0)
        rc = db_connect(j, cluster, error);
    if (rc == 0)
        rc = db_read_cluster(j, error);
    if (rc == 0)
        rc = db_verify(j, error);
    if (rc < 0) {
        journal_db_close(j);
        return rc;
    }
    *ret = j;
    return 0;
}

void journal_db_close(struct journal_db *j)
{
    if (!j)
        return;
    db_disconnect(j);
    journal_lock_free(j->lock);
    free(j->path);
    free(j);
}

/* ---- writing ---- */

int journal_db_claim(struct journal_db *j, int64_t *ret_epoch, struct error *error)
{
    int64_t epoch = 0;
    int rc = db_get_int(j->db, "SELECT value + 1 FROM meta WHERE key = 'epoch'", &epoch, error);

    if (rc == 0)
        rc = db_exec(j->db, "UPDATE meta SET value = value + 1 WHERE key = 'epoch'", error);
    if (rc < 0)
        return rc;
    *ret_epoch = epoch;
    return 0;
}

static int insert_batch(struct journal_db *j, const struct journal_db_batch *b, struct error *error)
{
    sqlite3_bind_int64(j->insert, 1, (int64_t)b->index);
    sqlite3_bind_int64(j->insert, 2, b->epoch);
    sqlite3_bind_int64(j->insert, 3, b->time_ms);
    db_bind_text(j->insert, 4, b->hash);
    sqlite3_bind_text64(j->insert, 5, b->text, b->size, SQLITE_STATIC, SQLITE_UTF8);
    return db_run(j->db, j->insert, error);
}

static int trim_some(struct journal_db *j, bool *ret_more, struct error *error)
{
    int rc;

    sqlite3_bind_int64(j->trim, 1, (int64_t)j->trim_to);
    sqlite3_bind_int(j->trim, 2, JOURNAL_DB_TRIM_MAX);
    rc = db_run(j->db, j->trim, error);
    if (rc == 0)
        *ret_more = sqlite3_changes(j->db) == JOURNAL_DB_TRIM_MAX;
    return rc;
}

int journal_db_append(struct journal_db *j, const struct journal_db_batch *batches, size_t count,
                      struct error *error)
{
    bool more = j->trimming;
    char last[24];
    int rc = db_exec(j->db, "BEGIN IMMEDIATE", error);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        assert(batches[i].index == j->head.index + 1 + i);
        rc = insert_batch(j, &batches[i], error);
    }
    if (rc == 0 && j->trimming)
        rc = trim_some(j, &more, error);
    snprintf(last, sizeof(last), "%" PRIu64, count ? batches[count - 1].index : j->head.index);
    FAULT_POINT("journal-before-commit", last);
    if (rc == 0)
        rc = db_exec(j->db, "COMMIT", error);
    if (rc < 0) {
        db_rollback(j->db);
        return rc;
    }
    FAULT_POINT("journal-after-commit", last);
    j->trimming = more;
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

    if (index == j->head.index) {
        memcpy(ret, j->head.hash, 33);
        return 0;
    }
    rc = db_prepare(
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

static int insert_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index,
                           const char *head, struct error *error)
{
    char hash[33];
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(j->db, "INSERT OR REPLACE INTO snapshot VALUES(?1, ?2, ?3, ?4)", &stmt, error);

    if (rc < 0)
        return rc;
    batch_hash(text, size, hash);
    sqlite3_bind_int64(stmt, 1, (int64_t)index);
    db_bind_text(stmt, 2, hash);
    db_bind_text(stmt, 3, head);
    sqlite3_bind_text64(stmt, 4, text, size, SQLITE_STATIC, SQLITE_UTF8);
    rc = db_run(j->db, stmt, error);
    sqlite3_finalize(stmt);
    return rc;
}

/* Deletes all but the newest `keep`; *ret_oldest: the index of the oldest kept, 0 when there are fewer. */
static int drop_snapshots(struct journal_db *j, int keep, int64_t *ret_oldest, struct error *error)
{
    char sql[160];
    int rc;

    snprintf(sql, sizeof(sql), "SELECT idx FROM snapshot ORDER BY idx DESC LIMIT 1 OFFSET %d", keep - 1);
    rc = db_get_int(j->db, sql, ret_oldest, error);
    snprintf(sql, sizeof(sql), "DELETE FROM snapshot WHERE idx < %" PRId64, *ret_oldest);
    return rc < 0 ? rc : db_exec(j->db, sql, error);
}

int journal_db_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index, int keep,
                        struct error *error)
{
    char head[33];
    int64_t oldest = 0;
    int rc;

    assert(keep >= 1 && index <= j->head.index);
    rc = hash_at(j, index, head, error);
    if (rc == 0)
        rc = db_exec(j->db, "BEGIN IMMEDIATE", error);
    if (rc == 0)
        rc = insert_snapshot(j, text, size, index, head, error);
    if (rc == 0)
        rc = drop_snapshots(j, keep, &oldest, error);
    if (rc == 0)
        rc = db_exec(j->db, "COMMIT", error);
    if (rc < 0) {
        db_rollback(j->db);
        return rc;
    }
    return oldest ? find_trim(j, oldest, error) : 0;
}

/* ---- reading ---- */

int journal_db_read_snapshot(struct journal_db *j, char **ret_text, size_t *ret_size, uint64_t *ret_index,
                             struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(j->db, "SELECT idx, text FROM snapshot ORDER BY idx DESC LIMIT 1", &stmt, error),
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
        rc = db_error(j->db, "read", error);
    }
    sqlite3_finalize(stmt);
    if (rc < 0)
        return rc;
    *ret_text = text;
    *ret_size = size;
    *ret_index = index;
    return 0;
}

static void rows_add(struct journal_db_rows *rows, struct batch *batch, const char *text, size_t size)
{
    struct journal_db_row *row = &rows->items[rows->count++];

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

    sqlite3_bind_int64(j->read, 1, (int64_t)after);
    sqlite3_bind_int64(j->read, 2, JOURNAL_DB_READ_MAX);
    while (rc == 0 && bytes < JOURNAL_DB_READ_BYTES && (step = sqlite3_step(j->read)) == SQLITE_ROW) {
        struct batch *batch = NULL;

        if (after == 0 && rows.count == 0 && sqlite3_column_int64(j->read, 0) != 1)
            rc = error_set(error, ERR_CORRUPT, "%s: batch 1 is missing", j->path);
        else
            rc = row_check(j, &before, &epoch, &batch, error);
        if (rc == 0) {
            rows_add(&rows, batch, (const char *)sqlite3_column_text(j->read, 4),
                     (size_t)sqlite3_column_bytes(j->read, 4));
            bytes += rows.items[rows.count - 1].size;
        }
    }
    if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE)
        rc = db_error(j->db, "read", error);
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

const char *journal_db_cluster(const struct journal_db *j)
{
    return j->cluster;
}
