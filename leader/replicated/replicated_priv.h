/* The replicated core's inside. For replicated.c (the session, time, the journal's table), tree.c (what the
 * small nodes say), guard.c (whether that is believed), election.c (who leads), ask.c (whether the leader
 * lives), claims.c (whether somebody leads in another ensemble), append.c (the leader's writes), follow.c (batches
 * and snapshots of others), snapshot.c and manifest.c (own snapshots, truncation), members.c (who is there),
 * holder.c (whether this replica's name is free) and recover.c (a person has the journal go on).
 *
 * How it works: everything is level-triggered. Events only note what is known or wanted; replicated_pump
 * looks at it all and makes the requests that are missing. A request that came back COORD_LOST leaves what it
 * was for wanted, and the next `connected` pumps again. Nothing else remembers what was to be done.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/replicated/chunks.h"
#include "leader/replicated/replicated.h"
#include "leader/replicated/suspicion.h"

#include "jobs/base/hash_table.h"

#define NODE_EPOCH     "/epoch"
#define NODE_LEADER    "/leader"
#define NODE_HEAD      "/head"
#define NODE_LOG       "/log"
#define NODE_MEMBERS   "/members"
#define NODE_SECRET    REPLICATED_SECRET_NODE
#define NODE_ASK       "/ask"
#define NODE_ANSWER    "/answer"
#define NODE_SNAP      "/snap"
#define NODE_CURRENT   "/snap/current"
#define NODE_CHUNKS    "/snap/chunks"
#define NODE_RECOVERED "/recovered"

#define REFUSAL_SIZE         256
#define NONCE_SIZE           17          /* 16 hex digits and a NUL */
#define NODE_BYTES_MAX       (64 * 1024) /* of the small nodes: a larger one is invalid */
#define RETRY_MS             1000        /* after an unexpected reply */
#define ERROR_STANDS_MS      60000       /* an unexpected reply is told as long, when none follows */
#define HEARTBEATS_A_SESSION 5
#define LOOK_MS              1000            /* time moves on without an event: looked at that often */
#define CLOSE_DRAIN_MS       3000            /* for appends under way at close */
#define ASK_RETRY_MS         100             /* of an answer that failed */
#define ASK_TELL_EVERY_MS    (5 * 60 * 1000) /* that a link is down while the leader lives */
#define CLAIMS_MAX           16
#define CLAIM_MS             10000 /* a claim that is not renewed is over */
#define CLAIM_SURE_MS        1000  /* one that stands as long is of another ensemble */
#define CLAIM_SOON_MS        50    /* members are asked again that often at first, */
#define CLAIM_AGAIN_MS       500   /* and later */
#define HOLDER_AGAIN_MS      500
#define UNFIT_PATIENCE_MS    2000 /* an unfit replica campaigns only after that, and if no other is fit */

enum leadership {
    FOLLOWING,
    CAMPAIGNING, /* the multi is under way */
    ELECTED,     /* the epoch is mine; the tail is being read */
    LEADING,
    YIELDING,    /* leads; the owner's last appends come, from within its event */
    RESIGNING,   /* leads; takes no appends; those that it took are being written */
    RESIGN_SENT, /* leads; the removal of the leader node is under way */
    RETIRED,     /* follows, and never campaigns again */
    ALARMED,     /* nothing is done any more */
    DRAINING,    /* leads, and closes when what it took is written */
    CLOSING      /* does not lead; the session ends */
};

/* A node that is kept read. */
struct reading {
    bool want, asked;
};

struct item { /* a batch that waits for its acknowledgement */
    struct list link;
    uint64_t index;
    char *data; /* of its node */
    size_t size;
    char hash[33]; /* of the batch's text, which ends the data */
    uint64_t queued_us;
};

struct pending_multi { /* one under way */
    struct object object;
    struct list link;
    struct replicated *r;
    uint64_t last;        /* index of its last batch */
    int32_t token;        /* of its epoch */
    int32_t head_version; /* of the head that it leaves */
    size_t bytes;
    uint64_t sent_ms; /* boot time */
};

