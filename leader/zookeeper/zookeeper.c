/* Session and connections of the coordinator over libzookeeper, see zookeeper.h and zookeeper_priv.h. The
 * happy path: `timer` fires, an address is taken from the list, the library gets a handle for it alone; the
 * socket is polled and the library asked (step) after everything that may have changed its mind; the session
 * stands: the cluster's node is made; connected. Requests are in zookeeper_request.c.
 *
 * One handle serves ONE connection: after a loss it is closed, and the next one goes on with the session by
 * its id and password. The library's own ways between servers are never used: with an even number of
 * addresses it can leave out half of them for ever (ZOOKEEPER-2466), it resolves names on the loop, it waits
 * 2/3 of the session for a server that swallows packets, and a failed send leaves a half-written request in
 * its queue for the next connection. What its reconnection would have given is done here: watches are all
 * said to have gone off, and the create of the cluster's node, a write, makes the reads behind it fresh.
 *
 * Failures, and what the caller sees:
 * - a server refuses, is silent, or its handshake is: after session / (3 x addresses) the next one is tried;
 *   that limit doubles with each round in vain, so that slow servers are reached too. Between tries of later
 *   rounds there is a pause, at most session / (4 x addresses). Nothing but `status` and the log.
 * - the connection breaks: COORD_LOST for all that is outstanding, `lost`, at once the next server.
 * - one that breaks right after it was made counts as a failed try.
 * - the session has expired: known once a server is reached again: `expired`, and a new one.
 * - no name resolves: looked up again and again.
 * - the cluster's node may not be made, or the password is refused: tried again every
 *   ZOOKEEPER_DENIED_RETRY_MS.
 * - close with a live session: the library waits for the server, so that happens on the pool, and after
 *   ZOOKEEPER_CLOSE_MAX_MS the socket is shut under it.
 */
#include "leader/zookeeper/zookeeper_priv.h"

#include "jobs/base/alloc.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRY_MIN_MS    200  /* for a server to answer */
#define PAUSE_MIN_MS  50   /* between tries */
#define SETTLED_MS    1000 /* a connection that stood for less counts as a failed try */
#define READS_MAX     64   /* answers taken in one turn of the loop */
#define NO_ADDRESS_MS 1000 /* until the names are asked for again */

_Thread_local struct zookeeper *zookeeper_inside;

static void drop(struct zookeeper *zk, int rc);

/* ---- words ---- */

void zookeeper_say(struct zookeeper *zk, enum log_level level, const char *event, const char *text)
{
    if (zk->log)
        zk->log(zk->arg, level, event, text);
}

__attribute__((format(printf, 2, 3))) static void set_status(struct zookeeper *zk, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(zk->status, sizeof(zk->status), format, ap);
    va_end(ap);
}

/* The library's lines tell one thing that its return codes do not: errno. While connected they are passed on;
 * the log limits them by name. */
static void on_log(const char *line)
{
    struct zookeeper *zk = zookeeper_inside;
    const char *text = strstr(line, ":ZOO_"), *found = strstr(line, "errno=");

    if (!zk)
        return; /* the end of a session, on the pool */
    if (found)
        zk->last_errno = (int)strtol(found + strlen("errno="), NULL, 10);
    text = text ? strstr(text, ": ") : NULL;
    if (zk->state == ZOOKEEPER_UP && text)
        zookeeper_say(zk, LOG_WARN, "zookeeper-client", text + 2);
}

/* Why a connection ended. */
static const char *reason(const struct zookeeper *zk, int rc, char text[ZOOKEEPER_ANSWER_TEXT])
{
    if (zk->leaving)
        return "not in the list of servers any more";
    if (zk->answer || rc == ZAUTHFAILED || rc == ZSESSIONEXPIRED)
        return zookeeper_answer_text(zk->answer ? zk->answer : rc, text);
    if (rc == ZOPERATIONTIMEOUT || zk->last_errno == ETIMEDOUT)
        return "no answer";
    if (zk->last_errno == EHOSTDOWN)
        return "the server closed the connection"; /* the library's word for it */
    return zk->last_errno ? strerror(zk->last_errno) : zookeeper_answer_text(rc, text);
}

