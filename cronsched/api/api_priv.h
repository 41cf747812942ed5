/* What the files of the API share. api.c: the routes, start and end; api_wait.c: waiting for the journal
 * and for history; api_jobs.c, api_runs.c, api_history.c, api_logs.c, api_status.c, api_cluster.c, api_session.c,
 * api_doctor.c, api_metrics.c: the handlers; api_view.c: what is hidden from readers; api_body.c: checks of what comes in; api_query.c: of query keys. Only the
 * API and its tests include this.
 */
#pragma once

#include "cronsched/api/api.h"
#include "cronsched/api/loop_gap.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/base/text.h"
#include "leader/worker/loop.h"
#include "leader/worker/worker.h"

#define API_INSECURE_OPEN                                                                                    \
    "insecure: true: everybody who reaches an address of this server may run anything here"
#define API_INSECURE_TOKENS                                                                                  \
    "insecure: true: what would be refused is served: tokens and results may pass unencrypted"

#define API_USELESS                                                                                          \
    "over TCP nobody has a role here but those who log in by 'cronsched ui', since there is no tokens_file"

#define API_LINKS_MAX 16
#define API_LINK_MS   (2 * 60 * 1000)

/* A link by which somebody may log in, once. */
struct api_link {
    char digest[65]; /* of its code */
    struct auth_identity who;
    int64_t until_ms; /* boot time; 0: there is none */
};

