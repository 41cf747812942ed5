/* PREPARE: make the Pod exist, with our gate in it.
 *
 * The happy path: read the files of the environment (threads with a deadline) -> POST .../pods under the attempt's name ->
 * PREPARED(namespace/name/uid, the cluster's identity).
 *
 * Failures:
 *   a file of the environment cannot be read, or does not answer in time: REFUSED with its path; no descriptor or no
 *                      memory for it: UNREACHABLE
 *   201 without our gate: a webhook took it away, and it may run already: REFUSED, and the Pod is deleted
 *   409 AlreadyExists   look at it: ours by its annotations and gated: go on with it; else REFUSED
 *   409 of any other kind, 401, 429, no answer, 5xx: again under the same name, in a moment, then UNREACHABLE
 *   403                 exceeded quota, a service account that is not there yet, missing rights: UNREACHABLE, since it passes;
 *                       a policy: REFUSED with the words of the cluster
 *   any other answer    REFUSED with the API's text
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void create(struct kube_task *t);

static void refuse(struct kube_task *t, const struct kube_reply *reply, const char *what)
{
    task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s: HTTP %d: %s", what, reply->status, reply->text);
}

/* ---- the end ---- */

static void prepared(struct kube_task *t, const struct kube_state *pod)
{
    char id[KUBE_ID_MAX];

    FAULT_POINT("kube.prepared", t->task.q.run);
    kube_release_armed(t->kube, pod);
    kube_id_write(&pod->id, id);
    task_answer(&t->task,
                &(struct engine_answer){
                    .event = ENGINE_PREPARED, .exit_code = -1, .id = id, .identity = t->kube->identity});
}

static void on_ungated_deleted(struct kube_task *t, const struct kube_reply *reply)
{
    (void)reply; /* the sweep comes by */
    task_answer_text(
        &t->task, ENGINE_REFUSED, -1,
        "the cluster took the scheduling gate away when the Pod was made, so it may have run: a webhook?");
}

static void delete_ungated(struct kube_task *t, const struct kube_state *pod)
{
    char path[KUBE_PATH_MAX];
    json_t *body = json_pack("{s:i, s:{s:s}}", "gracePeriodSeconds", 0, "preconditions", "uid", pod->id.uid);

    kube_pod_path(path, &pod->id, "");
    kube_send(t, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_ungated_deleted);
    json_decref(body);
}

/* ---- the name is taken ---- */

static void on_taken(struct kube_task *t, const struct kube_reply *reply)
{
    const struct engine_request *q = &t->task.q;
    struct kube_state found;

    if (kube_lost(reply) || reply->status == 404 || reply->status >= 500 || kube_did_nothing(reply))
        kube_answer_unreachable(t, reply);
    else if (reply->status != 200 || !kube_state_read(reply->json, &found))
        refuse(t, reply, "the Pod of that name cannot be looked at");
    else if (strcmp(found.cluster, t->kube->tasks.host->cluster(t->kube->tasks.host)) != 0 ||
             strcmp(found.run, q->run) != 0 || found.attempt != q->attempt || found.epoch != q->epoch)
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "the name %s is taken by a Pod that is not this attempt's", q->name);
    else if (!found.gated || found.deleting)
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the Pod %s was released or deleted by somebody else",
                         q->name);
    else
        prepared(t, &found);
}

static void look_at_taken(struct kube_task *t)
{
    struct kube_id id = {.name = ""};
    const char *namespace;
    char path[KUBE_PATH_MAX];

    kube_job_namespace(t->kube, t->task.q.job, &namespace);
    snprintf(id.namespace, sizeof(id.namespace), "%.63s", namespace);
    snprintf(id.name, sizeof(id.name), "%.63s", t->task.q.name);
    kube_pod_path(path, &id, "");
    kube_send(t, &(struct kube_call){.method = "GET", .path = path}, on_taken);
}

/* ---- create ---- */

/* Of a secret the kubelet gets the value. */
static int resolve(void *arg, const struct job_env *variable, char **ret_value, struct error *error)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    size_t i = (size_t)(variable - t->task.q.job->environment);

    (void)error;
    *ret_value = alloc_text(t->files && t->files[i] ? t->files[i] : "");
    return 0;
}

