/* The keys of a job in one table: name, type, where it lives in struct job, limits, default. The reader (YAML
 * and JSON alike), the writer, the defaults and the release all walk it, so a key exists in one place. For
 * the files of jobs/definition only.
 */
#pragma once

#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"
#include "jobs/base/text.h"
#include "jobs/definition/job.h"
#include "jobs/time/civil.h"
#include "jobs/yaml/yaml.h"

enum job_type {
    JOB_TYPE_TEXT,     /* char *; min and max bytes */
    JOB_TYPE_TEXTS,    /* struct strings; max items, text_max bytes each */
    JOB_TYPE_ENUM,     /* enum; names */
    JOB_TYPE_BOOL,     /* bool */
    JOB_TYPE_INT,      /* int; min, max, standard */
    JOB_TYPE_REAL,     /* double; real_min, real_max, real_standard */
    JOB_TYPE_DURATION, /* int64_t milliseconds; min, max, standard */
    JOB_TYPE_SIZE,     /* int64_t bytes; min, max, standard */
    JOB_TYPE_CODES,    /* int * and a size_t at count_offset; min, max of each */
    JOB_TYPE_COMMAND,  /* struct strings and a bool at flag_offset: present */
    JOB_TYPE_ENV,      /* struct job_env * and a size_t at count_offset */
    JOB_TYPE_NOTIFY,   /* struct job_notify * and a size_t at count_offset */
    JOB_TYPE_LABELS,   /* json_t *: an object of texts */
    JOB_TYPE_JSON,     /* json_t *: any object */
    JOB_TYPE_ULIMITS,  /* json_t *: an object of numbers and {soft, hard} */
    JOB_TYPE_COUNT
};

struct job_key {
    const char *group; /* "retries": the map it is in; NULL: the job itself */
    const char *name;
    enum job_type type;
    size_t offset, count_offset, flag_offset;
    int64_t min, max, standard;
    size_t text_max;
    double real_min, real_max, real_standard;
    const char *const *names;                            /* enum: names by value, ended by NULL */
    int (*check)(const char *text, struct error *error); /* a text, or each item */
    const char *text_standard;
    bool one;     /* a list of one is written as a text */
    bool numbers; /* a plain number serves as a text */
    bool pairs;   /* texts: a map is a list of NAME:VALUE */
};

#define JOB_S  INT64_C(1000)
#define JOB_H  (3600 * JOB_S)
#define JOB_D  (24 * JOB_H)
#define JOB_MB (INT64_C(1) << 20)

#define JOB_ENV_FILES_MAX 16

