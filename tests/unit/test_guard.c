/* What the replicated core holds against a tree that says something untrue, and how a person has it go on. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

/* ---- a tree that changes behind their backs ---- */

static void reconnect(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i].up) {
            seat_learns_expiry(&c->nodes[i].seat);
            seat_connect(&c->nodes[i].seat);
        }
}

/* The ensemble is started again with that; NULL: with nothing. */
static void restored_from(struct cluster *c, const struct znodes_copy *copy)
{
    for (size_t i = 0; i < c->count; i++)
        session_of_the_dead_ends(&c->nodes[i]);
    znodes_copy_put(&c->zoo.tree, copy, NULL, 0);
    for (size_t i = 0; i < c->count; i++)
        c->nodes[i].seat.seen = c->zoo.tree.zxid;
    reconnect(c);
}

static void assert_alarm(const struct node *n, const char *text)
{
    const struct replicated_view *v = replicated_view(n->journal);

    if (!strstr(v->alarm, text))
        fail_msg("%s: '%s' instead of '%s'", n->id, v->alarm, text);
    assert_int_equal(v->standing, REPLICATED_REFUSING);
    assert_false(v->current);
    assert_false(v->leading);
}

static void assert_all_alike(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct replicated_view *v = replicated_view(c->nodes[i].journal);

        assert_string_equal(v->alarm, "");
        assert_int_equal(v->standing, REPLICATED_MEMBER);
        assert_int_equal(c->nodes[i].owner.index, head(c));
        assert_string_equal(c->nodes[i].owner.hash, c->nodes[0].owner.hash);
    }
    assert_non_null(leader(c));
}

static json_t *facts(struct cluster *c, const char *id)
{
    char path[64];

    snprintf(path, sizeof(path), "/members/%s", id);
    return data_at(c, path) ? json_loads(data_at(c, path), 0, NULL) : NULL;
}

static void set(struct cluster *c, const char *path, const char *data)
{
    struct coord_op op = {COORD_SET, path, data, strlen(data), COORD_ANY};
    const struct znode_txn *t;
    struct coord_stat stat;

    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &t, &stat), COORD_OK);
    zoo_told(&c->zoo);
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

static struct mark overtaken(struct cluster **ret, int snapshots)
{
    struct cluster *c = *ret = cluster_of_three();
    struct znodes_copy *old = znodes_copy_take(&c->zoo.tree);
    struct mark mark;

    append(&c->nodes[0], 10);
    pass(c, 3000);
    mark = c->nodes[0].mark;
    assert_int_equal(mark.index, 20);
    assert_int_equal(mark.since.epoch, 1);
    for (int i = 0; i < 3; i++)
        node_dies(&c->nodes[i]);
    restored_from(c, old);
    znodes_copy_free(old);
    node_start(c, 3, &(struct replicated_options){.log_keep_bytes = 500});
    pass(c, 5000);
    for (int i = 0; i < 4; i++) {
        append(leader(c), 10);
        if (i < snapshots)
            owner_snapshot(&c->nodes[3].owner);
        pass(c, 3000);
    }
    return mark;
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
    set(c, NODE_CURRENT, text);
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
    struct coord_op op = {.kind = COORD_DELETE, .path = NODE_EPOCH, .version = COORD_ANY};
    const struct znode_txn *t;
    struct journal_status status;
    struct coord_stat stat;
    struct node *b;

    pass(c, 3000);
    append(&c->nodes[0], 3);
    pass(c, 3000);
    node_dies(&c->nodes[0]);
    session_of_the_dead_ends(&c->nodes[0]);
    assert_int_equal(znodes_multi(&c->zoo.tree, &op, 1, 99, 0, &t, &stat), COORD_OK);
    b = node_start(c, 1, NULL);
    pass(c, 10000);
    assert_null(data_at(c, NODE_EPOCH));
    b->journal->ops->status(b->journal, &status);
    assert_non_null(strstr(status.text, "making the cluster's nodes beside what is there"));
    cluster_free(c);
}

/* ---- recovery ---- */

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

/* ---- one slow member ---- */

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

    set(c, path, wrong);
    b = node_start(c, 1, NULL);
    pass(c, 60000);
    assert_int_equal(b->owner.restores, 0);
    assert_int_equal(replicated_view(b->journal)->standing, REPLICATED_MEMBER);
    set(c, path, right);
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
        cmocka_unit_test(the_journal_goes_on_from_what_the_tree_holds),
        cmocka_unit_test(the_journal_goes_on_from_what_a_replica_holds),
        cmocka_unit_test(the_journal_goes_on_in_an_emptied_ensemble),
        cmocka_unit_test(of_three_histories_none_is_led_until_somebody_chooses),
        cmocka_unit_test(who_was_down_during_a_recovery_follows),
        cmocka_unit_test(a_recovery_may_be_cut_anywhere),
        cmocka_unit_test(a_recovery_whose_answers_are_lost_is_finished),
        cmocka_unit_test(of_two_recoveries_one_wins),
        cmocka_unit_test(the_log_is_truncated_over_what_a_recovery_left_out),
        cmocka_unit_test(the_log_waits_for_a_slow_member_up_to_a_bound),
        cmocka_unit_test(a_leader_whose_history_stands_still_wants_a_snapshot),
        cmocka_unit_test(a_snapshot_that_is_read_stays),
        cmocka_unit_test(a_snapshot_that_cannot_be_read_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
