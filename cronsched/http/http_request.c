/* Receiving a request. The library calls, in this order and for one request at a time on a connection:
 *   http_on_target     the request line is there: the request is made
 *   http_on_request    the headers are there: they are checked, the caller and the route found
 *   http_on_request    for each piece of the body
 *   http_on_request    the body is complete: the handler is called; without an answer the connection is
 *                      suspended
 *   http_on_request    it was resumed: there is an answer now, which the library gets
 *   http_on_completed  sent, or the client hung up: always the last call
 *
 * A request that is refused before its body has come: when the body is small it is read and thrown away, so
 * that the connection lives on and the client surely sees the answer; else the answer goes out at once and
 * the connection closes after it. Where the end of the request is in doubt (Content-Length beside
 * Transfer-Encoding) it closes as well, so that nothing can be smuggled behind it.
 */
#include "cronsched/http/http_core.h"
#include "cronsched/http/http_head.h"

#include "jobs/base/near.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the request's own life ---- */

struct http_request *http_request_ref(struct http_request *r)
{
    r->refs++;
    return r;
}

void http_request_unref(struct http_request *r)
{
    if (!r || --r->refs > 0)
        return;
    assert(r->phase == HTTP_DONE);
    for (size_t i = 0; i < r->header_count; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    if (r->then_release)
        r->then_release(r->then_arg);
    json_decref(r->json);
    http_target_release(&r->target);
    free(r->raw);
    free(r->page);
    OBJECT_FREE(struct http_request, r);
}

void *http_on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http_daemon *d = OBJECT(struct http_daemon, cls);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    void *context = info ? info->socket_context : NULL;
    char *query = strchr((char *)(uintptr_t)uri, '?'); /* in the connection's own buffer */
    struct http_request *r = context ? calloc(1, sizeof(*r)) : NULL;
    struct http_connection *c;

    if (!r)
        return NULL;
    OBJECT_INIT(struct http_request, r);
    c = OBJECT(struct http_connection, context);
    r->refs = 1;
    r->http = d->listener->http;
    r->connection = c;
    r->mhd = mhd;
    r->begun_ms = uv_now(r->http->loop);
    r->begun_ns = uv_hrtime();
    list_init(&r->ready);
    r->raw = strdup(uri);
    /* We take the target apart ourselves (http_target.h). The library would keep a record of each key, in the memory that the
     * headers have, and close without an answer when that is used up. It looks there after this call, and finds an empty
     * query. */
    if (query)
        query[1] = '\0';
    c->request = r;
    c->requests++;
    r->http->request_count++;
    return r;
}

/* So much of the target is told: below /ui/login nothing of the query, which may let somebody in. */
static int shown_length(const struct http_request *r)
{
    static const char login[] = "/ui/login";

    return r->raw && strncmp(r->raw, login, strlen(login)) == 0 ? (int)strlen(login) : 300;
}

static void log_request(const struct http_request *r)
{
    char text[512];

    if (!r->http->log)
        return;
    snprintf(text, sizeof(text), "%s %.*s %d %s %llu ms", r->method, shown_length(r), r->raw ? r->raw : "",
             r->status, r->identity.name, (unsigned long long)(uv_now(r->http->loop) - r->begun_ms));
    r->http->log(r->http->arg, LOG_TRACE, "http", text);
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode why)
{
    struct http_request *r;

    if (!*con_cls)
        return;
    r = OBJECT(struct http_request, *con_cls);
    *con_cls = NULL;
    r->phase = HTTP_DONE;
    log_request(r);
    if (r->stream)
        http_stream_gone(r->stream);
    if (r->reply)
        MHD_destroy_response(r->reply);
    r->reply = NULL;
    http_body_drop(r);
    http_body_release(r);
    r->http->replies_bytes -= r->reply_bytes;
    http_ready_drop(r);
    r->connection->request = NULL;
    r->connection->since_ms = uv_now(r->http->loop);
    r->http->request_count--;
    r->http = NULL;
    r->connection = NULL;
    r->mhd = NULL;
    http_request_unref(r);
}

/* ---- the headers ---- */

struct headers {
    struct object object;
    int hosts, lengths, encodings, authorizations;
    bool odd_name, bad_length, odd_encoding, expects;
    uint64_t length;
    struct auth_claim claim;
};

