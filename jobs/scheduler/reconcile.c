/* Doing what is due: each entry's last step. Jobs and runs whose time has come are reconciled, and the
 * owner's alarm is set for the next of them.
 */
#include "jobs/scheduler/scheduler_priv.h"

static void reconcile_all(struct scheduler *s)
{
    struct heap_item *item;

    engine_call_discard_acked(s);
    /* jobs first: what is due at this instant is evaluated before anything else is recorded at it */
    while ((item = heap_first(&s->job_timers)) && item->at <= s->now_ms) {
        heap_remove(&s->job_timers, item);
        planner_reconcile(s, LIST_ITEM(item, struct job_state, live.timer));
    }
    while ((item = heap_first(&s->run_timers)) && item->at <= s->now_ms) {
        heap_remove(&s->run_timers, item);
        launch_reconcile(s, LIST_ITEM(item, struct run, live.timer));
    }
}

void reconcile_due(struct scheduler *s)
{
    struct heap_item *job, *run;
    int64_t at = HEAP_NEVER;

    if (s->leading && !s->reconciling && !s->stopping &&
        s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX) {
        s->reconciling = true;
        reconcile_all(s);
        /* reconciling runs may have woken jobs for this very instant: once more */
        reconcile_all(s);
        at = takeover_report(s);
        s->reconciling = false;
        job = heap_first(&s->job_timers);
        run = heap_first(&s->run_timers);
        at = job && job->at < at ? job->at : at;
        at = run && run->at < at ? run->at : at;
    }
    if (at != s->wake_ms) {
        s->wake_ms = at;
        s->o.env->wake_at(s->o.env, at);
    }
}
