#include "leader/worker/loop.h"

void loop_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat_ms)
{
    uv_timer_start(timer, callback, ms ? ms : 1, repeat_ms);
}

static void on_idle(uv_idle_t *idle)
{
    struct loop_turn *turn = OBJECT_OF(struct loop_turn, idle, idle);

    uv_idle_stop(idle);
    turn->run(turn->arg);
}

void loop_turn_init(struct loop_turn *turn, uv_loop_t *loop, void (*run)(void *arg), void *arg)
{
    *turn = (struct loop_turn){.run = run, .arg = arg};
    OBJECT_INIT(struct loop_turn, turn);
    uv_idle_init(loop, &turn->idle);
}

void loop_turn_ask(struct loop_turn *turn)
{
    if (!uv_is_closing((uv_handle_t *)&turn->idle))
        uv_idle_start(&turn->idle, on_idle);
}

void loop_turn_close(struct loop_turn *turn, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&turn->idle, closed);
}
