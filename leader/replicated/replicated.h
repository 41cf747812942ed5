/* The replicated journal: the table of jobs/state/journal.h over ZooKeeper. The core: election, epoch, append,
 * following, snapshots, truncation, membership, and what is held against a tree that says something untrue. Pure: no libuv, no libzookeeper; time and facts come in by
 * tables, so the simulator runs this very code.
 *
 * Nodes, below the cluster's own:
 *   epoch       {cluster, base, replica, session, nonce, cause, ...}; its VERSION (+ base) is the epoch, and
 *               the fencing token that every write of a leader carries as a check
 *   epoch/NONCE empty: the epoch's name, which every write of a leader checks as well. A tree that went back counts
 *               versions again, and may have the same one in another epoch; a name is never used twice. It is made and
 *               removed together with the change of epoch. "named" in epoch: there is one; older builds make none
 *   leader      ephemeral, {replica, url, nonce}
 *   head        the index of the last batch, in decimal; the one thing that standbys watch beside leader
 *   log/N       batch N (ten digits): the epoch's nonce, a newline, the batch's JSON text
 *   members/ID  ephemeral, JSON: url, version, level, applied, offset, tzdata, fit, mark ...; "refuses", why it does
 *               not believe the tree; "joining", it waits for consent; "reading", the index of a snapshot
 *   snap/current, snap/chunks/HASH   see manifest.c and chunks.h
 *   ask, answer a standby's question whether the leader lives, and the leader's answer, see ask.c
 *   secret      by which replicas recognize one another
 *   recovered   a person had the journal go on from another state: see recover.c
 *   migrating   the tree is being written, and is none yet: see tree_copy.h
 *
 * Taking over is ONE multi on the version that the epoch had under the dead leader, so that leader and epoch
 * always belong together. The epoch is set before the tail is read, so the tail is final. Appends are pipelined
 * multis: check(epoch), check(epoch/NONCE), create(log/N)..., set(head, its version), so that when one fails all later
 * ones do.
 *
 * What fails, and what the owner sees:
 * - The connection is lost: appends wait. When it is back, a write makes reads fresh, and log/N shows whether it
 *   is mine: acked, or sent again.
 * - The session expired, another epoch, a batch of another replica: deposed, once; then restore and batch...
 * - The tree lacks or contradicts what this replica knows to be committed (its mark, see mark.h), or another member's
 *   mark does: REFUSING. It stays a member, says why, and goes on by itself once the tree is right again.
 * - A node that cannot be read, another process under its name: STOPPED, until the process is started again.
 *
 * Safety is the epoch's alone. Leases, clocks, connections to peers only decide when to try.
 *
 * Ownership: borrows options and all tables for its life; owns the coordinator from replicated_new on, closes
 * it before its own close is done. One thread: the loop's.
 */
#pragma once

#include "jobs/base/log_level.h"
#include "jobs/state/journal.h"
#include "leader/coordinator.h"
#include "leader/replicated/mark.h"

#define REPLICATED_IN_FLIGHT_MAX   8192 /* appends not yet acked; then ERR_LIMIT */
#define REPLICATED_IN_FLIGHT_BYTES (64 * 1024 * 1024)
#define REPLICATED_WINDOW_MAX      64 /* multis under way */
#define REPLICATED_WINDOW_BYTES    (4 * 1024 * 1024)
/* Each server keeps the newest 500 writes in its memory, three times, and the newest 400 answers: writes are small. */
#define REPLICATED_BATCH_BYTES          (8 * 1024)
#define REPLICATED_GROUP_BYTES          (8 * 1024) /* of more than one batch in one multi */
#define REPLICATED_GROUP_MAX            128
#define REPLICATED_REFUSED_RETRY_MS     1000 /* after a refused write; doubles */
#define REPLICATED_REFUSED_RETRY_MAX_MS 10000
#define REPLICATED_HEAD_VERSION_MAX     (1 << 30) /* then /head is made again */
#define REPLICATED_FETCH_MAX            64        /* batches fetched at once */
/* Of the log, which is in the memory of each of ZooKeeper's servers. Each batch counts for its node, too. */
#define REPLICATED_NODE_BYTES      384
#define REPLICATED_LOG_KEEP_BYTES  (4 * 1024 * 1024)  /* the newest batches, which stay in any case */
#define REPLICATED_LOG_MOST_BYTES  (12 * 1024 * 1024) /* those that stay for members that lack them */
#define REPLICATED_LOG_BOUND_BYTES (32 * 1024 * 1024) /* the whole, with what comes up to the next snapshot */
#define REPLICATED_MEMBERS_MAX     64
#define REPLICATED_DEPOSED_HOLD_MS                                                                           \
    (5 * 60 * 1000)                      /* one that was deposed for not firing lets others go first */
