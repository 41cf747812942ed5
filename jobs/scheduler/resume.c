/* The end of the pause of all: each fire time in it is accounted for, then the pause ends, then the jobs are looked at.
 *
 * All of it is in steps, since there may be more than a hundred thousand jobs, each with fire times in the pause. The pause
 * stays in force until the last step has written RESUME; what falls due meanwhile is fired after it. A leader that goes
 * in between leaves a pause, of which part is accounted for: the next one that ends it goes over all jobs again, and
 * skips what is left.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"

#include <assert.h>

static void put_resume(struct scheduler *s)
{
    struct record *r = turn_record(s, RECORD_RESUME);

    assert(s->resume.step == RESUME_SKIPS && s->state.paused);
    PUT_TEXT(s, r, by, s->resume.by);
    turn_commit(s, r);
    assert(!s->state.paused);
}

static void skip(struct scheduler *s, struct job_state *j)
{
    int64_t to_ms = s->resume.to_ms;

    assert(s->resume.step == RESUME_SKIPS);
    if (j->def && (j->run_count || j->ahead_count || rules_next_ms(s, j) <= to_ms))
        planner_skip_to(s, j, to_ms, VERDICT_PAUSED, j->paused ? j->pause_reason : s->state.pause_reason);
}

/* Most have no runs, have not been looked at in the pause, and will be in their time. */
static void wake(struct scheduler *s, struct job_state *j)
{
    assert(s->resume.step == RESUME_WAKES);
    if (j->def && (j->run_count > 0 || j->live.timer.slot == 0 ||
                   j->live.timer.at > rules_next_ms(s, j) - s->o.arm_ahead_ms))
        turn_wake_job_later(s, j);
}

static void next_step(struct scheduler *s)
{
    struct resume *r = &s->resume;

    assert(r->step != RESUME_NONE && !r->next);
    if (r->step == RESUME_SKIPS) {
        put_resume(s);
        turn_clients_wait_for(s, turn_index(s));
        r->step = RESUME_WAKES;
        r->next = s->state.jobs;
    } else {
        resume_drop(s);
    }
}

void resume_step(struct scheduler *s)
{
    struct resume *r = &s->resume;
    uint64_t records = s->record_count + RESUMED_PER_STEP;
    size_t left = turn_walk_items(s);

    if (!resume_wants_turn(s))
        return; /* or the journal is behind: its answers come first */
    for (; r->next && left > 0 && s->record_count < records; left--) {
        struct job_state *j = r->next;

        invariant_job(s, j);
        r->next = j->by_name.next;
        if (r->step == RESUME_SKIPS)
            skip(s, j);
        else
            wake(s, j);
    }
    if (!r->next)
        next_step(s);
}

void resume_begin(struct scheduler *s, int64_t to_ms, const char *by)
{
    struct resume *r = &s->resume;

    assert(s->leading && s->state.paused);
    if (r->step == RESUME_SKIPS)
        return; /* it ends already */
    resume_drop(s);
    *r = (struct resume){RESUME_SKIPS, to_ms, alloc_text(by), s->state.jobs};
    resume_step(s); /* with few jobs that is all */
    if (r->step == RESUME_WAKES)
        resume_step(s);
}

void resume_due(struct scheduler *s)
{
    assert(s->leading);
    if (s->state.paused && s->state.pause_until_ms && s->state.pause_until_ms <= s->now_ms &&
        !all_jobs_pause_goes_on(s))
        resume_begin(s, s->state.pause_until_ms, "expiry");
}

bool resume_wants_turn(const struct scheduler *s)
{
    return s->resume.step != RESUME_NONE && s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX / 2;
}

bool resume_goes_on(const struct scheduler *s)
{
    return s->resume.step == RESUME_SKIPS;
}

void resume_job_gone(struct scheduler *s, const struct job_state *j)
{
    if (s->resume.next == j)
        s->resume.next = j->by_name.next;
    assert(s->resume.next != j);
}

void resume_drop(struct scheduler *s)
{
    free(s->resume.by);
    s->resume = (struct resume){0};
}
