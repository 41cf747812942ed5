/* The coordinator over libzookeeper on a real ensemble of three servers: what it promises when addresses are
 * dead, servers stop, sessions end, and when a password guards the nodes. The wrapper zookeeper_servers.py
 * started the servers, and kills them when told. */
#include "tests/integration/orders.h"
#include "tests/support/patience.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/coordinator_client.h"

#define SERVERS       3
#define REQUESTS      500
#define SEEDS         12
#define SHORT_SESSION 1000

/* The server that the client talks to. */
static int server_of(const struct client *c)
{
    for (int i = 0; i < SERVERS; i++)
        if (strstr(c->coord->ops->status(c->coord), server(i)))
            return i;
    fail_msg("%s", c->coord->ops->status(c->coord));
    return 0;
}

static void order_server(const char *verb, int i)
{
    char words[32];

    snprintf(words, sizeof(words), "%s %d", verb, i);
    order(words);
}

/* ---- addresses ---- */

/* Whatever the order in which they come, the one that lives is found within the session's time. */
static void assert_found(const char *servers)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct client *c = client_new(servers, "addresses", SESSION_MS, seed);
        uint64_t began = uv_hrtime();

        UNTIL(c, c->connected > 0);
        assert_true(uv_hrtime() - began < SESSION_MS * UINT64_C(1000000));
        client_free(c);
    }
}

/* With an even number of addresses the library by itself can leave out half of them for ever (ZOOKEEPER-2466). */
static void test_dead_addresses_are_passed_over(void **state)
{
    char servers[300];

    snprintf(servers, sizeof(servers), "127.0.0.1:1,%s,127.0.0.1:2,127.0.0.1:3", server(0));
    assert_found(servers);
}

/* One that takes the connection and never says a word. */
static void test_a_silent_server_is_passed_over(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char servers[300];

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(servers, sizeof(servers), "127.0.0.1:%d,%s", ntohs(address.sin_port), server(1));
    assert_found(servers);
    close(fd);
}

static void test_a_name_is_looked_up(void **state)
{
    char servers[64];
    struct client *c;

    snprintf(servers, sizeof(servers), "localhost%s", strchr(server(2), ':'));
    c = client_new(servers, "addresses", SESSION_MS, 1);
    UNTIL(c, c->connected > 0);
    client_free(c);
}

/* ---- requests ---- */

static void test_requests_are_answered_once_and_in_their_order(void **state)
{
    struct client *c = client_connected("order");
    struct coord_op op = {COORD_SET, "/counter", "x", 1, COORD_ANY};

    assert_int_equal(write_one(c, COORD_CREATE, "/counter", "0", COORD_ANY), COORD_OK);
    c->answered = 0;
    for (int i = 0; i < REQUESTS; i++)
        c->coord->ops->multi(c->coord, &op, 1, on_answer, slot(c, i));
    UNTIL(c, c->answered == REQUESTS);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(c->answers[i].count, 1);
        assert_int_equal(c->answers[i].order, i + 1);
        assert_int_equal(c->answers[i].result, COORD_OK);
        assert_int_equal(c->answers[i].version, i + 1);
    }
    client_free(c);
}

static void test_a_multi_is_all_or_nothing_and_says_which_failed_first(void **state)
{
    struct client *c = client_connected("multi");
    struct coord_op ops[] = {{COORD_CREATE, "/a", "1", 1, COORD_ANY},
                             {COORD_CHECK, "/a", NULL, 0, 7},
                             {COORD_SET, "/nowhere", "1", 1, COORD_ANY}};
    struct answer *a = slot(c, 0);

    c->coord->ops->multi(c->coord, ops, 3, on_answer, a);
    UNTIL(c, a->count > 0);
    assert_int_equal(a->result, COORD_BAD_VERSION);
    assert_int_equal(read_one(c, "/a", false)->result, COORD_NO_NODE);
    assert_int_equal(write_one(c, COORD_CREATE, "/a/b", "1", COORD_ANY), COORD_NO_NODE);
    assert_int_equal(write_one(c, COORD_CREATE, "/a", "1", COORD_ANY), COORD_OK);
    assert_int_equal(write_one(c, COORD_CREATE, "/a", "1", COORD_ANY), COORD_EXISTS);
    assert_string_equal(read_one(c, "/a", false)->text, "1");
    client_free(c);
}

