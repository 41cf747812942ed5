/* The core's frame: the session, time, the journal's table. See replicated.h and replicated_priv.h.
 *
 * Happy path of a standby: connected -> epoch, leader, head, secret and members are read, with watches on
 * leader, head and members -> restore, batch... up to head -> current; then a watch on head at each append.
 * Of a leader: the leader node is missing -> one multi takes the leadership -> head is read again, the
 * tail applied -> lead -> append ... acked. Failures: lost: everything asked is wanted again when `connected`
 * comes. expired: leadership is over; what was applied stays. An unexpected reply: noted
 * in status.text, tried again after RETRY_MS. A tree that cannot be ours: the alarm; nothing more is done.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct replicated *replicated_of(const struct journal *journal)
{
    return OBJECT_OF(struct replicated, journal, journal);
}

/* ---- small things that all files use ---- */

uint64_t replicated_now_ms(const struct replicated *r)
{
    return r->o.env->boot_ms(r->o.env->arg);
}

void replicated_log(struct replicated *r, enum log_level level, const char *event, const char *format, ...)
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
    replicated_log(r, LOG_ERROR, "alarm", "%s", r->alarm);
    recover_drop(r);
    election_alarm(r);
    if (r->session.connected && r->members.registered)
        members_leave(r);
    replicated_changed(r);
    assert(r->alarm[0]);
}

void replicated_retry_in(struct replicated *r, uint64_t ms)
{
    r->session.retry_ms = replicated_now_ms(r) + ms;
}

void replicated_unexpected(struct replicated *r, const char *what, const struct coord_reply *reply)
{
    assert(reply->result != COORD_OK && reply->result != COORD_LOST);
    replicated_note_error(r, "%s: %s", what, reply->text);
    replicated_retry_in(r, RETRY_MS);
}

void replicated_note_error(struct replicated *r, const char *format, ...)
{
    char text[sizeof(r->last_error)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    r->session.error_ms = replicated_now_ms(r);
    if (strcmp(text, r->last_error) == 0)
        return;
    memcpy(r->last_error, text, sizeof(text));
    replicated_log(r, LOG_WARN, "zookeeper", "%s", text);
    replicated_changed(r);
}

void replicated_clear_error(struct replicated *r)
{
    r->last_error[0] = '\0';
    r->session.error_ms = 0;
}

static void forget_old_error(struct replicated *r)
{
    if (r->session.error_ms && replicated_now_ms(r) - r->session.error_ms >= ERROR_STANDS_MS)
        replicated_clear_error(r);
}

void replicated_renew_lease(struct replicated *r, uint64_t sent_ms)
{
    assert(sent_ms <= replicated_now_ms(r));
    if (sent_ms > r->session.write_sent_ms)
        r->session.write_sent_ms = sent_ms;
}

/* ---- time ---- */

bool replicated_may_ask(const struct replicated *r)
{
    assert(!r->coord_closing || election_closing(r));
    return r->session.connected && !r->alarm[0] && !r->coord_closing &&
           r->session.alive_ms >= r->session.retry_ms;
}

static void set_timer(struct replicated *r)
{
    uint64_t now = replicated_now_ms(r), beat = (uint64_t)r->session.timeout_ms / HEARTBEATS_A_SESSION;
    uint64_t at = now + (beat && beat < LOOK_MS ? beat : LOOK_MS);

    if (r->session.connected && members_wake_ms(r) < at)
        at = members_wake_ms(r);
    if (r->session.connected && claims_wake_ms(r) < at)
        at = claims_wake_ms(r);
    if (r->session.connected && holder_wake_ms(r) < at)
        at = holder_wake_ms(r);
    if (ask_may_ask(r) && ask_wake_ms(r) < at)
        at = ask_wake_ms(r);
    if (election_closing(r) && r->close_by_ms < at)
        at = r->close_by_ms;
    if (r->session.connected && snapshot_busy(r))
        at = now;
    r->o.env->wake_at(r->o.env->arg, at > now ? at : now + 1);
}

/* A third of the session without a look at the clock: this process was stopped, or its machine was. Others
 * may lead by now; nothing is done until a write has succeeded. */
static void enter(struct replicated *r)
{
    uint64_t now = replicated_now_ms(r);

    if (r->session.alive_ms && r->session.timeout_ms &&
        now - r->session.alive_ms > (uint64_t)r->session.timeout_ms / 3) {
        if (election_leads(r))
            replicated_log(r, LOG_WARN, "paused",
                           "nothing ran here for %" PRIu64 " ms: writing before anything is done",
                           now - r->session.alive_ms);
        r->session.write_sent_ms = 0;
        members_heartbeat_now(r);
    }
    r->session.alive_ms = now;
}

static void close_when_done(struct replicated *r);

void replicated_pump(struct replicated *r)
{
    assert(!r->coord_closing || election_closing(r));
    enter(r);
    forget_old_error(r);
    if (ask_may_ask(r))
        ask_pump(r);
    if (replicated_may_ask(r)) {
        if (!election_closing(r)) {
            tree_pump(r);
            guard_pump(r);
            members_pump(r);
            claims_pump(r);
            follow_pump(r);
            recover_pump(r);
            election_pump(r);
        }
        append_pump(r);
        if (!election_closing(r))
            snapshot_pump(r);
    }
    if (election_closing(r))
        close_when_done(r);
    set_timer(r);
}

void replicated_tick(struct journal *journal)
{
    replicated_pump(replicated_of(journal));
}

/* ---- the session's events ---- */

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(!r->session.connected);
    r->session.connected = true;
    r->session.id = session;
    r->session.timeout_ms = timeout_ms;
    r->session.retry_ms = 0;
    if (fresh)
        r->session.write_sent_ms = 0;
    replicated_clear_error(r);
    r->journal.batch_bytes = r->coord->request_max;
    tree_connected(r);
    guard_session(r);
    holder_session(r);
    members_session(r, fresh);
    ask_session(r);
    append_session(r, fresh);
    replicated_log(r, LOG_NOTE, "connected", "session 0x%" PRIx64 ", %" PRId64 " ms%s; %s", session,
                   timeout_ms, fresh ? "" : ", resumed", r->coord->ops->status(r->coord));
    replicated_changed(r);
    replicated_pump(r);
}

