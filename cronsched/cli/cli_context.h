/* What a verb that talks to a server carries through its calls: the client, the form of the answer, the path
 * in the making. Every function that can fail prints what went wrong and returns an exit code, EXIT_FINE
 * being zero; so a verb reads as a list of steps. Main thread.
 */
#pragma once

#include "cronsched/cli/client.h"
#include "cronsched/cli/output.h"
#include "jobs/base/text.h"

#define SESSION_PATH_MAX 8192

struct session {
    const struct verb_call *call;
    struct client client;
    struct output out;
    struct text path;
};

int session_open(struct session *session, const struct verb_call *call);

/* Gives everything back; returns `code`, so that it ends a verb. */
int session_close(struct session *session, int code);

/* Begins a path: every %s is escaped, no other conversion is known. Returns the path so far. */
const char *session_path(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void session_query(struct session *session, const char *key, const char *value); /* NULL: left out */

/* The option `name` of the call as a time, when_parse's sense, in RFC 3339 to the query as `key`; nothing
 * when it was not given. */
int session_query_time(struct session *session, const char *name, const char *key, int sense);

/* The option as RFC 3339 into an object. */
int session_put_time(struct session *session, json_t *object, const char *name, const char *key, int sense);

/* A word of the command line into an object; EXIT_USAGE when it is no UTF-8, which JSON cannot hold. `what`
 * names it. */
int session_put_text(const struct verb_call *call, json_t *object, const char *key, const char *what,
                     const char *value);

/* A request to the path; the reply is a new reference. `ret` may be NULL. */
int session_get(struct session *session, json_t **ret);
int session_send(struct session *session, const char *method, const json_t *body, enum client_repeat repeat,
                 json_t **ret);

/* For verbs that only show: GET the path, hand the reply to `show`, close. */
int session_show(struct session *session, void (*show)(const struct output *out, const json_t *reply));

/* "cronsched: TEXT" and the exit code of an error code of jobs/base/error.h. */
int session_fail(int error_code, const char *format, ...) __attribute__((format(printf, 2, 3)));
