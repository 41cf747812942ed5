/* The history of job definitions, from the journal's records: the versions of each definition with the fire times
 * that each was in force for, and the pauses. For audit and explain.
 *
 * A version is in force from its record's cursor (exclusive) to the next version's (inclusive), or to the
 * job's deletion: every record that changes a job comes after the records of all fire times up to its own
 * instant.
 *
 * Pure; one thread. A struct versions holds a reference to the records it was read from and owns the rest.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/definition/job.h"

#include "jobs/base/hash_table.h"

struct versions_entry {
    int64_t number;
    int64_t after_s, until_s;  /* fire times in (after, until]; until INT64_MAX: still in force */
    int64_t time_ms;           /* when it was recorded */
    bool deleted;              /* until_s is the job's deletion */
    const char *by, *ended_by; /* who made it, who deleted it; NULL: not known */
    const char *set;           /* whose it is; NULL: of no set */
    bool taken_over;           /* the version before it was another's */
    const char *former_set;    /* then: whose */
    json_t *def;
    int64_t seed, anchor_ms;
    /* versions_compile fills these */
    bool compiled;
    struct job *job;           /* NULL: the definition cannot be read, see broken */
    struct schedule *schedule; /* NULL: there is none, or it is broken */
    struct error broken;       /* code 0: fine */
};

struct versions_pause {
    int64_t from_ms, to_ms; /* [from, to); to INT64_MAX: it has not ended */
    int64_t until_ms;       /* when it was to end by itself; 0: never */
    const char *reason, *by, *ended_by;
    bool all;
};

struct versions_pauses {
    struct versions_pause *items;
    size_t count;
};

struct versions_job {
    char *name;
    struct versions_entry *versions;
    size_t count;
    struct versions_pauses pauses; /* of this job alone */
    UT_hash_handle by_name;
};

struct versions {
    json_t *records;
    struct versions_job *jobs;     /* uthash, in the order in which they were first seen */
    struct versions_pauses pauses; /* of all jobs */
    int64_t tzdata_ms;             /* when the time zone data last changed; 0: never */
    const char *tzdata;
};

/* Adds records as HISTORY_AUDIT and HISTORY_RECORDS return them, oldest first; other kinds are ignored. */
void versions_init(struct versions *versions);
void versions_add(struct versions *versions, json_t *records);
void versions_release(struct versions *versions);

struct versions_job *versions_job(const struct versions *versions, const char *name); /* NULL: never seen */

/* The version in force for a fire time; NULL: none. */
struct versions_entry *versions_at(const struct versions_job *job, int64_t at_s);

/* Reads and compiles, once. Returns version->broken.code. */
int versions_compile(const struct versions_job *job, struct versions_entry *version,
                     struct zone_source *zones);

/* The pause in force at an instant, the job's own first; NULL: none. */
const struct versions_pause *versions_pause_at(const struct versions *versions,
                                               const struct versions_job *job, int64_t at_ms);

/* "time" of a history answer: milliseconds or RFC 3339; 0 when it is neither. */
int64_t versions_time(const json_t *time);
