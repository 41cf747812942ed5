/* What takes effect for all jobs with one record: their pause, and other rules of time zones. Before it every fire time up to
 * now is accounted for under what was in force.
 *
 * Many may be due: they are accounted for some in a turn. The last turn has what fell due meanwhile, and the record. A
 * leader that goes before it has changed nothing: what was due has been evaluated as in any turn.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"

#include <assert.h>

/* Accounts for some. True: all were looked at. */
static bool account_some(struct scheduler *s, struct all_jobs *a)
{
    uint64_t records = s->record_count + ACCOUNTED_PER_STEP;

    for (size_t left = turn_walk_items(s); a->next && left > 0 && s->record_count < records; left--) {
        struct job_state *j = a->next;

        a->next = j->by_name.next;
        if (j->def && rules_next_ms(s, j) <= s->now_ms)
            planner_evaluate_all(s, j);
    }
    return !a->next;
}

/* What is left of it, and of all jobs what is armed for later is revoked. */
static void account_rest(struct scheduler *s, const char *reason)
{
    struct job_state *j, *next;

    assert(s->leading);
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        if (j->def && (j->run_count || rules_next_ms(s, j) <= s->now_ms))
            planner_account(s, j, reason);
    }
}

/* ---- a pause of all ---- */

/* The others find out in their time. By their runs, which are fewer than the jobs. */
static void wake_running(struct scheduler *s)
{
    struct run *r, *next;

    HASH_ITER(by_id, s->state.runs, r, next)
    {
        turn_wake_job(s, r->job, s->now_ms);
    }
}

static void pause_takes_effect(struct scheduler *s)
{
    const struct all_jobs *a = &s->pause_all;
    struct record *r;

    assert(a->goes_on && a->by);
    account_rest(s, "paused");
    r = turn_record(s, RECORD_PAUSE);
    if (a->until_ms)
        PUT_INT(s, r, until_ms, a->until_ms);
    PUT_TEXT(s, r, reason, a->reason);
    PUT_TEXT(s, r, by, a->by);
    turn_commit(s, r);
    assert(s->state.paused);
    wake_running(s);
    turn_clients_wait_for(s, turn_index(s));
}

void all_jobs_pause(struct scheduler *s, int64_t until_ms, const char *reason, const char *by)
{
    assert(s->leading && !all_jobs_pause_goes_on(s));
    s->pause_all = (struct all_jobs){true, s->state.jobs, until_ms, alloc_text(reason), alloc_text(by)};
    all_jobs_step(s); /* with few jobs that is all */
}

bool all_jobs_pause_goes_on(const struct scheduler *s)
{
    return s->pause_all.goes_on;
}

static void pause_drop(struct scheduler *s)
{
    free(s->pause_all.reason);
    free(s->pause_all.by);
    s->pause_all = (struct all_jobs){0};
}

/* ---- other rules of time zones ---- */

/* Each job's schedule is compiled again when it is looked at next (rules_schedule). */
static void zones_take_effect(struct scheduler *s)
{
    struct record *r;

    account_rest(s, "tzdata");
    s->zones_serial++;
    s->zones_epoch = s->epoch;
    s->zones_ms = s->now_ms;
    r = turn_record(s, RECORD_TZDATA);
    PUT_TEXT(s, r, tzdata, s->o.zones->version(s->o.zones));
    turn_commit(s, r);
    s->look_next = s->state.jobs;
}

void all_jobs_other_zones(struct scheduler *s)
{
    assert(s->leading);
    s->zones_all = (struct all_jobs){.goes_on = true, .next = s->state.jobs};
    all_jobs_step(s);
}

/* ---- both ---- */

void all_jobs_step(struct scheduler *s)
{
    if (!all_jobs_want_turn(s))
        return; /* or the journal is behind: its answers come first */
    if (s->zones_all.goes_on && account_some(s, &s->zones_all)) {
        s->zones_all.goes_on = false;
        zones_take_effect(s);
    }
    if (s->pause_all.goes_on && account_some(s, &s->pause_all)) {
        pause_takes_effect(s);
        pause_drop(s);
    }
}

bool all_jobs_want_turn(const struct scheduler *s)
{
    return (s->zones_all.goes_on || s->pause_all.goes_on) &&
           s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX / 2;
}

void all_jobs_gone(struct scheduler *s, const struct job_state *j)
{
    if (s->pause_all.next == j)
        s->pause_all.next = j->by_name.next;
    if (s->zones_all.next == j)
        s->zones_all.next = j->by_name.next;
}

void all_jobs_drop(struct scheduler *s)
{
    pause_drop(s);
    if (s->zones_all.goes_on)
        s->zones_serial++; /* as for a standby: nothing was recorded */
    s->zones_all = (struct all_jobs){0};
}
