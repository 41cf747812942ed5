#include "tests/support/api_fixture.h"

#include "cronsched/api/api_priv.h"
#include "jobs/base/near.h"
#include "jobs/state/filter.h"
#include "jobs/state/run_id.h"

#include <assert.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>

struct fake fake;
uv_loop_t loop;
struct api *api;
char dir[40], address[64];
const char *tcp_address;

/* ---- the scheduler ---- */

static int fake_write(const char *what, const char *job, const json_t *body, const char *by,
                      struct scheduler_result *ret)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    snprintf(fake.asked, sizeof(fake.asked), "%s %s %s by %s", what, job ? job : "-", text ? text : "-", by);
    free(text);
    if (fake.fails)
        return error_set(&ret->error, fake.fails, "%s is refused", what);
    ret->index = ++fake.next_index;
    ret->reply = json_pack("{s:s, s:I}", "did", what, "index", (json_int_t)ret->index);
    return 0;
}

void scheduler_apply_then(struct scheduler *s, const json_t *body, const char *by,
                          void (*done)(void *arg, int rc, struct scheduler_result *result), void *arg)
{
    struct scheduler_result result = {0};
    int rc = fake_write("apply", NULL, body, by, &result);

    done(arg, rc, &result);
}

const char *scheduler_cluster(struct scheduler *s)
{
    return "7b1f0c9e-0000-4000-8000-000000000001";
}

int scheduler_delete(struct scheduler *s, const char *job, const char *by, struct scheduler_result *ret)
{
    return fake_write("delete", job, NULL, by, ret);
}

int scheduler_pause(struct scheduler *s, const char *job, int64_t until_ms, const char *reason,
                    const char *by, struct scheduler_result *ret)
{
    json_t *body = json_pack("{s:I, s:s?}", "until", (json_int_t)until_ms, "reason", reason);
    int r = fake_write("pause", job, body, by, ret);

    json_decref(body);
    return r;
}

int scheduler_resume(struct scheduler *s, const char *job, const char *by, struct scheduler_result *ret)
{
    return fake_write("resume", job, NULL, by, ret);
}

int scheduler_trigger(struct scheduler *s, const char *job, const json_t *body, const char *by,
                      struct scheduler_result *ret)
{
    return fake_write("trigger", job, body, by, ret);
}

int scheduler_kill(struct scheduler *s, const char *run, const char *by, struct scheduler_result *ret)
{
    return fake_write("kill", run, NULL, by, ret);
}

int scheduler_backfill(struct scheduler *s, const char *job, const json_t *body, const char *by,
                       struct scheduler_result *ret)
{
    return fake_write("backfill", job, body, by, ret);
}

int scheduler_cancel_backfills(struct scheduler *s, const char *job, const char *by,
                               struct scheduler_result *ret)
{
    return fake_write("cancel", job, NULL, by, ret);
}

void scheduler_wait(struct scheduler *s, uint64_t index, void (*done)(void *arg, int result), void *arg)
{
    if (!fake.hold) {
        done(arg, 0);
        return;
    }
    assert(fake.held_count < HELD_MAX);
    fake.held[fake.held_count].done = done;
    fake.held[fake.held_count].arg = arg;
    fake.held[fake.held_count++].index = index;
}

void release(int result)
{
    size_t n = fake.held_count;

    fake.held_count = 0;
    for (size_t i = 0; i < n; i++)
        fake.held[i].done(fake.held[i].arg, result);
}

struct scheduler_walk {
    json_t *rows; /* an object by name */
    void *at;
};

static struct scheduler_walk *walk_new(json_t *rows)
{
    struct scheduler_walk *w = calloc(1, sizeof(*w));

    assert(w);
    *w = (struct scheduler_walk){rows, json_object_iter(rows)};
    return w;
}

