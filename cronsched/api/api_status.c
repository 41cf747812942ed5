/* What this replica is and how it is: version, cluster, health. */
#include "cronsched/api/api_priv.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <stdio.h>

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

void api_handle_version(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;
    char started[TEXT_NUMBER_BUFFER];

    http_reply_json(request, 200,
                    json_pack("{s:s, s:s, s:s, s:s, s:s}", "version", CRONSCHED_VERSION, "api", "v1",
                              "cluster", c->cluster, "replica", c->replica, "started",
                              instant_format(c->started_ms, INSTANT_S, started, sizeof(started))));
}

/* ---- the cluster ---- */

/* This replica is all of it. */
static json_t *cluster_of_one(struct api *api)
{
    const struct api_context *c = &api->context;
    json_t *status = scheduler_status_json(c->scheduler), *leader = json_null(), *replica, *all;
    bool leads = scheduler_leading(c->scheduler);

    if (leads)
        leader = json_pack("{s:s, s:s?}", "id", c->replica, "url", c->advertise);
    replica = json_pack("{s:s, s:s?, s:s, s:O?, s:s, s:s?, s:i}", "id", c->replica, "url", c->advertise,
                        "role", leads ? "leader" : "standby", "applied", json_object_get(status, "index"),
                        "version", CRONSCHED_VERSION, "tzdata", or_null(c->zones->version(c->zones)),
                        "clock_offset_ms", 0);
    all = json_pack("{s:s, s:O?, s:o, s:[o], s:O?, s:O?}", "cluster", c->cluster, "epoch",
                    json_object_get(status, "epoch"), "leader", leader, "replicas", replica, "uuid",
                    json_object_get(status, "cluster"), "refusing", json_object_get(status, "refusing"));
    json_decref(status);
    return all;
}

json_t *api_cluster_json(const struct api_context *c)
{
    return c->cluster_ops ? c->cluster_ops->json(c->cluster_arg) : NULL;
}

const char *api_zookeeper(const struct api_context *c, struct zookeeper_report *ret)
{
    return c->cluster_ops && c->cluster_ops->zookeeper ? c->cluster_ops->zookeeper(c->cluster_arg, ret)
                                                       : NULL;
}

bool api_following(const struct api_context *c)
{
    return c->cluster_ops && c->cluster_ops->following(c->cluster_arg);
}

static void cluster_then(struct api *api, struct http_request *request)
{
    json_t *cluster = api_cluster_json(&api->context);

    http_reply_json(request, 200, cluster ? cluster : cluster_of_one(api));
}

void api_handle_cluster(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, cluster_then);
}

void api_handle_step_down(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    struct error e = {0};
    int r = api_body_check("step-down", http_body(request), NULL, 0, &e);

    if (r == 0 && !scheduler_leading(c->scheduler))
        r = error_set(&e, ERR_NO_LEADER, "this replica does not lead");
    if (r == 0)
        r = c->cluster_ops ? c->cluster_ops->step_down(c->cluster_arg, &e)
                           : error_set(&e, ERR_UNSUPPORTED, "this replica is alone: no other can lead");
    if (r < 0)
        http_reply_failure(request, &e);
    else
        http_reply_json(request, 200, json_pack("{s:s}", "replica", c->replica));
}

void api_handle_peer_engine(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;

    if (c->cluster_ops)
        c->cluster_ops->peer_engine(c->cluster_arg, request);
    else
        http_reply_error(request, ERR_UNSUPPORTED, "this replica is alone");
}

void api_handle_peer_heartbeat(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;

    if (c->cluster_ops)
        c->cluster_ops->peer_heartbeat(c->cluster_arg, request);
    else
        http_reply_error(request, ERR_UNSUPPORTED, "this replica is alone");
}

/* ---- health ---- */

void api_handle_healthz(struct http_request *request, void *arg)
{
    http_reply_text(request, 200, "text/plain; charset=utf-8", "ok\n");
}

__attribute__((format(printf, 2, 3))) static void add_reason(json_t *reasons, const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    json_array_append_new(reasons, json_string(text));
}

/* Whether each engine has been asked at least once, whatever it said: one that is away does not stop the
 * others. */
static void check_engines(const struct api_context *c, json_t *reasons)
{
    for (size_t i = 0; i < c->engine_count; i++) {
        const struct engine *engine = c->engines[i];
        struct engine_status status = {0};

        engine->ops->status(engine, &status);
        if (!status.reachable && !status.text[0])
            add_reason(reasons, "engine %s has not answered yet", engine->name);
    }
}

/* The scheduler may lead for a moment longer than its journal does. */
static void check_leading(const struct api_context *c, const struct journal_status *journal, bool leads,
                          json_t *reasons)
{
    json_t *status = scheduler_status_json(c->scheduler);
    const char *why = json_string_value(json_object_get(status, "refusing"));

    if (!why)
        why = "it is starting";
    if (leads && !journal->leading && journal->text[0])
        add_reason(reasons, "the journal: %s", journal->text);
    else if (!leads)
        add_reason(reasons, "this replica neither leads nor follows: %s",
                   journal->text[0] ? journal->text : why);
    json_decref(status);
}

/* Whatever is asked of this replica has to be written first. */
static void check_journal(const struct journal_status *journal, json_t *reasons)
{
    if (journal->busy_ms >= API_STUCK_MS)
        add_reason(reasons, "the journal's file has not answered for %lld s",
                   (long long)journal->busy_ms / 1000);
}

void api_handle_readyz(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    bool leads = scheduler_leading(c->scheduler), follows = !leads && api_following(c);
    const char *role = leads ? "leader" : "standby";
    json_t *reasons = json_array(), *warnings = NULL;
    struct journal_status journal = {0};
    size_t n;

    c->journal->ops->status(c->journal, &journal);
    if (!follows)
        check_leading(c, &journal, leads, reasons);
    if (!leads && !follows)
        role = "none";
    if (journal.warning[0])
        warnings = json_pack("[s]", journal.warning);
    if (leads && journal.refused)
        add_reason(reasons, "nothing can be written: %s", journal.text);
    check_journal(&journal, reasons);
    check_engines(c, reasons);
    n = json_array_size(reasons);
    if (n > 0)
        http_reply_header(request, "Retry-After", "1");
    http_reply_json(request, n ? 503 : 200,
                    json_pack("{s:b, s:s, s:o, s:o*}", "ready", n == 0, "role", role, "reasons", reasons,
                              "warnings", warnings));
}
