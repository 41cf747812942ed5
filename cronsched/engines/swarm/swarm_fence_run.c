/* FENCE: sends what jobs/engine/swarm_fence.c wants, and tells it the facts. A request without an answer makes the link look
 * for another manager; the next request waits a moment for that.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/fault.h"

#include <stdio.h>

#define AGAIN_MS 1000 /* until a manager has been found that answers */

static void go_on(struct swarm_task *t);

/* So that what follows is said of no answer, or of one that cannot be read. */
static void tell(struct swarm_task *t, const struct swarm_fact *fact, bool lost)
{
    swarm_fence_tell(&t->fence, fact);
    if (t->fence.want == SWARM_FENCE_DONE) {
        FAULT_POINT("swarm.fenced", t->task.q.run);
        task_answer_text(&t->task, t->fence.verdict.event, -1, "%s", t->fence.verdict.text);
        return;
    }
    if (lost)
        swarm_link_suspect(t->swarm);
    if (lost)
        swarm_wake_in(t, AGAIN_MS, go_on);
    else
        go_on(t);
}

static void tell_lost(struct swarm_task *t, const struct docker_reply *reply)
{
    tell(t, &(struct swarm_fact){.kind = SWARM_FACT_UNREACHABLE, .text = reply->text}, true);
}

static void on_look(struct swarm_task *t, const struct docker_reply *reply)
{
    struct swarm_fact fact = {.kind = SWARM_FACT_SERVICE, .status = reply->status, .text = reply->text};
    struct swarm_service service;

    if (docker_lost(reply) || (reply->status == 200 && !swarm_service_read(reply->json, &service))) {
        tell_lost(t, reply);
        return;
    }
    if (reply->status == 200) {
        fact.version = service.version;
        fact.replicas = service.replicas;
        fact.released = service.released;
        json_decref(t->spec);
        t->spec = json_incref(service.spec);
    }
    tell(t, &fact, reply->status >= 500);
}

static void on_labelled(struct swarm_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply))
        tell_lost(t, reply);
    else
        tell(t,
             &(struct swarm_fact){.kind = SWARM_FACT_LABELLED, .status = reply->status, .text = reply->text},
             false);
}

static void on_cluster(struct swarm_task *t, const struct docker_reply *reply)
{
    const json_t *swarm = json_object_get(reply->json, "Swarm");
    const char *id = json_string_value(json_object_get(json_object_get(swarm, "Cluster"), "ID"));

    if (docker_lost(reply) || reply->status != 200)
        tell_lost(t, reply);
    else
        tell(t, &(struct swarm_fact){.kind = SWARM_FACT_CLUSTER, .text = id}, false);
}

static void send_label(struct swarm_task *t)
{
    json_t *spec = swarm_spec_changed(t->spec, -1, "cronsched.epoch", t->fence.epoch);
    char path[SWARM_PATH_MAX], rest[48];

    snprintf(rest, sizeof(rest), "/update?version=%llu", (unsigned long long)t->fence.version);
    swarm_service_path(path, t->task.q.id, rest);
    swarm_send(t, &(struct swarm_call){.method = "POST", .path = path, .body = spec}, on_labelled);
    json_decref(spec);
}

static void go_on(struct swarm_task *t)
{
    char path[SWARM_PATH_MAX];

    if (t->fence.want == SWARM_FENCE_LABEL) {
        send_label(t);
    } else if (t->fence.want == SWARM_FENCE_CLUSTER) {
        swarm_send(t, &(struct swarm_call){.method = "GET", .path = "/info"}, on_cluster);
    } else {
        swarm_service_path(path, t->task.q.id, "");
        swarm_send(t, &(struct swarm_call){.method = "GET", .path = path}, on_look);
    }
}

void swarm_fence_begin_task(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    swarm_fence_begin(&t->fence, t->task.q.id, t->task.q.identity, s->host->epoch(s->host),
                      t->task.q.may_have_run && !swarm_id_gone(s, t->task.q.id));
    go_on(t);
}
