/* Allocation in the fold and the scheduler. A replica that cannot remember what it just journaled must not go
 * on: these abort, and the restart recovers everything from the journal. Parsers of input do not use them;
 * they return ERR_NOMEM.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

static inline void *alloc_zero(size_t size)
{
    void *p = calloc(1, size);

    if (!p)
        abort();
    return p;
}

static inline char *alloc_text(const char *s)
{
    char *p;

    if (!s)
        return NULL;
    p = strdup(s);
    if (!p)
        abort();
    return p;
}

static inline void *alloc_resize(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (!p)
        abort();
    return p;
}

/* Replaces a heap text by a copy of another. */
static inline void alloc_replace(char **at, const char *s)
{
    char *p = alloc_text(s);

    free(*at);
    *at = p;
}