#define REPLICATED_RESIGNED_HOLD_MS 1000 /* so does one that resigned: others take over in milliseconds */
#define REPLICATED_DEPOSE_EVERY_MS  (5 * 60 * 1000)
#define REPLICATED_RESIGN_AFTER_MS  10000 /* an unfit leader beside a fit standby */

/* Time, randomness, log: as in scheduler_env. */
#define REPLICATED_SECRET_NODE                                                                               \
    "/secret" /* by which replicas recognize one another; may be replaced at any time */
/* The nodes that have to be this cluster's alone, up to a NULL: who can write one of them decides what the replicas
 * do. */
extern const char *const replicated_nodes[];

struct replicated_env {
    uint64_t (*boot_ms)(void *arg); /* CLOCK_BOOTTIME */
    int64_t (*wall_ms)(void *arg);
    uint64_t (*random)(void *arg);
    void (*wake_at)(void *arg, uint64_t boot_ms); /* call replicated_tick then; the newest call counts */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    void *arg;
};

/* What the core asks about this replica, and what it reports. Nothing here may enter the core again, except by
 * replicated_view. */
struct replicated_host {
    /* False: this replica should not lead while another could (its engines do not answer, its clock is off);
     * *ret_why borrowed. */
    bool (*fit)(void *arg, const char **ret_why);
    /* More for members/ID: a new object; the core adds applied, level, fit and offset. */
    json_t *(*member)(void *arg);
    /* The index up to which the local history is durable: older batches may go. */
    uint64_t (*durable)(void *arg);
    /* Members, roles or the leader changed: ask replicated_view. */
    void (*changed)(void *arg);
    /* The mark rose or was replaced: to be kept on disk. Called for every batch that is applied or acknowledged;
     * borrowed. NULL: it is kept nowhere. */
    void (*marked)(void *arg, const struct mark *mark);
    /* False: this replica's clock is in dispute. It campaigns in no case. NULL: it never is. */
    bool (*clock_believed)(void *arg);
    /* Ask every other replica of the cluster that is known and not silent already what it says of itself: each answer
     * comes by replicated_heard; when all have come or were given up, replicated_members_asked. False: there is nobody
     * to ask. NULL: nobody can be asked. */
    bool (*ask_members)(void *arg);
    /* Find out who answers at this URL: replicated_holder. False: not now. NULL: nobody can be asked. */
    bool (*ask_holder)(void *arg, const char *url);
    /* The owner's state as it stands, as a text that journal_events.restore takes, labelled as of `index` with
     * `hash` as that of the batch there (what the next batch names as the one before). What it appended last and
     * nobody acknowledged may be in it: that is in doubt anyway. *ret_time_ms: of the newest batch in it, wall
     * clock. NULL: it has none yet. For free(); for replicated_recover alone. */
    char *(*state)(void *arg, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                   int64_t *ret_time_ms);
    void *arg;
};

struct replicated_options {
    const char *replica;      /* its id */
    const char *url;          /* where others reach it; in `leader` and `members` */
    const char *cluster_uuid; /* of a new cluster, when it is this replica that founds it */
    struct mark mark;         /* as it was kept; empty in a first life */
    bool found; /* founds a cluster where there is none, unless a mark says that there was one */
    const char *join_cluster; /* uuid of the cluster that it may join without being asked; NULL: none */
    int level;                /* record level this build writes at most and reads */
    uint64_t log_keep_bytes;  /* 0: REPLICATED_LOG_KEEP_BYTES */
    uint64_t log_most_bytes;  /* 0: REPLICATED_LOG_MOST_BYTES */
    const char *secret;       /* for a new cluster: 64 hex digits */
    const struct replicated_env *env;
    const struct replicated_host *host;
};

