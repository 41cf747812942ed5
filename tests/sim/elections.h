/* The worlds of `elections`: what its files share. elections.c has the replicas, what befalls them and the end;
 * elections_tree.c what is in ZooKeeper, the ways in which it goes wrong, and who may believe it; elections_links.c what
 * they say to one another.
 *
 * One thread. The world owns its nodes, batches and copies.
 */
#pragma once

#include "leader/replicated/replicated_priv.h"
#include "tests/sim/stepped_zookeeper.h"

#define STEPS      3000 /* of a world, before it is left in peace */
#define DEAD_MAX   64   /* sessions of processes that are gone */
#define COPIES_MAX 6
#define PEERS_MAX  (SEATS_MAX + 1) /* and one in another ensemble */
#define EPOCHS_MAX (STEPS + 1000)

struct world;

/* A batch that ZooKeeper holds or held, or the snapshot that a recovery went on from. */
struct committed {
    struct committed *before;      /* NULL: the first */
    struct committed *made_before; /* in time */
    uint64_t index;
    int64_t epoch;
    char hash[33];
    bool base;
};

struct copy { /* of the tree */
    struct znodes_copy *nodes;
    struct committed *last;
    bool whole; /* there is a cluster in it */
};

struct said { /* by one over its link */
    enum replicated_role role;
    int64_t base, epoch;
    char nonce[NONCE_SIZE];
    struct mark mark;
};

struct question {
    bool asked, answered; /* the answer is on its way */
    int64_t asked_ms;
    struct said said;
};

struct elsewhere { /* one of this cluster in another ensemble */
    bool there;
    uint64_t since_step, until_step;
    struct said said;
};

struct node {
    struct world *world; /* NULL: it was never started */
    char id[8];
    struct seat seat;
    struct journal *journal; /* NULL: down */
    struct replicated_env env;
    struct replicated_host host;
    bool unfit, frozen, disputed; /* its clock */
    uint64_t down_until;          /* step */
    bool held_up;                 /* what it has sent is on its way until another is elected */
    int64_t extra_ms;             /* of its own clock, while it is ended */
    struct mark mark;             /* what its disk holds, over its lives */
    const struct committed
        *known; /* the highest that it was given or that was acknowledged to it, over its lives */
    int closed;
    /* as an owner of a journal knows it */
    bool leading, restored, given, told_of_recovery, recovering;
    uint64_t elected_step, claims_step; /* since when it says that it leads */
    int64_t epoch;
    uint64_t index, acked;
    char hash[33];
};

struct world {
    struct zoo zoo;
    uint64_t seed, rng, steps;
    bool verbose, failed;
    double until_s; /* by the monotonic clock: then it is left as it is; 0: never */
    bool cut;       /* it was */
    struct node nodes[SEATS_MAX];
    struct question questions[SEATS_MAX][PEERS_MAX]; /* by who asks, and who is asked */
    bool link_down[SEATS_MAX][PEERS_MAX];            /* both ways */
    uint64_t unheard_step[SEATS_MAX][PEERS_MAX];     /* when it last had no answer from there */
    struct elsewhere elsewhere;
    int64_t dead[DEAD_MAX];
    size_t dead_count;
    struct committed *ever; /* all, newest first */
    struct committed *last; /* in ZooKeeper */
    bool led[EPOCHS_MAX];   /* by epoch */
    int64_t checked_zxid;
    bool founded;        /* there was a cluster, ever */
    bool went_back;      /* the tree, ever: refusing is right then */
    uint64_t right_step; /* when it is put right again */
    uint64_t fault_step; /* when it goes wrong for sure */
    struct copy copies[COPIES_MAX];
    size_t copy_count;
    struct copy before;         /* of the tree, before this one was elected */
    const struct node *elected; /* by what was carried out then; NULL: there is none */
    struct node *undo;          /* it has begun to lead, and is to be undone */
    uint64_t count, elections, crashes, cuts, expiries, acks, snapshots, restores, rollbacks, emptied, split,
        recoveries, elsewheres;
};

uint64_t chance(struct world *w, uint64_t n);
void violated(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tell(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- elections.c ---- */
double elections_now_s(void);
/* One world from birth to rest, with the seed, words and limit that *w has; the figures stay in it. */
void elections_run(struct world *w);
void elections_release(struct world *w);

/* ---- elections_tree.c ---- */
const struct znode_version *tree_at(struct world *w, const char *path);
int64_t tree_epoch_now(struct world *w);
/* After every step: the log only grows, and what is there stays what it was. */
void tree_check(struct world *w);
/* Its mark rose, or was replaced by that of a recovery, which is what it knows from then on. */
void tree_check_marked(struct node *n);
/* The epoch in the tree is one in which this node was elected. */
bool tree_elected_last(struct node *n);
/* What it was given just now may be believed by it. */
void tree_check_given(struct node *n, const char *what);
/* It begins to lead with all of what ZooKeeper, its disk and the members know. */
void tree_check_lead(struct node *n);
/* That batch of its own is acknowledged to it. */
void tree_check_acked(struct node *n, uint64_t index);
/* Perhaps the tree is copied, goes back to a copy, is emptied (true, these two), or is put right again. */
bool tree_meddle(struct world *w);
/* The tree is kept, before this replica's campaign is carried out. */
void tree_keep_before(struct node *n);
/* It is the kept one again, and all sessions live. */
void tree_undo_election(struct world *w);
/* No batch that somebody knows is missing. False: what they know is not in one history. */
bool tree_put_right(struct world *w);
void tree_release_copies(struct world *w);

/* ---- elections_links.c ---- */
/* It wants to know of all others whether they lead. False: there is nobody to ask. */
bool links_ask(struct node *n);
void links_forget(struct node *n); /* its process is gone */
/* One step of whatever is on its way; perhaps a link breaks or heals, or somebody appears elsewhere. */
void links_step(struct world *w);
void links_time(struct world *w); /* time has passed, and nobody has noticed yet */
void links_pass(struct world *w); /* they have: questions are given up */
/* While nothing fails: every question goes on (false: there is none); each hears all others. */
bool links_answer_all(struct world *w);
void links_hear_all(struct world *w);
void links_rest(struct world *w); /* all links work, and nobody is elsewhere */
/* It begins to lead, and none of those that have answered it says the same. */
void links_check_lead(const struct node *n);
