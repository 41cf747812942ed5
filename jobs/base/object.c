#include "jobs/base/object.h"

#include <stdio.h>

_Noreturn void object_wrong(const void *pointer, const char *type, const char *file, int line)
{
    fprintf(stderr, "cronsched: %s:%d: %p is not a %s\n", file, line, pointer, type);
    abort();
}
