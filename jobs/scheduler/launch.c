/* The launch protocol (the design's section 5): one run's way from fired to ended, through one engine's
 * answers.
 *
 * Happy path: ARM -> durable -> PREPARE -> PREPARED -> COMMITTED -> durable -> due -> RELEASE (once) ->
 * STARTED -> WATCH -> ENDED. For a schedule's run all up to COMMITTED happens before its fire time.
 * Failures: PREPARE unreachable: again, after a back-off, under the same name; refused: the next engine of
 * the list, or START_FAILED. RELEASE unreachable (certainly not sent): again; unknown: this leader is its
 * own successor and fences. FENCE: never ran: armed again; started: adopted; unknown: on_lost decides;
 * unreachable: unresolved, and again until resolve_within. WATCH unknown: on_lost. A prepared attempt of an
 * older epoch is always fenced, never released.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <stdio.h>

void run_forget(struct scheduler *s, struct run *r)
{
    heap_remove(&s->run_timers, &r->live.timer);
    lane_wait_no_more(s, r);
    if (s->leading) {
        run_settled(s, r, FATE_DISCARDED);
        run_leave_slot(s, r);
        run_unadmit(s, r);
    }
    engine_call_orphan_all(s, r);
}

/* ---- records about an attempt ---- */

/* Does its newest attempt execute, or could it, for all that is known? */
static bool may_execute(const struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);

    return a && (a->state == ATTEMPT_STARTED ||
                 (a->state == ATTEMPT_COMMITTED && (r->live.released || a->committed_epoch != s->epoch)));
}

void run_fire_ahead(struct scheduler *s, struct run *r)
{
    struct record *rec = record_begin(s, RECORD_FIRE);

    PUT_TEXT(s, rec, run, r->id);
    PUT_INT(s, rec, fire_ms, r->fire_ms);
    PUT_INT(s, rec, due_ms, r->due_ms);
    PUT_INT(s, rec, ahead, 1);
    record_commit(s, rec);
}

void run_close(struct scheduler *s, struct run *r, const char *verdict, const char *text, const char *by)
{
    struct record *rec;
    struct attempt *a;

    if (!r->fired) { /* a reservation: its fire time is accounted for now */
        run_fire_ahead(s, r);
        if (r->state == RUN_ENDED)
            return; /* its preparation had failed */
    }
    a = run_attempt(r);
    assert(!may_execute(s, r));
    if (a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
        run_revoke(s, r, verdict);
    rec = record_begin(s, RECORD_CLOSED);
    PUT_TEXT(s, rec, run, r->id);
    PUT_TEXT(s, rec, verdict, verdict);
    PUT_TEXT(s, rec, text, text);
    PUT_TEXT(s, rec, by, by);
    record_commit(s, rec);
}

void run_revoke(struct scheduler *s, struct run *r, const char *reason)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    assert(a && !may_execute(s, r));
    rec = record_about(s, RECORD_REVOKED, r);
    PUT_TEXT(s, rec, reason, reason);
    discard_later(s, r);
    run_leave_slot(s, r);
    engine_call_orphan(s, &r->live.ticket);
    record_commit(s, rec);
}

void run_never_ran(struct scheduler *s, struct run *r, const char *evidence)
{
    struct record *rec = record_about(s, RECORD_NEVER_RAN, r);

    PUT_TEXT(s, rec, text, evidence ? evidence : "");
    discard_later(s, r);
    record_commit(s, rec);
}

void run_stop(struct scheduler *s, struct run *r, const char *reason, const char *by)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    if (!may_execute(s, r)) {
        run_close(s, r, "killed", reason, by);
        return;
    }
    /* a kill that comes while a timeout is being enforced ends the run, and not only the attempt */
    if (a->stop_reason && (strcmp(a->stop_reason, "timeout") != 0 || strcmp(reason, "timeout") == 0))
        return;
    rec = record_about(s, RECORD_STOPPING, r);
    PUT_TEXT(s, rec, reason, reason);
    PUT_TEXT(s, rec, by, by);
    record_commit(s, rec);
}

/* ---- arming ---- */

/* Another run of its job that is to go first, or NULL. */
static struct run *goes_before(const struct run *r)
{
    bool waits = run_waits_turn(r);

    LIST_EACH(link, &r->job->runs)
    {
        struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other == r || !other->fired || (MUTANT(OVERLAP_ON_STARTED) && other->state != RUN_RUNNING))
            continue;
        if (other->live.admitted || (waits && run_counts(other)) ||
            (other->seq < r->seq && (waits || !run_waits_turn(other))))
            return other;
    }
    return NULL;
}

