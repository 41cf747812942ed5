/* The text of the state that is made in steps: whatever records come between, it is the text of the moment at which it was
 * begun. The journal of tests/data/state has every kind of change; a step is taken after every so many of its batches.
 */
#include "jobs/state/state.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "tests/support/patience.h"

#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FILE_MAX (1024 * 1024)
#define LINES    58

static char *lines[LINES];

static int read_journal(void **state)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], *text = alloc_zero(FILE_MAX), *rest = text;
    FILE *file;
    int n = 0;

    (void)state;
    snprintf(path, sizeof(path), "%s/tests/data/state/journal-0.1.jsonl", root ? root : ".");
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    assert_in_range(fread(text, 1, FILE_MAX - 1, file), 1, FILE_MAX - 2);
    fclose(file);
    for (char *line; n < LINES && (line = strsep(&rest, "\n")); n++)
        lines[n] = alloc_text(line);
    free(text);
    return n == LINES ? 0 : -1;
}

static int forget_journal(void **state)
{
    (void)state;
    for (int i = 0; i < LINES; i++)
        free(lines[i]);
    return 0;
}

static void apply_line(struct state *s, const char *line)
{
    struct error error = {0};
    struct batch *b = NULL;

    if (batch_decode(&b, line, strlen(line), &error) < 0 ||
        state_apply(s, b, line, strlen(line), NULL, &error) < 0)
        fail_msg("%s", error.text);
    batch_free(b);
}

/* A batch of these records, an array in JSON, after all that is there. */
static void apply_records(struct state *s, int64_t time_ms, const char *records)
{
    struct text t;

    text_init(&t, FILE_MAX);
    text_addf(&t, "{\"n\":%llu,\"e\":%lld,\"t\":%lld,\"p\":\"%s\",\"r\":%s}",
              (unsigned long long)s->index + 1,
              (long long)(strstr(records, "\"epoch\"") ? s->epoch + 1 : s->epoch), (long long)time_ms,
              s->hash, records);
    apply_line(s, text_str(&t));
    text_release(&t);
}

/* What was begun, and what it must become. */
struct pair {
    struct state_image *snapshot, *hash;
    char *text, digest[33];
    size_t size;
    int level;
    uint64_t index;
};

static void begin(struct state *s, struct pair *p)
{
    p->text = state_encode(s, &p->size);
    p->index = s->index;
    p->level = (int)s->level;
    batch_hash(p->text, p->size, p->digest);
    p->snapshot = state_image_begin(s, STATE_IMAGE_SNAPSHOT);
    p->hash = state_image_begin(s, STATE_IMAGE_HASH);
}

static void end(struct pair *p)
{
    char digest[33], *text;
    size_t size;

    while (!state_image_step(p->snapshot, 1))
        ;
    while (!state_image_step(p->hash, 2))
        ;
    text = state_image_text(p->snapshot, &size);
    state_image_hash(p->hash, digest);
    assert_string_equal(text, p->text);
    assert_int_equal(size, p->size);
    assert_string_equal(digest, p->digest);
    assert_int_equal(state_image_index(p->snapshot), p->index);
    assert_int_equal(state_image_level(p->snapshot), p->level);
    state_image_free(p->snapshot);
    state_image_free(p->hash);
    free(p->text);
    free(text);
}

/* every: 0: no step before the journal's end. */
static void check_from(int from, int every)
{
    struct state s;
    struct pair p;

    state_init(&s);
    for (int i = 0; i < from; i++)
        apply_line(&s, lines[i]);
    begin(&s, &p);
    for (int i = from; i < LINES; i++) {
        apply_line(&s, lines[i]);
        if (every && (i - from) % every == every - 1) {
            state_image_step(p.snapshot, 1);
            state_image_step(p.hash, 1);
        }
    }
    end(&p);
    state_release(&s);
}

static void a_text_is_of_the_moment_at_which_it_was_begun(void **state)
{
    (void)state;
    for (int from = 0; from <= LINES; from++)
        for (int every = 0; every <= 7; every++)
            check_from(from, every);
}

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static void trigger(struct state *s, int64_t now_ms, const char *name, int at)
{
    char records[1024];

    snprintf(records, sizeof(records),
             "[{\"k\":\"trigger\",\"run\":\"%s@20270101T0000%02d.001Z\",\"fire\":1,\"cause\":\"manual\","
             "\"key\":\"k%d\",\"digest\":\"d\"}]",
             name, at, at);
    apply_records(s, now_ms, records);
}

#define JOB(name, rest)                                                                                      \
    "{\"k\":\"job\",\"job\":\"" name                                                                         \
    "\",\"version\":1,\"seed\":1,\"anchor\":0,\"cursor\":0,\"def\":{\"image\":\"x\"" rest "}}"

/* Keys expire, a tombstone goes, a change set is staged and takes effect, a new leader and a recovery come: while the text is
 * made. */