static bool is_token(const char *s)
{
    return s[0] &&
           strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
               strlen(s);
}

static void see_length(struct headers *h, const char *value)
{
    char *end;

    h->lengths++;
    h->length = strtoull(value, &end, 10);
    h->bad_length = h->bad_length || !value[0] || strspn(value, "0123456789") != strlen(value) ||
                    strlen(value) > 18;
}

static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct headers *h = OBJECT(struct headers, cls);

    value = value ? value : "";
    if (!is_token(name))
        h->odd_name = true;
    else if (strcasecmp(name, "Host") == 0 && ++h->hosts)
        h->claim.host = value;
    else if (strcasecmp(name, "Content-Length") == 0)
        see_length(h, value);
    else if (strcasecmp(name, "Transfer-Encoding") == 0 && ++h->encodings)
        h->odd_encoding = h->odd_encoding || strcasecmp(value, "chunked") != 0;
    else if (strcasecmp(name, "Authorization") == 0 && ++h->authorizations)
        h->claim.authorization = value;
    else if (strcasecmp(name, "Cronsched-Acting") == 0)
        h->claim.acting = value;
    else if (strcasecmp(name, "Cookie") == 0)
        h->claim.cookie = value;
    else if (strcasecmp(name, "Origin") == 0)
        h->claim.origin = value;
    else if (strcasecmp(name, "Sec-Fetch-Site") == 0)
        h->claim.fetch_site = value;
    else if (strcasecmp(name, "Sec-Fetch-Mode") == 0)
        h->claim.fetch_mode = value;
    else if (strcasecmp(name, "Sec-Fetch-Dest") == 0)
        h->claim.fetch_dest = value;
    else if (strcasecmp(name, "Forwarded") == 0 || strcasecmp(name, "X-Forwarded-For") == 0 ||
             strcasecmp(name, "Via") == 0)
        h->claim.forwarded = true;
    else if (strcasecmp(name, "Expect") == 0)
        h->expects = true;
    return MHD_YES;
}

/* What leaves open where the request ends, or whom it is for: answered and cut off. */
static int check_framing(const struct headers *h, const char *version, struct error *error)
{
    bool one_one = strcmp(version, "HTTP/1.1") == 0;

    if (!one_one && strcmp(version, "HTTP/1.0") != 0)
        return error_set(error, ERR_UNSUPPORTED, "this server speaks HTTP/1.1 and HTTP/1.0");
    if (h->odd_name)
        return error_set(error, ERR_INVALID, "a header's name has invalid characters");
    if (h->hosts > 1 || (one_one && h->hosts == 0))
        return error_set(error, ERR_INVALID, "a request must have exactly one Host header");
    if (h->authorizations > 1)
        return error_set(error, ERR_INVALID, "a request may have only one Authorization header");
    if (h->lengths > 0 && h->encodings > 0)
        return error_set(error, ERR_INVALID, "Content-Length and Transfer-Encoding exclude each other");
    if (h->lengths > 1 || h->bad_length)
        return error_set(error, ERR_INVALID, "Content-Length must be one number");
    if (h->encodings > 1 || h->odd_encoding || (h->encodings > 0 && !one_one))
        return error_set(error, ERR_UNSUPPORTED, "the only Transfer-Encoding known here is 'chunked'");
    return 0;
}

/* What it says exactly, as bytes. */
static int check_head(struct http_request *r, const char *method, const char *version, struct error *error)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    return http_head_check(method, info ? info->header_size : 0, version, error);
}

/* ---- what is refused ---- */

static void know_peer(struct http_connection *c)
{
    if (!c->peer_known)
        auth_peer_init(&c->peer, c->fd, http_socket_group(&c->daemon->listener->socket));
    c->peer_known = true;
}

static void tell_refusal(struct http_request *r, enum http_refusal why, const char *text)
{
    char what[384];

    know_peer(r->connection);
    snprintf(what, sizeof(what), "%s %.*s", r->method, shown_length(r), r->raw ? r->raw : "");
    http_refused(r->http, why, r->identity.name[0] ? r->identity.name : r->connection->peer.name, what, text);
}

/* ---- the route ---- */

static bool method_serves(const char *have, const char *asked)
{
    return strcmp(have, asked) == 0 || (strcmp(have, "GET") == 0 && strcmp(asked, "HEAD") == 0);
}

