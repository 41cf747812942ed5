/* A port that somebody else has: what is served beside it, what is said, and what happens once it is free. */
#include "tests/support/api_fixture.h"

#include "cronsched/api/api_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int squatter = -1;
static char port[64];

static void squat(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(a);

    squatter = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(squatter, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(squatter, 1), 0);
    assert_int_equal(getsockname(squatter, (struct sockaddr *)&a, &size), 0);
    snprintf(port, sizeof(port), "127.0.0.1:%d", ntohs(a.sin_port));
}

static void leave(void)
{
    close(squatter);
    squatter = -1;
}

static void a_taken_port_does_not_keep_the_socket_from_serving(void **state)
{
    char *listen[] = {port, address};
    const struct api_options o = {.listen = listen, .listen_count = 2};
    uint64_t deadline;

    squat();
    start_api(&o);
    assert_answer("GET /healthz", NULL, 200, "");
    assert_string_equal(api_address_taken(api), port);
    assert_answer("GET /v1/doctor", NULL, 200, "is taken by another program");
    leave();
    deadline = uv_now(&loop) + 30000;
    while (api_address_taken(api) && uv_now(&loop) < deadline)
        uv_run(&loop, UV_RUN_ONCE);
    assert_null(api_address_taken(api));
    assert_answer("GET /healthz", NULL, 200, "");
}

static void without_any_address_the_start_fails(void **state)
{
    char *listen[] = {port};
    struct api_options o = {.listen = listen, .listen_count = 1};
    struct error error = {0};
    struct api *none = NULL;

    start_api(NULL); /* for the fixture's end */
    squat();
    o.context = api->context;
    assert_int_equal(api_start(&none, &loop, &o, &error), ERR_BUSY);
    assert_null(none);
    assert_non_null(strstr(error.text, port));
    leave();
}

static void what_is_no_address_is_an_error_all_the_same(void **state)
{
    char wrong[] = "127.0.0.1:nothing", *listen[] = {wrong, address};
    struct api_options o = {.listen = listen, .listen_count = 2};
    struct error error = {0};
    struct api *none = NULL;

    start_api(NULL);
    o.context = api->context;
    assert_true(api_start(&none, &loop, &o, &error) < 0);
    assert_null(none);
}

static char told[512];

static void note(void *arg, enum log_level level, const char *event, const char *text)
{
    if (level == LOG_WARN && strcmp(event, "listen") == 0)
        snprintf(told, sizeof(told), "%s", text);
}

/* At the start and by doctor; not when the address serves somebody. */
static void an_address_where_nobody_has_a_role_is_told(void **state)
{
    char tcp[] = "127.0.0.1:0", *listen[] = {tcp, address};
    const struct {
        const char *what;
        struct api_options o;
        bool useless;
    } table[] = {
        {"tcp alone", {.listen = listen, .listen_count = 2}, true},
        {"loopback: read", {.listen = listen, .listen_count = 2, .loopback_read = true}, false},
        {"insecure", {.listen = listen, .listen_count = 2, .insecure = true}, false},
        {"the socket alone", {.listen = listen + 1, .listen_count = 1}, false},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct api_options o = table[i].o;
        struct reply r;

        told[0] = '\0';
        o.context.log = note;
        start_api(&o);
        r = ask("GET /v1/doctor", NULL);
        if ((strstr(told, "127.0.0.1:0: over TCP nobody has a role here") != NULL) != table[i].useless ||
            (strstr(r.body, "over TCP nobody has a role here") != NULL) != table[i].useless)
            fail_msg("%s: %s; %s", table[i].what, told, r.body);
        reply_release(&r);
        if (i + 1 < sizeof(table) / sizeof(table[0]))
            stop_api();
    }
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, set_up_plain, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(a_taken_port_does_not_keep_the_socket_from_serving),
        PLAIN(an_address_where_nobody_has_a_role_is_told),
        PLAIN(without_any_address_the_start_fails),
        PLAIN(what_is_no_address_is_an_error_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
