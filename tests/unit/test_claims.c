/* Two ensembles with a copy of one cluster's data: of the replicas that reach one another one leads, and never one whose
 * tree lacks what another holds. And two processes of one name: the first keeps it. */
#include "leader/replicated/replicated_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

#define STEP_MS 50

/* ---- two ensembles, and the links across them ---- */

struct links { /* of `a` in the old ensemble and `b` in the new one */
    struct cluster *old, *new;
    struct node *a, *b;
    bool cut;
    int together; /* steps in which both led */
};

static bool asks[2];

static bool ask_members(void *arg)
{
    asks[((struct node *)arg)->id[0] == 'b'] = true;
    return true;
}

static void say(struct node *from, struct node *to)
{
    const struct replicated_view *v = replicated_view(from->journal);
    struct replicated_heard heard = {.id = from->id,
                                     .url = "http://from",
                                     .mark = *v->mark,
                                     .role = v->role,
                                     .base = v->base,
                                     .epoch = v->epoch,
                                     .nonce = v->nonce,
                                     .asked_ms = (uint64_t)to->zoo->now_ms};

    replicated_heard(to->journal, &heard);
}

static void answer(struct links *l, struct node *asker, struct node *other)
{
    bool *asked = &asks[asker->id[0] == 'b'];

    if (!asker->up || !*asked)
        return;
    *asked = false;
    if (other->up && !l->cut)
        say(other, asker);
    replicated_members_asked(asker->journal);
}

/* Time passes in both; every 500 ms each hears the other, and questions are answered at once. */
static void go_on(struct links *l, int64_t ms)
{
    for (int64_t t = 0; t < ms; t += STEP_MS) {
        tick(l->old, STEP_MS);
        tick(l->new, STEP_MS);
        settle(l->old);
        settle(l->new);
        for (int i = 0; i < 4; i++) {
            answer(l, l->a, l->b);
            answer(l, l->b, l->a);
            settle(l->old);
            settle(l->new);
        }
        if (l->a->up && l->b->up && !l->cut && t % 500 == 0) {
            say(l->a, l->b);
            say(l->b, l->a);
        }
        l->together += l->a->up && l->b->up && l->a->owner.leading && l->b->owner.leading;
    }
}

static void silence(struct links *l)
{
    l->cut = true;
    if (l->a->up)
        replicated_silent(l->a->journal, "b");
    if (l->b->up)
        replicated_silent(l->b->journal, "a");
}

static struct replicated_options with_mark(const struct node *n)
{
    return (struct replicated_options){.mark = n->mark};
}

/* Both have ten batches; a leads in the old ensemble unless `together`; then neither is up before the copy is. */
static struct links two_ensembles(bool together)
{
    struct links l = {.old = cluster_new(1), .new = cluster_new(0)};
    struct node *b = node_start(l.old, 1, NULL);
    struct znodes_copy *copy;
    struct replicated_options o;

    l.a = &l.old->nodes[0];
    l.a->host.ask_members = b->host.ask_members = ask_members; /* b is never answered */
    for (int i = 0; i < 20; i++) { /* a is elected: its members are asked, and b does not lead */
        pass(l.old, 500);
        answer(&l, l.a, b);
    }
    assert_ptr_equal(leader(l.old), l.a);
    append(l.a, 10);
    pass(l.old, 3000);
    assert_int_equal(b->owner.index, 10);
    node_dies(b);
    session_of_the_dead_ends(b);
    if (together) {
        node_dies(l.a);
        session_of_the_dead_ends(l.a);
    }
    pass(l.old, 1000);
    copy = znodes_copy_take(&l.old->zoo.tree);
    znodes_copy_put(&l.new->zoo.tree, copy, NULL, 0);
    znodes_copy_free(copy);
    l.new->zoo.now_ms = l.old->zoo.now_ms;
    o = with_mark(b);
    o.replica = "b";
    l.b = node_start(l.new, 0, &o);
    memcpy(l.b->id, "b", 2);
    l.b->host.ask_members = ask_members;
    if (together) {
        o = with_mark(l.a);
        l.a = node_start(l.old, 0, &o);
        l.a->host.ask_members = ask_members;
    }
    asks[0] = asks[1] = false;
    return l;
}

static void release(struct links *l)
{
    cluster_free(l->old);
    cluster_free(l->new);
}

static void assert_refuses(const struct node *n, const char *text)
{
    const struct replicated_view *v = replicated_view(n->journal);

    assert_int_equal(v->standing, REPLICATED_REFUSING);
    if (!strstr(v->alarm, text))
        fail_msg("%s: '%s' instead of '%s'", n->id, v->alarm, text);
    assert_false(n->owner.leading);
}

static void assert_leads(const struct node *n)
{
    assert_true(n->owner.leading);
    assert_string_equal(replicated_view(n->journal)->alarm, "");
}

/* ---- leaders ---- */

