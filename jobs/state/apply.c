/* What each record does to the state. Nothing here decides: the leader did, when it wrote the record; and
 * nothing here depends on anything but the state and the record, so that every replica gets the same state.
 * A journal is outside input: a record that does not fit the state is ERR_CORRUPT, never an assertion.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"
#include "jobs/state/state_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

struct apply_context {
    struct state *s;
    const struct batch *batch;
    const struct record *r;
    struct error *error;
    bool bad_move;
};

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
    [RUN_UNRESOLVED] = TO(RUNNING) | TO(WAITING) | TO(RETRYING) | TO(ENDED) | TO(UNRESOLVED) | TO(ARMED),
    [RUN_ENDED] = 0,
#undef TO
};

/* the same for attempts; ARM makes a new one, unless the one before may still run */
static const unsigned attempt_moves[] = {
#define TO(x) (1u << ATTEMPT_##x)
    [ATTEMPT_ARMED] = TO(COMMITTED) | TO(REVOKED) | TO(NEVER_RAN) | TO(START_FAILED),
    [ATTEMPT_COMMITTED] = TO(COMMITTED) | TO(STARTED) | TO(REVOKED) | TO(NEVER_RAN) | TO(START_FAILED) |
                          TO(UNKNOWN),
    [ATTEMPT_STARTED] = TO(STARTED) | TO(START_FAILED) | TO(ENDED) | TO(UNKNOWN),
    [ATTEMPT_REVOKED] = 0,
    [ATTEMPT_NEVER_RAN] = TO(REVOKED),
    [ATTEMPT_START_FAILED] = TO(REVOKED),
    [ATTEMPT_ENDED] = 0,
    [ATTEMPT_UNKNOWN] = 0,
#undef TO
};

static void move_attempt(struct apply_context *c, struct attempt *a, enum attempt_state to)
{
    if (!(attempt_moves[a->state] >> to & 1))
        c->bad_move = true;
    a->state = to;
}

static bool may_run(const struct attempt *a)
{
    return a->state == ATTEMPT_COMMITTED || a->state == ATTEMPT_STARTED;
}

static void move(struct apply_context *c, struct run *run, enum run_state to)
{
    if (!(moves[run->state] >> to & 1))
        c->bad_move = true;
    run->state = to;
}

static void touch(struct apply_context *c, struct run *run)
{
    if (run->state != RUN_ENDED) {
        list_remove(&run->dirty);
        list_append(&c->s->dirty, &run->dirty);
    }
}

