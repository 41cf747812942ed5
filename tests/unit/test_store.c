/* The history store: what is written is found, in order, exactly once; damage, full disks, limits, pruning.
 */
#include "jobs/db.h"
#include "jobs/store.h"

#include "cronsched/pool.h"
#include "jobs/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define T0    INT64_C(1700000000000)
#define HOUR  INT64_C(3600000)
#define DAY   (24 * HOUR)
#define NEVER UINT64_MAX

/* ---- a pool whose work happens when the test says so ---- */

struct task {
    void (*work)(void *arg), (*done)(void *arg);
    void *arg;
};

static struct bench {
    struct store_pool table;
    struct task tasks[STORE_WORK_MAX];
    int count;
    uint64_t delay_ms;
    void (*wake)(void *arg);
    void *wake_arg;

    struct history *history;
    char dir[64], path[96];
    int failures, closed, removed;
    struct error failure;
    char removed_runs[4096];
} b;

static void bench_run(struct store_pool *pool, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    assert_true(b.count < STORE_WORK_MAX);
    b.tasks[b.count++] = (struct task){work, done, arg};
}

static void bench_later(struct store_pool *pool, uint64_t delay_ms, void (*wake)(void *arg), void *arg)
{
    b.delay_ms = wake ? delay_ms : NEVER;
    b.wake = wake;
    b.wake_arg = arg;
}

/* One event: the oldest piece of work, or a timer due within the time. False: nothing to do. */
static bool step(uint64_t within_ms)
{
    if (b.count > 0) {
        struct task t = b.tasks[0];

        b.tasks[0] = b.tasks[1];
        t.work(t.arg);
        b.count--;
        t.done(t.arg);
        return true;
    }
    if (b.wake && b.delay_ms <= within_ms) {
        void (*wake)(void *arg) = b.wake;

        b.wake = NULL;
        wake(b.wake_arg);
        return true;
    }
    return false;
}

static void drain(void)
{
    while (step(0)) {
    }
}

static void on_removed(void *arg, const char *run, const char *job)
{
    size_t n = strlen(b.removed_runs);

    b.removed++;
    snprintf(b.removed_runs + n, sizeof(b.removed_runs) - n, "%s ", run);
}

static void on_failed(void *arg, const struct error *error)
{
    b.failures++;
    b.failure = *error;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    memset(&b, 0, sizeof(b));
    b.table = (struct store_pool){bench_run, bench_later};
    snprintf(b.dir, sizeof(b.dir), "/tmp/cronsched-store-XXXXXX");
    if (!mkdtemp(b.dir))
        return -1;
    snprintf(b.path, sizeof(b.path), "%s/history.db", b.dir);
    return 0;
}

