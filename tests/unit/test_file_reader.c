/* Files of others: what is read, what is refused and how that is said. What hangs is in hung_test.py. */
#include "cronsched/io/file_reader.h"
#include "jobs/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_BYTES 16

struct lab {
    uv_loop_t loop;
    struct file_reader *reader;
    char folder[64], paths[4][96];
    int done, closed;
    size_t at;
    struct error error;
    char data[4][MAX_BYTES + 1];
};

static const char *write_file(struct lab *l, int i, const char *name, const char *text)
{
    FILE *f;

    snprintf(l->paths[i], sizeof(l->paths[i]), "%s/%s", l->folder, name);
    f = fopen(l->paths[i], "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return l->paths[i];
}

static void on_done(void *arg, const struct file_content *files, size_t count, size_t at,
                    const struct error *error)
{
    struct lab *l = arg;

    l->done++;
    l->at = at;
    l->error = error ? *error : (struct error){0};
    for (size_t i = 0; i < count; i++)
        snprintf(l->data[i], sizeof(l->data[i]), "%s", files[i].data ? files[i].data : "-");
}

static void on_closed(void *arg)
{
    ((struct lab *)arg)->closed++;
}

static int set_up(void **state)
{
    struct lab *l = alloc_zero(sizeof(*l));

    snprintf(l->folder, sizeof(l->folder), "/tmp/file-reader-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    uv_loop_init(&l->loop);
    l->reader = file_reader_new(&l->loop);
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    struct lab *l = *state;

    if (!l->closed)
        file_reader_close(l->reader, on_closed, l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_int_equal(l->closed, 1);
    assert_int_equal(uv_loop_close(&l->loop), 0);
    for (int i = 0; i < 4; i++)
        unlink(l->paths[i]);
    rmdir(l->folder);
    free(l);
    return 0;
}

static void read_all(struct lab *l, const char *const *paths, size_t count)
{
    file_reader_read(l->reader, paths, NULL, count, MAX_BYTES, on_done, l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_int_equal(l->done, 1);
}

static void test_several_with_gaps(void **state)
{
    struct lab *l = *state;
    const char *paths[] = {NULL, write_file(l, 0, "a", "one\n"), NULL, write_file(l, 1, "b", "")};

    read_all(l, paths, 4);
    assert_int_equal(l->error.code, 0);
    assert_string_equal(l->data[0], "-");
    assert_string_equal(l->data[1], "one\n");
    assert_string_equal(l->data[3], "");
}

static void assert_refused(struct lab *l, const char *path, int code, const char *why)
{
    const char *paths[] = {write_file(l, 0, "fine", "x"), path};
    char text[256];

    read_all(l, paths, 2);
    assert_int_equal(l->error.code, code);
    assert_int_equal(l->at, 1);
    snprintf(text, sizeof(text), "the file %s cannot be read: %s", path, why);
    assert_string_equal(l->error.text, text);
}

static void test_missing(void **state)
{
    assert_refused(*state, "/no/such/file", ERR_NOT_FOUND, "No such file or directory");
}

static void test_too_large(void **state)
{
    assert_refused(*state, write_file(*state, 1, "large", "more than sixteen"), ERR_LIMIT,
                   "larger than 16 bytes");
}

/* An open would wait for its writer, a read for what it writes. */
static void test_pipe(void **state)
{
    struct lab *l = *state;

    snprintf(l->paths[1], sizeof(l->paths[1]), "%s/pipe", l->folder);
    assert_int_equal(mkfifo(l->paths[1], 0600), 0);
    assert_refused(l, l->paths[1], ERR_INVALID, "not a regular file");
}

/* It is this process's fault, not the file's: another time it may go. */
static void test_no_descriptor(void **state)
{
    struct lab *l = *state;
    const char *paths[] = {write_file(l, 0, "a", "x")};
    struct rlimit before, none;
    int lowest = dup(0);

    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest;
    setrlimit(RLIMIT_NOFILE, &none);
    read_all(l, paths, 1);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(l->error.code, ERR_BUSY);
}

static void test_closing_cancels(void **state)
{
    struct lab *l = *state;
    const char *paths[] = {write_file(l, 0, "a", "x")};

    file_reader_read(l->reader, paths, NULL, 1, MAX_BYTES, on_done, l);
    file_reader_close(l->reader, on_closed, l);
    assert_int_equal(l->done, 1);
    assert_int_equal(l->error.code, ERR_CANCELLED);
    uv_run(&l->loop, UV_RUN_DEFAULT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_several_with_gaps), T(test_missing),         T(test_too_large), T(test_pipe),
        T(test_no_descriptor),     T(test_closing_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
