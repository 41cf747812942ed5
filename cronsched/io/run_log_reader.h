/* A kept log as text, from its files (run_log.h), also while it is being written.
 *
 * Where output is missing there is a line that says how much, "cronsched: ...". A log that is longer than its cap begins
 * again behind that line with a whole line of the output, if there is one. A reader that is behind the writer when the
 * oldest file goes says so in the same way, and goes on with what is there.
 *
 * Stamps: the latest one so far, so that they never go back, whatever the clock did. A log that was kept without stamps
 * has none: "-".
 *
 * Blocking; any thread, one at a time.
 */
#pragma once

#include "cronsched/io/run_log.h"

#define RUN_LOG_STAMP_SIZE  31 /* "2026-11-22T03:00:00.123456789Z" and a NUL */
#define RUN_LOG_BLOCK_LEAST (RUN_LOG_FRAME_MAX + 2 * RUN_LOG_FRAME_HEAD + RUN_LOG_HEADER_BYTES)
#define RUN_LOG_ALIGN_BYTES (64 * 1024) /* how far a line is looked for to begin again with */

struct run_log_view {
    long tail; /* so many last lines; -1: all */
    int64_t
        since_ns; /* from the first line with this stamp or a later one; 0: all. Lines without one count as later */
    bool timestamps; /* before each line */
    bool live;       /* it is followed while it grows: whatever is still on the disk, also beyond the cap */
    bool stored;     /* header and frames instead of text; nothing else is observed then */
};

struct run_log_reader;

/* Never fails. path is copied. */
struct run_log_reader *run_log_reader_new(const char *path, const struct run_log_view *view);
/* What comes next, into a buffer of RUN_LOG_BLOCK_LEAST bytes or more. 0: *ret_n bytes, none at the end for now; or a
 * negative errno, -ENOENT while there is no log. */
int run_log_reader_read(struct run_log_reader *reader, char *buffer, size_t size, size_t *ret_n);
bool run_log_reader_is_open(const struct run_log_reader *reader);
void run_log_reader_free(struct run_log_reader *reader); /* NULL is fine */

/* Returns buffer. 0: "-". */
const char *run_log_stamp(int64_t ns, char buffer[RUN_LOG_STAMP_SIZE]);
/* RFC 3339 with any fraction. ERR_INVALID. */
int run_log_stamp_parse(const char *text, int64_t *ret_ns, struct error *error);
