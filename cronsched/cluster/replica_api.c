/* What the API asks of the cluster: requests that belong elsewhere, the shape of the cluster, and what people decide about
 * it. See replica_priv.h.
 */
#include "cronsched/cluster/forward.h"
#include "cronsched/cluster/heartbeat.h"
#include "cronsched/cluster/member_info.h"
#include "cronsched/cluster/membership.h"
#include "cronsched/cluster/peer_engine.h"
#include "cronsched/cluster/peer_logs.h"
#include "cronsched/cluster/replica_priv.h"
#include "cronsched/cluster/run_log_copy.h"
#include "cronsched/io/log.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"
#include "leader/zookeeper/zookeeper.h"

#include <stdio.h>

static void api_peer_engine(void *arg, struct http_request *request)
{
    struct replica *r = OBJECT(struct replica, arg);

    peer_engine_request(r->peer_engine, request, r->o.engines, *r->o.engine_count, replica_view(r)->epoch,
                        r->o.zones);
}

static void api_peer_heartbeat(void *arg, struct http_request *request)
{
    heartbeat_request(OBJECT(struct replica, arg)->heartbeat, request);
}

static void api_forward(void *arg, struct http_request *request)
{
    struct replica *r = OBJECT(struct replica, arg);

    forward_request(r->forward, request);
}

static bool api_log_elsewhere(void *arg, const char *run, int attempt, const char *id, bool over)
{
    struct replica *r = OBJECT(struct replica, arg);

    return over ? run_log_copies_pending(r->o.copies, run, attempt)
                : !member_info_collects(replica_view(r), r->o.id, id);
}

static void api_log_pass(void *arg, struct http_request *request, const char *id, const char *path,
                         bool follow)
{
    struct replica *r = OBJECT(struct replica, arg);
    char *urls[REPLICATED_MEMBERS_MAX];
    const char *host = member_info_host_of(id);
    const struct peer_logs_target target = {
        .path = path,
        .follow = follow,
        .away = host && !member_info_host(replica_view(r), host),
        .urls = urls,
        .url_count = member_info_others(replica_view(r), r->o.id, id, urls)};

    peer_logs_pass(r->logs, request, &target);
}

static bool api_following(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);
    const struct replicated_view *v = replicated_view(r->journal);

    return v->current && !v->leading && v->leaderless_ms < 2 * (uint64_t)v->session_timeout_ms;
}

static bool api_has_read(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    return replicated_view(r->journal)->read;
}

static int api_step_down(void *arg, struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);

    return replicated_step_down(r->journal, error);
}

static const char *api_zookeeper_report(void *arg, struct zookeeper_report *ret)
{
    const struct replica *r = OBJECT(struct replica, arg);

    if (!r->journal) /* and its coordinator with it */
        return NULL;
    zookeeper_report(r->coord, ret);
    ret->users_trouble = r->users_trouble;
    return r->servers;
}

/* What this replica itself is to the cluster, and holds. */
static void add_standing(struct replica *r, const struct replicated_view *v, json_t *to)
{
    char text[MEMBERSHIP_TEXT_SIZE], advice[MEMBERSHIP_TEXT_SIZE];
    const char *trouble = membership_trouble(v, text);

    json_object_set_new(to, "replica", json_string(r->o.id));
    json_object_set_new(to, "standing", json_string(replicated_standing_name(v->standing)));
    json_object_set_new(to, "refusing", trouble ? json_string(trouble) : json_null());
    json_object_set_new(to, "advice", trouble ? json_string(membership_advice(v, advice)) : json_null());
    json_object_set_new(to, "mark", v->mark->cluster[0] ? mark_json(v->mark) : json_null());
    json_object_set_new(to, "mark_trouble", json_string(mark_file_trouble(r->mark_file)));
    json_object_set_new(to, "recovering", json_boolean(r->recovering));
    json_object_set_new(to, "recovery", r->recovery[0] ? json_string(r->recovery) : json_null());
}

static bool is_there(const struct replicated_view *v, const char *id)
{
    for (size_t i = 0; i < v->member_count; i++)
        if (strcmp(v->members[i].id, id) == 0)
            return true;
    return false;
}

static json_t *why_absent(const struct replica *r, const char *id)
{
    const char *down = heartbeat_down(r->heartbeat, id);

    if (down && !down[0])
        return json_string("it answers, and is not a member here: it uses another ZooKeeper ensemble, or has "
                           "just started");
    return down ? json_sprintf("it cannot be reached: %s", down) : json_string("it has not answered yet");
}

