/* See attempt_group.h. */
#include "cronsched/engines/process/attempt_group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROC_FILE_MAX (256 * 1024) /* a machine with many mounts; the rest is not read */
#define PROCS_BYTES   4096         /* of the list of processes, read at a time */

/* ---- where groups can be made ---- */

struct mount {
    char root[ATTEMPT_GROUP_PATH_MAX], point[ATTEMPT_GROUP_PATH_MAX];
    char type[32], options[256];
};

/* Blanks and backslashes in mountinfo are octal: "\040". */
static void decode(char *s)
{
    char *to = s;

    for (; *s; s++, to++) {
        *to = *s;
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        }
    }
    *to = '\0';
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPEROPTIONS" */
static bool read_mount(const char *line, size_t size, struct mount *ret)
{
    char copy[ATTEMPT_GROUP_PATH_MAX * 3], *rest;

    if (size >= sizeof(copy))
        return false;
    memcpy(copy, line, size);
    copy[size] = '\0';
    rest = strstr(copy, " - ");
    if (!rest || sscanf(rest, " - %31s %*s %255s", ret->type, ret->options) != 2 ||
        sscanf(copy, "%*s %*s %*s %1023s %1023s", ret->root, ret->point) != 2)
        return false;
    decode(ret->root);
    decode(ret->point);
    return true;
}

