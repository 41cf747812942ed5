/* Permits and the runs that wait for one: each engine has so many for its armed attempts and, with max_running, for the
 * runs under way on it; each pool for its running ones. A run holds at most one of a kind, and waits in at most one queue.
 *
 * When a permit is free, the first run of the queue is woken and takes it by itself. A run may not pass one
 * that waits with a higher priority, or with the same and a lower number.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

struct run_queue *run_queue_of_engine(struct scheduler *s, const char *name, struct engine **ret)
{
    assert(s->o.engine_count <= SCHEDULER_ENGINES_MAX);
    for (size_t i = 0; i < s->o.engine_count; i++)
        if (strcmp(s->o.engines[i]->name, name) == 0) {
            if (ret)
                *ret = s->o.engines[i];
            return &s->engine_queues[i];
        }
    return NULL;
}

struct run_queue *run_queue_of_running(struct scheduler *s, const char *engine)
{
    assert(s->o.engine_count <= SCHEDULER_ENGINES_MAX);
    for (size_t i = 0; i < s->o.engine_count; i++)
        if (strcmp(s->o.engines[i]->name, engine) == 0)
            return s->running_queues[i].size > 0 ? &s->running_queues[i] : NULL;
    return NULL;
}

struct run_queue *run_queue_of_pool(struct scheduler *s, const struct job *def)
{
    assert(s->o.pool_count <= SCHEDULER_POOLS_MAX);
    for (size_t i = 0; def->pool && i < s->o.pool_count; i++)
        if (strcmp(s->o.pools[i].name, def->pool) == 0)
            return &s->pool_queues[i];
    return NULL;
}

static void wake_first(struct scheduler *s, struct run_queue *q)
{
    struct heap_item *first = q->taken < q->size ? heap_first(&q->waiting) : NULL;

    invariant_queue(q);
    if (first)
        turn_wake_run(s, LIST_ITEM(first, struct run, live.queue_item), s->now_ms);
}

bool run_queue_has_permit(const struct run_queue *q, const struct run *r)
{
    const struct heap_item *first = heap_first(&q->waiting);

    invariant_queue(q);
    return q->taken < q->size &&
           (!first || first == &r->live.queue_item || first->priority < run_def(r)->priority ||
            (first->priority == run_def(r)->priority && first->seq > r->seq));
}

void run_queue_wait(struct scheduler *s, struct run_queue *q, struct run *r)
{
    /* a free permit wakes the first; the timer covers a first one that then does not take it */
    turn_wake_run(s, r, s->now_ms + RUN_QUEUE_LOOK_AGAIN_MS);
    if (r->live.waits_in == q)
        return;
    run_queue_stop_waiting(s, r);
    r->live.waits_in = q;
    assert(r->live.queue_item.slot == 0);
    r->live.queue_item.priority = run_def(r)->priority;
    r->live.queue_item.seq = r->seq;
    heap_set(&q->waiting, &r->live.queue_item, 0);
}

void run_queue_stop_waiting(struct scheduler *s, struct run *r)
{
    struct run_queue *q = r->live.waits_in;

    if (!q)
        return;
    assert(r->live.queue_item.slot > 0);
    r->live.waits_in = NULL;
    heap_remove(&q->waiting, &r->live.queue_item);
    if (s->leading)
        wake_first(s, q); /* there may be a permit for the next one, too */
}

void run_queue_take_engine_permit(struct run_queue *q, struct run *r)
{
    assert(!r->live.engine_permit);
    q->taken++;
    r->live.engine_permit = q;
}

void run_queue_take_pool_permit(struct run_queue *q, struct run *r)
{
    assert(!r->live.pool_permit);
    q->taken++;
    r->live.pool_permit = q;
}

void run_queue_take_running_permit(struct run_queue *q, struct run *r)
{
    assert(!r->live.running_permit);
    q->taken++;
    r->live.running_permit = q;
}

static void give_back(struct scheduler *s, struct run_queue *q)
{
    assert(q->taken > 0);
    q->taken--;
    wake_first(s, q);
}

static bool is_one_of(const struct run_queue *q, const struct run_queue *queues, size_t count)
{
    return q >= queues && q < queues + count;
}

void run_queue_return_engine_permit(struct scheduler *s, struct run *r)
{
    struct run_queue *q = r->live.engine_permit;

    assert(!q || is_one_of(q, s->engine_queues, SCHEDULER_ENGINES_MAX));
    r->live.engine_permit = NULL;
    if (q)
        give_back(s, q);
}

void run_queue_move_running_permit(struct scheduler *s, struct run_queue *q, struct run *r)
{
    struct run_queue *old = r->live.running_permit;

    assert(r->live.permitted && (!q || is_one_of(q, s->running_queues, SCHEDULER_ENGINES_MAX)));
    if (old == q)
        return;
    r->live.running_permit = NULL;
    if (old)
        give_back(s, old);
    if (q)
        run_queue_take_running_permit(q, r);
}

void run_queue_withdraw_permission(struct scheduler *s, struct run *r)
{
    struct run_queue *pool = r->live.pool_permit, *running = r->live.running_permit;

    assert(!pool || is_one_of(pool, s->pool_queues, SCHEDULER_POOLS_MAX));
    assert(!running || is_one_of(running, s->running_queues, SCHEDULER_ENGINES_MAX));
    r->live.permitted = false;
    r->live.pool_permit = r->live.running_permit = NULL;
    if (pool)
        give_back(s, pool);
    if (running)
        give_back(s, running);
}

void run_queue_clear_all(struct scheduler *s)
{
    assert(s->leading);
    for (size_t i = 0; i < SCHEDULER_ENGINES_MAX; i++) {
        heap_release(&s->engine_queues[i].waiting);
        s->engine_queues[i].taken = 0;
        heap_release(&s->running_queues[i].waiting);
        s->running_queues[i].taken = 0;
    }
    for (size_t i = 0; i < SCHEDULER_POOLS_MAX; i++) {
        heap_release(&s->pool_queues[i].waiting);
        s->pool_queues[i].taken = 0;
    }
}
