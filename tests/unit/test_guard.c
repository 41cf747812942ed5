/* What the replicated core holds against a tree that says something untrue. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static json_t *facts(struct cluster *c, const char *id)
{
    char path[64];

    snprintf(path, sizeof(path), "/members/%s", id);
    return data_at(c, path) ? json_loads(data_at(c, path), 0, NULL) : NULL;
}

static void a_tree_from_a_backup_is_refused_until_it_is_right_again(void **state)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree), *right;
    json_t *o;

    append(&c->nodes[0], 10);
    pass(c, 3000);
    right = znodes_copy_take(&c->zoo.tree);
    restored_from(c, old);
    pass(c, 60000);
    assert_null(leader(c));
    for (int i = 0; i < 3; i++) {
        assert_alarm(&c->nodes[i], "ends at 10, but this replica has 20: committed batches were lost");
        assert_int_equal(c->nodes[i].owner.index, 20); /* it keeps its state */
    }
    o = facts(c, "b");
    assert_false(json_is_true(json_object_get(o, "fit")));
    assert_non_null(strstr(json_string_value(json_object_get(o, "refuses")), "committed batches were lost"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "mark"), "index")), 20);
    json_decref(o);
    restored_from(c, right);
    pass(c, 20000);
    append(leader(c), 5);
    pass(c, 3000);
    assert_all_alike(c);
    assert_int_equal(head(c), 25);
    znodes_copy_free(old);
    znodes_copy_free(right);
    cluster_free(c);
}

/* The leader once forgot what was acknowledged to it with its leadership. */
static void a_leader_alone_does_not_lead_an_older_tree(void **state)
{
    struct cluster *c = cluster_new(1);
    struct znodes_copy *old;

    pass(c, 3000);
    append(&c->nodes[0], 5);
    pass(c, 3000);
    old = znodes_copy_take(&c->zoo.tree);
    append(&c->nodes[0], 5);
    pass(c, 3000);
    restored_from(c, old);
    pass(c, 60000);
    assert_alarm(&c->nodes[0], "ends at 5, but this replica has 10");
    assert_int_equal(c->nodes[0].owner.restores, 1);
    znodes_copy_free(old);
    cluster_free(c);
}

/* Without a new session, as when somebody writes the nodes. */
static void an_idle_leader_notices_a_tree_that_went_back(void **state)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);
    int64_t living[3];

    append(&c->nodes[0], 10);
    pass(c, 3000);
    for (int i = 0; i < 3; i++)
        living[i] = c->nodes[i].seat.session;
    znodes_copy_put(&c->zoo.tree, old, living, 3);
    pass(c, SESSION_MS / HEARTBEATS_A_SESSION + 500);
    assert_alarm(&c->nodes[0], "committed batches were lost");
    assert_int_equal(c->nodes[0].owner.deposals, 1);
    znodes_copy_free(old);
    cluster_free(c);
}

/* Its own knowledge does not forbid it, that of others does, as long as they are there. */
static void one_that_knows_less_does_not_lead_beside_one_that_knows_more(void **state)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);
    struct node *d;

    append(&c->nodes[0], 10);
    pass(c, 3000);
    node_dies(&c->nodes[0]);
    node_dies(&c->nodes[1]);
    restored_from(c, old);
    d = node_start(c, 3, NULL);
    pass(c, 60000);
    assert_alarm(d, "replica c holds batch 20, and the journal in ZooKeeper ends at 10");
    node_dies(&c->nodes[2]);
    session_of_the_dead_ends(&c->nodes[2]);
    pass(c, 10000);
    assert_true(d->owner.leading); /* what is not there cannot speak */
    znodes_copy_free(old);
    cluster_free(c);
}

static void another_history_is_refused_by_its_hash(void **state)
{
    struct cluster *c;
    struct mark mark = overtaken(&c, 0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.mark = mark});

    pass(c, 20000);
    assert_alarm(a, "batch 20 in ZooKeeper is another one than this replica has: the histories differ");
    assert_int_equal(a->owner.restores, 0);
    assert_alarm(&c->nodes[3], "replica a holds another batch 20 than the one in ZooKeeper");
    node_dies(a);
    session_of_the_dead_ends(a);
    pass(c, 10000);
    assert_true(c->nodes[3].owner.leading);
    cluster_free(c);
}

