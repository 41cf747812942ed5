/* Strays: containers of ours that run although nobody keeps them any more. Somebody else has started them again after
 * their end. They are reported to the host, which counts them for their job, and once more when they have ended.
 *
 * While this replica leads, all that runs with our cluster's label is listed every `sweep_ms`, soon after a `start` of a
 * container that nobody watches, after the end of a stray, and after each loss of the link. Those with a request under
 * way, and those that host->keep keeps, are no strays; an end that is not durable yet keeps its container, so then the
 * list is read again soon.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "jobs/state/run_id.h"
#include "leader/worker/loop.h"

#include "jobs/base/hash_table.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOON_MS        200
#define AGAIN_MS       1000
#define STRAYS_MAX     1024 /* more are not counted */
#define LIST_BYTES_MAX (16 * 1024 * 1024)

struct docker_stray {
    char id[DOCKER_ID_MAX], run[RUN_ID_MAX];
    int attempt;
    bool listed, reported;
    UT_hash_handle by_id;
};

static void on_timer(uv_timer_t *timer);

/* Never later than is planned already. */
static void look_in(struct docker *d, int64_t ms)
{
    bool planned = uv_is_active((uv_handle_t *)&d->stray_timer) &&
                   uv_timer_get_due_in(&d->stray_timer) <= (uint64_t)ms;

    if (!d->tasks.closing && !planned)
        loop_timer_start(&d->stray_timer, on_timer, (uint64_t)ms, (uint64_t)d->sweep_ms);
}

void docker_stray_soon(struct docker *d)
{
    look_in(d, SOON_MS);
}

void docker_stray_timer_start(struct docker *d)
{
    look_in(d, d->sweep_ms);
}

static struct docker_stray *find(const struct docker *d, const char *id)
{
    struct docker_stray *x;

    HASH_FIND(by_id, d->strays, id, strlen(id), x);
    return x;
}

bool docker_stray_is(const struct docker *d, const char *id)
{
    return find(d, id) != NULL;
}

void docker_stray_forget_all(struct docker *d)
{
    struct docker_stray *x, *next;

    HASH_ITER(by_id, d->strays, x, next)
    {
        HASH_DELETE(by_id, d->strays, x);
        free(x);
    }
    http_call_cancel(d->stray_call);
    d->stray_call = NULL;
    d->stray_epoch = 0;
}

static const char *label(const json_t *container, const char *key)
{
    const char *s = json_string_value(json_object_get(json_object_get(container, "Labels"), key));

    return s ? s : "";
}

/* One that runs. False: it may be a stray, but it is too early to say. */
static bool take(struct docker *d, const json_t *container)
{
    const char *id = json_string_value(json_object_get(container, "Id"));
    const char *run = label(container, "cronsched.run");
    int64_t attempt = docker_number_read(label(container, "cronsched.attempt"));
    int64_t epoch = docker_number_read(label(container, "cronsched.epoch"));
    struct docker_stray *x;

    if (!id || !docker_id_valid(id) || !docker_witness_fits(container) || !*run ||
        strlen(run) >= RUN_ID_MAX || epoch <= 0 || epoch > d->stray_epoch || attempt <= 0 ||
        attempt > INT_MAX || tasks_are_busy(&d->tasks, id, run))
        return true;
    x = find(d, id);
    if (!x && d->host->keep(d->host, run, (int)attempt, epoch, id))
        return false;
    if (!x && HASH_CNT(by_id, d->strays) < STRAYS_MAX) {
        x = alloc_zero(sizeof(*x));
        snprintf(x->id, sizeof(x->id), "%s", id);
        snprintf(x->run, sizeof(x->run), "%s", run);
        x->attempt = (int)attempt;
        HASH_ADD(by_id, d->strays, id, strlen(x->id), x);
    }
    if (x)
        x->listed = true;
    return true;
}

/* The next one whose report is due. */
static struct docker_stray *next_report(const struct docker *d)
{
    struct docker_stray *x, *next;

    HASH_ITER(by_id, d->strays, x, next)
    {
        if (x->listed != x->reported)
            return x;
    }
    return NULL;
}

/* The host may do anything from within, also abandon all. */
static void report_all(struct docker *d)
{
    struct docker_stray *x;

    while ((x = next_report(d))) {
        struct docker_stray copy = *x;

        x->reported = x->listed;
        if (!x->listed) {
            HASH_DELETE(by_id, d->strays, x);
            free(x);
        }
        if (d->host->stray)
            d->host->stray(d->host, &d->engine, copy.run, copy.attempt, copy.id, copy.listed);
    }
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json, *container;
    struct docker_reply reply = docker_read(answer, &json);
    struct docker_stray *x, *next;
    bool certain = true;
    size_t i;

    d->stray_call = NULL;
    if (!docker_lost(&reply) && reply.status == 200 && json_is_array(json) &&
        d->host->epoch(d->host) == d->stray_epoch) {
        HASH_ITER(by_id, d->strays, x, next)
        {
            x->listed = false;
        }
        json_array_foreach(json, i, container) certain &= take(d, container);
        look_in(d, certain ? d->sweep_ms : AGAIN_MS);
        report_all(d);
    }
    json_decref(json);
}

static void on_timer(uv_timer_t *timer)
{
    struct docker *d = OBJECT(struct docker, timer->data);
    const char *cluster = d->host->cluster(d->host);
    char path[64], filters[256], query[1024] = "filters=";
    struct docker_call call = {.method = "GET",
                               .path = path,
                               .query = query,
                               .timeout_ms = DOCKER_CALL_MS,
                               .max_bytes = LIST_BYTES_MAX};
    int64_t epoch = d->host->epoch(d->host);

    if (d->stray_call) {
        look_in(d, SOON_MS); /* what was asked for may have come too late for that list */
        return;
    }
    if (d->link != DOCKER_LINK_UP || epoch <= 0 || !cluster || !*cluster)
        return;
    d->stray_epoch = epoch;
    snprintf(path, sizeof(path), "%s/containers/json", d->api);
    snprintf(filters, sizeof(filters),
             "{\"label\":[\"cronsched.cluster=%.100s\"],\"status\":[\"running\",\"restarting\",\"paused\"]}",
             cluster);
    if (percent_append(query, sizeof(query), filters) == 0)
        d->stray_call = docker_open(d, &call, &(struct client_request){.done = on_list, .arg = d}, NULL);
}
