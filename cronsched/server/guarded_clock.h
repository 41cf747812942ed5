/* A wall clock that is not believed when it jumps: a step of more than GUARDED_CLOCK_JUMP_MS against the
 * boot-time clock (CLOCK_BOOTTIME, which no one sets and which counts while the machine sleeps) is followed
 * only once another clock confirms it. Until then time goes on as before the step. Pure; one thread.
 *
 * For a replica whose clock is set to next week: without this it would fire a week's jobs at once. The
 * other clock is ZooKeeper's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GUARDED_CLOCK_JUMP_MS 60000

struct guarded_clock { /* all zero before the first reading */
    bool begun, held;
    int64_t wall_ms; /* the last reading given, and when */
    uint64_t boot_ms;
    int64_t jump_ms; /* while held: how far the clock is from where it should be */
    uint64_t held_boot_ms;
};

/* The time to go by; wall_ms and boot_ms are read at the same instant. */
int64_t guarded_clock_read(struct guarded_clock *clock, int64_t wall_ms, uint64_t boot_ms);

/* The wall clock was found offset_ms ahead of the other clock, by a question asked at asked_boot_ms. A small
 * offset that was found after the jump confirms it. */
void guarded_clock_compare(struct guarded_clock *clock, int64_t offset_ms, uint64_t asked_boot_ms);
