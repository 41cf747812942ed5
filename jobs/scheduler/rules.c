/* What a job's definition says of its fire times, and of runs of the same job beside one another. Changes
 * nothing but the compiled schedule.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>

/* ---- fire times ---- */

/* The zone source has other rules than those by which it was compiled. When this leader has recorded them, the job's last
 * local time before is kept for the planner. */
static void drop_compiled(struct scheduler *s, struct job_state *j)
{
    const struct schedule *schedule = j->live.schedule;
    int64_t last;

    if (s->leading && s->zones_epoch == s->epoch && !j->live.other_zones) {
        j->live.other_zones = true;
        j->live.ran_local[0] = '\0';
        last = schedule && schedule_fixed(schedule) ? schedule_prev(schedule, s->zones_ms / 1000 + 1)
                                                    : INT64_MIN;
        if (last >= j->anchor_ms / 1000)
            schedule_local(schedule, last, j->live.ran_local, sizeof(j->live.ran_local));
    }
    schedule_free(j->live.schedule);
    j->live.schedule = NULL;
    j->live.compiled = false;
}

struct schedule *rules_schedule(struct scheduler *s, struct job_state *j)
{
    struct error error = {0};

    if (j->live.compiled && j->live.zones_serial != s->zones_serial)
        drop_compiled(s, j);
    if (!j->live.compiled && j->def) {
        j->live.compiled = true;
        j->live.zones_serial = s->zones_serial;
        j->live.next_known = false;
        if (job_compile(j->def, j->seed, j->anchor_ms / 1000, s->o.zones, &j->live.schedule, &error) < 0) {
            /* it compiled when it was applied; its zone has gone since */
            j->live.schedule = NULL;
            s->o.env->log(s->o.env, LOG_ERROR, "schedule-unusable", j->name, NULL, error.text);
        }
    }
    assert(!j->live.schedule || (j->live.compiled && j->def));
    return j->live.schedule;
}

bool rules_is_fire_time(struct scheduler *s, struct job_state *j, int64_t fire_ms)
{
    struct schedule *schedule = rules_schedule(s, j);

    return schedule && schedule_match(schedule, fire_ms / 1000);
}

int64_t rules_cursor_s(const struct job_state *j)
{
    return j->cursor_ms == INT64_MIN ? INT64_MIN / 2 : instant_floor_s(j->cursor_ms);
}

int64_t rules_due_ms(const struct schedule *schedule, int64_t at_s)
{
    int64_t jitter_ms = schedule_jitter_ms(schedule, at_s);

    assert(jitter_ms >= 0);
    return at_s * 1000 + jitter_ms;
}

int64_t rules_next_ms(struct scheduler *s, struct job_state *j)
{
    struct schedule *schedule = rules_schedule(s, j);
    int64_t at;

    if (!j->live.next_known || j->live.next_after_ms != j->cursor_ms) {
        at = schedule ? schedule_next(schedule, rules_cursor_s(j)) : SCHEDULE_NEVER;
        j->live.next_ms = at == SCHEDULE_NEVER ? HEAP_NEVER : at * 1000;
        j->live.next_after_ms = j->cursor_ms;
        j->live.next_known = true;
    }
    assert(j->live.next_ms == HEAP_NEVER || j->live.next_ms > j->cursor_ms);
    return j->live.next_ms;
}

int64_t rules_previous_ms(struct scheduler *s, struct run *r)
{
    struct schedule *schedule = NULL, *own = NULL;
    int64_t at_s = INT64_MIN;
    struct error error = {0};

    if (r->def && r->def != r->job->def) {
        if (job_compile(r->def, r->job->seed, r->job->anchor_ms / 1000, s->o.zones, &own, &error) == 0)
            schedule = own;
    } else {
        schedule = rules_schedule(s, r->job);
    }
    if (schedule)
        at_s = schedule_prev(schedule, instant_ceil_s(r->fire_ms));
    schedule_free(own);
    if (schedule && at_s == INT64_MIN)
        return 0;
    if (schedule) {
        assert(at_s * 1000 < r->fire_ms);
        return at_s * 1000;
    }
    return r->previous_fire_ms < r->fire_ms ? r->previous_fire_ms : 0;
}

