/* What goes to the engine and what comes back, as JSON: the pure parts of the docker engine. */
#include "cronsched/engines/docker/docker_core.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    return json;
}

static void states(void **state)
{
    static const struct {
        const char *json;
        int result;
        struct docker_state expected;
        bool started;
    } table[] = {
        {"{\"State\":{\"Status\":\"created\",\"StartedAt\":\"0001-01-01T00:00:00Z\",\"FinishedAt\":"
         "\"0001-01-01T00:00:00Z\",\"ExitCode\":127,\"Error\":\"exec\"}}",
         0,
         {.status = DOCKER_CREATED, .exit_code = 127, .error = "exec"},
         false},
        {"{\"State\":{\"Status\":\"running\",\"StartedAt\":\"2026-11-22T21:52:14.316751964Z\",\"FinishedAt\":"
         "\"0001-01-01T00:00:00Z\",\"ExitCode\":0,\"Error\":\"\"}}",
         0,
         {.status = DOCKER_RUNNING, .started_ms = 1795384334316},
         true},
        {"{\"State\":{\"Status\":\"exited\",\"StartedAt\":\"2026-11-22T21:52:14Z\",\"FinishedAt\":"
         "\"2026-11-22T22:52:15.5+01:00\",\"ExitCode\":137,\"OOMKilled\":true},\"HostConfig\":{\"Memory\":"
         "8388608}}",
         0,
         {.status = DOCKER_EXITED,
          .started_ms = 1795384334000,
          .finished_ms = 1795384335500,
          .exit_code = 137,
          .oom_killed = true,
          .memory_limited = true},
         true},
        {"{\"State\":{\"Status\":\"dead\",\"StartedAt\":\"junk\"}}",
         0,
         {.status = DOCKER_DEAD, .exit_code = -1},
         false},
        {"{\"State\":{\"Status\":\"exited\"}}", 0, {.status = DOCKER_EXITED, .exit_code = -1}, true},
        {"{\"State\":{\"Status\":\"running\"}}", 0, {.status = DOCKER_RUNNING}, true},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":null}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"created\",\"StartedAt\":7}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":0,\"FinishedAt\":{}}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":0,\"OOMKilled\":\"x\"}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"created\",\"ExitCode\":0,\"Error\":[]}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"dancing\"}}", ERR_INVALID, {0}, false},
        {"{\"State\":{}}", ERR_INVALID, {0}, false},
        {"{\"State\":7}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":4294967296}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":9223372036854775807}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":-9}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":\"3\"}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\",\"ExitCode\":3.5}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\"},\"RestartCount\":4294967296}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"exited\"},\"RestartCount\":[]}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":[],\"ExitCode\":3}}", ERR_INVALID, {0}, false},
        {"{\"State\":{\"Status\":\"dead\",\"ExitCode\":1},\"HostConfig\":7}",
         0,
         {.status = DOCKER_DEAD, .exit_code = 1},
         false},
        {"[]", ERR_INVALID, {0}, false},
        {"7", ERR_INVALID, {0}, false},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {0};
        json_t *json = parse(table[i].json);
        if (docker_state_read(json, &s) != table[i].result)
            fail_msg("%zu: another result", i);
        assert_int_equal(s.status, table[i].expected.status);
        assert_int_equal(s.started_ms, table[i].expected.started_ms);
        assert_int_equal(s.finished_ms, table[i].expected.finished_ms);
        assert_int_equal(s.exit_code, table[i].expected.exit_code);
        assert_int_equal(s.oom_killed, table[i].expected.oom_killed);
        assert_int_equal(s.memory_limited, table[i].expected.memory_limited);
        assert_string_equal(s.error, table[i].expected.error);
        assert_int_equal(docker_state_started(&s), table[i].started);
        json_decref(json);
    }
    assert_int_equal(docker_state_read(NULL, &(struct docker_state){0}), ERR_INVALID);
}

