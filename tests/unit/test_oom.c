/* What reads input while memory runs out: every allocation fails once, and from every allocation on all fail.
 * Each says an error or does all of its work; nothing is leaked (the sanitizer watches), nothing crashes.
 * Job files have a test of their own. Without memory for its configuration, or for the journal's records, a
 * process ends (jobs/base/alloc.h). */
#include "cronsched/http/auth.h"
#include "cronsched/http/http_target.h"
#include "jobs/definition/shellwords.h"
#include "jobs/time/icalendar.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zone.h"
#include "jobs/time/zoneinfo.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/failing_allocators.h"

#define ALLOCATIONS_MAX 100000
#define ZONES           "/usr/share/zoneinfo"

static struct zoneinfo *zoneinfo;

/* A code: 0 or an error. Whatever it made it has released. */
typedef int attempt(struct error *error);

static void every_allocation_fails(attempt *one, long least)
{
    struct error error = {0};
    long nth = 1;

    assert_int_equal(one(&error), 0);
    for (int i = 0; i < 2; i++) {
        more = i == 1 ? ALL_AFTER_IT : 0;
        failed = true;
        for (nth = 1; failed; nth++) {
            int r;

            error = (struct error){0};
            countdown = nth;
            failed = false;
            watching = true;
            r = one(&error);
            watching = false;
            if (r != 0 && (!failed || !error.text[0]))
                fail_msg("allocation %ld: %d %s", nth, r, error.text);
            assert_true(nth < ALLOCATIONS_MAX);
        }
        assert_true(nth > least); /* so many there were */
    }
}

static int read_schedule(struct error *error)
{
    static const char *const texts[] = {"*/5 9-17 * * mon-fri", "TZ=Europe/Paris 0 3 L * *", "@every 90s"};
    struct schedule_options options = {.zone = "Europe/Paris"};
    struct schedule *schedule;
    int r = schedule_new(&schedule, texts, sizeof(texts) / sizeof(texts[0]), &options,
                         zoneinfo_source(zoneinfo), NULL, error);

    if (r == 0)
        schedule_free(schedule);
    return r;
}

static void a_schedule(void **state)
{
    every_allocation_fails(read_schedule, 1);
}

static int read_zones(struct error *error)
{
    struct zoneinfo *own;
    struct zone_source *source;
    const struct zone *zone;
    int r = zoneinfo_new(&own, ZONES, error);

    if (r < 0)
        return r;
    source = zoneinfo_source(own);
    r = source->get(source, "Australia/Lord_Howe", &zone, error);
    if (r == 0)
        source->put(source, zone);
    zoneinfo_free(own);
    return r;
}

static void a_zone(void **state)
{
    every_allocation_fails(read_zones, 3);
}

static int read_calendar(struct error *error)
{
    static const char text[] = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n"
                               "DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY;BYMONTH=12;BYDAY=-1FR\r\n"
                               "EXDATE;VALUE=DATE:20271231\r\nRDATE;VALUE=DATE:20260101,\r\n 20260501\r\n"
                               "END:VEVENT\r\nEND:VCALENDAR\r\n";
    struct civil_range *ranges;
    size_t count;
    int r = icalendar_read(text, strlen(text), civil_days(2026, 1, 1), civil_days(2030, 1, 1), &ranges,
                           &count, NULL, error);

    if (r == 0)
        free(ranges);
    return r;
}

static void a_calendar(void **state)
{
    every_allocation_fails(read_calendar, 2);
}

static int read_words(struct error *error)
{
    struct shellwords words;
    int r = shellwords_split("sh -c 'echo \"one two\"' three\\ four", &words, error);

    if (r == 0)
        shellwords_release(&words);
    return r;
}

static void a_command(void **state)
{
    every_allocation_fails(read_words, 1);
}

static int read_target(struct error *error)
{
    struct http_target target;
    int r = http_target_init(&target, "/v1/runs/nightly%40x/logs?tail=5&follow=true&job=a%20b", error);

    if (r == 0)
        http_target_release(&target);
    return r;
}

static void a_request(void **state)
{
    every_allocation_fails(read_target, 1);
}

static char tokens_file[64];

static int read_tokens(struct error *error)
{
    struct auth *auth;
    int r = auth_new(&auth, &(struct auth_options){.tokens_file = tokens_file}, error);

    if (r == 0)
        auth_free(auth);
    return r;
}

static void a_tokens_file(void **state)
{
    char token[AUTH_TOKEN_SIZE], line[AUTH_LINE_SIZE];
    struct error error = {0};
    FILE *f;
    int fd;

    snprintf(tokens_file, sizeof(tokens_file), "/tmp/cronsched-oom-XXXXXX");
    fd = mkstemp(tokens_file);
    assert_true(fd >= 0);
    f = fdopen(fd, "w");
    assert_int_equal(auth_token_new("deploy", AUTH_OPERATE, token, line, &error), 0);
    fprintf(f, "%s\n", line);
    fclose(f);
    every_allocation_fails(read_tokens, 1);
    unlink(tokens_file);
}

static int set_up(void **state)
{
    json_set_alloc_funcs(malloc, free); /* ours */
    return zoneinfo_new(&zoneinfo, ZONES, NULL);
}

static int tear_down(void **state)
{
    zoneinfo_free(zoneinfo);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schedule), cmocka_unit_test(a_zone),    cmocka_unit_test(a_calendar),
        cmocka_unit_test(a_command),  cmocka_unit_test(a_request), cmocka_unit_test(a_tokens_file),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
