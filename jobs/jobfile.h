/* Job files: YAML text to checked jobs (the design's section 7). All errors of a file are reported, each with its
 * place; nothing is printed here and no file is read: the caller passes the text.
 */
#pragma once

#include "jobs/job.h"

#define JOBFILE_BYTES_MAX  (4 * 1024 * 1024)
#define JOBFILE_DEPTH_MAX  32
#define JOBFILE_NODES_MAX  200000
#define JOBFILE_ERRORS_MAX 100 /* per file; then "too many errors" */
#define JOBFILE_JOBS_MAX   10000

struct jobfile_error {
    char *file;
    int line, column; /* from 1; 0 when the file as a whole is meant */
    bool warning;     /* reported, harms nothing: such as a schedule that never fires */
    char *text;
};

struct jobfile_set {
    struct job **jobs; /* sorted as read; each with one reference owned by the set */
    char **files;      /* files[i], lines[i]: where jobs[i] was defined */
    int *lines;
    size_t count;
    struct jobfile_error *errors;
    size_t error_count; /* warnings not counted in failed */
    size_t failed;
};

void jobfile_set_init(struct jobfile_set *set);
void jobfile_set_release(struct jobfile_set *set);

/* Reads one file's text into the set; names must be unique over the whole set. Errors go to the set.
 * 0, ERR_INVALID when anything was wrong with this file, ERR_NOMEM. */
int jobfile_read(struct jobfile_set *set, const char *file, const char *text, size_t size,
                 struct zone_source *zones);

/* Reports an error of the caller's (an unreadable file) in the same list. */
int jobfile_add_error(struct jobfile_set *set, const char *file, int line, int column, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Checks over all files once all are read: unknown parents in `after` (unless in `known`, names that the server
 * has), cycles. */
int jobfile_finish(struct jobfile_set *set, const char *const *known, size_t known_count);

/* "FILE:LINE:COLUMN: error: TEXT" (or warning:) */
const char *jobfile_error_format(const struct jobfile_error *e, char *buffer, size_t size);
