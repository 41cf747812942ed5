/* A wall clock that is not believed when it jumps: a step of more than GUARDED_CLOCK_JUMP_MS against the
 * boot-time clock (CLOCK_BOOTTIME, which no one sets and which counts while the machine sleeps) is followed
 * once other clocks confirm it. Until then time goes on as before the step. Pure; one thread.
 *
 * For a machine whose clock is set to next week: without this it would fire a week's jobs at once, and nothing in the week
 * after it was set right. The other clocks are those of the cluster's members and ZooKeeper's
 * (cronsched/cluster/clock_voices.h); of a machine alone, what its kernel says of its time service, and a person.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GUARDED_CLOCK_JUMP_MS 60000

struct guarded_clock { /* all zero before the first reading */
    bool begun, held;
    bool from_journal; /* the clock was behind the journal when it began, and has not come so far since */
    int64_t wall_ms;   /* the last reading given, and when */
    uint64_t boot_ms;
    int64_t jump_ms; /* while held: how far the clock is from where it should be */
    uint64_t held_boot_ms;
};

/* The time to go by; wall_ms and boot_ms are read at the same instant. */
int64_t guarded_clock_read(struct guarded_clock *clock, int64_t wall_ms, uint64_t boot_ms);

/* The journal's newest batch is of that time, later than the clock says: time goes on from there, until the clock is there
 * too, however far beyond (it had not been set yet), or is confirmed. */
void guarded_clock_not_before(struct guarded_clock *clock, int64_t wall_ms, uint64_t boot_ms);

/* The other clocks, as they were heard after held_boot_ms, agree with the wall clock: the next reading is believed. */
void guarded_clock_confirm(struct guarded_clock *clock);
