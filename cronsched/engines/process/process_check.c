/* What a job may not ask of the process engine: a table of keys and reasons. */
#include "cronsched/engines/process/process.h"

#include <string.h>

static bool has_image(const struct job *job)
{
    return job->image != NULL;
}

static bool has_volumes(const struct job *job)
{
    return job->volumes.count > 0;
}

static bool has_network(const struct job *job)
{
    return job->network != NULL;
}

static bool has_secrets(const struct job *job)
{
    return job->secrets.count > 0;
}

static bool has_configs(const struct job *job)
{
    return job->configs.count > 0;
}

static bool has_constraints(const struct job *job)
{
    return job->constraints.count > 0;
}

static bool has_kubernetes(const struct job *job)
{
    return job->kubernetes != NULL;
}

static bool has_pull(const struct job *job)
{
    return job->pull != JOB_PULL_MISSING;
}

static bool has_cpus(const struct job *job)
{
    return job->cpus > 0;
}

static bool has_memory(const struct job *job)
{
    return job->memory_bytes > 0;
}

/* The keys that confine a container or widen what it may, as far as they are given. */
static void check_container_keys(const struct job *job, struct engine_faults *faults)
{
    const struct {
        const char *key;
        bool given;
    } keys[] = {
        {"hostname", job->hostname != NULL},
        {"stop_signal", job->stop_signal != NULL},
        {"init", job->init},
        {"read_only", job->read_only},
        {"privileged", job->privileged},
        {"tmpfs", job->tmpfs.count > 0},
        {"shm_size", job->shm_size_bytes > 0},
        {"cap_add", job->cap_add.count > 0},
        {"cap_drop", job->cap_drop.count > 0},
        {"security_opt", job->security_opt.count > 0},
        {"ulimits", json_object_size(job->ulimits) > 0},
        {"extra_hosts", job->extra_hosts.count > 0},
        {"dns", job->dns.count > 0},
        {"devices", job->devices.count > 0},
        {"group_add", job->group_add.count > 0},
        {"pids_limit", job->pids_limit != JOB_PIDS},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (keys[i].given)
            engine_fault(faults, ERR_UNSUPPORTED, "%s: this is for engines with containers", keys[i].key);
}

static bool has_bad_user(const struct job *job)
{
    struct error error;

    return job->user && job_check_user(job->user, &error) < 0;
}

static bool has_secret_variable(const struct job *job)
{
    for (size_t i = 0; i < job->environment_count; i++)
        if (job->environment[i].from_secret)
            return true;
    return false;
}

static bool lacks_command(const struct job *job)
{
    return job->entrypoint.count + job->command.count == 0;
}

static bool has_empty_program(const struct job *job)
{
    return !lacks_command(job) &&
           (job->entrypoint.count ? job->entrypoint.items[0] : job->command.items[0])[0] == '\0';
}

static bool has_relative_folder(const struct job *job)
{
    return job->working_dir && job->working_dir[0] != '/';
}

void process_engine_faults(const struct job *job, struct engine_faults *faults)
{
    static const struct {
        bool (*applies)(const struct job *job);
        const char *text;
    } rules[] = {
        {lacks_command, "command: the process engine needs a command or an entrypoint"},
        {has_empty_program, "command: the name of the program is empty"},
        {has_image, "image: the process engine runs programs of this machine, not images"},
        {has_relative_folder, "working_dir: the process engine needs an absolute path"},
        {has_bad_user, "user: the process engine needs names, or numbers up to 2147483647"},
        {has_volumes, "volumes: a process sees the machine's own files; there is nothing to mount"},
        {has_network, "network: a process has the machine's own network"},
        {has_cpus, "resources: the process engine cannot limit CPU; an engine with containers can"},
        {has_memory, "resources: the process engine cannot limit memory; an engine with containers can"},
        {has_secrets, "secrets: the process engine has none; use environment with from_file"},
        {has_secret_variable, "environment: the process engine has no secrets; use from_file"},
        {has_configs, "configs: the process engine has none; a process reads the machine's own files"},
        {has_pull, "pull: the process engine has no images to pull"},
        {has_constraints, "constraints: the process engine runs on the leader's machine only"},
        {has_kubernetes, "kubernetes: this is for the kubernetes engine"},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (rules[i].applies(job))
            engine_fault(faults, ERR_UNSUPPORTED, "%s", rules[i].text);
    check_container_keys(job, faults);
}

int process_engine_check(const struct job *job, struct error *error)
{
    struct engine_faults faults = {0};

    process_engine_faults(job, &faults);
    if (faults.first.code && error)
        *error = faults.first;
    return faults.first.code;
}

int process_engine_user(const json_t *allow, const struct job *job, const char **ret, struct error *error)
{
    const json_t *users = json_object_get(allow, "users"), *user;
    size_t i;

    *ret = job->user ? job->user : "";
    if (!users)
        return 0;
    if (!job->user) {
        *ret = json_string_value(json_array_get(users, 0));
        return 0;
    }
    json_array_foreach(users, i, user) if (strcmp(json_string_value(user), job->user) == 0) return 0;
    return error_set(error, ERR_DENIED, "user: '%.80s' is not among the users of this engine's configuration",
                     job->user);
}