/* An answer that ends the connection is likely to come again: after the second one there is a pause. */
static uint64_t answer_pause_ms(struct zookeeper *zk)
{
    uint64_t now = uv_now(zk->loop), ms;

    assert(zk->state == ZOOKEEPER_WAITING);
    if (!zk->answer)
        return 0;
    if (now - zk->answer_drop_ms >= ZOOKEEPER_ANSWER_FORGET_MS)
        zk->answer_drops = 0;
    zk->answer_drop_ms = now;
    zk->answer = 0;
    if (zk->answer_drops++ == 0)
        return 0;
    ms = (uint64_t)ZOOKEEPER_ANSWER_RETRY_MS << (zk->answer_drops < 10 ? zk->answer_drops - 2 : 8);
    return ms < ZOOKEEPER_ANSWER_RETRY_MAX_MS ? ms : ZOOKEEPER_ANSWER_RETRY_MAX_MS;
}

static void complain(struct zookeeper *zk)
{
    uint64_t now = uv_now(zk->loop);

    zookeeper_check_invariants(zk);
    set_status(zk, "not connected: %s", zk->why);
    if (zk->complained && now - zk->complained_ms < ZOOKEEPER_COMPLAIN_EVERY_MS)
        return;
    zk->complained = true;
    zk->complained_ms = now;
    zookeeper_say(zk, LOG_WARN, "zookeeper-away", zk->why);
}

/* ---- the next try ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static unsigned rounds(const struct zookeeper *zk)
{
    size_t n = zookeeper_servers_count(zk->servers);

    return n ? zk->failures / (unsigned)n : zk->failures;
}

static uint64_t addresses(const struct zookeeper *zk)
{
    size_t n = zookeeper_servers_count(zk->servers);

    return n ? n : 1;
}

static uint64_t timeout_of(const struct zookeeper *zk)
{
    return (uint64_t)zk->granted_ms;
}

/* How long one server may take to give a session. */
static uint64_t try_limit_ms(const struct zookeeper *zk)
{
    uint64_t ms = timeout_of(zk) / (3 * addresses(zk));

    assert(zk->state == ZOOKEEPER_CONNECTING);
    ms = (ms < TRY_MIN_MS ? TRY_MIN_MS : ms) << smaller(rounds(zk), 10);
    return smaller(ms, timeout_of(zk) * 2 / 3);
}

/* None in the first round; then doubling, with a jitter of half. */
static uint64_t pause_ms(const struct zookeeper *zk)
{
    uint64_t cap = timeout_of(zk) / (4 * addresses(zk)), ms;
    unsigned round = rounds(zk);

    assert(!zk->handle);
    if (round == 0)
        return 0;
    ms = smaller((uint64_t)PAUSE_MIN_MS << smaller(round - 1, 10), cap);
    return ms / 2 + zk->random(zk->arg) % (ms / 2 + 1);
}

static void try_server(struct zookeeper *zk);
static void step(struct zookeeper *zk);

static void on_timer(uv_timer_t *timer)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, timer->data);

    if (zk->handle)
        step(zk);
    else
        try_server(zk);
}

static void try_after(struct zookeeper *zk, uint64_t ms)
{
    assert(!zk->handle && !zk->closing);
    zk->state = ZOOKEEPER_WAITING;
    loop_timer_start(&zk->timer, on_timer, ms, 0);
}

static void on_servers_found(void *arg)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, arg);

    if (zk->state == ZOOKEEPER_WAITING)
        try_after(zk, 0);
}

/* A server that the new list does not name. It is kept while a name of the list is not known: it may be that one. */
static void on_servers_looked_up(void *arg)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, arg);

    if (!zk->may_leave || *zookeeper_servers_problem(zk->servers))
        return;
    zk->may_leave = false;
    if (!zk->handle || zk->closing || zookeeper_servers_has(zk->servers, zk->address))
        return;
    zk->leaving = true;
    drop(zk, ZCONNECTIONLOSS);
}

static void on_deadline(uv_timer_t *timer);

/* First how much the server takes, when that is in doubt, and then the cluster's node. */
static void prepare(struct zookeeper *zk)
{
    assert(zk->handle && zk->has_session);
    zk->state = ZOOKEEPER_PREPARING;
    loop_timer_start(&zk->deadline, on_deadline, timeout_of(zk), 0);
    if (!zookeeper_limit_probe(zk))
        zookeeper_prepare_root(zk);
}

