/* Between the files of journal_db. */
#pragma once

#include "jobs/base/object.h"
#include "jobs/base/sqlite.h"
#include "leader/embedded/journal_db.h"
#include "leader/embedded/journal_files.h"
#include "leader/embedded/journal_lock.h"
#include "leader/embedded/journal_place.h"

#include <assert.h>

struct journal_db {
    struct object object;
    char *path;
    struct journal_lock *lock;
    struct journal_files *files;
    struct journal_place *cluster_place; /* NULL: not asked for */
    sqlite3 *db;                         /* NULL between a failed reopen and the next */
    sqlite3_stmt *insert, *trim, *read, *compare;
    struct journal_db_head head;
    int64_t epoch;       /* the newest in the file */
    int64_t epoch_tried; /* written without an answer, perhaps */
    uint64_t history;
    bool examining;   /* whatever was acknowledged */
    uint64_t trim_to; /* batches up to here are to be deleted, */
    bool trimming;    /* and some are left */
    char cluster[64];
    bool take_sealed;  /* open it also when it is sealed */
    char sealed[1024]; /* where the journal is instead; "": here */
};

/* There is a connection, with all that it takes to use it. */
#define ASSERT_CONNECTED(j) assert((j)->db && (j)->insert && (j)->trim && (j)->read && (j)->compare)

/* Between journal_db_begin and the end of that transaction; or not. SQLite ends one by itself after some errors: not to be
 * asked after a failure. */
#define ASSERT_IN_TRANSACTION(j) assert(!sqlite3_get_autocommit((j)->db))
#define ASSERT_NO_TRANSACTION(j) assert(sqlite3_get_autocommit((j)->db))

/* The newest batch that is known to have been there, and who says so. */
uint64_t journal_db_known(const struct journal_db *j, const char **ret_who);

/* Checks the current row of `read` against itself and against the batch before, and decodes it. `before` is
 * what precedes it: index 0 and no hash where nothing is known. */
int journal_db_row_check(struct journal_db *j, struct journal_db_head *before, int64_t *epoch,
                         struct batch **ret, struct error *error);

/* A transaction, once the file is as it was left: ERR_DEPOSED. To be ended by the caller, also when it failed. */
int journal_db_begin(struct journal_db *j, struct error *error);

/* Keeps the text as the snapshot at index, after the batch with the hash `head`. Within a transaction. */
int journal_db_insert_snapshot(struct journal_db *j, const char *text, size_t size, uint64_t index,
                               const char *head, struct error *error);

/* All that is there; sets head, epoch and what is to be trimmed. */
int journal_db_verify(struct journal_db *j, struct error *error);

/* Batches up to `to` are to be deleted. */
int journal_db_find_trim(struct journal_db *j, int64_t to, struct error *error);
