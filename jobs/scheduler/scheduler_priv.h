/* The scheduler's inside. Its files are layers: each calls only those listed before it here.
 *
 *   invariant.c      what always holds; only reads
 *   turn.c           the clock, the records and the batch of this turn; which jobs and runs to wake, and when
 *   rules.c          what a job's definition says; only reads
 *   run_queue.c      permits of engines and pools, and the runs that wait for one
 *   stray.c          objects that somebody else has started again
 *   engine_call.c    requests to engines
 *   void_times.c     fire times that a clock passed over that was ahead
 *   takeover.c       the runs that an earlier leader left, and the report about them
 *   launch.c         attempts: the next step of one run
 *   planner.c        fire times: the next step of one job
 *   all_jobs.c       what takes effect for all jobs at once: their pause, other zone rules
 *   resume.c         the end of the pause of all, in steps
 *   reconcile.c      does what is due, and sets the alarm
 *   engine_events.c  entries: what engines answer
 *   commands.c       entries: what clients ask
 *   apply_check.c, apply_jobs.c, backfill.c  the same: the two large ones
 *   restore.c         a snapshot and the batches of others become the state
 *   scheduler.c      entries: the journal's events, ticks, creation and end
 * status.c, job_row.c, walk.c, job_page.c, upcoming.c and leader_stall.c read the state for people and call rules.c alone.
 *
 * How it works: everything is level-triggered. A record changes the state; when its batch is durable, each
 * run that it touched is woken: launch_reconcile looks at the run's state and does the next thing (a request
 * to its engine, a timer, a place in a queue), or nothing. planner_reconcile does the same for a job and its
 * fire times. No other memory of "what is to be done next" exists, so a new leader that reconciles every job
 * and run continues where the old one stopped.
 *
 * All of it runs on the loop's thread. An entry begins with turn_enter and ends with reconcile_due.
 */
#pragma once

#include "jobs/base/object.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/state/filter.h"
#include "jobs/state/run_id.h"
#include "jobs/state/state.h"

#include <pthread.h>

#define SCHEDULER_ENGINES_MAX 16
#define SCHEDULER_POOLS_MAX   64
/* not yet acknowledged: beyond, requests are refused and planning waits */
#define SCHEDULER_PENDING_BATCHES_MAX 1024
#define SCHEDULER_WAITERS_MAX         10000
#define EVALUATED_PER_TURN_MAX        512 /* fire times of one job; the rest in the next turn */
#define ARMED_PER_JOB_MAX             64
#define RECONCILED_PER_ENTRY          256  /* jobs, and runs; the rest in the next turn */
#define RECORDS_PER_ENTRY             1024 /* likewise: after so many */
#define APPLIED_PER_STEP              64   /* jobs of a large apply; fewer are applied at once */
#define FREED_PER_STEP                512  /* parts of a large apply that took effect */
#define RESUMED_PER_STEP              256  /* records, of jobs whose pause ends */
#define LOOKED_AT_PER_STEP            4096 /* jobs, of what concerns all: of most nothing is due; not all are compiled */
#define ACCOUNTED_PER_STEP            256 /* likewise, of jobs that are due before it begins */
#define BACKFILL_TIMES_MAX            5000
#define BACKFILL_RANGE_MAX            10000 /* fire times in a backfill's range, whether they have run or not */
#define BACKFILLS_PER_JOB_MAX         8     /* under way */
#define JOB_RUNS_MAX                  10000 /* unfinished ones of one job; then it is as a full queue */
#define SNAPSHOT_EVERY_BATCHES        5000
#define SNAPSHOT_EVERY_BYTES          (8 * 1024 * 1024)
#define STATE_IMAGE_ITEMS             128  /* jobs that are encoded in one step: about a millisecond */
#define RECOVER_WATCH_MS              5000 /* so long may a started run of an earlier leader hold up its job */
#define BACK_OFF_FIRST_MS             500
#define BACK_OFF_MAX_MS               30000
#define STOP_AGAIN_MS                 30000
#define RUN_QUEUE_LOOK_AGAIN_MS       5000
#define MAY_ACT_AGAIN_MS              100
#define PENDING_RECORDS_MAX           16    /* of an attempt, by one leader */
#define CLOCK_SET_BACK_MS             60000 /* by less time stands still until the clock has come so far again */
#define TEXT_HAD_LOCAL_TIME           "the job has had this local time under the zone rules before"
#define TEXT_DEADLINE                 "it could not start within start_within of its fire time"
#define TEXT_WITHDRAWN                "its engine could not start it in time, and it was withdrawn"
#define TEXT_JOURNAL_LOST             "the journal of this time was lost"

