/* A turn: its clock, its records and their batch, and which jobs and runs to reconcile when. All other files
 * of the scheduler use this one, and it uses none of them.
 *
 * Each entry reads the clock, then appends records to the batch of this turn; flush hands the batch to the
 * journal. When the batch is durable, turn_acked wakes the runs that it touched and gives history its part.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define BATCH_TIME_MS 1000 /* by so much the clock may move while a batch is begun */

/* ---- log and clock ---- */

void turn_log(struct scheduler *s, enum log_level level, const char *event, const struct run *r,
              const char *format, ...)
{
    struct error said = {0};
    va_list ap;

    va_start(ap, format);
    error_setv(&said, 0, format, ap);
    va_end(ap);
    if (r)
        s->o.env->log(s->o.env, level, event, r->job->name, r->id, said.text);
    else
        s->o.env->log(s->o.env, level, event, NULL, NULL, said.text);
}

void turn_enter(struct scheduler *s)
{
    int64_t wall = s->o.env->wall_ms(s->o.env);

    invariant_turn(s);
    if (s->leading && s->now_ms - wall > CLOCK_SET_BACK_MS)
        s->set_back = true;
    if (wall > s->now_ms || !s->leading || s->set_back)
        s->now_ms = wall;
    assert(s->now_ms >= wall);
}

/* ---- records of this turn ---- */

uint64_t turn_index(const struct scheduler *s)
{
    assert(!s->batch || s->batch->count > 0);
    return s->state.index + (s->batch ? 1 : 0);
}

/* A journal that takes less than is usual: a quarter of it leaves room for one more record of nearly any size. */
static bool batch_full(const struct scheduler *s)
{
    size_t most = s->journal->batch_bytes, usual = s->journal->batch_bytes_usual;

    assert(s->batch->count > 0);
    return !batch_fits(s->batch, JOB_BYTES_MAX + TEXT_FIELD_MAX) || (most && s->batch->bytes >= most / 4) ||
           (usual && s->batch->bytes >= usual);
}

/* All its records are of the time that it bears, about: between two entries of one turn the clock may be set, or one that
 * was doubted be believed. */
static bool batch_old(const struct scheduler *s)
{
    int64_t since_ms = s->now_ms - s->batch->time_ms;

    assert(s->batch->epoch == s->epoch);
    return since_ms > BATCH_TIME_MS || since_ms < -BATCH_TIME_MS;
}

struct record *turn_record(struct scheduler *s, enum record_kind kind)
{
    assert(s->leading);
    if (s->batch && (batch_full(s) || batch_old(s)))
        scheduler_flush(s);
    if (!s->batch) {
        s->batch = batch_new(s->epoch, s->now_ms);
        s->batch->index = s->state.index + 1;
        memcpy(s->batch->prev, s->state.hash, sizeof(s->batch->prev));
    }
    assert(s->batch->index == s->state.index + 1);
    s->record_count++;
    return batch_add(s->batch, kind);
}

void turn_commit(struct scheduler *s, struct record *r)
{
    struct error error = {0};
    struct run *run;

    assert(r == &s->batch->records[s->batch->count - 1]);
    if (state_apply_record(&s->state, s->batch, r, &error) < 0) {
        /* the leader wrote an invalid record: nothing may follow it */
        turn_log(s, LOG_ERROR, "bug", NULL, "%s", error.text);
        abort();
    }
    run = RECORD_HAS(r, run) ? state_run(&s->state, r->run) : NULL;
    if (run && !list_empty(&run->dirty)) /* a note changes nothing of it, and its ack wakes nobody */
        run->live.index = s->batch->index;
}

struct record *turn_record_about(struct scheduler *s, enum record_kind kind, const struct run *r)
{
    struct record *rec = turn_record(s, kind);

    assert(r->attempt_count > 0);
    PUT_TEXT(s, rec, run, r->id);
    PUT_INT(s, rec, attempt, r->attempts[r->attempt_count - 1].number);
    return rec;
}

void turn_record_text(struct scheduler *s, enum record_kind kind, struct run *r, const char *text)
{
    struct record *rec = turn_record_about(s, kind, r);

    assert(kind == RECORD_UNKNOWN || kind == RECORD_UNRESOLVED);
    PUT_TEXT(s, rec, text, text ? text : "");
    turn_commit(s, rec);
}

void turn_note(struct scheduler *s, const char *run, const char *text)
{
    struct record *rec = turn_record(s, RECORD_NOTE);

    PUT_TEXT(s, rec, run, run);
    PUT_TEXT(s, rec, text, text);
    turn_commit(s, rec);
}

static void pending_batch_free(struct pending_batch *f)
{
    list_remove(&f->all);
    for (size_t i = 0; i < f->run_count; i++)
        free(f->runs[i]);
    free(f->runs);
    history_write_free(f->write);
    free(f);
}

