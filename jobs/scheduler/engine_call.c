/* Requests to engines: those under way, by ticket, and the objects to be removed once a record is durable.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/hash.h"
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <stdio.h>

/* NULL: it is not in the configuration. */
static struct engine *engine_of(struct scheduler *s, const struct attempt *a)
{
    struct engine *e = NULL;

    run_queue_of_engine(s, a->engine, &e);
    return e;
}

/* It was prepared on an engine that another one has replaced under the same name. Not known is not replaced. */
bool engine_call_is_replaced(struct scheduler *s, const struct attempt *a)
{
    struct engine *e = engine_of(s, a);
    struct engine_status status = {0};
    char text[TEXT_FIELD_MAX];

    if (!e || !a->identity)
        return false;
    e->ops->status(e, &status);
    return status.identity[0] && engine_is_another(status.identity, a->identity, text, sizeof(text));
}

/* ---- calls under way ---- */

struct engine_call *engine_call_find(struct scheduler *s, uint64_t ticket)
{
    struct engine_call *c = NULL;

    HASH_FIND(by_ticket, s->calls, &ticket, sizeof(ticket), c);
    return c;
}

void engine_call_free(struct scheduler *s, struct engine_call *c)
{
    assert(engine_call_find(s, c->ticket) == c);
    HASH_DELETE(by_ticket, s->calls, c);
    free(c->run);
    free(c);
}

static void discard_free(struct engine_discard *d)
{
    list_remove(&d->all);
    job_unref(d->job);
    free(d->run);
    free(d->id);
    free(d->name);
    free(d->identity);
    free(d);
}

void engine_call_drop_all(struct scheduler *s)
{
    struct engine_call *c, *next;

    assert(!s->leading);
    HASH_ITER(by_ticket, s->calls, c, next)
    {
        engine_call_free(s, c);
    }
    assert(!s->calls);
    while (!list_empty(&s->discards))
        discard_free(LIST_ITEM(s->discards.next, struct engine_discard, all));
}

void engine_call_orphan(struct scheduler *s, uint64_t *ticket)
{
    struct engine_call *c = *ticket ? engine_call_find(s, *ticket) : NULL;

    assert(!c || c->run);
    *ticket = 0;
    if (c) {
        free(c->run);
        c->run = NULL;
    }
}

/* What its engine still answers is about an attempt that is over. */
void engine_call_orphan_all(struct scheduler *s, struct run *r)
{
    engine_call_orphan(s, &r->live.ticket);
    engine_call_orphan(s, &r->live.stop_ticket);
    assert(!r->live.ticket && !r->live.stop_ticket);
}

/* ---- calls ---- */

/* No two ARM records ever give the same name, so that what one of them made cannot be taken for another's. */
static void object_name(struct scheduler *s, const char *run, const struct attempt *a, char ret[40])
{
    unsigned long long index = a->index;
    char text[RUN_ID_MAX + 160], hash[33];
    int try = a->try;

    assert(a->number >= 1);
    if (MUTANT(SAME_NAME)) {
        try = 1;
        index = 0;
    }
    snprintf(text, sizeof(text), "%s %s %d %lld %d %llu", s->host.cluster(&s->host), run, a->number,
             (long long)a->epoch, try, index);
    batch_hash(text, strlen(text), hash);
    snprintf(ret, 40, "cs-%s", hash);
}

/* What the protocol allows to ask about this attempt. */
static bool op_fits(const struct scheduler *s, const struct run *r, const struct attempt *a,
                    enum engine_op op)
{
    switch (op) {
    case ENGINE_PREPARE:
        return a->state == ATTEMPT_ARMED && a->epoch == s->epoch;
    case ENGINE_RELEASE:
        return a->state == ATTEMPT_COMMITTED && a->committed_epoch == s->epoch && r->fired;
    case ENGINE_FENCE:
        return a->state == ATTEMPT_COMMITTED;
    case ENGINE_WATCH:
    case ENGINE_STOP:
        return run_attempt_is_released(a);
    case ENGINE_DISCARD:
        return false; /* only once its record is durable: engine_call_discard_acked */
    }
    return false;
}

