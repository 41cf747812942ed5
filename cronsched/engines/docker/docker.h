/* The docker engine: attempts are containers of one Docker Engine, reached over its HTTP API.
 *
 * id       the container's id
 * boot     what was seen of the engine's host at prepare, see docker_boot_id.c
 * identity the id in the mark that the cluster leaves on the engine, see docker_identity.c
 * output   data_dir/logs/JOB/RUN.ATTEMPT.log, both streams, up to the job's keep.logs, written while it runs
 * labels   the job's own, and cronsched.cluster, .job, .run, .attempt, .try, .epoch, .witness, .identity
 *
 * At most one start request is ever sent for an id, on a connection of its own; a reply that is lost makes
 * the scheduler fence (jobs/engine/docker_fence.h). Nothing is removed by force, no container removes or restarts
 * itself. A container that has ended stays for `retention_ms`, then the sweep removes it once host->keep
 * allows it.
 *
 * What somebody else starts is noticed: before the release (docker_prepared.c), while it is watched
 * (docker_watch.c), and after its end (docker_stray.c).
 *
 * An engine that does not answer is `unreachable`: requests are answered so at once, what runs is watched
 * again when it is back, and ends that happened meanwhile are read from its state.
 *
 * Live-restore (a setting of dockerd) is recommended: without it an engine that stops or restarts ends what
 * runs. An end in such a time is reported with the cause `engine`; one that the engine has made up, as it lost what it had
 * started, is unknown (docker_end.c, and contrib/guide/architecture.md, "Ends that nobody saw").
 *
 * Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define DOCKER_ENDPOINT_DEFAULT  "unix:///var/run/docker.sock"
#define DOCKER_PARALLEL_DEFAULT  8
#define DOCKER_MAX_ARMED_DEFAULT 64
#define DOCKER_RETENTION_MS      60000
#define DOCKER_SWEEP_MS          30000
#define DOCKER_PING_MS           10000
#define DOCKER_WITNESS_DEFAULT   "/.cronsched-"

struct http_client;

struct docker_engine_options {
    const char *name;
    const char *endpoint; /* unix:///PATH, tcp://HOST:PORT, https://HOST:PORT; NULL: the default */
    const char *tls_ca, *tls_cert, *tls_key; /* paths; any of them makes tcp:// speak TLS */
    const char *data_dir;                    /* for the logs */
    int parallel;                            /* requests worked on at once; 0: the default */
    int max_armed;                           /* 0: the default */
    /* absolute path, its last part continued by the attempt's hash; NULL: default */
    const char *witness_prefix;
    /* 0: as above; ping: how often, and how long an answer may take */
    int64_t retention_ms, sweep_ms, ping_ms;
    const char *files_dir; /* environment's from_file must lie below it; NULL: anywhere */
    const json_t *allow;   /* what jobs may ask for, by docker_allow.c; copied; NULL: all but privileged */
    const json_t
        *registries; /* credentials: {HOST: {"username": TEXT, "from_file": PATH}}; copied; NULL: none */
    const char *docker_config; /* Docker's config.json; NULL: of $DOCKER_CONFIG, else ~/.docker; "": none */
    struct http_client *curl;  /* shared, outlives the engine; NULL: one of its own */
};

/* Nothing is sent before the loop runs; an endpoint that cannot be reached is no error here. ERR_INVALID: the
 * options. */
int docker_engine_new(struct engine **ret, uv_loop_t *loop, const struct docker_engine_options *options,
                      struct engine_host *host, struct error *error);

/* What ops->check does, without `allow` and `files_dir`; for the validation of job files without an engine. */
int docker_engine_check(const struct job *job, struct error *error);
void docker_engine_faults(const struct job *job, struct engine_faults *faults);
