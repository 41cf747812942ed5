/* Large bodies: a thread parses and frees them, whatever becomes of the request meanwhile. */
#include "tests/support/http_fixture.h"

#include <fcntl.h>
#include <time.h>

#define VALUES     400000
#define BODY_BYTES (8 * 1024 * 1024)

static char *body; /* BODY_BYTES */
static size_t body_len;

static int set_up_bodies(void **state)
{
    body = malloc(BODY_BYTES);
    return body ? 0 : -1;
}

static int tear_down_bodies(void **state)
{
    free(body);
    return 0;
}

static void add(const char *text)
{
    size_t n = strlen(text);

    assert_true(body_len + n <= BODY_BYTES);
    memcpy(body + body_len, text, n);
    body_len += n;
}

static void make_body(const char *end)
{
    body_len = 0;
    add("{\"values\": [{\"a\":0}");
    for (int i = 1; i < VALUES; i++)
        add(",{\"a\":1}");
    add(end);
}

static int send_body(void)
{
    char head[256];
    int fd = client_connect(unix_address);

    snprintf(head, sizeof(head),
             "POST /large HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             body_len);
    assert_true(client_send(&loop, fd, head, strlen(head)));
    assert_true(client_send(&loop, fd, body, body_len));
    return fd;
}

/* ---- how long the loop's thread computes at a time ---- */

static int64_t last_us, longest_us;

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void on_prepare(uv_prepare_t *prepare)
{
    int64_t now_us = cpu_us();

    if (now_us - last_us > longest_us)
        longest_us = now_us - last_us;
    last_us = now_us;
}

/* Against the time that parsing it here takes. */
static void test_nobody_waits_for_a_large_body(void **state)
{
    int64_t parsing_us = cpu_us();
    static uv_prepare_t prepare;
    struct reply r;
    json_t *json;
    int fd;

    make_body("]}");
    json = json_loadb(body, body_len, 0, NULL);
    parsing_us = cpu_us() - parsing_us;
    assert_non_null(json);
    json_decref(json);
    uv_prepare_init(&loop, &prepare);
    uv_prepare_start(&prepare, on_prepare);
    last_us = cpu_us();
    longest_us = 0;
    fd = send_body();
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fd);
    for (int i = 0; i < 5; i++) /* the request ends, and with it its JSON */
        turn(&loop, -1, 0);
    print_message("parsing: %lld us, the longest turn: %lld us\n", (long long)parsing_us,
                  (long long)longest_us);
    assert_true(longest_us * 3 < parsing_us);
    uv_close((uv_handle_t *)&prepare, NULL);
    turn(&loop, -1, 0);
}

static void test_a_large_body_that_is_no_json(void **state)
{
    struct reply r;
    int fd;

    make_body("}");
    fd = send_body();
    r = client_receive(&loop, fd, false);
    assert_error(&r, 400, "invalid", "body:1:");
    reply_release(&r);
    close(fd);
    make_body("]}");
    body[0] = '[';
    body[body_len - 1] = ']';
    memset(body + 1, ' ', sizeof("\"values\":") - 1);
    fd = send_body();
    r = client_receive(&loop, fd, false);
    assert_error(&r, 400, "invalid", "the body must be a JSON object");
    reply_release(&r);
    close(fd);
}

/* Who sends it goes, and is forgotten; the server closes, and waits for the thread. */
static void test_a_large_body_that_nobody_waits_for(void **state)
{
    int before = handled, fd;

    make_body("]}");
    fd = send_body();
    close(fd);
    assert_int_equal(handled, before);
    stop();
    assert_int_equal(handled, before);
}

static void test_a_server_that_closes_while_a_large_body_is_parsed(void **state)
{
    int fd;

    make_body("]}");
    fd = send_body();
    stop();
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_nobody_waits_for_a_large_body),
        SERVER(test_a_large_body_that_is_no_json),
        SERVER(test_a_large_body_that_nobody_waits_for),
        SERVER(test_a_server_that_closes_while_a_large_body_is_parsed),
    };

    return cmocka_run_group_tests_name("http_body", tests, set_up_bodies, tear_down_bodies);
}