void zookeeper_probed(struct zookeeper *zk, bool taken)
{
    zookeeper_check_invariants(zk);
    zookeeper_limit_answered(zk, taken);
    if (taken && !zk->closing)
        prepare(zk);
}

static void on_deadline(uv_timer_t *timer)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, timer->data);

    if (zk->state == ZOOKEEPER_DENIED) {
        prepare(zk);
    } else if (zk->state == ZOOKEEPER_UP) {
        zookeeper_read_access(zk);
    } else {
        drop(zk, ZOPERATIONTIMEOUT);
    }
}

static void on_session(zhandle_t *handle, int type, int state, const char *path, void *arg)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, arg);

    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE)
        zk->established = true;
}

static void try_server(struct zookeeper *zk)
{
    const char *address = zookeeper_servers_next(zk->servers);

    assert(!zk->handle && !zk->closing);
    zookeeper_servers_refresh(zk->servers);
    if (!address) {
        zk->failures++;
        snprintf(zk->why, sizeof(zk->why), "%s",
                 *zookeeper_servers_problem(zk->servers) ? zookeeper_servers_problem(zk->servers)
                                                         : "looking up the servers' names");
        if (*zookeeper_servers_problem(zk->servers))
            complain(zk);
        try_after(zk, NO_ADDRESS_MS);
        return;
    }
    snprintf(zk->address, sizeof(zk->address), "%s", address);
    zk->established = zk->broken = zk->leaving = false;
    zk->last_errno = zk->answer = 0;
    zookeeper_inside = zk;
    zk->handle = zookeeper_init2(address, on_session, (int)zk->timeout_ms,
                                 zk->has_session ? &zk->session : NULL, zk, ZOO_NO_LOG_CLIENTENV, on_log);
    if (!zk->handle) {
        zk->failures++;
        snprintf(zk->why, sizeof(zk->why), "%s: %s", address, strerror(errno));
        complain(zk);
        try_after(zk, pause_ms(zk));
        return;
    }
    zoo_set_servers_resolution_delay(zk->handle, -1);
    for (size_t i = 0; i < zk->users.count; i++)
        zoo_add_auth(zk->handle, "digest", zk->users.items[i].credential,
                     (int)strlen(zk->users.items[i].credential), NULL, NULL);
    zk->state = ZOOKEEPER_CONNECTING;
    loop_timer_start(&zk->deadline, on_deadline, try_limit_ms(zk), 0);
    step(zk);
}

/* ---- one connection ---- */

static void on_socket_closed(uv_handle_t *handle)
{
    struct zookeeper_socket *s = OBJECT(struct zookeeper_socket, handle->data);

    close(s->fd);
    OBJECT_FREE(struct zookeeper_socket, s);
}

static void socket_close(struct zookeeper *zk)
{
    if (zk->socket)
        uv_close((uv_handle_t *)&zk->socket->poll, on_socket_closed);
    zk->socket = NULL;
    assert(!zk->socket);
}

static bool socket_open(struct zookeeper *zk, int fd)
{
    struct zookeeper_socket *s = OBJECT_NEW(struct zookeeper_socket);

    assert(!zk->socket);
    s->zk = zk;
    s->poll.data = s;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (s->fd < 0 || uv_poll_init(zk->loop, &s->poll, s->fd) != 0) {
        zk->last_errno = errno;
        if (s->fd >= 0)
            close(s->fd);
        OBJECT_FREE(struct zookeeper_socket, s);
        return false;
    }
    zk->socket = s;
    return true;
}

/* After the library was entered: go on with it, or not. */
static void after(struct zookeeper *zk, int rc)
{
    assert(zk->handle);
    if (rc != ZOK || zk->broken || is_unrecoverable(zk->handle)) {
        drop(zk, rc);
        return;
    }
    if (zk->established && zk->state == ZOOKEEPER_CONNECTING) {
        zk->session = *zoo_client_id(zk->handle);
        zk->granted_ms = zoo_recv_timeout(zk->handle);
        zk->has_session = true;
        prepare(zk);
    }
    step(zk);
}

