/* Kept logs: paths, what is kept, resuming, a process that dies at any system call, the writer on the loop, removal. */
#include "cronsched/io/run_log_reader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "jobs/state/run_id.h"

#define RUN "report@20261122T030000Z"

#define TEXT_MAX (2 * 1024 * 1024)

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

/* All of the log as text, the caller's to free. */
static char *text_of(const char *path)
{
    const struct run_log_view all = {.tail = -1};
    struct run_log_reader *r = run_log_reader_new(path, &all);
    char *text = calloc(1, TEXT_MAX);
    size_t at = 0, n;

    assert_non_null(text);
    do {
        assert_true(at + RUN_LOG_BLOCK_LEAST < TEXT_MAX);
        assert_int_equal(run_log_reader_read(r, text + at, RUN_LOG_BLOCK_LEAST, &n), 0);
        at += n;
    } while (n > 0);
    run_log_reader_free(r);
    return text;
}

static void assert_content(const char *path, const char *expected)
{
    char *text = text_of(path);

    assert_string_equal(text, expected);
    free(text);
}

static int add(struct run_log_file *f, int64_t ns, const char *bytes)
{
    const struct run_log_frame frame = {.kind = RUN_LOG_OUT, .ns = ns, .data = bytes, .size = strlen(bytes)};
    int r = run_log_file_add(f, &frame, NULL);

    return r < 0 ? r : run_log_file_flush(f, NULL);
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

static void test_output_up_to_the_cap_is_kept_whole(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 10, RUN_LOG_FRESH, NULL), 0);
    assert_int_equal(add(&f, 1, "hello\n"), 0);
    assert_int_equal(add(&f, 2, "abcd"), 0);
    run_log_file_close(&f);
    assert_content(path_of(1), "hello\nabcd");
}

static void test_of_longer_output_both_ends_are_kept(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 12, RUN_LOG_FRESH, NULL), 0);
    for (char line[] = "0\n"; line[0] <= '9'; line[0]++)
        assert_int_equal(add(&f, line[0], line), 0);
    run_log_file_close(&f);
    assert_content(
        path_of(1),
        "0\n1\n2\ncronsched: 8 bytes (4 lines) of output are missing here: keep.logs is 12\n7\n8\n9\n");
}

static void test_the_end_begins_with_a_whole_line(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 12, RUN_LOG_FRESH, NULL), 0);
    assert_int_equal(add(&f, 1, "begin, middle, the\nend"), 0);
    run_log_file_close(&f);
    assert_content(path_of(1),
                   "begin,\ncronsched: 13 bytes (1 lines) of output are missing here: keep.logs is 12\nend");
    assert_int_equal(run_log_file_open(&f, path_of(1), 12, RUN_LOG_FRESH, NULL), 0);
    assert_int_equal(add(&f, 1, "begin, middle, no line"), 0); /* or with what there is */
    run_log_file_close(&f);
    assert_content(
        path_of(1),
        "begin,\ncronsched: 10 bytes (0 lines) of output are missing here: keep.logs is 12\no line");
}

static void test_nothing_is_kept_when_nothing_is_to_be(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 0, RUN_LOG_FRESH, NULL), 0);
    assert_int_equal(add(&f, 1, "a\nb\n"), 0);
    run_log_file_close(&f);
    assert_content(path_of(1), "cronsched: 4 bytes (2 lines) of output are missing here: keep.logs is 0\n");
}

static void test_fresh_log_forgets_the_old(void **state)
{
    struct run_log_file f;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_log_file_open(&f, path_of(1), 4, RUN_LOG_FRESH, NULL), 0);
        assert_int_equal(add(&f, 1, i == 0 ? "far too much for it\n" : "x\n"), 0);
        run_log_file_close(&f);
    }
    assert_content(path_of(1), "x\n");
}

