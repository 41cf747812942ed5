/* Below all files of the HTTP server: a daemon's turn on the loop, and whether a request still takes an
 * answer.
 *
 * A daemon's epoll fd becomes readable, or its own timeout has come -> http_daemon_run -> MHD_run, which
 * reads, calls http_on_request, sends -> ask for its next timeout. The question is asked after
 * every run: it carries what is left over from edge-triggered events. A reply that comes
 * later resumes its connection, which the library does not notice by itself: http_daemon_wake.
 *
 * The library may want the next run at once, and again after that one, without getting on. Each run is a turn of the loop, so nobody else waits, and after EAGER_RUNS of them in a row without
 * an event the next ones are a pause apart.
 */
#include "cronsched/http/http_core.h"

#include "leader/worker/loop.h"

#include <assert.h>

#define EAGER_RUNS     32
#define EAGER_PAUSE_MS 2

static void on_timer(uv_timer_t *timer);

static void run_at_once(struct http_daemon *d)
{
    if (d->eager_runs < EAGER_RUNS) {
        d->eager_runs++;
        loop_turn_ask(&d->turn);
    } else {
        loop_timer_start(&d->timer, on_timer, EAGER_PAUSE_MS, 0);
    }
}

/* What the listener takes of the loop at once: it shows whose a gap is. */
static void note_time(struct http_daemon *d, uint64_t now_ns, uint64_t took_ns)
{
    if (now_ns - d->window_ns >= HTTP_WINDOW_MS * UINT64_C(1000000)) {
        d->window_ns = now_ns;
        d->longest_before_ns = d->longest_ns;
        d->longest_ns = 0;
    }
    if (took_ns > d->longest_ns)
        d->longest_ns = took_ns;
}

void http_daemon_run(struct http_daemon *d)
{
    MHD_UNSIGNED_LONG_LONG ms;
    uint64_t begun_ns;

    assert(!d->running && !d->closing);
    d->running = true;
    d->again = false;
    begun_ns = uv_hrtime();
    MHD_run(d->mhd);
    note_time(d, uv_hrtime(), uv_hrtime() - begun_ns);
    d->running = false;
    uv_timer_stop(&d->timer);
    if (d->again)
        loop_turn_ask(&d->turn);
    else if (MHD_get_timeout(d->mhd, &ms) != MHD_YES)
        return;
    else if (ms == 0)
        run_at_once(d);
    else
        loop_timer_start(&d->timer, on_timer, ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    http_on_turn(timer->data);
}

void http_on_turn(void *arg)
{
    struct http_daemon *d = OBJECT(struct http_daemon, arg);

    if (!d->closing)
        http_daemon_run(d);
}

void http_on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_daemon *d = OBJECT(struct http_daemon, poll->data);

    d->eager_runs = 0;
    http_daemon_run(d);
}

void http_daemon_wake(struct http_daemon *d)
{
    d->again = true;
    if (!d->running && !d->closing)
        loop_turn_ask(&d->turn);
}

bool http_answered(const struct http_request *r)
{
    return r->answered || r->phase == HTTP_DONE;
}