enum recovery { RECOVERY_NONE, RECOVERY_WANTED, RECOVERY_ASKED };

struct manifest {
    bool exists;
    uint64_t index, first; /* of the snapshot; the oldest batch in the log when it was published */
    char hash[33];         /* of batch `index` */
    int level;             /* of the records in it: a build that reads less does not use it */
    size_t size;
    uint64_t bytes;            /* of all batches up to index, from the first of all */
    struct mark_epochs epochs; /* of the history up to index; empty: an older build made it */
    json_t *trail;  /* [[index, bytes], ...] of earlier snapshots whose batches may still be there */
    json_t *chunks; /* names, in order */
};

struct restoring {
    bool active;
    struct manifest manifest;
    size_t asked, arrived; /* chunks */
    size_t under_way;
    char *text;
    size_t filled;
    int again; /* the snapshot was replaced meanwhile */
};

enum publish_step {
    PUBLISH_CURRENT,
    PUBLISH_LIST,
    PUBLISH_HASH,
    PUBLISH_CHUNKS,
    PUBLISH_MANIFEST,
    PUBLISH_SWEEP
};

struct chunk_name {
    char name[33];
    UT_hash_handle hh;
};

struct publishing { /* snapshot.c */
    enum publish_step step;
    size_t under_way;              /* requests */
    bool failed;                   /* one of them: from the first step again, when all are answered */
    char *text;                    /* NULL: nothing to publish */
    size_t size, cut;              /* so far it is cut into chunks */
    char written[CHUNK_NAME_SIZE]; /* the last of them that was not there before; "": none */
    uint64_t index;
    int level;
    struct chunk_name *there; /* in the tree */
    struct manifest current;  /* what NODE_CURRENT says */
    struct manifest manifest; /* the new one, in the making */
    char *waiting;            /* a newer snapshot, for afterwards */
    size_t waiting_size;
    uint64_t waiting_index;
    int waiting_level;

    int kept;                /* so often the chunks of old snapshots were left, since a member reads one */
    uint64_t bytes;          /* of all batches up to the last snapshot */
    uint64_t first;          /* the oldest batch in the log, as far as known */
    json_t *trail;           /* of the manifest that was read or published last; NULL: not known */
    bool published;          /* by this leader; batches go only then: */
    uint64_t trim_to;        /* those up to this one may go, */
    int32_t current_version; /* while NODE_CURRENT is as it was published then */
    size_t trimming;         /* requests */
    bool trim_refused;       /* nothing goes until the next snapshot */
    bool trim_again;         /* one of them moved nothing */
    bool trim_found;         /* one of them found its batch */
    bool trim_single;        /* some of them may be gone already: one at a time */

    unsigned refusals; /* of its writes, in a row */
    uint64_t retry_ms; /* not before that: boot time */
};

/* Each part of the core is written by one file, and read by all. */

struct session { /* replicated.c */
    bool connected;
    int64_t id, timeout_ms;
    uint64_t alive_ms;      /* boot time of the last entry */
    uint64_t write_sent_ms; /* of the newest acknowledged write; 0: none since the last pause */
    uint64_t retry_ms;      /* not before, after an unexpected reply */
    uint64_t error_ms;      /* boot time of the last of them; 0: last_error is of another kind */
};

/* The node /recovered: a person had the journal go on from another state. See recover.c. */
struct recovery_node {
    bool exists;
    char cluster[MARK_CLUSTER_SIZE];
    uint64_t index, head; /* of the snapshot it goes on from; where the journal ended before */
    char hash[MARK_HASH_SIZE];
    int64_t epoch;
    int64_t from_ms, until_ms;
    char by[128];
};

