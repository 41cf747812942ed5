/* Connections come and go: accepting, how many there may be, and which of them has to go.
 *
 * A listening descriptor is readable -> accept4, up to ACCEPTS_PER_TURN in one turn of the loop -> the limits -> the
 * library gets the connection, or, behind TLS, one end of a pair of sockets whose other end has the thread of
 * http_tls.h.
 *
 *   - One address may have HTTP_ADDRESS_CONNECTIONS_MAX of them, unless it is this machine's. Its next one takes the
 *     place of the one that has asked for nothing for the longest time, or is closed at once.
 *   - A listener that is full lets go of the one that has asked for nothing for the longest time. When all are at work,
 *     or have just come, the next ones wait in the kernel's queue.
 *   - The last HTTP_CONNECTIONS_KEPT places serve replicas, what is open to all (/healthz), and, at a unix socket, the
 *     machine's own admin. Anybody else who gets one is told to come again.
 *   - Who has not sent the first request's headers HTTP_FIRST_MS after the connection was accepted, a handshake
 *     included, is cut.
 *
 * The library's own limit is never reached: at it version 0.9.75 leaves a mutex locked.
 */
#include "cronsched/http/http_core.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 32
#define FRESH_MS         50 /* its request may be on its way: it does not make room yet */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_storage storage;
};

/* ---- whose it is ---- */

/* Of IPv6 the first half: one client may have all of the rest. Zero: of no network, or of this machine. */
static struct http_origin origin_of(const union address *a)
{
    struct http_origin origin = {0};
    const uint8_t *six = a->six.sin6_addr.s6_addr;

    if (a->any.sa_family == AF_INET)
        memcpy(origin.bytes + 4, &a->four.sin_addr.s_addr, 4);
    else if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->six.sin6_addr))
        memcpy(origin.bytes + 4, six + 12, 4);
    else if (a->any.sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&a->six.sin6_addr))
        memcpy(origin.bytes, six, 8);
    if (memcmp(origin.bytes, "\0\0\0\0\x7f", 5) == 0)
        return (struct http_origin){0};
    return origin;
}

static bool is_counted(const struct http_origin *origin)
{
    static const struct http_origin none;

    return memcmp(origin, &none, sizeof(none)) != 0;
}

static size_t count_of(const struct http_daemon *d, const struct http_origin *origin)
{
    size_t n = 0;

    LIST_EACH(link, &d->connections)
    {
        const struct http_connection *c = LIST_ITEM(link, struct http_connection, of_daemon);

        n += !c->going && memcmp(&c->origin, origin, sizeof(*origin)) == 0;
    }
    return n;
}

/* ---- who has to go ---- */

static size_t places_taken(const struct http_daemon *d)
{
    return d->connection_count - d->going_count;
}

static void let_go(struct http_connection *c)
{
    if (c->going)
        return;
    c->going = true;
    c->daemon->going_count++;
    shutdown(c->fd, SHUT_RDWR); /* the library sees the end and cleans up */
}

/* Of this origin; NULL: of any. False: all of them are at work, or have just come. */
static bool let_the_idlest_go(struct http_daemon *d, const struct http_origin *origin)
{
    uint64_t now = uv_now(d->listener->http->loop);
    struct http_connection *idlest = NULL;

    LIST_EACH(link, &d->connections)
    {
        struct http_connection *c = LIST_ITEM(link, struct http_connection, of_daemon);
        bool idle = !c->going && !c->of_replica && (!c->request || c->request->phase == HTTP_HEADERS);

        if (idle && (!origin || memcmp(&c->origin, origin, sizeof(*origin)) == 0) &&
            (!idlest || c->since_ms < idlest->since_ms))
            idlest = c;
    }
    if (!idlest || now - idlest->since_ms < FRESH_MS)
        return false;
    let_go(idlest);
    d->listener->http->dropped++;
    return true;
}

bool http_connection_is_kept(struct http_connection *c)
{
    if (c->kept && places_taken(c->daemon) <= c->daemon->connections_max)
        c->kept = false;
    return c->kept;
}

/* ---- one more, one less ---- */

void http_connection_retry(struct http_daemon *d)
{
    if (!d->full || d->closing || d->listener->http->closing)
        return;
    d->full = false;
    http_connection_accept(d);
}

void http_connection_notify(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http_daemon *d = OBJECT(struct http_daemon, cls);
    struct http *http = d->listener->http;
    struct http_connection *c;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = d->adding;
        d->adding = NULL;
        return;
    }
    c = OBJECT(struct http_connection, *context);
    list_remove(&c->of_daemon);
    d->connection_count--;
    d->going_count -= c->going;
    if (--http->connection_count == 0 && !http->closing)
        uv_timer_stop(&http->clock);
    OBJECT_FREE(struct http_connection, c);
    http_connection_retry(d);
}

/* The end that the library gets; -1: there is none. */
static int behind_tls(struct http_daemon *d, int fd)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        close(fd);
        return -1;
    }
    if (http_tls_take(d->listener->tls, fd, pair[1]) == 0)
        return pair[0];
    close(pair[0]);
    return -1;
}

