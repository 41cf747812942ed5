#include "cronsched/cli/beside.h"

#include "cronsched/io/file.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool resolve(const char *file, const char *path, char buffer[PATH_MAX])
{
    const char *slash = file && strcmp(file, "-") != 0 ? strrchr(file, '/') : NULL;
    int folder = slash && *path != '/' ? (int)(slash + 1 - file) : 0;
    int n = snprintf(buffer, PATH_MAX, "%.*s%s", folder, folder ? file : "", path);

    return n > 0 && n < PATH_MAX;
}

int beside_read(const char *file, const char *path, size_t max, char **ret, size_t *ret_size,
                struct error *error)
{
    char where[PATH_MAX];
    struct error why;
    int r;

    if (!resolve(file, path, where))
        return error_set(error, ERR_INVALID, "the path is too long: %.200s", path);
    r = file_read(where, max, FILE_REGULAR, ret, ret_size, &why);
    if (r == ERR_INVALID || r == ERR_LIMIT || r == ERR_NOMEM)
        return error_set(error, r, "%.500s: %s", path, why.text);
    if (r < 0)
        return error_set(error, ERR_NOT_FOUND, "%.500s: cannot be read: %s", path, why.text);
    return 0;
}

int beside_read_env_file(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                         struct error *error)
{
    return beside_read(file, path, BESIDE_ENV_BYTES_MAX, ret, ret_size, error);
}
