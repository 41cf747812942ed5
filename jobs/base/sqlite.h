/* SQLite as the journal and the history use it: opening, one-off statements, and errors that name the file.
 *
 * Every error text begins with the path of the database and ends with what the system said, so that "disk I/O
 * error" never comes alone. A connection belongs to one caller at a time, whatever thread that is.
 */
#pragma once

#include "jobs/base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* Opens, makes it when create is set, and closes the doors that a damaged or hostile file could use. */
int sqlite_open(sqlite3 **ret, const char *path, bool create, struct error *error);

/* The error of the last call on this connection: its code, and "PATH: WHAT: message (errno text)". */
int sqlite_error(sqlite3 *db, const char *what, struct error *error);

/* All statements of a text; rows are dropped. */
int sqlite_exec(sqlite3 *db, const char *sql, struct error *error);
int sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *error);

/* The first column of the first row; a NULL or no row leaves *ret as it is. */
int sqlite_get_int(sqlite3 *db, const char *sql, int64_t *ret, struct error *error);

/* Runs a prepared statement to its end and resets it; its bindings are kept. */
int sqlite_run(sqlite3 *db, sqlite3_stmt *stmt, struct error *error);

/* NULL stays NULL. The text must live until the statement is reset. */
void sqlite_bind_text(sqlite3_stmt *stmt, int column, const char *text);

/* Ends a transaction that failed, if SQLite has not done so itself. */
void sqlite_rollback(sqlite3 *db);
