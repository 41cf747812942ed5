/* Doing what is due: each entry point's last step. Jobs and runs whose time has come are attended, and the
 * owner's alarm is set for the next of them.
 */
#include "jobs/scheduler/scheduler_priv.h"

static void work(struct scheduler *s)
{
    struct heap_item *item;

    discards_acked(s);
    /* jobs first: what is due at this instant is judged before anything else is recorded at it */
    while ((item = heap_first(&s->job_timers)) && item->at <= s->now_ms) {
        heap_remove(&s->job_timers, item);
        job_attend(s, LIST_ITEM(item, struct job_state, live.timer));
    }
    while ((item = heap_first(&s->run_timers)) && item->at <= s->now_ms) {
        heap_remove(&s->run_timers, item);
        run_attend(s, LIST_ITEM(item, struct run, live.timer));
    }
}

void scheduler_leave(struct scheduler *s)
{
    struct heap_item *job, *run;
    int64_t at = HEAP_NEVER;

    if (s->leading && !s->working && !s->stopping && s->flight_count < SCHEDULER_FLIGHTS_MAX) {
        s->working = true;
        work(s);
        /* attending runs may have kicked jobs for this very instant: they get their turn, once more */
        work(s);
        at = takeover_report(s);
        s->working = false;
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
