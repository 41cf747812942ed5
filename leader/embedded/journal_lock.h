/* The lock of a journal file, PATH. What keeps a second server away, each covering what the others do not:
 *
 *   PATH.lock   an open-file-description lock: ends with the process whatever happens to it, is not inherited
 *               over exec, refuses a second opener in the same process as well
 *   the folder  a flock on it: holds when PATH.lock was removed or replaced
 *   the place   an abstract unix socket named after the folder above and the folder's name: holds when the
 *               whole folder was moved away or mounted over, within one network namespace
 *   the token   a random number in PATH.lock, written by each server that takes it: where locks do not lock
 *               (some network file systems), the newer server's token takes the place of the older's, which
 *               finds out by journal_lock_check, before and after each write
 *
 * PATH.lock is a small text of four lines: "pid 1234", "acknowledged 57" (the mark, see
 * leader/embedded/journal_db.h), "token 0123456789abcdef" (0: closed), "host NAME". It is left behind: it carries
 * the mark.
 *
 * Ownership: one owner. journal_lock_check and journal_lock_answer may be called from any thread while it lives,
 * everything else from one at a time.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_LOCK_PAUSE_MS 2000

struct journal_lock;

/* Blocks. Where locks are not to be relied on it waits for pause_ms (0: JOURNAL_LOCK_PAUSE_MS), so that an older
 * server has found the new token and stopped. ERR_BUSY: "PATH is in use by process 1234 on HOST". */
int journal_lock_take(struct journal_lock **ret, const char *path, uint64_t pause_ms, struct error *error);
void journal_lock_free(struct journal_lock *lock); /* NULL is fine */

/* Whether it is held as it was taken. ERR_DEPOSED: never again, for PATH.lock was removed, replaced, or taken by
 * another server. Others: it could not be found out. */
int journal_lock_check(const struct journal_lock *lock, struct error *error);

/* Attends to those who ask who holds the place. To be called now and then. */
void journal_lock_answer(const struct journal_lock *lock);

/* Why locks are not to be relied on here, or "". */
const char *journal_lock_warning(const struct journal_lock *lock);
/* The folder is on a disk of this machine: times and sizes of its files are exact. */
bool journal_lock_local(const struct journal_lock *lock);

uint64_t journal_lock_mark(const struct journal_lock *lock); /* 0: none */
/* Best effort, in place: it needs no space and no sync. A mark that could not be written only lags. */
void journal_lock_set_mark(struct journal_lock *lock, uint64_t index);
