/* See replica.h. Happy path: open reads the mark that the data folder keeps (mark_file.h), opens the
 * coordinator, makes the core; the core's events go to the scheduler. Each time the mark rises it goes to
 * its file. Whenever the core says that something changed: the links follow the members and the leader, and
 * what this replica waits for, if it is not a member, is logged once.
 *
 * Failures are the core's to handle: this file only knows the facts (which engines answer, how late the
 * leader is). A leader that misses fire times is first reported, and deposed at the next look if it still
 * does.
 */
#include "cronsched/cluster/replica_priv.h"

#include "cronsched/cluster/config_facts.h"
#include "cronsched/cluster/engine_remote.h"
#include "cronsched/cluster/forward.h"
#include "cronsched/cluster/heartbeat.h"
#include "cronsched/cluster/history_copy.h"
#include "cronsched/cluster/mark_file.h"
#include "cronsched/cluster/member_info.h"
#include "cronsched/cluster/membership.h"
#include "cronsched/cluster/peer.h"
#include "cronsched/cluster/peer_engine.h"
#include "cronsched/cluster/peer_logs.h"
#include "cronsched/cluster/run_log_copy.h"
#include "cronsched/io/file.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "jobs/base/text.h"
#include "jobs/state/state.h"
#include "leader/worker/loop.h"
#include "leader/zookeeper/zookeeper.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define UUID_SIZE       40
#define PATH_BYTES      4096
#define AUTH_FILE_BYTES (64 * 1024)
#define LOOK_ON_MS      5 /* from one part of a look at all jobs to the next */

/* ---- environment ---- */

static uint64_t boot_now(void *arg)
{
    return (uint64_t)clock_boot_ms();
}

static int64_t wall_now(void *arg)
{
    return clock_wall_ms();
}

static uint64_t random_number(void *arg)
{
    uint64_t value;

    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        abort(); /* the kernel always has it once it runs */
    return value;
}

static void on_wake(uv_timer_t *timer)
{
    struct replica *r = OBJECT(struct replica, timer->data);

    replicated_tick(r->journal);
}

static void wake_at(void *arg, uint64_t boot_ms)
{
    struct replica *r = OBJECT(struct replica, arg);
    uint64_t now = boot_now(NULL);

    if (!r->closing)
        loop_timer_start(&r->wake, on_wake, boot_ms > now ? boot_ms - now : 0, 0);
}

static void to_log(void *arg, enum log_level level, const char *event, const char *text)
{
    log_event(level, event, LOG_TEXT("text", text));
}

/* ---- facts ---- */

static size_t engines_reachable(const struct replica *r)
{
    size_t n = 0;

    for (size_t i = 0; i < *r->o.engine_count; i++) {
        struct engine_status status = {0};

        r->o.engines[i]->ops->status(r->o.engines[i], &status);
        n += status.reachable;
    }
    return n;
}

static int64_t clock_jump_ms(const struct replica *r)
{
    return r->o.clock_jump_ms ? r->o.clock_jump_ms(r->o.clock_arg) : 0;
}

static const struct clock_voices *voices_now(struct replica *r)
{
    const struct replicated_view *v = replicated_view(r->journal);
    struct clock_voice zookeeper = {.wall_ms = v->ensemble_ms, .heard_ms = v->offset_asked_ms};

    if (v->offset_known)
        clock_voices_hear(&r->voices, &zookeeper);
    return &r->voices;
}

/* How far this machine's clock, as it is set, is ahead of the others'. False: nobody was heard. */
static bool clock_offset(struct replica *r, int64_t *ret_ms)
{
    uint64_t now = boot_now(NULL);

    return clock_voices_offset(voices_now(r), clock_wall_ms() - (int64_t)now, now, ret_ms);
}

/* The clock that this replica believes, for one that jumped and is ignored. */
static bool clock_is_off(struct replica *r)
{
    int64_t offset_ms;

    if (!clock_offset(r, &offset_ms))
        return false;
    offset_ms -= clock_jump_ms(r);
    return offset_ms > MEMBER_INFO_OFFSET_MAX_MS || offset_ms < -MEMBER_INFO_OFFSET_MAX_MS;
}

/* Whether others can be judged by this machine's clock. */
static bool clock_is_agreed(struct replica *r)
{
    int64_t offset_ms;

    return clock_offset(r, &offset_ms) && clock_jump_ms(r) == 0 && !clock_is_off(r);
}

