/* The file of the history, as blocking functions: what jobs/history/store.c has done on its pool. Private to the
 * store.
 *
 * A store_db is the writing connection; queries have one of their own. Each may be used by one thread at a
 * time.
 */
#pragma once

#include "jobs/base/sqlite.h"
#include "jobs/history/history.h"

struct store_db;

/* ERR_CORRUPT: move it aside. ERR_UNSUPPORTED: of a newer program. */
int store_db_open(struct store_db **ret, const char *path, struct error *error);
void store_db_close(struct store_db *db); /* NULL is fine */

/* Renames the file and what SQLite keeps beside it; `moved` gets the new path. */
int store_db_set_aside(const char *path, char *moved, size_t size, struct error *error);

/* Writes the first `count` of a chain in one transaction. hold: a jump is of the store's own making. */
int store_db_write(struct store_db *db, const struct history_write *first, size_t count, bool hold,
                   struct error *error);
uint64_t store_db_applied(const struct store_db *db);

struct store_removed {
    char **runs;
    size_t count;
    size_t rows; /* of all tables, those that count what went as well */
};
void store_removed_release(struct store_removed *removed);

/* One bounded step of pruning; *ret_more: another is needed. */
int store_db_prune(struct store_db *db, const char *job, int keep_runs, int64_t older_than_ms,
                   struct store_removed *ret, bool *ret_more, struct error *error);

/* Takes a page of store_copy_read from another replica into the gap that begins where it does, in one
 * transaction. ERR_NOT_FOUND: there is no such gap. ERR_CORRUPT: the page is invalid, and nothing is
 * taken. */
int store_db_fill(struct store_db *db, const json_t *page, struct error *error);

/* ---- store_copy.c ---- */
/* What is left of batches first..last, as much as a page holds, and up to what is missing here; null when `first` is. */
int store_copy_read(sqlite3 *db, int64_t first, int64_t last, json_t **ret, struct error *error);
/* {"first","last"}: batches that are missing, the newest gap (below 0), or the newest that begins below a
 * batch; null: none. */
int store_copy_gap(sqlite3 *db, int64_t below, json_t **ret, struct error *error);
int store_page_check(const json_t *page, struct error *error);
void store_page_bind(sqlite3_stmt *stmt, const json_t *row);

/* On a connection of the reader's own. */
int store_reader_open(sqlite3 **ret, const char *path, struct error *error);
int store_query(sqlite3 *db, const struct history_query *query, json_t **ret, struct error *error);
