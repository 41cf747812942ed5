#include "leader/replicated/tree_copy.h"

#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_MIGRATING  "/migrating"
#define CLUSTER_MOVED   "moved" /* in the node `epoch`, in place of the cluster's id: older builds refuse it */
#define AT_ONCE         64
#define GROUP_BYTES     (512 * 1024)
#define OVERHEAD_BYTES  1024
#define DATA_DIGITS_MAX 24

static const char *const small_nodes[] = {NODE_HEAD,      NODE_CURRENT, NODE_SECRET,
                                          NODE_RECOVERED, NODE_ASK,     NODE_ANSWER};
static const char *const folders[] = {NODE_LOG, NODE_SNAP, NODE_CHUNKS}; /* parents first */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Without a snapshot it begins with the first batch. */
static void check_invariants(const struct tree_copy *c)
{
    assert(c->text || (c->size == 0 && c->index == 0));
    assert((c->count > 0) == (c->batches != NULL));
}

/* ---- one request at a time, or several side by side ---- */

struct answer {
    struct object object;
    bool done;
    enum coord_result result;
    char text[128];
    char *data;
    size_t size;
    int32_t version;
    char **names;
    size_t name_count;
};

static void on_answer(void *arg, const struct coord_reply *reply)
{
    struct answer *a = OBJECT(struct answer, arg);

    a->done = true;
    a->result = reply->result;
    snprintf(a->text, sizeof(a->text), "%s", reply->text ? reply->text : "");
    a->version = reply->stat.version;
    if (reply->result == COORD_OK && reply->data) {
        a->data = alloc_zero(reply->size + 1);
        memcpy(a->data, reply->data, reply->size);
        a->size = reply->size;
    }
    if (reply->result == COORD_OK && reply->name_count > 0) {
        a->names = alloc_zero(reply->name_count * sizeof(*a->names));
        for (size_t i = 0; i < reply->name_count; i++)
            a->names[a->name_count++] = alloc_text(reply->names[i]);
    }
}

static void answer_release(struct answer *a)
{
    for (size_t i = 0; i < a->name_count; i++)
        free(a->names[i]);
    free(a->names);
    free(a->data);
    *a = (struct answer){.object = OBJECT_MARK(struct answer)};
}

static int failed(const struct answer *a, const char *what, struct error *error)
{
    assert(a->done);
    if (a->result == COORD_LOST)
        return error_set(error, ERR_UNREACHABLE, "ZooKeeper: the connection was lost; try again");
    if (a->result == COORD_DENIED)
        return error_set(error, ERR_DENIED, "ZooKeeper node %s: %s", what, a->text);
    return error_set(error, ERR_IO, "ZooKeeper node %s: %s", what, a->text[0] ? a->text : "not as expected");
}

static void await(const struct tree_copy_link *l, const struct answer *a)
{
    while (!a->done)
        l->turn(l->arg);
}

/* 0: result is COORD_OK or COORD_NO_NODE. */
static int get(const struct tree_copy_link *l, const char *path, struct answer *ret, struct error *error)
{
    *ret = (struct answer){.object = OBJECT_MARK(struct answer)};
    l->coord->ops->get(l->coord, path, false, on_answer, ret);
    await(l, ret);
    return ret->result == COORD_OK || ret->result == COORD_NO_NODE ? 0 : failed(ret, path, error);
}

static int children(const struct tree_copy_link *l, const char *path, struct answer *ret, struct error *error)
{
    *ret = (struct answer){.object = OBJECT_MARK(struct answer)};
    l->coord->ops->children(l->coord, path, false, on_answer, ret);
    await(l, ret);
    return ret->result == COORD_OK || ret->result == COORD_NO_NODE ? 0 : failed(ret, path, error);
}

/* also: a result that is as good. */
static int multi(const struct tree_copy_link *l, const struct coord_op *ops, size_t count,
                 enum coord_result also, struct error *error)
{
    struct answer a = {.object = OBJECT_MARK(struct answer)};
    int rc = 0;

    l->coord->ops->multi(l->coord, ops, count, on_answer, &a);
    await(l, &a);
    if (a.result == COORD_BAD_VERSION && also != COORD_BAD_VERSION)
        rc = error_set(error, ERR_CONFLICT, "ZooKeeper node %s was changed meanwhile: does a replica run?",
                       ops[0].path);
    else if (a.result != COORD_OK && a.result != also)
        rc = failed(&a, ops[0].path, error);
    answer_release(&a);
    return rc;
}

/* ---- a journal in memory ---- */

