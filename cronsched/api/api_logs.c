/* The output of an attempt, whole, its last lines, or followed to its end.
 *
 * Happy path: find the run, live or stored; choose the attempt; open its file on the pool, and find where the
 * last lines begin; then read a block on the pool, write it to the stream, read the next. At the end of the
 * file: the stream ends, or, when the log is followed and the attempt is not over, the file is looked at
 * again API_LOG_POLL_MS later. The attempt counts as over before the last look, so that nothing written
 * before its end is missed.
 * In a cluster: an attempt whose log is written at another replica, or was and has not been copied yet, is
 * asked for there; and so is one of which nothing is here.
 *
 * Failures: no file yet and the attempt not over: an empty log, or a wait when it is followed. No file and it
 * is over: not found. The stream is full: reading waits for `drained`. The client goes: `closed`; the reader
 * is freed when the pool has given it back. Another replica goes on with the attempt while its log is
 * followed here: the stream is cut, and a client that asks again is forwarded there.
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/io/run_log.h"
#include "jobs/base/object.h"
#include "jobs/state/run_id.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (64 * 1024)

struct reader {
    struct object object; /* first */
    struct list all;
    struct api *api;
    struct http_request *request; /* until the stream is there */
    struct http_stream *stream;   /* NULL: not yet, or closed */
    char *run, *id;               /* id: the engine's, NULL: none yet */
    char caller[AUTH_CALLER_SIZE];
    int attempt;
    long tail; /* lines; -1: all */
    bool follow;

    uv_work_t work;
    uv_timer_t timer;
    bool busy, waiting, paused, over, ending, moved;
    int handles; /* the timer, when it is open */

    /* the pool's while busy */
    char path[RUN_LOG_PATH_MAX];
    int fd;     /* -1: not open */
    int failed; /* an errno */
    off_t at;
    char *block;
    size_t got;
};

/* ---- on the pool ---- */

/* Where the last r->tail lines begin. A last line without its newline counts as one. */
static off_t find_tail(struct reader *r, off_t size)
{
    long lines = r->tail;
    off_t at = size;

    if (lines == 0)
        return size;
    while (at > 0) {
        size_t n = at < BLOCK_BYTES ? (size_t)at : BLOCK_BYTES;
        ssize_t got = pread(r->fd, r->block, n, at - (off_t)n);

        if (got < (ssize_t)n)
            return 0; /* it shrank: from the beginning, then */
        at -= (off_t)n;
        while (n-- > 0)
            if (r->block[n] == '\n' && at + (off_t)n != size - 1 && --lines == 0)
                return at + (off_t)n + 1;
    }
    return 0;
}

static void open_file(struct reader *r)
{
    struct stat st;

    r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (r->fd < 0) {
        r->failed = errno;
        return;
    }
    if (fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        r->failed = 0;
        if (r->tail >= 0)
            r->at = find_tail(r, st.st_size);
        return;
    }
    close(r->fd);
    r->fd = -1;
    r->failed = EINVAL;
}

static void on_pool(uv_work_t *work)
{
    struct reader *r = OBJECT(struct reader, work->data);
    ssize_t n;

    r->got = 0;
    if (r->fd < 0)
        open_file(r);
    if (r->fd < 0)
        return;
    n = pread(r->fd, r->block, BLOCK_BYTES, r->at);
    if (n < 0) {
        r->failed = errno;
        return;
    }
    r->got = (size_t)n;
    r->at += n;
}

/* ---- on the loop ---- */

static void reader_free(struct reader *r)
{
    struct api *api = r->api;

    assert(!r->busy && r->handles == 0);
    if (r->fd >= 0)
        close(r->fd);
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

/* To the replica that has it. What another replica asks for is here, or is not. */
static bool passed_on(struct api *api, struct http_request *request, const char *id, int attempt, long tail,
                      bool follow)
{
    const struct api_context *c = &api->context;
    char path[RUN_ID_MAX + 128], lines[32] = "";

    if (!c->cluster_ops || http_caller(request)->replica)
        return false;
    if (tail >= 0)
        snprintf(lines, sizeof(lines), "&tail=%ld", tail);
    snprintf(path, sizeof(path), "/v1/runs/%s/logs?attempt=%d%s%s", http_param(request, "run"), attempt,
             lines, follow ? "&follow=1" : "");
    c->cluster_ops->log_pass(c->cluster_arg, request, id, path, follow);
    return true;
}

/* The reply begins: with a stream, or with why not. */
static void begin_reply(struct reader *r)
{
    static const struct http_stream_events events = {on_drained, on_closed};

    if (r->fd < 0 && r->failed == ENOENT && r->over &&
        passed_on(r->api, r->request, r->id, r->attempt, r->tail, r->follow))
        ; /* answered from there */
    else if (r->fd < 0 && r->failed != ENOENT)
        http_reply_error(r->request, ERR_IO, "the log of %s, attempt %d: %s", r->run, r->attempt,
                         strerror(r->failed));
    else if (r->fd < 0 && r->over)
        http_reply_error(r->request, ERR_NOT_FOUND, "no log of %s, attempt %d, is kept here", r->run,
                         r->attempt);
    else
        r->stream = http_reply_stream(r->request, 200, "text/plain; charset=utf-8", &events, r);
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

static void on_pool_done(uv_work_t *work, int status)
{
    struct reader *r = OBJECT(struct reader, work->data);

    r->busy = false;
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
    } else if (r->fd >= 0 && r->failed) {
        http_stream_cut(r->stream);
    } else if (r->moved) {
        http_stream_cut(r->stream);
    } else if (r->over || !r->follow) {
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
    r->moved = !r->over && r->stream && is_elsewhere(r->api, r->run, r->attempt, r->id, false);
    r->over = attempt_is_over(r->api, r->run, r->attempt);
    r->busy = true;
    r->work.data = r;
    if (uv_queue_work(r->api->loop, &r->work, on_pool, on_pool_done) < 0)
        abort(); /* it fails for a missing function only */
}

/* ---- finding the run ---- */

struct log_query {
    int attempt, tail, follow;
};

static struct reader *reader_new(struct api *api, struct http_request *request, const struct log_query *w,
                                 const char *id)
{
    struct reader *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->block = malloc(BLOCK_BYTES);
    r->run = strdup(http_param(request, "run"));
    r->id = id ? strdup(id) : NULL;
    if (!r->block || !r->run || (id && !r->id)) {
        free(r->block);
        free(r->run);
        free(r->id);
        free(r);
        return NULL;
    }
    OBJECT_INIT(struct reader, r);
    r->api = api;
    r->request = http_request_ref(request);
    snprintf(r->caller, sizeof(r->caller), "%s", http_caller(request)->name);
    r->attempt = w->attempt;
    r->tail = w->tail;
    r->follow = w->follow;
    r->fd = -1;
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
    *w = (struct log_query){.tail = -1};
    return api_query_int(request, "attempt", 1, RUN_LOG_ATTEMPTS_MAX, &w->attempt) &&
           api_query_int(request, "tail", 0, INT_MAX, &w->tail) &&
           api_query_int(request, "follow", 0, 1, &w->follow);
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
    if (!passed_on(api, request, id, w->attempt, w->tail, w->follow))
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
    struct log_query w;
    struct reader *r;
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
    r = reader_new(api, request, &w, attempt_id(run, w.attempt));
    if (!r) {
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    if (run_log_path(api->context.data_dir, r->run, r->attempt, r->path, sizeof(r->path), &e) < 0) {
        http_reply_failure(request, &e);
        reader_close(r);
        return;
    }
    look(r);
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
