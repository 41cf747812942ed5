/* What must hold of a scheduler after every step: its counters are what its runs hold, and for every
 * unfinished run something will happen. Some of it, being slow, is looked at now and then. */
#include "tests/sim/sim.h"

#define SELDOM 16

void check_same_state(struct replica *r, const char *when)
{
    struct world *w = r->world;
    size_t here_size, there_size;
    char *here, *there;

    if (r->scheduler->state.index != w->shadow.index)
        return;
    here = state_encode(&r->scheduler->state, &here_size);
    there = state_encode(&w->shadow, &there_size);
    if (here_size != there_size || memcmp(here, there, here_size) != 0) {
        violation(w, "r%d, %s: its state is not what the journal gives", r->number, when);
        if (w->o.verbose)
            tell(w, "here  %s\nthere %s", here, there);
    }
    free(here);
    free(there);
}

static void check_permits(struct replica *r)
{
    struct scheduler *s = r->scheduler;
    int engines[HOSTS] = {0}, pools[1] = {0};
    struct run *run, *next;

    HASH_ITER(by_id, s->state.runs, run, next)
    {
        for (int i = 0; i < HOSTS; i++)
            engines[i] += run->live.engine_permit == &s->engine_queues[i];
        pools[0] += run->live.pool_permit == &s->pool_queues[0];
    }
    LIST_EACH(link, &s->state.ended)
    {
        run = LIST_ITEM(link, struct run, dirty);
        for (int i = 0; i < HOSTS; i++)
            engines[i] += run->live.engine_permit == &s->engine_queues[i];
        pools[0] += run->live.pool_permit == &s->pool_queues[0];
    }
    for (int i = 0; i < HOSTS; i++)
        if (engines[i] != s->engine_queues[i].taken)
            violation(r->world, "r%d: engine %s counts %d permits, and its runs hold %d", r->number,
                      s->engine_queues[i].name, s->engine_queues[i].taken, engines[i]);
    if (pools[0] != s->pool_queues[0].taken)
        violation(r->world, "r%d: the pool counts %d permits, and its runs hold %d", r->number,
                  s->pool_queues[0].taken, pools[0]);
}

/* Will this run be reconciled again? */
static bool looked_at_again(struct scheduler *s, const struct run *run)
{
    const struct job_state *j = run->job;

    if (run->live.timer.slot || run->live.ticket || run->live.index > s->acked)
        return true;
    if (!run->fired) /* a reservation: evaluated at its time */
        return j->def && (j->live.timer.slot || j->live.unrecovered);
    if (j->live.timer.slot && j->live.timer.at <= s->now_ms)
        return true;             /* the job is reconciled at the next entry, and with it its runs */
    if (j->live.unrecovered > 0) /* its recovery wakes the job, and that its runs */
        return true;
    if (run->live.permitted)
        return false;
    if (stray_of(s, j)) /* its end wakes the job */
        return true;
    LIST_EACH(link, &j->runs)
    {
        const struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other != run && other->fired)
            return true; /* its end wakes the job */
    }
    return false;
}

static void check_job(struct replica *r, struct job_state *j)
{
    struct scheduler *s = r->scheduler;
    int unrecovered = 0;

    LIST_EACH(link, &j->runs)
    {
        struct run *run = LIST_ITEM(link, struct run, of_job);

        unrecovered += run->live.unrecovered;
        if (!looked_at_again(s, run)) {
            char *text = json_dumps(state_run_json(run), JSON_COMPACT);

            tell(r->world,
                 "%s permitted %d waits %d unrecovered %d pool %d engine %d index %llu acked %llu now %lld",
                 text, run->live.permitted, run->live.waits_in != NULL, run->live.unrecovered,
                 run->live.pool_permit != NULL, run->live.engine_permit != NULL,
                 (unsigned long long)run->live.index, (unsigned long long)s->acked, (long long)s->now_ms);
            free(text);
            violation(r->world, "r%d: nothing will ever wake %s, which is %s", r->number, run->id,
                      run_state_name(run->state));
        }
    }
    if (unrecovered != j->live.unrecovered)
        violation(r->world, "r%d: %s counts %d unrecovered runs, and has %d", r->number, j->name,
                  j->live.unrecovered, unrecovered);
    if (j->def && !state_paused(&s->state, j) && j->live.unrecovered == 0 && j->live.timer.slot == 0 &&
        !(j->live.held && s->apply) &&    /* the end of that apply wakes it, */
        s->resume.step != RESUME_WAKES && /* or the end of the pause of all does */
        rules_next_ms(s, j) != HEAP_NEVER)
        violation(r->world, "r%d: %s has fire times to come and no alarm", r->number, j->name);
}

