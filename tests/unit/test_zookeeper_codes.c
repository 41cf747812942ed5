/* The coordinator over libzookeeper beside a server that answers each write with whatever code a test says, also with
 * those that no server can be brought to give, or none has yet. Real ones: tests/integration/test_coordinator_answers.c.
 */
#include "jobs/base/alloc.h"
#include "leader/zookeeper/zookeeper.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SESSION_MS  4000
#define PATIENCE_MS 20000
#define STILL_MS    2500
#define INPUT_MAX   (1024 * 1024)
#define STAT_BYTES  68
#define LARGE       (256 * 1024)

enum request_type { TYPE_CREATE = 1, TYPE_EXISTS = 3, TYPE_GET = 4, TYPE_MULTI = 14 };

struct server {
    uv_tcp_t listening, peer;
    bool has_peer, greeted;
    unsigned char *input;
    size_t filled;
    int code;        /* of the answer to each multi */
    size_t most;     /* a longer request closes the connection, as jute.maxbuffer does; 0: none */
    int connections; /* so far */
};

struct client {
    uv_loop_t loop;
    struct server server;
    struct coord *coord;
    int connected, lost, closed;
    int answers;
    enum coord_result result;
    char text[ZOOKEEPER_ANSWER_TEXT], log[1024];
};

/* ---- the server ---- */

static void put(unsigned char **at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *(*at)++ = (unsigned char)(value >> (8 * i));
}

static uint32_t get32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void on_written(uv_write_t *request, int status)
{
    free(request);
}

static void reply(struct server *s, const unsigned char *text, size_t size)
{
    uv_write_t *request = alloc_zero(sizeof(*request) + 4 + size);
    unsigned char *at = (unsigned char *)(request + 1);
    uv_buf_t buffer = uv_buf_init((char *)at, (unsigned)(4 + size));

    put(&at, size, 4);
    memcpy(at, text, size);
    uv_write(request, (uv_stream_t *)&s->peer, &buffer, 1, on_written);
}

static void greet(struct server *s)
{
    unsigned char text[37] = {0}, *at = text;

    put(&at, 0, 4); /* protocol */
    put(&at, SESSION_MS, 4);
    put(&at, 77, 8); /* session */
    put(&at, 16, 4); /* its password */
    reply(s, text, sizeof(text));
}

static void answer(struct server *s, const unsigned char *request)
{
    uint32_t xid = get32(request), type = get32(request + 4);
    unsigned char text[16 + 4 + STAT_BYTES] = {0}, *at = text;
    int code = 0;

    if (type == TYPE_CREATE)
        code = -110;
    else if (type == TYPE_EXISTS)
        code = -101;
    else if (type == TYPE_MULTI)
        code = s->code;
    put(&at, xid, 4);
    put(&at, 1, 8);
    put(&at, (uint32_t)code, 4);
    reply(s, text, type == TYPE_GET ? sizeof(text) : 16);
}

static void on_peer_closed(uv_handle_t *handle)
{
    ((struct server *)handle->data)->has_peer = false;
}

static void take(struct server *s)
{
    size_t size;

    while (s->filled >= 4) {
        size = get32(s->input);
        if (s->most && size > s->most && !uv_is_closing((uv_handle_t *)&s->peer)) {
            uv_close((uv_handle_t *)&s->peer, on_peer_closed);
            return;
        }
        if (s->filled < 4 + size)
            return;
        if (s->greeted)
            answer(s, s->input + 4);
        else
            greet(s);
        s->greeted = true;
        s->filled -= 4 + size;
        memmove(s->input, s->input + 4 + size, s->filled);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct server *s = handle->data;

    *buffer = uv_buf_init((char *)s->input + s->filled, (unsigned)(INPUT_MAX - s->filled));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct server *s = stream->data;

    if (n < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, on_peer_closed);
        return;
    }
    s->filled += (size_t)n;
    take(s);
}

static void on_connection(uv_stream_t *listening, int status)
{
    struct server *s = listening->data;

    if (s->has_peer) /* the one before is not gone yet: asked again by the next */
        return;
    s->connections++;
    s->has_peer = true;
    s->greeted = false;
    s->filled = 0;
    uv_tcp_init(listening->loop, &s->peer);
    s->peer.data = s;
    uv_accept(listening, (uv_stream_t *)&s->peer);
    uv_read_start((uv_stream_t *)&s->peer, on_room, on_input);
}

static int server_open(struct server *s, uv_loop_t *loop)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    s->input = alloc_zero(INPUT_MAX);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &s->listening);
    s->listening.data = s;
    assert_int_equal(uv_tcp_bind(&s->listening, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listening, 8, on_connection), 0);
    uv_tcp_getsockname(&s->listening, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

/* ---- the client ---- */

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    ((struct client *)arg)->connected++;
}

static void on_lost(void *arg, const char *why)
{
    ((struct client *)arg)->lost++;
}

static void on_word(void *arg, const char *text)
{
}

static const struct coord_events events = {on_connected, on_lost, on_word, on_word};

static uint64_t no_chance(void *arg)
{
    return 0;
}

static void on_log(void *arg, enum log_level level, const char *event, const char *text)
{
    struct client *c = arg;
    size_t length = strlen(c->log);

    snprintf(c->log + length, sizeof(c->log) - length, "%s: %s\n", event, text);
}

static void on_reply(void *arg, const struct coord_reply *reply)
{
    struct client *c = arg;

    c->answers++;
    c->result = reply->result;
    snprintf(c->text, sizeof(c->text), "%s", reply->text);
}