struct api {
    struct object object; /* first */
    struct api_context context;
    struct api_options options;
    uv_loop_t *loop;
    struct auth *auth;
    struct http *http;
    struct loop_gap gap;
    struct worker *probes; /* doctor's looks at what may hang */
    struct worker *work;   /* what requests compute and read off the loop; NULL: no thread could be made */
    uv_fs_poll_t tokens_poll;
    bool *taken; /* by others: by index of options.listen */
    size_t taken_count;
    uv_timer_t relisten;        /* runs while some are */
    uv_timer_t clock;           /* runs while reads wait */
    struct list waits, queries; /* answers outstanding */
    struct list streams;        /* logs being read */
    struct list answers;        /* large ones in the making, in line for the next turn */
    struct loop_turn rows_turn;
    size_t stream_count;
    struct event_ring *events; /* what happened last */
    struct list subscribers;   /* who listens */
    size_t subscriber_count;
    uv_timer_t events_timer;
    bool events_soon; /* the timer is set for what there is to send */
    struct api_link links[API_LINKS_MAX];
    size_t link_next;
    size_t work_count; /* pieces of `work` */
    int handles;       /* not yet closed */
    bool auditing;     /* rows are being read for one, or it is being computed */
    bool has_read;     /* the journal, once */
    bool closing, http_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Answers /metrics: `before`, and those of jobs. False: there are none of jobs to be told here. */
bool api_job_metrics_reply(struct api *api, struct http_request *request, const char *before);

/* ---- who sees what (api_view.c) ---- */

/* What this caller may see of it. Takes the reference; returns one, NULL: no memory. */
json_t *api_view(const struct auth_identity *who, json_t *json);
json_t *api_view_of(enum auth_role role, json_t *json);

/* Forwards it to the leader, which answers; false: this replica leads, or is asked by one that forwards. A standby does
 * so before it says that there is no such thing: it may be behind. */
bool api_pass_on(struct api *api, struct http_request *request);

/* ---- waiting (api_wait.c) ---- */

/* Whether this replica has read the journal to its end, once since it began: before, it knows nothing. */
bool api_has_read(struct api *api);

/* Calls `then` when all that is in flight is durable, or API_READ_WAIT_MS have passed. Before the journal was read it
 * answers ERR_NO_LEADER. A standby that follows no leader, or is behind, marks its answers as stale. */
void api_read(struct api *api, struct http_request *request,
              void (*then)(struct api *api, struct http_request *request));

/* For a scheduler_… call that failed or gave a reply: `r` is what it returned. */
void api_write_result(struct api *api, struct http_request *request, int r,
                      const struct scheduler_result *result);

/* Asks history; `then` gets the result (borrowed) and `more` (whose reference this takes). An error answers.
 */
void api_query(struct api *api, struct http_request *request, const struct history_query *query,
               void (*then)(struct api *api, struct http_request *request, json_t *result, json_t *more),
               json_t *more);

/* The same with something of the caller's, which is released once, after `then` or without it. */
void api_query_with(struct api *api, struct http_request *request, const struct history_query *query,
                    void (*then)(struct api *api, struct http_request *request, json_t *result, void *arg),
                    void (*release)(void *arg), void *arg);

/* ---- large answers, made a piece at a time (api_rows.c) ---- */

#define API_ROWS_TURN_MS         8           /* of all of them in one turn of the loop */
#define API_ROWS_PIECE           32          /* rows, about: well below a millisecond */
#define API_ROWS_WHOLE_BYTES     (64 * 1024) /* an answer within that is no stream */
#define API_ROWS_PIECE_BYTES_MAX (8 * 1024 * 1024)

/* What makes an answer: a struct that begins with this. The loop's thread. */
struct api_rows {
    /* Adds about API_ROWS_PIECE rows of JSON to the text. 0: there is more; 1: that was the end; ERR_NOMEM; ERR_DEPOSED: the state
     * that they are of is gone. */
    int (*next)(struct api_rows *rows, struct text *text);
    /* Releases some of what it holds, at any time. True: all of it, and itself. */
    bool (*release)(struct api_rows *rows);
    enum auth_role role; /* of the caller; set by api_rows_reply */
    const char *type;    /* NULL: JSON */
    size_t whole;        /* bytes within which it is no stream; 0: API_ROWS_WHOLE_BYTES */
};

/* Answers 200 with `begin` and these rows, which it takes; NULL: out of memory. The route must be heavy (http.h). */
void api_rows_reply(struct api *api, struct http_request *request, const char *begin, struct api_rows *rows);
void api_rows_turn(void *api);
/* The elements and "]". Takes the reference, which must be the only one. NULL: out of memory. */
struct api_rows *api_rows_of_array(json_t *array);
/* Adds what the caller may see of the row. */
int api_rows_add(const struct api_rows *rows, struct text *text, const char *before, json_t *row);

/* Rows of a walk, which it takes, with the filter that the walk borrows (NULL: none). NULL: out of memory. */
struct api_rows *api_job_rows(struct scheduler_walk *walk, struct filter *filter, bool named,
                              const char *end);

/* Computes or reads on the API's own threads: libuv's are for starts and for the output of attempts, which wait for no
 * request. `done` is called from the loop: with 0, or with ERR_LIMIT when too many wait and `run` was not called. */
void api_work_submit(struct api *api, struct work *work);
#define API_WORK_REFUSED "more requests wait to be computed than may; try again"

/* Users of it, such as a piece of work: counted, so that api_close waits for them. */
void api_work_begin(struct api *api);
void api_work_end(struct api *api);

/* Frees the API once the server is gone, the pool's work is done and no log is read; until then it does
 * nothing. */
void api_close_if_idle(struct api *api);

/* ---- where it is served (api_listen.c) ---- */

int api_listen(struct api *api, struct error *error);
/* An address that another program has; NULL: none. */
const char *api_address_taken(const struct api *api);
/* One of TCP at which nobody but replicas has a role; NULL: none. */
const char *api_address_useless(const struct api *api);
struct auth_options api_auth_options(const struct api_options *options);

/* ---- what comes in (api_body.c). Pure. ---- */

enum body_type { BODY_TEXT, BODY_TIME, BODY_BOOL, BODY_INTEGER, BODY_OBJECT };
struct body_key {
    const char *name;
    enum body_type type;
    bool needed;
    int64_t least, most; /* of an integer; most: bytes of a text */
};
/* Only known keys, of their types and within bounds; body NULL is an empty one. The error begins with `what`.
 */
int api_body_check(const char *what, const json_t *body, const struct body_key *keys, size_t count,
                   struct error *error);
/* A key that api_body_check found to be a time; `absent` when it is not there. */
int64_t api_body_time(const json_t *body, const char *name, int64_t absent);

extern const struct body_key api_body_pause[], api_body_backfill[], api_body_cancel[];
extern const size_t api_body_pause_count, api_body_backfill_count;

/* ---- query keys (api_query.c). False: the request has been answered with what is wrong. ---- */
const char *api_query_text(struct http_request *request,
                           const char *name); /* NULL: absent, or empty as a form sends it */
bool api_query_time(struct http_request *request, const char *name, int64_t *ret_ms);
bool api_query_duration(struct http_request *request, const char *name, int64_t *ret_ms);
bool api_query_int(struct http_request *request, const char *name, int least, int most, int *ret);
bool api_query_word(struct http_request *request, const char *name, const char *const *words, size_t count,
                    const char **ret);
bool api_param_run(struct http_request *request, const char *run); /* it is a run id */

/* ---- the cluster (api_cluster.c) ---- */
json_t *api_cluster_json(const struct api_context *context); /* a new reference; NULL: not in a cluster */
int api_replicas_present(
    const json_t *cluster); /* members that take part, of what api_cluster_json gave; NULL: 0 */
/* Its list of servers; NULL: not in a cluster. */
const char *api_zookeeper(const struct api_context *context, struct zookeeper_report *ret);
bool api_clock_held(const struct api_context *context, int64_t *ret_jump_ms); /* see clock_held */
bool api_following(const struct api_context *context); /* a standby that is up to date with a leader */
/* Why this replica neither leads nor follows; returns text. */
#define API_REFUSING_SIZE 600
const char *api_refusing(const struct api_context *context, char text[API_REFUSING_SIZE]);

/* ---- the handlers ---- */

#define API_HANDLERS(X)                                                                                      \
    X(jobs)                                                                                                  \
    X(job)                                                                                                   \
    X(job_delete)                                                                                            \
    X(pause)                                                                                                 \
    X(resume)                                                                                                \
    X(trigger)                                                                                               \
    X(backfill)                                                                                              \
    X(pause_all)                                                                                             \
    X(resume_all)                                                                                            \
    X(defs)                                                                                                  \
    X(apply)                                                                                                 \
    X(events)                                                                                                \
    X(runs)                                                                                                  \
    X(run)                                                                                                   \
    X(logs)                                                                                                  \
    X(kill)                                                                                                  \
    X(explain)                                                                                               \
    X(audit)                                                                                                 \
    X(records)                                                                                               \
    X(cluster)                                                                                               \
    X(takeovers)                                                                                             \
    X(init)                                                                                                  \
    X(join)                                                                                                  \
    X(forget)                                                                                                \
    X(recover)                                                                                               \
    X(step_down)                                                                                             \
    X(accept_clock)                                                                                          \
    X(peer_engine)                                                                                           \
    X(peer_heartbeat)                                                                                        \
    X(peer_history)                                                                                          \
    X(doctor)                                                                                                \
    X(whoami)                                                                                                \
    X(session)                                                                                               \
    X(session_end)                                                                                           \
    X(login_link)                                                                                            \
    X(stats)                                                                                                 \
    X(buckets)                                                                                               \
    X(upcoming)                                                                                              \
    X(version)                                                                                               \
    X(healthz)                                                                                               \
    X(readyz)                                                                                                \
    X(leaderz)                                                                                               \
    X(metrics)

/* Of these, those that a standby passes on to the leader. */
#define API_LEADER_HANDLERS(X)                                                                               \
    X(job_delete)                                                                                            \
    X(pause)                                                                                                 \
    X(resume)                                                                                                \
    X(trigger)                                                                                               \
    X(backfill)                                                                                              \
    X(pause_all)                                                                                             \
    X(resume_all)                                                                                            \
    X(apply)                                                                                                 \
    X(kill)                                                                                                  \
    X(step_down)

#define X(name) void api_handle_##name(struct http_request *request, void *arg);
API_HANDLERS(X)
#undef X

/* The member's text; "": there is none. */
const char *api_text(const json_t *object, const char *key);

/* The run of that id among the rows of the live state or of history; borrowed from `runs`. */
json_t *api_find_run(json_t *runs, const char *id);

/* ---- api_proofs.c: what drills of engines have found ---- */
void api_proofs_read(const char *dir, char *ret,
                     size_t size); /* as it is kept in that folder; "": nothing. Blocks */
/* "; at most one start, proved on ..." of an engine that answers, else "". False: it has failed its drill. */
bool api_proofs_tell(const json_t *proofs, const struct engine *engine, const struct engine_status *status,
                     char *ret, size_t size);