static bool host_clock_believed(void *arg)
{
    return clock_jump_ms(OBJECT(struct replica, arg)) == 0;
}

/* Old zone rules fire at wrong times: the replica with the newest is preferred. */
static bool others_have_newer_tzdata(const struct replica *r, const struct replicated_view *v)
{
    const char *mine = r->o.zones->version(r->o.zones);

    for (size_t i = 0; i < v->member_count; i++) {
        const json_t *facts = v->members[i].facts;

        if (schedule_tzdata_older(mine, json_string_value(json_object_get(facts, "tzdata"))) &&
            json_is_true(json_object_get(facts, "fit")))
            return true;
    }
    return false;
}

static bool host_fit(void *arg, const char **ret_why)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (!host_clock_believed(r)) {
        *ret_why = "its clock jumped, and the others' clocks disagree";
        return false;
    }
    if (clock_is_off(r)) {
        *ret_why = "its clock is more than 5 s off the others'";
        return false;
    }
    if (engines_reachable(r) == 0) {
        *ret_why = "none of its engines answers";
        return false;
    }
    if (others_have_newer_tzdata(r, replicated_view(r->journal))) {
        *ret_why = "another replica has newer tzdata";
        return false;
    }
    if (member_info_config_outvoted(replicated_view(r->journal), r->o.id, r->config_hash, r->leader_config)) {
        *ret_why = "its engines, pools or grace times are configured otherwise than the other replicas'";
        return false;
    }
    if (r->folders.copy_of[0]) {
        *ret_why = "its data folder is a copy of another replica's";
        return false;
    }
    if (member_info_odd_engine(replicated_view(r->journal), r->o.id)) {
        *ret_why = "one of its engines is another one than the other replicas reach under that name";
        return false;
    }
    return true;
}

/* Of engines that all replicas should reach; an engine of this machine alone is another one everywhere. */
static json_t *engine_identities(const struct replica *r)
{
    json_t *o = json_object();

    for (size_t i = 0; i < *r->o.engine_count; i++) {
        const struct engine *engine = r->o.engines[i];
        struct engine_status status = {0};

        engine->ops->status(engine, &status);
        if (engine->hands_over && status.identity[0])
            json_object_set_new(o, engine->name, json_string(status.identity));
    }
    return o;
}

static json_t *host_member(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    json_t *state = json_null(), *offset = json_null(), *o;
    int64_t offset_ms;
    uint64_t index;
    const char *hash = scheduler_state_hash(r->o.scheduler, &index);

    if (hash)
        state = json_pack("{s:I, s:s}", "index", (json_int_t)index, "hash", hash);
    if (clock_offset(r, &offset_ms))
        offset = json_integer(offset_ms);
    o = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:i, s:o}", "url", r->o.config->advertise,
                  "version", CRONSCHED_VERSION, "tzdata", r->o.zones->version(r->o.zones), "config",
                  r->config_hash, "engines", (int)engines_reachable(r), "pid", (int)getpid(), "state", state,
                  "clock_offset_ms", offset, "unreachable", heartbeat_unreachable(r->heartbeat), "jobs",
                  (int)scheduler_job_count(r->o.scheduler), "identities", engine_identities(r));
    json_object_set(o, "settings", r->config_facts);
    process_folders_facts(&r->folders, o);
    return o;
}

static uint64_t host_durable(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    return r->o.history->ops->applied(r->o.history);
}

static char *host_state(void *arg, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                        int64_t *ret_time_ms)
{
    struct replica *r = OBJECT(struct replica, arg);

    return scheduler_state_text(r->o.scheduler, index, hash, ret_size, ret_level, ret_time_ms);
}

static void host_marked(void *arg, const struct mark *mark)
{
    struct replica *r = OBJECT(struct replica, arg);

    snprintf(r->o.cluster_uuid, UUID_SIZE, "%s", mark->cluster);
    mark_file_set(r->mark_file, mark);
}

/* ---- what changes ---- */

static void share_secret(struct replica *r, const char *secret)
{
    if (strcmp(secret, r->peer.secret) == 0)
        return;
    snprintf(r->peer.secret, sizeof(r->peer.secret), "%s", secret);
    if (r->api)
        api_set_secret(r->api, secret);
}

