/* Happy path: write queues; while anything is queued, a group of writes is one transaction on the pool. A
 * query waits until the writes queued before it are done, then runs on a reader's connection: that of long queries, or
 * that of all others. prune waits its turn between writes, in bounded steps: after each of them `removed` is called on
 * the pool with what it removed, and there is a pause.
 *
 * A transaction fails (disk full, I/O error): `failed`, once until one succeeds again; its writes stay at the
 * head of the queue and are tried again after a back-off; queries that wait for them are answered with the
 * error. The same when the file was moved, removed or replaced under this process. Too much waits: newer writes are
 * left out (store.h), reported once. The file is damaged, seen by a write or a query: when both connections are idle
 * they are closed, the file is moved aside, and a new one is begun with what is queued. close: what is queued is written, or given up at the first failure; queries are
 * answered with ERR_CANCELLED.
 */
#include "jobs/history/store.h"

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/history/store_db.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct query {
    struct list link;
    struct history_query query; /* its strings are our own */
    uint64_t after;             /* number of the last write queued before it */
    void (*answer)(void *arg, json_t *result, const struct error *error);
    void *arg;
    json_t *result;
    struct error error;
    bool refused; /* too many were waiting */
};

struct prune {
    struct list link;
    char *job;
    int keep_runs;
    int64_t older_than_ms;
};

/* A connection for queries, and those that wait for it. While `read` is set the rest is the pool's. */
struct reader {
    struct object object;
    struct store *store;
    struct list queries;
    struct query *read; /* under way */
    sqlite3 *db;        /* NULL: not open yet */
    int result;
};
enum { READER_SHORT, READER_LONG, READERS };

struct fill { /* a page of another replica's history */
    json_t *page;
    void (*done)(void *arg, const struct error *error);
    void *arg;
};

struct store {
    struct object object;
    struct history history;
    struct store_pool *pool;
    char *path;
    size_t queue_bytes_max;

    /* the queue: first to last by history_write.next */
    struct history_write *first, **end;
    size_t queue_bytes;
    uint64_t queued, written; /* numbers of writes, from 1 */
    bool shedding;            /* the newest are being left out */
    bool hold;                /* some were, in this life */
    struct list prunes;
    size_t query_count, prune_count;
    struct fill *fill; /* NULL: none waits */

    /* the work under way; its fields belong to the pool until it is done */
    enum { WRITER_IDLE, WRITER_WRITE, WRITER_PRUNE, WRITER_FILL, WRITER_RENEW, WRITER_CLOSE } writer;
    struct store_db *db;
    size_t group_count, group_bytes;
    bool group_hold;
    struct prune *prune;
    struct store_removed removed; /* `removing`: what the pool is about to tell */
    char *removed_of;             /* their job */
    bool removing, pausing, prune_more, pruned_last;
    int writer_result;
    struct error writer_error;
    char moved[4200];

    struct reader readers[READERS];

    uint64_t applied;
    bool failing;         /* writes fail, */
    struct error failure; /* and why */
    bool waiting;         /* for the back-off */
    bool corrupt;         /* to be moved aside */
    bool moved_at_open;
    uint64_t retry_ms;
    bool closing;
    void (*done)(void *arg);
    void *done_arg;
};

static void pump(struct store *s);

static void tell_failed(struct store *s, const struct error *error)
{
    if (s->history.failed)
        s->history.failed(s->history.arg, error);
}

/* ---- memory ---- */

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static size_t write_bytes(const struct history_write *w)
{
    size_t n = sizeof(*w) + w->run_count * sizeof(*w->runs) + w->skip_count * sizeof(*w->skips) +
               w->record_count * sizeof(*w->records);

    for (size_t i = 0; i < w->run_count; i++)
        n += text_bytes(w->runs[i].json) + text_bytes(w->runs[i].run) + text_bytes(w->runs[i].job);
    for (size_t i = 0; i < w->skip_count; i++)
        n += text_bytes(w->skips[i].job) + text_bytes(w->skips[i].text);
    for (size_t i = 0; i < w->record_count; i++)
        n += text_bytes(w->records[i].json) + text_bytes(w->records[i].job) + text_bytes(w->records[i].run);
    return n;
}

static void query_free(struct query *q)
{
    free((char *)(uintptr_t)q->query.job);
    free((char *)(uintptr_t)q->query.run);
    free((char *)(uintptr_t)q->query.state);
    free((char *)(uintptr_t)q->query.verdict);
    free((char *)(uintptr_t)q->query.kinds);
    free((char *)(uintptr_t)q->query.cause);
    free((char *)(uintptr_t)q->query.before);
    free(q);
}

