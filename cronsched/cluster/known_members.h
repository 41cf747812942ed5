/* The replicas of this cluster that this one knows: those that are there, and those that were. ZooKeeper lists who is
 * connected to it; one that is away, or connected to another ensemble, is not in that list. So each replica remembers the
 * others, over its own restarts too, until somebody says that one is no part of the cluster any more.
 *
 * One JSON object in DATA_DIR/members:
 *   {"cluster": UUID, "members": {ID: {"url": TEXT, "seen_ms": N, "mark": {...}, "outside": true}}}
 * seen_ms, by the wall clock: when it was last there; outside: it answered, and was not a member in the ensemble here; then
 * its mark counts (leader/replicated/claims.c). Written on the thread pool, one write at a time: at once when who is known,
 * where, or outside, has changed; else within KNOWN_MEMBERS_EVERY_MS.
 *
 * Failures: a file that is damaged is reported in the log, and begun again; one that cannot be written is reported and tried
 * again. One thread: the loop's.
 */
#pragma once

#include "leader/replicated/replicated.h"

#include <uv.h>

#define KNOWN_MEMBERS_EVERY_MS 30000
#define KNOWN_MEMBERS_SOON_MS  100

struct known_members;

/* Reads the folder's file (it blocks: for the start). cluster: of this replica, "": not known yet. */
void known_members_new(struct known_members **ret, uv_loop_t *loop, const char *data_dir, const char *self,
                       const char *cluster);
/* Those that are members, of the view's own cluster. */
void known_members_seen(struct known_members *known, const struct replicated_view *view, int64_t now_ms);
/* One answered over its link. */
void known_members_heard(struct known_members *known, const struct replicated_view *view,
                         const struct replicated_heard *heard, int64_t now_ms);
/* False: it is not known. */
bool known_members_forget(struct known_members *known, const char *id);
/* ID to what is known of it. Borrowed, until the next call of a function here. */
const json_t *known_members_all(const struct known_members *known);
/* Writes what is not written yet (one try), then is gone; done comes from the loop. */
void known_members_close(struct known_members *known, void (*done)(void *arg), void *arg);
