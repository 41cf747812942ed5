#include "jobs/base/path.h"

#include <string.h>

bool path_is_straight(const char *path)
{
    if (path[0] == '/' && !path[1])
        return true;
    do {
        size_t n = *path == '/' ? strcspn(path + 1, "/") : 0;

        if (n == 0 || (n == 1 && path[1] == '.') || (n == 2 && path[1] == '.' && path[2] == '.'))
            return false;
        path += n + 1;
    } while (*path);
    return true;
}

bool path_is_below(const char *path, const char *folder)
{
    size_t n = folder[1] ? strlen(folder) : 0; /* all is below "/" */

    return path_is_straight(path) && strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]);
}
