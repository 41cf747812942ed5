/* The links between replicas: small requests over their HTTP API, behind the cluster's secret.
 *
 * To the leader one request is always on its way: the leader holds it for HEARTBEAT_MS, so the end of its process breaks
 * a connection at once, and silence is noticed after HEARTBEAT_SILENT_MS. Other members are asked every
 * HEARTBEAT_SLOW_MS, without being held. Each answer also carries the other's clock.
 *
 * What a link reports is a suspicion, never a verdict (leader/replicated/suspicion.h).
 *
 * Ownership: borrows the options and what they point to for its life. One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/clock_voices.h"
#include "cronsched/cluster/peer.h"
#include "cronsched/http/http.h"
#include "leader/replicated/replicated.h"

#define HEARTBEAT_PATH      "/v1/peer/heartbeat"
#define HEARTBEAT_MS        250
#define HEARTBEAT_SILENT_MS 800
#define HEARTBEAT_SLOW_MS   2000 /* between members of which none leads */
#define HEARTBEAT_CONNECT_MS                                                                                 \
    300                        /* for a connection to a leader that was reached before, beside its slowness */
#define HEARTBEAT_GRACE_MS 250 /* when it was this process that did not run in time */
#define HEARTBEAT_TELL_MS  3000 /* a link that is down so long is reported to people */
#define HEARTBEAT_HELD_MAX 256  /* requests held; more are answered at once */
#define HEARTBEAT_ASK_MS   300  /* so long heartbeat_ask waits for answers, */
#define HEARTBEAT_FIRST_MS 1500 /* and while one was never reached, nor failed, since the start */

struct heartbeat;

struct heartbeat_options {
    uv_loop_t *loop;
    const struct peer *peer;
    const char *self; /* the id of this replica */
    const struct replicated_view *(*view)(void *arg);
    /* By how much this machine's wall clock jumped without being believed; 0: it is believed. */
    int64_t (*jump_ms)(void *arg);
    /* The link to the leader of this epoch changed, or is still down. */
    void (*link)(void *arg, int64_t epoch, const struct replicated_link *link);
    void (*clock)(void *arg, const struct clock_voice *voice);
    /* The other replicas of the cluster that are known, whether they are members now or not: an object of id to
     * {"url": TEXT}. Borrowed until the loop turns. */
    const json_t *(*known)(void *arg);
    /* What a replica said of itself; its link is down; all answers to heartbeat_ask have come, or were given up. Never
     * from within a call of a function here. */
    void (*heard)(void *arg, const struct replicated_heard *heard);
    void (*silent)(void *arg, const char *id);
    void (*asked)(void *arg);
    void *arg;
};

void heartbeat_new(struct heartbeat **ret, const struct heartbeat_options *options);
/* The view changed: members, who leads. */
void heartbeat_changed(struct heartbeat *h);
/* GET /v1/peer/heartbeat?hold=MS: answers it, at once or after so long. */
void heartbeat_request(struct heartbeat *h, struct http_request *request);
/* Asks every replica at once whose link is not down already. False: there is none. */
bool heartbeat_ask(struct heartbeat *h);
/* Why this replica cannot be reached, "": it has answered; NULL: neither is known yet. Borrowed until the loop turns. */
const char *heartbeat_down(const struct heartbeat *h, const char *id);
/* The links that are down, one text each; a new array, empty when all are up. */
json_t *heartbeat_unreachable(const struct heartbeat *h);
/* No more requests; the view is not asked any more. */
void heartbeat_stop(struct heartbeat *h);
/* done is called once, from the loop; then it is gone. */
void heartbeat_close(struct heartbeat *h, void (*done)(void *arg), void *arg);
