/* RELEASE and DISCARD.
 *
 * RELEASE sends the one start request, on a connection of its own, and is done with it: whatever comes back,
 * it is not sent again. What the answers mean:
 *
 *   204         STARTED, at the time that the engine has for it
 *   304         it runs already: STARTED, and somebody else has done so
 *   400         the command could not be executed: REFUSED with the exit code 127 or 126
 *   404         no such container: UNKNOWN for the scheduler, which fences; the id is remembered, so that the
 *               fence knows that no start took place. Another 404 (a network is missing): REFUSED
 *   5xx         REFUSED when the text proves that nothing was executed
 *   others      as 409, of one that is paused or being removed, and 5xx: REFUSED when it was not started and has no
 *               witness, and its engine has lived all the time: a volume cannot be mounted, the log driver does not
 *               start, no address is left. Else UNKNOWN
 *   no answer   UNREACHABLE when not a byte was sent, else UNKNOWN
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/fault.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <stdio.h>
#include <string.h>

/* ---- RELEASE ---- */

bool docker_id_refused(const struct docker *d, const char *id)
{
    for (size_t i = 0; i < DOCKER_REFUSED_IDS; i++)
        if (strcmp(d->refused_ids[i], id) == 0)
            return true;
    return false;
}

static void remember_refused(struct docker *d, const char *id)
{
    char *slot = d->refused_ids[d->refused_next++ % DOCKER_REFUSED_IDS];

    snprintf(slot, DOCKER_ID_MAX, "%s", id);
}

/* The start went well; the time is the engine's if it tells, else ours. */
static void on_started_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state = {0};

    if (docker_lost(reply) || reply->status != 200 || docker_state_read(reply->json, &state) < 0 ||
        !state.started_ms)
        state.started_ms = t->docker->host->now_ms(t->docker->host);
    task_answer(&t->task, &(struct engine_answer){
                              .event = ENGINE_STARTED, .started_ms = state.started_ms, .exit_code = -1});
}

/* Somebody else was first. What it does now the watch finds out; a second start would be one too many. */
static void answer_foreign_start(struct docker_task *t, const struct docker_state *state)
{
    char time[TEXT_NUMBER_BUFFER] = "at an unknown time", text[DOCKER_TEXT_MAX];

    if (state->started_ms)
        instant_format(state->started_ms, INSTANT_MS, time, sizeof(time));
    snprintf(text, sizeof(text),
             "somebody else had started the container before its release (%s); it was not started again",
             time);
    task_answer(&t->task,
                &(struct engine_answer){
                    .event = ENGINE_STARTED, .started_ms = state->started_ms, .exit_code = -1, .text = text});
}

static void on_foreign_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state = {0};

    if (!docker_lost(reply) && reply->status == 200 && docker_state_read(reply->json, &state) < 0)
        state.started_ms = 0;
    answer_foreign_start(t, &state);
}

static void refuse_start(struct docker_task *t, int exit_code)
{
    char text[DOCKER_TEXT_MAX * 2];

    task_answer_text(&t->task, ENGINE_REFUSED, docker_start_exit_code(exit_code, t->failure), "%s",
                     docker_start_explain(exit_code, t->failure, text, sizeof(text)));
}

/* A 400 has its exit code in the state. */
static void on_refused_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state = {0};

    if (docker_lost(reply) || reply->status != 200 || docker_state_read(reply->json, &state) < 0 ||
        docker_state_started(&state) || !state.error[0])
        state.exit_code = strstr(t->failure, "permission denied") ? 126 : 127;
    refuse_start(t, state.exit_code);
}

static void look(struct docker_task *t, docker_done *done)
{
    char path[DOCKER_PATH_MAX];

    docker_container_path(t, "/json", path, sizeof(path));
    docker_send(t, &(struct docker_call){.method = "GET", .path = path}, done);
}

/* ---- a start that failed, with words that prove nothing ---- */

static void answer_failed(struct docker_task *t)
{
    task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "the start was answered with an error: %s", t->failure);
}

