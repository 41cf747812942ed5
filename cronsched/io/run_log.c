/* See logs.h. The happy path of a writer: write() copies into `pending`; when no work is under way,
 * pending becomes `writing` and goes to the pool, which opens the file the first time; back on the loop,
 * `drained` is called, and what came meanwhile follows. finish() lets the last round close the file.
 *
 * Failures: the folder or file cannot be made, the disk is full: the first error is kept, everything later
 * is dropped, write() returns ERR_FULL and finish() reports it. A writer that is abandoned in mid-work is
 * freed when the pool returns it.
 */
#include "cronsched/io/run_log.h"

#include "jobs/base/object.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_TRIES 8 /* run_log_remove may take the folder away between mkdir and open */

int run_log_path(const char *data_dir, const char *run, int attempt, char *ret, size_t size,
                 struct error *error)
{
    char job[RUN_ID_MAX];
    const char *at = strrchr(run, '@');
    size_t n = at ? (size_t)(at - run) : 0;
    int r;

    if (attempt < 1 || attempt > RUN_LOG_ATTEMPTS_MAX)
        return error_set(error, ERR_INVALID, "attempt %d is out of range", attempt);
    if (n == 0 || n >= sizeof(job) || strspn(at + 1, "0123456789TZ.") != strlen(at + 1) || at[1] == '\0')
        return error_set(error, ERR_INVALID, "'%.*s' is not a run id", RUN_ID_MAX, run);
    memcpy(job, run, n);
    job[n] = '\0';
    if (strspn(job, "abcdefghijklmnopqrstuvwxyz0123456789-") != n || strlen(run) >= RUN_ID_MAX)
        return error_set(error, ERR_INVALID, "'%.*s' is not a run id", RUN_ID_MAX, run);
    r = snprintf(ret, size, "%s/logs/%s/%s.%d.log", data_dir, job, run, attempt);
    if (r < 0 || (size_t)r >= size)
        return error_set(error, ERR_LIMIT, "the path of the log of '%s' is too long", run);
    return 0;
}

