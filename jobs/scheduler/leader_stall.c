/* Is the leader doing its work? A standby holds the same schedules and cursors, so it sees when a fire time
 * has passed without a FIRE or SKIPPED record: the sign of a leader that lives but does not fire. */
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

/* A fire time that waits for the outcome of what an earlier leader prepared is late for a reason. */
static bool waits_for_recovery(const struct scheduler *s, struct job_state *j)
{
    invariant_job(s, j);
    LIST_EACH(link, &j->runs)
    {
        const struct attempt *a = run_attempt(LIST_ITEM(link, struct run, of_job));

        if (a && a->epoch < s->state.epoch && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
            return true;
    }
    return false;
}

static int64_t stalled_since_ms(struct scheduler *s, struct job_state *j, int64_t now_ms)
{
    int64_t at;

    if (!j->def || state_paused(&s->state, j))
        return HEAP_NEVER;
    at = rules_next_ms(s, j);
    if (at == HEAP_NEVER || at + j->def->jitter_ms + LEADER_STALL_MS > now_ms || waits_for_recovery(s, j))
        return HEAP_NEVER;
    assert(at > j->cursor_ms);
    return at;
}

bool scheduler_leader_stall_step(struct scheduler *s)
{
    int64_t now_ms = s->o.env->wall_ms(s->o.env);
    struct stall_look *l = &s->stall;

    if (!l->goes_on)
        *l = (struct stall_look){.goes_on = true, .next = s->state.jobs, .oldest_ms = HEAP_NEVER};
    for (size_t left = turn_walk_items(s); l->next && left > 0; left--) {
        struct job_state *j = l->next;
        int64_t at = stalled_since_ms(s, j, now_ms);

        l->next = j->by_name.next;
        if (at < l->oldest_ms) {
            l->oldest_ms = at;
            snprintf(l->job, sizeof(l->job), "%s", j->name);
        }
    }
    l->goes_on = l->next != NULL;
    return l->goes_on;
}

bool scheduler_leader_stall(struct scheduler *s, char *ret_text, size_t size)
{
    const struct stall_look *l = &s->stall;
    struct job_state *j = l->goes_on || !l->job[0] ? NULL : state_job(&s->state, l->job);
    char time[TEXT_NUMBER_BUFFER];

    if (!j || stalled_since_ms(s, j, s->o.env->wall_ms(s->o.env)) == HEAP_NEVER)
        return false; /* or it has been recorded since it was looked at */
    assert(l->oldest_ms < HEAP_NEVER);
    snprintf(ret_text, size, "%s at %s", l->job, instant_format(l->oldest_ms, INSTANT_S, time, sizeof(time)));
    return true;
}

void leader_stall_job_gone(struct scheduler *s, const struct job_state *j)
{
    if (s->stall.next == j)
        s->stall.next = j->by_name.next;
}
