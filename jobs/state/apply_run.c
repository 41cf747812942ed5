/* What becomes of runs: how they begin, move and end, and what their ends cause.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/state/apply_priv.h"
#include "jobs/state/run_id.h"

#include <stdio.h>

/* which run states may follow which; a record that asks for another move is corrupt */
static const unsigned moves[] = {
#define TO(x) (1u << RUN_##x)
    [RUN_WAITING] = TO(STARTING) | TO(RUNNING) | TO(UNRESOLVED) | TO(ENDED) | TO(WAITING) | TO(ARMED) |
                    TO(RETRYING),
    [RUN_ARMED] = TO(STARTING) | TO(WAITING) | TO(RUNNING) | TO(UNRESOLVED) | TO(ENDED) | TO(ARMED) |
                  TO(RETRYING),
    [RUN_STARTING] = TO(RUNNING) | TO(WAITING) | TO(RETRYING) | TO(UNRESOLVED) | TO(ENDED) | TO(STARTING),
    [RUN_RUNNING] = TO(RETRYING) | TO(UNRESOLVED) | TO(ENDED) | TO(RUNNING),
    [RUN_RETRYING] = TO(STARTING) | TO(ENDED),
    [RUN_UNRESOLVED] = TO(STARTING) | TO(RUNNING) | TO(WAITING) | TO(RETRYING) | TO(ENDED) | TO(UNRESOLVED) |
                       TO(ARMED),
    [RUN_ENDED] = 0,
#undef TO
};

void apply_run_move(struct apply_context *c, struct run *run, enum run_state to)
{
    if (!(moves[run->state] >> to & 1))
        c->bad_move = true;
    run->state = to;
}

void apply_run_touch(struct apply_context *c, struct run *run)
{
    if (run->state != RUN_ENDED) {
        list_remove(&run->dirty);
        list_append(&c->s->dirty, &run->dirty);
    }
}

int apply_corrupt(struct apply_context *c, const char *what)
{
    return error_set(c->error, ERR_CORRUPT, "batch %llu: %s: %s", (unsigned long long)c->batch->index,
                     record_kind_name(c->r->kind), what);
}

/* ---- the end of a run ---- */

static bool notifies_of(const struct job_notify *n, enum run_verdict verdict)
{
    for (size_t i = 0; i < n->on.count; i++)
        if (run_verdict_of(n->on.items[i]) == verdict)
            return true;
    return false;
}

void apply_run_notify(struct state *s, const struct job *def, const char *run, enum run_verdict verdict,
                      json_t *body)
{
    for (size_t i = 0; def && i < def->notify_count; i++) {
        char id[RUN_ID_MAX + 8];
        json_t *headers;

        if (!notifies_of(&def->notify[i], verdict))
            continue;
        snprintf(id, sizeof(id), "%s/%zu", run, i);
        headers = job_notify_headers(&def->notify[i]);
        if (!headers)
            alloc_failed();
        state_add_notice(s, id, def->notify[i].url, headers, json_incref(body));
    }
    json_decref(body);
}

/* A run caused by its parents: all of them have succeeded since its last one. */
void apply_run_after(struct apply_context *c, struct job_state *j)
{
    uint32_t all = j->def->after.count >= 32 ? UINT32_MAX : (1u << j->def->after.count) - 1;
    char id[RUN_ID_MAX];
    struct run *run;

    if (j->after_done != all || state_paused(c->s, j))
        return;
    state_image_keep(c->s, j);
    j->after_done = 0;
    j->last_manual_ms = apply_later(c->batch->time_ms, j->last_manual_ms + 1);
    run = state_add_run(c->s, j, run_id_format(j->name, j->last_manual_ms, true, id));
    run->at_ms = run->fire_ms = run->due_ms = j->last_manual_ms;
    run->has_ms = run->fired = run->queued = true;
    run->previous_fire_ms = j->last_fire_ms == INT64_MIN ? 0 : j->last_fire_ms;
    j->last_fire_ms = run->fire_ms;
    run->cause = CAUSE_AFTER;
    apply_run_touch(c, run);
}

static void cause_children(struct apply_context *c, const char *parent)
{
    const struct state_children *children = state_after(c->s, parent);

    for (size_t n = 0; children && n < children->count; n++) {
        struct job_state *j = children->jobs[n];

        for (size_t i = 0; i < j->def->after.count; i++)
            if (strcmp(j->def->after.items[i], parent) == 0) {
                state_image_keep(c->s, j);
                j->after_done |= 1u << i;
                apply_run_after(c, j);
            }
    }
}

void apply_run_end(struct apply_context *c, struct run *run, enum run_verdict verdict)
{
    struct job_state *j = run->job;
    bool causes = verdict == VERDICT_SUCCEEDED && (run->cause != CAUSE_MANUAL || run->children) &&
                  !state_in_lost_time(c->s, run);

    apply_run_move(c, run, RUN_ENDED);
    run->verdict = verdict;
    run->ended_ms = c->batch->time_ms;
    if (run->attempt_count && run_attempt(run)->ended_ms)
        run->ended_ms = run_attempt(run)->ended_ms;
    if (c->s->level >= RECORD_RECENT_LEVEL) {
        j->recent = state_recent(j);
        recent_ended(&j->recent, verdict, run->fire_ms, run->started_ms, run->ended_ms);
    }
    if (!run_verdict_is_skip(verdict)) {
        alloc_replace(&j->last_run, run->id);
        j->last_verdict = verdict;
        j->last_ended_ms = run->ended_ms;
    }
    c->s->verdicts[verdict]++;
    apply_run_notify(c->s, run_def(run), run->id, verdict, state_run_json(run));
    state_end_run(c->s, run);
    if (causes)
        cause_children(c, j->name);
}

