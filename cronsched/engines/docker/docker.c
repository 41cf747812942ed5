/* See docker.h and docker_priv.h. The way of a request: submit copies it into a task; the pump (next turn of
 * the loop) gives it a place while `parallel` allows; the file of its operation sends HTTP requests, one
 * after the other, and answers. RELEASE, FENCE and STOP go before PREPARE and DISCARD. A WATCH needs no
 * place.
 *
 * While the link is down all that waits or works is answered at once: UNREACHABLE, or UNKNOWN for a start
 * under way; but for watches, which stay and say so once. A call that fails makes the link suspect: it
 * probes, and is down when the probe fails (docker_link.c).
 */
#include "cronsched/engines/docker/docker_priv.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- HTTP --- */

bool docker_lost(const struct docker_reply *reply)
{
    return reply->outcome != HTTP_ANSWERED || !reply->complete;
}

/* The engine's errors are {"message": TEXT}. */
struct docker_reply docker_read(const struct http_answer *answer, json_t **ret_json)
{
    struct docker_reply reply = {
        .outcome = answer->outcome,
        .status = answer->status,
        .complete = answer->complete,
        .body = answer->body,
        .date_ms = answer->date_s * 1000,
        .text = answer->error,
    };
    *ret_json = NULL;
    if (docker_lost(&reply))
        return reply;
    if (answer->size > 0)
        reply.json = *ret_json = json_loadb(answer->body, answer->size, JSON_DECODE_ANY, NULL);
    const char *message = json_string_value(json_object_get(reply.json, "message"));
    if (answer->status >= 300)
        reply.text = message ? message : "the engine gives no reason";
    return reply;
}

struct curl_call *docker_open(struct docker *d, const struct docker_call *call,
                              const struct http_request *with, struct error *error)
{
    struct http_request q = *with;
    struct curl_call *started;
    char url[DOCKER_PATH_MAX * 4];
    int n = snprintf(url, sizeof(url), "%s%s%s%s", d->base_url, call->path, call->query ? "?" : "",
                     call->query ? call->query : "");
    if (n < 0 || (size_t)n >= sizeof(url)) {
        error_set(error, ERR_LIMIT, "the path of a request is too long");
        return NULL;
    }
    q.method = call->method;
    q.url = url;
    q.unix_socket = d->unix_socket;
    q.ca_file = d->tls_ca;
    q.cert_file = d->tls_cert;
    q.key_file = d->tls_key;
    q.once = with->once || call->once;
    q.max_bytes = call->max_bytes;
    q.timeout_ms = call->timeout_ms;
    if (call->body) {
        q.body = call->body;
        q.body_size = call->body_size ? call->body_size : strlen(call->body);
        q.headers[0] = call->body_size ? "Content-Type: application/x-tar" : "Content-Type: application/json";
    }
    return curl_uv_start(&started, d->curl, &q, error) < 0 ? NULL : started;
}

static void on_task_reply(void *arg, const struct http_answer *answer)
{
    struct docker_task *task = arg;
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    task->call = NULL;
    task->on_done(task, &reply); /* the task may be gone now */
    json_decref(json);
}

static void on_not_made(struct docker_task *task)
{
    on_task_reply(task, &(struct http_answer){
                            .outcome = HTTP_NOT_SENT, .body = "", .error = "out of memory or of calls"});
}

void docker_send(struct docker_task *task, const struct docker_call *call, docker_done *done)
{
    struct docker *d = task->docker;
    struct docker_call c = *call;
    char path[DOCKER_PATH_MAX * 2];

    assert(!task->call);
    snprintf(path, sizeof(path), "%s%s", d->api, call->path);
    c.path = path;
    if (c.timeout_ms == 0)
        c.timeout_ms = DOCKER_CALL_MS;
    task->on_done = done;
    task->call = docker_open(d, &c, &(struct http_request){.done = on_task_reply, .arg = task}, NULL);
    if (!task->call)
        docker_wake_in(task, 0, on_not_made);
}

/* --- tasks --- */

static char *copy_or_null(const char *s)
{
    return s ? alloc_text(s) : NULL;
}

