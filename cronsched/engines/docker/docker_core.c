/* The ground of the docker engine: requests over HTTP, the tasks and their places. See docker.h and docker_core.h.
 * The way of a request: submit (docker.c) copies it into a task; the pump (next turn of the loop) gives it a
 * place while `parallel` allows; the file of its operation sends HTTP requests, one after the other, and
 * answers. RELEASE and STOP go first; the others in the order in which their runs are due, so that after a take-over
 * what is due now is fenced, prepared and released before what is due later is fenced. A DISCARD counts as due a little
 * later than it came. A WATCH needs no place.
 *
 * While the link is down all that waits or works is answered at once: UNREACHABLE, or UNKNOWN for a start
 * under way; but for watches, which stay and say so once. A call that fails makes the link suspect: it
 * probes, and is down when the probe fails (docker_link.c).
 *
 * It calls no other file of the engine: what has to reach upwards does so by d->probe_soon and task->on_detach.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- HTTP ---- */

struct http_call *docker_open(struct docker *d, const struct docker_call *call,
                              const struct client_request *with, struct error *error)
{
    struct client_request q = *with;
    struct http_call *started;
    const char *mark = call->query ? "?" : "";
    char url[DOCKER_PATH_MAX * 4];
    int n = snprintf(url, sizeof(url), "%s%s%s%s", d->endpoint.base_url, call->path, mark,
                     call->query ? call->query : "");

    if (n < 0 || (size_t)n >= sizeof(url)) {
        error_set(error, ERR_LIMIT, "the path of a request is too long");
        return NULL;
    }
    q.method = call->method;
    q.url = url;
    q.unix_socket = d->endpoint.unix_socket;
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
    return http_client_start(&started, d->curl, &q, error) < 0 ? NULL : started;
}

/* Each run fails with the engine's words; that all of them do, and why, is for whoever asks about the engine. */
static void note_space(struct docker *d, const struct docker_reply *reply)
{
    if (reply->status == 201) {
        d->full_ms = 0;
    } else if (reply->status >= 500 && strstr(reply->text, "no space left on device")) {
        if (!d->full_ms)
            log_event(LOG_ERROR, "engine-full", LOG_TEXT("engine", d->name), LOG_TEXT("text", reply->text));
        snprintf(d->full, sizeof(d->full), "%s", reply->text);
        d->full_ms = uv_now(d->loop);
    }
}

