/* The core's frame: sessions, what is kept read, the journal's table. See replicated.h and replicated_priv.h.
 *
 * Happy path of a standby: connected -> epoch, leader, head, secret and members are read, with watches on
 * leader, head and members -> restore, batch... up to head -> current; then a watch on head at each append.
 * Of a leader: the leader node is missing -> one multi takes the throne -> head is read again, the tail
 * folded -> lead -> append ... acked. Failures: lost: everything asked is wanted again when `connected`
 * comes. expired: the reign is over, if there was one; the fold stays. An answer that makes no sense: noted
 * in status.text, tried again after RETRY_MS. A tree that cannot be ours: the alarm; nothing more is done.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct replicated *replicated_of(const struct journal *journal)
{
    return (struct replicated *)(uintptr_t)journal;
}

/* ---- small things that all files use ---- */

uint64_t boot_ms(struct replicated *r)
{
    return r->o.env->boot_ms(r->o.env->arg);
}

void replicated_log(struct replicated *r, int level, const char *event, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    r->o.env->log(r->o.env->arg, level, event, text);
}

void replicated_changed(struct replicated *r)
{
    if (!election_closing(r))
        r->o.host->changed(r->o.host->arg);
}

void replicated_alarm(struct replicated *r, const char *format, ...)
{
    va_list ap;

    if (r->alarm[0])
        return;
    va_start(ap, format);
    vsnprintf(r->alarm, sizeof(r->alarm), format, ap);
    va_end(ap);
    replicated_log(r, 0, "alarm", "%s", r->alarm);
    election_alarm(r);
    if (r->connected && r->registered)
        members_leave(r);
    replicated_changed(r);
}

void replicated_odd(struct replicated *r, const char *what, const struct coord_reply *reply)
{
    snprintf(r->trouble, sizeof(r->trouble), "%s: %s", what, reply->text);
    replicated_log(r, 1, "zookeeper", "%s", r->trouble);
    r->retry_ms = boot_ms(r) + RETRY_MS;
}

int64_t epoch_number(const struct replicated *r)
{
    return r->epoch_base + r->epoch_version;
}

int64_t my_epoch(const struct replicated *r)
{
    return r->epoch_base + r->token;
}

struct coord_op check_epoch(const struct replicated *r)
{
    return (struct coord_op){
        .kind = COORD_CHECK, .path = NODE_EPOCH, .version = MUTANT(NO_EPOCH_CHECK) ? COORD_ANY : r->token};
}

const char *log_path(uint64_t index, char path[COORD_PATH_MAX])
{
    snprintf(path, COORD_PATH_MAX, NODE_LOG "/%010" PRIu64, index);
    return path;
}

void new_nonce(struct replicated *r, char ret[NONCE_SIZE])
{
    snprintf(ret, NONCE_SIZE, "%016" PRIx64, r->o.env->random(r->o.env->arg));
}

void wrote(struct replicated *r, uint64_t sent_ms)
{
    if (sent_ms > r->write_sent_ms)
        r->write_sent_ms = sent_ms;
}

/* ---- what is kept read ---- */

/* True: the answer can be used. */
static bool arrived(struct replicated *r, struct reading *reading, const struct coord_reply *reply,
                    const char *what)
{
    reading->asked = false;
    if (reply->result == COORD_OK || reply->result == COORD_NO_NODE)
        return !election_closing(r) && !r->alarm[0];
    reading->want = true;
    if (reply->result != COORD_LOST)
        replicated_odd(r, what, reply);
    return false;
}

static json_t *parse_node(struct replicated *r, const char *path, const struct coord_reply *reply)
{
    json_error_t why;
    json_t *o = reply->size <= NODE_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, &why) : NULL;

    if (json_is_object(o))
        return o;
    json_decref(o);
    replicated_alarm(r, "the node %s in ZooKeeper makes no sense: it is no JSON object", path);
    return NULL;
}

static void keep_text(char *at, size_t size, const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    snprintf(at, size, "%s", value ? value : "");
}