/* The library reads one packet at a time. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct zookeeper *zk = OBJECT(struct zookeeper_socket, poll->data)->zk;
    int want = status < 0 ? ZOOKEEPER_READ | ZOOKEEPER_WRITE : 0, rc;
    uint64_t answers;
    int reads = 0;

    want |= events & UV_READABLE ? ZOOKEEPER_READ : 0;
    want |= events & UV_WRITABLE ? ZOOKEEPER_WRITE : 0;
    do {
        answers = zk->answers;
        zookeeper_inside = zk;
        rc = zookeeper_process(zk->handle, want);
        want = ZOOKEEPER_READ;
    } while (rc == ZOK && !zk->broken && zk->answers != answers && ++reads < READS_MAX);
    after(zk, rc == ZNOTHING ? ZOK : rc); /* no whole packet was there */
}

static int mask_of(int want)
{
    int mask = 0;

    if (want & ZOOKEEPER_READ)
        mask |= UV_READABLE;
    if (want & ZOOKEEPER_WRITE)
        mask |= UV_WRITABLE;
    return mask;
}

/* Asks the library what it waits for. It connects, pings and times out in there. */
static void step(struct zookeeper *zk)
{
    struct timeval wait = {0};
    int fd = -1, want = 0, rc;
    uint64_t ms;

    zookeeper_check_invariants(zk);
    assert(zk->handle);
    uv_prepare_stop(&zk->prepare);
    zookeeper_inside = zk;
    rc = zookeeper_interest(zk->handle, &fd, &want, &wait);
    if (rc == ZOK && (fd < 0 || (!zk->socket && !socket_open(zk, fd))))
        rc = ZCONNECTIONLOSS;
    if (rc == ZOK && zk->socket->mask != mask_of(want)) {
        zk->socket->mask = mask_of(want);
        rc = uv_poll_start(&zk->socket->poll, zk->socket->mask, on_poll) == 0 ? ZOK : ZCONNECTIONLOSS;
    }
    if (rc != ZOK || zk->broken) {
        drop(zk, rc);
        return;
    }
    ms = (uint64_t)wait.tv_sec * 1000 + ((uint64_t)wait.tv_usec + 999) / 1000;
    loop_timer_start(&zk->timer, on_timer, ms ? ms : 1, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, prepare->data);

    uv_prepare_stop(prepare);
    if (zk->handle && zk->state != ZOOKEEPER_CLOSING)
        after(zk, ZOK);
}

void zookeeper_touched(struct zookeeper *zk)
{
    zookeeper_check_invariants(zk);
    if (zk->handle && zoo_state(zk->handle) != ZOO_CONNECTED_STATE)
        zk->broken = true; /* the send failed; it would go on with the rest of it on the next connection */
    uv_prepare_start(&zk->prepare, on_prepare);
}

/* ---- up and down ---- */

static void up(struct zookeeper *zk)
{
    bool fresh = !zk->announced;
    char text[160];

    assert(zk->state == ZOOKEEPER_PREPARING && !zk->told);
    uv_timer_stop(&zk->deadline);
    zk->state = ZOOKEEPER_UP;
    zk->announced = zk->told = true;
    zk->complained = false;
    zk->up_since_ms = uv_now(zk->loop);
    snprintf(text, sizeof(text), "%s, session 0x%" PRIx64 "%s, timeout %" PRId64 " ms", zk->address,
             (uint64_t)zk->session.client_id, fresh ? " (new)" : "", zk->granted_ms);
    set_status(zk, "connected to %s", text);
    zookeeper_say(zk, LOG_NOTE, "zookeeper-connected", text);
    zk->coord.events->connected(zk->coord.arg, zk->session.client_id, zk->granted_ms, fresh);
    if (!fresh)
        zookeeper_fire_watches(zk);
    if (zk->state == ZOOKEEPER_UP && !zk->broken && !zk->closing)
        zookeeper_read_config(zk);
}

/* An operator has to do something. */
static void denied(struct zookeeper *zk)
{
    assert(zk->state == ZOOKEEPER_PREPARING && !zk->told);
    zk->state = ZOOKEEPER_DENIED;
    loop_timer_start(&zk->deadline, on_deadline, ZOOKEEPER_DENIED_RETRY_MS, 0);
    complain(zk);
}

