/* Records and batches: what the journal holds. Applied in order they give the state of the system.
 *
 * One flat struct serves all kinds; the tables below say which fields a kind has, and they drive encoding,
 * decoding and checking. A batch owns its records and, in an arena, every string in them; JSON values in a
 * record are references that the batch drops. In the journal a batch is one JSON object:
 *
 *   {"n":42,"e":7,"t":1732244400123,"p":"<hash of batch 41>",
 *    "r":[{"k":"arm","run":"a@20261122T030000Z",...},...]}
 *
 * Times are UTC milliseconds. A record never holds a secret.
 */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The newest record kinds that this build knows. A cluster writes only what all its replicas read: the level
 * rises by a RISE record. 1: all but those below; 2: HANDED_OVER, RISE; 3: STARTED_AGAIN, RECOVERED, and the
 * identity in COMMITTED; 4: ACCEPTED; 5: no new kind, the state keeps what is in recent.h. */
#ifndef RECORD_LEVEL
#define RECORD_LEVEL 5
#endif

#define RECORD_IDENTITY_LEVEL 3 /* of COMMITTED's identity */
#define RECORD_RECENT_LEVEL   5 /* from which on the state has `recent` */

#define BATCH_BYTES_MAX   (256 * 1024)
#define BATCH_RECORDS_MAX 4096
#define RUN_ID_MAX        128  /* JOB@20261122T101502.123Z and its NUL */
#define TEXT_FIELD_MAX    2048 /* an engine's error, a reason: cut beyond */

/* name in C, key in JSON, type: S text, I integer, J JSON */
#define RECORD_FIELDS(X)                                                                                     \
    X(job, "job", S)                                                                                         \
    X(run, "run", S)                                                                                         \
    X(epoch, "epoch", I)                                                                                     \
    X(replica, "replica", S)                                                                                 \
    X(cluster, "cluster", S)                                                                                 \
    X(level, "level", I)                                                                                     \
    X(tzdata, "tzdata", S)                                                                                   \
    X(version, "version", I)                                                                                 \
    X(def, "def", J)                                                                                         \
    X(set, "set", S)                                                                                         \
    X(seed, "seed", I)                                                                                       \
    X(anchor_ms, "anchor", I)                                                                                \
    X(cursor_ms, "cursor", I)                                                                                \
    X(by, "by", S)                                                                                           \
    X(until_ms, "until", I)                                                                                  \
    X(reason, "reason", S)                                                                                   \
    X(key, "key", S)                                                                                         \
    X(digest, "digest", S)                                                                                   \
    X(params, "params", J)                                                                                   \
    X(cause, "cause", S)                                                                                     \
    X(queue, "queue", I)                                                                                     \
    X(children, "children", I)                                                                               \
    X(fire_ms, "fire", I)                                                                                    \
    X(due_ms, "due", I)                                                                                      \
    X(from_ms, "from", I)                                                                                    \
    X(to_ms, "to", I)                                                                                        \
    X(count, "count", I)                                                                                     \
    X(attempt, "attempt", I)                                                                                 \
    X(try, "try", I)                                                                                         \
    X(engine, "engine", S)                                                                                   \
    X(id, "id", S)                                                                                           \
    X(identity, "identity", S)                                                                               \
    X(boot_id, "boot", S)                                                                                    \
    X(at_ms, "at", I)                                                                                        \
    X(code, "code", I)                                                                                       \
    X(verdict, "verdict", S)                                                                                 \
    X(text, "text", S)                                                                                       \
    X(max_parallel, "max_parallel", I)                                                                       \
    X(ahead, "ahead", I)                                                                                     \
    X(again, "again", I)                                                                                     \
    X(report, "report", J)