static int tear_down(void **state)
{
    umount2(b.dir, MNT_DETACH);
    return nftw(b.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_with(size_t queue_bytes)
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

static void close_store(void)
{
    b.closed = 0;
    b.history->ops->close(b.history, on_closed, NULL);
    assert_int_equal(b.closed, 0);
    drain();
    assert_int_equal(b.closed, 1);
}

/* ---- writes ---- */

static struct history_write *new_write(uint64_t index)
{
    struct history_write *w = alloc_zero(sizeof(*w));

    w->index = index;
    w->epoch = 1;
    w->time_ms = T0 + (int64_t)index * 1000;
    return w;
}

static void add_run(struct history_write *w, const char *run, int64_t at_ms, const char *state,
                    const char *verdict, const char *cause)
{
    struct history_run *r;
    char json[256];

    w->runs = alloc_resize(w->runs, (w->run_count + 1) * sizeof(*w->runs));
    r = &w->runs[w->run_count++];
    *r = (struct history_run){.run = alloc_text(run),
                              .at_ms = at_ms,
                              .fire_ms = at_ms,
                              .state = alloc_text(state),
                              .verdict = alloc_text(verdict)};
    r->job = alloc_text(run);
    *strchr(r->job, '@') = '\0';
    if (verdict)
        r->ended_ms = at_ms + 500;
    snprintf(json, sizeof(json), "{\"run\":\"%s\",\"state\":\"%s\",\"cause\":\"%s\"}", run, state, cause);
    r->json = alloc_text(json);
}

static void add_skip(struct history_write *w, const char *job, int64_t from_ms, int64_t to_ms, int64_t count,
                     const char *reason)
{
    w->skips = alloc_resize(w->skips, (w->skip_count + 1) * sizeof(*w->skips));
    w->skips[w->skip_count++] = (struct history_skip){alloc_text(job),    from_ms,           to_ms,     count,
                                                      alloc_text(reason), alloc_text("why"), w->time_ms};
}

static void add_record(struct history_write *w, const char *kind, const char *job, const char *run)
{
    char json[128];

    w->records = alloc_resize(w->records, (w->record_count + 1) * sizeof(*w->records));
    snprintf(json, sizeof(json), "{\"k\":\"%s\",\"number\":%zu}", kind, w->record_count);
    w->records[w->record_count++] =
        (struct history_record){alloc_text(kind), alloc_text(job), alloc_text(run), alloc_text(json)};
}

static void put(struct history_write *w)
{
    b.history->ops->write(b.history, w);
}

/* A batch that ended one run of a minutely job. */
static void put_minute(uint64_t index, const char *job, int minute)
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

struct answer {
    int calls;
    json_t *result;
    struct error error;
};

static void on_answer(void *arg, json_t *result, const struct error *error)
{
    struct answer *a = arg;

    a->calls++;
    a->result = result;
    if (error)
        a->error = *error;
    assert_true(!result == !!error);
}

static void ask(const struct history_query *q, struct answer *a)
{
    *a = (struct answer){0};
    b.history->ops->query(b.history, q, on_answer, a);
    assert_int_equal(a->calls, 0); /* never from within */
}

static json_t *get(const struct history_query *q)
{
    struct answer a;

    ask(q, &a);
    drain();
    assert_int_equal(a.calls, 1);
    if (!a.result)
        fail_msg("%s", a.error.text);
    return a.result;
}

/* The values of a key in each object of the answer, joined by blanks. */
static void assert_answer(const struct history_query *q, const char *key, const char *expected)
{
    json_t *result = get(q), *item;
    char text[4096] = "";
    size_t i, n = 0;

    json_array_foreach(result, i, item)
    {
        json_t *value = json_object_get(item, key);
        char *dump = json_is_string(value) ? alloc_text(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);

        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", dump);
        free(dump);
    }
    json_decref(result);
    assert_string_equal(text, expected);
}

static void test_queries(void **state)
{
    static const struct {
        struct history_query query;
        const char *key, *expected;
    } cases[] = {
        {{.kind = HISTORY_RUNS},
         "run",
         "b@20231114T030000Z a@20231114T020000.123Z a@20231114T020000Z a@20231114T010000Z"},
        {{.kind = HISTORY_RUNS, .job = "a"},
         "run",
         "a@20231114T020000.123Z a@20231114T020000Z a@20231114T010000Z"},
        {{.kind = HISTORY_RUNS, .state = "running"}, "run", "b@20231114T030000Z"},
        {{.kind = HISTORY_RUNS, .job = "a", .verdict = "failed"}, "run", "a@20231114T020000Z"},
        {{.kind = HISTORY_RUNS, .limit = 1}, "run", "b@20231114T030000Z"},
        {{.kind = HISTORY_RUNS, .since_ms = T0 + 2 * HOUR, .until_ms = T0 + 2 * HOUR},
         "run",
         "a@20231114T020000Z"},
        {{.kind = HISTORY_RUNS, .job = "none"}, "run", ""},
        {{.kind = HISTORY_SKIPS}, "from", "2023-11-14T22:13:20Z 2023-11-15T02:13:20Z"},
        {{.kind = HISTORY_SKIPS}, "count", "1 5"},
        {{.kind = HISTORY_SKIPS, .since_ms = T0 + 5 * HOUR, .until_ms = T0 + 6 * HOUR}, "reason", "paused"},
        {{.kind = HISTORY_SKIPS, .since_ms = T0 + HOUR, .until_ms = T0 + 3 * HOUR}, "reason", ""},
        {{.kind = HISTORY_SKIPS, .job = "a"}, "time", "2023-11-14T22:13:21.000Z"},
        {{.kind = HISTORY_RECORDS}, "kind", "job fire ended pause"},
        {{.kind = HISTORY_RECORDS}, "index", "1 1 2 2"},
        {{.kind = HISTORY_RECORDS}, "seq", "0 1 0 1"},
        {{.kind = HISTORY_RECORDS, .job = "a"}, "kind", "job fire"},
        {{.kind = HISTORY_RECORDS, .run = "b@20231114T030000Z"}, "kind", "ended"},
        {{.kind = HISTORY_RECORDS, .kinds = "pause,job"}, "kind", "job pause"},
        {{.kind = HISTORY_RECORDS, .since_ms = T0 + 2000},
         "time",
         "2023-11-14T22:13:22.000Z 2023-11-14T22:13:22.000Z"},
        {{.kind = HISTORY_RECORDS, .limit = 2},
         "record",
         "{\"k\": \"job\", \"number\": 0} {\"k\": \"fire\", \"number\": 1}"},
    };
    struct history_write *w = new_write(1);
    struct history_query one = {.kind = HISTORY_RUN, .run = "a@20231114T020000Z"};
    json_t *run;

    open_with(0);
    add_run(w, "a@20231114T010000Z", T0 + HOUR, "ended", "succeeded", "schedule");
    add_run(w, "a@20231114T020000Z", T0 + 2 * HOUR, "running", NULL, "schedule");
    add_run(w, "b@20231114T030000Z", T0 + 3 * HOUR, "running", NULL, "schedule");
    add_skip(w, "a", T0, T0, 1, "overlap");
    add_record(w, "job", "a", NULL);
    add_record(w, "fire", "a", "a@20231114T010000Z");
    put(w);
    w = new_write(2);
    add_run(w, "a@20231114T020000Z", T0 + 2 * HOUR, "ended", "failed", "schedule"); /* replaced as a whole */
    add_run(w, "a@20231114T020000.123Z", T0 + 2 * HOUR + 123, "ended", "succeeded", "manual");
    add_skip(w, "b", T0 + 4 * HOUR, T0 + 8 * HOUR, 5, "paused");
    add_record(w, "ended", "b", "b@20231114T030000Z");
    add_record(w, "pause", NULL, NULL);
    put(w);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_answer(&cases[i].query, cases[i].key, cases[i].expected);
    run = get(&one);
    assert_string_equal(json_string_value(json_object_get(run, "state")), "ended");
    json_decref(run);
    one.run = "none@20231114T010000Z";
    run = get(&one);
    assert_true(json_is_null(run));
    json_decref(run);
    one = (struct history_query){.kind = HISTORY_RECORDS, .kinds = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"};
    {
        struct answer a;

        ask(&one, &a);
        drain();
        assert_null(a.result);
        assert_int_equal(a.error.code, ERR_INVALID);
    }
    assert_int_equal(b.history->ops->applied(b.history), 2);
    close_store();

    open_with(0); /* it is all there in another life */
    assert_int_equal(b.history->ops->applied(b.history), 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_answer(&cases[i].query, cases[i].key, cases[i].expected);
    close_store();
    assert_int_equal(b.failures, 0);
}

static size_t count_of(const struct history_query *q)
{
    json_t *result = get(q);
    size_t n = json_array_size(result);

    json_decref(result);
    return n;
}

/* However many writes are queued, a query asked after them sees them; and it does not wait for those after
 * it. */
static void test_query_sees_the_writes_before_it(void **state)
{
    struct history_query all = {.kind = HISTORY_RUNS, .job = "a"};
    struct answer early, late;

    open_with(0);
    for (int i = 0; i < 700; i++)
        put_minute((uint64_t)i + 1, "a", i);
    ask(&all, &early);
    for (int i = 700; i < 2000; i++)
        put_minute((uint64_t)i + 1, "a", i);
    ask(&all, &late);
    while (!early.calls)
        assert_true(step(0));
    assert_in_range(json_array_size(early.result), 700, 2000);
    drain();
    assert_int_equal(json_array_size(late.result), 2000);
    assert_int_equal(b.history->ops->applied(b.history), 2000);
    json_decref(early.result);
    json_decref(late.result);
    close_store();
}

/* Feeding batches again changes nothing, and an older one never undoes a newer one. */
static void test_feeding_again(void **state)
{
    struct history_query records = {.kind = HISTORY_RECORDS}, runs = {.kind = HISTORY_RUNS};

    open_with(0);
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 1; i <= 5; i++) {
            struct history_write *w = new_write(i);

            add_run(w, "a@20231114T010000Z", T0, i == 5 ? "ended" : "running", i == 5 ? "failed" : NULL,
                    "schedule");
            add_record(w, "x", "a", NULL);
            add_skip(w, "a", T0, T0, 1, "overlap");
            put(w);
            if (round == 1)
                drain();
        }
    drain();
    assert_answer(&runs, "state", "ended");
    assert_int_equal(count_of(&records), 5);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_SKIPS}), 5);
    assert_int_equal(b.history->ops->applied(b.history), 5);
    close_store();
}

