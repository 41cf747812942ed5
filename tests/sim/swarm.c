/* A Swarm: an attempt is a service in replicated mode, made without a replica. Its start is an update to one replica at
 * the version that was read, a compare-and-swap; its fence is an update of its epoch label likewise. What was told to
 * run is accepted: it is placed on a node some time later, or rejected, or withdrawn by an update to no replica. The same
 * update again does nothing; a service is deleted with what runs; a task goes with its node and leaves no exit code.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

static struct engine_answer started(const struct container *o)
{
    return (struct engine_answer){.event = ENGINE_STARTED, .started_ms = o->started_ms, .exit_code = -1};
}

static bool settled(const struct container *o)
{
    return o->state != OBJECT_CREATED || o->limbo || o->withdrawn;
}

/* What became of what was accepted, for the one that asks. */
static struct engine_answer outcome(const struct container *o)
{
    if (!settled(o))
        return (struct engine_answer){.event = ENGINE_ACCEPTED, .exit_code = -1, .text = "new"};
    if (o->limbo)
        return (struct engine_answer){
            .event = ENGINE_UNKNOWN, .exit_code = -1, .text = "its node died in mid-start"};
    if (o->starts == 0)
        return (struct engine_answer){.event = o->withdrawn ? ENGINE_NEVER_RAN : ENGINE_REFUSED,
                                      .exit_code = -1,
                                      .text = o->withdrawn ? "withdrawn" : "No such image"};
    return started(o);
}

bool swarm_watch(const struct world *w, const struct container *o, struct engine_answer *ret)
{
    if (!w->hosts[o->host].swarm || (o->starts > 0 && !o->limbo))
        return false;
    *ret = outcome(o);
    if (ret->event == ENGINE_ACCEPTED)
        ret->event = ENGINE_PENDING;
    return true;
}

/* May this update go through? What arrives late has no sender any more that would read the version again. */
static bool swaps(struct world *w, const struct event *e, const struct container *o)
{
    return e->call.late ? e->call.version == o->version : w->quiet || !chance(w, 30);
}

static void place_later(struct world *w, const struct container *o)
{
    int64_t long_ms = chance(w, 100) ? 400000 : 20000; /* no node fits */

    plan(w, EVENT_TASK, often_short(w, 300, long_ms))->id = alloc_text(o->id);
}

void swarm_release(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE || o->label != e->call.epoch) {
        a.event = ENGINE_REFUSED;
        a.text = "no such service, or its epoch is another's";
    } else if (o->replicas > 0 || o->withdrawn) { /* the same again: nothing comes of it */
        a = outcome(o);
        a.ticket = e->call.ticket;
    } else if (!swaps(w, e, o)) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "update out of sequence";
    } else {
        o->replicas = 1;
        o->version++;
        place_later(w, o);
        a.event = w->quiet || !chance(w, 20) ? ENGINE_ACCEPTED : ENGINE_UNKNOWN;
        a.text = a.event == ENGINE_ACCEPTED ? "new" : "reply lost";
    }
    engine_answer(w, e, a, NULL);
}

void swarm_fence(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_UNKNOWN;
        a.text = "no such service";
    } else if (o->replicas > 0 || settled(o)) {
        a = outcome(o);
        a.ticket = e->call.ticket;
    } else if (!swaps(w, e, o)) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "update out of sequence";
    } else {
        o->label = e->call.sender_epoch;
        o->version++;
        a.event = ENGINE_NEVER_RAN;
        a.text = "no replica when its epoch was changed";
    }
    engine_answer(w, e, a, NULL);
}

/* The update of a stop comes before its task is given to a node, or after. */
void swarm_withdraw(struct world *w, struct container *o)
{
    if (!o || settled(o) || o->replicas == 0)
        return;
    o->replicas = 0;
    o->version++;
    o->withdrawn = true;
    tell(w, "%s of %s is withdrawn", o->id, o->run);
    engine_tell(w, o->watchers, outcome(o));
    memset(o->watchers, 0, sizeof(o->watchers));
}

void swarm_discard(struct world *w, struct container *o)
{
    if (!o || o->state == OBJECT_GONE)
        return;
    if (o->replicas > 0 && !(settled(o) && o->starts == 0))
        violation(w, "%s#%d: its service is deleted after its start", o->run, o->attempt);
    object_gone(o);
}

static void task_starts(struct world *w, struct container *o)
{
    if (chance(w, 5)) {
        o->state = OBJECT_EXITED;
        o->ended_ms = w->now_ms;
        o->exit_code = -1;
        tell(w, "the task of %s is rejected", o->id);
    } else if (!w->quiet && chance(w, 3)) {
        object_start_breaks(w, o);
    } else {
        object_start(w, o);
    }
}

void swarm_task(struct world *w, struct event *e)
{
    struct container *o = object_by_id(w, e->id);
    bool away = w->hosts[o->host].down;

    if (settled(o))
        return;                        /* deleted, or withdrawn */
    if (!w->quiet && chance(w, 150)) { /* it has to wait, and says why */
        if (!away)
            engine_tell(
                w, o->watchers,
                (struct engine_answer){.event = ENGINE_PENDING, .exit_code = -1, .text = "no suitable node"});
        place_later(w, o);
        return;
    }
    task_starts(w, o);
    if (away)
        return;
    engine_tell(w, o->watchers, outcome(o));
    if (o->state != OBJECT_RUNNING)
        memset(o->watchers, 0, sizeof(o->watchers));
}

void swarm_node_lost(struct world *w, struct container *o)
{
    o->state = OBJECT_EXITED;
    o->orphaned = true;
    o->exit_code = -1;
    o->ended_ms = w->now_ms;
    monitor_run(w, o->run)->executing--;
    o->counted = false;
    tell(w, "%s of %s goes with its node", o->id, o->run);
}
