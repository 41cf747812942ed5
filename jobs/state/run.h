/* A run and its attempts: their states, and the words for what decides about them.
 *
 * Each table below is an enum and its words. The words are in the journal, in snapshots and in the API and
 * never change; states are stored as numbers in snapshots, so they are only ever added at the end. A word
 * that comes from outside is looked up with run_..._of.
 */
#pragma once

#include "jobs/base/alloc.h" /* what uthash does when memory is out */
#include "jobs/base/heap.h"
#include "jobs/base/list.h"
#include "jobs/definition/job.h"

#include "jobs/base/hash_table.h"

/* The allowed moves are in apply.c's tables. No run has the state SKIPPED: it is the state shown of a fire
 * time that was skipped. */
#define RUN_STATES(X)                                                                                        \
    X(WAITING, "waiting")                                                                                    \
    X(ARMED, "armed") /* a reservation: its fire time is still to come */                                    \
    X(STARTING, "starting")                                                                                  \
    X(RUNNING, "running")                                                                                    \
    X(RETRYING, "retrying")                                                                                  \
    X(UNRESOLVED, "unresolved") /* its engine does not say whether its attempt runs */                       \
    X(ENDED, "ended")                                                                                        \
    X(SKIPPED, "skipped")

enum run_state {
#define X(state, word) RUN_##state,
    RUN_STATES(X)
#undef X
        RUN_STATE_COUNT
};

#define ATTEMPT_STATES(X)                                                                                    \
    X(ARMED, "armed")         /* reserved; may exist in the engine, cannot run */                            \
    X(COMMITTED, "committed") /* its id is in the journal: the epoch that committed it may release it */     \
    X(STARTED, "running")                                                                                    \
    X(REVOKED, "revoked")     /* never to be released */                                                     \
    X(NEVER_RAN, "never-ran") /* by evidence */                                                              \
    X(START_FAILED, "start-failed")                                                                          \
    X(ENDED, "ended")                                                                                        \
    X(UNKNOWN, "unknown")   /* nothing can be proved */                                                      \
    X(ACCEPTED, "accepted") /* released; its engine will start it when it can, and has not yet */

enum attempt_state {
#define X(state, word) ATTEMPT_##state,
    ATTEMPT_STATES(X)
#undef X
        ATTEMPT_STATE_COUNT
};

/* How a run ended, or why a fire time was skipped (true). */
#define RUN_VERDICTS(X)                                                                                      \
    X(SUCCEEDED, "succeeded", false)                                                                         \
    X(FAILED, "failed", false)                                                                               \
    X(TIMED_OUT, "timed-out", false)                                                                         \
    X(KILLED, "killed", false)                                                                               \
    X(LOST, "lost", false)                                                                                   \
    X(OVERLAP, "overlap", true)                                                                              \
    X(PAUSED, "paused", true)                                                                                \
    X(DEADLINE, "deadline", true)                                                                            \
    X(MISSED, "missed", true)                                                                                \
    X(COALESCED, "coalesced", true)                                                                          \
    X(DELETED, "deleted", true)                                                                              \
    X(QUEUE_FULL, "queue-full", true)                                                                        \
    X(JOURNAL_LOST, "journal-lost", true)

enum run_verdict {
    VERDICT_NONE,
#define X(verdict, word, skip) VERDICT_##verdict,
    RUN_VERDICTS(X)
#undef X
        VERDICT_COUNT
};

/* Why there is a run. */
#define RUN_CAUSES(X)                                                                                        \
    X(SCHEDULE, "schedule")                                                                                  \
    X(CATCH_UP, "catch-up")                                                                                  \
    X(MANUAL, "manual")                                                                                      \
    X(AFTER, "after")                                                                                        \
    X(BACKFILL, "backfill")

enum run_cause {
    CAUSE_NONE,
#define X(cause, word) CAUSE_##cause,
    RUN_CAUSES(X)
#undef X
        CAUSE_COUNT
};

/* Why an attempt is stopped. A timeout ends the attempt, which may be retried; the others end the run. */
#define RUN_STOPS(X)                                                                                         \
    X(TIMEOUT, "timeout")                                                                                    \
    X(KILLED, "killed")                                                                                      \
    X(REPLACED, "replaced")                                                                                  \
    X(DEADLINE, "deadline") /* its engine could not start it in time: it is withdrawn */

enum run_stop {
    STOP_NONE,
#define X(reason, word) STOP_##reason,
    RUN_STOPS(X)
#undef X
        STOP_COUNT
};

