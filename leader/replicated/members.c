/* Who is there: this replica's own node with its heartbeat, and the list of all.
 *
 * The heartbeat is a write of what others want to know (index held durably, level, clock). As a write it
 * keeps the lease alive, its answer carries the ensemble's time, and it makes later reads on a fresh session
 * current: so registering comes before everything else.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define MEMBER_BYTES_MAX (16 * 1024)
#define NEWCOMER_MS      3000 /* so long after the list changed, those that are not fit yet are read again */
#define NEWCOMER_LOOK_MS 250

/* The list is bounded and is read by one request at a time; what the cluster agrees on this build understands. */
static void check_invariants(const struct replicated *r)
{
    const struct members *m = &r->members;

    assert(m->count <= REPLICATED_MEMBERS_MAX && m->asked <= REPLICATED_MEMBERS_MAX);
    assert(!m->read.asked || m->asked == 0);
    assert(!(m->registered && m->registering));
    assert(m->level <= r->o.level);
}

static bool is_fit(struct replicated *r)
{
    return guard_trusts(r) && election_fit(r);
}

/* The index of the snapshot that it reads, 0: of none. */
static uint64_t reading(const struct replicated *r)
{
    const struct restoring *p = &r->follower.restoring;

    return p->active && p->manifest.exists ? p->manifest.index : 0;
}

static json_t *member_facts(struct replicated *r)
{
    json_t *o = r->o.host->member(r->o.host->arg);

    assert(json_is_object(o));
    r->members.told_fit = is_fit(r);
    r->members.told_reading = reading(r);
    json_object_set_new(o, "session", json_integer(r->session.id));
    json_object_set_new(o, "process", json_string(r->process));
    json_object_set_new(
        o, "applied",
        json_integer((json_int_t)(election_leads(r) ? r->appender.status.acked : r->follower.applied)));
    json_object_set_new(o, "durable", json_integer((json_int_t)r->o.host->durable(r->o.host->arg)));
    json_object_set_new(o, "level", json_integer(r->o.level));
    json_object_set_new(o, "fit", json_boolean(r->members.told_fit));
    json_object_set_new(o, "mark", mark_json(&r->guard.mark));
    if (r->guard.refusal[0])
        json_object_set_new(o, "refuses", json_string(r->guard.refusal));
    if (!r->guard.mark.cluster[0])
        json_object_set_new(o, "joining", json_true());
    if (r->members.told_reading)
        json_object_set_new(o, "reading", json_integer((json_int_t)r->members.told_reading));
    if (!json_object_get(o,
                         "clock_offset_ms")) /* the host knows better: it hears other members' clocks, too */
        json_object_set_new(o, "clock_offset_ms",
                            r->members.offset_known ? json_integer(r->members.offset_ms) : json_null());
    return o;
}

void members_session(struct replicated *r, bool fresh)
{
    check_invariants(r);
    if (fresh)
        r->members.registered = r->members.registering = false;
    r->members.heartbeat_ms = 0;
    r->members.read.want = true;
}

void members_want(struct replicated *r)
{
    r->members.fresh = false;
    r->members.read.want = true;
}

void members_init(struct replicated *r)
{
    r->members.level = 1;
    check_invariants(r);
}

void members_changed(struct replicated *r, const char *path)
{
    check_invariants(r);
    if (strcmp(path, NODE_MEMBERS) != 0)
        return;
    r->members.read.want = true;
    r->members.changed_ms = replicated_now_ms(r);
}

void members_heartbeat_now(struct replicated *r)
{
    r->members.heartbeat_ms = replicated_now_ms(r);
}

uint64_t members_wake_ms(const struct replicated *r)
{
    uint64_t look_ms = r->members.look_ms;

    return look_ms && look_ms < r->members.heartbeat_ms ? look_ms : r->members.heartbeat_ms;
}

void members_release(struct replicated *r)
{
    for (size_t i = 0; i < r->members.count; i++) {
        free(r->members.list[i].id);
        json_decref(r->members.list[i].facts);
    }
    r->members.count = 0;
}

/* ---- what the others say ---- */

static bool fact_true(const struct replicated_member *m, const char *key)
{
    return json_is_true(json_object_get(m->facts, key));
}

static int64_t fact_int(const struct replicated_member *m, const char *key, int64_t absent)
{
    const json_t *v = json_object_get(m->facts, key);

    return json_is_integer(v) ? json_integer_value(v) : absent;
}

