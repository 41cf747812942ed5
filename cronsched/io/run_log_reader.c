/* See run_log_reader.h.
 *
 * Happy path: open the first file; with later ones, or when last lines are asked for, measure how long the log is and
 * plan what to pass over; then frame by frame, cut into lines, into the caller's buffer. A file that is complete is
 * followed by the one that begins where it ends; is there none but a later one, that is a gap.
 */
#include "cronsched/io/run_log_reader.h"

#include "jobs/base/alloc.h"
#include "jobs/base/byte_size.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_S   INT64_C(1000000000)
#define NOTICE_MAX 192

struct run_log_reader {
    char *path;
    struct run_log_view view;
    int64_t cap;
    struct run_log_cursor cursor;

    /* the plan */
    int64_t first_line;     /* the first to be shown */
    int64_t gap_at, gap_to; /* offsets between which nothing is shown; -1: none */

    struct run_log_place place; /* of what has been loaded */
    struct run_log_frame held;  /* what comes after a gap; in the cursor's buffer */

    /* the piece that is being given out, and was not yet */
    struct run_log_frame piece;
    int64_t line;           /* the number of the line that it is in */
    int64_t stamp;          /* 0: not known */
    bool is_notice, breaks; /* a line of ours; one of the output's is to be ended first */
    char notice[NOTICE_MAX];

    bool line_begun, hidden; /* of the line under way */
    bool since_reached, headed;
    int64_t sent_ns; /* the last stamp, in the stored form */
};

/* ---- stamps ---- */

const char *run_log_stamp(int64_t ns, char buffer[RUN_LOG_STAMP_SIZE])
{
    char second[TEXT_NUMBER_BUFFER];

    if (ns <= 0) {
        memcpy(buffer, "-", 2);
        return buffer;
    }
    instant_format(ns / NS_PER_S * 1000, INSTANT_S, second, sizeof(second));
    snprintf(buffer, RUN_LOG_STAMP_SIZE, "%.19s.%09dZ", second, (int)(ns % NS_PER_S));
    return buffer;
}

int run_log_stamp_parse(const char *text, int64_t *ret_ns, struct error *error)
{
    const char *fraction = strchr(text, '.');
    int64_t ms, ns = 0, unit = NS_PER_S / 10;
    int r = instant_parse(text, &ms, error);

    if (r < 0)
        return r;
    if (ms < 0 || ms >= INT64_MAX / NS_PER_MS - 1000)
        return error_set(error, ERR_INVALID, "'%.64s' is out of range", text);
    while (fraction && isdigit((unsigned char)*++fraction) && unit > 0) {
        ns += (*fraction - '0') * unit;
        unit /= 10;
    }
    *ret_ns = ms / 1000 * NS_PER_S + ns;
    return 0;
}

/* ---- files ---- */

/* Of the files after the first one: that which begins at `offset`, or the next later one. Its slot; -1: none. */
static int slot_from(const struct run_log_reader *r, int64_t offset, struct run_log_segment *ret)
{
    int64_t best = INT64_MAX;
    int slot = -1;

    for (int i = 0; i < RUN_LOG_SLOTS && !r->cursor.segment.sole; i++) {
        struct run_log_segment segment;
        int fd = run_log_segment_open(r->path, i, &segment);

        if (fd < 0)
            continue;
        close(fd);
        if (segment.at.offset < offset || segment.at.offset >= best)
            continue;
        best = segment.at.offset;
        *ret = segment;
        slot = i;
    }
    return slot;
}

/* That which has offset `to`, or the oldest if all begin later. */
static int slot_with(const struct run_log_reader *r, int64_t to, struct run_log_segment *ret)
{
    struct run_log_segment segment;
    int slot = slot_from(r, 0, ret), next;

    for (int64_t from = slot < 0 ? 0 : ret->at.offset + 1;
         slot >= 0 && (next = slot_from(r, from, &segment)) >= 0 && segment.at.offset <= to;
         from = segment.at.offset + 1) {
        slot = next;
        *ret = segment;
    }
    return slot;
}

