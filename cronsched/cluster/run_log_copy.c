/* See run_log_copy.h. A log_fetch is the fetch of one attempt's log: in the queue, or one of those under
 * way. Under way it is with the pool (looking whether it is there, renaming), or with a replica (`call`), or
 * with the writer that closes the file. */
#include "cronsched/cluster/run_log_copy.h"

#include "cronsched/cluster/member_info.h"
#include "cronsched/io/log.h"
#include "cronsched/io/run_log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (2 * (RUN_LOG_FRAME_MAX + RUN_LOG_FRAME_HEAD)) /* any frame fits, and so does a header */

struct log_fetch {
    struct object object; /* first */
    struct list link;
    struct run_log_copies *copies;
    char *run, *id;
    int attempt, tries;
    bool missing_only; /* what is there is whole */
    uint64_t due_ms;

    /* under way */
    bool active, paused, full, silent;
    char path[RUN_LOG_PATH_MAX], copy[RUN_LOG_PATH_MAX + sizeof(RUN_LOG_COPY_SUFFIX)];
    char *urls[REPLICATED_MEMBERS_MAX];
    size_t url_count, next;
    struct http_call *call;
    struct run_log_writer *writer; /* NULL until the header has come */
    struct run_log_place at;
    size_t held; /* bytes of a header or a frame that is not complete yet */
    bool headed, garbled;
    uv_fs_t fs;
    char *block; /* BLOCK_BYTES */
};

