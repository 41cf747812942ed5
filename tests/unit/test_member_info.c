/* Member info: who has a log, who is asked first, what differs. */
#include "cronsched/cluster/member_info.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct replicated_member members[3];

static struct replicated_view view_of(const char *a, const char *b, const char *c)
{
    const char *const facts[] = {a, b, c};
    static char ids[3][3] = {"r0", "r1", "r2"};
    struct replicated_view v = {.leader = "r1", .members = members};

    for (; v.member_count < 3 && facts[v.member_count]; v.member_count++) {
        members[v.member_count].id = ids[v.member_count];
        members[v.member_count].facts = json_loads(facts[v.member_count], 0, NULL);
        assert_non_null(members[v.member_count].facts);
    }
    return v;
}

static void view_release(struct replicated_view *v)
{
    for (size_t i = 0; i < v->member_count; i++)
        json_decref(members[i].facts);
}

static void assert_others(const struct replicated_view *v, const char *self, const char *id,
                          const char *expected)
{
    char *urls[REPLICATED_MEMBERS_MAX];
    size_t n = member_info_others(v, self, id, urls);
    struct text text;

    text_init(&text, 256);
    for (size_t i = 0; i < n; i++) {
        text_addf(&text, "%s ", urls[i]);
        free(urls[i]);
    }
    assert_string_equal(text_str(&text), expected);
    text_release(&text);
}

static void a_process_belongs_to_the_replica_with_its_folder(void **state)
{
    struct replicated_view v = view_of("{\"url\":\"u0\",\"hosts\":[\"aa\",\"bb\"]}",
                                       "{\"url\":\"u1\",\"hosts\":[\"cc\"]}", "{\"url\":\"u2\"}");

    (void)state;
    assert_string_equal(member_info_url(member_info_host(&v, "bb")), "u0");
    assert_null(member_info_host(&v, "dd"));
    assert_true(member_info_collects(&v, "r0", "cs-1@bb"));
    assert_false(member_info_collects(&v, "r1", "cs-1@bb"));
    assert_false(member_info_collects(&v, "r0", "cs-1@dd")); /* of one that is away */
    view_release(&v);
}

/* What differs, as "WHAT WHAT ". */
static void assert_differences(const char *a, const char *b, const char *expected)
{
    struct replicated_view v = view_of(a, b, NULL);
    json_t *all = member_info_differences(&v), *one;
    struct text text;
    size_t i;

    text_init(&text, 256);
    json_array_foreach(all, i, one)
    {
        text_addf(&text, "%s ", json_string_value(json_object_get(one, "what")));
    }
    assert_string_equal(text_str(&text), expected);
    text_release(&text);
    json_decref(all);
    view_release(&v);
}

static void assert_owner(const struct replicated_view *v, const char *self, const char *expected)
{
    const struct replicated_member *m = member_info_folder_owner(v, self, "bb");

    assert_string_equal(m ? m->id : "", expected);
}

static void one_of_two_with_a_data_folder_in_common_leaves_it_to_the_other(void **state)
{
    struct replicated_view v =
        view_of("{\"hosts\":[\"aa\",\"bb\"]}", "{\"hosts\":[\"cc\"]}", "{\"hosts\":[\"bb\"]}");

    (void)state;
    assert_owner(&v, "r0", "");
    assert_owner(&v, "r2", "r0");
    v.leader = "r2";
    assert_owner(&v, "r0", "r2");
    assert_owner(&v, "r2", "");
    v.leader = NULL;
    assert_owner(&v, "r0", "");
    assert_owner(&v, "r2", "r0");
    view_release(&v);
    assert_differences("{\"hosts\":[\"bb\"]}", "{\"hosts\":[],\"copy_of\":\"r0\"}", "data folder ");
}

static void a_container_belongs_to_the_leader(void **state)
{
    struct replicated_view v = view_of("{\"url\":\"u0\"}", "{\"url\":\"u1\"}", NULL);

    (void)state;
    assert_false(member_info_collects(&v, "r0", "0123456789abcdef"));
    v.leading = true;
    assert_true(member_info_collects(&v, "r1", "0123456789abcdef"));
    assert_true(member_info_collects(&v, "r1", NULL));
    view_release(&v);
}

