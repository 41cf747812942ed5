/* What somebody removes under the process engine: the folder of all attempts, or the files of one. What runs counts as
 * running for as long as it does, whoever asks; nothing is started in its place, and what comes next runs. */
#include "cronsched/engines/process/attempt_dir.h"
#include "tests/integration/process_case.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_all(const char *what)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/%s", f->folder, what);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* It ends with the folder of a test that failed as well. */
#define UNTIL_END "echo $$ >$D/up; while [ -d $D ] && [ ! -e $D/end ]; do sleep 0.02; done; exit 3"

/* Released, and running. */
static void start(char *id, char *ret_identity)
{
    struct test_answer *a;

    job = fixture_script(f, UNTIL_END);
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_PREPARED);
    memcpy(id, a->id, sizeof(a->id));
    memcpy(ret_identity, a->identity, sizeof(a->identity));
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_STARTED);
    fixture_pid_in(f, "up");
}

static void assert_lost(const struct test_answer *a)
{
    assert_int_equal(a->event, ENGINE_UNKNOWN);
    assert_true(process_gone(fixture_pid_in(f, "up")));
}

static void test_folder_of_all_attempts_is_removed_under_a_living_server(void **state)
{
    char id[160], identity[ENGINE_IDENTITY_MAX];
    struct engine_status status = {0};
    struct job *other;
    uint64_t watch;

    start(id, identity);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED);
    remove_all("attempts");
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED); /* it runs */
    other = fixture_script(f, "echo ran >$D/other");
    assert_int_equal(fixture_run(f, other, "cs-2")->exit_code, 0); /* and so does what comes next */
    assert_true(fixture_exists(f, "other"));
    job_unref(other);
    f->engine->ops->status(f->engine, &status);
    assert_true(status.reachable);
    fixture_write(f, "end", "");
    assert_lost(fixture_wait(f, watch));
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_UNKNOWN);
}

static void test_what_is_armed_then_is_prepared_again(void **state)
{
    char id[160];
    struct test_answer *a;

    job = fixture_script(f, "echo ran >>$D/ledger");
    fixture_prepared(f, job, "cs-1", id);
    remove_all("attempts");
    assert_int_equal(fixture_ask(f, ENGINE_RELEASE, job, id, false)->event, ENGINE_UNKNOWN);
    a = fixture_ask(f, ENGINE_FENCE, job, id, true);
    assert_int_equal(a->event, ENGINE_NEVER_RAN);
    assert_non_null(strstr(a->text, "its folder was gone"));
    assert_int_equal(fixture_run(f, job, "cs-2")->exit_code, 0);
    assert_int_equal(fixture_count(f, "ledger", "ran"), 1);
}

/* The new server has another number, and knows the old one for its own. */
static void gone_with_a_restart(void)
{
    char id[160], identity[ENGINE_IDENTITY_MAX];
    struct job *other;
    uint64_t watch;

    start(id, identity);
    remove_all("attempts");
    fixture_restart(f);
    f->identity = identity;
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    other = fixture_script(f, "true");
    f->identity = NULL;
    assert_int_equal(fixture_run(f, other, "cs-2")->exit_code, 0);
    job_unref(other);
    fixture_write(f, "end", "");
    assert_lost(fixture_wait(f, watch)); /* at once, and not after resolve_within */
}

static void test_folder_of_all_attempts_is_removed_and_the_server_restarted(void **state)
{
    gone_with_a_restart();
    process_case_again();
    f->without_groups = true;
    fixture_restart(f);
    gone_with_a_restart();
}

static void test_stop_reaches_what_has_no_folder(void **state)
{
    char id[160], identity[ENGINE_IDENTITY_MAX];
    uint64_t watch;

    start(id, identity);
    remove_all("attempts");
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    assert_int_equal(fixture_ask(f, ENGINE_STOP, job, id, true)->event, ENGINE_DONE);
    assert_lost(fixture_wait(f, watch));
}

/* A cleaner of old files leaves the folder; the lock on it is held. */
static void test_files_of_an_attempt_are_removed(void **state)
{
    static const char *const files[] = {"ready", "start", "command"};
    char id[160], identity[ENGINE_IDENTITY_MAX], name[64];
    uint64_t watch;

    start(id, identity);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(name, sizeof(name), "attempts/cs-1/%s", files[i]);
        remove_all(name);
    }
    fixture_restart(f);
    assert_int_equal(fixture_ask(f, ENGINE_FENCE, job, id, true)->event, ENGINE_STARTED);
    watch = fixture_submit(f, ENGINE_WATCH, job, id, true);
    fixture_write(f, "end", "");
    /* its supervisor has written the end after all */
    assert_int_equal(fixture_wait(f, watch)->exit_code, 3);
}

static void test_another_folder_is_not_taken(void **state)
{
    char old[400], aside[400];
    struct test_answer *a;

    snprintf(old, sizeof(old), "%s/attempts", f->folder);
    snprintf(aside, sizeof(aside), "%s/aside", f->folder);
    assert_int_equal(rename(old, aside), 0);
    assert_int_equal(mkdir(old, 0700), 0);
    fixture_write(f, "attempts/.host", "0123456789abcdef");
    job = fixture_script(f, "true");
    a = fixture_wait(f, fixture_prepare(f, job, "cs-1", 1));
    assert_int_equal(a->event, ENGINE_UNREACHABLE);
    assert_non_null(strstr(a->text, "was replaced by the folder of other attempts"));
    remove_all("attempts");
    assert_int_equal(rename(aside, old), 0); /* the right one, back again */
    assert_int_equal(fixture_run(f, job, "cs-2")->exit_code, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_folder_of_all_attempts_is_removed_under_a_living_server),
        TEST(test_what_is_armed_then_is_prepared_again),
        TEST(test_folder_of_all_attempts_is_removed_and_the_server_restarted),
        TEST(test_stop_reaches_what_has_no_folder),
        TEST(test_files_of_an_attempt_are_removed),
        TEST(test_another_folder_is_not_taken),
    };

    fixture_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
