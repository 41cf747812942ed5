/* See api.h. Happy path of a read: the handler calls api_read; the scheduler says, mostly at once, that
 * nothing is in flight; the second half of the handler answers. Of a write: the scheduler_… function gives a
 * reply and an index; api_write waits for the index; the reply goes out.
 *
 * Failures:
 *   the journal hangs         reads are answered after API_READ_WAIT_MS, marked as stale; writes run into the
 *                             request's deadline, and are told that they may yet happen
 *   the reign ends with it    a write is told that its outcome is unknown: safe to repeat with the same key
 *   the client goes           the request answers into the void (http.h)
 *   the API closes meanwhile  outstanding answers lose their api pointer, and free themselves when they come
 */
#include "cronsched/api/api_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_MS       100
#define TOKENS_POLL_MS 5000

struct wait {
    struct list all;
    struct api *api;                                             /* NULL: closed */
    struct http_request *request;                                /* NULL: has been served */
    void (*then)(struct api *api, struct http_request *request); /* a read */
    json_t *reply;                                               /* a write */
    uint64_t begun_ms;
};

struct query {
    struct list all;
    struct api *api; /* NULL: closed */
    struct http_request *request;
    void (*then)(struct api *api, struct http_request *request, json_t *result, json_t *more);
    json_t *more;
};

/* --- waiting for the journal ---------------------------------------------------------------------------- */

static void wait_serve(struct wait *w, int result)
{
    struct http_request *request = w->request;

    w->request = NULL;
    if (w->then)
        w->then(w->api, request);
    else if (result == 0)
        http_reply_json(request, 200, json_incref(w->reply));
    else
        http_reply_error(request, ERR_UNKNOWN,
                         "the leader's reign ended before this was durable: it may have happened or not");
    http_request_unref(request);
}

static void on_durable(void *arg, int result)
{
    struct wait *w = arg;

    if (w->api)
        list_remove(&w->all);
    if (w->api && w->request)
        wait_serve(w, result);
    http_request_unref(w->request);
    json_decref(w->reply);
    free(w);
}

static void on_clock(uv_timer_t *timer)
{
    struct api *api = timer->data;
    uint64_t now = uv_now(api->loop);
    bool more = false;

    LIST_EACH_SAFE(link, &api->waits)
    {
        struct wait *w = LIST_ITEM(link, struct wait, all);

        if (!w->request || !w->then)
            continue;
        if (now - w->begun_ms < API_READ_WAIT_MS) {
            more = true;
            continue;
        }
        http_reply_header(w->request, "Cronsched-Stale", "true");
        wait_serve(w, 0);
    }
    if (!more)
        uv_timer_stop(timer);
}

static void wait_begin(struct api *api, struct http_request *request, uint64_t index,
                       void (*then)(struct api *, struct http_request *), json_t *reply)
{
    struct wait *w = calloc(1, sizeof(*w));

    if (!w) {
        json_decref(reply);
        http_reply_error(request, then ? ERR_NOMEM : ERR_UNKNOWN, "out of memory");
        return;
    }
    w->api = api;
    w->request = http_request_ref(request);
    w->then = then;
    w->reply = reply;
    w->begun_ms = uv_now(api->loop);
    if (reply && http_caller(request)->replica && !json_object_get(reply, "index"))
        json_object_set_new(reply, "index", json_integer((json_int_t)index)); /* to be applied there, too */
    list_append(&api->waits, &w->all);
    scheduler_wait(api->context.scheduler, index, on_durable, w); /* may have freed it on return */
    if (then && !list_empty(&api->waits) && !uv_is_active((uv_handle_t *)&api->clock))
        uv_timer_start(&api->clock, on_clock, CLOCK_MS, CLOCK_MS);
}

void api_read(struct api *api, struct http_request *request,
              void (*then)(struct api *api, struct http_request *request))
{
    wait_begin(api, request, 0, then, NULL);
}

void api_write(struct api *api, struct http_request *request, json_t *reply, uint64_t index)
{
    wait_begin(api, request, index, NULL, reply);
}

void api_write_result(struct api *api, struct http_request *request, int r, json_t *reply, uint64_t index,
                      const struct error *error)
{
    if (r < 0)
        http_reply_failure(request, error);
    else
        api_write(api, request, reply, index);
}

/* --- waiting for history -------------------------------------------------------------------------------- */

/* Its limits are of the moment: too many questions at once, or too much asked for at once. */
static void reply_no_history(struct http_request *request, const struct error *error)
{
    if (error->code == ERR_LIMIT)
        http_reply_header(request, "Retry-After", "1");
    http_reply_problem(request, error->code == ERR_LIMIT ? 429 : http_status_of(error->code), error, NULL);
}

