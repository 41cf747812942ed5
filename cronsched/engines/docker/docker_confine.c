/* What confines a container, and what a job adds to that: the part of a create request's HostConfig that is as in
 * Compose. Pure. Without a word of the job no process in it gains privileges, and there are at most JOB_PIDS of them.
 */
#include "cronsched/engines/docker/docker_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITNESS_MOUNT        "size=4k,mode=555"
#define LOG_FILES            2
#define LOG_FILE_SHARE       4 /* of keep.logs: the engine's form of a line is longer than the line */
#define LOG_FILE_LEAST_BYTES (INT64_C(1) << 20)
#define NO_NEW_PRIVILEGES    "no-new-privileges"

json_t *docker_strings_json(const struct strings *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->items[i]));
    return array;
}

/* ---- items that the API wants in another form ---- */

/* NAME=[ADDRESS] of Compose is NAME:ADDRESS here. */
static json_t *extra_host_json(const char *text)
{
    size_t name = strcspn(text, ":="), size = strlen(text + name + 1);
    const char *address = text + name + 1;

    if (address[0] == '[') {
        address++;
        size -= 2;
    }
    return json_sprintf("%.*s:%.*s", (int)name, text, (int)size, address);
}

/* SOURCE[:TARGET[:rwm]] */
static json_t *device_json(const char *text)
{
    size_t source = strcspn(text, ":");
    const char *target = text[source] ? text + source + 1 : text;
    size_t target_size = strcspn(target, ":");
    const char *mode = target != text && target[target_size] ? target + target_size + 1 : "rwm";

    return json_pack("{s:s%, s:s%, s:s}", "PathOnHost", text, source, "PathInContainer", target, target_size,
                     "CgroupPermissions", mode);
}

static json_t *list_json(const struct strings *list, json_t *(*item)(const char *text))
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, item(list->items[i]));
    return array;
}

json_t *docker_ulimits_json(json_t *ulimits)
{
    json_t *array = json_array(), *value;
    const char *name;

    json_object_foreach(ulimits, name, value)
    {
        json_t *soft = json_is_object(value) ? json_object_get(value, "soft") : value;
        json_t *hard = json_is_object(value) ? json_object_get(value, "hard") : value;

        json_array_append_new(array, json_pack("{s:s, s:O, s:O}", "Name", name, "Soft", soft, "Hard", hard));
    }
    return array;
}

/* The job's own word about privileges stays; with none, there is to be no way to more of them. */
static json_t *security_opt_json(const struct job *job)
{
    json_t *array = docker_strings_json(&job->security_opt);

    for (size_t i = 0; i < job->security_opt.count; i++)
        if (strncmp(job->security_opt.items[i], NO_NEW_PRIVILEGES, strlen(NO_NEW_PRIVILEGES)) == 0)
            return array;
    if (!job->privileged)
        json_array_append_new(array, json_string(NO_NEW_PRIVILEGES));
    return array;
}

static json_t *tmpfs_json(const struct job *job, const char *witness)
{
    json_t *map = json_object();

    for (size_t i = 0; i < job->tmpfs.count; i++) {
        const char *text = job->tmpfs.items[i], *options = strchr(text, ':');
        char *target = strndup(text, strcspn(text, ":"));

        if (target)
            json_object_set_new(map, target, json_string(options ? options + 1 : ""));
        free(target);
    }
    json_object_set_new(map, witness, json_string(WITNESS_MOUNT)); /* last: nothing takes its place */
    return map;
}

/* What the engine itself keeps of the output, beside our log. Another driver than these two takes no such options, and
 * keeps its own share within bounds by itself (cache-max-size). */
static json_t *log_config_json(const struct job *job, const char *driver)
{
    int64_t bytes = job->keep_logs_bytes * LOG_FILE_SHARE;

    if (strcmp(driver, "json-file") != 0 && strcmp(driver, "local") != 0)
        return NULL;
    if (bytes < LOG_FILE_LEAST_BYTES)
        bytes = LOG_FILE_LEAST_BYTES;
    return json_pack("{s:s, s:{s:o, s:o}}", "Type", driver, "Config", "max-size",
                     json_sprintf("%lld", (long long)bytes), "max-file", json_sprintf("%d", LOG_FILES));
}

/* ---- the whole ---- */

static void set_text(json_t *host, const char *key, const char *text)
{
    if (text)
        json_object_set_new(host, key, json_string(text));
}

static void set_list(json_t *host, const char *key, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set_new(host, key, list);
    else
        json_decref(list);
}

static void set_lists(json_t *host, const struct job *job)
{
    const struct {
        const char *key;
        const struct strings *list;
        json_t *(*item)(const char *text);
    } lists[] = {
        {"CapAdd", &job->cap_add, json_string},  {"CapDrop", &job->cap_drop, json_string},
        {"Dns", &job->dns, json_string},         {"GroupAdd", &job->group_add, json_string},
        {"Devices", &job->devices, device_json}, {"ExtraHosts", &job->extra_hosts, extra_host_json},
    };

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        set_list(host, lists[i].key, list_json(lists[i].list, lists[i].item));
    set_list(host, "Ulimits", docker_ulimits_json(job->ulimits));
    set_list(host, "SecurityOpt", security_opt_json(job));
}

/* SOURCE:TARGET[:ro]. Unlike a bind, a mount whose source is not there is refused: a bind makes an empty folder of it, on
 * which the job would succeed. `source`: where links lead to, so that what was judged is what is mounted; or NULL. */
static json_t *mount_json(const char *text, const char *source)
{
    const char *target = strchr(text, ':') + 1;
    size_t target_size = strcspn(target, ":");
    size_t source_size = source ? strlen(source) : (size_t)(target - 1 - text);

    return json_pack("{s:s, s:s%, s:s%, s:b}", "Type", "bind", "Source", source ? source : text, source_size,
                     "Target", target, target_size, "ReadOnly", strcmp(target + target_size, ":ro") == 0);
}

/* Volumes by name are binds: there is no difference, and the engine makes what is not there. */
static void set_volumes(json_t *host, const struct strings *volumes, char *const *sources)
{
    json_t *binds = json_array(), *mounts = json_array();

    for (size_t i = 0; i < volumes->count; i++) {
        const char *text = volumes->items[i];

        if (text[0] == '/')
            json_array_append_new(mounts, mount_json(text, sources ? sources[i] : NULL));
        else
            json_array_append_new(binds, json_string(text));
    }
    set_list(host, "Binds", binds);
    set_list(host, "Mounts", mounts);
}

void docker_confine_json(json_t *host, const struct job *job, const struct docker_create *with)
{
    json_t *log = log_config_json(job, with->log_driver);

    set_volumes(host, &job->volumes, with->sources);
    set_lists(host, job);
    set_text(host, "NetworkMode", job->network);
    json_object_set_new(host, "Tmpfs", tmpfs_json(job, with->witness));
    if (log)
        json_object_set_new(host, "LogConfig", log);
    if (job->init)
        json_object_set_new(host, "Init", json_true());
    if (job->read_only)
        json_object_set_new(host, "ReadonlyRootfs", json_true());
    if (job->privileged)
        json_object_set_new(host, "Privileged", json_true());
    if (job->shm_size_bytes > 0)
        json_object_set_new(host, "ShmSize", json_integer(job->shm_size_bytes));
    json_object_set_new(host, "PidsLimit", json_integer(job->pids_limit));
}
