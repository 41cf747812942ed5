/* A person has the journal go on, although something that was committed is missing from it: from the state that the
 * tree holds, or from the one that this replica's owner has.
 *
 * Happy path: (from the tree: it is restored and followed to its end, whatever is held against it) -> the members are
 * read, so that the new index is above every mark and the new epoch above every one -> the owner gives its state as of
 * that index -> the snapshot's chunks are written -> a batch that would be read next by mistake is removed -> one multi
 * switches: epoch, head, snap/current and the node /recovered, which every member takes for leave to replace its mark.
 * In an empty tree the nodes are made on the way, /epoch with the switch.
 * Every write is conditional on the epoch as it was read, what removes a batch on the journal's end as well, and the switch
 * on the last chunk, since the tree may go back meanwhile. Nothing that the old epoch needs is touched before the switch: cut anywhere, the tree is what it was, and chunks that nobody names are removed with the next snapshot.
 * Failures: an answer lost: from the start again; to the switch: /recovered tells whether it was carried out. Another
 * epoch, a leader: given up. Batches of before stay in the log until they are truncated.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define CHUNKS_AT_ONCE 4
#define NUMBER_MAX     (INT64_C(1) << 52) /* a mark above that is no mark */

/* ---- the end ---- */

/* There is a text while there is something to write, and no step without it. */
static void check_invariants(const struct recovering *p)
{
    assert(p->step <= RECOVER_DOUBT && p->under_way <= CHUNKS_AT_ONCE);
    assert(p->cut <= p->size);
    assert(p->text || p->step <= RECOVER_CURRENT);
    assert(!p->text || p->step >= RECOVER_CURRENT);
}

static void clear(struct recovering *p)
{
    manifest_release(&p->current);
    manifest_release(&p->manifest);
    free(p->text);
    p->text = NULL;
    p->cut = p->size = 0;
    assert(!p->current.exists && !p->manifest.exists);
}

static void end(struct replicated *r, const struct error *error)
{
    struct recovering *p = &r->recovering;
    void (*done)(void *arg, const struct error *error) = p->done;

    check_invariants(p);
    clear(p);
    p->step = RECOVER_NONE;
    p->done = NULL;
    tree_want(r);
    if (done)
        done(p->arg, error);
}

__attribute__((format(printf, 3, 4))) static void fail(struct replicated *r, int code, const char *format,
                                                       ...)
{
    struct error error = {0};
    va_list ap;

    assert(r->recovering.step != RECOVER_NONE);
    va_start(ap, format);
    error_setv(&error, code, format, ap);
    va_end(ap);
    replicated_log(r, LOG_WARN, "recover-failed", "%s", error.text);
    end(r, &error);
}

void recover_drop(struct replicated *r)
{
    check_invariants(&r->recovering);
    if (r->recovering.step != RECOVER_NONE)
        fail(r, ERR_CANCELLED, "%s", r->alarm[0] ? r->alarm : "the journal was closed meanwhile");
}

bool recover_follows(const struct replicated *r)
{
    return r->recovering.step != RECOVER_NONE && !r->recovering.from_here && r->tree.epoch_known &&
           strcmp(r->tree.cluster, r->guard.mark.cluster) == 0;
}

/* True: the answer is good. `also` is a result that is as good. */
static bool step_done(struct replicated *r, const struct coord_reply *reply, enum coord_result also)
{
    struct recovering *p = &r->recovering;

    check_invariants(p);
    assert(p->under_way > 0);
    p->under_way--;
    if (p->step == RECOVER_NONE || p->again)
        return false;
    if (reply->result == COORD_OK || reply->result == also)
        return true;
    if (reply->result == COORD_NO_NODE)
        tree_look_for_name(r);
    if (reply->result == COORD_LOST)
        p->again = true;
    else
        fail(r, reply->result == COORD_BAD_VERSION || reply->result == COORD_NO_NODE ? ERR_CONFLICT : ERR_IO,
             "ZooKeeper refused it, perhaps since another replica leads or recovers now: %s", reply->text);
    return false;
}

