/* Fire times against brute force: every minute (or second) of a window is asked by a slow, plain matcher, in
 * all four policies, in zones with every kind of change. WALLTIME_TRIPLES and WALLTIME_DAYS make it longer by
 * hand. */
#include "jobs/time/walltime.h"

#include "jobs/time/schedule.h"
#include "jobs/time/schedule_count.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/naive_cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const names[] = {
    "America/New_York", "Europe/Paris",      "Europe/Dublin",       "Australia/Lord_Howe", "Antarctica/Troll",
    "Antarctica/Casey", "Pacific/Apia",      "Pacific/Chatham",     "Africa/Casablanca",   "America/Havana",
    "America/Santiago", "Asia/Pyongyang",    "America/Caracas",     "Africa/Cairo",        "Asia/Gaza",
    "America/Nuuk",     "America/Asuncion",  "Asia/Kathmandu",      "America/St_Johns",    "Asia/Almaty",
    "Europe/Lisbon",    "America/Sao_Paulo", "America/Scoresbysund"};
#define ZONES COUNT(names)

static struct zoneinfo *zoneinfo;
static const struct zone *zones[ZONES];

static int set_up(void **state)
{
    int r = zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL);

    for (size_t i = 0; i < ZONES && r == 0; i++)
        r = zoneinfo_source(zoneinfo)->get(zoneinfo_source(zoneinfo), names[i], &zones[i], NULL);
    return r;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < ZONES; i++)
        zoneinfo_source(zoneinfo)->put(zoneinfo_source(zoneinfo), zones[i]);
    zoneinfo_free(zoneinfo);
    return 0;
}

static long environment(const char *name, long otherwise)
{
    const char *value = getenv(name);

    return value ? strtol(value, NULL, 10) : otherwise;
}

/* ---- the rules, asked of one instant ---- */

static bool shown_before(const struct zone *zone, int64_t at_s)
{
    int64_t local_s = at_s + zone_offset(zone, at_s);
    uint32_t i = zone_segment(zone, at_s);

    return i > 0 && local_s - zone->offset_s[i - 1] < zone->start_s[i];
}

/* Any wall time that the change at at_s leaves out matches; `step` is 60 or 1. */
static bool left_out(const struct naive_cron *naive, const struct zone *zone, int64_t at_s, int step)
{
    int64_t before = at_s + zone_offset(zone, at_s - 1), after = at_s + zone_offset(zone, at_s);

    if (after <= before || after - before > 3 * 3600)
        return false;
    for (int64_t local_s = before; local_s < after; local_s += step)
        if (naive_matches(naive, local_s))
            return true;
    return false;
}

static bool fires(const struct naive_cron *naive, const struct zone *zone, enum schedule_dst dst,
                  int64_t at_s, int step)
{
    bool matches = naive_matches(naive, at_s + zone_offset(zone, at_s));
    bool fixed = !naive->wildcard;

    if (dst == SCHEDULE_BOTH || dst == SCHEDULE_UTC || (dst == SCHEDULE_HYBRID && !fixed))
        return matches;
    if (matches && !shown_before(zone, at_s))
        return true;
    return dst == SCHEDULE_HYBRID && left_out(naive, zone, at_s, step);
}

/* ---- one triple ---- */

/* An instant near a change of the zone in half of the cases, anywhere else in the others. */
static int64_t random_instant(const struct zone *zone)
{
    int64_t from = civil_days(1973, 1, 1) * CIVIL_DAY_S, at_s;

    at_s = from + (int64_t)(random_u64() % (uint64_t)(CIVIL_LOCAL_END - from));
    if (zone->count > 1 && random_chance(60)) {
        int64_t change = zone->start_s[1 + random_below((int)zone->count - 1)];

        if (change > from)
            at_s = change + random_below(6 * 3600) - 3 * 3600;
    }
    return at_s;
}

static void check_window(const struct naive_cron *naive, const struct zone *zone, enum schedule_dst dst,
                         int64_t from, int64_t to, int step)
{
    struct cron_context context = {.dialect = SCHEDULE_CRON};
    struct cron cron;
    struct schedule_counted counted = {.zone = zone, .dst = dst, .crons = 1, .cron = {&cron}};
    int64_t last = from - 1, count = 0;

    if (cron_parse(naive->text, strlen(naive->text), &context, &cron, NULL, NULL) < 0)
        fail_msg("'%s' is refused", naive->text);
    for (int64_t at_s = from; at_s < to; at_s += step) {
        if (!fires(naive, zone, dst, at_s, step))
            continue;
        if (walltime_next(&cron, zone, dst, last) != at_s)
            fail_msg("'%s' %s policy %d: next(%lld) is %lld, not %lld", naive->text, zone->name, dst,
                     (long long)last, (long long)walltime_next(&cron, zone, dst, last), (long long)at_s);
        if (count > 0 && walltime_prev(&cron, zone, dst, at_s) != last)
            fail_msg("'%s' %s policy %d: prev(%lld) is %lld, not %lld", naive->text, zone->name, dst,
                     (long long)at_s, (long long)walltime_prev(&cron, zone, dst, at_s), (long long)last);
        last = at_s;
        count++;
    }
    if (walltime_next(&cron, zone, dst, last) < to)
        fail_msg("'%s' %s policy %d: %lld too many", naive->text, zone->name, dst,
                 (long long)walltime_next(&cron, zone, dst, last));
    if (count > 0 && walltime_prev(&cron, zone, dst, to) != last)
        fail_msg("'%s' %s policy %d: prev(%lld) is not the last", naive->text, zone->name, dst,
                 (long long)to);
    if (schedule_count_fires(&counted, from - 1, to - 1, INT64_MAX) != count)
        fail_msg("'%s' %s policy %d: %lld counted in [%lld, %lld), not %lld", naive->text, zone->name, dst,
                 (long long)schedule_count_fires(&counted, from - 1, to - 1, INT64_MAX), (long long)from,
                 (long long)to, (long long)count);
}

