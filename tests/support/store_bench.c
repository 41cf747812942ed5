#include "tests/support/store_bench.h"

#include <ftw.h>
#include <sys/stat.h>

struct bench b;

/* ---- a pool whose work happens when the test says so ---- */

static void bench_run(struct store_pool *pool, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    assert_true(b.count < STORE_WORK_MAX);
    b.tasks[b.count++] = (struct task){work, done, arg};
}

static void bench_later(struct store_pool *pool, enum store_timer timer, uint64_t delay_ms,
                        void (*wake)(void *arg), void *arg)
{
    b.delay_ms[timer] = wake ? delay_ms : NEVER;
    b.wake[timer] = wake;
    b.wake_arg[timer] = arg;
}

bool step(uint64_t within_ms)
{
    if (b.count > 0) {
        struct task t = b.tasks[0];

        t.work(t.arg);
        memmove(&b.tasks[0], &b.tasks[1], (size_t)--b.count * sizeof(b.tasks[0]));
        t.done(t.arg);
        return true;
    }
    for (int i = 0; i < STORE_TIMERS; i++) {
        void (*wake)(void *arg) = b.wake[i];

        if (wake && b.delay_ms[i] <= within_ms) {
            b.wake[i] = NULL;
            wake(b.wake_arg[i]);
            return true;
        }
    }
    return false;
}

void drain(void)
{
    while (step(STORE_RETRY_MIN_MS - 1)) {
    }
}

void on_removed(void *arg, const char *job, char *const *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(b.removed_runs);

        assert_int_equal(strncmp(runs[i], job, strlen(job)), 0);
        b.removed++;
        snprintf(b.removed_runs + n, sizeof(b.removed_runs) - n, "%s ", runs[i]);
    }
}

void on_failed(void *arg, const struct error *error)
{
    b.failures++;
    b.failure = *error;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

int set_up(void **state)
{
    memset(&b, 0, sizeof(b));
    b.table = (struct store_pool){bench_run, bench_later};
    snprintf(b.dir, sizeof(b.dir), "/tmp/cronsched-store-XXXXXX");
    if (!mkdtemp(b.dir))
        return -1;
    snprintf(b.path, sizeof(b.path), "%s/history.db", b.dir);
    return 0;
}

int tear_down(void **state)
{
    umount2(b.dir, MNT_DETACH);
    return nftw(b.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void open_with(size_t queue_bytes)
{
    struct store_options options = {.path = b.path,
                                    .pool = &b.table,
                                    .queue_bytes = queue_bytes,
                                    .removed = on_removed,
                                    .failed = on_failed};
    struct error error = {0};

    if (store_open(&b.history, &options, &error) < 0)
        fail_msg("%s", error.text);
}

static void on_closed(void *arg)
{
    b.closed++;
}

void close_store(void)
{
    b.closed = 0;
    b.history->ops->close(b.history, on_closed, NULL);
    assert_int_equal(b.closed, 0);
    drain();
    assert_int_equal(b.closed, 1);
}

/* ---- writes ---- */

struct history_write *new_write(uint64_t index)
{
    struct history_write *w = alloc_zero(sizeof(*w));

    w->index = index;
    w->epoch = 1;
    w->time_ms = T0 + (int64_t)index * 1000;
    return w;
}

void add_run(struct history_write *w, const char *run, int64_t at_ms, const char *state, const char *verdict,
             const char *cause)
{
    struct history_run *r;
    char json[256];

    w->runs = alloc_resize(w->runs, (w->run_count + 1) * sizeof(*w->runs));
    r = &w->runs[w->run_count++];
    *r = (struct history_run){.run = alloc_text(run),
                              .at_ms = at_ms,
                              .fire_ms = at_ms,
                              .state = alloc_text(state),
                              .verdict = alloc_text(verdict),
                              .over = strcmp(state, "ended") == 0 || strcmp(state, "skipped") == 0};
    r->job = alloc_text(run);
    *strchr(r->job, '@') = '\0';
    if (verdict)
        r->ended_ms = at_ms + 500;
    snprintf(json, sizeof(json), "{\"run\":\"%s\",\"state\":\"%s\",\"cause\":\"%s\"}", run, state, cause);
    r->json = alloc_text(json);
}

void add_skip(struct history_write *w, const char *job, int64_t from_ms, int64_t to_ms, int64_t count,
              const char *reason)
{
    w->skips = alloc_resize(w->skips, (w->skip_count + 1) * sizeof(*w->skips));
    w->skips[w->skip_count++] = (struct history_skip){alloc_text(job),    from_ms,           to_ms,     count,
                                                      alloc_text(reason), alloc_text("why"), w->time_ms};
}

void add_record(struct history_write *w, const char *kind, const char *job, const char *run)
{
    char json[128];

    w->records = alloc_resize(w->records, (w->record_count + 1) * sizeof(*w->records));
    snprintf(json, sizeof(json), "{\"k\":\"%s\",\"number\":%zu}", kind, w->record_count);
    w->records[w->record_count++] =
        (struct history_record){alloc_text(kind), alloc_text(job), alloc_text(run), alloc_text(json)};
}

void put(struct history_write *w)
{
    b.history->ops->write(b.history, w);
}

void put_minute(uint64_t index, const char *job, int minute)
{
    struct history_write *w = new_write(index);
    char run[64];

    snprintf(run, sizeof(run), "%s@20231114T%02d%02d00Z", job, minute / 60, minute % 60);
    w->time_ms = T0 + minute * 60000;
    add_run(w, run, T0 + minute * 60000, "ended", "succeeded", "schedule");
    add_record(w, "fire", job, run);
    add_record(w, "ended", job, run);
    put(w);
}

/* ---- queries ---- */

void on_answer(void *arg, json_t *result, const struct error *error)
{
    struct answer *a = arg;

    a->calls++;
    a->result = result;
    if (error)
        a->error = *error;
    assert_true(!result == !!error);
}

void ask(const struct history_query *q, struct answer *a)
{
    *a = (struct answer){0};
    b.history->ops->query(b.history, q, on_answer, a);
    assert_int_equal(a->calls, 0); /* never from within */
}

json_t *get(const struct history_query *q)
{
    struct answer a;

    ask(q, &a);
    drain();
    assert_int_equal(a.calls, 1);
    if (!a.result)
        fail_msg("%s", a.error.text);
    return a.result;
}

void assert_answer(const struct history_query *q, const char *key, const char *expected)
{
    json_t *result = get(q), *item;
    char text[4096] = "";
    size_t i, n = 0;

    json_array_foreach(result, i, item)
    {
        json_t *value = key ? json_object_get(item, key) : item;
        char *dump = json_is_string(value) ? alloc_text(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);

        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", dump);
        free(dump);
    }
    json_decref(result);
    assert_string_equal(text, expected);
}

size_t count_of(const struct history_query *q)
{
    json_t *result = get(q);
    size_t n = json_array_size(result);

    json_decref(result);
    return n;
}

void assert_gaps(const char *expected)
{
    struct history_query q = {.kind = HISTORY_AUDIT, .since_ms = 1};
    json_t *answer = get(&q);
    char *gaps = json_dumps(json_object_get(answer, "gaps"), JSON_COMPACT);

    assert_string_equal(gaps, expected);
    free(gaps);
    json_decref(answer);
}
