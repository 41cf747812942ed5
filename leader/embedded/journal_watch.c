#include "leader/embedded/journal_watch.h"

#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

struct journal_watch {
    struct object object;
    const struct journal_watch_events *events;
    void *arg;
    uv_thread_t thread, loop_thread;
    uv_async_t async;
    uv_mutex_t mutex;
    uv_cond_t wake;
    /* with the mutex */
    int64_t
        seen_ms; /* boot time at which a look that found all well began: it goes on while the machine sleeps */
    bool well, told, stopping, ended;
    struct error error;
};

/* ---- the thread ---- */

static void look(struct journal_watch *w)
{
    struct error error = {0};
    int64_t began_ms = clock_boot_ms();
    int rc = w->events->look(w->arg, &error);

    assert(!loop_is_thread(w->loop_thread)); /* it may take as long as it wants */
    uv_mutex_lock(&w->mutex);
    if (rc == 0) {
        w->seen_ms = began_ms;
    } else if (w->well) {
        w->error = error;
        w->told = false;
        uv_async_send(&w->async);
    }
    w->well = rc == 0;
    uv_mutex_unlock(&w->mutex);
}

static void run(void *arg)
{
    struct journal_watch *w = OBJECT(struct journal_watch, arg);
    bool stopping = false;

    while (!stopping) {
        look(w);
        uv_mutex_lock(&w->mutex);
        if (!w->stopping)
            uv_cond_timedwait(&w->wake, &w->mutex, (uint64_t)JOURNAL_WATCH_MS * 1000000);
        stopping = w->stopping;
        w->ended = stopping;
        uv_mutex_unlock(&w->mutex);
    }
    uv_async_send(&w->async);
}

/* ---- the loop ---- */

static void on_closed(uv_handle_t *handle)
{
    struct journal_watch *w = OBJECT(struct journal_watch, handle->data);
    const struct journal_watch_events *events = w->events;
    void *arg = w->arg;

    uv_cond_destroy(&w->wake);
    uv_mutex_destroy(&w->mutex);
    OBJECT_FREE(struct journal_watch, w);
    events->stopped(arg);
}

static void on_async(uv_async_t *async)
{
    struct journal_watch *w = OBJECT(struct journal_watch, async->data);
    struct error error;
    bool tell, ended, stopping;

    uv_mutex_lock(&w->mutex);
    tell = !w->well && !w->told;
    error = w->error;
    w->told = true;
    ended = w->ended;
    stopping = w->stopping;
    uv_mutex_unlock(&w->mutex);
    if (ended && !uv_is_closing((uv_handle_t *)async)) {
        uv_thread_join(&w->thread);
        uv_close((uv_handle_t *)async, on_closed);
    } else if (tell && !stopping) {
        w->events->failed(w->arg, &error);
    }
}

int journal_watch_start(struct journal_watch **ret, uv_loop_t *loop,
                        const struct journal_watch_events *events, void *arg, struct error *error)
{
    struct journal_watch *w = OBJECT_NEW(struct journal_watch);
    int rc;

    w->events = events;
    w->arg = arg;
    w->loop_thread = uv_thread_self();
    w->well = w->told = true;
    w->seen_ms = clock_boot_ms();
    w->async.data = w;
    uv_mutex_init(&w->mutex);
    uv_cond_init(&w->wake);
    rc = uv_async_init(loop, &w->async, on_async);
    assert(rc == 0);
    uv_unref((uv_handle_t *)&w->async);
    rc = uv_thread_create(&w->thread, run, w);
    if (rc == 0) {
        *ret = w;
        return 0;
    }
    error_set(error, ERR_LIMIT, "no thread for watching the journal: %s", uv_strerror(rc));
    w->thread = 0;
    uv_close((uv_handle_t *)&w->async, NULL);
    return ERR_LIMIT; /* the process is about to end: the handle is the loop's until then */
}

void journal_watch_stop(struct journal_watch *w)
{
    assert(loop_is_thread(w->loop_thread) && !w->stopping);
    uv_mutex_lock(&w->mutex);
    w->stopping = true;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->mutex);
    uv_ref((uv_handle_t *)&w->async);
}

bool journal_watch_fresh(const struct journal_watch *watch)
{
    struct journal_watch *w = (struct journal_watch *)watch;
    bool fresh;

    assert(loop_is_thread(w->loop_thread));
    uv_mutex_lock(&w->mutex);
    fresh = w->well && clock_boot_ms() - w->seen_ms < JOURNAL_WATCH_FRESH_MS;
    uv_mutex_unlock(&w->mutex);
    return fresh;
}
