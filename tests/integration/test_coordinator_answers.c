/* The coordinator over libzookeeper on a real server that has limits: what becomes of a request that it refuses (a
 * quota, in the result of a multi a code that the client library does not know), of one that is larger than its
 * jute.maxbuffer, and what is known of a reconfiguration. The wrapper zookeeper_servers.py --small started it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/coordinator_client.h"

#include <zookeeper/zookeeper.h>

#define JUTE_MAX 102400 /* the server's */
#define QUOTA    "count=-1,bytes=-1=;byteHardLimit=300;countHardLimit=-1"
#define STILL_MS 1500
#define LARGE    (300 * 1024)
#define ACCEPTED (20 * 1024)

static char data[LARGE + 1];

static struct answer *write_large(struct client *c, const char *path, size_t size)
{
    struct coord_op op = {COORD_CREATE, path, data, size, COORD_ANY};
    struct answer *a = slot(c, 0);

    c->coord->ops->multi(c->coord, &op, 1, on_answer, a);
    UNTIL(c, a->count > 0);
    return a;
}

static void turn_for(struct client *c, int ms)
{
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000;

    UNTIL(c, uv_hrtime() >= end);
}

static struct zookeeper_report report(const struct client *c)
{
    struct zookeeper_report r;

    zookeeper_report(c->coord, &r);
    return r;
}

/* What `setquota` of ZooKeeper's shell does: nodes beside those of the cluster. */
static void set_quota(const char *cluster)
{
    struct zookeeper_options o = {.servers = ensemble(),
                                  .root = "/zookeeper/quota" ZOOKEEPER_ROOT,
                                  .cluster = cluster,
                                  .session_timeout_ms = SESSION_MS};
    struct client *c = client_of(o, 1);

    UNTIL(c, c->connected > 0);
    assert_int_equal(write_one(c, COORD_CREATE, "/zookeeper_limits", QUOTA, COORD_ANY), COORD_OK);
    assert_int_equal(write_one(c, COORD_CREATE, "/zookeeper_stats", "count=1,bytes=0", COORD_ANY), COORD_OK);
    client_free(c);
}

/* It was taken for a lost connection, which was made again 2.6 times a second. */
static void test_a_quota_refuses_and_the_session_goes_on(void **state)
{
    struct client *c = client_connected("quota");
    struct coord_op ops[] = {{COORD_CREATE, "/a", data, 200, COORD_ANY},
                             {COORD_CREATE, "/b", data, 200, COORD_ANY},
                             {COORD_CREATE, "/c", data, 200, COORD_ANY}};
    int64_t session = c->session;
    struct answer *a = slot(c, 0);

    set_quota("quota");
    c->coord->ops->multi(c->coord, ops, 1, on_answer, a);
    UNTIL(c, a->count > 0);
    assert_int_equal(a->result, COORD_OK);
    assert_string_equal(report(c).refused, "");
    for (int i = 0; i < 3; i++) {
        a = slot(c, 0);
        c->coord->ops->multi(c->coord, ops + 1, 2, on_answer, a);
        UNTIL(c, a->count > 0);
        assert_int_equal(a->result, COORD_FAILED);
        assert_string_equal(a->text, "its quota is exceeded (-125)");
    }
    assert_string_equal(report(c).refused, "its quota is exceeded (-125)");
    assert_int_equal(report(c).refusals, 3);
    assert_int_equal(read_one(c, "/b", false)->result, COORD_NO_NODE);
    turn_for(c, STILL_MS);
    assert_int_equal(c->lost, 0);
    assert_int_equal(c->connected, 1);
    assert_true(c->session == session);
    assert_non_null(strstr(c->coord->ops->status(c->coord), "connected to"));
    assert_int_equal(write_one(c, COORD_DELETE, "/a", NULL, COORD_ANY), COORD_OK);
    assert_int_equal(write_large(c, "/b", 100)->result, COORD_OK);
    assert_string_equal(report(c).refused, "");
    client_free(c);
}

static void assert_limit_is_known(struct client *c)
{
    assert_in_range(c->coord->request_max, JUTE_MAX - JUTE_MAX / 8 - JUTE_MAX / 100, JUTE_MAX);
    assert_int_equal(report(c).request_max, c->coord->request_max);
    assert_int_equal(write_large(c, "/large", LARGE)->result, COORD_FAILED);
    assert_string_equal(c->answers[0].text, "larger than jute.maxbuffer of the servers");
}

static void test_the_size_that_a_server_takes_is_found_before_the_first_request(void **state)
{
    struct client *c = client_connected("first");

    assert_limit_is_known(c);
    assert_int_equal(c->connected, 1);
    assert_int_equal(c->lost, 0);
    client_free(c);
}

/* Another server may take less, or one that was started again. The same request was sent for ever. Now it costs one
 * connection, and then its size is known not to pass. */
static void test_a_size_that_is_taken_no_more_is_found(void **state)
{
    struct client *c = client_connected("size");
    int64_t session = c->session;

    c->coord->request_max = 0;
    assert_int_equal(write_large(c, "/large", LARGE)->result, COORD_LOST);
    UNTIL(c, c->connected == 2);
    assert_int_equal(c->lost, 1);
    assert_true(c->session == session);
    assert_limit_is_known(c);
    assert_int_equal(write_large(c, "/just", c->coord->request_max - COORD_OP_BYTES)->result, COORD_OK);
    assert_int_equal(c->lost, 1);
    assert_int_equal(c->expired, 0);
    client_free(c);
}

