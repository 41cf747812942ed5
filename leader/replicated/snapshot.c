/* The leader's snapshots, and the truncation of the log behind them.
 *
 * Happy path: a text is given -> once its index is acked: what snap/current says, which chunks are there, the
 * hash of the batch at the index -> the chunks that are not there are written, a few at once -> snap/current
 * is set -> chunks that neither it nor the one before names are removed. Beside that, at any time: batches that an earlier
 * snapshot covers, that every member holds durably, and that lie below the newest log_keep_bytes, are removed.
 * Every write carries the epoch's check. Whatever fails: all of it from the first step again, which finds
 * what was done already. When leadership ends it is forgotten; the next leader takes a snapshot of its own.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define CHUNKS_AT_ONCE  4
#define CHUNKS_A_TURN   4 /* cut, hashed and packed: about a millisecond each */
#define SWEEP_AT_ONCE   128
#define TRIM_AT_ONCE    128
#define SINGLES_AT_ONCE 64
#define TRAIL_MAX       64
#define KEPT_MOST       16 /* snapshots whose chunks stay for a member that reads an old one */

/* ---- names of chunks ---- */

/* Nothing goes beyond the limits, and what a leader publishes is forgotten with its leadership. */
static void check_invariants(const struct replicated *r)
{
    const struct publishing *p = &r->publishing;

    assert(p->step <= PUBLISH_SWEEP && p->cut <= p->size);
    assert(p->under_way <= CHUNKS_AT_ONCE && p->trimming <= SINGLES_AT_ONCE);
    assert(election_leads(r) || (!p->text && !p->waiting && !p->published));
}

static bool there(const struct publishing *p, const char *name)
{
    struct chunk_name *found;

    HASH_FIND_STR(p->there, name, found);
    return found;
}

static void there_add(struct publishing *p, const char *name)
{
    struct chunk_name *n;

    if (there(p, name) || strlen(name) >= sizeof(n->name))
        return;
    n = alloc_zero(sizeof(*n));
    snprintf(n->name, sizeof(n->name), "%s", name);
    HASH_ADD_STR(p->there, name, n);
    assert(there(p, name));
}

static void there_remove(struct publishing *p, const char *name)
{
    struct chunk_name *n;

    HASH_FIND_STR(p->there, name, n);
    if (n) {
        assert(strcmp(n->name, name) == 0);
        HASH_DEL(p->there, n);
        free(n); /* and `name` with it, perhaps */
    }
}

static void there_clear(struct publishing *p)
{
    struct chunk_name *n, *next;

    HASH_ITER(hh, p->there, n, next)
    {
        HASH_DEL(p->there, n);
        free(n);
    }
    assert(!p->there);
}

/* ---- steps ---- */

static void publish_restart(struct publishing *p)
{
    there_clear(p);
    manifest_release(&p->current);
    manifest_release(&p->manifest);
    p->step = PUBLISH_CURRENT;
    p->cut = 0;
    p->written[0] = '\0';
    p->failed = false;
    assert(!p->there && p->cut == 0);
}

static void publish_next(struct publishing *p)
{
    free(p->text);
    p->text = p->waiting;
    p->size = p->waiting_size;
    p->index = p->waiting_index;
    p->level = p->waiting_level;
    p->waiting = NULL;
    publish_restart(p);
    assert(!p->waiting);
}

void snapshot_drop(struct replicated *r)
{
    struct publishing *p = &r->publishing;

    free(p->waiting);
    p->waiting = NULL;
    publish_next(p);
    p->failed = p->under_way > 0; /* their answers count for nothing */
    r->publishing.trim_to = 0;
    r->publishing.published = false;
    json_decref(r->publishing.trail);
    r->publishing.trail = NULL;
    check_invariants(r);
}

bool snapshot_urgent(const struct replicated *r)
{
    check_invariants(r);
    return election_leads(r) && r->follower.log_bytes - r->publishing.bytes > r->o.log_most_bytes / 4 * 3;
}

static void trail_keep(struct publishing *p, const struct manifest *m)
{
    json_decref(p->trail);
    p->trail = m->exists ? json_incref(m->trail) : NULL;
}

void snapshot_log_begins(struct replicated *r, const struct manifest *manifest)
{
    r->publishing.first = manifest->first ? manifest->first : 1;
    r->publishing.bytes = manifest->bytes;
    trail_keep(&r->publishing, manifest);
    assert(r->publishing.first > 0);
}

