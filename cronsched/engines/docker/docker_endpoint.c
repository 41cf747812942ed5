/* Where an engine listens. Pure. */
#include "cronsched/engines/docker/docker_api.h"
#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_PATH_MAX 107 /* sun_path */

int docker_endpoint_read(struct docker_endpoint *ret, const char *text, bool tls, struct error *error)
{
    static const char *const schemes[] = {"tcp://", "http://", "https://"};
    char url[512];

    assert(text);
    *ret = (struct docker_endpoint){.text = alloc_text(text)};
    if (strncmp(text, "unix:///", 8) == 0) {
        if (strlen(text) - 7 > SOCKET_PATH_MAX)
            return error_set(error, ERR_INVALID, "endpoint: '%s': the path of a socket is at most %d bytes",
                             text, SOCKET_PATH_MAX);
        ret->unix_socket = alloc_text(text + 7);
        ret->base_url = alloc_text("http://localhost");
        return 0;
    }
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        size_t n = strlen(schemes[i]), host = strcspn(text + (strlen(text) < n ? 0 : n), "/");

        if (strncmp(text, schemes[i], n) != 0)
            continue;
        if (host == 0 || host > 300 || strcspn(text + n, "/") + 1 < strlen(text + n))
            break;
        snprintf(url, sizeof(url), "%s%.*s", i == 2 || tls ? "https://" : "http://", (int)host, text + n);
        ret->base_url = alloc_text(url);
        return 0;
    }
    return error_set(error, ERR_INVALID, "endpoint: '%s' is neither unix:///PATH nor tcp://HOST:PORT", text);
}

void docker_endpoint_release(struct docker_endpoint *endpoint)
{
    free(endpoint->text);
    free(endpoint->unix_socket);
    free(endpoint->base_url);
    *endpoint = (struct docker_endpoint){0};
}
