/* Who is there: this replica's own node with its heartbeat, and the list of all.
 *
 * The heartbeat is a write of what others want to know (index held durably, level, clock). As a write it
 * keeps the lease alive, its answer carries the ensemble's time, and it makes later reads on a fresh session
 * current: so registering comes before everything else.
 */
#include "leader/replicated/replicated_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define MEMBER_BYTES_MAX (16 * 1024)

static json_t *member_facts(struct replicated *r)
{
    json_t *o = r->o.host->member(r->o.host->arg);

    json_object_set_new(o, "session", json_integer(r->session));
    json_object_set_new(o, "applied",
                        json_integer((json_int_t)(election_leads(r) ? r->status.acked : r->applied)));
    json_object_set_new(o, "durable", json_integer((json_int_t)r->o.host->durable(r->o.host->arg)));
    json_object_set_new(o, "level", json_integer(r->o.level));
    json_object_set_new(o, "fit", json_boolean(election_fit(r)));
    json_object_set_new(o, "clock_offset_ms", r->offset_known ? json_integer(r->offset_ms) : json_null());
    return o;
}

void members_session(struct replicated *r, bool fresh)
{
    if (fresh) {
        r->registered = r->registering = false;
        r->write_sent_ms = 0;
    }
    r->members_read.want = true;
}

void members_release(struct replicated *r)
{
    for (size_t i = 0; i < r->member_count; i++) {
        free(r->members[i].id);
        json_decref(r->members[i].facts);
    }
    r->member_count = 0;
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

bool members_other_fit(const struct replicated *r)
{
    for (size_t i = 0; i < r->member_count; i++)
        if (strcmp(r->members[i].id, r->replica) != 0 && fact_true(&r->members[i], "fit"))
            return true;
    return false;
}

uint64_t members_durable(const struct replicated *r)
{
    uint64_t least = r->o.host->durable(r->o.host->arg);

    for (size_t i = 0; i < r->member_count; i++) {
        uint64_t durable = (uint64_t)fact_int(&r->members[i], "durable", 0);

        if (strcmp(r->members[i].id, r->replica) != 0 && durable < least)
            least = durable;
    }
    return least;
}

static void members_judge(struct replicated *r)
{
    int level = r->o.level;

    for (size_t i = 0; i < r->member_count; i++) {
        int theirs = (int)fact_int(&r->members[i], "level", 1);

        level = theirs < level ? theirs : level;
    }
    r->level = level;
    replicated_changed(r);
}

/* ---- reading the list ---- */

struct member_read {
    struct replicated *r;
    char id[COORD_PATH_MAX];
};

static void member_put(struct replicated *r, const char *id, const struct coord_reply *reply)
{
    json_t *facts = reply->size <= MEMBER_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, NULL) : NULL;
    size_t i = 0;

    if (!json_is_object(facts)) {
        json_decref(facts);
        facts = json_object(); /* of an unknown kind: there, not fit, level 1 */
    }
    while (i < r->member_count && strcmp(r->members[i].id, id) < 0)
        i++;
    if (i < r->member_count && strcmp(r->members[i].id, id) == 0) {
        json_decref(r->members[i].facts);
        r->members[i].facts = facts;
        return;
    }
    if (r->member_count == REPLICATED_MEMBERS_MAX) {
        json_decref(facts);
        return;
    }
    memmove(&r->members[i + 1], &r->members[i], (r->member_count - i) * sizeof(r->members[0]));
    r->members[i] = (struct replicated_member){alloc_text(id), facts};
    r->member_count++;
}

static void member_remove(struct replicated *r, size_t i)
{
    free(r->members[i].id);
    json_decref(r->members[i].facts);
    memmove(&r->members[i], &r->members[i + 1], (--r->member_count - i) * sizeof(r->members[0]));
}

static void on_member(void *arg, const struct coord_reply *reply)
{
    struct member_read *m = arg;
    struct replicated *r = m->r;

    r->members_asked--;
    if (reply->result == COORD_OK) {
        member_put(r, m->id, reply);
        if (r->registered && strcmp(m->id, r->replica) == 0 && reply->stat.owner != r->session)
            replicated_alarm(r, "another process serves as replica '%s': each needs an id of its own",
                             r->replica);
    } else if (reply->result == COORD_LOST)
        r->members_read.want = true;
    if (r->members_asked == 0)
        members_judge(r);
    free(m);
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
    struct replicated *r = arg;
    char path[COORD_PATH_MAX];

    r->members_read.asked = false;
    if (reply->result == COORD_OK) {
        for (size_t i = r->member_count; i-- > 0;)
            if (!listed(reply, r->members[i].id))
                member_remove(r, i);
        for (size_t i = 0; i < reply->name_count && i < REPLICATED_MEMBERS_MAX; i++) {
            struct member_read *m = alloc_zero(sizeof(*m));

            m->r = r;
            snprintf(m->id, sizeof(m->id), "%s", reply->names[i]);
            snprintf(path, sizeof(path), NODE_MEMBERS "/%.100s", m->id);
            r->members_asked++;
            r->coord->ops->get(r->coord, path, false, on_member, m);
        }
    } else {
        r->members_read.want = true;
        if (reply->result != COORD_LOST)
            replicated_odd(r, "reading " NODE_MEMBERS, reply);
    }
    replicated_pump(r);
}

