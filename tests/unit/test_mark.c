/* The mark: what a replica holds against a history that lost batches, or is another one. */
#include "leader/replicated/mark.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HASH(digit) digit digit digit digit digit digit digit digit
#define A           HASH("aaaa")
#define B           HASH("bbbb")
#define C           HASH("cccc")
#define D           HASH("dddd")

/* Epoch 3 begins with batch 10, epoch 5 with batch 20, epoch 6 with batch 30. */
static struct mark_epochs history(void)
{
    struct mark_epochs list = {.count = 0};

    mark_epochs_add(&list, 3, 10, A);
    mark_epochs_add(&list, 5, 20, B);
    mark_epochs_add(&list, 6, 30, C);
    return list;
}

static struct mark mark_at(uint64_t index, const char *hash, const struct mark_epochs *epochs)
{
    struct mark m = {.cluster = "x"};

    mark_raise(&m, index, hash, epochs);
    return m;
}

static void a_mark_rises_and_never_falls(void **state)
{
    struct mark_epochs h = history();
    struct mark m = mark_at(25, D, &h);

    assert_int_equal(25, m.index);
    assert_int_equal(5, m.since.epoch);
    assert_int_equal(20, m.since.index);
    assert_string_equal(B, m.since.hash);
    mark_raise(&m, 24, A, &h);
    assert_int_equal(25, m.index);
    mark_raise(&m, 25, A, &h);
    assert_string_equal(D, m.hash);
    mark_raise(&m, 30, C, &h);
    assert_int_equal(30, m.index);
    assert_int_equal(6, m.since.epoch);
}

static void a_mark_without_a_hash_takes_the_one_it_meets(void **state)
{
    struct mark_epochs h = history();
    struct mark m = {.cluster = "x", .index = 25};

    assert_int_equal(MARK_HELD, mark_check_batch(&m, A));
    mark_raise(&m, 25, D, &h);
    assert_string_equal(D, m.hash);
}

/* What a snapshot at 35 with the epochs of `history` says of marks. */
static void snapshots_tell_by_hash_or_by_epochs(void **state)
{
    struct mark_epochs ours = history(), empty = {.count = 0}, other = {.count = 0}, early = {.count = 0};
    static const struct {
        const char *what;
        uint64_t index;
        const char *hash;
        enum mark_verdict ours, other, empty;
    } rows[] = {
        {"no batch is known", 0, "", MARK_HELD, MARK_HELD, MARK_HELD},
        {"above the snapshot", 36, D, MARK_UNKNOWN, MARK_UNKNOWN, MARK_UNKNOWN},
        {"at the snapshot", 35, D, MARK_HELD, MARK_HELD, MARK_HELD},
        {"at the snapshot, another batch", 35, A, MARK_DIFFERS, MARK_DIFFERS, MARK_DIFFERS},
        {"in the newest epoch", 34, A, MARK_HELD, MARK_DIFFERS, MARK_UNKNOWN},
        {"in an epoch that both have", 29, A, MARK_HELD, MARK_HELD, MARK_UNKNOWN},
        {"the first batch of an epoch", 30, C, MARK_HELD, MARK_DIFFERS, MARK_UNKNOWN},
    };

    /* went another way after batch 29: the same epoch number, the same index, another leader */
    mark_epochs_add(&other, 3, 10, A);
    mark_epochs_add(&other, 5, 20, B);
    mark_epochs_add(&other, 6, 30, D);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mark m = mark_at(rows[i].index, rows[i].hash, &ours);

        print_message("# %s\n", rows[i].what);
        assert_int_equal(rows[i].ours, mark_check_snapshot(&m, 35, D, &ours));
        assert_int_equal(rows[i].other, mark_check_snapshot(&m, 35, D, &other));
        assert_int_equal(rows[i].empty, mark_check_snapshot(&m, 35, D, &empty));
    }
    /* the other history goes on in the mark's epoch for longer than the mark, but the next epoch came sooner there */
    mark_epochs_add(&early, 3, 10, A);
    mark_epochs_add(&early, 5, 20, B);
    mark_epochs_add(&early, 7, 22, D);
    assert_int_equal(
        MARK_DIFFERS,
        mark_check_snapshot(&(struct mark){.index = 25, .hash = A, .since = ours.items[1]}, 35, D, &early));
}