/* The first events come once the coordinator connects. */
struct journal *replicated_new(const struct replicated_options *options, struct coord *coord,
                               const struct journal_events *events, void *arg);

void replicated_tick(struct journal *journal);

/* This replica's own link to the leader. */
enum replicated_link_state {
    REPLICATED_LINK_UP,
    REPLICATED_LINK_BROKEN,  /* it stood, ended, and its address refuses another */
    REPLICATED_LINK_REFUSED, /* it never stood */
    REPLICATED_LINK_SILENT
};
struct replicated_link {
    enum replicated_link_state state;
    const char *why;  /* for people; borrowed */
    uint64_t late_ms; /* by how much its answers were late lately */
};
/* How the link to the leader of this epoch is; again every second as long as it is down. A link that is down is a
 * suspicion, see suspicion.h: the leader is asked through ZooKeeper, and deposed if it does not answer there. */
void replicated_leader_link(struct journal *journal, int64_t epoch, const struct replicated_link *link);
/* What a replica says of its leadership. */
enum replicated_role {
    REPLICATED_STANDBY,
    REPLICATED_ELECTED, /* the epoch is its own, and it does not lead yet */
    REPLICATED_LEADER   /* leads, and its writes succeed */
};
/* "standby", ... */
const char *replicated_role_name(enum replicated_role role);
/* What another replica said of itself over its link. Borrowed. */
struct replicated_heard {
    const char *id, *url;
    struct mark mark; /* with its cluster; empty: it does not say */
    enum replicated_role role;
    int64_t base, epoch; /* of its leadership */
    const char *nonce;
    uint64_t asked_ms; /* boot time of the question */
};
void replicated_heard(struct journal *journal, const struct replicated_heard *heard);
/* Its link is down: what it said of its leadership does not count any more. */
void replicated_silent(struct journal *journal, const char *id);
/* All that replicated_host.ask_members asked have answered, or were given up. */
void replicated_members_asked(struct journal *journal);
/* A person says that this replica is no part of the cluster any more: what it held does not count. */
void replicated_forget(struct journal *journal, const char *id);

/* Who answers where the node of this replica's name says. */
enum replicated_holder {
    REPLICATED_HOLDER_GONE,   /* nobody, or this very process */
    REPLICATED_HOLDER_OTHER,  /* another process of this name */
    REPLICATED_HOLDER_UNKNOWN /* it cannot be found out (why) */
};
void replicated_holder(struct journal *journal, enum replicated_holder holder, const char *why);

/* The leader of this epoch lives but does not do its work (text: what is overdue): take its place. At most
 * once in REPLICATED_DEPOSE_EVERY_MS, and only while own writes succeed. False: not now. */
bool replicated_depose(struct journal *journal, int64_t epoch, const char *text);
/* Resigns: the leader node is removed once everything appended is acked. ERR_NO_LEADER: this replica does not
 * lead; ERR_CONFLICT: no other is there and fit. */
int replicated_step_down(struct journal *journal, struct error *error);
/* Before the close: resigns, if it leads (the view shows when it does not any more), and never campaigns again. */
void replicated_retire(struct journal *journal);

/* Makes the tree of a new cluster. NULL: with the uuid of the options. 0: it is being made; the view shows when
 * it stands. ERR_UNREACHABLE: not connected, or the tree was not read yet; ERR_CONFLICT: there is a cluster, or a mark,
 * here or at another replica, says that there was one. */
int replicated_found(struct journal *journal, const char *cluster_uuid, struct error *error);
/* Consent to join the cluster that the view shows. 0: it follows from now on. ERR_CONFLICT: `cluster` is not the one
 * in ZooKeeper, or this replica belongs to one already. */
