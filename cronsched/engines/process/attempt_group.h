/* The control group (cgroup) of an attempt: the kernel's own list of all processes that descend from the command,
 * however often they fork and whatever session they are in.
 *
 * A group is a folder below the server's own group: OWN/cronsched-HOST/NAME, where HOST is the number of the data
 * folder. The unified hierarchy (version 2) is used where it is mounted, also beside version 1; else the hierarchy of
 * systemd, of the freezer or of pids (version 1). No controller is enabled; nothing is limited by it.
 *
 * It can be had when the server may make folders in its own group: as root, or as a unit of systemd with Delegate=yes.
 * Where it cannot, attempt_work.h has another way.
 *
 * Paths are those of the mounted file system. Everything here blocks for a moment: for supervisors and pool threads.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ATTEMPT_GROUP_PATH_MAX 1024

/* Pure: the folder of the process's own group, from the texts of /proc/self/mountinfo and /proc/self/cgroup.
 * False: none that is known here. */
bool attempt_group_find(const char *mountinfo, const char *cgroup, char ret[ATTEMPT_GROUP_PATH_MAX]);

/* The folder for the groups of this data folder's attempts, made when it is not there. ERR_UNSUPPORTED: there is no
 * hierarchy, or nothing may be made in it; *error says which. */
int attempt_group_base(const char *host, char ret[ATTEMPT_GROUP_PATH_MAX], struct error *error);
/* Removes it when it is empty. */
void attempt_group_base_release(const char *base);

/* Makes the group; its base as well when it has gone. ERR_IO. */
int attempt_group_make(const char *path, struct error *error);
/* As fork(2), with the child in the group. -1, with errno: no child; where only the group was refused, nothing else
 * is wrong, and fork(2) may do. */
pid_t attempt_group_fork(const char *path);

/* Calls `each`, which may be NULL, for the processes that live in it. How many there are, or -1, as below. */
int attempt_group_each(const char *path, void (*each)(void *arg, pid_t pid), void *arg);
/* How many processes live in it; -1: it is not there, or cannot be read. */
int attempt_group_count(const char *path);
/* SIGKILL to all of them. They may take a moment to go, and new ones may have been forked: count, and do it again. */
void attempt_group_kill(const char *path);
/* Nothing happens while something lives in it. */
void attempt_group_remove(const char *path);
