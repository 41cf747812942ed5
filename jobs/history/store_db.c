#include "jobs/history/store_db.h"

#include "jobs/base/alloc.h"
#include "jobs/history/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID  1668442227 /* "crhs" */
#define ASIDE_MAX       3          /* damaged files kept; the last place is taken again and again */
#define DAY_MS          (INT64_C(24) * 3600 * 1000)
#define BUSY_TIMEOUT_MS 10000

/* One entry per version of the schema: how to get there from the one before. Never change one that was
 * released.
 *   runs.done  when it ended, in the order of which the oldest go; 0 while unfinished
 *   runs.idx   the batch that the row is of: an older batch fed again does not undo a newer one
 *   skips      fire times first..last, count of them
 *   pruned     how many fire times the rows that went had accounted for, by UTC day
 *   gaps       batches never seen; shed: left out by the store itself, and perhaps fed later
 *   copied     batches that were missing and came from another replica
 */
static const char *const migrations[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES('applied', 0), ('written', 0), ('written_time', 0);"
    "CREATE TABLE runs(run TEXT NOT NULL UNIQUE, job TEXT NOT NULL, at INTEGER NOT NULL, fire INTEGER NOT "
    "NULL,"
    " exact INTEGER NOT NULL, state TEXT NOT NULL, verdict TEXT, cause TEXT, started INTEGER NOT NULL,"
    " ended INTEGER NOT NULL, done INTEGER NOT NULL, idx INTEGER NOT NULL, json TEXT NOT NULL) STRICT;"
    "CREATE INDEX runs_job ON runs(job, at);"
    "CREATE INDEX runs_done ON runs(job, done);"
    "CREATE INDEX runs_at ON runs(at);"
    "CREATE INDEX runs_open ON runs(job, at) WHERE done = 0;"
    "CREATE INDEX runs_state ON runs(state, at);"
    "CREATE INDEX runs_verdict ON runs(verdict, at);"
    "CREATE TABLE skips(idx INTEGER NOT NULL, seq INTEGER NOT NULL, job TEXT NOT NULL, first INTEGER NOT "
    "NULL,"
    " last INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL, time INTEGER "
    "NOT NULL,"
    " PRIMARY KEY(idx, seq)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX skips_job ON skips(job, last);"
    "CREATE INDEX skips_last ON skips(last);"
    "CREATE TABLE records(idx INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, epoch INTEGER "
    "NOT NULL,"
    " kind TEXT NOT NULL, job TEXT, run TEXT, json TEXT NOT NULL, PRIMARY KEY(idx, seq)) STRICT, WITHOUT "
    "ROWID;"
    "CREATE INDEX records_job ON records(job, time) WHERE job IS NOT NULL;"
    "CREATE INDEX records_run ON records(run) WHERE run IS NOT NULL;"
    "CREATE INDEX records_kind ON records(kind, time);"
    "CREATE TABLE pruned(job TEXT NOT NULL, day INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT "
    "NULL,"
    " count INTEGER NOT NULL, PRIMARY KEY(job, day)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE gaps(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, first_time INTEGER NOT NULL,"
    " last_time INTEGER NOT NULL, shed INTEGER NOT NULL) STRICT;",
    "CREATE INDEX runs_idx ON runs(idx);"
    "CREATE TABLE copied(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, first_time INTEGER NOT NULL,"
    " last_time INTEGER NOT NULL) STRICT;",
};
#define SCHEMA_VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

