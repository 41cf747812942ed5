/* What the HTTP server bounds, over real sockets: sizes, connections, and the time that a client or a handler takes. */
#include "tests/support/http_fixture.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/wait.h>

/* ---- limits ---- */

static char large[3 * 1024 * 1024];

static void test_large_headers(void **state)
{
    int n = snprintf(large, sizeof(large), "GET /open HTTP/1.1\r\nHost: localhost\r\nX: ");
    struct reply r;

    memset(large + n, 'x', 200 * 1024);
    memcpy(large + n + 200 * 1024, "\r\n\r\n", 5);
    r = client_exchange(&loop, tcp_address, large);
    assert_int_equal(r.status, 431);
    reply_release(&r);
}

static void test_long_url(void **state)
{
    static const char rest[] = " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int n = snprintf(large, sizeof(large), "GET /echo/");
    struct reply r;

    memset(large + n, 'x', 5000);
    memcpy(large + n + 5000, rest, sizeof(rest));
    r = client_exchange(&loop, tcp_address, large);
    assert_error(&r, 413, "limit", "4096");
    reply_release(&r);
}

/* Each gets an answer, however many keys there are: the library keeps no record of them. */
static void test_a_query_of_many_keys(void **state)
{
    static const char *const keys[] = {"&", "a&", "?&", "=&"};
    static const char rest[] = " HTTP/1.1\r\nHost: localhost\r\n\r\n";

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t n = (size_t)snprintf(large, sizeof(large), "GET /echo/a?"), size = strlen(keys[i]);
        struct reply r;

        for (; n + size < 4000; n += size)
            memcpy(large + n, keys[i], size);
        memcpy(large + n, rest, sizeof(rest));
        r = client_exchange(&loop, tcp_address, large);
        if (r.status != (i == 0 ? 200 : 400))
            fail_msg("%s: %d: %s", keys[i], r.status, r.body ? r.body : "no answer");
        reply_release(&r);
    }
}

static struct reply post_blanks(const char *path, size_t n)
{
    char line[64];

    memset(large, ' ', n);
    memcpy(large, "{}", 2);
    large[n] = '\0';
    snprintf(line, sizeof(line), "POST %s", path);
    return client_ask(&loop, tcp_address, line, "", large);
}

/* Above the route's limit: by its declared size, and by counting. */
static void test_large_bodies(void **state)
{
    static const char head[] = "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct reply r = post_blanks("/echo/a", 1500);
    size_t n;

    assert_error(&r, 413, "limit", "1000 bytes");
    assert_false(r.closed); /* small enough to be read and thrown away */
    reply_release(&r);
    r = post_blanks("/echo/a", 1000);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    r = post_blanks("/large", 2 * 1024 * 1024);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    r = post_blanks("/echo/a", 2 * 1024 * 1024); /* not read to its end */
    if (r.status)
        assert_error(&r, 413, "limit", "1000 bytes");
    reply_release(&r);

    n = (size_t)snprintf(large, sizeof(large), "%s", head);
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(large + n, sizeof(large) - n, "14\r\n%20s\r\n", "");
    snprintf(large + n, sizeof(large) - n, "0\r\n\r\n");
    r = client_exchange(&loop, tcp_address, large);
    assert_error(&r, 413, "limit", "1000 bytes");
    reply_release(&r);

    /* an endless one is cut off */
    n = (size_t)snprintf(large, sizeof(large), "%s200000\r\n", head);
    memset(large + n, ' ', 2 * 1024 * 1024);
    large[n + 2 * 1024 * 1024] = '\0';
    r = client_exchange(&loop, tcp_address, large);
    assert_true(r.closed);
    reply_release(&r);
}

static void test_expect_continue_is_answered_early(void **state)
{
    static const char request[] = "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                  "application/json\r\nExpect: 100-continue\r\n"
                                  "Content-Length: 5000\r\n\r\n";
    static const char fine[] = "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "application/json\r\nExpect: 100-continue\r\n"
                               "Content-Length: 2\r\n\r\n";
    struct reply r = client_exchange(&loop, tcp_address, request);
    int fd;

    assert_error(&r, 413, "limit", NULL); /* without a byte of the body */
    reply_release(&r);
    fd = client_connect(tcp_address);
    client_send(&loop, fd, fine, strlen(fine));
    while (!r.raw || !strstr(r.raw, "100 Continue"))
        receive_more(&loop, fd, &r);
    reply_release(&r);
    client_send(&loop, fd, "{}", 2);
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fd);
}