/* Who could have written there could have written anything: a secret that they know, batches that run their commands.
 * The nodes may also be from the time before there were users; which of the two, only a person can tell. */
void zookeeper_access_read(struct zookeeper *zk)
{
    bool was_open = zk->creates_open;

    zookeeper_check_invariants(zk);
    if (zk->closing)
        return;
    if (zk->others[0] && !zk->trust_open) {
        snprintf(zk->why, sizeof(zk->why),
                 "%s: below %s %s: such a tree is not trusted ('cronsched cluster secure --config FILE')",
                 zk->address, zk->root, zk->others);
        if (zk->state == ZOOKEEPER_PREPARING)
            denied(zk);
        return;
    }
    zk->creates_open = zk->root_open;
    if (zk->state == ZOOKEEPER_PREPARING)
        up(zk);
    else if (was_open && !zk->creates_open)
        zookeeper_say(zk, LOG_NOTE, "zookeeper-closed",
                      "new nodes are made for the users of zookeeper_auth_file alone");
    if (zk->others[0] && zk->state == ZOOKEEPER_UP)
        loop_timer_start(&zk->deadline, on_deadline, ZOOKEEPER_ACCESS_AGAIN_MS, 0);
}

void zookeeper_prepared(struct zookeeper *zk, int rc)
{
    char text[ZOOKEEPER_ANSWER_TEXT];
    const char *hint = "";

    zookeeper_check_invariants(zk);
    if (zk->closing)
        return;
    if (rc == ZOK && zk->users.count > 0) {
        zookeeper_read_access(zk);
    } else if (rc == ZOK) {
        up(zk);
    } else if (zookeeper_answer_result(rc) != COORD_LOST) {
        if (rc == ZNOAUTH)
            hint = zk->users.count ? "; made with another password?" : "; made with a password?";
        snprintf(zk->why, sizeof(zk->why), "%s: the node %s may not be made: %s%s", zk->address, zk->root,
                 zookeeper_answer_text(rc, text), hint);
        denied(zk);
    } else {
        if (zk->handle && zoo_state(zk->handle) == ZOO_CONNECTED_STATE)
            zk->answer = rc;
        zk->broken = true;
    }
}

/* The library's handle goes, and with it the answers to all that is outstanding; the session stays. */
static void handle_close(struct zookeeper *zk)
{
    zhandle_t *handle = zk->handle;

    zk->handle = NULL;
    uv_timer_stop(&zk->timer);
    uv_timer_stop(&zk->deadline);
    uv_prepare_stop(&zk->prepare);
    if (zk->socket)
        shutdown(zk->socket->fd, SHUT_RDWR); /* lest it says goodbye, or waits */
    zookeeper_inside = zk;
    zookeeper_close(handle);
    socket_close(zk);
    assert(list_empty(&zk->outstanding));
}

static void session_expired(struct zookeeper *zk)
{
    bool announced = zk->announced;

    assert(!zk->handle && !zk->told);
    zk->has_session = zk->announced = false;
    zk->watch_count = 0;
    zk->failures = 0; /* a server said so */
    if (!announced || zk->closing)
        return;
    zookeeper_say(zk, LOG_WARN, "zookeeper-expired", zk->why);
    zk->coord.events->expired(zk->coord.arg, zk->why);
}