static void beside_a_leader_elsewhere_nobody_leads_a_copy(void **state)
{
    struct links l = two_ensembles(false);
    int64_t epoch = l.a->owner.epoch;

    go_on(&l, 30000);
    assert_int_equal(l.together, 0);
    assert_leads(l.a);
    assert_int_equal(l.a->owner.epoch, epoch);
    assert_refuses(l.b, "leads this cluster (epoch 1) through another ZooKeeper ensemble");
    assert_int_equal(replicated_view(l.b->journal)->epoch, 1); /* it did not even campaign */

    node_dies(l.a); /* it had nothing that the copy lacks */
    replicated_silent(l.b->journal, "a");
    go_on(&l, 200);
    assert_leads(l.b);
    release(&l);
}

static void a_copy_that_lacks_what_another_did_is_not_led(void **state)
{
    struct links l = two_ensembles(false);

    append(l.a, 5);
    go_on(&l, 10000);
    node_dies(l.a);
    replicated_silent(l.b->journal, "a");
    go_on(&l, 30000);
    assert_refuses(
        l.b,
        "replica a, which is not a member here, holds more than the journal in ZooKeeper, which ends at 10");
    replicated_forget(l.b->journal, "a"); /* somebody says so */
    go_on(&l, 5000);
    assert_leads(l.b);
    release(&l);
}

static void of_two_that_are_elected_at_once_one_leads(void **state)
{
    struct links l = two_ensembles(true);

    go_on(&l, 30000);
    assert_int_equal(l.together, 0);
    assert_int_equal(l.a->owner.leading + l.b->owner.leading, 1);
    assert_refuses(l.a->owner.leading ? l.b : l.a, "this cluster");
    release(&l);
}

static void two_that_lead_apart_and_meet(void **state)
{
    struct links l = two_ensembles(false);

    silence(&l);
    go_on(&l, 10000);
    assert_true(l.a->owner.leading && l.b->owner.leading); /* nobody could be asked */
    append(l.b, 2);
    append(l.a, 4);
    go_on(&l, 1000);
    l.cut = false;
    go_on(&l, 3000);
    assert_true(l.a->owner.leading);
    assert_refuses(l.b, "ZooKeeper"); /* its leadership is the younger one */
    append(l.a, 4);
    l.together = 0;
    go_on(&l, 20000);
    assert_int_equal(l.together, 0);
    assert_true(l.a->owner.leading);
    release(&l);
}

static void both_sides_know_of_two_leaders(void **state)
{
    struct links l = two_ensembles(false);

    silence(&l);
    go_on(&l, 10000);
    assert_string_equal(replicated_view(l.a->journal)->other_leader, "");
    for (int i = 0; i < 5; i++) { /* b is heard, and does not hear */
        say(l.b, l.a);
        go_on(&l, 500);
    }
    assert_leads(l.a);
    assert_non_null(strstr(replicated_view(l.a->journal)->other_leader, "replica b"));
    replicated_silent(l.a->journal, "b");
    go_on(&l, 1000);
    assert_string_equal(replicated_view(l.a->journal)->other_leader, "");
    release(&l);
}

static void on_recovered(void *arg, const struct error *error)
{
    assert_null(error);
    ((struct node *)arg)->recovered++;
}

static void what_a_person_had_go_on_wins(void **state)
{
    struct links l = two_ensembles(false);
    struct replicated_recovery how = {.from_here = false, .by = "somebody"};

    go_on(&l, 10000);
    assert_refuses(l.b, "another ZooKeeper ensemble");
    assert_int_equal(replicated_recover(l.b->journal, &how, on_recovered, l.b, &l.b->error), 0);
    go_on(&l, 10000);
    assert_int_equal(l.together, 0);
    assert_int_equal(l.b->recovered, 1);
    assert_leads(l.b);
    assert_refuses(l.a, "replica b");
    release(&l);
}

static void another_cluster_does_not_count(void **state)
{
    struct links l = two_ensembles(false);
    struct replicated_heard heard = {.id = "x",
                                     .url = "http://x",
                                     .mark = {.cluster = "another", .index = 99},
                                     .role = REPLICATED_LEADER,
                                     .epoch = 7,
                                     .nonce = "7"};

    silence(&l);
    for (int i = 0; i < 20; i++) {
        heard.asked_ms = (uint64_t)l.old->zoo.now_ms;
        replicated_heard(l.a->journal, &heard);
        replicated_heard(l.b->journal, &heard);
        go_on(&l, 500);
    }
    assert_leads(l.a);
    assert_leads(l.b);
    release(&l);
}

/* ---- one ensemble ---- */

static void stepping_down_waits_for_one_answer(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *b = &c->nodes[1];
    struct links l = {.old = c, .new = c, .a = a, .b = b};

    for (int i = 1; i < 3; i++)
        c->nodes[i].host.ask_members = ask_members;
    c->nodes[2].fit = false;
    pass(c, 5000);
    say(a, b);
    say(a, &c->nodes[2]);
    assert_int_equal(replicated_step_down(a->journal, &a->error), 0);
    for (int i = 0; i < 10 && !b->owner.leading; i++) {
        settle(c);
        answer(&l, b, a);
        tick(c, 10);
    }
    assert_true(b->owner.leading);
    cluster_free(c);
}

