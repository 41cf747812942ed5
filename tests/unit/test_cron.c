/* One expression: what is read, what is printed, what is refused and where, and the search on local time. */
#include "jobs/time/cron.h"

#include "jobs/time/civil.h"
#include "tests/support/naive_cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct cron_context plain = {.dialect = SCHEDULE_CRON, .job = "nightly-report", .seed = 42};
static const struct cron_context quartz = {.dialect = SCHEDULE_QUARTZ};

static struct cron parse_in(const char *text, const struct cron_context *context)
{
    struct cron cron;
    struct error error;

    memset(&cron, 0xaa, sizeof(cron)); /* what parse leaves out would show */
    if (cron_parse(text, strlen(text), context, &cron, NULL, &error) < 0)
        fail_msg("'%s' is refused: %s", text, error.text);
    return cron;
}

static struct cron parse(const char *text)
{
    return parse_in(text, &plain);
}

static int64_t local(const char *text)
{
    struct civil_text civil;

    assert_int_equal(civil_parse(text, strlen(text), &civil, NULL, NULL), 0);
    return civil.local_s;
}

/* ---- canonical text ---- */

static const struct {
    const char *text, *canonical;
} canonicals[] = {
    {"* * * * *", "* * * * *"},
    {"\t 0   2 *\t*  * ", "0 2 * * *"},
    {"*/1 */1 */1 */1 */1", "* * * * *"},
    {"*/15 9-17 * * mon-fri", "*/15 9-17 * * 1-5"},
    {"0,15,30,45 0 * * *", "0-45/15 0 * * *"},
    {"0-59/15 0 * * *", "0-45/15 0 * * *"}, /* fixed, unlike a star and a slash */
    {"*/15,7 * * * *", "*/15,7 * * * *"},
    {"0-59 0-23 * * *", "0-59 0-23 * * *"},
    {"5,3,4,3 0 * * *", "3-5 0 * * *"},
    {"0 0 1-31 * *", "0 0 1-31 * *"}, /* restricted, unlike a star */
    {"0 0 ? * ?", "0 0 * * *"},
    {"0 0 * * 0-6", "0 0 * * 0-6"},
    {"0 0 * * 7", "0 0 * * 0"},
    {"0 0 * * SUN,sat", "0 0 * * 0,6"},
    {"0 0 * * FRI-SUN", "0 0 * * 0,5-6"},
    {"0 0 * * 5-7", "0 0 * * 0,5-6"},
    {"0 0 * * SUN-TUE", "0 0 * * 0-2"},
    {"0 0 * * SUN-SUN", "0 0 * * 0"},
    {"0 0 * * 0-7", "0 0 * * 0-6"},
    {"0 0 * * */2", "0 0 * * 0-6/2"},
    {"0 0 * JAN-MAR,dec *", "0 0 * 1-3,12 *"},
    {"0 0 * 1-12 *", "0 0 * * *"},
    {"0 0 13 * +FRI", "0 0 13 * +5"},
    {"0 0 * * +FRI", "0 0 * * 5"},
    {"0 0 13 * +*", "0 0 13 * *"},
    {"0 0 L * *", "0 0 L * *"},
    {"0 0 LW,L-3,15W,L-2W,1 * *", "0 0 1,15W,LW,L-2W,L-3 * *"},
    {"0 0 * * FRI#L", "0 0 * * 5L"},
    {"0 0 * * FRIL,5#2,MON#1", "0 0 * * 1#1,5#2,5L"},
    {"0 0 * * 7#2", "0 0 * * 0#2"},
    {"0 * * * * *", "* * * * *"},
    {"*/60 0 0 * * *", "*/60 0 0 * * *"}, /* a wildcard, though it is only second 0 */
    {"30 0 0 1 1 *", "30 0 0 1 1 *"},
    {"0 0 0 1 1 * *", "0 0 1 1 *"},
    {"0 0 0 1 1 * 1970-2199", "0 0 1 1 *"},
    {"0 0 0 1 1 * 2026", "0 0 0 1 1 * 2026"},
    {"0 0 0 1 1 * */2", "0 0 0 1 1 * 1970-2198/2"},
    {"0 0 0 1 1 * 2026-2199/2", "0 0 0 1 1 * 2026-2198/2"},
    {"0/1 0 0 ? * MON", "0-59 0 0 * * 1"}, /* one `?`, no weekday number: Quartz */
    {"0 0 12 ? * 6#3", NULL},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
    {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
    {"@minutely", "* * * * *"},
    {" @daily ", "0 0 * * *"},
    {"9999-9999 * * * *", NULL},
    {"*/9999 * * * *", "*/60 * * * *"},
    {"0-59/60 * * * *", "0 * * * *"},
};

static void canonical_text_is_short_and_parses_to_the_same(void **state)
{
    char text[CRON_TEXT_MAX];

    for (size_t i = 0; i < COUNT(canonicals); i++) {
        struct cron cron, again;

        if (!canonicals[i].canonical) {
            assert_int_equal(
                cron_parse(canonicals[i].text, strlen(canonicals[i].text), &plain, &cron, NULL, NULL),
                ERR_INVALID);
            continue;
        }
        cron = parse(canonicals[i].text);
        cron_print(&cron, text, sizeof(text));
        if (strcmp(text, canonicals[i].canonical) != 0)
            fail_msg("'%s' prints as '%s', not '%s'", canonicals[i].text, text, canonicals[i].canonical);
        again = parse(text);
        if (memcmp(&cron, &again, sizeof(cron)) != 0)
            fail_msg("'%s' is not '%s'", canonicals[i].text, text);
    }
}

static void quartz_prints_as_cron(void **state)
{
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"0 15 10 ? * MON-FRI", "15 10 * * 1-5"},
        {"0 15 10 ? * 2-6", "15 10 * * 1-5"},
        {"0 15 10 ? * 1", "15 10 * * 0"},
        {"0 15 10 ? * L", "15 10 * * 6"},
        {"0 15 10 ? * 6l", "15 10 * * 5L"},
        {"0 15 10 ? * 6#3", "15 10 * * 5#3"},
        {"0 15 10 lw * ?", "15 10 LW * *"},
        {"0 15 10 l-3w * ?", "15 10 L-3W * *"},
        {"0 0/5 14 * * ?", "0-55/5 14 * * *"},
        {"0 0 12 1/5 * ?", "0 12 1-31/5 * *"},
        {"0 55-5 9 * * ?", "0-5,55-59 9 * * *"},
        {"50-10/5 0 12 * * ?", "0-10/5,50,55 0 12 * * *"},
        {"0 0 9 ? * SAT-SUN", "0 9 * * 0,6"},
        {"0 0 9 ? * FRI-TUE/2", "0 9 * * 0,2,5"},
        {"0 0 9 1 NOV-FEB ?", "0 9 1 1-2,11-12 *"},
        {"0 0 0 1 JAN-JUN/2 ?", "0 0 1 1-5/2 *"},
        {"0 0 0 28-3/2 * ?", "0 0 1,3,28,30 * *"},
        {"0 15 10 * * ? 2026/3", "0 15 10 * * * 2026-2197/3"},
        {"@daily", "0 0 * * *"},
    };
    char text[CRON_TEXT_MAX];

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cron cron = parse_in(cases[i].text, &quartz), again;

        cron_print(&cron, text, sizeof(text));
        if (strcmp(text, cases[i].canonical) != 0)
            fail_msg("'%s' prints as '%s', not '%s'", cases[i].text, text, cases[i].canonical);
        again = parse(text);
        assert_memory_equal(&cron, &again, sizeof(cron));
    }
}

