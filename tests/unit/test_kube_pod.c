/* What a job becomes as a Pod, what its own `kubernetes` may change of it, and what it may not ask for. */
#include "cronsched/engines/kubernetes/kube_core.h"
#include "jobs/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_t *parse(const char *text)
{
    json_error_t why;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &why);

    if (!json)
        fail_msg("%s: %s", why.text, text);
    return json;
}

static struct job *job_of(const char *definition)
{
    struct error error = {0};
    struct job *job = NULL;
    json_t *json = parse(definition);

    if (job_from_json(&job, "j", json, NULL, &error) < 0)
        fail_msg("%s: %s", definition, error.text);
    json_decref(json);
    return job;
}

static json_t *pod_of(const char *definition)
{
    static const char *const items[] = {"A=$X $(B) $$", "CRONSCHED_RUN=j@1", NULL};
    const struct environment environment = {.items = (char **)(uintptr_t)items, .count = 2};
    struct job *job = job_of(definition);
    struct kube_task t = {
        .task.q = {.job = job, .run = "j@1", .name = "cs-1", .attempt = 1, .try = 2, .epoch = 3}};
    json_t *pod = kube_pod_json(&t, "ns", "cluster-1", &environment);

    assert_non_null(pod);
    job_unref(job);
    return pod;
}

/* "spec/containers/0/name" */
static const json_t *at(const json_t *json, const char *path)
{
    char *copy = alloc_text(path), *rest = copy, *part;

    while (json && (part = strsep(&rest, "/")))
        json = json_is_array(json) ? json_array_get(json, (size_t)(*part - '0'))
                                   : json_object_get(json, part);
    free(copy);
    return json;
}

static void expect(const json_t *pod, const char *definition, const char *path, const char *expected)
{
    json_t *wanted = expected ? parse(expected) : NULL;
    const json_t *found = at(pod, path);

    if (!json_equal((json_t *)(uintptr_t)found, wanted) && (found || wanted)) {
        char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : alloc_text("nothing");

        fail_msg("%s: %s is %s, not %s", definition, path, text, expected ? expected : "nothing");
    }
    json_decref(wanted);
}

#define MAIN "spec/containers/0/"

