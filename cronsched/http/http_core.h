/* What the files of the HTTP server share: http.c (the server, its listeners and their clock), http_core.c
 * (a daemon's turns), http_connection.c (connections come and go), http_ready.c (when a handler is called),
 * http_request.c (receiving), http_body.c (what was received, as JSON), http_reply.c (answering), http_refused.c (what is told of refusals), http_socket.c
 * (listening sockets). Only they include this.
 *
 * Invariants: a connection has one request at a time. A request is in one phase and moves downwards only. A
 * connection is suspended while its request waits for the handler (request->suspended) or its stream has
 * nothing to send (stream->suspended), and at no other time; who resumes it calls daemon_wake, because the
 * library notices nothing by itself.
 */
#pragma once

#include "cronsched/http/http.h"
#include "cronsched/http/http_tls.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"
#include "leader/worker/worker.h"

#include <microhttpd.h>

enum http_phase {
    HTTP_HEADERS,  /* the request line is there */
    HTTP_BODY,     /* the headers have been checked; the body comes */
    HTTP_HANDLING, /* the handler has it */
    HTTP_SENDING,  /* the reply is the library's */
    HTTP_DONE      /* sent, or the client is gone: no connection any more */
};

struct http_entry { /* a route in the table, and what became of its requests */
    const struct http_route *route;
    void *arg;
    uint64_t answered[6]; /* by status / 100 */
    uint64_t total_ns;
};

/* ---- sockets (http_socket.c) ---- */

struct http_socket {
    int fd;     /* listening; -1: none */
    char *name; /* "unix:/run/x.sock", "127.0.0.1:7460" */
    bool is_unix;
    bool beyond;  /* can be reached from other machines */
    char *path;   /* unix: the file, */
    int lock_fd;  /* the lock beside it, held as long as we listen, */
    dev_t device; /* and which file is ours */
    ino_t inode;
    gid_t group; /* unix: when it was bound */
};

/* Opens every socket of the address, up to `most`. Nothing stays open after a failure. */
int http_socket_open(const struct http_listen *listen, struct http_socket *ret, size_t most,
                     size_t *ret_count, struct error *error);
/* Looks at the address as far as that opens nothing; `beyond`: other machines reach it. */
int http_socket_check(const char *address, bool *ret_unix, bool *ret_beyond, struct error *error);
gid_t http_socket_group(const struct http_socket *socket); /* unix: of the file, as it is now */
void http_socket_close(struct http_socket *socket);        /* removes the file if it is still ours */

/* ---- the server (http.c) ---- */

struct http_listener {
    struct object object; /* first */
    struct http *http;
    struct http_socket socket;
    struct http_tls *tls;       /* NULL: none */
    struct http_daemon *daemon; /* NULL: not yet, or no more */
};

struct http_daemon {
    struct object object; /* first */
    struct http_listener *listener;
    struct MHD_Daemon *mhd;
    uv_poll_t poll, listening;
    uv_timer_t timer, pause;
    struct loop_turn turn;
    int eager_runs; /* in a row, without an event */
    int handles;    /* of these five, not yet closed */
    bool running, again, closing;
    bool paused; /* no descriptor is left for a connection */
    bool full;   /* nobody is accepted until one of them is gone */
    uint64_t window_ns, longest_ns,
        longest_before_ns; /* of the library's runs, in this window and the last one */
    struct list connections;
    size_t connections_max, connections_kept; /* for all, and beyond that for a few */
    size_t connection_count, going_count;     /* going: told to end, not gone yet */
    struct http_connection *adding;           /* the library is being given it */
};

struct http_origin {
    uint8_t bytes[8]; /* of the address; zero: it is not counted */
};

struct http_connection {
    struct object object; /* first */
    struct list of_daemon;
    struct http_daemon *daemon;
    int fd; /* the library's: the client's, or behind TLS one end of a pair */
    struct http_origin origin;
    uint64_t accepted_ms;
    uint64_t since_ms; /* it has had no request */
    uint64_t requests; /* begun */
    bool going;        /* it was told to end */
    bool kept;         /* it has one of the places that are kept for a few */
    bool of_replica;
    bool peer_known;
    struct auth_peer peer;
    struct http_request *request;
};

enum http_refusal {
    HTTP_REFUSED_TOKEN,     /* it is missing or wrong */
    HTTP_REFUSED_DENIED,    /* the caller may not */
    HTTP_REFUSED_MALFORMED, /* its end is in doubt, or it is no HTTP */
    HTTP_REFUSED_PLACE,     /* all places are taken but those that are kept for others */
    HTTP_REFUSED_ADDRESS,   /* too many connections from there */
    HTTP_REFUSALS
};

struct http_refused {
    uint64_t counts[HTTP_REFUSALS];
    uint64_t silent;   /* since the last line */
    uint64_t since_ms; /* lines were counted */
    unsigned lines;    /* that may be written now */
};

struct http {
    struct object object; /* first */
    uv_loop_t *loop;
    struct auth *auth;
    json_t *(*view)(const struct auth_identity *who, json_t *json);
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    void *arg;
    int connections_max;
    int address_max;
    uint64_t first_ms, idle_ms, receive_ms, answer_ms;

    struct http_entry entries[HTTP_ROUTES_MAX];
    size_t entry_count;
    struct http_entry unrouted; /* refused before a route was found */
    struct http_listener *listeners[HTTP_LISTENERS_MAX];
    size_t listener_count;

