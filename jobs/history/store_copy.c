/* Copying history from another replica: what is missing here, a page of what is there, and taking one in.
 *
 * A page is a JSON object:
 *   {"first":F, "last":L, "time":T,    batches F to L, all that is left of them; leader time of the last
 *    "runs":[[run, job, at, fire, exact, state, verdict, started, ended, done, idx, json]...],
 *    "skips":[[idx, seq, job, first, last, count, reason, text, time]...],
 *    "records":[[idx, seq, time, epoch, kind, job, run, json]...],
 *    "pruned":[[job, day, first, last, count]...]}
 *
 * A run is one row, of the batch that changed it last. What was pruned there stays counted here: for a day
 * that both have pruned of, the larger count is the better one.
 */
#include "jobs/history/store_db.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_ROWS_MAX  2000
#define PAGE_BYTES_MAX (2 * 1024 * 1024)

/* A table's columns in a page: i integer, t text, n text or null. */
struct part {
    const char *key, *columns, *sql;
    int idx; /* the column with the batch's number, -1: none */
};

static const struct part parts[] = {
    {"runs", "ttiiitniiiit",
     "SELECT run, job, at, fire, exact, state, verdict, started, ended, done, idx, json FROM runs"
     " WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx",
     10},
    {"skips", "iitiiitti",
     "SELECT idx, seq, job, first, last, count, reason, text, time FROM skips WHERE idx BETWEEN ?1 AND ?2",
     0},
    {"records", "iiiitnnt",
     "SELECT idx, seq, time, epoch, kind, job, run, json FROM records WHERE idx BETWEEN ?1 AND ?2", 0},
    {"pruned", "tiiii", "SELECT job, day, first, last, count FROM pruned WHERE ?1 <= ?2", -1},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* ---- the replica that has it ---- */

static json_t *cell(sqlite3_stmt *row, int i)
{
    switch (sqlite3_column_type(row, i)) {
    case SQLITE_NULL:
        return json_null();
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, i));
    default:
        return json_stringn((const char *)sqlite3_column_text(row, i), (size_t)sqlite3_column_bytes(row, i));
    }
}

static int read_part(sqlite3 *db, const struct part *part, int64_t first, int64_t last, json_t *page,
                     struct error *error)
{
    json_t *rows = json_array();
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_ERROR, rc = sqlite_prepare(db, part->sql, &stmt, error);

    json_object_set_new(page, part->key, rows);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, first);
    sqlite3_bind_int64(stmt, 2, last);
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        json_t *row = json_array();

        for (int i = 0; part->columns[i]; i++)
            json_array_append_new(row, cell(stmt, i));
        json_array_append_new(rows, row);
    }
    rc = step == SQLITE_DONE ? 0 : sqlite_error(db, "read", error);
    sqlite3_finalize(stmt);
    return rc;
}

/* How far the batches from `first` on are here, up to `last`; below `first`: that one is missing. */
static int last_in_a_row(sqlite3 *db, int64_t first, int64_t last, int64_t *ret, struct error *error)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
             "SELECT min(%" PRId64 ", (SELECT value FROM meta WHERE key = 'applied'),"
             " coalesce((SELECT min(first) - 1 FROM gaps WHERE last >= %" PRId64 "), %" PRId64 "))",
             last, first, last);
    return sqlite_get_int(db, sql, ret, error);
}

/* Where a page that begins with `first` is to end: whole batches, and not too much. */
static int page_end(sqlite3 *db, int64_t first, int64_t *last, int64_t *ret_time_ms, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int64_t rows = 0, bytes = 0, before = 0, idx = 0;
    int step, rc = sqlite_prepare(db,
                                  "SELECT idx, bytes FROM (SELECT idx, length(json) AS bytes FROM records"
                                  " UNION ALL SELECT idx, length(json) FROM runs"
                                  " UNION ALL SELECT idx, length(text) FROM skips)"
                                  " WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx",
                                  &stmt, error);

    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, first);
    sqlite3_bind_int64(stmt, 2, *last);
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (sqlite3_column_int64(stmt, 0) != idx && idx)
            before = idx;
        idx = sqlite3_column_int64(stmt, 0);
        bytes += sqlite3_column_int64(stmt, 1);
        if ((++rows > PAGE_ROWS_MAX || bytes > PAGE_BYTES_MAX) && before) {
            *last = before;
            step = SQLITE_DONE;
            break;
        }
    }
    rc = step == SQLITE_DONE ? 0 : sqlite_error(db, "read", error);
    sqlite3_finalize(stmt);
    if (rc == 0) {
        char sql[128];

        snprintf(sql, sizeof(sql),
                 "SELECT coalesce(max(time), 0) FROM records WHERE idx <= %" PRId64 " AND idx >= %" PRId64,
                 *last, first);
        rc = sqlite_get_int(db, sql, ret_time_ms, error);
    }
    return rc;
}