/* the statements of the writing connection */
#define STATEMENTS(X)                                                                                        \
    X(RUN, "INSERT INTO runs VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7,"                                             \
           " CASE WHEN json_valid(?12) THEN json_extract(?12, '$.cause') END, ?8, ?9, ?10, ?11, ?12)"        \
           " ON CONFLICT(run) DO UPDATE SET state = excluded.state, verdict = excluded.verdict,"             \
           " cause = excluded.cause, started = excluded.started, ended = excluded.ended,"                    \
           " done = excluded.done, idx = excluded.idx, json = excluded.json WHERE excluded.idx >= runs.idx") \
    X(SKIP, "INSERT OR REPLACE INTO skips VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                       \
    X(RECORD, "INSERT OR REPLACE INTO records VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                       \
    X(FORGET, "UPDATE runs SET state = 'ended', verdict = 'lost', ended = ?2, done = ?2,"                    \
              " json = json_set(json, '$.state', 'ended', '$.verdict', 'lost', '$.text',"                    \
              " 'the journal of this time was lost', '$.ended',"                                             \
              " strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1000.0, 'unixepoch')) WHERE done = 0 AND idx < ?1")      \
    X(META, "UPDATE meta SET value = CASE key WHEN 'applied' THEN ?1 WHEN 'written' THEN ?2 ELSE ?3 END")    \
    X(GAP, "INSERT OR REPLACE INTO gaps VALUES(?1, ?2, ?3, ?4, ?5)")                                         \
    X(GAP_FILLED, "DELETE FROM gaps WHERE shed AND last <= ?1")                                              \
    X(PRUNE_EDGE, "SELECT done, rowid FROM runs WHERE job = ?1 AND done > 0 ORDER BY done DESC, rowid DESC"  \
                  " LIMIT 1 OFFSET ?2")                                                                      \
    X(PRUNE_RUNS, "SELECT rowid, run, fire, state,"                                                          \
                  " exact = 0 AND cause IS NOT 'backfill' AND (state = 'ended' OR NOT EXISTS (SELECT 1"      \
                  " FROM skips WHERE skips.job = runs.job AND last >= fire AND first <= fire))"              \
                  " FROM runs WHERE job = ?1 AND done > 0 AND (done, rowid) <= (?2, ?3)"                     \
                  " ORDER BY done, rowid LIMIT ?4")                                                          \
    X(DELETE_RUN, "DELETE FROM runs WHERE rowid = ?1")                                                       \
    X(DELETE_RUN_RECORDS, "DELETE FROM records WHERE run = ?1")                                              \
    X(PRUNE_SKIPS, "SELECT idx, seq, first, last, count FROM skips WHERE job = ?1 AND last < ?2 LIMIT ?3")   \
    X(DELETE_SKIP, "DELETE FROM skips WHERE idx = ?1 AND seq = ?2")                                          \
    X(PRUNE_RECORDS, "DELETE FROM records WHERE (idx, seq) IN (SELECT idx, seq FROM records WHERE job = ?1"  \
                     " AND time < ?2 AND kind NOT IN ('job', 'delete', 'pause', 'resume')"                   \
                     " AND (run IS NULL OR NOT EXISTS (SELECT 1 FROM runs WHERE runs.run = records.run))"    \
                     " LIMIT ?3)")                                                                           \
    X(FIND_GAP, "SELECT last, first_time, last_time FROM gaps WHERE first = ?1 AND shed = 0")                \
    X(DELETE_GAP, "DELETE FROM gaps WHERE first = ?1")                                                       \
    X(COPIED, "INSERT OR REPLACE INTO copied VALUES(?1, ?2, ?3, ?4)")                                        \
    X(PRUNED_THERE, "INSERT INTO pruned VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(job, day) DO UPDATE SET"      \
                    " first = min(first, excluded.first), last = max(last, excluded.last),"                  \
                    " count = max(count, excluded.count)")                                                   \
    X(PRUNED, "INSERT INTO pruned VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(job, day) DO UPDATE SET"            \
              " first = min(first, excluded.first), last = max(last, excluded.last),"                        \
              " count = count + excluded.count")

enum statement {
#define X(name, sql) DB_##name,
    STATEMENTS(X)
#undef X
        DB_STATEMENTS
};

static const char *const statements[DB_STATEMENTS] = {
#define X(name, sql) [DB_##name] = sql,
    STATEMENTS(X)
#undef X
};

struct store_db {
    sqlite3 *db;
    sqlite3_stmt *stmts[DB_STATEMENTS];
    int64_t applied; /* every batch up to here was written */
    int64_t written; /* the newest written, and its time */
    int64_t written_time_ms;
};

/* ---- opening ---- */

static int migrate(sqlite3 *db, int64_t from, struct error *error)
{
    for (int64_t v = from; v < SCHEMA_VERSION; v++) {
        char version[96];
        int64_t found = v;
        int rc = sqlite_exec(db, "BEGIN IMMEDIATE", error);

        if (rc == 0)
            rc = sqlite_get_int(db, "PRAGMA user_version", &found, error);
        if (rc == 0 && found != v) { /* another process, which is about to give up or has, was faster */
            sqlite_rollback(db);
            continue;
        }
        snprintf(version, sizeof(version), "PRAGMA application_id = %d; PRAGMA user_version = %" PRId64,
                 APPLICATION_ID, v + 1);
        if (rc == 0)
            rc = sqlite_exec(db, migrations[v], error);
        if (rc == 0)
            rc = sqlite_exec(db, version, error);
        if (rc == 0)
            rc = sqlite_exec(db, "COMMIT", error);
        if (rc < 0) {
            sqlite_rollback(db);
            return rc;
        }
    }
    return 0;
}

static int check_schema(sqlite3 *db, const char *path, struct error *error)
{
    int64_t application = 0, version = 0, tables = 0;
    int rc = sqlite_get_int(db, "PRAGMA application_id", &application, error);

    if (rc == 0)
        rc = sqlite_get_int(db, "PRAGMA user_version", &version, error);
    if (rc == 0)
        rc = sqlite_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (rc < 0)
        return rc;
    if (tables && application != APPLICATION_ID)
        return error_set(error, ERR_UNSUPPORTED, "%s is an SQLite database, but not a history", path);
    if (version > SCHEMA_VERSION)
        return error_set(error, ERR_UNSUPPORTED,
                         "%s has version %" PRId64 ", of a newer program; this one knows %d", path, version,
                         SCHEMA_VERSION);
    return migrate(db, version, error);
}

static int prepare_all(struct store_db *s, struct error *error)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < DB_STATEMENTS; i++)
        rc = sqlite_prepare(s->db, statements[i], &s->stmts[i], error);
    if (rc == 0)
        rc = sqlite_get_int(s->db, "SELECT value FROM meta WHERE key = 'applied'", &s->applied, error);
    if (rc == 0)
        rc = sqlite_get_int(s->db, "SELECT value FROM meta WHERE key = 'written'", &s->written, error);
    if (rc == 0)
        rc = sqlite_get_int(s->db, "SELECT value FROM meta WHERE key = 'written_time'", &s->written_time_ms,
                            error);
    return rc;
}

