/* How much of the journal stays in ZooKeeper: batches go as soon as they may, by their bytes, and the leader knows what is
 * left. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

#define LARGE 200000 /* bytes of a batch */

static struct journal_status status_of(const struct node *n)
{
    struct journal_status status;

    n->journal->ops->status(n->journal, &status);
    return status;
}

/* Of the batches that are there. */
static uint64_t bytes_there(struct cluster *c)
{
    char path[COORD_PATH_MAX];
    uint64_t bytes = 0;

    for (uint64_t i = 1; i <= head(c); i++) {
        const char *data = data_at(c, tree_log_path(i, path));

        bytes += data ? strlen(data) + REPLICATED_NODE_BYTES : 0;
    }
    return bytes;
}

static bool is_there(struct cluster *c, uint64_t index)
{
    char path[COORD_PATH_MAX];

    return data_at(c, tree_log_path(index, path));
}

static void rounds(struct cluster *c, struct node *n, int count)
{
    for (int i = 0; i < count; i++) {
        append(n, 10);
        owner_snapshot(&n->owner);
        pass(c, 3000);
    }
}

static void what_everybody_holds_goes_without_another_snapshot(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 500}), *b;

    pass(c, 3000);
    b = node_start(c, 1, NULL);
    b->durable = 5;
    pass(c, 3000);
    rounds(c, a, 4);
    assert_true(is_there(c, 10));
    b->durable = 0; /* all that it has */
    pass(c, 10000);
    assert_false(is_there(c, 10));
    assert_false(is_there(c, 20));
    assert_true(is_there(c, 40));
    cluster_free(c);
}

static void the_leader_knows_how_much_is_there(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 3000}), *b;

    pass(c, 3000);
    assert_int_equal(status_of(a).log_bytes, 0);
    append(a, 10);
    pass(c, 3000);
    assert_int_equal(status_of(a).log_bytes, bytes_there(c));
    b = node_start(c, 1, &(struct replicated_options){.log_keep_bytes = 3000});
    pass(c, 3000);
    for (int i = 0; i < 5; i++) {
        rounds(c, a, 1);
        assert_int_equal(status_of(a).log_bytes, bytes_there(c));
    }
    assert_false(is_there(c, 1));
    assert_int_equal(status_of(b).log_bytes, 0); /* it does not lead */
    node_dies(a);
    session_of_the_dead_ends(a);
    pass(c, 5000);
    assert_ptr_equal(leader(c), b);
    rounds(c, b, 2);
    assert_int_equal(status_of(b).log_bytes, bytes_there(c));
    cluster_free(c);
}

/* The one before has removed more than its last snapshot tells. */
static void a_new_leader_removes_on(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.log_keep_bytes = 500}), *b;

    pass(c, 3000);
    b = node_start(c, 1, &(struct replicated_options){.log_keep_bytes = 500});
    pass(c, 3000);
    for (int i = 0; i < 4; i++) {
        append(a, 300);
        owner_snapshot(&a->owner);
        pass(c, 3000);
    }
    assert_false(is_there(c, 900));
    node_dies(a);
    session_of_the_dead_ends(a);
    pass(c, 5000);
    assert_ptr_equal(leader(c), b);
    rounds(c, b, 4);
    assert_true(bytes_there(c) < (uint64_t)40 * (REPLICATED_NODE_BYTES + 200));
    assert_int_equal(status_of(b).log_bytes, bytes_there(c));
    assert_true(is_there(c, head(c)));
    cluster_free(c);
}

/* With a snapshot every 8 MB, as the scheduler gives them, and a member whose history stands still. */
static void it_stays_within_its_bound(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, NULL), *b;
    uint64_t most = 0;

    pass(c, 3000);
    b = node_start(c, 1, NULL);
    b->durable = 1;
    pass(c, 3000);
    for (int i = 1; i <= 400; i++) {
        assert_int_equal(owner_append(&a->owner, LARGE), 0);
        if (i % 40 == 0)
            owner_snapshot(&a->owner);
        pass(c, 100);
        most = status_of(a).log_bytes > most ? status_of(a).log_bytes : most;
    }
    assert_int_equal(status_of(a).log_bytes, bytes_there(c));
    assert_true(most < REPLICATED_LOG_BOUND_BYTES);
    assert_true(most > REPLICATED_LOG_MOST_BYTES);
    assert_string_equal(status_of(a).left_behind, "b");
    b->durable = 0;
    pass(c, 10000);
    assert_true(status_of(a).log_bytes < REPLICATED_LOG_MOST_BYTES + (1 << 20));
    assert_int_equal(b->owner.index, head(c));
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_everybody_holds_goes_without_another_snapshot),
        cmocka_unit_test(the_leader_knows_how_much_is_there),
        cmocka_unit_test(a_new_leader_removes_on),
        cmocka_unit_test(it_stays_within_its_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
