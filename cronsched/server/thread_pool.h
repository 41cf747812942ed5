/* The pool of threads that the history works on (jobs/history/store.h's table), over libuv.
 *
 * One pool serves one store and must outlive it: close the store, then the pool. One thread: the loop's.
 */
#pragma once

#include "jobs/base/object.h"
#include "jobs/history/store.h"

#include <uv.h>

struct thread_pool;

struct pool_item {
    uv_work_t work; /* first: found again from it */
    struct thread_pool *pool;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
    bool used;
};

struct thread_pool {
    struct object object;    /* first */
    struct store_pool table; /* give &pool.table to store_open */
    uv_loop_t *loop;
    uv_timer_t timer;
    void (*wake)(void *arg);
    void *wake_arg;
    struct pool_item items[STORE_WORK_MAX];
    void (*closed)(void *arg);
    void *closed_arg;
};

void thread_pool_init(struct thread_pool *pool, uv_loop_t *loop);

/* Nothing may be under way. done is called from the loop; after that the memory is the caller's again. */
void thread_pool_close(struct thread_pool *pool, void (*done)(void *arg), void *arg);