struct run_log_copies {
    struct object object;   /* first */
    struct history history; /* the table that others see */
    struct history *under;
    struct run_log_copies_options o;
    struct list fetches; /* in their order; those under way too */
    size_t count, active;
    bool started, stopping, dropping;
    uv_timer_t timer;
    void (*stopped)(void *arg);
    void *stopped_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void wake(struct run_log_copies *c);

/* ---- the queue ---- */

static void log_fetch_free(struct log_fetch *w)
{
    list_remove(&w->link);
    w->copies->count--;
    free(w->run);
    free(w->id);
    OBJECT_FREE(struct log_fetch, w);
}

static struct log_fetch *find(const struct run_log_copies *c, const char *run, int attempt)
{
    LIST_EACH(link, &c->fetches)
    {
        struct log_fetch *w = LIST_ITEM(link, struct log_fetch, link);

        if (w->attempt == attempt && strcmp(w->run, run) == 0)
            return w;
    }
    return NULL;
}

bool run_log_copies_pending(const struct run_log_copies *c, const char *run, int attempt)
{
    const struct log_fetch *w = find(c, run, attempt);

    return w && !w->missing_only;
}

static bool is_full(struct run_log_copies *c)
{
    if (c->count < RUN_LOG_COPIES_QUEUE_MAX) {
        c->dropping = c->dropping && c->count > RUN_LOG_COPIES_QUEUE_MAX / 2;
        return false;
    }
    if (!c->dropping)
        log_event(LOG_WARN, "log-copies",
                  LOG_TEXT("text", "too many logs to copy: those of newer runs are not copied"));
    c->dropping = true;
    return true;
}

/* Every attempt of a run that has ended, but for those whose log is written here. */
static void log_fetch_run(struct run_log_copies *c, const json_t *run, bool missing_only)
{
    const char *name = json_string_value(json_object_get(run, "run"));
    const json_t *attempt;
    size_t i;

    json_array_foreach(json_object_get(run, "attempts"), i, attempt)
    {
        const char *id = json_string_value(json_object_get(attempt, "id"));
        int number = (int)json_integer_value(json_object_get(attempt, "attempt"));
        struct log_fetch *w;

        if (!name || !id || is_full(c) || member_info_collects(c->o.view(c->o.arg), c->o.self, id))
            continue;
        w = OBJECT_NEW(struct log_fetch);
        w->copies = c;
        w->run = alloc_text(name);
        w->id = alloc_text(id);
        w->attempt = number;
        w->missing_only = missing_only;
        list_append(&c->fetches, &w->link);
        c->count++;
    }
}

/* ---- one copy ---- */

static void log_fetch_stop(struct log_fetch *w)
{
    for (size_t i = 0; i < w->url_count; i++)
        free(w->urls[i]);
    w->url_count = 0;
    free(w->block);
    w->block = NULL;
    w->active = false;
    w->copies->active--;
}

static void log_fetch_end(struct log_fetch *w)
{
    struct run_log_copies *c = w->copies;

    log_fetch_stop(w);
    log_fetch_free(w);
    wake(c);
}

/* No replica had it: again later if one did not answer. */
static void log_fetch_fail(struct log_fetch *w)
{
    struct run_log_copies *c = w->copies;

    if (!w->silent || ++w->tries == RUN_LOG_COPIES_TRIES || c->stopping) {
        log_fetch_end(w);
        return;
    }
    log_fetch_stop(w);
    w->due_ms = uv_now(c->o.loop) + RUN_LOG_COPIES_RETRY_MS;
    wake(c);
}

static void log_fetch_next(struct log_fetch *w);

static void on_renamed(uv_fs_t *fs)
{
    struct log_fetch *w = OBJECT(struct log_fetch, fs->data);
    int rc = (int)fs->result;

    uv_fs_req_cleanup(fs);
    if (rc < 0)
        log_event(LOG_WARN, "log-copies", LOG_TEXT("run", w->run), LOG_TEXT("text", uv_strerror(rc)));
    log_fetch_end(w);
}

static void on_written(void *arg, int result, const char *text)
{
    struct log_fetch *w = OBJECT(struct log_fetch, arg);

    if (result < 0) {
        log_event(LOG_WARN, "log-copies", LOG_TEXT("run", w->run), LOG_TEXT("text", text));
        log_fetch_end(w);
        return;
    }
    w->fs.data = w;
    uv_fs_rename(w->copies->o.loop, &w->fs, w->copy, w->path, on_renamed);
}

static void on_drained(void *arg)
{
    struct log_fetch *w = OBJECT(struct log_fetch, arg);

    w->full = false;
    if (!w->paused || !w->call)
        return;
    w->paused = false;
    http_call_resume(w->call);
}

/* What the job keeps, by its definition of now, so that no replica fills this one's disk. A job that is gone has had one
 * of the limits that there are. */
static int64_t cap_of(const struct log_fetch *w, int64_t theirs)
{
    const struct run_log_copies *c = w->copies;
    int64_t kept = c->o.keep_logs ? c->o.keep_logs(c->o.arg, w->run) : -1;

    if (kept < 0)
        kept = RUN_LOG_COPIES_BYTES_MAX;
    return theirs > 0 && theirs < kept ? theirs : kept;
}

/* Bytes taken; 0: more is needed; an error. */
static ssize_t take_header(struct log_fetch *w, const char *bytes, size_t n)
{
    static const struct run_log_writer_events events = {.drained = on_drained};
    struct run_log_segment segment;

    if (n < RUN_LOG_HEADER_BYTES)
        return 0;
    if (!run_log_segment_decode((const unsigned char *)bytes, n, &segment))
        return ERR_CORRUPT;
    if (run_log_writer_new(&w->writer, w->copies->o.loop, w->copy, cap_of(w, segment.cap), RUN_LOG_SOLE,
                           &events, w, NULL) < 0)
        return ERR_NOMEM;
    w->headed = true;
    w->at = segment.at;
    return RUN_LOG_HEADER_BYTES;
}

static ssize_t take_frame(struct log_fetch *w, const char *bytes, size_t n)
{
    struct run_log_frame frame;
    ssize_t size = run_log_frame_decode(bytes, n, w->at.last_ns, &frame);

    if (size <= 0)
        return size;
    run_log_place_pass(&w->at, &frame);
    if (run_log_writer_add(w->writer, &frame) == ERR_BUSY) /* it is taken */
        w->full = true;
    return size;
}

/* What is complete of the block, which keeps the rest. */
static void take_block(struct log_fetch *w)
{
    size_t at = 0;
    ssize_t n = 1;

    while (n > 0 && !w->garbled) {
        n = w->headed ? take_frame(w, w->block + at, w->held - at) : take_header(w, w->block, w->held);
        w->garbled = n < 0;
        at += n > 0 ? (size_t)n : 0;
    }
    memmove(w->block, w->block + at, w->held - at);
    w->held -= at;
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct log_fetch *w = OBJECT(struct log_fetch, arg);

    if (w->full) {
        w->paused = true;
        return false;
    }
    while (size > 0 && !w->garbled) {
        size_t n = BLOCK_BYTES - w->held < size ? BLOCK_BYTES - w->held : size;

        memcpy(w->block + w->held, bytes, n);
        w->held += n;
        bytes += n;
        size -= n;
        take_block(w);
    }
    return true; /* garbled: the rest is thrown away */
}

static void on_done(void *arg, const struct http_answer *a)
{
    struct log_fetch *w = OBJECT(struct log_fetch, arg);

    w->call = NULL;
    if (peer_answered(a) && a->status == 200 && w->headed && !w->garbled && w->held == 0) {
        run_log_writer_finish(w->writer, on_written, w);
        w->writer = NULL;
        return;
    }
    run_log_writer_abandon(w->writer);
    w->writer = NULL;
    if (!peer_answered(a) || a->status != 404)
        w->silent = true;
    log_fetch_next(w);
}

/* Asks the next replica. */
static void log_fetch_next(struct log_fetch *w)
{
    struct run_log_copies *c = w->copies;
    char path[256];
    struct peer_target target = {.path = path};
    struct client_request request = {.method = "GET",
                                     .idle_timeout_ms = RUN_LOG_COPIES_IDLE_MS,
                                     .data = on_data,
                                     .done = on_done,
                                     .arg = w};

    w->full = w->paused = w->headed = w->garbled = false;
    w->held = 0;
    snprintf(path, sizeof(path), "/v1/runs/%s/logs?attempt=%d&stored=1", w->run, w->attempt);
    if (!c->stopping && w->next < w->url_count) {
        target.url = w->urls[w->next++];
        if (peer_start(&w->call, c->o.peer, &target, &request, NULL) == 0)
            return;
        w->silent = true;
    }
    log_fetch_fail(w);
}

static void log_fetch_ask(struct log_fetch *w)
{
    struct run_log_copies *c = w->copies;

    w->url_count = member_info_others(c->o.view(c->o.arg), c->o.self, w->id, w->urls);
    w->silent = w->url_count == 0; /* no other replica is there now */
    w->next = 0;
    log_fetch_next(w);
}

static void on_looked(uv_fs_t *fs)
{
    struct log_fetch *w = OBJECT(struct log_fetch, fs->data);
    bool is_there = fs->result == 0;

    uv_fs_req_cleanup(fs);
    if (is_there)
        log_fetch_end(w);
    else
        log_fetch_ask(w);
}

static void log_fetch_begin(struct log_fetch *w)
{
    struct run_log_copies *c = w->copies;

    w->active = true;
    w->block = alloc_zero(BLOCK_BYTES);
    c->active++;
    if (run_log_path(c->o.data_dir, w->run, w->attempt, w->path, sizeof(w->path), NULL) < 0) {
        w->silent = false;
        log_fetch_fail(w);
        return;
    }
    snprintf(w->copy, sizeof(w->copy), "%s" RUN_LOG_COPY_SUFFIX, w->path);
    w->fs.data = w;
    if (w->missing_only)
        uv_fs_access(c->o.loop, &w->fs, w->path, 0, on_looked);
    else
        log_fetch_ask(w);
}

/* ---- what next ---- */

static void on_stopped(uv_handle_t *handle)
{
    struct run_log_copies *c = OBJECT(struct run_log_copies, handle->data);

    c->stopped(c->stopped_arg);
}

/* Begins as many as may be under way. */
static void on_timer(uv_timer_t *timer)
{
    struct run_log_copies *c = OBJECT(struct run_log_copies, timer->data);
    uint64_t now = uv_now(c->o.loop), soonest = UINT64_MAX;

    LIST_EACH_SAFE(link, &c->fetches)
    {
        struct log_fetch *w = LIST_ITEM(link, struct log_fetch, link);

        if (w->active)
            continue;
        if (c->active == RUN_LOG_COPIES_AT_ONCE)
            return; /* the end of one of them comes back here */
        if (w->due_ms <= now)
            log_fetch_begin(w);
        else
            soonest = w->due_ms < soonest ? w->due_ms : soonest;
    }
    if (soonest < UINT64_MAX)
        loop_timer_start(&c->timer, on_timer, soonest - now, 0);
}

static void wake(struct run_log_copies *c)
{
    if (!c->stopping)
        loop_timer_start(&c->timer, on_timer, 0, 0);
    else if (c->active == 0 && !uv_is_closing((uv_handle_t *)&c->timer))
        uv_close((uv_handle_t *)&c->timer, on_stopped);
}

static void on_newest(void *arg, json_t *result, const struct error *error)
{
    struct run_log_copies *c = OBJECT(struct run_log_copies, arg);
    const json_t *run;
    size_t i;

    (void)error; /* the caller of a query gets its errors */
    json_array_foreach(result, i, run) if (!c->stopping) log_fetch_run(c, run, true);
    json_decref(result);
    if (!c->stopping)
        wake(c);
}

void run_log_copies_sweep(struct run_log_copies *c)
{
    struct history_query query = {.kind = HISTORY_RUNS, .state = "ended", .limit = RUN_LOG_COPIES_SWEEP};

    c->under->ops->query(c->under, &query, on_newest, c);
}

void run_log_copies_start(struct run_log_copies *c, const struct run_log_copies_options *options)
{
    c->o = *options;
    c->started = true;
    uv_timer_init(c->o.loop, &c->timer);
    c->timer.data = c;
}

void run_log_copies_stop(struct run_log_copies *c, void (*done)(void *arg), void *arg)
{
    c->stopping = true;
    c->stopped = done;
    c->stopped_arg = arg;
    LIST_EACH_SAFE(link, &c->fetches)
    {
        struct log_fetch *w = LIST_ITEM(link, struct log_fetch, link);

        if (w->call) {
            http_call_cancel(w->call);
            run_log_writer_abandon(w->writer);
            w->writer = NULL;
            log_fetch_end(w);
        } else if (!w->active) {
            log_fetch_free(w);
        }
    }
    wake(c);
}

/* ---- the table ---- */

static struct run_log_copies *of(const struct history *history)
{
    return OBJECT_OF(struct run_log_copies, history, history);
}

static void copies_write(struct history *history, struct history_write *w)
{
    struct run_log_copies *c = of(history);
    bool any = false;

    for (size_t i = 0; i < w->run_count && c->started && !c->o.nothing && !c->stopping; i++) {
        const struct history_run *r = &w->runs[i];
        json_t *run = strcmp(r->state, "ended") == 0 ? json_loads(r->json, 0, NULL) : NULL;

        if (run)
            log_fetch_run(c, run, false);
        any = any || run;
        json_decref(run);
    }
    if (any)
        wake(c);
    c->under->ops->write(c->under, w);
}

static void copies_query(struct history *history, const struct history_query *query,
                         void (*answer)(void *arg, json_t *result, const struct error *error), void *arg)
{
    of(history)->under->ops->query(of(history)->under, query, answer, arg);
}

static void copies_prune(struct history *history, const char *job, int keep_runs, int64_t older_than_ms)
{
    of(history)->under->ops->prune(of(history)->under, job, keep_runs, older_than_ms);
}

static void copies_fill(struct history *history, json_t *page,
                        void (*done)(void *arg, const struct error *error), void *arg)
{
    of(history)->under->ops->fill(of(history)->under, page, done, arg);
}

static uint64_t copies_applied(const struct history *history)
{
    return of(history)->under->ops->applied(of(history)->under);
}

static const char *copies_trouble(const struct history *history)
{
    return of(history)->under->ops->trouble(of(history)->under);
}

static void on_closed(void *arg)
{
    struct run_log_copies *c = OBJECT(struct run_log_copies, arg);
    void (*closed)(void *arg) = c->closed;
    void *closed_arg = c->closed_arg;

    OBJECT_FREE(struct run_log_copies, c);
    closed(closed_arg);
}

static void copies_close(struct history *history, void (*done)(void *arg), void *arg)
{
    struct run_log_copies *c = of(history);

    assert(!c->started || c->stopping);
    c->closed = done;
    c->closed_arg = arg;
    c->under->ops->close(c->under, on_closed, c);
}

struct history *run_log_copies_new(struct run_log_copies **ret, struct history *under)
{
    static const struct history_ops ops = {.write = copies_write,
                                           .query = copies_query,
                                           .prune = copies_prune,
                                           .applied = copies_applied,
                                           .trouble = copies_trouble,
                                           .fill = copies_fill,
                                           .close = copies_close};
    struct run_log_copies *c = OBJECT_NEW(struct run_log_copies);

    c->history.ops = &ops;
    c->under = under;
    list_init(&c->fetches);
    *ret = c;
    return &c->history;
}
