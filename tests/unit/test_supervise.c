/* The parts of supervisors that need no process: the spec, users, the environment. And the process engine's
 * check of jobs. */
#include "cronsched/engines/process/process.h"
#include "cronsched/engines/process/supervise.h"
#include "cronsched/engines/process/supervise_user.h"
#include "jobs/definition/job_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the spec ---- */

static void test_spec_comes_back_as_it_was(void **state)
{
    char empty[] = "", a[] = "/bin/sh", b[] = "line\nline", c[] = "\xff\xfe", e1[] = "A=", e2[] = "B=x=y",
         e3[] = "arg=1";
    char *argv[] = {a, empty, b, c, NULL}, *env[] = {e1, e2, e3, NULL}, *memory = NULL;
    const struct supervise_spec spec = {.identity = {"cluster", "a@20261122T030000Z", 4, 5, INT64_MAX},
                                        .user = "1000:1000",
                                        .working_dir = "",
                                        .log_path = "/var/lib/x.log",
                                        .group = "/sys/fs/cgroup/x/cs-1",
                                        .mark = "cs-1@7",
                                        .log_cap_bytes = INT64_C(5) << 33,
                                        .stop_grace_ms = 10000,
                                        .argv = argv,
                                        .env = env};
    struct supervise_spec back;
    int fd = -1;

    assert_int_equal(supervise_spec_write(&spec, &fd, NULL), 0);
    assert_int_equal(supervise_spec_read(fd, &back, &memory, NULL), 0);
    close(fd);
    assert_memory_equal(&back.identity, &spec.identity, sizeof(back.identity));
    assert_string_equal(back.user, spec.user);
    assert_string_equal(back.working_dir, "");
    assert_string_equal(back.log_path, spec.log_path);
    assert_string_equal(back.group, spec.group);
    assert_string_equal(back.mark, spec.mark);
    assert_int_equal(back.log_cap_bytes, spec.log_cap_bytes);
    assert_int_equal(back.stop_grace_ms, spec.stop_grace_ms);
    for (int i = 0; i < 5; i++)
        argv[i] ? assert_string_equal(back.argv[i], argv[i]) : assert_null(back.argv[i]);
    for (int i = 0; i < 4; i++)
        env[i] ? assert_string_equal(back.env[i], env[i]) : assert_null(back.env[i]);
    supervise_spec_release(&back, memory);
}

static void test_spec_cannot_be_changed_and_is_not_too_big(void **state)
{
    static char big[SUPERVISE_SPEC_BYTES];
    char a[] = "x", *argv[] = {a, NULL}, *env[] = {big, NULL};
    struct supervise_spec spec = {
        .user = "", .working_dir = "", .log_path = "", .group = "", .mark = "", .argv = argv, .env = &env[1]};
    int fd = -1;

    assert_int_equal(supervise_spec_write(&spec, &fd, NULL), 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    close(fd);
    memset(big, 'x', sizeof(big) - 1);
    spec.env = env;
    assert_int_equal(supervise_spec_write(&spec, &fd, NULL), ERR_LIMIT);
}

static void test_broken_spec_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {{"", 0}, {"arg", 3}, {"arg\0x", 5}, {"arg\0", 4}, {"\0\0\0", 3}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct supervise_spec spec;
        char *memory;
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, cases[i].bytes, cases[i].size), cases[i].size);
        assert_int_equal(supervise_spec_read(fd, &spec, &memory, NULL), ERR_CORRUPT);
        close(fd);
    }
}

/* ---- users ---- */

static void test_users(void **state)
{
    bool root = geteuid() == 0;
    const struct {
        const char *user;
        int result;
        unsigned uid, gid;
        const char *name, *home;
    } cases[] = {
        {"root", root ? 0 : ERR_DENIED, 0, 0, "root", "/root"},
        {"0", root ? 0 : ERR_DENIED, 0, 0, "root", "/root"},
        {"daemon:0", root ? 0 : ERR_DENIED, 1, 0, "daemon", "/usr/sbin"},
        {"54321:12345", root ? 0 : ERR_DENIED, 54321, 12345, "", "/"},
        {"54321:daemon", root ? 0 : ERR_DENIED, 54321, 1, "", "/"},
        {"54321", ERR_NOT_FOUND, 0, 0, NULL, NULL},
        {"no-such-user", ERR_NOT_FOUND, 0, 0, NULL, NULL},
        {"root:no-such-group", ERR_NOT_FOUND, 0, 0, NULL, NULL},
        {":0", ERR_INVALID, 0, 0, NULL, NULL},
        {"root:", ERR_INVALID, 0, 0, NULL, NULL},
        {"4294967295:0", ERR_NOT_FOUND, 0, 0, NULL, NULL}, /* "no change" to the kernel: no number, no name */
        {"-1:0", ERR_NOT_FOUND, 0, 0, NULL, NULL},
        {"99999999999999999999:0", ERR_NOT_FOUND, 0, 0, NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct supervise_user u;
        struct error error = {0};
        int r = supervise_user_find(cases[i].user, &u, &error);

        if (r != cases[i].result)
            fail_msg("%s: %s, not %s", cases[i].user, error_name(r), error_name(cases[i].result));
        if (r == 0) {
            assert_int_equal(u.uid, cases[i].uid);
            assert_int_equal(u.gid, cases[i].gid);
            assert_string_equal(u.name, cases[i].name);
            assert_string_equal(u.home, cases[i].home);
            assert_true(u.change);
            supervise_user_release(&u);
        } else {
            assert_int_equal(strncmp(error.text, "user: ", 6), 0);
        }
    }
}

/* A database that wants more room than the first look has, as for a group with many members. */
#define LARGE_ENTRY (300 * 1024)

static int wants_room;

int __real_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size, struct group **found);
int __wrap_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size, struct group **found);
int __real_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **found);
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **found);

