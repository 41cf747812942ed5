/* History: what happened, kept for people. Fed with what each durable batch changed; asked by runs, explain,
 * audit. It decides nothing: losing it loses no job, no cursor and no run that is not ended. A table of
 * functions, so that the simulator can do without SQLite; jobs/history/store.c is the real one.
 *
 * Writes are queued and written off the loop, several batches in one transaction together with the applied
 * index; a query sees every write queued before it. Results are JSON in the shapes of the API
 * (contrib/guide/architecture.md, "Words and shapes").
 */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_ROWS_MAX    10000 /* rows that one query answers at most */
#define HISTORY_FIRED_MAX   50000 /* likewise, of FIRED */
#define HISTORY_BUCKETS_MAX 50000
#define HISTORY_SCAN_MAX    20000 /* rows that one query with `match` looks at */

/* A run as it is after a batch (the row is replaced as a whole), or a fire time that was skipped as a
 * run of its own (state "skipped"). */
struct history_run {
    char *run, *job;
    int64_t at_ms; /* the instant in the run's id: the order of listings */
    int64_t fire_ms;
    char *state, *verdict;        /* verdict NULL until there is one */
    bool over;                    /* it will not change any more */
    int64_t started_ms, ended_ms; /* 0: not yet */
    char *json;                   /* the run in the shape of `runs` */
};

/* A range of fire times skipped for one reason. A single one is a range with from == to. */
struct history_skip {
    char *job;
    int64_t from_ms, to_ms; /* first and last fire time skipped, inclusive */
    int64_t count;
    char *reason, *text;
    int64_t time_ms; /* when it was decided */
};

/* A journal record, kept as it is for explain, audit and the audit log. */
struct history_record {
    char *kind, *job, *run; /* job and run NULL where the record has none */
    char *json;
    char *by; /* NULL likewise; not stored beside the JSON, which has it */
};

/* What one batch changed. All of it is owned by the write; history_write_free releases. */
struct history_write {
    uint64_t index;
    int64_t epoch, time_ms;
    struct history_run *runs;
    size_t run_count;
    struct history_skip *skips;
    size_t skip_count;
    struct history_record *records;
    size_t record_count;
    struct history_write *next; /* the store's queue */
};
void history_write_free(struct history_write *write);

enum history_query_kind {
    HISTORY_RUNS, /* array of runs (their json), newest first; job, state, verdict, cause, since, until, before, match,
                        limit: one more than HISTORY_ROWS_MAX is fine. With `match` the last element is a text, the id of the
                        run that was looked at last, when HISTORY_SCAN_MAX ended it */
    HISTORY_BUCKETS, /* array of [bucket, verdict or state, number]: runs of `job` (NULL: all) in [since, until], by the
                        instant in the id divided by bucket_ms; HISTORY_BUCKETS_MAX rows at most */
    HISTORY_RUN,     /* one run or null */
    HISTORY_SKIPS,   /* array of {"job","from","to","count","reason","text","time"} overlapping [since, until]
                      */
    HISTORY_RECORDS, /* array of {"index","seq","time","kind","record":{...}}, oldest first; job, run, since,
                        until; those after record `last` of batch `first` (0: all) */
    HISTORY_GAP,     /* {"first","last"}: batches that were never seen, the newest such gap that begins below
                        `first` (0: of all); or null */
    HISTORY_COPY,    /* what is left of batches first to last, for another replica's `fill`, as much of it as
                        fits; null: some of it is missing here, too */
    HISTORY_FIRED, /* {"times":[milliseconds, ascending: the instants in (since, until] of runs of `job` that were not
                        skipped],"pruned":n,"gaps":n: how many there are in that time}; more times: ERR_LIMIT */
    HISTORY_AUDIT /* {"runs":[{"job","state","cause","at":[milliseconds of each of them]}...],"skips":[...],
                     "records":[job, delete, pause and resume records up to until],"ends":[{"run","count"}: of which one
                     attempt ended more than once]}: all that audit.c needs; not cut at HISTORY_ROWS_MAX */
};

struct history_query {
    enum history_query_kind kind;
    const char *job, *run, *state, *verdict; /* NULL: any; borrowed during the call */
    const char *kinds;                       /* RECORDS: comma-separated record kinds, NULL: any */
    int64_t since_ms, until_ms;              /* 0: unbounded; runs: by at_ms; records: by time */
    int limit;                               /* 0: HISTORY_ROWS_MAX */
    uint64_t first, last;                    /* COPY, GAP, RECORDS */
    int64_t bucket_ms;                       /* BUCKETS */
    const char *cause;                       /* RUNS: NULL: any; borrowed likewise */
    const char *before; /* RUNS: those behind this run in the order, whose instant is until_ms */
    /* RUNS: a choice of the caller's; called on a thread of the history, with what lives until the answer. NULL: all */
    bool (*match)(const void *arg, const json_t *run);
    const void *match_arg;
};

struct history;
struct history_ops {
    void (*write)(struct history *history, struct history_write *write); /* takes ownership */
    /* The answer comes once, from the loop; result is a new reference for the callback, NULL with error set.
     */
    void (*query)(struct history *history, const struct history_query *query,
                  void (*answer)(void *arg, json_t *result, const struct error *error), void *arg);
    /* Bounds a job's history: at most keep_runs ended runs and none older than keep_age_ms; answers nothing. Long work is
     * done a little at a time, with pauses, behind all writes. */
    void (*prune)(struct history *history, const char *job, int keep_runs, int64_t older_than_ms);
    uint64_t (*applied)(const struct history *history); /* index written durably */
    /* Why the last write failed, which is tried again; NULL: it did not. Lent until the next turn of the loop. */
    const char *(*trouble)(const struct history *history);
    /* Takes in what another replica's COPY answered, into the gap that begins there. One at a time; `done` is
     * called once, from the loop: ERR_CORRUPT: the page is invalid; ERR_NOT_FOUND: there is no such gap.
     * Takes the reference. */
    void (*fill)(struct history *history, json_t *page, void (*done)(void *arg, const struct error *error),
                 void *arg);
    void (*close)(struct history *history, void (*done)(void *arg), void *arg);
};
struct history {
    const struct history_ops *ops;
    /* Runs of one job that were pruned, so that their logs can be removed, too. Called on a thread that is not the loop's,
     * and may block: nothing more is pruned before it returns. NULL: nobody keeps logs. */
    void (*removed)(void *arg, const char *job, char *const *runs, size_t count);
    void (*failed)(void *arg,
                   const struct error *error); /* disk full and the like; the write is kept and retried */
    void *arg;
};
