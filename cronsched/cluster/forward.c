/* See forward.h. A forwarded request is one request on its way: waiting for a leader or for a retry
 * (timer), at the leader (call), or answered there and waiting for this replica to follow (timer). */
#include "cronsched/cluster/forward.h"

#include "cronsched/cluster/membership.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <stdio.h>

#define HTTP_UNAUTHORIZED 401
#define HTTP_BAD_GATEWAY  502
#define LOOK_MS           10 /* while following */
#define FORWARD_WHY_SIZE  512

struct forwarded_request {
    struct object object; /* first */
    struct list link;
    struct forward *forward;
    struct http_request *request;
    struct http_call *call;
    uv_timer_t timer;
    char *path, *body, *acting;
    char *url; /* of the leader that was asked last */
    bool repeatable;
    int sent; /* so often, to a leader that answered or may have */
    uint64_t until_ms;
    int status; /* of the leader's reply, once it is there */
    json_t *reply;
    uint64_t index; /* to be applied here before the reply goes out */
};

struct forward {
    struct forward_options o;
    struct list requests;
    size_t count; /* not yet freed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void finish(struct forward *f)
{
    void (*closed)(void *arg) = f->closed;
    void *arg = f->closed_arg;

    if (!f->closing || f->count > 0)
        return;
    free(f);
    closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct forwarded_request *p = OBJECT(struct forwarded_request, handle->data);
    struct forward *f = p->forward;

    http_request_unref(p->request);
    json_decref(p->reply);
    free(p->url);
    free(p->path);
    free(p->body);
    free(p->acting);
    OBJECT_FREE(struct forwarded_request, p);
    f->count--;
    finish(f);
}

/* It has been answered. */
static void forwarded_end(struct forwarded_request *p)
{
    list_remove(&p->link);
    http_call_cancel(p->call);
    p->call = NULL;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void forwarded_fail(struct forwarded_request *p, int code, const char *text)
{
    http_reply_error(p->request, code, "%s", text);
    forwarded_end(p);
}

/* ---- the reply ---- */

static void on_look(uv_timer_t *timer)
{
    struct forwarded_request *p = OBJECT(struct forwarded_request, timer->data);
    const struct replicated_view *v = p->forward->o.view(p->forward->o.arg);

    if (v->applied < p->index && uv_now(p->forward->o.loop) < p->until_ms) {
        loop_timer_start(&p->timer, on_look, LOOK_MS, 0);
        return;
    }
    http_reply_json(p->request, p->status, json_incref(p->reply));
    forwarded_end(p);
}

static void forwarded_send(struct forwarded_request *p);

static void on_retry(uv_timer_t *timer)
{
    forwarded_send(OBJECT(struct forwarded_request, timer->data));
}

static void forwarded_retry(struct forwarded_request *p, int code, const char *why)
{
    uint64_t pause_ms = p->forward->o.retry_ms * (1 + (uint64_t)p->sent);

    if (http_answered(p->request)) /* the client is gone, or got a timeout */
        forwarded_end(p);
    else if (p->sent >= FORWARD_SENDS_MAX || uv_now(p->forward->o.loop) + pause_ms >= p->until_ms)
        forwarded_fail(p, code, why);
    else
        loop_timer_start(&p->timer, on_retry, pause_ms, 0);
}

static const char *error_code(const json_t *reply)
{
    const char *code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));

    return code ? code : "";
}

/* The leader did something, or not: it cannot be told. It is asked again only if that does no harm. */
static void answer_was_lost(struct forwarded_request *p)
{
    if (p->repeatable)
        forwarded_retry(p, ERR_UNKNOWN, "the leader's answer was lost, and no replica leads now");
    else
        forwarded_fail(p, ERR_UNKNOWN, "the leader's answer was lost: it may or may not have happened");
}

static void no_sense(struct forwarded_request *p, const struct error *why)
{
    struct error error;

    error_set(&error, ERR_UNKNOWN, "the leader's answer is invalid (%s): it may or may not have happened",
              why->text);
    http_reply_problem(p->request, HTTP_BAD_GATEWAY, &error, NULL);
    forwarded_end(p);
}