struct tree { /* tree.c: what the nodes say */
    struct reading epoch_read, name_read, leader_read, head_read, secret_read, recovered_read;
    bool epoch_known, leader_known, head_known, bootstrapping;
    bool left_over;    /* something of another cluster was in the way of making one */
    bool missing;      /* there is no epoch: no cluster */
    bool head_missing; /* an epoch, and no head */
    struct recovery_node recovered;
    bool recovered_there, head_there, secret_there; /* these nodes, whatever they say */
    int32_t epoch_version;
    int64_t epoch_base;
    char epoch_nonce[NONCE_SIZE], cluster[40], secret[72], cause[128];
    bool epoch_named; /* it says so; */
    char nameless[NONCE_SIZE],
        name_asked[NONCE_SIZE]; /* the name of this epoch was looked for, and is not there */
    char *leader, *leader_url;  /* NULL: none */
    int64_t leader_owner;
    char leader_nonce[NONCE_SIZE];
    bool leader_answers; /* questions in /ask; an older build does not */
    uint64_t head;
    int32_t head_version;
    bool head_fresh;                        /* head was read since tree_want_head */
    uint64_t head_asked_ms, head_covers_ms; /* it is no older than what was written then */
};

struct follower { /* follow.c */
    bool restored;
    uint64_t applied; /* given to the owner, or its own and acknowledged */
    char applied_hash[33];
    int64_t applied_epoch; /* 0: unknown, after a snapshot of an older build */
    uint64_t asked;        /* the last batch asked for */
    size_t fetching;
    uint64_t gone;      /* the batch that was missing last */
    uint64_t differed;  /* the batch that did not follow last, and had all read again */
    bool refetch;       /* an answer was lost: forget those under way */
    uint64_t log_bytes; /* of all batches up to applied, from the first of all, with their nodes */
    struct restoring restoring;
    bool current; /* has been at the head since it was restored */
    bool read;    /* has been at the head at all */
};

struct verify { /* the mark's batch is being read */
    size_t under_way;
    bool again; /* it is wanted again meanwhile */
    bool failed, found, next_differs;
    enum mark_verdict verdict;
    struct mark mark; /* as it was when it was asked */
};

struct guard { /* guard.c: what is held against the tree */
    struct mark mark;
    struct mark_epochs epochs; /* of what was applied */
    bool found_asked;
    char join[MARK_CLUSTER_SIZE]; /* the cluster that it may join */
    bool verified;                /* the tree has the mark's batch */
    enum mark_verdict verdict;    /* of the last time that it was read */
    uint64_t verify_ms;           /* not before */
    struct verify verify;
    bool doubts; /* a member holds more than this leader, which reads the epoch: it may have been replaced */
    char contradiction[REFUSAL_SIZE]; /* with what another member holds; "": none */
    char against[COORD_PATH_MAX];     /* that member, */
    bool against_member;              /* or one that is not a member here */
    char refusal[REFUSAL_SIZE];       /* "": none */
};

enum recover_step {
    RECOVER_NONE,
    RECOVER_WAIT, /* until all is read, and from the tree: followed */
    RECOVER_CURRENT,
    RECOVER_CHUNKS,
    RECOVER_STRAY,
    RECOVER_SWITCH,
    RECOVER_DOUBT /* the answer to the switch was lost */
};

struct recovering { /* recover.c */
    enum recover_step step;
    size_t under_way;                       /* requests */
    bool again;                             /* an answer was lost: from the start, when all are answered */
    bool from_here, missing, current_there; /* there was no cluster; there was a snapshot */
    char by[128], nonce[NONCE_SIZE];
    char name[COORD_PATH_MAX];           /* of the epoch as read at the start; "": it has none */
    int32_t epoch_version, head_version; /* as read at the start */
    struct recovery_node node;
    struct manifest current, manifest; /* what NODE_CURRENT says; the new one */
    char *text;
    size_t size, cut; /* so far it is cut into chunks */
    uint64_t stray;   /* a batch that may not be there */
    void (*done)(void *arg, const struct error *error);
    void *arg;
};

