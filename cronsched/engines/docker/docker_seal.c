/* The seal of a container: an archive of one empty file, at the path of the start witness (docker_fence.h); and what an
 * archive of the engine holds.
 * POSIX.1-1988 ustar, by hand: a header and two empty blocks. Pure. */
#include "cronsched/engines/docker/docker_core.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct ustar) == 512, "a block");
_Static_assert(sizeof(struct ustar) + 1024 == DOCKER_SEAL_BYTES, "the header, and the end of an archive");

void docker_seal_archive(const char *witness, char ret[DOCKER_SEAL_BYTES])
{
    struct ustar h = {.mode = "0000444",
                      .uid = "0000000",
                      .gid = "0000000",
                      .size = "00000000000",
                      .mtime = "00000000000",
                      .checksum = "        ",
                      .type = '0',
                      .magic = "ustar",
                      .version = "00"};
    unsigned sum = 0;

    assert(witness[0] == '/' && strlen(witness) <= DOCKER_WITNESS_MAX);
    snprintf(h.name, sizeof(h.name), "%s", witness + 1);
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.checksum, sizeof(h.checksum), "%06o", sum & 0777777);
    memset(ret, 0, DOCKER_SEAL_BYTES);
    memcpy(ret, &h, sizeof(h));
}

/* A name that is too long for its field comes in another form. It is none that is looked for. */
bool docker_archive_holds(const char *archive, size_t size, const char *path)
{
    struct ustar h;

    for (size_t at = 0, bytes; at + sizeof(h) <= size; at += bytes) {
        size_t n;

        memcpy(&h, archive + at, sizeof(h));
        n = strnlen(h.name, sizeof(h.name));
        n -= n > 0 && h.name[n - 1] == '/';
        if (n > 0 && !h.prefix[0] && strlen(path) == n && memcmp(h.name, path, n) == 0)
            return true;
        h.size[sizeof(h.size) - 1] = '\0';
        bytes = (size_t)strtoull(h.size, NULL, 8);
        if (bytes > size)
            return false;
        bytes = sizeof(h) + (bytes + sizeof(h) - 1) / sizeof(h) * sizeof(h);
    }
    return false;
}
