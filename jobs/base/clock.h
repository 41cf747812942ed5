/* The clocks of this machine, and the only place that reads them. For the program and for leader/; the rest of jobs/ is
 * told the time. Any thread. */
#pragma once

#include <assert.h>
#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    int rc = clock_gettime(clock, &t);

    assert(rc == 0); /* it fails for a clock that does not exist */
    (void)rc;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Since 1970. It jumps when it is set. */
static inline int64_t clock_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static inline int64_t clock_wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

/* Since this machine booted, its sleep included. Never goes back. */
static inline int64_t clock_boot_ms(void)
{
    return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

/* The same without its sleep. */
static inline int64_t clock_mono_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* That the processor has worked for this thread. */
static inline int64_t clock_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}
