/* Random numbers, events, and the course of one world: faults and requests for some minutes, then quiet, in
 * which everything must come to rest. */
#include "tests/sim/sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FIRST_LEADER_MS 20000
#define STEPS_WATCHED   256 /* together they may take so much of the processor: */
#define STEPS_CPU_S     60

double monotonic_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- chance ---- */

uint64_t draw(struct world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}

int64_t between(struct world *w, int64_t least, int64_t most)
{
    return least + (int64_t)(draw(w) % (uint64_t)(most - least + 1));
}

bool chance(struct world *w, int per_mille)
{
    return (int)(draw(w) % 1000) < per_mille;
}

int64_t often_short(struct world *w, int64_t usual_ms, int64_t longest_ms)
{
    return between(w, 0, chance(w, 30) ? longest_ms : usual_ms);
}

/* ---- words ---- */

void violation(struct world *w, const char *format, ...)
{
    va_list ap;

    if (w->failures++ > 0)
        return; /* what follows from the first says nothing new */
    va_start(ap, format);
    fprintf(stderr, "VIOLATION at +%.3f s, step %llu: ", (double)(w->now_ms - START_MS) / 1000,
            (unsigned long long)w->steps);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nreplay: sim --seed %llu --worlds 1 --minutes %lld --verbose%s\n",
            (unsigned long long)w->seed, (long long)w->o.minutes, w->o.slow_stops ? " --slow-stops" : "");
}

