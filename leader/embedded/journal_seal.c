#include "leader/embedded/journal_seal.h"

#include "leader/embedded/journal_db_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* Within a transaction. */
static int set_meta(struct journal_db *j, const char *key, const char *text, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(
        j->db, text ? "INSERT OR REPLACE INTO meta VALUES(?1, ?2)" : "DELETE FROM meta WHERE key = ?1", &stmt,
        error);

    ASSERT_IN_TRANSACTION(j);
    if (rc < 0)
        return rc;
    sqlite_bind_text(stmt, 1, key);
    if (text)
        sqlite_bind_text(stmt, 2, text);
    rc = sqlite_run(j->db, stmt, error);
    sqlite3_finalize(stmt);
    return rc;
}

static int write_seal(struct journal_db *j, const char *where, struct error *error)
{
    char sql[64];
    int rc = set_meta(j, "sealed", where, error);

    snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", where ? JOURNAL_DB_SEALED : JOURNAL_DB_FORMAT);
    return rc < 0 ? rc : sqlite_exec(j->db, sql, error);
}

static int end(struct journal_db *j, int rc, const char *where, struct error *error)
{
    if (rc == 0)
        rc = sqlite_exec(j->db, "COMMIT", error);
    if (rc < 0)
        sqlite_rollback(j->db);
    else
        snprintf(j->sealed, sizeof(j->sealed), "%s", where ? where : "");
    assert(rc < 0 || sqlite3_get_autocommit(j->db)); /* no transaction is left */
    return rc;
}

static int seal(struct journal_db *j, const char *where, struct error *error)
{
    int rc = journal_db_begin(j, error);

    assert(j->take_sealed);
    rc = rc < 0 ? rc : write_seal(j, where, error);
    return end(j, rc, where, error);
}

int journal_seal(struct journal_db *j, const char *where, struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    assert(j->take_sealed && (!where || *where));
    return rc < 0 ? rc : journal_files_leave(j->files, seal(j, where, error), error);
}

const char *journal_seal_where(const struct journal_db *j)
{
    return j->sealed;
}

static int import(struct journal_db *j, const struct journal_seal_import *in, struct error *error)
{
    char sql[96];
    int rc = journal_db_begin(j, error);

    assert(in->where && *in->where);
    if (rc == 0 && in->text)
        rc = journal_db_insert_snapshot(j, in->text, in->size, in->at.index, in->at.hash, error);
    snprintf(sql, sizeof(sql), "UPDATE meta SET value = %" PRId64 " WHERE key = 'epoch'", in->epoch);
    if (rc == 0)
        rc = sqlite_exec(j->db, sql, error);
    if (rc == 0)
        rc = write_seal(j, in->where, error);
    return end(j, rc, in->where, error);
}

int journal_seal_import(struct journal_db *j, const struct journal_seal_import *in, struct error *error)
{
    int rc = journal_files_enter(j->files, error);

    assert(j->take_sealed && j->head.index == 0 && in->where && in->epoch >= 0);
    rc = rc < 0 ? rc : journal_files_leave(j->files, import(j, in, error), error);
    if (rc < 0)
        return rc;
    j->epoch = j->epoch_tried = in->epoch;
    if (in->text)
        j->head = in->at;
    return 0;
}