/* A limited number of permits and the runs that wait for one: of an engine for armed attempts, of a pool for
 * running ones. */
struct run_queue {
    const char *name;
    int taken, size;     /* taken may exceed size after a take-over, until runs end */
    struct heap waiting; /* run.live.queue_item: higher priority first, then order of creation */
};

/* A batch that was handed to the journal and is not durable yet. */
struct pending_batch {
    struct list all;
    uint64_t index;
    uint64_t kinds; /* bit i: it holds a record of kind i */
    char **runs;    /* ids: to be woken when it is durable */
    size_t run_count;
    struct history_write *write;
};

struct waiter {
    struct list all;
    uint64_t index;
    void (*done)(void *arg, int result);
    void *arg;
};

/* A request to an engine that is not answered yet. */
struct engine_call {
    uint64_t ticket;
    enum engine_op op;
    char *run; /* NULL: its attempt is over, and the answer will be ignored */
    int attempt, try;
    struct engine *engine;
    UT_hash_handle by_ticket;
};

/* The object of an attempt that is revoked or never ran: to be removed once batch `index` is durable. */
struct engine_discard {
    struct list all;
    uint64_t index;
    struct engine *engine; /* NULL: it is not in the configuration */
    struct job *job;
    char *run, *id, *name, *identity;
    int attempt, try;
    int64_t epoch;
};

/* What became of a run that an earlier leader left unfinished. */
#define TAKEOVER_OUTCOMES(X)                                                                                 \
    X(ADOPTED, "adopted")         /* found executing; watched from then on */                                \
    X(HANDED_OVER, "handed over") /* by a leader that resigned; committed again */                           \
    X(ENDED, "ended meanwhile")                                                                              \
    X(DISCARDED, "discarded")     /* provably never ran; armed again when its fire time still asks for it */ \
    X(ARMED_AGAIN, "armed again") /* was only reserved */                                                    \
    X(WAITING, "waiting")         /* had no attempt under way */                                             \
    X(REFUSED, "refused")                                                                                    \
    X(LOST, "lost")                                                                                          \
    X(UNRESOLVED, "unresolved") /* when the report was written: its engine gave no answer yet */

enum takeover_outcome {
#define X(outcome, name) OUTCOME_##outcome,
    TAKEOVER_OUTCOMES(X)
#undef X
        OUTCOME_COUNT
};

struct takeover {
    int unrecovered; /* runs, over all jobs */
    int64_t lead_ms; /* when this epoch began */
    json_t *runs;    /* for the report; NULL: it is written, or there was no earlier leader */
    json_t *times;   /* fire times until lead_ms that were evaluated since */
    int64_t from_epoch, gap_ms;
    char *cause, *from_replica;
    int outcomes[OUTCOME_COUNT];
    int64_t late, skipped; /* of those fire times */
};

/* An object whose attempt has ended by the journal, and which runs, as somebody else has started it again. It occupies
 * its job. Known from the engine alone, so a new leader's engines find it once more. */
#define STRAY_ID_MAX 160

struct stray {
    char id[STRAY_ID_MAX]; /* the object's */
    char run[RUN_ID_MAX];
    char job[RUN_ID_MAX];
    UT_hash_handle by_id;
};

struct apply;   /* apply_jobs.c */
struct restore; /* restore.c */

/* The end of the pause of all. */
struct resume {
    enum { RESUME_NONE, RESUME_SKIPS, RESUME_WAKES } step; /* RESUME is written in between */
    int64_t to_ms;
    char *by;
    struct job_state *next; /* to be looked at; NULL: all were */
};

/* What is to take effect for all jobs at once, when what is due of each is accounted for. */
struct all_jobs {
    bool goes_on;
    struct job_state *next; /* to be looked at; NULL: all were */
    int64_t until_ms;       /* of a pause; so are these */
    char *reason, *by;
};

/* A standby's look at the fire times of all jobs. */
struct stall_look {
    bool goes_on;
    struct job_state *next; /* to be looked at; NULL: all were */
    int64_t oldest_ms;      /* a fire time of which nothing is recorded; HEAP_NEVER: none was found */
    char job[RUN_ID_MAX];   /* whose it is */
};

