/* What a job asks for and what bounds it, as a real dockerd gives it to the container. */
#include "jobs/base/alloc.h"
#include "tests/integration/docker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what a job asks for ---- */

static void what_the_job_asks_for_is_what_the_container_gets(void **state)
{
    struct fixture *f = *state;
    char more[2000], path[300], secret[300];
    snprintf(secret, sizeof(secret), "%s/secret", f->folder);
    FILE *out = fopen(secret, "w");
    fputs("hunter2\n", out);
    fclose(out);
    snprintf(more, sizeof(more),
             "{\"user\":\"1234:55\",\"working_dir\":\"/tmp\",\"environment\":{\"PLAIN\":\"a "
             "b\",\"TOKEN\":{\"from_file\":"
             "\"%s\"}},\"volumes\":[\"%s/ledger:/ledger\",\"%s/ledger:/frozen:ro\",\"named:/"
             "named\"],\"network\":\"none\","
             "\"labels\":{\"team\":\"x\"},\"stop_grace\":\"7s\","
             "\"resources\":{\"cpus\":0.5,\"memory\":\"64m\"}}",
             secret, f->folder, f->folder);
    struct job *job =
        fixture_job(f, "full",
                    "id -u > /ledger/uid; pwd > /ledger/cwd; echo \"$PLAIN/$TOKEN\" > /ledger/vars; "
                    "touch /frozen/x || echo frozen > /ledger/frozen; test -d /named && echo named > "
                    "/ledger/named",
                    more);
    struct attempt_id a;
    fixture_expect(fixture_run(f, job, &a), ENGINE_ENDED);
    static const char *const files[][2] = {{"uid", "1234\n"},
                                           {"cwd", "/tmp\n"},
                                           {"vars", "a b/hunter2\n"},
                                           {"frozen", "frozen\n"},
                                           {"named", "named\n"}};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char *text = fixture_read(f, files[i][0]);
        fixture_expect_text(text, files[i][1]);
        free(text);
    }
    json_t *json;
    snprintf(path, sizeof(path), "/containers/%s/json", a.id);
    assert_int_equal(fixture_docker(f, "GET", path, NULL, &json), 200);
    json_t *host = json_object_get(json, "HostConfig"), *config = json_object_get(json, "Config");
    json_t *labels = json_object_get(config, "Labels");
    assert_int_equal(json_integer_value(json_object_get(host, "Memory")), 64 << 20);
    assert_int_equal(json_integer_value(json_object_get(host, "NanoCpus")), 500000000);
    assert_int_equal(json_integer_value(json_object_get(config, "StopTimeout")), 7);
    assert_false(json_is_true(json_object_get(host, "AutoRemove")));
    assert_string_equal(json_string_value(json_object_get(labels, "team")), "x");
    assert_string_equal(json_string_value(json_object_get(labels, "cronsched.run")), a.run);
    assert_string_equal(json_string_value(json_object_get(labels, "cronsched.cluster")), TEST_CLUSTER);
    assert_string_equal(json_string_value(json_object_get(labels, "cronsched.epoch")), "7");
    json_decref(json);
    job_unref(job);
}

static void what_cannot_be_started_is_refused_with_its_reason(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *more;
        bool at_prepare;
        int exit_code;
        const char *part;
    } table[] = {
        {"{\"command\":[\"nosuch\"]}", false, 127, "not found in the image"},
        {"{\"command\":[\"/etc\"]}", false, 126, "cannot be executed"},
        {"{\"user\":\"nobody-here\"}", false, -1, "unable to find user nobody-here"},
        {"{\"network\":\"nonet\"}", false, -1, "network nonet not found"},
        {"{\"image\":\"nosuch:1\"}", true, -1, "'nosuch:1' is not on the engine, and pull is never"},
        {"{\"image\":\"127.0.0.1:1/no/such:1\",\"pull\":\"missing\"}", true, -1, "cannot be pulled"},
        {"{\"pull\":\"always\",\"image\":\"127.0.0.1:1/no/such@sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000\"}",
         true, -1, "cannot be pulled"},
        {"{\"environment\":{\"T\":{\"from_file\":\"/no/such/file\"}}}", true, -1,
         "environment: T: the file /no/such/file cannot be read: No such file"},
        {"{\"resources\":{\"cpus\":4000}}", true, -1, "CPUs"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct job *job = fixture_job(f, "refused", RAN, table[i].more);
        struct attempt_id a = fixture_attempt(f, job);
        struct test_answer *t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
        if (!table[i].at_prepare) {
            fixture_expect(t, ENGINE_PREPARED);
            snprintf(a.id, sizeof(a.id), "%s", t->id);
            t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
            if (t->event == ENGINE_UNKNOWN) /* as the scheduler does */
                t = fixture_ask(f, ENGINE_FENCE, job, &a, true);
        }
        fixture_expect(t, ENGINE_REFUSED);
        fixture_expect_text(t->text, table[i].part);
        if (table[i].exit_code >= 0)
            assert_int_equal(t->exit_code, table[i].exit_code);
        if (!table[i].at_prepare && table[i].exit_code >= 0) {
            t = fixture_ask(f, ENGINE_FENCE, job, &a, true); /* a successor comes to the same */
            fixture_expect(t, ENGINE_REFUSED);
            assert_int_equal(t->exit_code, table[i].exit_code);
        }
        job_unref(job);
    }
    assert_int_equal(fixture_count(f, "ran"), 0);
}