/* Takes the descriptor. */
static void connection_add(struct http_daemon *d, int fd, const union address *from, socklen_t len,
                           const struct http_origin *origin)
{
    struct http *http = d->listener->http;
    struct http_connection *c = calloc(1, sizeof(*c));

    if (!c) {
        close(fd);
        return;
    }
    OBJECT_INIT(struct http_connection, c);
    c->daemon = d;
    c->origin = *origin;
    c->since_ms = c->accepted_ms = uv_now(http->loop);
    c->kept = places_taken(d) >= d->connections_max;
    if (d->listener->tls) { /* the library's end of the pair says nothing about the client */
        auth_peer_init(&c->peer, fd, d->listener->socket.group);
        c->peer_known = true;
        fd = behind_tls(d, fd);
    }
    c->fd = fd;
    if (fd < 0) {
        OBJECT_FREE(struct http_connection, c);
        return;
    }
    list_append(&d->connections, &c->of_daemon);
    d->connection_count++;
    http->accepted++;
    if (http->connection_count++ == 0)
        http_clock_start(http);
    d->adding = c;
    if (MHD_add_connection(d->mhd, fd, &from->any, len) != MHD_YES && d->adding) {
        d->adding = NULL; /* closed, and nobody was told */
        http_connection_notify(d, NULL, &(void *){c}, MHD_CONNECTION_NOTIFY_CLOSED);
    }
}

/* ---- accepting ---- */

static void on_listening(uv_poll_t *poll, int status, int events);

void http_connection_accept(struct http_daemon *d)
{
    uv_poll_start(&d->listening, UV_READABLE, on_listening);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct http_daemon *d = OBJECT(struct http_daemon, timer->data);
    int fd = fcntl(d->listener->socket.fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        loop_timer_start(&d->pause, on_pause_over, HTTP_PAUSE_MS, 0);
        return;
    }
    close(fd);
    d->paused = false;
    http_connection_accept(d);
}

/* The connection stays in the kernel's queue. */
static void pause_accepting(struct http_daemon *d)
{
    const struct http *http = d->listener->http;

    if (!d->paused && http->log)
        http->log(http->arg, LOG_WARN, "http-paused",
                  "no descriptor is left for a connection: clients wait until one is");
    d->paused = true;
    uv_poll_stop(&d->listening);
    loop_timer_start(&d->pause, on_pause_over, HTTP_PAUSE_MS, 0);
}

static void refuse_address(struct http_daemon *d, int fd)
{
    struct auth_peer peer;

    auth_peer_init(&peer, fd, d->listener->socket.group);
    http_refused(d->listener->http, HTTP_REFUSED_ADDRESS, peer.name, "a connection",
                 "too many connections from this address");
    close(fd);
}

static bool has_room(struct http_daemon *d)
{
    size_t most = d->connections_max + d->connections_kept;

    if (d->connection_count >= 2 * most) /* those that are going have not gone yet */
        return false;
    return places_taken(d) < most || let_the_idlest_go(d, NULL);
}

/* False: nothing more to accept now. */
static bool accept_one(struct http_daemon *d)
{
    struct pollfd waiting = {.fd = d->listener->socket.fd, .events = POLLIN};
    size_t address_max = (size_t)d->listener->http->address_max;
    union address from = {0};
    socklen_t len = sizeof(from);
    struct http_origin origin;
    int fd;

    if (poll(&waiting, 1, 0) <= 0)
        return false;
    if (!has_room(d)) {
        d->full = true;
        uv_poll_stop(&d->listening);
        return false;
    }
    fd = accept4(d->listener->socket.fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        pause_accepting(d);
        return false;
    }
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    origin = origin_of(&from);
    if (is_counted(&origin) && count_of(d, &origin) >= address_max && !let_the_idlest_go(d, &origin))
        refuse_address(d, fd);
    else
        connection_add(d, fd, &from, len, &origin);
    return true;
}

static void on_listening(uv_poll_t *poll, int status, int events)
{
    struct http_daemon *d = OBJECT(struct http_daemon, poll->data);

    for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(d); i++)
        ;
    http_daemon_wake(d);
}

/* ---- the clock ---- */

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static uint64_t answer_ms(const struct http *http, const struct http_request *r)
{
    return r->entry->route->answer_ms ? (uint64_t)r->entry->route->answer_ms : http->answer_ms;
}

/* Without a request, or with one whose headers are not complete. */
static bool is_too_late(const struct http *http, const struct http_connection *c, uint64_t now)
{
    if (c->requests == 0 || (c->requests == 1 && c->request))
        return now - c->accepted_ms >= http->first_ms;
    if (c->request)
        return now - c->request->begun_ms >= http->receive_ms;
    return now - c->since_ms >= http->idle_ms;
}

void http_connection_check(struct http *http, struct http_connection *c, uint64_t now)
{
    struct http_request *r = c->request;

    if (!r || r->phase == HTTP_HEADERS) {
        if (is_too_late(http, c, now))
            let_go(c);
        return;
    }
    switch (r->phase) {
    case HTTP_BODY:
        if (now - r->begun_ms >= http->receive_ms)
            let_go(c);
        return;
    case HTTP_HANDLING:
        http_ready_check(r, now);
        if (!r->answered && now - r->handled_ms >= answer_ms(http, r))
            http_reply_error(r, ERR_TIMEOUT, "no answer within %llu ms; what was asked may still happen",
                             (unsigned long long)answer_ms(http, r));
        return;
    case HTTP_SENDING:
        if (r->stream && r->stream->suspended && hung_up(c->fd)) {
            let_go(c);
            http_stream_cut(r->stream);
        }
        return;
    case HTTP_HEADERS:
    case HTTP_DONE:
        return;
    }
}
