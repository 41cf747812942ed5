#include "cronsched/server/thread_pool.h"

#include "leader/worker/loop.h"

#include <assert.h>
#include <string.h>

static void on_run(struct work *work)
{
    struct pool_item *item = LIST_ITEM(work, struct pool_item, work);

    item->run(item->arg);
}

static void on_done(struct work *work, int result)
{
    struct pool_item *item = LIST_ITEM(work, struct pool_item, work);

    assert(result == 0); /* without a deadline nothing is given up, and the store keeps to its number */
    item->used = false;  /* before: done may give the next piece of work */
    item->done(item->arg);
}

static void pool_run(struct store_pool *table, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
    struct thread_pool *pool = OBJECT_OF(struct thread_pool, table, table);
    struct pool_item *item = pool->items;

    while (item->used) {
        item++;
        assert(item < pool->items + STORE_WORK_MAX); /* the store keeps to its number */
    }
    *item = (struct pool_item){
        .work = {.run = on_run, .done = on_done}, .run = run, .done = done, .arg = arg, .used = true};
    worker_submit(pool->worker, &item->work);
}

static void on_timer(uv_timer_t *timer)
{
    struct pool_timer *t = OBJECT(struct pool_timer, timer->data);

    t->wake(t->arg);
}

static void pool_later(struct store_pool *table, enum store_timer timer, uint64_t delay_ms,
                       void (*wake)(void *arg), void *arg)
{
    struct pool_timer *t = &OBJECT_OF(struct thread_pool, table, table)->timers[timer];

    t->wake = wake;
    t->arg = arg;
    if (wake)
        loop_timer_start(&t->timer, on_timer, delay_ms, 0);
    else
        uv_timer_stop(&t->timer);
}

int thread_pool_init(struct thread_pool *pool, uv_loop_t *loop, struct error *error)
{
    struct worker_options o = {.name = "history", .threads = STORE_WORK_MAX};
    int r;

    memset(pool, 0, sizeof(*pool));
    OBJECT_INIT(struct thread_pool, pool);
    r = worker_new(&pool->worker, loop, &o, error);
    if (r < 0)
        return r;
    pool->table = (struct store_pool){pool_run, pool_later};
    for (size_t i = 0; i < STORE_TIMERS; i++) {
        struct pool_timer *t = &pool->timers[i];

        OBJECT_INIT(struct pool_timer, t);
        t->pool = pool;
        uv_timer_init(loop, &t->timer);
        t->timer.data = t;
    }
    pool->timers_open = STORE_TIMERS;
    return 0;
}

static void on_closed(void *arg)
{
    struct thread_pool *pool = OBJECT(struct thread_pool, arg);

    pool->closed(pool->closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct thread_pool *pool = OBJECT(struct pool_timer, handle->data)->pool;

    if (--pool->timers_open == 0)
        worker_close(pool->worker, on_closed, pool);
}

void thread_pool_close(struct thread_pool *pool, void (*done)(void *arg), void *arg)
{
    for (size_t i = 0; i < STORE_WORK_MAX; i++)
        assert(!pool->items[i].used);
    pool->closed = done;
    pool->closed_arg = arg;
    for (size_t i = 0; i < STORE_TIMERS; i++)
        uv_close((uv_handle_t *)&pool->timers[i].timer, on_timer_closed);
}
