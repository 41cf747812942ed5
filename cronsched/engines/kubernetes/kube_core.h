/* Inside the kubernetes engine. Kinds of object:
 *
 *   kube   the engine: its access, its link (does the API answer?), its tasks (cronsched/engines/tasks/tasks.h), its spaces
 *   task   one request of the scheduler, from submit to its answer; it has at most one HTTP request under way
 *   watch  the part of a WATCH that lives as long as what it watches
 *   space  a namespace in which something is watched: its list, then its stream of changes
 *
 * A task goes by task_answer or task_answer_text, after which it must not be touched: the host may submit, abandon or close
 * from within. Everything runs on the loop's thread.
 */
#pragma once

#include "cronsched/engines/docker/docker_api.h"
#include "cronsched/engines/kubernetes/kube.h"
#include "cronsched/engines/kubernetes/kube_access.h"
#include "cronsched/engines/tasks/lines.h"
#include "cronsched/engines/tasks/tasks.h"
#include "cronsched/io/variable_files.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/engine/environment.h"
#include "jobs/engine/kube_fence.h"

#define KUBE_CALL_MS        30000
#define KUBE_RETRY_FIRST_MS 250
#define KUBE_RETRY_MAX_MS   10000
#define KUBE_BUSY_MAX_MS    30000 /* that Retry-After of a 429 or 503 may ask for */
#define KUBE_TRIES_MAX      5     /* of a request that certainly did nothing */
#define KUBE_LIST_BYTES_MAX (32 * 1024 * 1024)
#define KUBE_POD_BYTES_MAX  (4 * 1024 * 1024)
#define KUBE_BODY_BYTES_MAX                                                                                  \
    (1024 * 1024)         /* of a Pod that is made: what the API's store takes is not much more */
#define KUBE_NAME_MAX  64 /* of a namespace or an object of ours */
#define KUBE_UID_MAX   64
#define KUBE_ID_MAX    (2 * KUBE_NAME_MAX + KUBE_UID_MAX)
#define KUBE_PATH_MAX  1024
#define KUBE_GONE_IDS  64
#define KUBE_ARMED_MAX 256
#define KUBE_TICK_MS   50
#define KUBE_SWEEP_MAX 64 /* Pods that one sweep removes */
#define KUBE_PAGE      "200"

#define KUBE_GATE      "cronsched.io/release"
#define KUBE_FINALIZER "cronsched.io/evidence"
#define KUBE_CLUSTER   "cronsched.io/cluster" /* label */
#define KUBE_EPOCH     "cronsched.io/epoch"   /* annotation, as the next ones */
#define KUBE_RUN       "cronsched.io/run"
#define KUBE_JOB       "cronsched.io/job"
#define KUBE_ATTEMPT   "cronsched.io/attempt"
#define KUBE_TRY       "cronsched.io/try"
#define KUBE_MAIN      "main" /* the container whose end is the run's */

struct kube;
struct kube_task;
struct kube_watch;
struct kube_space;
struct kube_sweep;
struct kube_log;

enum kube_link { KUBE_LINK_NEW, KUBE_LINK_UP, KUBE_LINK_DOWN };

struct kube {
    struct object object; /* first */
    struct engine engine;
    struct tasks tasks;
    struct http_client *curl;
    bool own_curl;
    struct kube_access *access;
    struct file_reader *reader; /* of what `from_file` names */
    struct variable_files_limits limits;
    char *name, *data_dir, *files_dir;
    char *namespaces[KUBE_NAMESPACES_MAX]; /* [0] NULL: the login's own */
    int64_t retention_ms, sweep_ms, ping_ms;

    enum kube_link link;
    char version[64], why[256];
    char identity[ENGINE_IDENTITY_MAX]; /* "": not asked yet */
    bool own_identity;                  /* it is that of the engine's namespace */
    char trouble[200];                  /* which right is missing; "": none */
    char login_trouble[200];            /* why the access cannot be read again; "": it can */
    size_t right_at;                    /* that is asked for next */
    int64_t clock_ms;                   /* by how much its clock is ahead of ours */
    int failures;                       /* probes in a row */
    uint64_t losses;                    /* grows with each loss of the link */
    struct http_call *probe;
    uv_timer_t probe_timer, sweep_timer;

    struct list spaces;
    int watched, live_logs, looking;
    char gone_ids[KUBE_GONE_IDS][KUBE_ID_MAX]; /* not there when they were to be released: they never were */
    size_t gone_next;
    struct {
        char uid[KUBE_UID_MAX], version[KUBE_VERSION_MAX];
    } armed[KUBE_ARMED_MAX]; /* the last that were prepared here: released without another look */
    size_t armed_next;
    bool no_events;           /* events may not be listed */
    struct kube_sweep *sweep; /* one that is under way */
};