/* kind, name in JSON, required fields, optional fields (what each does to the state is in apply.c) */
#define RECORD_KINDS(X)                                                                                      \
    /* a new leader; what an older epoch had committed and not revoked, and is due, counts as fired */       \
    X(EPOCH, "epoch", F(epoch) F(replica) F(cluster) F(level), F(tzdata) F(cause))                           \
    /* a job is created or changed */                                                                        \
    X(JOB, "job", F(job) F(version) F(def) F(seed) F(anchor_ms) F(cursor_ms), F(set) F(by))                  \
    /* a part of a change set larger than a batch: nothing until APPLY; without def: a deletion */           \
    X(STAGE, "stage", F(job), F(version) F(def) F(seed) F(anchor_ms) F(cursor_ms) F(set) F(by))              \
    /* all that this epoch staged takes effect */                                                            \
    X(APPLY, "apply", F(count), F(by))                                                                       \
    X(JOB_DELETE, "delete", F(job), F(by) F(set))                                                            \
    /* without job: all */                                                                                   \
    X(PAUSE, "pause", , F(job) F(until_ms) F(reason) F(by))                                                  \
    X(RESUME, "resume", , F(job) F(by) F(reason))                                                            \
    /* a run that no schedule named: manual, backfill */                                                     \
    X(TRIGGER, "trigger", F(run) F(fire_ms) F(cause), F(key) F(digest) F(params) F(by) F(queue) F(children)) \
    /* a fire time becomes a run; the cursor moves to it */                                                  \
    X(FIRE, "fire", F(run) F(fire_ms) F(due_ms), F(cause) F(ahead))                                          \
    /* the cursor moves over a fire time whose run was fired out of order */                                 \
    X(PASSED, "passed", F(job) F(to_ms), )                                                                   \
    /* fire times passed over; the cursor moves to `to` */                                                   \
    X(SKIPPED, "skipped", F(job) F(from_ms) F(to_ms) F(count) F(reason), F(text) F(run))                     \
    /* the launch protocol */                                                                                \
    X(ARM, "arm", F(run) F(attempt) F(try) F(engine) F(fire_ms) F(due_ms), F(cause))                         \
    X(COMMITTED, "committed", F(run) F(attempt) F(id), F(boot_id) F(identity))                               \
    X(REVOKED, "revoked", F(run) F(attempt) F(reason), )                                                     \
    /* its leader gives up the lead, has not released it, and never will: the successor commits it again */  \
    X(HANDED_OVER, "handed-over", F(run) F(attempt), )                                                       \
    /* released, and its engine will start it when it can; once more when the engine gives another reason */ \
    X(ACCEPTED, "accepted", F(run) F(attempt), F(text))                                                      \
    X(STARTED, "started", F(run) F(attempt) F(at_ms), F(text))                                               \
    /* somebody else did so; count: how often it was started, all told */                                    \
    X(STARTED_AGAIN, "started-again", F(run) F(attempt) F(count), F(text))                                   \
    X(START_FAILED, "start-failed", F(run) F(attempt) F(text), F(code))                                      \
    X(STOPPING, "stopping", F(run) F(attempt) F(reason), F(by))                                              \
    X(ENDED, "ended", F(run) F(attempt) F(at_ms) F(code), F(cause) F(text))                                  \
    X(NEVER_RAN, "never-ran", F(run) F(attempt) F(text), )                                                   \
    X(UNKNOWN, "unknown", F(run) F(attempt) F(text), )                                                       \
    X(UNRESOLVED, "unresolved", F(run) F(attempt) F(text), )                                                 \
    /* a run ends without an attempt deciding it: killed while waiting, deadline, overlap */                 \
    X(CLOSED, "closed", F(run) F(verdict), F(text) F(by))                                                    \
    /* evidence that came later, or an operator's remark */                                                  \
    X(NOTE, "note", F(run) F(text), F(by))                                                                   \
    /* report: the fire times to run */                                                                      \
    X(BACKFILL, "backfill", F(job) F(report) F(max_parallel), F(again) F(by))                                \
    /* so many of them have a run now */                                                                     \
    X(BACKFILLED, "backfilled", F(job) F(count), )                                                           \
    X(NOTIFIED, "notified", F(run), F(code) F(text))                                                         \
    X(TAKEOVER, "takeover", F(report), )                                                                     \
    X(TZDATA, "tzdata", F(tzdata), )                                                                         \
    /* from here on records of this level may be written */                                                  \
    X(RISE, "rise", F(level), )                                                                              \
    /* the journal of this time was lost: what was unfinished before it may have gone on in it */            \
    X(RECOVERED, "recovered", F(from_ms) F(until_ms), F(by))

