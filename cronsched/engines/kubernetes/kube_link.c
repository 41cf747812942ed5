/* The link: does the API answer, which cluster is it, and may we do what has to be done?
 *
 * The happy path: the access is read -> probe (/version, the namespace whose uid is the identity) -> UP: spaces are listed,
 * the pump goes -> one right after the other is asked for (SelfSubjectAccessReview), which doctor shows. Probed again every
 * `ping_ms`; a call without an answer brings the next probe forward. A probe that fails makes the link DOWN, with back-off.
 *
 * An API server that restarts answers 403 until its rules are loaded: so an identity that was learnt stays what it is asked
 * for. Where kube-system may not be read from the beginning, the engine's own namespace tells the identity.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_MINOR 27

static void on_probe_timer(uv_timer_t *timer);

static void probe_in(struct kube *k, int64_t ms)
{
    if (!k->tasks.closing)
        loop_timer_start(&k->probe_timer, on_probe_timer, (uint64_t)ms, 0);
}

static void link_lost(struct kube *k)
{
    bool was_down = k->link == KUBE_LINK_DOWN;

    k->link = KUBE_LINK_DOWN;
    kube_sweep_stop(k);
    if (!was_down) {
        k->losses++;
        kube_spaces_link_down(k);
        kube_watches_link_down(k);
    }
    tasks_pump_soon(&k->tasks);
}

/* replaced: it is another cluster than before; what is not released yet is prepared again, here. */
static void link_up(struct kube *k, bool replaced)
{
    bool was_up = k->link == KUBE_LINK_UP;

    k->failures = 0;
    k->link = KUBE_LINK_UP;
    if (was_up && replaced)
        k->tasks.host->back(k->tasks.host, &k->engine);
    if (was_up)
        return;
    kube_sweep_timer_start(k);
    kube_spaces_link_up(k);
    kube_watches_link_up(k);
    tasks_pump_soon(&k->tasks);
    k->tasks.host->back(k->tasks.host, &k->engine);
}

static int64_t back_off_ms(const struct kube *k)
{
    int64_t wait = KUBE_RETRY_FIRST_MS;

    for (int i = 1; i < k->failures && wait < KUBE_RETRY_MAX_MS; i++)
        wait *= 2;
    return wait < KUBE_RETRY_MAX_MS ? wait : KUBE_RETRY_MAX_MS;
}

static void probe_failed(struct kube *k, const char *why)
{
    const struct kube_login *l = kube_access_login(k->access);

    if (l)
        snprintf(k->why, sizeof(k->why), "%.100s: %.150s", l->server, why);
    else
        snprintf(k->why, sizeof(k->why), "%.250s", why);
    if (l && k->login_trouble[0])
        kube_text_add(k->why, sizeof(k->why), k->login_trouble);
    k->failures++;
    link_lost(k);
    probe_in(k, back_off_ms(k));
}

static void probe_send(struct kube *k, const struct kube_call *call,
                       void (*done)(void *arg, const struct http_answer *answer))
{
    struct error error = {0};
    struct kube_call with = *call;

    with.timeout_ms = k->ping_ms;
    k->probe = kube_open(k, &with, &(struct client_request){.done = done, .arg = k}, &error);
    if (!k->probe)
        probe_failed(k, error.text);
}

/* "HTTP 403: ..." */
static const char *reason_of(const struct kube_reply *reply, char *buffer, size_t size)
{
    if (kube_lost(reply))
        return reply->text;
    snprintf(buffer, size, "HTTP %d: %.120s", reply->status, reply->text);
    return buffer;
}

/* ---- rights ---- */

static const struct {
    const char *verb, *resource, *subresource;
} rights[] = {
    {"create", "pods", ""}, {"get", "pods", ""},    {"list", "pods", ""},   {"watch", "pods", ""},
    {"patch", "pods", ""},  {"delete", "pods", ""}, {"get", "pods", "log"},
};
#define RIGHT_COUNT (sizeof(rights) / sizeof(rights[0]))

static size_t namespace_count(const struct kube *k)
{
    size_t n = 1;

    while (n < KUBE_NAMESPACES_MAX && k->namespaces[0] && k->namespaces[n])
        n++;
    return n;
}

static const char *namespace_at(const struct kube *k, size_t i)
{
    return i == 0 ? kube_namespace(k) : k->namespaces[i];
}

static void ask_right(struct kube *k);

static void on_right(void *arg, const struct http_answer *answer)
{
    struct kube *k = OBJECT(struct kube, arg);
    json_t *json;
    struct kube_reply reply = kube_read(k, answer, &json);
    const json_t *allowed = json_object_get(json_object_get(json, "status"), "allowed");
    size_t all = RIGHT_COUNT * namespace_count(k), at = k->right_at, i = at % RIGHT_COUNT;

    k->probe = NULL;
    if (!kube_lost(&reply) && reply.status == 201 && json_is_false(allowed))
        snprintf(k->trouble, sizeof(k->trouble), "its account has no right to %s %s%s%s in namespace %.63s",
                 rights[i].verb, rights[i].resource, *rights[i].subresource ? "/" : "", rights[i].subresource,
                 namespace_at(k, at / RIGHT_COUNT));
    else
        k->right_at++;
    json_decref(json);
    if (k->right_at >= all)
        k->trouble[0] = '\0';
    if (k->right_at > at && k->right_at < all)
        ask_right(k);
    else
        probe_in(k, k->ping_ms);
}

