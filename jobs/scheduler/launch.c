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
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/hash.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <stdio.h>

/* ---- engines and lanes ---- */

const char *run_engine_name(struct scheduler *s, const struct run *r)
{
    const struct job *def = run_def(r);

    return def->engine.count ? def->engine.items[0] : s->o.default_engine;
}

struct lane *engine_lane(struct scheduler *s, const char *name, struct engine **ret)
{
    for (size_t i = 0; i < s->o.engine_count; i++)
        if (strcmp(s->o.engines[i]->name, name) == 0) {
            if (ret)
                *ret = s->o.engines[i];
            return &s->engines[i];
        }
    return NULL;
}

static struct engine *engine_of(struct scheduler *s, const struct attempt *a)
{
    struct engine *e = NULL;

    engine_lane(s, a->engine, &e);
    return e;
}

struct lane *pool_lane(struct scheduler *s, const struct job *def)
{
    for (size_t i = 0; def->pool && i < s->o.pool_count; i++)
        if (strcmp(s->o.pools[i].name, def->pool) == 0)
            return &s->pools[i];
    return NULL;
}

/* When a place is free, the first of those who wait looks at it. */
static void lane_offer(struct scheduler *s, struct lane *lane)
{
    struct heap_item *first = lane->used < lane->size ? heap_first(&lane->waiting) : NULL;

    if (first)
        run_kick(s, LIST_ITEM(first, struct run, live.place), s->now_ms);
}

static void lane_wait_no_more(struct scheduler *s, struct run *r)
{
    struct lane *lane = r->live.waits_in;

    if (!lane)
        return;
    r->live.waits_in = NULL;
    heap_remove(&lane->waiting, &r->live.place);
    if (s->leading)
        lane_offer(s, lane); /* there may be a place for the next one, too */
}

/* May it take a place now? Not past one that waits with a better claim. */
static bool lane_free(const struct lane *lane, const struct run *r)
{
    const struct heap_item *first = heap_first(&lane->waiting);

    return lane->used < lane->size &&
           (!first || first == &r->live.place || first->priority < run_def(r)->priority ||
            (first->priority == run_def(r)->priority && first->seq > r->seq));
}

/* The lane kicks the first when a place is free; the timer is for a first one that then does not take it. */
static void lane_wait(struct scheduler *s, struct lane *lane, struct run *r)
{
    run_kick(s, r, s->now_ms + LANE_LOOK_AGAIN_MS);
    if (r->live.waits_in == lane)
        return;
    lane_wait_no_more(s, r);
    r->live.waits_in = lane;
    r->live.place.priority = run_def(r)->priority;
    r->live.place.seq = r->seq;
    heap_set(&lane->waiting, &r->live.place, 0);
}

void lane_leave(struct scheduler *s, struct lane *lane)
{
    assert(lane->used > 0);
    lane->used--;
    lane_offer(s, lane);
}

void run_leave_slot(struct scheduler *s, struct run *r)
{
    struct lane *slot = r->live.slot;

    r->live.slot = NULL;
    if (slot)
        lane_leave(s, slot);
}

/* It is not under way any more, and has to ask again: for its turn, and for a place in its pool. */
void run_unadmit(struct scheduler *s, struct run *r)
{
    struct lane *pool = r->live.pool;

    r->live.admitted = false;
    r->live.pool = NULL;
    if (pool)
        lane_leave(s, pool);
}

/* ---- calls under way ---- */

struct call *call_find(struct scheduler *s, uint64_t ticket)
{
    struct call *c = NULL;

    HASH_FIND(by_ticket, s->calls, &ticket, sizeof(ticket), c);
    return c;
}

void call_free(struct scheduler *s, struct call *c)
{
    HASH_DELETE(by_ticket, s->calls, c);
    free(c->run);
    free(c);
}

void calls_drop(struct scheduler *s)
{
    struct call *c, *next;

    HASH_ITER(by_ticket, s->calls, c, next)
    {
        call_free(s, c);
    }
    while (!list_empty(&s->discards)) {
        struct discard *d = LIST_ITEM(s->discards.next, struct discard, all);

        list_remove(&d->all);
        job_unref(d->job);
        free(d->run);
        free(d->id);
        free(d->name);
        free(d);
    }
}

static void orphan(struct scheduler *s, uint64_t *ticket)
{
    struct call *c = *ticket ? call_find(s, *ticket) : NULL;

    *ticket = 0;
    if (c) {
        free(c->run);
        c->run = NULL;
    }
}

/* What its engine still answers is about an attempt that is over. */
static void orphan_calls(struct scheduler *s, struct run *r)
{
    orphan(s, &r->live.ticket);
    orphan(s, &r->live.stop_ticket);
}

void run_forget(struct scheduler *s, struct run *r)
{
    heap_remove(&s->run_timers, &r->live.timer);
    lane_wait_no_more(s, r);
    if (s->leading) {
        run_settled(s, r, FATE_DISCARDED);
        run_leave_slot(s, r);
        run_unadmit(s, r);
    }
    orphan_calls(s, r);
}

/* ---- calls ---- */

/* No two ARM records ever give the same name, so that what one of them made cannot be taken for another's. */
static void object_name(struct scheduler *s, const char *run, const struct attempt *a, char ret[40])
{
    char text[RUN_ID_MAX + 160], hash[33];

    snprintf(text, sizeof(text), "%s %s %d %lld %d %llu", s->host.cluster(&s->host), run, a->number,
             (long long)a->epoch, MUTANT(SAME_NAME) ? 1 : a->try,
             MUTANT(SAME_NAME) ? 0 : (unsigned long long)a->index);
    batch_hash(text, strlen(text), hash);
    snprintf(ret, 40, "cs-%s", hash);
}

