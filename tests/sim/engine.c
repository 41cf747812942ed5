/* Engine hosts and the objects on them. As a real engine: starting an exited object runs it again, requests
 * arrive late or after their sender's death, replies get lost, an engine that dies in mid-start leaves
 * nothing but the witness. */
#include "jobs/state/run_id.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define SLOW_STOP_MS 45000 /* beyond the grace of a stop and the leader's patience */

static struct sim_engine *of_engine(struct engine *engine)
{
    return LIST_ITEM(engine, struct sim_engine, engine);
}

static int engine_check(const struct engine *engine, const struct job *job, struct error *error)
{
    (void)engine;
    (void)job;
    (void)error;
    return 0;
}

/* ---- two engines under one name ---- */

static const char *identity_of(const struct world *w, int host, char ret[ENGINE_IDENTITY_MAX])
{
    snprintf(ret, ENGINE_IDENTITY_MAX, "%s-%d", w->hosts[host].name, w->hosts[host].identity);
    return ret;
}

/* In the end every engine is reached, through one replica or another. */
static bool is_reached(const struct world *w, const struct container *o)
{
    return w->quiet || o->identity == w->hosts[o->host].identity;
}

/* ---- requests and answers on their way ---- */

void engine_answer(struct world *w, const struct event *to, struct engine_answer a, const char *id)
{
    struct event *e;

    if (to->call.late)
        return;
    e = plan(w, EVENT_ANSWER, often_short(w, 30, 3000));
    e->replica = to->replica;
    e->life = to->life;
    e->link = to->link;
    e->answer = a;
    e->id = alloc_text(id);
    e->text = alloc_text(a.text);
    e->identity = alloc_text(a.identity);
}

static void submit(struct engine *engine, enum engine_op op, const struct engine_request *q)
{
    struct sim_engine *from = of_engine(engine);
    struct world *w = from->world;
    struct replica *r = &w->replicas[from->replica];
    bool lost = op == ENGINE_RELEASE && !w->quiet && chance(w, 20);
    bool slow = op == ENGINE_STOP && w->o.slow_stops && !w->quiet;
    int64_t usual_ms = slow ? between(w, SLOW_STOP_MS, 2 * SLOW_STOP_MS) : often_short(w, 60, 3000);
    struct event *e = plan_for(r, EVENT_CALL, lost ? between(w, 0, 20000) : usual_ms);

    if (q->id && op == ENGINE_PREPARE)
        violation(w, "%s: PREPARE of what has an id", q->run);
    const struct container *o = q->id ? object_by_id(w, q->id) : NULL;

    e->host = from->host;
    e->call =
        (struct call_copy){.op = op,
                           .ticket = q->ticket,
                           .name = alloc_text(q->name),
                           .id = alloc_text(q->id),
                           .run = alloc_text(q->run),
                           .pool = alloc_text(q->job->pool),
                           .identity = alloc_text(q->identity),
                           .attempt = q->attempt,
                           .epoch = q->epoch,
                           .sender_epoch = r->epoch,
                           .version = o ? o->version : 0,
                           .unresolved = q->unresolved || !q->started_ms,
                           .sent_ms = w->now_ms,
                           .forbids = q->job->concurrency == JOB_FORBID || q->job->concurrency == JOB_QUEUE,
                           .alone = q->job->concurrency != JOB_ALLOW};
    if (lost) {
        engine_answer(
            w, e, (struct engine_answer){.ticket = q->ticket, .event = ENGINE_UNKNOWN, .text = "reply lost"},
            NULL);
        e->call.late = true;
    }
}

static void abandon(struct engine *engine)
{
    struct sim_engine *e = of_engine(engine);

    e->world->replicas[e->replica].link++;
}

static void status(const struct engine *engine, struct engine_status *ret)
{
    const struct sim_engine *e = LIST_ITEM(engine, const struct sim_engine, engine);

    *ret = (struct engine_status){.reachable = true};
    identity_of(e->world, e->host, ret->identity);
}

void engines_init(struct replica *r)
{
    static const struct engine_ops ops = {
        .check = engine_check, .submit = submit, .abandon = abandon, .status = status};

    for (int i = 0; i < HOSTS; i++) {
        r->engines[i] = (struct sim_engine){
            .engine = {.ops = &ops,
                       .name = r->world->hosts[i].name,
                       .type = r->world->hosts[i].swarm ? "swarm" : "docker",
                       .max_armed = 12,
                       .hands_over = true},
            .world = r->world,
            .replica = r->number,
            .host = i,
        };
        r->engine_list[i] = &r->engines[i].engine;
    }
}

