/* The requests of the scheduler inside an engine, from submit to answer. Kinds of object:
 *
 *   tasks  those of one engine: its queue, its places, its wakes; and what keeps it alive until its last part is gone
 *   task   one request. It waits in `queue` or `urgent`, works in `active` (at most `parallel`), stands in `aside` when it
 *          needs no place, or is a watch, in `watches`
 *
 * Both are embedded in the engine's own structs. The way of a request: the engine's submit calls task_init and task_queue; the
 * pump, at the next turn of the loop, gives it a place while the engine is open, and calls ops->begin; in the end it is answered.
 * RELEASE and STOP go first; the others in the order in which their runs are due, so that after a take-over what is due now is
 * fenced, prepared and released before what is due later is fenced. A DISCARD counts as due a little later than it came. A WATCH
 * needs no place: task_watch.
 *
 * A task goes by task_answer or task_answer_text, after which it must not be touched: the host may submit, abandon or close from
 * within. Everything runs on the loop's thread.
 */
#pragma once

#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/engine/engine.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define TASKS_MAX 8192 /* requests that an engine takes, watches counted; what it does with more is its own */

struct task;

struct tasks_ops {
    void (*begin)(struct task *task);  /* it has got a place */
    void (*wake)(struct task *task);   /* the time of task_wake_in has come */
    void (*detach)(struct task *task); /* it is about to go: ends what is under way of it */
    void (*free)(struct task *task);   /* releases what is the engine's own in it, and its memory */
    bool (*open)(void *engine);        /* places are given */
    /* Why the engine cannot be reached: all that waits is answered UNREACHABLE with it. NULL: it can, or nobody knows yet. */
    const char *(*away)(void *engine);
    void (*closed)(void *engine); /* the last part is gone: releases the engine */
};

struct tasks {
    struct object object;
    const struct tasks_ops *ops;
    void *engine; /* of the ops */
    uv_loop_t *loop;
    struct engine_host *host;
    int parallel;
    int64_t tick_ms;

    struct list queue, urgent, active, aside, watches; /* queue: by due_ms */
    int queued, working, count;
    uv_timer_t pump, tick;

    int held; /* handles, and work on threads, that are not gone yet */
    bool closing;
    void (*done)(void *arg);
    void *done_arg;
};

enum task_place { TASK_ASIDE, TASK_QUEUED, TASK_ACTIVE };

struct task {
    struct list link;
    struct tasks *tasks;
    enum engine_op op;
    enum task_place place;
    struct engine_request q;      /* a copy of its own */
    int64_t due_ms;               /* its turn in the queue, by the wall clock */
    int64_t wake_ms;              /* of uv_now; 0: none */
    bool on_thread, is_forgotten; /* a thread works for it: it is freed when that has ended */
};

/* parallel: places. tick_ms: how exact wakes are. All but the ops' engine is borrowed. */
void tasks_init(struct tasks *tasks, const struct tasks_ops *ops, void *engine, uv_loop_t *loop,
                struct engine_host *host, int parallel, int64_t tick_ms);
void tasks_pump_soon(struct tasks *tasks);
/* Frees all of them, without an answer. */
void tasks_abandon(struct tasks *tasks);
/* A request about that object is under way; run: or its PREPARE, NULL: none. */
bool tasks_are_busy(const struct tasks *tasks, const char *id, const char *run);

/* Each hold, of a handle or of work on a thread, ends in a release; after tasks_close the last one ends in ops->closed and then
 * `done`. Its own timers are closed by itself, and hold as well. */
void tasks_hold(struct tasks *tasks);
void tasks_release(struct tasks *tasks);
void tasks_close(struct tasks *tasks, void (*done)(void *arg), void *arg); /* abandons, too */

void task_init(struct task *task, struct tasks *tasks, enum engine_op op,
               const struct engine_request *request);
void task_queue(struct task *task);
void task_watch(struct task *task);
void task_step_aside(struct task *task); /* of an active one: gives its place to others */
/* ms 0: at the next turn of the loop. One wake per task: a new one replaces the old. Not while it is queued. */
void task_wake_in(struct task *task, int64_t ms);
void task_free(struct task *task); /* without an answer */

void task_answer(struct task *task, const struct engine_answer *answer); /* and frees */
void task_answer_text(struct task *task, enum engine_event event, int exit_code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A thread works for it, which is not to be cancelled. When that has come back task_is_wanted says whether anybody still waits
 * for it; where not, the task is gone. Where somebody does, the caller calls tasks_release when it is done with it. */
void task_to_thread(struct task *task);
bool task_is_wanted(struct task *task);
