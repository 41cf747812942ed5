/* The ground of the docker engine: requests over HTTP, and what its tasks do in cronsched/engines/tasks. See docker.h and
 * docker_core.h. The file of an operation sends HTTP requests, one after the other, and answers.
 *
 * While the link is down all that waits or works is answered at once: UNREACHABLE, or UNKNOWN for a start
 * under way; but for watches, which stay and say so once. A call that fails makes the link suspect: it
 * probes, and is down when the probe fails (docker_link.c).
 *
 * It calls no other file of the engine: what has to reach upwards does so by d->probe_soon and task->on_detach.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/log.h"

#include <assert.h>
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

void docker_container_path(const struct docker_task *task, const char *what, char *ret, size_t size)
{
    snprintf(ret, size, "/containers/%.*s%s", DOCKER_ID_MAX, task->task.q.id, what);
}

void docker_link_suspect(struct docker *d, const struct docker_reply *reply)
{
    if (d->tasks.closing || d->link == DOCKER_LINK_DOWN)
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
    task_init(&t->task, &d->tasks, op, q);
    return t;
}

struct docker_task *docker_task_at(const struct list *link)
{
    return OBJECT_OF(struct docker_task, task, LIST_ITEM(link, struct task, link));
}

static void task_begin(struct task *task)
{
    struct docker_task *t = OBJECT_OF(struct docker_task, task, task);

    t->begin(t);
}

static void task_wake(struct task *task)
{
    struct docker_task *t = OBJECT_OF(struct docker_task, task, task);

    t->on_wake(t);
}

static void task_detach(struct task *task)
{
    struct docker_task *t = OBJECT_OF(struct docker_task, task, task);
    struct docker *d = t->docker;

    http_call_cancel(t->call);
    http_call_cancel(t->stream);
    t->call = t->stream = NULL;
    if (t->pulling)
        d->pulling--;
    t->pulling = false;
    if (t->on_detach)
        t->on_detach(t);
}

static void task_release(struct task *task)
{
    struct docker_task *t = OBJECT_OF(struct docker_task, task, task);
    const struct job *job = task->q.job;

    variable_files_release(t->files, job->environment_count);
    lines_release(&t->lines);
    for (size_t i = 0; t->sources && i < job->volumes.count; i++)
        free(t->sources[i]);
    free(t->sources);
    free(t->pull_error);
    free(t->pull_note);
    OBJECT_FREE(struct docker_task, t);
}

void docker_wake_in(struct docker_task *task, int64_t ms, void (*on_wake)(struct docker_task *task))
{
    task->on_wake = on_wake;
    task_wake_in(&task->task, ms);
}

void docker_queue_again(struct docker_task *task, void (*begin)(struct docker_task *task))
{
    task->begin = begin;
    task_queue(&task->task);
}

void docker_task_step_out(struct docker_task *t)
{
    task_to_thread(&t->task);
    if (t->task.place == TASK_ACTIVE)
        task_step_aside(&t->task); /* it takes as long as the files' file system does: others get the place */
}

void docker_cut_all(struct docker *d)
{
    struct list *const lists[] = {&d->tasks.active, &d->tasks.aside};
    int left = d->tasks.count;

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        while (left-- > 0 && !list_empty(lists[i]) && d->link == DOCKER_LINK_DOWN && !d->tasks.closing) {
            struct task *t = LIST_ITEM(lists[i]->next, struct task, link);

            if (t->op == ENGINE_RELEASE)
                task_answer_text(t, ENGINE_UNKNOWN, -1, "the engine went away during the start: %s", d->why);
            else
                task_answer_text(t, ENGINE_UNREACHABLE, -1, "%s", d->why);
        }
    }
}

static bool is_open(void *engine)
{
    const struct docker *d = OBJECT(struct docker, engine);

    return d->link == DOCKER_LINK_UP && d->identity_state != DOCKER_IDENTITY_UNREAD;
}

static const char *why_away(void *engine)
{
    const struct docker *d = OBJECT(struct docker, engine);

    return d->link == DOCKER_LINK_DOWN ? d->why : NULL;
}

/* ---- life ---- */

void docker_free(struct docker *d)
{
    lines_release(&d->event_lines);
    free(d->name);
    free(d->data_dir);
    free(d->witness_prefix);
    free(d->files_dir);
    json_decref(d->allow);
    docker_endpoint_release(&d->endpoint);
    free(d->tls_ca);
    free(d->tls_cert);
    free(d->tls_key);
    OBJECT_FREE(struct docker, d);
}

static void closed(void *engine)
{
    docker_free(OBJECT(struct docker, engine));
}

void docker_tasks_init(struct docker *d, int parallel)
{
    static const struct tasks_ops ops = {.begin = task_begin,
                                         .wake = task_wake,
                                         .detach = task_detach,
                                         .free = task_release,
                                         .open = is_open,
                                         .away = why_away,
                                         .closed = closed};

    tasks_init(&d->tasks, &ops, d, d->loop, d->host, parallel, DOCKER_TICK_MS);
}

void docker_handle_closed(uv_handle_t *handle)
{
    tasks_release(&OBJECT(struct docker, handle->data)->tasks);
}
