/* Following: the snapshot that the tree holds, then batch after batch up to head.
 *
 * Happy path: snap/current -> its chunks -> restore; then log/N for every N from there to head, several at
 * once, given on in their order. A standby that is up to date asks for one batch whenever head changes.
 * Failures: an answer lost: what was under way is asked for again. A batch that is gone: it was truncated
 * below a newer snapshot; from that. A chunk that is gone: the snapshot was replaced meanwhile; from the
 * newer. A batch or a snapshot that disagrees with what is known here: see guard.c.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define CHUNKS_AT_ONCE      16
#define RESTORE_TRIES       10 /* then it is told, and tried less often */
#define RESTORE_RETRY_MS    5000
#define SNAPSHOT_MOST_BYTES ((size_t)1 << 31)

/* Nothing is fetched beyond the limits, a chunk arrives after it was asked for, and only what is restored is current. */
static void check_invariants(const struct replicated *r)
{
    const struct follower *f = &r->follower;
    const struct restoring *p = &f->restoring;

    assert(f->fetching <= REPLICATED_FETCH_MAX && p->under_way <= CHUNKS_AT_ONCE);
    assert(p->arrived <= p->asked && p->filled <= p->manifest.size);
    assert((f->restored || !f->current) && (f->read || !f->current));
}

void follow_drop(struct replicated *r)
{
    manifest_release(&r->follower.restoring.manifest);
    free(r->follower.restoring.text);
    r->follower.restoring = (struct restoring){.again = r->follower.restoring.again};
}

void follow_again(struct replicated *r)
{
    check_invariants(r);
    r->follower.restored = r->follower.current = false;
    guard_want_verified(r);
    r->follower.refetch = r->follower.fetching > 0;
    r->follower.restoring.again = 0;
    if (r->follower.restoring.under_way)
        r->follower.restoring.active = false;
    else
        follow_drop(r);
}

/* One more of the history: its epoch begins with it when that of the one before is known, and another. */
static void advance(struct replicated *r, uint64_t index, const char *hash, int64_t epoch)
{
    struct follower *f = &r->follower;
    bool begins = epoch > f->applied_epoch && (f->applied_epoch > 0 || index == 1 || election_leads(r));

    assert(index == f->applied + 1);
    f->applied = index;
    f->applied_epoch = epoch;
    snprintf(f->applied_hash, sizeof(f->applied_hash), "%s", hash);
    guard_applied(r, index, hash, epoch, begins);
}

void follow_acked(struct replicated *r, uint64_t index, const char *hash, uint64_t bytes)
{
    assert(election_leads(r));
    advance(r, index, hash, election_epoch(r));
    r->follower.log_bytes += bytes + REPLICATED_NODE_BYTES;
}

/* ---- the snapshot ---- */

static void restored(struct replicated *r)
{
    struct restoring *p = &r->follower.restoring;
    const struct manifest *m = &p->manifest;

    assert(p->active && p->under_way == 0 && !election_leads(r));
    if (p->filled != m->size) {
        replicated_alarm(r, "the snapshot at %" PRIu64 " in ZooKeeper has %zu bytes instead of %zu", m->index,
                         p->filled, m->size);
        follow_drop(r);
        return;
    }
    if (!guard_follows(r) || !guard_restore_allowed(r, m)) {
        follow_drop(r); /* the owner keeps what it has */
        return;
    }
    r->follower.applied = m->index;
    snprintf(r->follower.applied_hash, sizeof(r->follower.applied_hash), "%s", m->hash);
    r->follower.applied_epoch = m->epochs.count ? m->epochs.items[m->epochs.count - 1].epoch : 0;
    guard_restored(r, m);
    r->follower.log_bytes = m->bytes;
    snapshot_log_begins(r, m);
    r->follower.asked = r->follower.applied;
    r->follower.restored = true;
    r->journal.events->restore(r->journal.arg, m->exists ? p->text : NULL, p->filled, m->index);
    p->again = 0;
    follow_drop(r);
}

