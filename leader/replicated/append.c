/* The leader's writes: queued, grouped, pipelined, fenced.
 *
 * Happy path: append -> queue -> a multi {check(epoch), check(its name), create(log/N)..., set(head, N, its version)}
 * -> acked. Several are under way; each names the version of head that the one before leaves, so that when one
 * fails all later ones do. Failures: LOST, or any other: what was under way is in doubt. Once all of it is
 * answered and the session stands: a write, so that reads are fresh; then epoch: another's: deposed. Then
 * head: what it names is committed, if log/HEAD is mine by hash; the rest is sent again. Anything else, and
 * twice in doubt without progress: leadership ends, and the next leader finds out. An append that ZooKeeper refuses (a
 * quota) would be refused to every leader: this one stays, tells, and tries again ever more slowly. One that is larger
 * than its servers take ends leadership: the batches behind it build on it. The owner makes smaller ones from then on.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define REFUSALS_TOLD 2 /* in a row: one alone is an overload of a moment */
#define GROUP_OPS     4 /* beside the batches: the epoch, its name, and head, which may be made anew */

static void send_groups(struct replicated *r);

/* The queue and the items that were sent are empty together with their counts, a leader has applied what is acknowledged,
 * and nothing is left of a leadership that is over, but for answers that are on their way. */
static void check_invariants(const struct replicated *r)
{
    const struct appender *a = &r->appender;
    bool idle = list_empty(&a->queue) && list_empty(&a->unacked);

    assert(idle == (a->in_flight == 0) && (!idle || a->in_flight_bytes == 0));
    assert(a->in_flight <= REPLICATED_IN_FLIGHT_MAX);
    assert((a->window == 0) == list_empty(&a->multis) && a->window <= REPLICATED_WINDOW_MAX);
    assert(a->status.acked <= a->next_index);
    assert(election_leads(r) || (idle && a->recovery == RECOVERY_NONE));
    assert(!election_leads(r) || r->follower.applied == a->status.acked || MUTANT(ACK_WHEN_SENT));
}

static void item_free(struct item *item)
{
    list_remove(&item->link);
    free(item->data);
    free(item);
}

static void items_free(struct list *list)
{
    while (!list_empty(list))
        item_free(LIST_ITEM(list->next, struct item, link));
    assert(list_empty(list));
}

/* Multis under way stay until their answers come. */
void append_drop(struct replicated *r)
{
    struct appender *a = &r->appender;

    items_free(&a->queue);
    items_free(&a->unacked);
    a->in_flight = a->in_flight_bytes = 0;
    a->recovery = RECOVERY_NONE;
    assert(append_idle(r));
}

void append_init(struct replicated *r)
{
    struct appender *a = &r->appender;

    list_init(&a->queue);
    list_init(&a->unacked);
    list_init(&a->multis);
}

void append_session(struct replicated *r, bool fresh)
{
    check_invariants(r);
    if (election_leads(r) && !fresh)
        r->appender.recovery = RECOVERY_WANTED;
}

void append_doubt(struct replicated *r)
{
    check_invariants(r);
    if (election_leads(r) && r->appender.recovery == RECOVERY_NONE)
        r->appender.recovery = RECOVERY_WANTED;
}

size_t append_checks(const struct replicated *r, struct coord_op ops[3])
{
    const struct appender *a = &r->appender;
    size_t n;

    check_invariants(r);
    if (!election_leads(r) || a->window > 0 || a->recovery != RECOVERY_NONE)
        return 0;
    n = election_checks(r, ops);
    ops[n++] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_HEAD, .version = a->next_head_version};
    return n;
}

bool append_idle(const struct replicated *r)
{
    const struct appender *a = &r->appender;

    return list_empty(&a->queue) && list_empty(&a->unacked) && a->recovery == RECOVERY_NONE;
}

