/* See mark_file.h. Happy path: set -> a write on the pool -> a pause -> the next write, if the mark rose meanwhile.
 * Failure: told once, tried again after a longer pause.
 */
#include "cronsched/cluster/mark_file.h"

#include "cronsched/io/file.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <stdio.h>

#define PATH_BYTES 4096
#define MARK_BYTES 1024

struct mark_file {
    struct object object;
    uv_loop_t *loop;
    char data_dir[PATH_BYTES];
    struct mark newest, written;
    struct mark writing; /* of the pool while `busy` */
    struct error result; /* of the pool while `busy` */
    uv_work_t work;
    uv_timer_t pause;
    bool busy, paused, closing, timer_closed;
    char trouble[256];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- reading ---- */

static int read_line(const char *data_dir, const char *name, char line[MARK_BYTES], struct error *error)
{
    char path[PATH_BYTES + 16], *text;
    struct error why;
    int rc;

    snprintf(path, sizeof(path), "%s/%s", data_dir, name);
    rc = file_read(path, MARK_BYTES - 1, FILE_REGULAR, &text, NULL, &why);
    if (rc == ERR_NOT_FOUND)
        return rc;
    if (rc < 0)
        return error_set(error, rc == ERR_LIMIT ? ERR_CORRUPT : rc, "%s: %s", path, why.text);
    snprintf(line, MARK_BYTES, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
    return line[0] ? 0 : error_set(error, ERR_CORRUPT, "%s is empty", path);
}

static int read_old_note(const char *data_dir, struct mark *ret, struct error *error)
{
    struct mark mark = {.index = 0};
    char line[MARK_BYTES];
    int rc = read_line(data_dir, "cluster", line, error);

    if (rc == 0)
        snprintf(mark.cluster, sizeof(mark.cluster), "%.39s", line);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        *ret = mark;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int mark_file_read(const char *data_dir, struct mark *ret, struct error *error)
{
    char line[MARK_BYTES];
    json_t *json;
    int rc = read_line(data_dir, "mark", line, error);

    if (rc == ERR_NOT_FOUND)
        return read_old_note(data_dir, ret, error);
    if (rc < 0)
        return rc;
    json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    rc = mark_parse(ret, json, error);
    json_decref(json);
    return rc < 0 ? error_prefix(error, "%s/mark: ", data_dir) : 0;
}

/* ---- writing: on the pool, but for mark_file_write ---- */

int mark_file_write(const char *data_dir, const struct mark *mark, struct error *error)
{
    char path[PATH_BYTES + 16], line[MARK_BYTES];
    json_t *json = mark_json(mark);
    size_t size = json_dumpb(json, line, sizeof(line) - 1, JSON_COMPACT);
    struct error why = {0};

    json_decref(json);
    line[size++] = '\n';
    snprintf(path, sizeof(path), "%s/mark", data_dir);
    if (file_replace(path, line, size, &why) < 0)
        return error_set(error, ERR_IO, "%s cannot be written: %s", path, why.text);
    return 0;
}

static void on_pool(uv_work_t *work)
{
    struct mark_file *f = OBJECT(struct mark_file, work->data);

    f->result.code = mark_file_write(f->data_dir, &f->writing, &f->result);
}

/* ---- on the loop ---- */

static bool same(const struct mark *a, const struct mark *b)
{
    return a->index == b->index && strcmp(a->hash, b->hash) == 0 && strcmp(a->cluster, b->cluster) == 0 &&
           a->since.index == b->since.index && strcmp(a->since.hash, b->since.hash) == 0;
}

static void finish(struct mark_file *f)
{
    void (*closed)(void *arg) = f->closed;
    void *arg = f->closed_arg;

    if (f->busy || !f->timer_closed)
        return;
    OBJECT_FREE(struct mark_file, f);
    closed(arg);
}

static void on_written(uv_work_t *work, int status);

static void write_newest(struct mark_file *f)
{
    if (f->busy || f->paused || same(&f->newest, &f->written))
        return;
    f->busy = true;
    f->writing = f->newest;
    uv_queue_work(f->loop, &f->work, on_pool, on_written);
}

static void on_pause(uv_timer_t *timer)
{
    struct mark_file *f = OBJECT(struct mark_file, timer->data);

    f->paused = false;
    write_newest(f);
}

static void note_result(struct mark_file *f)
{
    if (f->result.code == 0) {
        f->written = f->writing;
        f->trouble[0] = '\0';
        return;
    }
    if (!f->trouble[0])
        log_event(LOG_ERROR, "mark", LOG_TEXT("text", f->result.text));
    snprintf(f->trouble, sizeof(f->trouble), "%.255s", f->result.text);
}

static void on_written(uv_work_t *work, int status)
{
    struct mark_file *f = OBJECT(struct mark_file, work->data);

    (void)status;
    f->busy = false;
    note_result(f);
    if (f->closing) {
        if (f->result.code == 0)
            write_newest(f);
        finish(f);
        return;
    }
    f->paused = true;
    loop_timer_start(&f->pause, on_pause, f->trouble[0] ? MARK_FILE_RETRY_MS : MARK_FILE_EVERY_MS, 0);
}

void mark_file_new(struct mark_file **ret, uv_loop_t *loop, const char *data_dir, const struct mark *read)
{
    struct mark_file *f = OBJECT_NEW(struct mark_file);

    f->loop = loop;
    f->newest = f->written = *read;
    f->work.data = f->pause.data = f;
    snprintf(f->data_dir, sizeof(f->data_dir), "%s", data_dir);
    uv_timer_init(loop, &f->pause);
    *ret = f;
}

void mark_file_set(struct mark_file *f, const struct mark *mark)
{
    if (f->newest.cluster[0] && strcmp(f->newest.cluster, mark->cluster) != 0) {
        snprintf(f->trouble, sizeof(f->trouble),
                 "the data folder belongs to cluster %s: the mark of cluster %s is not kept",
                 f->newest.cluster, mark->cluster);
        log_event(LOG_ERROR, "mark", LOG_TEXT("text", f->trouble));
        return;
    }
    f->newest = *mark;
    if (!f->closing)
        write_newest(f);
}

const char *mark_file_trouble(const struct mark_file *f)
{
    return f->trouble;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct mark_file *f = OBJECT(struct mark_file, handle->data);

    f->timer_closed = true;
    finish(f);
}

void mark_file_close(struct mark_file *f, void (*done)(void *arg), void *arg)
{
    f->closing = true;
    f->closed = done;
    f->closed_arg = arg;
    f->paused = false;
    write_newest(f);
    uv_close((uv_handle_t *)&f->pause, on_timer_closed);
}
