/* What is in ZooKeeper in the worlds of `elections`: its history, the ways in which it goes wrong, and who may believe it.
 *
 * Every batch that was ever in the tree is kept with the one that it follows. So what a replica knows, what it is given,
 * and what the tree holds are compared by descent, also after the tree went back and another history went on from there.
 */
#include "tests/sim/elections.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- descent ---- */

static struct committed *find(struct world *w, uint64_t index, const char *hash)
{
    for (struct committed *c = w->ever; c; c = c->made_before)
        if (c->index == index && strcmp(c->hash, hash) == 0)
            return c;
    return NULL;
}

static const struct committed *upto(const struct committed *c, uint64_t index)
{
    while (c && c->index > index)
        c = c->before;
    return c;
}

/* The history that ends with `last` holds `c`, or a person gave leave to forget it. */
static bool holds(const struct committed *last, const struct committed *c)
{
    if (!c || upto(last, c->index) == c)
        return true;
    for (; last && last->index > c->index; last = last->before)
        if (last->base && last->epoch > c->epoch)
            return true;
    return false;
}

/* ---- the log in the tree ---- */

const struct znode_version *tree_at(struct world *w, const char *path)
{
    return znode_at(znodes_find(&w->zoo.tree, path), INT64_MAX);
}

static json_t *json_at(struct world *w, const char *path)
{
    const struct znode_version *v = tree_at(w, path);

    return v ? json_loadb(v->data, v->size, 0, NULL) : NULL;
}

int64_t tree_epoch_now(struct world *w)
{
    json_t *o = json_at(w, NODE_EPOCH);
    int64_t base = json_integer_value(json_object_get(o, "base"));

    json_decref(o);
    return o ? base + tree_at(w, NODE_EPOCH)->version : 0;
}

/* A leader that does not find its batch in a tree that went back appends it again: that is the same one. */
static void add(struct world *w, const struct committed *as)
{
    struct committed *c = find(w, as->index, as->hash);

    if (c && c->before == w->last) {
        w->last = c;
        return;
    }
    c = alloc_zero(sizeof(*c));
    *c = *as;
    c->before = w->last;
    c->made_before = w->ever;
    w->ever = w->last = c;
    w->count++;
}

/* The batch in this node has the nonce of the epoch. */
static bool elected_now(struct world *w, const char *data)
{
    json_t *o = json_at(w, NODE_EPOCH);
    const char *nonce = json_string_value(json_object_get(o, "nonce"));
    bool same = nonce && strlen(nonce) == NONCE_SIZE - 1 && memcmp(data, nonce, NONCE_SIZE - 1) == 0;

    json_decref(o);
    return same;
}

static void commit(struct world *w, const char *data, size_t size)
{
    uint64_t index = w->last ? w->last->index : 0;
    struct committed c = {.index = index + 1};
    struct batch *b = NULL;
    const char *text = data + NONCE_SIZE;

    if (size <= NONCE_SIZE || batch_decode(&b, text, size - NONCE_SIZE, NULL) < 0) {
        violated(w, "batch %" PRIu64 " in ZooKeeper is invalid", index + 1);
        return;
    }
    if (b->index != index + 1 || strcmp(b->prev, w->last ? w->last->hash : "") != 0)
        violated(w, "batch %" PRIu64 " in ZooKeeper does not follow %" PRIu64, b->index, index);
    if (!elected_now(w, data))
        violated(w,
                 "batch %" PRIu64 " of epoch %" PRId64 " was appended by one that is not elected in the tree",
                 b->index, b->epoch);
    if (b->epoch != tree_epoch_now(w))
        violated(w, "batch %" PRIu64 " of epoch %" PRId64 " was appended in epoch %" PRId64, b->index,
                 b->epoch, tree_epoch_now(w));
    batch_hash(text, size - NONCE_SIZE, c.hash);
    c.epoch = b->epoch;
    batch_free(b);
    add(w, &c);
}

/* A recovery goes on from a snapshot above. */
static void rebase(struct world *w)
{
    json_t *o = json_at(w, NODE_RECOVERED);
    struct committed c = {.base = true};
    const char *hash = json_string_value(json_object_get(o, "hash"));

    c.index = (uint64_t)json_integer_value(json_object_get(o, "index"));
    c.epoch = json_integer_value(json_object_get(o, "epoch"));
    snprintf(c.hash, sizeof(c.hash), "%s", hash ? hash : "");
    json_decref(o);
    if (c.index > (w->last ? w->last->index : 0) && tree_at(w, NODE_EPOCH)) {
        tell(w, "the journal goes on from %" PRIu64, c.index);
        add(w, &c);
    }
}

