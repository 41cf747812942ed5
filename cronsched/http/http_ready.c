/* Complete requests and their handlers. Handlers run on the loop, so what they take is bounded twice:
 *
 *   in time   the handlers of one turn of the loop may take HTTP_TURN_MS together; what is over waits for the next turn, in the
 *             order in which it came, the unix socket's and the others' by turns. Health checks and other replicas go first.
 *   in places a route that may make a large answer (http_route.heavy) has HTTP_HEAVY_MAX requests at a time, from their
 *             handler's call until the answer is sent; HTTP_HEAVY_KEPT of them are for the unix socket alone, and one
 *             caller has HTTP_HEAVY_PER_CALLER. The others wait, HTTP_HEAVY_WAITING of one caller: more would take
 *             the connections from everybody else.
 *
 * Who waits does so for HTTP_LINE_MS; then it is refused, and was not begun. While a caller's oldest has waited for half of
 * that the line is too long, and its next is refused at once. A handler's own time begins when it is called.
 *
 * A request that waits here is in the phase HTTP_HANDLING and suspended, as one whose handler answers later.
 */
#include "cronsched/http/http_core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool is_unix(const struct http_request *r)
{
    return r->connection->daemon->listener->socket.is_unix;
}

static bool is_heavy(const struct http_request *r)
{
    return r->entry->route->heavy && !r->identity.replica;
}

/* Heavy ones of the same caller. */
static size_t count_alike(const struct list *list, const struct http_request *r)
{
    size_t n = 0;

    LIST_EACH(link, list)
    {
        const struct http_request *other = LIST_ITEM(link, struct http_request, ready);

        n += is_heavy(other) && strcmp(other->identity.name, r->identity.name) == 0;
    }
    return n;
}

static bool has_place(const struct http_request *r)
{
    const struct http *http = r->http;
    size_t most = is_unix(r) ? HTTP_HEAVY_MAX : HTTP_HEAVY_MAX - HTTP_HEAVY_KEPT;

    return http->heavy_count < most && count_alike(&http->heavy, r) < HTTP_HEAVY_PER_CALLER;
}

static bool has_time(const struct http *http)
{
    return http->turn_ns < HTTP_TURN_MS * UINT64_C(1000000);
}

static void handle(struct http_request *r)
{
    struct http *http = r->http;
    uint64_t begun_ns = uv_hrtime();

    r->waits = false;
    r->handled_ms = uv_now(http->loop);
    if (is_heavy(r)) {
        list_append(&http->heavy, &r->ready);
        http->heavy_count++;
        r->has_place = true;
    }
    http_request_handle(r);
    http->turn_ns += uv_hrtime() - begun_ns;
}

static uint64_t line_ms(const struct http *http)
{
    return http->answer_ms < HTTP_LINE_MS ? http->answer_ms : HTTP_LINE_MS;
}

/* The oldest heavy one of the same caller that waits: for so long. */
static uint64_t waited_ms(const struct list *queue, const struct http_request *r)
{
    LIST_EACH(link, queue)
    {
        const struct http_request *other = LIST_ITEM(link, struct http_request, ready);

        if (is_heavy(other) && strcmp(other->identity.name, r->identity.name) == 0)
            return uv_now(r->http->loop) - other->handled_ms;
    }
    return 0;
}

static void refuse(struct http_request *r, const char *why)
{
    struct error e;

    error_set(&e, ERR_LIMIT, "%s", why);
    http_reply_header(r, "Retry-After", "5");
    http_reply_problem(r, 429, &e, NULL);
}

/* False: too many wait, or for too long. */
static bool may_wait(struct http_request *r, const struct list *queue)
{
    char why[AUTH_CALLER_SIZE + 100];

    if (!is_heavy(r) || has_place(r))
        return true;
    if (count_alike(queue, r) >= HTTP_HEAVY_WAITING)
        snprintf(why, sizeof(why), "%s waits for %d large answers already", r->identity.name,
                 HTTP_HEAVY_WAITING);
    else if (waited_ms(queue, r) >= line_ms(r->http) / 2)
        snprintf(why, sizeof(why), "%s waits for large answers, for more than %llu ms already",
                 r->identity.name, (unsigned long long)line_ms(r->http) / 2);
    else
        return true;
    refuse(r, why);
    return false;
}

void http_ready_check(struct http_request *r, uint64_t now)
{
    char why[100];

    if (!r->waits || now - r->handled_ms < line_ms(r->http))
        return;
    snprintf(why, sizeof(why), "its turn did not come within %llu ms: it was not begun",
             (unsigned long long)line_ms(r->http));
    list_remove(&r->ready);
    r->waits = false;
    refuse(r, why);
}

void http_ready_add(struct http_request *r)
{
    struct http *http = r->http;
    struct list *queue = is_unix(r) ? &http->ready_unix : &http->ready;
    bool urgent = r->entry->route->role == AUTH_NOBODY || r->identity.replica;

    if (urgent || (has_time(http) && list_empty(queue) && (!is_heavy(r) || has_place(r)))) {
        handle(r);
        return;
    }
    if (!may_wait(r, queue))
        return;
    r->waits = true;
    list_append(queue, &r->ready);
    loop_turn_ask(&http->ready_turn);
}

void http_ready_drop(struct http_request *r)
{
    struct http *http = r->http;

    list_remove(&r->ready);
    if (!r->has_place)
        return;
    r->has_place = false;
    assert(http->heavy_count > 0);
    http->heavy_count--;
    if (!list_empty(&http->ready) || !list_empty(&http->ready_unix))
        loop_turn_ask(&http->ready_turn);
}

/* The first that may go on; NULL: none. */
static struct http_request *take(struct list *queue)
{
    LIST_EACH_SAFE(link, queue)
    {
        struct http_request *r = LIST_ITEM(link, struct http_request, ready);

        if (r->answered) { /* in its handler's place: its deadline has passed, or the server closes */
            list_remove(link);
            continue;
        }
        if (is_heavy(r) && !has_place(r))
            continue;
        list_remove(link);
        return r;
    }
    return NULL;
}

static void on_ready_turn(void *arg)
{
    struct http *http = OBJECT(struct http, arg);
    struct http_request *r = NULL;

    while (has_time(http)) {
        struct list *first = http->unix_next ? &http->ready_unix : &http->ready;
        struct list *second = http->unix_next ? &http->ready : &http->ready_unix;

        http->unix_next = !http->unix_next;
        r = take(first);
        if (!r)
            r = take(second);
        if (!r)
            return; /* a place that becomes free asks for a turn */
        handle(r);
    }
    loop_turn_ask(&http->ready_turn);
}

/* Before the loop looks at its descriptors. */
static void on_prepare(uv_prepare_t *prepare)
{
    OBJECT(struct http, prepare->data)->turn_ns = 0;
}

void http_ready_init(struct http *http)
{
    list_init(&http->ready);
    list_init(&http->ready_unix);
    list_init(&http->heavy);
    loop_turn_init(&http->ready_turn, http->loop, on_ready_turn, http);
    http->ready_turn.idle.data = http;
    uv_prepare_init(http->loop, &http->prepare);
    http->prepare.data = http;
    uv_prepare_start(&http->prepare, on_prepare);
    uv_unref((uv_handle_t *)&http->prepare);
}

void http_ready_close(struct http *http, uv_close_cb closed)
{
    loop_turn_close(&http->ready_turn, closed);
    uv_close((uv_handle_t *)&http->prepare, closed);
}
