/* See file_reader.h. A batch is what was asked for; for each of its files there is a step, a piece of work with
 * memory of its own, since a step that hangs outlives its batch.
 */
#include "cronsched/io/file_reader.h"

#include "cronsched/io/beneath.h"
#include "cronsched/io/file.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct file_reader {
    struct object object;
    struct worker *worker;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct batch {
    struct file_reader *reader;
    struct file_content *files;
    size_t count, at, max;
    bool resolves; /* paths, instead of reading */
    file_reader_done *done;
    void *arg;
};

struct step {
    struct work work;
    struct batch *batch; /* not for the thread */
    char *path, *folder;
    size_t max;
    bool resolves;
    char *data;
    size_t size;
    struct error error;
};

static void batch_next(struct batch *b);

static void wipe(char *data, size_t size)
{
    if (data)
        explicit_bzero(data, size);
    free(data);
}

static void batch_end(struct batch *b, const struct error *error)
{
    b->done(b->arg, b->files, b->count, b->at, error);
    for (size_t i = 0; i < b->count; i++) {
        wipe(b->files[i].data, b->files[i].size);
        free(b->files[i].path);
        free(b->files[i].folder);
    }
    free(b->files);
    free(b);
}

static void step_run(struct work *work)
{
    struct step *s = LIST_ITEM(work, struct step, work);

    if (s->resolves) {
        s->data = beneath_resolve(s->path);
        if (!s->data)
            file_error(&s->error, errno);
        s->size = s->data ? strlen(s->data) : 0;
    } else if (s->folder) {
        beneath_read(s->folder, s->path, s->max, FILE_REGULAR, &s->data, &s->size, &s->error);
    } else {
        file_read(s->path, s->max, FILE_REGULAR, &s->data, &s->size, &s->error);
    }
}

static void step_done(struct work *work, int result)
{
    struct step *s = LIST_ITEM(work, struct step, work);
    struct batch *b = s->batch;
    struct error error = {.code = result};

    if (result < 0)
        worker_result_text(b->reader->worker, result, error.text, sizeof(error.text));
    else
        error = s->error;
    if (error.code) {
        error_prefix(&error, "the file %.500s cannot be read: ", s->path);
        batch_end(b, &error);
        return;
    }
    b->files[b->at].data = s->data;
    b->files[b->at].size = s->size;
    s->data = NULL;
    b->at++;
    batch_next(b);
}

static void step_release(struct work *work)
{
    struct step *s = LIST_ITEM(work, struct step, work);

    wipe(s->data, s->size);
    free(s->path);
    free(s->folder);
    free(s);
}

static void step_start(struct batch *b)
{
    struct step *s = alloc_zero(sizeof(*s));

    s->batch = b;
    s->path = alloc_text(b->files[b->at].path);
    s->folder = alloc_text(b->files[b->at].folder);
    s->max = b->max;
    s->resolves = b->resolves;
    s->work = (struct work){.run = step_run, .done = step_done, .release = step_release, .subject = s->path};
    worker_submit(b->reader->worker, &s->work);
}

static void batch_next(struct batch *b)
{
    while (b->at < b->count && !b->files[b->at].path)
        b->at++;
    if (b->at < b->count)
        step_start(b);
    else
        batch_end(b, NULL);
}

static struct batch *batch_new(struct file_reader *reader, const char *const *paths, size_t count,
                               file_reader_done *done, void *arg)
{
    struct batch *b = alloc_zero(sizeof(*b));
    size_t paths_count = 0;

    for (size_t i = 0; i < count; i++)
        paths_count += paths[i] != NULL;
    assert(paths_count > 0); /* else `done` would be called from within */
    b->reader = reader;
    b->files = alloc_zero((count + 1) * sizeof(*b->files));
    b->count = count;
    b->done = done;
    b->arg = arg;
    for (size_t i = 0; i < count; i++)
        b->files[i].path = alloc_text(paths[i]);
    return b;
}

void file_reader_read(struct file_reader *reader, const char *const *paths, const char *const *folders,
                      size_t count, size_t max, file_reader_done *done, void *arg)
{
    struct batch *b = batch_new(reader, paths, count, done, arg);

    b->max = max;
    for (size_t i = 0; folders && i < count; i++)
        b->files[i].folder = alloc_text(folders[i]);
    batch_next(b);
}

void file_reader_resolve(struct file_reader *reader, const char *const *paths, size_t count,
                         file_reader_done *done, void *arg)
{
    struct batch *b = batch_new(reader, paths, count, done, arg);

    b->resolves = true;
    batch_next(b);
}

static void told(void *arg, bool stuck, const char *subject)
{
    (void)arg;
    if (stuck)
        log_event(LOG_WARN, "file-stuck", LOG_TEXT("file", subject),
                  LOG_TEXT("text", "reading it does not come back: is its file system away?"));
    else
        log_event(LOG_NOTE, "file-back", LOG_TEXT("file", subject),
                  LOG_TEXT("text", "reading it has come back"));
}

struct file_reader *file_reader_new(uv_loop_t *loop)
{
    struct worker_options o = {.name = "files",
                               .threads = FILE_READER_THREADS,
                               .deadline_ms = FILE_READER_DEADLINE_MS,
                               .told = told};
    struct file_reader *r = OBJECT_NEW(struct file_reader);
    int code = worker_new(&r->worker, loop, &o, NULL);

    assert(code == 0); /* with a deadline threads are made when they are needed */
    return r;
}

size_t file_reader_stuck(const struct file_reader *reader)
{
    struct worker_status status;

    worker_status(reader->worker, &status);
    return status.stuck;
}

static void on_closed(void *arg)
{
    struct file_reader *r = OBJECT(struct file_reader, arg);
    void (*closed)(void *arg) = r->closed;
    void *closed_arg = r->closed_arg;

    OBJECT_FREE(struct file_reader, r);
    if (closed)
        closed(closed_arg);
}

void file_reader_close(struct file_reader *reader, void (*done)(void *arg), void *arg)
{
    reader->closed = done;
    reader->closed_arg = arg;
    worker_close(reader->worker, on_closed, reader);
}
