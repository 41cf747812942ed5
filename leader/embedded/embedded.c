/* Happy path: open verifies the file; the loop's first turn reads the snapshot (restore) and the batches
 * after it (batch...), makes a new epoch durable (lead). append encodes and queues; while anything is queued
 * and no work is under way, a group of it is written in one transaction (acked). A snapshot waits its turn in
 * the same queue.
 *
 * A write fails (disk full, I/O error): nothing is known about its group, so everything in flight is void:
 * deposed, once. After a back-off the file is opened again and a new epoch is written, which is the probe;
 * when that succeeds the file says what was kept: restore, batch..., lead. When it fails, status.text says
 * why, and the back-off grows. A failure before the first lead is only told by status.text: there is nothing
 * to void. close while appends are queued writes them and acks them first; when that fails: deposed, then
 * done.
 *
 * A failure that is final (ERR_DEPOSED: the files are not ours any more) ends in `lost`: only close is left. The
 * watch looks at the files from a thread of its own; a failure that it finds while a piece of work is under way is
 * an alarm, which is attended to when that work is done.
 *
 * What to do next is decided in one place, next_step; what the thread does for it is in journal_db.c.
 */
#include "leader/embedded/embedded.h"

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/embedded/journal_db.h"
#include "leader/embedded/journal_watch.h"
#include "leader/worker/loop.h"
#include "leader/worker/worker.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

enum step {
    STEP_NONE,
    STEP_REOPEN, /* after a failure; with the claim of an epoch as its probe */
    STEP_READ_SNAPSHOT,
    STEP_READ,
    STEP_CLAIM,
    STEP_WRITE,
    STEP_SNAPSHOT,
    STEP_CLOSE,
    STEP_COUNT
};

/* Something queued: a batch as it will be stored, or a snapshot. */
struct item {
    struct list link;
    bool snapshot;
    uint64_t index;
    int64_t epoch, time_ms;
    char hash[33];
    char *text;
    size_t size;
    uint64_t queued_ns;
};

struct embedded {
    struct object object;
    struct journal journal;
    uv_thread_t loop_thread;
    struct worker *worker; /* a thread for this file alone */
    struct work work;
    uv_timer_t timer; /* the first turn, and the back-off */
    struct journal_db *db;
    struct journal_watch *watch; /* NULL: stopped */
    int snapshot_keep;
    uint64_t retry_min_ms, retry_max_ms, retry_ms;

    enum step step; /* under way on the thread */
    bool suspect;   /* the connection failed: reopen before anything else */
    bool lost;      /* for good */
    bool alarmed;   /* by the watch, for which `alarm` is the reason */
    bool waiting;   /* for the timer */
    bool restoring; /* restore was called, batches come */
    bool restored;  /* the owner has all there is */
    bool leading;
    int64_t claimed; /* epoch made durable; 0: none */
    struct journal_db_head
        next; /* index and hash after which the next append comes (restoring: the next read) */

    struct list queue; /* items waiting */
    struct list group; /* items being written */
    size_t in_flight, in_flight_bytes;

    /* in and out of the work under way; the loop leaves them alone until it is done */
    struct journal_db_batch *batches;
    size_t batch_count;
    struct item *snapshot;
    struct journal_db_rows rows;
    char *restore_text;
    size_t restore_size;
    uint64_t restore_index;
    int result;
    struct error error;
    struct error alarm;

    struct journal_status status;
    char warning[160];
    void (*closed)(void *arg);
    void *closed_arg;
    bool closing;
};

static void pump(struct embedded *e);

/* For the loop, between two pieces of work or beside one. A leader has claimed an epoch for a state that is whole; nothing is
 * in flight without a leader; a group is in the hands of the thread. */
static void check_invariants(const struct embedded *e)
{
    assert(loop_is_thread(e->loop_thread));
    assert(e->step < STEP_COUNT && e->lost == e->status.lost);
    assert(!(e->restoring && e->restored));
    assert(!e->leading || (e->restored && e->claimed && !e->suspect && !e->lost));
    assert(e->leading || (e->in_flight == 0 && e->in_flight_bytes == 0));
    assert(e->in_flight <= EMBEDDED_IN_FLIGHT_MAX);
    assert(e->step != STEP_NONE || list_empty(&e->group));
}

/* ---- the queue ---- */

