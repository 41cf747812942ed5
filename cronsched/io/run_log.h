/* Kept logs: the output of every attempt, in data_dir/logs/JOB/RUN.ATTEMPT.log and the files beside it.
 *
 * The rule of the cap (the job's keep.logs): of an output that is longer, the first half of the cap is kept, and at the
 * end the last bytes, up to the other half. Whoever reads it (run_log_reader.h) is told at that place how much is
 * missing.
 *
 *   RUN.ATTEMPT.log       the first half
 *   RUN.ATTEMPT.log.1-4   what came later, an eighth of the cap each (RUN_LOG_SLOT_LEAST at least); the fifth takes the
 *                         place of the first, and so on
 *   RUN.ATTEMPT.log.new   one that is being made: it has its header before it has its name
 *
 * (run_log_segment.h has the format.) So the process may die between any two system calls, and what was kept is still
 * there. Disk: the cap, or half of it and four times RUN_LOG_SLOT_LEAST, if that is more; and a few bytes for each frame,
 * which is what came with one stamp.
 *
 * Two layers:
 *   struct run_log_file    blocking; for pool threads and for processes of their own (the supervisor)
 *   struct run_log_writer  for the loop's thread: takes bytes at once, writes them on libuv's pool
 *
 * A caller that opens a log to `resume` is told where it ends (a struct run_log_place), and gives what comes after it. A
 * log is a convenience: when it cannot be written the attempt runs on, and the error is reported once, at the end.
 *
 * Folders are made with mode 0750, files with 0640.
 */
#pragma once

#include "cronsched/io/run_log_segment.h"
#include "jobs/base/error.h"

#include <uv.h>

#define RUN_LOG_PATH_MAX      4096
#define RUN_LOG_FILE_PATH_MAX (RUN_LOG_PATH_MAX + 16)
#define RUN_LOG_PENDING_MAX   (1024 * 1024) /* bytes that a writer holds in memory before it asks to pause */
#define RUN_LOG_ATTEMPTS_MAX  10000
#define RUN_LOG_COPY_SUFFIX   ".copy" /* of one that is being fetched from another replica */
#define RUN_LOG_SLOTS         4
#define RUN_LOG_SLOT_NEW      (-1)
#define RUN_LOG_SLOT_LEAST    (16 * 1024) /* bytes of output */
#define RUN_LOG_BUFFER_BYTES  (8 * 1024)

/* The path of an attempt's log. Run ids come from users as well: one that could lead out of the folder, or
 * that is none, is ERR_INVALID; ERR_LIMIT when it does not fit. */
int run_log_path(const char *data_dir, const char *run, int attempt, char *ret, size_t size,
                 struct error *error);

/* ---- blocking ---- */

enum run_log_mode {
    RUN_LOG_FRESH,  /* whatever is there goes */
    RUN_LOG_RESUME, /* goes on where the log ends; plain text is taken over */
    RUN_LOG_SOLE    /* as FRESH, in one file that takes the whole cap; of more than that the end is missing */
};

struct run_log_file {
    int fd; /* -1: closed */
    int64_t cap;
    bool sole;
    int slot;                       /* of the file under way; RUN_LOG_SLOT_NEW: the first file */
    int64_t limit, content;         /* of that file: bytes of output that it takes, and has */
    int64_t head_bytes;             /* that the first file takes */
    struct run_log_place at;        /* the end of the log */
    int64_t over_bytes, over_lines; /* sole: what found no room */
    int failed;                     /* 0, or the first ERR_IO or ERR_FULL; later writes do nothing */
    char *path;
    size_t used;
    unsigned char buffer[RUN_LOG_BUFFER_BYTES]; /* not written yet */
};

/* Makes the folder. */
int run_log_file_open(struct run_log_file *ret, const char *path, int64_t cap_bytes, enum run_log_mode mode,
                      struct error *error);

/* One frame, of any size. It is in the file after `flush`, or earlier. 0, ERR_IO or ERR_FULL (the disk). */
int run_log_file_add(struct run_log_file *file, const struct run_log_frame *frame, struct error *error);
int run_log_file_flush(struct run_log_file *file, struct error *error);
/* Flushes, without a word of errors. */
void run_log_file_close(struct run_log_file *file);

/* Of the files beside `path`: slots 0 to RUN_LOG_SLOTS - 1, or RUN_LOG_SLOT_NEW. Returns its buffer. */
const char *run_log_file_name(const char *path, int slot, char ret[RUN_LOG_FILE_PATH_MAX]);
/* One of slots 0 to RUN_LOG_SLOTS - 1, to be read, if it is there and has its header; else -1. */
int run_log_segment_open(const char *path, int slot, struct run_log_segment *ret);
/* All files of a log. */
void run_log_file_remove(const char *path);

/* ---- on the loop ---- */

struct run_log_writer;

struct run_log_writer_events {
    /* The log is open and ends at `place`; NULL: it cannot be written, finish() has the reason. May be NULL. */
    void (*opened)(void *arg, const struct run_log_place *place);
    /* A writer that has answered ERR_BUSY has room again. May be NULL. */
    void (*drained)(void *arg);
};

/* Both come from the loop; `events` has to stay. The file is opened at once, on the pool. */
int run_log_writer_new(struct run_log_writer **ret, uv_loop_t *loop, const char *path, int64_t cap_bytes,
                       enum run_log_mode mode, const struct run_log_writer_events *events, void *arg,
                       struct error *error);

/* Copies the frame, RUN_LOG_FRAME_MAX bytes at most. 0; ERR_BUSY: taken, but give no more until `drained`; ERR_FULL:
 * the log cannot be written: the rest may be thrown away; ERR_NOMEM: not taken. */
int run_log_writer_add(struct run_log_writer *writer, const struct run_log_frame *frame);

/* Writes what is pending, closes, calls `done` from the loop (NULL is fine) with 0 or the error that kept
 * bytes from being written, and frees the writer. No other call may follow, and no other callback comes. An attempt
 * without output has an empty log afterwards. */
void run_log_writer_finish(struct run_log_writer *writer,
                           void (*done)(void *arg, int result, const char *text), void *arg);

/* Forgets what is pending, closes and frees, without a callback. NULL is fine. */
void run_log_writer_abandon(struct run_log_writer *writer);

/* Removes the logs of these runs of one job, of all their attempts, and the job's folder with the last of them. Blocks, for
 * as long as it takes to read the folder once or twice. Errors are of no interest: what remains can be found on the
 * disk. Any thread. */
void run_log_remove(const char *data_dir, const char *job, char *const *runs, size_t count);
