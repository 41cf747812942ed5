#include "cronsched/server/data_dir.h"

#include "cronsched/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

/* ---- is a server running on it? ---- */

static bool socket_answers(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, rc;

    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONFIG_SOCKET_NAME, dir) >=
        (int)sizeof(address.sun_path))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
    if (fd >= 0)
        close(fd);
    return rc == 0;
}

/* SQLite holds locks on it as long as it is open. */
static bool is_locked(const char *dir, const char *name)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_MAX];
    int fd, rc;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    rc = fd < 0 ? -1 : fcntl(fd, F_GETLK, &whole);
    if (fd >= 0)
        close(fd);
    return rc == 0 && whole.l_type != F_UNLCK;
}

bool data_dir_is_served(const char *path)
{
    return socket_answers(path) || is_locked(path, "history.db") || is_locked(path, "history.db-shm");
}
