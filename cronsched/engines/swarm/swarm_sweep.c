/* The sweep: removes what the journal needs no more. While host->epoch() says that this replica leads, every `sweep_ms`: list
 * the services with our cluster's label; of those whose epoch is not above ours and that host->keep lets go:
 *
 *   never released, no replica   of a lower epoch, or older than the retention: DELETE
 *   released                     all its tasks are over, or it has none and no replica: DELETE
 *
 * A DELETE ends what runs: so what may run, or whose tasks cannot be told, stays. At most SWARM_SWEEP_MAX are removed, one
 * after the other; any failure ends the sweep, and the next one comes by again.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "leader/worker/loop.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FIRST_MS 5000 /* after a manager was found */

struct swarm_sweep {
    struct object object; /* first */
    struct swarm *swarm;
    struct http_call *call;
    json_t *list;
    size_t next;
    int removed;
    int64_t epoch, engine_ms;
    struct swarm_service service; /* under way */
};

static void go_on(struct swarm_sweep *w);

static void finish(struct swarm_sweep *w)
{
    http_call_cancel(w->call);
    json_decref(w->list);
    w->swarm->sweep = NULL;
    OBJECT_FREE(struct swarm_sweep, w);
}

static void ask(struct swarm_sweep *w, const char *method, const char *path,
                void (*done)(void *arg, const struct http_answer *answer))
{
    w->call = swarm_open(w->swarm, &(struct swarm_call){.method = method, .path = path},
                         &(struct client_request){.done = done, .arg = w}, NULL);
    if (!w->call)
        finish(w);
}

static void on_removed(void *arg, const struct http_answer *answer)
{
    struct swarm_sweep *w = OBJECT(struct swarm_sweep, arg);

    w->call = NULL;
    if (answer->outcome != HTTP_ANSWERED) {
        finish(w);
        return;
    }
    w->removed += answer->status == 200;
    go_on(w);
}

static void remove_it(struct swarm_sweep *w)
{
    char path[SWARM_PATH_MAX];

    swarm_service_path(path, w->service.id, "");
    ask(w, "DELETE", path, on_removed);
}

static bool all_over(const json_t *tasks, const struct swarm_service *service)
{
    static const char *const over[] = {"complete", "failed", "rejected", "shutdown", "orphaned", "remove"};
    json_t *each;
    size_t i;

    json_array_foreach(tasks, i, each)
    {
        const char *state = json_string_value(json_object_get(json_object_get(each, "Status"), "State"));
        bool is_over = swarm_task_is_idle(each);

        for (size_t k = 0; state && k < sizeof(over) / sizeof(over[0]); k++)
            is_over = is_over || strcmp(state, over[k]) == 0;
        if (!is_over)
            return false;
    }
    return json_array_size(tasks) > 0 || service->replicas == 0;
}

static void on_tasks(void *arg, const struct http_answer *answer)
{
    struct swarm_sweep *w = OBJECT(struct swarm_sweep, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    w->call = NULL;
    if (docker_lost(&reply) || reply.status != 200 || !json_is_array(json))
        finish(w);
    else if (all_over(json, &w->service))
        remove_it(w);
    else
        go_on(w);
    json_decref(json);
}

static bool is_candidate(const struct swarm_sweep *w, const struct swarm_service *service)
{
    struct swarm *s = w->swarm;
    bool old = service->created_ms && service->created_ms + s->retention_ms <= w->engine_ms;

    if (strcmp(service->cluster, s->host->cluster(s->host)) != 0 || !*service->run || service->epoch < 0 ||
        service->epoch > w->epoch || service->attempt <= 0 || service->attempt > INT_MAX)
        return false;
    if (!service->released && service->replicas == 0 && !old && service->epoch == w->epoch)
        return false;
    return !tasks_are_busy(&s->tasks, service->id, service->run) &&
           !s->host->keep(s->host, service->run, (int)service->attempt, service->epoch, service->id);
}

static void go_on(struct swarm_sweep *w)
{
    struct swarm *s = w->swarm;
    char path[SWARM_PATH_MAX];

    while (w->removed < SWARM_SWEEP_MAX && w->next < json_array_size(w->list)) {
        const json_t *each = json_array_get(w->list, w->next++);

        if (s->host->epoch(s->host) != w->epoch)
            break;
        if (!swarm_service_read(each, &w->service) || !is_candidate(w, &w->service))
            continue;
        if (!w->service.released && w->service.replicas == 0) {
            remove_it(w);
            return;
        }
        swarm_list_path(path, sizeof(path), "tasks", "service", w->service.id, NULL, NULL);
        ask(w, "GET", path, on_tasks);
        return;
    }
    finish(w);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct swarm_sweep *w = OBJECT(struct swarm_sweep, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    w->call = NULL;
    if (docker_lost(&reply) || reply.status != 200 || !json_is_array(json)) {
        json_decref(json);
        finish(w);
        return;
    }
    w->list = json;
    w->engine_ms = reply.date_ms ? reply.date_ms : w->swarm->host->now_ms(w->swarm->host);
    go_on(w);
}

static void sweep(uv_timer_t *timer)
{
    struct swarm *s = OBJECT(struct swarm, timer->data);
    int64_t epoch = s->host->epoch(s->host);
    const char *cluster = s->host->cluster(s->host);
    char path[SWARM_PATH_MAX], label[128];

    if (s->sweep || s->link != SWARM_LINK_UP || epoch <= 0 || !cluster || !*cluster)
        return;
    s->sweep = OBJECT_NEW(struct swarm_sweep);
    s->sweep->swarm = s;
    s->sweep->epoch = epoch;
    snprintf(label, sizeof(label), "cronsched.cluster=%.100s", cluster);
    swarm_list_path(path, sizeof(path), "services", "label", label, NULL, NULL);
    ask(s->sweep, "GET", path, on_list);
}

void swarm_sweep_timer_start(struct swarm *s)
{
    int64_t first_ms = s->sweep_ms < FIRST_MS ? s->sweep_ms : FIRST_MS;

    loop_timer_start(&s->sweep_timer, sweep, (uint64_t)first_ms, (uint64_t)s->sweep_ms);
}

void swarm_sweep_stop(struct swarm *s)
{
    if (s->sweep)
        finish(s->sweep);
}
