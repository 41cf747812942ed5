/* The state: what the journal's records amount to. Jobs with their cursors, unfinished runs with their
 * attempts, trigger keys, pauses, backfills, outstanding notifications: everything that decides, and nothing
 * else.
 *
 * state_apply is deterministic: the same batches give the same state on every replica, regardless of clocks,
 * zone files or event order. state_encode's text is canonical; its hash is
 * compared between replicas. Fields under "not from records" belong to the scheduler of this process.
 *
 * Ownership: the state owns all it points to. One thread.
 *
 * Invariant: every fire time of a job up to its cursor is a run that was fired,
 * is in a skipped range, or has a reservation: a run armed ahead that is not yet fired. Reservations are
 * made in order and without gaps from the cursor on.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/history/history.h"
#include "jobs/state/recent.h"
#include "jobs/state/record.h"
#include "jobs/state/run.h"

#include "jobs/base/hash_table.h"

#define STATE_KEY_TTL_MS       (INT64_C(7) * 24 * 3600 * 1000) /* of trigger keys, by record time */
#define STATE_TOMBSTONE_TTL_MS STATE_KEY_TTL_MS
#define STATE_NOTICES_MAX      1000
#define STATE_PAUSED_IN_FILE   "paused in its file" /* the reason of a pause that is not by hand */

/* What the state is made of, in bytes of its text, about: what max_state bounds. */
#define STATE_PARTS(X)                                                                                       \
    X(JOBS, "jobs")                                                                                          \
    X(RUNS, "runs") /* unfinished ones, with their parameters */                                             \
    X(KEYS, "keys")                                                                                          \
    X(BACKFILLS, "backfills")                                                                                \
    X(NOTICES, "notifications")                                                                              \
    X(STAGED, "staged")

enum state_part {
#define X(part, word) STATE_##part,
    STATE_PARTS(X)
#undef X
        STATE_PART_COUNT
};

const char *state_part_name(enum state_part part);

/* What a text of the state is made for. */
enum state_image_use { STATE_IMAGE_SNAPSHOT, STATE_IMAGE_HASH, STATE_IMAGES };
struct state_image;

#define STATE_RUN_BYTES           700 /* of a run beside its parameters, with one attempt */
#define STATE_JOB_BYTES           400 /* of a job beside its definition */
#define STATE_KEY_BYTES           80  /* of a trigger key beside its texts */
#define STATE_BACKFILL_TIME_BYTES 14

struct void_times;

struct backfill {
    struct list of_job;
    json_t *times; /* array of fire times, ascending */
    size_t done;   /* how many of them have a run */
    int max_parallel;
    bool again;
    char *by;
    size_t bytes; /* counted in state.bytes; so in others below */
};

struct job_live {
    struct schedule *schedule; /* compiled; NULL: none, or not yet */
    bool compiled;
    uint64_t zones_serial; /* the scheduler's, when it was */
    int unrecovered;       /* its runs that are so */
    bool other_zones;      /* zone rules have changed, and the planner has not seen to it */
    char ran_local[32];    /* then: local time of its last fire time before; "": of no use */
    struct heap_item timer;
    struct list later;              /* in the scheduler's list of jobs to be looked at when there is time */
    int64_t next_after_ms, next_ms; /* the fire time after that cursor, when next_known */
    bool next_known;
    struct void_times *voided; /* of the leader; NULL: none */
    bool held;                 /* a new definition is staged: it is not planned until that is in force */
    int64_t
        refused_ms; /* the engine refused to prepare that fire time ahead: it is prepared when it is due */
};

struct job_state {
    char *name;
    struct job *def; /* NULL: a tombstone */
    int64_t version;
    char *set;
    uint64_t seed;
    int64_t anchor_ms;
    int64_t cursor_ms; /* every fire time up to here is accounted for, or reserved */
    bool paused;
    int64_t paused_ms, pause_until_ms;
    char *pause_reason, *pause_by;
    int64_t deleted_ms;
    int64_t last_manual_ms; /* the newest instant used in a run id with milliseconds */
    int64_t last_fire_ms;   /* nominal time of the newest fired run */
    char *last_run;         /* the newest ended run, */
    enum run_verdict last_verdict;
    int64_t last_ended_ms;
    int64_t *ahead; /* fire times beyond the cursor whose run has been fired already, ascending */
    size_t ahead_count;
    uint32_t after_done; /* bit i: parent i succeeded since the last run */
    struct recent recent;

    struct list runs; /* unfinished, in order of creation */
    size_t run_count; /* of them */
    size_t def_bytes;
    size_t bytes;
    struct list backfills;
    UT_hash_handle by_name;
    uint64_t imaged
        [STATE_IMAGES];   /* state.image_serial: it is in that image, or is no part of it; not from records */
    struct job_live live; /* likewise */
};

struct state_children { /* the jobs that come after one; there is at least one */
    char *parent;
    struct job_state **jobs; /* by name */
    size_t count;
    UT_hash_handle by_parent;
};

struct trigger_key {
    char *key; /* JOB and a blank and the key */
    char *digest, *run;
    int64_t time_ms;
    size_t bytes;
    struct list by_age;
    UT_hash_handle by_key;
};

struct notice { /* a notification not yet delivered */
    struct list all;
    char *id; /* RUN/N */
    char *url;
    json_t *headers; /* job_notify_headers: names and paths, never what is in the files */
    json_t *body;
    size_t bytes;
};

/* What a part of a change set becomes, made when it is staged: APPLY makes thousands effective in one turn of the loop. */
struct staged_part {
    struct job *def; /* NULL: a deletion, or it cannot be read */
    char *record;    /* for history */
    size_t def_bytes;
};

