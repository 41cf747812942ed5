/* The process engine when somebody dies or is paused in the middle: at every point of the code
 * (jobs/base/fault.h), in the server, in the supervisor and in the command's process before its exec.
 *
 * A server prepares, releases and watches an attempt whose command writes a line into a ledger; it, or its
 * supervisor, is killed at the point. A second server on the same folder then does what a new leader does:
 * fence what was committed; run what never ran again, as another try; watch what was started. Whatever
 * happens, no try starts twice; NEVER_RAN: that try is not in the ledger, and never will be; STARTED, ENDED
 * with an exit code: it is in the ledger; and unless something ended as UNKNOWN, the run was started once, in
 * all.
 */
#include "tests/integration/process_fixture.h"

#include "cronsched/engines/process/attempt_dir.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RANDOM_ROUNDS 40

static struct fixture *f;

static int set_up(void **state)
{
    f = fixture_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(f);
    return 0;
}

static int starts(int try)
{
    char line[32];

    snprintf(line, sizeof(line), "start %d\n", try);
    return fixture_count(f, "ledger", line);
}

/* ---- what the new leader does ---- */

struct verdict {
    enum engine_event event; /* of the fence; PREPARED: nothing was committed */
    bool unknown;            /* the run ended as lost */
};

static const char *event_name(enum engine_event event)
{
    static const char *const names[] = {"nothing committed", "STARTED", "ENDED",       "NEVER_RAN",
                                        "REFUSED",           "UNKNOWN", "UNREACHABLE", "DONE"};

    return names[event];
}

/* Another try of the same attempt, to its end. */
static void run_again(struct job *job)
{
    struct test_answer *a;

    fixture_variable(job, "TRY", "2");
    a = fixture_run(f, job, "cs-drive2");
    assert_int_equal(a->event, ENGINE_ENDED);
    assert_int_equal(a->exit_code, 0);
    assert_int_equal(starts(2), 1);
}

static void watch_to_the_end(struct job *job, const char *id, struct verdict *v)
{
    struct test_answer *a = fixture_ask(f, ENGINE_WATCH, job, id, true);

    if (a->event == ENGINE_UNKNOWN) {
        v->unknown = true;
        return;
    }
    assert_int_equal(a->event, ENGINE_ENDED);
    if (strcmp(a->cause, "exit") == 0) {
        assert_int_equal(a->exit_code, 0);
        assert_int_equal(starts(1), 1);
    } else {
        v->unknown = true; /* killed at once: it may have started, or just not */
    }
}

static struct verdict recover(void)
{
    struct verdict v = {.event = ENGINE_PREPARED};
    char *journal = fixture_read(f, "journal"), id[160] = "", word[16] = "";
    struct job *job = fixture_script(f, "echo start $TRY >>$D/ledger");
    struct test_answer *a;

    if (sscanf(journal, "%15s %159s", word, id) == 2) {
        a = fixture_ask(f, ENGINE_FENCE, job, id, strcmp(word, "released") == 0);
        v.event = a->event;
        if (a->event == ENGINE_NEVER_RAN)
            assert_int_equal(starts(1), 0);
        else if (a->event == ENGINE_STARTED)
            watch_to_the_end(job, id, &v);
        else if (a->event == ENGINE_ENDED)
            assert_true(a->exit_code == 128 + SIGKILL || starts(1) == 1);
        else
            v.unknown = true;
        if (a->event == ENGINE_UNKNOWN)
            assert_non_null(strstr(a->text, "supervisor"));
    }
    if (v.event == ENGINE_PREPARED || v.event == ENGINE_NEVER_RAN)
        run_again(job);
    job_unref(job);
    return v;
}

/* The ledger after everybody has gone. */
static void assert_ledger(const char *point, const struct verdict *v)
{
    int first = starts(1), second = starts(2);

    if (first > 1 || second > 1 || first + second > 1 || (!v->unknown && first + second != 1))
        fail_msg("%s: fence says %s, then %d starts of the first try and %d of the second", point,
                 event_name(v->event), first, second);
}

static bool all_gone(void *arg)
{
    char file[64];
    const char *pid;

    for (int try = 1; try <= 2; try++) {
        snprintf(file, sizeof(file), "attempts/cs-drive%d/ready", try);
        pid = strstr(fixture_read(f, file), "\"pid\":");
        if (pid && !process_gone((pid_t)strtol(pid + 6, NULL, 10)))
            return false;
    }
    return true;
}

/* ---- killed at a point ---- */

