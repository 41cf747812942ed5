/* A job as a Pod, the body of POST .../pods. Pure.
 *
 * The kubelet fills $(NAME) in commands, arguments and variables, and makes one dollar of two: a text of a job means what is
 * written there, so each of its dollars is doubled. What stands in the job's own `kubernetes` keeps Kubernetes' meaning.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX       63
#define BACKSTOP_MS     INT64_C(60000)    /* that Kubernetes is behind us */
#define BACKSTOP_DAY_MS INT64_C(86400000) /* for what has no start_within */

/* ---- texts ---- */

static json_t *wiped_json(char *text)
{
    json_t *json = json_string(text);

    explicit_bzero(text, strlen(text));
    free(text);
    return json;
}

json_t *kube_pod_literal(const char *text)
{
    char *made = alloc_zero(2 * strlen(text) + 1), *at = made;

    for (; *text; text++) {
        if (*text == '$')
            *at++ = '$';
        *at++ = *text;
    }
    return wiped_json(made);
}

static json_t *literals_json(const struct strings *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, kube_pod_literal(list->items[i]));
    return array;
}

/* ---- variables ---- */

/* The job's own variable of that name, where an engine's secret gives its value. */
static const struct job_env *secret_variable(const struct job *job, const char *item, size_t name_size)
{
    if (strncmp(item, "CRONSCHED_", 10) == 0)
        return NULL;
    for (size_t i = 0; i < job->environment_count; i++) {
        const struct job_env *e = &job->environment[i];

        if (e->from_secret && strlen(e->name) == name_size && strncmp(e->name, item, name_size) == 0)
            return e;
    }
    return NULL;
}

/* NAME/KEY; without a key it is the variable's own name. */
static json_t *secret_json(const struct job_env *variable)
{
    const char *text = variable->from_secret, *slash = strchr(text, '/');
    int n = (int)(slash ? (size_t)(slash - text) : strlen(text));

    return json_pack("{s:s, s:{s:{s:o, s:s}}}", "name", variable->name, "valueFrom", "secretKeyRef", "name",
                     json_sprintf("%.*s", n, text), "key", slash ? slash + 1 : variable->name);
}

static json_t *variable_json(const struct job *job, const char *item)
{
    size_t n = strcspn(item, "=");
    const struct job_env *secret = secret_variable(job, item, n);

    if (secret)
        return secret_json(secret);
    return json_pack("{s:o, s:o}", "name", json_stringn(item, n), "value", kube_pod_literal(item + n + 1));
}