/* ---- objects ---- */

struct container *object_by_id(struct world *w, const char *id)
{
    struct container *o = NULL;

    HASH_FIND(by_id, w->objects, id, strlen(id), o);
    return o;
}

void object_gone(struct container *o)
{
    o->state = OBJECT_GONE;
    list_remove(&o->living);
}

static struct container *object_make(struct world *w, const struct call_copy *c, int host)
{
    struct container *o = alloc_zero(sizeof(*o)), *older = NULL;
    int64_t at_ms;
    bool has_ms;
    char job[RUN_ID_MAX];

    snprintf(o->id, sizeof(o->id), "id-%llu", (unsigned long long)++w->object_count);
    snprintf(o->name, sizeof(o->name), "%s", c->name);
    snprintf(o->run, sizeof(o->run), "%s", c->run);
    snprintf(o->pool, sizeof(o->pool), "%s", c->pool ? c->pool : "");
    run_id_parse(c->run, job, &at_ms, &has_ms);
    snprintf(o->job, sizeof(o->job), "%.*s", JOB_NAME_MAX, job);
    o->host = host;
    o->identity = w->hosts[host].identity;
    o->attempt = c->attempt;
    o->epoch = o->label = c->epoch;
    o->alone = c->alone;
    o->forbids = c->forbids;
    o->prepared_ms = w->now_ms;
    HASH_FIND(by_name, w->object_names, o->name, strlen(o->name), older);
    if (older)
        HASH_DELETE(by_name, w->object_names, older);
    list_append(&w->living, &o->living);
    HASH_ADD_KEYPTR(by_name, w->object_names, o->name, strlen(o->name), o);
    HASH_ADD_KEYPTR(by_id, w->objects, o->id, strlen(o->id), o);
    return o;
}

void engines_release(struct world *w)
{
    struct container *o, *next;

    HASH_CLEAR(by_name, w->object_names);
    HASH_ITER(by_id, w->objects, o, next)
    {
        HASH_DELETE(by_id, w->objects, o);
        free(o);
    }
}

static struct engine_answer ended(const struct container *o, uint64_t ticket)
{
    if (o->orphaned)
        return (struct engine_answer){
            .ticket = ticket, .event = ENGINE_UNKNOWN, .exit_code = -1, .text = "its node is gone"};
    return (struct engine_answer){.ticket = ticket,
                                  .event = ENGINE_ENDED,
                                  .started_ms = o->started_ms,
                                  .at_ms = o->ended_ms,
                                  .exit_code = o->exit_code,
                                  .starts = o->by_others ? o->starts : 0,
                                  .cause = "exit"};
}

void engine_tell(struct world *w, struct watcher *waiting, struct engine_answer a)
{
    for (int i = 0; i < REPLICAS; i++) {
        struct event to = {.replica = i, .life = w->replicas[i].life, .link = waiting[i].link};

        a.ticket = waiting[i].ticket;
        if (a.ticket)
            engine_answer(w, &to, a, NULL);
    }
}

/* To all that watch it, and are still there. */
static void tell_watchers(struct world *w, struct container *o, struct engine_answer a, bool last)
{
    engine_tell(w, o->watchers, a);
    if (last)
        memset(o->watchers, 0, sizeof(o->watchers));
}

void object_exit(struct world *w, struct container *o, int code, const char *cause)
{
    if (o->state != OBJECT_RUNNING)
        return;
    o->state = OBJECT_EXITED;
    o->exit_code = code;
    o->exit_codes |= UINT64_C(1) << (code & 63);
    o->ended_ms = w->now_ms;
    if (o->counted)
        monitor_run(w, o->run)->executing--;
    o->counted = false;
    tell(w, "%s of %s exits with %d by %s", o->id, o->run, code, cause);
    if (!w->hosts[o->host].down && is_reached(w, o))
        tell_watchers(w, o, ended(o, 0), true);
    stranger_ended(w, o);
}

