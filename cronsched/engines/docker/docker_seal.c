/* The seal of a container: an archive of one empty file, at the path of the start witness (docker_fence.h).
 * POSIX.1-1988 ustar, by hand: a header and two empty blocks. Pure. */
#include "cronsched/engines/docker/docker_core.h"

#include <assert.h>
#include <stdio.h>
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