/* Jobs whose engine is not in the configuration, as they were counted at that change of definitions. */
struct engineless {
    bool counted;
    uint64_t defs_index, generation;
    size_t count;
    char engine[JOB_NAME_MAX + 1]; /* of one of them */
};

#define LATENESS_BUCKETS 14

struct scheduler {
    struct object object;
    struct scheduler_options o;
    pthread_t thread; /* that made it, and that alone may enter it */
    struct engine_host host;
    struct state state;
    uint64_t job_generation; /* counts whenever a job is freed, so that a walk notices */
    struct restore *restore; /* a snapshot that is being read, and what came after it; NULL: none */
    struct state *old_state; /* before that one: to be freed in later turns; NULL: there is none */
    int64_t lead_epoch;      /* to begin to lead in when it is read; 0: no */
    char lead_cause[256];
    struct journal *journal;
    bool leading, have_state, stopping;
    int64_t epoch;
    int64_t now_ms;      /* of this entry; goes back only by more than CLOCK_SET_BACK_MS */
    struct batch *batch; /* of this turn; NULL: nothing yet */
    uint64_t acked;      /* the last durable batch */
    struct state_hash {
        uint64_t index; /* 0: none */
        char text[33];
    } hash, hash_ahead;                              /* hash_ahead: of what is not durable yet */
    struct state_image *hash_image, *snapshot_image; /* in the making; NULL: none */
    uint64_t snapshot_index;                         /* of the last snapshot */
    uint64_t behind_bytes;                           /* of the batches after it */
    char *snapshot;                                  /* it, until history holds all that it contains, */
    int snapshot_level;                              /* and the level of its records */
    struct list pending_batches, waiters, discards;
    size_t pending_batch_count, waiter_count;
    struct heap job_timers, run_timers;
    struct list later;                                     /* jobs to be looked at after what is due */
    struct job_state *look_next;                           /* likewise, it and all after it; NULL: all were */
    uint64_t record_count;                                 /* that were begun */
    struct run_queue engine_queues[SCHEDULER_ENGINES_MAX]; /* by index of o.engines */
    struct run_queue running_queues[SCHEDULER_ENGINES_MAX]; /* likewise, of max_running; size 0: no limit */
    struct run_queue pool_queues[SCHEDULER_POOLS_MAX];      /* by index of o.pools */
    struct engine_call *calls;
    struct stray *strays;
    uint64_t next_ticket;
    struct takeover takeover;
    struct resume resume;
    struct all_jobs pause_all, zones_all;
    struct stall_look stall;
    struct engineless engineless;
    uint64_t zones_serial;         /* counts whenever the zone source has other rules */
    int64_t zones_epoch, zones_ms; /* in which, and when, such rules were last recorded */
    struct job_state *prune_next;  /* the job that scheduler_prune goes on with; NULL: the first */
    struct apply *spent_apply;     /* one that is over and not freed yet; NULL: none */
    struct apply *apply;           /* a large one that goes on; NULL: none */
    bool reconciling;
    bool set_back;                   /* the clock was, and nothing has followed from that yet */
    struct job_state *set_back_next; /* the job that void_times_step goes on with; NULL: all were looked at */
    size_t set_back_asks;            /* questions to history under way */
    int64_t wake_ms;
    char refusing[ERROR_TEXT_MAX];    /* why commands are refused; "" when leading */
    struct journal_recovery recovery; /* to be recorded when it leads; until_ms 0: none */
    char recovery_by[256];
    char yield_by[256]; /* who asked it to hand over; "": nobody */
    bool handed_over;   /* the last leader said that it goes */
    /* for /metrics */
    size_t state_bytes; /* of that snapshot */
    uint64_t fired, started, started_again, lateness[LATENESS_BUCKETS + 1], lateness_count;
    double lateness_sum_s;
};

/* ---- invariant.c ---- */

void invariant_turn(const struct scheduler *s);
void invariant_job(const struct scheduler *s, const struct job_state *j);
/* While leading, of a run that takeover_begin has seen. */
void invariant_run(const struct scheduler *s, const struct run *r);
void invariant_queue(const struct run_queue *q);

/* ---- turn.c ---- */

