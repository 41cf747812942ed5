#include "cronsched/cli/jobfiles.h"

#include "cronsched/cli/beside.h"
#include "cronsched/cli/calendar.h"
#include "cronsched/io/beneath.h"
#include "cronsched/io/file.h"

#include "jobs/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
    size_t met; /* job files of the path that is being read, also those read before */
    bool full, follow_links;
    struct beside beside; /* of the path that is being read */
};

static int load_path(struct loader *l, const char *path, bool named, int depth);

/* What is below a named folder stays there. */
static int open_path(const struct loader *l, const char *path, bool named, int flags)
{
    const char *below = path + strlen(l->beside.path);

    flags |= O_CLOEXEC | O_NOCTTY;
    if (named || l->beside.root < 0)
        return open(path, flags);
    return beneath_open(l->beside.root, below + strspn(below, "/"), flags);
}

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
    if (errno == EXDEV)
        return jobfile_add_error(l->set, path, 0, 0,
                                 "a link that leads out of %.200s; --follow-links follows it",
                                 *l->beside.path ? l->beside.path : "this folder");
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
    l->met++;
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
    fd = open_path(l, path, named, O_RDONLY | (named ? 0 : O_NONBLOCK));
    if (fd < 0)
        return fail_errno(l, path);
    r = load_fd(l, path, fd);
    close(fd);
    return r;
}

/* ---- folders ---- */

enum entry_kind { ENTRY_OTHER, ENTRY_YAML, ENTRY_JSON, ENTRY_LIKE_YAML };

static bool is_suffix(const char *dot, const char *const *suffixes)
{
    for (; *suffixes; suffixes++)
        if (strcasecmp(dot, *suffixes) == 0)
            return true;
    return false;
}

static enum entry_kind kind_of_name(const char *name)
{
    static const char *const yaml[] = {".yaml", ".yml", NULL}, *const json[] = {".json", NULL};
    const char *dot = strrchr(name, '.');

    if (!dot || dot == name)
        return ENTRY_OTHER;
    if (is_suffix(dot, yaml))
        return ENTRY_YAML;
    if (is_suffix(dot, json))
        return ENTRY_JSON;
    return strcasestr(name, ".yaml") || strcasestr(name, ".yml") ? ENTRY_LIKE_YAML : ENTRY_OTHER;
}

static int wanted(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* By bytes: the order must not depend on the locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* An entry of a folder that is neither a job file by its name nor hidden: only folders matter, and links that lead
 * nowhere, which may have been to one. */
static int load_other(struct loader *l, const char *path, enum entry_kind kind, int depth)
{
    struct stat st;
    int r = stat(path, &st);

    if (r < 0 && (errno == ENOENT || errno == ELOOP) && lstat(path, &st) == 0)
        return fail(l, path, "a link that leads nowhere");
    if (r == 0 && S_ISDIR(st.st_mode))
        return load_path(l, path, false, depth);
    if (r == 0 && kind == ENTRY_JSON)
        return fail(
            l, path,
            "the job files of a folder are *.yaml and *.yml; this one is read where it is given itself");
    if (kind == ENTRY_LIKE_YAML)
        return jobfile_add_warning(l->set, path, "passed over: its name does not end in .yaml or .yml");
    return 0;
}

static int load_entry(struct loader *l, const char *folder, const char *name, int depth)
{
    enum entry_kind kind = kind_of_name(name);
    size_t n = strlen(folder);
    char *path = NULL;
    int r = 0;

    if (asprintf(&path, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name) < 0)
        return ERR_NOMEM;
    if (name[0] != '.')
        r = kind == ENTRY_YAML ? load_path(l, path, false, depth) : load_other(l, path, kind, depth);
    else if (kind == ENTRY_YAML)
        r = jobfile_add_warning(l->set, path, "passed over: its name begins with a dot");
    free(path);
    return r;
}

static int load_folder(struct loader *l, const char *path, int fd, int depth)
{
    struct dirent **entries = NULL;
    int n, r = 0;

    if (depth == JOBFILES_DEPTH_MAX)
        return jobfile_add_error(l->set, path, 0, 0, "more than %d folders deep", JOBFILES_DEPTH_MAX);
    n = scandirat(fd, ".", &entries, wanted, compare_entries);
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

/* The folder that holds what is read from this path. */
static void open_root(struct loader *l, const char *path, const struct stat *st, char **ret)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash + 1 - path) : 0;

    *ret = strndup(path, S_ISDIR(st->st_mode) ? strlen(path) : n);
    if (*ret)
        l->beside = (struct beside){open(**ret ? *ret : ".", O_PATH | O_DIRECTORY | O_CLOEXEC), *ret};
}

static int load_path(struct loader *l, const char *path, bool named, int depth)
{
    struct stat st;
    int fd, r;

    fd = open_path(l, path, named, O_PATH);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = fail_errno(l, path);
        if (fd >= 0)
            close(fd);
        return r;
    }
    close(fd);
    r = see(l, &st);
    l->met += r == 0; /* what it holds has been counted for another path */
    if (r <= 0)
        return r;
    if (!S_ISDIR(st.st_mode))
        return load_file(l, path, &st, named);
    fd = open_path(l, path, named, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fail_errno(l, path);
    r = load_folder(l, path, fd, depth);
    close(fd);
    return r;
}

static int load_named(struct loader *l, const char *path)
{
    char *root = NULL;
    struct stat st;
    int r;

    l->beside = (struct beside){-1, ""};
    if (!l->follow_links && strcmp(path, "-") == 0)
        l->beside.root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    else if (!l->follow_links && stat(path, &st) == 0)
        open_root(l, path, &st, &root);
    r = strcmp(path, "-") == 0 ? load_fd(l, "-", STDIN_FILENO) : load_path(l, path, true, 0);
    if (l->beside.root >= 0)
        close(l->beside.root);
    free(root);
    return r;
}

/* Nothing in it: a folder that was not mounted, a wrong path. */
static int note_empty(struct loader *l, const char *path, bool allowed)
{
    if (l->met > 0 || strcmp(path, "-") == 0)
        return 0;
    if (allowed)
        return jobfile_add_warning(l->set, path, "no job file (*.yaml, *.yml) in this folder");
    return fail(l, path, "no job file (*.yaml, *.yml) in this folder");
}

int jobfiles_load(struct jobfile_set *set, const char *const *paths, size_t count,
                  const struct jobfiles_options *options, struct jobfiles_found *ret)
{
    struct loader l = {.set = set, .zones = options->zones, .follow_links = options->follow_links};
    size_t failed = set->failed;
    struct jobfiles_found found = {0};
    struct seen *entry, *next;
    int r = 0;

    set->calendar = calendar_read;
    set->env_file = beside_read_env_file;
    set->calendar_arg = set->env_file_arg = &l.beside;
    for (size_t i = 0; i < count && r == 0; i++) {
        size_t jobs = set->count, faults = set->failed, files = l.files;

        l.met = 0;
        r = load_named(&l, paths[i]);
        if (r == 0 && set->failed == faults)
            r = note_empty(&l, paths[i], options->allow_empty);
        if (!found.empty && set->count == jobs && l.met == l.files - files)
            found.empty = paths[i];
    }
    HASH_ITER(hh, l.seen, entry, next)
    {
        HASH_DEL(l.seen, entry);
        free(entry);
    }
    set->calendar_arg = set->env_file_arg = NULL;
    if (r < 0)
        return r;
    found.files = l.files;
    if (ret)
        *ret = found;
    return set->failed > failed ? ERR_INVALID : 0;
}
