/* A leader is asked through ZooKeeper before it is deposed; a leader's node that belongs to no epoch is replaced. The
 * replicated core against a ZooKeeper that is moved step by step.
 */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

static void an_eager_take_over_needs_no_end_of_the_session(void **state)
{
    static const struct {
        enum replicated_link_state link;
        int64_t wait_ms;
        const char *cause;
    } rows[] = {
        {REPLICATED_LINK_BROKEN, SUSPICION_ANSWER_BROKEN_MS, "connection-closed"},
        {REPLICATED_LINK_REFUSED, SUSPICION_ANSWER_MS, "connection-refused"},
        {REPLICATED_LINK_SILENT, SUSPICION_ANSWER_MS, "silent"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster *c = cluster_of_three();

        node_dies(&c->nodes[0]);
        settle(c);
        link_down(&c->nodes[1], 1, rows[i].link);
        settle(c);
        tick(c, rows[i].wait_ms - 1);
        settle(c);
        assert_null(leader(c)); /* it could still answer */
        tick(c, 1);
        settle(c);
        assert_ptr_equal(leader(c), &c->nodes[1]);
        assert_string_equal(leader(c)->owner.cause, rows[i].cause);
        cluster_free(c);
    }
}

/* However often, and by whom: the leader answers through ZooKeeper. */
static void a_leader_that_only_the_link_does_not_reach_stays(void **state)
{
    struct cluster *c = cluster_of_three();

    for (int i = 0; i < 200; i++) {
        link_down(&c->nodes[1], 1, REPLICATED_LINK_BROKEN + i % 3);
        if (i % 3 == 0)
            link_down(&c->nodes[2], 1, REPLICATED_LINK_BROKEN);
        pass(c, 500);
    }
    assert_ptr_equal(leader(c), &c->nodes[0]);
    assert_int_equal(leader(c)->owner.epoch, 1);
    assert_true(c->zoo.writes < 400); /* most of them heartbeats: the questions have a back-off */
    cluster_free(c);
}

/* Not even when the standby's own connection to ZooKeeper breaks at any moment of its question. */
static void trouble_of_ones_own_is_no_verdict(void **state)
{
    for (int n = 0; n < 12; n++)
        for (size_t executed = 0; executed < 3; executed++) {
            struct cluster *c = cluster_of_three();
            struct node *b = &c->nodes[1];

            link_down(b, 1, REPLICATED_LINK_SILENT);
            for (int i = 0; i < n && seat_step(&b->seat); i++)
                ;
            seat_cut(&b->seat, executed);
            pass(c, 2000);
            seat_connect(&b->seat);
            pass(c, 5000);
            assert_ptr_equal(leader(c), &c->nodes[0]);
            assert_int_equal(leader(c)->owner.epoch, 1);
            cluster_free(c);
        }
}

/* The ensemble is started again from a copy that lacks the question, and nothing else: the next one, which comes before
 * the leader has connected, has its number. */
static void a_question_with_the_number_of_an_earlier_one_is_answered(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];
    struct znodes_copy *old;
    int64_t living[3];

    link_down(&c->nodes[2], 1, REPLICATED_LINK_BROKEN);
    pass(c, 5000);
    old = znodes_copy_take(&c->zoo.tree);
    link_down(&c->nodes[2], 1, REPLICATED_LINK_BROKEN);
    pass(c, 100);
    assert_int_equal(replicated_of(a->journal)->asks.answered, 1);
    for (int i = 0; i < 3; i++) {
        living[i] = c->nodes[i].seat.session;
        seat_cut(&c->nodes[i].seat, 0);
    }
    znodes_copy_put(&c->zoo.tree, old, living, 3);
    seat_connect(&c->nodes[1].seat);
    settle(c);
    link_down(&c->nodes[1], 1, REPLICATED_LINK_SILENT);
    settle(c);
    seat_connect(&a->seat);
    seat_connect(&c->nodes[2].seat);
    pass(c, 5000);
    assert_ptr_equal(leader(c), a);
    assert_int_equal(a->owner.epoch, 1);
    znodes_copy_free(old);
    cluster_free(c);
}

/* The node was not there when the leader was about to answer, and is when it makes it: the answer comes at once. */
static void a_node_for_answers_that_appears_delays_no_answer(void **state)
{
    struct cluster *c = cluster_of_three();
    struct coord_op op = {COORD_CREATE, NODE_ANSWER, "{}", 2, COORD_ANY};
    const struct znode_txn *txn;
    struct coord_stat stat;
    json_t *o;

    link_down(&c->nodes[1], 1, REPLICATED_LINK_BROKEN);
    while (!replicated_of(c->nodes[0].journal)->asks.make_answer)
        assert_true(step_any(c));
    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &txn, &stat), COORD_OK);
    settle(c);
    o = json_loads(data_at(c, NODE_ANSWER), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(o, "epoch")), 1);
    json_decref(o);
    pass(c, 5000);
    assert_int_equal(leader(c)->owner.epoch, 1);
    cluster_free(c);
}

/* The one who replaced a dead leader dies at once: nothing waits for a session's end. */
static void the_second_failure_is_as_quick_as_the_first(void **state)
{
    struct cluster *c = cluster_of_three();

    node_dies(&c->nodes[0]);
    link_down(&c->nodes[1], 1, REPLICATED_LINK_BROKEN);
    pass(c, 500);
    assert_ptr_equal(leader(c), &c->nodes[1]);
    node_dies(&c->nodes[1]);
    settle(c);
    link_down(&c->nodes[2], 2, REPLICATED_LINK_BROKEN);
    pass(c, 500);
    assert_ptr_equal(leader(c), &c->nodes[2]);
    cluster_free(c);
}

