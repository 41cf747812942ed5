#include "cronsched/cli/jobfiles.h"

#include "jobs/base/text.h"

#include <errno.h>
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

static char folder[] = "/tmp/test-jobfiles-XXXXXX";

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int set_up(void **state)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    if (chdir("/") < 0)
        return -1;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A file with one good job. */
static void write_job(const char *path, const char *name)
{
    char text[256];

    snprintf(text, sizeof(text), "jobs: {%s: {command: x}}\n", name);
    write_file(path, text);
}

static void make_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
}

/* Reads the paths (ended by NULL): "job job ...|error\nerror\n". */
static bool follow_links, allow_empty;
static const char *empty; /* the path that has no job, of the last call */

static char *outcome(const char *const *paths, size_t *ret_files)
{
    const struct jobfiles_options options = {.follow_links = follow_links, .allow_empty = allow_empty};
    struct jobfiles_found found;
    struct jobfile_set set;
    struct text text;
    char line[JOBFILE_LINE_MAX];
    size_t n = 0;
    int r;

    while (paths[n])
        n++;
    jobfile_set_init(&set);
    r = jobfiles_load(&set, paths, n, &options, &found);
    assert_int_equal(r, set.failed > 0 ? ERR_INVALID : 0);
    text_init(&text, 1 << 20);
    for (size_t i = 0; i < set.count; i++)
        text_addf(&text, "%s%s", i ? " " : "", set.jobs[i]->name);
    text_add(&text, "|");
    for (size_t i = 0; i < set.error_count; i++)
        text_addf(&text, "%s\n", jobfile_error_format(&set.errors[i], line, sizeof(line)));
    if (ret_files)
        *ret_files = found.files;
    empty = found.empty;
    jobfile_set_release(&set);
    return text_take(&text);
}

#define ASSERT_OUTCOME(files, expected, ...)                                                                 \
    do {                                                                                                     \
        const char *const paths[] = {__VA_ARGS__, NULL};                                                     \
        size_t n = 0;                                                                                        \
        char *got = outcome(paths, &n);                                                                      \
        assert_string_equal(got, expected);                                                                  \
        assert_int_equal(n, files);                                                                          \
        free(got);                                                                                           \
    } while (0)

static void folders_are_read_in_a_stable_order(void **state)
{
    make_folder("f");
    make_folder("f/sub");
    make_folder("f/sub/deeper.yaml"); /* a folder whatever its name */
    make_folder("f/.hidden");
    write_job("f/b.yaml", "b");
    write_job("f/a.yml", "a");
    write_job("f/Z.yaml", "z");
    write_job("f/sub/c.yaml", "c");
    write_job("f/sub/deeper.yaml/d.yaml", "d");
    write_job("f/.hidden/e.yaml", "e");
    write_job("f/.h.yaml", "h");
    write_file("f/README.md", "not YAML: [\n");
    write_file("f/x.yaml.orig", "not YAML: [\n");
    ASSERT_OUTCOME(5,
                   "z a b c d|f/.h.yaml: warning: passed over: its name begins with a dot\n"
                   "f/x.yaml.orig: warning: passed over: its name does not end in .yaml or .yml\n",
                   "f");
    unlink("f/.h.yaml");
    unlink("f/x.yaml.orig");
    ASSERT_OUTCOME(5, "z a b c d|", "f/");
    ASSERT_OUTCOME(5, "c d z a b|", "f/sub", "f");
    write_job("f/x.txt", "named");
    ASSERT_OUTCOME(1, "named|", "f/x.txt");
}

static void no_job_file_is_passed_over_in_silence(void **state)
{
    make_folder("f");
    make_folder("f/Sub.YML");
    write_job("f/A.YAML", "a");
    write_job("f/B.Yml", "b");
    write_job("f/Sub.YML/c.yAmL", "c");
    ASSERT_OUTCOME(3, "a b c|", "f");
    write_file("f/d.json", "{}");
    write_file("f/e.yaml~", "");
    write_file("f/holidays.ics", "");
    write_file("f/vars.env", "");
    ASSERT_OUTCOME(
        3,
        "a b c|f/d.json: error: the job files of a folder are *.yaml and *.yml; this one is read where it "
        "is given itself\n"
        "f/e.yaml~: warning: passed over: its name does not end in .yaml or .yml\n",
        "f");
    write_file("f/d.json", "{\"jobs\": {\"d\": {\"image\": \"x\"}}}");
    ASSERT_OUTCOME(1, "d|", "f/d.json");
    unlink("f/d.json");
    unlink("f/e.yaml~");
    assert_int_equal(symlink("../not-mounted", "f/team"), 0);
    ASSERT_OUTCOME(3, "a b c|f/team: error: a link that leads nowhere\n", "f");
}

