/* Requests and answers of engines as JSON, what a drill of an engine has found, and base64: what plug-ins send is untrusted. */
#include "jobs/base/base64.h"
#include "jobs/engine/engine_json.h"
#include "jobs/engine/engine_proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_request_comes_back_as_it_was(void **state)
{
    json_t *def = json_pack("{s:[s,s], s:s}", "command", "echo", "\xc3\xa9 \"x\"", "stop_grace", "3s");
    json_t *params = json_pack("{s:s}", "p", "1"), *json;
    char *items[] = {(char *)"A=1=2", (char *)"B="};
    char boot[201] = {0}; /* the docker engine's is as long */
    struct environment environment = {.items = items, .count = 2};
    struct engine_request q = {.ticket = 7,
                               .run = "j@20261122T030000Z",
                               .attempt = 2,
                               .try = 3,
                               .epoch = 9,
                               .name = "cs-1",
                               .id = "i",
                               .boot_id = boot,
                               .identity = "e",
                               .started_ms = 5,
                               .unresolved = true,
                               .may_have_run = true,
                               .cause = "manual",
                               .fire_ms = 11,
                               .previous_fire_ms = 10,
                               .params = params};
    struct engine_request back;
    struct error error = {0};
    enum engine_op op;
    struct job *job;

    memset(boot, 'b', sizeof(boot) - 1);
    assert_int_equal(job_from_json(&job, "j", def, NULL, &error), 0);
    q.job = job;
    json = engine_request_json(ENGINE_FENCE, &q, &environment);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "environment"), "A")), "1=2");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "environment"), "B")), "");
    assert_int_equal(json_integer_value(json_object_get(json, "stop_grace_ms")), 3000);
    assert_int_equal(engine_request_read(json, &op, &back, &error), 0);
    assert_int_equal(op, ENGINE_FENCE);
    assert_true(job_equal(back.job, job) && json_equal(back.params, params));
    assert_true(back.ticket == 7 && back.attempt == 2 && back.try == 3 && back.epoch == 9 &&
                back.started_ms == 5 && back.fire_ms == 11 && back.previous_fire_ms == 10 &&
                back.unresolved && back.may_have_run);
    assert_string_equal(back.run, q.run);
    assert_string_equal(back.name, q.name);
    assert_string_equal(back.id, q.id);
    assert_string_equal(back.boot_id, q.boot_id);
    assert_string_equal(back.identity, q.identity);
    assert_string_equal(back.cause, q.cause);
    engine_request_release(&back);
    json_object_del(json, "id"); /* only PREPARE has none */
    assert_int_equal(engine_request_read(json, &op, &back, &error), ERR_INVALID);
    json_decref(json);
    json_decref(params);
    json_decref(def);
    job_unref(job);
}

static void an_answer_comes_back_as_it_was(void **state)
{
    const struct engine_answer a = {.ticket = 8,
                                    .event = ENGINE_ENDED,
                                    .started_ms = 1,
                                    .at_ms = 2,
                                    .exit_code = 3,
                                    .starts = 2,
                                    .cause = "oom",
                                    .text = "t"};
    struct engine_answer back;
    struct error error;
    json_t *json = engine_answer_json(&a);

    assert_int_equal(engine_answer_read(json, &back, &error), 0);
    assert_true(back.ticket == 8 && back.event == ENGINE_ENDED && back.started_ms == 1 && back.at_ms == 2 &&
                back.exit_code == 3 && back.starts == 2);
    assert_string_equal(back.cause, "oom");
    assert_string_equal(back.text, "t");
    json_decref(json);
}

