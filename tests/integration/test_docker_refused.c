/* Starts that a real dockerd cannot make, for a reason of its own and before its runtime: a volume that cannot be mounted.
 * Nothing ran, and whoever asks is told so, at once: the leader that sent the start, and one that comes later. */
#include "tests/integration/docker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char place[300];

static int set_up(void **state)
{
    *state = fixture_new();
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* A job with a volume that is a folder of this machine; `more` as of fixture_job, and the folder can go away. */
static struct job *job_with_volume(struct fixture *f, const char *more)
{
    static int number;
    char body[800], keys[400], name[32];
    json_t *json = NULL;

    snprintf(name, sizeof(name), "away-%d", ++number);
    snprintf(place, sizeof(place), "%s/%s", f->folder, name);
    assert_int_equal(mkdir(place, 0755), 0);
    snprintf(body, sizeof(body),
             "{\"Name\":\"%s\",\"DriverOpts\":{\"type\":\"none\",\"o\":\"bind\",\"device\":\"%s\"}}", name,
             place);
    assert_int_equal(fixture_docker(f, "POST", "/volumes/create", body, &json), 201);
    json_decref(json);
    snprintf(keys, sizeof(keys), "{\"volumes\":[\"%s:/data\",\"%s/ledger:/ledger\"]%s}", name, f->folder,
             more);
    return fixture_job(f, "away", RAN, keys);
}

static void assert_nothing_ran(struct fixture *f)
{
    assert_int_equal(rmdir(place), -1); /* it had gone */
    assert_int_equal(fixture_count(f, "ran"), 0);
}

static void the_leader_that_sent_the_start_is_told(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"", ",\"read_only\":true"};

    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        struct job *job = job_with_volume(f, more[i]);
        struct attempt_id a = fixture_prepared(f, job);
        struct test_answer *t;

        assert_int_equal(rmdir(place), 0);
        t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
        fixture_expect(t, ENGINE_REFUSED);
        fixture_expect_text(t->text, "error while mounting volume");
        assert_nothing_ran(f);
        job_unref(job);
    }
}

/* The engine would make it, empty, and the job would find nothing there. */
static void a_folder_that_is_not_there_is_told(void **state)
{
    struct fixture *f = *state;
    char more[800];
    struct job *job;
    struct attempt_id a;
    struct test_answer *t;

    snprintf(place, sizeof(place), "%s/not-there", f->folder);
    snprintf(more, sizeof(more), "{\"volumes\":[\"%s/ledger:/ledger\",\"%s:/data:ro\"]}", f->folder, place);
    job = fixture_job(f, "nothing", RAN, more);
    a = fixture_attempt(f, job);
    t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
    fixture_expect(t, ENGINE_REFUSED);
    fixture_expect_text(t->text, "bind source path does not exist");
    assert_nothing_ran(f);

    assert_int_equal(mkdir(place, 0755), 0); /* there when it was prepared, and gone before its start */
    a = fixture_prepared(f, job);
    assert_int_equal(rmdir(place), 0);
    t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    fixture_expect(t, ENGINE_REFUSED);
    fixture_expect_text(t->text, "not-there");
    assert_nothing_ran(f);

    assert_int_equal(mkdir(place, 0755), 0);
    a = fixture_prepared(f, job);
    assert_int_equal(rmdir(place), 0);
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_NEVER_RAN);
    assert_nothing_ran(f);
    job_unref(job);
}

/* Words that prove nothing by themselves; its witness does. */
static void a_user_that_the_image_does_not_have_is_told(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "nobody", RAN, "{\"user\":\"no-such-user\"}");
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);

    fixture_expect(t, ENGINE_REFUSED);
    fixture_expect_text(t->text, "unable to find user no-such-user");
    assert_int_equal(fixture_count(f, "ran"), 0);
    job_unref(job);
}

/* Nobody had the answer: the fence cannot seal it, for the same reason, and ends all the same. */
static void a_later_leader_is_told(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"", ",\"read_only\":true"};

    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        struct job *job = job_with_volume(f, more[i]);
        struct attempt_id a = fixture_prepared(f, job);
        struct test_answer *t;

        assert_int_equal(rmdir(place), 0);
        fixture_proxy(f, PROXY_LOSE_REPLY, "/start");
        fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_UNKNOWN);
        fixture_proxy(f, PROXY_PASS, NULL);
        t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
        fixture_expect(t, ENGINE_REFUSED);
        fixture_expect_text(t->text, "error while mounting volume");
        assert_string_equal(fixture_status(f, &a), "gone"); /* nobody can start it when the volume is back */
        assert_nothing_ran(f);
        job_unref(job);
    }
}

/* It may have been released, and was not. */
static void what_cannot_be_sealed_is_removed(void **state)
{
    struct fixture *f = *state;
    struct job *job = job_with_volume(f, "");
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t;

    assert_int_equal(rmdir(place), 0);
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
    fixture_expect(t, ENGINE_NEVER_RAN);
    fixture_expect_text(t->text, "it could not be sealed");
    assert_string_equal(fixture_status(f, &a), "gone");
    t = fixture_ask(f, ENGINE_FENCE, job, &a, true); /* done again it comes to the same */
    fixture_expect(t, ENGINE_NEVER_RAN);
    assert_int_equal(fixture_start(f, &a), 404);
    assert_nothing_ran(f);
    job_unref(job);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_leader_that_sent_the_start_is_told),
        TEST(a_folder_that_is_not_there_is_told),
        TEST(a_user_that_the_image_does_not_have_is_told),
        TEST(a_later_leader_is_told),
        TEST(what_cannot_be_sealed_is_removed),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
