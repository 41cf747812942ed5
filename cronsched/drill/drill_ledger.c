/* What the canaries wrote. A line is one write of a few dozen bytes to a file opened for appending:
 *   start drill-1a2b3c4d-docker-1@20261122T030000Z 1 7 12345.67
 * with attempt, epoch and uptime. A line that is not whole yet waits; one that is none counts as torn. */
#include "cronsched/drill/drill.h"
#include "jobs/base/clock.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_MAX 512

/* Uptime is the one clock that the writers and this program share, and that cannot be set. */
static int64_t wall_less_uptime_ms(void)
{
    return drill_now_ms() - clock_boot_ms();
}

/* Containers may run as anybody: all may write. */
int drill_ledger_open(struct drill_ledger *ledger, const char *below, const char *tag, struct error *error)
{
    char path[sizeof(ledger->folder) + 8];

    text_init(&ledger->rest, LINE_BYTES_MAX);
    ledger->wall_ms = wall_less_uptime_ms();
    if ((size_t)snprintf(ledger->folder, sizeof(ledger->folder), "%s/drill-%s", below, tag) >=
        sizeof(ledger->folder))
        return error_set(error, ERR_LIMIT, "%s is too long a path", below);
    snprintf(path, sizeof(path), "%s/lines", ledger->folder);
    if (mkdir(below, 0777) < 0 && errno != EEXIST)
        return error_set(error, ERR_IO, "%s: %s", below, strerror(errno));
    if (mkdir(ledger->folder, 0777) < 0 || chmod(ledger->folder, 0777) < 0)
        return error_set(error, ERR_IO, "%s: %s", ledger->folder, strerror(errno));
    ledger->fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (ledger->fd < 0 || fchmod(ledger->fd, 0666) < 0)
        return error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
    return 0;
}

void drill_ledger_release(struct drill_ledger *ledger)
{
    if (ledger->fd >= 0)
        close(ledger->fd);
    text_release(&ledger->rest);
    free(ledger->lines);
    *ledger = (struct drill_ledger){.fd = -1};
}

/* "drill-1a2b3c4d-docker-3@20261122T030000Z": only the number and the time are read. */
static bool parse_line(const char *text, int64_t wall_ms, struct drill_line *ret)
{
    char what[8], run[DRILL_ID_MAX], *at, *number;
    long attempt, seconds, hundredths;
    int end = 0;

    if (sscanf(text, "%7s %127s %ld %" SCNd64 " %ld.%2ld%n", what, run, &attempt, &ret->epoch, &seconds,
               &hundredths, &end) != 6 ||
        text[end])
        return false;
    at = strrchr(run, '@');
    if (!at || instant_parse_basic(at + 1, &ret->fire_ms, NULL) < 0)
        return false;
    *at = '\0';
    number = strrchr(run, '-');
    if (!number)
        return false;
    ret->canary = (unsigned)strtoul(number + 1, NULL, 10);
    ret->end = strcmp(what, "end") == 0;
    ret->at_ms = wall_ms + seconds * 1000 + hundredths * 10;
    return ret->end || strcmp(what, "start") == 0;
}

static int add_line(struct drill_ledger *ledger, const char *text, struct error *error)
{
    struct drill_line line;

    if (!parse_line(text, ledger->wall_ms, &line)) {
        ledger->torn++;
        return 0;
    }
    if (ledger->count == ledger->capacity) {
        size_t capacity = ledger->capacity ? 2 * ledger->capacity : 4096;
        struct drill_line *more;

        if (capacity > DRILL_LINES_MAX)
            return error_set(error, ERR_LIMIT, "the ledger has more than %d lines", DRILL_LINES_MAX);
        more = realloc(ledger->lines, capacity * sizeof(*more));
        if (!more)
            return error_set(error, ERR_NOMEM, "out of memory");
        ledger->lines = more;
        ledger->capacity = capacity;
    }
    ledger->lines[ledger->count++] = line;
    return 0;
}

static int take(struct drill_ledger *ledger, const char *bytes, size_t n, struct error *error)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        if (bytes[i] != '\n') {
            text_add_char(&ledger->rest, bytes[i]);
            continue;
        }
        r = add_line(ledger, ledger->rest.failed ? "" : text_str(&ledger->rest), error);
        text_clear(&ledger->rest);
    }
    return r;
}

int drill_ledger_read(struct drill_ledger *ledger, struct error *error)
{
    char bytes[65536];
    ssize_t n;

    while ((n = read(ledger->fd, bytes, sizeof(bytes))) > 0) {
        int r = take(ledger, bytes, (size_t)n, error);

        if (r < 0)
            return r;
    }
    if (n < 0)
        return error_set(error, ERR_IO, "%s: %s", ledger->folder, strerror(errno));
    return 0;
}
