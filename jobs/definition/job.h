/* A job: a named, checked definition. Immutable once made and counted by reference; the one form in which it
 * is journaled and sent over HTTP is job_to_json's, whose keys are those of the job file
 * (contrib/guide/architecture.md, "Words and shapes").
 *
 * Ownership: a job owns all that it points to. job_ref/job_unref may be used from one thread only.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/schedule.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define JOB_NAME_MAX     100
#define JOB_BYTES_MAX    (64 * 1024) /* of its JSON */
#define JOB_AFTER_MAX    32
#define JOB_NOTIFY_MAX   16
#define JOB_HEADERS_MAX  8
#define JOB_HEADER_BYTES 4096 /* of a value */
#define JOB_LIST_MAX     256  /* items of any list or map of a job */
#define JOB_PIDS         2048 /* processes and threads of a container, unless the job says otherwise */
#define JOB_DEPTH_MAX    32   /* nesting of its JSON; matters for `kubernetes` */

struct strings {
    char **items; /* NULL-terminated as well */
    size_t count;
};

struct job_env {
    char *name;
    char *value;       /* exactly one of these three is set */
    char *from_file;   /* path, read by the engine's replica at prepare */
    char *from_secret; /* name of an engine's secret */
    bool allow_empty;  /* from_file: no content is a value, too */
};

enum job_pull { JOB_PULL_MISSING, JOB_PULL_ALWAYS, JOB_PULL_NEVER };
enum job_concurrency { JOB_FORBID, JOB_ALLOW, JOB_REPLACE, JOB_QUEUE };
enum job_catch_up { JOB_CATCH_UP_LATEST, JOB_CATCH_UP_NONE, JOB_CATCH_UP_ALL };
enum job_on_lost { JOB_ON_LOST_FAIL, JOB_ON_LOST_RERUN };

struct job_notify {
    struct strings on; /* verdicts */
    char *url;
    struct job_env *headers; /* value or from_file */
    size_t header_count;
    char *sign; /* path of the file that holds the key; NULL: not signed */
};

struct job {
    int refs;
    char *name, *description, *owner;

    struct strings schedule; /* texts as written; empty: only triggered, or by `after` */
    char *timezone;          /* never NULL: "UTC" */
    enum schedule_dialect dialect;
    enum schedule_dst dst;
    int64_t jitter_ms;
    struct strings except;
    char *start, *end; /* NULL: unbounded */

    char *image; /* NULL with engine process */
    struct strings entrypoint, command;
    bool has_entrypoint, has_command; /* an empty list differs from none */
    struct job_env *environment;
    size_t environment_count;
    char *user, *working_dir;
    struct strings volumes; /* "SOURCE:TARGET[:ro]" */
    char *network;
    struct strings env_file; /* empty once the files are read: environment has what they hold */
    char *hostname, *stop_signal;
    bool init, read_only, privileged;
    struct strings tmpfs;   /* "TARGET[:OPTIONS]" */
    int64_t shm_size_bytes; /* 0: the engine's own default */
    struct strings cap_add, cap_drop, security_opt;
    json_t *ulimits;            /* by name: a number, or {soft, hard}; NULL: none */
    struct strings extra_hosts; /* "NAME:ADDRESS" */
    struct strings dns, devices, group_add;
    int pids_limit; /* -1: none */
    struct strings secrets, configs;
    double cpus;          /* 0: no limit */
    int64_t memory_bytes; /* 0: no limit */
    enum job_pull pull;
    struct strings engine; /* empty: default_engine; more than one: fallbacks */
    struct strings constraints;
    json_t *kubernetes; /* NULL or an object */

    int64_t timeout_ms, stop_grace_ms;
    int retries_max;
    int64_t retries_delay_ms, retries_max_delay_ms;
    double retries_backoff;
    int *retries_on_exit; /* NULL with count 0: any failure */
    size_t retries_on_exit_count;
    enum job_concurrency concurrency;
    int queue_max;
    int max_running; /* runs of it at once, where they may overlap; 0: no limit */
    char *pool;      /* NULL: none */
    enum job_catch_up catch_up;
    int max_catch_up;
    int64_t start_within_ms; /* 0: none */
    enum job_on_lost on_lost;
    bool accept_double;
    struct strings after;
    bool with_children; /* has no effect; kept, so that files and journals with it can be read */
    int priority;
    int keep_runs;
    int64_t keep_age_ms, keep_logs_bytes;
    struct job_notify *notify;
    size_t notify_count;
    json_t *labels; /* object of strings; NULL: none */
    bool paused;
};

/* A job with a name and the defaults of job_keys.h. NULL when out of memory. */
struct job *job_new(const char *name);
struct job *job_ref(struct job *job);
void job_unref(struct job *job); /* NULL is fine */

/* The canonical form: an object with the job file's keys in a fixed order, defaults left out; a new
 * reference. */
json_t *job_to_json(const struct job *job);

/* From that form, as strict as the file reader: unknown keys, wrong types and ranges are errors that name the key.
 * Zone and schedule are checked with `zones`; with NULL they are taken unchecked, as replaying the journal must do:
 * its result may not depend on this host's zone files. The text of `error` does not repeat `name`. */
int job_from_json(struct job **ret, const char *name, const json_t *json, struct zone_source *zones,
                  struct error *error);

/* Of a notification: {"headers":{NAME: TEXT or {"from_file":PATH}},"sign":{"from_file":PATH}}, each where there is one; a new
 * reference. NULL when out of memory. */
json_t *job_notify_headers(const struct job_notify *notify);

/* What a header's value must be, a file's as well: one line without control characters. */
int job_check_header_value(const char *text, struct error *error);

bool job_equal(const struct job *a, const struct job *b); /* the same definition */

/* The options that the job's schedule is compiled with; they borrow from the job. */
void job_schedule_options(const struct job *job, uint64_t seed, int64_t anchor_s,
                          struct schedule_options *ret);

/* The schedule compiled for use. `seed` and `anchor_s` are journaled with the job. *ret NULL with 0: it has
 * none. */
int job_compile(const struct job *job, uint64_t seed, int64_t anchor_s, struct zone_source *zones,
                struct schedule **ret, struct error *error);

/* USER or USER:GROUP: names, or numbers that no engine takes for another one; the error is a clause. A journal of an
 * earlier version may hold others, so it is asked at apply, and by each engine again. */
int job_check_user(const char *text, struct error *error);

bool job_name_valid(const char *name); /* [a-z0-9]([-a-z0-9]*[a-z0-9])?, up to 100 characters */
