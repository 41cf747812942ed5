/* What the tree says: the small nodes that are kept read (epoch, leader, head, secret), and the making of a new
 * cluster's tree.
 *
 * Each is compared with what this replica knows as soon as it is read: see guard.c.
 *
 * Happy path: connected -> each is wanted -> each is read, leader, head and secret with a watch -> a watch that goes off
 * makes its node wanted again, and with the leader the epoch, since they change together. Failures: an answer
 * that was lost leaves its node wanted. A node that cannot be parsed: the alarm.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define EPOCH_BASE_MAX  (INT64_C(1) << 53)
#define HEAD_DIGITS_MAX 18

const char *const replicated_nodes[] = {NODE_EPOCH,   NODE_LEADER,    NODE_HEAD,   NODE_LOG,     NODE_SNAP,
                                        NODE_CURRENT, NODE_CHUNKS,    NODE_SECRET, NODE_MEMBERS, NODE_ASK,
                                        NODE_ANSWER,  NODE_RECOVERED, NULL};

/* What is missing is not known, the epoch's base is one that was accepted, and a leader comes with its URL. */
static void check_invariants(const struct replicated *r)
{
    const struct tree *t = &r->tree;

    assert(!(t->missing && t->epoch_known));
    assert(!(t->head_missing && t->head_known));
    assert(t->epoch_base >= 0 && t->epoch_base <= EPOCH_BASE_MAX);
    assert(!t->leader == !t->leader_url && (t->leader || !t->leader_answers));
}

int64_t tree_epoch(const struct replicated *r)
{
    return r->tree.epoch_base + r->tree.epoch_version;
}

const char *tree_name_path(const char *nonce, char path[COORD_PATH_MAX])
{
    assert(strlen(nonce) < NONCE_SIZE);
    snprintf(path, COORD_PATH_MAX, NODE_EPOCH "/%s", nonce);
    return path;
}

bool tree_named(const struct replicated *r)
{
    const struct tree *t = &r->tree;

    return t->epoch_named && strspn(t->epoch_nonce, "0123456789abcdef") == NONCE_SIZE - 1 &&
           strcmp(t->epoch_nonce, t->nameless) != 0;
}

size_t tree_checks(const struct replicated *r, struct coord_op ops[2], char path[COORD_PATH_MAX])
{
    assert(r->tree.epoch_known);
    ops[0] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_EPOCH, .version = r->tree.epoch_version};
    ops[1] = (struct coord_op){
        .kind = COORD_CHECK, .path = tree_name_path(r->tree.epoch_nonce, path), .version = COORD_ANY};
    return tree_named(r) ? 2 : 1;
}

const char *tree_log_path(uint64_t index, char path[COORD_PATH_MAX])
{
    snprintf(path, COORD_PATH_MAX, NODE_LOG "/%010" PRIu64, index);
    return path;
}

/* ---- what is wanted ---- */

static bool quiet(const struct reading *reading)
{
    return !reading->want && !reading->asked;
}

bool tree_current(const struct replicated *r)
{
    const struct tree *t = &r->tree;

    check_invariants(r);
    return t->epoch_known && t->leader_known && quiet(&t->epoch_read) && quiet(&t->name_read) &&
           quiet(&t->leader_read);
}

bool tree_read(const struct replicated *r)
{
    const struct tree *t = &r->tree;

    check_invariants(r);
    return (t->missing || (t->epoch_known && t->head_known)) && t->leader_known && quiet(&t->epoch_read) &&
           quiet(&t->name_read) && quiet(&t->leader_read) && quiet(&t->head_read) &&
           quiet(&t->recovered_read);
}

bool tree_recovery_read(const struct replicated *r)
{
    return quiet(&r->tree.recovered_read);
}

void tree_want(struct replicated *r)
{
    r->tree.epoch_read.want = r->tree.leader_read.want = r->tree.head_read.want = true;
    r->tree.recovered_read.want = true;
}

void tree_connected(struct replicated *r)
{
    check_invariants(r);
    tree_want(r);
    r->tree.secret_read.want =
        true; /* it may have been replaced, and the watch on it has gone with the session */
}

