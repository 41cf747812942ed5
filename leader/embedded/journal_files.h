/* The files of an open journal as they lie at their paths: whether journal.db, -wal and .lock are still those that
 * were opened, and no other program wrote into them. By path, from outside: SQLite itself would go on with a file that
 * was removed or replaced.
 *
 * What is found is final (ERR_DEPOSED: moved, removed, replaced, mounted over, written to, taken by another server)
 * or says that it could not be found out (ERR_DENIED, ERR_IO).
 *
 * Each piece of work on the database is between enter and leave, one at a time. journal_files_check may be called
 * by another thread meanwhile.
 */
#pragma once

#include "leader/embedded/journal_lock.h"

#include <sqlite3.h>

struct journal_files;

/* Borrows the lock. Nothing is looked at before the first bind. */
struct journal_files *journal_files_new(const char *path, const struct journal_lock *lock);
void journal_files_free(struct journal_files *files); /* NULL is fine */

/* After the database was opened, between enter and leave: these are the files. Opened again, journal.db has to be
 * the same. */
int journal_files_bind(struct journal_files *files, sqlite3 *db, struct error *error);

/* The database is about to be closed, which may remove -wal. */
void journal_files_release_wal(struct journal_files *files);

/* Between enter and leave: journal.db itself is about to be written by us. */
void journal_files_writing_db(struct journal_files *files);

int journal_files_enter(struct journal_files *files, struct error *error);
/* rc: how the work went, in which case *error has the reason. Answers rc, or what is wrong with the files when that
 * explains it: what was written between may not be called durable then. */
int journal_files_leave(struct journal_files *files, int rc, struct error *error);

/* Any thread. */
int journal_files_check(struct journal_files *files, struct error *error);

/* What is not wrong but should be reported, or "". */
const char *journal_files_warning(const struct journal_files *files);