void append_begin(struct replicated *r)
{
    struct appender *a = &r->appender;

    assert(r->election.state == LEADING && r->follower.restored);
    assert(list_empty(&a->queue) && list_empty(&a->unacked) && a->in_flight == 0);
    a->next_index = a->status.acked = r->follower.applied;
    memcpy(a->next_hash, r->follower.applied_hash, sizeof(a->next_hash));
    a->next_head_version = r->tree.head_version;
    a->recovery = RECOVERY_NONE;
    a->recovered_once = false;
    a->uncertain_reply[0] = '\0';
    a->refusals = 0;
    a->retry_ms = 0;
    check_invariants(r);
}

/* The node's data: the nonce of the epoch, a newline, the batch's text. */
static struct item *item_new(struct replicated *r, const struct batch *batch)
{
    struct item *item = alloc_zero(sizeof(*item));
    size_t size;
    char *text = batch_encode(batch, &size);

    list_init(&item->link);
    item->index = batch->index;
    item->size = NONCE_SIZE + size;
    item->data = alloc_zero(item->size + 1);
    memcpy(item->data, r->election.nonce, NONCE_SIZE - 1);
    item->data[NONCE_SIZE - 1] = '\n';
    memcpy(item->data + NONCE_SIZE, text, size);
    assert(size > 0);
    batch_hash(text, size, item->hash);
    item->queued_us = replicated_now_ms(r) * 1000;
    free(text);
    return item;
}

int append_take(struct replicated *r, struct batch *batch)
{
    struct appender *a = &r->appender;
    struct item *item;

    check_invariants(r);
    if (!election_takes_appends(r)) {
        batch_free(batch);
        return ERR_DEPOSED;
    }
    if (a->in_flight >= REPLICATED_IN_FLIGHT_MAX || a->in_flight_bytes >= REPLICATED_IN_FLIGHT_BYTES)
        return ERR_LIMIT;
    assert(batch->index == a->next_index + 1);
    assert(strcmp(batch->prev, a->next_hash) == 0);
    assert(batch->epoch == election_epoch(r));
    item = item_new(r, batch);
    batch_free(batch);
    a->next_index = item->index;
    memcpy(a->next_hash, item->hash, sizeof(a->next_hash));
    a->in_flight++;
    a->in_flight_bytes += item->size;
    list_append(&a->queue, &item->link);
    if (replicated_may_ask(r))
        send_groups(r); /* no more than that: no event comes from within append */
    return 0;
}

/* ---- refused ---- */

static bool refuses(enum coord_result result)
{
    return result == COORD_FAILED || result == COORD_DENIED;
}

bool append_refused(const struct replicated *r)
{
    return r->appender.refusals >= REFUSALS_TOLD;
}

static void refused(struct replicated *r, const char *text)
{
    struct appender *a = &r->appender;
    unsigned doublings = a->refusals < 10 ? a->refusals : 10;
    uint64_t ms = (uint64_t)REPLICATED_REFUSED_RETRY_MS << doublings;

    assert(election_leads(r));
    a->refusals++;
    a->retry_ms = replicated_now_ms(r) +
                  (ms < REPLICATED_REFUSED_RETRY_MAX_MS ? ms : REPLICATED_REFUSED_RETRY_MAX_MS);
    if (append_refused(r))
        replicated_note_error(r, "ZooKeeper refuses appends: %s", text);
}

static void no_more_refused(struct replicated *r)
{
    if (append_refused(r)) {
        replicated_clear_error(r);
        replicated_log(r, LOG_NOTE, "appends-taken", "ZooKeeper takes appends again");
    }
    r->appender.refusals = 0;
    r->appender.retry_ms = 0;
    assert(!append_refused(r));
}

/* ---- acknowledged ---- */

static void acked(struct replicated *r, uint64_t upto, int32_t head_version)
{
    struct appender *a = &r->appender;
    uint64_t now_us = replicated_now_ms(r) * 1000;

    assert(upto > a->status.acked || MUTANT(ACK_WHEN_SENT));
    assert(upto <= a->next_index);
    while (!list_empty(&a->unacked)) {
        struct item *item = LIST_ITEM(a->unacked.next, struct item, link);

        if (item->index > upto)
            break;
        a->status.last_append_us = (int64_t)(now_us - item->queued_us);
        a->status.total_append_us += a->status.last_append_us;
        a->status.appends++;
        assert(a->in_flight > 0 && a->in_flight_bytes >= item->size);
        follow_acked(r, item->index, item->hash, item->size);
        a->in_flight--;
        a->in_flight_bytes -= item->size;
        item_free(item);
    }
    a->status.acked = upto;
    tree_head_moved(r, upto, head_version);
    a->recovered_once = false;
    no_more_refused(r);
    r->journal.events->acked(r->journal.arg, upto);
}

