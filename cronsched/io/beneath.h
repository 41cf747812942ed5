/* Files below a folder, which no link leads out of: neither one at the end of the path nor one on the way, also when
 * somebody exchanges them meanwhile. It blocks as long as the file system does. Any thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <fcntl.h>

/* openat() of a path relative to the folder `root`. Links that stay below it are followed, where the kernel can tell
 * (Linux 5.6), and refused elsewhere. A descriptor, or -1 with errno; EXDEV: it leads out of the folder. */
int beneath_open(int root, const char *path, int flags);

/* As file_read, with `root` of the path's folder; path: absolute, below `root` by its text. */
int beneath_read(const char *root, const char *path, size_t max, unsigned flags, char **ret, size_t *ret_size,
                 struct error *error);

/* Where an absolute path leads once all links are followed, for free(); of what is not there yet, the part that is. NULL
 * with errno. */
char *beneath_resolve(const char *path);