static void item_free(struct item *item)
{
    if (!item)
        return;
    list_remove(&item->link);
    free(item->text);
    free(item);
}

static void items_free(struct list *list)
{
    LIST_EACH_SAFE(link, list)
    {
        item_free(LIST_ITEM(link, struct item, link));
    }
    assert(list_empty(list));
}

static struct item *queue_first(struct embedded *e)
{
    return list_empty(&e->queue) ? NULL : LIST_ITEM(e->queue.next, struct item, link);
}

/* The batch's place in the chain is the caller's to keep: a wrong one is a programmer's error. */
static struct item *item_of_batch(struct embedded *e, struct batch *batch)
{
    struct item *item = alloc_zero(sizeof(*item));

    assert(batch->index == e->next.index + 1);
    assert(strcmp(batch->prev, e->next.hash) == 0);
    assert(batch->epoch == e->claimed);
    list_init(&item->link);
    item->index = batch->index;
    item->epoch = batch->epoch;
    item->time_ms = batch->time_ms;
    item->text = batch_encode(batch, &item->size);
    batch_hash(item->text, item->size, item->hash);
    item->queued_ns = uv_hrtime();
    e->next.index = item->index;
    memcpy(e->next.hash, item->hash, sizeof(e->next.hash));
    return item;
}

/* Takes from the queue what one transaction may hold: batches up to the next snapshot. */
static void group_fill(struct embedded *e)
{
    struct item *item;
    size_t bytes = 0;

    e->batch_count = 0;
    while ((item = queue_first(e)) && !item->snapshot && e->batch_count < EMBEDDED_GROUP_MAX &&
           bytes < EMBEDDED_GROUP_BYTES) {
        e->batches[e->batch_count++] = (struct journal_db_batch){
            item->index, item->epoch, item->time_ms, item->hash, item->text, item->size,
        };
        bytes += item->size;
        list_remove(&item->link);
        list_append(&e->group, &item->link);
    }
    assert(e->batch_count <= EMBEDDED_GROUP_MAX);
}

/* ---- failure ---- */

static void drop_in_flight(struct embedded *e)
{
    items_free(&e->queue);
    items_free(&e->group);
    e->in_flight = e->in_flight_bytes = 0;
    assert(list_empty(&e->queue) && list_empty(&e->group));
}

static void on_timer(uv_timer_t *timer)
{
    struct embedded *e = OBJECT(struct embedded, timer->data);

    e->waiting = false;
    pump(e);
}

static void fail(struct embedded *e)
{
    bool was_leading = e->leading;

    assert(e->step == STEP_NONE);
    e->lost = e->status.lost = e->lost || e->error.code == ERR_DEPOSED;
    if (e->error.code == ERR_DEPOSED)
        error_prefix(&e->error, "the journal is lost to this server until it is started again: ");
    snprintf(e->status.text, sizeof(e->status.text), "%.255s", e->error.text);
    e->leading = false;
    e->claimed = 0;
    e->suspect = true;
    e->restored = e->restored && !was_leading;
    e->restoring = false;
    drop_in_flight(e);
    if (!e->closing && !e->lost) {
        e->waiting = true;
        loop_timer_start(&e->timer, on_timer, e->retry_ms, 0);
        e->retry_ms = e->retry_ms * 2 < e->retry_max_ms ? e->retry_ms * 2 : e->retry_max_ms;
    }
    if (was_leading)
        e->journal.events->deposed(e->journal.arg, &e->error);
}

/* ---- the watch ---- */

static int watch_look(void *arg, struct error *error)
{
    return journal_db_check(OBJECT(struct embedded, arg)->db, error);
}

/* With work under way its group is not ours to drop yet. */
static void attend_alarm(struct embedded *e)
{
    if (!e->alarmed || e->step != STEP_NONE)
        return;
    e->alarmed = false;
    if (e->lost || e->closing || (e->suspect && e->alarm.code != ERR_DEPOSED))
        return;
    e->error = e->alarm;
    uv_timer_stop(&e->timer);
    fail(e);
    assert(e->lost || e->suspect);
}

static void watch_failed(void *arg, const struct error *error)
{
    struct embedded *e = OBJECT(struct embedded, arg);

    e->alarmed = true;
    e->alarm = *error;
    attend_alarm(e);
    pump(e);
}

