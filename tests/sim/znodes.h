/* The tree of a simulated ZooKeeper: every node with its past versions, because a server that lags answers
 * from an older tree than the one that writes go to. Transactions are numbered (zxid) without gaps; the tree
 * as of any number not yet trimmed can be read.
 *
 * Pure: no time, no sessions, no chance. The tree owns all nodes and their data.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "leader/coordinator.h"

#include "jobs/base/hash_table.h"

struct znode_version { /* newest first */
    struct znode_version *older;
    int64_t zxid;
    bool exists;
    int32_t version;
    int64_t owner, mtime_ms;
    size_t size;
    char data[]; /* with a NUL behind it */
};

struct znode {
    char path[COORD_PATH_MAX];
    struct znode_version *newest;
    struct znode *parent; /* NULL: the root */
    struct list children, sibling;
    struct list dying; /* among those that are gone, and only kept for servers that lag */
    struct list owned; /* among the ephemeral ones */
    UT_hash_handle hh;
};

enum znode_change_kind { ZNODE_MADE, ZNODE_CHANGED, ZNODE_GONE };

struct znode_change {
    struct znode *node;
    enum znode_change_kind kind;
};

struct znode_txn {
    struct list all;
    int64_t zxid;
    int64_t session; /* whose it is */
    size_t count;
    struct znode_change changes[];
};

struct znodes {
    struct znode *nodes;
    struct znode root;
    int64_t zxid;      /* of the newest transaction */
    struct list txns;  /* those not yet trimmed, oldest first */
    struct list dying; /* in the order in which they went */
    struct list owned;
    size_t count, bytes; /* of what exists */
};

void znodes_init(struct znodes *z);
void znodes_release(struct znodes *z);

/* All or none, on the newest tree. COORD_OK: *ret is the transaction, which the tree owns; *ret_stat is of
 * the last COORD_SET. */
enum coord_result znodes_multi(struct znodes *z, const struct coord_op *ops, size_t count, int64_t session,
                               int64_t now_ms, const struct znode_txn **ret, struct coord_stat *ret_stat);
/* The ephemeral nodes of a session go with it. */
const struct znode_txn *znodes_end_session(struct znodes *z, int64_t session);

struct znode *znodes_find(struct znodes *z, const char *path); /* also one that is gone; NULL: never was */
/* The node as of zxid; NULL: there is none. */
const struct znode_version *znode_at(const struct znode *node, int64_t zxid);
/* Did it, or which children it has, change after `from`, up to `to`? */
bool znode_changed(const struct znode *node, bool children, int64_t from, int64_t to);

/* ---- a tree that goes back ---- */

/* The tree as it stands, to be put back later. */
struct znodes_copy *znodes_copy_take(const struct znodes *z);
void znodes_copy_free(struct znodes_copy *copy);
/* One transaction makes the tree what the copy is, with the versions of then; NULL: empty. Ephemeral nodes of sessions
 * that are not among the living ones stay away. */
const struct znode_txn *znodes_copy_put(struct znodes *z, const struct znodes_copy *copy,
                                        const int64_t *living, size_t living_count);

/* Nobody will ask for the tree as of before zxid any more. */
void znodes_trim(struct znodes *z, int64_t zxid);
