#include "tests/support/schedule_fixture.h"

#include "jobs/time/civil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct zoneinfo *zones;

int zones_open(void **state)
{
    return zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL);
}

int zones_close(void **state)
{
    zoneinfo_free(zones);
    return 0;
}

int64_t instant(const char *text)
{
    struct civil_text civil;

    if (civil_parse(text, strlen(text), &civil, NULL, NULL) < 0)
        fail_msg("not a time: %s", text);
    return civil.local_s - civil.offset_s;
}

struct schedule *compile(const char *text, const struct schedule_options *options)
{
    struct schedule *schedule;
    struct error error;

    if (schedule_new(&schedule, &text, 1, options, zoneinfo_source(zones), NULL, &error) < 0)
        fail_msg("'%s' is refused: %s", text, error.text);
    return schedule;
}
