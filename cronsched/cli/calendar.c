#include "cronsched/cli/calendar.h"

#include "cronsched/cli/output.h"
#include "cronsched/io/file.h"

#include "jobs/time/icalendar.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside the job file that names it. */
static bool resolve(const char *file, const char *path, char buffer[PATH_MAX])
{
    const char *slash = file && strcmp(file, "-") != 0 ? strrchr(file, '/') : NULL;
    int folder = slash && *path != '/' ? (int)(slash + 1 - file) : 0;
    int n = snprintf(buffer, PATH_MAX, "%.*s%s", folder, folder ? file : "", path);

    return n > 0 && n < PATH_MAX;
}

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
    char where[PATH_MAX], *text;
    struct error why;
    size_t size;
    int r;

    if (!resolve(file, path, where))
        return error_set(error, ERR_INVALID, "the path of the calendar is too long");
    r = file_read(where, ICALENDAR_BYTES_MAX, FILE_REGULAR, &text, &size, &why);
    if (r == ERR_INVALID || r == ERR_LIMIT || r == ERR_NOMEM)
        return error_set(error, r, "%.500s: %s", path, why.text);
    if (r < 0)
        return error_set(error, ERR_NOT_FOUND, "%.500s: cannot be read: %s", path, why.text);
    r = parse(text, size, path, ret, ret_count, error);
    free(text);
    return r;
}
