/* A replica that answers nonsense: wrong statuses, halves, wrong types, too much, on every route that replicas ask one
 * another for. Whoever asked it stays up, asks no more often than it may, and answers its own caller. */
#include "cronsched/cluster/engine_remote.h"
#include "cronsched/cluster/forward.h"
#include "cronsched/cluster/heartbeat.h"
#include "cronsched/cluster/history_copy.h"
#include "cronsched/cluster/peer_logs.h"
#include "jobs/base/alloc.h"
#include "tests/support/http_fixture.h"

#include <inttypes.h>

#define RETRY_MS 2
#define OK       "HTTP/1.1 200 OK\r\n"
#define TEN(s)   s s s s s s s s s s

/* ---- the peer ---- */

static struct {
    uv_tcp_t listener;
    char url[64];
    const char *say; /* what the next request gets; NULL: what `chosen` does */
    size_t size;     /* 0: to the NUL */
    int asked;
    bool silent;     /* it answers nothing */
    char last[4096]; /* the last request */
} peer_server;

struct caller {
    uv_tcp_t tcp;
    uv_write_t write;
    char got[64 * 1024];
    size_t n;
};

static void on_caller_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_said(uv_write_t *write, int status)
{
    struct caller *c = write->data;

    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_caller_closed);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct caller *c = handle->data;

    *buffer = uv_buf_init(c->got + c->n, (unsigned)(sizeof(c->got) - 1 - c->n));
}

static void on_read(uv_stream_t *from, ssize_t n, const uv_buf_t *buffer)
{
    struct caller *c = from->data;
    uv_buf_t say;
    char *end;

    if (n < 0) {
        uv_close((uv_handle_t *)&c->tcp, on_caller_closed);
        return;
    }
    c->n += (size_t)n;
    c->got[c->n] = '\0';
    end = strstr(c->got, "\r\n\r\n");
    if (!end || (strncmp(c->got, "POST", 4) == 0 && !strchr(end, '}') && !strstr(c->got, "Length: 0")))
        return;
    snprintf(peer_server.last, sizeof(peer_server.last), "%.4000s", c->got);
    peer_server.asked++;
    if (peer_server.silent)
        return;
    uv_read_stop(from);
    say = uv_buf_init((char *)(uintptr_t)peer_server.say,
                      (unsigned)(peer_server.size ? peer_server.size : strlen(peer_server.say)));
    c->write.data = c;
    uv_write(&c->write, from, &say, 1, on_said);
}