static struct docker_task *task_new(struct docker *d, enum engine_op op, const struct engine_request *q)
{
    struct docker_task *t = alloc_zero(sizeof(*t));
    t->docker = d;
    t->op = op;
    t->ticket = q->ticket;
    t->job = job_ref((struct job *)q->job); /* counted by reference, never changed */
    t->run = alloc_text(q->run);
    t->name = alloc_text(q->name);
    t->id = copy_or_null(q->id);
    t->boot = copy_or_null(q->boot);
    t->cause = copy_or_null(q->cause);
    t->attempt = q->attempt;
    t->try = q->try;
    t->epoch = q->epoch;
    t->fire_ms = q->fire_ms;
    t->previous_fire_ms = q->previous_fire_ms;
    t->may_have_run = q->may_have_run;
    t->params = q->params ? json_deep_copy(q->params) : NULL;
    list_init(&t->link);
    d->tasks++;
    return t;
}

static void wipe_files(struct docker_task *t)
{
    for (size_t i = 0; t->files && i < t->job->environment_count; i++) {
        if (t->files[i])
            explicit_bzero(t->files[i], strlen(t->files[i]));
        free(t->files[i]);
    }
    free(t->files);
    t->files = NULL;
}

/* Takes it out of every list and count, with nothing of it under way any more. */
static void task_detach(struct docker_task *t)
{
    struct docker *d = t->docker;
    list_remove(&t->link);
    if (t->place == TASK_QUEUED)
        d->queued--;
    else if (t->place == TASK_ACTIVE)
        d->working--;
    t->place = TASK_ASIDE;
    t->wake_ms = 0;
    curl_call_cancel(t->call);
    curl_call_cancel(t->stream);
    t->call = t->stream = NULL;
    if (t->pulling)
        d->pulling--;
    t->pulling = false;
    docker_watch_free(t);
}

void docker_task_free(struct docker_task *t)
{
    struct docker *d = t->docker;
    task_detach(t);
    if (t->in_pool) {
        t->forgotten = true;
        return;
    }
    d->tasks--;
    wipe_files(t);
    docker_lines_release(&t->lines);
    job_unref(t->job);
    json_decref(t->params);
    free(t->pull_error);
    free(t->run);
    free(t->name);
    free(t->id);
    free(t->boot);
    free(t->cause);
    free(t);
}

void docker_answer(struct docker_task *task, const struct engine_answer *answer)
{
    struct docker *d = task->docker;
    struct engine_answer a = *answer;
    a.ticket = task->ticket;
    task_detach(task);
    docker_pump_soon(d);
    d->host->answer(d->host, &a); /* `a` may point into the task */
    docker_task_free(task);
}