/* ---- what it goes on with ---- */

static void higher(struct recovery_node *n, uint64_t index, int64_t epoch)
{
    if (index < NUMBER_MAX && index >= n->index)
        n->index = index + 1;
    if (epoch < NUMBER_MAX && epoch >= n->epoch)
        n->epoch = epoch + 1;
}

/* Above all that anybody knows of. */
static void choose_numbers(struct replicated *r, struct recovery_node *n)
{
    const struct guard *g = &r->guard;

    *n = (struct recovery_node){.head = r->tree.missing ? 0 : r->tree.head};
    higher(n, n->head, r->tree.missing ? 0 : tree_epoch(r));
    higher(n, g->mark.index, g->mark.since.epoch);
    higher(n, r->follower.applied, r->follower.applied_epoch);
    higher(n, r->appender.next_index, r->election.led_epoch);
    higher(n, r->tree.recovered.index, r->tree.recovered.epoch);
    for (size_t i = 0; i < r->members.count; i++) {
        struct mark mark;

        if (mark_parse(&mark, json_object_get(r->members.list[i].facts, "mark"), NULL) == 0 &&
            strcmp(mark.cluster, g->mark.cluster) == 0)
            higher(n, mark.index, mark.since.epoch);
    }
    for (size_t i = 0; i < r->claims.outsider_count; i++)
        higher(n, r->claims.outsiders[i].mark.index, r->claims.outsiders[i].mark.since.epoch);
    if (r->tree.missing)
        n->head = n->index - 1; /* no batch is left in the log */
}

static char *node_text(const struct recovery_node *n, const char *nonce)
{
    json_t *o = json_pack("{s:s,s:I,s:s,s:I,s:I,s:I,s:I,s:s,s:s}", "cluster", n->cluster, "index",
                          (json_int_t)n->index, "hash", n->hash, "head", (json_int_t)n->head, "epoch",
                          (json_int_t)n->epoch, "from_ms", (json_int_t)n->from_ms, "until_ms",
                          (json_int_t)n->until_ms, "by", n->by, "nonce", nonce);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    return text;
}

/* False: there is no such state. */
static bool choose(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    struct recovery_node *n = &p->node;
    char *text;

    choose_numbers(r, n);
    snprintf(n->cluster, sizeof(n->cluster), "%s", r->guard.mark.cluster);
    snprintf(n->by, sizeof(n->by), "%s", p->by);
    n->until_ms = r->o.env->wall_ms(r->o.env->arg);
    snprintf(p->nonce, sizeof(p->nonce), "%016" PRIx64, r->o.env->random(r->o.env->arg));
    text = node_text(n, p->nonce);
    batch_hash(text, strlen(text), n->hash); /* like no other's */
    free(text);
    if (r->o.host->state)
        p->text =
            r->o.host->state(r->o.host->arg, n->index, n->hash, &p->size, &p->manifest.level, &n->from_ms);
    return p->text;
}

static void make_manifest(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    struct manifest *m = &p->manifest;

    assert(p->text && !m->chunks && p->node.index > 0);
    m->exists = true;
    m->index = p->node.index;
    memcpy(m->hash, p->node.hash, sizeof(m->hash));
    m->first = p->current.exists ? p->current.first : 1;
    if (r->tree.missing)
        m->first = p->node.index + 1;
    m->size = p->size;
    m->bytes = r->follower.log_bytes > p->current.bytes ? r->follower.log_bytes : p->current.bytes;
    m->epochs = r->guard.epochs;
    mark_epochs_add(&m->epochs, p->node.epoch, m->index, m->hash);
    m->trail = p->current.exists ? json_incref(p->current.trail) : json_array();
    m->chunks = json_array();
}

/* ---- writing ---- */

