/* The audit: what it must find, and what it must not. */
#include "jobs/audit/audit.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/audit_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- cases written out: an hourly job from midnight, audited at 10:30 ---- */

struct step {
    enum {
        END,
        JOB,
        DELETE,
        PAUSE,
        RESUME,
        RUN,
        OPEN,
        SKIPPED_ROW,
        BACKFILL,
        SKIP,
        PRUNED,
        UNRESOLVED,
        GAP,
        COPIED,
        TZ
    } what;
    const char *at, *to; /* HH:MM[:SS] */
    int count;           /* runs at every hour from at to `to`; ranges: their count */
    const char *job;     /* NULL: "a"; "*": all, of a pause */
    const char *def;     /* NULL: hourly */
};

static void take_step(const struct step *s)
{
    static const char *const states[] = {
        [RUN] = "ended", [OPEN] = "running", [SKIPPED_ROW] = "skipped", [BACKFILL] = "ended"};
    const char *job = s->job ? s->job : "a";
    int64_t at = day_ms(s->at), to = s->to ? day_ms(s->to) : at;
    json_t *pause = strcmp(job, "*") == 0 ? json_object() : json_pack("{s:s}", "job", job);

    switch (s->what) {
    case JOB:
        add_job_at(at, job, s->def ? s->def : HOURLY);
        break;
    case DELETE:
        add_record(at, "delete", json_pack("{s:s}", "job", job));
        break;
    case PAUSE:
        if (s->to)
            json_object_set_new(pause, "until", json_integer(to));
        add_record(at, "pause", json_incref(pause));
        break;
    case RESUME:
        add_record(at, "resume", json_incref(pause));
        break;
    case RUN:
    case OPEN:
    case SKIPPED_ROW:
    case BACKFILL:
        for (; at <= to; at += HOUR)
            add_run_at(job, at, states[s->what], s->what == BACKFILL ? "backfill" : "schedule");
        break;
    case SKIP:
        add_range(made.skips, job, at, to, s->count, "coalesced");
        break;
    case PRUNED:
        add_range(made.pruned, job, at, to, s->count, "");
        break;
    case UNRESOLVED:
        json_array_append_new(made.unfinished, json_pack("{s:s,s:s,s:I,s:s}", "run", "x", "job", job, "at",
                                                         (json_int_t)at, "state", "unresolved"));
        break;
    case GAP:
        json_array_append_new(made.gaps,
                              json_pack("{s:I,s:I}", "from", (json_int_t)at, "to", (json_int_t)to));
        break;
    case COPIED:
        json_array_append_new(made.copied,
                              json_pack("{s:I,s:I}", "from", (json_int_t)at, "to", (json_int_t)to));
        break;
    case TZ:
        add_record(at, "tzdata", json_pack("{s:s}", "tzdata", "2026g"));
        break;
    default:
        fail();
    }
    json_decref(pause);
}