static int connect_and_ask(const char *address, const char *path)
{
    char request[128];
    int fd = client_connect(address);

    assert_true(fd >= 0);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    client_send(&loop, fd, request, strlen(request));
    return fd;
}

static void expect_status(int fd, int status)
{
    struct reply r = client_receive(&loop, fd, false);

    assert_int_equal(r.status, status);
    reply_release(&r);
}

/* Slow ones, idle ones: whoever comes later finds a place. */
static void test_idle_connections_make_room(void **state)
{
    static const struct auth_options who = {.insecure = true};
    static const struct http_options limits = {.connections_max = 4};
    int fds[40];

    start_with(&who, &limits);
    for (int i = 0; i < 40; i++) {
        fds[i] = client_connect(tcp_address);
        if (i % 2)
            client_send(&loop, fds[i], "GET /op", 7);
    }
    for (int i = 0; i < 8; i++) {
        int fd = connect_and_ask(tcp_address, "/open");

        expect_status(fd, 200);
        close(fd);
    }
    assert_true(client_closed(&loop, fds[0]));
    for (int i = 0; i < 40; i++)
        close(fds[i]);
}

/* Nobody is cut who is at work. The last place answers what is open to all, and says to others that it is full. */
static void test_busy_connections_keep_their_places(void **state)
{
    static const struct auth_options who = {.loopback_read = true};
    static const struct http_options limits = {.connections_max = 4};
    int fds[4], fd;

    start_with(&who, &limits);
    for (int i = 0; i < 4; i++)
        fds[i] = connect_and_ask(tcp_address, "/keep");
    wait_kept(4);
    fd = connect_and_ask(tcp_address, "/echo/a");
    expect_status(fd, 503);
    assert_true(client_closed(&loop, fd));
    close(fd);
    fd = connect_and_ask(tcp_address, "/open");
    expect_status(fd, 200);
    close(fd);
    fd = connect_and_ask(unix_address, "/echo/a"); /* another listener */
    expect_status(fd, 200);
    close(fd);
    for (int i = 0; i < 4; i++) {
        http_reply_text(kept[i], 200, "text/plain", "at last");
        http_request_unref(kept[i]);
        expect_status(fds[i], 200);
    }
    close(fds[0]);
    fd = connect_and_ask(tcp_address, "/echo/a");
    expect_status(fd, 200);
    close(fd);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    read_metrics();
    assert_non_null(strstr(metrics, "cronsched_http_refused_total{reason=\"place\"} 1\n"));
}

/* Of this machine's own addresses there is one that is no loopback address, in a network of this process. */
static bool lend_address(const char *address)
{
    char command[128];
    pid_t pid;
    int status;

    if (unshare(CLONE_NEWNET) < 0)
        return false;
    snprintf(command, sizeof(command), "ip link set lo up && ip address add %s/32 dev lo", address);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static int connect_from(const char *from, const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET}, own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, from, &own.sin_addr);
    inet_pton(AF_INET, "192.0.2.1", &a.sin_addr);
    a.sin_port = htons((uint16_t)strtol(strrchr(address, ':') + 1, NULL, 10));
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* One address gets so many and no more; its idle ones make room for its own, not for others'. */
static void test_one_address_does_not_take_all_places(void **state)
{
    static const struct auth_options who = {.insecure = true};
    static const struct http_options limits = {.connections_max = 40, .address_max = 8};
    static const char request[] = "GET /keep HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
    struct http_listen listen = {.address = "192.0.2.1:0"};
    const char *address;
    struct error e;
    int fds[8], fd, other;

    if (!lend_address("192.0.2.1"))
        skip(); /* it takes root */
    start_with(&who, &limits);
    assert_int_equal(http_listen(http, &listen, &e), 0);
    address = http_address(http, 2);
    other = connect_from("127.0.0.1", address); /* not counted: it is this machine's */
    for (int i = 0; i < 8; i++) {
        fds[i] = connect_from("192.0.2.1", address);
        client_send(&loop, fds[i], request, strlen(request));
    }
    wait_kept(8);
    fd = connect_from("192.0.2.1", address);
    assert_true(client_closed(&loop, fd));
    close(fd);
    client_send(&loop, other, request, strlen(request));
    wait_kept(9);
    for (int i = 0; i < 9; i++) {
        http_reply_text(kept[i], 200, "text/plain", "");
        http_request_unref(kept[i]);
    }
    for (int i = 0; i < 8; i++)
        expect_status(fds[i], 200);
    expect_status(other, 200);
    usleep(100000);
    fd = connect_from("192.0.2.1", address); /* the others are idle now: one of them goes */
    client_send(&loop, fd, request, strlen(request));
    wait_kept(10);
    http_reply_text(kept[9], 200, "text/plain", "");
    http_request_unref(kept[9]);
    expect_status(fd, 200);
    close(fd);
    close(other);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    read_metrics();
    assert_non_null(strstr(metrics, "cronsched_http_refused_total{reason=\"address\"} 1\n"));
    assert_non_null(strstr(metrics, "cronsched_http_connections_dropped_total 1\n"));
}