int replicated_join(struct journal *journal, const char *cluster, struct error *error);

/* A person accepts that what marks know and the journal in ZooKeeper lacks is lost, or replaced by what this replica
 * holds. Either way the journal goes on from a snapshot whose index is above every mark that is known here, in an epoch
 * above all; every member takes that for leave to replace its mark. The first leader is given
 * journal_events.recovered. */
struct replicated_recovery {
    bool
        from_here; /* the state that this replica's owner has; else the one that ZooKeeper holds, which its owner is
                     * given first, in place of its own */
    const char *by; /* who did it, for the log and the audit */
};
/* done, once, from the loop: error NULL when the journal stands; else nothing has changed. 0: it is under way.
 * ERR_UNREACHABLE: not connected; ERR_CONFLICT: this replica refuses nothing, another leads, the tree is another
 * cluster's, another recovery is under way, or there is no such state. Also ends with ERR_CANCELLED when the journal is
 * closed. Without a connection it waits for one. */
int replicated_recover(struct journal *journal, const struct replicated_recovery *recovery,
                       void (*done)(void *arg, const struct error *error), void *arg, struct error *error);

/* What this replica is to the cluster in ZooKeeper. */
enum replicated_standing {
    REPLICATED_CONNECTING, /* nothing is known of the tree yet */
    REPLICATED_UNFOUNDED,  /* there is no cluster, and none is known here: waits for replicated_found */
    REPLICATED_JOINING,    /* there is one, and none is known here: waits for replicated_join */
    REPLICATED_MEMBER,     /* follows or leads */
    REPLICATED_REFUSING, /* the tree lacks or contradicts what is known: neither follows nor leads; goes on by itself
                            * when it is right again. The owner keeps its state */
    REPLICATED_STOPPED /* for good, until the process is started again */
};
/* "connecting", "unfounded", ... */
const char *replicated_standing_name(enum replicated_standing standing);

struct replicated_member {
    char *id;
    json_t *facts; /* as it published them */
};

struct replicated_view {
    bool connected;
    int64_t session, session_timeout_ms;
    enum replicated_standing standing;
    const char *alarm;       /* why it is REFUSING or STOPPED, for people; else "" */
    const struct mark *mark; /* its cluster is the one that this replica belongs to; "": none */
    /* Of the tree, whatever the standing: JOINING, it is what it would join. */
    char cluster[40];   /* uuid; "" until known */
    char secret[72];    /* "" until known */
    int64_t epoch;      /* the current one, as far as known */
    const char *leader; /* id, NULL: nobody */
    const char *leader_url;
    bool leading;
    uint64_t head, applied; /* of the journal; given to the owner */
    bool current;      /* applied all that head said last, connected, and nothing is held against the tree */
    bool read;         /* applied all that head said, once since this replica began */
    int level;         /* that all members read */
    int64_t offset_ms; /* own wall clock less the ensemble's */
    bool offset_known;
    int64_t ensemble_ms;    /* the ensemble's wall clock less this machine's boot time, of the same answer */
    uint64_t leaderless_ms; /* so long there was no leader that belongs to the epoch; 0: there is one */
    uint64_t offset_asked_ms;                /* boot time of the question that it answers */
    const struct replicated_member *members; /* by id; includes this one when it is registered */
    size_t member_count;
    /* Members that the log in ZooKeeper does not wait for any more, since it would grow without a bound: they get
     * their state from a snapshot later. Comma between them; "": none. Of the leader. */
    const char *left_behind;
    enum replicated_role role; /* as this replica says it to others */
    int64_t base;              /* of the epoch */
    const char *nonce;         /* of its own leadership; "" */
    const char *process;       /* another with each start of the process */
    /* Another replica that leads this cluster through another ensemble, for people; "": none is known. */
    const char *other_leader;
    /* REFUSING: the replica whose history is the reason, and whether it is a member here; "": it is none. */
    const char *against;
    bool against_member;
};
/* Borrowed until the core is entered again. */
const struct replicated_view *replicated_view(const struct journal *journal);