/* A tree that is not the one this replica's own store belongs to. */
static bool tree_is_foreign(struct replicated *r)
{
    if (!r->known_cluster || strcmp(r->cluster, r->known_cluster) == 0)
        return false;
    replicated_alarm(r,
                     "ZooKeeper holds cluster %s, but the data folder here belongs to %s: either the wrong "
                     "ensemble or folder, or its data was lost",
                     r->cluster, r->known_cluster);
    return true;
}

static void on_bootstrap(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    r->bootstrapping = false;
    if (reply->result == COORD_OK)
        replicated_log(r, 2, "cluster-made", "cluster %s", r->cluster_uuid);
    else if (reply->result != COORD_LOST && reply->result != COORD_EXISTS)
        replicated_odd(r, "making the cluster's nodes", reply);
    replicated_pump(r);
}

/* The tree is empty: a new cluster, unless this replica knows better. */
void replicated_bootstrap(struct replicated *r)
{
    struct coord_op ops[7];
    size_t n = 0;
    json_t *o;
    char *text;

    if (r->o.known_index > 0) {
        replicated_alarm(r,
                         "ZooKeeper holds nothing of this cluster, but the store here has index %" PRIu64
                         ": its data was lost, or this is the wrong ensemble; nothing is done until it is "
                         "restored, or the data folders of all replicas are moved away",
                         r->o.known_index);
        return;
    }
    o = json_pack("{s:s,s:i}", "cluster", r->cluster_uuid, "base", 0);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_EPOCH, text, strlen(text), COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_HEAD, "0", 1, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_LOG, "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_MEMBERS, "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_SNAP, "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_CHUNKS, "", 0, COORD_ANY};
    ops[n++] =
        (struct coord_op){COORD_CREATE, NODE_SECRET, r->first_secret, strlen(r->first_secret), COORD_ANY};
    r->bootstrapping = true;
    r->coord->ops->multi(r->coord, ops, n, on_bootstrap, r);
    free(text);
}

static void take_epoch(struct replicated *r, const struct coord_reply *reply)
{
    json_t *o = parse_node(r, NODE_EPOCH, reply);
    bool is_new;

    if (!o)
        return;
    is_new = !r->epoch_known || r->epoch_version != reply->stat.version;
    keep_text(r->cluster, sizeof(r->cluster), o, "cluster");
    keep_text(r->epoch_nonce, sizeof(r->epoch_nonce), o, "nonce");
    keep_text(r->cause, sizeof(r->cause), o, "cause");
    r->epoch_base = json_integer_value(json_object_get(o, "base"));
    r->epoch_version = reply->stat.version;
    if (!tree_is_foreign(r)) {
        const char *deposed = json_string_value(json_object_get(o, "deposed"));

        if (deposed && strcmp(deposed, r->replica) == 0 && is_new)
            r->stand_back_ms = boot_ms(r) + REPLICATED_STAND_BACK_MS;
        r->epoch_known = true;
        election_epoch_read(r);
    }
    json_decref(o);
}

static void on_epoch(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (arrived(r, &r->epoch_read, reply, "reading " NODE_EPOCH)) {
        if (reply->result == COORD_OK)
            take_epoch(r, reply);
        else
            replicated_alarm(r, "the node " NODE_EPOCH " is missing in ZooKeeper, others are there");
    }
    replicated_pump(r);
}

static void on_leader(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;
    json_t *o;

    if (arrived(r, &r->leader_read, reply, "reading " NODE_LEADER)) {
        free(r->leader);
        free(r->leader_url);
        r->leader = r->leader_url = NULL;
        r->leader_owner = 0;
        r->leader_nonce[0] = '\0';
        r->leader_known = true;
        o = reply->result == COORD_OK ? parse_node(r, NODE_LEADER, reply) : NULL;
        if (o) {
            r->leader = alloc_text(json_string_value(json_object_get(o, "replica")));
            r->leader_url = alloc_text(json_string_value(json_object_get(o, "url")));
            r->leader_owner = reply->stat.owner;
            keep_text(r->leader_nonce, sizeof(r->leader_nonce), o, "nonce");
            json_decref(o);
        }
        r->epoch_read.want = true; /* they change together */
        replicated_changed(r);
    }
    replicated_pump(r);
}

