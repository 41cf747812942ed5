/* The embedded journal: the table of jobs/state/journal.h over one SQLite file, for a standalone server.
 *
 * Whoever holds the file leads; each opening, and each recovery from a failure, is a new epoch. An append
 * that was acked is on the disk (one fdatasync for all appends that were queued while the one before was
 * under way).
 *
 * A journal whose files were moved, removed, replaced, written to by somebody else or taken by another server is lost:
 * it is noticed within a second and before anything more is acked, deposed comes, and nothing helps but a new
 * start. It never comes back by itself, since what is there now may be an older copy.
 *
 * Opening blocks: it locks the file, refuses by name when another process has it, and verifies all that is
 * there. Everything else happens on a thread of its own, one piece of work at a time, and its events come from
 * the loop: reads of other files that hang do not hold it up.
 *
 * Ownership: the journal owns the file until its close is done, and then itself is gone. One thread: the
 * loop's.
 */
#pragma once

#include "jobs/state/journal.h"

#include <uv.h>

#define EMBEDDED_IN_FLIGHT_MAX   8192 /* appends not yet acked; then ERR_LIMIT */
#define EMBEDDED_IN_FLIGHT_BYTES (64 * 1024 * 1024)
#define EMBEDDED_GROUP_MAX       1024 /* appends in one transaction */
#define EMBEDDED_GROUP_BYTES     (4 * 1024 * 1024)
#define EMBEDDED_RETRY_MIN_MS    1000
#define EMBEDDED_RETRY_MAX_MS    5000

struct embedded_options {
    const char *path;       /* of journal.db; -wal and .lock are put beside it */
    const char *cluster;    /* noted in a new file; NULL: nothing is */
    uint64_t history;       /* batches up to here are in the history: the journal must have had them */
    uint64_t lock_pause_ms; /* see journal_lock_take; 0: the default */
    bool sole;         /* refuse while another journal of the same cluster is open on this machine: a copy */
    int snapshot_keep; /* 0: 2, the newest and the one before */
    uint64_t retry_min_ms, retry_max_ms; /* 0: the defaults above */
};

/* Borrows the options for the call, loop and events for its life. The first events come once the loop runs.
 */
int embedded_open(struct journal **ret, uv_loop_t *loop, const struct embedded_options *options,
                  const struct journal_events *events, void *arg, struct error *error);