static void random_expressions_print_and_parse_to_the_same(void **state)
{
    char text[CRON_TEXT_MAX], again_text[CRON_TEXT_MAX];
    struct naive_cron naive;

    random_state = 5;
    for (int i = 0; i < 20000; i++) {
        struct cron cron, again;

        naive_random(&naive, 5 + i % 3, 0);
        cron = parse(naive.text);
        again = parse(cron_print(&cron, text, sizeof(text)));
        if (memcmp(&cron, &again, sizeof(cron)) != 0)
            fail_msg("'%s' is not '%s'", naive.text, text);
        assert_string_equal(cron_print(&again, again_text, sizeof(again_text)), text);
    }
}

/* ---- refusals ---- */

static const struct {
    const char *text;
    size_t column;
    const char *why;
} faults[] = {
    {"", 0, "the schedule is empty"},
    {"   ", 0, "the schedule is empty"},
    {"* * * *", 7, "4 fields: cron has five"},
    {"* * * * * * * *", 14, "more than 7 fields"},
    {"*/5 * * * * /usr/bin/x", 12, "belongs into 'command'"},
    {"0 3 * * * root /usr/bin/x", 10, "belongs into 'command'"},
    {"0 3 * * * backup.sh --all", 10, "belongs into 'command'"},
    {"0 0 9 * * MONDAY", 10, "'MONDAY' is not a name"},
    {"\"0 3 * * *\"", 0, "one pair of quotes"},
    {"'0 3 * * *'", 0, "one pair of quotes"},
    {"23-7/2 * * * *", 0, "write 23-59/2,1-7/2"},
    {"0 23-7/2 * * *", 2, "write 23,1-7/2"},
    {"0 22-7/3 * * *", 2, "write 22,1-7/3"},
    {"0 20-2/7 * * *", 2, "write 20"},
    {"0 22-6 * * *", 2, "write 22-23,0-6"},
    {"0 23-0 * * *", 2, "write 23,0"},
    {"0 24 * * *", 2, "hour 24 is out of range: 0-23 are allowed"},
    {"60 0 * * *", 0, "minute 60 is out of range: 0-59"},
    {"0 0 0 * *", 4, "day of month 0 is out of range: 1-31"},
    {"0 0 * 13 *", 6, "month 13 is out of range"},
    {"0 0 * * 8", 8, "day of week 8 is out of range: 0-7"},
    {"0 0 0 1 1 * 1969", 12, "year 1969 is out of range: 1970-2199"},
    {"0 0 0 1 1 * 2200", 12, "year 2200 is out of range"},
    {"0/15 * * * *", 1, "write 0-59/15"},
    {"* * * * 1/2", 9, "write 1-6/2"},
    {"/5 * * * *", 0, "write */5"},
    {"5-1 * * * *", 0, "write 5-59,0-1"},
    {"0 0 * * FRI-MON", 8, "write 5-6,0-1"},
    {"0 0 * * 7-1", 8, "write 0-1"},
    {"1,,2 * * * *", 2, "an empty item"},
    {"1, * * * *", 2, "an empty item"},
    {",1 * * * *", 0, "an empty item"},
    {"? * * * *", 0, "'?' is for the two day fields"},
    {"0 0 ?,1 * *", 4, "'?' cannot be combined with anything"},
    {"*/0 * * * *", 2, "step 0"},
    {"*/ * * * *", 2, "a number must follow '/'"},
    {"*/-1 * * * *", 2, "a number must follow '/'"},
    {"*/10000 * * * *", 2, "at most four digits"},
    {"00000 * * * *", 0, "out of range"},
    {"1x * * * *", 1, "unexpected 'x'"},
    {"1:2 * * * *", 1, "unexpected ':'"},
    {"0 0 * JAN1 *", 6, "'JAN1' is not a name"},
    {"0 0 * JANFEB *", 6, "'JANFEB' is not a name"},
    {"0 0 * JANU *", 6, "'JANU' is not a name"},
    {"0 0 * * MOND", 8, "'MOND' is not a name"},
    {"0 0 * * 1#1.5", 11, "unexpected '.': ',' or a blank must follow '1#1'"},
    {"9-17:30 * * * *", 4, "unexpected ':': ',' or a blank must follow '9-17'"},
    {"$ * * * *", 0, "minute: unexpected '$': 0-59 are allowed"},
    {"0 0 * JAN- *", 10, "month: 1-12 or a name must follow '-'"},
    {"0 0 * * 1-,2", 10, "day of week: 0-7 or a name must follow '-'"},
    {"0 0 1#2 * *", 5, "'#': it is for the day of week, as in FRI#2"},
    {"0 0 * * 5W", 9, "'W': it is for the day of month, as in 15W"},
    {"-1 * * * *", 0, "there are no negative numbers"},
    {"0 0 * * MON#1W", 13, "unexpected 'W'"},
    {"0 0 * * 1#0", 10, "1-5 or L must follow '#'"},
    {"0 0 * * 1#6", 10, "1-5 or L must follow '#'"},
    {"0 0 * * L", 8, "L needs a day before it"},
    {"0 0 l * *", 4, "upper case"},
    {"0 0 15w * *", 6, "upper case"},
    {"0 0 L-0 * *", 6, "L- takes 1-30"},
    {"0 0 L-31 * *", 6, "L- takes 1-30"},
    {"0 0 1-15W * *", 8, "a single day"},
    {"0 0 *W * *", 5, "unexpected 'W'"},
    {"0 0 * * 1,+2", 10, "'+' comes first"},
    {"0 0 * * ++1", 9, "'+' comes first"},
    {"0 0 * * +", 9, "an empty item"},
    {"0 0 +1 * *", 4, "'+' is for the day of week"},
    {"0\xc2\xa0"
     "0 * * *",
     1, "outside ASCII (byte 0xc2)"},
    {"0 0 \x01 * *", 4, "a control character (byte 0x01)"},
    {"0 0 * * *\n", 9, "a control character (byte 0x0a)"},
    {"H/61 * * * *", 0, "larger than the range of 60"},
    {"H(5) * * * *", 3, "H takes a range"},
    {"H(5-1) * * * *", 0, "runs backwards"},
    {"H(1-5 * * * *", 5, "')' is missing"},
    {"H(1-70) * * * *", 4, "out of range"},
    {"h * * * *", 0, "'h' is not a number"},
    {"0 0 0 1 1 * H", 12, "'H' cannot choose a year"},
    {"0 0 0 1 1 * ~", 12, "'~' cannot choose a year"},
    {"20~10 * * * *", 0, "runs backwards"},
    {"0 0 12 ? * 2", 11, "ambiguous"},
    {"0 0 12 ? * MON,3", 15, "ambiguous"},
    {"0 10 * * ? *", 9, "put a second in front"},
    {"0 10 1 1 ? 2026", 9, "put a second in front"},
    {"cron(0 10 * * ? *)", 0, "without its wrapper"},
    {"rate(5 minutes)", 0, "rate(...) as @every"},
    {"@Daily", 0, "did you mean '@daily'?"},
    {"@dayly", 0, "did you mean '@daily'?"},
    {"@nonsense", 0, "unknown nickname '@nonsense'"},
    {"@daily x", 7, "nothing may follow '@daily'"},
    {"@daily/X", 0, "unknown nickname"},
};

