/* Failover drills: what the verb `drill` is made of.
 *
 * The course of one drill: apply the canaries -> (steady -> wait for the injection point -> inject the fault ->
 * hold it -> heal it -> each engine fires again -> measure), as often as asked for -> every fire time so far has
 * started -> evaluate -> delete the canaries.
 *
 * The canaries fire every second and record each start themselves, in a ledger: a file that they append to,
 * with the run, the attempt, the epoch and the kernel's uptime. What was duplicated or never started is
 * counted there, against arithmetic, and never taken from what the servers say; they are asked only why something
 * did not start.
 *
 * What fails: in any case, and when interrupted too, the fault is healed and the canaries are deleted; the
 * first error is reported. A new leader that does not come in time is such an error.
 *
 * Files: verb_drill.c the command, drill.c the course, drill_cluster.c the clock and the look at the cluster,
 * drill_lab.c a lab's processes and links, drill_faults.c the faults, drill_store.c those that take ZooKeeper's data,
 * drill_canary.c the load, drill_ledger.c
 * what it recorded, drill_verdict.c the evaluation, drill_report.c what is printed. Main thread; a struct drill
 * owns all it points to, except the session.
 */
#pragma once

#include "cronsched/cli/cli_context.h"

#include <signal.h>
#include <sys/types.h>

#define DRILL_REPEATS_MAX   10000
#define DRILL_RATE_MAX      50 /* canary jobs of an engine: each fires every second */
#define DRILL_ENGINES_MAX   4
#define DRILL_LINES_MAX     (8 * 1024 * 1024) /* of a ledger */
#define DRILL_STEADY_MS     120000            /* to become steady, before a fault and after it */
#define DRILL_SETTLE_MS     45000             /* without any start, until missing ones are given up */
#define DRILL_POLL_MS       20
#define DRILL_BACKUP_AGE_MS 50000 /* of the backup of a store: older than what is reserved ahead */
#define DRILL_ID_MAX        128
#define DRILL_LISTED_MAX    100 /* runs named in a report */
#define DRILL_WORDS         12  /* of a command that it runs */

/* ---- a lab (contrib/lab), by its lab.json ---- */

struct drill_lab {
    json_t *facts; /* NULL: a cluster that is not a lab */
    const char *folder, *ledger, *image, *servers;
    int64_t session_timeout_ms;
};

int drill_lab_open(struct drill_lab *lab, const char *folder, struct error *error);
void drill_lab_release(struct drill_lab *lab);
size_t drill_lab_replicas(const struct drill_lab *lab); /* how many belong to it */

/* The process of a replica; ERR_NOT_FOUND when it does not run. */
int drill_lab_pid(const struct drill_lab *lab, const char *replica, pid_t *ret, struct error *error);

/* contrib/lab VERB FOLDER WORD..., until it ends; a NULL ends the words. */
int drill_lab_run(const struct drill_lab *lab, struct error *error, const char *verb, ...)
    __attribute__((sentinel));
/* This program with these words, as an operator would call it, until it ends; a NULL ends the words. */
int drill_lab_cronsched(struct error *error, const char *verb, ...) __attribute__((sentinel));

/* ---- the ledger ---- */

struct drill_line {
    int64_t fire_ms, at_ms, epoch; /* at: the wall clock of the start */
    unsigned canary;               /* number of the job */
    bool end;
};

struct drill_ledger {
    char folder[4096];
    int fd;
    int64_t wall_ms;  /* the wall clock when uptime was 0, as it was seen at first */
    struct text rest; /* a line that is not whole yet */
    struct drill_line *lines;
    size_t count, capacity, torn;
};

int drill_ledger_open(struct drill_ledger *ledger, const char *below, const char *tag, struct error *error);
void drill_ledger_release(struct drill_ledger *ledger);
/* Takes in what was appended since. */
int drill_ledger_read(struct drill_ledger *ledger, struct error *error);

/* ---- the drill ---- */

struct drill_view { /* of the cluster */
    int64_t epoch;
    char leader[DRILL_ID_MAX];
    size_t replicas;
};

/* A named injection point, by its distance from a fire time of the canaries. */
#define DRILL_POINTS(X)                                                                                      \
    X("random", 0, 999, "any")                                                                               \
    X("before-release", -40, -1, "all is committed and waits for its time")                                  \
    X("release", 0, 30, "the start requests are under way")                                                  \
    X("after-release", 30, 250, "containers start, the next are armed")                                      \
    X("quiet", 500, 800, "nothing is under way")

struct drill_point {
    const char *name;
    int from_ms, to_ms;
};

struct drill;

