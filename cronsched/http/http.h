/* HTTP: listeners, routes, requests and replies, on the loop's thread. What the handlers see of HTTP is this
 * file; libmicrohttpd stays behind it.
 *
 * The life of a request: its headers are checked, the caller is identified, the route found, the body read
 * (within the route's limit) and parsed; then the route's handler is called, once. It answers by one
 * http_reply_… call, at once or later; to answer later it takes a reference (http_request_ref) and gives it
 * back after the reply. A request is answered once: when its deadline passed or the server closes it has been
 * answered already, and the handler's own reply is dropped, as is one to a client that hung up. All of that
 * is fine to do.
 *
 * Who owns what: the server owns its listeners and its table of routes; the arrays of routes and what `auth`
 * points to are borrowed. A request belongs to its references. http_close ends all: requests not yet answered
 * get 503.
 */
#pragma once

#include "cronsched/http/auth.h"
#include "cronsched/http/http_target.h"
#include "jobs/base/error.h"
#include "jobs/base/log_level.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_CONNECTIONS_MAX         512 /* a listener; the one that was idle longest makes room */
#define HTTP_CONNECTIONS_KEPT        32  /* beyond these, for replicas, /healthz, and root at a socket */
#define HTTP_ADDRESS_CONNECTIONS_MAX 128 /* of one address of another machine, a listener */
#define HTTP_HEADER_BYTES_MAX        (32 * 1024)        /* of one connection's headers; beyond: 431 */
#define HTTP_BODY_BYTES_MAX          (64 * 1024)        /* unless the route says otherwise */
#define HTTP_BODIES_BYTES_MAX        (64 * 1024 * 1024) /* of all bodies in memory; beyond: 429 */
#define HTTP_REPLIES_BYTES_MAX                                                                               \
    (64 * 1024 * 1024) /* of all replies not sent yet; beyond: 429 for those over 16 KB */
#define HTTP_DRAIN_BYTES_MAX  (1024 * 1024) /* of a refused body that are read to keep the connection */
#define HTTP_STREAM_BYTES_MAX (256 * 1024)  /* waiting in one stream */
#define HTTP_HEADERS_MAX      20            /* of the handler's own in a reply */
#define HTTP_LISTENERS_MAX    16
#define HTTP_ROUTES_MAX       128
#define HTTP_FIRST_MS         (5 * 1000) /* until the first request's headers are there, a handshake included */
#define HTTP_IDLE_MS          (60 * 1000) /* a connection that neither asks nor takes what it asked for */
#define HTTP_RECEIVE_MS       (30 * 1000) /* from the first byte of a connection's request to its last */
#define HTTP_ANSWER_MS        (30 * 1000) /* a handler's time */
#define HTTP_WINDOW_MS        (60 * 1000) /* of the longest run of a listener */
#define HTTP_PAUSE_MS         200         /* until accepting is tried again, without a free descriptor */
#define HTTP_FILES_SHARE      4  /* connections of a listener take at most this part of all descriptors */
#define HTTP_TURN_MS          8  /* of handlers in one turn of the loop; the others wait for the next */
#define HTTP_HEAVY_MAX        16 /* requests of heavy routes at a time, until they are sent; the others wait */
#define HTTP_HEAVY_KEPT       4  /* of these for the unix sockets alone */
#define HTTP_HEAVY_PER_CALLER 4
#define HTTP_HEAVY_WAITING    32 /* of one caller that wait; beyond: 429 */
#define HTTP_LINE_MS                                                                                         \
    (10 *                                                                                                    \
     1000) /* a request waits so long for its turn at most; then, and when others do for half of it: 429 */
#define HTTP_CLOSE_MS 1000 /* what is being sent at http_close may take this long */

struct http;
struct http_request;
struct http_stream;

/* Whether doing a request again does what doing it once does. */
enum http_repeat {
    HTTP_ONCE,              /* it does not, or nobody has said so */
    HTTP_REPEATABLE,        /* it does */
    HTTP_REPEATABLE_BY_KEY, /* if its body has a "key" */
};

