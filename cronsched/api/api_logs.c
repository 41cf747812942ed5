/* The output of an attempt: whole, its last lines, from a time on, or followed to its end.
 *
 * Happy path: find the run, live or stored; choose the attempt; read a block of its log off the loop
 * (cronsched/io/run_log_reader.h), write it to the stream, read the next. At the end of the
 * log: the stream ends, or, when the log is followed and the attempt is not over, it is looked at
 * again API_LOG_POLL_MS later. The attempt counts as over before the last look, so that nothing written
 * before its end is missed.
 * In a cluster: an attempt whose log is written at another replica, or was and has not been copied yet, is
 * asked for there; and so is one of which nothing is here.
 *
 * Failures: no file yet and the attempt not over: an empty log, or a wait when it is followed. No file and it
 * is over: not found. The stream is full: reading waits for `drained`. The client goes: `closed`; the reader
 * is freed when the thread that reads has given it back. Another replica goes on with the attempt while its log is
 * followed here: the stream is cut, and a client that asks again is forwarded there.
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/io/run_log_reader.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/base/percent.h"
#include "jobs/base/text.h"
#include "jobs/state/run_id.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES    (64 * 1024)
#define TEXT_TYPE      "text/plain; charset=utf-8"
#define STORED_TYPE    "application/octet-stream"
#define PATH_BYTES_MAX 2048 /* of a run, an attempt, and a time */

struct log_query {
    int attempt, tail, follow, timestamps, stored; /* attempt 0: the newest; tail -1: all */
    const char *since;                             /* the request's; NULL: none */
    int64_t since_ns;
};

struct reader {
    struct object object; /* first */
    struct list all;
    struct api *api;
    struct http_request *request; /* until the stream is there */
    struct http_stream *stream;   /* NULL: not yet, or closed */
    char *run, *id;               /* id: the engine's, NULL: none yet */
    char caller[AUTH_CALLER_SIZE];
    struct log_query query;

    struct work work;
    uv_timer_t timer;
    bool busy, waiting, paused, over, ending, moved;
    int handles; /* the timer, when it is open */

    /* the thread's while busy */
    struct run_log_reader *log;
    bool open;
    int failed; /* an errno */
    char *block;
    size_t got;
};

/* ---- off the loop ---- */

static void read_block(struct work *work)
{
    struct reader *r = OBJECT_OF(struct reader, work, work);

    r->failed = -run_log_reader_read(r->log, r->block, BLOCK_BYTES, &r->got);
    r->open = run_log_reader_is_open(r->log);
}

/* ---- on the loop ---- */

static void reader_free(struct reader *r)
{
    struct api *api = r->api;

    assert(!r->busy && r->handles == 0);
    run_log_reader_free(r->log);
    list_remove(&r->all);
    api->stream_count--;
    http_request_unref(r->request);
    free(r->run);
    free(r->id);
    free(r->block);
    OBJECT_FREE(struct reader, r);
    api_work_end(api);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct reader *r = OBJECT(struct reader, handle->data);

    r->handles = 0;
    if (!r->busy)
        reader_free(r);
}