static void assert_gaps(const char *expected)
{
    struct history_query q = {.kind = HISTORY_AUDIT, .since_ms = 1};
    json_t *answer = get(&q);
    char *gaps = json_dumps(json_object_get(answer, "gaps"), JSON_COMPACT);

    assert_string_equal(gaps, expected);
    free(gaps);
    json_decref(answer);
}

static void test_jump_is_a_gap(void **state)
{
    open_with(0);
    put(new_write(10));
    put(new_write(11));
    put(new_write(20));
    assert_gaps("[{\"from\":0,\"to\":1700000010000},{\"from\":1700000011000,\"to\":1700000020000}]");
    assert_int_equal(b.history->ops->applied(b.history), 20);
    close_store();
}

/* ---- limits and failures ---- */

static void test_too_much_waits(void **state)
{
    uint64_t first_left_out, i;

    open_with(100000);
    for (i = 1; b.failures == 0; i++)
        put_minute(i, "a", (int)i);
    first_left_out = i - 1;
    assert_int_equal(b.failure.code, ERR_LIMIT);
    assert_non_null(strstr(b.failure.text, "are left out"));
    for (; i < first_left_out + 50; i++)
        put_minute(i, "a", (int)i);
    assert_int_equal(b.failures, 1); /* told once */
    drain();
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    put_minute(i, "a", (int)i); /* there is room again: written, but applied stays below the hole */
    drain();
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), first_left_out);
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    close_store();

    open_with(0); /* the owner feeds again from applied() + 1 */
    assert_int_equal(b.history->ops->applied(b.history), first_left_out - 1);
    for (uint64_t again = first_left_out; again <= i; again++)
        put_minute(again, "a", (int)again);
    drain();
    assert_int_equal(b.history->ops->applied(b.history), i);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), i);
    assert_gaps("[]");
    close_store();
}