static void faults_are_told_with_their_place(void **state)
{
    for (size_t i = 0; i < COUNT(faults); i++) {
        struct cron cron, before;
        struct error error = {0};
        size_t column = 9999;

        memset(&cron, 0x55, sizeof(cron));
        before = cron;
        if (cron_parse(faults[i].text, strlen(faults[i].text), &plain, &cron, &column, &error) != ERR_INVALID)
            fail_msg("'%s' is accepted", faults[i].text);
        if (column != faults[i].column || !strstr(error.text, faults[i].why))
            fail_msg("'%s': column %zu, '%s'", faults[i].text, column, error.text);
        assert_memory_equal(&cron, &before, sizeof(cron));
    }
}

static void quartz_has_its_own_faults(void **state)
{
    static const char *const texts[] = {
        "* * * * *",       "0 0 12 * * *", "0 0 12 ? * ?",          "0 0 12 ? * 0",  "0 0 12 ? * 8",
        "0 0 12 1,,2 * ?", "H 0 12 * * ?", "~ 0 12 * * ?",          "0 0 12 ? * +2", "0 0 12 ? 1 1 1969",
        "0 0 12 * ? 1",    "? 0 12 * * ?", "0 0 12 * * ? 2027-2026"};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct cron cron;

        if (cron_parse(texts[i], strlen(texts[i]), &quartz, &cron, NULL, NULL) != ERR_INVALID)
            fail_msg("'%s' is accepted", texts[i]);
    }
}

