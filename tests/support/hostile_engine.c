/* See hostile_engine.h. */
#include "tests/support/hostile_engine.h"

#include "jobs/base/alloc.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

/* ---- the engine ---- */

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
const char *bad_path; /* part of the request line that gets nonsense */
struct nonsense bad;
int bad_count, starts, deletes, pages;
struct reply special[3]; /* goes before the sane ones; request NULL: none */
struct reply later[1];   /* goes before these, from the second such request on */
int later_count;

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

char pull_credentials[512];

static void note_credentials(const struct caller *c, const char *line)
{
    const char *at = strstr(line, "/images/create") ? strstr(c->got, "X-Registry-Auth: ") : NULL;

    if (strstr(line, "/images/create"))
        snprintf(pull_credentials, sizeof(pull_credentials), "%.*s", at ? (int)strcspn(at, "\r\n") : 0,
                 at ? at : "");
}

static uv_buf_t choose(struct caller *c)
{
    char line[1024];

    snprintf(line, sizeof(line), "%.*s", (int)strcspn(c->got, "\r\n"), c->got);
    note_credentials(c, line);
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

char xs[MORE_BYTES], zeros[MORE_BYTES];
static char too_long[6 * 1024 * 1024], deep[16 * 1024], many[3 * 1024 * 1024];

const struct nonsense nonsense[] = {
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
const size_t nonsense_count = COUNT(nonsense);

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

struct engine_answer heard;
char heard_text[4096];
int heard_count;
static int closed;
static char data_dir[] = "/tmp/cronsched-hostile-XXXXXX";

static void host_answer(struct engine_host *host, const struct engine_answer *a)
{
    heard = *a;
    snprintf(heard_text, sizeof(heard_text), "%.4000s", a->text ? a->text : "");
    heard_count++;
}

const json_t *registries;
const char *docker_config = "";
bool keeps = true;
struct engine_status *asked_status; /* of the engine after its answers; NULL: nobody asks */

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

void open_engine(struct engine **ret, int64_t sweep_ms)
{
    struct docker_engine_options o = {.name = "docker",
                                      .endpoint = url,
                                      .data_dir = data_dir,
                                      .registries = registries,
                                      .docker_config = docker_config,
                                      .ping_ms = 1000,
                                      .sweep_ms = sweep_ms};

    heard_count = closed = bad_count = starts = deletes = pages = later_count = 0;
    assert_int_equal(docker_engine_new(ret, &loop, &o, &host, NULL), 0);
}

void close_engine(struct engine *engine)
{
    engine->ops->close(engine, on_closed, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static void on_tick(uv_timer_t *timer)
{
}

/* Lets everybody work for so long, or until there are so many answers. */
void turn(int64_t ms, int answers)
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
void ask_for(enum engine_op op, const char *definition, int answers, int64_t ms)
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

void ask(enum engine_op op)
{
    ask_for(op, "{\"image\":\"alpine\"}", 1, CASE_MS);
}

int set_up(void **state)
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

int tear_down(void **state)
{
    nftw(data_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    uv_close((uv_handle_t *)&listener, NULL);
    while (uv_run(&loop, UV_RUN_ONCE))
        ;
    return uv_loop_close(&loop);
}

/* Each kind of nonsense as the answer to `path`; none of them leads to `event`. */
void never(enum engine_op op, const char *path, enum engine_event event)
{
    for (size_t i = 0; i < nonsense_count; i++) {
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

void nothing_special(void)
{
    memset(special, 0, sizeof(special));
    memset(later, 0, sizeof(later));
    bad_path = NULL;
    keeps = true;
}
