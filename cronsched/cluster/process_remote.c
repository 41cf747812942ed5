/* See process_remote.h. A call is one request about another replica's attempt: at that replica (`call`), or
 * waiting (`timer`): to answer in a later turn, or, a WATCH, to ask again. */
#include "cronsched/cluster/process_remote.h"

#include "cronsched/engines/process/process.h"
#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"

#include <stdio.h>

struct remote_engine {
    struct object object; /* first */
    struct engine engine;
    struct process_remote_options o;
    struct list calls;
    size_t count; /* not yet freed */
    bool closing, under_closed;
    void (*done)(void *arg);
    void *done_arg;
};

struct remote_call {
    struct object object; /* first */
    struct list link;
    struct remote_engine *engine;
    enum engine_op op;
    uint64_t ticket;
    char *body, *host_id;
    struct http_call *call;
    uv_timer_t timer;
    bool away; /* a WATCH has said so */
};

static struct remote_engine *of(const struct engine *engine)
{
    return OBJECT_OF(struct remote_engine, engine, engine);
}

static void finish(struct remote_engine *e)
{
    void (*done)(void *arg) = e->done;
    void *arg = e->done_arg;

    if (!e->closing || !e->under_closed || e->count > 0)
        return;
    OBJECT_FREE(struct remote_engine, e);
    done(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct remote_call *c = OBJECT(struct remote_call, handle->data);
    struct remote_engine *e = c->engine;

    free(c->body);
    free(c->host_id);
    OBJECT_FREE(struct remote_call, c);
    e->count--;
    finish(e);
}

static void call_end(struct remote_call *c)
{
    list_remove(&c->link);
    http_call_cancel(c->call);
    c->call = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void call_answer(struct remote_call *c, struct engine_answer *answer)
{
    struct remote_engine *e = c->engine;

    answer->ticket = c->ticket;
    call_end(c);
    e->o.host->answer(e->o.host, answer);
}

/* ---- asking ---- */

static void call_ask(struct remote_call *c);

static void on_ask(uv_timer_t *timer)
{
    call_ask(OBJECT(struct remote_call, timer->data));
}

static void call_unreachable(struct remote_call *c, const char *why)
{
    struct remote_engine *e = c->engine;
    struct engine_answer answer = {
        .ticket = c->ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = why};

    if (c->op != ENGINE_WATCH) {
        call_answer(c, &answer);
        return;
    }
    uv_timer_start(&c->timer, on_ask, PROCESS_REMOTE_POLL_MS, 0);
    if (!c->away) {
        c->away = true;
        e->o.host->answer(e->o.host, &answer); /* may end this call: nothing after */
    }
}

static bool event_parse(const char *name, enum engine_event *ret)
{
    for (int i = ENGINE_PREPARED; name && i <= ENGINE_DONE; i++)
        if (strcmp(engine_event_name((enum engine_event)i), name) == 0) {
            *ret = (enum engine_event)i;
            return true;
        }
    return false;
}

/* What the other replica's engine said. */
static void call_hear(struct remote_call *c, const json_t *reply)
{
    struct remote_engine *e = c->engine;
    struct engine_answer answer = {
        .ticket = c->ticket,
        .started_ms = json_integer_value(json_object_get(reply, "started")),
        .at_ms = json_integer_value(json_object_get(reply, "at")),
        .exit_code = (int)json_integer_value(json_object_get(reply, "exit_code")),
        .cause = json_string_value(json_object_get(reply, "cause")),
        .text = json_string_value(json_object_get(reply, "text")),
    };

    if (!event_parse(json_string_value(json_object_get(reply, "event")), &answer.event)) {
        call_unreachable(c, "the replica that has it sent an invalid answer");
    } else if (answer.event == ENGINE_UNREACHABLE) {
        call_unreachable(c, answer.text);
    } else if (c->op != ENGINE_WATCH || answer.event != ENGINE_STARTED) {
        call_answer(c, &answer);
    } else {
        uv_timer_start(&c->timer, on_ask, PROCESS_REMOTE_POLL_MS, 0);
        if (c->away) {
            c->away = false;
            e->o.host->answer(e->o.host, &answer); /* nothing after */
        }
    }
}

static void on_reply(void *arg, const struct http_answer *a)
{
    struct remote_call *c = OBJECT(struct remote_call, arg);
    json_t *reply;
    char why[256];

    c->call = NULL;
    if (peer_answered(a) && a->status == 200) {
        reply = json_loadb(a->body, a->size, 0, NULL);
        call_hear(c, reply);
        json_decref(reply);
        return;
    }
    snprintf(why, sizeof(why), "the replica that has it does not answer: %.200s",
             peer_answered(a) ? a->body : a->error);
    call_unreachable(c, why);
}

static void call_ask(struct remote_call *c)
{
    struct remote_engine *e = c->engine;
    const char *url = e->o.url(e->o.arg, c->host_id);
    struct peer_target target = {.url = url, .path = "/v1/peer/engine"};
    struct client_request request = {
        .method = "POST", .body = c->body, .timeout_ms = PROCESS_REMOTE_MS, .done = on_reply, .arg = c};
    struct error error = {0};

    if (!url)
        call_unreachable(c, "the replica that has it is away");
    else if (peer_start(&c->call, e->o.peer, &target, &request, &error) < 0)
        call_unreachable(c, error.text);
}

/* A watched attempt is asked for as a fence does: that reports its state, and does not harm anything that
 * has started. */
static char *body_of(const struct remote_engine *e, enum engine_op op, const struct engine_request *r)
{
    enum engine_op asked = op == ENGINE_WATCH ? ENGINE_FENCE : op;
    json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:s,s:i,s:i,s:I,s:I,s:s,s:s,s:s?,s:b}", "engine", e->engine.name,
                          "op", engine_op_name(asked), "job", r->job->name, "def", job_to_json(r->job), "run",
                          r->run, "attempt", r->attempt, "try", r->try, "epoch", (json_int_t)r->epoch,
                          "reign", (json_int_t)e->o.host->epoch(e->o.host), "name", r->name, "id", r->id,
                          "boot", r->boot, "may_have_run", r->may_have_run || op == ENGINE_WATCH);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    return text;
}