/* One that is no UTF-8 cannot be sent: NULL. */
static json_t *environment_json(const struct job *job, const struct environment *environment)
{
    json_t *array = json_array();

    for (size_t i = 0; i < environment->count; i++) {
        if (json_array_append_new(array, variable_json(job, environment->items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* ---- names ---- */

static bool is_label_word(const char *text, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char inner[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    return n > 0 && n <= LABEL_MAX && strspn(text, inner) >= n && strchr(letters, text[0]) &&
           strchr(letters, text[n - 1]);
}

static bool fits_label(const char *key, const char *value)
{
    const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
    size_t n = strlen(value);

    return is_label_word(name, strlen(name)) && (n == 0 || (strlen(value) == n && is_label_word(value, n)));
}

/* The job's labels, and ours over them; what does not fit into a label is an annotation. */
static json_t *metadata_json(const struct engine_request *q, const char *namespace, const char *cluster)
{
    json_t *labels = json_pack("{s:s}", KUBE_CLUSTER, cluster), *value;
    json_t *annotations = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:s}", KUBE_RUN, q->run, KUBE_JOB, q->job->name, KUBE_ATTEMPT,
        json_sprintf("%d", q->attempt), KUBE_TRY, json_sprintf("%d", q->try), KUBE_EPOCH,
        json_sprintf("%lld", (long long)q->epoch), "cronsched.io/free",
        "when cronsched is gone for good: kubectl patch pod NAME -p '{\"metadata\":{\"finalizers\":null}}'");
    const char *key;

    if (fits_label(KUBE_JOB, q->job->name))
        json_object_set_new(labels, KUBE_JOB, json_string(q->job->name));
    json_object_foreach(q->job->labels, key, value)
    {
        json_t *to = fits_label(key, json_string_value(value)) ? labels : annotations;

        if (strncmp(key, "cronsched.io/", 13) != 0)
            json_object_set(to, key, value);
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:[s]}", "name", q->name, "namespace", namespace, "labels", labels,
                     "annotations", annotations, "finalizers", KUBE_FINALIZER);
}

/* ---- what the container may ---- */

static json_t *capabilities_json(const struct strings *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->items[i];

        json_array_append_new(array, json_string(strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name));
    }
    return array;
}

static bool gains_privileges(const struct job *job)
{
    for (size_t i = 0; i < job->security_opt.count; i++)
        if (strcmp(job->security_opt.items[i], "no-new-privileges:false") == 0)
            return true;
    for (size_t i = 0; i < job->cap_add.count; i++)
        if (strcasestr(job->cap_add.items[i], "SYS_ADMIN") || strcasecmp(job->cap_add.items[i], "ALL") == 0)
            return true;
    return job->privileged;
}

static json_t *security_json(const struct job *job)
{
    json_t *security = json_object();
    const char *colon = job->user ? strchr(job->user, ':') : NULL;

    if (job->user)
        json_object_set_new(security, "runAsUser", json_integer(strtoll(job->user, NULL, 10)));
    if (colon)
        json_object_set_new(security, "runAsGroup", json_integer(strtoll(colon + 1, NULL, 10)));
    if (job->read_only)
        json_object_set_new(security, "readOnlyRootFilesystem", json_true());
    if (job->privileged)
        json_object_set_new(security, "privileged", json_true());
    json_object_set_new(security, "allowPrivilegeEscalation", json_boolean(gains_privileges(job)));
    if (job->cap_add.count > 0 || job->cap_drop.count > 0)
        json_object_set_new(security, "capabilities",
                            json_pack("{s:o, s:o}", "add", capabilities_json(&job->cap_add), "drop",
                                      capabilities_json(&job->cap_drop)));
    return security;
}

/* Numbers, since Kubernetes has units of its own: its `m` is a thousandth. */
static json_t *limits_json(const struct job *job)
{
    json_t *limits = json_object();

    if (job->cpus > 0)
        json_object_set_new(limits, "cpu", json_sprintf("%lldm", llround(job->cpus * 1000)));
    if (job->memory_bytes > 0)
        json_object_set_new(limits, "memory", json_sprintf("%lld", (long long)job->memory_bytes));
    return limits;
}

static json_t *container_json(const struct job *job, json_t *environment)
{
    static const char *const pulls[] = {
        [JOB_PULL_MISSING] = "IfNotPresent", [JOB_PULL_ALWAYS] = "Always", [JOB_PULL_NEVER] = "Never"};
    json_t *container = json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:o}}", "name", KUBE_MAIN, "image",
                                  job->image, "imagePullPolicy", pulls[job->pull], "env", environment,
                                  "securityContext", security_json(job), "resources", "limits",
                                  limits_json(job));

    if (!container)
        return NULL;
    if (job->entrypoint.count > 0) /* of both, the command is what the program gets */
        json_object_set_new(container, "command", literals_json(&job->entrypoint));
    else if (job->has_entrypoint && job->command.count > 0)
        json_object_set_new(container, "command", literals_json(&job->command));
    if (job->command.count > 0 && !(job->has_entrypoint && job->entrypoint.count == 0))
        json_object_set_new(container, "args", literals_json(&job->command));
    if (job->working_dir)
        json_object_set_new(container, "workingDir", json_string(job->working_dir));
    return container;
}

/* ---- where it runs ---- */

/* "KEY == VALUE" or "KEY != VALUE", of a label of nodes; Swarm's words for them are understood as well. */
static json_t *constraint_json(const char *text)
{
    const char *operator= strstr(text, "=="), *key = text, *value;
    bool is_not = !operator;
    size_t n, size;

    if (is_not)
        operator= strstr(text, "!=");
    if (!operator)
        return NULL;
    if (strncmp(key, "node.labels.", 12) == 0)
        key += 12;
    n = strcspn(key, " =!");
    if (n == 13 && strncmp(key, "node.hostname", n) == 0) {
        key = "kubernetes.io/hostname";
        n = strlen(key);
    }
    value = operator+ 2 + strspn(operator+ 2, " ");
    size = strlen(value);
    while (size > 0 && value[size - 1] == ' ')
        size--;
    return json_pack("{s:o, s:s, s:[o]}", "key", json_stringn(key, n), "operator", is_not ? "NotIn" : "In",
                     "values", json_stringn(value, size));
}

