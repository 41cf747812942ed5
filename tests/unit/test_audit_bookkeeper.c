/* The audit agrees with a bookkeeper who makes no mistakes, and finds those that are put in on purpose. */
#include "jobs/audit/audit.h"

#include "jobs/base/alloc.h"
#include "jobs/definition/job.h"
#include "tests/support/audit_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static unsigned seed;

static int64_t below(int64_t n)
{
    return (int64_t)((unsigned)rand_r(&seed) % (unsigned)n);
}

static const char *const random_defs[] = {
    HOURLY,
    "{\"schedule\":[\"*/7 * * * *\"]}",
    "{\"schedule\":[\"30 2 * * *\",\"15 14 * * *\"]}",
    "{\"schedule\":[\"@every 11m\"]}",
    "{\"schedule\":[\"H * * * *\"],\"except\":[\"2026-11-23\"]}",
    "{\"schedule\":[\"0 0 1 1 *\"]}",
    "{\"schedule\":[\"*/10 * * * *\"],\"start\":\"2026-11-22T06:00:00Z\",\"end\":\"2026-11-23T12:00:00Z\"}",
};

struct keeper {
    char name[16];
    const char *def;
    int64_t cursor_s, anchor_ms;
    bool paused;
    struct job *job;
    struct schedule *schedule;
};

static void keeper_define(struct keeper *k, int64_t now_ms)
{
    json_t *json;

    k->def = random_defs[below((int64_t)(sizeof(random_defs) / sizeof(random_defs[0])))];
    schedule_free(k->schedule);
    job_unref(k->job);
    json = json_loads(k->def, 0, NULL);
    assert_int_equal(job_from_json(&k->job, k->name, json, NULL, NULL), 0);
    assert_int_equal(job_compile(k->job, 7, now_ms / 1000, NULL, &k->schedule, NULL), 0);
    json_decref(json);
    add_job_at(now_ms, k->name, k->def);
    k->cursor_s = now_ms / 1000 > k->cursor_s ? now_ms / 1000 : k->cursor_s;
}

/* Accounts for all up to now: runs, or ranges of skips. Returns how many. */
static int keeper_account(struct keeper *k, int64_t now_ms)
{
    int n = 0;

    for (;;) {
        int64_t at = k->schedule ? schedule_next(k->schedule, k->cursor_s) : SCHEDULE_NEVER, last = at,
                count = 1, want;

        if (at > now_ms / 1000)
            return n;
        want = k->paused ? INT64_MAX : below(4) == 0 ? 1 + below(5) : 0;
        while (count < want && schedule_next(k->schedule, last) <= now_ms / 1000) {
            last = schedule_next(k->schedule, last);
            count++;
        }
        if (want)
            add_range(made.skips, k->name, at * 1000, last * 1000, count, k->paused ? "paused" : "overlap");
        else
            add_run_at(k->name, at * 1000, below(10) ? "ended" : "running", "schedule");
        k->cursor_s = last;
        n += (int)count;
    }
}

static void keeper_act(struct keeper *k, int64_t now_ms)
{
    switch (below(6)) {
    case 0:
        keeper_define(k, now_ms);
        break;
    case 1:
        if (k->schedule) {
            add_record(now_ms, "delete", json_pack("{s:s}", "job", k->name));
            schedule_free(k->schedule);
            k->schedule = NULL;
            k->paused = false;
            k->cursor_s = now_ms / 1000;
        } else {
            keeper_define(k, now_ms);
        }
        break;
    case 2:
        if (k->schedule) {
            k->paused = !k->paused;
            add_record(now_ms, k->paused ? "pause" : "resume", json_pack("{s:s}", "job", k->name));
        }
        break;
    default:
        break;
    }
}

static void test_bookkeeper(void **state)
{
    seed = 20261122;
    for (int round = 0; round < 60; round++) {
        struct keeper keepers[5] = {0};
        int64_t start_ms = day_ms("00:00"), now_ms = start_ms;
        json_t *result, *at;
        json_int_t all = 0, before;
        size_t pick;

        for (int i = 0; i < 5; i++) {
            snprintf(keepers[i].name, sizeof(keepers[i].name), "job%d", i);
            keeper_define(&keepers[i], now_ms);
        }
        while (now_ms < start_ms + 3 * DAY) {
            struct keeper *k = &keepers[below(5)];

            now_ms += below(5 * HOUR);
            all += keeper_account(k, now_ms);
            keeper_act(k, now_ms);
        }
        for (int i = 0; i < 5; i++)
            if (!keepers[i].paused) /* who is paused may leave it open */
                all += keeper_account(&keepers[i], now_ms);
        result = audit(start_ms, now_ms, now_ms, NULL);
        assert_true(audit_passed(result));
        assert_true(number(result, "fire_times") >= all);
        json_decref(result);

        /* a run is lost */
        pick = (size_t)below((int64_t)json_array_size(made.runs));
        at = json_object_get(json_array_get(made.runs, pick), "at");
        if (json_integer_value(json_array_get(at, 0)) + 60000 < now_ms) {
            json_array_remove(made.runs, pick);
            result = audit(start_ms, now_ms, now_ms, NULL);
            assert_int_equal(number(result, "unaccounted_count"), 1);
            json_decref(result);
        }
        /* a range counts one more, and another is there twice */
        if (json_array_size(made.skips) > 1) {
            json_t *range = json_array_get(made.skips, 0);

            json_object_set_new(range, "count",
                                json_integer(json_integer_value(json_object_get(range, "count")) + 1));
            json_array_append(made.skips, json_array_get(made.skips, 1));
            before = json_integer_value(json_object_get(json_array_get(made.skips, 1), "count"));
            result = audit(start_ms, now_ms, now_ms, NULL);
            assert_int_equal(number(result, "range_count"), 1);
            assert_int_equal(number(result, "doubled_count"), before);
            json_decref(result);
        }
        for (int i = 0; i < 5; i++) {
            schedule_free(keepers[i].schedule);
            job_unref(keepers[i].job);
        }
        tear_down(NULL);
        set_up(NULL);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_bookkeeper),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
