/* A Docker engine that answers nonsense, one request at a time: wrong statuses, halves, wrong types, too deep, too many
 * values, too much. Whoever asked it stays up, gets an answer with a reason, and never one that proves what nobody
 * said. */
#include "cronsched/engines/docker/docker.h"
#include "jobs/base/alloc.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OK           "HTTP/1.1 200 OK\r\n"
#define ID           "ab12cd"
#define CASE_MS      20000
#define MEMORY_KB    (512 * 1024) /* with sanitizers */
#define MORE_BYTES   (64 * 1024)

/* ---- the engine ---- */

struct nonsense {
    const char *say;
    size_t size;       /* 0: to the NUL */
    const char *again; /* said after it, for ever */
    bool stays;        /* after it nothing comes, and no end */
};

struct reply {
    const char *request; /* part of the first line */
    int status;
    const char *body;
};

struct caller {
    uv_tcp_t tcp;
    uv_write_t write;
    char got[16 * 1024], answer[16 * 1024];
    size_t n;
    bool answered, stays;
    const char *again;
};

static uv_loop_t loop;
static uv_tcp_t listener;
static char url[64];
static const char *bad_path; /* part of the request line that gets nonsense */
static struct nonsense bad;
static int bad_count, starts, deletes, pages;
static struct reply special[3]; /* goes before the sane ones; request NULL: none */
static struct reply later[1];   /* goes before these, from the second such request on */
static int later_count;

static const struct reply sane[] = {
    {"GET /version", 200, "{\"ApiVersion\":\"1.45\",\"MinAPIVersion\":\"1.24\",\"Version\":\"26\"}"},
    {"/info", 200, "{\"ID\":\"d\",\"LoggingDriver\":\"json-file\"}"},
    {"/volumes/", 200, "{\"Labels\":{\"cronsched.identity\":\"ab12\"}}"},
    {"/networks/bridge", 200, "{\"Id\":\"n\"}"},
    {"/containers/create", 201, "{\"Id\":\"" ID "\"}"},
    {"/containers/json", 200, "[]"},
    {"/changes", 200, "null"},
    {"/archive", 200, ""},
    {"/start ", 204, ""},
    {"/json", 200,
     "{\"Id\":\"" ID "\",\"State\":{\"Status\":\"created\",\"ExitCode\":0,\"Error\":\"\"},"
     "\"Config\":{\"Labels\":{\"cronsched.witness\":\"/.cronsched-w\"}}}"},
};

static void on_caller_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_caller(struct caller *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_caller_closed);
}

