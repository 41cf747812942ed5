/* The HTTP server over real sockets: routes, bodies, framing, limits, later answers, hang-ups, streams. */
#include "tests/support/http_fixture.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/wait.h>

static char metrics[16384];

__attribute__((format(printf, 2, 3))) static void put_metric(void *arg, const char *format, ...)
{
    size_t n = strlen(metrics);
    va_list ap;

    va_start(ap, format);
    vsnprintf(metrics + n, sizeof(metrics) - n, format, ap);
    va_end(ap);
}

/* ---- routes and bodies ---- */

static void test_replies(void **state)
{
    static const struct {
        const char *line, *body;
        int status;
        const char *code; /* NULL: no error */
        const char *text; /* of the error, or of the body */
    } cases[] = {
        {"GET /echo/a%2Db", NULL, 200, NULL, "\"name\":\"a-b\""},
        {"GET /echo/a?q=2026-01-01T00:00:00+02:00", NULL, 200, NULL, "00:00+02:00"},
        {"GET /echo/a?q=%2B%20x", NULL, 200, NULL, "\"q\":\"+ x\""},
        {"HEAD /echo/a", NULL, 200, NULL, ""},
        {"POST /echo/a", "{\"k\": [1, \"x\"]}", 200, NULL, "\"body\":{\"k\":[1,\"x\"]}"},
        {"POST /echo/a", NULL, 200, NULL, "\"body\":null"},
        {"GET /open", NULL, 200, NULL, "ok"},
        {"GET /echo", NULL, 404, "not-found", "nothing at this path"},
        {"GET /ecko/a", NULL, 404, "not-found", "did you mean '/echo/a'?"},
        {"GET /open/", NULL, 404, "not-found", "did you mean '/open'?"},
        {"GET /echo/", NULL, 404, "not-found", NULL},
        {"GET /", NULL, 404, "not-found", NULL},
        {"GET //open", NULL, 404, "not-found", NULL},
        {"GET /a/b/c/d/e/f/g/h/i/j", NULL, 400, "invalid", "more than 8 parts"},
        {"PUT /echo/a", NULL, 405, "unsupported", "GET, HEAD, POST, DELETE"},
        {"OPTIONS /open", NULL, 405, "unsupported", "GET, HEAD"},
        {"GET /echo/a?limt=1", NULL, 400, "invalid", "no key 'limt'; did you mean 'limit'?"},
        {"GET /echo/a?q=1&q=2", NULL, 400, "invalid", "'q' twice"},
        {"GET /echo/%zz", NULL, 400, "invalid", "percent"},
        {"GET /echo/%0a", NULL, 400, "invalid", "control"},
        {"GET /echo/%00", NULL, 400, "invalid", "control"},
        {"GET /echo/%ff", NULL, 400, "invalid", "UTF-8"},
        {"GET /echo/a?q=%", NULL, 400, "invalid", "percent"},
        {"GET http://localhost/open", NULL, 400, "invalid", "begin with '/'"},
        {"GET /open", "{}", 400, "invalid", "takes no body"},
        {"POST /echo/a", "{\"a\":1,\n \"a\":2}", 400, "invalid", "body:2:4: a key is there twice"},
        {"POST /echo/a", "{\"a\":}", 400, "invalid", "body:1:6: it is not JSON from here on"},
        {"POST /echo/a", "{\"a\":", 400, "invalid", "it ends before the JSON does"},
        {"POST /echo/a", "{} {}", 400, "invalid", "something follows the JSON"},
        {"POST /echo/a", "{\"a\":1e999}", 400, "invalid", "the number is too large"},
        {"POST /echo/a", "[]", 400, "invalid", "JSON object"},
        {"POST /echo/a", "7", 400, "invalid", NULL},
        {"POST /echo/a", "{} x", 400, "invalid", "body:1:4:"},
        {"POST /echo/a", "{\"a\":\"\\u0000\"}", 400, "invalid", "body:1:"},
        {"POST /echo/a", "{\"a\":\"\xff\"}", 400, "invalid", "body:1:"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r = client_ask(&loop, tcp_address, cases[i].line, "", cases[i].body);

        if (cases[i].code) {
            assert_error(&r, cases[i].status, cases[i].code, cases[i].text);
        } else {
            assert_int_equal(r.status, cases[i].status);
            if (!strstr(r.body, cases[i].text))
                print_error("%s: %s\n", cases[i].line, r.body);
            assert_non_null(strstr(r.body, cases[i].text));
        }
        reply_release(&r);
    }
}

static void test_json_depth_and_strings(void **state)
{
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"{\"a\":\"[[[[\\\\\"}", 200},
        {"{\"a\":\"\\\"[\"}", 200},
        {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]"
         "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
         200},
        {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]"
         "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
         413},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r = client_ask(&loop, tcp_address, "POST /echo/a", "", cases[i].body);

        if (r.status != cases[i].status)
            print_error("%zu: %s\n", i, r.body);
        assert_int_equal(r.status, cases[i].status);
        reply_release(&r);
    }
}