/* id, group, name, type, field, the rest of struct job_key */
#define JOB_KEYS(X)                                                                                          \
    X(DESCRIPTION, NULL, "description", TEXT, description, .max = 4096)                                      \
    X(OWNER, NULL, "owner", TEXT, owner, .max = 256, .check = job_check_line)                                \
    X(SCHEDULE, NULL, "schedule", TEXTS, schedule, .max = SCHEDULE_TEXTS_MAX, .text_max = SCHEDULE_TEXT_MAX, \
      .one = true)                                                                                           \
    X(TIMEZONE, NULL, "timezone", TEXT, timezone, .min = 1, .max = 64, .text_standard = "UTC")               \
    X(DIALECT, NULL, "dialect", ENUM, dialect, .names = job_dialects)                                        \
    X(DST, NULL, "dst", ENUM, dst, .names = job_dsts)                                                        \
    X(JITTER, NULL, "jitter", DURATION, jitter_ms, .max = JOB_D)                                             \
    X(EXCEPT, NULL, "except", TEXTS, except, .max = SCHEDULE_EXCEPT_MAX, .text_max = 1024)                   \
    X(START, NULL, "start", TEXT, start, .min = 1, .max = 64)                                                \
    X(END, NULL, "end", TEXT, end, .min = 1, .max = 64)                                                      \
    X(IMAGE, NULL, "image", TEXT, image, .min = 1, .max = 512, .check = job_check_image)                     \
    X(ENTRYPOINT, NULL, "entrypoint", COMMAND, entrypoint,                                                   \
      .flag_offset = offsetof(struct job, has_entrypoint))                                                   \
    X(COMMAND, NULL, "command", COMMAND, command, .flag_offset = offsetof(struct job, has_command))          \
    X(ENVIRONMENT, NULL, "environment", ENV, environment,                                                    \
      .count_offset = offsetof(struct job, environment_count))                                               \
    X(USER, NULL, "user", TEXT, user, .min = 1, .max = 128, .check = job_check_word)                         \
    X(WORKING_DIR, NULL, "working_dir", TEXT, working_dir, .min = 1, .max = 4096, .check = job_check_path)   \
    X(VOLUMES, NULL, "volumes", TEXTS, volumes, .max = JOB_LIST_MAX, .text_max = 8192,                       \
      .check = job_check_volume)                                                                             \
    X(NETWORK, NULL, "network", TEXT, network, .min = 1, .max = 255, .check = job_check_word)                \
    X(ENV_FILE, NULL, "env_file", TEXTS, env_file, .max = JOB_ENV_FILES_MAX, .text_max = 4096,               \
      .check = job_check_line, .one = true)                                                                  \
    X(HOSTNAME, NULL, "hostname", TEXT, hostname, .min = 1, .max = 63, .check = job_check_hostname)          \
    X(STOP_SIGNAL, NULL, "stop_signal", TEXT, stop_signal, .min = 1, .max = 16, .numbers = true,             \
      .check = job_check_signal)                                                                             \
    X(INIT, NULL, "init", BOOL, init)                                                                        \
    X(READ_ONLY, NULL, "read_only", BOOL, read_only)                                                         \
    X(PRIVILEGED, NULL, "privileged", BOOL, privileged)                                                      \
    X(TMPFS, NULL, "tmpfs", TEXTS, tmpfs, .max = JOB_LIST_MAX, .text_max = 4096, .check = job_check_tmpfs)   \
    X(SHM_SIZE, NULL, "shm_size", SIZE, shm_size_bytes, .min = 1, .max = BYTE_SIZE_MAX)                      \
    X(CAP_ADD, NULL, "cap_add", TEXTS, cap_add, .max = JOB_LIST_MAX, .text_max = 64,                         \
      .check = job_check_capability)                                                                         \
    X(CAP_DROP, NULL, "cap_drop", TEXTS, cap_drop, .max = JOB_LIST_MAX, .text_max = 64,                      \
      .check = job_check_capability)                                                                         \
    X(SECURITY_OPT, NULL, "security_opt", TEXTS, security_opt, .max = JOB_LIST_MAX, .text_max = 512,         \
      .check = job_check_security_opt)                                                                       \
    X(ULIMITS, NULL, "ulimits", ULIMITS, ulimits)                                                            \
    X(EXTRA_HOSTS, NULL, "extra_hosts", TEXTS, extra_hosts, .max = JOB_LIST_MAX, .text_max = 320,            \
      .pairs = true, .check = job_check_extra_host)                                                          \
    X(DNS, NULL, "dns", TEXTS, dns, .max = 16, .text_max = 64, .check = job_check_address, .one = true)      \
    X(DEVICES, NULL, "devices", TEXTS, devices, .max = JOB_LIST_MAX, .text_max = 8192,                       \
      .check = job_check_device)                                                                             \
    X(GROUP_ADD, NULL, "group_add", TEXTS, group_add, .max = JOB_LIST_MAX, .text_max = 128, .numbers = true, \
      .check = job_check_group)                                                                              \
    X(PIDS_LIMIT, NULL, "pids_limit", INT, pids_limit, .min = -1, .max = 4194304, .standard = JOB_PIDS)      \
    X(SECRETS, NULL, "secrets", TEXTS, secrets, .max = JOB_LIST_MAX, .text_max = 255,                        \
      .check = job_check_word)                                                                               \
    X(CONFIGS, NULL, "configs", TEXTS, configs, .max = JOB_LIST_MAX, .text_max = 255,                        \
      .check = job_check_word)                                                                               \
    X(CPUS, "resources", "cpus", REAL, cpus, .real_min = 0.001, .real_max = 4096)                            \
    X(MEMORY, "resources", "memory", SIZE, memory_bytes, .min = JOB_MB, .max = BYTE_SIZE_MAX)                \
    X(PULL, NULL, "pull", ENUM, pull, .names = job_pulls)                                                    \
    X(ENGINE, NULL, "engine", TEXTS, engine, .max = 8, .text_max = 64, .check = job_check_resource,          \
      .one = true)                                                                                           \
    X(CONSTRAINTS, NULL, "constraints", TEXTS, constraints, .max = JOB_LIST_MAX, .text_max = 1024,           \
      .check = job_check_line)                                                                               \
    X(KUBERNETES, NULL, "kubernetes", JSON, kubernetes)                                                      \
    X(TIMEOUT, NULL, "timeout", DURATION, timeout_ms, .min = JOB_S, .max = 366 * JOB_D, .standard = JOB_D)   \
    X(STOP_GRACE, NULL, "stop_grace", DURATION, stop_grace_ms, .max = JOB_D, .standard = 10 * JOB_S)         \
    X(RETRIES_MAX, "retries", "max", INT, retries_max, .max = 1000)                                          \
    X(RETRIES_DELAY, "retries", "delay", DURATION, retries_delay_ms, .max = 7 * JOB_D,                       \
      .standard = 30 * JOB_S)                                                                                \
    X(RETRIES_BACKOFF, "retries", "backoff", REAL, retries_backoff, .real_min = 1, .real_max = 100,          \
      .real_standard = 2)                                                                                    \
    X(RETRIES_MAX_DELAY, "retries", "max_delay", DURATION, retries_max_delay_ms, .max = 7 * JOB_D,           \
      .standard = 600 * JOB_S)                                                                               \
    X(RETRIES_ON_EXIT, "retries", "on_exit", CODES, retries_on_exit, .min = 1, .max = 255,                   \
      .count_offset = offsetof(struct job, retries_on_exit_count))                                           \
    X(CONCURRENCY, NULL, "concurrency", ENUM, concurrency, .names = job_concurrencies)                       \
    X(QUEUE_MAX, NULL, "queue_max", INT, queue_max, .min = 1, .max = 10000, .standard = 100)                 \
    X(MAX_RUNNING, NULL, "max_running", INT, max_running, .max = 10000)                                      \
    X(POOL, "pool", "name", TEXT, pool, .min = 1, .max = 64, .check = job_check_resource)                    \
    X(CATCH_UP, NULL, "catch_up", ENUM, catch_up, .names = job_catch_ups)                                    \
    X(MAX_CATCH_UP, NULL, "max_catch_up", INT, max_catch_up, .min = 1, .max = 10000, .standard = 100)        \
    X(START_WITHIN, NULL, "start_within", DURATION, start_within_ms, .min = 1, .max = 366 * JOB_D)           \
    X(ON_LOST, NULL, "on_lost", ENUM, on_lost, .names = job_on_losts)                                        \
    X(ACCEPT_DOUBLE, NULL, "accept_double", BOOL, accept_double)                                             \
    X(AFTER, NULL, "after", TEXTS, after, .max = JOB_AFTER_MAX, .text_max = JOB_NAME_MAX,                    \
      .check = job_check_name)                                                                               \
    X(WITH_CHILDREN, NULL, "with_children", BOOL, with_children)                                             \
    X(PRIORITY, NULL, "priority", INT, priority, .max = 100, .standard = 50)                                 \
    X(KEEP_RUNS, "keep", "runs", INT, keep_runs, .min = 1, .max = 1000000, .standard = 1000)                 \
    X(KEEP_AGE, "keep", "age", DURATION, keep_age_ms, .min = JOB_H, .max = DURATION_MAX_MS,                  \
      .standard = 90 * JOB_D)                                                                                \
    X(KEEP_LOGS, "keep", "logs", SIZE, keep_logs_bytes, .max = 1024 * JOB_MB, .standard = JOB_MB)            \
    X(NOTIFY, NULL, "notify", NOTIFY, notify, .count_offset = offsetof(struct job, notify_count))            \
    X(LABELS, NULL, "labels", LABELS, labels)                                                                \
    X(PAUSED, NULL, "paused", BOOL, paused)

