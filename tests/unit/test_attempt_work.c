/* Who belongs to an attempt: by its control group, on whatever hierarchies this machine has, and by session and mark.
 * Processes are real ones. */
#include "cronsched/engines/process/attempt_work.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MARK "cs-test@0123456789abcdef"

/* ---- where groups are ---- */

#define UNIFIED "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define HYBRID                                                                                               \
    "31 24 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n"                \
    "32 24 0:29 / /sys/fs/cgroup/unified rw shared:8 - cgroup2 cgroup2 rw\n"
#define FREEZER "33 24 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"

static void test_the_own_group_is_found(void **state)
{
    static const struct {
        const char *what, *mountinfo, *cgroup, *expected; /* NULL: none */
    } cases[] = {
        {"unified", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" UNIFIED, "0::/system.slice/cronsched.service\n",
         "/sys/fs/cgroup/system.slice/cronsched.service"},
        {"the root of it", UNIFIED, "0::/\n", "/sys/fs/cgroup"},
        {"both versions: the unified one, whose line comes last", HYBRID,
         "5:freezer:/a\n1:name=systemd:/b\n0::/c\n", "/sys/fs/cgroup/unified/c"},
        {"version 1: that of systemd",
         FREEZER "31 24 0:28 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n",
         "5:freezer:/a\n1:name=systemd:/b\n", "/cg/systemd/b"},
        {"version 1 without systemd", FREEZER, "5:freezer:/a\n4:pids:/p\n", "/sys/fs/cgroup/freezer/a"},
        {"several controllers in one", "33 24 0:30 / /cg rw - cgroup cgroup rw,freezer,pids\n",
         "5:freezer,pids:/a\n", "/cg/a"},
        {"a container's part of the host's", "30 23 0:26 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
         "0::/docker/1f/x\n", "/sys/fs/cgroup/x"},
        {"the same, its top", "30 23 0:26 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
         "0::/docker/1f\n", "/sys/fs/cgroup"},
        {"of another container", "30 23 0:26 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
         "0::/docker/1f2\n", NULL},
        {"outside of the namespace", UNIFIED, "0::/../other\n", NULL},
        {"a blank in the path", "30 23 0:26 / /mnt/c\\040g rw - cgroup2 cgroup2 rw\n", "0::/x\n",
         "/mnt/c g/x"},
        {"none mounted", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/x\n", NULL},
        {"nonsense", "x\n- - -\n\n", "::\n:\nx\n", NULL},
        {"nothing", "", "", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char path[ATTEMPT_GROUP_PATH_MAX] = "";
        bool found = attempt_group_find(cases[i].mountinfo, cases[i].cgroup, path);

        if (found != (cases[i].expected != NULL))
            fail_msg("%s: found %s", cases[i].what, found ? path : "nothing");
        if (found)
            assert_string_equal(path, cases[i].expected);
    }
}

/* ---- processes ---- */

static int ready[2];

static void say_ready(void)
{
    if (write(ready[1], "x", 1) != 1)
        _exit(9);
}

static void await_ready(int n)
{
    char byte;

    while (n-- > 0)
        assert_int_equal(read(ready[0], &byte, 1), 1);
}

/* Not much longer than the test may take, should it fail. */
static _Noreturn void wait_for_end(void)
{
    alarm(120);
    for (;;)
        pause();
}

/* Forks a child with another session, and a grandchild in yet another one whose parent has gone. All wait for ever. */
static void family(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            setsid();
            say_ready();
        } else {
            _exit(0);
        }
    } else {
        say_ready();
    }
    wait_for_end();
}

static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void run_in(const char *mountinfo_line, bool version_2)
{
    char cgroup[4096] = "", own[ATTEMPT_GROUP_PATH_MAX], group[ATTEMPT_GROUP_PATH_MAX];
    struct attempt_work work = {0};
    FILE *f = fopen("/proc/self/cgroup", "re");
    pid_t pid;

    assert_non_null(f);
    assert_true(fread(cgroup, 1, sizeof(cgroup) - 1, f) > 0);
    fclose(f);
    if (!attempt_group_find(mountinfo_line, cgroup, own))
        return;
    snprintf(group, sizeof(group), "%.900s/cronsched-test-%d/cs-1", own, (int)getpid());
    if (attempt_group_make(group, NULL) < 0)
        return; /* not ours to make */
    snprintf(work.group, sizeof(work.group), "%s", group);
    assert_int_equal(attempt_work_count(&work), 0);
    pid = attempt_group_fork(group);
    if (pid == 0)
        family();
    assert_true(pid > 0);
    await_ready(2);
    while (attempt_work_count(&work) != 2) /* the one between them goes in a moment */
        reap();
    attempt_group_remove(group);
    assert_int_equal(attempt_work_count(&work), 2);
    assert_int_equal(attempt_work_kill(&work, 5000), 0);
    reap();
    attempt_group_remove(group);
    assert_int_equal(attempt_group_count(group), -1);
    *strrchr(group, '/') = '\0';
    attempt_group_base_release(group);
    assert_int_equal(attempt_group_count(group), -1);
    print_message("%s: done\n", version_2 ? "version 2" : "version 1");
}

