/* FENCE: sends what jobs/engine/kube_fence.c wants, and tells it the facts. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/fault.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_MS 1000 /* after no answer, or one that asks for patience */

static void go_on(struct kube_task *t);

/* wait_ms 0: at once. */
static void tell(struct kube_task *t, const struct kube_fact *fact, int64_t wait_ms)
{
    kube_fence_tell(&t->fence, fact);
    if (t->fence.want == KUBE_FENCE_DONE) {
        FAULT_POINT("kube.fenced", t->task.q.run);
        task_answer_text(&t->task, t->fence.verdict.event, -1, "%s", t->fence.verdict.text);
    } else if (wait_ms > 0) {
        kube_wake_in(t, wait_ms, go_on);
    } else {
        go_on(t);
    }
}

static void tell_lost(struct kube_task *t, const struct kube_reply *reply)
{
    int64_t wait_ms = reply->retry_ms > AGAIN_MS ? reply->retry_ms : AGAIN_MS;

    if (kube_lost(reply))
        kube_link_suspect(t->kube);
    tell(t, &(struct kube_fact){.kind = KUBE_FACT_UNREACHABLE, .text = reply->text}, wait_ms);
}

/* Answers LOOK, ANNOTATE and DELETE, each of which gives the Pod. */
static void tell_pod(struct kube_task *t, const struct kube_reply *reply, enum kube_fact_kind kind)
{
    struct kube_fact fact = {.kind = kind, .status = reply->status, .text = reply->text, .version = ""};
    bool has_pod = !kube_lost(reply) && (reply->status == 200 || reply->status == 202);
    struct kube_state pod;

    if (kube_lost(reply) || kube_did_nothing(reply) || reply->status >= 500 ||
        (has_pod && !kube_state_read(reply->json, &pod))) {
        tell_lost(t, reply);
        return;
    }
    if (has_pod) {
        fact.other = strcmp(pod.id.uid, t->id.uid) != 0;
        fact.gated = pod.gated && !pod.bound;
        fact.version = pod.version;
    }
    tell(t, &fact, 0);
}

static void on_look(struct kube_task *t, const struct kube_reply *reply)
{
    tell_pod(t, reply, KUBE_FACT_POD);
}

static void on_changed(struct kube_task *t, const struct kube_reply *reply)
{
    tell_pod(t, reply, KUBE_FACT_CHANGED);
}

static void on_cluster(struct kube_task *t, const struct kube_reply *reply)
{
    char identity[ENGINE_IDENTITY_MAX];

    if (kube_lost(reply) || reply->status != 200 || !kube_link_identity(reply->json, identity))
        tell_lost(t, reply);
    else
        tell(t, &(struct kube_fact){.kind = KUBE_FACT_CLUSTER, .text = identity}, 0);
}

static void send_annotation(struct kube_task *t)
{
    char path[KUBE_PATH_MAX];
    json_t *body = json_pack("{s:{s:s, s:s, s:{s:o}}}", "metadata", "uid", t->id.uid, "resourceVersion",
                             t->fence.version, "annotations", KUBE_EPOCH,
                             json_sprintf("%lld", (long long)t->fence.epoch));

    kube_pod_path(path, &t->id, "?fieldManager=cronsched");
    kube_send(t, &(struct kube_call){.method = "PATCH", .path = path, .body = body, .type = KUBE_MERGE},
              on_changed);
    json_decref(body);
}

static void send_delete(struct kube_task *t)
{
    char path[KUBE_PATH_MAX];
    json_t *body = json_pack("{s:i, s:{s:s, s:s}}", "gracePeriodSeconds", 0, "preconditions", "uid",
                             t->id.uid, "resourceVersion", t->fence.version);

    kube_pod_path(path, &t->id, "");
    kube_send(t, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_changed);
    json_decref(body);
}

static void go_on(struct kube_task *t)
{
    char path[KUBE_PATH_MAX];

    if (t->fence.want == KUBE_FENCE_ANNOTATE) {
        send_annotation(t);
    } else if (t->fence.want == KUBE_FENCE_DELETE) {
        send_delete(t);
    } else if (t->fence.want == KUBE_FENCE_CLUSTER) {
        kube_link_identity_path(t->kube, path);
        kube_send(t, &(struct kube_call){.method = "GET", .path = path}, on_cluster);
    } else {
        kube_pod_path(path, &t->id, "");
        kube_send(t, &(struct kube_call){.method = "GET", .path = path}, on_look);
    }
}

void kube_fence_begin_task(struct kube_task *t)
{
    struct kube *k = t->kube;

    kube_fence_begin(&t->fence, t->id.name, t->task.q.identity, k->tasks.host->epoch(k->tasks.host),
                     t->task.q.may_have_run && !kube_id_gone(k, t->task.q.id));
    go_on(t);
}
