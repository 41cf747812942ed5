/* Paths as texts: nothing is asked of a file system, so links are not known here. Pure; any thread. */
#pragma once

#include <stdbool.h>

/* An absolute path without empty parts, "." and "..": without links it leads where it says. "/" alone is one. */
bool path_is_straight(const char *path);

/* A straight path that is the folder, or below it; the folder is straight as well. */
bool path_is_below(const char *path, const char *folder);
