/* Name look-ups on a worker (worker.h): the resolver may take minutes, and libuv's own look-ups share their threads
 * with all files. One thread: the loop's.
 */
#pragma once

#include "leader/worker/worker.h"

#include <netdb.h>

#define RESOLVE_DEADLINE_MS 10000 /* then the look-up counts as failed: no answer */

/* A worker for look-ups, one at a time without those that hang. */
struct worker *resolve_worker_new(uv_loop_t *loop);

/* result 0: `found` is the callee's, for freeaddrinfo. Otherwise an error code, and `why` for people. */
typedef void resolve_done(void *arg, int result, struct addrinfo *found, const char *why);

/* Addresses for TCP. Every look-up is answered once, from the loop or from within worker_close. `worker` has a
 * deadline. */
void resolve_start(struct worker *worker, const char *host, const char *port, resolve_done *done, void *arg);
