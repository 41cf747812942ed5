/* The attempt's folder: states, the mark that start and fence compete for, removal. */
#include "cronsched/engines/process/attempt_dir.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RACES   200
#define THREADS 4

static const struct attempt_dir_identity identity = {"cluster-1", "report@20261122T030000Z", 2, 3, 7};
static char dir[64];
static int root;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int set_up(void **state)
{
    char host[ATTEMPT_DIR_HOST_MAX];

    memcpy(dir, "/tmp/cronsched-attempt-XXXXXX", 30);
    return mkdtemp(dir) && attempt_dir_root(dir, &root, host, NULL) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    close(root);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int make(const char *name)
{
    int folder = -1;

    assert_int_equal(attempt_dir_create(root, name, &folder, NULL), 0);
    return folder;
}

static int make_ready(const char *name)
{
    int folder = make(name);

    assert_int_equal(attempt_dir_write_ready(folder, &identity, NULL), 0);
    return folder;
}

static struct attempt_dir_status status_of(int folder)
{
    struct attempt_dir_status s;

    assert_int_equal(attempt_dir_read(folder, &s, NULL), 0);
    return s;
}

static void assert_state(int folder, enum attempt_dir_state state)
{
    assert_int_equal(status_of(folder).state, state);
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {{"cs-0123456789abcdef", true},
                 {"", false},
                 {".", false},
                 {"..", false},
                 {"a/b", false},
                 {".host", false},
                 {"a.gone", false},
                 {"a b", false}};
    char longest[ATTEMPT_DIR_NAME_MAX + 1];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(attempt_dir_name_valid(cases[i].name), cases[i].valid);
    memset(longest, 'a', sizeof(longest));
    longest[ATTEMPT_DIR_NAME_MAX] = '\0';
    assert_false(attempt_dir_name_valid(longest));
    longest[ATTEMPT_DIR_NAME_MAX - 1] = '\0';
    assert_true(attempt_dir_name_valid(longest));
}

static void test_host_id_stays(void **state)
{
    char first[ATTEMPT_DIR_HOST_MAX], second[ATTEMPT_DIR_HOST_MAX];
    int again;

    assert_int_equal(attempt_dir_root(dir, &again, first, NULL), 0);
    close(again);
    assert_int_equal(attempt_dir_root(dir, &again, second, NULL), 0);
    close(again);
    assert_int_equal(strlen(first), 16);
    assert_string_equal(first, second);
    assert_int_equal(attempt_dir_root("/no/such/folder", &again, second, NULL), ERR_NOT_FOUND);
}

static void write_file(int folder, const char *name, const char *text);

static void test_folder_without_its_number_says_what_to_do(void **state)
{
    static const char *const texts[] = {"", "0123", "not a number 123"};
    char host[ATTEMPT_DIR_HOST_MAX];
    struct error error = {0};
    int again;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file(root, ".host", texts[i]);
        assert_int_equal(attempt_dir_root(dir, &again, host, &error), ERR_CORRUPT);
        assert_non_null(strstr(error.text, dir));
        assert_non_null(strstr(error.text, "/attempts/.host does not hold"));
        assert_non_null(strstr(error.text, "or remove it"));
    }
}

static void write_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_refused(const char *replica, const char *cluster, int expected)
{
    struct error error = {0};

    assert_int_equal(attempt_dir_own(root, replica, cluster, &error), expected);
    assert_non_null(strstr(error.text, "attempts/.owner"));
}

static void test_a_folder_belongs_to_one_replica(void **state)
{
    assert_int_equal(attempt_dir_own(root, "r0", "", NULL), 0);
    assert_int_equal(attempt_dir_own(root, "r0", "uuid-1", NULL), 0); /* it was not known before */
    assert_int_equal(attempt_dir_own(root, "r0", "", NULL), 0);
    assert_refused("r1", "uuid-1", ERR_CONFLICT);
    assert_refused("r1", "", ERR_CONFLICT);
    assert_refused("r0", "uuid-2", ERR_CONFLICT);
    assert_int_equal(attempt_dir_own(root, "r0", "uuid-1", NULL), 0);
    assert_int_equal(unlinkat(root, ".owner", 0), 0); /* the way out, for a new name */
    assert_int_equal(attempt_dir_own(root, "r1", "uuid-1", NULL), 0);
    assert_refused("r0", "uuid-1", ERR_CONFLICT);
    write_file(root, ".owner", "{\"replica\":");
    assert_refused("r1", "uuid-1", ERR_CORRUPT);
    write_file(root, ".owner", "");
    assert_refused("r1", "uuid-1", ERR_CORRUPT);
}

