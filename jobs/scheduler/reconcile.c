/* Doing what is due: each entry's last step. Jobs and runs whose time has come are reconciled, and the
 * owner's alarm is set for the next of them.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

/* What one entry may do: thousands of jobs or runs that are due together are worked off in several, between which the loop has
 * its turns. */
struct budget {
    int items;        /* of one kind that may still be looked at */
    uint64_t records; /* until so many have been written */
};

static bool spend(const struct scheduler *s, struct budget *budget)
{
    return budget->items-- > 0 && s->record_count < budget->records;
}

static void reconcile_all(struct scheduler *s, uint64_t records)
{
    struct budget jobs = {RECONCILED_PER_ENTRY, records}, runs = jobs, later = jobs;
    struct heap_item *item;

    assert(s->leading && s->reconciling);
    engine_call_discard_acked(s);
    /* jobs first: what is due at this instant is evaluated before anything else is recorded at it */
    while ((item = heap_first(&s->job_timers)) && item->at <= s->now_ms && spend(s, &jobs)) {
        heap_remove(&s->job_timers, item);
        planner_reconcile(s, LIST_ITEM(item, struct job_state, live.timer));
    }
    while ((item = heap_first(&s->run_timers)) && item->at <= s->now_ms && spend(s, &runs)) {
        heap_remove(&s->run_timers, item);
        launch_reconcile(s, LIST_ITEM(item, struct run, live.timer));
    }
    while (!list_empty(&s->later) && spend(s, &later)) {
        struct job_state *j = LIST_ITEM(s->later.next, struct job_state, live.later);

        list_remove(&j->live.later);
        planner_reconcile(s, j);
    }
    while (s->look_next && spend(s, &later)) {
        struct job_state *j = s->look_next;

        s->look_next = j->by_name.next;
        if (j->def)
            planner_reconcile(s, j);
    }
}

void reconcile_due(struct scheduler *s)
{
    struct heap_item *job, *run;
    uint64_t records = s->record_count + RECORDS_PER_ENTRY;
    int64_t at = HEAP_NEVER;

    invariant_turn(s);
    if (s->leading && !s->reconciling && !s->stopping &&
        s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX) {
        s->reconciling = true;
        if (s->set_back)
            void_times_clock_set_back(s);
        resume_due(s);
        reconcile_all(s, records);
        /* reconciling runs may have woken jobs for this very instant: once more */
        reconcile_all(s, records);
        at = takeover_report(s);
        s->reconciling = false;
        job = heap_first(&s->job_timers);
        run = heap_first(&s->run_timers);
        at = job && job->at < at ? job->at : at;
        at = run && run->at < at ? run->at : at;
        if (s->state.paused && s->state.pause_until_ms && s->state.pause_until_ms < at &&
            !resume_goes_on(s) && !all_jobs_pause_goes_on(s))
            at = s->state.pause_until_ms;
        if ((!list_empty(&s->later) || s->look_next || void_times_wants_turn(s) || resume_wants_turn(s) ||
             all_jobs_want_turn(s) || apply_wants_turn(s)) &&
            at > s->now_ms)
            at = s->now_ms;
    }
    if ((s->hash_image || s->snapshot_image || s->state.spent || s->spent_apply || s->old_state ||
         (restore_goes_on(s) && !s->stopping)) &&
        at > s->now_ms)
        at = s->now_ms; /* a step in each turn */
    if (at != s->wake_ms) {
        s->wake_ms = at;
        s->o.env->wake_at(s->o.env, at);
    }
}