static void what_cannot_be_an_answer_is_none(void **state)
{
    static const struct {
        const char *text;
        bool fine;
    } table[] = {
        {"{\"ticket\":1,\"event\":\"started\"}", true},
        {"{\"ticket\":1,\"event\":\"prepared\",\"id\":\"x\"}", true},
        {"{\"ticket\":1,\"event\":\"ended\",\"exit_code\":255,\"cause\":\"exit\"}", true},
        {"{\"ticket\":1,\"event\":\"ended\",\"text\":null}", true},
        {"{\"event\":\"started\"}", false},
        {"{\"ticket\":0,\"event\":\"started\"}", false},
        {"{\"ticket\":-1,\"event\":\"started\"}", false},
        {"{\"ticket\":\"1\",\"event\":\"started\"}", false},
        {"{\"ticket\":1}", false},
        {"{\"ticket\":1,\"event\":\"flown\"}", false},
        {"{\"ticket\":1,\"event\":\"prepared\"}", false},
        {"{\"ticket\":1,\"event\":\"prepared\",\"id\":\"\"}", false},
        {"{\"ticket\":1,\"event\":\"prepared\",\"id\":7}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"exit_code\":256}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"exit_code\":\"0\"}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"exit_code\":-2}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"cause\":\"whim\"}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"at_ms\":-5}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"at_ms\":253402300800000}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"starts\":1.5}", false},
        {"{\"ticket\":1,\"event\":\"ended\",\"text\":[]}", false},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *json = json_loads(table[i].text, 0, NULL);
        struct engine_answer answer;
        struct error error;

        assert_non_null(json);
        if ((engine_answer_read(json, &answer, &error) == 0) != table[i].fine)
            fail_msg("%s", table[i].text);
        json_decref(json);
    }
}

static void base64_is_read_or_refused(void **state)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } table[] = {
        {"", ""},        {"Zg==", "f"},        {"Zm8=", "fo"},
        {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"+/+/", "\xfb\xff\xbf"},
        {"Zg=", NULL},   {"Zg", NULL},         {"Z===", NULL},
        {"====", NULL},  {"Zm=v", NULL},       {"Zm9v Zg==", NULL},
        {"Zm9\n", NULL}, {"Zg==Zg==", NULL},
    };
    char bytes[64];
    size_t n;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        bool fine = base64_decode(table[i].text, strlen(table[i].text), bytes, &n);

        if (fine != (table[i].bytes != NULL))
            fail_msg("%s", table[i].text);
        if (fine)
            assert_true(n == strlen(table[i].bytes) && memcmp(bytes, table[i].bytes, n) == 0);
    }
}

static void a_proof_is_of_a_version(void **state)
{
    json_t *all = json_object(), *cases = json_pack("[{s:s,s:b},{s:s,s:n},{s:s,s:b}]", "case", "a", "passed",
                                                    1, "case", "b", "passed", "case", "c", "passed", 0);
    struct engine_proof proof = {.type = "docker",
                                 .version = "docker 1",
                                 .at_ms = 1764500000000,
                                 .passed = true,
                                 .trials = 1,
                                 .cases = cases};
    char text[256];

    assert_true(engine_proof_text(NULL, "e", "docker", "docker 1", text, sizeof(text)));
    assert_string_equal(text, "unproved here: cronsched drill engine e");
    engine_proof_put(all, "e", &proof);
    assert_true(engine_proof_text(all, "e", "docker", "docker 1", text, sizeof(text)));
    assert_string_equal(text, "proved on 2025-11-30 with docker 1 (1 trial)");
    assert_true(engine_proof_text(all, "e", "docker", "docker 2", text, sizeof(text)));
    assert_string_equal(text, "proved on 2025-11-30 with docker 1 (1 trial), not with this version");
    assert_true(engine_proof_text(all, "e", "swarm", "docker 1", text,
                                  sizeof(text))); /* of another engine under this name */
    assert_string_equal(text, "unproved here: cronsched drill engine e");
    proof.passed = false;
    engine_proof_put(all, "e", &proof);
    assert_false(engine_proof_text(all, "e", "docker", "docker 1", text, sizeof(text)));
    assert_string_equal(text, "it failed its drill on 2025-11-30 with docker 1: c");
    json_decref(cases);
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_as_it_was),   cmocka_unit_test(an_answer_comes_back_as_it_was),
        cmocka_unit_test(what_cannot_be_an_answer_is_none), cmocka_unit_test(base64_is_read_or_refused),
        cmocka_unit_test(a_proof_is_of_a_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