/* One that was kept by an older version, as plain text. */
static void write_plain(const char *text)
{
    char folder[128];
    int fd;

    snprintf(folder, sizeof(folder), "%s/logs", dir);
    mkdir(folder, 0750);
    snprintf(folder, sizeof(folder), "%s/logs/report", dir);
    mkdir(folder, 0750);
    fd = open(path_of(1), O_CREAT | O_TRUNC | O_WRONLY, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_plain_text_is_read_and_resumed(void **state)
{
    struct run_log_file f;

    write_plain("one\ntwo\nthr");
    assert_content(path_of(1), "one\ntwo\nthr");
    assert_int_equal(run_log_file_open(&f, path_of(1), 12, RUN_LOG_RESUME, NULL), 0);
    assert_int_equal(f.at.offset, 11);
    assert_int_equal(f.at.last_ns, 0);
    assert_int_equal(add(&f, 5, "ee\nfour\n"), 0);
    run_log_file_close(&f);
    assert_content(
        path_of(1),
        "one\ntwo\nthr\ncronsched: 3 bytes (1 lines) of output are missing here: keep.logs is 12\nfour\n");
    write_plain("one\ntwo\nthree\ncronsched: output cut at 12 bytes\n");
    assert_int_equal(run_log_file_open(&f, path_of(1), 12, RUN_LOG_RESUME, NULL), 0);
    assert_int_equal(f.at.offset, 12);
    run_log_file_close(&f);
    assert_content(path_of(1), "one\ntwo\nthre");
}

static void test_the_end_of_a_log_is_known_when_it_is_resumed(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 100, RUN_LOG_FRESH, NULL), 0);
    assert_int_equal(add(&f, 7, "a\n"), 0);
    assert_int_equal(add(&f, 5, "bc\n"), 0); /* the clock was set back */
    assert_int_equal(add(&f, 5, "d"), 0);
    run_log_file_close(&f);
    assert_int_equal(run_log_file_open(&f, path_of(1), 100, RUN_LOG_RESUME, NULL), 0);
    assert_int_equal(f.at.offset, 6);
    assert_int_equal(f.at.lines, 2);
    assert_int_equal(f.at.last_ns, 5);
    assert_int_equal(f.at.latest_ns, 7);
    assert_int_equal(f.at.same_bytes, 4);
    assert_true(f.at.line_begun);
    run_log_file_close(&f);
}

static void test_a_log_in_one_file_loses_its_end(void **state)
{
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 6, RUN_LOG_SOLE, NULL), 0);
    assert_int_equal(add(&f, 1, "one\ntwo\n"), 0);
    assert_int_equal(add(&f, 2, "three\n"), 0);
    run_log_file_close(&f);
    assert_content(path_of(1),
                   "one\ntw\ncronsched: 8 bytes (2 lines) of output are missing here: keep.logs is 6\n");
}

/* ---- a process that dies ---- */

#define CRASH_LINES     1500
#define CRASH_CAP       4096
#define CRASH_CAP_LARGE (80 * 1024) /* more than RUN_LOG_SLOT_LEAST in each file */
#define LINE_BYTES      64
#define FLUSH_LINES     25
#define CALLS_BESIDE    20 /* that make the files: more than there are */

static int calls_left = -1; /* system calls until this process ends; -1: it does not */
static bool half;           /* a write() comes half as far */

static bool dies(void)
{
    return calls_left >= 0 && calls_left-- == 0;
}

/* In place of the C library's, for the store's calls in this program. */
ssize_t write(int fd, const void *bytes, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (!real)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (dies()) {
        if (half)
            real(fd, bytes, n / 2);
        _exit(42);
    }
    return real(fd, bytes, n);
}

int rename(const char *from, const char *to)
{
    static int (*real)(const char *, const char *);

    if (!real)
        real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    if (dies())
        _exit(42);
    return real(from, to);
}

static void line_of(int i, char line[LINE_BYTES + 1])
{
    snprintf(line, LINE_BYTES + 1, "%-*d\n", LINE_BYTES - 1, i);
}

/* Goes on with the log from where it ends. */
static void write_rest(int64_t cap, bool fresh)
{
    char line[LINE_BYTES + 1];
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), cap, fresh ? RUN_LOG_FRESH : RUN_LOG_RESUME, NULL), 0);
    for (int i = (int)(f.at.offset / LINE_BYTES); i < CRASH_LINES; i++) {
        struct run_log_frame frame = {.kind = RUN_LOG_OUT, .ns = 1000 + i, .data = line};
        size_t have = i == f.at.offset / LINE_BYTES ? (size_t)(f.at.offset % LINE_BYTES) : 0;

        line_of(i, line);
        frame.data = line + have;
        frame.size = LINE_BYTES - have;
        assert_int_equal(run_log_file_add(&f, &frame, NULL), 0);
        if (i % FLUSH_LINES == FLUSH_LINES - 1)
            assert_int_equal(run_log_file_flush(&f, NULL), 0);
    }
    run_log_file_close(&f);
}

/* What is there is a true beginning, and behind the notice a true end, of all that was written at some time. */
static void assert_true_ends(const char *text, int64_t cap)
{
    const char *notice = strstr(text, "cronsched: ");
    size_t head = notice ? (size_t)(notice - text) : strlen(text);
    char line[LINE_BYTES + 1];
    long long missing;

    for (size_t at = 0; at < head; at += LINE_BYTES) {
        line_of((int)(at / LINE_BYTES), line);
        assert_memory_equal(text + at, line, head - at < LINE_BYTES ? head - at : LINE_BYTES);
    }
    if (!notice)
        return;
    assert_int_equal(head, cap / 2);
    assert_int_equal(sscanf(notice, "cronsched: %lld bytes", &missing), 1);
    text = strchr(notice, '\n') + 1;
    assert_in_range(strlen(text), cap * 3 / 8 - LINE_BYTES, cap / 2);
    for (size_t at = 0; text[at]; at += LINE_BYTES) {
        line_of((int)((head + (size_t)missing + at) / LINE_BYTES), line);
        assert_memory_equal(text + at, line, strnlen(text + at, LINE_BYTES));
    }
}

