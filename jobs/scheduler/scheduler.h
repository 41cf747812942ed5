/* The scheduler. It applies the journal to the state; while it leads it plans fire times, arms, releases,
 * watches and ends attempts, and answers commands.
 *
 * Pure: time, randomness, timers, journal, engines and history are tables that the owner passes in.
 * Everything happens in one of its entry points, on one thread: a journal event, an engine's answer, a
 * request, or a tick. Each entry appends records to the batch of this turn; scheduler_flush, called by the
 * owner once a turn before it sleeps, hands the batch to the journal. Decisions use the state with these
 * records applied; effects (engine calls, answers to clients) wait until the journal says that they are
 * durable.
 */
#pragma once

#include "jobs/base/list.h"
#include "jobs/base/log_level.h"
#include "jobs/engine/engine.h"
#include "jobs/history/history.h"
#include "jobs/state/journal.h"
#include "jobs/state/recent.h"

struct scheduler;
struct filter; /* jobs/state/filter.h */

struct scheduler_env {
    int64_t (*wall_ms)(struct scheduler_env *env); /* UTC; may jump */
    uint64_t (*random)(struct scheduler_env *env);
    /* Call scheduler_tick at this wall time, or earlier; the newest call counts. INT64_MAX: no need. */
    void (*wake_at)(struct scheduler_env *env, int64_t wall_ms);
    /* event is a fixed name, text for people; run and job may be
     * NULL */
    void (*log)(struct scheduler_env *env, enum log_level level, const char *event, const char *job,
                const char *run, const char *text);
    /* The journal's newest batch is of a later time than the clock says, as this replica begins to lead: time goes on from
     * there, unless something confirms the clock. NULL: it is believed. */
    void (*not_before)(struct scheduler_env *env, int64_t wall_ms);
    /* What a batch that this leader wrote has changed, now that it is durable. Lent. NULL: nobody wants to know. */
    void (*durable)(struct scheduler_env *env, const struct history_write *write);
    /* The same of every batch, whoever leads: of one that was followed, too. */
    void (*seen)(struct scheduler_env *env, const struct history_write *write);
};

struct scheduler_job_pool {
    const char *name;
    int size;
};

struct scheduler_options {
    const char *replica;      /* this replica's id */
    const char *cluster_uuid; /* used when the journal is empty */
    const char *default_engine;
    struct engine *const *engines;
    size_t engine_count;
    const struct scheduler_job_pool *pools;
    size_t pool_count;
    int64_t arm_ahead_ms;        /* default 30 s */
    int64_t late_grace_ms;       /* default 60 s */
    int64_t resolve_within_ms;   /* default 1 h */
    int64_t max_state_bytes;     /* what would make the state larger is refused; 0: no limit */
    uint64_t snapshot_every;     /* batches from one snapshot to the next; 0: SNAPSHOT_EVERY_BATCHES */
    size_t snapshot_every_bytes; /* likewise, of their texts; 0: SNAPSHOT_EVERY_BYTES */
    size_t apply_items;          /* jobs of a large apply, in one step; 0: APPLIED_PER_STEP */
    size_t walk_items;  /* jobs that are looked at in one step of what concerns all; 0: LOOKED_AT_PER_STEP */
    size_t image_items; /* of a snapshot or a hash of the state, in one step; 0: STATE_IMAGE_ITEMS */
    struct zone_source *zones;
    struct history *history; /* may be NULL */
    struct scheduler_env *env;
};

/* Borrows all of options for its life. */
struct scheduler *scheduler_new(const struct scheduler_options *options);
void scheduler_free(struct scheduler *scheduler);

/* The journal's events go to these, with the scheduler as arg. */
extern const struct journal_events scheduler_journal_events;
void scheduler_set_journal(struct scheduler *scheduler, struct journal *journal);
/* Engines need the scheduler's host table first, so they may be given later than the other options, before
 * the journal is opened. Borrows the array. */
void scheduler_set_engines(struct scheduler *scheduler, struct engine *const *engines, size_t count);

/* The host table that engines answer to. */
struct engine_host *scheduler_engine_host(struct scheduler *scheduler);

/* The zone source gives other rules now: schedules are compiled again, each when it is looked at next, and what is armed
 * ahead is planned again. */
void scheduler_zones_changed(struct scheduler *scheduler);
/* Bounds the history of some jobs by their keep: of the next so many, from call to call. */
#define SCHEDULER_PRUNED_MAX 10000
void scheduler_prune(struct scheduler *scheduler);
/* Nothing new from here on; what was appended is still answered when it is durable. */
void scheduler_stop(struct scheduler *scheduler);