const char *run_log_notice(int64_t cap_bytes, char buffer[RUN_LOG_NOTICE_MAX])
{
    static const struct {
        int64_t bytes;
        const char *name;
    } units[] = {{INT64_C(1) << 30, "GiB"}, {INT64_C(1) << 20, "MiB"}, {INT64_C(1) << 10, "KiB"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (cap_bytes > 0 && cap_bytes % units[i].bytes == 0) {
            snprintf(buffer, RUN_LOG_NOTICE_MAX, "cronsched: output cut at %lld %s\n",
                     (long long)(cap_bytes / units[i].bytes), units[i].name);
            return buffer;
        }
    }
    snprintf(buffer, RUN_LOG_NOTICE_MAX, "cronsched: output cut at %lld bytes\n", (long long)cap_bytes);
    return buffer;
}

/* ---- blocking ---- */

/* Makes the last two folders of the path: logs and JOB. data_dir itself is there, or it is an error. */
static int make_folders(const char *path)
{
    char folder[RUN_LOG_PATH_MAX];
    size_t slash[3] = {0}; /* of the last three: above logs, above JOB, above the file */
    size_t n = strlen(path);

    if (n >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, n + 1);
    for (int i = 2; i >= 0; i--) {
        while (n > 0 && folder[n - 1] != '/')
            n--;
        if (n == 0)
            return -EINVAL;
        slash[i] = --n;
    }
    for (int i = 1; i <= 2; i++) {
        folder[slash[i]] = '\0';
        if (mkdir(folder, 0750) < 0 && errno != EEXIST)
            return -errno;
        folder[slash[i]] = '/';
    }
    return 0;
}

static int open_making_folders(const char *path, int flags)
{
    for (int i = 0; i < OPEN_TRIES; i++) {
        int fd = open(path, flags, 0640);
        int r;

        if (fd >= 0 || errno != ENOENT)
            return fd < 0 ? -errno : fd;
        r = make_folders(path);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return -ENOENT;
}

static int io_code(int err)
{
    return err == ENOSPC || err == EDQUOT ? ERR_FULL : ERR_IO;
}

int run_log_file_open(struct run_log_file *ret, const char *path, int64_t cap_bytes, bool resume,
                      struct error *error)
{
    struct run_log_file f = {.cap = cap_bytes < 0 ? 0 : cap_bytes};
    struct stat st;
    char last;

    f.fd = open_making_folders(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (resume ? 0 : O_TRUNC));
    if (f.fd < 0)
        return error_set(error, io_code(-f.fd), "cannot open the log '%s': %s", path, strerror(-f.fd));
    if (fstat(f.fd, &st) < 0) {
        int err = errno;

        close(f.fd);
        return error_set(error, ERR_IO, "cannot look at the log '%s': %s", path, strerror(err));
    }
    f.cut = st.st_size > f.cap;
    f.size = f.skip = f.cut ? f.cap : st.st_size;
    f.line_begun = st.st_size > 0 && pread(f.fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
    *ret = f;
    return 0;
}

static int write_all(struct run_log_file *f, const char *bytes, size_t n, struct error *error)
{
    while (n > 0) {
        ssize_t w = write(f->fd, bytes, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            f->failed = io_code(errno);
            return error_set(error, f->failed, "cannot write the log: %s", strerror(errno));
        }
        bytes += w;
        n -= (size_t)w;
        f->line_begun = bytes[-1] != '\n';
    }
    return 0;
}

int run_log_file_write(struct run_log_file *file, const char *bytes, size_t n, struct error *error)
{
    char notice[RUN_LOG_NOTICE_MAX];
    size_t take;
    int r;

    if (file->failed)
        return file->failed;
    if (file->skip > 0) {
        take = (uint64_t)file->skip < n ? (size_t)file->skip : n;
        file->skip -= (int64_t)take;
        bytes += take;
        n -= take;
    }
    take = (uint64_t)(file->cap - file->size) < n ? (size_t)(file->cap - file->size) : n;
    r = write_all(file, bytes, take, error);
    if (r < 0)
        return r;
    file->size += (int64_t)take;
    if (take == n)
        return 0;
    if (!file->cut) {
        file->cut = true;
        if (file->line_begun && (r = write_all(file, "\n", 1, error)) < 0)
            return r;
        run_log_notice(file->cap, notice);
        if ((r = write_all(file, notice, strlen(notice), error)) < 0)
            return r;
    }
    return ERR_FULL;
}

void run_log_file_close(struct run_log_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* ---- on the loop ---- */

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
    bool resume;

    struct bytes pending;     /* the loop's */
    struct bytes writing;     /* the pool's while busy */
    struct run_log_file file; /* the pool's while busy */
    bool opened;              /* the pool has tried to; the pool's while busy */
    bool last_round;          /* set before the round is queued: close the file at its end */
    struct error error;       /* the first failure; its code is 0 when there is none */

    bool busy, full, asked_to_pause, closing, abandoned;
    void (*drained)(void *arg);
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

static void on_pool(uv_work_t *work)
{
    struct run_log_writer *w = OBJECT(struct run_log_writer, work->data);

    if (!w->opened) {
        w->opened = true;
        if (run_log_file_open(&w->file, w->path, w->cap, w->resume, &w->error) < 0)
            w->file.fd = -1;
    }
    if (w->file.fd >= 0 && !w->file.failed && w->writing.len > 0)
        run_log_file_write(&w->file, w->writing.data, w->writing.len, w->error.code ? NULL : &w->error);
    w->writing.len = 0;
    if (w->last_round)
        run_log_file_close(&w->file);
}

static void next_round(struct run_log_writer *w);

static void on_pool_done(uv_work_t *work, int status)
{
    struct run_log_writer *w = OBJECT(struct run_log_writer, work->data);
    bool was_asked;

    w->busy = false;
    w->full = w->error.code != 0 || w->file.cut;
    if (w->abandoned) {
        run_log_file_close(&w->file);
        writer_free(w);
        return;
    }
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
    if (was_asked && !w->closing && w->drained)
        w->drained(w->arg);
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
                       bool resume, void (*drained)(void *arg), void *arg, struct error *error)
{
    struct run_log_writer *w = calloc(1, sizeof(*w));

    if (!w || !(w->path = strdup(path))) {
        free(w);
        return error_set(error, ERR_NOMEM, "out of memory for a log");
    }
    OBJECT_INIT(struct run_log_writer, w);
    w->loop = loop;
    w->cap = cap_bytes;
    w->resume = resume;
    w->file.fd = -1;
    w->drained = drained;
    w->arg = arg;
    *ret = w;
    return 0;
}

static int bytes_add(struct bytes *b, const char *data, size_t n)
{
    if (b->len + n > b->cap) {
        size_t cap = b->cap ? b->cap : 4096;
        char *grown;

        while (cap < b->len + n)
            cap *= 2;
        grown = realloc(b->data, cap);
        if (!grown)
            return ERR_NOMEM;
        b->data = grown;
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    return 0;
}

int run_log_writer_write(struct run_log_writer *w, const char *bytes, size_t n)
{
    int r;

    assert(!w->closing);
    if (w->full)
        return ERR_FULL;
    if (n == 0)
        return 0;
    r = bytes_add(&w->pending, bytes, n);
    if (r < 0)
        return r;
    if (!w->busy)
        next_round(w);
    if (w->pending.len < RUN_LOG_PENDING_MAX)
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
    if (!w->busy)
        next_round(w);
}

void run_log_writer_abandon(struct run_log_writer *w)
{
    if (!w)
        return;
    w->abandoned = true;
    if (w->busy)
        return;
    run_log_file_close(&w->file);
    writer_free(w);
}

/* ---- removal ---- */

struct removal {
    struct object object;
    uv_work_t work;
    int attempts;
    char run[RUN_ID_MAX];
    char data_dir[];
};

static void remove_on_pool(uv_work_t *work)
{
    struct removal *r = OBJECT(struct removal, work->data);
    char path[RUN_LOG_PATH_MAX], copy[RUN_LOG_PATH_MAX + sizeof(RUN_LOG_COPY_SUFFIX)];
    char *slash;

    for (int i = 1; i <= r->attempts; i++) {
        if (run_log_path(r->data_dir, r->run, i, path, sizeof(path), NULL) < 0)
            return;
        unlink(path);
        snprintf(copy, sizeof(copy), "%s" RUN_LOG_COPY_SUFFIX, path);
        unlink(copy);
    }
    if (r->attempts > 0 && (slash = strrchr(path, '/'))) {
        *slash = '\0';
        rmdir(path); /* works when it is empty, and only then */
    }
}

static void remove_done(uv_work_t *work, int status)
{
    OBJECT_FREE(struct removal, OBJECT(struct removal, work->data));
}

void run_log_remove(uv_loop_t *loop, const char *data_dir, const char *run, int attempts)
{
    size_t n = strlen(data_dir) + 1;
    struct removal *r;

    if (strlen(run) >= RUN_ID_MAX)
        return;
    r = calloc(1, sizeof(*r) + n);
    if (!r)
        return;
    OBJECT_INIT(struct removal, r);
    r->work.data = r;
    r->attempts = attempts < RUN_LOG_ATTEMPTS_MAX ? attempts : RUN_LOG_ATTEMPTS_MAX;
    memcpy(r->run, run, strlen(run) + 1);
    memcpy(r->data_dir, data_dir, n);
    if (uv_queue_work(loop, &r->work, remove_on_pool, remove_done) < 0)
        OBJECT_FREE(struct removal, r);
}