void docker_answer_text(struct docker_task *task, enum engine_event event, int exit_code, const char *format,
                        ...)
{
    char text[TEXT_FIELD_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    docker_answer(task, &(struct engine_answer){.event = event, .exit_code = exit_code, .text = text});
}

void docker_answer_unreachable(struct docker_task *task, const struct docker_reply *reply)
{
    struct docker *d = task->docker;
    char text[DOCKER_TEXT_MAX];
    if (docker_lost(reply)) {
        snprintf(text, sizeof(text), "%s: %s", d->endpoint, reply->text);
        docker_link_suspect(d, reply);
    } else {
        snprintf(text, sizeof(text), "%s: HTTP %d: %s", d->endpoint, reply->status, reply->text);
    }
    docker_answer_text(task, ENGINE_UNREACHABLE, -1, "%s", text);
}

/* --- places --- */

static void on_tick(uv_timer_t *timer);

void docker_wake_in(struct docker_task *task, int64_t ms, void (*on_wake)(struct docker_task *task))
{
    struct docker *d = task->docker;
    task->wake_ms = (int64_t)uv_now(d->loop) + ms;
    task->on_wake = on_wake;
    if (ms <= 0)
        docker_pump_soon(d);
    else if (!uv_is_active((uv_handle_t *)&d->tick))
        uv_timer_start(&d->tick, on_tick, DOCKER_TICK_MS, DOCKER_TICK_MS);
}

static bool wake_due(struct docker *d, struct list *tasks, bool *any)
{
    int64_t now = (int64_t)uv_now(d->loop);
    LIST_EACH(link, tasks)
    {
        struct docker_task *t = LIST_ITEM(link, struct docker_task, link);
        if (t->wake_ms == 0)
            continue;
        *any = true;
        if (t->wake_ms <= now) {
            t->wake_ms = 0;
            t->on_wake(t);
            return true; /* the list may have changed: from its begin again */
        }
    }
    return false;
}

/* Each task once at most, so that one that wants to be woken at once, again and again, does not hold up the
 * loop. */
static bool wake_all(struct docker *d)
{
    struct list *const lists[] = {&d->active, &d->aside, &d->watches};
    int left = d->tasks;
    bool any = false;
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        while (left > 0 && !d->closing && wake_due(d, lists[i], &any))
            left--;
    return any;
}

static void on_tick(uv_timer_t *timer)
{
    struct docker *d = timer->data;
    if (!wake_all(d) && !d->closing)
        uv_timer_stop(timer);
}

void docker_step_aside(struct docker_task *task)
{
    struct docker *d = task->docker;
    assert(task->place == TASK_ACTIVE);
    list_remove(&task->link);
    list_append(&d->aside, &task->link);
    task->place = TASK_ASIDE;
    d->working--;
    docker_pump_soon(d);
}

static void task_queue(struct docker_task *t)
{
    struct docker *d = t->docker;
    bool urgent = t->op == ENGINE_RELEASE || t->op == ENGINE_FENCE || t->op == ENGINE_STOP;
    list_append(urgent ? &d->urgent : &d->queue, &t->link);
    t->place = TASK_QUEUED;
    d->queued++;
    docker_pump_soon(d);
}

void docker_queue_again(struct docker_task *task, void (*begin)(struct docker_task *task))
{
    assert(task->place == TASK_ASIDE);
    list_remove(&task->link);
    task->begin = begin;
    task_queue(task);
}

static void begin_too_many(struct docker_task *task)
{
    docker_answer_text(task, ENGINE_UNREACHABLE, -1, "more than %d requests wait for the engine",
                       DOCKER_TASKS_MAX);
}

static struct docker_task *take_first(struct docker *d, struct list *from)
{
    struct docker_task *t = LIST_ITEM(from->next, struct docker_task, link);
    list_remove(&t->link);
    list_append(&d->active, &t->link);
    t->place = TASK_ACTIVE;
    d->queued--;
    d->working++;
    return t;
}

/* All that waits when the pump begins, and not what comes in from within the answers. */
static void refuse_waiting(struct docker *d)
{
    for (int n = d->queued; n > 0 && d->link == DOCKER_LINK_DOWN && !d->closing; n--) {
        struct list *from = !list_empty(&d->urgent) ? &d->urgent : &d->queue;
        if (list_empty(from))
            return;
        docker_answer_text(take_first(d, from), ENGINE_UNREACHABLE, -1, "%s", d->why);
    }
}

void docker_cut_all(struct docker *d)
{
    struct list *const lists[] = {&d->active, &d->aside};
    int left = d->tasks;
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        while (left-- > 0 && !list_empty(lists[i]) && d->link == DOCKER_LINK_DOWN && !d->closing) {
            struct docker_task *t = LIST_ITEM(lists[i]->next, struct docker_task, link);
            if (t->op == ENGINE_RELEASE)
                docker_answer_text(t, ENGINE_UNKNOWN, -1, "the engine went away during the start: %s",
                                   d->why);
            else
                docker_answer_text(t, ENGINE_UNREACHABLE, -1, "%s", d->why);
        }
    }
}