/* The batch itself is gone from the log: the epochs of the snapshot's history tell. */
static void another_history_is_refused_by_its_epochs(void **state)
{
    struct cluster *c;
    struct mark mark = overtaken(&c, 4);
    char path[COORD_PATH_MAX];
    struct node *a;

    assert_null(data_at(c, tree_log_path(20, path)));
    a = node_start(c, 0, &(struct replicated_options){.mark = mark});
    pass(c, 20000);
    assert_alarm(a, "the histories differ");
    assert_int_equal(a->owner.restores, 0);
    cluster_free(c);
}

static void marks_of_older_builds_are_accepted(void **state)
{
    struct cluster *c;
    struct mark mark = overtaken(&c, 4);
    struct node *a;

    mark.hash[0] = '\0';
    mark.since = (struct mark_epoch){.epoch = 0};
    a = node_start(c, 0, &(struct replicated_options){.mark = mark});
    pass(c, 5000);
    assert_int_equal(a->owner.index, head(c));
    assert_int_equal(a->mark.index, head(c));
    cluster_free(c);
}

/* It was away while the log was truncated, and its history is that of the snapshot. */
static void a_mark_below_the_log_is_found_in_the_epochs(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 500}), *b;
    char path[COORD_PATH_MAX];
    struct mark mark;

    pass(c, 3000);
    append(a, 10);
    b = node_start(c, 1, NULL);
    pass(c, 3000);
    mark = b->mark;
    assert_int_equal(mark.index, 10);
    node_dies(b);
    session_of_the_dead_ends(b);
    for (int i = 0; i < 4; i++) {
        append(a, 10);
        owner_snapshot(&a->owner);
        pass(c, 3000);
    }
    assert_null(data_at(c, tree_log_path(10, path)));
    b = node_start(c, 1, &(struct replicated_options){.mark = mark});
    pass(c, 3000);
    assert_all_alike(c);
    assert_int_equal(b->mark.index, 50);
    assert_string_equal(b->mark.hash, a->mark.hash);
    assert_memory_equal(&b->mark.since, &a->mark.since, sizeof(b->mark.since));
    cluster_free(c);
}

static void what_cannot_be_compared_is_refused(void **state)
{
    struct cluster *c;
    struct mark mark = overtaken(&c, 4);
    json_t *o = json_loads(data_at(c, NODE_CURRENT), 0, NULL);
    char *text;
    struct node *a;

    json_object_del(o, "epochs"); /* as an older build writes it */
    text = json_dumps(o, JSON_COMPACT);
    tree_set(c, NODE_CURRENT, text);
    free(text);
    json_decref(o);
    a = node_start(c, 0, &(struct replicated_options){.mark = mark});
    pass(c, 5000);
    assert_alarm(a, "cannot be compared with batch 20");
    assert_int_equal(a->owner.restores, 0);
    cluster_free(c);
}

/* In their first life, too: it founded another one once. */
static void an_emptied_tree_is_no_new_cluster(void **state)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *right = znodes_copy_take(&c->zoo.tree);
    struct error error = {0};
    struct node *d;

    restored_from(c, NULL);
    d = node_start(c, 3, NULL); /* which may found one */
    pass(c, 60000);
    assert_null(data_at(c, NODE_EPOCH));
    for (int i = 0; i < 3; i++)
        assert_alarm(&c->nodes[i], "ZooKeeper holds nothing of this cluster, but this replica has batch 10");
    assert_int_equal(replicated_view(d->journal)->standing, REPLICATED_UNFOUNDED);
    assert_int_equal(replicated_view(d->journal)->member_count, 4);
    assert_int_equal(replicated_found(d->journal, NULL, &error), ERR_CONFLICT);
    assert_int_equal(replicated_found(c->nodes[0].journal, NULL, &error), ERR_CONFLICT);
    restored_from(c, right);
    pass(c, 20000);
    assert_all_alike(c);
    znodes_copy_free(right);
    cluster_free(c);
}

static void an_emptied_tree_is_noticed_by_a_living_session(void **state)
{
    struct cluster *c = cluster_of_three();

    znodes_copy_put(&c->zoo.tree, NULL, NULL, 0);
    zoo_told(&c->zoo);
    pass(c, 5000);
    for (int i = 0; i < 3; i++)
        assert_alarm(&c->nodes[i], "ZooKeeper holds nothing of this cluster");
    assert_int_equal(c->nodes[0].owner.deposals, 1);
    cluster_free(c);
}

