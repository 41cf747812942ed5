/* Inside the docker engine. Kinds of object:
 *
 *   docker  the engine: its endpoint, its link (is it reachable?)
 *   task    one request of the scheduler, from submit to its answer (cronsched/engines/tasks/tasks.h); it has at most one
 *           HTTP request under way. Pulls and stops stand aside
 *   watch   the part of a WATCH task that lives as long as the container: its looks and its log
 *
 * A task goes by task_answer, task_answer_text or docker_answer_unreachable, after which it must not be touched: the host may
 * submit, abandon or close from within. Everything runs on the loop's thread.
 */
#pragma once

#include "cronsched/engines/docker/docker.h"
#include "cronsched/engines/docker/docker_api.h"
#include "cronsched/engines/tasks/lines.h"
#include "cronsched/engines/tasks/tasks.h"
#include "cronsched/io/file_reader.h"
#include "cronsched/io/variable_files.h"
#include "jobs/base/object.h"
#include "jobs/engine/docker_fence.h"
#include "jobs/engine/environment.h"
#include "jobs/state/record.h"

#include <stdbool.h>
#include <stdint.h>

#define DOCKER_PULLS_MAX       4 /* at once; each holds no place of `parallel` */
#define DOCKER_PULL_MS         (30 * 60 * 1000)
#define DOCKER_PULL_IDLE_MS    (5 * 60 * 1000)
#define DOCKER_CALL_MS         30000
#define DOCKER_START_MS        120000 /* a loaded engine takes long; then the outcome is unknown */
#define DOCKER_RETRY_FIRST_MS  100
#define DOCKER_RETRY_MAX_MS    5000
#define DOCKER_CREATE_TRIES    3
#define DOCKER_LOOK_MS         30000 /* watched containers are looked at at least so often */
#define DOCKER_LOOKS_AT_ONCE   8
#define DOCKER_LINE_MAX        (256 * 1024) /* one line of a stream of JSON */
#define DOCKER_SWEEP_MAX       64           /* containers that one sweep removes */
#define DOCKER_SWEEP_PAGE      64           /* containers in one list */
#define DOCKER_SWEEP_PAGES     1024         /* lists in one sweep */
#define DOCKER_CLOCK_MARGIN_MS 10000        /* a leader whose clock is so much ahead is none any more */
#define DOCKER_PATH_MAX        1024
#define DOCKER_WITNESS_MAX     96 /* a path that fits the name in an archive's header */
#define DOCKER_SEAL_BYTES      1536
#define DOCKER_ID_MAX          128
#define DOCKER_REFUSED_IDS     64
#define DOCKER_TICK_MS         100
#define DOCKER_FULL_MS         (15 * 60 * 1000) /* an error for want of space is told so long */

struct docker;
struct docker_logins;
struct docker_task;
struct docker_watch;
struct docker_prepared;
struct docker_stray;

enum docker_identity_state { DOCKER_IDENTITY_UNREAD, DOCKER_IDENTITY_KNOWN, DOCKER_IDENTITY_NONE };
enum docker_link { DOCKER_LINK_NEW, DOCKER_LINK_UP, DOCKER_LINK_DOWN };

struct docker {
    struct object object; /* first */
    struct engine engine;
    uv_loop_t *loop;
    struct engine_host *host;
    struct http_client *curl;
    bool own_curl;
    struct file_reader *reader; /* of what `from_file` names */
    char *name, *data_dir, *witness_prefix, *files_dir;
    json_t *allow;                       /* what jobs may ask for; NULL: not limited */
    struct variable_files_limits limits; /* of files of variables: these two */
    struct docker_logins *logins;
    struct docker_endpoint endpoint;
    char *tls_ca, *tls_cert, *tls_key;
    int64_t retention_ms, sweep_ms, ping_ms;

    enum docker_link link;
    char api[DOCKER_API_SIZE], version[DOCKER_VERSION_SIZE], why[200];
    char refused[160]; /* a call was certainly not sent, for this reason: the next probe starts with the loss
                        */
    bool live_restore;
    char daemon_id[128];
    int64_t clock_offset_ms; /* of the engine's clock, when the link came up; 0: not known */
    char log_driver[32];     /* of containers that name none */
    enum docker_identity_state
        identity_state;                 /* UNREAD: also when it may have changed; nothing is begun then */
    char identity[ENGINE_IDENTITY_MAX]; /* the last one that was read; "": none yet */
    char identity_why[160];             /* NONE: why it has none */
    bool identity_made;                 /* the mark has just been made */
    int failures;                       /* probes in a row */
    uint64_t link_number;               /* grows with each loss */
    struct http_call *probe;
    void (*probe_soon)(struct docker *d); /* by docker_link.c: the engine may be gone, ask it */