/* A later run that replaces this one, which has not begun. */
static struct run *replaced_by(const struct run *r)
{
    LIST_EACH(link, &r->job->runs)
    {
        struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other->fired && !other->queued && other->seq > r->seq)
            return other;
    }
    return NULL;
}

/* Overlap: may this fired run go on, among the others of its job? It waits, or is closed: its fire time was
 * judged already, but not when a reign began with it (the leader before might have released it). */
static bool admit_overlap(struct scheduler *s, struct run *r)
{
    enum job_concurrency concurrency = run_def(r)->concurrency;
    char text[RUN_ID_MAX + 64];
    struct run *other;

    if (concurrency == JOB_ALLOW)
        return true;
    if (takeover_holds(s, r->job))
        return false; /* when they are settled, the job attends this one */
    if (concurrency == JOB_REPLACE && !r->queued && replaced_by(r)) {
        run_close(s, r, "killed", "replaced", NULL);
        return false;
    }
    other = goes_before(r);
    if (other && !run_waits_turn(r)) {
        snprintf(text, sizeof(text), "%s is not ended", other->id);
        run_close(s, r, "overlap", text, NULL);
    }
    return !other; /* its end kicks the job, which kicks this one */
}

/* Overlap and pool: may this fired run go on? */
static bool admit(struct scheduler *s, struct run *r)
{
    struct lane *pool = pool_lane(s, run_def(r));

    if (r->live.admitted)
        return true;
    if (!admit_overlap(s, r)) {
        lane_wait_no_more(s, r); /* those whose turn it is may pass */
        return false;
    }
    if (pool && !lane_free(pool, r)) {
        lane_wait(s, pool, r);
        return false;
    }
    if (pool) {
        pool->used++;
        r->live.pool = pool;
    }
    lane_wait_no_more(s, r);
    r->live.admitted = true;
    return true;
}

static void put_arm(struct scheduler *s, const char *run, int attempt, int try, const char *engine,
                    int64_t fire_ms, int64_t due_ms)
{
    struct record *rec = record_begin(s, RECORD_ARM);

    PUT_TEXT(s, rec, run, run);
    PUT_INT(s, rec, attempt, attempt);
    PUT_INT(s, rec, try, try);
    PUT_TEXT(s, rec, engine, engine);
    PUT_INT(s, rec, fire_ms, fire_ms);
    PUT_INT(s, rec, due_ms, due_ms);
    record_commit(s, rec);
}

bool run_arm_ahead(struct scheduler *s, struct job_state *j, const char *id, int64_t fire_ms, int64_t due_ms)
{
    const char *name = j->def->engine.count ? j->def->engine.items[0] : s->o.default_engine;
    struct lane *slot = engine_lane(s, name, NULL);

    /* the last quarter is for what is due: a reservation may hold its place for half a minute */
    if (!slot || slot->used >= slot->size - slot->size / 4 || heap_first(&slot->waiting) ||
        state_run(&s->state, id))
        return false;
    slot->used++;
    put_arm(s, id, 1, 1, name, fire_ms, due_ms);
    state_run(&s->state, id)->live.slot = slot;
    return true;
}

/* Which attempt and try, and on which engine, comes next. */
void run_arm(struct scheduler *s, struct run *r, const char *engine)
{
    struct attempt *a = run_attempt(r);
    bool same = a &&
                (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_NEVER_RAN || a->state == ATTEMPT_REVOKED);
    int number = a ? (same ? a->number : a->number + 1) : 1, try = same ? a->try + 1 : 1;
    struct lane *slot;

    if (!engine)
        engine = run_engine_name(s, r);
    slot = engine_lane(s, engine, NULL);
    if (!slot) {
        char text[256];

        snprintf(text, sizeof(text), "the configuration has no engine %s", engine);
        if (r->fired)
            run_close(s, r, "failed", text, NULL);
        return;
    }
    if (!r->live.slot) {
        if (!lane_free(slot, r)) {
            lane_wait(s, slot, r);
            return;
        }
        slot->used++;
        r->live.slot = slot;
    }
    lane_wait_no_more(s, r);
    engine_call_orphan_all(s, r);
    r->live.released = false;
    r->live.stop_again_ms = 0;
    put_arm(s, r->id, number, try, engine, r->fire_ms, r->due_ms);
}

static void arm_again(struct scheduler *s, struct run *r)
{
    if (r->live.not_before_ms > s->now_ms)
        run_kick(s, r, r->live.not_before_ms); /* its tries keep coming to nothing */
    else
        run_arm(s, r, NULL);
}

static bool started_once(const struct run *r)
{
    for (size_t i = 0; i < r->attempt_count; i++)
        if (r->attempts[i].started_ms || r->attempts[i].number > 1)
            return true;
    return false;
}

