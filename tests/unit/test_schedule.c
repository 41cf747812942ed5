/* Schedules as a whole: the worked examples of the DST rules, known failures of other engines, intervals,
 * windows, exclusions, unions, jitter. */
#include "jobs/time/schedule.h"

#include "jobs/time/civil.h"
#include "jobs/time/zone.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/naive_cron.h"
#include "tests/support/schedule_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The next fire times as "MM-DDThh:mm ..." of the year of the first wanted one. */
static void check_nexts(const char *text, const struct schedule_options *options, const char *after,
                        const char *wanted)
{
    struct schedule *schedule = compile(text, options);
    int64_t at = instant(after), first = SCHEDULE_NEVER;
    char got[1024] = "", copy[1024];
    size_t n = 0;

    snprintf(copy, sizeof(copy), "%s", wanted);
    for (char *rest = copy, *word; (word = strsep(&rest, " "));) {
        int64_t next = schedule_next(schedule, at);
        struct civil c;

        if (strcmp(word, "never") == 0) {
            if (next != SCHEDULE_NEVER)
                fail_msg("'%s' after %s goes on at %lld", text, after, (long long)next);
            n += (size_t)snprintf(got + n, sizeof(got) - n, "%snever", n ? " " : "");
            break;
        }
        if (next == SCHEDULE_NEVER)
            fail_msg("'%s' after %s ends early, behind '%s'", text, after, got);
        if (first == SCHEDULE_NEVER)
            first = next;
        else if (schedule_prev(schedule, next) != at)
            fail_msg("'%s': prev of %lld", text, (long long)next);
        assert_true(schedule_match(schedule, next));
        civil_from_seconds(next, &c);
        n += (size_t)snprintf(got + n, sizeof(got) - n,
                              c.second ? "%s%02d-%02dT%02d:%02d:%02d" : "%s%02d-%02dT%02d:%02d", n ? " " : "",
                              c.month, c.day, c.hour, c.minute, c.second);
        at = next;
    }
    if (strcmp(got, wanted) != 0)
        fail_msg("'%s' in %s after %s:\n%s\nnot\n%s", text, options->zone, after, got, wanted);
    schedule_free(schedule);
}

/* ---- DST ---- */