static void test_life_of_one_that_runs(void **state)
{
    struct attempt_dir_end end = {
        .started_ms = 5, .ended_ms = 9, .exit_code = 3, .cause = "exit", .text = "b\xf6se"};
    int folder = make("a");
    struct attempt_dir_status s = status_of(folder);

    assert_false(s.identified);
    assert_true(s.alive); /* we hold the lock */
    assert_int_equal(attempt_dir_write_ready(folder, &identity, NULL), 0);
    s = status_of(folder);
    assert_int_equal(s.state, ATTEMPT_DIR_WAITING);
    assert_true(s.identified && s.same_boot);
    assert_string_equal(s.identity.run, identity.run);
    assert_string_equal(s.identity.cluster, identity.cluster);
    assert_int_equal(s.identity.attempt, 2);
    assert_int_equal(s.identity.try, 3);
    assert_int_equal(s.identity.epoch, 7);
    assert_int_equal(s.supervisor.pid, getpid());
    assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
    s = status_of(folder);
    assert_int_equal(s.state, ATTEMPT_DIR_RUNNING);
    assert_true(s.started_ms > 0);
    assert_int_equal(attempt_dir_mark_started(folder, NULL), ERR_CONFLICT); /* once */
    assert_int_equal(attempt_dir_fence(folder, "late", NULL), ERR_CONFLICT);
    assert_int_equal(attempt_dir_write_end(folder, &end, NULL), 0);
    s = status_of(folder);
    assert_int_equal(s.state, ATTEMPT_DIR_ENDED);
    assert_int_equal(s.started_ms, 5);
    assert_int_equal(s.end.ended_ms, 9);
    assert_int_equal(s.end.exit_code, 3);
    assert_string_equal(s.end.cause, "exit");
    assert_string_equal(s.end.text, "b?se");
    assert_int_equal(attempt_dir_fence(folder, "late", NULL), ERR_CONFLICT);
    close(folder);
}

static void test_long_end_is_kept_whole(void **state)
{
    struct attempt_dir_end end = {.cause = "signal", .exit_code = 137, .refused = true};
    int folder = make_ready("a");
    struct attempt_dir_status s;

    memset(end.text, 1, sizeof(end.text) - 1); /* six bytes each in JSON: longer than the room taken ahead */
    assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
    assert_int_equal(attempt_dir_write_end(folder, &end, NULL), 0);
    s = status_of(folder);
    assert_int_equal(s.state, ATTEMPT_DIR_REFUSED);
    assert_string_equal(s.end.text, end.text);
    assert_string_equal(s.end.cause, "signal");
    close(folder);
}

static void test_fence_first(void **state)
{
    int folder = make_ready("a");

    assert_int_equal(attempt_dir_fence(folder, "a reason", NULL), 0);
    assert_int_equal(attempt_dir_mark_started(folder, NULL), ERR_CONFLICT);
    assert_int_equal(attempt_dir_fence(folder, "another", NULL), 0); /* by somebody else, later */
    assert_state(folder, ATTEMPT_DIR_FENCED);
    assert_string_equal(status_of(folder).end.text, "a reason");
    close(folder);
}

static void test_fence_before_ready(void **state)
{
    int folder = make("a");

    assert_int_equal(attempt_dir_fence(folder, "early", NULL), 0);
    assert_int_equal(attempt_dir_write_ready(folder, &identity, NULL), 0);
    assert_int_equal(attempt_dir_mark_started(folder, NULL), ERR_CONFLICT);
    close(folder);
}

static void test_nobody_lives(void **state)
{
    int folder = make_ready("a"), look = -1;

    assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
    assert_int_equal(attempt_dir_open(root, "a", &look, NULL), 0);
    assert_state(look, ATTEMPT_DIR_RUNNING);
    close(folder); /* and with it the lock */
    assert_state(look, ATTEMPT_DIR_LOST);
    assert_non_null(strstr(status_of(look).end.text, "without writing down"));
    close(look);
}