/* For a standby: looks at every job, some in a call. True: there are more, to be looked at in a turn soon. */
bool scheduler_leader_stall_step(struct scheduler *scheduler);
/* What was found, when all were: the oldest fire time that passed LEADER_STALL_MS ago without a FIRE or SKIPPED record, in
 * words ("nightly at 2026-11-26T03:00:00Z"); false: there is none. */
#define LEADER_STALL_MS 30000
bool scheduler_leader_stall(struct scheduler *scheduler, char *ret_text, size_t size);

void scheduler_tick(struct scheduler *scheduler);
void scheduler_flush(struct scheduler *scheduler);

/* ---- commands ---- */

/* What became of a command. */
struct scheduler_result {
    json_t *reply; /* a new reference; NULL: it failed */
    /* Nothing may be answered to the client before scheduler_wait says that this is durable. */
    uint64_t index;
    struct error error;
    json_t *details; /* what more is known of the error, an object; a new reference, or NULL */
};

/* Each checks, appends records and gives the reply, or does nothing and gives an error: ERR_NO_LEADER,
 * ERR_NOT_FOUND, ERR_INVALID, ERR_CONFLICT, ERR_LIMIT, ERR_FULL. The result is zero at first. `by` names the
 * caller for the audit log. */

#define SCHEDULER_APPLY_JOBS_MAX 10000 /* in one apply; a set of job files has no more (JOBFILE_JOBS_MAX) */
#define SCHEDULER_CHILDREN_MAX   1000  /* jobs that come after one: its end starts them all at once */

/* body {"jobs":{NAME:{...}},"set":S,"prune":bool,"take_over":bool,"allow_empty":bool,"check_index":N,"dry_run":bool}
 * reply {"index","created":[],"changed":[],"deleted":[],"unchanged":N,"warnings":[],
 *        "conflicts":[{"job","set"}] of a dry run alone, else an error; "taken_over":[{"job","set"}];
 *        "unlisted":[],"unlisted_count":N: of the set, or in a dry run that names none of no set, and not in "jobs"; the first
 *        1,000; none with prune, which deletes them;
 *        "pauses":[{"job","file":bool,"paused":bool,...}] where people have paused or resumed by hand}
 * details {"faults":[{"job","text"}]}: all that is wrong with the jobs */
int scheduler_apply(struct scheduler *s, const json_t *body, const char *by, struct scheduler_result *ret);
/* The same for a loop that has more to do: few jobs are applied at once, and `done` is called from within; more are worked off in
 * later turns, all or none of them. rc is as scheduler_apply's, and the reply is done's; ERR_BUSY: another one goes on.
 * ERR_NO_LEADER: this replica stopped leading before it took effect. It holds on to the body, and empties it some time after
 * `done`: what is large is not freed in one turn. */
void scheduler_apply_then(struct scheduler *s, const json_t *body, const char *by,
                          void (*done)(void *arg, int rc, struct scheduler_result *result), void *arg);
int scheduler_delete(struct scheduler *s, const char *job, const char *by, struct scheduler_result *ret);
/* job NULL: all. until_ms 0: until resumed. */
int scheduler_pause(struct scheduler *s, const char *job, int64_t until_ms, const char *reason,
                    const char *by, struct scheduler_result *ret);
int scheduler_resume(struct scheduler *s, const char *job, const char *by, struct scheduler_result *ret);
/* body {"key":K,"params":{...},"queue":bool}; reply {"run":ID,"existing":bool} */
int scheduler_trigger(struct scheduler *s, const char *job, const json_t *body, const char *by,
                      struct scheduler_result *ret);
int scheduler_kill(struct scheduler *s, const char *run, const char *by, struct scheduler_result *ret);
/* body {"from":RFC3339,"to":RFC3339,"max_parallel":N,"again":bool,"dry_run":bool};
 * reply {"job","count","fire_times":[first 100]} */
int scheduler_backfill(struct scheduler *s, const char *job, const json_t *body, const char *by,
                       struct scheduler_result *ret);
/* What the job's backfills have not begun yet is not run, what they have begun goes on; reply as of a backfill, its count
 * that of the fire times that are given up. */
int scheduler_cancel_backfills(struct scheduler *s, const char *job, const char *by,
                               struct scheduler_result *ret);

/* In a result: the command goes on in later turns, and its last record is not written yet. scheduler_wait knows. */
#define SCHEDULER_INDEX_LATER UINT64_MAX

