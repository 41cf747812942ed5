/* The mark on disk: written, read again, and told when it cannot be. */
#include "cronsched/cluster/mark_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HASH "0123456789abcdef0123456789abcdef"

struct fixture {
    uv_loop_t loop;
    char folder[64];
    struct mark_file *file;
    bool closed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->folder, sizeof(f->folder), "/tmp/cronsched-mark-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    uv_loop_init(&f->loop);
    *state = f;
    return 0;
}

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    return path;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, uv_loop_close(&f->loop));
    unlink(path_of(f, "mark"));
    unlink(path_of(f, "cluster"));
    rmdir(path_of(f, "mark.new"));
    unlink(path_of(f, "mark.new"));
    assert_int_equal(0, rmdir(f->folder));
    free(f);
    return 0;
}

static void put(const struct fixture *f, const char *name, const char *text)
{
    FILE *file = fopen(path_of(f, name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static void close_file(struct fixture *f)
{
    mark_file_close(f->file, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
}

static struct mark mark_at(uint64_t index)
{
    return (struct mark){.cluster = "uuid", .index = index, .hash = HASH, .since = {3, 1, HASH}};
}

static void the_newest_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct mark mark = {.index = 0}, read;

    assert_int_equal(0, mark_file_read(f->folder, &read, NULL));
    assert_int_equal(0, read.index);
    assert_string_equal("", read.cluster);
    mark_file_new(&f->file, &f->loop, f->folder, &read);
    for (uint64_t i = 1; i <= 100; i++) {
        mark = mark_at(i);
        mark_file_set(f->file, &mark);
    }
    close_file(f);
    assert_int_equal(0, mark_file_read(f->folder, &read, NULL));
    assert_int_equal(100, read.index);
    assert_string_equal("uuid", read.cluster);
    assert_string_equal(HASH, read.hash);
    assert_int_equal(3, read.since.epoch);
}

static uint64_t index_on_disk(struct fixture *f)
{
    struct mark mark;

    assert_int_equal(0, mark_file_read(f->folder, &mark, NULL));
    return mark.index;
}

static void one_write_at_a_time_and_the_last_is_durable(void **state)
{
    struct fixture *f = *state;
    struct mark mark = mark_at(1), none = {.index = 0};
    uint64_t began;

    mark_file_new(&f->file, &f->loop, f->folder, &none);
    mark_file_set(f->file, &mark);
    mark = mark_at(2);
    mark_file_set(f->file, &mark);
    assert_int_equal(0, index_on_disk(f));
    began = uv_hrtime();
    uv_run(&f->loop, UV_RUN_DEFAULT); /* until nothing is to be written, with its pauses */
    assert_true(uv_hrtime() - began >= (uint64_t)MARK_FILE_EVERY_MS * 1000000);
    assert_int_equal(2, index_on_disk(f));
    assert_string_equal("", mark_file_trouble(f->file));
    close_file(f);
}

static void a_write_that_fails_is_told_and_tried_again(void **state)
{
    struct fixture *f = *state;
    struct mark mark = mark_at(5), none = {.index = 0}, read;

    assert_int_equal(0, mkdir(path_of(f, "mark.new"), 0700)); /* nothing can be written there */
    mark_file_new(&f->file, &f->loop, f->folder, &none);
    mark_file_set(f->file, &mark);
    while (!mark_file_trouble(f->file)[0])
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_non_null(strstr(mark_file_trouble(f->file), "cannot be written"));
    assert_int_equal(0, index_on_disk(f));
    assert_int_equal(0, rmdir(path_of(f, "mark.new")));
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(5, index_on_disk(f));
    assert_string_equal("", mark_file_trouble(f->file));
    close_file(f);
    assert_int_equal(0, mark_file_read(f->folder, &read, NULL));
    assert_int_equal(5, read.index);
}

static void what_an_older_build_left_is_taken(void **state)
{
    struct fixture *f = *state;
    struct mark read;

    put(f, "cluster", "6d1f0a52-6a2b-4f6e-9a53-d0d7a7b0a001\n");
    assert_int_equal(0, mark_file_read(f->folder, &read, NULL));
    assert_string_equal("6d1f0a52-6a2b-4f6e-9a53-d0d7a7b0a001", read.cluster);
    assert_int_equal(0, read.index);
}

static void a_damaged_file_is_an_error(void **state)
{
    static const char *const texts[] = {"", "{", "{\"cluster\":\"x\"}\n", "null\n", "\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct error error = {0};
        struct mark read = {.index = 9};

        put(f, "mark", texts[i]);
        assert_int_equal(ERR_CORRUPT, mark_file_read(f->folder, &read, &error));
        assert_non_null(strstr(error.text, "/mark"));
        assert_int_equal(9, read.index);
    }
}

static void another_clusters_mark_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct mark mine = mark_at(5), other = mark_at(9), read;

    snprintf(other.cluster, sizeof(other.cluster), "other");
    assert_int_equal(0, mark_file_write(f->folder, &mine, NULL));
    mark_file_new(&f->file, &f->loop, f->folder, &mine);
    mark_file_set(f->file, &other);
    assert_non_null(strstr(mark_file_trouble(f->file), "belongs to cluster uuid"));
    close_file(f);
    assert_int_equal(0, mark_file_read(f->folder, &read, NULL));
    assert_string_equal("uuid", read.cluster);
    assert_int_equal(5, read.index);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_newest_is_read_again),
        TEST(one_write_at_a_time_and_the_last_is_durable),
        TEST(a_write_that_fails_is_told_and_tried_again),
        TEST(what_an_older_build_left_is_taken),
        TEST(a_damaged_file_is_an_error),
        TEST(another_clusters_mark_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
