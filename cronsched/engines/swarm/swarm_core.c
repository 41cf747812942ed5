/* The ground of the swarm engine: requests over HTTP, the tasks and their places. See swarm_core.h.
 *
 * The way of a request: submit (swarm.c) copies it into a task; the pump (next turn of the loop) gives it a place while
 * `parallel` allows; the file of its operation sends HTTP requests, one after the other, and answers. RELEASE and STOP go
 * first; the others in the order in which their runs are due. A WATCH needs no place.
 *
 * While no manager answers all that waits is answered at once: UNREACHABLE. What is under way ends by its own time limits.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "jobs/state/record.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISCARD_MS 5000 /* what is due in this time goes before it */

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
    t->op = op;
    engine_request_copy(&t->q, request);
    list_init(&t->link);
    s->tasks++;
    return t;
}

/* Takes it out of every list and count, with nothing of it under way any more. */
static void task_detach(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    list_remove(&t->link);
    if (t->place == SWARM_QUEUED)
        s->queued--;
    else if (t->place == SWARM_ACTIVE)
        s->working--;
    t->place = SWARM_WATCH;
    t->wake_ms = 0;
    http_call_cancel(t->call);
    t->call = NULL;
    swarm_watch_free(t);
}

void swarm_task_free(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    task_detach(t);
    if (t->in_pool) {
        t->forgotten = true;
        return;
    }
    s->tasks--;
    variable_files_release(t->files, t->q.job->environment_count);
    json_decref(t->ids);
    json_decref(t->spec);
    engine_request_release(&t->q);
    OBJECT_FREE(struct swarm_task, t);
}

void swarm_answer(struct swarm_task *task, const struct engine_answer *answer)
{
    struct swarm *s = task->swarm;
    struct engine_answer a = *answer;

    a.ticket = task->q.ticket;
    task_detach(task);
    swarm_pump_soon(s);
    s->host->answer(s->host, &a); /* `a` may point into the task */
    swarm_task_free(task);
}

void swarm_answer_text(struct swarm_task *task, enum engine_event event, int exit_code, const char *format,
                       ...)
{
    char text[TEXT_FIELD_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    swarm_answer(task, &(struct engine_answer){.event = event, .exit_code = exit_code, .text = text});
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
    swarm_answer_text(task, ENGINE_UNREACHABLE, -1, "%s", text);
}

bool swarm_is_busy(struct swarm *s, const char *id, const char *run)
{
    struct list *const lists[] = {&s->queue, &s->urgent, &s->active, &s->watches};

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        LIST_EACH(link, lists[i])
        {
            const struct swarm_task *t = LIST_ITEM(link, struct swarm_task, link);

            if ((t->q.id && strcmp(t->q.id, id) == 0) ||
                (run && t->op == ENGINE_PREPARE && strcmp(t->q.run, run) == 0))
                return true;
        }
    }
    return false;
}

/* ---- places ---- */

static void on_tick(uv_timer_t *timer);

void swarm_wake_in(struct swarm_task *task, int64_t ms, void (*on_wake)(struct swarm_task *task))
{
    struct swarm *s = task->swarm;

    task->wake_ms = (int64_t)uv_now(s->loop) + ms;
    task->on_wake = on_wake;
    if (ms <= 0)
        swarm_pump_soon(s);
    else if (!uv_is_active((uv_handle_t *)&s->tick))
        loop_timer_start(&s->tick, on_tick, SWARM_TICK_MS, SWARM_TICK_MS);
}

static bool wake_due(struct swarm *s, struct list *tasks, bool *any)
{
    int64_t now = (int64_t)uv_now(s->loop);

    LIST_EACH(link, tasks)
    {
        struct swarm_task *t = LIST_ITEM(link, struct swarm_task, link);

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

/* Each task once at most, so that one that wants to be woken at once, again and again, does not hold up the loop. */
static bool wake_all(struct swarm *s)
{
    struct list *const lists[] = {&s->active, &s->watches};
    int left = s->tasks;
    bool any = false;

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        while (left > 0 && !s->closing && wake_due(s, lists[i], &any))
            left--;
    return any;
}

static void on_tick(uv_timer_t *timer)
{
    struct swarm *s = OBJECT(struct swarm, timer->data);

    if (!wake_all(s) && !s->closing)
        uv_timer_stop(timer);
}

/* Before the first one that is due later; among equals the first come goes first. */
static void queue_by_time(struct swarm *s, struct swarm_task *t)
{
    struct list *at = &s->queue;

    while (at->prev != &s->queue && LIST_ITEM(at->prev, struct swarm_task, link)->due_ms > t->due_ms)
        at = at->prev;
    list_append(at, &t->link);
}

void swarm_task_queue(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    t->due_ms = t->op == ENGINE_DISCARD ? s->host->now_ms(s->host) + DISCARD_MS : t->q.fire_ms;
    if (t->op == ENGINE_RELEASE || t->op == ENGINE_STOP)
        list_append(&s->urgent, &t->link);
    else
        queue_by_time(s, t);
    t->place = SWARM_QUEUED;
    s->queued++;
    swarm_pump_soon(s);
}

static struct swarm_task *take_first(struct swarm *s, struct list *from)
{
    struct swarm_task *t = LIST_ITEM(from->next, struct swarm_task, link);

    list_remove(&t->link);
    list_append(&s->active, &t->link);
    t->place = SWARM_ACTIVE;
    s->queued--;
    s->working++;
    return t;
}

/* All that waits when the pump begins, and not what comes in from within the answers. */
static void refuse_waiting(struct swarm *s)
{
    for (int n = s->queued; n > 0 && s->link == SWARM_LINK_DOWN && !s->closing; n--) {
        struct list *from = !list_empty(&s->urgent) ? &s->urgent : &s->queue;

        if (list_empty(from))
            return;
        swarm_answer_text(take_first(s, from), ENGINE_UNREACHABLE, -1, "%s", s->why);
    }
}

static void on_pump(uv_timer_t *timer)
{
    struct swarm *s = OBJECT(struct swarm, timer->data);

    if (wake_all(s) && !s->closing && !uv_is_active((uv_handle_t *)&s->tick))
        loop_timer_start(&s->tick, on_tick, SWARM_TICK_MS, SWARM_TICK_MS);
    if (s->link == SWARM_LINK_DOWN)
        refuse_waiting(s);
    while (s->link == SWARM_LINK_UP && !s->closing && s->working < s->parallel) {
        struct list *from = !list_empty(&s->urgent) ? &s->urgent : &s->queue;
        struct swarm_task *t;

        if (list_empty(from))
            break;
        t = take_first(s, from);
        t->begin(t);
    }
}

void swarm_pump_soon(struct swarm *s)
{
    if (!s->closing && !uv_is_active((uv_handle_t *)&s->pump))
        loop_timer_start(&s->pump, on_pump, 0, 0);
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

void swarm_released(struct swarm *s)
{
    assert(s->held > 0);
    if (--s->held > 0 || !s->closing)
        return;
    void (*done)(void *) = s->done;
    void *arg = s->done_arg;
    swarm_free(s);
    if (done)
        done(arg);
}

void swarm_handle_closed(uv_handle_t *handle)
{
    swarm_released(OBJECT(struct swarm, handle->data));
}
