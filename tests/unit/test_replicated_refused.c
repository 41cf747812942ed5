/* Appends that ZooKeeper refuses or cannot take: a quota, a small jute.maxbuffer, a version at its end. Nothing flaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

/* What is next at this seat, with its log's nodes refused; how many. Heartbeats as well: a quota may hold for both. */
static int step_refusing(struct seat *s, bool heartbeats)
{
    const struct ask *a = s->connected ? seat_next(s) : NULL;
    bool append = false, beat = false;

    for (size_t i = 0; a && i < a->count; i++) {
        append |= a->ops[i].kind == COORD_CREATE && strncmp(a->ops[i].path, NODE_LOG "/", 5) == 0;
        beat |= a->ops[i].kind == COORD_SET && strncmp(a->ops[i].path, NODE_MEMBERS "/", 9) == 0;
    }
    if (append || (beat && heartbeats))
        seat_refuse(s);
    return append;
}

static void refuse_for_five_minutes(bool heartbeats)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];
    int64_t epoch = a->owner.epoch;
    struct journal_status status;
    int refused = 0;

    append(a, 3);
    for (int i = 0; i < 300; i++) { /* five minutes */
        for (bool any = true; any;) {
            refused += step_refusing(&a->seat, heartbeats);
            any = step_any(c);
        }
        tick(c, 1000);
    }
    assert_in_range(refused, 5,
                    40); /* it was as often as it could be, and the leader's end every second time */
    assert_ptr_equal(leader(c), a);
    assert_int_equal(a->owner.deposals, 0);
    assert_int_equal(a->owner.acked, 10);
    a->journal->ops->status(a->journal, &status);
    assert_true(status.refused);
    assert_string_equal(status.text, "ZooKeeper refuses appends: throttled");
    assert_true(a->journal->ops->may_act(a->journal)); /* what is armed is still started */
    pass(c, REPLICATED_REFUSED_RETRY_MAX_MS + 2000);
    assert_int_equal(a->owner.acked, 13);
    a->journal->ops->status(a->journal, &status);
    assert_false(status.refused);
    assert_string_equal(status.text, "");
    assert_int_equal(a->owner.epoch, epoch);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

static void appends_that_are_refused_do_not_end_leadership(void **state)
{
    refuse_for_five_minutes(false);
}

static void refused_heartbeats_hold_up_nothing(void **state)
{
    refuse_for_five_minutes(true);
}

static void request_max(struct cluster *c, struct node *n, size_t bytes)
{
    seat_cut(&n->seat, 0);
    n->seat.coord.request_max = bytes;
    seat_connect(&n->seat);
    pass(c, 1000);
}

static void groups_keep_to_what_the_servers_take(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];
    size_t most = 4096, multis = 0;

    request_max(c, a, most);
    assert_int_equal(a->journal->batch_bytes, most);
    append(a, 100);
    LIST_EACH(link, &a->seat.asks)
    {
        const struct ask *ask = LIST_ITEM(link, struct ask, link);
        size_t bytes = ask->count * COORD_OP_BYTES;

        for (size_t i = 0; i < ask->count; i++)
            bytes += ask->ops[i].size;
        assert_true(bytes <= most);
        multis++;
    }
    assert_true(multis > 10);
    settle(c);
    assert_int_equal(a->owner.acked, 110);
    assert_int_equal(a->owner.deposals, 0);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

static void a_batch_larger_than_the_servers_take_is_told_and_not_sent(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    request_max(c, a, 2048);
    append(a, 2);
    assert_int_equal(owner_append(&a->owner, 2048), 0);
    append(a, 1);
    pass(c, 3000);
    assert_int_equal(a->owner.acked, 12);
    assert_int_equal(a->owner.deposals, 1);
    assert_non_null(strstr(a->owner.error.text, "jute.maxbuffer"));
    assert_non_null(leader(c));
    append(leader(c), 5);
    pass(c, 1000);
    assert_int_equal(head(c), 17);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

/* A node's version has 31 bits. */
static void the_head_is_made_anew_before_its_version_ends(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0];

    seat_cut(&a->seat, 0);
    znodes_find(&c->zoo.tree, NODE_HEAD)->newest->version = REPLICATED_HEAD_VERSION_MAX - 2;
    seat_connect(&a->seat);
    pass(c, 1000);
    for (int i = 0; i < 5; i++) {
        append(a, 1);
        append(a, 1);
        settle(c);
    }
    assert_int_equal(a->owner.acked, 20);
    assert_in_range(znodes_find(&c->zoo.tree, NODE_HEAD)->newest->version, 1, 20);
    assert_int_equal(a->owner.deposals, 0);
    pass(c, 1000);
    for (size_t i = 0; i < c->count; i++)
        assert_int_equal(c->nodes[i].owner.index, 20);
    assert_log_is_a_chain(c, 1);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_that_are_refused_do_not_end_leadership),
        cmocka_unit_test(refused_heartbeats_hold_up_nothing),
        cmocka_unit_test(groups_keep_to_what_the_servers_take),
        cmocka_unit_test(a_batch_larger_than_the_servers_take_is_told_and_not_sent),
        cmocka_unit_test(the_head_is_made_anew_before_its_version_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
