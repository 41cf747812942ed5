/* What a job asks of this machine beside a command, and what the configuration allows: users, files of variables. */
#include "jobs/base/alloc.h"
#include "jobs/definition/job_keys.h"
#include "tests/integration/process_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_prepare_refused(const char *name, const char *text)
{
    struct test_answer *a = fixture_wait(f, fixture_prepare(f, job, name, 1));

    assert_int_equal(a->event, ENGINE_REFUSED);
    if (!strstr(a->text, text))
        fail_msg("'%s' lacks '%s'", a->text, text);
}

static void user_that_is_missing_is_refused(void **state)
{
    job = fixture_script(f, "id -u; id -g; id -G; echo $HOME $USER");
    job->user = alloc_text("no-such-user");
    assert_prepare_refused("cs-1", "there is no user 'no-such-user' here");
    alloc_replace(&job->user, "nobody:no-such-group");
    assert_prepare_refused("cs-2", "there is no group 'no-such-group' here");
    alloc_replace(&job->user, "54321");
    assert_prepare_refused("cs-3", "give its group as well");
}

/* Whom the configuration names first is whom commands run as; what is not named is refused, now and at apply. */
static void users_of_the_configuration(void **state)
{
    json_t *allow = json_pack("{s:[s, s]}", "users", "nobody", "54321:12345");
    const struct process_engine_options options = {.allow = allow};
    struct error error = {0};

    if (geteuid() != 0)
        skip();
    process_case_with(NULL, &options);
    json_decref(allow);
    job = fixture_script(f, "id -u; id -g");
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_string_equal(fixture_log(f), "65534\n65534\n");
    job->user = alloc_text("54321:12345");
    assert_int_equal(f->engine->ops->check(f->engine, job, &error), 0);
    alloc_replace(&job->user, "root");
    assert_int_equal(f->engine->ops->check(f->engine, job, &error), ERR_DENIED);
    assert_prepare_refused("cs-2", "user: 'root' is not among the users of this engine's configuration");
}

static void user_is_changed(void **state)
{
    if (geteuid() != 0) {
        print_message("needs root\n");
        skip();
    }
    job = fixture_script(f, "id -u; id -g; id -G; echo $HOME $USER");
    job->user = alloc_text("54321:12345");
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_string_equal(fixture_log(f), "54321\n12345\n12345\n/\n");
    alloc_replace(&job->user, "nobody");
    assert_int_equal(fixture_run(f, job, "cs-2")->exit_code, 0);
    assert_string_equal(fixture_log(f), "65534\n65534\n65534\n/nonexistent nobody\n");
}

/* The pipe behind it is the server's, who is root. */
static void another_user_opens_its_output(void **state)
{
    if (geteuid() != 0)
        skip();
    job = fixture_script(f, "echo out >/dev/stdout && echo err >/dev/stderr");
    job->user = alloc_text("nobody");
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_string_equal(fixture_log(f), "out\nerr\n");
}

static void assert_not_executed(const char *program, const char *name, const char *text)
{
    struct test_answer *a;
    char id[160], path[512];

    fixture_write(f, "script", "#!/bin/sh\r\necho hello\r\n");
    snprintf(path, sizeof(path), "%s/script", f->folder);
    assert_int_equal(chmod(path, 0755), 0);
    job_unref(job);
    job = fixture_script(f, NULL);
    job->working_dir = alloc_text(f->folder);
    fixture_variable(job, "PATH", f->folder);
    job_strings_add(&job->command, program);
    job->has_command = true;
    fixture_prepared(f, job, name, id);
    a = fixture_ask(f, ENGINE_RELEASE, job, id, false);
    assert_int_equal(a->event, ENGINE_REFUSED);
    if (!strstr(a->text, text))
        fail_msg("%s: '%s' lacks '%s'", program, a->text, text);
}

/* Whatever way it is found: it is there, and cannot be executed. */
static void a_script_with_windows_line_ends_is_told(void **state)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/script", f->folder);
    assert_not_executed(path, "cs-1", "first line ends with a carriage return");
    assert_not_executed("script", "cs-2", "no interpreter '/bin/sh\\r': give the file Unix line ends");
    assert_not_executed("./script", "cs-3", "first line ends with a carriage return");
    assert_not_executed("no-script", "cs-4", "no such command: 'no-script' is not in PATH");
}

static void variables_from_files(void **state)
{
    char path[512];

    fixture_write(f, "secret", "s3cr3t\n");
    snprintf(path, sizeof(path), "%s/secret", f->folder);
    job = fixture_script(
        f, "test \"$TOKEN\" = s3cr3t && grep -rl s3cr3t $D/attempts $D/logs 2>/dev/null; echo looked");
    fixture_variable(job, "TOKEN", "");
    free(job->environment[1].value);
    job->environment[1].value = NULL;
    job->environment[1].from_file = alloc_text(path);
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_string_equal(fixture_log(f), "looked\n"); /* and nothing found */
    alloc_replace(&job->environment[1].from_file, "/no/such/file");
    assert_prepare_refused("cs-2", "TOKEN");
    fixture_write(f, "secret", "\n");
    alloc_replace(&job->environment[1].from_file, path);
    assert_prepare_refused("cs-3", "the file is empty");
    alloc_replace(&job->environment[1].from_file, f->folder);
    assert_prepare_refused("cs-4", "not a regular file");
    alloc_replace(&job->environment[1].from_file, "/dev/null");
    assert_prepare_refused("cs-5", "not a regular file");
}

static void files_that_the_configuration_allows(void **state)
{
    json_t *allow = json_pack("{s:[s]}", "files", "/no/such/folder");
    const struct process_engine_options options = {.allow = allow};
    struct error error = {0};
    char path[512];

    process_case_with(NULL, &options);
    json_decref(allow);
    fixture_write(f, "secret", "s3cr3t\n");
    snprintf(path, sizeof(path), "%s/secret", f->folder);
    job = fixture_script(f, "true");
    fixture_variable(job, "TOKEN", "");
    free(job->environment[1].value);
    job->environment[1].value = NULL;
    job->environment[1].from_file = alloc_text(path);
    assert_int_equal(f->engine->ops->check(f->engine, job, &error), ERR_DENIED);
    assert_prepare_refused("cs-1", "is not allowed by the engine's configuration");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(user_that_is_missing_is_refused),
        TEST(users_of_the_configuration),
        TEST(user_is_changed),
        TEST(another_user_opens_its_output),
        TEST(a_script_with_windows_line_ends_is_told),
        TEST(variables_from_files),
        TEST(files_that_the_configuration_allows),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
