#include "cronsched/engines/tasks/lines.h"

#include <stdlib.h>
#include <string.h>

static bool lines_add(struct lines *l, const char *bytes, size_t n)
{
    char *grown;

    if (l->len + n > l->max)
        return false;
    grown = realloc(l->data, l->len + n + 1);
    if (!grown)
        return false;
    l->data = grown;
    memcpy(l->data + l->len, bytes, n);
    l->len += n;
    l->data[l->len] = '\0';
    return true;
}

bool lines_feed(struct lines *l, const char *bytes, size_t size)
{
    bool fine = true;

    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end ? (size_t)(end - bytes) : size;

        if (!l->passing && !lines_add(l, bytes, n)) {
            l->passing = true;
            l->len = 0;
            fine = false;
        }
        if (end && l->len > 0)
            l->line(l->arg, l->data, l->len);
        if (end) {
            l->len = 0;
            l->passing = false;
        }
        bytes += n + (end ? 1 : 0);
        size -= n + (end ? 1 : 0);
    }
    return fine;
}

void lines_release(struct lines *l)
{
    free(l->data);
    l->data = NULL;
    l->len = 0;
    l->passing = false;
}
