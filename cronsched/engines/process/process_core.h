/* Inside the process engine. Three kinds of object hang on it:
 *
 *   call   a request's work on the pool, or an answer that waits for the next turn of the loop
 *   armed  a supervisor of ours that has not started: its socket
 *   watch  a WATCH under way: a pidfd, or a timer
 *
 * `generation` grows with each abandon(): calls of an older one end without an answer. The engine goes when it is
 * closing and nothing hangs on it any more; each of them calls process_released when it is gone.
 */
#pragma once

#include "cronsched/engines/process/attempt_dir.h"
#include "cronsched/engines/process/process.h"
#include "cronsched/engines/process/supervise.h"
#include "cronsched/io/file_reader.h"
#include "cronsched/io/variable_files.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PROCESS_PREPARING_MAX 32     /* supervisors asked for and not ready */
#define PROCESS_ANSWER_MS     30000  /* a supervisor has to get ready, or to start, within */
#define PROCESS_POLL_MS       500    /* a watch that cannot follow a pidfd looks again */
#define PROCESS_RETRY_MS      5000   /* a watch that could not read looks again */
#define PROCESS_ORPHAN_MS     600000 /* a folder that never became ready is swept after */
#define PROCESS_NEVER_MAX     64
#define PROCESS_ID_MAX        (ATTEMPT_DIR_NAME_MAX + ATTEMPT_DIR_HOST_MAX + 1)

struct process_engine {
    struct object object;
    struct engine engine;
    uv_loop_t *loop;
    struct engine_host *host;
    char *name, *data_dir, *program;
    int parallel;
    int64_t retention_ms, sweep_ms;
    json_t *allow; /* NULL: not limited */
    char *files_dir;
    struct variable_files_limits limits; /* of files of variables: these two */

    int root; /* the folder of attempts */
    char host_id[ATTEMPT_DIR_HOST_MAX], boot_id[ATTEMPT_DIR_BOOT_ID_MAX];
    char identity[ENGINE_IDENTITY_MAX];      /* of the data folder and the machine that it is on */
    char group_base[ATTEMPT_GROUP_PATH_MAX]; /* where attempts have their control groups; "": nowhere */
    struct spawner spawner;
    struct file_reader *reader; /* of what `from_file` names */

    uint64_t generation;
    struct list calls, prepares; /* waiting for the pool; calls go first */
    struct list later;           /* answers for the next turn */
    struct list armed, watches;
    int on_pool, preparing, watched;
    char *replica; /* whose folder it is; NULL: of a server on its own */
    char never[PROCESS_NEVER_MAX][ATTEMPT_DIR_NAME_MAX]; /* process_gone_remember */
    size_t never_next;
    bool ill; /* the last supervisor could not be made; `fault` says why */
    char fault[200];

    uv_timer_t later_timer, sweep_timer;
    bool sweeping;
    atomic_bool leaving; /* the engine closes: a sweep on the pool is to end with the folder at hand */
    int held;            /* objects and handles that are not gone yet */
    bool closing, last_work;
    uv_work_t close_work;
    void (*done)(void *arg);
    void *done_arg;
};

struct process_call;

struct process_call_ops {
    void (*run)(struct process_call *call);  /* on the pool; NULL: nothing to do there */
    void (*done)(struct process_call *call); /* on the loop, in the same generation; answers */
    bool prepares;                           /* waits in `prepares`, and counts as preparing */
};

struct process_call {
    struct object object;
    const struct process_call_ops *ops;
    struct process_engine *engine;
    struct list link;
    uv_work_t work;
    uint64_t generation, ticket;
    char name[ATTEMPT_DIR_NAME_MAX];
    char host
        [ATTEMPT_DIR_HOST_MAX]; /* of its id: this data folder's, or the one that was lost with an older one */
    bool may_have_run;
    int renewed;                 /* PREPARE: as attempt_dir_root_look */
    struct process_watch *watch; /* of a watch's look; the watch knows it, too */

    struct attempt_dir_identity identity; /* PREPARE, with what follows */
    struct job *job;
    char **files; /* values of from_file, by index of the variable; NULL: none */
    json_t *params;
    char *cause;
    int64_t fire_ms, previous_fire_ms;

    enum engine_event event; /* of an answer that waits for its turn */
    bool with_text;          /* it is in `error` */

    int result; /* what the pool found; of error.h */
    struct error error;
    struct attempt_dir_status status;
    int fd; /* PREPARE: our end of the socket; a watch: pidfd; -1: none */
};

/* ---- process_core.c ---- */
void process_answer(struct process_engine *e, const struct engine_answer *answer);
void process_answer_text(struct process_engine *e, uint64_t ticket, enum engine_event event, int exit_code,
                         const char *text);
void process_answer_status(struct process_engine *e, uint64_t ticket,
                           const struct attempt_dir_status *status);
/* An answer that needs no work, at the next turn of the loop: none comes from within submit. */
void process_answer_later(struct process_engine *e, uint64_t ticket, enum engine_event event,
                          const char *name, const char *text);
void process_id(const struct process_engine *e, const char *name, char ret[PROCESS_ID_MAX]);
void process_held(struct process_engine *e);     /* one more object or handle */
void process_released(struct process_engine *e); /* one is gone; may be the last thing the engine sees */
void process_handle_closed(uv_handle_t *handle); /* a handle that was held; its data is the engine */
void process_free(struct process_engine *e);     /* one that never lived, or has nothing left */

struct process_call *process_call_new(struct process_engine *e, const struct process_call_ops *ops,
                                      uint64_t ticket, const char *name);
void process_call_queue(struct process_call *call); /* for the pool */
void process_call_free(struct process_call *call);
void process_pump(struct process_engine *e);

/* ---- process_armed.c ---- */
void process_prepare(struct process_call *call); /* takes it; `job` and what follows is set */
extern const struct process_call_ops process_prepare_ops;
struct process_armed *process_armed_find(struct process_engine *e, const char *name);
/* False: there is none that waits for it. */
bool process_armed_release(struct process_armed *armed, uint64_t ticket);
bool process_armed_waits(const struct process_armed *armed);
void process_armed_drop(struct process_armed *armed); /* its supervisor leaves; NULL is fine */
void process_armed_drop_all(struct process_engine *e);

/* ---- process_watch.c ---- */
void process_watch_start(struct process_engine *e, uint64_t ticket, const char *name, const char *host,
                         bool unresolved);
void process_watch_drop_all(struct process_engine *e);

/* ---- process_gone.c: attempts without their folder or its files ---- */
/* On the pool. alive: its lock is held. True: something of it lives; then status and result of the call say so. */
bool process_gone_runs(struct process_call *call, bool alive);
void process_gone_kill(struct process_call *call); /* on the pool */
/* A supervisor found its folder gone when it was to start, and has left. */
void process_gone_remember(struct process_engine *e, const char *name);
bool process_gone_never_ran(const struct process_engine *e, const char *name);

/* ---- process_sweep.c ---- */
void process_sweep(struct process_engine *e);
