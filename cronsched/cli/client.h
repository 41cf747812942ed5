/* The HTTP client of the command line: blocking, over a unix socket or TCP, with several servers tried in
 * turn.
 *
 * Happy path: client_init -> client_call ... -> client_release. Each call goes to the server that answered
 * last.
 *   no server there (refused, no socket): the next server; when none is left, ERR_UNREACHABLE at once
 *   no leader           the next server; then all of them again, until the time is up: ERR_NO_LEADER. That it waits,
 *                       and for what, is said on stderr at once
 *   refused             for good: the next server, which may be better off; not again
 *   the answer is lost  a call that may be repeated goes to the next server; another is ERR_UNKNOWN, with a
 *                       text that says so. Writes are made so that they may: a trigger carries a key
 *   another error       its code and text; no other server is asked
 * The table `outcomes` has it by codes. What a server answers is bounded in bytes and in values.
 *
 * A client owns its URLs, token and curl handle. Main thread.
 */
#pragma once

#include "cronsched/command/verbs.h"

#include <jansson.h>
#include <stdint.h>

#define CLIENT_SERVERS_MAX      16
#define CLIENT_REPLY_BYTES_MAX  (256 * 1024 * 1024)
#define CLIENT_REPLY_VALUES_MAX (8 * 1000 * 1000) /* 100,000 jobs with 80 each */
#define CLIENT_TIMEOUT_MS       30000             /* of a whole call, every retry counted */
#define CLIENT_CONNECT_MS       3000              /* for one server to take the connection */
#define CLIENT_RETRY_MS         250               /* between two rounds over the servers */
#define CLIENT_TOKEN_MAX        512
#define CLIENT_CURSOR_MAX       256
#define CLIENT_TOKEN_FILE_MAX   (64 * 1024)

struct client_server {
    char *title;  /* as given: "unix:/run/x.sock", "http://127.0.0.1:7460" */
    char *base;   /* URL for curl */
    char *socket; /* path, or NULL */
};

struct client {
    struct client_server servers[CLIENT_SERVERS_MAX];
    size_t server_count, current;
    struct client_server replica;     /* of client_ask_replica, where it is none of them; base NULL: none */
    const struct client_server *only; /* NULL: all servers are asked */
    char *cacert;
    bool
        raw; /* replies as they are: for programs, and to compare; else what a terminal must not get is gone */
    char *authorization; /* header line, or NULL */
    void *curl;
    int64_t timeout_ms;           /* may be changed between calls */
    bool warned_stale;            /* that an answer may be out of date */
    bool named;                   /* servers were given, not guessed */
    bool plain_http;              /* the token may go to http:// addresses */
    bool quiet;                   /* it waits without saying so; it says so once */
    char next[CLIENT_CURSOR_MAX]; /* cursor of the page behind the last answer; "": that was the last one */
    json_t *refusal;              /* the error object of the last answer that was one; NULL: there was none */
};

/* --server, --token-file, --cacert, --plain-http, and their variables. Without a server: the unix sockets of this
 * machine, never a port. A token is sent over https and to unix sockets only, unless told otherwise: ERR_DENIED. */
int client_init(struct client *client, const struct verb_call *call, struct error *error);
void client_release(struct client *client);

/* Asks these servers ("unix:/A,http://B") from now on, with the token and all else as before. */
int client_set_servers(struct client *client, const char *servers, struct error *error);

/* Asks that replica alone from now on: at one of the servers if it is there, else at `url`, the address under which the others
 * reach it ("": it has none). ERR_UNREACHABLE, ERR_DENIED (the token is not sent there), ERR_NOMEM. */
int client_ask_replica(struct client *client, const char *id, const char *url, struct error *error);

enum client_repeat { CLIENT_ONCE, CLIENT_REPEATABLE };

/* One request. body NULL: none. The reply is a new reference, NULL when the server answered nothing. `ret`
 * may be NULL. */
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
                enum client_repeat repeat, json_t **ret, struct error *error);

int client_get(struct client *client, json_t **ret, struct error *error, const char *path_format, ...)
    __attribute__((format(printf, 4, 5)));

/* A GET whose body is handed out as it comes, without an end in time. `take` returns false to stop. *ret_any
 * says whether anything was handed out. ERR_UNKNOWN: it was cut off. */
int client_stream(struct client *client, const char *path,
                  bool (*take)(void *arg, const char *bytes, size_t n), void *arg, bool *ret_any,
                  struct error *error);

/* One server only, without retries, for `doctor`: 0 or why not, and what it is. */
int client_probe(struct client *client, size_t server, const char *path, json_t **ret, struct error *error);

struct text;

/* "?key=value" or "&key=value" when value is not NULL; for a path in the making. */
void client_add_query(struct text *path, const char *key, const char *value);