void tree_check(struct world *w)
{
    char path[COORD_PATH_MAX], hash[33];
    const struct znode_version *v;

    if (w->checked_zxid == w->zoo.tree.zxid)
        return; /* nothing was written */
    w->checked_zxid = w->zoo.tree.zxid;
    if (!w->failed)
        rebase(w);
    while (!w->failed && (v = tree_at(w, tree_log_path(w->last ? w->last->index + 1 : 1, path))))
        commit(w, v->data, v->size);
    if (w->last && (v = tree_at(w, tree_log_path(w->last->index, path)))) {
        batch_hash(v->data + NONCE_SIZE, v->size - NONCE_SIZE, hash);
        if (strcmp(hash, w->last->hash) != 0)
            violated(w, "batch %" PRIu64 " in ZooKeeper was replaced", w->last->index);
    }
}

/* ---- who may believe what ---- */

void tree_check_given(struct node *n, const char *what)
{
    struct world *w = n->world;
    const struct committed *c;

    tree_check(w);
    c = find(w, n->index, n->hash);
    if (n->index > 0 && !c)
        violated(w, "%s was %s batch %" PRIu64 ", and ZooKeeper never had it", n->id, what, n->index);
    else if (n->recovering)
        return; /* a person has it take what is there */
    else if (n->known && n->index >= n->known->index && !holds(c, n->known))
        violated(w, "%s was %s batch %" PRIu64 " of a history without batch %" PRIu64 ", which it knew",
                 n->id, what, n->index, n->known->index);
    if (c && (!n->known || c->index >= n->known->index))
        n->known = c;
}

void tree_check_marked(struct node *n)
{
    const struct committed *c;

    tree_check(n->world);
    c = find(n->world, n->mark.index, n->mark.hash);
    if (c && (c->base || !n->known || c->index > n->known->index))
        n->known = c; /* also of a batch whose answer came when it led no more */
}

bool tree_elected_last(struct node *n)
{
    json_t *o = json_at(n->world, NODE_EPOCH);
    const char *replica = json_string_value(json_object_get(o, "replica"));
    bool mine = replica && strcmp(replica, n->id) == 0 && n->epoch == tree_epoch_now(n->world);

    json_decref(o);
    return mine;
}

/* What the members said when its epoch began, and still say. */
static void check_members(struct node *n, const struct committed *c)
{
    struct world *w = n->world;
    int64_t since = tree_at(w, NODE_EPOCH)->zxid;
    const struct znode *members = znodes_find(&w->zoo.tree, NODE_MEMBERS);

    if (!members)
        return;
    LIST_EACH(link, &members->children)
    {
        const struct znode *m = LIST_ITEM(link, struct znode, sibling);
        const struct znode_version *v = znode_at(m, INT64_MAX);
        json_t *o = v && v->zxid < since ? json_loadb(v->data, v->size, 0, NULL) : NULL;
        struct mark mark = {.index = 0};

        if (o && mark_parse(&mark, json_object_get(o, "mark"), NULL) == 0 && mark.index > 0 &&
            !holds(c, find(w, mark.index, mark.hash)))
            violated(w, "%s leads with %" PRIu64 " batches, where %s holds batch %" PRIu64, n->id, n->index,
                     m->path, mark.index);
        json_decref(o);
    }
}

void tree_check_lead(struct node *n)
{
    struct world *w = n->world;
    const struct committed *c;

    tree_check(w);
    c = find(w, n->index, n->hash);
    if (n->known && !holds(c, n->known))
        violated(w, "%s leads with %" PRIu64 " batches, without batch %" PRIu64 ", which it knew", n->id,
                 n->index, n->known->index);
    if (!tree_elected_last(n))
        return; /* it is deposed, and will hear of it */
    if (c != w->last)
        violated(w, "%s leads with %" PRIu64 " batches of %" PRIu64, n->id, n->index,
                 w->last ? w->last->index : 0);
    check_members(n, c);
    if (c && c->base && !n->told_of_recovery)
        violated(w, "%s leads after a recovery, and was not told of it", n->id);
}

void tree_check_acked(struct node *n, uint64_t index)
{
    struct world *w = n->world;
    struct committed *c;

    tree_check(w);
    for (c = w->ever; c && (c->index != index || c->epoch != n->epoch || !holds(c, n->known));
         c = c->made_before)
        ;
    if (!c)
        violated(w, "%s: batch %" PRIu64 " is acknowledged, and not in ZooKeeper", n->id, index);
    else
        n->known = c;
}

/* ---- how it goes wrong ---- */

/* The newest copy that holds all that is known. */
static const struct copy *right_copy(struct world *w)
{
    for (size_t i = w->copy_count; i-- > 0;) {
        bool right = w->copies[i].whole;

        for (size_t n = 0; n < SEATS_MAX; n++)
            right &= holds(w->copies[i].last, w->nodes[n].known);
        if (right)
            return &w->copies[i];
    }
    return NULL;
}

