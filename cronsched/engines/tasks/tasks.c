#include "cronsched/engines/tasks/tasks.h"

#include "jobs/state/record.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DISCARD_MS 5000 /* what is due in this time goes before it */

/* ---- a task ---- */

void task_init(struct task *t, struct tasks *tasks, enum engine_op op, const struct engine_request *request)
{
    *t = (struct task){.tasks = tasks, .op = op};
    engine_request_copy(&t->q, request);
    list_init(&t->link);
    tasks->count++;
}

/* Takes it out of every list and count, with nothing of it under way any more. */
static void detach(struct task *t)
{
    struct tasks *tasks = t->tasks;

    list_remove(&t->link);
    if (t->place == TASK_QUEUED)
        tasks->queued--;
    else if (t->place == TASK_ACTIVE)
        tasks->working--;
    t->place = TASK_ASIDE;
    t->wake_ms = 0;
    tasks->ops->detach(t);
}

void task_free(struct task *t)
{
    struct tasks *tasks = t->tasks;
    struct engine_request q;

    detach(t);
    if (t->on_thread) {
        t->is_forgotten = true;
        return;
    }
    tasks->count--;
    q = t->q;
    tasks->ops->free(t);
    engine_request_release(&q);
}

void task_answer(struct task *task, const struct engine_answer *answer)
{
    struct tasks *tasks = task->tasks;
    struct engine_answer a = *answer;

    a.ticket = task->q.ticket;
    detach(task);
    tasks_pump_soon(tasks);
    tasks->host->answer(tasks->host, &a); /* `a` may point into the task */
    task_free(task);
}

void task_answer_text(struct task *task, enum engine_event event, int exit_code, const char *format, ...)
{
    char text[TEXT_FIELD_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    task_answer(task, &(struct engine_answer){.event = event, .exit_code = exit_code, .text = text});
}

bool tasks_are_busy(const struct tasks *tasks, const char *id, const char *run)
{
    const struct list *const lists[] = {&tasks->queue, &tasks->urgent, &tasks->active, &tasks->aside,
                                        &tasks->watches};

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        LIST_EACH(link, lists[i])
        {
            const struct task *t = LIST_ITEM(link, struct task, link);

            if ((t->q.id && strcmp(t->q.id, id) == 0) ||
                (run && t->op == ENGINE_PREPARE && strcmp(t->q.run, run) == 0))
                return true;
        }
    }
    return false;
}

/* ---- wakes ---- */

static void on_tick(uv_timer_t *timer);

static void tick_start(struct tasks *tasks)
{
    if (!uv_is_active((uv_handle_t *)&tasks->tick))
        loop_timer_start(&tasks->tick, on_tick, (uint64_t)tasks->tick_ms, (uint64_t)tasks->tick_ms);
}

void task_wake_in(struct task *task, int64_t ms)
{
    struct tasks *tasks = task->tasks;

    task->wake_ms = (int64_t)uv_now(tasks->loop) + ms;
    if (ms <= 0)
        tasks_pump_soon(tasks);
    else
        tick_start(tasks);
}

static bool wake_due(struct tasks *tasks, struct list *list, bool *any)
{
    int64_t now = (int64_t)uv_now(tasks->loop);

    LIST_EACH(link, list)
    {
        struct task *t = LIST_ITEM(link, struct task, link);

        if (t->wake_ms == 0)
            continue;
        *any = true;
        if (t->wake_ms <= now) {
            t->wake_ms = 0;
            tasks->ops->wake(t);
            return true; /* the list may have changed: from its begin again */
        }
    }
    return false;
}

/* Each task once at most, so that one that wants to be woken at once, again and again, does not hold up the loop. */
static bool wake_all(struct tasks *tasks)
{
    struct list *const lists[] = {&tasks->active, &tasks->aside, &tasks->watches};
    int left = tasks->count;
    bool any = false;

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        while (left > 0 && !tasks->closing && wake_due(tasks, lists[i], &any))
            left--;
    return any;
}

static void on_tick(uv_timer_t *timer)
{
    struct tasks *tasks = OBJECT(struct tasks, timer->data);

    if (!wake_all(tasks) && !tasks->closing)
        uv_timer_stop(timer);
}

/* ---- places ---- */

/* Before the first one that is due later; among equals the first come goes first. */
static void queue_by_time(struct tasks *tasks, struct task *t)
{
    struct list *at = &tasks->queue;

    while (at->prev != &tasks->queue && LIST_ITEM(at->prev, struct task, link)->due_ms > t->due_ms)
        at = at->prev;
    list_append(at, &t->link);
}