int store_db_open(struct store_db **ret, const char *path, struct error *error)
{
    struct store_db *s = alloc_zero(sizeof(*s));
    int rc = sqlite_open(&s->db, path, true, error);

    if (rc == 0) {
        sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
        rc = sqlite_exec(
            s->db,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864",
            error);
    }
    if (rc == 0)
        rc = check_schema(s->db, path, error);
    if (rc == 0)
        rc = prepare_all(s, error);
    if (rc < 0) {
        store_db_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void store_db_close(struct store_db *s)
{
    if (!s)
        return;
    for (int i = 0; i < DB_STATEMENTS; i++)
        sqlite3_finalize(s->stmts[i]);
    sqlite3_close(s->db);
    free(s);
}

int store_db_set_aside(const char *path, char *moved, size_t size, struct error *error)
{
    static const char *const suffixes[] = {"-wal", "-shm",
                                           ""}; /* the database last: a crash between leaves a whole set */
    int n = 1;

    for (; n < ASIDE_MAX; n++) {
        snprintf(moved, size, "%s.corrupt-%d", path, n);
        if (access(moved, F_OK) != 0)
            break;
    }
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char from[4096], to[4096];

        snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
        snprintf(to, sizeof(to), "%s.corrupt-%d%s", path, n, suffixes[i]);
        if (rename(from, to) < 0 && access(from, F_OK) == 0)
            return error_set(error, ERR_IO, "%s: cannot be moved aside", from);
    }
    snprintf(moved, size, "%s.corrupt-%d", path, n);
    return 0;
}

uint64_t store_db_applied(const struct store_db *s)
{
    return (uint64_t)s->applied;
}

/* ---- writing ---- */

static int write_run(struct store_db *s, const struct history_write *w, const struct history_run *r,
                     struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_RUN];
    const char *instant = strchr(r->run, '@');
    int64_t over_ms = r->ended_ms > 0 ? r->ended_ms : w->time_ms;

    sqlite_bind_text(stmt, 1, r->run);
    sqlite_bind_text(stmt, 2, r->job);
    sqlite3_bind_int64(stmt, 3, r->at_ms);
    sqlite3_bind_int64(stmt, 4, r->fire_ms);
    sqlite3_bind_int(stmt, 5, instant && strchr(instant, '.') ? 1 : 0);
    sqlite_bind_text(stmt, 6, r->state);
    sqlite_bind_text(stmt, 7, r->verdict);
    sqlite3_bind_int64(stmt, 8, r->started_ms);
    sqlite3_bind_int64(stmt, 9, r->ended_ms);
    sqlite3_bind_int64(stmt, 10, r->over ? over_ms : 0);
    sqlite3_bind_int64(stmt, 11, (int64_t)w->index);
    sqlite_bind_text(stmt, 12, r->json);
    return sqlite_run(s->db, stmt, error);
}

