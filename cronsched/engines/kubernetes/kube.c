/* The kubernetes engine's face: the table of operations, and its life. See kube.h. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_TOLERATED_MS 10000

static struct kube *kube_of(const struct engine *engine)
{
    return OBJECT_OF(struct kube, engine, engine);
}

/* ---- tasks ---- */

static void begin(struct task *task)
{
    static void (*const begins[])(struct kube_task *) = {
        [ENGINE_PREPARE] = kube_prepare_begin,  [ENGINE_RELEASE] = kube_release_begin,
        [ENGINE_FENCE] = kube_fence_begin_task, [ENGINE_STOP] = kube_stop_begin,
        [ENGINE_DISCARD] = kube_discard_begin,
    };
    struct kube_task *t = kube_task_of(task);
    char text[KUBE_TEXT_MAX];

    if (t->kube->tasks.count > TASKS_MAX)
        task_answer_text(task, ENGINE_UNREACHABLE, -1, "more than %d requests wait for the engine",
                         TASKS_MAX);
    else if (engine_is_another(t->kube->identity, task->q.identity, text, sizeof(text)))
        task_answer_text(task, ENGINE_UNREACHABLE, -1, "%s", text);
    else if (task->op != ENGINE_PREPARE && !kube_id_read(task->q.id, &t->id))
        task_answer_text(task, ENGINE_UNREACHABLE, -1, "'%.100s' is no id of this engine", task->q.id);
    else
        begins[task->op](t);
}

static void wake(struct task *task)
{
    struct kube_task *t = kube_task_of(task);

    t->on_wake(t);
}

static void detach(struct task *task)
{
    struct kube_task *t = kube_task_of(task);

    http_call_cancel(t->call);
    t->call = NULL;
    kube_watch_free(t);
}

static void task_gone(struct task *task)
{
    struct kube_task *t = kube_task_of(task);

    variable_files_release(t->files, task->q.job->environment_count);
    OBJECT_FREE(struct kube_task, t);
}

static bool is_open(void *engine)
{
    return OBJECT(struct kube, engine)->link == KUBE_LINK_UP;
}

static const char *away(void *engine)
{
    const struct kube *k = OBJECT(struct kube, engine);

    return k->link == KUBE_LINK_DOWN ? k->why : NULL;
}

static void closed(void *engine)
{
    kube_free(OBJECT(struct kube, engine));
}

static const struct tasks_ops tasks_ops = {
    .begin = begin,
    .wake = wake,
    .detach = detach,
    .free = task_gone,
    .open = is_open,
    .away = away,
    .closed = closed,
};

/* ---- the table ---- */

static void kube_faults(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    const struct kube *k = kube_of(engine);
    const char *namespace;
    struct error fault;

    kube_engine_faults(job, faults);
    if (!kube_job_namespace(k, job, &namespace))
        engine_fault(faults, ERR_DENIED,
                     "kubernetes: metadata.namespace: the engine's configuration does not name it");
    if (variable_files_check(job, &k->limits, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
}

static int kube_check(const struct engine *engine, const struct job *job, struct error *error)
{
    struct engine_faults faults = {0};

    kube_faults(engine, job, &faults);
    if (faults.first.code && error)
        *error = faults.first;
    return faults.first.code;
}

static void kube_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    struct kube *k = kube_of(engine);
    struct kube_task *t;

    assert(!k->tasks.closing && request->job && request->run && request->name);
    assert(op == ENGINE_PREPARE || request->id);
    t = OBJECT_NEW(struct kube_task);
    t->kube = k;
    task_init(&t->task, &k->tasks, op, request);
    if (op == ENGINE_WATCH)
        kube_watch_begin(t);
    else
        task_queue(&t->task);
}

static void kube_abandon(struct engine *engine)
{
    struct kube *k = kube_of(engine);

    tasks_abandon(&k->tasks);
    kube_sweep_stop(k);
}

static void kube_status(const struct engine *engine, struct engine_status *ret)
{
    const struct kube *k = kube_of(engine);

    *ret = (struct engine_status){
        .reachable = k->link == KUBE_LINK_UP,
        .queued = k->tasks.queued,
        .in_flight = k->tasks.working,
        .watched = k->watched,
        .clock_offset_ms = k->clock_ms,
        .stuck = (int)(file_reader_stuck(k->reader) + kube_access_stuck(k->access)),
    };
    snprintf(ret->identity, sizeof(ret->identity), "%s", k->identity);
    snprintf(ret->version, sizeof(ret->version), "kubernetes %.50s", k->version);
    ret->guarantee = ENGINE_AT_MOST_ONCE;
    if (k->clock_ms > CLOCK_TOLERATED_MS || k->clock_ms < -CLOCK_TOLERATED_MS)
        snprintf(ret->warning, sizeof(ret->warning),
                 "its clock differs from this server's by %lld s: times of runs are by its clock",
                 (long long)k->clock_ms / 1000);
    else if (k->trouble[0] || k->login_trouble[0])
        snprintf(ret->warning, sizeof(ret->warning), "%s", k->trouble[0] ? k->trouble : k->login_trouble);
    if (k->link == KUBE_LINK_UP)
        snprintf(ret->text, sizeof(ret->text), "kubernetes %.32s, namespace %.64s", k->version,
                 kube_namespace(k));
    else
        snprintf(ret->text, sizeof(ret->text), "%s", k->link == KUBE_LINK_DOWN ? k->why : "not asked yet");
}

/* ---- life ---- */

void kube_free(struct kube *k)
{
    for (size_t i = 0; i < KUBE_NAMESPACES_MAX; i++)
        free(k->namespaces[i]);
    free(k->name);
    free(k->data_dir);
    free(k->files_dir);
    OBJECT_FREE(struct kube, k);
}

static void on_part_closed(void *arg)
{
    tasks_release(&OBJECT(struct kube, arg)->tasks);
}

static void on_timer_closed(uv_handle_t *handle)
{
    tasks_release(&OBJECT(struct kube, handle->data)->tasks);
}

static void kube_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct kube *k = kube_of(engine);
    uv_timer_t *const timers[] = {&k->probe_timer, &k->sweep_timer};

    kube_sweep_stop(k);
    kube_link_stop(k);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        tasks_hold(&k->tasks);
        uv_close((uv_handle_t *)timers[i], on_timer_closed);
    }
    tasks_hold(&k->tasks);
    file_reader_close(k->reader, on_part_closed, k);
    tasks_hold(&k->tasks);
    kube_access_close(k->access, on_part_closed, k);
    tasks_close(&k->tasks, done, arg);
    kube_spaces_free(k);
    if (k->own_curl) {
        tasks_hold(&k->tasks);
        http_client_close(k->curl, on_part_closed, k);
    }
}

