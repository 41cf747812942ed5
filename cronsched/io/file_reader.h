/* Files of others, read with a deadline: what a job's `from_file` names may lie on a mount whose server is away, where
 * open, stat and read do not return. Each read is a piece of work of a worker (leader/worker/worker.h), which
 * bounds how many threads may hang.
 *
 * One thread: the loop's.
 */
#pragma once

#include "leader/worker/worker.h"

#define FILE_READER_DEADLINE_MS 10000 /* of one file */
#define FILE_READER_THREADS     4     /* that read at once, without those that hang */

struct file_reader;

struct file_content {
    char *path;   /* NULL: nothing to read here */
    char *folder; /* which it must not leave; NULL: none */
    char *data;   /* with a NUL behind it; NULL: not read */
    size_t size;
};

/* error NULL: all are read. Otherwise the first that could not be, "the file /x cannot be read: ...": ERR_BUSY and
 * ERR_NOMEM: this process lacks what it takes, another time it may go; ERR_CANCELLED: the reader was closed;
 * anything else is the file's own. The contents are borrowed, and wiped afterwards; at: which one could not be
 * read. */
typedef void file_reader_done(void *arg, const struct file_content *files, size_t count, size_t at,
                              const struct error *error);

struct file_reader *file_reader_new(uv_loop_t *loop);

/* Reads regular files of up to `max` bytes, one after the other, until one cannot be. Copies the paths (NULL: none
 * at this place, but there is at least one) and the folders that no link may lead out of (beneath.h; NULL: none for this path). `done` is called
 * once, from the loop or from within file_reader_close, never from within. */
void file_reader_read(struct file_reader *reader, const char *const *paths, const char *const *folders,
                      size_t count, size_t max, file_reader_done *done, void *arg);

/* Instead of its content each path's data is where it leads once its links are followed (beneath_resolve). */
void file_reader_resolve(struct file_reader *reader, const char *const *paths, size_t count,
                         file_reader_done *done, void *arg);

/* Reads that were given up and have not come back: each holds a thread. */
size_t file_reader_stuck(const struct file_reader *reader);

/* Nothing waits for what hangs. done is called once, from the loop. */
void file_reader_close(struct file_reader *reader, void (*done)(void *arg), void *arg);