static int write_skip(struct store_db *s, const struct history_write *w, size_t i, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_SKIP];
    const struct history_skip *k = &w->skips[i];

    sqlite3_bind_int64(stmt, 1, (int64_t)w->index);
    sqlite3_bind_int64(stmt, 2, (int64_t)i);
    sqlite_bind_text(stmt, 3, k->job);
    sqlite3_bind_int64(stmt, 4, k->from_ms);
    sqlite3_bind_int64(stmt, 5, k->to_ms);
    sqlite3_bind_int64(stmt, 6, k->count);
    sqlite_bind_text(stmt, 7, k->reason);
    sqlite_bind_text(stmt, 8, k->text ? k->text : "");
    sqlite3_bind_int64(stmt, 9, k->time_ms);
    return sqlite_run(s->db, stmt, error);
}

static int write_record(struct store_db *s, const struct history_write *w, size_t i, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_RECORD];
    const struct history_record *r = &w->records[i];

    sqlite3_bind_int64(stmt, 1, (int64_t)w->index);
    sqlite3_bind_int64(stmt, 2, (int64_t)i);
    sqlite3_bind_int64(stmt, 3, w->time_ms);
    sqlite3_bind_int64(stmt, 4, w->epoch);
    sqlite_bind_text(stmt, 5, r->kind);
    sqlite_bind_text(stmt, 6, r->job);
    sqlite_bind_text(stmt, 7, r->run);
    sqlite_bind_text(stmt, 8, r->json);
    return sqlite_run(s->db, stmt, error);
}

static bool is_recovery(const struct history_write *w)
{
    for (size_t i = 0; i < w->record_count; i++)
        if (strcmp(w->records[i].kind, "recovered") == 0)
            return true;
    return false;
}

/* The journal of a time was lost, and with it how some runs went on: the state does not know of them, so nothing would
 * ever end their rows. A recovery gives the rows of all runs that it does know. */
static int forget_unknown(struct store_db *s, const struct history_write *w, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_FORGET];

    if (!is_recovery(w))
        return 0;
    sqlite3_bind_int64(stmt, 1, (int64_t)w->index);
    sqlite3_bind_int64(stmt, 2, w->time_ms);
    return sqlite_run(s->db, stmt, error);
}

/* The last index below it at which there was a batch. A recovery takes one for its snapshot. */
static int64_t batch_before(const struct history_write *w)
{
    return (int64_t)w->index - (is_recovery(w) ? 2 : 1);
}

static int write_gap(struct store_db *s, int64_t first, const struct history_write *w, bool shed,
                     struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_GAP];

    sqlite3_bind_int64(stmt, 1, first);
    sqlite3_bind_int64(stmt, 2, batch_before(w));
    sqlite3_bind_int64(stmt, 3, first == 1 ? 0 : s->written_time_ms);
    sqlite3_bind_int64(stmt, 4, w->time_ms);
    sqlite3_bind_int(stmt, 5, shed);
    return sqlite_run(s->db, stmt, error);
}

/* How the batch's number goes with those before it. */
static int account(struct store_db *s, const struct history_write *w, bool hold, struct error *error)
{
    int64_t index = (int64_t)w->index, before = batch_before(w);
    int rc = 0;

    if (before > s->applied && !hold)
        rc = write_gap(s, s->applied + 1, w, false, error);
    else if (before > s->applied && before > s->written)
        rc = write_gap(s, s->written + 1, w, true, error);
    if ((before <= s->applied && index > s->applied) || !hold)
        s->applied = index;
    if (index > s->written) {
        s->written = index;
        s->written_time_ms = w->time_ms;
    }
    return rc;
}

