/* Job files while memory runs out: every allocation fails once, and from every allocation on all fail.
 * Nothing is leaked (the sanitizer watches), nothing crashes, and what is read all the same is complete.
 * libyaml keeps its own allocator. */
#include "jobs/definition/jobfile.h"

#include "jobs/base/text.h"
#include "jobs/time/zoneinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/failing_allocators.h"

static struct zoneinfo *zoneinfo;
static char *load(const char *name, size_t *ret_size)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], *bytes = calloc(1, 1 << 16);
    FILE *f;

    snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
    f = fopen(path, "rb");
    assert_non_null(f);
    *ret_size = fread(bytes, 1, (1 << 16) - 1, f);
    fclose(f);
    return bytes;
}

/* What came out, as text: jobs, errors. */
static char *outcome(const struct jobfile_set *set)
{
    char line[JOBFILE_LINE_MAX];
    struct text text;

    text_init(&text, 1 << 20);
    for (size_t i = 0; i < set->count; i++) {
        json_t *json = job_to_json(set->jobs[i]);
        char *s = json_dumps(json, JSON_COMPACT);

        text_addf(&text, "%s %s\n", set->jobs[i]->name, s);
        free(s);
        json_decref(json);
    }
    for (size_t i = 0; i < set->error_count; i++)
        text_addf(&text, "%s\n", jobfile_error_format(&set->errors[i], line, sizeof(line)));
    return text_take(&text);
}

/* True when an allocation failed. */
static bool try_once(const char *text, size_t size, long nth, const char *expected)
{
    struct jobfile_set set;
    int r, finish = 0;

    jobfile_set_init(&set);
    countdown = nth;
    failed = false;
    watching = true;
    r = jobfile_read(&set, "f", text, size, zoneinfo_source(zoneinfo));
    if (r != ERR_NOMEM)
        finish = jobfile_finish(&set, NULL, 0);
    watching = false;
    if (r != ERR_NOMEM && finish != ERR_NOMEM) {
        char *got = outcome(&set);

        assert_string_equal(got, expected);
        free(got);
    } else {
        assert_true(failed);
    }
    jobfile_set_release(&set);
    return failed;
}

static void every_allocation_fails(const char *name)
{
    size_t size;
    char *text = load(name, &size), *expected;
    struct jobfile_set set;
    long nth = 1;

    jobfile_set_init(&set);
    jobfile_read(&set, "f", text, size, zoneinfo_source(zoneinfo));
    jobfile_finish(&set, NULL, 0);
    expected = outcome(&set);
    jobfile_set_release(&set);
    for (int i = 0; i < 2; i++) {
        more = i == 1 ? ALL_AFTER_IT : 0;
        for (nth = 1; try_once(text, size, nth, expected); nth++)
            assert_true(nth < 100000);
        assert_true(nth > 30);
    }
    free(expected);
    free(text);
}

static void a_good_file(void **state)
{
    every_allocation_fails("good/all-keys.yaml");
}

static void broken_files(void **state)
{
    every_allocation_fails("broken/wrong-types.yaml");
    every_allocation_fails("broken/notify.yaml");
    every_allocation_fails("broken/after-circle.yaml");
    every_allocation_fails("broken/aliased-fault.yaml");
    every_allocation_fails("broken/environment-list.yaml");
}

/* The journal's way: from JSON and back. */
static void json(void **state)
{
    size_t size;
    char *text = load("good/all-keys.yaml", &size);
    struct jobfile_set set;

    jobfile_set_init(&set);
    jobfile_read(&set, "f", text, size, zoneinfo_source(zoneinfo));
    assert_int_equal(set.count, 3);
    more = 0;
    for (size_t i = 0; i < set.count; i++) {
        json_t *expected = job_to_json(set.jobs[i]), *printed;

        failed = true;
        for (long nth = 1; failed; nth++) {
            struct job *job = NULL;
            int r;

            countdown = nth;
            failed = false;
            watching = true;
            r = job_from_json(&job, set.jobs[i]->name, expected, zoneinfo_source(zoneinfo), NULL);
            printed = r == 0 ? job_to_json(job) : NULL;
            watching = false;
            assert_true(r == 0 || (failed && r == ERR_NOMEM && !job));
            assert_true(printed ? json_equal(printed, expected) : failed);
            json_decref(printed);
            job_unref(job);
        }
        json_decref(expected);
    }
    jobfile_set_release(&set);
    free(text);
}

static int set_up(void **state)
{
    json_set_alloc_funcs(malloc, free); /* ours */
    return zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL);
}

static int tear_down(void **state)
{
    zoneinfo_free(zoneinfo);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(json),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
