/* A process: the environment of its scheduler, its history, and what befalls it. */
#include "tests/sim/sim.h"

#include "jobs/time/zoneinfo.h"

#include <stdio.h>

/* ---- environment ---- */

static struct replica *of_env(struct scheduler_env *env)
{
    return LIST_ITEM(env, struct replica, env);
}

static int64_t env_wall_ms(struct scheduler_env *env)
{
    struct replica *r = of_env(env);
    struct world *w = r->world;
    int64_t wall_ms = replica_wall_ms(r), before_ms = r->read_wall_ms + w->now_ms - r->read_at_ms;

    /* two of them without the shipped journal hear no other clocks: there all jumps count as confirmed */
    if (w->ensemble || w->replica_count == 1)
        wall_ms = clocks_believed_ms(r);
    if (r->read_at_ms && before_ms - wall_ms > CLOCK_SET_BACK_MS) {
        w->fell_from_ms = before_ms;
        w->fell_to_ms = wall_ms;
    }
    r->read_wall_ms = wall_ms;
    r->read_at_ms = w->now_ms;
    return wall_ms;
}

static uint64_t env_random(struct scheduler_env *env)
{
    return draw(of_env(env)->world);
}

static void env_wake_at(struct scheduler_env *env, int64_t wall_ms)
{
    struct replica *r = of_env(env);
    int64_t delay = wall_ms - env_wall_ms(env);

    if (r->wake)
        event_cancel(r->world, r->wake);
    r->wake = NULL;
    if (wall_ms != INT64_MAX)
        r->wake = plan_for(r, EVENT_WAKE, delay > 0 ? delay : 0);
}

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static void env_log(struct scheduler_env *env, enum log_level level, const char *event, const char *job,
                    const char *run, const char *text)
{
    tell(of_env(env)->world, "r%d [%d] %s %s %s %s", of_env(env)->number, level, event, or_dash(job),
         or_dash(run), text);
    if (strcmp(event, "bug") == 0) /* it says so, and aborts: a record of its own makes no sense to it */
        violation(of_env(env)->world, "r%d: %s", of_env(env)->number, text);
}

static void env_not_before(struct scheduler_env *env, int64_t wall_ms)
{
    clocks_not_before(of_env(env), wall_ms);
}

/* ---- zones ---- */

static int zones_get(struct zone_source *source, const char *name, const struct zone **ret,
                     struct error *error)
{
    static const char *const rules[] = {"Asia/Kolkata", "Asia/Kathmandu"}; /* 5:30 and 5:45 */
    struct sim_zones *z = LIST_ITEM(source, struct sim_zones, source);
    struct zone_source *under = zoneinfo_source(z->under);

    return under->get(under, strcmp(name, "Sim/Zone") == 0 ? rules[z->rules % 2] : name, ret, error);
}

static void zones_put(struct zone_source *source, const struct zone *zone)
{
    struct zone_source *under = zoneinfo_source(LIST_ITEM(source, struct sim_zones, source)->under);

    under->put(under, zone);
}

static const char *zones_version(struct zone_source *source)
{
    return LIST_ITEM(source, struct sim_zones, source)->version;
}

static const char *zones_nearest(struct zone_source *source, const char *name, char *buffer, size_t size)
{
    (void)source;
    (void)name;
    (void)buffer;
    (void)size;
    return NULL;
}

void zones_init(struct sim_zones *z, struct zoneinfo *under, int rules)
{
    *z = (struct sim_zones){{zones_get, zones_put, zones_version, zones_nearest}, under, rules, ""};
    snprintf(z->version, sizeof(z->version), "sim-%d", rules);
}

void replica_zones(struct replica *r)
{
    r->zones.rules = r->world->rules;
    snprintf(r->zones.version, sizeof(r->zones.version), "sim-%d", r->zones.rules);
    tell(r->world, "r%d reads zone rules %d", r->number, r->zones.rules);
    scheduler_zones_changed(r->scheduler);
}

/* ---- history ---- */

