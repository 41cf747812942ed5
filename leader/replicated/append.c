/* The leader's writes: queued, grouped, pipelined, fenced.
 *
 * Happy path: append -> queue -> a multi {check(epoch), create(log/N)..., set(head, N, its version)} ->
 * acked. Several are under way; each names the version of head that the one before leaves, so that when one
 * fails all later ones do. Failures: LOST, or any other: what was under way is in doubt. Once all of it is
 * answered and the session stands: a write, so that reads are fresh; then epoch: another's: deposed. Then
 * head: what it names is committed, if log/HEAD is mine by hash; the rest is sent again. Twice in doubt
 * without progress: the reign ends, and the next one finds out.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

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
}

/* Flights stay until their answers come. */
void append_drop(struct replicated *r)
{
    items_free(&r->queue);
    items_free(&r->unacked);
    r->in_flight = r->in_flight_bytes = 0;
}

bool append_idle(const struct replicated *r)
{
    return list_empty(&r->queue) && list_empty(&r->unacked) && r->recovery == RECOVERY_NONE;
}

void append_begin(struct replicated *r)
{
    r->next_index = r->status.acked = r->applied;
    memcpy(r->next_hash, r->applied_hash, sizeof(r->next_hash));
    r->next_head_version = r->head_version;
    r->recovery = RECOVERY_NONE;
    r->recovered_once = false;
    r->doubt[0] = '\0';
}

/* The node's data: the nonce of the reign, a newline, the batch's text. */
static struct item *item_new(struct replicated *r, const struct batch *batch)
{
    struct item *item = alloc_zero(sizeof(*item));
    size_t size;
    char *text = batch_encode(batch, &size);

    list_init(&item->link);
    item->index = batch->index;
    item->size = NONCE_SIZE + size;
    item->data = alloc_zero(item->size + 1);
    memcpy(item->data, r->nonce, NONCE_SIZE - 1);
    item->data[NONCE_SIZE - 1] = '\n';
    memcpy(item->data + NONCE_SIZE, text, size);
    batch_hash(text, size, item->hash);
    item->queued_us = boot_ms(r) * 1000;
    free(text);
    return item;
}

int append_take(struct replicated *r, struct batch *batch)
{
    struct item *item;

    if (!election_takes_appends(r)) {
        batch_free(batch);
        return ERR_DEPOSED;
    }
    if (r->in_flight >= REPLICATED_IN_FLIGHT_MAX || r->in_flight_bytes >= REPLICATED_IN_FLIGHT_BYTES)
        return ERR_LIMIT;
    assert(batch->index == r->next_index + 1);
    assert(strcmp(batch->prev, r->next_hash) == 0);
    assert(batch->epoch == my_epoch(r));
    item = item_new(r, batch);
    batch_free(batch);
    r->next_index = item->index;
    memcpy(r->next_hash, item->hash, sizeof(r->next_hash));
    r->in_flight++;
    r->in_flight_bytes += item->size;
    list_append(&r->queue, &item->link);
    if (may_ask(r))
        append_pump(r); /* no more than that: no event comes from within append */
    return 0;
}

/* ---- acknowledged ---- */

static void acked(struct replicated *r, uint64_t upto)
{
    uint64_t now_us = boot_ms(r) * 1000;

    while (!list_empty(&r->unacked)) {
        struct item *item = LIST_ITEM(r->unacked.next, struct item, link);

        if (item->index > upto)
            break;
        r->status.last_append_us = (int64_t)(now_us - item->queued_us);
        r->status.total_append_us += r->status.last_append_us;
        r->status.appends++;
        r->in_flight--;
        r->in_flight_bytes -= item->size;
        r->log_bytes += item->size;
        item_free(item);
    }
    r->status.acked = r->applied = r->head = upto;
    r->recovered_once = false;
    r->journal.events->acked(r->journal.arg, upto);
}

static void on_appended(void *arg, const struct coord_reply *reply)
{
    struct flight *f = arg;
    struct replicated *r = f->r;
    bool mine = election_leads(r) && f->token == r->token; /* not of a reign that is over */

    list_remove(&f->link);
    r->window--;
    r->window_bytes -= f->bytes;
    if (reply->result == COORD_OK)
        wrote(r, f->sent_ms);
    if (mine) {
        bool done = reply->result == COORD_OK || (reply->result == COORD_LOST && MUTANT(LOST_IS_DONE));

        if (done && r->recovery == RECOVERY_NONE) {
            r->head_version++;
            acked(r, f->last);
        } else {
            if (r->recovery == RECOVERY_NONE && reply->result != COORD_OK && reply->result != COORD_LOST)
                snprintf(r->doubt, sizeof(r->doubt), "%s", reply->text);
            r->recovery = RECOVERY_WANTED;
        }
    }
    free(f);
    replicated_pump(r);
}

/* ---- sending ---- */

