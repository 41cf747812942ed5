/* The data folder: what is in it, passwords in definitions among it, is the server's own. Before the loop runs. */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>

/* Makes it if need be, for the server's user alone. ERR_DENIED: it belongs to somebody else, or somebody else could write
 * it or put another one in its place. Databases in it that an earlier version made are closed to others. */
int data_dir_make(const char *path, struct error *error);

/* The same without making or changing anything. ERR_NOT_FOUND: it is not there yet. */
int data_dir_check(const char *path, struct error *error);

/* A server uses it: its socket answers, or its history is locked. (journal.db has a lock of its own.) Blocks. */
bool data_dir_is_served(const char *path);
