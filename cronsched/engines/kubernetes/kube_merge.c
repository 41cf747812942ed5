/* A job's own `kubernetes` over the Pod that was made of its other keys. Pure. See kube_core.h. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"

#include <stdio.h>
#include <string.h>

/* ---- what it may not be ---- */

static const char *const refused_spec[] = {"nodeName", "ephemeralContainers", "restartPolicy",
                                           "activeDeadlineSeconds", "terminationGracePeriodSeconds"};
static const char *const refused_spec_why[] = {
    "the scheduler of the cluster finds the node; use nodeSelector", "they cannot be made with a Pod",
    "a run is one start; use retries", "use timeout", "use stop_grace"};
static const char *const refused_metadata[] = {"name",       "generateName",   "uid", "resourceVersion",
                                               "finalizers", "ownerReferences"};

static const json_t *first_of(const json_t *map, const char *const *keys, size_t count, size_t *ret_index)
{
    for (*ret_index = 0; *ret_index < count; ++*ret_index)
        if (json_object_get(map, keys[*ret_index]))
            return json_object_get(map, keys[*ret_index]);
    return NULL;
}

/* One that would be started again by the kubelet, and with it, or alone, the program. */
static const char *restarting_container(const json_t *list)
{
    json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        const char *name = json_string_value(json_object_get(each, "name"));

        if (!name)
            return "(without a name)";
        if (json_object_get(each, "restartPolicyRules") ||
            (strcmp(name, KUBE_MAIN) == 0 && json_object_get(each, "restartPolicy")))
            return name;
    }
    return NULL;
}

static bool shape_fault(const json_t *own, char *text, size_t size)
{
    static const char *const maps[] = {"metadata", "spec"};
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)own, key, value)
    {
        if (strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0)
            continue;
        if (strcmp(key, maps[0]) != 0 && strcmp(key, maps[1]) != 0)
            return snprintf(text, size, "%.60s: a Pod has metadata and spec", key) > 0;
        if (!json_is_object(value))
            return snprintf(text, size, "%.60s: must be a map", key) > 0;
    }
    return false;
}

bool kube_merge_fault(const json_t *own, char *text, size_t size)
{
    const json_t *spec = json_object_get(own, "spec"), *metadata = json_object_get(own, "metadata"),
                 *namespace;
    const char *name;
    size_t i;

    if (shape_fault(own, text, size))
        return true;
    if (first_of(spec, refused_spec, sizeof(refused_spec) / sizeof(*refused_spec), &i))
        return snprintf(text, size, "spec.%s: %s", refused_spec[i], refused_spec_why[i]) > 0;
    if (first_of(metadata, refused_metadata, sizeof(refused_metadata) / sizeof(*refused_metadata), &i))
        return snprintf(text, size, "metadata.%s: the engine's own", refused_metadata[i]) > 0;
    namespace = json_object_get(metadata, "namespace");
    if (namespace && !json_is_string(namespace))
        return snprintf(text, size, "metadata.namespace: must be a text") > 0;
    if ((name = restarting_container(json_object_get(spec, "containers"))) ||
        (name = restarting_container(json_object_get(spec, "initContainers"))))
        return snprintf(text, size,
                        "container %.60s: restartPolicy or restartPolicyRules: a run is one start", name) > 0;
    return false;
}

/* ---- merging ---- */

static void merge_map(json_t *to, const json_t *from);

/* By what the items of such a list are known; "": all of both are kept; NULL: the list as a whole is replaced. */
static const char *key_of_list(const char *list)
{
    static const char *const lists[][2] = {
        {"containers", "name"},
        {"initContainers", "name"},
        {"volumes", "name"},
        {"env", "name"},
        {"imagePullSecrets", "name"},
        {"schedulingGates", "name"},
        {"volumeMounts", "mountPath"},
        {"volumeDevices", "devicePath"},
        {"ports", "containerPort"},
        {"hostAliases", "ip"},
        {"tolerations", ""},
        {"envFrom", ""},
        {"topologySpreadConstraints", ""},
    };

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        if (strcmp(list, lists[i][0]) == 0)
            return lists[i][1];
    return NULL;
}