static void test_too_many_queries(void **state)
{
    static struct answer answers[STORE_QUERIES_MAX + 10];
    struct history_query q = {.kind = HISTORY_RUNS};
    int refused = 0;

    open_with(0);
    for (int i = 0; i < STORE_QUERIES_MAX + 10; i++)
        ask(&q, &answers[i]);
    drain();
    for (int i = 0; i < STORE_QUERIES_MAX + 10; i++) {
        assert_int_equal(answers[i].calls, 1);
        refused += answers[i].error.code == ERR_LIMIT;
        json_decref(answers[i].result);
    }
    assert_int_equal(refused, 10);
    close_store();
}

static void test_close_answers_and_writes(void **state)
{
    struct answer a;

    open_with(0);
    put_minute(1, "a", 1);
    put_minute(2, "a", 2);
    ask(&(struct history_query){.kind = HISTORY_RUNS}, &a);
    close_store();
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.error.code, ERR_CANCELLED);
    open_with(0);
    assert_int_equal(b.history->ops->applied(b.history), 2);
    close_store();
}

static void ballast(bool on)
{
    char file[128], zeros[4096] = {0};
    int fd;

    snprintf(file, sizeof(file), "%s/ballast", b.dir);
    if (!on) {
        assert_int_equal(unlink(file), 0);
        return;
    }
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros)) {
    }
    close(fd);
}

static void test_disk_full(void **state)
{
    struct history_query q = {.kind = HISTORY_RUNS};
    struct answer a;

    if (mount("tmpfs", b.dir, "tmpfs", 0, "size=2m") < 0) {
        print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s): the full disk is not tested\n",
                      strerror(errno));
        return;
    }
    open_with(0);
    put_minute(1, "a", 1);
    drain();
    ballast(true);
    for (uint64_t i = 2; i <= 400; i++)
        put_minute(i, "a", (int)i);
    drain();
    assert_int_equal(b.failures, 1);
    assert_int_equal(b.failure.code, ERR_FULL);
    assert_non_null(strstr(b.failure.text, b.path));
    assert_int_equal(b.history->ops->applied(b.history), 1);
    ask(&q, &a); /* not half the truth */
    drain();
    assert_int_equal(a.error.code, ERR_FULL);
    assert_non_null(strstr(a.error.text, "history is not up to date: "));
    for (int i = 0; i < 10; i++)
        step(STORE_RETRY_MAX_MS); /* tried again and again, told once */
    assert_int_equal(b.failures, 1);
    assert_true(b.delay_ms <= STORE_RETRY_MAX_MS);
    ballast(false);
    while (b.history->ops->applied(b.history) < 400)
        assert_true(step(STORE_RETRY_MAX_MS));
    assert_int_equal(count_of(&q), 400);
    close_store();
}