/* It cannot be read: perhaps it was replaced. From the start again, and again: the next one may be readable. */
static void restore_again(struct replicated *r, const char *why)
{
    struct restoring *p = &r->follower.restoring;

    assert(p->active && !r->follower.restored);
    if (++p->again >= RESTORE_TRIES) {
        snprintf(r->last_error, sizeof(r->last_error),
                 "the snapshot in ZooKeeper could not be read, %d times: %.160s", p->again, why);
        replicated_log(r, LOG_WARN, "snapshot-unreadable", "%s", r->last_error);
    }
    replicated_retry_in(r, p->again < RESTORE_TRIES ? (uint64_t)p->again * 100 : RESTORE_RETRY_MS);
    p->active = false;
}

static void on_chunk(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct restoring *p = &r->follower.restoring;
    struct error error = {0};
    size_t size = 0;

    check_invariants(r);
    assert(p->under_way > 0);
    p->under_way--;
    if (p->active && reply->result == COORD_OK) {
        const char *name = json_string_value(json_array_get(p->manifest.chunks, p->arrived));

        if (chunk_unpack(reply->data, reply->size, name, p->text + p->filled, p->manifest.size - p->filled,
                         &size, &error) < 0)
            restore_again(r, error.text);
        p->filled += size;
        p->arrived++;
    } else if (p->active) {
        if (reply->result != COORD_LOST)
            restore_again(r, reply->text);
        p->active = false;
    }
    if (p->under_way == 0 && !p->active)
        follow_drop(r);
    else if (p->active && p->arrived == json_array_size(p->manifest.chunks))
        restored(r);
    replicated_pump(r);
}

static void on_manifest(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct restoring *p = &r->follower.restoring;
    struct error error = {0};

    assert(p->under_way == 1);
    p->under_way--;
    if (!p->active || r->alarm[0] || election_closing(r)) {
        follow_drop(r);
    } else if (reply->result == COORD_NO_NODE) {
        restored(r);
    } else if (reply->result == COORD_OK) {
        if (manifest_parse(&p->manifest, reply->data, reply->size, &error) < 0 ||
            p->manifest.size > SNAPSHOT_MOST_BYTES) {
            replicated_alarm(r, "ZooKeeper node " NODE_CURRENT " is invalid: %s", error.text);
            follow_drop(r);
        } else if (p->manifest.level > r->o.level) {
            replicated_alarm(r,
                             "the cluster's records are of level %d, and this build reads up to %d: a newer "
                             "cronsched is needed",
                             p->manifest.level, r->o.level);
            follow_drop(r);
        } else {
            p->text = alloc_zero(p->manifest.size + 1);
            if (json_array_size(p->manifest.chunks) == 0)
                restored(r);
        }
    } else {
        follow_drop(r);
        if (reply->result != COORD_LOST)
            replicated_unexpected(r, "reading " NODE_CURRENT, reply);
    }
    replicated_pump(r);
}

static void restore_pump(struct replicated *r)
{
    struct restoring *p = &r->follower.restoring;
    char path[COORD_PATH_MAX];

    assert(!r->follower.restored && r->follower.fetching == 0);
    if (!p->active) {
        if (p->under_way)
            return; /* of a try that was given up */
        follow_drop(r);
        p->active = true;
        p->under_way = 1;
        r->coord->ops->get(r->coord, NODE_CURRENT, false, on_manifest, r);
        return;
    }
    while (p->manifest.exists && p->asked < json_array_size(p->manifest.chunks) &&
           p->under_way < CHUNKS_AT_ONCE) {
        snprintf(path, sizeof(path), NODE_CHUNKS "/%s",
                 json_string_value(json_array_get(p->manifest.chunks, p->asked++)));
        p->under_way++;
        r->coord->ops->get(r->coord, path, false, on_chunk, r);
    }
}

/* ---- batches ---- */

/* Where the mark is above what was applied, and the tree holds the mark, it is what was applied that is of another history:
 * it was read while the tree was another one. So it is where a person has this replica follow the tree all the same. If the
 * snapshot leads to the same place again, it is the tree. */
