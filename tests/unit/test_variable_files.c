/* Files of variables: where they may lie, what a content becomes, and that links lead nowhere else. */
#include "cronsched/io/variable_files.h"

#include "cronsched/io/beneath.h"
#include "jobs/base/alloc.h"

#include <errno.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char folder[64];

/* folder/in/{secret, empty, newline, pipe, link -> secret, out -> ../outside, up -> ../.., all -> /etc}, folder/outside */
static int set_up(void **state)
{
    static const char *const files[][2] = {
        {"in/secret", "s3cr3t\n"}, {"in/empty", ""}, {"in/newline", "\n"}, {"outside", "other\n"}};
    static const char *const links[][2] = {{"secret", "in/link"},
                                           {"../outside", "in/out"},
                                           {"..", "in/up"},
                                           {"/etc", "in/all"},
                                           {"nowhere", "in/none"}};
    snprintf(folder, sizeof(folder), "/tmp/variable-files-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) < 0 || mkdir("in", 0755) < 0 || mkfifo("in/pipe", 0644) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(files); i++) {
        FILE *f = fopen(files[i][0], "w");

        if (!f || fputs(files[i][1], f) < 0 || fclose(f) != 0)
            return -1;
    }
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlink(links[i][0], links[i][1]) < 0)
            return -1;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    return chdir("/") < 0 || nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0;
}

/* ---- values ---- */

static void contents_become_values(void **state)
{
    static const struct {
        const char *data;
        size_t size;
        bool allow_empty;
        int code;
        const char *value;
    } table[] = {
        {"abc\n", 4, false, 0, "abc"}, {"abc\n\n", 5, false, 0, "abc\n"},
        {"abc", 3, false, 0, "abc"},   {"", 0, true, 0, ""},
        {"\n", 1, true, 0, ""},        {"a\0b", 3, true, ERR_INVALID, NULL},
        {"", 0, false, ERR_INVALID},   {"\n", 1, false, ERR_INVALID},
        {"\n\n", 2, false, 0, "\n"},
    };
    static char big[VARIABLE_FILE_VALUE_BYTES + 1];
    char *value;

    for (size_t i = 0; i < COUNT(table); i++) {
        value = NULL;
        assert_int_equal(
            variable_files_value(table[i].data, table[i].size, table[i].allow_empty, &value, NULL),
            table[i].code);
        if (table[i].value)
            assert_string_equal(value, table[i].value);
        else
            assert_null(value);
        free(value);
    }
    memset(big, 'x', sizeof(big));
    assert_int_equal(variable_files_value(big, sizeof(big), false, &value, NULL), ERR_LIMIT);
    big[sizeof(big) - 1] = '\n';
    assert_int_equal(variable_files_value(big, sizeof(big), false, &value, NULL), 0);
    free(value);
}

/* ---- reading ---- */

struct heard {
    int done;
    char text[1024]; /* the value, or the error */
};

static void on_done(void *arg, char **values, size_t count, const struct error *error)
{
    struct heard *h = arg;

    h->done++;
    snprintf(h->text, sizeof(h->text), "%s", error ? error->text : values[0]);
    assert_true(error ? values == NULL : count == 1);
    variable_files_release(values, count);
}

static void read_one(const struct variable_files_limits *limits, const char *name, bool allow_empty,
                     const char *expected)
{
    char path[256];
    struct job_env variable = {.name = (char *)"T", .from_file = path, .allow_empty = allow_empty};
    struct job job = {.environment = &variable, .environment_count = 1};
    struct heard h = {0};
    struct file_reader *reader;
    uv_loop_t loop;

    snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : folder, *name == '/' ? "" : "/", name);
    uv_loop_init(&loop);
    reader = file_reader_new(&loop);
    assert_true(variable_files_read(reader, &job, limits, on_done, &h));
    while (!h.done)
        uv_run(&loop, UV_RUN_ONCE);
    file_reader_close(reader, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    if (!strstr(h.text, expected))
        fail_msg("%s: '%s' lacks '%s'", name, h.text, expected);
}

static void what_holds_no_value_is_an_error(void **state)
{
    const struct variable_files_limits none = {0};

    read_one(&none, "in/secret", false, "s3cr3t");
    read_one(&none, "in/empty", false, "environment: T: the file ");
    read_one(&none, "in/empty", false, "is empty");
    read_one(&none, "in/newline", false, "is empty");
    read_one(&none, "in/empty", true, "");
    read_one(&none, "in/pipe", false, "not a regular file");
    read_one(&none, "/dev/null", false, "not a regular file");
    read_one(&none, "in", false, "environment: T: the file ");
    read_one(&none, "in/missing", false, "No such file");
}

static void links_do_not_lead_out_of_the_folder(void **state)
{
    char in[96];
    const struct variable_files_limits limits = {.files_dir = in};

    snprintf(in, sizeof(in), "%s/in", folder);
    read_one(&limits, "in/secret", false, "s3cr3t");
    read_one(&limits, "in/link", false, "s3cr3t");
    read_one(&limits, "in/out", false, "a link leads out of");
    read_one(&limits, "in/up/outside", false, "a link leads out of");
    read_one(&limits, "in/all/passwd", false, "a link leads out of");
    read_one(&limits, "in/pipe", false, "not a regular file");
}

