/* RELEASE, STOP and DISCARD: each looks at the service, then sends one update, or one DELETE, about what it saw.
 *
 * RELEASE: the service has no replica, was never released, and its label is the epoch that prepared it: POST update to one
 * replica at the version that was seen, on a connection of its own, once. 200: ACCEPTED. It is not sent again whatever the
 * answer is, since any other one may come although it was applied: UNKNOWN, and the scheduler fences. Before it has
 * been sent nothing is unknown: UNREACHABLE. A service that is not there can never be released; its id is kept for the
 * fence.
 *
 * STOP: POST update with a constraint that no node meets: Swarm ends the task and puts another one in its place, which is
 * never placed. To scale it to no replica would do, too, but then the task goes with its exit code and its log as soon as it
 * has ended. The watch sees the end. DISCARD: DELETE, unless something may run.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/fault.h"

#include <stdio.h>
#include <string.h>

static void look(struct swarm_task *t, swarm_done *done)
{
    char path[SWARM_PATH_MAX];

    swarm_service_path(path, t->task.q.id, "");
    swarm_send(t, &(struct swarm_call){.method = "GET", .path = path}, done);
}

static void update(struct swarm_task *t, const struct swarm_service *service, json_t *spec, swarm_done *done)
{
    char path[SWARM_PATH_MAX], rest[48];

    snprintf(rest, sizeof(rest), "/update?version=%llu", (unsigned long long)service->version);
    swarm_service_path(path, t->task.q.id, rest);
    swarm_send(t,
               &(struct swarm_call){
                   .method = "POST", .path = path, .body = spec, .once = t->task.op == ENGINE_RELEASE},
               done);
    json_decref(spec);
}

/* ---- RELEASE ---- */

bool swarm_id_gone(const struct swarm *s, const char *id)
{
    for (size_t i = 0; i < SWARM_GONE_IDS; i++)
        if (strcmp(s->gone_ids[i], id) == 0)
            return true;
    return false;
}

static void answer_gone(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    snprintf(s->gone_ids[s->gone_next++ % SWARM_GONE_IDS], SWARM_ID_MAX, "%s", t->task.q.id);
    task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                     "its service was removed by somebody else before its release");
}

static void on_released(struct swarm_task *t, const struct docker_reply *reply)
{
    FAULT_POINT("swarm.released", t->task.q.run);
    if (!docker_lost(reply) && reply->status == 200) {
        swarm_poll_soon(t->swarm);
        task_answer_text(&t->task, ENGINE_ACCEPTED, -1, "the Swarm looks for a node%s",
                         t->guarded ? "" : "; not guarded against a second start by it");
    } else if (reply->outcome == HTTP_NOT_SENT) {
        swarm_answer_unreachable(t, reply);
    } else if (!docker_lost(reply) && reply->status == 404) {
        answer_gone(t);
    } else {
        if (docker_lost(reply))
            swarm_link_suspect(t->swarm);
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "the manager does not say that it is released: %s",
                         reply->text);
    }
}

static void on_release_look(struct swarm_task *t, const struct docker_reply *reply)
{
    struct swarm_service service;

    if (!docker_lost(reply) && reply->status == 404) {
        answer_gone(t);
    } else if (docker_lost(reply) || reply->status != 200 || !swarm_service_read(reply->json, &service)) {
        swarm_answer_unreachable(t, reply);
    } else if (service.released || service.replicas != 0) {
        task_answer_text(&t->task, ENGINE_ACCEPTED, -1, "somebody else had scaled it before its release");
    } else if (service.epoch != t->task.q.epoch) {
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                         "another leader has fenced it: its label is epoch %lld", (long long)service.epoch);
    } else {
        FAULT_POINT("swarm.release", t->task.q.run);
        t->guarded = swarm_guard_is_applied(service.spec);
        update(t, &service, swarm_spec_changed(service.spec, 1, "cronsched.released", t->task.q.epoch),
               on_released);
        FAULT_POINT("swarm.sent", t->task.q.run);
    }
}

void swarm_release_begin(struct swarm_task *t)
{
    look(t, on_release_look);
}

/* ---- STOP ---- */

static void on_stopped(struct swarm_task *t, const struct docker_reply *reply)
{
    FAULT_POINT("swarm.stopped", t->task.q.run);
    if (docker_lost(reply) || (reply->status != 200 && reply->status != 404)) {
        swarm_answer_unreachable(t, reply); /* the scheduler comes again */
        return;
    }
    swarm_watch_stopping(t->swarm, t->task.q.id);
    task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
}

static void on_stop_look(struct swarm_task *t, const struct docker_reply *reply)
{
    struct swarm_service service;

    if (!docker_lost(reply) && reply->status == 404) {
        on_stopped(t, reply);
    } else if (docker_lost(reply) || reply->status != 200 || !swarm_service_read(reply->json, &service)) {
        swarm_answer_unreachable(t, reply);
    } else if (service.replicas == 0 || service.stopped) { /* by somebody else, or by an earlier STOP */
        on_stopped(t, reply);
    } else {
        update(t, &service, swarm_spec_stopped(service.spec), on_stopped);
    }
}

void swarm_stop_begin(struct swarm_task *t)
{
    look(t, on_stop_look);
}

/* ---- DISCARD ---- */

static void on_discarded(struct swarm_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply) || (reply->status != 200 && reply->status != 404))
        swarm_answer_unreachable(t, reply); /* the sweep finds it */
    else
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
}

/* A released one that was withdrawn goes by the sweep, which looks at its tasks. */
static void on_discard_look(struct swarm_task *t, const struct docker_reply *reply)
{
    struct swarm_service service;
    char path[SWARM_PATH_MAX];

    if (docker_lost(reply) || reply->status != 200 || !swarm_service_read(reply->json, &service)) {
        on_discarded(t, reply);
    } else if (service.released || service.replicas != 0) {
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_DONE, .exit_code = -1});
    } else {
        swarm_service_path(path, t->task.q.id, "");
        swarm_send(t, &(struct swarm_call){.method = "DELETE", .path = path}, on_discarded);
    }
}

void swarm_discard_begin(struct swarm_task *t)
{
    look(t, on_discard_look);
}