/* It belongs to this cluster; what the others say counts for nothing. An older build publishes no mark. */
static bool counts(const struct replicated *r, const struct replicated_member *m)
{
    const char *cluster = json_string_value(json_object_get(json_object_get(m->facts, "mark"), "cluster"));

    return !cluster || strcmp(cluster, r->tree.cluster) == 0;
}

/* The leader is taken for dead; its node stands until its session ends. */
static bool is_dead_leader(const struct replicated *r, const char *id)
{
    return r->tree.leader && strcmp(r->tree.leader, id) == 0 &&
           suspicion_verdict(&r->asks.suspicion, tree_epoch(r), replicated_now_ms(r));
}

bool members_other_fit(const struct replicated *r)
{
    check_invariants(r);
    for (size_t i = 0; i < r->members.count; i++) {
        const struct replicated_member *m = &r->members.list[i];

        if (strcmp(m->id, r->replica) != 0 && fact_true(m, "fit") && !is_dead_leader(r, m->id))
            return true;
    }
    return false;
}

uint64_t members_durable(const struct replicated *r)
{
    uint64_t least = r->o.host->durable(r->o.host->arg);

    check_invariants(r);
    for (size_t i = 0; i < r->members.count; i++) {
        uint64_t durable = (uint64_t)fact_int(&r->members.list[i], "durable", 0);

        if (strcmp(r->members.list[i].id, r->replica) != 0 && counts(r, &r->members.list[i]) &&
            durable < least)
            least = durable;
    }
    return least;
}

void members_left_behind(struct replicated *r, uint64_t index)
{
    char names[sizeof(r->members.left_behind)] = "";
    size_t used = 0;

    check_invariants(r);
    for (size_t i = 0; i < r->members.count; i++) {
        const struct replicated_member *m = &r->members.list[i];

        if (!counts(r, m) || used >= sizeof(names) - 1 || (uint64_t)fact_int(m, "durable", 0) >= index)
            continue;
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "", m->id);
    }
    if (strcmp(names, r->members.left_behind) == 0)
        return;
    snprintf(r->members.left_behind, sizeof(r->members.left_behind), "%s", names);
    if (names[0])
        replicated_log(r, LOG_WARN, "left-behind",
                       "the log in ZooKeeper waits no longer for %s, which do not hold batch %" PRIu64
                       " durably: they get their state from a snapshot, and their history from others",
                       names, index);
    replicated_changed(r);
}

bool members_reading(const struct replicated *r, uint64_t index)
{
    check_invariants(r);
    for (size_t i = 0; i < r->members.count; i++) {
        const struct replicated_member *m = &r->members.list[i];
        int64_t reading = fact_int(m, "reading", 0);

        if (counts(r, m) && reading > 0 && (uint64_t)reading < index)
            return true;
    }
    return false;
}

/* Who has just joined is fit a little later, and no watch tells: it is read again. */
static void look_again(struct replicated *r)
{
    uint64_t now = replicated_now_ms(r);

    check_invariants(r);
    r->members.look_ms = 0;
    if (!r->members.changed_ms || now - r->members.changed_ms > NEWCOMER_MS)
        return;
    for (size_t i = 0; i < r->members.count; i++)
        if (!fact_true(&r->members.list[i], "fit"))
            r->members.look_ms = now + NEWCOMER_LOOK_MS;
}

static void members_judge(struct replicated *r)
{
    int level = r->o.level;

    assert(r->members.asked == 0);
    for (size_t i = 0; i < r->members.count; i++) {
        int theirs = (int)fact_int(&r->members.list[i], "level", 1);

        if (counts(r, &r->members.list[i]))
            level = theirs < level ? theirs : level;
    }
    r->members.level = level;
    r->members.fresh = !r->members.read.want;
    look_again(r);
    claims_members_read(r);
    guard_members_read(r);
    replicated_changed(r);
}

/* ---- reading the list ---- */

struct member_read {
    struct object object;
    struct replicated *r;
    char id[COORD_PATH_MAX];
};

static void member_put(struct replicated *r, const char *id, const struct coord_reply *reply)
{
    json_t *facts = reply->size <= MEMBER_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, NULL) : NULL;
    size_t i = 0;

    check_invariants(r);
    if (!json_is_object(facts)) {
        json_decref(facts);
        facts = json_object(); /* of an unknown kind: there, not fit, level 1 */
    }
    while (i < r->members.count && strcmp(r->members.list[i].id, id) < 0)
        i++;
    if (i < r->members.count && strcmp(r->members.list[i].id, id) == 0) {
        json_decref(r->members.list[i].facts);
        r->members.list[i].facts = facts;
        return;
    }
    if (r->members.count == REPLICATED_MEMBERS_MAX) {
        json_decref(facts);
        return;
    }
    memmove(&r->members.list[i + 1], &r->members.list[i],
            (r->members.count - i) * sizeof(r->members.list[0]));
    r->members.list[i] = (struct replicated_member){alloc_text(id), facts};
    r->members.count++;
    assert(i == 0 || strcmp(r->members.list[i - 1].id, id) < 0); /* sorted */
}

