/* See http_tls.h. The loop puts a connection into `fresh` and wakes the thread by its eventfd; everything else of a
 * connection belongs to the thread. A connection is in one phase and moves downwards only:
 *
 *   HANDSHAKE  until SSL_accept has done its work
 *   RELAY      both ways, a buffer each; a way that cannot go on stops reading, so what waits is bounded
 *   LINGER     the server has closed and all was sent: what the client still sends is thrown away for a moment, since
 *              a close with unread bytes would take back what it has not read yet
 *
 * Failures: any error of the client's ends the connection, which the server sees as the end of its socket. A server
 * that closes its end while the client takes nothing: HTTP_TLS_DRAIN_MS.
 */
#include "cronsched/http/http_tls.h"

#include "cronsched/http/http.h"
#include "cronsched/io/file.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PEM_BYTES_MAX  (256 * 1024)
#define BUFFER_BYTES   (16 * 1024) /* one TLS record */
#define ROUNDS_MAX     8           /* of one connection before the others have their turn */
#define EVENTS_MAX     64
#define LOOK_MS        100 /* how often deadlines are looked at, while there are any */
#define CIPHERS_OF_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS         "X25519:P-256"

enum phase { HANDSHAKE, RELAY, LINGER, DEAD };

struct buffer {
    char *bytes; /* BUFFER_BYTES, or NULL while it is empty */
    size_t at, len;
};

struct end { /* of a connection: what an event is about */
    struct connection *connection;
    int fd;
    uint32_t wants, has; /* events: to be waited for, waited for now */
    bool polled;
};

struct connection {
    struct list link;
    struct http_tls *tls;
    enum phase phase;
    SSL *ssl;
    struct end client, server;
    struct buffer in, out;       /* from the client, to the client */
    bool client_eof, server_eof; /* no more bytes come from there */
    bool told_server;            /* that no more come from the client */
    bool begun;                  /* its first byte was looked at */
    uint64_t due_ms;             /* 0: no deadline */
};

struct http_tls {
    struct object object; /* first */
    uv_loop_t *loop;
    char *cert_file, *key_file, *cert, *key;
    SSL_CTX *context; /* for the next connections */
    bool key_is_readable;
    int64_t expires_ms; /* the certificate of `context` */
    uv_thread_t thread;
    uv_async_t ended;
    void (*closed)(void *arg);
    void *closed_arg;
    int epoll, wake;

    uv_mutex_t mutex; /* guards these two */
    struct list fresh;
    bool stopping;

    atomic_size_t count; /* connections, fresh ones too */
    atomic_uint_least64_t handshakes, failed;

    /* the thread's own */
    struct list connections, dead;
    size_t due_count; /* with a deadline */
    uint64_t stop_by_ms, looked_ms;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* ---- a connection's end ---- */

static void connection_free(struct connection *c)
{
    list_remove(&c->link);
    SSL_free(c->ssl);
    if (c->client.fd >= 0)
        close(c->client.fd);
    if (c->server.fd >= 0)
        close(c->server.fd);
    free(c->in.bytes);
    free(c->out.bytes);
    atomic_fetch_sub(&c->tls->count, 1);
    free(c);
}

static void connection_due(struct connection *c, uint64_t after_ms)
{
    c->tls->due_count += c->due_ms == 0;
    c->due_ms = now_ms() + after_ms;
}

/* It is freed when nobody looks at it any more: events of this batch may still name it. */
static void connection_kill(struct connection *c)
{
    if (c->phase == HANDSHAKE)
        atomic_fetch_add(&c->tls->failed, 1);
    if (c->phase == DEAD)
        return;
    c->tls->due_count -= c->due_ms != 0;
    c->phase = DEAD;
    list_remove(&c->link);
    list_append(&c->tls->dead, &c->link);
}

/* ---- what is waited for ---- */

static void end_poll(struct http_tls *t, struct end *e)
{
    struct epoll_event event = {.events = e->wants, .data.ptr = e};

    if (e->polled && e->has == e->wants)
        return;
    if (epoll_ctl(t->epoll, e->polled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e->fd, &event) < 0)
        connection_kill(e->connection);
    e->polled = true;
    e->has = e->wants;
}

/* A descriptor whose other end is gone is ready for ever, whatever is asked of it. */
static void end_forget(struct http_tls *t, struct end *e)
{
    if (e->polled)
        epoll_ctl(t->epoll, EPOLL_CTL_DEL, e->fd, NULL);
    e->polled = false;
}

/* What OpenSSL waits for; false: an error, or the end. */
static bool ssl_waits(struct connection *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        c->client.wants |= EPOLLIN;
        return true;
    case SSL_ERROR_WANT_WRITE:
        c->client.wants |= EPOLLOUT;
        return true;
    default:
        return false;
    }
}