/* Who was there before the cluster was made knows the others afterwards, as one who comes later. */
static void those_that_waited_for_a_cluster_learn_its_secret(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.join_cluster = "uuid"});
    struct node *b = node_start(c, 1, &(struct replicated_options){.join_cluster = "uuid"});
    struct error error = {0};

    pass(c, 10000);
    assert_int_equal(replicated_view(b->journal)->standing, REPLICATED_UNFOUNDED);
    assert_int_equal(replicated_found(a->journal, "uuid", &error), 0);
    pass(c, 1000);
    assert_int_equal(replicated_view(b->journal)->standing, REPLICATED_MEMBER);
    assert_string_equal(replicated_view(a->journal)->secret, SECRET);
    assert_string_equal(replicated_view(b->journal)->secret, SECRET);
    cluster_free(c);
}

static void founding_and_joining_are_acts(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.join_cluster = ""}), *b;
    struct error error = {0};
    json_t *o;

    assert_int_equal(replicated_found(a->journal, NULL, &error), ERR_UNREACHABLE);
    pass(c, 10000);
    assert_int_equal(replicated_view(a->journal)->standing, REPLICATED_UNFOUNDED);
    assert_null(data_at(c, NODE_EPOCH));
    assert_int_equal(replicated_join(a->journal, "u2", &error), ERR_CONFLICT);
    assert_int_equal(replicated_found(a->journal, "u2", &error), 0);
    pass(c, 5000);
    assert_true(a->owner.leading);
    assert_string_equal(a->mark.cluster, "u2");
    assert_int_equal(replicated_found(a->journal, NULL, &error), ERR_CONFLICT);
    append(a, 3);
    b = node_start(c, 1, &(struct replicated_options){.join_cluster = "", .level = 1});
    pass(c, 10000);
    assert_int_equal(replicated_view(b->journal)->standing, REPLICATED_JOINING);
    assert_string_equal(replicated_view(b->journal)->cluster, "u2");
    assert_int_equal(replicated_view(b->journal)->head, 3);
    assert_int_equal(b->owner.restores, 0);
    assert_int_equal(replicated_view(a->journal)->level, 2); /* its level counts for nothing yet */
    assert_int_equal(replicated_step_down(a->journal, &error), ERR_CONFLICT);
    o = facts(c, "b");
    assert_true(json_is_true(json_object_get(o, "joining")));
    json_decref(o);
    assert_int_equal(replicated_join(b->journal, "u3", &error), ERR_CONFLICT);
    assert_int_equal(replicated_join(b->journal, "u2", &error), 0);
    pass(c, 5000);
    assert_all_alike(c);
    assert_int_equal(replicated_view(a->journal)->level, 1);
    cluster_free(c);
}

static void leftovers_of_a_cluster_are_in_the_way_of_another(void **state)
{
    struct cluster *c = cluster_new(1);
    char name[COORD_PATH_MAX];
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = name, .version = COORD_ANY},
                             {.kind = COORD_DELETE, .path = NODE_EPOCH, .version = COORD_ANY}};
    const struct znode_txn *t;
    struct journal_status status;
    struct coord_stat stat;
    struct node *b;

    pass(c, 3000);
    append(&c->nodes[0], 3);
    pass(c, 3000);
    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    tree_name_path(replicated_of(c->nodes[0].journal)->tree.epoch_nonce, name);
    assert_int_equal(znodes_multi(&c->zoo.tree, ops, 2, 99, 0, &t, &stat), COORD_OK);
    b = node_start(c, 1, NULL);
    pass(c, 10000);
    assert_null(data_at(c, NODE_EPOCH));
    b->journal->ops->status(b->journal, &status);
    assert_non_null(strstr(status.text, "making the cluster's nodes beside what is there"));
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_from_a_backup_is_refused_until_it_is_right_again),
        cmocka_unit_test(a_leader_alone_does_not_lead_an_older_tree),
        cmocka_unit_test(an_idle_leader_notices_a_tree_that_went_back),
        cmocka_unit_test(one_that_knows_less_does_not_lead_beside_one_that_knows_more),
        cmocka_unit_test(another_history_is_refused_by_its_hash),
        cmocka_unit_test(another_history_is_refused_by_its_epochs),
        cmocka_unit_test(marks_of_older_builds_are_accepted),
        cmocka_unit_test(a_mark_below_the_log_is_found_in_the_epochs),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
        cmocka_unit_test(an_emptied_tree_is_no_new_cluster),
        cmocka_unit_test(an_emptied_tree_is_noticed_by_a_living_session),
        cmocka_unit_test(those_that_waited_for_a_cluster_learn_its_secret),
        cmocka_unit_test(founding_and_joining_are_acts),
        cmocka_unit_test(leftovers_of_a_cluster_are_in_the_way_of_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