void tree_copy_release(struct tree_copy *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->batches[i].text);
    free(c->batches);
    free(c->text);
    *c = (struct tree_copy){.text = NULL};
    check_invariants(c);
}

uint64_t tree_copy_head(const struct tree_copy *c, char ret_hash[MARK_HASH_SIZE])
{
    check_invariants(c);
    memcpy(ret_hash, c->count ? c->batches[c->count - 1].hash : c->hash, MARK_HASH_SIZE);
    return c->index + c->count;
}

int tree_copy_add(struct tree_copy *c, const char *text, size_t size, struct error *error)
{
    uint64_t index = c->index + c->count + 1;
    char before[MARK_HASH_SIZE];
    struct tree_copy_batch *b;
    struct batch *batch = NULL;
    int rc = batch_decode(&batch, text, size, error);

    check_invariants(c);
    if (rc < 0)
        return error_prefix(error, "batch %" PRIu64 ": ", index);
    tree_copy_head(c, before);
    if (batch->index != index || (before[0] && strcmp(batch->prev, before) != 0))
        rc = error_set(error, ERR_CORRUPT, "batch %" PRIu64 " does not continue the one before", index);
    if (rc == 0 && (c->count & (c->count - 1)) == 0) { /* full, or the first */
        struct tree_copy_batch *more = alloc_zero((c->count ? 2 * c->count : 1) * sizeof(*more));

        if (c->count)
            memcpy(more, c->batches, c->count * sizeof(*more));
        free(c->batches);
        c->batches = more;
    }
    if (rc == 0) {
        if (!before[0])
            memcpy(c->hash, batch->prev, sizeof(c->hash));
        b = &c->batches[c->count++];
        *b = (struct tree_copy_batch){
            .text = alloc_zero(size + 1), .size = size, .epoch = batch->epoch, .time_ms = batch->time_ms};
        memcpy(b->text, text, size);
        batch_hash(text, size, b->hash);
        c->epoch = batch->epoch > c->epoch ? batch->epoch : c->epoch;
    }
    batch_free(batch);
    return rc;
}

void tree_copy_mark(const struct tree_copy *c, struct mark *ret)
{
    struct mark_epochs epochs = {.count = 0};
    char hash[MARK_HASH_SIZE];
    uint64_t head = tree_copy_head(c, hash);

    check_invariants(c);
    for (size_t i = 0; i < c->count;
         i++) /* the first batch is not known to begin its epoch, but for number 1 */
        if (i > 0 ? c->batches[i].epoch != c->batches[i - 1].epoch : c->index == 0)
            mark_epochs_add(&epochs, c->batches[i].epoch, c->index + i + 1, c->batches[i].hash);
    *ret = (struct mark){.index = 0};
    memcpy(ret->cluster, c->cluster, sizeof(ret->cluster));
    mark_raise(ret, head, hash, &epochs);
}

/* ---- looking ---- */