int64_t rules_exact_ms(const struct scheduler *s, const struct job_state *j)
{
    return s->now_ms > j->last_manual_ms || MUTANT(SAME_MANUAL_ID) ? s->now_ms : j->last_manual_ms + 1;
}

const char *rules_engine_name(const struct scheduler *s, const struct job *def)
{
    assert(def);
    return def->engine.count ? def->engine.items[0] : s->o.default_engine;
}

/* ---- overlap ---- */

bool rules_is_queued(const struct run *r)
{
    return r->queued && r->cause != CAUSE_AFTER;
}

bool rules_catches_up_in_turn(const struct job *def, enum run_cause cause)
{
    assert(cause > CAUSE_NONE && cause < CAUSE_COUNT);
    return cause == CAUSE_CATCH_UP && def->catch_up == JOB_CATCH_UP_ALL && rules_room(def) > 0;
}

bool rules_waits_turn(const struct run *r)
{
    const struct job *def = run_def(r);

    return rules_is_queued(r) || rules_catches_up_in_turn(def, r->cause) || def->concurrency == JOB_QUEUE ||
           def->concurrency == JOB_REPLACE;
}

bool rules_occupies(const struct run *r)
{
    return r->fired && r->state != RUN_ENDED && (r->live.permitted || !rules_waits_turn(r));
}

int rules_max_running(const struct job *def)
{
    bool may_overlap = def->concurrency == JOB_ALLOW || def->concurrency == JOB_QUEUE;

    assert(def->max_running >= 0);
    return may_overlap ? def->max_running : 0;
}

int rules_room(const struct job *def)
{
    switch (def->concurrency) {
    case JOB_FORBID:
    case JOB_REPLACE:
        return 1;
    case JOB_ALLOW:
        return def->max_running;
    default:
        assert(def->concurrency == JOB_QUEUE);
        return 0; /* the others wait, as many as queue_max allows */
    }
}

bool rules_has_started(const struct run *r)
{
    for (size_t i = 0; i < r->attempt_count; i++)
        if (r->attempts[i].started_ms || r->attempts[i].number > 1)
            return true;
    return false;
}

bool rules_is_left(const struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);

    assert(s->leading);
    if (!r->fired || r->state == RUN_ENDED || r->live.unrecovered || rules_has_started(r) ||
        (r->cause != CAUSE_SCHEDULE && r->cause != CAUSE_CATCH_UP))
        return false;
    if (a && a->state == ATTEMPT_ARMED)
        return a->epoch != s->epoch;
    return a && a->state == ATTEMPT_NEVER_RAN ? true : r->live.left && (!a || a->state == ATTEMPT_REVOKED);
}

int rules_busy_count(const struct scheduler *s, const struct job_state *j, const struct run *but)
{
    int n = 0;

    assert(!but || but->job == j);
    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        n += r != but && rules_occupies(r) && !rules_is_left(s, r);
    }
    assert((size_t)n <= j->run_count);
    return n;
}

int rules_waiting_count(const struct job_state *j, const struct run *before)
{
    int n = 0;

    assert(!before || before->job == j);
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        n += r->fired && !rules_occupies(r) && (!before || r->seq < before->seq);
    }
    assert((size_t)n <= j->run_count);
    return n;
}

const struct run *rules_busy_with(const struct scheduler *s, const struct job_state *j, const struct run *but)
{
    assert(!but || but->job == j);
    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r != but && (MUTANT(ARMED_IS_BUSY) || !rules_is_left(s, r)) && rules_occupies(r) &&
            !(MUTANT(OVERLAP_ON_STARTED) && r->state != RUN_RUNNING))
            return r;
    }
    return NULL;
}