static int corrupt(struct apply_context *c, const char *what)
{
    return error_set(c->error, ERR_CORRUPT, "batch %llu: %s: %s", (unsigned long long)c->batch->index,
                     record_kind_name(c->r->kind), what);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- the end of a run ---- */

static bool notifies_of(const struct job_notify *n, enum run_verdict verdict)
{
    for (size_t i = 0; i < n->on.count; i++)
        if (run_verdict_of(n->on.items[i]) == verdict)
            return true;
    return false;
}

static void notify(struct state *s, const struct job *def, const char *run, enum run_verdict verdict,
                   json_t *body)
{
    for (size_t i = 0; def && i < def->notify_count; i++) {
        char id[RUN_ID_MAX + 8];

        if (!notifies_of(&def->notify[i], verdict))
            continue;
        snprintf(id, sizeof(id), "%s/%zu", run, i);
        state_add_notice(s, id, def->notify[i].url, json_incref(body));
    }
    json_decref(body);
}

/* A run caused by its parents: all of them have succeeded since its last one. */
static void run_after(struct apply_context *c, struct job_state *j)
{
    uint32_t all = j->def->after.count >= 32 ? UINT32_MAX : (1u << j->def->after.count) - 1;
    char id[RUN_ID_MAX];
    struct run *run;

    if (j->after_done != all || state_paused(c->s, j))
        return;
    j->after_done = 0;
    j->last_exact_ms = later(c->batch->time_ms, j->last_exact_ms + 1);
    run = state_add_run(c->s, j, run_id_format(j->name, j->last_exact_ms, true, id));
    run->at_ms = run->fire_ms = run->due_ms = j->last_exact_ms;
    run->exact = run->fired = run->queued = true;
    run->previous_fire_ms = j->last_fire_ms == INT64_MIN ? 0 : j->last_fire_ms;
    j->last_fire_ms = run->fire_ms;
    run->cause = CAUSE_AFTER;
    touch(c, run);
}

static void cause_children(struct apply_context *c, const char *parent)
{
    LIST_EACH(link, &c->s->dependents)
    {
        struct job_state *j = LIST_ITEM(link, struct job_state, dependents);

        for (size_t i = 0; i < j->def->after.count; i++)
            if (strcmp(j->def->after.items[i], parent) == 0) {
                j->after_done |= 1u << i;
                run_after(c, j);
            }
    }
}

static void end_run(struct apply_context *c, struct run *run, enum run_verdict verdict)
{
    struct job_state *j = run->job;

    move(c, run, RUN_ENDED);
    run->verdict = verdict;
    run->ended_ms = c->batch->time_ms;
    if (run->attempt_count && run_attempt(run)->ended_ms)
        run->ended_ms = run_attempt(run)->ended_ms;
    if (!run_verdict_is_skip(verdict)) {
        alloc_replace(&j->last_run, run->id);
        j->last_verdict = verdict;
        j->last_ended_ms = run->ended_ms;
    }
    c->s->verdicts[verdict]++;
    notify(c->s, run_def(run), run->id, verdict, state_run_json(run));
    state_end_run(c->s, run);
    if (verdict == VERDICT_SUCCEEDED && (run->cause != CAUSE_MANUAL || run->children))
        cause_children(c, j->name);
}

/* In order: the leader has evaluated every fire time before it. Otherwise (an attempt turns out to run, or is
 * given up, before its fire time was evaluated) the cursor stays, and the fire time is remembered beyond it. */
static void fire(struct apply_context *c, struct run *run, bool in_order)
{
    struct job_state *j = run->job;

    if (run->fired)
        return;
    run->fired = true;
    j->last_fire_ms = later(j->last_fire_ms, run->fire_ms);
    if (in_order)
        state_move_cursor(j, run->fire_ms);
    else if (run->fire_ms > j->cursor_ms)
        state_add_ahead(j, run->fire_ms);
}

static int64_t retry_delay_ms(const struct job *def, int attempt)
{
    double delay = (double)def->retries_delay_ms, cap = (double)def->retries_max_delay_ms;

    for (int i = 1; i < attempt && delay < cap; i++)
        delay *= def->retries_backoff;
    return (int64_t)(delay < cap ? delay : cap);
}

static bool retries_on(const struct job *def, int exit_code)
{
    for (size_t i = 0; i < def->retries_on_exit_count; i++)
        if (def->retries_on_exit[i] == exit_code)
            return true;
    return def->retries_on_exit_count == 0;
}

/* The newest attempt failed: another one later, or the end. */
static void attempt_failed(struct apply_context *c, struct run *run, enum run_verdict verdict)
{
    const struct job *def = run_def(run);
    const struct attempt *a = run_attempt(run);

    if (a->number <= def->retries_max && retries_on(def, a->exit_code)) {
        move(c, run, RUN_RETRYING);
        run->retry_ms = c->batch->time_ms + retry_delay_ms(def, a->number);
    } else {
        end_run(c, run, verdict);
    }
}

static void attempt_ended(struct apply_context *c, struct run *run)
{
    const struct attempt *a = run_attempt(run);

    if (run_stop_ends_run(a->stop_reason) && !MUTANT(KILL_RETRIES))
        end_run(c, run, VERDICT_KILLED);
    else if (!a->stop_reason && a->exit_code == 0)
        end_run(c, run, VERDICT_SUCCEEDED);
    else
        attempt_failed(c, run, a->stop_reason ? VERDICT_TIMED_OUT : VERDICT_FAILED);
}

/* ---- records ---- */

static int apply_epoch(struct apply_context *c)
{
    struct state *s = c->s;
    struct job_state *j, *next;

    if (c->r->epoch < s->epoch || c->r->epoch != c->batch->epoch)
        return corrupt(c, "the epoch goes back");
    s->epoch = c->r->epoch;
    s->level = later(s->level, c->r->level);
    alloc_replace(&s->replica, c->r->replica);
    if (!s->cluster)
        s->cluster = alloc_text(c->r->cluster);
    if (RECORD_HAS(c->r, tzdata))
        alloc_replace(&s->tzdata, c->r->tzdata);
    json_array_clear(s->staged); /* an unfinished change set dies with its epoch */
    HASH_ITER(by_name, s->jobs, j, next)
    {
        LIST_EACH(link, &j->runs)
        {
            struct run *run = LIST_ITEM(link, struct run, of_job);
            struct attempt *a = run_attempt(run);

            /* the leader before may have released it */
            if (!run->fired && a && a->state == ATTEMPT_COMMITTED && !a->handed_over &&
                run->due_ms <= c->batch->time_ms) {
                fire(c, run, false);
                if (run->state == RUN_ARMED)
                    move(c, run, RUN_STARTING);
                touch(c, run);
            }
        }
        if (!j->def && list_empty(&j->runs) && j->deleted_ms < c->batch->time_ms - STATE_TOMBSTONE_TTL_MS)
            state_drop_job(s, j);
    }
    return 0;
}

static bool same_list(const struct strings *a, const struct strings *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->count == b->count;
}

static int apply_job(struct apply_context *c)
{
    const struct record *r = c->r;
    struct job *def;
    struct job_state *j;
    bool was_paused;
    int rc = job_from_json(&def, r->job, r->def, NULL, c->error);

    if (rc < 0) {
        error_prefix(c->error, "batch %llu: job %s: ", (unsigned long long)c->batch->index, r->job);
        return ERR_CORRUPT;
    }
    j = state_add_job(c->s, r->job);
    was_paused = j->def && j->def->paused;
    if (!j->def) { /* new, or made again */
        c->s->job_count++;
        j->paused = false;
        j->after_done = 0;
        j->deleted_ms = 0;
    }
    if (def->paused != was_paused) {
        j->paused = def->paused;
        j->paused_ms = c->batch->time_ms;
        j->pause_until_ms = 0;
        alloc_replace(&j->pause_reason, def->paused ? "paused in its file" : NULL);
        alloc_replace(&j->pause_by, r->by);
    }
    if (j->def && !same_list(&j->def->after, &def->after))
        j->after_done = 0;
    job_unref(j->def);
    j->def = def;
    j->version = r->version;
    j->seed = (uint64_t)r->seed;
    j->anchor_ms = r->anchor_ms;
    state_move_cursor(j, r->cursor_ms);
    alloc_replace(&j->set, r->set);
    c->s->defs_index = c->batch->index;
    state_set_dependent(c->s, j);
    if (was_paused && def->after.count)
        run_after(c, j); /* what the pause held back */
    if (c->s->job_changed)
        c->s->job_changed(c->s->arg, j);
    return 0;
}

static int apply_delete(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);

    if (!j)
        return corrupt(c, "there is no such job");
    LIST_EACH(link, &j->runs)
    {
        struct run *run = LIST_ITEM(link, struct run, of_job);

        if (!run->def)
            run->def = job_ref(j->def);
    }
    LIST_EACH_SAFE(link, &j->backfills)
    {
        state_drop_backfill(LIST_ITEM(link, struct backfill, of_job));
    }
    job_unref(j->def);
    j->def = NULL;
    j->deleted_ms = c->batch->time_ms;
    state_move_cursor(j, c->batch->time_ms);
    j->paused = false;
    state_set_dependent(c->s, j);
    c->s->job_count--;
    c->s->defs_index = c->batch->index;
    if (c->s->job_changed)
        c->s->job_changed(c->s->arg, j);
    return 0;
}