static int write_one(struct store_db *s, const struct history_write *w, bool hold, struct error *error)
{
    int rc = account(s, w, hold, error);

    for (size_t i = 0; rc == 0 && i < w->run_count; i++)
        rc = write_run(s, w, &w->runs[i], error);
    if (rc == 0)
        rc = forget_unknown(s, w, error);
    for (size_t i = 0; rc == 0 && i < w->skip_count; i++)
        rc = write_skip(s, w, i, error);
    for (size_t i = 0; rc == 0 && i < w->record_count; i++)
        rc = write_record(s, w, i, error);
    return rc;
}

static int write_meta(struct store_db *s, struct error *error)
{
    int rc;

    sqlite3_bind_int64(s->stmts[DB_GAP_FILLED], 1, s->applied);
    rc = sqlite_run(s->db, s->stmts[DB_GAP_FILLED], error);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(s->stmts[DB_META], 1, s->applied);
    sqlite3_bind_int64(s->stmts[DB_META], 2, s->written);
    sqlite3_bind_int64(s->stmts[DB_META], 3, s->written_time_ms);
    return sqlite_run(s->db, s->stmts[DB_META], error);
}

/* What is written to a file that has no name any more is gone at the next start. */
static int check_place(const struct store_db *s, struct error *error)
{
    int moved = 0;

    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK || !moved)
        return 0;
    return error_set(error, ERR_IO,
                     "%s: it was moved, removed or replaced under this server: put it back, or restart",
                     sqlite3_db_filename(s->db, "main"));
}

int store_db_write(struct store_db *s, const struct history_write *first, size_t count, bool hold,
                   struct error *error)
{
    int64_t applied = s->applied, written = s->written, written_time_ms = s->written_time_ms;
    int rc = check_place(s, error);

    if (rc < 0)
        return rc;
    rc = sqlite_exec(s->db, "BEGIN IMMEDIATE", error);
    for (const struct history_write *w = first; rc == 0 && count > 0; w = --count ? w->next : NULL)
        if ((int64_t)w->index > s->applied) /* else it is here already: fed again */
            rc = write_one(s, w, hold, error);
    if (rc == 0)
        rc = write_meta(s, error);
    if (rc == 0)
        rc = sqlite_exec(s->db, "COMMIT", error);
    if (rc < 0) {
        sqlite_rollback(s->db);
        s->applied = applied;
        s->written = written;
        s->written_time_ms = written_time_ms;
    }
    return rc;
}

/* ---- what another replica has ---- */

struct gap {
    int64_t first, last, first_ms, last_ms;
};

static int find_gap(struct store_db *s, struct gap *gap, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_FIND_GAP];
    int step, rc = 0;

    sqlite3_bind_int64(stmt, 1, gap->first);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        gap->last = sqlite3_column_int64(stmt, 0);
        gap->first_ms = sqlite3_column_int64(stmt, 1);
        gap->last_ms = sqlite3_column_int64(stmt, 2);
    } else {
        rc = step == SQLITE_DONE
                 ? error_set(error, ERR_NOT_FOUND, "history: no gap begins at batch %" PRId64, gap->first)
                 : sqlite_error(s->db, "read", error);
    }
    sqlite3_reset(stmt);
    return rc;
}

/* What is left of the gap behind the page stays one. */
static int shrink_gap(struct store_db *s, const struct gap *gap, int64_t last, int64_t time_ms,
                      struct error *error)
{
    sqlite3_stmt *gone = s->stmts[DB_DELETE_GAP], *rest = s->stmts[DB_GAP], *copied = s->stmts[DB_COPIED];
    int64_t until_ms = last < gap->last && time_ms ? time_ms : gap->last_ms;
    int rc;