static void history_write(struct history *history, struct history_write *write)
{
    struct replica *r = LIST_ITEM(history, struct replica, history);
    struct world *w = r->world;
    char hash[33];

    if (write->index > r->told + 1)
        violation(w, "r%d: history hears of batch %llu after %llu", r->number,
                  (unsigned long long)write->index, (unsigned long long)r->told);
    write_hash(write, hash);
    if (write->index > w->batch_count)
        violation(w, "r%d: history hears of batch %llu, which is not durable", r->number,
                  (unsigned long long)write->index);
    else if (strcmp(hash, w->batches[write->index - 1].write_hash) != 0)
        violation(w, "r%d: history hears other things of batch %llu than the fold says", r->number,
                  (unsigned long long)write->index);
    if (write->index > r->told)
        r->told = write->index;
    if (r->told - r->kept == 1)
        plan_for(r, EVENT_HISTORY, often_short(w, 200, 20000));
    history_write_free(write);
}

static uint64_t history_applied(const struct history *history)
{
    return LIST_ITEM(history, struct replica, history)->kept;
}

static const struct history_ops history_ops = {.write = history_write, .applied = history_applied};

/* ---- birth and death ---- */

void replica_init(struct world *w, int number)
{
    struct replica *r = &w->replicas[number];

    r->world = w;
    r->number = number;
    r->env = (struct scheduler_env){env_wall_ms, env_random, env_wake_at, env_log,
                                    w->replica_count == 1 ? env_not_before : NULL};
    r->history.ops = &history_ops;
    zones_init(&r->zones, w->zoneinfo, 0);
    journal_table(r);
    engines_init(r);
}

void replica_feed(struct replica *r, uint64_t upto)
{
    struct error error = {0};

    while (r->fed < upto && !r->world->failures) {
        const struct batch_note *n = &r->world->batches[r->fed++];
        struct batch *b;

        if (batch_decode(&b, n->text, n->size, &error) < 0) {
            violation(r->world, "batch %llu: %s", (unsigned long long)r->fed, error.text);
            return;
        }
        scheduler_journal_events.batch(r->scheduler, b, n->text, n->size);
        batch_free(b);
    }
}

/* From nothing, or from the last snapshot that is durable. */
void replica_restore(struct replica *r)
{
    struct world *w = r->world;
    bool snapshot = w->snapshot && chance(w, 500);

    r->stale = false;
    w->restores += snapshot;
    r->fed = snapshot ? w->snapshot_index : 0;
    if (snapshot && w->replica_count > 1 && r->told < r->fed)
        r->told = r->kept = r->fed; /* older history is copied from a peer */
    if (snapshot)
        scheduler_journal_events.restore(r->scheduler, w->snapshot, w->snapshot_size, r->fed);
    else
        scheduler_journal_events.restore(r->scheduler, NULL, 0, r->fed);
    replica_feed(r, w->batch_count);
    if (!w->failures)
        check_same_state(r, snapshot ? "restored from a snapshot" : "folded again");
}

void replica_start(struct replica *r)
{
    static const struct scheduler_job_pool pools[] = {{"small", POOL_PLACES}};
    struct world *w = r->world;
    struct scheduler_options options = {
        .replica = r->number ? "second" : "first",
        .cluster_uuid = SIM_CLUSTER,
        .default_engine = "docker",
        .engines = r->engine_list,
        .engine_count = HOSTS,
        .pools = pools,
        .pool_count = 1,
        .arm_ahead_ms = 30000,
        .late_grace_ms = LATE_GRACE_MS,
        .resolve_within_ms = w->resolve_within_ms,
        .snapshot_every = w->snapshot_every,
        .image_items = 1, /* records come between any two jobs of a snapshot, */
        .apply_items = 1, /* and of a set that is applied, */
        .walk_items = 1,  /* and of all, when they are paused or zone rules change */
        .zones = &r->zones.source,
        .history = &r->history,
        .env = &r->env,
    };

    r->life++;
    r->link++;
    r->frozen_until_ms = 0;
    r->told = r->kept;
    r->clock = (struct guarded_clock){0};
    r->read_at_ms = 0;
    r->voices.count = 0;
    zones_init(&r->zones, w->zoneinfo, w->rules);
    r->scheduler = scheduler_new(&options);
    scheduler_set_journal(r->scheduler, &r->journal);
    if (w->ensemble) {
        ensemble_start(r);
    } else {
        replica_restore(r);
        plan_for(r, EVENT_LEAD, between(w, 1, 2000));
    }
    plan_for(r, EVENT_SWEEP, between(w, 1000, 30000));
    tell(w, "r%d STARTS with %zu batches", r->number, w->batch_count);
}

