/* Happy path of take: PATH.lock is opened and locked, then the folder, then the place; the mark of the server
 * before is read, and pid, token and host of this one are written. Where a lock would not hold, it waits and
 * reads the token back. */
#include "leader/embedded/journal_lock.h"

#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "leader/embedded/journal_place.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HOST_MAX   64
#define LOCK_BYTES 192 /* the whole text and its NUL */
#define MARK_AT    15  /* where its line begins; lines are of fixed length */
#define TOKEN_AT   49
#define PID_LINE   "pid %-10ld\n"
#define MARK_LINE  "acknowledged %-20" PRIu64 "\n"
#define TOKEN_LINE "token %016" PRIx64 "\n"
#define HOST_LINE  "host %s\n"

struct journal_lock {
    int fd;        /* PATH.lock */
    int folder_fd; /* -1: not locked */
    struct journal_place *place;
    char *path, *file; /* journal.db, PATH.lock */
    dev_t device;
    ino_t inode;
    uint64_t mark, token; /* token 0: none was written */
    bool local;
    char warning[160];
};

/* ---- the text ---- */

struct lock_text {
    long pid;
    uint64_t mark, token;
    char host[HOST_MAX + 1];
};

/* What is not there (torn, of an older version, or not ours to understand) is 0 or "". */
static int text_read(int fd, struct lock_text *ret)
{
    char text[LOCK_BYTES + 1] = "";
    ssize_t n = pread(fd, text, LOCK_BYTES, 0);

    *ret = (struct lock_text){0};
    if (n < 0)
        return -errno;
    if (sscanf(text, "pid %ld acknowledged %" SCNu64, &ret->pid, &ret->mark) != 2)
        ret->mark = 0;
    if (n > TOKEN_AT)
        sscanf(text + TOKEN_AT, "token %" SCNx64 " host %64s", &ret->token, ret->host);
    return 0;
}

/* It is held: the file is open. */
static void check_invariants(const struct journal_lock *lock)
{
    assert(lock->fd >= 0);
}

static int write_at(int fd, const char *text, off_t at)
{
    size_t size = strlen(text);

    assert(fd >= 0 && at + (off_t)size < LOCK_BYTES);
    return pwrite(fd, text, size, at) == (ssize_t)size ? 0 : ERR_IO;
}

static int text_write(const struct journal_lock *lock)
{
    char text[LOCK_BYTES], host[HOST_MAX + 1] = "";

    check_invariants(lock);
    gethostname(host, sizeof(host) - 1);
    snprintf(text, sizeof(text), PID_LINE MARK_LINE TOKEN_LINE HOST_LINE, (long)getpid(), lock->mark,
             lock->token, host[0] ? host : "-");
    return write_at(lock->fd, text, 0);
}

static int busy(const char *path, const struct lock_text *text, struct error *error)
{
    return error_set(error, ERR_BUSY, "%s is in use by process %ld%s%s", path, text->pid,
                     text->host[0] ? " on " : "", text->host);
}

/* ---- the locks ---- */

static int lock_fd(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    assert(fd >= 0);
    return fcntl(fd, F_OFD_SETLK, &whole);
}

static int open_error(const char *file, struct error *error)
{
    int code = ERR_IO;

    if (errno == ENOSPC)
        code = ERR_FULL;
    else if (errno == EACCES)
        code = ERR_DENIED;
    return error_set(error, code, "%s: %s", file,
                     errno == ELOOP ? "is a symbolic link, which is not followed" : strerror(errno));
}

static int lock_file(struct journal_lock *lock, struct error *error)
{
    struct lock_text text;
    struct stat st;

    assert(lock->fd < 0);
    lock->fd = open(lock->file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->fd < 0 || fstat(lock->fd, &st) < 0)
        return open_error(lock->file, error);
    lock->device = st.st_dev;
    lock->inode = st.st_ino;
    text_read(lock->fd, &text);
    if (lock_fd(lock->fd) < 0)
        return errno == EAGAIN || errno == EACCES
                   ? busy(lock->path, &text, error)
                   : error_set(error, ERR_IO,
                               "%s: cannot be locked: %s; data_dir needs a file system with locks",
                               lock->file, strerror(errno));
    text_read(lock->fd, &text); /* again: the one before may have written its last mark just now */
    lock->mark = text.mark;
    return 0;
}

