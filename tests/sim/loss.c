/* A journal that went back, and goes on from there because a person said so. What was committed since is gone, and what
 * was started then is not: nothing of that time may be started again.
 *
 * In worlds with the sim's own journal it is put back to a prefix, and all processes begin again. In worlds with an
 * ensemble the person uses the program's own recovery, on the tree that went back, from the state that it holds or from
 * what one of them holds.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#define MARGIN_MS 5000 /* two clocks that are fit may be so far apart */

/* ---- of both kinds ---- */

static void goes_on(struct world *w, const char *text, size_t size, int64_t until_ms)
{
    struct error error = {0};

    state_release(&w->shadow);
    state_init(&w->shadow);
    if (state_decode(&w->shadow, text, size, &error) < 0)
        violation(w, "the journal goes on from a state that cannot be read: %s", error.text);
    w->lost_from_ms = w->shadow.time_ms;
    w->lost_until_ms = until_ms;
    w->recovery_pending = true;
    tell(w, "the journal GOES ON from batch %llu, of +%.3f s", (unsigned long long)w->shadow.index,
         (double)(w->shadow.time_ms - START_MS) / 1000);
    monitor_begin_anew(w, until_ms);
}

static void cut_batches(struct world *w, size_t count)
{
    while (w->batch_count > count)
        free(w->batches[--w->batch_count].text);
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].told > count || w->replicas[i].kept > count)
            w->replicas[i].told = w->replicas[i].kept = count; /* as history does, when it hears of it */
}

/* ---- the sim's own journal ---- */

/* The state after so many batches, as a snapshot. */
static char *state_at_batch(struct world *w, size_t count, size_t *ret_size)
{
    struct state state;
    struct error error = {0};
    char *text;

    state_init(&state);
    for (size_t i = 0; i < count; i++) {
        const struct batch_note *n = &w->batches[i];
        struct batch *b = NULL;

        if (batch_decode(&b, n->text, n->size, &error) < 0 ||
            state_apply(&state, b, n->text, n->size, NULL, &error) < 0)
            violation(w, "batch %zu cannot be applied again: %s", i + 1, error.text);
        batch_free(b);
    }
    text = state_encode(&state, ret_size);
    state_release(&state);
    return text;
}

void loss_begin(struct world *w)
{
    size_t count, size;
    char *text;

    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].scheduler)
            replica_crash(&w->replicas[i]);
    if (w->failures)
        return;
    w->losses++;
    clocks_right(w);
    count = (size_t)between(w, (int64_t)w->batch_count / 2, (int64_t)w->batch_count);
    count = count > 0 ? count : w->batch_count;
    text = state_at_batch(w, count, &size);
    cut_batches(w, count);
    if (w->snapshot_index > count) {
        free(w->snapshot);
        w->snapshot = NULL;
        w->snapshot_index = 0;
    }
    w->recover_ms = (w->furthest_ms > w->now_ms ? w->furthest_ms : w->now_ms) + MARGIN_MS +
                    often_short(w, 20000, 120000);
    goes_on(w, text, size, w->recover_ms);
    free(text);
}

void loss_tell(struct replica *r)
{
    struct journal_recovery recovery = {r->world->lost_from_ms, r->world->lost_until_ms, "somebody"};

    if (r->world->recovery_pending)
        scheduler_journal_events.recovered(r->scheduler, &recovery);
}

/* ---- the shipped one ---- */

char *loss_state(struct replica *r, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                 int64_t *ret_time_ms)
{
    char *text = r->scheduler
                     ? scheduler_state_text(r->scheduler, index, hash, ret_size, ret_level, ret_time_ms)
                     : NULL;

    free(r->recovery);
    r->recovery = text ? alloc_text(text) : NULL;
    r->recovery_size = text ? *ret_size : 0;
    snprintf(r->recovery_hash, sizeof(r->recovery_hash), "%s", hash);
    return text;
}

/* Batches up to the new base that nobody has are without a text. */
void loss_look(struct world *w, const struct znode_version *v)
{
    json_t *o = json_loadb(v->data, v->size, 0, NULL);
    uint64_t index = (uint64_t)json_integer_value(json_object_get(o, "index"));
    int64_t until_ms = json_integer_value(json_object_get(o, "until_ms"));
    const char *hash = json_string_value(json_object_get(o, "hash"));
    const struct replica *from = NULL;

    for (int i = 0; i < w->replica_count && hash; i++)
        if (w->replicas[i].recovery && strcmp(w->replicas[i].recovery_hash, hash) == 0)
            from = &w->replicas[i];
    if (index > w->base && !from) {
        violation(w, "the journal goes on at %llu from a state that nobody gave", (unsigned long long)index);
    } else if (index > w->base) {
        w->recoveries++;
        cut_batches(w, index);
        while (w->batch_count < index)
            journal_note(w, NULL, 0);
        w->base = index;
        goes_on(w, from->recovery, from->recovery_size, until_ms);
        znodes_copy_free(w->right_tree);
        w->right_tree = NULL;
    }
    json_decref(o);
}

static void on_recovered(void *arg, const struct error *error)
{
    struct replica *r = arg;

    r->recovering = false;
    if (error)
        tell(r->world, "r%d has not recovered: %s", r->number, error->text);
}

static bool somebody_refuses(const struct world *w)
{
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].core && replicated_view(w->replicas[i].core)->standing == REPLICATED_REFUSING)
            return true;
    return false;
}

static bool all_are_there(const struct world *w)
{
    for (int i = 0; i < w->replica_count; i++) {
        const struct replica *r = &w->replicas[i];

        if (!r->core || r->recovering || r->frozen_until_ms > w->now_ms ||
            !replicated_view(r->core)->connected || replicated_view(r->core)->member_count < REPLICAS)
            return false;
    }
    return true;
}

/* The person waits until both are there, and until what is lost lies in the past by every clock. */
void loss_recover(struct world *w)
{
    struct replica *r = &w->replicas[draw(w) % (uint64_t)w->replica_count];
    struct replicated_recovery how = {.from_here = chance(w, 500), .by = "somebody"};
    struct error error = {0};

    clocks_right(w);
    if (w->right_tree && chance(w, 80)) {
        ensemble_on_right(
            w); /* a better backup was found; after an emptying nobody may have a state to go on from */
        return;
    }
    if (w->now_ms > w->furthest_ms + MARGIN_MS && all_are_there(w) &&
        replicated_view(r->core)->standing == REPLICATED_REFUSING) {
        r->recovering = true;
        tell(w, "somebody has r%d recover, from what %s holds", r->number,
             how.from_here ? "it" : "ZooKeeper");
        if (replicated_recover(r->core, &how, on_recovered, r, &error) < 0) {
            tell(w, "r%d does not recover: %s", r->number, error.text);
            r->recovering = false;
        }
    }
    if (w->right_tree || somebody_refuses(w))
        plan(w, EVENT_RECOVER, between(w, 1000, 8000));
}
