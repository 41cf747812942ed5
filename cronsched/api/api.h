/* The HTTP API of a replica: /v1/..., /healthz, /readyz, /leaderz, /metrics. The contract is contrib/openapi.yaml;
 * contrib/guide/architecture.md has it in words ("Words and shapes").
 *
 * A read first waits until what is in flight is durable (API_READ_WAIT_MS at most: then it is answered with
 * what is known, and the header Cronsched-Stale says so); a write is answered once it is durable. Reads see
 * the live state, and history behind it.
 *
 * What the context points to is borrowed and outlives the API: call api_close, wait for its done, and only
 * then take the rest down. Answers of the scheduler and of history that come later still are dropped safely,
 * as long as they come before their loop ends. One thread: the loop's.
 */
#pragma once

#include "cronsched/http/http.h"
#include "jobs/engine/engine.h"
#include "jobs/history/history.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/state/journal.h"
#include "leader/zookeeper/zookeeper.h"

#define API_READ_WAIT_MS              2000
#define API_RUNS_LIMIT                1000 /* rows when the caller names no number */
#define API_APPLY_BYTES_MAX           (8 * 1024 * 1024)
#define API_PEER_BYTES_MAX            (128 * 1024)
#define API_AUDIT_MS                  (10 * 60 * 1000)
#define API_LOG_STREAMS_MAX           64
#define API_LOG_STREAMS_CALLER        16   /* of one caller */
#define API_LOG_STREAMS_KEPT          16   /* only admins get the last ones */
#define API_LOG_POLL_MS               250  /* how often a log that is followed is looked at */
#define API_JOB_PAGE_MAX              1000 /* rows of a page of jobs */
#define API_METRICS_TYPE              "text/plain; version=0.0.4; charset=utf-8"
#define API_EVENTS_SUBSCRIBERS_MAX    256
#define API_EVENTS_SUBSCRIBERS_CALLER 8
#define API_METRICS_BYTES_MAX         (4 * 1024 * 1024)
#define API_WORK_THREADS              3     /* for what requests compute and read */
#define API_STUCK_MS                  10000 /* a database of ours that has not answered for so long: not ready */
#define API_PROBE_MS                  10000 /* doctor waits so long for a disk, or for ZooKeeper */
#define API_WAL_WARN_BYTES                                                                                   \
    (INT64_C(256) << 20) /* of history.db-wal: somebody keeps it from being taken over */
#define API_SPACE_WARN_BYTES (INT64_C(1) << 30)  /* doctor: a warning below this much free space, */
#define API_SPACE_BAD_BYTES  (INT64_C(64) << 20) /* an error below this */

/* What the cluster does for the API of one of its replicas. */
struct api_cluster_ops {
    json_t *(*json)(void *arg);   /* the contract's shape, a new reference */
    bool (*following)(void *arg); /* this standby is up to date with a leader */
    bool (*has_read)(void *arg);  /* this replica has read the journal to its end, once since it began */
    /* Why this replica is not a part of its cluster, with the command that helps; NULL: nothing is known against it.
     * Returns text. */
    const char *(*refusing)(void *arg, char *text, size_t size);
    /* Answers what another replica asks of this one's engines. */
    void (*peer_engine)(void *arg, struct http_request *request);
    /* Answers that this replica lives, whether it leads, and its clock. */
    void (*peer_heartbeat)(void *arg, struct http_request *request);
    /* Forwards a request to the leader, and answers it. */
    void (*forward)(void *arg, struct http_request *request);
    /* The log of this attempt is not all here: it is written at another replica, or (`over`) a copy is
     * still to come. id: the engine's, NULL: none yet. */
    bool (*log_elsewhere)(void *arg, const char *run, int attempt, const char *id, bool over);
    /* Forwards a request for a log to the replica that has it, and answers it. path: with its query. */
    void (*log_pass)(void *arg, struct http_request *request, const char *id, const char *path, bool follow);
    /* Hands the leadership over. */
    int (*step_down)(void *arg, struct error *error);
    /* What is known of ZooKeeper; returns its list of servers, as configured. May be NULL: there is none. */
    const char *(*zookeeper)(void *arg, struct zookeeper_report *ret);
    /* Makes a cluster (NULL: of the configured id), joins this one, goes on from what ZooKeeper ("tree") or this
     * replica (its id) holds. 0: it is under way, and `json` shows how it ends. */
    int (*init)(void *arg, const char *cluster, struct error *error);
    int (*join)(void *arg, const char *cluster, struct error *error);
    int (*recover)(void *arg, const char *from, const char *by, struct error *error);
    /* This process: another text with each start. */
    const char *(*process)(void *arg);
    /* That replica is no part of the cluster any more, as far as this one is concerned. ERR_NOT_FOUND: it is not known;
     * ERR_CONFLICT: it is there. */
    int (*forget)(void *arg, const char *replica, struct error *error);
};

