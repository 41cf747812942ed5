/* The file of the embedded journal: what leader/embedded/embedded.c does on its thread, as plain blocking
 * functions.
 *
 * PATH (journal.db) is an SQLite database in WAL mode with synchronous=FULL, so that one append costs one
 * fdatasync; tables batches(idx, epoch, time, hash, text), snapshot(idx, hash, head, text), meta(key, value).
 * Readable with sqlite3 while the journal is closed.
 *
 * PATH.lock is a small text: the pid of the process that has the journal open, and the mark: the index of the
 * last batch that was acknowledged. It is locked for as long as the journal is open, across re-openings of
 * the database. The mark is written after each commit and never synced, so it can lag behind but never lead:
 * a database that ends before its mark has lost acknowledged batches (an older copy was put back, the -wal
 * file was left behind or is damaged, which SQLite takes for the end of the log), and is refused.
 *
 * Nothing is ever repaired here: what does not add up is reported with its place, and refused.
 *
 * Every write is a compare-and-set: in its transaction the file has to hold the epoch that was claimed here and to
 * end with the batch that was written last; and before and after it the files at their paths have to be those
 * that were opened (journal_files.h). Where that is not so the answer is ERR_DEPOSED: what was written last may be
 * in the file or not, and this journal is of no use any more. Only closing is left to do, which then changes no
 * file.
 *
 * Ownership: one owner; its calls may come from different threads, one at a time, but for journal_db_check.
 */
#pragma once

#include "jobs/state/record.h"

#define JOURNAL_DB_FORMAT   1
#define JOURNAL_DB_SEALED   2   /* the format of a sealed one, see journal_seal.h */
#define JOURNAL_DB_TRIM_MAX 256 /* batches deleted in one transaction at most */
#define JOURNAL_DB_READ_MAX 256 /* batches given by one read */
#define JOURNAL_DB_READ_BYTES                                                                                \
    (256 * 1024) /* and it ends with the one that reaches that: they are applied in one turn of the loop */

struct journal_db;

/* The end of the journal: the next batch has index + 1 and prev = hash. */
struct journal_db_head {
    uint64_t index;
    char hash[33];
};

/* A batch to be appended; all borrowed. */
struct journal_db_batch {
    uint64_t index;
    int64_t epoch, time_ms;
    const char *hash, *text;
    size_t size;
};

struct journal_db_row {
    struct batch *batch;
    char *text;
    size_t size;
};

struct journal_db_rows {
    struct journal_db_row *items;
    size_t count;
};

struct journal_db_options {
    const char *cluster; /* noted in a new file; may be NULL */
    uint64_t
        history; /* the history has been written up to this batch: a journal that ends before is refused */
    uint64_t lock_pause_ms; /* see journal_lock_take; 0: the default */
    bool sole;              /* refuse while another journal of the same cluster is open on this machine */
    bool sealed;            /* open one that is sealed, too */
};

/* Locks, opens (a new file is made), and verifies all that is there. Options may be NULL. ERR_BUSY: in use by
 * another process, which is named. ERR_CONFLICT: it is sealed. ERR_CORRUPT, ERR_UNSUPPORTED (a newer format), ERR_IO ... */
int journal_db_open(struct journal_db **ret, const char *path, const struct journal_db_options *options,
                    struct error *error);
void journal_db_close(struct journal_db *db); /* NULL is fine */

struct journal_db_rest {
    bool exists;
    uint64_t index;        /* it ends there */
    uint64_t acknowledged; /* by its lock file */
};

/* What a journal that is not open holds, also when it ends before what was acknowledged. accept: a person
 * accepts that it ends there; then journal_db_open does, too, as far as the lock file goes. */
int journal_db_examine(const char *path, bool accept, struct journal_db_rest *ret, struct error *error);

/* Whether the files are still those that were opened: 0, ERR_DEPOSED, or it could not be found out. Any thread, until
 * close. Also answers those who ask who holds the place. */
int journal_db_check(struct journal_db *db, struct error *error);

/* After a failure: closes the connection and opens another, then copies the whole write-ahead log into the
 * database and empties it. What an fdatasync that failed has left in the page cache, clean but never on the
 * disk, is thereby written again or found out. The lock is kept all the while. May be called again when it
 * fails. */
int journal_db_reopen(struct journal_db *db, struct error *error);

/* Makes a higher epoch than any before durable. */
int journal_db_claim(struct journal_db *db, int64_t *ret_epoch, struct error *error);

/* One transaction; deletes up to JOURNAL_DB_TRIM_MAX batches no longer needed in it, too. count 0: only that.
 */
int journal_db_append(struct journal_db *db, const struct journal_db_batch *batches, size_t count,
                      struct error *error);
bool journal_db_trimming(const struct journal_db *db); /* there is more to delete */

/* Keeps the text as the snapshot at index, and the `keep` newest of all snapshots; batches at or below the
 * oldest of these are deleted by and by, once there are `keep`. */
int journal_db_snapshot(struct journal_db *db, const char *text, size_t size, uint64_t index, int keep,
                        struct error *error);

/* The newest snapshot, malloc'd; *ret_text NULL and *ret_index 0 when there is none. */
int journal_db_read_snapshot(struct journal_db *db, char **ret_text, size_t *ret_size, uint64_t *ret_index,
                             struct error *error);

/* The next batches after an index, checked; none: the end. */
int journal_db_read(struct journal_db *db, uint64_t after, struct journal_db_rows *ret, struct error *error);
void journal_db_rows_release(struct journal_db_rows *rows);

const struct journal_db_head *journal_db_head(const struct journal_db *db);
int64_t journal_db_epoch(const struct journal_db *db);       /* the newest in it */
const char *journal_db_cluster(const struct journal_db *db); /* "": none is noted */
const char *journal_db_warning(const struct journal_db *db); /* of the place where it is, or "" */
