#include "leader/embedded/journal_lock.h"

#include "jobs/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LOCK_TEXT  "pid %-10ld\nacknowledged %-20" PRIu64 "\n"
#define LOCK_BYTES 64 /* that text and its NUL */

struct journal_lock {
    int fd;
    uint64_t mark;
};

/* A file that is not ours to understand (torn, or of another make) counts as no pid and no mark. */
static void lock_read(int fd, long *ret_pid, uint64_t *ret_mark)
{
    char text[LOCK_BYTES + 1] = "";
    ssize_t n = pread(fd, text, LOCK_BYTES, 0);

    *ret_pid = 0;
    *ret_mark = 0;
    if (n > 0 && sscanf(text, "pid %ld acknowledged %" SCNu64, ret_pid, ret_mark) != 2)
        *ret_mark = 0;
}

static int lock_write(const struct journal_lock *lock)
{
    char text[LOCK_BYTES];
    int n = snprintf(text, sizeof(text), LOCK_TEXT, (long)getpid(), lock->mark);

    return pwrite(lock->fd, text, (size_t)n, 0) == n ? 0 : ERR_IO;
}

static int lock_fd(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &whole);
}

int journal_lock_take(struct journal_lock **ret, const char *path, struct error *error)
{
    struct journal_lock *lock;
    char file[4096];
    uint64_t mark;
    long pid;
    int fd;

    if (snprintf(file, sizeof(file), "%s.lock", path) >= (int)sizeof(file))
        return error_set(error, ERR_LIMIT, "%s: the path is too long", path);
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error,
                         errno == ENOSPC   ? ERR_FULL
                         : errno == EACCES ? ERR_DENIED
                                           : ERR_IO,
                         "%s: %s", file, strerror(errno));
    lock_read(fd, &pid, &mark);
    if (lock_fd(fd) < 0) {
        int code = errno;

        close(fd);
        if (code != EAGAIN && code != EACCES)
            return error_set(error, ERR_IO, "%s: cannot be locked: %s", file, strerror(code));
        return error_set(error, ERR_BUSY, "%s is in use by process %ld", path, pid);
    }
    lock_read(fd, &pid, &mark); /* again: the one before may have written its last mark just now */
    lock = alloc_zero(sizeof(*lock));
    lock->fd = fd;
    lock->mark = mark;
    if (lock_write(lock) < 0 && mark == 0) {
        journal_lock_free(lock);
        return error_set(error, ERR_FULL, "%s: cannot be written: %s", file, strerror(errno));
    }
    *ret = lock;
    return 0;
}

void journal_lock_free(struct journal_lock *lock)
{
    if (!lock)
        return;
    close(lock->fd);
    free(lock);
}

uint64_t journal_lock_mark(const struct journal_lock *lock)
{
    return lock->mark;
}

void journal_lock_set_mark(struct journal_lock *lock, uint64_t index)
{
    lock->mark = index;
    (void)!lock_write(lock);
}
