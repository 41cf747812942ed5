/* The API of one replica among others: what it answers when it leads, follows, or knows nothing. */
#include "tests/support/api_fixture.h"

#include "cronsched/api/api_priv.h"

static bool follows;

static bool following(void *arg)
{
    return follows;
}

static json_t *cluster_of_three(void *arg)
{
    return json_pack("{s:s}", "cluster", "three");
}

static int forwarded;

static void forward(void *arg, struct http_request *request)
{
    forwarded++;
    http_reply_error(request, ERR_NO_LEADER, "no replica leads now");
}

static int stepped_down;

static int step_down(void *arg, struct error *error)
{
    stepped_down++;
    return 0;
}

static bool refuses;

static const char *refusing(void *arg, char *text, size_t size)
{
    snprintf(text, size, "batch 7 is missing");
    return refuses ? text : NULL;
}

static int init(void *arg, const char *cluster, struct error *error)
{
    return cluster && strcmp(cluster, "there") == 0 ? error_set(error, ERR_CONFLICT, "there is one") : 0;
}

static int recover(void *arg, const char *from, const char *by, struct error *error)
{
    return strcmp(from, "tree") == 0 && by[0] ? 0 : ERR_INVALID;
}

static bool knows;

static bool has_read(void *arg)
{
    return knows;
}

static void test_a_replica_that_has_read_nothing_says_so(void **state)
{
    static const char *const reads[] = {"GET /v1/jobs",
                                        "GET /v1/jobs/nightly",
                                        "GET /v1/defs",
                                        "GET /v1/runs",
                                        "GET /v1/runs/x@20261122T030000Z",
                                        "GET /v1/runs/nightly@20261122T030000Z/logs",
                                        "GET /v1/audit?since=2026-11-22T00:00:00Z",
                                        "GET /v1/records",
                                        "GET /v1/cluster/takeovers",
                                        "GET /v1/explain?job=nightly&time=2026-11-22T03:00:00Z"};
    static const struct api_cluster_ops ops = {.json = cluster_of_three,
                                               .following = following,
                                               .has_read = has_read,
                                               .refusing = refusing,
                                               .forward = forward};
    struct api_options o = {.context = {.cluster_ops = &ops}};
    char value[16];
    struct reply r;

    fake.leading = knows = refuses = follows = false;
    start_api(&o);
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        assert_answer(reads[i], NULL, 503, "this replica has not read the journal yet: ");
    assert_answer("GET /v1/cluster", NULL, 200, "{\"cluster\":\"three\"}");
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_journal_read 0\n");
    assert_answer("GET /leaderz", NULL, 503, "not the leader");
    knows = fake.reading = true; /* a large snapshot, which takes several turns */
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        assert_answer(reads[i], NULL, 503, "this replica has not read the journal yet: ");
    follows = true;
    assert_answer("GET /readyz", NULL, 503, "neither leads nor follows: ");
    assert_answer("GET /healthz", NULL, 200, "ok");
    follows = fake.reading = false; /* and it has lost its leader since */
    r = ask("GET /v1/jobs", NULL);
    assert_int_equal(r.status, 200);
    assert_non_null(client_header(&r, "Cronsched-Stale", value, sizeof(value)));
    reply_release(&r);
    follows = true;
    r = ask("GET /v1/jobs", NULL);
    assert_null(client_header(&r, "Cronsched-Stale", value, sizeof(value)));
    reply_release(&r);
    fake.reading = true; /* another one, from which it begins again */
    r = ask("GET /v1/jobs", NULL);
    assert_non_null(client_header(&r, "Cronsched-Stale", value, sizeof(value)));
    reply_release(&r);
    fake.reading = false;
    forwarded = 0; /* it may be behind: the leader is asked before anything is said not to be there */
    assert_answer("GET /v1/jobs/unheard-of", NULL, 503, "no-leader");
    assert_answer("GET /v1/runs/nightly@20261122T030000Z", NULL, 503, "no-leader");
    assert_int_equal(forwarded, 2);
    forwarded = 0;
    fake.leading = true;
    assert_answer("GET /leaderz", NULL, 200, "leader");
    knows = follows = false;
}

static char logged[512];

static void note_log(void *arg, enum log_level level, const char *event, const char *text)
{
    if (strcmp(event, "cluster-change") == 0)
        snprintf(logged, sizeof(logged), "%s", text);
}