static void quartz_says_which_weekday_is_1(void **state)
{
    struct error error = {0};
    struct cron cron;

    assert_int_equal(cron_parse("0 0 12 ? * 0", 12, &quartz, &cron, NULL, &error), ERR_INVALID);
    assert_string_equal(error.text, "day of week 0 is out of range: 1-7 are allowed, 1 is Sunday");
}

static double milliseconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

/* Fills `size` bytes with repetitions of a piece, then " * * * *". */
static void check_hostile(const char *piece, size_t size)
{
    char *text = malloc(size + 16);
    struct timespec start;
    struct cron cron;

    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = piece[i % strlen(piece)];
    memcpy(text + size, " * * * *", 8);
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(cron_parse(text, size + 8, &plain, &cron, NULL, NULL), ERR_INVALID);
    assert_true(milliseconds_since(&start) < 50);
    free(text);
}

static void hostile_texts_are_refused_at_once(void **state)
{
    static const char nuls[] = "* * \0 * *";
    struct cron cron;

    check_hostile("1,", 100000);
    check_hostile(" ", 200000);
    check_hostile("9", 100000);
    check_hostile("*/", 50000);
    check_hostile("H(", 50000);
    check_hostile("\xff", 50000);
    check_hostile("L-1W,", 2000);
    check_hostile("0,", 2 * CRON_ITEMS_MAX + 1);
    assert_int_equal(cron_parse(nuls, sizeof(nuls) - 1, &plain, &cron, NULL, NULL), ERR_INVALID);
    assert_int_equal(cron_parse("", 0, &plain, &cron, NULL, NULL), ERR_INVALID);
    random_state = 9;
    for (int round = 0; round < 50000; round++) {
        static const char alphabet[] = "0123456789*/-,?LW#H~+()@ JANSUFRI";
        char text[24], *exact;
        size_t n = (size_t)random_below(sizeof(text));

        for (size_t i = 0; i < n; i++)
            text[i] = random_chance(30) ? ' ' : alphabet[random_below(sizeof(alphabet) - 1)];
        exact = malloc(n + 1); /* so that a sanitizer sees a read too far */
        assert_non_null(exact);
        memcpy(exact, text, n);
        if (cron_parse(exact, n, &plain, &cron, NULL, NULL) == 0)
            cron_next(&cron, local("2026-01-01"));
        free(exact);
    }
}

