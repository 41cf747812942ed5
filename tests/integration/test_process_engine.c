/* The process engine, as the scheduler uses it, with real processes: what each request answers. What happens
 * when somebody is killed in the middle is in test_process_crash.c, fencing and removal in test_process_fence.c. */
#include "cronsched/engines/process/attempt_dir.h"
#include "jobs/base/alloc.h"
#include "jobs/definition/job_keys.h"
#include "tests/integration/process_case.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t now_ms(void)
{
    return f->host.now_ms(&f->host);
}

/* ---- a normal life ---- */

static void test_runs_and_ends(void **state)
{
    struct test_answer *a;
    int64_t before = now_ms();
    char id[160];

    job = fixture_script(f, "echo hello; echo oops >&2");
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_PREPARED);
    assert_int_equal(strncmp(a->id, "cs-1@", 5), 0);
    assert_int_equal(strlen(a->boot_id), 36);
    memcpy(id, a->id, sizeof(id));
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_STARTED);
    a = fixture_ask(f, ENGINE_WATCH, job, id, false);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 0);
    assert_string_equal(a->cause, "exit");
    assert_string_equal(a->text, "");
    assert_true(a->started_ms >= before && a->at_ms >= a->started_ms && a->at_ms <= now_ms());
    assert_string_equal(fixture_log(f), "hello\noops\n");
    a = fixture_ask(f, ENGINE_WATCH, job, id, false); /* again: the same */
    assert_int_equal(a->event, ENGINE_ENDED);
}

static void test_exit_code_and_signal_are_told(void **state)
{
    struct test_answer *a;

    job = fixture_script(f, "exit 42");
    a = fixture_run(f, job, "cs-1");
    assert_int_equal(a->exit_code, 42);
    assert_string_equal(a->cause, "exit");
    job_unref(job);
    job = fixture_script(f, "kill -SEGV $$");
    a = fixture_run(f, job, "cs-2");
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 128 + SIGSEGV);
    assert_string_equal(a->cause, "signal");
    assert_non_null(strstr(a->text, "signal 11"));
}

static void test_command_sees_its_own_environment_only(void **state)
{
    char *log;

    assert_int_equal(setenv("CRONSCHED_TOKEN", "server's own", 1), 0);
    job = fixture_script(f, "env; pwd; umask; ls -l /proc/self/fd | grep -c pipe; cat; ulimit -n");
    fixture_variable(job, "GREETING", "b\xf6se\nzwei"); /* not UTF-8, and a line end */
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    log = fixture_log(f);
    assert_non_null(strstr(log, "CRONSCHED_RUN=" TEST_RUN "\n"));
    assert_non_null(strstr(log, "CRONSCHED_ATTEMPT=1\n"));
    assert_non_null(strstr(log, "CRONSCHED_FIRE_TIME=2026-11-22T03:00:00Z\n"));
    assert_non_null(strstr(log, "GREETING=b\xf6se\nzwei\n"));
    assert_non_null(strstr(log, "PATH=/usr/local/sbin:"));
    assert_non_null(strstr(log, "HOME=/"));
    assert_null(strstr(log, "CRONSCHED_TOKEN"));
    assert_null(strstr(log, "TEST_FOLDER"));
    assert_non_null(strstr(log, "\n/\n0022\n2\n1024\n")); /* working_dir, umask, stdout and stderr, files */
    unsetenv("CRONSCHED_TOKEN");
}