/* Kept as it is; the strings belong to the staged object from here on. */
static int apply_stage(struct apply_context *c)
{
    const struct record *r = c->r;
    json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:I,s:O?,s:s?,s:s?}", "job", r->job, "version",
                          (json_int_t)r->version, "seed", (json_int_t)r->seed, "anchor",
                          (json_int_t)r->anchor_ms, "cursor", (json_int_t)r->cursor_ms, "def", r->def, "set",
                          r->set, "by", r->by);

    if (!o || json_array_append_new(c->s->staged, o) < 0)
        alloc_failed();
    return 0;
}

static int apply_staged(struct apply_context *c)
{
    json_t *staged = c->s->staged, *o;
    int rc = 0;
    size_t i;

    if ((int64_t)json_array_size(staged) != c->r->count)
        return corrupt(c, "not all of it is staged");
    c->s->staged = json_array();
    json_array_foreach(staged, i, o)
    {
        json_t *def = json_object_get(o, "def");
        struct record part = {.job = json_string_value(json_object_get(o, "job")),
                              .def = def,
                              .version = json_integer_value(json_object_get(o, "version")),
                              .seed = json_integer_value(json_object_get(o, "seed")),
                              .anchor_ms = json_integer_value(json_object_get(o, "anchor")),
                              .cursor_ms = json_integer_value(json_object_get(o, "cursor")),
                              .set = json_string_value(json_object_get(o, "set")),
                              .by = json_string_value(json_object_get(o, "by"))};
        struct apply_context each = {c->s, c->batch, &part, c->error, false};

        part.kind = json_is_object(def) ? RECORD_JOB : RECORD_JOB_DELETE;
        rc = rc < 0 ? rc : part.kind == RECORD_JOB ? apply_job(&each) : apply_delete(&each);
        if (rc == 0)
            apply_history_job(c->s, &part);
    }
    json_decref(staged);
    return rc;
}

