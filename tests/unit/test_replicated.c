/* The replicated core against a ZooKeeper that is moved step by step. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static void the_first_makes_the_cluster_and_leads(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *a = &c->nodes[0];

    settle(c);
    assert_true(a->owner.leading);
    assert_int_equal(a->owner.epoch, 1);
    assert_int_equal(owner_append(&a->owner, 100), 0);
    settle(c);
    assert_int_equal(a->owner.acked, 1);
    assert_string_equal(replicated_view(a->journal)->cluster, "uuid");
    assert_string_equal(replicated_view(a->journal)->secret, SECRET);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

static void standbys_follow(void **state)
{
    struct cluster *c = cluster_of_three();

    for (int i = 0; i < 3; i++) {
        assert_int_equal(c->nodes[i].owner.index, 10);
        assert_string_equal(c->nodes[i].owner.hash, c->nodes[0].owner.hash);
        assert_true(replicated_view(c->nodes[i].journal)->current);
        assert_int_equal(replicated_view(c->nodes[i].journal)->member_count, 3);
        assert_int_equal(replicated_view(c->nodes[i].journal)->level, 2);
        assert_string_equal(replicated_view(c->nodes[i].journal)->leader, "a");
    }
    cluster_free(c);
}

static void a_standby_takes_over_when_the_session_ends(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *next;

    node_dies(&c->nodes[0]);
    pass(c, 5000);
    assert_null(leader(c)); /* the leader node is there as long as the session */
    session_of_the_dead_ends(&c->nodes[0]);
    settle(c);
    next = leader(c);
    assert_non_null(next);
    assert_int_equal(next->owner.epoch, 2);
    append(next, 5);
    pass(c, 1000);
    assert_log_is_a_chain(c, 1);
    assert_int_equal(head(c), 15);
    cluster_free(c);
}

/* In whatever order the steps of two standbys fall. */
static void of_two_that_race_one_wins(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct cluster *c = cluster_of_three();
        uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);
        bool any = true;

        node_dies(&c->nodes[0]);
        session_of_the_dead_ends(&c->nodes[0]);
        while (any) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            any = seat_step(&c->nodes[1 + x % 2].seat) || seat_step(&c->nodes[2 - x % 2].seat);
        }
        assert_non_null(leader(c));
        assert_int_equal(leader(c)->owner.epoch, 2);
        assert_string_equal(data_at(c, "/members/b") ? "there" : "gone", "there");
        cluster_free(c);
    }
}

/* The winner stops after its n-th step, its session ends, the other takes over, the winner wakes. */
static void a_winner_that_is_paused_anywhere_is_deposed(void **state)
{
    for (int n = 0; n < 25; n++) {
        struct cluster *c = cluster_of_three();
        struct node *b = &c->nodes[1], *other = &c->nodes[2];

        node_dies(&c->nodes[0]);
        session_of_the_dead_ends(&c->nodes[0]);
        for (int i = 0; i < n; i++) {
            seat_step(&b->seat);
            if (b->owner.leading && b->owner.index == 10)
                append(b, 3);
        }
        seat_session_ends(&b->seat); /* it does not know */
        for (int i = 0; i < 1000 && seat_step(&other->seat); i++)
            ;
        for (int i = 0; i < 30; i++) {
            c->zoo.now_ms += 500;
            replicated_tick(other->journal);
            while (seat_step(&other->seat))
                ;
        }
        assert_true(other->owner.leading);
        append(other, 2);
        while (seat_step(&other->seat))
            ;
        assert_false(b->journal->ops->may_act(b->journal));
        seat_learns_expiry(&b->seat);
        assert_false(b->owner.leading);
        seat_connect(&b->seat);
        pass(c, 3000);
        assert_ptr_equal(leader(c), other);
        assert_log_is_a_chain(c, 1);
        assert_int_equal(b->owner.index, head(c));
        assert_string_equal(b->owner.hash, other->owner.hash);
        cluster_free(c);
    }
}