static void files_outside_the_allowed_folder_are_not_read(void **state)
{
    struct fixture *f = *state;
    char dir[300], more[2000];
    fixture_engine_close(f);
    snprintf(dir, sizeof(dir), "%s/ledger", f->folder);
    f->files_dir = dir;
    fixture_engine_new(f);
    static const char *const paths[] = {"/etc/hostname", "%s/../x", "%s2/x"};
    for (size_t i = 0; i < 3; i++) {
        char path[400];
        if (i == 0)
            snprintf(path, sizeof(path), "%s", paths[0]);
        else
            snprintf(path, sizeof(path), "%s%s", dir, paths[i] + 2);
        snprintf(more, sizeof(more), "{\"environment\":{\"T\":{\"from_file\":\"%s\"}}}", path);
        struct job *job = fixture_job(f, "files", RAN, more);
        struct attempt_id a = fixture_attempt(f, job);
        struct test_answer *t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
        fixture_expect(t, ENGINE_REFUSED);
        fixture_expect_text(t->text, "environment: T: ");
        fixture_expect_text(t->text, "is not below");
        job_unref(job);
    }
}

/* ---- what bounds a container ---- */

static void a_container_is_bounded(void **state)
{
    struct fixture *f = *state;
    static const char script[] =
        "grep NoNewPrivs /proc/self/status > /ledger/privileges; cat /proc/sys/kernel/hostname > "
        "/ledger/host; "
        "ulimit -n > /ledger/files; grep CapBnd /proc/self/status > /ledger/caps; id -G > /ledger/groups; "
        "grep db /etc/hosts > /ledger/hosts; grep ' /scratch ' /proc/mounts > /ledger/scratch; "
        "grep nameserver /etc/resolv.conf > /ledger/dns; yes | head -c 3000000";
    static const char *const files[][2] = {{"privileges", "NoNewPrivs:\t1\n"},
                                           {"host", "web-1\n"},
                                           {"files", "1234\n"},
                                           {"caps", "CapBnd:\t0000000000000400\n"},
                                           {"groups", "7"},
                                           {"hosts", "10.1.2.3\tdb\n"},
                                           {"scratch", "size=1024k"},
                                           {"dns", "nameserver 192.0.2.7\n"}};
    struct job *job =
        fixture_job(f, "bounded", script,
                    "{\"hostname\":\"web-1\",\"ulimits\":{\"nofile\":1234},\"cap_drop\":[\"ALL\"],"
                    "\"cap_add\":[\"NET_BIND_SERVICE\"],\"group_add\":[\"7\"],\"init\":true,"
                    "\"extra_hosts\":[\"db=10.1.2.3\"],\"tmpfs\":\"/scratch:size=1m\","
                    "\"dns\":\"192.0.2.7\",\"stop_signal\":\"SIGINT\",\"pids_limit\":99,"
                    "\"keep\":{\"logs\":\"64k\"}}");
    struct attempt_id a;
    json_t *json, *host, *log;
    char path[300];

    fixture_expect(fixture_run(f, job, &a), ENGINE_ENDED);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char *text = fixture_read(f, files[i][0]);

        fixture_expect_text(text, files[i][1]);
        free(text);
    }
    snprintf(path, sizeof(path), "/containers/%s/json", a.id);
    assert_int_equal(fixture_docker(f, "GET", path, NULL, &json), 200);
    host = json_object_get(json, "HostConfig");
    log = json_object_get(json_object_get(host, "LogConfig"), "Config");
    assert_string_equal(json_string_value(json_object_get(log, "max-size")), "1048576");
    assert_string_equal(json_string_value(json_object_get(log, "max-file")), "2");
    assert_int_equal(json_integer_value(json_object_get(host, "PidsLimit")), 99);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "Config"), "StopSignal")),
                        "SIGINT");
    json_decref(json);
    job_unref(job);
}