struct worker; /* leader/worker/worker.h */

struct api_context {
    struct scheduler *scheduler;
    struct history *history;
    struct journal *journal;
    const struct worker *history_worker; /* whose threads the history works on; NULL: not known */
    struct engine *const *engines;
    size_t engine_count;
    struct zone_source *zones;
    /* Where an audit, on a thread of its own, reads zones. NULL: TZDIR, or the system's. */
    const char *zones_dir;
    int64_t late_grace_ms; /* the scheduler's; 0: 60 s */
    const char *data_dir;  /* holds the logs */
    const char *cluster;   /* its name */
    const char *replica;
    const char *advertise; /* URL, or NULL */
    int expected_replicas; /* 0: nobody has said how many there are to be */
    int64_t started_ms;    /* when this process began */

    int64_t (*wall_ms)(void *arg);
    /* May be NULL. */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);

    /* With a replicated journal, both NULL with the embedded one: this replica is the whole cluster then. */
    const struct api_cluster_ops *cluster_ops;
    void *cluster_arg;
    /* The wall clock was set and is not followed: by how much. May be NULL. */
    bool (*clock_held)(void *arg, int64_t *ret_jump_ms);
    void (*accept_clock)(void *arg); /* a person says that the wall clock is right. May be NULL */
    void *arg;
};

struct api_options {
    struct api_context context;
    char *const *listen; /* as http_listen takes them */
    size_t listen_count;
    const char *tokens_file, *tls_cert, *tls_key; /* NULL: none */
    /* of the unix sockets: their files' mode (0: 0660) and group (NULL: the process's own) */
    mode_t socket_mode;
    const gid_t *socket_group;
    bool insecure, loopback_read;
    int metrics_jobs;   /* so many jobs have metrics of their own */
    char *const *hosts; /* names of this server in a Host header, beside `advertise` */
    size_t host_count;
    struct http_options limits; /* only its limits are used; 0: the defaults */
};

struct api;

extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* Listens. Copies the options but not what they point to, which must outlive it. */
int api_start(struct api **ret, uv_loop_t *loop, const struct api_options *options, struct error *error);

/* Tells each fault for which api_start would fail or an address would not be served, without listening or a loop. It looks
 * at the part of the options below `context`, and at its advertise and data_dir. */
void api_check(const struct api_options *options, void (*fault)(void *arg, const struct error *error),
               void *arg);

/* Reads the tokens and certificates again, as after SIGHUP; a changed tokens_file is noticed without it as
 * well. What is wrong is logged by the caller, and stays as it was. */
int api_reload(struct api *api, struct error *error);

/* What a batch changed, now that it is durable: for those who listen to /v1/events. Lent. */
void api_seen(struct api *api, const struct history_write *write);

/* By which other replicas are known. */
void api_set_secret(struct api *api, const char *secret);

/* Answers what waits, stops listening; done is called once, from the loop. */
void api_close(struct api *api, void (*done)(void *arg), void *arg);