static void what_goes_meanwhile_is_still_in_it(void **state)
{
    (void)state;
    for (int steps = 0; steps < 12; steps++) {
        int64_t now_ms = INT64_C(1798761600000);
        struct state s;
        struct pair p;

        state_init(&s);
        apply_records(
            &s, now_ms,
            "[{\"k\":\"epoch\",\"epoch\":1,\"replica\":\"a\",\"cluster\":\"c\",\"level\":3}," JOB(
                "m", "") "," JOB("b", "") "," JOB("z",
                                                  ",\"after\":[\"m\"]") "," JOB("gone",
                                                                                "") ",{\"k\":\"delete\","
                                                                                    "\"job\":\"gone\"}]");
        for (int i = 0; i < 4; i++)
            trigger(&s, now_ms, i % 2 ? "m" : "b", i);
        apply_records(
            &s, now_ms,
            "[{\"k\":\"backfill\",\"job\":\"b\",\"report\":[1000,2000],\"max_parallel\":1},"
            "{\"k\":\"stage\",\"job\":\"a\",\"version\":1,\"seed\":1,\"anchor\":0,\"cursor\":0,\"def\":{"
            "\"image\":\"y\"}},{\"k\":\"stage\",\"job\":\"m-2\",\"version\":1,\"seed\":1,\"anchor\":0,"
            "\"cursor\":0,\"def\":{\"image\":\"y\"}}]");
        begin(&s, &p);
        for (int i = 0; i < steps; i++) {
            state_image_step(p.snapshot, 1);
            state_image_step(p.hash, 1);
        }
        apply_records(&s, now_ms, "[{\"k\":\"apply\",\"count\":2}]");
        trigger(&s, now_ms + 8 * DAY_MS, "a", 9); /* all other keys are too old */
        apply_records(&s, now_ms + 8 * DAY_MS,
                      "[{\"k\":\"epoch\",\"epoch\":2,\"replica\":\"b\",\"cluster\":\"c\",\"level\":3},"
                      "{\"k\":\"recovered\",\"from\":1,\"until\":1798761600000},{\"k\":\"pause\"},"
                      "{\"k\":\"resume\"}]");
        apply_records(&s, now_ms + 8 * DAY_MS,
                      "[{\"k\":\"closed\",\"run\":\"m@20270101T000001.001Z\",\"verdict\":\"killed\"},"
                      "{\"k\":\"delete\",\"job\":\"z\"}]");
        assert_null(state_key(&s, "b", "k0"));
        end(&p);
        state_release(&s);
    }
}

/* It can be given up at any point. */
static void it_can_be_left_half_done(void **state)
{
    (void)state;
    for (int steps = 0; steps < 40; steps++) {
        struct state_image *image;
        struct state s;

        state_init(&s);
        for (int i = 0; i < LINES / 2; i++)
            apply_line(&s, lines[i]);
        image = state_image_begin(&s, steps % 2 ? STATE_IMAGE_HASH : STATE_IMAGE_SNAPSHOT);
        for (int i = 0; i < steps; i++)
            state_image_step(image, 1);
        state_image_free(image);
        for (int i = LINES / 2; i < LINES; i++)
            apply_line(&s, lines[i]);
        state_release(&s);
    }
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* Thousands of jobs, and one step with the sizes that the scheduler uses. */
static void a_step_is_short(void **state)
{
    enum { BATCHES = 40, JOBS = 500 };
    int64_t worst_us = 0, begun_us, all_us;
    struct state_image *image;
    struct state s;
    bool done = false;

    (void)state;
    state_init(&s);
    apply_records(&s, 1, "[{\"k\":\"epoch\",\"epoch\":1,\"replica\":\"a\",\"cluster\":\"c\",\"level\":3}]");
    for (int b = 0; b < BATCHES; b++) {
        struct text t;

        text_init(&t, FILE_MAX);
        for (int i = 0; i < JOBS; i++)
            text_addf(
                &t,
                "%c{\"k\":\"job\",\"job\":\"job-%05d\",\"version\":1,\"seed\":1,\"anchor\":0,\"cursor\":0,"
                "\"def\":{\"image\":\"x\",\"schedule\":[\"1 2 3 4 *\"]}}",
                i ? ',' : '[', (b * JOBS + i) * 7919 % (BATCHES * JOBS));
        text_add(&t, "]");
        apply_records(&s, 1, text_str(&t));
        text_release(&t);
    }
    assert_int_equal(s.job_count, BATCHES * JOBS);
    image = state_image_begin(&s, STATE_IMAGE_SNAPSHOT);
    for (all_us = cpu_us(); !done;) {
        begun_us = cpu_us();
        done = state_image_step(image, 128);
        worst_us = cpu_us() - begun_us > worst_us ? cpu_us() - begun_us : worst_us;
    }
    print_message("the longest step: %lld us of %lld us\n", (long long)worst_us,
                  (long long)(cpu_us() - all_us));
    assert_true(worst_us < patience_ms(25) * 1000);
    state_image_free(image);
    state_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_of_the_moment_at_which_it_was_begun),
        cmocka_unit_test(what_goes_meanwhile_is_still_in_it),
        cmocka_unit_test(it_can_be_left_half_done),
        cmocka_unit_test(a_step_is_short),
    };

    return cmocka_run_group_tests(tests, read_journal, forget_journal);
}
