/* The sweep: removes what the journal needs no more. While host->epoch() says that this replica leads, every `sweep_ms`: list
 * the Pods of our cluster in each namespace of the engine; of those whose epoch is not above ours and that host->keep lets
 * go:
 *
 *   our gate is there  of a lower epoch, or older than the retention: DELETE at the version that was listed
 *   over               its container has ended, or never can start: DELETE
 *   waits              released, and its run has ended without it, as lost: DELETE, so that it does not start some day; the
 *                      next sweep finds it over
 *   running            nothing
 *
 * then the finalizer off, of what is over. A Pod that somebody else has deleted has our finalizer alone to go. At most KUBE_SWEEP_MAX are
 * removed, one after the other; any failure ends the sweep, and the next one comes by again. What a list says of a Pod may be
 * old: a DELETE at its version finds out.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "leader/worker/loop.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FIRST_MS 5000 /* after the API was found */
#define SOON_MS  2000 /* after an end, which is to be journaled meanwhile */

struct kube_sweep {
    struct object object; /* first */
    struct kube *kube;
    struct http_call *call;
    json_t *list;
    size_t next;      /* item */
    size_t namespace; /* of the engine's, under way */
    int removed;
    int64_t epoch, engine_ms;
    struct kube_id id; /* under way */
    bool over;         /* likewise: it has ended, or was never released */
};

static void go_on(struct kube_sweep *w);

static void finish(struct kube_sweep *w)
{
    http_call_cancel(w->call);
    json_decref(w->list);
    w->kube->sweep = NULL;
    OBJECT_FREE(struct kube_sweep, w);
}

static void ask(struct kube_sweep *w, const struct kube_call *call,
                void (*done)(void *arg, const struct http_answer *answer))
{
    w->call = kube_open(w->kube, call, &(struct client_request){.done = done, .arg = w}, NULL);
    if (!w->call)
        finish(w);
}

/* ---- one Pod ---- */

static void on_finalizer_off(void *arg, const struct http_answer *answer)
{
    struct kube_sweep *w = OBJECT(struct kube_sweep, arg);

    w->call = NULL;
    if (answer->outcome != HTTP_ANSWERED || answer->status == 401 || answer->status == 429) {
        finish(w);
        return;
    }
    w->removed++;
    go_on(w);
}

static void take_finalizer(struct kube_sweep *w)
{
    char path[KUBE_PATH_MAX];
    json_t *body = kube_release_finalizer(&w->id);

    kube_pod_path(path, &w->id, "?fieldManager=cronsched");
    ask(w, &(struct kube_call){.method = "PATCH", .path = path, .body = body, .type = KUBE_STRATEGIC},
        on_finalizer_off);
    json_decref(body);
}

static void on_deleted(void *arg, const struct http_answer *answer)
{
    struct kube_sweep *w = OBJECT(struct kube_sweep, arg);

    w->call = NULL;
    if (answer->outcome != HTTP_ANSWERED || answer->status == 401 || answer->status == 429)
        finish(w);
    else if (w->over && (answer->status == 200 || answer->status == 202))
        take_finalizer(w);
    else
        go_on(w); /* it has changed, or is gone */
}

static bool is_over(const struct kube_state *pod)
{
    return pod->gated || (pod->event != ENGINE_PENDING && pod->event != ENGINE_STARTED);
}

static void delete_it(struct kube_sweep *w, const struct kube_state *pod)
{
    char path[KUBE_PATH_MAX];
    json_t *body = json_pack("{s:i, s:{s:s, s:s}}", "gracePeriodSeconds", is_over(pod) ? 0 : 1,
                             "preconditions", "uid", pod->id.uid, "resourceVersion", pod->version);

    w->id = pod->id;
    w->over = is_over(pod);
    kube_pod_path(path, &w->id, "");
    ask(w, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_deleted);
    json_decref(body);
}

/* ---- which ---- */

/* A watch alone is of a run that was given up: what is kept has one. */
static bool is_busy(struct kube *k, const char *id, const char *run)
{
    struct list *const lists[] = {&k->tasks.queue, &k->tasks.urgent, &k->tasks.active, &k->tasks.aside};

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        LIST_EACH(link, lists[i])
        {
            const struct task *t = LIST_ITEM(link, struct task, link);

            if ((t->q.id && strcmp(t->q.id, id) == 0) ||
                (t->op == ENGINE_PREPARE && strcmp(t->q.run, run) == 0))
                return true;
        }
    }
    return false;
}