static const struct {
    const char *text, *zone, *after, *next;
} worked[] = {
    {"30 2 * * *", "America/New_York", "2025-03-08T12:00Z", "03-09T07:00 03-10T06:30 03-11T06:30"},
    {"15,45 2 * * *", "America/New_York", "2025-03-08T12:00Z", "03-09T07:00 03-10T06:15 03-10T06:45"},
    {"0,30 2,3 * * *", "America/New_York", "2025-03-09T00:00Z", "03-09T07:00 03-09T07:30 03-10T06:00"},
    {"*/20 2 * * *", "America/New_York", "2025-03-08T12:00Z", "03-10T06:00 03-10T06:20 03-10T06:40"},
    {"*/30 * * * *", "America/New_York", "2025-03-09T05:59Z",
     "03-09T06:00 03-09T06:30 03-09T07:00 03-09T07:30"},
    {"0 */2 * * *", "America/New_York", "2025-03-09T04:00Z", "03-09T05:00 03-09T08:00 03-09T10:00"},
    {"30 1 * * *", "America/New_York", "2025-11-02T00:00Z", "11-02T05:30 11-03T06:30"},
    {"30 1 * * *", "America/New_York", "2025-11-02T05:45Z", "11-03T06:30"},
    {"*/30 * * * *", "America/New_York", "2025-11-02T05:00Z",
     "11-02T05:30 11-02T06:00 11-02T06:30 11-02T07:00"},
    {"*/20 1 * * *", "America/New_York", "2025-11-02T05:00Z",
     "11-02T05:20 11-02T05:40 11-02T06:00 11-02T06:20 11-02T06:40 11-03T06:00"},
    {"0 0-3 * * *", "America/New_York", "2025-11-02T03:59Z",
     "11-02T04:00 11-02T05:00 11-02T07:00 11-02T08:00"},
    {"15 2 * * *", "Australia/Lord_Howe", "2025-10-04T00:00Z", "10-04T15:30 10-05T15:15"},
    {"45 1 * * *", "Australia/Lord_Howe", "2025-04-05T00:00Z", "04-05T14:45 04-06T15:15"},
    {"0 * * * *", "Australia/Lord_Howe", "2025-04-05T13:00Z", "04-05T14:00 04-05T15:30 04-05T16:30"},
    {"0 2 * * *", "Antarctica/Troll", "2025-03-29T12:00Z", "03-30T01:00 03-31T00:00"},
    {"0 2 * * *", "Antarctica/Troll", "2025-10-25T12:00Z", "10-26T00:00 10-27T02:00"},
    {"0 9 * * *", "Pacific/Apia", "2011-12-28T20:00Z", "12-29T19:00 12-30T19:00"},
    {"0 0 * * *", "America/Havana", "2025-03-08T12:00Z", "03-09T05:00 03-10T04:00"},
    {"0 0 * * *", "America/Havana", "2025-11-01T12:00Z", "11-02T04:00 11-03T05:00"},
    {"30 2 * * *", "Africa/Casablanca", "2025-04-05T12:00Z", "04-06T02:00 04-07T01:30"},
    /* what other engines get wrong */
    {"0 0 29 2 *", "UTC", "2096-03-01T00:00Z", "02-29T00:00"},
    {"38 20 27 4 *", "Africa/Cairo", "2029-04-01T00:00Z", "04-27T17:38"},
    {"32 0 3 10 *", "America/Asuncion", "2021-10-02T22:26Z", "10-03T04:00 10-03T03:32 10-03T03:32"},
    {"0 0 * * *", "Asia/Pyongyang", "2015-08-14T09:26Z", "08-14T15:30"},
    {"45 3 * * *", "Pacific/Chatham", "2020-09-26T08:26Z", "09-26T14:00"},
    {"*/15 * * * *", "Pacific/Chatham", "2018-03-31T12:00Z",
     "03-31T12:15 03-31T12:30 03-31T12:45 03-31T13:00 03-31T13:15 03-31T13:30 03-31T13:45 03-31T14:00 "
     "03-31T14:15 "
     "03-31T14:30 03-31T14:45 03-31T15:00"},
    {"*/15 * * * *", "America/Santiago", "2029-04-08T01:00Z",
     "04-08T01:15 04-08T01:30 04-08T01:45 04-08T02:00 04-08T02:15 04-08T02:30 04-08T02:45 04-08T03:00 "
     "04-08T03:15 "
     "04-08T03:30 04-08T03:45 04-08T04:00"},
    {"51 * * * *", "Antarctica/Casey", "2022-10-01T15:01Z",
     "10-01T15:51 10-01T16:51 10-01T17:51 10-01T18:51"},
    {"0,30 2,3 * * *", "Africa/Casablanca", "2026-03-21T01:00Z",
     "03-21T02:00 03-21T02:30 03-21T03:00 03-21T03:30 03-22T02:00 03-22T02:30 03-23T01:00"},
    {"quartz:0 0 0 1 JAN-JUN/2 ?", "UTC", "2026-01-01T00:00Z", "03-01T00:00 05-01T00:00 01-01T00:00"},
    {"0 2 * * *", "America/New_York", "2027-03-14T06:00Z", "03-14T07:00 03-15T06:00"},
    {"0 */2 * * *", "Europe/Lisbon", "2027-10-31T00:00Z", "10-31T02:00 10-31T04:00"},
};

static void worked_examples_come_out(void **state)
{
    for (size_t i = 0; i < COUNT(worked); i++) {
        struct schedule_options options = {.zone = worked[i].zone};

        check_nexts(worked[i].text, &options, worked[i].after, worked[i].next);
    }
}