/* One in each turn; the one that is missing again and again, until it is there. */
static void ask_right(struct kube *k)
{
    size_t i = k->right_at % RIGHT_COUNT;
    json_t *body = json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:s, s:s}}}", "apiVersion",
                             "authorization.k8s.io/v1", "kind", "SelfSubjectAccessReview", "spec",
                             "resourceAttributes", "namespace", namespace_at(k, k->right_at / RIGHT_COUNT),
                             "verb", rights[i].verb, "resource", rights[i].resource, "subresource",
                             rights[i].subresource);

    probe_send(k,
               &(struct kube_call){.method = "POST",
                                   .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                   .body = body},
               on_right);
    json_decref(body);
}

/* ---- identity ---- */

bool kube_link_identity(const json_t *namespace, char ret[ENGINE_IDENTITY_MAX])
{
    const char *uid = json_string_value(json_object_get(json_object_get(namespace, "metadata"), "uid"));
    struct kube_id id;
    char text[KUBE_ID_MAX];

    if (!uid || strchr(uid, '/') || strlen(uid) >= KUBE_UID_MAX)
        return false;
    snprintf(text, sizeof(text), "n/n/%.*s", KUBE_UID_MAX, uid);
    snprintf(ret, ENGINE_IDENTITY_MAX, "kube=%.*s", KUBE_UID_MAX, uid);
    return kube_id_read(text, &id);
}

void kube_link_identity_path(const struct kube *k, char ret[KUBE_PATH_MAX])
{
    snprintf(ret, KUBE_PATH_MAX, "/api/v1/namespaces/%s",
             k->own_identity ? kube_namespace(k) : "kube-system");
}

static void ask_identity(struct kube *k);

static void on_identity(void *arg, const struct http_answer *answer)
{
    struct kube *k = OBJECT(struct kube, arg);
    json_t *json;
    struct kube_reply reply = kube_read(k, answer, &json);
    char identity[ENGINE_IDENTITY_MAX], buffer[200];
    bool replaced;

    k->probe = NULL;
    if (!kube_lost(&reply) && reply.status == 403 && !k->identity[0] && !k->own_identity) {
        k->own_identity = true;
        ask_identity(k);
    } else if (kube_lost(&reply) || reply.status != 200) {
        k->own_identity = k->own_identity && k->identity[0];
        probe_failed(k, reason_of(&reply, buffer, sizeof(buffer)));
    } else if (!kube_link_identity(json, identity)) {
        probe_failed(k, "the API does not tell which cluster it is");
    } else {
        replaced = k->identity[0] && strcmp(k->identity, identity) != 0;
        snprintf(k->identity, sizeof(k->identity), "%s", identity);
        k->clock_ms = reply.date_ms ? reply.date_ms - k->tasks.host->now_ms(k->tasks.host) : 0;
        link_up(k, replaced);
        if (!k->tasks.closing && k->right_at < RIGHT_COUNT * namespace_count(k))
            ask_right(k);
        else
            probe_in(k, k->ping_ms);
    }
    json_decref(json);
}

static void ask_identity(struct kube *k)
{
    char path[KUBE_PATH_MAX];

    kube_link_identity_path(k, path);
    probe_send(k, &(struct kube_call){.method = "GET", .path = path}, on_identity);
}

/* ---- version ---- */

/* A minor version may end in "+". */
static bool read_version(struct kube *k, const json_t *json)
{
    const char *major = json_string_value(json_object_get(json, "major"));
    const char *minor = json_string_value(json_object_get(json, "minor"));
    const char *text = json_string_value(json_object_get(json, "gitVersion"));

    if (!major || !minor)
        return false;
    snprintf(k->version, sizeof(k->version), "%.60s", text ? text : "?");
    return strtol(major, NULL, 10) > 1 ||
           (strtol(major, NULL, 10) == 1 && strtol(minor, NULL, 10) >= OLDEST_MINOR);
}

static void on_version(void *arg, const struct http_answer *answer)
{
    struct kube *k = OBJECT(struct kube, arg);
    json_t *json;
    struct kube_reply reply = kube_read(k, answer, &json);
    char buffer[200];

    k->probe = NULL;
    k->version[0] = '\0';
    if (kube_lost(&reply) || reply.status != 200) {
        probe_failed(k, reason_of(&reply, buffer, sizeof(buffer)));
    } else if (!read_version(k, json)) {
        snprintf(buffer, sizeof(buffer),
                 "Kubernetes %.60s is too old: servers from 1.%d on have the scheduling gates that "
                 "the engine needs",
                 k->version[0] ? k->version : "(no version told)", OLDEST_MINOR);
        probe_failed(k, buffer);
    } else {
        ask_identity(k);
    }
    json_decref(json);
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct kube *k = OBJECT(struct kube, timer->data);

    if (k->probe || k->tasks.closing || !kube_access_login(k->access))
        return;
    probe_send(k, &(struct kube_call){.method = "GET", .path = "/version"}, on_version);
}

/* ---- access ---- */

static void on_access_read(void *arg, const struct error *error)
{
    struct kube *k = OBJECT(struct kube, arg);

    if (!error)
        k->login_trouble[0] = '\0';
    k->no_events = false;
    if (error && !kube_access_login(k->access)) {
        snprintf(k->why, sizeof(k->why), "%.250s", error->text);
        link_lost(k);
    } else if (error) { /* it goes on with what it has, and doctor tells */
        snprintf(k->login_trouble, sizeof(k->login_trouble), "%.190s", error->text);
    } else if (k->link != KUBE_LINK_UP && !k->probe) {
        probe_in(k, 0);
    }
}

const struct kube_access_events kube_link_access = {on_access_read};

void kube_link_suspect(struct kube *k)
{
    if (k->link == KUBE_LINK_UP && !k->probe)
        probe_in(k, 0);
}

void kube_link_start(struct kube *k)
{
    snprintf(k->why, sizeof(k->why), "its access is being read");
}

void kube_link_stop(struct kube *k)
{
    http_call_cancel(k->probe);
    k->probe = NULL;
}