static void on_lost(void *arg, const char *why)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->session.connected = false;
    replicated_clear_error(r);
    snprintf(r->last_error, sizeof(r->last_error), "ZooKeeper cannot be reached: %s", why);
    replicated_log(r, LOG_WARN, "disconnected", "%s", r->last_error);
    replicated_changed(r);
    replicated_pump(r);
}

static void on_expired(void *arg, const char *why)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(!r->session.connected); /* `lost` came before */
    r->session.write_sent_ms = 0;
    tree_session_over(r);
    members_session(r, true);
    if (election_leads(r) || r->election.state == ELECTED)
        election_end(r, "the session with ZooKeeper is over: %s", why);
    else
        replicated_changed(r);
    replicated_pump(r);
}

static void on_node_changed(void *arg, const char *path)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    tree_changed(r, path);
    members_changed(r, path);
    ask_changed(r, path);
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
    uint64_t now = replicated_now_ms(r), third = (uint64_t)r->session.timeout_ms / 3;

    assert(!election_takes_appends(r) || r->follower.restored);
    return election_takes_appends(r) && now - r->session.alive_ms <= third && r->session.write_sent_ms &&
           now - r->session.write_sent_ms <= 2 * third;
}

static void replicated_status(const struct journal *journal, struct journal_status *ret)
{
    const struct replicated *r = replicated_of(journal);

    assert(r->appender.status.acked <= r->appender.next_index);
    *ret = r->appender.status;
    ret->leading = election_leads(r) && !election_closing(r);
    ret->level = r->members.level;
    ret->in_flight = r->appender.in_flight;
    ret->snapshot_urgent = snapshot_urgent(r);
    ret->log_bytes = snapshot_log_bytes(r);
    ret->log_bytes_most = REPLICATED_LOG_BOUND_BYTES;
    snprintf(ret->left_behind, sizeof(ret->left_behind), "%s", r->members.left_behind);
    ret->refused = append_refused(r);
    if (r->alarm[0])
        snprintf(ret->text, sizeof(ret->text), "%s", r->alarm);
    else
        snprintf(ret->text, sizeof(ret->text), "%s", r->guard.refusal[0] ? r->guard.refusal : r->last_error);
    if (!ret->text[0] && r->election.leaderless_ms)
        snprintf(ret->text, sizeof(ret->text), "nobody leads");
}

static void replicated_free(struct replicated *r)
{
    assert(list_empty(&r->appender.multis)); /* every request was answered */
    append_drop(r);
    snapshot_drop(r);
    follow_drop(r);
    members_release(r);
    tree_release(r);
    free(r->replica);
    free(r->url);
    free(r->cluster_uuid);
    free(r->first_secret);
    OBJECT_FREE(struct replicated, r);
}

static void on_coord_closed(void *arg)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    void (*closed)(void *arg) = r->closed;
    void *closed_arg = r->closed_arg;

    replicated_free(r);
    closed(closed_arg);
}