static void copy_take(struct world *w)
{
    size_t i;

    tree_check(w); /* what it holds is known */
    if (w->copy_count == COPIES_MAX) {
        do
            i = chance(w, COPIES_MAX);
        while (&w->copies[i] == right_copy(w));
        znodes_copy_free(w->copies[i].nodes);
        memmove(&w->copies[i], &w->copies[i + 1], (--w->copy_count - i) * sizeof(w->copies[0]));
    }
    w->copies[w->copy_count++] =
        (struct copy){znodes_copy_take(&w->zoo.tree), w->last, tree_at(w, NODE_EPOCH) != NULL};
}

static void forget_before(struct world *w)
{
    znodes_copy_free(w->before.nodes);
    w->before = (struct copy){.nodes = NULL};
    w->elected = NULL;
}

void tree_release_copies(struct world *w)
{
    forget_before(w);
    while (w->copy_count > 0)
        znodes_copy_free(w->copies[--w->copy_count].nodes);
    while (w->ever) {
        struct committed *c = w->ever;

        w->ever = c->made_before;
        free(c);
    }
}

static void all_sessions_end(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->zoo.seats[i]->session)
            seat_session_ends(w->zoo.seats[i]);
    while (w->dead_count > 0)
        znodes_end_session(&w->zoo.tree, w->dead[--w->dead_count]);
}

/* NULL: nothing is left. */
static void put(struct world *w, const struct copy *copy, bool sessions_live)
{
    int64_t living[SEATS_MAX + DEAD_MAX];
    size_t count = 0;

    if (!sessions_live)
        all_sessions_end(w);
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->zoo.seats[i]->session)
            living[count++] = w->zoo.seats[i]->session;
    znodes_copy_put(&w->zoo.tree, copy ? copy->nodes : NULL, living, count);
    while (w->dead_count > 0)
        znodes_end_session(&w->zoo.tree, w->dead[--w->dead_count]);
    w->last = copy ? copy->last : NULL;
    w->went_back = true;
    for (size_t i = 0; i < w->zoo.count; i++)
        seat_catch_up(w->zoo.seats[i]);
    for (int64_t e = tree_epoch_now(w) + 1; e < EPOCHS_MAX; e++)
        w->led[e] = false; /* their numbers come again */
}

static void tree_goes_wrong(struct world *w)
{
    size_t i;

    tree_check(w);
    copy_take(w);
    if (chance(w, 4) == 0) {
        tell(w, "the tree is emptied");
        put(w, NULL, chance(w, 2));
        w->emptied++;
        return;
    }
    i = chance(w, w->copy_count);
    tell(w, "the tree goes back from %" PRIu64 " to %" PRIu64, w->last ? w->last->index : 0,
         w->copies[i].last ? w->copies[i].last->index : 0);
    put(w, &w->copies[i], chance(w, 2));
    w->rollbacks++;
}

void tree_keep_before(struct node *n)
{
    struct world *w = n->world;

    forget_before(w);
    tree_check(w);
    w->before = (struct copy){znodes_copy_take(&w->zoo.tree), w->last, true};
    w->elected = n;
}

void tree_undo_election(struct world *w)
{
    tree_check(w);
    put(w, &w->before, true);
    w->rollbacks++;
    forget_before(w);
}

bool tree_put_right(struct world *w)
{
    const struct copy *copy = right_copy(w);
    bool right = tree_at(w, NODE_EPOCH) != NULL;

    tree_check(w);
    for (size_t n = 0; n < SEATS_MAX; n++)
        right &= holds(w->last, w->nodes[n].known);
    if (right)
        return true;
    if (!copy && !tree_at(w, NODE_EPOCH)) { /* any is better than none */
        for (size_t i = 0; i < w->copy_count; i++)
            copy = w->copies[i].whole ? &w->copies[i] : copy;
        if (copy)
            put(w, copy, false);
        return false;
    }
    if (!copy)
        return false;
    tell(w, "the tree is put right, at %" PRIu64, copy->last ? copy->last->index : 0);
    put(w, copy, false);
    return true;
}

bool tree_meddle(struct world *w)
{
    uint64_t dice = chance(w, 1500);

    w->founded |= tree_at(w, NODE_EPOCH) != NULL;
    if (!w->founded)
        return false;
    if ((w->steps >= w->fault_step && !w->went_back) || dice == 0) {
        tree_goes_wrong(w);
        w->right_step = w->steps + chance(w, 1500);
        return true;
    }
    if (dice < 4 && tree_at(w, NODE_EPOCH) && tree_at(w, NODE_HEAD))
        copy_take(w);
    else if (w->steps == w->right_step && w->went_back)
        tree_put_right(w);
    return false;
}