static void a_take_over_whose_answer_is_lost_is_recognized(void **state)
{
    for (int executed = 0; executed <= 1; executed++) {
        struct cluster *c = cluster_of_three();
        struct node *b = &c->nodes[1];
        struct replicated *r = replicated_of(b->journal);

        node_dies(&c->nodes[0]);
        node_dies(&c->nodes[2]);
        session_of_the_dead_ends(&c->nodes[0]);
        while (r->election.state != CAMPAIGNING)
            assert_true(seat_step(&b->seat));
        seat_cut(&b->seat, executed ? 100 : 0);
        assert_int_equal(r->tree.epoch_version, 1);
        seat_connect(&b->seat);
        pass(c, 3000);
        assert_ptr_equal(leader(c), b);
        assert_int_equal(b->owner.epoch, 2);
        append(b, 1);
        settle(c);
        assert_log_is_a_chain(c, 1);
        cluster_free(c);
    }
}

/* The dead leader's session ends before, between or after: delete and create of one path in one multi. */
static void an_eager_take_over_may_meet_the_end_of_the_session(void **state)
{
    for (int n = 0; n < 20; n++) {
        struct cluster *c = cluster_of_three();
        struct node *b = &c->nodes[1];

        node_dies(&c->nodes[0]);
        settle(c);
        link_down(b, 1, REPLICATED_LINK_BROKEN);
        for (int i = 0; i < n; i++) {
            if (!seat_step(&b->seat))
                tick(c, SUSPICION_ANSWER_BROKEN_MS);
        }
        session_of_the_dead_ends(&c->nodes[0]);
        pass(c, SUSPICION_ANSWER_BROKEN_MS);
        assert_non_null(leader(c));
        assert_int_equal(leader(c)->owner.epoch, 2);
        append(leader(c), 1);
        pass(c, 3000);
        assert_log_is_a_chain(c, 1);
        cluster_free(c);
    }
}

/* A word about an epoch that is over deposes nobody. */
static void an_old_word_that_a_leader_is_gone_counts_for_nothing(void **state)
{
    struct cluster *c = cluster_of_three();

    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    settle(c);
    assert_int_equal(leader(c)->owner.epoch, 2);
    link_down(leader(c) == &c->nodes[1] ? &c->nodes[2] : &c->nodes[1], 1, REPLICATED_LINK_BROKEN);
    pass(c, 20000);
    assert_int_equal(leader(c)->owner.epoch, 2);
    cluster_free(c);
}

static void a_leader_wrongly_thought_gone_is_deposed_and_starts_nothing(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *b = &c->nodes[1];

    link_down(b, 1, REPLICATED_LINK_BROKEN);
    while (!b->owner.leading) { /* it is stopped, and answers nothing */
        if (seat_step(&b->seat))
            continue;
        c->zoo.now_ms += 100;
        replicated_tick(b->journal);
    }
    assert_true(a->owner.leading); /* it has not heard of it */
    append(a, 3);
    append(b, 2);
    settle(c);
    assert_ptr_equal(leader(c), b);
    assert_int_equal(a->owner.deposals, 1);
    assert_int_equal(a->owner.error.code, ERR_DEPOSED);
    assert_non_null(strstr(a->owner.error.text, "deposed: epoch 2 has another leader"));
    assert_log_is_a_chain(c, 1);
    assert_int_equal(head(c), 12);
    pass(c, 1000);
    assert_string_equal(a->owner.hash, b->owner.hash);
    cluster_free(c);
}

/* Of seven appends under way any number is carried out when the connection breaks. */
static void appends_in_doubt_are_settled(void **state)
{
    for (size_t executed = 0; executed <= 7; executed++) {
        struct cluster *c = cluster_of_three();
        struct node *a = &c->nodes[0];

        for (int i = 0; i < 7; i++) /* one multi each: they are handed over one by one */
            append(a, 1);
        seat_cut(&a->seat, executed);
        append(a, 2);
        assert_int_equal(a->owner.acked, 10);
        seat_connect(&a->seat);
        settle(c);
        assert_ptr_equal(leader(c), a);
        assert_int_equal(a->owner.deposals, 0);
        assert_int_equal(a->owner.acked, 19);
        assert_int_equal(head(c), 19);
        assert_log_is_a_chain(c, 1);
        cluster_free(c);
    }
}

