/* The folder of an attempt of the process engine, data_dir/attempts/NAME: what its supervisor writes down,
 * what a restarted server reads, and the mark over which starting and fencing compete. Everything here
 * blocks: it is for the supervisor and for pool threads, never for the loop.
 *
 *   ready    who supervises what: run, epoch, boot id, pid and its start time; synced before PREPARED
 *   start    THE MARK: a hard link, to `ready` when the command is started, to a file with a reason when it
 *            never will be; synced before the command is executed, and before NEVER_RAN is answered
 *   command  pid of the command, its control group and its mark (attempt_work.h); of use in the same boot only, so
 *            not synced
 *   killed   how many processes were left when the supervisor was found dead, before they are killed; not synced
 *   end      how it ended; synced. Written to end.new, whose room is taken ahead, so that a full disk
 *            loses no end; end.new counts as well once no process lives that could finish it
 *
 * Why a fence is proof. The mark is made by link(2), which gives a name once: of all who try, in whatever
 * process and after pauses of whatever length, one succeeds and the others get EEXIST.
 *
 *   1. The command is executed by the process that linked `start` to `ready`, after the link and after an
 *      fsync of the folder: where there is no such link on disk, nothing was executed. A loss of power that
 *      takes the link back came before the exec.
 *   2. A supervisor tries once, in one process. A folder is made by mkdir(2), which succeeds once, for one
 *      supervisor; names are unique per try of an attempt. A folder is removed only once it has its mark,
 *      and `ready` goes first: then there is nothing to link to. So no name gets a second mark.
 *   3. Whoever fences links `start` to a fence and syncs the folder before it says NEVER_RAN. When that
 *      succeeds, by 1 nothing was executed, and nothing ever will be: a supervisor that wakes up late with
 *      the go-ahead in its hands finds the name taken, or the folder gone, and leaves.
 *   4. When it fails, the mark says which: started, or fenced before.
 *
 * No clock, no pid and no lock take part in that.
 *
 * Who lives is another question, answered by flock(2) on the folder: the server locks the open folder before
 * it hands it to the supervisor, and the kernel drops the lock with the last process that has it: the
 * supervisor, or a command that it has not executed yet. Pids with their start times serve to send signals
 * and to notice its end; they are believed only after the boot id.
 */
#pragma once

#include "cronsched/engines/process/attempt_work.h"
#include "jobs/base/error.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ATTEMPT_DIR_NAME_MAX    128
#define ATTEMPT_DIR_BOOT_ID_MAX 40
#define ATTEMPT_DIR_HOST_MAX    17 /* 16 hex digits */
#define ATTEMPT_DIR_TEXT_MAX    512

struct attempt_dir_process {
    pid_t pid;      /* 0: none */
    uint64_t ticks; /* its start time, field 22 of /proc/PID/stat */
};

/* Whose folder it is. */
struct attempt_dir_identity {
    char cluster[64], run[RUN_ID_MAX];
    int attempt, try;
    int64_t epoch;
};

enum attempt_dir_state {
    ATTEMPT_DIR_WAITING, /* no mark yet; `alive` says whether a supervisor waits */
    ATTEMPT_DIR_FENCED,  /* it never ran and never will */
    ATTEMPT_DIR_RUNNING, /* started, no end, and its supervisor lives, or anything of its work */
    ATTEMPT_DIR_ENDED,
    ATTEMPT_DIR_REFUSED, /* marked as started, but the command could not be executed */
    ATTEMPT_DIR_LOST     /* started, no end, no process lives */
};

struct attempt_dir_end {
    int64_t started_ms, ended_ms;
    bool refused;
    int exit_code;     /* 128 + signal for a signal */
    const char *cause; /* "exit", "signal", "engine", "timeout" */
    char text[ATTEMPT_DIR_TEXT_MAX];
};

struct attempt_dir_status {
    enum attempt_dir_state state;
    bool alive; /* somebody holds the lock */
    bool identified;
    struct attempt_dir_identity identity;  /* when identified */
    char boot_id[ATTEMPT_DIR_BOOT_ID_MAX]; /* it was made in; "": not known */
    bool same_boot;                        /* that is this one; else no pid is given */
    struct attempt_dir_process supervisor, command;
    struct attempt_work
        work;           /* what descends from the command; empty before that exists, or in another boot */
    bool orphaned;      /* RUNNING, and its supervisor is dead: no end will be written */
    int64_t started_ms; /* 0: not known */
    int64_t changed_ms; /* the folder: when the last of these files appeared */
    struct attempt_dir_end end; /* of ENDED and REFUSED; its text also of FENCED and LOST: why */
};

