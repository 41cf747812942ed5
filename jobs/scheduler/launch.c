/* The launch protocol: a run from fired to ended, step by step. What engines answer is in engine_events.c.
 *
 * Happy path: ARM -> durable -> PREPARE -> PREPARED -> COMMITTED -> durable -> due -> RELEASE (once) ->
 * STARTED -> WATCH -> ENDED. For a schedule's run all up to COMMITTED happens before its fire time.
 * Failures: PREPARE unreachable: again, after a back-off, under the same name; refused: the next engine of
 * the list, or START_FAILED. RELEASE unreachable (certainly not sent): again; unknown: this leader is its
 * own successor and fences. FENCE: never ran: armed again; started: adopted; unknown: on_lost decides;
 * unreachable: unresolved, and again until resolve_within. RELEASE or FENCE accepted: ACCEPTED, watched as a started
 * one; it is withdrawn by a stop when its deadline comes first, or resolve_within. WATCH unknown: on_lost. A prepared attempt of an
 * older epoch is always fenced, never released.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"

#include <assert.h>
#include <stdio.h>

void launch_forget(struct scheduler *s, struct run *r)
{
    heap_remove(&s->run_timers, &r->live.timer);
    run_queue_stop_waiting(s, r);
    if (s->leading) {
        takeover_recovered(s, r, OUTCOME_DISCARDED);
        run_queue_return_engine_permit(s, r);
        run_queue_withdraw_permission(s, r);
    }
    engine_call_orphan_all(s, r);
    assert(r->live.timer.slot == 0 && r->live.queue_item.slot == 0); /* no heap knows it any more */
    assert(!s->leading || (!r->live.unrecovered && !r->live.engine_permit && !r->live.permitted));
}

/* ---- records about an attempt ---- */

/* Does its newest attempt execute, or could it, for all that is known? */
static bool may_execute(const struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);

    assert(a || !r->live.released);
    return a && (run_attempt_is_released(a) ||
                 (a->state == ATTEMPT_COMMITTED && (r->live.released || a->committed_epoch != s->epoch)));
}

void launch_fire_ahead(struct scheduler *s, struct run *r)
{
    struct record *rec;

    assert(!r->fired && r->attempt_count > 0);
    rec = turn_record(s, RECORD_FIRE);
    PUT_TEXT(s, rec, run, r->id);
    PUT_INT(s, rec, fire_ms, r->fire_ms);
    PUT_INT(s, rec, due_ms, r->due_ms);
    PUT_INT(s, rec, ahead, 1);
    turn_commit(s, rec);
}

void launch_close(struct scheduler *s, struct run *r, enum run_verdict verdict, const char *text,
                  const char *by)
{
    struct record *rec;
    struct attempt *a;

    assert(verdict != VERDICT_NONE && r->state != RUN_ENDED);
    if (!r->fired) { /* a reservation: its fire time is accounted for now */
        launch_fire_ahead(s, r);
        if (r->state == RUN_ENDED)
            return; /* its preparation had failed */
    }
    a = run_attempt(r);
    assert(!may_execute(s, r));
    if (a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED))
        launch_revoke(s, r, run_verdict_name(verdict));
    rec = turn_record(s, RECORD_CLOSED);
    PUT_TEXT(s, rec, run, r->id);
    PUT_TEXT(s, rec, verdict, run_verdict_name(verdict));
    PUT_TEXT(s, rec, text, text);
    PUT_TEXT(s, rec, by, by);
    turn_commit(s, rec);
    assert(r->state == RUN_ENDED && r->verdict == verdict);
}

void launch_revoke(struct scheduler *s, struct run *r, const char *reason)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    assert(a && !may_execute(s, r));
    rec = turn_record_about(s, RECORD_REVOKED, r);
    PUT_TEXT(s, rec, reason, reason);
    engine_call_discard_later(s, r);
    run_queue_return_engine_permit(s, r);
    engine_call_orphan(s, &r->live.ticket);
    turn_commit(s, rec);
    assert(r->state == (r->fired ? RUN_WAITING : RUN_ENDED));
}

