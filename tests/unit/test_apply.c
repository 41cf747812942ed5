/* The command apply: whose a job is, what an empty set does, what is wrong with all jobs at once, pauses by hand. */
#include "tests/support/scheduler_bench.h"

#include <stdio.h>
#include <string.h>

/* Applies the body, written with ' for ". The answer or the error, with ' for " again; for free(). */
static char *apply_text(const char *text, int *ret_code)
{
    char *body_text = strdup(text), *said;
    struct scheduler_result result = {0};
    json_t *body;

    for (char *p = body_text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    body = json_loads(body_text, 0, NULL);
    if (!body)
        fail_msg("not JSON: %s", body_text);
    *ret_code = scheduler_apply(b.scheduler, body, "test", &result);
    if (*ret_code == 0)
        said = json_dumps(result.reply, JSON_COMPACT);
    else if (asprintf(&said, "%s", result.error.text) < 0)
        said = NULL;
    if (*ret_code < 0 && result.details) {
        char *details = json_dumps(result.details, JSON_COMPACT), *both;

        assert_true(asprintf(&both, "%s %s", said, details) > 0);
        free(details);
        free(said);
        said = both;
    }
    for (char *p = said; *p; p++)
        *p = *p == '"' ? '\'' : *p;
    json_decref(result.details);
    json_decref(result.reply);
    json_decref(body);
    free(body_text);
    bench_settle();
    return said;
}

struct step {
    const char *body;
    int code;
    const char *says; /* NULL: anything */
};

static void run_steps(const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int code;
        char *said = apply_text(steps[i].body, &code);

        if (code != steps[i].code || (steps[i].says && !strstr(said, steps[i].says)))
            fail_msg("step %zu, %s: %d %s; not %d %s", i, steps[i].body, code, said, steps[i].code,
                     steps[i].says ? steps[i].says : "");
        free(said);
    }
}

#define RUN_STEPS(...)                                                                                       \
    do {                                                                                                     \
        static const struct step steps[] = {__VA_ARGS__};                                                    \
        run_steps(steps, sizeof(steps) / sizeof(steps[0]));                                                  \
    } while (0)

#define A1      "'jobs':{'a':{'image':'x'}}"
#define A2      "'jobs':{'a':{'image':'y'}}"
#define TAKEN   "'taken_over':[{'job':'a','set':'x'}]"
#define NONE    "'jobs':{}"
#define CHANGED "'changed':['a']"

static json_t *job_of(const char *name)
{
    json_t *job = scheduler_job_json(b.scheduler, name);

    assert_non_null(job);
    return job;
}

static void assert_member(const char *job, const char *key, const char *expected)
{
    json_t *o = job_of(job);
    const json_t *value = json_object_get(o, key);
    const char *is = json_is_true(value) ? "true" : json_string_value(value);

    if (strcmp(is ? is : "", expected ? expected : "") != 0)
        fail_msg("%s: %s is %s, not %s", job, key, is ? is : "(nothing)", expected ? expected : "(nothing)");
    json_decref(o);
}