static void on_said(uv_write_t *write, int status)
{
    struct caller *c = write->data;
    uv_buf_t more;

    if (c->again && status == 0 && !uv_is_closing((uv_handle_t *)&c->tcp)) {
        more = uv_buf_init((char *)(uintptr_t)c->again, MORE_BYTES);
        uv_write(&c->write, (uv_stream_t *)&c->tcp, &more, 1, on_said);
    } else if (!c->stays) {
        close_caller(c);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct caller *c = handle->data;

    if (c->answered)
        c->n = 0; /* what still comes is not read */
    *buffer = uv_buf_init(c->got + c->n, (unsigned)(sizeof(c->got) - 1 - c->n));
}

static bool answer(struct caller *c, const char *line, const struct reply *replies, size_t count)
{
    for (size_t i = 0; i < count && replies[i].request; i++) {
        if (!strstr(line, replies[i].request))
            continue;
        snprintf(c->answer, sizeof(c->answer),
                 "HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", replies[i].status,
                 strlen(replies[i].body), replies[i].body);
        return true;
    }
    return false;
}

static uv_buf_t choose(struct caller *c)
{
    char line[1024];

    snprintf(line, sizeof(line), "%.*s", (int)strcspn(c->got, "\r\n"), c->got);
    starts += strstr(line, "/start ") != NULL;
    pages += strstr(line, "before") != NULL;
    deletes += strncmp(line, "DELETE", 6) == 0;
    if (bad_path && strstr(line, bad_path)) {
        bad_count++;
        c->again = bad.again;
        c->stays = bad.stays;
        return uv_buf_init((char *)(uintptr_t)bad.say, (unsigned)(bad.size ? bad.size : strlen(bad.say)));
    }
    snprintf(c->answer, sizeof(c->answer),
             "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    if (answer(c, line, special, COUNT(special)) && strstr(line, "/events"))
        return uv_buf_init(c->answer, (unsigned)strlen(c->answer));
    c->stays = strstr(line, "/events") != NULL;
    if (c->stays)
        snprintf(c->answer, sizeof(c->answer), OK "Transfer-Encoding: chunked\r\n\r\n");
    if (c->stays)
        return uv_buf_init(c->answer, (unsigned)strlen(c->answer));
    if (later[0].request && strstr(line, later[0].request) && later_count++ > 0)
        answer(c, line, later, 1);
    else if (!answer(c, line, special, COUNT(special)))
        answer(c, line, sane, COUNT(sane));
    return uv_buf_init(c->answer, (unsigned)strlen(c->answer));
}

static void on_read(uv_stream_t *from, ssize_t n, const uv_buf_t *buffer)
{
    struct caller *c = from->data;
    const char *end, *length;
    uv_buf_t say;

    if (n < 0) {
        close_caller(c);
        return;
    }
    if (c->answered)
        return;
    c->n += (size_t)n;
    c->got[c->n] = '\0';
    end = strstr(c->got, "\r\n\r\n");
    length = strstr(c->got, "Content-Length: ");
    if (!end || (length && (size_t)(end + 4 - c->got) + strtoul(length + 16, NULL, 10) > c->n))
        return;
    c->answered = true;
    c->write.data = c;
    say = choose(c);
    uv_write(&c->write, from, &say, 1, on_said);
}

static void on_caller(uv_stream_t *server, int status)
{
    struct caller *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    uv_tcp_init(&loop, &c->tcp);
    c->tcp.data = c;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* ---- what it says ---- */

static char too_long[6 * 1024 * 1024], deep[16 * 1024], many[3 * 1024 * 1024], xs[MORE_BYTES],
    zeros[MORE_BYTES];

static const struct nonsense nonsense[] = {
    {"HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 000 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 -12 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
    {"HTTP/1.1 500 X\r\nContent-Length: 13\r\n\r\n{\"message\":[]}"},
    {OK "Content-Length: 0\r\n\r\n"},
    {OK "Content-Length: 3\r\n\r\n{\"a"},
    {OK "Content-Length: 2\r\n\r\n{}"},
    {OK "Content-Length: 1\r\n\r\n7"},
    {OK "Content-Length: 13\r\n\r\n{\"a\":1,\"a\":2}"},
    {OK "Content-Length: 9\r\n\r\n{\"a\":\"\xff\"}"},
    {OK "Content-Length: 11\r\n\r\n{\"a\":1e9999"},
    {OK "Content-Length: 32\r\n\r\n{\"State\":{\"Status\":\"exited\",\"Exi"},
    {OK "Content-Length: 24\r\n\r\n{\"Id\":7,\"ApiVersion\":[]}"},
    {OK "Date: Sun, 01 Jan 2147483647 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"},
    {OK "Content-Length: 100\r\n\r\n{}"},
    {OK "Content-Length: -1\r\n\r\n{}"},
    {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{"},
    {"\0\1\2\3", 4},
    {"HTTP/9.9 200 OK\r\n\r\n{}"},
    {""},
    {deep},
    {many},
    {too_long, sizeof(too_long)},
};

static void fill(char *text, size_t size, const char *unit, size_t count)
{
    size_t n, step = strlen(unit);

    snprintf(text, size, OK "Content-Length: %zu\r\n\r\n", count * step);
    n = strlen(text);
    for (size_t i = 0; i < count; i++, n += step)
        memcpy(text + n, unit, step);
    text[n] = '\0';
}

static void make_nonsense(void)
{
    size_t n;

    fill(deep, sizeof(deep), "[", 10000);
    fill(many, sizeof(many), "[],", 1000000 - 100000);
    n = (size_t)snprintf(too_long, sizeof(too_long), OK "\r\n[\"");
    memset(too_long + n, 'x', sizeof(too_long) - n);
}

/* ---- who asks it ---- */

static struct engine_answer heard;
static char heard_text[4096];
static int heard_count, closed;
static char data_dir[] = "/tmp/cronsched-hostile-XXXXXX";

static void host_answer(struct engine_host *host, const struct engine_answer *a)
{
    heard = *a;
    snprintf(heard_text, sizeof(heard_text), "%.4000s", a->text ? a->text : "");
    heard_count++;
}

static bool keeps = true;
static struct engine_status *asked_status; /* of the engine after its answers; NULL: nobody asks */

static bool host_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    return keeps;
}

static int64_t host_now(struct engine_host *host)
{
    return 1764500000000;
}

static int64_t host_epoch(struct engine_host *host)
{
    return 3;
}

static const char *host_cluster(struct engine_host *host)
{
    return "c";
}

static void host_back(struct engine_host *host, const struct engine *engine)
{
}

static struct engine_host host = {.answer = host_answer,
                                  .keep = host_keep,
                                  .now_ms = host_now,
                                  .epoch = host_epoch,
                                  .cluster = host_cluster,
                                  .back = host_back};

static void on_closed(void *arg)
{
    closed++;
}

static void open_engine(struct engine **ret, int64_t sweep_ms)
{
    struct docker_engine_options o = {
        .name = "docker", .endpoint = url, .data_dir = data_dir, .ping_ms = 1000, .sweep_ms = sweep_ms};

    heard_count = closed = bad_count = starts = deletes = pages = later_count = 0;
    assert_int_equal(docker_engine_new(ret, &loop, &o, &host, NULL), 0);
}

static void close_engine(struct engine *engine)
{
    engine->ops->close(engine, on_closed, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static void on_tick(uv_timer_t *timer)
{
}

/* Lets everybody work for so long, or until there are so many answers. */
static void turn(int64_t ms, int answers)
{
    uint64_t until = uv_hrtime() + UINT64_C(1000000) * (uint64_t)ms;
    uv_timer_t tick;

    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 10, 10);
    while (heard_count < answers && uv_hrtime() < until)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* A fresh engine, one request, its first answers: so many, within ms. */
static void ask_for(enum engine_op op, const char *definition, int answers, int64_t ms)
{
    json_t *def = json_loads(definition, 0, NULL);
    struct engine_request r = {.run = "r@1",
                               .attempt = 1,
                               .try = 1,
                               .epoch = 3,
                               .name = "cs-1",
                               .id = ID,
                               .boot_id = "engine=d.n",
                               .cause = "",
                               .may_have_run = true};
    struct engine *engine;
    struct job *job;

    assert_int_equal(job_from_json(&job, "j", def, NULL, NULL), 0);
    open_engine(&engine, 60000);
    r.job = job;
    engine->ops->submit(engine, op, &r);
    turn(ms, answers);
    if (asked_status)
        engine->ops->status(engine, asked_status);
    close_engine(engine);
    job_unref(job);
    json_decref(def);
}

static void ask(enum engine_op op)
{
    ask_for(op, "{\"image\":\"alpine\"}", 1, CASE_MS);
}

static int set_up(void **state)
{
    struct sockaddr_in a;
    int n = sizeof(a);

    make_nonsense();
    if (!mkdtemp(data_dir))
        return -1;
    memset(xs, 'x', sizeof(xs));
    uv_loop_init(&loop);
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_init(&loop, &listener);
    uv_tcp_bind(&listener, (const struct sockaddr *)&a, 0);
    if (uv_listen((uv_stream_t *)&listener, 64, on_caller) != 0)
        return -1;
    uv_tcp_getsockname(&listener, (struct sockaddr *)&a, &n);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", ntohs(a.sin_port));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    nftw(data_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    uv_close((uv_handle_t *)&listener, NULL);
    while (uv_run(&loop, UV_RUN_ONCE))
        ;
    return uv_loop_close(&loop);
}

/* Each kind of nonsense as the answer to `path`; none of them leads to `event`. */
static void never(enum engine_op op, const char *path, enum engine_event event)
{
    for (size_t i = 0; i < COUNT(nonsense); i++) {
        bad_path = path;
        bad = nonsense[i];
        ask(op);
        if (heard_count == 0)
            fail_msg("%s: no answer to %zu", path, i);
        if (bad_count == 0)
            fail_msg("%s: was not asked for", path);
        if (heard.event == event)
            fail_msg("%s: %zu led to %s: %s", path, i, engine_event_name(event), heard_text);
        if (!heard_text[0] && heard.event != ENGINE_PREPARED && heard.event != ENGINE_STARTED)
            fail_msg("%s: %zu led to %s without a reason", path, i, engine_event_name(heard.event));
    }
    bad_path = NULL;
}

static void test_sane_answers_come_through(void **state)
{
    ask(ENGINE_PREPARE);
    if (heard.event != ENGINE_PREPARED)
        fail_msg("%s: %s", engine_event_name(heard.event), heard_text);
    ask(ENGINE_RELEASE);
    assert_int_equal(heard.event, ENGINE_STARTED);
    assert_int_equal(starts, 1);
}

static void test_nonsense_for_the_link(void **state)
{
    never(ENGINE_PREPARE, "/version", ENGINE_PREPARED);
    never(ENGINE_PREPARE, "/info", ENGINE_DONE);
    never(ENGINE_PREPARE, "/volumes/", ENGINE_DONE);
}

static void test_nonsense_for_a_preparation(void **state)
{
    never(ENGINE_PREPARE, "/create", ENGINE_PREPARED);
    never(ENGINE_PREPARE, "/changes", ENGINE_PREPARED);
}

/* What cannot be looked at may run already: it is not started. */
static void test_nonsense_for_a_release(void **state)
{
    static const char *const odd[] = {"{}", "[]", "null",
                                      "{\"State\":{\"Status\":\"exited\",\"ExitCode\":\"0\"}}",
                                      "{\"State\":{\"Status\":7}}"};
    static char text[512];

    for (size_t i = 0; i < COUNT(odd); i++) {
        snprintf(text, sizeof(text), OK "Content-Length: %zu\r\n\r\n%s", strlen(odd[i]), odd[i]);
        bad_path = "/json HTTP";
        bad = (struct nonsense){text};
        ask(ENGINE_RELEASE);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
        assert_non_null(strstr(heard_text, "invalid"));
        assert_int_equal(starts, 0);
    }
    never(ENGINE_RELEASE, "/start ", ENGINE_NEVER_RAN);
}

/* ---- fence ---- */

#define GONE                                                                                                 \
    {                                                                                                        \
        "/containers/" ID "/json", 404, "{\"message\":\"No such container\"}"                                \
    }

static void nothing_special(void)
{
    memset(special, 0, sizeof(special));
    memset(later, 0, sizeof(later));
    bad_path = NULL;
    keeps = true;
}

/* It asks again and again before it gives up, so only some kinds are tried, and not to the end. */
static void never_proves(const char *path)
{
    for (size_t i = 0; i < COUNT(nonsense); i += 4) {
        bad_path = path;
        bad = nonsense[i];
        ask_for(ENGINE_FENCE, "{\"image\":\"alpine\"}", 1, 250);
        if (heard_count > 0 && heard.event == ENGINE_NEVER_RAN)
            fail_msg("%s: %zu is taken for a proof: %s", path, i, heard_text);
        assert_in_range(bad_count, 1, 1000);
    }
    bad_path = NULL;
}

static void test_nonsense_for_a_fence(void **state)
{
    ask(ENGINE_FENCE);
    assert_int_equal(heard.event, ENGINE_NEVER_RAN); /* so is what is said by an engine that is sane */
    never_proves("/" ID "/json HTTP");
    never_proves("/networks/bridge");
    special[0] = (struct reply)GONE;
    never_proves("/events");
    special[0] = (struct reply){"/archive", 500, "{\"message\":\"no\"}"};
    never_proves("/changes");
    nothing_special();
}

#define EVENT(action) "{\"Type\":\"container\",\"Action\":\"" action "\",\"Actor\":{\"ID\":\"" ID "\"}"
#define AT            ",\"timeNano\":1764500000000000000}\n"

/* Among the events that are to prove that it never ran is one that cannot be read. */
static void test_events_that_hide_the_start(void **state)
{
    static const char *const starts_hidden[] = {
        OK "\r\n" EVENT("create") AT EVENT("start") ",\"a\":1,\"a\":2}\n" EVENT("destroy") AT,
        OK "\r\n" EVENT("create") AT "{\n" EVENT("destroy") AT,
        OK "\r\n" EVENT("start") ",}\n" EVENT("create") AT EVENT("destroy") AT,
    };

    special[0] = (struct reply)GONE;
    bad_path = "/events";
    bad = (struct nonsense){OK "\r\n" EVENT("create") AT EVENT("destroy") AT, .stays = true};
    ask(ENGINE_FENCE);
    assert_int_equal(heard.event, ENGINE_NEVER_RAN);
    for (size_t i = 0; i < COUNT(starts_hidden); i++) {
        bad.say = starts_hidden[i];
        ask(ENGINE_FENCE);
        assert_int_equal(heard.event, ENGINE_UNKNOWN);
    }
    nothing_special();
}

/* ---- watch ---- */

#define STATE_OF(status, more)                                                                               \
    "{\"Id\":\"" ID "\",\"State\":{\"Status\":\"" status "\",\"StartedAt\":\"2025-11-30T10:00:00Z\"" more "}}"
#define FINISHED ",\"FinishedAt\":\"2025-11-30T10:00:05Z\""

/* Whether it runs is told to be unknown, instead of nothing for ever. */
static void test_nonsense_for_a_watch(void **state)
{
    never(ENGINE_WATCH, "/" ID "/json HTTP", ENGINE_ENDED);
}

static void test_an_end_without_its_exit_code_is_unknown(void **state)
{
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED)};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_UNKNOWN);
    assert_non_null(strstr(heard_text, "exit code"));
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 3);
    nothing_special();
}

/* The engine was started after it: what it says of the end may be made up, unless it remembers the event. */
static void test_an_end_that_was_not_seen_is_believed_with_its_event(void **state)
{
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":0")};
    special[1] =
        (struct reply){"/networks/bridge", 200, "{\"Id\":\"n\",\"Created\":\"2025-11-30T10:00:20Z\"}"};
    special[2] = (struct reply){"/events?since=1&until=", 200, "{}"};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_UNKNOWN);
    assert_non_null(strstr(heard_text, "has not seen"));
    special[2].body = EVENT("die") AT;
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 0);
    nothing_special();
}