static bool passes(const struct kube_reply *reply)
{
    if (reply->status == 409)
        return strcmp(reply->reason, "AlreadyExists") != 0;
    if (reply->status != 403)
        return reply->status == 429 || reply->status >= 500 || reply->status == 401;
    return strstr(reply->text, "exceeded quota") ||
           strstr(reply->text, "failed quota: must specify") == reply->text ||
           strstr(reply->text, "error looking up service account") ||
           strstr(reply->text, " cannot create resource ") || strstr(reply->text, "system:anonymous");
}

static void on_created(struct kube_task *t, const struct kube_reply *reply)
{
    struct kube_state made;
    int64_t wait_ms = reply->retry_ms > 0 ? reply->retry_ms : KUBE_RETRY_FIRST_MS << t->tries;
    bool again = kube_lost(reply) || (reply->status >= 500 || reply->status == 429 || reply->status == 401);

    if (!kube_lost(reply) && reply->status == 201 && kube_state_read(reply->json, &made) && made.gated)
        prepared(t, &made);
    else if (!kube_lost(reply) && reply->status == 201 && kube_state_read(reply->json, &made))
        delete_ungated(t, &made);
    else if (!kube_lost(reply) && reply->status == 409 && strcmp(reply->reason, "AlreadyExists") == 0)
        look_at_taken(t);
    else if (again && ++t->tries < KUBE_TRIES_MAX)
        kube_wake_in(t, wait_ms, create); /* whatever the first one made has the same name */
    else if (kube_lost(reply) || passes(reply))
        kube_answer_unreachable(t, reply);
    else
        refuse(t, reply, "the Pod cannot be made");
}

static void send_pod(struct kube_task *t, const char *namespace, json_t *body)
{
    size_t size = json_dumpb(body, NULL, 0, JSON_COMPACT);
    char path[KUBE_PATH_MAX];

    if (size > KUBE_BODY_BYTES_MAX) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the Pod takes %zu bytes, of which %d are allowed",
                         size, KUBE_BODY_BYTES_MAX);
        return;
    }
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods?fieldManager=cronsched&fieldValidation=Strict",
             namespace);
    kube_send(t, &(struct kube_call){.method = "POST", .path = path, .body = body}, on_created);
}

static void create(struct kube_task *t)
{
    struct kube *k = t->kube;
    struct environment environment;
    struct error error = {0};
    const char *namespace;
    json_t *body;

    FAULT_POINT("kube.create", t->task.q.run);
    kube_job_namespace(k, t->task.q.job, &namespace);
    if (environment_build(&environment, &t->task.q, resolve, t, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    body = kube_pod_json(t, namespace, k->tasks.host->cluster(k->tasks.host), &environment);
    environment_release(&environment);
    if (body)
        send_pod(t, namespace, body);
    else
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the environment or the command is not UTF-8");
    json_decref(body);
}

/* ---- files of variables ---- */

static void on_variables_read(void *arg, char **values, size_t count, const struct error *error)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    struct tasks *tasks = t->task.tasks;

    (void)count;
    t->files = values;
    if (!task_is_wanted(&t->task))
        return;
    if (error)
        task_answer_text(&t->task, environment_file_later(error->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED,
                         -1, "%s", error->text);
    else
        create(t);
    tasks_release(tasks);
}

void kube_prepare_begin(struct kube_task *t)
{
    struct kube *k = t->kube;
    const struct job *job = t->task.q.job;
    struct engine_faults faults = {0};
    struct error error = {0};
    const char *namespace;

    kube_engine_faults(job, &faults);
    if (faults.first.code) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", faults.first.text);
    } else if (!kube_job_namespace(k, job, &namespace)) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "kubernetes: metadata.namespace: the engine's configuration does not name it");
    } else if (variable_files_check(job, &k->limits, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
    } else if (variable_files_read(k->reader, job, &k->limits, on_variables_read, t)) {
        task_to_thread(&t->task);
    } else {
        create(t);
    }
}
