/* What a Pod says of an attempt: each row as Kubernetes 1.36 has it. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
#define NODE       ",\"nodeName\":\"n1\""
#define GATE       ",\"schedulingGates\":[{\"name\":\"cronsched.io/release\"}]"
#define OTHER_GATE ",\"schedulingGates\":[{\"name\":\"kueue.x-k8s.io/admission\"}]"
#define MAIN(state) "\"containerStatuses\":[{\"name\":\"proxy\",\"state\":{\"running\":{}}},{\"name\":\"main\",\"ready\":true,\"restartCount\":0,\"containerID\":\"c://1\",\"state\":" state "}]"
#define NONE(state) "\"containerStatuses\":[{\"name\":\"main\",\"restartCount\":0,\"state\":" state "}]"
#define ENDED(code, reason) "{\"terminated\":{\"exitCode\":" #code ",\"reason\":\"" reason "\",\"startedAt\":\"2026-11-30T10:00:00Z\",\"finishedAt\":\"2026-11-30T10:00:05Z\"}}"
#define WAITING(reason, message) "{\"waiting\":{\"reason\":\"" reason "\",\"message\":\"" message "\"}}"
#define PHASE(name) "\"phase\":\"" name "\","
#define RUNNING    "{\"running\":{\"startedAt\":\"2026-11-30T10:00:00Z\"}}"
#define DELETED(at, grace) ",\"deletionTimestamp\":\"2026-11-30T10:00:" at "Z\",\"deletionGracePeriodSeconds\":" #grace
#define DISRUPTED  "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"EvictionByEvictionAPI\",\"message\":\"drained\",\"lastTransitionTime\":\"2026-11-30T10:00:03Z\"}],"
#define NOT_READY  "\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"},{\"type\":\"ContainersReady\",\"status\":\"True\"}],"

static const struct row {
    const char *name, *metadata, *spec, *status;
    enum engine_event event;
    int exit_code;
    const char *cause, *part; /* of its text */
} rows[] = {
    {"gated", "", GATE, PHASE("Pending") "\"x\":1", ENGINE_PENDING, -1, "", "scheduling gate cronsched.io/release"},
    {"a gate of somebody else", "", OTHER_GATE, PHASE("Pending") "\"x\":1", ENGINE_PENDING, -1, "", "gate kueue.x-k8s.io/admission"},
    {"released just now", "", "", PHASE("Pending") "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"SchedulingGated\"}]", ENGINE_PENDING, -1, "", "looks for a node"},
    {"no node", "", "", PHASE("Pending") "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"0/1 nodes are available\"}]", ENGINE_PENDING, -1, "", "Unschedulable: 0/1 nodes are available"},
    {"creating", "", NODE, PHASE("Pending") NONE(WAITING("ContainerCreating", "")), ENGINE_PENDING, -1, "", "on node n1; ContainerCreating"},
    {"no image", "", NODE, PHASE("Pending") NONE(WAITING("ImagePullBackOff", "Back-off pulling")), ENGINE_PENDING, -1, "", "ImagePullBackOff: Back-off pulling"},
    {"an init container", "", NODE, PHASE("Pending") "\"initContainerStatuses\":[{\"name\":\"i\",\"state\":" WAITING("ErrImagePull", "no such image") "}]," NONE(WAITING("PodInitializing", "")), ENGINE_PENDING, -1, "", "init container i: ErrImagePull: no such image"},
    {"running", "", NODE, PHASE("Running") MAIN(RUNNING), ENGINE_STARTED, -1, "", ""},
    {"failed, and main still runs", "", NODE, PHASE("Failed") MAIN(RUNNING), ENGINE_STARTED, -1, "", ""},
    {"ended well", "", NODE, PHASE("Succeeded") MAIN(ENDED(0, "Completed")), ENGINE_ENDED, 0, "exit", ""},
    {"ended, and a sidecar runs on", "", NODE, PHASE("Running") MAIN(ENDED(3, "Error")), ENGINE_ENDED, 3, "exit", ""},
    {"by a signal", "", NODE, PHASE("Failed") MAIN(ENDED(137, "Error")), ENGINE_ENDED, 137, "signal", ""},
    {"out of memory", "", NODE, PHASE("Failed") MAIN(ENDED(137, "OOMKilled")), ENGINE_ENDED, 137, "oom", ""},
    {"deadline", "", NODE, PHASE("Failed") "\"reason\":\"DeadlineExceeded\",\"message\":\"too long\"," MAIN(ENDED(137, "Error")), ENGINE_ENDED, 137, "timeout", "DeadlineExceeded: too long"},
    {"evicted", "", NODE, PHASE("Failed") "\"reason\":\"Evicted\",\"message\":\"low on memory\"," MAIN(ENDED(0, "Completed")), ENGINE_ENDED, 0, "engine", "Evicted: low on memory"},
    {"drained", "", NODE, PHASE("Failed") DISRUPTED MAIN(ENDED(143, "Error")), ENGINE_ENDED, 143, "engine", "EvictionByEvictionAPI: drained"},
    {"ended before the drain", "", NODE, PHASE("Succeeded") DISRUPTED "\"containerStatuses\":[{\"name\":\"main\",\"containerID\":\"c\",\"state\":{\"terminated\":{\"exitCode\":0,\"startedAt\":\"2026-11-30T09:59:00Z\",\"finishedAt\":\"2026-11-30T10:00:01Z\"}}}]", ENGINE_ENDED, 0, "exit", ""},
    {"deleted while it ran", DELETED("33", 30), NODE, PHASE("Succeeded") MAIN(ENDED(0, "Completed")), ENGINE_ENDED, 0, "engine", "deleted while it ran"},
    {"deleted after its end", DELETED("40", 30), NODE, PHASE("Succeeded") MAIN(ENDED(0, "Completed")), ENGINE_ENDED, 0, "exit", ""},
    {"command not found", "", NODE, PHASE("Failed") MAIN("{\"terminated\":{\"exitCode\":128,\"reason\":\"StartError\",\"startedAt\":\"1970-01-01T00:00:00Z\",\"message\":\"exec: x: executable file not found in $PATH\"}}"), ENGINE_REFUSED, 127, "", "command not found"},
    {"not executable", "", NODE, PHASE("Failed") MAIN("{\"terminated\":{\"exitCode\":128,\"reason\":\"StartError\",\"message\":\"exec: permission denied\"}}"), ENGINE_REFUSED, 126, "", "cannot be executed"},
    {"an end that is made up", "", NODE, PHASE("Failed") MAIN("{\"terminated\":{\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\",\"message\":\"could not be located\"}}"), ENGINE_UNKNOWN, -1, "engine", "does not know how it ended"},
    {"an end that the runtime made up", "", NODE, PHASE("Failed") MAIN(ENDED(255, "Unknown")), ENGINE_UNKNOWN, -1, "engine", "does not know"},
    {"evicted, and its end is made up", "", NODE, PHASE("Failed") "\"reason\":\"Evicted\",\"message\":\"disk\"," MAIN("{\"terminated\":{\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\"}}"), ENGINE_ENDED, -1, "engine", "Evicted: disk"},
    {"an end without a code", "", NODE, PHASE("Failed") MAIN("{\"terminated\":{\"reason\":\"Error\"}}"), ENGINE_UNKNOWN, -1, "", "exit code is not told"},
    {"a code that is none", "", NODE, PHASE("Failed") MAIN("{\"terminated\":{\"exitCode\":\"0\",\"reason\":\"Completed\"}}"), ENGINE_UNKNOWN, -1, "", "exit code is not told"},
    {"over without a container", "", NODE, PHASE("Failed") "\"x\":1", ENGINE_UNKNOWN, -1, "", "says nothing of its container"},
    {"succeeded without a container", "", NODE, PHASE("Succeeded") "\"containerStatuses\":[]", ENGINE_UNKNOWN, -1, "", "says nothing of its container"},
    {"deleted before any node had it", DELETED("40", 0), "", PHASE("Pending") "\"x\":1", ENGINE_NEVER_RAN, -1, "", "before any node had it"},
    {"its node is full", "", NODE, PHASE("Failed") "\"reason\":\"OutOfcpu\",\"message\":\"Node didn't have enough resource\"", ENGINE_NEVER_RAN, -1, "", "OutOfcpu: Node didn't"},
    {"an init container failed", "", NODE, PHASE("Failed") "\"initContainerStatuses\":[{\"name\":\"i\",\"state\":" ENDED(4, "Error") "}]," NONE(WAITING("PodInitializing", "")), ENGINE_REFUSED, -1, "", "init container i ended with exit code 4: Error"},
    {"a phase that is yet to be invented", "", NODE, PHASE("Hibernating") "\"x\":1", ENGINE_PENDING, -1, "", "on node n1"},
};
/* clang-format on */

