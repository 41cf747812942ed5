/* The swarm engine: attempts are services of a Docker Swarm, made without a replica and released with one, through any of
 * its managers.
 *
 * id       the service's id
 * identity the id of the Swarm
 * output   data_dir/logs/JOB/RUN.ATTEMPT.log, both streams, up to the job's keep.logs, written while it runs
 * labels   of the service: the job's own, and cronsched.cluster, .job, .run, .attempt, .try, .epoch, and .released once it
 *          is; of the container: the job's own
 *
 * Which of two leaders wins is decided in the managers' log, by compare-and-swap of the service's version
 * (jobs/engine/swarm_fence.h). A Swarm accepts an attempt at once and starts it when a node fits: RELEASE is answered with
 * ACCEPTED. It tells nobody of a task, so tasks are asked for, all at once, and more often where something is about to
 * happen.
 *
 * A manager that does not answer is passed over for the next one; but a release is never sent twice.
 *
 * Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define SWARM_PARALLEL_DEFAULT  8
#define SWARM_MAX_ARMED_DEFAULT 64
#define SWARM_ENDPOINTS_MAX     8
#define SWARM_RETENTION_MS      10000
#define SWARM_SWEEP_MS          10000
#define SWARM_PING_MS           10000

struct http_client;

struct swarm_engine_options {
    const char *name;
    const char *endpoints
        [SWARM_ENDPOINTS_MAX]; /* of managers, as docker_endpoint_read takes them; [0] NULL: the local one */
    const char *tls_ca, *tls_cert, *tls_key; /* paths; any of them makes tcp:// speak TLS */
    const char *data_dir;                    /* for the logs */
    const char *files_dir;                   /* environment's from_file must lie below it; NULL: anywhere */
    const json_t *registries;  /* as of the docker engine: the nodes pull with them; copied; NULL: none */
    const char *docker_config; /* as of the docker engine */
    int parallel;              /* requests worked on at once; 0: the default */
    int max_armed;             /* 0: the default */
    int64_t retention_ms, sweep_ms,
        ping_ms;              /* 0: as above; ping: how often, and how long an answer may take */
    struct http_client *curl; /* shared, outlives the engine; NULL: one of its own */
};

/* Nothing is sent before the loop runs; managers that cannot be reached are no error here. ERR_INVALID: the options. */
int swarm_engine_new(struct engine **ret, uv_loop_t *loop, const struct swarm_engine_options *options,
                     struct engine_host *host, struct error *error);

/* What ops->faults says, without `files_dir`. */
void swarm_engine_faults(const struct job *job, struct engine_faults *faults);
