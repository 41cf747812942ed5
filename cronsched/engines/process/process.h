/* The process engine: attempts are processes of this machine, each under a supervisor of its own
 * (cronsched/engines/process/supervise.h) that outlives the server. It needs no container runtime and no network.
 *
 * id       NAME@HOST: the attempt's folder, and the data folder it is in (a number kept there)
 * boot     the kernel's boot id
 * identity of the data folder and its machine, see attempt_dir_identity_of
 * output   data_dir/logs/JOB/RUN.ATTEMPT.log, both streams, up to the job's keep.logs
 * command  entrypoint and command, one after the other, without a shell; working_dir defaults to /, and
 *          PATH, HOME, USER and LOGNAME have values; nothing else of the server's environment is seen
 *
 * An attempt belongs to the data folder that it was prepared in: about the id of another one this engine only
 * says UNREACHABLE. A job that asks for what only containers have is refused by check().
 *
 * When the command ends, whatever it left running is killed; and so is what runs on when a supervisor was killed: the
 * attempt is running while any of its work lives (attempt_work.h), and then its outcome is unknown. There are no limits
 * on CPU and memory here; the soft limit of open files is `files`, the hard one the server's, and the kernel does not
 * spare a command when memory runs out, as it may spare the server.
 *
 * Descriptors: one for each prepared attempt and one for each that runs; whoever runs many at once raises
 * RLIMIT_NOFILE first. Its own files are read and written on libuv's pool, at most `parallel` at a time;
 * those that jobs name, on threads with a deadline (cronsched/io/file_reader.h).
 *
 * Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <stdbool.h>
#include <sys/resource.h>
#include <uv.h>

#define PROCESS_PARALLEL_DEFAULT  4
#define PROCESS_MAX_ARMED_DEFAULT 256
#define PROCESS_RETENTION_MS      60000
#define PROCESS_SWEEP_MS          15000

struct process_engine_options {
    const char *name;
    const char *data_dir;
    const char *program;            /* runs supervisors as `program __supervise`; NULL: /proc/self/exe */
    int parallel;                   /* 0: PROCESS_PARALLEL_DEFAULT */
    int max_armed;                  /* 0: PROCESS_MAX_ARMED_DEFAULT */
    int64_t retention_ms, sweep_ms; /* 0: as above */
    bool without_groups;            /* no control groups, also where they could be had: for tests */
    const json_t *allow;            /* {"users": [...]}, see process_engine_user; NULL: not limited */
    const char *files_dir;          /* environment's from_file must lie below it; NULL: anywhere */
    rlim_t files;                   /* soft limit of open files of commands; 0: this process's */
    const char *replica, *cluster;  /* whose folder it is, by attempt_dir_own; NULL: of a server on its own */
};

/* Makes data_dir/attempts; data_dir has to be there. Blocks for a moment: for the time before the loop runs.
 */
int process_engine_new(struct engine **ret, uv_loop_t *loop, const struct process_engine_options *options,
                       struct engine_host *host, struct error *error);

/* The number of its data folder, by which ids name it. */
const char *process_engine_host(const struct engine *engine);

/* Whom the job's commands run as: *ret borrows, "" is the server's own user. Where `allow` has users, the job's is to be
 * one of them, letter for letter, and one that names none has the first. ERR_DENIED. */
int process_engine_user(const json_t *allow, const struct job *job, const char **ret, struct error *error);

/* What ops->check does, without `allow`; for the validation of job files without an engine. */
int process_engine_check(const struct job *job, struct error *error);
void process_engine_faults(const struct job *job, struct engine_faults *faults);