static void put_orphan(struct cluster *c, const char *data)
{
    const struct znode_txn *txn;
    struct coord_stat stat;
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY},
                             {COORD_CREATE, NODE_LEADER, data, strlen(data), COORD_ANY}};
    bool there = data_at(c, NODE_LEADER) != NULL;

    assert_int_equal(
        znodes_multi(&c->zoo.tree, there ? ops : ops + 1, there ? 2 : 1, 0, c->zoo.now_ms, &txn, &stat),
        COORD_OK);
    zoo_told(&c->zoo);
}

static void an_orphan_is_replaced_after_a_session(void **state)
{
    static const char *const orphans[] = {
        "{\"replica\":\"ghost\",\"url\":\"http://127.0.0.1:1\",\"nonce\":\"0000000000000000\"}",
        "{\"replica\":\"b\",\"nonce\":\"\"}", "{}", "hello", ""};

    for (size_t i = 0; i < sizeof(orphans) / sizeof(orphans[0]); i++) {
        struct cluster *c = cluster_of_three();

        node_dies(&c->nodes[0]);
        session_of_the_dead_ends(&c->nodes[0]);
        put_orphan(c, orphans[i]);
        pass(c, SESSION_MS - 1000);
        assert_null(leader(c));
        assert_true(replicated_view(c->nodes[1].journal)->leaderless_ms >= SESSION_MS - 2000);
        pass(c, 3000);
        assert_non_null(leader(c));
        assert_int_equal(leader(c)->owner.epoch, 2);
        assert_string_equal(leader(c)->owner.cause, "orphan");
        assert_int_equal(replicated_view(c->nodes[1].journal)->leaderless_ms, 0);
        cluster_free(c);
    }
}

static void remove_leader(struct cluster *c)
{
    const struct znode_txn *txn;
    struct coord_stat stat;
    struct coord_op op = {.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};

    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 0, c->zoo.now_ms, &txn, &stat), COORD_OK);
    zoo_told(&c->zoo);
}

static void hears_that_it_leads(struct node *n, const struct node *lead)
{
    const struct replicated_view *v = replicated_view(lead->journal);
    struct replicated_heard heard = {.id = lead->id,
                                     .url = "http://a",
                                     .mark = *v->mark,
                                     .role = v->role,
                                     .base = v->base,
                                     .epoch = v->epoch,
                                     .nonce = v->nonce,
                                     .asked_ms = (uint64_t)n->zoo->now_ms};

    replicated_heard(n->journal, &heard);
}

/* A person removed it, or put another in its place. Who hears that it leads does not campaign, and would take it for the
 * leader of another ensemble. */
static void a_leader_whose_node_is_gone_puts_it_back(void **state)
{
    for (int orphan = 0; orphan < 2; orphan++) {
        struct cluster *c = cluster_of_three();
        struct node *a = &c->nodes[0];

        for (int i = 1; i < 3; i++)
            hears_that_it_leads(&c->nodes[i], a);
        if (orphan)
            put_orphan(c, "{\"replica\":\"ghost\",\"nonce\":\"0000000000000000\"}");
        else
            remove_leader(c);
        for (int64_t ms = 0; ms < 20000; ms += 500) {
            pass(c, 500);
            for (int i = 1; i < 3; i++)
                hears_that_it_leads(&c->nodes[i], a);
        }
        append(a, 3);
        pass(c, 3000);
        assert_ptr_equal(leader(c), a);
        assert_int_equal(a->owner.epoch, 1);
        for (int i = 1; i < 3; i++) {
            assert_string_equal(replicated_view(c->nodes[i].journal)->alarm, "");
            assert_string_equal(replicated_view(c->nodes[i].journal)->leader, "a");
            assert_int_equal(c->nodes[i].owner.index, 13);
        }
        cluster_free(c);
    }
}

/* The others were faster: it is deposed. */
static void a_leader_that_was_replaced_leaves_the_node_alone(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    remove_leader(c);
    for (int i = 0; i < 1000; i++) {
        seat_step(&c->nodes[1].seat);
        seat_step(&c->nodes[2].seat);
    }
    pass(c, 5000);
    assert_non_null(leader(c));
    assert_ptr_not_equal(leader(c), a);
    assert_int_equal(leader(c)->owner.epoch, 2);
    assert_int_equal(a->owner.deposals, 1);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_eager_take_over_needs_no_end_of_the_session),
        cmocka_unit_test(a_leader_that_only_the_link_does_not_reach_stays),
        cmocka_unit_test(trouble_of_ones_own_is_no_verdict),
        cmocka_unit_test(a_question_with_the_number_of_an_earlier_one_is_answered),
        cmocka_unit_test(a_node_for_answers_that_appears_delays_no_answer),
        cmocka_unit_test(the_second_failure_is_as_quick_as_the_first),
        cmocka_unit_test(an_orphan_is_replaced_after_a_session),
        cmocka_unit_test(a_leader_whose_node_is_gone_puts_it_back),
        cmocka_unit_test(a_leader_that_was_replaced_leaves_the_node_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
