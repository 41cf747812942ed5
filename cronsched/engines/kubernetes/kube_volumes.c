/* A job's volumes, tmpfs, secrets and configs as volumes of a Pod. Pure. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include <stdio.h>
#include <string.h>

struct adding {
    json_t *volumes, *mounts;
    int count;
};

/* source: {KIND: {...}}, taken over. */
static void add(struct adding *a, json_t *source, json_t *path, bool read_only)
{
    char name[32];

    snprintf(name, sizeof(name), "v%d", a->count++);
    if (source)
        json_object_set_new(source, "name", json_string(name));
    json_array_append_new(a->volumes, source);
    json_array_append_new(
        a->mounts, json_pack("{s:s, s:o, s:b}", "name", name, "mountPath", path, "readOnly", read_only));
}

/* SOURCE:TARGET[:ro]; a source that is no path is the name of a claim. A folder has to be there, as with other engines. */
static void add_volume(struct adding *a, const char *text)
{
    size_t n = strcspn(text, ":");
    const char *target = text + n + (text[n] == ':');
    size_t size = strcspn(target, ":");
    bool read_only = strcmp(target + size, ":ro") == 0;
    json_t *source = json_stringn(text, n), *path = json_stringn(target, size);

    if (text[0] == '/')
        add(a, json_pack("{s:{s:o}}", "hostPath", "path", source), path, read_only);
    else
        add(a,
            json_pack("{s:{s:o, s:b}}", "persistentVolumeClaim", "claimName", source, "readOnly", read_only),
            path, read_only);
}

static void add_tmpfs(struct adding *a, const char *path, int64_t bytes)
{
    json_t *source = json_pack("{s:{s:s}}", "emptyDir", "medium", "Memory");

    if (bytes > 0)
        json_object_set_new(json_object_get(source, "emptyDir"), "sizeLimit",
                            json_sprintf("%lld", (long long)bytes));
    add(a, source, json_string(path), false);
}

void kube_volumes_add(json_t *spec, json_t *container, const struct job *job)
{
    struct adding a = {.volumes = json_array(), .mounts = json_array()};

    for (size_t i = 0; i < job->volumes.count; i++)
        add_volume(&a, job->volumes.items[i]);
    for (size_t i = 0; i < job->tmpfs.count; i++)
        add_tmpfs(&a, job->tmpfs.items[i], 0);
    if (job->shm_size_bytes > 0)
        add_tmpfs(&a, "/dev/shm", job->shm_size_bytes);
    for (size_t i = 0; i < job->secrets.count; i++)
        add(&a, json_pack("{s:{s:s}}", "secret", "secretName", job->secrets.items[i]),
            json_sprintf("/run/secrets/%s", job->secrets.items[i]), true);
    for (size_t i = 0; i < job->configs.count; i++)
        add(&a, json_pack("{s:{s:s}}", "configMap", "name", job->configs.items[i]),
            json_sprintf("/%s", job->configs.items[i]), true);
    if (a.count > 0) {
        json_object_set(spec, "volumes", a.volumes);
        json_object_set(container, "volumeMounts", a.mounts);
    }
    json_decref(a.volumes);
    json_decref(a.mounts);
}
