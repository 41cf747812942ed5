/* See descendants.h. */
#include "cronsched/engines/process/descendants.h"

#include "cronsched/engines/process/attempt_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHILDREN_MAX  4096 /* bytes of the list of children read at a time */
#define PROCESSES_MAX (1 << 20)

struct process {
    pid_t pid, parent, process_group;
    bool ours;
};

struct table {
    struct process *items;
    size_t count, room;
};

/* ---- looking ---- */

static struct process *add(struct table *t)
{
    if (t->count == t->room) {
        size_t room = t->room ? t->room * 2 : 256;
        struct process *items = room <= PROCESSES_MAX ? realloc(t->items, room * sizeof(*items)) : NULL;

        if (!items)
            return NULL;
        t->items = items;
        t->room = room;
    }
    return &t->items[t->count++];
}

/* The name in parentheses may hold anything, so count from the last ')'. */
static bool read_process(const char *pid, struct process *ret)
{
    char path[64], line[1024];
    const char *p = NULL;
    ssize_t n = -1;
    int fd, parent, process_group;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        n = read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        line[n] = '\0';
        p = strrchr(line, ')');
    }
    if (!p || sscanf(p + 1, " %*c %d %d", &parent, &process_group) != 2)
        return false;
    *ret = (struct process){
        .pid = (pid_t)strtol(pid, NULL, 10), .parent = parent, .process_group = process_group};
    return true;
}

static void read_all(struct table *t)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    struct process found, *p;

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && read_process(entry->d_name, &found) &&
            (p = add(t)))
            *p = found;
    if (dir)
        closedir(dir);
}

/* ---- asking ---- */

struct asked {
    pid_t *groups;
    size_t count, room;
};

static bool was_asked(const struct asked *asked, pid_t process_group)
{
    for (size_t i = 0; i < asked->count; i++)
        if (asked->groups[i] == process_group)
            return true;
    return false;
}

static void add_group(struct asked *asked, pid_t process_group)
{
    if (process_group <= 1 || process_group == getpgrp() || was_asked(asked, process_group))
        return;
    if (asked->count == asked->room) {
        size_t room = asked->room ? asked->room * 2 : 16;
        pid_t *groups = realloc(asked->groups, room * sizeof(*groups));

        if (!groups)
            return;
        asked->groups = groups;
        asked->room = room;
    }
    asked->groups[asked->count++] = process_group;
}

/* One generation after the other. */
static void add_tree(struct asked *asked, struct table *t)
{
    const pid_t self = getpid();
    size_t done = 0, found = 0;
    pid_t *order = t->count ? malloc(t->count * sizeof(*order)) : NULL;

    for (pid_t parent = self; order; parent = order[done++]) {
        for (size_t i = 0; i < t->count; i++) {
            struct process *p = &t->items[i];

            if (p->ours || p->parent != parent || p->pid == self)
                continue;
            p->ours = true;
            order[found++] = p->pid;
            add_group(asked, p->process_group);
        }
        if (done == found)
            break;
    }
    free(order);
}

/* In the group, and not in the tree: it could not be read in /proc. */
static void add_member(void *arg, pid_t pid)
{
    add_group(arg, getpgid(pid));
}

/* All are known before the first is asked: what its handler starts then is in none of these groups, or is forked after the
 * signal. A whole process group gets it at once, so that nothing of it is forked past the signal. A number is that of a
 * group with one of ours in it; for it to become another's, all of that group would have to end and the numbers to go all
 * round between the look and the signal. */
void descendants_stop(pid_t command, const char *group)
{
    struct table table = {0};
    struct asked asked = {0};

    if (command > 0)
        add_group(&asked, command);
    read_all(&table);
    add_tree(&asked, &table);
    if (group[0])
        attempt_group_each(group, add_member, &asked);
    for (size_t i = 0; i < asked.count; i++) {
        kill(-asked.groups[i], SIGTERM);
        kill(-asked.groups[i], SIGCONT);
    }
    free(table.items);
    free(asked.groups);
}

/* ---- killing ---- */

/* Without CONFIG_PROC_CHILDREN the process group has to do. */
static void kill_children(void)
{
    char path[64], list[CHILDREN_MAX];
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%ld/children", syscall(SYS_gettid));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, list, sizeof(list) - 1);
    close(fd);
    if (n <= 0)
        return;
    list[n] = '\0';
    if ((size_t)n == sizeof(list) - 1) { /* the last one may be half a number; it comes again */
        char *space = strrchr(list, ' ');

        *(space ? space : list) = '\0';
    }
    for (char *p = list, *end; *p; p = end) {
        long pid = strtol(p, &end, 10);

        if (end == p)
            break;
        if (pid > 1)
            kill((pid_t)pid, SIGKILL);
    }
}

void descendants_kill(pid_t command, const char *group)
{
    if (command > 0)
        kill(-command, SIGKILL);
    kill_children();
    if (group[0])
        attempt_group_kill(group);
}
