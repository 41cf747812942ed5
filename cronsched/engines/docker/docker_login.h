/* The credentials for an image's registry, as engines that speak Docker's HTTP API are shown them. Looked up on threads of an
 * engine's own: of the configuration's `registries`, else of Docker's config.json, or of the credential helper that it names.
 *
 * Credentials are read for each start, so changed ones count at once; they are in no text, no log and no record.
 * Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

struct docker_logins; /* of one engine */

/* registries: {HOST: {"username": TEXT, "from_file": PATH}}; copied; NULL: none. docker_config: a path; NULL: what DOCKER_CONFIG
 * or the home folder says; "": none. */
struct docker_logins *docker_logins_new(uv_loop_t *loop, const json_t *registries, const char *docker_config);
/* `done` is called from the loop; what is under way has its own `done` called before, from within this call. NULL is fine, and
 * calls nothing. */
void docker_logins_close(struct docker_logins *logins, void (*done)(void *arg), void *arg);

/* All borrowed for the time of the call. */
struct docker_login {
    const char *header; /* "X-Registry-Auth: ..."; NULL: there are none */
    const char
        *note; /* "; ...", for people, where access is denied: what has become of them; NULL: nothing */
    const struct error *error; /* what the configuration names cannot be read; NULL: no such thing */
    bool later;                /* of such an error: it may go away by itself */
};

/* Calls `done` once, from the loop. False: there is nothing that it could look at; `done` is not called. */
bool docker_login_find(struct docker_logins *logins, const char *image,
                       void (*done)(void *arg, const struct docker_login *login), void *arg);
