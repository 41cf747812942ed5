/* See http.h. One listener is one listening socket and one daemon of the library, which is given connections and
 * never accepts by itself (http_connection.c). How a daemon runs is in http_core.c. TLS is in front of it, on a thread
 * (http_tls.h).
 *
 * Failures:
 *   - a client that is slow with its request: the clock shuts the socket down, the library sees the end and
 *     cleans up
 *   - a client that takes nothing: the library's idle timeout
 *   - a head that the library refuses before anything here sees it (no Host, a Content-Length that is no number):
 *     version 0.9.75 writes the head of its answer twice; it says "close", and the connection ends with it, so nobody
 *     reads the next answer in it
 *   - a handler that does not answer: the clock answers ERR_TIMEOUT in its place
 *   - a client that hangs up during a stream's pause: the clock sees it, and ends the stream
 *   - closing with connections suspended would abort the process: close answers and ends everything first, and
 *     MHD_stop_daemon runs only after a last MHD_run and after the poll handle is closed
 */
#include "cronsched/http/http_core.h"

#include "cronsched/io/file.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLOCK_MS       250
#define CLOCK_CLOSE_MS 10
#define PEM_BYTES_MAX  (256 * 1024)
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static void say(struct http *http, enum log_level level, const char *event, const char *text)
{
    if (http->log)
        http->log(http->arg, level, event, text);
}

/* ---- the clock ---- */

static void daemon_retire(struct http_daemon *d);
static void close_step(struct http *http);

static void check_daemon(struct http *http, struct http_daemon *d)
{
    uint64_t now = uv_now(http->loop);

    LIST_EACH(link, &d->connections)
    {
        http_connection_check(http, LIST_ITEM(link, struct http_connection, of_daemon), now);
    }
    http_connection_retry(d);
}

static void on_clock(uv_timer_t *timer)
{
    struct http *http = OBJECT(struct http, timer->data);

    if (http->closing) {
        close_step(http);
        return;
    }
    for (size_t i = 0; i < http->listener_count; i++)
        check_daemon(http, http->listeners[i]->daemon);
}

void http_clock_start(struct http *http)
{
    if (!http->closing)
        loop_timer_start(&http->clock, on_clock, CLOCK_MS, CLOCK_MS);
}

/* ---- daemons come and go ---- */

/* It sets options of TCP on sockets of other kinds as well, and warns of delays when that fails. */
static bool is_about_tcp_alone(const char *text)
{
    static const char *const begins[] = {"Setting TCP_", "Failed to push the data from buffers"};

    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
        if (strncmp(text, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

__attribute__((format(printf, 2, 0))) static void on_library_log(void *cls, const char *format, va_list ap)
{
    struct http *http = OBJECT(struct http, cls);
    char text[sizeof(http->trouble)];
    size_t n;

    vsnprintf(text, sizeof(text), format, ap);
    if (is_about_tcp_alone(text))
        return;
    n = strlen(text);
    if (n > 0 && text[n - 1] == '\n')
        text[n - 1] = '\0';
    snprintf(http->trouble, sizeof(http->trouble), "%s", text);
    say(http, LOG_TRACE, "http-library", http->trouble);
}

/* The target is taken apart by us. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s)
{
    return strlen(s);
}

static struct MHD_Daemon *library_start(struct http *http, struct http_daemon *d)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET;

    http->trouble[0] = '\0';
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_request, d, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, http,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_target, d, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, d, MHD_OPTION_NOTIFY_CONNECTION,
        http_connection_notify, d, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(4 * (d->connections_max + d->connections_kept)), /* ours is lower */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEADER_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((http->idle_ms + 999) / 1000), MHD_OPTION_END);
}

/* How many connections: descriptors are needed for starts and databases, too, and a connection behind TLS takes three. */
static void set_limits(struct http_daemon *d)
{
    size_t most = (size_t)d->listener->http->connections_max, share;
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        share = (size_t)(files.rlim_cur / HTTP_FILES_SHARE / (d->listener->tls ? 3 : 1));
        most = share < most ? share : most;
    }
    d->connections_max = most > 0 ? most : 1;
    d->connections_kept = d->connections_max / 16 + 1;
    if (d->connections_kept > HTTP_CONNECTIONS_KEPT)
        d->connections_kept = HTTP_CONNECTIONS_KEPT;
}

