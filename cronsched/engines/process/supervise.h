/* Supervisors: one small process for each attempt of the process engine, which waits for the go-ahead, has
 * the command executed, keeps its output and writes down how it ended; and the spawner, which forks them.
 *
 *   server --posix_spawn--> spawner (`cronsched __supervise`) --fork--> supervisor --fork--> command
 *
 * The server is big and has threads; to fork it is slow. The spawner is the same program, executed once, with
 * next to nothing in its memory: its forks are quick and share their pages. Nobody needs it as a parent:
 * supervisors live on without it, and without the server. Of the server's environment both get what spawner.c lists,
 * and nothing that could be a secret; the command gets the job's variables alone.
 *
 * A supervisor gets three descriptors: its end of a SOCK_SEQPACKET socket, the locked folder of the attempt
 * (attempt_dir.h, where the rules of starting and fencing are), and a sealed memory file with what to do,
 * so that secrets of the environment never touch a disk. Messages on the socket, one text each:
 *
 *   supervisor: "ready"              waiting for the go-ahead
 *               "failed TEXT"        it did not come about; may be tried again
 *               "later TEXT"         the same, for a reason of the job's alone: its user cannot be looked up now
 *               "refused CODE TEXT"  it will not come about: no such user, no such command; nothing ran
 *               "gone"               its folder was removed before the mark; nothing ran
 *               "started MS"         executed, at that wall time
 *   server:     "go"                 once
 *
 * The socket's end without "go" makes the supervisor leave, nothing executed. After "started" the socket is
 * closed; from then on SIGTERM to the supervisor asks for the end: SIGTERM and SIGCONT to the command and all that
 * descends from it, and after stop_grace SIGKILL to what is left. So a worker behind a shell has the whole grace, though
 * the shell ends at once. What the command leaves running when it ends by itself is killed, as with a container. The
 * supervisor asks itself when the timeout has been over for SUPERVISE_TIMEOUT_LATER_MS: then no server does. What it leaves running when the supervisor is killed is found and killed by
 * whoever watches the attempt (attempt_work.h).
 */
#pragma once

#include "cronsched/engines/process/attempt_dir.h"
#include "jobs/base/error.h"

#include <stdint.h>
#include <sys/resource.h>
#include <uv.h>

#define SUPERVISE_VERB        "__supervise"
#define SUPERVISE_SPEC_BYTES  (1024 * 1024) /* environment, arguments and all; more is refused */
#define SUPERVISE_MESSAGE_MAX 1024

#define SUPERVISE_TIMEOUT_LATER_MS 1000 /* a server ends it in time, and its journal says so */

struct supervise_spec {
    struct attempt_dir_identity identity;
    const char *user;        /* "": as the server */
    const char *working_dir; /* "": / */
    const char *log_path;
    const char *group; /* the path of its control group, to be made; "": none */
    const char *mark;  /* ATTEMPT_WORK_VARIABLE of its environment */
    int64_t log_cap_bytes, stop_grace_ms;
    int64_t timeout_ms; /* 0: none */
    char **argv, **env; /* NULL-terminated */
};

/* A sealed memory file that holds the spec, read from its start. ERR_LIMIT: too big. */
int supervise_spec_write(const struct supervise_spec *spec, int *ret_fd, struct error *error);
/* *ret points into *ret_memory; free() both lists and the memory by supervise_spec_release. */
int supervise_spec_read(int fd, struct supervise_spec *ret, char **ret_memory, struct error *error);
void supervise_spec_release(struct supervise_spec *spec, char *memory);

/* The verb: what the spawner runs. It returns when the server is gone. */
int spawner_main(int argc, char **argv);

/* One attempt, from the three descriptors to the end; does not return. */
_Noreturn void supervise(int socket, int folder, int spec);

/* ---- the server's side; any thread ---- */

struct spawner {
    const char *program; /* executed as `program __supervise`; borrowed */
    rlim_t files;        /* soft limit of open files, for it and all commands; 0: this process's */
    uv_mutex_t lock;
    int control; /* -1: none runs */
    pid_t pid;
};

int spawner_init(struct spawner *spawner, const char *program);
void spawner_release(struct spawner *spawner); /* ends it; supervisors stay */

/* Makes a supervisor with copies of the three. A spawner that is not there, or died, is started. May block
 * for some milliseconds: for pool threads. */
int spawner_spawn(struct spawner *spawner, int socket, int folder, int spec, struct error *error);
