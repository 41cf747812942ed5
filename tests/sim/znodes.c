/* See znodes.h. A multi is carried out step by step, each seeing what those before it did, and undone when
 * one fails. */
#include "tests/sim/znodes.h"

#include "jobs/base/alloc.h"

#include <stdio.h>

/* ---- nodes and versions ---- */

void znodes_init(struct znodes *z)
{
    *z = (struct znodes){0};
    list_init(&z->txns);
    list_init(&z->dying);
    list_init(&z->owned);
    list_init(&z->root.children);
    list_init(&z->root.sibling);
    list_init(&z->root.dying);
    list_init(&z->root.owned);
}

static void versions_free(struct znode_version *v)
{
    while (v) {
        struct znode_version *older = v->older;

        free(v);
        v = older;
    }
}

static void node_free(struct znodes *z, struct znode *n)
{
    versions_free(n->newest);
    list_remove(&n->sibling);
    list_remove(&n->dying);
    list_remove(&n->owned);
    HASH_DEL(z->nodes, n);
    free(n);
}

void znodes_release(struct znodes *z)
{
    struct znode *n, *next;

    while (!list_empty(&z->txns)) {
        struct znode_txn *t = LIST_ITEM(z->txns.next, struct znode_txn, all);

        list_remove(&t->all);
        free(t);
    }
    HASH_ITER(hh, z->nodes, n, next) /* lists between them mean nothing any more */
    {
        HASH_DEL(z->nodes, n);
        versions_free(n->newest);
        free(n);
    }
}

struct znode *znodes_find(struct znodes *z, const char *path)
{
    struct znode *n = NULL;

    if (strcmp(path, "/") == 0)
        return &z->root;
    HASH_FIND_STR(z->nodes, path, n);
    return n;
}

const struct znode_version *znode_at(const struct znode *node, int64_t zxid)
{
    const struct znode_version *v = node ? node->newest : NULL;

    while (v && v->zxid > zxid)
        v = v->older;
    return v && v->exists ? v : NULL;
}

static const struct znode_version *now(const struct znode *n)
{
    return n && n->newest && n->newest->exists ? n->newest : NULL;
}

bool znode_changed(const struct znode *node, bool children, int64_t from, int64_t to)
{
    if (!node)
        return false;
    if (!children) {
        for (const struct znode_version *v = node->newest; v && v->zxid > from; v = v->older)
            if (v->zxid <= to)
                return true;
        return false;
    }
    LIST_EACH(link, &node->children)
    {
        const struct znode *child = LIST_ITEM(link, struct znode, sibling);

        for (const struct znode_version *v = child->newest; v && v->zxid > from; v = v->older)
            if (v->zxid <= to && (!v->older || v->older->exists != v->exists || v->version == 0))
                return true;
    }
    return false;
}

static struct znode *parent_of(struct znodes *z, const char *path)
{
    char above[COORD_PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash == path)
        return &z->root;
    snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
    return znodes_find(z, above);
}

static struct znode *node_make(struct znodes *z, const char *path, struct znode *parent)
{
    struct znode *n = alloc_zero(sizeof(*n));

    snprintf(n->path, sizeof(n->path), "%s", path);
    n->parent = parent;
    list_init(&n->children);
    list_init(&n->sibling);
    list_init(&n->dying);
    list_init(&n->owned);
    list_append(&parent->children, &n->sibling);
    HASH_ADD_STR(z->nodes, path, n);
    return n;
}

static void account(struct znodes *z, const struct znode_version *v, int sign)
{
    if (!v || !v->exists)
        return;
    z->count += (size_t)sign;
    z->bytes += (size_t)sign * v->size;
}

static struct znode_version *version_push(struct znodes *z, struct znode *n, bool exists, const void *data,
                                          size_t size)
{
    struct znode_version *v = alloc_zero(sizeof(*v) + size + 1);

    account(z, n->newest, -1);
    v->older = n->newest;
    v->zxid = z->zxid + 1;
    v->exists = exists;
    v->size = size;
    if (size)
        memcpy(v->data, data, size);
    n->newest = v;
    account(z, v, 1);
    return v;
}

static void version_pop(struct znodes *z, struct znode *n)
{
    struct znode_version *v = n->newest;

    account(z, v, -1);
    n->newest = v->older;
    account(z, n->newest, 1);
    free(v);
    if (!n->newest)
        node_free(z, n);
}

/* ---- transactions ---- */

static bool has_children(const struct znode *n)
{
    LIST_EACH(link, &n->children)
    {
        if (now(LIST_ITEM(link, struct znode, sibling)))
            return true;
    }
    return false;
}