    uv_timer_t clock; /* looks after deadlines while there are connections */
    size_t connection_count;
    size_t request_count; /* not done */
    size_t bodies_bytes, replies_bytes;
    struct worker *bodies;      /* the thread that parses and frees large ones, */
    size_t bodies_under_way;    /* so many of them now */
    uint64_t accepted, dropped; /* dropped: to make room */
    struct http_refused refused;
    char trouble[256]; /* the library's last words */

    struct list ready, ready_unix; /* requests whose handlers wait for their turn */
    struct list heavy;             /* requests that have a place */
    size_t heavy_count;
    struct loop_turn ready_turn;
    uv_prepare_t prepare;
    uint64_t turn_ns; /* what handlers took in this turn */
    bool unix_next;

    int handles; /* the clock, those two and the thread for bodies, not yet closed */
    bool closing;
    uint64_t close_by_ms;
    size_t daemon_count;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- a daemon's turns (http_core.c) ---- */

void http_daemon_run(struct http_daemon *daemon);           /* let the library work off what is there */
void http_on_poll(uv_poll_t *poll, int status, int events); /* the same, for the daemon in poll->data */
void http_on_turn(void *daemon);                            /* the same */
/* Let the library run soon: something was resumed. */
void http_daemon_wake(struct http_daemon *daemon);

/* ---- when a handler is called (http_ready.c) ---- */

void http_ready_init(struct http *http);
void http_ready_close(struct http *http, uv_close_cb closed); /* of both handles; their data is the http */
/* The request is complete: http_request_handle is called now or in a later turn. */
void http_ready_add(struct http_request *request);
void http_ready_check(struct http_request *request, uint64_t now_ms); /* it may have waited for too long */
void http_ready_drop(struct http_request *request);                   /* it is done: its place is free */

void http_clock_start(struct http *http); /* http.c: it looks after deadlines while there are connections */
void http_closed_one(struct http *http);  /* http.c: something that http_close waits for is over */

/* ---- connections (http_connection.c) ---- */

void http_connection_accept(struct http_daemon *daemon); /* from now on */
void http_connection_retry(struct http_daemon *daemon);  /* if it was full */
void http_connection_notify(void *daemon, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code);
/* Its deadlines. */
void http_connection_check(struct http *http, struct http_connection *connection, uint64_t now_ms);
/* It has one of the last places, and there are no others. */
bool http_connection_is_kept(struct http_connection *connection);

/* ---- refusals (http_refused.c) ---- */

/* what: "POST /v1/apply"; caller and text as they are answered. */
void http_refused(struct http *http, enum http_refusal why, const char *caller, const char *what,
                  const char *text);
const char *http_refusal_name(enum http_refusal why);

/* ---- requests (http_request.c) ---- */

void http_request_handle(struct http_request *request); /* has the body parsed, and the handler called */
void http_request_call(struct http_request *request);   /* calls the handler */
void http_come_back(struct http_request *request); /* from a detour: the target is that of the page again */

/* ---- bodies (http_body.c) ---- */

/* False: it is answered with why it is no JSON, or parsed by a thread, and the handler is called later. */
bool http_body_parse(struct http_request *request);
void http_body_drop(struct http_request *request); /* what was received and not parsed */
void http_body_release(
    struct http_request *request); /* when it is done: a large JSON is freed by the thread */

struct http_header_pair {
    char *name, *value;
};

struct http_request {
    struct object object; /* first */
    int refs;
    struct http *http;                  /* NULL once done */
    struct http_connection *connection; /* likewise */
    struct MHD_Connection *mhd;         /* likewise */
    enum http_phase phase;
    bool suspended;
    uint64_t begun_ms, begun_ns, handled_ms; /* ns: by uv_hrtime */

    char method[16];
    char *raw; /* the target as sent */
    struct http_target target;
    struct http_params params;
    struct http_entry *entry; /* NULL: none found */
    struct auth_identity identity;

    char *body;
    size_t body_len, body_cap;
    uint64_t drained; /* bytes of the body that were thrown away */
    bool expects;     /* a "100 Continue" before it sends the body */
    json_t *json;
    bool large; /* the JSON: freeing it takes long */

    bool answered, close_after;
    int status;
    struct MHD_Response *reply; /* made, not yet given to the library */
    size_t reply_bytes;         /* of it, counted in http->replies_bytes until it is sent */
    struct list ready;          /* in http->ready, ready_unix or heavy */
    bool waits;                 /* for its turn; begun since handled_ms when not */
    bool has_place;
    struct http_header_pair headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct http_stream *stream;
    /* of http_go_on_as; NULL: none */
    void (*then)(struct http_request *request, int status, const json_t *answer, void *arg);
    void (*then_release)(void *arg);
    void *then_arg;
    char *page; /* the target that was asked for, of a GET; NULL: `raw` is */
};

void *http_on_target(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_size, void **con_cls);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode why);

/* ---- replies (http_reply.c) ---- */

struct http_stream {
    struct object object; /* first */
    struct http_request *request;
    struct http_stream_events events;
    void *arg;
    char *data;
    size_t at, len, cap; /* [at, len) is to be sent */
    bool ended;          /* by its owner: no more bytes come */
    bool cut;            /* by the server: what its owner still writes is dropped */
    bool wants_room, suspended;
    struct http_gzip *gzip; /* NULL: it is sent as it is */
};

void http_stream_gone(struct http_stream *stream); /* calls `closed` and frees */
