/* HTTP client: libcurl's multi_socket interface on a libuv loop. For engines, webhooks, and whatever else
 * calls out.
 *
 * One struct http_client serves one loop; all its functions and callbacks run on that loop's thread. Nothing here
 * blocks: connects, TLS and name look-ups (curl's threaded resolver; a look-up that outlives its call is left
 * to its thread) happen beside the loop.
 *
 * The distinction that everything else rests on is made here: a call that failed is either
 *   HTTP_NOT_SENT   certainly not one byte of the request has left: no such socket, connection refused, name
 *                   unknown, TLS refused, timed out before the request was written
 *   HTTP_UNKNOWN    it has or may have left: the server may act on it
 * A call marked `once` goes out on a fresh connection that is not used again, since curl sends a request a
 * second time when a connection that it reuses turns out to be dead.
 *
 * Ownership: http_client_start copies the request (strings, body). A call lives until its `done` has been called
 * or it is cancelled; callbacks are never made from within http_client_start, and none is made after
 * http_call_cancel.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_CLIENT_HEADERS_MAX      16
#define HTTP_CLIENT_CALLS_MAX        4096
#define HTTP_CLIENT_BODY_DEFAULT_MAX (4 * 1024 * 1024) /* of an answer that is collected */
#define HTTP_CLIENT_CONNECT_MS       5000

enum http_outcome {
    HTTP_ANSWERED, /* a status came; see `complete` for the body */
    HTTP_NOT_SENT,
    HTTP_UNKNOWN,
};

struct http_answer {
    enum http_outcome outcome;
    int status;    /* 0 when none came */
    bool complete; /* the body came whole; false when it was cut by the peer, a time limit or max_bytes */
    bool too_long; /* it was cut by max_bytes */
    bool refused;  /* not sent, since nobody listens at the address */
    /* NUL-terminated; "" when there is none or it was streamed; valid during the callback. */
    const char *body;
    size_t size;
    int64_t date_s;        /* the Date header, 0 when absent */
    int64_t retry_after_s; /* Retry-After in seconds, 0 when absent */
    /* Text for people when outcome is not HTTP_ANSWERED or the body is incomplete; else "". */
    const char *error;
};

struct http_client;
struct http_call;

struct client_request {
    const char *method; /* "GET" */
    const char *url;    /* for a unix socket: "http://localhost/path" */
    const char *unix_socket;
    const char *body; /* NULL: none */
    size_t body_size;
    const char *headers[HTTP_CLIENT_HEADERS_MAX]; /* "Name: value", as many as are not NULL */
    const char *ca_file; /* NULL: the system's authorities are trusted; else nobody but this file's */
    const char *cert_file, *key_file;
    const char *ca_text, *cert_text, *key_text; /* PEM instead of files; NULL: none */
    bool trust_anybody;                         /* the server's certificate is not looked at */
    const char *
        connect_to; /* "HOST:PORT": where the URL's host is found, for its name in TLS is another; NULL: by its name */
    const char *proxy;          /* a URL; NULL: none, or see use_proxy */
    int64_t connect_timeout_ms; /* 0: HTTP_CLIENT_CONNECT_MS */
    int64_t timeout_ms;         /* for the whole call; 0: none (streams) */
    int64_t idle_timeout_ms;    /* when not a byte comes for so long; 0: none. Rounded up to seconds */
    size_t max_bytes;           /* of a collected body; 0: HTTP_CLIENT_BODY_DEFAULT_MAX */
    bool once;                  /* never sent twice, by anybody */
    bool use_proxy;             /* as http_proxy and its like say; default: none */

    /* The headers have come. May be NULL. */
    void (*opened)(void *arg, int status);
    /* Streams the body of a 2xx answer instead of collecting it (other answers are collected). false: not
     * taken, give it again after http_call_resume. */
    bool (*data)(void *arg, const char *bytes, size_t size);
    /* The end; the call is gone afterwards. */
    void (*done)(void *arg, const struct http_answer *answer);
    void *arg;
};

int http_client_new(struct http_client **ret, uv_loop_t *loop, struct error *error);

/* Cancels all calls without calling their owners, and frees. `done` (may be NULL) is called from the loop.
 */
void http_client_close(struct http_client *c, void (*done)(void *arg), void *arg);

/* ERR_INVALID (a bad URL), ERR_LIMIT (too many calls), ERR_NOMEM: then nothing was sent and `done` will not
 * come. */
int http_client_start(struct http_call **ret, struct http_client *c, const struct client_request *request,
                      struct error *error);

/* NULL is fine. What was sent stays sent. Not to be called from within the call's own `data` or `opened`. */
void http_call_cancel(struct http_call *call);
/* After `data` has answered false; from the loop, not from `data`. */
void http_call_resume(struct http_call *call);