static void prune_free(struct store *s, struct prune *p)
{
    assert(s->prune_count > 0);
    list_remove(&p->link);
    free(p->job);
    free(p);
    s->prune_count--;
}

/* ---- queries ---- */

/* Frees the query; result NULL: the error in it. */
static void query_answer(struct store *s, struct query *q)
{
    assert(s->query_count > 0);
    s->query_count--;
    q->answer(q->arg, q->result, q->result ? NULL : &q->error); /* the result is the callback's now */
    query_free(q);
}

static void work_read(void *arg)
{
    struct reader *r = OBJECT(struct reader, arg);

    r->result = 0;
    if (!r->db)
        r->result = store_reader_open(&r->db, r->store->path, &r->read->error);
    if (r->result == 0)
        r->result = store_query(r->db, &r->read->query, &r->read->result, &r->read->error);
}

static void done_read(void *arg)
{
    struct reader *r = OBJECT(struct reader, arg);
    struct store *s = r->store;
    struct query *q = r->read;

    assert(q);
    r->read = NULL;
    if (r->result == ERR_CORRUPT)
        s->corrupt = true;
    query_answer(s, q);
    pump(s);
}

static bool is_reading(const struct store *s)
{
    return s->readers[READER_SHORT].read || s->readers[READER_LONG].read;
}

static void readers_close(struct store *s)
{
    for (int i = 0; i < READERS; i++) {
        sqlite3_close(s->readers[i].db);
        s->readers[i].db = NULL;
    }
}

static struct reader *reader_for(struct store *s, const struct history_query *q)
{
    bool is_long = q->kind == HISTORY_AUDIT || q->kind == HISTORY_COPY || q->kind == HISTORY_BUCKETS;

    return &s->readers[is_long ? READER_LONG : READER_SHORT];
}

/* The first query, when the writes before it are done or cannot be. */
static void start_read(struct store *s, struct reader *r)
{
    while (!r->read && !list_empty(&r->queries)) {
        struct query *q = LIST_ITEM(r->queries.next, struct query, link);
        bool ready = q->after <= s->written;

        if (s->closing) {
            error_set(&q->error, ERR_CANCELLED, "history: closing");
        } else if (q->refused) {
            error_set(&q->error, ERR_LIMIT, "history: more than %d queries wait", STORE_QUERIES_MAX);
        } else if (!ready && s->failing) {
            q->error = s->failure;
            error_prefix(&q->error, "history is not up to date: ");
        } else if (ready && !s->corrupt) {
            list_remove(&q->link);
            r->read = q;
            s->pool->run(s->pool, work_read, done_read, r);
            return;
        } else {
            return;
        }
        list_remove(&q->link);
        query_answer(s, q);
    }
}

/* ---- writing ---- */

static void work_write(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->writer_result = store_db_write(s->db, s->first, s->group_count, s->group_hold, &s->writer_error);
}

static void drop_group(struct store *s)
{
    assert(s->queue_bytes >= s->group_bytes);
    for (; s->group_count > 0; s->group_count--) {
        struct history_write *w = s->first;

        assert(w);
        s->first = w->next;
        history_write_free(w);
        s->written++;
    }
    if (!s->first)
        s->end = &s->first;
    s->queue_bytes -= s->group_bytes;
    assert(s->written <= s->queued);
    if (s->queue_bytes <= s->queue_bytes_max / 2)
        s->shedding = false;
}

static void back_off(struct store *s);

/* What every piece of the writer's work comes to: true when it went well. */
static bool writer_done(struct store *s)
{
    assert(s->writer != WRITER_IDLE && s->writer != WRITER_CLOSE);
    s->writer = WRITER_IDLE;
    if (s->writer_result == 0) {
        s->failing = false;
        s->retry_ms = STORE_RETRY_MIN_MS;
        return true;
    }
    if (s->writer_result == ERR_CORRUPT)
        s->corrupt = true;
    s->failure = s->writer_error;
    if (!s->failing)
        tell_failed(s, &s->failure);
    s->failing = true;
    back_off(s);
    return false;
}

static void done_write(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    if (writer_done(s)) {
        s->applied = store_db_applied(s->db);
        drop_group(s);
    }
    pump(s);
}

