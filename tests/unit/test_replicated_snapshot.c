/* Snapshots of the replicated journal, the truncation of the log behind them, and who begins with one. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static struct cluster *cluster_with_snapshots(int count)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 2000});

    pass(c, 3000);
    for (int i = 0; i < count; i++) {
        append(a, 20);
        owner_snapshot(&a->owner);
        settle(c);
    }
    return c;
}

static void a_new_replica_begins_with_the_snapshot(void **state)
{
    struct cluster *c = cluster_with_snapshots(3);
    struct node *b;

    append(&c->nodes[0], 5);
    settle(c);
    b = node_start(c, 1, NULL);
    pass(c, 1000);
    assert_int_equal(b->owner.index, 65);
    assert_int_equal(b->owner.batches, 5);
    assert_non_null(strstr(b->owner.snapshot, "60 "));
    assert_string_equal(b->owner.hash, c->nodes[0].owner.hash);
    cluster_free(c);
}

/* Was handed on, and the scheduler could only abort. */
static void a_snapshot_of_a_newer_build_is_left_alone(void **state)
{
    struct cluster *c = cluster_with_snapshots(1);
    struct node *b = node_start(c, 1, &(struct replicated_options){.level = OWNER_LEVEL - 1});

    pass(c, 1000);
    assert_non_null(strstr(replicated_view(b->journal)->alarm, "a newer cronsched is needed"));
    assert_int_equal(b->owner.restores, 0);
    assert_ptr_equal(leader(c), &c->nodes[0]);
    cluster_free(c);
}

static void the_log_is_truncated_behind_the_snapshots(void **state)
{
    struct cluster *c = cluster_with_snapshots(10);
    char path[COORD_PATH_MAX];

    assert_null(data_at(c, tree_log_path(1, path)));
    assert_null(data_at(c, tree_log_path(100, path)));
    assert_non_null(data_at(c, tree_log_path(181, path))); /* behind the snapshot before the last */
    assert_log_is_a_chain(c, 190);
    cluster_free(c);
}

static void batches_that_a_member_lacks_stay(void **state)
{
    struct cluster *c = cluster_with_snapshots(1);
    char path[COORD_PATH_MAX];

    node_start(c, 1, NULL)->durable = 5;
    pass(c, 5000);
    for (int i = 0; i < 9; i++) {
        append(&c->nodes[0], 20);
        owner_snapshot(&c->nodes[0].owner);
        settle(c);
    }
    assert_non_null(data_at(c, tree_log_path(6, path)));
    cluster_free(c);
}

static void chunks_of_old_snapshots_go(void **state)
{
    struct cluster *c = cluster_with_snapshots(10);
    const struct znode *chunks = znodes_find(&c->zoo.tree, NODE_CHUNKS);
    int there = 0;

    LIST_EACH(link, &chunks->children)
    {
        there += znode_at(LIST_ITEM(link, struct znode, sibling), INT64_MAX) != NULL;
    }
    assert_int_equal(there, 2); /* of the last and of the one before */
    cluster_free(c);
}

/* The leader dies at any step of it; the next one's is good, and so is the tree at every moment. */
static void a_snapshot_may_be_cut_anywhere(void **state)
{
    for (int n = 0; n < 14; n++) {
        struct cluster *c = cluster_with_snapshots(4);
        struct node *a = &c->nodes[0], *b;

        append(a, 20);
        owner_snapshot(&a->owner);
        for (int i = 0; i < n; i++)
            seat_step(&a->seat);
        node_dies(a);
        session_of_the_dead_ends(a);
        b = node_start(c, 1, &(struct replicated_options){.log_keep_bytes = 2000});
        pass(c, 3000);
        assert_true(b->owner.leading);
        assert_string_equal(replicated_view(b->journal)->alarm, "");
        append(b, 20);
        owner_snapshot(&b->owner);
        pass(c, 3000);
        append(b, 20);
        owner_snapshot(&b->owner);
        pass(c, 3000);
        b = node_start(c, 2, NULL);
        pass(c, 3000);
        assert_string_equal(replicated_view(b->journal)->alarm, "");
        assert_int_equal(b->owner.index, head(c));
        assert_int_equal(b->owner.batches, 0);
        cluster_free(c);
    }
}

static void a_snapshot_whose_answers_are_lost_is_finished(void **state)
{
    for (int n = 0; n < 14; n++) {
        struct cluster *c = cluster_with_snapshots(4);
        struct node *a = &c->nodes[0];

        append(a, 20);
        owner_snapshot(&a->owner);
        for (int i = 0; i < n; i++)
            seat_step(&a->seat);
        seat_cut(&a->seat, 1);
        seat_connect(&a->seat);
        pass(c, 3000);
        assert_ptr_equal(leader(c), a);
        assert_non_null(strstr(data_at(c, NODE_CURRENT), "\"index\":100"));
        cluster_free(c);
    }
}

/* It followed once, was away while the log was truncated, and comes back. */
static void a_replica_that_was_away_too_long_begins_with_the_snapshot(void **state)
{
    struct cluster *c = cluster_with_snapshots(1);
    struct node *b = node_start(c, 1, NULL);

    pass(c, 3000);
    seat_cut(&b->seat, 0);
    seat_session_ends(&b->seat);
    seat_learns_expiry(&b->seat);
    pass(c, 3000);
    for (int i = 0; i < 9; i++) {
        append(&c->nodes[0], 20);
        owner_snapshot(&c->nodes[0].owner);
        pass(c, 1000);
    }
    seat_connect(&b->seat);
    pass(c, 3000);
    assert_string_equal(replicated_view(b->journal)->alarm, "");
    assert_int_equal(b->owner.index, 200);
    assert_int_equal(b->owner.restores, 2);
    assert_string_equal(b->owner.hash, c->nodes[0].owner.hash);
    cluster_free(c);
}

static void closing_writes_what_was_appended(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    append(a, 4);
    a->journal->ops->close(a->journal, owner_closed, &a->owner);
    while (!a->seat.closed)
        assert_true(seat_step(&a->seat));
    assert_int_equal(a->owner.acked, 14);
    a->up = false;
    session_of_the_dead_ends(a);
    settle(c);
    assert_non_null(leader(c));
    assert_int_equal(leader(c)->owner.index, 14);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_replica_begins_with_the_snapshot),
        cmocka_unit_test(a_snapshot_of_a_newer_build_is_left_alone),
        cmocka_unit_test(the_log_is_truncated_behind_the_snapshots),
        cmocka_unit_test(batches_that_a_member_lacks_stay),
        cmocka_unit_test(chunks_of_old_snapshots_go),
        cmocka_unit_test(a_snapshot_may_be_cut_anywhere),
        cmocka_unit_test(a_snapshot_whose_answers_are_lost_is_finished),
        cmocka_unit_test(a_replica_that_was_away_too_long_begins_with_the_snapshot),
        cmocka_unit_test(closing_writes_what_was_appended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
