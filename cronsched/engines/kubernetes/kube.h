/* The kubernetes engine: attempts are bare Pods, made with a scheduling gate and released by taking it away.
 *
 * id       NAMESPACE/NAME/UID of the Pod
 * identity the uid of the namespace kube-system; where that may not be read, of the engine's own namespace
 * output   data_dir/logs/JOB/RUN.ATTEMPT.log, one stream, up to the job's keep.logs, written while it runs
 * labels   of the Pod: the job's own, and cronsched.io/cluster; annotations: cronsched.io/job, run, attempt, try, epoch
 *
 * Which of two leaders wins is decided in the store of the API, by compare-and-swap of the Pod's resourceVersion
 * (jobs/engine/kube_fence.h). Kubernetes accepts an attempt at once and starts it when a node fits: RELEASE is answered with
 * ACCEPTED. A finalizer of ours keeps a Pod, and with it the evidence, until the journal needs it no more.
 *
 * Servers from 1.27 on. Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define KUBE_PARALLEL_DEFAULT  8
#define KUBE_MAX_ARMED_DEFAULT 64
#define KUBE_NAMESPACES_MAX    16
#define KUBE_RETENTION_MS      10000
#define KUBE_SWEEP_MS          10000
#define KUBE_PING_MS           10000

struct http_client;

struct kube_engine_options {
    const char *name;
    const char
        *kubeconfig; /* paths, separated by colons; NULL: the rest, or the account of the Pod that this is */
    const char *context;                                  /* of it; NULL: the current one */
    const char *endpoint;                                 /* URL of the API */
    const char *tls_ca, *tls_cert, *tls_key, *token_file; /* paths, beside endpoint */
    /* Where jobs may run; [0] is where those run that name none, NULL: the context's own, or "default". */
    const char *namespaces[KUBE_NAMESPACES_MAX];
    const char *data_dir;  /* for the logs */
    const char *files_dir; /* environment's from_file must lie below it; NULL: anywhere */
    const json_t *allow;   /* what jobs may ask for; NULL: not limited. Borrowed for the engine's life */
    int parallel;          /* requests worked on at once; 0: the default */
    int max_armed;         /* 0: the default */
    int64_t retention_ms, sweep_ms,
        ping_ms;              /* 0: as above; ping: how often, and how long an answer may take */
    struct http_client *curl; /* shared, outlives the engine; NULL: one of its own */
};

/* Nothing is sent before the loop runs; an API that cannot be reached, or a kubeconfig that cannot be read, is no error here
 * and is told by the status. ERR_INVALID: the options. */
int kube_engine_new(struct engine **ret, uv_loop_t *loop, const struct kube_engine_options *options,
                    struct engine_host *host, struct error *error);

/* What ops->faults says, without `files_dir`, `allow` and the namespaces. */
void kube_engine_faults(const struct job *job, struct engine_faults *faults);
