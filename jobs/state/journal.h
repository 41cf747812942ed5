/* The journal's table: an ordered, durable list of batches with one writer at a time. Implemented by
 * leader/embedded/embedded.c (SQLite, one machine), by the replicated journal over ZooKeeper, and by the simulator.
 *
 * Happy path: open -> restore(snapshot) -> batch... -> lead(epoch) -> append... each answered by acked, in
 * order. A standby stays at batch... and gets lead when it has taken over and applied the whole tail. When an
 * append fails, or another replica leads: deposed(why), once; every append not acked is void, the owner drops its
 * speculation; then restore, batch..., and perhaps lead again with a higher epoch.
 * All events come from the loop, never from within append.
 */
#pragma once

#include "jobs/state/record.h"

/* A person had the journal go on from an earlier state, or from what one replica held: what was fired and reported
 * in this time may be missing from it. */
struct journal_recovery {
    int64_t from_ms, until_ms; /* wall clock: of the newest batch in that state; of the recovery */
    const char *by;
};

struct journal_events {
    /* Start again from this snapshot, which replaces all batches up to index. text NULL: from
     * nothing. */
    void (*restore)(void *arg, const char *text, size_t size, uint64_t index);
    /* The next committed batch, of somebody else's or of an earlier life. Borrowed. */
    void (*batch)(void *arg, const struct batch *batch, const char *text, size_t size);
    /* You lead. The owner's first record must be EPOCH with this epoch. cause: how it came about, for the
     * take-over report ("start", "restart", "connection-closed", "connection-refused", "silent", "orphan",
     * "session-ended", "overdue: ..."). */
    void (*lead)(void *arg, int64_t epoch, const char *cause);
    /* Your appends up to this index are durable. */
    void (*acked)(void *arg, uint64_t index);
    void (*deposed)(void *arg, const struct error *why);
    /* You give up the lead cleanly: append now what the successor should know; nothing is taken afterwards,
     * and deposed or the end follows. */
    void (*yield)(void *arg);
    /* Before `lead`, when nothing was appended since a recovery: what is to be journaled of it has to be in the
     * first batch, together with EPOCH, since it is reported only until there is one. Borrowed. May be NULL. */
    void (*recovered)(void *arg, const struct journal_recovery *recovery);
};

struct journal;
struct journal_status;

struct journal_ops {
    /* The next batch: index and prev are set by the caller, contiguous. Takes ownership. Queued and
     * pipelined; ERR_DEPOSED when not leading (then the batch is freed), ERR_LIMIT when too much is in flight
     * (not taken). */
    int (*append)(struct journal *journal, struct batch *batch);
    /* Keep this text as the snapshot at `index`, once everything up to it is durable; then older batches that
     * need not be kept may go. Takes ownership of text (malloc'd). level: of the records it replaces. */
    void (*snapshot)(struct journal *journal, char *text, size_t size, uint64_t index, int level);
    /* Is it likely that this replica still leads? False after a pause, or while the journal cannot be reached:
     * then nothing should be sent to an engine, as politeness; the fence is the proof. */
    bool (*may_act)(const struct journal *journal);
    /* Appends in flight: for limits and metrics. */
    void (*status)(const struct journal *journal, struct journal_status *ret);
    /* Give up the lead cleanly, if it is held, and stop; done is called once, from the loop. */
    void (*close)(struct journal *journal, void (*done)(void *arg), void *arg);
};

struct journal {
    const struct journal_ops *ops;
    const struct journal_events *events;
    void *arg;
    /* No batch may be larger than this, with 1 KB to spare: what lies below takes no more at a time. May change
     * at any event. 0: BATCH_BYTES_MAX. */
    size_t batch_bytes;
    /* A batch that has as many is better not made larger, where it need not be. 0: any size is as good. */
    size_t batch_bytes_usual;
};

struct journal_status {
    bool leading;
    int level;               /* of records that may be written: all replicas can read them */
    size_t in_flight;        /* appends not yet acked */
    bool refused;            /* what is appended is not taken at present: text says why */
    uint64_t acked;          /* index */
    int64_t last_append_us;  /* duration of the last durable append */
    int64_t total_append_us; /* and of all, with their number: for /metrics */
    uint64_t appends;
    int64_t busy_ms; /* for how long the file has not answered; 0: it was not asked, or it is no file */
    bool lost;       /* what is wrong ends by a new start of this process alone */
    /* its log has grown so far that a snapshot ahead of the history is better than none */
    bool snapshot_urgent;
    /* A journal that several replicas share, at its leader: its log, which is in the memory of what keeps it, as it should
     * not exceed; 0: not known, or there is none. And those that it does not wait for any more. */
    uint64_t log_bytes, log_bytes_most;
    char left_behind[256]; /* ids; "": none */
    char text[256];        /* what is wrong, or "" */
    char warning[256];     /* what may become so, or "" */
};