int __wrap_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size, struct group **found)
{
    *found = NULL;
    if (wants_room && size < LARGE_ENTRY)
        return ERANGE;
    return __real_getgrnam_r(name, entry, buffer, size, found);
}

int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **found)
{
    *found = NULL;
    if (wants_room && size < LARGE_ENTRY)
        return ERANGE;
    return __real_getpwnam_r(name, entry, buffer, size, found);
}

static void test_entries_may_be_large(void **state)
{
    struct supervise_user u;
    struct error error = {0};
    int r;

    wants_room = 1;
    r = supervise_user_find("daemon:daemon", &u, &error);
    wants_room = 0;
    assert_int_equal(r, geteuid() == 0 ? 0 : ERR_DENIED);
    if (r == 0) {
        assert_int_equal(u.uid, 1);
        assert_int_equal(u.gid, 1);
        supervise_user_release(&u);
    }
}

static void test_no_user_is_the_servers_own(void **state)
{
    struct supervise_user u;

    assert_int_equal(supervise_user_find("", &u, NULL), 0);
    assert_int_equal(u.uid, geteuid());
    assert_int_equal(u.gid, getegid());
    assert_false(u.change);
    assert_int_equal(supervise_user_become(&u), 0);
}

static const char *value_of(char **env, const char *name)
{
    size_t n = strlen(name);
    const char *found = NULL;

    for (; *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            assert_null(found); /* once */
            found = *env + n + 1;
        }
    }
    return found;
}

static void test_environment_gets_what_it_lacks(void **state)
{
    const struct supervise_user user = {.name = "joe", .home = "/home/joe"};
    const struct supervise_user nameless = {.home = "/"};
    char own[] = "PATH=/own", *mine[] = {own, NULL}, *none[] = {NULL}, *memory;
    char **env = supervise_user_environment(mine, &user, "cs-1@7", &memory);

    assert_string_equal(value_of(env, "PATH"), "/own");
    assert_string_equal(value_of(env, "HOME"), "/home/joe");
    assert_string_equal(value_of(env, "USER"), "joe");
    assert_string_equal(value_of(env, "LOGNAME"), "joe");
    assert_string_equal(value_of(env, ATTEMPT_WORK_VARIABLE), "cs-1@7");
    free(env);
    free(memory);
    env = supervise_user_environment(none, &nameless, "", &memory);
    assert_non_null(strstr(value_of(env, "PATH"), "/usr/bin"));
    assert_string_equal(value_of(env, "HOME"), "/");
    assert_null(value_of(env, "USER"));
    free(env);
    free(memory);
}

/* ---- what a job may ask ---- */

static void set_text(char **at, const char *text)
{
    free(*at);
    *at = strdup(text);
}

static void ask_image(struct job *job)
{
    set_text(&job->image, "acme/report:7");
}

static void ask_nothing(struct job *job)
{
}

static void ask_no_command(struct job *job)
{
    job_strings_release(&job->command);
}

static void ask_empty_program(struct job *job)
{
    set_text(&job->command.items[0], "");
}

static void ask_entrypoint_alone(struct job *job)
{
    ask_no_command(job);
    job_strings_add(&job->entrypoint, "/bin/true");
}

static void ask_relative_folder(struct job *job)
{
    set_text(&job->working_dir, "sub");
}

static void ask_volume(struct job *job)
{
    job_strings_add(&job->volumes, "a:/b");
}

static void ask_network(struct job *job)
{
    set_text(&job->network, "backend");
}

static void ask_cpus(struct job *job)
{
    job->cpus = 0.5;
}

static void ask_memory(struct job *job)
{
    job->memory_bytes = 1;
}

static void ask_secret(struct job *job)
{
    job_strings_add(&job->secrets, "db");
}

static void ask_config(struct job *job)
{
    job_strings_add(&job->configs, "db");
}

static void ask_pull(struct job *job)
{
    job->pull = JOB_PULL_NEVER;
}