struct scheduler_walk *scheduler_jobs_walk(struct scheduler *s, const struct filter *filter, uint64_t fields)
{
    if (fake.walk_rows)
        return walk_new(json_object());
    return walk_new(json_pack("{s:{s:s, s:b}, s:{s:s, s:b}}", "nightly", "job", "nightly", "paused", 0,
                              "hourly", "job", "hourly", "paused", 1));
}

struct scheduler_walk *scheduler_defs_walk(struct scheduler *s, const char *set)
{
    return walk_new(json_pack("{s:{s:s?}}", "a", "set", set));
}

int scheduler_walk_next(struct scheduler_walk *w, const char **ret_name, json_t **ret)
{
    *ret = NULL;
    if (fake.walk_gone && fake.walk_made >= fake.walk_gone)
        return ERR_DEPOSED;
    if (fake.walk_made < fake.walk_rows) {
        *ret_name = "one";
        *ret = json_pack("{s:s, s:i}", "job", "one", "number", fake.walk_made++);
        return 0;
    }
    if (!w->at)
        return 1;
    *ret_name = json_object_iter_key(w->at);
    *ret = json_incref(json_object_iter_value(w->at));
    w->at = json_object_iter_next(w->rows, w->at);
    return 0;
}

void scheduler_walk_free(struct scheduler_walk *w)
{
    json_decref(w->rows);
    free(w);
}

int scheduler_job_fields(const char *list, uint64_t *ret, struct error *error)
{
    *ret = SCHEDULER_JOB_FIELDS_ALL;
    return strcmp(list, "wrong") == 0 ? error_set(error, ERR_INVALID, "fields: there is no 'wrong'") : 0;
}

/* The two jobs, in pages: the cursor is the number of those before it. */
struct scheduler_job_page {
    struct scheduler_job_page_query query;
    size_t from, steps;
};

int scheduler_job_page_new(struct scheduler_job_page **ret, struct scheduler *s,
                           const struct scheduler_job_page_query *query, struct error *error)
{
    struct scheduler_job_page *p = calloc(1, sizeof(*p));

    assert(p);
    p->query = *query;
    p->from = query->after ? (size_t)(query->after[0] - '0') : 0;
    if (p->from > 2) {
        free(p);
        return error_set(error, ERR_INVALID, "after: this is no cursor");
    }
    *ret = p;
    return 0;
}

int scheduler_job_page_step(struct scheduler_job_page *p)
{
    return p->steps++ == 3;
}

size_t scheduler_job_page_total(const struct scheduler_job_page *p)
{
    return 2;
}

json_t *scheduler_job_page_row(struct scheduler_job_page *p, size_t i)
{
    static const char *const names[] = {"hourly", "nightly"};

    return i < p->query.limit && p->from + i < 2 ? json_pack("{s:s}", "job", names[p->from + i]) : NULL;
}

bool scheduler_job_page_numbers(const struct scheduler_job_page *p, size_t i,
                                struct scheduler_job_numbers *ret)
{
    static const char *const names[] = {"hourly", "nightly"};

    if (i >= p->query.limit || i >= 2)
        return false;
    *ret = (struct scheduler_job_numbers){.name = names[i], .next_ms = 1000, .paused = i};
    recent_init(&ret->recent);
    ret->recent.counts[VERDICT_FAILED] = i;
    return true;
}

const char *scheduler_job_page_cursor(const struct scheduler_job_page *p, char *ret, size_t size)
{
    snprintf(ret, size, "%zu", p->from + p->query.limit);
    return p->from + p->query.limit < 2 ? ret : NULL;
}

void scheduler_job_page_free(struct scheduler_job_page *p)
{
    filter_free(p->query.filter);
    free(p);
}

int scheduler_upcoming_new(struct scheduler_upcoming **ret, struct scheduler *s,
                           const struct scheduler_upcoming_query *query, struct error *error)
{
    return error_set(error, ERR_INVALID, "there is no schedule here");
}

int scheduler_upcoming_step(struct scheduler_upcoming *u)
{
    return 1;
}

json_t *scheduler_upcoming_summary(const struct scheduler_upcoming *u)
{
    return NULL;
}