/* The log begins behind a snapshot of the trail, the last that was truncated to. */
uint64_t snapshot_log_bytes(const struct replicated *r)
{
    const struct publishing *p = &r->publishing;
    uint64_t before = 0;
    json_t *pair;
    size_t i;

    check_invariants(r);
    json_array_foreach(p->trail, i, pair)
    {
        if (i == 0 || (uint64_t)json_integer_value(json_array_get(pair, 0)) < p->first)
            before = (uint64_t)json_integer_value(json_array_get(pair, 1));
    }
    if (p->first <= 1)
        before = 0;
    return election_leads(r) && p->first > 0 && r->follower.log_bytes > before
               ? r->follower.log_bytes - before
               : 0;
}

void snapshot_take(struct replicated *r, char *text, size_t size, uint64_t index, int level)
{
    struct publishing *p = &r->publishing;

    assert(text);
    if (!election_leads(r) || election_closing(r)) {
        free(text);
        return;
    }
    free(p->waiting);
    p->waiting = text;
    p->waiting_size = size;
    p->waiting_index = index;
    p->waiting_level = level;
    if (replicated_may_ask(r))
        snapshot_pump(r);
}

/* A quota, or a server that takes less: appends go on, and snapshots are tried again ever more slowly. */
static void refused(struct replicated *r, const char *what, const char *text)
{
    struct publishing *p = &r->publishing;
    uint64_t ms = (uint64_t)REPLICATED_REFUSED_RETRY_MS << (p->refusals < 10 ? p->refusals : 10);

    assert(election_leads(r));
    p->refusals++;
    p->retry_ms = replicated_now_ms(r) +
                  (ms < REPLICATED_REFUSED_RETRY_MAX_MS ? ms : REPLICATED_REFUSED_RETRY_MAX_MS);
    if (!append_refused(r)) /* that is told already */
        replicated_note_error(r, "%s: %s", what, text);
}

/* True: the answer is good, and there is still something to publish. */
static bool step_done(struct replicated *r, const struct coord_reply *reply, const char *what)
{
    struct publishing *p = &r->publishing;

    assert(p->under_way > 0);
    p->under_way--;
    if (p->failed || (reply->result == COORD_OK && p->text))
        return !p->failed;
    p->failed = true;
    if (reply->result == COORD_FAILED || reply->result == COORD_DENIED)
        refused(r, what, reply->text);
    else if (reply->result != COORD_LOST &&
             reply->result != COORD_BAD_VERSION) /* the appends find out the latter */
        replicated_unexpected(r, what, reply);
    return false;
}

static void on_current(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct publishing *p = &r->publishing;
    struct coord_reply none = {.result = COORD_OK, .text = ""};
    struct error error = {0};
    bool missing = reply->result == COORD_NO_NODE;

    if (step_done(r, missing ? &none : reply, "reading " NODE_CURRENT)) {
        p->step = PUBLISH_LIST;
        if (!missing && manifest_parse(&p->current, reply->data, reply->size, &error) < 0)
            replicated_alarm(r, "ZooKeeper node " NODE_CURRENT " is invalid: %s", error.text);
        else if (p->index == r->tree.recovered.index)
            publish_next(p); /* there is no such batch; the recovery wrote that snapshot */
    }
    replicated_pump(r);
}

static void on_list(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct publishing *p = &r->publishing;

    if (step_done(r, reply, "listing " NODE_CHUNKS)) {
        for (size_t i = 0; i < reply->name_count; i++)
            there_add(p, reply->names[i]);
        p->step = PUBLISH_HASH;
    }
    replicated_pump(r);
}

/* The trail of the new manifest: that of the one before, and itself. */
static json_t *trail_next(const struct replicated *r)
{
    const struct manifest *current = &r->publishing.current;
    json_t *trail = json_array(), *pair;
    size_t i;

    json_array_foreach(current->trail, i, pair)
    {
        /* with the one that the log begins behind */
        if ((uint64_t)json_integer_value(json_array_get(pair, 0)) + 1 >= r->publishing.first)
            json_array_append(trail, pair);
    }
    if (current->exists)
        json_array_append_new(trail,
                              json_pack("[I,I]", (json_int_t)current->index, (json_int_t)current->bytes));
    while (json_array_size(trail) > TRAIL_MAX)
        json_array_remove(trail, 0);
    assert(json_array_size(trail) <= TRAIL_MAX);
    return trail;
}