/* No stream any more, or never one. */
static void reader_close(struct reader *r)
{
    r->ending = true;
    if (!uv_is_closing((uv_handle_t *)&r->timer))
        uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static void look(struct reader *r);

static void on_timer(uv_timer_t *timer)
{
    struct reader *r = OBJECT(struct reader, timer->data);

    r->waiting = false;
    look(r);
}

static void on_drained(void *arg)
{
    struct reader *r = OBJECT(struct reader, arg);

    r->paused = false;
    look(r);
}

static void on_closed(void *arg)
{
    struct reader *r = OBJECT(struct reader, arg);

    r->stream = NULL;
    reader_close(r);
}

static void add_number(struct text *path, const char *key, int value)
{
    text_addf(path, "&%s=%d", key, value);
}

/* To the replica that has it. What another replica asks for is here, or is not. */
static bool passed_on(struct api *api, struct http_request *request, const char *id,
                      const struct log_query *w)
{
    const struct api_context *c = &api->context;
    struct text path;

    if (!c->cluster_ops || http_caller(request)->replica)
        return false;
    text_init(&path, PATH_BYTES_MAX);
    text_addf(&path, "/v1/runs/%s/logs?attempt=%d", http_param(request, "run"), w->attempt);
    if (w->tail >= 0)
        add_number(&path, "tail", w->tail);
    if (w->follow)
        add_number(&path, "follow", 1);
    if (w->timestamps)
        add_number(&path, "timestamps", 1);
    if (w->stored)
        add_number(&path, "stored", 1);
    if (w->since) {
        text_add(&path, "&since=");
        percent_add(&path, w->since);
    }
    c->cluster_ops->log_pass(c->cluster_arg, request, id, text_str(&path), w->follow);
    text_release(&path);
    return true;
}

/* The reply begins: with a stream, or with why not. */
static void begin_reply(struct reader *r)
{
    static const struct http_stream_events events = {on_drained, on_closed};

    if (!r->open && r->failed == ENOENT && r->over && passed_on(r->api, r->request, r->id, &r->query))
        ; /* answered from there */
    else if (!r->open && r->failed != ENOENT)
        http_reply_error(r->request, ERR_IO, "the log of %s, attempt %d: %s", r->run, r->query.attempt,
                         strerror(r->failed));
    else if (!r->open && r->over)
        http_reply_error(r->request, ERR_NOT_FOUND, "no log of %s, attempt %d, is kept here", r->run,
                         r->query.attempt);
    else
        r->stream = http_reply_stream(r->request, 200, r->query.stored ? STORED_TYPE : TEXT_TYPE, &events, r);
    http_request_unref(r->request);
    r->request = NULL;
    if (!r->stream)
        reader_close(r);
}

static bool is_word(const json_t *object, const char *key, const char *const *words)
{
    const char *word = json_string_value(json_object_get(object, key));

    while (word && *words && strcmp(*words, word) != 0)
        words++;
    return word && *words;
}

/* Nothing more will be written. A run that is not live any more is over as a whole. */
static bool attempt_is_over(struct api *api, const char *id, int number)
{
    static const char *const ends[] = {"ended", "start-failed", "unknown",
                                       NULL}; /* never-ran is tried again */
    static const char *const run_ends[] = {"ended", "skipped", NULL};
    json_t *run = scheduler_run_json(api->context.scheduler, id), *attempt;
    bool over = !run || is_word(run, "state", run_ends);
    size_t i;

    json_array_foreach(json_object_get(run, "attempts"), i, attempt)
    {
        if (json_integer_value(json_object_get(attempt, "attempt")) == number)
            over = over || is_word(attempt, "state", ends);
    }
    json_decref(run);
    return over;
}

static void on_block(struct work *work, int result)
{
    struct reader *r = OBJECT_OF(struct reader, work, work);

    r->busy = false;
    if (result < 0) {
        r->failed = EAGAIN;
        r->got = 0;
    }
    if (r->request)
        begin_reply(r);
    if (r->ending) {
        if (r->handles == 0)
            reader_free(r);
        return;
    }
    if (r->got > 0) {
        int rc = http_stream_write(r->stream, r->block, r->got);

        r->paused = rc == ERR_BUSY;
        if (rc == 0)
            look(r);
        else if (!r->paused)
            http_stream_cut(r->stream);
    } else if (r->open && r->failed) {
        http_stream_cut(r->stream);
    } else if (r->moved) {
        http_stream_cut(r->stream);
    } else if (r->over || !r->query.follow) {
        http_stream_end(r->stream); /* `closed` follows */
    } else {
        r->waiting = true;
        loop_timer_start(&r->timer, on_timer, API_LOG_POLL_MS, 0);
    }
}

static bool is_elsewhere(const struct api *api, const char *run, int attempt, const char *id, bool over)
{
    const struct api_context *c = &api->context;

    return c->cluster_ops && c->cluster_ops->log_elsewhere(c->cluster_arg, run, attempt, id, over);
}

/* Reads on, unless something else is under way. */
static void look(struct reader *r)
{
    if (r->ending || r->busy || r->paused || r->waiting)
        return;
    /* asked before the file is read */
    r->moved = !r->over && r->stream && is_elsewhere(r->api, r->run, r->query.attempt, r->id, false);
    r->over = attempt_is_over(r->api, r->run, r->query.attempt);
    r->busy = true;
    r->work = (struct work){.run = read_block, .done = on_block};
    api_work_submit(r->api, &r->work);
}

/* ---- finding the run ---- */

static struct reader *reader_new(struct api *api, struct http_request *request, const struct log_query *w,
                                 const char *id, const char *path)
{
    const struct run_log_view view = {.tail = w->tail,
                                      .since_ns = w->since_ns,
                                      .timestamps = w->timestamps,
                                      .stored = w->stored,
                                      .live = w->follow &&
                                              !attempt_is_over(api, http_param(request, "run"), w->attempt)};
    struct reader *r = OBJECT_NEW(struct reader);

    r->block = alloc_zero(BLOCK_BYTES);
    r->run = alloc_text(http_param(request, "run"));
    r->id = id ? alloc_text(id) : NULL;
    r->log = run_log_reader_new(path, &view);
    r->api = api;
    r->request = http_request_ref(request);
    snprintf(r->caller, sizeof(r->caller), "%s", http_caller(request)->name);
    r->query = *w;
    r->failed = ENOENT;
    uv_timer_init(api->loop, &r->timer);
    r->timer.data = r;
    r->handles = 1;
    list_append(&api->streams, &r->all);
    api->stream_count++;
    api_work_begin(api);
    return r;
}

static bool read_log_query(struct http_request *request, struct log_query *w)
{
    struct error e;

    *w = (struct log_query){.tail = -1, .since = http_query(request, "since")};
    if (w->since && run_log_stamp_parse(w->since, &w->since_ns, &e) < 0) {
        http_reply_error(request, ERR_INVALID, "since: %s", e.text);
        return false;
    }
    return api_query_int(request, "attempt", 1, RUN_LOG_ATTEMPTS_MAX, &w->attempt) &&
           api_query_int(request, "tail", 0, INT_MAX, &w->tail) &&
           api_query_int(request, "follow", 0, 1, &w->follow) &&
           api_query_int(request, "timestamps", 0, 1, &w->timestamps) &&
           api_query_int(request, "stored", 0, 1, &w->stored);
}

/* The newest attempt's number, or 0. */
static int newest_attempt(const json_t *run)
{
    const json_t *attempts = json_object_get(run, "attempts");
    size_t n = json_array_size(attempts);

    return n ? (int)json_integer_value(json_object_get(json_array_get(attempts, n - 1), "attempt")) : 0;
}

/* What the engine calls it; NULL: nothing yet. */
static const char *attempt_id(const json_t *run, int number)
{
    const json_t *attempt;
    size_t i;

    json_array_foreach(json_object_get(run, "attempts"), i, attempt)
    {
        if (json_integer_value(json_object_get(attempt, "attempt")) == number)
            return json_string_value(json_object_get(attempt, "id"));
    }
    return NULL;
}

/* True: it has been answered, since the log, or all of it, is not here. */
static bool answered_elsewhere(struct api *api, struct http_request *request, const struct log_query *w,
                               const char *id)
{
    const char *run = http_param(request, "run");

    if (!is_elsewhere(api, run, w->attempt, id, attempt_is_over(api, run, w->attempt)))
        return false;
    if (!passed_on(api, request, id, w))
        http_reply_error(request, ERR_NOT_FOUND, "the log of %s, attempt %d, is not written here", run,
                         w->attempt);
    return true;
}

/* One caller cannot take all places, and nobody takes those of the people who come to look what is wrong. */
static bool has_place(const struct api *api, const struct auth_identity *who, struct error *error)
{
    size_t most = API_LOG_STREAMS_MAX - (who->role == AUTH_ADMIN ? 0 : API_LOG_STREAMS_KEPT), own = 0;

    LIST_EACH(at, &api->streams)
    {
        own += strcmp(LIST_ITEM(at, struct reader, all)->caller, who->name) == 0;
    }
    if (own >= API_LOG_STREAMS_CALLER)
        error_set(error, ERR_LIMIT, "%s reads %d logs already", who->name, API_LOG_STREAMS_CALLER);
    else if (api->stream_count >= most)
        error_set(error, ERR_LIMIT, "%zu logs are being read already", api->stream_count);
    else
        return true;
    return false;
}

static void serve_log(struct api *api, struct http_request *request, const json_t *run)
{
    int newest = newest_attempt(run);
    char path[RUN_LOG_PATH_MAX];
    struct log_query w;
    struct error e;

    if (!read_log_query(request, &w))
        return;
    if (newest == 0 || w.attempt > newest) {
        http_reply_error(request, ERR_NOT_FOUND, "%s has no attempt%s", http_param(request, "run"),
                         newest ? " of that number" : " yet");
        return;
    }
    if (w.attempt == 0)
        w.attempt = newest;
    if (answered_elsewhere(api, request, &w, attempt_id(run, w.attempt)))
        return;
    if (!has_place(api, http_caller(request), &e)) {
        http_reply_header(request, "Retry-After", "5");
        http_reply_problem(request, 429, &e, NULL);
        return;
    }
    if (run_log_path(api->context.data_dir, http_param(request, "run"), w.attempt, path, sizeof(path), &e) <
        0)
        http_reply_failure(request, &e);
    else
        look(reader_new(api, request, &w, attempt_id(run, w.attempt), path));
}

static void logs_have(struct api *api, struct http_request *request, json_t *stored, json_t *more)
{
    json_t *run = api_find_run(stored, http_param(request, "run"));

    if (run)
        serve_log(api, request, run);
    else
        http_reply_error(request, ERR_NOT_FOUND, "no run %s", http_param(request, "run"));
}

static void logs_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUN, .run = http_param(request, "run")};
    json_t *run = scheduler_run_json(api->context.scheduler, query.run);

    if (run)
        serve_log(api, request, run);
    else
        api_query(api, request, &query, logs_have, NULL);
    json_decref(run);
}

void api_handle_logs(struct http_request *request, void *arg)
{
    struct log_query w;

    if (api_param_run(request, http_param(request, "run")) && read_log_query(request, &w))
        api_read(OBJECT(struct api, arg), request, logs_then);
}
