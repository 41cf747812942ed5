/* A job as the body of POST /services/create, and what a job may not ask of a Swarm. Pure.
 *
 * Swarm expands templates, {{...}}, in variables, the hostname and mounts: a text of a job means what is written there, so
 * they are made literal.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LITERAL_BYTES_MAX (1024 * 1024)

/* ---- check ---- */

static bool lacks_image(const struct job *job)
{
    return !job->image;
}

static bool has_bad_user(const struct job *job)
{
    struct error error;

    return job->user && job_check_user(job->user, &error) < 0;
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

static bool is_never_pulled(const struct job *job)
{
    return job->pull == JOB_PULL_NEVER;
}

static bool is_privileged(const struct job *job)
{
    return job->privileged;
}

static bool has_devices(const struct job *job)
{
    return job->devices.count > 0;
}

static bool has_security_opt(const struct job *job)
{
    return job->security_opt.count > 0;
}

static bool has_shm_size(const struct job *job)
{
    return job->shm_size_bytes > 0;
}

/* A tmpfs of Swarm has a size and a mode, and nothing else; Compose's other words are refused rather than lost. */
static bool has_tmpfs_options(const struct job *job)
{
    for (size_t i = 0; i < job->tmpfs.count; i++)
        if (strchr(job->tmpfs.items[i], ':'))
            return true;
    return false;
}

/* The API takes an empty list for "as in the image", unless an entrypoint comes with it. */
static bool has_empty_command(const struct job *job)
{
    return job->has_command && job->command.count == 0 && !job->has_entrypoint;
}

static void name_faults(const struct strings *list, const char *key, const char *what,
                        bool (*valid)(const char *name), struct engine_faults *faults)
{
    for (size_t i = 0; i < list->count; i++)
        if (!valid(list->items[i]))
            engine_fault(faults, ERR_INVALID, "%s: '%.100s' is %s", key, list->items[i], what);
}

void swarm_engine_faults(const struct job *job, struct engine_faults *faults)
{
    static const struct {
        bool (*applies)(const struct job *job);
        const char *text;
    } rules[] = {
        {lacks_image, "image: the swarm engine needs an image"},
        {has_kubernetes, "kubernetes: this is for the kubernetes engine"},
        {has_secret_variable, "environment: a Swarm gives secrets as files; use secrets"},
        {is_never_pulled,
         "pull: never: a Swarm's nodes always ask the registry, and use what they have without it"},
        {is_privileged, "privileged: a Swarm has no privileged containers"},
        {has_devices, "devices: a Swarm gives none"},
        {has_security_opt, "security_opt: a Swarm takes none"},
        {has_shm_size, "shm_size: a Swarm takes none; use tmpfs"},
        {has_tmpfs_options, "tmpfs: a Swarm takes paths alone"},
        {has_bad_user, "user: the swarm engine needs names, or numbers up to 2147483647"},
        {has_empty_command, "command: an empty list only works together with an entrypoint"},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (rules[i].applies(job))
            engine_fault(faults, ERR_UNSUPPORTED, "%s", rules[i].text);
    name_faults(&job->constraints, "constraints", "not like 'node.labels.zone == a'", swarm_constraint_valid,
                faults);
    name_faults(&job->secrets, "secrets", "no name of a secret", swarm_name_valid, faults);
    name_faults(&job->configs, "configs", "no name of a config", swarm_name_valid, faults);
    if (job->stop_signal && !docker_signal_valid(job->stop_signal))
        engine_fault(faults, ERR_INVALID, "stop_signal: there is no signal '%.50s'", job->stop_signal);
}

/* ---- texts ---- */

char *swarm_literal(const char *text)
{
    struct text t;
    const char *at;
    char *made;

    text_init(&t, LITERAL_BYTES_MAX);
    while ((at = strstr(text, "{{"))) {
        text_add_bytes(&t, text, (size_t)(at - text));
        text_add(&t, "{{\"{{\"}}");
        text = at + 2;
    }
    text_add(&t, text);
    made = alloc_text(text_str(&t));
    text_release(&t);
    return made;
}

static json_t *literal_json(const char *text)
{
    char *made = swarm_literal(text);
    json_t *json = json_string(made);

    explicit_bzero(made, strlen(made));
    free(made);
    return json;
}

/* ---- parts ---- */

/* A variable that is no UTF-8 cannot be sent; json_string gives NULL for it, and so does this. */
static json_t *environment_json(const struct environment *environment)
{
    json_t *array = json_array();

    for (size_t i = 0; i < environment->count; i++) {
        if (json_array_append_new(array, literal_json(environment->items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *labels_json(const struct swarm_task *t, const char *cluster)
{
    const struct engine_request *q = &t->task.q;
    json_t *labels = q->job->labels ? json_copy(q->job->labels) : json_object();
    char attempt[16], try[16], epoch[24];
    const struct {
        const char *key, *value;
    } own[] = {
        {"cronsched.cluster", cluster}, {"cronsched.job", q->job->name}, {"cronsched.run", q->run},
        {"cronsched.attempt", attempt}, {"cronsched.try", try},          {"cronsched.epoch", epoch},
    };

    snprintf(attempt, sizeof(attempt), "%d", q->attempt);
    snprintf(try, sizeof(try), "%d", q->try);
    snprintf(epoch, sizeof(epoch), "%lld", (long long)q->epoch);
    json_object_del(labels, "cronsched.released");
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        json_object_set_new(labels, own[i].key, json_string(own[i].value));
    return labels;
}

/* SOURCE:TARGET[:ro]; a source that is no path is the name of a volume. */
static json_t *mount_json(const char *text)
{
    const char *target = strchr(text, ':');
    char *source, *path;
    bool read_only;
    json_t *mount;

    if (!target)
        return NULL;
    source = strndup(text, (size_t)(target - text));
    path = strndup(target + 1, strcspn(target + 1, ":"));
    read_only = strcmp(target + 1 + strlen(path), ":ro") == 0;
    mount = json_pack("{s:s, s:o, s:o, s:b}", "Type", text[0] == '/' ? "bind" : "volume", "Source",
                      literal_json(source), "Target", literal_json(path), "ReadOnly", read_only);
    free(source);
    free(path);
    return mount;
}

static json_t *mounts_json(const struct job *job)
{
    json_t *array = json_array();

    for (size_t i = 0; i < job->volumes.count; i++)
        json_array_append_new(array, mount_json(job->volumes.items[i]));
    for (size_t i = 0; i < job->tmpfs.count; i++)
        json_array_append_new(
            array, json_pack("{s:s, s:o}", "Type", "tmpfs", "Target", literal_json(job->tmpfs.items[i])));
    return array;
}

/* A file of that name, readable for whoever the program runs as; `ids` has what was asked for before. */
static json_t *files_json(const struct strings *names, const json_t *ids, const char *kind)
{
    json_t *array = json_array();
    char id_key[16], name_key[16];

    snprintf(id_key, sizeof(id_key), "%sID", kind);
    snprintf(name_key, sizeof(name_key), "%sName", kind);
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i], *root = strcmp(kind, "Config") == 0 ? "/" : "";

        json_array_append_new(array, json_pack("{s:O?, s:s, s:{s:o, s:s, s:s, s:i}}", id_key,
                                               json_object_get(ids, name), name_key, name, "File", "Name",
                                               json_sprintf("%s%s", root, name), "UID", "0", "GID", "0",
                                               "Mode", 0444));
    }
    return array;
}

/* NAME:ADDRESS or NAME=[ADDRESS] of Compose is "ADDRESS NAME" here. */
static json_t *hosts_json(const struct job *job)
{
    json_t *array = json_array();

    for (size_t i = 0; i < job->extra_hosts.count; i++) {
        const char *text = job->extra_hosts.items[i];
        size_t name = strcspn(text, ":="), size = strlen(text + name + 1);
        const char *address = text + name + 1;

        if (address[0] == '[') {
            address++;
            size -= 2;
        }
        json_array_append_new(array, json_sprintf("%.*s %.*s", (int)size, address, (int)name, text));
    }
    return array;
}

static json_t *limits_json(const struct job *job)
{
    json_t *limits = json_object();

    if (job->cpus > 0)
        json_object_set_new(limits, "NanoCPUs", json_integer((json_int_t)llround(job->cpus * 1e9)));
    if (job->memory_bytes > 0)
        json_object_set_new(limits, "MemoryBytes", json_integer(job->memory_bytes));
    if (job->pids_limit > 0)
        json_object_set_new(limits, "Pids", json_integer(job->pids_limit));
    return limits;
}

/* ---- the whole ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}

static void set_list(json_t *object, const char *key, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set_new(object, key, list);
    else
        json_decref(list);
}

/* Swarm's Command is the entrypoint, its Args the command. To clear an image's entrypoint it wants one empty string. */
static void set_command(json_t *container, const struct job *job)
{
    if (job->has_entrypoint && job->entrypoint.count == 0)
        json_object_set_new(container, "Command", json_pack("[s]", ""));
    else
        set_list(container, "Command", docker_strings_json(&job->entrypoint));
    set_list(container, "Args", docker_strings_json(&job->command));
}

static void set_lists(json_t *container, const struct swarm_task *t)
{
    const struct job *job = t->task.q.job;

    set_list(container, "Mounts", mounts_json(job));
    set_list(container, "Hosts", hosts_json(job));
    set_list(container, "Groups", docker_strings_json(&job->group_add));
    set_list(container, "CapabilityAdd", docker_strings_json(&job->cap_add));
    set_list(container, "CapabilityDrop", docker_strings_json(&job->cap_drop));
    set_list(container, "Ulimits", docker_ulimits_json(job->ulimits));
    set_list(container, "Secrets", files_json(&job->secrets, json_object_get(t->ids, "secrets"), "Secret"));
    set_list(container, "Configs", files_json(&job->configs, json_object_get(t->ids, "configs"), "Config"));
    if (job->dns.count > 0)
        json_object_set_new(container, "DNSConfig",
                            json_pack("{s:o}", "Nameservers", docker_strings_json(&job->dns)));
}

/* An image's HEALTHCHECK would keep the task in `starting` while the program runs, and end it. */
static json_t *container_json(const struct swarm_task *t, json_t *environment)
{
    const struct job *job = t->task.q.job;
    json_t *container =
        json_pack("{s:s, s:o, s:I, s:{s:[s]}, s:b, s:b}", "Image", job->image, "Env", environment,
                  "StopGracePeriod", (json_int_t)(job->stop_grace_ms > 0 ? job->stop_grace_ms : 1) * 1000000,
                  "Healthcheck", "Test", "NONE", "ReadOnly", job->read_only, "Init", job->init);

    if (!container)
        return NULL;
    set_command(container, job);
    set_text(container, "User", job->user);
    set_text(container, "Dir", job->working_dir);
    set_text(container, "StopSignal", job->stop_signal);
    if (job->hostname)
        json_object_set_new(container, "Hostname", literal_json(job->hostname));
    if (job->labels)
        json_object_set(container, "Labels", job->labels);
    set_lists(container, t);
    return container;
}

json_t *swarm_spec_json(const struct swarm_task *t, const char *cluster,
                        const struct environment *environment)
{
    const struct job *job = t->task.q.job;
    json_t *container = container_json(t, environment_json(environment));
    json_t *template = json_pack("{s:o, s:{s:s, s:i}, s:{s:o}, s:{s:o}}", "ContainerSpec", container,
                                 "RestartPolicy", "Condition", "none", "MaxAttempts", 1, "Placement",
                                 "Constraints", docker_strings_json(&job->constraints), "Resources", "Limits",
                                 limits_json(job));

    if (template && job->network)
        json_object_set_new(template, "Networks", json_pack("[{s:s}]", "Target", job->network));
    /* dnsrr: no virtual address is taken for each run */
    return json_pack("{s:s, s:o, s:o, s:{s:{s:i}}, s:{s:s}}", "Name", t->task.q.name, "Labels",
                     labels_json(t, cluster), "TaskTemplate", template, "Mode", "Replicated", "Replicas", 0,
                     "EndpointSpec", "Mode", "dnsrr");
}