static void start_write(struct store *s)
{
    assert(s->writer == WRITER_IDLE && s->first);
    s->group_count = 0;
    s->group_bytes = 0;
    s->group_hold = s->hold;
    for (const struct history_write *w = s->first;
         w && s->group_count < STORE_GROUP_WRITES && s->group_bytes < STORE_GROUP_BYTES; w = w->next) {
        s->group_count++;
        s->group_bytes += write_bytes(w);
    }
    s->writer = WRITER_WRITE;
    s->pruned_last = false;
    s->pool->run(s->pool, work_write, done_write, s);
}

/* ---- pruning ---- */

static void work_prune(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->writer_result = store_db_prune(s->db, s->prune->job, s->prune->keep_runs, s->prune->older_than_ms,
                                      &s->removed, &s->prune_more, &s->writer_error);
}

static void work_removed(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->history.removed(s->history.arg, s->removed_of, s->removed.runs, s->removed.count);
}

static void done_removed(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->removing = false;
    store_removed_release(&s->removed);
    free(s->removed_of);
    pump(s);
}

static void on_pause_over(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->pausing = false;
    pump(s);
}

/* Something was removed: the next step waits until its logs are gone, too, and leaves the disk to others for a while. */
static void prune_rest(struct store *s, const struct prune *p)
{
    if (s->removed.rows > 0 && !s->closing) {
        s->pausing = true;
        s->pool->later(s->pool, STORE_PAUSE, 1 + s->removed.rows / STORE_PRUNE_PER_MS, on_pause_over, s);
    }
    if (s->removed.count > 0 && s->history.removed) {
        s->removing = true;
        s->removed_of = alloc_text(p->job);
        s->pool->run(s->pool, work_removed, done_removed, s);
    } else {
        store_removed_release(&s->removed);
    }
}

static void done_prune(void *arg)
{
    struct store *s = OBJECT(struct store, arg);
    struct prune *p = s->prune;

    s->prune = NULL;
    if (writer_done(s)) {
        prune_rest(s, p);
        if (!s->prune_more)
            prune_free(s, p);
    } else {
        prune_free(s, p); /* there will be another time */
    }
    pump(s);
}

static void start_prune(struct store *s)
{
    assert(s->writer == WRITER_IDLE && !s->prune && !list_empty(&s->prunes) && !s->removing && !s->pausing);
    s->prune = LIST_ITEM(s->prunes.next, struct prune, link);
    s->writer = WRITER_PRUNE;
    s->pruned_last = true;
    s->pool->run(s->pool, work_prune, done_prune, s);
}

/* ---- what another replica has ---- */

static void fill_end(struct store *s, const struct error *error)
{
    struct fill *f = s->fill;

    assert(f);
    s->fill = NULL;
    f->done(f->arg, error);
    json_decref(f->page);
    free(f);
}

static void work_fill(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->writer_result = store_db_fill(s->db, s->fill->page, &s->writer_error);
}

/* A page that is refused says nothing about the file. */
static void done_fill(void *arg)
{
    struct store *s = OBJECT(struct store, arg);
    struct error error = s->writer_error;
    int result = s->writer_result;

    if (result == ERR_CORRUPT && store_page_check(s->fill->page, NULL) < 0)
        s->writer_result = 0;
    if (result == ERR_NOT_FOUND)
        s->writer_result = 0;
    writer_done(s);
    fill_end(s, result < 0 ? &error : NULL);
    pump(s);
}

static void start_fill(struct store *s)
{
    assert(s->writer == WRITER_IDLE && s->fill);
    s->writer = WRITER_FILL;
    s->pruned_last = false;
    s->writer_error = (struct error){0};
    s->pool->run(s->pool, work_fill, done_fill, s);
}

/* ---- a damaged file ---- */

static int renew(const char *path, struct store_db **ret, char *moved, size_t size, struct error *error)
{
    int rc = store_db_set_aside(path, moved, size, error);

    return rc < 0 ? rc : store_db_open(ret, path, error);
}

static void work_renew(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    readers_close(s);
    store_db_close(s->db);
    s->db = NULL;
    s->writer_result = renew(s->path, &s->db, s->moved, sizeof(s->moved), &s->writer_error);
}

static void tell_moved(struct store *s)
{
    struct error error;

    error_set(&error, ERR_CORRUPT, "%s was damaged; it was moved to %s, and a new history is begun", s->path,
              s->moved);
    tell_failed(s, &error);
}

static void done_renew(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    if (writer_done(s)) {
        s->corrupt = false;
        s->hold = false;
        s->applied = store_db_applied(s->db);
        tell_moved(s);
    }
    pump(s);
}