static void a_member_that_lags_behind_is_not_believed_to_lack_anything(void **state)
{
    struct cluster *c = cluster_of_three();
    struct replicated_heard heard = {.id = "d", .url = "http://d", .nonce = ""};

    append(&c->nodes[0], 1);
    while (c->nodes[0].owner.acked < 11) /* b and c do not learn of it */
        assert_true(seat_step(&c->nodes[0].seat));
    heard.mark = c->nodes[0].mark;
    heard.asked_ms = (uint64_t)c->zoo.now_ms;
    replicated_heard(c->nodes[1].journal, &heard);
    replicated_tick(c->nodes[1].journal);
    assert_string_equal(replicated_view(c->nodes[1].journal)->alarm, "");
    pass(c, 10000);
    assert_string_equal(replicated_view(c->nodes[1].journal)->alarm, "");
    assert_int_equal(c->nodes[1].refusals_told, 0);
    cluster_free(c);
}

/* ---- one name ---- */

static int holder_asked;

static bool ask_holder(void *arg, const char *url)
{
    assert_non_null(url);
    holder_asked++;
    return true;
}

static struct node *second_of_the_name(struct cluster *c)
{
    struct node *n = node_start(c, 3, &(struct replicated_options){.replica = "a"});

    n->host.ask_holder = ask_holder;
    holder_asked = 0;
    pass(c, 3000);
    assert_true(holder_asked > 0);
    return n;
}

static void tell_holder(struct node *n, enum replicated_holder holder, const char *why)
{
    replicated_holder(n->journal, holder, why);
}

static void the_first_process_of_a_name_keeps_it(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *twin = second_of_the_name(c);
    int64_t epoch = a->owner.epoch;

    for (int i = 0; i < 5; i++) {
        tell_holder(twin, REPLICATED_HOLDER_OTHER, "");
        pass(c, 5000);
        assert_refuses(twin, "another process serves as replica 'a'");
    }
    tell_holder(twin, REPLICATED_HOLDER_UNKNOWN, "no answer");
    pass(c, 3000);
    assert_refuses(twin, "its session has not ended yet");
    assert_leads(a);
    assert_int_equal(a->owner.epoch, epoch);
    assert_int_equal(a->owner.deposals, 0);
    append(a, 1);
    pass(c, 1000);
    assert_int_equal(a->owner.acked, 11);
    cluster_free(c);
}

static void a_name_is_free_when_its_process_is_gone(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *twin = second_of_the_name(c);

    node_dies(&c->nodes[0]);      /* its session stands */
    for (int i = 0; i < 2; i++) { /* its last heartbeat was after the first question */
        tell_holder(twin, REPLICATED_HOLDER_GONE, "");
        pass(c, 5000);
    }
    assert_leads(twin);
    assert_true(twin->owner.epoch > 1);
    cluster_free(c);
}

static void a_name_is_free_when_its_session_ends(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *twin = second_of_the_name(c);

    tell_holder(twin, REPLICATED_HOLDER_UNKNOWN, "no answer");
    node_dies(&c->nodes[0]);
    pass(c, 3000);
    assert_refuses(twin, "its session has not ended yet");
    session_of_the_dead_ends(&c->nodes[0]);
    tell_holder(twin, REPLICATED_HOLDER_UNKNOWN, "no answer");
    pass(c, 5000);
    assert_string_equal(replicated_view(twin->journal)->alarm, "");
    assert_int_equal(replicated_view(twin->journal)->standing, REPLICATED_MEMBER);
    cluster_free(c);
}

/* Its node changed while it was being asked about: it lives. */
static void a_name_that_is_used_meanwhile_is_not_taken(void **state)
{
    struct cluster *c = cluster_of_three();
    struct node *a = &c->nodes[0], *twin = second_of_the_name(c);

    pass(c, 10000); /* its heartbeats */
    tell_holder(twin, REPLICATED_HOLDER_GONE, "");
    pass(c, 1000);
    assert_leads(a);
    assert_int_equal(a->owner.deposals, 0);
    assert_false(twin->owner.leading);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beside_a_leader_elsewhere_nobody_leads_a_copy),
        cmocka_unit_test(a_copy_that_lacks_what_another_did_is_not_led),
        cmocka_unit_test(of_two_that_are_elected_at_once_one_leads),
        cmocka_unit_test(two_that_lead_apart_and_meet),
        cmocka_unit_test(both_sides_know_of_two_leaders),
        cmocka_unit_test(what_a_person_had_go_on_wins),
        cmocka_unit_test(another_cluster_does_not_count),
        cmocka_unit_test(stepping_down_waits_for_one_answer),
        cmocka_unit_test(a_member_that_lags_behind_is_not_believed_to_lack_anything),
        cmocka_unit_test(the_first_process_of_a_name_keeps_it),
        cmocka_unit_test(a_name_is_free_when_its_process_is_gone),
        cmocka_unit_test(a_name_is_free_when_its_session_ends),
        cmocka_unit_test(a_name_that_is_used_meanwhile_is_not_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
