/* The ground of the kubernetes engine: requests over HTTP, ids and paths. See kube_core.h. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- HTTP ---- */

static void add_header(struct client_request *q, const char *header)
{
    size_t n = 0;

    while (q->headers[n])
        n++;
    assert(n < HTTP_CLIENT_HEADERS_MAX);
    q->headers[n] = header;
}

static void set_login(struct client_request *q, const struct kube_login *l)
{
    q->ca_text = l->ca;
    q->cert_text = l->cert;
    q->key_text = l->key;
    q->trust_anybody = l->insecure;
    q->connect_to = l->connect_to;
    q->proxy = l->proxy;
    if (l->authorization)
        add_header(q, l->authorization);
    add_header(q, "Accept: application/json");
    add_header(q, "User-Agent: cronsched/" CRONSCHED_VERSION);
}

static struct http_call *start(struct kube *k, const struct kube_call *call, struct client_request *q,
                               const struct kube_login *l, struct error *error)
{
    char url[KUBE_ACCESS_URL_MAX + KUBE_PATH_MAX], type[96], host[600];
    struct http_call *started;
    int n = snprintf(url, sizeof(url), "%s%s", l->server, call->path);

    if (n < 0 || (size_t)n >= sizeof(url)) {
        error_set(error, ERR_LIMIT, "a path is too long");
        return NULL;
    }
    if (l->connect_to) {
        snprintf(host, sizeof(host), "Host: %.500s", l->connect_to);
        add_header(q, host);
    }
    if (q->body) {
        snprintf(type, sizeof(type), "Content-Type: %s", call->type ? call->type : "application/json");
        add_header(q, type);
    }
    q->url = url;
    return http_client_start(&started, k->curl, q, error) < 0 ? NULL : started;
}

struct http_call *kube_open(struct kube *k, const struct kube_call *call, const struct client_request *with,
                            struct error *error)
{
    const struct kube_login *l = kube_access_login(k->access);
    struct client_request q = *with;
    struct http_call *started = NULL;
    char *body = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;

    q.method = call->method;
    q.once = with->once || call->once;
    q.max_bytes = call->max_bytes ? call->max_bytes : KUBE_POD_BYTES_MAX;
    q.idle_timeout_ms = call->idle_ms;
    if (call->timeout_ms >= 0)
        q.timeout_ms = call->timeout_ms ? call->timeout_ms : KUBE_CALL_MS;
    if (body) {
        q.body = body;
        q.body_size = strlen(body);
    }
    if (!l)
        error_set(error, ERR_UNREACHABLE, "%s", k->why[0] ? k->why : "its access is not read yet");
    else if (!body == !call->body) {
        set_login(&q, l);
        started = start(k, call, &q, l, error);
    } else
        error_set(error, ERR_INVALID, "a request is not UTF-8");
    if (body)
        explicit_bzero(body, strlen(body));
    free(body);
    return started;
}

bool kube_lost(const struct kube_reply *reply)
{
    return reply->outcome != HTTP_ANSWERED || !reply->complete;
}

bool kube_did_nothing(const struct kube_reply *reply)
{
    return reply->outcome == HTTP_NOT_SENT ||
           (!kube_lost(reply) && (reply->status == 401 || reply->status == 429));
}

static const char *message_of(const json_t *json)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const char *message = json_string_value(json_object_get(json, "message"));

    return kind && message && strcmp(kind, "Status") == 0 ? message : NULL;
}

static int64_t busy_ms(const struct kube_reply *reply, const struct http_answer *answer)
{
    int64_t ms = answer->retry_after_s < KUBE_BUSY_MAX_MS / 1000 ? answer->retry_after_s * 1000
                                                                 : KUBE_BUSY_MAX_MS;

    if (reply->status != 429 && reply->status != 503)
        return 0;
    return ms > 0 ? ms : 1000;
}

struct kube_reply kube_read(struct kube *k, const struct http_answer *answer, json_t **ret_json)
{
    struct kube_reply reply = {.outcome = answer->outcome,
                               .status = answer->status,
                               .complete = answer->complete,
                               .reason = "",
                               .date_ms = docker_ms_of(answer->date_s),
                               .text = answer->error};
    const char *reason, *message;
    int rc;

    *ret_json = NULL;
    if (kube_lost(&reply))
        return reply;
    rc = answer->size > 0 ? json_text_any(answer->body, answer->size, "answer", ret_json, NULL) : 0;
    reply.json = *ret_json;
    reply.retry_ms = busy_ms(&reply, answer);
    reply.text = rc < 0 ? "the answer is no JSON that makes sense" : "";
    reason = json_string_value(json_object_get(reply.json, "reason"));
    message = message_of(reply.json);
    if (answer->status >= 300) {
        reply.reason = reason ? reason : "";
        reply.text = message ? message : "the API gives no reason";
    }
    if (answer->status == 401)
        kube_access_renew(k->access);
    return reply;
}

