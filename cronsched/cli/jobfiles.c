#include "cronsched/cli/jobfiles.h"

#include "cronsched/cli/beside.h"
#include "cronsched/cli/calendar.h"
#include "cronsched/io/file.h"

#include "jobs/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->hashed = false)
#include "jobs/base/hash_table.h"

/* A file or folder that was read: the same one again, through a link or another path, is passed over. */
struct seen {
    UT_hash_handle hh;
    bool hashed;
    struct {
        dev_t device;
        ino_t inode;
    } key;
};

struct loader {
    struct jobfile_set *set;
    struct zone_source *zones;
    struct seen *seen;
    size_t files;
    bool full;
};

static int load_path(struct loader *l, const char *path, bool named, int depth);

static int fail(struct loader *l, const char *path, const char *what)
{
    return jobfile_add_error(l->set, path, 0, 0, "%s", what);
}

static int fail_errno(struct loader *l, const char *path)
{
    if (errno == ENOENT)
        return fail(l, path, "there is no such file or folder");
    if (errno == ELOOP)
        return fail(l, path, "a symbolic link that leads in a circle");
    return jobfile_add_error(l->set, path, 0, 0, "cannot be read: %s", strerror(errno));
}

/* 1: new, 0: seen before, or ERR_NOMEM. */
static int see(struct loader *l, const struct stat *st)
{
    struct seen *found = NULL, *entry = calloc(1, sizeof(*entry)); /* the key's padding is zero as well */

    if (!entry)
        return ERR_NOMEM;
    entry->hashed = true;
    entry->key.device = st->st_dev;
    entry->key.inode = st->st_ino;
    HASH_FIND(hh, l->seen, &entry->key, sizeof(entry->key), found);
    if (found) {
        free(entry);
        return 0;
    }
    HASH_ADD(hh, l->seen, key, sizeof(entry->key), entry);
    if (!entry->hashed) {
        free(entry);
        return ERR_NOMEM;
    }
    return 1;
}

/* ---- one file ---- */

static int load_fd(struct loader *l, const char *name, int fd)
{
    struct error why;
    char *bytes;
    size_t size;
    int r = file_read_fd(fd, JOBFILE_BYTES_MAX, 0, &bytes, &size, &why);

    if (r == ERR_NOMEM)
        return r;
    if (r == ERR_LIMIT)
        return jobfile_add_error(l->set, name, 0, 0, "too many bytes; at most %d are read",
                                 JOBFILE_BYTES_MAX);
    if (r < 0)
        return jobfile_add_error(l->set, name, 0, 0, "cannot be read: %s", why.text);
    l->files++;
    r = jobfile_read(l->set, name, bytes, size, l->zones);
    free(bytes);
    return r == ERR_NOMEM ? r : 0; /* what is wrong with it is in the list */
}

static int load_file(struct loader *l, const char *path, const struct stat *st, bool named)
{
    int fd, r;

    if (S_ISREG(st->st_mode) && st->st_size > JOBFILE_BYTES_MAX)
        return jobfile_add_error(l->set, path, 0, 0, "%lld bytes; at most %d are read",
                                 (long long)st->st_size, JOBFILE_BYTES_MAX);
    /* a pipe that is named is read to its end; one inside a folder might never end */
    if (!S_ISREG(st->st_mode) && !(named && (S_ISFIFO(st->st_mode) || S_ISCHR(st->st_mode))))
        return fail(l, path, "neither a file nor a folder");
    if (l->files == JOBFILES_MAX) {
        if (l->full)
            return 0;
        l->full = true;
        return jobfile_add_error(l->set, path, 0, 0, "more than %d files", JOBFILES_MAX);
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_errno(l, path);
    r = load_fd(l, path, fd);
    close(fd);
    return r;
}

/* ---- folders ---- */

static bool is_yaml(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static int wanted(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* By bytes: the order must not depend on the locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_entry(struct loader *l, const char *folder, const char *name, int depth)
{
    size_t n = strlen(folder);
    char *path = NULL;
    struct stat st;
    int r = 0;

    if (asprintf(&path, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name) < 0)
        return ERR_NOMEM;
    /* of entries that are not job files by name, only folders matter; a dangling link among them does not */
    if (is_yaml(name) || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        r = load_path(l, path, false, depth);
    free(path);
    return r;
}

static int load_folder(struct loader *l, const char *path, int depth)
{
    struct dirent **entries = NULL;
    int n, r = 0;

    if (depth == JOBFILES_DEPTH_MAX)
        return jobfile_add_error(l->set, path, 0, 0, "more than %d folders deep", JOBFILES_DEPTH_MAX);
    n = scandir(path, &entries, wanted, compare_entries);
    if (n < 0)
        return errno == ENOMEM ? ERR_NOMEM : fail_errno(l, path);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = load_entry(l, path, entries[i]->d_name, depth + 1);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int load_path(struct loader *l, const char *path, bool named, int depth)
{
    struct stat st;
    int r;

    if (named && strcmp(path, "-") == 0)
        return load_fd(l, "-", STDIN_FILENO);
    if (stat(path, &st) < 0)
        return fail_errno(l, path);
    r = see(l, &st);
    if (r <= 0)
        return r;
    return S_ISDIR(st.st_mode) ? load_folder(l, path, depth) : load_file(l, path, &st, named);
}

int jobfiles_load(struct jobfile_set *set, const char *const *paths, size_t count, struct zone_source *zones,
                  size_t *ret_files)
{
    struct loader l = {.set = set, .zones = zones};
    size_t failed = set->failed;
    struct seen *entry, *next;
    int r = 0;

    set->calendar = calendar_read;
    set->env_file = beside_read_env_file;
    for (size_t i = 0; i < count && r == 0; i++)
        r = load_path(&l, paths[i], true, 0);
    HASH_ITER(hh, l.seen, entry, next)
    {
        HASH_DEL(l.seen, entry);
        free(entry);
    }
    if (r < 0)
        return r;
    if (ret_files)
        *ret_files = l.files;
    return set->failed > failed ? ERR_INVALID : 0;
}
