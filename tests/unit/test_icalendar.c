#include "jobs/time/icalendar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CALENDAR(event)                                                                                      \
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n" event "END:VEVENT\r\nEND:VCALENDAR\r\n"

/* 2026-01-01 to 2028-12-31 */
static int read_text(const char *text, size_t size, char *buffer, size_t buffer_size, int *ret_line,
                     struct error *error)
{
    struct civil_range *ranges;
    size_t count, n = 0;
    int code = icalendar_read(text, size, civil_days(2026, 1, 1), civil_days(2028, 12, 31), &ranges, &count,
                              ret_line, error);

    buffer[0] = '\0';
    if (code < 0)
        return code;
    for (size_t i = 0; i < count && n < buffer_size; i++) {
        char one[CIVIL_TEXT_MAX];

        n += (size_t)snprintf(buffer + n, buffer_size - n, "%s%s", i ? " " : "",
                              civil_range_format(&ranges[i], one, sizeof(one)));
    }
    free(ranges);
    return 0;
}

static const struct {
    const char *name, *text, *days;
} good[] = {
    {"one day", CALENDAR("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:Noël\r\n"), "2026-12-25"},
    {"the end is not included", CALENDAR("DTSTART;VALUE=DATE:20260714\nDTEND;VALUE=DATE:20260721\n"),
     "2026-07-14/2026-07-20"},
    {"an end on the same day", CALENDAR("DTSTART:20260714\nDTEND:20260714\n"), "2026-07-14"},
    {"a duration", CALENDAR("DTSTART:20260714\nDURATION:P1W\n"), "2026-07-14/2026-07-20"},
    {"a folded line", CALENDAR("DTSTART;VALUE=\r\n DATE:2026\r\n\t1225\r\n"), "2026-12-25"},
    {"a quoted parameter", CALENDAR("DTSTART;X=\"a:b;c\";VALUE=DATE:20261225\n"), "2026-12-25"},
    {"every year", CALENDAR("DTSTART:20201225\nRRULE:FREQ=YEARLY\n"), "2026-12-25 2027-12-25 2028-12-25"},
    {"every other year", CALENDAR("DTSTART:20251225\nRRULE:FREQ=YEARLY;INTERVAL=2\n"), "2027-12-25"},
    {"29 February", CALENDAR("DTSTART:20240229\nRRULE:FREQ=YEARLY\n"), "2028-02-29"},
    {"Thanksgiving", CALENDAR("DTSTART:20251127\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\n"),
     "2026-11-26 2027-11-25 2028-11-23"},
    {"Memorial Day", CALENDAR("DTSTART:20260525\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=2\n"),
     "2026-05-25 2027-05-31"},
    {"until", CALENDAR("DTSTART:20260101\nRRULE:FREQ=YEARLY;UNTIL=20270101T000000Z\n"),
     "2026-01-01 2027-01-01"},
    {"the last day of a quarter", CALENDAR("DTSTART:20281231\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1;INTERVAL=3\n"),
     "2028-12-31"},
    {"weekly by day", CALENDAR("DTSTART:20281216\nRRULE:FREQ=WEEKLY;BYDAY=SA,SU;COUNT=4\n"),
     "2028-12-16/2028-12-17 2028-12-23/2028-12-24"},
    {"every second week", CALENDAR("DTSTART:20281204\nRRULE:FREQ=WEEKLY;INTERVAL=2\n"),
     "2028-12-04 2028-12-18"},
    {"every third day", CALENDAR("DTSTART:20281225\nRRULE:FREQ=DAILY;INTERVAL=3\n"),
     "2028-12-25 2028-12-28 2028-12-31"},
    {"exceptions", CALENDAR("DTSTART:20201225\nRRULE:FREQ=YEARLY\nEXDATE;VALUE=DATE:20271225,20281225\n"),
     "2026-12-25"},
    {"more dates", CALENDAR("DTSTART:20261225\nRDATE;VALUE=DATE:20270102,20270101\n"),
     "2026-12-25 2027-01-01/2027-01-02"},
    {"a cancelled event", CALENDAR("DTSTART:20261225\nSTATUS:CANCELLED\n"), ""},
    {"outside of the span", CALENDAR("DTSTART:20301225\n"), ""},
    {"an alarm inside", CALENDAR("DTSTART:20261225\nBEGIN:VALARM\nDURATION:PT5M\nEND:VALARM\n"),
     "2026-12-25"},
    {"no events", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", ""},
    {"neighbours are joined",
     "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261226\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20261225\nEND:"
     "VEVENT\n"
     "END:VCALENDAR\n",
     "2026-12-25/2026-12-26"},
};

static void whole_day_events_become_days(void **state)
{
    char days[4096];

    for (size_t i = 0; i < COUNT(good); i++) {
        struct error error = {0};

        if (read_text(good[i].text, strlen(good[i].text), days, sizeof(days), NULL, &error) < 0)
            fail_msg("%s: %s", good[i].name, error.text);
        if (strcmp(days, good[i].days) != 0)
            fail_msg("%s: '%s', not '%s'", good[i].name, days, good[i].days);
    }
}

static const struct {
    const char *text;
    int line;
    const char *why;
} bad[] = {
    {"", 0, "the calendar is empty"},
    {"jobs: {}\n", 1, "not an iCalendar text"},
    {"BEGIN:VCALENDAR\nnonsense\n", 2, "a line without ':'"},
    {CALENDAR("DTSTART:20260230\n"), 4, "DTSTART is not a date"},
    {CALENDAR("DTSTART:20261225T180000Z\n"), 4, "only whole days"},
    {CALENDAR("SUMMARY:x\n"), 3, "without DTSTART"},
    {CALENDAR("DTSTART:20261225\nDTEND:20261224\n"), 3, "ends before it starts"},
    {CALENDAR("DTSTART:20261225\nDURATION:PT5H\n"), 5, "DURATION is not of whole days"},
    {CALENDAR("DTSTART:20261225\nRRULE:FREQ=HOURLY\n"), 5, "FREQ=HOURLY is not understood"},
    {CALENDAR("DTSTART:20261225\nRRULE:FREQ=YEARLY;BYSETPOS=1\n"), 5, "BYSETPOS=1 is not understood"},
    {CALENDAR("DTSTART:20261225\nRRULE:FREQ=YEARLY;BYDAY=20MO\n"), 5, "BYDAY=20MO is not understood"},
    {CALENDAR("DTSTART:20261225\nRRULE:FREQ=YEARLY;BYDAY=1MO\n"), 5, "needs FREQ=MONTHLY"},
    {CALENDAR("DTSTART:20261225\nRRULE:COUNT=1\n"), 5, "no FREQ"},
    {CALENDAR("DTSTART:20261225\nRECURRENCE-ID:20261225\n"), 5, "RECURRENCE-ID is not supported"},
    {"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\n", 3, "without END:VEVENT"},
};

static void what_is_not_understood_is_refused_with_its_line(void **state)
{
    char days[4096];

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct error error = {0};
        int line = 0, code = read_text(bad[i].text, strlen(bad[i].text), days, sizeof(days), &line, &error);

        if (code >= 0)
            fail_msg("'%s' is accepted", bad[i].text);
        if (line != bad[i].line || !strstr(error.text, bad[i].why))
            fail_msg("'%s': line %d, '%s'", bad[i].text, line, error.text);
    }
}

static void a_nul_and_a_long_line_are_refused(void **state)
{
    static const char nul[] = "BEGIN:VCALENDAR\nX\0:1\n";
    char days[64], *text;
    struct error error;
    size_t n = 0;

    assert_int_equal(read_text(nul, sizeof(nul) - 1, days, sizeof(days), NULL, &error), ERR_INVALID);
    text = malloc(20000);
    assert_non_null(text);
    n = (size_t)snprintf(text, 20000, "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEXDATE:");
    while (n < 15000)
        n += (size_t)snprintf(text + n, 20000 - n, "20261225,");
    n += (size_t)snprintf(text + n, 20000 - n, "20261225\nEND:VEVENT\nEND:VCALENDAR\n");
    assert_int_equal(read_text(text, n, days, sizeof(days), NULL, &error), ERR_LIMIT);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_day_events_become_days),
        cmocka_unit_test(what_is_not_understood_is_refused_with_its_line),
        cmocka_unit_test(a_nul_and_a_long_line_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
