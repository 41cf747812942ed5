#include "tests/support/patience.h"

#include <stdlib.h>

int64_t patience_ms(int64_t ms)
{
    const char *text = getenv("CRONSCHED_PATIENCE");
    double times = text ? strtod(text, NULL) : 1;

    return times > 1 ? (int64_t)((double)ms * times) : ms;
}