/* Who asks this leader to hand over, for the record that it writes when it does; NULL: nobody any more. */
void scheduler_yield_by(struct scheduler *s, const char *by);

/* Calls back with 0 once `index` is durable, ERR_DEPOSED when this leader lost the lead before. index 0:
 * whatever is in flight now (a read that must see it). At once, from within, when nothing is in flight. */
void scheduler_wait(struct scheduler *s, uint64_t index, void (*done)(void *arg, int result), void *arg);

uint64_t scheduler_acked(const struct scheduler *s); /* what is durable now */

/* ---- notifications ---- */

/* What `notify` asks for is in the state until it was delivered. */
struct scheduler_notice {
    const char *id, *url;
    const json_t *headers; /* job_notify_headers */
    const json_t *body;
};
/* The next of those not yet delivered, oldest first and always in the same order, from *at == NULL on; false beyond the
 * last, or when not leading. Borrowed, and *at with it, until the scheduler is entered again. */
bool scheduler_notice_next(struct scheduler *s, const struct list **at, struct scheduler_notice *ret);
/* It was delivered (status: of HTTP), or is given up (status 0, why in text): it goes. */
void scheduler_notice_done(struct scheduler *s, const char *id, int status, const char *text);

/* ---- reads of the live state ---- */

/* All new references, in the shapes of the API. */

/* What a row of a job may have: name in C, key in JSON. Those up to ENGINE and VERSION are of its definition. */
#define SCHEDULER_JOB_FIELDS(X)                                                                              \
    X(JOB, "job")                                                                                            \
    X(SCHEDULE, "schedule")                                                                                  \
    X(TIMEZONE, "timezone")                                                                                  \
    X(NEXT, "next")                                                                                          \
    X(SET, "set")                                                                                            \
    X(DESCRIBE, "describe")                                                                                  \
    X(DESCRIPTION, "description")                                                                            \
    X(OWNER, "owner")                                                                                        \
    X(LABELS, "labels")                                                                                      \
    X(ENGINE, "engine")                                                                                      \
    X(VERSION, "version")                                                                                    \
    X(LAST, "last")                                                                                          \
    X(VERDICT, "verdict")                                                                                    \
    X(PAUSED, "paused")                                                                                      \
    X(STATE, "state")                                                                                        \
    X(LAST_RUN, "last_run")                                                                                  \
    X(PAUSE_REASON, "pause_reason")                                                                          \
    X(PAUSED_UNTIL, "paused_until")                                                                          \
    X(PAUSED_BY, "paused_by")                                                                                \
    X(LAST_ENDED, "last_ended")                                                                              \
    X(HEALTH, "health")                                                                                      \
    X(FAILURES, "failures")                                                                                  \
    X(RUNNING, "running")                                                                                    \
    X(LAST_SUCCESS, "last_success")                                                                          \
    X(LAST_DURATION, "last_duration_ms")                                                                     \
    X(STRIP, "strip")                                                                                        \
    X(COUNTS, "counts")

enum scheduler_job_field {
#define X(field, name) JOB_FIELD_##field,
    SCHEDULER_JOB_FIELDS(X)
#undef X
        JOB_FIELD_COUNT
};
/* A set of them from "job,next". ERR_INVALID: one is unknown. */
int scheduler_job_fields(const char *list, uint64_t *ret, struct error *error);

/* A page of the list of jobs. */
#define SCHEDULER_JOB_PAGE_MAX     10000
#define SCHEDULER_JOB_FIELDS_ALL   (~UINT64_C(0))
#define SCHEDULER_JOB_FIELD(field) (UINT64_C(1) << JOB_FIELD_##field)
/* What the list of all jobs has had since version 0.1, and has when nobody names other fields. */
#define SCHEDULER_JOB_FIELDS_LISTED                                                                          \
    (SCHEDULER_JOB_FIELD(JOB) | SCHEDULER_JOB_FIELD(SCHEDULE) | SCHEDULER_JOB_FIELD(TIMEZONE) |              \
     SCHEDULER_JOB_FIELD(NEXT) | SCHEDULER_JOB_FIELD(SET) | SCHEDULER_JOB_FIELD(LAST) |                      \
     SCHEDULER_JOB_FIELD(VERDICT) | SCHEDULER_JOB_FIELD(PAUSED) | SCHEDULER_JOB_FIELD(STATE) |               \
     SCHEDULER_JOB_FIELD(LAST_RUN) | SCHEDULER_JOB_FIELD(PAUSE_REASON) | SCHEDULER_JOB_FIELD(PAUSED_UNTIL) | \
     SCHEDULER_JOB_FIELD(PAUSED_BY))