static void watch_stopped(void *arg)
{
    struct embedded *e = OBJECT(struct embedded, arg);

    e->watch = NULL;
    pump(e);
}

static const struct journal_watch_events watch_events = {watch_look, watch_failed, watch_stopped};

/* ---- steps: `work` on the thread, `done` on the loop when it went well ---- */

static void work_reopen(struct embedded *e)
{
    assert(e->claimed == 0);
    e->result = journal_db_reopen(e->db, &e->error);
    if (e->result == 0)
        e->result = journal_db_claim(e->db, &e->claimed, &e->error);
}

static void done_reopen(struct embedded *e)
{
    assert(e->suspect);
    e->suspect = false;
}

static void work_read_snapshot(struct embedded *e)
{
    assert(!e->restore_text);
    e->result =
        journal_db_read_snapshot(e->db, &e->restore_text, &e->restore_size, &e->restore_index, &e->error);
}

static void done_read_snapshot(struct embedded *e)
{
    char *text = e->restore_text;

    assert(!e->restored && !e->restoring);
    e->restore_text = NULL;
    e->restoring = true;
    e->next.index = e->restore_index;
    if (!e->closing)
        e->journal.events->restore(e->journal.arg, text, e->restore_size, e->restore_index);
    free(text);
}

static void work_read(struct embedded *e)
{
    assert(!e->rows.items);
    e->result = journal_db_read(e->db, e->next.index, &e->rows, &e->error);
}

static void done_read(struct embedded *e)
{
    struct journal_db_rows rows = e->rows;

    assert(e->restoring);
    e->rows = (struct journal_db_rows){0};
    for (size_t i = 0; i < rows.count && !e->closing; i++) {
        e->next.index = rows.items[i].batch->index;
        e->journal.events->batch(e->journal.arg, rows.items[i].batch, rows.items[i].text, rows.items[i].size);
    }
    if (rows.count == 0 && !e->closing) {
        e->next = *journal_db_head(e->db);
        e->status.acked = e->next.index;
        e->restoring = false;
        e->restored = true;
    }
    journal_db_rows_release(&rows);
}

static void work_claim(struct embedded *e)
{
    assert(e->claimed == 0);
    e->result = journal_db_claim(e->db, &e->claimed, &e->error);
}

static void done_claim(struct embedded *e)
{
    assert(e->restored && !e->leading);
}

static void work_write(struct embedded *e)
{
    assert(e->batch_count > 0 || journal_db_trimming(e->db));
    e->result = journal_db_append(e->db, e->batches, e->batch_count, &e->error);
}

static void done_write(struct embedded *e)
{
    uint64_t now_ns = uv_hrtime();

    if (list_empty(&e->group))
        return; /* it only deleted */
    LIST_EACH_SAFE(link, &e->group)
    {
        struct item *item = LIST_ITEM(link, struct item, link);

        e->status.last_append_us = (int64_t)((now_ns - item->queued_ns) / 1000);
        e->status.total_append_us += e->status.last_append_us;
        e->status.appends++;
        assert(item->index == e->status.acked + 1 && e->in_flight > 0);
        e->status.acked = item->index;
        e->in_flight--;
        e->in_flight_bytes -= item->size;
        item_free(item);
    }
    e->journal.events->acked(e->journal.arg, e->status.acked);
}

static void work_snapshot(struct embedded *e)
{
    const struct item *s = e->snapshot;

    assert(s && s->snapshot);
    e->result = journal_db_snapshot(e->db, s->text, s->size, s->index, e->snapshot_keep, &e->error);
}

static void done_snapshot(struct embedded *e)
{
    assert(!list_empty(&e->group));
    items_free(&e->group);
}

static void work_close(struct embedded *e)
{
    assert(e->closing);
    journal_db_close(e->db);
    e->db = NULL;
    e->result = 0;
}

static void on_closed(void *owner)
{
    struct embedded *e = OBJECT(struct embedded, owner);
    void (*closed)(void *arg) = e->closed;
    void *arg = e->closed_arg;

    free(e->batches);
    OBJECT_FREE(struct embedded, e);
    closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct embedded *e = OBJECT(struct embedded, handle->data);

    worker_close(e->worker, on_closed, e);
}

