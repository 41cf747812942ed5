#include "cronsched/io/run_log_segment.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KIND_BITS 2
#define COUNT_MAX (INT64_C(1) << 56) /* of bytes and lines: sums of some of these fit */

static const unsigned char magic[8] = {'\0', 'C', 'R', 'L', 'O', 'G', '1', '\n'};

/* ---- places ---- */

static int64_t newlines(const char *data, size_t n)
{
    const char *at = data, *end = data + n;
    int64_t count = 0;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        count++;
        at++;
    }
    return count;
}

void run_log_place_pass(struct run_log_place *p, const struct run_log_frame *f)
{
    if (f->kind == RUN_LOG_NOTE)
        return;
    if (f->kind == RUN_LOG_GAP) {
        p->offset = p->offset < COUNT_MAX ? p->offset + f->gap_bytes : p->offset;
        p->lines = p->lines < COUNT_MAX ? p->lines + f->gap_lines : p->lines;
        p->line_begun = false;
        p->same_bytes = 0;
    } else if (f->size > 0) {
        bool same = p->offset > 0 && f->ns == p->last_ns && (int)f->kind == p->last_kind;

        p->offset += (int64_t)f->size;
        p->lines += newlines(f->data, f->size);
        p->line_begun = f->data[f->size - 1] != '\n';
        p->same_bytes = (same ? p->same_bytes : 0) + (int64_t)f->size;
        p->last_kind = (int)f->kind;
    }
    p->last_ns = f->ns;
    if (f->ns > p->latest_ns)
        p->latest_ns = f->ns;
}

/* ---- numbers ---- */

static size_t put_varint(unsigned char *to, uint64_t value)
{
    size_t n = 0;

    while (value >= 0x80) {
        to[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (unsigned char)value;
    return n;
}

/* Bytes taken; 0: incomplete; ERR_CORRUPT. */
static ssize_t get_varint(const char *bytes, size_t n, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < 10; i++) {
        unsigned char byte;

        if (i == n)
            return 0;
        byte = (unsigned char)bytes[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return (ssize_t)i + 1;
        }
    }
    return ERR_CORRUPT;
}

static uint64_t zigzag(int64_t last, int64_t now)
{
    uint64_t delta = (uint64_t)now - (uint64_t)last;

    return delta << 1 ^ (delta >> 63 ? UINT64_MAX : 0);
}

static int64_t unzigzag(int64_t last, uint64_t value)
{
    return (int64_t)((uint64_t)last + (value >> 1 ^ (value & 1 ? UINT64_MAX : 0)));
}

/* ---- the header ---- */

static void put_64(unsigned char *to, int64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)((uint64_t)value >> (8 * i));
}

static int64_t get_64(const unsigned char *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return (int64_t)value;
}

void run_log_segment_encode(const struct run_log_segment *s, unsigned char ret[RUN_LOG_HEADER_BYTES])
{
    const int64_t fields[RUN_LOG_HEADER_FIELDS] = {
        s->cap,          s->limit,      s->head_bytes,    s->sole,         s->at.offset,    s->at.lines,
        s->at.latest_ns, s->at.last_ns, s->at.same_bytes, s->at.last_kind, s->at.line_begun};

    memcpy(ret, magic, sizeof(magic));
    for (size_t i = 0; i < RUN_LOG_HEADER_FIELDS; i++)
        put_64(ret + sizeof(magic) + 8 * i, fields[i]);
}

bool run_log_segment_decode(const unsigned char *bytes, size_t n, struct run_log_segment *ret)
{
    int64_t fields[RUN_LOG_HEADER_FIELDS];

    if (n < RUN_LOG_HEADER_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0)
        return false;
    for (size_t i = 0; i < RUN_LOG_HEADER_FIELDS; i++) {
        fields[i] = get_64(bytes + sizeof(magic) + 8 * i);
        if (fields[i] < 0 || (fields[i] > COUNT_MAX && i != 6 && i != 7))
            return false;
    }
    *ret = (struct run_log_segment){.cap = fields[0],
                                    .limit = fields[1],
                                    .head_bytes = fields[2],
                                    .sole = fields[3] != 0,
                                    .at = {.offset = fields[4],
                                           .lines = fields[5],
                                           .latest_ns = fields[6],
                                           .last_ns = fields[7],
                                           .same_bytes = fields[8],
                                           .last_kind = fields[9] == RUN_LOG_ERR ? RUN_LOG_ERR : RUN_LOG_OUT,
                                           .line_begun = fields[10] != 0}};
    return true;
}

/* ---- frames ---- */