/* Of the history up to the snapshot. */
static struct mark_epochs epochs_upto(const struct replicated *r, uint64_t index)
{
    struct mark_epochs list = r->guard.epochs;

    while (list.count && list.items[list.count - 1].index > index)
        list.count--;
    assert(list.count == 0 || list.items[list.count - 1].index <= index);
    return list;
}

static void on_hash(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct publishing *p = &r->publishing;

    if (step_done(r, reply, "reading the batch of the snapshot") && reply->size > NONCE_SIZE) {
        if (p->current.exists && p->current.first > r->publishing.first)
            r->publishing.first = p->current.first;
        p->manifest = (struct manifest){.exists = true,
                                        .index = p->index,
                                        .first = r->publishing.first,
                                        .level = p->level,
                                        .size = p->size,
                                        .bytes = r->follower.log_bytes,
                                        .epochs = epochs_upto(r, p->index),
                                        .trail = trail_next(r),
                                        .chunks = json_array()};
        batch_hash((const char *)reply->data + NONCE_SIZE, reply->size - NONCE_SIZE, p->manifest.hash);
        p->step = PUBLISH_CHUNKS;
    }
    replicated_pump(r);
}

static void on_chunk_written(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct coord_reply fine = {.result = COORD_OK, .text = ""};

    step_done(r, reply->result == COORD_EXISTS ? &fine : reply, "writing a chunk of the snapshot");
    replicated_pump(r);
}

static void write_chunk(struct replicated *r, const char *name, const char *bytes, size_t size)
{
    char path[COORD_PATH_MAX];
    size_t packed_size;
    void *packed = chunk_pack(bytes, size, &packed_size);
    struct coord_op ops[3];
    size_t n = election_checks(r, ops);

    assert(election_leads(r) && size > 0);
    snprintf(path, sizeof(path), NODE_CHUNKS "/%s", name);
    snprintf(r->publishing.written, sizeof(r->publishing.written), "%s", name);
    ops[n++] = (struct coord_op){COORD_CREATE, path, packed, packed_size, COORD_ANY};
    r->publishing.under_way++;
    r->coord->ops->multi(r->coord, ops, n, on_chunk_written, r);
    free(packed);
}

static void write_chunks(struct replicated *r)
{
    struct publishing *p = &r->publishing;
    char name[CHUNK_NAME_SIZE];

    assert(p->step == PUBLISH_CHUNKS);
    for (int i = 0; i < CHUNKS_A_TURN && p->cut < p->size && p->under_way < CHUNKS_AT_ONCE; i++) {
        size_t size = chunk_cut(p->text + p->cut, p->size - p->cut, r->coord->request_max, name);

        json_array_append_new(p->manifest.chunks, json_string(name));
        if (!there(p, name)) {
            there_add(p, name);
            write_chunk(r, name, p->text + p->cut, size);
        }
        p->cut += size;
    }
    assert(p->cut <= p->size);
    if (p->cut == p->size && p->under_way == 0)
        p->step = PUBLISH_MANIFEST;
}

static void on_published(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    struct publishing *p = &r->publishing;
    json_t *name;
    size_t i;

    if (step_done(r, reply, "writing " NODE_CURRENT)) {
        replicated_log(r, LOG_NOTE, "snapshot", "at %" PRIu64 ", %zu bytes in %zu chunks", p->index, p->size,
                       json_array_size(p->manifest.chunks));
        /* those of this one and of the one before stay; what is left in `there` goes */
        json_array_foreach(p->manifest.chunks, i, name) if (!MUTANT(SWEEP_CHUNKS))
            there_remove(p, json_string_value(name));
        json_array_foreach(p->current.chunks, i, name) there_remove(p, json_string_value(name));
        p->step = PUBLISH_SWEEP;
        p->current_version = p->current.exists ? reply->stat.version : 0;
        p->bytes = p->manifest.bytes;
        p->published = true;
        p->trim_refused = false;
        trail_keep(p, &p->manifest);
        if (members_reading(r, p->current.index) && p->kept < KEPT_MOST) {
            there_clear(p); /* with a later snapshot */
            p->kept++;
        } else {
            p->kept = 0;
        }
        if (p->refusals && !append_refused(r))
            replicated_clear_error(r);
        p->refusals = 0;
        p->retry_ms = 0;
    }
    replicated_pump(r);
}

static struct coord_op check_there(const char *path)
{
    return (struct coord_op){.kind = COORD_CHECK, .path = path, .version = COORD_ANY};
}

