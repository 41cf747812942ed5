/* The whole program short of memory: CRONSCHED_STARVE_SERVE=N[-M] lets the N-th to the M-th allocation of a
 * `cronsched serve` fail, and CRONSCHED_STARVE_SUPERVISE those of each of its supervisors. It says at its end whether
 * it came to that. Counted are the program's own, SQLite's, and unless CRONSCHED_STARVE_JSON=no those of its JSON:
 * they are most, and each ends it.
 */
#include "tests/support/failing_allocators.h"

#include <ctype.h>
#include <jansson.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

static long first;

void __real_json_set_alloc_funcs(json_malloc_t take, json_free_t give);
void __wrap_json_set_alloc_funcs(json_malloc_t take, json_free_t give);

void __wrap_json_set_alloc_funcs(json_malloc_t take, json_free_t give)
{
    if (!getenv("CRONSCHED_STARVE_JSON"))
        __real_json_set_alloc_funcs(take, give);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
    return fails() ? NULL : sqlite_memory.xRealloc(old, size);
}

/* glibc gives these to whatever is called before main() */
__attribute__((constructor)) static void starve(int argc, char **argv)
{
    char name[64] = "CRONSCHED_STARVE_", *end;
    size_t used = strlen(name);
    sqlite3_mem_methods ours;
    const char *range;

    for (const char *c = argc > 1 ? argv[1] : ""; *c && used + 1 < sizeof(name); c++)
        if (*c != '_') /* in front of a verb that is not for people */
            name[used++] = (char)toupper((unsigned char)*c);
    range = getenv(name);
    if (!range)
        return;
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
    ours = sqlite_memory;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    first = strtol(range, &end, 10);
    more = *end == '-' ? strtol(end + 1, NULL, 10) - first : 0;
    countdown = first;
    watching = true;
}

__attribute__((destructor)) static void tell(void)
{
    char line[64];
    int n =
        snprintf(line, sizeof(line), "%s, %ld allocations\n", failed ? "starved" : "fed", first - countdown);

    if (watching)
        (void)!write(STDERR_FILENO, line, (size_t)n);
}
