/* The last things that happened, in order, for those who listen: a bounded ring, filled from what each durable batch changed.
 * Every replica has its own, and all give the same event the same id: INDEX.NUMBER.CLUSTER, with the batch, the place in it and
 * the first letters of the cluster's UUID. The loop's thread.
 */
#pragma once

#include "jobs/history/history.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_RING_EVENTS_MAX 16384
#define EVENT_RING_BYTES_MAX  (8 * 1024 * 1024)
#define EVENT_ID_SIZE         64
#define EVENT_CLUSTER_LETTERS 8

#define EVENT_KINDS(X)                                                                                       \
    X(RUN, "run")                                                                                            \
    X(JOB, "job")                                                                                            \
    X(CLUSTER, "cluster")

enum event_kind {
#define X(kind, word) EVENT_##kind,
    EVENT_KINDS(X)
#undef X
        EVENT_KIND_COUNT
};
const char *event_kind_name(enum event_kind kind);

struct event {
    uint64_t index;
    uint32_t number; /* in its batch, from 1 */
    enum event_kind kind;
    char *job;  /* NULL: of none */
    char *data; /* an object of JSON in one line */
    size_t bytes;
};

struct event_ring;

struct event_ring *event_ring_new(void); /* NULL: no memory */
void event_ring_free(struct event_ring *ring);

/* What a batch changed. One that does not follow the last one (a snapshot was restored) empties the ring. Out of memory: the same,
 * so that nobody takes what is left for all. */
void event_ring_add(struct event_ring *ring, const struct history_write *write);

/* Events are numbered from the first on; those from `first` to before `end` are kept. */
uint64_t event_ring_first(const struct event_ring *ring);
uint64_t event_ring_end(const struct event_ring *ring);
const struct event *event_ring_at(const struct event_ring *ring, uint64_t number);
uint64_t event_ring_index(const struct event_ring *ring); /* of the last batch; 0: none was seen */

const char *event_id(const struct event *event, const char *cluster, char ret[EVENT_ID_SIZE]);

/* The number of the event that follows the one with that id. ERR_NOT_FOUND: it is no id of this cluster, is older than what is
 * kept, or newer than what is known: whoever has it has to look at everything again. */
int event_ring_after(const struct event_ring *ring, const char *id, const char *cluster,
                     uint64_t *ret_number);