static void the_likeliest_is_asked_first(void **state)
{
    struct replicated_view v =
        view_of("{\"url\":\"u0\"}", "{\"url\":\"u1\"}", "{\"url\":\"u2\",\"hosts\":[\"cc\"]}");

    (void)state;
    assert_others(&v, "r0", "cs-1@cc", "u2 u1 ");
    assert_others(&v, "r0", "cs-1", "u1 u2 ");
    assert_others(&v, "r1", "cs-1", "u0 u2 ");
    assert_others(&v, "r2", "cs-1@cc", "u1 u0 ");
    view_release(&v);
}

static void what_should_be_alike_is_compared(void **state)
{
    (void)state;
    assert_differences("{\"version\":\"1\",\"tzdata\":\"2026a\",\"config\":\"c\"}",
                       "{\"version\":\"1\",\"tzdata\":\"2026a\",\"config\":\"c\"}", "");
    assert_differences("{\"version\":\"1\",\"tzdata\":\"2026a\",\"config\":\"c\"}",
                       "{\"version\":\"2\",\"tzdata\":\"2026b\",\"config\":\"d\"}", "version tzdata config ");
    assert_differences("{\"version\":\"1\"}", "{}", ""); /* one that says nothing differs in nothing */
    assert_differences("{\"clock_offset_ms\":-501}", "{\"clock_offset_ms\":500}", "clock ");
    assert_differences("{\"clock_offset_ms\":null}", "{\"clock_offset_ms\":0}", "");
    assert_differences("{\"state\":{\"index\":5,\"hash\":\"a\"}}", "{\"state\":{\"index\":5,\"hash\":\"b\"}}",
                       "state ");
    assert_differences("{\"state\":{\"index\":5,\"hash\":\"a\"}}", "{\"state\":{\"index\":6,\"hash\":\"b\"}}",
                       "");
    assert_differences("{\"state\":{\"index\":5,\"hash\":\"a\"}}", "{\"state\":{\"index\":5,\"hash\":\"a\"}}",
                       "");
    assert_differences("{\"mark\":{\"index\":5,\"hash\":\"a\"}}", "{\"mark\":{\"index\":5,\"hash\":\"b\"}}",
                       "mark ");
    assert_differences("{\"mark\":{\"index\":5,\"hash\":\"a\"}}", "{\"mark\":{\"index\":5,\"hash\":\"\"}}",
                       "");
    assert_differences("{\"mark\":{\"index\":5,\"hash\":\"a\"}}",
                       "{\"mark\":{\"index\":5,\"hash\":\"b\"},\"joining\":true}", "");
    assert_differences("{\"version\":1}", "{\"version\":[]}", ""); /* whatever is there */
    assert_differences("{\"unreachable\":[]}", "{\"unreachable\":[]}", "");
    assert_differences("{\"unreachable\":[]}", "{\"unreachable\":[\"r1 cannot reach r0\"]}", "links ");
    assert_differences("{\"unreachable\":[1]}", "{\"unreachable\":5}", "links ");
}

static void that_nobody_leads_is_a_difference_after_two_sessions(void **state)
{
    static const struct {
        uint64_t leaderless_ms;
        size_t differences;
    } rows[] = {{0, 0}, {19999, 0}, {20000, 1}, {3600000, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct replicated_view v = view_of("{}", "{}", NULL);
        json_t *all;

        v.session_timeout_ms = 10000;
        v.leaderless_ms = rows[i].leaderless_ms;
        all = member_info_differences(&v);
        assert_int_equal(json_array_size(all), rows[i].differences);
        json_decref(all);
        view_release(&v);
    }
}

/* By its keys, and for replicas of an older version by the hash alone. */
static void a_configuration_that_differs_is_told_by_its_keys(void **state)
{
    static const struct {
        const char *a, *b, *text; /* NULL: nothing differs */
    } rows[] = {
        {"{\"config\":\"c\",\"settings\":{\"late_grace\":\"60000 "
         "ms\",\"pools\":\"\",\"engines\":\"e:null\"}}",
         "{\"config\":\"d\",\"settings\":{\"late_grace\":\"5000 "
         "ms\",\"pools\":\"x=1\",\"engines\":\"e:null\"}}",
         "late_grace: r0 has 60000 ms, r1 has 5000 ms; pools: r0 has none, r1 has x=1"},
        {"{\"config\":\"c\"}", "{\"config\":\"d\",\"settings\":{\"pools\":\"\"}}", "r0: c, r1: d"},
        {"{\"config\":\"c\",\"settings\":{\"pools\":\"\"}}",
         "{\"config\":\"c\",\"settings\":{\"pools\":\"\"}}", NULL},
        {"{\"config\":\"c\"}", "{\"config\":\"c\"}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct replicated_view v = view_of(rows[i].a, rows[i].b, NULL);
        json_t *all = member_info_differences(&v), *one = json_array_get(all, 0);

        assert_int_equal(json_array_size(all), rows[i].text ? 1 : 0);
        if (rows[i].text) {
            assert_string_equal(json_string_value(json_object_get(one, "what")), "config");
            assert_string_equal(json_string_value(json_object_get(one, "text")), rows[i].text);
        }
        json_decref(all);
        view_release(&v);
    }
}

static void links_name_who_cannot_reach_whom(void **state)
{
    struct replicated_view v = view_of("{\"unreachable\":[\"a\", \"b\"]}", "{\"unreachable\":[\"c\"]}", NULL);
    json_t *all = member_info_differences(&v);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "text")), "a; b; c");
    json_decref(all);
    view_release(&v);
}

