/* The other side of engine_remote.h: engine requests of the leader about attempts that belong to
 * this replica, or to an engine that it reaches and the leader does not, answered by this replica's own engines.
 *
 * WATCH is answered at once, with what the engine has said last; the first one begins it, and it is kept for its leader
 * until its end was told. A newer leader begins again.
 *
 * An engine answers to one host. This one is between it and the scheduler's: answers with our own tickets
 * go to the leader that asked, all others to the scheduler.
 *
 * One thread: the loop's.
 */
#pragma once

#include "cronsched/http/http.h"
#include "jobs/engine/engine.h"

#define PEER_ENGINE_TICKET (UINT64_C(1) << 63) /* set in tickets of ours; the scheduler counts from 1 */
#define PEER_ENGINE_MAX    4096                /* requests under way */

struct peer_engine;

/* `under`: the scheduler's host. */
struct peer_engine *peer_engine_new(struct engine_host *under);
struct engine_host *peer_engine_host(struct peer_engine *p);
/* POST /v1/peer/engine. epoch: the newest known: who leads no more is refused. */
void peer_engine_request(struct peer_engine *p, struct http_request *request, struct engine *const *engines,
                         size_t engine_count, int64_t epoch, struct zone_source *zones);
/* When the engines are closed. */
void peer_engine_free(struct peer_engine *p);
