/* The journal: what is durable, what is in flight, and snapshots. A batch becomes durable in its order, some
 * time after it was appended; its writer hears of it some time after that. When a leader is deposed, a first part of
 * what was in flight is durable and the rest never will be: the epoch fences it. */
#include "tests/sim/sim.h"

struct appended {
    struct list link;
    struct batch *batch;
    char *text;
    size_t size;
};

struct offer { /* a snapshot that a scheduler gave for an index not yet durable */
    struct list link;
    char *text;
    size_t size;
    uint64_t index;
    int replica;
};

static struct replica *of_journal(struct journal *journal)
{
    return LIST_ITEM(journal, struct replica, journal);
}

static void appended_free(struct world *w, struct appended *a)
{
    list_remove(&a->link);
    w->in_flight_count--;
    batch_free(a->batch);
    free(a->text);
    free(a);
}

static void offer_free(struct offer *o)
{
    list_remove(&o->link);
    free(o->text);
    free(o);
}

static int journal_append(struct journal *journal, struct batch *batch)
{
    struct replica *r = of_journal(journal);
    struct world *w = r->world;
    struct appended *a;

    if (r->core)
        return r->core->ops->append(r->core, batch);
    if (w->leader != r->number || r->epoch != w->epoch) { /* fenced; it will be told */
        tell(w, "r%d appends batch %llu in vain", r->number, (unsigned long long)batch->index);
        batch_free(batch);
        return ERR_DEPOSED;
    }
    if (batch->index != w->batch_count + w->in_flight_count + 1)
        violation(w, "r%d appends batch %llu after %zu", r->number, (unsigned long long)batch->index,
                  w->batch_count + w->in_flight_count);
    a = alloc_zero(sizeof(*a));
    a->text = batch_encode(batch, &a->size);
    a->batch = batch;
    tell(w, "r%d append %s", r->number, a->text);
    list_append(&w->in_flight, &a->link);
    w->in_flight_count++;
    plan(w, EVENT_COMMIT, often_short(w, 12, 2000))->index = (uint64_t)w->epoch;
    return 0;
}

/* The snapshot and the batches after it must give the state that all batches give. */
static void snapshot_judge(struct world *w, const struct offer *o)
{
    struct state state;
    struct error error = {0};
    char *here, *there;
    size_t here_size, there_size;
    int rc;

    state_init(&state);
    rc = state_decode(&state, o->text, o->size, &error);
    for (uint64_t i = o->index; i < w->batch_count && rc == 0; i++) {
        struct batch *b = NULL;

        rc = batch_decode(&b, w->batches[i].text, w->batches[i].size, &error);
        rc = rc < 0 ? rc : state_apply(&state, b, w->batches[i].text, w->batches[i].size, NULL, &error);
        batch_free(b);
    }
    here = state_encode(&w->shadow, &here_size);
    there = state_encode(&state, &there_size);
    if (rc < 0 || here_size != there_size || memcmp(here, there, here_size) != 0)
        violation(w, "r%d: the snapshot at %llu is not what the journal folds to: %s", o->replica,
                  (unsigned long long)o->index, rc < 0 ? error.text : "other text");
    free(here);
    free(there);
    state_release(&state);
}

static void snapshot_durable(struct world *w, struct offer *o)
{
    if (o->index >= w->base)
        snapshot_judge(w, o);
    if (o->index > w->snapshot_index) {
        free(w->snapshot);
        w->snapshot = o->text;
        w->snapshot_size = o->size;
        w->snapshot_index = o->index;
        o->text = NULL;
        tell(w, "snapshot at %llu", (unsigned long long)w->snapshot_index);
    }
    offer_free(o);
}

static void journal_snapshot(struct journal *journal, char *text, size_t size, uint64_t index, int level)
{
    struct replica *r = of_journal(journal);
    struct world *w = r->world;
    struct offer *o;

    if (r->core) {
        char *copy = alloc_zero(size + 1);

        memcpy(copy, text, size);
        r->core->ops->snapshot(r->core, copy, size, index, level);
    } else if (w->leader != r->number || r->epoch != w->epoch) {
        free(text);
        return;
    }
    o = alloc_zero(sizeof(*o));
    *o = (struct offer){.text = text, .size = size, .index = index, .replica = r->number};
    list_append(&w->offered, &o->link);
    if (index <= w->batch_count)
        snapshot_durable(w, o);
}

