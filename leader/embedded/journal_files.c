#include "leader/embedded/journal_files.h"

#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

struct file {
    char *path;
    struct stat st; /* when work was last done; of what it holds: device, inode, size, time */
};

struct journal_files {
    const struct journal_lock *lock;
    struct file db, wal;
    pthread_mutex_t mutex;
    bool bound, wal_bound;
    bool at_work, writing_db; /* between enter and leave */
    char warning[160];
};

/* With the mutex. */
static void check_invariants(const struct journal_files *f)
{
    assert(f->bound || !f->wal_bound);
}

struct journal_files *journal_files_new(const char *path, const struct journal_lock *lock)
{
    struct journal_files *f = alloc_zero(sizeof(*f));
    char wal[PATH_MAX];

    snprintf(wal, sizeof(wal), "%s-wal", path);
    f->lock = lock;
    f->db.path = alloc_text(path);
    f->wal.path = alloc_text(wal);
    pthread_mutex_init(&f->mutex, NULL);
    snprintf(f->warning, sizeof(f->warning), "%s", journal_lock_warning(lock));
    return f;
}

void journal_files_free(struct journal_files *f)
{
    if (!f)
        return;
    pthread_mutex_destroy(&f->mutex);
    free(f->db.path);
    free(f->wal.path);
    free(f);
}

/* ---- one file ---- */

static int file_look(const struct file *file, struct stat *ret, struct error *error)
{
    if (lstat(file->path, ret) == 0) /* one that became a link is not started from, so that it is told now */
        return 0;
    if (errno == ENOENT || errno == ENOTDIR || errno == ESTALE)
        return error_set(error, ERR_DEPOSED, "%s was moved or removed", file->path);
    return error_set(error, errno == EACCES ? ERR_DENIED : ERR_IO, "%s: %s", file->path, strerror(errno));
}

static bool same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* exact: nobody may have written since. */
static int file_check(const struct file *file, bool exact, struct stat *ret, struct error *error)
{
    int rc = file_look(file, ret, error);

    if (MUTANT(REPLACED_UNSEEN))
        return 0;
    if (rc < 0)
        return rc;
    if (ret->st_dev != file->st.st_dev || ret->st_ino != file->st.st_ino)
        return error_set(error, ERR_DEPOSED, "%s was replaced, or mounted over", file->path);
    if (exact && !same_content(ret, &file->st))
        return error_set(error, ERR_DEPOSED, "%s was written to by another program", file->path);
    return 0;
}

/* ---- all of them; with the mutex ---- */

/* Work on the database writes -wal; journal.db only where it says so. Sizes and times of a network file system come
 * late, so that they prove nothing. */
static int check_all(struct journal_files *f, struct stat *ret_db, struct stat *ret_wal, struct error *error)
{
    bool local = journal_lock_local(f->lock);
    int rc = file_check(&f->db, local && !(f->at_work && f->writing_db), ret_db, error);

    check_invariants(f);
    assert(f->bound);
    if (rc == 0 && f->wal_bound)
        rc = file_check(&f->wal, local && !f->at_work, ret_wal, error);
    return rc == 0 ? journal_lock_check(f->lock, error) : rc;
}

int journal_files_bind(struct journal_files *f, sqlite3 *db, struct error *error)
{
    struct stat at_db, at_wal;
    int moved = 0, rc = file_look(&f->db, &at_db, error);

    if (rc == 0)
        rc = file_look(&f->wal, &at_wal, error);
    if (rc < 0)
        return rc;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        return error_set(error, ERR_DEPOSED, "%s was replaced", f->db.path);
    if (f->bound && (at_db.st_dev != f->db.st.st_dev || at_db.st_ino != f->db.st.st_ino))
        return error_set(error, ERR_DEPOSED, "%s was replaced", f->db.path);
    if (at_db.st_nlink > 1 && !f->warning[0])
        snprintf(f->warning, sizeof(f->warning),
                 "journal.db has %ld names (hard links): a hard link is not a copy, and opening it by "
                 "another name "
                 "damages it",
                 (long)at_db.st_nlink);
    pthread_mutex_lock(&f->mutex);
    f->db.st = at_db;
    f->wal.st = at_wal;
    f->bound = f->wal_bound = true;
    f->at_work = f->writing_db = true;
    check_invariants(f);
    pthread_mutex_unlock(&f->mutex);
    return 0;
}

void journal_files_release_wal(struct journal_files *f)
{
    pthread_mutex_lock(&f->mutex);
    f->wal_bound = false;
    f->writing_db = true;
    check_invariants(f);
    pthread_mutex_unlock(&f->mutex);
}

void journal_files_writing_db(struct journal_files *f)
{
    pthread_mutex_lock(&f->mutex);
    assert(f->at_work);
    f->writing_db = true;
    pthread_mutex_unlock(&f->mutex);
}

int journal_files_enter(struct journal_files *f, struct error *error)
{
    struct stat at_db, at_wal;
    int rc = 0;

    pthread_mutex_lock(&f->mutex);
    assert(!f->at_work); /* one at a time */
    if (f->bound)
        rc = check_all(f, &at_db, &at_wal, error);
    f->at_work = rc == 0;
    f->writing_db = false;
    pthread_mutex_unlock(&f->mutex);
    return rc;
}

int journal_files_leave(struct journal_files *f, int rc, struct error *error)
{
    struct stat at_db, at_wal;
    struct error found = {0};
    int there = 0;

    pthread_mutex_lock(&f->mutex);
    assert(f->at_work);
    if (f->bound)
        there = check_all(f, &at_db, &at_wal, &found);
    f->at_work = false;
    if (f->bound && there == 0) {
        f->db.st = at_db;
        f->wal.st = f->wal_bound ? at_wal : f->wal.st;
    }
    pthread_mutex_unlock(&f->mutex);
    if (there == 0 || (rc < 0 && there != ERR_DEPOSED))
        return rc;
    return error_set(error, there, "%s", found.text);
}

int journal_files_check(struct journal_files *f, struct error *error)
{
    struct stat at_db, at_wal;
    int rc = 0;

    pthread_mutex_lock(&f->mutex);
    check_invariants(f);
    if (f->bound)
        rc = check_all(f, &at_db, &at_wal, error);
    pthread_mutex_unlock(&f->mutex);
    return rc;
}

const char *journal_files_warning(const struct journal_files *f)
{
    return f->warning;
}