static int apply_pause(struct apply_context *c, bool on)
{
    const struct record *r = c->r;
    struct state *s = c->s;
    int64_t until = RECORD_HAS(r, until_ms) ? r->until_ms : 0;

    if (!RECORD_HAS(r, job)) {
        s->paused = on;
        s->paused_ms = c->batch->time_ms;
        s->pause_until_ms = on ? until : 0;
        alloc_replace(&s->pause_reason, on ? r->reason : NULL);
        alloc_replace(&s->pause_by, on ? r->by : NULL);
    } else {
        struct job_state *j = state_job(s, r->job);

        if (!j)
            return corrupt(c, "there is no such job");
        j->paused = on;
        j->paused_ms = c->batch->time_ms;
        j->pause_until_ms = on ? until : 0;
        alloc_replace(&j->pause_reason, on ? r->reason : NULL);
        alloc_replace(&j->pause_by, on ? r->by : NULL);
    }
    if (!on)
        LIST_EACH(link, &s->dependents)
        {
            run_after(c, LIST_ITEM(link, struct job_state, dependents)); /* what the pause held back */
        }
    return 0;
}

static bool unknown_cause(const struct apply_context *c)
{
    return RECORD_HAS(c->r, cause) && !run_cause_of(c->r->cause);
}

/* A new run from the id in the record. */
static int new_run(struct apply_context *c, struct run **ret)
{
    char name[RUN_ID_MAX];
    int64_t at_ms;
    bool exact;
    struct job_state *j;
    struct run *run;

    if (run_id_parse(c->r->run, name, &at_ms, &exact) < 0)
        return corrupt(c, "the run id is invalid");
    j = state_job(c->s, name);
    if (!j)
        return corrupt(c, "there is no such job");
    if (state_run(c->s, c->r->run))
        return corrupt(c, "the run is there already");
    if (unknown_cause(c))
        return corrupt(c, "the cause is unknown");
    run = state_add_run(c->s, j, c->r->run);
    run->at_ms = at_ms;
    run->exact = exact;
    run->fire_ms = c->r->fire_ms;
    run->due_ms = RECORD_HAS(c->r, due_ms) ? c->r->due_ms : c->batch->time_ms;
    run->cause = RECORD_HAS(c->r, cause) ? run_cause_of(c->r->cause) : CAUSE_SCHEDULE;
    run->previous_fire_ms = j->last_fire_ms == INT64_MIN ? 0 : j->last_fire_ms;
    LIST_EACH(link, &j->runs)
    {
        const struct run *other = LIST_ITEM(link, struct run, of_job);

        if (!other->fired && other != run) /* reserved before this one */
            run->previous_fire_ms = later(run->previous_fire_ms, other->fire_ms);
    }
    if (exact)
        j->last_exact_ms = later(j->last_exact_ms, at_ms);
    *ret = run;
    return 0;
}

