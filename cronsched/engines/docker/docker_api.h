/* What every engine that speaks Docker's HTTP API shares: where it listens, what it answers, what its JSON means, and
 * how its output is kept. No state of an engine.
 *
 * Ownership as said at each. One thread, the loop's; what is marked pure may be used from any.
 */
#pragma once

#include "cronsched/io/http_client.h"
#include "jobs/base/error.h"
#include "jobs/definition/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define DOCKER_LIVE_LOGS_MAX  256    /* followed while they run; others are read at the end */
#define DOCKER_LOG_END_MS     30000  /* to read the rest of a log after the end, from its last piece */
#define DOCKER_LOG_WHOLE_MS   600000 /* from the end */
#define DOCKER_LOG_PER_BYTE   16 /* bytes of the stream for each that is kept: a frame has 8 of its own, */
#define DOCKER_LOG_MORE       (1024 * 1024) /* and so much in any case */
#define DOCKER_LOG_REMARK_MAX 512

/* ---- docker_endpoint.c: pure ---- */

struct docker_endpoint {
    char *text;        /* as it is configured */
    char *unix_socket; /* NULL: TCP */
    char *base_url;
};

/* unix:///PATH, or tcp://, http://, https://HOST[:PORT] without a path. tls: tcp:// and http:// speak it as well. ERR_INVALID;
 * *ret is to be released in any case. */
int docker_endpoint_read(struct docker_endpoint *ret, const char *text, bool tls, struct error *error);
void docker_endpoint_release(struct docker_endpoint *endpoint);

/* ---- docker_reply.c ---- */

#define DOCKER_API_NEWEST   47 /* 1.47; what a newer engine has to offer is not needed */
#define DOCKER_API_OLDEST   40
#define DOCKER_API_SIZE     16 /* of "/v1.41" */
#define DOCKER_VERSION_SIZE 64

struct docker_reply {
    enum http_outcome outcome;
    int status;
    bool complete;
    json_t *json; /* borrowed; NULL when the body is none */
    const char *body;
    size_t size;      /* of the body, which may hold null bytes */
    int64_t date_ms;  /* the engine's clock; 0: not told */
    const char *text; /* the engine's message, or why there is no answer; never NULL */
};

/* Makes a reply of an answer; *ret_json is to be dropped afterwards. */
struct docker_reply docker_read(const struct http_answer *answer, json_t **ret_json);
bool docker_lost(const struct docker_reply *reply); /* no usable answer came */
/* The version of the API that is spoken with an engine, as its paths begin, and its own version, both from the answer to
 * /version. False: there is none that both know. */
bool docker_api_choose(const json_t *version, char ret_api[DOCKER_API_SIZE],
                       char ret_version[DOCKER_VERSION_SIZE]);

/* ---- docker_json.c: pure ---- */

int64_t docker_time_read(const char *text); /* ms; 0 for the zero time, and for what is none */
bool docker_signal_valid(const char *text); /* a number, or a name with or without SIG */
/* A label's whole number; -1: it is none, or too large. */
int64_t docker_number_read(const char *text);
/* The clock in the answer to /info, minus ours; 0: it has none. */
int64_t docker_clock_offset_ms(const json_t *info, int64_t now_ms);
int64_t docker_ms_of(int64_t seconds); /* 0: before 1970, or no time that can be */

/* ---- docker_confine.c: pure; parts of a body, of which the caller owns the reference ---- */

json_t *docker_strings_json(const struct strings *list);
json_t *docker_ulimits_json(json_t *ulimits); /* of a job; NULL: an empty list */

/* ---- docker_logs.c: output is kept in an attempt's log ---- */

struct docker_log;

/* Where the output comes from. Borrowed texts and pointers live until docker_log_free; `engine` and `ops` until
 * ops->release has been called for each hold. */
struct docker_log_source {
    const struct docker_log_ops *ops;
    uv_loop_t *loop;
    void *engine, *task;
    const char *data_dir, *run;
    int attempt;
    int64_t keep_bytes;
    int *live;    /* followed ones of the engine, at most DOCKER_LIVE_LOGS_MAX */
    bool endless; /* a stream that is followed does not end with what writes to it */
};

struct docker_log_ops {
    /* GET of its output, with this query. NULL: it cannot be asked. */
    struct http_call *(*open)(void *task, const char *query, const struct client_request *with);
    /* After so many ms docker_log_wake is to be called, from the loop; a new time replaces the old. */
    void (*wake_in)(void *task, int64_t ms);
    bool (*reachable)(void *engine);
    uint64_t (*losses)(void *engine); /* grows with each loss of the engine */
    void (*hold)(void *engine);       /* the engine must not go before its release */
    void (*release)(void *engine);
};

struct docker_log *docker_log_new(const struct docker_log_source *source);
/* Follows the output from now on; nothing when it does already, or when too many do. */
void docker_log_follow(struct docker_log *log);
/* It has ended: reads what is missing, then `done`, maybe from within, with a remark or NULL. */
void docker_log_finish(struct docker_log *log, void (*done)(void *task, const char *remark));
void docker_log_wake(struct docker_log *log);
void docker_log_free(struct docker_log *log); /* at once, whatever is under way; NULL is fine */
