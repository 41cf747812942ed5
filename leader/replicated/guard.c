/* What is held against the tree: this replica's mark, the marks of the others, and the standing that follows.
 *
 * Nothing that ZooKeeper says is believed on its own. A tree that was restored from a backup lacks batches that were
 * committed; one that others went on with has other batches in their place; an emptied one has nothing. So a replica
 * compares the tree with its mark (mark.h), and with the marks that other members publish, before it gives its owner
 * anything of it and before it leads.
 *
 * Happy path: the small nodes are read -> the batch at the mark's index is read and compared (once it is gone from the
 * log, the snapshot's list of epochs tells) -> verified: it follows. Elected: the same again, with fresh members, before
 * it leads. The mark rises with every batch that is applied or acknowledged.
 * Failures: whatever does not fit is a refusal. Each is judged again from what was read last, so it ends by itself
 * when the tree is right again; until then everything is read again with each heartbeat.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define AGAIN_MS     2000 /* a tree that does not fit is compared that often */
#define VERIFY_READS 3

/* ---- the mark ---- */

/* The mark's epoch begins at or below it; what is verified was held. */
static void check_invariants(const struct replicated *r)
{
    const struct guard *g = &r->guard;

    assert(g->mark.since.index <= g->mark.index);
    assert(g->epochs.count <= MARK_EPOCHS_MAX && g->verify.under_way <= VERIFY_READS);
    assert(!g->verified || g->verdict == MARK_HELD);
}

static void tell_mark(struct replicated *r)
{
    check_invariants(r);
    if (r->o.host->marked)
        r->o.host->marked(r->o.host->arg, &r->guard.mark);
}

void guard_applied(struct replicated *r, uint64_t index, const char *hash, int64_t epoch, bool begins)
{
    struct guard *g = &r->guard;

    check_invariants(r);
    if (begins)
        mark_epochs_add(&g->epochs, epoch, index, hash);
    if (index < g->mark.index || recover_follows(r))
        return;
    mark_raise(&g->mark, index, hash, &g->epochs);
    tell_mark(r);
}

void guard_restored(struct replicated *r, const struct manifest *m)
{
    struct guard *g = &r->guard;

    check_invariants(r);
    g->epochs = m->epochs;
    if (m->index > g->mark.index && !recover_follows(r)) {
        mark_raise(&g->mark, m->index, m->hash, &g->epochs);
        tell_mark(r);
    }
}

void guard_forget(struct replicated *r)
{
    char cluster[MARK_CLUSTER_SIZE];

    memcpy(cluster, r->guard.mark.cluster, sizeof(cluster));
    r->guard.mark = (struct mark){.index = 0};
    memcpy(r->guard.mark.cluster, cluster, sizeof(cluster));
    check_invariants(r);
}

static enum mark_verdict check_batch(const struct mark *mark, const char *hash)
{
    return MUTANT(HASH_IGNORED) ? MARK_HELD : mark_check_batch(mark, hash);
}

static enum mark_verdict check_snapshot(const struct mark *mark, uint64_t index, const char *hash,
                                        const struct mark_epochs *epochs)
{
    return MUTANT(HASH_IGNORED) ? MARK_HELD : mark_check_snapshot(mark, index, hash, epochs);
}

/* ---- belonging to a cluster ---- */

static bool may_join(const struct replicated *r)
{
    const struct guard *g = &r->guard;

    if (strcmp(r->tree.cluster, g->join) == 0)
        return true;
    return (r->o.found || g->found_asked) && strcmp(r->tree.cluster, r->cluster_uuid) == 0; /* its own */
}

void guard_cluster_read(struct replicated *r)
{
    struct guard *g = &r->guard;

    check_invariants(r);
    if (g->mark.cluster[0] || !may_join(r))
        return;
    snprintf(g->mark.cluster, sizeof(g->mark.cluster), "%s", r->tree.cluster);
    replicated_log(r, LOG_NOTE, "joined", "cluster %s", g->mark.cluster);
    tell_mark(r);
}

static bool is_mine(const struct replicated *r)
{
    return r->tree.epoch_known && r->guard.mark.cluster[0] &&
           strcmp(r->tree.cluster, r->guard.mark.cluster) == 0;
}