static void test_cases(void **state)
{
    static const struct {
        const char *name;
        struct step steps[12];
        const char *numbers; /* over (00:00, 10:30] */
        const char *why;     /* of the first finding */
        const char *fire_time;
    } cases[] = {
        {"all ran", {{JOB, "00:00"}, {RUN, "01:00", "10:00"}}, "10 10 0 0 0 | 0 0 0"},
        {"never defined", {{END}}, "0 0 0 0 0 | 0 0 0"},
        {"one was forgotten",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {RUN, "06:00", "10:00"}},
         "10 9 0 0 0 | 1 0 0",
         "no run and no skip",
         "2026-11-22T05:00:00Z"},
        {"all were forgotten",
         {{JOB, "00:00"}},
         "10 0 0 0 0 | 10 0 0",
         "no run and no skip",
         "2026-11-22T01:00:00Z"},
        {"one runs still", {{JOB, "00:00"}, {RUN, "01:00", "09:00"}, {OPEN, "10:00"}}, "10 9 0 0 1 | 0 0 0"},
        {"an outage, one run for it",
         {{JOB, "00:00"}, {RUN, "01:00", "03:00"}, {SKIP, "04:00", "07:00", 4}, {RUN, "08:00", "10:00"}},
         "10 6 4 0 0 | 0 0 0"},
        {"a range that counts too few",
         {{JOB, "00:00"}, {RUN, "01:00", "03:00"}, {SKIP, "04:00", "07:00", 3}, {RUN, "08:00", "10:00"}},
         "10 6 4 0 0 | 0 0 1"},
        {"a range that counts too many",
         {{JOB, "00:00"}, {RUN, "01:00", "03:00"}, {SKIP, "04:00", "07:00", 5}, {RUN, "08:00", "10:00"}},
         "10 6 4 0 0 | 0 0 1"},
        {"a range and a run",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {SKIP, "04:00", "07:00", 4}, {RUN, "08:00", "10:00"}},
         "10 7 3 0 0 | 0 1 0",
         "a run, and 1 skipped range",
         "2026-11-22T04:00:00Z"},
        {"two ranges",
         {{JOB, "00:00"},
          {RUN, "01:00", "03:00"},
          {SKIP, "04:00", "07:00", 4},
          {SKIP, "07:00", "07:00", 1},
          {RUN, "08:00", "10:00"}},
         "10 6 4 0 0 | 0 1 0",
         "2 skipped ranges",
         "2026-11-22T07:00:00Z"},
        {"a skipped one's row beside its skip",
         {{JOB, "00:00"}, {RUN, "01:00", "09:00"}, {SKIPPED_ROW, "10:00"}, {SKIP, "10:00", "10:00", 1}},
         "10 9 1 0 0 | 0 0 0"},
        {"a skipped one's row alone",
         {{JOB, "00:00"}, {RUN, "01:00", "09:00"}, {SKIPPED_ROW, "10:00"}},
         "10 9 1 0 0 | 0 0 0"},
        {"a backfill makes good a skip",
         {{JOB, "00:00"}, {RUN, "01:00", "08:00"}, {BACKFILL, "09:00"}, {SKIP, "09:00", "10:00", 2}},
         "10 8 2 0 0 | 0 0 0"},
        {"a backfill where nothing was",
         {{JOB, "00:00"}, {RUN, "01:00", "09:00"}, {BACKFILL, "10:00"}},
         "10 10 0 0 0 | 0 0 0"},
        {"defined at 04:30", {{JOB, "04:30"}, {RUN, "05:00", "10:00"}}, "6 6 0 0 0 | 0 0 0"},
        {"deleted at 04:30",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {DELETE, "04:30"}},
         "4 4 0 0 0 | 0 0 0"},
        {"deleted, and made again",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {DELETE, "04:30"},
          {JOB, "07:30"},
          {RUN, "08:00", "10:00"}},
         "7 7 0 0 0 | 0 0 0"},
        {"edited: every two hours from 04:30 on",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {JOB, "04:30", .def = "{\"schedule\":[\"0 */2 * * *\"]}"},
          {RUN, "06:00"},
          {RUN, "08:00"},
          {RUN, "10:00"}},
         "7 7 0 0 0 | 0 0 0"},
        {"edited, and the old definition's last one forgotten",
         {{JOB, "00:00"},
          {RUN, "01:00", "03:00"},
          {JOB, "04:30", .def = "{\"schedule\":[\"0 */2 * * *\"]}"},
          {RUN, "06:00"},
          {RUN, "08:00"},
          {RUN, "10:00"}},
         "7 6 0 0 0 | 1 0 0",
         "no run and no skip",
         "2026-11-22T04:00:00Z"},
        {"paused, and still",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30"}},
         "10 4 0 0 6 | 0 0 0"},
        {"all paused, and still",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30", .job = "*"}},
         "10 4 0 0 6 | 0 0 0"},
        {"another job is paused",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30", .job = "b"}},
         "10 4 0 0 0 | 6 0 0",
         "no run and no skip",
         "2026-11-22T05:00:00Z"},
        {"paused in its file",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {JOB, "04:30", .def = "{\"schedule\":[\"0 * * * *\"],\"paused\":true}"}},
         "10 4 0 0 6 | 0 0 0"},
        {"paused and resumed",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {PAUSE, "04:30"},
          {SKIP, "05:00", "08:00", 4},
          {RESUME, "08:10"},
          {RUN, "09:00", "10:00"}},
         "10 6 4 0 0 | 0 0 0"},
        {"paused and resumed, and nothing recorded",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {PAUSE, "04:30"},
          {RESUME, "08:10"},
          {RUN, "09:00", "10:00"}},
         "10 6 0 0 0 | 4 0 0",
         "though its job was paused and the pause has ended",
         "2026-11-22T05:00:00Z"},
        {"paused until 08:30, and resumed by that",
         {{JOB, "00:00"},
          {RUN, "01:00", "04:00"},
          {PAUSE, "04:30", "08:30"},
          {SKIP, "05:00", "08:00", 4},
          {RESUME, "08:30:01"},
          {RUN, "09:00", "10:00"}},
         "10 6 4 0 0 | 0 0 0"},
        {"paused until 08:30, and nobody saw to it",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30", "08:30"}},
         "10 4 0 0 0 | 6 0 0",
         "no run and no skip",
         "2026-11-22T05:00:00Z"},
        {"paused until 10:30: just now",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30", "10:29:30"}},
         "10 4 0 0 6 | 0 0 0"},
        {"paused, then edited without accounting first",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {PAUSE, "04:30"}, {JOB, "06:30"}},
         "10 4 0 0 4 | 2 0 0",
         "though its job was paused",
         "2026-11-22T05:00:00Z"},
        {"a run that nobody can settle holds up the rest",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {OPEN, "05:00"}, {UNRESOLVED, "05:00"}},
         "10 4 0 0 6 | 0 0 0"},
        {"a definition that cannot be read",
         {{JOB, "00:00", .def = "{\"schedule\":[\"0 25 * * *\"]}"}},
         "0 0 0 0 0 | 1 0 0",
         "of the job cannot be read any more: ",
         "2026-11-22T00:00:00Z"},
        {"no schedule", {{JOB, "00:00", .def = "{\"image\":\"x\"}"}}, "0 0 0 0 0 | 0 0 0"},
        {"pruned",
         {{JOB, "00:00"}, {PRUNED, "01:00", "06:00", 6}, {RUN, "07:00", "10:00"}},
         "10 4 0 6 0 | 0 0 0"},
        {"pruned around one that is there",
         {{JOB, "00:00"}, {PRUNED, "01:00", "06:00", 5}, {OPEN, "03:00"}, {RUN, "07:00", "10:00"}},
         "10 4 0 5 1 | 0 0 0"},
        {"pruned, and one had been forgotten",
         {{JOB, "00:00"}, {PRUNED, "01:00", "06:00", 5}, {RUN, "07:00", "10:00"}},
         "10 4 0 5 0 | 1 0 0",
         "1 fire times had no run and no skip",
         "2026-11-22T01:00:00Z"},
        {"pruned, and one had been doubled",
         {{JOB, "00:00"}, {PRUNED, "01:00", "06:00", 7}, {RUN, "07:00", "10:00"}},
         "10 4 0 6 0 | 0 1 0",
         "1 runs or skips were pruned beyond what the schedule implies",
         "2026-11-22T01:00:00Z"},
        {"pruned, and the counts of another replica came with what was copied later",
         {{JOB, "00:00"}, {PRUNED, "01:00", "06:00", 7}, {RUN, "07:00", "10:00"}, {COPIED, "09:00", "09:10"}},
         "10 4 0 6 0 | 0 0 0"},
        {"pruned, and one had been doubled after what was copied",
         {{JOB, "00:00"}, {COPIED, "00:10", "00:20"}, {PRUNED, "01:00", "06:00", 7}, {RUN, "07:00", "10:00"}},
         "10 4 0 6 0 | 0 1 0",
         "1 runs or skips were pruned beyond what the schedule implies",
         "2026-11-22T01:00:00Z"},
        {"pruned days that overlap",
         {{JOB, "00:00"},
          {PRUNED, "01:00", "04:00", 3},
          {PRUNED, "02:00", "06:00", 3},
          {RUN, "07:00", "10:00"}},
         "10 4 0 6 0 | 0 0 0"},
        {"a gap in the history",
         {{JOB, "00:00"}, {RUN, "01:00", "04:00"}, {GAP, "04:30", "06:30"}, {RUN, "07:00", "10:00"}},
         "10 8 0 0 0 | 2 0 0",
         "this history lacks batches of that time",
         "2026-11-22T05:00:00Z"},
        {"new zone data since",
         {{JOB, "00:00"}, {RUN, "01:00", "09:00"}, {TZ, "10:10"}},
         "10 9 0 0 0 | 1 0 0",
         "the time zone data has changed since, to 2026g",
         "2026-11-22T10:00:00Z"},
        {"jitter: not late yet",
         {{JOB, "00:00", .def = "{\"schedule\":[\"29 10 * * *\"],\"jitter\":\"1h\"}"}},
         "1 0 0 0 1 | 0 0 0"},
        {"just due",
         {{JOB, "00:00", .def = "{\"schedule\":[\"*/30 10 * * *\"]}"}, {RUN, "10:00"}},
         "2 1 0 0 1 | 0 0 0"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const char *const lists[] = {"unaccounted", "doubled"};
        json_t *result, *first = NULL;

        for (const struct step *s = cases[i].steps; s < cases[i].steps + 12 && s->what != END; s++)
            take_step(s);
        result = audit(day_ms("00:00"), day_ms("12:00"), day_ms("10:30"), NULL);
        for (size_t k = 0; k < 2; k++)
            first = first ? first : json_array_get(json_object_get(result, lists[k]), 0);
        if (cases[i].why) {
            assert_non_null(strstr(json_string_value(json_object_get(first, "why")), cases[i].why));
            assert_string_equal(json_string_value(json_object_get(first, "fire_time")), cases[i].fire_time);
            assert_string_equal(json_string_value(json_object_get(first, "job")), "a");
        } else {
            assert_null(first);
        }
        assert_int_equal(audit_passed(result), !cases[i].why && number(result, "range_count") == 0);
        assert_int_equal(number(result, "paused"),
                         strstr(cases[i].name, "paused") ? number(result, "open") : 0);
        assert_numbers_of(result, cases[i].numbers, cases[i].name);
        tear_down(NULL);
        set_up(NULL);
    }
}

