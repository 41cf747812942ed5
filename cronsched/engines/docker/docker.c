/* The docker engine's face: the table of operations, and its life. See docker.h. */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/engines/docker/docker_login.h"
#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

static void begin_too_many(struct docker_task *task)
{
    task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "more than %d requests wait for the engine",
                     TASKS_MAX);
}

static void begin(struct docker_task *task)
{
    static void (*const begins[])(struct docker_task *) = {
        [ENGINE_PREPARE] = docker_prepare_begin, [ENGINE_RELEASE] = docker_release_begin,
        [ENGINE_FENCE] = docker_fence_begin,     [ENGINE_STOP] = docker_stop_begin,
        [ENGINE_DISCARD] = docker_discard_begin,
    };
    char text[DOCKER_TEXT_MAX];

    if (docker_identity_differs(task->docker, task, text, sizeof(text)))
        task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "%s", text);
    else
        begins[task->task.op](task);
}

static struct docker *docker_of(const struct engine *engine)
{
    return OBJECT_OF(struct docker, engine, engine);
}

static void docker_faults(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    const struct docker *d = docker_of(engine);
    struct docker_task t = {.task.q = {.job = job, .run = "", .name = ""}};
    const struct docker_create with = {.cluster = "", .witness = "/", .log_driver = ""};
    json_t *body = job->image ? docker_create_json(&t, &with, &(struct environment){0}) : NULL;
    struct error fault;

    docker_engine_faults(job, faults);
    if (job->image && !body)
        engine_fault(faults, ERR_INVALID, "the job is not UTF-8");
    if (body && docker_allow_check(d->allow, body, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
    json_decref(body);
    if (variable_files_check(job, &d->limits, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
}

static int docker_check(const struct engine *engine, const struct job *job, struct error *error)
{
    struct engine_faults faults = {0};

    docker_faults(engine, job, &faults);
    if (faults.first.code && error)
        *error = faults.first;
    return faults.first.code;
}

static void docker_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    struct docker *d = docker_of(engine);
    struct docker_task *t;

    assert(!d->tasks.closing && request->job && request->run && request->name);
    assert(op == ENGINE_PREPARE || request->id);
    t = docker_task_new(d, op, request);
    if (d->host->epoch(d->host) != d->stray_epoch) /* a new leader does not know them yet */
        docker_stray_soon(d);
    if (d->identity_state == DOCKER_IDENTITY_UNREAD && d->link == DOCKER_LINK_UP)
        d->probe_soon(d);
    if (op == ENGINE_WATCH || op == ENGINE_DISCARD)
        docker_prepared_forget(d, request->id);
    if (op == ENGINE_WATCH) {
        docker_watch_begin(t);
        return;
    }
    t->begin = d->tasks.count > TASKS_MAX ? begin_too_many : begin;
    task_queue(&t->task);
}

static void docker_abandon(struct engine *engine)
{
    struct docker *d = docker_of(engine);

    tasks_abandon(&d->tasks);
    docker_sweep_stop(d);
    docker_prepared_forget_all(d);
    docker_stray_forget_all(d);
}

/* No fault: several clusters may share an engine. */
static void add_foreign(char *text, size_t size, int foreign)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, ", %d container%s of other clusters", foreign, foreign == 1 ? "" : "s");
}

static void docker_status(const struct engine *engine, struct engine_status *ret)
{
    const struct docker *d = docker_of(engine);

    *ret = (struct engine_status){
        .reachable = d->link == DOCKER_LINK_UP,
        .queued = d->tasks.queued,
        .in_flight = d->tasks.working,
        .watched = d->watched,
        .stuck = (int)file_reader_stuck(d->reader),
        .clock_offset_ms = d->link == DOCKER_LINK_UP ? d->clock_offset_ms : 0,
    };
    ret->guarantee = ENGINE_AT_MOST_ONCE;
    snprintf(ret->version, sizeof(ret->version), "docker %.50s", d->version);
    ret->anonymous = d->link == DOCKER_LINK_UP && d->identity_state == DOCKER_IDENTITY_NONE;
    if (d->identity_state == DOCKER_IDENTITY_KNOWN)
        memcpy(ret->identity, d->identity, sizeof(ret->identity));
    if (d->link == DOCKER_LINK_UP && d->identity_state == DOCKER_IDENTITY_NONE)
        snprintf(ret->text, sizeof(ret->text), "docker %.32s, API %.8s%s, without an identity: %s",
                 d->version, d->api + 2, d->live_restore ? "" : ", no live-restore", d->identity_why);
    else if (d->link == DOCKER_LINK_UP)
        snprintf(ret->text, sizeof(ret->text), "docker %s, API %s%s", d->version, d->api + 2,
                 d->live_restore ? "" : ", no live-restore");
    else if (d->link == DOCKER_LINK_DOWN) /* else it was not asked yet */
        snprintf(ret->text, sizeof(ret->text), "%s", d->why);
    if (d->link == DOCKER_LINK_UP && d->foreign > 0)
        add_foreign(ret->text, sizeof(ret->text), d->foreign);
    if (d->full_ms && uv_now(d->loop) - d->full_ms < DOCKER_FULL_MS) {
        snprintf(ret->trouble, sizeof(ret->trouble), "its disk is full: %s", d->full);
        ret->advice = "free some space on the engine's disk, as with 'docker system prune'";
    }
}

/* ---- life ---- */

static void on_part_closed(void *arg)
{
    tasks_release(&OBJECT(struct docker, arg)->tasks);
}

static void docker_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct docker *d = docker_of(engine);
    uv_timer_t *const timers[] = {&d->probe_timer, &d->sweep_timer, &d->look_timer, &d->stray_timer};

    tasks_close(&d->tasks, done, arg);
    docker_abandon(engine);
    docker_link_stop(d);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        uv_close((uv_handle_t *)timers[i], docker_handle_closed);
    tasks_hold(&d->tasks);
    tasks_hold(&d->tasks);
    file_reader_close(d->reader, on_part_closed, d);
    docker_logins_close(d->logins, on_part_closed, d);
    if (d->own_curl) {
        tasks_hold(&d->tasks);
        http_client_close(d->curl, on_part_closed, d);
    }
}