static void add_constraints(json_t *spec, const struct job *job)
{
    json_t *expressions = json_array();

    for (size_t i = 0; i < job->constraints.count; i++)
        json_array_append_new(expressions, constraint_json(job->constraints.items[i]));
    if (json_array_size(expressions) == 0) {
        json_decref(expressions);
        return;
    }
    json_object_set_new(spec, "affinity",
                        json_pack("{s:{s:{s:[{s:o}]}}}", "nodeAffinity",
                                  "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms",
                                  "matchExpressions", expressions));
}

/* NAME:ADDRESS or NAME=[ADDRESS] of Compose. */
static void add_hosts(json_t *spec, const struct job *job)
{
    json_t *array = json_array();

    for (size_t i = 0; i < job->extra_hosts.count; i++) {
        const char *text = job->extra_hosts.items[i], *address = text + strcspn(text, ":=") + 1;
        size_t name = strcspn(text, ":="), size = strlen(address);

        if (address[0] == '[') {
            address++;
            size -= 2;
        }
        json_array_append_new(array, json_pack("{s:o, s:[o]}", "ip", json_stringn(address, size), "hostnames",
                                               json_stringn(text, name)));
    }
    if (json_array_size(array) > 0)
        json_object_set(spec, "hostAliases", array);
    json_decref(array);
}

static void add_groups(json_t *spec, const struct job *job)
{
    json_t *groups = json_array();

    for (size_t i = 0; i < job->group_add.count; i++)
        json_array_append_new(groups, json_integer(strtoll(job->group_add.items[i], NULL, 10)));
    if (job->group_add.count > 0)
        json_object_set_new(spec, "securityContext", json_pack("{s:O}", "supplementalGroups", groups));
    json_decref(groups);
}

static void add_network(json_t *spec, const struct job *job)
{
    if (job->network)
        json_object_set_new(spec, "hostNetwork", json_true());
    if (job->hostname)
        json_object_set_new(spec, "hostname", json_string(job->hostname));
    if (job->dns.count > 0) {
        json_t *servers = docker_strings_json(&job->dns);

        json_object_set_new(spec, "dnsPolicy", json_string("None"));
        json_object_set_new(spec, "dnsConfig", json_pack("{s:o}", "nameservers", servers));
    }
}

/* A node that is lost must not make Kubernetes delete the Pod, and with it the evidence. */
static json_t *tolerations_json(void)
{
    return json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "key", "node.kubernetes.io/not-ready", "operator",
                     "Exists", "effect", "NoExecute", "key", "node.kubernetes.io/unreachable", "operator",
                     "Exists", "effect", "NoExecute");
}

static int64_t seconds_up(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 1;
}

/* For the day when nobody is there to enforce the timeout. Kubernetes counts from before the image is pulled; so it never ends
 * what we would not. */
static int64_t backstop_s(const struct job *job)
{
    int64_t start_ms = job->start_within_ms > 0 ? job->start_within_ms : BACKSTOP_DAY_MS;

    return seconds_up(job->timeout_ms + job->stop_grace_ms + start_ms + BACKSTOP_MS);
}

static json_t *spec_json(const struct job *job, json_t *container)
{
    json_t *spec = json_pack("{s:[{s:s}], s:s, s:I, s:b, s:b, s:o, s:[O]}", "schedulingGates", "name",
                             KUBE_GATE, "restartPolicy", "Never", "terminationGracePeriodSeconds",
                             (json_int_t)seconds_up(job->stop_grace_ms), "automountServiceAccountToken", 0,
                             "enableServiceLinks", 0, "tolerations", tolerations_json(), "containers",
                             container);

    if (spec && job->timeout_ms > 0)
        json_object_set_new(spec, "activeDeadlineSeconds", json_integer(backstop_s(job)));
    return spec;
}

json_t *kube_pod_json(const struct kube_task *t, const char *namespace, const char *cluster,
                      const struct environment *environment)
{
    const struct engine_request *q = &t->task.q;
    json_t *variables = environment_json(q->job, environment);
    json_t *container = variables ? container_json(q->job, variables) : NULL;
    json_t *spec = container ? spec_json(q->job, container) : NULL, *pod;

    if (spec) {
        kube_volumes_add(spec, container, q->job);
        add_constraints(spec, q->job);
        add_hosts(spec, q->job);
        add_groups(spec, q->job);
        add_network(spec, q->job);
    }
    json_decref(container);
    pod = json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata",
                    metadata_json(q, namespace, cluster), "spec", spec);
    if (pod && q->job->kubernetes)
        kube_merge(pod, q->job->kubernetes);
    return pod;
}
