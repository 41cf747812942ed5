#include "jobs/base/base64.h"

#include <stdint.h>
#include <string.h>

static int value_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

bool base64_decode(const char *text, size_t size, char *ret, size_t *ret_size)
{
    size_t padding = 0, n = 0;

    if (size % 4 != 0)
        return false;
    while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < size; i += 4) {
        size_t digits = i + 4 == size ? 4 - padding : 4;
        uint32_t bits = 0;

        for (size_t k = 0; k < 4; k++) {
            int value = k < digits ? value_of(text[i + k]) : 0;

            if (value < 0)
                return false;
            bits = bits << 6 | (uint32_t)value;
        }
        for (size_t k = 0; k + 1 < digits; k++)
            ret[n++] = (char)(bits >> (16 - 8 * k));
    }
    *ret_size = n;
    return true;
}