void tell(struct world *w, const char *format, ...)
{
    va_list ap;

    if (!w->o.verbose)
        return;
    fprintf(stderr, "%10.3f ", (double)(w->now_ms - START_MS) / 1000);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- events ---- */

struct event *plan(struct world *w, enum event_kind kind, int64_t delay_ms)
{
    struct event *e = alloc_zero(sizeof(*e));

    e->kind = kind;
    e->replica = -1;
    e->at.seq = w->event_seq++;
    heap_set(&w->events, &e->at, w->now_ms + delay_ms);
    return e;
}

struct event *plan_for(struct replica *r, enum event_kind kind, int64_t delay_ms)
{
    struct event *e = plan(r->world, kind, delay_ms);

    e->replica = r->number;
    e->life = r->life;
    e->link = r->link;
    return e;
}

void event_free(struct event *e)
{
    free(e->call.name);
    free(e->call.id);
    free(e->call.run);
    free(e->call.pool);
    free(e->call.identity);
    free(e->id);
    free(e->text);
    free(e->identity);
    free(e);
}

void event_cancel(struct world *w, struct event *e)
{
    heap_remove(&w->events, &e->at);
    event_free(e);
}

/* What happens to a process that is gone does not happen; to one that is frozen, later. */
static bool reaches(struct world *w, struct event *e)
{
    struct replica *r = e->replica >= 0 ? &w->replicas[e->replica] : NULL;

    if (!r || e->kind == EVENT_START || e->kind == EVENT_CALL)
        return true;
    if (!r->scheduler || r->life != e->life)
        return false;
    if (r->frozen_until_ms > w->now_ms) {
        struct event *again = plan_for(r, e->kind, r->frozen_until_ms - w->now_ms);
        uint64_t seq = e->at.seq;

        again->link = e->link;
        again->answer = e->answer;
        again->index = e->index;
        again->id = e->id;
        again->text = e->text;
        again->identity = e->identity;
        heap_remove(&w->events, &again->at);
        again->at.seq = seq; /* in the order of their coming */
        heap_set(&w->events, &again->at, r->frozen_until_ms);
        if (r->wake == e)
            r->wake = again;
        e->id = e->text = e->identity = NULL;
        return false;
    }
    return true;
}

static void on_wake(struct world *w, struct event *e)
{
    struct replica *r = &w->replicas[e->replica];

    if (r->wake == e)
        r->wake = NULL;
    scheduler_tick(r->scheduler);
}

static void on_ack(struct world *w, struct event *e)
{
    struct replica *r = &w->replicas[e->replica];

    if (r->link == e->link && scheduler_leading(r->scheduler) && e->index > r->scheduler->acked)
        scheduler_journal_events.acked(r->scheduler, e->index);
}

static void on_deposed(struct world *w, struct event *e)
{
    struct replica *r = &w->replicas[e->replica];

    if (scheduler_leading(r->scheduler) && r->epoch == (int64_t)e->index)
        replica_depose(r, "told so");
}

static void on_call(struct world *w, struct event *e)
{
    engine_call(w, e);
}

static void on_answer(struct world *w, struct event *e)
{
    struct replica *r = &w->replicas[e->replica];
    struct engine_host *host;

    if (r->link != e->link)
        return;
    host = scheduler_engine_host(r->scheduler);
    e->answer.id = e->id;
    e->answer.text = e->text;
    e->answer.identity = e->identity;
    host->answer(host, &e->answer);
}

static void on_exit_event(struct world *w, struct event *e)
{
    struct container *o = object_by_id(w, e->id);

    if (o)
        object_exit(w, o, (int)e->index, "exit");
}

static void on_start(struct world *w, struct event *e)
{
    struct replica *r = &w->replicas[e->replica];

    if (r->scheduler)
        return;
    if (w->now_ms < w->recover_ms) /* the person has not said yet that it goes on */
        plan_for(r, EVENT_START, w->recover_ms - w->now_ms + between(w, 0, 1000));
    else
        replica_start(r);
}

static void on_lead(struct world *w, struct event *e)
{
    if (w->leader < 0)
        replica_lead(&w->replicas[e->replica]);
}

static void on_fault(struct world *w, struct event *e)
{
    (void)e;
    if (w->quiet)
        return;
    fault_at_random(w);
    plan(w, EVENT_FAULT, between(w, 200, 40000));
}

static void on_host(struct world *w, struct event *e)
{
    if (e->index == w->hosts[e->host].changes)
        host_changes(w, e->host);
}

static void on_sweep(struct world *w, struct event *e)
{
    host_sweep(w, &w->replicas[e->replica]);
    stranger_look(&w->replicas[e->replica]);
    plan_for(&w->replicas[e->replica], EVENT_SWEEP, between(w, 1000, 30000));
}

static void on_request(struct world *w, struct event *e)
{
    (void)e;
    if (w->quiet)
        return;
    client_request(w);
    plan(w, EVENT_REQUEST, between(w, 20, 12000));
}

static void on_history(struct world *w, struct event *e)
{
    w->replicas[e->replica].kept = w->replicas[e->replica].told;
}

static void on_zones(struct world *w, struct event *e)
{
    replica_zones(&w->replicas[e->replica]);
}

static void on_commit(struct world *w, struct event *e)
{
    if (w->in_flight_count && w->epoch == (int64_t)e->index)
        journal_commit_one(w);
}

static void on_seat(struct world *w, struct event *e)
{
    ensemble_on_seat(&w->replicas[e->replica]);
}

static void on_tick(struct world *w, struct event *e)
{
    ensemble_on_tick(&w->replicas[e->replica]);
}

static void on_connect(struct world *w, struct event *e)
{
    ensemble_on_connect(&w->replicas[e->replica]);
}

static void on_gone(struct world *w, struct event *e)
{
    ensemble_on_gone(&w->replicas[e->replica], (int64_t)e->index);
}

static void on_session(struct world *w, struct event *e)
{
    ensemble_on_session(w, e->host, (int64_t)e->index);
}

static void on_tree(struct world *w, struct event *e)
{
    if (w->quiet)
        return;
    ensemble_goes_wrong(w);
    plan(w, EVENT_TREE, between(w, 1000, 200000));
}

static void on_right(struct world *w, struct event *e)
{
    ensemble_on_right(w);
}

static void on_recover(struct world *w, struct event *e)
{
    loss_recover(w);
}

static void on_stranger(struct world *w, struct event *e)
{
    if (w->quiet)
        return;
    stranger_at_random(w);
    plan(w, EVENT_STRANGER, between(w, 500, 40000));
}

static void on_look(struct world *w, struct event *e)
{
    stranger_look(&w->replicas[e->replica]);
}

static void on_loss(struct world *w, struct event *e)
{
    if (w->quiet)
        return;
    loss_begin(w);
    plan(w, EVENT_LOSS, between(w, 60000, 300000));
}

static void on_end(struct world *w, struct event *e)
{
    replica_crash(&w->replicas[e->replica]);
}

static const struct {
    const char *name;
    void (*happen)(struct world *w, struct event *e);
} kinds[EVENT_KIND_COUNT] = {
    [EVENT_WAKE] = {"wake", on_wake},
    [EVENT_COMMIT] = {"commit", on_commit},
    [EVENT_ACK] = {"ack", on_ack},
    [EVENT_DEPOSED] = {"deposed", on_deposed},
    [EVENT_CALL] = {"call", on_call},
    [EVENT_ANSWER] = {"answer", on_answer},
    [EVENT_TASK] = {"task", swarm_task},
    [EVENT_EXIT] = {"exit", on_exit_event},
    [EVENT_START] = {"start", on_start},
    [EVENT_LEAD] = {"lead", on_lead},
    [EVENT_FAULT] = {"fault", on_fault},
    [EVENT_HOST] = {"host", on_host},
    [EVENT_SWEEP] = {"sweep", on_sweep},
    [EVENT_REQUEST] = {"request", on_request},
    [EVENT_HISTORY] = {"history", on_history},
    [EVENT_ZONES] = {"zones", on_zones},
    [EVENT_SEAT] = {"seat", on_seat},
    [EVENT_TICK] = {"tick", on_tick},
    [EVENT_CONNECT] = {"connect", on_connect},
    [EVENT_GONE] = {"gone", on_gone},
    [EVENT_SESSION] = {"session", on_session},
    [EVENT_END] = {"end", on_end},
    [EVENT_TREE] = {"tree", on_tree},
    [EVENT_RIGHT] = {"right", on_right},
    [EVENT_RECOVER] = {"recover", on_recover},
    [EVENT_STRANGER] = {"stranger", on_stranger},
    [EVENT_LOOK] = {"look", on_look},
    [EVENT_LOSS] = {"loss", on_loss},
};

/* Schedulers flush once a turn, before they sleep; a turn may hold several events of the same instant. */
static void flush_all(struct world *w)
{
    struct heap_item *next = heap_first(&w->events);
    bool same_instant = next && next->at <= w->now_ms;

    for (int i = 0; i < w->replica_count; i++) {
        struct replica *r = &w->replicas[i];

        if (r->scheduler && r->frozen_until_ms <= w->now_ms && (!same_instant || chance(w, 500)))
            scheduler_flush(r->scheduler);
    }
}

/* A scheduler that goes round in circles is no leader. */
static const struct world *running;

static void on_stuck(int number)
{
    violation((struct world *)(uintptr_t)running, "a step does not end");
    _exit(1);
}

static void on_abort(int number)
{
    violation((struct world *)(uintptr_t)running, "an assertion failed");
    _exit(1);
}

static void watch_out(const struct world *w)
{
    static const struct itimerval limit = {.it_value = {.tv_sec = STEPS_CPU_S}};

    running = w;
    signal(SIGVTALRM, on_stuck);
    signal(SIGABRT, on_abort);
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

static void step(struct world *w)
{
    struct heap_item *item = heap_first(&w->events);
    struct event *e = LIST_ITEM(item, struct event, at);

    heap_remove(&w->events, item);
    if (item->at > w->now_ms)
        w->now_ms = item->at;
    if (w->steps++ % STEPS_WATCHED == 0) {
        watch_out(w);
        w->cut = w->o.until_s > 0 && monotonic_s() > w->o.until_s;
    }
    w->zoo.now_ms = w->now_ms;
    if (reaches(w, e))
        kinds[e->kind].happen(w, e);
    event_free(e);
    flush_all(w);
    if (w->ensemble)
        ensemble_after_step(w);
    check_step(w);
}

static void steps_until(struct world *w, int64_t until_ms)
{
    while (!w->failures && !w->cut && heap_first(&w->events) && heap_first(&w->events)->at <= until_ms)
        step(w);
    if (w->now_ms < until_ms)
        w->now_ms = until_ms;
}

/* ---- one world ---- */

static bool at_rest(const struct world *w)
{
    const struct replica *r = w->leader >= 0 ? &w->replicas[w->leader] : NULL;

    return r && r->scheduler && r->scheduler->state.run_count == 0 && w->in_flight_count == 0 &&
           r->scheduler->calls == NULL && r->scheduler->pending_batch_count == 0;
}

/* No faults and no requests from here on: what was begun must end, and be accounted for. */
static void come_to_rest(struct world *w)
{
    w->quiet = true;
    clocks_right(w);
    for (int i = 0; i < w->replica_count; i++)
        w->replicas[i].frozen_until_ms = 0;
    hosts_rest(w);
    /* a clock that was ahead stands still for its leader until true time comes; then some minutes as usual */
    steps_until(w, w->now_ms + 900000);
    if (w->failures || w->cut)
        return;
    check_rest(w);
    client_pause_all(w, true);
    for (int idle = 0; idle < 40 && !w->failures && !w->cut && !at_rest(w); idle++) {
        uint64_t ended = w->ended;

        steps_until(w, w->now_ms + 30000);
        idle = w->ended > ended ? 0 : idle; /* many may have been waiting */
    }
    if (!w->failures && !w->cut)
        monitor_final(w);
}

static void world_init(struct world *w, uint64_t seed, const struct sim_options *o, struct zoneinfo *zones)
{
    static const int64_t resolve_ms[] = {3600000, 3600000, 120000};
    static const size_t snapshots[] = {5, 50, 500};

    *w = (struct world){.seed = seed,
                        .rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                        .now_ms = START_MS,
                        .o = *o,
                        .zoneinfo = zones,
                        .leader = -1};
    heap_init(&w->events);
    list_init(&w->living);
    for (int i = 0; i < 8; i++)
        draw(w);
    w->resolve_within_ms = resolve_ms[draw(w) % 3];
    w->snapshot_every = snapshots[draw(w) % 3];
    w->replica_count = chance(w, 500) ? 1 : REPLICAS;
    w->ensemble = w->replica_count == REPLICAS && chance(w, 600);
    w->loses = !w->ensemble && chance(w, 400);
    w->hosts[0].name = "docker";
    w->hosts[1].name = "spare";
    w->hosts[1].swarm = seed % 3 == 1;
    journal_init(w);
    ensemble_init(w);
    for (int i = 0; i < w->replica_count; i++)
        replica_init(w, i);
}

static void world_release(struct world *w)
{
    for (int i = 0; i < w->replica_count; i++) {
        scheduler_free(w->replicas[i].scheduler);
        w->replicas[i].scheduler = NULL;
    }
    ensemble_release(w);
    while (heap_first(&w->events))
        event_cancel(w, LIST_ITEM(heap_first(&w->events), struct event, at));
    heap_release(&w->events);
    journal_release(w);
    engines_release(w);
    monitor_release(w);
}

void world_run(struct world *w, uint64_t seed, const struct sim_options *o, struct zoneinfo *zones)
{
    world_init(w, seed, o, zones);
    replica_start(&w->replicas[0]);
    if (w->ensemble) {
        ensemble_after_step(w);
        steps_until(w, START_MS + FIRST_LEADER_MS);
        if (w->leader != 0 && !w->cut)
            violation(w, "the only one does not lead");
    }
    if (w->replica_count > 1)
        replica_start(&w->replicas[1]);
    if (!w->ensemble)
        replica_lead(&w->replicas[0]);
    if (w->failures || w->cut) {
        world_release(w);
        return;
    }
    client_first_jobs(w);
    scheduler_flush(w->replicas[0].scheduler);
    plan(w, EVENT_FAULT, between(w, 500, 30000));
    plan(w, EVENT_REQUEST, between(w, 100, 3000));
    plan(w, EVENT_STRANGER, between(w, 500, 40000));
    if (w->ensemble)
        plan(w, EVENT_TREE, between(w, 1000, 60000));
    else if (w->loses)
        plan(w, EVENT_LOSS, between(w, 20000, 280000));
    for (int i = 0; i < HOSTS; i++)
        plan(w, EVENT_HOST, between(w, 10000, 300000))->host = i;
    steps_until(w, START_MS + o->minutes * 60000);
    if (!w->failures && !w->cut)
        come_to_rest(w);
    if (o->verbose || w->failures)
        fprintf(stderr,
                "seed %llu: %llu steps, %llu crashes, %llu take-overs, %zu batches, %u runs, %zu skips\n",
                (unsigned long long)seed, (unsigned long long)w->steps, (unsigned long long)w->crashes,
                (unsigned long long)w->takeovers, w->batch_count, HASH_COUNT(w->accounts), w->skip_count);
    world_release(w);
}
