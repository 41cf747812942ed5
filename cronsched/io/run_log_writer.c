/* See run_log.h: a log that the loop's thread writes.
 *
 * Happy path: new queues the opening on the pool; add() copies the frame into `pending`; when no work is under way,
 * pending becomes `writing` and goes to the pool; back on the loop, `drained` is called, and what came meanwhile
 * follows. finish() lets the last round close the file.
 *
 * Failures: the folder or file cannot be made, the disk is full: the first error is kept, everything later
 * is dropped, add() returns ERR_FULL and finish() reports it. A writer that is abandoned in mid-work is
 * freed when the pool returns it.
 */
#include "cronsched/io/run_log.h"

#include "jobs/base/object.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *data;
    size_t len, cap;
};

struct run_log_writer {
    struct object object; /* first */
    uv_loop_t *loop;
    uv_work_t work;
    char *path;
    int64_t cap;
    enum run_log_mode mode;

    struct bytes pending;     /* the loop's */
    struct bytes writing;     /* the pool's while busy */
    struct run_log_file file; /* the pool's while busy */
    bool opened;              /* the pool has tried to; the pool's while busy */
    bool last_round;          /* set before the round is queued: close the file at its end */
    struct error error;       /* the first failure; its code is 0 when there is none */

    bool busy, full, told, in_callback, asked_to_pause, closing, abandoned;
    const struct run_log_writer_events *events;
    void *arg;
    void (*done)(void *arg, int result, const char *text);
    void *done_arg;
};

static void writer_free(struct run_log_writer *w)
{
    free(w->pending.data);
    free(w->writing.data);
    free(w->path);
    OBJECT_FREE(struct run_log_writer, w);
}

/* Before the bytes of each frame that waits. */
struct waiting {
    enum run_log_kind kind;
    uint32_t size;
    int64_t ns, gap_bytes, gap_lines;
};

static void write_waiting(struct run_log_writer *w)
{
    struct error *error = w->error.code ? NULL : &w->error;
    int r = 0;

    for (size_t at = 0; at < w->writing.len && r == 0;) {
        struct waiting head;
        struct run_log_frame frame;

        memcpy(&head, w->writing.data + at, sizeof(head));
        at += sizeof(head);
        frame = (struct run_log_frame){.kind = head.kind,
                                       .ns = head.ns,
                                       .data = w->writing.data + at,
                                       .size = head.size,
                                       .gap_bytes = head.gap_bytes,
                                       .gap_lines = head.gap_lines};
        at += head.size;
        r = run_log_file_add(&w->file, &frame, error);
    }
    if (r == 0)
        run_log_file_flush(&w->file, error);
}

static void on_pool(uv_work_t *work)
{
    struct run_log_writer *w = OBJECT(struct run_log_writer, work->data);

    if (!w->opened) {
        w->opened = true;
        run_log_file_open(&w->file, w->path, w->cap, w->mode, &w->error);
    }
    if (w->file.fd >= 0 && !w->file.failed && w->writing.len > 0)
        write_waiting(w);
    w->writing.len = 0;
    if (w->last_round)
        run_log_file_close(&w->file);
}

/* Once, when the file has been opened. */
static void tell_opened(struct run_log_writer *w)
{
    struct run_log_place place = w->file.at;

    if (w->told || w->closing || !w->events || !w->events->opened)
        return;
    w->told = true;
    w->events->opened(w->arg, w->error.code ? NULL : &place);
}

static void next_round(struct run_log_writer *w);

static void on_pool_done(uv_work_t *work, int status)
{
    struct run_log_writer *w = OBJECT(struct run_log_writer, work->data);
    bool was_asked;

    w->busy = false;
    w->full = w->error.code != 0;
    if (w->abandoned) {
        run_log_file_close(&w->file);
        writer_free(w);
        return;
    }
    w->in_callback = true;
    tell_opened(w);
    w->in_callback = false;
    if (w->abandoned) { /* by the callback */
        run_log_file_close(&w->file);
        writer_free(w);
        return;
    }
    if (w->busy) /* it has added something */
        return;
    if (w->pending.len > 0 || (w->closing && !w->last_round)) {
        next_round(w);
    } else if (w->closing) {
        if (w->done)
            w->done(w->done_arg, w->error.code, w->error.code ? w->error.text : NULL);
        writer_free(w);
        return;
    }
    was_asked = w->asked_to_pause;
    w->asked_to_pause = false;
    if (was_asked && !w->closing && w->events && w->events->drained)
        w->events->drained(w->arg);
}

static void next_round(struct run_log_writer *w)
{
    struct bytes empty = w->writing;
    int r;

    assert(!w->busy && w->writing.len == 0);
    w->writing = w->pending;
    w->pending = empty;
    w->busy = true;
    w->last_round = w->closing;
    w->work.data = w;
    r = uv_queue_work(w->loop, &w->work, on_pool, on_pool_done);
    assert(r == 0); /* it fails for a NULL function only */
    (void)r;
}

int run_log_writer_new(struct run_log_writer **ret, uv_loop_t *loop, const char *path, int64_t cap_bytes,
                       enum run_log_mode mode, const struct run_log_writer_events *events, void *arg,
                       struct error *error)
{
    struct run_log_writer *w = calloc(1, sizeof(*w));

    if (!w || !(w->path = strdup(path))) {
        free(w);
        return error_set(error, ERR_NOMEM, "out of memory for a log");
    }
    OBJECT_INIT(struct run_log_writer, w);
    w->loop = loop;
    w->cap = cap_bytes;
    w->mode = mode;
    w->file.fd = -1;
    w->events = events;
    w->arg = arg;
    next_round(w);
    *ret = w;
    return 0;
}

static int make_room(struct bytes *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 4096;
    char *grown;

    if (b->len + n <= b->cap)
        return 0;
    while (cap < b->len + n)
        cap *= 2;
    grown = realloc(b->data, cap);
    if (!grown)
        return ERR_NOMEM;
    b->data = grown;
    b->cap = cap;
    return 0;
}

int run_log_writer_add(struct run_log_writer *w, const struct run_log_frame *frame)
{
    const struct waiting head = {.kind = frame->kind,
                                 .size = (uint32_t)frame->size,
                                 .ns = frame->ns,
                                 .gap_bytes = frame->gap_bytes,
                                 .gap_lines = frame->gap_lines};
    struct bytes *b = &w->pending;

    assert(!w->closing && frame->size <= RUN_LOG_FRAME_MAX);
    if (w->full)
        return ERR_FULL;
    if (make_room(b, sizeof(head) + frame->size) < 0)
        return ERR_NOMEM;
    memcpy(b->data + b->len, &head, sizeof(head));
    if (frame->size > 0)
        memcpy(b->data + b->len + sizeof(head), frame->data, frame->size);
    b->len += sizeof(head) + frame->size;
    if (!w->busy)
        next_round(w);
    if (b->len < RUN_LOG_PENDING_MAX)
        return 0;
    w->asked_to_pause = true;
    return ERR_BUSY;
}

void run_log_writer_finish(struct run_log_writer *w, void (*done)(void *arg, int result, const char *text),
                           void *arg)
{
    assert(!w->closing);
    w->closing = true;
    w->done = done;
    w->done_arg = arg;
    if (!w->busy && !w->in_callback)
        next_round(w);
}

void run_log_writer_abandon(struct run_log_writer *w)
{
    if (!w)
        return;
    w->abandoned = true;
    if (w->busy || w->in_callback)
        return;
    run_log_file_close(&w->file);
    writer_free(w);
}