static json_t *object_of(const struct answer *a)
{
    json_t *o = a->data && a->size <= NODE_BYTES_MAX ? json_loadb(a->data, a->size, 0, NULL) : NULL;

    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

static void keep(char *at, size_t size, const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    snprintf(at, size, "%s", value ? value : "");
}

static int look_epoch(struct tree_copy_look *ret, const struct answer *a, struct error *error)
{
    json_t *o = object_of(a), *moved = json_object_get(o, "moved");

    if (!o)
        return error_set(error, ERR_CORRUPT, "ZooKeeper node " NODE_EPOCH " is not a JSON object");
    ret->kind = moved ? TREE_COPY_MOVED : TREE_COPY_LIVING;
    ret->epoch_version = a->version;
    ret->epoch = json_integer_value(json_object_get(o, "base")) + a->version;
    keep(ret->cluster, sizeof(ret->cluster), moved ? moved : o, "cluster");
    if (json_is_true(json_object_get(o, "named")))
        keep(ret->name, sizeof(ret->name), o, "nonce");
    if (moved) {
        keep(ret->text, sizeof(ret->text), moved, "to");
        keep(ret->hash, sizeof(ret->hash), moved, "hash");
        ret->head = (uint64_t)json_integer_value(json_object_get(moved, "index"));
    }
    json_decref(o);
    return 0;
}

static int look_head(const struct tree_copy_link *l, struct tree_copy_look *ret, struct error *error)
{
    struct coord_reply reply = {.result = COORD_OK};
    struct answer a;
    int rc = get(l, NODE_HEAD, &a, error);

    assert(ret->kind == TREE_COPY_LIVING);
    if (rc == 0) {
        reply.data = a.data;
        reply.size = a.size;
        if (a.result != COORD_OK || !a.data || tree_parse_head(&reply, &ret->head) < 0)
            rc = error_set(error, ERR_CORRUPT, "ZooKeeper node " NODE_HEAD " is missing or not a number");
        ret->head_version = a.version;
    }
    answer_release(&a);
    return rc;
}

/* There is no epoch. */
static int look_leftovers(const struct tree_copy_link *l, struct tree_copy_look *ret, struct error *error)
{
    static const char *const nodes[] = {NODE_MIGRATING, NODE_LOG, NODE_SNAP, NODE_HEAD};
    int rc = 0;

    assert(ret->kind == TREE_COPY_EMPTY);
    for (size_t i = 0; i < COUNT(nodes) && rc == 0 && ret->kind == TREE_COPY_EMPTY; i++) {
        struct answer a;
        json_t *o;

        rc = get(l, nodes[i], &a, error);
        if (rc == 0 && a.result == COORD_OK) {
            ret->kind = i == 0 ? TREE_COPY_HALF : TREE_COPY_FOREIGN;
            o = object_of(&a);
            keep(ret->cluster, sizeof(ret->cluster), o, "cluster");
            json_decref(o);
            snprintf(ret->text, sizeof(ret->text), "a node %s and no epoch", nodes[i]);
        }
        answer_release(&a);
    }
    return rc;
}

static int look_members(const struct tree_copy_link *l, struct tree_copy_look *ret, struct error *error)
{
    struct answer a;
    int rc = children(l, NODE_MEMBERS, &a, error);

    ret->members = a.name_count;
    answer_release(&a);
    if (rc == 0)
        rc = get(l, NODE_LEADER, &a, error);
    else
        return rc;
    ret->led = a.result == COORD_OK;
    answer_release(&a);
    return rc;
}

int tree_copy_look(const struct tree_copy_link *l, struct tree_copy_look *ret, struct error *error)
{
    struct answer a;
    int rc;

    *ret = (struct tree_copy_look){.kind = TREE_COPY_EMPTY};
    rc = get(l, NODE_EPOCH, &a, error);
    if (rc == 0 && a.result == COORD_OK)
        rc = look_epoch(ret, &a, error);
    else if (rc == 0)
        rc = look_leftovers(l, ret, error);
    answer_release(&a);
    if (rc == 0 && ret->kind == TREE_COPY_LIVING)
        rc = look_head(l, ret, error);
    return rc < 0 ? rc : look_members(l, ret, error);
}

/* ---- reading ---- */

static int read_chunks(const struct tree_copy_link *l, const struct manifest *m, struct tree_copy *c,
                       struct error *error)
{
    size_t filled = 0, i;
    json_t *name;
    int rc = 0;

    if (m->size > SIZE_MAX / 2)
        return error_set(error, ERR_CORRUPT, "ZooKeeper node " NODE_CURRENT ": too large");
    c->text = alloc_zero(m->size + 1);
    json_array_foreach(m->chunks, i, name)
    {
        char path[COORD_PATH_MAX];
        struct answer a;
        size_t size = 0;

        snprintf(path, sizeof(path), NODE_CHUNKS "/%s", json_string_value(name));
        rc = get(l, path, &a, error);
        if (rc == 0 && a.result != COORD_OK)
            rc = error_set(error, ERR_CORRUPT, "ZooKeeper node %s is missing", path);
        if (rc == 0)
            rc = chunk_unpack(a.data, a.size, json_string_value(name), c->text + filled, m->size - filled,
                              &size, error);
        filled += size;
        assert(filled <= m->size);
        answer_release(&a);
        if (rc < 0)
            return rc;
    }
    c->size = m->size;
    return filled == m->size ? 0 : error_set(error, ERR_CORRUPT, "the snapshot in ZooKeeper is incomplete");
}

static int read_snapshot(const struct tree_copy_link *l, struct tree_copy *c, struct error *error)
{
    struct manifest m = {.exists = false};
    struct answer a;
    int rc = get(l, NODE_CURRENT, &a, error);

    assert(!c->text && c->count == 0);
    if (rc == 0 && a.result == COORD_OK)
        rc = manifest_parse(&m, a.data ? a.data : "", a.size, error);
    if (rc == 0 && m.exists && m.level > RECORD_LEVEL)
        rc = error_set(error, ERR_UNSUPPORTED, "the journal in ZooKeeper needs a newer cronsched");
    if (rc == 0 && m.exists) {
        c->index = m.index;
        c->level = m.level;
        memcpy(c->hash, m.hash, sizeof(c->hash));
        rc = read_chunks(l, &m, c, error);
    }
    manifest_release(&m);
    answer_release(&a);
    return rc;
}

static int add_node(struct tree_copy *c, const struct answer *a, const char *path, struct error *error)
{
    assert(a->done);
    if (a->result != COORD_OK && a->result != COORD_NO_NODE)
        return failed(a, path, error);
    if (a->result != COORD_OK || a->size <= NONCE_SIZE || a->data[NONCE_SIZE - 1] != '\n')
        return error_set(error, ERR_CORRUPT, "ZooKeeper node %s is missing or invalid", path);
    return tree_copy_add(c, a->data + NONCE_SIZE, a->size - NONCE_SIZE, error);
}

static int read_log(const struct tree_copy_link *l, uint64_t head, struct tree_copy *c, struct error *error)
{
    static struct answer answers[AT_ONCE];
    int rc = 0;

    while (rc == 0 && c->index + c->count < head) {
        uint64_t first = c->index + c->count + 1;
        size_t n = head - first + 1 < AT_ONCE ? (size_t)(head - first + 1) : AT_ONCE;
        char path[COORD_PATH_MAX];

        for (size_t i = 0; i < n; i++) {
            answers[i] = (struct answer){.object = OBJECT_MARK(struct answer)};
            l->coord->ops->get(l->coord, tree_log_path(first + i, path), false, on_answer, &answers[i]);
        }
        for (size_t i = 0; i < n; i++) {
            await(l, &answers[i]);
            rc = rc < 0 ? rc : add_node(c, &answers[i], tree_log_path(first + i, path), error);
            answer_release(&answers[i]);
        }
    }
    return rc;
}

int tree_copy_read(const struct tree_copy_link *l, const struct tree_copy_look *look, struct tree_copy *ret,
                   struct error *error)
{
    int rc;

    assert(look->kind == TREE_COPY_LIVING);
    *ret = (struct tree_copy){.text = NULL};
    memcpy(ret->cluster, look->cluster, sizeof(ret->cluster));
    rc = read_snapshot(l, ret, error);
    if (rc == 0 && ret->index > look->head)
        rc = error_set(error, ERR_CORRUPT, "the journal in ZooKeeper ends before its snapshot");
    rc = rc < 0 ? rc : read_log(l, look->head, ret, error);
    if (rc < 0)
        tree_copy_release(ret);
    else
        ret->epoch = look->epoch;
    return rc;
}

/* ---- writing ---- */

static int remove_node(const struct tree_copy_link *l, const char *path, struct error *error)
{
    struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = COORD_ANY};

    return multi(l, &op, 1, COORD_NO_NODE, error);
}

