/* The lock beside a journal file: PATH.lock, "pid 1234\nacknowledged 57\n". See leader/embedded/journal_db.h for the
 * mark.
 *
 * An open-file-description lock: it ends with the process whatever happens to it, is not inherited over exec,
 * and refuses a second opener in the same process as well. The file itself is left behind: it carries the
 * mark.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdint.h>

struct journal_lock;

/* ERR_BUSY: "PATH is in use by process 1234". */
int journal_lock_take(struct journal_lock **ret, const char *path, struct error *error);
void journal_lock_free(struct journal_lock *lock); /* NULL is fine */

uint64_t journal_lock_mark(const struct journal_lock *lock); /* 0: none */
/* Best effort, in place: it needs no space and no sync. A mark that could not be written only lags. */
void journal_lock_set_mark(struct journal_lock *lock, uint64_t index);
