#include "tests/support/replicated_fixture.h"

#include "jobs/base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- environment ---- */

static uint64_t env_boot(void *arg)
{
    return (uint64_t)((struct node *)arg)->zoo->now_ms;
}

static int64_t env_wall(void *arg)
{
    return ((struct node *)arg)->zoo->now_ms + 1700000000000;
}

static uint64_t env_random(void *arg)
{
    static uint64_t x = 1;

    (void)arg;
    return x++ * UINT64_C(0x9e3779b97f4a7c15);
}

static void env_wake(void *arg, uint64_t at)
{
    (void)arg;
    (void)at;
}

static void env_log(void *arg, enum log_level level, const char *event, const char *text)
{
    ((struct node *)arg)->refusals_told += strcmp(event, "refusing") == 0;
    if (getenv("VERBOSE"))
        printf("# %s: [%d] %s: %s\n", ((struct node *)arg)->id, level, event, text);
}

static bool host_fit(void *arg, const char **ret_why)
{
    *ret_why = "its engines do not answer";
    return ((struct node *)arg)->fit;
}

static json_t *host_member(void *arg)
{
    return json_pack("{s:s}", "url", ((struct node *)arg)->id);
}

static uint64_t host_durable(void *arg)
{
    struct node *n = arg;

    return n->durable ? n->durable : n->owner.index;
}

static void host_marked(void *arg, const struct mark *mark)
{
    ((struct node *)arg)->mark = *mark;
}

static char *host_state(void *arg, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                        int64_t *ret_time_ms)
{
    const struct node *n = arg;
    char *text = alloc_zero(64);

    snprintf(text, 64, "%llu %s", (unsigned long long)index, hash);
    *ret_size = strlen(text);
    *ret_level = OWNER_LEVEL;
    *ret_time_ms = 1700000000000 + (int64_t)n->owner.index;
    if (n->owner.restores > 0)
        return text;
    free(text);
    return NULL;
}

static void host_changed(void *arg)
{
    assert_true(((struct node *)arg)->up);
}

/* ---- the cluster ---- */

struct node *node_start(struct cluster *c, size_t i, const struct replicated_options *more)
{
    struct node *n = &c->nodes[i];
    struct replicated_options o = more ? *more : (struct replicated_options){0};

    if (n->journal && !n->up)
        seat_finish_close(&n->seat); /* of an earlier life */
    *n = (struct node){.zoo = &c->zoo, .fit = true, .up = true};
    snprintf(n->id, sizeof(n->id), "%c", (char)('a' + i));
    n->env = (struct replicated_env){env_boot, env_wall, env_random, env_wake, env_log, n};
    n->host = (struct replicated_host){.fit = host_fit,
                                       .member = host_member,
                                       .durable = host_durable,
                                       .changed = host_changed,
                                       .marked = host_marked,
                                       .state = host_state,
                                       .arg = n};
    n->seat = (struct seat){.coord = {.ops = &seat_ops}, .zoo = &c->zoo};
    list_init(&n->seat.asks);
    if (!o.replica)
        o.replica = n->id;
    o.url = "http://127.0.0.1:1";
    o.cluster_uuid = "uuid";
    o.secret = SECRET;
    o.found = !o.mark.cluster[0] && !o.join_cluster;
    if (!o.join_cluster)
        o.join_cluster = "uuid";
    o.level = o.level ? o.level : OWNER_LEVEL;
    o.env = &n->env;
    o.host = &n->host;
    c->zoo.seats[i] = &n->seat;
    c->zoo.count = i + 1 > c->zoo.count ? i + 1 : c->zoo.count;
    c->count = c->zoo.count;
    n->journal = n->owner.journal = replicated_new(&o, &n->seat.coord, &owner_events, &n->owner);
    seat_connect(&n->seat);
    return n;
}

struct cluster *cluster_new(size_t count)
{
    struct cluster *c = alloc_zero(sizeof(*c));

    znodes_init(&c->zoo.tree);
    c->zoo.now_ms = 1000;
    for (size_t i = 0; i < count; i++)
        node_start(c, i, NULL);
    return c;
}

void node_dies(struct node *n)
{
    seat_cut(&n->seat, 0);
    n->journal->ops->close(n->journal, owner_closed, &n->owner);
    while (!n->seat.closed) { /* it waits for its appends until its patience ends */
        n->zoo->now_ms += 1000;
        replicated_tick(n->journal);
    }
    n->up = false;
}

void session_of_the_dead_ends(struct node *n)
{
    if (n->seat.session)
        seat_session_ends(&n->seat);
}

void cluster_free(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct node *n = &c->nodes[i];

        if (n->up) {
            if (n->seat.connected)
                seat_cut(&n->seat, 0);
            n->journal->ops->close(n->journal, owner_closed, &n->owner);
            while (!n->seat.closed) {
                c->zoo.now_ms += 1000;
                replicated_tick(n->journal);
            }
        }
        c->zoo.count = 0; /* nobody is told any more */
        seat_finish_close(&n->seat);
        assert_int_equal(n->owner.closed, 1);
    }
    znodes_release(&c->zoo.tree);
    free(c);
}