static void check_replica(struct replica *r)
{
    struct scheduler *s = r->scheduler;
    struct job_state *j, *next;

    check_permits(r);
    if (s->batch)
        return; /* in the middle of a turn: flushing frees what has ended, and that wakes others */
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        check_job(r, j);
    }
    if (r->world->in_flight_count == 0 && r->world->leader == r->number && r->epoch == r->world->epoch)
        check_same_state(r, "at rest");
}

/* Does it wait for what an earlier leader prepared? */
static bool waits_for_recovery(const struct world *w, struct job_state *j)
{
    LIST_EACH(link, &j->runs)
    {
        const struct attempt *a = run_attempt(LIST_ITEM(link, struct run, of_job));

        if (a && a->epoch < w->shadow.epoch && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
            return true;
    }
    return false;
}

/* A standby that has read all says that its leader is late when that is so by its own clock, and then only. */
static void check_overdue(struct replica *r)
{
    struct world *w = r->world;
    int64_t now_ms = r->env.wall_ms(&r->env);
    struct job_state *j, *next;
    bool late = false;
    char text[256] = "nothing is late";

    /* a deposed one has batches of its own of these numbers, until it follows */
    if (r->stale || r->scheduler->state.index != w->shadow.index ||
        strcmp(r->scheduler->state.hash, w->shadow.hash) != 0 || r->zones.rules != w->told_zones.rules)
        return;
    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        int64_t at = monitor_next(w, j);

        if (j->def && !state_paused(&w->shadow, j) && at != INT64_MAX &&
            at + j->def->jitter_ms + LEADER_STALL_MS <= now_ms && !waits_for_recovery(w, j))
            late = true;
    }
    while (scheduler_leader_stall_step(r->scheduler))
        ;
    if (scheduler_leader_stall(r->scheduler, text, sizeof(text)) != late)
        violation(w, "r%d, a standby, says: %s; and that is not so", r->number, text);
    w->late += late;
}

void check_step(struct world *w)
{
    if (w->steps % SELDOM != 0)
        return;
    for (int i = 0; i < w->replica_count && !w->failures; i++) {
        struct replica *r = &w->replicas[i];

        if (!r->scheduler || r->frozen_until_ms > w->now_ms)
            continue;
        if (scheduler_leading(r->scheduler))
            check_replica(r);
        else
            check_overdue(r);
    }
}

/* Some minutes after the last fault: every job is where it should be. */
void check_rest(struct world *w)
{
    struct replica *r = w->leader >= 0 ? &w->replicas[w->leader] : NULL;
    struct job_state *j, *next;

    if (!r || !r->scheduler) {
        violation(w, "nobody leads");
        return;
    }
    HASH_ITER(by_name, r->scheduler->state.jobs, j, next)
    {
        if (!j->def || state_paused(&r->scheduler->state, j) || j->live.unrecovered)
            continue;
        if (rules_next_ms(r->scheduler, j) < w->now_ms - 120000)
            violation(w, "%s is left behind: its next fire time is %.0f s ago", j->name,
                      (double)(w->now_ms - rules_next_ms(r->scheduler, j)) / 1000);
    }
}