static bool is_candidate(const struct kube_sweep *w, const struct kube_state *pod)
{
    struct kube *k = w->kube;
    struct engine_host *host = k->tasks.host;
    bool old = pod->created_ms && pod->created_ms + k->retention_ms <= w->engine_ms;
    char id[KUBE_ID_MAX];

    if (strcmp(pod->cluster, host->cluster(host)) != 0 || !*pod->run || pod->epoch < 0 ||
        pod->epoch > w->epoch || pod->attempt <= 0 || pod->attempt > INT_MAX)
        return false;
    if (pod->event == ENGINE_STARTED || (pod->gated && !old && pod->epoch == w->epoch) ||
        (pod->deleting && !is_over(pod)))
        return false;
    kube_id_write(&pod->id, id);
    return !is_busy(k, id, pod->run) && !host->keep(host, pod->run, (int)pod->attempt, pod->epoch, id);
}

static const char *namespace_of(const struct kube_sweep *w)
{
    const struct kube *k = w->kube;

    if (w->namespace == 0)
        return kube_namespace(k);
    return k->namespaces[0] && w->namespace < KUBE_NAMESPACES_MAX ? k->namespaces[w->namespace] : NULL;
}

static void list(struct kube_sweep *w, const char *next);

static void next_page(struct kube_sweep *w)
{
    char next[512];
    const char *more = json_string_value(json_object_get(json_object_get(w->list, "metadata"), "continue"));

    snprintf(next, sizeof(next), "%s", more ? more : "");
    json_decref(w->list);
    w->list = NULL;
    w->next = 0;
    if (!*next)
        w->namespace ++;
    if (w->removed < KUBE_SWEEP_MAX && namespace_of(w))
        list(w, next);
    else
        finish(w);
}

static void go_on(struct kube_sweep *w)
{
    struct engine_host *host = w->kube->tasks.host;
    const json_t *items = json_object_get(w->list, "items");
    struct kube_state pod;

    while (w->removed < KUBE_SWEEP_MAX && w->next < json_array_size(items)) {
        const json_t *each = json_array_get(items, w->next++);

        if (host->epoch(host) != w->epoch) {
            finish(w);
            return;
        }
        if (kube_state_read(each, &pod) && is_candidate(w, &pod)) {
            delete_it(w, &pod);
            return;
        }
    }
    next_page(w);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct kube_sweep *w = OBJECT(struct kube_sweep, arg);
    json_t *json;
    struct kube_reply reply = kube_read(w->kube, answer, &json);

    w->call = NULL;
    if (kube_lost(&reply) || reply.status != 200 || !json_is_array(json_object_get(json, "items"))) {
        json_decref(json);
        finish(w);
        return;
    }
    w->list = json;
    w->engine_ms = reply.date_ms ? reply.date_ms : w->kube->tasks.host->now_ms(w->kube->tasks.host);
    go_on(w);
}

static void list(struct kube_sweep *w, const char *next)
{
    char path[KUBE_PATH_MAX], rest[600];

    snprintf(rest, sizeof(rest), "&limit=" KUBE_PAGE "%s", *next ? "&continue=" : "");
    if (percent_append(rest, sizeof(rest), next) < 0) {
        finish(w);
        return;
    }
    kube_list_path(w->kube, path, namespace_of(w), rest);
    ask(w, &(struct kube_call){.method = "GET", .path = path, .max_bytes = KUBE_LIST_BYTES_MAX}, on_list);
}

static void sweep(uv_timer_t *timer)
{
    struct kube *k = OBJECT(struct kube, timer->data);
    struct engine_host *host = k->tasks.host;
    const char *cluster = host->cluster(host);

    if (k->sweep || k->link != KUBE_LINK_UP || host->epoch(host) <= 0 || !cluster || !*cluster)
        return;
    k->sweep = OBJECT_NEW(struct kube_sweep);
    k->sweep->kube = k;
    k->sweep->epoch = host->epoch(host);
    list(k->sweep, "");
}

void kube_sweep_timer_start(struct kube *k)
{
    int64_t first_ms = k->sweep_ms < FIRST_MS ? k->sweep_ms : FIRST_MS;

    loop_timer_start(&k->sweep_timer, sweep, (uint64_t)first_ms, (uint64_t)k->sweep_ms);
}

void kube_sweep_soon(struct kube *k)
{
    bool is_soon = uv_is_active((uv_handle_t *)&k->sweep_timer) &&
                   uv_timer_get_due_in(&k->sweep_timer) <= SOON_MS;

    if (!k->tasks.closing && !is_soon)
        loop_timer_start(&k->sweep_timer, sweep, SOON_MS, (uint64_t)k->sweep_ms);
}

void kube_sweep_stop(struct kube *k)
{
    if (k->sweep)
        finish(k->sweep);
}