void launch_never_ran(struct scheduler *s, struct run *r, const char *evidence)
{
    struct record *rec = turn_record_about(s, RECORD_NEVER_RAN, r);

    assert(run_attempt(r)->state != ATTEMPT_STARTED);
    PUT_TEXT(s, rec, text, evidence ? evidence : "");
    engine_call_discard_later(s, r);
    turn_commit(s, rec);
}

void launch_stop(struct scheduler *s, struct run *r, enum run_stop reason, const char *by)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    assert(reason != STOP_NONE && r->state != RUN_ENDED);
    if (!may_execute(s, r)) {
        launch_close(s, r, VERDICT_KILLED, run_stop_name(reason), by);
        return;
    }
    /* a kill that comes while a timeout is being enforced ends the run, and not only the attempt */
    if (a->stop_reason && (run_stop_ends_run(a->stop_reason) || reason == STOP_TIMEOUT))
        return;
    rec = turn_record_about(s, RECORD_STOPPING, r);
    PUT_TEXT(s, rec, reason, run_stop_name(reason));
    PUT_TEXT(s, rec, by, by);
    turn_commit(s, rec);
    r->live.stopped_here = true;
}

void launch_stop_others(struct scheduler *s, const struct run *by)
{
    bool in_turn = rules_catches_up_in_turn(run_def(by), by->cause);

    assert(by->fired);
    LIST_EACH_SAFE(link, &by->job->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r->fired && r->seq < by->seq && !(in_turn && rules_catches_up_in_turn(run_def(r), r->cause)))
            launch_stop(s, r, STOP_REPLACED, NULL);
    }
}

/* ---- arming ---- */

/* Another run of its job that is to go first, or NULL. With max_running so many may go on beside it. */
static struct run *goes_before(const struct run *r)
{
    bool waits = rules_waits_turn(r);
    int room = rules_max_running(run_def(r)) - 1;

    assert(r->fired && !r->live.permitted);
    LIST_EACH(link, &r->job->runs)
    {
        struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other == r || !other->fired || (MUTANT(OVERLAP_ON_STARTED) && other->state != RUN_RUNNING))
            continue;
        if (other->live.permitted || (waits && rules_occupies(other)) ||
            (other->seq < r->seq && (waits || !rules_waits_turn(other)))) {
            if (room-- > 0)
                continue;
            return other;
        }
    }
    return NULL;
}

/* A later run that replaces this one, which has not started. */
static struct run *replaced_by(const struct run *r)
{
    assert(r->fired && !rules_is_queued(r));
    LIST_EACH(link, &r->job->runs)
    {
        struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other->fired && !rules_is_queued(other) && other->seq > r->seq &&
            !rules_catches_up_in_turn(run_def(other), other->cause))
            return other;
    }
    return NULL;
}

/* It waits for the end of what somebody else has started, which wakes the job, or is closed. */
static bool permit_beside_stray(struct scheduler *s, struct run *r)
{
    char text[RUN_ID_MAX + 64];

    assert(r->fired && !r->live.permitted);
    if (rules_waits_turn(r) || rules_has_started(r))
        return false;
    snprintf(text, sizeof(text), "%s was started again by somebody else and runs", stray_of(s, r->job));
    launch_close(s, r, VERDICT_OVERLAP, text, NULL);
    return false;
}

/* A run that the end of others caused: its record could not judge it, so its leader does when it first sees it, by the rules
 * that a fire time or a trigger is judged by. True: it was closed. */
static bool close_caused(struct scheduler *s, struct run *r)
{
    const struct job *def = run_def(r);
    char text[64];

    assert(r->fired && r->state != RUN_ENDED);
    if (r->cause != CAUSE_AFTER || r->attempt_count > 0)
        return false;
    if (def->concurrency == JOB_REPLACE)
        launch_stop_others(s, r);
    if (def->concurrency == JOB_QUEUE && rules_waiting_count(r->job, r) >= def->queue_max)
        snprintf(text, sizeof(text), "%d runs are waiting", def->queue_max);
    else if (r->job->run_count > JOB_RUNS_MAX)
        snprintf(text, sizeof(text), "%d runs have not ended", JOB_RUNS_MAX);
    else
        return false;
    launch_close(s, r, VERDICT_QUEUE_FULL, text, NULL);
    return true;
}