static int apply_trigger(struct apply_context *c)
{
    const struct record *r = c->r;
    struct run *run;
    int rc = new_run(c, &run);

    if (rc < 0)
        return rc;
    run->fired = true;
    run->queued = RECORD_HAS(r, queue) && r->queue;
    run->children = RECORD_HAS(r, children) && r->children;
    run->by = alloc_text(RECORD_HAS(r, by) ? r->by : NULL);
    run->params = json_incref(r->params);
    if (RECORD_HAS(r, key))
        state_add_key(c->s, run->job->name, r->key, r->digest, r->run, c->batch->time_ms);
    touch(c, run);
    return 0;
}

static int apply_fire(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    const struct attempt *a;
    int rc = run ? 0 : new_run(c, &run);

    if (rc < 0)
        return rc;
    if (unknown_cause(c))
        return corrupt(c, "the cause is unknown");
    fire(c, run, !(RECORD_HAS(c->r, ahead) && c->r->ahead));
    run->due_ms = c->r->due_ms;
    if (RECORD_HAS(c->r, cause))
        run->cause = run_cause_of(c->r->cause);
    touch(c, run);
    a = run_attempt(run);
    if (a && a->state == ATTEMPT_START_FAILED)
        attempt_failed(c, run, VERDICT_FAILED);
    else if (run->state == RUN_UNRESOLVED)
        return 0; /* its attempt's outcome decides */
    else if (a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
        move(c, run, RUN_STARTING);
    else
        move(c, run, RUN_WAITING);
    return 0;
}

static void notify_skipped(struct apply_context *c, const struct job_state *j, enum run_verdict reason)
{
    const struct record *r = c->r;
    char id[RUN_ID_MAX], from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];

    run_id_format(j->name, r->to_ms, r->to_ms % 1000 != 0, id);
    notify(c->s, j->def, id, reason,
           json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "run", id, "job", j->name, "state", "skipped",
                     "verdict", r->reason, "from", instant_format(r->from_ms, INSTANT_S, from, sizeof(from)),
                     "to", instant_format(r->to_ms, INSTANT_S, to, sizeof(to)), "count",
                     (json_int_t)r->count));
}

static int apply_skipped(struct apply_context *c)
{
    const struct record *r = c->r;
    struct job_state *j = state_job(c->s, r->job);
    struct run *run = RECORD_HAS(r, run) ? state_run(c->s, r->run) : NULL;
    enum run_verdict reason = run_verdict_of(r->reason);

    if (!run_verdict_is_skip(reason))
        return corrupt(c, "the reason is not a skip");
    if (r->count < 1 || r->from_ms > r->to_ms)
        return corrupt(c, "the range is invalid");
    if (j)
        state_move_cursor(j, r->to_ms);
    apply_history_skip(c->s, c->batch, c->r);
    if (run && run->fired) {
        end_run(c, run, reason);
        return 0;
    }
    if (run)
        state_end_run(c->s, run); /* a reservation */
    apply_history_skip_row(c->s, c->batch, c->r);
    c->s->verdicts[reason] += (uint64_t)r->count;
    if (j)
        notify_skipped(c, j, reason);
    return 0;
}

static int apply_passed(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);

    if (!j || !state_fired_ahead(j, c->r->to_ms))
        return corrupt(c, "that fire time was not fired");
    state_move_cursor(j, c->r->to_ms);
    return 0;
}

