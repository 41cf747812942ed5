/* The swarm engine's face: the table of operations, and its life. See swarm.h. */
#include "cronsched/engines/swarm/swarm_core.h"

#include "cronsched/engines/docker/docker_login.h"
#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ENDPOINT_DEFAULT "unix:///var/run/docker.sock"

/* ---- the table ---- */

static void begin(struct swarm_task *task)
{
    static void (*const begins[])(struct swarm_task *) = {
        [ENGINE_PREPARE] = swarm_prepare_begin,  [ENGINE_RELEASE] = swarm_release_begin,
        [ENGINE_FENCE] = swarm_fence_begin_task, [ENGINE_STOP] = swarm_stop_begin,
        [ENGINE_DISCARD] = swarm_discard_begin,
    };
    char text[SWARM_TEXT_MAX];

    if (task->swarm->tasks.count > TASKS_MAX)
        task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "more than %d requests wait for the engine",
                         TASKS_MAX);
    else if (engine_is_another(task->swarm->cluster_id, task->task.q.identity, text, sizeof(text)))
        task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "%s", text);
    else
        begins[task->task.op](task);
}

static struct swarm *swarm_of(const struct engine *engine)
{
    return OBJECT_OF(struct swarm, engine, engine);
}

static void swarm_faults(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    struct swarm_task t = {.task.q = {.job = job, .run = "", .name = ""}};
    json_t *body = job->image ? swarm_spec_json(&t, "", &(struct environment){0}) : NULL;
    struct error fault;

    swarm_engine_faults(job, faults);
    if (job->image && !body)
        engine_fault(faults, ERR_INVALID, "the job is not UTF-8");
    json_decref(body);
    if (variable_files_check(job, &swarm_of(engine)->limits, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
}

static int swarm_check(const struct engine *engine, const struct job *job, struct error *error)
{
    struct engine_faults faults = {0};

    swarm_faults(engine, job, &faults);
    if (faults.first.code && error)
        *error = faults.first;
    return faults.first.code;
}

static void swarm_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    struct swarm *s = swarm_of(engine);
    struct swarm_task *t;

    assert(!s->tasks.closing && request->job && request->run && request->name);
    assert(op == ENGINE_PREPARE || request->id);
    t = swarm_task_new(s, op, request);
    if (op == ENGINE_WATCH) {
        swarm_watch_begin(t);
        return;
    }
    t->begin = begin;
    task_queue(&t->task);
}

static void swarm_abandon(struct engine *engine)
{
    struct swarm *s = swarm_of(engine);

    tasks_abandon(&s->tasks);
    swarm_sweep_stop(s);
}

#define CLOCK_TOLERATED_MS 10000
#define HEARTBEAT_LEAST_MS 20000

static void warn(const struct swarm *s, char *ret, size_t size)
{
    if (s->clock_ms > CLOCK_TOLERATED_MS || s->clock_ms < -CLOCK_TOLERATED_MS)
        snprintf(ret, size, "its clock differs from this server's by %lld s: times of runs are by its clock",
                 (long long)s->clock_ms / 1000);
    else if (s->history == 0)
        snprintf(
            ret, size,
            "it keeps no ended tasks, so ends may be missed: 'docker swarm update --task-history-limit 5'");
    else if (s->heartbeat_ms && s->heartbeat_ms < HEARTBEAT_LEAST_MS)
        snprintf(
            ret, size,
            "a node that is cut off for %lld s has its jobs killed when it is back: 'docker swarm update "
            "--dispatcher-heartbeat 60s'",
            (long long)s->heartbeat_ms * 3 / 1000);
}

static void swarm_status(const struct engine *engine, struct engine_status *ret)
{
    const struct swarm *s = swarm_of(engine);

    *ret = (struct engine_status){
        .reachable = s->link == SWARM_LINK_UP,
        .queued = s->tasks.queued,
        .in_flight = s->tasks.working,
        .watched = s->watched,
        .stuck = (int)file_reader_stuck(s->reader),
    };
    ret->guarantee = ENGINE_AT_MOST_ONCE
        " (of a job without entrypoint, but for a worker's engine that dies in mid-start)";
    snprintf(ret->version, sizeof(ret->version), "docker %.50s", s->version);
    snprintf(ret->identity, sizeof(ret->identity), "%s", s->cluster_id);
    warn(s, ret->warning, sizeof(ret->warning));
    if (s->link == SWARM_LINK_UP)
        snprintf(ret->text, sizeof(ret->text),
                 "docker %.32s, API %.8s, Swarm of %d nodes, %d of them managers", s->version, s->api + 2,
                 s->nodes, s->managers);
    else
        snprintf(ret->text, sizeof(ret->text), "%s", s->link == SWARM_LINK_DOWN ? s->why : "not asked yet");
}

/* ---- life ---- */

static void on_part_closed(void *arg)
{
    tasks_release(&OBJECT(struct swarm, arg)->tasks);
}

static void swarm_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct swarm *s = swarm_of(engine);
    uv_timer_t *const timers[] = {&s->probe_timer, &s->poll_timer, &s->sweep_timer};

    tasks_close(&s->tasks, done, arg);
    swarm_abandon(engine);
    swarm_link_stop(s);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        uv_close((uv_handle_t *)timers[i], swarm_handle_closed);
    tasks_hold(&s->tasks);
    tasks_hold(&s->tasks);
    file_reader_close(s->reader, on_part_closed, s);
    docker_logins_close(s->logins, on_part_closed, s);
    if (s->own_curl) {
        tasks_hold(&s->tasks);
        http_client_close(s->curl, on_part_closed, s);
    }
}