/* ---- H and ~ ---- */

static const char *print_for(const char *text, const char *job, uint64_t seed, char *buffer)
{
    struct cron_context context = {.job = job, .seed = seed};
    struct cron cron = parse_in(text, &context);

    return cron_print(&cron, buffer, CRON_TEXT_MAX);
}

/* These values are part of the format: a new version must not move anybody's jobs. */
static void h_is_the_same_for_ever(void **state)
{
    char text[CRON_TEXT_MAX];

    assert_string_equal(print_for("H H * * *", "nightly-report", 0, text), "50 14 * * *");
    assert_string_equal(print_for("@daily/H", "nightly-report", 99, text), "50 14 * * *");
    assert_string_equal(print_for("H H(0-7) H * H", "backup", 0, text), "51 7 3 * 6");
    assert_string_equal(print_for("~ ~ * * *", "any", 1, text), "23 18 * * *");
    assert_string_equal(print_for("~ ~ * * *", "other", 1, text), "23 18 * * *");
    assert_string_equal(print_for("~ ~ * * *", "any", 2, text), "32 15 * * *");
    assert_string_equal(print_for("H/15 0 * * *", "any", 2, text), "H/15 0 * * *");
    assert_string_equal(print_for("~/15,3 0 * * *", "any", 2, text), "~/15,3 0 * * *");
}

static void h_spreads_evenly_and_by_field(void **state)
{
    int minutes[60] = {0}, same = 0;

    for (int i = 0; i < 6000; i++) {
        struct cron_context context = {0};
        char job[16];
        struct cron cron;

        snprintf(job, sizeof(job), "job-%d", i);
        context.job = job;
        cron = parse_in("H H 1 1 *", &context);
        minutes[__builtin_ctzll(cron.minute)]++;
        same += __builtin_ctzll(cron.minute) % 24 == __builtin_ctz(cron.hour);
    }
    for (int i = 0; i < 60; i++)
        assert_in_range(minutes[i], 60, 140); /* 100 expected, deviation 10 */
    assert_in_range(same, 190, 310);          /* 250 expected: fields do not depend on one another */
}