/* If it led, nobody does now; somebody will notice. */
static void leader_missing(struct world *w)
{
    journal_end_epoch(w);
    w->leader = -1;
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].scheduler)
            plan_for(&w->replicas[i], EVENT_LEAD, between(w, 1, chance(w, 300) ? 10000 : 500));
}

void replica_crash(struct replica *r)
{
    struct world *w = r->world;

    w->crashes++;
    tell(w, "r%d CRASHES with %zu batches in flight", r->number, w->in_flight_count);
    scheduler_free(r->scheduler);
    r->scheduler = NULL;
    if (r->wake)
        event_cancel(w, r->wake);
    r->wake = NULL;
    if (r->core)
        ensemble_crash(r);
    else if (w->leader == r->number)
        leader_missing(w);
    plan_for(r, EVENT_START, chance(w, 150) ? between(w, 60000, 300000) : between(w, 1, 3000));
}

/* SIGTERM: what it has appended is written before it goes. */
static void stops(struct replica *r)
{
    tell(r->world, "r%d is STOPPED", r->number);
    scheduler_stop(r->scheduler);
    if (r->core) {
        ensemble_stop(r);
        return;
    }
    if (scheduler_leading(r->scheduler))
        scheduler_journal_events.yield(r->scheduler);
    while (r->world->leader == r->number && r->world->in_flight_count)
        journal_commit_one(r->world);
    replica_crash(r);
}

/* ---- leading ---- */

void replica_depose(struct replica *r, const char *why)
{
    struct error error = {0};

    tell(r->world, "r%d is DEPOSED: %s", r->number, why);
    error_set(&error, ERR_DEPOSED, "%s", why);
    r->stale = true;
    scheduler_journal_events.deposed(r->scheduler, &error);
    if (chance(r->world, 500))
        replica_restore(r);
    if (r->world->leader < 0)
        plan_for(r, EVENT_LEAD, between(r->world, 1, 5000));
}

void replica_lead(struct replica *r)
{
    struct world *w = r->world;

    if (scheduler_leading(r->scheduler)) /* of an epoch that is over, which it learns only now */
        replica_depose(r, "a higher epoch is there");
    if (r->stale)
        replica_restore(r);
    replica_feed(r, w->batch_count);
    if (w->failures)
        return;
    w->leader = r->number;
    r->epoch = ++w->epoch;
    tell(w, "r%d LEADS, epoch %lld", r->number, (long long)r->epoch);
    loss_tell(r);
    plan_for(r, EVENT_LOOK, between(w, 0, 1000));
    scheduler_journal_events.lead(r->scheduler, r->epoch, "start");
}

/* Another takes the lead while the old one goes on until it is told. */
static void take_over(struct world *w)
{
    struct replica *old = &w->replicas[w->leader], *other = &w->replicas[1 - w->leader];

    if (!other->scheduler || other->frozen_until_ms > w->now_ms)
        return;
    w->takeovers++;
    tell(w, "r%d TAKES OVER from r%d, which does not know", other->number, old->number);
    journal_end_epoch(w);
    plan_for(old, EVENT_DEPOSED, often_short(w, 2000, 40000))->index = (uint64_t)old->epoch;
    replica_lead(other);
}

/* It hands over: what it appends to that end is durable, it is told that it leads no more, and another
 * leads. */
