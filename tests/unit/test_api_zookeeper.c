/* What the API tells of a ZooKeeper that refuses, is small, slow, or has other servers than the configuration. */
#include "tests/support/api_fixture.h"

static struct zookeeper_report said;

static const char *zookeeper_said(void *arg, struct zookeeper_report *ret)
{
    *ret = said;
    return "127.0.0.1:1,127.0.0.3:1";
}

static json_t *cluster(void *arg)
{
    return json_pack("{s:I,s:[],s:[]}", "epoch", (json_int_t)1 << 30 | 1, "replicas", "differences");
}

static bool not_following(void *arg)
{
    return false;
}

static void start(void)
{
    static const struct api_cluster_ops ops = {
        .json = cluster, .following = not_following, .zookeeper = zookeeper_said};
    struct api_options o = {.context = {.cluster_ops = &ops}};

    start_api(&o);
}

/* Doctor has this check with this status and these words. */
static bool told_by(const char *name, const char *status, const char *words)
{
    struct reply r = ask("GET /v1/doctor", NULL);
    json_t *reply = body_of(&r), *check;
    bool found = false;
    size_t i;

    json_array_foreach(json_object_get(reply, "checks"), i, check)
        found |= strcmp(json_string_value(json_object_get(check, "check")), name) == 0 &&
                 strcmp(json_string_value(json_object_get(check, "status")), status) == 0 &&
                 strstr(json_string_value(json_object_get(check, "text")), words);
    json_decref(reply);
    reply_release(&r);
    return found;
}

static bool told(const char *status, const char *words)
{
    return told_by("zookeeper", status, words);
}

static bool has_line(const char *request, const char *words)
{
    struct reply r = ask(request, NULL);
    bool found = r.body && strstr(r.body, words);

    reply_release(&r);
    return found;
}

static void what_is_fine_is_told_as_fine(void **state)
{
    said = (struct zookeeper_report){.worst_write_us = 20000, .timeout_ms = 10000};
    start();
    assert_true(told("ok", "a write took at most 20 ms in the last minutes; a session lasts 10000 ms"));
    assert_false(told("error", ""));
    assert_false(told("warning", "server 127.0.0.2"));
    assert_true(told("warning", "epoch 1073741825 of at most 2147483647"));
    assert_true(has_line("GET /readyz", "\"ready\":true"));
    assert_true(has_line("GET /metrics", "\ncronsched_zookeeper_refuses 0\n"));
}

static void what_is_wrong_is_told(void **state)
{
    said = (struct zookeeper_report){.refused = "its quota is exceeded (-125)",
                                     .refusals = 7,
                                     .losses = 2,
                                     .request_max = 100000,
                                     .worst_write_us = 4000000,
                                     .timeout_ms = 10000,
                                     .config = "server.1=127.0.0.1:2:3:participant;127.0.0.1:1\n"
                                               "server.2=127.0.0.2:2:3:participant;127.0.0.2:1\nversion=0"};
    start();
    assert_true(told("error", "the servers refuse writes: its quota is exceeded (-125); 7 so far"));
    assert_true(told("warning", "requests are at most 100000 bytes"));
    assert_true(told("warning", "a write took at most 4000 ms"));
    assert_true(told("warning", "the ensemble has a server 127.0.0.2:1 that zookeeper: does not name"));
    assert_true(told("warning", "zookeeper: names 127.0.0.3:1, which the ensemble does not have"));
    assert_true(has_line("GET /metrics", "\ncronsched_zookeeper_refusals_total 7\n"));
    assert_true(has_line("GET /metrics", "\ncronsched_zookeeper_refuses 1\n"));
    assert_true(has_line("GET /metrics", "\ncronsched_zookeeper_worst_write_seconds 4.000000\n"));
}

/* It is why the replica does nothing, so it is the error, and the reason that is given. */
static void nodes_that_others_may_write_are_an_error_where_they_are_not_trusted(void **state)
{
    said = (struct zookeeper_report){.users = 1, .timeout_ms = 10000};
    snprintf(said.others, sizeof(said.others), "%s", "/cron/c: everybody may write");
    start();
    fake.leading = false;
    assert_true(told_by("zookeeper access", "error", "everybody may write"));
    assert_true(told_by("leadership", "error", "others may write what it would believe"));
    assert_true(has_line("GET /v1/doctor", "'cronsched cluster secure --config FILE --yes'"));
}

static void a_leader_that_can_write_nothing_is_not_ready(void **state)
{
    start();
    fake.journal_refused = true;
    fake.journal_text = "ZooKeeper refuses appends: its quota is exceeded (-125)";
    assert_true(has_line("GET /readyz", "nothing can be written: ZooKeeper refuses appends: its quota"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_fine_is_told_as_fine, set_up_plain, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_told, set_up_plain, tear_down),
        cmocka_unit_test_setup_teardown(nodes_that_others_may_write_are_an_error_where_they_are_not_trusted,
                                        set_up_plain, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_that_can_write_nothing_is_not_ready, set_up_plain,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("api_zookeeper", tests, NULL, NULL);
}
