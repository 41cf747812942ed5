/* What others than cronsched do to objects. Somebody starts one by hand: one that is prepared, that runs, or that has
 * ended. Or the supervisor of one is killed: its work lives on until the engine ends it, and nobody knows how it would
 * have ended. An engine tells its scheduler of whatever runs and is kept by nobody.
 */
#include "tests/sim/sim.h"

static bool is_visible(const struct world *w, const struct container *o)
{
    return !w->hosts[o->host].down && (w->quiet || o->identity == w->hosts[o->host].identity);
}

static void look_soon(struct world *w, int64_t within_ms)
{
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].scheduler)
            plan_for(&w->replicas[i], EVENT_LOOK, between(w, 0, within_ms));
}

static void start_again(struct world *w, struct container *o)
{
    bool running = o->state == OBJECT_RUNNING;

    w->started_again++;
    o->starts++;
    o->by_others++;
    tell(w, "somebody starts %s of %s#%d: start %d", o->id, o->run, o->attempt, o->starts);
    if (!running) {
        o->state = OBJECT_RUNNING;
        o->started_ms = o->started_ms ? o->started_ms : w->now_ms;
        object_exit_later(w, o, chance(w, 300) ? between(w, 1000, 90000) : between(w, 5, 8000), 0);
    }
    engine_tell(w, o->watchers,
                (struct engine_answer){.event = ENGINE_STARTED,
                                       .started_ms = o->started_ms,
                                       .starts = o->starts,
                                       .text = "somebody else started it again"});
    look_soon(w, 2000);
}

static void kill_supervisor(struct world *w, struct container *o)
{
    w->supervisors++;
    tell(w, "the supervisor of %s of %s is killed", o->id, o->run);
    o->orphaned = true;
    object_exit_later(w, o, between(w, 0, 3000), 137);
}

void stranger_at_random(struct world *w)
{
    struct container *picked = NULL;
    bool running = chance(w, 500);
    uint64_t seen = 0;

    LIST_EACH(link, &w->living)
    {
        struct container *o = LIST_ITEM(link, struct container, living);

        if (w->hosts[o->host].swarm || !is_visible(w, o) || o->limbo || o->orphaned ||
            (running && o->state != OBJECT_RUNNING))
            continue;
        if (draw(w) % ++seen == 0)
            picked = o;
    }
    if (!picked)
        return;
    if (picked->state == OBJECT_RUNNING && picked->by_others == 0 && chance(w, 400))
        kill_supervisor(w, picked);
    else
        start_again(w, picked);
}

static bool is_told(const struct replica *r, const struct container *o)
{
    return r->scheduler && o->strays[r->number].life == r->life && o->strays[r->number].link == r->link;
}

bool stranger_is_told(const struct world *w, const struct container *o)
{
    for (int i = 0; i < w->replica_count; i++)
        if (is_told(&w->replicas[i], o))
            return true;
    return false;
}

void stranger_look(struct replica *r)
{
    struct world *w = r->world;
    struct engine_host *host = scheduler_engine_host(r->scheduler);

    if (host->epoch(host) == 0)
        return;
    LIST_EACH_SAFE(link, &w->living)
    {
        struct container *o = LIST_ITEM(link, struct container, living);
        struct engine *engine = &r->engines[o->host].engine;
        bool told = is_told(r, o), runs = o->state == OBJECT_RUNNING;

        if (w->hosts[o->host].swarm || !is_visible(w, o) || told == runs)
            continue;
        if (runs && host->keep(host, o->run, o->attempt, o->epoch, o->id))
            continue;
        tell(w, "r%d hears that %s of %s %s, which nobody keeps", r->number, o->id, o->run,
             runs ? "runs" : "runs no longer");
        o->strays[r->number] = (struct stray_note){runs ? r->life : 0, r->link, w->now_ms};
        w->strays += runs;
        host->stray(host, engine, o->run, o->attempt, o->id, runs);
    }
}

void stranger_ended(struct world *w, const struct container *o)
{
    if (stranger_is_told(w, o))
        look_soon(w, 1000);
}