static void daemon_poll(struct http_daemon *d, uv_poll_t *poll, int fd)
{
    if (uv_poll_init(d->listener->http->loop, poll, fd) < 0)
        abort(); /* a fresh descriptor: only a bug gets here */
    poll->data = d;
}

static int daemon_start(struct http_listener *l, struct error *error)
{
    struct http_daemon *d = OBJECT_NEW(struct http_daemon);
    struct http *http = l->http;

    d->listener = l;
    list_init(&d->connections);
    set_limits(d);
    d->mhd = library_start(http, d);
    if (!d->mhd) {
        OBJECT_FREE(struct http_daemon, d);
        return error_set(error, ERR_IO, "listen: '%s': %s", l->socket.name,
                         http->trouble[0] ? http->trouble : strerror(errno));
    }
    uv_timer_init(http->loop, &d->timer);
    uv_timer_init(http->loop, &d->pause);
    loop_turn_init(&d->turn, http->loop, http_on_turn, d);
    d->timer.data = d->pause.data = d->turn.idle.data = d;
    daemon_poll(d, &d->poll, MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    daemon_poll(d, &d->listening, l->socket.fd);
    d->handles = 5;
    uv_poll_start(&d->poll, UV_READABLE, http_on_poll);
    http_connection_accept(d);
    l->daemon = d;
    http->daemon_count++;
    return 0;
}

static void daemon_gone(struct http *http)
{
    http->daemon_count--;
    if (http->closing)
        http_closed_one(http);
}

static void on_tls_closed(void *arg)
{
    struct http_listener *l = OBJECT(struct http_listener, arg);

    l->tls = NULL;
    daemon_gone(l->http);
}

static void on_daemon_handle_closed(uv_handle_t *handle)
{
    struct http_daemon *d = OBJECT(struct http_daemon, handle->data);
    struct http *http = d->listener->http;

    if (--d->handles > 0)
        return;
    MHD_stop_daemon(d->mhd); /* calls back for every request and connection that is left */
    d->listener->daemon = NULL;
    if (d->listener->tls)
        http_tls_close(d->listener->tls, on_tls_closed, d->listener);
    else
        daemon_gone(http);
    OBJECT_FREE(struct http_daemon, d);
}

/* The last of it: nothing is suspended any more. */
static void daemon_retire(struct http_daemon *d)
{
    assert(!d->running);
    d->closing = true;
    uv_close((uv_handle_t *)&d->poll, on_daemon_handle_closed);
    uv_close((uv_handle_t *)&d->timer, on_daemon_handle_closed);
    loop_turn_close(&d->turn, on_daemon_handle_closed);
}

/* ---- listeners ---- */

static void listener_free(struct http_listener *l)
{
    assert(!l->daemon && !l->tls);
    http_socket_close(&l->socket);
    OBJECT_FREE(struct http_listener, l);
}

static void on_failed_tls_closed(void *arg)
{
    struct http_listener *l = OBJECT(struct http_listener, arg);

    l->tls = NULL;
    listener_free(l);
}

static void listener_fail(struct http_listener *l)
{
    if (l->tls)
        http_tls_close(l->tls, on_failed_tls_closed, l);
    else
        listener_free(l);
}

static void warn_of_key(const struct http_listener *l)
{
    char text[512];

    if (!http_tls_key_is_readable(l->tls))
        return;
    snprintf(text, sizeof(text), "'%.400s' can be read by every user: chmod it to 0600 or 0640",
             http_tls_key_file(l->tls));
    say(l->http, LOG_WARN, "tls-key", text);
}

/* Takes the socket over, also when it fails. */
static int listener_add(struct http *http, struct http_socket *socket, const struct http_listen *options,
                        struct error *error)
{
    struct http_listener *l = OBJECT_NEW(struct http_listener);
    bool tls = options->tls_cert && !socket->is_unix;
    int r;

    l->http = http;
    l->socket = *socket;
    r = auth_check_listen(http->auth, l->socket.name, l->socket.beyond, tls, error);
    if (r == 0 && tls)
        r = http_tls_new(&l->tls, http->loop, options->tls_cert, options->tls_key, error);
    if (r == 0)
        r = daemon_start(l, error);
    if (r < 0) {
        listener_fail(l);
        return r;
    }
    if (tls)
        warn_of_key(l);
    http->listeners[http->listener_count++] = l;
    return 0;
}

int http_listen(struct http *http, const struct http_listen *options, struct error *error)
{
    struct http_socket sockets[HTTP_LISTENERS_MAX];
    size_t n = 0;
    int r;

    assert(!http->closing);
    if (!options->tls_cert != !options->tls_key)
        return error_set(error, ERR_INVALID, "tls: both a certificate and its key are needed");
    r = http_socket_open(options, sockets, HTTP_LISTENERS_MAX - http->listener_count, &n, error);
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = listener_add(http, &sockets[i], options, error);
        else
            http_socket_close(&sockets[i]);
    }
    return r;
}

