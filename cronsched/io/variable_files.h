/* The files that a job's environment names by `from_file`, for all engines: which of them the configuration allows, and
 * how a file's content becomes a value. One thread: the loop's.
 */
#pragma once

#include "cronsched/io/file_reader.h"
#include "jobs/definition/job.h"

#include <jansson.h>

#define VARIABLE_FILE_VALUE_BYTES (64 * 1024) /* Linux refuses strings of 128 KiB at exec */

/* What the configuration allows; both borrowed. */
struct variable_files_limits {
    const char *files_dir; /* of all engines; NULL: anywhere */
    const json_t *allow;   /* of this engine: a list `files`; NULL: not limited */
};

/* Whether all lie where they may, by their paths; links are looked at when they are read. ERR_DENIED, "environment: NAME:
 * ..." or "notify: ...". Files of notifications leave this machine whatever the job does with them: they have to lie
 * below files_dir, and there is none without. */
int variable_files_check(const struct job *job, const struct variable_files_limits *limits,
                         struct error *error);

/* values: `count` of them, by index of the variable, NULL where it names no file; the receiver takes them over, see
 * variable_files_release. error NULL: all were read. Otherwise there are none, and the text is "environment: NAME: ...":
 * ERR_BUSY, ERR_NOMEM, ERR_CANCELLED are this process's, another time it may go; anything else is the file's own. */
typedef void variable_files_done(void *arg, char **values, size_t count, const struct error *error);

/* What variable_files_check refuses is not asked for again here. False: the job names no file, and `done` is not called.
 * Otherwise it is, as in file_reader.h. The job must stay until then. */
bool variable_files_read(struct file_reader *reader, const struct job *job,
                         const struct variable_files_limits *limits, variable_files_done *done, void *arg);

void variable_files_release(char **values, size_t count); /* wipes them; NULL is fine */

/* A file's content as a value: one final newline is cut off. Refused: NUL bytes, more than VARIABLE_FILE_VALUE_BYTES, and
 * unless allow_empty no content at all. malloc'd. */
int variable_files_value(const char *data, size_t size, bool allow_empty, char **ret, struct error *error);