static void on_retired(uv_timer_t *timer)
{
    struct replica *r = OBJECT(struct replica, timer->data);
    void (*retired)(void *arg) = r->retired;

    r->retired = NULL;
    retired(r->retired_arg);
}

/* A replica that came back can report on the processes that it started. */
static void notice_members(struct replica *r, size_t count)
{
    struct engine_host *host = replica_engine_host(r);

    if (count > r->members_seen)
        host->back(host, NULL);
    r->members_seen = count;
}

/* What it waits for is logged when it begins to wait. Refusals the core logs itself, as it logs their end. */
static void notice_standing(struct replica *r, const struct replicated_view *v)
{
    char text[MEMBERSHIP_TEXT_SIZE];

    if (v->standing == r->standing)
        return;
    r->standing = v->standing;
    if (v->standing == REPLICATED_UNFOUNDED || v->standing == REPLICATED_JOINING)
        log_event(LOG_WARN, "waiting", LOG_TEXT("text", membership_trouble(v, text)));
}

static void notice_leader(struct replica *r, const struct replicated_view *v)
{
    const char *config = member_info_leader_config(v);

    if (config)
        snprintf(r->leader_config, sizeof(r->leader_config), "%s", config);
}

static void host_changed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);
    const struct replicated_view *v = replicated_view(r->journal);

    notice_standing(r, v);
    notice_leader(r, v);
    process_folders_look(&r->folders, v, r->o.id);
    /* of its own cluster, also before it has compared the journal: the others ask it from its first moment on */
    if (v->standing == REPLICATED_MEMBER || (v->cluster[0] && strcmp(v->mark->cluster, v->cluster) == 0))
        share_secret(r, v->secret);
    notice_members(r, v->member_count);
    known_members_seen(r->known, v, clock_wall_ms());
    if (r->retired && !v->leading)
        loop_timer_start(&r->retire, on_retired, 0, 0);
    heartbeat_changed(r->heartbeat);
    if ((v->leading || v->current) && !r->swept) {
        r->swept = true;
        run_log_copies_sweep(r->o.copies);
    }
}

static void tell_odd_engine(struct replica *r)
{
    const char *engine = member_info_odd_engine(replicated_view(r->journal), r->o.id);

    if (engine && !r->told_odd_engine)
        log_event(
            LOG_ERROR, "engine-differs", LOG_TEXT("engine", engine),
            LOG_TEXT("text",
                     "this replica reaches another engine under this name than the others, and leaves the "
                     "lead to them: point its endpoint to the same engine, or give engines of different "
                     "machines different names on all replicas"));
    r->told_odd_engine = engine != NULL;
}

/* Gray failure: the leader lives, and does not fire. */
static void on_look(uv_timer_t *timer)
{
    struct replica *r = OBJECT(struct replica, timer->data);
    const struct replicated_view *v = replicated_view(r->journal);
    char text[256];

    bool judges = !v->leading && v->current && v->leader && clock_is_agreed(r) &&
                  !scheduler_is_reading(r->o.scheduler);

    tell_odd_engine(r);
    if (judges && scheduler_leader_stall_step(r->o.scheduler)) {
        loop_timer_start(&r->look, on_look, LOOK_ON_MS, REPLICA_LOOK_MS);
        return;
    }
    if (!judges || !scheduler_leader_stall(r->o.scheduler, text, sizeof(text))) {
        r->late_epoch = 0;
        return;
    }
    log_event(LOG_WARN, "leader-late", LOG_TEXT("leader", v->leader), LOG_INT("epoch", v->epoch),
              LOG_TEXT("text", text));
    if (r->late_epoch == (uint64_t)v->epoch)
        replicated_depose(r->journal, v->epoch, text);
    else
        r->late_epoch = (uint64_t)v->epoch;
}

/* ---- opening ---- */

const struct replicated_view *replica_view(void *arg)
{
    static const struct replicated_view nothing = {0};
    const struct replica *r = OBJECT(struct replica, arg);

    return r->journal ? replicated_view(r->journal) : &nothing;
}