static void the_other_policies_do_what_they_say(void **state)
{
    static const struct {
        const char *text;
        enum schedule_dst dst;
        const char *after, *next;
    } cases[] = {
        {"30 2 * * *", SCHEDULE_SKIP, "2025-03-08T12:00Z", "03-10T06:30"},
        {"30 1 * * *", SCHEDULE_SKIP, "2025-11-02T00:00Z", "11-02T05:30 11-03T06:30"},
        {"*/30 * * * *", SCHEDULE_SKIP, "2025-11-02T05:00Z", "11-02T05:30 11-02T07:00"},
        {"30 2 * * *", SCHEDULE_BOTH, "2025-03-08T12:00Z", "03-10T06:30"},
        {"30 1 * * *", SCHEDULE_BOTH, "2025-11-02T00:00Z", "11-02T05:30 11-02T06:30 11-03T06:30"},
        {"30 2 * * *", SCHEDULE_UTC, "2025-03-08T12:00Z", "03-09T02:30 03-10T02:30"},
        {"@at 2025-03-09T02:30:00", SCHEDULE_UTC, "2025-01-01T00:00Z", "03-09T02:30 never"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule_options options = {.zone = "America/New_York", .dst = cases[i].dst};

        check_nexts(cases[i].text, &options, cases[i].after, cases[i].next);
    }
}

/* ---- intervals ---- */

static void intervals_follow_from_their_start(void **state)
{
    static const struct {
        const char *text, *zone, *after, *next;
    } cases[] = {
        {"@every 15m", "Europe/Paris", "2026-03-29T00:40:01Z", "03-29T00:45 03-29T01:00 03-29T01:15"},
        {"@every 7h", "UTC", "2026-01-01T00:00Z", "01-01T07:00 01-01T14:00 01-01T21:00 01-02T04:00"},
        {"@every 1h30m from 2026-01-01T00:10:00Z", "UTC", "2025-01-01T00:00Z", "01-01T00:10 01-01T01:40"},
        {"@every 1h from 2026-07-01T00:30:00", "Asia/Kolkata", "2026-01-01T00:00Z",
         "06-30T19:00 06-30T20:00"},
        {"@at 2026-12-24T18:00:00", "Europe/Paris", "2026-01-01T00:00Z", "12-24T17:00 never"},
        {"@at 2026-12-24T18:00:00-05:00", "Europe/Paris", "2026-01-01T00:00Z", "12-24T23:00 never"},
        {"@at 2026-03-29T02:30:00", "Europe/Paris", "2026-01-01T00:00Z", "03-29T01:00 never"},
        {"@at 2026-10-25T02:30:00", "Europe/Paris", "2026-01-01T00:00Z", "10-25T00:30 never"},
        {"@at 2026-12-24T18:00:00Z", "UTC", "2026-12-24T18:00Z", "never"},
        {"R5/2026-01-01T00:00:00Z/PT24H", "UTC", "2025-01-01T00:00Z",
         "01-01T00:00 01-02T00:00 01-03T00:00 01-04T00:00 01-05T00:00 never"},
        {"R0/2026-01-01T00:00:00Z/PT24H", "UTC", "2025-01-01T00:00Z", "never"},
        {"R1/2026-01-01T00:00:00Z/P1D", "UTC", "2025-01-01T00:00Z", "01-01T00:00 never"},
        {"R/2026-01-31T09:00:00/P1M", "UTC", "2026-01-01T00:00Z",
         "01-31T09:00 02-28T09:00 03-31T09:00 04-30T09:00 05-31T09:00"}, /* the 31st comes back: no drift */
        {"R/2024-02-29T00:00:00Z/P1Y", "UTC", "2025-01-01T00:00Z",
         "02-28T00:00 02-28T00:00 02-28T00:00 02-29T00:00"},
        {"R/2026-03-28T02:30:00/P1D", "Europe/Paris", "2026-01-01T00:00Z",
         "03-28T01:30 03-29T01:00 03-30T00:30"},
        {"R/2026-10-24T02:30:00/P1D", "Europe/Paris", "2026-01-01T00:00Z",
         "10-24T00:30 10-25T00:30 10-26T01:30"},
        {"R/2026-03-28T12:00:00/PT24H", "Europe/Paris", "2026-01-01T00:00Z", "03-28T11:00 03-29T11:00"},
        {"R/2026-03-28T12:00:00/P1D", "Europe/Paris", "2026-01-01T00:00Z", "03-28T11:00 03-29T10:00"},
        {"R/2026-03-28T12:00:00/P1DT1H", "Europe/Paris", "2026-01-01T00:00Z",
         "03-28T11:00 03-29T11:00 03-30T12:00"},
        {"R/2026-01-01/P2W", "UTC", "2026-01-01T00:00Z", "01-15T00:00 01-29T00:00"},
        {"R/2011-12-29T00:00:00/P1D", "Pacific/Apia", "2011-12-28T00:00Z",
         "12-29T10:00 12-30T10:00 12-31T10:00"},
        {"R//P1D", "UTC", "2026-01-01T00:00Z", "01-02T00:00"},
        {"@reboot", "UTC", "2026-01-01T00:00Z", "never"},
        {"@manually", "UTC", "2026-01-01T00:00Z", "never"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule_options options = {.zone = cases[i].zone};

        check_nexts(cases[i].text, &options, cases[i].after, cases[i].next);
    }
}

/* Without a start in the text the anchor is it. */
static void the_anchor_is_the_phase(void **state)
{
    struct schedule_options options = {.anchor_s = instant("2026-01-01T00:07:30Z")};

    check_nexts("@every 1h", &options, "2026-05-01T00:00Z", "05-01T00:07:30 05-01T01:07:30");
    check_nexts("@every 1h", &options, "2025-05-01T00:00Z", "01-01T00:07:30 01-01T01:07:30");
    check_nexts("R3//PT1H", &options, "2025-05-01T00:00Z",
                "01-01T00:07:30 01-01T01:07:30 01-01T02:07:30 never");
}

static void far_away_starts_cost_nothing(void **state)
{
    struct schedule_options options = {0};
    struct schedule *schedule = compile("@every 1s", &options);

    assert_int_equal(schedule_count(schedule, 0, instant("2199-12-31T00:00:00Z"), INT64_MAX),
                     instant("2199-12-31T00:00:00Z"));
    assert_int_equal(schedule_next(schedule, instant("2199-12-31T23:59:59Z")), SCHEDULE_NEVER);
    assert_int_equal(schedule_prev(schedule, INT64_MAX), instant("2199-12-31T23:59:59Z"));
    schedule_free(schedule);
}

/* ---- window and exclusions ---- */

static void the_window_is_respected(void **state)
{
    struct schedule_options options = {.zone = "Europe/Paris", .start = "2026-03-01", .end = "2026-03-03"};
    struct schedule *schedule = compile("0 12 * * *", &options);

    assert_int_equal(schedule_next(schedule, INT64_MIN), instant("2026-03-01T11:00:00Z"));
    assert_int_equal(schedule_prev(schedule, INT64_MAX),
                     instant("2026-03-03T11:00:00Z")); /* the whole last day */
    assert_int_equal(schedule_next(schedule, instant("2026-03-03T11:00:00Z")), SCHEDULE_NEVER);
    assert_int_equal(schedule_prev(schedule, instant("2026-03-01T11:00:00Z")), INT64_MIN);
    assert_int_equal(schedule_count(schedule, 0, INT64_MAX, 100), 3);
    assert_false(schedule_match(schedule, instant("2026-03-04T11:00:00Z")));
    schedule_free(schedule);

    options.start = "2026-03-01T12:00:00+01:00"; /* the start belongs to it, the end does not */
    options.end = "2026-03-03T12:00:00";
    schedule = compile("0 12 * * *", &options);
    assert_int_equal(schedule_next(schedule, 0), instant("2026-03-01T11:00:00Z"));
    assert_int_equal(schedule_prev(schedule, INT64_MAX), instant("2026-03-02T11:00:00Z"));
    schedule_free(schedule);
}

static void excluded_days_are_left_out(void **state)
{
    static const char *const except[] = {"2026-07-20/2026-07-22", "2026-07-14/2026-07-20", "2026-12-25",
                                         "2026-07-23"};
    struct schedule_options options = {
        .zone = "Europe/Paris", .except = except, .except_count = COUNT(except)};

    check_nexts("0 12 * * *", &options, "2026-07-12T12:00Z", "07-13T10:00 07-24T10:00 07-25T10:00");
    check_nexts("0 0 25 12 *", &options, "2025-12-25T00:00Z", "12-24T23:00"); /* 2027 */
    check_nexts("* * * * *", &options, "2026-07-13T21:58Z", "07-13T21:59 07-23T22:00 07-23T22:01");
    check_nexts("@every 12h", &options, "2026-07-13T10:00Z", "07-13T12:00 07-24T00:00"); /* local days */
}

/* A day that begins with a gap or an overlap, and one whose end is shown twice. */
static void excluded_days_are_local_days_at_changes_too(void **state)
{
    static const char *const except[] = {"2025-03-09", "2025-11-02", "2006-10-28"};
    struct schedule_options havana = {.zone = "America/Havana", .except = except, .except_count = 2};
    struct schedule_options st_johns = {.zone = "America/St_Johns", .except = except + 2, .except_count = 1};
    struct schedule *schedule = compile("*/30 * * * *", &st_johns);
    int64_t at = instant("2006-10-28T00:00:00Z"), until = instant("2006-10-30T00:00:00Z"), count = 0;

    check_nexts("0 * * * *", &havana, "2025-03-09T04:00Z", "03-10T04:00");
    check_nexts("0 * * * *", &havana, "2025-11-02T03:00Z", "11-03T05:00");
    /* at 00:01 of the 29th the clock went back to 23:01 of the 28th */
    while ((at = schedule_next(schedule, at)) <= until) {
        char text[CIVIL_TEXT_MAX];

        assert_int_not_equal(strncmp(schedule_local(schedule, at, text, sizeof(text)), "2006-10-28", 10), 0);
        count++;
    }
    assert_int_equal(schedule_count(schedule, instant("2006-10-28T00:00:00Z"), until, 1000), count);
    schedule_free(schedule);
}

static void a_schedule_of_excluded_days_only_is_never(void **state)
{
    static const char *const except[] = {"1970-01-01/2199-12-31"};
    struct schedule_options options = {.except = except, .except_count = 1};
    struct schedule *schedule = compile("* * * * * *", &options);

    assert_int_equal(schedule_next(schedule, 0), SCHEDULE_NEVER);
    assert_int_equal(schedule_prev(schedule, INT64_MAX), INT64_MIN);
    assert_int_equal(schedule_count(schedule, 0, INT64_MAX, INT64_MAX), 0);
    schedule_free(schedule);
}

/* ---- several texts ---- */

static const char *const random_zones[] = {"America/New_York", "Australia/Lord_Howe", "Antarctica/Troll",
                                           "America/Havana",   "America/St_Johns",    "UTC"};

/* The union, exclusions and counts against each text by itself. */
static void a_union_is_that_of_its_texts(void **state)
{
    random_state = 77;
    for (int round = 0; round < 120; round++) {
        int64_t from = instant("1980-01-01T00:00Z") + random_below(1800000000), to = from + 20 * CIVIL_DAY_S;
        struct schedule_options options = {.zone = random_zones[random_below(COUNT(random_zones))],
                                           .dst = (enum schedule_dst)(round % 4)};
        const char *texts[5], *except[2];
        char dates[2][64];
        struct naive_cron naive[5];
        struct schedule *all, *one[5];
        int count = 1 + random_below(4), fires = 0;
        int64_t at = from;

        for (int i = 0; i < count; i++) {
            naive_random(&naive[i], 5, from);
            if (random_chance(20))
                snprintf(naive[i].text, sizeof(naive[i].text), "@every %dm", 1 + random_below(3000));
            texts[i] = naive[i].text;
            one[i] = compile(texts[i], &options);
        }
        for (int i = 0; i < 2; i++) {
            int64_t day = civil_day_of(from) + random_below(20);

            civil_range_format(&(struct civil_range){day, day + random_below(3)}, dates[i], sizeof(dates[i]));
            except[i] = dates[i];
        }
        if (random_chance(50)) {
            options.except = except;
            options.except_count = 2;
        }
        assert_int_equal(
            schedule_new(&all, texts, (size_t)count, &options, zoneinfo_source(zones), NULL, NULL), 0);
        for (int64_t next; at < to; at = next) {
            next = SCHEDULE_NEVER;
            for (int64_t base = at; next == SCHEDULE_NEVER; base = next, next = SCHEDULE_NEVER) {
                struct civil_range range;
                char local[CIVIL_TEXT_MAX];
                bool out = false;

                for (int i = 0; i < count; i++) {
                    int64_t t = schedule_next(one[i], base);

                    next = t < next ? t : next;
                }
                if (next >= to)
                    break;
                if (options.dst == SCHEDULE_UTC)
                    civil_format(next, 0, true, local, sizeof(local));
                else
                    schedule_local(all, next, local, sizeof(local));
                range.from = range.to = 0;
                for (size_t i = 0; i < options.except_count; i++) {
                    const char *slash = strchr(except[i], '/');

                    out = out || (strncmp(local, except[i], 10) >= 0 &&
                                  strncmp(local, slash ? slash + 1 : except[i], 10) <= 0);
                }
                if (!out)
                    break;
            }
            if (next >= to) {
                assert_true(schedule_next(all, at) >= to);
                break;
            }
            if (schedule_next(all, at) != next)
                fail_msg("%d texts '%s' in %s: next(%lld) is %lld, not %lld", count, texts[0], options.zone,
                         (long long)at, (long long)schedule_next(all, at), (long long)next);
            if (fires > 0 && schedule_prev(all, next) != at)
                fail_msg("%d texts '%s' in %s: prev(%lld)", count, texts[0], options.zone, (long long)next);
            fires++;
        }
        if (schedule_count(all, from, to - 1, INT64_MAX) != fires)
            fail_msg("%d texts '%s' '%s' in %s, policy %d, after %lld: %lld counted, not %d", count, texts[0],
                     texts[count - 1], options.zone, options.dst, (long long)from,
                     (long long)schedule_count(all, from, to - 1, INT64_MAX), fires);
        assert_int_equal(schedule_count(all, from, to - 1, 3), fires < 3 ? fires : 3);
        schedule_free(all);
        for (int i = 0; i < count; i++)
            schedule_free(one[i]);
    }
}

/* ---- jitter ---- */

static void jitter_is_stable_and_stays_before_the_next(void **state)
{
    struct schedule_options options = {.job = "nightly-report", .jitter_ms = 90000}, other = options;
    struct schedule *schedule = compile("* * * * *", &options), *again = compile("*/2 * * * *", &options),
                    *elsewhere;
    int64_t at = instant("2026-01-01T00:00:00Z"), sum = 0, same = 0;

    other.job = "backup";
    elsewhere = compile("* * * * *", &other);
    for (int i = 0; i < 1000; i++, at += 120) {
        int64_t ms = schedule_jitter_ms(schedule, at);

        assert_true(ms >= 0 && ms < 60000); /* 90 s asked for, but a minute later is the next */
        assert_int_equal(ms, schedule_jitter_ms(schedule, at));
        assert_in_range(schedule_jitter_ms(again, at), 0, 89999);
        same += ms == schedule_jitter_ms(elsewhere, at);
        sum += ms;
    }
    assert_in_range(sum / 1000, 27000, 33000);
    assert_true(same < 5);
    schedule_free(schedule);
    schedule_free(again);
    schedule_free(elsewhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_examples_come_out),
        cmocka_unit_test(the_other_policies_do_what_they_say),
        cmocka_unit_test(intervals_follow_from_their_start),
        cmocka_unit_test(the_anchor_is_the_phase),
        cmocka_unit_test(far_away_starts_cost_nothing),
        cmocka_unit_test(the_window_is_respected),
        cmocka_unit_test(excluded_days_are_left_out),
        cmocka_unit_test(excluded_days_are_local_days_at_changes_too),
        cmocka_unit_test(a_schedule_of_excluded_days_only_is_never),
        cmocka_unit_test(a_union_is_that_of_its_texts),
        cmocka_unit_test(jitter_is_stable_and_stays_before_the_next),
    };

    return cmocka_run_group_tests(tests, zones_open, zones_close);
}