/* Overlap: may this fired run go on, among the others of its job? It waits, or is closed: its fire time was
 * evaluated with overlap in mind, but not if an earlier leader might have released it. */
static bool permit_overlap(struct scheduler *s, struct run *r)
{
    enum job_concurrency concurrency = run_def(r)->concurrency;
    char text[RUN_ID_MAX + 64];
    struct run *other;

    assert(r->fired && !r->live.permitted);
    if (concurrency == JOB_ALLOW && !rules_max_running(run_def(r)))
        return !close_caused(s, r);
    if (takeover_holds(s, r->job))
        return false; /* when they are recovered, the job wakes this one */
    if (close_caused(s, r))
        return false;
    if (concurrency == JOB_REPLACE && !rules_is_queued(r) && replaced_by(r)) {
        launch_close(s, r, VERDICT_KILLED, run_stop_name(STOP_REPLACED), NULL);
        return false;
    }
    if (stray_of(s, r->job))
        return permit_beside_stray(s, r);
    other = goes_before(r);
    if (other && !rules_waits_turn(r) && !rules_has_started(r)) {
        snprintf(text, sizeof(text), "%s has not ended", other->id);
        launch_close(s, r, VERDICT_OVERLAP, text, NULL);
    }
    return !other; /* its end wakes the job, which wakes this one */
}

/* Does something of its job execute that came after this run's permission, and before its start? Somebody else has
 * started it: an object that nobody keeps, or one of a run that a leader found running beside this one. */
static bool crossed(struct scheduler *s, const struct run *r)
{
    int room = rules_max_running(run_def(r)) - 1;

    assert(r->live.permitted);
    if (run_def(r)->concurrency == JOB_ALLOW)
        return false;
    LIST_EACH(link, &r->job->runs)
    {
        struct run *other = LIST_ITEM(link, struct run, of_job);

        if (other != r && other->live.permitted && may_execute(s, other) && room-- <= 0)
            return true;
    }
    return stray_of(s, r->job);
}

/* Said once for each time that it begins to wait. */
static void wait_for_engine(struct scheduler *s, struct run_queue *running, struct run *r)
{
    char text[160];

    assert(!run_queue_has_permit(running, r));
    if (r->live.waits_in != running) {
        snprintf(text, sizeof(text),
                 "waits: %d runs are under way on engine %.64s, and its max_running is %d", running->taken,
                 running->name, running->size);
        turn_note(s, r->id, text);
    }
    run_queue_wait(s, running, r);
    assert(r->live.waits_in == running);
}

/* The engine of its next attempt, or of the one that is prepared. */
static struct run_queue *running_queue(struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);
    bool armed = a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED);

    assert(r->fired);
    return run_queue_of_running(s, armed ? a->engine : rules_engine_name(s, run_def(r)));
}

/* Overlap, pool and the engine's max_running: may this fired run go on? */
static bool permit(struct scheduler *s, struct run *r)
{
    struct run_queue *pool = run_queue_of_pool(s, run_def(r)), *running = running_queue(s, r);

    invariant_run(s, r);
    assert(r->fired);
    if (r->live.permitted && crossed(s, r))
        run_queue_withdraw_permission(s, r);
    if (r->live.permitted)
        return true;
    if (!permit_overlap(s, r)) {
        run_queue_stop_waiting(s, r); /* those whose turn it is may pass */
        return false;
    }
    if (pool && !run_queue_has_permit(pool, r)) {
        run_queue_wait(s, pool, r);
        return false;
    }
    if (running && !run_queue_has_permit(running, r)) {
        wait_for_engine(s, running, r);
        return false;
    }
    if (pool)
        run_queue_take_pool_permit(pool, r);
    if (running)
        run_queue_take_running_permit(running, r);
    run_queue_stop_waiting(s, r);
    r->live.permitted = true;
    return true;
}

static void put_arm(struct scheduler *s, const char *run, int attempt, int try, const char *engine,
                    int64_t fire_ms, int64_t due_ms)
{
    struct record *rec = turn_record(s, RECORD_ARM);

    PUT_TEXT(s, rec, run, run);
    PUT_INT(s, rec, attempt, attempt);
    PUT_INT(s, rec, try, try);
    PUT_TEXT(s, rec, engine, engine);
    PUT_INT(s, rec, fire_ms, fire_ms);
    PUT_INT(s, rec, due_ms, due_ms);
    turn_commit(s, rec);
    assert(run_attempt(state_run(&s->state, run))->state == ATTEMPT_ARMED);
}