static void on_closed(void *arg)
{
    ((struct client *)arg)->closed = 1;
}

static void nothing(uv_timer_t *timer)
{
}

static bool turn_until(struct client *c, const int *counter, int least, int ms)
{
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000;
    uv_timer_t poll;

    uv_timer_init(&c->loop, &poll);
    uv_timer_start(&poll, nothing, 10, 10);
    while (*counter < least && uv_hrtime() < end)
        uv_run(&c->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&poll, NULL);
    uv_run(&c->loop, UV_RUN_NOWAIT);
    return *counter >= least;
}

static struct client *client_new(int code)
{
    struct client *c = alloc_zero(sizeof(*c));
    struct zookeeper_options options = {
        .cluster = "test", .session_timeout_ms = SESSION_MS, .random = no_chance, .log = on_log, .arg = c};
    char servers[32];

    uv_loop_init(&c->loop);
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", server_open(&c->server, &c->loop));
    c->server.code = code;
    options.servers = servers;
    assert_int_equal(zookeeper_open(&c->coord, &c->loop, &options, NULL), 0);
    c->coord->events = &events;
    c->coord->arg = c;
    assert_true(turn_until(c, &c->connected, 1, PATIENCE_MS));
    return c;
}

static void client_free(struct client *c)
{
    uv_close((uv_handle_t *)&c->server.listening, NULL);
    if (c->server.has_peer && !uv_is_closing((uv_handle_t *)&c->server.peer))
        uv_close((uv_handle_t *)&c->server.peer, on_peer_closed);
    c->coord->ops->close(c->coord, on_closed, c);
    assert_true(turn_until(c, &c->closed, 1, PATIENCE_MS));
    uv_run(&c->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&c->loop), 0);
    free(c->server.input);
    free(c);
}

static void write_bytes(struct client *c, size_t size)
{
    static const char data[LARGE];
    struct coord_op op = {COORD_CREATE, "/x", data, size, COORD_ANY};
    int before = c->answers;

    assert_true(size <= LARGE);

    c->coord->ops->multi(c->coord, &op, 1, on_reply, c);
    assert_true(turn_until(c, &c->answers, before + 1, PATIENCE_MS));
}

static void write_something(struct client *c)
{
    write_bytes(c, 1);
}

static void every_code_is_answered_as_the_table_says(void **state)
{
    static const int codes[] = {-6,   -8,   -13,  -101, -102, -103, -110, -111,
                                -114, -119, -120, -123, -125, -127, -128, -999};
    struct client *c = client_new(0);

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char text[ZOOKEEPER_ANSWER_TEXT];

        c->server.code = codes[i];
        write_something(c);
        assert_int_equal(c->result, zookeeper_answer_result(codes[i]));
        assert_string_equal(c->text, zookeeper_answer_text(codes[i], text));
    }
    assert_int_equal(c->lost, 0);
    assert_int_equal(c->server.connections, 1);
    client_free(c);
}

static void a_refusal_is_logged_once(void **state)
{
    struct client *c = client_new(-999);
    struct zookeeper_report report;

    for (int i = 0; i < 5; i++)
        write_something(c);
    zookeeper_report(c->coord, &report);
    assert_int_equal(report.refusals, 5);
    assert_string_equal(report.refused, "it refused with a code that has no name here (-999)");
    assert_non_null(strstr(c->log, "zookeeper-refuses"));
    assert_null(strstr(strstr(c->log, "zookeeper-refuses") + 1, "zookeeper-refuses"));
    client_free(c);
}

/* An answer of no known outcome ends the connection, but not several times a second. */
static void an_answer_that_ends_the_connection_is_followed_by_a_pause(void **state)
{
    struct client *c = client_new(-5);
    int until = 1;

    for (uint64_t end = uv_hrtime() + STILL_MS * UINT64_C(1000000); uv_hrtime() < end;) {
        if (turn_until(c, &c->connected, until, 100)) {
            write_something(c);
            assert_int_equal(c->result, COORD_LOST);
            until = c->connected + 1;
        }
    }
    assert_in_range(c->server.connections, 2, 4);
    assert_non_null(strstr(c->log, "it could not read or write the request (-5)"));
    client_free(c);
}

/* The same request would close each connection for ever. */
static void what_a_server_takes_is_found(void **state)
{
    static const size_t limits[] = {100000, 50000, 20000, 9000};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct client *c = client_new(0);

        c->server.most = limits[i];
        write_bytes(c, LARGE);
        assert_int_equal(c->result, COORD_LOST);
        assert_true(turn_until(c, &c->connected, 2, PATIENCE_MS));
        assert_in_range(c->coord->request_max, limits[i] - limits[i] / 7, limits[i]);
        assert_non_null(strstr(c->log, "jute.maxbuffer of the server"));
        assert_true(c->server.connections < 12);
        write_bytes(c, LARGE);
        assert_int_equal(c->result, COORD_FAILED);
        assert_int_equal(c->lost, 1);
        client_free(c);
    }
}

/* A server that dies under a large request proves nothing. */
static void a_loss_without_a_limit_finds_none(void **state)
{
    struct client *c = client_new(-5);

    write_bytes(c, LARGE);
    assert_true(turn_until(c, &c->connected, 2, PATIENCE_MS));
    assert_int_equal(c->coord->request_max, 0);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_answered_as_the_table_says),
        cmocka_unit_test(a_refusal_is_logged_once),
        cmocka_unit_test(an_answer_that_ends_the_connection_is_followed_by_a_pause),
        cmocka_unit_test(what_a_server_takes_is_found),
        cmocka_unit_test(a_loss_without_a_limit_finds_none),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
