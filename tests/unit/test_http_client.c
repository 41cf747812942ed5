/* The client against a server on the same loop that behaves as badly as the test wants. */
#include "cronsched/io/http_client.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum manner { ANSWER, HANG_UP, HANG_UP_IN_BODY, NEVER_ANSWER, STREAM };

struct server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    int port, connections, requests;
    enum manner manner;
    const char *reply;
    char last[4096];
};

struct peer {
    uv_tcp_t tcp;
    struct server *server;
    char in[4096];
    size_t len;
};

struct world {
    uv_loop_t loop;
    struct server server;
    struct http_client *client;
    struct http_answer answer; /* the last one */
    char body[4096], error[512];
    int answers, opened_status;
    size_t streamed, chunks;
    bool pause_once, cancel_in_data;
    struct http_call *call;
};

static void on_peer_closed(uv_handle_t *h)
{
    free(h->data);
}

static void peer_close(struct peer *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, on_peer_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct peer *p = h->data;
    *buf = uv_buf_init(p->in + p->len, (unsigned)(sizeof(p->in) - 1 - p->len));
}

static void peer_send(struct peer *p, const char *text)
{
    uv_buf_t buf = uv_buf_init((char *)text, (unsigned)strlen(text));
    assert_int_equal(uv_try_write((uv_stream_t *)&p->tcp, &buf, 1), (int)strlen(text));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *p = stream->data;
    struct server *s = p->server;
    if (n < 0) {
        peer_close(p);
        return;
    }
    p->len += (size_t)n;
    p->in[p->len] = '\0';
    if (!strstr(p->in, "\r\n\r\n"))
        return;
    s->requests++;
    snprintf(s->last, sizeof(s->last), "%s", p->in);
    p->len = 0;
    switch (s->manner) {
    case ANSWER:
        peer_send(p, s->reply);
        break;
    case HANG_UP:
        peer_close(p);
        break;
    case HANG_UP_IN_BODY:
        peer_send(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        peer_close(p);
        break;
    case STREAM:
        peer_send(p,
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
        break;
    case NEVER_ANSWER:
        break;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    struct peer *p = calloc(1, sizeof(*p));
    s->connections++;
    p->server = s;
    uv_tcp_init(s->loop, &p->tcp);
    p->tcp.data = p;
    uv_accept(listener, (uv_stream_t *)&p->tcp);
    uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct sockaddr_in address;
    int len = sizeof(address);
    uv_loop_init(&w->loop);
    w->server.loop = &w->loop;
    uv_tcp_init(&w->loop, &w->server.listener);
    w->server.listener.data = &w->server;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(&w->server.listener, (struct sockaddr *)&address, 0);
    uv_listen((uv_stream_t *)&w->server.listener, 16, on_connection);
    uv_tcp_getsockname(&w->server.listener, (struct sockaddr *)&address, &len);
    w->server.port = ntohs(address.sin_port);
    assert_int_equal(http_client_new(&w->client, &w->loop, NULL), 0);
    *state = w;
    return 0;
}

static void count_close(void *arg)
{
    ++*(int *)arg;
}

static void close_any(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, h->type == UV_TCP && h->data && h->data != arg ? on_peer_closed : NULL);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    int closed = 0;
    http_client_close(w->client, count_close, &closed);
    while (!closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_walk(&w->loop, close_any, &w->server);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void on_opened(void *arg, int status)
{
    ((struct world *)arg)->opened_status = status;
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct world *w = arg;
    if (w->cancel_in_data) {
        http_call_cancel(w->call);
        return true;
    }
    if (w->pause_once) {
        w->pause_once = false;
        return false;
    }
    memcpy(w->body + w->streamed, bytes, size);
    w->streamed += size;
    w->chunks++;
    return true;
}

static void on_done(void *arg, const struct http_answer *answer)
{
    struct world *w = arg;
    w->answer = *answer;
    w->answers++;
    if (answer->size)
        snprintf(w->body, sizeof(w->body), "%s", answer->body);
    snprintf(w->error, sizeof(w->error), "%s", answer->error);
}

static void start(struct world *w, struct client_request q)
{
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", w->server.port);
    q.method = q.method ? q.method : "GET";
    q.url = q.url ? q.url : url;
    q.done = on_done;
    q.arg = w;
    w->answers = 0;
    assert_int_equal(http_client_start(&w->call, w->client, &q, NULL), 0);
    assert_int_equal(w->answers, 0);
}

static void run(struct world *w, struct client_request q)
{
    start(w, q);
    while (!w->answers)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void answers_come_whole(void **state)
{
    struct world *w = *state;
    w->server.manner = ANSWER;
    w->server.reply =
        "HTTP/1.1 404 Not Found\r\nDate: Sun, 22 Nov 2026 22:02:38 GMT\r\nContent-Length: 5\r\n\r\nhello";
    run(w, (struct client_request){.method = "POST", .body = "{}", .body_size = 2, .headers = {"X-A: 1"}});
    assert_int_equal(w->answer.outcome, HTTP_ANSWERED);
    assert_int_equal(w->answer.status, 404);
    assert_true(w->answer.complete);
    assert_int_equal(w->answer.date_s, 1795384958);
    assert_string_equal(w->body, "hello");
    assert_non_null(strstr(w->server.last, "POST /x HTTP/1.1\r\n"));
    assert_non_null(strstr(w->server.last, "X-A: 1\r\n"));
    assert_null(strstr(w->server.last, "Expect"));
    assert_non_null(strstr(w->server.last, "\r\n\r\n{}"));
}

static void what_was_not_sent_and_what_may_have_been(void **state)
{
    struct world *w = *state;
    char refused[64];
    snprintf(refused, sizeof(refused), "http://127.0.0.1:1/");
    /* no DNS server has to be asked about a label of more than 63 letters */
    static const char long_label[] =
        "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid/";
    const struct {
        const char *what;
        enum manner manner;
        struct client_request request;
        enum http_outcome outcome;
    } table[] = {
        {"refused", ANSWER, {.url = refused}, HTTP_NOT_SENT},
        {"no socket", ANSWER, {.url = "http://localhost/", .unix_socket = "/nonexistent/s"}, HTTP_NOT_SENT},
        {"no name", ANSWER, {.url = long_label, .timeout_ms = 5000}, HTTP_NOT_SENT},
        {"hang up", HANG_UP, {.once = true}, HTTP_UNKNOWN},
        {"hang up, POST", HANG_UP, {.method = "POST", .once = true}, HTTP_UNKNOWN},
        {"time", NEVER_ANSWER, {.timeout_ms = 200, .once = true}, HTTP_UNKNOWN},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        w->server.manner = table[i].manner;
        run(w, table[i].request);
        if (w->answer.outcome != table[i].outcome)
            fail_msg("%s: outcome %d, %s", table[i].what, w->answer.outcome, w->error);
        assert_int_equal(w->answer.status, 0);
        assert_string_not_equal(w->error, "");
    }
}

/* The handshake never ends: the request has not been written, whatever the peer does with our hello. */
static void a_tls_handshake_that_fails_has_sent_nothing(void **state)
{
    struct world *w = *state;
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/", w->server.port);
    w->server.manner = NEVER_ANSWER;
    run(w, (struct client_request){.method = "POST", .url = url, .connect_timeout_ms = 200, .once = true});
    assert_int_equal(w->answer.outcome, HTTP_NOT_SENT);
    assert_int_equal(w->server.requests, 0);
}

static void a_body_cut_short_is_no_complete_answer(void **state)
{
    struct world *w = *state;
    w->server.manner = HANG_UP_IN_BODY;
    run(w, (struct client_request){.once = true});
    assert_int_equal(w->answer.outcome, HTTP_ANSWERED);
    assert_int_equal(w->answer.status, 200);
    assert_false(w->answer.complete);

    w->server.manner = ANSWER;
    w->server.reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    run(w, (struct client_request){.max_bytes = 4, .once = true});
    assert_false(w->answer.complete);
    assert_true(w->answer.too_long);
    run(w, (struct client_request){.max_bytes = 5, .once = true});
    assert_true(w->answer.complete);
}

static void once_means_a_connection_of_its_own(void **state)
{
    struct world *w = *state;
    w->server.manner = ANSWER;
    w->server.reply = "HTTP/1.1 204 No Content\r\n\r\n";
    run(w, (struct client_request){0});
    run(w, (struct client_request){0});
    assert_int_equal(w->server.connections, 1);
    run(w, (struct client_request){.method = "POST", .once = true});
    run(w, (struct client_request){.method = "POST", .once = true});
    assert_int_equal(w->server.connections, 3);
    run(w, (struct client_request){0});
    assert_int_equal(w->server.connections, 3);
}

static void a_once_request_is_not_repeated_when_the_peer_hangs_up(void **state)
{
    struct world *w = *state;
    w->server.manner = ANSWER;
    w->server.reply = "HTTP/1.1 204 No Content\r\n\r\n";
    run(w, (struct client_request){0}); /* an idle connection is there to be reused */
    w->server.manner = HANG_UP;
    w->server.requests = 0;
    run(w, (struct client_request){.method = "POST", .once = true});
    assert_int_equal(w->answer.outcome, HTTP_UNKNOWN);
    assert_int_equal(w->server.requests, 1);
}

static void streams_flow_and_pause(void **state)
{
    struct world *w = *state;
    w->server.manner = STREAM;
    w->pause_once = true;
    start(w, (struct client_request){.opened = on_opened, .data = on_data});
    while (w->pause_once)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->opened_status, 200);
    assert_int_equal(w->streamed, 0);
    http_call_resume(w->call);
    while (!w->answers)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_true(w->answer.complete);
    assert_int_equal(w->answer.size, 0);
    assert_memory_equal(w->body, "abcdefg", 7);
    assert_int_equal(w->streamed, 7);
}

static void a_cancelled_call_is_silent(void **state)
{
    struct world *w = *state;
    w->server.manner = STREAM;
    w->cancel_in_data = true;
    start(w, (struct client_request){.data = on_data});
    while (uv_run(&w->loop, UV_RUN_NOWAIT) && !w->server.requests)
        ;
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->answers, 0);
    w->cancel_in_data = false;

    start(w, (struct client_request){0});
    http_call_cancel(w->call); /* before it began */
    w->server.manner = NEVER_ANSWER;
    start(w, (struct client_request){0});
    for (int before = w->server.requests; w->server.requests == before;)
        uv_run(&w->loop, UV_RUN_ONCE);
    http_call_cancel(w->call);
    http_call_cancel(NULL);
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->answers, 0);
    start(w, (struct client_request){0}); /* left under way: the tear-down closes over it */
}

static void bad_urls_are_refused_at_the_door(void **state)
{
    struct world *w = *state;
    struct http_call *call = NULL;
    struct error error = {0};
    assert_int_equal(
        http_client_start(&call, w->client,
                          &(struct client_request){.method = "GET", .url = "http://", .done = on_done},
                          &error),
        ERR_INVALID);
    assert_null(call);
    run(w, (struct client_request){.url = "file:///etc/passwd"});
    assert_int_equal(w->answer.outcome, HTTP_NOT_SENT);
}

/* curl would open it on the loop's thread, and wait for its writer. */
static void a_pipe_is_no_certificate(void **state)
{
    struct world *w = *state;
    char dir[] = "/tmp/client-XXXXXX", path[64];
    struct client_request q = {.method = "GET", .url = "https://127.0.0.1:1/", .done = on_done};
    const char **const files[] = {&q.ca_file, &q.cert_file, &q.key_file};

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct http_call *call = NULL;
        struct error error = {0};

        *files[i] = path;
        assert_int_equal(http_client_start(&call, w->client, &q, &error), ERR_INVALID);
        assert_non_null(strstr(error.text, "pipe' is not a regular file"));
        *files[i] = NULL;
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_come_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_is_no_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_sent_and_what_may_have_been, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tls_handshake_that_fails_has_sent_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_cut_short_is_no_complete_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(once_means_a_connection_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_once_request_is_not_repeated_when_the_peer_hangs_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(streams_flow_and_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_call_is_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_urls_are_refused_at_the_door, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