static json_t *find_item(const json_t *list, const char *key, const json_t *wanted)
{
    json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        if (wanted && json_equal(json_object_get(each, key), wanted))
            return each;
    }
    return NULL;
}

static bool is_our_variable(const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));

    return name && strncmp(name, "CRONSCHED_", 10) == 0;
}

static void merge_list(json_t *to, const json_t *from, const char *list, const char *key)
{
    json_t *each, *found;
    size_t i;

    json_array_foreach(from, i, each)
    {
        found = *key ? find_item(to, key, json_object_get(each, key)) : NULL;
        if (strcmp(list, "env") == 0 && is_our_variable(each))
            continue;
        if (found && strcmp(list, "env") == 0) /* value and valueFrom exclude each other */
            json_object_clear(found);
        if (found)
            merge_map(found, each);
        else
            json_array_append_new(to, json_deep_copy(each));
    }
}

static void merge_map(json_t *to, const json_t *from)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        json_t *old = json_object_get(to, key);
        const char *item_key = key_of_list(key);

        if (json_is_null(value))
            json_object_del(to, key);
        else if (json_is_object(old) && json_is_object(value))
            merge_map(old, value);
        else if (json_is_array(old) && json_is_array(value) && item_key)
            merge_list(old, value, key, item_key);
        else
            json_object_set_new(to, key, json_deep_copy(value));
    }
}

/* Of `cronsched.io/...`: a user's own would displace a selector of ours. */
static void drop_ours(json_t *map)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(map, next, key, value)
    {
        if (strncmp(key, "cronsched.io/", 13) == 0)
            json_object_del(map, key);
    }
}

static void keep_gate(json_t *spec, const json_t *gate)
{
    json_t *gates = json_object_get(spec, "schedulingGates");

    if (!json_is_array(gates)) {
        gates = json_array();
        json_object_set_new(spec, "schedulingGates", gates);
    }
    if (!find_item(gates, "name", json_object_get(gate, "name")))
        json_array_append_new(gates, json_deep_copy(gate));
}

/* Ours again where a null took it away. */
static void restore(json_t *pod, const json_t *before)
{
    static const char *const spec_keys[] = {"restartPolicy", "activeDeadlineSeconds",
                                            "terminationGracePeriodSeconds"};
    static const char *const metadata_keys[] = {"name", "namespace", "finalizers"};
    json_t *spec = json_object_get(pod, "spec"), *metadata = json_object_get(pod, "metadata");
    json_t *old_spec = json_object_get(before, "spec"), *old_metadata = json_object_get(before, "metadata");
    static const char *const maps[] = {"labels", "annotations"};

    for (size_t i = 0; i < sizeof(spec_keys) / sizeof(*spec_keys); i++)
        if (json_object_get(old_spec, spec_keys[i]))
            json_object_set(spec, spec_keys[i], json_object_get(old_spec, spec_keys[i]));
    for (size_t i = 0; i < sizeof(metadata_keys) / sizeof(*metadata_keys); i++)
        json_object_set(metadata, metadata_keys[i], json_object_get(old_metadata, metadata_keys[i]));
    for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
        if (!json_is_object(json_object_get(metadata, maps[i])))
            json_object_set_new(metadata, maps[i], json_object());
        json_object_update_missing(json_object_get(metadata, maps[i]),
                                   json_object_get(old_metadata, maps[i]));
    }
    keep_gate(spec, json_array_get(json_object_get(old_spec, "schedulingGates"), 0));
}

void kube_merge(json_t *pod, const json_t *own)
{
    json_t *before = json_deep_copy(pod), *with = json_deep_copy(own),
           *metadata = json_object_get(with, "metadata");

    drop_ours(json_object_get(metadata, "labels"));
    drop_ours(json_object_get(metadata, "annotations"));
    json_object_del(with, "apiVersion");
    json_object_del(with, "kind");
    merge_map(pod, with);
    restore(pod, before);
    json_decref(before);
    json_decref(with);
}