bool step_any(struct cluster *c)
{
    bool any = false;

    for (size_t i = 0; i < c->count; i++)
        any |= c->nodes[i].up && seat_step(&c->nodes[i].seat);
    return any;
}

void settle(struct cluster *c)
{
    for (int i = 0; step_any(c); i++)
        assert_true(i < 100000);
}

void tick(struct cluster *c, int64_t ms)
{
    c->zoo.now_ms += ms;
    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i].up)
            replicated_tick(c->nodes[i].journal);
}

void pass(struct cluster *c, int64_t ms)
{
    settle(c);
    for (int64_t left = ms; left > 0; left -= 500) {
        tick(c, left < 500 ? left : 500);
        settle(c);
    }
}

void link_down(struct node *n, int64_t epoch, enum replicated_link_state state)
{
    struct replicated_link link = {state, "Connection refused", 0};

    replicated_leader_link(n->journal, epoch, &link);
}

struct node *leader(struct cluster *c)
{
    struct node *found = NULL;

    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i].up && c->nodes[i].owner.leading) {
            assert_null(found);
            found = &c->nodes[i];
        }
    return found;
}

const char *data_at(struct cluster *c, const char *path)
{
    const struct znode_version *v = znode_at(znodes_find(&c->zoo.tree, path), INT64_MAX);

    return v ? v->data : NULL;
}

uint64_t head(struct cluster *c)
{
    return strtoull(data_at(c, NODE_HEAD), NULL, 10);
}

void assert_log_is_a_chain(struct cluster *c, uint64_t from)
{
    char path[COORD_PATH_MAX], hash[33] = "";
    int64_t epoch = 0;

    for (uint64_t i = from; i <= head(c); i++) {
        const char *data = data_at(c, tree_log_path(i, path));
        struct batch *b = NULL;

        assert_non_null(data);
        assert_int_equal(batch_decode(&b, data + NONCE_SIZE, strlen(data + NONCE_SIZE), NULL), 0);
        assert_int_equal(b->index, i);
        assert_true(b->epoch >= epoch);
        if (i > from)
            assert_string_equal(b->prev, hash);
        batch_hash(data + NONCE_SIZE, strlen(data + NONCE_SIZE), hash);
        epoch = b->epoch;
        batch_free(b);
    }
    assert_null(data_at(c, tree_log_path(head(c) + 1, path)));
}

void append(struct node *n, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(owner_append(&n->owner, 20), 0);
}

struct cluster *cluster_of_three(void)
{
    struct cluster *c = cluster_new(1);

    pass(c, 3000);
    node_start(c, 1, NULL);
    node_start(c, 2, NULL);
    pass(c, 3000);
    assert_ptr_equal(leader(c), &c->nodes[0]);
    append(&c->nodes[0], 10);
    pass(c, 3000);
    return c;
}

void reconnect(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i].up) {
            seat_learns_expiry(&c->nodes[i].seat);
            seat_connect(&c->nodes[i].seat);
        }
}

void restored_from(struct cluster *c, const struct znodes_copy *copy)
{
    for (size_t i = 0; i < c->count; i++)
        session_of_the_dead_ends(&c->nodes[i]);
    znodes_copy_put(&c->zoo.tree, copy, NULL, 0);
    for (size_t i = 0; i < c->count; i++)
        c->nodes[i].seat.seen = c->zoo.tree.zxid;
    reconnect(c);
}

void assert_alarm(const struct node *n, const char *text)
{
    const struct replicated_view *v = replicated_view(n->journal);

    if (!strstr(v->alarm, text))
        fail_msg("%s: '%s' instead of '%s'", n->id, v->alarm, text);
    assert_int_equal(v->standing, REPLICATED_REFUSING);
    assert_false(v->current);
    assert_false(v->leading);
}

void assert_all_alike(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct replicated_view *v = replicated_view(c->nodes[i].journal);

        assert_string_equal(v->alarm, "");
        assert_int_equal(v->standing, REPLICATED_MEMBER);
        assert_int_equal(c->nodes[i].owner.index, head(c));
        assert_string_equal(c->nodes[i].owner.hash, c->nodes[0].owner.hash);
    }
    assert_non_null(leader(c));
}

void tree_set(struct cluster *c, const char *path, const char *data)
{
    struct coord_op op = {COORD_SET, path, data, strlen(data), COORD_ANY};
    const struct znode_txn *t;
    struct coord_stat stat;

    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &t, &stat), COORD_OK);
    zoo_told(&c->zoo);
}

struct mark overtaken(struct cluster **ret, int snapshots)
{
    struct cluster *c = *ret = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);
    struct mark mark;

    append(&c->nodes[0], 10);
    pass(c, 3000);
    mark = c->nodes[0].mark;
    assert_int_equal(mark.index, 20);
    assert_int_equal(mark.since.epoch, 1);
    for (int i = 0; i < 3; i++)
        node_dies(&c->nodes[i]);
    restored_from(c, old);
    znodes_copy_free(old);
    node_start(c, 3, &(struct replicated_options){.log_keep_bytes = 500});
    pass(c, 5000);
    for (int i = 0; i < 4; i++) {
        append(leader(c), 10);
        if (i < snapshots)
            owner_snapshot(&c->nodes[3].owner);
        pass(c, 3000);
    }
    return mark;
}
