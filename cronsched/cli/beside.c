#include "cronsched/cli/beside.h"

#include "cronsched/io/beneath.h"
#include "cronsched/io/file.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool resolve(const char *file, const char *path, char buffer[PATH_MAX])
{
    const char *slash = file && strcmp(file, "-") != 0 ? strrchr(file, '/') : NULL;
    int folder = slash && *path != '/' ? (int)(slash + 1 - file) : 0;
    int n = snprintf(buffer, PATH_MAX, "%.*s%s", folder, folder ? file : "", path);

    return n > 0 && n < PATH_MAX;
}

static int read_beneath(const struct beside *from, const char *where, size_t max, char **ret,
                        size_t *ret_size, struct error *error)
{
    size_t n = strlen(from->path);
    int fd = -1, r;

    if (*where != '/' || (n > 0 && strncmp(where, from->path, n) == 0)) {
        where += n > 0 && strncmp(where, from->path, n) == 0 ? n : 0;
        fd = beneath_open(from->root, where + strspn(where, "/"),
                          O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } else {
        errno = EXDEV;
    }
    if (fd < 0 && errno == EXDEV)
        return error_set(error, ERR_INVALID,
                         "it lies outside the folder of the job files; --follow-links reads it");
    if (fd < 0)
        return file_error(error, errno);
    r = file_read_fd(fd, max, FILE_REGULAR, ret, ret_size, error);
    close(fd);
    return r;
}

int beside_read(const struct beside *from, const char *file, const char *path, size_t max, char **ret,
                size_t *ret_size, struct error *error)
{
    char where[PATH_MAX];
    struct error why;
    int r;

    if (!resolve(file, path, where))
        return error_set(error, ERR_INVALID, "the path is too long: %.200s", path);
    r = from && from->root >= 0 ? read_beneath(from, where, max, ret, ret_size, &why)
                                : file_read(where, max, FILE_REGULAR, ret, ret_size, &why);
    if (r == ERR_INVALID || r == ERR_LIMIT || r == ERR_NOMEM)
        return error_set(error, r, "%.500s: %s", path, why.text);
    if (r < 0)
        return error_set(error, ERR_NOT_FOUND, "%.500s: cannot be read: %s", path, why.text);
    return 0;
}

int beside_read_env_file(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                         struct error *error)
{
    return beside_read(arg, file, path, BESIDE_ENV_BYTES_MAX, ret, ret_size, error);
}