static void test_body_must_be_declared_as_json(void **state)
{
    static const char form[] =
        "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type: "
        "application/x-www-form-urlencoded\r\n\r\n{}";
    static const char json[] =
        "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type: "
        "Application/JSON; charset=utf-8\r\n\r\n{}";
    static const char blob[] = "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    struct reply r = client_exchange(&loop, tcp_address, form);

    assert_error(&r, 415, "invalid", "application/json");
    reply_release(&r);
    r = client_exchange(&loop, tcp_address, blob); /* of no type, as a page may send it to any site */
    assert_error(&r, 415, "invalid", "application/json");
    reply_release(&r);
    r = client_exchange(&loop, tcp_address, json);
    assert_int_equal(r.status, 200);
    reply_release(&r);
}

/* ---- framing ---- */

static void test_smuggling_is_refused_and_cut(void **state)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\nGET /open HTTP/1.1\r\nHost: localhost\r\n\r\n",
         400},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: "
         "0\r\n\r\n0\r\n\r\n",
         400},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\nGET "
         "/open "
         "HTTP/1.1\r\nHost: localhost\r\n\r\n",
         400},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         501},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
         "identity\r\n\r\n0\r\n\r\n",
         501},
        {"POST /echo/a HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
        {"GET /open HTTP/1.1\r\nHost: localhost\r\nHost: example.com\r\n\r\n", 400},
        {"GET /open HTTP/1.1\r\n\r\n", 400},
        {"GET /open HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhello", 400},
        {"GET /echo/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer "
         "b\r\n\r\n",
         400},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = client_connect(tcp_address);
        struct reply r;

        client_send(&loop, fd, cases[i].request, strlen(cases[i].request));
        r = client_receive(&loop, fd, false);
        if (r.status != cases[i].status)
            print_error("case %zu: %d %s\n", i, r.status, r.raw);
        assert_int_equal(r.status, cases[i].status);
        assert_true(client_closed(&loop, fd)); /* nothing behind it was read as a request */
        assert_int_equal(handled, 0);
        reply_release(&r);
        close(fd);
    }
}

