/* Inside the swarm engine. Kinds of object:
 *
 *   swarm  the engine: its managers, its link (does one of them answer?)
 *   task   one request of the scheduler, from submit to its answer (cronsched/engines/tasks/tasks.h); it has at most one HTTP
 *          request under way
 *   watch  the part of a WATCH that lives as long as what it watches
 *
 * "Task" is Swarm's word, too, for what runs of a service: here it is a swarm_state.
 *
 * A task goes by task_answer, task_answer_text or swarm_answer_unreachable, after which it must not be touched: the host may submit, abandon or close
 * from within. Everything runs on the loop's thread.
 */
#pragma once

#include "cronsched/engines/docker/docker_api.h"
#include "cronsched/engines/swarm/swarm.h"
#include "cronsched/engines/tasks/tasks.h"
#include "cronsched/io/variable_files.h"
#include "jobs/base/object.h"
#include "jobs/engine/environment.h"
#include "jobs/engine/swarm_fence.h"

#define SWARM_CALL_MS        30000
#define SWARM_RETRY_FIRST_MS 250
#define SWARM_RETRY_MAX_MS   5000
#define SWARM_CREATE_TRIES   3
#define SWARM_LOOKS_AT_ONCE  8
#define SWARM_SWEEP_MAX      64 /* services that one sweep removes */
#define SWARM_LIST_BYTES_MAX (32 * 1024 * 1024)
#define SWARM_ID_MAX         64
#define SWARM_PATH_MAX       1024
#define SWARM_GONE_IDS       64
#define SWARM_TICK_MS        50

struct docker_logins;
struct swarm;
struct swarm_task;
struct swarm_watch;
struct swarm_sweep;

enum swarm_link { SWARM_LINK_NEW, SWARM_LINK_UP, SWARM_LINK_DOWN };

struct swarm {
    struct object object; /* first */
    struct engine engine;
    uv_loop_t *loop;
    struct engine_host *host;
    struct http_client *curl;
    bool own_curl;
    struct file_reader *reader; /* of what `from_file` names */
    struct docker_logins *logins;
    struct variable_files_limits limits;
    char *name, *data_dir, *files_dir, *tls_ca, *tls_cert, *tls_key;
    struct docker_endpoint endpoints[SWARM_ENDPOINTS_MAX];
    int endpoint_count, at; /* at: the one that is spoken with */
    int64_t retention_ms, sweep_ms, ping_ms;

    enum swarm_link link;
    char api[DOCKER_API_SIZE], version[DOCKER_VERSION_SIZE], why[256];
    char cluster_id[SWARM_ID_MAX]; /* "": not asked yet */
    int nodes, managers;
    int64_t heartbeat_ms; /* of its dispatcher; 0: not told */
    int64_t history;      /* tasks that are kept of a service; -1: not told */
    int64_t clock_ms;     /* by how much its clock is ahead of ours */
    int failures;         /* probes in a row */
    uint64_t losses;      /* grows with each loss of the link */
    struct http_call *probe;

    struct tasks tasks;
    int watched, looking, live_logs;
    struct http_call *poll;
    int poll_failures; /* in a row */

    char guard_id[SWARM_ID_MAX],
        guard_cluster[SWARM_ID_MAX]; /* the start guard's config, "": none; of that Swarm */
    int64_t guard_ms;                /* of uv_now, when that was found; 0: never */

    /* The last ids that were not there when they were to be released: they never were, and never will be. */
    char gone_ids[SWARM_GONE_IDS][SWARM_ID_MAX];
    size_t gone_next;

    struct swarm_sweep *sweep; /* one that is under way */
    uv_timer_t probe_timer, poll_timer, sweep_timer;
};

typedef void swarm_done(struct swarm_task *task, const struct docker_reply *reply);

/* A service, as far as it matters; pure, of swarm_json.c. */
struct swarm_service {
    char id[SWARM_ID_MAX];
    uint64_t version;
    int64_t replicas;       /* -1: it is in no mode that has any */
    bool released, stopped; /* stopped: by swarm_spec_stopped */
    int64_t epoch, attempt; /* of its labels; -1: none */
    const char *cluster, *run;
    int64_t created_ms;
    json_t *spec; /* borrowed */
};

struct swarm_task {
    struct object object; /* first */
    struct task task;
    struct swarm *swarm;

    struct http_call *call; /* under way */
    swarm_done *on_done;
    void (*begin)(struct swarm_task *task); /* when it gets a place */
    void (*on_wake)(struct swarm_task *task);
    int tries;
    bool guarded; /* RELEASE: by the start guard */

    char **files;                              /* PREPARE: values of from_file, by index of the variable */
    void (*on_guard)(struct swarm_task *task); /* PREPARE: what is done once guard_id is known */
    char *auth;  /* PREPARE: the header with the credentials for its registry; NULL: none */
    json_t *ids; /* PREPARE: {"secrets": {NAME: ID}, "configs": {NAME: ID}} */
    struct swarm_fence fence;
    json_t *spec; /* FENCE: of the last look */

    struct swarm_watch *watch; /* WATCH, with its log */
    struct docker_log *log;
};

/* ---- swarm_core.c: requests, tasks and places ---- */

struct swarm_call {
    const char *method, *path; /* without the API's version */
    const json_t *body;        /* borrowed; NULL: none */
    int64_t timeout_ms;        /* 0: SWARM_CALL_MS; -1: none */
    const char *header;        /* one more; NULL: none */
    bool once;
    bool plain; /* the path has no version of the API in front of it */
};

/* To the manager that is spoken with. Sends; `done` is called with the answer, unless the task is gone by then. A request
 * that cannot even be made is answered as not sent, from the loop. */
