#include "cronsched/server/engine_watch.h"

#include "cronsched/io/log.h"
#include "leader/worker/loop.h"

#include <stdio.h>
#include <string.h>

static void look_who(struct engine_watch *w, size_t i, const struct engine_status *status)
{
    char *known = w->identity[i];

    if (!status->identity[0])
        return;
    if (known[0] && strcmp(known, status->identity) != 0)
        log_event(
            LOG_ERROR, "engine-replaced", LOG_TEXT("engine", w->engines[i]->name), LOG_TEXT("was", known),
            LOG_TEXT("is", status->identity),
            LOG_TEXT("text",
                     "another engine answers now: what was started on the one before is unresolved until "
                     "that one is back, or lost after resolve_within"));
    snprintf(known, ENGINE_IDENTITY_MAX, "%s", status->identity);
}

static void look(struct engine_watch *w, size_t i)
{
    const struct engine *engine = w->engines[i];
    uint64_t now = uv_now(w->timer.loop);
    struct engine_status status = {0};

    engine->ops->status(engine, &status);
    if (!status.reachable && !w->since_ms[i])
        w->since_ms[i] = now;
    if (!status.reachable && !w->told[i] && now - w->since_ms[i] >= ENGINE_AWAY_MS) {
        w->told[i] = true;
        log_event(LOG_WARN, "engine-unreachable", LOG_TEXT("engine", engine->name),
                  LOG_TEXT("text", status.text));
    }
    look_who(w, i, &status);
    if (status.reachable) {
        if (w->told[i])
            log_event(LOG_NOTE, "engine-back", LOG_TEXT("engine", engine->name),
                      LOG_INT("away_ms", (int64_t)(now - w->since_ms[i])));
        w->told[i] = false;
        w->since_ms[i] = 0;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct engine_watch *w = OBJECT(struct engine_watch, timer->data);

    for (size_t i = 0; i < w->count; i++)
        look(w, i);
}

void engine_watch_start(struct engine_watch *w, uv_loop_t *loop, struct engine *const *engines, size_t count)
{
    *w = (struct engine_watch){.engines = engines, .count = count};
    OBJECT_INIT(struct engine_watch, w);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    loop_timer_start(&w->timer, on_timer, 0, ENGINE_WATCH_MS);
    uv_unref((uv_handle_t *)&w->timer);
}

void engine_watch_close(struct engine_watch *w)
{
    uv_close((uv_handle_t *)&w->timer, NULL);
}