/* Whoever reads the memory or the environment of a supervisor finds no token of the server there. */
static void test_no_secret_of_the_server_goes_on(void **state)
{
    const char *seen;

    assert_int_equal(setenv("SERVER_SECRET", "hunter2", 1), 0);
    assert_int_equal(setenv("CRONSCHED_TOKEN", "hunter3", 1), 0);
    assert_int_equal(setenv("LANG", "C.UTF-8", 1), 0);
    job = fixture_script(f, "tr '\\0' '\\n' < /proc/$PPID/environ > $D/supervisor; "
                            "tr '\\0' '\\n' < /proc/$$/environ > $D/command");
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    unsetenv("SERVER_SECRET");
    unsetenv("CRONSCHED_TOKEN");
    unsetenv("LANG");
    seen = fixture_read(f, "supervisor");
    assert_non_null(strstr(seen, "PATH="));
    assert_non_null(strstr(seen, "LANG=C.UTF-8\n"));
    assert_null(strstr(seen, "SECRET"));
    assert_null(strstr(seen, "hunter"));
    seen = fixture_read(f, "command");
    assert_non_null(strstr(seen, "CRONSCHED_RUN=" TEST_RUN "\n"));
    assert_null(strstr(seen, "hunter"));
    assert_null(strstr(seen, "LANG="));
}

static bool set_oom_score(const char *text)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

    if (fd >= 0)
        close(fd);
    return done;
}

static void test_command_is_not_spared_when_memory_runs_out(void **state)
{
    if (!set_oom_score("-500")) {
        print_message("needs CAP_SYS_RESOURCE\n");
        skip();
    }
    job = fixture_script(f, "cat /proc/self/oom_score_adj");
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    set_oom_score("0");
    assert_string_equal(fixture_log(f), "0\n");
}

static void test_command_finds_its_program_in_the_jobs_path(void **state)
{
    char path[512];

    fixture_write(f, "hello-job", "#!/bin/sh\necho found $1\n");
    snprintf(path, sizeof(path), "%s/hello-job", f->folder);
    assert_int_equal(chmod(path, 0755), 0);
    job = fixture_script(f, NULL);
    fixture_variable(job, "PATH", f->folder);
    job_strings_add(&job->command, "hello-job");
    job_strings_add(&job->command, "it");
    job->has_command = true;
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_string_equal(fixture_log(f), "found it\n");
}

static void test_preparing_twice_is_preparing_once(void **state)
{
    char first[160];
    struct test_answer *a;

    job = fixture_script(f, "echo start >>$D/ledger");
    fixture_prepared(f, job, "cs-1", first);
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_PREPARED);
    assert_string_equal(a->id, first);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, first, false)->event, ENGINE_STARTED);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, first, false)->event, ENGINE_UNKNOWN);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, first, false)->event, ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ledger", "start"), 1);
}

static void test_no_answer_comes_from_within_submit(void **state)
{
    static const enum engine_op ops[] = {ENGINE_RELEASE, ENGINE_FENCE, ENGINE_WATCH, ENGINE_STOP,
                                         ENGINE_DISCARD};
    static const char *const ids[] = {"nonsense", "cs-1@0123456789abcdef", "../x@y", "cs-1"};

    job = fixture_script(f, "true");
    for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
        for (size_t k = 0; k < sizeof(ids) / sizeof(*ids); k++) {
            size_t before = f->answer_count;
            uint64_t ticket = fixture_submit(f, ops[i], job, ids[k], true);
            enum engine_event event;

            assert_int_equal(f->answer_count, before);
            event = fixture_wait(f, ticket)->event;
            assert_true(event == ENGINE_UNKNOWN || event == ENGINE_UNREACHABLE ||
                        (ops[i] == ENGINE_DISCARD && event == ENGINE_DONE));
        }
    }
}

/* ---- refusals ---- */

static void assert_release_refused(const char *name, int exit_code, const char *text)
{
    struct test_answer *a;
    char id[160];

    fixture_prepared(f, job, name, id);
    a = fixture_ask(f, ENGINE_RELEASE, job, id, false);
    assert_int_equal(a->event, ENGINE_REFUSED);
    assert_int_equal(a->exit_code, exit_code);
    if (!strstr(a->text, text))
        fail_msg("'%s' lacks '%s'", a->text, text);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true); /* a successor hears the same */
    assert_int_equal(a->event, ENGINE_REFUSED);
    assert_int_equal(a->exit_code, exit_code);
    a = fixture_ask(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, exit_code);
    assert_string_equal(a->cause, "engine");
}

