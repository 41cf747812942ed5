/* Requests that only the leader can answer, taken by a standby: sent on to the leader, and its reply given
 * back.
 *
 * Happy path: forward_request -> the leader answers -> this replica waits until it has applied what was
 * written (so that a read here sees it) -> reply.
 * Failures: no replica leads, or the connection is refused: retried as long as the request has time, so
 * that a failover is not visible. An answer that is lost: sent again, up to FORWARD_SENDS_MAX times with growing
 * pauses, when its route says that doing it twice does no harm (http_repeatable), else `unknown`. An answer that
 * is invalid (a status that does not exist, not a JSON object) is a 502, and nothing is sent again.
 *
 * Borrows the peer client and the view. One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "cronsched/http/http.h"
#include "leader/replicated/replicated.h"

#define FORWARD_CALLS_MAX 1000
#define FORWARD_RETRY_MS  100
#define FORWARD_SENDS_MAX 12    /* of one request, to a leader that answers or may have */
#define FORWARD_MS        25000 /* for all tries; below HTTP_ANSWER_MS */
#define FORWARD_APPLY_MS  2000  /* for this replica to apply what the leader wrote */

struct forward_options {
    uv_loop_t *loop;
    const struct peer *peer;
    const struct replicated_view *(*view)(void *arg);
    void *arg;
    uint64_t retry_ms; /* 0: FORWARD_RETRY_MS */
};

struct forward;

void forward_new(struct forward **ret, const struct forward_options *options);
/* Takes the request and answers it. */
void forward_request(struct forward *forward, struct http_request *request);
/* Answers what waits with an error; done is called once, from the loop. */
void forward_close(struct forward *forward, void (*done)(void *arg), void *arg);
