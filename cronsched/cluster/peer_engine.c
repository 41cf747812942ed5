/* See peer_engine.h. */
#include "cronsched/cluster/peer_engine.h"

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <stdio.h>

struct pending {
    struct list link;
    uint64_t ticket;
    struct http_request *request;
};

/* A WATCH for the leader of epoch `leader_epoch`, and its last answer. */
struct watch {
    struct list link;
    uint64_t ticket;
    struct engine *engine;
    char *id, *cause, *text;
    int64_t leader_epoch, started_ms, at_ms;
    enum engine_event event;
    int exit_code;
};

struct peer_engine {
    struct object object; /* first */
    struct engine_host host;
    struct engine_host *under;
    struct list pending, watches;
    size_t count, watch_count;
    uint64_t next;
};

static struct peer_engine *of(struct engine_host *host)
{
    return OBJECT_OF(struct peer_engine, host, host);
}

static void pending_free(struct peer_engine *p, struct pending *x)
{
    list_remove(&x->link);
    http_request_unref(x->request);
    free(x);
    p->count--;
}

static void watch_free(struct peer_engine *p, struct watch *w)
{
    list_remove(&w->link);
    free(w->id);
    free(w->cause);
    free(w->text);
    free(w);
    p->watch_count--;
}

/* Requests whose time is up: their engine has forgotten them, or is slow. */
static void drop_answered(struct peer_engine *p)
{
    LIST_EACH_SAFE(link, &p->pending)
    {
        struct pending *x = LIST_ITEM(link, struct pending, link);

        if (http_answered(x->request))
            pending_free(p, x);
    }
}

/* ---- the host ---- */

static json_t *answer_json(const struct engine_answer *a)
{
    return json_pack("{s:s,s:I,s:I,s:i,s:s?,s:s?}", "event", engine_event_name(a->event), "started",
                     (json_int_t)a->started_ms, "at", (json_int_t)a->at_ms, "exit_code", a->exit_code,
                     "cause", a->cause, "text", a->text);
}

static void watch_hear(struct watch *w, const struct engine_answer *a)
{
    w->event = a->event;
    w->started_ms = a->started_ms ? a->started_ms : w->started_ms;
    w->at_ms = a->at_ms;
    w->exit_code = a->exit_code;
    alloc_replace(&w->cause, a->cause);
    alloc_replace(&w->text, a->text);
}

static void host_answer(struct engine_host *host, const struct engine_answer *a)
{
    struct peer_engine *p = of(host);

    if (!(a->ticket & PEER_ENGINE_TICKET)) {
        p->under->answer(p->under, a);
        return;
    }
    LIST_EACH(link, &p->watches)
    {
        struct watch *w = LIST_ITEM(link, struct watch, link);

        if (w->ticket == a->ticket) {
            watch_hear(w, a);
            return;
        }
    }
    LIST_EACH(link, &p->pending)
    {
        struct pending *x = LIST_ITEM(link, struct pending, link);

        if (x->ticket != a->ticket)
            continue;
        http_reply_json(x->request, 200, answer_json(a));
        pending_free(p, x);
        return;
    }
}

static bool host_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    return of(host)->under->keep(of(host)->under, run, attempt, epoch, id);
}

static int64_t host_now_ms(struct engine_host *host)
{
    return of(host)->under->now_ms(of(host)->under);
}

static int64_t host_epoch(struct engine_host *host)
{
    return of(host)->under->epoch(of(host)->under);
}

static const char *host_cluster(struct engine_host *host)
{
    return of(host)->under->cluster(of(host)->under);
}

static void host_back(struct engine_host *host, const struct engine *engine)
{
    of(host)->under->back(of(host)->under, engine);
}

static void host_stray(struct engine_host *host, const struct engine *engine, const char *run, int attempt,
                       const char *id, bool running)
{
    if (of(host)->under->stray)
        of(host)->under->stray(of(host)->under, engine, run, attempt, id, running);
}

