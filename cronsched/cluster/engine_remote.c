/* See engine_remote.h. A call is one request about another replica's attempt: at that replica (`call`), or
 * waiting (`timer`): to answer in a later turn, or, a WATCH, to ask again. A watched process is asked for as a fence does:
 * that tells its state and its end, and harms nothing that has started. Other engines are watched by that replica, and it
 * is asked for what they have said last. */
#include "cronsched/cluster/engine_remote.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <limits.h>
#include <stdio.h>

struct remote_engine {
    struct object object; /* first */
    struct engine engine;
    struct engine_remote_options o;
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
    char *body, *host_id;          /* host_id NULL: by the identity in `request` */
    struct engine_request request; /* a copy of its own, as far as a WATCH needs it */
    struct http_call *call;
    uv_timer_t timer;
    bool away;    /* a WATCH has said so, or it was known */
    bool pending; /* likewise: accepted, and not started yet */
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
    engine_request_release(&c->request);
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
    loop_timer_start(&c->timer, on_ask, ENGINE_REMOTE_POLL_MS, 0);
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
    int64_t exit_code = -1;
    struct engine_answer answer = {
        .ticket = c->ticket,
        .cause = json_string_value(json_object_get(reply, "cause")),
        .text = json_string_value(json_object_get(reply, "text")),
    };

    if (!event_parse(json_string_value(json_object_get(reply, "event")), &answer.event) ||
        json_text_int(reply, "started", 0, JSON_TEXT_TIME_MAX, &answer.started_ms) < 0 ||
        json_text_int(reply, "at", 0, JSON_TEXT_TIME_MAX, &answer.at_ms) < 0 ||
        json_text_int(reply, "exit_code", -1, INT_MAX, &exit_code) < 0) {
        call_unreachable(c, "the replica that has it sent an invalid answer");
        return;
    }
    answer.exit_code = (int)exit_code;
    if (answer.event == ENGINE_UNREACHABLE) {
        call_unreachable(c, answer.text);
    } else if (c->op != ENGINE_WATCH || !engine_event_goes_on(answer.event)) {
        call_answer(c, &answer);
    } else {
        bool news = c->away || c->pending;

        loop_timer_start(&c->timer, on_ask, ENGINE_REMOTE_POLL_MS, 0);
        c->away = false;
        c->pending = answer.event == ENGINE_PENDING;
        if (news || c->pending)
            e->o.host->answer(e->o.host, &answer); /* nothing after */
    }
}

static void on_reply(void *arg, const struct http_answer *a)
{
    struct remote_call *c = OBJECT(struct remote_call, arg);
    json_t *reply;
    char why[256];

    c->call = NULL;
    if (peer_answered(a) && a->status == 200) {
        reply = peer_json(a, NULL);
        call_hear(c, reply);
        json_decref(reply);
        return;
    }
    snprintf(why, sizeof(why), "the replica that has it does not answer: %.200s",
             peer_answered(a) ? a->body : a->error);
    call_unreachable(c, why);
}

/* Whether this request is about an attempt of another engine than the one underneath; *text says so. */
static bool is_of_another(const struct remote_engine *e, const struct engine_request *r, char *text,
                          size_t size)
{
    struct engine_status status = {0};

    if (!r->identity || e->o.host_id)
        return false;
    e->o.under->ops->status(e->o.under, &status);
    return status.identity[0] && engine_is_another(status.identity, r->identity, text, size);
}

static void call_hand_back(struct remote_call *c)
{
    struct remote_engine *e = c->engine;

    c->request.unresolved = c->away || c->pending;
    e->o.under->ops->submit(e->o.under, c->op, &c->request);
    call_end(c);
}

static void call_ask(struct remote_call *c)
{
    struct remote_engine *e = c->engine;
    char text[ENGINE_IDENTITY_MAX * 3] = "the replica that has it is away";
    const char *url;
    struct peer_target target = {.path = "/v1/peer/engine"};
    struct client_request request = {.method = "POST",
                                     .body = c->body,
                                     .timeout_ms = ENGINE_REMOTE_MS,
                                     .connect_timeout_ms = ENGINE_REMOTE_CONNECT_MS,
                                     .done = on_reply,
                                     .arg = c};
    struct error error = {0};

    if (!c->host_id && !is_of_another(e, &c->request, text, sizeof(text))) {
        call_hand_back(c);
        return;
    }
    url = c->host_id ? e->o.folder_url(e->o.arg, c->host_id)
                     : e->o.engine_url(e->o.arg, e->engine.name, c->request.identity);
    target.url = url;
    if (!url)
        call_unreachable(c, text);
    else if (peer_start(&c->call, e->o.peer, &target, &request, &error) < 0)
        call_unreachable(c, error.text);
}

