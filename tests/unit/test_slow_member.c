/* One slow member: how far the log waits for it, and the snapshots that it reads. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static void the_log_waits_for_a_slow_member_up_to_a_bound(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0,
                                &(struct replicated_options){.log_keep_bytes = 500, .log_most_bytes = 9000}),
                *b;
    char path[COORD_PATH_MAX];

    pass(c, 3000);
    b = node_start(c, 1, NULL);
    b->durable = 5;
    pass(c, 5000);
    append(a, 40);
    owner_snapshot(&a->owner);
    pass(c, 3000);
    assert_non_null(data_at(c, tree_log_path(6, path)));
    assert_string_equal(replicated_view(a->journal)->left_behind, "");
    for (int i = 0; i < 9; i++) {
        append(a, 20);
        owner_snapshot(&a->owner);
        pass(c, 3000);
    }
    assert_null(data_at(c, tree_log_path(6, path)));
    assert_string_equal(replicated_view(a->journal)->left_behind, "b");
    b->durable = 0; /* it has caught up */
    pass(c, 3000);
    append(a, 20);
    owner_snapshot(&a->owner);
    pass(c, 3000);
    assert_string_equal(replicated_view(a->journal)->left_behind, "");
    cluster_free(c);
}

static void a_leader_whose_history_stands_still_wants_a_snapshot(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a =
        node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 500, .log_most_bytes = 4000});
    struct journal_status status;

    pass(c, 3000);
    append(a, 2);
    pass(c, 3000);
    a->journal->ops->status(a->journal, &status);
    assert_false(status.snapshot_urgent);
    append(a, 20);
    pass(c, 3000);
    a->journal->ops->status(a->journal, &status);
    assert_true(status.snapshot_urgent);
    owner_snapshot(&a->owner);
    pass(c, 3000);
    a->journal->ops->status(a->journal, &status);
    assert_false(status.snapshot_urgent);
    cluster_free(c);
}

static void snapshots(struct cluster *c, struct node *n, int count)
{
    for (int i = 0; i < count; i++) {
        append(n, 5);
        owner_snapshot(&n->owner);
        for (int s = 0; s < 10; s++) {
            c->zoo.now_ms += 500;
            replicated_tick(n->journal);
            while (seat_step(&n->seat))
                ;
        }
    }
}

/* It takes longer to read a snapshot than the leader takes to make several. */
static void a_snapshot_that_is_read_stays(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *a = &c->nodes[0], *b;
    const struct manifest *m;
    char path[COORD_PATH_MAX];

    pass(c, 3000);
    append(a, 5);
    owner_snapshot(&a->owner);
    pass(c, 3000);
    b = node_start(c, 1, NULL);
    m = &replicated_of(b->journal)->follower.restoring.manifest;
    while (!m->exists)
        assert_true(seat_step(&b->seat));
    snprintf(path, sizeof(path), NODE_CHUNKS "/%s", json_string_value(json_array_get(m->chunks, 0)));
    while (replicated_of(b->journal)->members.told_reading == 0) /* once its last heartbeat is answered */
        assert_true(seat_step(&b->seat));
    while (seat_execute(&b->seat)) /* it is slow: the answers are on their way */
        ;
    snapshots(c, a, 5);
    assert_non_null(data_at(c, path));
    pass(c, 5000);
    snapshots(c, a, 2);
    pass(c, 5000);
    assert_null(data_at(c, path)); /* it is not read any more */
    assert_all_alike(c);
    snapshots(c, a, 1);
    cluster_free(c);
}

/* Ten times was for good once. */
static void a_snapshot_that_cannot_be_read_is_tried_again(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *a = &c->nodes[0], *b;
    char path[COORD_PATH_MAX], *right;
    json_t *o;

    pass(c, 3000);
    append(a, 5);
    owner_snapshot(&a->owner);
    pass(c, 3000);
    right = alloc_text(data_at(c, NODE_CURRENT));
    o = json_loads(right, 0, NULL);
    json_array_set_new(json_object_get(o, "chunks"), 0, json_string("00000000000000000000000000000000"));
    snprintf(path, sizeof(path), "%s", NODE_CURRENT);
    char *wrong = json_dumps(o, JSON_COMPACT);

    tree_set(c, path, wrong);
    b = node_start(c, 1, NULL);
    pass(c, 60000);
    assert_int_equal(b->owner.restores, 0);
    assert_int_equal(replicated_view(b->journal)->standing, REPLICATED_MEMBER);
    tree_set(c, path, right);
    pass(c, 10000);
    assert_all_alike(c);
    json_decref(o);
    free(wrong);
    free(right);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_waits_for_a_slow_member_up_to_a_bound),
        cmocka_unit_test(a_leader_whose_history_stands_still_wants_a_snapshot),
        cmocka_unit_test(a_snapshot_that_is_read_stays),
        cmocka_unit_test(a_snapshot_that_cannot_be_read_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
