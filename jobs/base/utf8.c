#include "jobs/base/utf8.h"

/* Length of the UTF-8 sequence at s, or 0. */
static size_t utf8_length(const unsigned char *s, size_t size)
{
    unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    n = 2 + (s[0] >= 0xE0) + (s[0] >= 0xF0);
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    if (size < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

size_t utf8_check(const char *bytes, size_t size)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t at = 0;

    while (at < size) {
        size_t n = utf8_length(s + at, size - at);

        if (n == 0)
            return at;
        at += n;
    }
    return size;
}
