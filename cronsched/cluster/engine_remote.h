/* An engine in a cluster. An attempt of the process engine belongs to the replica that prepared it: its id names that
 * replica's data folder. An attempt of another engine belongs to the engine with the identity that it was prepared on,
 * which may be out of this replica's reach, under the same name. What is asked about an attempt of this replica's own
 * engine goes to the engine underneath; what is asked about another's goes to the replica that has it
 * (cronsched/cluster/peer_engine.h answers there).
 *
 * As long as no such replica is there, its attempts are UNREACHABLE, nothing else: they are unresolved until one is back
 * or resolve_within has passed. WATCH asks again and again; once the engine underneath is the right one, it watches.
 *
 * Owns the engine underneath. One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "jobs/engine/engine.h"

#define ENGINE_REMOTE_CALLS_MAX  4096
#define ENGINE_REMOTE_MS         10000 /* for one call */
#define ENGINE_REMOTE_CONNECT_MS 2000  /* a machine that is gone answers to nothing: it is told soon */
/* What is prepared on a machine that is lost stays unresolved until that is back, as a release needs no write to the
 * journal, so nobody can know of it: so little is prepared ahead there. To prepare a process takes milliseconds. */
#define ENGINE_REMOTE_AHEAD_MS 2000
#define ENGINE_REMOTE_POLL_MS  1000 /* how often a watched attempt is asked for */

struct engine_remote_options {
    struct engine *under; /* of process_engine_new or docker_engine_new */
    /* of its data folder, if its attempts belong to one; else NULL. Outlives the engine */
    const char *host_id;
    struct engine_host *host;
    const struct peer *peer;
    uv_loop_t *loop;
    /* The URL of the replica with that data folder, or with an engine of that name and identity; NULL: there is none.
     * Borrowed for the call. */
    const char *(*folder_url)(void *arg, const char *host_id);
    const char *(*engine_url)(void *arg, const char *engine, const char *identity);
    void *arg;
};

void engine_remote_new(struct engine **ret, const struct engine_remote_options *options);
