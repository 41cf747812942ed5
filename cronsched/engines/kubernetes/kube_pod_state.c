/* What a Pod says of an attempt. Pure.
 *
 * The end of a run is the end of the container `main`, not of the Pod's phase: other containers may keep a Pod running for
 * ever, and a phase may be Failed while the container still runs. What is absent is never taken for an exit code of 0, and
 * what the kubelet makes up for a container that it no longer finds (ContainerStatusUnknown, Unknown) never for its end.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/engine/docker_fence.h"
#include "jobs/time/instant.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

static int64_t time_of(const json_t *object, const char *key)
{
    int64_t ms;

    return instant_parse(text_of(object, key), &ms, NULL) == 0 && ms > 0 ? ms : 0; /* 1970: it never did */
}

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, list[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(text, list) is_one_of(text, list, sizeof(list) / sizeof((list)[0]))

static const json_t *item_named(const json_t *list, const char *key, const char *name)
{
    json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        if (strcmp(text_of(each, key), name) == 0)
            return each;
    }
    return NULL;
}

static bool has_text(const json_t *list, const char *text)
{
    json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        if (json_is_string(each) && strcmp(json_string_value(each), text) == 0)
            return true;
    }
    return false;
}

/* "BEFORE REASON: MESSAGE" after what is there. */
static void say(struct kube_state *s, const char *before, const char *reason, const char *message)
{
    char words[KUBE_TEXT_MAX];
    const char *colon = *reason && *message ? ": " : "";

    snprintf(words, sizeof(words), "%.100s%.100s%s%.300s", before, reason, colon, message);
    kube_text_add(s->text, sizeof(s->text), words);
}

/* ---- not started yet ---- */

/* Waiting does not help. */
static bool is_permanent(const char *reason, const char *message)
{
    static const char *const reasons[] = {"ErrImageNeverPull", "InvalidImageName"};

    return IS_ONE_OF(reason, reasons) ||
           (strcmp(reason, "CreateContainerConfigError") == 0 && strstr(message, "runAsNonRoot"));
}

/* There is no container yet, and the kubelet says why. */
static bool is_before_container(const char *reason)
{
    static const char *const reasons[] = {"ErrImagePull",
                                          "ImagePullBackOff",
                                          "ErrImageNeverPull",
                                          "InvalidImageName",
                                          "ImageInspectError",
                                          "RegistryUnavailable",
                                          "SignatureValidationFailed",
                                          "CreateContainerConfigError"};

    return IS_ONE_OF(reason, reasons);
}

static const json_t *waiting_init(const json_t *status)
{
    json_t *each;
    size_t i;

    json_array_foreach(json_object_get(status, "initContainerStatuses"), i, each)
    {
        const json_t *state = json_object_get(each, "state");

        if (json_object_get(state, "waiting") ||
            (json_object_get(state, "running") && !json_is_true(json_object_get(each, "started"))))
            return each;
    }
    return NULL;
}

static void say_waiting(struct kube_state *s, const json_t *container, const char *before)
{
    const json_t *waiting = json_object_get(json_object_get(container, "state"), "waiting");

    if (!waiting)
        return;
    say(s, before, text_of(waiting, "reason"), text_of(waiting, "message"));
    s->permanent = is_permanent(text_of(waiting, "reason"), text_of(waiting, "message"));
    s->uncreated = !s->container[0] && s->starts == 0 && is_before_container(text_of(waiting, "reason"));
}

static void judge_pending(struct kube_state *s, const json_t *spec, const json_t *status, const json_t *main)
{
    const json_t *scheduled = item_named(json_object_get(status, "conditions"), "type", "PodScheduled");
    const json_t *init = waiting_init(status),
                 *gate = json_array_get(json_object_get(spec, "schedulingGates"), 0);
    char before[96];

    s->event = ENGINE_PENDING;
    if (gate)
        say(s, "it waits for the scheduling gate ", text_of(gate, "name"), "");
    else if (!s->bound && strcmp(text_of(scheduled, "status"), "False") == 0 &&
             strcmp(text_of(scheduled, "reason"), "SchedulingGated") != 0) /* of our gate, a moment ago */
        say(s, "", text_of(scheduled, "reason"), text_of(scheduled, "message"));
    else if (!s->bound)
        say(s, "", "the cluster looks for a node", "");
    else
        say(s, "on node ", s->node, "");
    if (init) {
        snprintf(before, sizeof(before), "init container %.60s: ", text_of(init, "name"));
        say_waiting(s, init, before);
    }
    if (!init)
        say_waiting(s, main, "");
    if (*text_of(status, "reason"))
        say(s, "", text_of(status, "reason"), text_of(status, "message"));
}

