/* Waiting: what the handlers share, below them. Happy path of a read: the handler calls api_read; the
 * scheduler says, mostly at once, that nothing is in flight; the second half of the handler answers. Of a
 * write: the scheduler_… function gives a reply and an index; answer_when_durable waits for the index; the reply
 * goes out.
 *
 * Failures:
 *   the journal is not read   a read is refused: nobody is to take what is not known for what is not there
 *   no leader, or behind it   reads are answered, marked as stale
 *   the journal hangs         reads are answered after API_READ_WAIT_MS, marked as stale; writes run into the
 *                             request's deadline, and the error says that they may still happen
 *   the leader is deposed     a write gets an error that its outcome is unknown: safe to repeat with the
 *                             same key
 *   the client goes           the answer is dropped (http.h)
 *   the API closes meanwhile  outstanding answers lose their api pointer, and free themselves when they come
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/api/event_ring.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdlib.h>

#define CLOCK_MS 100

struct wait {
    struct object object; /* first */
    struct list all;
    struct api *api;                                             /* NULL: closed */
    struct http_request *request;                                /* NULL: has been served */
    void (*then)(struct api *api, struct http_request *request); /* a read */
    json_t *reply;                                               /* a write */
    uint64_t index;
    uint64_t begun_ms;
};

struct query {
    struct object object; /* first */
    struct list all;
    struct api *api; /* NULL: closed */
    struct http_request *request;
    void (*then)(struct api *api, struct http_request *request, json_t *result, json_t *more);
    json_t *more;
    void (*then_with)(struct api *api, struct http_request *request, json_t *result, void *arg); /* instead */
    void (*release)(void *arg);
    void *arg;
    bool audit; /* an audit's: it keeps others from asking until it has its rows */
};

/* ---- waiting for the journal ---- */

static bool is_behind(const struct api *api)
{
    const struct api_context *c = &api->context;

    return c->cluster_ops && !scheduler_leading(c->scheduler) &&
           (!api_following(c) || scheduler_is_reading(c->scheduler));
}

/* Another replica that passed the command on applies the journal up to the index before it answers. */
static void reply_written(struct wait *w, struct http_request *request)
{
    if (http_caller(request)->replica && !json_object_get(w->reply, "index"))
        json_object_set_new(w->reply, "index", json_integer((json_int_t)w->index));
    http_reply_json(request, 200, json_incref(w->reply));
}

static void wait_serve(struct wait *w, bool in_time, int result)
{
    struct http_request *request = w->request;

    w->request = NULL;
    if (w->then && (!in_time || is_behind(w->api)))
        http_reply_header(request, "Cronsched-Stale", "true");
    if (w->then)
        w->then(w->api, request);
    else if (result == 0)
        reply_written(w, request);
    else
        http_reply_error(request, ERR_UNKNOWN,
                         "the leader was deposed before this was durable: it may or may not have happened");
    http_request_unref(request);
}

static void on_durable(void *arg, int result)
{
    struct wait *w = OBJECT(struct wait, arg);

    if (w->api)
        list_remove(&w->all);
    if (w->api && w->index == SCHEDULER_INDEX_LATER)
        w->index = scheduler_acked(w->api->context.scheduler);
    if (w->api && w->request)
        wait_serve(w, true, result);
    http_request_unref(w->request);
    json_decref(w->reply);
    OBJECT_FREE(struct wait, w);
}

static void on_clock(uv_timer_t *timer)
{
    struct api *api = OBJECT(struct api, timer->data);
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
        wait_serve(w, false, 0);
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
    OBJECT_INIT(struct wait, w);
    w->api = api;
    w->request = http_request_ref(request);
    w->then = then;
    w->reply = reply;
    w->begun_ms = uv_now(api->loop);
    w->index = index;
    list_append(&api->waits, &w->all);
    scheduler_wait(api->context.scheduler, index, on_durable, w); /* may have freed it on return */
    if (then && !list_empty(&api->waits) && !uv_is_active((uv_handle_t *)&api->clock))
        loop_timer_start(&api->clock, on_clock, CLOCK_MS, CLOCK_MS);
}

bool api_has_read(struct api *api)
{
    const struct api_context *c = &api->context;

    api->has_read =
        api->has_read || scheduler_leading(c->scheduler) ||
        (c->cluster_ops && c->cluster_ops->has_read(c->cluster_arg) && !scheduler_is_reading(c->scheduler));
    return api->has_read;
}

