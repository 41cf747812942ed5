/* A journal file that is moved elsewhere, or comes from elsewhere: sealed, it is complete, and no server opens it, an older
 * build's neither (its format is JOURNAL_DB_SEALED). So of two places that hold the same journal one is sealed at any time,
 * and the order of the steps of a move decides which (cronsched/server/migration.h).
 *
 * Blocking; the file is open in `db`, which stays open.
 */
#pragma once

#include "leader/embedded/journal_db.h"

/* Durable when it returns. `where`: of the journal instead, for people; NULL breaks the seal. ERR_DEPOSED, ERR_IO ... */
int journal_seal(struct journal_db *db, const char *where, struct error *error);

/* As given to journal_seal; "" when it is not sealed. */
const char *journal_seal_where(const struct journal_db *db);

/* What a new file, without a batch, begins with; all borrowed. */
struct journal_seal_import {
    const char *text; /* of the snapshot; NULL: none, the first batch is number 1 */
    size_t size;
    struct journal_db_head at; /* where the snapshot was made */
    int64_t epoch;             /* above that of every batch */
    const char *where;         /* it is sealed at once */
};
/* Batches follow by journal_db_append. */
int journal_seal_import(struct journal_db *db, const struct journal_seal_import *import, struct error *error);
