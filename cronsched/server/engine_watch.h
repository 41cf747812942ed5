/* Says in the log when an engine cannot be reached, when it answers again, and when another one answers in its place:
 * a job that does not start, or a run that is lost, has its reason there.
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
    char identity[CONFIG_ENGINES_MAX][ENGINE_IDENTITY_MAX]; /* the last one; "": none yet */
};

void engine_watch_start(struct engine_watch *w, uv_loop_t *loop, struct engine *const *engines, size_t count);
void engine_watch_close(struct engine_watch *w);