/* A supervisor that is killed between writing the end and giving it its name. */
static void test_end_without_its_name(void **state)
{
    static const struct {
        const char *text;
        enum attempt_dir_state state;
    } cases[] = {
        {"{\"started\":5,\"ended\":9,\"refused\":false,\"exit_code\":3,\"cause\":\"exit\",\"text\":\"\"}   ",
         ATTEMPT_DIR_ENDED},
        {"{\"started\":5,\"ended\":9,\"refused\":false,\"exit_code\":3,\"cause\":\"exit\",\"text\":\"\"   ",
         ATTEMPT_DIR_LOST},
        {"          ", ATTEMPT_DIR_LOST},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int folder = make_ready("a"), look = -1, fd;

        assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
        fd = openat(folder, "end.new", O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        close(fd);
        assert_int_equal(attempt_dir_open(root, "a", &look, NULL), 0);
        assert_state(look, ATTEMPT_DIR_RUNNING); /* while somebody lives it is not looked at */
        close(folder);
        assert_state(look, cases[i].state);
        assert_int_equal(status_of(look).end.exit_code, cases[i].state == ATTEMPT_DIR_ENDED ? 3 : 0);
        close(look);
        assert_int_equal(attempt_dir_remove(root, "a", NULL), 0);
    }
}

static pid_t start_command(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        setsid();
        execlp("sleep", "sleep", "1000", NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

/* Running while anything of it lives; lost once that was killed, and the text says so. */
static void test_command_that_lost_its_supervisor_runs_until_it_is_killed(void **state)
{
    int folder = make_ready("a"), look = -1;
    pid_t command = start_command();
    struct attempt_dir_status s;

    assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
    assert_int_equal(attempt_dir_write_command(folder, command, "", "", NULL), 0);
    assert_false(status_of(folder).orphaned);
    close(folder);
    assert_int_equal(attempt_dir_open(root, "a", &look, NULL), 0);
    do /* in a moment it has begun its session, and is executed: then it has the locked folder no longer */
        s = status_of(look);
    while (s.state == ATTEMPT_DIR_LOST || s.alive);
    assert_int_equal(s.state, ATTEMPT_DIR_RUNNING);
    assert_true(s.orphaned);
    assert_int_equal(s.command.pid, command);
    assert_int_equal(attempt_dir_kill_work(look, &s), 0);
    s = status_of(look);
    assert_int_equal(s.state, ATTEMPT_DIR_LOST);
    assert_non_null(strstr(s.end.text, "was killed (1 process)"));
    waitpid(command, NULL, 0);
    close(look);
    assert_int_equal(attempt_dir_remove(root, "a", NULL), 0);
}

static void test_lost_with_nothing_left_says_so(void **state)
{
    int folder = make_ready("a"), look = -1;

    assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
    close(folder);
    assert_int_equal(attempt_dir_open(root, "a", &look, NULL), 0);
    assert_state(look, ATTEMPT_DIR_LOST);
    assert_non_null(strstr(status_of(look).end.text, "nothing of it runs"));
    close(look);
}

static void test_pid_of_another_process_is_not_believed(void **state)
{
    struct attempt_dir_process self = {0};
    int pidfd = -1;

    assert_int_equal(attempt_dir_process_self(&self, NULL), 0);
    assert_int_equal(attempt_dir_pidfd(&self, &pidfd, NULL), 0);
    close(pidfd);
    self.ticks++;
    assert_int_equal(attempt_dir_pidfd(&self, &pidfd, NULL), ERR_NOT_FOUND);
    assert_int_equal(attempt_dir_signal(&self, 9), ERR_NOT_FOUND); /* or this test would be over */
    self.pid = 0;
    assert_int_equal(attempt_dir_pidfd(&self, &pidfd, NULL), ERR_NOT_FOUND);
}

static void test_broken_files_are_no_proof(void **state)
{
    static const char *const garbage[] = {"", "{", "[]", "null", "{\"fenced\":1}", "{\"pid\":\"x\"}"};

    for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
        int folder = make_ready("a"), fd;

        assert_int_equal(attempt_dir_mark_started(folder, NULL), 0);
        fd = openat(folder, "start", O_WRONLY | O_TRUNC);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, garbage[i], strlen(garbage[i])), strlen(garbage[i]));
        close(fd);
        assert_int_equal(attempt_dir_fence(folder, "x", NULL), ERR_CONFLICT);
        assert_state(folder, ATTEMPT_DIR_RUNNING);
        close(folder);
        assert_int_equal(attempt_dir_remove(root, "a", NULL), 0);
    }
}