/* ---- this replica's own node ---- */

static void on_registered(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    r->registering = false;
    switch (reply->result) {
    case COORD_OK:
        r->registered = true;
        r->stale_member = false;
        r->heartbeat_ms = 0; /* its answer tells the ensemble's time */
        r->members_read.want = true;
        break;
    case COORD_EXISTS:
        r->stale_member = true;
        break;
    case COORD_NO_NODE:
        if (r->stale_member)
            r->stale_member = false;
        else if (!election_closing(r) && !r->alarm[0])
            replicated_bootstrap(r);
        break;
    case COORD_LOST:
        break;
    default:
        replicated_odd(r, "registering in " NODE_MEMBERS, reply);
        break;
    }
    replicated_pump(r);
}

static char *facts_text(struct replicated *r, char path[COORD_PATH_MAX])
{
    json_t *facts = member_facts(r);
    char *text = json_dumps(facts, JSON_COMPACT);

    json_decref(facts);
    snprintf(path, COORD_PATH_MAX, NODE_MEMBERS "/%s", r->replica);
    return text;
}

static void register_me(struct replicated *r)
{
    char path[COORD_PATH_MAX], *text = facts_text(r, path);
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = path, .version = COORD_ANY},
                             {COORD_CREATE_EPHEMERAL, path, text, strlen(text), COORD_ANY}};
    size_t skip = r->stale_member ? 0 : 1;

    r->registering = true;
    r->coord->ops->multi(r->coord, ops + skip, 2 - skip, on_registered, r);
    free(text);
}

void members_heartbeat_done(struct replicated *r, const struct coord_reply *reply)
{
    r->heartbeat_asked = false;
    if (reply->result == COORD_OK) {
        int64_t wall = r->o.env->wall_ms(r->o.env->arg), took = (int64_t)(boot_ms(r) - r->heartbeat_sent_ms);

        wrote(r, r->heartbeat_sent_ms);
        /* the ensemble set its time somewhere between sending and now */
        r->offset_ms = wall - took / 2 - reply->stat.mtime_ms;
        r->offset_known = true;
        r->offset_asked_ms = r->heartbeat_sent_ms;
    } else if (reply->result == COORD_NO_NODE) {
        r->registered = false; /* somebody removed it */
    } else if (reply->result != COORD_LOST) {
        replicated_odd(r, "writing " NODE_MEMBERS, reply);
    }
}

void members_heartbeat(struct replicated *r, coord_done *done)
{
    char path[COORD_PATH_MAX], *text = facts_text(r, path);
    struct coord_op op = {COORD_SET, path, text, strlen(text), COORD_ANY};

    r->heartbeat_asked = true;
    r->heartbeat_sent_ms = boot_ms(r);
    r->heartbeat_ms = r->heartbeat_sent_ms + (uint64_t)r->timeout_ms / HEARTBEATS_A_SESSION;
    r->coord->ops->multi(r->coord, &op, 1, done, r);
    free(text);
}

static void on_left(void *arg, const struct coord_reply *reply)
{
    (void)arg;
    (void)reply;
}

/* So that nobody counts on this replica. */
void members_leave(struct replicated *r)
{
    char path[COORD_PATH_MAX];
    struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = COORD_ANY};

    snprintf(path, sizeof(path), NODE_MEMBERS "/%s", r->replica);
    r->coord->ops->multi(r->coord, &op, 1, on_left, r);
}

static void on_heartbeat(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    members_heartbeat_done(r, reply);
    replicated_pump(r);
}

void members_pump(struct replicated *r)
{
    if (!r->registered) {
        if (!r->registering && !r->bootstrapping)
            register_me(r);
        return;
    }
    if (!r->heartbeat_asked && boot_ms(r) >= r->heartbeat_ms) {
        members_heartbeat(r, on_heartbeat);
        r->members_read.want = true; /* what they say changes without a watch */
    }
    if (r->members_read.want && !r->members_read.asked && r->members_asked == 0) {
        r->members_read.want = false;
        r->members_read.asked = true;
        r->coord->ops->children(r->coord, NODE_MEMBERS, true, on_members, r);
    }
}