/* In order: the leader has evaluated every fire time before it. Otherwise (an attempt turns out to run, or is
 * given up, before its fire time was evaluated) the cursor stays, and the fire time is remembered beyond it. */
void apply_run_set_fired(struct apply_context *c, struct run *run, bool in_order)
{
    struct job_state *j = run->job;

    if (run->fired)
        return;
    run->fired = true;
    j->last_fire_ms = apply_later(j->last_fire_ms, run->fire_ms);
    if (in_order)
        state_move_cursor(j, run->fire_ms);
    else if (run->fire_ms > j->cursor_ms)
        state_add_ahead(j, run->fire_ms);
}

int64_t apply_run_retry_ms(const struct apply_context *c, const struct run *run)
{
    const struct job *def = run_def(run);
    double delay = (double)def->retries_delay_ms, cap = (double)def->retries_max_delay_ms;
    int number = run->attempts[run->attempt_count - 1].number;

    for (int i = 1; i < number && delay < cap; i++)
        delay *= def->retries_backoff;
    return c->batch->time_ms + (int64_t)(delay < cap ? delay : cap);
}

static bool retries_on(const struct job *def, int exit_code)
{
    for (size_t i = 0; i < def->retries_on_exit_count; i++)
        if (def->retries_on_exit[i] == exit_code)
            return true;
    return def->retries_on_exit_count == 0;
}

/* The newest attempt failed: another one later, or the end. */
void apply_run_retry_or_end(struct apply_context *c, struct run *run, enum run_verdict verdict)
{
    const struct job *def = run_def(run);
    const struct attempt *a = run_attempt(run);

    if (a->number <= def->retries_max && retries_on(def, a->exit_code) && !state_in_lost_time(c->s, run)) {
        apply_run_move(c, run, RUN_RETRYING);
        run->retry_ms = apply_run_retry_ms(c, run);
    } else {
        apply_run_end(c, run, verdict);
    }
}

/* ---- records ---- */

static bool unknown_cause(const struct apply_context *c)
{
    return RECORD_HAS(c->r, cause) && !run_cause_of(c->r->cause);
}

/* A new run from the id in the record. */
int apply_run_new(struct apply_context *c, struct run **ret)
{
    char name[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;
    struct job_state *j;
    struct run *run;

    if (run_id_parse(c->r->run, name, &at_ms, &has_ms) < 0)
        return apply_corrupt(c, "the run id is invalid");
    j = state_job(c->s, name);
    if (!j)
        return apply_corrupt(c, "there is no such job");
    if (state_run(c->s, c->r->run))
        return apply_corrupt(c, "the run is there already");
    if (unknown_cause(c))
        return apply_corrupt(c, "the cause is unknown");
    run = state_add_run(c->s, j, c->r->run);
    run->at_ms = at_ms;
    run->has_ms = has_ms;
    run->fire_ms = c->r->fire_ms;
    run->due_ms = RECORD_HAS(c->r, due_ms) ? c->r->due_ms : c->batch->time_ms;
    run->cause = RECORD_HAS(c->r, cause) ? run_cause_of(c->r->cause) : CAUSE_SCHEDULE;
    run->previous_fire_ms = j->last_fire_ms == INT64_MIN ? 0 : j->last_fire_ms;
    LIST_EACH(link, &j->runs)
    {
        const struct run *other = LIST_ITEM(link, struct run, of_job);

        if (!other->fired && other != run) /* reserved before this one */
            run->previous_fire_ms = apply_later(run->previous_fire_ms, other->fire_ms);
    }
    if (has_ms)
        j->last_manual_ms = apply_later(j->last_manual_ms, at_ms);
    *ret = run;
    return 0;
}

int apply_run_trigger(struct apply_context *c)
{
    const struct record *r = c->r;
    struct run *run;
    int rc = apply_run_new(c, &run);

    if (rc < 0)
        return rc;
    run->fired = true;
    run->queued = RECORD_HAS(r, queue) && r->queue;
    run->children = RECORD_HAS(r, children) && r->children;
    run->by = alloc_text(RECORD_HAS(r, by) ? r->by : NULL);
    run->params = json_incref(r->params);
    state_count_run(c->s, run);
    if (RECORD_HAS(r, key))
        state_add_key(c->s, run->job->name, r->key, r->digest, r->run, c->batch->time_ms);
    apply_run_touch(c, run);
    return 0;
}

int apply_run_fire(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    const struct attempt *a;
    int rc = run ? 0 : apply_run_new(c, &run);

    if (rc < 0)
        return rc;
    if (unknown_cause(c))
        return apply_corrupt(c, "the cause is unknown");
    apply_run_set_fired(c, run, !(RECORD_HAS(c->r, ahead) && c->r->ahead));
    run->due_ms = c->r->due_ms;
    if (RECORD_HAS(c->r, cause))
        run->cause = run_cause_of(c->r->cause);
    apply_run_touch(c, run);
    a = run_attempt(run);
    if (a && a->state == ATTEMPT_START_FAILED)
        apply_run_retry_or_end(c, run, VERDICT_FAILED);
    else if (run->state == RUN_UNRESOLVED)
        return 0; /* its attempt's outcome decides */
    else if (a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
        apply_run_move(c, run, RUN_STARTING);
    else
        apply_run_move(c, run, RUN_WAITING);
    return 0;
}

int apply_run_close(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    enum run_verdict verdict = run_verdict_of(c->r->verdict);

    if (!run || !verdict)
        return apply_corrupt(c, "there is no such run or verdict");
    apply_run_set_fired(c, run, false);
    if (RECORD_HAS(c->r, text))
        alloc_replace(&run->text, c->r->text);
    apply_run_end(c, run, verdict);
    return 0;
}