/* level as in scheduler_env.log; r may be NULL. */
void turn_log(struct scheduler *s, enum log_level level, const char *event, const struct run *r,
              const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Reads the clock: each entry's first step. */
void turn_enter(struct scheduler *s);
/* The index that this turn's records will have. */
uint64_t turn_index(const struct scheduler *s);

/* A record of this turn, while leading: add it, set its fields, then commit it, which applies it to the
 * state. A full batch is flushed first, so the pointer holds until the next turn_record. */
struct record *turn_record(struct scheduler *s, enum record_kind kind);
void turn_commit(struct scheduler *s, struct record *r);
#define PUT_TEXT(s, r, field, v) RECORD_TEXT((s)->batch, (r), field, (v))
#define PUT_INT(s, r, field, v)  RECORD_INT((s)->batch, (r), field, (v))
#define PUT_JSON(s, r, field, v) RECORD_JSON((s)->batch, (r), field, (v))
/* A record about the run's newest attempt, still to be committed; and one with a text alone, committed. */
struct record *turn_record_about(struct scheduler *s, enum record_kind kind, const struct run *r);
void turn_record_text(struct scheduler *s, enum record_kind kind, struct run *r, const char *text);
/* A remark about a run, which may have ended: it changes nothing. */
void turn_note(struct scheduler *s, const char *run, const char *text);

/* So many jobs are looked at in one step of what concerns all. */
size_t turn_walk_items(const struct scheduler *s);

/* A batch of another leader was applied: takes the state's hash when it is time. */
void turn_hash(struct scheduler *s);
/* All up to index is durable: wakes the runs that it touched, gives history its part. */
void turn_acked(struct scheduler *s, uint64_t index);
/* A step of the state's texts that are in the making: true while there are more. And without them. */
bool turn_images(struct scheduler *s);
void turn_images_drop(struct scheduler *s);
/* Forgets all that is not durable. */
void turn_drop(struct scheduler *s);
/* Clients of a command that went on in later turns: its last record is in this batch. */
void turn_clients_wait_for(struct scheduler *s, uint64_t index);

/* Reconcile it then, or earlier. */
void turn_wake_job(struct scheduler *s, struct job_state *j, int64_t at_ms);
void turn_wake_run(struct scheduler *s, struct run *r, int64_t at_ms);
/* Reconcile it soon, after what is due: for many jobs at once. */
void turn_wake_job_later(struct scheduler *s, struct job_state *j);

/* ---- rules.c ---- */

/* The job's compiled schedule, borrowed; NULL: it has none, or its zone is gone. */
struct schedule *rules_schedule(struct scheduler *s, struct job_state *j);
bool rules_is_fire_time(struct scheduler *s, struct job_state *j, int64_t fire_ms);
int64_t rules_cursor_s(const struct job_state *j);
int64_t rules_due_ms(const struct schedule *schedule, int64_t at_s); /* fire time and jitter */
/* The next fire time not yet evaluated, or HEAP_NEVER. */
int64_t rules_next_ms(struct scheduler *s, struct job_state *j);
/* The fire time before the run's own by its schedule, whether that one ran or not; without a schedule the newest run's that
 * there was when this one was made. 0: there is none. */
int64_t rules_previous_ms(struct scheduler *s, struct run *r);
/* The instant for the next run id that has milliseconds. */
int64_t rules_exact_ms(const struct scheduler *s, const struct job_state *j);
/* The first engine that this definition names, or the default one. */
const char *rules_engine_name(const struct scheduler *s, const struct job *def);
/* Somebody asked for it to wait its turn, whatever `concurrency` says. */
bool rules_is_queued(const struct run *r);
/* A run of this cause is one of many missed ones, which all run: one after the other where they may not overlap. */
bool rules_catches_up_in_turn(const struct job *def, enum run_cause cause);
bool rules_waits_turn(const struct run *r); /* it is queued behind others rather than skipped */
bool rules_occupies(const struct run *r);   /* it keeps others of its job waiting */
/* A limit of the job's own on how many of its runs go on at once, beside `concurrency`; 0: none. */
int rules_max_running(const struct job *def);
/* So many runs of the job may go on at once, and one more is skipped or replaces them; 0: no such limit. */
int rules_room(const struct job *def);
bool rules_has_started(
    const struct run *r); /* an attempt of it has, or may have: it is not its first one any more */
/* A scheduled run that a leader began and never started: whether it was prepared makes no difference to what catch_up says
 * of its fire time, which passed meanwhile. */
bool rules_is_left(const struct scheduler *s, struct run *r);
/* Runs that occupy the job, other than this one and those that are left. */
int rules_busy_count(const struct scheduler *s, const struct job_state *j, const struct run *but);
/* Fired runs that do not occupy their job yet; before NULL: all of them, else those created before it. */
int rules_waiting_count(const struct job_state *j, const struct run *before);
/* A run that occupies the job, other than this one and those that are left; or NULL. */
const struct run *rules_busy_with(const struct scheduler *s, const struct job_state *j,
                                  const struct run *but);

/* ---- run_queue.c ---- */

/* NULL: not in the configuration. ret may be NULL. */
struct run_queue *run_queue_of_engine(struct scheduler *s, const char *name, struct engine **ret);
/* Of its runs under way. NULL: not in the configuration, or without a limit. */
struct run_queue *run_queue_of_running(struct scheduler *s, const char *engine);
/* NULL: the job is in no pool. */
struct run_queue *run_queue_of_pool(struct scheduler *s, const struct job *def);
/* A permit is free and no waiting run has a better claim. */
bool run_queue_has_permit(const struct run_queue *q, const struct run *r);
/* The run is woken when a permit is free, and looks again from time to time. */
void run_queue_wait(struct scheduler *s, struct run_queue *q, struct run *r);
void run_queue_stop_waiting(struct scheduler *s, struct run *r);
/* Taken regardless of the limit: the caller has asked, or knows better. */
void run_queue_take_engine_permit(struct run_queue *q, struct run *r);
void run_queue_take_pool_permit(struct run_queue *q, struct run *r);
void run_queue_take_running_permit(struct run_queue *q, struct run *r);
/* Its next attempt is on another engine: its place there is taken whether or not there is one. */
void run_queue_move_running_permit(struct scheduler *s, struct run_queue *q, struct run *r);
void run_queue_return_engine_permit(struct scheduler *s, struct run *r);
/* The run is not under way any more: it must ask again for its turn, and for the permits of its pool and engine. */
void run_queue_withdraw_permission(struct scheduler *s, struct run *r);
/* For a new leader: nothing waits, no permit is taken. */
void run_queue_clear_all(struct scheduler *s);

/* ---- stray.c ---- */

/* A run of the job whose object runs again; NULL: none. */
const char *stray_of(const struct scheduler *s, const struct job_state *j);
/* Its run gets a note; nothing happens when it is known. */
void stray_add(struct scheduler *s, const char *engine, const char *run, int attempt, const char *id);
/* It has ended: wakes the job. */
void stray_remove(struct scheduler *s, const char *id);
void stray_clear_all(struct scheduler *s);

/* ---- engine_call.c ---- */

struct engine_call *engine_call_find(struct scheduler *s, uint64_t ticket);
void engine_call_free(struct scheduler *s, struct engine_call *c);
void engine_call_drop_all(struct scheduler *s); /* and all that is to be discarded */
/* The answer to this call, or to all of the run's, will be ignored. */
void engine_call_orphan(struct scheduler *s, uint64_t *ticket);
void engine_call_orphan_all(struct scheduler *s, struct run *r);
/* False while the lease may have expired; then the run looks again soon. */
bool engine_call_may_act(struct scheduler *s, struct run *r);
bool engine_call_is_replaced(struct scheduler *s, const struct attempt *a);
/* A request about the newest attempt, whose engine is in the configuration; gives its ticket. */
uint64_t engine_call_begin(struct scheduler *s, struct run *r, enum engine_op op);
/* The run's next request, unless it may not act now. */
void engine_call_submit(struct scheduler *s, struct run *r, enum engine_op op);
/* The engine failed again: the run waits longer each time. */
void engine_call_back_off(struct scheduler *s, struct run *r);
/* Removes the newest attempt's object, once the record that is being written is durable. */
void engine_call_discard_later(struct scheduler *s, struct run *r);
void engine_call_discard_acked(struct scheduler *s);

/* ---- void_times.c ---- */

/* The next fire time of the job that is to be made good, or SCHEDULE_NEVER; and it has been seen to. */
int64_t void_times_next_s(const struct job_state *j);
void void_times_pass(struct scheduler *s, struct job_state *j);
/* Asks history which there are. */
void void_times_look(struct scheduler *s, struct job_state *j);
void void_times_forget(struct job_state *j);
/* The believed clock is behind what was recorded already: looks at all jobs and runs again, some in a turn. */
void void_times_clock_set_back(struct scheduler *s);
void void_times_step(struct scheduler *s); /* once a turn */
bool void_times_wants_turn(const struct scheduler *s);

/* ---- takeover.c ---- */

/* A new leader, after its EPOCH record; from_epoch 0: the first of all. last_batch_ms: time of the last batch
 * of the leader before. */
void takeover_begin(struct scheduler *s, const char *cause, int64_t from_epoch, const char *from_replica,
                    int64_t last_batch_ms);
void takeover_end(struct scheduler *s);
/* Journals what is prepared and not released, for the successor. */
void takeover_yield(struct scheduler *s);
/* Whether the leader that wrote this batch has said by now that it goes; so far: `followed`. */
bool takeover_follows_yield(const struct batch *batch, bool followed);
/* The cause to record for leading from now on. */
const char *takeover_cause(const struct scheduler *s, const char *cause);
#define TAKEOVER_HANDING_OVER "handing_over" /* key in the report of a leader that goes */
/* It is known what became of the attempt that an earlier leader left. Wakes the job. */
void takeover_recovered(struct scheduler *s, struct run *r, enum takeover_outcome outcome);
/* True while a run of an earlier leader may execute beside one that this job would fire now.
 * takeover_recovered wakes the job. */
bool takeover_holds(const struct scheduler *s, const struct job_state *j);
/* When what is armed for this run is to be prepared: now, or a reservation that a new leader makes after a part of the time
 * that is left, so that it does not keep the engine from what is due. */
int64_t takeover_prepare_at(const struct scheduler *s, const struct run *r);
/* A fire time that became a run, or a range that was skipped: those of the gap go into the report. */
void takeover_note_late(struct scheduler *s, const struct job_state *j, int64_t fire_ms,
                        enum run_cause cause);
void takeover_note_skipped(struct scheduler *s, const struct job_state *j, int64_t from_ms, int64_t to_ms,
                           int64_t count, enum run_verdict reason);
/* Writes the report when it is time; gives when to look again. */
int64_t takeover_report(struct scheduler *s);

/* ---- launch.c ---- */

void launch_reconcile(struct scheduler *s, struct run *r);
/* Reserves the next attempt or try; engine NULL: the job's first. */
void launch_arm(struct scheduler *s, struct run *r, const char *engine);
/* A reservation for a fire time to come; false: not now. */
bool launch_arm_ahead(struct scheduler *s, struct job_state *j, const char *id, int64_t fire_ms,
                      int64_t due_ms);
/* Sends the start request, when the attempt is committed and durable and its due time has come. */
void launch_release(struct scheduler *s, struct run *r);
void launch_revoke(struct scheduler *s, struct run *r, const char *reason);
void launch_never_ran(struct scheduler *s, struct run *r, const char *evidence);
void launch_close(struct scheduler *s, struct run *r, enum run_verdict verdict, const char *text,
                  const char *by);
void launch_stop(struct scheduler *s, struct run *r, enum run_stop reason, const char *by);
/* All runs of its job that it replaces. */
void launch_stop_others(struct scheduler *s, const struct run *by);
/* Closes a run that could not start within its start_within; true: it did. */
bool launch_too_late(struct scheduler *s, struct run *r);
/* Nothing can be proved of its attempt. */
void launch_lost(struct scheduler *s, struct run *r, const char *text);
/* A reservation becomes a run before its fire time was evaluated. */
void launch_fire_ahead(struct scheduler *s, struct run *r);
/* Before the run is freed. */
void launch_forget(struct scheduler *s, struct run *r);

/* ---- planner.c ---- */

void planner_reconcile(struct scheduler *s, struct job_state *j);
/* Accounts for every fire time up to now under the definition in force, and revokes what is armed for later;
 * before an edit, a deletion or a pause. */
void planner_account(struct scheduler *s, struct job_state *j, const char *reason);
/* As SKIPPED for this reason: every fire time from the cursor up to to_ms. */
void planner_skip_to(struct scheduler *s, struct job_state *j, int64_t to_ms, enum run_verdict reason,
                     const char *text);
/* The first half of it: what is armed for later stays. */
void planner_evaluate_all(struct scheduler *s, struct job_state *j);

/* ---- all_jobs.c ---- */

/* Both accounts for all fire times up to now and then write their record: with few jobs at once, else in later turns. */
void all_jobs_pause(struct scheduler *s, int64_t until_ms, const char *reason, const char *by);
bool all_jobs_pause_goes_on(const struct scheduler *s); /* PAUSE is not written yet */
void all_jobs_other_zones(struct scheduler *s);
void all_jobs_step(struct scheduler *s);            /* once a turn */
bool all_jobs_want_turn(const struct scheduler *s); /* soon */
void all_jobs_gone(struct scheduler *s, const struct job_state *j);
void all_jobs_drop(struct scheduler *s); /* what goes on is forgotten */

/* ---- resume.c ---- */

/* Ends the pause of all jobs: fire times up to to_ms are skipped, what was due since then is fired. Nothing happens when it is
 * being ended already. */
void resume_begin(struct scheduler *s, int64_t to_ms, const char *by);
void resume_due(struct scheduler *s);              /* the same, of one that has expired */
void resume_step(struct scheduler *s);             /* once a turn */
bool resume_wants_turn(const struct scheduler *s); /* soon */
bool resume_goes_on(const struct scheduler *s);    /* RESUME is not written yet */
void resume_job_gone(struct scheduler *s, const struct job_state *j);
void resume_drop(struct scheduler *s); /* it is forgotten */

/* ---- status.c and job_row.c, for walk.c and job_page.c: new references ---- */

json_t *job_row(struct scheduler *s, struct job_state *j, uint64_t fields);
json_t *status_def(const struct job_state *j);
/* The next fire time as people mean it: what is reserved is still to come. */
int64_t status_next_ms(struct scheduler *s, struct job_state *j);

/* ---- leader_stall.c ---- */

void leader_stall_job_gone(struct scheduler *s, const struct job_state *j);

/* ---- reconcile.c ---- */

/* Does what is due and sets the alarm: each entry's last step. */
void reconcile_due(struct scheduler *s);

/* ---- commands.c, for the files of single commands ---- */

/* A command's first step: 0 when this leader takes commands now. Last: the reply, which is given away. */
int commands_enter(struct scheduler *s, struct error *error);
int commands_finish(struct scheduler *s, json_t *reply, struct scheduler_result *ret);
/* ERR_LIMIT: that many bytes more of this part would be more than max_state allows. Definitions may take all of it; what
 * operators add may take three quarters, and of each part a share, so that they cannot keep an apply out. */
int commands_room(struct scheduler *s, enum state_part part, size_t more, struct error *error);
int commands_find_job(struct scheduler *s, const char *name, struct job_state **ret, struct error *error);
/* What a deletion does first: accounts for all fire times up to now, and closes what of its runs does not execute. */
void commands_close_job(struct scheduler *s, struct job_state *j, const char *by);
/* The record of it; `staged`: as a part of a change set; `set`: the one it is pruned from, or NULL. */
void commands_put_delete(struct scheduler *s, const char *job, bool staged, const char *set, const char *by);

/* ---- apply_jobs.c: a large apply that goes on ---- */

void apply_step(struct scheduler *s); /* once a turn */
bool apply_wants_turn(const struct scheduler *s);
bool apply_free_spent(struct scheduler *s,
                      size_t items); /* some of what the last one held; true: there is more */
void apply_drop(struct scheduler *s, const char *why); /* its client is told that nothing happened */
/* ERR_BUSY while it records changes of definitions. */
int apply_refuses(const struct scheduler *s, struct error *error);

/* ---- restore.c ---- */

/* As journal_events says. A large snapshot goes on in later turns, and so do the batches that come meanwhile. */
void restore_begin(struct scheduler *s, const char *text, size_t size, uint64_t index);
void restore_batch(struct scheduler *s, const struct batch *batch, const char *text, size_t size);
void restore_step(struct scheduler *s); /* once a turn */
bool restore_goes_on(const struct scheduler *s);
bool restore_of_snapshot(const struct scheduler *s); /* and it is one, or what came after it */
void restore_drop(struct scheduler *s); /* what goes on is forgotten: the state that is in force stays */
/* Frees some of the state that was in force before. True: there is more. */
bool restore_free_old(struct scheduler *s, size_t items);

/* ---- engine_events.c: the host table that engines answer to ---- */

void engine_events_answer(struct engine_host *host, const struct engine_answer *answer);
bool engine_events_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch,
                        const char *id);
void engine_events_back(struct engine_host *host, const struct engine *engine);
void engine_events_stray(struct engine_host *host, const struct engine *engine, const char *run, int attempt,
                         const char *id, bool running);