static void append_one_more(struct owner *o)
{
    o->on_acked = NULL;
    assert_int_equal(owner_append(o, 20), 0);
}

/* What the owner appends when it is told that some of them were carried out follows those that were not. */
static void appends_made_while_settling_come_last(void **state)
{
    for (size_t executed = 1; executed <= 7; executed++) {
        struct cluster *c = cluster_of_three();
        struct node *a = &c->nodes[0];

        for (int i = 0; i < 7; i++)
            append(a, 1);
        a->owner.on_acked = append_one_more;
        seat_cut(&a->seat, executed);
        seat_connect(&a->seat);
        settle(c);
        assert_null(a->owner.on_acked);
        assert_ptr_equal(leader(c), a);
        assert_int_equal(a->owner.deposals, 0);
        assert_int_equal(a->owner.acked, 18);
        assert_int_equal(head(c), 18);
        assert_log_is_a_chain(c, 1);
        cluster_free(c);
    }
}

/* Somebody writes a copy of the last batch, further on, and moves the head there. */
static void a_head_at_a_batch_that_was_never_sent_is_not_believed(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];
    const char *last = data_at(c, "/log/0000000010");
    struct coord_op ops[] = {{COORD_CREATE, "/log/0000000012", last, strlen(last), COORD_ANY},
                             {COORD_SET, NODE_HEAD, "12", 2, COORD_ANY}};
    const struct znode_txn *txn;
    struct coord_stat stat;

    seat_cut(&a->seat, 0);
    append(a, 2);
    assert_int_equal(znodes_multi(&c->zoo.tree, ops, 2, 99, 0, &txn, &stat), COORD_OK);
    seat_connect(&a->seat);
    settle(c);
    assert_int_equal(a->owner.acked, 10);
    assert_int_equal(a->owner.deposals, 1);
    cluster_free(c);
}

static void the_connection_may_break_again_while_settling(void **state)
{
    for (int n = 0; n < 8; n++) {
        struct cluster *c = cluster_of_three();
        struct node *a = &c->nodes[0];

        append(a, 5);
        seat_cut(&a->seat, 1);
        seat_connect(&a->seat);
        for (int i = 0; i < n; i++)
            seat_step(&a->seat);
        seat_cut(&a->seat, 2);
        seat_connect(&a->seat);
        settle(c);
        assert_ptr_equal(leader(c), a);
        assert_int_equal(a->owner.acked, 15);
        assert_log_is_a_chain(c, 1);
        cluster_free(c);
    }
}