static void reply_no_such_path(struct http_request *r)
{
    const char *patterns[HTTP_ROUTES_MAX];
    char near[NEAR_NAME_MAX], hint[NEAR_HINT_BUFFER];
    bool suggested;

    for (size_t i = 0; i < r->http->entry_count; i++)
        patterns[i] = r->http->entries[i].route->path;
    suggested = http_target_suggest(&r->target, patterns, r->http->entry_count, near, sizeof(near));
    http_reply_error(r, ERR_NOT_FOUND, "there is nothing at this path%s",
                     near_hint(suggested ? near : NULL, hint, sizeof(hint)));
}

static void reply_no_such_method(struct http_request *r, const char *allowed)
{
    struct error e;

    error_set(&e, ERR_UNSUPPORTED, "%s is not served at this path; %s is", r->method, allowed);
    http_reply_header(r, "Allow", allowed);
    http_reply_problem(r, 405, &e, NULL);
}

static bool find_route(struct http_request *r)
{
    char allowed[128] = "";
    size_t n = 0;

    for (size_t i = 0; i < r->http->entry_count; i++) {
        const struct http_route *route = r->http->entries[i].route;
        struct http_params params;

        if (!http_target_match(&r->target, route->path, &params))
            continue;
        if (method_serves(route->method, r->method)) {
            r->entry = &r->http->entries[i];
            r->params = params;
            return true;
        }
        if (n + strlen(route->method) + 8 < sizeof(allowed)) {
            const char *with = strcmp(route->method, "GET") == 0 ? ", HEAD" : "";

            n += (size_t)snprintf(allowed + n, sizeof(allowed) - n, "%s%s%s", n ? ", " : "", route->method,
                                  with);
        }
    }
    if (n > 0)
        reply_no_such_method(r, allowed);
    else
        reply_no_such_path(r);
    return false;
}

/* ---- who is it ---- */

static bool identify(struct http_request *r, struct auth_claim *claim)
{
    struct http_connection *c = r->connection;
    enum auth_role needed = r->entry->route->role;
    struct error e;

    know_peer(c);
    claim->safe = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    claim->tls = c->daemon->listener->tls != NULL;
    if (needed == AUTH_NOBODY) {
        r->identity = (struct auth_identity){.role = AUTH_NOBODY};
        memcpy(r->identity.name, c->peer.name, sizeof(r->identity.name));
        return true;
    }
    if (auth_identify(r->http->auth, &c->peer, claim, &r->identity, &e) == 0) {
        if (r->identity.role >= needed)
            return true;
        error_set(&e, ERR_DENIED, "this needs the role '%s'; %s has the role '%s'", auth_role_name(needed),
                  r->identity.name, auth_role_name(r->identity.role));
    }
    if (!r->identity.early || !r->identity.challenge)
        tell_refusal(r, r->identity.challenge ? HTTP_REFUSED_TOKEN : HTTP_REFUSED_DENIED, e.text);
    if (r->identity.challenge)
        http_reply_header(r, "WWW-Authenticate", "Bearer realm=\"cronsched\"");
    if (r->entry->route->refused)
        r->entry->route->refused(r, r->entry->arg, &e);
    else
        http_reply_problem(r, r->identity.challenge ? 401 : 403, &e, NULL);
    return false;
}

/* The last places of a listener are for those without whom nobody else can be served. */
static bool check_place(struct http_request *r)
{
    const struct auth_peer *peer = &r->connection->peer;
    bool admin = peer->via == AUTH_VIA_UNIX && r->identity.role == AUTH_ADMIN;
    struct error e;

    r->connection->of_replica = r->identity.replica;
    if (!http_connection_is_kept(r->connection) || r->identity.replica || admin ||
        r->entry->route->role == AUTH_NOBODY)
        return true;
    error_set(&e, ERR_LIMIT, "this server has as many connections as it takes; try again");
    tell_refusal(r, HTTP_REFUSED_PLACE, e.text);
    r->close_after = true;
    http_reply_problem(r, 503, &e, NULL);
    return false;
}

/* ---- the body ---- */

static bool is_type(const char *type, const char *wanted)
{
    size_t n = strcspn(type, "; ");

    return n == strlen(wanted) && strncasecmp(type, wanted, n) == 0;
}

