/* The audit: what it must find, what it must not, and that it agrees with a bookkeeper who makes no mistakes.
 */
#include "jobs/audit/audit.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/definition/job.h"
#include "jobs/history/store_db.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"
#include "jobs/time/zoneinfo.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

/* ---- a history in the making ---- */

static struct versions_maker {
    json_t *runs, *skips, *records, *unfinished, *pruned, *gaps, *copied, *ends;
    int index;
} m;

static int64_t ms(const char *time)
{
    int64_t value;

    assert_int_equal(instant_parse(time, &value, NULL), 0);
    return value;
}

static int set_up(void **state)
{
    m = (struct versions_maker){json_array(), json_array(), json_array(),
                                json_array(), json_array(), json_array(),
                                json_array(), json_array(), 0};
    return 0;
}

static int tear_down(void **state)
{
    json_decref(m.runs);
    json_decref(m.skips);
    json_decref(m.records);
    json_decref(m.unfinished);
    json_decref(m.pruned);
    json_decref(m.gaps);
    json_decref(m.copied);
    json_decref(m.ends);
    return 0;
}

static void add_record(int64_t time_ms, const char *kind, json_t *record)
{
    json_array_append_new(m.records,
                          json_pack("{s:i,s:i,s:I,s:i,s:s,s:o}", "index", ++m.index, "seq", 0, "time",
                                    (json_int_t)time_ms, "epoch", 1, "kind", kind, "record", record));
}

static int version;

static void add_job_at(int64_t time_ms, const char *job, const char *def)
{
    json_t *json = json_loads(def, 0, NULL);

    assert_non_null(json);
    add_record(time_ms, "job",
               json_pack("{s:s,s:i,s:o,s:i,s:I,s:I}", "job", job, "version", ++version, "def", json, "seed",
                         7, "anchor", (json_int_t)time_ms / 1000 * 1000, "cursor", (json_int_t)time_ms));
}

static void add_run_at(const char *job, int64_t at_ms, const char *state, const char *cause)
{
    char id[RUN_ID_MAX];

    run_id_format(job, at_ms, false, id);
    json_array_append_new(m.runs, json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "run", id, "job", job, "at",
                                            (json_int_t)at_ms, "fire", (json_int_t)at_ms, "state", state,
                                            "verdict", "succeeded", "cause", cause));
}

static void add_range(json_t *to, const char *job, int64_t from_ms, int64_t to_ms, int64_t count,
                      const char *reason)
{
    json_array_append_new(to,
                          json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:I}", "job", job, "from", (json_int_t)from_ms,
                                    "to", (json_int_t)to_ms, "count", (json_int_t)count, "reason", reason,
                                    "text", "", "time", (json_int_t)to_ms));
}

static json_t *history_json(void)
{
    return json_pack("{s:O,s:O,s:O,s:O,s:O,s:O,s:O,s:O}", "ends", m.ends, "runs", m.runs, "skips", m.skips,
                     "records", m.records, "unfinished", m.unfinished, "pruned", m.pruned, "gaps", m.gaps,
                     "copied", m.copied);
}

static json_t *audit(int64_t since_ms, int64_t until_ms, int64_t now_ms, struct zone_source *zones)
{
    struct audit_options o = {since_ms, until_ms, now_ms, 60000, NULL};
    struct error error = {0};
    json_t *history = history_json(), *result = NULL;

    if (audit_check(history, &o, zones, &result, &error) < 0)
        fail_msg("%s", error.text);
    json_decref(history);
    return result;
}

