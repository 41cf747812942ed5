/* The replicas that one remembers: over restarts, of its own cluster, until it is told to forget one. */
#include "cronsched/cluster/known_members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 1764500000000

static uv_loop_t loop;
static char folder[64], path[128];
static struct known_members *known;
static bool closed;
static struct replicated_member members[2];
static const struct mark mark = {.cluster = "uuid", .index = 5};

static void open_known(const char *cluster)
{
    known_members_new(&known, &loop, folder, "r0", cluster);
}

static void on_closed(void *arg)
{
    closed = true;
}

static void close_known(void)
{
    closed = false;
    known_members_close(known, on_closed, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    known = NULL;
}

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/cronsched-known-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/members", folder);
    uv_loop_init(&loop);
    open_known("uuid");
    return 0;
}

static int teardown(void **state)
{
    if (known)
        close_known();
    assert_int_equal(0, uv_loop_close(&loop));
    unlink(path);
    assert_int_equal(0, rmdir(folder));
    return 0;
}

static void see(const char *id, const char *facts)
{
    struct replicated_view v = {.mark = &mark, .members = members, .member_count = 2};

    members[0] = (struct replicated_member){
        (char *)(uintptr_t) "r0", json_pack("{s:s, s:{s:s}}", "url", "http://me", "mark", "cluster", "uuid")};
    members[1] = (struct replicated_member){(char *)(uintptr_t)id, json_loads(facts, 0, NULL)};
    known_members_seen(known, &v, NOW);
    json_decref(members[0].facts);
    json_decref(members[1].facts);
}

static void hear(const char *id, uint64_t index)
{
    struct replicated_view v = {.mark = &mark};
    struct replicated_heard heard = {
        .id = id, .url = "http://b", .mark = {.cluster = "uuid", .index = index}};

    known_members_heard(known, &v, &heard, NOW + 1);
}

static json_t *one(const char *id)
{
    return json_object_get(known_members_all(known), id);
}

static void those_that_were_there_are_remembered(void **state)
{
    see("r1", "{\"url\":\"http://a\",\"mark\":{\"cluster\":\"uuid\",\"index\":3}}");
    see("r2", "{\"url\":\"http://x\",\"mark\":{\"cluster\":\"another\",\"index\":3}}");
    see("r3", "{\"url\":\"http://x\"}");
    see("r4", "{\"url\":\"\",\"mark\":{\"cluster\":\"uuid\",\"index\":3}}");
    close_known();
    open_known("uuid");
    assert_int_equal(1, json_object_size(known_members_all(known)));
    assert_string_equal("http://a", json_string_value(json_object_get(one("r1"), "url")));
    assert_true(json_integer_value(json_object_get(one("r1"), "seen_ms")) == NOW);
    close_known();
    open_known("another"); /* a folder's file that was copied */
    assert_int_equal(0, json_object_size(known_members_all(known)));
}

static void what_one_outside_holds_is_remembered(void **state)
{
    see("r1", "{\"url\":\"http://a\",\"mark\":{\"cluster\":\"uuid\",\"index\":3}}");
    assert_null(json_object_get(one("r1"), "outside"));
    hear("r1", 9);
    close_known();
    open_known("uuid");
    assert_true(json_is_true(json_object_get(one("r1"), "outside")));
    assert_string_equal("http://b", json_string_value(json_object_get(one("r1"), "url")));
    assert_int_equal(9, json_integer_value(json_object_get(json_object_get(one("r1"), "mark"), "index")));
    see("r1", "{\"url\":\"http://a\",\"mark\":{\"cluster\":\"uuid\",\"index\":10}}");
    assert_null(json_object_get(one("r1"), "outside"));
}

static void it_is_written_soon(void **state)
{
    see("r1", "{\"url\":\"http://a\",\"mark\":{\"cluster\":\"uuid\",\"index\":3}}");
    for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(0, access(path, F_OK));
}

static void one_is_forgotten(void **state)
{
    see("r1", "{\"url\":\"http://a\",\"mark\":{\"cluster\":\"uuid\",\"index\":3}}");
    assert_false(known_members_forget(known, "r2"));
    assert_true(known_members_forget(known, "r1"));
    close_known();
    open_known("uuid");
    assert_null(one("r1"));
}

static void a_damaged_file_is_begun_anew(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"cluster\":7,\"members\":{}}",
                                        "{\"cluster\":\"uuid\",\"members\":[]}"};

    close_known();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *f = fopen(path, "w");

        fputs(texts[i], f);
        fclose(f);
        open_known("uuid");
        assert_int_equal(0, json_object_size(known_members_all(known)));
        hear("r1", 9);
        close_known();
        open_known("uuid");
        assert_non_null(one("r1"));
        close_known();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_that_were_there_are_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(what_one_outside_holds_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_written_soon, setup, teardown),
        cmocka_unit_test_setup_teardown(one_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_begun_anew, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