/* The kernel's boot id; the host id of a data folder: made once, in attempts/.host, it says which folder an
 * id means. */
int attempt_dir_boot_id(char ret[ATTEMPT_DIR_BOOT_ID_MAX], struct error *error);
/* "HOST.MACHINE": a data folder and, by a hash of /etc/machine-id, the machine that it is on, since a folder may be moved
 * or copied to another one while its attempts run on here. "HOST" where the machine has no id. */
void attempt_dir_identity_of(const char *host_id, char *ret, size_t size);
int attempt_dir_root(const char *data_dir, int *ret_root, char ret_host[ATTEMPT_DIR_HOST_MAX],
                     struct error *error);
/* Whether data_dir/attempts is still the folder that `root` is. 0: it is. 1: it was removed or replaced, and `root` is the one
 * that is there now, made where there was none, with the same number; what was in the old one is gone. ERR_CONFLICT: it has
 * another number; ERR_CORRUPT, ERR_IO and others: `root` stays as it was. */
int attempt_dir_root_look(const char *data_dir, int root, const char *host, struct error *error);
/* Notes in attempts/.owner which replica of which cluster uses this folder, unless it is noted already. A copy of the
 * folder has the same host id, and would judge the attempts of the original by locks and files that it does not have:
 * so it is refused. cluster "": not known yet, not compared. ERR_CONFLICT: it is another one's, and *error says what a
 * person may do; ERR_CORRUPT: what is noted is invalid. Blocks. */
int attempt_dir_own(int root, const char *replica, const char *cluster, struct error *error);

bool attempt_dir_name_valid(const char *name); /* letters, digits, '-'; no dot */

/* Makes the folder and locks it; *ret_folder is to be closed, the supervisor has its own copy. ERR_CONFLICT:
 * it is there already. */
int attempt_dir_create(int root, const char *name, int *ret_folder, struct error *error);
int attempt_dir_open(int root, const char *name, int *ret_folder, struct error *error); /* ERR_NOT_FOUND */

/* The supervisor's. */
int attempt_dir_write_ready(int folder, const struct attempt_dir_identity *identity, struct error *error);
/* Puts the mark and syncs. ERR_CONFLICT: fenced. ERR_NOT_FOUND: the folder is gone. */
int attempt_dir_mark_started(int folder, struct error *error);
/* group, mark: as in struct attempt_work. */
int attempt_dir_write_command(int folder, pid_t pid, const char *group, const char *mark,
                              struct error *error);
int attempt_dir_write_end(int folder, const struct attempt_dir_end *end, struct error *error);

/* The server's. 0: it can no longer be started, on disk now; or it was fenced before. ERR_CONFLICT: it was
 * started. */
int attempt_dir_fence(int folder, const char *why, struct error *error);
int attempt_dir_read(int folder, struct attempt_dir_status *ret, struct error *error);
/* Kills what an orphaned attempt left running, and notes how much that was. Returns how many processes still live: 0,
 * or some that take their time, or that may not be killed from here. Waits for a moment. */
int attempt_dir_kill_work(int folder, const struct attempt_dir_status *status);
/* Fences, and sends a supervisor that waits away. */
int attempt_dir_abolish(int folder, const char *why, struct error *error);
/* Renames it away, then removes it. It must have its mark. Nothing there is fine; ERR_BUSY: try later. */
int attempt_dir_remove(int root, const char *name, struct error *error);
/* The entries of a folder, whose descriptor stays as it is; NULL: see errno. For closedir. */
DIR *attempt_dir_entries(int folder);
/* Removes what a crash left of removals, and control groups in `group_base` ("": none) without an attempt. */
void attempt_dir_clean(int root, const char *group_base);

/* One that was prepared has `ready` for as long as it is there: somebody has removed it. */
bool attempt_dir_is_emptied(int folder);

/* A pidfd of that very process: 0, or ERR_NOT_FOUND when it is gone. */
int attempt_dir_pidfd(const struct attempt_dir_process *process, int *ret_pidfd, struct error *error);
/* By its pidfd, and queued as of sigqueue(3), by which a supervisor knows whom it is from. ERR_NOT_FOUND: gone. */
int attempt_dir_signal(const struct attempt_dir_process *process, int signal);
int attempt_dir_process_self(struct attempt_dir_process *ret, struct error *error);