static void on_appended(void *arg, const struct coord_reply *reply)
{
    struct pending_multi *m = OBJECT(struct pending_multi, arg);
    struct replicated *r = m->r;
    struct appender *a = &r->appender;
    bool mine = election_leads(r) && m->token == r->election.token; /* not of an epoch that is over */

    check_invariants(r);
    assert(a->window > 0 && a->window_bytes >= m->bytes);
    list_remove(&m->link);
    a->window--;
    a->window_bytes -= m->bytes;
    if (reply->result == COORD_OK)
        replicated_renew_lease(r, m->sent_ms);
    if (mine) {
        bool done = reply->result == COORD_OK || (reply->result == COORD_LOST && MUTANT(LOST_IS_DONE));

        if (done && a->recovery == RECOVERY_NONE) {
            acked(r, m->last, m->head_version);
        } else {
            if (a->recovery == RECOVERY_NONE && reply->result != COORD_OK && reply->result != COORD_LOST)
                snprintf(a->uncertain_reply, sizeof(a->uncertain_reply), "%s", reply->text);
            a->refused |= refuses(reply->result);
            a->recovery = RECOVERY_WANTED;
        }
    }
    OBJECT_FREE(struct pending_multi, m);
    replicated_pump(r);
}

/* ---- sending ---- */

/* That many batches, with so many bytes, in one multi. */
static bool fits(const struct replicated *r, size_t count, size_t bytes)
{
    size_t most = r->coord->request_max;

    assert(count > 0 && count <= REPLICATED_GROUP_MAX);
    if (count > 1 && bytes > REPLICATED_GROUP_BYTES)
        return false;
    return !most || bytes + (count + GROUP_OPS) * COORD_OP_BYTES <= most;
}

static bool first_fits(const struct replicated *r)
{
    assert(!list_empty(&r->appender.queue));
    return fits(r, 1, LIST_ITEM(r->appender.queue.next, struct item, link)->size);
}

/* The node is made again long before its version comes to its end: that is 2^31 appends away, months. */
static size_t set_head(struct replicated *r, struct coord_op ops[2], const char *head)
{
    struct appender *a = &r->appender;
    int32_t version = a->next_head_version;

    assert(a->recovery == RECOVERY_NONE);
    if (version < REPLICATED_HEAD_VERSION_MAX) {
        ops[0] = (struct coord_op){COORD_SET, NODE_HEAD, head, strlen(head), version};
        a->next_head_version = version + 1;
        return 1;
    }
    ops[0] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_HEAD, .version = version};
    ops[1] = (struct coord_op){COORD_CREATE, NODE_HEAD, head, strlen(head), COORD_ANY};
    a->next_head_version = 0;
    return 2;
}

/* The first that waits: it is the next in order after those that were sent, or were acknowledged. */
static const struct item *next_item(const struct appender *a)
{
    const struct item *item = LIST_ITEM(a->queue.next, struct item, link);
    uint64_t before = a->status.acked;

    if (!list_empty(&a->unacked))
        before = LIST_ITEM(a->unacked.prev, struct item, link)->index;
    assert(item->index == before + 1 || MUTANT(ACK_WHEN_SENT));
    return item;
}