/* The engine says so beside the end, after it, or among its events alone; or it never learns of it. */
static void test_a_kill_for_memory_is_waited_for(void **state)
{
    static const char limited[] =
        "{\"State\":{\"Status\":\"exited\",\"StartedAt\":\"2025-11-30T10:00:00Z\"" FINISHED
        ",\"ExitCode\":137},\"HostConfig\":{\"Memory\":8388608}}";
    uint64_t began;

    special[0] = (struct reply){"/" ID "/json", 200, limited};
    bad_path = "/events?";
    bad = (struct nonsense){OK "\r\n" EVENT("die") AT EVENT("oom") AT, .stays = true};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_string_equal(heard.cause, "oom");
    bad = (struct nonsense){OK "\r\n" EVENT("die") AT, .stays = true};
    later[0] = (struct reply){"/" ID "/json", 200,
                              STATE_OF("exited", FINISHED ",\"ExitCode\":137,\"OOMKilled\":true")};
    ask(ENGINE_WATCH);
    assert_string_equal(heard.cause, "oom");
    later[0] = (struct reply){0};
    began = uv_hrtime();
    ask(ENGINE_WATCH);
    assert_true(uv_hrtime() - began > 900 * UINT64_C(1000000));
    assert_string_equal(heard.cause, "signal");
    assert_non_null(strstr(heard_text, "memory"));
    nothing_special();
}