    struct http_call *events; /* of all our containers, while the link is up */
    struct lines event_lines;
    char boot_id[DOCKER_BOOT_ID_MAX]; /* as of this stream of events; "" : to be read */

    struct tasks tasks;
    int pulling, watched, looking, live_logs;

    /* The last ids whose start was answered "no such container": it was not started, and never will be. */
    char refused_ids[DOCKER_REFUSED_IDS][DOCKER_ID_MAX];
    size_t refused_next;

    struct docker_sweep *sweep; /* one that is under way */

    int foreign; /* containers of other clusters, as counted by the first sweep since the link is up */
    uint64_t foreign_link; /* that link_number, and 1; 0: not counted yet */

    char full[160];   /* the last error for want of space on its disk */
    uint64_t full_ms; /* when, by uv_now; 0: never, or a container has been made since */

    struct docker_prepared *prepared; /* by id: prepared here, and not watched yet */
    struct docker_stray *strays;      /* by id: running, although nobody keeps them */
    struct http_call *stray_call;
    int64_t stray_epoch; /* the last one in which they were looked for */

    uv_timer_t probe_timer, sweep_timer, look_timer, stray_timer;
};

typedef void docker_done(struct docker_task *task, const struct docker_reply *reply);

struct docker_task {
    struct object object; /* first */
    struct task task;     /* PREPARE: its id is the container's, its identity the engine's when it began */
    struct docker *docker;

    struct http_call *call; /* under way */
    docker_done *on_done;
    void (*begin)(struct docker_task *task); /* when it gets a place */
    void (*on_wake)(struct docker_task *task);
    int tries;

    bool pulled, pulling; /* PREPARE */
    char **files;         /* values of from_file, by index of the variable */
    char **sources;       /* PREPARE: of the volumes, as docker_create wants them */
    struct lines lines;   /* of a pull's progress; of a fence's events */
    char *pull_error,
        *pull_note; /* note: what has become of the credentials, for people; NULL: nothing to say */
    void (*after_pull)(struct docker_task *task);

    struct docker_fence fence; /* FENCE */
    struct http_call *stream;
    bool stream_opened, fence_fresh;      /* fresh: an event brought something new to do */
    char witness[DOCKER_WITNESS_MAX + 1]; /* also PREPARE */

    void (*boot_id_done)(struct docker_task *task, const char *boot_id);
    char failure[DOCKER_TEXT_MAX]; /* RELEASE: the text of the start's error */

    struct docker_watch *watch; /* WATCH, with its log */
    struct docker_log *log;
    void (*on_detach)(struct docker_task *task); /* releases both; NULL: none */
};

/* ---- docker_core.c: requests, tasks and places ---- */

struct docker_call {
    const char *method, *path, *query; /* query: NULL or escaped, without '?' */
    const char *body;                  /* JSON; or, with its size, a tar archive */
    size_t body_size;
    int64_t timeout_ms; /* 0: DOCKER_CALL_MS */
    size_t max_bytes;
    bool once;
};

/* Sends; `done` is called with the answer, unless the task is gone by then. A request that cannot even be
 * made is answered as not sent, from the loop. */
void docker_send(struct docker_task *task, const struct docker_call *call, docker_done *done);
/* The same without a task. The caller cancels *ret when it goes. NULL when out of memory or of calls. */
struct http_call *docker_open(struct docker *d, const struct docker_call *call,
                              const struct client_request *with, struct error *error);

/* The API's path of the task's container, and of what belongs to it: "/json", "". */
void docker_container_path(const struct docker_task *task, const char *what, char *ret, size_t size);
void docker_queue_again(struct docker_task *task, void (*begin)(struct docker_task *task));
/* As task_wake_in. */
void docker_wake_in(struct docker_task *task, int64_t ms, void (*on_wake)(struct docker_task *task));
struct docker_task *docker_task_new(struct docker *d, enum engine_op op,
                                    const struct engine_request *request);
