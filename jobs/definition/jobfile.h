/* Job files: YAML text to checked jobs. All errors of a file are reported, each with
 * its place; nothing is printed here and no file is read: the caller passes the text.
 *
 *   defaults:         merged into every job of this file; the job's own keys win
 *     timezone: ...
 *   jobs:
 *     NAME: {...}       the keys are in jobs/definition/job_keys.h
 *   x-ANYTHING: ...     ignored: a place for anchors, as in Compose
 *
 * Of the defaults, `environment`, `labels`, `kubernetes` and the groups resources, retries and keep are
 * merged key by key, everything else is replaced as a whole.
 *
 * Where Compose takes both it is so here: one text for a list of one (schedule, engine, after, volumes ...);
 * `environment` and `labels` as a map or as a list of NAME=VALUE; `command` and `entrypoint` as a list, taken
 * as it is, or as one text, which is split by the shell's rules of quoting. No shell runs it: nothing is
 * expanded, and && or | are words (a warning says so). In commands, environment and labels a plain 8080 or
 * true serves as a text; elsewhere a text that looks like a number has to be quoted, and "3" is no number.
 *
 * A set owns its jobs and texts; it is used by one thread. Errors are kept in the order in which the files
 * were read, within a file by line.
 */
#pragma once

#include "jobs/definition/job.h"
#include "jobs/time/civil.h"

#define JOBFILE_BYTES_MAX      (4 * 1024 * 1024)
#define JOBFILE_DEPTH_MAX      32
#define JOBFILE_NODES_MAX      500000
#define JOBFILE_ERRORS_MAX     100   /* per file, and as many warnings; then "too many errors" */
#define JOBFILE_SET_ERRORS_MAX 1000  /* errors and warnings of all files; then "the rest is not shown" */
#define JOBFILE_HINTS_MAX      32    /* unknown parents for which a near name is looked for */
#define JOBFILE_JOBS_MAX       10000 /* per set */

struct jobfile_error {
    char *file;
    int line, column; /* from 1; 0 when the file as a whole is meant */
    bool warning;     /* reported, harms nothing: such as a schedule that never fires */
    char *text;
    int order; /* of its file */
};

struct jobfile_set {
    struct job **jobs; /* sorted as read; each with one reference owned by the set */
    char **files;      /* files[i], lines[i]: where jobs[i] was defined */
    int *lines;
    size_t count;
    struct jobfile_error *errors;
    size_t error_count; /* warnings not counted in failed */
    size_t failed;      /* also those beyond JOBFILE_SET_ERRORS_MAX */

    /* The days of the calendar that an `except` in `file` names; a path that is relative is so to that file.
     * NULL: none are read, and a name of one is a fault. Set it after jobfile_set_init. */
    int (*calendar)(void *arg, const char *file, const char *path, struct civil_range **ret,
                    size_t *ret_count, struct error *error);
    void *calendar_arg;

    /* The text of a file of variables that `env_file` names, likewise; malloc'd. */
    int (*env_file)(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                    struct error *error);
    void *env_file_arg;

    struct jobfile_name *names; /* private: every name that was seen, a faulty job's too */
    int file_count;             /* private */
};

void jobfile_set_init(struct jobfile_set *set);
void jobfile_set_release(struct jobfile_set *set);

/* Reads one file's text into the set; names must be unique over the whole set. Errors go to the set.
 * 0, ERR_INVALID when anything was wrong with this file, ERR_NOMEM. */
int jobfile_read(struct jobfile_set *set, const char *file, const char *text, size_t size,
                 struct zone_source *zones);

/* Reports an error of the caller's (an unreadable file) in the same list. 0, ERR_NOMEM. */
int jobfile_add_error(struct jobfile_set *set, const char *file, int line, int column, const char *format,
                      ...) __attribute__((format(printf, 5, 6)));

/* A warning about a file as a whole, likewise. */
int jobfile_add_warning(struct jobfile_set *set, const char *file, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What somebody else says of a job of the set: "KEY: TEXT" has the place of that key, as far as the job has it, any other
 * text that of the job. 0, ERR_NOT_FOUND (there is no such job in the set), ERR_NOMEM. */
int jobfile_add_job_error(struct jobfile_set *set, const char *job, const char *text);

/* Checks over all files once all are read: unknown parents in `after` (unless in `known`, names that the
 * server has), cycles. 0, ERR_INVALID when it found any, ERR_NOMEM. Call it once. */
int jobfile_finish(struct jobfile_set *set, const char *const *known, size_t known_count);

#define JOBFILE_LINE_MAX 2048 /* a buffer that holds most lines; longer ones are cut */

/* "FILE:LINE:COLUMN: error: TEXT" (or warning:); "FILE: error: TEXT" when no line is known. Returns buffer.
 */
const char *jobfile_error_format(const struct jobfile_error *e, char *buffer, size_t size);