/* As many fire times as max_catch_up allows were missed after this one. */
static bool beyond_catch_up(struct scheduler *s, struct run *r, const struct job *def)
{
    struct schedule *schedule = job_schedule(s, r->job);
    int64_t old_s = (s->now_ms - s->o.late_grace_ms) / 1000;

    return schedule &&
           schedule_count(schedule, r->fire_ms / 1000, old_s, def->max_catch_up) >= def->max_catch_up;
}

/* True when the run may not start any more: too late by start_within, or superseded while nobody could run
 * it. */
static bool too_late(struct scheduler *s, struct run *r)
{
    const struct job *def = run_def(r);
    int64_t late = s->now_ms - r->due_ms;
    struct attempt *a = run_attempt(r);

    if (started_once(r) || strcmp(r->cause, "backfill") == 0)
        return false;
    if (def->start_within_ms > 0 && s->now_ms - r->fire_ms > def->start_within_ms) {
        run_close(s, r, "deadline", "it could not start within start_within of its fire time", NULL);
        return true;
    }
    /* armed by a leader that died, found never to have run, and old by now: as if it had been missed */
    if (a && a->state == ATTEMPT_NEVER_RAN && strcmp(r->cause, "schedule") == 0 &&
        late > s->o.late_grace_ms) {
        if (def->catch_up == JOB_CATCH_UP_ALL) {
            if (!beyond_catch_up(s, r, def))
                return false;
            run_close(s, r, "missed", "more than max_catch_up", NULL);
            return true;
        }
        if (def->catch_up == JOB_CATCH_UP_NONE) {
            run_close(s, r, "missed", "catch_up: none", NULL);
            return true;
        }
        if (r->job->last_fire_ms > r->fire_ms) {
            run_close(s, r, "coalesced", "a later fire time was run for it", NULL);
            return true;
        }
    }
    return false;
}

/* When start_within would end this run's waiting. */
static void watch_deadline(struct scheduler *s, struct run *r)
{
    const struct job *def = run_def(r);
    int64_t at = r->fire_ms + def->start_within_ms + 1;

    if (def->start_within_ms > 0 && at > s->now_ms && !started_once(r) && strcmp(r->cause, "backfill") != 0)
        run_kick(s, r, at);
}

/* ---- attending ---- */

void run_lost(struct scheduler *s, struct run *r, const char *text)
{
    run_leave_slot(s, r);
    if (r->live.unsettled && run_attempt(r)->state == ATTEMPT_COMMITTED)
        run_unadmit(s, r); /* admitted only since it might have been running: a rerun asks for its turn */
    run_settled(s, r, FATE_LOST);
    record_with_text(s, RECORD_UNKNOWN, r, text);
}

/* Nothing can be proved any more; what the engine still says about it is too late. */
static bool resolved_too_late(struct scheduler *s, struct run *r)
{
    if (r->unresolved_ms + s->o.resolve_within_ms > s->now_ms)
        return false;
    engine_call_orphan_all(s, r);
    run_lost(s, r, r->text ? r->text : "the engine could not be reached in time");
    return true;
}

static void attend_started(struct scheduler *s, struct run *r, struct attempt *a)
{
    int64_t timeout_at = a->started_ms + run_def(r)->timeout_ms;

    if (r->live.unsettled && r->live.settle_by_ms <= s->now_ms)
        run_settled(s, r, r->state == RUN_UNRESOLVED ? FATE_UNRESOLVED : FATE_ADOPTED);
    else if (r->live.unsettled)
        run_kick(s, r, r->live.settle_by_ms);
    if (!r->live.ticket && !(MUTANT(UNWATCHED) && a->committed_epoch != s->epoch)) {
        if (r->live.not_before_ms > s->now_ms)
            run_kick(s, r, r->live.not_before_ms);
        else
            engine_call_submit(s, r, ENGINE_WATCH);
    }
    if (r->state == RUN_UNRESOLVED) {
        if (resolved_too_late(s, r))
            return;
        run_kick(s, r, r->unresolved_ms + s->o.resolve_within_ms);
    }
    if (a->stop_reason) {
        if (r->live.stop_ticket)
            return; /* its answer attends the run */
        if (r->live.stop_again_ms > s->now_ms) {
            run_kick(s, r, r->live.stop_again_ms);
            return;
        }
        if (!engine_call_may_act(s, r))
            return;
        r->live.stop_again_ms = s->now_ms + run_def(r)->stop_grace_ms + STOP_AGAIN_MS;
        r->live.stop_ticket = engine_call_begin(s, r, ENGINE_STOP);
        run_kick(s, r, r->live.stop_again_ms);
    } else if (timeout_at <= s->now_ms) {
        run_stop(s, r, "timeout", NULL);
    } else {
        run_kick(s, r, timeout_at);
    }
}