static void a_job_of_another_set_is_a_conflict(void **state)
{
    RUN_STEPS({"{" A1 ",'set':'x'}", 0, "'created':['a']"}, {"{" A1 ",'set':'x'}", 0, "'unchanged':1"},
              /* the same definition is taken as well */
              {"{" A1 ",'set':'y'}", ERR_CONFLICT, "a: it belongs to the set x; --take-over"},
              {"{" A2 ",'set':'y'}", ERR_CONFLICT, "makes it one of the set y"},
              {"{" A2 ",'set':'y'}", ERR_CONFLICT, "'faults':[{'job':'a','text':'it belongs to the set x;"},
              {"{" A2 "}", ERR_CONFLICT, "a: it belongs to the set x; "}, {"{" A1 "}", 0, "'unchanged':1"},
              {"{" A2 ",'set':null}", ERR_CONFLICT, "one of no set"},
              {"{" A2 ",'set':'y','prune':true}", ERR_CONFLICT, "the set x"},
              /* the good one of two is not applied either */
              {"{'jobs':{'a':{'image':'y'},'b':{'image':'y'}},'set':'y'}", ERR_CONFLICT, "the set x"}, );
    assert_member("a", "set", "x");
    assert_null(scheduler_job_json(b.scheduler, "b"));
    RUN_STEPS({"{" A2 ",'set':'y','dry_run':true}", 0, "'conflicts':[{'job':'a','set':'x'}]"},
              {"{" A2 ",'set':'y','dry_run':true}", 0, "'changed':[]"},
              {"{" A2 ",'set':'y','dry_run':true,'take_over':true}", 0, TAKEN},
              {"{" A2 ",'set':'y','take_over':true}", 0, TAKEN}, );
    assert_non_null(strstr(b.last, "\"set\":\"y\""));
    assert_non_null(strstr(b.last, "\"by\":\"test\""));
    assert_member("a", "set", "y");
    RUN_STEPS({"{" A2 ",'set':'x'}", ERR_CONFLICT, "the set y"},
              {"{" A2 ",'set':'y','take_over':true}", 0, "'taken_over':[]"}, );
}

static void a_job_of_no_set_is_a_conflict_for_a_set_and_is_left_to_nobody_again(void **state)
{
    RUN_STEPS({"{" A1 "}", 0, "'created':['a']"}, {"{" A2 "}", 0, CHANGED},
              {"{" A2 ",'set':'x'}", ERR_CONFLICT,
               "a: it belongs to no set; --take-over makes it one of the set x"},
              {"{" A2 ",'set':'x','take_over':true}", 0, "'taken_over':[{'job':'a','set':null}]"}, );
    assert_member("a", "set", "x");
    RUN_STEPS({"{" A2 ",'take_over':true}", 0, TAKEN}, );
    assert_member("a", "set", NULL);
    RUN_STEPS({"{" A2 ",'set':''}", ERR_INVALID, "1 to 200 bytes"}, );
}

static void a_set_prunes_its_own_jobs_and_never_all_of_them_unasked(void **state)
{
    RUN_STEPS({"{'jobs':{'a':{'image':'x'},'b':{'image':'x'}},'set':'x'}", 0, NULL},
              {"{'jobs':{'c':{'image':'x'}},'set':'y'}", 0, NULL}, {"{'jobs':{'d':{'image':'x'}}}", 0, NULL},
              {"{" NONE ",'set':'x','prune':true}", ERR_INVALID, "all of the set x: 2 jobs; --allow-empty"},
              {"{" NONE ",'set':'x','prune':true,'dry_run':true}", ERR_INVALID, "--allow-empty"},
              {"{" NONE ",'set':'x'}", 0, "'deleted':[]"},
              {"{" NONE ",'set':'z','prune':true}", 0, "'deleted':[]"},
              {"{" NONE ",'prune':true,'allow_empty':true}", ERR_INVALID, "needs a set"},
              {"{" A1 ",'set':'x','prune':true}", 0, "'deleted':['b']"}, );
    assert_non_null(strstr(b.last, "{\"k\":\"stage\",\"job\":\"b\",\"set\":\"x\",\"by\":\"test\"}"));
    RUN_STEPS({"{" NONE ",'set':'x','prune':true,'allow_empty':true}", 0, "'deleted':['a']"}, );
    assert_int_equal(scheduler_job_count(b.scheduler), 2);
}

