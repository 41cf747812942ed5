/* The scheduler's inside, from the ground up. A file calls those that stand before it here and none of those
 * after it: turn.c (records, batch, clock), run_queue.c (places), rules.c (what a definition says), engine_call.c
 * (requests to engines), takeover.c (what an earlier reign left), launch.c (attempts), planner.c (fire times),
 * reconcile.c (doing what is due). On top are the entries: engine_events.c (what engines say), commands.c (what
 * clients ask), scheduler.c (the journal's events, and life); and status.c and overdue.c, which only look.
 *
 * How it works: everything is level-triggered. A record changes the state; when its batch is durable, each
 * run that it touched is attended: run_attend looks at where the run stands and does the next thing (a
 * request to its engine, a timer, a place in a lane), or nothing. job_attend does the same for a job and its
 * fire times. No other memory of "what was to be done next" exists, so a new leader that attends every run
 * goes on where the old one stopped.
 */
#pragma once

#include "jobs/scheduler/scheduler.h"
#include "jobs/state/state.h"

#define SCHEDULER_ENGINES_MAX 16
#define SCHEDULER_POOLS_MAX   64
#define SCHEDULER_FLIGHTS_MAX                                                                                \
    1024 /* batches not yet acked: beyond, requests are refused and planning waits */
#define SCHEDULER_WAITERS_MAX  10000
#define JUDGED_PER_TURN_MAX    512 /* fire times of one job; the rest in the next turn */
#define ARMED_PER_JOB_MAX      64
#define BACKFILL_TIMES_MAX     5000
#define SNAPSHOT_EVERY_BATCHES 5000
#define SETTLE_WATCH_MS        5000 /* how long a started run of an earlier reign may hold its job unsettled */
#define BACK_OFF_FIRST_MS      500
#define BACK_OFF_MAX_MS        30000
#define STOP_AGAIN_MS          30000
#define LANE_LOOK_AGAIN_MS     5000
#define MAY_ACT_AGAIN_MS       100

/* A bounded number of places and those who wait for one: an engine's armed attempts, a pool's running ones.
 */
struct lane {
    const char *name;
    int used, size;
    struct heap waiting; /* heap_item place of runs: priority first, then order of creation */
};

struct flight { /* a batch that was handed to the journal */
    struct list all;
    uint64_t index;
    uint64_t kinds; /* bit i: it holds a record of kind i */
    char **runs;    /* to be attended when it is durable */
    size_t run_count;
    struct history_write *write;
};

struct waiter {
    struct list all;
    uint64_t index;
    void (*done)(void *arg, int result);
    void *arg;
};

struct call { /* an engine request under way */
    uint64_t ticket;
    enum engine_op op;
    char *run; /* NULL: its run is gone; the answer only matters for discarding */
    int attempt, try;
    struct engine *engine;
    UT_hash_handle by_ticket;
};

struct
    discard { /* the object of an attempt that is revoked or never ran: to be removed once that is durable */
    struct list all;
    uint64_t index;
    struct engine *engine;
    struct job *job;
    char *run, *id, *name;
    int attempt, try;
    int64_t epoch;
};

/* What became of a run that an earlier reign left unfinished. */
#define TAKEOVER_FATES(X)                                                                                    \
    X(ADOPTED, "adopted")         /* found executing; watched from then on */                                \
    X(HANDED_OVER, "handed over") /* by a leader that gave up the lead; committed anew */                    \
    X(ENDED, "ended meanwhile")                                                                              \
    X(DISCARDED, "discarded")     /* provably never ran; armed again when its fire time still asks for it */ \
    X(ARMED_AGAIN, "armed again") /* was only reserved */                                                    \
    X(WAITING, "waiting")         /* had no attempt under way */                                             \
    X(REFUSED, "refused")                                                                                    \
    X(LOST, "lost")                                                                                          \
    X(UNRESOLVED, "unresolved") /* when the report was written: its engine gave no answer yet */

enum takeover_fate {
#define X(fate, name) FATE_##fate,
    TAKEOVER_FATES(X)
#undef X
        FATE_COUNT
};

struct takeover {
    int unsettled;   /* runs, over all jobs */
    int64_t lead_ms; /* when this reign began */
    json_t *runs;    /* for the report; NULL: it is written, or there was no earlier reign */
    json_t *times;   /* fire times until lead_ms that were judged since */
    int64_t from_epoch, gap_ms;
    char *cause, *from_replica;
    int fates[FATE_COUNT];
    int64_t late, skipped; /* of those fire times */
};

