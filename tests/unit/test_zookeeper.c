/* The coordinator over libzookeeper where no server is: what it answers then. */
#include "leader/zookeeper/zookeeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOBODY "127.0.0.1:1" /* refuses */

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    fail_msg("connected");
}

static void on_word(void *arg, const char *text)
{
    fail_msg("%s", text);
}

static const struct coord_events events = {on_connected, on_word, on_word, on_word};

static uint64_t no_chance(void *arg)
{
    return 0;
}

static void on_reply(void *arg, const struct coord_reply *reply)
{
    *(enum coord_result *)arg = reply->result;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

/* After a partition a replica could never register again: "too many requests under way". What had been asked
 * for while there was no connection was taken off the bytes under way without having been added. */
static void test_a_request_without_a_connection_leaves_the_count_alone(void **state)
{
    struct zookeeper_options options = {
        .servers = NOBODY, .cluster = "test", .session_timeout_ms = 4000, .random = no_chance};
    struct coord_op op = {COORD_CREATE, "/log", "four", 4, COORD_ANY};
    struct coord *coord;
    uv_loop_t loop;
    bool closed = false;

    uv_loop_init(&loop);
    assert_int_equal(zookeeper_open(&coord, &loop, &options, NULL), 0);
    coord->events = &events;
    for (int i = 0; i < 3; i++) {
        enum coord_result result = COORD_OK;

        coord->ops->multi(coord, &op, 1, on_reply, &result);
        while (result == COORD_OK)
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(result, COORD_LOST);
    }
    coord->ops->close(coord, on_closed, &closed);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_without_a_connection_leaves_the_count_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