static void spread_values_stay_in_their_range(void **state)
{
    for (int i = 0; i < 3000; i++) {
        struct cron_context context = {.seed = (uint64_t)i};
        char job[16];
        struct cron c;

        snprintf(job, sizeof(job), "job-%d", i);
        context.job = job;
        c = parse_in("H(10-19) H/6 H H H", &context);
        assert_int_equal(c.minute & ~(UINT64_C(0x3ff) << 10), 0);
        assert_int_equal(__builtin_popcount(c.hour), 4);
        assert_true(__builtin_ctz(c.hour) < 6);
        assert_in_range(__builtin_ctz(c.dom), 1, 28); /* no month lacks it */
        c = parse_in("40~49 20~ ~5 ~ TUE~THU", &context);
        assert_int_equal(c.minute & ~(UINT64_C(0x3ff) << 40), 0);
        assert_in_range(__builtin_ctz(c.hour), 20, 23);
        assert_in_range(__builtin_ctz(c.dom), 1, 5);
        assert_in_range(__builtin_ctz(c.dow), 2, 4);
        c = parse_in("~/7 3~22/10 29~ * *", &context);
        assert_in_range(__builtin_ctzll(c.minute), 0, 6);
        assert_in_range(__builtin_popcountll(c.minute), 8, 9);
        assert_in_range(__builtin_ctz(c.hour), 3, 12);
        assert_int_equal(__builtin_popcount(c.hour), 2);
        assert_in_range(__builtin_ctz(c.dom), 29, 31);
    }
}

static void wildcards_are_told_by_their_text(void **state)
{
    static const struct {
        const char *text;
        bool fixed;
    } cases[] = {
        {"30 2 * * *", true},       {"15,45 2 * * *", true},  {"0 0-23 * * *", true},  {"0-59 2 * * *", true},
        {"* 2 * * *", false},       {"*/20 2 * * *", false},  {"0 * * * *", false},    {"0 */2 * * *", false},
        {"*/60 2 * * *", false},    {"3,*/20 2 * * *", true}, {"H/15 2 * * *", false}, {"H 2 * * *", true},
        {"H(0-9)/3 2 * * *", true}, {"~/10 2 * * *", false},  {"~ 2 * * *", true},     {"* 0 2 * * *", false},
        {"@hourly", false},         {"@daily", true},         {"@minutely", false},    {"@daily/H", true},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cron cron = parse(cases[i].text);

        if (cron_fixed(&cron) != cases[i].fixed)
            fail_msg("'%s' is %s", cases[i].text, cases[i].fixed ? "a wildcard" : "fixed");
    }
}

/* ---- the search ---- */

static const struct {
    const char *text, *from, *next; /* NULL: never */
} nexts[] = {
    {"0 0 29 2 *", "2096-03-01", "2104-02-29T00:00"}, /* 2100 is no leap year */
    {"0 0 29 2 *", "2026-01-01", "2028-02-29T00:00"},
    {"0 0 29 2 +SUN", "2026-01-01", "2032-02-29T00:00"},
    {"0 0 30 2 *", "1970-01-01", NULL},
    {"0 0 31 4,6,9,11 *", "1970-01-01", NULL},
    {"0 0 L-30 2 *", "1970-01-01", NULL},
    {"0 0 L-28 2 *", "2025-01-01", "2028-02-01T00:00"}, /* in leap years only */
    {"0 0 L-30 * *", "2026-02-01", "2026-03-01T00:00"},
    {"0 0 LW * *", "2026-05-01", "2026-05-29T00:00"}, /* the 31st is a Sunday */
    {"0 0 LW * *", "2026-02-01", "2026-02-27T00:00"}, /* the 28th is a Saturday */
    {"0 0 1W * *", "2026-08-01", "2026-08-03T00:00"}, /* the 1st is a Saturday: not into July */
    {"0 0 31W * *", "2026-02-01", "2026-03-31T00:00"},
    {"0 0 31W * *", "2027-10-01", "2027-10-29T00:00"},
    {"0 0 * * MON#5", "2026-01-01", "2026-03-30T00:00"},
    {"0 0 * * FRI#L", "2026-01-01", "2026-01-30T00:00"},
    {"0 0 13 * +FRI", "2026-01-01", "2026-02-13T00:00"},
    {"0 0 13 * FRI", "2026-01-01", "2026-01-02T00:00"},
    {"59 23 31 12 *", "2199-12-31T23:59:00", "2199-12-31T23:59"},
    {"59 23 31 12 *", "2199-12-31T23:59:01", NULL},
    {"0 0 0 1 1 * 1970", "1970-01-01T00:00:01", NULL},
    {"0 0 1 1 *", "1900-01-01", "1970-01-01T00:00"},
};

