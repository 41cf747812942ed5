/* Calls to other replicas of the cluster, over the HTTP API that they serve to everybody. Replicas know one
 * another by the cluster's secret, which lies in ZooKeeper under its access list.
 *
 * Happy path: peer_open -> peer_start... -> each call's done, once, from the loop, never from within
 * peer_start -> peer_close, which ends those under way without a word to their owners.
 *
 * One thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define PEER_CONNECT_MS      2000
#define PEER_REPLY_BYTES_MAX (16 * 1024 * 1024)

enum peer_outcome {
    PEER_ANSWERED,
    PEER_NOT_SENT, /* certainly not executed */
    PEER_UNKNOWN   /* perhaps executed */
};

struct peer_answer {
    enum peer_outcome outcome;
    int status;       /* of HTTP; 0: none */
    const char *body; /* borrowed, NUL-terminated, "" for none */
    size_t size;
    const char *text; /* what went wrong, for people */
};

struct peer_request {
    const char *url;    /* of the replica: "http://HOST:PORT" */
    const char *method; /* "POST" */
    const char *path;   /* with its query */
    const char *body;   /* JSON; NULL: none */
    const char *acting; /* "ROLE NAME" of the caller whose request this is; NULL: the replica's own */
    int64_t timeout_ms; /* for all of it; 0: none */
    int64_t idle_ms;    /* when not a byte comes for so long; 0: none */
    /* For an answer that is taken piece by piece; both NULL: it is collected. The status has come; and bytes
     * of a 2xx answer: false: not taken, give them again after peer_resume. No call of this file from within.
     */
    void (*opened)(void *arg, int status);
    bool (*data)(void *arg, const char *bytes, size_t size);
    void (*done)(void *arg, const struct peer_answer *answer);
    void *arg;
};

struct peer;
struct peer_call;

/* ca_file may be NULL: the system's. */
int peer_open(struct peer **ret, uv_loop_t *loop, const char *ca_file, struct error *error);
void peer_set_secret(struct peer *peer, const char *secret);
int peer_start(struct peer_call **ret, struct peer *peer, const struct peer_request *request,
               struct error *error);
void peer_cancel(struct peer_call *call); /* NULL is fine */
void peer_resume(struct peer_call *call);
void peer_close(struct peer *peer, void (*done)(void *arg), void *arg);