struct kube_reply {
    enum http_outcome outcome;
    int status;
    bool complete;
    const json_t *json; /* borrowed; NULL when the body is none */
    const char *reason; /* of a Status: "AlreadyExists"; "": none */
    int64_t date_ms, retry_ms;
    const char *text; /* the API's message, or why there is no answer; never NULL */
};

typedef void kube_done(struct kube_task *task, const struct kube_reply *reply);

/* The parts of an id. */
struct kube_id {
    char namespace[KUBE_NAME_MAX], name[KUBE_NAME_MAX], uid[KUBE_UID_MAX];
};

struct kube_task {
    struct object object; /* first */
    struct task task;
    struct kube *kube;
    struct kube_id id; /* of all but PREPARE */

    struct http_call *call; /* under way */
    kube_done *on_done;
    void (*on_wake)(struct kube_task *task);
    int tries;
    char refusal[KUBE_TEXT_MAX]; /* RELEASE: why an earlier try did nothing */

    char **files; /* PREPARE: values of from_file, by index of the variable */
    struct kube_fence fence;

    struct kube_watch *watch; /* WATCH, with its log */
    struct docker_log *log;
    struct kube_log *log_stream;
};

/* ---- kube_core.c: requests ---- */

struct kube_call {
    const char *method, *path; /* from /api on; or a whole one */
    const json_t *body;        /* borrowed; NULL: none */
    const char *type;          /* of the body; NULL: application/json */
    int64_t timeout_ms;        /* 0: KUBE_CALL_MS; -1: none */
    int64_t idle_ms;           /* 0: none */
    bool once;
    size_t max_bytes; /* 0: KUBE_POD_BYTES_MAX */
};
#define KUBE_MERGE     "application/merge-patch+json"
#define KUBE_STRATEGIC "application/strategic-merge-patch+json"

/* Sends; `done` is called with the answer, unless the task is gone by then. One that cannot even be made is answered as not
 * sent, from the loop. */
void kube_send(struct kube_task *task, const struct kube_call *call, kube_done *done);
/* The same without a task. The caller cancels *ret when it goes. NULL when out of memory or of calls, or without a login. */
struct http_call *kube_open(struct kube *k, const struct kube_call *call, const struct client_request *with,
                            struct error *error);
/* Makes a reply of an answer; *ret_json is to be dropped afterwards. */
struct kube_reply kube_read(struct kube *k, const struct http_answer *answer, json_t **ret_json);
bool kube_lost(const struct kube_reply *reply); /* no usable answer came */
bool kube_did_nothing(
    const struct kube_reply *reply); /* not sent, or refused before anything was done: 401, 429 */
void kube_wake_in(struct kube_task *task, int64_t ms, void (*on_wake)(struct kube_task *task));
/* The API could not be asked: UNREACHABLE. */
void kube_answer_unreachable(struct kube_task *task, const struct kube_reply *reply);
/* "TEXT; MORE" */
void kube_text_add(char *text, size_t size, const char *more);

const char *kube_namespace(const struct kube *k); /* where jobs run that name none; never NULL */
/* Where this job runs. False: its own words name one that the configuration does not. */
bool kube_job_namespace(const struct kube *k, const struct job *job, const char **ret);
bool kube_name_valid(const char *name); /* it becomes a part of paths */
bool kube_id_read(const char *id, struct kube_id *ret);
void kube_id_write(const struct kube_id *id, char ret[KUBE_ID_MAX]);
void kube_pod_path(char ret[KUBE_PATH_MAX], const struct kube_id *id, const char *rest);
/* ".../pods?labelSelector=...&REST" of a namespace: those of our cluster. */
void kube_list_path(const struct kube *k, char ret[KUBE_PATH_MAX], const char *namespace, const char *rest);
struct kube_task *kube_task_of(struct task *task);
void kube_free(struct kube *k); /* one that never lived, or has nothing left */

/* ---- kube_link.c ---- */
void kube_link_start(struct kube *k);
void kube_link_stop(struct kube *k);
/* A call got no answer: is the API there? Asks soon. */
void kube_link_suspect(struct kube *k);
extern const struct kube_access_events kube_link_access;
/* "kube=UID" of a namespace that was read. False: it makes no sense. */
bool kube_link_identity(const json_t *namespace, char ret[ENGINE_IDENTITY_MAX]);
/* The path of the namespace that tells the identity. */
void kube_link_identity_path(const struct kube *k, char ret[KUBE_PATH_MAX]);