static void what_a_set_has_and_the_files_do_not_is_named(void **state)
{
    RUN_STEPS(
        {"{'jobs':{'a':{'image':'x'},'b':{'image':'x'}},'set':'x'}", 0, "'unlisted':[],'unlisted_count':0"},
        {"{'jobs':{'c':{'image':'x'}}}", 0, "'unlisted':[]"},
        {"{" A1 ",'set':'x','dry_run':true}", 0, "'unlisted':['b'],'unlisted_count':1"},
        {"{" A1 ",'set':'x'}", 0, "'unlisted':['b'],'unlisted_count':1"},
        {"{" A1 ",'set':'x','prune':true,'dry_run':true}", 0, "'unlisted':[],'unlisted_count':0"},
        {"{" NONE ",'dry_run':true}", 0, "'unlisted':['c'],'unlisted_count':1"}, );
    RUN_STEPS({"{" NONE "}", 0, "'unlisted':[]"}, );
}

static void all_that_is_wrong_is_said_at_once(void **state)
{
    RUN_STEPS(
        {"{'jobs':{'a':{'image':'x','engine':'f'},'b':{'image':'x','pool':{'name':'p'}},"
         "'c':{'image':'x','after':['zz']}}}",
         ERR_INVALID,
         "a: engine: the server has no engine f (and 2 more) {'faults':["
         "{'job':'a','text':'engine: the server has no engine f'},"
         "{'job':'b','text':'pool: the server has no pool p'},"
         "{'job':'c','text':'after: there is no job zz'}]}"},
        {"{'jobs':{'a':{'image':'x','retries':{'max':-1}},'b':{'imag':'x'},'c':{'image':'x','after':['a']}}}",
         ERR_INVALID, "a: retries.max: "},
        {"{'jobs':{'a':{'image':'x','retries':{'max':-1}},'b':{'imag':'x'},'c':{'image':'x','after':['a']}}}",
         ERR_INVALID, " (and 1 more) "}, );
    assert_int_equal(scheduler_job_count(b.scheduler), 0);
}

/* ---- pauses ---- */

#define DAILY "'image':'x','schedule':'0 0 * * *'"

static void pause_by_hand(const char *job, const char *reason, int64_t until_ms)
{
    struct scheduler_result result = {0};

    assert_int_equal(scheduler_pause(b.scheduler, job, until_ms, reason, "alice", &result), 0);
    json_decref(result.reply);
    bench_settle();
}

static void a_pause_by_hand_outlasts_what_the_file_says(void **state)
{
    RUN_STEPS({"{'jobs':{'a':{" DAILY "}}}", 0, "'pauses':[]"}, );
    pause_by_hand("a", "incident 42", 0);
    for (int i = 0; i < 2; i++) {
        RUN_STEPS({"{'jobs':{'a':{" DAILY ",'paused':true}},'dry_run':true}", 0,
                   "'pauses':[{'job':'a','file':true,'paused':true,'reason':'incident 42','by':'alice'}]"},
                  {"{'jobs':{'a':{" DAILY ",'paused':true}}}", 0, CHANGED}, );
        assert_member("a", "pause_reason", "incident 42");
        RUN_STEPS(
            {"{'jobs':{'a':{" DAILY "}}}", 0,
             "'pauses':[{'job':'a','file':false,'paused':true,'reason':'incident 42','by':'alice'}]"}, );
        assert_member("a", "paused", "true");
        assert_member("a", "pause_reason", "incident 42");
        assert_member("a", "paused_by", "alice");
    }
    /* in a change set of parts as well */
    RUN_STEPS({"{'jobs':{'a':{" DAILY "}},'set':'s','take_over':true}", 0, CHANGED},
              {"{'jobs':{'a':{" DAILY ",'paused':true}},'set':'s','prune':true}", 0, CHANGED},
              {"{'jobs':{'a':{" DAILY "}},'set':'s','prune':true}", 0, CHANGED}, );
    assert_member("a", "pause_reason", "incident 42");
}

