/* The sweep: removes what the journal needs no more. While host->epoch() says that this replica leads, every
 * `sweep_ms`: list the containers with our cluster's label, newest first and a page at a time; of those whose epoch is
 * not above ours and that host->keep lets go, as inspect tells (without space on its disk the engine's list goes on
 * saying that one runs):
 *
 *   exited    longer than the retention ago (by the engine's own clock): DELETE
 *   created   of a lower epoch, or older than the retention: DELETE; a start that failed leaves such
 *
 * Those that are too young by the list itself cost no request. Never by force, so that whatever runs after all
 * stays: the engine refuses. At most DOCKER_SWEEP_MAX are removed, one after the other; then the next sweep comes
 * after AGAIN_MS. Any failure ends the sweep.
 *
 * The first sweep of a link also counts the containers of other clusters: what is left of a cluster whose journal was lost
 * is nobody's to remove but a person's, whom doctor tells.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "leader/worker/loop.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOREIGN_MAX    1000
#define LIST_BYTES_MAX (16 * 1024 * 1024)
#define FIRST_MS       5000 /* after the engine was found */
#define AGAIN_MS       500  /* when there was more to remove than one sweep does */

struct docker_sweep {
    struct object object; /* first */
    struct docker *docker;
    struct http_call *call;
    json_t *list; /* a page */
    size_t next;
    char before[DOCKER_ID_MAX]; /* the page holds those made before this one; "": the newest */
    char last[DOCKER_ID_MAX];   /* the oldest of the page so far that is still there */
    int removed, pages;
    int64_t epoch, engine_ms;
    char id[DOCKER_ID_MAX];
    bool old_epoch;
};

static void go_on(struct docker_sweep *s);
static void sweep(uv_timer_t *timer);

static void finish(struct docker_sweep *s)
{
    http_call_cancel(s->call);
    json_decref(s->list);
    s->docker->sweep = NULL;
    OBJECT_FREE(struct docker_sweep, s);
}

static void ask(struct docker_sweep *s, const char *method, const char *what, const char *query,
                void (*done)(void *arg, const struct http_answer *answer))
{
    char path[DOCKER_PATH_MAX];
    struct docker_call call = {.method = method,
                               .path = path,
                               .query = query,
                               .timeout_ms = DOCKER_CALL_MS,
                               .max_bytes = LIST_BYTES_MAX};

    snprintf(path, sizeof(path), "%s/containers/%s%s", s->docker->api, s->id, what);
    s->call = docker_open(s->docker, &call, &(struct client_request){.done = done, .arg = s}, NULL);
    if (!s->call)
        finish(s);
}

/* The next page begins behind it. */
static void stays(struct docker_sweep *s, const char *id)
{
    snprintf(s->last, sizeof(s->last), "%s", id);
}

static void on_removed(void *arg, const struct http_answer *answer)
{
    struct docker_sweep *s = OBJECT(struct docker_sweep, arg);

    s->call = NULL;
    if (answer->outcome != HTTP_ANSWERED) {
        finish(s);
        return;
    }
    s->removed += answer->status == 204;
    if (answer->status != 204 && answer->status != 404) /* the next sweep comes by again */
        stays(s, s->id);
    go_on(s);
}

static bool is_over(const struct docker_sweep *s, const json_t *inspect)
{
    struct docker_state state;
    int64_t retention_ms = s->docker->retention_ms;
    const char *created = json_string_value(json_object_get(inspect, "Created"));

    if (docker_state_read(inspect, &state) < 0)
        return false;
    if (state.status == DOCKER_EXITED || state.status == DOCKER_DEAD)
        return state.finished_ms && state.finished_ms + retention_ms <= s->engine_ms;
    return state.status == DOCKER_CREATED && !docker_state_started(&state) &&
           (s->old_epoch ||
            (docker_time_read(created) && docker_time_read(created) + retention_ms <= s->engine_ms));
}

