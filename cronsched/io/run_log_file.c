/* See run_log.h: the files of one log, blocking.
 *
 * Happy path: open makes the first file under its other name, with its header, and renames it; frames are collected in
 * the buffer and appended with one call; when the file has its bytes, the next one is made like the first.
 * To resume, the newest file is read through to its last whole frame, and what follows that is cut off.
 */
#include "cronsched/io/run_log.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_TRIES 8 /* run_log_remove may take the folder away between mkdir and open */
#define SLOT_SHARE 8 /* of the cap */

/* ---- folders and files ---- */

/* Makes the last two folders of the path: logs and JOB. data_dir itself is there, or it is an error. */
static int make_folders(const char *path)
{
    char folder[RUN_LOG_FILE_PATH_MAX];
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

static int fail(struct run_log_file *f, int err, struct error *error)
{
    f->failed = io_code(err);
    return error_set(error, f->failed, "cannot write the log: %s", strerror(err));
}

static int write_all(struct run_log_file *f, const void *bytes, size_t n, struct error *error)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t w = write(f->fd, at, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return fail(f, errno, error);
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

int run_log_file_flush(struct run_log_file *f, struct error *error)
{
    size_t n = f->used;

    if (f->failed)
        return f->failed;
    f->used = 0;
    return write_all(f, f->buffer, n, error);
}

/* ---- a new file ---- */

/* Under its other name, with its header. */
static int begin_file(struct run_log_file *f, int64_t limit, struct error *error)
{
    struct run_log_segment segment = {
        .cap = f->cap, .limit = limit, .head_bytes = f->head_bytes, .sole = f->sole, .at = f->at};
    unsigned char header[RUN_LOG_HEADER_BYTES];
    char name[RUN_LOG_FILE_PATH_MAX];

    run_log_file_name(f->path, RUN_LOG_SLOT_NEW, name);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = open_making_folders(name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC);
    if (f->fd < 0) {
        f->failed = io_code(-f->fd);
        error_set(error, f->failed, "cannot open the log '%s': %s", name, strerror(-f->fd));
        f->fd = -1;
        return f->failed;
    }
    f->limit = limit;
    f->content = 0;
    run_log_segment_encode(&segment, header);
    return write_all(f, header, sizeof(header), error);
}

static int name_file(struct run_log_file *f, int slot, struct error *error)
{
    char from[RUN_LOG_FILE_PATH_MAX], to[RUN_LOG_FILE_PATH_MAX];
    int r;

    run_log_file_name(f->path, RUN_LOG_SLOT_NEW, from);
    f->slot = slot;
    if (slot == RUN_LOG_SLOT_NEW)
        r = rename(from, f->path);
    else
        r = rename(from, run_log_file_name(f->path, slot, to));
    return r < 0 ? fail(f, errno, error) : 0;
}

/* What comes later: in the place of the oldest. */
static int next_file(struct run_log_file *f, struct error *error)
{
    int64_t limit = f->cap / SLOT_SHARE;
    int r = run_log_file_flush(f, error);

    if (r == 0)
        r = begin_file(f, limit > RUN_LOG_SLOT_LEAST ? limit : RUN_LOG_SLOT_LEAST, error);
    if (r == 0)
        r = name_file(f, (f->slot + 1) % RUN_LOG_SLOTS, error);
    return r;
}

static void remove_slots(const char *path)
{
    char name[RUN_LOG_FILE_PATH_MAX];

    for (int slot = RUN_LOG_SLOT_NEW; slot < RUN_LOG_SLOTS; slot++)
        unlink(run_log_file_name(path, slot, name));
}

void run_log_file_remove(const char *path)
{
    remove_slots(path);
    unlink(path);
}

static int open_fresh(struct run_log_file *f, struct error *error)
{
    int r;

    run_log_file_remove(f->path); /* the later ones go first */
    r = begin_file(f, f->head_bytes, error);
    return r < 0 ? r : name_file(f, RUN_LOG_SLOT_NEW, error);
}

/* ---- adding ---- */

static int put(struct run_log_file *f, const void *bytes, size_t n, struct error *error)
{
    int r = 0;

    if (n > sizeof(f->buffer) - f->used)
        r = run_log_file_flush(f, error);
    if (r == 0 && n > sizeof(f->buffer))
        return write_all(f, bytes, n, error);
    if (r == 0) {
        memcpy(f->buffer + f->used, bytes, n);
        f->used += n;
    }
    return r;
}

static int put_frame(struct run_log_file *f, const struct run_log_frame *frame, struct error *error)
{
    unsigned char head[RUN_LOG_FRAME_HEAD * 2];
    size_t n = run_log_frame_encode(frame, f->at.last_ns, head);
    int r = put(f, head, n, error);

    if (r == 0 && frame->size > 0)
        r = put(f, frame->data, frame->size, error);
    run_log_place_pass(&f->at, frame);
    return r;
}

/* No room in a sole file: only how much that is. */
static void pass_over(struct run_log_file *f, const struct run_log_frame *frame)
{
    struct run_log_place place = {0};

    run_log_place_pass(&place, frame);
    f->over_bytes += place.offset;
    f->over_lines += place.lines;
}

int run_log_file_add(struct run_log_file *f, const struct run_log_frame *frame, struct error *error)
{
    struct run_log_frame part = *frame;
    bool output = frame->kind <= RUN_LOG_ERR;
    size_t left = frame->size;
    int r = f->failed;

    if (!output && f->over_bytes > 0)
        pass_over(f, frame);
    else if (!output && r == 0)
        r = put_frame(f, frame, error);
    while (output && left > 0 && r == 0) {
        if (f->content >= f->limit && f->sole) {
            part.size = left;
            pass_over(f, &part);
            return 0;
        }
        if (f->content >= f->limit && (r = next_file(f, error)) < 0)
            break;
        part.size = left < RUN_LOG_FRAME_MAX ? left : RUN_LOG_FRAME_MAX;
        if ((int64_t)part.size > f->limit - f->content)
            part.size = (size_t)(f->limit - f->content);
        f->content += (int64_t)part.size;
        r = put_frame(f, &part, error);
        part.data += part.size;
        left -= part.size;
    }
    return r;
}

void run_log_file_close(struct run_log_file *f)
{
    const struct run_log_frame over = {
        .kind = RUN_LOG_GAP, .ns = f->at.latest_ns, .gap_bytes = f->over_bytes, .gap_lines = f->over_lines};

    if (f->fd >= 0 && f->over_bytes > 0)
        put_frame(f, &over, NULL);
    if (f->fd >= 0) {
        run_log_file_flush(f, NULL);
        close(f->fd);
    }
    f->fd = -1;
    free(f->path);
    f->path = NULL;
}

/* ---- going on with one ---- */

/* The slot of the newest file. False: there is none beside the first one. */
static bool find_newest(const struct run_log_file *f, int *ret_slot)
{
    struct run_log_segment segment;
    int64_t newest = -1;

    for (int slot = 0; slot < RUN_LOG_SLOTS; slot++) {
        int fd = run_log_segment_open(f->path, slot, &segment);

        if (fd < 0)
            continue;
        close(fd);
        if (segment.at.offset > newest) {
            newest = segment.at.offset;
            *ret_slot = slot;
        }
    }
    return newest >= 0;
}

/* Goes on in the file of the cursor, whose descriptor becomes the log's. */
static int go_on_in(struct run_log_file *f, struct run_log_cursor *c, int slot, struct error *error)
{
    struct run_log_frame frame;

    while (run_log_cursor_next(c, &frame) > 0)
        ;
    f->fd = c->fd;
    f->slot = slot;
    f->cap = c->segment.cap;
    f->head_bytes = c->segment.head_bytes;
    f->limit = c->segment.limit;
    f->content = c->content;
    f->at = c->at;
    return ftruncate(f->fd, c->end) < 0 ? fail(f, errno, error) : 0;
}

/* What is there is plain text, of which all up to the cap becomes the first file. It has no others. */
static int take_over(struct run_log_file *f, struct run_log_cursor *c, struct error *error)
{
    struct run_log_frame frame;
    struct stat st;
    int64_t kept = fstat(c->fd, &st) == 0 && st.st_size < f->cap ? st.st_size : f->cap;
    int r;

    remove_slots(f->path);
    f->head_bytes = kept > f->head_bytes ? kept : f->head_bytes;
    r = begin_file(f, f->head_bytes, error);
    while (r == 0 && f->content < kept && run_log_cursor_next(c, &frame) > 0) {
        if ((int64_t)frame.size > kept - f->content)
            frame.size = (size_t)(kept - f->content);
        r = run_log_file_add(f, &frame, error);
    }
    if (r == 0)
        r = run_log_file_flush(f, error);
    return r < 0 ? r : name_file(f, RUN_LOG_SLOT_NEW, error);
}

static int resume_from(struct run_log_file *f, struct run_log_cursor *c, struct error *error)
{
    struct run_log_frame frame;
    char name[RUN_LOG_FILE_PATH_MAX];
    int slot = RUN_LOG_SLOT_NEW, fd, r;

    if (c->plain) {
        r = take_over(f, c, error);
        run_log_cursor_close(c);
        return r;
    }
    while (run_log_cursor_next(c, &frame) > 0)
        ;
    if (!run_log_cursor_complete(c) || c->segment.sole || !find_newest(f, &slot)) {
        run_log_cursor_rewind(c);
        return go_on_in(f, c, RUN_LOG_SLOT_NEW, error);
    }
    run_log_cursor_close(c);
    fd = open(run_log_file_name(f->path, slot, name), O_RDWR | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return fail(f, errno, error);
    r = run_log_cursor_open(c, fd);
    return r < 0 ? fail(f, -r, error) : go_on_in(f, c, slot, error);
}

static int open_resumed(struct run_log_file *f, struct error *error)
{
    int fd = open(f->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW), r;
    struct run_log_cursor *c;

    if (fd < 0)
        return open_fresh(f, error);
    c = alloc_zero(sizeof(*c));
    r = run_log_cursor_open(c, fd);
    r = r < 0 ? fail(f, -r, error) : resume_from(f, c, error);
    free(c);
    return r;
}

int run_log_file_open(struct run_log_file *f, const char *path, int64_t cap_bytes, enum run_log_mode mode,
                      struct error *error)
{
    int r;

    memset(f, 0, sizeof(*f));
    f->fd = -1;
    f->slot = RUN_LOG_SLOT_NEW;
    f->cap = cap_bytes < 0 ? 0 : cap_bytes;
    f->sole = mode == RUN_LOG_SOLE;
    f->head_bytes = f->sole ? f->cap : f->cap - f->cap / 2;
    f->path = alloc_text(path);
    r = mode == RUN_LOG_RESUME ? open_resumed(f, error) : open_fresh(f, error);
    if (r < 0)
        run_log_file_close(f);
    return r;
}
