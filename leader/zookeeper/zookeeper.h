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

#include <uv.h>

#define ZOOKEEPER_PORT              "2181" /* where none is named */
#define ZOOKEEPER_ROOT              "/cronsched"
#define ZOOKEEPER_SERVERS_MAX       16
#define ZOOKEEPER_TIMEOUT_MIN_MS    1000
#define ZOOKEEPER_TIMEOUT_MAX_MS    600000
#define ZOOKEEPER_REQUESTS_MAX      4096               /* under way; further ones are refused: COORD_FAILED */
#define ZOOKEEPER_BYTES_MAX         (32 * 1024 * 1024) /* of their data */
#define ZOOKEEPER_WATCHES_MAX       64                 /* paths */
#define ZOOKEEPER_ROOT_MAX          192                /* bytes of root and cluster */
#define ZOOKEEPER_DENIED_RETRY_MS   10000 /* access or password refused: an operator is at work */
#define ZOOKEEPER_CLOSE_MAX_MS      2000  /* for the ensemble to end the session */
#define ZOOKEEPER_COMPLAIN_EVERY_MS 60000 /* one log line while it stays away */

struct zookeeper_options {
    const char *servers; /* "HOST:PORT,HOST:PORT"; IPv6 as [::1]:2181 */
    const char *root;    /* NULL: ZOOKEEPER_ROOT */
    const char *cluster; /* its node is ROOT/CLUSTER */
    int64_t session_timeout_ms;
    const char *digest; /* "user:password": all that is made is theirs alone. NULL: anybody's */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    uint64_t (*random)(void *arg);
    void *arg;
};

/* ERR_INVALID: an option is invalid. The user sets coord->events before the loop runs. */
int zookeeper_open(struct coord **ret, uv_loop_t *loop, const struct zookeeper_options *options,
                   struct error *error);