enum record_kind {
#define X(kind, name, required, optional) RECORD_##kind,
    RECORD_KINDS(X)
#undef X
        RECORD_KIND_COUNT
};

struct record {
    enum record_kind kind;
    uint64_t has; /* bit i: field i of RECORD_FIELDS is set */
#define S                  const char *
#define I                  int64_t
#define J                  json_t *
#define X(name, key, type) type name;
    RECORD_FIELDS(X)
#undef X
#undef S
#undef I
#undef J
};

enum record_field {
#define X(name, key, type) RECORD_FIELD_##name,
    RECORD_FIELDS(X)
#undef X
        RECORD_FIELD_COUNT
};
#define RECORD_HAS(r, field) (((r)->has >> RECORD_FIELD_##field) & 1)

struct batch {
    uint64_t index;
    int64_t epoch;
    int64_t time_ms; /* leader's clock when it was made; never goes back within an epoch */
    char prev[33];   /* hash of the batch before, 32 hex digits; "" for the first */
    struct record *records;
    size_t count;
    size_t bytes; /* about what it will take encoded */
    struct batch_arena *arena;
};

struct batch *batch_new(int64_t epoch, int64_t time_ms);
void batch_free(struct batch *batch);

/* Adds a record of that kind with no field set. The pointer holds until the next add. NULL: the batch is
 * full. */
struct record *batch_add(struct batch *batch, enum record_kind kind);
/* Set a field; text is copied into the batch (and cut at TEXT_FIELD_MAX), JSON gets a reference of its own.
 */
void record_set_text(struct batch *batch, struct record *r, enum record_field field, const char *text);
void record_set_int(struct batch *batch, struct record *r, enum record_field field, int64_t value);
void record_set_json(struct batch *batch, struct record *r, enum record_field field, json_t *value);
#define RECORD_TEXT(b, r, field, v) record_set_text((b), (r), RECORD_FIELD_##field, (v))
#define RECORD_INT(b, r, field, v)  record_set_int((b), (r), RECORD_FIELD_##field, (v))
#define RECORD_JSON(b, r, field, v) record_set_json((b), (r), RECORD_FIELD_##field, (v))

/* True when another record of about `bytes` still fits. */
bool batch_fits(const struct batch *batch, size_t bytes);

char *batch_encode(const struct batch *batch, size_t *ret_size); /* malloc'd, NUL-terminated */
/* ERR_CORRUPT: not a batch that this build reads. What it cannot read because a newer build wrote it (a kind, a level,
 * a job with a key or a value unknown here) says "a newer cronsched is needed". ERR_NOMEM. */
int batch_decode(struct batch **ret, const char *text, size_t size, struct error *error);
void batch_hash(const char *text, size_t size, char ret[33]); /* of the encoded text */
/* The same of a text that comes in pieces. The end frees it; ret NULL: nobody wants the hash. */
struct batch_digest;
struct batch_digest *batch_digest_new(void);
void batch_digest_add(struct batch_digest *digest, const char *bytes, size_t size);
void batch_digest_end(struct batch_digest *digest, char ret[33]);

char *record_encode(const struct record *r); /* one record as JSON, malloc'd */
const char *record_kind_name(enum record_kind kind);
enum record_kind record_kind_of(const char *name); /* RECORD_KIND_COUNT: unknown, or NULL */
int record_kind_level(enum record_kind kind);

/* Run ids. A run is (job, instant); `exact` ones (manual, after, again) carry milliseconds in their id. */
const char *run_id_format(const char *job, int64_t at_ms, bool has_ms, char ret[RUN_ID_MAX]);
int run_id_parse(const char *id, char ret_job[RUN_ID_MAX], int64_t *ret_at_ms, bool *ret_exact);