static void send_group(struct replicated *r)
{
    static char paths[REPLICATED_GROUP_MAX][COORD_PATH_MAX];
    struct coord_op ops[REPLICATED_GROUP_MAX + 2];
    struct flight *f = alloc_zero(sizeof(*f));
    char head[24];
    size_t n = 0;

    ops[n++] = check_epoch(r);
    while (!list_empty(&r->queue) && n <= REPLICATED_GROUP_MAX) {
        struct item *item = LIST_ITEM(r->queue.next, struct item, link);

        if (n > 1 && f->bytes + item->size > REPLICATED_GROUP_BYTES)
            break;
        ops[n] = (struct coord_op){COORD_CREATE, log_path(item->index, paths[n - 1]), item->data, item->size,
                                   COORD_ANY};
        n++;
        f->bytes += item->size;
        f->last = item->index;
        list_remove(&item->link);
        list_append(&r->unacked, &item->link);
    }
    snprintf(head, sizeof(head), "%" PRIu64, f->last);
    ops[n++] = (struct coord_op){COORD_SET, NODE_HEAD, head, strlen(head), r->next_head_version++};
    f->r = r;
    f->token = r->token;
    f->sent_ms = boot_ms(r);
    list_append(&r->flights, &f->link);
    r->window++;
    r->window_bytes += f->bytes;
    r->coord->ops->multi(r->coord, ops, n, on_appended, f);
    if (MUTANT(ACK_WHEN_SENT))
        acked(r, r->next_index);
}

/* ---- in doubt ---- */

static void resend(struct replicated *r)
{
    /* in order: what was under way goes before what waits */
    while (!list_empty(&r->unacked)) {
        struct item *item = LIST_ITEM(r->unacked.prev, struct item, link);

        list_remove(&item->link);
        list_append(r->queue.next, &item->link); /* before the first */
    }
}

static void recovered(struct replicated *r, uint64_t head, int32_t head_version)
{
    r->recovery = RECOVERY_NONE;
    r->head_version = r->next_head_version = head_version;
    if (head > r->status.acked) {
        acked(r, head);
    } else if (r->doubt[0] && r->recovered_once) {
        election_end(r, "ZooKeeper takes no appends: %s", r->doubt);
        return;
    }
    r->recovered_once = r->doubt[0] != '\0';
    r->doubt[0] = '\0';
    resend(r);
}

static bool recovery_goes_on(struct replicated *r, const struct coord_reply *reply, const char *what)
{
    if (!election_leads(r) || r->recovery != RECOVERY_ASKED)
        return false; /* the reign is over */
    if (reply->result == COORD_OK)
        return true;
    r->recovery = RECOVERY_WANTED;
    if (reply->result != COORD_LOST)
        replicated_odd(r, what, reply);
    return false;
}

static const struct item *unacked_item(const struct replicated *r, uint64_t index)
{
    LIST_EACH(link, &r->unacked)
    {
        const struct item *item = LIST_ITEM(link, struct item, link);

        if (item->index == index)
            return item;
    }
    return NULL;
}

static void on_log_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;
    const struct item *item = unacked_item(r, r->head);

    if (recovery_goes_on(r, reply, "reading what may have been appended")) {
        if (item && reply->size == item->size && memcmp(reply->data, item->data, item->size) == 0)
            recovered(r, r->head, r->head_version);
        else
            election_end(r, "batch %" PRIu64 " in ZooKeeper is another's", r->head);
    }
    replicated_pump(r);
}

static void on_head_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;
    char path[COORD_PATH_MAX];
    uint64_t head;

    if (recovery_goes_on(r, reply, "reading " NODE_HEAD)) {
        head = strtoull(reply->data, NULL, 10);
        if (head < r->status.acked || head > r->next_index) {
            election_end(r, "ZooKeeper's journal ends at %" PRIu64 " where %" PRIu64 " was acknowledged",
                         head, r->status.acked);
        } else if (head == r->status.acked) {
            recovered(r, head, reply->stat.version);
        } else {
            r->head = head;
            r->head_version = reply->stat.version;
            r->coord->ops->get(r->coord, log_path(head, path), false, on_log_read, r);
            return;
        }
    }
    replicated_pump(r);
}

static void on_epoch_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (recovery_goes_on(r, reply, "reading " NODE_EPOCH)) {
        if (reply->stat.version == r->token) {
            r->coord->ops->get(r->coord, NODE_HEAD, false, on_head_read, r);
            return;
        }
        election_end(r, "deposed: epoch %" PRId64 " has another leader", r->epoch_base + reply->stat.version);
    }
    replicated_pump(r);
}

static void on_barrier(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    members_heartbeat_done(r, reply);
    if (recovery_goes_on(r, reply, "writing " NODE_MEMBERS)) {
        r->coord->ops->get(r->coord, NODE_EPOCH, false, on_epoch_read, r);
        return;
    }
    replicated_pump(r);
}

/* A write on the session first: reads after it see all that was committed before it. */
static void recover(struct replicated *r)
{
    r->recovery = RECOVERY_ASKED;
    members_heartbeat(r, on_barrier);
}

void append_pump(struct replicated *r)
{
    if (!election_leads(r))
        return;
    if (r->recovery == RECOVERY_WANTED && list_empty(&r->flights) && r->registered && !r->heartbeat_asked)
        recover(r);
    while (r->recovery == RECOVERY_NONE && !list_empty(&r->queue) && r->window < REPLICATED_WINDOW_MAX &&
           r->window_bytes < REPLICATED_WINDOW_BYTES)
        send_group(r);
}