json_t *scheduler_upcoming_row(struct scheduler_upcoming *u, size_t i)
{
    return NULL;
}

void scheduler_upcoming_free(struct scheduler_upcoming *u)
{
}

size_t scheduler_deaf_runs(struct scheduler *s, char *ret_text, size_t size)
{
    return 0;
}

size_t scheduler_jobs_without_engine(struct scheduler *s, const char **ret_engine)
{
    return 0;
}

const char *scheduler_near_job(struct scheduler *s, const char *name)
{
    static const char *const names[] = {"nightly", "hourly"};

    return near_find(name, names, 2);
}

uint64_t scheduler_index(const struct scheduler *s)
{
    return 42;
}

const char *scheduler_leader(const struct scheduler *s)
{
    return "r1";
}

uint64_t scheduler_defs_index(const struct scheduler *s)
{
    return 5;
}

json_t *scheduler_job_json(struct scheduler *s, const char *job)
{
    return strcmp(job, "nightly") == 0 ? json_pack("{s:s, s:i}", "job", job, "version", 3) : NULL;
}

static const char *text_of(const json_t *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run, key));

    return text ? text : "";
}

static int newest_first(const void *a, const void *b)
{
    const struct scheduler_run_id *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? 1 : -1;
    return strcmp(y->id, x->id);
}

struct scheduler_run_id *scheduler_run_ids(struct scheduler *s, const struct scheduler_run_filter *f,
                                           size_t most, size_t *ret_count)
{
    struct scheduler_run_id *ids = calloc(json_array_size(fake.runs) + 1, sizeof(*ids));
    json_t *run;
    size_t i, n = 0;

    assert(ids);
    json_array_foreach(fake.runs, i, run)
    {
        char job[RUN_ID_MAX];
        int64_t at_ms = 0;
        bool has_ms;

        run_id_parse(text_of(run, "run"), job, &at_ms, &has_ms);
        if ((!f->job || strcmp(f->job, text_of(run, "job")) == 0) &&
            (!f->state || strcmp(f->state, text_of(run, "state")) == 0) &&
            (!f->verdict || strcmp(f->verdict, text_of(run, "verdict")) == 0) &&
            (!f->since_ms || at_ms >= f->since_ms) && (!f->until_ms || at_ms <= f->until_ms))
            ids[n++] = (struct scheduler_run_id){at_ms, text_of(run, "run")};
    }
    qsort(ids, n, sizeof(*ids), newest_first);
    *ret_count = n < most ? n : most;
    return ids;
}

void scheduler_run_ids_free(struct scheduler_run_id *ids, size_t count)
{
    free(ids);
}

size_t scheduler_run_count(struct scheduler *s, const char *job)
{
    json_t *run;
    size_t i, n = 0;

    json_array_foreach(fake.runs, i, run) n += !job || strcmp(job, text_of(run, "job")) == 0;
    return n;
}

bool scheduler_run_is_live(struct scheduler *s, const char *id)
{
    json_t *run = scheduler_run_json(s, id);

    json_decref(run);
    return run != NULL;
}

json_t *scheduler_run_json(struct scheduler *s, const char *id)
{
    json_t *run;
    size_t i;

    json_array_foreach(fake.runs, i, run) if (strcmp(json_string_value(json_object_get(run, "run")), id) ==
                                              0) return json_incref(run);
    return NULL;
}

json_t *scheduler_status_json(struct scheduler *s)
{
    return json_pack("{s:b, s:i, s:i, s:s, s:s?}", "leading", fake.leading, "epoch", 7, "index", 42,
                     "cluster", "uuid-1", "refusing", fake.leading ? NULL : "the journal is not there yet");
}

void scheduler_metrics(struct scheduler *s, void (*put)(void *arg, const char *format, ...), void *arg)
{
    put(arg, "# TYPE cronsched_leading gauge\ncronsched_leading %d\n", fake.leading);
}

uint64_t scheduler_acked(const struct scheduler *s)
{
    return 7;
}

