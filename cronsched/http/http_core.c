/* Below all files of the HTTP server: a daemon's turn on the loop, and whether a request still takes an
 * answer.
 *
 * A daemon's epoll fd becomes readable, or its own timeout has come -> http_daemon_run -> MHD_run, which
 * accepts, reads, calls http_on_request, sends -> ask for its next timeout. The question is asked after
 * every run: it carries what is left over from edge-triggered events and from TLS. A reply that comes
 * later resumes its connection, which the library does not notice by itself: http_daemon_wake.
 */
#include "cronsched/http/http_core.h"

#include <assert.h>

static void on_timer(uv_timer_t *timer);

void http_daemon_run(struct http_daemon *d)
{
    MHD_UNSIGNED_LONG_LONG ms;

    assert(!d->running && !d->closing);
    d->running = true;
    d->again = false;
    MHD_run(d->mhd);
    d->running = false;
    if (d->again)
        uv_timer_start(&d->timer, on_timer, 0, 0);
    else if (MHD_get_timeout(d->mhd, &ms) == MHD_YES)
        uv_timer_start(&d->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&d->timer);
}

static void on_timer(uv_timer_t *timer)
{
    http_daemon_run(OBJECT(struct http_daemon, timer->data));
}

void http_on_poll(uv_poll_t *poll, int status, int events)
{
    http_daemon_run(OBJECT(struct http_daemon, poll->data));
}

void http_daemon_wake(struct http_daemon *d)
{
    d->again = true;
    if (!d->running && !d->closing)
        uv_timer_start(&d->timer, on_timer, 0, 0);
}

bool http_answered(const struct http_request *r)
{
    return r->answered || r->phase == HTTP_DONE;
}