static void member_remove(struct replicated *r, size_t i)
{
    assert(i < r->members.count);
    free(r->members.list[i].id);
    json_decref(r->members.list[i].facts);
    memmove(&r->members.list[i], &r->members.list[i + 1],
            (--r->members.count - i) * sizeof(r->members.list[0]));
}

static void on_member(void *arg, const struct coord_reply *reply)
{
    struct member_read *m = OBJECT(struct member_read, arg);
    struct replicated *r = m->r;

    assert(r->members.asked > 0);
    r->members.asked--;
    if (reply->result == COORD_OK) {
        member_put(r, m->id, reply);
        if (r->members.registered && strcmp(m->id, r->replica) == 0 && reply->stat.owner != r->session.id)
            replicated_alarm(r, "another process serves as replica '%s': each needs an id of its own",
                             r->replica);
    } else if (reply->result != COORD_NO_NODE) {
        r->members.read.want = true;
        if (reply->result != COORD_LOST)
            replicated_unexpected(r, "reading a member", reply);
    }
    if (r->members.asked == 0)
        members_judge(r);
    OBJECT_FREE(struct member_read, m);
    replicated_pump(r);
}

static bool listed(const struct coord_reply *reply, const char *id)
{
    for (size_t i = 0; i < reply->name_count; i++)
        if (strcmp(reply->names[i], id) == 0)
            return true;
    return false;
}

static void on_members(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    char path[COORD_PATH_MAX];

    assert(r->members.read.asked && r->members.asked == 0);
    r->members.read.asked = false;
    if (reply->result == COORD_OK) {
        for (size_t i = r->members.count; i-- > 0;)
            if (!listed(reply, r->members.list[i].id))
                member_remove(r, i);
        if (reply->name_count == 0)
            members_judge(r);
        for (size_t i = 0; i < reply->name_count && i < REPLICATED_MEMBERS_MAX; i++) {
            struct member_read *m = OBJECT_NEW(struct member_read);

            m->r = r;
            snprintf(m->id, sizeof(m->id), "%s", reply->names[i]);
            snprintf(path, sizeof(path), NODE_MEMBERS "/%.100s", m->id);
            r->members.asked++;
            r->coord->ops->get(r->coord, path, false, on_member, m);
        }
    } else {
        r->members.read.want = true;
        if (reply->result != COORD_LOST)
            replicated_unexpected(r, "reading " NODE_MEMBERS, reply);
    }
    replicated_pump(r);
}

/* ---- this replica's own node ---- */

static void on_registered(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->members.registering = false;
    switch (reply->result) {
    case COORD_OK:
        r->members.registered = true;
        r->holder.state = HOLDER_NONE;
        r->members.heartbeat_ms = 0; /* its answer carries the ensemble's time */
        members_want(r);
        tree_want(r); /* after a write nothing older is read */
        break;
    case COORD_EXISTS:
    case COORD_BAD_VERSION:
        holder_found(r);
        break;
    case COORD_NO_NODE:
        if (r->holder.state == HOLDER_GONE)
            r->holder.state = HOLDER_NONE;
        else if (!election_closing(r) && !r->alarm[0])
            tree_make_members(r);
        break;
    case COORD_LOST:
        break;
    default:
        replicated_unexpected(r, "registering in " NODE_MEMBERS, reply);
        break;
    }
    replicated_pump(r);
}

static char *facts_text(struct replicated *r, char path[COORD_PATH_MAX])
{
    json_t *facts = member_facts(r);
    char *text = json_dumps(facts, JSON_COMPACT);

    json_decref(facts);
    assert(text);
    snprintf(path, COORD_PATH_MAX, NODE_MEMBERS "/%s", r->replica);
    return text;
}

static void register_me(struct replicated *r)
{
    char path[COORD_PATH_MAX], *text = facts_text(r, path);
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = path, .version = r->holder.version},
                             {COORD_CREATE_EPHEMERAL, path, text, strlen(text), COORD_ANY}};
    size_t skip = r->holder.state == HOLDER_GONE ? 0 : 1;

    assert(!r->members.registered && !r->members.registering);
    r->members.registering = true;
    r->coord->ops->multi(r->coord, ops + skip, 2 - skip, on_registered, r);
    free(text);
}