/* The replicas of this cluster that are known, and are not there. */
static json_t *absent(const struct replica *r, const struct replicated_view *v)
{
    json_t *rows = json_array(), *all = (json_t *)(uintptr_t)known_members_all(r->known), *one;
    char seen[TEXT_NUMBER_BUFFER];
    const char *id;

    json_object_foreach(all, id, one)
    {
        if (is_there(v, id))
            continue;
        instant_format(json_integer_value(json_object_get(one, "seen_ms")), INSTANT_S, seen, sizeof(seen));
        json_array_append_new(rows, json_pack("{s:s, s:O, s:s, s:O, s:o}", "id", id, "url",
                                              json_object_get(one, "url"), "seen", seen, "mark",
                                              json_object_get(one, "mark"), "why", why_absent(r, id)));
    }
    return rows;
}

static json_t *api_cluster(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);
    const struct replicated_view *v = replicated_view(r->journal);
    json_t *leader = json_null(), *all;

    if (v->leader)
        leader = json_pack("{s:s, s:s?}", "id", v->leader, "url", v->leader_url);
    all = json_pack("{s:s, s:I, s:o, s:o, s:o, s:s, s:I, s:i, s:b, s:s?}", "cluster", r->o.config->cluster,
                    "epoch", (json_int_t)v->epoch, "leader", leader, "replicas", member_info_rows(v),
                    "differences", member_info_differences(v), "uuid", v->cluster, "index",
                    (json_int_t)v->head, "level", v->level, "connected", v->connected, "alarm",
                    v->alarm[0] ? v->alarm : NULL);
    json_object_set_new(all, "absent", absent(r, v));
    add_standing(r, v, all);
    return all;
}

static const char *api_refusing(void *arg, char *text, size_t size)
{
    struct replica *r = OBJECT(struct replica, arg);
    const struct replicated_view *v = replicated_view(r->journal);
    char trouble[MEMBERSHIP_TEXT_SIZE], advice[MEMBERSHIP_TEXT_SIZE];

    if (!membership_trouble(v, trouble))
        return NULL;
    if (v->standing == REPLICATED_REFUSING) /* the others name the command in their text */
        snprintf(text, size, "%.280s; %s", trouble, membership_advice(v, advice));
    else
        snprintf(text, size, "%s", trouble);
    return text;
}

static int api_init(void *arg, const char *cluster, struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);

    return replicated_found(r->journal, cluster, error);
}

static int api_join(void *arg, const char *cluster, struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);

    return replicated_join(r->journal, cluster, error);
}

static void on_recovered(void *arg, const struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);

    r->recovering = false;
    snprintf(r->recovery, sizeof(r->recovery), "%s", error ? error->text : "done");
    log_event(error ? LOG_ERROR : LOG_NOTE, "recovery", LOG_TEXT("text", r->recovery));
}

static int api_recover(void *arg, const char *from, const char *by, struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);
    struct replicated_recovery recovery = {.from_here = strcmp(from, "tree") != 0, .by = by};
    int rc;

    if (recovery.from_here && strcmp(from, r->o.id) != 0)
        return error_set(error, ERR_INVALID,
                         "this is replica %s: what %s holds can be taken from there alone", r->o.id, from);
    r->recovery[0] = '\0';
    r->recovering = true;
    rc = replicated_recover(r->journal, &recovery, on_recovered, r, error);
    if (rc < 0)
        r->recovering = false;
    return rc;
}

static const char *api_process(void *arg)
{
    return replica_view(arg)->process;
}

static int api_forget(void *arg, const char *replica, struct error *error)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (is_there(replica_view(r), replica))
        return error_set(error, ERR_CONFLICT, "replica %s is there: stop it first", replica);
    if (!known_members_forget(r->known, replica))
        return error_set(error, ERR_NOT_FOUND, "replica %s is not known here", replica);
    log_event(LOG_NOTE, "forgotten", LOG_TEXT("replica", replica));
    replicated_forget(r->journal, replica);
    heartbeat_changed(r->heartbeat);
    return 0;
}

const struct api_cluster_ops replica_api_ops = {.json = api_cluster,
                                                .following = api_following,
                                                .has_read = api_has_read,
                                                .refusing = api_refusing,
                                                .peer_engine = api_peer_engine,
                                                .peer_heartbeat = api_peer_heartbeat,
                                                .forward = api_forward,
                                                .log_elsewhere = api_log_elsewhere,
                                                .log_pass = api_log_pass,
                                                .step_down = api_step_down,
                                                .zookeeper = api_zookeeper_report,
                                                .init = api_init,
                                                .join = api_join,
                                                .recover = api_recover,
                                                .process = api_process,
                                                .forget = api_forget};
