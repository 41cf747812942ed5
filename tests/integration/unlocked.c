/* To be preloaded: a file system whose locks do not lock. Locks of journal.db, of journal.db.lock and of the folder in
 * $UNLOCKED are granted to everybody. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int fcntl64(int fd, int command, ...);

static bool meant(int fd)
{
    const char *folder = getenv("UNLOCKED");
    char link[32], path[4096];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0 || !folder)
        return false;
    path[n] = '\0';
    return strstr(path, "/journal.db") || strcmp(path, folder) == 0;
}

static int pass(const char *name, int fd, int command, void *arg)
{
    int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);

    switch (command) {
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        if (meant(fd))
            return 0;
        break;
    case F_GETLK:
    case F_OFD_GETLK:
        if (meant(fd)) {
            ((struct flock *)arg)->l_type = F_UNLCK;
            return 0;
        }
        break;
    default:
        break;
    }
    return real(fd, command, arg);
}

int fcntl(int fd, int command, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, command);
    arg = va_arg(ap, void *);
    va_end(ap);
    return pass("fcntl", fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, command);
    arg = va_arg(ap, void *);
    va_end(ap);
    return pass("fcntl64", fd, command, arg);
}

int flock(int fd, int operation)
{
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");

    return meant(fd) ? 0 : real(fd, operation);
}
