#include "cronsched/server/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

/* Whoever may write a folder, and it is not sticky, may put another one in the place of what lies in it. */
static int check_parents(const char *path, struct error *error)
{
    char parent[PATH_MAX];
    struct stat st;

    snprintf(parent, sizeof(parent), "%s", path);
    for (char *slash = strrchr(parent, '/'); slash; slash = strrchr(parent, '/')) {
        slash[slash == parent] = '\0';
        if (stat(parent, &st) < 0)
            return error_set(error, ERR_IO, "data_dir: %s: %s", parent, strerror(errno));
        if ((st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX)) || !is_trusted(st.st_uid))
            return error_set(
                error, ERR_DENIED,
                "data_dir: others could replace %s, as %s is theirs to write: chmod o-w it, or give it to "
                "root or to the server's user",
                path, parent);
        if (!parent[1])
            break;
    }
    return 0;
}

int data_dir_check(const char *path, struct error *error)
{
    char real[PATH_MAX];
    struct stat st;

    if (!realpath(path, real) || stat(real, &st) < 0)
        return error_set(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "data_dir: %s: %s", path,
                         strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(error, ERR_INVALID, "data_dir: %s is not a folder", path);
    if (!is_trusted(st.st_uid))
        return error_set(error, ERR_DENIED,
                         "data_dir: %s belongs to another user (%u): chown it to the server's user", path,
                         st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, ERR_DENIED, "data_dir: others can write %s (mode %04o): chmod it to 0700",
                         path, st.st_mode & 07777);
    return check_parents(real, error);
}

/* Made by an earlier version, or under another umask. */
static void close_databases(const char *path)
{
    static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm",
                                        "history.db", "history.db-wal", "history.db-shm"};
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; folder >= 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        int fd = openat(folder, names[i], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 077)
            fchmod(fd, 0600);
        if (fd >= 0)
            close(fd);
    }
    if (folder >= 0)
        close(folder);
}

int data_dir_make(const char *path, struct error *error)
{
    int r;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(error, ERR_IO, "data_dir %s cannot be created: %s", path, strerror(errno));
    r = data_dir_check(path, error);
    if (r == 0)
        close_databases(path);
    return r;
}
