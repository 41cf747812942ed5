/* How a person has a journal go on whose replicas refuse the tree: from what the tree holds, or from what a replica has. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static void on_done(void *arg, const struct error *error)
{
    struct node *n = arg;

    n->recovered++;
    if (error) {
        n->failed++;
        n->error = *error;
    }
}

static int recover(struct node *n, bool from_here)
{
    struct replicated_recovery how = {.from_here = from_here, .by = "somebody"};

    return replicated_recover(n->journal, &how, on_done, n, &n->error);
}

/* Three that have 20 batches, before a tree that has 10. */
static struct cluster *gone_back(void)
{
    struct cluster *c = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);

    append(&c->nodes[0], 10);
    pass(c, 3000);
    restored_from(c, old);
    znodes_copy_free(old);
    pass(c, 20000);
    assert_null(leader(c));
    return c;
}

static void assert_goes_on(struct cluster *c, uint64_t from)
{
    int told = 0;
    struct node *lead;

    pass(c, 20000);
    lead = leader(c);
    assert_non_null(lead);
    assert_int_equal(lead->owner.index, from);
    assert_int_equal(lead->owner.recoveries, 1);
    assert_true(lead->owner.epoch > 1);
    append(lead, 3);
    pass(c, 3000);
    assert_all_alike(c);
    assert_int_equal(head(c), from + 3);
    assert_int_equal(replicated_step_down(lead->journal, &lead->error), 0);
    pass(c, 5000);
    append(leader(c), 3);
    pass(c, 3000);
    assert_all_alike(c);
    for (size_t i = 0; i < c->count; i++) {
        assert_int_equal(c->nodes[i].mark.index, from + 6);
        told += c->nodes[i].owner.recoveries;
    }
    assert_int_equal(told, 1); /* the first that led */
}

static void forget_what_was_told(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++)
        c->nodes[i].refusals_told = 0;
}

/* A tree is not judged by an epoch and a head from before the recovery. */
static void assert_nothing_was_refused(const struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++)
        assert_int_equal(c->nodes[i].refusals_told, 0);
}

static void the_journal_goes_on_from_what_the_tree_holds(void **state)
{
    struct cluster *c = gone_back();

    forget_what_was_told(c);
    assert_int_equal(recover(&c->nodes[1], false), 0);
    assert_int_equal(recover(&c->nodes[1], false), ERR_CONFLICT);
    pass(c, 3000);
    assert_int_equal(c->nodes[1].recovered, 1);
    assert_int_equal(c->nodes[1].failed, 0);
    assert_goes_on(c, 21);
    assert_nothing_was_refused(c);
    assert_int_equal(recover(&c->nodes[1], false), ERR_CONFLICT); /* there is nothing to recover */
    cluster_free(c);
}

static void the_journal_goes_on_from_what_a_replica_holds(void **state)
{
    struct cluster *c = gone_back();
    int64_t from_ms = 1700000000000 + 20;

    forget_what_was_told(c);
    assert_int_equal(recover(&c->nodes[2], true), 0);
    pass(c, 20000);
    assert_int_equal(leader(c)->owner.lost_from_ms, from_ms);
    assert_true(leader(c)->owner.lost_until_ms > from_ms);
    assert_goes_on(c, 21);
    assert_nothing_was_refused(c);
    cluster_free(c);
}

static void the_journal_goes_on_in_an_emptied_ensemble(void **state)
{
    struct cluster *c = cluster_of_three();

    restored_from(c, NULL);
    pass(c, 5000);
    assert_int_equal(recover(&c->nodes[2], false), ERR_CONFLICT);
    forget_what_was_told(c);
    assert_int_equal(recover(&c->nodes[2], true), 0);
    assert_goes_on(c, 11);
    assert_nothing_was_refused(c);
    assert_string_equal(replicated_view(c->nodes[0].journal)->cluster, "uuid");
    assert_string_equal(data_at(c, NODE_SECRET), SECRET);
    cluster_free(c);
}

/* The tree went back twice, and others went on with it each time: every replica has other batches of the same numbers. */
static void of_three_histories_none_is_led_until_somebody_chooses(void **state)
{
    struct cluster *c;
    struct mark first = overtaken(&c, 0), second;
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);

    append(leader(c), 10);
    pass(c, 3000);
    second = c->nodes[3].mark;
    node_dies(&c->nodes[3]);
    restored_from(c, old);
    znodes_copy_free(old);
    node_start(c, 2, NULL);
    pass(c, 20000);
    append(&c->nodes[2], 15);
    pass(c, 3000);
    assert_true(c->nodes[2].mark.index > second.index && second.index > first.index);
    node_start(c, 3, &(struct replicated_options){.mark = second});
    pass(c, 20000);
    node_start(c, 0, &(struct replicated_options){.mark = first});
    node_start(c, 1, &(struct replicated_options){.mark = first});
    pass(c, 60000);
    assert_alarm(&c->nodes[0], "the histories differ");
    assert_alarm(&c->nodes[3], "the histories differ");
    assert_alarm(&c->nodes[2], "holds another batch");
    assert_null(leader(c));
    assert_int_equal(recover(&c->nodes[2], true), 0);
    pass(c, 20000);
    assert_non_null(leader(c));
    append(leader(c), 5);
    pass(c, 5000);
    assert_all_alike(c);
    cluster_free(c);
}