/* What the library would read in one way and a proxy in front of it in another. */
static void test_odd_lines_are_refused_and_cut(void **state)
{
#define BYTES(s) (s), sizeof(s) - 1
#define HOST     "Host: localhost\r\n"
    static const struct {
        const char *request;
        size_t n;
        bool fine;
    } cases[] = {
        {BYTES("GET /open HTTP/1.1\r\n" HOST "\r\n"), true},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X:\r\nY: \t a b \t\r\nZ:\xc3\xa9\r\n\r\n"), true},
        {BYTES("GET /open?a=b&c+d HTTP/1.1\r\n" HOST "\r\n"), false}, /* a key that it has not */
        {BYTES("POST /echo/a HTTP/1.1\r\n" HOST "Content-Length:\r\n 2\r\n\r\n{}GET /open HTTP/1.1\r\n\r\n"),
         false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n X: a\r\n" HOST "\r\n"), false},
        {BYTES("POST /echo/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\0x\r\n\r\n0\r\n\r\n"), false},
        {BYTES("POST /echo/a HTTP/1.1\r\n" HOST "Content-Length: 2\0\r\n\r\n{}"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\0\0\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\0\0Y: b\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X\0: a\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X: a\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\nHost: localhost\n\n"), false},
        {BYTES("GET /open HTTP/1.1\n" HOST "\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\nHost: localhost\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST ": a\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X : a\r\n\r\n"), false},
        {BYTES("GET /open HTTP/1.1\r\n" HOST "X\r\n\r\n"), false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reply r = client_exchange_bytes(&loop, unix_address, cases[i].request, cases[i].n);

        if (r.status != (cases[i].fine ? 200 : 400))
            print_error("case %zu: %d %s\n", i, r.status, r.raw);
        assert_int_equal(r.status, cases[i].fine ? 200 : 400);
        assert_null(strstr(r.raw + 1, "HTTP/1.1 200")); /* nothing behind it was read as a request */
        reply_release(&r);
    }
    assert_int_equal(handled, 2);
#undef BYTES
#undef HOST
}

static void test_chunked_body(void **state)
{
    static const char request[] =
        "POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\n{\"a\r\n5\r\n\": 1}\r\n0\r\n\r\n";
    struct reply r = client_exchange(&loop, tcp_address, request);
    char value[32];

    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "{\"a\":1}"));
    /* the library takes chunks more kindly than a proxy might: nothing comes behind them */
    assert_string_equal(client_header(&r, "Connection", value, sizeof(value)), "close");
    reply_release(&r);
}

static void test_pipelined_requests_keep_their_order(void **state)
{
    static const char request[] = "GET /echo/one HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  "POST /echo/two HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 2\r\n\r\n{}"
                                  "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  "GET /echo/three HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    int fd = client_connect(tcp_address);
    struct reply all = {0};
    const char *one, *two, *four;

    client_send(&loop, fd, request, strlen(request));
    while (!all.closed)
        receive_more(&loop, fd, &all);
    one = strstr(all.raw, "\"one\"");
    two = strstr(all.raw, "\"two\"");
    four = strstr(all.raw, "404 Not Found");
    assert_true(one && two && four && one < two && two < four && four < strstr(all.raw, "\"three\""));
    reply_release(&all);
    close(fd);
}

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
    metrics[0] = '\0';
    http_metrics(http, put_metric, NULL);
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
    metrics[0] = '\0';
    http_metrics(http, put_metric, NULL);
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
        metrics[0] = '\0';
        http_metrics(http, put_metric, NULL);
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
    assert_true(got > sizeof(big));
    assert_true(got < sizeof(big) + 1000);
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

/* ---- metrics ---- */

static void test_metrics(void **state)
{
    struct reply r = client_ask(&loop, tcp_address, "GET /open", "", NULL);

    reply_release(&r);
    r = client_ask(&loop, tcp_address, "GET /nowhere", "", NULL);
    reply_release(&r);
    metrics[0] = '\0';
    http_metrics(http, put_metric, NULL);
    assert_non_null(
        strstr(metrics, "cronsched_http_requests_total{method=\"GET\",path=\"/open\",code=\"2xx\"} 1\n"));
    assert_non_null(
        strstr(metrics, "cronsched_http_requests_total{method=\"other\",path=\"other\",code=\"4xx\"} 1\n"));
    assert_non_null(strstr(metrics, "\ncronsched_http_connections_total 2\n"));
    assert_non_null(strstr(metrics, "\ncronsched_http_listener_gap_seconds{listener=\"unix:"));
    assert_non_null(strstr(metrics, "\ncronsched_http_listener_gap_seconds{listener=\"127.0.0.1:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_replies),
        SERVER(test_json_depth_and_strings),
        SERVER(test_body_must_be_declared_as_json),
        SERVER(test_smuggling_is_refused_and_cut),
        SERVER(test_odd_lines_are_refused_and_cut),
        SERVER(test_chunked_body),
        SERVER(test_pipelined_requests_keep_their_order),
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
        SERVER(test_parallel_requests_answered_later),
        SERVER(test_hang_up_while_the_handler_works),
        SERVER(test_hang_up_in_mid_request),
        SERVER(test_closing_answers_who_waits),
        SERVER(test_stream_comes_as_it_is_written),
        SERVER(test_stream_tells_when_it_is_full),
        SERVER(test_hang_up_of_a_silent_stream),
        SERVER(test_closing_cuts_streams),
        SERVER(test_head_of_a_stream),
        SERVER(test_metrics),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
