/* Schedules: when a job is due. A schedule is one or more texts (cron, @every, @at, ISO 8601 repeating) with
 * a zone, a DST policy, an active window, exclusions and a jitter; its fire times are the union of the
 * texts'.
 *
 * Pure: no clock, no environment; zones come in by a table. All instants are UTC seconds since the epoch and
 * whole seconds; a fire time is the nominal instant, before jitter. A compiled schedule is immutable and may
 * be shared between threads. Rules: contrib/guide/architecture.md, "Time".
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_NEVER      INT64_MAX /* no such fire time up to 2199 */
#define SCHEDULE_TEXT_MAX   1024      /* bytes of one schedule text */
#define SCHEDULE_TEXTS_MAX  32        /* texts of one schedule */
#define SCHEDULE_EXCEPT_MAX 1024      /* exclusions of one schedule */

struct zone;

/* Where zones come from: shared, immutable; zone_put gives back what get returned. */
struct zone_source {
    /* 0, ERR_NOT_FOUND (no such zone; *error says so with a "did you mean"), ERR_CORRUPT, ERR_INVALID (bad
     * name) */
    int (*get)(struct zone_source *source, const char *name, const struct zone **ret, struct error *error);
    void (*put)(struct zone_source *source, const struct zone *zone);
    const char *(*version)(struct zone_source *source); /* tzdata version, such as "2026f" */
    /* near: the name closest to `name` for a hint, or NULL; into buffer */
    const char *(*nearest)(struct zone_source *source, const char *name, char *buffer, size_t size);
};

/* Is tzdata version a ("2026a") older than b? Never when either is not of that form. */
bool schedule_tzdata_older(const char *a, const char *b);

enum schedule_dialect { SCHEDULE_CRON, SCHEDULE_QUARTZ };
enum schedule_dst { SCHEDULE_HYBRID, SCHEDULE_SKIP, SCHEDULE_BOTH, SCHEDULE_UTC };

struct schedule_options {
    const char *zone; /* IANA name; NULL: UTC. A TZ= prefix that differs from a given one is an error */
    enum schedule_dialect dialect; /* a "quartz:" prefix does the same */
    enum schedule_dst dst;
    const char *job;   /* the job's name: H and jitter hash it; NULL: "" */
    uint64_t seed;     /* chooses what `~` leaves open; stored with the job */
    int64_t anchor_s;  /* phase of @every and of R//P: the job's creation */
    const char *start; /* RFC 3339 date or date-time, in the zone unless it has an offset; NULL: unbounded */
    const char *end;   /* likewise; the window is [start, end): a date as end includes that whole day */
    const char *const *except; /* "2026-12-25", "2026-07-14/2026-07-20": local days without fire times */
    size_t except_count;
    int64_t jitter_ms; /* 0: none */
};

/* Where a schedule text is wrong. */
struct schedule_fault {
    enum {
        SCHEDULE_FAULT_TEXT,
        SCHEDULE_FAULT_ZONE,
        SCHEDULE_FAULT_START,
        SCHEDULE_FAULT_END,
        SCHEDULE_FAULT_EXCEPT
    } where;
    size_t index;  /* which text or exclusion */
    size_t column; /* byte offset within it, from 0 */
};

struct schedule;

/* Compiles. Borrows everything but `source`, which must outlive the schedule. fault may be NULL. */
int schedule_new(struct schedule **ret, const char *const *texts, size_t count,
                 const struct schedule_options *options, struct zone_source *source,
                 struct schedule_fault *fault, struct error *error);
void schedule_free(struct schedule *schedule);

/* The least fire time > after, or SCHEDULE_NEVER; the greatest < before, or INT64_MIN. Strictly monotone. */
int64_t schedule_next(const struct schedule *schedule, int64_t after_s);
int64_t schedule_prev(const struct schedule *schedule, int64_t before_s);
bool schedule_match(const struct schedule *schedule, int64_t at_s);

/* The number of fire times in (after, until], counted up to `most`. */
int64_t schedule_count(const struct schedule *schedule, int64_t after_s, int64_t until_s, int64_t most);

/* Milliseconds to add to fire time at_s: stable per job and fire time, below the next fire time. */
int64_t schedule_jitter_ms(const struct schedule *schedule, int64_t at_s);

/* True when the wall-clock hours and minutes are fixed (the DST class). */
bool schedule_fixed(const struct schedule *schedule);

/* True when a text restricts both the day of the month and the weekday, and a day that either names counts. */
bool schedule_days_either(const struct schedule *schedule);

/* The local wall time of at_s in the schedule's zone, "2026-03-29T03:00:00+02:00". */
const char *schedule_local(const struct schedule *schedule, int64_t at_s, char *buffer, size_t size);

/* The instant of a wall time (seconds since 1970 of the wall clock) in the schedule's zone: in a gap, the
 * change; shown twice, the first. */
int64_t schedule_instant(const struct schedule *schedule, int64_t local_s);

/* What is right in text number `index` and yet hardly meant, such as a step beyond its field; NULL: there is nothing. */
#define SCHEDULE_REMARK_MAX 512
const char *schedule_remark(const struct schedule *schedule, size_t index, char buffer[SCHEDULE_REMARK_MAX]);

/* One line of plain English: "at 02:30 on weekdays, Europe/Paris". */
const char *schedule_describe(const struct schedule *schedule, char *buffer, size_t size);

/* Canonical text of text number `index`; it compiles to the same schedule again. */
const char *schedule_canonical(const struct schedule *schedule, size_t index, char *buffer, size_t size);

/* What DST did to a fire time: for marks in listings. */
enum schedule_mark {
    SCHEDULE_PLAIN,
    SCHEDULE_MOVED /* out of a gap */,
    SCHEDULE_FIRST,
    SCHEDULE_SECOND /* pass of an overlap */
};
enum schedule_mark schedule_mark(const struct schedule *schedule, int64_t at_s);
const char *schedule_zone(const struct schedule *schedule); /* the zone's name as written, "UTC" when none */

/* What a change of the zone's offset does to the wall times that a text names. */
enum schedule_effect_kind {
    SCHEDULE_EFFECT_MOVED, /* the clock skips them: they run at the change, as one */
    SCHEDULE_EFFECT_LOST,  /* the clock skips them: they do not run */
    SCHEDULE_EFFECT_ONCE,  /* the clock shows them twice: they run the first time */
    SCHEDULE_EFFECT_TWICE  /* the clock shows them twice: they run both times */
};

struct schedule_effect {
    int64_t at_s;              /* the change */
    int32_t before_s, after_s; /* offsets east of UTC */
    enum schedule_effect_kind what;
    size_t index;    /* of the text */
    int64_t local_s; /* the first wall time concerned, as seconds since 1970 of the wall clock */
    int64_t count;   /* how many wall times are */
};

/* The effects of all changes in (after, until], in order, at most `max`; returns their number. None under the
 * policy utc, and none on elapsed time. */
size_t schedule_effects(const struct schedule *schedule, int64_t after_s, int64_t until_s,
                        struct schedule_effect *ret, size_t max);
