/* What a verb that talks to a server carries through its calls: the client, the form of the answer, the path
 * in the making. Every function that can fail prints what went wrong and returns an exit code, EXIT_FINE
 * being zero; so a verb reads as a list of steps. Main thread.
 */
#pragma once

#include "cronsched/cli/client.h"
#include "cronsched/cli/output.h"
#include "jobs/base/text.h"

#define CLI_PATH_MAX 8192

struct cli_context {
    const struct verb_call *call;
    struct client client;
    struct output out;
    struct text path;
    bool raw_logs; /* logs go to a terminal as they are */
};

int cli_open(struct cli_context *cli, const struct verb_call *call);

/* Gives everything back; returns `code`, so that it ends a verb. */
int cli_close(struct cli_context *cli, int code);

/* Begins a path: every %s is escaped, no other conversion is known. Returns the path so far. */
const char *cli_path(struct cli_context *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_query(struct cli_context *cli, const char *key, const char *value); /* NULL: left out */

/* The option `name` of the call as a time, human_time_parse's sense, in RFC 3339 to the query as `key`;
 * nothing when it was not given. */
int cli_query_time(struct cli_context *cli, const char *name, const char *key, int sense);

/* The options since and until, where they are given, to the query; wrong usage where nothing can lie between them. */
int cli_query_range(struct cli_context *cli);

/* The option as RFC 3339 into an object. */
int cli_put_time(struct cli_context *cli, json_t *object, const char *name, const char *key, int sense);

/* A word of the command line into an object; EXIT_USAGE when it is not UTF-8, which JSON cannot hold. `what`
 * names it. */
int cli_put_text(const struct verb_call *call, json_t *object, const char *key, const char *what,
                 const char *value);

/* A request to the path; the reply is a new reference. `ret` may be NULL. */
int cli_get(struct cli_context *cli, json_t **ret);
int cli_send(struct cli_context *cli, const char *method, const json_t *body, enum client_repeat repeat,
             json_t **ret);

/* For verbs that only show: GET the path, hand the reply to `show`, close. */
int cli_show(struct cli_context *cli, void (*show)(const struct output *out, const json_t *reply));

/* The member's text, "" when there is none. Borrowed from the object. */
const char *cli_text_at(const json_t *object, const char *key);

/* For verbs that only make the server do something: its reply as JSON or YAML when that was asked for, else what `tell`
 * prints of it. Takes the reply, closes, returns `code`. */
int cli_end(struct cli_context *cli, int code, json_t *reply, void (*tell)(const json_t *reply));

/* "cronsched: TEXT" and the exit code of an error code of jobs/base/error.h. */
int cli_fail(int error_code, const char *format, ...) __attribute__((format(printf, 2, 3)));
