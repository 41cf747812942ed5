/* Shared by the files of the coordinator over libzookeeper: zookeeper.c has the session and its connections,
 * zookeeper_request.c the requests and watches, zookeeper_limit.c how much a server takes in one, zookeeper_report.c
 * what was learnt of the servers. No other file includes this.
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
#include "leader/worker/loop.h"
#include "leader/zookeeper/zookeeper.h"
#include "leader/zookeeper/zookeeper_servers.h"

#include <assert.h>
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

/* How much a server takes in one request: a search, each step on a connection that it may cost. */
struct zookeeper_limit {
    bool looked;           /* the search has begun once */
    size_t lost;           /* the largest request that was under way at the last loss */
    size_t suspect;        /* where the search begins; 0: none is under way */
    size_t passed, failed; /* the largest that was taken, the smallest that was not; 0: none */
    size_t probing;        /* 0: no probe is under way */
    int inconclusive;      /* probes without an answer, in a row */
    uint64_t found_ms;     /* when request_max was found */
};

struct zookeeper_learnt {
    int refused; /* the code; 0: writes are taken */
    uint64_t refused_ms, refusals, losses;
    int64_t worst_us[2]; /* of this window, and of the one before */
    uint64_t window_ms;  /* when this one began */
    char config[ZOOKEEPER_CONFIG_MAX];
};

struct zookeeper {
    struct object object;
    struct coord coord;
    uv_loop_t *loop;
    uv_thread_t loop_thread;
    struct zookeeper_servers *servers;
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    uint64_t (*random)(void *arg);
    void *arg;
    char root[ZOOKEEPER_ROOT_MAX];
    struct zookeeper_users users;
    const char *const *guarded;
    bool trust_open, creates_open;
    size_t lists_awaited;               /* access lists that were asked for */
    char others[ZOOKEEPER_OTHERS_TEXT]; /* of those that have come: who else is let in; "": nobody */
    bool root_open;
    int64_t timeout_ms; /* asked for */
    int64_t granted_ms; /* by the ensemble, once it was asked */
    int root_rc;        /* of making the cluster's node */

    enum zookeeper_state state;
    zhandle_t *handle;
    struct zookeeper_socket *socket;
    uv_timer_t timer;     /* the library's wish, or the next try */
    uv_timer_t deadline;  /* of one try; of a close */
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
    bool may_leave;   /* a server that the new list does not name */
    bool leaving;     /* such a one, now */
    bool closing;
    unsigned failures; /* tries in a row */
    uint64_t up_since_ms;
    uint64_t complained_ms;
    bool complained;
    int last_errno;        /* of the library's last complaint */
    int answer;            /* a server's own answer that ends the connection; 0: none */
    unsigned answer_drops; /* such ends in a row */
    uint64_t answer_drop_ms;

    struct zookeeper_limit limit;
    struct zookeeper_learnt learnt;

    struct list outstanding, due;
    size_t requests, bytes;
    uint64_t answers; /* counted, to see whether a read brought one */
    char *buffer;     /* for data of a get */
    size_t buffer_size;
    struct zookeeper_watch watches[ZOOKEEPER_WATCHES_MAX];
    size_t watch_count;

    char why[1024];
    char status[1152];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* For the loop, between two events. There is a handle in every state but in that of waiting, `connected` is taken back
 * before the next try, and requests are counted. */
static inline void zookeeper_check_invariants(const struct zookeeper *zk)
{
    bool none = list_empty(&zk->outstanding) && list_empty(&zk->due);

    assert(loop_is_thread(zk->loop_thread));
    assert(zk->state <= ZOOKEEPER_CLOSING);
    assert(zk->state == ZOOKEEPER_CLOSING || (zk->handle != NULL) == (zk->state != ZOOKEEPER_WAITING));
    assert(!zk->told || zk->state >= ZOOKEEPER_UP);
    assert(zk->has_session || !zk->announced);
    assert(zk->watch_count <= ZOOKEEPER_WATCHES_MAX && (none || zk->requests > 0));
    assert(zk->bytes <= ZOOKEEPER_BYTES_MAX);
}

/* Whose library call is under way: libzookeeper's log callback has no argument. */
extern _Thread_local struct zookeeper *zookeeper_inside;

/* zookeeper.c */
void zookeeper_touched(struct zookeeper *zk);            /* after the library was given a request */
void zookeeper_due(struct zookeeper *zk);                /* answers wait in `due` */
void zookeeper_prepared(struct zookeeper *zk, int rc);   /* the cluster's node: ZOK, or why not */
void zookeeper_access_read(struct zookeeper *zk);        /* others, root_open */
void zookeeper_probed(struct zookeeper *zk, bool taken); /* the answer to a probe */
void zookeeper_end(struct coord *coord, void (*done)(void *arg), void *arg);

/* zookeeper_limit.c */
/* A probe is under way when true; zookeeper_limit_done comes when no further one is needed. */
bool zookeeper_limit_probe(struct zookeeper *zk);
void zookeeper_limit_answered(struct zookeeper *zk,
                              bool taken); /* taken: false: the connection ended without one */
/* The connection is gone; by_server: it closed it. True: it was a probe. */
bool zookeeper_limit_dropped(struct zookeeper *zk, bool by_server);

/* zookeeper_report.c */
/* An answer to a write that took so long. creates: it makes nodes. */
void zookeeper_learn_answer(struct zookeeper *zk, int rc, bool creates, int64_t took_us);
void zookeeper_say(struct zookeeper *zk, enum log_level level, const char *event, const char *text);

/* zookeeper_request.c */
/* Asks whether a node of a very long name exists: nobody writes anything, but the server takes it, or not. */
bool zookeeper_send_probe(struct zookeeper *zk, size_t bytes);
void zookeeper_read_config(struct zookeeper *zk);
extern const struct coord_ops zookeeper_ops;
bool zookeeper_path_valid(const char *path);
/* Makes the cluster's node and those above it; zookeeper_prepared gets the result. */
void zookeeper_prepare_root(struct zookeeper *zk);
/* Reads the access lists of the cluster's node and of the guarded ones; then zookeeper_access_read is called. */
void zookeeper_read_access(struct zookeeper *zk);
void zookeeper_answer_due(struct zookeeper *zk);
/* Answers COORD_LOST to all that is outstanding; the library may complete them later, without effect. */
void zookeeper_abandon(struct zookeeper *zk);
/* Says `changed` for every watch, and forgets them. */
void zookeeper_fire_watches(struct zookeeper *zk);