static void pending_batch_add_run(struct pending_batch *f, const struct run *r)
{
    assert(r->live.index == f->index);
    if ((f->run_count & (f->run_count - 1)) == 0)
        f->runs = alloc_resize(f->runs, (f->run_count ? f->run_count * 2 : 1) * sizeof(char *));
    f->runs[f->run_count++] = alloc_text(r->id);
}

/* ---- snapshots ---- */

static void snapshot_drop(struct scheduler *s)
{
    free(s->snapshot);
    s->snapshot = NULL;
}

/* A restart reads the batches after the snapshot and gives them to history, so a snapshot may not be ahead of
 * what history holds durably: it waits here until it is not. A journal that several replicas share cannot wait for
 * ever for the history of one: that one copies what it lacks from another. */
static bool snapshot_waits(const struct scheduler *s)
{
    struct journal_status status;

    assert(s->snapshot);
    if (!s->o.history || s->o.history->ops->applied(s->o.history) >= s->snapshot_index)
        return false;
    s->journal->ops->status(s->journal, &status);
    return !status.snapshot_urgent;
}

static void snapshot_give(struct scheduler *s)
{
    char *text = s->snapshot;

    assert(s->snapshot_index <= s->state.index);
    if (!text || snapshot_waits(s))
        return;
    s->snapshot = NULL;
    s->journal->ops->snapshot(s->journal, text, s->state_bytes, s->snapshot_index, s->snapshot_level);
}

/* ---- texts of the state ---- */

static void state_hash_acked(struct scheduler *s)
{
    if (s->hash_ahead.index && s->hash_ahead.index <= s->acked) {
        s->hash = s->hash_ahead;
        s->hash_ahead.index = 0;
    }
}

static size_t image_items(const struct scheduler *s)
{
    return s->o.image_items ? s->o.image_items : STATE_IMAGE_ITEMS;
}

static void step_snapshot(struct scheduler *s)
{
    struct state_image *image = s->snapshot_image;

    if (!image || !state_image_step(image, image_items(s)))
        return;
    assert(!s->snapshot && state_image_index(image) == s->snapshot_index);
    s->snapshot = state_image_text(image, &s->state_bytes);
    s->snapshot_level = state_image_level(image);
    state_image_free(image);
    s->snapshot_image = NULL;
    snapshot_give(s);
}

static void step_hash(struct scheduler *s)
{
    struct state_image *image = s->hash_image;

    if (!image || !state_image_step(image, image_items(s)))
        return;
    s->hash_ahead.index = state_image_index(image);
    state_image_hash(image, s->hash_ahead.text);
    state_image_free(image);
    s->hash_image = NULL;
    assert(s->hash_ahead.index <= s->state.index);
    state_hash_acked(s);
}

bool turn_images(struct scheduler *s)
{
    step_snapshot(s);
    step_hash(s);
    return s->snapshot_image || s->hash_image;
}

void turn_images_drop(struct scheduler *s)
{
    state_image_free(s->snapshot_image);
    state_image_free(s->hash_image);
    s->snapshot_image = s->hash_image = NULL;
    assert(!s->state.images[STATE_IMAGE_SNAPSHOT] && !s->state.images[STATE_IMAGE_HASH]);
}

/* A large state is written again only after as many bytes as a quarter of its own; sooner where what is behind it stays
 * in the memory of each of ZooKeeper's servers, and where of a snapshot no more is written than what has changed. */
static size_t snapshot_every_bytes(const struct scheduler *s)
{
    size_t bytes = s->o.snapshot_every_bytes ? s->o.snapshot_every_bytes : SNAPSHOT_EVERY_BYTES;
    size_t quarter = s->state_bytes / 4;
    struct journal_status status = {0};

    if (quarter <= bytes)
        return bytes;
    s->journal->ops->status(s->journal, &status);
    return status.log_bytes_most && quarter > status.log_bytes_most / 3 ? status.log_bytes_most / 3 : quarter;
}

/* By their number or their bytes, whichever comes first. */
static bool snapshot_is_due(const struct scheduler *s)
{
    size_t bytes = snapshot_every_bytes(s);

    assert(s->snapshot_index <= s->state.index);
    return s->state.index >= s->snapshot_index + s->o.snapshot_every || s->behind_bytes >= bytes;
}

static void snapshot_maybe(struct scheduler *s)
{
    assert(s->leading);
    snapshot_give(s);
    if (s->snapshot || s->snapshot_image || !snapshot_is_due(s))
        return;
    s->snapshot_index = s->state.index;
    s->behind_bytes = 0;
    s->snapshot_image = state_image_begin(&s->state, STATE_IMAGE_SNAPSHOT);
    step_snapshot(s); /* what is small is whole at once, or nearly */
}

/* While one is still in the making the next is left out: it is compared at the indexes that two replicas have. */
static void state_hash_maybe(struct scheduler *s)
{
    bool large = s->state.job_count + s->state.run_count > STATE_LARGE;

    assert(s->state.index > 0);
    if (s->hash_image || s->state.index % (large ? STATE_HASH_EVERY_LARGE : STATE_HASH_EVERY) != 0)
        return;
    s->hash_image = state_image_begin(&s->state, STATE_IMAGE_HASH);
    step_hash(s);
}