static void on_caller(uv_stream_t *server, int status)
{
    struct caller *c = calloc(1, sizeof(*c));

    assert_int_equal(status, 0);
    uv_tcp_init(&loop, &c->tcp);
    c->tcp.data = c;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void open_peer(void)
{
    struct sockaddr_in a;
    int n = sizeof(a);

    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_init(&loop, &peer_server.listener);
    uv_tcp_bind(&peer_server.listener, (const struct sockaddr *)&a, 0);
    assert_int_equal(uv_listen((uv_stream_t *)&peer_server.listener, 64, on_caller), 0);
    uv_tcp_getsockname(&peer_server.listener, (struct sockaddr *)&a, &n);
    snprintf(peer_server.url, sizeof(peer_server.url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    peer_server.asked = 0;
}

/* ---- what it says ---- */

static char too_long[PEER_REPLY_BYTES_MAX + 1024 * 1024], deep[4096], many_headers[512 * 1024];

struct nonsense {
    const char *say;
    size_t size;
};

static struct nonsense nonsense[] = {
    {"HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 204 No Content\r\n\r\n"},
    {"HTTP/1.1 304 Not Modified\r\n\r\n"},
    {"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
    {"HTTP/1.1 000 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 -12 X\r\nContent-Length: 2\r\n\r\n{}"},
    {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}"},
    {OK "\r\n"},
    {OK "Content-Length: 3\r\n\r\n{\"a"},
    {OK "Content-Length: 4\r\n\r\nnull"},
    {OK "Content-Length: 2\r\n\r\n[]"},
    {OK "Content-Length: 2\r\n\r\n\"\""},
    {OK "Content-Length: 1\r\n\r\n7"},
    {OK "Content-Length: 13\r\n\r\n{\"a\":1,\"a\":2}"},
    {OK "Content-Length: 9\r\n\r\n{\"a\":\"\xff\"}"},
    {OK "Content-Length: 12\r\n\r\n{\"a\":1e99999"},
    {OK "Content-Length: 100\r\n\r\n{}"},
    {OK "Content-Length: -1\r\n\r\n{}"},
    {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{"},
    {OK "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"},
    {"\0\1\2\3", 4},
    {"SSH-2.0-OpenSSH_9.2\r\n"},
    {"HTTP/9.9 200 OK\r\n\r\n{}"},
    {""},
    {deep},
    {too_long, sizeof(too_long)},
    {many_headers, sizeof(many_headers)},
};

#define NONSENSE (sizeof(nonsense) / sizeof(nonsense[0]))

static void make_nonsense(void)
{
    size_t n;

    snprintf(deep, sizeof(deep), OK "Content-Length: 2000\r\n\r\n");
    memset(deep + strlen(deep), '[', 2000);
    n = (size_t)snprintf(too_long, sizeof(too_long), OK "\r\n{\"a\":\"");
    memset(too_long + n, 'a', sizeof(too_long) - n);
    n = (size_t)snprintf(many_headers, sizeof(many_headers), OK);
    while (n < sizeof(many_headers) - 64)
        n += (size_t)snprintf(many_headers + n, sizeof(many_headers) - n, "A%zu: b\r\n", n);
    memset(many_headers + n, 'b', sizeof(many_headers) - n);
}

static void chosen(const struct nonsense *x)
{
    peer_server.say = x->say;
    peer_server.size = x->size;
}

/* 200 and this JSON. */
static void chosen_json(const char *json)
{
    static char text[8192];

    snprintf(text, sizeof(text), OK "Content-Length: %zu\r\n\r\n%s", strlen(json), json);
    chosen(&(struct nonsense){text});
}

/* ---- who asks it ---- */

static struct http_client *client;
static struct peer peer;
static struct forward *forward;
static struct peer_logs *logs;
static struct replicated_member members[1];
static struct replicated_view view;
static int closed;

static const struct replicated_view *view_of(void *arg)
{
    return &view;
}

static void handle_forward(struct http_request *r, void *arg)
{
    forward_request(forward, r);
}

static void handle_logs(struct http_request *r, void *arg)
{
    char *urls[] = {alloc_text(peer_server.url)};

    peer_logs_pass(logs, r,
                   &(struct peer_logs_target){.path = "/v1/runs/r/logs", .urls = urls, .url_count = 1});
}

static const struct http_route forwarded[] = {
    {"POST", "/once/{x}", NULL, AUTH_READ, 1000, handle_forward},
    {"POST", "/again/{x}", NULL, AUTH_READ, 1000, handle_forward, HTTP_REPEATABLE},
    {"POST", "/keyed/{x}", NULL, AUTH_READ, 1000, handle_forward, HTTP_REPEATABLE_BY_KEY},
    {"GET", "/logs", NULL, AUTH_READ, 0, handle_logs},
};

static int open_all(void **state)
{
    struct forward_options o = {.loop = &loop, .peer = &peer, .view = view_of, .retry_ms = RETRY_MS};
    struct error e;

    if (set_up_server(state) < 0)
        return -1;
    make_nonsense();
    open_peer();
    assert_int_equal(http_client_new(&client, &loop, &e), 0);
    peer = (struct peer){.client = client, .secret = "0123456789"};
    members[0] = (struct replicated_member){
        .id = (char *)(uintptr_t) "other",
        .facts = json_pack("{s:s}", "url", peer_server.url),
    };
    view = (struct replicated_view){.connected = true,
                                    .standing = REPLICATED_MEMBER,
                                    .alarm = "",
                                    .session_timeout_ms = 10000,
                                    .leader = "other",
                                    .leader_url = peer_server.url,
                                    .epoch = 3,
                                    .members = members,
                                    .member_count = 1};
    forward_new(&forward, &o);
    peer_logs_new(&logs, &loop, &peer);
    assert_int_equal(http_add_routes(http, forwarded, sizeof(forwarded) / sizeof(forwarded[0]), NULL, &e), 0);
    return 0;
}

static void on_one_closed(void *arg)
{
    closed++;
}

static void on_listener_closed(uv_handle_t *handle)
{
    closed++;
}

static void wait_closed(int n)
{
    while (closed < n)
        turn(&loop, -1, 0);
    closed = 0;
}

static int close_all(void **state)
{
    stop();
    forward_close(forward, on_one_closed, NULL);
    peer_logs_close(logs, on_one_closed, NULL);
    wait_closed(2);
    http_client_close(client, on_one_closed, NULL);
    uv_close((uv_handle_t *)&peer_server.listener, on_listener_closed);
    wait_closed(2);
    json_decref(members[0].facts);
    return tear_down(state);
}

/* ---- logs of a replica that does not answer ---- */

/* One caller has a share of the places, so that others still read theirs. */
static void test_places_for_logs_of_other_replicas(void **state)
{
    static const char line[] = "GET /logs HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fds[PEER_LOGS_CALLER];
    struct reply r;

    peer_server.silent = true;
    for (int i = 0; i < PEER_LOGS_CALLER; i++) {
        fds[i] = client_connect(unix_address);
        client_send(&loop, fds[i], line, strlen(line));
    }
    while (peer_server.asked < PEER_LOGS_CALLER)
        turn(&loop, -1, 0);
    r = client_ask(&loop, unix_address, "GET /logs", "", NULL);
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "unix:root reads 16 logs of other replicas already"));
    reply_release(&r);
    for (int i = 0; i < PEER_LOGS_CALLER; i++)
        close(fds[i]);
    peer_server.silent = false;
}

/* ---- requests for the leader ---- */

static void test_nonsense_for_a_forwarded_request(void **state)
{
    for (size_t i = 0; i < NONSENSE; i++) {
        struct reply r;

        chosen(&nonsense[i]);
        peer_server.asked = 0;
        r = client_ask(&loop, unix_address, "POST /once/a", "", "{}");
        assert_true(r.status == 502 || r.status == 504);
        assert_non_null(strstr(r.body, "may or may not have happened"));
        assert_int_equal(peer_server.asked, 1);
        reply_release(&r);

        peer_server.asked = 0;
        r = client_ask(&loop, unix_address, "POST /again/a", "", "{}");
        assert_true(r.status == 502 || r.status == 504); /* 504: no whole answer came, again and again */
        assert_int_equal(peer_server.asked, r.status == 504 ? FORWARD_SENDS_MAX : 1);
        reply_release(&r);
    }
}

/* Of the same resource in other letters: what is done once is done once. */
static void test_no_spelling_of_a_path_is_sent_twice(void **state)
{
    static const struct {
        const char *line, *body;
        int asked;
    } cases[] = {
        {"POST /once/a", "{}", 1},
        {"POST /%6fnce/a", "{}", 1},
        {"POST /keyed/a", "{}", 1},
        {"POST /k%65yed/a", "{}", 1},
        {"POST /%6B%65%79%65%64/a?", "{}", 1},
        {"POST /keyed/a", "{\"key\": 7}", 1},
        {"POST /keyed/a", "{\"key\": \"k\"}", FORWARD_SENDS_MAX},
        {"POST /keyed/again", "{}", 1},
        {"POST /again/keyed", "{}", FORWARD_SENDS_MAX},
    };

    chosen(&(struct nonsense){""});
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r;

        peer_server.asked = 0;
        r = client_ask(&loop, unix_address, cases[i].line, "", cases[i].body);
        assert_int_equal(r.status, 504);
        assert_int_equal(peer_server.asked, cases[i].asked);
        reply_release(&r);
    }
}

static void test_an_answer_that_is_odd_but_has_sense(void **state)
{
    static const struct {
        const char *json;
        int status;
    } cases[] = {
        {"{}", 200},
        {"{\"index\": \"x\"}", 200},
        {"{\"index\": -7}", 200},
        {"{\"index\": [], \"error\": 5}", 200},
        {"{\"error\": {\"code\": {}}}", 200},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r;

        chosen_json(cases[i].json);
        r = client_ask(&loop, unix_address, "POST /once/a", "", "{}");
        assert_int_equal(r.status, cases[i].status);
        reply_release(&r);
    }
}

static void test_nonsense_for_a_log(void **state)
{
    for (size_t i = 0; i < NONSENSE; i++) {
        struct reply r;

        if (nonsense[i].say == too_long) /* for a log nothing is */
            continue;
        chosen(&nonsense[i]);
        r = client_ask(&loop, unix_address, "GET /logs", "", NULL);
        if (r.status != 200) /* whatever 200 brings is the log */
            assert_int_equal(r.status, 502);
        reply_release(&r);
    }
}

/* ---- the link ---- */

static int voices, reports;

static int64_t no_jump(void *arg)
{
    return 0;
}

static void on_link(void *arg, int64_t epoch, const struct replicated_link *link)
{
    reports++;
}

static void on_voice(void *arg, const struct clock_voice *voice)
{
    struct clock_voices all = {0};
    int64_t offset;

    clock_voices_hear(&all, voice);
    clock_voices_offset(&all, 1764500000000, voice->heard_ms, &offset); /* no sum of these may overflow */
    voices++;
}

static struct replicated_heard said; /* its texts are not kept */

static void on_heard(void *arg, const struct replicated_heard *heard)
{
    said = *heard;
    assert_string_equal(heard->id, "other");
    assert_non_null(heard->nonce);
    assert_true(strlen(heard->mark.cluster) < MARK_CLUSTER_SIZE);
}

static void on_silent(void *arg, const char *id)
{
    assert_string_equal(id, "other");
}

static int rounds;

static void on_asked(void *arg)
{
    rounds++;
}

static const json_t *known_of(void *arg)
{
    return NULL;
}

static struct heartbeat_options heartbeat_options(void)
{
    return (struct heartbeat_options){.loop = &loop,
                                      .peer = &peer,
                                      .self = "me",
                                      .view = view_of,
                                      .jump_ms = no_jump,
                                      .link = on_link,
                                      .clock = on_voice,
                                      .known = known_of,
                                      .heard = on_heard,
                                      .silent = on_silent,
                                      .asked = on_asked};
}

/* Until the link has asked and judged the answer. */
static void link_asks(void)
{
    struct heartbeat_options o = heartbeat_options();
    uint64_t until = uv_hrtime() + UINT64_C(100000000);
    struct heartbeat *h;
    json_t *unreachable;

    peer_server.asked = reports = voices = 0;
    heartbeat_new(&h, &o);
    heartbeat_changed(h);
    while (reports + voices == 0 && uv_hrtime() < until)
        turn(&loop, -1, 0);
    unreachable = heartbeat_unreachable(h);
    json_decref(unreachable);
    heartbeat_close(h, on_one_closed, NULL);
    wait_closed(1);
}

static void test_nonsense_for_the_heartbeat(void **state)
{
    static const char *const clocks[] = {
        "{\"replica\":\"other\",\"leading\":true,\"wall_ms\":9223372036854775807,\"jump_ms\":0}",
        "{\"replica\":\"other\",\"leading\":true,\"wall_ms\":-9223372036854775808,\"jump_ms\":0}",
        "{\"replica\":\"other\",\"leading\":true,\"wall_ms\":1,\"jump_ms\":-9223372036854775808}",
        "{\"replica\":\"other\",\"leading\":true,\"wall_ms\":1,\"jump_ms\":\"x\"}",
        "{\"replica\":\"other\",\"leading\":true,\"wall_ms\":1e300}",
        "{\"replica\":7}",
        "{\"replica\":\"somebody\"}",
        "{\"replica\":\"" TEN(TEN("long")) TEN(TEN("long")) "\"}",
    };

    for (size_t i = 0; i < NONSENSE; i++) {
        chosen(&nonsense[i]);
        link_asks();
        assert_int_equal(voices, 0);
        assert_in_range(peer_server.asked, 1, 3);
    }
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        chosen_json(clocks[i]);
        link_asks();
        assert_int_equal(voices, 0);
    }
    chosen_json("{\"replica\":\"other\",\"leading\":true,\"wall_ms\":1764500000000,\"jump_ms\":0}");
    link_asks();
    assert_int_equal(voices, 1);
    assert_int_equal(said.role, REPLICATED_STANDBY); /* it does not say more */
    chosen_json("{\"replica\":\"other\",\"leading\":true,\"wall_ms\":1764500000000,\"jump_ms\":0,\"epoch\":7,"
                "\"role\":\"leader\",\"base\":-1,\"nonce\":\"" TEN(
                    TEN("n")) "\",\"mark\":{\"index\":-3,\"cluster\":7}}");
    link_asks();
    assert_int_equal(said.role, REPLICATED_LEADER);
    assert_int_equal(said.mark.index, 0);
}

/* Whatever the other one says, or does not, the question ends. */
static void test_nonsense_for_those_who_ask_all(void **state)
{
    for (size_t i = 0; i < NONSENSE; i++) {
        struct heartbeat_options o = heartbeat_options();
        struct heartbeat *h;

        chosen(&nonsense[i]);
        rounds = 0;
        heartbeat_new(&h, &o);
        assert_false(heartbeat_ask(h)); /* there is no link yet */
        heartbeat_changed(h);
        assert_true(heartbeat_ask(h));
        assert_true(heartbeat_ask(h)); /* under way */
        while (rounds == 0)
            turn(&loop, -1, 0);
        assert_int_equal(rounds, 1);
        heartbeat_close(h, on_one_closed, NULL);
        wait_closed(1);
    }
}

/* ---- attempts of the peer's engine ---- */

static struct engine_answer heard;
static char heard_text[4096];
static int heard_count;

static void host_answer(struct engine_host *host, const struct engine_answer *a)
{
    heard = *a;
    snprintf(heard_text, sizeof(heard_text), "%.4000s", a->text ? a->text : "");
    heard_count++;
}

static int64_t host_epoch(struct engine_host *host)
{
    return 3;
}

static void under_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    fail();
}

static void under_abandon(struct engine *engine)
{
}

static void under_status(const struct engine *engine, struct engine_status *ret)
{
    *ret = (struct engine_status){.reachable = true, .identity = "mine"};
}

static void under_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    done(arg);
}