/* ---- over without a container ---- */

/* Of the kubelet, before it makes any container of the Pod. */
static bool is_admission_refusal(const char *reason)
{
    static const char *const reasons[] = {"NodeAffinity",
                                          "NodeName",
                                          "NodePorts",
                                          "TaintToleration",
                                          "TopologyAffinityError",
                                          "UnexpectedAdmissionError",
                                          "InvalidNodeInfo",
                                          "PodOSNotSupported",
                                          "PodOSSelectorNodeLabelDoesNotMatch",
                                          "SupplementalGroupsPolicyNotSupported",
                                          "PodFeatureUnsupported"};

    return strncmp(reason, "OutOf", 5) == 0 || IS_ONE_OF(reason, reasons);
}

/* NULL: none has. */
static const json_t *failed_init(const json_t *status)
{
    json_t *each;
    size_t i;

    json_array_foreach(json_object_get(status, "initContainerStatuses"), i, each)
    {
        const json_t *ended = json_object_get(json_object_get(each, "state"), "terminated");

        if (ended && json_integer_value(json_object_get(ended, "exitCode")) != 0)
            return each;
    }
    return NULL;
}

static void judge_over_without_container(struct kube_state *s, const json_t *status, const json_t *main)
{
    const char *reason = text_of(status, "reason"), *message = text_of(status, "message");
    const json_t *init = failed_init(status), *ended;
    char before[128];

    if (!s->bound) {
        s->event = ENGINE_NEVER_RAN;
        say(s, "it was deleted before any node had it", "", "");
    } else if (is_admission_refusal(reason) && !main) {
        s->event = ENGINE_NEVER_RAN;
        s->refused_by_node = true;
        say(s, "its node took it not: ", reason, message);
    } else if (init && !s->container[0]) {
        ended = json_object_get(json_object_get(init, "state"), "terminated");
        s->event = ENGINE_REFUSED;
        snprintf(before, sizeof(before),
                 "init container %.60s ended with exit code %d: ", text_of(init, "name"),
                 (int)json_integer_value(json_object_get(ended, "exitCode")));
        say(s, before, text_of(ended, "reason"), text_of(ended, "message"));
    } else {
        s->event = ENGINE_UNKNOWN;
        say(s, "its Pod is over and says nothing of its container: whether it ran is not known: ", reason,
            message);
    }
}

/* ---- ended ---- */

static void judge_not_started(struct kube_state *s, const char *message, int code)
{
    char text[KUBE_TEXT_MAX];
    int shown = -1;

    if (strstr(message, "no such file or directory") || strstr(message, "executable file not found"))
        shown = 127;
    else if (strstr(message, "permission denied") || strstr(message, "exec format error"))
        shown = 126;
    else if (code == 126 || code == 127)
        shown = code;
    s->event = ENGINE_REFUSED;
    s->exit_code = shown;
    kube_text_add(s->text, sizeof(s->text), docker_start_explain(shown, message, text, sizeof(text)));
}

/* The kubelet makes the sandbox of a Pod before any container; the condition has been False since the kubelet took it. */
static bool is_roomless(const struct kube_state *s, const json_t *status)
{
    const json_t *room =
        item_named(json_object_get(status, "conditions"), "type", "PodReadyToStartContainers");
    int64_t since_ms = time_of(room, "lastTransitionTime"), began_ms = time_of(status, "startTime");

    return !s->container[0] && strcmp(text_of(room, "status"), "False") == 0 && since_ms > 0 &&
           since_ms <= began_ms;
}