const char *scheduler_state_hash(const struct scheduler *s, uint64_t *ret_index)
{
    assert(!s->hash.index == !s->hash.text[0]);
    *ret_index = s->hash.index;
    return s->hash.index ? s->hash.text : NULL;
}

/* ---- to the journal and back ---- */

static void fault_kinds(const char *point, uint64_t kinds)
{
    for (int k = 0; k < RECORD_KIND_COUNT; k++)
        if (kinds >> k & 1)
            FAULT_POINT(point, record_kind_name(k));
    (void)point; /* without CRONSCHED_FAULTS the points are nothing */
}

void scheduler_flush(struct scheduler *s)
{
    struct batch *b = s->batch;
    struct pending_batch *f;
    size_t size;
    char *text;

    if (!b)
        return;
    assert(s->leading && b->count > 0 && b->index > s->acked);
    s->batch = NULL;
    f = alloc_zero(sizeof(*f));
    f->index = b->index;
    LIST_EACH(link, &s->state.dirty)
    {
        struct run *r = LIST_ITEM(link, struct run, dirty);

        r->live.index = b->index;
        pending_batch_add_run(f, r);
    }
    text = batch_encode(b, &size);
    s->behind_bytes += size;
    state_finish_batch(&s->state, b, text, size, &f->write);
    free(text);
    list_append(&s->pending_batches, &f->all);
    s->pending_batch_count++;
    for (size_t i = 0; i < b->count; i++)
        f->kinds |= UINT64_C(1) << b->records[i].kind;
    fault_kinds("append", f->kinds);
    if (s->journal->ops->append(s->journal, b) == ERR_LIMIT) {
        /* work pauses long before that many are in flight, so this is a bug; a restart goes on from the
         * journal */
        turn_log(s, LOG_ERROR, "bug", NULL, "too many batches are being appended to the journal");
        abort();
    }
    state_hash_maybe(s);
    snapshot_maybe(s);
}

void turn_hash(struct scheduler *s)
{
    assert(!s->leading);
    state_hash_maybe(s);
    state_hash_acked(s);
}

void turn_acked(struct scheduler *s, uint64_t index)
{
    assert(index <= s->state.index);
    s->acked = index;
    while (!list_empty(&s->pending_batches)) {
        struct pending_batch *f = LIST_ITEM(s->pending_batches.next, struct pending_batch, all);

        if (f->index > index)
            break;
        fault_kinds("acked", f->kinds);
        for (size_t i = 0; i < f->run_count; i++) {
            struct run *r = state_run(&s->state, f->runs[i]);

            if (r)
                turn_wake_run(s, r, s->now_ms);
        }
        if (s->o.env->durable && f->write)
            s->o.env->durable(s->o.env, f->write);
        if (s->o.env->seen && f->write)
            s->o.env->seen(s->o.env, f->write);
        if (s->o.history) {
            s->o.history->ops->write(s->o.history, f->write);
            f->write = NULL;
        }
        assert(s->pending_batch_count > 0);
        s->pending_batch_count--;
        pending_batch_free(f);
    }
    state_hash_acked(s);
    snapshot_give(s);
}

void turn_drop(struct scheduler *s)
{
    s->hash_ahead.index = 0;
    turn_images_drop(s);
    snapshot_drop(s);
    batch_free(s->batch);
    s->batch = NULL;
    while (!list_empty(&s->pending_batches))
        pending_batch_free(LIST_ITEM(s->pending_batches.next, struct pending_batch, all));
    s->pending_batch_count = 0;
    assert(!s->snapshot && !s->batch);
}

void turn_clients_wait_for(struct scheduler *s, uint64_t index)
{
    assert(index != SCHEDULER_INDEX_LATER);
    LIST_EACH(link, &s->waiters)
    {
        struct waiter *w = LIST_ITEM(link, struct waiter, all);

        if (w->index == SCHEDULER_INDEX_LATER)
            w->index = index;
    }
}

size_t turn_walk_items(const struct scheduler *s)
{
    return s->o.walk_items ? s->o.walk_items : LOOKED_AT_PER_STEP;
}

/* ---- when to look again ---- */

void turn_wake_job(struct scheduler *s, struct job_state *j, int64_t at_ms)
{
    assert(s->leading);
    if (j->live.timer.slot == 0 || at_ms < j->live.timer.at)
        heap_set(&s->job_timers, &j->live.timer, at_ms);
}

void turn_wake_job_later(struct scheduler *s, struct job_state *j)
{
    assert(s->leading);
    list_remove(&j->live.later);
    list_append(&s->later, &j->live.later);
}

void turn_wake_run(struct scheduler *s, struct run *r, int64_t at_ms)
{
    assert(s->leading); /* an ended run may still be woken, until its batch is finished */
    if (r->live.timer.slot == 0 || at_ms < r->live.timer.at)
        heap_set(&s->run_timers, &r->live.timer, at_ms);
}