struct peer_engine *peer_engine_new(struct engine_host *under)
{
    struct peer_engine *p = OBJECT_NEW(struct peer_engine);

    p->host = (struct engine_host){host_answer,  host_keep, host_now_ms, host_epoch,
                                   host_cluster, host_back, host_stray};
    p->under = under;
    list_init(&p->pending);
    list_init(&p->watches);
    return p;
}

struct engine_host *peer_engine_host(struct peer_engine *p)
{
    return &p->host;
}

void peer_engine_free(struct peer_engine *p)
{
    if (!p)
        return;
    while (!list_empty(&p->pending))
        pending_free(p, LIST_ITEM(p->pending.next, struct pending, link));
    while (!list_empty(&p->watches))
        watch_free(p, LIST_ITEM(p->watches.next, struct watch, link));
    OBJECT_FREE(struct peer_engine, p);
}

/* ---- requests ---- */

struct asked {
    const char *engine, *op, *job, *run, *name, *id, *boot_id, *identity;
    json_t *def;
    int attempt, try, may_have_run;
    json_int_t epoch, leader_epoch, started; /* of the attempt, of who asks; when it started */
    json_int_t stopping;
    bool asked_before;
};

static int read_body(const json_t *body, struct asked *a, struct error *error)
{
    json_error_t why;
    json_t *boot_id;

    if (json_unpack_ex((json_t *)(uintptr_t)body, &why, 0,
                       "{s:s,s:s,s:s,s:o,s:s,s:i,s:i,s:I,s:I,s:s,s:s,s:o,s:b}", "engine", &a->engine, "op",
                       &a->op, "job", &a->job, "def", &a->def, "run", &a->run, "attempt", &a->attempt, "try",
                       &a->try, "epoch", &a->epoch, "reign", &a->leader_epoch, "name", &a->name, "id", &a->id,
                       "boot", &boot_id, "may_have_run", &a->may_have_run) < 0)
        return error_set(error, ERR_INVALID, "%s", why.text);
    a->boot_id = json_string_value(boot_id);
    a->identity = json_string_value(json_object_get(body, "identity")); /* not there: by an older leader */
    a->started = json_integer_value(json_object_get(body, "started"));
    a->stopping = json_integer_value(json_object_get(body, "stopping"));
    a->asked_before = json_is_true(json_object_get(body, "asked_before"));
    return 0;
}

static bool op_parse(const char *name, enum engine_op *ret)
{
    static const enum engine_op allowed[] = {ENGINE_FENCE, ENGINE_STOP, ENGINE_DISCARD, ENGINE_WATCH};

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        if (strcmp(engine_op_name(allowed[i]), name) == 0) {
            *ret = allowed[i];
            return true;
        }
    return false;
}

static struct engine_request request_of(struct peer_engine *p, const struct asked *a, const struct job *job)
{
    return (struct engine_request){.ticket = PEER_ENGINE_TICKET | p->next++,
                                   .job = job,
                                   .run = a->run,
                                   .attempt = a->attempt,
                                   .try = a->try,
                                   .epoch = a->epoch,
                                   .name = a->name,
                                   .id = a->id,
                                   .boot_id = a->boot_id,
                                   .identity = a->identity,
                                   .started_ms = a->started,
                                   .stopping_ms = a->stopping,
                                   .asked_before = a->asked_before,
                                   .cause = "",
                                   .may_have_run = a->may_have_run};
}

/* Those of an older leader count no more. */
static struct watch *watch_find(struct peer_engine *p, const struct engine *engine, const struct asked *a)
{
    struct watch *found = NULL;

    LIST_EACH_SAFE(link, &p->watches)
    {
        struct watch *w = LIST_ITEM(link, struct watch, link);

        if (w->leader_epoch < a->leader_epoch)
            watch_free(p, w);
        else if (w->engine == engine && strcmp(w->id, a->id) == 0)
            found = w;
    }
    return found;
}