static int remove_children(const struct tree_copy_link *l, const char *path, struct error *error)
{
    struct answer a;
    int rc = children(l, path, &a, error);

    for (size_t i = 0; rc == 0 && i < a.name_count; i++) {
        char child[COORD_PATH_MAX];

        if (strcmp(path, NODE_SNAP) == 0 && strcmp(a.names[i], "chunks") == 0)
            continue;
        if (snprintf(child, sizeof(child), "%s/%s", path, a.names[i]) < (int)sizeof(child))
            rc = remove_node(l, child, error);
    }
    answer_release(&a);
    return rc;
}

int tree_copy_drop(const struct tree_copy_link *l, const struct tree_copy_look *look, struct error *error)
{
    int rc = 0;

    assert(look->kind == TREE_COPY_HALF || look->kind == TREE_COPY_MOVED);
    for (size_t i = COUNT(folders); rc == 0 && i-- > 0;) {
        rc = remove_children(l, folders[i], error);
        rc = rc < 0 ? rc : remove_node(l, folders[i], error);
    }
    for (size_t i = 0; rc == 0 && i < COUNT(small_nodes); i++)
        rc = remove_node(l, small_nodes[i], error);
    return rc < 0 ? rc : remove_node(l, NODE_MIGRATING, error);
}

static char *marker(const struct tree_copy *c)
{
    json_t *o = json_pack("{s:s}", "cluster", c->cluster);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    return text;
}