static void on_history(void *arg, json_t *result, const struct error *error)
{
    struct query *q = arg;

    if (q->api) {
        list_remove(&q->all);
        if (result)
            q->then(q->api, q->request, result, q->more);
        else
            reply_no_history(q->request, error);
    }
    http_request_unref(q->request);
    json_decref(result);
    json_decref(q->more);
    free(q);
}

void api_query(struct api *api, struct http_request *request, const struct history_query *query,
               void (*then)(struct api *api, struct http_request *request, json_t *result, json_t *more),
               json_t *more)
{
    struct query *q = calloc(1, sizeof(*q));

    if (!q) {
        json_decref(more);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    q->api = api;
    q->request = http_request_ref(request);
    q->then = then;
    q->more = more;
    list_append(&api->queries, &q->all);
    api->context.history->ops->query(api->context.history, query, on_history, q);
}

/* --- what only the leader can do ------------------------------------------------------------------------ */

/* True: it was passed on. What another replica passed on is not passed on again: whoever leads by then will
 * be found by the first. */
static bool passed_on(struct api *api, struct http_request *request)
{
    const struct api_context *c = &api->context;

    if (!c->forward || scheduler_leading(c->scheduler) || http_caller(request)->replica)
        return false;
    c->forward(c->arg, request);
    return true;
}

#define X(name)                                                                                              \
    static void lead_##name(struct http_request *request, void *arg)                                         \
    {                                                                                                        \
        if (!passed_on(arg, request))                                                                        \
            api_handle_##name(request, arg);                                                                 \
    }
API_LEADER_HANDLERS(X)
#undef X

/* --- start ---------------------------------------------------------------------------------------------- */

const struct http_route api_routes[] = {
    {"GET", "/v1/jobs", NULL, AUTH_READ, 0, api_handle_jobs},
    {"GET", "/v1/jobs/{job}", NULL, AUTH_READ, 0, api_handle_job},
    {"DELETE", "/v1/jobs/{job}", NULL, AUTH_ADMIN, 0, lead_job_delete},
    {"POST", "/v1/jobs/{job}/pause", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_pause},
    {"POST", "/v1/jobs/{job}/resume", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_resume},
    {"POST", "/v1/jobs/{job}/trigger", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_trigger},
    {"POST", "/v1/jobs/{job}/backfill", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_backfill},
    {"POST", "/v1/pause", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_pause_all},
    {"POST", "/v1/resume", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_resume_all},
    {"GET", "/v1/defs", "set", AUTH_READ, 0, api_handle_defs},
    {"POST", "/v1/apply", NULL, AUTH_READ, API_APPLY_BYTES_MAX,
     lead_apply}, /* admin unless it is a dry run */
    {"GET", "/v1/runs", "job,state,verdict,since,until,limit", AUTH_READ, 0, api_handle_runs},
    {"GET", "/v1/runs/{run}", NULL, AUTH_READ, 0, api_handle_run},
    {"GET", "/v1/runs/{run}/logs", "attempt,tail,follow", AUTH_READ, 0, api_handle_logs},
    {"POST", "/v1/runs/{run}/kill", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_kill},
    {"GET", "/v1/explain", "job,time", AUTH_READ, 0, api_handle_explain},
    {"GET", "/v1/audit", "since,until,job", AUTH_READ, 0, api_handle_audit, API_AUDIT_MS},
    {"GET", "/v1/records", "job,run,kinds,since,until,limit", AUTH_READ, 0, api_handle_records},
    {"GET", "/v1/cluster", NULL, AUTH_READ, 0, api_handle_cluster},
    {"POST", "/v1/cluster/step-down", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, lead_step_down},
    {"GET", "/v1/peer/history", "first,last", AUTH_READ, 0, api_handle_peer_history},
    {"POST", "/v1/peer/engine", NULL, AUTH_ADMIN, API_PEER_BYTES_MAX, api_handle_peer_engine},
    {"GET", "/v1/doctor", NULL, AUTH_READ, 0, api_handle_doctor},
    {"GET", "/v1/version", NULL, AUTH_READ, 0, api_handle_version},
    {"GET", "/healthz", NULL, AUTH_NOBODY, 0, api_handle_healthz},
    {"GET", "/readyz", NULL, AUTH_NOBODY, 0, api_handle_readyz},
    {"GET", "/metrics", NULL, AUTH_READ, 0, api_handle_metrics},
};
const size_t api_route_count = sizeof(api_routes) / sizeof(api_routes[0]);

static void log_error(struct api *api, const char *event, const struct error *error)
{
    if (api->context.log)
        api->context.log(api->context.arg, 0, event, error->text);
}

static void on_tokens_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *after)
{
    struct api *api = poll->data;
    struct error e;

    if (auth_reload(api->auth, &e) < 0)
        log_error(api, "tokens-file", &e);
    else if (api->context.log)
        api->context.log(api->context.arg, 2, "tokens-file", "read again");
}