    sqlite3_bind_int64(gone, 1, gap->first);
    rc = sqlite_run(s->db, gone, error);
    sqlite3_bind_int64(copied, 1, gap->first);
    sqlite3_bind_int64(copied, 2, last < gap->last ? last : gap->last);
    sqlite3_bind_int64(copied, 3, gap->first_ms);
    sqlite3_bind_int64(copied, 4, until_ms);
    rc = rc < 0 ? rc : sqlite_run(s->db, copied, error);
    if (rc < 0 || last >= gap->last)
        return rc;
    sqlite3_bind_int64(rest, 1, last + 1);
    sqlite3_bind_int64(rest, 2, gap->last);
    sqlite3_bind_int64(rest, 3, until_ms);
    sqlite3_bind_int64(rest, 4, gap->last_ms);
    sqlite3_bind_int(rest, 5, 0);
    return sqlite_run(s->db, rest, error);
}

static int fill(struct store_db *s, const json_t *page, struct error *error)
{
    static const struct {
        const char *key;
        enum statement statement;
    } tables[] = {{"runs", DB_RUN}, {"skips", DB_SKIP}, {"records", DB_RECORD}, {"pruned", DB_PRUNED_THERE}};
    struct gap gap = {.first = json_integer_value(json_object_get(page, "first"))};
    int rc = find_gap(s, &gap, error);

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        sqlite3_stmt *stmt = s->stmts[tables[i].statement];
        const json_t *row;
        size_t k;

        json_array_foreach(json_object_get(page, tables[i].key), k, row)
        {
            if (rc == 0) {
                store_page_bind(stmt, row);
                rc = sqlite_run(s->db, stmt, error);
            }
        }
    }
    if (rc == 0)
        rc = shrink_gap(s, &gap, json_integer_value(json_object_get(page, "last")),
                        json_integer_value(json_object_get(page, "time")), error);
    return rc;
}

int store_db_fill(struct store_db *s, const json_t *page, struct error *error)
{
    int rc = store_page_check(page, error);

    if (rc < 0)
        return rc;
    rc = sqlite_exec(s->db, "BEGIN IMMEDIATE", error);
    rc = rc < 0 ? rc : fill(s, page, error);
    rc = rc < 0 ? rc : sqlite_exec(s->db, "COMMIT", error);
    if (rc < 0)
        sqlite_rollback(s->db);
    return rc;
}

/* ---- pruning ---- */

void store_removed_release(struct store_removed *removed)
{
    for (size_t i = 0; i < removed->count; i++)
        free(removed->runs[i]);
    free(removed->runs);
    *removed = (struct store_removed){0};
}

static int64_t day_of(int64_t ms)
{
    return ms >= 0 ? ms / DAY_MS : (ms - DAY_MS + 1) / DAY_MS;
}

/* Keeps in count what goes. */
static int note_pruned(struct store_db *s, const char *job, int64_t first, int64_t last, int64_t count,
                       struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_PRUNED];

    sqlite_bind_text(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, day_of(first));
    sqlite3_bind_int64(stmt, 3, first);
    sqlite3_bind_int64(stmt, 4, last);
    sqlite3_bind_int64(stmt, 5, count);
    return sqlite_run(s->db, stmt, error);
}

static int delete_run(struct store_db *s, const char *job, sqlite3_stmt *row, struct store_removed *removed,
                      struct error *error)
{
    const char *run = (const char *)sqlite3_column_text(row, 1);
    int64_t fire = sqlite3_column_int64(row, 2);
    int rc;

    sqlite3_bind_int64(s->stmts[DB_DELETE_RUN], 1, sqlite3_column_int64(row, 0));
    rc = sqlite_run(s->db, s->stmts[DB_DELETE_RUN], error);
    if (rc == 0) {
        sqlite_bind_text(s->stmts[DB_DELETE_RUN_RECORDS], 1, run);
        rc = sqlite_run(s->db, s->stmts[DB_DELETE_RUN_RECORDS], error);
    }
    if (rc == 0 && sqlite3_column_int(row, 4))
        rc = note_pruned(s, job, fire, fire, 1, error);
    if (rc == 0)
        removed->runs[removed->count++] = alloc_text(run);
    return rc;
}

/* The newest (done, rowid) that goes: because of its age, or because keep_runs newer ones are kept. */
static int prune_edge(struct store_db *s, const char *job, int keep_runs, int64_t older_than_ms,
                      int64_t *ret_done, int64_t *ret_rowid, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_PRUNE_EDGE];
    int step, rc = 0;

    *ret_done = older_than_ms - 1;
    *ret_rowid = INT64_MAX;
    sqlite_bind_text(stmt, 1, job);
    sqlite3_bind_int(stmt, 2, keep_runs);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW && sqlite3_column_int64(stmt, 0) >= older_than_ms) {
        *ret_done = sqlite3_column_int64(stmt, 0);
        *ret_rowid = sqlite3_column_int64(stmt, 1);
    } else if (step != SQLITE_ROW && step != SQLITE_DONE) {
        rc = sqlite_error(s->db, "read", error);
    }
    sqlite3_reset(stmt);
    return rc;
}