/* ---- kube_pod.c, kube_volumes.c, kube_merge.c: pure ---- */
/* The body of POST .../pods. NULL: it is not UTF-8. */
json_t *kube_pod_json(const struct kube_task *task, const char *namespace, const char *cluster,
                      const struct environment *environment);
/* Texts in which the kubelet finds nothing to fill in; a new reference. */
json_t *kube_pod_literal(const char *text);
void kube_volumes_add(json_t *spec, json_t *container, const struct job *job);
/* A job's own `kubernetes`, put over the Pod that was made of its other keys: maps by key, lists of named things by name, as
 * kubectl's strategic merge has it. What the engine needs stays as it is. */
void kube_merge(json_t *pod, const json_t *own);
/* What of it may not be: "spec.nodeName: ...". False: nothing. */
bool kube_merge_fault(const json_t *own, char *text, size_t size);

/* ---- kube_pod_state.c: pure ---- */

/* What a Pod says of an attempt. */
struct kube_state {
    struct kube_id id;
    char version[KUBE_VERSION_MAX];
    bool gated, bound, deleting, finalizer; /* finalizer: ours is there */
    const char *cluster, *run;              /* borrowed; "": none */
    int64_t epoch, attempt;                 /* -1: none */
    int64_t created_ms;
    char node[KUBE_NAME_MAX * 4];
    enum engine_event event; /* PENDING, STARTED, ENDED, REFUSED, NEVER_RAN, UNKNOWN */
    bool permanent;          /* PENDING: waiting will not help */
    bool uncreated;          /* PENDING: its container cannot be made, as things are */
    bool roomless;        /* UNKNOWN: its Pod never had a sandbox, in which any container could have been */
    bool refused_by_node; /* NEVER_RAN: by the kubelet's admission */
    bool away;            /* STARTED: its node does not answer */
    bool by_others;       /* ENDED: not by itself, nor by its program */
    int starts;           /* of `main`; 0: not told */
    char container[96];   /* of `main`; "": none that is told */
    int64_t started_ms, at_ms;
    int exit_code;
    const char *cause;
    char text[KUBE_TEXT_MAX];
};
/* False: it is no Pod, or none that makes sense. *ret borrows from it. */
bool kube_state_read(const json_t *pod, struct kube_state *ret);

/* ---- one file each ---- */
void kube_prepare_begin(struct kube_task *task);
void kube_release_begin(struct kube_task *task);
void kube_stop_begin(struct kube_task *task);
void kube_discard_begin(struct kube_task *task);
void kube_fence_begin_task(struct kube_task *task);
bool kube_id_gone(const struct kube *k, const char *id);
void kube_release_armed(struct kube *k, const struct kube_state *pod); /* it was prepared just now */
/* Its finalizer off; the body of a PATCH, a new reference. */
json_t *kube_release_finalizer(const struct kube_id *id);

/* ---- kube_watch.c ---- */
void kube_watch_begin(struct kube_task *task);
void kube_watch_free(struct kube_task *task);
void kube_watch_stopping(struct kube *k, const char *id); /* a STOP of ours has been carried out */
void kube_watches_link_up(struct kube *k);
void kube_watches_link_down(struct kube *k);
/* A Pod was listed, has changed, or is gone. */
void kube_watch_saw(struct kube *k, const json_t *pod, bool gone);
/* The list of a namespace is over: what was not in it is looked at alone. */
void kube_watch_listed(struct kube *k, const char *namespace);
void kube_watch_listing(struct kube *k, const char *namespace);

/* ---- kube_space.c ---- */
void kube_space_want(struct kube *k, const char *namespace); /* something is watched there from now on */
void kube_space_leave(struct kube *k, const char *namespace);
void kube_spaces_link_up(struct kube *k);
void kube_spaces_link_down(struct kube *k);
void kube_spaces_free(struct kube *k);

/* ---- kube_events.c ---- */
void kube_events_path(const struct kube_id *id, char ret[KUBE_PATH_MAX]);
bool kube_events_read(const json_t *list, char *ret,
                      size_t size); /* the newest of them; false: there is none */

/* ---- kube_log_source.c ---- */
void kube_log_begin(struct kube_task *task);
void kube_log_end(struct kube_task *task);

/* ---- kube_sweep.c ---- */
void kube_sweep_timer_start(struct kube *k);
void kube_sweep_soon(struct kube *k); /* something has ended: it counts against quotas while it is there */
void kube_sweep_stop(struct kube *k);
