/* The clock of this process: the machine's wall clock through a guarded_clock.h, with what confirms a jump of it. That is
 * the other members of its cluster where there are any (cronsched/cluster/clock_voices.h), else the kernel's word that a
 * time service keeps its clock. Logs when a jump is held, and when the clock is believed again. On the loop's thread.
 */
#pragma once

#include "cronsched/cluster/replica.h"
#include "cronsched/server/guarded_clock.h"

/* The time to go by; replica NULL: this process is alone. */
int64_t server_clock_read(struct guarded_clock *clock, struct replica *replica);
