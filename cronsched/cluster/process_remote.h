/* The process engine in a cluster. An attempt belongs to the replica that prepared it; its id names that
 * replica's data folder. What is asked about an attempt of this replica goes to the engine underneath, what
 * is asked about another's goes to that replica (cronsched/cluster/peer_engine.h answers there).
 *
 * A replica that is away makes its attempts UNREACHABLE, nothing else: they are unresolved until it is back
 * or resolve_within has passed. WATCH asks again and again.
 *
 * Owns the engine underneath. One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "jobs/engine/engine.h"

#define PROCESS_REMOTE_CALLS_MAX 4096
#define PROCESS_REMOTE_MS        10000 /* for one call */
#define PROCESS_REMOTE_POLL_MS   1000  /* how often a watched attempt is asked for */

struct process_remote_options {
    struct engine *under; /* of process_engine_new */
    struct engine_host *host;
    const struct peer *peer;
    uv_loop_t *loop;
    /* The URL of the replica with that data folder; NULL: it is away. Borrowed for the call. */
    const char *(*url)(void *arg, const char *host_id);
    void *arg;
};

void process_remote_new(struct engine **ret, const struct process_remote_options *options);
