/* See peer_logs.h. A proxied log has up to two ends: the call to a replica, and the client's stream once a
 * replica has answered 200. It is over when neither is left; its timer ends calls that may not be ended from
 * within.
 */
#include "cronsched/cluster/peer_logs.h"

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/replicated/replicated.h"
#include "leader/worker/loop.h"

#include <stdio.h>

struct proxied_log {
    struct object object; /* first */
    struct list link;
    struct peer_logs *logs;
    struct http_request *request;
    struct http_stream *stream;
    struct http_call *call;
    uv_timer_t timer;
    char *path, *acting;
    char *urls[REPLICATED_MEMBERS_MAX];
    size_t url_count, next;
    bool follow, away, paused, over;
    bool silent; /* one of them did not answer */
    char why[256];
};

struct peer_logs {
    uv_loop_t *loop;
    const struct peer *peer;
    struct list proxied;
    size_t count; /* not yet freed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void finish(struct peer_logs *l)
{
    void (*closed)(void *arg) = l->closed;
    void *arg = l->closed_arg;

    if (!l->closing || l->count > 0)
        return;
    free(l);
    closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct proxied_log *p = OBJECT(struct proxied_log, handle->data);
    struct peer_logs *l = p->logs;

    http_request_unref(p->request);
    for (size_t i = 0; i < p->url_count; i++)
        free(p->urls[i]);
    free(p->path);
    free(p->acting);
    OBJECT_FREE(struct proxied_log, p);
    l->count--;
    finish(l);
}

/* When the client has all that it will get. */
static void proxied_end(struct proxied_log *p)
{
    if (p->over)
        return;
    p->over = true;
    list_remove(&p->link);
    http_call_cancel(p->call);
    p->call = NULL;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

/* ---- the client ---- */

static void on_drained(void *arg)
{
    struct proxied_log *p = OBJECT(struct proxied_log, arg);

    if (!p->paused || !p->call)
        return;
    p->paused = false;
    http_call_resume(p->call);
}

static void on_client_closed(void *arg)
{
    struct proxied_log *p = OBJECT(struct proxied_log, arg);

    p->stream = NULL;
    proxied_end(p);
}

static void on_no_client(uv_timer_t *timer)
{
    proxied_end(OBJECT(struct proxied_log, timer->data));
}

/* ---- the replica ---- */

static void proxied_next(struct proxied_log *p);

static void on_opened(void *arg, int status)
{
    static const struct http_stream_events events = {on_drained, on_client_closed};
    struct proxied_log *p = OBJECT(struct proxied_log, arg);

    if (status != 200)
        return;
    p->stream = http_reply_stream(p->request, 200, PEER_LOGS_TEXT, &events, p);
    if (!p->stream) /* a HEAD, or gone */
        loop_timer_start(&p->timer, on_no_client, 0, 0);
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct proxied_log *p = OBJECT(struct proxied_log, arg);
    int rc;

    if (!p->stream)
        return true;
    if (p->paused)
        return false;
    rc = http_stream_write(p->stream, bytes, size);
    p->paused = rc == ERR_BUSY; /* these are taken, no more */
    if (rc < 0 && rc != ERR_BUSY)
        http_stream_cut(p->stream);
    return true;
}

static void on_done(void *arg, const struct http_answer *a)
{
    struct proxied_log *p = OBJECT(struct proxied_log, arg);

    p->call = NULL;
    if (p->stream && peer_answered(a)) {
        http_stream_end(p->stream);
    } else if (p->stream) {
        http_stream_cut(p->stream);
    } else if (uv_is_active((uv_handle_t *)&p->timer)) {
        return; /* the client is gone: the timer ends it */
    } else {
        if (!peer_answered(a) || a->status != 404) {
            p->silent = true;
            snprintf(p->why, sizeof(p->why), "%.200s", peer_answered(a) ? a->body : a->error);
        }
        proxied_next(p);
    }
}

/* Asks the next replica, or answers that none has it. */
static void proxied_next(struct proxied_log *p)
{
    struct peer_target target = {.path = p->path, .acting = p->acting};
    struct client_request request = {.method = "GET",
                                     .idle_timeout_ms = p->follow ? 0 : PEER_LOGS_IDLE_MS,
                                     .opened = on_opened,
                                     .data = on_data,
                                     .done = on_done,
                                     .arg = p};
    struct error error = {0};

    while (p->next < p->url_count && !http_answered(p->request)) {
        target.url = p->urls[p->next++];
        if (peer_start(&p->call, p->logs->peer, &target, &request, &error) == 0)
            return;
        p->silent = true;
        snprintf(p->why, sizeof(p->why), "%.200s", error.text);
    }
    if (p->away)
        http_reply_error(
            p->request, ERR_UNREACHABLE,
            "the log is with the replica whose machine this attempt ran on, and that replica is away; "
            "no other one has a copy");
    else if (p->silent)
        http_reply_error(p->request, ERR_UNREACHABLE, "the replica that has the log does not answer: %s",
                         p->why);
    else
        http_reply_error(
            p->request, ERR_NOT_FOUND,
            "no replica that is here now has this log: it was kept by the one that led while the "
            "attempt ran, and copied to the others when the run had ended");
    proxied_end(p);
}

/* ---- the face ---- */

void peer_logs_new(struct peer_logs **ret, uv_loop_t *loop, const struct peer *peer)
{
    struct peer_logs *l = alloc_zero(sizeof(*l));

    l->loop = loop;
    l->peer = peer;
    list_init(&l->proxied);
    *ret = l;
}

/* As for logs that are read here: one caller cannot take all places, and some are kept. */
static bool has_place(const struct peer_logs *l, const struct auth_identity *who, const char *acting,
                      struct error *error)
{
    size_t most = PEER_LOGS_MAX - (who->role == AUTH_ADMIN ? 0 : PEER_LOGS_KEPT), own = 0;

    LIST_EACH(at, &l->proxied)
    {
        own += strcmp(LIST_ITEM(at, struct proxied_log, link)->acting, acting) == 0;
    }
    if (own >= PEER_LOGS_CALLER)
        error_set(error, ERR_LIMIT, "%s reads %d logs of other replicas already", who->name,
                  PEER_LOGS_CALLER);
    else if (l->count >= most)
        error_set(error, ERR_LIMIT, "%zu logs of other replicas are being read already", l->count);
    else
        return true;
    return false;
}

static void reply_no_place(struct http_request *request, const struct error *error, char **urls,
                           size_t url_count)
{
    http_reply_header(request, "Retry-After", "5");
    http_reply_problem(request, 429, error, NULL);
    for (size_t i = 0; i < url_count; i++)
        free(urls[i]);
}

void peer_logs_pass(struct peer_logs *l, struct http_request *request, const struct peer_logs_target *target)
{
    const struct auth_identity *who = http_caller(request);
    struct proxied_log *p;
    char acting[AUTH_CALLER_SIZE + 16];
    struct error error;

    snprintf(acting, sizeof(acting), "%s %s", auth_role_name(who->role), who->name);
    if (!l->closing && !has_place(l, who, acting, &error)) {
        reply_no_place(request, &error, target->urls, target->url_count);
        return;
    }
    p = OBJECT_NEW(struct proxied_log);
    p->logs = l;
    p->request = http_request_ref(request);
    p->path = alloc_text(target->path);
    p->acting = alloc_text(acting);
    p->follow = target->follow;
    p->away = target->away;
    memcpy(p->urls, target->urls, target->url_count * sizeof(*target->urls));
    p->url_count = target->url_count;
    uv_timer_init(l->loop, &p->timer);
    p->timer.data = p;
    l->count++;
    list_append(&l->proxied, &p->link);
    if (l->closing) {
        http_reply_error(request, ERR_NO_LEADER, "this server is stopping");
        proxied_end(p);
    } else {
        proxied_next(p);
    }
}

void peer_logs_close(struct peer_logs *l, void (*done)(void *arg), void *arg)
{
    l->closing = true;
    l->closed = done;
    l->closed_arg = arg;
    LIST_EACH_SAFE(link, &l->proxied)
    {
        struct proxied_log *p = LIST_ITEM(link, struct proxied_log, link);

        http_reply_error(p->request, ERR_NO_LEADER, "this server is stopping");
        proxied_end(p);
    }
    finish(l);
}
