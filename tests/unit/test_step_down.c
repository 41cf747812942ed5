/* A leader that gives way, of its own will or because it has to: stepping down, retiring, unfit, deposed. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static void stepping_down_hands_over_once(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *next;
    struct error error = {0};

    append(a, 3);
    assert_int_equal(replicated_step_down(a->journal, &error), 0);
    assert_int_equal(owner_append(&a->owner, 10), ERR_DEPOSED);
    settle(c);
    next = leader(c);
    assert_non_null(next);
    assert_ptr_not_equal(next, a);
    assert_int_equal(a->owner.deposals, 1);
    assert_int_equal(head(c), 13);
    pass(c, 60000);
    assert_ptr_equal(leader(c), next); /* nobody flaps */
    assert_int_equal(replicated_step_down(a->journal, &error), ERR_NO_LEADER);
    cluster_free(c);
}

/* It says at once that it is fit, and not with its next heartbeat, two seconds later. */
static void one_that_has_just_joined_can_be_stepped_down_for(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *a = &c->nodes[0];
    struct error error = {0};

    settle(c);
    append(a, 3);
    assert_int_equal(replicated_step_down(a->journal, &error), ERR_CONFLICT);
    node_start(c, 1, NULL);
    pass(c, 500);
    assert_int_equal(replicated_step_down(a->journal, &error), 0);
    settle(c);
    assert_ptr_equal(leader(c), &c->nodes[1]);
    cluster_free(c);
}

static void who_retires_hands_over_and_never_campaigns_again(void **state)
{
    struct cluster *c = cluster_of_three();

    append(&c->nodes[0], 3);
    for (int i = 0; i < 3; i++) {
        struct node *last = leader(c);

        assert_non_null(last);
        replicated_retire(last->journal);
        settle(c);
        assert_ptr_not_equal(leader(c), last);
        assert_int_equal(last->owner.deposals, 1);
    }
    pass(c, 60000);
    assert_null(leader(c));
    cluster_free(c);
}

/* It led until it was closed. */
static void who_is_to_retire_during_its_campaign_hands_over(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *b = &c->nodes[1];

    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    while (replicated_of(b->journal)->election.state != CAMPAIGNING)
        assert_true(seat_step(&b->seat));
    replicated_retire(b->journal);
    pass(c, 3000);
    assert_ptr_equal(leader(c), &c->nodes[2]);
    assert_false(
        replicated_depose(b->journal, leader(c)->owner.epoch, "x")); /* it does not campaign any more */
    cluster_free(c);
}

/* Each held back for two session timeouts after it had stepped down, so that at the third time nobody campaigned. */
static void stepping_down_again_and_again_never_leaves_them_without_a_leader(void **state)
{
    struct cluster *c = cluster_of_three();

    for (int i = 0; i < 12; i++) {
        struct node *old = leader(c);

        assert_int_equal(replicated_step_down(old->journal, &(struct error){0}), 0);
        settle(c);
        assert_non_null(leader(c));
        assert_ptr_not_equal(leader(c), old);
        pass(c, 1500);
    }
    cluster_free(c);
}

static void appends_at_the_end(struct owner *o)
{
    assert_int_equal(owner_append(o, 10), 0);
}

static void what_is_appended_while_yielding_reaches_the_successor(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = leader(c), *next;
    uint64_t before = head(c);

    a->owner.on_yield = appends_at_the_end;
    assert_int_equal(replicated_step_down(a->journal, &(struct error){0}), 0);
    assert_int_equal(a->owner.yields, 1);
    settle(c);
    next = leader(c);
    assert_ptr_not_equal(next, a);
    assert_int_equal(next->owner.index, before + 1);
    node_dies(next); /* closes its journal */
    assert_int_equal(next->owner.yields, 1);
    cluster_free(c);
}