/* Each hierarchy of this machine by itself, where the test may make groups in it. */
static void test_a_group_holds_all_that_descends(void **state)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strstr(line, " - cgroup"))
            run_in(line, strstr(line, " - cgroup2 ") != NULL);
    fclose(f);
}

/* Executed again, so that its environment in /proc is the one that it was given. */
static pid_t start_marked(const char *role, char *variable)
{
    char name[] = "test", *argv[] = {name, (char *)(uintptr_t)role, NULL}, *env[] = {variable, NULL};
    pid_t pid = fork();

    if (pid == 0) {
        setsid();
        dup2(ready[1], 3);
        execve("/proc/self/exe", argv, env);
        _exit(9);
    }
    assert_true(pid > 0);
    return pid;
}

static struct attempt_work work_of(pid_t pid, const char *mark)
{
    struct attempt_work work = {.session = pid};

    snprintf(work.mark, sizeof(work.mark), "%s", mark);
    assert_int_equal(attempt_work_ticks(pid, &work.ticks), 0);
    return work;
}

static void test_without_a_group_the_mark_finds_other_sessions(void **state)
{
    char variable[] = ATTEMPT_WORK_VARIABLE "=" MARK;
    pid_t pid = start_marked("family", variable);
    struct attempt_work work, unmarked, other;

    await_ready(2);
    work = work_of(pid, MARK);
    while (attempt_work_count(&work) != 2)
        reap();
    unmarked = work_of(pid, "");
    assert_int_equal(attempt_work_count(&unmarked), 1); /* the session alone */
    other = work_of(pid, "cs-test@0123456789abcde");    /* the begin of a mark is another mark */
    other.session = 0;
    assert_int_equal(attempt_work_count(&other), 0);
    assert_int_equal(attempt_work_kill(&work, 5000), 0); /* also while nobody has reaped the first */
    reap();
    assert_int_equal(attempt_work_count(&work), 0);
}

static void test_a_mark_is_found_in_a_large_environment(void **state)
{
    static char variable[300 * 1024];
    char mark[] = ATTEMPT_WORK_VARIABLE "=" MARK, name[] = "test", role[] = "one";
    char *argv[] = {name, role, NULL}, *env[] = {variable, variable, mark, NULL};
    struct attempt_work work = {.mark = MARK};

    memset(variable, 'x', sizeof(variable) - 1);
    variable[1] = '=';
    for (size_t cut = 0; cut < 40; cut++) { /* wherever the pieces are cut */
        pid_t pid;

        variable[64 * 1024 + cut * 3] = '\0';
        pid = fork();
        if (pid == 0) {
            dup2(ready[1], 3);
            execve("/proc/self/exe", argv, env);
            _exit(9);
        }
        await_ready(1);
        assert_int_equal(attempt_work_count(&work), 1);
        assert_int_equal(attempt_work_kill(&work, 5000), 0);
        waitpid(pid, NULL, 0);
        variable[64 * 1024 + cut * 3] = 'x';
    }
}

/* The number of the session was given to another process since. */
static void test_another_process_with_the_number_is_left_alone(void **state)
{
    char variable[] = "A=b";
    pid_t pid = start_marked("one", variable);
    struct attempt_work work;

    await_ready(1);
    work = work_of(pid, MARK);
    assert_int_equal(attempt_work_count(&work), 1);
    work.ticks--;
    assert_int_equal(attempt_work_count(&work), 0);
    assert_int_equal(attempt_work_kill(&work, 0), 0);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    work.ticks++;
    assert_int_equal(attempt_work_kill(&work, 5000), 0);
    waitpid(pid, NULL, 0);
}

static void test_nothing_known_is_nothing_alive(void **state)
{
    struct attempt_work work = {0};

    assert_int_equal(attempt_work_count(&work), 0);
    assert_int_equal(attempt_work_kill(&work, 0), 0);
    snprintf(work.group, sizeof(work.group), "/nowhere/at/all");
    assert_int_equal(attempt_work_count(&work), 0);
}

static void play(const char *role)
{
    ready[1] = 3;
    if (strcmp(role, "family") == 0)
        family();
    say_ready();
    wait_for_end();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_own_group_is_found),
        cmocka_unit_test(test_a_group_holds_all_that_descends),
        cmocka_unit_test(test_without_a_group_the_mark_finds_other_sessions),
        cmocka_unit_test(test_a_mark_is_found_in_a_large_environment),
        cmocka_unit_test(test_another_process_with_the_number_is_left_alone),
        cmocka_unit_test(test_nothing_known_is_nothing_alive),
    };

    if (argc > 1)
        play(argv[1]);
    if (pipe2(ready, O_CLOEXEC) < 0)
        return 1;
    alarm(120);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what is orphaned can be reaped here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
