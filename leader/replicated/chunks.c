/* See chunks.h. */
#include "leader/replicated/chunks.h"

#include "jobs/base/alloc.h"
#include "jobs/state/record.h"

#include <assert.h>
#include <zstd.h>

#define REQUEST_BYTES                                                                                        \
    1024        /* of a request beside the chunk: its path, the check of the epoch, and zstd's head */
#define LEVEL 1 /* fast: packing happens on the loop, a chunk at a time */

static uint64_t gear[256];

/* SplitMix64: any fixed table of random numbers would do. */
static void gear_init(void)
{
    uint64_t x = 0;

    if (gear[255])
        return;
    for (int i = 0; i < 256; i++) {
        uint64_t z = (x += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        gear[i] = z ^ (z >> 31);
    }
}

/* What packing adds to bytes that cannot be packed is less than what is left out here. */
static size_t chunk_most(size_t request_max)
{
    size_t most = request_max - request_max / 128 - REQUEST_BYTES;

    assert(!request_max || request_max > 2 * (size_t)REQUEST_BYTES);
    return request_max && most < CHUNK_MOST_BYTES ? most : CHUNK_MOST_BYTES;
}

static size_t cut_at(const unsigned char *bytes, size_t size, size_t most)
{
    uint64_t hash = 0;

    most = size < most ? size : most;
    for (size_t i = CHUNK_LEAST_BYTES; i < most; i++) {
        hash = (hash << 1) + gear[bytes[i]];
        if ((hash >> 32) % CHUNK_USUAL_BYTES == 0)
            return i + 1;
    }
    assert(most > 0 && most <= size);
    return most;
}

size_t chunk_cut(const char *text, size_t size, size_t request_max, char ret_name[CHUNK_NAME_SIZE])
{
    gear_init();
    assert(size > 0);
    size = cut_at((const unsigned char *)text, size, chunk_most(request_max));
    batch_hash(text, size, ret_name);
    return size;
}

void *chunk_pack(const char *bytes, size_t size, size_t *ret_size)
{
    size_t room = ZSTD_compressBound(size);
    void *packed = alloc_zero(room);

    *ret_size = ZSTD_compress(packed, room, bytes, size, LEVEL);
    assert(!ZSTD_isError(*ret_size)); /* there is room for the worst */
    return packed;
}

int chunk_unpack(const void *packed, size_t packed_size, const char *name, char *into, size_t room,
                 size_t *ret_size, struct error *error)
{
    char hash[CHUNK_NAME_SIZE];
    size_t n = ZSTD_decompress(into, room, packed, packed_size);

    if (ZSTD_isError(n))
        return error_set(error, ERR_CORRUPT, "chunk %s: %s", name, ZSTD_getErrorName(n));
    batch_hash(into, n, hash);
    if (strcmp(hash, name) != 0)
        return error_set(error, ERR_CORRUPT, "chunk %s: its content is %s", name, hash);
    assert(n <= room);
    *ret_size = n;
    return 0;
}