bool launch_arm_ahead(struct scheduler *s, struct job_state *j, const char *id, int64_t fire_ms,
                      int64_t due_ms)
{
    const char *name = rules_engine_name(s, j->def);
    struct run_queue *q = run_queue_of_engine(s, name, NULL);
    struct run *r;

    assert(fire_ms > j->cursor_ms && due_ms >= fire_ms);
    /* the last quarter is for what is due: a reservation may hold its permit for half a minute */
    if (!q || q->taken >= q->size - q->size / 4 || heap_first(&q->waiting) || state_run(&s->state, id))
        return false;
    put_arm(s, id, 1, 1, name, fire_ms, due_ms);
    r = state_run(&s->state, id);
    assert(r && !r->fired && r->state == RUN_ARMED && r->fire_ms == fire_ms);
    run_queue_take_engine_permit(q, r);
    return true;
}

/* Which attempt and try, and on which engine, comes next. */
void launch_arm(struct scheduler *s, struct run *r, const char *engine)
{
    struct attempt *a = run_attempt(r);
    int number = a ? a->number + 1 : 1, try = 1;
    struct run_queue *q;

    assert(!a || (a->state != ATTEMPT_COMMITTED && a->state != ATTEMPT_STARTED));
    if (a && (a->state == ATTEMPT_ARMED || a->state == ATTEMPT_NEVER_RAN || a->state == ATTEMPT_REVOKED)) {
        number = a->number; /* it never ran: the same attempt, tried again */
        try = a->try + 1;
    }
    if (!engine)
        engine = rules_engine_name(s, run_def(r));
    q = run_queue_of_engine(s, engine, NULL);
    if (!q) {
        char text[256];

        snprintf(text, sizeof(text), "the configuration has no engine %s", engine);
        if (r->fired)
            launch_close(s, r, VERDICT_FAILED, text, NULL);
        return;
    }
    if (!r->live.engine_permit) {
        if (!run_queue_has_permit(q, r)) {
            run_queue_wait(s, q, r);
            return;
        }
        run_queue_take_engine_permit(q, r);
    }
    assert(r->live.engine_permit == q);
    run_queue_stop_waiting(s, r);
    if (r->live.permitted)
        run_queue_move_running_permit(s, run_queue_of_running(s, engine), r);
    engine_call_orphan_all(s, r);
    r->live.released = false;
    r->live.starts = r->live.pending = 0;
    r->live.stop_again_ms = r->live.sent_ms = r->live.started_ms = 0;
    r->live.stops = 0;
    r->live.stopped_here = false;
    put_arm(s, r->id, number, try, engine, r->fire_ms, r->due_ms);
}

static void arm_again(struct scheduler *s, struct run *r)
{
    assert(!may_execute(s, r));
    if (r->live.not_before_ms > s->now_ms)
        turn_wake_run(s, r, r->live.not_before_ms); /* its tries keep coming to nothing */
    else
        launch_arm(s, r, NULL);
}

/* A backfill's fire times are in the past by their nature, and start_within concerns the first attempt. */
static bool has_deadline(const struct run *r)
{
    return run_def(r)->start_within_ms > 0 && !rules_has_started(r) && r->cause != CAUSE_BACKFILL;
}

bool launch_too_late(struct scheduler *s, struct run *r)
{
    assert(r->state != RUN_ENDED);
    if (!has_deadline(r) || s->now_ms - r->fire_ms <= run_def(r)->start_within_ms)
        return false;
    launch_close(s, r, VERDICT_DEADLINE, TEXT_DEADLINE, NULL);
    return true;
}

/* When start_within would end this run's waiting. */
static void wake_at_deadline(struct scheduler *s, struct run *r)
{
    int64_t at = r->fire_ms + run_def(r)->start_within_ms + 1;

    if (has_deadline(r) && at > s->now_ms)
        turn_wake_run(s, r, at);
}

/* ---- reconciling ---- */