#define SCHEDULER_CURSOR_SIZE 160

enum scheduler_job_order { SCHEDULER_BY_NEXT, SCHEDULER_BY_NAME, SCHEDULER_BY_LAST, SCHEDULER_BY_FAILURES };

struct scheduler_job_page_query {
    struct filter *filter; /* taken with success; NULL: all */
    enum scheduler_job_order order;
    bool descending;         /* rows without a value come last all the same; those alike by name */
    size_t limit;            /* 1 to SCHEDULER_JOB_PAGE_MAX */
    const char *after;       /* a cursor; NULL: from the first on. Borrowed during the call */
    uint64_t fields;         /* a set of enum scheduler_job_field */
    int64_t stale_before_ms; /* only those whose newest success has an older fire time, or
                                that have none and were made before; 0: all */
};
struct scheduler_job_page;
/* ERR_INVALID: the cursor is none of this order. */
int scheduler_job_page_new(struct scheduler_job_page **ret, struct scheduler *s,
                           const struct scheduler_job_page_query *query, struct error *error);
/* Looks at some more jobs. 0: there are more; 1: the page is there; ERR_DEPOSED: the jobs change too often. */
int scheduler_job_page_step(struct scheduler_job_page *page);
size_t scheduler_job_page_total(const struct scheduler_job_page *page); /* that match, on all pages */
/* A new reference; null: it was deleted meanwhile; NULL: there is no such row. */
json_t *scheduler_job_page_row(struct scheduler_job_page *page, size_t i);
/* The same as numbers. False: there is no such row. */
struct scheduler_job_numbers {
    const char *name; /* borrowed until the scheduler is entered again */
    struct recent recent;
    int64_t next_ms, last_ended_ms; /* 0: none */
    int running;
    bool paused;
};
bool scheduler_job_page_numbers(const struct scheduler_job_page *page, size_t i,
                                struct scheduler_job_numbers *ret);
/* Of the next page; NULL: this is the last one. */
const char *scheduler_job_page_cursor(const struct scheduler_job_page *page, char *ret, size_t size);
void scheduler_job_page_free(struct scheduler_job_page *page); /* before the scheduler; NULL is fine */

/* The fire times of a span to come. */
#define SCHEDULER_UPCOMING_SPAN_S    (31 * 24 * 3600)
#define SCHEDULER_UPCOMING_ROWS_MAX  10000
#define SCHEDULER_UPCOMING_BUCKETS   50000
#define SCHEDULER_UPCOMING_TIMES_MAX 2000000 /* that are looked at: then it is truncated */
struct scheduler_upcoming_query {
    struct filter *filter;   /* taken with success; NULL: all jobs */
    int64_t from_s, until_s; /* [from, until) */
    int64_t bucket_s;
    size_t limit; /* rows; 0: none, only their number */
};
struct scheduler_upcoming;
/* ERR_INVALID: the span, or the number of buckets. */
int scheduler_upcoming_new(struct scheduler_upcoming **ret, struct scheduler *s,
                           const struct scheduler_upcoming_query *query, struct error *error);
/* Some more. 0: there is more; 1: all is there; ERR_DEPOSED: the jobs it is over are gone. */
int scheduler_upcoming_step(struct scheduler_upcoming *upcoming);
/* {"from","to","total","truncated","buckets":[[ms,count,expected busy ms]...] that are not empty,"peak":{"time","count"}} */
json_t *scheduler_upcoming_summary(const struct scheduler_upcoming *upcoming);
/* {"job","time","paused","expected_ms"}, in order; NULL: there is no such row. */
json_t *scheduler_upcoming_row(struct scheduler_upcoming *upcoming, size_t i);
void scheduler_upcoming_free(struct scheduler_upcoming *upcoming); /* before the scheduler; NULL is fine */

/* A walk over the jobs as they were when it began, so that a large answer can be made a piece at a time: each as it is when
 * it is read. Those made later are not in it. A few bytes for each job; alloc.h's way when memory is out. */
struct scheduler_walk;
/* Rows of jobs, by next, with these fields; filter: borrowed until the walk is freed, NULL: all. */
struct scheduler_walk *scheduler_jobs_walk(struct scheduler *s, const struct filter *filter, uint64_t fields);
struct scheduler_walk *scheduler_defs_walk(struct scheduler *s,
                                           const char *set); /* {def,version,set,...}; NULL: of any */