void scheduler_yield_by(struct scheduler *s, const char *by)
{
    snprintf(fake.yield_by, sizeof(fake.yield_by), "%s", by ? by : "");
}

bool scheduler_is_reading(const struct scheduler *s)
{
    return fake.reading;
}

bool scheduler_leading(const struct scheduler *s)
{
    return fake.leading;
}

/* ---- history, journal, engine, zones ---- */

static void fake_query(struct history *history, const struct history_query *query,
                       void (*answer)(void *arg, json_t *result, const struct error *error), void *arg)
{
    fake.query = *query;
    snprintf(fake.query_text, sizeof(fake.query_text), "%s %s %s %s", query->job ? query->job : "-",
             query->run ? query->run : "-", query->state ? query->state : "-",
             query->kinds ? query->kinds : "-");
    fake.answer = answer;
    fake.answer_arg = arg;
}

void answer_history(void)
{
    void (*answer)(void *arg, json_t *result, const struct error *error) = fake.answer;
    struct error e = {.code = ERR_FULL, .text = "the disk is full"};

    fake.answer = NULL; /* the next question may be asked from within */
    if (answer)
        answer(fake.answer_arg, fake.stored ? json_deep_copy(fake.stored) : NULL, &e);
}

static uint64_t fake_applied(const struct history *history)
{
    return 40;
}

static const char *fake_trouble(const struct history *history)
{
    (void)history;
    return fake.history_trouble;
}

static void fake_journal_status(const struct journal *journal, struct journal_status *ret)
{
    *ret = (struct journal_status){.leading = fake.leading,
                                   .refused = fake.journal_refused,
                                   .acked = 42,
                                   .appends = 10,
                                   .total_append_us = 25000,
                                   .last_append_us = 2000};
    snprintf(ret->text, sizeof(ret->text), "%s", fake.journal_text ? fake.journal_text : "");
}

static void fake_engine_status(const struct engine *engine, struct engine_status *ret)
{
    *ret =
        (struct engine_status){.reachable = fake.engine_reachable, .queued = 1, .in_flight = 2, .watched = 3};
    ret->clock_offset_ms = fake.engine_clock_offset_ms;
    if (fake.engine_reachable)
        snprintf(ret->text, sizeof(ret->text), "version 1");
    else if (fake.engine_text)
        snprintf(ret->text, sizeof(ret->text), "%s", fake.engine_text);
}

static const struct zone *fake_zone = (const struct zone *)(const void *)"zone";

static int fake_zone_get(struct zone_source *source, const char *name, const struct zone **ret,
                         struct error *error)
{
    *ret = fake_zone;
    return 0;
}

static void fake_zone_put(struct zone_source *source, const struct zone *zone)
{
    assert(zone == fake_zone);
}

static const char *fake_zone_version(struct zone_source *source)
{
    return fake.zone_version;
}

int64_t fake_wall(void *arg)
{
    return INT64_C(1795315500000); /* 2026-11-22T02:45:00Z */
}

/* ---- set up ---- */

void start_api(const struct api_options *more)
{
    static const struct history_ops history_ops = {
        .query = fake_query, .applied = fake_applied, .trouble = fake_trouble};
    static const struct journal_ops journal_ops = {.status = fake_journal_status};
    static const struct engine_ops engine_ops = {.status = fake_engine_status};
    static struct history history = {.ops = &history_ops};
    static struct journal journal = {.ops = &journal_ops};
    static struct engine engine = {.ops = &engine_ops, .name = "docker", .type = "docker"};
    static struct engine *const engines[] = {&engine};
    static struct zone_source zones = {fake_zone_get, fake_zone_put, fake_zone_version, NULL};
    static char tcp[] = "127.0.0.1:0", *listen[] = {address, tcp};
    struct api_options o = more ? *more : (struct api_options){0};
    struct error e = {0};

    o.context.history = &history;
    o.context.journal = &journal;
    o.context.engines = engines;
    o.context.engine_count = 1;
    o.context.zones = &zones;
    o.context.data_dir = dir;
    o.context.cluster = "test";
    o.context.replica = "r1";
    o.context.started_ms = INT64_C(1795315000000);
    o.context.wall_ms = fake_wall;
    if (o.listen_count == 0) {
        o.listen = listen;
        o.listen_count = 2;
    }
    if (api_start(&api, &loop, &o, &e) < 0)
        print_error("%s\n", e.text);
    assert_non_null(api);
    tcp_address = http_address(api->http, 0); /* sockets in the file system come last */
}

