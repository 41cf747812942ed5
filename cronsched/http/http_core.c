/* Below all files of the HTTP server: a daemon's turn on the loop, and whether a request still takes an
 * answer.
 *
 * A daemon's epoll fd becomes readable, or its own timeout has come -> http_daemon_run -> MHD_run, which
 * accepts, reads, calls http_on_request, sends -> ask for its next timeout. The question is asked after
 * every run: it carries what is left over from edge-triggered events and from TLS. A reply that comes
 * later resumes its connection, which the library does not notice by itself: http_daemon_wake.
 *
 * The library may want the next run at once, and again after that one, without getting on: half a TLS record
 * does it. Each run is a turn of the loop, so nobody else waits, and after EAGER_RUNS of them in a row without
 * an event the next ones are a pause apart.
 *
 * Without a free descriptor the library would try to accept again and again as long as it has no connection;
 * a daemon pauses instead. With connections the library waits for the end of one by itself.
 */
#include "cronsched/http/http_core.h"

#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

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

void http_daemon_run(struct http_daemon *d)
{
    MHD_UNSIGNED_LONG_LONG ms;

    assert(!d->running && !d->closing);
    d->running = true;
    d->again = false;
    MHD_run(d->mhd);
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

static bool descriptor_free(const struct http_daemon *d)
{
    int fd = fcntl(d->listener->socket.fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return errno != EMFILE && errno != ENFILE;
    close(fd);
    return true;
}

static void pause_accepting(struct http_daemon *d)
{
    const struct http *http = d->listener->http;

    if (!d->paused && http->log)
        http->log(http->arg, LOG_WARN, "http-paused",
                  "no descriptor is left for a connection: clients wait until one is");
    d->paused = true;
    uv_poll_stop(&d->poll);
    loop_timer_start(&d->timer, on_timer, HTTP_PAUSE_MS, 0);
}

static void resume_accepting(struct http_daemon *d)
{
    d->paused = false;
    uv_poll_start(&d->poll, UV_READABLE, http_on_poll);
}

static void on_timer(uv_timer_t *timer)
{
    http_on_turn(timer->data);
}

void http_on_turn(void *arg)
{
    struct http_daemon *d = OBJECT(struct http_daemon, arg);

    if (d->closing)
        return;
    if (d->paused && !descriptor_free(d)) {
        pause_accepting(d);
        return;
    }
    if (d->paused)
        resume_accepting(d);
    http_daemon_run(d);
}

void http_on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_daemon *d = OBJECT(struct http_daemon, poll->data);

    d->eager_runs = 0;
    if (list_empty(&d->connections) && !d->retired && !descriptor_free(d))
        pause_accepting(d);
    else
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
