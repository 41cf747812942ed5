/* The ground of the swarm engine: requests over HTTP, and what its tasks do in cronsched/engines/tasks. See swarm_core.h. The
 * file of an operation sends HTTP requests, one after the other, and answers.
 *
 * While no manager answers all that waits is answered at once: UNREACHABLE. What is under way ends by its own time limits.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/percent.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- HTTP ---- */

struct http_call *swarm_open(struct swarm *s, const struct swarm_call *call,
                             const struct client_request *with, struct error *error)
{
    const struct docker_endpoint *to = &s->endpoints[s->at];
    struct client_request q = *with;
    struct http_call *started;
    char *body = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
    char url[SWARM_PATH_MAX + 640];
    int rc = ERR_LIMIT;
    int n = snprintf(url, sizeof(url), "%s%s%s", to->base_url, call->plain ? "" : s->api, call->path);

    q.method = call->method;
    q.url = url;
    q.unix_socket = to->unix_socket;
    q.ca_file = s->tls_ca;
    q.cert_file = s->tls_cert;
    q.key_file = s->tls_key;
    q.once = with->once || call->once;
    q.max_bytes = SWARM_LIST_BYTES_MAX;
    if (call->timeout_ms >= 0)
        q.timeout_ms = call->timeout_ms ? call->timeout_ms : SWARM_CALL_MS;
    if (body) {
        q.body = body;
        q.body_size = strlen(body);
        q.headers[0] = "Content-Type: application/json";
    }
    q.headers[1] = call->header;
    if (n > 0 && (size_t)n < sizeof(url) && !body == !call->body)
        rc = http_client_start(&started, s->curl, &q, error);
    else
        error_set(error, rc, "a request is too long, or is not UTF-8");
    if (body)
        explicit_bzero(body, strlen(body));
    free(body);
    return rc < 0 ? NULL : started;
}

static void on_task_reply(void *arg, const struct http_answer *answer)
{
    struct swarm_task *task = OBJECT(struct swarm_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    task->call = NULL;
    task->on_done(task, &reply); /* the task may be gone now */
    json_decref(json);
}

static void on_not_made(struct swarm_task *task)
{
    on_task_reply(task, &(struct http_answer){
                            .outcome = HTTP_NOT_SENT, .body = "", .error = "out of memory or of calls"});
}

void swarm_send(struct swarm_task *task, const struct swarm_call *call, swarm_done *done)
{
    assert(!task->call);
    task->on_done = done;
    task->call =
        swarm_open(task->swarm, call, &(struct client_request){.done = on_task_reply, .arg = task}, NULL);
    if (!task->call)
        swarm_wake_in(task, 0, on_not_made);
}

void swarm_list_path(char *ret, size_t size, const char *kind, const char *key, const char *value,
                     const char *key_2, const char *value_2)
{
    json_t *filters = json_pack("{s:[s]}", key, value);
    char *text;

    if (key_2)
        json_object_set_new(filters, key_2, json_pack("[s]", value_2));
    text = json_dumps(filters, JSON_COMPACT);
    snprintf(ret, size, "/%s?filters=", kind);
    if (!text || percent_append(ret, size, text) < 0)
        ret[0] = '\0'; /* what no name of ours can bring about is refused by the engine */
    free(text);
    json_decref(filters);
}

void swarm_service_path(char ret[SWARM_PATH_MAX], const char *id, const char *rest)
{
    snprintf(ret, SWARM_PATH_MAX, "/services/%.*s%s", SWARM_ID_MAX, id, rest);
}

bool swarm_no_answer(const struct docker_reply *reply)
{
    return docker_lost(reply) || reply->status >= 500;
}

/* ---- tasks ---- */

struct swarm_task *swarm_task_new(struct swarm *s, enum engine_op op, const struct engine_request *request)
{
    struct swarm_task *t = OBJECT_NEW(struct swarm_task);

    t->swarm = s;
    task_init(&t->task, &s->tasks, op, request);
    return t;
}

struct swarm_task *swarm_task_at(const struct list *link)
{
    return OBJECT_OF(struct swarm_task, task, LIST_ITEM(link, struct task, link));
}

static void task_begin(struct task *task)
{
    struct swarm_task *t = OBJECT_OF(struct swarm_task, task, task);

    t->begin(t);
}

static void task_wake(struct task *task)
{
    struct swarm_task *t = OBJECT_OF(struct swarm_task, task, task);

    t->on_wake(t);
}

static void task_detach(struct task *task)
{
    struct swarm_task *t = OBJECT_OF(struct swarm_task, task, task);

    http_call_cancel(t->call);
    t->call = NULL;
    swarm_watch_free(t);
}

static void task_release(struct task *task)
{
    struct swarm_task *t = OBJECT_OF(struct swarm_task, task, task);

    variable_files_release(t->files, task->q.job->environment_count);
    if (t->auth)
        explicit_bzero(t->auth, strlen(t->auth));
    free(t->auth);
    json_decref(t->ids);
    json_decref(t->spec);
    OBJECT_FREE(struct swarm_task, t);
}

void swarm_wake_in(struct swarm_task *task, int64_t ms, void (*on_wake)(struct swarm_task *task))
{
    task->on_wake = on_wake;
    task_wake_in(&task->task, ms);
}

void swarm_answer_unreachable(struct swarm_task *task, const struct docker_reply *reply)
{
    struct swarm *s = task->swarm;
    const char *endpoint = s->endpoints[s->at].text;
    char text[SWARM_TEXT_MAX];

    if (docker_lost(reply))
        snprintf(text, sizeof(text), "%.200s: %.300s", endpoint, reply->text);
    else
        snprintf(text, sizeof(text), "%.200s: HTTP %d: %.280s", endpoint, reply->status, reply->text);
    swarm_link_suspect(s);
    task_answer_text(&task->task, ENGINE_UNREACHABLE, -1, "%s", text);
}

static bool is_open(void *engine)
{
    return OBJECT(struct swarm, engine)->link == SWARM_LINK_UP;
}

static const char *why_away(void *engine)
{
    const struct swarm *s = OBJECT(struct swarm, engine);

    return s->link == SWARM_LINK_DOWN ? s->why : NULL;
}

/* ---- life ---- */

void swarm_free(struct swarm *s)
{
    for (int i = 0; i < s->endpoint_count; i++)
        docker_endpoint_release(&s->endpoints[i]);
    free(s->name);
    free(s->data_dir);
    free(s->files_dir);
    free(s->tls_ca);
    free(s->tls_cert);
    free(s->tls_key);
    OBJECT_FREE(struct swarm, s);
}

static void closed(void *engine)
{
    swarm_free(OBJECT(struct swarm, engine));
}

void swarm_tasks_init(struct swarm *s, int parallel)
{
    static const struct tasks_ops ops = {.begin = task_begin,
                                         .wake = task_wake,
                                         .detach = task_detach,
                                         .free = task_release,
                                         .open = is_open,
                                         .away = why_away,
                                         .closed = closed};

    tasks_init(&s->tasks, &ops, s, s->loop, s->host, parallel, SWARM_TICK_MS);
}

void swarm_handle_closed(uv_handle_t *handle)
{
    tasks_release(&OBJECT(struct swarm, handle->data)->tasks);
}
