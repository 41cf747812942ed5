/* Any bytes as a calendar. What is accepted must be sorted stretches of days that lie apart and touch the
 * span asked for; what is refused must be told. */
#include "jobs/time/icalendar.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t from = civil_days(2026, 1, 1), to = civil_days(2036, 12, 31);
    struct civil_range *ranges = NULL;
    struct error error;
    size_t count = 0;
    int line = -1;

    if (icalendar_read((const char *)data, size, from, to, &ranges, &count, &line, &error) < 0) {
        require(line >= 0 && error.text[0]);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        require(ranges[i].from <= ranges[i].to);
        require(ranges[i].to >= from && ranges[i].from <= to);
        require(i == 0 || ranges[i].from > ranges[i - 1].to + 1);
    }
    free(ranges);
    return 0;
}
