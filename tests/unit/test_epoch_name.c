/* A tree that goes back counts the versions of its nodes again. What rests on a version alone would then be done to
 * another history, by chance: so an epoch has a name, and what is removed or published checks what it rests on. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

/* ---- trees that change between a question and its execution ---- */

/* All sessions stand; only those nodes of theirs that are in the copy do. Nobody is told before he asks. */
static void put_back(struct cluster *c, const struct znodes_copy *copy)
{
    int64_t living[SEATS_MAX];

    for (size_t i = 0; i < c->count; i++)
        living[i] = c->nodes[i].seat.session;
    znodes_copy_put(&c->zoo.tree, copy, living, c->count);
}

/* Until the next thing that is executed for this replica is a multi that writes this node, or one below it. */
static void step_up_to(struct node *n, const char *path)
{
    for (int i = 0; i < 1000; i++) {
        const struct ask *a = seat_next(&n->seat);

        for (size_t op = 0; a && a->kind == ASK_MULTI && op < a->count; op++)
            if (a->ops[op].kind != COORD_CHECK && strncmp(a->ops[op].path, path, strlen(path)) == 0)
                return;
        if (!seat_step(&n->seat)) {
            n->zoo->now_ms += 100;
            replicated_tick(n->journal);
        }
    }
    fail_msg("%s never writes %s", n->id, path);
}

static void step_alone(struct node *n, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        while (seat_step(&n->seat))
            ;
        n->zoo->now_ms += 100;
        replicated_tick(n->journal);
    }
}

static size_t names(struct cluster *c)
{
    const struct znode *epoch = znodes_find(&c->zoo.tree, NODE_EPOCH);
    size_t count = 0;

    LIST_EACH(link, &epoch->children)
    {
        count += znode_at(LIST_ITEM(link, struct znode, sibling), INT64_MAX) != NULL;
    }
    return count;
}

/* A leader of epoch 1, and the tree from before it was elected. */
static struct cluster *cluster_of_one(struct znodes_copy **ret_before)
{
    struct cluster *c = cluster_new(1);

    step_up_to(&c->nodes[0], NODE_LEADER);
    *ret_before = znodes_copy_take(&c->zoo.tree);
    step_alone(&c->nodes[0], 3000);
    assert_ptr_equal(leader(c), &c->nodes[0]);
    assert_int_equal(c->nodes[0].owner.epoch, 1);
    return c;
}

/* ---- epochs ---- */

static void an_epoch_has_one_name(void **state)
{
    struct cluster *c = cluster_of_three();

    for (int i = 0; i < 3; i++) {
        assert_int_equal(names(c), 1);
        assert_int_equal(replicated_step_down(leader(c)->journal, NULL), 0);
        pass(c, 5000);
        append(leader(c), 1);
        pass(c, 500);
    }
    assert_int_equal(leader(c)->owner.epoch, 4);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

/* Another is elected in the tree that went back, and its epoch and head have the very versions that this leader knows. */
static void a_leader_writes_nothing_in_an_epoch_of_the_same_version(void **state)
{
    struct znodes_copy *before;
    struct cluster *c = cluster_of_one(&before);
    struct node *a = &c->nodes[0], *b;

    put_back(c, before);
    znodes_copy_free(before);
    b = node_start(c, 1, NULL);
    step_alone(b, 3000);
    assert_true(b->owner.leading);
    assert_int_equal(b->owner.epoch, 1);
    assert_true(a->owner.leading); /* it knows nothing yet */
    append(a, 1);
    while (seat_step(&a->seat))
        ;
    assert_null(data_at(c, NODE_LOG "/0000000001"));
    pass(c, 3000);
    assert_ptr_equal(leader(c), b);
    assert_int_equal(a->owner.acked, 0);
    append(b, 1);
    pass(c, 3000);
    assert_int_equal(a->owner.index, 1);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

/* The epoch that it read, and would replace, is of another history than the one of that version in the tree. */
static void a_campaign_replaces_no_other_epoch_of_the_same_version(void **state)
{
    struct znodes_copy *before, *other;
    struct cluster *c = cluster_of_one(&before);
    struct node *a = &c->nodes[0], *b;
    char text[512];

    other = znodes_copy_take(&c->zoo.tree);
    snprintf(text, sizeof(text), "%s", data_at(c, NODE_EPOCH));
    node_dies(a);
    session_of_the_dead_ends(a);
    put_back(c, before);
    b = node_start(c, 1, NULL);
    step_alone(b, 3000);
    assert_true(b->owner.leading);
    assert_int_equal(replicated_step_down(b->journal, NULL), ERR_CONFLICT);
    seat_session_ends(&b->seat);
    seat_learns_expiry(&b->seat);
    seat_connect(&b->seat);
    step_up_to(b, NODE_LEADER);
    put_back(c, other);
    seat_execute(&b->seat);
    assert_string_equal(data_at(c, NODE_EPOCH), text);
    seat_catch_up(&b->seat);
    pass(c, 30000);
    assert_ptr_equal(leader(c), b); /* nothing was appended in either */
    assert_int_equal(b->owner.epoch, 2);
    assert_int_equal(names(c), 1);
    znodes_copy_free(before);
    znodes_copy_free(other);
    cluster_free(c);
}

static void set(struct cluster *c, const char *path, const char *data)
{
    struct coord_op op = {data ? COORD_SET : COORD_DELETE, path, data, data ? strlen(data) : 0, COORD_ANY};
    const struct znode_txn *t;
    struct coord_stat stat;

    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &t, &stat), COORD_OK);
    zoo_told(&c->zoo);
}