/* Up to 2: that the epoch is the one that was read at the start. */
static size_t checks(const struct replicated *r, struct coord_op ops[2])
{
    const struct recovering *p = &r->recovering;

    check_invariants(p);
    if (p->missing)
        return 0;
    ops[0] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_EPOCH, .version = p->epoch_version};
    ops[1] = (struct coord_op){.kind = COORD_CHECK, .path = p->name, .version = COORD_ANY};
    return p->name[0] ? 2 : 1;
}

static void ask_multi(struct replicated *r, const struct coord_op *ops, size_t count, coord_done *done)
{
    check_invariants(&r->recovering);
    r->recovering.under_way++;
    r->coord->ops->multi(r->coord, ops, count, done, r);
}

static void on_made(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    step_done(r, reply, COORD_EXISTS);
    replicated_pump(r);
}

/* Of an empty tree; those of them that are there stay. */
static void make_parents(struct replicated *r)
{
    static const char *const paths[] = {NODE_LOG, NODE_SNAP, NODE_CHUNKS};

    assert(r->recovering.missing);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ask_multi(r, &(struct coord_op){COORD_CREATE, paths[i], "", 0, COORD_ANY}, 1, on_made);
}

static void begin(struct replicated *r)
{
    struct recovering *p = &r->recovering;

    assert(p->step == RECOVER_CURRENT && !p->text);
    p->missing = r->tree.missing;
    p->epoch_version = r->tree.epoch_version;
    p->name[0] = '\0';
    if (!p->missing && tree_named(r))
        tree_name_path(r->tree.epoch_nonce, p->name);
    p->head_version = r->tree.head_version;
    if (!choose(r)) {
        fail(r, ERR_CONFLICT, "this replica has no state to go on from");
        return;
    }
    make_manifest(r);
    p->step = RECOVER_CHUNKS;
    if (p->missing)
        make_parents(r);
    replicated_log(r, LOG_WARN, "recovering", "%s has the journal go on at %" PRIu64 " from what %s", p->by,
                   p->node.index, p->from_here ? "this replica holds" : "ZooKeeper holds");
}

static void on_current(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct recovering *p = &r->recovering;
    struct error error = {0};

    if (step_done(r, reply, COORD_NO_NODE)) {
        p->current_there = reply->result == COORD_OK;
        if (p->current_there && manifest_parse(&p->current, reply->data, reply->size, &error) < 0 &&
            !p->from_here)
            fail(r, ERR_CORRUPT, "ZooKeeper node " NODE_CURRENT " is invalid: %s", error.text);
        else
            begin(r);
    }
    replicated_pump(r);
}

static void write_chunk(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    char name[CHUNK_NAME_SIZE], path[COORD_PATH_MAX];
    size_t size = chunk_cut(p->text + p->cut, p->size - p->cut, r->coord->request_max, name), packed_size;
    void *packed = chunk_pack(p->text + p->cut, size, &packed_size);
    struct coord_op ops[3];
    size_t n = checks(r, ops);

    assert(p->cut < p->size);
    snprintf(path, sizeof(path), NODE_CHUNKS "/%s", name);
    ops[n++] = (struct coord_op){COORD_CREATE, path, packed, packed_size, COORD_ANY};
    json_array_append_new(p->manifest.chunks, json_string(name));
    p->cut += size;
    ask_multi(r, ops, n, on_made);
    free(packed);
}

static void on_stray_removed(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    step_done(r, reply, COORD_NO_NODE);
    replicated_pump(r);
}

static void on_stray(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct recovering *p = &r->recovering;
    char path[COORD_PATH_MAX];
    struct coord_op ops[4];
    size_t n = checks(r, ops);

    if (step_done(r, reply, COORD_NO_NODE)) {
        if (reply->result == COORD_OK) {
            tree_log_path(p->stray++, path);
            if (!p->missing &&
                r->tree.head_there) /* a leader of this epoch may have committed it meanwhile */
                ops[n++] =
                    (struct coord_op){.kind = COORD_CHECK, .path = NODE_HEAD, .version = p->head_version};
            ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = path, .version = COORD_ANY};
            ask_multi(r, ops, n, on_stray_removed);
        } else {
            p->step = RECOVER_SWITCH;
        }
    }
    replicated_pump(r);
}

