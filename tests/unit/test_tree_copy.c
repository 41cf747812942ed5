/* A cluster's journal that is taken out of ZooKeeper and written into it, wherever that is interrupted: replicas go on with
 * it, and nobody lives in a tree that is half written, or ended. */
#include "leader/replicated/tree_copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/replicated_fixture.h"

/* The link of a person: the connection is lost once so many requests were carried out. */
struct person {
    struct seat seat;
    struct tree_copy_link link;
    int left, cut; /* cut: the answers of so many more requests are lost */
};

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
}

static void on_text(void *arg, const char *text)
{
}

static const struct coord_events no_events = {on_connected, on_text, on_text, on_text};

static void turn(void *arg)
{
    struct person *p = arg;

    if (p->left-- == 0)
        seat_cut(&p->seat, (size_t)p->cut);
    else
        assert_true(seat_step(&p->seat));
}

static uint64_t random_number(void *arg)
{
    static uint64_t last = 7;

    return ++last;
}

static struct person *person_new(struct cluster *c)
{
    struct person *p = alloc_zero(sizeof(*p));

    p->left = -1;
    p->seat = (struct seat){.coord = {.ops = &seat_ops, .events = &no_events, .arg = p}, .zoo = &c->zoo};
    list_init(&p->seat.asks);
    c->zoo.seats[3] = &p->seat;
    p->link = (struct tree_copy_link){&p->seat.coord, turn, p, random_number};
    seat_connect(&p->seat);
    return p;
}

static void person_free(struct person *p)
{
    if (p->seat.connected)
        seat_cut(&p->seat, 0);
    p->seat.zoo->seats[3] = NULL;
    free(p);
}

static struct tree_copy_look look(struct person *p)
{
    struct tree_copy_look ret;
    struct error error;

    if (tree_copy_look(&p->link, &ret, &error) < 0)
        fail_msg("%s", error.text);
    return ret;
}

static void all_stop(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i].up)
            node_dies(&c->nodes[i]);
    for (size_t i = 0; i < c->count; i++)
        session_of_the_dead_ends(&c->nodes[i]);
}

/* Three replicas with two snapshots and 35 batches, all of them stopped, and the journal that they left. */
static struct cluster *stopped(struct person **ret, struct tree_copy *copy)
{
    struct cluster *c = cluster_of_three();
    struct tree_copy_look l;
    struct error error;