void launch_lost(struct scheduler *s, struct run *r, const char *text)
{
    assert(may_execute(s, r));
    run_queue_return_engine_permit(s, r);
    if (r->live.unrecovered && run_attempt(r)->state == ATTEMPT_COMMITTED)
        run_queue_withdraw_permission(
            s, r); /* permitted only because it might have been running: a rerun asks for its turn */
    takeover_recovered(s, r, OUTCOME_LOST);
    turn_record_text(s, RECORD_UNKNOWN, r, text);
}

/* Nothing can be proved any more; what the engine still says about it is too late. */
static bool resolved_too_late(struct scheduler *s, struct run *r)
{
    assert(r->state == RUN_UNRESOLVED);
    if (r->unresolved_ms + s->o.resolve_within_ms > s->now_ms)
        return false;
    engine_call_orphan_all(s, r);
    launch_lost(s, r, r->text ? r->text : "the engine could not be reached in time");
    return true;
}

/* By this server's clock, against which a timeout is measured: what the engine says, whose clock may be another, only as far
 * as it can be true. It was sent, or due, before, and has started by now. */
static int64_t started_here_ms(struct scheduler *s, struct run *r, const struct attempt *a)
{
    int64_t least_ms = r->live.sent_ms, at_ms = a->started_ms;

    assert(a->state == ATTEMPT_STARTED);
    if (r->live.started_ms)
        return r->live.started_ms;
    if (!least_ms)
        least_ms = a->number > 1 && r->retry_ms > r->due_ms ? r->retry_ms : r->due_ms;
    at_ms = at_ms > least_ms ? at_ms : least_ms;
    r->live.started_ms = at_ms < s->now_ms ? at_ms : s->now_ms;
    return r->live.started_ms;
}

/* When an engine that has accepted it, and does not start it, loses it again: nothing waits without a bound. */
static int64_t withdraw_at_ms(struct scheduler *s, const struct run *r, const struct attempt *a)
{
    assert(a->state == ATTEMPT_ACCEPTED);
    return has_deadline(r) ? r->fire_ms + run_def(r)->start_within_ms + 1
                           : a->accepted_ms + s->o.resolve_within_ms;
}

/* It was asked to stop, had its grace, and runs on: told at the second time, the fourth, the eighth and so on. */
static void tell_of_stops(struct scheduler *s, struct run *r, const struct attempt *a)
{
    char text[160];
    int asked = r->live.stops++;

    assert(a->stop_reason != STOP_NONE && asked >= 0);
    if (asked < 1 || (asked & (asked - 1)) != 0)
        return;
    snprintf(text, sizeof(text),
             "attempt %d is to end (%s) for %lld s, was asked to stop %d time%s, and runs on", a->number,
             run_stop_name(a->stop_reason), (long long)(s->now_ms - a->stopping_ms) / 1000, asked,
             asked == 1 ? "" : "s");
    turn_log(s, LOG_WARN, "stop-without-effect", r, "%s", text);
    turn_note(s, r->id, text);
}

/* Its one request at a time, after the back-off of the one before. */
static void submit_in_time(struct scheduler *s, struct run *r, enum engine_op op)
{
    if (r->live.ticket)
        return;
    if (r->live.not_before_ms > s->now_ms)
        turn_wake_run(s, r, r->live.not_before_ms);
    else
        engine_call_submit(s, r, op);
}