int replica_read_users(const char *path, struct zookeeper_users *ret, struct error *error)
{
    struct error why;
    char *text;
    size_t size;
    int rc = file_read(path, AUTH_FILE_BYTES, FILE_REGULAR | FILE_TRUSTED, &text, &size, &why);

    if (rc < 0)
        return error_set(error, ERR_IO, "zookeeper_auth_file: %s: %s", path, why.text);
    rc = zookeeper_users_parse(text, ret, error);
    explicit_bzero(text, size);
    free(text);
    return rc < 0 ? error_prefix(error, "zookeeper_auth_file: %s: ", path) : 0;
}

static int read_users(struct replica *r, const char *path, struct zookeeper_users *ret, struct error *error)
{
    int rc = replica_read_users(path, ret, error);

    if (rc < 0)
        return rc;
    r->users_trouble = zookeeper_users_weakness(ret);
    if (!r->users_trouble && !file_is_private(path))
        r->users_trouble = "other users of this machine can read it: chmod it to 0600";
    if (r->users_trouble)
        log_event(LOG_WARN, "zookeeper-auth-file", LOG_TEXT("file", path),
                  LOG_TEXT("text", r->users_trouble));
    return 0;
}

static void make_secret(char ret[65])
{
    for (int i = 0; i < 4; i++)
        snprintf(ret + 16 * (size_t)i, 17, "%016llx", (unsigned long long)random_number(NULL));
}

static int open_coordinator(struct replica *r, struct error *error)
{
    const struct config *c = r->o.config;
    size_t hosts = strcspn(c->zookeeper, "/");
    struct zookeeper_users users;
    int rc;
    struct zookeeper_options z = {.servers = r->servers,
                                  .root = c->zookeeper[hosts] ? r->root : NULL,
                                  .cluster = c->cluster,
                                  .session_timeout_ms = c->session_timeout_ms,
                                  .log = to_log,
                                  .random = random_number};

    snprintf(r->servers, sizeof(r->servers), "%.*s", (int)hosts, c->zookeeper);
    snprintf(r->root, sizeof(r->root), "%s", c->zookeeper + hosts);
    if (c->zookeeper_auth_file) {
        rc = read_users(r, c->zookeeper_auth_file, &users, error);
        if (rc < 0)
            return rc;
        z.users = &users;
        z.guarded = replicated_nodes;
        z.trust_open = c->insecure;
    }
    rc = zookeeper_open(&r->coord, r->o.loop, &z, error);
    zookeeper_users_forget(&users);
    return rc;
}

/* A folder that served alone has a journal of its own; its index means nothing in a cluster. */
static int check_folder(const struct config *c, struct error *error)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/journal.db", c->data_dir);
    if (access(path, F_OK) == 0)
        return error_set(error, ERR_CONFLICT,
                         "data_dir %s contains the journal of a standalone server (journal.db): give the "
                         "replica a folder of its own, or see 'cronsched journal migrate'",
                         c->data_dir);
    return 0;
}

static bool has_logs(const struct config *c)
{
    for (size_t i = 0; i < c->engine_count; i++)
        if (strcmp(c->engines[i].type, "null") != 0)
            return true;
    return false;
}

static int64_t kept_of_logs(void *arg, const char *run)
{
    return scheduler_keep_logs(OBJECT(struct replica, arg)->o.scheduler, run);
}

/* What runs beside the journal. */
static void start_parts(struct replica *r)
{
    const struct replica_options *o = &r->o;

    r->peer_engine = peer_engine_new(scheduler_engine_host(o->scheduler));
    forward_new(&r->forward, &(struct forward_options){o->loop, &r->peer, replica_view, r});
    peer_logs_new(&r->logs, o->loop, &r->peer);
    replica_links_start(r);
    run_log_copies_start(o->copies, &(struct run_log_copies_options){.loop = o->loop,
                                                                     .peer = &r->peer,
                                                                     .data_dir = o->config->data_dir,
                                                                     .self = o->id,
                                                                     .nothing = !has_logs(o->config),
                                                                     .view = replica_view,
                                                                     .keep_logs = kept_of_logs,
                                                                     .arg = r});
    history_copy_start(&r->history_copy, &(struct history_copy_options){.loop = o->loop,
                                                                        .peer = &r->peer,
                                                                        .history = o->history,
                                                                        .self = o->id,
                                                                        .view = replica_view,
                                                                        .arg = r});
}

