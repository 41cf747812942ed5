/* What engines answer, and what that makes of a run: the records of the launch protocol. See launch.c for its
 * course. */
#include "jobs/base/fault.h"
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void lateness_note(struct scheduler *s, int64_t late_ms)
{
    static const int64_t bounds_ms[LATENESS_BUCKETS] = {1,   2,    5,    10,   25,    50,    100,
                                                        250, 1000, 2500, 5000, 10000, 30000, 60000};
    int i = 0;

    while (i < LATENESS_BUCKETS && late_ms > bounds_ms[i])
        i++;
    s->lateness[i]++;
    s->lateness_count++;
    assert(s->lateness[i] <= s->lateness_count);
    s->lateness_sum_s += (double)late_ms / 1000;
}

/* Somebody else did so: it is one attempt still, and runs while its object does. Where a replica does not read the
 * record yet, a note has to do, without the count on the attempt. */
static void started_again(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;
    char text[TEXT_FIELD_MAX];

    if (a->state != ATTEMPT_STARTED || answer->starts <= r->live.starts || answer->starts <= a->restarts + 1)
        return;
    r->live.starts = answer->starts;
    s->started_again++;
    snprintf(text, sizeof(text), "%s",
             answer->text ? answer->text : "somebody else than cronsched started it again");
    turn_log(s, LOG_WARN, "started-again", r, "attempt %d was started %d times: %s", a->number,
             answer->starts, text);
    if (s->state.level < record_kind_level(RECORD_STARTED_AGAIN)) {
        turn_note(s, r->id, text);
        return;
    }
    rec = turn_record_about(s, RECORD_STARTED_AGAIN, r);
    PUT_INT(s, rec, count, answer->starts);
    PUT_TEXT(s, rec, text, text);
    turn_commit(s, rec);
}

static void answer_started(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    struct attempt *a = run_attempt(r);
    int64_t at_ms = answer->started_ms;
    struct record *rec;

    assert(a->state == ATTEMPT_COMMITTED || run_attempt_is_released(a));
    r->live.failures = 0;
    takeover_recovered(s, r, answer->event == ENGINE_ENDED ? OUTCOME_ENDED : OUTCOME_ADOPTED);
    if (a->state == ATTEMPT_STARTED && r->state == RUN_RUNNING) { /* alive, as was known */
        started_again(s, r, answer);
        return;
    }
    if (a->state != ATTEMPT_STARTED) {
        s->started++;
        if (a->number == 1 && r->cause == CAUSE_SCHEDULE && answer->started_ms)
            lateness_note(s, answer->started_ms - r->due_ms);
        run_queue_return_engine_permit(s, r);
    }
    rec = turn_record_about(s, RECORD_STARTED, r);
    if (!at_ms) /* the engine does not know */
        at_ms = a->started_ms ? a->started_ms : s->now_ms;
    PUT_INT(s, rec, at_ms, at_ms);
    PUT_TEXT(s, rec, text, answer->text);
    turn_commit(s, rec);
    if (answer->event == ENGINE_STARTED && answer->starts < 2 && answer->text && *answer->text)
        turn_log(s, LOG_WARN, "started-early", r, "attempt %d: %s", a->number, answer->text);
    started_again(s, r, answer);
}

static void record_accepted(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    struct record *rec = turn_record_about(s, RECORD_ACCEPTED, r);

    assert(run_attempt(r)->state == ATTEMPT_COMMITTED || run_attempt(r)->state == ATTEMPT_ACCEPTED);
    PUT_TEXT(s, rec, text, answer->text);
    turn_commit(s, rec);
}

/* Where a replica does not read the record yet, the fence is asked again until it has started. */
static void answer_accepted(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    assert(run_attempt(r)->state == ATTEMPT_COMMITTED);
    if (s->state.level < record_kind_level(RECORD_ACCEPTED)) {
        engine_call_back_off(s, r);
        return;
    }
    if (MUTANT(ACCEPTED_IS_STARTED)) {
        answer_started(s, r, answer);
        return;
    }
    r->live.failures = 0;
    takeover_recovered(s, r, OUTCOME_ADOPTED);
    run_queue_return_engine_permit(s, r);
    record_accepted(s, r, answer);
}

/* Why it is not started yet: recorded when that is new. */
static void answer_pending(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    const struct attempt *a = run_attempt(r);
    bool told = a->text && answer->text && strcmp(a->text, answer->text) == 0;

    assert(run_attempt_is_released(a));
    if (a->state != ATTEMPT_ACCEPTED)
        return; /* it comes late: it has started since */
    r->live.failures = 0;
    takeover_recovered(s, r, OUTCOME_ADOPTED);
    if (r->state == RUN_UNRESOLVED || (!told && r->live.pending++ < PENDING_RECORDS_MAX))
        record_accepted(s, r, answer);
}

