/* A request's body as JSON. A small one is parsed on the loop; of a large one each megabyte takes the processor ten
 * milliseconds and more, so a thread does that, one body at a time, and frees them as well: the request waits in its
 * handler's place meanwhile. It may be answered, or its client be gone, when the thread is done; then the JSON is
 * thrown away. The server is not closed before.
 */
#include "cronsched/http/http_core.h"
#include "cronsched/http/http_form.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <stdlib.h>

struct http_body {
    struct object object; /* first */
    struct work work;
    struct http *http;
    struct http_request *request; /* NULL: `json` is to be freed */
    char *bytes;                  /* those of the request, counted until they are freed */
    size_t len, cap;
    json_t *json;
    int code;
    struct error error;
};

static void body_run(struct work *work)
{
    struct http_body *b = OBJECT_OF(struct http_body, work, work);

    if (b->request)
        b->code = json_text_object(b->bytes, b->len, "body", &b->json, &b->error);
    else
        json_decref(b->json);
}

static void body_end(struct http_body *b)
{
    struct http *http = b->http;

    OBJECT_FREE(struct http_body, b);
    assert(http->bodies_under_way > 0);
    http->bodies_under_way--;
    if (http->closing)
        http_closed_one(http);
}

/* When so many wait that it is refused, which takes thousands of them, the loop frees it. */
static void on_freed(struct work *work, int result)
{
    struct http_body *b = OBJECT_OF(struct http_body, work, work);

    if (result < 0)
        json_decref(b->json);
    body_end(b);
}

static void go_on(struct http_body *b, int result)
{
    struct http_request *r = b->request;
    uint64_t begun_ns = uv_hrtime();

    if (!r->http || r->answered)
        return;
    if (result < 0) {
        http_reply_error(r, result, "too many large requests at once; try again");
    } else if (b->code < 0) {
        http_reply_failure(r, &b->error); /* 413 or 400 */
    } else {
        r->json = b->json;
        r->large = true;
        b->json = NULL;
        http_request_call(r);
    }
    b->http->turn_ns += uv_hrtime() - begun_ns;
}

static void on_parsed(struct work *work, int result)
{
    struct http_body *b = OBJECT_OF(struct http_body, work, work);

    free(b->bytes);
    b->http->bodies_bytes -= b->cap;
    go_on(b, result);
    http_request_unref(b->request);
    b->request = NULL;
    if (!b->json) {
        body_end(b);
        return;
    }
    b->work = (struct work){.run = body_run, .done = on_freed};
    worker_submit(b->http->bodies, &b->work);
}

static struct http_body *body_new(struct http *http)
{
    struct http_body *b = OBJECT_NEW(struct http_body);

    b->http = http;
    http->bodies_under_way++;
    return b;
}

bool http_body_parse(struct http_request *r)
{
    struct http_body *b;
    struct error e;
    int code;

    if (r->body_len == 0)
        return true;
    if (r->body_len <= HTTP_BODY_BYTES_MAX) {
        if (r->entry->route->form)
            code = http_form_parse(r->body, r->body_len, &r->json, &e);
        else
            code = json_text_object(r->body, r->body_len, "body", &r->json, &e);
        http_body_drop(r);
        if (code < 0)
            http_reply_failure(r, &e); /* 413 or 400 */
        return code == 0;
    }
    b = body_new(r->http);
    b->request = http_request_ref(r);
    b->bytes = r->body;
    b->len = r->body_len;
    b->cap = r->body_cap;
    r->body = NULL;
    r->body_len = r->body_cap = 0;
    b->work = (struct work){.run = body_run, .done = on_parsed};
    worker_submit(r->http->bodies, &b->work);
    return false;
}

void http_body_drop(struct http_request *r)
{
    r->http->bodies_bytes -= r->body_cap;
    free(r->body);
    r->body = NULL;
    r->body_len = r->body_cap = 0;
}

void http_body_release(struct http_request *r)
{
    struct http_body *b;

    if (!r->large || r->refs > 1) /* somebody may still look at it */
        return;
    b = body_new(r->http);
    b->json = r->json;
    r->json = NULL;
    b->work = (struct work){.run = body_run, .done = on_freed};
    worker_submit(r->http->bodies, &b->work);
}
