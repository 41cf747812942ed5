#include "jobs/base/percent.h"

#include <assert.h>
#include <string.h>

#define ENCODED_MAX 3 /* bytes that one byte becomes */

static size_t encode(unsigned char c, char ret[ENCODED_MAX])
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";

    if (c && strchr(plain, c)) {
        ret[0] = (char)c;
        return 1;
    }
    ret[0] = '%';
    ret[1] = hex[c >> 4];
    ret[2] = hex[c & 15];
    return ENCODED_MAX;
}

void percent_add(struct text *text, const char *s)
{
    char encoded[ENCODED_MAX];

    for (; *s; s++)
        text_add_bytes(text, encoded, encode((unsigned char)*s, encoded));
}

int percent_append(char *buffer, size_t size, const char *s)
{
    size_t start = strlen(buffer), n = start;

    assert(start < size);
    for (; *s; s++) {
        char encoded[ENCODED_MAX];
        size_t bytes = encode((unsigned char)*s, encoded);

        if (n + bytes >= size) {
            buffer[start] = '\0';
            return ERR_LIMIT;
        }
        memcpy(buffer + n, encoded, bytes);
        n += bytes;
    }
    buffer[n] = '\0';
    return 0;
}