static uint64_t call(struct scheduler *s, struct run *r, enum engine_op op)
{
    struct attempt *a = run_attempt(r);
    struct engine *engine = engine_of(s, a);
    struct call *c;
    char name[40];
    struct engine_request request = {
        .job = run_def(r),
        .run = r->id,
        .attempt = a->number,
        .try = a->try,
        .epoch = a->epoch,
        .name = name,
        .id = a->id,
        .boot = a->boot,
        .may_have_run = r->fired,
        .cause = r->cause,
        .fire_ms = r->fire_ms,
        .previous_fire_ms = r->previous_fire_ms,
        .params = r->params,
    };

    assert(engine);
    object_name(s, r->id, a, name);
    c = alloc_zero(sizeof(*c));
    c->ticket = request.ticket = s->next_ticket++;
    c->op = op;
    c->run = alloc_text(r->id);
    c->attempt = a->number;
    c->try = a->try;
    c->engine = engine;
    HASH_ADD(by_ticket, s->calls, ticket, sizeof(c->ticket), c);
    FAULT_POINT("submit", engine_op_name(op));
    engine->ops->submit(engine, op, &request);
    return c->ticket;
}

/* Politeness: while the lease is in doubt nothing that changes anything is sent to an engine; the fence would
 * hold all the same. Then the run looks again soon. */
static bool may_act(struct scheduler *s, struct run *r)
{
    bool may = s->journal->ops->may_act(s->journal);

    if (!may)
        run_kick(s, r, s->now_ms + MAY_ACT_AGAIN_MS);
    return may;
}

static void submit(struct scheduler *s, struct run *r, enum engine_op op)
{
    assert(r->live.ticket == 0);
    if (op != ENGINE_WATCH && !may_act(s, r))
        return;
    r->live.released = r->live.released || op == ENGINE_RELEASE;
    r->live.ticket = call(s, r, op);
    r->live.watching = op == ENGINE_WATCH;
}

void run_back_off(struct scheduler *s, struct run *r)
{
    int64_t wait = BACK_OFF_FIRST_MS;

    for (int i = 0; i < r->live.failures && wait < BACK_OFF_MAX_MS; i++)
        wait *= 2;
    r->live.failures++;
    wait = wait < BACK_OFF_MAX_MS ? wait : BACK_OFF_MAX_MS;
    wait += (int64_t)(s->o.env->random(s->o.env) % (uint64_t)(wait / 4 + 1));
    r->live.not_before_ms = s->now_ms + wait;
    run_kick(s, r, r->live.not_before_ms);
}

/* ---- records about an attempt ---- */

struct record *record_about(struct scheduler *s, enum record_kind kind, const struct run *r)
{
    struct record *rec = record_begin(s, kind);

    PUT_TEXT(s, rec, run, r->id);
    PUT_INT(s, rec, attempt, r->attempts[r->attempt_count - 1].number);
    return rec;
}

void record_with_text(struct scheduler *s, enum record_kind kind, struct run *r, const char *text)
{
    struct record *rec = record_about(s, kind, r);

    PUT_TEXT(s, rec, text, text ? text : "");
    record_commit(s, rec);
}

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

/* An attempt's object goes once the record that is being written, which gives it up, is durable; what was
 * never answered is left to the sweep. */
static void discard_later(struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);
    struct discard *d;
    char name[40];

    if (!a->id)
        return;
    object_name(s, r->id, a, name);
    d = alloc_zero(sizeof(*d));
    d->engine = engine_of(s, a);
    d->job = job_ref(run_def(r));
    d->run = alloc_text(r->id);
    d->id = alloc_text(a->id);
    d->name = alloc_text(name);
    d->attempt = a->number;
    d->try = a->try;
    d->epoch = a->epoch;
    d->index = s->batch->index;
    list_append(&s->discards, &d->all);
}

void discards_acked(struct scheduler *s)
{
    if (list_empty(&s->discards) || !s->journal->ops->may_act(s->journal))
        return; /* the next turn looks again; and what stays behind the sweep finds */
    LIST_EACH_SAFE(link, &s->discards)
    {
        struct discard *d = LIST_ITEM(link, struct discard, all);
        struct engine_request request = {.job = d->job,
                                         .run = d->run,
                                         .attempt = d->attempt,
                                         .try = d->try,
                                         .epoch = d->epoch,
                                         .name = d->name,
                                         .id = d->id,
                                         .cause = ""};

        if (d->index > s->acked && !MUTANT(DISCARD_BEFORE_ACK))
            continue;
        list_remove(&d->all);
        request.ticket = s->next_ticket++; /* no call waits for it: what it misses the sweep finds */
        FAULT_POINT("submit", "discard");
        if (d->engine)
            d->engine->ops->submit(d->engine, ENGINE_DISCARD, &request);
        job_unref(d->job);
        free(d->run);
        free(d->id);
        free(d->name);
        free(d);
    }
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
    orphan(s, &r->live.ticket);
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
    orphan_calls(s, r);
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
    orphan_calls(s, r);
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
            submit(s, r, ENGINE_WATCH);
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
        if (!may_act(s, r))
            return;
        r->live.stop_again_ms = s->now_ms + run_def(r)->stop_grace_ms + STOP_AGAIN_MS;
        r->live.stop_ticket = call(s, r, ENGINE_STOP);
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
        submit(s, r, ENGINE_FENCE);
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
        submit(s, r, ENGINE_PREPARE);
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
    submit(s, r, ENGINE_RELEASE);
}
