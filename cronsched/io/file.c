#include "cronsched/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_error(struct error *error, int number)
{
    int code = ERR_IO;

    if (number == ENOENT || number == ENOTDIR)
        code = ERR_NOT_FOUND;
    else if (number == EACCES || number == EPERM)
        code = ERR_DENIED;
    else if (number == EMFILE || number == ENFILE)
        code = ERR_BUSY;
    else if (number == ENOMEM)
        code = ERR_NOMEM;
    return error_set(error, code, "%s", strerror(number));
}

static int file_check(int fd, unsigned flags, struct error *error)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return file_error(error, errno);
    if ((flags & FILE_REGULAR) && !S_ISREG(st.st_mode))
        return error_set(error, ERR_INVALID, "not a regular file");
    if ((flags & FILE_TRUSTED) &&
        ((st.st_mode & (S_IWGRP | S_IWOTH)) || (st.st_uid != 0 && st.st_uid != geteuid())))
        return error_set(error, ERR_DENIED,
                         "other users can write it: chown it to root or to the daemon's user and chmod it to "
                         "0600");
    return 0;
}

/* Of a folder whose writers are others: they could put a file of their own in place of any in it. In a sticky one
 * they can do so only with files of theirs. */
static bool folder_trusted(const struct stat *st)
{
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return false;
    if (st->st_mode & S_ISVTX)
        return true;
    return !(st->st_mode & S_IWOTH) && (!(st->st_mode & S_IWGRP) || st->st_gid == 0);
}

/* Every folder above the absolute path, "/" among them. */
static int check_folders(const char *path, struct error *error)
{
    char folder[PATH_MAX];
    struct stat st;

    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
        snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
        if (stat(folder, &st) < 0)
            return file_error(error, errno);
        if (!folder_trusted(&st))
            return error_set(error, ERR_DENIED,
                             "other users can write the folder %s, and so replace the file", folder);
    }
    return 0;
}

/* As it is named, and as links lead to it. */
static int check_place(const char *path, struct error *error)
{
    char whole[PATH_MAX], resolved[PATH_MAX];
    int r;

    if (path[0] == '/')
        snprintf(whole, sizeof(whole), "%s", path);
    else if (!getcwd(resolved, sizeof(resolved)) ||
             snprintf(whole, sizeof(whole), "%s/%s", resolved, path) >= (int)sizeof(whole))
        return file_error(error, ENAMETOOLONG);
    r = check_folders(whole, error);
    if (r < 0)
        return r;
    return realpath(whole, resolved) ? check_folders(resolved, error) : file_error(error, errno);
}

int file_read_fd(int fd, size_t max, unsigned flags, char **ret, size_t *ret_size, struct error *error)
{
    char *bytes;
    size_t size = 0;
    ssize_t n = 1;
    int r = file_check(fd, flags, error);

    if (r < 0)
        return r;
    bytes = malloc(max + 1); /* one byte more than is allowed is enough to refuse it */
    if (!bytes)
        return error_set(error, ERR_NOMEM, "out of memory");
    while (size <= max && n != 0) {
        n = read(fd, bytes + size, max + 1 - size);
        if (n > 0)
            size += (size_t)n;
        else if (n < 0 && errno != EINTR)
            break;
    }
    if (n < 0)
        r = file_error(error, errno);
    else if (size > max)
        r = error_set(error, ERR_LIMIT, "larger than %zu bytes", max);
    if (r < 0) {
        explicit_bzero(bytes, size);
        free(bytes);
        return r;
    }
    bytes[size] = '\0';
    *ret = bytes;
    if (ret_size)
        *ret_size = size;
    return 0;
}

int file_read(const char *path, size_t max, unsigned flags, char **ret, size_t *ret_size, struct error *error)
{
    /* Without O_NONBLOCK the open of a pipe waits for a writer before its type can be seen. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (flags & FILE_REGULAR ? O_NONBLOCK : 0));
    int r;

    if (fd < 0)
        return file_error(error, errno);
    r = flags & FILE_TRUSTED ? check_place(path, error) : 0;
    if (r == 0)
        r = file_read_fd(fd, max, flags, ret, ret_size, error);
    close(fd);
    return r;
}

bool file_is_no_pipe(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 || S_ISREG(st.st_mode);
}

bool file_is_private(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !(st.st_mode & (S_IRGRP | S_IROTH));
}

/* ---- writing ---- */

static int write_all(int fd, const char *text, size_t size)
{
    ssize_t n = write(fd, text, size);

    if (n >= 0 && (size_t)n < size)
        errno = ENOSPC;
    return n == (ssize_t)size ? 0 : -1;
}

static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    int fd, rc;

    snprintf(folder, sizeof(folder), "%.*s.", slash ? (int)(slash - path) + 1 : 0, path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int replace(const char *path, const char *fresh, const char *text, size_t size)
{
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), rc;

    if (fd < 0)
        return -1;
    rc = write_all(fd, text, size) < 0 || fsync(fd) < 0 ? -1 : 0;
    if (close(fd) < 0 || rc < 0)
        return -1;
    return rename(fresh, path) < 0 ? -1 : sync_folder_of(path);
}

int file_replace(const char *path, const char *text, size_t size, struct error *error)
{
    char fresh[PATH_MAX];

    if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
        return error_set(error, ERR_IO, "its name is too long");
    if (replace(path, fresh, text, size) < 0)
        return error_set(error, ERR_IO, "%s", strerror(errno));
    return 0;
}
