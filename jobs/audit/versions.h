/* The past of jobs, as the journal's records tell it: the versions of each definition with the fire times
 * that each was in force for, and the pauses. For audit and explain.
 *
 * A version is in force from its record's cursor (exclusive) to the next version's (inclusive), or to the
 * job's deletion: every record that changes a job has accounted for all fire times up to its own instant
 * before.
 *
 * Pure; one thread. A past holds a reference to the records it was read from and owns the rest.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/definition/job.h"

#include <uthash.h>

struct past_version {
    int64_t number;
    int64_t after_s, until_s;  /* fire times in (after, until]; until INT64_MAX: still in force */
    int64_t time_ms;           /* when it was recorded */
    bool deleted;              /* until_s is the job's deletion */
    const char *by, *ended_by; /* who made it, who deleted it; NULL: not known */
    json_t *def;
    int64_t seed, anchor_ms;
    /* past_compile fills these */
    bool compiled;
    struct job *job;           /* NULL: the definition cannot be read, see broken */
    struct schedule *schedule; /* NULL: there is none, or it is broken */
    struct error broken;       /* code 0: fine */
};

struct past_pause {
    int64_t from_ms, to_ms; /* [from, to); to INT64_MAX: nobody ended it */
    int64_t until_ms;       /* when it was to end by itself; 0: never */
    const char *reason, *by, *ended_by;
    bool all;
};

struct past_pauses {
    struct past_pause *items;
    size_t count;
};

struct past_job {
    char *name;
    struct past_version *versions;
    size_t count;
    struct past_pauses pauses; /* of this job alone */
    UT_hash_handle by_name;
};

struct past {
    json_t *records;
    struct past_job *jobs;     /* uthash, in the order in which they were first seen */
    struct past_pauses pauses; /* of all jobs */
    int64_t tzdata_ms;         /* when the time zone data last changed; 0: never */
    const char *tzdata;
};

/* Records as HISTORY_AUDIT and HISTORY_RECORDS answer them, oldest first; kinds of no use here are passed
 * over. */
void past_init(struct past *past);
void past_add(struct past *past, json_t *records);
void past_release(struct past *past);

struct past_job *past_job(const struct past *past, const char *name); /* NULL: never seen */

/* The version in force for a fire time; NULL: none. */
struct past_version *past_version_at(const struct past_job *job, int64_t at_s);

/* Reads and compiles, once. Returns version->broken.code. */
int past_compile(const struct past_job *job, struct past_version *version, struct zone_source *zones);

/* The pause in force at an instant, the job's own first; NULL: none. */
const struct past_pause *past_pause_at(const struct past *past, const struct past_job *job, int64_t at_ms);

/* "time" of a history answer: milliseconds or RFC 3339; 0 when it is neither. */
int64_t past_time(const json_t *time);
