/* How long the loop is away: the time between two looks at its descriptors, less what it slept. Code that
 * blocks the loop shows here; a leader whose loop is blocked for too long loses its session. And how much of such a time its
 * thread computed: the rest the machine gave to others, or a disk took.
 *
 * The handle does not keep the loop alive. One thread: the loop's.
 */
#pragma once

#include "jobs/base/object.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define LOOP_GAP_WINDOW_MS 60000

struct loop_gap {
    struct object object;
    uv_prepare_t prepare;
    uint64_t last_ns, idle_ns;
    uint64_t busy_ns;                                    /* all time spent away since it began */
    uint64_t max_ns;                                     /* longest since the window began, */
    uint64_t max_before_ns;                              /* and in the window before */
    uint64_t window_ns;                                  /* when the window began */
    uint64_t last_cpu_ns, max_cpu_ns, max_cpu_before_ns; /* likewise, of the processor */
};

void loop_gap_start(struct loop_gap *gap, uv_loop_t *loop);
/* The longest of the last one to two minutes. */
uint64_t loop_gap_longest_ns(const struct loop_gap *gap);
uint64_t
loop_gap_most_cpu_ns(const struct loop_gap *gap); /* between two looks: not always the longest gap's */
void loop_gap_close(struct loop_gap *gap, uv_close_cb closed); /* handle->data is the caller's */
