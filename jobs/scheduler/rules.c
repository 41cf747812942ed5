/* What a job's definition says of its fire times, and of runs of the same job beside one another. Changes
 * nothing but the compiled schedule.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

/* ---- fire times ---- */

struct schedule *rules_schedule(struct scheduler *s, struct job_state *j)
{
    struct error error = {0};

    if (!j->live.compiled && j->def) {
        j->live.compiled = true;
        j->live.next_known = false;
        if (job_compile(j->def, j->seed, j->anchor_ms / 1000, s->o.zones, &j->live.schedule, &error) < 0) {
            /* it compiled when it was applied; its zone has gone since */
            j->live.schedule = NULL;
            s->o.env->log(s->o.env, LOG_ERROR, "schedule-unusable", j->name, NULL, error.text);
        }
    }
    assert(j->live.compiled || !j->live.schedule);
    return j->live.schedule;
}

bool rules_is_fire_time(struct scheduler *s, struct job_state *j, int64_t fire_ms)
{
    struct schedule *schedule = rules_schedule(s, j);

    return schedule && schedule_match(schedule, fire_ms / 1000);
}

int64_t rules_cursor_s(const struct job_state *j)
{
    if (j->cursor_ms == INT64_MIN)
        return INT64_MIN / 2;
    return j->cursor_ms >= 0 ? j->cursor_ms / 1000 : (j->cursor_ms - 999) / 1000;
}

int64_t rules_due_ms(const struct schedule *schedule, int64_t at_s)
{
    return at_s * 1000 + schedule_jitter_ms(schedule, at_s);
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
    return j->live.next_ms;
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

bool rules_waits_turn(const struct run *r)
{
    const struct job *def = run_def(r);

    return r->queued || def->concurrency == JOB_QUEUE || def->concurrency == JOB_REPLACE;
}

bool rules_occupies(const struct run *r)
{
    return r->fired && r->state != RUN_ENDED && (r->live.permitted || !rules_waits_turn(r));
}

int rules_max_running(const struct job *def)
{
    bool may_overlap = def->concurrency == JOB_ALLOW || def->concurrency == JOB_QUEUE;

    return may_overlap ? def->max_running : 0;
}

int rules_busy_count(const struct job_state *j, const struct run *but)
{
    int n = 0;

    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        n += r != but && rules_occupies(r);
    }
    return n;
}

int rules_waiting_count(const struct job_state *j)
{
    int n = 0;

    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        n += r->fired && !rules_occupies(r);
    }
    return n;
}

/* The run that keeps others of its job from running, or NULL. */
const struct run *rules_busy_with(const struct job_state *j, const struct run *but)
{
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r != but && rules_occupies(r) && !(MUTANT(OVERLAP_ON_STARTED) && r->state != RUN_RUNNING))
            return r;
    }
    return NULL;
}
