/* Shared by the files of the coordinator over libzookeeper: zookeeper.c has the session and its connections,
 * zookeeper_request.c the requests and watches. No other file includes this.
 *
 * Invariants: `handle` is the library's, for ONE connection to one address; it is replaced after every loss.
 * A request is on `outstanding` from the library's acceptance to its answer, on `due` when it is to be
 * answered without the library, and nowhere when its owner was answered before the library (at close). The
 * library is entered only through functions that set `zookeeper_inside` before.
 *
 * One thread: the loop's, but for the end of a live session, which is waited for on the pool; nothing of
 * struct zookeeper is touched there.
 */
#pragma once

#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/zookeeper/zookeeper.h"
#include "leader/zookeeper/zookeeper_servers.h"

#include <zookeeper/zookeeper.h>

enum zookeeper_state {
    ZOOKEEPER_WAITING,    /* no handle; `timer` says when to try */
    ZOOKEEPER_CONNECTING, /* no session yet */
    ZOOKEEPER_PREPARING,  /* in session; the cluster's node is being made */
    ZOOKEEPER_DENIED,     /* in session; the cluster's node may not be made or seen */
    ZOOKEEPER_UP,
    ZOOKEEPER_CLOSING
};

/* Polls a duplicate of the library's descriptor, so that the library may close its own at any time. */
struct zookeeper_socket {
    struct object object;
    uv_poll_t poll;
    struct zookeeper *zk;
    int fd;
    int mask; /* polled for */
};

struct zookeeper_watch {
    char path[COORD_PATH_MAX];
};

struct zookeeper {
    struct object object;
    struct coord coord;
    uv_loop_t *loop;
    struct zookeeper_servers *servers;
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    uint64_t (*random)(void *arg);
    void *arg;
    char root[ZOOKEEPER_ROOT_MAX];
    char *digest;
    int64_t timeout_ms; /* asked for */
    int64_t granted_ms; /* by the ensemble, once it was asked */
    int root_rc;        /* of making the cluster's node */

    enum zookeeper_state state;
    zhandle_t *handle;
    struct zookeeper_socket *socket;
    uv_timer_t timer;     /* the library's wish, or the next try */
    uv_timer_t limit;     /* of one try; of a close */
    uv_prepare_t prepare; /* runs when the library has to be asked again before the loop waits */
    uv_idle_t idle;       /* runs when answers are due */
    uv_work_t work;       /* ends a live session */
    int open_handles;

    char address[ZOOKEEPER_SERVERS_ADDRESS_TEXT]; /* being tried, or connected to */
    clientid_t session;
    bool has_session; /* one to go on with */
    bool announced;   /* by `connected` */
    bool told;        /* `connected`, and not yet `lost` */
    bool established; /* the library said so, since this handle was made */
    bool broken;      /* the handle must go: a send failed, or the server disowned the session */
    bool closing;
    unsigned failures; /* tries in a row */
    uint64_t up_since_ms;
    uint64_t complained_ms;
    bool complained;
    int last_errno; /* of the library's last complaint */

    struct list outstanding, due;
    size_t requests, bytes;
    uint64_t answers; /* counted, to see whether a read brought one */
    char *buffer;     /* for data of a get */
    size_t buffer_size;
    struct zookeeper_watch watches[ZOOKEEPER_WATCHES_MAX];
    size_t watch_count;

    char why[512];
    char status[640];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Whose library call is under way: libzookeeper's log callback has no argument. */
extern _Thread_local struct zookeeper *zookeeper_inside;

/* zookeeper.c */
void zookeeper_touched(struct zookeeper *zk);          /* after the library was given a request */
void zookeeper_due(struct zookeeper *zk);              /* answers wait in `due` */
void zookeeper_prepared(struct zookeeper *zk, int rc); /* the cluster's node: ZOK, or why not */
void zookeeper_end(struct coord *coord, void (*done)(void *arg), void *arg);

/* zookeeper_request.c */
extern const struct coord_ops zookeeper_ops;
bool zookeeper_path_valid(const char *path);
/* Makes the cluster's node and those above it; zookeeper_prepared gets the result. */
void zookeeper_prepare_root(struct zookeeper *zk);
void zookeeper_answer_due(struct zookeeper *zk);
/* Answers COORD_LOST to all that is outstanding; the library may complete them later, without effect. */
void zookeeper_abandon(struct zookeeper *zk);
/* Says `changed` for every watch, and forgets them. */
void zookeeper_fire_watches(struct zookeeper *zk);