static void on_inspected(void *arg, const struct http_answer *answer)
{
    struct docker_sweep *s = OBJECT(struct docker_sweep, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    s->call = NULL;
    if (docker_lost(&reply))
        finish(s);
    else if (reply.status == 200 && is_over(s, json)) {
        ask(s, "DELETE", "", "v=1", on_removed);
    } else {
        if (reply.status == 200)
            stays(s, s->id);
        go_on(s);
    }
    json_decref(json);
}

static const char *label(const json_t *container, const char *key)
{
    const char *s = json_string_value(json_object_get(json_object_get(container, "Labels"), key));

    return s ? s : "";
}

/* Made within the retention, or who knows when: it need not have ended before. */
static bool is_young(const struct docker_sweep *s, const json_t *container)
{
    int64_t created_ms = docker_ms_of(json_integer_value(json_object_get(container, "Created")));

    return !created_ms || created_ms + s->docker->retention_ms > s->engine_ms;
}

static bool is_candidate(struct docker_sweep *s, const json_t *container, const char *id)
{
    struct docker *d = s->docker;
    const char *state = json_string_value(json_object_get(container, "State"));
    const char *run = label(container, "cronsched.run");
    int64_t epoch = docker_number_read(label(container, "cronsched.epoch"));
    int64_t attempt = docker_number_read(label(container, "cronsched.attempt"));

    if (!state || !*run || epoch <= 0 || epoch > s->epoch || attempt <= 0 || attempt > INT_MAX ||
        !docker_witness_fits(container))
        return false;
    if (strcmp(label(container, "cronsched.cluster"), d->host->cluster(d->host)) != 0)
        return false;
    s->old_epoch = epoch < s->epoch;
    if (is_young(s, container) && !(strcmp(state, "created") == 0 && s->old_epoch))
        return false;
    return !tasks_are_busy(&d->tasks, id, run) && !d->host->keep(d->host, run, (int)attempt, epoch, id);
}

/* ---- of other clusters ---- */

static void on_foreign(void *arg, const struct http_answer *answer)
{
    struct docker_sweep *s = OBJECT(struct docker_sweep, arg);
    struct docker *d = s->docker;
    json_t *json, *container;
    struct docker_reply reply = docker_read(answer, &json);
    size_t i;

    s->call = NULL;
    if (!docker_lost(&reply) && reply.status == 200 && json_is_array(json)) {
        d->foreign = 0;
        d->foreign_link = d->link_number + 1;
        json_array_foreach(json, i, container)
            d->foreign += strcmp(label(container, "cronsched.cluster"), d->host->cluster(d->host)) != 0;
    }
    json_decref(json);
    finish(s);
}

static void count_foreign(struct docker_sweep *s)
{
    char query[256];

    snprintf(query, sizeof(query), "all=1&limit=%d&filters=", FOREIGN_MAX);
    s->id[0] = '\0';
    if (s->docker->foreign_link == s->docker->link_number + 1 ||
        percent_append(query, sizeof(query), "{\"label\":[\"cronsched.cluster\"]}") < 0)
        finish(s);
    else
        ask(s, "GET", "json", query, on_foreign);
}

/* ---- the pages ---- */

static void ask_page(struct docker_sweep *s);

static void go_on(struct docker_sweep *s)
{
    struct docker *d = s->docker;

    while (s->removed < DOCKER_SWEEP_MAX && s->next < json_array_size(s->list)) {
        const json_t *container = json_array_get(s->list, s->next++);
        const char *id = json_string_value(json_object_get(container, "Id"));

        if (d->host->epoch(d->host) != s->epoch) {
            finish(s);
            return;
        }
        if (!id || !docker_id_valid(id))
            continue;
        if (is_candidate(s, container, id)) {
            snprintf(s->id, sizeof(s->id), "%s", id);
            ask(s, "GET", "/json", NULL, on_inspected);
            return;
        }
        stays(s, id);
    }
    if (s->removed == DOCKER_SWEEP_MAX)
        loop_timer_start(&d->sweep_timer, sweep, AGAIN_MS, (uint64_t)d->sweep_ms);
    if (s->removed == DOCKER_SWEEP_MAX || json_array_size(s->list) < DOCKER_SWEEP_PAGE || !*s->last ||
        strcmp(s->last, s->before) == 0 || ++s->pages == DOCKER_SWEEP_PAGES) {
        count_foreign(s);
        return;
    }
    memcpy(s->before, s->last, sizeof(s->before));
    ask_page(s);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct docker_sweep *s = OBJECT(struct docker_sweep, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    s->call = NULL;
    if (docker_lost(&reply) || reply.status != 200 || !json_is_array(json)) {
        json_decref(json);
        finish(s);
        return;
    }
    json_decref(s->list);
    s->list = json;
    s->next = 0;
    s->last[0] = '\0';
    s->engine_ms = reply.date_ms ? reply.date_ms : s->docker->host->now_ms(s->docker->host);
    go_on(s);
}

/* Docker lists the newest first, and with `before` those that are older than that one, which has to exist. */
static void ask_page(struct docker_sweep *s)
{
    char filters[512], query[2048], before[DOCKER_ID_MAX + 32] = "";

    if (s->before[0])
        snprintf(before, sizeof(before), ",\"before\":[\"%s\"]", s->before);
    snprintf(query, sizeof(query), "all=1&limit=%d&filters=", DOCKER_SWEEP_PAGE);
    snprintf(filters, sizeof(filters), "{\"label\":[\"cronsched.cluster=%.100s\"]%s}",
             s->docker->host->cluster(s->docker->host), before);
    s->id[0] = '\0';
    if (percent_append(query, sizeof(query), filters) < 0)
        finish(s);
    else
        ask(s, "GET", "json", query, on_list);
}

static void sweep(uv_timer_t *timer)
{
    struct docker *d = OBJECT(struct docker, timer->data);
    int64_t epoch = d->host->epoch(d->host);
    const char *cluster = d->host->cluster(d->host);

    if (d->sweep || d->link != DOCKER_LINK_UP || d->identity_state == DOCKER_IDENTITY_UNREAD || epoch <= 0 ||
        !cluster || !*cluster)
        return;
    d->sweep = OBJECT_NEW(struct docker_sweep);
    d->sweep->docker = d;
    d->sweep->epoch = epoch;
    ask_page(d->sweep);
}

void docker_sweep_timer_start(struct docker *d)
{
    int64_t first_ms = d->sweep_ms < FIRST_MS ? d->sweep_ms : FIRST_MS;

    loop_timer_start(&d->sweep_timer, sweep, (uint64_t)first_ms, (uint64_t)d->sweep_ms);
}

void docker_sweep_stop(struct docker *d)
{
    if (d->sweep)
        finish(d->sweep);
}