struct election { /* election.c */
    enum leadership state;
    bool leaving;              /* the removal of an own leader node is under way */
    bool putting_back;         /* or that it is made anew */
    bool retire_asked;         /* to be RETIRED once it does not lead any more */
    int32_t token;             /* version of /epoch in my epoch */
    int64_t led_epoch;         /* the last that was mine: none is led twice */
    char nonce[NONCE_SIZE];    /* of my latest campaign */
    char name[COORD_PATH_MAX]; /* of my epoch */
    char cause[128];           /* of my latest campaign */
    int64_t overdue_epoch;     /* its leader is to be deposed */
    char overdue[96];
    uint64_t deposed_other_ms; /* when it was last tried; 0: never */
    uint64_t hold_back_ms;     /* until then others go first */
    uint64_t unfit_ms;         /* since when; 0: fit */
    uint64_t campaign_ms;      /* when the latest campaign was sent */
    uint64_t leaderless_ms;    /* since when no leader belongs to the epoch; 0: one does */
    uint64_t orphan_ms;        /* since when this leader node belongs to no epoch; 0: it does */
    char orphan_nonce[NONCE_SIZE];
    bool orphan_read_again; /* after a session, to be sure */
};

struct appender {                       /* append.c: the leader's writes */
    struct list queue, multis, unacked; /* items not sent; multis under way; items sent */
    size_t in_flight, in_flight_bytes, window, window_bytes;
    uint64_t next_index; /* of the last batch taken */
    char next_hash[33];
    int32_t next_head_version;
    enum recovery recovery;
    bool recovered_once;       /* without progress since */
    char uncertain_reply[128]; /* to an append, other than that the connection was lost */
    bool refused;              /* it was a refusal */
    unsigned refusals;         /* in a row */
    uint64_t retry_ms;         /* nothing is sent before that: boot time */
    uint64_t barrier_sent_ms;
    struct journal_status status; /* acked, and the durations; the rest is filled in when asked */
};

struct members { /* members.c */
    struct reading read;
    bool fresh; /* all were read since members_want */
    bool registered, registering;
    bool heartbeat_asked;
    uint64_t heartbeat_ms; /* when the next is due */
    uint64_t heartbeat_sent_ms, lease_sent_ms;
    bool told_fit; /* as this replica published last */
    uint64_t told_reading;
    uint64_t changed_ms; /* when one came or went; 0: never */
    uint64_t look_ms;    /* when they are read again, since one is not fit yet; 0: not */
    struct replicated_member list[REPLICATED_MEMBERS_MAX];
    size_t count, asked;
    int level;
    char left_behind[256]; /* ids; "": none */
    int64_t offset_ms;
    bool offset_known;
    uint64_t offset_asked_ms;
    int64_t ensemble_ms;
    uint64_t write_ms; /* how long the last heartbeat took */
};

struct claim { /* another replica says that it leads, or is elected */
    char id[COORD_PATH_MAX], url[256], nonce[NONCE_SIZE];
    int64_t base, epoch;
    enum replicated_role role;
    uint64_t asked_ms; /* boot time of the question */
};

struct outsider { /* one that answers, and is not a member in this tree */
    char id[COORD_PATH_MAX];
    struct mark mark;
    uint64_t heard_ms;
};

struct claims { /* claims.c */
    struct claim list[CLAIMS_MAX];
    size_t count;
    struct outsider outsiders[REPLICATED_MEMBERS_MAX];
    size_t outsider_count;
    bool asking, asked;         /* the members are being asked; they were, since the start or the election */
    bool again;                 /* what is being asked now was asked before the election */
    uint64_t again_ms;          /* not asked before */
    uint64_t since_ms;          /* since when there is an outside claim; 0: there is none */
    bool written;               /* a write sent since then was acknowledged */
    char other[REFUSAL_SIZE];   /* who leads through another ensemble; "" */
    char refusal[REFUSAL_SIZE]; /* the same, when this side loses; "" */
};