void tree_want_head(struct replicated *r)
{
    r->tree.head_fresh = false;
    r->tree.head_read.want = true;
}

void tree_went_on(struct replicated *r)
{
    struct tree *t = &r->tree;

    assert(!election_leads(r));
    t->missing = t->head_known = t->head_missing = false;
    t->epoch_read.want = t->head_read.want = true;
}

void tree_want_leader(struct replicated *r, bool still_known)
{
    check_invariants(r);
    r->tree.epoch_read.want = r->tree.leader_read.want = true;
    r->tree.epoch_known &= still_known;
    r->tree.leader_known &= still_known;
}

void tree_look_for_name(struct replicated *r)
{
    r->tree.name_read.want = tree_named(r);
}

void tree_session_over(struct replicated *r)
{
    assert(!r->session.connected);
    r->tree.leader_known = false;
}

void tree_changed(struct replicated *r, const char *path)
{
    check_invariants(r);
    if (!guard_trusts(r) && (strcmp(path, NODE_HEAD) == 0 || strcmp(path, NODE_LEADER) == 0))
        tree_want(r); /* a recovery explains it, perhaps */
    if (strcmp(path, NODE_LEADER) == 0)
        r->tree.leader_read.want = true;
    else if (strcmp(path, NODE_HEAD) == 0)
        r->tree.head_read.want = true;
    else if (strcmp(path, NODE_SECRET) == 0)
        r->tree.secret_read.want = true;
}

/* ---- what this replica wrote itself ---- */

void tree_elected(struct replicated *r, int32_t epoch_version, const char nonce[NONCE_SIZE])
{
    assert(r->election.state == CAMPAIGNING);
    r->tree.epoch_version = epoch_version;
    memcpy(r->tree.epoch_nonce, nonce, NONCE_SIZE);
    r->tree.epoch_named = true;
    r->tree.leader_read.want = true;
}

void tree_head_moved(struct replicated *r, uint64_t head, int32_t version)
{
    assert(election_leads(r)); /* else it is read */
    r->tree.head = head;
    r->tree.head_version = version;
}

/* ---- reading ---- */

/* True: the answer can be used. */
static bool arrived(struct replicated *r, struct reading *reading, const struct coord_reply *reply,
                    const char *what)
{
    assert(reading->asked);
    reading->asked = false;
    if (reply->result == COORD_OK || reply->result == COORD_NO_NODE)
        return !election_closing(r) && !r->alarm[0];
    reading->want = true;
    if (reply->result != COORD_LOST)
        replicated_unexpected(r, what, reply);
    return false;
}

static json_t *parse_node(struct replicated *r, const char *path, const struct coord_reply *reply)
{
    json_error_t why;
    json_t *o = reply->size <= NODE_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, &why) : NULL;

    if (json_is_object(o))
        return o;
    json_decref(o);
    replicated_alarm(r, "ZooKeeper node %s is not a JSON object", path);
    assert(r->alarm[0]);
    return NULL;
}

static void keep_text(char *at, size_t size, const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    snprintf(at, size, "%s", value ? value : "");
}

/* ---- making ---- */

static void on_bootstrap(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->tree.bootstrapping = false;
    if (reply->result == COORD_OK)
        replicated_log(r, LOG_NOTE, "cluster-made", "cluster %s", r->cluster_uuid);
    else if (reply->result != COORD_LOST && (reply->result != COORD_EXISTS || r->tree.left_over))
        replicated_unexpected(r, "making the cluster's nodes beside what is there", reply);
    r->tree.left_over = reply->result == COORD_EXISTS; /* unless another replica was faster */
    tree_want(r);
    replicated_pump(r);
}