static void the_signal_that_stops_it(void **state)
{
    const struct {
        const char *word;
        int number;
    } table[] = {{"SIGTERM", SIGTERM},
                 {"term", SIGTERM},
                 {"10", 10},
                 {"SIGUSR1", SIGUSR1},
                 {"RTMIN+3", SIGRTMIN + 3},
                 {"SIGRTMAX-1", SIGRTMAX - 1},
                 {"", 0},
                 {"SIGNONSENSE", 0},
                 {"99999999", 0}};

    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {0};
        json_t *json = json_pack("{s:{s:s}, s:{s:s}}", "State", "Status", "running", "Config", "StopSignal",
                                 table[i].word);

        assert_int_equal(docker_state_read(json, &s), 0);
        assert_int_equal(s.stop_signal, table[i].number);
        json_decref(json);
    }
}

/* The engine notes the start of a short one later than its end. One that runs again ended before its start. */
static void an_end_is_not_before_its_start(void **state)
{
    static const char format[] = "{\"State\":{\"Status\":\"%s\",\"StartedAt\":\"2026-11-22T03:00:00.500Z\","
                                 "\"FinishedAt\":\"2026-11-22T03:00:00.400Z\"}}";
    char text[256];
    struct docker_state s = {0};
    json_t *json;

    snprintf(text, sizeof(text), format, "exited");
    json = parse(text);
    assert_int_equal(docker_state_read(json, &s), 0);
    assert_int_equal(s.finished_ms, s.started_ms);
    json_decref(json);
    snprintf(text, sizeof(text), format, "running");
    json = parse(text);
    assert_int_equal(docker_state_read(json, &s), 0);
    assert_int_equal(s.started_ms - s.finished_ms, 100);
    json_decref(json);
}

