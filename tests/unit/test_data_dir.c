/* Which data folders are taken. */
#include "cronsched/server/data_dir.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char folder[64];

static int set_up(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/data-dir-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    return chdir("/") < 0 || nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0;
}

static void a_new_one_is_the_servers_alone(void **state)
{
    struct error error = {0};
    struct stat st;
    char path[128];

    snprintf(path, sizeof(path), "%s/data", folder);
    assert_int_equal(data_dir_check(path, &error), ERR_NOT_FOUND);
    assert_int_equal(data_dir_make(path, &error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void one_that_others_can_write_is_refused(void **state)
{
    static const struct {
        mode_t mode, parent;
        int code;
    } table[] = {{0700, 0755, 0},          {0750, 0755, 0},          {0755, 0755, 0},
                 {0770, 0755, ERR_DENIED}, {0777, 0755, ERR_DENIED}, {0702, 0755, ERR_DENIED},
                 {0700, 0777, ERR_DENIED}, {0700, 01777, 0},         {0700, 0775, 0}};
    char path[128], parent[96];

    snprintf(parent, sizeof(parent), "%s/parent", folder);
    snprintf(path, sizeof(path), "%s/data", parent);
    assert_int_equal(mkdir(parent, 0700), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < COUNT(table); i++) {
        struct error error = {0};

        assert_int_equal(chmod(path, table[i].mode), 0);
        assert_int_equal(chmod(parent, table[i].parent), 0);
        if (data_dir_make(path, &error) != table[i].code)
            fail_msg("%zu: %s", i, error.text);
    }
}

static void one_of_another_user_is_refused(void **state)
{
    struct error error = {0};
    char path[128];

    if (geteuid() != 0)
        skip();
    snprintf(path, sizeof(path), "%s/data", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(data_dir_make(path, &error), ERR_DENIED);
    assert_non_null(strstr(error.text, "belongs to another user (65534)"));
}

static void databases_that_others_could_read_are_closed(void **state)
{
    static const char *const names[] = {"journal.db", "history.db", "history.db-wal"};
    struct error error = {0};
    struct stat st;
    char path[128];

    snprintf(path, sizeof(path), "%s/data", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chdir(path), 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        fclose(fopen(names[i], "w"));
        assert_int_equal(chmod(names[i], 0644), 0);
    }
    assert_int_equal(data_dir_make(path, &error), 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(stat(names[i], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_one_is_the_servers_alone),
        TEST(one_that_others_can_write_is_refused),
        TEST(one_of_another_user_is_refused),
        TEST(databases_that_others_could_read_are_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
