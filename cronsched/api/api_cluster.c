/* The cluster: who is there, and what people do to it. */
#include "cronsched/api/api_priv.h"

#include <stdio.h>

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

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

int api_replicas_present(const json_t *cluster)
{
    const json_t *rows = json_object_get(cluster, "replicas"), *row;
    size_t i;
    int n = 0;

    json_array_foreach(rows, i, row)
    {
        n += !json_is_string(json_object_get(row, "refuses")) &&
             !json_is_true(json_object_get(row, "joining"));
    }
    return n;
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

const char *api_refusing(const struct api_context *c, char text[API_REFUSING_SIZE])
{
    json_t *status = scheduler_status_json(c->scheduler);
    const char *why = json_string_value(json_object_get(status, "refusing"));
    struct journal_status journal = {0};

    c->journal->ops->status(c->journal, &journal);
    if (journal.text[0])
        why = journal.text;
    if (!c->cluster_ops || !c->cluster_ops->refusing(c->cluster_arg, text, API_REFUSING_SIZE))
        snprintf(text, API_REFUSING_SIZE, "%s", why ? why : "it is starting");
    json_decref(status);
    return text;
}

/* Also of a replica that knows nothing else. */
void api_handle_cluster(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    json_t *cluster = api_cluster_json(&api->context);

    http_reply_json(request, 200, cluster ? cluster : cluster_of_one(api));
}

/* Who changed what of the cluster, and of this replica: no record of the journal says it. */
static void tell_change(const struct api *api, struct http_request *request, const char *what,
                        const char *subject)
{
    const struct api_context *c = &api->context;
    char text[512];

    snprintf(text, sizeof(text), "%s %.200s, by %.200s", what, subject, http_caller(request)->name);
    c->log(c->arg, LOG_NOTE, "cluster-change", text);
}

void api_handle_step_down(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    struct error e = {0};
    int r = api_body_check("step-down", http_body(request), NULL, 0, &e);

    if (r == 0 && !scheduler_leading(c->scheduler))
        r = error_set(&e, ERR_NO_LEADER, "this replica does not lead");
    if (r == 0 && !c->cluster_ops)
        r = error_set(&e, ERR_UNSUPPORTED, "this replica is alone: no other can lead");
    if (r == 0) {
        scheduler_yield_by(c->scheduler, http_caller(request)->name);
        r = c->cluster_ops->step_down(c->cluster_arg, &e);
    }
    if (r < 0) {
        scheduler_yield_by(c->scheduler, NULL);
        http_reply_failure(request, &e);
    } else {
        tell_change(api, request, "step-down of", c->replica);
        http_reply_json(request, 200, json_pack("{s:s}", "replica", c->replica));
    }
}

/* Of this replica's machine, whoever leads. */
void api_handle_accept_clock(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    struct error e = {0};
    int64_t jump_ms = 0;
    int r = api_body_check("accept-clock", http_body(request), NULL, 0, &e);
    bool held = api_clock_held(c, &jump_ms);

    if (r < 0) {
        http_reply_failure(request, &e);
        return;
    }
    if (held) {
        c->log(c->arg, LOG_WARN, "clock-accepted", http_caller(request)->name);
        c->accept_clock(c->arg);
    }
    http_reply_json(
        request, 200,
        json_pack("{s:s,s:b,s:I}", "replica", c->replica, "held", held, "jump_ms", (json_int_t)jump_ms));
}

void api_handle_peer_engine(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;

    if (c->cluster_ops)
        c->cluster_ops->peer_engine(c->cluster_arg, request);
    else
        http_reply_error(request, ERR_UNSUPPORTED, "this replica is alone");
}

/* ---- founding, joining, recovering ---- */

/* Answers 200 with what is under way: the caller sees how it ends in GET /v1/cluster. */
static void reply_under_way(struct api *api, struct http_request *request, const char *what,
                            const char *subject, int r, const struct error *error)
{
    if (r < 0) {
        http_reply_failure(request, error);
        return;
    }
    tell_change(api, request, what, subject);
    http_reply_json(request, 200, json_pack("{s:s}", "replica", api->context.replica));
}

/* Its body is an object with this text, or with none where it is not needed. */
static int check_text_body(struct http_request *request, const char *what, const char *key, bool needed,
                           const char **ret, struct error *error)
{
    const struct body_key known[] = {{key, BODY_TEXT, needed, 0, API_REFUSING_SIZE}};

    *ret = json_string_value(json_object_get(http_body(request), key));
    return api_body_check(what, http_body(request), known, 1, error);
}

static int check_replica(const struct api *api, struct error *error)
{
    if (api->context.cluster_ops)
        return 0;
    return error_set(error, ERR_UNSUPPORTED,
                     "this server keeps its journal in its own folder: it needs no cluster");
}

void api_handle_init(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *cluster;
    struct error e = {0};
    int r = check_text_body(request, "init", "cluster", false, &cluster, &e);

    r = r < 0 ? r : check_replica(api, &e);
    r = r < 0 ? r : api->context.cluster_ops->init(api->context.cluster_arg, cluster, &e);
    reply_under_way(api, request, "init", cluster ? cluster : "", r, &e);
}

void api_handle_join(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *cluster;
    struct error e = {0};
    int r = check_text_body(request, "join", "cluster", true, &cluster, &e);

    r = r < 0 ? r : check_replica(api, &e);
    r = r < 0 ? r : api->context.cluster_ops->join(api->context.cluster_arg, cluster, &e);
    reply_under_way(api, request, "join", cluster, r, &e);
}

void api_handle_recover(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *from;
    struct error e = {0};
    int r = check_text_body(request, "recover", "from", true, &from, &e);

    r = r < 0 ? r : check_replica(api, &e);
    r = r < 0 ? r
              : api->context.cluster_ops->recover(api->context.cluster_arg, from, http_caller(request)->name,
                                                  &e);
    reply_under_way(api, request, "recover", from, r, &e);
}

void api_handle_forget(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *replica;
    struct error e = {0};
    int r = check_text_body(request, "forget", "replica", true, &replica, &e);

    r = r < 0 ? r : check_replica(api, &e);
    r = r < 0 ? r : api->context.cluster_ops->forget(api->context.cluster_arg, replica, &e);
    reply_under_way(api, request, "forget", replica, r, &e);
}

void api_handle_peer_heartbeat(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;

    if (c->cluster_ops)
        c->cluster_ops->peer_heartbeat(c->cluster_arg, request);
    else
        http_reply_error(request, ERR_UNSUPPORTED, "this replica is alone");
}
