/* Threads of our own for what blocks: files, databases, look-ups. Whoever must not wait for the others' files has
 * a worker to itself; libuv's pool of four threads, which everybody shares, can be filled by four reads that hang.
 *
 * Happy path: worker_submit queues a piece of work; a thread calls work->run; after that the loop calls
 * work->done with 0. Pieces begin in the order in which they were submitted.
 *
 * Without a deadline (work on our own files) a piece takes as long as it takes; worker_status says for how long
 * the one under way has been.
 *
 * With a deadline (files and services of others: a dead mount, a directory service that is away) `done` is
 * called with ERR_TIMEOUT when run has not returned in time. Its thread cannot be stopped: it is stuck, another
 * takes its place, and when it returns it serves again. At most WORKER_STUCK_MAX are stuck at a time. Refused,
 * by `done` with ERR_LIMIT: everything while so many are stuck, and a piece whose subject is the one of a stuck
 * piece, so that tries of one dead file do not use up all threads.
 *
 * Ownership: the work is its submitter's, but while it is submitted only run may touch what run uses. `release`
 * is the end of it: the loop calls it after done and after run has returned. When the worker was closed in
 * between the thread calls it, so it may only free memory. Without a deadline release may be NULL; then the work
 * is the submitter's again when done is called, and may be submitted again from there.
 *
 * Thread: all functions are the loop's, and an assertion says so; run is called on a thread of the worker.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define WORKER_STUCK_MAX 8    /* threads that did not return in time */
#define WORKER_QUEUE_MAX 4096 /* pieces waiting; more are refused with ERR_LIMIT */
#define WORKER_NAME_MAX  16   /* as the kernel has it, with the NUL */

struct worker;

struct work {
    void (*run)(struct work *work);
    void (*done)(struct work *work, int result);
    void (*release)(struct work *work);
    /* what it looks at, for people and to find it stuck; lives as long as the work; or NULL */
    const char *subject;
    /* the worker's own */
    struct list link;
    uint64_t begun_ms;
    int result;
    bool late; /* done was called before run returned */
};

struct worker_options {
    const char *name;     /* of its threads, and for people: "journal" */
    int threads;          /* that are not stuck, at most */
    uint64_t deadline_ms; /* for run; 0: none */
    /* With a deadline: a thread is stuck, or came back. Borrowed. May be NULL. */
    void (*told)(void *arg, bool stuck, const char *subject);
    void *arg;
};

struct worker_status {
    size_t queued, running; /* running: without the stuck */
    size_t stuck;
    uint64_t busy_ms; /* how long the oldest of the running has been at work; 0: none is */
};

/* ERR_LIMIT: no thread can be made; not with a deadline, whose threads are made when they are needed. */
int worker_new(struct worker **ret, uv_loop_t *loop, const struct worker_options *options,
               struct error *error);

void worker_submit(struct worker *worker, struct work *work);

void worker_status(const struct worker *worker, struct worker_status *ret);

/* Why pieces are refused or late, for people: "no answer within 10 s", ... */
const char *worker_result_text(const struct worker *worker, int result, char *buffer, size_t size);

/* Without a deadline nothing may be under way. With one, what is under way gets its done with ERR_CANCELLED from
 * within this call. `done` (may be NULL) is called once, from the loop; the worker is gone then, but for threads
 * that are stuck. */
void worker_close(struct worker *worker, void (*done)(void *arg), void *arg);

/* The caller is on a thread of that worker: from within run. Any thread. */
bool worker_is_current(const struct worker *worker);

/* Threads of closed workers that have not ended: while there are any the process leaves by _exit. Any thread. */
size_t worker_left(void);