static void start_journal(struct replica *r)
{
    const struct config *c = r->o.config;
    struct replicated_options options = {.replica = r->o.id,
                                         .url = c->advertise,
                                         .cluster_uuid = r->o.cluster_uuid,
                                         .mark = r->mark,
                                         .found = c->init,
                                         .join_cluster = c->cluster_id,
                                         .level = RECORD_LEVEL,
                                         .env = &r->env,
                                         .host = &r->host};
    char secret[65];

    r->config_facts = config_facts(r->o.config, r->config_hash);
    make_secret(secret);
    options.secret = secret;
    if (r->mark.cluster[0])
        snprintf(r->o.cluster_uuid, UUID_SIZE, "%s", r->mark.cluster);
    else if (c->cluster_id)
        snprintf(r->o.cluster_uuid, UUID_SIZE, "%s", c->cluster_id);
    r->env = (struct replicated_env){boot_now, wall_now, random_number, wake_at, to_log, r};
    r->host = (struct replicated_host){.fit = host_fit,
                                       .member = host_member,
                                       .durable = host_durable,
                                       .changed = host_changed,
                                       .clock_believed = host_clock_believed,
                                       .marked = host_marked,
                                       .ask_members = replica_links_ask_members,
                                       .ask_holder = replica_links_ask_holder,
                                       .state = host_state,
                                       .arg = r};
    r->journal = replicated_new(&options, r->coord, &scheduler_journal_events, r->o.scheduler);
    replica_links_recall(r);
}

int replica_set_zookeeper(struct replica *r, const char *zookeeper, struct error *error)
{
    size_t hosts = strcspn(zookeeper, "/");
    char servers[sizeof(r->servers)];
    int rc;

    if (strcmp(zookeeper + hosts, r->root) != 0)
        return error_set(
            error, ERR_UNSUPPORTED,
            "zookeeper: another path ('%s' instead of '%s') is another cluster: that takes a restart",
            zookeeper + hosts, r->root);
    snprintf(servers, sizeof(servers), "%.*s", (int)hosts, zookeeper);
    if (strcmp(servers, r->servers) == 0)
        return 0;
    /* While all is well, a list with a mistake costs no connection. Where the tree is refused, that ensemble may be
     * the mistake. */
    rc = zookeeper_set_servers(r->coord, servers, r->standing == REPLICATED_MEMBER, error);
    if (rc < 0)
        return rc;
    memcpy(r->servers, servers, sizeof(servers));
    return 1;
}

/* The file's batch is known with its hash, which tells more than the higher index that history may hold. A folder of
 * an older build has the cluster's id and history's index alone. */
static int read_mark(struct replica *r, struct error *error)
{
    const struct config *c = r->o.config;
    int rc = mark_file_read(c->data_dir, &r->mark, error);

    if (rc < 0)
        return error_prefix(error,
                            "what this replica knew of its cluster cannot be read ('cronsched cluster rejoin "
                            "--data-dir %s' sets it aside, to start as a new replica): ",
                            c->data_dir);
    if (r->mark.cluster[0] && !r->mark.hash[0] && host_durable(r) > r->mark.index)
        r->mark.index = host_durable(r);
    if (r->mark.cluster[0] && c->cluster_id && strcmp(r->mark.cluster, c->cluster_id) != 0)
        return error_set(error, ERR_CONFLICT, "cluster_id is %s, but data_dir %s belongs to cluster %s",
                         c->cluster_id, c->data_dir, r->mark.cluster);
    return 0;
}

int replica_open(struct replica **ret, const struct replica_options *o, struct error *error)
{
    struct replica *r;
    int rc = check_folder(o->config, error);

    if (rc < 0)
        return rc;
    r = OBJECT_NEW(struct replica);
    r->o = *o;
    r->peer.ca_file = o->config->tls_ca;
    rc = read_mark(r, error);
    if (rc < 0) {
        OBJECT_FREE(struct replica, r);
        return rc;
    }
    rc = http_client_new(&r->peer.client, o->loop, error);
    rc = rc < 0 ? rc : open_coordinator(r, error);
    if (rc < 0)
        return rc; /* the process ends */
    uv_timer_init(o->loop, &r->wake);
    uv_timer_init(o->loop, &r->look);
    uv_timer_init(o->loop, &r->retire);
    r->wake.data = r->look.data = r->retire.data = r;
    r->handles = 3;
    start_parts(r);
    mark_file_new(&r->mark_file, o->loop, o->config->data_dir, &r->mark);
    start_journal(r);
    loop_timer_start(&r->look, on_look, REPLICA_LOOK_MS, REPLICA_LOOK_MS);
    *ret = r;
    return 0;
}

