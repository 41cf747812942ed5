/* Kept logs: paths, the cap, resuming, the writer on the loop, removal. */
#include "cronsched/io/run_log.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RUN "report@20261122T030000Z"

static char dir[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int set_up(void **state)
{
    strncpy(dir, "/tmp/cronsched-logs-XXXXXX", sizeof(dir) - 1);
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(int attempt)
{
    static char path[RUN_LOG_PATH_MAX];

    assert_int_equal(run_log_path(dir, RUN, attempt, path, sizeof(path), NULL), 0);
    return path;
}

static void assert_content(const char *path, const char *expected)
{
    char buffer[4096] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, buffer, sizeof(buffer) - 1);
    close(fd);
    assert_true(n >= 0);
    buffer[n] = '\0';
    assert_string_equal(buffer, expected);
}

static void test_paths(void **state)
{
    static const struct {
        const char *run;
        int attempt;
        const char *path; /* NULL: refused */
    } cases[] = {
        {RUN, 1, "/d/logs/report/report@20261122T030000Z.1.log"},
        {"a-1@20261122T101502.123Z", 12, "/d/logs/a-1/a-1@20261122T101502.123Z.12.log"},
        {RUN, 0, NULL},
        {RUN, RUN_LOG_ATTEMPTS_MAX + 1, NULL},
        {"report", 1, NULL},
        {"@20261122T030000Z", 1, NULL},
        {"report@", 1, NULL},
        {"../x@20261122T030000Z", 1, NULL},
        {"..@20261122T030000Z", 1, NULL},
        {"a/b@20261122T030000Z", 1, NULL},
        {"report@../../etc", 1, NULL},
        {"A@20261122T030000Z", 1, NULL},
    };
    char path[RUN_LOG_PATH_MAX];
    struct error error;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int r = run_log_path("/d", cases[i].run, cases[i].attempt, path, sizeof(path), &error);

        assert_int_equal(r, cases[i].path ? 0 : ERR_INVALID);
        if (cases[i].path)
            assert_string_equal(path, cases[i].path);
    }
    assert_int_equal(run_log_path("/d", RUN, 1, path, 10, &error), ERR_LIMIT);
}

static void test_notice_names_the_cap(void **state)
{
    static const struct {
        int64_t cap;
        const char *text;
    } cases[] = {
        {1024 * 1024, "cronsched: output cut at 1 MiB\n"},
        {INT64_C(3) << 30, "cronsched: output cut at 3 GiB\n"},
        {1536, "cronsched: output cut at 1536 bytes\n"},
        {64 * 1024, "cronsched: output cut at 64 KiB\n"},
        {0, "cronsched: output cut at 0 bytes\n"},
    };
    char buffer[RUN_LOG_NOTICE_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(run_log_notice(cases[i].cap, buffer), cases[i].text);
}

static void test_cap_keeps_the_beginning_and_says_so_once(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 10, false, NULL), 0);
    assert_int_equal(run_log_file_write(&f, "hello\n", 6, NULL), 0);
    assert_int_equal(run_log_file_write(&f, "abcd", 4, NULL), 0);
    assert_int_equal(run_log_file_write(&f, "e", 1, NULL), ERR_FULL);
    assert_int_equal(run_log_file_write(&f, "more", 4, NULL), ERR_FULL);
    run_log_file_close(&f);
    assert_content(path_of(1), "hello\nabcd\ncronsched: output cut at 10 bytes\n");
}

static void test_cap_at_a_line_end_adds_no_empty_line(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 6, false, NULL), 0);
    assert_int_equal(run_log_file_write(&f, "hello\nabcd", 10, NULL), ERR_FULL);
    run_log_file_close(&f);
    assert_content(path_of(1), "hello\ncronsched: output cut at 6 bytes\n");
}

static void test_output_of_just_the_cap_is_not_cut(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 6, false, NULL), 0);
    assert_int_equal(run_log_file_write(&f, "hello\n", 6, NULL), 0);
    run_log_file_close(&f);
    assert_content(path_of(1), "hello\n");
}

/* An engine that comes back gives the stream from its start; wherever it was interrupted the file ends up the
 * same. */
static void test_resumed_stream_is_written_once(void **state)
{
    static const char stream[] = "one\ntwo\nthree\nfour\n";
    size_t n = strlen(stream);

    for (size_t stop = 0; stop <= n; stop++) {
        for (int64_t cap = 0; cap <= 22; cap += 11) {
            struct run_log_file f;

            unlink(path_of(1));
            assert_int_equal(run_log_file_open(&f, path_of(1), cap, true, NULL), 0);
            run_log_file_write(&f, stream, stop, NULL);
            run_log_file_close(&f);
            assert_int_equal(run_log_file_open(&f, path_of(1), cap, true, NULL), 0);
            for (size_t i = 0; i < n; i++)
                run_log_file_write(&f, stream + i, 1, NULL);
            run_log_file_close(&f);
            assert_content(path_of(1), cap == 0    ? "cronsched: output cut at 0 bytes\n"
                                       : cap == 11 ? "one\ntwo\nthr\ncronsched: output cut at 11 bytes\n"
                                                   : stream);
        }
    }
}

static void test_fresh_log_forgets_the_old(void **state)
{
    struct run_log_file f;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_log_file_open(&f, path_of(1), 100, false, NULL), 0);
        assert_int_equal(run_log_file_write(&f, "x\n", 2, NULL), 0);
        run_log_file_close(&f);
    }
    assert_content(path_of(1), "x\n");
}