/* Only one start is ever sent, and it is over. A host that fell since would have broken the stream of events. */
static void on_failed_changes(struct docker_task *t, const struct docker_reply *reply)
{
    bool there = true;

    if (!docker_lost(reply) && docker_witness_seen(t, reply, &there) == 200 && !there &&
        docker_prepared_is_untouched(t->docker, t->task.q.id))
        refuse_start(t, -1);
    else
        answer_failed(t);
}

static void on_failed_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state = {0};

    if (docker_lost(reply) || reply->status != 200 || docker_state_read(reply->json, &state) < 0 ||
        state.status != DOCKER_CREATED || docker_state_started(&state) || !state.error[0]) {
        answer_failed(t);
        return;
    }
    docker_witness_read(reply->json, t->witness, sizeof(t->witness));
    if (t->witness[0])
        docker_witness_look(t, on_failed_changes);
    else
        answer_failed(t);
}

static void on_start(struct docker_task *t, const struct docker_reply *reply)
{
    FAULT_POINT("docker.released", t->task.q.run);
    if (docker_lost(reply) && reply->outcome != HTTP_ANSWERED) {
        if (reply->outcome == HTTP_NOT_SENT) {
            docker_answer_unreachable(t, reply);
            return;
        }
        docker_link_suspect(t->docker, reply);
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "the reply to the start was lost: %s", reply->text);
        return;
    }
    snprintf(t->failure, sizeof(t->failure), "%s", reply->text);
    switch (reply->status) {
    case 204:
        look(t, on_started_state);
        return;
    case 304:
        look(t, on_foreign_state);
        return;
    case 400:
        look(t, on_refused_state);
        return;
    case 404:
        if (strstr(t->failure, "No such container")) {
            remember_refused(t->docker, t->task.q.id);
            task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                             "the container is gone: somebody removed it before its start");
        } else {
            refuse_start(t, -1);
        }
        return;
    default:
        if (reply->status >= 500 && docker_start_never_executed(0, t->failure))
            refuse_start(t, -1);
        else
            look(t, on_failed_state);
    }
}

static void send_start(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    docker_container_path(t, "/start", path, sizeof(path));
    docker_prepared_released(t->docker, t->task.q.id);
    FAULT_POINT("docker.release", t->task.q.run);
    docker_send(
        t, &(struct docker_call){.method = "POST", .path = path, .timeout_ms = DOCKER_START_MS, .once = true},
        on_start);
}

static void on_release_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state;
    int r = reply->status == 200 ? docker_state_read(reply->json, &state) : ERR_NOT_FOUND;

    if (docker_lost(reply) || (reply->status != 200 && reply->status != 404))
        docker_answer_unreachable(t, reply); /* nothing was sent that starts it, and it may run */
    else if (r == ERR_INVALID)
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s: the answer to inspect is invalid",
                         t->docker->endpoint.text); /* it may have been started already */
    else if (r == 0 && docker_state_started(&state))
        answer_foreign_start(t, &state);
    else
        send_start(t);
}

/* Where an event may have been missed, or one of a start was seen, it costs a look. */
void docker_release_begin(struct docker_task *t)
{
    if (docker_prepared_is_untouched(t->docker, t->task.q.id))
        send_start(t);
    else
        look(t, on_release_state);
}

/* ---- DISCARD ---- */

static void on_discarded(struct docker_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply) || reply->status >= 500)
        docker_answer_unreachable(t, reply);
    else
        task_answer_text(&t->task, ENGINE_DONE, -1, "%s", reply->status < 300 ? "removed" : reply->text);
}

static void on_discard_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state;
    char path[DOCKER_PATH_MAX];

    if (docker_lost(reply) || reply->status >= 500) {
        docker_answer_unreachable(t, reply);
    } else if (reply->status != 200) {
        task_answer_text(&t->task, ENGINE_DONE, -1, "%s", reply->text);
    } else if (docker_state_read(reply->json, &state) < 0 || docker_state_started(&state)) {
        task_answer_text(&t->task, ENGINE_DONE, -1, "it has been started, and stays");
    } else {
        docker_container_path(t, "", path, sizeof(path));
        docker_send(t, &(struct docker_call){.method = "DELETE", .path = path, .query = "v=1"}, on_discarded);
    }
}

void docker_discard_begin(struct docker_task *t)
{
    look(t, on_discard_state);
}
