/* The page of one run: the run, and the last lines of its log, which are read off the loop. */
#include "cronsched/api/api_page.h"
#include "cronsched/io/run_log_reader.h"
#include "jobs/base/utf8.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_LINES     500
#define TAIL_BYTES_MAX (256 * 1024)
#define BLOCK_BYTES    (64 * 1024)

struct tail {
    struct object object; /* first */
    struct work work;
    struct api *api;
    struct http_request *request;
    json_t *model;
    struct run_log_reader *log;
    /* the thread's */
    char *block;
    struct text text;
    int failed; /* an errno */
};

/* ---- off the loop ---- */

static void read_tail(struct work *work)
{
    struct tail *t = OBJECT_OF(struct tail, work, work);
    size_t got = 1;

    while (got > 0 && !t->failed && t->text.len < TAIL_BYTES_MAX) {
        t->failed = -run_log_reader_read(t->log, t->block, BLOCK_BYTES, &got);
        if (!t->failed)
            text_add_bytes(&t->text, t->block, got);
    }
}

/* ---- on the loop ---- */

/* Bytes that are no text are marked, so that it can be JSON. */
static json_t *clean(struct text *text)
{
    size_t at = 0;

    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] == '\0')
            text->data[i] = '?';
    while (text->len && (at += utf8_check(text->data + at, text->len - at)) < text->len)
        text->data[at] = '?';
    return json_stringn(text->len ? text->data : "", text->len);
}

static void reply(struct tail *t, const char *note)
{
    json_t *model = t->model;

    t->model = NULL;
    if (note)
        json_object_set_new(model, "log_note", json_string(note));
    if (t->text.len)
        json_object_set_new(model, "log", clean(&t->text));
    api_page_reply(t->api, t->request, 200, &page_run, http_param(t->request, "run"), model);
}

static void on_tail(struct work *work, int result)
{
    struct tail *t = OBJECT_OF(struct tail, work, work);
    struct api *api = t->api;
    char note[200] = "";

    if (result < 0)
        snprintf(note, sizeof(note), "%s", API_WORK_REFUSED);
    else if (t->failed == ENOENT)
        snprintf(note, sizeof(note), "No log of this attempt is kept here.");
    else if (t->failed)
        snprintf(note, sizeof(note), "The log cannot be read: %s", strerror(t->failed));
    else if (!t->text.len)
        snprintf(note, sizeof(note), "Nothing was printed.");
    else
        snprintf(note, sizeof(note), "The last %d lines.", TAIL_LINES);
    reply(t, note);
    run_log_reader_free(t->log);
    http_request_unref(t->request);
    text_release(&t->text);
    free(t->block);
    OBJECT_FREE(struct tail, t);
    api_work_end(api);
}

static void start_tail(struct api *api, struct http_request *request, const char *path, json_t *model)
{
    const struct run_log_view view = {.tail = TAIL_LINES};
    struct tail *t = calloc(1, sizeof(*t));

    if (!t || !(t->block = malloc(BLOCK_BYTES))) {
        free(t);
        json_decref(model);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct tail, t);
    t->api = api;
    t->request = http_request_ref(request);
    t->model = model;
    t->log = run_log_reader_new(path, &view);
    text_init(&t->text, TAIL_BYTES_MAX + BLOCK_BYTES);
    t->work = (struct work){.run = read_tail, .done = on_tail};
    api_work_begin(api);
    api_work_submit(api, &t->work);
}

static int64_t newest_attempt(const json_t *run)
{
    const json_t *attempts = json_object_get(run, "attempts");
    size_t n = json_array_size(attempts);

    return n ? json_integer_value(json_object_get(json_array_get(attempts, n - 1), "attempt")) : 0;
}

/* Takes the run. */
static void serve_run(struct api *api, struct http_request *request, json_t *run)
{
    const char *id = http_param(request, "run");
    int attempt = (int)newest_attempt(run);
    char path[RUN_LOG_PATH_MAX];
    struct error e;
    json_t *model;

    if (!api_query_int(request, "attempt", 1, RUN_LOG_ATTEMPTS_MAX, &attempt)) {
        json_decref(run);
        return;
    }
    model = json_pack("{s:o,s:i}", "run", run, "attempt", attempt);
    if (attempt > 0 && run_log_path(api->context.data_dir, id, attempt, path, sizeof(path), &e) == 0) {
        start_tail(api, request, path, model);
        return;
    }
    json_object_set_new(model, "log_note", json_string("It has no attempt."));
    api_page_reply(api, request, 200, &page_run, id, model);
}

static void run_have(struct api *api, struct http_request *request, json_t *stored, json_t *more)
{
    json_t *run = api_find_run(stored, http_param(request, "run"));

    if (run)
        serve_run(api, request, json_incref(run));
    else
        api_page_problem(api, request, 404, "There is no such run, or its history is kept no more.", NULL);
}

static void run_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUN, .run = http_param(request, "run")};
    json_t *run = scheduler_run_json(api->context.scheduler, query.run);

    if (run)
        serve_run(api, request, run);
    else
        api_query(api, request, &query, run_have, NULL);
}

void api_page_run(struct http_request *request, void *arg)
{
    if (api_param_run(request, http_param(request, "run")))
        api_read(OBJECT(struct api, arg), request, run_then);
}