static void test_window_is_open_below_and_closed_above(void **state)
{
    add_job_at(day_ms("00:00"), "a", HOURLY);
    take_step(&(struct step){RUN, "01:00", "10:00"});
    assert_numbers(audit(day_ms("03:00"), day_ms("05:00"), day_ms("10:30"), NULL), "2 2 0 0 0 | 0 0 0");
    assert_numbers(audit(day_ms("03:00") - 1, day_ms("05:00") - 1, day_ms("10:30"), NULL),
                   "2 2 0 0 0 | 0 0 0");
    assert_numbers(audit(day_ms("05:00"), day_ms("05:00"), day_ms("10:30"), NULL), "0 0 0 0 0 | 0 0 0");
}

/* A range that reaches beyond the time asked for is recomputed in full, but only its part in it is counted.
 */
static void test_range_across_the_edge(void **state)
{
    add_job_at(day_ms("00:00"), "a", HOURLY);
    take_step(&(struct step){SKIP, "01:00", "10:00", 10});
    assert_numbers(audit(day_ms("03:30"), day_ms("05:30"), day_ms("10:30"), NULL), "2 0 2 0 0 | 0 0 0");
}

/* For some seconds the clock was hours ahead: what it passed over and what then came without a run is not accounted for. */
static void test_a_clock_that_was_ahead_accounts_for_nothing(void **state)
{
    add_job_at(day_ms("00:00"), "a", HOURLY);
    take_step(&(struct step){SKIP, "01:00", "10:00", 10}); /* as decided at 10:00 */
    add_run_at("a", day_ms("02:00"), "ended", "backfill"); /* one was made good */
    assert_numbers(audit(day_ms("00:30"), day_ms("03:30"), day_ms("03:30"), NULL), "3 0 1 0 0 | 2 0 0");
}