static void set_command(const char *program)
{
    job_unref(job);
    job = fixture_script(f, NULL);
    job_strings_add(&job->command, program);
    job->has_command = true;
}

static void test_command_that_cannot_be_executed_is_refused(void **state)
{
    char path[512];

    set_command("no-such-program");
    assert_release_refused("cs-1", 127, "no such command: 'no-such-program' is not in PATH");
    set_command("/no/such/program");
    assert_release_refused("cs-2", 127, "no such command: '/no/such/program'");
    fixture_write(f, "data", "not a program\n");
    snprintf(path, sizeof(path), "%s/data", f->folder);
    set_command(path);
    assert_release_refused("cs-3", 126, "Permission denied");
    fixture_write(f, "script", "#!/no/such/interpreter\n");
    snprintf(path, sizeof(path), "%s/script", f->folder);
    assert_int_equal(chmod(path, 0755), 0);
    set_command(path);
    assert_release_refused("cs-4", 127, "its interpreter is missing");
}

static void test_working_dir_that_is_missing_is_refused(void **state)
{
    job = fixture_script(f, "pwd");
    job->working_dir = alloc_text("/no/such/folder");
    assert_release_refused("cs-1", 126, "working_dir: '/no/such/folder': No such file or directory");
    alloc_replace(&job->working_dir, "/usr");
    assert_int_equal(fixture_run(f, job, "cs-2")->exit_code, 0);
    assert_string_equal(fixture_log(f), "/usr\n");
}

/* ---- output ---- */

static void test_both_ends_of_long_output_are_kept_and_the_command_goes_on(void **state)
{
    job =
        fixture_script(f, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo ok >$D/done");
    job->keep_logs_bytes = 1000; /* in the middle of a line */
    assert_int_equal(fixture_run(f, job, "cs-1")->exit_code, 0);
    assert_true(fixture_exists(f, "done"));
    assert_in_range(strlen(fixture_log(f)), 980, 1100);
    assert_non_null(strstr(fixture_log(f), "\ncronsched: 20789")); /* of 208890 bytes, and part of a line */
    assert_int_equal(strncmp(fixture_log(f), "line 0\nline 1\n", 14), 0);
    assert_string_equal(fixture_log(f) + strlen(fixture_log(f)) - 22, "line 19998\nline 19999\n");
}

static void test_log_that_cannot_be_written_does_not_stop_the_run(void **state)
{
    struct test_answer *a;

    fixture_write(f, "logs", "a file where the folder should be");
    job = fixture_script(f, "echo hello; exit 3");
    a = fixture_run(f, job, "cs-1");
    assert_int_equal(a->exit_code, 3);
    assert_non_null(strstr(a->text, "cannot open the log"));
}

/* ---- the end ---- */

static void test_what_a_command_leaves_running_is_killed(void **state)
{
    struct test_answer *a;
    pid_t child, daemon;

    job = fixture_script(f, "sleep 1000 & echo $! >$D/child; "
                            "(setsid sh -c 'echo $$ >$D/daemon; exec sleep 1000' &); "
                            "while [ ! -s $D/daemon ]; do sleep 0.01; done; exit 5");
    a = fixture_run(f, job, "cs-1");
    assert_int_equal(a->exit_code, 5);
    assert_string_equal(a->text, "what it left running was killed: 2 processes");
    child = fixture_pid_in(f, "child");
    daemon = fixture_pid_in(f, "daemon");
    assert_true(process_gone(child));
    assert_true(process_gone(daemon));
}

/* ---- without a server ---- */

static void test_attempt_outlives_its_server_and_is_adopted(void **state)
{
    struct test_answer *a;
    uint64_t watch;
    char id[160];

    job = fixture_script(f, "echo start >>$D/ledger; while [ ! -e $D/go-on ]; do sleep 0.01; done; exit 9");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    fixture_until_file(f, "ledger");
    fixture_restart(f);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true);
    assert_int_equal(a->event, ENGINE_STARTED);
    assert_true(a->started_ms > 0 && a->started_ms <= now_ms());
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    fixture_write(f, "go-on", "");
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 9);
    fixture_restart(f);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 9);
    assert_true(a->started_ms > 0 && a->at_ms >= a->started_ms);
    assert_int_equal(fixture_count(f, "ledger", "start"), 1);
}