/* ---- time ---- */

static void test_slow_requests_are_cut(void **state)
{
    static const struct auth_options who = {.insecure = true};
    static const struct http_options limits = {.idle_ms = 1000, .receive_ms = 300};
    static const char *const beginnings[] = {
        "", "GET /op", "GET /open HTTP/1.1\r\nHost: loc",
        "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{\"a\""};

    start_with(&who, &limits);
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        int fd = client_connect(tcp_address);

        client_send(&loop, fd, beginnings[i], strlen(beginnings[i]));
        assert_true(client_closed(&loop, fd));
        close(fd);
    }
    assert_int_equal(handled, 0);
}

static void test_a_client_that_takes_nothing_is_cut(void **state)
{
    static const struct auth_options who = {.insecure = true};
    static const struct http_options limits = {.idle_ms = 1000};
    static const char request[] = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
    uint64_t deadline = client_deadline();
    int fd;

    start_with(&who, &limits);
    fd = client_connect(tcp_address);
    client_send(&loop, fd, request, strlen(request));
    do {
        turn(&loop, -1, 0);
        read_metrics();
    } while (!strstr(metrics, "\ncronsched_http_connections 0\n") && !client_late(deadline));
    assert_int_equal(handled, 1);
    assert_false(client_late(deadline));
    close(fd);
}

static void test_a_large_reply_arrives_whole(void **state)
{
    static const char request[] = "GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static char sink[256 * 1024];
    int fd = client_connect(unix_address);
    uint64_t deadline = client_deadline();
    size_t got = 0;
    ssize_t n;

    client_send(&loop, fd, request, strlen(request));
    while (!client_late(deadline) && (n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT)) != 0) {
        got += n > 0 ? (size_t)n : 0;
        turn(&loop, fd, POLLIN);
    }
    assert_true(got > BIG_BYTES);
    assert_true(got < BIG_BYTES + 1000);
    close(fd);
}

static void test_a_handler_that_does_not_answer(void **state)
{
    static const struct auth_options who = {.insecure = true};
    static const struct http_options limits = {.answer_ms = 200};
    struct reply r;

    start_with(&who, &limits);
    r = client_ask(&loop, tcp_address, "GET /keep", "", NULL);
    assert_error(&r, 504, "timeout", "no answer within 200 ms");
    reply_release(&r);
    assert_int_equal(kept_count, 1);
    assert_true(http_answered(kept[0]));
    http_reply_json(kept[0], 200, json_object()); /* late, dropped */
    http_request_unref(kept[0]);
}

static int library_lines;

static void count_library(void *arg, enum log_level level, const char *event, const char *text)
{
    if (strcmp(event, "http-library") == 0) {
        print_error("%s\n", text);
        library_lines++;
    }
}

/* It would set options of TCP on a socket that is none, and say that clients may be delayed. */
static void test_the_library_says_nothing_of_ordinary_requests(void **state)
{
    static const struct auth_options who = {0};
    static const struct http_options options = {.log = count_library};
    struct reply r;

    library_lines = 0;
    start_with(&who, &options);
    r = client_ask(&loop, unix_address, "GET /echo/a", "", NULL);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    r = client_ask(&loop, tcp_address, "GET /open", "", NULL);
    reply_release(&r);
    assert_int_equal(library_lines, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_large_headers),
        SERVER(test_long_url),
        SERVER(test_a_query_of_many_keys),
        SERVER(test_large_bodies),
        SERVER(test_expect_continue_is_answered_early),
        PLAIN(test_idle_connections_make_room),
        PLAIN(test_one_address_does_not_take_all_places),
        PLAIN(test_busy_connections_keep_their_places),
        PLAIN(test_slow_requests_are_cut),
        PLAIN(test_a_client_that_takes_nothing_is_cut),
        SERVER(test_a_large_reply_arrives_whole),
        PLAIN(test_a_handler_that_does_not_answer),
        PLAIN(test_the_library_says_nothing_of_ordinary_requests),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
