/* Calendars in `except`: an item that ends with .ics becomes days when a reader of files is there, and is a
 * fault where there is none. */
#include "jobs/definition/jobfile.h"
#include "jobs/time/zoneinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct zoneinfo *zones;

static int set_up(void **state)
{
    return zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL);
}

static int tear_down(void **state)
{
    zoneinfo_free(zones);
    return 0;
}

/* "two.ics" has two stretches, "many.ics" as many as are allowed; all others are not there. */
static int read_calendar(void *arg, const char *file, const char *path, struct civil_range **ret,
                         size_t *ret_count, struct error *error)
{
    size_t count = strcmp(path, "two.ics") == 0 ? 2 : strcmp(path, "many.ICS") == 0 ? SCHEDULE_EXCEPT_MAX : 0;

    assert_string_equal(file, "folder/jobs.yaml");
    ++*(int *)arg;
    if (count == 0)
        return error_set(error, ERR_NOT_FOUND, "%s: cannot be read", path);
    *ret = calloc(count, sizeof(**ret));
    assert_non_null(*ret);
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = (struct civil_range){20000 + 10 * (int64_t)i, 20001 + 10 * (int64_t)i};
    *ret_count = count;
    return 0;
}

static void read_set(struct jobfile_set *set, int *asked, const char *text)
{
    jobfile_set_init(set);
    if (asked) {
        set->calendar = read_calendar;
        set->calendar_arg = asked;
    }
    jobfile_read(set, "folder/jobs.yaml", text, strlen(text), zoneinfo_source(zones));
    assert_int_not_equal(jobfile_finish(set, NULL, 0), ERR_NOMEM);
}

static void a_calendar_becomes_its_days(void **state)
{
    struct jobfile_set set;
    int asked = 0;

    read_set(&set, &asked,
             "defaults: {except: [two.ics]}\n"
             "jobs:\n"
             "  a: {schedule: '@daily', except: [2026-12-25, two.ics, 2027-01-01], image: x}\n"
             "  b: {schedule: '@daily', image: x}\n"
             "  c: {schedule: '@daily', except: [], image: x}\n");
    assert_int_equal(set.failed, 0);
    assert_int_equal(set.count, 3);
    assert_int_equal(asked, 2);
    assert_int_equal(set.jobs[0]->except.count, 4);
    assert_string_equal(set.jobs[0]->except.items[0], "2026-12-25");
    assert_string_equal(set.jobs[0]->except.items[1], "2024-10-04/2024-10-05");
    assert_string_equal(set.jobs[0]->except.items[2], "2024-10-14/2024-10-15");
    assert_string_equal(set.jobs[0]->except.items[3], "2027-01-01");
    assert_null(set.jobs[0]->except.items[4]);
    assert_int_equal(set.jobs[1]->except.count, 2);
    assert_int_equal(set.jobs[2]->except.count, 0);
    jobfile_set_release(&set);
}

static void faults_stand_where_the_calendar_is_named(void **state)
{
    struct jobfile_set set;
    int asked = 0;

    read_set(&set, &asked,
             "jobs:\n"
             "  a: {schedule: '@daily', except: [2026-12-25, none.ics], image: x}\n"
             "  b: {schedule: '@daily', except: [2026-12-25, many.ICS], image: x}\n");
    assert_int_equal(set.failed, 2);
    assert_string_equal(set.errors[0].text, "except: none.ics: cannot be read");
    assert_int_equal(set.errors[0].line, 2);
    assert_int_equal(set.errors[0].column, 48);
    assert_string_equal(set.errors[1].text,
                        "except: with the 1024 ranges of days of 'many.ICS' there are more than 1024");
    jobfile_set_release(&set);
}

static void without_files_a_calendar_is_no_date(void **state)
{
    struct jobfile_set set;

    read_set(&set, NULL, "jobs:\n  a: {schedule: '@daily', except: [two.ics], image: x}\n");
    assert_int_equal(set.failed, 1);
    assert_non_null(strstr(set.errors[0].text, "except: not a date"));
    jobfile_set_release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_calendar_becomes_its_days),
        cmocka_unit_test(faults_stand_where_the_calendar_is_named),
        cmocka_unit_test(without_files_a_calendar_is_no_date),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
