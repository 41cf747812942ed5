/* A cluster's journal in ZooKeeper as a whole, while no replica runs: looked at, read, written into a tree that has none,
 * and ended. For `cronsched journal migrate` (cronsched/server/migration.c).
 *
 * A tree is written without its node `epoch` first: replicas take it for none, and nobody can make a cluster beside it.
 * The node `migrating` says whose it is until then; a second try begins from the start. With `epoch` it lives, in one
 * step. A tree is ended by what its node `epoch` says: that the journal was moved. Replicas then stop, those of older
 * builds because it names another cluster. Both steps are conditional, so a replica that came to life meanwhile wins.
 *
 * Each call blocks: it turns the caller's loop until ZooKeeper has answered. A connection that is lost ends it with
 * ERR_UNREACHABLE, and it may be called again. Pure otherwise. Not beside a journal on the same coordinator.
 */
#pragma once

#include "leader/coordinator.h"
#include "leader/replicated/mark.h"

struct tree_copy_link {
    struct coord *coord; /* connected */
    void (*turn)(void *arg);
    void *arg;
    uint64_t (*random)(void *arg);
};

enum tree_copy_kind {
    TREE_COPY_EMPTY,
    TREE_COPY_FOREIGN, /* something that belongs to no journal that is known here: text */
    TREE_COPY_HALF,    /* of a write that was not finished */
    TREE_COPY_LIVING,
    TREE_COPY_MOVED
};

struct tree_copy_look {
    enum tree_copy_kind kind;
    char cluster[MARK_CLUSTER_SIZE]; /* the journal's; MOVED: that it had */
    char text[256];                  /* FOREIGN: what is there; MOVED: where the journal went */
    uint64_t head;                   /* LIVING, MOVED: the last batch */
    char hash[MARK_HASH_SIZE];       /* MOVED: of that batch */
    int64_t epoch;                   /* LIVING: the newest */
    int32_t epoch_version, head_version;
    char name[17];  /* of the epoch, see replicated.h; "": it has none */
    size_t members; /* replicas that run */
    bool led;
};
/* ERR_UNREACHABLE, ERR_CORRUPT: a node is invalid. */
int tree_copy_look(const struct tree_copy_link *link, struct tree_copy_look *ret, struct error *error);

struct tree_copy_batch {
    char *text;
    size_t size;
    int64_t epoch, time_ms;
    char hash[MARK_HASH_SIZE];
};

/* A journal: a snapshot, and the batches behind it. */
struct tree_copy {
    char cluster[MARK_CLUSTER_SIZE];
    int64_t epoch; /* the newest */
    int level;     /* of the records in the snapshot */
    char *text;    /* NULL: there is no snapshot, and index is 0 */
    size_t size;
    uint64_t index; /* of the snapshot */
    char hash[MARK_HASH_SIZE];
    struct tree_copy_batch *batches; /* index + 1 and on */
    size_t count;
};
void tree_copy_release(struct tree_copy *copy);
/* Appends a batch; text is copied. ERR_CORRUPT: it does not continue what is there. */
int tree_copy_add(struct tree_copy *copy, const char *text, size_t size, struct error *error);
/* The last batch. */
uint64_t tree_copy_head(const struct tree_copy *copy, char ret_hash[MARK_HASH_SIZE]);
/* What a replica that has all of it knows. */
void tree_copy_mark(const struct tree_copy *copy, struct mark *ret);

/* Of a LIVING tree. ERR_CORRUPT: it is incomplete or damaged. */
int tree_copy_read(const struct tree_copy_link *link, const struct tree_copy_look *look,
                   struct tree_copy *ret, struct error *error);
/* Into a tree that is EMPTY, HALF or MOVED, whose nodes are removed first. It does not live yet. */
int tree_copy_write(const struct tree_copy_link *link, const struct tree_copy_look *look,
                    const struct tree_copy *copy, struct error *error);
/* Now it does. */
int tree_copy_commit(const struct tree_copy_link *link, const struct tree_copy *copy, struct error *error);
/* Removes what tree_copy_write left in a tree that does not live. */
int tree_copy_drop(const struct tree_copy_link *link, const struct tree_copy_look *look, struct error *error);
/* Ends a LIVING tree that is as `look` saw it: its journal, up to that batch, is at `where` from now on. ERR_CONFLICT: a
 * replica was faster. */
int tree_copy_end(const struct tree_copy_link *link, const struct tree_copy_look *look, const char *hash,
                  const char *where, struct error *error);
