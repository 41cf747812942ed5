/* RELEASE, STOP and DISCARD.
 *
 * RELEASE: look, unless it was prepared here and its resourceVersion is known; the Pod has our gate, and its annotation is the
 * epoch that prepared it -> PATCH: our gate away, at the resourceVersion that was seen, on a connection of its own. 200 without our gate: ACCEPTED. 409, 401, 429 and what was not
 * sent prove that nothing was done, and API servers do not send a request again: it is looked at again, some times. After
 * any other answer it is not known whether it was applied: UNKNOWN, and the scheduler fences. A Pod that is not there can
 * never be released; its id is kept for the fence.
 *
 * STOP: DELETE with the grace of the job. Our finalizer keeps the Pod until the watch has seen its end. DISCARD: DELETE, then
 * the finalizer off, unless it may have run.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/fault.h"

#include <stdio.h>
#include <string.h>

#define LOOKS_MAX 8 /* of one RELEASE */

static void look(struct kube_task *t, kube_done *done)
{
    char path[KUBE_PATH_MAX];

    kube_pod_path(path, &t->id, "");
    kube_send(t, &(struct kube_call){.method = "GET", .path = path}, done);
}

/* It is there, and ours. */
static bool is_found(const struct kube_task *t, const struct kube_reply *reply, struct kube_state *ret)
{
    return !kube_lost(reply) && reply->status == 200 && kube_state_read(reply->json, ret) &&
           strcmp(ret->id.uid, t->id.uid) == 0;
}

static bool is_gone(const struct kube_task *t, const struct kube_reply *reply)
{
    struct kube_state other;

    if (kube_lost(reply))
        return false;
    return reply->status == 404 || (reply->status == 200 && kube_state_read(reply->json, &other) &&
                                    strcmp(other.id.uid, t->id.uid) != 0);
}

/* ---- RELEASE ---- */

bool kube_id_gone(const struct kube *k, const char *id)
{
    for (size_t i = 0; i < KUBE_GONE_IDS; i++)
        if (strcmp(k->gone_ids[i], id) == 0)
            return true;
    return false;
}

static void answer_gone(struct kube_task *t)
{
    struct kube *k = t->kube;

    snprintf(k->gone_ids[k->gone_next++ % KUBE_GONE_IDS], KUBE_ID_MAX, "%s", t->task.q.id);
    task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "its Pod was deleted by somebody else before its release");
}

static void look_again(struct kube_task *t, const struct kube_reply *reply)
{
    if (++t->tries < LOOKS_MAX)
        kube_wake_in(t, reply->retry_ms > 0 ? reply->retry_ms : KUBE_RETRY_FIRST_MS, kube_release_begin);
    else
        kube_answer_unreachable(t, reply);
}

static void on_released(struct kube_task *t, const struct kube_reply *reply)
{
    struct kube_state pod;
    bool found = is_found(t, reply, &pod);

    FAULT_POINT("kube.released", t->task.q.run);
    if (found && !pod.gated) {
        task_answer_text(&t->task, ENGINE_ACCEPTED, -1, "%s",
                         pod.event == ENGINE_PENDING ? pod.text : "it is released");
    } else if (kube_did_nothing(reply) || (!kube_lost(reply) && reply->status == 409)) {
        look_again(t, reply);
    } else if (is_gone(t, reply)) {
        answer_gone(t);
    } else {
        if (kube_lost(reply))
            kube_link_suspect(t->kube);
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "the API does not say that it is released: %s",
                         reply->text);
    }
}

static void send_release(struct kube_task *t, const char *version)
{
    char path[KUBE_PATH_MAX];
    json_t *body = json_pack("{s:{s:s, s:s}, s:{s:[{s:s, s:s}]}}", "metadata", "uid", t->id.uid,
                             "resourceVersion", version, "spec", "schedulingGates", "$patch", "delete",
                             "name", KUBE_GATE);

    FAULT_POINT("kube.release", t->task.q.run);
    kube_pod_path(path, &t->id, "?fieldManager=cronsched");
    kube_send(t,
              &(struct kube_call){
                  .method = "PATCH", .path = path, .body = body, .type = KUBE_STRATEGIC, .once = true},
              on_released);
    json_decref(body);
    FAULT_POINT("kube.sent", t->task.q.run);
}

