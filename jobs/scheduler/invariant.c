/* What always holds between the scheduler's parts, checked where one of them is entered, in release builds too. A check takes
 * the same time however many jobs and runs there are.
 *
 * None of them depends on what a record, a snapshot, an engine's answer, a request or a clock says: they are about what this
 * process itself keeps beside that (run_live, job_live, counters and lists).
 */
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

void invariant_turn(const struct scheduler *s)
{
    assert(pthread_equal(s->thread, pthread_self()));
    assert((s->pending_batch_count == 0) == list_empty(&s->pending_batches));
    assert((s->waiter_count == 0) == list_empty(&s->waiters));
    assert(s->waiter_count <= SCHEDULER_WAITERS_MAX);
    assert(s->acked <= s->state.index);
    assert(!s->batch || s->batch->index == s->state.index + 1);
    assert(s->have_state || !s->leading);
}

void invariant_job(const struct scheduler *s, const struct job_state *j)
{
    const struct job_live *live = &j->live;

    assert((j->run_count == 0) == list_empty(&j->runs));
    assert(live->compiled || !live->schedule);
    assert(j->def || (!live->held && !live->voided && !live->schedule));
    assert(!s->leading || (live->unrecovered >= 0 && live->unrecovered <= s->takeover.unrecovered));
}

void invariant_run(const struct scheduler *s, const struct run *r)
{
    const struct run_live *live = &r->live;

    assert(s->leading);
    assert((live->waits_in != NULL) == (live->queue_item.slot > 0));
    assert(!live->permitted || r->fired);
    assert(live->permitted || (!live->pool_permit && !live->running_permit));
    assert(!live->released || r->attempt_count > 0);
    assert(!live->unrecovered || (r->job->live.unrecovered > 0 && s->takeover.unrecovered > 0));
    assert(live->ticket < s->next_ticket && live->stop_ticket < s->next_ticket);
    assert(live->ticket == 0 || live->ticket != live->stop_ticket);
}

void invariant_queue(const struct run_queue *q)
{
    const struct heap_item *first = heap_first(&q->waiting);

    assert(q->taken >= 0);
    assert(!first || LIST_ITEM(first, struct run, live.queue_item)->live.waits_in == q);
}