static json_t *pod_of(const struct row *row)
{
    char text[4096];
    json_error_t why;
    json_t *pod;

    snprintf(
        text, sizeof(text),
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"cs-1\",\"uid\":\"u-1\",\"resourceVersion\":\"7\"%s},"
        "\"spec\":{\"containers\":[]%s},\"status\":{%s}}",
        row->metadata, row->spec, row->status);
    pod = json_loads(text, 0, &why);
    if (!pod)
        fail_msg("%s: %s in %s", row->name, why.text, text);
    return pod;
}

static void each_row_is_read(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *r = &rows[i];
        json_t *pod = pod_of(r);
        struct kube_state s;

        assert_true(kube_state_read(pod, &s));
        if (s.event != r->event || s.exit_code != r->exit_code || !strstr(s.text, r->part) ||
            (*r->cause && strcmp(s.cause, r->cause) != 0))
            fail_msg("%s: %s, %d, %s: %s", r->name, engine_event_name(s.event), s.exit_code, s.cause, s.text);
        json_decref(pod);
    }
}

static struct kube_state read_row(const char *metadata, const char *spec, const char *status)
{
    struct row row = {.name = "row", .metadata = metadata, .spec = spec, .status = status};
    json_t *pod = pod_of(&row);
    struct kube_state s;

