/* /v1/events: who listens hears everything once, in order, and costs little. */
#include "cronsched/api/api_priv.h"
#include "cronsched/api/event_ring.h"
#include "tests/support/api_fixture.h"

#define SERVER(f) cmocka_unit_test_setup_teardown(f, set_up_api, tear_down)

static int listen_to(const char *query, const char *headers)
{
    int fd = client_connect(address);
    char request[512];

    snprintf(request, sizeof(request), "GET /v1/events%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", query,
             headers);
    client_send(&loop, fd, request, strlen(request));
    return fd;
}

static void happen(uint64_t index, const char *run, const char *verdict)
{
    char job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;
    struct history_run row = {.run = (char *)(uintptr_t)run,
                              .job = job,
                              .state = (char *)(uintptr_t) "ended",
                              .verdict = (char *)(uintptr_t)verdict};
    struct history_write w = {.index = index, .runs = &row, .run_count = 1};

    run_id_parse(run, job, &at_ms, &has_ms);
    api_seen(api, &w);
}

/* How often the text is in what has come. */
static int count(const struct reply *r, const char *text)
{
    int n = 0;

    for (const char *p = r->raw; p && (p = strstr(p, text)); p++)
        n++;
    return n;
}

static void test_what_happens_is_heard_at_once(void **state)
{
    struct reply r = {0};
    int fd = listen_to("", "");

    assert_true(client_expect(&loop, fd, &r, "event: hello\ndata: {\"replica\":\""));
    assert_non_null(strstr(r.headers, "text/event-stream"));
    assert_non_null(strstr(r.headers, "X-Accel-Buffering: no"));
    happen(1, "a@20261122T030000Z", "failed");
    assert_true(
        client_expect(&loop, fd, &r,
                      "event: run\ndata: {\"run\":\"a@20261122T030000Z\",\"job\":\"a\",\"state\":\"ended\","
                      "\"verdict\":\"failed\""));
    assert_non_null(strstr(r.body, "\nid: 1.1."));
    reply_release(&r);
    close(fd);
}

/* Nothing is kept open for who asks for the headers, and no length is made up. */
static void test_a_head_has_no_length(void **state)
{
    struct reply r;
    char value[64];
    int fd = client_connect(address);
    static const char request[] = "HEAD /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

    client_send(&loop, fd, request, strlen(request));
    r = client_receive(&loop, fd, true);
    assert_int_equal(r.status, 200);
    assert_null(client_header(&r, "Content-Length", value, sizeof(value)));
    assert_int_equal(api->subscriber_count, 0);
    reply_release(&r);
    client_send(&loop, fd, request, strlen(request)); /* the connection lives on */
    r = client_receive(&loop, fd, true);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fd);
}

static void test_only_what_was_asked_for(void **state)
{
    struct reply r = {0};
    int fd = listen_to("?job=b&kinds=run", "Accept: application/x-ndjson\r\n");

    assert_true(client_expect(&loop, fd, &r, "{\"event\":\"hello\",\"id\":\""));
    happen(1, "a@20261122T030000Z", "failed");
    happen(2, "b@20261122T030000Z", "succeeded");
    assert_true(client_expect(&loop, fd, &r, "{\"event\":\"run\",\"id\":\"2.1."));
    assert_int_equal(count(&r, "a@2026"), 0);
    reply_release(&r);
    close(fd);
    assert_answer("GET /v1/events?kinds=rum", NULL, 400, "there are run, job and cluster");
    assert_answer("GET /v1/events?job=A/b", NULL, 400, "is no name of a job");
}

static void test_who_comes_back_goes_on(void **state)
{
    struct reply r = {0};
    char header[128];
    int fd;

    for (uint64_t i = 1; i <= 5; i++)
        happen(i, "a@20261122T030000Z", "failed");
    snprintf(header, sizeof(header), "Last-Event-ID: 3.1.%.8s\r\n", scheduler_cluster(NULL));
    fd = listen_to("", header);
    assert_true(client_expect(&loop, fd, &r, "id: 5.1."));
    assert_int_equal(count(&r, "event: run"), 2);
    assert_int_equal(count(&r, "event: reset"), 0);
    reply_release(&r);
    close(fd);
    r = (struct reply){0};
    fd = listen_to("", "Last-Event-ID: 3.1.elsewher\r\n"); /* of another cluster */
    assert_true(client_expect(&loop, fd, &r, "event: reset"));
    reply_release(&r);
    close(fd);
}

/* He does not read: the server holds what his connection holds and no more, and he is told that he missed something. */
static void test_who_does_not_read_costs_nothing(void **state)
{
    struct reply r = {0};
    int fd = listen_to("", "");
    uint64_t index = 0;
    size_t most = 0;

    assert_true(client_expect(&loop, fd, &r, "event: hello"));
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < 200; k++)
            happen(++index, "a@20261122T030000Z", "failed");
        turn(&loop, -1, 0);
    }
    most = event_ring_end(api->events) - event_ring_first(api->events);
    assert_int_equal(most, EVENT_RING_EVENTS_MAX);
    assert_true(client_expect(&loop, fd, &r, "event: reset"));
    reply_release(&r);
    close(fd);
}

static void test_places_are_bounded(void **state)
{
    int fds[API_EVENTS_SUBSCRIBERS_CALLER];
    struct reply r = {0};

    for (int i = 0; i < API_EVENTS_SUBSCRIBERS_CALLER; i++) {
        struct reply hello = {0};

        fds[i] = listen_to("", "");
        assert_true(client_expect(&loop, fds[i], &hello, "event: hello"));
        reply_release(&hello);
    }
    assert_answer("GET /v1/events", NULL, 429, "listens 8 times already");
    close(fds[0]);
    for (int i = 0; i < 1000 && api->subscriber_count == API_EVENTS_SUBSCRIBERS_CALLER; i++)
        turn(&loop, -1, 0);
    fds[0] = listen_to("", "");
    assert_true(client_expect(&loop, fds[0], &r, "event: hello"));
    reply_release(&r);
    for (int i = 0; i < API_EVENTS_SUBSCRIBERS_CALLER; i++)
        close(fds[i]); /* the rest is up to api_close */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_a_head_has_no_length),
        SERVER(test_what_happens_is_heard_at_once),
        SERVER(test_only_what_was_asked_for),
        SERVER(test_who_comes_back_goes_on),
        SERVER(test_who_does_not_read_costs_nothing),
        SERVER(test_places_are_bounded),
    };

    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
