/* A kept log as text: last lines, from a time on, stamps, notes, followed while it grows, and its stored form. */
#include "cronsched/io/run_log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX (2 * 1024 * 1024)
#define SECOND   INT64_C(1000000000)
#define T0       (INT64_C(1795000000) * SECOND) /* 2026-11-18T11:06:40Z */

static char dir[64], path[256];
static char *text;

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int set_up(void **state)
{
    strncpy(dir, "/tmp/cronsched-logs-XXXXXX", sizeof(dir) - 1);
    text = calloc(1, TEXT_MAX);
    if (!text || !mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/logs/j/x.1.log", dir);
    return 0;
}

static int tear_down(void **state)
{
    free(text);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_log(struct run_log_file *f, int64_t cap)
{
    assert_int_equal(run_log_file_open(f, path, cap, RUN_LOG_FRESH, NULL), 0);
}

static void add(struct run_log_file *f, enum run_log_kind kind, int64_t ns, const char *bytes)
{
    const struct run_log_frame frame = {.kind = kind, .ns = ns, .data = bytes, .size = strlen(bytes)};

    assert_int_equal(run_log_file_add(f, &frame, NULL), 0);
    assert_int_equal(run_log_file_flush(f, NULL), 0);
}

/* What the reader has now, appended to `text`. */
static void read_more(struct run_log_reader *r)
{
    size_t at = strlen(text), n;

    do {
        assert_true(at + RUN_LOG_BLOCK_LEAST < TEXT_MAX);
        assert_int_equal(run_log_reader_read(r, text + at, RUN_LOG_BLOCK_LEAST, &n), 0);
        at += n;
        text[at] = '\0';
    } while (n > 0);
}

static const char *read_view(struct run_log_view view)
{
    struct run_log_reader *r = run_log_reader_new(path, &view);

    text[0] = '\0';
    read_more(r);
    run_log_reader_free(r);
    return text;
}

static const char *read_tail(long tail)
{
    return read_view((struct run_log_view){.tail = tail});
}

#define MISSING(bytes, lines, cap)                                                                           \
    "cronsched: " #bytes " bytes (" #lines " lines) of output are missing here: keep.logs is " #cap "\n"

static void test_last_lines(void **state)
{
    struct run_log_file f;

    open_log(&f, 1000);
    add(&f, RUN_LOG_OUT, 1, "one\ntwo\nthree");
    assert_string_equal(read_tail(0), "");
    assert_string_equal(read_tail(1), "three");
    add(&f, RUN_LOG_OUT, 2, "\nfour\n");
    assert_string_equal(read_tail(1), "four\n");
    assert_string_equal(read_tail(3), "two\nthree\nfour\n");
    assert_string_equal(read_tail(9), "one\ntwo\nthree\nfour\n");
    run_log_file_close(&f);
}

static void test_last_lines_of_a_log_with_a_gap(void **state)
{
    struct run_log_file f;

    open_log(&f, 12);
    for (char line[] = "0\n"; line[0] <= '9'; line[0]++)
        add(&f, RUN_LOG_OUT, line[0], line);
    run_log_file_close(&f);
    assert_string_equal(read_tail(1), "9\n");
    assert_string_equal(read_tail(3), "7\n8\n9\n");
    assert_string_equal(read_tail(4), MISSING(8, 4, 12) "7\n8\n9\n"); /* one of the last four is not there */
    assert_string_equal(read_tail(8), "2\n" MISSING(8, 4, 12) "7\n8\n9\n");
    assert_string_equal(read_tail(100), "0\n1\n2\n" MISSING(8, 4, 12) "7\n8\n9\n");
}

/* Whatever was written, the last N lines are those of the whole, as far as they are kept. */
static void test_last_lines_of_a_long_log(void **state)
{
    struct run_log_file f;
    char line[64];

    open_log(&f, 256 * 1024);
    for (int i = 0; i < 40000; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        const struct run_log_frame frame = {
            .kind = RUN_LOG_OUT, .ns = T0 + i, .data = line, .size = strlen(line)};
        assert_int_equal(run_log_file_add(&f, &frame, NULL), 0);
    }
    run_log_file_close(&f);
    assert_string_equal(read_tail(2), "line 39998\nline 39999\n");
    read_tail(5000);
    assert_ptr_equal(strstr(text, "line 35000\n"), text);
    read_tail(-1);
    assert_ptr_equal(strstr(text, "line 0\n"), text);
    assert_non_null(strstr(text, "cronsched: "));
    assert_in_range(strlen(text), 256 * 1024 * 7 / 8, 256 * 1024 + 100);
    assert_string_equal(text + strlen(text) - 11, "line 39999\n");
}

static void test_stamps(void **state)
{
    struct run_log_file f;

    open_log(&f, 1000);
    add(&f, RUN_LOG_OUT, T0 + 1, "one\ntw");
    add(&f, RUN_LOG_ERR, T0 + 5, "o\nthree\n");
    add(&f, RUN_LOG_OUT, T0 + 3, "four\n"); /* a clock that goes back; the stamps do not */
    add(&f, RUN_LOG_NOTE, T0 + SECOND, "cronsched: output lost\n");
    run_log_file_close(&f);
    assert_string_equal(read_view((struct run_log_view){.tail = -1, .timestamps = true}),
                        "2026-11-18T11:06:40.000000001Z one\n2026-11-18T11:06:40.000000001Z two\n"
                        "2026-11-18T11:06:40.000000005Z three\n2026-11-18T11:06:40.000000005Z four\n"
                        "2026-11-18T11:06:41.000000000Z cronsched: output lost\n");
}

static void test_from_a_time_on(void **state)
{
    struct run_log_file f;

    open_log(&f, 12);
    for (char line[] = "0\n"; line[0] <= '9'; line[0]++)
        add(&f, RUN_LOG_OUT, T0 + line[0] - '0', line);
    run_log_file_close(&f);
#define SINCE(n) read_view((struct run_log_view){.tail = -1, .since_ns = T0 + (n)})
    assert_string_equal(SINCE(0), "0\n1\n2\n" MISSING(8, 4, 12) "7\n8\n9\n");
    assert_string_equal(SINCE(2), "2\n" MISSING(8, 4, 12) "7\n8\n9\n");
    assert_string_equal(SINCE(3), MISSING(8, 4, 12) "7\n8\n9\n");
    assert_string_equal(SINCE(6), MISSING(8, 4, 12) "7\n8\n9\n");
    assert_string_equal(SINCE(7), "7\n8\n9\n");
    assert_string_equal(SINCE(9), "9\n");
    assert_string_equal(SINCE(10), "");
    assert_string_equal(read_view((struct run_log_view){.tail = 2, .since_ns = T0}), "8\n9\n");
    assert_string_equal(read_view((struct run_log_view){.tail = 2, .since_ns = T0 + 9}), "9\n");
}

static void test_a_note_stands_in_a_line_of_its_own(void **state)
{
    struct run_log_file f;

    open_log(&f, 1000);
    add(&f, RUN_LOG_OUT, 1, "half a li");
    add(&f, RUN_LOG_NOTE, 2, "cronsched: lost\n");
    add(&f, RUN_LOG_OUT, 3, "whole\n");
    run_log_file_close(&f);
    assert_string_equal(read_tail(-1), "half a li\ncronsched: lost\nwhole\n");
}

static void test_a_log_that_is_followed_goes_on_past_its_limit(void **state)
{
    const struct run_log_view view = {.tail = -1};
    struct run_log_reader *r = run_log_reader_new(path, &view);
    struct run_log_file f;
    size_t expected = 0, n;
    char line[64];

    assert_int_equal(run_log_reader_read(r, text, RUN_LOG_BLOCK_LEAST, &n), -ENOENT);
    open_log(&f, 4096);
    for (int i = 0; i < 5000; i++) {
        snprintf(line, sizeof(line), "a line that will be in the gap %d\n", i);
        add(&f, RUN_LOG_OUT, T0 + i, line);
        expected += strlen(line);
        if (i % 100 == 0)
            read_more(r);
    }
    read_more(r);
    assert_int_equal(strlen(text), expected); /* all of it, and no notice */
    assert_null(strstr(text, "cronsched: "));
    run_log_file_close(&f);
    run_log_reader_free(r);
}

static void test_what_is_still_there_is_shown_to_one_who_follows(void **state)
{
    struct run_log_file f;

    open_log(&f, 12);
    add(&f, RUN_LOG_OUT, T0, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    run_log_file_close(&f);
    assert_string_equal(read_view((struct run_log_view){.tail = -1, .live = true}),
                        "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_string_equal(read_view((struct run_log_view){.tail = 5, .live = true}), "5\n6\n7\n8\n9\n");
}

static void test_a_reader_that_is_too_slow_is_told(void **state)
{
    const struct run_log_view view = {.tail = -1};
    struct run_log_reader *r = run_log_reader_new(path, &view);
    struct run_log_file f;
    long long missing, lines;
    size_t shown;
    char line[64];
    const char *notice;

    open_log(&f, 4096);
    for (int i = 0; i < 10000; i++) {
        snprintf(line, sizeof(line), "%09d\n", i);
        add(&f, RUN_LOG_OUT, T0 + i, line);
        if (i == 10)
            read_more(r);
    }
    read_more(r);
    notice = strstr(text, "cronsched: ");
    assert_non_null(notice);
    assert_int_equal(sscanf(notice, "cronsched: %lld bytes (%lld lines)", &missing, &lines), 2);
    assert_null(strstr(notice + 1, "cronsched: "));
    shown = strlen(text) - (strcspn(notice, "\n") + 1);
    shown -= notice[-1] == '\n' && (notice - text) % 10 != 0; /* ends the line before it */
    assert_int_equal(shown + (size_t)missing, 100000);
    assert_string_equal(text + strlen(text) - 10, "000009999\n");
    run_log_file_close(&f);
    run_log_reader_free(r);
}

/* A process that died in mid-write leaves part of a frame, which another one cuts off; a reader has seen it. */
static void test_part_of_a_frame_is_not_shown(void **state)
{
    const struct run_log_view view = {.tail = -1};
    struct run_log_reader *r = run_log_reader_new(path, &view);
    struct run_log_file f;
    int fd;

    open_log(&f, 1000);
    add(&f, RUN_LOG_OUT, T0, "one\n");
    run_log_file_close(&f);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "\x28\x01tw", 4), 4); /* ten bytes are announced */
    close(fd);
    read_more(r);
    assert_string_equal(text, "one\n");
    assert_int_equal(run_log_file_open(&f, path, 1000, RUN_LOG_RESUME, NULL), 0);
    add(&f, RUN_LOG_OUT, T0 + 1, "something else\n");
    run_log_file_close(&f);
    read_more(r);
    assert_string_equal(text, "one\nsomething else\n");
    run_log_reader_free(r);
}

static void test_garbage_is_an_error(void **state)
{
    const struct run_log_view view = {.tail = -1};
    struct run_log_reader *r = run_log_reader_new(path, &view);
    struct run_log_file f;
    size_t n;
    int fd;

    open_log(&f, 1000);
    add(&f, RUN_LOG_OUT, T0, "one\n");
    run_log_file_close(&f);
    fd = open(path, O_WRONLY | O_APPEND);
    for (int i = 0; i < 20; i++)
        assert_int_equal(write(fd, "\xff", 1), 1);
    close(fd);
    assert_int_equal(run_log_reader_read(r, text, RUN_LOG_BLOCK_LEAST, &n), 0);
    assert_int_equal(run_log_reader_read(r, text, RUN_LOG_BLOCK_LEAST, &n), -EBADMSG);
    run_log_reader_free(r);
}

/* Whatever became of the files on a disk: reading ends, and so does going on with them. */
static void test_damaged_files(void **state)
{
    const struct run_log_view views[] = {
        {.tail = -1}, {.tail = 5, .timestamps = true}, {.tail = -1, .stored = true}};
    char name[RUN_LOG_FILE_PATH_MAX], line[64];
    struct run_log_file f;
    unsigned seed = 42;

    for (int turn = 0; turn < 300; turn++) {
        int slot = turn % 3 - 1, fd;

        open_log(&f, 4096);
        for (int i = 0; i < 900; i++) {
            snprintf(line, sizeof(line), "line %d, which is somewhat longer\n", i);
            add(&f, RUN_LOG_OUT, T0 + i, line);
        }
        run_log_file_close(&f);
        fd = open(slot < 0 ? path : run_log_file_name(path, slot, name), O_RDWR);
        assert_true(fd >= 0);
        for (int i = 0; i < 3; i++) {
            unsigned char byte = (unsigned char)rand_r(&seed);
            off_t at = (off_t)(rand_r(&seed) % (turn % 2 ? RUN_LOG_HEADER_BYTES : 2000));

            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        close(fd);
        for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++) {
            struct run_log_reader *r = run_log_reader_new(path, &views[i]);
            size_t n = 0, all = 0;

            while (run_log_reader_read(r, text, RUN_LOG_BLOCK_LEAST, &n) == 0 && n > 0)
                assert_true((all += n) < TEXT_MAX);
            run_log_reader_free(r);
        }
        if (run_log_file_open(&f, path, 4096, RUN_LOG_RESUME, NULL) == 0)
            add(&f, RUN_LOG_OUT, T0, "more\n");
        run_log_file_close(&f);
    }
}

/* The copy of another replica, made from the stored form, reads as the log itself does, stamps and all. */
static void copy_to(const char *to, int64_t cap)
{
    const struct run_log_view view = {.tail = -1, .stored = true};
    struct run_log_reader *r = run_log_reader_new(path, &view);
    struct run_log_place at = {0};
    struct run_log_segment segment;
    struct run_log_file f;
    size_t size = 0, n, done = RUN_LOG_HEADER_BYTES;
    static char bytes[TEXT_MAX];

    do {
        assert_int_equal(run_log_reader_read(r, bytes + size, RUN_LOG_BLOCK_LEAST, &n), 0);
        size += n;
    } while (n > 0);
    run_log_reader_free(r);
    assert_true(run_log_segment_decode((unsigned char *)bytes, size, &segment));
    assert_int_equal(run_log_file_open(&f, to, cap, RUN_LOG_SOLE, NULL), 0);
    while (done < size) {
        struct run_log_frame frame;
        ssize_t one = run_log_frame_decode(bytes + done, size - done, at.last_ns, &frame);

        assert_true(one > 0);
        run_log_place_pass(&at, &frame);
        assert_int_equal(run_log_file_add(&f, &frame, NULL), 0);
        done += (size_t)one;
    }
    run_log_file_close(&f);
}

static void test_the_stored_form_keeps_everything(void **state)
{
    const struct run_log_view views[] = {{.tail = -1, .timestamps = true}, {.tail = 3}, {.tail = 900}};
    struct run_log_file f;
    char line[64], copy[sizeof(path)], original[sizeof(path)];

    open_log(&f, 8192);
    for (int i = 0; i < 4000; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        add(&f, i % 3 == 0 ? RUN_LOG_ERR : RUN_LOG_OUT, T0 + i * SECOND, line);
        if (i == 3990)
            add(&f, RUN_LOG_NOTE, T0, "cronsched: lost\n");
    }
    run_log_file_close(&f);
    snprintf(copy, sizeof(copy), "%s/logs/j/y.1.log", dir);
    copy_to(copy, 8192);
    memcpy(original, path, sizeof(path));
    for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++) {
        char *expected = strdup(read_view(views[i]));

        memcpy(path, copy, sizeof(path));
        assert_string_equal(read_view(views[i]), expected);
        memcpy(path, original, sizeof(path));
        free(expected);
    }
    assert_non_null(strstr(read_tail(-1), "cronsched: lost\n"));
}

static void test_stamps_as_text(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"2026-11-18T11:06:40Z", T0},
        {"2026-11-18T11:06:40.123456789Z", T0 + 123456789},
        {"2026-11-18T12:06:40.5+01:00", T0 + SECOND / 2},
        {"2026-11-18T11:06:40.1234567891Z", T0 + 123456789},
    };
    char buffer[RUN_LOG_STAMP_SIZE];
    struct error error;
    int64_t ns;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(run_log_stamp_parse(cases[i].text, &ns, &error), 0);
        assert_int_equal(ns, cases[i].ns);
    }
    assert_string_equal(run_log_stamp(T0 + 1, buffer), "2026-11-18T11:06:40.000000001Z");
    assert_string_equal(run_log_stamp(0, buffer), "-");
    assert_int_equal(run_log_stamp_parse("yesterday", &ns, &error), ERR_INVALID);
    assert_int_equal(run_log_stamp_parse("1960-01-01T00:00:00Z", &ns, &error), ERR_INVALID);
    assert_int_equal(run_log_stamp_parse("9000-01-01T00:00:00Z", &ns, &error), ERR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_last_lines),
        TEST(test_last_lines_of_a_log_with_a_gap),
        TEST(test_last_lines_of_a_long_log),
        TEST(test_stamps),
        TEST(test_from_a_time_on),
        TEST(test_a_note_stands_in_a_line_of_its_own),
        TEST(test_a_log_that_is_followed_goes_on_past_its_limit),
        TEST(test_what_is_still_there_is_shown_to_one_who_follows),
        TEST(test_a_reader_that_is_too_slow_is_told),
        TEST(test_part_of_a_frame_is_not_shown),
        TEST(test_garbage_is_an_error),
        TEST(test_damaged_files),
        TEST(test_the_stored_form_keeps_everything),
        TEST(test_stamps_as_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