struct kube_task *kube_task_of(struct task *task)
{
    return OBJECT_OF(struct kube_task, task, task);
}

static void on_task_reply(void *arg, const struct http_answer *answer)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    json_t *json;
    struct kube_reply reply = kube_read(t->kube, answer, &json);

    t->call = NULL;
    t->on_done(t, &reply); /* the task may be gone now */
    json_decref(json);
}

static void on_not_made(struct kube_task *t)
{
    on_task_reply(t, &(struct http_answer){.outcome = HTTP_NOT_SENT,
                                           .body = "",
                                           .error = "the request cannot be made, or not now"});
}

void kube_wake_in(struct kube_task *t, int64_t ms, void (*on_wake)(struct kube_task *task))
{
    t->on_wake = on_wake;
    task_wake_in(&t->task, ms);
}

void kube_send(struct kube_task *t, const struct kube_call *call, kube_done *done)
{
    assert(!t->call);
    t->on_done = done;
    t->call = kube_open(t->kube, call, &(struct client_request){.done = on_task_reply, .arg = t}, NULL);
    if (!t->call)
        kube_wake_in(t, 0, on_not_made);
}

void kube_answer_unreachable(struct kube_task *t, const struct kube_reply *reply)
{
    char text[KUBE_TEXT_MAX];

    if (kube_lost(reply))
        snprintf(text, sizeof(text), "%.500s", reply->text);
    else
        snprintf(text, sizeof(text), "HTTP %d: %.480s", reply->status, reply->text);
    if (kube_lost(reply))
        kube_link_suspect(t->kube);
    task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s", text);
}

void kube_text_add(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);

    if (*more)
        snprintf(text + n, size - n, "%s%s", n ? "; " : "", more);
}

/* ---- ids and paths ---- */

bool kube_name_valid(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < KUBE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n &&
           name[0] != '.';
}

static bool uid_valid(const char *uid)
{
    size_t n = strlen(uid);

    return n > 0 && n < KUBE_UID_MAX &&
           strspn(uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

/* The next part of an id, up to a slash or its end. */
static const char *take(const char *at, char *ret, size_t size)
{
    size_t n = strcspn(at, "/");

    snprintf(ret, size, "%.*s", n < size ? (int)n : 0, at);
    return at + n + (at[n] == '/');
}

bool kube_id_read(const char *id, struct kube_id *ret)
{
    id = take(id, ret->namespace, sizeof(ret->namespace));
    id = take(id, ret->name, sizeof(ret->name));
    id = take(id, ret->uid, sizeof(ret->uid));
    return !*id && kube_name_valid(ret->namespace) && kube_name_valid(ret->name) && uid_valid(ret->uid);
}

void kube_id_write(const struct kube_id *id, char ret[KUBE_ID_MAX])
{
    snprintf(ret, KUBE_ID_MAX, "%s/%s/%s", id->namespace, id->name, id->uid);
}

void kube_pod_path(char ret[KUBE_PATH_MAX], const struct kube_id *id, const char *rest)
{
    snprintf(ret, KUBE_PATH_MAX, "/api/v1/namespaces/%s/pods/%s%s", id->namespace, id->name, rest);
}

void kube_list_path(const struct kube *k, char ret[KUBE_PATH_MAX], const char *namespace, const char *rest)
{
    char selector[256];

    snprintf(ret, KUBE_PATH_MAX, "/api/v1/namespaces/%s/pods?labelSelector=", namespace);
    snprintf(selector, sizeof(selector), "%s=%.100s", KUBE_CLUSTER, k->tasks.host->cluster(k->tasks.host));
    if (percent_append(ret, KUBE_PATH_MAX, selector) < 0)
        ret[0] = '\0'; /* no name of ours is that long */
    snprintf(ret + strlen(ret), KUBE_PATH_MAX - strlen(ret), "%s", rest);
}

const char *kube_namespace(const struct kube *k)
{
    const struct kube_login *l = kube_access_login(k->access);

    if (k->namespaces[0])
        return k->namespaces[0];
    return l && l->namespace && kube_name_valid(l->namespace) ? l->namespace : "default";
}

bool kube_job_namespace(const struct kube *k, const struct job *job, const char **ret)
{
    const json_t *own = json_object_get(job->kubernetes, "metadata");
    const char *name = json_string_value(json_object_get(own, "namespace"));

    *ret = kube_namespace(k);
    if (!name || strcmp(name, *ret) == 0)
        return true;
    for (size_t i = 1; i < KUBE_NAMESPACES_MAX && k->namespaces[i]; i++) {
        *ret = k->namespaces[i];
        if (strcmp(name, *ret) == 0)
            return true;
    }
    return false;
}