static void searches_find_the_right_day(void **state)
{
    for (size_t i = 0; i < COUNT(nexts); i++) {
        struct cron cron = parse(nexts[i].text);
        int64_t got = cron_next(&cron, local(nexts[i].from));
        int64_t wanted = nexts[i].next ? local(nexts[i].next) : CRON_NEVER;

        if (got != wanted)
            fail_msg("'%s' from %s: %lld, not %lld", nexts[i].text, nexts[i].from, (long long)got,
                     (long long)wanted);
        if (nexts[i].next)
            assert_int_equal(cron_prev(&cron, got), got);
    }
}

static void the_search_backwards_ends(void **state)
{
    struct cron leap = parse("0 0 29 2 *"), never = parse("0 0 30 2 *"), first = parse("0 0 1 1 *");

    assert_int_equal(cron_prev(&leap, local("2027-06-01")), local("2024-02-29"));
    assert_int_equal(cron_prev(&leap, local("2103-06-01")), local("2096-02-29"));
    assert_int_equal(cron_prev(&leap, local("1971-06-01")), CRON_NEVER_BEFORE);
    assert_int_equal(cron_prev(&never, local("2199-12-31")), CRON_NEVER_BEFORE);
    assert_int_equal(cron_prev(&first, local("1970-01-01")), 0);
    assert_int_equal(cron_prev(&first, -1), CRON_NEVER_BEFORE);
    assert_int_equal(cron_prev(&first, INT64_MAX), local("2199-01-01"));
}

/* Day by day over all the years: the masks of months against asking each day. */
static void days_are_those_of_the_naive_matcher(void **state)
{
    struct naive_cron naive;

    random_state = 21;
    for (int round = 0; round < 30; round++) {
        int64_t from = random_below(CIVIL_DAYS_END - 3000), at;
        struct cron cron;

        naive_random(&naive, 5, 0);
        cron = parse(naive.text);
        at = cron_next(&cron, from * CIVIL_DAY_S);
        for (int64_t day = from; day < from + 3000; day++) {
            int64_t first_s = day * CIVIL_DAY_S + cron.first_s;
            bool matches = naive_matches(&naive, first_s);

            if (matches != (at == first_s))
                fail_msg("'%s' on day %lld", naive.text, (long long)day);
            if (matches)
                at = cron_next(&cron, (day + 1) * CIVIL_DAY_S);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_text_is_short_and_parses_to_the_same),
        cmocka_unit_test(quartz_prints_as_cron),
        cmocka_unit_test(random_expressions_print_and_parse_to_the_same),
        cmocka_unit_test(faults_are_told_with_their_place),
        cmocka_unit_test(quartz_has_its_own_faults),
        cmocka_unit_test(quartz_says_which_weekday_is_1),
        cmocka_unit_test(hostile_texts_are_refused_at_once),
        cmocka_unit_test(h_is_the_same_for_ever),
        cmocka_unit_test(h_spreads_evenly_and_by_field),
        cmocka_unit_test(spread_values_stay_in_their_range),
        cmocka_unit_test(wildcards_are_told_by_their_text),
        cmocka_unit_test(searches_find_the_right_day),
        cmocka_unit_test(the_search_backwards_ends),
        cmocka_unit_test(days_are_those_of_the_naive_matcher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