static void test_what_is_too_much_is_refused_and_harms_nothing(void **state)
{
    struct client *c = client_connected("limits");
    char *big = alloc_zero(COORD_DATA_MAX + 2);
    int refused = 0;

    memset(big, 'x', COORD_DATA_MAX + 1);
    assert_int_equal(write_one(c, COORD_CREATE, "/big", big, COORD_ANY), COORD_FAILED);
    assert_int_equal(write_one(c, COORD_CREATE, "no path", "", COORD_ANY), COORD_FAILED);
    big[COORD_DATA_MAX] = '\0';
    assert_int_equal(write_one(c, COORD_CREATE, "/big", big, COORD_ANY), COORD_OK);
    c->answered = 0;
    for (int i = 0; i < ANSWERS_MAX; i++)
        c->coord->ops->get(c->coord, "/none", false, on_answer, slot(c, i));
    UNTIL(c, c->answered == ANSWERS_MAX);
    for (int i = 0; i < ANSWERS_MAX; i++) {
        bool in = i < ZOOKEEPER_REQUESTS_MAX;

        assert_int_equal(c->answers[i].count, 1);
        assert_int_equal(c->answers[i].result, in ? COORD_NO_NODE : COORD_FAILED);
        refused += !in;
    }
    assert_int_equal(refused, ANSWERS_MAX - ZOOKEEPER_REQUESTS_MAX);
    assert_int_equal(c->lost, 0);
    free(big);
    client_free(c);
}

static void test_a_watch_tells_of_what_others_do_once(void **state)
{
    struct client *c = client_connected("watch"), *other = client_connected("watch");

    assert_int_equal(read_one(c, "/node", true)->result,
                     COORD_NO_NODE); /* that it is not there is watched too */
    assert_int_equal(write_one(other, COORD_CREATE, "/node", "1", COORD_ANY), COORD_OK);
    UNTIL(c, c->changed_count == 1);
    assert_string_equal(c->changed[0], "/node");
    assert_int_equal(write_one(other, COORD_SET, "/node", "2", COORD_ANY), COORD_OK); /* spent: not told */
    assert_string_equal(read_one(c, "/node", true)->text, "2");
    assert_int_equal(c->changed_count, 1);
    assert_int_equal(write_one(other, COORD_DELETE, "/node", NULL, COORD_ANY), COORD_OK);
    UNTIL(c, c->changed_count == 2);
    client_free(other);
    client_free(c);
}

/* ---- connections and sessions ---- */

/* The server dies under a load of writes. Those answered are a prefix of those made; the others are lost, each
 * once; the session goes on at another server, and what it reads there is no older than what it was told. */
static void test_a_server_that_dies_costs_the_connection_and_not_the_session(void **state)
{
    struct client *c = client_connected("dies");
    struct coord_op op = {COORD_SET, "/counter", "x", 1, COORD_ANY};
    int64_t session = c->session;
    int victim = server_of(c), done = 0;
    struct answer *a;

    assert_int_equal(write_one(c, COORD_CREATE, "/counter", "0", COORD_ANY), COORD_OK);
    assert_int_equal(write_one(c, COORD_CREATE_EPHEMERAL, "/mine", "", COORD_ANY), COORD_OK);
    read_one(c, "/counter", true);
    c->changed_count = 0;
    c->answered = 0;
    for (int i = 2; i < REQUESTS; i++)
        c->coord->ops->multi(c->coord, &op, 1, on_answer, slot(c, i));
    uv_run(&c->loop, UV_RUN_NOWAIT);
    order_server("kill", victim);
    UNTIL(c, c->answered == REQUESTS - 2 && c->connected == 2);
    assert_int_equal(c->fresh, 1);
    assert_int_equal(c->lost, 1);
    assert_int_equal(c->expired, 0);
    assert_true(c->session == session);
    assert_true(c->changed_count > 0); /* the watch: it may have changed meanwhile */
    for (int i = 2; i < REQUESTS; i++) {
        assert_int_equal(c->answers[i].count, 1);
        assert_int_equal(c->answers[i].order, i - 1);
        assert_true(c->answers[i].result == COORD_OK || c->answers[i].result == COORD_LOST);
        if (c->answers[i].result == COORD_OK)
            assert_int_equal(done++, i - 2);
    }
    a = read_one(c, "/counter", false);
    assert_int_equal(a->result, COORD_OK);
    assert_in_range(a->version, done, REQUESTS - 2);
    a = read_one(c, "/mine", false);
    assert_int_equal(a->result, COORD_OK);
    assert_true(a->owner == session);
    order_server("start", victim);
    client_free(c);
}

/* A server that is stopped, not dead: it takes what is sent and answers nothing. */
static void test_a_server_that_hangs_is_left_for_another(void **state)
{
    struct client *c = client_connected("hangs");
    int victim = server_of(c);

    order_server("pause", victim);
    UNTIL(c, c->lost == 1 && c->connected == 2);
    assert_int_equal(c->fresh, 1);
    assert_int_equal(c->expired, 0);
    order_server("resume", victim);
    client_free(c);
}

