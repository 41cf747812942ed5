/* The mark on disk: what this replica knows of the cluster's journal, kept in its data folder over restarts. See
 * leader/replicated/mark.h.
 *
 * One line of JSON in DATA_DIR/mark. It is written beside, synced, renamed, and the folder synced, on the thread pool:
 * one write at a time, at most one in MARK_FILE_EVERY_MS, always of the newest mark. So the file may be that much
 * behind; what it says was true. A write that fails is logged and tried again every second.
 *
 * One thread: the loop's. The file owns nothing of the caller.
 */
#pragma once

#include "leader/replicated/mark.h"

#include <uv.h>

#define MARK_FILE_EVERY_MS 100
#define MARK_FILE_RETRY_MS 1000

/* What the folder says. No file: what an older build left there, which is the cluster's uuid alone; neither: an empty
 * mark. ERR_CORRUPT: the file is damaged; ERR_IO: it cannot be read. Blocks; for the start. */
int mark_file_read(const char *data_dir, struct mark *ret, struct error *error);

/* Writes the folder's mark durably, whatever it was. Blocks; for a folder on which no server runs. ERR_IO. */
int mark_file_write(const char *data_dir, const struct mark *mark, struct error *error);

struct mark_file;
/* read: as mark_file_read found it. */
void mark_file_new(struct mark_file **ret, uv_loop_t *loop, const char *data_dir, const struct mark *read);
/* Writes this one, soon. The same again costs nothing. A mark of another cluster than the folder's is refused, and
 * told. */
void mark_file_set(struct mark_file *file, const struct mark *mark);
/* Why it could not be written at the last try; "" when it could. Borrowed until the loop turns. */
const char *mark_file_trouble(const struct mark_file *file);
/* Writes what is not written yet (one try), then is gone; done comes from the loop. */
void mark_file_close(struct mark_file *file, void (*done)(void *arg), void *arg);