/* The tree is ours from now on, and it is not the end of another one any more. */
static int take_tree(const struct tree_copy_link *l, const struct tree_copy_look *look,
                     const struct tree_copy *c, struct error *error)
{
    char *text = marker(c), name[COORD_PATH_MAX];
    struct coord_op ops[4];
    size_t n = 0;
    int rc;

    assert(look->kind == TREE_COPY_MOVED || look->kind == TREE_COPY_EMPTY);
    if (look->kind == TREE_COPY_MOVED) {
        ops[n++] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_EPOCH, .version = look->epoch_version};
        if (look->name[0])
            ops[n++] = (struct coord_op){
                .kind = COORD_DELETE, .path = tree_name_path(look->name, name), .version = COORD_ANY};
        ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_EPOCH, .version = COORD_ANY};
    }
    ops[n++] = (struct coord_op){COORD_CREATE, NODE_MIGRATING, text, strlen(text), COORD_ANY};
    rc = multi(l, ops, n, COORD_OK, error);
    free(text);
    return rc;
}

static int create(const struct tree_copy_link *l, const char *path, const void *data, size_t size,
                  struct error *error)
{
    struct coord_op op = {COORD_CREATE, path, data, size, COORD_ANY};

    return multi(l, &op, 1, COORD_EXISTS, error);
}

static int write_snapshot(const struct tree_copy_link *l, const struct tree_copy *c, struct error *error)
{
    struct manifest m = {.exists = true,
                         .index = c->index,
                         .first = c->index + 1,
                         .level = c->level,
                         .size = c->size,
                         .trail = json_array(),
                         .chunks = json_array()};
    char *text;
    int rc = 0;

    assert(c->text);
    memcpy(m.hash, c->hash, sizeof(m.hash));
    for (size_t cut = 0; rc == 0 && cut < c->size;) {
        char name[CHUNK_NAME_SIZE], path[COORD_PATH_MAX];
        size_t packed_size, size = chunk_cut(c->text + cut, c->size - cut, l->coord->request_max, name);
        void *packed = chunk_pack(c->text + cut, size, &packed_size);

        snprintf(path, sizeof(path), NODE_CHUNKS "/%s", name);
        rc = create(l, path, packed, packed_size, error);
        json_array_append_new(m.chunks, json_string(name));
        free(packed);
        cut += size;
    }
    text = manifest_text(&m);
    rc = rc < 0 ? rc : create(l, NODE_CURRENT, text, strlen(text), error);
    free(text);
    manifest_release(&m);
    return rc;
}

/* From batch `at` on, as many as go into one request. */
static int write_group(const struct tree_copy_link *l, const struct tree_copy *c, size_t *at,
                       const char *nonce, struct error *error)
{
    static char paths[AT_ONCE][COORD_PATH_MAX];
    struct coord_op ops[AT_ONCE];
    char *data[AT_ONCE];
    size_t n = 0, bytes = 0, most = GROUP_BYTES;
    int rc;

    assert(*at < c->count);
    if (l->coord->request_max > OVERHEAD_BYTES && l->coord->request_max - OVERHEAD_BYTES < most)
        most = l->coord->request_max - OVERHEAD_BYTES;
    while (*at < c->count && n < AT_ONCE &&
           (n == 0 || bytes + c->batches[*at].size + COORD_OP_BYTES < most)) {
        const struct tree_copy_batch *b = &c->batches[*at];

        data[n] = alloc_zero(NONCE_SIZE + b->size + 1);
        snprintf(data[n], NONCE_SIZE + 1, "%s\n", nonce);
        memcpy(data[n] + NONCE_SIZE, b->text, b->size);
        ops[n] = (struct coord_op){COORD_CREATE, tree_log_path(c->index + *at + 1, paths[n]), data[n],
                                   NONCE_SIZE + b->size, COORD_ANY};
        bytes += b->size + COORD_OP_BYTES;
        n++;
        (*at)++;
    }
    rc = multi(l, ops, n, COORD_OK, error);
    while (n > 0)
        free(data[--n]);
    return rc;
}

static int write_log(const struct tree_copy_link *l, const struct tree_copy *c, struct error *error)
{
    char nonce[NONCE_SIZE];
    size_t at = 0;
    int rc = 0;

    check_invariants(c);
    snprintf(nonce, sizeof(nonce), "%016" PRIx64, l->random(l->arg));
    while (rc == 0 && at < c->count)
        rc = write_group(l, c, &at, nonce, error);
    return rc;
}