struct docker_task *docker_task_at(const struct list *link); /* of a list of its engine's tasks */
/* As task_to_thread; and it gives its place to others. */
void docker_task_step_out(struct docker_task *task);
void docker_tasks_init(struct docker *d, int parallel);
void docker_cut_all(struct docker *d); /* the link is down: answers whatever is under way, but for watches */
void docker_handle_closed(uv_handle_t *handle); /* a handle that was held; its data is the engine */
void docker_free(struct docker *d);             /* one that never lived, or has nothing left */

/* A call got no answer: is the engine there? The link probes soon. */
void docker_link_suspect(struct docker *d, const struct docker_reply *reply);

/* ---- docker_link.c ---- */
void docker_link_start(struct docker *d);
void docker_link_stop(struct docker *d);
/* One more request of a probe; `done` takes d->probe back. What cannot be sent makes the probe fail. */
void docker_link_ask(struct docker *d, const struct docker_call *call,
                     void (*done)(void *arg, const struct http_answer *answer));
void docker_link_failed(struct docker *d, const struct docker_reply *reply); /* of a probe */
/* The probe's last step: the identity was read, or cannot be. replaced: it is another one than before. */
void docker_link_identified(struct docker *d, bool replaced);
/* The engine could not be asked, or not answered: UNREACHABLE. Also tells the link. */
void docker_answer_unreachable(struct docker_task *task, const struct docker_reply *reply);

/* ---- docker_identity.c ---- */
void docker_identity_read(
    struct docker *d); /* as a step of a probe: ends in docker_link_identified or _failed */
void docker_identity_doubt(
    struct docker *d); /* something of ours is not there: it is read again before anything else */
/* Whether the task's attempt was prepared on another engine; *text says so. */
bool docker_identity_differs(const struct docker *d, const struct docker_task *task, char *text, size_t size);
void docker_identity_path(const struct docker *d, char *ret, size_t size); /* of the mark, for a GET */
const char *docker_identity_of(const json_t *volume); /* what that GET tells; NULL: none */

/* ---- docker_create.c: pure ---- */
struct docker_create { /* beside the job; all borrowed */
    const char *cluster;
    const char *witness;
    const char *log_driver; /* the engine's default one */
    char *const *sources;   /* of the volumes, without links; NULL, or NULL for one: as the job has it */
};
json_t *docker_create_json(const struct docker_task *task, const struct docker_create *with,
                           const struct environment *environment);

/* ---- docker_confine.c: pure ---- */
void docker_confine_json(json_t *host, const struct job *job, const struct docker_create *with);

/* ---- docker_allow.c: pure ---- */
/* Whether a body of docker_create_json asks for what the configuration allows. ERR_DENIED, with the job's key. */
int docker_allow_check(const json_t *allow, const json_t *body, struct error *error);

/* ---- docker_witness.c ---- */
void docker_witness_path(const struct docker *d, const char *name, bool read_only, char *ret, size_t size);
bool docker_witness_has_volume(const char *witness);
int docker_witness_folder(const char *witness); /* bytes of the path of its volume; 0: it has none */
/* Whether an item of a list of containers was made under the name that its label tells: without that its labels prove
 * nothing, as an image may bear them. */
bool docker_witness_fits(const json_t *container);
void docker_witness_look(struct docker_task *task, docker_done *done);
/* What the reply says: *ret, whether the witness is there. A status of HTTP, 200 when *ret is known. */
/* An answer about the container's files: it is there, and the engine cannot mount what it mounts. */
bool docker_unmountable(const struct docker_reply *reply);
int docker_witness_seen(const struct docker_task *task, const struct docker_reply *reply, bool *ret);

/* ---- docker_seal.c: pure. The archive that puts a file in the place of a container's start witness. ---- */
void docker_seal_archive(const char *witness, char ret[DOCKER_SEAL_BYTES]);
/* Whether an archive holds `path`, without a slash at its end, as a folder or a file. */
bool docker_archive_holds(const char *archive, size_t size, const char *path);

/* ---- docker_json.c: pure ---- */
int docker_state_read(const json_t *inspect, struct docker_state *ret);
/* The path that the container was created with; "" when it is none of ours. */
void docker_witness_read(const json_t *inspect, char *ret, size_t size);
bool docker_changes_hold(const json_t *changes, const char *path);
/* The fact that a line of /events tells about container `id` (any when NULL); false: none. */
bool docker_event_read(const json_t *event, const char *id, struct docker_fact *ret);
/* Hexadecimal, and short enough to be kept: it becomes a part of paths. */
bool docker_id_valid(const char *id);

