/* See peer.h: libcurl on the loop, with the headers that make a replica known. */
#include "cronsched/cluster/peer.h"

#include "cronsched/io/http_client.h"
#include "jobs/base/alloc.h"

#include <stdio.h>

#define SECRET_MAX 128
#define URL_MAX    4096
#define HEADER_MAX 512

struct peer {
    struct curl_uv *curl;
    char *ca_file;
    char secret[SECRET_MAX];
};

struct peer_call {
    struct curl_call *call;
    void (*opened)(void *arg, int status);
    bool (*data)(void *arg, const char *bytes, size_t size);
    void (*done)(void *arg, const struct peer_answer *answer);
    void *arg;
};

int peer_open(struct peer **ret, uv_loop_t *loop, const char *ca_file, struct error *error)
{
    struct peer *p = alloc_zero(sizeof(*p));
    int rc = curl_uv_new(&p->curl, loop, error);

    if (rc < 0) {
        free(p);
        return rc;
    }
    p->ca_file = alloc_text(ca_file);
    *ret = p;
    return 0;
}

void peer_set_secret(struct peer *p, const char *secret)
{
    snprintf(p->secret, sizeof(p->secret), "%s", secret);
}

static void on_opened(void *arg, int status)
{
    struct peer_call *c = arg;

    c->opened(c->arg, status);
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct peer_call *c = arg;

    return c->data(c->arg, bytes, size);
}

static void on_done(void *arg, const struct http_answer *a)
{
    static const enum peer_outcome outcomes[] = {
        [HTTP_ANSWERED] = PEER_ANSWERED, [HTTP_NOT_SENT] = PEER_NOT_SENT, [HTTP_UNKNOWN] = PEER_UNKNOWN};
    struct peer_call *c = arg;
    struct peer_answer answer = {
        .outcome = a->outcome == HTTP_ANSWERED && !a->complete ? PEER_UNKNOWN : outcomes[a->outcome],
        .status = a->status,
        .body = a->body,
        .size = a->size,
        .text = a->error};

    c->done(c->arg, &answer);
    free(c);
}

int peer_start(struct peer_call **ret, struct peer *p, const struct peer_request *r, struct error *error)
{
    struct peer_call *c = alloc_zero(sizeof(*c));
    char url[URL_MAX], bearer[HEADER_MAX], acting[HEADER_MAX];
    struct client_request request = {.method = r->method,
                                     .url = url,
                                     .body = r->body,
                                     .body_size = r->body ? strlen(r->body) : 0,
                                     .ca_file = p->ca_file,
                                     .connect_timeout_ms = PEER_CONNECT_MS,
                                     .timeout_ms = r->timeout_ms,
                                     .idle_timeout_ms = r->idle_ms,
                                     .max_bytes = PEER_REPLY_BYTES_MAX,
                                     .once = strcmp(r->method, "GET") != 0,
                                     .opened = r->opened ? on_opened : NULL,
                                     .data = r->data ? on_data : NULL,
                                     .done = on_done,
                                     .arg = c};
    size_t n = 0;
    int rc;

    if (snprintf(url, sizeof(url), "%s%s", r->url, r->path) >= (int)sizeof(url)) {
        free(c);
        return error_set(error, ERR_LIMIT, "the path is too long");
    }
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", p->secret);
    request.headers[n++] = bearer;
    if (r->acting) {
        snprintf(acting, sizeof(acting), "Cronsched-Acting: %s", r->acting);
        request.headers[n++] = acting;
    }
    if (r->body)
        request.headers[n++] = "Content-Type: application/json";
    c->opened = r->opened;
    c->data = r->data;
    c->done = r->done;
    c->arg = r->arg;
    rc = curl_uv_start(&c->call, p->curl, &request, error);
    explicit_bzero(bearer, sizeof(bearer));
    if (rc < 0)
        free(c);
    else
        *ret = c;
    return rc;
}

void peer_cancel(struct peer_call *c)
{
    if (!c)
        return;
    curl_call_cancel(c->call);
    free(c);
}

void peer_resume(struct peer_call *c)
{
    curl_call_resume(c->call);
}

struct closing {
    struct peer *peer;
    void (*done)(void *arg);
    void *arg;
};

static void on_closed(void *arg)
{
    struct closing closing = *(struct closing *)arg;

    free(arg);
    explicit_bzero(closing.peer->secret, sizeof(closing.peer->secret));
    free(closing.peer->ca_file);
    free(closing.peer);
    closing.done(closing.arg);
}

void peer_close(struct peer *p, void (*done)(void *arg), void *arg)
{
    struct closing *closing = alloc_zero(sizeof(*closing));

    *closing = (struct closing){p, done, arg};
    curl_uv_close(p->curl, on_closed, closing);
}