static int write_small(const struct tree_copy_link *l, const struct tree_copy *c, struct error *error)
{
    char head[DATA_DIGITS_MAX], hash[MARK_HASH_SIZE], secret[65];
    int rc;

    check_invariants(c);
    snprintf(head, sizeof(head), "%" PRIu64, tree_copy_head(c, hash));
    for (size_t i = 0; i < 4; i++)
        snprintf(secret + 16 * i, 17, "%016" PRIx64, l->random(l->arg));
    rc = create(l, NODE_HEAD, head, strlen(head), error);
    return rc < 0 ? rc : create(l, NODE_SECRET, secret, strlen(secret), error);
}

int tree_copy_write(const struct tree_copy_link *l, const struct tree_copy_look *look,
                    const struct tree_copy *c, struct error *error)
{
    const struct tree_copy_look half = {.kind = TREE_COPY_HALF};
    int rc = 0;

    check_invariants(c);
    assert(look->kind == TREE_COPY_EMPTY || look->kind == TREE_COPY_HALF || look->kind == TREE_COPY_MOVED);
    if (look->kind == TREE_COPY_MOVED) {
        rc = take_tree(l, look, c, error); /* its nodes go next, and the note of whose it is with them */
        look = &half;
    }
    if (rc == 0 && look->kind == TREE_COPY_HALF)
        rc = tree_copy_drop(l, look, error);
    rc = rc < 0 ? rc : take_tree(l, &(const struct tree_copy_look){.kind = TREE_COPY_EMPTY}, c, error);
    for (size_t i = 0; rc == 0 && i < COUNT(folders); i++)
        rc = create(l, folders[i], "", 0, error);
    if (rc == 0 && c->text)
        rc = write_snapshot(l, c, error);
    rc = rc < 0 ? rc : write_log(l, c, error);
    return rc < 0 ? rc : write_small(l, c, error);
}

/* ---- the two steps that count ---- */

int tree_copy_commit(const struct tree_copy_link *l, const struct tree_copy *c, struct error *error)
{
    char nonce[NONCE_SIZE], name[COORD_PATH_MAX], *text;
    json_t *o;
    int rc;

    check_invariants(c);
    snprintf(nonce, sizeof(nonce), "%016" PRIx64, l->random(l->arg));
    o = json_pack("{s:s,s:I,s:s,s:b,s:s}", "cluster", c->cluster, "base", (json_int_t)c->epoch + 1, "nonce",
                  nonce, "named", 1, "cause", "migrated");
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    rc = multi(l,
               (struct coord_op[]){{COORD_CREATE, NODE_EPOCH, text, strlen(text), COORD_ANY},
                                   {COORD_CREATE, tree_name_path(nonce, name), "", 0, COORD_ANY},
                                   {.kind = COORD_DELETE, .path = NODE_MIGRATING, .version = COORD_ANY}},
               3, COORD_OK, error);
    free(text);
    return rc;
}

static char *end_text(const struct tree_copy_look *look, const char *hash, const char *where,
                      const char *nonce)
{
    int64_t base = look->epoch - look->epoch_version;
    json_t *o = json_pack("{s:s,s:I,s:s,s:b,s:{s:s,s:I,s:s,s:s}}", "cluster", CLUSTER_MOVED, "base",
                          (json_int_t)base, "nonce", nonce, "named", 1, "moved", "cluster", look->cluster,
                          "index", (json_int_t)look->head, "hash", hash, "to", where);
    char *text = json_dumps(o, JSON_COMPACT);

    assert(look->kind == TREE_COPY_LIVING);
    json_decref(o);
    return text;
}

int tree_copy_end(const struct tree_copy_link *l, const struct tree_copy_look *look, const char *hash,
                  const char *where, struct error *error)
{
    char nonce[NONCE_SIZE], names[2][COORD_PATH_MAX], *text;
    struct coord_op ops[6];
    size_t n = 0;
    int rc;

    assert(look->kind == TREE_COPY_LIVING);
    snprintf(nonce, sizeof(nonce), "%016" PRIx64, l->random(l->arg));
    text = end_text(look, hash, where, nonce);
    ops[n++] = (struct coord_op){COORD_SET, NODE_EPOCH, text, strlen(text), look->epoch_version};
    if (look->name[0])
        ops[n++] = (struct coord_op){
            .kind = COORD_DELETE, .path = tree_name_path(look->name, names[0]), .version = COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE, tree_name_path(nonce, names[1]), "", 0, COORD_ANY};
    ops[n++] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_HEAD, .version = look->head_version};
    /* nobody leads */
    ops[n++] = (struct coord_op){COORD_CREATE_EPHEMERAL, NODE_LEADER, "{}", 2, COORD_ANY};
    ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    rc = multi(l, ops, n, COORD_OK, error);
    free(text);
    return rc;
}