/* The number in the last line that is whole. */
static int last_line(const char *text)
{
    size_t n = strlen(text);

    while (n > 0 && text[n - 1] != '\n')
        n--;
    return n < LINE_BYTES ? -1 : (int)strtol(text + n - LINE_BYTES, NULL, 10);
}

static bool child_dies_at(int64_t cap, int call)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        calls_left = call;
        write_rest(cap, true);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 42;
}

/* Wherever the process dies: what is there then is true, and whoever goes on comes to the same log. */
static void crash_everywhere(int64_t cap)
{
    struct stat st;
    char *whole;
    int call = 0;

    write_rest(cap, true);
    whole = text_of(path_of(1));
    assert_true_ends(whole, cap);
    for (;; call++) {
        char *text;

        half = call % 2 == 0;
        if (!child_dies_at(cap, call))
            break;
        if (stat(path_of(1), &st) == 0) {
            text = text_of(path_of(1));
            assert_true_ends(text, cap);
            if (call > CALLS_BESIDE)
                assert_in_range(last_line(text), (call - CALLS_BESIDE) * FLUSH_LINES - 1, CRASH_LINES);
            free(text);
        }
        write_rest(cap, false);
        assert_content(path_of(1), whole);
    }
    assert_in_range(call, CRASH_LINES / FLUSH_LINES, CRASH_LINES);
    free(whole);
}

static void test_a_process_that_dies_anywhere_loses_nothing_that_is_kept(void **state)
{
    crash_everywhere(CRASH_CAP);
    crash_everywhere(CRASH_CAP_LARGE);
}

static void test_disk_is_bounded(void **state)
{
    char name[RUN_LOG_FILE_PATH_MAX];
    int64_t sum = 0;
    struct stat st;

    write_rest(CRASH_CAP, true);
    assert_int_equal(stat(path_of(1), &st), 0);
    sum += st.st_size;
    for (int slot = 0; slot < RUN_LOG_SLOTS; slot++) {
        assert_int_equal(stat(run_log_file_name(path_of(1), slot, name), &st), 0);
        sum += st.st_size;
    }
    assert_in_range(sum, CRASH_CAP, (CRASH_CAP / 2 + RUN_LOG_SLOTS * RUN_LOG_SLOT_LEAST) * 11 / 10);
    assert_int_equal(stat(run_log_file_name(path_of(1), RUN_LOG_SLOT_NEW, name), &st), -1);
    run_log_file_remove(path_of(1));
    for (int slot = 0; slot < RUN_LOG_SLOTS; slot++)
        assert_int_equal(stat(run_log_file_name(path_of(1), slot, name), &st), -1);
}

/* ---- the writer ---- */

struct outcome {
    int calls, result, drained, opened;
    struct run_log_place place;
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

static void on_opened(void *arg, const struct run_log_place *place)
{
    struct outcome *o = arg;

    o->opened++;
    if (place)
        o->place = *place;
}

static const struct run_log_writer_events events = {on_opened, on_drained};

static int give(struct run_log_writer *w, const char *bytes, size_t n)
{
    const struct run_log_frame frame = {.kind = RUN_LOG_OUT, .ns = 1, .data = bytes, .size = n};

    return run_log_writer_add(w, &frame);
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
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 4096, RUN_LOG_RESUME, &events, &o, NULL), 0);
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        memcpy(expected + strlen(expected), line, strlen(line) + 1);
        assert_int_equal(give(w, line, strlen(line)), 0);
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
    assert_int_equal(run_log_writer_new(&w, &loop, path_of(2), 4096, RUN_LOG_RESUME, NULL, NULL, NULL), 0);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    assert_int_equal(o.calls, 1);
    assert_content(path_of(2), "");
}

static void test_writer_asks_to_pause_and_drains(void **state)
{
    static char block[RUN_LOG_FRAME_MAX];
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;
    char *text;
    int n = 0;

    memset(block, 'x', sizeof(block));
    uv_loop_init(&loop);
    assert_int_equal(
        run_log_writer_new(&w, &loop, path_of(1), INT64_C(1) << 30, RUN_LOG_RESUME, &events, &o, NULL), 0);
    do
        assert_true(++n < 100);
    while (give(w, block, sizeof(block)) == 0);
    while (o.drained == 0)
        uv_run(&loop, UV_RUN_ONCE);
    run_log_writer_finish(w, on_done, &o);
    finish_loop(&loop);
    text = text_of(path_of(1));
    assert_int_equal(strlen(text), (size_t)n * sizeof(block));
    free(text);
}