static const struct engine_ops docker_ops = {
    .check = docker_check,
    .faults = docker_faults,
    .submit = docker_submit,
    .abandon = docker_abandon,
    .status = docker_status,
    .close = docker_close,
};

static void set_options(struct docker *d, const struct docker_engine_options *o)
{
    d->name = alloc_text(o->name ? o->name : "docker");
    d->data_dir = alloc_text(o->data_dir);
    d->witness_prefix = alloc_text(o->witness_prefix ? o->witness_prefix : DOCKER_WITNESS_DEFAULT);
    d->files_dir = alloc_text(o->files_dir);
    d->allow = o->allow ? json_deep_copy(o->allow) : NULL;
    d->limits = (struct variable_files_limits){.files_dir = d->files_dir, .allow = d->allow};
    d->tls_ca = alloc_text(o->tls_ca);
    d->tls_cert = alloc_text(o->tls_cert);
    d->tls_key = alloc_text(o->tls_key);
    d->retention_ms = o->retention_ms > 0 ? o->retention_ms : DOCKER_RETENTION_MS;
    d->ping_ms = o->ping_ms > 0 ? o->ping_ms : DOCKER_PING_MS;
    d->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : DOCKER_SWEEP_MS;
    d->engine = (struct engine){.ops = &docker_ops,
                                .name = d->name,
                                .type = "docker",
                                .hands_over = true,
                                .max_armed = o->max_armed > 0 ? o->max_armed : DOCKER_MAX_ARMED_DEFAULT};
}

int docker_engine_new(struct engine **ret, uv_loop_t *loop, const struct docker_engine_options *o,
                      struct engine_host *host, struct error *error)
{
    struct docker *d = OBJECT_NEW(struct docker);
    uv_timer_t *const timers[] = {&d->probe_timer, &d->sweep_timer, &d->look_timer, &d->stray_timer};
    int r;

    d->loop = loop;
    d->host = host;
    set_options(d, o);
    r = docker_endpoint_read(&d->endpoint, o->endpoint ? o->endpoint : DOCKER_ENDPOINT_DEFAULT,
                             d->tls_ca || d->tls_cert || d->tls_key, error);
    if (r == 0 && (d->witness_prefix[0] != '/' || strlen(d->witness_prefix) > DOCKER_WITNESS_MAX - 40))
        r = error_set(error, ERR_INVALID,
                      "the witness's prefix must be an absolute path, of at most %d bytes",
                      DOCKER_WITNESS_MAX - 40);
    d->curl = o->curl;
    if (r == 0 && !d->curl) {
        r = http_client_new(&d->curl, loop, error);
        d->own_curl = true;
    }
    if (r < 0) {
        docker_free(d);
        return r;
    }
    docker_tasks_init(d, o->parallel > 0 ? o->parallel : DOCKER_PARALLEL_DEFAULT);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = d;
        tasks_hold(&d->tasks);
    }
    d->reader = file_reader_new(loop);
    d->logins = docker_logins_new(loop, o->registries, o->docker_config);
    docker_link_start(d);
    *ret = &d->engine;
    return 0;
}
