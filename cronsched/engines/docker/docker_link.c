/* The link: is the engine there, and in which version does it speak?
 *
 * The happy path: probe (/version, /info after each loss, the mark of docker_identity.c) -> UP: open the stream of events, look at all
 * that is watched, let the pump go; probe again every `ping_ms`. A call that was certainly not sent
 * means DOWN at once; one that got no answer, or a stream of events that ends, brings the next probe forward.
 * A probe that fails means DOWN: watches are told, what waits is refused, and probes go on with back-off. An
 * engine that restarts between two probes is noticed by its stream.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY_AGAIN_MS 1000

static void on_probe_timer(uv_timer_t *timer);

static void probe_in(struct docker *d, int64_t ms)
{
    if (!d->tasks.closing)
        loop_timer_start(&d->probe_timer, on_probe_timer, (uint64_t)ms, 0);
}

static void link_lost(struct docker *d, const char *why)
{
    bool was_down = d->link == DOCKER_LINK_DOWN;

    snprintf(d->why, sizeof(d->why), "%s: %s", d->endpoint.text, why);
    d->link = DOCKER_LINK_DOWN;
    d->boot_id[0] = '\0';
    d->identity_state = DOCKER_IDENTITY_UNREAD;
    docker_events_close(d);
    docker_sweep_stop(d);
    if (!was_down) {
        d->link_number++;
        docker_watches_link_down(d);
        docker_cut_all(d);
    }
    tasks_pump_soon(&d->tasks);
}

static void link_up(struct docker *d)
{
    bool was_up = d->link == DOCKER_LINK_UP;

    if (!was_up)
        docker_sweep_timer_start(d);
    d->failures = 0;
    d->link = DOCKER_LINK_UP;
    if (!d->events) {
        docker_stray_soon(d);
        docker_events_open(d);
        docker_watches_link_up(d);
    }
    tasks_pump_soon(&d->tasks);
    probe_in(d, d->ping_ms);
    if (!was_up)
        d->host->back(d->host, &d->engine);
}

void docker_link_failed(struct docker *d, const struct docker_reply *reply)
{
    int64_t wait = DOCKER_RETRY_FIRST_MS;
    char why[160];

    if (docker_lost(reply))
        snprintf(why, sizeof(why), "%s", reply->text);
    else
        snprintf(why, sizeof(why), "HTTP %d: %.120s", reply->status, reply->text);
    for (int i = 0; i < d->failures && wait < DOCKER_RETRY_MAX_MS; i++)
        wait *= 2;
    d->failures++;
    link_lost(d, why);
    probe_in(d, wait < DOCKER_RETRY_MAX_MS ? wait : DOCKER_RETRY_MAX_MS);
}

void docker_link_ask(struct docker *d, const struct docker_call *call,
                     void (*done)(void *arg, const struct http_answer *answer))
{
    struct error error = {0};
    struct docker_call c = *call;

    c.timeout_ms = d->ping_ms;
    d->probe = docker_open(d, &c, &(struct client_request){.done = done, .arg = d}, &error);
    if (!d->probe)
        docker_link_failed(d, &(struct docker_reply){.outcome = HTTP_NOT_SENT, .text = error.text});
}

static void probe_send(struct docker *d, const char *path, void (*done)(void *, const struct http_answer *))
{
    docker_link_ask(d, &(struct docker_call){.method = "GET", .path = path}, done);
}

void docker_link_identified(struct docker *d, bool replaced)
{
    bool was_up = d->link == DOCKER_LINK_UP;

    link_up(d);
    docker_watches_identified(d);
    if (replaced && was_up && !d->tasks.closing)
        d->host->back(d->host, &d->engine); /* what is not released yet is prepared again, here */
    if (d->identity_state == DOCKER_IDENTITY_UNREAD && !d->tasks.closing)
        probe_in(d, d->ping_ms < IDENTITY_AGAIN_MS ? d->ping_ms : IDENTITY_AGAIN_MS); /* of which cluster? */
}

static void on_info(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    d->probe = NULL;
    if (reply.status == 200 && !json_is_object(json)) {
        reply.complete = false; /* as above */
        reply.text = "the answer to /info is invalid";
    }
    if (docker_lost(&reply) || reply.status != 200) {
        docker_link_failed(d, &reply);
    } else {
        const char *id = json_string_value(json_object_get(json, "ID"));

        const char *driver = json_string_value(json_object_get(json, "LoggingDriver"));

        snprintf(d->log_driver, sizeof(d->log_driver), "%s", driver ? driver : "");
        snprintf(d->daemon_id, sizeof(d->daemon_id), "%s", id ? id : "");
        d->clock_offset_ms = docker_clock_offset_ms(json, d->host->now_ms(d->host));
        d->live_restore = json_is_true(json_object_get(json, "LiveRestoreEnabled"));
        docker_identity_read(d);
    }
    json_decref(json);
}

static void on_version(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    d->probe = NULL;
    if (docker_lost(&reply) || reply.status != 200) {
        docker_link_failed(d, &reply);
    } else if (!docker_api_choose(json, d->api, d->version)) {
        reply.complete = false; /* no HTTP error: the text alone is reported */
        reply.text = "unsupported Docker API version (need 1.40 to 1.47)";
        docker_link_failed(d, &reply);
    } else if (d->link == DOCKER_LINK_UP && d->events) {
        docker_identity_read(d);
    } else {
        char path[32];

        snprintf(path, sizeof(path), "%s/info", d->api);
        probe_send(d, path, on_info);
    }
    json_decref(json);
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct docker *d = OBJECT(struct docker, timer->data);

    char refused[sizeof(d->refused)];
    memcpy(refused, d->refused, sizeof(refused));
    d->refused[0] = '\0';
    if (refused[0])
        link_lost(d, refused);
    if (!d->probe && !d->tasks.closing)
        probe_send(d, "/version", on_version);
}

/* The next turn of the loop, and not from within: the loss of the link answers tasks, maybe the caller's. */
static void probe_soon(struct docker *d)
{
    probe_in(d, 0);
}

void docker_link_start(struct docker *d)
{
    d->probe_soon = probe_soon;
    probe_in(d, 0);
    docker_looks_timer_start(d);
    docker_stray_timer_start(d);
}

void docker_link_stop(struct docker *d)
{
    http_call_cancel(d->probe);
    d->probe = NULL;
    docker_events_close(d);
}

void docker_answer_unreachable(struct docker_task *task, const struct docker_reply *reply)
{
    struct docker *d = task->docker;
    char text[DOCKER_TEXT_MAX];

    if (docker_lost(reply)) {
        snprintf(text, sizeof(text), "%s: %s", d->endpoint.text, reply->text);
        docker_link_suspect(d, reply);
    } else {
        snprintf(text, sizeof(text), "%s: HTTP %d: %s", d->endpoint.text, reply->status, reply->text);
    }
    task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "%s", text);
}