/* A page of another site can send a form, text, or bytes of no type without asking first; JSON it cannot. */
static bool check_body_headers(struct http_request *r, const struct headers *h)
{
    const struct http_route *route = r->entry->route;
    const char *type = MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, "Content-Type");
    struct error e;

    if (h->length == 0 && h->encodings == 0)
        return true;
    if (route->body_bytes_max == 0) {
        http_reply_error(r, ERR_INVALID, "%s takes no body", route->path);
        return false;
    }
    if (!type || !is_type(type, route->form ? "application/x-www-form-urlencoded" : "application/json")) {
        error_set(&e, ERR_INVALID, "the body is %s",
                  route->form ? "a form: send 'Content-Type: application/x-www-form-urlencoded'"
                              : "JSON: send 'Content-Type: application/json'");
        http_reply_problem(r, 415, &e, NULL);
        return false;
    }
    if (h->length > route->body_bytes_max) {
        error_set(&e, ERR_LIMIT, "the body is larger than %zu bytes", route->body_bytes_max);
        http_reply_problem(r, 413, &e, NULL);
        return false;
    }
    return true;
}

/* Room for n more bytes within the route's and the server's limits; otherwise the request is answered. */
static bool body_room(struct http_request *r, size_t n)
{
    size_t most = r->entry->route->body_bytes_max, cap = r->body_cap ? r->body_cap : 4096;
    struct error e;
    char *grown;

    if (n > most - r->body_len) {
        error_set(&e, ERR_LIMIT, "the body is larger than %zu bytes", most);
        http_reply_problem(r, 413, &e, NULL);
        return false;
    }
    if (r->body && r->body_len + n <= r->body_cap)
        return true;
    while (cap < r->body_len + n)
        cap *= 2;
    if (cap > most)
        cap = most;
    if (r->http->bodies_bytes - r->body_cap + cap > HTTP_BODIES_BYTES_MAX) {
        error_set(&e, ERR_LIMIT, "too many large requests at once; try again");
        http_reply_header(r, "Retry-After", "1");
        http_reply_problem(r, 429, &e, NULL);
        return false;
    }
    grown = realloc(r->body, cap);
    if (!grown) {
        http_reply_error(r, ERR_NOMEM, "out of memory");
        return false;
    }
    r->http->bodies_bytes += cap - r->body_cap;
    r->body = grown;
    r->body_cap = cap;
    return true;
}

/* MHD_NO: the connection is cut. */
static enum MHD_Result take_body(struct http_request *r, const char *bytes, size_t n)
{
    if (!r->answered && body_room(r, n)) {
        memcpy(r->body + r->body_len, bytes, n);
        r->body_len += n;
        return MHD_YES;
    }
    r->drained += n;
    return r->drained <= HTTP_DRAIN_BYTES_MAX ? MHD_YES : MHD_NO;
}

/* ---- the calls of the library ---- */

static enum MHD_Result send_reply(struct http_request *r)
{
    enum MHD_Result ok;

    r->phase = HTTP_SENDING;
    ok = MHD_queue_response(r->mhd, (unsigned)r->status, r->reply);
    MHD_destroy_response(r->reply);
    r->reply = NULL;
    return ok;
}

static void copy_method(struct http_request *r, const char *method)
{
    if (strlen(method) < sizeof(r->method))
        memcpy(r->method, method, strlen(method) + 1);
    else
        memcpy(r->method, "?", 2);
}

/* The headers are there. True: the answer must not wait for the body. */
static bool begin(struct http_request *r, const char *method, const char *version)
{
    struct headers h = {.object = OBJECT_MARK(struct headers)};
    struct error e;

    copy_method(r, method);
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, see_header, &h);
    r->expects = h.expects;
    r->close_after = h.encodings > 0; /* the ends of chunks may be in doubt as well */
    if (check_head(r, method, version, &e) < 0 || check_framing(&h, version, &e) < 0) {
        r->close_after = true;
        tell_refusal(r, HTTP_REFUSED_MALFORMED, e.text);
        http_reply_failure(r, &e);
        return true;
    }
    if (!r->raw)
        http_reply_error(r, ERR_NOMEM, "out of memory");
    else if (http_target_init(&r->target, r->raw, &e) < 0)
        http_reply_failure(r, &e);
    else if (find_route(r) && identify(r, &h.claim) && check_place(r) && check_body_headers(r, &h) &&
             http_target_check_query(&r->target, r->entry->route->query ? r->entry->route->query : "", &e) <
                 0)
        http_reply_failure(r, &e);
    return r->answered && (h.expects || h.length > HTTP_DRAIN_BYTES_MAX);
}

