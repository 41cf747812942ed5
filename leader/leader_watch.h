/* Notices at once that the leader's process is gone: keeps a TCP connection to its address, on which nothing
 * is ever sent. When the connection ends, another is tried: refused means that no process listens there any more.
 * An end alone means nothing (the server closes idle connections), nor does silence: a host that vanished is
 * left to the session timeout.
 *
 * One thread: the loop's.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

#define LEADER_WATCH_PAUSE_MS 1000 /* between connections that end or fail at once */

struct leader_watch;

/* `gone` is called from the loop, once for each leader_watch_set that starts a watch; that ends the watch. */
void leader_watch_new(struct leader_watch **ret, uv_loop_t *loop, void (*gone)(void *arg, int64_t epoch),
                      void *arg);
/* Watches this address; the same one and epoch again change nothing. */
void leader_watch_set(struct leader_watch *watch, const char *host, const char *port, int64_t epoch);
void leader_watch_stop(struct leader_watch *watch);
/* done is called once, from the loop; then the watch is gone. */
void leader_watch_close(struct leader_watch *watch, void (*done)(void *arg), void *arg);