/* ---- moving bytes: each tells whether it got on ---- */

static bool buffer_ready(struct buffer *b)
{
    if (!b->bytes)
        b->bytes = malloc(BUFFER_BYTES);
    b->at = b->len = 0;
    return b->bytes != NULL;
}

static void buffer_empty(struct buffer *b)
{
    if (b->bytes)
        explicit_bzero(b->bytes, b->len); /* a token may be in it */
    free(b->bytes);
    *b = (struct buffer){0};
}

static bool read_client(struct connection *c)
{
    int n;

    if (c->client_eof || c->in.len > 0)
        return false;
    if (!buffer_ready(&c->in)) {
        connection_kill(c);
        return false;
    }
    ERR_clear_error();
    n = SSL_read(c->ssl, c->in.bytes, BUFFER_BYTES);
    if (n > 0) {
        c->in.len = (size_t)n;
        return true;
    }
    buffer_empty(&c->in);
    if (ssl_waits(c, n))
        return false;
    c->client_eof = true; /* well or badly: a request that is cut short is one to the server, too */
    return true;
}

static bool write_server(struct connection *c)
{
    ssize_t n;

    if (c->in.len > 0) {
        n = send(c->server.fd, c->in.bytes + c->in.at, c->in.len - c->in.at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            c->server.wants |= EPOLLOUT;
            return false;
        }
        if (n > 0)
            c->in.at += (size_t)n;
        if (n < 0)
            c->client_eof = true; /* nobody is there to read it */
        if (n < 0 || c->in.at == c->in.len)
            buffer_empty(&c->in);
        return true;
    }
    if (!c->client_eof || c->told_server)
        return false;
    c->told_server = true;
    shutdown(c->server.fd, SHUT_WR);
    return true;
}

static bool read_server(struct connection *c)
{
    ssize_t n;

    if (c->server_eof || c->out.len > 0)
        return false;
    if (!buffer_ready(&c->out)) {
        connection_kill(c);
        return false;
    }
    n = recv(c->server.fd, c->out.bytes, BUFFER_BYTES, MSG_DONTWAIT);
    if (n > 0) {
        c->out.len = (size_t)n;
        return true;
    }
    buffer_empty(&c->out);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        c->server.wants |= EPOLLIN;
        return false;
    }
    c->server_eof = true;
    return true;
}

static bool write_client(struct connection *c)
{
    int n;

    if (c->out.len == 0)
        return false;
    ERR_clear_error();
    n = SSL_write(c->ssl, c->out.bytes + c->out.at, (int)(c->out.len - c->out.at));
    if (n > 0) {
        c->out.at += (size_t)n;
        if (c->out.at == c->out.len)
            buffer_empty(&c->out);
        return true;
    }
    if (!ssl_waits(c, n))
        connection_kill(c);
    return false;
}

/* ---- a connection's turn ---- */

static void begin_linger(struct connection *c)
{
    ERR_clear_error();
    if (c->phase == RELAY)
        SSL_shutdown(c->ssl);
    shutdown(c->client.fd, SHUT_WR);
    c->phase = LINGER;
    connection_due(c, HTTP_TLS_LINGER_MS);
    end_forget(c->tls, &c->server);
    close(c->server.fd);
    c->server.fd = -1;
}