/* When it ended, on the clock by which its start is known: what that start was told by may have been another one's. */
static int64_t ended_ms(const struct scheduler *s, const struct attempt *a,
                        const struct engine_answer *answer)
{
    int64_t at_ms = answer->at_ms ? answer->at_ms : s->now_ms;
    bool took = answer->started_ms && answer->started_ms <= at_ms && answer->starts < 2;

    if (at_ms >= a->started_ms)
        return at_ms;
    return a->started_ms + (took ? at_ms - answer->started_ms : 0);
}

static void answer_ended(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    if (a->state != ATTEMPT_STARTED)
        answer_started(s, r, answer);
    takeover_recovered(s, r, OUTCOME_ENDED);
    assert(a->state == ATTEMPT_STARTED);
    started_again(s, r, answer);
    if (answer->cause && strcmp(answer->cause, "timeout") == 0)
        launch_stop(s, r, STOP_TIMEOUT, NULL); /* its engine has done so already, while nobody led */
    rec = turn_record_about(s, RECORD_ENDED, r);
    PUT_INT(s, rec, at_ms, ended_ms(s, a, answer));
    PUT_INT(s, rec, code, answer->exit_code);
    PUT_TEXT(s, rec, cause, answer->cause);
    PUT_TEXT(s, rec, text, answer->text);
    turn_commit(s, rec);
}

/* Refused: nothing was started and will not be. Another engine of the list may try; else the attempt failed.
 */
static void answer_refused(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    const struct job *def = run_def(r);
    struct attempt *a = run_attempt(r);
    const char *next = NULL;
    struct record *rec;

    assert(a->state == ATTEMPT_ARMED || a->state == ATTEMPT_COMMITTED || run_attempt_is_released(a));
    for (size_t i = 0; i + 1 < def->engine.count && a->state == ATTEMPT_ARMED; i++)
        if (strcmp(def->engine.items[i], a->engine) == 0)
            next = def->engine.items[i + 1];
    takeover_recovered(s, r, OUTCOME_REFUSED);
    run_queue_return_engine_permit(s, r);
    if (next) {
        launch_never_ran(s, r, answer->text);
        launch_arm(s, r, next);
        return;
    }
    if (!r->fired &&
        a->state == ATTEMPT_ARMED) { /* its time is still to come: an image may be there by then */
        r->job->live.refused_ms = r->fire_ms;
        launch_revoke(s, r, "refused ahead of its time");
        return;
    }
    rec = turn_record_about(s, RECORD_START_FAILED, r);
    PUT_TEXT(s, rec, text, answer->text ? answer->text : "refused");
    if (answer->exit_code >= 0)
        PUT_INT(s, rec, code, answer->exit_code);
    turn_commit(s, rec);
}

/* Not prepared, so not started: another engine of the list may do it; after the last one, all of them again,
 * later. */
static void try_next_engine(struct scheduler *s, struct run *r, const char *text)
{
    const struct job *def = run_def(r);
    int failures = r->live.failures;
    size_t at = 0;

    assert(def->engine.count > 1);
    while (at < def->engine.count && strcmp(def->engine.items[at], run_attempt(r)->engine) != 0)
        at++;
    run_queue_return_engine_permit(s, r);
    launch_never_ran(s, r, text);
    launch_arm(s, r, def->engine.items[(at + 1) % def->engine.count]);
    r->live.failures = failures;
    if (at + 1 >= def->engine.count)
        engine_call_back_off(s, r);
}

static void answer_never_ran(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    const struct attempt *a = run_attempt(r);

    assert(a->state == ATTEMPT_COMMITTED || a->state == ATTEMPT_ACCEPTED);
    if (r->journal_lost) { /* another attempt, of which nothing is known, may have run */
        launch_lost(s, r, TEXT_JOURNAL_LOST);
        return;
    }
    /* it failed; what an earlier leader left is armed again at once */
    if (r->live.released || a->state == ATTEMPT_ACCEPTED)
        engine_call_back_off(s, r);
    r->live.released = false;
    run_queue_return_engine_permit(s, r);
    run_queue_withdraw_permission(s, r);
    launch_never_ran(s, r, answer->text);
    takeover_recovered(s, r, OUTCOME_DISCARDED);
    turn_wake_job(s, r->job, s->now_ms); /* its fire time may have passed long ago: catch_up decides */
}

/* That it is another engine is worth more than why the first one did not answer. */
static bool new_evidence(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    return engine_call_is_replaced(s, run_attempt(r)) && answer->text &&
           (!r->text || strcmp(r->text, answer->text) != 0);
}