#define LATENESS_BUCKETS 14

struct scheduler {
    struct scheduler_options o;
    struct engine_host host;
    struct state state;
    struct journal *journal;
    bool leading, have_state, stopping;
    int64_t epoch;
    int64_t now_ms;      /* of this entry; never goes back within a reign */
    struct batch *batch; /* of this turn; NULL: nothing yet */
    uint64_t acked;
    struct state_hash {
        uint64_t index; /* 0: none */
        char text[33];
    } hash, hash_ahead;      /* hash_ahead: of what is not durable yet */
    uint64_t snapshot_index; /* of the last snapshot */
    char *snapshot;          /* it, until history holds all that it stands for */
    struct list flights, waiters, discards;
    size_t flight_count, waiter_count;
    struct heap job_timers, run_timers;
    struct lane engines[SCHEDULER_ENGINES_MAX]; /* by index of o.engines */
    struct lane pools[SCHEDULER_POOLS_MAX];
    struct call *calls;
    uint64_t next_ticket;
    struct takeover takeover;
    bool working;
    int64_t wake_ms;
    char refusing[ERROR_TEXT_MAX]; /* why nothing new is taken; "" when leading */
    /* for /metrics */
    size_t state_bytes; /* of that snapshot */
    uint64_t fired, started, lateness[LATENESS_BUCKETS + 1], lateness_count;
    double lateness_sum_s;
};

/* ---- turn.c */
void scheduler_log(struct scheduler *s, int level, const char *event, const struct run *r, const char *format,
                   ...) __attribute__((format(printf, 5, 6)));
void scheduler_enter(struct scheduler *s);           /* reads the clock; each entry point's first step */
uint64_t scheduler_index(const struct scheduler *s); /* that this turn's records will have */
/* A record of this turn: add, set the fields, then commit, which folds it. A full batch is flushed before. */
struct record *record_begin(struct scheduler *s, enum record_kind kind);
void record_commit(struct scheduler *s, struct record *r);
#define PUT_TEXT(s, r, field, v) RECORD_TEXT((s)->batch, (r), field, (v))
#define PUT_INT(s, r, field, v)  RECORD_INT((s)->batch, (r), field, (v))
#define PUT_JSON(s, r, field, v) RECORD_JSON((s)->batch, (r), field, (v))
struct record *record_about(struct scheduler *s, enum record_kind kind,
                            const struct run *r); /* its newest attempt */
void record_with_text(struct scheduler *s, enum record_kind kind, struct run *r, const char *text);
void turn_hash(struct scheduler *s); /* after a batch that was read */
void turn_acked(struct scheduler *s,
                uint64_t index);     /* what is durable: runs are kicked, history gets its part */
void turn_drop(struct scheduler *s); /* all that is not durable */
void job_kick(struct scheduler *s, struct job_state *j, int64_t at_ms); /* attend it then, or earlier */
void run_kick(struct scheduler *s, struct run *r, int64_t at_ms);

/* ---- run_queue.c */
const char *run_engine_name(struct scheduler *s, const struct run *r);
struct lane *engine_lane(struct scheduler *s, const char *name, struct engine **ret);
struct engine *engine_of(struct scheduler *s, const struct attempt *a); /* NULL: not in the configuration */
struct lane *pool_lane(struct scheduler *s, const struct job *def);     /* NULL: it is in no pool */
bool lane_free(const struct lane *lane, const struct run *r);
void lane_wait(struct scheduler *s, struct lane *lane, struct run *r);
void lane_wait_no_more(struct scheduler *s, struct run *r);
void lane_leave(struct scheduler *s, struct lane *lane); /* gives a place back */
void run_leave_slot(struct scheduler *s, struct run *r);
void run_unadmit(struct scheduler *s, struct run *r);
void lanes_empty(struct scheduler *s);

/* ---- rules.c */
struct schedule *job_schedule(struct scheduler *s,
                              struct job_state *j); /* compiled when needed; NULL: none */
bool job_names(struct scheduler *s, struct job_state *j, int64_t fire_ms); /* a fire time of its schedule */
int64_t rules_cursor_s(const struct job_state *j);
int64_t rules_due_ms(const struct schedule *schedule, int64_t at_s);
int64_t job_next_ms(struct scheduler *s,
                    struct job_state *j); /* next fire time not yet fired, or HEAP_NEVER */