/* view_of's r1 leads. */
static void the_configuration_of_most_is_the_clusters(void **state)
{
    static const char *const c = "{\"config\":\"c\"}", *const d = "{\"config\":\"d\"}",
                             *const joining = "{\"config\":\"d\",\"joining\":true}";
    const struct {
        const char *facts[3];
        const char *self, *hash, *leader;
        bool outvoted;
    } cases[] = {
        {{c, c, c}, "r0", "c", "c", false},
        {{d, c, c}, "r0", "d", "c", true},
        {{d, c, c}, "r1", "c", "c", false},
        {{c, d, NULL}, "r0", "c", "d", true}, /* as many: the leader's */
        {{c, d, NULL}, "r1", "d", "d", false},
        {{c, d, NULL}, "r0", "c", "", false},
        {{c, d, d}, "r0", "c", "c", true},
        {{c, joining, joining}, "r0", "c", "c", false},
        {{"{}", "{}", NULL}, "r0", "c", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct replicated_view v = view_of(cases[i].facts[0], cases[i].facts[1], cases[i].facts[2]);

        if (member_info_config_outvoted(&v, cases[i].self, cases[i].hash, cases[i].leader) !=
            cases[i].outvoted)
            fail_msg("case %zu", i);
        view_release(&v);
    }
}

static void one_name_for_two_engines_is_a_difference(void **state)
{
    (void)state;
    assert_differences("{\"identities\":{\"docker\":\"a\"}}", "{\"identities\":{\"docker\":\"a\"}}", "");
    assert_differences("{\"identities\":{\"docker\":\"a\"}}", "{\"identities\":{\"docker\":\"b\"}}",
                       "engine ");
    assert_differences("{\"identities\":{\"docker\":\"a\"}}", "{\"identities\":{\"other\":\"b\"}}", "");
    assert_differences("{\"identities\":{\"docker\":\"a\"}}", "{\"identities\":{}}",
                       "");                                                            /* away: not known */
    assert_differences("{\"identities\":[7]}", "{\"identities\":{\"docker\":7}}", ""); /* whatever is there */
}

/* The view's leader is r1. */
static void assert_odd(const char *a, const char *b, const char *c, const char *r0, const char *r1,
                       const char *r2)
{
    const char *const expected[] = {r0, r1, r2};
    static const char *const ids[] = {"r0", "r1", "r2"};
    struct replicated_view v = view_of(a, b, c);

    for (size_t i = 0; i < v.member_count; i++) {
        const char *odd = member_info_odd_engine(&v, ids[i]);

        assert_string_equal(odd ? odd : "", expected[i] ? expected[i] : "");
    }
    view_release(&v);
}

static void the_minority_of_an_engine_is_odd(void **state)
{
    static const char a[] = "{\"identities\":{\"null\":\"n\",\"docker\":\"a\"}}",
                      b[] = "{\"identities\":{\"null\":\"n\",\"docker\":\"b\"}}", none[] = "{}";

    (void)state;
    assert_odd(a, a, a, NULL, NULL, NULL);
    assert_odd(a, b, NULL, "docker", NULL, NULL); /* none has more: the leader's counts */
    assert_odd(a, b, a, NULL, "docker", NULL);    /* also when that is not the leader's */
    assert_odd(b, a, a, "docker", NULL, NULL);
    assert_odd(a, none, b, NULL, NULL, NULL); /* nobody can say */
    assert_odd(a, NULL, NULL, NULL, NULL, NULL);
}

static void the_replica_with_the_right_engine_is_found(void **state)
{
    struct replicated_view v = view_of("{\"identities\":{\"docker\":\"a\"}}",
                                       "{\"identities\":{\"docker\":\"b\"}}",
                                       "{\"identities\":{\"other\":\"c\"}}");

    (void)state;
    assert_string_equal(member_info_engine(&v, "r0", "docker", "b")->id, "r1");
    assert_null(member_info_engine(&v, "r1", "docker", "b")); /* it is the one that asks */
    assert_null(member_info_engine(&v, "r0", "docker", "c"));
    view_release(&v);
}

static void every_value_is_named(void **state)
{
    struct replicated_view v = view_of("{\"tzdata\":\"2026a\"}", "{\"tzdata\":\"2026b\"}", NULL);
    json_t *all = member_info_differences(&v);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "text")),
                        "r0: 2026a, r1: 2026b");
    json_decref(all);
    view_release(&v);
}

