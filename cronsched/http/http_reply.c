/* Answering. A reply is made as a response of the library and kept in the request; if the handler still runs
 * it is given to the library when it returns, else the connection is resumed, and the library comes for it
 * (http_request.c). The first reply counts; any later one, and one to a client that is gone, is dropped here.
 *
 * A stream is a response whose bytes the library fetches: from the stream's buffer while there are some; when
 * there are none the connection is suspended until http_stream_write or http_stream_end wakes it.
 */
#include "cronsched/http/http_core.h"
#include "cronsched/http/http_encode.h"

#include "jobs/base/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STREAM_BLOCK_BYTES (16 * 1024)
#define SMALL_BYTES        (16 * 1024) /* a reply that is sent however many others wait to be */

static const struct {
    int code, status;
} statuses[] = {
    {ERR_INVALID, 400},   {ERR_NOT_FOUND, 404}, {ERR_CONFLICT, 409},    {ERR_BUSY, 409},
    {ERR_LIMIT, 413},     {ERR_DENIED, 403},    {ERR_NO_LEADER, 503},   {ERR_TIMEOUT, 504},
    {ERR_REFUSED, 502},   {ERR_UNKNOWN, 504},   {ERR_UNREACHABLE, 502}, {ERR_UNSUPPORTED, 501},
    {ERR_IO, 500},        {ERR_FULL, 507},      {ERR_CORRUPT, 500},     {ERR_NOMEM, 503},
    {ERR_CANCELLED, 503}, {ERR_DEPOSED, 503},   {ERR_INTERNAL, 500},
};

int http_status_of(int code)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].code == code)
            return statuses[i].status;
    return 500;
}

/* ---- the one way out ---- */

static void resume(struct http_request *r)
{
    r->suspended = false;
    MHD_resume_connection(r->mhd);
    http_daemon_wake(r->connection->daemon);
}

static bool has_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

static void set_header(const struct http_request *r, struct MHD_Response *response, const char *name,
                       const char *value)
{
    if (!has_header(r, name))
        MHD_add_response_header(response, name, value);
}

/* Takes the response, which is NULL when there was no memory: then the connection ends without an answer. */
static void answer(struct http_request *r, int status, const char *type, struct MHD_Response *response)
{
    struct http_entry *entry = r->entry ? r->entry : &r->http->unrouted;

    assert(!http_answered(r) && status >= 200 && status < 600);
    r->answered = true;
    r->status = status;
    r->reply = response;
    entry->answered[status / 100]++;
    entry->total_ns += uv_hrtime() - r->begun_ns;
    if (response) {
        for (size_t i = 0; i < r->header_count; i++)
            MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
        set_header(r, response, "Content-Type", type);
        set_header(r, response, "Cache-Control", "no-store");
        set_header(r, response, "X-Content-Type-Options", "nosniff");
        if (r->close_after)
            MHD_add_response_header(response, "Connection", "close");
    }
    if (r->suspended)
        resume(r);
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    struct http_header_pair pair;

    if (http_answered(r))
        return;
    assert(r->header_count < HTTP_HEADERS_MAX);
    pair.name = strdup(name);
    pair.value = strdup(value);
    if (pair.name && pair.value) {
        r->headers[r->header_count++] = pair;
        return;
    }
    free(pair.name);
    free(pair.value);
}

static void reply_too_many(struct http_request *r)
{
    struct error e;

    error_set(&e, ERR_LIMIT, "too many large replies are waiting to be sent; try again");
    http_reply_header(r, "Retry-After", "1");
    http_reply_problem(r, 429, &e, NULL);
}

