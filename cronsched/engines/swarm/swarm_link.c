/* The link: does a manager answer, and of which Swarm?
 *
 * The happy path: probe (/version, /info) -> UP: poll, let the pump go; probe again every `ping_ms`. A call without an
 * answer brings the next probe forward. A probe that fails goes on at once with the next manager; when all of them have
 * failed the link is DOWN: watches are told, what waits is refused, and probes go on with back-off. A node that is no
 * manager, or of another Swarm than the first one that answered, fails, too.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "leader/worker/loop.h"

#include <stdio.h>
#include <string.h>

static void on_probe_timer(uv_timer_t *timer);

static void probe_in(struct swarm *s, int64_t ms)
{
    if (!s->tasks.closing)
        loop_timer_start(&s->probe_timer, on_probe_timer, (uint64_t)ms, 0);
}

static void link_lost(struct swarm *s)
{
    bool was_down = s->link == SWARM_LINK_DOWN;

    s->link = SWARM_LINK_DOWN;
    swarm_sweep_stop(s);
    if (!was_down) {
        s->losses++;
        swarm_watches_link_down(s);
    }
    tasks_pump_soon(&s->tasks);
}

/* replaced: the one manager is of another Swarm than before; what is not released yet is prepared again, here. */
static void link_up(struct swarm *s, bool replaced)
{
    bool was_up = s->link == SWARM_LINK_UP;

    s->failures = 0;
    s->link = SWARM_LINK_UP;
    probe_in(s, s->ping_ms);
    if (was_up && replaced)
        s->host->back(s->host, &s->engine);
    if (was_up)
        return;
    swarm_sweep_timer_start(s);
    swarm_watches_link_up(s);
    tasks_pump_soon(&s->tasks);
    s->host->back(s->host, &s->engine);
}

static int64_t back_off_ms(const struct swarm *s)
{
    int64_t wait = SWARM_RETRY_FIRST_MS;

    if (s->failures < s->endpoint_count)
        return 0;
    for (int i = s->endpoint_count; i < s->failures && wait < SWARM_RETRY_MAX_MS; i += s->endpoint_count)
        wait *= 2;
    return wait < SWARM_RETRY_MAX_MS ? wait : SWARM_RETRY_MAX_MS;
}

static void probe_failed(struct swarm *s, const char *why)
{
    snprintf(s->why, sizeof(s->why), "%.100s: %.150s", s->endpoints[s->at].text, why);
    s->at = (s->at + 1) % s->endpoint_count;
    s->failures++;
    if (s->failures >= s->endpoint_count)
        link_lost(s);
    probe_in(s, back_off_ms(s));
}

static void probe_send(struct swarm *s, const char *path, void (*done)(void *, const struct http_answer *))
{
    struct swarm_call call = {.method = "GET", .path = path, .timeout_ms = s->ping_ms, .plain = true};
    struct error error = {0};

    s->probe = swarm_open(s, &call, &(struct client_request){.done = done, .arg = s}, &error);
    if (!s->probe)
        probe_failed(s, error.text);
}

/* NULL: this manager will do. */
static const char *why_not(struct swarm *s, const struct docker_reply *reply)
{
    const json_t *swarm = json_object_get(reply->json, "Swarm");
    const char *id = json_string_value(json_object_get(json_object_get(swarm, "Cluster"), "ID"));

    if (docker_lost(reply) || reply->status != 200)
        return reply->text;
    if (!json_is_true(json_object_get(swarm, "ControlAvailable")))
        return "this node is not a manager of a Swarm: name a manager";
    if (!id || !swarm_id_valid(id))
        return "the manager does not tell the id of its Swarm";
    if (s->cluster_id[0] && s->endpoint_count > 1 && strcmp(s->cluster_id, id) != 0)
        return "this manager is of another Swarm than the others";
    return NULL;
}

/* What doctor warns of. */
static void read_settings(struct swarm *s, const json_t *swarm, const struct docker_reply *reply)
{
    const json_t *spec = json_object_get(json_object_get(swarm, "Cluster"), "Spec");
    const json_t *history =
        json_object_get(json_object_get(spec, "Orchestration"), "TaskHistoryRetentionLimit");
    const json_t *period = json_object_get(json_object_get(spec, "Dispatcher"), "HeartbeatPeriod");

    s->nodes = (int)json_integer_value(json_object_get(swarm, "Nodes"));
    s->managers = (int)json_integer_value(json_object_get(swarm, "Managers"));
    s->heartbeat_ms = json_integer_value(period) / 1000000;
    s->history = json_is_integer(history) ? json_integer_value(history) : -1;
    s->clock_ms = reply->date_ms ? reply->date_ms - s->host->now_ms(s->host) : 0;
}

static void on_info(void *arg, const struct http_answer *answer)
{
    struct swarm *s = OBJECT(struct swarm, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    const char *why = why_not(s, &reply);
    const json_t *swarm = json_object_get(json, "Swarm");

    s->probe = NULL;
    if (why) {
        probe_failed(s, why);
    } else {
        const char *id = json_string_value(json_object_get(json_object_get(swarm, "Cluster"), "ID"));
        bool replaced = s->cluster_id[0] && strcmp(s->cluster_id, id) != 0;

        snprintf(s->cluster_id, sizeof(s->cluster_id), "%s", id);
        read_settings(s, swarm, &reply);
        link_up(s, replaced);
    }
    json_decref(json);
}

static void on_version(void *arg, const struct http_answer *answer)
{
    struct swarm *s = OBJECT(struct swarm, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    s->probe = NULL;
    if (docker_lost(&reply) || reply.status != 200)
        probe_failed(s, reply.text);
    else if (!docker_api_choose(json, s->api, s->version))
        probe_failed(s, "unsupported Docker API version (need 1.40 to 1.47)");
    else
        probe_send(s, "/info", on_info);
    json_decref(json);
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct swarm *s = OBJECT(struct swarm, timer->data);

    if (s->probe || s->tasks.closing)
        return;
    probe_send(s, "/version", on_version);
}

void swarm_link_suspect(struct swarm *s)
{
    if (s->link == SWARM_LINK_UP && !s->probe)
        probe_in(s, 0);
}

void swarm_link_start(struct swarm *s)
{
    probe_in(s, 0);
}

void swarm_link_stop(struct swarm *s)
{
    http_call_cancel(s->probe);
    s->probe = NULL;
}