/* The cursor goes to the file in a slot, which is checked to begin there: it may have been replaced meanwhile. */
static bool open_slot(const struct run_log_reader *r, struct run_log_cursor *c, int slot, int64_t offset)
{
    struct run_log_segment segment;
    int fd = run_log_segment_open(r->path, slot, &segment);

    if (fd < 0)
        return false;
    if (segment.at.offset != offset) {
        close(fd);
        return false;
    }
    run_log_cursor_close(c);
    return run_log_cursor_open(c, fd) == 0;
}

static int open_first(struct run_log_reader *r)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc;
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    rc = run_log_cursor_open(&r->cursor, fd);
    r->cap = r->cursor.plain ? INT64_MAX : r->cursor.segment.cap;
    r->place = r->cursor.at;
    return rc;
}

/* ---- the plan ---- */

/* The end of the log as it is now. The cursor is a spare one. */
static struct run_log_place measure(const struct run_log_reader *r, struct run_log_cursor *c)
{
    struct run_log_segment newest = r->cursor.segment, segment;
    int64_t from = newest.head_bytes;
    struct run_log_frame frame;
    int slot = -1, next;

    while ((next = slot_from(r, from, &segment)) >= 0) {
        slot = next;
        newest = segment;
        from = segment.at.offset + 1;
    }
    if (slot < 0 || !open_slot(r, c, slot, newest.at.offset)) {
        int fd = dup(r->cursor.fd);

        if (fd < 0 || run_log_cursor_open(c, fd) < 0)
            return newest.at;
    }
    while (run_log_cursor_next(c, &frame) > 0)
        ;
    run_log_cursor_close(c);
    return c->at;
}

/* Where in this file a line begins: at the first newline behind `offset`, not too far on; else just there. */
static int64_t find_line(struct run_log_cursor *c, int64_t offset)
{
    struct run_log_frame frame;

    if (c->at.offset == offset && !c->at.line_begun)
        return offset;
    while (c->at.offset < offset + RUN_LOG_ALIGN_BYTES && run_log_cursor_next(c, &frame) > 0) {
        int64_t begin = c->at.offset - (int64_t)frame.size;
        size_t skip = begin < offset - 1 ? (size_t)(offset - 1 - begin) : 0;
        const char *at;

        if (frame.kind > RUN_LOG_ERR || c->at.offset < offset)
            continue;
        at = memchr(frame.data + skip, '\n', frame.size - skip);
        if (at)
            return begin + (at - frame.data) + 1;
    }
    return offset;
}

/* `to`, or where a line begins soon after it, before the end. */
static int64_t align(const struct run_log_reader *r, struct run_log_cursor *c, int64_t to, int64_t end)
{
    struct run_log_segment segment;
    int slot = slot_with(r, to, &segment);
    int64_t line;

    if (slot < 0 || !open_slot(r, c, slot, segment.at.offset))
        return to;
    line = find_line(c, to);
    run_log_cursor_close(c);
    return line < end ? line : to;
}

static void plan(struct run_log_reader *r)
{
    struct run_log_segment oldest;
    struct run_log_place end;
    struct run_log_cursor *c;
    int slot;

    r->gap_at = r->gap_to = -1;
    slot = slot_from(r, r->cursor.segment.head_bytes, &oldest);
    if (slot < 0 && (r->view.tail < 0 || r->view.stored))
        return;
    c = alloc_zero(sizeof(*c));
    c->fd = -1;
    end = measure(r, c);
    if (r->view.tail >= 0)
        r->first_line = end.lines + end.line_begun - r->view.tail;
    if (slot >= 0 && end.offset > r->cap && !r->view.live) {
        int64_t to = end.offset - r->cap / 2;

        r->gap_at = r->cursor.segment.head_bytes;
        r->gap_to = align(r, c, to > oldest.at.offset ? to : oldest.at.offset, end.offset);
    }
    run_log_cursor_close(c);
    free(c);
}

/* ---- pieces ---- */