static void a_pause_of_the_file_ends_with_it_and_a_resumption_by_hand_is_told(void **state)
{
    struct scheduler_result result = {0};

    RUN_STEPS({"{'jobs':{'a':{" DAILY ",'paused':true}}}", 0, "'pauses':[]"},
              {"{'jobs':{'a':{" DAILY "}}}", 0, CHANGED}, );
    assert_member("a", "pause_reason", NULL);
    RUN_STEPS({"{'jobs':{'a':{" DAILY ",'paused':true}}}", 0, CHANGED}, );
    assert_int_equal(scheduler_resume(b.scheduler, "a", "alice", &result), 0);
    json_decref(result.reply);
    bench_settle();
    RUN_STEPS({"{'jobs':{'a':{" DAILY ",'paused':true}}}", 0,
               "'unchanged':1,'warnings':[],'conflicts':[],'taken_over':[],'unlisted':[],'unlisted_count':0,"
               "'pauses':[{'job':'a','file':true,'paused':false}]"}, );
}

static void a_pause_by_hand_that_ends_leaves_the_file_s(void **state)
{
    RUN_STEPS({"{'jobs':{'a':{" DAILY "}}}", 0, NULL}, );
    pause_by_hand("a", "for a minute", b.now_ms + 60000);
    RUN_STEPS({"{'jobs':{'a':{" DAILY ",'paused':true}}}", 0, CHANGED}, );
    assert_member("a", "pause_reason", "for a minute");
    b.now_ms += 61000;
    bench_settle();
    assert_member("a", "paused", "true");
    assert_member("a", "pause_reason", "paused in its file");
}

/* Its parent has succeeded in the pause: what that causes is held back. */
static void a_chain_does_not_slip_through_a_pause_by_hand(void **state)
{
    char run[RUN_ID_MAX];
    json_t *o;

    b.job = "{\"jobs\":{\"a\":{\"image\":\"x\"},\"c\":{\"image\":\"x\",\"after\":[\"a\"],\"paused\":true}}}";
    bench_apply(json_loads(b.job, 0, NULL));
    pause_by_hand("c", "incident 42", 0);
    {
        json_t *body = json_loads("{\"with_children\":true}", 0, NULL);
        struct scheduler_result result = {0};

        assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), 0);
        snprintf(run, sizeof(run), "%s", json_string_value(json_object_get(result.reply, "run")));
        json_decref(result.reply);
        json_decref(body);
    }
    bench_until(ENGINE_PREPARE);
    bench_answer((struct engine_answer){.event = ENGINE_PREPARED, .id = "id-1", .exit_code = -1});
    bench_until(ENGINE_RELEASE);
    bench_answer((struct engine_answer){.event = ENGINE_STARTED, .started_ms = b.now_ms, .exit_code = -1});
    bench_until(ENGINE_WATCH);
    bench_answer((struct engine_answer){.event = ENGINE_ENDED, .at_ms = b.now_ms, .cause = "exit"});
    b.asked = false;
    RUN_STEPS({"{'jobs':{'c':{'image':'x','after':['a']}}}", 0, "'changed':['c']"}, );
    assert_member("c", "paused", "true");
    assert_non_null(strstr(b.last, "\"verdict\":\"paused\""));
    o = job_of("c");
    assert_int_equal(json_array_size(json_object_get(o, "unfinished")), 0);
    json_decref(o);
    assert_false(b.asked && b.op == ENGINE_PREPARE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_of_another_set_is_a_conflict),
        TEST(a_job_of_no_set_is_a_conflict_for_a_set_and_is_left_to_nobody_again),
        TEST(a_set_prunes_its_own_jobs_and_never_all_of_them_unasked),
        TEST(what_a_set_has_and_the_files_do_not_is_named),
        TEST(all_that_is_wrong_is_said_at_once),
        TEST(a_pause_by_hand_outlasts_what_the_file_says),
        TEST(a_pause_of_the_file_ends_with_it_and_a_resumption_by_hand_is_told),
        TEST(a_pause_by_hand_that_ends_leaves_the_file_s),
        TEST(a_chain_does_not_slip_through_a_pause_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
