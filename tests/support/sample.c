#include "tests/support/sample.h"

#include <stdlib.h>
#include <string.h>

bool sample_is_whole(const char *path)
{
    const char *changes = getenv("CRONSCHED_CHANGES");

    return getenv("CRONSCHED_WHOLE") || !changes || strstr(changes, path);
}

int sample_first(int one_in)
{
    const char *day = getenv("CRONSCHED_DAY");

    return day ? (int)(strtol(day, NULL, 10) % one_in) : 0;
}