/* Goes on at offset `to`, or at the next that is there: the piece is the gap, what is left of a frame is held. */
static int jump(struct run_log_reader *r, int64_t to)
{
    struct run_log_cursor *c = &r->cursor;
    struct run_log_segment segment;
    struct run_log_place at;
    struct run_log_frame frame = {0};
    int slot = slot_with(r, to, &segment);

    if (slot < 0 || !open_slot(r, c, slot, segment.at.offset))
        return 0; /* it has just been replaced; the next call finds another */
    at = c->at;
    while (c->at.offset < to && run_log_cursor_next(c, &frame) > 0) {
        if (c->at.offset > to && frame.kind <= RUN_LOG_ERR) {
            r->held = frame;
            r->held.size = (size_t)(c->at.offset - to);
            frame.size -= r->held.size;
            r->held.data += frame.size;
        }
        run_log_place_pass(&at, &frame);
    }
    r->piece = (struct run_log_frame){.kind = RUN_LOG_GAP,
                                      .ns = at.latest_ns,
                                      .gap_bytes = at.offset - r->place.offset,
                                      .gap_lines = at.lines - r->place.lines};
    r->place = at;
    r->gap_to = -1;
    return 1;
}

/* The next piece: 1, 0: none for now, or a negative errno. */
static int load(struct run_log_reader *r)
{
    struct run_log_segment segment;
    int n, slot;

    r->line = r->place.lines;
    if (r->held.size > 0) {
        r->piece = r->held;
        r->held.size = 0;
        r->place = r->cursor.at;
        return 1;
    }
    if (r->gap_to > r->place.offset && r->place.offset >= r->gap_at)
        return jump(r, r->gap_to);
    while ((n = run_log_cursor_next(&r->cursor, &r->piece)) == 0) {
        if (!run_log_cursor_complete(&r->cursor) || (slot = slot_from(r, r->place.offset, &segment)) < 0)
            return 0;
        if (segment.at.offset != r->place.offset)
            return jump(r, segment.at.offset);
        if (!open_slot(r, &r->cursor, slot, segment.at.offset))
            return 0;
    }
    r->place = r->cursor.at;
    return n;
}

/* ---- text ---- */

static void say_gap(struct run_log_reader *r)
{
    const struct run_log_frame gap = r->piece;
    char cap[TEXT_NUMBER_BUFFER];
    int n = snprintf(r->notice, sizeof(r->notice),
                     "cronsched: %lld bytes (%lld lines) of output are missing here: keep.logs is %s\n",
                     (long long)gap.gap_bytes, (long long)gap.gap_lines,
                     byte_size_format(r->cap, cap, sizeof(cap)));

    r->piece.data = r->notice;
    r->piece.size = (size_t)n;
}

/* Whether a notice belongs to what is asked for. */
static bool notice_hidden(const struct run_log_reader *r)
{
    bool gap = r->piece.kind == RUN_LOG_GAP;

    if (gap ? r->first_line >= r->place.lines && r->first_line > 0 : r->first_line > r->place.lines)
        return true;
    return !r->since_reached && r->piece.ns > 0 && r->piece.ns < r->view.since_ns;
}

/* A piece has been loaded. */
static void prepare(struct run_log_reader *r)
{
    bool known = r->piece.ns > 0 || r->place.latest_ns > 0;
    bool hidden;

    r->is_notice = r->piece.kind > RUN_LOG_ERR;
    r->stamp = r->piece.ns > r->place.latest_ns ? r->piece.ns : r->place.latest_ns;
    if (!known)
        r->stamp = 0;
    r->breaks = r->is_notice && r->line_begun;
    if (!r->is_notice)
        return;
    hidden = notice_hidden(r);
    if (r->piece.kind == RUN_LOG_GAP)
        say_gap(r);
    if (hidden) {
        r->line_begun = r->line_begun && r->piece.kind == RUN_LOG_NOTE;
        r->piece.size = 0;
    }
}

struct block {
    char *bytes;
    size_t size, used;
};

static void put(struct block *b, const char *bytes, size_t n)
{
    if (n > 0) /* a gap has no bytes */
        memcpy(b->bytes + b->used, bytes, n);
    b->used += n;
}