static void test_writer_says_where_the_log_ends(void **state)
{
    struct outcome o = {0};
    struct run_log_writer *w;
    uv_loop_t loop;

    for (int i = 0; i < 2; i++) {
        uv_loop_init(&loop);
        assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 4, RUN_LOG_RESUME, &events, &o, NULL), 0);
        while (o.opened == i)
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(o.place.offset, 6 * i);
        assert_int_equal(give(w, "abcdef", 6), 0);
        run_log_writer_finish(w, on_done, &o);
        finish_loop(&loop);
        assert_int_equal(o.opened, i + 1);
        assert_int_equal(o.result, 0);
    }
    assert_content(path_of(1),
                   "ab\ncronsched: 8 bytes (0 lines) of output are missing here: keep.logs is 4\nef");
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
    assert_int_equal(run_log_writer_new(&w, &loop, path, 100, RUN_LOG_RESUME, NULL, NULL, NULL), 0);
    assert_int_equal(give(w, "abc", 3), 0);
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
        assert_int_equal(run_log_writer_new(&w, &loop, path_of(1), 100, RUN_LOG_RESUME, NULL, NULL, NULL), 0);
        if (i > 0)
            assert_int_equal(give(w, "abc", 3), 0);
        if (i > 1)
            run_log_writer_finish(w, on_done, NULL); /* would crash if it were called */
        run_log_writer_abandon(w);
    }
    run_log_writer_abandon(NULL);
    finish_loop(&loop);
}

/* A file of a log, empty. */
static void touch(const char *run, const char *end)
{
    char path[RUN_LOG_PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/logs/report/%s.%s", dir, run, end);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int count_files(void)
{
    char folder[128];
    struct dirent *entry;
    int count = 0;
    DIR *d;

    snprintf(folder, sizeof(folder), "%s/logs/report", dir);
    d = opendir(folder);
    while (d && (entry = readdir(d)))
        count += *entry->d_name != '.';
    if (d)
        closedir(d);
    return d ? count : -1;
}

static void test_removal_takes_the_folder_with_the_last(void **state)
{
    char ids[][RUN_ID_MAX] = {"report@20261123T040000Z",     RUN,
                              "report@20261123T010000.123Z", "report@20261123T030000Z",
                              "report@20261123T010000Z",     "other@20261123T030000Z"};
    char *first[] = {ids[0], ids[1], ids[2]}, *last[] = {ids[3], ids[4]}, *none[] = {ids[5]};
    struct run_log_file f;

    assert_int_equal(run_log_file_open(&f, path_of(1), 10, RUN_LOG_FRESH, NULL), 0);
    run_log_file_close(&f);
    touch(RUN, "1.log.3");
    touch(RUN, "9999.log");
    touch(RUN, "2.log.copy");
    touch(RUN, "2.log.copy.new");
    touch(first[2], "1.log");
    touch(last[0], "1.log");
    touch(last[1], "1.log");
    assert_int_equal(count_files(), 8);
    run_log_remove(dir, "report", first, 3);
    assert_int_equal(count_files(), 2);
    run_log_remove(dir, "report", none, 1);
    run_log_remove(dir, "other", none, 1);
    run_log_remove(dir, "../logs/report", last, 2);
    assert_int_equal(count_files(), 2);
    run_log_remove(dir, "report", last, 2);
    assert_int_equal(count_files(), -1);
    run_log_remove(dir, "report", last, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paths),
        TEST(test_output_up_to_the_cap_is_kept_whole),
        TEST(test_of_longer_output_both_ends_are_kept),
        TEST(test_the_end_begins_with_a_whole_line),
        TEST(test_nothing_is_kept_when_nothing_is_to_be),
        TEST(test_fresh_log_forgets_the_old),
        TEST(test_plain_text_is_read_and_resumed),
        TEST(test_the_end_of_a_log_is_known_when_it_is_resumed),
        TEST(test_a_log_in_one_file_loses_its_end),
        TEST(test_a_process_that_dies_anywhere_loses_nothing_that_is_kept),
        TEST(test_disk_is_bounded),
        TEST(test_writer_writes_in_order),
        TEST(test_writer_without_output_leaves_an_empty_log),
        TEST(test_writer_asks_to_pause_and_drains),
        TEST(test_writer_says_where_the_log_ends),
        TEST(test_writer_tells_what_went_wrong_at_the_end),
        TEST(test_abandoned_writer_is_silent),
        TEST(test_removal_takes_the_folder_with_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
