/* One file of a kept log: a header, then frames, only ever appended to.
 *
 *   header  "\0CRLOG1\n", then RUN_LOG_HEADER_FIELDS numbers of 8 bytes, little endian: the limits, and the place in the
 *           attempt's output at which the file begins
 *   frame   varint (payload length << 2 | kind), zigzag varint (its stamp less the last one's), payload
 *
 * A frame counts once all of it is there: whoever reads stops before an incomplete one, whoever goes on writing cuts it
 * off. So a process that dies in mid-write leaves a file that is whole up to its last frame. A file that does not begin
 * with the magic is plain text, as written before there were frames: it reads as frames without stamps.
 *
 * Stamps are nanoseconds since 1970 by the clock of whoever gave the output; 0: not known.
 *
 * Blocking; any thread, one at a time.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RUN_LOG_HEADER_FIELDS 11
#define RUN_LOG_HEADER_BYTES  (8 + 8 * RUN_LOG_HEADER_FIELDS)
#define RUN_LOG_FRAME_MAX     (16 * 1024) /* bytes of payload */
#define RUN_LOG_FRAME_HEAD    20          /* two varints at most */
#define RUN_LOG_CURSOR_BYTES  (32 * 1024)

enum run_log_kind {
    RUN_LOG_OUT,  /* output of the attempt */
    RUN_LOG_ERR,  /* likewise, of the other stream */
    RUN_LOG_NOTE, /* a line of ours, with its newline */
    RUN_LOG_GAP   /* payload: two varints, the bytes and the newlines that are not kept */
};

struct run_log_frame {
    enum run_log_kind kind;
    int64_t ns;
    const char *data; /* GAP: NULL; in the buffer it was read from */
    size_t size;
    int64_t gap_bytes, gap_lines;
};

/* A place in the output. */
struct run_log_place {
    int64_t offset;     /* bytes of output before it, kept or not */
    int64_t lines;      /* newlines among them */
    int64_t latest_ns;  /* the latest stamp before it */
    int64_t last_ns;    /* the last stamp before it; clocks go back */
    int64_t same_bytes; /* bytes of output with just this stamp and stream that end here */
    int last_kind;      /* that stream */
    bool line_begun;    /* the last byte is not a newline */
};

struct run_log_segment {
    int64_t cap;        /* the job's keep.logs */
    int64_t limit;      /* bytes of output that this file takes; with these it is complete */
    int64_t head_bytes; /* what the first file takes */
    bool sole;          /* there are no further files */
    struct run_log_place at;
};

/* The place after a frame. */
void run_log_place_pass(struct run_log_place *place, const struct run_log_frame *frame);

void run_log_segment_encode(const struct run_log_segment *segment, unsigned char ret[RUN_LOG_HEADER_BYTES]);
/* False: no header of ours, or one with impossible numbers. */
bool run_log_segment_decode(const unsigned char *bytes, size_t n, struct run_log_segment *ret);

/* What goes before the payload of a frame; a gap is whole with it. Returns its length. */
size_t run_log_frame_encode(const struct run_log_frame *frame, int64_t last_ns,
                            unsigned char ret[RUN_LOG_FRAME_HEAD * 2]);
/* Bytes of the frame at `bytes`; 0: it is not complete; ERR_CORRUPT. Then *ret is as it was. */
ssize_t run_log_frame_decode(const char *bytes, size_t n, int64_t last_ns, struct run_log_frame *ret);

/* ---- reading a file, also one that grows ---- */

struct run_log_cursor {
    int fd;
    bool plain;
    struct run_log_segment segment;
    struct run_log_place at; /* after the frame that was given last */
    int64_t content;         /* bytes of output of this file up to there */
    off_t end;               /* and its bytes in the file */
    size_t used, have;
    char buffer[RUN_LOG_CURSOR_BYTES];
};

/* Takes fd, also when it fails, and reads the header. 0 or a negative errno. */
int run_log_cursor_open(struct run_log_cursor *cursor, int fd);
/* 1: *ret is the next frame, valid until the next call. 0: no more for now. -EBADMSG: what follows is no frame. */
int run_log_cursor_next(struct run_log_cursor *cursor, struct run_log_frame *ret);
/* From the first frame again. */
void run_log_cursor_rewind(struct run_log_cursor *cursor);
/* It will not grow any more. */
bool run_log_cursor_complete(const struct run_log_cursor *cursor);
void run_log_cursor_close(struct run_log_cursor *cursor);
