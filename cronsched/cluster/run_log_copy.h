/* Second copies of logs: each replica fetches the logs of runs that ended from the replica that collected
 * them, so that they outlive it.
 *
 * It wraps the history (a table, jobs/history/history.h) and sees there what every batch changed; everything
 * is handed on as it is.
 *
 * Happy path: a run ended -> its attempts, but for those whose log is collected here, are queued -> each is
 * fetched, in its stored form, with its stamps, from the likeliest replica into RUN.ATTEMPT.log.copy -> renamed to
 * RUN.ATTEMPT.log, in whose place whatever this replica had collected before it lost the attempt goes.
 * Failures: what comes is no log: as no answer. A replica does not answer: the next one, and all of them again RUN_LOG_COPIES_RETRY_MS later,
 * some times. None has it: forgotten. The queue is full: forgotten; it is still read through where it is.
 *
 * One thread: the loop's; files are touched on libuv's pool.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "jobs/history/history.h"
#include "leader/replicated/replicated.h"

#define RUN_LOG_COPIES_QUEUE_MAX 4096
#define RUN_LOG_COPIES_AT_ONCE   4
#define RUN_LOG_COPIES_TRIES     3
#define RUN_LOG_COPIES_RETRY_MS  5000
#define RUN_LOG_COPIES_IDLE_MS   30000
#define RUN_LOG_COPIES_BYTES_MAX (INT64_C(1) << 30) /* the most that a job may keep */
#define RUN_LOG_COPIES_SWEEP     1000               /* newest runs whose logs are looked for at the start */

struct run_log_copies;

struct run_log_copies_options {
    uv_loop_t *loop;
    const struct peer *peer;
    const char *data_dir, *self; /* self: the replica's id */
    bool nothing;                /* no engine here has logs: nothing is looked at */
    const struct replicated_view *(*view)(void *arg);
    /* How many bytes of its output the run's job keeps; -1: not known any more. NULL: never known. */
    int64_t (*keep_logs)(void *arg, const char *run);
    void *arg;
};

/* `under`: where history goes; owned from here on: the close of its table closes it. */
struct history *run_log_copies_new(struct run_log_copies **ret, struct history *under);
/* Copying begins; borrows what the options point to. */
void run_log_copies_start(struct run_log_copies *copies, const struct run_log_copies_options *options);
/* Looks for logs of runs that ended while this replica was away. */
void run_log_copies_sweep(struct run_log_copies *copies);
/* A copy of that attempt's log is still to come: what is here may be less than all. */
bool run_log_copies_pending(const struct run_log_copies *copies, const char *run, int attempt);
/* Before the peer client is closed; done is called once, from the loop. Not if it never started. */
void run_log_copies_stop(struct run_log_copies *copies, void (*done)(void *arg), void *arg);