    owner_snapshot(&c->nodes[0].owner);
    settle(c);
    append(&c->nodes[0], 20);
    pass(c, 3000);
    owner_snapshot(&c->nodes[0].owner);
    settle(c);
    append(&c->nodes[0], 5);
    pass(c, 3000);
    all_stop(c);
    *ret = person_new(c);
    l = look(*ret);
    assert_int_equal(l.kind, TREE_COPY_LIVING);
    assert_int_equal(l.members, 0);
    assert_false(l.led);
    if (tree_copy_read(&(*ret)->link, &l, copy, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(copy->index, 30);
    assert_int_equal(copy->count, 5);
    return c;
}

/* They start with what a person noted in their folders, and go on. */
static void assert_they_go_on(struct cluster *c, const struct tree_copy *copy)
{
    struct replicated_options o = {.log_keep_bytes = 500};

    tree_copy_mark(copy, &o.mark);
    for (size_t i = 0; i < 3; i++)
        node_start(c, i, &o);
    pass(c, 20000);
    assert_all_alike(c);
    assert_true(leader(c)->owner.epoch > copy->epoch);
    append(leader(c), 10);
    pass(c, 3000);
    assert_all_alike(c);
}

static void the_journal_goes_out_and_in(void **state)
{
    struct tree_copy copy;
    struct person *p;
    struct cluster *c = stopped(&p, &copy);
    struct tree_copy_look l;
    struct error error;

    znodes_copy_put(&c->zoo.tree, NULL, NULL, 0); /* another ensemble */
    p->seat.seen = c->zoo.tree.zxid;
    l = look(p);
    assert_int_equal(l.kind, TREE_COPY_EMPTY);
    assert_int_equal(tree_copy_write(&p->link, &l, &copy, &error), 0);
    assert_int_equal(look(p).kind, TREE_COPY_HALF);
    assert_int_equal(tree_copy_commit(&p->link, &copy, &error), 0);
    assert_int_equal(look(p).kind, TREE_COPY_LIVING);
    assert_int_equal(look(p).head, 35);
    assert_int_equal(tree_copy_commit(&p->link, &copy, &error), ERR_IO); /* once */
    assert_they_go_on(c, &copy);
    person_free(p);
    tree_copy_release(&copy);
    cluster_free(c);
}

static void it_may_be_interrupted_anywhere(void **state)
{
    for (int n = 0; n < 40; n++) {
        struct tree_copy copy;
        struct person *p;
        struct cluster *c = stopped(&p, &copy);
        struct replicated_options o = {.level = 0};
        struct tree_copy_look l;
        struct error error;
        int rc;

        znodes_copy_put(&c->zoo.tree, NULL, NULL, 0);
        p->seat.seen = c->zoo.tree.zxid;
        l = look(p);
        p->left = n;
        p->cut = n % 2;
        rc = tree_copy_write(&p->link, &l, &copy, &error);
        p->left = -1;
        assert_true(rc == 0 || rc == ERR_UNREACHABLE);
        if (!p->seat.connected)
            seat_connect(&p->seat);
        tree_copy_mark(&copy, &o.mark);
        node_start(c, 0, &o);
        pass(c, 5000);
        assert_null(leader(c)); /* a tree that does not live */
        all_stop(c);
        l = look(p);
        assert_true(l.kind == TREE_COPY_EMPTY || l.kind == TREE_COPY_HALF);
        assert_int_equal(tree_copy_write(&p->link, &l, &copy, &error), 0);
        assert_int_equal(tree_copy_commit(&p->link, &copy, &error), 0);
        assert_they_go_on(c, &copy);
        person_free(p);
        tree_copy_release(&copy);
        cluster_free(c);
        if (rc == 0)
            return;
    }
    fail_msg("it does not end");
}

static void replicas_stop_where_it_was_ended(void **state)
{
    struct tree_copy copy;
    struct person *p;
    struct cluster *c = stopped(&p, &copy);
    struct tree_copy_look l = look(p);
    struct error error;
    char hash[MARK_HASH_SIZE];

    tree_copy_head(&copy, hash);
    assert_int_equal(tree_copy_end(&p->link, &l, hash, "/var/lib/cronsched", &error), 0);
    assert_int_equal(tree_copy_end(&p->link, &l, hash, "/tmp", &error), ERR_CONFLICT);
    for (size_t i = 0; i < 3; i++)
        node_start(c, i, &(struct replicated_options){.mark = c->nodes[i].mark});
    pass(c, 20000);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(replicated_view(c->nodes[i].journal)->standing, REPLICATED_STOPPED);
        assert_non_null(
            strstr(replicated_view(c->nodes[i].journal)->alarm, "was moved from ZooKeeper to /var/lib"));
    }
    all_stop(c);
    l = look(p);
    assert_int_equal(l.kind, TREE_COPY_MOVED);
    assert_string_equal(l.cluster, "uuid");
    assert_int_equal(l.head, 35);
    assert_string_equal(l.hash, hash);
    assert_int_equal(tree_copy_write(&p->link, &l, &copy, &error), 0); /* and it comes back */
    assert_int_equal(tree_copy_commit(&p->link, &copy, &error), 0);
    assert_they_go_on(c, &copy);
    person_free(p);
    tree_copy_release(&copy);
    cluster_free(c);
}

static void a_replica_that_comes_to_life_meanwhile_wins(void **state)
{
    struct tree_copy copy;
    struct person *p;
    struct cluster *c = stopped(&p, &copy);
    struct tree_copy_look l = look(p);
    struct error error;
    char hash[MARK_HASH_SIZE];

    tree_copy_head(&copy, hash);
    node_start(c, 0, &(struct replicated_options){.mark = c->nodes[0].mark});
    pass(c, 20000);
    assert_ptr_equal(leader(c), &c->nodes[0]);
    assert_int_equal(tree_copy_end(&p->link, &l, hash, "/tmp", &error), ERR_CONFLICT);
    l = look(p);
    assert_int_equal(l.members, 1);
    assert_true(l.led);
    person_free(p);
    tree_copy_release(&copy);
    cluster_free(c);
}

/* Behind the person's back. */
static void changed(struct person *p, struct cluster *c, const char *path, const char *data)
{
    tree_set(c, path, data);
    p->seat.seen = c->zoo.tree.zxid;
}

static void what_is_damaged_or_foreign_is_told(void **state)
{
    struct tree_copy copy, other;
    struct person *p;
    struct cluster *c = stopped(&p, &copy);
    struct tree_copy_look l = look(p);
    char path[COORD_PATH_MAX];
    struct error error;

    changed(p, c, tree_log_path(33, path), "0123456789abcdef\n{}");
    assert_int_equal(tree_copy_read(&p->link, &l, &other, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.text, "batch 33: "));
    changed(p, c, "/snap/current", "{}");
    assert_int_equal(tree_copy_read(&p->link, &l, &other, &error), ERR_CORRUPT);
    changed(p, c, "/head", "x");
    assert_int_equal(tree_copy_look(&p->link, &l, &error), ERR_CORRUPT);
    changed(p, c, "/epoch", "[]");
    assert_int_equal(tree_copy_look(&p->link, &l, &error), ERR_CORRUPT);
    znodes_copy_put(&c->zoo.tree, NULL, NULL, 0);
    assert_int_equal(znodes_multi(&c->zoo.tree, &(struct coord_op){COORD_CREATE, "/log", "", 0, COORD_ANY}, 1,
                                  99, 0, &(const struct znode_txn *){NULL}, &(struct coord_stat){0}),
                     COORD_OK);
    p->seat.seen = c->zoo.tree.zxid;
    assert_int_equal(look(p).kind, TREE_COPY_FOREIGN);
    person_free(p);
    tree_copy_release(&copy);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_goes_out_and_in),
        cmocka_unit_test(it_may_be_interrupted_anywhere),
        cmocka_unit_test(replicas_stop_where_it_was_ended),
        cmocka_unit_test(a_replica_that_comes_to_life_meanwhile_wins),
        cmocka_unit_test(what_is_damaged_or_foreign_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