static void on_api_closed(void *arg)
{
    *(bool *)arg = true;
}

void stop_api(void)
{
    bool done = false;
    uint64_t deadline = client_deadline();

    if (!api)
        return;
    api_close(api, on_api_closed, &done);
    while (!done && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_true(done);
    api = NULL;
}

int set_up_plain(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    fake = (struct fake){.leading = true, .engine_reachable = true, .zone_version = "2026f"};
    fake.runs = json_array();
    fake.stored = json_array();
    snprintf(dir, sizeof(dir), "/tmp/cronsched-api-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(address, sizeof(address), "unix:%s/api.sock", dir);
    return uv_loop_init(&loop);
}

int set_up_api(void **state)
{
    if (set_up_plain(state) < 0)
        return -1;
    start_api(NULL);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

int tear_down(void **state)
{
    stop_api();
    release(ERR_CANCELLED); /* as scheduler_free does, after the API's end */
    answer_history();
    json_decref(fake.runs);
    json_decref(fake.stored);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    uv_run(&loop, UV_RUN_NOWAIT);
    return uv_loop_close(&loop);
}

/* ---- asking ---- */

struct reply ask(const char *line, const char *body)
{
    uint64_t deadline = client_deadline();
    char request[8192];
    struct reply r = {0};
    int fd = client_connect(address);

    if (body)
        snprintf(request, sizeof(request),
                 "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
                 "%zu\r\n\r\n%s",
                 line, strlen(body), body);
    else
        snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", line);
    client_send(&loop, fd, request, strlen(request));
    while (!client_late(deadline) && !reply_parse(&r, false) && !r.closed) {
        if (!fake.hold_history)
            answer_history();
        receive_more(&loop, fd, &r);
    }
    close(fd);
    return r;
}

json_t *body_of(const struct reply *r)
{
    json_t *json = r->body ? json_loads(r->body, JSON_DECODE_ANY, NULL) : NULL;

    if (!json)
        print_error("no JSON: %d %s\n", r->status, r->body ? r->body : "(nothing)");
    assert_non_null(json);
    return json;
}

void assert_answer(const char *line, const char *body, int status, const char *text)
{
    struct reply r = ask(line, body);

    if (r.status != status || !r.body || !strstr(r.body, text))
        print_error("%s %s: expected %d '%s', got %d %s\n", line, body ? body : "", status, text, r.status,
                    r.body ? r.body : "(nothing)");
    assert_int_equal(r.status, status);
    assert_non_null(strstr(r.body, text));
    reply_release(&r);
}

void write_log(int attempt, const char *text)
{
    char path[160];
    int fd;

    snprintf(path, sizeof(path), "%s/logs", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/logs/a", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/logs/a/" RUN ".%d.log", dir, attempt);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

void set_attempts(const char *run_state, const char *first, const char *second)
{
    json_t *attempts = json_pack("[{s:i, s:s}]", "attempt", 1, "state", first);

    if (second)
        json_array_append_new(attempts, json_pack("{s:i, s:s}", "attempt", 2, "state", second));
    json_array_clear(fake.runs);
    json_array_append_new(fake.runs, json_pack("{s:s, s:s, s:s, s:o}", "run", RUN, "job", "a", "state",
                                               run_state, "attempts", attempts));
}

int send_line(const char *line)
{
    char request[512];
    int fd = client_connect(address);

    snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", line);
    client_send(&loop, fd, request, strlen(request));
    return fd;
}