/* What is left of another cluster makes it fail: a log that has batches, a snapshot. */
void tree_bootstrap(struct replicated *r)
{
    struct coord_op ops[7];
    size_t n = 0;
    json_t *o;
    char *text, nonce[NONCE_SIZE], name[COORD_PATH_MAX];

    assert(r->tree.missing && !r->tree.bootstrapping);
    snprintf(nonce, sizeof(nonce), "%016" PRIx64, r->o.env->random(r->o.env->arg));
    o = json_pack("{s:s,s:i,s:s,s:b}", "cluster", r->cluster_uuid, "base", 0, "nonce", nonce, "named", 1);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_EPOCH, text, strlen(text), COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, tree_name_path(nonce, name), "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_HEAD, "0", 1, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_LOG, "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_SNAP, "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_CHUNKS, "", 0, COORD_ANY};
    ops[n++] =
        (struct coord_op){COORD_CREATE, NODE_SECRET, r->first_secret, strlen(r->first_secret), COORD_ANY};
    assert(n == sizeof(ops) / sizeof(ops[0]));
    r->tree.bootstrapping = true;
    r->coord->ops->multi(r->coord, ops, n, on_bootstrap, r);
    free(text);
}

bool tree_epoch_is(const struct coord_reply *reply, const char nonce[NONCE_SIZE])
{
    json_t *o = reply->size <= NODE_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, NULL) : NULL;
    const char *theirs = json_string_value(json_object_get(o, "nonce"));
    bool same = theirs && strcmp(theirs, nonce) == 0;

    json_decref(o);
    return same;
}

static void on_members_made(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->tree.bootstrapping = false;
    if (reply->result != COORD_OK && reply->result != COORD_LOST && reply->result != COORD_EXISTS)
        replicated_unexpected(r, "making " NODE_MEMBERS, reply);
    replicated_pump(r);
}

void tree_make_members(struct replicated *r)
{
    struct coord_op op = {COORD_CREATE, NODE_MEMBERS, "", 0, COORD_ANY};

    assert(!r->tree.bootstrapping);
    r->tree.bootstrapping = true;
    r->coord->ops->multi(r->coord, &op, 1, on_members_made, r);
}

/* ---- what is read ---- */

/* Old numbers would be used again beyond that, and sums overflow. */
static int64_t parse_base(struct replicated *r, const json_t *o)
{
    json_int_t base = json_integer_value(json_object_get(o, "base"));

    if (base < 0 || base > EPOCH_BASE_MAX)
        replicated_alarm(r, "ZooKeeper node " NODE_EPOCH " is invalid: its base is out of range");
    assert(r->alarm[0] || (base >= 0 && base <= EPOCH_BASE_MAX));
    return r->alarm[0] ? 0 : base;
}

/* A person moved the journal out of ZooKeeper: tree_copy_end. */
static void refuse_moved(struct replicated *r, const json_t *moved)
{
    const char *to = json_string_value(json_object_get(moved, "to"));

    if (moved)
        replicated_alarm(
            r, "the journal was moved from ZooKeeper to %s; 'cronsched journal migrate' brings it back",
            to ? to : "another place");
    assert(!moved || r->alarm[0]);
}

static void take_epoch(struct replicated *r, const struct coord_reply *reply)
{
    struct tree *t = &r->tree;
    json_t *o = parse_node(r, NODE_EPOCH, reply);
    const char *deposed;
    bool is_new;

    if (!o)
        return;
    is_new = !t->epoch_known || t->epoch_version != reply->stat.version;
    keep_text(t->cluster, sizeof(t->cluster), o, "cluster");
    refuse_moved(r, json_object_get(o, "moved"));
    keep_text(t->epoch_nonce, sizeof(t->epoch_nonce), o, "nonce");
    t->epoch_named = json_is_true(json_object_get(o, "named"));
    if (strcmp(t->nameless, t->epoch_nonce) != 0)
        t->nameless[0] = '\0';
    keep_text(t->cause, sizeof(t->cause), o, "cause");
    t->epoch_base = parse_base(r, o);
    t->epoch_version = reply->stat.version;
    if (!r->alarm[0]) {
        deposed = json_string_value(json_object_get(o, "deposed"));
        t->epoch_known = true;
        t->missing = t->left_over = false;
        t->recovered_read.want |= is_new;
        t->secret_read.want |= is_new; /* a cluster that is made, or recovered, brings its own */
        election_epoch_read(r, is_new && deposed && strcmp(deposed, r->replica) == 0);
        guard_epoch_read(r);
        guard_cluster_read(r);
        guard_judge(r);
    }
    json_decref(o);
    check_invariants(r);
}