/* A person gave leave to forget it. */
static bool given_up(const struct replicated *r, const struct mark *mark)
{
    const struct recovery_node *n = &r->tree.recovered;

    return n->exists && strcmp(n->cluster, mark->cluster) == 0 && mark->index < n->index &&
           mark->since.epoch < n->epoch;
}

void guard_recovered_read(struct replicated *r)
{
    const struct recovery_node *n = &r->tree.recovered;
    struct guard *g = &r->guard;

    check_invariants(r);
    if (g->mark.index == 0 || !given_up(r, &g->mark) || election_leads(r))
        return;
    replicated_log(r, LOG_WARN, "mark-replaced",
                   "%s had the journal go on at %" PRIu64 ": batch %" PRIu64
                   ", which was known here, is given up",
                   n->by, n->index, g->mark.index);
    g->mark.index = n->index;
    g->mark.since = (struct mark_epoch){.epoch = n->epoch, .index = n->index};
    memcpy(g->mark.hash, n->hash, sizeof(g->mark.hash));
    memcpy(g->mark.since.hash, n->hash, sizeof(g->mark.since.hash));
    g->verdict = MARK_HELD;
    tree_went_on(r);
    tell_mark(r);
    follow_again(r);
}

/* ---- the mark's batch in the tree ---- */

void guard_want_verified(struct replicated *r)
{
    check_invariants(r);
    r->guard.verified = false;
    r->guard.verify.again = r->guard.verify.under_way > 0;
    r->guard.verify_ms = 0;
}

static bool verified(const struct replicated *r)
{
    check_invariants(r);
    return r->guard.verified || r->guard.mark.index == 0;
}

static void verify_end(struct replicated *r, enum mark_verdict verdict)
{
    struct guard *g = &r->guard;

    check_invariants(r);
    g->verdict = verdict;
    g->verified = verdict == MARK_HELD;
    g->verify_ms = replicated_now_ms(r) + AGAIN_MS;
    guard_judge(r);
}

/* The last of the three reads is answered. */
static void verify_judge(struct replicated *r, const struct manifest *m)
{
    struct verify *v = &r->guard.verify;

    if (v->failed || v->again || election_closing(r) || r->alarm[0])
        return; /* it is still wanted */
    assert(v->under_way == 0);
    if (v->next_differs)
        verify_end(r, MARK_DIFFERS);
    else if (v->found)
        verify_end(r, v->verdict);
    else if (m->exists && m->index >= v->mark.index)
        verify_end(r, check_snapshot(&v->mark, m->index, m->hash, &m->epochs));
    else
        verify_end(r, MARK_MISSING);
}

/* True: there is such a node. */
static bool verify_read(struct replicated *r, const struct coord_reply *reply, const char *what)
{
    struct verify *v = &r->guard.verify;

    assert(v->under_way > 0);
    v->under_way--;
    if (reply->result == COORD_OK)
        return true;
    v->failed |= reply->result != COORD_NO_NODE;
    if (reply->result != COORD_NO_NODE && reply->result != COORD_LOST)
        replicated_unexpected(r, what, reply);
    return false;
}

static void on_mark_batch(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct verify *v = &r->guard.verify;
    char hash[MARK_HASH_SIZE] = "";

    if (verify_read(r, reply, "reading the newest batch known")) {
        if (reply->size > NONCE_SIZE)
            batch_hash((const char *)reply->data + NONCE_SIZE, reply->size - NONCE_SIZE, hash);
        v->found = true;
        v->verdict = check_batch(&v->mark, hash);
    }
}

/* The batch behind it has to name it. */
static void on_next_batch(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct verify *v = &r->guard.verify;
    struct batch *batch = NULL;

    if (!verify_read(r, reply, "reading the batch after the newest known") || reply->size <= NONCE_SIZE)
        return;
    if (batch_decode(&batch, (const char *)reply->data + NONCE_SIZE, reply->size - NONCE_SIZE, NULL) < 0)
        return; /* told when it is followed */
    v->next_differs = check_batch(&v->mark, batch->prev) != MARK_HELD || batch->epoch < v->mark.since.epoch;
    batch_free(batch);
}