/* rc: what the library said last. */
static void drop(struct zookeeper *zk, int rc)
{
    int state = zoo_state(zk->handle);
    bool told = zk->told,
         by_server = zk->last_errno == EHOSTDOWN || zk->last_errno == ECONNRESET || zk->last_errno == EPIPE;
    char text[ZOOKEEPER_ANSWER_TEXT];
    uint64_t pause;

    assert(zk->state != ZOOKEEPER_WAITING && zk->state != ZOOKEEPER_CLOSING);
    snprintf(zk->why, sizeof(zk->why), "%s: %s", zk->address, reason(zk, rc, text));
    zk->state = ZOOKEEPER_WAITING;
    zk->told = false;
    pause = answer_pause_ms(zk);
    handle_close(zk);
    zk->learnt.losses += told;
    if (zookeeper_limit_dropped(zk, by_server) && !zk->closing && state != ZOO_EXPIRED_SESSION_STATE) {
        try_after(zk, 0); /* the search for the limit goes on */
        return;
    }
    zk->failures = told && uv_now(zk->loop) - zk->up_since_ms >= SETTLED_MS ? 0 : zk->failures + 1;
    if (told && !zk->closing) {
        set_status(zk, "not connected: %s", zk->why);
        zookeeper_say(zk, LOG_WARN, "zookeeper-lost", zk->why);
        zk->coord.events->lost(zk->coord.arg, zk->why);
    } else if (state != ZOO_EXPIRED_SESSION_STATE) {
        complain(zk);
    }
    if (state == ZOO_EXPIRED_SESSION_STATE)
        session_expired(zk);
    if (zk->closing)
        return;
    if (state == ZOO_AUTH_FAILED_STATE)
        pause = ZOOKEEPER_DENIED_RETRY_MS;
    try_after(zk, pause > 0 ? pause : pause_ms(zk));
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, handle->data);
    void (*closed)(void *arg) = zk->closed;
    void *arg = zk->closed_arg;

    assert(zk->open_handles > 0);
    if (--zk->open_handles > 0)
        return;
    zookeeper_users_forget(&zk->users);
    free(zk->buffer);
    OBJECT_FREE(struct zookeeper, zk);
    closed(arg);
}

static void release(struct zookeeper *zk)
{
    assert(zk->closing && !zk->handle);
    socket_close(zk);
    uv_close((uv_handle_t *)&zk->timer, on_handle_closed);
    uv_close((uv_handle_t *)&zk->deadline, on_handle_closed);
    uv_close((uv_handle_t *)&zk->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&zk->idle, on_handle_closed);
}

/* On the pool, until the server has closed the connection: a socket that is closed with something unread in it resets the
 * connection, the server may then never read the goodbye, and the session would live on until it expires. on_end_limit
 * ends it at the latest. */
static void end_session(uv_work_t *work)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, work->data);
    struct pollfd readable = {.fd = zk->socket->fd, .events = POLLIN};
    char unread[4096];
    ssize_t n;

    zookeeper_close(zk->handle); /* it closes its own descriptor; ours is a duplicate */
    do {
        poll(&readable, 1, -1);
        n = read(readable.fd, unread, sizeof(unread));
    } while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
}

static void on_session_ended(uv_work_t *work, int status)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, work->data);

    assert(zk->state == ZOOKEEPER_CLOSING);
    zk->handle = NULL;
    release(zk);
}

static void on_end_limit(uv_timer_t *timer)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, timer->data);

    shutdown(zk->socket->fd, SHUT_RDWR);
}

static void begin_end(struct zookeeper *zk)
{
    assert(zk->closing);
    zk->state = ZOOKEEPER_CLOSING;
    uv_timer_stop(&zk->timer);
    uv_timer_stop(&zk->deadline);
    uv_prepare_stop(&zk->prepare);
    zookeeper_abandon(zk);
    while (!list_empty(&zk->due))
        zookeeper_answer_due(zk);
    uv_idle_stop(&zk->idle);
    zookeeper_servers_free(zk->servers);
    if (zk->handle && zk->socket && zoo_state(zk->handle) == ZOO_CONNECTED_STATE) {
        uv_poll_stop(&zk->socket->poll);
        loop_timer_start(&zk->deadline, on_end_limit, ZOOKEEPER_CLOSE_MAX_MS, 0);
        zk->work.data = zk;
        uv_queue_work(zk->loop, &zk->work, end_session, on_session_ended);
        return;
    }
    if (zk->handle)
        handle_close(zk);
    release(zk);
}

static void on_idle(uv_idle_t *idle)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, idle->data);

    uv_idle_stop(idle);
    zookeeper_answer_due(zk);
    if (zk->closing)
        begin_end(zk);
}

void zookeeper_due(struct zookeeper *zk)
{
    assert(zk->closing || !list_empty(&zk->due));
    uv_idle_start(&zk->idle, on_idle);
}

void zookeeper_end(struct coord *coord, void (*done)(void *arg), void *arg)
{
    struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);

    assert(!zk->closing);
    zk->closing = true;
    zk->closed = done;
    zk->closed_arg = arg;
    set_status(zk, "closing");
    zookeeper_due(zk);
}

/* ---- the beginning ---- */

