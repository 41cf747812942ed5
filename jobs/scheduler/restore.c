/* The journal's past: a snapshot, and the batches of others after it, become the state.
 *
 * A large snapshot is decoded in steps, beside the state that there was. Meanwhile the journal goes on: its batches wait until
 * their turn comes, and so does the lead. They are what the journal holds behind its snapshot, which is bounded by
 * when the next one is made (turn.c). They also wait while what a large apply replaced is being freed.
 *
 * Failure: what cannot be read ends the process. Going on with half a state would double and lose runs.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdlib.h>

#define AT_ONCE_BYTES    (64 * 1024)  /* of a snapshot; a larger one is decoded in steps */
#define DECODED_PER_STEP 256          /* jobs, or other items: some milliseconds */
#define BATCHES_PER_STEP 64           /* that have waited; fewer when they are large: */
#define BYTES_PER_STEP   (256 * 1024) /* until so many */

struct later {
    struct list all;
    char *text;
    size_t size;
};

struct restore {
    struct state state;
    struct state_decoder *decoder; /* NULL: it is decoded, and in force */
    char *text;
    size_t size;
    uint64_t index;
    struct list later;
};

/* ---- the state in force ---- */

/* What the scheduler has of the old one's jobs and runs ends now, which is soon done; they are freed in later turns. */
static void put_away(struct scheduler *s)
{
    struct job_state *j, *next_job;
    struct run *r, *next_run;

    HASH_ITER(by_id, s->state.runs, r, next_run)
    {
        s->state.run_gone(s, r);
    }
    LIST_EACH(link, &s->state.ended)
    {
        s->state.run_gone(s, LIST_ITEM(link, struct run, dirty));
    }
    HASH_ITER(by_name, s->state.jobs, j, next_job)
    {
        s->state.job_gone(s, j);
    }
    restore_free_old(s, SIZE_MAX);
    s->old_state = alloc_zero(sizeof(*s->old_state));
    state_move(s->old_state, &s->state);
    s->old_state->run_gone = NULL;
    s->old_state->job_gone = NULL;
}

/* `from` is given away. */
static void put_in_force(struct scheduler *s, struct state *from, size_t size, uint64_t index)
{
    const struct state had = s->state;

    assert(!s->leading);
    turn_images_drop(s);
    s->stall = (struct stall_look){0};
    if (s->have_state)
        put_away(s);
    state_move(&s->state, from);
    s->state.run_gone = had.run_gone;
    s->state.job_changed = had.job_changed;
    s->state.job_gone = had.job_gone;
    s->state.arg = s;
    s->have_state = true;
    s->handed_over = false;
    s->snapshot_index = s->acked = index;
    s->behind_bytes = 0;
    s->state_bytes = size;
    if (s->state.index != index) {
        turn_log(s, LOG_ERROR, "snapshot-unreadable", NULL, "it is of index %llu, and was kept as of %llu",
                 (unsigned long long)s->state.index, (unsigned long long)index);
        abort();
    }
}

bool restore_free_old(struct scheduler *s, size_t items)
{
    if (!s->old_state || state_release_some(s->old_state, items))
        return s->old_state != NULL;
    state_release(s->old_state);
    free(s->old_state);
    s->old_state = NULL;
    return false;
}

/* ---- batches ---- */

static void apply(struct scheduler *s, const struct batch *batch, const char *text, size_t size)
{
    struct history_write *write = NULL;
    struct error error = {0};

    if (state_apply(&s->state, batch, text, size, &write, &error) < 0) {
        turn_log(s, LOG_ERROR, "journal-unreadable", NULL, "%s", error.text);
        abort();
    }
    s->handed_over = takeover_follows_yield(batch, s->handed_over);
    s->acked = batch->index;
    s->behind_bytes += size;
    turn_hash(s);
    if (s->o.env->seen)
        s->o.env->seen(s->o.env, write);
    if (s->o.history && batch->index > s->o.history->ops->applied(s->o.history))
        s->o.history->ops->write(s->o.history, write);
    else
        history_write_free(write);
}