static void on_mark_snapshot(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct manifest m = {.exists = false};

    if (verify_read(r, reply, "reading " NODE_CURRENT))
        manifest_parse(&m, reply->data, reply->size, NULL); /* an invalid one is told when it is followed */
    verify_judge(r, &m);
    manifest_release(&m);
    replicated_pump(r);
}

/* In this order: when the batch is gone from the log, the snapshot that is read then is above it. */
static void verify_ask(struct replicated *r)
{
    struct verify *v = &r->guard.verify;
    char path[COORD_PATH_MAX];

    assert(v->under_way == 0 && r->guard.mark.index > 0);
    *v = (struct verify){.mark = r->guard.mark, .under_way = VERIFY_READS};
    r->coord->ops->get(r->coord, tree_log_path(v->mark.index, path), false, on_mark_batch, r);
    r->coord->ops->get(r->coord, tree_log_path(v->mark.index + 1, path), false, on_next_batch, r);
    r->coord->ops->get(r->coord, NODE_CURRENT, false, on_mark_snapshot, r);
}

/* ---- what the others hold ---- */

static bool member_mark(const struct replicated *r, const struct replicated_member *m, struct mark *ret)
{
    return strcmp(m->id, r->replica) != 0 && mark_parse(ret, json_object_get(m->facts, "mark"), NULL) == 0;
}

/* The tree cannot answer for what that member holds. What a leader has sent and nobody has acknowledged yet others
 * may have seen. */
static bool contradicts(const struct replicated *r, const struct mark *mark, bool *ret_above)
{
    uint64_t end = election_leads(r) ? r->appender.next_index : r->tree.head;

    *ret_above = mark->index > end;
    if (strcmp(mark->cluster, r->tree.cluster) != 0 || mark->index == 0 || given_up(r, mark))
        return *ret_above = false;
    if (*ret_above || !r->follower.restored || mark->index > r->follower.applied)
        return *ret_above;
    return check_snapshot(mark, r->follower.applied, r->follower.applied_hash, &r->guard.epochs) ==
           MARK_DIFFERS;
}

/* It was heard over a link, so what was read may be older than what it said, unless something was written in between. */
static bool outsider_contradicts(const struct replicated *r, const struct outsider *o)
{
    uint64_t end = r->tree.head, read_ms = r->tree.head_covers_ms;

    if (election_leads(r)) {
        end = r->appender.next_index;
        read_ms = r->session.write_sent_ms;
    }
    return o->mark.index > end && o->heard_ms <= read_ms && strcmp(o->mark.cluster, r->tree.cluster) == 0 &&
           !given_up(r, &o->mark);
}

static void contradicted(struct replicated *r, const char *id, bool is_member)
{
    snprintf(r->guard.against, sizeof(r->guard.against), "%s", id);
    r->guard.against_member = is_member;
}

static void hold_against(struct replicated *r, const struct replicated_member *m)
{
    char *text = r->guard.contradiction;
    size_t size = sizeof(r->guard.contradiction);
    struct mark mark;
    bool above;

    assert(!text[0]);
    if (!member_mark(r, m, &mark) || !contradicts(r, &mark, &above))
        return;
    contradicted(r, m->id, true);
    if (above)
        snprintf(text, size,
                 "replica %s holds batch %" PRIu64 ", and the journal in ZooKeeper ends at %" PRIu64
                 ": committed batches were lost",
                 m->id, mark.index, election_leads(r) ? r->appender.status.acked : r->tree.head);
    else
        snprintf(text, size,
                 "replica %s holds another batch %" PRIu64 " than the one in ZooKeeper: the histories differ",
                 m->id, mark.index);
}

static void hold_outsider_against(struct replicated *r, const struct outsider *o)
{
    assert(!r->guard.contradiction[0]);
    if (!outsider_contradicts(r, o))
        return;
    contradicted(r, o->id, false);
    snprintf(
        r->guard.contradiction, sizeof(r->guard.contradiction),
        "replica %.60s, which is not a member here, holds more than the journal in ZooKeeper, which ends "
        "at %" PRIu64 ": committed batches were lost, or it uses another ensemble",
        o->id, election_leads(r) ? r->appender.status.acked : r->tree.head);
}