/* clang-format off */
static const struct row {
    const char *definition, *path, *expected;
} rows[] = {
    {"{\"image\":\"i\"}", "metadata/name", "\"cs-1\""},
    {"{\"image\":\"i\"}", "metadata/namespace", "\"ns\""},
    {"{\"image\":\"i\"}", "metadata/finalizers", "[\"cronsched.io/evidence\"]"},
    {"{\"image\":\"i\"}", "metadata/labels", "{\"cronsched.io/cluster\":\"cluster-1\",\"cronsched.io/job\":\"j\"}"},
    {"{\"image\":\"i\"}", "spec/schedulingGates", "[{\"name\":\"cronsched.io/release\"}]"},
    {"{\"image\":\"i\"}", "spec/restartPolicy", "\"Never\""},
    {"{\"image\":\"i\"}", "spec/automountServiceAccountToken", "false"},
    {"{\"image\":\"i\"}", "spec/tolerations/0", "{\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\"}"},
    {"{\"image\":\"i\"}", MAIN "env/0", "{\"name\":\"A\",\"value\":\"$$X $$(B) $$$$\"}"},
    {"{\"image\":\"i\"}", MAIN "imagePullPolicy", "\"IfNotPresent\""},
    {"{\"image\":\"i\",\"pull\":\"never\"}", MAIN "imagePullPolicy", "\"Never\""},
    {"{\"image\":\"i\"}", MAIN "command", NULL},
    {"{\"image\":\"i\",\"command\":[\"a\",\"$X\"]}", MAIN "args", "[\"a\",\"$$X\"]"},
    {"{\"image\":\"i\",\"command\":[\"a\"]}", MAIN "command", NULL},
    {"{\"image\":\"i\",\"entrypoint\":[\"e\"],\"command\":[\"a\"]}", MAIN "command", "[\"e\"]"},
    {"{\"image\":\"i\",\"entrypoint\":[\"e\"],\"command\":[\"a\"]}", MAIN "args", "[\"a\"]"},
    {"{\"image\":\"i\",\"entrypoint\":[],\"command\":[\"a\",\"b\"]}", MAIN "command", "[\"a\",\"b\"]"},
    {"{\"image\":\"i\",\"entrypoint\":[],\"command\":[\"a\",\"b\"]}", MAIN "args", NULL},
    {"{\"image\":\"i\",\"timeout\":\"10s\",\"stop_grace\":\"2s\",\"start_within\":\"1m\"}", "spec/activeDeadlineSeconds", "132"},
    {"{\"image\":\"i\",\"stop_grace\":\"0s\"}", "spec/terminationGracePeriodSeconds", "1"},
    {"{\"image\":\"i\",\"stop_grace\":\"1500ms\"}", "spec/terminationGracePeriodSeconds", "2"},
    {"{\"image\":\"i\",\"user\":\"1000:100\"}", MAIN "securityContext", "{\"runAsUser\":1000,\"runAsGroup\":100,\"allowPrivilegeEscalation\":false}"},
    {"{\"image\":\"i\",\"privileged\":true}", MAIN "securityContext", "{\"privileged\":true,\"allowPrivilegeEscalation\":true}"},
    {"{\"image\":\"i\",\"cap_add\":[\"CAP_NET_ADMIN\"]}", MAIN "securityContext/capabilities", "{\"add\":[\"NET_ADMIN\"],\"drop\":[]}"},
    {"{\"image\":\"i\",\"resources\":{\"cpus\":0.5,\"memory\":\"256m\"}}", MAIN "resources/limits", "{\"cpu\":\"500m\",\"memory\":\"268435456\"}"},
    {"{\"image\":\"i\",\"volumes\":[\"/a:/b:ro\",\"claim:/c\"]}", "spec/volumes", "[{\"name\":\"v0\",\"hostPath\":{\"path\":\"/a\"}},{\"name\":\"v1\",\"persistentVolumeClaim\":{\"claimName\":\"claim\",\"readOnly\":false}}]"},
    {"{\"image\":\"i\",\"volumes\":[\"/a:/b:ro\"]}", MAIN "volumeMounts", "[{\"name\":\"v0\",\"mountPath\":\"/b\",\"readOnly\":true}]"},
    {"{\"image\":\"i\",\"secrets\":[\"s\"],\"configs\":[\"c\"]}", MAIN "volumeMounts", "[{\"name\":\"v0\",\"mountPath\":\"/run/secrets/s\",\"readOnly\":true},{\"name\":\"v1\",\"mountPath\":\"/c\",\"readOnly\":true}]"},
    {"{\"image\":\"i\",\"tmpfs\":[\"/t\"],\"shm_size\":\"64m\"}", "spec/volumes", "[{\"name\":\"v0\",\"emptyDir\":{\"medium\":\"Memory\"}},{\"name\":\"v1\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"67108864\"}}]"},
    {"{\"image\":\"i\",\"environment\":{\"A\":{\"from_secret\":\"db/password\"}}}", MAIN "env/0", "{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"db\",\"key\":\"password\"}}}"},
    {"{\"image\":\"i\",\"environment\":{\"A\":{\"from_secret\":\"db\"}}}", MAIN "env/0/valueFrom/secretKeyRef/key", "\"A\""},
    {"{\"image\":\"i\",\"constraints\":[\"zone == a\",\"node.labels.disk!=hdd\"]}", "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions",
     "[{\"key\":\"zone\",\"operator\":\"In\",\"values\":[\"a\"]},{\"key\":\"disk\",\"operator\":\"NotIn\",\"values\":[\"hdd\"]}]"},
    {"{\"image\":\"i\",\"labels\":{\"team\":\"a b\",\"app\":\"y\"}}", "metadata/labels/app", "\"y\""},
    {"{\"image\":\"i\",\"labels\":{\"team\":\"a b\"}}", "metadata/annotations/team", "\"a b\""},
    {"{\"image\":\"i\",\"extra_hosts\":[\"h:10.0.0.1\"]}", "spec/hostAliases", "[{\"ip\":\"10.0.0.1\",\"hostnames\":[\"h\"]}]"},
    {"{\"image\":\"i\",\"network\":\"host\"}", "spec/hostNetwork", "true"},
    /* of its own */
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"serviceAccountName\":\"sa\",\"automountServiceAccountToken\":true}}}", "spec/automountServiceAccountToken", "true"},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"resources\":{\"requests\":{\"cpu\":\"1\"}},\"env\":[{\"name\":\"A\",\"valueFrom\":{}},{\"name\":\"CRONSCHED_RUN\",\"value\":\"x\"}]},{\"name\":\"side\"}]}}}", MAIN "env",
     "[{\"name\":\"A\",\"valueFrom\":{}},{\"name\":\"CRONSCHED_RUN\",\"value\":\"j@1\"}]"},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":null},{\"name\":\"side\"}]}}}", "spec/containers/1", "{\"name\":\"side\"}"},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"schedulingGates\":null,\"tolerations\":[{\"key\":\"a\"}]}}}", "spec/schedulingGates", "[{\"name\":\"cronsched.io/release\"}]"},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"schedulingGates\":[{\"name\":\"b\"}]}}}", "spec/schedulingGates", "[{\"name\":\"cronsched.io/release\"},{\"name\":\"b\"}]"},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}}", "spec/tolerations/2", "{\"key\":\"a\"}"},
    {"{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"labels\":{\"cronsched.io/cluster\":\"x\",\"a\":\"b\"},\"annotations\":null}}}", "metadata/labels", "{\"cronsched.io/cluster\":\"cluster-1\",\"cronsched.io/job\":\"j\",\"a\":\"b\"}"},
    {"{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"annotations\":null}}}", "metadata/annotations/cronsched.io/run", NULL},
    {"{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"namespace\":\"zz\"}}}", "metadata/namespace", "\"ns\""},
    {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"volumes\":[{\"name\":\"v0\",\"emptyDir\":{}}]}},\"volumes\":[\"/a:/b\"]}", "spec/volumes/0/emptyDir", "{}"},
};
/* clang-format on */

