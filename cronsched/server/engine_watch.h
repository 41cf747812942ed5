/* Says in the log when an engine cannot be reached, and when it answers again: a job that does not start
 * has its reason there.
 *
 * Borrows the engines until it is closed; the handle does not keep the loop alive. One thread: the loop's.
 */
#pragma once

#include "cronsched/config/config.h"
#include "jobs/base/object.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define ENGINE_WATCH_MS 1000
#define ENGINE_AWAY_MS  3000 /* not reported for so long: a restart, or the first connection */

struct engine_watch {
    struct object object; /* first */
    uv_timer_t timer;
    struct engine *const *engines;
    size_t count;
    uint64_t since_ms[CONFIG_ENGINES_MAX]; /* loop time since when it is away; 0: it is not */
    bool told[CONFIG_ENGINES_MAX];
};

void engine_watch_start(struct engine_watch *w, uv_loop_t *loop, struct engine *const *engines, size_t count);
void engine_watch_close(struct engine_watch *w);