size_t run_log_frame_encode(const struct run_log_frame *f, int64_t last_ns,
                            unsigned char ret[RUN_LOG_FRAME_HEAD * 2])
{
    unsigned char gap[RUN_LOG_FRAME_HEAD];
    size_t n, payload = f->size;

    assert(f->size <= RUN_LOG_FRAME_MAX);
    if (f->kind == RUN_LOG_GAP) {
        payload = put_varint(gap, (uint64_t)f->gap_bytes);
        payload += put_varint(gap + payload, (uint64_t)f->gap_lines);
    }
    n = put_varint(ret, (uint64_t)payload << KIND_BITS | (unsigned)f->kind);
    n += put_varint(ret + n, zigzag(last_ns, f->ns));
    if (f->kind == RUN_LOG_GAP) {
        memcpy(ret + n, gap, payload);
        n += payload;
    }
    return n;
}

static bool decode_gap(const char *bytes, size_t n, struct run_log_frame *ret)
{
    uint64_t lost = 0, lines = 0;
    ssize_t first = get_varint(bytes, n, &lost), second;

    if (first <= 0)
        return false;
    second = get_varint(bytes + first, n - (size_t)first, &lines);
    if (second <= 0 || (size_t)(first + second) != n || lost > COUNT_MAX || lines > lost)
        return false;
    ret->gap_bytes = (int64_t)lost;
    ret->gap_lines = (int64_t)lines;
    ret->data = NULL;
    ret->size = 0;
    return true;
}

ssize_t run_log_frame_decode(const char *bytes, size_t n, int64_t last_ns, struct run_log_frame *ret)
{
    uint64_t word = 0, stamp = 0;
    ssize_t first = get_varint(bytes, n, &word), second;
    struct run_log_frame frame;
    size_t size, head;

    if (first <= 0)
        return first;
    size = (size_t)(word >> KIND_BITS);
    if (word >> KIND_BITS > RUN_LOG_FRAME_MAX)
        return ERR_CORRUPT;
    second = get_varint(bytes + first, n - (size_t)first, &stamp);
    if (second <= 0)
        return second;
    head = (size_t)(first + second);
    frame = (struct run_log_frame){.kind = (enum run_log_kind)(word & ((1U << KIND_BITS) - 1)),
                                   .ns = unzigzag(last_ns, stamp),
                                   .data = bytes + head,
                                   .size = size};
    if (frame.ns < 0)
        return ERR_CORRUPT;
    if (n - head < size)
        return 0;
    if (frame.kind == RUN_LOG_GAP && !decode_gap(bytes + head, size, &frame))
        return ERR_CORRUPT;
    *ret = frame;
    return (ssize_t)(head + size);
}

/* ---- cursors ---- */

int run_log_cursor_open(struct run_log_cursor *c, int fd)
{
    unsigned char header[RUN_LOG_HEADER_BYTES];
    ssize_t n = pread(fd, header, sizeof(header), 0);

    c->fd = -1;
    if (n < 0) {
        int err = errno;

        close(fd);
        return -err;
    }
    c->fd = fd;
    c->plain = !run_log_segment_decode(header, (size_t)n, &c->segment);
    if (c->plain)
        c->segment = (struct run_log_segment){.limit = INT64_MAX, .sole = true};
    run_log_cursor_rewind(c);
    return 0;
}

void run_log_cursor_rewind(struct run_log_cursor *c)
{
    c->at = c->segment.at;
    c->content = 0;
    c->end = c->plain ? 0 : RUN_LOG_HEADER_BYTES;
    c->used = c->have = 0;
}

static ssize_t take_frame(struct run_log_cursor *c, struct run_log_frame *ret)
{
    const char *bytes = c->buffer + c->used;
    size_t n = c->have - c->used;

    if (!c->plain)
        return run_log_frame_decode(bytes, n, c->at.last_ns, ret);
    if (n == 0)
        return 0;
    *ret = (struct run_log_frame){
        .kind = RUN_LOG_OUT, .data = bytes, .size = n < RUN_LOG_FRAME_MAX ? n : RUN_LOG_FRAME_MAX};
    return (ssize_t)ret->size;
}

int run_log_cursor_next(struct run_log_cursor *c, struct run_log_frame *ret)
{
    ssize_t n = take_frame(c, ret);

    if (n == 0) { /* what is there of an incomplete one is read again: a writer may have cut it off */
        ssize_t got = pread(c->fd, c->buffer, sizeof(c->buffer), c->end);

        c->used = 0;
        c->have = got > 0 ? (size_t)got : 0;
        if (got < 0)
            return -errno;
        n = take_frame(c, ret);
    }
    if (n == 0)
        c->used = c->have = 0;
    if (n <= 0)
        return n < 0 ? -EBADMSG : 0;
    c->used += (size_t)n;
    c->end += n;
    if (ret->kind <= RUN_LOG_ERR)
        c->content += (int64_t)ret->size;
    run_log_place_pass(&c->at, ret);
    return 1;
}

bool run_log_cursor_complete(const struct run_log_cursor *c)
{
    return !c->plain && c->content >= c->segment.limit;
}

void run_log_cursor_close(struct run_log_cursor *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}