struct http_route {
    const char *method;    /* "GET" serves HEAD as well */
    const char *path;      /* "/v1/jobs/{job}/pause" */
    const char *query;     /* the keys it takes, comma-separated; NULL: none */
    enum auth_role role;   /* AUTH_NOBODY: open to all, callers are not identified */
    size_t body_bytes_max; /* 0: takes no body. The body is a JSON object; none at all is fine */
    void (*handle)(struct http_request *request, void *arg);
    enum http_repeat repeat; /* a GET is repeatable whatever this says */
    int64_t answer_ms;       /* the handler's time; 0: the server's */
    bool form; /* its body is what a browser sends of a form: an object of texts, or arrays of texts */
    /* Answers a caller who may not, in place of the error; NULL: that. */
    void (*refused)(struct http_request *request, void *arg, const struct error *error);
    bool heavy; /* its answers may be large: it has a bounded number of places (HTTP_HEAVY_MAX) */
};

struct http_options {
    uv_loop_t *loop;
    struct auth *auth;
    /* What a caller may see of a JSON answer: takes the reference and returns one. NULL: all of it. */
    json_t *(*view)(const struct auth_identity *who, json_t *json);
    /* May be NULL. */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    void *arg;
    /* 0: the constant above */
    int connections_max, address_max;
    int64_t first_ms, idle_ms, receive_ms, answer_ms;
};

int http_new(struct http **ret, const struct http_options *options, struct error *error);

/* Adds routes; `arg` goes to their handlers. */
int http_add_routes(struct http *http, const struct http_route *routes, size_t count, void *arg,
                    struct error *error);

struct http_listen {
    const char *address; /* "unix:PATH" or "/PATH"; "HOST:PORT", "[V6]:PORT", ":PORT" (all addresses) */
    const char *tls_cert, *tls_key; /* PEM files; both or none; not for a unix socket */
    /* of a unix socket's file; 0: 0660 */
    mode_t mode;
    const gid_t *group; /* NULL: the process's own */
};

/* Listens. Resolves HOST: call it before the loop runs. Every address of a name gets a socket. Errors:
 * ERR_DENIED (auth_check_listen), ERR_BUSY (another process listens there), ERR_INVALID, ERR_IO. */
int http_listen(struct http *http, const struct http_listen *listen, struct error *error);
/* What http_listen would refuse whoever listens there, by the address alone: it opens nothing. auth NULL: not known. Also ERR_NOT_FOUND: there is no
 * folder for a unix socket. */
int http_check_listen(const struct auth *auth, const struct http_listen *listen, struct error *error);
/* The bound ones in words, "unix:/run/x.sock" or "127.0.0.1:7460" with the real port; NULL beyond the last.
 */
const char *http_address(const struct http *http, size_t i);

/* "http://127.0.0.1:7460", of the first TCP address; NULL: there is none. */
const char *http_url(const struct http *http, char *ret, size_t size);

/* When the first of the certificates served ends, of UTC; INT64_MAX: there is none. */
int64_t http_certificate_expires_ms(const struct http *http);

/* Reads changed certificates: new connections get the new one, those that are there stay. Certificates that
 * cannot be used leave all as it was. */
int http_reload(struct http *http, struct error *error);

/* Can these PEM files be used: a certificate with its key; authorities. ERR_INVALID, ERR_IO; the text names the file. */
int http_check_certificate(const char *cert_file, const char *key_file, struct error *error);
int http_check_authorities(const char *ca_file, struct error *error);

/* After the tokens have changed: streams to callers who may not have them any more are cut. */
void http_judge_again(struct http *http);

/* Stops listening, cuts streams, answers what waits with 503, lets replies go out (HTTP_CLOSE_MS at most),
 * frees the server; done is called once, from the loop. NULL is not fine. */