static void done_close(struct embedded *e)
{
    assert(!e->db && !e->watch);
    drop_in_flight(e);
    uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

static const struct {
    void (*work)(struct embedded *e);
    void (*done)(struct embedded *e);
} steps[STEP_COUNT] = {
    [STEP_REOPEN] = {work_reopen, done_reopen},
    [STEP_READ_SNAPSHOT] = {work_read_snapshot, done_read_snapshot},
    [STEP_READ] = {work_read, done_read},
    [STEP_CLAIM] = {work_claim, done_claim},
    [STEP_WRITE] = {work_write, done_write},
    [STEP_SNAPSHOT] = {work_snapshot, done_snapshot},
    [STEP_CLOSE] = {work_close, done_close},
};

/* ---- what to do next ---- */

static enum step next_step(const struct embedded *e)
{
    if (e->closing && (!e->leading || list_empty(&e->queue)))
        return e->watch ? STEP_NONE : STEP_CLOSE;
    if (e->waiting || e->lost)
        return STEP_NONE;
    if (e->suspect)
        return STEP_REOPEN;
    if (!e->restored)
        return e->restoring ? STEP_READ : STEP_READ_SNAPSHOT;
    if (!e->claimed)
        return STEP_CLAIM;
    if (!list_empty(&e->queue))
        return LIST_ITEM(e->queue.next, struct item, link)->snapshot ? STEP_SNAPSHOT : STEP_WRITE;
    return journal_db_trimming(e->db) ? STEP_WRITE : STEP_NONE;
}

static void step_prepare(struct embedded *e)
{
    assert(e->step != STEP_NONE && list_empty(&e->group));
    if (e->step == STEP_WRITE) {
        group_fill(e);
    } else if (e->step == STEP_SNAPSHOT) {
        e->snapshot = queue_first(e);
        assert(e->snapshot);
        list_remove(&e->snapshot->link);
        list_append(&e->group, &e->snapshot->link);
    }
}

static void on_work(struct work *work)
{
    struct embedded *e = LIST_ITEM(work, struct embedded, work);

    assert(worker_is_current(e->worker));
    steps[e->step].work(e);
}

static void on_work_done(struct work *work, int result)
{
    struct embedded *e = LIST_ITEM(work, struct embedded, work);
    enum step step = e->step;

    assert(result == 0); /* it has no deadline, and is one piece at a time */
    e->step = STEP_NONE;
    if (e->result < 0)
        fail(e);
    else
        steps[step].done(e);
    if (step == STEP_CLOSE)
        return;
    attend_alarm(e);
    pump(e);
}

static void lead(struct embedded *e)
{
    assert(e->restored && !e->closing);
    e->leading = true;
    e->retry_ms = e->retry_min_ms;
    e->status.text[0] = '\0';
    e->journal.events->lead(e->journal.arg, e->claimed, "start");
}

static void pump(struct embedded *e)
{
    check_invariants(e);
    if (e->step != STEP_NONE)
        return;
    if (e->restored && e->claimed && !e->leading && !e->closing)
        lead(e);
    if (e->step != STEP_NONE)
        return; /* lead appended, and so started */
    e->step = next_step(e);
    if (e->step == STEP_NONE)
        return;
    step_prepare(e);
    worker_submit(e->worker, &e->work);
}

/* ---- the table ---- */

static int embedded_append(struct journal *journal, struct batch *batch)
{
    struct embedded *e = OBJECT_OF(struct embedded, journal, journal);
    struct item *item;

    check_invariants(e);
    if (!e->leading || e->closing) {
        batch_free(batch);
        return ERR_DEPOSED;
    }
    if (e->in_flight >= EMBEDDED_IN_FLIGHT_MAX || e->in_flight_bytes >= EMBEDDED_IN_FLIGHT_BYTES)
        return ERR_LIMIT;
    item = item_of_batch(e, batch);
    batch_free(batch);
    list_append(&e->queue, &item->link);
    e->in_flight++;
    e->in_flight_bytes += item->size;
    pump(e);
    return 0;
}

static void embedded_snapshot(struct journal *journal, char *text, size_t size, uint64_t index, int level)
{
    struct embedded *e = OBJECT_OF(struct embedded, journal, journal);
    struct item *item;

    check_invariants(e);
    (void)level; /* it has no other reader */
    if (!e->leading || e->closing) {
        free(text);
        return;
    }
    assert(index <= e->next.index);
    LIST_EACH_SAFE(link, &e->queue)
    {
        if (LIST_ITEM(link, struct item, link)->snapshot)
            item_free(LIST_ITEM(link, struct item, link)); /* the newer one serves better */
    }
    item = alloc_zero(sizeof(*item));
    item->snapshot = true;
    item->index = index;
    item->text = text;
    item->size = size;
    list_init(&item->link);
    list_append(&e->queue, &item->link);
    pump(e);
}

static bool embedded_may_act(const struct journal *journal)
{
    const struct embedded *e = OBJECT_OF(struct embedded, journal, journal);

    check_invariants(e);
    return e->leading && !e->alarmed && e->watch && journal_watch_fresh(e->watch);
}

static void embedded_status(const struct journal *journal, struct journal_status *ret)
{
    const struct embedded *e = OBJECT_OF(struct embedded, journal, journal);
    struct worker_status worker;

    worker_status(e->worker, &worker);
    *ret = e->status;
    ret->busy_ms = (int64_t)worker.busy_ms;
    ret->leading = e->leading && !e->closing && embedded_may_act(journal);
    if (e->alarmed)
        snprintf(ret->text, sizeof(ret->text), "%.255s", e->alarm.text);
    else if (e->leading && !e->closing && !ret->leading)
        snprintf(ret->text, sizeof(ret->text), "the disk of data_dir does not respond");
    snprintf(ret->warning, sizeof(ret->warning), "%s", e->warning);
    ret->in_flight = e->in_flight;
    ret->level = INT_MAX; /* it has no other reader */
}

static void embedded_close(struct journal *journal, void (*done)(void *arg), void *arg)
{
    struct embedded *e = OBJECT_OF(struct embedded, journal, journal);

    check_invariants(e);
    assert(!e->closing);
    if (e->leading)
        e->journal.events->yield(e->journal.arg);
    e->closing = true;
    e->closed = done;
    e->closed_arg = arg;
    e->waiting = false;
    uv_timer_stop(&e->timer);
    journal_watch_stop(e->watch);
    pump(e);
}

static const struct journal_ops embedded_ops = {
    .append = embedded_append,
    .snapshot = embedded_snapshot,
    .may_act = embedded_may_act,
    .status = embedded_status,
    .close = embedded_close,
};

int embedded_open(struct journal **ret, uv_loop_t *loop, const struct embedded_options *options,
                  const struct journal_events *events, void *arg, struct error *error)
{
    const struct journal_db_options db_options = {.cluster = options->cluster,
                                                  .history = options->history,
                                                  .lock_pause_ms = options->lock_pause_ms,
                                                  .sole = options->sole};
    const struct worker_options worker = {.name = "journal", .threads = 1};
    struct embedded *e = OBJECT_NEW(struct embedded);
    int rc = journal_db_open(&e->db, options->path, &db_options, error);

    if (rc == 0)
        rc = worker_new(&e->worker, loop, &worker, error);
    if (rc == 0)
        rc = journal_watch_start(&e->watch, loop, &watch_events, e, error);
    if (rc < 0) {
        if (e->worker)
            worker_close(e->worker, NULL, NULL);
        journal_db_close(e->db);
        OBJECT_FREE(struct embedded, e);
        return rc;
    }
    e->loop_thread = uv_thread_self();
    snprintf(e->warning, sizeof(e->warning), "%s", journal_db_warning(e->db));
    e->journal = (struct journal){&embedded_ops, events, arg};
    e->batches = alloc_zero(EMBEDDED_GROUP_MAX * sizeof(*e->batches));
    e->snapshot_keep = options->snapshot_keep ? options->snapshot_keep : 2;
    e->retry_min_ms = options->retry_min_ms ? options->retry_min_ms : EMBEDDED_RETRY_MIN_MS;
    e->retry_max_ms = options->retry_max_ms ? options->retry_max_ms : EMBEDDED_RETRY_MAX_MS;
    e->retry_ms = e->retry_min_ms;
    list_init(&e->queue);
    list_init(&e->group);
    e->work = (struct work){.run = on_work, .done = on_work_done};
    e->timer.data = e;
    uv_timer_init(loop, &e->timer);
    loop_timer_start(&e->timer, on_timer, 0, 0);
    e->waiting = true;
    *ret = &e->journal;
    return 0;
}