/* ---- the switch ---- */

static char *epoch_text(const struct replicated *r)
{
    const struct recovering *p = &r->recovering;
    int64_t base = r->recovering.missing ? p->node.epoch : p->node.epoch - p->epoch_version - 1;
    json_t *o = json_pack("{s:s,s:I,s:s,s:s,s:b,s:s}", "cluster", p->node.cluster, "base", (json_int_t)base,
                          "replica", r->replica, "nonce", p->nonce, "named", 1, "cause", "recovered");
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    return text;
}

static void on_switched(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct recovering *p = &r->recovering;
    bool lost = reply->result == COORD_LOST;

    if (step_done(r, reply, COORD_OK)) {
        replicated_log(r, LOG_NOTE, "recovered", "the journal goes on at %" PRIu64 ", epoch %" PRId64,
                       p->node.index, p->node.epoch);
        end(r, NULL);
    } else if (lost && p->step != RECOVER_NONE) {
        p->step = RECOVER_DOUBT;
        p->again = false;
        r->tree.recovered_read.want = true;
    }
    replicated_pump(r);
}

static struct coord_op put(bool there, const char *path, const char *text, int32_t version)
{
    return (struct coord_op){there ? COORD_SET : COORD_CREATE, path, text, strlen(text), version};
}

/* The epoch and its name, and the last chunk, which was written when all others were. */
static size_t switch_epoch(struct replicated *r, const char *epoch, char paths[2][COORD_PATH_MAX],
                           struct coord_op ops[4])
{
    struct recovering *p = &r->recovering;
    const json_t *chunks = p->manifest.chunks;
    size_t n = 0;

    assert(r->recovering.step == RECOVER_SWITCH);
    ops[n++] = put(!p->missing, NODE_EPOCH, epoch, p->epoch_version);
    if (p->name[0])
        ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = p->name, .version = COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, tree_name_path(p->nonce, paths[0]), "", 0, COORD_ANY};
    snprintf(paths[1], COORD_PATH_MAX, NODE_CHUNKS "/%s",
             json_string_value(json_array_get(chunks, json_array_size(chunks) - 1)));
    ops[n++] = (struct coord_op){.kind = COORD_CHECK, .path = paths[1], .version = COORD_ANY};
    return n;
}

static void switch_over(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    const char *secret = r->tree.secret[0] ? r->tree.secret : r->first_secret;
    char *epoch = epoch_text(r), *node = node_text(&p->node, p->nonce),
         *manifest = manifest_text(&p->manifest);
    char head[24], paths[2][COORD_PATH_MAX];
    struct coord_op ops[10];
    size_t n = switch_epoch(r, epoch, paths, ops);

    snprintf(head, sizeof(head), "%" PRIu64, p->node.index);
    ops[n++] = put(r->tree.head_there, NODE_HEAD, head, p->missing ? COORD_ANY : p->head_version);
    ops[n++] = put(p->current_there, NODE_CURRENT, manifest, COORD_ANY);
    ops[n++] = put(r->tree.recovered_there, NODE_RECOVERED, node, COORD_ANY);
    if (p->missing)
        ops[n++] = put(r->tree.secret_there, NODE_SECRET, secret, COORD_ANY);
    /* nobody leads; an orphan goes */
    if (!r->tree.leader)
        ops[n++] = (struct coord_op){COORD_CREATE_EPHEMERAL, NODE_LEADER, "{}", 2, COORD_ANY};
    ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    assert(n <= sizeof(ops) / sizeof(ops[0]));
    ask_multi(r, ops, n, on_switched);
    free(epoch);
    free(node);
    free(manifest);
}

/* ---- steps ---- */