/* False: no room. */
static bool begin_line(struct run_log_reader *r, struct block *b)
{
    char stamp[RUN_LOG_STAMP_SIZE];

    if (b->size - b->used < RUN_LOG_STAMP_SIZE + 1)
        return false;
    if (!r->is_notice) {
        r->since_reached = r->since_reached || r->stamp == 0 || r->stamp >= r->view.since_ns;
        r->hidden = r->line < r->first_line || !r->since_reached;
    } else {
        r->hidden = false;
    }
    r->line_begun = true;
    if (r->view.timestamps && !r->hidden) {
        run_log_stamp(r->stamp, stamp);
        put(b, stamp, strlen(stamp));
        put(b, " ", 1);
    }
    return true;
}

/* Some of the piece, up to the end of a line. False: no room. */
static bool put_some(struct run_log_reader *r, struct block *b)
{
    size_t room = b->size - b->used, n;
    const char *newline;

    if (r->breaks) {
        if (room == 0)
            return false;
        if (!r->hidden)
            put(b, "\n", 1);
        r->line_begun = r->breaks = false;
        return true;
    }
    if (!r->line_begun && !begin_line(r, b))
        return false;
    room = b->size - b->used;
    newline = memchr(r->piece.data, '\n', r->piece.size);
    n = newline ? (size_t)(newline - r->piece.data) + 1 : r->piece.size;
    if (!r->hidden) {
        n = n < room ? n : room;
        put(b, r->piece.data, n);
    }
    if (n > 0 && r->piece.data[n - 1] == '\n') {
        r->line_begun = false;
        r->line += !r->is_notice;
    }
    r->piece.data += n;
    r->piece.size -= n;
    return n > 0;
}

static int read_text(struct run_log_reader *r, struct block *b)
{
    while (b->used < b->size) {
        if (r->piece.size == 0) {
            int n = load(r);

            if (n <= 0)
                return n;
            prepare(r);
        } else if (!put_some(r, b)) {
            break;
        }
    }
    return 0;
}

/* ---- the stored form ---- */

static int read_stored(struct run_log_reader *r, struct block *b)
{
    struct run_log_segment head = {.cap = r->cursor.plain ? 0 : r->cap, .sole = true};

    if (!r->headed) {
        run_log_segment_encode(&head, (unsigned char *)b->bytes);
        b->used = RUN_LOG_HEADER_BYTES;
        r->headed = true;
    }
    while (b->size - b->used >= RUN_LOG_FRAME_MAX + 2 * RUN_LOG_FRAME_HEAD) {
        int n = load(r);

        if (n <= 0)
            return n;
        b->used += run_log_frame_encode(&r->piece, r->sent_ns, (unsigned char *)b->bytes + b->used);
        put(b, r->piece.data, r->piece.size);
        if (r->piece.kind != RUN_LOG_NOTE)
            r->sent_ns = r->piece.ns;
    }
    return 0;
}

/* ---- the whole ---- */

struct run_log_reader *run_log_reader_new(const char *path, const struct run_log_view *view)
{
    struct run_log_reader *r = alloc_zero(sizeof(*r));

    r->path = alloc_text(path);
    r->view = *view;
    r->cursor.fd = -1;
    return r;
}

bool run_log_reader_is_open(const struct run_log_reader *r)
{
    return r->cursor.fd >= 0;
}

int run_log_reader_read(struct run_log_reader *r, char *buffer, size_t size, size_t *ret_n)
{
    struct block block = {.bytes = buffer, .size = size};
    int rc;

    assert(size >= RUN_LOG_BLOCK_LEAST);
    *ret_n = 0;
    if (r->cursor.fd < 0) {
        rc = open_first(r);
        if (rc < 0)
            return rc;
        plan(r);
    }
    rc = r->view.stored ? read_stored(r, &block) : read_text(r, &block);
    *ret_n = block.used;
    return block.used > 0 ? 0 : rc; /* an error comes again */
}

void run_log_reader_free(struct run_log_reader *r)
{
    if (!r)
        return;
    run_log_cursor_close(&r->cursor);
    free(r->path);
    free(r);
}