static void take_head(struct replicated *r, const struct coord_reply *reply)
{
    char *end;
    uint64_t head = strtoull(reply->data, &end, 10);

    if (reply->size == 0 || *end) {
        replicated_alarm(r, "the node " NODE_HEAD " in ZooKeeper makes no sense: it is no number");
        return;
    }
    if (head < r->o.known_index || (r->restored && head < r->applied)) {
        replicated_alarm(r,
                         "ZooKeeper's journal ends at %" PRIu64 ", but this replica has %" PRIu64
                         ": committed batches were lost",
                         head, r->applied > r->o.known_index ? r->applied : r->o.known_index);
        return;
    }
    r->head = head;
    r->head_version = reply->stat.version;
    r->head_known = true;
}

static void on_head(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;
    bool fresh = r->head_read.asked && !r->head_read.want; /* not asked before what made it wanted again */

    if (arrived(r, &r->head_read, reply, "reading " NODE_HEAD)) {
        if (reply->result == COORD_OK && !election_leads(r))
            take_head(r, reply);
        r->head_fresh = r->leadership == ELECTED && fresh && reply->result == COORD_OK;
        replicated_changed(r);
    }
    replicated_pump(r);
}

static void on_secret(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (arrived(r, &r->secret_read, reply, "reading " NODE_SECRET) && reply->result == COORD_OK)
        snprintf(r->secret, sizeof(r->secret), "%.*s", (int)reply->size, (const char *)reply->data);
    replicated_pump(r);
}

static void ask(struct replicated *r, struct reading *reading, const char *path, bool watch, coord_done *done)
{
    if (!reading->want || reading->asked)
        return;
    reading->want = false;
    reading->asked = true;
    r->coord->ops->get(r->coord, path, watch, done, r);
}

static void read_all(struct replicated *r)
{
    if (!r->registered)
        return; /* a fresh session may talk to a server that lags; after a write it does not */
    ask(r, &r->epoch_read, NODE_EPOCH, false, on_epoch);
    ask(r, &r->leader_read, NODE_LEADER, true, on_leader);
    if (!election_leads(r))
        ask(r, &r->head_read, NODE_HEAD, true, on_head);
    ask(r, &r->secret_read, NODE_SECRET, false, on_secret);
}

/* ---- time ---- */

static void set_alarm(struct replicated *r)
{
    uint64_t now = boot_ms(r), beat = (uint64_t)r->timeout_ms / HEARTBEATS_A_SESSION;
    uint64_t at = now + (beat && beat < LOOK_MS ? beat : LOOK_MS);

    if (r->connected && r->heartbeat_ms < at)
        at = r->heartbeat_ms;
    if (election_closing(r) && r->close_by_ms < at)
        at = r->close_by_ms;
    if (r->connected && snapshot_busy(r))
        at = now;
    r->o.env->wake_at(r->o.env->arg, at > now ? at : now + 1);
}

/* A third of the session without a look at the clock: this process was stopped, or its machine was. Others
 * may reign since; nothing is done until a write has succeeded. */
static void enter(struct replicated *r)
{
    uint64_t now = boot_ms(r);

    if (r->alive_ms && r->timeout_ms && now - r->alive_ms > (uint64_t)r->timeout_ms / 3) {
        if (election_leads(r))
            replicated_log(r, 1, "paused",
                           "nothing ran here for %" PRIu64 " ms: writing before anything is done",
                           now - r->alive_ms);
        r->write_sent_ms = 0;
        r->heartbeat_ms = now;
    }
    r->alive_ms = now;
}

static void close_when_done(struct replicated *r);