static void linger(struct connection *c)
{
    char sink[4096];
    ssize_t n = 1;

    for (int i = 0; i < ROUNDS_MAX && n > 0; i++)
        n = recv(c->client.fd, sink, sizeof(sink), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        connection_kill(c);
}

/* The first byte: OpenSSL is not asked before it is there, or it might take it. -1: not yet; 0: none will come. */
static int first_byte(struct connection *c)
{
    unsigned char first;
    ssize_t n = recv(c->client.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    c->begun = true;
    return n == 1 ? first : 0;
}

static void refuse_plain_http(struct connection *c)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"code\":\"invalid\",\"text\":\"this address is https: write https:// before "
        "it\"}}\n";

    if (send(c->client.fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        ERR_clear_error(); /* it has gone */
    atomic_fetch_add(&c->tls->failed, 1);
    begin_linger(c);
}

static void shake_hands(struct connection *c)
{
    int r = c->begun ? 0 : first_byte(c);

    if (r < 0) {
        c->client.wants |= EPOLLIN;
        return;
    }
    if (r >= 'A' &&
        r <= 'Z') { /* a method, where TLS would begin with a 22: somebody wrote http:// for https:// */
        refuse_plain_http(c);
        return;
    }
    ERR_clear_error();
    r = SSL_accept(c->ssl);
    if (r == 1) {
        c->phase = RELAY;
    } else if (!ssl_waits(c, r)) {
        atomic_fetch_add(&c->tls->failed, 1);
        begin_linger(c); /* the client should see why */
    }
}

static void relay(struct connection *c)
{
    bool moved = true;

    for (int i = 0; i < ROUNDS_MAX && moved && c->phase == RELAY; i++) {
        moved = read_client(c);
        moved = (c->phase == RELAY && write_server(c)) || moved;
        moved = (c->phase == RELAY && read_server(c)) || moved;
        moved = (c->phase == RELAY && write_client(c)) || moved;
        if (c->phase == RELAY && c->server_eof && c->out.len == 0) {
            begin_linger(c);
            return;
        }
    }
    /* There may be more inside OpenSSL, of which the kernel knows nothing: a socket that can be written is an event. */
    if (moved && c->phase == RELAY && c->server.polled)
        c->server.wants |= EPOLLOUT;
    else if (moved && c->phase == RELAY)
        c->client.wants |= EPOLLOUT;
}

static void connection_turn(struct connection *c)
{
    struct http_tls *t = c->tls;

    c->client.wants = c->server.wants = 0;
    if (c->phase == HANDSHAKE)
        shake_hands(c);
    if (c->phase == RELAY)
        relay(c);
    if (c->phase == LINGER) {
        c->client.wants = EPOLLIN;
        linger(c);
    }
    if (c->phase != DEAD)
        end_poll(t, &c->client);
    if (c->phase == HANDSHAKE || (c->phase == RELAY && !c->due_ms))
        end_poll(t, &c->server);
}

static void on_event(struct end *e, uint32_t events)
{
    struct connection *c = e->connection;

    if (c->phase == DEAD)
        return;
    if (e == &c->server && (events & (EPOLLHUP | EPOLLERR))) {
        if (c->phase == HANDSHAKE) {
            connection_kill(c);
            return;
        }
        end_forget(c->tls, e);
        connection_due(c, HTTP_TLS_DRAIN_MS);
    }
    if (e == &c->client && (events & (EPOLLHUP | EPOLLERR))) { /* gone both ways */
        connection_kill(c);
        return;
    }
    connection_turn(c);
}

/* ---- the thread ---- */

static void take_fresh(struct http_tls *t, bool *ret_stop)
{
    struct list fresh;

    list_init(&fresh);
    uv_mutex_lock(&t->mutex);
    while (!list_empty(&t->fresh)) {
        struct list *link = t->fresh.next;

        list_remove(link);
        list_append(&fresh, link);
    }
    *ret_stop = t->stopping;
    uv_mutex_unlock(&t->mutex);
    while (!list_empty(&fresh)) {
        struct connection *c = LIST_ITEM(fresh.next, struct connection, link);

        list_remove(&c->link);
        list_append(&t->connections, &c->link);
        connection_turn(c);
    }
}

static void look_at_deadlines(struct http_tls *t, bool stopping)
{
    uint64_t now = now_ms();

    if (now - t->looked_ms < LOOK_MS)
        return;
    t->looked_ms = now;
    LIST_EACH_SAFE(link, &t->connections)
    {
        struct connection *c = LIST_ITEM(link, struct connection, link);

        if ((c->due_ms && now >= c->due_ms) || (stopping && now >= t->stop_by_ms))
            connection_kill(c);
    }
}

static void free_dead(struct http_tls *t)
{
    while (!list_empty(&t->dead))
        connection_free(LIST_ITEM(t->dead.next, struct connection, link));
}

static void run(void *arg)
{
    struct http_tls *t = OBJECT(struct http_tls, arg);
    struct epoll_event events[EVENTS_MAX];
    bool stopping = false;
    uint64_t count;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        int n = epoll_wait(t->epoll, events, EVENTS_MAX, t->due_count > 0 || stopping ? LOOK_MS : -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else if (read(t->wake, &count, sizeof(count)) > 0)
                take_fresh(t, &stopping);
        }
        if (stopping && !t->stop_by_ms)
            t->stop_by_ms = now_ms() + HTTP_TLS_CLOSE_MS;
        look_at_deadlines(t, stopping);
        free_dead(t);
        if (stopping && list_empty(&t->connections))
            break;
    }
    uv_async_send(&t->ended);
}

static void wake(struct http_tls *t)
{
    uint64_t one = 1;

    while (write(t->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* ---- certificates ---- */

static int read_pem(const char *file, const char *what, char **ret, struct error *error)
{
    struct error why;

    if (file_read(file, PEM_BYTES_MAX, FILE_REGULAR, ret, NULL, &why) < 0)
        return error_set(error, ERR_IO, "tls: %s '%s': %s", what, file, why.text);
    return 0;
}

static void key_free(char *key)
{
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
}

/* OpenSSL would ask at the terminal. */
static int no_password(char *buffer, int size, int writing, void *arg)
{
    return -1;
}

static bool use_chain(SSL_CTX *context, BIO *bio)
{
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    bool ok = cert && SSL_CTX_use_certificate(context, cert) == 1;

    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        ok = SSL_CTX_add0_chain_cert(context, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    return ok; /* what ends the loop is the end of the file */
}

static bool use_key(SSL_CTX *context, BIO *bio)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    bool ok = key && SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;

    EVP_PKEY_free(key);
    return ok;
}

static void set_policy(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, CIPHERS_OF_1_2);
    SSL_CTX_set1_groups_list(context, GROUPS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
}

/* INT64_MAX: it has no end that can be read. */
static int64_t expiry_ms(SSL_CTX *context)
{
    const X509 *cert = SSL_CTX_get0_certificate(context);
    struct tm tm;

    if (!cert || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
        return INT64_MAX;
    return (int64_t)timegm(&tm) * 1000;
}

static int context_new(SSL_CTX **ret, const struct http_tls *t, const char *cert, const char *key,
                       struct error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    BIO *cert_bio = BIO_new_mem_buf(cert, -1), *key_bio = BIO_new_mem_buf(key, -1);
    int r = context && cert_bio && key_bio ? 0 : error_set(error, ERR_NOMEM, "out of memory");

    ERR_clear_error();
    if (r == 0 && !use_chain(context, cert_bio))
        r = error_set(error, ERR_INVALID, "tls: '%s' has no certificate that can be used", t->cert_file);
    if (r == 0 && !use_key(context, key_bio))
        r = error_set(error, ERR_INVALID, "tls: '%s' has no key of that certificate, or one with a password",
                      t->key_file);
    ERR_clear_error();
    BIO_free(cert_bio);
    BIO_free(key_bio);
    if (r < 0) {
        SSL_CTX_free(context);
        return r;
    }
    set_policy(context);
    *ret = context;
    return 0;
}

int http_tls_reload(struct http_tls *t, struct error *error)
{
    char *cert = NULL, *key = NULL;
    SSL_CTX *context;
    struct stat st;
    int r = read_pem(t->cert_file, "the certificate", &cert, error);

    r = r < 0 ? r : read_pem(t->key_file, "the key", &key, error);
    t->key_is_readable = stat(t->key_file, &st) == 0 && (st.st_mode & S_IROTH);
    if (r == 0 && t->context && strcmp(cert, t->cert) == 0 && strcmp(key, t->key) == 0) {
        free(cert);
        key_free(key);
        return 0;
    }
    r = r < 0 ? r : context_new(&context, t, cert, key, error);
    if (r < 0) {
        free(cert);
        key_free(key);
        return r;
    }
    SSL_CTX_free(t->context);
    free(t->cert);
    key_free(t->key);
    t->context = context;
    t->expires_ms = expiry_ms(context);
    t->cert = cert;
    t->key = key;
    return 0;
}

int http_check_certificate(const char *cert_file, const char *key_file, struct error *error)
{
    struct http_tls t = {.cert_file = strdup(cert_file), .key_file = strdup(key_file)};
    int r = t.cert_file && t.key_file ? http_tls_reload(&t, error)
                                      : error_set(error, ERR_NOMEM, "out of memory");

    SSL_CTX_free(t.context);
    free(t.cert);
    key_free(t.key);
    free(t.cert_file);
    free(t.key_file);
    return r;
}

int http_check_authorities(const char *ca_file, struct error *error)
{
    char *text = NULL;
    X509 *cert = NULL;
    BIO *bio;
    int r = read_pem(ca_file, "the authorities", &text, error);

    if (r < 0)
        return r;
    bio = BIO_new_mem_buf(text, -1);
    if (bio)
        cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    if (!cert)
        r = error_set(error, ERR_INVALID, "tls: '%s' has no certificate that can be used", ca_file);
    ERR_clear_error();
    X509_free(cert);
    BIO_free(bio);
    free(text);
    return r;
}

bool http_tls_key_is_readable(const struct http_tls *t)
{
    return t->key_is_readable;
}

int64_t http_tls_expires_ms(const struct http_tls *t)
{
    return t->expires_ms;
}

const char *http_tls_key_file(const struct http_tls *t)
{
    return t->key_file;
}

/* ---- for the loop ---- */

int http_tls_take(struct http_tls *t, int client_fd, int server_fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    int r = 0;

    if (c)
        c->ssl = SSL_new(t->context);
    if (!c || !c->ssl || SSL_set_fd(c->ssl, client_fd) != 1)
        r = ERR_NOMEM;
    else if (atomic_load(&t->count) >= HTTP_TLS_CONNECTIONS_MAX)
        r = ERR_LIMIT;
    if (r < 0) {
        if (c)
            SSL_free(c->ssl);
        free(c);
        close(client_fd);
        close(server_fd);
        return r;
    }
    c->tls = t;
    c->client = (struct end){.connection = c, .fd = client_fd};
    c->server = (struct end){.connection = c, .fd = server_fd};
    atomic_fetch_add(&t->count, 1);
    atomic_fetch_add(&t->handshakes, 1);
    uv_mutex_lock(&t->mutex);
    list_append(&t->fresh, &c->link);
    uv_mutex_unlock(&t->mutex);
    wake(t);
    return 0;
}

void http_tls_counts(struct http_tls *t, struct http_tls_counts *ret)
{
    ret->handshakes = atomic_load(&t->handshakes);
    ret->failed = atomic_load(&t->failed);
}

static void tls_free(struct http_tls *t)
{
    if (t->epoll >= 0)
        close(t->epoll);
    if (t->wake >= 0)
        close(t->wake);
    uv_mutex_destroy(&t->mutex);
    SSL_CTX_free(t->context);
    free(t->cert_file);
    free(t->key_file);
    free(t->cert);
    key_free(t->key);
    OBJECT_FREE(struct http_tls, t);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct http_tls *t = OBJECT(struct http_tls, handle->data);
    void (*closed)(void *arg) = t->closed;
    void *arg = t->closed_arg;

    tls_free(t);
    closed(arg);
}

static void on_ended(uv_async_t *async)
{
    struct http_tls *t = OBJECT(struct http_tls, async->data);

    uv_thread_join(&t->thread); /* its last act was to call this */
    uv_close((uv_handle_t *)async, on_async_closed);
}

static int start_thread(struct http_tls *t, struct error *error)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (t->epoll < 0 || t->wake < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->wake, &event) < 0)
        return error_set(error, ERR_IO, "tls: %s", strerror(errno));
    uv_async_init(t->loop, &t->ended, on_ended);
    t->ended.data = t;
    if (uv_thread_create(&t->thread, run, t) == 0)
        return 0;
    abort(); /* at the start of the server, with a handle that cannot be taken back */
}

int http_tls_new(struct http_tls **ret, uv_loop_t *loop, const char *cert_file, const char *key_file,
                 struct error *error)
{
    struct http_tls *t = OBJECT_NEW(struct http_tls);
    int r;

    t->loop = loop;
    t->epoll = t->wake = -1;
    list_init(&t->fresh);
    list_init(&t->connections);
    list_init(&t->dead);
    uv_mutex_init(&t->mutex);
    t->cert_file = alloc_text(cert_file);
    t->key_file = alloc_text(key_file);
    r = http_tls_reload(t, error);
    if (r == 0) {
        t->epoll = epoll_create1(EPOLL_CLOEXEC);
        t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = start_thread(t, error);
    }
    if (r < 0) {
        tls_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void http_tls_close(struct http_tls *t, void (*done)(void *arg), void *arg)
{
    t->closed = done;
    t->closed_arg = arg;
    uv_mutex_lock(&t->mutex);
    t->stopping = true;
    uv_mutex_unlock(&t->mutex);
    wake(t);
}