/* Resigning was begun again by each append that the owner made of it. */
static void an_unfit_leader_may_append_while_it_resigns(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = leader(c);
    uint64_t before = head(c);

    a->fit = false;
    a->owner.on_yield = appends_at_the_end;
    pass(c, REPLICATED_RESIGN_AFTER_MS + 3000);
    assert_int_equal(a->owner.yields, 1);
    assert_ptr_not_equal(leader(c), a);
    assert_int_equal(leader(c)->owner.index, before + 1);
    cluster_free(c);
}

static void nobody_steps_down_alone(void **state)
{
    struct cluster *c = cluster_new(1);
    struct error error = {0};

    pass(c, 3000);
    assert_int_equal(replicated_step_down(c->nodes[0].journal, &error), ERR_CONFLICT);
    assert_true(c->nodes[0].owner.leading);
    cluster_free(c);
}

static void an_unfit_standby_leaves_it_to_a_fit_one(void **state)
{
    struct cluster *c = cluster_of_three();

    c->nodes[1].fit = false;
    pass(c, 5000);
    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    pass(c, 5000);
    assert_ptr_equal(leader(c), &c->nodes[2]);
    cluster_free(c);
}

static void an_unfit_standby_is_better_than_nobody(void **state)
{
    struct cluster *c = cluster_of_three();

    c->nodes[1].fit = c->nodes[2].fit = false;
    pass(c, 5000);
    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    pass(c, 5000);
    assert_non_null(leader(c));
    cluster_free(c);
}

static void an_unfit_leader_resigns_beside_a_fit_standby(void **state)
{
    struct cluster *c = cluster_of_three();

    c->nodes[0].fit = false;
    pass(c, REPLICATED_RESIGN_AFTER_MS + 3000);
    assert_non_null(leader(c));
    assert_ptr_not_equal(leader(c), &c->nodes[0]);
    assert_int_equal(leader(c)->owner.epoch, 2);
    cluster_free(c);
}

static void a_leader_that_does_not_fire_is_deposed_and_stands_back(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *b = &c->nodes[1];

    assert_false(replicated_depose(b->journal, 7, "another epoch"));
    assert_true(replicated_depose(b->journal, 1, "job x at 03:00"));
    settle(c);
    assert_ptr_equal(leader(c), b);
    assert_non_null(strstr(data_at(c, NODE_EPOCH), "overdue: job x"));
    pass(c, 1000);
    assert_false(replicated_depose(a->journal, 2, "nor this") && leader(c) == a); /* it holds back */
    node_dies(b);
    session_of_the_dead_ends(b);
    pass(c, 2000);
    assert_ptr_equal(leader(c), &c->nodes[2]); /* not the one that holds back */
    cluster_free(c);
}

static void deposing_is_rationed(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *b = &c->nodes[1];

    assert_true(replicated_depose(b->journal, 1, "x"));
    settle(c);
    assert_true(b->owner.leading);
    assert_int_equal(replicated_step_down(b->journal, &(struct error){0}), 0);
    settle(c);
    assert_false(b->owner.leading);
    assert_false(replicated_depose(b->journal, leader(c)->owner.epoch, "y"));
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stepping_down_hands_over_once),
        cmocka_unit_test(one_that_has_just_joined_can_be_stepped_down_for),
        cmocka_unit_test(who_retires_hands_over_and_never_campaigns_again),
        cmocka_unit_test(who_is_to_retire_during_its_campaign_hands_over),
        cmocka_unit_test(stepping_down_again_and_again_never_leaves_them_without_a_leader),
        cmocka_unit_test(what_is_appended_while_yielding_reaches_the_successor),
        cmocka_unit_test(an_unfit_leader_may_append_while_it_resigns),
        cmocka_unit_test(nobody_steps_down_alone),
        cmocka_unit_test(an_unfit_standby_leaves_it_to_a_fit_one),
        cmocka_unit_test(an_unfit_standby_is_better_than_nobody),
        cmocka_unit_test(an_unfit_leader_resigns_beside_a_fit_standby),
        cmocka_unit_test(a_leader_that_does_not_fire_is_deposed_and_stands_back),
        cmocka_unit_test(deposing_is_rationed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