/* The word; NULL for ..._NONE. */
const char *run_state_name(enum run_state state);
const char *run_attempt_state_name(enum attempt_state state);
const char *run_verdict_name(enum run_verdict verdict);
const char *run_cause_name(enum run_cause cause);
const char *run_stop_name(enum run_stop reason);

/* The value of a word that may come from outside. RUN_STATE_COUNT, ..._NONE: it is unknown, or NULL. */
enum run_state run_state_of(const char *word);
enum run_verdict run_verdict_of(const char *word);
enum run_cause run_cause_of(const char *word);
enum run_stop run_stop_of(const char *word);

bool run_verdict_is_skip(enum run_verdict verdict);
bool run_stop_ends_run(enum run_stop reason);

struct attempt {
    int number, try;
    enum attempt_state state;
    char *engine, *id, *boot_id;
    char *identity; /* of the engine that prepared it; NULL: not known */
    int64_t epoch;  /* of its ARM, */
    uint64_t index; /* and the batch: a fire time may be reserved, revoked and reserved again in one epoch */
    int64_t committed_epoch;
    bool handed_over;    /* COMMITTED, and the leader that committed it will not release it any more */
    int64_t accepted_ms; /* by its leader's clock; 0: it was not, or started at once */
    int64_t started_ms, ended_ms;
    int restarts;              /* how often it was started again, which only others than cronsched do */
    int exit_code;             /* -1: none */
    char *cause, *text;        /* cause: how it ended, in the engine's word */
    enum run_stop stop_reason; /* other than STOP_NONE: STOPPING is journaled */
    int64_t stopping_ms;
};

struct job_state;

struct run_queue;

/* What the leader's scheduler knows of a run; empty when it begins to lead. */
struct run_live {
    uint64_t ticket, stop_ticket; /* of the engine requests under way; 0: none */
    bool released;                /* the one start request has been sent, or may have been */
    bool permitted;               /* may start, as far as overlap, pool and max_running go */
    bool
        unrecovered; /* an earlier leader left its attempt with an outcome not known yet; counted in its job */
    enum run_state was; /* when this leader began */
    bool left;   /* then it had waited for its first attempt, and nobody had led for longer than late_grace */
    int starts;  /* of the newest attempt, as its engine last said; 0: once */
    int pending; /* so often the engine said why it is not started yet */
    int failures; /* of the engine in a row: for the back-off */
    int64_t not_before_ms, stop_again_ms, recover_by_ms;
    int stops;             /* so often its newest attempt was asked to stop */
    bool stopped_here;     /* the stop is this leader's own, not one that it found */
    int64_t sent_ms;       /* the one start request, by this server's clock; 0: an earlier leader sent it */
    int64_t started_ms;    /* the newest attempt, by this server's clock; 0: not looked at yet */
    uint64_t index;        /* the last batch that touched it */
    uint64_t commit_index; /* the batch that committed the newest attempt */
    struct run_queue *engine_permit, *pool_permit, *running_permit; /* held ones */
    struct run_queue *waits_in;
    struct heap_item timer, queue_item;
};

struct run {
    char *id;
    struct job_state *job;
    int64_t at_ms; /* the instant in the id */
    bool has_ms;
    int64_t fire_ms; /* nominal */
    int64_t due_ms;  /* fire time and jitter; manual: at once */
    int64_t previous_fire_ms;
    enum run_cause cause;
    char *by;
    json_t *params;
    bool queued;   /* asked to wait its turn instead of being refused */
    bool children; /* a manual run that counts for the jobs that come after */
    bool fired;    /* accounts for its fire time; false: a reservation */
    bool
        journal_lost; /* what became of it may be in a part of the journal that is lost: it starts nothing more */
    struct job *def; /* frozen at the first attempt; NULL before */
    enum run_state state;
    enum run_verdict verdict; /* VERDICT_NONE until it has ended */
    struct attempt *attempts; /* the newest last; a new try of the same number replaces the old one */
    size_t attempt_count;
    int64_t retry_ms, started_ms, ended_ms, unresolved_ms;
    char *text;
    uint64_t seq; /* order of creation */
    size_t bytes; /* counted in state.bytes */

    struct list of_job;
    UT_hash_handle by_id;
    struct list dirty;    /* touched by the batch being applied */
    struct run_live live; /* not from records */
};

struct attempt *run_attempt(struct run *run); /* the newest, or NULL */
bool run_attempt_is_released(
    const struct attempt *a); /* by the journal: it runs, or will when its engine can */
/* The definition that governs the run: the frozen one, else the job's own; NULL: the job is gone. */
struct job *run_def(const struct run *run);
/* As people see it: SKIPPED when its verdict is a skip. */
enum run_state run_shown_state(const struct run *run);