static void test_findings_are_bounded(void **state)
{
    json_t *result;

    add_job_at(day_ms("00:00"), "a", "{\"schedule\":[\"* * * * * *\"]}");
    result = audit(day_ms("00:00"), day_ms("05:00"), day_ms("10:30"), NULL);
    assert_int_equal(json_array_size(json_object_get(result, "unaccounted")), AUDIT_FINDINGS_MAX);
    assert_numbers(result, "18000 0 0 0 0 | 18000 0 0");
}

static void test_too_many_fire_times(void **state)
{
    struct audit_options o = {ms("2000-01-01T00:00:00Z"), ms("2026-01-01T00:00:00Z"),
                              ms("2026-01-01T00:00:00Z"), 0, NULL};
    struct error error = {0};
    json_t *history, *result;

    add_job_at(o.since_ms, "a", "{\"schedule\":[\"* * * * * *\"]}");
    add_range(made.skips, "a", o.since_ms + 1000, o.until_ms, 1, "missed");
    history = history_json();
    assert_int_equal(audit_check(history, &o, NULL, &result, &error), ERR_LIMIT);
    assert_non_null(strstr(error.text, "ask for less time"));
    json_decref(history);
}

static void test_no_answer_of_history(void **state)
{
    static const char *const bad[] = {"{}", "[]", "{\"records\":[],\"runs\":[{\"job\":\"a\"}]}",
                                      "{\"records\":[],\"skips\":[7]}"};
    struct audit_options o = {0, 1, 1, 0, NULL};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *history = json_loads(bad[i], 0, NULL), *result;

        assert_int_equal(audit_check(history, &o, NULL, &result, NULL), ERR_CORRUPT);
        json_decref(history);
    }
}