static json_int_t number(const json_t *result, const char *key)
{
    json_t *value = json_object_get(result, key);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* "fire_times runs skipped pruned open | unaccounted doubled ranges" */
static void assert_numbers_of(json_t *result, const char *expected, const char *name)
{
    char text[256];

    snprintf(text, sizeof(text), "%lld %lld %lld %lld %lld | %lld %lld %lld", number(result, "fire_times"),
             number(result, "runs"), number(result, "skipped"), number(result, "pruned"),
             number(result, "open"), number(result, "unaccounted_count"), number(result, "doubled_count"),
             number(result, "range_count"));
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, not %s: %s", name, text, expected, json_dumps(result, JSON_INDENT(2)));
    json_decref(result);
}

static void assert_numbers(json_t *result, const char *expected)
{
    assert_numbers_of(result, expected, "");
}

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

#define HOURLY "{\"schedule\":[\"0 * * * *\"]}"

static int64_t day_ms(const char *hour)
{
    char text[40];

    snprintf(text, sizeof(text), "2026-11-22T%s%sZ", hour, strlen(hour) == 5 ? ":00" : "");
    return ms(text);
}

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
        add_range(m.skips, job, at, to, s->count, "coalesced");
        break;
    case PRUNED:
        add_range(m.pruned, job, at, to, s->count, "");
        break;
    case UNRESOLVED:
        json_array_append_new(m.unfinished, json_pack("{s:s,s:s,s:I,s:s}", "run", "x", "job", job, "at",
                                                      (json_int_t)at, "state", "unresolved"));
        break;
    case GAP:
        json_array_append_new(m.gaps, json_pack("{s:I,s:I}", "from", (json_int_t)at, "to", (json_int_t)to));
        break;
    case COPIED:
        json_array_append_new(m.copied, json_pack("{s:I,s:I}", "from", (json_int_t)at, "to", (json_int_t)to));
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

        version = 0;
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
    add_range(m.skips, "a", o.since_ms + 1000, o.until_ms, 1, "missed");
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

/* ---- a bookkeeper who makes no mistakes, and mistakes put in on purpose ---- */

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
            add_range(m.skips, k->name, at * 1000, last * 1000, count, k->paused ? "paused" : "overlap");
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
        json_t *result;
        json_int_t all = 0, before;
        size_t pick;

        version = 0;
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
        pick = (size_t)below((int64_t)json_array_size(m.runs));
        if (json_integer_value(json_object_get(json_array_get(m.runs, pick), "at")) + 60000 < now_ms) {
            json_array_remove(m.runs, pick);
            result = audit(start_ms, now_ms, now_ms, NULL);
            assert_int_equal(number(result, "unaccounted_count"), 1);
            json_decref(result);
        }
        /* a range counts one more, and another is there twice */
        if (json_array_size(m.skips) > 1) {
            json_t *range = json_array_get(m.skips, 0);

            json_object_set_new(range, "count",
                                json_integer(json_integer_value(json_object_get(range, "count")) + 1));
            json_array_append(m.skips, json_array_get(m.skips, 1));
            before = json_integer_value(json_object_get(json_array_get(m.skips, 1), "count"));
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

/* ---- a journal that was lost, or that was written twice ---- */

static void test_a_lost_time_and_its_runs_are_one_account(void **state)
{
    add_job_at(day_ms("00:00"), "a", HOURLY);
    for (int i = 1; i <= 3; i++)
        add_run_at("a", day_ms("00:00") + i * HOUR, "ended", "schedule");
    add_range(m.skips, "a", day_ms("02:00"), day_ms("06:00"), 5, "journal-lost");
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
    json_array_append_new(m.ends, json_pack("{s:s,s:i}", "run", id, "count", 2));
    assert_numbers(audit(day_ms("00:00"), day_ms("10:30"), day_ms("12:00"), NULL), "10 10 0 0 0 | 0 1 0");
    assert_numbers(audit(day_ms("04:00"), day_ms("10:30"), day_ms("12:00"), NULL), "6 6 0 0 0 | 0 0 0");
}

/* ---- with the real store, and pruning ---- */

static char dir[64];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static void write_minutely(struct store_db *db, int64_t start_ms, int minutes, int forget)
{
    for (int i = 0; i <= minutes; i++) {
        struct history_write *w = alloc_zero(sizeof(*w));
        struct error error = {0};
        char text[512], id[RUN_ID_MAX];

        w->index = (uint64_t)i + 1;
        w->epoch = 1;
        w->time_ms = start_ms + i * 60000;
        if (i == 0) {
            w->records = alloc_zero(sizeof(*w->records));
            w->record_count = 1;
            snprintf(text, sizeof(text),
                     "{\"k\":\"job\",\"job\":\"a\",\"version\":1,\"def\":{\"schedule\":[\"* * * * "
                     "*\"]},\"seed\":1,"
                     "\"anchor\":%lld,\"cursor\":%lld}",
                     (long long)start_ms, (long long)start_ms);
            w->records[0] =
                (struct history_record){alloc_text("job"), alloc_text("a"), NULL, alloc_text(text)};
        } else if (i % 100 == 50) {
            w->skips = alloc_zero(sizeof(*w->skips));
            w->skip_count = 1;
            w->skips[0] = (struct history_skip){alloc_text("a"),       w->time_ms,     w->time_ms, 1,
                                                alloc_text("overlap"), alloc_text(""), w->time_ms};
        } else if (i != forget) {
            w->runs = alloc_zero(sizeof(*w->runs));
            w->run_count = 1;
            w->runs[0] = (struct history_run){
                .run = alloc_text(run_id_format("a", w->time_ms, false, id)),
                .job = alloc_text("a"),
                .at_ms = w->time_ms,
                .fire_ms = w->time_ms,
                .state = alloc_text("ended"),
                .verdict = alloc_text("succeeded"),
                .over = true,
                .ended_ms = w->time_ms + 5000,
                .json = alloc_text("{\"cause\":\"schedule\"}"),
            };
        }
        if (store_db_write(db, w, 1, false, &error) < 0)
            fail_msg("%s", error.text);
        history_write_free(w);
    }
}

static json_t *audit_store(const char *path, int64_t since_ms, int64_t until_ms, int64_t now_ms)
{
    struct history_query q = {.kind = HISTORY_AUDIT, .since_ms = since_ms, .until_ms = until_ms};
    struct audit_options o = {since_ms, until_ms, now_ms, 60000, NULL};
    sqlite3 *reader;
    json_t *history = NULL, *result = NULL;

    assert_int_equal(store_reader_open(&reader, path, NULL), 0);
    assert_int_equal(store_query(reader, &q, &history, NULL), 0);
    assert_int_equal(audit_check(history, &o, NULL, &result, NULL), 0);
    json_decref(history);
    sqlite3_close(reader);
    return result;
}

static void prune_all(struct store_db *db, int keep, int64_t older_than_ms)
{
    struct store_removed removed;
    bool more = true;

    while (more) {
        assert_int_equal(store_db_prune(db, "a", keep, older_than_ms, &removed, &more, NULL), 0);
        store_removed_release(&removed);
    }
}

/* Three days of minutes, of which some hundred runs are kept: the audit of any part of it still adds up. */
static void test_pruned_store(void **state)
{
    const int minutes = 3000;
    int64_t start_ms = day_ms("00:00"), now_ms = start_ms + minutes * 60000 + 30000;
    char path[96];

    for (int forget = 0; forget <= 1; forget++) {
        struct store_db *db;

        snprintf(dir, sizeof(dir), "/tmp/cronsched-audit-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/history.db", dir);
        assert_int_equal(store_db_open(&db, path, NULL), 0);
        write_minutely(db, start_ms, minutes, forget ? 1234 : -1);
        assert_numbers(audit_store(path, start_ms, now_ms, now_ms),
                       forget ? "3000 2969 30 0 0 | 1 0 0" : "3000 2970 30 0 0 | 0 0 0");
        prune_all(db, 100, start_ms + 500 * 60000);
        assert_numbers(audit_store(path, start_ms, now_ms, now_ms),
                       forget ? "3000 100 25 2874 0 | 1 0 0" : "3000 100 25 2875 0 | 0 0 0");
        /* parts: within one pruned day, across two, beside them */
        assert_numbers(audit_store(path, start_ms + 2 * HOUR, start_ms + 3 * HOUR, now_ms),
                       forget ? "60 0 0 59 0 | 1 0 0"
                              : "60 0 0 60 0 | 0 0 0"); /* a pruned day is judged as a whole */
        assert_numbers(audit_store(path, start_ms + 23 * HOUR, start_ms + 25 * HOUR, now_ms),
                       forget ? "120 0 1 118 0 | 1 0 0" : "120 0 1 119 0 | 0 0 0");
        assert_numbers(audit_store(path, now_ms - HOUR, now_ms, now_ms), "60 59 1 0 0 | 0 0 0");
        store_db_close(db);
        nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
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
        T(test_bookkeeper),
        T(test_pruned_store),
        T(test_a_lost_time_and_its_runs_are_one_account),
        T(test_two_ends_of_one_attempt_are_doubled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
