/* The replicated journal: the table of jobs/state/journal.h over ZooKeeper. The core: election, epoch, append,
 * following, snapshots, truncation, membership. Pure: no libuv, no libzookeeper; time and facts come in by
 * tables, so the simulator runs this very code.
 *
 * Nodes, below the cluster's own:
 *   epoch       {cluster, base, replica, session, nonce, cause, ...}; its VERSION (+ base) is the epoch, and
 *               the fencing token that every write of a leader carries as a check
 *   leader      ephemeral, {replica, url, nonce}
 *   head        the index of the last batch, in decimal; the one thing that standbys watch beside leader
 *   log/N       batch N (ten digits): the epoch's nonce, a newline, the batch's JSON text
 *   members/ID  ephemeral, JSON: url, version, level, applied, offset, tzdata, fit ...
 *   snap/current, snap/chunks/HASH   see manifest.c and chunks.h
 *   secret      by which replicas recognize one another
 *
 * Taking over is ONE multi on the version that the epoch had under the dead leader, so that leader and epoch
 * always belong together. The epoch is set before the tail is read, so the tail is final. Appends are pipelined
 * multis: check(epoch), create(log/N)..., set(head, its version), so that when one fails all later ones do.
 *
 * What fails, and what the owner sees:
 * - The connection is lost: appends wait. When it is back, a write makes reads fresh, and log/N shows whether it
 *   is mine: acked, or sent again.
 * - The session expired, another epoch, a batch of another replica: deposed, once; then restore and batch...
 * - A chain of hashes that disagrees, an empty tree under a store that knows more: an alarm in status.text, and
 *   nothing more happens until an operator acts.
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

#define REPLICATED_IN_FLIGHT_MAX   8192 /* appends not yet acked; then ERR_LIMIT */
#define REPLICATED_IN_FLIGHT_BYTES (64 * 1024 * 1024)
#define REPLICATED_WINDOW_MAX      64 /* multis under way */
#define REPLICATED_WINDOW_BYTES    (4 * 1024 * 1024)
#define REPLICATED_GROUP_BYTES     (512 * 1024) /* batches in one multi */
#define REPLICATED_GROUP_MAX       128
#define REPLICATED_FETCH_MAX       64                 /* batches fetched at once */
#define REPLICATED_LOG_KEEP_BYTES  (32 * 1024 * 1024) /* of batches below the snapshot that stay */
#define REPLICATED_MEMBERS_MAX     64
#define REPLICATED_DEPOSED_HOLD_MS                                                                           \
    (5 * 60 * 1000)                      /* one that was deposed for not firing lets others go first */
#define REPLICATED_RESIGNED_HOLD_MS 1000 /* so does one that resigned: others take over in milliseconds */
#define REPLICATED_DEPOSE_EVERY_MS  (5 * 60 * 1000)
#define REPLICATED_RESIGN_AFTER_MS  10000 /* an unfit leader beside a fit standby */

/* Time, randomness, log: as in scheduler_env. */
struct replicated_env {
    uint64_t (*boot_ms)(void *arg); /* CLOCK_BOOTTIME */
    int64_t (*wall_ms)(void *arg);
    uint64_t (*random)(void *arg);
    void (*wake_at)(void *arg, uint64_t boot_ms); /* call replicated_tick then; the newest call counts */
    void (*log)(void *arg, enum log_level level, const char *event, const char *text);
    void *arg;
};

/* What the core asks about this replica, and what it reports. */
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
    void *arg;
};

struct replicated_options {
    const char *replica;       /* its id */
    const char *url;           /* where others reach it; in `leader` and `members` */
    const char *cluster_uuid;  /* of a new cluster, when the tree is empty */
    const char *known_cluster; /* uuid the local store belongs to; NULL: none yet */
    uint64_t known_index;      /* the local store's: an empty or other tree below it is refused */
    int level;                 /* record level this build writes at most and reads */
    uint64_t log_keep_bytes;   /* 0: REPLICATED_LOG_KEEP_BYTES */
    const char *secret;        /* for a new cluster: 64 hex digits */
    const struct replicated_env *env;
    const struct replicated_host *host;
};

/* The first events come once the coordinator connects. */
struct journal *replicated_new(const struct replicated_options *options, struct coord *coord,
                               const struct journal_events *events, void *arg);

void replicated_tick(struct journal *journal);

/* The process of this epoch's leader is gone: its connection closed and its address refuses another. */
void replicated_leader_gone(struct journal *journal, int64_t epoch);
/* The leader of this epoch lives but does not do its work (text: what is overdue): take its place. At most
 * once in REPLICATED_DEPOSE_EVERY_MS, and only while own writes succeed. False: not now. */
bool replicated_depose(struct journal *journal, int64_t epoch, const char *text);
/* Resigns: the leader node is removed once everything appended is acked. ERR_NO_LEADER: this replica does not
 * lead; ERR_CONFLICT: no other is there and fit. */
int replicated_step_down(struct journal *journal, struct error *error);
/* Before the close: resigns, if it leads (the view shows when it does not any more), and never campaigns again. */
void replicated_retire(struct journal *journal);

struct replicated_member {
    char *id;
    json_t *facts; /* as it published them */
};

struct replicated_view {
    bool connected;
    int64_t session, session_timeout_ms;
    char cluster[40];   /* uuid; "" until known */
    char secret[72];    /* "" until known */
    int64_t epoch;      /* the current one, as far as known */
    const char *leader; /* id, NULL: nobody */
    const char *leader_url;
    bool leading;
    uint64_t head, applied; /* of the journal; given to the owner */
    bool current;           /* applied all that head said last, and connected */
    int level;              /* that all members read */
    int64_t offset_ms;      /* own wall clock less the ensemble's */
    bool offset_known;
    uint64_t offset_asked_ms;                /* boot time of the question that it answers */
    const struct replicated_member *members; /* by id; includes this one when it is registered */
    size_t member_count;
    const char *alarm; /* what stopped it for good, or "" */
};
/* Borrowed until the core is entered again. */
const struct replicated_view *replicated_view(const struct journal *journal);