static void remove_name(struct cluster *c)
{
    char path[COORD_PATH_MAX];

    tree_name_path(replicated_of(c->nodes[1].journal)->tree.epoch_nonce, path);
    set(c, path, NULL);
    assert_int_equal(names(c), 0);
}

static void an_epoch_of_an_older_build_has_no_name(void **state)
{
    struct cluster *c = cluster_of_three();

    node_dies(&c->nodes[0]);
    remove_name(c);
    set(c, NODE_EPOCH,
        "{\"cluster\":\"uuid\",\"base\":0,\"replica\":\"old\",\"nonce\":\"0123456789abcdef\",\"cause\":"
        "\"start\"}");
    session_of_the_dead_ends(&c->nodes[0]);
    pass(c, 5000);
    assert_non_null(leader(c));
    append(leader(c), 3);
    pass(c, 3000);
    assert_int_equal(head(c), 13);
    assert_int_equal(names(c), 1);
    cluster_free(c);
}

/* By a person, while one leads, and while nobody does. */
static void a_name_that_was_removed_is_made_anew(void **state)
{
    struct cluster *c = cluster_of_three();

    remove_name(c);
    append(&c->nodes[0], 3);
    pass(c, 10000);
    append(leader(c), 3);
    pass(c, 3000);
    assert_int_equal(names(c), 1);
    node_dies(leader(c));
    remove_name(c);
    for (int i = 0; i < 3; i++)
        if (!c->nodes[i].up)
            session_of_the_dead_ends(&c->nodes[i]);
    pass(c, 10000);
    append(leader(c), 3);
    pass(c, 3000);
    assert_int_equal(names(c), 1);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

/* ---- within one epoch ---- */

static struct node *leader_that_keeps_little(struct cluster **ret)
{
    struct cluster *c = alloc_zero(sizeof(*c));
    struct node *a;

    znodes_init(&c->zoo.tree);
    c->zoo.now_ms = 1000;
    a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 1});
    pass(c, 3000);
    append(a, 10);
    pass(c, 3000);
    *ret = c;
    return a;
}

/* The tree goes back to an earlier snapshot, which needs them. */
static void no_batch_is_truncated_that_a_snapshot_needs(void **state)
{
    struct cluster *c;
    struct node *a = leader_that_keeps_little(&c);
    struct znodes_copy *old;

    owner_snapshot(&a->owner);
    pass(c, 3000);
    append(a, 10);
    pass(c, 3000);
    old = znodes_copy_take(&c->zoo.tree); /* a snapshot at 10, batches up to 20 */
    owner_snapshot(&a->owner);
    pass(c, 3000);
    append(a, 10);
    pass(c, 3000);
    owner_snapshot(&a->owner);
    step_up_to(a, NODE_LOG "/");
    put_back(c, old);
    seat_execute(&a->seat);
    assert_log_is_a_chain(c, 11);
    znodes_copy_free(old);
    cluster_free(c);
}

/* The tree goes back to before its chunks were written, or to before the batch was appended. */
static void no_snapshot_is_published_whose_parts_are_gone(void **state)
{
    for (int batch = 0; batch < 2; batch++) {
        struct cluster *c;
        struct node *a = leader_that_keeps_little(&c);
        struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);

        owner_snapshot(&a->owner);
        step_up_to(a, NODE_CURRENT);
        if (batch)
            set(c, NODE_LOG "/0000000010", NULL);
        else
            put_back(c, old);
        seat_execute(&a->seat);
        assert_null(data_at(c, NODE_CURRENT));
        znodes_copy_free(old);
        cluster_free(c);
    }
}

static void on_done(void *arg, const struct error *error)
{
    struct node *n = arg;

    n->recovered++;
    n->failed += error != NULL;
}

static void recover_here(struct node *n)
{
    struct replicated_recovery how = {.from_here = true, .by = "somebody"};

    assert_int_equal(replicated_recover(n->journal, &how, on_done, n, NULL), 0);
}

static void a_recovery_whose_chunks_are_gone_changes_nothing(void **state)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);
    struct node *a = &c->nodes[0];

    append(a, 10);
    pass(c, 3000);
    put_back(c, old);
    for (size_t i = 0; i < c->count; i++)
        seat_catch_up(&c->nodes[i].seat);
    pass(c, 20000);
    assert_null(leader(c));
    znodes_copy_free(old);
    old = znodes_copy_take(&c->zoo.tree);
    recover_here(a);
    step_up_to(a, NODE_CURRENT);
    put_back(c, old);
    pass(c, 3000);
    assert_int_equal(a->failed, 1);
    assert_null(data_at(c, NODE_CURRENT));
    assert_null(data_at(c, NODE_RECOVERED));
    recover_here(a);
    pass(c, 20000);
    assert_int_equal(a->recovered, 2);
    assert_int_equal(a->failed, 1);
    append(leader(c), 3);
    pass(c, 3000);
    assert_int_equal(head(c), 24);
    assert_int_equal(names(c), 1);
    znodes_copy_free(old);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_one_name),
        cmocka_unit_test(a_leader_writes_nothing_in_an_epoch_of_the_same_version),
        cmocka_unit_test(a_campaign_replaces_no_other_epoch_of_the_same_version),
        cmocka_unit_test(an_epoch_of_an_older_build_has_no_name),
        cmocka_unit_test(a_name_that_was_removed_is_made_anew),
        cmocka_unit_test(no_batch_is_truncated_that_a_snapshot_needs),
        cmocka_unit_test(no_snapshot_is_published_whose_parts_are_gone),
        cmocka_unit_test(a_recovery_whose_chunks_are_gone_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