void object_exit_later(struct world *w, const struct container *o, int64_t delay_ms, int code)
{
    struct event *e = plan(w, EVENT_EXIT, delay_ms);

    e->id = alloc_text(o->id);
    e->index = (uint64_t)code;
}

void object_start(struct world *w, struct container *o)
{
    int code;

    o->starts++;
    w->starts++;
    tell(w, "%s of %s#%d STARTS", o->id, o->run, o->attempt);
    monitor_start(w, o);
    o->state = OBJECT_RUNNING;
    o->started_ms = w->now_ms;
    monitor_run(w, o->run)->executing++;
    o->counted = true;
    code = chance(w, 150) ? 1 : 0;
    object_exit_later(w, o, chance(w, 50) ? between(w, 1000, 90000) : between(w, 5, 4000), code);
}

void object_start_breaks(struct world *w, struct container *o)
{
    object_start(w, o); /* and here the engine dies, and what it had started with it */
    monitor_run(w, o->run)->executing--;
    o->counted = false;
    o->state = OBJECT_CREATED;
    o->limbo = true;
    tell(w, "host %s dies in mid-start of %s", w->hosts[o->host].name, o->id);
}

/* ---- requests that have arrived ---- */

static void call_prepare(struct world *w, struct event *e, struct engine_answer a)
{
    char identity[ENGINE_IDENTITY_MAX];
    struct container *o = NULL;

    if (chance(w, 10)) {
        a.event = ENGINE_REFUSED;
        a.text = "no such image";
        engine_answer(w, e, a, NULL);
        return;
    }
    HASH_FIND(by_name, w->object_names, e->call.name, strlen(e->call.name), o);
    if (!o || o->state == OBJECT_GONE || o->identity != w->hosts[e->host].identity)
        o = object_make(w, &e->call, e->host);
    if (o->starts > o->by_others || strcmp(o->run, e->call.run) != 0 || o->attempt != e->call.attempt)
        violation(w, "PREPARE of %s#%d finds an object of %s#%d that was started %d times", e->call.run,
                  e->call.attempt, o->run, o->attempt, o->starts);
    a.event = ENGINE_PREPARED;
    a.identity = identity_of(w, e->host, identity);
    engine_answer(w, e, a, o->id);
}

static void call_release(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE || o->sealed) {
        a.event = ENGINE_REFUSED;
        a.text = "no such object, or it is sealed";
    } else if (o->starts > 0 && o->starts == o->by_others && (o->state == OBJECT_RUNNING || chance(w, 700))) {
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
        a.text = "somebody else had started it before its release";
    } else if (o->state == OBJECT_CREATED && chance(w, 5)) {
        o->state = OBJECT_EXITED;
        o->exit_code = a.exit_code = 127;
        o->exit_codes |= UINT64_C(1) << 63;
        a.event = ENGINE_REFUSED;
        a.text = "no such command";
    } else if (o->state == OBJECT_CREATED && !w->quiet && chance(w, 3)) {
        object_start_breaks(w, o);
        host_changes(w, e->host);
        a.event = ENGINE_UNKNOWN;
        a.text = "the engine went away";
    } else {
        if (o->state != OBJECT_RUNNING)
            object_start(w, o); /* an exited one runs again */
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
        if (!w->quiet && chance(w, 20)) {
            a.event = ENGINE_UNKNOWN;
            a.text = "reply lost";
        }
    }
    engine_answer(w, e, a, NULL);
}

static void call_fence(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    a.text = "by the simulated engine";
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_UNKNOWN;
        a.text = "no such object";
    } else if (o->limbo) {
        a.event = ENGINE_UNKNOWN;
        a.text = "a witness, and no start";
    } else if (o->state == OBJECT_CREATED) {
        o->sealed = true;
        a.event = ENGINE_NEVER_RAN;
    } else if (o->starts == 0) {
        a.event = ENGINE_REFUSED;
        a.exit_code = o->exit_code;
    } else if (o->state == OBJECT_EXITED && chance(w, 500)) {
        a = ended(o, e->call.ticket);
    } else {
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
    }
    engine_answer(w, e, a, NULL);
}

