/* Timers, and "at the next turn".
 *
 * libuv runs all timers that are due in one pass, and a timer that is started with 0 from a timer's callback is
 * due in the same pass: a callback that does so again and again keeps the loop from its descriptors for ever. So
 * nobody calls uv_timer_start (tests/lint/style_test.py), and what is to happen soon asks for the next turn.
 * Thread: the loop's.
 */
#pragma once

#include "jobs/base/object.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Whether this is that thread. Whoever belongs to the loop's notes which one it is when it is made (uv_thread_self). */
static inline bool loop_is_thread(uv_thread_t thread)
{
    uv_thread_t self = uv_thread_self();

    return uv_thread_equal(&self, &thread);
}

/* As uv_timer_start. A timer never expires in the pass in which it was started: 0 means 1 ms. */
void loop_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat_ms);

/* Calls back once in the next turn of the loop, after descriptors had theirs; nothing is waited for. */
struct loop_turn {
    struct object object; /* first */
    uv_idle_t idle;       /* its `data` is for the caller, for the callback of loop_turn_close */
    void (*run)(void *arg);
    void *arg;
};

void loop_turn_init(struct loop_turn *turn, uv_loop_t *loop, void (*run)(void *arg), void *arg);
void loop_turn_ask(struct loop_turn *turn); /* again before it ran: once; when it is closing: never */
void loop_turn_close(struct loop_turn *turn, uv_close_cb closed);
