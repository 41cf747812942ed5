/* The real coordinator: the table of leader/coordinator.h over libzookeeper (the single-threaded build) on a
 * libuv loop.
 *
 * It never gives up: servers that do not answer, names that do not resolve, an expired session and a refused
 * password are reported by `status`, the log and the events, and tried again, ever more slowly up to a limit.
 * Nothing of it blocks the loop: names are looked up on a thread with a deadline (leader/worker/resolve.h), a
 * session is ended on libuv's pool.
 *
 * `connected` is said once the cluster's own node is there and a write has gone through, so what is read
 * after it is no older than what was read before. After a reconnection `changed` is said for every watch
 * that was set: it may be, or not be, that something changed.
 *
 * Ownership: options are copied. One thread: the loop's. The process ignores SIGPIPE.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/base/log_level.h"
#include "leader/coordinator.h"
#include "leader/zookeeper/zookeeper_access.h"
#include "leader/zookeeper/zookeeper_answer.h"

#include <uv.h>

#define ZOOKEEPER_PORT                "2181" /* where none is named */
#define ZOOKEEPER_ROOT                "/cronsched"
#define ZOOKEEPER_SERVERS_MAX         16
#define ZOOKEEPER_TIMEOUT_MIN_MS      1000
#define ZOOKEEPER_TIMEOUT_MAX_MS      600000
#define ZOOKEEPER_REQUESTS_MAX        4096 /* under way; further ones are refused: COORD_FAILED */
#define ZOOKEEPER_BYTES_MAX           (32 * 1024 * 1024) /* of their data */
#define ZOOKEEPER_WATCHES_MAX         64                 /* paths */
#define ZOOKEEPER_ROOT_MAX            192                /* bytes of root and cluster */
#define ZOOKEEPER_DENIED_RETRY_MS     10000 /* access or password refused: an operator is at work */
#define ZOOKEEPER_CLOSE_MAX_MS        2000  /* for the ensemble to end the session */
#define ZOOKEEPER_COMPLAIN_EVERY_MS   60000 /* one log line while it stays away */
#define ZOOKEEPER_ANSWER_RETRY_MS     1000  /* after a second answer that ends the connection; doubles */
#define ZOOKEEPER_ANSWER_RETRY_MAX_MS 30000
#define ZOOKEEPER_ANSWER_FORGET_MS    (5 * 60 * 1000) /* without one: from the beginning */
#define ZOOKEEPER_REFUSED_MS          60000           /* as long a refusal stands for, when none follows */
#define ZOOKEEPER_SUSPECT_BYTES       (8 * 1024)      /* a smaller request is never taken for too large */
#define ZOOKEEPER_LIMIT_AGAIN_MS      (5 * 60 * 1000) /* a limit is looked for again at a connection after that */
#define ZOOKEEPER_CONFIG_MAX          8192            /* bytes of /zookeeper/config that are kept */
#define ZOOKEEPER_ACCESS_AGAIN_MS     10000 /* open nodes that are trusted: whether they are closed by now */
#define ZOOKEEPER_WORST_MS            60000 /* the worst write is that of the last one to two of these */

struct zookeeper_options {
    const char *servers; /* "HOST:PORT,HOST:PORT"; IPv6 as [::1]:2181 */
    const char *root;    /* NULL: ZOOKEEPER_ROOT */
    const char *cluster; /* its node is ROOT/CLUSTER */
    int64_t session_timeout_ms;
    /* All that is made is the first one's alone. NULL or none: everybody's. */
    const struct zookeeper_users *users;
    /* With users: nodes ("/epoch", up to a NULL) that have to be theirs alone, as the cluster's own node has, before
     * `connected` is said: what somebody else could have written is not believed. Borrowed; NULL: none. */
    const char *const *guarded;
    bool trust_open; /* go on all the same, and make nodes that are as open as the cluster's own */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    uint64_t (*random)(void *arg);
    void *arg;
};

/* ERR_INVALID: an option is invalid. The user sets coord->events before the loop runs. */
int zookeeper_open(struct coord **ret, uv_loop_t *loop, const struct zookeeper_options *options,
                   struct error *error);

/* Another list of servers, as in the options; the next connection goes by it. `keep`: the one that stands is kept, whatever
 * the list says. Otherwise one to a server that the list does not name ends (`lost`) once all names are known: within this
 * call, if they are addresses. ERR_INVALID, ERR_LIMIT: nothing has changed. */
int zookeeper_set_servers(struct coord *coord, const char *servers, bool keep, struct error *error);

/* What is known of the servers, for doctor, readyz and metrics. */
struct zookeeper_report {
    char refused[ZOOKEEPER_ANSWER_TEXT]; /* why writes are refused at present; "" */
    uint64_t refusals;                   /* answers that refused a write, since the start */
    uint64_t losses;                     /* connections lost */
    size_t request_max;                  /* see struct coord */
    int64_t worst_write_us;              /* from sending to the answer, of the last minutes */
    int64_t timeout_ms;                  /* of the session */
    char config[ZOOKEEPER_CONFIG_MAX];   /* /zookeeper/config; "": not read, or not there */
    bool users;                          /* there are some */
    char others[ZOOKEEPER_OTHERS_TEXT];  /* who else may use the nodes; "": nobody, or not known yet */
    const char *users_trouble; /* the caller's: what is wrong with the file of users; NULL: nothing */
};
void zookeeper_report(const struct coord *coord, struct zookeeper_report *ret);
