/* The threads that the history works on (jobs/history/store.h's table): a worker of its own
 * (leader/worker/worker.h), so that no file of somebody else keeps the history from its database.
 *
 * One pool serves one store and must outlive it: close the store, then the pool. One thread: the loop's.
 */
#pragma once

#include "jobs/base/object.h"
#include "jobs/history/store.h"
#include "leader/worker/worker.h"

#include <uv.h>

struct pool_item {
    struct work work;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
    bool used;
};

struct pool_timer {
    struct object object;
    struct thread_pool *pool;
    uv_timer_t timer;
    void (*wake)(void *arg);
    void *arg;
};

struct thread_pool {
    struct object object;    /* first */
    struct store_pool table; /* give &pool.table to store_open */
    struct worker *worker;   /* a thread for each piece of work that the store has at a time */
    struct pool_timer timers[STORE_TIMERS];
    int timers_open;
    struct pool_item items[STORE_WORK_MAX];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ERR_LIMIT: no thread can be made. */
int thread_pool_init(struct thread_pool *pool, uv_loop_t *loop, struct error *error);

/* Nothing may be under way. done is called from the loop; after that the memory is the caller's again. */
void thread_pool_close(struct thread_pool *pool, void (*done)(void *arg), void *arg);