static void call_watch(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_UNKNOWN;
        a.text = "gone without evidence";
        engine_answer(w, e, a, NULL);
        return;
    }
    if (w->hosts[e->host].down) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "the engine is down";
        engine_answer(w, e, a, NULL);
    } else if (swarm_watch(w, o, &a)) {
        a.ticket = e->call.ticket;
        engine_answer(w, e, a, NULL);
        if (a.event != ENGINE_PENDING)
            return;
    } else if (o->state == OBJECT_EXITED) {
        engine_answer(w, e, ended(o, e->call.ticket), NULL);
        return;
    }
    if ((e->call.unresolved || o->starts > 1) && o->state == OBJECT_RUNNING && !w->hosts[e->host].down) {
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
        a.starts = o->by_others ? o->starts : 0;
        engine_answer(w, e, a, NULL);
    }
    if (e->link >= o->watchers[e->replica].link) /* not one of an earlier life, which comes late */
        o->watchers[e->replica] = (struct watcher){e->replica, e->link, e->call.ticket};
}

static void call_stop(struct world *w, struct event *e, struct container *o, struct engine_answer a)
{
    if (o && o->state == OBJECT_RUNNING) {
        bool stubborn = chance(w, 100);

        if (stubborn)
            object_exit_later(w, o, 10000, 137);
        else
            object_exit_later(w, o, between(w, 0, 2000), 143);
    }
    swarm_withdraw(w, o);
    a.event = ENGINE_DONE;
    engine_answer(w, e, a, NULL);
}

/* A watch stays, and hears of it when its engine is back. */
static void call_elsewhere(struct world *w, struct event *e, struct container *o, const char *text)
{
    struct engine_answer a = {
        .ticket = e->call.ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = text};

    w->elsewhere++;
    if (e->call.op != ENGINE_DISCARD)
        engine_answer(w, e, a, NULL);
    if (e->call.op == ENGINE_WATCH && o && e->link >= o->watchers[e->replica].link)
        o->watchers[e->replica] = (struct watcher){e->replica, e->link, e->call.ticket};
}

void engine_call(struct world *w, struct event *e)
{
    struct container *o = e->call.id ? object_by_id(w, e->call.id) : NULL;
    struct engine_answer a = {.ticket = e->call.ticket, .exit_code = -1};
    char identity[ENGINE_IDENTITY_MAX], text[ENGINE_IDENTITY_MAX * 3];

    tell(w, "host %s: %s %s#%d %s %s", w->hosts[e->host].name, engine_op_name(e->call.op), e->call.run,
         e->call.attempt, e->call.id ? e->call.id : "", e->call.identity ? e->call.identity : "");
    if (w->hosts[e->host].down && e->call.op != ENGINE_WATCH) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "the engine is down";
        if (e->call.op != ENGINE_DISCARD)
            engine_answer(w, e, a, NULL);
        return;
    }
    if (!w->quiet &&
        engine_is_another(identity_of(w, e->host, identity), e->call.identity, text, sizeof(text))) {
        call_elsewhere(w, e, o, text);
        return;
    }
    if (o && !is_reached(w, o))
        o = NULL; /* nobody asked which engine it is */
    switch (e->call.op) {
    case ENGINE_PREPARE:
        call_prepare(w, e, a);
        break;
    case ENGINE_RELEASE:
        if (o && e->call.sender_epoch <= o->handed_epoch)
            violation(w, "%s#%d: a start request of epoch %lld, which has handed it over", o->run, o->attempt,
                      (long long)e->call.sender_epoch);
        if (o)
            o->released = (struct release_note){e->replica, e->life, e->link, e->call.sent_ms};
        (w->hosts[e->host].swarm ? swarm_release : call_release)(w, e, o, a);
        break;
    case ENGINE_FENCE:
        (w->hosts[e->host].swarm ? swarm_fence : call_fence)(w, e, o, a);
        break;
    case ENGINE_WATCH:
        call_watch(w, e, o, a);
        break;
    case ENGINE_STOP:
        call_stop(w, e, o, a);
        break;
    case ENGINE_DISCARD:
        if (w->hosts[e->host].swarm)
            swarm_discard(w, o);
        else if (o && o->state == OBJECT_CREATED && !o->limbo)
            object_gone(o);
        break;
    }
}

/* ---- hosts ---- */