static void differs(struct replicated *r, const struct batch *batch)
{
    struct follower *f = &r->follower;

    assert(f->restored && !election_leads(r));
    replicated_log(r, LOG_WARN, "batch-differs",
                   "batch %" PRIu64 " in ZooKeeper, of epoch %" PRId64
                   ", follows %s, but this replica's batch %" PRIu64 ", of epoch %" PRId64 ", has hash %s",
                   batch->index, batch->epoch, batch->prev, f->applied, f->applied_epoch, f->applied_hash);
    if ((f->applied < r->guard.mark.index || recover_follows(r)) && f->differed != f->applied + 1) {
        f->differed = f->applied + 1;
        follow_again(r);
    } else {
        f->differed = 0;
        f->refetch = f->fetching > 0;
        replicated_retry_in(r, RETRY_MS);
        guard_differs(r);
    }
}

static void give(struct replicated *r, const struct coord_reply *reply)
{
    struct batch *batch = NULL;
    struct error error = {0};
    const char *text = (const char *)reply->data + NONCE_SIZE;
    size_t size = reply->size - NONCE_SIZE;
    uint64_t index = r->follower.applied + 1;
    char hash[MARK_HASH_SIZE];
    bool fits;

    assert(r->follower.restored);
    if (reply->size <= NONCE_SIZE || text[-1] != '\n') {
        replicated_alarm(r, "batch %" PRIu64 " in ZooKeeper is invalid: it has no nonce", index);
        return;
    }
    if (batch_decode(&batch, text, size, &error) < 0) {
        replicated_alarm(r, "batch %" PRIu64 " in ZooKeeper is invalid: %s", index, error.text);
        return;
    }
    batch_hash(text, size, hash);
    fits = batch->index == index && strcmp(batch->prev, r->follower.applied_hash) == 0 &&
           batch->epoch >= r->follower.applied_epoch;
    if (!fits) {
        differs(r, batch);
    } else if (guard_batch_allowed(r, index, hash)) {
        advance(r, index, hash, batch->epoch);
        r->follower.log_bytes += reply->size + REPLICATED_NODE_BYTES;
        r->journal.events->batch(r->journal.arg, batch, text, size);
    }
    batch_free(batch);
}

static void on_batch(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    check_invariants(r);
    assert(r->follower.fetching > 0);
    r->follower.fetching--;
    r->follower.refetch |= !guard_follows(r) || election_leads(r); /* a leader has what it leads with */
    if (!r->follower.refetch && !r->alarm[0] && !election_closing(r)) {
        if (reply->result == COORD_OK) {
            give(r, reply);
        } else {
            r->follower.refetch = true;
            if (reply->result == COORD_NO_NODE) {
                replicated_log(r, LOG_NOTE, "truncated", "batch %" PRIu64 " is gone; from the snapshot",
                               r->follower.applied + 1);
                if (r->follower.gone == r->follower.applied + 1)
                    replicated_retry_in(r, RETRY_MS); /* again: the tree has a hole */
                r->follower.gone = r->follower.applied + 1;
                follow_again(r);
            } else if (reply->result != COORD_LOST) {
                replicated_unexpected(r, "reading a batch", reply);
            }
        }
    }
    if (r->follower.fetching == 0)
        r->follower.refetch = false;
    if (r->follower.restored && r->follower.applied == r->tree.head && !r->follower.current) {
        r->follower.current = r->follower.read = true;
        replicated_changed(r);
    }
    replicated_pump(r);
}

void follow_pump(struct replicated *r)
{
    char path[COORD_PATH_MAX];

    check_invariants(r);
    if (election_leads(r) || !r->members.registered || !guard_follows(r) || r->follower.refetch)
        return;
    if (!r->follower.restored) {
        if (r->follower.fetching == 0 && (guard_may_restore(r) || r->follower.restoring.active))
            restore_pump(r);
        return;
    }
    if (!r->tree.head_known)
        return;
    if (r->follower.fetching == 0)
        r->follower.asked = r->follower.applied;
    while (r->follower.asked < r->tree.head && r->follower.fetching < REPLICATED_FETCH_MAX) {
        r->follower.fetching++;
        r->coord->ops->get(r->coord, tree_log_path(++r->follower.asked, path), false, on_batch, r);
    }
}
