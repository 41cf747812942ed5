/* The clocks of this machine, in milliseconds. Any thread. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Since 1970. It jumps when it is set. */
static inline int64_t clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

static inline int64_t clock_wall_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Since this machine booted, its sleep included. Never goes back. */
static inline int64_t clock_boot_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}