static void fire_times_are_those_of_brute_force(void **state)
{
    long triples = environment("WALLTIME_TRIPLES", 240), days = environment("WALLTIME_DAYS", 12);
    struct naive_cron naive;

    random_state = (uint64_t)environment("WALLTIME_SEED", 1);
    for (long i = 0; i < triples; i++) {
        const struct zone *zone = zones[random_below(ZONES)];
        enum schedule_dst dst = (enum schedule_dst)(i % 4);
        int64_t at_s = random_instant(zone), from = at_s - at_s % 60 - days * CIVIL_DAY_S / 2;

        naive_random(&naive, 5, at_s + zone_offset(zone, at_s));
        check_window(&naive, dst == SCHEDULE_UTC ? zone_utc() : zone, dst, from, from + days * CIVIL_DAY_S,
                     60);
    }
}

static void fire_times_to_the_second_are_those_of_brute_force(void **state)
{
    long triples = environment("WALLTIME_TRIPLES", 160);
    struct naive_cron naive;

    random_state = (uint64_t)environment("WALLTIME_SEED", 1) + 1000;
    for (long i = 0; i < triples; i++) {
        const struct zone *zone = zones[random_below(ZONES)];
        int64_t at_s = random_instant(zone);

        naive_random(&naive, 6 + random_below(2), at_s + zone_offset(zone, at_s));
        check_window(&naive, zone, (enum schedule_dst)(i % 3), at_s - 2 * 3600, at_s + 2 * 3600, 1);
    }
}

/* ---- there and back ---- */

static void next_and_prev_are_each_others_inverse(void **state)
{
    long rounds = environment("WALLTIME_ROUNDS", 20000);
    struct cron_context context = {.dialect = SCHEDULE_CRON};
    struct naive_cron naive;
    struct cron cron;

    random_state = (uint64_t)environment("WALLTIME_SEED", 1) + 2000;
    for (long i = 0; i < rounds; i++) {
        const struct zone *zone = zones[random_below(ZONES)];
        enum schedule_dst dst = (enum schedule_dst)(i % 3);
        int64_t at_s = random_instant(zone), next_s, prev_s;
        struct schedule_counted counted = {.zone = zone, .dst = dst, .crons = 1, .cron = {&cron}};

        naive_random(&naive, 5 + random_below(3), at_s + zone_offset(zone, at_s));
        assert_int_equal(cron_parse(naive.text, strlen(naive.text), &context, &cron, NULL, NULL), 0);
        next_s = walltime_next(&cron, zone, dst, at_s);
        prev_s = walltime_prev(&cron, zone, dst, at_s + 1);
        if (next_s <= at_s || prev_s > at_s)
            fail_msg("'%s' %s: not beyond %lld", naive.text, zone->name, (long long)at_s);
        if (prev_s != INT64_MIN && walltime_next(&cron, zone, dst, prev_s) != next_s)
            fail_msg("'%s' %s: next of prev of %lld", naive.text, zone->name, (long long)at_s);
        if (next_s != SCHEDULE_NEVER) {
            if (walltime_prev(&cron, zone, dst, next_s) != prev_s ||
                walltime_next(&cron, zone, dst, next_s - 1) != next_s ||
                walltime_prev(&cron, zone, dst, next_s + 1) != next_s)
                fail_msg("'%s' %s: around %lld", naive.text, zone->name, (long long)next_s);
            if (schedule_count_fires(&counted, at_s, next_s, 9) != 1 ||
                schedule_count_fires(&counted, at_s, next_s - 1, 9) != 0)
                fail_msg("'%s' %s: count from %lld to %lld", naive.text, zone->name, (long long)at_s,
                         (long long)next_s);
        }
    }
}

static void the_ends_of_time_are_answered(void **state)
{
    static const char *const texts[] = {"* * * * *", "0 0 29 2 *", "0 0 30 2 *", "59 59 23 31 12 * 2199"};
    static const int64_t instants[] = {INT64_MIN,       INT64_MIN + 1, -1,       0,
                                       CIVIL_LOCAL_END, INT64_MAX - 1, INT64_MAX};
    struct cron_context context = {.dialect = SCHEDULE_CRON};
    struct cron cron;

    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(cron_parse(texts[i], strlen(texts[i]), &context, &cron, NULL, NULL), 0);
        for (size_t k = 0; k < COUNT(instants); k++) {
            int64_t next_s = walltime_next(&cron, zones[0], SCHEDULE_HYBRID, instants[k]);
            int64_t prev_s = walltime_prev(&cron, zones[0], SCHEDULE_HYBRID, instants[k]);

            assert_true(next_s == SCHEDULE_NEVER || next_s > instants[k]);
            assert_true(prev_s == INT64_MIN || prev_s < instants[k]);
        }
    }
    /* the last second of 2199 in New York */
    assert_int_equal(walltime_prev(&cron, zones[0], SCHEDULE_HYBRID, INT64_MAX),
                     CIVIL_LOCAL_END - 1 + 5 * 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fire_times_are_those_of_brute_force),
        cmocka_unit_test(fire_times_to_the_second_are_those_of_brute_force),
        cmocka_unit_test(next_and_prev_are_each_others_inverse),
        cmocka_unit_test(the_ends_of_time_are_answered),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