static int apply_arm(struct apply_context *c)
{
    const struct record *r = c->r;
    struct run *run = state_run(c->s, r->run);
    struct attempt *a;
    int rc = run ? 0 : new_run(c, &run);

    if (rc < 0)
        return rc;
    if (!run_def(run))
        return corrupt(c, "the job is gone");
    if (r->attempt < 1 || r->attempt > INT_MAX || r->try < 1 || r->try > INT_MAX)
        return corrupt(c, "attempts and tries count from 1");
    if (run_attempt(run) && may_run(run_attempt(run)))
        return corrupt(c, "the attempt before may still run");
    if (!run->def)
        run->def = job_ref(run->job->def);
    a = state_add_attempt(run, (int)r->attempt);
    a->try = (int)r->try;
    a->engine = alloc_text(r->engine);
    a->epoch = c->batch->epoch;
    a->index = c->batch->index;
    a->state = ATTEMPT_ARMED;
    move(c, run, run->fired ? RUN_STARTING : RUN_ARMED);
    touch(c, run);
    return 0;
}

static int apply_committed(struct apply_context *c, struct run *run, struct attempt *a)
{
    bool again = a->state == ATTEMPT_COMMITTED && a->handed_over && strcmp(a->id, c->r->id) == 0;

    if (!again && (a->state != ATTEMPT_ARMED || a->epoch != c->batch->epoch))
        return corrupt(c, "the attempt is neither armed in this epoch nor handed over to it");
    alloc_replace(&a->id, c->r->id);
    alloc_replace(&a->boot, RECORD_HAS(c->r, boot) ? c->r->boot : NULL);
    a->handed_over = false;
    a->committed_epoch = c->batch->epoch;
    move_attempt(c, a, ATTEMPT_COMMITTED);
    return 0;
}

static int apply_revoked(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_REVOKED);
    if (run->fired)
        move(c, run, RUN_WAITING);
    else
        state_end_run(c->s, run); /* the reservation is given up; its fire time is evaluated again */
    return 0;
}

static int apply_handed_over(struct apply_context *c, struct attempt *a)
{
    if (a->state != ATTEMPT_COMMITTED || a->committed_epoch != c->batch->epoch)
        return corrupt(c, "the attempt is not committed in this epoch");
    a->handed_over = true;
    return 0;
}

static int apply_started(struct apply_context *c, struct run *run, struct attempt *a)
{
    fire(c, run, false); /* whatever the clocks say: it runs */
    move_attempt(c, a, ATTEMPT_STARTED);
    a->started_ms = c->r->at_ms + (MUTANT(HIDDEN_STATE) && run->live.permitted);
    if (!run->started_ms)
        run->started_ms = c->r->at_ms;
    run->unresolved_ms = 0;
    move(c, run, RUN_RUNNING);
    return 0;
}

static int apply_start_failed(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_START_FAILED);
    a->exit_code = RECORD_HAS(c->r, code) ? (int)c->r->code : -1;
    a->ended_ms = c->batch->time_ms;
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    if (!run->fired)
        return 0; /* evaluated at its time */
    if (run_stop_ends_run(a->stop_reason))
        end_run(c, run, VERDICT_KILLED);
    else
        attempt_failed(c, run, VERDICT_FAILED);
    return 0;
}

static int apply_stopping(struct apply_context *c, struct run *run, struct attempt *a)
{
    if (!may_run(a))
        return corrupt(c, "the attempt cannot run");
    a->stop_reason = run_stop_of(c->r->reason);
    if (!a->stop_reason)
        return corrupt(c, "the reason is unknown");
    a->stopping_ms = c->batch->time_ms;
    return 0;
}

static int apply_ended(struct apply_context *c, struct run *run, struct attempt *a)
{
    fire(c, run, false);
    move_attempt(c, a, ATTEMPT_ENDED);
    a->ended_ms = c->r->at_ms;
    a->exit_code = (int)c->r->code;
    alloc_replace(&a->cause, RECORD_HAS(c->r, cause) ? c->r->cause : NULL);
    if (RECORD_HAS(c->r, text))
        alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    attempt_ended(c, run);
    return 0;
}