void api_read(struct api *api, struct http_request *request,
              void (*then)(struct api *api, struct http_request *request))
{
    char why[API_REFUSING_SIZE];

    if (api_has_read(api))
        wait_begin(api, request, 0, then, NULL);
    else
        http_reply_error(request, ERR_NO_LEADER, "this replica has not read the journal yet: %s",
                         api_refusing(&api->context, why));
}

/* Answers 200 with `reply` (takes the reference) when `index` is durable. */
static void answer_when_durable(struct api *api, struct http_request *request, json_t *reply, uint64_t index)
{
    wait_begin(api, request, index, NULL, reply);
}

void api_write_result(struct api *api, struct http_request *request, int r,
                      const struct scheduler_result *result)
{
    if (r < 0)
        http_reply_problem(request, http_status_of(result->error.code), &result->error, result->details);
    else
        answer_when_durable(api, request, result->reply, result->index);
}

/* ---- waiting for history ---- */

/* ERR_LIMIT is temporary here (too many or too large queries): answer 429. */
static void reply_no_history(struct http_request *request, const struct error *error)
{
    if (error->code == ERR_LIMIT)
        http_reply_header(request, "Retry-After", "1");
    http_reply_problem(request, error->code == ERR_LIMIT ? 429 : http_status_of(error->code), error, NULL);
}

static void on_history(void *arg, json_t *result, const struct error *error)
{
    struct query *q = OBJECT(struct query, arg);

    if (q->api) {
        list_remove(&q->all);
        if (q->audit)
            q->api->auditing = false;
        if (result && q->then_with)
            q->then_with(q->api, q->request, result, q->arg);
        else if (result)
            q->then(q->api, q->request, result, q->more);
        else
            reply_no_history(q->request, error);
    }
    http_request_unref(q->request);
    json_decref(result);
    json_decref(q->more);
    if (q->release)
        q->release(q->arg);
    OBJECT_FREE(struct query, q);
}

/* NULL: no memory, and it is answered. */
static struct query *query_new(struct api *api, struct http_request *request,
                               const struct history_query *query)
{
    struct query *q = calloc(1, sizeof(*q));

    if (!q) {
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return NULL;
    }
    OBJECT_INIT(struct query, q);
    q->api = api;
    q->request = http_request_ref(request);
    q->audit = query->kind == HISTORY_AUDIT;
    if (q->audit) {
        assert(!api->auditing);
        api->auditing = true;
    }
    list_append(&api->queries, &q->all);
    return q;
}

void api_query(struct api *api, struct http_request *request, const struct history_query *query,
               void (*then)(struct api *api, struct http_request *request, json_t *result, json_t *more),
               json_t *more)
{
    struct query *q = query_new(api, request, query);

    if (!q) {
        json_decref(more);
        return;
    }
    q->then = then;
    q->more = more;
    api->context.history->ops->query(api->context.history, query, on_history, q);
}

void api_query_with(struct api *api, struct http_request *request, const struct history_query *query,
                    void (*then)(struct api *api, struct http_request *request, json_t *result, void *arg),
                    void (*release)(void *arg), void *arg)
{
    struct query *q = query_new(api, request, query);

    if (!q) {
        release(arg);
        return;
    }
    q->then_with = then;
    q->release = release;
    q->arg = arg;
    api->context.history->ops->query(api->context.history, query, on_history, q);
}

/* ---- the end ---- */

static void on_part_closed(void *arg)
{
    struct api *api = OBJECT(struct api, arg);

    if (--api->handles > 0)
        return;
    auth_free(api->auth);
    event_ring_free(api->events);
    free(api->taken);
    if (api->closed)
        api->closed(api->closed_arg);
    OBJECT_FREE(struct api, api);
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

/* The server is gone, and so are the pool's works and the streams: nothing knows the api any more but answers
 * that are still to come. */
void api_close_if_idle(struct api *api)
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
    worker_close(api->probes, on_part_closed, api);
    if (api->work)
        worker_close(api->work, on_part_closed, api);
    loop_gap_close(&api->gap, on_handle_closed);
    uv_close((uv_handle_t *)&api->clock, on_handle_closed);
    loop_turn_close(&api->rows_turn, on_handle_closed);
    uv_close((uv_handle_t *)&api->relisten, on_handle_closed);
    uv_close((uv_handle_t *)&api->events_timer, on_handle_closed);
    uv_close((uv_handle_t *)&api->tokens_poll, on_handle_closed);
}

void api_work_submit(struct api *api, struct work *work)
{
    worker_submit(api->work, work);
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
        api_close_if_idle(api);
}