/* The kubelet does not find it any more, and makes an end up. */
static void judge_made_up(struct kube_state *s, const json_t *status, const json_t *ended)
{
    const char *reason = text_of(status, "reason");

    s->exit_code = -1;
    s->event = strcmp(reason, "Evicted") == 0 && s->container[0] ? ENGINE_ENDED : ENGINE_UNKNOWN;
    s->cause = "engine";
    s->by_others = true;
    s->roomless = is_roomless(s, status);
    if (*reason)
        say(s, "", reason, text_of(status, "message"));
    else
        say(s, "its node does not know how it ended: ", text_of(ended, "reason"), text_of(ended, "message"));
}

/* When somebody asked for its end; 0: nobody has. Kubernetes tells when its grace is over. */
static int64_t deletion_ms(const json_t *metadata)
{
    int64_t ms = time_of(metadata, "deletionTimestamp");
    json_int_t grace = json_integer_value(json_object_get(metadata, "deletionGracePeriodSeconds"));

    return ms && grace >= 0 && grace < INT_MAX ? ms - (int64_t)grace * 1000 : ms;
}

/* An end before it is what it is. Times of Kubernetes are whole seconds: the same second counts as after it. */
static bool came_before(int64_t what_ms, int64_t end_ms)
{
    return what_ms > 0 && (end_ms == 0 || what_ms <= end_ms + 999);
}

static void judge_by_others(struct kube_state *s, const json_t *metadata, const json_t *status)
{
    static const char *const reasons[] = {"Evicted",  "NodeShutdown", "Terminated",
                                          "Shutdown", "NodeLost",     "Preempting"};
    const json_t *condition = item_named(json_object_get(status, "conditions"), "type", "DisruptionTarget");
    const char *reason = text_of(status, "reason");
    bool disrupted = condition && strcmp(text_of(condition, "status"), "True") == 0 &&
                     came_before(time_of(condition, "lastTransitionTime"), s->at_ms);

    if (strcmp(reason, "DeadlineExceeded") == 0) {
        s->cause = "timeout";
        say(s, "", reason, text_of(status, "message"));
    } else if (IS_ONE_OF(reason, reasons)) {
        s->by_others = true;
        say(s, "", reason, text_of(status, "message"));
    } else if (disrupted) {
        s->by_others = true;
        say(s, "", text_of(condition, "reason"), text_of(condition, "message"));
    } else if (came_before(deletion_ms(metadata), s->at_ms)) {
        s->by_others = true;
        say(s, "its Pod was deleted while it ran", "", "");
    }
    if (s->by_others)
        s->cause = "engine";
}

static void judge_terminated(struct kube_state *s, const json_t *metadata, const json_t *status,
                             const json_t *ended)
{
    static const char *const not_started[] = {"StartError", "ContainerCannotRun"};
    static const char *const made_up[] = {"ContainerStatusUnknown", "Unknown"};
    const char *reason = text_of(ended, "reason");
    const json_t *code = json_object_get(ended, "exitCode");

    s->started_ms = time_of(ended, "startedAt");
    s->at_ms = time_of(ended, "finishedAt");
    s->exit_code = json_is_integer(code) && json_integer_value(code) >= 0 && json_integer_value(code) < 256
                       ? (int)json_integer_value(code)
                       : -1;
    if (IS_ONE_OF(reason, not_started)) {
        judge_not_started(s, text_of(ended, "message"), s->exit_code);
    } else if (IS_ONE_OF(reason, made_up)) {
        judge_made_up(s, status, ended);
    } else if (s->exit_code < 0) {
        s->event = ENGINE_UNKNOWN;
        say(s, "it has ended, and its exit code is not told: ", reason, text_of(ended, "message"));
    } else {
        s->event = ENGINE_ENDED;
        s->cause = s->exit_code > 128 ? "signal" : "exit";
        judge_by_others(s, metadata, status);
        if (strcmp(reason, "OOMKilled") == 0)
            s->cause = "oom";
    }
}

/* ---- running ---- */