static int apply_never_ran(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_NEVER_RAN);
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    move(c, run, run->fired ? RUN_WAITING : RUN_ARMED);
    return 0;
}

static int apply_unknown(struct apply_context *c, struct run *run, struct attempt *a)
{
    const struct job *def = run_def(run);
    int allowed = def->retries_max + 1;

    fire(c, run, false);
    move_attempt(c, a, ATTEMPT_UNKNOWN);
    a->ended_ms = c->batch->time_ms;
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    if (def->on_lost == JOB_ON_LOST_RERUN && !a->stop_reason && a->number < (allowed > 2 ? allowed : 2)) {
        move(c, run, RUN_RETRYING); /* at least one rerun, else the word would be empty without retries */
        run->retry_ms = c->batch->time_ms + retry_delay_ms(def, a->number);
    } else {
        alloc_replace(&run->text, c->r->text);
        end_run(c, run, VERDICT_LOST);
    }
    return 0;
}

static int apply_unresolved(struct apply_context *c, struct run *run, struct attempt *a)
{
    if (!may_run(a))
        return corrupt(c, "the attempt cannot run");
    if (!run->unresolved_ms)
        run->unresolved_ms = c->batch->time_ms;
    alloc_replace(&run->text, c->r->text);
    move(c, run, RUN_UNRESOLVED);
    return 0;
}

static int apply_backfill(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);
    struct backfill *b;

    if (!j || !json_is_array(c->r->report))
        return corrupt(c, "there is no such job, or no list of times");
    b = state_add_backfill(j);
    b->times = json_incref(c->r->report);
    b->max_parallel = (int)c->r->max_parallel;
    b->again = RECORD_HAS(c->r, again) && c->r->again;
    b->by = alloc_text(RECORD_HAS(c->r, by) ? c->r->by : NULL);
    return 0;
}

static int apply_backfilled(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);
    struct backfill *b;

    if (!j || list_empty(&j->backfills))
        return corrupt(c, "there is no such backfill");
    b = LIST_ITEM(j->backfills.next, struct backfill, of_job); /* one after the other, in order */
    b->done = (size_t)c->r->count;
    if (b->done >= json_array_size(b->times))
        state_drop_backfill(b);
    return 0;
}

static void apply_notified(struct apply_context *c)
{
    LIST_EACH_SAFE(link, &c->s->notices)
    {
        struct notice *n = LIST_ITEM(link, struct notice, all);

        if (strcmp(n->id, c->r->run) == 0)
            state_drop_notice(c->s, n);
    }
}

/* Records about the newest attempt of a run that is there. */
static int apply_attempt(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    struct attempt *a = run ? run_attempt(run) : NULL;

    if (!a || a->number != c->r->attempt)
        return corrupt(c, "there is no such attempt");
    touch(c, run);
    switch (c->r->kind) {
    case RECORD_COMMITTED:
        return apply_committed(c, run, a);
    case RECORD_REVOKED:
        return apply_revoked(c, run, a);
    case RECORD_HANDED_OVER:
        return apply_handed_over(c, a);
    case RECORD_STARTED:
        return apply_started(c, run, a);
    case RECORD_START_FAILED:
        return apply_start_failed(c, run, a);
    case RECORD_STOPPING:
        return apply_stopping(c, run, a);
    case RECORD_ENDED:
        return apply_ended(c, run, a);
    case RECORD_NEVER_RAN:
        return apply_never_ran(c, run, a);
    case RECORD_UNKNOWN:
        return apply_unknown(c, run, a);
    default:
        assert(c->r->kind == RECORD_UNRESOLVED);
        return apply_unresolved(c, run, a);
    }
}

static int apply_closed(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    enum run_verdict verdict = run_verdict_of(c->r->verdict);

    if (!run || !verdict)
        return corrupt(c, "there is no such run or verdict");
    fire(c, run, false);
    if (RECORD_HAS(c->r, text))
        alloc_replace(&run->text, c->r->text);
    end_run(c, run, verdict);
    return 0;
}