static void begin_when_read(struct replicated *r)
{
    struct recovering *p = &r->recovering;

    assert(p->step == RECOVER_WAIT);
    if (!tree_read(r) || !r->members.fresh)
        return;
    if (election_has_leader(r) || (r->tree.missing && !p->from_here) || election_leads(r)) {
        fail(r, ERR_CONFLICT, "%s",
             election_has_leader(r) ? "a replica leads" : "ZooKeeper holds nothing to go on from");
        return;
    }
    if (!p->from_here && (!r->follower.restored || r->follower.applied != r->tree.head))
        return; /* it is followed */
    clear(p);
    p->step = RECOVER_CURRENT;
    p->under_way++;
    r->coord->ops->get(r->coord, NODE_CURRENT, false, on_current, r);
}

static void write_pump(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    char path[COORD_PATH_MAX];

    check_invariants(p);
    while (p->cut < p->size && p->under_way < CHUNKS_AT_ONCE)
        write_chunk(r);
    if (p->cut < p->size || p->under_way > 0)
        return;
    p->stray = p->node.index + 1;
    p->step = RECOVER_STRAY;
    p->under_way++;
    r->coord->ops->get(r->coord, tree_log_path(p->stray, path), false, on_stray, r);
}

static void again(struct replicated *r)
{
    struct recovering *p = &r->recovering;

    clear(p);
    p->again = false;
    p->step = RECOVER_WAIT;
    tree_want(r);
    members_want(r);
    check_invariants(p);
}

void recover_pump(struct replicated *r)
{
    struct recovering *p = &r->recovering;
    char path[COORD_PATH_MAX];

    check_invariants(p);
    if (p->step == RECOVER_NONE || !r->members.registered)
        return;
    if (p->again && p->under_way == 0)
        again(r);
    if (p->again)
        return;
    if (p->step == RECOVER_WAIT)
        begin_when_read(r);
    else if (p->step == RECOVER_CHUNKS)
        write_pump(r);
    else if (p->step == RECOVER_STRAY && p->under_way == 0) {
        p->under_way++;
        r->coord->ops->get(r->coord, tree_log_path(p->stray, path), false, on_stray, r);
    } else if (p->step == RECOVER_SWITCH && p->under_way == 0)
        switch_over(r);
    else if (p->step == RECOVER_DOUBT && !r->tree.recovered_read.want && !r->tree.recovered_read.asked) {
        if (strcmp(r->tree.recovered.hash, p->node.hash) == 0)
            end(r, NULL);
        else
            again(r);
    }
}

int replicated_recover(struct journal *journal, const struct replicated_recovery *recovery,
                       void (*done)(void *arg, const struct error *error), void *arg, struct error *error)
{
    struct replicated *r = replicated_of(journal);
    struct recovering *p = &r->recovering;

    check_invariants(p);
    if (!r->session.connected || !r->members.registered)
        return error_set(error, ERR_UNREACHABLE, "ZooKeeper cannot be reached");
    if (p->step != RECOVER_NONE)
        return error_set(error, ERR_CONFLICT, "a recovery is under way");
    if (guard_standing(r) != REPLICATED_REFUSING)
        return error_set(error, ERR_CONFLICT,
                         "nothing is held against the journal: there is nothing to recover");
    if (!r->tree.missing && strcmp(r->tree.cluster, r->guard.mark.cluster) != 0)
        return error_set(error, ERR_CONFLICT, "ZooKeeper holds cluster %s, and this replica belongs to %s",
                         r->tree.cluster, r->guard.mark.cluster);
    if (!recovery->from_here && r->tree.missing)
        return error_set(error, ERR_CONFLICT, "ZooKeeper holds nothing to go on from");
    if (election_has_leader(r))
        return error_set(error, ERR_CONFLICT, "replica %s leads", r->tree.leader);
    p->from_here = recovery->from_here;
    snprintf(p->by, sizeof(p->by), "%s", recovery->by);
    p->done = done;
    p->arg = arg;
    again(r);
    if (!p->from_here)
        follow_again(r);
    replicated_pump(r);
    return 0;
}