struct journal *replica_journal(struct replica *r)
{
    return r->journal;
}

/* ---- closing ---- */

static void finish_close(struct replica *r)
{
    if (r->handles > 0 || !r->mark_closed || !r->known_closed)
        return;
    peer_engine_free(r->peer_engine);
    json_decref(r->config_facts);
    r->closed(r->closed_arg);
    OBJECT_FREE(struct replica, r);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct replica *r = OBJECT(struct replica, handle->data);

    r->handles--;
    finish_close(r);
}

static void on_mark_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    r->mark_closed = true;
    finish_close(r);
}

static void on_known_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    r->known_closed = true;
    finish_close(r);
}

static void on_client_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    mark_file_close(r->mark_file, on_mark_closed, r);
    known_members_close(r->known, on_known_closed, r);
    explicit_bzero(r->peer.secret, sizeof(r->peer.secret));
    uv_close((uv_handle_t *)&r->wake, on_handle_closed);
    uv_close((uv_handle_t *)&r->look, on_handle_closed);
    uv_close((uv_handle_t *)&r->retire, on_handle_closed);
}

static void on_heartbeat_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    http_client_close(r->peer.client, on_client_closed, r);
}

static void on_copies_stopped(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    heartbeat_close(r->heartbeat, on_heartbeat_closed, r);
}

static void on_history_stopped(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    run_log_copies_stop(r->o.copies, on_copies_stopped, r);
}

static void on_logs_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    history_copy_stop(r->history_copy, on_history_stopped, r);
}

static void on_forward_closed(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    peer_logs_close(r->logs, on_logs_closed, r);
}

void replica_retire(struct replica *r, void (*done)(void *arg), void *arg)
{
    r->retired = done;
    r->retired_arg = arg;
    loop_timer_start(&r->retire, on_retired, REPLICA_RETIRE_MS, 0);
    replicated_retire(r->journal);
    host_changed(r); /* when it does not lead */
}

void replica_journal_closed(struct replica *r)
{
    r->journal = NULL;
    uv_timer_stop(&r->wake);
    uv_timer_stop(&r->look);
    heartbeat_stop(r->heartbeat);
    name_holder_stop(&r->name_holder);
}

void replica_close(struct replica *r, void (*done)(void *arg), void *arg)
{
    r->closing = true;
    r->closed = done;
    r->closed_arg = arg;
    forward_close(r->forward, on_forward_closed, r);
}

bool replica_clock_confirms(struct replica *r, uint64_t since_ms)
{
    uint64_t now = boot_now(NULL);

    return r->journal && clock_voices_confirm(voices_now(r), clock_wall_ms() - (int64_t)now, since_ms, now);
}

/* ---- for the engines and the API ---- */

const char *replica_cluster(const struct replica *r)
{
    const char *configured = r->o.config->cluster_id;

    return r->mark.cluster[0] || !configured ? r->mark.cluster : configured;
}

struct engine_host *replica_engine_host(struct replica *r)
{
    return peer_engine_host(r->peer_engine);
}

static const char *url_of_host(void *arg, const char *host)
{
    return member_info_url(member_info_host(replica_view(arg), host));
}

static const char *url_of_engine(void *arg, const char *engine, const char *identity)
{
    const struct replica *r = OBJECT(struct replica, arg);

    return member_info_url(member_info_engine(replica_view(arg), r->o.id, engine, identity));
}

void replica_remote_engine(struct replica *r, struct engine **ret, struct engine *under, const char *host_id)
{
    struct engine_remote_options o = {.under = under,
                                      .host = replica_engine_host(r),
                                      .peer = &r->peer,
                                      .loop = r->o.loop,
                                      .host_id = host_id,
                                      .folder_url = url_of_host,
                                      .engine_url = url_of_engine,
                                      .arg = r};

    if (host_id)
        process_folders_add(&r->folders, host_id, under);
    engine_remote_new(ret, &o);
}

void replica_set_api(struct replica *r, struct api *api)
{
    r->api = api;
    if (api)
        api_set_secret(api, r->peer.secret);
}