/* ---- the writer ---- */

struct outcome {
    int calls, result, drained;
    char text[200];
};

static void on_done(void *arg, int result, const char *text)
{
    struct outcome *o = arg;

    o->calls++;
    o->result = result;
    snprintf(o->text, sizeof(o->text), "%s", text ? text : "");
}

static void on_drained(void *arg)
{
    ((struct outcome *)arg)->drained++;
}

static void finish_loop(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void test_writer_writes_in_order(void **state)
{
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;
    char line[24], expected[4096] = "";

    uv_loop_init(&loop);
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 4096, true, on_drained, &o, NULL), 0);
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        memcpy(expected + strlen(expected), line, strlen(line) + 1);
        assert_int_equal(run_log_writer_write(w, line, strlen(line)), 0);
        if (i % 7 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.result, 0);
    assert_content(path_of(1), expected);
}

static void test_writer_without_output_leaves_an_empty_log(void **state)
{
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;

    uv_loop_init(&loop);
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(2), 4096, true, NULL, NULL, NULL), 0);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(o.calls, 1);
    assert_content(path_of(2), "");
}

static void test_writer_asks_to_pause_and_drains(void **state)
{
    static char block[RUN_LOG_PENDING_MAX / 2];
    struct outcome o = {0};
    struct run_log_writer *w;
    struct stat st;
    uv_loop_t loop;
    int n = 0;

    memset(block, 'x', sizeof(block));
    uv_loop_init(&loop);
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), INT64_C(1) << 30, true, on_drained, &o, NULL),
                     0);
    do
        assert_true(++n < 10);
    while (run_log_writer_write(w, block, sizeof(block)) == 0);
    while (o.drained == 0)
        uv_run(&loop, UV_RUN_ONCE);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(stat(path_of(1), &st), 0);
    assert_int_equal(st.st_size, n * (int64_t)sizeof(block));
}

static void test_writer_says_full_at_the_cap(void **state)
{
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;

    uv_loop_init(&loop);
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 4, true, NULL, NULL, NULL), 0);
    assert_int_equal(run_log_writer_write(w, "abcdef", 6), 0);
    while (uv_run(&loop, UV_RUN_ONCE))
        ;
    assert_int_equal(run_log_writer_write(w, "ghi", 3), ERR_FULL);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(o.result, 0); /* a cut is no error */
    assert_content(path_of(1), "abcd\ncronsched: output cut at 4 bytes\n");
}

static void test_writer_tells_what_went_wrong_at_the_end(void **state)
{
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;
    char file[128], path[256];
    int fd;

    snprintf(file, sizeof(file), "%s/logs", dir); /* a file where the folder should be */
    fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(run_log_path(dir, RUN, 1, path, sizeof(path), NULL), 0);
    uv_loop_init(&loop);
    assert_int_equal(run_log_writer_new(&w, &loop, path, 100, true, NULL, NULL, NULL), 0);
    assert_int_equal(run_log_writer_write(w, "abc", 3), 0);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.result, ERR_IO);
    assert_non_null(strstr(o.text, "Not a directory"));
}

static void test_abandoned_writer_is_silent(void **state)
{
    struct run_log_writer *w;
    uv_loop_t loop;

    uv_loop_init(&loop);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 100, true, NULL, NULL, NULL), 0);
        if (i > 0)
            assert_int_equal(run_log_writer_write(w, "abc", 3), 0);
        if (i > 1)
            run_log_writer_finish(w, on_done, NULL); /* would crash if it were called */
        run_log_writer_abandon(w);
    }
    run_log_writer_abandon(NULL);
    finish_loop(&loop);
}

static void test_removal_takes_the_folder_with_the_last(void **state)
{
    struct run_log_file f;
    struct stat st;
    uv_loop_t loop;
    char folder[128], other[RUN_LOG_PATH_MAX];

    snprintf(folder, sizeof(folder), "%s/logs/report", dir);
    assert_int_equal(run_log_path(dir, "report@20261123T030000Z", 1, other, sizeof(other), NULL), 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(run_log_file_open(&f, i == 3 ? other : path_of(i), 10, false, NULL), 0);
        run_log_file_close(&f);
    }
    uv_loop_init(&loop);
    run_log_remove(&loop, dir, RUN, 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(stat(path_of(1), &st), -1);
    assert_int_equal(stat(path_of(2), &st), -1);
    assert_int_equal(stat(other, &st), 0);
    run_log_remove(&loop, dir, "report@20261123T030000Z", 1);
    finish_loop(&loop);
    assert_int_equal(stat(folder, &st), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paths),
        TEST(test_notice_names_the_cap),
        TEST(test_cap_keeps_the_beginning_and_says_so_once),
        TEST(test_cap_at_a_line_end_adds_no_empty_line),
        TEST(test_output_of_just_the_cap_is_not_cut),
        TEST(test_resumed_stream_is_written_once),
        TEST(test_fresh_log_forgets_the_old),
        TEST(test_writer_writes_in_order),
        TEST(test_writer_without_output_leaves_an_empty_log),
        TEST(test_writer_asks_to_pause_and_drains),
        TEST(test_writer_says_full_at_the_cap),
        TEST(test_writer_tells_what_went_wrong_at_the_end),
        TEST(test_abandoned_writer_is_silent),
        TEST(test_removal_takes_the_folder_with_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
