/* The null engine: for benchmarks and tests of everything around engines. Its attempts exist in memory only:
 * they are prepared and started as soon as they are asked for, and end by themselves `delay_ms` after their
 * start, with `exit_code`. Stopped ones end at once by signal 15.
 *
 * It keeps the contract of engine.h, also where that is inconvenient: what was started is known until it has
 * ended and is no longer kept; an id of another life of the process is UNKNOWN when it may have run.
 *
 * Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define NULL_MAX_ARMED_DEFAULT 4096
#define NULL_SWEEP_MS          5000

struct null_engine_options {
    const char *name;
    int64_t delay_ms; /* from the start to the end; 0: the next turn of the loop */
    int exit_code;
    int max_armed; /* 0: NULL_MAX_ARMED_DEFAULT */
};

int null_engine_new(struct engine **ret, uv_loop_t *loop, const struct null_engine_options *options,
                    struct engine_host *host, struct error *error);