static enum coord_result do_create(struct znodes *z, const struct coord_op *op, int64_t session,
                                   int64_t now_ms, struct znode_change *change)
{
    struct znode *n = znodes_find(z, op->path), *parent = parent_of(z, op->path);
    struct znode_version *v;

    if (now(n))
        return COORD_EXISTS;
    if (!parent || (parent != &z->root && !now(parent)))
        return COORD_NO_NODE;
    if (parent != &z->root && now(parent)->owner)
        return COORD_FAILED; /* no children for ephemerals */
    if (!n)
        n = node_make(z, op->path, parent);
    v = version_push(z, n, true, op->data, op->size);
    v->owner = op->kind == COORD_CREATE_EPHEMERAL ? session : 0;
    v->mtime_ms = now_ms;
    *change = (struct znode_change){n, ZNODE_MADE};
    return COORD_OK;
}

static enum coord_result do_change(struct znodes *z, const struct coord_op *op, int64_t now_ms,
                                   struct znode_change *change)
{
    struct znode *n = znodes_find(z, op->path);
    const struct znode_version *old = now(n);
    struct znode_version *v;

    if (!old)
        return COORD_NO_NODE;
    if (op->version != COORD_ANY && op->version != old->version)
        return COORD_BAD_VERSION;
    if (op->kind == COORD_CHECK)
        return COORD_OK;
    if (op->kind == COORD_DELETE && has_children(n))
        return COORD_FAILED;
    v = version_push(z, n, op->kind == COORD_SET, op->data, op->kind == COORD_SET ? op->size : 0);
    v->version = old->version + (op->kind == COORD_SET);
    v->owner = old->owner;
    v->mtime_ms = now_ms;
    *change = (struct znode_change){n, op->kind == COORD_SET ? ZNODE_CHANGED : ZNODE_GONE};
    return COORD_OK;
}

static const struct znode_txn *commit(struct znodes *z, struct znode_txn *t, int64_t session)
{
    t->zxid = ++z->zxid;
    t->session = session;
    list_append(&z->txns, &t->all);
    for (size_t i = 0; i < t->count; i++) {
        struct znode *n = t->changes[i].node;

        list_remove(&n->dying);
        list_remove(&n->owned);
        if (!n->newest->exists)
            list_append(&z->dying, &n->dying);
        else if (n->newest->owner)
            list_append(&z->owned, &n->owned);
    }
    return t;
}

static struct znode_txn *txn_new(size_t room)
{
    struct znode_txn *t = alloc_zero(sizeof(*t) + room * sizeof(t->changes[0]));

    list_init(&t->all);
    return t;
}

enum coord_result znodes_multi(struct znodes *z, const struct coord_op *ops, size_t count, int64_t session,
                               int64_t now_ms, const struct znode_txn **ret, struct coord_stat *ret_stat)
{
    struct znode_txn *t = txn_new(count);
    enum coord_result result = COORD_OK;

    for (size_t i = 0; i < count && result == COORD_OK; i++) {
        struct znode_change change = {0};

        if (ops[i].kind == COORD_CREATE || ops[i].kind == COORD_CREATE_EPHEMERAL)
            result = do_create(z, &ops[i], session, now_ms, &change);
        else
            result = do_change(z, &ops[i], now_ms, &change);
        if (result != COORD_OK || !change.node)
            continue;
        t->changes[t->count++] = change;
        if (ops[i].kind == COORD_SET)
            *ret_stat = (struct coord_stat){change.node->newest->version, change.node->newest->owner, now_ms};
    }
    if (result != COORD_OK) {
        while (t->count > 0)
            version_pop(z, t->changes[--t->count].node);
        free(t);
        return result;
    }
    *ret = commit(z, t, session);
    return COORD_OK;
}

const struct znode_txn *znodes_end_session(struct znodes *z, int64_t session)
{
    struct znode_txn *t;
    size_t count = 0;

    LIST_EACH(link, &z->owned)
    {
        count += LIST_ITEM(link, struct znode, owned)->newest->owner == session;
    }
    t = txn_new(count);
    LIST_EACH(link, &z->owned)
    {
        struct znode *n = LIST_ITEM(link, struct znode, owned);

        if (n->newest->owner != session)
            continue;
        version_push(z, n, false, NULL, 0);
        t->changes[t->count++] = (struct znode_change){n, ZNODE_GONE};
    }
    return commit(z, t, session);
}

/* ---- a tree that goes back ---- */

struct copied {
    char path[COORD_PATH_MAX];
    struct znode_version *version; /* with its data */
};

struct znodes_copy {
    size_t count;
    struct copied items[];
};

/* Parents before their children. */
static int by_depth(const void *a, const void *b)
{
    size_t x = strlen(((const struct copied *)a)->path), y = strlen(((const struct copied *)b)->path);

    return x < y ? -1 : x > y;
}

