/* Reading whole files: limits, types, owners. */
#include "cronsched/io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_file.XXXXXX", path[64];

static int set_up(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    return rmdir(folder);
}

static void put(const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static void test_whole(void **state)
{
    struct error error;
    char *bytes;
    size_t size;

    put("a\0b", 3);
    assert_int_equal(file_read(path, 3, FILE_REGULAR | FILE_TRUSTED, &bytes, &size, &error), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "a\0b\0", 4);
    free(bytes);
    put("", 0);
    assert_int_equal(file_read(path, 0, 0, &bytes, NULL, &error), 0);
    assert_string_equal(bytes, "");
    free(bytes);
    unlink(path);
}

static void test_refused(void **state)
{
    struct error error;
    char *bytes;

    put("abcd", 4);
    assert_int_equal(file_read(path, 3, 0, &bytes, NULL, &error), ERR_LIMIT);
    assert_string_equal(error.text, "larger than 3 bytes");
    assert_int_equal(chmod(path, 0602), 0);
    assert_int_equal(file_read(path, 9, FILE_TRUSTED, &bytes, NULL, &error), ERR_DENIED);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(file_read(path, 9, FILE_TRUSTED, &bytes, NULL, &error), ERR_DENIED);
    assert_int_equal(chmod(path, 0640), 0);
    assert_false(file_is_private(path));
    assert_int_equal(chmod(path, 0600), 0);
    assert_true(file_is_private(path));
    unlink(path);
    assert_int_equal(file_read(path, 9, 0, &bytes, NULL, &error), ERR_NOT_FOUND);
    assert_int_equal(file_read(folder, 9, FILE_REGULAR, &bytes, NULL, &error), ERR_INVALID);
    assert_int_equal(file_read(folder, 9, 0, &bytes, NULL, &error), ERR_IO);
}

static int read_trusted(const char *at, struct error *error)
{
    char *bytes = NULL;
    int r = file_read(at, 9, FILE_REGULAR | FILE_TRUSTED, &bytes, NULL, error);

    free(bytes);
    return r;
}

/* Who may write a folder on the way may put another file there. */
static void test_folders_on_the_way(void **state)
{
    char inner[96], file[112], link[112];
    struct error error;

    snprintf(inner, sizeof(inner), "%s/inner", folder);
    snprintf(file, sizeof(file), "%s/file", inner);
    snprintf(link, sizeof(link), "%s/link", folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(symlink(file, link), 0);
    put("a", 1);
    assert_int_equal(rename(path, file), 0);
    assert_int_equal(read_trusted(file, &error), 0); /* although /tmp is everybody's: it is sticky */
    assert_int_equal(read_trusted(link, &error), 0);
    assert_int_equal(chmod(inner, 0777), 0);
    assert_int_equal(read_trusted(file, &error), ERR_DENIED);
    assert_non_null(strstr(error.text, inner));
    assert_int_equal(read_trusted(link, &error), ERR_DENIED); /* a link's end counts */
    assert_int_equal(chmod(inner, 0770), 0);
    assert_int_equal(geteuid() == 0 ? chown(inner, 0, 65534) : 0, 0);
    assert_int_equal(geteuid() == 0 ? read_trusted(file, &error) : ERR_DENIED, ERR_DENIED);
    assert_int_equal(chmod(inner, 0700), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(read_trusted(link, &error), ERR_DENIED); /* and the place of the link itself */
    assert_int_equal(chmod(folder, 0700), 0);
    unlink(link);
    unlink(file);
    rmdir(inner);
}

/* A pipe that nobody writes must not hang the reader. */
static void test_pipes(void **state)
{
    struct error error;
    char *bytes;
    int ends[2];

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(path, 9, FILE_REGULAR, &bytes, NULL, &error), ERR_INVALID);
    unlink(path);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "ab", 2), 2);
    close(ends[1]);
    assert_int_equal(file_read_fd(ends[0], 9, 0, &bytes, NULL, &error), 0);
    assert_string_equal(bytes, "ab");
    free(bytes);
    close(ends[0]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_folders_on_the_way),
        cmocka_unit_test(test_pipes),
    };

    return cmocka_run_group_tests_name("file", tests, set_up, tear_down);
}