/* Nothing can be put into its root, so its start is known, and made impossible, by a volume of its own. */
static void a_read_only_container_is_fenced_like_others(void **state)
{
    struct fixture *f = *state;
    struct job *job = fixture_job(f, "frozen", RAN "touch /x 2>/dev/null || echo frozen > /ledger/frozen",
                                  "{\"read_only\":true}");
    struct attempt_id a = fixture_prepared(f, job);
    char *text;

    fixture_proxy(f, PROXY_CUT, "/start");
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_UNKNOWN);
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_NEVER_RAN);
    assert_int_not_equal(fixture_start(f, &a), 204); /* and it cannot be started any more */
    assert_int_equal(fixture_count(f, "ran"), 0);
    fixture_expect(fixture_ask(f, ENGINE_FENCE, job, &a, true), ENGINE_NEVER_RAN);
    fixture_expect(fixture_ask(f, ENGINE_DISCARD, job, &a, true), ENGINE_DONE);
    assert_string_equal(fixture_status(f, &a), "gone");

    a = fixture_prepared(f, job);
    fixture_proxy(f, PROXY_LOSE_REPLY, "/start");
    fixture_expect(fixture_ask(f, ENGINE_RELEASE, job, &a, false), ENGINE_UNKNOWN);
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_until_lines(f, "ran", 1);
    assert_int_not_equal(fixture_ask(f, ENGINE_FENCE, job, &a, true)->event, ENGINE_NEVER_RAN);
    fixture_expect(fixture_ask(f, ENGINE_WATCH, job, &a, true), ENGINE_ENDED);
    assert_int_equal(fixture_count(f, "ran"), 1);
    text = fixture_read(f, "frozen");
    fixture_expect_text(text, "frozen\n");
    free(text);
    job_unref(job);
}

static void folders_that_are_not_allowed_are_not_mounted(void **state)
{
    static const struct {
        const char *source; /* below the folder; NULL: the root of all */
        const char *refused;
    } table[] = {{"ledger", NULL},
                 {"ledger/inside", NULL},
                 {"ledger/out", "'/etc'"},
                 {NULL, "'/'"},
                 {"ledger/dangling", "volumes: "}};
    struct fixture *f = *state;
    struct attempt_id a;
    struct job *job;
    char path[300], more[600];
    json_t *allow;

    snprintf(path, sizeof(path), "%s/ledger", f->folder);
    allow = json_pack("{s:[s,s], s:[s]}", "volumes", path, "cache", "networks", "host");
    assert_int_equal(chdir(path), 0);
    assert_int_equal(symlink("/etc", "out"), 0);
    assert_int_equal(symlink(".", "inside"), 0);
    assert_int_equal(symlink("/nowhere/at/all", "dangling"), 0);
    assert_int_equal(chdir("/"), 0);
    fixture_engine_close(f);
    f->allow = allow;
    f->direct = true; /* what is reached by a socket is this machine's */
    fixture_engine_new(f);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        const char *refused = table[i].refused;
        struct test_answer *t;

        snprintf(more, sizeof(more), "{\"volumes\":[\"%s/ledger:/ledger\",\"%s%s%s:/mnt\"]}", f->folder,
                 table[i].source ? f->folder : "", "/", table[i].source ? table[i].source : "");
        job = fixture_job(f, "folders", RAN, more);
        a = fixture_attempt(f, job);
        t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
        fixture_expect(t, refused ? ENGINE_REFUSED : ENGINE_PREPARED);
        if (refused)
            fixture_expect_text(t->text, refused);
        job_unref(job);
    }
    job = fixture_job(f, "named", RAN, "{\"volumes\":[\"cache:/cache\"]}"); /* no folder at all */
    a = fixture_attempt(f, job);
    fixture_expect(fixture_ask(f, ENGINE_PREPARE, job, &a, false), ENGINE_PREPARED);
    job_unref(job);
    json_decref(allow);
}

/* ---- watching ---- */

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_the_job_asks_for_is_what_the_container_gets),
        TEST(what_cannot_be_started_is_refused_with_its_reason),
        TEST(files_outside_the_allowed_folder_are_not_read),
        TEST(a_container_is_bounded),
        TEST(a_read_only_container_is_fenced_like_others),
        TEST(folders_that_are_not_allowed_are_not_mounted),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