bool may_ask(const struct replicated *r)
{
    return r->connected && !r->alarm[0] && !r->coord_closing && r->alive_ms >= r->retry_ms;
}

void replicated_pump(struct replicated *r)
{
    enter(r);
    if (may_ask(r)) {
        if (!election_closing(r)) {
            read_all(r);
            members_pump(r);
            follow_pump(r);
            election_pump(r);
        }
        append_pump(r);
        if (!election_closing(r))
            snapshot_pump(r);
    }
    if (election_closing(r))
        close_when_done(r);
    set_alarm(r);
}

void replicated_tick(struct journal *journal)
{
    replicated_pump(replicated_of(journal));
}

/* ---- the session's events ---- */

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    struct replicated *r = arg;

    r->connected = true;
    r->session = session;
    r->timeout_ms = timeout_ms;
    r->trouble[0] = '\0';
    r->retry_ms = 0;
    r->heartbeat_ms = 0;
    r->epoch_read.want = r->leader_read.want = r->head_read.want = true;
    r->secret_read.want = r->secret[0] == '\0';
    members_session(r, fresh);
    if (election_leads(r) && !fresh)
        r->recovery = RECOVERY_WANTED;
    replicated_log(r, 2, "connected", "session 0x%" PRIx64 ", %" PRId64 " ms%s; %s", session, timeout_ms,
                   fresh ? "" : ", resumed", r->coord->ops->status(r->coord));
    replicated_changed(r);
    replicated_pump(r);
}

static void on_lost(void *arg, const char *why)
{
    struct replicated *r = arg;

    r->connected = false;
    snprintf(r->trouble, sizeof(r->trouble), "ZooKeeper cannot be reached: %s", why);
    replicated_log(r, 1, "disconnected", "%s", r->trouble);
    replicated_changed(r);
    replicated_pump(r);
}

static void on_expired(void *arg, const char *why)
{
    struct replicated *r = arg;

    r->connected = false;
    r->leader_known = false;
    members_session(r, true);
    if (election_leads(r) || r->leadership == ELECTED)
        election_end(r, "the session with ZooKeeper is over: %s", why);
    else
        replicated_changed(r);
    replicated_pump(r);
}

static void on_node_changed(void *arg, const char *path)
{
    struct replicated *r = arg;

    if (strcmp(path, NODE_LEADER) == 0)
        r->leader_read.want = true;
    else if (strcmp(path, NODE_HEAD) == 0)
        r->head_read.want = true;
    else if (strcmp(path, NODE_MEMBERS) == 0)
        r->members_read.want = true;
    replicated_pump(r);
}

static const struct coord_events coord_events = {
    .connected = on_connected, .lost = on_lost, .expired = on_expired, .changed = on_node_changed};

/* ---- the table ---- */

static int replicated_append(struct journal *journal, struct batch *batch)
{
    return append_take(replicated_of(journal), batch);
}

static void replicated_snapshot(struct journal *journal, char *text, size_t size, uint64_t index, int level)
{
    snapshot_take(replicated_of(journal), text, size, index, level);
}

/* The lease: politeness. Two thirds of the session leave room for the heartbeat and the ensemble's tick. */
static bool replicated_may_act(const struct journal *journal)
{
    struct replicated *r = replicated_of(journal);
    uint64_t now = boot_ms(r), third = (uint64_t)r->timeout_ms / 3;

    return election_takes_appends(r) && now - r->alive_ms <= third && r->write_sent_ms &&
           now - r->write_sent_ms <= 2 * third;
}

static void replicated_status(const struct journal *journal, struct journal_status *ret)
{
    const struct replicated *r = replicated_of(journal);

    *ret = r->status;
    ret->leading = election_leads(r) && !election_closing(r);
    ret->level = r->level;
    ret->in_flight = r->in_flight;
    snprintf(ret->text, sizeof(ret->text), "%s", r->alarm[0] ? r->alarm : r->trouble);
}