static void epoch_missing(struct replicated *r)
{
    struct tree *t = &r->tree;

    if (!t->missing && !r->guard.mark.cluster[0])
        replicated_log(r, LOG_WARN, "no-cluster",
                       "ZooKeeper holds no cluster yet: somebody has to make one (cronsched cluster init)");
    t->missing = true;
    t->epoch_known = t->head_known = t->head_missing = false;
    t->secret_read.want = true;
    guard_judge(r);
    check_invariants(r);
}

static void on_epoch(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (arrived(r, &r->tree.epoch_read, reply, "reading " NODE_EPOCH)) {
        if (reply->result == COORD_OK)
            take_epoch(r, reply);
        else
            epoch_missing(r);
    }
    replicated_pump(r);
}

static void on_name(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (arrived(r, &r->tree.name_read, reply, "reading the name of the epoch") &&
        reply->result == COORD_NO_NODE)
        memcpy(r->tree.nameless, r->tree.name_asked, sizeof(r->tree.nameless));
    guard_judge(r);
    replicated_pump(r);
}

/* A node that is not a leader's, a person's for example, belongs to no epoch: the election replaces it. */
static void take_leader(struct replicated *r, const struct coord_reply *reply)
{
    struct tree *t = &r->tree;
    json_t *o = reply->size <= NODE_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, NULL) : NULL;
    const char *replica = json_string_value(json_object_get(o, "replica")),
               *url = json_string_value(json_object_get(o, "url"));

    assert(!t->leader && !t->leader_url);
    t->leader = alloc_text(replica ? replica : "?");
    t->leader_url = alloc_text(url ? url : "");
    t->leader_owner = reply->stat.owner;
    t->leader_answers = json_is_true(json_object_get(o, "answers"));
    keep_text(t->leader_nonce, sizeof(t->leader_nonce), o, "nonce");
    json_decref(o);
}

static void on_leader(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct tree *t = &r->tree;

    if (arrived(r, &t->leader_read, reply, "reading " NODE_LEADER)) {
        free(t->leader);
        free(t->leader_url);
        t->leader = t->leader_url = NULL;
        t->leader_owner = 0;
        t->leader_nonce[0] = '\0';
        t->leader_answers = false;
        t->leader_known = true;
        if (reply->result == COORD_OK)
            take_leader(r, reply);
        t->epoch_read.want = true; /* they change together */
        replicated_changed(r);
    }
    replicated_pump(r);
}

static void take_head(struct replicated *r, const struct coord_reply *reply)
{
    struct tree *t = &r->tree;

    assert(!election_leads(r)); /* then it is its own */
    t->head_missing = reply->result == COORD_NO_NODE && t->epoch_known;
    t->head_known = false;
    if (reply->result == COORD_OK) {
        if (tree_parse_head(reply, &t->head) < 0) {
            replicated_alarm(r, "ZooKeeper node " NODE_HEAD " is not a number");
            return;
        }
        t->head_version = reply->stat.version;
        t->head_known = true;
    }
    guard_head_read(r);
}

int tree_parse_head(const struct coord_reply *reply, uint64_t *ret)
{
    const char *text = reply->data;

    if (reply->size < 1 || reply->size > HEAD_DIGITS_MAX || strspn(text, "0123456789") != reply->size)
        return ERR_CORRUPT;
    *ret = strtoull(text, NULL, 10);
    assert(*ret <= INT64_MAX); /* numbers of batches are kept in signed ones as well */
    return 0;
}