void swarm_send(struct swarm_task *task, const struct swarm_call *call, swarm_done *done);
/* The same without a task. The caller cancels *ret when it goes. NULL when out of memory or of calls. */
struct http_call *swarm_open(struct swarm *s, const struct swarm_call *call,
                             const struct client_request *with, struct error *error);
/* "KIND?filters={...}", escaped: of what is told by `key` and `value`, and by a second pair unless its key is NULL. */
void swarm_list_path(char *ret, size_t size, const char *kind, const char *key, const char *value,
                     const char *key_2, const char *value_2);
void swarm_service_path(char ret[SWARM_PATH_MAX], const char *id, const char *rest);

/* As task_wake_in. */
void swarm_wake_in(struct swarm_task *task, int64_t ms, void (*on_wake)(struct swarm_task *task));
struct swarm_task *swarm_task_new(struct swarm *s, enum engine_op op, const struct engine_request *request);
struct swarm_task *swarm_task_at(const struct list *link); /* of a list of its engine's tasks */
void swarm_tasks_init(struct swarm *s, int parallel);
void swarm_handle_closed(uv_handle_t *handle); /* a handle that was held; its data is the engine */
void swarm_free(struct swarm *s);              /* one that never lived, or has nothing left */

/* No manager can have decided about a reading request, and another one may: there was no answer, or it has no leader. */
bool swarm_no_answer(const struct docker_reply *reply);
/* The Swarm could not be asked: UNREACHABLE, and another manager is tried. */
void swarm_answer_unreachable(struct swarm_task *task, const struct docker_reply *reply);

/* ---- swarm_link.c ---- */
void swarm_link_start(struct swarm *s);
void swarm_link_stop(struct swarm *s);
/* A call got no answer: is that manager there, or another one? Asks soon. */
void swarm_link_suspect(struct swarm *s);

/* ---- swarm_spec.c: pure ---- */
/* The body of POST /services/create. NULL: it is not UTF-8. */
json_t *swarm_spec_json(const struct swarm_task *task, const char *cluster,
                        const struct environment *environment);
/* A text in which Swarm finds no template. malloc'd. */
char *swarm_literal(const char *text);

/* ---- swarm_check.c: pure ---- */
bool swarm_constraint_valid(const char *text); /* KEY == VALUE or KEY != VALUE, of a key that nodes have */
bool swarm_name_valid(const char *name);       /* of a secret or a config */

/* ---- swarm_guard.c ---- */
#define SWARM_GUARD_PATH   "/.cronsched-guard"
#define SWARM_GUARD_FOLDER "/.cronsched-mark"
extern const unsigned char swarm_guard_program[]; /* made of start_guard.c by the build */
extern const size_t swarm_guard_program_size;     /* 0: there is none for this machine */
bool swarm_guard_fits(const struct job *job);     /* its entrypoint is known */
void swarm_guard_apply(json_t *spec, const char *config_id);
bool swarm_guard_is_applied(const json_t *spec);
/* Sees to it that guard_id is known where it matters for this task, then `next`, maybe from within. */
void swarm_guard_find(struct swarm_task *task, void (*next)(struct swarm_task *task));

/* ---- swarm_json.c: pure ---- */
bool swarm_service_read(const json_t *service, struct swarm_service *ret); /* ret borrows from it */
/* The spec with a constraint that no node meets. Of a task with that constraint: it is none of the attempt's, and never
 * starts. */
json_t *swarm_spec_stopped(const json_t *spec);
bool swarm_task_is_idle(const json_t *task);
/* The spec with another number of replicas, -1: the same, and a label with a number; a new reference. */
json_t *swarm_spec_changed(const json_t *spec, int64_t replicas, const char *label, int64_t value);
bool swarm_id_valid(const char *id); /* it becomes a part of paths */

/* What one of its tasks, the newest, says of an attempt. */
struct swarm_state {
    char id[SWARM_ID_MAX], node[SWARM_ID_MAX]; /* node "": none was found yet */
    enum engine_event event;                   /* PENDING, STARTED, ENDED, REFUSED, NEVER_RAN, UNKNOWN */
    bool leaving;                              /* it is to end, whoever said so */
    bool unplaced;                             /* leaving, and no node has it: it can no longer start */
    int count;                                 /* of tasks */
    int64_t at_ms; /* since when, by the node's or the manager's clock; 0: not told */
    int exit_code; /* -1: none */
    const char *cause;
    char text[SWARM_TEXT_MAX];
};
/* tasks: of this service alone. False: there is none, or none that makes sense. */
bool swarm_state_read(const json_t *tasks, struct swarm_state *ret);

/* ---- one file each ---- */
void swarm_prepare_begin(struct swarm_task *task);
void swarm_release_begin(struct swarm_task *task);
void swarm_stop_begin(struct swarm_task *task);
void swarm_discard_begin(struct swarm_task *task);
void swarm_fence_begin_task(struct swarm_task *task);
bool swarm_id_gone(const struct swarm *s, const char *id);

/* ---- swarm_watch.c ---- */
void swarm_watch_begin(struct swarm_task *task);
void swarm_watch_free(struct swarm_task *task);
const char *swarm_watch_task(const struct swarm_task *task); /* whose output it is, for the log */
void swarm_watch_stopping(struct swarm *s, const char *id);  /* a STOP of ours has been carried out */
void swarm_watches_link_up(struct swarm *s);
void swarm_watches_link_down(struct swarm *s);
void swarm_poll_soon(struct swarm *s);

/* ---- swarm_log_source.c ---- */
struct docker_log *swarm_log_of(struct swarm_task *task);

/* ---- swarm_sweep.c ---- */
void swarm_sweep_timer_start(struct swarm *s);
void swarm_sweep_stop(struct swarm *s);
