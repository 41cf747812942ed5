/* STOP: the stop signal, after the grace the kill. The engine does both by itself, also when whoever asked is gone.
 *
 * A leader that takes over during the grace does not know whether the one before it had asked. The engine does: where its
 * events have the signal it is not sent a second time, which many programs take for "at once, without cleaning up", and
 * the grace goes on. Where the engine does not remember, the container is asked, perhaps again.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/fault.h"
#include "jobs/base/percent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLACK_MS 2000 /* between the record of a stop and its signal, as two clocks have it */

static int64_t grace_s(const struct docker_task *t)
{
    return (t->task.q.job->stop_grace_ms + 999) / 1000;
}

static void on_killed(struct docker_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply) || (reply->status >= 500 && reply->status != 500))
        docker_answer_unreachable(t, reply);
    else
        task_answer_text(&t->task, ENGINE_DONE, -1, "%s", reply->status < 300 ? "killed" : reply->text);
}

static void send_kill(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    docker_container_path(t, "/kill", path, sizeof(path));
    docker_send(t, &(struct docker_call){.method = "POST", .path = path, .query = "signal=KILL"}, on_killed);
}

static void on_stopped(struct docker_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply))
        docker_answer_unreachable(t, reply);
    else if (reply->status < 500) /* 204, 304: it had ended, 404: it is gone */
        task_answer_text(&t->task, ENGINE_DONE, -1, "%s", reply->status < 300 ? "stopped" : reply->text);
    else
        send_kill(t);
}

static void send_stop(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX], query[32];

    docker_container_path(t, "/stop", path, sizeof(path));
    snprintf(query, sizeof(query), "t=%lld", (long long)grace_s(t));
    docker_send(
        t,
        &(struct docker_call){
            .method = "POST", .path = path, .query = query, .timeout_ms = grace_s(t) * 1000 + DOCKER_CALL_MS},
        on_stopped);
}

/* ---- whether it was asked before ---- */

struct asked {
    const struct docker_task *task;
    int64_t at_ms; /* the first signal of those that are not too old; 0: none */
    int64_t since_ms;
};

static void on_event(void *arg, const char *line, size_t len)
{
    struct asked *asked = arg;
    json_t *json;

    if (json_text_object(line, len, "event", &json, NULL) == 0) {
        const json_t *of = json_object_get(json_object_get(json, "Actor"), "Attributes");
        const char *signal = json_string_value(json_object_get(of, "signal"));
        int64_t at_ms = json_integer_value(json_object_get(json, "timeNano")) / 1000000;

        if (!asked->at_ms && at_ms >= asked->since_ms && signal &&
            docker_watch_ends_by(asked->task->docker, asked->task->task.q.id, (int)strtol(signal, NULL, 10)))
            asked->at_ms = at_ms;
    }
    json_decref(json);
}

static void on_kill_events(struct docker_task *t, const struct docker_reply *reply)
{
    int64_t now_ms = t->docker->host->now_ms(t->docker->host), rest_ms;
    int64_t engine_ms = now_ms + t->docker->clock_offset_ms;
    struct asked asked = {.task = t, .since_ms = engine_ms - (now_ms - t->task.q.stopping_ms) - SLACK_MS};
    struct lines lines = {.max = DOCKER_LINE_MAX, .line = on_event, .arg = &asked};

    if (docker_lost(reply)) {
        docker_answer_unreachable(t, reply);
        return;
    }
    if (reply->status == 200)
        lines_feed(&lines, reply->body, strlen(reply->body));
    lines_release(&lines);
    rest_ms = asked.at_ms + grace_s(t) * 1000 - engine_ms;
    if (!asked.at_ms)
        send_stop(t);
    else
        docker_wake_in(t, rest_ms > 0 ? rest_ms : 0, send_kill);
}

static void look_for_signal(struct docker_task *t)
{
    const struct docker *d = t->docker;
    int64_t engine_ms = d->host->now_ms(d->host) +
                        d->clock_offset_ms; /* without an end the events never end */
    char filters[DOCKER_PATH_MAX], query[DOCKER_PATH_MAX * 2];

    snprintf(query, sizeof(query), "since=1&until=%lld.%03d&filters=", (long long)(engine_ms / 1000),
             (int)(engine_ms % 1000));
    snprintf(filters, sizeof(filters),
             "{\"type\":[\"container\"],\"event\":[\"kill\"],\"container\":[\"%.*s\"]}", DOCKER_ID_MAX,
             t->task.q.id);
    percent_append(query, sizeof(query), filters); /* it fits: an id is short */
    docker_send(t, &(struct docker_call){.method = "GET", .path = "/events", .query = query}, on_kill_events);
}

/* The answer to a stop comes when it has worked, so after the grace: others get its place meanwhile. */
void docker_stop_begin(struct docker_task *t)
{
    FAULT_POINT("docker.stop", t->task.q.run);
    docker_watch_stopping(t->docker, t->task.q.id);
    task_step_aside(&t->task);
    if (t->task.q.asked_before)
        look_for_signal(t);
    else
        send_stop(t);
}
