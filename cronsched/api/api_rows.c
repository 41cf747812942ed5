/* Large answers, made a piece at a time. See api_priv.h.
 *
 * Happy path: the answer is queued; in a turn of the loop each queued answer makes a piece, one after the other, until
 * API_ROWS_TURN_MS have passed. An answer that is done within API_ROWS_WHOLE_BYTES goes out as a whole; a larger one becomes a
 * stream, and waits for `drained` whenever the client is behind. What its rows hold is released in pieces, too.
 *
 * Failures: the client goes: `closed`, and the rows are released. The rows cannot go on (another leader's state was taken over
 * meanwhile): the stream is cut, or nothing was sent yet and the answer is an error.
 */
#include "cronsched/api/api_priv.h"

#include <assert.h>
#include <stdlib.h>

struct answer {
    struct object object; /* first */
    struct list all;      /* in api->answers; of itself while it waits for the client */
    struct api *api;
    struct http_request *request; /* until a reply is there */
    struct http_stream *stream;   /* NULL: not yet, or closed */
    struct api_rows *rows;
    struct text text; /* made, not given away */
    bool done;        /* all is made */
};

static void put_in_line(struct answer *a)
{
    list_remove(&a->all);
    list_append(&a->api->answers, &a->all);
    loop_turn_ask(&a->api->rows_turn);
}

static void on_drained(void *arg)
{
    put_in_line(OBJECT(struct answer, arg));
}

static void on_closed(void *arg)
{
    struct answer *a = OBJECT(struct answer, arg);

    a->stream = NULL;
    a->done = true;
    put_in_line(a); /* to be released */
}

static void answer_free(struct answer *a)
{
    struct api *api = a->api;

    list_remove(&a->all);
    http_request_unref(a->request);
    text_release(&a->text);
    OBJECT_FREE(struct answer, a);
    api_work_end(api);
}

static void begin_stream(struct answer *a)
{
    static const struct http_stream_events events = {on_drained, on_closed};

    a->stream = http_reply_stream(a->request, 200, a->rows->type, &events, a);
    http_request_unref(a->request);
    a->request = NULL;
    a->done = a->done || !a->stream; /* nobody wants it */
}

static void fail(struct answer *a, int code)
{
    a->done = true;
    if (a->stream) {
        http_stream_cut(a->stream);
        return;
    }
    http_reply_error(a->request, code,
                     code == ERR_NOMEM ? "out of memory" : "the jobs were read again meanwhile; ask again");
    http_request_unref(a->request);
    a->request = NULL;
}

/* What is made goes out. False: the client is behind, and `drained` puts the answer in line again. */
static bool answer_send(struct answer *a)
{
    size_t whole = a->rows->whole ? a->rows->whole : API_ROWS_WHOLE_BYTES;
    int r;

    if (!a->stream && !a->done && a->text.len <= whole)
        return true;
    if (!a->stream && a->done && a->text.len <= whole) {
        http_reply_text(a->request, 200, a->rows->type, text_str(&a->text));
        http_request_unref(a->request);
        a->request = NULL;
        return true;
    }
    if (!a->stream)
        begin_stream(a);
    if (!a->stream)
        return true;
    r = http_stream_write(a->stream, a->text.data, a->text.len);
    text_clear(&a->text);
    if (r < 0 && r != ERR_BUSY) {
        fail(a, r);
    } else if (a->done) {
        http_stream_end(a->stream);
        return false; /* `closed` follows */
    }
    return r != ERR_BUSY;
}

/* One piece. False: it is not in line any more. */
static bool answer_step(struct answer *a)
{
    int r;

    if (a->done && (a->request || a->stream))
        return false; /* cut: `closed` follows */
    if (a->done) {
        if (!a->rows->release(a->rows))
            return true;
        answer_free(a);
        return false;
    }
    r = a->rows->next(a->rows, &a->text);
    if (r >= 0 && a->text.failed)
        r = a->text.failed;
    if (r < 0) {
        fail(a, r);
        return true;
    }
    a->done = r == 1;
    return answer_send(a);
}

void api_rows_turn(void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    uint64_t begun_ns = uv_hrtime();

    while (!list_empty(&api->answers)) {
        struct answer *a = LIST_ITEM(api->answers.next, struct answer, all);

        if (uv_hrtime() - begun_ns >= API_ROWS_TURN_MS * UINT64_C(1000000)) {
            loop_turn_ask(&api->rows_turn);
            return;
        }
        list_remove(&a->all);
        if (answer_step(a))
            list_append(&api->answers, &a->all);
    }
}

void api_rows_reply(struct api *api, struct http_request *request, const char *begin, struct api_rows *rows)
{
    struct answer *a = rows ? calloc(1, sizeof(*a)) : NULL;

    if (!a) {
        while (rows && !rows->release(rows))
            ;
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct answer, a);
    a->api = api;
    a->request = http_request_ref(request);
    a->rows = rows;
    rows->role = http_caller(request)->role;
    if (!rows->type)
        rows->type = "application/json";
    text_init(&a->text, API_ROWS_PIECE_BYTES_MAX);
    text_add(&a->text, begin);
    list_init(&a->all);
    api_work_begin(api); /* api_close waits for it */
    put_in_line(a);
}

/* ---- the rows of an array ---- */

struct array_rows {
    struct api_rows rows; /* first */
    json_t *array;
    size_t at;
};

int api_rows_add(const struct api_rows *rows, struct text *text, const char *before, json_t *row)
{
    json_t *seen = api_view_of(rows->role, json_incref(row));
    char *line = seen ? json_dumps(seen, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    json_decref(seen);
    if (!line)
        return ERR_NOMEM;
    text_add(text, before);
    text_add(text, line);
    free(line);
    return 0;
}

/* Each row is released as soon as it is a text. */
static int array_next(struct api_rows *rows, struct text *text)
{
    struct array_rows *a = (struct array_rows *)(void *)rows;
    int r = 0;

    for (int i = 0; i < API_ROWS_PIECE && a->at < json_array_size(a->array) && r == 0; i++, a->at++) {
        r = api_rows_add(rows, text, a->at ? "," : "", json_array_get(a->array, a->at));
        json_array_set_new(a->array, a->at, json_null());
    }
    if (r < 0 || a->at < json_array_size(a->array))
        return r;
    text_add(text, "]\n");
    return 1;
}

static bool array_release(struct api_rows *rows)
{
    struct array_rows *a = (struct array_rows *)(void *)rows;

    for (int i = 0; i < API_ROWS_PIECE && a->at < json_array_size(a->array); i++, a->at++)
        json_array_set_new(a->array, a->at, json_null());
    if (a->at < json_array_size(a->array))
        return false;
    json_decref(a->array);
    free(a);
    return true;
}

struct api_rows *api_rows_of_array(json_t *array)
{
    struct array_rows *a = array ? calloc(1, sizeof(*a)) : NULL;

    if (!a) {
        json_decref(array);
        return NULL;
    }
    a->rows = (struct api_rows){array_next, array_release};
    a->array = array;
    return &a->rows;
}