static const struct engine_ops swarm_ops = {
    .check = swarm_check,
    .faults = swarm_faults,
    .submit = swarm_submit,
    .abandon = swarm_abandon,
    .status = swarm_status,
    .close = swarm_close,
};

static int set_endpoints(struct swarm *s, const struct swarm_engine_options *o, struct error *error)
{
    bool tls = o->tls_ca || o->tls_cert || o->tls_key;
    int rc = 0;

    for (int i = 0; rc == 0 && i < SWARM_ENDPOINTS_MAX && (o->endpoints[i] || i == 0); i++) {
        rc = docker_endpoint_read(&s->endpoints[i], o->endpoints[i] ? o->endpoints[i] : ENDPOINT_DEFAULT, tls,
                                  error);
        s->endpoint_count++;
    }
    return rc;
}

static void set_options(struct swarm *s, const struct swarm_engine_options *o)
{
    s->name = alloc_text(o->name ? o->name : "swarm");
    s->data_dir = alloc_text(o->data_dir);
    s->files_dir = alloc_text(o->files_dir);
    s->limits = (struct variable_files_limits){.files_dir = s->files_dir};
    s->tls_ca = alloc_text(o->tls_ca);
    s->tls_cert = alloc_text(o->tls_cert);
    s->tls_key = alloc_text(o->tls_key);
    s->retention_ms = o->retention_ms > 0 ? o->retention_ms : SWARM_RETENTION_MS;
    s->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : SWARM_SWEEP_MS;
    s->ping_ms = o->ping_ms > 0 ? o->ping_ms : SWARM_PING_MS;
    s->engine = (struct engine){.ops = &swarm_ops,
                                .name = s->name,
                                .type = "swarm",
                                .hands_over = true,
                                .max_armed = o->max_armed > 0 ? o->max_armed : SWARM_MAX_ARMED_DEFAULT};
}

int swarm_engine_new(struct engine **ret, uv_loop_t *loop, const struct swarm_engine_options *o,
                     struct engine_host *host, struct error *error)
{
    struct swarm *s = OBJECT_NEW(struct swarm);
    uv_timer_t *const timers[] = {&s->probe_timer, &s->poll_timer, &s->sweep_timer};
    int r;

    s->loop = loop;
    s->host = host;
    set_options(s, o);
    r = set_endpoints(s, o, error);
    s->curl = o->curl;
    if (r == 0 && !s->curl) {
        r = http_client_new(&s->curl, loop, error);
        s->own_curl = true;
    }
    if (r < 0) {
        swarm_free(s);
        return r;
    }
    swarm_tasks_init(s, o->parallel > 0 ? o->parallel : SWARM_PARALLEL_DEFAULT);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = s;
        tasks_hold(&s->tasks);
    }
    s->reader = file_reader_new(loop);
    s->logins = docker_logins_new(loop, o->registries, o->docker_config);
    swarm_link_start(s);
    *ret = &s->engine;
    return 0;
}