    assert_true(kube_state_read(pod, &s));
    s.cluster = s.run = NULL;
    json_decref(pod);
    return s;
}

static void what_matters_beside_it_is_told(void **state)
{
    assert_true(read_row("", NODE, PHASE("Running") NOT_READY MAIN(RUNNING)).away);
    assert_false(read_row("", NODE ",\"readinessGates\":[]", PHASE("Running") NOT_READY MAIN(RUNNING)).away);
    assert_true(read_row("", NODE, PHASE("Pending") NONE(WAITING("ErrImageNeverPull", "x"))).permanent);
    assert_true(
        read_row("", NODE, PHASE("Pending") NONE(WAITING("CreateContainerConfigError", "runAsNonRoot")))
            .permanent);
    assert_false(read_row("", NODE, PHASE("Pending") NONE(WAITING("ImagePullBackOff", "x"))).permanent);
    assert_true(read_row("", NODE, PHASE("Pending") NONE(WAITING("ImagePullBackOff", "x"))).uncreated);
    assert_false(read_row("", NODE, PHASE("Pending") NONE(WAITING("ContainerCreating", ""))).uncreated);
    assert_true(read_row("", NODE, PHASE("Failed") "\"reason\":\"OutOfmemory\"").refused_by_node);
    assert_int_equal(
        read_row("", NODE,
                 "\"containerStatuses\":[{\"name\":\"main\",\"restartCount\":1,\"state\":" RUNNING "}]")
            .starts,
        2);
    assert_true(read_row("", GATE, PHASE("Pending") "\"x\":1").gated);
    assert_false(read_row("", OTHER_GATE, PHASE("Pending") "\"x\":1").gated);
}

/* As 1.36 has it, of a Pod that waited for a Secret that was never there. */
static void a_pod_without_a_sandbox_never_had_a_container(void **state)
{
#define UNKNOWN_END "{\"terminated\":{\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\"}}"
#define ROOM(at)                                                                                             \
    "\"startTime\":\"2026-11-30T10:00:00Z\",\"conditions\":[{\"type\":\"PodReadyToStartContainers\","        \
    "\"status\":"                                                                                            \
    "\"False\",\"lastTransitionTime\":\"2026-11-30T10:00:" at "Z\"}],"
    assert_true(read_row("", NODE, PHASE("Failed") ROOM("00") NONE(UNKNOWN_END)).roomless);
    assert_false(read_row("", NODE, PHASE("Failed") ROOM("07") NONE(UNKNOWN_END)).roomless);
    assert_false(read_row("", NODE, PHASE("Failed") ROOM("00") MAIN(UNKNOWN_END)).roomless);
    assert_false(read_row("", NODE, PHASE("Failed") NONE(UNKNOWN_END)).roomless);
}

static void what_is_no_pod_is_not_read(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a/"
        "b\",\"uid\":\"u\",\"resourceVersion\":\"7\"},\"spec\":{"
        "\"containers\":[]}}",
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"\",\"resourceVersion\":\"7\"},\"spec\":"
        "{"
        "\"containers\":[]}}",
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"u\"},\"spec\":{\"containers\":[]}}",
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\"}}",
        "{\"kind\":\"Status\",\"status\":\"Success\",\"metadata\":{}}",
    };
    struct kube_state s;

    for (size_t i = 0; i < COUNT(texts); i++) {
        json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);

        assert_false(kube_state_read(json, &s));
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_is_read),
        cmocka_unit_test(what_matters_beside_it_is_told),
        cmocka_unit_test(a_pod_without_a_sandbox_never_had_a_container),
        cmocka_unit_test(what_is_no_pod_is_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