static void host_down(struct world *w, int host, bool killed)
{
    tell(w, "host %s is DOWN%s", w->hosts[host].name, killed ? ", killed" : "");
    w->hosts[host].down = true;
    LIST_EACH_SAFE(link, &w->living)
    {
        struct container *o = LIST_ITEM(link, struct container, living);
        if (o->host != host || !is_reached(w, o) || o->state == OBJECT_EXITED)
            continue;
        if (killed && o->state == OBJECT_RUNNING && chance(w, 500)) {
            if (w->hosts[host].swarm)
                swarm_node_lost(w, o);
            else
                object_exit(w, o, 137, "engine");
        }
        tell_watchers(
            w, o, (struct engine_answer){.event = ENGINE_UNREACHABLE, .text = "the engine went away"}, false);
    }
}

/* An engine notices that it can reach its host again. */
static void tell_replicas(struct world *w, int host)
{
    for (int i = 0; i < w->replica_count; i++) {
        struct replica *r = &w->replicas[i];
        struct engine_host *to = r->scheduler ? scheduler_engine_host(r->scheduler) : NULL;

        if (to && r->frozen_until_ms <= w->now_ms && chance(w, 800))
            to->back(to, &r->engines[host].engine);
    }
}

static void tell_states(struct world *w, int host)
{
    struct engine_answer a;

    LIST_EACH_SAFE(link, &w->living)
    {
        struct container *o = LIST_ITEM(link, struct container, living);
        if (o->host != host || !is_reached(w, o))
            continue;
        if (swarm_watch(w, o, &a))
            tell_watchers(w, o, a, a.event != ENGINE_PENDING);
        else if (o->state == OBJECT_EXITED)
            tell_watchers(w, o, ended(o, 0), true);
        else if (o->state == OBJECT_RUNNING)
            tell_watchers(w, o,
                          (struct engine_answer){.event = ENGINE_STARTED,
                                                 .started_ms = o->started_ms,
                                                 .starts = o->by_others ? o->starts : 0},
                          false);
    }
}

/* Sometimes it is the other engine that answers now; what is on the first one goes on there. */
static void host_up(struct world *w, int host)
{
    struct host *h = &w->hosts[host];

    if (!h->swarm && !w->quiet && chance(w, 150)) {
        h->identity = !h->identity;
        w->replaced++;
    }
    tell(w, "host %s is UP, engine %d", h->name, h->identity);
    h->down = false;
    tell_replicas(w, host);
    tell_states(w, host);
}

/* Those that were asked about while another engine answered. */
static void tell_gone(struct world *w)
{
    struct container *o, *next;

    HASH_ITER(by_id, w->objects, o, next)
    {
        if (o->state == OBJECT_GONE)
            tell_watchers(w, o,
                          (struct engine_answer){
                              .event = ENGINE_UNKNOWN, .exit_code = -1, .text = "gone without evidence"},
                          true);
    }
}

void hosts_rest(struct world *w)
{
    tell_gone(w);
    for (int i = 0; i < HOSTS; i++) {
        if (w->hosts[i].down)
            host_changes(w, i);
        tell_states(w, i);
    }
}

void host_changes(struct world *w, int host)
{
    struct host *h = &w->hosts[host];

    struct event *next;

    if (h->down)
        host_up(w, host);
    else if (!w->quiet)
        host_down(w, host, chance(w, 300));
    if (w->quiet)
        return;
    next = plan(w, EVENT_HOST, h->down ? often_short(w, 15000, 200000) : between(w, 10000, 300000));
    next->host = host;
    next->index = ++h->changes; /* the one planned before counts no more */
}

/* What its leader does not want to keep, of its own epoch and those before. */
void host_sweep(struct world *w, struct replica *r)
{
    struct engine_host *host = scheduler_engine_host(r->scheduler);
    int64_t epoch = host->epoch(host);

    if (epoch == 0)
        return;
    LIST_EACH_SAFE(link, &w->living)
    {
        struct container *o = LIST_ITEM(link, struct container, living);
        bool old = w->now_ms - (o->state == OBJECT_EXITED ? o->ended_ms : o->prepared_ms) > 3000;

        if ((o->state != OBJECT_CREATED && o->state != OBJECT_EXITED) || !old || !is_reached(w, o) ||
            stranger_is_told(w, o) || o->epoch > epoch || w->hosts[o->host].down ||
            host->keep(host, o->run, o->attempt, o->epoch, o->id))
            continue;
        tell(w, "r%d sweeps %s of %s#%d", r->number, o->id, o->run, o->attempt);
        object_gone(o);
        o->swept = true;
    }
}