struct state {
    uint64_t index; /* of the last batch applied */
    char hash[33];  /* of its text: the next batch's prev */
    int64_t epoch, time_ms;
    int64_t level; /* of the records that may be written; 0: nothing is written yet */
    char *cluster, *replica, *tzdata;
    struct job_state *jobs; /* uthash by name */
    struct run *runs;       /* uthash by id: unfinished ones */
    struct trigger_key *keys;
    struct list keys_by_age;
    struct state_children *children; /* uthash by parent */
    struct list notices;
    size_t notice_count;
    uint64_t notices_dropped;
    bool paused; /* all */
    int64_t paused_ms, pause_until_ms;
    char *pause_reason, *pause_by;
    uint64_t next_seq;
    size_t job_count, run_count;
    size_t bytes[STATE_PART_COUNT];
    int64_t lost_from_ms, lost_until_ms; /* the journal of this time was lost; 0: of none */
    json_t *staged;                      /* array: parts of a change set, as they will be applied */
    struct staged_part *parts;           /* of the same, when all can be read */
    size_t part_count;
    json_t *spent;                   /* parts that took effect, to be freed: NULL: none; */
    struct staged_part *spent_parts; /* likewise, with the definitions that they replaced */
    size_t spent_part_count;
    uint64_t defs_index; /* the last batch that changed a definition */
    /* counted since this process began: for metrics, not from records */
    uint64_t verdicts[VERDICT_COUNT];

    struct state_image *images[STATE_IMAGES]; /* that still read this state; NULL: none */
    uint64_t image_serial[STATE_IMAGES];      /* of the last one */

    struct list dirty;           /* runs touched by the batch being applied */
    struct list ended;           /* runs that ended in it: freed when it is finished */
    struct history_write *write; /* what it changed */
    /* Not from records: called before a run is freed, and when a job's definition, pause or existence
     * changed. */
    void (*run_gone)(void *arg, struct run *run);
    void (*job_changed)(void *arg, struct job_state *job);
    void (*job_gone)(void *arg, struct job_state *job);
    void *arg;
};

void state_init(struct state *s);
void state_release(struct state *s);

/* Applies one batch, whose encoded text is given for the chain of hashes; its index must follow. Gives what
 * changed for history when ret is not NULL. ERR_CORRUPT: the batch does not fit and the state must be
 * thrown away. */
int state_apply(struct state *s, const struct batch *batch, const char *text, size_t size,
                struct history_write **ret, struct error *error);

/* The same in two steps, for a leader, who applies each record as it is added and gives the batch its text
 * later. */
int state_apply_record(struct state *s, const struct batch *batch, const struct record *record,
                       struct error *error);
void state_finish_batch(struct state *s, const struct batch *batch, const char *text, size_t size,
                        struct history_write **ret);

/* Frees some of what a large change set left behind; true while there is more. */
bool state_free_spent(struct state *s, size_t items);

struct job_state *state_job(struct state *s, const char *name); /* NULL, also for a tombstone */
struct run *state_run(struct state *s, const char *id);
struct trigger_key *state_key(struct state *s, const char *job, const char *key);

/* The jobs that come after this one; NULL: none. Borrowed until a definition changes. */
const struct state_children *state_after(struct state *s, const char *parent);

/* The run of this fire time was fired before those ahead of it were evaluated; the cursor is still below it. */
bool state_fired_ahead(const struct job_state *job, int64_t fire_ms);

size_t state_bytes(const struct state *s); /* of all its parts */

/* What is kept of its last runs; of a job that has run under older builds alone, what they kept of them. */
struct recent state_recent(const struct job_state *job);

/* A pause in force for this job: its own or the one for all. */
bool state_paused(const struct state *s, const struct job_state *job);

/* Other attempts, or other jobs, may have followed its newest attempt in a time of which the journal is lost: of runs from
 * before all but one whose attempt is known to have ended after it. */
bool state_in_lost_time(const struct state *s, struct run *run);

/* Canonical text of all that records made, malloc'd; and back. */
char *state_encode(const struct state *s, size_t *ret_size);

/* The same text, or its hash, of the state as it is now, made in steps while records go on changing it. One of each use at a
 * time. To be freed before the state is. */
struct state_image *state_image_begin(struct state *s, enum state_image_use use);
/* Does so many jobs or keys more: true when it is done. A step is short: it ends earlier when they are large. */
bool state_image_step(struct state_image *image, size_t items);
uint64_t state_image_index(const struct state_image *image); /* of which it is, */
int state_image_level(const struct state_image *image);      /* and the level of its records */
/* Once, when it is done: the text of a snapshot, malloc'd; the hash, as batch_hash gives it. */
char *state_image_text(struct state_image *image, size_t *ret_size);
void state_image_hash(struct state_image *image, char ret[33]);
void state_image_free(struct state_image *image); /* at any time */

/* Into a state that was just initialized. ERR_CORRUPT, ERR_UNSUPPORTED: the state is to be released. */
int state_decode(struct state *s, const char *text, size_t size, struct error *error);

/* The same in steps. Borrows state and text for its life. */
struct state_decoder *state_decoder_new(struct state *s, const char *text, size_t size);
/* So many jobs, or other items, more: 1: call again; 0: it is done; or as state_decode. */
int state_decoder_step(struct state_decoder *decoder, size_t items, struct error *error);
void state_decoder_free(struct state_decoder *decoder); /* at any time; NULL is fine */

/* `to` becomes what `from` was, which is to be initialized again or forgotten. It may have no image. */
void state_move(struct state *to, struct state *from);
/* Frees some of its jobs and runs, without calling back: true while there is more. state_release frees the rest. */
bool state_release_some(struct state *s, size_t items);

/* The run in the shape of the API. */
json_t *state_run_json(const struct run *run);