/* The node controller says so of the Pod, while the kubelet, which no longer answers, had said that the container is ready. */
static bool is_away(const json_t *spec, const json_t *status, const json_t *main)
{
    const json_t *conditions = json_object_get(status, "conditions");
    const json_t *ready = item_named(conditions, "type", "Ready");
    const json_t *containers = item_named(conditions, "type", "ContainersReady");

    return json_is_true(json_object_get(main, "ready")) && strcmp(text_of(ready, "status"), "False") == 0 &&
           strcmp(text_of(containers, "status"), "True") == 0 && !json_object_get(spec, "readinessGates");
}

static void judge_running(struct kube_state *s, const json_t *spec, const json_t *status, const json_t *main,
                          const json_t *running)
{
    s->event = ENGINE_STARTED;
    s->started_ms = time_of(running, "startedAt");
    s->away = is_away(spec, status, main);
}

/* ---- the whole ---- */

static bool read_id(struct kube_state *s, const json_t *metadata)
{
    char text[KUBE_ID_MAX];
    const char *version = text_of(metadata, "resourceVersion");

    snprintf(text, sizeof(text), "%.*s/%.*s/%.*s", KUBE_NAME_MAX - 1, text_of(metadata, "namespace"),
             KUBE_NAME_MAX - 1, text_of(metadata, "name"), KUBE_UID_MAX - 1, text_of(metadata, "uid"));
    snprintf(s->version, sizeof(s->version), "%s", version);
    return kube_id_read(text, &s->id) && *version && strlen(version) < sizeof(s->version);
}

static void read_metadata(struct kube_state *s, const json_t *metadata, const json_t *spec)
{
    const json_t *annotations = json_object_get(metadata, "annotations");

    s->cluster = text_of(json_object_get(metadata, "labels"), KUBE_CLUSTER);
    s->run = text_of(annotations, KUBE_RUN);
    s->epoch = docker_number_read(text_of(annotations, KUBE_EPOCH));
    s->attempt = docker_number_read(text_of(annotations, KUBE_ATTEMPT));
    s->created_ms = time_of(metadata, "creationTimestamp");
    s->deleting = json_is_string(json_object_get(metadata, "deletionTimestamp"));
    s->finalizer = has_text(json_object_get(metadata, "finalizers"), KUBE_FINALIZER);
    s->gated = item_named(json_object_get(spec, "schedulingGates"), "name", KUBE_GATE) != NULL;
    snprintf(s->node, sizeof(s->node), "%s", text_of(spec, "nodeName"));
    s->bound = s->node[0] != '\0';
}

static int starts_of(const json_t *main)
{
    json_int_t restarts = json_integer_value(json_object_get(main, "restartCount"));

    return restarts > 0 && restarts < INT_MAX ? (int)restarts + 1 : 0;
}

static void judge(struct kube_state *s, const json_t *metadata, const json_t *spec, const json_t *status)
{
    static const char *const over[] = {"Succeeded", "Failed"};
    const json_t *main = item_named(json_object_get(status, "containerStatuses"), "name", KUBE_MAIN);
    const json_t *state = json_object_get(main, "state"), *ended = json_object_get(state, "terminated");
    const json_t *running = json_object_get(state, "running");

    snprintf(s->container, sizeof(s->container), "%s", text_of(main, "containerID"));
    s->starts = starts_of(main);
    if (json_is_object(ended))
        judge_terminated(s, metadata, status, ended);
    else if (json_is_object(running))
        judge_running(s, spec, status, main, running);
    else if (IS_ONE_OF(text_of(status, "phase"), over) || (s->deleting && !s->bound))
        judge_over_without_container(s, status, main);
    else
        judge_pending(s, spec, status, main);
}

bool kube_state_read(const json_t *pod, struct kube_state *ret)
{
    const json_t *metadata = json_object_get(pod, "metadata"), *spec = json_object_get(pod, "spec");
    const json_t *status = json_object_get(pod, "status");

    *ret = (struct kube_state){.exit_code = -1, .cause = ""};
    if (!json_is_object(metadata) || !json_is_object(spec) ||
        !json_is_array(json_object_get(spec, "containers")) || !read_id(ret, metadata))
        return false;
    read_metadata(ret, metadata, spec);
    judge(ret, metadata, spec, status);
    return true;
}