/* Started or accepted. */
static void reconcile_released(struct scheduler *s, struct run *r, struct attempt *a)
{
    bool started = a->state == ATTEMPT_STARTED;
    int64_t stop_at = started ? started_here_ms(s, r, a) + run_def(r)->timeout_ms : withdraw_at_ms(s, r, a);

    assert(a == run_attempt(r) && run_attempt_is_released(a));
    if (r->live.unrecovered && r->live.recover_by_ms <= s->now_ms)
        takeover_recovered(s, r, r->state == RUN_UNRESOLVED ? OUTCOME_UNRESOLVED : OUTCOME_ADOPTED);
    else if (r->live.unrecovered)
        turn_wake_run(s, r, r->live.recover_by_ms);
    if (!(MUTANT(UNWATCHED) && a->committed_epoch != s->epoch))
        submit_in_time(s, r, ENGINE_WATCH);
    if (r->state == RUN_UNRESOLVED) {
        if (resolved_too_late(s, r))
            return;
        turn_wake_run(s, r, r->unresolved_ms + s->o.resolve_within_ms);
    }
    if (a->stop_reason) {
        if (r->live.stop_ticket)
            return; /* the stop's answer will wake the run */
        if (r->live.stop_again_ms > s->now_ms) {
            turn_wake_run(s, r, r->live.stop_again_ms);
            return;
        }
        if (!engine_call_may_act(s, r))
            return;
        r->live.stop_again_ms = s->now_ms + run_def(r)->stop_grace_ms + STOP_AGAIN_MS;
        tell_of_stops(s, r, a);
        r->live.stop_ticket = engine_call_begin(s, r, ENGINE_STOP);
        turn_wake_run(s, r, r->live.stop_again_ms);
    } else if (stop_at <= s->now_ms) {
        launch_stop(s, r, started ? STOP_TIMEOUT : STOP_DEADLINE, NULL);
    } else {
        turn_wake_run(s, r, stop_at);
    }
}

static void fence(struct scheduler *s, struct run *r)
{
    assert(may_execute(s, r) && run_attempt(r)->state == ATTEMPT_COMMITTED);
    if (r->state != RUN_UNRESOLVED || !resolved_too_late(s, r))
        submit_in_time(s, r, ENGINE_FENCE);
}

static void reconcile_committed(struct scheduler *s, struct run *r, struct attempt *a)
{
    assert(a == run_attempt(r) && a->state == ATTEMPT_COMMITTED);
    if (a->committed_epoch != s->epoch || r->live.released) {
        if (!r->live.ticket)
            fence(s, r);
        return;
    }
    if (!a->stop_reason && !r->live.ticket && engine_call_is_replaced(s, a)) {
        launch_revoke(s, r, "its engine was replaced"); /* it was not released, and will not be */
        return;
    }
    if (!r->fired)
        return; /* a reservation: evaluated at its time */
    if (a->stop_reason) {
        launch_close(s, r, VERDICT_KILLED, run_stop_name(a->stop_reason), NULL);
        return;
    }
    if (launch_too_late(s, r))
        return;
    wake_at_deadline(s, r);
    if (r->due_ms > s->now_ms)
        turn_wake_run(s, r, r->due_ms);
    else
        launch_release(s, r);
}

static void reconcile_armed(struct scheduler *s, struct run *r, struct attempt *a)
{
    assert(a == run_attempt(r) && a->state == ATTEMPT_ARMED);
    if (a->epoch != s->epoch) { /* its leader never committed it: it was never started */
        arm_again(s, r);
        return;
    }
    if (!r->live.ticket && takeover_prepare_at(s, r) > s->now_ms)
        turn_wake_run(s, r, takeover_prepare_at(s, r));
    else
        submit_in_time(s, r, ENGINE_PREPARE);
}

/* Its engine was taken out of the configuration. */
static void reconcile_engineless(struct scheduler *s, struct run *r)
{
    assert(may_execute(s, r));
    if (r->state != RUN_UNRESOLVED)
        turn_record_text(s, RECORD_UNRESOLVED, r, "its engine is not in the configuration");
    else if (!resolved_too_late(s, r))
        turn_wake_run(s, r, r->unresolved_ms + s->o.resolve_within_ms);
}

/* A stop came before its start. */
static void close_stopped(struct scheduler *s, struct run *r, const struct attempt *a)
{
    assert(a->stop_reason != STOP_NONE && a->state == ATTEMPT_NEVER_RAN);
    if (a->stop_reason == STOP_DEADLINE)
        launch_close(s, r, VERDICT_DEADLINE, a->text && *a->text ? a->text : TEXT_WITHDRAWN, NULL);
    else
        launch_close(s, r, VERDICT_KILLED, run_stop_name(a->stop_reason), NULL);
}

/* A reservation by an earlier leader, under rules that are not in force any more. */
static bool outdated(struct scheduler *s, const struct run *r)
{
    assert(!r->fired);
    return r->def != r->job->def || state_paused(&s->state, r->job) || r->fire_ms <= r->job->cursor_ms ||
           !rules_is_fire_time(s, r->job, r->fire_ms);
}

