#include "jobs/base/near.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

size_t near_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    size_t rows[3][NEAR_NAME_MAX + 1]; /* two before, one before, this one */
    size_t *before = rows[0], *above = rows[1], *row = rows[2];

    if (la > NEAR_NAME_MAX || lb > NEAR_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        above[j] = j;
    for (size_t i = 1; i <= la; i++) {
        int ca = tolower((unsigned char)a[i - 1]);
        size_t *spare = before;

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            int cb = tolower((unsigned char)b[j - 1]);
            size_t best = above[j - 1] + (ca != cb);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[lb];
}

const char *near_find(const char *name, const char *const *names, size_t count)
{
    size_t len = strlen(name), limit = len < 6 ? 1 : len / 3, best = SIZE_MAX;
    const char *nearest = NULL;

    assert(names || count == 0);
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(names[i]), distance;

        if (len >= 3 && strncasecmp(name, names[i], len) == 0)
            distance = other > len; /* cut short: "env" */
        else if (other > len + limit || len > other + limit)
            continue; /* so many letters differ at least */
        else
            distance = near_distance(name, names[i]);
        /* a distance of the whole name would call any two short words near */
        if (distance <= limit && distance < strlen(names[i]) && distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

const char *near_hint(const char *near, char *buffer, size_t size)
{
    assert(size > 0);
    buffer[0] = '\0';
    if (near)
        snprintf(buffer, size, "; did you mean '%.*s'?", NEAR_NAME_MAX, near);
    return buffer;
}