static void answer_unreachable(struct scheduler *s, struct run *r, enum engine_op op,
                               const struct engine_answer *answer)
{
    const struct job *def = run_def(r);

    assert(op != ENGINE_STOP && op != ENGINE_DISCARD);
    if (op == ENGINE_FENCE && MUTANT(SILENCE_IS_PROOF)) {
        answer_never_ran(s, r, answer);
        return;
    }
    if (op == ENGINE_RELEASE)
        r->live.released = false; /* certainly not sent */
    if (op == ENGINE_PREPARE && def->engine.count > 1 && r->fired) {
        try_next_engine(s, r, answer->text);
        return;
    }
    if ((op == ENGINE_FENCE || op == ENGINE_WATCH) &&
        (r->state != RUN_UNRESOLVED || new_evidence(s, r, answer)))
        turn_record_text(s, RECORD_UNRESOLVED, r, answer->text);
    if (op != ENGINE_WATCH)
        engine_call_back_off(s, r);
}

static void answer_prepared(struct scheduler *s, struct run *r, const struct engine_answer *answer)
{
    struct record *rec = turn_record_about(s, RECORD_COMMITTED, r);

    assert(run_attempt(r)->state == ATTEMPT_ARMED && answer->id);
    PUT_TEXT(s, rec, id, answer->id);
    PUT_TEXT(s, rec, boot_id, answer->boot_id);
    if (s->state.level >= RECORD_IDENTITY_LEVEL)
        PUT_TEXT(s, rec, identity, answer->identity);
    r->live.commit_index = s->batch->index;
    r->live.not_before_ms = 0;
    turn_commit(s, rec);
}

static void answer_run(struct scheduler *s, struct run *r, enum engine_op op,
                       const struct engine_answer *answer)
{
    invariant_run(s, r);
    switch (answer->event) {
    case ENGINE_PREPARED:
        answer_prepared(s, r, answer);
        break;
    case ENGINE_STARTED:
        answer_started(s, r, answer);
        break;
    case ENGINE_ENDED:
        answer_ended(s, r, answer);
        break;
    case ENGINE_NEVER_RAN:
        answer_never_ran(s, r, answer);
        break;
    case ENGINE_REFUSED:
        answer_refused(s, r, answer);
        break;
    case ENGINE_UNKNOWN:
        if (op == ENGINE_RELEASE) { /* fences, as a new leader would */
            turn_log(s, LOG_WARN, "release-unknown", r, "%s", answer->text ? answer->text : "");
            if (MUTANT(RESEND_START))
                r->live.released = false;
            turn_wake_run(s, r, s->now_ms);
            break;
        }
        launch_lost(s, r, answer->text);
        break;
    case ENGINE_UNREACHABLE:
        answer_unreachable(s, r, op, answer);
        break;
    case ENGINE_ACCEPTED:
        answer_accepted(s, r, answer);
        break;
    case ENGINE_PENDING:
        answer_pending(s, r, answer);
        break;
    case ENGINE_DONE:
    case ENGINE_EVENT_COUNT:
        break;
    }
}

/* Engines answer over networks, and peers for their engines: what does not fit the request is not trusted. */
static bool answer_fits(enum engine_op op, const struct attempt *a, const struct engine_answer *answer)
{
    static const unsigned fitting[] = {
#define EVENT(x) (1u << ENGINE_##x)
        [ENGINE_PREPARE] = EVENT(PREPARED) | EVENT(REFUSED) | EVENT(UNREACHABLE),
        [ENGINE_RELEASE] = EVENT(ACCEPTED) | EVENT(STARTED) | EVENT(ENDED) | EVENT(REFUSED) | EVENT(UNKNOWN) |
                           EVENT(UNREACHABLE),
        [ENGINE_FENCE] = EVENT(ACCEPTED) | EVENT(STARTED) | EVENT(ENDED) | EVENT(NEVER_RAN) | EVENT(REFUSED) |
                         EVENT(UNKNOWN) | EVENT(UNREACHABLE),
        [ENGINE_WATCH] = EVENT(PENDING) | EVENT(STARTED) | EVENT(ENDED) | EVENT(REFUSED) | EVENT(NEVER_RAN) |
                         EVENT(UNKNOWN) | EVENT(UNREACHABLE),
        [ENGINE_STOP] = EVENT(DONE) | EVENT(UNKNOWN) | EVENT(UNREACHABLE),
        [ENGINE_DISCARD] = EVENT(DONE) | EVENT(UNKNOWN) | EVENT(UNREACHABLE),
#undef EVENT
    };

    if (op == ENGINE_WATCH && answer->event == ENGINE_NEVER_RAN && a->state != ATTEMPT_ACCEPTED)
        return false; /* it has run */
    return fitting[op] >> answer->event & 1 && (answer->event != ENGINE_PREPARED || answer->id);
}

