/* Pages of the list of jobs: each job once, in every order, whatever stands between the pages; cursors that nobody gave. */
#include "jobs/state/filter.h"
#include "tests/support/scheduler_bench.h"

#include <string.h>
#include <time.h>

#define JOBS 500

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static struct scheduler_job_page *page_of(struct scheduler_job_page_query query, const char *q)
{
    struct scheduler_job_page *page = NULL;
    struct error e;

    if (q && filter_new(&query.filter, q, FILTER_JOBS, &e) < 0)
        fail_msg("%s", e.text);
    if (scheduler_job_page_new(&page, b.scheduler, &query, &e) < 0)
        fail_msg("%s", e.text);
    while (scheduler_job_page_step(page) == 0)
        ;
    return page;
}

static const char *name_of(json_t *row)
{
    return json_string_value(json_object_get(row, "job"));
}

/* Goes through all pages; every job is there once. Returns the number of pages. */
static int walk(struct scheduler_job_page_query query, size_t expected)
{
    char cursor[SCHEDULER_CURSOR_SIZE], last[64] = "";
    json_t *seen = json_object();
    int pages = 0;

    query.fields = SCHEDULER_JOB_FIELD(JOB);
    for (bool more = true; more; pages++) {
        struct scheduler_job_page *page = page_of(query, NULL);
        json_t *row;

        assert_int_equal(scheduler_job_page_total(page), expected);
        for (size_t i = 0; (row = scheduler_job_page_row(page, i)); i++) {
            assert_null(json_object_get(seen, name_of(row)));
            if (query.order == SCHEDULER_BY_NAME)
                assert_true(!last[0] || (strcmp(name_of(row), last) > 0) != query.descending);
            snprintf(last, sizeof(last), "%s", name_of(row));
            json_object_set_new(seen, name_of(row), json_true());
            json_decref(row);
        }
        more = scheduler_job_page_cursor(page, cursor, sizeof(cursor));
        query.after = cursor;
        scheduler_job_page_free(page);
    }
    assert_int_equal(json_object_size(seen), expected);
    json_decref(seen);
    return pages;
}

static void each_job_comes_once_in_every_order(void **state)
{
    (void)state;
    bench_fill(JOBS, NULL); /* with the same next fire times, and no runs: hundreds of equal keys */
    for (int order = SCHEDULER_BY_NEXT; order <= SCHEDULER_BY_FAILURES; order++) {
        for (int descending = 0; descending < 2; descending++) {
            struct scheduler_job_page_query q = {
                .order = (enum scheduler_job_order)order, .descending = descending, .limit = 7};

            assert_int_equal(walk(q, JOBS), (JOBS + 6) / 7);
            q.limit = JOBS;
            assert_int_equal(walk(q, JOBS), 1);
            q.limit = JOBS - 1;
            assert_int_equal(walk(q, JOBS), 2);
        }
    }
}

static void an_empty_list_has_one_page(void **state)
{
    (void)state;
    assert_int_equal(walk((struct scheduler_job_page_query){.limit = 1}, 0), 1);
}

static void a_filter_chooses_before_the_page_is_cut(void **state)
{
    struct scheduler_job_page *page;
    json_t *row;

    (void)state;
    bench_fill(JOBS, NULL);
    page = page_of((struct scheduler_job_page_query){.limit = 3, .fields = SCHEDULER_JOB_FIELDS_ALL},
                   "state:never paused:no");
    assert_int_equal(scheduler_job_page_total(page), JOBS);
    row = scheduler_job_page_row(page, 0);
    assert_string_equal(json_string_value(json_object_get(row, "health")), "never");
    assert_true(json_is_null(json_object_get(row, "last_success")));
    assert_true(json_is_null(json_object_get(row, "last_duration_ms")));
    assert_string_equal(json_string_value(json_object_get(row, "strip")), "");
    json_decref(row);
    scheduler_job_page_free(page);
    page = page_of((struct scheduler_job_page_query){.limit = 3}, "state:failing");
    assert_int_equal(scheduler_job_page_total(page), 0);
    assert_null(scheduler_job_page_row(page, 0));
    scheduler_job_page_free(page);
}

static void a_job_that_goes_meanwhile_leaves_a_gap(void **state)
{
    struct scheduler_result result = {0};
    struct scheduler_job_page *page;
    json_t *row;

    (void)state;
    bench_fill(3, NULL);
    page = page_of((struct scheduler_job_page_query){.limit = 3, .fields = SCHEDULER_JOB_FIELDS_ALL}, NULL);
    row = scheduler_job_page_row(page, 1);
    assert_int_equal(scheduler_delete(b.scheduler, name_of(row), "me", &result), 0);
    json_decref(result.reply);
    json_decref(row);
    row = scheduler_job_page_row(page, 1);
    assert_true(json_is_null(row));
    json_decref(row);
    scheduler_job_page_free(page);
}

static void a_cursor_that_nobody_gave_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        "1n",
        "1nu",
        "1nu.",
        "1nu.5",
        "1nu.5.",
        "1nu..a",
        "2nu.5.a",
        "1xu.5.a",
        "1nd.5.a",
        "1nu.5.A/../b",
        "1nu.5. a",
        "1nu.+5.a",
        "1nu. 5.a",
        "1nu.5x.a",
        "1nu.99999999999999999999.a",
        "1nu.5.a\n",
        "nu1.5.a",
        "1nu.-.a",
        "1au.0.a",
        "1nu.5.-a",
    };
    struct scheduler_job_page *page;
    struct error e;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct scheduler_job_page_query q = {.limit = 5, .after = bad[i]};

        if (scheduler_job_page_new(&page, b.scheduler, &q, &e) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(e.text, "this is no cursor"));
    }
    /* one of a job that is gone, or was never there, is a place in the order all the same */
    bench_fill(5, NULL);
    page = page_of(
        (struct scheduler_job_page_query){.order = SCHEDULER_BY_NAME, .limit = 5, .after = "1au.0.zzz"},
        NULL);
    assert_null(scheduler_job_page_row(page, 0));
    scheduler_job_page_free(page);
}