static void step_down(struct replica *r)
{
    struct world *w = r->world;

    w->step_downs++;
    tell(w, "r%d STEPS DOWN", r->number);
    scheduler_journal_events.yield(r->scheduler);
    while (w->in_flight_count && !w->failures)
        journal_commit_one(w);
    w->leader = -1;
    replica_depose(r, "stepped down");
    if (!w->failures)
        replica_lead(&w->replicas[1 - r->number]);
}

/* ---- faults ---- */

static void fault_crash(struct world *w, struct replica *r)
{
    if (r->scheduler && chance(w, 150))
        stops(r);
    else if (r->scheduler)
        replica_crash(r);
}

static void fault_freeze(struct world *w, struct replica *r)
{
    if (!r->scheduler || r->frozen_until_ms > w->now_ms)
        return;
    w->freezes++;
    r->frozen_until_ms = w->now_ms + often_short(w, 5000, 90000);
    tell(w, "r%d FREEZES for %lld ms", r->number, (long long)(r->frozen_until_ms - w->now_ms));
    if (r->core)
        ensemble_freeze(r);
    else if (w->replica_count > 1 && w->leader == r->number && chance(w, 700))
        take_over(w);
}

static void fault_journal(struct world *w, struct replica *r)
{
    if (w->ensemble) {
        if (r->frozen_until_ms <= w->now_ms)
            ensemble_cut(r);
        return;
    }
    if (w->leader != r->number)
        return;
    w->journal_failures++;
    tell(w, "r%d: its journal FAILS", r->number);
    journal_end_epoch(w);
    w->leader = -1;
    plan_for(r, EVENT_DEPOSED, often_short(w, 0, 3000))->index = (uint64_t)r->epoch;
    for (int i = 0; i < w->replica_count; i++)
        if (i != r->number && w->replicas[i].scheduler)
            plan_for(&w->replicas[i], EVENT_LEAD, between(w, 1, 5000));
}

static void fault_zones(struct world *w, struct replica *unused)
{
    (void)unused;
    w->rules++;
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].scheduler)
            plan_for(&w->replicas[i], EVENT_ZONES, between(w, 0, 5000));
}

static void fault_take_over(struct world *w, struct replica *unused)
{
    (void)unused;
    if (w->replica_count < 2 || w->leader < 0 || !w->replicas[w->leader].scheduler)
        return;
    if (w->ensemble)
        ensemble_take_over(w);
    else
        take_over(w);
}

static void fault_orphan(struct world *w, struct replica *unused)
{
    (void)unused;
    if (w->ensemble)
        ensemble_orphan(w);
}

static void fault_step_down(struct world *w, struct replica *unused)
{
    struct replica *r = w->leader >= 0 ? &w->replicas[w->leader] : NULL, *other;

    (void)unused;
    if (!r || w->replica_count < 2)
        return;
    if (w->ensemble) {
        ensemble_step_down(r);
        return;
    }
    other = &w->replicas[1 - r->number];
    if (r->scheduler && scheduler_leading(r->scheduler) && r->epoch == w->epoch &&
        r->frozen_until_ms <= w->now_ms && other->scheduler && other->frozen_until_ms <= w->now_ms)
        step_down(r);
}

void fault_at_random(struct world *w)
{
    static const struct {
        int weight;
        void (*happen)(struct world *w, struct replica *r);
    } faults[] = {{40, fault_crash},   {12, fault_freeze}, {12, fault_take_over}, {12, fault_step_down},
                  {10, fault_journal}, {16, clocks_jump},  {4, fault_zones},      {3, fault_orphan}};
    int all = 0, at;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        all += faults[i].weight;
    at = (int)between(w, 0, all - 1);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        at -= faults[i].weight;
        if (at < 0) {
            int who = w->leader >= 0 && chance(w, 700) ? w->leader : (int)between(w, 0, w->replica_count - 1);

            faults[i].happen(w, &w->replicas[who]);
            return;
        }
    }
}