/* The process itself stood still for longer than its session: it is told so, and gets a new one by itself. */
static void test_an_expired_session_is_told_and_replaced(void **state)
{
    struct client *c = client_new(ensemble(), "expired", SHORT_SESSION, 1),
                  *other = client_connected("expired");
    int64_t session;

    UNTIL(c, c->connected > 0);
    session = c->session;
    assert_int_equal(write_one(c, COORD_CREATE_EPHEMERAL, "/mine", "", COORD_ANY), COORD_OK);
    UNTIL(other, read_one(other, "/mine", false)->result == COORD_NO_NODE); /* c's loop stands */
    UNTIL(c, c->connected == 2);
    assert_int_equal(c->expired, 1);
    assert_int_equal(c->lost, 1);
    assert_int_equal(c->fresh, 2);
    assert_true(c->session != session);
    assert_int_equal(write_one(c, COORD_CREATE_EPHEMERAL, "/mine", "", COORD_ANY), COORD_OK);
    client_free(other);
    client_free(c);
}

static void test_a_close_ends_the_session_at_once(void **state)
{
    struct client *c = client_new(ensemble(), "close", ZOOKEEPER_TIMEOUT_MAX_MS, 1),
                  *other = client_connected("close");

    UNTIL(c, c->connected > 0);
    assert_int_equal(write_one(c, COORD_CREATE_EPHEMERAL, "/mine", "", COORD_ANY), COORD_OK);
    UNTIL(other, read_one(other, "/mine", true)->result == COORD_OK);
    client_free(c);
    UNTIL(other, other->changed_count == 1); /* long before the session's time */
    assert_int_equal(read_one(other, "/mine", false)->result, COORD_NO_NODE);
    client_free(other);
}

static void test_while_all_servers_are_away_nothing_is_answered_as_done(void **state)
{
    struct client *c = client_connected("away");
    int64_t session = c->session;

    for (int i = 0; i < SERVERS; i++)
        order_server("kill", i);
    UNTIL(c, c->lost == 1);
    assert_int_equal(write_one(c, COORD_CREATE, "/a", "1", COORD_ANY), COORD_LOST);
    assert_non_null(strstr(c->coord->ops->status(c->coord), "not connected"));
    order("start");
    UNTIL(c, c->connected == 2);
    assert_true(c->session == session); /* the ensemble counts a session's time from its own return */
    assert_int_equal(read_one(c, "/a", false)->result, COORD_NO_NODE);
    client_free(c);
}

/* ---- access ---- */

static void test_what_a_password_made_is_for_nobody_else(void **state)
{
    struct zookeeper_users users[2];
    struct error error;
    struct zookeeper_options mine = {.servers = ensemble(),
                                     .cluster = "guarded",
                                     .users = &users[0],
                                     .session_timeout_ms = SESSION_MS},
                             others = mine;
    struct client *c;

    assert_int_equal(zookeeper_users_parse("cron:sesame", &users[0], &error), 0);
    assert_int_equal(zookeeper_users_parse("cron:guess", &users[1], &error), 0);
    c = client_of(mine, 1);

    UNTIL(c, c->connected > 0);
    assert_int_equal(write_one(c, COORD_CREATE, "/node", "mine", COORD_ANY), COORD_OK);
    others.root = ZOOKEEPER_ROOT "/guarded";
    others.cluster = "inner";
    for (int i = 0; i < 2; i++) {
        struct client *other;
        const char *status;

        others.users = i ? &users[1] : NULL;
        other = client_of(others, 1);
        UNTIL(other, strstr(other->coord->ops->status(other->coord), "may not be made: not authenticated"));
        status = other->coord->ops->status(other->coord);
        assert_non_null(strstr(status, i ? "made with another password?" : "made with a password?"));
        assert_int_equal(other->connected, 0);
        client_free(other);
    }
    client_free(c);
    c = client_of(mine, 2); /* another session of the same user */
    UNTIL(c, c->connected > 0);
    assert_string_equal(read_one(c, "/node", false)->text, "mine");
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_addresses_are_passed_over),
        cmocka_unit_test(test_a_silent_server_is_passed_over),
        cmocka_unit_test(test_a_name_is_looked_up),
        cmocka_unit_test(test_requests_are_answered_once_and_in_their_order),
        cmocka_unit_test(test_a_multi_is_all_or_nothing_and_says_which_failed_first),
        cmocka_unit_test(test_what_is_too_much_is_refused_and_harms_nothing),
        cmocka_unit_test(test_a_watch_tells_of_what_others_do_once),
        cmocka_unit_test(test_a_server_that_dies_costs_the_connection_and_not_the_session),
        cmocka_unit_test(test_a_server_that_hangs_is_left_for_another),
        cmocka_unit_test(test_an_expired_session_is_told_and_replaced),
        cmocka_unit_test(test_a_close_ends_the_session_at_once),
        cmocka_unit_test(test_while_all_servers_are_away_nothing_is_answered_as_done),
        cmocka_unit_test(test_what_a_password_made_is_for_nobody_else),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
