/* See http_encode.h. */
#include "cronsched/http/http_encode.h"

#include "jobs/base/hash.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define BLOCK 16384

/* ---- headers ---- */

/* "q=0", "q=0.000": not wanted. */
static bool is_refused(const char *parameters, size_t n)
{
    char text[64], *q;

    snprintf(text, sizeof(text), "%.*s", n < sizeof(text) ? (int)n : (int)sizeof(text) - 1, parameters);
    q = strstr(text, "q=");
    return q && q[2] == '0' && strspn(q + 2, "0.") == strcspn(q + 2, "; ");
}

bool http_accepts_gzip(const char *accept)
{
    bool any = false;

    while (accept && *accept) {
        size_t n, name;

        accept += strspn(accept, " \t,");
        n = strcspn(accept, ",");
        name = strcspn(accept, ";, \t");
        if (name == 4 && strncasecmp(accept, "gzip", 4) == 0)
            return !is_refused(accept + name, n - name);
        if (name == 1 && *accept == '*')
            any = !is_refused(accept + name, n - name);
        accept += n;
    }
    return any;
}

const char *http_tag_of(const char *bytes, size_t n, char ret[HTTP_TAG_SIZE])
{
    char hex[HASH_SHA256_HEX];

    snprintf(ret, HTTP_TAG_SIZE, "W/\"%.32s\"", hash_sha256_hex(bytes, n, hex));
    return ret;
}

bool http_tag_matches(const char *value, const char *tag)
{
    const char *opaque = strchr(tag, '"');

    assert(opaque);
    while (value && *value) {
        value += strspn(value, " \t,");
        if (*value == '*')
            return true;
        if (strncmp(value, "W/", 2) == 0)
            value += 2;
        if (strncmp(value, opaque, strlen(opaque)) == 0)
            return true;
        if (*value == '"') /* a tag may have a comma in it */
            value += 1 + strcspn(value + 1, "\"");
        value += strcspn(value, ",");
    }
    return false;
}

/* ---- compression ---- */

struct http_gzip {
    z_stream z;
};

struct http_gzip *http_gzip_new(void)
{
    struct http_gzip *gzip = calloc(1, sizeof(*gzip));

    /* 16: with gzip's own header, which has no time in it */
    if (gzip &&
        deflateInit2(&gzip->z, HTTP_GZIP_LEVEL, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(gzip);
        gzip = NULL;
    }
    return gzip;
}

int http_gzip_add(struct http_gzip *gzip, const void *bytes, size_t n, bool last, struct text *out)
{
    unsigned char block[BLOCK];
    int r;

    assert(n <= UINT32_MAX);
    gzip->z.next_in = (unsigned char *)(uintptr_t)bytes;
    gzip->z.avail_in = (uInt)n;
    do {
        gzip->z.next_out = block;
        gzip->z.avail_out = sizeof(block);
        r = deflate(&gzip->z, last ? Z_FINISH : Z_NO_FLUSH);
        assert(r != Z_STREAM_ERROR);
        if (text_add_bytes(out, block, sizeof(block) - gzip->z.avail_out) < 0)
            return ERR_NOMEM;
    } while (gzip->z.avail_out == 0);
    return 0;
}

void http_gzip_free(struct http_gzip *gzip)
{
    if (!gzip)
        return;
    deflateEnd(&gzip->z);
    free(gzip);
}
