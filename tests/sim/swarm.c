/* A Swarm: an attempt is a service in replicated mode, made without a replica. Its start is an update to one replica at
 * the version that was read, a compare-and-swap; its fence is an update of its epoch label likewise. What was told to
 * run is placed on a node some time later, or rejected. The same update again does nothing; a service is deleted with
 * what runs; a task goes with its node and leaves no exit code.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

/* The answer comes once its task has started or is rejected. */
static void await_task(struct container *o, const struct event *e)
{
    if (e->link >= o->settling[e->replica].link)
        o->settling[e->replica] = (struct watcher){e->replica, e->link, e->call.ticket, e->call.op};
}

static struct engine_answer started(const struct container *o)
{
    return (struct engine_answer){.event = ENGINE_STARTED, .started_ms = o->started_ms, .exit_code = -1};
}

/* What became of its task. */
static struct engine_answer outcome(const struct container *o)
{
    if (o->limbo)
        return (struct engine_answer){
            .event = ENGINE_UNKNOWN, .exit_code = -1, .text = "its node died in mid-start"};
    if (o->starts == 0)
        return (struct engine_answer){.event = ENGINE_REFUSED, .exit_code = -1, .text = "No such image"};
    return started(o);
}

static bool settled(const struct container *o)
{
    return o->state != OBJECT_CREATED || o->limbo;
}

static void settle(struct world *w, struct container *o)
{
    engine_tell(w, o->settling, outcome(o));
    memset(o->settling, 0, sizeof(o->settling));
}

/* May this update go through? What arrives late has no sender any more that would read the version again. */
static bool swaps(struct world *w, const struct event *e, const struct container *o)
{
    return e->call.late ? e->call.version == o->version : w->quiet || !chance(w, 30);
}

void swarm_release(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE || o->label != e->call.epoch) {
        a.event = ENGINE_REFUSED;
        a.text = "no such service, or its epoch is another's";
    } else if (o->replicas > 0) { /* the same again: nothing comes of it */
        if (!settled(o)) {
            await_task(o, e);
            return;
        }
        a = outcome(o);
        a.ticket = e->call.ticket;
    } else if (!swaps(w, e, o)) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "update out of sequence";
    } else {
        o->replicas = 1;
        o->version++;
        plan(w, EVENT_TASK, often_short(w, 300, 20000))->id = alloc_text(o->id);
        if (w->quiet || !chance(w, 20)) {
            await_task(o, e);
            return;
        }
        a.event = ENGINE_UNKNOWN;
        a.text = "reply lost";
    }
    engine_answer(w, e, a, NULL);
}

void swarm_fence(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_UNKNOWN;
        a.text = "no such service";
    } else if (settled(o)) {
        a = outcome(o);
        a.ticket = e->call.ticket;
    } else if (o->replicas > 0) {
        await_task(o, e);
        return;
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

void swarm_discard(struct world *w, struct container *o)
{
    if (!o || o->state == OBJECT_GONE)
        return;
    if (o->replicas > 0 && !(settled(o) && o->starts == 0))
        violation(w, "%s#%d: its service is deleted after its start", o->run, o->attempt);
    object_gone(o);
}

void swarm_task(struct world *w, struct event *e)
{
    struct container *o = object_by_id(w, e->id);

    if (settled(o))
        return; /* deleted */
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
    if (!w->hosts[o->host].down)
        settle(w, o);
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

/* Of those that wait for a task to be settled: whoever sent the start does not know, and a fence comes again. */
void swarm_unreachable(struct world *w, struct container *o)
{
    for (int i = 0; i < REPLICAS; i++) {
        struct watcher *waiting = &o->settling[i];
        struct event to = {.replica = i, .life = w->replicas[i].life, .link = waiting->link};

        if (waiting->ticket)
            engine_answer(w, &to,
                          (struct engine_answer){
                              .ticket = waiting->ticket,
                              .event = waiting->op == ENGINE_RELEASE ? ENGINE_UNKNOWN : ENGINE_UNREACHABLE,
                              .exit_code = -1,
                              .text = "the engine went away",
                          },
                          NULL);
    }
    memset(o->settling, 0, sizeof(o->settling));
}
