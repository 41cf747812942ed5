/* Who answers at a URL, for a replica that finds its name taken in ZooKeeper (leader/replicated/holder.c): GET
 * /readyz there, which needs no secret, and names the replica and its process.
 *
 * One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "jobs/base/object.h"
#include "leader/replicated/replicated.h"

#define NAME_HOLDER_MS 1000

struct name_holder { /* of the replica */
    struct object object;
    struct http_call *call;
    const struct peer *peer;
    const char *self;                  /* this replica's id */
    const char *(*process)(void *arg); /* this process, as the core names it */
    void (*done)(void *arg, enum replicated_holder holder, const char *why);
    void *arg;
};

/* done is called once, from the loop. False: it cannot be asked. */
bool name_holder_ask(struct name_holder *n, const char *url);
void name_holder_stop(struct name_holder *n);
