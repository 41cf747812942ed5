/* The mark: the highest batch that a replica knows to be committed. It is what a replica holds against a journal
 * that says something untrue: a tree that was restored from a backup, emptied, or overtaken by another history.
 *
 * A mark rises with every batch that is applied or acknowledged. Nothing lowers it but a person's act. Two histories
 * can use the same index, and the same epoch number: so a mark has the batch's hash, and names the first batch of its
 * epoch (index and hash), which no other history has. Within one epoch there is one writer and one chain, so a
 * history that holds that first batch, and in which the epoch lasts to the mark's index, holds the mark's batch.
 *
 * The list of epochs is what a history tells of itself once its older batches are gone: the first batch of each of its
 * newest epochs. It travels in the snapshot's manifest.
 *
 * Plain data; no allocation; any thread. JSON as in the replica's file and in the manifest.
 */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MARK_CLUSTER_SIZE 40 /* a uuid and a NUL */
#define MARK_HASH_SIZE    33 /* 32 hex digits and a NUL */
#define MARK_EPOCHS_MAX   256

/* An epoch by its first batch. */
struct mark_epoch {
    int64_t epoch;
    uint64_t index;
    char hash[MARK_HASH_SIZE];
};

struct mark {
    char cluster[MARK_CLUSTER_SIZE]; /* "": no cluster is known yet */
    uint64_t index;                  /* 0: no batch is known */
    char hash[MARK_HASH_SIZE];       /* "": unknown, of a mark that an older build left */
    struct mark_epoch since;         /* the epoch of that batch; index 0: unknown */
};

/* The newest epochs of a history, oldest first. */
struct mark_epochs {
    struct mark_epoch items[MARK_EPOCHS_MAX];
    size_t count;
};

enum mark_verdict {
    MARK_HELD,    /* the history holds the mark's batch */
    MARK_MISSING, /* it ends below the mark */
    MARK_DIFFERS, /* it has another batch in its place */
    MARK_UNKNOWN  /* what it tells does not reach back to the mark */
};

/* Notes that `epoch` begins with this batch. An epoch that is known already changes nothing; the oldest one goes when
 * the list is full. */
void mark_epochs_add(struct mark_epochs *list, int64_t epoch, uint64_t index, const char *hash);
json_t *mark_epochs_json(const struct mark_epochs *list);
/* NULL stands for a manifest without a list: an empty one. ERR_CORRUPT: not such a list. */
int mark_epochs_parse(struct mark_epochs *ret, const json_t *json, struct error *error);

/* A batch of this history is applied or acknowledged. Never lowers the mark. */
void mark_raise(struct mark *mark, uint64_t index, const char *hash, const struct mark_epochs *epochs);

/* What a snapshot at `index`, with the hash of that batch and the epochs of its history, says of the mark. Not for a
 * mark above the snapshot: MARK_UNKNOWN then, the log has to say it. */
enum mark_verdict mark_check_snapshot(const struct mark *mark, uint64_t index, const char *hash,
                                      const struct mark_epochs *epochs);
/* What the batch at the mark's own index says of it. */
enum mark_verdict mark_check_batch(const struct mark *mark, const char *hash);

json_t *mark_json(const struct mark *mark);
/* ERR_CORRUPT: not a mark. */
int mark_parse(struct mark *ret, const json_t *json, struct error *error);