enum holder_state {
    HOLDER_NONE,  /* no other node of this name is known */
    HOLDER_FOUND, /* one is there: to be read, at again_ms */
    HOLDER_READ,  /* is being read */
    HOLDER_ASKED, /* whoever it names is being asked */
    HOLDER_GONE   /* it may be removed */
};

struct holder { /* holder.c */
    enum holder_state state;
    uint64_t again_ms;
    int32_t version;
    char url[256], refusal[REFUSAL_SIZE]; /* "": the name is not taken */
};

struct asks { /* ask.c */
    struct suspicion suspicion;
    bool asking, make_ask, confirm_written, answer_changed; /* of the standby */
    size_t answer_reads;                                    /* under way */
    uint64_t told_ms;
    int64_t told_epoch;
    struct reading ask_read; /* of the leader */
    bool answering, make_answer;
    uint64_t retry_ms;             /* not before, after a failure */
    int32_t answered, answer_sent; /* versions of the question */
};

struct replicated {
    struct object object;
    struct journal journal;
    struct coord *coord;
    struct replicated_options o;
    char *replica, *url, *cluster_uuid, *first_secret;
    char process[NONCE_SIZE];
    char alarm[256], last_error[256];

    struct session session;
    struct tree tree;
    struct guard guard;
    struct follower follower;
    struct election election;
    struct appender appender;
    struct publishing publishing;
    struct members members;
    struct claims claims;
    struct holder holder;
    struct recovering recovering;
    struct asks asks;

