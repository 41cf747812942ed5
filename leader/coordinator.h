/* What the leader core asks of ZooKeeper, as a table of functions: leader/zookeeper/zookeeper.c is the real one, on
 * libzookeeper and libuv; the simulator has its own. Nothing here is specific to one of them.
 *
 * Paths are below the cluster's own node ("/epoch", "/log/0000000042"), which the coordinator makes before it
 * says `connected` for the first time.
 *
 * Requests are pipelined: those of one session are executed and answered in the order in which they were
 * made. Every request is answered exactly once, from the loop, never from within the call that made it. When
 * the connection breaks all that are outstanding are answered COORD_LOST, before `lost`: each of them may or
 * may not have been executed. A request made while not connected is answered COORD_LOST, and was certainly
 * not executed.
 *
 * Happy path: connected(fresh) -> requests... -> lost -> connected(not fresh: same session, ephemeral nodes
 * stand) -> ... -> expired (ephemeral nodes are gone; the coordinator opens another session by itself) ->
 * connected(fresh).
 *
 * Ownership: the coordinator copies what a request points to; a reply is borrowed for the time of the call.
 * One thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COORD_DATA_MAX (768 * 1024) /* of all data in one request: the server drops a connection at 1 MB */
#define COORD_OPS_MAX  256          /* in one multi */
#define COORD_PATH_MAX 128
#define COORD_OP_BYTES 256  /* what an operation adds to its data on the wire, at most */
#define COORD_ANY      (-1) /* version: whatever it is */

enum coord_result {
    COORD_OK,
    COORD_LOST,    /* outcome unknown, see above */
    COORD_NO_NODE, /* that node, or the parent of one to be made, does not exist */
    COORD_EXISTS,
    COORD_BAD_VERSION,
    COORD_DENIED, /* the access list says no */
    COORD_FAILED  /* any other answer: text says what, with its number; not executed, the session is fine */
};

struct coord_stat {
    int32_t version;  /* counts changes of the data, 0 when created */
    int64_t owner;    /* session of an ephemeral node; 0: persistent */
    int64_t mtime_ms; /* of the last change, by the ensemble's clock */
};

struct coord_reply {
    enum coord_result result;
    const char *text; /* what went wrong, for people; "" when fine */
    const void *data; /* get; with a NUL behind it */
    size_t size;
    struct coord_stat stat;   /* get; multi: of the last COORD_SET in it */
    const char *const *names; /* children, in no order */
    size_t name_count;
};
typedef void coord_done(void *arg, const struct coord_reply *reply);

enum coord_op_kind { COORD_CHECK, COORD_CREATE, COORD_CREATE_EPHEMERAL, COORD_SET, COORD_DELETE };

struct coord_op {
    enum coord_op_kind kind;
    const char *path;
    const void *data; /* CREATE..., SET */
    size_t size;
    int32_t version; /* CHECK, SET, DELETE */
};

struct coord_events {
    /* timeout_ms: as negotiated. fresh: a new session; nothing of an earlier one remains. */
    void (*connected)(void *arg, int64_t session, int64_t timeout_ms, bool fresh);
    void (*lost)(void *arg, const char *why);
    void (*expired)(void *arg, const char *why);
    /* A watch went off; it is spent. Watches outlive a lost connection, not a session. */
    void (*changed)(void *arg, const char *path);
};

struct coord {
    const struct coord_ops *ops;
    const struct coord_events *events; /* set, with arg, by the user before the loop runs */
    void *arg;
    /* A server takes no more than this in one request: data, and COORD_OP_BYTES for each operation. Found before the
     * first `connected`; may change before each later one. 0: no such limit is known. A larger multi is
     * answered COORD_FAILED. */
    size_t request_max;
};

struct coord_ops {
    /* watch: `changed` when the node is made, changed or deleted after this; also set when it does not
     * exist. */
    void (*get)(struct coord *coord, const char *path, bool watch, coord_done *done, void *arg);
    void (*children)(struct coord *coord, const char *path, bool watch, coord_done *done, void *arg);
    /* All or none; the result is that of the first that failed. */
    void (*multi)(struct coord *coord, const struct coord_op *ops, size_t count, coord_done *done, void *arg);
    /* The server that it talks to, or why there is none: for people. */
    const char *(*status)(const struct coord *coord);
    /* Ends the session (its ephemeral nodes go at once); outstanding requests are answered COORD_LOST; done
     * is called once, from the loop, and then the coordinator is gone. */
    void (*close)(struct coord *coord, void (*done)(void *arg), void *arg);
};