static void test_removal(void **state)
{
    struct stat st;
    int folder = make_ready("a"), again = -1;

    assert_int_equal(attempt_dir_create(root, "a", &again, NULL), ERR_CONFLICT);
    assert_int_equal(attempt_dir_fence(folder, "x", NULL), 0);
    assert_int_equal(attempt_dir_remove(root, "a", NULL),
                     0); /* though it is locked: it is ready, and has its mark */
    assert_int_equal(attempt_dir_open(root, "a", &again, NULL), ERR_NOT_FOUND);
    assert_int_equal(attempt_dir_remove(root, "a", NULL), 0);
    /* Its supervisor still has the folder open. */
    assert_int_equal(attempt_dir_mark_started(folder, NULL), ERR_NOT_FOUND);
    assert_int_equal(attempt_dir_write_ready(folder, &identity, NULL), ERR_NOT_FOUND);
    close(folder);

    folder = make("b"); /* locked and not ready: somebody is at it */
    assert_int_equal(attempt_dir_fence(folder, "x", NULL), 0);
    assert_int_equal(attempt_dir_remove(root, "b", NULL), ERR_BUSY);
    close(folder);
    assert_int_equal(attempt_dir_remove(root, "b", NULL), 0);

    assert_int_equal(mkdirat(root, "c.gone", 0700), 0); /* of a removal that was cut short */
    attempt_dir_clean(root, "");
    assert_int_equal(fstatat(root, "c.gone", &st, 0), -1);
    assert_int_equal(fstatat(root, ".host", &st, 0), 0);
}

/* ---- the race ---- */

struct racer {
    pthread_barrier_t *barrier;
    bool starts, late;
    int folder, result;
};

static void *race(void *arg)
{
    struct racer *r = arg;

    pthread_barrier_wait(r->barrier);
    if (r->starts && r->late) /* a fence writes and syncs a file first */
        attempt_dir_write_ready(r->folder, &identity, NULL);
    r->result = r->starts ? attempt_dir_mark_started(r->folder, NULL)
                          : attempt_dir_fence(r->folder, "race", NULL);
    return NULL;
}

/* However it goes: the starter has it and all fences fail, or it has not and all fences hold. */
static void test_start_and_fences_race(void **state)
{
    int started = 0;

    for (int i = 0; i < RACES; i++) {
        struct racer racers[THREADS];
        pthread_t threads[THREADS];
        pthread_barrier_t barrier;
        int folder = make_ready("a");

        pthread_barrier_init(&barrier, NULL, THREADS);
        for (int t = 0; t < THREADS; t++) {
            racers[t] = (struct racer){&barrier, t == i % THREADS, i % 8 != 0, folder, 0};
            assert_int_equal(pthread_create(&threads[t], NULL, race, &racers[t]), 0);
        }
        for (int t = 0; t < THREADS; t++)
            pthread_join(threads[t], NULL);
        started += racers[i % THREADS].result == 0;
        for (int t = 0; t < THREADS; t++)
            if (!racers[t].starts)
                assert_int_equal(racers[t].result, racers[i % THREADS].result == 0 ? ERR_CONFLICT : 0);
        pthread_barrier_destroy(&barrier);
        close(folder);
        assert_int_equal(attempt_dir_remove(root, "a", NULL), 0);
    }
    print_message("# the start won %d of %d\n", started, RACES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_host_id_stays),
        TEST(test_folder_without_its_number_says_what_to_do),
        TEST(test_a_folder_belongs_to_one_replica),
        TEST(test_life_of_one_that_runs),
        TEST(test_long_end_is_kept_whole),
        TEST(test_fence_first),
        TEST(test_fence_before_ready),
        TEST(test_nobody_lives),
        TEST(test_end_without_its_name),
        TEST(test_command_that_lost_its_supervisor_runs_until_it_is_killed),
        TEST(test_lost_with_nothing_left_says_so),
        TEST(test_pid_of_another_process_is_not_believed),
        TEST(test_broken_files_are_no_proof),
        TEST(test_removal),
        TEST(test_start_and_fences_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