/* Without a core it never knows better. */
static bool journal_may_act(const struct journal *journal)
{
    const struct journal *core = of_journal((struct journal *)(uintptr_t)journal)->core;

    return !core || core->ops->may_act(core);
}

static void journal_status(const struct journal *journal, struct journal_status *ret)
{
    const struct journal *core = of_journal((struct journal *)(uintptr_t)journal)->core;

    if (core)
        core->ops->status(core, ret);
    else
        *ret = (struct journal_status){.leading = true, .level = RECORD_LEVEL};
}

void journal_table(struct replica *r)
{
    static const struct journal_ops ops = {.append = journal_append,
                                           .snapshot = journal_snapshot,
                                           .may_act = journal_may_act,
                                           .status = journal_status};

    r->journal.ops = &ops;
}

void journal_init(struct world *w)
{
    list_init(&w->in_flight);
    list_init(&w->offered);
    state_init(&w->shadow);
    zones_init(&w->told_zones, w->zoneinfo, 0);
}

/* ---- durable ---- */

void journal_note(struct world *w, char *text, size_t size)
{
    if (w->batch_count == w->batch_max) {
        w->batch_max = w->batch_max ? 2 * w->batch_max : 64;
        w->batches = alloc_resize(w->batches, w->batch_max * sizeof(*w->batches));
    }
    w->batches[w->batch_count++] = (struct batch_note){.text = text, .size = size};
}

void journal_durable(struct world *w, char *text, size_t size)
{
    struct error error = {0};
    struct batch *b;

    if (batch_decode(&b, text, size, &error) < 0) { /* what is read is judged, not what was meant */
        violation(w, "batch %zu cannot be read: %s", w->batch_count + 1, error.text);
        free(text);
        return;
    }
    journal_note(w, text, size);
    monitor_batch(w, b, text, size);
    batch_free(b);
    LIST_EACH_SAFE(link, &w->offered)
    {
        struct offer *o = LIST_ITEM(link, struct offer, link);

        if (o->index <= w->batch_count)
            snapshot_durable(w, o);
    }
}

void journal_forget_offers(struct world *w, int replica)
{
    LIST_EACH_SAFE(link, &w->offered)
    {
        struct offer *o = LIST_ITEM(link, struct offer, link);

        if (o->replica == replica)
            offer_free(o);
    }
}

void journal_commit_one(struct world *w)
{
    struct appended *a = LIST_ITEM(w->in_flight.next, struct appended, link);
    struct replica *writer = &w->replicas[w->leader];
    char *text = a->text;
    size_t size = a->size;

    a->text = NULL;
    appended_free(w, a);
    journal_durable(w, text, size);
    if (writer->scheduler) {
        writer->fed = w->batch_count;
        plan_for(writer, EVENT_ACK, often_short(w, 4, 3000))->index = w->batch_count;
    }
    for (int i = 0; i < w->replica_count; i++) {
        struct replica *r = &w->replicas[i];

        if (r != writer && r->scheduler && !scheduler_leading(r->scheduler) &&
            r->frozen_until_ms <= w->now_ms && chance(w, 300)) {
            if (r->stale)
                replica_restore(r);
            replica_feed(r, w->batch_count);
        }
    }
}

void journal_end_epoch(struct world *w)
{
    int64_t keep = between(w, 0, (int64_t)w->in_flight_count);

    tell(w, "of %zu batches in flight %lld become durable", w->in_flight_count, (long long)keep);
    for (; keep > 0 && !w->failures; keep--)
        journal_commit_one(w);
    while (!list_empty(&w->in_flight))
        appended_free(w, LIST_ITEM(w->in_flight.next, struct appended, link));
    while (!list_empty(&w->offered))
        offer_free(LIST_ITEM(w->offered.next, struct offer, link));
}

void journal_release(struct world *w)
{
    while (!list_empty(&w->in_flight))
        appended_free(w, LIST_ITEM(w->in_flight.next, struct appended, link));
    while (!list_empty(&w->offered))
        offer_free(LIST_ITEM(w->offered.next, struct offer, link));
    for (size_t i = 0; i < w->batch_count; i++)
        free(w->batches[i].text);
    free(w->batches);
    free(w->snapshot);
    state_release(&w->shadow);
}