static void a_full_list_forgets_its_oldest(void **state)
{
    struct mark_epochs list = {.count = 0};
    struct mark m;

    mark_epochs_add(&list, 1, 1, A);
    m = mark_at(1, A, &list);
    for (int i = 2; i <= MARK_EPOCHS_MAX; i++)
        mark_epochs_add(&list, i, (uint64_t)i, B);
    assert_int_equal(MARK_HELD, mark_check_snapshot(&m, 5000, D, &list));
    mark_epochs_add(&list, 5000, 5000, D);
    assert_int_equal(MARK_EPOCHS_MAX, list.count);
    assert_int_equal(2, list.items[0].epoch);
    assert_int_equal(MARK_UNKNOWN, mark_check_snapshot(&m, 5000, D, &list));
    mark_epochs_add(&list, 5000, 5001, A); /* known already */
    assert_string_equal(D, list.items[list.count - 1].hash);
}

static void json_comes_back_as_it_was(void **state)
{
    struct mark_epochs h = history(), again;
    struct mark m = mark_at(25, D, &h), read;
    json_t *json = mark_json(&m), *list = mark_epochs_json(&h);

    memset(&read, 0xff, sizeof(read));
    assert_int_equal(0, mark_parse(&read, json, NULL));
    assert_string_equal("x", read.cluster);
    assert_int_equal(25, read.index);
    assert_string_equal(D, read.hash);
    assert_int_equal(5, read.since.epoch);
    assert_int_equal(20, read.since.index);
    assert_string_equal(B, read.since.hash);
    assert_int_equal(0, mark_epochs_parse(&again, list, NULL));
    assert_int_equal(3, again.count);
    assert_string_equal(C, again.items[2].hash);
    assert_int_equal(0, mark_epochs_parse(&again, NULL, NULL));
    assert_int_equal(0, again.count);
    json_decref(json);
    json_decref(list);
}

static void what_is_not_a_mark_is_refused(void **state)
{
    static const char *const marks[] = {
        "[]",
        "{}",
        "null",
        "{\"cluster\":\"x\",\"index\":-1,\"hash\":\"\",\"epoch\":0,\"since\":0,\"since_hash\":\"\"}",
        "{\"cluster\":\"x\",\"index\":1,\"hash\":\"zz\",\"epoch\":0,\"since\":0,\"since_hash\":\"\"}",
        "{\"cluster\":\"x\",\"index\":1,\"hash\":\"\",\"epoch\":0,\"since\":2,\"since_hash\":\"\"}",
        "{\"cluster\":\"0123456789012345678901234567890123456789\",\"index\":1,\"hash\":\"\",\"epoch\":0,"
        "\"since\":0,\"since_hash\":\"\"}",
    };
    static const char *const lists[] = {
        "{}",
        "[1]",
        "[[1,1]]",
        "[[0,1,\"" A "\"]]",
        "[[1,0,\"" A "\"]]",
        "[[1,1,\"" A "x\"]]",
        "[[1,1,\"\"]]",
        "[[2,1,\"" A "\"],[1,2,\"" A "\"]]",
        "[[1,2,\"" A "\"],[2,2,\"" A "\"]]",
    };
    struct error error;

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        json_t *json = json_loads(marks[i], JSON_DECODE_ANY, NULL);
        struct mark untouched = {.index = 7};

        assert_non_null(json);
        assert_int_equal(ERR_CORRUPT, mark_parse(&untouched, json, &error));
        assert_int_equal(7, untouched.index);
        json_decref(json);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        json_t *json = json_loads(lists[i], 0, NULL);
        struct mark_epochs untouched = {.count = 9};

        assert_non_null(json);
        assert_int_equal(ERR_CORRUPT, mark_epochs_parse(&untouched, json, &error));
        assert_int_equal(9, untouched.count);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_rises_and_never_falls),
        cmocka_unit_test(a_mark_without_a_hash_takes_the_one_it_meets),
        cmocka_unit_test(snapshots_tell_by_hash_or_by_epochs),
        cmocka_unit_test(a_full_list_forgets_its_oldest),
        cmocka_unit_test(json_comes_back_as_it_was),
        cmocka_unit_test(what_is_not_a_mark_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