/* Head was read after what the members are known to say. */
void guard_head_read(struct replicated *r)
{
    const char *text = r->guard.contradiction;

    check_invariants(r);
    r->guard.contradiction[0] = '\0';
    for (size_t i = 0; i < r->members.count && is_mine(r) && !text[0]; i++)
        hold_against(r, &r->members.list[i]);
    for (size_t i = 0; i < r->claims.outsider_count && is_mine(r) && !text[0]; i++)
        hold_outsider_against(r, &r->claims.outsiders[i]);
    guard_judge(r);
}

static bool member_is_above(const struct replicated *r)
{
    struct mark mark;
    bool above = false;

    for (size_t i = 0; i < r->members.count && !above; i++)
        if (!member_mark(r, &r->members.list[i], &mark) || !contradicts(r, &mark, &above))
            above = false;
    return above;
}

void guard_members_read(struct replicated *r)
{
    check_invariants(r);
    if (!is_mine(r))
        return;
    if (!member_is_above(r)) {
        guard_head_read(r);
    } else if (!election_leads(r)) {
        tree_want_head(r); /* perhaps that member is only faster */
    } else {
        r->guard.doubts = true;
        r->tree.epoch_read.want = true;
    }
}

void guard_epoch_read(struct replicated *r)
{
    check_invariants(r);
    if (!r->guard.doubts || r->tree.epoch_read.want)
        return; /* this one was asked for earlier */
    r->guard.doubts = false;
    if (election_leads(r))
        guard_head_read(r);
}

/* ---- judging ---- */

/* A batch of a new leader can be read before its epoch is, while that is on its way. What was refused stays refused. */
static bool is_epoch_behind(const struct replicated *r)
{
    return tree_epoch(r) < r->guard.mark.since.epoch && (tree_current(r) || r->guard.refusal[0]);
}

static bool judge_tree(const struct replicated *r, char *text, size_t size)
{
    const struct mark *m = &r->guard.mark;
    const struct tree *t = &r->tree;

    assert(m->cluster[0]);
    if (t->missing)
        snprintf(text, size,
                 "ZooKeeper holds nothing of this cluster, but this replica has batch %" PRIu64
                 " of it (%s): its data was lost, or this is the wrong ensemble",
                 m->index, m->cluster);
    else if (strcmp(t->cluster, m->cluster) != 0)
        snprintf(text, size,
                 "ZooKeeper holds cluster %s, but the data folder here belongs to %s: either the wrong "
                 "ensemble or "
                 "folder, or its data was lost",
                 t->cluster, m->cluster);
    else if (is_epoch_behind(r))
        snprintf(text, size,
                 "ZooKeeper's epoch is %" PRId64 ", but this replica has a batch of epoch %" PRId64
                 ": committed batches were lost",
                 tree_epoch(r), m->since.epoch);
    else if (t->head_missing)
        snprintf(text, size, "ZooKeeper has no node " NODE_HEAD);
    else if (t->head_known && t->head < m->index)
        snprintf(text, size,
                 "ZooKeeper's journal ends at %" PRIu64 ", but this replica has %" PRIu64
                 ": committed batches were lost",
                 t->head, m->index);
    else
        return false;
    return true;
}

static bool judge_batch(const struct replicated *r, char *text, size_t size)
{
    uint64_t index = r->guard.mark.index;

    assert(r->guard.verdict == MARK_HELD || !r->guard.verified);
    switch (r->guard.verdict) {
    case MARK_HELD:
        return false;
    case MARK_MISSING:
        snprintf(text, size, "ZooKeeper's journal lacks batch %" PRIu64 ", which this replica has", index);
        break;
    case MARK_DIFFERS:
        snprintf(text, size,
                 "batch %" PRIu64 " in ZooKeeper is another one than this replica has: the histories differ",
                 index);
        break;
    case MARK_UNKNOWN:
        snprintf(text, size,
                 "the journal in ZooKeeper cannot be compared with batch %" PRIu64
                 ", which this replica has: it goes back to later ones only",
                 index);
        break;
    }
    return true;
}