/* A connection that ends for another reason proves nothing about sizes. */
static void test_a_size_that_is_taken_is_no_limit(void **state)
{
    struct client *c = client_connected("taken");
    struct coord_op op = {COORD_CREATE, "/none/x", data, ACCEPTED, COORD_ANY};
    struct answer *a = slot(c, 2);

    write_one(c, COORD_CREATE, "/x", "", COORD_ANY);
    c->coord->request_max = 0;
    c->coord->ops->multi(c->coord, &op, 1, on_answer, a);
    c->coord->ops->multi(c->coord, &(struct coord_op){COORD_CREATE, "/large", data, LARGE, COORD_ANY}, 1,
                         on_answer, slot(c, 3));
    UNTIL(c, c->connected == 2);
    assert_int_equal(write_large(c, "/y", ACCEPTED)->result, COORD_OK);
    assert_true(c->coord->request_max > ACCEPTED + COORD_OP_BYTES);
    client_free(c);
}

/* ---- reconfiguration ---- */

struct reconfigured {
    bool connected, done;
    int rc;
};

static void on_reconfig_event(zhandle_t *handle, int type, int event, const char *path, void *arg)
{
    if (type == ZOO_SESSION_EVENT && event == ZOO_CONNECTED_STATE)
        ((struct reconfigured *)arg)->connected = true;
}

static void on_reconfigured(int rc, const char *value, int size, const struct Stat *stat, const void *arg)
{
    struct reconfigured *r = (struct reconfigured *)(uintptr_t)arg;

    r->rc = rc;
    r->done = true;
}

/* Turns the library's own handle until then. */
static void turn_handle(zhandle_t *z, const bool *until)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);

    while (!*until && uv_hrtime() < end) {
        struct timeval wait, short_wait = {0, 20000};
        int fd = -1, want = 0, ready = 0;
        fd_set in, out;

        zookeeper_interest(z, &fd, &want, &wait);
        FD_ZERO(&in);
        FD_ZERO(&out);
        if (fd >= 0 && want & ZOOKEEPER_READ)
            FD_SET(fd, &in);
        if (fd >= 0 && want & ZOOKEEPER_WRITE)
            FD_SET(fd, &out);
        select(fd + 1, &in, &out, NULL, &short_wait);
        if (fd >= 0 && FD_ISSET(fd, &in))
            ready |= ZOOKEEPER_READ;
        if (fd >= 0 && FD_ISSET(fd, &out))
            ready |= ZOOKEEPER_WRITE;
        zookeeper_process(z, ready);
    }
    assert_true(*until);
}

static void reconfigure(const char *joining)
{
    struct reconfigured r = {0};
    zhandle_t *z = zookeeper_init(ensemble(), on_reconfig_event, SESSION_MS, NULL, &r, 0);

    assert_non_null(z);
    turn_handle(z, &r.connected);
    assert_int_equal(zoo_areconfig(z, joining, NULL, NULL, -1, on_reconfigured, &r), ZOK);
    turn_handle(z, &r.done);
    assert_int_equal(r.rc, ZOK);
    zookeeper_close(z);
}

static void test_a_reconfiguration_is_seen(void **state)
{
    struct client *c = client_connected("reconfig");

    UNTIL(c, report(c).config[0]);
    assert_non_null(strstr(report(c).config, "server.1="));
    assert_null(strstr(report(c).config, "server.9="));
    reconfigure("server.9=127.0.0.9:2888:3888:observer;127.0.0.9:2181");
    UNTIL(c, strstr(report(c).config, "server.9="));
    client_free(c);
}

/* The list that is read again at SIGHUP. A connection that stands is kept, unless it may be left. */
static void test_another_list_of_servers_is_followed(void **state)
{
    struct client *c = client_new("127.0.0.1:1", "list", SESSION_MS, 1);
    struct error error = {0};

    UNTIL(c, strstr(c->coord->ops->status(c->coord), "refused"));
    assert_int_equal(zookeeper_set_servers(c->coord, "127.0.0.1:0", true, &error), ERR_INVALID);
    assert_int_equal(zookeeper_set_servers(c->coord, ensemble(), true, &error), 0);
    UNTIL(c, c->connected == 1);
    assert_int_equal(zookeeper_set_servers(c->coord, "127.0.0.1:1", true, &error), 0);
    assert_int_equal(write_one(c, COORD_CREATE, "/x", "", COORD_ANY), COORD_OK);
    assert_int_equal(c->lost, 0);
    assert_int_equal(zookeeper_set_servers(c->coord, ensemble(), false, &error),
                     0); /* it names that server */
    assert_int_equal(zookeeper_set_servers(c->coord, "no-such-host.invalid", false, &error), 0);
    assert_int_equal(write_one(c, COORD_CREATE, "/y", "", COORD_ANY), COORD_OK);
    assert_int_equal(c->lost, 0);
    assert_int_equal(zookeeper_set_servers(c->coord, "127.0.0.1:1", false, &error), 0);
    assert_int_equal(c->lost, 1);
    UNTIL(c, strstr(c->coord->ops->status(c->coord), "refused"));
    assert_int_equal(zookeeper_set_servers(c->coord, ensemble(), false, &error), 0);
    UNTIL(c, c->connected == 2);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quota_refuses_and_the_session_goes_on),
        cmocka_unit_test(test_the_size_that_a_server_takes_is_found_before_the_first_request),
        cmocka_unit_test(test_a_size_that_is_taken_no_more_is_found),
        cmocka_unit_test(test_a_size_that_is_taken_is_no_limit),
        cmocka_unit_test(test_a_reconfiguration_is_seen),
        cmocka_unit_test(test_another_list_of_servers_is_followed),
    };

    signal(SIGPIPE, SIG_IGN);
    memset(data, 'x', LARGE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