void http_request_handle(struct http_request *r)
{
    if (http_body_parse(r))
        http_request_call(r);
}

void http_request_call(struct http_request *r)
{
    if (r->http->closing) {
        http_reply_error(r, ERR_CANCELLED, "this server is stopping");
        return;
    }
    r->entry->route->handle(r, r->entry->arg);
}

static void dispatch(struct http_request *r)
{
    r->phase = HTTP_HANDLING;
    r->handled_ms = uv_now(r->http->loop);
    http_ready_add(r);
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
    struct http_request *r;
    size_t n = *upload_size;

    if (!*con_cls)
        return MHD_NO;
    r = OBJECT(struct http_request, *con_cls);
    if (r->phase == HTTP_HEADERS) {
        r->phase = HTTP_BODY;
        return begin(r, method, version) ? send_reply(r) : MHD_YES;
    }
    if (n > 0) {
        *upload_size = 0;
        return take_body(r, upload, n);
    }
    if (r->phase == HTTP_BODY && !r->answered)
        dispatch(r);
    if (r->answered)
        return r->reply ? send_reply(r) : MHD_NO; /* no memory even for an error */
    r->suspended = true;
    MHD_suspend_connection(mhd);
    return MHD_YES;
}

/* ---- as another one ---- */

void http_go_on_as(struct http_request *r, const struct http_detour *detour)
{
    struct http_target target;
    char *raw = strdup(detour->target);
    struct error e;

    r->then = detour->then;
    r->then_release = detour->release;
    r->then_arg = detour->arg;
    json_decref(r->json);
    r->json = detour->body;
    if (!raw || http_target_init(&target, raw, &e) < 0) {
        free(raw);
        http_reply_error(r, ERR_INVALID, "%.200s is no path", detour->target);
        return;
    }
    http_target_release(&r->target);
    if (r->page || strcmp(r->method, "GET") != 0)
        free(r->raw);
    else
        r->page = r->raw;
    r->target = target;
    r->raw = raw;
    copy_method(r, detour->method);
    if (!find_route(r))
        return;
    if (r->identity.role < r->entry->route->role)
        http_reply_error(r, ERR_DENIED, "this needs the role '%s'; %s has the role '%s'",
                         auth_role_name(r->entry->route->role), r->identity.name,
                         auth_role_name(r->identity.role));
    else
        http_request_call(r);
}

bool http_on_detour(const struct http_request *r)
{
    return r->then != NULL;
}

void http_come_back(struct http_request *r)
{
    struct http_target target;
    struct error e;

    if (!r->page || http_target_init(&target, r->page, &e) < 0) /* no memory: as it is */
        return;
    http_target_release(&r->target);
    free(r->raw);
    r->target = target;
    r->raw = r->page;
    r->page = NULL;
    copy_method(r, "GET");
}

/* ---- what a handler asks ---- */

const char *http_method(const struct http_request *r)
{
    return r->method;
}

bool http_repeatable(const struct http_request *r)
{
    const struct http_route *route = r->entry->route;

    if (route->repeat == HTTP_REPEATABLE_BY_KEY)
        return json_is_string(json_object_get(r->json, "key"));
    return route->repeat == HTTP_REPEATABLE || strcmp(route->method, "GET") == 0;
}

const char *http_raw_target(const struct http_request *r)
{
    return r->raw;
}

const char *http_param(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->params.count; i++)
        if (strcmp(r->params.items[i].name, name) == 0)
            return r->params.items[i].value;
    assert(!"the route's pattern has no such part");
    return "";
}

const char *http_query(const struct http_request *r, const char *name)
{
    return http_target_query(&r->target, name);
}

bool http_tls(const struct http_request *r)
{
    return r->connection && r->connection->daemon->listener->tls;
}

const char *http_header(const struct http_request *r, const char *name)
{
    return r->mhd ? MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name) : NULL;
}

const json_t *http_body(const struct http_request *r)
{
    return r->json;
}

const struct auth_identity *http_caller(const struct http_request *r)
{
    return &r->identity;
}