/* The end is told by an event behind a line that is too long, and long before the next look. */
static void test_events_behind_too_long_a_line_are_heard(void **state)
{
    static char events[512 * 1024];
    size_t n = (size_t)snprintf(events, sizeof(events), OK "\r\n");

    memset(events + n, 'x', sizeof(events) - n);
    snprintf(events + sizeof(events) - 300, 300, "\n%s", EVENT("die") AT);
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("running", "")};
    later[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    bad_path = "/events";
    bad = (struct nonsense){events, strlen(events), .stays = true};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 3);
    nothing_special();
}

static void test_events_without_end(void **state)
{
    static const char *const lines[] = {xs, zeros};

    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("running", "")};
    bad_path = "/events";
    for (size_t i = 0; i < COUNT(lines); i++) {
        bad = (struct nonsense){OK "\r\n", .again = lines[i]};
        ask_for(ENGINE_WATCH, "{\"image\":\"alpine\"}", 1, 300);
        assert_int_equal(heard_count, 0); /* it runs, and nothing else was said */
        assert_in_range(bad_count, 1, 3);
    }
    nothing_special();
}

/* ---- logs ---- */

static void test_nonsense_for_a_log(void **state)
{
    static const struct nonsense logs[] = {
        {OK "\r\n", .again = zeros}, /* frames of nothing */
        {OK "\r\n", .again = xs},    /* of two gigabytes */
        {OK "Content-Length: 100\r\n\r\n\1"},
        {OK "Content-Length: 3\r\n\r\n\1\1"},
        {"HTTP/1.1 501 X\r\nContent-Length: 0\r\n\r\n"}, /* 500 may pass, and is asked for longer */
        {""},
    };

    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    bad_path = "/logs";
    for (size_t i = 0; i < COUNT(logs); i++) {
        bad = logs[i];
        ask_for(ENGINE_WATCH, "{\"image\":\"alpine\",\"keep\":{\"logs\":\"4k\"}}", 1, CASE_MS);
        if (heard_count != 1 || heard.event != ENGINE_ENDED || heard.exit_code != 3)
            fail_msg("log %zu: %d answers", i, heard_count);
        assert_in_range(bad_count, 1, 8);
    }
    nothing_special();
}