static const struct engine_ops kube_ops = {
    .check = kube_check,
    .faults = kube_faults,
    .submit = kube_submit,
    .abandon = kube_abandon,
    .status = kube_status,
    .close = kube_close,
};

static int set_namespaces(struct kube *k, const struct kube_engine_options *o, struct error *error)
{
    for (size_t i = 0; i < KUBE_NAMESPACES_MAX && o->namespaces[i]; i++) {
        if (!kube_name_valid(o->namespaces[i]) || strchr(o->namespaces[i], '.'))
            return error_set(error, ERR_INVALID, "namespace: '%.100s' is not a name", o->namespaces[i]);
        k->namespaces[i] = alloc_text(o->namespaces[i]);
    }
    return 0;
}

static void set_options(struct kube *k, const struct kube_engine_options *o)
{
    k->name = alloc_text(o->name ? o->name : "kubernetes");
    k->data_dir = alloc_text(o->data_dir);
    k->files_dir = alloc_text(o->files_dir);
    k->limits = (struct variable_files_limits){.files_dir = k->files_dir, .allow = o->allow};
    k->retention_ms = o->retention_ms > 0 ? o->retention_ms : KUBE_RETENTION_MS;
    k->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : KUBE_SWEEP_MS;
    k->ping_ms = o->ping_ms > 0 ? o->ping_ms : KUBE_PING_MS;
    k->engine = (struct engine){.ops = &kube_ops,
                                .name = k->name,
                                .type = "kubernetes",
                                .hands_over = true,
                                .max_armed = o->max_armed > 0 ? o->max_armed : KUBE_MAX_ARMED_DEFAULT};
    list_init(&k->spaces);
}

static int set_access(struct kube *k, uv_loop_t *loop, const struct kube_engine_options *o,
                      struct error *error)
{
    struct kube_source source = {.kubeconfig = o->kubeconfig,
                                 .context = o->context,
                                 .endpoint = o->endpoint,
                                 .ca_file = o->tls_ca,
                                 .cert_file = o->tls_cert,
                                 .key_file = o->tls_key,
                                 .token_file = o->token_file};

    return kube_access_new(&k->access, loop, &source, &kube_link_access, k, error);
}

int kube_engine_new(struct engine **ret, uv_loop_t *loop, const struct kube_engine_options *o,
                    struct engine_host *host, struct error *error)
{
    struct kube *k = OBJECT_NEW(struct kube);
    uv_timer_t *const timers[] = {&k->probe_timer, &k->sweep_timer};
    int rc;

    set_options(k, o);
    rc = set_namespaces(k, o, error);
    k->curl = o->curl;
    if (rc == 0 && !k->curl) {
        rc = http_client_new(&k->curl, loop, error);
        k->own_curl = rc == 0;
    }
    if (rc == 0)
        rc = set_access(k, loop, o, error);
    if (rc < 0) {
        if (k->own_curl)
            http_client_close(k->curl, NULL, NULL);
        kube_free(k);
        return rc;
    }
    tasks_init(&k->tasks, &tasks_ops, k, loop, host, o->parallel > 0 ? o->parallel : KUBE_PARALLEL_DEFAULT,
               KUBE_TICK_MS);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = k;
    }
    k->reader = file_reader_new(loop);
    kube_link_start(k);
    *ret = &k->engine;
    return 0;
}