int64_t job_exact_ms(const struct scheduler *s, const struct job_state *j); /* for the next exact run id */
bool run_waits_turn(const struct run *r);                                   /* queued rather than skipped */
bool run_counts(const struct run *r); /* it occupies its job, as far as overlap goes */
int job_waiting(const struct job_state *j);
const struct run *rules_busy_with(const struct job_state *j, const struct run *but);

/* ---- engine_call.c */
struct call *call_find(struct scheduler *s, uint64_t ticket);
void call_free(struct scheduler *s, struct call *c);
void calls_drop(struct scheduler *s);
void engine_call_orphan(struct scheduler *s, uint64_t *ticket);
void engine_call_orphan_all(struct scheduler *s, struct run *r);
uint64_t engine_call_begin(struct scheduler *s, struct run *r, enum engine_op op); /* its ticket */
bool engine_call_may_act(struct scheduler *s, struct run *r);
void engine_call_submit(struct scheduler *s, struct run *r, enum engine_op op);
void run_back_off(struct scheduler *s, struct run *r);
void discard_later(struct scheduler *s, struct run *r);
void discards_acked(struct scheduler *s);

/* ---- takeover.c */
/* A reign begins, after the EPOCH record; from_epoch 0: the first of all. last_batch_ms: leader time of the
 * last batch of the one before. */
void takeover_begin(struct scheduler *s, const char *cause, int64_t from_epoch, const char *from_replica,
                    int64_t last_batch_ms);
void takeover_end(struct scheduler *s);
void takeover_yield(struct scheduler *s); /* journals what is prepared and not released, for the successor */
void run_settled(struct scheduler *s, struct run *r,
                 enum takeover_fate fate); /* its attempt's fate is known */
/* May a run of the earlier reign execute beside one that this job would fire now? run_settled attends the
 * job. */
bool takeover_holds(const struct scheduler *s, const struct job_state *j);
/* Fire times that were judged: late, by catch-up, or skipped for a reason; those of the gap go into the
 * report. */
void takeover_note_times(struct scheduler *s, const struct job_state *j, int64_t from_ms, int64_t to_ms,
                         int64_t count, const char *policy);
int64_t takeover_report(struct scheduler *s); /* writes it when it is time; gives when to look again */

/* ---- launch.c */
void run_attend(struct scheduler *s, struct run *r);
void run_arm(struct scheduler *s, struct run *r, const char *engine); /* engine NULL: the job's first */
bool run_arm_ahead(struct scheduler *s, struct job_state *j, const char *id, int64_t fire_ms, int64_t due_ms);
void run_release_now(struct scheduler *s,
                     struct run *r); /* when committed and durable: the due time has come */
void run_revoke(struct scheduler *s, struct run *r, const char *reason);
void run_never_ran(struct scheduler *s, struct run *r, const char *evidence);
void run_close(struct scheduler *s, struct run *r, const char *verdict, const char *text, const char *by);
void run_stop(struct scheduler *s, struct run *r, const char *reason, const char *by);
void run_lost(struct scheduler *s, struct run *r,
              const char *text);                         /* nothing can be proved of its attempt */
void run_fire_ahead(struct scheduler *s, struct run *r); /* a reservation, before its turn to be judged */
void run_forget(struct scheduler *s, struct run *r);     /* before it is freed */

/* ---- planner.c */
void job_attend(struct scheduler *s, struct job_state *j);
/* Accounts for every fire time up to now under the definition in force (invariant 7), and revokes what is
 * armed for later; before an edit, a deletion or a pause. */
void job_account(struct scheduler *s, struct job_state *j, const char *reason);
/* As SKIPPED for this reason: every fire time from the cursor up to to_ms. */
void job_skip_to(struct scheduler *s, struct job_state *j, int64_t to_ms, const char *reason,
                 const char *text);
/* When zone rules change: accounts for all up to now under the old ones; and then skips what of the new ones
 * the job has had already by its local time, so that a night's run never doubles. */
void job_zones_before(struct scheduler *s, struct job_state *j);
void job_zones_after(struct scheduler *s, struct job_state *j);
void job_stop_others(struct scheduler *s, struct job_state *j, const struct run *but);

/* ---- reconcile.c */
void scheduler_leave(
    struct scheduler *s); /* does what is due, sets the alarm; each entry point's last step */

/* ---- engine_events.c */
void launch_answer(struct engine_host *host, const struct engine_answer *answer);
bool launch_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id);
void launch_back(struct engine_host *host, const struct engine *engine);