/* ---- pull ---- */

static void test_nonsense_for_a_pull(void **state)
{
    static const char pulls[] = "{\"image\":\"alpine\",\"pull\":\"always\"}";

    bad_path = "/images/create";
    for (size_t i = 0; i < COUNT(nonsense); i++) {
        bad = nonsense[i];
        ask_for(ENGINE_PREPARE, pulls, 1, CASE_MS);
        assert_int_equal(heard_count, 1);
    }
    bad = (struct nonsense){OK "\r\n", .again = xs};
    ask_for(ENGINE_PREPARE, pulls, 1, 300);
    assert_int_equal(heard_count, 0);
    nothing_special();
}

static void test_ids_that_are_none(void **state)
{
    static const char *const bodies[] = {"{\"Id\":\"../images/x\"}", "{\"Id\":\"\"}",
                                         "{\"Id\":\"ab?force=1\"}", "{\"Id\":\"ab\\r\\nX: y\"}",
                                         "{\"Id\":7}"};

    for (size_t i = 0; i < COUNT(bodies); i++) {
        special[0] = (struct reply){"/containers/create", 201, bodies[i]};
        ask(ENGINE_PREPARE);
        assert_int_equal(heard.event, ENGINE_REFUSED);
    }
    nothing_special();
}

/* Where it has no mark the containers tell; only an empty list says that there are none. */
static void test_a_list_that_is_none_gives_no_identity(void **state)
{
    static const char *const lists[] = {"{}",   "null", "7",
                                        "[{}]", "[7]",  "[{\"Labels\":{\"cronsched.identity\":\"XY\"}}]"};

    for (size_t i = 0; i < COUNT(lists); i++) {
        special[0] = (struct reply){"GET /v1.45/volumes/", 404, "{}"};
        special[1] = (struct reply){"/containers/json?all=1&limit=1&", 200, lists[i]};
        special[2] = (struct reply){"/volumes/create", 201, "{}"};
        ask(ENGINE_PREPARE);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
        assert_non_null(strstr(heard_text, "makes no sense"));
    }
    nothing_special();
}