static void each_key_has_its_place(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *pod = pod_of(rows[i].definition);

        expect(pod, rows[i].definition, rows[i].path, rows[i].expected);
        json_decref(pod);
    }
}

static void our_annotations_stay(void **state)
{
    json_t *pod = pod_of("{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"annotations\":null}}}");
    const json_t *annotations = at(pod, "metadata/annotations");

    assert_string_equal(json_string_value(json_object_get(annotations, KUBE_EPOCH)), "3");
    assert_string_equal(json_string_value(json_object_get(annotations, KUBE_RUN)), "j@1");
    assert_string_equal(json_string_value(json_object_get(annotations, KUBE_ATTEMPT)), "1");
    json_decref(pod);
}

static void what_kubernetes_does_not_have_is_refused(void **state)
{
    static const struct {
        const char *definition, *part;
    } table[] = {
        {"{\"command\":[\"x\"]}", "image:"},
        {"{\"image\":\"i\",\"user\":\"root\"}", "user:"},
        {"{\"image\":\"i\",\"group_add\":[\"docker\"]}", "group_add:"},
        {"{\"image\":\"i\",\"network\":\"backend\"}", "network:"},
        {"{\"image\":\"i\",\"init\":true}", "init:"},
        {"{\"image\":\"i\",\"devices\":[\"/dev/null\"]}", "devices:"},
        {"{\"image\":\"i\",\"ulimits\":{\"nofile\":1}}", "ulimits:"},
        {"{\"image\":\"i\",\"stop_signal\":\"SIGINT\"}", "stop_signal:"},
        {"{\"image\":\"i\",\"pids_limit\":7}", "pids_limit:"},
        {"{\"image\":\"i\",\"security_opt\":[\"seccomp:unconfined\"]}", "security_opt:"},
        {"{\"image\":\"i\",\"tmpfs\":[\"/t:size=1m\"]}", "tmpfs:"},
        {"{\"image\":\"i\",\"command\":[]}", "command:"},
        {"{\"image\":\"i\",\"entrypoint\":[]}", "command:"},
        {"{\"image\":\"i\",\"constraints\":[\"node.role == worker\"]}", "constraints:"},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"nodeName\":\"n\"}}}", "spec.nodeName: "},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"restartPolicy\":\"Always\"}}}",
         "spec.restartPolicy: "},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"activeDeadlineSeconds\":1}}}", "use timeout"},
        {"{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"finalizers\":[]}}}", "metadata.finalizers"},
        {"{\"image\":\"i\",\"kubernetes\":{\"metadata\":{\"name\":\"x\"}}}", "metadata.name"},
        {"{\"image\":\"i\",\"kubernetes\":{\"status\":{}}}", "status: a Pod has"},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":[]}}", "spec: must be a map"},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"restartPolicy\":"
         "\"Always\"}]}}}",
         "container main"},
        {"{\"image\":\"i\",\"kubernetes\":{\"spec\":{\"initContainers\":[{\"name\":\"a\","
         "\"restartPolicyRules\":[]}]}}}",
         "container a"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct engine_faults faults = {0};
        struct job *job = job_of(table[i].definition);

        kube_engine_faults(job, &faults);
        if (faults.first.code != ERR_UNSUPPORTED || !strstr(faults.first.text, table[i].part))
            fail_msg("%s: %s", table[i].definition, faults.first.text);
        job_unref(job);
    }
}

static void a_sidecar_and_its_like_are_taken(void **state)
{
    struct engine_faults faults = {0};
    struct job *job =
        job_of("{\"image\":\"i\",\"kubernetes\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{"
               "\"initContainers\":[{\"name\":\"proxy\",\"restartPolicy\":\"Always\"}],"
               "\"imagePullSecrets\":[{\"name\":\"r\"}],\"nodeSelector\":{\"a\":\"b\"}}}}");

    kube_engine_faults(job, &faults);
    if (faults.first.code)
        fail_msg("%s", faults.first.text);
    job_unref(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_place),
        cmocka_unit_test(our_annotations_stay),
        cmocka_unit_test(what_kubernetes_does_not_have_is_refused),
        cmocka_unit_test(a_sidecar_and_its_like_are_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
