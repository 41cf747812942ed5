/* Files that a job file names and that are read with it: calendars and files of variables. Main thread. */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>

#define BESIDE_ENV_BYTES_MAX (256 * 1024) /* of a file of variables */

/* A regular file of up to max bytes. A relative path is meant from the folder of `file`; NULL or "-": from the working
 * directory. *ret for free(), with a NUL behind it. The text of an error begins with the path. */
int beside_read(const char *file, const char *path, size_t max, char **ret, size_t *ret_size,
                struct error *error);

/* The form of jobfile_set.env_file; `arg` is not used. */
int beside_read_env_file(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                         struct error *error);
