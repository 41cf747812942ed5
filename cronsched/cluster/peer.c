#include "cronsched/cluster/peer.h"

#include "cronsched/io/json_text.h"

#include <stdio.h>
#include <string.h>

#define PEER_URL_MAX    4096
#define PEER_HEADER_MAX 512

int peer_start(struct http_call **ret, const struct peer *peer, const struct peer_target *target,
               struct client_request *request, struct error *error)
{
    char url[PEER_URL_MAX], bearer[PEER_HEADER_MAX], acting[PEER_HEADER_MAX];
    size_t n = 0;
    int rc;

    if (snprintf(url, sizeof(url), "%s%s", target->url, target->path) >= (int)sizeof(url))
        return error_set(error, ERR_LIMIT, "the path is too long");
    request->url = url;
    request->body_size = request->body ? strlen(request->body) : 0;
    request->ca_file = peer->ca_file;
    if (!request->connect_timeout_ms)
        request->connect_timeout_ms = PEER_CONNECT_MS;
    request->max_bytes = PEER_REPLY_BYTES_MAX;
    request->once = strcmp(request->method, "GET") != 0;
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", peer->secret);
    request->headers[n++] = bearer;
    if (target->acting) {
        snprintf(acting, sizeof(acting), "Cronsched-Acting: %s", target->acting);
        request->headers[n++] = acting;
    }
    if (request->body)
        request->headers[n++] = "Content-Type: application/json";
    request->headers[n] = NULL;
    rc = http_client_start(ret, peer->client, request, error);
    explicit_bzero(bearer, sizeof(bearer));
    return rc;
}

json_t *peer_json(const struct http_answer *answer, struct error *error)
{
    json_t *json = NULL;

    if (!peer_answered(answer))
        error_set(error, ERR_UNREACHABLE, "%s", answer->error);
    else if (answer->status < 200 || answer->status > 599)
        error_set(error, ERR_INVALID, "HTTP status %d is invalid", answer->status);
    else
        json_text_object(answer->body, answer->size, "answer", &json, error);
    return json;
}