static void test_adopted_attempt_is_stopped(void **state)
{
    uint64_t watch;
    struct test_answer *a;
    char id[160];

    job = fixture_script(f, "echo up >$D/up; exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    fixture_until_file(f, "up");
    fixture_restart(f);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, true)->event, ENGINE_DONE);
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 128 + SIGTERM);
}

static void test_supervisor_killed_takes_the_command_along_and_the_end_is_unknown(void **state)
{
    uint64_t watch;
    struct test_answer *a;
    pid_t command;
    char id[160];

    job = fixture_script(f, "echo $$ >$D/up; exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, false);
    command = fixture_pid_in(f, "up");
    assert_int_equal(kill(fixture_supervisor(f, "cs-1"), SIGKILL), 0);
    a = fixture_wait(f, watch);
    assert_int_equal(a->event, ENGINE_UNKNOWN);
    assert_non_null(strstr(a->text, "without writing down"));
    fixture_until_gone(f, command);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_UNKNOWN);
}

static void test_after_a_reboot_what_ran_is_unknown(void **state)
{
    char id[160], *boot, text[2048];
    struct test_answer *a;

    job = fixture_script(f, "echo $$ >$D/up; exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    fixture_until_file(f, "up");
    assert_int_equal(kill(fixture_supervisor(f, "cs-1"), SIGKILL), 0);
    fixture_until_gone(f, fixture_pid_in(f, "up"));
    snprintf(text, sizeof(text), "%s", fixture_read(f, "attempts/cs-1/ready"));
    boot = strstr(text, "\"boot\":\"");
    assert_non_null(boot);
    memcpy(boot + 8, "00000000", 8);
    fixture_write(f, "attempts/cs-1/ready", text); /* `start` is another name of it */
    fixture_restart(f);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true);
    assert_int_equal(a->event, ENGINE_UNKNOWN);
    assert_non_null(strstr(a->text, "the machine was restarted"));
    a = fixture_ask(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(a->event, ENGINE_UNKNOWN);
}

/* ---- many, and troubles of the server ---- */

static pid_t spawner_pid(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    while ((entry = readdir(dir))) {
        char path[300], line[256] = "";
        int pid, parent;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        file = *entry->d_name >= '1' && *entry->d_name <= '9' ? fopen(path, "re") : NULL;
        if (!file)
            continue;
        if (fgets(line, sizeof(line), file) && sscanf(line, "%d (cs-spawner) %*c %d", &pid, &parent) == 2 &&
            parent == getpid())
            found = pid;
        fclose(file);
    }
    closedir(dir);
    return found;
}

static void test_spawner_that_died_is_started_again(void **state)
{
    char id[160];
    pid_t spawner;

    job = fixture_script(f, "exit 6");
    fixture_prepared(f, job, "cs-1", id);
    spawner = spawner_pid();
    assert_true(spawner > 0);
    assert_int_equal(kill(spawner, SIGKILL), 0);
    fixture_until_gone(f, spawner);
    assert_int_equal(fixture_run(f, job, "cs-2")->exit_code, 6);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_STARTED); /* untouched */
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, false)->exit_code, 6);
}

static void test_program_that_is_missing_makes_the_engine_unreachable(void **state)
{
    const struct process_engine_options options = {.program = "/no/such/cronsched"};
    struct engine_status status;
    struct test_answer *a;

    process_case_with(NULL, &options);
    job = fixture_script(f, "true");
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_UNREACHABLE);
    assert_non_null(strstr(a->text, "/no/such/cronsched"));
    f->engine->ops->status(f->engine, &status);
    assert_false(status.reachable);
}