/* The tree may have gone back, within this epoch, since the batch was read and the chunks were written. */
static void write_manifest(struct replicated *r)
{
    struct publishing *p = &r->publishing;
    char *text = manifest_text(&p->manifest), batch[COORD_PATH_MAX], chunk[COORD_PATH_MAX];
    struct coord_op ops[5];
    size_t n = election_checks(r, ops);

    assert(p->cut == p->size && p->under_way == 0);
    snprintf(chunk, sizeof(chunk), NODE_CHUNKS "/%s", p->written);
    ops[n++] = check_there(tree_log_path(p->index, batch));
    if (p->written[0])
        ops[n++] = check_there(chunk);
    ops[n++] = (struct coord_op){p->current.exists ? COORD_SET : COORD_CREATE, NODE_CURRENT, text,
                                 strlen(text), COORD_ANY};
    p->under_way++;
    r->coord->ops->multi(r->coord, ops, n, on_published, r);
    free(text);
}

/* What is removed is no part of the snapshot that was published. A tree that went back holds an earlier one. */
static size_t removal_checks(const struct replicated *r, struct coord_op ops[3])
{
    size_t n = election_checks(r, ops);

    assert(election_leads(r));
    ops[n++] = (struct coord_op){
        .kind = COORD_CHECK, .path = NODE_CURRENT, .version = r->publishing.current_version};
    return n;
}

/* How far the log may be truncated: to an earlier snapshot that everybody is beyond; what is more than the most that
 * is kept goes whoever lacks it, and gets it from a snapshot. */
static uint64_t trim_limit(const struct replicated *r)
{
    const json_t *trail = r->publishing.trail;
    uint64_t durable = members_durable(r), end = r->follower.log_bytes, limit = 0;
    json_t *pair;
    size_t i;

    check_invariants(r);
    json_array_foreach(trail, i, pair)
    {
        uint64_t index = (uint64_t)json_integer_value(json_array_get(pair, 0));
        uint64_t bytes = (uint64_t)json_integer_value(json_array_get(pair, 1));

        bool spare = bytes + r->o.log_keep_bytes <= end, too_much = bytes + r->o.log_most_bytes <= end;

        if (((spare && index <= durable) || too_much) && index > limit)
            limit = index;
    }
    return MUTANT(TRIM_ALL) ? r->appender.status.acked : limit;
}

static void on_swept(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    step_done(r, reply, "removing chunks of old snapshots");
    replicated_pump(r);
}

static void sweep(struct replicated *r)
{
    static char paths[SWEEP_AT_ONCE][COORD_PATH_MAX];
    struct coord_op ops[SWEEP_AT_ONCE + 3];
    struct publishing *p = &r->publishing;
    struct chunk_name *n, *next;
    size_t checks = removal_checks(r, ops), count = 0;

    assert(p->step == PUBLISH_SWEEP && p->under_way == 0);
    HASH_ITER(hh, p->there, n, next)
    {
        if (count == SWEEP_AT_ONCE)
            break;
        snprintf(paths[count], COORD_PATH_MAX, NODE_CHUNKS "/%s", n->name);
        ops[checks + count] =
            (struct coord_op){.kind = COORD_DELETE, .path = paths[count], .version = COORD_ANY};
        count++;
        there_remove(p, n->name);
    }
    if (count > 0) {
        p->under_way++;
        r->coord->ops->multi(r->coord, ops, checks + count, on_swept, r);
        return;
    }
    members_left_behind(r, p->trim_to);
    publish_next(p);
}

static void publish_ask(struct replicated *r)
{
    struct publishing *p = &r->publishing;
    char path[COORD_PATH_MAX];

    assert(p->step <= PUBLISH_HASH && p->under_way == 0);
    p->under_way++;
    if (p->step == PUBLISH_CURRENT)
        r->coord->ops->get(r->coord, NODE_CURRENT, false, on_current, r);
    else if (p->step == PUBLISH_LIST)
        r->coord->ops->children(r->coord, NODE_CHUNKS, false, on_list, r);
    else
        r->coord->ops->get(r->coord, tree_log_path(p->index, path), false, on_hash, r);
}

