/* See http_client.h. The happy path: http_client_start makes an easy handle and puts the call on `starting`;
 * the next turn of the loop gives it to the multi handle; curl says by on_socket which
 * descriptors to poll and by on_timer when to be called again; each poll event and timeout goes to
 * curl_multi_socket_action; finished calls are collected in collect_done, which calls their owners.
 *
 * Failures: a descriptor that cannot be polled or an allocation that fails inside curl ends the call with an
 * error of curl's, and outcome_of decides whether it was sent. A call cancelled while curl is on the stack
 * (from a callback) cannot be removed there: it falls silent and is freed in the next turn.
 */
#include "cronsched/io/http_client.h"

#include "cronsched/io/file.h"
#include "cronsched/io/tls_trust.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEEPALIVE_IDLE_S     15L
#define KEEPALIVE_INTERVAL_S 5L
#define IDLE_CONNECTIONS_MAX 32L
#define HANDLES              2 /* of a struct http_client: timer, wake */

struct http_client {
    struct object object; /* first */
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    struct loop_turn wake;
    struct list starting, running, silent; /* calls */
    struct list sockets;
    int calls;
    int inside; /* curl is on the stack */
    int open_handles;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct curl_socket {
    struct object object; /* first */
    struct list link;
    uv_poll_t poll;
    struct http_client *owner;
    curl_socket_t fd;
};

struct http_call {
    struct object object; /* first */
    struct list link;
    struct http_client *owner;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct client_request request; /* its strings are not used after the start */
    char *body, *received;
    size_t size, capacity;
    int64_t date_s, retry_after_s;
    bool opened, too_long, silent;
    char error[CURL_ERROR_SIZE];
};

static void wake_soon(struct http_client *c);

/* ---- calls ---- */

static void call_free(struct http_call *call)
{
    if (!call)
        return;
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    if (call->body)
        explicit_bzero(call->body, call->request.body_size); /* may hold a job's secrets */
    free(call->body);
    free(call->received);
    OBJECT_FREE(struct http_call, call);
}

static int status_of(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static bool collect(struct http_call *call, const char *bytes, size_t size)
{
    size_t max = call->request.max_bytes ? call->request.max_bytes : HTTP_CLIENT_BODY_DEFAULT_MAX;
    if (size > max - call->size) {
        call->too_long = true;
        return false;
    }
    if (call->size + size + 1 > call->capacity) {
        size_t capacity = call->capacity ? call->capacity : 1024;
        while (capacity < call->size + size + 1)
            capacity *= 2;
        char *grown = realloc(call->received, capacity);
        if (!grown)
            return false;
        call->received = grown;
        call->capacity = capacity;
    }
    memcpy(call->received + call->size, bytes, size);
    call->size += size;
    call->received[call->size] = '\0';
    return true;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *arg)
{
    struct http_call *call = OBJECT(struct http_call, arg);
    int status = status_of(call);

    if (call->silent)
        return 0;
    if (!call->request.data || status < 200 || status > 299)
        return collect(call, bytes, size) ? size : 0;
    if (!call->request.data(call->request.arg, bytes, size))
        return call->silent ? 0 : CURL_WRITEFUNC_PAUSE;
    return call->silent ? 0 : size;
}

/* The value of this header, if the line is one of it. */
static bool header_value(const char *line, size_t size, const char *name, char *ret, size_t ret_size)
{
    size_t n = strlen(name);

    if (size <= n || size - n >= ret_size || strncasecmp(line, name, n) != 0)
        return false;
    memcpy(ret, line + n, size - n);
    ret[size - n] = '\0';
    return true;
}

static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
    struct http_call *call = OBJECT(struct http_call, arg);
    char value[128];

    if (call->silent)
        return 0;
    if (header_value(line, size, "date:", value, sizeof(value))) {
        time_t t = curl_getdate(value, NULL);
        call->date_s = t > 0 ? (int64_t)t : 0;
    } else if (header_value(line, size, "retry-after:", value, sizeof(value))) {
        long s = strtol(value, NULL, 10);
        call->retry_after_s = s > 0 ? s : 0;
    }
    if (size <= 2 && (*line == '\r' || *line == '\n') && status_of(call) >= 200 && !call->opened) {
        call->opened = true;
        if (call->request.opened)
            call->request.opened(call->request.arg, status_of(call));
    }
    return call->silent ? 0 : size;
}

/* A connect, a TLS handshake or a look-up that failed: curl had not come to the request. Believed only when
 * curl has also counted no byte of it. */
static enum http_outcome outcome_of(const struct http_call *call, CURLcode code)
{
    long sent = 1;
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (call->opened)
        return HTTP_ANSWERED;
    if (sent != 0)
        return HTTP_UNKNOWN;
    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_PROXY:
        return HTTP_NOT_SENT;
    default:
        return HTTP_UNKNOWN;
    }
}

