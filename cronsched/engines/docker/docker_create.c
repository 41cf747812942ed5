/* A job as the body of POST /containers/create, and what a job may not ask of this engine. Pure. */
#include "cronsched/engines/docker/docker_core.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_LEAST_BYTES (6 * 1024 * 1024) /* the engine refuses less */
#define CPUS_LEAST         0.01

/* ---- check ---- */

static bool has_bad_user(const struct job *job)
{
    struct error error;

    return job->user && job_check_user(job->user, &error) < 0;
}

static bool lacks_image(const struct job *job)
{
    return !job->image;
}

static bool has_constraints(const struct job *job)
{
    return job->constraints.count > 0;
}

static bool has_secrets(const struct job *job)
{
    return job->secrets.count > 0;
}

static bool has_configs(const struct job *job)
{
    return job->configs.count > 0;
}

static bool has_kubernetes(const struct job *job)
{
    return job->kubernetes != NULL;
}

static bool has_secret_variable(const struct job *job)
{
    for (size_t i = 0; i < job->environment_count; i++)
        if (job->environment[i].from_secret)
            return true;
    return false;
}

static bool has_little_memory(const struct job *job)
{
    return job->memory_bytes > 0 && job->memory_bytes < MEMORY_LEAST_BYTES;
}

static bool has_little_cpu(const struct job *job)
{
    return job->cpus > 0 && job->cpus < CPUS_LEAST;
}

/* The API takes an empty list for "as in the image", unless an entrypoint comes with it. */
static bool has_empty_command(const struct job *job)
{
    return job->has_command && job->command.count == 0 && !job->has_entrypoint;
}

static bool has_relative_folder(const struct job *job)
{
    return job->working_dir && job->working_dir[0] != '/';
}

/* The host of a registry may have capitals, and so may a tag; the engine refuses them in the name. */
static bool has_capitals(const struct job *job)
{
    const char *name = job->image ? job->image : "", *slash = strchr(name, '/');
    size_t host = slash ? (size_t)(slash - name) : 0;

    if (slash && (memchr(name, '.', host) || memchr(name, ':', host) || strncmp(name, "localhost/", 10) == 0))
        name = slash + 1;
    for (; *name && *name != ':' && *name != '@'; name++)
        if (*name >= 'A' && *name <= 'Z')
            return true;
    return false;
}

static bool has_no_signal(const struct job *job)
{
    return job->stop_signal && !docker_signal_valid(job->stop_signal);
}