/* 0: a row, or NULL: call again; 1: that was the end; ERR_DEPOSED: the jobs it is over are gone. Takes some microseconds. */
int scheduler_walk_next(struct scheduler_walk *walk, const char **ret_name, json_t **ret);
void scheduler_walk_free(struct scheduler_walk *walk); /* before the scheduler; NULL is fine */
/* A job that may be meant by a name that is not there, among the first few thousand; NULL: none. Borrowed. */
const char *scheduler_near_job(struct scheduler *s, const char *name);
/* Runs that were asked to stop more than once, each time with their grace, and run on; *ret_text: of one of them. Looks
 * at every run that is not over: for doctor. */
size_t scheduler_deaf_runs(struct scheduler *s, char *ret_text, size_t size);
/* Jobs whose engine is not in the configuration, so that they never start. *ret_engine: of one of them, borrowed. Looks at
 * every job, when definitions have changed since: for doctor. */
size_t scheduler_jobs_without_engine(struct scheduler *s, const char **ret_engine);
uint64_t scheduler_index(const struct scheduler *s); /* of the newest batch in the state */
const char *
scheduler_leader(const struct scheduler *s); /* by its newest epoch; NULL: there is none yet. Borrowed */
/* Of the last change of a definition. */
uint64_t scheduler_defs_index(const struct scheduler *s);

json_t *scheduler_job_json(struct scheduler *s,
                           const char *job); /* + "def","version","set","next_times",...; NULL */
/* Unfinished runs, newest first, `most` at most. NULL, 0: any. The caller frees. */
struct scheduler_run_filter {
    const char *job, *state, *verdict;
    int64_t since_ms, until_ms;
    const char *before;          /* only those behind this run in the order; its instant is until_ms */
    const struct filter *filter; /* of runs */
};
struct scheduler_run_id {
    int64_t at_ms; /* the instant in the id */
    const char *id;
};
struct scheduler_run_id *scheduler_run_ids(struct scheduler *s, const struct scheduler_run_filter *filter,
                                           size_t most, size_t *ret_count);
void scheduler_run_ids_free(struct scheduler_run_id *ids, size_t count);
size_t scheduler_run_count(struct scheduler *s, const char *job); /* unfinished ones; job NULL: of all */
bool scheduler_run_is_live(struct scheduler *s, const char *run);
/* NULL: not in the live state. */
json_t *scheduler_run_json(struct scheduler *s, const char *run);
/* {"leading","epoch","index","acked","cluster","replica","jobs","unfinished","queues","engines":[...],
 * "refusing":text|null,...} */
/* The keep.logs of the run's job as it is defined now; -1: there is no such job. */
int64_t scheduler_keep_logs(struct scheduler *s, const char *run);
json_t *scheduler_status_json(struct scheduler *s);
const char *scheduler_cluster(struct scheduler *s); /* its uuid; borrowed, never NULL */
/* Appends the scheduler's Prometheus metrics to a growing text by this function. */
void scheduler_metrics(struct scheduler *s,
                       void (*put)(void *arg, const char *format, ...) __attribute__((format(printf, 2, 3))),
                       void *arg);
/* The hash of the state's canonical text at *ret_index, to be compared between replicas; NULL: none yet. It
 * is taken at the same indexes everywhere, once what it covers is durable: each STATE_HASH_EVERY batches, of
 * a large state (more than STATE_LARGE jobs and unfinished runs) each STATE_HASH_EVERY_LARGE. */
#define STATE_HASH_EVERY       500
#define STATE_HASH_EVERY_LARGE 5000
#define STATE_LARGE            2000
const char *scheduler_state_hash(const struct scheduler *s, uint64_t *ret_index);
size_t scheduler_job_count(const struct scheduler *s);
/* The live state as a snapshot's text, labelled as of `index` with `hash` as that of the batch there: what it is made
 * of may be of another history. For free(); NULL: there is none yet, or this replica leads. *ret_level: of the records
 * in it; *ret_time_ms: of the newest batch in it. */
char *scheduler_state_text(struct scheduler *s, uint64_t index, const char *hash, size_t *ret_size,
                           int *ret_level, int64_t *ret_time_ms);
bool scheduler_leading(const struct scheduler *s);
/* A large snapshot, or what the journal gave after it, is still being read: the state is an earlier one, or incomplete. */
bool scheduler_is_reading(const struct scheduler *s);
