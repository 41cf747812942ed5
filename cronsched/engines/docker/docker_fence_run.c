/* FENCE: drives jobs/engine/docker_fence.c. Every want is one HTTP request, or a wait; the stream of events stays
 * open beside it. Each request has a time limit of its own; one that is not answered ends the fence as
 * UNREACHABLE, and the scheduler comes again.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/fault.h"
#include "jobs/base/percent.h"

#include <stdio.h>
#include <string.h>

static void act(struct docker_task *t);

static void tell(struct docker_task *t, const struct docker_fact *fact)
{
    if (docker_fence_tell(&t->fence, fact))
        act(t);
}

static void tell_lost(struct docker_task *t, const struct docker_reply *reply)
{
    docker_link_suspect(t->docker, reply);
    tell(t, &(struct docker_fact){.kind = DOCKER_FACT_UNREACHABLE, .text = reply->text});
}

/* ---- the stream ---- */

static void tell_dropped(struct docker_task *t)
{
    if (t->fence.want != DOCKER_FENCE_DONE)
        docker_fence_tell(&t->fence, &(struct docker_fact){.kind = DOCKER_FACT_DROPPED});
}

static void on_event_line(void *arg, const char *line, size_t len)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker_fact fact;
    json_t *json;

    json_text_object(line, len, "event", &json, NULL);
    if (!json)
        tell_dropped(t);
    if (t->fence.want != DOCKER_FENCE_DONE && docker_event_read(json, t->task.q.id, &fact))
        t->fence_fresh |= docker_fence_tell(&t->fence, &fact);
    json_decref(json);
}

static bool on_stream_data(void *arg, const char *bytes, size_t size)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);

    if (!lines_feed(&t->lines, bytes, size))
        tell_dropped(t);
    if (t->fence_fresh)
        docker_wake_in(t, 0, act); /* not from within curl */
    t->fence_fresh = false;
    return true;
}

static void on_stream_opened(void *arg, int status)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);

    if (status == 200) {
        t->stream_opened = true;
        docker_fence_tell(&t->fence, &(struct docker_fact){.kind = DOCKER_FACT_OPENED});
        docker_wake_in(t, 0, act);
    }
}

static void on_stream_done(void *arg, const struct http_answer *answer)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    t->stream = NULL;
    if (t->stream_opened) {
        t->stream_opened = false;
        tell(t, &(struct docker_fact){.kind = DOCKER_FACT_CLOSED});
    } else {
        tell_lost(t, &reply);
    }
    json_decref(json);
}

static void on_stream_late(struct docker_task *t)
{
    tell(t, &(struct docker_fact){.kind = DOCKER_FACT_UNREACHABLE,
                                  .text = "the stream of events does not open"});
}

static void open_stream(struct docker_task *t)
{
    struct docker *d = t->docker;
    struct error error = {0};
    char path[64], filters[DOCKER_PATH_MAX], query[DOCKER_PATH_MAX * 2] = "since=1&filters=";
    struct docker_call call = {.method = "GET", .path = path, .query = query};

    http_call_cancel(t->stream);
    t->stream_opened = t->fence_fresh = false;
    lines_release(&t->lines);
    t->lines = (struct lines){.max = DOCKER_LINE_MAX, .line = on_event_line, .arg = t};
    snprintf(path, sizeof(path), "%s/events", d->api);
    snprintf(filters, sizeof(filters), "{\"type\":[\"container\"],\"container\":[\"%.*s\"]}", DOCKER_ID_MAX,
             t->task.q.id);
    percent_append(query, sizeof(query), filters); /* it fits: an id is short */
    t->stream = docker_open(d, &call,
                            &(struct client_request){.opened = on_stream_opened,
                                                     .data = on_stream_data,
                                                     .done = on_stream_done,
                                                     .arg = t,
                                                     .once = true},
                            &error);
    if (!t->stream)
        tell(t, &(struct docker_fact){.kind = DOCKER_FACT_UNREACHABLE, .text = error.text});
    else /* the engine sends the headers at once; one that does not is ill */
        docker_wake_in(t, t->docker->ping_ms, on_stream_late);
}

/* ---- requests ---- */

static void on_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state = {0};
    struct docker_fact fact = {
        .kind = DOCKER_FACT_STATE, .status = reply->status, .text = reply->text, .state = &state};

    if (docker_lost(reply)) {
        tell_lost(t, reply);
        return;
    }
    if (reply->status == 200) {
        if (docker_state_read(reply->json, &state) < 0) {
            fact.status = 500;
            fact.text = "the answer to inspect is invalid";
        }
        docker_witness_read(reply->json, t->witness, sizeof(t->witness));
        if (t->witness[0] && strstr(state.error, t->witness) && strcasestr(state.error, "not a directory"))
            state.error[0] = '\0'; /* of a start that met the seal */
    }
    tell(t, &fact);
}

static void on_sealed(struct docker_task *t, const struct docker_reply *reply)
{
    FAULT_POINT("docker.fence.sealed", t->task.q.run);
    if (docker_lost(reply))
        tell_lost(t, reply);
    else
        tell(t, &(struct docker_fact){.kind = DOCKER_FACT_SEALED,
                                      .status = docker_unmountable(reply) ? 500 : reply->status,
                                      .text = reply->text});
}

static void on_removed(struct docker_task *t, const struct docker_reply *reply)
{
    FAULT_POINT("docker.fence.removed", t->task.q.run);
    if (docker_lost(reply))
        tell_lost(t, reply);
    else
        tell(t, &(struct docker_fact){
                    .kind = DOCKER_FACT_REMOVED, .status = reply->status, .text = reply->text});
}