int http_check_listen(const struct auth *auth, const struct http_listen *options, struct error *error)
{
    bool is_unix, beyond;
    int r = http_socket_check(options->address, &is_unix, &beyond, error);

    if (r < 0)
        return r;
    if (is_unix || !auth)
        return 0;
    return auth_check_listen(auth, options->address, beyond, options->tls_cert != NULL, error);
}

const char *http_address(const struct http *http, size_t i)
{
    return i < http->listener_count ? http->listeners[i]->socket.name : NULL;
}

const char *http_url(const struct http *http, char *ret, size_t size)
{
    for (size_t i = 0; i < http->listener_count; i++) {
        const struct http_listener *l = http->listeners[i];
        const char *port = strrchr(l->socket.name, ':'), *scheme = l->tls ? "https" : "http";
        bool any = strncmp(l->socket.name, "0.0.0.0:", 8) == 0 || strncmp(l->socket.name, "[::]:", 5) == 0;

        if (l->socket.is_unix || !port)
            continue;
        if (any)
            snprintf(ret, size, "%s://localhost%s", scheme, port);
        else
            snprintf(ret, size, "%s://%s", scheme, l->socket.name);
        return ret;
    }
    return NULL;
}

int64_t http_certificate_expires_ms(const struct http *http)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < http->listener_count; i++)
        if (http->listeners[i]->tls && http_tls_expires_ms(http->listeners[i]->tls) < least)
            least = http_tls_expires_ms(http->listeners[i]->tls);
    return least;
}

int http_reload(struct http *http, struct error *error)
{
    int r = 0;

    for (size_t i = 0; i < http->listener_count && !http->closing && r == 0; i++)
        if (http->listeners[i]->tls) {
            r = http_tls_reload(http->listeners[i]->tls, error);
            warn_of_key(http->listeners[i]);
        }
    return r;
}

void http_judge_again(struct http *http)
{
    for (size_t i = 0; i < http->listener_count; i++) {
        struct http_daemon *d = http->listeners[i]->daemon;

        if (!d)
            continue;
        LIST_EACH(link, &d->connections)
        {
            struct http_request *r = LIST_ITEM(link, struct http_connection, of_daemon)->request;

            if (r && r->stream && !auth_still(http->auth, &r->identity, r->entry->route->role))
                http_stream_cut(r->stream);
        }
    }
}

/* ---- the server ---- */