struct drill_fault {
    const char *name, *help;
    bool successor;    /* another replica has to lead after it */
    bool stays;        /* no other epoch may begin */
    bool may_lose;     /* what was about to start may end as lost, with evidence */
    bool may_forget;   /* the journal of a time is lost: what was under way then may end as lost, what was due
                          in it may be skipped as journal-lost */
    bool needs_lab;    /* cannot be done to any other cluster */
    bool needs_name;   /* on another cluster: only with --yes and the leader named */
    int hold_sessions; /* healed that many session timeouts later; 0: once the new leader fires, or at once */
    int (*prepare)(struct drill *d, struct error *error); /* before the moment of the fault; NULL: nothing */
    int (*inject)(struct drill *d, struct error *error);
    int (*heal)(struct drill *d, struct error *error); /* NULL: nothing to heal */
};
extern const struct drill_fault drill_faults[]; /* a name of NULL ends it */

struct drill_repeat {
    struct drill_view before, after;
    int64_t backup_ms, fault_ms, healed_ms; /* backup: of a fault that may forget, else 0 */
    int64_t gap_ms;                         /* from the fault to the new leader; -1: none */
    int64_t first_ms[DRILL_ENGINES_MAX];    /* from the fault to the new leader's first start; -1: none */
    int64_t silent_ms[DRILL_ENGINES_MAX];   /* the longest time without a start */
    int64_t late_ms[DRILL_ENGINES_MAX];     /* the latest start, after its fire time */
    char cause[DRILL_ID_MAX];               /* how the new leader noticed */
};

struct drill_verdict {
    int64_t fire_times, starts;
    json_t *doubled, *lost, *unaccounted, *skipped, *unprovable; /* run ids, up to DRILL_LISTED_MAX of each */
    size_t doubled_count, lost_count, unaccounted_count, skipped_count;
    size_t unprovable_count; /* lost, as the fault may cause */
    size_t forgotten_count;  /* skipped as journal-lost, as the fault may cause */
    size_t led_count;  /* how often somebody led, or something started, where nobody may lead; other epochs
                                where none may begin */
    size_t open, torn; /* runs that have not ended; lines of the ledger that cannot be read */
};

struct drill {
    struct cli_context *session;
    const struct drill_fault *fault;
    const struct drill_point *point;
    struct drill_lab lab;
    struct drill_ledger ledger;
    const char *engines[DRILL_ENGINES_MAX];
    size_t engine_count;
    long rate, repeats;
    const char *leader_named; /* --leader, or NULL */
    const char *image;        /* of the canaries in containers */
    uint64_t seed, chance;
    char tag[12];              /* in the canaries' names */
    int64_t first_ms, last_ms; /* fire times that count */
    struct drill_repeat *done;
    size_t done_count;
    struct drill_view before;  /* of the repeat under way */
    int64_t backup_ms;         /* of it: what was journaled since is lost; 0: nothing */
    bool store_lost;           /* and ZooKeeper holds less than was committed */
    bool killed;               /* the leader of before, and not yet started again */
    char misled[DRILL_ID_MAX]; /* the replica that reaches another engine, or "" */
    int64_t leading_ms;        /* when the new leader was first seen; 0: not yet */
    struct drill_verdict verdict;
};

/* The whole course. Without an error *ret_passed says whether the verdict is good. */
int drill_go(struct drill *d, bool *ret_passed, struct error *error);
void drill_release(struct drill *d);

/* The next number of a sequence that the seed determines: 0 to below - 1. */
uint64_t drill_random(struct drill *d, uint64_t below);
int64_t drill_now_ms(void);
void drill_sleep_until(int64_t wall_ms);
extern volatile sig_atomic_t drill_interrupted;

/* Asks all servers but `but_for` (NULL: all) who leads; a lab's leader is asked first from then on.
 * ERR_NO_LEADER when no answer names one. */
int drill_look(struct drill *d, const char *but_for, struct drill_view *ret, struct error *error);

/* drill_store.c: the parts of its faults. */
int drill_store_backup(struct drill *d, struct error *error); /* and waits until it is old */
int drill_store_restore(struct drill *d, struct error *error);
int drill_store_empty(struct drill *d, struct error *error);
/* Every replica refuses, nobody leads for a while; then `cluster recover` from a replica, or from the tree. */
int drill_store_recover(struct drill *d, struct error *error);
int drill_store_recover_from_replica(struct drill *d, struct error *error);

int drill_canaries_apply(struct drill *d, struct error *error);
int drill_canaries_delete(struct drill *d, struct error *error);
const char *drill_canary_name(const struct drill *d, unsigned canary, char *buffer, size_t size);
unsigned drill_canary_count(const struct drill *d);
size_t drill_canary_engine(const struct drill *d, unsigned canary); /* index into engines */

/* drill_settle waits until every fire time has started, or nothing starts any more; drill_evaluate compares. */
int drill_settle(struct drill *d, struct error *error);
int drill_evaluate(struct drill *d, struct error *error);
bool drill_passed(const struct drill_verdict *verdict);

/* The numbers of one repeat, from the ledger and the journal. */
int drill_measure(struct drill *d, struct drill_repeat *repeat, struct error *error);

json_t *drill_report(const struct drill *d);
void drill_show(const struct drill *d, const struct output *out);
