/* The work of an attempt: all processes that descend from its command, also when they have a session of their own and
 * when their supervisor is gone. Who they are is known in this order:
 *
 *   1. by the attempt's control group (attempt_group.h), where there is one: certain and complete
 *   2. else, of the processes that can be seen in /proc:
 *      - those of the session that the command began
 *      - those with the attempt's mark in their environment, CRONSCHED_ATTEMPT_ID, which children inherit
 *      A process that has both a session of its own and a cleared environment is not found; nor one whose
 *      environment may not be read, as of another user for a server that is not root.
 *
 * What another service was asked to start (systemd-run, at, docker run, ssh) does not belong to it.
 *
 * Everything here blocks: for supervisors and pool threads.
 */
#pragma once

#include "cronsched/engines/process/attempt_group.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ATTEMPT_WORK_VARIABLE "CRONSCHED_ATTEMPT_ID"
#define ATTEMPT_WORK_MARK_MAX 160

struct attempt_work {
    char group[ATTEMPT_GROUP_PATH_MAX]; /* "": none */
    char mark[ATTEMPT_WORK_MARK_MAX];   /* "": not known */
    pid_t session;                      /* the command's pid; 0: not known */
    uint64_t ticks;                     /* the command's start, as in /proc/PID/stat */
};

/* How many of its processes live; zombies do not count. */
int attempt_work_count(const struct attempt_work *work);

/* Sends SIGKILL until nothing lives, for `wait_ms` at most. Returns what still lives. */
int attempt_work_kill(const struct attempt_work *work, int wait_ms);

/* Field 22 of /proc/PID/stat: when it was started. A negative errno: no such process. */
int attempt_work_ticks(pid_t pid, uint64_t *ret);
