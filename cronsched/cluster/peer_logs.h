/* Proxies requests for logs to the replica that stores the log, streaming.
 *
 * Happy path: peer_logs_pass -> the likeliest replica answers 200 -> its bytes go out -> both end.
 * Failures: a replica that has no such log, or does not answer: the next one. None has it: not found; one did not
 * answer, or the one that wrote it is away: unreachable. The stream breaks: the client's stream is cut, so that it notices and asks again. The
 * client goes: the call to the replica is ended.
 *
 * Borrows the peer client. One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "cronsched/http/http.h"

#define PEER_LOGS_MAX     64 /* at once */
#define PEER_LOGS_CALLER  16 /* of one caller */
#define PEER_LOGS_KEPT    16 /* only admins get the last ones */
#define PEER_LOGS_TEXT    "text/plain; charset=utf-8"
#define PEER_LOGS_IDLE_MS 60000 /* of one that is not followed */

struct peer_logs;

void peer_logs_new(struct peer_logs **ret, uv_loop_t *loop, const struct peer *peer);
struct peer_logs_target {
    const char *path; /* with its query */
    bool follow;
    bool away;   /* the replica whose machine the attempt ran on is not in the cluster now */
    char **urls; /* of those that may have it, likeliest first; taken */
    size_t url_count;
};

/* Answers the request. */
void peer_logs_pass(struct peer_logs *logs, struct http_request *request,
                    const struct peer_logs_target *target);
/* Ends what is under way; the server that took the requests is closed by then. done is called once, from the
 * loop. */
void peer_logs_close(struct peer_logs *logs, void (*done)(void *arg), void *arg);