static void send_group(struct replicated *r)
{
    struct appender *a = &r->appender;
    static char paths[REPLICATED_GROUP_MAX][COORD_PATH_MAX];
    struct coord_op ops[REPLICATED_GROUP_MAX + GROUP_OPS];
    struct pending_multi *m = OBJECT_NEW(struct pending_multi);
    char head[24];
    size_t n, batches = 0;

    _Static_assert(REPLICATED_GROUP_MAX + GROUP_OPS <= COORD_OPS_MAX, "a group fits into a multi");
    assert(a->recovery == RECOVERY_NONE && !list_empty(&a->queue));
    assert(next_item(a)->index > a->status.acked || MUTANT(ACK_WHEN_SENT));
    n = election_checks(r, ops);
    while (!list_empty(&a->queue) && batches < REPLICATED_GROUP_MAX) {
        struct item *item = LIST_ITEM(a->queue.next, struct item, link);

        if (!fits(r, batches + 1, m->bytes + item->size))
            break;
        ops[n++] = (struct coord_op){COORD_CREATE, tree_log_path(item->index, paths[batches++]), item->data,
                                     item->size, COORD_ANY};
        m->bytes += item->size;
        m->last = item->index;
        list_remove(&item->link);
        list_append(&a->unacked, &item->link);
    }
    snprintf(head, sizeof(head), "%" PRIu64, m->last);
    n += set_head(r, ops + n, head);
    m->head_version = a->next_head_version;
    m->r = r;
    m->token = r->election.token;
    m->sent_ms = replicated_now_ms(r);
    list_append(&a->multis, &m->link);
    a->window++;
    a->window_bytes += m->bytes;
    r->coord->ops->multi(r->coord, ops, n, on_appended, m);
    if (MUTANT(ACK_WHEN_SENT))
        acked(r, a->next_index, r->tree.head_version);
}

static void send_groups(struct replicated *r)
{
    struct appender *a = &r->appender;

    check_invariants(r);
    if (!election_leads(r) || replicated_now_ms(r) < a->retry_ms)
        return;
    while (a->recovery == RECOVERY_NONE && !list_empty(&a->queue) && first_fits(r) &&
           a->window < REPLICATED_WINDOW_MAX && a->window_bytes < REPLICATED_WINDOW_BYTES)
        send_group(r);
}

/* ---- in doubt ---- */

static void resend(struct replicated *r)
{
    /* in order: what was under way goes before what waits */
    while (!list_empty(&r->appender.unacked)) {
        struct item *item = LIST_ITEM(r->appender.unacked.prev, struct item, link);

        list_remove(&item->link);
        list_append(r->appender.queue.next, &item->link); /* before the first */
    }
    assert(list_empty(&r->appender.unacked));
}

/* The head, as read, is mine. */
static void recovered(struct replicated *r)
{
    struct appender *a = &r->appender;

    assert(a->recovery == RECOVERY_ASKED && list_empty(&a->multis));
    a->next_head_version = r->tree.head_version;
    if (r->tree.head > a->status.acked) {
        acked(r, r->tree.head, r->tree.head_version); /* what the owner appends now waits behind the rest */
        if (a->recovery != RECOVERY_ASKED)
            return; /* leadership ended meanwhile */
    } else if (a->refused) {
        refused(r, a->uncertain_reply);
    } else if (a->uncertain_reply[0] && a->recovered_once) {
        election_end(r, "ZooKeeper refuses appends: %s", a->uncertain_reply);
        return;
    }
    a->recovered_once = a->uncertain_reply[0] != '\0' && !a->refused;
    a->refused = false;
    a->uncertain_reply[0] = '\0';
    resend(r);
    a->recovery = RECOVERY_NONE;
}

static bool recovery_goes_on(struct replicated *r, const struct coord_reply *reply, const char *what)
{
    check_invariants(r);
    if (!election_leads(r) || r->appender.recovery != RECOVERY_ASKED)
        return false; /* leadership is over */
    if (reply->result == COORD_OK)
        return true;
    r->appender.recovery = RECOVERY_WANTED;
    if (reply->result == COORD_NO_NODE)
        election_end(r, "%s: ZooKeeper does not have it any more", what);
    else if (refuses(reply->result))
        refused(r, reply->text);
    else if (reply->result != COORD_LOST)
        replicated_unexpected(r, what, reply);
    return false;
}

static const struct item *unacked_item(const struct replicated *r, uint64_t index)
{
    LIST_EACH(link, &r->appender.unacked)
    {
        const struct item *item = LIST_ITEM(link, struct item, link);

        if (item->index == index)
            return item;
    }
    return NULL;
}