int store_copy_read(sqlite3 *db, int64_t first, int64_t last, json_t **ret, struct error *error)
{
    int64_t time_ms = 0;
    json_t *page;
    int rc = last_in_a_row(db, first, last, &last, error);

    if (rc < 0)
        return rc;
    if (last < first) {
        *ret = json_null();
        return 0;
    }
    rc = page_end(db, first, &last, &time_ms, error);
    if (rc < 0)
        return rc;
    page = json_pack("{s:I, s:I, s:I}", "first", (json_int_t)first, "last", (json_int_t)last, "time",
                     (json_int_t)time_ms);
    for (size_t i = 0; i < PARTS && rc == 0; i++)
        rc = read_part(db, &parts[i], first, last, page, error);
    if (rc < 0)
        json_decref(page);
    else
        *ret = page;
    return rc;
}

int store_copy_gap(sqlite3 *db, int64_t below, json_t **ret, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int step, rc = sqlite_prepare(db,
                                  "SELECT first, last FROM gaps WHERE shed = 0 AND (?1 = 0 OR first < ?1)"
                                  " ORDER BY first DESC LIMIT 1",
                                  &stmt, error);

    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, below);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW)
        *ret = json_pack("{s:I, s:I}", "first", (json_int_t)sqlite3_column_int64(stmt, 0), "last",
                         (json_int_t)sqlite3_column_int64(stmt, 1));
    else if (step == SQLITE_DONE)
        *ret = json_null();
    else
        rc = sqlite_error(db, "read", error);
    sqlite3_finalize(stmt);
    return rc;
}

/* ---- the replica that lacks it ---- */

static bool row_fits(const struct part *part, const json_t *row, int64_t first, int64_t last)
{
    size_t n = strlen(part->columns);

    if (json_array_size(row) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(row, i);
        char kind = part->columns[i];

        if (kind == 'i' ? !json_is_integer(value)
                        : !json_is_string(value) && !(kind == 'n' && json_is_null(value)))
            return false;
    }
    if (part->idx >= 0) {
        int64_t idx = json_integer_value(json_array_get(row, (size_t)part->idx));

        return idx >= first && idx <= last;
    }
    return true;
}

int store_page_check(const json_t *page, struct error *error)
{
    int64_t first = json_integer_value(json_object_get(page, "first")),
            last = json_integer_value(json_object_get(page, "last"));

    if (first < 1 || last < first || !json_is_integer(json_object_get(page, "time")))
        return error_set(error, ERR_CORRUPT, "a page of history without first, last and time");
    for (size_t i = 0; i < PARTS; i++) {
        const json_t *rows = json_object_get(page, parts[i].key), *row;
        size_t k;

        if (!json_is_array(rows))
            return error_set(error, ERR_CORRUPT, "a page of history without %s", parts[i].key);
        json_array_foreach(rows, k, row)
        {
            if (!row_fits(&parts[i], row, first, last))
                return error_set(error, ERR_CORRUPT, "a page of history: row %zu of %s is invalid", k + 1,
                                 parts[i].key);
        }
    }
    return 0;
}

void store_page_bind(sqlite3_stmt *stmt, const json_t *row)
{
    const json_t *value;
    size_t i;

    json_array_foreach(row, i, value)
    {
        if (json_is_integer(value))
            sqlite3_bind_int64(stmt, (int)i + 1, json_integer_value(value));
        else
            sqlite_bind_text(stmt, (int)i + 1, json_string_value(value));
    }
}