static void test_a_replica_among_others(void **state)
{
    static const struct api_cluster_ops ops = {.json = cluster_of_three,
                                               .following = following,
                                               .has_read = has_read,
                                               .refusing = refusing,
                                               .forward = forward,
                                               .step_down = step_down,
                                               .init = init,
                                               .join = init,
                                               .recover = recover};
    struct api_options o = {.context = {.cluster_ops = &ops, .log = note_log}};

    start_api(&o);
    assert_answer("GET /v1/cluster", NULL, 200, "{\"cluster\":\"three\"}");
    assert_answer("POST /v1/cluster/step-down", NULL, 200, "r1");
    assert_int_equal(stepped_down, 1);
    assert_true(fake.yield_by[0] && strstr(logged, fake.yield_by));
    assert_ptr_equal(strstr(logged, "step-down of r1, by "), logged); /* and somebody is named */
    assert_true(strlen(logged) > strlen("step-down of r1, by "));
    fake.leading = false;
    assert_answer("POST /v1/cluster/step-down", NULL, 503, "no-leader");
    assert_int_equal(forwarded, 1);
    assert_answer("GET /readyz", NULL, 503, "neither leads nor follows: the journal is not there yet");
    refuses = true;
    assert_answer("GET /readyz", NULL, 503, "neither leads nor follows: batch 7 is missing");
    refuses = false;
    assert_answer("POST /v1/cluster/init", "{\"cluster\":\"there\"}", 409, "conflict");
    assert_answer("POST /v1/cluster/join", "{}", 400, "cluster");
    assert_answer("POST /v1/cluster/join", "{\"cluster\":\"x\"}", 200, "r1");
    assert_answer("POST /v1/cluster/recover", "{\"from\":\"tree\"}", 200, "r1");
    follows = true;
    assert_answer("GET /readyz", NULL, 200, "\"role\":\"standby\"");
    fake.engine_reachable = false;
    assert_answer("GET /readyz", NULL, 503, "engine docker has not answered yet");
    fake.engine_text = "Connection refused"; /* perhaps for all replicas, one of which has to answer */
    assert_answer("GET /readyz", NULL, 200, "[\"engine docker cannot be reached: Connection refused\"]");
    fake.history_trouble = "database or disk is full";
    assert_answer("GET /readyz", NULL, 503, "history cannot be written: database or disk is full");
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_history_failing 1\n");
    fake.history_trouble = NULL;
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_history_failing 0\n");
    assert_answer("GET /healthz", NULL, 200, "ok");
}

static json_t *cluster_of_two(void *arg)
{
    return json_pack("{s:[{s:s},{s:s},{s:s,s:s},{s:s,s:b}]}", "replicas", "id", "r1", "id", "r2", "id", "r3",
                     "refuses", "its history differs", "id", "r4", "joining", 1);
}

/* What nobody here has ever seen is missing all the same, and makes no replica that is there less ready. */
static void test_fewer_replicas_than_expected(void **state)
{
    static const struct api_cluster_ops ops = {
        .json = cluster_of_two, .following = following, .has_read = has_read, .refusing = refusing};
    static const struct {
        int expected;
        const char *text; /* NULL: nothing */
    } rows[] = {{0, NULL}, {2, NULL}, {3, "2 of 3 expected"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0) {
            tear_down(state);
            set_up_plain(state);
        }
        struct api_options o = {.context = {.cluster_ops = &ops, .expected_replicas = rows[i].expected}};

        start_api(&o);
        assert_answer("GET /readyz", NULL, 200, rows[i].text ? rows[i].text : "\"reasons\":[]}");
        assert_answer("GET /v1/doctor", NULL, 200, rows[i].text ? rows[i].text : "\"checks\"");
    }
}

static json_t *record(int index, const char *json)
{
    json_t *r = json_loads(json, 0, NULL);

    assert_non_null(r);
    return json_pack("{s:i,s:i,s:s,s:o}", "index", index, "seq", 0, "time", "2026-11-22T02:00:00Z", "record",
                     r);
}

/* A report is its epoch's; that of a leader which goes is not the next one's. */
static void test_takeovers_come_with_their_reports(void **state)
{
    struct reply r;
    char value[16];
    json_t *rows;

    json_decref(fake.stored);
    fake.stored =
        json_pack("[o,o,o,o,o,o]",
                  record(1, "{\"k\":\"takeover\",\"report\":{\"text\":\"of an epoch that is pruned\"}}"),
                  record(2, "{\"k\":\"epoch\",\"epoch\":1,\"replica\":\"r1\",\"cause\":\"start\"}"),
                  record(3, "{\"k\":\"takeover\",\"report\":{\"handing_over\":true,\"text\":\"goes\"}}"),
                  record(4, "{\"k\":\"epoch\",\"epoch\":2,\"replica\":\"r2\",\"cause\":\"silence\"}"),
                  record(5, "{\"k\":\"takeover\",\"report\":{\"text\":\"gap 1 s\"}}"),
                  record(6, "{\"k\":\"epoch\",\"epoch\":3,\"replica\":\"r1\",\"cause\":\"start\"}"));
    r = ask("GET /v1/cluster/takeovers?limit=2", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(client_header(&r, "Cronsched-More", value, sizeof(value)), "true");
    rows = json_loads(r.body, 0, NULL);
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "epoch")), 3);
    assert_null(json_object_get(json_array_get(rows, 0), "report"));
    assert_string_equal(api_text(json_object_get(json_array_get(rows, 1), "report"), "text"), "gap 1 s");
    json_decref(rows);
    reply_release(&r);
    r = ask("GET /v1/cluster/takeovers", NULL);
    assert_null(strstr(r.body, "goes"));
    assert_null(client_header(&r, "Cronsched-More", value, sizeof(value)));
    reply_release(&r);
    assert_answer("GET /v1/cluster/takeovers?limit=0", NULL, 400, "limit: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_replica_that_has_read_nothing_says_so, set_up_plain,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_replica_among_others, set_up_plain, tear_down),
        cmocka_unit_test_setup_teardown(test_takeovers_come_with_their_reports, set_up_api, tear_down),
        cmocka_unit_test_setup_teardown(test_fewer_replicas_than_expected, set_up_plain, tear_down),
    };

    return cmocka_run_group_tests_name("api_cluster", tests, NULL, NULL);
}
