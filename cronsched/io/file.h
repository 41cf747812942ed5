/* Whole files, read into memory. It blocks as long as the file system does: not for the loop, unless the file is
 * known to be small and local (a token, a certificate, the configuration). Any thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum file_flags {
    FILE_REGULAR = 1, /* refuse pipes, devices and folders; without it a pipe is read to its end */
    /* refuse a file that others than root and this process's user could have written or put in place: by its mode
     * (group, others), its owner, or a folder on the way to it, links followed. A folder that only root's group may
     * write, or that is sticky as /tmp is, will do */
    FILE_TRUSTED = 2
};

/* Reads the file, of up to `max` bytes. *ret gets its bytes and a NUL behind them, for free(); *ret_size (may be
 * NULL) their number. `flags`: a set of enum file_flags.
 *
 * The error's text does not name the file. ERR_NOT_FOUND: there is none; ERR_DENIED: no permission, or not
 * FILE_TRUSTED; ERR_INVALID: not FILE_REGULAR; ERR_LIMIT: larger than `max`; ERR_BUSY: no descriptor is
 * left; ERR_IO; ERR_NOMEM. */
int file_read(const char *path, size_t max, unsigned flags, char **ret, size_t *ret_size,
              struct error *error);

/* The error of an open or a read that failed with this errno. Returns its code. */
int file_error(struct error *error, int number);

/* As file_read, of an open descriptor, which stays open; folders are not looked at. */
int file_read_fd(int fd, size_t max, unsigned flags, char **ret, size_t *ret_size, struct error *error);

/* Replaces the file durably, or leaves it as it is: PATH.new is written, synced and renamed, and the folder is synced.
 * ERR_IO; the text does not name the file. */
int file_replace(const char *path, const char *text, size_t size, struct error *error);

/* It may be given to somebody else to be read: it is a file, or there is none, and reading it does not wait for a writer. */
bool file_is_no_pipe(const char *path);

/* Nobody but root and its owner can read it. False when it cannot be looked at. */
bool file_is_private(const char *path);