static void ask_constraint(struct job *job)
{
    job_strings_add(&job->constraints, "node.labels.disk==ssd");
}

static void ask_kubernetes(struct job *job)
{
    json_decref(job->kubernetes);
    job->kubernetes = json_object();
}

static void ask_read_only(struct job *job)
{
    job->read_only = true;
}

static void ask_capability(struct job *job)
{
    job_strings_add(&job->cap_drop, "ALL");
}

static void ask_pids(struct job *job)
{
    job->pids_limit = 7;
}

static void ask_large_user(struct job *job)
{
    set_text(&job->user, "4294967296");
}

static void ask_secret_variable(struct job *job)
{
    job->environment = calloc(1, sizeof(*job->environment));
    assert_non_null(job->environment);
    job->environment_count = 1;
    job->environment[0].name = strdup("TOKEN");
    job->environment[0].from_secret = strdup("token");
}

static void test_check_names_the_key_and_the_reason(void **state)
{
    static const struct {
        void (*ask)(struct job *job);
        const char *text; /* NULL: fine */
    } cases[] = {
        {ask_nothing, NULL},
        {ask_entrypoint_alone, NULL},
        {ask_no_command, "command: the process engine needs a command"},
        {ask_empty_program, "command: the name of the program is empty"},
        {ask_image, "image: "},
        {ask_relative_folder, "working_dir: "},
        {ask_volume, "volumes: "},
        {ask_network, "network: "},
        {ask_cpus, "resources: the process engine cannot limit CPU"},
        {ask_memory, "resources: the process engine cannot limit memory"},
        {ask_secret, "secrets: "},
        {ask_secret_variable, "environment: "},
        {ask_config, "configs: "},
        {ask_pull, "pull: "},
        {ask_constraint, "constraints: "},
        {ask_kubernetes, "kubernetes: "},
        {ask_read_only, "read_only: "},
        {ask_capability, "cap_drop: "},
        {ask_pids, "pids_limit: "},
        {ask_large_user, "user: "},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct job *job = job_new("report");
        struct error error = {0};
        int r;

        assert_non_null(job);
        job_strings_add(&job->command, "true");
        cases[i].ask(job);
        r = process_engine_check(job, &error);
        assert_int_equal(r, cases[i].text ? ERR_UNSUPPORTED : 0);
        if (cases[i].text && strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0)
            fail_msg("'%s' is not '%s...'", error.text, cases[i].text);
        job_unref(job);
    }
}

static void test_all_that_cannot_be_honoured_is_said(void **state)
{
    struct job *job = job_new("report");
    struct engine_faults faults = {.texts = json_array()};
    static const char *const keys[] = {
        "command: ", "image: ", "volumes: ", "resources: ", "read_only: ", "pids_limit: "};

    ask_image(job);
    ask_volume(job);
    ask_cpus(job);
    ask_read_only(job);
    ask_pids(job);
    process_engine_faults(job, &faults);
    assert_int_equal(json_array_size(faults.texts), sizeof(keys) / sizeof(*keys));
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        assert_memory_equal(json_string_value(json_array_get(faults.texts, i)), keys[i], strlen(keys[i]));
    assert_int_equal(faults.first.code, ERR_UNSUPPORTED);
    json_decref(faults.texts);
    job_unref(job);
}

/* Letter for letter: neither another group of the same user nor another spelling of its number. */
static void test_users_of_the_configuration(void **state)
{
    static const struct {
        const char *allow, *user, *runs_as; /* user NULL: the job names none; runs_as NULL: refused */
    } cases[] = {
        {"{}", NULL, ""},
        {"{}", "root", "root"},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", NULL, "backup"},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "backup", "backup"},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "1000:1000", "1000:1000"},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "1000", NULL},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "1000:0", NULL},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "backup:root", NULL},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "root", NULL},
        {"{\"users\":[\"backup\",\"1000:1000\"]}", "0", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        json_t *allow = json_loads(cases[i].allow, 0, NULL);
        struct job *job = job_new("report");
        struct error error = {0};
        const char *user = NULL;
        int r;

        if (cases[i].user)
            job->user = strdup(cases[i].user);
        r = process_engine_user(allow, job, &user, &error);
        assert_int_equal(r, cases[i].runs_as ? 0 : ERR_DENIED);
        if (r == 0)
            assert_string_equal(user, cases[i].runs_as);
        json_decref(allow);
        job_unref(job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_comes_back_as_it_was),
        cmocka_unit_test(test_spec_cannot_be_changed_and_is_not_too_big),
        cmocka_unit_test(test_broken_spec_is_refused),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_entries_may_be_large),
        cmocka_unit_test(test_no_user_is_the_servers_own),
        cmocka_unit_test(test_environment_gets_what_it_lacks),
        cmocka_unit_test(test_check_names_the_key_and_the_reason),
        cmocka_unit_test(test_all_that_cannot_be_honoured_is_said),
        cmocka_unit_test(test_users_of_the_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