/* ---- the table ---- */

static int remote_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return of(engine)->o.under->ops->check(of(engine)->o.under, job, error);
}

static void remote_submit(struct engine *engine, enum engine_op op, const struct engine_request *r)
{
    struct remote_engine *e = of(engine);
    const char *host_id = r->id ? strrchr(r->id, '@') : NULL;
    struct remote_call *c;

    if (!host_id || op == ENGINE_PREPARE || op == ENGINE_RELEASE ||
        strcmp(host_id + 1, process_engine_host(e->o.under)) == 0 || e->count >= PROCESS_REMOTE_CALLS_MAX) {
        e->o.under->ops->submit(e->o.under, op, r); /* says UNREACHABLE of what is not its own */
        return;
    }
    c = OBJECT_NEW(struct remote_call);
    c->engine = e;
    c->op = op;
    c->ticket = r->ticket;
    c->host_id = alloc_text(host_id + 1);
    c->body = body_of(e, op, r);
    uv_timer_init(e->o.loop, &c->timer);
    c->timer.data = c;
    list_append(&e->calls, &c->link);
    e->count++;
    uv_timer_start(&c->timer, on_ask, 0, 0); /* never answers from within */
}

static void end_all(struct remote_engine *e)
{
    LIST_EACH_SAFE(link, &e->calls)
    {
        call_end(LIST_ITEM(link, struct remote_call, link));
    }
}

static void remote_abandon(struct engine *engine)
{
    end_all(of(engine));
    of(engine)->o.under->ops->abandon(of(engine)->o.under);
}

static void remote_status(const struct engine *engine, struct engine_status *ret)
{
    of(engine)->o.under->ops->status(of(engine)->o.under, ret);
}

static void on_under_closed(void *arg)
{
    struct remote_engine *e = OBJECT(struct remote_engine, arg);

    e->under_closed = true;
    finish(e);
}

static void remote_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct remote_engine *e = of(engine);

    e->closing = true;
    e->done = done;
    e->done_arg = arg;
    end_all(e);
    e->o.under->ops->close(e->o.under, on_under_closed, e);
}

static const struct engine_ops remote_ops = {.check = remote_check,
                                             .submit = remote_submit,
                                             .abandon = remote_abandon,
                                             .status = remote_status,
                                             .close = remote_close};

void process_remote_new(struct engine **ret, const struct process_remote_options *options)
{
    struct remote_engine *e = OBJECT_NEW(struct remote_engine);

    e->o = *options;
    e->engine =
        (struct engine){&remote_ops, options->under->name, options->under->type, options->under->max_armed};
    list_init(&e->calls);
    *ret = &e->engine;
}