void docker_engine_faults(const struct job *job, struct engine_faults *faults)
{
    static const struct {
        bool (*applies)(const struct job *job);
        const char *text;
    } rules[] = {
        {lacks_image, "image: the docker engine needs an image"},
        {has_capitals, "image: the name of an image has no capital letters; a tag may have some"},
        {has_constraints, "constraints: the docker engine is a single host; nothing is there to choose from"},
        {has_secrets, "secrets: the docker engine has none; use environment with from_file, or a volume"},
        {has_configs, "configs: the docker engine has none; use a volume"},
        {has_kubernetes, "kubernetes: this is for the kubernetes engine"},
        {has_secret_variable, "environment: the docker engine has no secrets; use from_file"},
        {has_bad_user, "user: the docker engine needs names, or numbers up to 2147483647"},
        {has_little_memory, "resources: the docker engine refuses a memory limit below 6m"},
        {has_little_cpu, "resources: the docker engine refuses a CPU limit below 0.01"},
        {has_empty_command, "command: an empty list only works together with an entrypoint"},
        {has_no_signal, "stop_signal: there is no such signal"},
        {has_relative_folder, "working_dir: the docker engine needs an absolute path"},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (rules[i].applies(job))
            engine_fault(faults, ERR_UNSUPPORTED, "%s", rules[i].text);
}

int docker_engine_check(const struct job *job, struct error *error)
{
    struct engine_faults faults = {0};

    docker_engine_faults(job, &faults);
    if (faults.first.code && error)
        *error = faults.first;
    return faults.first.code;
}

/* ---- the body ---- */

/* To clear an image's entrypoint the API wants one empty string. */
static json_t *entrypoint_json(const struct job *job)
{
    if (job->has_entrypoint && job->entrypoint.count == 0)
        return json_pack("[s]", "");
    return docker_strings_json(&job->entrypoint);
}

static json_t *labels_json(const struct docker_task *t, const char *cluster, const char *witness)
{
    json_t *labels = t->task.q.job->labels ? json_copy(t->task.q.job->labels) : json_object();
    char attempt[16], try[16], epoch[24];
    const struct {
        const char *key, *value;
    } own[] = {
        {"cronsched.cluster", cluster},   {"cronsched.job", t->task.q.job->name},
        {"cronsched.run", t->task.q.run}, {"cronsched.attempt", attempt},
        {"cronsched.try", try},           {"cronsched.epoch", epoch},
        {"cronsched.witness", witness},
    };

    snprintf(attempt, sizeof(attempt), "%d", t->task.q.attempt);
    snprintf(try, sizeof(try), "%d", t->task.q.try);
    snprintf(epoch, sizeof(epoch), "%lld", (long long)t->task.q.epoch);
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        json_object_set_new(labels, own[i].key, json_string(own[i].value));
    if (t->task.q.identity)
        json_object_set_new(labels, "cronsched.identity", json_string(t->task.q.identity));
    return labels;
}

static json_t *host_json(const struct job *job, const struct docker_create *with)
{
    json_t *host = json_pack("{s:{s:s}, s:b}", "RestartPolicy", "Name", "no", "AutoRemove", 0);

    if (!host)
        return NULL;
    docker_confine_json(host, job, with);
    if (job->cpus > 0)
        json_object_set_new(host, "NanoCpus", json_integer((json_int_t)llround(job->cpus * 1e9)));
    if (job->memory_bytes > 0)
        json_object_set_new(host, "Memory", json_integer(job->memory_bytes));
    return host;
}

/* One without a name, which the engine removes with the container. */
static json_t *volume_json(const char *witness)
{
    json_t *map = json_object(), *path = json_stringn(witness, (size_t)docker_witness_folder(witness));

    json_object_set_new(map, json_string_value(path), json_object());
    json_decref(path);
    return map;
}

/* A variable that is no UTF-8 cannot be sent; json_string gives NULL for it, and so does this. */
static json_t *environment_json(const struct environment *environment)
{
    json_t *array = json_array();

    for (size_t i = 0; i < environment->count; i++) {
        if (json_array_append_new(array, json_string(environment->items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *docker_create_json(const struct docker_task *task, const struct docker_create *with,
                           const struct environment *environment)
{
    const struct job *job = task->task.q.job;
    json_t *env = environment_json(environment), *host = host_json(job, with);
    json_t *body = json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:I}", "Image", job->image, "Env", env, "Labels",
                             labels_json(task, with->cluster, with->witness), "HostConfig", host, "Tty", 0,
                             "OpenStdin", 0, "StopTimeout", (json_int_t)((job->stop_grace_ms + 999) / 1000));

    if (!body)
        return NULL; /* json_pack has dropped what it was given */
    if (job->has_command)
        json_object_set_new(body, "Cmd", docker_strings_json(&job->command));
    if (job->has_entrypoint)
        json_object_set_new(body, "Entrypoint", entrypoint_json(job));
    if (job->user)
        json_object_set_new(body, "User", json_string(job->user));
    if (job->working_dir)
        json_object_set_new(body, "WorkingDir", json_string(job->working_dir));
    if (docker_witness_has_volume(with->witness))
        json_object_set_new(body, "Volumes", volume_json(with->witness));
    if (job->hostname)
        json_object_set_new(body, "Hostname", json_string(job->hostname));
    if (job->stop_signal)
        json_object_set_new(body, "StopSignal", json_string(job->stop_signal));
    return body;
}
