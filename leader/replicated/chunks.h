/* Content-defined chunks: a text is cut where its content says so, so that a change in one place changes the
 * chunks there and no others. Chunks are named by their hash and stored once: what did not change since the
 * last snapshot is not written again. The cuts are at bytes where a rolling hash of the last 64 has its low
 * bits zero (the gear hash of FastCDC, USENIX ATC 2016). Pure.
 */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>

#define CHUNK_LEAST_BYTES (8 * 1024)
#define CHUNK_USUAL_BYTES (64 * 1024)
#define CHUNK_MOST_BYTES  (256 * 1024)
#define CHUNK_NAME_SIZE   33

/* The size of the chunk that begins here, and its name; size is at least 1. request_max: the chunk is to pass in a request
 * of so many bytes, however badly it packs; 4096 at least, or 0: no such limit. */
size_t chunk_cut(const char *text, size_t size, size_t request_max, char ret_name[CHUNK_NAME_SIZE]);

/* Compressed by zstd, malloc'd; and back into `into`, which has room for `room` bytes. ERR_CORRUPT: it is no
 * such thing, or not what its name says. */
void *chunk_pack(const char *bytes, size_t size, size_t *ret_size);
int chunk_unpack(const void *packed, size_t packed_size, const char *name, char *into, size_t room,
                 size_t *ret_size, struct error *error);
