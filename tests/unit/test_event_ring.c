/* The ring of events: bounded, in order, and whoever comes back goes on behind the event that he had, or is told that he cannot. */
#include "cronsched/api/event_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(s) ((char *)(uintptr_t)(s)) /* it is read only */
#define CLUSTER "0123abcd-0000-0000-0000-000000000000"

/* A batch in which so many runs changed. */
static void add(struct event_ring *ring, uint64_t index, size_t runs)
{
    struct history_run *rows = calloc(runs + 1, sizeof(*rows));
    struct history_record record = {.kind = TEXT("started"), .job = TEXT("a")};
    struct history_write w = {
        .index = index, .runs = rows, .run_count = runs, .records = &record, .record_count = 1};

    for (size_t i = 0; i < runs; i++)
        rows[i] = (struct history_run){.run = TEXT("a@20261122T030000Z"),
                                       .job = TEXT("a"),
                                       .fire_ms = 1796080263033,
                                       .state = TEXT("ended"),
                                       .verdict = i % 2 ? NULL : TEXT("failed")};
    event_ring_add(ring, &w);
    free(rows);
}

static void assert_after(const struct event_ring *ring, const char *id, uint64_t index, uint32_t number)
{
    uint64_t at;

    if (event_ring_after(ring, id, CLUSTER, &at) < 0)
        fail_msg("not found: %s", id);
    assert_int_equal(event_ring_at(ring, at)->index, index);
    assert_int_equal(event_ring_at(ring, at)->number, number);
}

static void it_goes_on_behind_what_was_had(void **state)
{
    struct event_ring *ring = event_ring_new();
    char id[EVENT_ID_SIZE];
    uint64_t at;

    (void)state;
    add(ring, 7, 2);
    add(ring, 8, 0);
    add(ring, 9, 3);
    assert_int_equal(event_ring_end(ring) - event_ring_first(ring), 5);
    assert_string_equal(event_id(event_ring_at(ring, 0), CLUSTER, id), "7.1.0123abcd");
    assert_after(ring, "7.1.0123abcd", 7, 2);
    assert_after(ring, "7.2.0123abcd", 9, 1);
    assert_after(ring, "8.4294967295.0123abcd", 9, 1);
    assert_after(ring, "9.2.0123abcd", 9, 3);
    assert_int_equal(event_ring_after(ring, "9.3.0123abcd", CLUSTER, &at), 0);
    assert_int_equal(at, event_ring_end(ring));
    assert_int_equal(event_ring_after(ring, "6.4294967295.0123abcd", CLUSTER, &at), 0);
    assert_int_equal(at, 0);
    assert_non_null(strstr(event_ring_at(ring, 0)->data, "\"verdict\":\"failed\",\"fire_time\":\"2026-"));
    assert_non_null(strstr(event_ring_at(ring, 1)->data, "\"verdict\":null"));
    event_ring_free(ring);
}

static void ids_that_nobody_gave_are_not_found(void **state)
{
    static const char *const bad[] = {"",
                                      "7",
                                      "7.1",
                                      "7.1.",
                                      "7.1.0123abc",
                                      "7.1.9999abcd",
                                      "x.1.0123abcd",
                                      "7.x.0123abcd",
                                      "-7.1.0123abcd",
                                      "10.1.0123abcd",
                                      "5.1.0123abcd",
                                      " 7.1.0123abcd",
                                      "7.1.0123abcde",
                                      "99999999999999999999.1.0123abcd",
                                      "7.4294967296.0123abcd"};
    struct event_ring *ring = event_ring_new();
    uint64_t at;

    (void)state;
    add(ring, 7, 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (event_ring_after(ring, bad[i], CLUSTER, &at) != ERR_NOT_FOUND)
            fail_msg("found: %s", bad[i]);
    event_ring_free(ring);
}

static void it_is_bounded_and_knows_what_is_gone(void **state)
{
    struct event_ring *ring = event_ring_new();
    uint64_t at;

    (void)state;
    for (uint64_t i = 1; i <= EVENT_RING_EVENTS_MAX / 100 + 10; i++)
        add(ring, i, 100);
    assert_int_equal(event_ring_end(ring) - event_ring_first(ring), EVENT_RING_EVENTS_MAX);
    assert_int_equal(event_ring_after(ring, "1.1.0123abcd", CLUSTER, &at), ERR_NOT_FOUND);
    {
        const struct event *oldest = event_ring_at(ring, event_ring_first(ring));
        struct event before = {.index = oldest->index, .number = oldest->number - 1};
        char id[EVENT_ID_SIZE];

        assert_after(ring, event_id(&before, CLUSTER, id), oldest->index, oldest->number);
        before.number--;
        assert_int_equal(event_ring_after(ring, event_id(&before, CLUSTER, id), CLUSTER, &at), ERR_NOT_FOUND);
    }
    event_ring_free(ring);
}

/* Batches that a snapshot stands for were not seen. */
static void a_gap_makes_all_that_was_before_unknown(void **state)
{
    struct event_ring *ring = event_ring_new();
    uint64_t at;

    (void)state;
    add(ring, 7, 2);
    add(ring, 20, 1);
    assert_int_equal(event_ring_end(ring) - event_ring_first(ring), 1);
    assert_int_equal(event_ring_after(ring, "7.2.0123abcd", CLUSTER, &at), ERR_NOT_FOUND);
    assert_after(ring, "19.4294967295.0123abcd", 20, 1);
    event_ring_free(ring);
}

static void changes_of_jobs_and_leaders_are_events(void **state)
{
    static const char *const kinds[] = {"job", "arm", "pause", "takeover", "note", "delete"};
    struct event_ring *ring = event_ring_new();
    struct history_record records[6];
    struct history_write w = {.index = 1, .records = records, .record_count = 6};

    (void)state;
    for (size_t i = 0; i < 6; i++)
        records[i] =
            (struct history_record){.kind = TEXT(kinds[i]), .job = i == 2 || i == 3 ? NULL : TEXT("a")};
    event_ring_add(ring, &w);
    assert_int_equal(event_ring_end(ring), 4);
    assert_string_equal(event_ring_at(ring, 0)->data, "{\"kind\":\"job\",\"job\":\"a\",\"index\":1}");
    assert_string_equal(event_ring_at(ring, 1)->data, "{\"kind\":\"pause\",\"index\":1}");
    assert_int_equal(event_ring_at(ring, 2)->kind, EVENT_CLUSTER);
    assert_int_equal(event_ring_at(ring, 3)->number, 4);
    event_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on_behind_what_was_had),
        cmocka_unit_test(ids_that_nobody_gave_are_not_found),
        cmocka_unit_test(it_is_bounded_and_knows_what_is_gone),
        cmocka_unit_test(a_gap_makes_all_that_was_before_unknown),
        cmocka_unit_test(changes_of_jobs_and_leaders_are_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
