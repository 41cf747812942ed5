/* Older history from other replicas: what this one never saw (its disk was empty, it was away for long, it
 * was deposed before it heard that its last batches were committed) is fetched page by page and filled in.
 *
 * Happy path: every HISTORY_COPY_LOOK_MS the history is asked for its newest gap -> the likeliest replica is
 * asked for it -> the page is filled in -> the same again at once, until there is no gap.
 * Failures: a replica does not answer, or lacks it itself: the next one; none has it: the next older gap,
 * and all of them again at the next look. An invalid page: reported, and the next replica.
 *
 * One thread: the loop's.
 */
#pragma once

#include "cronsched/cluster/peer.h"
#include "jobs/history/history.h"
#include "leader/replicated/replicated.h"

#define HISTORY_COPY_LOOK_MS  5000
#define HISTORY_COPY_REPLY_MS 30000

struct history_copy;

struct history_copy_options {
    uv_loop_t *loop;
    const struct peer *peer;
    struct history *history;
    const char *self; /* the replica's id */
    const struct replicated_view *(*view)(void *arg);
    void *arg;
};

/* Borrows what the options point to. */
void history_copy_start(struct history_copy **ret, const struct history_copy_options *options);
/* Before the peer client and the history are closed; done is called once, from the loop. */
void history_copy_stop(struct history_copy *copy, void (*done)(void *arg), void *arg);