static void on_release_look(struct kube_task *t, const struct kube_reply *reply)
{
    struct kube_state pod;

    if (is_gone(t, reply)) {
        answer_gone(t);
    } else if (!is_found(t, reply, &pod)) {
        if (kube_did_nothing(reply) && !kube_lost(reply))
            look_again(t, reply);
        else
            kube_answer_unreachable(t, reply);
    } else if (!pod.gated) {
        task_answer_text(&t->task, ENGINE_ACCEPTED, -1, "somebody else had taken its scheduling gate away");
    } else if (pod.epoch != t->task.q.epoch) {
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                         "another leader has fenced it: its annotation is epoch %lld", (long long)pod.epoch);
    } else if (pod.deleting) {
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "its Pod is being deleted by somebody else");
    } else {
        send_release(t, pod.version);
    }
}

void kube_release_armed(struct kube *k, const struct kube_state *pod)
{
    size_t i = k->armed_next++ % KUBE_ARMED_MAX;

    snprintf(k->armed[i].uid, sizeof(k->armed[i].uid), "%s", pod->id.uid);
    snprintf(k->armed[i].version, sizeof(k->armed[i].version), "%s", pod->version);
}

/* NULL: not known. What has changed since then is refused with 409, and looked at. */
static const char *version_of(const struct kube *k, const char *uid)
{
    for (size_t i = 0; i < KUBE_ARMED_MAX; i++)
        if (strcmp(k->armed[i].uid, uid) == 0)
            return k->armed[i].version;
    return NULL;
}

void kube_release_begin(struct kube_task *t)
{
    const char *version = t->tries == 0 ? version_of(t->kube, t->id.uid) : NULL;

    if (version)
        send_release(t, version);
    else
        look(t, on_release_look);
}

/* ---- STOP ---- */

static void on_stopped(struct kube_task *t, const struct kube_reply *reply)
{
    struct kube *k = t->kube;

    FAULT_POINT("kube.stopped", t->task.q.run);
    if (kube_lost(reply) ||
        (reply->status != 200 && reply->status != 202 && reply->status != 404 && reply->status != 409)) {
        kube_answer_unreachable(t, reply); /* the scheduler comes again */
        return;
    }
    kube_watch_stopping(k, t->task.q.id);
    task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
}

/* A grace of 0 would be a deletion by force, without an answer of its node. */
void kube_stop_begin(struct kube_task *t)
{
    int64_t grace_ms = t->task.q.job->stop_grace_ms;
    json_int_t grace = grace_ms > 1000 ? (json_int_t)((grace_ms + 999) / 1000) : 1;
    json_t *body =
        json_pack("{s:I, s:{s:s}}", "gracePeriodSeconds", grace, "preconditions", "uid", t->id.uid);
    char path[KUBE_PATH_MAX];

    kube_pod_path(path, &t->id, "");
    kube_send(t, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_stopped);
    json_decref(body);
}

/* ---- DISCARD ---- */

json_t *kube_release_finalizer(const struct kube_id *id)
{
    return json_pack("{s:{s:s, s:[s]}}", "metadata", "uid", id->uid, "$deleteFromPrimitiveList/finalizers",
                     KUBE_FINALIZER);
}

static void on_finalizer_off(struct kube_task *t, const struct kube_reply *reply)
{
    if (kube_lost(reply) ||
        (reply->status != 200 && reply->status != 404 && reply->status != 409 && reply->status != 422))
        kube_answer_unreachable(t, reply); /* the sweep finds it */
    else
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
}

static void on_discarded(struct kube_task *t, const struct kube_reply *reply)
{
    char path[KUBE_PATH_MAX];
    json_t *body;

    if (kube_lost(reply) || (reply->status != 200 && reply->status != 202)) {
        on_finalizer_off(t, reply);
        return;
    }
    body = kube_release_finalizer(&t->id);
    kube_pod_path(path, &t->id, "?fieldManager=cronsched");
    kube_send(t, &(struct kube_call){.method = "PATCH", .path = path, .body = body, .type = KUBE_STRATEGIC},
              on_finalizer_off);
    json_decref(body);
}

/* A released one that was withdrawn goes by the sweep, which looks at what became of it. */
static void on_discard_look(struct kube_task *t, const struct kube_reply *reply)
{
    struct kube_state pod;
    char path[KUBE_PATH_MAX];
    json_t *body;

    if (is_gone(t, reply)) {
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
    } else if (!is_found(t, reply, &pod)) {
        kube_answer_unreachable(t, reply);
    } else if (!pod.gated) {
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
    } else {
        body = json_pack("{s:i, s:{s:s, s:s}}", "gracePeriodSeconds", 0, "preconditions", "uid", pod.id.uid,
                         "resourceVersion", pod.version);
        kube_pod_path(path, &t->id, "");
        kube_send(t, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_discarded);
        json_decref(body);
    }
}

void kube_discard_begin(struct kube_task *t)
{
    look(t, on_discard_look);
}
