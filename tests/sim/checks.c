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
        violation(w, "r%d, %s: its state is not what the journal folds to", r->number, when);
        if (w->o.verbose)
            tell(w, "here  %s\nthere %s", here, there);
    }
    free(here);
    free(there);
}

static void check_lanes(struct replica *r)
{
    struct scheduler *s = r->scheduler;
    int slots[HOSTS] = {0}, pools[1] = {0};
    struct run *run, *next;

    HASH_ITER(by_id, s->state.runs, run, next)
    {
        for (int i = 0; i < HOSTS; i++)
            slots[i] += run->live.slot == &s->engines[i];
        pools[0] += run->live.pool == &s->pools[0];
    }
    LIST_EACH(link, &s->state.ended)
    {
        run = LIST_ITEM(link, struct run, dirty);
        for (int i = 0; i < HOSTS; i++)
            slots[i] += run->live.slot == &s->engines[i];
        pools[0] += run->live.pool == &s->pools[0];
    }
    for (int i = 0; i < HOSTS; i++)
        if (slots[i] != s->engines[i].used)
            violation(r->world, "r%d: engine %s counts %d places, and its runs hold %d", r->number,
                      s->engines[i].name, s->engines[i].used, slots[i]);
    if (pools[0] != s->pools[0].used)
        violation(r->world, "r%d: the pool counts %d places, and its runs hold %d", r->number,
                  s->pools[0].used, pools[0]);
}

/* Will anybody ever come back to this run? */
static bool attended(struct scheduler *s, const struct run *run)
{
    const struct job_state *j = run->job;

    if (run->live.timer.slot || run->live.ticket || run->live.index > s->acked)
        return true;
    if (!run->fired) /* a reservation: judged at its time */
        return j->def && (j->live.timer.slot || j->live.unsettled);
    if (j->live.timer.slot && j->live.timer.at <= s->now_ms)
        return true;           /* the job is attended at the next entry, and with it its runs */
    if (j->live.unsettled > 0) /* its settling attends the job, and that its runs */
        return true;
    if (run->live.admitted)
        return false;
    LIST_EACH(link, &j->runs)
    {
        const struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other != run && other->fired)
            return true; /* its end attends the job */
    }
    return false;
}

static void check_job(struct replica *r, struct job_state *j)
{
    struct scheduler *s = r->scheduler;
    int unsettled = 0;

    LIST_EACH(link, &j->runs)
    {
        struct run *run = LIST_ITEM(link, struct run, of_job);

        unsettled += run->live.unsettled;
        if (!attended(s, run)) {
            char *text = json_dumps(run_to_json(run), JSON_COMPACT);

            tell(r->world,
                 "%s admitted %d waits %d unsettled %d pool %d slot %d index %llu acked %llu now %lld", text,
                 run->live.admitted, run->live.waits_in != NULL, run->live.unsettled, run->live.pool != NULL,
                 run->live.slot != NULL, (unsigned long long)run->live.index, (unsigned long long)s->acked,
                 (long long)s->now_ms);
            free(text);
            violation(r->world, "r%d: nobody will ever attend %s, which is %s", r->number, run->id,
                      run_state_name(run->state));
        }
    }
    if (unsettled != j->live.unsettled)
        violation(r->world, "r%d: %s counts %d unsettled runs, and has %d", r->number, j->name,
                  j->live.unsettled, unsettled);
    if (j->def && !state_paused(&s->state, j) && j->live.unsettled == 0 && j->live.timer.slot == 0 &&
        job_next_ms(s, j) != HEAP_NEVER)
        violation(r->world, "r%d: %s has fire times to come and no alarm", r->number, j->name);
}

static void check_replica(struct replica *r)
{
    struct scheduler *s = r->scheduler;
    struct job_state *j, *next;

    check_lanes(r);
    if (s->batch)
        return; /* in the middle of a turn: flushing frees what has ended, and that attends others */
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        check_job(r, j);
    }
    if (r->world->in_flight_count == 0 && r->world->leader == r->number && r->epoch == r->world->epoch)
        check_same_state(r, "at rest");
}

/* Does it wait for what an earlier reign prepared? */
static bool waits_for_settling(const struct world *w, struct job_state *j)
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

    if (r->stale || r->scheduler->state.index != w->shadow.index || r->zones.rules != w->told_zones.rules)
        return;
    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        int64_t at = monitor_next(w, j);

        if (j->def && !state_paused(&w->shadow, j) && at != INT64_MAX &&
            at + j->def->jitter_ms + OVERDUE_MS <= now_ms && !waits_for_settling(w, j))
            late = true;
    }
    if (scheduler_overdue(r->scheduler, text, sizeof(text)) != late)
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
        if (!j->def || state_paused(&r->scheduler->state, j) || j->live.unsettled)
            continue;
        if (job_next_ms(r->scheduler, j) < w->now_ms - 120000)
            violation(w, "%s is left behind: its next fire time is %.0f s ago", j->name,
                      (double)(w->now_ms - job_next_ms(r->scheduler, j)) / 1000);
    }
}