/* One that was down then: its mark is below what the journal went on from. */
static void who_was_down_during_a_recovery_follows(void **state)
{
    struct cluster *c = gone_back();
    struct mark mark = c->nodes[0].mark;

    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    assert_int_equal(recover(&c->nodes[1], false), 0);
    pass(c, 20000);
    append(leader(c), 30);
    pass(c, 3000);
    node_start(c, 0, &(struct replicated_options){.mark = mark});
    pass(c, 5000);
    assert_all_alike(c);
    cluster_free(c);
}

/* The recovering replica is gone after any of its steps: the tree is what it was, or the journal goes on. */
static void a_recovery_may_be_cut_anywhere(void **state)
{
    int switched = 0, n = 0;

    for (; n < 60; n++) {
        struct cluster *c = n % 2 ? cluster_of_three() : gone_back();
        struct node *b = &c->nodes[1];

        if (n % 2) {
            restored_from(c, NULL);
            pass(c, 5000);
        }
        assert_int_equal(recover(b, n % 2), 0);
        for (int i = 0; i < n / 2; i++)
            seat_step(&b->seat);
        node_dies(b);
        session_of_the_dead_ends(b);
        assert_int_equal(b->recovered, 1);
        pass(c, 5000);
        switched += leader(c) != NULL;
        if (!leader(c)) {
            assert_int_equal(b->error.code, ERR_CANCELLED);
            assert_int_equal(recover(&c->nodes[2], true), 0);
        }
        pass(c, 20000);
        append(leader(c), 3);
        node_start(c, 1, &(struct replicated_options){.mark = b->mark});
        pass(c, 5000);
        assert_all_alike(c);
        cluster_free(c);
    }
    assert_true(switched > 0 && switched < n);
}

static void a_recovery_whose_answers_are_lost_is_finished(void **state)
{
    for (int n = 0; n < 40; n++) {
        struct cluster *c = gone_back();
        struct node *b = &c->nodes[1];

        assert_int_equal(recover(b, n % 2), 0);
        for (int i = 0; i < n / 2; i++)
            seat_step(&b->seat);
        seat_cut(&b->seat, 1);
        seat_connect(&b->seat);
        pass(c, 20000);
        assert_int_equal(b->recovered, 1);
        assert_int_equal(b->failed, 0);
        append(leader(c), 3);
        pass(c, 3000);
        assert_all_alike(c);
        cluster_free(c);
    }
}

static void of_two_recoveries_one_wins(void **state)
{
    struct cluster *c = gone_back();

    assert_int_equal(recover(&c->nodes[1], true), 0);
    assert_int_equal(recover(&c->nodes[2], false), 0);
    pass(c, 20000);
    assert_int_equal(c->nodes[1].recovered, 1);
    assert_int_equal(c->nodes[2].recovered, 1);
    assert_int_equal(c->nodes[1].failed + c->nodes[2].failed, 1);
    append(leader(c), 3);
    pass(c, 3000);
    assert_all_alike(c);
    cluster_free(c);
}

/* Numbers that a recovery left out are no batches that are missing. */
static void the_log_is_truncated_over_what_a_recovery_left_out(void **state)
{
    struct cluster *c = gone_back();
    char path[COORD_PATH_MAX];

    for (int i = 0; i < 3; i++)
        replicated_of(c->nodes[i].journal)->o.log_keep_bytes = 500;
    assert_int_equal(recover(&c->nodes[1], false), 0);
    pass(c, 20000);
    assert_non_null(data_at(c, tree_log_path(10, path)));
    for (int i = 0; i < 4; i++) {
        append(leader(c), 20);
        owner_snapshot(&leader(c)->owner);
        pass(c, 3000);
    }
    assert_null(data_at(c, tree_log_path(1, path)));
    assert_null(data_at(c, tree_log_path(10, path)));
    assert_null(data_at(c, tree_log_path(22, path)));
    assert_all_alike(c);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_goes_on_from_what_the_tree_holds),
        cmocka_unit_test(the_journal_goes_on_from_what_a_replica_holds),
        cmocka_unit_test(the_journal_goes_on_in_an_emptied_ensemble),
        cmocka_unit_test(of_three_histories_none_is_led_until_somebody_chooses),
        cmocka_unit_test(who_was_down_during_a_recovery_follows),
        cmocka_unit_test(a_recovery_may_be_cut_anywhere),
        cmocka_unit_test(a_recovery_whose_answers_are_lost_is_finished),
        cmocka_unit_test(of_two_recoveries_one_wins),
        cmocka_unit_test(the_log_is_truncated_over_what_a_recovery_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
