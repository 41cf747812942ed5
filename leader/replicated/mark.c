/* See mark.h. */
#include "leader/replicated/mark.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void copy_hash(char ret[MARK_HASH_SIZE], const char *hash)
{
    assert(strlen(hash) < MARK_HASH_SIZE);
    snprintf(ret, MARK_HASH_SIZE, "%s", hash);
}

/* The epoch of the mark's batch begins at or below it. */
static void check_invariants(const struct mark *mark)
{
    assert(mark->since.index <= mark->index);
}

static bool same_epoch(const struct mark_epoch *a, const struct mark_epoch *b)
{
    return a->epoch == b->epoch && a->index == b->index && strcmp(a->hash, b->hash) == 0;
}

/* ---- the list of epochs ---- */

void mark_epochs_add(struct mark_epochs *list, int64_t epoch, uint64_t index, const char *hash)
{
    struct mark_epoch *last = list->count ? &list->items[list->count - 1] : NULL;

    if (last && epoch <= last->epoch)
        return;
    assert(!last || index > last->index);
    if (list->count == MARK_EPOCHS_MAX) {
        memmove(&list->items[0], &list->items[1], (MARK_EPOCHS_MAX - 1) * sizeof(list->items[0]));
        list->count--;
    }
    last = &list->items[list->count++];
    last->epoch = epoch;
    last->index = index;
    copy_hash(last->hash, hash);
}

json_t *mark_epochs_json(const struct mark_epochs *list)
{
    json_t *all = json_array();

    assert(list->count <= MARK_EPOCHS_MAX);
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(all, json_pack("[I,I,s]", (json_int_t)list->items[i].epoch,
                                             (json_int_t)list->items[i].index, list->items[i].hash));
    return all;
}

static bool parse_hash(const json_t *json, bool may_be_empty, char ret[MARK_HASH_SIZE])
{
    size_t size = json_string_length(json);

    if (!json_is_string(json) || (size != MARK_HASH_SIZE - 1 && !(may_be_empty && size == 0)))
        return false;
    if (strspn(json_string_value(json), "0123456789abcdef") != size)
        return false;
    copy_hash(ret, json_string_value(json));
    return true;
}

/* Each epoch begins above the one before. */
static bool parse_epoch(const json_t *pair, const struct mark_epoch *before, struct mark_epoch *ret)
{
    json_int_t epoch = json_integer_value(json_array_get(pair, 0)),
               index = json_integer_value(json_array_get(pair, 1));

    if (json_array_size(pair) != 3 || epoch < 1 || index < 1)
        return false;
    if (before && (epoch <= before->epoch || (uint64_t)index <= before->index))
        return false;
    ret->epoch = epoch;
    ret->index = (uint64_t)index;
    return parse_hash(json_array_get(pair, 2), false, ret->hash);
}

int mark_epochs_parse(struct mark_epochs *ret, const json_t *json, struct error *error)
{
    struct mark_epochs list = {.count = 0};
    size_t i;
    json_t *pair;

    if (json && (!json_is_array(json) || json_array_size(json) > MARK_EPOCHS_MAX))
        return error_set(error, ERR_CORRUPT, "the list of epochs is not an array of at most %d",
                         MARK_EPOCHS_MAX);
    json_array_foreach(json, i, pair)
    {
        if (!parse_epoch(pair, i ? &list.items[i - 1] : NULL, &list.items[i]))
            return error_set(error, ERR_CORRUPT, "entry %zu of the list of epochs is invalid", i + 1);
        list.count++;
    }
    assert(list.count <= MARK_EPOCHS_MAX);
    *ret = list;
    return 0;
}

/* ---- raising ---- */

/* The epoch that the batch at `index` is of; NULL: it began before the list does. */
static const struct mark_epoch *epoch_at(const struct mark_epochs *list, uint64_t index)
{
    const struct mark_epoch *found = NULL;

    assert(list->count <= MARK_EPOCHS_MAX);
    for (size_t i = 0; i < list->count && list->items[i].index <= index; i++)
        found = &list->items[i];
    return found;
}

void mark_raise(struct mark *mark, uint64_t index, const char *hash, const struct mark_epochs *epochs)
{
    const struct mark_epoch *since = epoch_at(epochs, index);

    if (index < mark->index || (index == mark->index && mark->hash[0]))
        return;
    mark->index = index;
    copy_hash(mark->hash, hash);
    mark->since = since ? *since : (struct mark_epoch){0};
    check_invariants(mark);
}

/* ---- checking ---- */

enum mark_verdict mark_check_batch(const struct mark *mark, const char *hash)
{
    check_invariants(mark);
    if (mark->index == 0 || !mark->hash[0])
        return MARK_HELD; /* there is nothing to compare with */
    return strcmp(mark->hash, hash) == 0 ? MARK_HELD : MARK_DIFFERS;
}

/* The mark's batch is gone from the history's log: its epochs have to tell. */
static enum mark_verdict check_epochs(const struct mark *mark, const struct mark_epochs *epochs)
{
    const struct mark_epoch *theirs = epoch_at(epochs, mark->index);

    assert(mark->index > 0);
    if (!mark->since.index)
        return MARK_HELD; /* left by a build that knew no epochs: nothing to compare with */
    if (!theirs)
        return MARK_UNKNOWN;
    return same_epoch(theirs, &mark->since) ? MARK_HELD : MARK_DIFFERS;
}

enum mark_verdict mark_check_snapshot(const struct mark *mark, uint64_t index, const char *hash,
                                      const struct mark_epochs *epochs)
{
    check_invariants(mark);
    if (mark->index == 0)
        return MARK_HELD;
    if (mark->index > index)
        return MARK_UNKNOWN;
    return mark->index == index ? mark_check_batch(mark, hash) : check_epochs(mark, epochs);
}

/* ---- JSON ---- */

json_t *mark_json(const struct mark *mark)
{
    check_invariants(mark);
    return json_pack("{s:s,s:I,s:s,s:I,s:I,s:s}", "cluster", mark->cluster, "index", (json_int_t)mark->index,
                     "hash", mark->hash, "epoch", (json_int_t)mark->since.epoch, "since",
                     (json_int_t)mark->since.index, "since_hash", mark->since.hash);
}

static bool parse_number(const json_t *json, const char *key, int64_t *ret)
{
    const json_t *value = json_object_get(json, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = json_integer_value(value);
    return true;
}

int mark_parse(struct mark *ret, const json_t *json, struct error *error)
{
    const char *cluster = json_string_value(json_object_get(json, "cluster"));
    struct mark mark = {.index = 0};
    int64_t index, since;
    bool good = cluster && strlen(cluster) < MARK_CLUSTER_SIZE && parse_number(json, "index", &index) &&
                parse_number(json, "epoch", &mark.since.epoch) && parse_number(json, "since", &since) &&
                parse_hash(json_object_get(json, "hash"), true, mark.hash) &&
                parse_hash(json_object_get(json, "since_hash"), true, mark.since.hash);

    if (!good || since > index)
        return error_set(error, ERR_CORRUPT, "not a mark: cluster, index, hash, epoch, since, since_hash");
    snprintf(mark.cluster, sizeof(mark.cluster), "%s", cluster);
    mark.index = (uint64_t)index;
    mark.since.index = (uint64_t)since;
    *ret = mark;
    check_invariants(ret);
    return 0;
}