/* Closing while the disk is full ends. */
static void test_close_with_a_full_disk(void **state)
{
    if (mount("tmpfs", b.dir, "tmpfs", 0, "size=1m") < 0) {
        print_message("# SKIPPED LOUDLY: no tmpfs could be mounted (%s)\n", strerror(errno));
        return;
    }
    open_with(0);
    ballast(true);
    for (uint64_t i = 1; i <= 400; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    ballast(false);
    open_with(0);
    assert_int_equal(b.history->ops->applied(b.history), 0);
    close_store();
}

/* ---- damage ---- */

static void spoil(off_t at, const char *bytes)
{
    int fd = open(b.path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
    close(fd);
}

static void assert_there(const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", b.dir, name);
    if (access(path, F_OK) != 0)
        fail_msg("%s is not there", path);
}

static void test_damaged_at_opening(void **state)
{
    for (int i = 1; i <= 5; i++) {
        b.failures = 0;
        spoil(
            0,
            "this is no database, and it is long enough to be seen as such: more than a hundred bytes of text"
            " that nobody can read as the header of SQLite");
        open_with(0);
        assert_int_equal(b.failures, 0); /* not from within */
        drain();
        assert_int_equal(b.failures, 1);
        assert_int_equal(b.failure.code, ERR_CORRUPT);
        assert_non_null(strstr(b.failure.text, "was damaged; it was moved to "));
        put(new_write(1));
        drain();
        assert_int_equal(b.history->ops->applied(b.history), 1);
        close_store();
        assert_there(i == 1   ? "history.db.corrupt-1"
                     : i == 2 ? "history.db.corrupt-2"
                              : "history.db.corrupt-3");
    }
}

static void test_damaged_at_work(void **state)
{
    struct history_query q = {.kind = HISTORY_RUNS};
    struct answer a;
    char junk[4097];

    open_with(0);
    for (uint64_t i = 1; i <= 3000; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    memset(junk, 0x5a, sizeof(junk) - 1);
    junk[sizeof(junk) - 1] = '\0';
    for (off_t page = 3; page < 40; page++)
        spoil(page * 4096, junk);
    open_with(0); /* the damage is not seen yet */
    ask(&q, &a);
    drain();
    assert_int_equal(a.error.code, ERR_CORRUPT);
    assert_int_equal(b.failures, 1);
    assert_non_null(strstr(b.failure.text, "history.db.corrupt-1, and a new history is begun"));
    assert_int_equal(b.history->ops->applied(b.history), 0);
    put_minute(3001, "a", 1);
    assert_int_equal(count_of(&q), 1);
    assert_gaps("[{\"from\":0,\"to\":1700000060000}]");
    close_store();
}

/* Seen by a write, with more writes queued behind: they go to the new file. */
static void test_damaged_under_a_write(void **state)
{
    char junk[4097];

    open_with(0);
    for (uint64_t i = 1; i <= 3000; i++)
        put_minute(i, "a", (int)i);
    drain();
    close_store();
    memset(junk, 0x5a, sizeof(junk) - 1);
    junk[sizeof(junk) - 1] = '\0';
    for (off_t page = 3; page < 100; page++)
        spoil(page * 4096, junk);
    open_with(0);
    for (uint64_t i = 3001; i <= 3010; i++)
        put_minute(i, "a", (int)i);
    drain();
    assert_int_equal(b.history->ops->applied(b.history), 3010);
    assert_int_equal(count_of(&(struct history_query){.kind = HISTORY_RUNS}), 10);
    assert_int_equal(b.failures, 2); /* the damage, and that it was moved */
    close_store();
}

static void test_newer_and_foreign_files(void **state)
{
    struct store_options options = {.path = b.path, .pool = &b.table};
    struct error error = {0};
    struct history *history;
    sqlite3 *db;

    open_with(0);
    close_store();
    assert_int_equal(db_open(&db, b.path, false, NULL), 0);
    assert_int_equal(db_exec(db, "PRAGMA user_version = 99", NULL), 0);
    sqlite3_close(db);
    assert_int_equal(store_open(&history, &options, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "has version 99, of a newer program"));
    assert_int_equal(db_open(&db, b.path, false, NULL), 0);
    assert_int_equal(db_exec(db, "PRAGMA application_id = 1", NULL), 0);
    sqlite3_close(db);
    assert_int_equal(store_open(&history, &options, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "not a history"));
}

/* ---- pruning ---- */

static void test_prune(void **state)
{
    struct history_query runs = {.kind = HISTORY_RUNS}, records = {.kind = HISTORY_RECORDS};
    struct history_write *w;

    open_with(0);
    for (uint64_t i = 1; i <= 1000; i++)
        put_minute(i, "a", (int)i);
    put_minute(1001, "b", 1);
    w = new_write(1002);
    add_run(w, "a@20231101T000000Z", T0 - 14 * DAY, "running", NULL,
            "schedule"); /* old, but not ended: stays */
    add_record(w, "job", "a", NULL);
    add_record(w, "resume", "a", NULL);
    put(w);
    drain();
    b.history->ops->prune(b.history, "a", 990, 0);
    drain();
    assert_int_equal(b.removed, 10);
    assert_memory_equal(b.removed_runs, "a@20231114T000100Z a@20231114T000200Z ", 38);
    assert_int_equal(count_of(&runs), 990 + 1 + 1);
    assert_int_equal(count_of(&records), 2 * 991 + 2); /* theirs went with them */
    b.history->ops->prune(b.history, "a", 990, 0);
    drain();
    assert_int_equal(b.removed, 10);
    b.history->ops->prune(b.history, "a", 10000, T0 + 500 * 60000); /* older than minute 500, by their end */
    drain();
    assert_int_equal(b.removed, 499);
    assert_int_equal(count_of(&runs), 501 + 1 + 1);
    b.history->ops->prune(b.history, "none", 0, INT64_MAX);
    b.history->ops->prune(b.history, "a", 0, 0);
    drain();
    assert_int_equal(count_of(&runs), 2);
    assert_answer(&(struct history_query){.kind = HISTORY_RECORDS, .job = "a"}, "kind", "job resume");
    close_store();
}

/* What goes stays counted, once: a skipped fire time is a run's row and a skip. */
static void test_prune_keeps_count(void **state)
{
    struct history_query audit = {.kind = HISTORY_AUDIT, .since_ms = T0, .until_ms = T0 + 30 * DAY};
    struct history_write *w = new_write(1);
    json_t *answer;
    char *pruned;

    open_with(0);
    for (int i = 0; i < 6; i++) {
        char run[64];

        snprintf(run, sizeof(run), "a@20231115T0%d0000Z", i);
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
    }
    add_run(w, "a@20231115T060000Z", T0 + 6 * HOUR, "skipped", "overlap", "schedule");
    add_skip(w, "a", T0 + 6 * HOUR, T0 + 6 * HOUR, 1, "overlap");
    add_run(w, "a@20231115T070000Z", T0 + 7 * HOUR, "skipped", "deadline", "schedule"); /* no skip for it */
    add_run(w, "a@20231115T080000.500Z", T0 + 8 * HOUR + 500, "ended", "failed", "manual");
    add_run(w, "a@20231110T000000Z", T0 + 9 * HOUR, "ended", "failed", "backfill");
    add_skip(w, "a", T0 + 10 * HOUR, T0 + 12 * HOUR, 3, "paused");
    add_run(w, "a@20231125T000000Z", T0 + 10 * DAY, "ended", "succeeded", "schedule");
    put(w);
    b.history->ops->prune(b.history, "a", 100, T0 + 5 * DAY);
    drain();
    assert_int_equal(b.removed, 10);
    answer = get(&audit);
    pruned = json_dumps(json_object_get(answer, "pruned"), JSON_COMPACT | JSON_SORT_KEYS);
    /* T0 is 22:13:20 on one day: the first two hours' worth, then 4 runs, 2 skipped fire times, a range of 3
     */
    assert_string_equal(pruned, "[{\"count\":2,\"from\":1700000000000,\"job\":\"a\",\"to\":1700003600000},"
                                "{\"count\":9,\"from\":1700007200000,\"job\":\"a\",\"to\":1700043200000}]");
    free(pruned);
    assert_int_equal(json_array_size(json_object_get(answer, "runs")), 1);
    assert_int_equal(json_array_size(json_object_get(answer, "skips")), 0);
    json_decref(answer);
    close_store();
}

/* Pruning and writing take turns. */
static void test_prune_between_writes(void **state)
{
    open_with(0);
    for (uint64_t i = 1; i <= 1400; i++)
        put_minute(i, "a", (int)i);
    drain();
    b.history->ops->prune(b.history, "a", 0, 0);
    for (uint64_t i = 1401; i <= 1410; i++)
        put_minute(i, "b", (int)i);
    for (int i = 0; i < 4; i++)
        step(0);
    assert_int_equal(b.history->ops->applied(b.history), 1410); /* long before the pruning is done */
    assert_in_range(b.removed, 1, 1399);
    drain();
    assert_int_equal(b.removed, 1400);
    close_store();
}

static void test_audit_answer(void **state)
{
    struct history_query audit = {
        .kind = HISTORY_AUDIT, .job = "a", .since_ms = T0 + HOUR, .until_ms = T0 + 3 * HOUR};
    struct history_write *w = new_write(1);
    json_t *answer;

    open_with(0);
    for (int i = 0; i < 6; i++) {
        char run[64];

        snprintf(run, sizeof(run), "a@20231115T0%d0000Z", i);
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
        *run = 'b';
        add_run(w, run, T0 + i * HOUR, "ended", "succeeded", "schedule");
    }
    add_run(w, "a@20231115T080000.500Z", T0 + 2 * HOUR, "ended", "failed", "manual");
    add_skip(w, "a", T0, T0 + HOUR, 1, "paused");
    add_skip(w, "a", T0 + 2 * HOUR, T0 + 9 * HOUR, 1, "paused");
    add_record(w, "job", "a", NULL);
    add_record(w, "job", "b", NULL);
    add_record(w, "fire", "a", NULL);
    add_record(w, "pause", NULL, NULL);
    put(w);
    answer = get(&audit);
    assert_int_equal(json_array_size(json_object_get(answer, "runs")), 2); /* since is exclusive */
    assert_int_equal(json_array_size(json_object_get(answer, "skips")), 1);
    assert_int_equal(json_array_size(json_object_get(answer, "records")), 2);
    json_decref(answer);
    close_store();
}

/* ---- over libuv ---- */

static void on_pool_closed(void *arg)
{
    ++*(int *)arg;
}

static void on_store_closed(void *arg)
{
    pool_close(arg, on_pool_closed, &b.closed);
}

static void test_over_libuv(void **state)
{
    struct pool pool;
    struct store_options options = {
        .path = b.path, .pool = &pool.table, .failed = on_failed, .removed = on_removed};
    struct history_query q = {.kind = HISTORY_RUNS, .job = "a"};
    struct answer answers[20];
    uv_loop_t loop;

    uv_loop_init(&loop);
    pool_init(&pool, &loop);
    assert_int_equal(store_open(&b.history, &options, NULL), 0);
    for (int i = 0; i < 20; i++) {
        for (uint64_t k = 1; k <= 50; k++)
            put_minute((uint64_t)i * 50 + k, "a", i * 50 + (int)k);
        ask(&q, &answers[i]);
    }
    b.history->ops->prune(b.history, "b", 1, 0);
    while (!answers[19].calls)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++) {
        assert_true(json_array_size(answers[i].result) >= (size_t)(i + 1) * 50);
        json_decref(answers[i].result);
    }
    b.history->ops->close(b.history, on_store_closed, &pool);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(b.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(b.failures, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_queries),
        T(test_query_sees_the_writes_before_it),
        T(test_feeding_again),
        T(test_jump_is_a_gap),
        T(test_too_much_waits),
        T(test_too_many_queries),
        T(test_close_answers_and_writes),
        T(test_disk_full),
        T(test_close_with_a_full_disk),
        T(test_damaged_at_opening),
        T(test_damaged_at_work),
        T(test_damaged_under_a_write),
        T(test_newer_and_foreign_files),
        T(test_prune),
        T(test_prune_keeps_count),
        T(test_prune_between_writes),
        T(test_audit_answer),
        T(test_over_libuv),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
