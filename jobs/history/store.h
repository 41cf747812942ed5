/* The history in SQLite: the table of jobs/history/history.h over one file, history.db (WAL, synchronous=NORMAL).
 *
 * Nothing here blocks its caller but store_open: writes and queries are handed to a pool of threads, one
 * write transaction and one query at a time, each on its own connection. Audits and copies for other replicas, which
 * may read millions of rows, have a connection of their own, so that other queries wait for none of them. A query waits
 * until all writes queued before it are written; while they cannot be (disk full), it is answered with that error
 * instead of with half the truth.
 *
 * Every batch of the journal is to be fed, in order, from applied() + 1 on; feeding one again changes
 * nothing. A jump in their numbers is kept as a gap, so that an audit can say what it cannot know. A write
 * that fails is kept and tried again. When more than STORE_QUEUE_BYTES wait, the newest are left out;
 * applied() then stays below them for the life of this store, and since the owner feeds what comes after
 * applied() when it starts, they are filled in at the next start if the journal still has them.
 *
 * A damaged file is moved aside (history.db.corrupt-1, ...), reported through `failed`, and a new file is begun: history
 * decides nothing.
 *
 * What prune removes stays counted: how many fire times it accounted for, per job and UTC day. It removes
 * STORE_PRUNE_ROWS at a time and then pauses: the journal and the writes of the history need the disk more.
 *
 * Times in answers are RFC 3339, but in HISTORY_AUDIT's, which holds UTC milliseconds. It has, beyond what
 * history.h says: runs only with ids without milliseconds; records also of kind "tzdata",
 * and all that there are; "unfinished": [{"run","job","at","state"}], of any time; "pruned":
 * [{"job","from","to","count"}], whole days that reach into the time asked for, whose runs and skips are then
 * given in full; "gaps": [{"from","to"}], times in which batches are missing ("from" 0: from the beginning);
 * "copied": the same, of batches that were missing and came from another replica.
 *
 * One thread calls in and is called back; the pool's threads see only what is handed to them.
 */
#pragma once

#include "jobs/history/history.h"

#define STORE_QUEUE_BYTES    (64 * 1024 * 1024)
#define STORE_GROUP_WRITES   512 /* in one transaction */
#define STORE_GROUP_BYTES    (4 * 1024 * 1024)
#define STORE_QUERIES_MAX    256   /* waiting; then ERR_LIMIT */
#define STORE_PRUNES_MAX     20000 /* jobs waiting to be pruned; then it is left for the next time */
#define STORE_PRUNE_ROWS     200   /* runs, and of each other kind, in one transaction */
#define STORE_PRUNE_CHANGES  1000  /* rows of all kinds, about */
#define STORE_PRUNE_PER_MS   10    /* rows: after a transaction it pauses so long that it is not faster */
#define STORE_RETRY_MIN_MS   1000
#define STORE_RETRY_MAX_MS   30000
#define STORE_AUDIT_ROWS_MAX 2000000 /* runs; 48 bytes each */
#define STORE_AUDIT_OBJECT   10      /* so many runs is a row of another kind worth */

#define STORE_WORK_MAX                                                                                       \
    4 /* pieces of work a pool must be able to hold: a write, two queries, logs to be removed */

enum store_timer {
    STORE_WAKE,
    STORE_PAUSE, /* of the pruning */
    STORE_TIMERS
};

/* Where blocking work is done. See cronsched/server/thread_pool.h for the server's. */
struct store_pool {
    /* Calls work(arg) on some thread, and after that done(arg) on the loop; never from within run. */
    void (*run)(struct store_pool *pool, void (*work)(void *arg), void (*done)(void *arg), void *arg);
    /* Calls wake(arg) on the loop in delay_ms or somewhat later; a newer call takes the place of the one
     * before with the same timer. wake NULL: not at all. */
    void (*later)(struct store_pool *pool, enum store_timer timer, uint64_t delay_ms, void (*wake)(void *arg),
                  void *arg);
};

struct store_options {
    const char *path;
    struct store_pool *pool; /* of this store alone; outlives it */
    size_t queue_bytes;      /* 0: STORE_QUEUE_BYTES */
    void (*removed)(void *arg, const char *job, char *const *runs,
                    size_t count);                        /* or NULL; as in struct history */
    void (*failed)(void *arg, const struct error *error); /* or NULL */
    void *arg;
};

/* Blocks: opens, makes or migrates. Borrows the options for the call, but for the pool. */
int store_open(struct history **ret, const struct store_options *options, struct error *error);

/* What applied() of that file would say; 0 when there is none, or it is damaged. Blocks. */
int store_read_applied(const char *path, uint64_t *ret, struct error *error);