static void handles_open(struct api *api)
{
    loop_gap_start(&api->gap, api->loop);
    uv_timer_init(api->loop, &api->clock);
    uv_fs_poll_init(api->loop, &api->tokens_poll);
    api->gap.prepare.data = api->clock.data = api->tokens_poll.data = api;
    api->handles = 3;
    if (auth_tokens_file(api->auth))
        uv_fs_poll_start(&api->tokens_poll, on_tokens_change, auth_tokens_file(api->auth), TOKENS_POLL_MS);
}

static void on_http_closed(void *arg);

/* What was started comes down by itself; the memory with it. */
static void start_failed(struct api *api)
{
    api->closing = true;
    http_close(api->http, on_http_closed, api);
}

int api_start(struct api **ret, uv_loop_t *loop, const struct api_options *options, struct error *error)
{
    struct auth_options who = {.tokens_file = options->tokens_file, .insecure = options->insecure};
    struct http_options http = options->limits;
    struct api *api = calloc(1, sizeof(*api));
    int r;

    if (!api)
        return error_set(error, ERR_NOMEM, "out of memory");
    api->context = options->context;
    api->loop = loop;
    list_init(&api->waits);
    list_init(&api->queries);
    list_init(&api->streams);
    r = auth_new(&api->auth, &who, error);
    if (r < 0) {
        free(api);
        return r;
    }
    http.loop = loop;
    http.auth = api->auth;
    http.log = options->context.log;
    http.arg = options->context.arg;
    r = http_new(&api->http, &http, error);
    if (r < 0) {
        auth_free(api->auth);
        free(api);
        return r;
    }
    handles_open(api);
    r = http_add_routes(api->http, api_routes, api_route_count, api, error);
    for (size_t i = 0; i < options->listen_count && r == 0; i++) {
        struct http_listen listen = {
            .address = options->listen[i], .tls_cert = options->tls_cert, .tls_key = options->tls_key};

        r = http_listen(api->http, &listen, error);
    }
    if (r < 0) {
        start_failed(api);
        return r;
    }
    *ret = api;
    return 0;
}

int api_reload(struct api *api, struct error *error)
{
    int r = auth_reload(api->auth, error);

    return r < 0 ? r : http_reload(api->http, error);
}

void api_set_secret(struct api *api, const char *secret)
{
    auth_set_secret(api->auth, secret);
}

struct http *api_http(struct api *api)
{
    return api->http;
}

/* --- the end -------------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct api *api = handle->data;

    if (--api->handles > 0)
        return;
    auth_free(api->auth);
    if (api->closed)
        api->closed(api->closed_arg);
    free(api);
}

/* The server is gone, and so are the pool's works and the streams: nothing knows the api any more but answers
 * that are still to come. */
static void close_if_idle(struct api *api)
{
    if (!api->http_closed || api->work_count > 0 || !list_empty(&api->streams))
        return;
    LIST_EACH_SAFE(link, &api->waits)
    {
        LIST_ITEM(link, struct wait, all)->api = NULL;
        list_remove(link);
    }
    LIST_EACH_SAFE(link, &api->queries)
    {
        LIST_ITEM(link, struct query, all)->api = NULL;
        list_remove(link);
    }
    loop_gap_close(&api->gap, on_handle_closed);
    uv_close((uv_handle_t *)&api->clock, on_handle_closed);
    uv_close((uv_handle_t *)&api->tokens_poll, on_handle_closed);
}

static void on_http_closed(void *arg)
{
    struct api *api = arg;

    api->http_closed = true;
    close_if_idle(api);
}

void api_work_begin(struct api *api)
{
    api->work_count++;
}

void api_work_end(struct api *api)
{
    assert(api->work_count > 0);
    api->work_count--;
    if (api->closing)
        close_if_idle(api);
}

void api_close(struct api *api, void (*done)(void *arg), void *arg)
{
    assert(!api->closing);
    api->closing = true;
    api->closed = done;
    api->closed_arg = arg;
    http_close(api->http, on_http_closed, api);
}