void task_queue(struct task *t)
{
    struct tasks *tasks = t->tasks;

    assert(t->place == TASK_ASIDE);
    list_remove(&t->link);
    t->due_ms = t->op == ENGINE_DISCARD ? tasks->host->now_ms(tasks->host) + DISCARD_MS : t->q.fire_ms;
    if (t->op == ENGINE_RELEASE || t->op == ENGINE_STOP)
        list_append(&tasks->urgent, &t->link);
    else
        queue_by_time(tasks, t);
    t->place = TASK_QUEUED;
    tasks->queued++;
    tasks_pump_soon(tasks);
}

void task_watch(struct task *t)
{
    assert(t->place == TASK_ASIDE);
    list_append(&t->tasks->watches, &t->link);
}

void task_step_aside(struct task *t)
{
    struct tasks *tasks = t->tasks;

    assert(t->place == TASK_ACTIVE);
    list_remove(&t->link);
    list_append(&tasks->aside, &t->link);
    t->place = TASK_ASIDE;
    tasks->working--;
    tasks_pump_soon(tasks);
}

static struct list *first_list(struct tasks *tasks)
{
    return !list_empty(&tasks->urgent) ? &tasks->urgent : &tasks->queue;
}

static struct task *take_first(struct tasks *tasks)
{
    struct task *t = LIST_ITEM(first_list(tasks)->next, struct task, link);

    list_remove(&t->link);
    list_append(&tasks->active, &t->link);
    t->place = TASK_ACTIVE;
    tasks->queued--;
    tasks->working++;
    return t;
}

/* All that waits when the pump begins, and not what comes in from within the answers. */
static void refuse_waiting(struct tasks *tasks)
{
    const char *why;

    for (int n = tasks->queued; n > 0 && !tasks->closing && !list_empty(first_list(tasks)) &&
                                (why = tasks->ops->away(tasks->engine));
         n--)
        task_answer_text(take_first(tasks), ENGINE_UNREACHABLE, -1, "%s", why);
}

static void on_pump(uv_timer_t *timer)
{
    struct tasks *tasks = OBJECT(struct tasks, timer->data);

    if (wake_all(tasks) && !tasks->closing)
        tick_start(tasks);
    refuse_waiting(tasks);
    while (!tasks->closing && tasks->working < tasks->parallel && !list_empty(first_list(tasks)) &&
           tasks->ops->open(tasks->engine))
        tasks->ops->begin(take_first(tasks));
}

void tasks_pump_soon(struct tasks *tasks)
{
    if (!tasks->closing && !uv_is_active((uv_handle_t *)&tasks->pump))
        loop_timer_start(&tasks->pump, on_pump, 0, 0);
}

/* ---- on a thread ---- */

void task_to_thread(struct task *t)
{
    t->on_thread = true;
    tasks_hold(t->tasks);
}

bool task_is_wanted(struct task *t)
{
    struct tasks *tasks = t->tasks;

    t->on_thread = false;
    if (!t->is_forgotten)
        return true;
    task_free(t);
    tasks_release(tasks);
    return false;
}

/* ---- life ---- */

void tasks_init(struct tasks *tasks, const struct tasks_ops *ops, void *engine, uv_loop_t *loop,
                struct engine_host *host, int parallel, int64_t tick_ms)
{
    struct list *const lists[] = {&tasks->queue, &tasks->urgent, &tasks->active, &tasks->aside,
                                  &tasks->watches};
    uv_timer_t *const timers[] = {&tasks->pump, &tasks->tick};

    *tasks = (struct tasks){
        .ops = ops, .engine = engine, .loop = loop, .host = host, .parallel = parallel, .tick_ms = tick_ms};
    OBJECT_INIT(struct tasks, tasks);
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        list_init(lists[i]);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = tasks;
        tasks_hold(tasks);
    }
}

static void free_all(struct list *list)
{
    while (!list_empty(list))
        task_free(LIST_ITEM(list->next, struct task, link));
}

void tasks_abandon(struct tasks *tasks)
{
    free_all(&tasks->urgent);
    free_all(&tasks->queue);
    free_all(&tasks->active);
    free_all(&tasks->aside);
    free_all(&tasks->watches);
}

void tasks_hold(struct tasks *tasks)
{
    tasks->held++;
}

void tasks_release(struct tasks *tasks)
{
    void (*done)(void *) = tasks->done;
    void *arg = tasks->done_arg;

    assert(tasks->held > 0);
    if (--tasks->held > 0 || !tasks->closing)
        return;
    tasks->ops->closed(tasks->engine);
    if (done)
        done(arg);
}

static void on_closed(uv_handle_t *handle)
{
    tasks_release(OBJECT(struct tasks, handle->data));
}

void tasks_close(struct tasks *tasks, void (*done)(void *arg), void *arg)
{
    assert(!tasks->closing);
    tasks->closing = true;
    tasks->done = done;
    tasks->done_arg = arg;
    tasks_abandon(tasks);
    uv_close((uv_handle_t *)&tasks->pump, on_closed);
    uv_close((uv_handle_t *)&tasks->tick, on_closed);
}