/* A folder that was not mounted, a branch without the files. */
static void a_path_without_a_job_is_told(void **state)
{
    make_folder("none");
    make_folder("some");
    make_folder("some/empty");
    write_job("some/a.yaml", "a");
    write_file("comment.yaml", "# nothing\n");
    write_file("none/README", "");
    ASSERT_OUTCOME(0, "|none: error: no job file (*.yaml, *.yml) in this folder\n", "none");
    assert_string_equal(empty, "none");
    ASSERT_OUTCOME(1, "a|none: error: no job file (*.yaml, *.yml) in this folder\n", "some", "none");
    assert_string_equal(empty, "none");
    ASSERT_OUTCOME(1, "a|", "some");
    assert_null(empty);
    ASSERT_OUTCOME(1, "a|", "some", "some/a.yaml"); /* it has been read */
    assert_null(empty);
    ASSERT_OUTCOME(2, "a|comment.yaml: warning: no jobs in this file\n", "some", "comment.yaml");
    assert_string_equal(empty, "comment.yaml");
    allow_empty = true;
    ASSERT_OUTCOME(0, "|none: warning: no job file (*.yaml, *.yml) in this folder\n", "none");
    allow_empty = false;
}

static void nothing_is_read_twice(void **state)
{
    make_folder("f");
    make_folder("f/sub");
    write_job("f/a.yaml", "a");
    write_job("f/sub/b.yaml", "b");
    assert_int_equal(symlink("a.yaml", "f/link.yaml"), 0);
    assert_int_equal(symlink("sub", "f/z-link"), 0);
    ASSERT_OUTCOME(2, "a b|", "f", "f/a.yaml", "f/./a.yaml", "f/sub");
}

static void make_links(void)
{
    make_folder("f");
    make_folder("other");
    write_job("other/a.yaml", "a");
    write_job("other/b.txt", "b");
    assert_int_equal(symlink("../other", "f/folder"), 0);
    assert_int_equal(symlink("../other/b.txt", "f/b.yaml"), 0);
    assert_int_equal(symlink("../f", "other/up"), 0);
    assert_int_equal(symlink(".", "f/self"), 0);
    assert_int_equal(symlink("round.yaml", "f/round.yaml"), 0);
    assert_int_equal(symlink("nowhere", "f/dangling"), 0);
    assert_int_equal(symlink("nowhere", "f/dangling.yaml"), 0);
}

static void links_are_followed_when_asked_for_and_circles_end(void **state)
{
    make_links();
    follow_links = true;
    ASSERT_OUTCOME(2,
                   "b a|f/dangling: error: a link that leads nowhere\n"
                   "f/dangling.yaml: error: there is no such file or folder\n"
                   "f/round.yaml: error: a symbolic link that leads in a circle\n",
                   "f");
    follow_links = false;
}

static void links_do_not_lead_out_of_a_folder(void **state)
{
    make_links();
    write_job("f/inside.yaml", "inside");
    assert_int_equal(symlink("inside.yaml", "f/again.yaml"), 0);
    assert_int_equal(symlink("/", "f/root"), 0);
    assert_int_equal(symlink("/etc/passwd", "f/passwd.yaml"), 0);
    assert_int_equal(symlink("f", "named"), 0);
    ASSERT_OUTCOME(1,
                   "inside|f/b.yaml: error: a link that leads out of f; --follow-links follows it\n"
                   "f/dangling: error: a link that leads nowhere\n"
                   "f/dangling.yaml: error: there is no such file or folder\n"
                   "f/folder: error: a link that leads out of f; --follow-links follows it\n"
                   "f/passwd.yaml: error: a link that leads out of f; --follow-links follows it\n"
                   "f/root: error: a link that leads out of f; --follow-links follows it\n"
                   "f/round.yaml: error: a symbolic link that leads in a circle\n",
                   "f");
    unlink("f/root");
    unlink("f/folder");
    unlink("f/b.yaml");
    unlink("f/passwd.yaml");
    unlink("f/round.yaml");
    unlink("f/dangling.yaml");
    unlink("f/dangling");
    ASSERT_OUTCOME(1, "inside|", "named"); /* what is given is followed */
    ASSERT_OUTCOME(1, "b|", "other/b.txt");
}

/* What a job file names beside it is part of the folder that was given. */
static void files_of_variables_and_calendars_do_not_lead_out_of_a_folder(void **state)
{
    static const char *const names[] = {"../vars.env", "sub/link.env", "/etc/hostname", "../../secret.env"};

    make_folder("f");
    make_folder("f/sub");
    write_file("f/vars.env", "A=1\n");
    write_file("secret.env", "S=1\n");
    assert_int_equal(symlink("../../secret.env", "f/sub/link.env"), 0);
    for (size_t i = 0; i < 4; i++) {
        char text[256], *got;
        const char *const whole[] = {"f", NULL}, *const file[] = {"f/sub/a.yaml", NULL};

        snprintf(text, sizeof(text), "jobs: {a: {image: x, env_file: %s}}\n", i == 1 ? "link.env" : names[i]);
        write_file("f/sub/a.yaml", text);
        got = outcome(whole, NULL);
        if (i == 0 ? strcmp(got, "a|") != 0 : !strstr(got, "outside the folder of the job files"))
            fail_msg("%s: %s", text, got);
        free(got);
        got = outcome(file, NULL);
        if (!strstr(got, "outside the folder of the job files"))
            fail_msg("%s, by itself: %s", text, got);
        free(got);
    }
    write_file("f/sub/a.yaml", "jobs: {a: {image: x, schedule: '@daily', except: [../../days.ics]}}\n");
    ASSERT_OUTCOME(
        1,
        "|f/sub/a.yaml:1:51: error: except: ../../days.ics: it lies outside the folder of the job files; "
        "--follow-links reads it\n",
        "f");
}