/* Its words come with each run; that it has no space is told of the engine itself, until it makes one again. */
static void test_an_engine_without_space_is_told(void **state)
{
    struct engine_status status = {0};

    special[0] = (struct reply){"/containers/create", 500,
                                "{\"message\":\"mkdir /var/lib/docker/x: no space left on device\"}"};
    asked_status = &status;
    ask(ENGINE_PREPARE);
    assert_int_equal(heard.event, ENGINE_REFUSED);
    assert_string_equal(status.trouble, "its disk is full: mkdir /var/lib/docker/x: no space left on device");
    nothing_special();
    ask(ENGINE_PREPARE);
    assert_int_equal(heard.event, ENGINE_PREPARED);
    assert_string_equal(status.trouble, "");
    asked_status = NULL;
}

/* ---- sweep ---- */

#define ITEM(state, epoch, attempt, created)                                                                 \
    "{\"Id\":\"" ID "\",\"Names\":[\"/cs-ab\"],\"State\":\"" state "\",\"Created\":" created ",\"Labels\":{" \
    "\"cronsched.cluster\":\"c\",\"cronsched.run\":\"r@1\"," epoch attempt                                   \
    "\"cronsched.witness\":\"/.cronsched-ab\"}}"
#define EPOCH   "\"cronsched.epoch\":\"3\","
#define ATTEMPT "\"cronsched.attempt\":\"1\","