static void on_head(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct reading *reading = &r->tree.head_read;
    bool fresh = reading->asked && !reading->want; /* not asked before what made it wanted again */

    if (arrived(r, reading, reply, "reading " NODE_HEAD)) {
        r->tree.head_there = reply->result == COORD_OK;
        r->tree.head_fresh = fresh && reply->result == COORD_OK;
        r->tree.head_covers_ms = r->tree.head_asked_ms;
        if (!election_leads(r))
            take_head(r, reply);
        replicated_changed(r);
    }
    replicated_pump(r);
}

static void on_secret(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (arrived(r, &r->tree.secret_read, reply, "reading " NODE_SECRET)) {
        r->tree.secret_there = reply->result == COORD_OK;
        if (reply->result == COORD_OK)
            snprintf(r->tree.secret, sizeof(r->tree.secret), "%.*s", (int)reply->size,
                     (const char *)reply->data);
        replicated_changed(r);
    }
    replicated_pump(r);
}

static void keep_recovery(struct recovery_node *n, const json_t *o)
{
    json_int_t index = json_integer_value(json_object_get(o, "index")),
               head = json_integer_value(json_object_get(o, "head"));

    keep_text(n->cluster, sizeof(n->cluster), o, "cluster");
    keep_text(n->hash, sizeof(n->hash), o, "hash");
    keep_text(n->by, sizeof(n->by), o, "by");
    n->index = index > 0 ? (uint64_t)index : 0;
    n->head = head > 0 ? (uint64_t)head : 0;
    n->epoch = json_integer_value(json_object_get(o, "epoch"));
    n->from_ms = json_integer_value(json_object_get(o, "from_ms"));
    n->until_ms = json_integer_value(json_object_get(o, "until_ms"));
    n->exists = n->index > n->head && n->epoch > 0 && n->epoch <= EPOCH_BASE_MAX &&
                strlen(n->hash) == MARK_HASH_SIZE - 1;
    assert(!n->exists || n->index > 0);
}

static void on_recovered(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    json_t *o;

    if (arrived(r, &r->tree.recovered_read, reply, "reading " NODE_RECOVERED)) {
        r->tree.recovered = (struct recovery_node){.exists = false};
        r->tree.recovered_there = reply->result == COORD_OK;
        o = reply->result == COORD_OK ? parse_node(r, NODE_RECOVERED, reply) : NULL;
        if (o)
            keep_recovery(&r->tree.recovered, o);
        json_decref(o);
        guard_recovered_read(r);
        guard_judge(r);
    }
    replicated_pump(r);
}

static void ask(struct replicated *r, struct reading *reading, const char *path, bool watch, coord_done *done)
{
    assert(r->session.connected);
    if (!reading->want || reading->asked)
        return;
    reading->want = false;
    reading->asked = true;
    r->coord->ops->get(r->coord, path, watch, done, r);
}

static void ask_name(struct replicated *r)
{
    char path[COORD_PATH_MAX];

    if (r->tree.name_read.want && !r->tree.name_read.asked)
        memcpy(r->tree.name_asked, r->tree.epoch_nonce, sizeof(r->tree.name_asked));
    ask(r, &r->tree.name_read, tree_name_path(r->tree.name_asked, path), false, on_name);
}

void tree_pump(struct replicated *r)
{
    check_invariants(r);
    if (!r->members.registered)
        return; /* a fresh session may talk to a server that lags; after a write it does not */
    ask_name(r);
    ask(r, &r->tree.recovered_read, NODE_RECOVERED, false, on_recovered); /* before what it explains */
    ask(r, &r->tree.epoch_read, NODE_EPOCH, false, on_epoch);
    ask(r, &r->tree.leader_read, NODE_LEADER, true, on_leader);
    if (!election_leads(r)) {
        if (r->tree.head_read.want && !r->tree.head_read.asked)
            r->tree.head_asked_ms = r->session.write_sent_ms;
        ask(r, &r->tree.head_read, NODE_HEAD, true, on_head);
    }
    ask(r, &r->tree.secret_read, NODE_SECRET, true, on_secret);
}

void tree_release(struct replicated *r)
{
    free(r->tree.leader);
    free(r->tree.leader_url);
}