static void fence(struct scheduler *s, struct run *r)
{
    if (r->state == RUN_UNRESOLVED && resolved_too_late(s, r))
        return;
    if (r->live.ticket)
        return;
    if (r->live.not_before_ms > s->now_ms)
        run_kick(s, r, r->live.not_before_ms);
    else
        engine_call_submit(s, r, ENGINE_FENCE);
}

static void attend_committed(struct scheduler *s, struct run *r, struct attempt *a)
{
    if (a->committed_epoch != s->epoch || r->live.released) {
        if (!r->live.ticket)
            fence(s, r);
        return;
    }
    if (!r->fired)
        return; /* a reservation: judged at its time */
    if (a->stop_reason) {
        run_close(s, r, "killed", a->stop_reason, NULL);
        return;
    }
    if (too_late(s, r))
        return;
    watch_deadline(s, r);
    if (r->due_ms > s->now_ms)
        run_kick(s, r, r->due_ms);
    else
        run_release_now(s, r);
}

static void attend_armed(struct scheduler *s, struct run *r, struct attempt *a)
{
    if (a->epoch != s->epoch) { /* its leader never committed it: it was never started */
        arm_again(s, r);
        return;
    }
    if (r->live.ticket)
        return;
    if (r->live.not_before_ms > s->now_ms)
        run_kick(s, r, r->live.not_before_ms);
    else
        engine_call_submit(s, r, ENGINE_PREPARE);
}

/* Its engine was taken out of the configuration. */
static void attend_engineless(struct scheduler *s, struct run *r)
{
    if (r->state != RUN_UNRESOLVED)
        record_with_text(s, RECORD_UNRESOLVED, r, "its engine is not in the configuration");
    else if (!resolved_too_late(s, r))
        run_kick(s, r, r->unresolved_ms + s->o.resolve_within_ms);
}

/* A reservation by an earlier reign, under what is in force no more. */
static bool outdated(struct scheduler *s, const struct run *r)
{
    return r->def != r->job->def || state_paused(&s->state, r->job) || r->fire_ms <= r->job->cursor_ms ||
           !job_names(s, r->job, r->fire_ms);
}

void run_attend(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);

    if (!s->leading || r->state == RUN_ENDED || (r->live.index > s->acked && !MUTANT(EFFECT_BEFORE_ACK)))
        return; /* the ack of its batch comes back here */
    if (a && may_execute(s, r) && !engine_lane(s, a->engine, NULL)) {
        attend_engineless(s, r);
    } else if (a && a->state == ATTEMPT_STARTED) {
        attend_started(s, r, a);
    } else if (a && a->state == ATTEMPT_COMMITTED) {
        attend_committed(s, r, a);
    } else if (a && a->stop_reason && a->state == ATTEMPT_NEVER_RAN) {
        run_close(s, r, "killed", a->stop_reason, NULL);
    } else if (!r->fired && outdated(s, r)) {
        run_revoke(s, r, "edited");
    } else if (a && a->state == ATTEMPT_START_FAILED && !r->fired) {
        return; /* judged at its time */
    } else if (r->state == RUN_RETRYING && r->retry_ms > s->now_ms) {
        run_kick(s, r, r->retry_ms);
    } else if (r->fired && !(r->state == RUN_RETRYING) && too_late(s, r)) {
        return;
    } else if (r->fired && !admit(s, r)) {
        watch_deadline(s, r);
    } else if (a && a->state == ATTEMPT_ARMED) {
        watch_deadline(s, r);
        attend_armed(s, r, a);
    } else {
        watch_deadline(s, r);
        arm_again(s, r);
    }
}

void run_release_now(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);

    if (!a || a->state != ATTEMPT_COMMITTED || a->committed_epoch != s->epoch ||
        (r->live.commit_index > s->acked && !MUTANT(EFFECT_BEFORE_ACK)) || r->live.released ||
        r->live.ticket || !r->fired || r->due_ms > s->now_ms)
        return; /* its time comes by the ack, the due time or the answer that is missing */
    if (takeover_holds(s, r->job) && run_def(r)->concurrency != JOB_ALLOW)
        return;
    if (!admit(s, r)) {
        if (r->state != RUN_ENDED)
            run_revoke(s, r, "waiting"); /* it gives its place back while it waits */
        return;
    }
    if (r->live.not_before_ms > s->now_ms) {
        run_kick(s, r, r->live.not_before_ms);
        return;
    }
    engine_call_submit(s, r, ENGINE_RELEASE);
}