static int prune_runs(struct store_db *s, const char *job, int keep_runs, int64_t older_than_ms,
                      struct store_removed *removed, bool *ret_more, struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_PRUNE_RUNS];
    int64_t done, rowid;
    int before = sqlite3_total_changes(s->db);
    int step, rc = prune_edge(s, job, keep_runs, older_than_ms, &done, &rowid, error);

    if (rc < 0)
        return rc;
    sqlite_bind_text(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, done);
    sqlite3_bind_int64(stmt, 3, rowid);
    sqlite3_bind_int(stmt, 4, STORE_PRUNE_ROWS);
    while (rc == 0 && !*ret_more && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        rc = step == SQLITE_ROW ? delete_run(s, job, stmt, removed, error)
                                : sqlite_error(s->db, "read", error);
        *ret_more = removed->count == STORE_PRUNE_ROWS ||
                    sqlite3_total_changes(s->db) - before >= STORE_PRUNE_CHANGES;
    }
    sqlite3_reset(stmt);
    return rc;
}

static int prune_skips(struct store_db *s, const char *job, int64_t older_than_ms, bool *ret_more,
                       struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_PRUNE_SKIPS], *gone = s->stmts[DB_DELETE_SKIP];
    int step, rc = 0, count = 0;

    sqlite_bind_text(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, older_than_ms);
    sqlite3_bind_int(stmt, 3, STORE_PRUNE_ROWS);
    while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW) {
            rc = sqlite_error(s->db, "read", error);
            break;
        }
        sqlite3_bind_int64(gone, 1, sqlite3_column_int64(stmt, 0));
        sqlite3_bind_int64(gone, 2, sqlite3_column_int64(stmt, 1));
        rc = note_pruned(s, job, sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3),
                         sqlite3_column_int64(stmt, 4), error);
        if (rc == 0)
            rc = sqlite_run(s->db, gone, error);
        count++;
    }
    sqlite3_reset(stmt);
    *ret_more = *ret_more || count == STORE_PRUNE_ROWS;
    return rc;
}

static int prune_records(struct store_db *s, const char *job, int64_t older_than_ms, bool *ret_more,
                         struct error *error)
{
    sqlite3_stmt *stmt = s->stmts[DB_PRUNE_RECORDS];
    int rc;

    sqlite_bind_text(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, older_than_ms);
    sqlite3_bind_int(stmt, 3, STORE_PRUNE_ROWS);
    rc = sqlite_run(s->db, stmt, error);
    *ret_more = *ret_more || sqlite3_changes(s->db) == STORE_PRUNE_ROWS;
    return rc;
}

int store_db_prune(struct store_db *s, const char *job, int keep_runs, int64_t older_than_ms,
                   struct store_removed *ret, bool *ret_more, struct error *error)
{
    struct store_removed removed = {.runs = alloc_zero(STORE_PRUNE_ROWS * sizeof(char *))};
    int before = sqlite3_total_changes(s->db);
    bool more = false;
    int rc = sqlite_exec(s->db, "BEGIN IMMEDIATE", error);

    /* runs before skips: whether a skipped one was counted as a run is seen by its skip being there */
    if (rc == 0)
        rc = prune_runs(s, job, keep_runs, older_than_ms, &removed, &more, error);
    if (rc == 0 && !more)
        rc = prune_skips(s, job, older_than_ms, &more, error);
    if (rc == 0 && !more)
        rc = prune_records(s, job, older_than_ms, &more, error);
    if (rc == 0)
        rc = sqlite_exec(s->db, "COMMIT", error);
    if (rc < 0) {
        sqlite_rollback(s->db);
        store_removed_release(&removed);
        return rc;
    }
    removed.rows = (size_t)(sqlite3_total_changes(s->db) - before);
    *ret = removed;
    *ret_more = more;
    return 0;
}