enum job_key_id {
#define X(id, ...) JOB_KEY_##id,
    JOB_KEYS(X)
#undef X
        JOB_KEY_COUNT
};

extern const struct job_key job_keys[JOB_KEY_COUNT];
extern const char *const job_verdicts[]; /* what `notify` may wait for, ended by NULL */

static inline void *job_field(const struct job *job, size_t offset)
{
    return (char *)job + offset;
}

/* "retries.max" */
const char *job_key_path(const struct job_key *key, char *buffer, size_t size);

/* Frees what the key's field holds and makes it empty; numbers stay. */
void job_key_release(struct job *job, const struct job_key *key);
void job_key_default(struct job *job,
                     const struct job_key *key); /* of an empty field; a NULL text when out of memory */

json_t *job_env_json(const struct job_env *variable);           /* a new reference; NULL when out of memory */
void job_key_reset(struct job *job, const struct job_key *key); /* as if it had not been given */

/* Both return ERR_NOMEM only. */
int job_strings_add(struct strings *strings, const char *text);
void job_strings_release(struct strings *strings);
void job_env_release(struct job_env *variable);
void job_notify_release(struct job_notify *notify);

/* Shapes of single texts; the error is a clause such as "must be an absolute path". */
int job_check_line(const char *text, struct error *error);
int job_check_word(const char *text, struct error *error);
int job_check_name(const char *text, struct error *error);
int job_check_resource(const char *text,
                       struct error *error); /* an engine or pool of the server's configuration */