static void publish_pump(struct replicated *r)
{
    struct publishing *p = &r->publishing;

    check_invariants(r);
    if (p->failed && p->under_way == 0)
        publish_restart(p);
    if (!p->text && p->waiting)
        publish_next(p);
    if (!p->text || p->failed || r->appender.status.acked < p->index || replicated_now_ms(r) < p->retry_ms)
        return;
    if (p->step == PUBLISH_CHUNKS)
        write_chunks(r);
    if (p->under_way > 0 || p->step == PUBLISH_CHUNKS)
        return;
    if (p->step == PUBLISH_MANIFEST)
        write_manifest(r);
    else if (p->step == PUBLISH_SWEEP)
        sweep(r);
    else
        publish_ask(r);
}

/* ---- truncation ---- */

struct trim {
    struct object object;
    struct replicated *r;
    uint64_t upto;
};

/* Answers come in the order of the questions; after one that moves nothing those behind it do not count. */
static void on_trimmed(void *arg, const struct coord_reply *reply)
{
    struct trim *t = OBJECT(struct trim, arg);
    struct replicated *r = t->r;
    struct publishing *p = &r->publishing;
    bool gone = reply->result == COORD_NO_NODE && p->trim_single;

    assert(p->trimming > 0);
    p->trimming--;
    if (reply->result == COORD_OK || gone) {
        if (t->upto >= p->first && !p->trim_again)
            p->first = t->upto + 1;
        p->trim_found |= reply->result == COORD_OK;
    } else {
        p->trim_again = true;
        p->trim_refused |= reply->result != COORD_NO_NODE && reply->result != COORD_LOST;
    }
    if (p->trimming == 0) {
        p->trim_single = p->trim_again || (p->trim_single && !p->trim_found);
        p->trim_again = p->trim_found = false;
    }
    OBJECT_FREE(struct trim, t);
    replicated_pump(r);
}

/* A recovery left out numbers: there are no batches between where the journal ended and where it goes on. */
static bool skip_hole(const struct replicated *r, uint64_t *upto)
{
    const struct recovery_node *n = &r->tree.recovered;

    if (!n->exists || *upto < n->head || *upto >= n->index)
        return false;
    *upto = n->index;
    return true;
}

static void trim_further(struct replicated *r)
{
    struct publishing *p = &r->publishing;
    uint64_t limit = trim_limit(r);

    assert(p->published);
    if (limit <= p->trim_to)
        return;
    p->trim_to = limit;
    members_left_behind(r, limit);
}

/* One multi, from `next` on; returns what comes behind it. */
static uint64_t trim_send(struct replicated *r, uint64_t next, size_t most)
{
    static char paths[TRIM_AT_ONCE][COORD_PATH_MAX];
    struct coord_op ops[TRIM_AT_ONCE + 3];
    struct trim *t = OBJECT_NEW(struct trim);
    size_t checks = removal_checks(r, ops), n = 0;

    assert(next > 0 && most <= TRIM_AT_ONCE);
    t->r = r;
    for (t->upto = next - 1; t->upto < r->publishing.trim_to && n < most;) {
        if (skip_hole(r, &t->upto))
            continue;
        ops[checks + n] = (struct coord_op){
            .kind = COORD_DELETE, .path = tree_log_path(++t->upto, paths[n]), .version = COORD_ANY};
        n++;
    }
    r->publishing.trimming++;
    next = t->upto + 1;
    r->coord->ops->multi(r->coord, ops, checks + n, on_trimmed, t);
    return next;
}

/* Where some may be gone already each goes in a multi of its own: of one that fails nothing goes. While a snapshot is being
 * published the version that is checked is about to change. */
static void trim_pump(struct replicated *r)
{
    struct publishing *p = &r->publishing;
    uint64_t next;

    check_invariants(r);
    if (!p->published || p->trimming || p->trim_refused || p->step == PUBLISH_MANIFEST)
        return;
    trim_further(r);
    next = p->first;
    if (!p->trim_single && next <= p->trim_to)
        trim_send(r, next, TRIM_AT_ONCE);
    for (int i = 0; p->trim_single && i < SINGLES_AT_ONCE && next <= p->trim_to; i++)
        next = trim_send(r, next, 1);
}

void snapshot_pump(struct replicated *r)
{
    check_invariants(r);
    if (!election_leads(r))
        return;
    publish_pump(r);
    trim_pump(r);
}

bool snapshot_busy(const struct replicated *r)
{
    const struct publishing *p = &r->publishing;

    check_invariants(r);
    return election_leads(r) && p->text && p->step == PUBLISH_CHUNKS && p->under_way == 0 && !p->failed &&
           r->appender.status.acked >= p->index && replicated_now_ms(r) >= p->retry_ms;
}
