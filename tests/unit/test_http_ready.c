/* When handlers are called: so many in a turn of the loop, so many with large answers at a time. */
#include "tests/support/http_fixture.h"

#define CALLERS 60

static void ask_without_reading(int fds[], int count, const char *path)
{
    char request[128];

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    for (int i = 0; i < count; i++) {
        fds[i] = client_connect(unix_address);
        assert_true(fds[i] >= 0);
        assert_int_equal(write(fds[i], request, strlen(request)), (ssize_t)strlen(request));
    }
}

static void close_all(const int fds[], int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

/* All that were there were handled in one turn, however long that took. */
static void test_handlers_share_a_turn(void **state)
{
    uint64_t deadline = client_deadline();
    int fds[CALLERS], most = 0;

    ask_without_reading(fds, CALLERS, "/slow");
    while (handled < CALLERS && !client_late(deadline)) {
        int before = handled;

        turn(&loop, -1, 0);
        most = handled - before > most ? handled - before : most;
    }
    assert_int_equal(handled, CALLERS);
    assert_in_range(most, 1,
                    2 * (HTTP_TURN_MS / SLOW_MS + 1)); /* before the descriptors are looked at, and after */
    close_all(fds, CALLERS);
}

/* Nobody waits for them who only asks whether the server lives. */
static void test_a_health_check_does_not_wait(void **state)
{
    uint64_t deadline = client_deadline();
    int fds[CALLERS], fd;
    struct reply r = {0};

    ask_without_reading(fds, CALLERS, "/slow");
    while (handled == 0 && !client_late(deadline))
        turn(&loop, -1, 0);
    fd = client_connect(unix_address);
    client_send(&loop, fd, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    while (!client_late(deadline) && !reply_parse(&r, false))
        receive_more(&loop, fd, &r);
    assert_int_equal(r.status, 200);
    assert_true(handled < CALLERS);
    reply_release(&r);
    close(fd);
    close_all(fds, CALLERS);
}

static void turns(int n)
{
    while (n-- > 0)
        turn(&loop, -1, 0);
}

/* The fifth of one caller waits until one of the four is sent. */
static void test_large_answers_have_places(void **state)
{
    int fds[HTTP_HEAVY_PER_CALLER + 2];
    struct reply r;

    ask_without_reading(fds, HTTP_HEAVY_PER_CALLER + 2, "/heavy");
    wait_kept(HTTP_HEAVY_PER_CALLER);
    turns(20);
    assert_int_equal(kept_count, HTTP_HEAVY_PER_CALLER);
    r = client_exchange(&loop, unix_address,
                        "GET /echo/x HTTP/1.1\r\nHost: x\r\n\r\n"); /* others do not wait */
    assert_int_equal(r.status, 200);
    reply_release(&r);
    http_reply_text(kept[0], 200, "text/plain", "done\n");
    wait_kept(HTTP_HEAVY_PER_CALLER + 1);
    close(fds[1]); /* one that hangs up leaves its place, too */
    http_reply_text(kept[1], 200, "text/plain", "done\n");
    wait_kept(HTTP_HEAVY_PER_CALLER + 2);
    for (size_t i = 0; i < kept_count; i++)
        http_request_unref(kept[i]);
    kept_count = 0;
    fds[1] = dup(0);
    close_all(fds, HTTP_HEAVY_PER_CALLER + 2);
}

/* They would keep the connections from others: beyond so many they are refused at once. */
static void test_so_many_of_a_caller_wait(void **state)
{
    enum { COUNT = HTTP_HEAVY_PER_CALLER + HTTP_HEAVY_WAITING };
    int fds[COUNT];
    struct reply r;

    ask_without_reading(fds, COUNT, "/heavy");
    wait_kept(HTTP_HEAVY_PER_CALLER);
    turns(20); /* the others are read, and wait */
    r = client_exchange(&loop, unix_address, "GET /heavy HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "large answers already"));
    reply_release(&r);
    for (size_t i = 0; i < kept_count; i++)
        http_request_unref(kept[i]);
    kept_count = 0;
    close_all(fds, COUNT);
}

/* One whose turn never comes is told so, and is not done later. While it has waited for half of that, the next ones of the
 * same caller are refused at once. */
static void test_who_waits_for_a_place_has_a_deadline(void **state)
{
    static const struct http_options limits = {.answer_ms = 2000};
    static const struct auth_options nobody = {0};
    int fds[HTTP_HEAVY_PER_CALLER], fd;
    char value[16];
    struct reply r;

    start_with(&nobody, &limits);
    ask_without_reading(fds, HTTP_HEAVY_PER_CALLER, "/heavy/slow");
    wait_kept(HTTP_HEAVY_PER_CALLER);
    fd = client_connect(unix_address);
    client_send(&loop, fd, "GET /heavy HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    turns(5);
    for (uint64_t begun_ms = uv_now(&loop); uv_now(&loop) < begun_ms + 1050;)
        turn(&loop, -1, 10);
    r = client_exchange(&loop, unix_address, "GET /heavy HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "for more than 1000 ms already"));
    reply_release(&r);
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "it was not begun"));
    assert_non_null(client_header(&r, "Retry-After", value, sizeof(value)));
    reply_release(&r);
    turns(20);
    assert_int_equal(kept_count, HTTP_HEAVY_PER_CALLER);
    for (size_t i = 0; i < kept_count; i++)
        http_request_unref(kept[i]);
    kept_count = 0;
    close(fd);
    close_all(fds, HTTP_HEAVY_PER_CALLER);
}

/* Clients that take nothing hold so much memory and no more. */
static void test_replies_in_memory_are_bounded(void **state)
{
    enum { COUNT = HTTP_REPLIES_BYTES_MAX / TEXT_BYTES + 2 };
    uint64_t deadline = client_deadline();
    struct reply r;
    int fds[COUNT];

    ask_without_reading(fds, COUNT, "/text");
    while (handled < COUNT && !client_late(deadline))
        turn(&loop, -1, 0);
    r = client_receive(&loop, fds[COUNT - 1], false);
    assert_int_equal(r.status, 429);
    reply_release(&r);
    r = client_exchange(&loop, unix_address,
                        "GET /echo/x HTTP/1.1\r\nHost: x\r\n\r\n"); /* small ones go out */
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close_all(fds, COUNT);
    turns(20);
    fds[0] = client_connect(unix_address);
    client_send(&loop, fds[0], "GET /text HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    r = client_receive(&loop, fds[0], false);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_handlers_share_a_turn),
        SERVER(test_a_health_check_does_not_wait),
        SERVER(test_large_answers_have_places),
        SERVER(test_so_many_of_a_caller_wait),
        PLAIN(test_who_waits_for_a_place_has_a_deadline),
        SERVER(test_replies_in_memory_are_bounded),
    };

    return cmocka_run_group_tests_name("http_ready", tests, NULL, NULL);
}