void http_close(struct http *http, void (*done)(void *arg), void *arg);

/* Requests, connections, bytes: as Prometheus metrics. */
void http_metrics(const struct http *http,
                  void (*put)(void *arg, const char *format, ...) __attribute__((format(printf, 2, 3))),
                  void *arg);

/* ---- what a handler asks. Texts live as long as the request. ---- */

const char *http_method(const struct http_request *request);
bool http_repeatable(const struct http_request *request);        /* by its route and body */
const char *http_raw_target(const struct http_request *request); /* path and query, as they were sent */
const char *http_param(const struct http_request *request, const char *name); /* of the path; never NULL */
const char *http_query(const struct http_request *request, const char *name); /* NULL: absent */
/* Of a header, as it was sent; NULL: absent, or the client is gone. Borrowed until the reply. */
const char *http_header(const struct http_request *request, const char *name);
bool http_tls(const struct http_request *request); /* between the client and this server */
/* The body, an object; NULL: there was none. Borrowed. */
const json_t *http_body(const struct http_request *request);
const struct auth_identity *http_caller(const struct http_request *request);
bool http_answered(const struct http_request *request); /* a reply would be dropped */

struct http_request *http_request_ref(struct http_request *request);
void http_request_unref(struct http_request *request); /* NULL is fine */

/* ---- replies ---- */

/* Adds a header to the reply that follows. name and value are copied. */
void http_reply_header(struct http_request *request, const char *name, const char *value);

/* Takes the reference to json. NULL (out of memory) is answered with an error. */
void http_reply_json(struct http_request *request, int status, json_t *json);
/* {"error":{"code","text"}}, the status by the code. */
void http_reply_error(struct http_request *request, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void http_reply_failure(struct http_request *request, const struct error *error);
/* With further members for the error object; takes the reference to `more`, which may be NULL. */
void http_reply_problem(struct http_request *request, int status, const struct error *error, json_t *more);
void http_reply_text(struct http_request *request, int status, const char *type, const char *text);

/* Bytes of the program, which outlive all requests; gzip NULL: there are none compressed. */
void http_reply_bytes(struct http_request *request, const char *type, const void *bytes, size_t size,
                      const void *gzip, size_t gzip_size);
/* 303: the browser goes on with a GET of this path. */
void http_reply_redirect(struct http_request *request, const char *path);

/* The request goes on as another one, of the same caller: as if that had been asked for, with what its role allows. Its answer does
 * not go out: `then` gets it (lent), and answers, or lets it go on as the next one. `release` is called once, at the end, whatever
 * happened. The body is taken. In `then` of what was a GET the target is again that which was asked for. */
struct http_detour {
    const char *method, *target;
    json_t *body; /* NULL: none */
    void (*then)(struct http_request *request, int status, const json_t *answer, void *arg);
    void (*release)(void *arg);
    void *arg;
};
void http_go_on_as(struct http_request *request, const struct http_detour *detour);
/* Whether its answer is for such a `then`: so it has to be JSON, at once. */
bool http_on_detour(const struct http_request *request);

int http_status_of(int code); /* of an error_code */

/* A reply in pieces. Push up to HTTP_STREAM_BYTES_MAX; when http_stream_write says ERR_BUSY (taken) wait
 * for `drained`. `closed` is called once, when all is sent or the client is gone; no call may follow it.
 * Both come from the loop, never from within a call. NULL: the request was answered already, or is HEAD,
 * or there is no memory; then neither is called. */
struct http_stream_events {
    void (*drained)(void *arg);
    void (*closed)(void *arg);
};
struct http_stream *http_reply_stream(struct http_request *request, int status, const char *type,
                                      const struct http_stream_events *events, void *arg);
int http_stream_write(struct http_stream *stream, const void *bytes, size_t n);
void http_stream_end(struct http_stream *stream); /* what was written still goes out, then `closed` */
/* Likewise, but the client notices that something is missing. */
void http_stream_cut(struct http_stream *stream);