static void watch(struct peer_engine *p, struct http_request *request, struct engine *engine,
                  const struct asked *a, const struct job *job)
{
    struct watch *w = watch_find(p, engine, a);
    struct engine_request r = request_of(p, a, job);

    assert(engine); /* the caller found it */
    if (!w) {
        w = alloc_zero(sizeof(*w));
        w->ticket = r.ticket;
        w->engine = engine;
        w->id = alloc_text(a->id);
        w->leader_epoch = a->leader_epoch;
        w->started_ms = a->started;
        w->event = a->started ? ENGINE_STARTED : ENGINE_PENDING;
        w->exit_code = -1;
        list_append(&p->watches, &w->link);
        p->watch_count++;
        engine->ops->submit(engine, ENGINE_WATCH, &r); /* does not answer from within */
    }
    http_reply_json(request, 200,
                    answer_json(&(struct engine_answer){.event = w->event,
                                                        .started_ms = w->started_ms,
                                                        .at_ms = w->at_ms,
                                                        .exit_code = w->exit_code,
                                                        .cause = w->cause,
                                                        .text = w->text}));
    if (!engine_event_goes_on(w->event)) /* if that is lost, it is watched again */
        watch_free(p, w);
}

static void submit(struct peer_engine *p, struct http_request *request, struct engine *engine,
                   enum engine_op op, const struct asked *a, const struct job *job)
{
    struct pending *x = alloc_zero(sizeof(*x));
    struct engine_request r = request_of(p, a, job);

    x->ticket = r.ticket;
    x->request = http_request_ref(request);
    list_append(&p->pending, &x->link);
    p->count++;
    assert(engine); /* the caller found it */
    engine->ops->submit(engine, op, &r);
}

static bool is_another(const struct engine *engine, const struct asked *a, char *text, size_t size)
{
    struct engine_status status = {0};

    assert(engine); /* the caller found it */
    engine->ops->status(engine, &status);
    return engine_is_another(status.identity, a->identity, text, size);
}

void peer_engine_request(struct peer_engine *p, struct http_request *request, struct engine *const *engines,
                         size_t engine_count, int64_t epoch, struct zone_source *zones)
{
    char text[ENGINE_IDENTITY_MAX * 3];
    struct asked a = {0};
    struct error error = {0};
    struct job *job = NULL;
    struct engine *engine = NULL;
    enum engine_op op = ENGINE_FENCE;
    int rc = http_caller(request)->replica ? read_body(http_body(request), &a, &error)
                                           : error_set(&error, ERR_DENIED, "this is for replicas only");

    drop_answered(p);
    for (size_t i = 0; rc == 0 && i < engine_count; i++)
        if (strcmp(engines[i]->name, a.engine) == 0)
            engine = engines[i];
    if (rc == 0 && a.leader_epoch < epoch)
        rc = error_set(&error, ERR_DEPOSED, "epoch %lld has another leader than epoch %lld", (long long)epoch,
                       (long long)a.leader_epoch);
    if (rc == 0 && (!engine || (strcmp(engine->type, "process") != 0 && !a.identity)))
        rc = error_set(&error, ERR_NOT_FOUND, "no engine %s of a replica's own here", a.engine);
    if (rc == 0 && is_another(engine, &a, text, sizeof(text))) /* it would be passed on, maybe for ever */
        rc = error_set(&error, ERR_NOT_FOUND, "%s", text);
    if (rc == 0 && !op_parse(a.op, &op))
        rc = error_set(&error, ERR_INVALID, "op: %s is not allowed from another replica", a.op);
    if (rc == 0 && (p->count >= PEER_ENGINE_MAX || p->watch_count >= PEER_ENGINE_MAX))
        rc = error_set(&error, ERR_LIMIT, "too many requests from replicas");
    if (rc == 0)
        rc = job_from_json(&job, a.job, a.def, zones, &error);
    if (rc < 0)
        http_reply_failure(request, &error);
    else if (op == ENGINE_WATCH)
        watch(p, request, engine, &a, job);
    else
        submit(p, request, engine, op, &a, job);
    job_unref(job);
}