static void tell(struct http_call *call, const struct http_answer *answer)
{
    call->owner->calls--;
    if (!call->silent)
        call->request.done(call->request.arg, answer);
    call_free(call);
}

static int os_error(const struct http_call *call)
{
    long reason = 0;

    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &reason);
    return (int)reason;
}

/* curl speaks of a host and a port even where there is a socket. */
static const char *why_not_connected(const struct http_call *call)
{
    int reason = os_error(call);

    if (reason)
        return strerror(reason);
    return call->error[0] ? call->error : curl_easy_strerror(CURLE_COULDNT_CONNECT);
}

static const char *why_failed(const struct http_call *call, CURLcode code)
{
    if (call->too_long)
        return "the answer is too long";
    if (code == CURLE_COULDNT_CONNECT)
        return why_not_connected(call);
    return call->error[0] ? call->error : curl_easy_strerror(code);
}

static void finish(struct http_call *call, CURLcode code)
{
    struct http_answer answer = {
        .outcome = HTTP_ANSWERED,
        .complete = code == CURLE_OK,
        .too_long = call->too_long,
        .body = call->received ? call->received : "",
        .size = call->size,
        .date_s = call->date_s,
        .retry_after_s = call->retry_after_s,
        .error = "",
    };

    if (code != CURLE_OK) {
        answer.outcome = outcome_of(call, code);
        answer.error = why_failed(call, code);
        answer.refused = code == CURLE_COULDNT_CONNECT && os_error(call) == ECONNREFUSED;
    }
    if (answer.outcome == HTTP_ANSWERED)
        answer.status = status_of(call);
    tell(call, &answer);
}

static void fail_unsent(struct http_call *call, const char *text)
{
    tell(call, &(struct http_answer){.outcome = HTTP_NOT_SENT, .body = "", .error = text});
}

/* ---- curl and the loop ---- */

static void collect_done(struct http_client *c)
{
    CURLMsg *message;
    int left;

    assert(c->inside == 0);
    while (!c->closing && (message = curl_multi_info_read(c->multi, &left))) {
        struct http_call *call = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        curl_multi_remove_handle(c->multi, call->easy); /* `message` is gone with this */
        list_remove(&call->link);
        finish(call, code);
    }
}

static void act(struct http_client *c, curl_socket_t fd, int events)
{
    int running;
    c->inside++;
    curl_multi_socket_action(c->multi, fd, events, &running);
    c->inside--;
    collect_done(c);
}

static void on_timeout(uv_timer_t *timer)
{
    act(OBJECT(struct http_client, timer->data), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *c = OBJECT(struct http_client, arg);
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else /* never call back into curl from here */
        loop_timer_start(&c->timer, on_timeout, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct curl_socket *s = OBJECT(struct curl_socket, poll->data);
    int flags = 0;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(s->owner, s->fd, flags);
}

static void handle_closed(struct http_client *c)
{
    if (--c->open_handles > 0 || !c->closing)
        return;
    void (*closed)(void *) = c->closed;
    void *arg = c->closed_arg;
    OBJECT_FREE(struct http_client, c);
    if (closed)
        closed(arg);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct curl_socket *s = OBJECT(struct curl_socket, handle->data);
    struct http_client *c = s->owner;
    OBJECT_FREE(struct curl_socket, s);
    handle_closed(c);
}

static void socket_drop(struct curl_socket *s)
{
    list_remove(&s->link);
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *c = OBJECT(struct http_client, arg);
    struct curl_socket *s = socket_arg ? OBJECT(struct curl_socket, socket_arg) : NULL;
    int events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (s) {
            curl_multi_assign(c->multi, fd, NULL);
            socket_drop(s);
        }
        return 0;
    }
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s)
            return -1;
        if (uv_poll_init_socket(c->loop, &s->poll, fd) < 0) {
            free(s);
            return -1;
        }
        OBJECT_INIT(struct curl_socket, s);
        s->poll.data = s;
        s->owner = c;
        s->fd = fd;
        c->open_handles++;
        list_append(&c->sockets, &s->link);
        curl_multi_assign(c->multi, fd, s);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&s->poll, events, on_poll) < 0 ? -1 : 0;
}

