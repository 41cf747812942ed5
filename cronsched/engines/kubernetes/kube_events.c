/* Why a Pod that has a node gets no container, where that stands in the cluster's events alone: a volume that cannot be mounted, a
 * Secret that is not there, a network that cannot be made. Asked for now and then while it waits. The right to list events is not
 * needed: who may not is not asked again until the access changes.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/percent.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

bool kube_events_read(const json_t *list, char *ret, size_t size)
{
    const json_t *newest = NULL;
    const char *colon;
    json_t *each;
    size_t i;

    json_array_foreach(json_object_get(list, "items"), i, each)
    {
        if (*text_of(each, "reason") &&
            (!newest || strcmp(text_of(each, "lastTimestamp"), text_of(newest, "lastTimestamp")) >= 0))
            newest = each;
    }
    if (!newest)
        return false;
    colon = *text_of(newest, "message") ? ": " : "";
    snprintf(ret, size, "%.60s%s%.300s", text_of(newest, "reason"), colon, text_of(newest, "message"));
    return true;
}

void kube_events_path(const struct kube_id *id, char ret[KUBE_PATH_MAX])
{
    char selector[KUBE_UID_MAX + 64];

    snprintf(selector, sizeof(selector), "involvedObject.uid=%s,type=Warning", id->uid);
    snprintf(ret, KUBE_PATH_MAX, "/api/v1/namespaces/%s/events?limit=20&fieldSelector=", id->namespace);
    if (percent_append(ret, KUBE_PATH_MAX, selector) < 0)
        ret[0] = '\0'; /* no id is that long */
}
