/* How much longer than on a fast machine a test may wait here. */
#pragma once

#include <stdint.h>

/* A deadline of a fast machine, in milliseconds, as one of this machine: times CRONSCHED_PATIENCE, which tests/run.py
 * and every suite of the lab measure and set; as it is when that is not set. */
int64_t patience_ms(int64_t ms);