/* Made without a restart policy; what somebody set later, and what the engine made of it. */
static void restarts(void **state)
{
    static const struct {
        const char *json;
        int count;
        bool restarts;
    } table[] = {
        {"{\"State\":{\"Status\":\"running\"},\"RestartCount\":0,\"HostConfig\":{\"RestartPolicy\":{\"Name\":"
         "\"no\"}}}",
         0, false},
        {"{\"State\":{\"Status\":\"running\"},\"RestartCount\":5,\"HostConfig\":{\"RestartPolicy\":{\"Name\":"
         "\"on-failure\"}}}",
         5, true},
        {"{\"State\":{\"Status\":\"running\"},\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"\"}}}", 0, false},
        {"{\"State\":{\"Status\":\"running\"}}", 0, false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {0};
        json_t *json = parse(table[i].json);

        assert_int_equal(docker_state_read(json, &s), 0);
        assert_int_equal(s.restart_count, table[i].count);
        assert_int_equal(s.restarts, table[i].restarts);
        json_decref(json);
    }
}

static void events(void **state)
{
    static const struct {
        const char *json, *id;
        bool is;
        enum docker_event event;
        int exit_code;
    } table[] = {
        {"{\"Type\":\"container\",\"Action\":\"create\",\"Actor\":{\"ID\":\"a1\"},\"timeNano\":5000000}",
         "a1", true, DOCKER_EVENT_CREATE, -1},
        {"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a1\"},\"timeNano\":5000000}", "a1",
         true, DOCKER_EVENT_START, -1},
        {"{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a1\",\"Attributes\":{\"exitCode\":"
         "\"3\"}},"
         "\"timeNano\":5000000}",
         NULL, true, DOCKER_EVENT_DIE, 3},
        {"{\"Type\":\"container\",\"Action\":\"died\",\"Actor\":{\"ID\":\"a1\",\"Attributes\":{"
         "\"containerExitCode\":"
         "\"4\"}},\"timeNano\":5000000}",
         "a1", true, DOCKER_EVENT_DIE, 4},
        {"{\"Type\":\"container\",\"Action\":\"destroy\",\"Actor\":{\"ID\":\"a1\"},\"timeNano\":5000000}",
         "a1", true, DOCKER_EVENT_DESTROY, -1},
        {"{\"Type\":\"container\",\"Action\":\"exec_start: "
         "sh\",\"Actor\":{\"ID\":\"a1\"},\"timeNano\":5000000}",
         "a1", true, DOCKER_EVENT_OTHER, -1},
        {"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a12\"}}", "a1", false, 0, 0},
        {"{\"Type\":\"network\",\"Action\":\"destroy\",\"Actor\":{\"ID\":\"a1\"}}", "a1", false, 0, 0},
        {"{\"Type\":\"container\",\"Action\":\"start\"}", "a1", false, 0, 0},
        {"{\"Type\":\"container\",\"Action\":7,\"Actor\":{\"ID\":7}}", NULL, false, 0, 0},
        {"[1]", "a1", false, 0, 0},
#define DIED(code)                                                                                           \
    "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a1\",\"Attributes\":{\"exitCode\":" code \
    "}},\"timeNano\":5000000}"
        {DIED("\"4294967296\""), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("\"99999999999999999999\""), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("\"junk\""), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("\"3x\""), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("\"-3\""), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("0"), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("{}"), "a1", true, DOCKER_EVENT_DIE, -1},
        {DIED("\"0\""), "a1", true, DOCKER_EVENT_DIE, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_fact fact = {0};
        json_t *json = parse(table[i].json);
        if (docker_event_read(json, table[i].id, &fact) != table[i].is)
            fail_msg("%zu: taken for another", i);
        if (table[i].is) {
            assert_int_equal(fact.kind, DOCKER_FACT_EVENT);
            assert_int_equal(fact.event, table[i].event);
            assert_int_equal(fact.at_ms, 5);
            assert_int_equal(fact.exit_code, table[i].exit_code);
        }
        json_decref(json);
    }
}

static void changes_and_witness(void **state)
{
    json_t *changes = parse("[{\"Path\":\"/tmp\",\"Kind\":0},{\"Path\":\"/.w-1\",\"Kind\":1},7]"),
           *none = json_null();
    char path[32];
    assert_true(docker_changes_hold(changes, "/.w-1"));
    assert_false(docker_changes_hold(changes, "/.w"));
    assert_false(docker_changes_hold(none, "/.w-1"));
    assert_false(docker_changes_hold(NULL, "/.w-1"));
    json_decref(changes);

    static const char *const inspects[][2] = {
        {"{\"Config\":{\"Labels\":{\"cronsched.witness\":\"/.w-1\"}}}", "/.w-1"},
        {"{\"Config\":{\"Labels\":{\"cronsched.witness\":\"relative\"}}}", ""},
        {"{\"Config\":{\"Labels\":{\"cronsched.witness\":\"/0123456789012345678901234567890123456789\"}}}",
         ""},
        {"{\"Config\":{\"Labels\":null}}", ""},
        {"{}", ""},
    };
    for (size_t i = 0; i < COUNT(inspects); i++) {
        json_t *json = parse(inspects[i][0]);
        docker_witness_read(json, path, sizeof(path));
        assert_string_equal(path, inspects[i][1]);
        json_decref(json);
    }
}

/* What an image could bear as well makes no container ours. */
static void labels_alone_make_no_owner(void **state)
{
    static const struct {
        const char *json;
        bool ours;
    } table[] = {
        {"{\"Names\":[\"/cs-0ab1\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-0ab1\"}}", true},
        {"{\"Names\":[\"/alias\",\"/cs-0ab1\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-0ab1\"}}",
         true},
        {"{\"Names\":[\"/cs-0ab1\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-0ab1/start\"}}", true},
        {"{\"Names\":[\"/cs-0ab2\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-0ab1\"}}", false},
        {"{\"Names\":[\"/cs-\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-\"}}", false},
        {"{\"Names\":[\"/brave_curie\"],\"Labels\":{\"cronsched.witness\":\"/.cronsched-0ab1\"}}", false},
        {"{\"Names\":[\"/cs-0ab1\"],\"Labels\":{\"cronsched.cluster\":\"uuid\"}}", false},
        {"{\"Names\":[7],\"Labels\":{\"cronsched.witness\":\"/x\"}}", false},
        {"{\"Names\":null,\"Labels\":null}", false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        json_t *json = parse(table[i].json);

        if (docker_witness_fits(json) != table[i].ours)
            fail_msg("%s", table[i].json);
        json_decref(json);
    }
}

/* ---- create ---- */

static struct strings strings_of(char **items, size_t count)
{
    return (struct strings){.items = items, .count = count};
}

static json_t *create(struct job *job)
{
    struct docker_task t = {
        .task.q = {
            .job = job, .run = "j@20261122T030000Z", .name = "cs-ab", .attempt = 2, .try = 3, .epoch = 7}};
    char *items[] = {(char *)"A=1", (char *)"B=\xc3\xa9"};
    struct environment e = {.items = items, .count = 2};
    return docker_create_json(
        &t, &(struct docker_create){.cluster = "uuid", .witness = "/.w-ab", .log_driver = "json-file"}, &e);
}

static void the_body_of_a_small_job(void **state)
{
    struct job job = {.name = (char *)"j",
                      .image = (char *)"busybox",
                      .stop_grace_ms = 10001,
                      .keep_logs_bytes = 1 << 20,
                      .pids_limit = JOB_PIDS};
    json_t *json = create(&job);
    json_t *expected = parse("{\"Image\":\"busybox\",\"Env\":[\"A=1\",\"B=\\u00e9\"],\"Tty\":false,"
                             "\"OpenStdin\":false,\"StopTimeout\":11,"
                             "\"Labels\":{\"cronsched.cluster\":\"uuid\",\"cronsched.job\":\"j\",\"cronsched."
                             "run\":\"j@20261122T030000Z\","
                             "\"cronsched.attempt\":\"2\",\"cronsched.try\":\"3\",\"cronsched.epoch\":\"7\","
                             "\"cronsched.witness\":\"/.w-ab\"},"
                             "\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"no\"},\"AutoRemove\":false,"
                             "\"SecurityOpt\":[\"no-new-privileges\"],\"PidsLimit\":2048,"
                             "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"4194304\","
                             "\"max-file\":\"2\"}},\"Tmpfs\":{\"/.w-ab\":\"size=4k,mode=555\"}}}");
    assert_true(json_equal(json, expected));
    json_decref(json);
    json_decref(expected);
}

static void the_body_of_a_large_job(void **state)
{
    char *command[] = {(char *)"sh", (char *)"-c", (char *)"true"}, *volumes[] = {(char *)"data:/data:ro"};
    struct job job = {
        .name = (char *)"j",
        .image = (char *)"busybox",
        .command = strings_of(command, 3),
        .has_command = true,
        .has_entrypoint = true, /* an empty one: that of the image is cleared */
        .user = (char *)"1:2",
        .working_dir = (char *)"/w",
        .volumes = strings_of(volumes, 1),
        .network = (char *)"backend",
        .cpus = 0.1,
        .memory_bytes = 64 << 20,
        .labels = parse("{\"team\":\"x\",\"cronsched.run\":\"forged\"}"),
    };
    json_t *json = create(&job), *host = json_object_get(json, "HostConfig");
    char *text = json_dumps(json_object_get(json, "Cmd"), JSON_COMPACT);
    assert_string_equal(text, "[\"sh\",\"-c\",\"true\"]");
    free(text);
    text = json_dumps(json_object_get(json, "Entrypoint"), JSON_COMPACT);
    assert_string_equal(text, "[\"\"]");
    free(text);
    assert_string_equal(json_string_value(json_object_get(json, "User")), "1:2");
    assert_string_equal(json_string_value(json_object_get(json, "WorkingDir")), "/w");
    assert_string_equal(json_string_value(json_array_get(json_object_get(host, "Binds"), 0)),
                        "data:/data:ro");
    assert_string_equal(json_string_value(json_object_get(host, "NetworkMode")), "backend");
    assert_int_equal(json_integer_value(json_object_get(host, "NanoCpus")), 100000000);
    assert_int_equal(json_integer_value(json_object_get(host, "Memory")), 64 << 20);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "Labels"), "team")), "x");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "Labels"), "cronsched.run")),
                        "j@20261122T030000Z");
    assert_string_equal(json_string_value(json_object_get(job.labels, "cronsched.run")),
                        "forged"); /* not touched */
    json_decref(json);
    json_decref(job.labels);
}