static void test_closing_in_the_middle_of_everything(void **state)
{
    char id[160];

    job = fixture_script(f, "echo $$ >$D/up; exec sleep 1000");
    fixture_prepared(f, job, "cs-1", id);
    fixture_ask(f, ENGINE_RELEASE, job, id, false);
    fixture_submit(f, ENGINE_WATCH, job, id, false);
    for (int i = 0; i < 50; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cs-x%d", i);
        fixture_prepare(f, job, name, 1);
    }
    fixture_submit(f, ENGINE_FENCE, job, id, true);
    fixture_restart(f);
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, true)->event, ENGINE_DONE);
    assert_int_equal(fixture_ask(f, ENGINE_WATCH, job, id, true)->event, ENGINE_ENDED);
}

#define MANY 200

static void test_two_hundred_in_the_same_instant(void **state)
{
    static char ids[MANY][160];
    static uint64_t tickets[MANY];
    uint64_t begin = uv_hrtime(), sent, last = 0, prepared;
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    job = fixture_script(f, "echo start >>$D/ledger");
    for (int i = 0; i < MANY; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cs-%d", i);
        tickets[i] = fixture_prepare(f, job, name, 1);
    }
    for (int i = 0; i < MANY; i++) {
        struct test_answer *a = fixture_wait(f, tickets[i]);

        assert_int_equal(a->event, ENGINE_PREPARED);
        memcpy(ids[i], a->id, sizeof(ids[i]));
    }
    prepared = uv_hrtime() - begin;
    begin = uv_hrtime();
    for (int i = 0; i < MANY; i++)
        tickets[i] = fixture_submit(f, ENGINE_RELEASE, job, ids[i], false);
    sent = uv_hrtime() - begin;
    for (int i = 0; i < MANY; i++) {
        struct test_answer *a = fixture_wait(f, tickets[i]);

        assert_int_equal(a->event, ENGINE_STARTED);
        last = a->seen_ns - begin > last ? a->seen_ns - begin : last;
    }
    print_message(
        "# %d attempts: prepared in %llu ms; go-aheads sent in %.1f ms, the last one started after %llu ms\n",
        MANY, (unsigned long long)prepared / 1000000, (double)sent / 1e6, (unsigned long long)last / 1000000);
    for (int i = 0; i < MANY; i++)
        tickets[i] = fixture_submit(f, ENGINE_WATCH, job, ids[i], false);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(fixture_wait(f, tickets[i])->event, ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ledger", "start"), MANY);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_runs_and_ends),
        TEST(test_exit_code_and_signal_are_told),
        TEST(test_command_sees_its_own_environment_only),
        TEST(test_no_secret_of_the_server_goes_on),
        TEST(test_command_is_not_spared_when_memory_runs_out),
        TEST(test_command_finds_its_program_in_the_jobs_path),
        TEST(test_preparing_twice_is_preparing_once),
        TEST(test_no_answer_comes_from_within_submit),
        TEST(test_command_that_cannot_be_executed_is_refused),
        TEST(test_working_dir_that_is_missing_is_refused),
        TEST(test_both_ends_of_long_output_are_kept_and_the_command_goes_on),
        TEST(test_log_that_cannot_be_written_does_not_stop_the_run),
        TEST(test_what_a_command_leaves_running_is_killed),
        TEST(test_attempt_outlives_its_server_and_is_adopted),
        TEST(test_adopted_attempt_is_stopped),
        TEST(test_supervisor_killed_takes_the_command_along_and_the_end_is_unknown),
        TEST(test_after_a_reboot_what_ran_is_unknown),
        TEST(test_spawner_that_died_is_started_again),
        TEST(test_program_that_is_missing_makes_the_engine_unreachable),
        TEST(test_closing_in_the_middle_of_everything),
        TEST(test_two_hundred_in_the_same_instant),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
