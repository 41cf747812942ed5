/* WATCH: to the end of an attempt, whoever started it.
 *
 * The happy path: read the folder on the pool; it runs: take a pidfd of its supervisor and let the loop report
 * when that ends; read again; it has ended: answer.
 *
 * Failures:
 *   the supervisor was killed and something of the work lives: nobody keeps its output or will know how it ends, so it
 *      is killed; while any of it lives the attempt is running, and it is looked at every PROCESS_POLL_MS
 *   no pidfd can be had (it is of another pid namespace): look again every PROCESS_POLL_MS
 *   the folder cannot be read: UNREACHABLE, look again after PROCESS_RETRY_MS; STARTED when it can be, again
 *   it is gone, or has no start in it: somebody has removed it, or files in it. While something of the attempt lives it
 *      is running, and looked at every PROCESS_POLL_MS; then UNKNOWN (process_gone.c)
 */
#include "cronsched/engines/process/process_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

struct process_watch {
    struct object object;
    struct process_engine *engine;
    struct list link;
    uint64_t ticket;
    char name[ATTEMPT_DIR_NAME_MAX], host[ATTEMPT_DIR_HOST_MAX];
    bool unreachable;  /* told so, or known */
    struct follow *on; /* NULL: no process is followed */
    uv_timer_t timer;
};

/* The end of a process. On the heap by itself, since a watch may have to follow another one afterwards. */
struct follow {
    struct object object;
    struct process_watch *watch; /* NULL: no longer needed */
    struct process_engine *engine;
    int pidfd;
    uv_poll_t poll;
};

static void look(struct process_watch *w);

static void on_follow_closed(uv_handle_t *handle)
{
    struct follow *f = OBJECT(struct follow, handle->data);
    struct process_engine *e = f->engine;

    close(f->pidfd);
    OBJECT_FREE(struct follow, f);
    process_released(e);
}

static void unfollow(struct process_watch *w)
{
    if (!w->on)
        return;
    w->on->watch = NULL;
    uv_close((uv_handle_t *)&w->on->poll, on_follow_closed);
    w->on = NULL;
}

static void on_process_end(uv_poll_t *poll, int status, int events)
{
    struct follow *f = OBJECT(struct follow, poll->data);
    struct process_watch *w = f->watch;

    FAULT_POINT("process-watch-end", w->name);
    unfollow(w);
    look(w);
}

/* Takes the pidfd over. */
static void follow(struct process_watch *w, int pidfd)
{
    struct follow *f = OBJECT_NEW(struct follow);

    assert(!w->on);
    f->watch = w;
    f->engine = w->engine;
    f->pidfd = pidfd;
    f->poll.data = f;
    process_held(w->engine);
    uv_poll_init(w->engine->loop, &f->poll, pidfd);
    uv_poll_start(&f->poll, UV_READABLE, on_process_end);
    w->on = f;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct process_watch *w = OBJECT(struct process_watch, handle->data);
    struct process_engine *e = w->engine;

    OBJECT_FREE(struct process_watch, w);
    process_released(e);
}

static void drop(struct process_watch *w)
{
    list_remove(&w->link);
    w->engine->watched--;
    unfollow(w);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

void process_watch_drop_all(struct process_engine *e)
{
    while (!list_empty(&e->watches))
        drop(LIST_ITEM(e->watches.next, struct process_watch, link));
}

static void on_timer(uv_timer_t *timer)
{
    look(OBJECT(struct process_watch, timer->data));
}

/* ---- looking ---- */

static void look_run(struct process_call *call)
{
    int folder = -1;

    FAULT_POINT("process-watch", call->name);
    call->result = attempt_dir_open(call->engine->root, call->name, &folder, &call->error);
    if (call->result == ERR_NOT_FOUND)
        process_gone_runs(call, false);
    if (folder < 0)
        return;
    call->result = attempt_dir_read(folder, &call->status, &call->error);
    if (call->result == 0 && call->status.state == ATTEMPT_DIR_WAITING)
        process_gone_runs(call, call->status.alive);
    if (call->result == 0 && call->status.orphaned && attempt_dir_kill_work(folder, &call->status) == 0)
        call->result = attempt_dir_read(folder, &call->status, &call->error);
    close(folder);
    if (call->result == 0 && call->status.state == ATTEMPT_DIR_RUNNING)
        attempt_dir_pidfd(&call->status.supervisor, &call->fd, NULL);
}

static void conclude(struct process_watch *w, enum engine_event event, const char *text)
{
    struct process_engine *e = w->engine;
    uint64_t ticket = w->ticket;

    drop(w);
    process_answer_text(e, ticket, event, -1, text);
}

/* Whatever has to be set up is set up before the answer, which may do away with the watch. */
static void runs_on(struct process_watch *w, struct process_call *call)
{
    bool was_unreachable = w->unreachable;

    w->unreachable = false;
    if (call->fd >= 0) {
        follow(w, call->fd);
        call->fd = -1;
    } else {
        loop_timer_start(&w->timer, on_timer, PROCESS_POLL_MS, 0);
    }
    if (was_unreachable)
        process_answer_status(call->engine, call->ticket, &call->status);
}

static void cannot_read(struct process_watch *w, struct process_call *call)
{
    bool was_unreachable = w->unreachable;

    w->unreachable = true;
    loop_timer_start(&w->timer, on_timer, PROCESS_RETRY_MS, 0);
    if (!was_unreachable)
        process_answer_text(call->engine, call->ticket, ENGINE_UNREACHABLE, -1, call->error.text);
}

static void look_done(struct process_call *call)
{
    struct process_watch *w = call->watch;
    struct attempt_dir_status *s = &call->status;

    if (call->result == ERR_NOT_FOUND) {
        conclude(w, ENGINE_UNKNOWN, "its folder is gone, and with it how it ended");
    } else if (call->result < 0) {
        cannot_read(w, call);
    } else if (s->state == ATTEMPT_DIR_RUNNING) {
        runs_on(w, call);
    } else if (s->state == ATTEMPT_DIR_WAITING || s->state == ATTEMPT_DIR_FENCED) {
        conclude(w, ENGINE_UNKNOWN, "its folder knows of no start");
    } else {
        if (s->state ==
            ATTEMPT_DIR_REFUSED) /* to a watch this is an end like others: cause engine, 126 or 127 */
            s->state = ATTEMPT_DIR_ENDED;
        FAULT_POINT("process-watch-ended", call->name);
        drop(w);
        process_answer_status(call->engine, call->ticket, s);
    }
    FAULT_POINT("process-answered", "watch");
}

static void look(struct process_watch *w)
{
    static const struct process_call_ops ops = {look_run, look_done};
    struct process_call *call = process_call_new(w->engine, &ops, w->ticket, w->name);

    call->watch = w;
    memcpy(call->host, w->host, sizeof(call->host));
    process_call_queue(call);
}

void process_watch_start(struct process_engine *e, uint64_t ticket, const char *name, const char *host,
                         bool unresolved)
{
    struct process_watch *w = OBJECT_NEW(struct process_watch);

    w->engine = e;
    w->ticket = ticket;
    w->unreachable = unresolved;
    snprintf(w->name, sizeof(w->name), "%s", name);
    snprintf(w->host, sizeof(w->host), "%s", host);
    uv_timer_init(e->loop, &w->timer);
    w->timer.data = w;
    process_held(e);
    e->watched++;
    list_append(&e->watches, &w->link);
    look(w);
}