static void appends_that_wait_travel_together(void **state)
{
    struct cluster *c = cluster_of_three();
    uint64_t writes = c->zoo.writes;

    append(&c->nodes[0], 1000);
    settle(c);
    assert_int_equal(c->nodes[0].owner.acked, 1010);
    assert_true(c->zoo.writes - writes < REPLICATED_WINDOW_MAX + 1000 * 250 / REPLICATED_GROUP_BYTES + 5);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

static void too_much_in_flight_is_refused(void **state)
{
    struct cluster *c = cluster_of_three();
    int taken = 0;

    while (owner_append(&c->nodes[0].owner, 10) == 0)
        taken++;
    assert_int_equal(taken, REPLICATED_IN_FLIGHT_MAX);
    settle(c);
    assert_int_equal(c->nodes[0].owner.acked, 10 + REPLICATED_IN_FLIGHT_MAX);
    cluster_free(c);
}

static void the_lease_ends_with_silence_and_comes_back_with_a_write(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    assert_true(a->journal->ops->may_act(a->journal));
    seat_cut(&a->seat, 0);
    tick(c, 2000);
    assert_true(a->journal->ops->may_act(a->journal));
    for (int i = 0; i < 6; i++)
        tick(c, 1000);
    assert_false(a->journal->ops->may_act(a->journal));
    assert_true(a->owner.leading);
    seat_connect(&a->seat);
    pass(c, 1000);
    assert_true(a->journal->ops->may_act(a->journal));
    assert_int_equal(a->owner.deposals, 0);
    cluster_free(c);
}

static void after_a_pause_nothing_is_done_before_a_write(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    c->zoo.now_ms += 4000; /* more than a third of the session */
    assert_false(a->journal->ops->may_act(a->journal));
    replicated_tick(a->journal);
    assert_false(a->journal->ops->may_act(a->journal));
    pass(c, 1000);
    assert_true(a->journal->ops->may_act(a->journal));
    cluster_free(c);
}

static void a_replica_that_comes_back_takes_its_own_place_again_at_once(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *a = &c->nodes[0], *again;

    pass(c, 3000);
    append(a, 3);
    settle(c);
    node_dies(a);
    again = node_start(c, 1, &(struct replicated_options){.replica = "a"});
    settle(c);
    assert_true(again->owner.leading);
    assert_int_equal(again->owner.epoch, 2);
    assert_int_equal(again->owner.index, 3);
    cluster_free(c);
}

static void two_of_one_name_are_noticed(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *second;

    pass(c, 3000);
    second = node_start(c, 1, &(struct replicated_options){.replica = "a"});
    pass(c, 10000);
    assert_true(strstr(replicated_view(c->nodes[0].journal)->alarm, "needs an id of its own") ||
                strstr(replicated_view(second->journal)->alarm, "needs an id of its own"));
    cluster_free(c);
}

static void an_empty_tree_under_a_store_that_knows_more_is_refused(void **state)
{
    struct cluster *c = cluster_new(0);
    struct node *a = node_start(c, 0, &(struct replicated_options){.mark = {.cluster = "uuid", .index = 7}});

    pass(c, 5000);
    assert_false(a->owner.leading);
    assert_non_null(strstr(replicated_view(a->journal)->alarm, "holds nothing of this cluster"));
    assert_null(data_at(c, NODE_EPOCH));
    cluster_free(c);
}

static void the_tree_of_another_cluster_is_refused(void **state)
{
    struct cluster *c = cluster_new(1);
    struct node *b;

    pass(c, 3000);
    b = node_start(c, 1, &(struct replicated_options){.mark = {.cluster = "other"}});
    pass(c, 3000);
    assert_non_null(strstr(replicated_view(b->journal)->alarm, "belongs to other"));
    assert_int_equal(b->owner.restores, 0);
    assert_ptr_equal(leader(c), &c->nodes[0]);
    cluster_free(c);
}

static void a_tree_that_lost_committed_batches_is_refused(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *d = node_start(c, 3, &(struct replicated_options){.mark = {.cluster = "uuid", .index = 11}});

    pass(c, 3000);
    assert_non_null(strstr(replicated_view(d->journal)->alarm, "committed batches were lost"));
    cluster_free(c);
}

static void a_chain_that_disagrees_stops_the_replica(void **state)
{
    struct cluster *c = cluster_of_three();
    struct coord_op ops[] = {{COORD_CREATE, "/log/0000000011", "0123456789abcdef\n{\"n\":11}", 25, COORD_ANY},
                             {COORD_SET, NODE_HEAD, "11", 2, COORD_ANY}};
    const struct znode_txn *t;
    struct coord_stat stat;

    assert_int_equal(znodes_multi(&c->zoo.tree, ops, 2, 99, 0, &t, &stat), COORD_OK);
    zoo_told(&c->zoo);
    pass(c, 1000);
    assert_non_null(strstr(replicated_view(c->nodes[1].journal)->alarm, "batch 11"));
    pass(c, 3000);
    assert_false(c->nodes[0].owner.leading); /* its heartbeat finds another head than it left */
    cluster_free(c);
}

/* What somebody else wrote into the nodes is named, and stops the replica. */
static void nodes_that_cannot_be_read_stop_the_replica(void **state)
{
    static const struct {
        const char *path, *data, *alarm;
    } cases[] = {
        {NODE_EPOCH, "[]", "ZooKeeper node /epoch is not a JSON object"},
        {NODE_HEAD, "ten", "ZooKeeper node /head is not a number"},
        {NODE_HEAD, "", "ZooKeeper node /head is not a number"},
        {NODE_HEAD, "-1", "ZooKeeper node /head is not a number"},
        {NODE_HEAD, "99999999999999999999", "ZooKeeper node /head is not a number"},
        {NODE_EPOCH, "{\"cluster\":\"uuid\",\"base\":-1}", "ZooKeeper node /epoch is invalid"},
        {NODE_LOG "/0000000010", "no nonce", "batch 10 in ZooKeeper is invalid: it has no nonce"},
        {NODE_LOG "/0000000010", "0123456789abcdef\n{", "batch 10 in ZooKeeper is invalid: "},
        {NODE_LOG "/0000000010",
         "0123456789abcdef\n{\"n\":10,\"e\":1,\"t\":1,\"p\":\"\",\"r\":[{\"k\":\"job\",\"job\":\"a\","
         "\"version\":1,"
         "\"def\":{\"image\":\"x\",\"rewind\":true},\"seed\":1,\"anchor\":0,\"cursor\":0}]}",
         "batch 10 in ZooKeeper is invalid: this build cannot read job a: unknown key 'rewind': a newer "
         "cronsched is "
         "needed"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster *c = cluster_of_three();
        struct coord_op op = {COORD_SET, cases[i].path, cases[i].data, strlen(cases[i].data), COORD_ANY};
        const struct znode_txn *t;
        struct coord_stat stat;

        assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &t, &stat), COORD_OK);
        node_start(c, 3, NULL);
        pass(c, 3000);
        assert_memory_equal(replicated_view(c->nodes[3].journal)->alarm, cases[i].alarm,
                            strlen(cases[i].alarm));
        cluster_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_makes_the_cluster_and_leads),
        cmocka_unit_test(standbys_follow),
        cmocka_unit_test(a_standby_takes_over_when_the_session_ends),
        cmocka_unit_test(of_two_that_race_one_wins),
        cmocka_unit_test(a_winner_that_is_paused_anywhere_is_deposed),
        cmocka_unit_test(a_take_over_whose_answer_is_lost_is_recognized),
        cmocka_unit_test(an_eager_take_over_may_meet_the_end_of_the_session),
        cmocka_unit_test(an_old_word_that_a_leader_is_gone_counts_for_nothing),
        cmocka_unit_test(a_leader_wrongly_thought_gone_is_deposed_and_starts_nothing),
        cmocka_unit_test(appends_in_doubt_are_settled),
        cmocka_unit_test(appends_made_while_settling_come_last),
        cmocka_unit_test(a_head_at_a_batch_that_was_never_sent_is_not_believed),
        cmocka_unit_test(the_connection_may_break_again_while_settling),
        cmocka_unit_test(appends_that_wait_travel_together),
        cmocka_unit_test(too_much_in_flight_is_refused),
        cmocka_unit_test(the_lease_ends_with_silence_and_comes_back_with_a_write),
        cmocka_unit_test(after_a_pause_nothing_is_done_before_a_write),
        cmocka_unit_test(a_replica_that_comes_back_takes_its_own_place_again_at_once),
        cmocka_unit_test(two_of_one_name_are_noticed),
        cmocka_unit_test(an_empty_tree_under_a_store_that_knows_more_is_refused),
        cmocka_unit_test(the_tree_of_another_cluster_is_refused),
        cmocka_unit_test(a_tree_that_lost_committed_batches_is_refused),
        cmocka_unit_test(a_chain_that_disagrees_stops_the_replica),
        cmocka_unit_test(nodes_that_cannot_be_read_stop_the_replica),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
