/* Writes what the log is given to a descriptor, on a thread of its own: a reader that is slow or hangs holds up nobody.
 * What waits is bounded; what finds no room is refused. One a process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_WRITER_BYTES    (1024 * 1024) /* wait at most */
#define LOG_WRITER_ABORT_MS 500           /* an abort waits so long for them to be written */

/* From here on the thread runs. The process's SIGABRT waits for it, so that a failed assertion keeps the lines before it.
 * Negative: there is no thread, as errno. Main thread. */
int log_writer_start(int fd);
bool log_writer_runs(void);

/* Copies the bytes, all or none. False: there is no room. Any thread; never blocks. */
bool log_writer_add(const char *bytes, size_t n);

/* Waits at most so long for all to be written, and ends the thread; one that hangs is left behind. Main thread. */
void log_writer_stop(int64_t most_ms);