static void test_killed_at_every_point(void **state)
{
    /* A fence that says UNKNOWN where it could know is a fault, too. */
    static const struct {
        const char *point;
        enum engine_event event;
        bool held; /* the server comes there only when it has seen the command run */
    } points[] = {
        /* the server: nobody else can send the go-ahead */
        {"process-prepare", ENGINE_PREPARED},
        {"process-created", ENGINE_PREPARED},
        {"process-spawned", ENGINE_PREPARED},
        {"process-prepared", ENGINE_PREPARED},
        {"process-release", ENGINE_NEVER_RAN},
        /* DONE: whatever the mark says */
        {"process-sent", ENGINE_DONE},
        {"process-concluded", ENGINE_DONE},
        {"process-watch", ENGINE_DONE},
        {"process-watch-end", ENGINE_ENDED, true},
        {"process-watch-ended", ENGINE_ENDED},
        {"process-answered:2", ENGINE_DONE},
        {"process-answered:4", ENGINE_ENDED, true},
        /* the supervisor, before the mark */
        {"supervise-begin", ENGINE_PREPARED},
        {"supervise-ready-written", ENGINE_PREPARED},
        {"supervise-ready", ENGINE_DONE},
        /* the command's process */
        {"supervise-go", ENGINE_NEVER_RAN},
        {"supervise-link", ENGINE_NEVER_RAN},
        {"supervise-linked", ENGINE_DONE},
        {"supervise-started", ENGINE_DONE},
        /* the supervisor again, after the exec */
        {"supervise-executed", ENGINE_DONE},
        {"supervise-ended", ENGINE_UNKNOWN},
        {"supervise-end-written", ENGINE_ENDED},
        {"supervise-end-synced", ENGINE_ENDED},
    };

    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        struct verdict v;
        int status;

        tear_down(state);
        set_up(state);
        if (points[i].held)
            fixture_hold(f);
        status = fixture_reap(fixture_drive(f, 1, points[i].point, NULL));
        /* A server whose supervisor died has nothing to die of itself; it may also give up. */
        assert_true(WIFSIGNALED(status) || WIFEXITED(status));
        if (strncmp(points[i].point, "process-", 8) == 0)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        v = recover();
        fixture_until(f, all_gone, NULL, "all supervisors to leave");
        assert_ledger(points[i].point, &v);
        print_message("# %-24s %s%s\n", points[i].point, event_name(v.event), v.unknown ? ", lost" : "");
        if (points[i].event != ENGINE_DONE)
            assert_int_equal(v.event, points[i].event);
    }
}

/* ---- paused at a point ---- */

static pid_t stopped_pid(void)
{
    fixture_until_file(f, "stopped");
    return (pid_t)strtol(fixture_read(f, "stopped"), NULL, 10);
}

static bool is_released(void *arg)
{
    return fixture_count(f, "journal", "released") == 1;
}

/* The server dies while its supervisor, or the command's process, is in a long pause with the go-ahead in its
 * hands. The new leader fences; then the pause is over. */
static void assert_pause(const char *point, enum engine_event expected)
{
    struct job *job = fixture_script(f, "true");
    char id[160] = "", word[16];
    struct test_answer *a;
    pid_t server, paused;
    uint64_t watch = 0;

    server = fixture_drive(f, 1, NULL, point);
    paused = stopped_pid();
    fixture_until(f, is_released, NULL, "the server to release it");
    if (paused != server) {
        kill(server, SIGKILL);
        fixture_reap(server);
    }
    assert_int_equal(sscanf(fixture_read(f, "journal"), "%15s %159s", word, id), 2);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true);
    if (expected == ENGINE_DONE) /* a race; both are fine */
        expected = a->event == ENGINE_NEVER_RAN ? ENGINE_NEVER_RAN : ENGINE_STARTED;
    if (a->event != expected)
        fail_msg("%s: %s, not %s", point, event_name(a->event), event_name(expected));
    if (expected == ENGINE_STARTED)
        watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    kill(paused, SIGCONT);
    if (paused == server)
        fixture_reap(server);
    if (watch)
        assert_int_equal(fixture_wait(f, watch)->event, ENGINE_ENDED);
    fixture_until(f, all_gone, NULL, "the supervisor to leave");
    assert_int_equal(starts(1), expected == ENGINE_STARTED);
    /* And it stays so. */
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event,
                     expected == ENGINE_STARTED ? ENGINE_ENDED : ENGINE_NEVER_RAN);
    job_unref(job);
}