static void on_log_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    const struct item *item = unacked_item(r, r->tree.head);
    char hash[MARK_HASH_SIZE] = "";
    bool mine;

    if (recovery_goes_on(r, reply, "reading what may have been appended")) {
        if (reply->size > NONCE_SIZE)
            batch_hash((const char *)reply->data + NONCE_SIZE, reply->size - NONCE_SIZE, hash);
        if (item)
            mine = reply->size == item->size && memcmp(reply->data, item->data, item->size) == 0;
        else /* the last that was acknowledged */
            mine = r->tree.head == r->appender.status.acked && strcmp(hash, r->follower.applied_hash) == 0;
        if (mine)
            recovered(r);
        else
            election_end(r, "batch %" PRIu64 " in ZooKeeper was written by another replica", r->tree.head);
    }
    replicated_pump(r);
}

static void on_head_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    char path[COORD_PATH_MAX];
    uint64_t head;

    if (recovery_goes_on(r, reply, "reading " NODE_HEAD)) {
        if (tree_parse_head(reply, &head) < 0) {
            replicated_alarm(r, "ZooKeeper node " NODE_HEAD " is not a number");
        } else if (head < r->appender.status.acked || head > r->appender.next_index) {
            election_end(r, "ZooKeeper's journal ends at %" PRIu64 " where %" PRIu64 " was acknowledged",
                         head, r->appender.status.acked);
        } else if (head == 0) {
            tree_head_moved(r, head, reply->stat.version);
            recovered(r);
        } else {
            tree_head_moved(r, head, reply->stat.version);
            r->coord->ops->get(r->coord, tree_log_path(head, path), false, on_log_read, r);
            return;
        }
    }
    replicated_pump(r);
}

static void on_epoch_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (recovery_goes_on(r, reply, "reading " NODE_EPOCH)) {
        if (reply->stat.version == r->election.token && tree_epoch_is(reply, r->election.nonce)) {
            r->coord->ops->get(r->coord, NODE_HEAD, false, on_head_read, r);
            return;
        }
        election_end(r, "deposed: epoch %" PRId64 " has another leader",
                     r->tree.epoch_base + reply->stat.version);
    }
    replicated_pump(r);
}

static void on_barrier(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (reply->result == COORD_OK)
        replicated_renew_lease(r, r->appender.barrier_sent_ms);
    if (recovery_goes_on(r, reply, "checking " NODE_EPOCH)) {
        r->coord->ops->get(r->coord, NODE_EPOCH, false, on_epoch_read, r);
        return;
    }
    replicated_pump(r);
}

/* A write on the session first: reads after it see all that was committed before it. A check alone is one for ZooKeeper:
 * it goes the way of all transactions. It stores nothing, so that no quota refuses it. */
static void recover(struct replicated *r)
{
    struct coord_op op = {.kind = COORD_CHECK, .path = NODE_EPOCH, .version = COORD_ANY};

    assert(r->appender.recovery == RECOVERY_WANTED && list_empty(&r->appender.multis));
    r->appender.recovery = RECOVERY_ASKED;
    r->appender.barrier_sent_ms = replicated_now_ms(r);
    r->coord->ops->multi(r->coord, &op, 1, on_barrier, r);
}

void append_pump(struct replicated *r)
{
    struct appender *a = &r->appender;

    check_invariants(r);
    if (!election_leads(r))
        return;
    if (a->recovery == RECOVERY_WANTED && list_empty(&a->multis) && replicated_now_ms(r) >= a->retry_ms)
        recover(r);
    send_groups(r);
    if (a->recovery == RECOVERY_NONE && list_empty(&a->unacked) && !list_empty(&a->queue) && !first_fits(r))
        election_end(r,
                     "batch %" PRIu64
                     " has %zu bytes, but ZooKeeper's servers take %zu in one request: raise "
                     "their jute.maxbuffer",
                     LIST_ITEM(a->queue.next, struct item, link)->index,
                     LIST_ITEM(a->queue.next, struct item, link)->size, r->coord->request_max);
}
