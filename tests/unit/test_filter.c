/* The grammar by which jobs and runs are chosen: what it takes, what it refuses, and what it finds. */
#include "jobs/state/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct job_of_test {
    struct state state;
    struct job_state job;
    struct error error;
};

static void job_init(struct job_of_test *t)
{
    json_t *def = json_pack("{s:s,s:s,s:s,s:s,s:{s:s,s:s}}", "image", "x", "description",
                            "Nightly: the Report", "owner", "alice", "timezone", "Europe/Paris", "labels",
                            "team", "finance", "tier", "gold=1");

    *t = (struct job_of_test){0};
    state_init(&t->state);
    if (job_from_json(&t->job.def, "etl-daily", def, NULL, &t->error) < 0)
        fail_msg("%s", t->error.text);
    json_decref(def);
    t->job.name = t->job.def->name;
    t->job.set = (char *)(uintptr_t) "etl";
    list_init(&t->job.runs);
}

static void job_release(struct job_of_test *t)
{
    job_unref(t->job.def);
    state_release(&t->state);
}

static bool finds(struct job_of_test *t, const char *text)
{
    struct filter *f = NULL;
    struct error e;
    bool found;

    if (filter_new(&f, text, FILTER_JOBS, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    found = filter_job(f, &t->state, &t->job, "docker");
    filter_free(f);
    return found;
}

static void jobs_are_chosen(void **state)
{
    static const char *const yes[] = {"",
                                      "   ",
                                      "etl",
                                      "ETL report",
                                      "NIGHTLY",
                                      "\"nightly: the\"",
                                      "ali",
                                      "night*port",
                                      "job:etl-*",
                                      "set:etl",
                                      "set:x,etl",
                                      "label:team=finance",
                                      "label:team=*",
                                      "label:team",
                                      "label:tier=gold=1",
                                      "owner:alice engine:docker",
                                      "zone:Europe/*",
                                      "state:never",
                                      "paused:no",
                                      "state:failing,never"};
    static const char *const no[] = {"etl missing",   "job:etl",          "set:e",        "label:team=fin",
                                     "label:Team",    "owner:Alice",      "engine:swarm", "zone:Europe",
                                     "state:failing", "paused:yes",       "state:ok",     "verdict:failed",
                                     "rep.rt",        "\"report night\"", "job:[a-z]*"};
    struct job_of_test t;

    (void)state;
    job_init(&t);
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        if (!finds(&t, yes[i]))
            fail_msg("not found: %s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        if (finds(&t, no[i]))
            fail_msg("found: %s", no[i]);
    t.job.last_run = (char *)(uintptr_t) "etl-daily@20261122T030000Z";
    t.job.last_verdict = VERDICT_FAILED;
    t.job.recent.failures = 2;
    t.job.paused = true;
    assert_true(finds(&t, "state:failing verdict:failed paused:yes"));
    assert_true(finds(&t, "state:paused"));
    assert_false(finds(&t, "state:ok"));
    job_release(&t);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"verdit:failed", "did you mean 'verdict'"},
        {"verdict:faild", "did you mean 'failed'"},
        {"state:broken", "there is no 'broken'"},
        {"paused:maybe", "paused: there is no 'maybe'"},
        {"cause:manual", "there is no key 'cause'"},
        {"set:", "set has no value"},
        {"\"open", "a quote is not closed"},
        {"\"\"", "a word has no value"},
        {"http://x", "there is no key 'http'"},
        {"a b c d e f g h i j k l m n o p q", "more than 16 terms"},
    };
    struct filter *f;
    struct error e;
    char text[2000];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(filter_new(&f, bad[i].text, FILTER_JOBS, &e), ERR_INVALID);
        if (!strstr(e.text, bad[i].said))
            fail_msg("%s: %s", bad[i].text, e.text);
    }
    memset(text, 'a', sizeof(text));
    text[FILTER_VALUE_MAX + 1] = '\0';
    assert_int_equal(filter_new(&f, text, FILTER_JOBS, &e), ERR_INVALID);
    text[FILTER_VALUE_MAX + 1] = ' ';
    text[FILTER_BYTES_MAX + 1] = '\0';
    assert_int_equal(filter_new(&f, text, FILTER_JOBS, &e), ERR_INVALID);
}

static void runs_are_chosen(void **state)
{
    json_t *run = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:[{s:s}]}", "run", "a@20261122T030000Z", "job", "a",
                            "state", "ended", "verdict", "failed", "cause", "manual", "by", "token:alice",
                            "attempts", "engine", "docker");
    static const char *const yes[] = {"a@2026", "job:a", "verdict:failed,lost", "cause:manual by:*alice",
                                      "engine:docker"};
    static const char *const no[] = {"job:b", "verdict:lost", "by:alice", "engine:swarm", "state:running"};
    struct filter *f;
    struct error e;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(filter_new(&f, yes[i], FILTER_RUNS, &e), 0);
        assert_true(filter_run(f, run));
        filter_free(f);
        assert_int_equal(filter_new(&f, no[i], FILTER_RUNS, &e), 0);
        assert_false(filter_run(f, run));
        filter_free(f);
    }
    json_decref(run);
}

/* Many stars cost no more than the lengths multiplied. */
static void patterns_end_soon(void **state)
{
    char text[4001];

    (void)state;
    memset(text, 'a', 4000);
    text[4000] = '\0';
    assert_false(filter_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text, true));
    assert_true(filter_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*", text, false));
    assert_true(filter_glob("", "", true));
    assert_true(filter_glob("*", "", true));
    assert_false(filter_glob("", "x", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_chosen),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(runs_are_chosen),
        cmocka_unit_test(patterns_end_soon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