static void on_task_reply(void *arg, const struct http_answer *answer)
{
    struct docker_task *task = OBJECT(struct docker_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    note_space(task->docker, &reply);
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
    task->call = docker_open(d, &c, &(struct client_request){.done = on_task_reply, .arg = task}, NULL);
    if (!task->call)
        docker_wake_in(task, 0, on_not_made);
}

void docker_link_suspect(struct docker *d, const struct docker_reply *reply)
{
    if (d->closing || d->link == DOCKER_LINK_DOWN)
        return;
    if (reply->outcome == HTTP_NOT_SENT)
        snprintf(d->refused, sizeof(d->refused), "%s", reply->text);
    d->probe_soon(d);
}

/* ---- tasks ---- */

struct docker_task *docker_task_new(struct docker *d, enum engine_op op, const struct engine_request *q)
{
    struct docker_task *t = OBJECT_NEW(struct docker_task);

    t->docker = d;
    t->op = op;
    t->ticket = q->ticket;
    t->job = job_ref((struct job *)q->job); /* counted by reference, never changed */
    t->run = alloc_text(q->run);
    t->name = alloc_text(q->name);
    t->id = alloc_text(q->id);
    t->boot_id = alloc_text(q->boot_id);
    t->identity = alloc_text(q->identity);
    t->cause = alloc_text(q->cause);
    t->attempt = q->attempt;
    t->try = q->try;
    t->epoch = q->epoch;
    t->fire_ms = q->fire_ms;
    t->previous_fire_ms = q->previous_fire_ms;
    t->started_ms = q->started_ms;
    t->unresolved = q->unresolved;
    t->may_have_run = q->may_have_run;
    t->params = q->params ? json_deep_copy(q->params) : NULL;
    list_init(&t->link);
    d->tasks++;
    return t;
}

static void wipe_files(struct docker_task *t)
{
    variable_files_release(t->files, t->job->environment_count);
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
    http_call_cancel(t->call);
    http_call_cancel(t->stream);
    t->call = t->stream = NULL;
    if (t->pulling)
        d->pulling--;
    t->pulling = false;
    if (t->on_detach)
        t->on_detach(t);
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
    for (size_t i = 0; t->sources && i < t->job->volumes.count; i++)
        free(t->sources[i]);
    free(t->sources);
    job_unref(t->job);
    json_decref(t->params);
    free(t->pull_error);
    free(t->pull_note);
    free(t->run);
    free(t->name);
    free(t->id);
    free(t->boot_id);
    free(t->identity);
    free(t->cause);
    OBJECT_FREE(struct docker_task, t);
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

bool docker_is_busy(struct docker *d, const char *id, const char *run)
{
    struct list *const lists[] = {&d->queue, &d->urgent, &d->active, &d->aside, &d->watches};

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        LIST_EACH(link, lists[i])
        {
            const struct docker_task *t = LIST_ITEM(link, struct docker_task, link);

            if ((t->id && strcmp(t->id, id) == 0) ||
                (run && t->op == ENGINE_PREPARE && strcmp(t->run, run) == 0))
                return true;
        }
    }
    return false;
}

/* ---- places ---- */

static void on_tick(uv_timer_t *timer);

void docker_wake_in(struct docker_task *task, int64_t ms, void (*on_wake)(struct docker_task *task))
{
    struct docker *d = task->docker;

    task->wake_ms = (int64_t)uv_now(d->loop) + ms;
    task->on_wake = on_wake;
    if (ms <= 0)
        docker_pump_soon(d);
    else if (!uv_is_active((uv_handle_t *)&d->tick))
        loop_timer_start(&d->tick, on_tick, DOCKER_TICK_MS, DOCKER_TICK_MS);
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
    struct docker *d = OBJECT(struct docker, timer->data);

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

/* Before the first one that is due later; among equals the first come goes first. */
static void queue_by_time(struct docker *d, struct docker_task *t)
{
    struct list *at = &d->queue;

    while (at->prev != &d->queue && LIST_ITEM(at->prev, struct docker_task, link)->due_ms > t->due_ms)
        at = at->prev;
    list_append(at, &t->link);
}

void docker_task_queue(struct docker_task *t)
{
    struct docker *d = t->docker;

    t->due_ms = t->op == ENGINE_DISCARD ? d->host->now_ms(d->host) + DOCKER_DISCARD_MS : t->fire_ms;
    if (t->op == ENGINE_RELEASE || t->op == ENGINE_STOP)
        list_append(&d->urgent, &t->link);
    else
        queue_by_time(d, t);
    t->place = TASK_QUEUED;
    d->queued++;
    docker_pump_soon(d);
}

void docker_queue_again(struct docker_task *task, void (*begin)(struct docker_task *task))
{
    assert(task->place == TASK_ASIDE);
    list_remove(&task->link);
    task->begin = begin;
    docker_task_queue(task);
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
    struct docker *d = OBJECT(struct docker, timer->data);

    if (wake_all(d) && !d->closing && !uv_is_active((uv_handle_t *)&d->tick))
        loop_timer_start(&d->tick, on_tick, DOCKER_TICK_MS, DOCKER_TICK_MS);
    if (d->link == DOCKER_LINK_DOWN)
        refuse_waiting(d);
    while (d->link == DOCKER_LINK_UP && d->identity_state != DOCKER_IDENTITY_UNREAD && !d->closing &&
           d->working < d->parallel) {
        struct list *from = !list_empty(&d->urgent) ? &d->urgent : &d->queue;
        struct docker_task *t;

        if (list_empty(from))
            break;
        t = take_first(d, from);
        t->begin(t);
    }
}

void docker_pump_soon(struct docker *d)
{
    if (!d->closing && !uv_is_active((uv_handle_t *)&d->pump))
        loop_timer_start(&d->pump, on_pump, 0, 0);
}

bool docker_task_is_wanted(struct docker_task *t)
{
    struct docker *d = t->docker;

    t->in_pool = false;
    if (!t->forgotten)
        return true;
    docker_task_free(t);
    docker_released(d);
    return false;
}

void docker_task_step_out(struct docker_task *t)
{
    t->in_pool = true;
    t->docker->held++;
    if (t->place == TASK_ACTIVE)
        docker_step_aside(t); /* it takes as long as the files' file system does: others get the place */
}

/* ---- life ---- */

void docker_free(struct docker *d)
{
    docker_lines_release(&d->event_lines);
    free(d->name);
    free(d->data_dir);
    free(d->witness_prefix);
    free(d->files_dir);
    json_decref(d->allow);
    docker_endpoint_release(&d->endpoint);
    free(d->tls_ca);
    free(d->tls_cert);
    free(d->tls_key);
    free(d->docker_config);
    json_decref(d->registries);
    OBJECT_FREE(struct docker, d);
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

void docker_handle_closed(uv_handle_t *handle)
{
    docker_released(OBJECT(struct docker, handle->data));
}