static void on_changes(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_fact fact = {.kind = DOCKER_FACT_CHANGES, .text = reply->text};

    if (docker_lost(reply)) {
        tell_lost(t, reply);
        return;
    }
    fact.status = docker_witness_seen(t, reply, &fact.witness);
    if (reply->status == 200 && fact.status != 200)
        fact.text = "the answer to changes is invalid";
    tell(t, &fact);
}

static void on_boot_id(struct docker_task *t, const char *boot_id)
{
    tell(t, &(struct docker_fact){.kind = DOCKER_FACT_BOOT_ID, .text = boot_id});
}

static void on_identity(struct docker_task *t, const struct docker_reply *reply)
{
    const char *identity = reply->status == 200 ? docker_identity_of(reply->json) : NULL;

    if (docker_lost(reply)) {
        tell_lost(t, reply);
        return;
    }
    if (!identity || strcmp(identity, t->task.q.identity) != 0)
        docker_identity_doubt(t->docker);
    tell(t, &(struct docker_fact){.kind = DOCKER_FACT_IDENTITY, .text = identity});
}

static void ask_identity(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    docker_identity_path(t->docker, path, sizeof(path));
    docker_send(t, &(struct docker_call){.method = "GET", .path = path}, on_identity);
}

static void on_quiet(struct docker_task *t)
{
    tell(t, &(struct docker_fact){.kind = DOCKER_FACT_QUIET});
}

static void inspect(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    snprintf(path, sizeof(path), "/containers/%.*s/json", DOCKER_ID_MAX, t->task.q.id);
    docker_send(t, &(struct docker_call){.method = "GET", .path = path}, on_state);
}

/* A container without the label of its witness is none of ours: nothing can be proved of it. */
static void on_foreign(struct docker_task *t)
{
    task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "it is there, and bears no label of a start witness");
}

static void seal(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX],
        query[DOCKER_PATH_MAX] = "noOverwriteDirNonDir=true&path=", folder[DOCKER_WITNESS_MAX];
    char archive[DOCKER_SEAL_BYTES];
    int n = docker_witness_folder(t->witness);

    if (!t->witness[0]) {
        docker_wake_in(t, 0, on_foreign);
        return;
    }
    docker_seal_archive(t->witness + n, archive);
    snprintf(folder, sizeof(folder), "%.*s", n > 0 ? n : 1, t->witness);
    percent_append(query, sizeof(query), folder); /* it fits: a witness is short */
    snprintf(path, sizeof(path), "/containers/%.*s/archive", DOCKER_ID_MAX, t->task.q.id);
    FAULT_POINT("docker.fence.seal", t->task.q.run);
    docker_send(
        t,
        &(struct docker_call){
            .method = "PUT", .path = path, .query = query, .body = archive, .body_size = sizeof(archive)},
        on_sealed);
}

static void remove_container(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    snprintf(path, sizeof(path), "/containers/%.*s", DOCKER_ID_MAX, t->task.q.id);
    FAULT_POINT("docker.fence.remove", t->task.q.run);
    docker_send(t, &(struct docker_call){.method = "DELETE", .path = path, .query = "v=1"}, on_removed);
}

/* ---- the verdict ---- */

static void answer(struct docker_task *t)
{
    const struct docker_verdict *v = &t->fence.verdict;
    struct engine_answer a = {
        .event = v->event,
        .started_ms = v->started_ms,
        .at_ms = v->at_ms,
        .exit_code = v->exit_code,
        .text = v->text,
    };

    if (v->event == ENGINE_ENDED)
        a.cause = v->exit_code > 128 ? "signal" : "exit";
    FAULT_POINT("docker.fence.verdict", t->task.q.run);
    task_answer(&t->task, &a);
}

static void act(struct docker_task *t)
{
    t->task.wake_ms = 0;
    switch (t->fence.want) {
    case DOCKER_FENCE_OPEN_EVENTS:
        open_stream(t);
        break;
    case DOCKER_FENCE_INSPECT:
        inspect(t);
        break;
    case DOCKER_FENCE_SEAL:
        seal(t);
        break;
    case DOCKER_FENCE_REMOVE:
        remove_container(t);
        break;
    case DOCKER_FENCE_CHANGES:
        docker_witness_look(t, on_changes);
        break;
    case DOCKER_FENCE_BOOT_ID:
        docker_boot_id_read(t, on_boot_id);
        break;
    case DOCKER_FENCE_IDENTITY:
        ask_identity(t);
        break;
    case DOCKER_FENCE_WAIT:
        docker_wake_in(t, DOCKER_FENCE_WAIT_MS, on_quiet);
        break;
    case DOCKER_FENCE_DONE:
        answer(t);
        break;
    }
}

/* A start may have been sent: when somebody says so, or when a leader whose clock is ahead of ours may have
 * found that its time had come. Not when the engine answered our own one with "no such container". */
static bool may_have_run(const struct docker_task *t)
{
    const struct docker *d = t->docker;

    if (docker_id_refused(d, t->task.q.id))
        return false;
    return t->task.q.may_have_run || d->host->now_ms(d->host) + DOCKER_CLOCK_MARGIN_MS >= t->task.q.fire_ms;
}

void docker_fence_begin(struct docker_task *t)
{
    docker_fence_init(&t->fence, may_have_run(t), t->task.q.boot_id, t->task.q.identity);
    act(t);
}
