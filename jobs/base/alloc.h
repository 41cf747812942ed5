/* Allocation where records are applied and in the scheduler, and of all JSON of the program (main.c). Out of memory
 * aborts: a replica must not continue without state that it has journaled, nor take half a document, least of all
 * half a snapshot, for a whole one. A restart recovers from the journal. Parsers of input do not use this; they
 * return ERR_NOMEM.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline _Noreturn void alloc_failed(void)
{
    static const char text[] =
        "cronsched: out of memory; what was acknowledged is in the journal: start it again\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    abort();
}

#define uthash_fatal(msg) alloc_failed() /* include this before uthash.h */

static inline void *alloc_bytes(size_t size)
{
    void *p = malloc(size);

    if (!p)
        alloc_failed();
    return p;
}

static inline void *alloc_zero(size_t size)
{
    void *p = calloc(1, size);

    if (!p)
        alloc_failed();
    return p;
}

static inline char *alloc_text(const char *s)
{
    char *p;

    if (!s)
        return NULL;
    p = strdup(s);
    if (!p)
        alloc_failed();
    return p;
}

static inline void *alloc_resize(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (!p)
        alloc_failed();
    return p;
}

/* Replaces a heap text by a copy of another. */
static inline void alloc_replace(char **at, const char *s)
{
    char *p = alloc_text(s);

    free(*at);
    *at = p;
}
