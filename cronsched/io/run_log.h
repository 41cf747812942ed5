/* Kept logs: the output of every attempt, in data_dir/logs/JOB/RUN.ATTEMPT.log.
 *
 * The rule of the cap (the job's keep.logs): the first `cap` bytes are kept, then one line says where the
 * output was cut. What is kept is thus always a true beginning; it is clear what is missing.
 *
 * Two layers:
 *   struct run_log_file    blocking; for pool threads and for processes of their own (the supervisor)
 *   struct run_log_writer  for the loop's thread: takes bytes at once, writes them on libuv's pool
 *
 * A log is a stream. A caller that opens one to `resume` passes the stream from its beginning again, and
 * the bytes that are in the file already are passed over: so an engine that reads a container's log twice
 * leaves a log that is written once. A log is a convenience: when it cannot be written the attempt runs
 * on, and the error is reported once, at the end.
 *
 * Folders are made with mode 0750, files with 0640.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define RUN_LOG_PATH_MAX     4096
#define RUN_LOG_PENDING_MAX  (1024 * 1024) /* bytes that a writer holds in memory before it asks to pause */
#define RUN_LOG_NOTICE_MAX   96
#define RUN_LOG_ATTEMPTS_MAX 10000
#define RUN_LOG_COPY_SUFFIX  ".copy" /* of one that is being fetched from another replica */

/* The path of an attempt's log. Run ids come from users as well: one that could lead out of the folder, or
 * that is none, is ERR_INVALID; ERR_LIMIT when it does not fit. */
int run_log_path(const char *data_dir, const char *run, int attempt, char *ret, size_t size,
                 struct error *error);

/* "cronsched: output cut at 1 MiB\n". Returns buffer. */
const char *run_log_notice(int64_t cap_bytes, char buffer[RUN_LOG_NOTICE_MAX]);

/* ---- blocking ---- */

struct run_log_file {
    int fd;          /* -1: closed */
    int64_t cap;     /* bytes of output to keep */
    int64_t size;    /* bytes of output in the file, the notice not counted */
    int64_t skip;    /* bytes of the stream that the file has already */
    bool cut;        /* the notice is written */
    bool line_begun; /* the last byte is not a newline */
    int failed;      /* 0, or the first ERR_IO or ERR_FULL; later writes do nothing */
};

/* Makes the folder. resume: go on where the file ends; else the file is emptied. */
int run_log_file_open(struct run_log_file *ret, const char *path, int64_t cap_bytes, bool resume,
                      struct error *error);

/* 0; ERR_FULL once the cap is reached, so that reading on is of no use; ERR_IO. */
int run_log_file_write(struct run_log_file *file, const char *bytes, size_t n, struct error *error);
void run_log_file_close(struct run_log_file *file);

/* ---- on the loop ---- */

struct run_log_writer;

/* `drained(arg)` may be NULL; it is called from the loop when a writer that has answered ERR_BUSY has room
 * again. */
int run_log_writer_new(struct run_log_writer **ret, uv_loop_t *loop, const char *path, int64_t cap_bytes,
                       bool resume, void (*drained)(void *arg), void *arg, struct error *error);

/* Copies the bytes. 0; ERR_BUSY: taken, but give no more until `drained`; ERR_FULL: the cap is reached, or
 * the log cannot be written: the rest of the stream may be thrown away; ERR_NOMEM: not taken. */
int run_log_writer_write(struct run_log_writer *writer, const char *bytes, size_t n);

/* Writes what is pending, closes, calls `done` from the loop (NULL is fine) with 0 or the error that kept
 * bytes from being written (a cut is none), and frees the writer. No other call may follow. An attempt
 * without output has an empty log afterwards. */
void run_log_writer_finish(struct run_log_writer *writer,
                           void (*done)(void *arg, int result, const char *text), void *arg);

/* Forgets what is pending, closes and frees, without a callback. NULL is fine. */
void run_log_writer_abandon(struct run_log_writer *writer);

/* Removes the logs of the attempts 1 to `attempts` of a run, and the job's folder with the last of them, on
 * the pool. Errors are of no interest: what remains can be found on the disk. */
void run_log_remove(uv_loop_t *loop, const char *data_dir, const char *run, int attempts);