static void on_lease_renewed(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (reply->result == COORD_OK)
        replicated_renew_lease(r, r->members.lease_sent_ms);
    replicated_pump(r);
}

/* A heartbeat that stores something may be refused where the session is fine. A check is a write that stores nothing. */
static void renew_lease(struct replicated *r)
{
    struct coord_op op = {.kind = COORD_CHECK, .path = NODE_EPOCH, .version = COORD_ANY};

    assert(election_leads(r));
    r->members.lease_sent_ms = replicated_now_ms(r);
    r->coord->ops->multi(r->coord, &op, 1, on_lease_renewed, r);
}

static void on_heartbeat(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(r->members.heartbeat_asked);
    r->members.heartbeat_asked = false;
    if (reply->result == COORD_OK) {
        int64_t wall = r->o.env->wall_ms(r->o.env->arg),
                took = (int64_t)(replicated_now_ms(r) - r->members.heartbeat_sent_ms);

        replicated_renew_lease(r, r->members.heartbeat_sent_ms);
        claims_written(r, r->members.heartbeat_sent_ms);
        /* the ensemble set its time somewhere between sending and now */
        r->members.offset_ms = wall - took / 2 - reply->stat.mtime_ms;
        r->members.offset_known = true;
        r->members.ensemble_ms = reply->stat.mtime_ms + took / 2 - (int64_t)replicated_now_ms(r);
        r->members.write_ms = (uint64_t)took;
        r->members.offset_asked_ms = r->members.heartbeat_sent_ms;
    } else if (reply->result == COORD_NO_NODE) {
        r->members.registered = false; /* somebody removed it, or all of the tree */
        append_doubt(r);
        tree_look_for_name(r);
    } else if (reply->result == COORD_BAD_VERSION) {
        append_doubt(r);
    } else if (reply->result != COORD_LOST) { /* the next one comes in its time, and holds nothing else up */
        if (!append_refused(r))               /* that is told already, and says more */
            replicated_note_error(r, "writing " NODE_MEMBERS ": %s", reply->text);
        if (election_leads(r))
            renew_lease(r);
    }
    replicated_pump(r);
}

static void heartbeat(struct replicated *r)
{
    char path[COORD_PATH_MAX], *text = facts_text(r, path);
    struct coord_op ops[4];
    size_t n = append_checks(r, ops);

    ops[n++] = (struct coord_op){COORD_SET, path, text, strlen(text), COORD_ANY};
    assert(r->members.registered && !r->members.heartbeat_asked);
    r->members.heartbeat_asked = true;
    r->members.heartbeat_sent_ms = replicated_now_ms(r);
    r->members.heartbeat_ms = r->members.heartbeat_sent_ms +
                              (uint64_t)r->session.timeout_ms / HEARTBEATS_A_SESSION;
    r->coord->ops->multi(r->coord, ops, n, on_heartbeat, r);
    free(text);
}

static void on_left(void *arg, const struct coord_reply *reply)
{
    (void)arg;
    (void)reply;
}

/* So that no other replica counts on this one. */
void members_leave(struct replicated *r)
{
    char path[COORD_PATH_MAX];
    struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = COORD_ANY};

    assert(r->members.registered);
    snprintf(path, sizeof(path), NODE_MEMBERS "/%s", r->replica);
    r->coord->ops->multi(r->coord, &op, 1, on_left, r);
}

void members_pump(struct replicated *r)
{
    check_invariants(r);
    if (!r->members.registered) {
        if (!r->members.registering && !r->tree.bootstrapping && holder_pump(r))
            register_me(r);
        return;
    }
    if (r->members.look_ms && replicated_now_ms(r) >= r->members.look_ms) {
        r->members.look_ms = 0;
        r->members.read.want = true;
    }
    /* The others are to know at once that this one can lead, and that a snapshot has to stay. */
    if ((!r->members.told_fit && is_fit(r)) || reading(r) > r->members.told_reading)
        members_heartbeat_now(r);
    if (!r->members.heartbeat_asked && replicated_now_ms(r) >= r->members.heartbeat_ms) {
        heartbeat(r);
        guard_heartbeat(r);
        r->members.read.want = true; /* what they say changes without a watch */
    }
    if (r->members.read.want && !r->members.read.asked && r->members.asked == 0) {
        r->members.read.want = false;
        r->members.read.asked = true;
        r->coord->ops->children(r->coord, NODE_MEMBERS, true, on_members, r);
    }
}