/* Its time is still to come; one beyond all delays is of a clock that was ahead. */
static bool retries_later(const struct scheduler *s, const struct run *r)
{
    const struct job *def = run_def(r);
    int64_t most_ms = def->retries_delay_ms > def->retries_max_delay_ms ? def->retries_delay_ms
                                                                        : def->retries_max_delay_ms;

    assert(r->state == RUN_RETRYING);
    return r->retry_ms > s->now_ms && r->retry_ms - s->now_ms <= most_ms + CLOCK_SET_BACK_MS;
}

/* The order of the arms is the protocol: each may rely on it that none before it applied.
 *
 *  1. Nothing is done before the last batch that touched the run is durable.
 *  2. An attempt that may execute decides alone. Without its engine it is unresolved; a started or accepted
 *     one is watched and stopped; a committed one is released by the epoch that committed it, fenced by any other.
 *     From here on nothing of the run executes.
 *  3. A stop that was asked for while it might have executed ends the run.
 *     So does the loss of the journal of a time in which it may have gone on.
 *  4. A reservation is revoked when its rules have changed, before anything is prepared for it; one that was
 *     refused waits until its fire time is evaluated.
 *  5. A retry waits for its time, and start_within does not apply to it.
 *  6. What is too late is closed, before it takes anybody's turn.
 *  7. Overlap and the pool come before the engine: a run that waits its turn holds no prepared container.
 *  8. An armed attempt is prepared; without one, the next is armed.
 */
void launch_reconcile(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);

    if (!s->leading || r->state == RUN_ENDED || (r->live.index > s->acked && !MUTANT(EFFECT_BEFORE_ACK)))
        return; /* the ack of its batch comes back here */
    invariant_run(s, r);
    if (a && may_execute(s, r) && !run_queue_of_engine(s, a->engine, NULL)) {
        reconcile_engineless(s, r);
    } else if (a && run_attempt_is_released(a)) {
        reconcile_released(s, r, a);
    } else if (a && a->state == ATTEMPT_COMMITTED) {
        reconcile_committed(s, r, a);
    } else if (r->fired && state_in_lost_time(&s->state, r) && !MUTANT(LOST_GOES_ON)) {
        launch_close(s, r, VERDICT_LOST, TEXT_JOURNAL_LOST, NULL);
    } else if (a && a->stop_reason && a->state == ATTEMPT_NEVER_RAN) {
        close_stopped(s, r, a);
    } else if (!r->fired && outdated(s, r)) {
        launch_revoke(s, r, "edited");
    } else if (a && a->state == ATTEMPT_START_FAILED && !r->fired) {
        return; /* evaluated at its time */
    } else if (r->state == RUN_RETRYING && retries_later(s, r)) {
        turn_wake_run(s, r, r->retry_ms);
    } else if (r->fired && !(r->state == RUN_RETRYING) && launch_too_late(s, r)) {
        return;
    } else if (r->fired && !permit(s, r)) {
        wake_at_deadline(s, r);
    } else if (a && a->state == ATTEMPT_ARMED) {
        wake_at_deadline(s, r);
        reconcile_armed(s, r, a);
    } else {
        wake_at_deadline(s, r);
        arm_again(s, r);
    }
}

void launch_release(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);

    if (!a || a->state != ATTEMPT_COMMITTED || a->committed_epoch != s->epoch ||
        (r->live.commit_index > s->acked && !MUTANT(EFFECT_BEFORE_ACK)) || r->live.released ||
        r->live.ticket || !r->fired || r->due_ms > s->now_ms)
        return; /* its time comes by the ack, the due time or the answer that is missing */
    if (takeover_holds(s, r->job) && run_def(r)->concurrency != JOB_ALLOW)
        return;
    if (!permit(s, r)) {
        if (r->state != RUN_ENDED)
            launch_revoke(s, r, "waiting"); /* it gives its permit back while it waits */
        return;
    }
    if (r->live.not_before_ms > s->now_ms) {
        turn_wake_run(s, r, r->live.not_before_ms);
        return;
    }
    assert(r->live.permitted && r->due_ms <= s->now_ms);
    engine_call_submit(s, r, ENGINE_RELEASE);
}
