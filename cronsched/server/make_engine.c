/* The engines of a configuration, each made by its type. */
#include "cronsched/server/make_engine.h"

#include "cronsched/engines/docker/docker.h"
#include "cronsched/engines/kubernetes/kube.h"
#include "cronsched/engines/null.h"
#include "cronsched/engines/plugin/plugin.h"
#include "cronsched/engines/process/process.h"
#include "cronsched/engines/swarm/swarm.h"
#include "cronsched/io/log.h"

#include <string.h>
#include <unistd.h>

static int make_docker(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                       struct error *error)
{
    struct docker_engine_options o = {.name = e->name,
                                      .endpoint = e->endpoint,
                                      .tls_ca = e->tls_ca,
                                      .tls_cert = e->tls_cert,
                                      .tls_key = e->tls_key,
                                      .parallel = e->parallel,
                                      .max_armed = e->max_armed,
                                      .files_dir = with->config->files_dir,
                                      .allow = e->allow,
                                      .registries = e->registries,
                                      .retention_ms = with->retention_ms,
                                      .sweep_ms = with->retention_ms,
                                      .data_dir = with->config->data_dir};

    int rc = docker_engine_new(ret, with->loop, &o, with->host, error);

    if (rc == 0 && with->replica)
        replica_remote_engine(with->replica, ret, *ret, NULL);
    return rc;
}

static int make_swarm(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                      struct error *error)
{
    struct swarm_engine_options o = {.name = e->name,
                                     .endpoints = {e->endpoint},
                                     .tls_ca = e->tls_ca,
                                     .tls_cert = e->tls_cert,
                                     .tls_key = e->tls_key,
                                     .parallel = e->parallel,
                                     .max_armed = e->max_armed,
                                     .files_dir = with->config->files_dir,
                                     .registries = e->registries,
                                     .retention_ms = with->retention_ms,
                                     .sweep_ms = with->retention_ms,
                                     .data_dir = with->config->data_dir};
    int rc;

    for (size_t i = 0; i < CONFIG_ENDPOINTS_MAX - 1 && i < SWARM_ENDPOINTS_MAX - 1; i++)
        o.endpoints[i + 1] = e->more_endpoints[i];
    rc = swarm_engine_new(ret, with->loop, &o, with->host, error);
    if (rc == 0 && with->replica)
        replica_remote_engine(with->replica, ret, *ret, NULL);
    return rc;
}

static int make_kubernetes(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                           struct error *error)
{
    struct kube_engine_options o = {.name = e->name,
                                    .kubeconfig = e->kubeconfig,
                                    .context = e->context,
                                    .endpoint = e->endpoint,
                                    .tls_ca = e->tls_ca,
                                    .tls_cert = e->tls_cert,
                                    .tls_key = e->tls_key,
                                    .token_file = e->token_file,
                                    .parallel = e->parallel,
                                    .max_armed = e->max_armed,
                                    .allow = e->allow,
                                    .files_dir = with->config->files_dir,
                                    .retention_ms = with->retention_ms,
                                    .sweep_ms = with->retention_ms,
                                    .data_dir = with->config->data_dir};
    int rc;

    for (size_t i = 0; i < CONFIG_NAMESPACES_MAX && i < KUBE_NAMESPACES_MAX; i++)
        o.namespaces[i] = e->namespaces[i];
    rc = kube_engine_new(ret, with->loop, &o, with->host, error);
    if (rc == 0 && with->replica)
        replica_remote_engine(with->replica, ret, *ret, NULL);
    return rc;
}

static int make_process(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                        struct error *error)
{
    struct process_engine_options o = {.name = e->name,
                                       .data_dir = with->config->data_dir,
                                       .retention_ms = with->retention_ms,
                                       .sweep_ms = with->retention_ms,
                                       .parallel = e->parallel,
                                       .max_armed = e->max_armed,
                                       .allow = e->allow,
                                       .files_dir = with->config->files_dir,
                                       .files = with->files,
                                       .replica = with->replica ? with->id : NULL,
                                       .cluster = with->replica ? replica_cluster(with->replica) : NULL};
    int rc = process_engine_new(ret, with->loop, &o, with->host, error);

    if (!json_object_get(e->allow, "users"))
        log_event(LOG_WARN, "process-users", LOG_TEXT("engine", e->name),
                  LOG_TEXT("text", geteuid() == 0
                                       ? "without users whoever may apply is root on this machine"
                                       : "without users jobs can read and change all that this server can"));
    if (rc == 0 && with->replica)
        replica_remote_engine(with->replica, ret, *ret, process_engine_host(*ret));
    return rc;
}

static int make_plugin(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                       struct error *error)
{
    struct plugin_engine_options o = {.name = e->name,
                                      .command = (const char *const *)e->command,
                                      .parallel = e->parallel,
                                      .max_armed = e->max_armed,
                                      .files_dir = with->config->files_dir,
                                      .data_dir = with->config->data_dir};
    int rc = plugin_engine_new(ret, with->loop, &o, with->host, error);

    if (rc == 0 && with->replica)
        replica_remote_engine(with->replica, ret, *ret, NULL);
    return rc;
}

static int make_null(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                     struct error *error)
{
    struct null_engine_options o = {.name = e->name, .max_armed = e->max_armed};

    return null_engine_new(ret, with->loop, &o, with->host, error);
}

/* ---- all of them ---- */

static const struct {
    const char *type;
    int (*make)(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                struct error *error);
} engine_types[] = {
    {"docker", make_docker},   {"swarm", make_swarm},   {"kubernetes", make_kubernetes},
    {"process", make_process}, {"plugin", make_plugin}, {"null", make_null},
};

int make_engine(struct engine **ret, const struct make_engine *with, const struct config_engine *e,
                struct error *error)
{
    int rc = ERR_UNSUPPORTED;

    error_set(error, rc, "this build has no engines of type %s", e->type);
    for (size_t i = 0; i < sizeof(engine_types) / sizeof(engine_types[0]); i++)
        if (strcmp(e->type, engine_types[i].type) == 0)
            rc = engine_types[i].make(ret, with, e, error);
    if (rc < 0)
        return rc;
    (*ret)->max_running = e->max_running;
    if (e->max_running == 0 && strcmp(e->type, "null") != 0)
        (*ret)->max_running = CONFIG_RUNNING_DEFAULT;
    return 0;
}
