/* See http.h. One listener is one listening socket and one or, for the time of a certificate's change, two
 * daemons of the library, each with its own duplicate of the socket. How a daemon runs is in http_core.c.
 *
 * Failures:
 *   - a client that is slow with its request: the clock shuts the socket down, the library sees the end and
 *     cleans up
 *   - a client that takes nothing: the library's idle timeout
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

/* ---- connections ---- */

static void on_clock(uv_timer_t *timer);

static int fd_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

    return info ? info->connect_fd : -1;
}

static void connection_open(struct http_daemon *d, struct MHD_Connection *mhd, void **context)
{
    struct http *http = d->listener->http;
    struct http_connection *c = calloc(1, sizeof(*c));

    *context = c; /* without memory the first request is refused */
    if (!c)
        return;
    OBJECT_INIT(struct http_connection, c);
    c->daemon = d;
    c->fd = fd_of(mhd);
    c->since_ms = uv_now(http->loop);
    list_append(&d->connections, &c->of_daemon);
    http->accepted++;
    if (http->connection_count++ == 0 && !http->closing)
        loop_timer_start(&http->clock, on_clock, CLOCK_MS, CLOCK_MS);
}

static void connection_close(struct http_connection *c)
{
    struct http *http = c->daemon->listener->http;

    list_remove(&c->of_daemon);
    http_daemon_wake(c->daemon); /* at its limit the library accepts again in the run after this one only */
    if (--http->connection_count == 0 && !http->closing)
        uv_timer_stop(&http->clock);
    OBJECT_FREE(struct http_connection, c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_open(OBJECT(struct http_daemon, cls), mhd, context);
    else if (*context)
        connection_close(OBJECT(struct http_connection, *context));
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

static void check_connection(struct http *http, struct http_connection *c, uint64_t now)
{
    struct http_request *r = c->request;

    if (!r) {
        if (now - c->since_ms >= http->idle_ms)
            shutdown(c->fd, SHUT_RDWR);
        return;
    }
    switch (r->phase) {
    case HTTP_HEADERS:
    case HTTP_BODY:
        if (now - r->begun_ms >= http->receive_ms)
            shutdown(c->fd, SHUT_RDWR);
        return;
    case HTTP_HANDLING:
        if (!r->answered && now - r->handled_ms >= answer_ms(http, r))
            http_reply_error(r, ERR_TIMEOUT, "no answer within %llu ms; what was asked may still happen",
                             (unsigned long long)answer_ms(http, r));
        return;
    case HTTP_SENDING:
        if (r->stream && r->stream->suspended && hung_up(c->fd)) {
            shutdown(c->fd, SHUT_RDWR);
            http_stream_cut(r->stream);
        }
        return;
    case HTTP_DONE:
        return;
    }
}

static void daemon_retire(struct http_daemon *d);
static void close_step(struct http *http);

static void check_daemon(struct http *http, struct http_daemon *d)
{
    uint64_t now = uv_now(http->loop);

    LIST_EACH(link, &d->connections)
    {
        check_connection(http, LIST_ITEM(link, struct http_connection, of_daemon), now);
    }
    if (d->retired && !d->closing && list_empty(&d->connections))
        daemon_retire(d);
}

static void on_clock(uv_timer_t *timer)
{
    struct http *http = OBJECT(struct http, timer->data);

    if (http->closing) {
        close_step(http);
        return;
    }
    for (size_t i = 0; i < http->listener_count; i++) {
        LIST_EACH(link, &http->listeners[i]->daemons)
        {
            check_daemon(http, LIST_ITEM(link, struct http_daemon, of_listener));
        }
    }
}

/* ---- daemons come and go ---- */

__attribute__((format(printf, 2, 0))) static void on_library_log(void *cls, const char *format, va_list ap)
{
    struct http *http = OBJECT(struct http, cls);
    size_t n;

    vsnprintf(http->trouble, sizeof(http->trouble), format, ap);
    n = strlen(http->trouble);
    if (n > 0 && http->trouble[n - 1] == '\n')
        http->trouble[n - 1] = '\0';
    say(http, LOG_TRACE, "http-library", http->trouble);
}

/* The target is taken apart by us. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s)
{
    return strlen(s);
}

static struct MHD_Daemon *library_start(struct http *http, struct http_daemon *d, int fd)
{
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, d->cert},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, d->key},
                                   {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
                                   {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (d->cert ? MHD_USE_TLS : 0);

    http->trouble[0] = '\0';
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_request, d, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, http_on_target, d,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, d,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, d, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)http->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_HEADER_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((http->idle_ms + 999) / 1000), MHD_OPTION_ARRAY, d->cert ? tls : &tls[3], MHD_OPTION_END);
}

static void daemon_free(struct http_daemon *d)
{
    if (d->key)
        explicit_bzero(d->key, strlen(d->key));
    free(d->key);
    free(d->cert);
    OBJECT_FREE(struct http_daemon, d);
}

static struct http_daemon *daemon_new(const char *cert, const char *key)
{
    struct http_daemon *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    OBJECT_INIT(struct http_daemon, d);
    if (!cert)
        return d;
    d->cert = strdup(cert);
    d->key = strdup(key);
    if (d->cert && d->key)
        return d;
    daemon_free(d);
    return NULL;
}

static int daemon_start(struct http_listener *l, const char *cert, const char *key, struct error *error)
{
    struct http_daemon *d = daemon_new(cert, key);
    struct http *http = l->http;
    const union MHD_DaemonInfo *info;
    int fd;

    if (!d)
        return error_set(error, ERR_NOMEM, "out of memory");
    d->listener = l;
    list_init(&d->connections);
    fd = fcntl(l->socket.fd, F_DUPFD_CLOEXEC, 0);
    d->mhd = fd < 0 ? NULL : library_start(http, d, fd);
    if (!d->mhd) {
        const char *why = http->trouble[0] ? http->trouble : strerror(errno);
        int code = cert ? ERR_INVALID : ERR_IO;

        error_set(error, code, "listen: '%s': %s", l->socket.name, why);
        if (fd >= 0)
            close(fd);
        daemon_free(d);
        return code;
    }
    info = MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    uv_timer_init(http->loop, &d->timer);
    d->timer.data = d;
    if (uv_poll_init(http->loop, &d->poll, info->epoll_fd) < 0)
        abort(); /* a fresh epoll descriptor: only a bug gets here */
    d->poll.data = d;
    loop_turn_init(&d->turn, http->loop, http_on_turn, d);
    d->turn.idle.data = d;
    d->handles = 3;
    uv_poll_start(&d->poll, UV_READABLE, http_on_poll);
    list_append(&l->daemons, &d->of_listener);
    http->daemon_count++;
    return 0;
}

/* Accepts no more; what is under way goes on. */
static void daemon_quiesce(struct http_daemon *d)
{
    int fd;

    if (d->retired)
        return;
    d->retired = true;
    fd = MHD_quiesce_daemon(d->mhd);
    if (fd >= 0)
        close(fd);
}

static void http_free(struct http *http);

static void on_daemon_handle_closed(uv_handle_t *handle)
{
    struct http_daemon *d = OBJECT(struct http_daemon, handle->data);
    struct http *http = d->listener->http;

    if (--d->handles > 0)
        return;
    MHD_stop_daemon(d->mhd); /* calls back for every request and connection that is left */
    list_remove(&d->of_listener);
    daemon_free(d);
    if (--http->daemon_count == 0 && http->closing)
        http_free(http);
}

/* The last of it: nothing is suspended any more. */
static void daemon_retire(struct http_daemon *d)
{
    assert(!d->running);
    daemon_quiesce(d);
    d->closing = true;
    uv_close((uv_handle_t *)&d->poll, on_daemon_handle_closed);
    uv_close((uv_handle_t *)&d->timer, on_daemon_handle_closed);
    loop_turn_close(&d->turn, on_daemon_handle_closed);
}

/* ---- listeners ---- */

static int read_pem(const char *file, const char *what, char **ret, struct error *error)
{
    struct error why;

    if (file_read(file, PEM_BYTES_MAX, 0, ret, NULL, &why) < 0)
        return error_set(error, ERR_IO, "tls: %s '%s': %s", what, file, why.text);
    return 0;
}

static void tls_release(struct http_tls *tls)
{
    if (tls->key)
        explicit_bzero(tls->key, strlen(tls->key));
    free(tls->cert_file);
    free(tls->key_file);
    free(tls->cert);
    free(tls->key);
    *tls = (struct http_tls){0};
}

static int tls_read(struct http_tls *tls, const char *cert_file, const char *key_file, struct error *error)
{
    struct http_tls t = {0};
    int r;

    t.cert_file = strdup(cert_file);
    t.key_file = strdup(key_file);
    r = t.cert_file && t.key_file ? 0 : error_set(error, ERR_NOMEM, "out of memory");
    if (r == 0)
        r = read_pem(cert_file, "the certificate", &t.cert, error);
    if (r == 0)
        r = read_pem(key_file, "the key", &t.key, error);
    if (r < 0)
        tls_release(&t);
    else
        *tls = t;
    return r;
}

static void listener_free(struct http_listener *l)
{
    assert(list_empty(&l->daemons));
    http_socket_close(&l->socket);
    tls_release(&l->tls);
    free(l);
}

/* Takes the socket over, also when it fails. */
static int listener_add(struct http *http, struct http_socket *socket, const struct http_listen *options,
                        struct error *error)
{
    struct http_listener *l = calloc(1, sizeof(*l));
    bool tls = options->tls_cert && !socket->is_unix;
    int r;

    if (!l) {
        http_socket_close(socket);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    l->http = http;
    l->socket = *socket;
    list_init(&l->daemons);
    r = auth_check_listen(http->auth, l->socket.name, l->socket.beyond, tls, error);
    if (r == 0 && tls)
        r = tls_read(&l->tls, options->tls_cert, options->tls_key, error);
    if (r == 0)
        r = daemon_start(l, l->tls.cert, l->tls.key, error);
    if (r < 0) {
        listener_free(l);
        return r;
    }
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

const char *http_address(const struct http *http, size_t i)
{
    return i < http->listener_count ? http->listeners[i]->socket.name : NULL;
}

static int listener_reload(struct http_listener *l, struct error *error)
{
    struct http_tls fresh;
    int r = tls_read(&fresh, l->tls.cert_file, l->tls.key_file, error);

    if (r < 0)
        return r;
    if (strcmp(fresh.cert, l->tls.cert) != 0 || strcmp(fresh.key, l->tls.key) != 0) {
        struct list *old = l->daemons.prev;

        r = daemon_start(l, fresh.cert, fresh.key, error);
        if (r == 0) {
            struct http_daemon *d = LIST_ITEM(old, struct http_daemon, of_listener);
            struct http_tls keep = l->tls;

            l->tls = fresh;
            fresh = keep;
            daemon_quiesce(d);
            if (list_empty(&d->connections))
                daemon_retire(d);
        }
    }
    tls_release(&fresh);
    return r;
}

int http_reload(struct http *http, struct error *error)
{
    int r = 0;

    for (size_t i = 0; i < http->listener_count && !http->closing && r == 0; i++)
        if (http->listeners[i]->tls.cert)
            r = listener_reload(http->listeners[i], error);
    return r;
}

void http_judge_again(struct http *http)
{
    for (size_t i = 0; i < http->listener_count; i++) {
        LIST_EACH(of_listener, &http->listeners[i]->daemons)
        {
            struct http_daemon *d = LIST_ITEM(of_listener, struct http_daemon, of_listener);

            LIST_EACH(of_daemon, &d->connections)
            {
                struct http_request *r = LIST_ITEM(of_daemon, struct http_connection, of_daemon)->request;

                if (r && r->stream && !auth_still(http->auth, &r->identity, r->entry->route->role))
                    http_stream_cut(r->stream);
            }
        }
    }
}

/* ---- the server ---- */

/* Starts and databases need descriptors, too. */
static int connections_most(int asked)
{
    struct rlimit files;
    rlim_t share;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return asked;
    share = files.rlim_cur / HTTP_FILES_SHARE;
    if (share >= (rlim_t)asked)
        return asked;
    return share > 0 ? (int)share : 1;
}

int http_new(struct http **ret, const struct http_options *options, struct error *error)
{
    struct http *http = calloc(1, sizeof(*http));

    if (!http)
        return error_set(error, ERR_NOMEM, "out of memory");
    OBJECT_INIT(struct http, http);
    http->loop = options->loop;
    http->auth = options->auth;
    http->log = options->log;
    http->arg = options->arg;
    http->connections_max =
        connections_most(options->connections_max ? options->connections_max : HTTP_CONNECTIONS_MAX);
    http->idle_ms = (uint64_t)(options->idle_ms ? options->idle_ms : HTTP_IDLE_MS);
    http->receive_ms = (uint64_t)(options->receive_ms ? options->receive_ms : HTTP_RECEIVE_MS);
    http->answer_ms = (uint64_t)(options->answer_ms ? options->answer_ms : HTTP_ANSWER_MS);
    uv_timer_init(http->loop, &http->clock);
    http->clock.data = http;
    http->handles = 3;
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

static void on_handle_closed(uv_handle_t *handle)
{
    struct http *http = OBJECT(struct http, handle->data);

    if (--http->handles > 0)
        return;
    for (size_t i = 0; i < http->listener_count; i++)
        listener_free(http->listeners[i]);
    http->closed(http->closed_arg);
    OBJECT_FREE(struct http, http);
}

static void http_free(struct http *http)
{
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
    daemon_quiesce(d);
    LIST_EACH(link, &d->connections)
    {
        end_connection(LIST_ITEM(link, struct http_connection, of_daemon));
    }
    http_daemon_run(d); /* takes up what was resumed, so that nothing is suspended any more */
    if (late || list_empty(&d->connections))
        daemon_retire(d);
}

static void close_step(struct http *http)
{
    bool late = uv_now(http->loop) >= http->close_by_ms;

    for (size_t i = 0; i < http->listener_count; i++) {
        LIST_EACH(link, &http->listeners[i]->daemons)
        {
            close_daemon(LIST_ITEM(link, struct http_daemon, of_listener), late);
        }
    }
    if (http->daemon_count == 0 && !uv_is_closing((uv_handle_t *)&http->clock))
        http_free(http);
}

void http_close(struct http *http, void (*done)(void *arg), void *arg)
{
    assert(!http->closing);
    http->closing = true;
    http->closed = done;
    http->closed_arg = arg;
    http->close_by_ms = uv_now(http->loop) + HTTP_CLOSE_MS;
    for (size_t i = 0; i < http->listener_count; i++) {
        struct http_socket *s = &http->listeners[i]->socket;

        if (s->fd >= 0)
            close(s->fd); /* the daemons' duplicates go in the first step */
        s->fd = -1;
    }
    loop_timer_start(&http->clock, on_clock, 0, CLOCK_CLOSE_MS);
}