static void errors_of_all_files_together_end(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(jobfile_add_error(&set, i % 2 ? "a" : "b", 1, 1, "%d", i), 0);
    assert_int_equal(set.error_count, JOBFILE_SET_ERRORS_MAX + 1);
    assert_int_equal(set.failed, 5000);
    jobfile_finish(&set, NULL, 0);
    assert_string_equal(set.errors[set.error_count - 1].text,
                        "too many errors in all; the rest is not shown");
    jobfile_set_release(&set);
}

static void what_cannot_be_read_is_in_the_list(void **state)
{
    make_folder("f");
    write_job("f/good.yaml", "good");
    write_file("f/bad.yaml", "jobs: [\n");
    write_job("f/secret.yaml", "secret");
    chmod("f/secret.yaml", 0);
    if (geteuid() != 0)
        ASSERT_OUTCOME(
            2,
            "good|f/bad.yaml:2:1: error: not YAML: did not find expected node content, while parsing a "
            "flow node that begins in line 2\n"
            "f/secret.yaml: error: cannot be read: Permission denied\n"
            "missing: error: there is no such file or folder\n",
            "f", "missing");
    else /* root reads it all the same */
        ASSERT_OUTCOME(
            3,
            "good secret|f/bad.yaml:2:1: error: not YAML: did not find expected node content, while "
            "parsing a flow node that begins in line 2\n"
            "missing: error: there is no such file or folder\n",
            "f", "missing");
}

static void large_files_are_not_read(void **state)
{
    int fd;

    make_folder("f");
    fd = open("f/big.yaml", O_CREAT | O_WRONLY, 0644);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0); /* a hole */
    close(fd);
    write_job("f/good.yaml", "good");
    ASSERT_OUTCOME(1, "good|f/big.yaml: error: 1099511627776 bytes; at most 4194304 are read\n", "f");
}

/* Opening a pipe without a writer would wait for ever. */
static void a_pipe_in_a_folder_is_refused(void **state)
{
    make_folder("f");
    assert_int_equal(mkfifo("f/pipe.yaml", 0644), 0);
    ASSERT_OUTCOME(0, "|f/pipe.yaml: error: neither a file nor a folder\n", "f");
}

static void the_standard_input_is_read(void **state)
{
    int saved = dup(STDIN_FILENO), fd;

    write_job("in", "from-stdin");
    fd = open("in", O_RDONLY);
    assert_true(dup2(fd, STDIN_FILENO) >= 0);
    close(fd);
    ASSERT_OUTCOME(1, "from-stdin|", "-");
    fd = open("/dev/zero", O_RDONLY); /* without end */
    assert_true(dup2(fd, STDIN_FILENO) >= 0);
    close(fd);
    {
        const char *const paths[] = {"-", NULL};
        size_t n = 0;
        char *got = outcome(paths, &n);

        assert_non_null(strstr(got, "at most 4194304 are read"));
        free(got);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
}

static void folders_too_deep_are_refused(void **state)
{
    struct text path;
    char *got;
    size_t n = 0;
    const char *const paths[] = {"f", NULL};

    make_folder("f");
    text_init(&path, 4096);
    text_add(&path, "f");
    for (int i = 0; i < JOBFILES_DEPTH_MAX + 2; i++) {
        text_add(&path, "/d");
        make_folder(text_str(&path));
    }
    text_release(&path);
    got = outcome(paths, &n);
    assert_non_null(strstr(got, "more than 32 folders deep"));
    free(got);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(folders_are_read_in_a_stable_order),
        TEST(no_job_file_is_passed_over_in_silence),
        TEST(a_path_without_a_job_is_told),
        TEST(nothing_is_read_twice),
        TEST(links_are_followed_when_asked_for_and_circles_end),
        TEST(links_do_not_lead_out_of_a_folder),
        TEST(files_of_variables_and_calendars_do_not_lead_out_of_a_folder),
        TEST(errors_of_all_files_together_end),
        TEST(what_cannot_be_read_is_in_the_list),
        TEST(large_files_are_not_read),
        TEST(a_pipe_in_a_folder_is_refused),
        TEST(the_standard_input_is_read),
        TEST(folders_too_deep_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