static void on_pump(uv_timer_t *timer)
{
    struct docker *d = timer->data;
    if (wake_all(d) && !d->closing && !uv_is_active((uv_handle_t *)&d->tick))
        uv_timer_start(&d->tick, on_tick, DOCKER_TICK_MS, DOCKER_TICK_MS);
    if (d->link == DOCKER_LINK_DOWN)
        refuse_waiting(d);
    while (d->link == DOCKER_LINK_UP && !d->closing && d->working < d->parallel) {
        struct list *from = !list_empty(&d->urgent) ? &d->urgent : &d->queue;
        if (list_empty(from))
            break;
        struct docker_task *t = take_first(d, from);
        t->begin(t);
    }
}

void docker_pump_soon(struct docker *d)
{
    if (!d->closing && !uv_is_active((uv_handle_t *)&d->pump))
        uv_timer_start(&d->pump, on_pump, 0, 0);
}

/* --- the table --- */

static struct docker *docker_of(const struct engine *engine)
{
    return (struct docker *)engine;
}

static int docker_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return engine_docker_check(job, error);
}

static void docker_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    static void (*const begins[])(struct docker_task *) = {
        [ENGINE_PREPARE] = docker_prepare_begin, [ENGINE_RELEASE] = docker_release_begin,
        [ENGINE_FENCE] = docker_fence_begin,     [ENGINE_STOP] = docker_stop_begin,
        [ENGINE_DISCARD] = docker_discard_begin,
    };
    struct docker *d = docker_of(engine);
    assert(!d->closing && request->job && request->run && request->name);
    assert(op == ENGINE_PREPARE || request->id);
    struct docker_task *t = task_new(d, op, request);
    if (op == ENGINE_WATCH) {
        docker_watch_begin(t);
        return;
    }
    t->begin = d->tasks > DOCKER_TASKS_MAX ? begin_too_many : begins[op];
    task_queue(t);
}

static void free_all(struct list *tasks)
{
    while (!list_empty(tasks))
        docker_task_free(LIST_ITEM(tasks->next, struct docker_task, link));
}

static void docker_abandon(struct engine *engine)
{
    struct docker *d = docker_of(engine);
    free_all(&d->urgent);
    free_all(&d->queue);
    free_all(&d->active);
    free_all(&d->aside);
    free_all(&d->watches);
    docker_sweep_stop(d);
}

static void docker_status(const struct engine *engine, struct engine_status *ret)
{
    const struct docker *d = docker_of(engine);
    *ret = (struct engine_status){
        .reachable = d->link == DOCKER_LINK_UP,
        .queued = d->queued,
        .in_flight = d->working,
        .watched = d->watched,
    };
    if (d->link == DOCKER_LINK_UP)
        snprintf(ret->text, sizeof(ret->text), "docker %s, API %s%s", d->version, d->api + 2,
                 d->live_restore ? "" : ", no live-restore");
    else
        snprintf(ret->text, sizeof(ret->text), "%s", d->link == DOCKER_LINK_DOWN ? d->why : "not asked yet");
}

/* --- life --- */

static void docker_free(struct docker *d)
{
    docker_lines_release(&d->event_lines);
    free(d->name);
    free(d->data_dir);
    free(d->witness_prefix);
    free(d->files_dir);
    free(d->endpoint);
    free(d->unix_socket);
    free(d->base_url);
    free(d->tls_ca);
    free(d->tls_cert);
    free(d->tls_key);
    free(d);
}

void docker_released(struct docker *d)
{
    assert(d->held > 0);
    if (--d->held > 0 || !d->closing)
        return;
    void (*done)(void *) = d->done;
    void *arg = d->done_arg;
    docker_free(d);
    if (done)
        done(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    docker_released(handle->data);
}

static void on_curl_closed(void *arg)
{
    docker_released(arg);
}

static void docker_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct docker *d = docker_of(engine);
    uv_timer_t *const timers[] = {&d->pump, &d->probe_timer, &d->sweep_timer, &d->look_timer, &d->tick};
    assert(!d->closing);
    d->closing = true;
    d->done = done;
    d->done_arg = arg;
    docker_abandon(engine);
    docker_link_stop(d);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        uv_close((uv_handle_t *)timers[i], on_handle_closed);
    if (d->own_curl) {
        d->held++;
        curl_uv_close(d->curl, on_curl_closed, d);
    }
}