/* Starts what waits to be started and frees what fell silent, with curl off the stack. */
static void on_wake(void *arg)
{
    struct http_client *c = OBJECT(struct http_client, arg);

    while (!list_empty(&c->silent)) {
        struct http_call *call = LIST_ITEM(c->silent.next, struct http_call, link);
        list_remove(&call->link);
        curl_multi_remove_handle(c->multi, call->easy);
        c->calls--;
        call_free(call);
    }
    while (!c->closing && !list_empty(&c->starting)) {
        struct http_call *call = LIST_ITEM(c->starting.next, struct http_call, link);
        list_remove(&call->link);
        CURLMcode r = curl_multi_add_handle(c->multi, call->easy);
        if (r == CURLM_OK)
            list_append(&c->running, &call->link);
        else
            fail_unsent(call, curl_multi_strerror(r));
    }
    if (!c->closing)
        collect_done(c);
}

static void wake_soon(struct http_client *c)
{
    loop_turn_ask(&c->wake);
}

/* ---- public ---- */

int http_client_new(struct http_client **ret, uv_loop_t *loop, struct error *error)
{
    struct http_client *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->multi = curl_multi_init())) {
        free(c);
        return error_set(error, ERR_INTERNAL, "libcurl cannot be initialized");
    }
    OBJECT_INIT(struct http_client, c);
    c->loop = loop;
    list_init(&c->starting);
    list_init(&c->running);
    list_init(&c->silent);
    list_init(&c->sockets);
    uv_timer_init(loop, &c->timer);
    loop_turn_init(&c->wake, loop, on_wake, c);
    c->timer.data = c->wake.idle.data = c;
    c->open_handles = HANDLES;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
    *ret = c;
    return 0;
}

static void on_own_handle_closed(uv_handle_t *handle)
{
    handle_closed(OBJECT(struct http_client, handle->data));
}

static void drop_calls(struct http_client *c, struct list *calls, bool added)
{
    while (!list_empty(calls)) {
        struct http_call *call = LIST_ITEM(calls->next, struct http_call, link);
        list_remove(&call->link);
        if (added)
            curl_multi_remove_handle(c->multi, call->easy);
        call_free(call);
    }
}

void http_client_close(struct http_client *c, void (*done)(void *arg), void *arg)
{
    assert(c->inside == 0 && !c->closing);
    c->closing = true;
    c->closed = done;
    c->closed_arg = arg;
    drop_calls(c, &c->starting, false);
    drop_calls(c, &c->running, true);
    drop_calls(c, &c->silent, true);
    curl_multi_cleanup(c->multi);
    LIST_EACH_SAFE(link, &c->sockets)
    {
        socket_drop(LIST_ITEM(link, struct curl_socket, link));
    }
    uv_close((uv_handle_t *)&c->timer, on_own_handle_closed);
    loop_turn_close(&c->wake, on_own_handle_closed);
}

static void set_text(CURL *e, CURLoption option, const char *text)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)text, .flags = CURL_BLOB_COPY};

    if (!text)
        return;
    blob.len = strlen(text);
    curl_easy_setopt(e, option, &blob);
}

static void set_tls(CURL *e, const struct client_request *q)
{
    if (q->trust_anybody)
        tls_trust_anybody(e);
    else if (q->ca_text)
        tls_trust_set_text(e, q->ca_text);
    else
        tls_trust_set(e, q->ca_file);
    if (q->cert_file)
        curl_easy_setopt(e, CURLOPT_SSLCERT, q->cert_file);
    if (q->key_file)
        curl_easy_setopt(e, CURLOPT_SSLKEY, q->key_file);
    set_text(e, CURLOPT_SSLCERT_BLOB, q->cert_text);
    set_text(e, CURLOPT_SSLKEY_BLOB, q->key_text);
}