int http_new(struct http **ret, const struct http_options *options, struct error *error)
{
    struct worker_options bodies = {.name = "bodies", .threads = 1};
    struct http *http = calloc(1, sizeof(*http));
    int r;

    if (!http)
        return error_set(error, ERR_NOMEM, "out of memory");
    OBJECT_INIT(struct http, http);
    r = worker_new(&http->bodies, options->loop, &bodies, error);
    if (r < 0) {
        OBJECT_FREE(struct http, http);
        return r;
    }
    http->loop = options->loop;
    http->auth = options->auth;
    http->view = options->view;
    http->log = options->log;
    http->arg = options->arg;
    http->connections_max = options->connections_max ? options->connections_max : HTTP_CONNECTIONS_MAX;
    http->address_max = options->address_max ? options->address_max : HTTP_ADDRESS_CONNECTIONS_MAX;
    http->idle_ms = (uint64_t)(options->idle_ms ? options->idle_ms : HTTP_IDLE_MS);
    http->receive_ms = (uint64_t)(options->receive_ms ? options->receive_ms : HTTP_RECEIVE_MS);
    http->first_ms = (uint64_t)(options->first_ms ? options->first_ms : HTTP_FIRST_MS);
    http->answer_ms = (uint64_t)(options->answer_ms ? options->answer_ms : HTTP_ANSWER_MS);
    uv_timer_init(http->loop, &http->clock);
    http->clock.data = http;
    http->handles = 4;
    http_ready_init(http);
    *ret = http;
    return 0;
}

int http_add_routes(struct http *http, const struct http_route *routes, size_t count, void *arg,
                    struct error *error)
{
    if (count > HTTP_ROUTES_MAX - http->entry_count)
        return error_set(error, ERR_LIMIT, "more than %d routes", HTTP_ROUTES_MAX);
    for (size_t i = 0; i < count; i++)
        http->entries[http->entry_count++] = (struct http_entry){.route = &routes[i], .arg = arg};
    return 0;
}

/* ---- closing ---- */

static void on_part_closed(void *arg)
{
    struct http *http = OBJECT(struct http, arg);

    if (--http->handles > 0)
        return;
    for (size_t i = 0; i < http->listener_count; i++)
        listener_free(http->listeners[i]);
    http->closed(http->closed_arg);
    OBJECT_FREE(struct http, http);
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void http_free(struct http *http)
{
    worker_close(http->bodies, on_part_closed, http);
    uv_close((uv_handle_t *)&http->clock, on_handle_closed);
    http_ready_close(http, on_handle_closed);
}

/* Everything that waits is ended; a reply on its way continues. */
static void end_connection(struct http_connection *c)
{
    struct http_request *r = c->request;

    if (!r || r->phase == HTTP_HEADERS || r->phase == HTTP_BODY) {
        shutdown(c->fd, SHUT_RDWR);
        return;
    }
    if (r->phase == HTTP_HANDLING)
        http_reply_error(r, ERR_CANCELLED, "this server is stopping");
    if (r->stream)
        http_stream_cut(r->stream);
}

static void close_daemon(struct http_daemon *d, bool late)
{
    if (d->closing)
        return;
    LIST_EACH(link, &d->connections)
    {
        end_connection(LIST_ITEM(link, struct http_connection, of_daemon));
    }
    http_daemon_run(d); /* takes up what was resumed, so that nothing is suspended any more */
    if (late || list_empty(&d->connections))
        daemon_retire(d);
}

void http_closed_one(struct http *http)
{
    if (http->daemon_count == 0 && http->bodies_under_way == 0 && !uv_is_closing((uv_handle_t *)&http->clock))
        http_free(http);
}

static void close_step(struct http *http)
{
    bool late = uv_now(http->loop) >= http->close_by_ms;

    for (size_t i = 0; i < http->listener_count; i++)
        if (http->listeners[i]->daemon)
            close_daemon(http->listeners[i]->daemon, late);
    http_closed_one(http);
}

void http_close(struct http *http, void (*done)(void *arg), void *arg)
{
    assert(!http->closing);
    http->closing = true;
    http->closed = done;
    http->closed_arg = arg;
    http->close_by_ms = uv_now(http->loop) + HTTP_CLOSE_MS;
    for (size_t i = 0; i < http->listener_count; i++) {
        struct http_listener *l = http->listeners[i];

        uv_close((uv_handle_t *)&l->daemon->listening, on_daemon_handle_closed);
        uv_close((uv_handle_t *)&l->daemon->pause, on_daemon_handle_closed);
        close(l->socket.fd); /* after libuv has taken it out of its set */
        l->socket.fd = -1;
    }
    loop_timer_start(&http->clock, on_clock, 0, CLOCK_CLOSE_MS);
}