/* Enough is read. */
static bool known(const struct replicated *r)
{
    return r->holder.refusal[0] || r->tree.missing ||
           (r->tree.epoch_known && (r->tree.head_known || r->tree.head_missing));
}

static bool judge(const struct replicated *r, char *text, size_t size)
{
    if (r->holder.refusal[0]) {
        snprintf(text, size, "%s", r->holder.refusal);
        return true;
    }
    if (!r->guard.mark.cluster[0])
        return false;
    if (judge_tree(r, text, size) || judge_batch(r, text, size))
        return true;
    snprintf(text, size, "%s", r->claims.refusal[0] ? r->claims.refusal : r->guard.contradiction);
    return text[0];
}

void guard_judge(struct replicated *r)
{
    struct guard *g = &r->guard;
    char text[sizeof(g->refusal)] = "";
    bool was = g->refusal[0], is = judge(r, text, sizeof(text));

    check_invariants(r);
    if (!known(r) || r->alarm[0] || election_closing(r) || strcmp(text, g->refusal) == 0)
        return;
    if (was && !r->holder.refusal[0] && !tree_recovery_read(r))
        return; /* it may explain what is new */
    memcpy(g->refusal, text, sizeof(g->refusal));
    if (is)
        replicated_log(r, LOG_ERROR, "refusing", "%s", g->refusal);
    else
        replicated_log(r, LOG_NOTE, "trusting",
                       "the journal in ZooKeeper holds what this replica knows again");
    if (is && !was) {
        election_refused(r);
        members_heartbeat_now(r); /* the others are to know */
    }
    replicated_changed(r);
}

void guard_name_is_free(struct replicated *r)
{
    bool told = r->holder.refusal[0] && strcmp(r->guard.refusal, r->holder.refusal) == 0;

    check_invariants(r);
    r->holder.refusal[0] = '\0';
    if (!told)
        return;
    r->guard.refusal[0] = '\0'; /* the tree is still to be read */
    replicated_log(r, LOG_NOTE, "name-free", "no other process serves as this replica any more");
    replicated_changed(r);
}

void guard_differs(struct replicated *r)
{
    verify_end(r, MARK_DIFFERS);
}

bool guard_restore_allowed(struct replicated *r, const struct manifest *m)
{
    enum mark_verdict verdict;

    check_invariants(r);
    if (!m->exists || m->index < r->guard.mark.index || recover_follows(r))
        return true; /* the log was compared */
    verdict = check_snapshot(&r->guard.mark, m->index, m->hash, &m->epochs);
    if (verdict != MARK_HELD)
        verify_end(r, verdict);
    return verdict == MARK_HELD;
}

bool guard_batch_allowed(struct replicated *r, uint64_t index, const char *hash)
{
    assert(index == r->follower.applied + 1);
    if (index != r->guard.mark.index || recover_follows(r) || check_batch(&r->guard.mark, hash) == MARK_HELD)
        return true;
    verify_end(r, MARK_DIFFERS);
    return false;
}

/* ---- standing ---- */

enum replicated_standing guard_standing(const struct replicated *r)
{
    if (r->alarm[0])
        return REPLICATED_STOPPED;
    if (r->guard.refusal[0])
        return REPLICATED_REFUSING;
    if (!r->tree.epoch_known && !r->tree.missing)
        return REPLICATED_CONNECTING;
    if (r->tree.missing)
        return REPLICATED_UNFOUNDED;
    return r->guard.mark.cluster[0] ? REPLICATED_MEMBER : REPLICATED_JOINING;
}

const char *replicated_standing_name(enum replicated_standing standing)
{
    static const char *const names[] = {"connecting", "unfounded", "joining",
                                        "member",     "refusing",  "stopped"};

    return names[standing];
}

bool guard_trusts(const struct replicated *r)
{
    return guard_standing(r) == REPLICATED_MEMBER;
}

bool guard_follows(const struct replicated *r)
{
    return guard_trusts(r) || (!r->alarm[0] && recover_follows(r));
}

bool guard_may_restore(const struct replicated *r)
{
    if (recover_follows(r))
        return guard_follows(r) && r->tree.head_known;
    return guard_trusts(r) && r->tree.head_known && verified(r);
}

