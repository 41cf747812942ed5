#include "jobs/engine/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct job job_with(struct job_env *variables, size_t count)
{
    return (struct job){.name = (char *)"nightly", .environment = variables, .environment_count = count};
}

static struct engine_request request_for(const struct job *job)
{
    return (struct engine_request){
        .job = job,
        .run = "nightly@20261122T030000Z",
        .attempt = 2,
        .try = 1,
        .epoch = 17,
        .cause = "schedule",
        .fire_ms = INT64_C(1795316400000),
        .previous_fire_ms = INT64_C(1795316400000) - 86400000,
    };
}

/* The value of NAME, or NULL. */
static const char *value_of(const struct environment *e, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->items[i], name, n) == 0 && e->items[i][n] == '=')
            return e->items[i] + n + 1;
    return NULL;
}

static void says_what_the_design_promises(void **state)
{
    struct job_env own[] = {{.name = (char *)"LOG", .value = (char *)"info"}};
    struct job job = job_with(own, 1);
    struct engine_request q = request_for(&job);
    struct environment e;
    static const char *const expected[] = {
        "LOG=info",
        "CRONSCHED_JOB=nightly",
        "CRONSCHED_RUN=nightly@20261122T030000Z",
        "CRONSCHED_ATTEMPT=2",
        "CRONSCHED_FIRE_TIME=2026-11-22T03:00:00Z",
        "CRONSCHED_PREVIOUS_FIRE_TIME=2026-11-21T03:00:00Z",
        "CRONSCHED_CAUSE=schedule",
        "CRONSCHED_EPOCH=17",
        "CRONSCHED_PARAM_A=1",
        "CRONSCHED_PARAM_MAX_ROWS=10 or more",
    };

    json_t *params = json_pack("{s:s,s:s}", "max-rows", "10 or more", "a", "1");
    q.params = params;
    assert_int_equal(environment_build(&e, &q, NULL, NULL, NULL), 0);
    assert_int_equal(e.count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_string_equal(e.items[i], expected[i]);
    assert_null(e.items[e.count]);
    assert_string_equal(value_of(&e, "CRONSCHED_EPOCH"), "17");
    assert_null(value_of(&e, "CRONSCHED"));
    environment_release(&e);
    environment_release(&e);
    environment_release(NULL);
    json_decref(params);
}

static void first_fire_has_an_empty_previous_time_and_manual_ones_milliseconds(void **state)
{
    struct job job = job_with(NULL, 0);
    struct engine_request q = request_for(&job);
    struct environment e;

    q.previous_fire_ms = 0;
    q.fire_ms += 123;
    q.cause = NULL;
    assert_int_equal(environment_build(&e, &q, NULL, NULL, NULL), 0);
    assert_string_equal(value_of(&e, "CRONSCHED_PREVIOUS_FIRE_TIME"), "");
    assert_string_equal(value_of(&e, "CRONSCHED_FIRE_TIME"), "2026-11-22T03:00:00.123Z");
    assert_string_equal(value_of(&e, "CRONSCHED_CAUSE"), "");
    environment_release(&e);
}

static void a_job_cannot_forge_the_schedulers_variables(void **state)
{
    struct job_env own[] = {{.name = (char *)"CRONSCHED_RUN", .value = (char *)"other"},
                            {.name = (char *)"CRONSCHED_ANYTHING", .value = (char *)"x"}};
    struct job job = job_with(own, 2);
    struct engine_request q = request_for(&job);
    struct environment e;

    assert_int_equal(environment_build(&e, &q, NULL, NULL, NULL), 0);
    assert_string_equal(value_of(&e, "CRONSCHED_RUN"), q.run);
    assert_null(value_of(&e, "CRONSCHED_ANYTHING"));
    environment_release(&e);
}

static int resolve_by_table(void *arg, const struct job_env *v, char **ret, struct error *error)
{
    int *calls = arg;
    ++*calls;
    if (v->from_file && strcmp(v->from_file, "/run/t") == 0) {
        *ret = strdup("s3cret");
        return 0;
    }
    return error_set(error, ERR_NOT_FOUND, "no such file: %s", v->from_file ? v->from_file : "-");
}

static void values_from_files_come_through_the_resolver(void **state)
{
    struct job_env own[] = {{.name = (char *)"TOKEN", .from_file = (char *)"/run/t"},
                            {.name = (char *)"PLAIN", .value = (char *)"p"}};
    struct job job = job_with(own, 2);
    struct engine_request q = request_for(&job);
    struct environment e;
    int calls = 0;

    assert_int_equal(environment_build(&e, &q, resolve_by_table, &calls, NULL), 0);
    assert_int_equal(calls, 1);
    assert_string_equal(value_of(&e, "TOKEN"), "s3cret");
    environment_release(&e);
}

static void failures_name_the_variable_and_leave_the_result_alone(void **state)
{
    static char nul_free_long[ENVIRONMENT_VALUE_BYTES + 2];
    memset(nul_free_long, 'x', sizeof(nul_free_long) - 1);
    json_t *clash = json_pack("{s:s,s:s}", "a-b", "1", "a_b", "2");
    json_t *number = json_pack("{s:i}", "n", 1);
    json_t *blank = json_pack("{s:s}", "a b", "1");
    json_t *empty = json_pack("{s:s}", "", "1");
    const struct {
        struct job_env own[2];
        size_t count;
        json_t *params;
        environment_resolve *resolve;
        int code;
        const char *part;
    } table[] = {
        {{{.name = (char *)"A=B", .value = (char *)""}}, 1, NULL, NULL, ERR_INVALID, "'A=B'"},
        {{{.name = (char *)"", .value = (char *)""}}, 1, NULL, NULL, ERR_INVALID, "''"},
        {{{.name = (char *)"A", .value = (char *)"1"}, {.name = (char *)"A", .value = (char *)"2"}},
         2,
         NULL,
         NULL,
         ERR_INVALID,
         "A is given twice"},
        {{{.name = (char *)"BIG", .value = nul_free_long}}, 1, NULL, NULL, ERR_LIMIT, "BIG"},
        {{{.name = (char *)"T", .from_file = (char *)"/run/t"}}, 1, NULL, NULL, ERR_UNSUPPORTED, "from_file"},
        {{{.name = (char *)"T", .from_secret = (char *)"t"}}, 1, NULL, NULL, ERR_UNSUPPORTED, "from_secret"},
        {{{.name = (char *)"T", .from_file = (char *)"/none"}},
         1,
         NULL,
         resolve_by_table,
         ERR_NOT_FOUND,
         "environment: T: no such file: /none"},
        {{{0}}, 0, clash, NULL, ERR_INVALID, "CRONSCHED_PARAM_A_B is given twice"},
        {{{0}}, 0, number, NULL, ERR_INVALID, "'n' is not a text"},
        {{{0}}, 0, blank, NULL, ERR_INVALID, "'a b'"},
        {{{0}}, 0, empty, NULL, ERR_INVALID, "empty"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct job_env own[2] = {table[i].own[0], table[i].own[1]};
        struct job job = job_with(own, table[i].count);
        struct engine_request q = request_for(&job);
        struct environment e = {.count = 77};
        struct error error = {0};
        int calls = 0;

        q.params = table[i].params;
        assert_int_equal(environment_build(&e, &q, table[i].resolve, &calls, &error), table[i].code);
        if (!strstr(error.text, table[i].part))
            fail_msg("%zu: '%s' lacks '%s'", i, error.text, table[i].part);
        assert_int_equal(e.count, 77);
    }
    json_decref(clash);
    json_decref(number);
    json_decref(blank);
    json_decref(empty);
}

static void number_and_total_size_are_bounded(void **state)
{
    static struct job_env many[ENVIRONMENT_VARS_MAX];
    static char names[ENVIRONMENT_VARS_MAX][8];
    static char big[ENVIRONMENT_VALUE_BYTES];
    struct job job = job_with(many, ENVIRONMENT_VARS_MAX);
    struct engine_request q = request_for(&job);
    struct environment e;
    struct error error = {0};

    for (size_t i = 0; i < ENVIRONMENT_VARS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "V%zu", i);
        many[i] = (struct job_env){.name = names[i], .value = (char *)""};
    }
    assert_int_equal(environment_build(&e, &q, NULL, NULL, &error), ERR_LIMIT); /* with ours it is too many */
    job.environment_count = ENVIRONMENT_VARS_MAX - 7;
    assert_int_equal(environment_build(&e, &q, NULL, NULL, &error), 0);
    assert_int_equal(e.count, ENVIRONMENT_VARS_MAX);
    environment_release(&e);

    memset(big, 'x', sizeof(big) - 1);
    job.environment_count = 9;
    for (size_t i = 0; i < 9; i++)
        many[i].value = big;
    assert_int_equal(environment_build(&e, &q, NULL, NULL, &error), ERR_LIMIT);
    assert_non_null(strstr(error.text, "V7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_the_design_promises),
        cmocka_unit_test(first_fire_has_an_empty_previous_time_and_manual_ones_milliseconds),
        cmocka_unit_test(a_job_cannot_forge_the_schedulers_variables),
        cmocka_unit_test(values_from_files_come_through_the_resolver),
        cmocka_unit_test(failures_name_the_variable_and_leave_the_result_alone),
        cmocka_unit_test(number_and_total_size_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
