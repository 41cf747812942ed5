/* Answers of the HTTP server that come later, clients that hang up before, and streams, over real sockets. */
#include "tests/support/http_fixture.h"

/* ---- later answers, hang-ups ---- */

static void test_parallel_requests_answered_later(void **state)
{
    static const char request[] = "GET /keep HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    int fds[PARALLEL];

    for (int i = 0; i < PARALLEL; i++) {
        fds[i] = client_connect(i % 2 ? tcp_address : unix_address);
        assert_true(fds[i] >= 0);
        client_send(&loop, fds[i], request, strlen(request));
    }
    wait_kept(PARALLEL);
    for (int i = PARALLEL - 1; i >= 0; i--) {
        http_reply_json(kept[i], 200, json_pack("{s:i}", "n", i));
        http_request_unref(kept[i]);
    }
    for (int i = 0; i < PARALLEL; i++) {
        struct reply r = client_receive(&loop, fds[i], false);

        assert_int_equal(r.status, 200);
        reply_release(&r);
        close(fds[i]);
    }
}

static void test_hang_up_while_the_handler_works(void **state)
{
    static const char request[] = "POST /keep HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";

    for (int i = 0; i < 3; i++) {
        int fd = client_connect(i ? tcp_address : unix_address);

        client_send(&loop, fd, request, strlen(request));
        wait_kept((size_t)i + 1);
        if (i == 2) /* a reset rather than an end */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        close(fd);
        turn(&loop, -1, 0);
        assert_int_equal(json_integer_value(json_object_get(http_body(kept[i]), "a")), 1);
        http_reply_error(kept[i], ERR_CONFLICT, "too late");
        for (int k = 0; k < 10; k++)
            turn(&loop, -1, 0);
        assert_int_equal(json_integer_value(json_object_get(http_body(kept[i]), "a")), 1);
        http_request_unref(kept[i]);
    }
}

static void test_hang_up_in_mid_request(void **state)
{
    static const char request[] =
        "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"a\":\"";

    for (size_t n = 1; n < strlen(request); n += 7) {
        int fd = client_connect(tcp_address);

        client_send(&loop, fd, request, n);
        close(fd);
        turn(&loop, -1, 0);
    }
    assert_int_equal(handled, 0);
}

static void test_closing_answers_who_waits(void **state)
{
    static const char request[] = "GET /keep HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int waiting = client_connect(tcp_address), idle = client_connect(tcp_address),
        half = client_connect(unix_address);
    struct reply r;

    client_send(&loop, waiting, request, strlen(request));
    client_send(&loop, half, request, 10);
    wait_kept(1);
    stop();
    r = client_receive(&loop, waiting, false);
    assert_error(&r, 503, "cancelled", "stopping");
    reply_release(&r);
    assert_true(client_closed(&loop, idle));
    assert_true(client_closed(&loop, half));
    http_reply_json(kept[0], 200, json_object()); /* after the server's end: dropped */
    http_request_unref(kept[0]);
    assert_int_equal(client_connect(unix_address), -1);
    close(waiting);
    close(idle);
    close(half);
}

/* ---- streams ---- */

static int open_stream(const char *address)
{
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    uint64_t deadline = client_deadline();
    int fd = client_connect(address);

    client_send(&loop, fd, request, strlen(request));
    while (!stream && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_non_null(stream);
    return fd;
}

static void test_stream_comes_as_it_is_written(void **state)
{
    int fd = open_stream(tcp_address);
    struct reply r = {0};

    for (int i = 0; i < 20; i++) {
        char line[32];

        snprintf(line, sizeof(line), "line %d\n", i);
        assert_int_equal(http_stream_write(stream, line, strlen(line)), 0);
        assert_true(client_expect(&loop, fd, &r, line));
    }
    http_stream_end(stream);
    assert_false(reply_parse(&r, false));
    while (!reply_parse(&r, false) && !r.closed)
        receive_more(&loop, fd, &r);
    assert_string_equal(r.body + strlen(r.body) - 8, "line 19\n");
    assert_int_equal(stream_closed, 1);
    reply_release(&r);
    close(fd);
}

static void test_stream_tells_when_it_is_full(void **state)
{
    static char block[64 * 1024];
    int fd = open_stream(tcp_address), n = 0;
    uint64_t deadline = client_deadline();
    char sink[65536];
    size_t got = 0;

    memset(block, 'x', sizeof(block));
    while (http_stream_write(stream, block, sizeof(block)) == 0 && n < 1000) {
        turn(&loop, -1, 0);
        n++;
    }
    assert_true(n < 1000); /* the client does not read: it ends by ERR_BUSY */
    assert_int_equal(stream_drained, 0);
    while (!stream_drained && !client_late(deadline)) {
        ssize_t k = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);

        got += k > 0 ? (size_t)k : 0;
        turn(&loop, fd, POLLIN);
    }
    assert_int_equal(stream_drained, 1);
    assert_true(got > 0);
    close(fd);
    while (!stream_closed && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(stream_closed, 1);
}

/* The connection sleeps: nothing is sent that could fail. The clock sees the end. */
static void test_hang_up_of_a_silent_stream(void **state)
{
    int fd = open_stream(unix_address);
    uint64_t deadline = client_deadline();
    struct reply r = {0};

    http_stream_write(stream, "a", 1);
    assert_true(client_expect(&loop, fd, &r, "a"));
    reply_release(&r);
    close(fd);
    while (!stream_closed && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(stream_closed, 1);
}

static void test_closing_cuts_streams(void **state)
{
    int fd = open_stream(tcp_address);

    struct reply r = {0};

    http_stream_write(stream, "a", 1);
    stop();
    assert_int_equal(stream_closed, 1);
    while (!r.closed)
        receive_more(&loop, fd, &r);
    assert_null(strstr(r.raw, "\r\n0\r\n")); /* not as if it had come to its end */
    reply_release(&r);
    close(fd);
}

static void test_head_of_a_stream(void **state)
{
    struct reply r = client_ask(&loop, tcp_address, "HEAD /stream", "", NULL);

    assert_int_equal(r.status, 200);
    assert_null(stream);
    reply_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_parallel_requests_answered_later),
        SERVER(test_hang_up_while_the_handler_works),
        SERVER(test_hang_up_in_mid_request),
        SERVER(test_closing_answers_who_waits),
        SERVER(test_stream_comes_as_it_is_written),
        SERVER(test_stream_tells_when_it_is_full),
        SERVER(test_hang_up_of_a_silent_stream),
        SERVER(test_closing_cuts_streams),
        SERVER(test_head_of_a_stream),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