static void what_an_archive_holds(void **state)
{
    char archive[DOCKER_SEAL_BYTES], two[1024 + DOCKER_SEAL_BYTES] = {0};

    (void)state;
    docker_seal_archive("/.w-ab/start", archive);
    assert_true(docker_archive_holds(archive, sizeof(archive), ".w-ab/start"));
    assert_false(docker_archive_holds(archive, sizeof(archive), ".w-ab/star"));
    assert_false(docker_archive_holds(archive, sizeof(archive), ".w-ab"));
    assert_false(docker_archive_holds(archive, 511, ".w-ab/start"));
    assert_false(docker_archive_holds("", 0, ""));

    docker_seal_archive("/.w-ab/",
                        two); /* a folder; then a file of 5 bytes; then the one that is looked for */
    memcpy(two + 512, archive, 512);
    memcpy(two + 512 + 124, "00000000005", 11);
    memset(two + 1024, 0, 512);
    memcpy(two + 1536, archive, 512);
    memcpy(two + 1536, ".w-cd", 5);
    assert_true(docker_archive_holds(two, sizeof(two), ".w-ab"));
    assert_true(docker_archive_holds(two, sizeof(two), ".w-cd/start"));
    memcpy(two + 512 + 124, "77777777777", 11); /* longer than all */
    assert_false(docker_archive_holds(two, sizeof(two), ".w-cd/start"));
}