struct znodes_copy *znodes_copy_take(const struct znodes *z)
{
    struct znodes_copy *copy = alloc_zero(sizeof(*copy) + HASH_COUNT(z->nodes) * sizeof(copy->items[0]));
    struct znode *n, *next;

    HASH_ITER(hh, z->nodes, n, next)
    {
        const struct znode_version *v = now(n);
        struct copied *c = &copy->items[copy->count];

        if (!v)
            continue;
        snprintf(c->path, sizeof(c->path), "%s", n->path);
        c->version = alloc_zero(sizeof(*v) + v->size + 1);
        memcpy(c->version, v, sizeof(*v) + v->size);
        copy->count++;
    }
    qsort(copy->items, copy->count, sizeof(copy->items[0]), by_depth);
    return copy;
}

void znodes_copy_free(struct znodes_copy *copy)
{
    for (size_t i = 0; copy && i < copy->count; i++)
        free(copy->items[i].version);
    free(copy);
}

static const struct znode_version *copied_at(const struct znodes_copy *copy, const char *path,
                                             const int64_t *living, size_t living_count)
{
    for (size_t i = 0; copy && i < copy->count; i++) {
        const struct znode_version *v = copy->items[i].version;
        bool lives = v->owner == 0;

        if (strcmp(copy->items[i].path, path) != 0)
            continue;
        for (size_t l = 0; l < living_count; l++)
            lives |= living[l] == v->owner;
        return lives ? v : NULL;
    }
    return NULL;
}

static void put_version(struct znodes *z, struct znode_txn *t, struct znode *n, const struct znode_version *v)
{
    const struct znode_version *old = now(n);
    struct znode_version *new;

    if (!v && !old)
        return;
    if (v && old && v->version == old->version && v->owner == old->owner && v->size == old->size &&
        memcmp(v->data, old->data, v->size) == 0)
        return;
    t->changes[t->count].node = n;
    if (v)
        t->changes[t->count].kind = old ? ZNODE_CHANGED : ZNODE_MADE;
    else
        t->changes[t->count].kind = ZNODE_GONE;
    t->count++;
    new = version_push(z, n, v != NULL, v ? v->data : NULL, v ? v->size : 0);
    if (v) {
        new->version = v->version;
        new->owner = v->owner;
        new->mtime_ms = v->mtime_ms;
    }
}

static int deepest_first(const void *a, const void *b)
{
    size_t x = strlen((*(struct znode *const *)a)->path), y = strlen((*(struct znode *const *)b)->path);

    return x > y ? -1 : x < y;
}

const struct znode_txn *znodes_copy_put(struct znodes *z, const struct znodes_copy *copy,
                                        const int64_t *living, size_t living_count)
{
    struct znode_txn *t = txn_new(HASH_COUNT(z->nodes) + (copy ? copy->count : 0));
    struct znode **there = alloc_zero((HASH_COUNT(z->nodes) + 1) * sizeof(struct znode *)), *n, *next;
    size_t count = 0;

    HASH_ITER(hh, z->nodes, n, next)
    there[count++] = n;
    qsort(there, count, sizeof(struct znode *),
          deepest_first); /* no parent is forgotten before its children */
    for (size_t i = 0; i < count; i++)
        put_version(z, t, there[i], copied_at(copy, there[i]->path, living, living_count));
    free(there);
    for (size_t i = 0; copy && i < copy->count; i++) {
        const char *path = copy->items[i].path;
        const struct znode_version *v = copied_at(copy, path, living, living_count);

        if (v && !znodes_find(z, path))
            put_version(z, t, node_make(z, path, parent_of(z, path)), v);
    }
    return commit(z, t, 0);
}

/* ---- the past ---- */

static void versions_trim(struct znode *n, int64_t zxid)
{
    struct znode_version *v = n->newest;

    while (v && v->zxid > zxid)
        v = v->older;
    if (!v)
        return; /* v is what zxid sees: what is older nobody does */
    versions_free(v->older);
    v->older = NULL;
}

void znodes_trim(struct znodes *z, int64_t zxid)
{
    while (!list_empty(&z->txns)) {
        struct znode_txn *t = LIST_ITEM(z->txns.next, struct znode_txn, all);

        if (t->zxid > zxid)
            break;
        for (size_t i = 0; i < t->count; i++)
            versions_trim(t->changes[i].node, zxid);
        list_remove(&t->all);
        free(t);
    }
    LIST_EACH_SAFE(link, &z->dying)
    {
        struct znode *n = LIST_ITEM(link, struct znode, dying);

        if (n->newest->zxid > zxid)
            break;
        if (list_empty(&n->children)) /* in a tree that was emptied a parent can come before its children */
            node_free(z, n);
    }
}
