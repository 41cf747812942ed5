/* What an engine answered, as the value that the rest works with. */
#include "cronsched/engines/docker/docker_api.h"
#include "cronsched/io/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool docker_lost(const struct docker_reply *reply)
{
    return reply->outcome != HTTP_ANSWERED || !reply->complete;
}

/* A body that is none, as of an archive, is no error here: who needs a value finds none, and has the reason. */
static const char *read_json(const struct http_answer *answer, json_t **ret)
{
    int r = answer->size > 0 ? json_text_any(answer->body, answer->size, "answer", ret, NULL) : 0;

    if (r == ERR_LIMIT)
        return "the JSON of the engine's answer is too deep or has too many values";
    return r < 0 ? "the engine's answer is not JSON" : "";
}

/* The engine's errors are {"message": TEXT}. */
struct docker_reply docker_read(const struct http_answer *answer, json_t **ret_json)
{
    struct docker_reply reply = {
        .outcome = answer->outcome,
        .status = answer->status,
        .complete = answer->complete,
        .body = answer->body,
        .size = answer->size,
        .date_ms = docker_ms_of(answer->date_s),
        .text = answer->error,
    };

    const char *message;

    *ret_json = NULL;
    if (docker_lost(&reply))
        return reply;
    reply.text = read_json(answer, ret_json);
    reply.json = *ret_json;
    message = json_string_value(json_object_get(reply.json, "message"));
    if (answer->status >= 300)
        reply.text = message ? message : "the engine gives no reason";
    return reply;
}

/* The minor number of "1.41"; 0: there is none. */
static long minor_of(const json_t *version, const char *key)
{
    const char *text = json_string_value(json_object_get(version, key));

    return text && strncmp(text, "1.", 2) == 0 ? strtol(text + 2, NULL, 10) : 0;
}

bool docker_api_choose(const json_t *version, char ret_api[DOCKER_API_SIZE],
                       char ret_version[DOCKER_VERSION_SIZE])
{
    long newest = minor_of(version, "ApiVersion"), oldest = minor_of(version, "MinAPIVersion");
    int minor = newest < DOCKER_API_NEWEST ? (int)newest : DOCKER_API_NEWEST;
    const char *text = json_string_value(json_object_get(version, "Version"));

    if (minor < DOCKER_API_OLDEST || minor < oldest)
        return false;
    snprintf(ret_api, DOCKER_API_SIZE, "/v1.%d", minor);
    snprintf(ret_version, DOCKER_VERSION_SIZE, "%s", text ? text : "?");
    return true;
}