static struct restore *restore_new(size_t size, uint64_t index)
{
    struct restore *p = alloc_zero(sizeof(*p));

    list_init(&p->later);
    p->size = size;
    p->index = index;
    return p;
}

static void put_off(struct restore *p, const char *text, size_t size)
{
    struct later *l = alloc_zero(sizeof(*l));

    l->text = alloc_zero(size + 1);
    memcpy(l->text, text, size);
    l->size = size;
    list_append(&p->later, &l->all);
}

void restore_batch(struct scheduler *s, const struct batch *batch, const char *text, size_t size)
{
    assert(!s->leading && !s->batch);
    if (!s->restore && s->state.spent_part_count > FREED_PER_STEP)
        s->restore =
            restore_new(0, 0); /* another large apply would free what is left of the last one at once */
    if (s->restore)
        put_off(s->restore, text, size);
    else
        apply(s, batch, text, size);
}

static void later_free(struct later *l)
{
    list_remove(&l->all);
    free(l->text);
    free(l);
}

static void apply_later(struct scheduler *s)
{
    struct restore *p = s->restore;
    size_t bytes = 0;

    for (int left = BATCHES_PER_STEP; !list_empty(&p->later) && left > 0 && bytes < BYTES_PER_STEP &&
                                      s->state.spent_part_count <= FREED_PER_STEP;
         left--) {
        struct later *l = LIST_ITEM(p->later.next, struct later, all);
        struct error error = {0};
        struct batch *batch;

        if (batch_decode(&batch, l->text, l->size, &error) < 0) {
            turn_log(s, LOG_ERROR, "journal-unreadable", NULL, "%s", error.text);
            abort();
        }
        apply(s, batch, l->text, l->size);
        bytes += l->size;
        batch_free(batch);
        later_free(l);
    }
    if (list_empty(&p->later))
        restore_drop(s);
}

/* ---- a snapshot ---- */

/* True: it is decoded, and in force. */
static bool decode_some(struct scheduler *s, size_t items)
{
    struct restore *p = s->restore;
    struct error error = {0};
    int rc = state_decoder_step(p->decoder, items, &error);

    if (rc < 0) {
        turn_log(s, LOG_ERROR, "snapshot-unreadable", NULL, "%s", error.text);
        abort();
    }
    if (rc > 0)
        return false;
    state_decoder_free(p->decoder);
    p->decoder = NULL;
    free(p->text);
    p->text = NULL;
    put_in_force(s, &p->state, p->size, p->index);
    return true;
}

void restore_begin(struct scheduler *s, const char *text, size_t size, uint64_t index)
{
    struct restore *p = restore_new(size, index);

    restore_drop(s);
    state_init(&p->state);
    s->restore = p;
    if (!text) {
        put_in_force(s, &p->state, size, index);
        restore_drop(s);
        return;
    }
    p->text = alloc_zero(size + 1);
    memcpy(p->text, text, size);
    p->decoder = state_decoder_new(&p->state, p->text, size);
    if (size <= AT_ONCE_BYTES) {
        while (!decode_some(s, SIZE_MAX))
            ;
        restore_drop(s);
    }
}

void restore_step(struct scheduler *s)
{
    if (s->restore && s->restore->decoder)
        decode_some(s, DECODED_PER_STEP);
    else if (s->restore && !state_free_spent(&s->state, FREED_PER_STEP))
        apply_later(s);
}

bool restore_of_snapshot(const struct scheduler *s)
{
    return s->restore && s->restore->index > 0;
}

bool restore_goes_on(const struct scheduler *s)
{
    return s->restore != NULL;
}

void restore_drop(struct scheduler *s)
{
    struct restore *p = s->restore;

    s->restore = NULL;
    if (!p)
        return;
    LIST_EACH_SAFE(link, &p->later)
    {
        later_free(LIST_ITEM(link, struct later, all));
    }
    if (p->decoder)
        state_release(&p->state);
    state_decoder_free(p->decoder);
    free(p->text);
    free(p);
}