static const struct engine_ops docker_ops = {
    .check = docker_check,
    .submit = docker_submit,
    .abandon = docker_abandon,
    .status = docker_status,
    .close = docker_close,
};

/* unix:///PATH, or tcp://, http://, https://HOST[:PORT] without a path */
static int read_endpoint(struct docker *d, bool tls, struct error *error)
{
    static const char *const schemes[] = {"tcp://", "http://", "https://"};
    const char *e = d->endpoint;
    char url[512];
    if (strncmp(e, "unix:///", 8) == 0) {
        if (strlen(e) - 7 > 107) /* sun_path */
            return error_set(error, ERR_INVALID, "endpoint: '%s': the path of a socket is at most 107 bytes",
                             e);
        d->unix_socket = alloc_text(e + 7);
        d->base_url = alloc_text("http://localhost");
        return 0;
    }
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        size_t n = strlen(schemes[i]), host = strcspn(e + (strlen(e) < n ? 0 : n), "/");
        if (strncmp(e, schemes[i], n) != 0)
            continue;
        if (host == 0 || host > 300 || strcspn(e + n, "/") + 1 < strlen(e + n))
            break;
        snprintf(url, sizeof(url), "%s%.*s", i == 2 || tls ? "https://" : "http://", (int)host, e + n);
        d->base_url = alloc_text(url);
        return 0;
    }
    return error_set(error, ERR_INVALID, "endpoint: '%s' is neither unix:///PATH nor tcp://HOST:PORT", e);
}

int engine_docker_new(struct engine **ret, uv_loop_t *loop, const struct engine_docker_options *o,
                      struct engine_host *host, struct error *error)
{
    struct docker *d = alloc_zero(sizeof(*d));
    struct list *const lists[] = {&d->queue, &d->urgent, &d->active, &d->aside, &d->watches};
    uv_timer_t *const timers[] = {&d->pump, &d->probe_timer, &d->sweep_timer, &d->look_timer, &d->tick};
    int r;

    d->loop = loop;
    d->host = host;
    d->name = alloc_text(o->name ? o->name : "docker");
    d->data_dir = alloc_text(o->data_dir);
    d->endpoint = alloc_text(o->endpoint ? o->endpoint : DOCKER_ENDPOINT_DEFAULT);
    d->witness_prefix = alloc_text(o->witness_prefix ? o->witness_prefix : DOCKER_WITNESS_DEFAULT);
    d->files_dir = copy_or_null(o->files_dir);
    d->tls_ca = copy_or_null(o->tls_ca);
    d->tls_cert = copy_or_null(o->tls_cert);
    d->tls_key = copy_or_null(o->tls_key);
    d->parallel = o->parallel > 0 ? o->parallel : DOCKER_PARALLEL_DEFAULT;
    d->retention_ms = o->retention_ms > 0 ? o->retention_ms : DOCKER_RETENTION_MS;
    d->ping_ms = o->ping_ms > 0 ? o->ping_ms : DOCKER_PING_MS;
    d->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : DOCKER_SWEEP_MS;
    d->engine = (struct engine){.ops = &docker_ops,
                                .name = d->name,
                                .type = "docker",
                                .hands_over = true,
                                .max_armed = o->max_armed > 0 ? o->max_armed : DOCKER_MAX_ARMED_DEFAULT};
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        list_init(lists[i]);
    r = read_endpoint(d, d->tls_ca || d->tls_cert || d->tls_key, error);
    if (r == 0 && (d->witness_prefix[0] != '/' || strlen(d->witness_prefix) > DOCKER_WITNESS_MAX - 32))
        r = error_set(error, ERR_INVALID,
                      "the witness's prefix must be an absolute path, of at most %d bytes",
                      DOCKER_WITNESS_MAX - 32);
    d->curl = o->curl;
    if (r == 0 && !d->curl) {
        r = curl_uv_new(&d->curl, loop, error);
        d->own_curl = true;
    }
    if (r < 0) {
        docker_free(d);
        return r;
    }
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = d;
        d->held++;
    }
    docker_link_start(d);
    *ret = &d->engine;
    return 0;
}