static void test_paused_with_the_go_ahead_in_hand(void **state)
{
    static const struct {
        const char *point;
        enum engine_event event;
    } cases[] = {
        {"process-release", ENGINE_NEVER_RAN}, /* the old leader, just before it sends */
        {"supervise-ready", ENGINE_DONE},      {"supervise-go", ENGINE_NEVER_RAN},
        {"supervise-link", ENGINE_NEVER_RAN},  {"supervise-linked", ENGINE_STARTED},
        {"supervise-started", ENGINE_STARTED}, {"supervise-executed", ENGINE_STARTED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        tear_down(state);
        set_up(state);
        assert_pause(cases[i].point, cases[i].event);
    }
}

/* The fence is put, then its maker dies before it is told: the next one hears the same. */
static void test_fence_of_a_dead_server_holds(void **state)
{
    struct job *job = fixture_script(f, "echo start 1 >>$D/ledger");
    char id[160];
    int folder, root;
    char host[ATTEMPT_DIR_HOST_MAX];

    fixture_prepared(f, job, "cs-drive1", id);
    assert_int_equal(attempt_dir_root(f->folder, &root, host, NULL), 0);
    assert_int_equal(attempt_dir_open(root, "cs-drive1", &folder, NULL), 0);
    assert_int_equal(attempt_dir_fence(folder, "by somebody", NULL), 0);
    close(folder);
    close(root);
    /* The supervisor still waits, and gets the go-ahead. */
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_UNKNOWN);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_NEVER_RAN);
    assert_int_equal(starts(1), 0);
    job_unref(job);
}

static bool is_cleaned(void *arg)
{
    return !fixture_exists(f, "attempts/cs-drive1.gone");
}

/* A server that died in the middle of removing a folder: what waits there cannot start, and the sweep goes
 * on. */
static void test_removal_that_was_cut_short(void **state)
{
    struct job *job = fixture_script(f, "echo start 1 >>$D/ledger");
    char id[160], from[512], to[512];
    const struct process_engine_options options = {.retention_ms = 1, .sweep_ms = 5};

    fixture_prepared(f, job, "cs-drive1", id);
    snprintf(from, sizeof(from), "%s/attempts/cs-drive1", f->folder);
    snprintf(to, sizeof(to), "%s/attempts/cs-drive1.gone", f->folder);
    assert_int_equal(rename(from, to), 0);
    snprintf(from, sizeof(from), "%s/attempts/cs-drive1.gone/ready", f->folder);
    assert_int_equal(unlink(from), 0);
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_UNKNOWN);
    assert_int_equal(starts(1), 0);
    f->own_folder = false;
    snprintf(from, sizeof(from), "%s", f->folder);
    fixture_free(f);
    f = fixture_new_with(from, &options);
    f->own_folder = true;
    fixture_until(f, is_cleaned, NULL, "the sweep to go on with the removal");
    job_unref(job);
}

/* ---- at random ---- */

static void nap_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};

    nanosleep(&t, NULL);
}

/* The server, and in every other round its supervisor, too. */
static void kill_at_random(unsigned *seed)
{
    pid_t server = fixture_drive(f, 1, NULL, NULL);
    const char *pid;

    if (rand_r(seed) % 4)
        fixture_until_file(f, "journal");
    nap_us(rand_r(seed) % 20000);
    if (rand_r(seed) % 2 && (pid = strstr(fixture_read(f, "attempts/cs-drive1/ready"), "\"pid\":")))
        kill((pid_t)strtol(pid + 6, NULL, 10), SIGKILL);
    nap_us(rand_r(seed) % 5000);
    kill(server, SIGKILL);
    fixture_reap(server);
}

static void test_killed_at_random(void **state)
{
    const char *given = getenv("TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL), start = seed;
    int counts[8] = {0}, lost = 0;

    print_message("# TEST_SEED=%u\n", start);
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        struct verdict v;

        tear_down(state);
        set_up(state);
        kill_at_random(&seed);
        v = recover();
        fixture_until(f, all_gone, NULL, "all supervisors to leave");
        assert_ledger("at random", &v);
        counts[v.event]++;
        lost += v.unknown;
    }
    for (int i = 0; i < 8; i++)
        if (counts[i])
            print_message("# %3d %s\n", counts[i], event_name((enum engine_event)i));
    print_message("# %3d lost\n", lost);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed_at_every_point),
        TEST(test_paused_with_the_go_ahead_in_hand),
        TEST(test_fence_of_a_dead_server_holds),
        TEST(test_removal_that_was_cut_short),
        TEST(test_killed_at_random),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
