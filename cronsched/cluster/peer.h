/* Requests to other replicas of the cluster, over the HTTP API that they serve to everybody. Replicas know one
 * another by the cluster's secret, which is in ZooKeeper under its access list. This file fills a request of the
 * HTTP client (cronsched/io/http_client.h) with what all of them need; calls, answers and their end are the
 * client's.
 *
 * One thread: the loop's.
 */
#pragma once

#include "cronsched/io/http_client.h"

#include <jansson.h>

#define PEER_CONNECT_MS      2000
#define PEER_REPLY_BYTES_MAX (16 * 1024 * 1024)

/* How this replica calls others. Plain data, of the replica; outlives its calls. */
struct peer {
    struct http_client *client;
    const char *ca_file; /* NULL: the system's. Borrowed */
    char secret[72];     /* the cluster's; "": not known yet */
};

struct peer_target {
    const char *url;    /* of the replica: "http://HOST:PORT" */
    const char *path;   /* with its query */
    const char *acting; /* "ROLE NAME" of the caller whose request this is; NULL: the replica's own */
};

/* Sends. The caller sets method, body (JSON, NUL-terminated, or NULL), time limits and callbacks of the request;
 * the rest is set here. Errors as those of http_client_start, or ERR_LIMIT: the path is too long. */
int peer_start(struct http_call **ret, const struct peer *peer, const struct peer_target *target,
               struct client_request *request, struct error *error);

/* The answer's body, which has to be a JSON object within the limits of a request's (cronsched/io/json_text.h): a
 * replica is believed no more than a stranger. NULL: it is not, or no whole answer came; the error says which. The
 * caller releases it. */
json_t *peer_json(const struct http_answer *answer, struct error *error);

/* A whole answer came. If not, HTTP_NOT_SENT means that nothing was executed, all else that it may have been. */
static inline bool peer_answered(const struct http_answer *answer)
{
    return answer->outcome == HTTP_ANSWERED && answer->complete;
}
