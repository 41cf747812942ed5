/* What the clocks of others say of one's own. Times in seconds for the eye; the clocks are given as how far each is from
 * the true time.
 */
#include "cronsched/cluster/clock_voices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define BOOT  INT64_C(1763800000000) /* the true time less this machine's boot time */
#define NOW   UINT64_C(1000000)
#define NONE  INT64_MAX
#define HOURS 7200

struct voice {
    const char *id; /* NULL: the end */
    int64_t off_s;  /* its clock, as it is set */
    int64_t jump_s; /* what it does not believe of that */
    int64_t age_s;
};

static void hear(struct clock_voices *v, const struct voice *voice)
{
    struct clock_voice heard = {.wall_ms = BOOT + 1000 * voice->off_s,
                                .jump_ms = 1000 * voice->jump_s,
                                .heard_ms = NOW - (uint64_t)(1000 * voice->age_s)};

    snprintf(heard.id, sizeof(heard.id), "%s", voice->id);
    clock_voices_hear(v, &heard);
}

static void test_the_median_is_the_reference(void **state)
{
    static const struct {
        const char *name;
        int64_t own_s;
        struct voice voices[6];
        int64_t offset_s; /* NONE: nobody was heard */
    } rows[] = {
        {"nobody was heard", 0, {{0}}, NONE},
        {"those who were heard long ago do not count", HOURS, {{"b", 0, 0, 16}, {"", 0, 0, 16}}, NONE},
        {"all agree", 0, {{"b", 0, 0, 0}, {"c", 0, 0, 0}, {"", 0, 0, 0}}, 0},
        {"own clock is wrong", HOURS, {{"b", 0, 0, 0}, {"c", 0, 0, 0}, {"", 0, 0, 0}}, HOURS},
        {"own clock is wrong, and ZooKeeper's with it",
         HOURS,
         {{"b", 0, 0, 0}, {"c", 0, 0, 0}, {"", HOURS, 0, 0}},
         HOURS},
        {"another's is wrong, and ZooKeeper's with it",
         0,
         {{"b", HOURS, 0, 0}, {"c", 0, 0, 0}, {"", HOURS, 0, 0}},
         0},
        {"ZooKeeper's alone is wrong", 0, {{"b", 0, 0, 0}, {"c", 0, 0, 0}, {"", HOURS, 0, 0}}, 0},
        {"of two, ZooKeeper's decides: the other is wrong", 0, {{"b", HOURS, 0, 0}, {"", 0, 0, 0}}, 0},
        {"of two, ZooKeeper's decides: own is wrong", HOURS, {{"b", 0, 0, 0}, {"", 0, 0, 0}}, HOURS},
        {"of two without ZooKeeper's, nothing is held against one's own", HOURS, {{"b", 0, 0, 0}}, 0},
        {"alone beside ZooKeeper's, the difference is reported", HOURS, {{"", 0, 0, 0}}, HOURS},
        {"one that does not believe its jump counts with what it believes",
         0,
         {{"b", HOURS, HOURS, 0}, {"", HOURS, 0, 0}},
         0},
        {"five, of which two are wrong",
         0,
         {{"b", HOURS, 0, 0}, {"c", -HOURS, 0, 0}, {"d", 1, 0, 0}, {"e", 0, 0, 0}},
         0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct clock_voices v = {0};
        int64_t offset_ms = 0;
        bool known;

        for (const struct voice *voice = rows[i].voices; voice->id; voice++)
            hear(&v, voice);
        known = clock_voices_offset(&v, BOOT + 1000 * rows[i].own_s, NOW, &offset_ms);
        if (known != (rows[i].offset_s != NONE) || (known && offset_ms != 1000 * rows[i].offset_s))
            fail_msg("%s: %d, %lld ms", rows[i].name, known, (long long)offset_ms);
    }
}

static void test_a_jump_needs_a_majority_of_the_others(void **state)
{
    static const struct {
        const char *name;
        struct voice voices[6];
        bool confirmed;
    } rows[] = {
        {"nobody was heard", {{0}}, false},
        {"ZooKeeper alone agrees, nobody else is there", {{"", HOURS, 0, 0}}, true},
        {"ZooKeeper's clock is this machine's: two others know better",
         {{"b", 0, 0, 0}, {"c", 0, 0, 0}, {"", HOURS, 0, 0}},
         false},
        {"two voices and no majority", {{"b", 0, 0, 0}, {"", HOURS, 0, 0}}, false},
        {"a clock that was set right", {{"b", HOURS, 0, 0}, {"c", HOURS, 0, 0}, {"", HOURS, 0, 0}}, true},
        {"all machines slept, and nobody believes its own clock yet",
         {{"b", HOURS, HOURS, 0}, {"c", HOURS, HOURS, 0}, {"", HOURS, 0, 0}},
         true},
        {"two of four jump together",
         {{"b", HOURS, HOURS, 0}, {"c", 0, 0, 0}, {"d", 0, 0, 0}, {"", 0, 0, 0}},
         false},
        {"what was heard before the jump says nothing", {{"b", HOURS, 0, 5}, {"", HOURS, 0, 5}}, false},
        {"ZooKeeper is heard first, and two others are yet to be heard",
         {{"b", 0, 0, 5}, {"c", 0, 0, 5}, {"", HOURS, 0, 0}},
         false},
        {"one of two agrees, and the other is yet to be heard",
         {{"b", HOURS, 0, 0}, {"c", 0, 0, 5}, {"", HOURS, 0, 0}},
         true},
        {"who has not been heard for long is not waited for", {{"b", 0, 0, 16}, {"", HOURS, 0, 0}}, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct clock_voices v = {0};

        for (const struct voice *voice = rows[i].voices; voice->id; voice++)
            hear(&v, voice);
        if (clock_voices_confirm(&v, BOOT + 1000 * HOURS, NOW - 3000, NOW) != rows[i].confirmed)
            fail_msg("%s", rows[i].name);
    }
}

static void test_the_newest_word_of_each_counts(void **state)
{
    struct clock_voices v = {0};
    int64_t offset_ms;

    (void)state;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 2 * REPLICATED_MEMBERS_MAX; i++) { /* more than there is room for */
            char id[16];

            snprintf(id, sizeof(id), "r%d", i);
            hear(&v, &(struct voice){id, round, 0, 3 - round});
        }
    assert_int_equal(v.count, REPLICATED_MEMBERS_MAX + 1);
    assert_true(clock_voices_offset(&v, BOOT, NOW, &offset_ms));
    assert_int_equal(offset_ms, -2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_median_is_the_reference),
        cmocka_unit_test(test_a_jump_needs_a_majority_of_the_others),
        cmocka_unit_test(test_the_newest_word_of_each_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