uint64_t engine_call_begin(struct scheduler *s, struct run *r, enum engine_op op)
{
    struct attempt *a = run_attempt(r);
    struct engine *engine = engine_of(s, a);
    struct engine_call *c;
    char name[40];
    struct engine_request request = {
        .job = run_def(r),
        .run = r->id,
        .attempt = a->number,
        .try = a->try,
        .epoch = a->epoch,
        .name = name,
        .id = a->id,
        .boot_id = a->boot_id,
        .identity = a->identity,
        .started_ms = a->started_ms,
        .unresolved = r->state == RUN_UNRESOLVED,
        .may_have_run = r->fired,
        .stopping_ms = a->stop_reason ? a->stopping_ms : 0,
        .asked_before = op == ENGINE_STOP && !r->live.stopped_here && r->live.stops == 1,
        .cause = run_cause_name(r->cause),
        .fire_ms = r->fire_ms,
        .previous_fire_ms = rules_previous_ms(s, r),
        .params = r->params,
    };

    assert(engine && op_fits(s, r, a, op));
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

/* While the lease may have expired, send nothing that changes state. Safety does not depend on this; the
 * fence does. */
bool engine_call_may_act(struct scheduler *s, struct run *r)
{
    bool may = s->journal->ops->may_act(s->journal);

    assert(s->leading);
    if (!may)
        turn_wake_run(s, r, s->now_ms + MAY_ACT_AGAIN_MS);
    return may;
}

void engine_call_submit(struct scheduler *s, struct run *r, enum engine_op op)
{
    assert(r->live.ticket == 0);
    if (op != ENGINE_WATCH && !engine_call_may_act(s, r))
        return;
    if (op == ENGINE_RELEASE && !r->live.released)
        r->live.sent_ms = s->now_ms;
    r->live.released = r->live.released || op == ENGINE_RELEASE;
    r->live.ticket = engine_call_begin(s, r, op);
}

void engine_call_back_off(struct scheduler *s, struct run *r)
{
    int64_t wait = BACK_OFF_FIRST_MS;

    for (int i = 0; i < r->live.failures && wait < BACK_OFF_MAX_MS; i++)
        wait *= 2;
    r->live.failures++;
    wait = wait < BACK_OFF_MAX_MS ? wait : BACK_OFF_MAX_MS;
    wait += (int64_t)(s->o.env->random(s->o.env) % (uint64_t)(wait / 4 + 1));
    assert(wait >= BACK_OFF_FIRST_MS && wait <= BACK_OFF_MAX_MS + BACK_OFF_MAX_MS / 4);
    r->live.not_before_ms = s->now_ms + wait;
    turn_wake_run(s, r, r->live.not_before_ms);
}

/* ---- what is to be removed ---- */

/* An attempt's object goes once the record that is being written, which gives it up, is durable; what was
 * never answered is left to the sweep. */
void engine_call_discard_later(struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);
    struct engine_discard *d;
    char name[40];

    assert(s->batch && a->state != ATTEMPT_STARTED);
    if (!a->id)
        return;
    object_name(s, r->id, a, name);
    d = alloc_zero(sizeof(*d));
    d->engine = engine_of(s, a);
    d->job = job_ref(run_def(r));
    d->run = alloc_text(r->id);
    d->id = alloc_text(a->id);
    d->name = alloc_text(name);
    d->identity = alloc_text(a->identity);
    d->attempt = a->number;
    d->try = a->try;
    d->epoch = a->epoch;
    d->index = s->batch->index;
    list_append(&s->discards, &d->all);
}

void engine_call_discard_acked(struct scheduler *s)
{
    assert(s->leading);
    if (list_empty(&s->discards) || !s->journal->ops->may_act(s->journal))
        return; /* the next turn looks again; and what stays behind the sweep finds */
    LIST_EACH_SAFE(link, &s->discards)
    {
        struct engine_discard *d = LIST_ITEM(link, struct engine_discard, all);
        struct engine_request request = {.job = d->job,
                                         .run = d->run,
                                         .attempt = d->attempt,
                                         .try = d->try,
                                         .epoch = d->epoch,
                                         .name = d->name,
                                         .id = d->id,
                                         .identity = d->identity,
                                         .cause = ""};

        if (d->index > s->acked && !MUTANT(DISCARD_BEFORE_ACK))
            continue;
        request.ticket = s->next_ticket++; /* no call waits for it: what it misses the sweep finds */
        FAULT_POINT("submit", "discard");
        if (d->engine)
            d->engine->ops->submit(d->engine, ENGINE_DISCARD, &request);
        discard_free(d);
    }
}