static void take_reply(struct forwarded_request *p, const struct http_answer *a)
{
    struct error error;
    json_t *reply = peer_json(a, &error);
    int64_t index;

    if (!reply) {
        no_sense(p, &error);
    } else if (strcmp(error_code(reply), error_name(ERR_UNKNOWN)) == 0) { /* it was deposed in the middle */
        json_decref(reply);
        answer_was_lost(p);
    } else if (strcmp(error_code(reply), error_name(ERR_NO_LEADER)) == 0) {
        json_decref(reply);
        forwarded_retry(p, ERR_NO_LEADER, "no replica leads now");
    } else {
        json_decref(p->reply);
        p->reply = reply;
        p->status = a->status;
        p->index = json_text_int(reply, "index", 0, INT64_MAX, &index) == 0 ? (uint64_t)index : 0;
        p->until_ms = uv_now(p->forward->o.loop) + FORWARD_APPLY_MS;
        on_look(&p->timer);
    }
}

static void on_answer(void *arg, const struct http_answer *a)
{
    struct forwarded_request *p = OBJECT(struct forwarded_request, arg);
    char why[FORWARD_WHY_SIZE];
    struct error error;

    p->call = NULL;
    p->sent += a->outcome != HTTP_NOT_SENT;
    if (a->outcome == HTTP_NOT_SENT) {
        snprintf(why, sizeof(why), "the leader cannot be reached: %s: %s", p->url, a->error);
        forwarded_retry(p, ERR_NO_LEADER, why);
    } else if (a->too_long) {
        error_set(&error, ERR_LIMIT, "it is too long");
        no_sense(p, &error);
    } else if (!peer_answered(a)) {
        answer_was_lost(p);
    } else if (a->status == HTTP_UNAUTHORIZED) { /* it was not executed */
        forwarded_retry(p, ERR_NO_LEADER, "the leader has just started, and does not know the replicas yet");
    } else {
        take_reply(p, a);
    }
}

/* ---- the request ---- */

static void forwarded_send(struct forwarded_request *p)
{
    const struct replicated_view *v = p->forward->o.view(p->forward->o.arg);
    struct peer_target target = {.url = v->leader_url, .path = p->path, .acting = p->acting};
    struct client_request request = {.method = http_method(p->request),
                                     .body = p->body,
                                     .timeout_ms = (int64_t)(p->until_ms - uv_now(p->forward->o.loop)),
                                     .done = on_answer,
                                     .arg = p};
    struct error error = {0};
    char text[MEMBERSHIP_TEXT_SIZE];

    free(p->url);
    p->url = alloc_text(v->leader_url);
    if (membership_trouble(v, text)) /* who is not a part of the cluster changes nothing in it */
        forwarded_fail(p, membership_refuses(v) ? ERR_REFUSED : ERR_NO_LEADER, text);
    else if (v->standing != REPLICATED_MEMBER || !v->leader_url || !v->leader_url[0])
        forwarded_retry(p, ERR_NO_LEADER, "no replica leads now");
    else if (peer_start(&p->call, p->forward->o.peer, &target, &request, &error) < 0)
        forwarded_fail(p, error.code, error.text);
}

void forward_new(struct forward **ret, const struct forward_options *options)
{
    struct forward *f = alloc_zero(sizeof(*f));

    f->o = *options;
    f->o.retry_ms = options->retry_ms ? options->retry_ms : FORWARD_RETRY_MS;
    list_init(&f->requests);
    *ret = f;
}

void forward_request(struct forward *f, struct http_request *request)
{
    const struct auth_identity *who = http_caller(request);
    const json_t *body = http_body(request);
    struct forwarded_request *p;
    char acting[AUTH_CALLER_SIZE + 16];

    if (f->closing) {
        http_reply_error(request, ERR_NO_LEADER, "this server is stopping");
        return;
    }
    if (f->count >= FORWARD_CALLS_MAX) {
        http_reply_error(request, ERR_LIMIT, "too many requests for the leader");
        return;
    }
    p = OBJECT_NEW(struct forwarded_request);
    p->forward = f;
    p->request = http_request_ref(request);
    p->path = alloc_text(http_raw_target(request));
    p->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
    p->repeatable = http_repeatable(request);
    snprintf(acting, sizeof(acting), "%s %s", auth_role_name(who->role), who->name);
    p->acting = alloc_text(acting);
    p->until_ms = uv_now(f->o.loop) + FORWARD_MS;
    uv_timer_init(f->o.loop, &p->timer);
    p->timer.data = p;
    f->count++;
    list_append(&f->requests, &p->link);
    forwarded_send(p);
}

void forward_close(struct forward *f, void (*done)(void *arg), void *arg)
{
    f->closing = true;
    f->closed = done;
    f->closed_arg = arg;
    LIST_EACH_SAFE(link, &f->requests)
    {
        forwarded_fail(LIST_ITEM(link, struct forwarded_request, link), ERR_UNKNOWN,
                       "this server is stopping; the leader may or may not have done it");
    }
    finish(f);
}