/* Where a folder cannot be locked (NFS asks for a file that is open for writing), the other locks do. */
static int lock_folder(struct journal_lock *lock, const char *folder, struct error *error)
{
    assert(lock->folder_fd < 0);
    lock->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock->folder_fd < 0 || flock(lock->folder_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    return error_set(
        error, ERR_BUSY,
        "%s is in use: another server has locked its folder, in which files were replaced since it "
        "started; stop that server first",
        lock->path);
}

/* A second description of the same file has to be refused. */
static bool lock_locks(const struct journal_lock *lock)
{
    int fd = open(lock->file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool refused = fd < 0 || lock_fd(fd) < 0;

    check_invariants(lock);
    if (fd >= 0)
        close(fd);
    return refused;
}

static void find_reliability(struct journal_lock *lock, const char *folder)
{
    char kind[24];

    check_invariants(lock);
    lock->local = !journal_place_network(folder, kind);
    if (!lock_locks(lock))
        snprintf(lock->warning, sizeof(lock->warning),
                 "locks do not lock in data_dir: a second server would not be kept away; use a local disk");
    else if (!lock->local)
        snprintf(lock->warning, sizeof(lock->warning),
                 "data_dir is on %s, where locks may not keep a second server away; use a local disk", kind);
}

/* Time for an older server to find the new token. The newest token wins. */
static int wait_and_read_back(const struct journal_lock *lock, uint64_t pause_ms, struct error *error)
{
    struct timespec pause = {.tv_sec = (time_t)(pause_ms / 1000),
                             .tv_nsec = (long)(pause_ms % 1000) * 1000000};

    assert(lock->warning[0] && pause_ms > 0);
    while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {
    }
    if (journal_lock_check(lock, error) < 0)
        return error_prefix(error, "%s was taken by another server at the same time: ", lock->path);
    return 0;
}

static int lock_all(struct journal_lock *lock, uint64_t pause_ms, struct error *error)
{
    char path[PATH_MAX];
    const char *folder;
    int rc;

    assert(!lock->place);
    snprintf(path, sizeof(path), "%s", lock->path);
    folder = dirname(path);
    rc = lock_file(lock, error);
    if (rc == 0)
        rc = lock_folder(lock, folder, error);
    if (rc == 0)
        rc = journal_place_take(&lock->place, folder, error);
    if (rc < 0)
        return rc;
    find_reliability(lock, folder);
    if (getrandom(&lock->token, sizeof(lock->token), 0) != sizeof(lock->token) || lock->token == 0)
        lock->token = 1 + (uint64_t)getpid();
    if (text_write(lock) < 0) {
        if (lock->mark == 0 || lock->warning[0])
            return error_set(error, ERR_FULL, "%s: cannot be written: %s", lock->file, strerror(errno));
        lock->token = 0; /* the disk is full: the locks alone have to do */
    }
    if (!lock->warning[0])
        return 0;
    return wait_and_read_back(lock, pause_ms ? pause_ms : JOURNAL_LOCK_PAUSE_MS, error);
}

int journal_lock_take(struct journal_lock **ret, const char *path, uint64_t pause_ms, struct error *error)
{
    struct journal_lock *lock;
    char file[PATH_MAX];
    int rc;

    if (snprintf(file, sizeof(file), "%s.lock", path) >= (int)sizeof(file))
        return error_set(error, ERR_LIMIT, "%s: the path is too long", path);
    lock = alloc_zero(sizeof(*lock));
    lock->fd = lock->folder_fd = -1;
    lock->path = alloc_text(path);
    lock->file = alloc_text(file);
    rc = lock_all(lock, pause_ms, error);
    if (rc < 0) {
        journal_lock_free(lock);
        return rc;
    }
    check_invariants(lock);
    *ret = lock;
    return 0;
}

void journal_lock_free(struct journal_lock *lock)
{
    char closed[32];

    if (!lock)
        return;
    snprintf(closed, sizeof(closed), TOKEN_LINE, (uint64_t)0);
    if (lock->token && journal_lock_check(lock, NULL) == 0)
        (void)!write_at(lock->fd, closed, TOKEN_AT);
    journal_place_free(lock->place);
    if (lock->folder_fd >= 0)
        close(lock->folder_fd);
    if (lock->fd >= 0)
        close(lock->fd);
    free(lock->path);
    free(lock->file);
    free(lock);
}

/* ---- while it is held ---- */

/* Another machine's write is seen by a new opening only. */
static int token_read(const struct journal_lock *lock, struct lock_text *ret)
{
    int fd, rc;

    check_invariants(lock);
    if (lock->local)
        return text_read(lock->fd, ret);
    fd = open(lock->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    rc = text_read(fd, ret);
    close(fd);
    return rc;
}

int journal_lock_check(const struct journal_lock *lock, struct error *error)
{
    struct lock_text text;
    struct stat st;
    int rc = stat(lock->file, &st) < 0 ? -errno : 0;

    check_invariants(lock);
    if (rc == 0 && (st.st_dev != lock->device || st.st_ino != lock->inode))
        return error_set(error, ERR_DEPOSED, "%s was replaced", lock->file);
    if (rc == 0)
        rc = token_read(lock, &text);
    if (rc == -ENOENT || rc == -ENOTDIR || rc == -ESTALE)
        return error_set(error, ERR_DEPOSED, "%s was moved or removed", lock->file);
    if (rc < 0)
        return error_set(error, rc == -EACCES ? ERR_DENIED : ERR_IO, "%s: %s", lock->file, strerror(-rc));
    if (!lock->token || text.token == lock->token || MUTANT(TOKEN_UNREAD))
        return 0;
    if (text.token)
        return error_set(error, ERR_DEPOSED, "%s was taken by process %ld%s%s", lock->path, text.pid,
                         text.host[0] ? " on " : "", text.host);
    return error_set(error, ERR_DEPOSED, "%s was overwritten, or taken by another server", lock->file);
}

void journal_lock_answer(const struct journal_lock *lock)
{
    journal_place_answer(lock->place);
}

const char *journal_lock_warning(const struct journal_lock *lock)
{
    return lock->warning;
}

bool journal_lock_local(const struct journal_lock *lock)
{
    return lock->local;
}

uint64_t journal_lock_mark(const struct journal_lock *lock)
{
    return lock->mark;
}

/* That line alone: the token may be another's by now. */
void journal_lock_set_mark(struct journal_lock *lock, uint64_t index)
{
    char line[48];

    check_invariants(lock);
    lock->mark = index;
    snprintf(line, sizeof(line), MARK_LINE, index);
    (void)!write_at(lock->fd, line, MARK_AT);
}