static void fields_are_those_that_there_are(void **state)
{
    uint64_t fields;
    struct error e;

    (void)state;
    assert_int_equal(scheduler_job_fields("job,next,verdict", &fields, &e), 0);
    assert_true(fields ==
                (SCHEDULER_JOB_FIELD(JOB) | SCHEDULER_JOB_FIELD(NEXT) | SCHEDULER_JOB_FIELD(VERDICT)));
    assert_int_equal(scheduler_job_fields("job,nextt", &fields, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "did you mean 'next'"));
    assert_int_equal(scheduler_job_fields(",", &fields, &e), ERR_INVALID);
    assert_int_equal(scheduler_job_fields("", &fields, &e), ERR_INVALID);
}

/* One look at each job, and a hundred rows: far below the loop's budget. */
static void a_page_of_many_jobs_costs_little(void **state)
{
    int64_t begun_us, worst_us = 0, all_us = cpu_us();
    struct scheduler_job_page_query q = {.limit = 100, .fields = SCHEDULER_JOB_FIELDS_ALL};
    struct scheduler_job_page *page;
    struct error e;
    int r;

    (void)state;
    bench_fill(10000, NULL);
    all_us = cpu_us();
    assert_int_equal(scheduler_job_page_new(&page, b.scheduler, &q, &e), 0);
    do {
        begun_us = cpu_us();
        r = scheduler_job_page_step(page);
        worst_us = cpu_us() - begun_us > worst_us ? cpu_us() - begun_us : worst_us;
    } while (r == 0);
    for (size_t i = 0; i < 100; i++)
        json_decref(scheduler_job_page_row(page, i));
    all_us = cpu_us() - all_us;
    scheduler_job_page_free(page);
    print_message("a page of 10,000 jobs: %lld us, the longest step %lld us\n", (long long)all_us,
                  (long long)worst_us);
    assert_true(worst_us < 20000);
    assert_true(all_us < 200000);
}

/* ---- what is to come ---- */

static struct scheduler_upcoming *upcoming(int64_t hours, size_t limit)
{
    struct scheduler_upcoming_query q = {
        .from_s = 1798761600, .until_s = 1798761600 + hours * 3600, .bucket_s = 3600, .limit = limit};
    struct scheduler_upcoming *u = NULL;
    struct error e;

    if (scheduler_upcoming_new(&u, b.scheduler, &q, &e) < 0)
        fail_msg("%s", e.text);
    while (scheduler_upcoming_step(u) == 0)
        ;
    return u;
}

static void what_is_to_come_is_counted_and_the_first_are_listed(void **state)
{
    char last[64] = "";
    struct scheduler_upcoming *u;
    json_t *row, *sum;

    (void)state;
    bench_fill(50, "* * * * *");
    u = upcoming(2, 70);
    sum = scheduler_upcoming_summary(u);
    assert_int_equal(json_integer_value(json_object_get(sum, "total")), 50 * 120);
    assert_int_equal(json_array_size(json_object_get(sum, "buckets")), 2);
    json_decref(sum);
    for (size_t i = 0; i < 70; i++) {
        const char *time;

        row = scheduler_upcoming_row(u, i);
        time = json_string_value(json_object_get(row, "time"));
        assert_true(strcmp(time, last) >= 0);
        assert_true(strncmp(time, "2027-01-01T00:0", 15) == 0);
        snprintf(last, sizeof(last), "%s", time);
        json_decref(row);
    }
    assert_null(scheduler_upcoming_row(u, 70));
    scheduler_upcoming_free(u);
}

static void nothing_to_come_is_nothing(void **state)
{
    struct scheduler_upcoming_query bad = {.from_s = 5, .until_s = 5, .bucket_s = 60};
    struct scheduler_upcoming *u = upcoming(24, 10);
    json_t *sum = scheduler_upcoming_summary(u);
    struct error e;

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(sum, "total")), 0);
    assert_true(json_is_null(json_object_get(json_object_get(sum, "peak"), "time")));
    assert_null(scheduler_upcoming_row(u, 0));
    json_decref(sum);
    scheduler_upcoming_free(u);
    assert_int_equal(scheduler_upcoming_new(&u, b.scheduler, &bad, &e), ERR_INVALID);
    bad.until_s = 5 + SCHEDULER_UPCOMING_SPAN_S + 1;
    assert_int_equal(scheduler_upcoming_new(&u, b.scheduler, &bad, &e), ERR_INVALID);
}

#define BENCH(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH(each_job_comes_once_in_every_order),
        BENCH(an_empty_list_has_one_page),
        BENCH(a_filter_chooses_before_the_page_is_cut),
        BENCH(a_job_that_goes_meanwhile_leaves_a_gap),
        BENCH(a_cursor_that_nobody_gave_is_refused),
        BENCH(fields_are_those_that_there_are),
        BENCH(a_page_of_many_jobs_costs_little),
        BENCH(what_is_to_come_is_counted_and_the_first_are_listed),
        BENCH(nothing_to_come_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
