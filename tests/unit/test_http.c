/* The HTTP server over real sockets: routes, bodies, framing, metrics. */
#include "tests/support/http_fixture.h"

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
        /* of these the library gives its own answer, with its head twice */
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n{}GET /open "
         "HTTP/1.1\r\nHost: localhost\r\n\r\n",
         400},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\nGET /open "
         "HTTP/1.1\r\nHost: localhost\r\n\r\n",
         400},
        {"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nGET /open "
         "HTTP/1.1\r\nHost: localhost\r\n\r\n",
         413},
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

/* ---- metrics ---- */

static void test_metrics(void **state)
{
    struct reply r = client_ask(&loop, tcp_address, "GET /open", "", NULL);

    reply_release(&r);
    r = client_ask(&loop, tcp_address, "GET /nowhere", "", NULL);
    reply_release(&r);
    read_metrics();
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
        SERVER(test_metrics),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
