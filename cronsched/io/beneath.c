#include "cronsched/io/beneath.h"

#include "cronsched/io/file.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Part by part, without following a link: for kernels, and filters of system calls, that have no openat2. */
static int walk(int root, const char *path, int flags)
{
    int at = fcntl(root, F_DUPFD_CLOEXEC, 0), next;
    char part[NAME_MAX + 1];

    while (at >= 0) {
        size_t n = strcspn(path, "/"), skip = strspn(path + n, "/");
        bool last = !path[n + skip];

        if (n > NAME_MAX || (n == 2 && path[0] == '.' && path[1] == '.')) {
            close(at);
            errno = n > NAME_MAX ? ENAMETOOLONG : EXDEV;
            return -1;
        }
        snprintf(part, sizeof(part), "%.*s", (int)n, n > 0 ? path : ".");
        next = openat(at, part, last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        if (next < 0 && (errno == ELOOP || (errno == ENOTDIR && !last)))
            errno = EXDEV;
        if (next < 0 || last)
            return next;
        at = next;
        path += n + skip;
    }
    return -1;
}

int beneath_open(int root, const char *path, int flags)
{
    int allowed = flags & O_PATH ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
                                 : ~0; /* openat ignores the rest */
    struct open_how how = {.flags = (__u64)(unsigned)(flags & allowed),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd;

    do {
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* something on the way was renamed just then */
    return fd < 0 && (errno == ENOSYS || errno == EPERM) ? walk(root, path, flags) : fd;
}

int beneath_read(const char *root, const char *path, size_t max, unsigned flags, char **ret, size_t *ret_size,
                 struct error *error)
{
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, r;
    const char *rest = path + (root[1] ? strlen(root) : 0);

    if (folder < 0)
        return error_set(error, ERR_NOT_FOUND, "the folder %.200s: %s", root, strerror(errno));
    fd = beneath_open(folder, rest + strspn(rest, "/"),
                      O_RDONLY | O_CLOEXEC | O_NOCTTY | (flags & FILE_REGULAR ? O_NONBLOCK : 0));
    r = fd < 0 ? errno : 0;
    close(folder);
    if (r == EXDEV)
        return error_set(error, ERR_DENIED, "a link leads out of %.200s", root);
    if (fd < 0)
        return file_error(error, r);
    r = file_read_fd(fd, max, flags, ret, ret_size, error);
    close(fd);
    return r;
}

char *beneath_resolve(const char *path)
{
    char *head = strdup(path), *whole = NULL;
    size_t n = strlen(path);
    struct stat st;

    while (head && n > 0) {
        char *real = realpath(head, NULL);

        if (real) {
            bool root = !real[1] && path[n]; /* "/" and "/etc" are "/etc" */

            if (asprintf(&whole, "%s%s", root ? "" : real, path + n) < 0)
                whole = NULL;
            free(real);
            break;
        }
        if (errno != ENOENT ||
            lstat(head, &st) == 0) /* a link to what is not there: whoever makes it follows it */
            break;
        while (n > 0 && head[n - 1] != '/')
            n--;
        while (n > 0 && head[n - 1] == '/')
            n--;
        head[n] = '\0';
    }
    if (head && n == 0)
        whole = strdup(path);
    free(head);
    return whole;
}