static void start_renew(struct store *s)
{
    assert(s->writer == WRITER_IDLE && !is_reading(s)); /* all connections are closed in the pool's thread */
    s->writer = WRITER_RENEW;
    s->pool->run(s->pool, work_renew, done_renew, s);
}

/* ---- closing ---- */

static void work_close(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    readers_close(s);
    store_db_close(s->db);
}

static void start_reads(struct store *s)
{
    for (int i = 0; i < READERS; i++)
        start_read(s, &s->readers[i]);
}

static void done_close(void *arg)
{
    struct store *s = OBJECT(struct store, arg);
    void (*done)(void *arg) = s->done;
    void *done_arg = s->done_arg;

    while (s->fill || s->query_count > 0) { /* a callback may ask again */
        if (s->fill)
            fill_end(s, &(struct error){.code = ERR_CANCELLED, .text = "history: closing"});
        start_reads(s); /* cancels all queries */
    }
    while (s->first) {
        struct history_write *w = s->first;

        s->first = w->next;
        history_write_free(w);
    }
    LIST_EACH_SAFE(link, &s->prunes)
    {
        prune_free(s, LIST_ITEM(link, struct prune, link));
    }
    assert(s->writer == WRITER_CLOSE && s->query_count == 0 && s->prune_count == 0);
    for (int i = 0; i < STORE_TIMERS; i++)
        s->pool->later(s->pool, (enum store_timer)i, 0, NULL, NULL);
    for (int i = 0; i < READERS; i++)
        OBJECT_CLEAR(struct reader, &s->readers[i]);
    free(s->path);
    OBJECT_FREE(struct store, s);
    done(done_arg);
}

/* ---- what to do next ---- */

static void on_wake(void *arg)
{
    struct store *s = OBJECT(struct store, arg);

    s->waiting = false;
    if (s->moved_at_open) {
        s->moved_at_open = false;
        tell_moved(s);
    }
    pump(s);
}

static void back_off(struct store *s)
{
    if (s->closing)
        return;
    s->waiting = true;
    s->pool->later(s->pool, STORE_WAKE, s->corrupt ? 0 : s->retry_ms, on_wake, s);
    s->retry_ms = s->retry_ms * 2 < STORE_RETRY_MAX_MS ? s->retry_ms * 2 : STORE_RETRY_MAX_MS;
}

/* In the next turn of the loop. While writes fail this is another try as well. */
static void wake_soon(struct store *s)
{
    s->pool->later(s->pool, STORE_WAKE, 0, on_wake, s);
}

static bool may_prune(const struct store *s)
{
    return !list_empty(&s->prunes) && !s->closing && !s->removing && !s->pausing;
}

static bool any_query_waits(const struct store *s)
{
    return !list_empty(&s->readers[READER_SHORT].queries) || !list_empty(&s->readers[READER_LONG].queries);
}

static void start_writer(struct store *s)
{
    bool give_up = s->closing && s->failing;

    if (s->writer != WRITER_IDLE || s->waiting)
        return;
    if (s->corrupt && !give_up) {
        if (!is_reading(s))
            start_renew(s);
    } else if (s->first && !give_up && (s->pruned_last || !may_prune(s))) {
        start_write(s);
    } else if (s->fill && !s->closing) {
        start_fill(s);
    } else if (may_prune(s)) {
        start_prune(s);
    } else if (s->closing && !is_reading(s) && !s->removing && !any_query_waits(s)) {
        s->writer = WRITER_CLOSE;
        s->pool->run(s->pool, work_close, done_close, s);
    }
}

static void pump(struct store *s)
{
    start_reads(s);
    start_writer(s);
}

/* ---- the table ---- */

/* Too much waits: from here on writes are left out until half of it is written. */
static bool shed(struct store *s, const struct history_write *w)
{
    struct error error;

    if (!s->shedding && s->queue_bytes + write_bytes(w) <= s->queue_bytes_max)
        return false;
    if (!s->shedding) {
        error_set(&error, ERR_LIMIT,
                  "%s: %zu bytes wait to be written; batches from %" PRIu64
                  " on are left out, and read again from the journal at the next start",
                  s->path, s->queue_bytes, w->index);
        s->shedding = true;
        s->hold = true;
        tell_failed(s, &error);
    }
    return true;
}

static void store_write(struct history *history, struct history_write *w)
{
    struct store *s = OBJECT_OF(struct store, history, history);

    assert(w->index > 0);
    if (s->closing || shed(s, w)) {
        history_write_free(w);
        return;
    }
    w->next = NULL;
    *s->end = w;
    s->end = &w->next;
    s->queue_bytes += write_bytes(w);
    s->queued++;
    start_writer(s);
}