static int apply_record(struct apply_context *c)
{
    switch (c->r->kind) {
    case RECORD_EPOCH:
        return apply_epoch(c);
    case RECORD_JOB:
        return apply_job(c);
    case RECORD_STAGE:
        return apply_stage(c);
    case RECORD_APPLY:
        return apply_staged(c);
    case RECORD_JOB_DELETE:
        return apply_delete(c);
    case RECORD_PAUSE:
        return apply_pause(c, true);
    case RECORD_RESUME:
        return apply_pause(c, false);
    case RECORD_TRIGGER:
        return apply_trigger(c);
    case RECORD_FIRE:
        return apply_fire(c);
    case RECORD_SKIPPED:
        return apply_skipped(c);
    case RECORD_PASSED:
        return apply_passed(c);
    case RECORD_ARM:
        return apply_arm(c);
    case RECORD_CLOSED:
        return apply_closed(c);
    case RECORD_BACKFILL:
        return apply_backfill(c);
    case RECORD_BACKFILLED:
        return apply_backfilled(c);
    case RECORD_NOTIFIED:
        apply_notified(c);
        return 0;
    case RECORD_TZDATA:
        alloc_replace(&c->s->tzdata, c->r->tzdata);
        return 0;
    case RECORD_RISE:
        c->s->level = later(c->s->level, c->r->level);
        return 0;
    case RECORD_NOTE:
    case RECORD_TAKEOVER:
        return 0; /* history keeps them */
    default:
        return apply_attempt(c);
    }
}

int state_apply_record(struct state *s, const struct batch *batch, const struct record *r,
                       struct error *error)
{
    struct apply_context c = {s, batch, r, error, false};
    int rc = apply_record(&c);

    if (rc == 0 && r->kind == RECORD_STAGE)
        return 0; /* history hears of it when it takes effect */
    if (rc == 0 && c.bad_move)
        rc = corrupt(&c, "the run or its attempt is in no state for this");
    if (rc == 0)
        apply_history_record(s, r);
    return rc;
}

void state_finish_batch(struct state *s, const struct batch *batch, const char *text, size_t size,
                        struct history_write **ret)
{
    struct history_write *w = apply_history_pending(s);

    LIST_EACH_SAFE(link, &s->dirty)
    {
        struct run *run = LIST_ITEM(link, struct run, dirty);

        list_remove(link);
        if (run->fired)
            apply_history_run(s, run);
    }
    LIST_EACH(link, &s->ended)
    {
        struct run *run = LIST_ITEM(link, struct run, dirty);

        if (run->verdict)
            apply_history_run(s, run);
    }
    state_free_ended(s);
    state_expire_keys(s, batch->time_ms - STATE_KEY_TTL_MS);
    s->index = batch->index;
    s->time_ms = batch->time_ms;
    batch_hash(text, size, s->hash);
    w->index = batch->index;
    w->epoch = batch->epoch;
    w->time_ms = batch->time_ms;
    s->write = NULL;
    if (ret)
        *ret = w;
    else
        history_write_free(w);
}

int state_apply(struct state *s, const struct batch *batch, const char *text, size_t size,
                struct history_write **ret, struct error *error)
{
    if (batch->index != s->index + 1)
        return error_set(error, ERR_CORRUPT, "batch %llu comes after batch %llu",
                         (unsigned long long)batch->index, (unsigned long long)s->index);
    if (strcmp(batch->prev, s->hash) != 0)
        return error_set(error, ERR_CORRUPT,
                         "batch %llu does not follow from the batch before: its chain hash is %s, not %s",
                         (unsigned long long)batch->index, batch->prev, s->hash);
    for (size_t i = 0; i < batch->count; i++) {
        int rc = state_apply_record(s, batch, &batch->records[i], error);

        if (rc < 0)
            return rc;
    }
    state_finish_batch(s, batch, text, size, ret);
    return 0;
}
