#include "cronsched/cli/calendar.h"

#include "cronsched/cli/output.h"

#include "jobs/time/icalendar.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beside the job file that names it. */
static bool resolve(const char *file, const char *path, char buffer[PATH_MAX])
{
    const char *slash = file && strcmp(file, "-") != 0 ? strrchr(file, '/') : NULL;
    int folder = slash && *path != '/' ? (int)(slash + 1 - file) : 0;
    int n = snprintf(buffer, PATH_MAX, "%.*s%s", folder, folder ? file : "", path);

    return n > 0 && n < PATH_MAX;
}

/* At most one byte more than is allowed, which is enough to refuse it. Returns the bytes read or -errno. */
static ssize_t read_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    size_t have = 0;
    struct stat st;
    ssize_t n = 1;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    while (have < size && n > 0) {
        n = read(fd, buffer + have, size - have);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            have += (size_t)n;
    }
    if (n < 0)
        n = -errno;
    close(fd);
    return n < 0 ? n : (ssize_t)have;
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
    ssize_t n;
    int r;

    if (!resolve(file, path, where))
        return error_set(error, ERR_INVALID, "the path of the calendar is too long");
    text = malloc(ICALENDAR_BYTES_MAX + 1);
    if (!text)
        return error_set(error, ERR_NOMEM, "out of memory");
    n = read_file(where, text, ICALENDAR_BYTES_MAX + 1);
    if (n == -EINVAL)
        r = error_set(error, ERR_INVALID, "%.500s: not a plain file", path);
    else if (n < 0)
        r = error_set(error, ERR_NOT_FOUND, "%.500s: cannot be read: %s", path, strerror((int)-n));
    else
        r = parse(text, (size_t)n, path, ret, ret_count, error);
    free(text);
    return r;
}