static const char *folder_url(void *arg, const char *host_id)
{
    return peer_server.url;
}

static const char *engine_url(void *arg, const char *engine, const char *identity)
{
    return peer_server.url;
}

/* Asks once what became of an attempt there. */
static void fence_there(struct engine *engine)
{
    json_t *def = json_pack("{s:s}", "image", "alpine");
    struct engine_request r = {.run = "r@1",
                               .attempt = 1,
                               .try = 1,
                               .epoch = 2,
                               .name = "cs-1",
                               .id = "i",
                               .boot_id = "b",
                               .identity = "theirs",
                               .cause = ""};
    struct job *job;

    assert_int_equal(job_from_json(&job, "j", def, NULL, NULL), 0);
    r.job = job;
    heard_count = peer_server.asked = 0;
    engine->ops->submit(engine, ENGINE_FENCE, &r);
    while (heard_count == 0)
        turn(&loop, -1, 0);
    assert_int_equal(heard_count, 1);
    assert_int_equal(peer_server.asked, 1);
    job_unref(job);
    json_decref(def);
}

static void test_nonsense_for_an_attempt_elsewhere(void **state)
{
    static const char *const odd[] = {
        "{}",
        "{\"event\":7}",
        "{\"event\":\"exploded\"}",
        "{\"event\":\"started\",\"started\":9223372036854775807}",
        "{\"event\":\"started\",\"started\":-1}",
        "{\"event\":\"started\",\"started\":\"yesterday\"}",
        "{\"event\":\"ended\",\"at\":9223372036854775807}",
        "{\"event\":\"ended\",\"at\":1,\"exit_code\":4294967296}",
        "{\"event\":\"ended\",\"at\":1,\"exit_code\":-9}",
        "{\"event\":\"unreachable\",\"text\":{}}",
    };
    static const struct engine_ops ops = {
        .submit = under_submit, .abandon = under_abandon, .status = under_status, .close = under_close};
    struct engine under = {.ops = &ops, .name = "docker", .type = "docker"}, *engine;
    struct engine_host host = {.answer = host_answer, .epoch = host_epoch};
    struct engine_remote_options o = {.under = &under,
                                      .host = &host,
                                      .peer = &peer,
                                      .loop = &loop,
                                      .folder_url = folder_url,
                                      .engine_url = engine_url};

    engine_remote_new(&engine, &o);
    for (size_t i = 0; i < NONSENSE; i++) {
        chosen(&nonsense[i]);
        fence_there(engine);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
    }
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        chosen_json(odd[i]);
        fence_there(engine);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
    }
    chosen_json("{\"event\":\"ended\",\"started\":5,\"at\":6,\"exit_code\":3}");
    fence_there(engine);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 3);
    engine->ops->close(engine, on_one_closed, NULL);
    wait_closed(1);
}