static char *body_of(const struct remote_engine *e, enum engine_op op, const struct engine_request *r)
{
    enum engine_op asked = op == ENGINE_WATCH && e->o.host_id ? ENGINE_FENCE : op;
    json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:s,s:i,s:i,s:I,s:I,s:s,s:s,s:s?,s:s?,s:I,s:b,s:I,s:b}", "engine",
                          e->engine.name, "op", engine_op_name(asked), "job", r->job->name, "def",
                          job_to_json(r->job), "run", r->run, "attempt", r->attempt, "try", r->try, "epoch",
                          (json_int_t)r->epoch, "reign", (json_int_t)e->o.host->epoch(e->o.host), "name",
                          r->name, "id", r->id, "boot", r->boot_id, "identity", r->identity, "started",
                          (json_int_t)r->started_ms, "may_have_run", r->may_have_run || op == ENGINE_WATCH,
                          "stopping", (json_int_t)r->stopping_ms, "asked_before", r->asked_before);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    return text;
}

/* ---- the table ---- */

static int remote_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return of(engine)->o.under->ops->check(of(engine)->o.under, job, error);
}

static void remote_faults(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    engine_check_all(of(engine)->o.under, job, faults);
}

/* The data folder that has it, when that is not ours. */
static const char *folder_elsewhere(const struct remote_engine *e, const struct engine_request *r)
{
    const char *at = e->o.host_id && r->id ? strrchr(r->id, '@') : NULL;

    return at && strcmp(at + 1, e->o.host_id) != 0 ? at + 1 : NULL;
}

/* The newest WATCH of an attempt counts. */
static void end_older_watch(struct remote_engine *e, const char *id)
{
    LIST_EACH_SAFE(link, &e->calls)
    {
        struct remote_call *c = LIST_ITEM(link, struct remote_call, link);

        if (c->op == ENGINE_WATCH && strcmp(c->request.id, id) == 0)
            call_end(c);
    }
}

static void remote_submit(struct engine *engine, enum engine_op op, const struct engine_request *r)
{
    struct remote_engine *e = of(engine);
    const char *folder = folder_elsewhere(e, r);
    char text[ENGINE_IDENTITY_MAX * 3];
    struct remote_call *c;

    if (op == ENGINE_WATCH)
        end_older_watch(e, r->id);
    if (op == ENGINE_PREPARE || op == ENGINE_RELEASE || e->count >= ENGINE_REMOTE_CALLS_MAX ||
        (!folder && !is_of_another(e, r, text, sizeof(text)))) {
        e->o.under->ops->submit(e->o.under, op, r); /* says UNREACHABLE of what is not its own */
        return;
    }
    c = OBJECT_NEW(struct remote_call);
    c->engine = e;
    c->op = op;
    c->ticket = r->ticket;
    c->host_id = alloc_text(folder);
    engine_request_copy(&c->request, r);
    c->away = r->unresolved;
    c->pending = !r->started_ms;
    c->body = body_of(e, op, r);
    uv_timer_init(e->o.loop, &c->timer);
    c->timer.data = c;
    list_append(&e->calls, &c->link);
    e->count++;
    loop_timer_start(&c->timer, on_ask, 0, 0); /* never answers from within */
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
                                             .faults = remote_faults,
                                             .submit = remote_submit,
                                             .abandon = remote_abandon,
                                             .status = remote_status,
                                             .close = remote_close};

void engine_remote_new(struct engine **ret, const struct engine_remote_options *options)
{
    struct remote_engine *e = OBJECT_NEW(struct remote_engine);

    e->o = *options;
    e->engine = *options->under;
    e->engine.ops = &remote_ops;
    if (options->host_id)
        e->engine.ahead_ms = ENGINE_REMOTE_AHEAD_MS;
    list_init(&e->calls);
    *ret = &e->engine;
}
