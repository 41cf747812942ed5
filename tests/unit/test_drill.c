/* Drills: what the ledger of the canaries is read as, how it is measured, and which verdict fail. */
#include "cronsched/drill/drill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    struct drill_ledger ledger;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    snprintf(place->folder, sizeof(place->folder), "/tmp/test-drill-XXXXXX");
    if (!place || !mkdtemp(place->folder))
        return -1;
    place->ledger.fd = -1;
    *state = place;
    rmdir(place->folder); /* a folder that is not there yet is made */
    return drill_ledger_open(&place->ledger, place->folder, "1a2b3c4d", NULL);
}

static int tear_down(void **state)
{
    struct place *place = *state;
    char path[sizeof(place->ledger.folder) + 8];

    snprintf(path, sizeof(path), "%s/lines", place->ledger.folder);
    unlink(path);
    rmdir(place->ledger.folder);
    drill_ledger_release(&place->ledger);
    rmdir(place->folder);
    free(place);
    return 0;
}

static void append(struct place *place, const char *text)
{
    char path[sizeof(place->ledger.folder) + 8];
    FILE *f;

    snprintf(path, sizeof(path), "%s/lines", place->ledger.folder);
    f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(drill_ledger_read(&place->ledger, NULL), 0);
}

static void test_lines_are_read_as_they_come(void **state)
{
    struct place *place = *state;
    const struct drill_line *line;

    append(place, "start drill-1a2b3c4d-my-docker-3@20261122T030000Z 1 7 100.25\nend drill-1a2b3");
    assert_int_equal(place->ledger.count, 1);
    append(place, "c4d-my-docker-3@20261122T030000Z 1 7 101.00\n");
    assert_int_equal(place->ledger.count, 2);
    assert_int_equal(place->ledger.torn, 0);
    line = &place->ledger.lines[0];
    assert_int_equal(line->canary, 3);
    assert_int_equal(line->epoch, 7);
    assert_int_equal(line->fire_ms, INT64_C(1795316400000));
    assert_false(line->end);
    assert_true(line[1].end);
    assert_int_equal(line[1].at_ms - line[0].at_ms, 750);
}

static void test_what_is_no_line_counts_as_torn(void **state)
{
    static const char *const rubbish[] = {
        "\n",
        "start\n",
        "begin drill-1a2b3c4d-docker-0@20261122T030000Z 1 7 100.25\n",
        "start drill-1a2b3c4d-docker-0 1 7 100.25\n",
        "start drill-1a2b3c4d-docker-0@yesterday 1 7 100.25\n",
        "start drill-1a2b3c4d-docker-0@20261122T030000Z 1 100.25\n",
        "start drill-1a2b3c4d-docker-0@20261122T030000Z 1 7 100.25 more\n",
    };
    struct place *place = *state;
    char longer[1024];

    for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++)
        append(place, rubbish[i]);
    memset(longer, 'x', sizeof(longer) - 2);
    memcpy(longer + sizeof(longer) - 2, "\n", 2);
    append(place, longer);
    assert_int_equal(place->ledger.torn, sizeof(rubbish) / sizeof(rubbish[0]) + 1);
    assert_int_equal(place->ledger.count, 0);
    append(place, "start drill-1a2b3c4d-docker-0@20261122T030000Z 1 7 100.25\n"); /* and it goes on */
    assert_int_equal(place->ledger.count, 1);
}

static void test_each_shortcoming_fails_the_drill(void **state)
{
    struct drill_verdict good = {0}, verdict;

    assert_true(drill_passed(&good));
    for (size_t i = 0; i < 6; i++) {
        verdict = good;
        *(size_t *[]){&verdict.doubled_count, &verdict.lost_count, &verdict.unaccounted_count,
                      &verdict.skipped_count, &verdict.open,       &verdict.torn}[i] = 1;
        assert_false(drill_passed(&verdict));
    }
}

static void test_the_report_has_the_distribution(void **state)
{
    struct drill_repeat repeats[100] = {0};
    struct drill_point point = {.name = "random"};
    struct drill d = {.fault = &drill_faults[0],
                      .point = &point,
                      .engines = {"docker"},
                      .engine_count = 1,
                      .done = repeats,
                      .done_count = 100};
    json_t *report, *gap;

    for (int i = 0; i < 100; i++) {
        repeats[i].gap_ms = 100 - i;
        repeats[i].first_ms[0] = -1; /* never */
    }
    report = drill_report(&d);
    gap = json_object_get(report, "gap_ms");
    assert_int_equal(json_integer_value(json_object_get(gap, "least")), 1);
    assert_int_equal(json_integer_value(json_object_get(gap, "median")), 50);
    assert_int_equal(json_integer_value(json_object_get(gap, "p99")), 99);
    assert_int_equal(json_integer_value(json_object_get(gap, "max")), 100);
    assert_true(json_is_null(json_object_get(json_object_get(report, "first_fire_ms"), "docker")));
    assert_true(json_is_true(json_object_get(report, "passed")));
    json_decref(report);
}

static void test_a_lab_that_is_none_is_refused(void **state)
{
    struct place *place = *state;
    struct drill_lab lab = {0};
    struct error error = {0};
    char path[128];
    FILE *f;

    assert_int_equal(drill_lab_open(&lab, place->folder, &error), ERR_NOT_FOUND);
    drill_lab_release(&lab);
    snprintf(path, sizeof(path), "%s/lab.json", place->folder);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"servers\": \"unix:/tmp/x\"}", f);
    fclose(f);
    assert_int_equal(drill_lab_open(&lab, place->folder, &error), ERR_CORRUPT);
    drill_lab_release(&lab);
    assert_int_equal(chmod(path, 0666), 0); /* what it names would be run as whoever wrote it wants */
    assert_int_equal(drill_lab_open(&lab, place->folder, &error), ERR_DENIED);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(place->folder, 0777), 0);
    assert_int_equal(drill_lab_open(&lab, place->folder, &error), ERR_DENIED);
    assert_int_equal(chmod(place->folder, 0700), 0);
    drill_lab_release(&lab);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_are_read_as_they_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_line_counts_as_torn, set_up, tear_down),
        cmocka_unit_test(test_each_shortcoming_fails_the_drill),
        cmocka_unit_test(test_the_report_has_the_distribution),
        cmocka_unit_test_setup_teardown(test_a_lab_that_is_none_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