/* It was connected to this cluster's nodes by mistake. */
static void another_clusters_replica_counts_for_nothing(void **state)
{
    static const char mine[] = "{\"config\":\"c\",\"tzdata\":\"a\",\"identities\":{\"docker\":\"a\"},"
                               "\"mark\":{\"cluster\":\"x\",\"index\":5,\"hash\":\"1\"}}",
                      foreign[] = "{\"config\":\"d\",\"tzdata\":\"b\",\"identities\":{\"docker\":\"b\"},"
                                  "\"mark\":{\"cluster\":\"y\",\"index\":5,\"hash\":\"2\"}}";
    struct replicated_view v = view_of(mine, foreign, foreign);
    json_t *all;

    (void)state;
    snprintf(v.cluster, sizeof(v.cluster), "x");
    all = member_info_differences(&v);
    assert_int_equal(json_array_size(all), 0);
    assert_false(member_info_config_outvoted(&v, "r0", "c", "c"));
    assert_null(member_info_odd_engine(&v, "r0"));
    json_decref(all);
    snprintf(v.cluster, sizeof(v.cluster), "y"); /* there they are the majority */
    assert_true(member_info_config_outvoted(&v, "r0", "c", "c"));
    view_release(&v);
}

static void rows_have_the_keys_of_the_contract(void **state)
{
    static const char *const keys[] = {"id",      "url",    "role",           "applied",
                                       "version", "tzdata", "clock_offset_ms"};
    struct replicated_view v = view_of("{\"url\":\"u0\"}", "{}", NULL);
    json_t *rows = member_info_rows(&v);

    (void)state;
    assert_int_equal(json_array_size(rows), 2);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
            assert_non_null(json_object_get(json_array_get(rows, i), keys[k]));
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "role")), "standby");
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 1), "role")), "leader");
    json_decref(rows);
    view_release(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_belongs_to_the_replica_with_its_folder),
        cmocka_unit_test(one_of_two_with_a_data_folder_in_common_leaves_it_to_the_other),
        cmocka_unit_test(a_container_belongs_to_the_leader),
        cmocka_unit_test(the_likeliest_is_asked_first),
        cmocka_unit_test(what_should_be_alike_is_compared),
        cmocka_unit_test(the_configuration_of_most_is_the_clusters),
        cmocka_unit_test(one_name_for_two_engines_is_a_difference),
        cmocka_unit_test(the_minority_of_an_engine_is_odd),
        cmocka_unit_test(the_replica_with_the_right_engine_is_found),
        cmocka_unit_test(every_value_is_named),
        cmocka_unit_test(that_nobody_leads_is_a_difference_after_two_sessions),
        cmocka_unit_test(a_configuration_that_differs_is_told_by_its_keys),
        cmocka_unit_test(links_name_who_cannot_reach_whom),
        cmocka_unit_test(another_clusters_replica_counts_for_nothing),
        cmocka_unit_test(rows_have_the_keys_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
