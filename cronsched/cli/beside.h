/* Files that a job file names and that are read with it: calendars and files of variables. Main thread. */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>

#define BESIDE_ENV_BYTES_MAX (256 * 1024) /* of a file of variables */

/* The folder that nothing may lead out of: the one that was named, or that of the file that was. */
struct beside {
    int root;         /* a descriptor; -1: nothing is held to a folder */
    const char *path; /* of it, as files below it are called; "" for the working folder */
};

/* A regular file of up to max bytes. A relative path is meant from the folder of `file`; NULL or "-": from the working
 * directory. `from` NULL: it may be anywhere. *ret for free(), with a NUL behind it. The text of an error begins with
 * the path. */
int beside_read(const struct beside *from, const char *file, const char *path, size_t max, char **ret,
                size_t *ret_size, struct error *error);

/* The form of jobfile_set.env_file; arg: const struct beside *, may be NULL. */
int beside_read_env_file(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                         struct error *error);