static void set_connection(struct http_call *call, const struct client_request *q)
{
    CURL *e = call->easy;
    int64_t connect_ms = q->connect_timeout_ms ? q->connect_timeout_ms : HTTP_CLIENT_CONNECT_MS;

    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* never wait for a look-up that is no longer needed */
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    if (q->idle_timeout_ms > 0) {
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)((q->idle_timeout_ms + 999) / 1000));
    }
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    if (q->proxy || !q->use_proxy)
        curl_easy_setopt(e, CURLOPT_PROXY, q->proxy ? q->proxy : "");
    if (q->unix_socket)
        curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
    set_tls(e, q);
    if (q->once) {
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    }
}

static int set_request(struct http_call *call, const struct client_request *q)
{
    CURL *e = call->easy;
    struct curl_slist *list;

    if (curl_easy_setopt(e, CURLOPT_URL, q->url) != CURLE_OK)
        return ERR_NOMEM;
    if (q->body) {
        call->body = malloc(q->body_size + 1);
        if (!call->body)
            return ERR_NOMEM;
        memcpy(call->body, q->body, q->body_size);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_size);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body);
    } else if (strcmp(q->method, "POST") == 0) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(q->method, "HEAD") == 0)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method) != CURLE_OK)
        return ERR_NOMEM;
    if (q->connect_to) {
        char entry[512];

        snprintf(entry, sizeof(entry), "::%.500s", q->connect_to);
        if (!(call->connect_to = curl_slist_append(NULL, entry)))
            return ERR_NOMEM;
        curl_easy_setopt(e, CURLOPT_CONNECT_TO, call->connect_to);
    }
    for (size_t i = 0; i < HTTP_CLIENT_HEADERS_MAX && q->headers[i]; i++) {
        if (!(list = curl_slist_append(call->headers, q->headers[i])))
            return ERR_NOMEM;
        call->headers = list;
    }
    /* A body is short and the peer is ours: no round trip for permission to send it. */
    if (!(list = curl_slist_append(call->headers, "Expect:")))
        return ERR_NOMEM;
    call->headers = list;
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    return 0;
}

static bool url_valid(const char *url)
{
    CURLU *u = curl_url();
    bool valid = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK;
    curl_url_cleanup(u);
    return valid;
}

/* curl opens them, on this thread, and would wait for whoever writes into a pipe. */
static bool files_valid(const struct client_request *q, struct error *error)
{
    const char *const files[] = {q->ca_file, q->cert_file, q->key_file};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i] && !file_is_no_pipe(files[i])) {
            error_set(error, ERR_INVALID, "'%.300s' is not a regular file", files[i]);
            return false;
        }
    }
    return true;
}

int http_client_start(struct http_call **ret, struct http_client *c, const struct client_request *request,
                      struct error *error)
{
    assert(request->done && request->method && !c->closing);
    if (c->calls >= HTTP_CLIENT_CALLS_MAX)
        return error_set(error, ERR_LIMIT, "more than %d calls at once", HTTP_CLIENT_CALLS_MAX);
    if (!url_valid(request->url))
        return error_set(error, ERR_INVALID, "'%.200s' is not a URL", request->url);
    if (!files_valid(request, error))
        return ERR_INVALID;
    struct http_call *call = calloc(1, sizeof(*call));
    if (!call || !(call->easy = curl_easy_init())) {
        free(call);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    OBJECT_INIT(struct http_call, call);
    call->owner = c;
    call->request = *request;
    if (set_request(call, request) < 0) {
        call_free(call);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    set_connection(call, request);
    c->calls++;
    list_append(&c->starting, &call->link);
    wake_soon(c);
    *ret = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    if (!call)
        return;
    call->silent = true;
    list_remove(&call->link);
    list_append(&call->owner->silent, &call->link);
    wake_soon(call->owner);
}

void http_call_resume(struct http_call *call)
{
    struct http_client *c = call->owner;
    if (call->silent)
        return;
    c->inside++;
    curl_easy_pause(call->easy, CURLPAUSE_CONT);
    c->inside--;
}
