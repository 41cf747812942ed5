#include "cronsched/cli/calendar.h"

#include "cronsched/cli/beside.h"
#include "cronsched/cli/output.h"

#include "jobs/time/icalendar.h"

#include <stdio.h>
#include <stdlib.h>

static int parse(const char *text, size_t size, const char *path, struct civil_range **ret, size_t *ret_count,
                 struct error *error)
{
    int year, month, day, line = 0, r;
    struct error inner = {0};

    civil_from_days(civil_day_of(output_now_ms() / 1000), &year, &month, &day);
    r = icalendar_read(text, size, civil_days(year, 1, 1), civil_days(year + CALENDAR_YEARS, 12, 31), ret,
                       ret_count, &line, &inner);
    if (r < 0 && line > 0)
        error_set(error, r, "%.500s:%d: %s", path, line, inner.text);
    else if (r < 0)
        error_set(error, r, "%.500s: %s", path, inner.text);
    return r;
}

int calendar_read(void *arg, const char *file, const char *path, struct civil_range **ret, size_t *ret_count,
                  struct error *error)
{
    char *text;
    size_t size;
    int r = beside_read(arg, file, path, ICALENDAR_BYTES_MAX, &text, &size, error);

    if (r < 0)
        return r;
    r = parse(text, size, path, ret, ret_count, error);
    free(text);
    return r;
}
