/* See leader_watch.h. Happy path: name look-up (resolve.h) -> connect -> read, which never brings anything.
 * An end: at once another connect; refused: gone. One that ends or fails soon after it was made is followed
 * by a pause, so that nothing spins. Each connection is an object of its own: what belongs to an old one
 * finds out by `watch->link` that it is not meant any more.
 */
#include "leader/leader_watch.h"

#include "jobs/base/object.h"
#include "leader/worker/resolve.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>

struct link {
    struct object object;
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct leader_watch *watch;
    uint64_t since_ms;
    bool up;
    char byte;
};

struct leader_watch {
    struct object object;
    uv_loop_t *loop;
    void (*gone)(void *arg, int64_t epoch);
    void *arg;
    char host[256], port[8];
    char looked_up[256],
        looked_up_port[8]; /* what the look-up under way is of: the leader may have changed since */
    int64_t epoch;         /* 0: no leader is watched */
    struct link *link;
    uv_timer_t pause;
    struct worker *resolver;
    struct sockaddr_storage known; /* the last address of host and port; ss_family 0: none */
    bool looking, closing, pause_closed, resolver_closed;
    size_t links; /* not yet closed */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void look_up(struct leader_watch *w);

static void finish(struct leader_watch *w)
{
    void (*closed)(void *arg) = w->closed;
    void *arg = w->closed_arg;

    if (!w->closing || w->links > 0 || !w->pause_closed || !w->resolver_closed)
        return;
    OBJECT_FREE(struct leader_watch, w);
    closed(arg);
}

static void on_link_closed(uv_handle_t *handle)
{
    struct link *l = OBJECT(struct link, handle->data);
    struct leader_watch *w = l->watch;

    OBJECT_FREE(struct link, l);
    assert(w->links > 0);
    w->links--;
    finish(w);
}

static void drop(struct leader_watch *w)
{
    if (w->link)
        uv_close((uv_handle_t *)&w->link->tcp, on_link_closed);
    w->link = NULL;
}

static void on_pause(uv_timer_t *timer)
{
    look_up(OBJECT(struct leader_watch, timer->data));
}

/* The connection is over, and the address does not refuse: again, but not in a hurry twice. */
static void again(struct leader_watch *w, bool stood)
{
    drop(w);
    uv_timer_start(&w->pause, on_pause, stood ? 0 : LEADER_WATCH_PAUSE_MS, 0);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct link *l = OBJECT(struct link, handle->data);

    (void)size;
    *buf = uv_buf_init(&l->byte, 1);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct link *l = OBJECT(struct link, stream->data);

    (void)buf;
    if (l != l->watch->link || n >= 0)
        return;
    again(l->watch, uv_now(l->watch->loop) - l->since_ms >= LEADER_WATCH_PAUSE_MS || n == UV_ECONNRESET);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct link *l = OBJECT(struct link, connect->data);
    struct leader_watch *w = l->watch;

    if (l != w->link || status == UV_ECANCELED)
        return;
    if (status == UV_ECONNREFUSED) {
        int64_t epoch = w->epoch;

        leader_watch_stop(w);
        w->gone(w->arg, epoch);
    } else if (status < 0) {
        again(w, false);
    } else {
        l->since_ms = uv_now(w->loop);
        uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read);
    }
}

static void dial(struct leader_watch *w, const struct sockaddr *address)
{
    struct link *l = OBJECT_NEW(struct link);

    assert(!w->link && w->epoch && !w->closing);
    l->watch = w;
    w->link = l;
    w->links++;
    uv_tcp_init(w->loop, &l->tcp);
    l->tcp.data = l->connect.data = l;
    if (uv_tcp_connect(&l->connect, &l->tcp, address, on_connect) < 0)
        again(w, false);
}

/* A resolver that does not answer is no reason to lose sight of a leader whose address was known. */
static void on_found(void *arg, int result, struct addrinfo *found, const char *why)
{
    struct leader_watch *w = OBJECT(struct leader_watch, arg);
    bool silent = result == ERR_TIMEOUT || result == ERR_LIMIT;
    bool meant = strcmp(w->looked_up, w->host) == 0 && strcmp(w->looked_up_port, w->port) == 0;

    (void)why;
    assert(w->looking);
    w->looking = false;
    if (result == 0 && meant && found->ai_addrlen <= sizeof(w->known))
        memcpy(&w->known, found->ai_addr, found->ai_addrlen);
    if (result == 0)
        freeaddrinfo(found);
    if (w->closing || !w->epoch || w->link)
        return;
    if (!meant)
        look_up(w);
    else if ((result == 0 || silent) && w->known.ss_family)
        dial(w, (const struct sockaddr *)&w->known);
    else
        again(w, false);
}

static void look_up(struct leader_watch *w)
{
    if (w->looking || !w->epoch)
        return;
    w->looking = true;
    memcpy(w->looked_up, w->host, sizeof(w->looked_up));
    memcpy(w->looked_up_port, w->port, sizeof(w->looked_up_port));
    resolve_start(w->resolver, w->host, w->port, on_found, w);
}

void leader_watch_new(struct leader_watch **ret, uv_loop_t *loop, void (*gone)(void *arg, int64_t epoch),
                      void *arg)
{
    struct leader_watch *w = OBJECT_NEW(struct leader_watch);

    w->loop = loop;
    w->resolver = resolve_worker_new(loop);
    w->gone = gone;
    w->arg = arg;
    uv_timer_init(loop, &w->pause);
    w->pause.data = w;
    *ret = w;
}

void leader_watch_set(struct leader_watch *w, const char *host, const char *port, int64_t epoch)
{
    if (w->closing || (epoch == w->epoch && strcmp(host, w->host) == 0 && strcmp(port, w->port) == 0))
        return;
    leader_watch_stop(w);
    if (strcmp(host, w->host) != 0 || strcmp(port, w->port) != 0)
        w->known.ss_family = 0;
    snprintf(w->host, sizeof(w->host), "%s", host);
    snprintf(w->port, sizeof(w->port), "%s", port);
    w->epoch = epoch;
    look_up(w);
}

void leader_watch_stop(struct leader_watch *w)
{
    w->epoch = 0;
    uv_timer_stop(&w->pause);
    drop(w);
}

static void on_pause_closed(uv_handle_t *handle)
{
    struct leader_watch *w = OBJECT(struct leader_watch, handle->data);

    w->pause_closed = true;
    finish(w);
}

static void on_resolver_closed(void *arg)
{
    struct leader_watch *w = OBJECT(struct leader_watch, arg);

    w->resolver_closed = true;
    finish(w);
}

void leader_watch_close(struct leader_watch *w, void (*done)(void *arg), void *arg)
{
    assert(!w->closing);
    leader_watch_stop(w);
    w->closing = true;
    w->closed = done;
    w->closed_arg = arg;
    uv_close((uv_handle_t *)&w->pause, on_pause_closed);
    worker_close(w->resolver, on_resolver_closed, w);
}