int job_check_path(const char *text, struct error *error);
int job_check_image(const char *text, struct error *error);
int job_check_volume(const char *text, struct error *error);
int job_check_url(const char *text, struct error *error);
int job_check_variable(const char *name, struct error *error);
int job_check_label(const char *name, struct error *error);

/* Of job_confine.c. */
int job_check_group(const char *text, struct error *error);
int job_check_hostname(const char *text, struct error *error);
int job_check_signal(const char *text, struct error *error);
int job_check_tmpfs(const char *text, struct error *error);
int job_check_capability(const char *text, struct error *error);
int job_check_security_opt(const char *text, struct error *error);
int job_check_extra_host(const char *text, struct error *error);
int job_check_address(const char *text, struct error *error);
int job_check_device(const char *text, struct error *error);
int job_check_ulimit(const char *name, struct error *error); /* the name of a limit */

/* ---- reading: jobs/definition/job_read.c, jobs/definition/job_check.c ---- */

/* One job being read. Layers (a file's defaults, then the job itself) are applied one after another; `places`
 * keeps which node gave each key its value, for the checks that come last. */
struct job_reader {
    struct job *job;
    /* at NULL: the job as a whole. column: within `at`'s line. NULL: silent, nothing is counted */
    void (*report)(void *arg, const struct yaml_node *at, int column, bool warning, const char *text);
    void *arg;
    /* The days of a calendar file that `except` names. NULL: there are no files, and such a name is a fault. */
    int (*calendar)(void *arg, const char *path, struct civil_range **ret, size_t *ret_count,
                    struct error *error);
    /* The text of a file of variables, malloc'd. NULL: there are no files, and env_file is a fault. */
    int (*env_file)(void *arg, const char *path, char **ret, size_t *ret_size, struct error *error);
    const struct yaml_node *places[JOB_KEY_COUNT];
    size_t faults; /* warnings not counted */
    bool no_memory;
};

/* Applies the keys of a map. Faults are reported and their keys left alone. */
void job_read_layer(struct job_reader *reader, const struct yaml_node *map);

/* Of job_ulimits.c: as the readers of the other types, which are in job_read.c. */
void job_read_ulimits(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node);

/* Of job_notify.c: the keys `headers` and `sign` of one notification; NULL: not there. */
void job_read_headers(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                      struct job_notify *notify);
void job_read_sign(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                   struct job_notify *notify);

/* What concerns several keys; and zone, window and schedule unless `zones` is NULL. */
void job_check(struct job_reader *reader, struct zone_source *zones);

/* Warns of $NAME, ${NAME}, $(...) and $$ where nothing comes of them. */
void job_check_dollars(struct job_reader *reader);

/* Puts what the files of `env_file` hold into `environment`, whose own variables win. */
void job_expand_env_files(struct job_reader *reader);

/* Replaces the calendar files in `except` by their days. */
void job_expand_calendars(struct job_reader *reader);

/* The node of one item of a list; the list itself when it is not found. */
const struct yaml_node *job_item_node(const struct job_reader *reader, enum job_key_id id, const char *text);

#define JOB_FAULT_TEXT_MAX 900 /* of one message */

/* Report with the key's path in front; key and at may be NULL. `within`: at a byte of the node's text. */
void job_report(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
void job_report_within(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                       size_t offset, const char *format, ...) __attribute__((format(printf, 5, 6)));
void job_warn(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
              const char *format, ...) __attribute__((format(printf, 4, 5)));
