/* Bounded places, and the runs that wait for one: an engine's armed attempts, a pool's running ones.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

const char *run_engine_name(struct scheduler *s, const struct run *r)
{
    const struct job *def = run_def(r);

    return def->engine.count ? def->engine.items[0] : s->o.default_engine;
}

struct lane *engine_lane(struct scheduler *s, const char *name, struct engine **ret)
{
    for (size_t i = 0; i < s->o.engine_count; i++)
        if (strcmp(s->o.engines[i]->name, name) == 0) {
            if (ret)
                *ret = s->o.engines[i];
            return &s->engines[i];
        }
    return NULL;
}

struct engine *engine_of(struct scheduler *s, const struct attempt *a)
{
    struct engine *e = NULL;

    engine_lane(s, a->engine, &e);
    return e;
}

struct lane *pool_lane(struct scheduler *s, const struct job *def)
{
    for (size_t i = 0; def->pool && i < s->o.pool_count; i++)
        if (strcmp(s->o.pools[i].name, def->pool) == 0)
            return &s->pools[i];
    return NULL;
}

/* When a place is free, the first of those who wait looks at it. */
static void lane_offer(struct scheduler *s, struct lane *lane)
{
    struct heap_item *first = lane->used < lane->size ? heap_first(&lane->waiting) : NULL;

    if (first)
        run_kick(s, LIST_ITEM(first, struct run, live.place), s->now_ms);
}

void lane_wait_no_more(struct scheduler *s, struct run *r)
{
    struct lane *lane = r->live.waits_in;

    if (!lane)
        return;
    r->live.waits_in = NULL;
    heap_remove(&lane->waiting, &r->live.place);
    if (s->leading)
        lane_offer(s, lane); /* there may be a place for the next one, too */
}

/* May it take a place now? Not past one that waits with a better claim. */
bool lane_free(const struct lane *lane, const struct run *r)
{
    const struct heap_item *first = heap_first(&lane->waiting);

    return lane->used < lane->size &&
           (!first || first == &r->live.place || first->priority < run_def(r)->priority ||
            (first->priority == run_def(r)->priority && first->seq > r->seq));
}

/* The lane kicks the first when a place is free; the timer is for a first one that then does not take it. */
void lane_wait(struct scheduler *s, struct lane *lane, struct run *r)
{
    run_kick(s, r, s->now_ms + LANE_LOOK_AGAIN_MS);
    if (r->live.waits_in == lane)
        return;
    lane_wait_no_more(s, r);
    r->live.waits_in = lane;
    r->live.place.priority = run_def(r)->priority;
    r->live.place.seq = r->seq;
    heap_set(&lane->waiting, &r->live.place, 0);
}

void lane_leave(struct scheduler *s, struct lane *lane)
{
    assert(lane->used > 0);
    lane->used--;
    lane_offer(s, lane);
}

void run_leave_slot(struct scheduler *s, struct run *r)
{
    struct lane *slot = r->live.slot;

    r->live.slot = NULL;
    if (slot)
        lane_leave(s, slot);
}

/* It is not under way any more, and has to ask again: for its turn, and for a place in its pool. */
void run_unadmit(struct scheduler *s, struct run *r)
{
    struct lane *pool = r->live.pool;

    r->live.admitted = false;
    r->live.pool = NULL;
    if (pool)
        lane_leave(s, pool);
}

void lanes_empty(struct scheduler *s)
{
    for (size_t i = 0; i < SCHEDULER_ENGINES_MAX; i++) {
        heap_release(&s->engines[i].waiting);
        s->engines[i].used = 0;
    }
    for (size_t i = 0; i < SCHEDULER_POOLS_MAX; i++) {
        heap_release(&s->pools[i].waiting);
        s->pools[i].used = 0;
    }
}