static void sweep_once(const char *list, const char *inspect)
{
    struct engine *engine;

    keeps = false;
    special[0] = (struct reply){"/containers/json?all=1&limit=64", 200, list};
    special[1] = (struct reply){"/" ID "/json", 200, inspect};
    open_engine(&engine, 50);
    turn(150, 1);
    close_engine(engine);
}

static void test_the_sweep_removes_nothing_that_it_does_not_know(void **state)
{
    static const char over[] =
        "{\"Created\":\"2025-11-30T10:00:00Z\",\"State\":{\"Status\":\"exited\",\"ExitCode\":0,"
        "\"StartedAt\":\"2025-11-30T10:00:00Z\"" FINISHED "}}";
    static const struct {
        const char *list, *inspect;
        bool removed;
    } table[] = {
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]", over, true},
        /* as of an engine whose disk is full */
        {"[" ITEM("running", EPOCH, ATTEMPT, "1764000000") "]", over, true},
        {"[" ITEM("running", EPOCH, ATTEMPT, "1764000000") "]", STATE_OF("running", ""), false},
        {"[" ITEM("exited", "", ATTEMPT, "1764000000") "]", over, false},
        {"[" ITEM("exited", EPOCH, "", "1764000000") "]", over, false},
        {"[" ITEM("exited", "\"cronsched.epoch\":\"2x\",", ATTEMPT, "1764000000") "]", over, false},
        {"[" ITEM("exited", "\"cronsched.epoch\":\"99999999999999999999\",", ATTEMPT, "1764000000") "]", over,
         false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "\"then\"") "]", over, false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]", STATE_OF("running", ""), false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]",
         STATE_OF("exited", FINISHED ",\"ExitCode\":\"0\""), false},
        {"[" ITEM("created", EPOCH, ATTEMPT, "1764000000") "]", "{\"State\":{\"Status\":\"created\"}}",
         false},
        {"{}", over, false},
        {"[7,null,{},[]]", over, false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        sweep_once(table[i].list, table[i].inspect);
        if ((deletes > 0) != table[i].removed)
            fail_msg("%zu: %d removed", i, deletes);
    }
    nothing_special();
}

/* An engine that does not know `before` gives the same page again and again. */
static void test_a_list_without_end(void **state)
{
    static char list[15 * 1024];
    size_t n = 0;

    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%c{\"Id\":\"%x\"}", i ? ',' : '[', i);
    snprintf(list + n, sizeof(list) - n, "]");
    later[0] = (struct reply){"/containers/json?all=1&limit=64", 200, list};
    sweep_once(list, "{}");
    assert_in_range(pages, 1, later_count - pages); /* a second page in each sweep */
    nothing_special();
}

static void test_memory_stayed_within_bounds(void **state)
{
    struct rusage use;

    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    assert_in_range(use.ru_maxrss, 1, MEMORY_KB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sane_answers_come_through),
        cmocka_unit_test(test_nonsense_for_the_link),
        cmocka_unit_test(test_nonsense_for_a_preparation),
        cmocka_unit_test(test_nonsense_for_a_release),
        cmocka_unit_test(test_nonsense_for_a_fence),
        cmocka_unit_test(test_events_that_hide_the_start),
        cmocka_unit_test(test_nonsense_for_a_watch),
        cmocka_unit_test(test_an_end_without_its_exit_code_is_unknown),
        cmocka_unit_test(test_an_end_that_was_not_seen_is_believed_with_its_event),
        cmocka_unit_test(test_events_behind_too_long_a_line_are_heard),
        cmocka_unit_test(test_events_without_end),
        cmocka_unit_test(test_a_kill_for_memory_is_waited_for),
        cmocka_unit_test(test_nonsense_for_a_log),
        cmocka_unit_test(test_nonsense_for_a_pull),
        cmocka_unit_test(test_ids_that_are_none),
        cmocka_unit_test(test_a_list_that_is_none_gives_no_identity),
        cmocka_unit_test(test_an_engine_without_space_is_told),
        cmocka_unit_test(test_the_sweep_removes_nothing_that_it_does_not_know),
        cmocka_unit_test(test_a_list_without_end),
        cmocka_unit_test(test_memory_stayed_within_bounds),
    };

    return cmocka_run_group_tests_name("hostile_engine", tests, set_up, tear_down);
}