static const char *asked(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

/* Compressed, when the client takes that and it pays. Takes the bytes and returns them, or those in their place. */
static char *compressed(struct http_request *r, char *bytes, size_t *n)
{
    struct http_gzip *gzip;
    struct text out;

    if (!bytes || *n < HTTP_GZIP_LEAST || *n > HTTP_GZIP_MOST ||
        !http_accepts_gzip(asked(r, "Accept-Encoding")))
        return bytes;
    gzip = http_gzip_new();
    text_init(&out, *n); /* not if it becomes larger */
    if (gzip && http_gzip_add(gzip, bytes, *n, true, &out) == 0 && out.len) {
        http_reply_header(r, "Content-Encoding", "gzip");
        free(bytes);
        *n = out.len;
        bytes = text_take(&out);
    }
    text_release(&out);
    http_gzip_free(gzip);
    return bytes;
}

/* A tag, by which the client may ask again for what it has already: then it is told so, in a few bytes. */
static bool answer_unchanged(struct http_request *r, const char *type, const char *bytes, size_t n)
{
    char tag[HTTP_TAG_SIZE];

    if (!bytes || r->identity.replica || (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0))
        return false;
    http_reply_header(r, "ETag", http_tag_of(bytes, n, tag));
    http_reply_header(r, "Vary", "Accept-Encoding");
    if (!http_tag_matches(asked(r, "If-None-Match"), tag))
        return false;
    answer(r, 304, type, MHD_create_response_from_buffer(0, (char[1]){0}, MHD_RESPMEM_MUST_COPY));
    return true;
}

/* Takes the bytes, malloc'd; NULL: there was no memory for them. */
static void answer_bytes(struct http_request *r, int status, const char *type, char *bytes, size_t n)
{
    struct MHD_Response *response = NULL;

    if (bytes && n > SMALL_BYTES && r->http->replies_bytes + n > HTTP_REPLIES_BYTES_MAX) {
        free(bytes);
        reply_too_many(r);
        return;
    }
    if (status == 200 && answer_unchanged(r, type, bytes, n)) {
        free(bytes);
        return;
    }
    bytes = compressed(r, bytes, &n);
    r->reply_bytes = bytes ? n : 0;
    r->http->replies_bytes += r->reply_bytes;
    if (bytes)
        response = MHD_create_response_from_buffer(n, bytes, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(bytes);
    answer(r, status, type, response);
}

/* ---- whole replies ---- */

void http_reply_json(struct http_request *r, int status, json_t *json)
{
    size_t n;
    char *text;

    if (http_answered(r)) {
        json_decref(json);
        return;
    }
    if (json && r->http->view)
        json = r->http->view(&r->identity, json);
    if (json && r->then) {
        void (*then)(struct http_request *, int, const json_t *, void *) = r->then;

        r->then = NULL;
        http_come_back(r);
        then(r, status, json, r->then_arg);
        json_decref(json);
        return;
    }
    if (!json) {
        http_reply_error(r, ERR_NOMEM, "out of memory");
        return;
    }
    text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(json);
    n = text ? strlen(text) : 0;
    if (text)
        text[n++] = '\n'; /* in place of the NUL: the length is given */
    answer_bytes(r, status, "application/json", text, n);
}

void http_reply_text(struct http_request *r, int status, const char *type, const char *text)
{
    if (!http_answered(r))
        answer_bytes(r, status, type, strdup(text), strlen(text));
}

void http_reply_bytes(struct http_request *r, const char *type, const void *bytes, size_t size,
                      const void *gzip, size_t gzip_size)
{
    bool small;

    if (http_answered(r))
        return;
    small = gzip && http_accepts_gzip(asked(r, "Accept-Encoding"));
    http_reply_header(r, "Vary", "Accept-Encoding");
    if (small) {
        http_reply_header(r, "Content-Encoding", "gzip");
        bytes = gzip;
        size = gzip_size;
    }
    answer(r, 200, type,
           MHD_create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT));
}

void http_reply_redirect(struct http_request *r, const char *path)
{
    http_reply_header(r, "Location", path);
    http_reply_text(r, 303, "text/plain", "");
}

/* Texts of errors quote what was sent, and may be cut in mid-letter. */
static json_t *json_of_text(const char *text)
{
    char clean[ERROR_TEXT_MAX];
    size_t n = strlen(text), at;

    if (n >= sizeof(clean))
        n = sizeof(clean) - 1;
    memcpy(clean, text, n);
    clean[n] = '\0';
    while ((at = utf8_check(clean, n)) < n)
        clean[at] = '?';
    return json_string(clean);
}

void http_reply_problem(struct http_request *r, int status, const struct error *error, json_t *more)
{
    json_t *object;

    if (http_answered(r)) {
        json_decref(more);
        return;
    }
    if (status == 503 && !has_header(r, "Retry-After"))
        http_reply_header(r, "Retry-After", "1");
    object = json_pack("{s:s, s:o}", "code", error_name(error->code), "text", json_of_text(error->text));
    if (object && more)
        json_object_update_missing(object, more);
    json_decref(more);
    object = object ? json_pack("{s:o}", "error", object) : NULL;
    if (object)
        http_reply_json(r, status, object);
    else
        answer(r, status, "application/json", NULL);
}

void http_reply_failure(struct http_request *r, const struct error *error)
{
    http_reply_problem(r, http_status_of(error->code), error, NULL);
}

void http_reply_error(struct http_request *r, int code, const char *format, ...)
{
    struct error e;
    va_list ap;

    va_start(ap, format);
    error_setv(&e, code, format, ap);
    va_end(ap);
    http_reply_failure(r, &e);
}

/* ---- streams ---- */

static ssize_t on_fetch(void *cls, uint64_t position, char *buffer, size_t max)
{
    struct http_stream *s = OBJECT(struct http_stream, cls);
    size_t n = s->len - s->at < max ? s->len - s->at : max;

    if (n == 0 && s->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && s->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        s->suspended = true;
        MHD_suspend_connection(s->request->mhd);
        return 0;
    }
    memcpy(buffer, s->data + s->at, n);
    s->at += n;
    if (s->at == s->len)
        s->at = s->len = 0;
    if (s->wants_room && !s->ended && !s->cut && s->len - s->at < HTTP_STREAM_BYTES_MAX / 2) {
        s->wants_room = false;
        s->events.drained(s->arg);
    }
    return (ssize_t)n;
}

static ssize_t on_no_bytes(void *cls, uint64_t position, char *buffer, size_t max)
{
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* Logs and events go out as they come, and nobody is to hold them back to compress them. */
static bool is_for_programs(const char *type)
{
    return strcmp(type, "application/json") == 0 || strncmp(type, "text/plain; version=", 20) == 0;
}

struct http_stream *http_reply_stream(struct http_request *r, int status, const char *type,
                                      const struct http_stream_events *events, void *arg)
{
    struct MHD_Response *response;
    struct http_stream *s;

    if (http_answered(r))
        return NULL;
    if (strcmp(r->method, "HEAD") == 0) { /* how long it would be nobody knows */
        answer(
            r, status, type,
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, on_no_bytes, NULL, NULL));
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    response = s ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, on_fetch, s, NULL)
                 : NULL;
    if (!response) {
        free(s);
        http_reply_error(r, ERR_NOMEM, "out of memory");
        return NULL;
    }
    OBJECT_INIT(struct http_stream, s);
    s->request = r;
    s->events = *events;
    s->arg = arg;
    r->stream = s;
    if (is_for_programs(type) && http_accepts_gzip(asked(r, "Accept-Encoding")))
        s->gzip = http_gzip_new(); /* NULL: it is sent as it is */
    if (s->gzip)
        http_reply_header(r, "Content-Encoding", "gzip");
    answer(r, status, type, response);
    return s;
}

static void stream_wake(struct http_stream *s)
{
    if (!s->suspended)
        return;
    s->suspended = false;
    resume(s->request);
}

static int stream_put(struct http_stream *s, const void *bytes, size_t n)
{
    if (s->len + n > s->cap && s->at > 0) {
        memmove(s->data, s->data + s->at, s->len - s->at);
        s->len -= s->at;
        s->at = 0;
    }
    if (s->len + n > s->cap) {
        size_t cap = s->cap ? s->cap : STREAM_BLOCK_BYTES;
        char *grown;

        while (cap < s->len + n)
            cap *= 2;
        grown = realloc(s->data, cap);
        if (!grown)
            return ERR_NOMEM;
        s->data = grown;
        s->cap = cap;
    }
    if (n > 0)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    return 0;
}

static int stream_compress(struct http_stream *s, const void *bytes, size_t n, bool last)
{
    struct text out;
    int rc;

    text_init(&out, SIZE_MAX / 2);
    rc = http_gzip_add(s->gzip, bytes, n, last, &out);
    if (rc == 0)
        rc = stream_put(s, out.data, out.len);
    text_release(&out);
    return rc;
}

int http_stream_write(struct http_stream *s, const void *bytes, size_t n)
{
    int rc;

    assert(!s->ended);
    if (s->cut)
        return 0;
    rc = s->gzip ? stream_compress(s, bytes, n, false) : stream_put(s, bytes, n);
    if (rc < 0)
        return rc;
    stream_wake(s);
    s->wants_room = s->len - s->at >= HTTP_STREAM_BYTES_MAX;
    return s->wants_room ? ERR_BUSY : 0;
}

void http_stream_end(struct http_stream *s)
{
    if (s->gzip && !s->cut && stream_compress(s, "", 0, true) < 0)
        s->cut = true; /* the client is to notice */
    s->ended = true;
    stream_wake(s);
}

void http_stream_cut(struct http_stream *s)
{
    s->cut = true;
    stream_wake(s);
}

void http_stream_gone(struct http_stream *s)
{
    s->events.closed(s->arg);
    s->request->stream = NULL;
    free(s->data);
    http_gzip_free(s->gzip);
    OBJECT_FREE(struct http_stream, s);
}