/* ---- docker_end.c: pure ---- */
struct docker_restart {
    int64_t network_ms; /* the default network was made; 0: not known */
    int64_t process_ms; /* the engine's process was started; 0: not known */
    int64_t host_ms;    /* its host was started; 0: not known */
    bool seen_away;     /* it went away after the container was last seen running */
    bool live_restore;  /* what runs lives on without it */
    bool zero;          /* its version is one that makes up a 0 */
};
enum docker_end_source {
    DOCKER_END_OWN,          /* what ran has ended by itself, and this is its exit code */
    DOCKER_END_MAYBE_ENGINE, /* its exit code, but the engine may have ended it */
    DOCKER_END_MADE_UP       /* the engine does not know how it ended */
};
/* Of a container that is over, and whose `die` was not seen. */
enum docker_end_source docker_end_judge(const struct docker_state *state,
                                        const struct docker_restart *restart);

struct docker_end {
    const struct docker_state *state; /* borrowed */
    enum docker_end_source source;
    int foreign_signal; /* sent through the engine by somebody else; 0: none */
    bool stopped;       /* by us */
    bool unread;        /* nobody was there to read what it wrote last */
};
/* Nobody has seen its end, and the engine was away then: what it had not taken out of the pipe is lost. */
bool docker_end_is_unread(const struct docker_state *state, const struct docker_restart *restart);
/* Writes what people should know beside the exit code; "" for an ordinary end. Returns the cause, as of engine_answer. */
const char *docker_end_explain(const struct docker_end *end, char *text, size_t size);
/* It was killed, it has a memory limit, and the engine does not say that it was for that. */
bool docker_end_may_be_oom(const struct docker_state *state);

/* ---- one file each ---- */
void docker_prepare_begin(struct docker_task *task);
void docker_release_begin(struct docker_task *task);
void docker_fence_begin(struct docker_task *task);
void docker_discard_begin(struct docker_task *task);
void docker_stop_begin(struct docker_task *task);
bool docker_id_refused(const struct docker *d, const char *id);

/* When its process and its host were started, by our clock. 0: it is not of this machine; or another process listens for
 * it. Does not block. */
void docker_starts_read(const struct docker *d, int64_t *ret_process_ms, int64_t *ret_host_ms);
/* Reads the host's boot identity now; NULL when it cannot be known. While the stream of events that was open
 * at the last reading lives, d->boot_id holds it. */
void docker_boot_id_read(struct docker_task *task,
                         void (*done)(struct docker_task *task, const char *boot_id));

/* ---- docker_prepared.c: was it started by somebody else before its release? ---- */
void docker_prepared_add(struct docker *d, const char *id); /* it is about to be found unstarted */
void docker_prepared_released(struct docker *d, const char *id);
/* A `start` event. False: it is not known here. */
bool docker_prepared_started(struct docker *d, const char *id);
/* True: since it was prepared every event was seen, and none of a start. False: look at it. */
bool docker_prepared_is_untouched(const struct docker *d, const char *id);
void docker_prepared_forget(struct docker *d, const char *id);
void docker_prepared_forget_all(struct docker *d);

/* ---- docker_stray.c: what runs although nobody keeps it ---- */
void docker_stray_timer_start(struct docker *d);
void docker_stray_soon(struct docker *d);
bool docker_stray_is(const struct docker *d, const char *id);
void docker_stray_forget_all(struct docker *d);

/* ---- docker_watch.c ---- */
void docker_watch_begin(struct docker_task *task);
void docker_watches_link_up(struct docker *d);
void docker_watches_link_down(struct docker *d);
void docker_watches_identified(struct docker *d);             /* those of another engine are told */
void docker_watch_stopping(struct docker *d, const char *id); /* a STOP of ours is on its way */
bool docker_watch_ends_by(struct docker *d, const char *id, int signal); /* it is one that asks it to end */
void docker_looks_timer_start(struct docker *d);
void docker_events_open(struct docker *d);
void docker_events_close(struct docker *d);

/* ---- docker_log_source.c ---- */
struct docker_log *docker_log_of(struct docker_task *task); /* of its container */

/* ---- docker_pull.c ---- */
/* Pulls the task's image, with the credentials for its registry, then begins again with `after`. Or answers. */
void docker_pull_begin(struct docker_task *task, void (*after)(struct docker_task *task));

/* ---- docker_sweep.c ---- */
void docker_sweep_timer_start(struct docker *d); /* the first one soon */
void docker_sweep_stop(struct docker *d);
