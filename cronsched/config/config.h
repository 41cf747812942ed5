/* The configuration of `serve`: a YAML file, flags and the environment, checked as strictly as job files are.
 *
 * Precedence: flag, environment (CRONSCHED_*), file, default. All errors are reported at once, each with
 * its place. config_load owns nothing of its sources; a struct config owns all that it points to and does
 * not change after. Main thread, before the loop runs.
 */
#pragma once

#include "cronsched/command/verbs.h"
#include "jobs/base/log_level.h"
#include "jobs/base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONFIG_BYTES_MAX       (256 * 1024)
#define CONFIG_ENGINES_MAX     32
#define CONFIG_POOLS_MAX       1000
#define CONFIG_LISTEN_MAX      16
#define CONFIG_ERRORS_MAX      100
#define CONFIG_HOSTS_MAX       16
#define CONFIG_SOCKET_NAME     "cronsched.sock"
#define CONFIG_RUNNING_DEFAULT 1000 /* of an engine that runs anything */

enum config_log { CONFIG_LOG_AUTO, CONFIG_LOG_HUMAN, CONFIG_LOG_JSON }; /* auto: human on a terminal */

#define CONFIG_ENDPOINTS_MAX  8
#define CONFIG_NAMESPACES_MAX 16
#define CONFIG_COMMAND_MAX    64

struct config_engine {
    char *name;
    char *type;     /* docker, swarm, kubernetes, process, plugin, null */
    char **command; /* of a plugin: the program and its arguments, ended by NULL; NULL: none */
    char *endpoint; /* unix:///var/run/docker.sock, https://HOST:PORT; NULL: the type's own */
    char *more_endpoints[CONFIG_ENDPOINTS_MAX - 1]; /* of a swarm: of its other managers; NULL: no more */
    char *tls_ca, *tls_cert, *tls_key;              /* paths, or NULL */
    /* of a kubernetes engine; NULL: not given */
    char *kubeconfig, *context, *token_file, *namespaces[CONFIG_NAMESPACES_MAX];
    int parallel;       /* calls in flight; 0: the engine's own default */
    int max_armed;      /* attempts prepared ahead; 0: the engine's own default */
    int max_running;    /* runs under way at once; 0: CONFIG_RUNNING_DEFAULT */
    json_t *registries; /* credentials: {HOST: {"username", "from_file"}}; NULL: none */
    json_t *allow;      /* what its jobs may ask for: lists by name, and flags; NULL: not limited */
};

struct config_job_pool {
    char *name;
    int size;
};

struct config {
    char *cluster;
    char *data_dir;
    char **listen; /* "unix:/PATH", "HOST:PORT", "[ADDRESS]:PORT" */
    size_t listen_count;
    gid_t socket_group;   /* of a unix socket's file; (gid_t)-1: the process's own */
    mode_t socket_mode;   /* of the same */
    bool loopback_read;   /* everybody on this machine reads over TCP, without a token */
    char **allowed_hosts; /* names of this server in a Host header, beside advertise */
    size_t allowed_host_count;
    char *advertise;           /* URL under which other replicas reach this one; NULL: none */
    char *zookeeper;           /* "HOST:PORT,HOST:PORT[/CHROOT]"; NULL: the embedded journal */
    char *zookeeper_auth_file; /* NULL: nodes that anybody may change */
    char *replica;             /* id; NULL: the host's name */
    char *cluster_id; /* uuid of the cluster that it may join, and of one that it makes; NULL: asks */
    bool init;        /* makes the cluster when there is none, and none is known here */
    int64_t session_timeout_ms;
    int expected_replicas; /* 0: nobody has said */
    struct config_engine *engines;
    size_t engine_count;
    char *default_engine;
    struct config_job_pool *pools;
    size_t pool_count;
    char *files_dir;   /* jobs' from_file must lie below it; NULL: anywhere */
    char *tokens_file; /* NULL: none */
    char *tls_cert, *tls_key;
    char *tls_ca; /* of other replicas; NULL: the system's */
    bool insecure;
    int64_t resolve_within_ms, late_grace_ms;
    int64_t max_state_bytes;
    int metrics_jobs;
    enum config_log log;
    enum log_level log_level;
};

/* Where values come from beside the file. Each answers NULL for what it does not have. */
struct config_sources {
    const char *file; /* path for messages; NULL: no file */
    const char *text; /* its content */
    size_t size;
    const char *(*flag)(void *arg, const char *name,
                        size_t i);                           /* i-th value of --name; NULL: no flags at all */
    const char *(*environment)(void *arg, const char *name); /* NULL: no environment */
    void *arg;
    bool root; /* of whom the default data folder is */
};

/* Fills *ret, also after a failure as far as it came: release it in any case. Each fault is a line of
 * `errors`. */
int config_load(struct config *ret, const struct config_sources *sources, struct text *errors);
void config_release(struct config *config); /* NULL is fine */

/* For the verb `serve`: --config (or CRONSCHED_CONFIG) and the options below. Prints every fault to stderr.
 * An exit code: EXIT_FINE, EXIT_USAGE, EXIT_INTERNAL. */
int config_load_call(struct config *ret, const struct verb_call *call);

/* For other verbs: the file (NULL: CRONSCHED_CONFIG) and the environment. Likewise. */
int config_load_file(struct config *ret, const char *file);

/* The options of `serve` that are configuration, --config among them. */
extern const struct verb_option config_options[];

/* $CRONSCHED_DATA_DIR, /var/lib/cronsched, or $XDG_STATE_HOME/cronsched (~/.local/state/cronsched); malloc'd,
 * NULL when there is none. `environment` as above. */
char *config_default_data_dir(const char *(*environment)(void *arg, const char *name), void *arg, bool root);

/* The process's own environment, for the above. */
const char *config_getenv(void *arg, const char *name);

/* The plain keys, for the manual: key, flag, variable, argument, help; NULL beyond the last. */
struct config_key_text {
    const char *key, *flag, *variable, *arg, *help, *fallback;
};
bool config_key_text(size_t i, struct config_key_text *ret);