static void store_ask(struct history *history, const struct history_query *query,
                      void (*answer)(void *arg, json_t *result, const struct error *error), void *arg)
{
    struct store *s = OBJECT_OF(struct store, history, history);
    struct query *q = alloc_zero(sizeof(*q));

    q->query = *query;
    q->query.job = alloc_text(query->job);
    q->query.run = alloc_text(query->run);
    q->query.state = alloc_text(query->state);
    q->query.verdict = alloc_text(query->verdict);
    q->query.kinds = alloc_text(query->kinds);
    q->query.cause = alloc_text(query->cause);
    q->query.before = alloc_text(query->before);
    q->after = s->queued;
    q->answer = answer;
    q->arg = arg;
    list_init(&q->link);
    list_append(&reader_for(s, query)->queries, &q->link);
    q->refused = s->query_count++ >= STORE_QUERIES_MAX;
    wake_soon(s); /* an answer never comes from within */
}

static void store_prune(struct history *history, const char *job, int keep_runs, int64_t older_than_ms)
{
    struct store *s = OBJECT_OF(struct store, history, history);
    struct prune *p;

    if (s->closing || s->prune_count == STORE_PRUNES_MAX)
        return;
    p = alloc_zero(sizeof(*p));
    p->job = alloc_text(job);
    p->keep_runs = keep_runs;
    p->older_than_ms = older_than_ms;
    list_init(&p->link);
    list_append(&s->prunes, &p->link);
    s->prune_count++;
    start_writer(s);
}

static void store_fill(struct history *history, json_t *page,
                       void (*done)(void *arg, const struct error *error), void *arg)
{
    struct store *s = OBJECT_OF(struct store, history, history);

    assert(!s->fill);
    s->fill = alloc_zero(sizeof(*s->fill));
    *s->fill = (struct fill){page, done, arg};
    wake_soon(s); /* an answer never comes from within */
}

static uint64_t store_applied(const struct history *history)
{
    return OBJECT_OF(struct store, history, history)->applied;
}

static const char *store_trouble(const struct history *history)
{
    const struct store *s = OBJECT_OF(struct store, history, history);

    return s->failing ? s->failure.text : NULL;
}

static void store_close(struct history *history, void (*done)(void *arg), void *arg)
{
    struct store *s = OBJECT_OF(struct store, history, history);

    assert(!s->closing);
    s->closing = true;
    s->waiting = false;
    s->failing = false; /* one more try for what waits */
    s->done = done;
    s->done_arg = arg;
    wake_soon(s);
}

static const struct history_ops store_ops = {
    .write = store_write,
    .query = store_ask,
    .prune = store_prune,
    .applied = store_applied,
    .trouble = store_trouble,
    .fill = store_fill,
    .close = store_close,
};

int store_open(struct history **ret, const struct store_options *options, struct error *error)
{
    struct store *s = OBJECT_NEW(struct store);
    int rc = store_db_open(&s->db, options->path, error);

    if (rc == ERR_CORRUPT) {
        s->moved_at_open = true;
        rc = renew(options->path, &s->db, s->moved, sizeof(s->moved), error);
    }
    if (rc < 0) {
        OBJECT_FREE(struct store, s);
        return rc;
    }
    s->history = (struct history){&store_ops, options->removed, options->failed, options->arg};
    s->pool = options->pool;
    s->path = alloc_text(options->path);
    s->queue_bytes_max = options->queue_bytes ? options->queue_bytes : STORE_QUEUE_BYTES;
    s->end = &s->first;
    s->pruned_last = true;
    s->applied = store_db_applied(s->db);
    s->retry_ms = STORE_RETRY_MIN_MS;
    for (int i = 0; i < READERS; i++) {
        OBJECT_INIT(struct reader, &s->readers[i]);
        s->readers[i].store = s;
        list_init(&s->readers[i].queries);
    }
    list_init(&s->prunes);
    if (s->moved_at_open)
        wake_soon(s);
    *ret = &s->history;
    return 0;
}

int store_read_applied(const char *path, uint64_t *ret, struct error *error)
{
    struct store_db *db = NULL;
    int rc = access(path, F_OK) == 0 ? store_db_open(&db, path, error) : 0;

    *ret = db ? store_db_applied(db) : 0;
    store_db_close(db);
    return rc == ERR_CORRUPT ? 0 : rc;
}