/* A job as people write it, and the HostConfig that Compose would make of it. */
static void confinement_is_as_in_compose(void **state)
{
    static const struct {
        const char *job, *key, *value; /* value NULL: the key is not there */
    } table[] = {
        {"{\"init\":true}", "Init", "true"},
        {"{\"volumes\":[\"cache:/c:ro\",\"/srv/a:/b\",\"/x:/y:ro\"]}", "Binds", "[\"cache:/c:ro\"]"},
        {"{\"volumes\":[\"cache:/c:ro\",\"/srv/a:/b\",\"/x:/y:ro\"]}", "Mounts",
         "[{\"Type\":\"bind\",\"Source\":\"/srv/a\",\"Target\":\"/b\",\"ReadOnly\":false},"
         "{\"Type\":\"bind\",\"Source\":\"/x\",\"Target\":\"/y\",\"ReadOnly\":true}]"},
        {"{}", "Init", NULL},
        {"{\"read_only\":true}", "ReadonlyRootfs", "true"},
        {"{\"privileged\":true}", "Privileged", "true"},
        {"{\"privileged\":true}", "SecurityOpt", NULL},
        {"{\"tmpfs\":[\"/tmp\",\"/run:size=1m\",\"/.w-ab:size=1g\"]}", "Tmpfs",
         "{\"/tmp\":\"\",\"/run\":\"size=1m\",\"/.w-ab\":\"size=4k,mode=555\"}"},
        {"{\"shm_size\":\"64m\"}", "ShmSize", "67108864"},
        {"{\"cap_add\":[\"NET_ADMIN\"]}", "CapAdd", "[\"NET_ADMIN\"]"},
        {"{\"cap_drop\":\"ALL\"}", "CapDrop", "[\"ALL\"]"},
        {"{\"security_opt\":[\"seccomp=unconfined\"]}", "SecurityOpt",
         "[\"seccomp=unconfined\",\"no-new-privileges\"]"},
        {"{\"security_opt\":[\"no-new-privileges:false\"]}", "SecurityOpt", "[\"no-new-privileges:false\"]"},
        {"{\"ulimits\":{\"nproc\":5,\"nofile\":{\"soft\":1,\"hard\":2}}}", "Ulimits",
         "[{\"Name\":\"nproc\",\"Soft\":5,\"Hard\":5},{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}]"},
        {"{\"extra_hosts\":[\"db:10.0.0.1\",\"six=[::1]\",\"up=host-gateway\"]}", "ExtraHosts",
         "[\"db:10.0.0.1\",\"six:::1\",\"up:host-gateway\"]"},
        {"{\"dns\":\"1.1.1.1\"}", "Dns", "[\"1.1.1.1\"]"},
        {"{\"devices\":[\"/dev/a\",\"/dev/a:/dev/b\",\"/dev/a:/dev/c:r\"]}", "Devices",
         "[{\"PathOnHost\":\"/dev/a\",\"PathInContainer\":\"/dev/a\",\"CgroupPermissions\":\"rwm\"},"
         "{\"PathOnHost\":\"/dev/a\",\"PathInContainer\":\"/dev/b\",\"CgroupPermissions\":\"rwm\"},"
         "{\"PathOnHost\":\"/dev/a\",\"PathInContainer\":\"/dev/c\",\"CgroupPermissions\":\"r\"}]"},
        {"{\"group_add\":[\"mail\",\"7\"]}", "GroupAdd", "[\"mail\",\"7\"]"},
        {"{\"pids_limit\":7}", "PidsLimit", "7"},
        {"{\"pids_limit\":-1}", "PidsLimit", "-1"},
        {"{\"keep\":{\"logs\":\"0\"}}", "LogConfig",
         "{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1048576\",\"max-file\":\"2\"}}"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        json_t *def = parse(table[i].job), *body = json_string("busybox"),
               *expected = table[i].value ? parse(table[i].value) : NULL, *is;
        struct error error = {0};
        struct job *job = NULL;

        json_object_set_new(def, "image", body);
        if (job_from_json(&job, "j", def, NULL, &error) < 0)
            fail_msg("%s: %s", table[i].job, error.text);
        body = create(job);
        is = json_object_get(json_object_get(body, "HostConfig"), table[i].key);
        if (expected ? !json_equal(is, expected) : is != NULL)
            fail_msg("%s: %s is %s", table[i].job, table[i].key,
                     is ? json_dumps(is, JSON_ENCODE_ANY) : "not there");
        json_decref(expected);
        json_decref(body);
        json_decref(def);
        job_unref(job);
    }
}

static void what_the_container_is_called_and_how_it_is_stopped(void **state)
{
    struct job job = {.name = (char *)"j",
                      .image = (char *)"busybox",
                      .hostname = (char *)"web-1",
                      .stop_signal = (char *)"SIGINT"};
    json_t *json = create(&job);

    assert_string_equal(json_string_value(json_object_get(json, "Hostname")), "web-1");
    assert_string_equal(json_string_value(json_object_get(json, "StopSignal")), "SIGINT");
    json_decref(json);
}

static void what_is_not_utf8_gives_no_body(void **state)
{
    struct job job = {.name = (char *)"j", .image = (char *)"busybox"};
    struct docker_task t = {.task.q = {.job = &job, .run = "r", .name = "cs-ab"}};
    char *items[] = {(char *)"A=\xff"};
    struct environment e = {.items = items, .count = 1};
    assert_null(docker_create_json(
        &t, &(struct docker_create){.cluster = "uuid", .witness = "/.w-ab", .log_driver = ""}, &e));
}

static void witness_paths(void **state)
{
    struct docker d = {.witness_prefix = (char *)"/.cronsched-"};
    char path[64];
    docker_witness_path(&d, "cs-0123", false, path, sizeof(path));
    assert_string_equal(path, "/.cronsched-0123");
    assert_false(docker_witness_has_volume(path));
    assert_int_equal(docker_witness_folder(path), 0);
    docker_witness_path(&d, "cs-0123", true, path, sizeof(path));
    assert_string_equal(path, "/.cronsched-0123/start");
    assert_true(docker_witness_has_volume(path));
    assert_int_equal(docker_witness_folder(path), strlen("/.cronsched-0123"));
}

/* ---- check ---- */

static void what_the_engine_cannot_honour_is_named(void **state)
{
    char *one[] = {(char *)"x"};
    struct job_env secret = {.name = (char *)"T", .from_secret = (char *)"s"};
    json_t *object = json_object();
    const struct {
        struct job job;
        const char *key; /* NULL: fine */
    } table[] = {
        {{.image = (char *)"i"}, NULL},
        {{.image = (char *)"i", .cpus = 0.5, .memory_bytes = 6 << 20, .working_dir = (char *)"/"}, NULL},
        {{.image = NULL}, "image:"},
        {{.image = (char *)"Acme/report"}, "image:"},
        {{.image = (char *)"acme/rePort:7"}, "image:"},
        {{.image = (char *)"registry.example:5000/Acme@sha256:AB"}, "image:"},
        {{.image = (char *)"Registry.Example/acme/report:Stable"}, NULL},
        {{.image = (char *)"localhost/report"}, NULL},
        {{.image = (char *)"i", .constraints = strings_of(one, 1)}, "constraints:"},
        {{.image = (char *)"i", .secrets = strings_of(one, 1)}, "secrets:"},
        {{.image = (char *)"i", .configs = strings_of(one, 1)}, "configs:"},
        {{.image = (char *)"i", .kubernetes = object}, "kubernetes:"},
        {{.image = (char *)"i", .environment = &secret, .environment_count = 1}, "environment:"},
        {{.image = (char *)"i", .memory_bytes = (6 << 20) - 1}, "resources:"},
        {{.image = (char *)"i", .cpus = 0.001}, "resources:"},
        {{.image = (char *)"i", .has_command = true}, "command:"},
        {{.image = (char *)"i", .has_command = true, .has_entrypoint = true}, NULL},
        {{.image = (char *)"i", .working_dir = (char *)"here"}, "working_dir:"},
        {{.image = (char *)"i", .user = (char *)"1000:1000"}, NULL},
        {{.image = (char *)"i", .user = (char *)"4294967296"}, "user:"},
        {{.image = (char *)"i", .user = (char *)"1000:2147483648"}, "user:"},
        {{.image = (char *)"i", .user = (char *)"-1"}, "user:"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct error error = {0};
        int r = docker_engine_check(&table[i].job, &error);
        assert_int_equal(r, table[i].key ? ERR_UNSUPPORTED : 0);
        if (table[i].key && strncmp(error.text, table[i].key, strlen(table[i].key)) != 0)
            fail_msg("%zu: %s", i, error.text);
    }
    json_decref(object);
}

static void endpoints(void **state)
{
    static const struct {
        const char *endpoint;
        bool good;
    } table[] = {
        {NULL, true},
        {"unix:///run/docker.sock", true},
        {"tcp://127.0.0.1:2375", true},
        {"tcp://[::1]:2375/", true},
        {"https://docker.example:2376", true},
        {"unix://relative", false},
        {"unix:///"
         "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "9"
         "0123456789",
         false},
        {"tcp://", false},
        {"tcp:///path", false},
        {"http://host/path", false},
        {"ssh://host", false},
        {"", false},
    };
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_engine_options o = {.endpoint = table[i].endpoint, .data_dir = "/nonexistent"};
        struct engine_host host = {0};
        struct engine *engine = NULL;
        struct error error = {0};
        int r = docker_engine_new(&engine, &loop, &o, &host, &error);
        if ((r == 0) != table[i].good)
            fail_msg("'%s': %s", table[i].endpoint, error.text);
        if (engine) {
            assert_int_equal(engine->max_armed, DOCKER_MAX_ARMED_DEFAULT);
            assert_string_equal(engine->type, "docker");
            engine->ops->close(engine, NULL, NULL);
            uv_run(&loop, UV_RUN_DEFAULT);
        }
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void the_clock_of_the_engine(void **state)
{
    static const struct {
        const char *info;
        int64_t offset_ms;
    } cases[] = {
        {"{\"SystemTime\":\"2026-11-22T11:00:00.123456789Z\"}", 123},
        {"{\"SystemTime\":\"2026-11-22T10:50:00Z\"}", -600000},
        {"{\"SystemTime\":\"2026-11-22T12:10:00.5+01:00\"}", 600500},
        {"{\"SystemTime\":\"soon\"}", 0},
        {"{\"SystemTime\":7}", 0},
        {"{}", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *info = json_loads(cases[i].info, 0, NULL);

        assert_true(docker_clock_offset_ms(info, INT64_C(1795345200000)) == cases[i].offset_ms);
        json_decref(info);
    }
    assert_true(docker_clock_offset_ms(NULL, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),
        cmocka_unit_test(the_signal_that_stops_it),
        cmocka_unit_test(an_end_is_not_before_its_start),
        cmocka_unit_test(restarts),
        cmocka_unit_test(events),
        cmocka_unit_test(changes_and_witness),
        cmocka_unit_test(labels_alone_make_no_owner),
        cmocka_unit_test(the_body_of_a_small_job),
        cmocka_unit_test(the_body_of_a_large_job),
        cmocka_unit_test(confinement_is_as_in_compose),
        cmocka_unit_test(what_an_archive_holds),
        cmocka_unit_test(what_the_container_is_called_and_how_it_is_stopped),
        cmocka_unit_test(what_is_not_utf8_gives_no_body),
        cmocka_unit_test(witness_paths),
        cmocka_unit_test(what_the_engine_cannot_honour_is_named),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(the_clock_of_the_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