static bool has_option(const char *options, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = strstr(options, name); p; p = strstr(p + 1, name))
        if ((p == options || p[-1] == ',') && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

/* NULL: the unified hierarchy. */
static bool is_hierarchy(const struct mount *m, const char *name)
{
    if (!name)
        return strcmp(m->type, "cgroup2") == 0;
    return strcmp(m->type, "cgroup") == 0 && has_option(m->options, name);
}

/* The process's group in a hierarchy: a line "NUMBER:NAMES:PATH", with no names for the unified one. */
static bool own_group(const char *cgroup, const char *name, char ret[ATTEMPT_GROUP_PATH_MAX])
{
    for (const char *line = cgroup; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char names[256] = "";
        const char *begin = strchr(line, ':'), *end = begin ? strchr(begin + 1, ':') : NULL;
        size_t n, size;

        if (!end)
            continue;
        n = (size_t)(end - begin - 1);
        size = strcspn(end + 1, "\n");
        if (n >= sizeof(names) || size == 0 || size >= ATTEMPT_GROUP_PATH_MAX)
            continue;
        memcpy(names, begin + 1, n);
        if (name ? !has_option(names, name) : n > 0)
            continue;
        memcpy(ret, end + 1, size);
        ret[size] = '\0';
        return ret[0] == '/' && strstr(ret, "/..") == NULL; /* else outside of our view */
    }
    return false;
}

/* The part of `group` below the root of the mount. */
static bool join(const struct mount *m, const char *group, char ret[ATTEMPT_GROUP_PATH_MAX])
{
    size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    int n;

    if (strncmp(group, m->root, root) != 0 || (root > 0 && group[root] != '/' && group[root] != '\0'))
        return false;
    group += root;
    n = snprintf(ret, ATTEMPT_GROUP_PATH_MAX, "%s%s", m->point, strcmp(group, "/") == 0 ? "" : group);
    return n > 0 && n < ATTEMPT_GROUP_PATH_MAX;
}

static bool find_in(const char *mountinfo, const char *cgroup, const char *name,
                    char ret[ATTEMPT_GROUP_PATH_MAX])
{
    char group[ATTEMPT_GROUP_PATH_MAX];

    if (!own_group(cgroup, name, group))
        return false;
    for (const char *line = mountinfo; *line;) {
        size_t size = strcspn(line, "\n");
        struct mount m;

        if (read_mount(line, size, &m) && is_hierarchy(&m, name) && join(&m, group, ret))
            return true;
        line += size + (line[size] == '\n');
    }
    return false;
}

bool attempt_group_find(const char *mountinfo, const char *cgroup, char ret[ATTEMPT_GROUP_PATH_MAX])
{
    static const char *const names[] = {NULL, "name=systemd", "freezer", "pids"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (find_in(mountinfo, cgroup, names[i], ret))
            return true;
    return false;
}

static char *read_whole(const char *path)
{
    char *text = malloc(PROC_FILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t r;

    while (text && fd >= 0 && n < PROC_FILE_MAX && (r = read(fd, text + n, PROC_FILE_MAX - n)) > 0)
        n += (size_t)r;
    if (fd >= 0)
        close(fd);
    if (text)
        text[n] = '\0';
    return text;
}

int attempt_group_base(const char *host, char ret[ATTEMPT_GROUP_PATH_MAX], struct error *error)
{
    char *mountinfo = read_whole("/proc/self/mountinfo"), *cgroup = read_whole("/proc/self/cgroup");
    char own[ATTEMPT_GROUP_PATH_MAX] = "";
    bool found = mountinfo && cgroup && attempt_group_find(mountinfo, cgroup, own);
    int n;

    free(mountinfo);
    free(cgroup);
    if (!found)
        return error_set(error, ERR_UNSUPPORTED, "no hierarchy of control groups is mounted");
    n = snprintf(ret, ATTEMPT_GROUP_PATH_MAX, "%s/cronsched-%s", own, host);
    if (n < 0 || n >= ATTEMPT_GROUP_PATH_MAX)
        return error_set(error, ERR_UNSUPPORTED, "the path of the control group is too long");
    if (mkdir(ret, 0755) < 0 && errno != EEXIST)
        return error_set(error, ERR_UNSUPPORTED, "cannot make a control group in %.300s: %s", own,
                         strerror(errno));
    if (access(ret, W_OK) < 0)
        return error_set(error, ERR_UNSUPPORTED, "cannot make a control group in %.300s: %s", ret,
                         strerror(errno));
    return 0;
}

void attempt_group_base_release(const char *base)
{
    if (base[0])
        rmdir(base);
}

/* ---- one group ---- */

int attempt_group_make(const char *path, struct error *error)
{
    char base[ATTEMPT_GROUP_PATH_MAX], *slash;

    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return 0;
    snprintf(base, sizeof(base), "%s", path);
    slash = strrchr(base, '/');
    if (errno == ENOENT && slash) {
        *slash = '\0';
        mkdir(base, 0755);
        if (mkdir(path, 0755) == 0 || errno == EEXIST)
            return 0;
    }
    return error_set(error, ERR_IO, "cannot make the control group %.300s: %s", path, strerror(errno));
}

/* 0 is the one that writes. */
static int enter(const char *path)
{
    char file[ATTEMPT_GROUP_PATH_MAX + 32];
    int fd, r;

    snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = write(fd, "0", 1) == 1 ? 0 : -errno;
    close(fd);
    return r;
}

/* Made in the group, which costs the kernel much less than to move it there. -1, ENOSYS: not known. */
static pid_t fork_into(const char *path)
{
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pid_t pid;

    if (fd < 0)
        return -1;
    args.cgroup = (uint64_t)fd;
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid != 0)
        close(fd);
    return pid;
}

/* The child goes there before anything else, and says whether it could. */
static pid_t fork_and_enter(const char *path)
{
    int report[2], r = -EIO;
    pid_t pid;

    if (pipe2(report, O_CLOEXEC) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        r = enter(path);
        if (write(report[1], &r, sizeof(r)) != sizeof(r) || r < 0)
            _exit(0);
        close(report[0]);
        close(report[1]);
        return 0;
    }
    close(report[1]);
    if (pid > 0 && read(report[0], &r, sizeof(r)) != sizeof(r))
        r = -EIO;
    close(report[0]);
    if (pid > 0 && r < 0) {
        waitpid(pid, NULL, 0);
        errno = -r;
        return -1;
    }
    return pid;
}

pid_t attempt_group_fork(const char *path)
{
    pid_t pid = fork_into(path);

    return pid >= 0 ? pid : fork_and_enter(path);
}

int attempt_group_each(const char *path, void (*each)(void *arg, pid_t pid), void *arg)
{
    char file[ATTEMPT_GROUP_PATH_MAX + 32];
    FILE *f;
    long pid;
    int n = 0;

    snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    f = fopen(file, "re");
    if (!f)
        return -1;
    for (; fscanf(f, "%ld", &pid) == 1; n++)
        if (each && pid > 1)
            each(arg, (pid_t)pid);
    if (ferror(f))
        n = -1;
    fclose(f);
    return n;
}

int attempt_group_count(const char *path)
{
    return attempt_group_each(path, NULL, NULL);
}

static void kill_process(void *arg, pid_t pid)
{
    (void)arg;
    kill(pid, SIGKILL);
}

/* One by one only where the kernel (before 5.14, or version 1) cannot kill a group at once: between the look and the
 * signal a number could become another process's, which would have to go all round in that moment. */
void attempt_group_kill(const char *path)
{
    char file[ATTEMPT_GROUP_PATH_MAX + 32];
    int fd;
    bool killed;

    snprintf(file, sizeof(file), "%s/cgroup.kill", path);
    fd = open(file, O_WRONLY | O_CLOEXEC);
    killed = fd >= 0 && write(fd, "1", 1) == 1;
    if (fd >= 0)
        close(fd);
    if (!killed)
        attempt_group_each(path, kill_process, NULL);
}

void attempt_group_remove(const char *path)
{
    if (path[0])
        rmdir(path);
}