/* As a kernel before 5.6, or a filter of system calls, has it. */
static void take_openat2_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = COUNT(code), .filter = code};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void without_the_kernels_help_no_link_is_followed(void **state)
{
    static const struct {
        const char *path;
        int code; /* 0: it opens */
    } table[] = {
        {"in/secret", 0},         {"in//secret", 0},        {"outside", 0},    {"in", 0},
        {"in/./secret", 0},       {"in/link", EXDEV},       {"in/out", EXDEV}, {"in/up/outside", EXDEV},
        {"in/all/passwd", EXDEV}, {"in/../outside", EXDEV}, {"../x", EXDEV},   {"in/missing", ENOENT},
        {"in/secret/x", EXDEV},   {"missing/x", ENOENT},
    };
    pid_t child = fork();
    int status, root;

    if (child == 0) {
        take_openat2_away();
        root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; i < COUNT(table); i++) {
            int fd = beneath_open(root, table[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

            if (table[i].code ? fd >= 0 || errno != table[i].code : fd < 0)
                _exit(10 + (int)i);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- where they may lie ---- */

static void paths_are_held_to_the_configuration(void **state)
{
    static const struct {
        const char *files_dir, *allow, *path;
        bool fine;
    } table[] = {
        {NULL, NULL, "/anywhere", true},
        {"/s", NULL, "/s/a", true},
        {"/s", NULL, "/s", true},
        {"/s", NULL, "/sa", false},
        {"/s", NULL, "/s/../etc/shadow", false},
        {"/s", NULL, "/s/./a", false},
        {"/s", NULL, "//s/a", false},
        {"/", NULL, "/etc/x", true},
        {NULL, "{}", "/etc/x", false},
        {"/s", "{}", "/s/x", true},
        {NULL, "{\"files\":[\"/a\",\"/b/c\"]}", "/b/c/d", true},
        {NULL, "{\"files\":[\"/a\",\"/b/c\"]}", "/b/d", false},
        {"/s", "{\"files\":[\"/a\"]}", "/a/x", false},
        {"/s", "{\"files\":[\"/s/a\"]}", "/s/b", false},
        {"/s", "{\"files\":[\"/s/a\"]}", "/s/a/b", true},
        {"/s", "{\"files\":[]}", "/s/a", false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        json_t *allow = table[i].allow ? json_loads(table[i].allow, 0, NULL) : NULL;
        const struct variable_files_limits limits = {table[i].files_dir, allow};
        struct job_env variable = {.name = (char *)"T", .from_file = (char *)table[i].path};
        struct job job = {.environment = &variable, .environment_count = 1};
        struct error error = {0};

        struct job_notify notify = {.headers = &variable, .header_count = 1},
                          sign = {.sign = variable.from_file};
        struct job told = {.notify = &notify, .notify_count = 1},
                   signs = {.notify = &sign, .notify_count = 1};
        int wanted = table[i].fine && table[i].files_dir ? 0
                                                         : ERR_DENIED; /* of notifications: never anywhere */

        if (variable_files_check(&job, &limits, &error) != (table[i].fine ? 0 : ERR_DENIED) ||
            variable_files_check(&told, &limits, &error) != wanted ||
            variable_files_check(&signs, &limits, &error) != wanted)
            fail_msg("%zu: %s: %s", i, table[i].path, error.text);
        json_decref(allow);
    }
}

static void folders_are_found_behind_their_links(void **state)
{
    static const struct {
        const char *path, *leads; /* NULL: nowhere that could be told */
    } table[] = {
        {"in", "in"},
        {"in/secret", "in/secret"},
        {"in/link", "in/secret"},
        {"in/out", "outside"},
        {"in/up/in", "in"},
        {"in/new/x", "in/new/x"},
        {"in/up/new", "new"},
        {"in/none", NULL},
        {"in/none/more", NULL},
        {"in/all/passwd", "/etc/passwd"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        char path[256], wanted[256], *is;

        snprintf(path, sizeof(path), "%s/%s", folder, table[i].path);
        is = beneath_resolve(path);
        if (!table[i].leads) {
            assert_null(is);
            continue;
        }
        snprintf(wanted, sizeof(wanted), "%s%s%s", *table[i].leads == '/' ? "" : folder,
                 *table[i].leads == '/' ? "" : "/", table[i].leads);
        assert_non_null(is);
        assert_string_equal(is, wanted);
        free(is);
    }
    for (size_t i = 0; i < 2; i++) {
        char *is = beneath_resolve(i == 0 ? "/" : "/no-such-folder/x");

        assert_string_equal(is, i == 0 ? "/" : "/no-such-folder/x");
        free(is);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_become_values),
        cmocka_unit_test(what_holds_no_value_is_an_error),
        cmocka_unit_test(links_do_not_lead_out_of_the_folder),
        cmocka_unit_test(without_the_kernels_help_no_link_is_followed),
        cmocka_unit_test(paths_are_held_to_the_configuration),
        cmocka_unit_test(folders_are_found_behind_their_links),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