static void replicated_free(struct replicated *r)
{
    append_drop(r);
    snapshot_drop(r);
    restore_drop(r);
    members_release(r);
    free(r->leader);
    free(r->leader_url);
    free(r->replica);
    free(r->url);
    free(r->cluster_uuid);
    free(r->known_cluster);
    free(r->first_secret);
    free(r);
}

static void on_coord_closed(void *arg)
{
    struct replicated *r = arg;
    void (*closed)(void *arg) = r->closed;
    void *closed_arg = r->closed_arg;

    replicated_free(r);
    closed(closed_arg);
}

/* The end of the session frees the leader node: a standby takes over at once. */
static void close_when_done(struct replicated *r)
{
    if (r->coord_closing)
        return;
    if (election_leads(r) && !append_idle(r) && boot_ms(r) < r->close_by_ms)
        return;
    r->coord_closing = true;
    if (election_leads(r) && !append_idle(r))
        election_end(r, "closed before everything was written");
    r->coord->ops->close(r->coord, on_coord_closed, r);
}

static void replicated_close(struct journal *journal, void (*done)(void *arg), void *arg)
{
    struct replicated *r = replicated_of(journal);

    election_close(r);
    r->closed = done;
    r->closed_arg = arg;
    r->close_by_ms = boot_ms(r) + CLOSE_DRAIN_MS;
    replicated_pump(r);
}

static const struct journal_ops replicated_ops = {
    .append = replicated_append,
    .snapshot = replicated_snapshot,
    .may_act = replicated_may_act,
    .status = replicated_status,
    .close = replicated_close,
};

/* ---- life and view ---- */

struct journal *replicated_new(const struct replicated_options *o, struct coord *coord,
                               const struct journal_events *events, void *arg)
{
    struct replicated *r = alloc_zero(sizeof(*r));

    r->journal = (struct journal){&replicated_ops, events, arg};
    r->coord = coord;
    coord->events = &coord_events;
    coord->arg = r;
    r->o = *o;
    r->replica = alloc_text(o->replica);
    r->url = alloc_text(o->url ? o->url : "");
    r->cluster_uuid = alloc_text(o->cluster_uuid);
    r->known_cluster = alloc_text(o->known_cluster);
    r->first_secret = alloc_text(o->secret);
    r->level = 1;
    if (!r->o.log_keep_bytes)
        r->o.log_keep_bytes = REPLICATED_LOG_KEEP_BYTES;
    list_init(&r->queue);
    list_init(&r->unacked);
    list_init(&r->flights);
    snprintf(r->trouble, sizeof(r->trouble), "not connected to ZooKeeper yet");
    set_alarm(r);
    return &r->journal;
}

void replicated_leader_gone(struct journal *journal, int64_t epoch)
{
    struct replicated *r = replicated_of(journal);

    r->gone_epoch = epoch;
    replicated_pump(r);
}

const struct replicated_view *replicated_view(const struct journal *journal)
{
    struct replicated *r = replicated_of(journal);
    struct replicated_view *v = &r->view;

    *v = (struct replicated_view){
        .connected = r->connected,
        .session = r->session,
        .session_timeout_ms = r->timeout_ms,
        .epoch = r->epoch_known ? epoch_number(r) : 0,
        .leader = election_leads(r) ? r->replica : r->leader,
        .leader_url = election_leads(r) ? r->url : r->leader_url,
        .leading = election_leads(r),
        .head = election_leads(r) ? r->status.acked : r->head,
        .applied = election_leads(r) ? r->status.acked : r->applied,
        .current = r->connected &&
                   (election_leads(r) || (r->restored && r->head_known && r->applied == r->head)),
        .level = r->level,
        .offset_ms = r->offset_ms,
        .offset_known = r->offset_known,
        .offset_asked_ms = r->offset_asked_ms,
        .members = r->members,
        .member_count = r->member_count,
        .alarm = r->alarm,
    };
    snprintf(v->cluster, sizeof(v->cluster), "%s", r->cluster);
    snprintf(v->secret, sizeof(v->secret), "%s", r->secret);
    return v;
}