bool guard_may_campaign(struct replicated *r)
{
    assert(r->election.state == FOLLOWING);
    guard_members_read(r); /* more may be applied here since they were read */
    return guard_trusts(r) && !r->tree.head_read.want;
}

void guard_elected(struct replicated *r)
{
    assert(r->election.state == ELECTED);
    tree_want(r); /* the epoch as well: the tree may have gone back since it was written */
    tree_want_head(r);
    members_want(r);
    guard_want_verified(r);
}

bool guard_may_lead(const struct replicated *r)
{
    assert(r->election.state == ELECTED);
    return guard_trusts(r) && tree_read(r) && verified(r) && r->members.fresh;
}

void guard_session(struct replicated *r)
{
    assert(r->session.connected);
    guard_want_verified(r);
}

void guard_heartbeat(struct replicated *r)
{
    assert(r->members.heartbeat_asked);
    if (!guard_trusts(r))
        tree_want(r); /* it may be right again */
}

static bool may_found(struct replicated *r, const char **ret_by)
{
    struct mark mark;

    *ret_by = NULL;
    if (!r->tree.missing || r->guard.mark.cluster[0] || r->guard.mark.index > 0)
        return false;
    for (size_t i = 0; i < r->members.count; i++)
        if (member_mark(r, &r->members.list[i], &mark) && mark.cluster[0])
            *ret_by = r->members.list[i].id;
    return !*ret_by;
}

void guard_pump(struct replicated *r)
{
    const struct guard *g = &r->guard;
    const char *by;

    check_invariants(r);
    if (!r->members.registered)
        return;
    if ((r->o.found || g->found_asked) && !r->tree.bootstrapping && r->members.fresh && may_found(r, &by))
        tree_bootstrap(r);
    if (is_mine(r) && !verified(r) && g->verify.under_way == 0 && replicated_now_ms(r) >= g->verify_ms &&
        r->tree.head_known && r->tree.head >= g->mark.index && !election_leads(r))
        verify_ask(r);
}

/* ---- acts ---- */

int replicated_found(struct journal *journal, const char *cluster_uuid, struct error *error)
{
    struct replicated *r = replicated_of(journal);
    const char *by;

    check_invariants(r);
    if (!r->session.connected || (!r->tree.epoch_known && !r->tree.missing))
        return error_set(error, ERR_UNREACHABLE, "ZooKeeper cannot be reached, or was not read yet");
    if (!r->tree.missing)
        return error_set(error, ERR_CONFLICT, "there is a cluster already: %s", r->tree.cluster);
    if (r->guard.mark.cluster[0])
        return error_set(error, ERR_CONFLICT,
                         "this replica belongs to cluster %s and has batch %" PRIu64
                         " of it: a new cluster would forget all of that",
                         r->guard.mark.cluster, r->guard.mark.index);
    if (!may_found(r, &by))
        return error_set(error, ERR_CONFLICT, "replica %s belongs to a cluster that was here",
                         by ? by : r->replica);
    if (cluster_uuid) {
        free(r->cluster_uuid);
        r->cluster_uuid = alloc_text(cluster_uuid);
    }
    r->guard.found_asked = true;
    replicated_pump(r);
    return 0;
}

int replicated_join(struct journal *journal, const char *cluster, struct error *error)
{
    struct replicated *r = replicated_of(journal);
    struct guard *g = &r->guard;

    check_invariants(r);
    if (g->mark.cluster[0])
        return error_set(error, ERR_CONFLICT, "this replica belongs to cluster %s already", g->mark.cluster);
    if (!r->tree.epoch_known)
        return error_set(error, ERR_CONFLICT, "ZooKeeper holds no cluster, not %s", cluster);
    if (strcmp(cluster, r->tree.cluster) != 0)
        return error_set(error, ERR_CONFLICT, "ZooKeeper holds cluster %s, not %s", r->tree.cluster, cluster);
    snprintf(g->join, sizeof(g->join), "%s", cluster);
    guard_cluster_read(r);
    guard_judge(r);
    replicated_pump(r);
    return 0;
}