/* It proves nothing: a start may have been sent, and the fence finds out; anything else is asked again. */
static void answer_unfit(struct scheduler *s, struct run *r, enum engine_op op,
                         const struct engine_answer *answer)
{
    char text[128];

    assert(!answer_fits(op, run_attempt(r), answer));
    snprintf(text, sizeof(text), "the engine answered %s with %s", engine_op_name(op),
             engine_event_name(answer->event));
    turn_log(s, LOG_WARN, "engine-answer", r, "%s, which does not fit", text);
    if ((op == ENGINE_FENCE || op == ENGINE_WATCH) && r->state != RUN_UNRESOLVED)
        turn_record_text(s, RECORD_UNRESOLVED, r, text);
    if (op == ENGINE_RELEASE)
        turn_wake_run(s, r, s->now_ms);
    else
        engine_call_back_off(s, r);
}

static uint64_t ticket_of(const struct run *r, enum engine_op op)
{
    return op == ENGINE_STOP ? r->live.stop_ticket : r->live.ticket;
}

void engine_events_answer(struct engine_host *host, const struct engine_answer *answer)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);
    struct engine_call *c = engine_call_find(s, answer->ticket);
    struct run *r;
    enum engine_op op;

    if (!c || !s->leading || s->stopping)
        return;
    FAULT_POINT("answer", engine_event_name(answer->event));
    turn_enter(s);
    reconcile_due(s); /* what is due is evaluated before this answer is recorded at the same instant */
    c = engine_call_find(s, answer->ticket);
    if (!c)
        return;
    op = c->op;
    assert(op != ENGINE_DISCARD); /* no call waits for it */
    r = c->run ? state_run(&s->state, c->run) : NULL;
    if (!r || (ticket_of(r, op) != c->ticket)) {
        /* nobody needs what was prepared: the sweep asks engine_events_keep, which does not know it */
        engine_call_free(s, c);
        return;
    }
    /* a watch goes on until its end; anything else is answered once */
    if (op != ENGINE_WATCH || !engine_event_goes_on(answer->event)) {
        if (op == ENGINE_STOP)
            r->live.stop_ticket = 0;
        else
            r->live.ticket = 0;
        engine_call_free(s, c);
    }
    if (op == ENGINE_STOP && answer->event == ENGINE_DONE)
        turn_wake_run(s, r, r->live.stop_again_ms);
    else if (op == ENGINE_STOP)
        turn_wake_run(s, r, r->live.stop_again_ms = s->now_ms + BACK_OFF_FIRST_MS);
    else if (!answer_fits(op, run_attempt(r), answer))
        answer_unfit(s, r, op, answer);
    else
        answer_run(s, r, op, answer);
    reconcile_due(s);
}

static void retry_now(struct scheduler *s, struct run *r)
{
    if (r->live.not_before_ms <= s->now_ms)
        return;
    r->live.not_before_ms = 0;
    r->live.failures = 0;
    turn_wake_run(s, r, s->now_ms);
    assert(r->live.timer.slot > 0);
}

void engine_events_back(struct engine_host *host, const struct engine *engine)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);
    struct job_state *j, *next;

    if (!s->leading || s->stopping)
        return;
    turn_enter(s);
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        LIST_EACH(link, &j->runs)
        {
            struct run *r = LIST_ITEM(link, struct run, of_job);
            const struct attempt *a = run_attempt(r);

            if (!a || (engine && strcmp(a->engine, engine->name) != 0))
                continue;
            retry_now(s, r);
            if (!engine_call_is_replaced(s, a))
                continue;
            /* what was not released is prepared again; for what runs, another replica may reach its engine */
            if (run_attempt_is_released(a))
                engine_call_orphan(s, &r->live.ticket);
            turn_wake_run(s, r, s->now_ms);
        }
    }
    reconcile_due(s);
}

void engine_events_stray(struct engine_host *host, const struct engine *engine, const char *run, int attempt,
                         const char *id, bool running)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);

    if (!s->leading || s->stopping)
        return;
    turn_enter(s);
    if (running)
        stray_add(s, engine->name, run, attempt, id);
    else
        stray_remove(s, id);
    reconcile_due(s);
}

bool engine_events_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);
    struct run *r = state_run(&s->state, run);
    struct engine_call *c, *next;

    HASH_ITER(by_ticket, s->calls, c, next)
    {
        if (c->op == ENGINE_PREPARE && c->run && strcmp(c->run, run) == 0 && epoch >= s->epoch)
            return true; /* being made just now */
    }
    if (!s->leading || epoch > s->epoch)
        return true;
    if (!r)
        return s->acked < turn_index(s); /* its end may not be durable yet: ask again */
    for (size_t i = 0; i < r->attempt_count; i++) {
        const struct attempt *a = &r->attempts[i];

        if (a->number == attempt && a->id && strcmp(a->id, id) == 0)
            return (a->state == ATTEMPT_COMMITTED && !MUTANT(SWEEP_COMMITTED)) ||
                   run_attempt_is_released(a) || r->live.index > s->acked;
    }
    return r->live.index > s->acked;
}