/* ---- older history ---- */

static size_t page;
static int filled;

static const char *const pages[] = {
    "{}",
    "{\"first\":5}",
    "{\"first\":5,\"last\":4}",
    "{\"first\":5,\"last\":-1}",
    "{\"first\":5,\"last\":10}",
    "{\"first\":5,\"last\":9223372036854775807}",
    "{\"first\":\"5\",\"last\":\"9\"}",
    "{\"first\":6,\"last\":9}",
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

/* There is the same gap each time, until all has been said. */
static void history_query(struct history *history, const struct history_query *query,
                          void (*answer)(void *arg, json_t *result, const struct error *error), void *arg)
{
    json_t *gap = json_null();

    if (page < NONSENSE + PAGES) {
        gap = json_pack("{s:i, s:i}", "first", 5, "last", 9);
        if (page < NONSENSE)
            chosen(&nonsense[page]);
        else
            chosen_json(pages[page - NONSENSE]);
    }
    page++;
    answer(arg, gap, NULL);
}

static void history_fill(struct history *history, json_t *what,
                         void (*done)(void *arg, const struct error *error), void *arg)
{
    filled++;
    json_decref(what);
    done(arg, NULL);
}

static void test_nonsense_for_history(void **state)
{
    static const struct history_ops ops = {.query = history_query, .fill = history_fill};
    struct history history = {.ops = &ops};
    struct history_copy_options o = {
        .loop = &loop, .peer = &peer, .history = &history, .self = "me", .view = view_of};
    struct history_copy *copy;

    page = 0;
    filled = peer_server.asked = 0;
    history_copy_start(&copy, &o);
    while (page <= NONSENSE + PAGES)
        turn(&loop, -1, 0);
    assert_int_equal(filled, 0);
    assert_int_equal(peer_server.asked, NONSENSE + PAGES);
    history_copy_stop(copy, on_one_closed, NULL);
    wait_closed(1);
}

#define PEER(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PEER(test_places_for_logs_of_other_replicas),
        PEER(test_nonsense_for_a_forwarded_request),
        PEER(test_no_spelling_of_a_path_is_sent_twice),
        PEER(test_an_answer_that_is_odd_but_has_sense),
        PEER(test_nonsense_for_a_log),
        PEER(test_nonsense_for_the_heartbeat),
        PEER(test_nonsense_for_those_who_ask_all),
        PEER(test_nonsense_for_an_attempt_elsewhere),
        PEER(test_nonsense_for_history),
    };

    return cmocka_run_group_tests_name("hostile_peer", tests, NULL, NULL);
}