    struct replicated_view view;
    bool coord_closing;
    uint64_t close_by_ms;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- replicated.c ---- */
struct replicated *replicated_of(const struct journal *journal);
uint64_t replicated_now_ms(const struct replicated *r); /* boot time */
void replicated_log(struct replicated *r, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool replicated_may_ask(const struct replicated *r); /* requests can be made now */
void replicated_pump(struct replicated *r);
void replicated_changed(struct replicated *r); /* tells the host */
/* For good: nothing is done any more until the process is started again. */
void replicated_alarm(struct replicated *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A reply that nothing here can use: noted, and tried again a little later. */
void replicated_unexpected(struct replicated *r, const char *what, const struct coord_reply *reply);
void replicated_retry_in(struct replicated *r, uint64_t ms); /* no request before that */
/* For status.text; logged when it is another than before. */
void replicated_note_error(struct replicated *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void replicated_clear_error(struct replicated *r);
void replicated_renew_lease(struct replicated *r, uint64_t sent_ms); /* a write sent then was acknowledged */

/* ---- tree.c ---- */
void tree_pump(struct replicated *r);
void tree_release(struct replicated *r);
void tree_bootstrap(struct replicated *r);    /* there is none: makes it */
void tree_make_members(struct replicated *r); /* so that those that are there see one another */
/* ERR_CORRUPT: a head is a number of up to 18 digits. */
int tree_parse_head(const struct coord_reply *reply, uint64_t *ret);
/* What was read of /epoch is of that campaign: a tree that went back uses versions again. */
bool tree_epoch_is(const struct coord_reply *reply, const char nonce[NONCE_SIZE]);
int64_t tree_epoch(const struct replicated *r);
/* The node that is the name of the epoch with this nonce. */
const char *tree_name_path(const char *nonce, char path[COORD_PATH_MAX]);
bool tree_named(const struct replicated *r); /* the epoch that was read has a name */
/* That the epoch is still the one that was read: 1 or 2 operations. `path` has to last until the request is made. */
size_t tree_checks(const struct replicated *r, struct coord_op ops[2], char path[COORD_PATH_MAX]);
void tree_look_for_name(struct replicated *r); /* perhaps a person removed it */
/* Epoch and leader are known, and no older than what is known to have changed. */
bool tree_current(const struct replicated *r);
bool tree_read(const struct replicated *r);          /* all of it, and nothing is known to have changed */
bool tree_recovery_read(const struct replicated *r); /* no newer word of it is asked for */
void tree_connected(struct replicated *r);
void tree_want(struct replicated *r);      /* epoch, leader and head are to be read again */
void tree_want_head(struct replicated *r); /* until then it is not head_fresh */
void tree_went_on(
    struct replicated *r); /* epoch and head are from before a recovery: not known until read again */
void tree_want_leader(struct replicated *r, bool still_known); /* with the epoch */
void tree_changed(struct replicated *r, const char *path);     /* a watch went off */
void tree_session_over(struct replicated *r);
void tree_elected(struct replicated *r, int32_t epoch_version, const char nonce[NONCE_SIZE]);
void tree_head_moved(struct replicated *r, uint64_t head, int32_t version); /* by this leader */
const char *tree_log_path(uint64_t index, char path[COORD_PATH_MAX]);

/* ---- guard.c ---- */
void guard_pump(struct replicated *r);
void guard_session(struct replicated *r);   /* connected: all is compared again */
void guard_heartbeat(struct replicated *r); /* one is sent */
enum replicated_standing guard_standing(const struct replicated *r);
bool guard_trusts(const struct replicated *r);  /* a member, and nothing is held against the tree */
bool guard_follows(const struct replicated *r); /* or a person has it followed all the same */
bool guard_may_restore(const struct replicated *r);
bool guard_may_campaign(struct replicated *r); /* nor is anything held against what is here */
void guard_elected(
    struct replicated *r); /* before it leads head, members and the mark's batch are read again */
bool guard_may_lead(const struct replicated *r); /* they were */
void guard_name_is_free(struct replicated *r);
/* Something that is compared was read. May end leadership. */
void guard_judge(struct replicated *r);
void guard_cluster_read(struct replicated *r);
void guard_recovered_read(struct replicated *r);
void guard_head_read(struct replicated *r);
void guard_members_read(struct replicated *r);
void guard_epoch_read(struct replicated *r);
void guard_want_verified(struct replicated *r);
/* False: the tree differs from what is known here; it is not to be given on. */
bool guard_restore_allowed(struct replicated *r, const struct manifest *m);
bool guard_batch_allowed(struct replicated *r, uint64_t index, const char *hash);
void guard_differs(struct replicated *r); /* a batch that does not follow the mark's was read */
/* The mark rises. begins: it is the first batch of its epoch. */
void guard_applied(struct replicated *r, uint64_t index, const char *hash, int64_t epoch, bool begins);
void guard_restored(struct replicated *r, const struct manifest *m);
void guard_forget(struct replicated *r); /* a deliberate fault: see mutant.h */

/* ---- recover.c ---- */
void recover_pump(struct replicated *r);
void recover_drop(struct replicated *r);
bool recover_follows(const struct replicated *r); /* what the tree holds, whatever is held against it */

/* ---- election.c ---- */
void election_pump(struct replicated *r);
/* There is a leader node that belongs to the epoch: one that does not is an orphan, and leads nothing. */
bool election_has_leader(const struct replicated *r);
void election_epoch_read(struct replicated *r, bool deposed_me);
bool election_fit(struct replicated *r);
bool election_leads(const struct replicated *r);
bool election_takes_appends(const struct replicated *r);
bool election_closing(const struct replicated *r);
int64_t election_epoch(const struct replicated *r); /* of the latest in which this replica was elected */
/* The first of each of a leader's multis: that the epoch is its own. */
size_t election_checks(const struct replicated *r, struct coord_op ops[2]);
/* Leadership is over, or will not begin: tells the owner, forgets what was in flight, restores the state again. */
void election_end(struct replicated *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void election_alarm(struct replicated *r);   /* the alarm was set */
void election_refused(struct replicated *r); /* the tree is not trusted any more */
void election_close(struct replicated *r);

/* ---- ask.c ---- */
/* Whatever else waits for its turn after an unexpected reply: a leader that is in trouble answers that it lives. */
bool ask_may_ask(const struct replicated *r);
void ask_pump(struct replicated *r);
void ask_elected(struct replicated *r);
void ask_session(struct replicated *r);                   /* connected, or again */
void ask_changed(struct replicated *r, const char *path); /* a watch went off */
uint64_t ask_wake_ms(const struct replicated *r);         /* UINT64_MAX: it waits for no time */

/* ---- claims.c ---- */
void claims_pump(struct replicated *r);
/* Nobody leads outside of this tree, as far as anybody that can be asked knows. Asks, if it is not known. */
bool claims_allow(struct replicated *r);
void claims_elected(struct replicated *r); /* members are to be asked again */
void claims_written(struct replicated *r, uint64_t sent_ms);
void claims_members_read(struct replicated *r);
uint64_t claims_wake_ms(const struct replicated *r); /* UINT64_MAX: it waits for no time */
enum replicated_role claims_role(const struct replicated *r);

/* ---- holder.c ---- */
void holder_found(struct replicated *r); /* there is a node of this replica's name, of another session */
void holder_session(struct replicated *r);
bool holder_pump(struct replicated *r); /* the name may be taken */
uint64_t holder_wake_ms(const struct replicated *r);

/* ---- append.c ---- */
void append_init(struct replicated *r);
void append_pump(struct replicated *r);
int append_take(struct replicated *r, struct batch *batch);
void append_begin(struct replicated *r); /* this replica leads: goes on from what was applied */
void append_session(struct replicated *r, bool fresh);
void append_doubt(struct replicated *r); /* the tree is not as this leader left it */
void append_drop(struct replicated *r);
/* That the tree is as this leader left it, while nothing is under way: up to 3 operations. */
size_t append_checks(const struct replicated *r, struct coord_op ops[3]);
bool append_idle(const struct replicated *r);
bool append_refused(const struct replicated *r); /* ZooKeeper takes none at present */

/* ---- follow.c ---- */
void follow_pump(struct replicated *r);
void follow_again(struct replicated *r); /* from the snapshot */
/* An own batch, with the size of its node. */
void follow_acked(struct replicated *r, uint64_t index, const char *hash, uint64_t bytes);
void follow_drop(struct replicated *r);

/* ---- snapshot.c ---- */
void snapshot_take(struct replicated *r, char *text, size_t size, uint64_t index, int level);
void snapshot_pump(struct replicated *r);
bool snapshot_busy(const struct replicated *r); /* there is work that waits for no answer */
bool snapshot_urgent(
    const struct replicated *r); /* most of what is kept for others was appended since the last */
void snapshot_drop(struct replicated *r);
/* What a snapshot that was read says of the log. */
void snapshot_log_begins(struct replicated *r, const struct manifest *manifest);
uint64_t snapshot_log_bytes(const struct replicated *r); /* of the batches in the tree; 0: not known */

/* ---- manifest.c ---- */
int manifest_parse(struct manifest *ret, const char *text, size_t size, struct error *error);
char *manifest_text(const struct manifest *m); /* for free() */
void manifest_release(struct manifest *m);

/* ---- members.c ---- */
void members_init(struct replicated *r);
void members_release(struct replicated *r);
void members_pump(struct replicated *r);
void members_session(struct replicated *r, bool fresh);
void members_changed(struct replicated *r, const char *path); /* a watch went off */
void members_want(struct replicated *r);                      /* until all are read they are not fresh */
void members_heartbeat_now(struct replicated *r);             /* the next is due */
uint64_t members_wake_ms(const struct replicated *r);
void members_leave(struct replicated *r);
bool members_other_fit(const struct replicated *r);
/* The smallest index that all live members hold durably. */
uint64_t members_durable(const struct replicated *r);
/* The log is truncated up to there: names those that lack some of it. */
void members_left_behind(struct replicated *r, uint64_t index);
/* Some member reads a snapshot older than that. */
bool members_reading(const struct replicated *r, uint64_t index);