/* The end of the session frees the leader node: a standby takes over at once. */
static void close_when_done(struct replicated *r)
{
    assert(election_closing(r));
    if (r->coord_closing)
        return;
    if (election_leads(r) && !append_idle(r) && replicated_now_ms(r) < r->close_by_ms)
        return;
    r->coord_closing = true;
    if (election_leads(r) && !append_idle(r))
        election_end(r, "closed before everything was written");
    r->coord->ops->close(r->coord, on_coord_closed, r);
}

static void replicated_close(struct journal *journal, void (*done)(void *arg), void *arg)
{
    struct replicated *r = replicated_of(journal);

    assert(done && !r->closed);
    recover_drop(r);
    election_close(r);
    r->closed = done;
    r->closed_arg = arg;
    r->close_by_ms = replicated_now_ms(r) + CLOSE_DRAIN_MS;
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
    struct replicated *r = OBJECT_NEW(struct replicated);

    assert(o->replica && o->env && o->host && o->level > 0);
    r->journal = (struct journal){&replicated_ops, events, arg};
    r->coord = coord;
    coord->events = &coord_events;
    coord->arg = r;
    r->o = *o;
    r->replica = alloc_text(o->replica);
    r->url = alloc_text(o->url ? o->url : "");
    r->cluster_uuid = alloc_text(o->cluster_uuid);
    r->guard.mark = o->mark;
    snprintf(r->guard.join, sizeof(r->guard.join), "%s", o->join_cluster ? o->join_cluster : "");
    r->first_secret = alloc_text(o->secret);
    snprintf(r->process, sizeof(r->process), "%016" PRIx64, o->env->random(o->env->arg));
    r->journal.batch_bytes_usual = REPLICATED_BATCH_BYTES;
    append_init(r);
    members_init(r);
    if (!r->o.log_keep_bytes)
        r->o.log_keep_bytes = REPLICATED_LOG_KEEP_BYTES;
    if (!r->o.log_most_bytes)
        r->o.log_most_bytes = REPLICATED_LOG_MOST_BYTES;
    if (r->o.log_most_bytes < r->o.log_keep_bytes)
        r->o.log_most_bytes = r->o.log_keep_bytes;
    snprintf(r->last_error, sizeof(r->last_error), "not connected to ZooKeeper yet");
    set_timer(r);
    return &r->journal;
}

const struct replicated_view *replicated_view(const struct journal *journal)
{
    struct replicated *r = replicated_of(journal);
    struct replicated_view *v = &r->view;

    *v = (struct replicated_view){
        .connected = r->session.connected,
        .session = r->session.id,
        .session_timeout_ms = r->session.timeout_ms,
        .epoch = r->tree.epoch_known ? tree_epoch(r) : 0,
        .leader = r->tree.leader,
        .leader_url = r->tree.leader_url,
        .head = r->tree.head,
        .applied = r->follower.applied,
        .current = r->session.connected && guard_trusts(r) && r->follower.restored && r->tree.head_known &&
                   r->follower.applied == r->tree.head,
        .read = r->follower.read,
        .level = r->members.level,
        .offset_ms = r->members.offset_ms,
        .offset_known = r->members.offset_known,
        .offset_asked_ms = r->members.offset_asked_ms,
        .ensemble_ms = r->members.ensemble_ms,
        .leaderless_ms = r->election.leaderless_ms ? replicated_now_ms(r) - r->election.leaderless_ms : 0,
        .members = r->members.list,
        .member_count = r->members.count,
        .standing = guard_standing(r),
        .alarm = r->alarm[0] ? r->alarm : r->guard.refusal,
        .mark = &r->guard.mark,
        .left_behind = r->members.left_behind,
        .role = claims_role(r),
        .base = r->tree.epoch_base,
        .nonce = r->election.nonce,
        .process = r->process,
        .other_leader = r->claims.other,
        .against = r->guard.contradiction[0] && r->guard.refusal[0] ? r->guard.against : "",
        .against_member = r->guard.against_member,
    };
    if (election_leads(r)) {
        v->leading = true;
        v->leader = r->replica;
        v->leader_url = r->url;
        v->head = v->applied = r->appender.status.acked;
        v->current = r->session.connected;
    }
    snprintf(v->cluster, sizeof(v->cluster), "%s", r->tree.cluster);
    snprintf(v->secret, sizeof(v->secret), "%s", r->tree.secret);
    assert(v->member_count <= REPLICATED_MEMBERS_MAX && (!v->leading || v->applied == v->head));
    return v;
}