static int set_root(struct zookeeper *zk, const struct zookeeper_options *options, struct error *error)
{
    const char *root = options->root ? options->root : ZOOKEEPER_ROOT;
    int n;

    if (*root == '/' && root[1] == '\0')
        root = "";
    n = snprintf(zk->root, sizeof(zk->root), "%s/%s", root, options->cluster);
    if (n >= (int)sizeof(zk->root) || !zookeeper_path_valid(zk->root) || strchr(options->cluster, '/'))
        return error_set(error, ERR_INVALID, "zookeeper: %s/%s is not a path for a cluster", root,
                         options->cluster);
    assert(zk->root[0] == '/' && zk->root[1]);
    return 0;
}

int zookeeper_set_servers(struct coord *coord, const char *servers, bool keep, struct error *error)
{
    struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
    struct zookeeper_servers_user user = {zk->random, zk->arg, on_servers_found, on_servers_looked_up, zk};
    struct zookeeper_servers *found;
    int rc = zookeeper_servers_new(&found, zk->loop, servers, &user, error);

    if (rc < 0)
        return error_prefix(error, "zookeeper: ");
    if (zk->closing) {
        zookeeper_servers_free(found);
        return 0;
    }
    zookeeper_servers_free(zk->servers);
    zk->servers = found;
    zk->failures = 0;
    zk->may_leave = !keep;
    zookeeper_servers_refresh(found);
    if (zk->state == ZOOKEEPER_WAITING)
        try_after(zk, 0);
    return 0;
}

static int check(const struct zookeeper_options *o, struct error *error)
{
    if (o->session_timeout_ms < ZOOKEEPER_TIMEOUT_MIN_MS || o->session_timeout_ms > ZOOKEEPER_TIMEOUT_MAX_MS)
        return error_set(error, ERR_INVALID, "zookeeper: a session timeout is from %d to %d ms",
                         ZOOKEEPER_TIMEOUT_MIN_MS, ZOOKEEPER_TIMEOUT_MAX_MS);
    return 0;
}

static void init_handle(struct zookeeper *zk, uv_handle_t *handle)
{
    assert(handle->loop == zk->loop);
    handle->data = zk;
    zk->open_handles++;
}

static void init(struct zookeeper *zk, uv_loop_t *loop)
{
    uv_timer_init(loop, &zk->timer);
    uv_timer_init(loop, &zk->deadline);
    uv_prepare_init(loop, &zk->prepare);
    uv_idle_init(loop, &zk->idle);
    init_handle(zk, (uv_handle_t *)&zk->timer);
    init_handle(zk, (uv_handle_t *)&zk->deadline);
    init_handle(zk, (uv_handle_t *)&zk->prepare);
    init_handle(zk, (uv_handle_t *)&zk->idle);
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    set_status(zk, "not connected yet");
    try_after(zk, 0);
    assert(zk->open_handles == 4 && zk->state == ZOOKEEPER_WAITING);
}

int zookeeper_open(struct coord **ret, uv_loop_t *loop, const struct zookeeper_options *options,
                   struct error *error)
{
    struct zookeeper *zk;
    struct zookeeper_servers_user user;
    int rc = check(options, error);

    if (rc < 0)
        return rc;
    zk = OBJECT_NEW(struct zookeeper);
    zk->coord.ops = &zookeeper_ops;
    zk->loop = loop;
    zk->loop_thread = uv_thread_self();
    zk->log = options->log;
    zk->random = options->random;
    zk->arg = options->arg;
    zk->timeout_ms = zk->granted_ms = options->session_timeout_ms;
    list_init(&zk->outstanding);
    list_init(&zk->due);
    user = (struct zookeeper_servers_user){options->random, options->arg, on_servers_found,
                                           on_servers_looked_up, zk};
    rc = set_root(zk, options, error);
    if (rc == 0) {
        rc = zookeeper_servers_new(&zk->servers, loop, options->servers, &user, error);
        if (rc < 0)
            error_prefix(error, "zookeeper: ");
    }
    if (rc < 0) {
        OBJECT_FREE(struct zookeeper, zk);
        return rc;
    }
    if (options->users)
        zk->users = *options->users;
    zk->guarded = options->guarded;
    zk->trust_open = options->trust_open;
    init(zk, loop);
    *ret = &zk->coord;
    return 0;
}
