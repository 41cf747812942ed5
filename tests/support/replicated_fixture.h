/* Replicas of the replicated core on a ZooKeeper that is moved step by step: their environment, a cluster of
 * them, and what a test asks of it. Each test makes and frees a cluster of its own.
 */
#pragma once

#include "leader/replicated/replicated_priv.h"
#include "tests/sim/stepped_zookeeper.h"
#include "tests/support/journal_owner.h"

#define SECRET "0000000000000000000000000000000000000000000000000000000000000000"

struct node {
    char id[8];
    struct owner owner;
    struct seat seat;
    struct zoo *zoo;
    struct journal *journal;
    struct replicated_env env;
    struct replicated_host host;
    bool fit;
    uint64_t durable;
    bool up;
    struct mark mark;   /* as the core told it last */
    struct error error; /* of a recovery */
    int recovered;      /* recoveries that ended; failed: with an error */
    int failed;
    int refusals_told; /* lines "refusing" in its log */
};

struct cluster {
    struct zoo zoo;
    struct node nodes[SEATS_MAX];
    size_t count;
    uint64_t random;
};

/* The i-th replica, with these options besides (NULL: none), and all of a cluster. */
struct node *node_start(struct cluster *c, size_t i, const struct replicated_options *more);
struct cluster *cluster_new(size_t count);

/* The process is gone, its session stands. */
void node_dies(struct node *n);
void session_of_the_dead_ends(struct node *n);
void cluster_free(struct cluster *c);

/* ZooKeeper does one thing for each replica (false: there was nothing to do); all that there is to do; time passes, in
 * one piece; time passes, and whatever it brings is done. */
bool step_any(struct cluster *c);
void settle(struct cluster *c);
void tick(struct cluster *c, int64_t ms);
void pass(struct cluster *c, int64_t ms);

/* The link of this replica to the leader of that epoch is down. */
void link_down(struct node *n, int64_t epoch, enum replicated_link_state state);
/* The one that leads, NULL when none does; the test fails when two do. */
struct node *leader(struct cluster *c);

/* What a node of ZooKeeper holds, NULL when it is not there; the journal's head there. */
const char *data_at(struct cluster *c, const char *path);
uint64_t head(struct cluster *c);

/* Every batch up to head is there, each the next of the one before. */
void assert_log_is_a_chain(struct cluster *c, uint64_t from);

/* So many batches of about 20 bytes. */
void append(struct node *n, int count);

/* Three replicas, the first leads, ten batches. */
struct cluster *cluster_of_three(void);

/* Every replica that runs has lost its session and connects again. */
void reconnect(struct cluster *c);
/* The ensemble is started again with that; NULL: with nothing. */
void restored_from(struct cluster *c, const struct znodes_copy *copy);
/* What the node holds is changed behind their backs. */
void tree_set(struct cluster *c, const char *path, const char *data);

/* The replica refuses the tree, with this in its alarm; all have the whole journal, and one leads. */
void assert_alarm(const struct node *n, const char *text);
void assert_all_alike(struct cluster *c);

/* The mark of three replicas that had 20 batches, went away, and whose tree went back to 10; a fourth has led it on from
 * there since, with so many snapshots, four at most.
 */
struct mark overtaken(struct cluster **ret, int snapshots);
