/* The scripts, styles and pictures of the page: bytes of the program, made from `assets/` by assets.py. Any thread. */
#pragma once

#include <stddef.h>

struct asset {
    const char *name, *type;
    const char *hash; /* of its bytes: a part of its address, so that a browser may keep it for ever */
    const unsigned char *bytes, *gzip;
    size_t size, gzip_size;
};

extern const struct asset assets_all[];
extern const size_t assets_count;

const struct asset *assets_find(const char *name); /* NULL: there is none */
const char *assets_hash(const char *name);         /* of one that there is */
