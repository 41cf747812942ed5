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

bool scheduler_leader_stall(struct scheduler *s, char *ret_text, size_t size)
{
    int64_t now_ms = s->o.env->wall_ms(s->o.env), oldest = HEAP_NEVER;
    const struct job_state *late = NULL;
    struct job_state *j, *next;
    char time[TEXT_NUMBER_BUFFER];

    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        int64_t at = stalled_since_ms(s, j, now_ms);

        if (at < oldest) {
            oldest = at;
            late = j;
        }
    }
    if (!late)
        return false;
    assert(oldest <= now_ms - LEADER_STALL_MS);
    snprintf(ret_text, size, "%s at %s", late->name, instant_format(oldest, INSTANT_S, time, sizeof(time)));
    return true;
}