/* Two nights of a zone change: the gap has its run at its end, the overlap one run. */
static void test_dst(void **state)
{
    struct zoneinfo *zones;

    assert_int_equal(zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL), 0);
    add_job_at(ms("2026-03-28T12:00:00Z"), "a",
               "{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}");
    add_run_at("a", ms("2026-03-29T01:00:00Z"), "ended", "schedule");
    add_run_at("a", ms("2026-03-30T00:30:00Z"), "ended", "schedule");
    assert_numbers(audit(ms("2026-03-28T12:00:00Z"), ms("2026-03-30T12:00:00Z"), ms("2026-03-31T00:00:00Z"),
                         zoneinfo_source(zones)),
                   "2 2 0 0 0 | 0 0 0");
    tear_down(NULL);
    set_up(NULL);
    add_job_at(ms("2026-10-24T12:00:00Z"), "a",
               "{\"schedule\":[\"30 2 * * *\"],\"timezone\":\"Europe/Paris\"}");
    add_run_at("a", ms("2026-10-25T00:30:00Z"), "ended", "schedule");
    add_run_at("a", ms("2026-10-26T01:30:00Z"), "ended", "schedule");
    assert_numbers(audit(ms("2026-10-24T12:00:00Z"), ms("2026-10-26T12:00:00Z"), ms("2026-10-27T00:00:00Z"),
                         zoneinfo_source(zones)),
                   "2 2 0 0 0 | 0 0 0");
    zoneinfo_free(zones);
}

/* ---- a journal that was lost, or that was written twice ---- */

static void test_a_lost_time_and_its_runs_are_one_account(void **state)
{
    add_job_at(day_ms("00:00"), "a", HOURLY);
    for (int i = 1; i <= 3; i++)
        add_run_at("a", day_ms("00:00") + i * HOUR, "ended", "schedule");
    add_range(made.skips, "a", day_ms("02:00"), day_ms("06:00"), 5, "journal-lost");
    for (int i = 7; i <= 10; i++)
        add_run_at("a", day_ms("00:00") + i * HOUR, "ended", "schedule");
    assert_numbers(audit(day_ms("00:00"), day_ms("10:30"), day_ms("12:00"), NULL), "10 7 3 0 0 | 0 0 0");
}

static void test_two_ends_of_one_attempt_are_doubled(void **state)
{
    char id[RUN_ID_MAX];

    add_job_at(day_ms("00:00"), "a", HOURLY);
    for (int i = 1; i <= 10; i++)
        add_run_at("a", day_ms("00:00") + i * HOUR, "ended", "schedule");
    run_id_format("a", day_ms("04:00"), false, id);
    json_array_append_new(made.ends, json_pack("{s:s,s:i}", "run", id, "count", 2));
    assert_numbers(audit(day_ms("00:00"), day_ms("10:30"), day_ms("12:00"), NULL), "10 10 0 0 0 | 0 1 0");
    assert_numbers(audit(day_ms("04:00"), day_ms("10:30"), day_ms("12:00"), NULL), "6 6 0 0 0 | 0 0 0");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_cases),
        T(test_window_is_open_below_and_closed_above),
        T(test_a_clock_that_was_ahead_accounts_for_nothing),
        T(test_range_across_the_edge),
        T(test_findings_are_bounded),
        T(test_too_many_fire_times),
        T(test_no_answer_of_history),
        T(test_dst),
        T(test_a_lost_time_and_its_runs_are_one_account),
        T(test_two_ends_of_one_attempt_are_doubled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
