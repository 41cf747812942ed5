/* What a Swarm says of a task, each row of it, and what a job becomes as a service. */
#include "cronsched/engines/docker/docker.h"
#include "cronsched/engines/swarm/swarm_core.h"
#include "jobs/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_t *parse(const char *text)
{
    json_error_t why;
    json_t *json = json_loads(text, 0, &why);

    if (!json)
        fail_msg("%s: %s", why.text, text);
    return json;
}

/* ---- tasks ---- */

#define NODE            "\"NodeID\":\"node1\","
#define CONTAINER(code) ",\"ContainerStatus\":{\"ContainerID\":\"c1\",\"ExitCode\":" #code "}"
#define STARTING        "starting container failed: "

static const struct row {
    const char *state, *desired, *node, *err, *container;
    enum engine_event event;
    int exit_code;
    const char *part; /* of its text */
} rows[] = {
    {"new", "running", "", "", "", ENGINE_PENDING, -1, "new"},
    {"allocated", "running", "", "", "", ENGINE_PENDING, -1, "allocated"},
    {"pending", "running", "", "no suitable node (insufficient resources on 3 nodes)", "", ENGINE_PENDING, -1,
     "insufficient resources"},
    {"assigned", "running", NODE, "", "", ENGINE_PENDING, -1, "assigned on node node1"},
    {"accepted", "running", NODE, "", "", ENGINE_PENDING, -1, "accepted"},
    {"preparing", "running", NODE, "", "", ENGINE_PENDING, -1, "preparing on node node1"},
    {"ready", "running", NODE, "", "", ENGINE_PENDING, -1, "ready"},
    {"starting", "running", NODE, "", CONTAINER(0), ENGINE_PENDING, -1, "starting"},
    {"hibernating", "running", NODE, "", "", ENGINE_PENDING, -1, "hibernating"},
    {"running", "running", NODE, "", CONTAINER(0), ENGINE_STARTED, -1, ""},
    {"running", "shutdown", NODE, "", CONTAINER(0), ENGINE_STARTED, -1, ""},
    {"complete", "shutdown", NODE, "", CONTAINER(0), ENGINE_ENDED, 0, ""},
    {"failed", "shutdown", NODE, "task: non-zero exit (3)", CONTAINER(3), ENGINE_ENDED, 3, ""},
    {"failed", "shutdown", NODE, "task: non-zero exit (137)", CONTAINER(137), ENGINE_ENDED, 137, ""},
    {"failed", "shutdown", NODE,
     STARTING "failed to create task for container: OCI runtime create failed: exec: no such file",
     CONTAINER(127), ENGINE_REFUSED, 127, "command not found"},
    {"failed", "shutdown", NODE, STARTING "error mounting \\\"/x\\\" to rootfs", CONTAINER(0), ENGINE_REFUSED,
     -1, "mounting"},
    {"failed", "shutdown", NODE, STARTING "write /x: no space left on device", CONTAINER(0), ENGINE_REFUSED,
     -1, "no space"},
    {"failed", "shutdown", NODE, STARTING "task 0a already exists: unknown", CONTAINER(0), ENGINE_UNKNOWN, -1,
     "not known"},
    {"failed", "shutdown", NODE, "No such container: c1", CONTAINER(0), ENGINE_UNKNOWN, -1, "not known"},
    {"failed", "shutdown", NODE, "", "", ENGINE_UNKNOWN, -1, "not known"},
    {"rejected", "shutdown", NODE, "No such image: x:latest", "", ENGINE_REFUSED, -1, "No such image"},
    {"shutdown", "shutdown", NODE, "", CONTAINER(7), ENGINE_ENDED, 7, ""},
    {"shutdown", "remove", NODE, "", CONTAINER(0), ENGINE_ENDED, 0, ""},
    {"shutdown", "remove", "", "", "", ENGINE_NEVER_RAN, -1, "before it had a container"},
    {"orphaned", "shutdown", NODE, "", CONTAINER(0), ENGINE_UNKNOWN, -1, "node was removed"},
};

static void each_state_of_a_task_has_its_conclusion(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *r = &rows[i];
        char text[1024];
        struct swarm_state s;
        json_t *tasks;

        snprintf(
            text, sizeof(text),
            "[{\"ID\":\"t1\",%s\"CreatedAt\":\"2026-11-30T10:00:00.5Z\",\"DesiredState\":\"%s\",\"Status\":{"
            "\"State\":\"%s\",\"Timestamp\":\"2026-11-30T10:00:01.25Z\",\"Err\":\"%s\"%s}}]",
            r->node, r->desired, r->state, r->err, r->container);
        tasks = parse(text);
        if (!swarm_state_read(tasks, &s) || s.event != r->event || s.exit_code != r->exit_code ||
            !strstr(s.text, r->part))
            fail_msg("%s, %s: %s, exit code %d: %s", r->state, r->err, engine_event_name(s.event),
                     s.exit_code, s.text);
        assert_int_equal(s.at_ms, INT64_C(1796032801250));
        assert_int_equal(s.unplaced, strcmp(r->desired, "running") != 0 && !*r->node);
        json_decref(tasks);
    }
}

/* Somebody has forced an update: the newest counts, and how many there are. */
static void of_several_tasks_the_newest_counts(void **state)
{
    json_t *tasks =
        parse("[{\"ID\":\"t2\",\"CreatedAt\":\"2026-11-30T10:00:02Z\",\"Status\":{\"State\":\"running\"}},"
              "{\"ID\":\"t1\",\"CreatedAt\":\"2026-11-30T10:00:00Z\",\"Status\":{\"State\":\"complete\"}}]");
    struct swarm_state s;

    assert_true(swarm_state_read(tasks, &s));
    assert_int_equal(s.event, ENGINE_STARTED);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.id, "t2");
    json_decref(tasks);
}

/* The one that takes the place of what was stopped. */
static void a_task_that_no_node_can_have_does_not_count(void **state)
{
    json_t *spec = parse("{\"TaskTemplate\":{\"Placement\":{}},\"Mode\":{\"Replicated\":{\"Replicas\":1}}}");
    json_t *stopped = swarm_spec_stopped(spec), *idle = json_object_get(stopped, "TaskTemplate");
    json_t *tasks = json_pack("[{s:s,s:s,s:{s:s},s:O},{s:s,s:s,s:s,s:{s:s}}]", "ID", "t2", "CreatedAt",
                              "2026-11-30T10:00:02Z", "Status", "State", "pending", "Spec", idle, "ID", "t1",
                              "CreatedAt", "2026-11-30T10:00:00Z", "DesiredState", "shutdown", "Status",
                              "State", "running");
    struct swarm_state s;

    assert_true(swarm_state_read(tasks, &s));
    assert_int_equal(s.event, ENGINE_STARTED);
    assert_int_equal(s.count, 1);
    json_array_remove(tasks, 1);
    assert_false(swarm_state_read(tasks, &s));
    json_decref(tasks);
    json_decref(stopped);
    json_decref(spec);
}

static void what_makes_no_sense_is_no_task(void **state)
{
    static const char *const texts[] = {
        "[]",  "[1]", "{}", "[{\"ID\":\"../x\",\"Status\":{\"State\":\"complete\"}}]", "[{\"ID\":\"t1\"}]",
        "null"};
    struct swarm_state s;

    for (size_t i = 0; i < COUNT(texts); i++) {
        json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);

        assert_false(swarm_state_read(json, &s));
        json_decref(json);
    }
}

/* ---- services ---- */

static void a_service_is_read_and_changed(void **state)
{
    json_t *json =
        parse("{\"ID\":\"s1\",\"Version\":{\"Index\":7},\"Spec\":{\"Name\":\"cs-1\",\"Labels\":{"
              "\"cronsched.cluster\":\"u\",\"cronsched.run\":\"r\",\"cronsched.epoch\":\"5\","
              "\"cronsched.attempt\":\"2\"},\"Mode\":{\"Replicated\":{\"Replicas\":0}},\"X\":[1]}}");
    struct swarm_service s;
    json_t *spec;

    assert_true(swarm_service_read(json, &s));
    assert_true(s.version == 7 && s.replicas == 0 && !s.released && s.epoch == 5 && s.attempt == 2);
    spec = swarm_spec_changed(s.spec, 1, "cronsched.released", 5);
    json_object_set_new(json, "Spec", spec);
    assert_true(swarm_service_read(json, &s));
    assert_true(s.replicas == 1 && s.released && s.epoch == 5);
    assert_int_equal(json_array_size(json_object_get(s.spec, "X")), 1); /* all else is as it was */
    json_object_set_new(json_object_get(s.spec, "Mode"), "Replicated", json_null());
    json_object_set_new(json, "Version", json_object());
    assert_false(swarm_service_read(json, &s));
    json_decref(json);
}

/* ---- a job ---- */

static json_t *spec_of(const char *definition, const struct environment *environment)
{
    struct error error = {0};
    struct job *job = NULL;
    json_t *json = parse(definition), *spec;
    struct swarm_task t = {
        .task.q = {.run = "j@20261130T100000Z", .name = "cs-1", .attempt = 2, .try = 1, .epoch = 5}};

    if (job_from_json(&job, "j", json, NULL, &error) < 0)
        fail_msg("%s", error.text);
    t.task.q.job = job;
    t.ids = parse("{\"secrets\":{\"s\":\"sid\"},\"configs\":{\"c\":\"cid\"}}");
    spec = swarm_spec_json(&t, "cluster-1", environment);
    assert_non_null(spec);
    json_decref(t.ids);
    json_decref(json);
    job_unref(job);
    return spec;
}

static void expect_at(const json_t *json, const char *path, const char *expected)
{
    char *rest = strdup(path), *word, *left = rest, *text;

    while ((word = strsep(&left, "/")))
        json = json_is_array(json) ? json_array_get(json, (size_t)(*word - '0'))
                                   : json_object_get(json, word);
    text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("absent");
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, not %s", path, text, expected);
    free(text);
    free(rest);
}

static void what_a_job_says_is_in_its_service(void **state)
{
    char *items[] = {(char *)"A={{.Node.ID}}", NULL};
    const struct environment environment = {.items = items, .count = 1};
    json_t *spec = spec_of(
        "{\"image\":\"i:1\",\"entrypoint\":[\"e\"],\"command\":[\"c\",\"{{x}}\"],\"user\":\"1:2\","
        "\"volumes\":[\"/a:/b:ro\",\"vol:/c\"],\"tmpfs\":[\"/t\"],\"network\":\"net\",\"secrets\":[\"s\"],"
        "\"configs\":[\"c\"],\"constraints\":[\"node.role==worker\"],\"resources\":{\"cpus\":0.5,\"memory\":"
        "\"256m\"},"
        "\"extra_hosts\":[\"db:10.0.0.1\"],\"labels\":{\"team\":\"x\"},\"stop_grace\":\"3s\","
        "\"ulimits\":{\"nofile\":1024},\"read_only\":true}",
        &environment);

    expect_at(spec, "Name", "\"cs-1\"");
    expect_at(spec, "Mode/Replicated/Replicas", "0");
    expect_at(spec, "EndpointSpec/Mode", "\"dnsrr\"");
    expect_at(spec, "Labels/cronsched.cluster", "\"cluster-1\"");
    expect_at(spec, "Labels/cronsched.attempt", "\"2\"");
    expect_at(spec, "Labels/cronsched.released", "absent");
    expect_at(spec, "Labels/team", "\"x\"");
    expect_at(spec, "TaskTemplate/RestartPolicy/Condition", "\"none\"");
    expect_at(spec, "TaskTemplate/Placement/Constraints", "[\"node.role==worker\"]");
    expect_at(spec, "TaskTemplate/Networks/0/Target", "\"net\"");
    expect_at(spec, "TaskTemplate/Resources/Limits/NanoCPUs", "500000000");
    expect_at(spec, "TaskTemplate/Resources/Limits/MemoryBytes", "268435456");
    expect_at(spec, "TaskTemplate/ContainerSpec/Command", "[\"e\"]");
    expect_at(spec, "TaskTemplate/ContainerSpec/Args", "[\"c\",\"{{x}}\"]"); /* no template there */
    expect_at(spec, "TaskTemplate/ContainerSpec/Env", "[\"A={{\\\"{{\\\"}}.Node.ID}}\"]");
    expect_at(spec, "TaskTemplate/ContainerSpec/Mounts/0",
              "{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/b\",\"ReadOnly\":true}");
    expect_at(spec, "TaskTemplate/ContainerSpec/Mounts/1",
              "{\"Type\":\"volume\",\"Source\":\"vol\",\"Target\":\"/c\",\"ReadOnly\":false}");
    expect_at(spec, "TaskTemplate/ContainerSpec/Mounts/2", "{\"Type\":\"tmpfs\",\"Target\":\"/t\"}");
    expect_at(spec, "TaskTemplate/ContainerSpec/Secrets/0/SecretID", "\"sid\"");
    expect_at(spec, "TaskTemplate/ContainerSpec/Configs/0/File/Name", "\"/c\"");
    expect_at(spec, "TaskTemplate/ContainerSpec/Hosts", "[\"10.0.0.1 db\"]");
    expect_at(spec, "TaskTemplate/ContainerSpec/StopGracePeriod", "3000000000");
    expect_at(spec, "TaskTemplate/ContainerSpec/Healthcheck/Test", "[\"NONE\"]");
    expect_at(spec, "TaskTemplate/ContainerSpec/ReadOnly", "true");
    expect_at(spec, "TaskTemplate/ContainerSpec/Labels",
              "{\"team\":\"x\"}"); /* no mark of ours: it is no container of docker's */
    json_decref(spec);
}

static void entrypoint_and_command_are_as_in_docker(void **state)
{
    static const struct {
        const char *keys, *command, *args;
    } table[] = {
        {"", "absent", "absent"},
        {",\"command\":[\"c\"]", "absent", "[\"c\"]"},
        {",\"entrypoint\":[\"e\"]", "[\"e\"]", "absent"},
        {",\"entrypoint\":[]", "[\"\"]", "absent"},
        {",\"entrypoint\":[],\"command\":[\"c\"]", "[\"\"]", "[\"c\"]"},
        {",\"entrypoint\":[\"e\"],\"command\":[]", "[\"e\"]", "absent"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        char text[128];
        json_t *spec;

        snprintf(text, sizeof(text), "{\"image\":\"i\"%s}", table[i].keys);
        spec = spec_of(text, &(struct environment){0});
        expect_at(spec, "TaskTemplate/ContainerSpec/Command", table[i].command);
        expect_at(spec, "TaskTemplate/ContainerSpec/Args", table[i].args);
        json_decref(spec);
    }
}

static void the_start_guard_stands_before_a_known_entrypoint(void **state)
{
    static const struct {
        const char *definition, *command, *args;
    } table[] = {
        {"{\"image\":\"i\",\"entrypoint\":[\"e\",\"f\"],\"command\":[\"c\"]}",
         "[\"/.cronsched-guard\",\"/.cronsched-mark/started\",\"e\",\"f\"]", "[\"c\"]"},
        {"{\"image\":\"i\",\"entrypoint\":[],\"command\":[\"c\"]}",
         "[\"/.cronsched-guard\",\"/.cronsched-mark/started\"]", "[\"c\"]"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        json_t *spec = spec_of(table[i].definition, &(struct environment){0});

        assert_false(swarm_guard_is_applied(spec));
        swarm_guard_apply(spec, "gid");
        assert_true(swarm_guard_is_applied(spec));
        expect_at(spec, "TaskTemplate/ContainerSpec/Command", table[i].command);
        expect_at(spec, "TaskTemplate/ContainerSpec/Args", table[i].args);
        expect_at(spec, "TaskTemplate/ContainerSpec/Configs/0/ConfigID", "\"gid\"");
        expect_at(spec, "TaskTemplate/ContainerSpec/Mounts/0",
                  "{\"Type\":\"volume\",\"Target\":\"/.cronsched-mark\"}");
        json_decref(spec);
    }
}

static void without_an_entrypoint_there_is_no_guard(void **state)
{
    char *word = (char *)"x";
    struct job image = {.has_command = true, .command = {.items = &word, .count = 1}};
    struct job none = {.has_entrypoint = true}, both = image;

    both.has_entrypoint = true;
    assert_false(swarm_guard_fits(&image));
    assert_false(swarm_guard_fits(&none));
    assert_true(swarm_guard_fits(&both));
}

static void what_a_swarm_does_not_have_is_refused(void **state)
{
    static const char *const definitions[] = {
        "{\"command\":[\"x\"]}",
        "{\"image\":\"i\",\"kubernetes\":{}}",
        "{\"image\":\"i\",\"environment\":{\"A\":{\"from_secret\":\"s\"}}}",
        "{\"image\":\"i\",\"pull\":\"never\"}",
        "{\"image\":\"i\",\"privileged\":true}",
        "{\"image\":\"i\",\"devices\":[\"/dev/null\"]}",
        "{\"image\":\"i\",\"security_opt\":[\"seccomp:unconfined\"]}",
        "{\"image\":\"i\",\"shm_size\":\"64m\"}",
        "{\"image\":\"i\",\"tmpfs\":[\"/t:size=1m\"]}",
        "{\"image\":\"i\",\"command\":[]}",

    };

    for (size_t i = 0; i < COUNT(definitions); i++) {
        struct engine_faults faults = {0};
        struct error error = {0};
        struct job *job = NULL;
        json_t *json = parse(definitions[i]);

        if (job_from_json(&job, "j", json, NULL, &error) < 0)
            fail_msg("%s: %s", definitions[i], error.text);
        swarm_engine_faults(job, &faults);
        if (faults.first.code != ERR_UNSUPPORTED)
            fail_msg("%s is taken", definitions[i]);
        job_unref(job);
        json_decref(json);
    }
}

static void what_its_managers_would_refuse_is_refused_before(void **state)
{
    static const struct {
        const char *key, *value;
        bool fine;
    } table[] = {
        {"constraints", "node.role == worker", true},
        {"constraints", "node.labels.zone!=a b", true},
        {"constraints", "NODE.Hostname==n-1.lan", true},
        {"constraints", "engine.labels.os == debian/12", true},
        {"constraints", "node.platform.arch == x86_64", true},
        {"constraints", "node.role = worker", false},
        {"constraints", "node.roles == worker", false},
        {"constraints", "node.labels == x", false},
        {"constraints", "node.labels. == x", false},
        {"constraints", "zone == a", false},
        {"constraints", "node.role ==", false},
        {"constraints", "== worker", false},
        {"constraints", "worker", false},
        {"constraints", "node.role == a;b", false},
        {"secrets", "db.password-1", true},
        {"secrets", "a", true},
        {"secrets", "a b", false},
        {"secrets", "../x", false},
        {"secrets", "-a", false},
        {"configs", "a_", false},
        {"configs", "0123456789012345678901234567890123456789012345678901234567890123", true},
        {"configs", "01234567890123456789012345678901234567890123456789012345678901234", false},
    };
    static const struct {
        const char *signal;
        bool fine;
    } signals[] = {{"SIGTERM", true}, {"term", true},     {"15", true},  {"SIGRTMIN+3", true}, {"0", false},
                   {"65", false},     {"SIGNOPE", false}, {"-9", false}, {"RTMIN+99", false}};

    for (size_t i = 0; i < COUNT(table); i++) {
        char *item = (char *)(uintptr_t)table[i].value;
        const struct strings list = {.items = &item, .count = 1};
        struct job job = {.image = (char *)"i"};
        struct engine_faults faults = {0};

        if (table[i].key[0] == 's')
            job.secrets = list;
        else if (strcmp(table[i].key, "configs") == 0)
            job.configs = list;
        else
            job.constraints = list;
        swarm_engine_faults(&job, &faults);
        if ((faults.first.code == 0) != table[i].fine)
            fail_msg("%s: %s: %s", table[i].key, table[i].value, faults.first.text);
    }
    for (size_t i = 0; i < COUNT(signals); i++) {
        struct job job = {.image = (char *)"i", .stop_signal = (char *)(uintptr_t)signals[i].signal};
        struct engine_faults faults = {0};

        swarm_engine_faults(&job, &faults);
        if ((faults.first.code == 0) != signals[i].fine ||
            (docker_engine_check(&job, NULL) == 0) != signals[i].fine)
            fail_msg("%s: %s", signals[i].signal, faults.first.text);
    }
}

static void a_text_stays_a_text(void **state)
{
    static const char *const table[][2] = {{"", ""},
                                           {"a{b}", "a{b}"},
                                           {"{{", "{{\"{{\"}}"},
                                           {"{{{{x", "{{\"{{\"}}{{\"{{\"}}x"},
                                           {"{{{", "{{\"{{\"}}{"}};

    for (size_t i = 0; i < COUNT(table); i++) {
        char *made = swarm_literal(table[i][0]);

        assert_string_equal(made, table[i][1]);
        free(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_of_a_task_has_its_conclusion),
        cmocka_unit_test(of_several_tasks_the_newest_counts),
        cmocka_unit_test(a_task_that_no_node_can_have_does_not_count),
        cmocka_unit_test(what_makes_no_sense_is_no_task),
        cmocka_unit_test(a_service_is_read_and_changed),
        cmocka_unit_test(what_a_job_says_is_in_its_service),
        cmocka_unit_test(entrypoint_and_command_are_as_in_docker),
        cmocka_unit_test(the_start_guard_stands_before_a_known_entrypoint),
        cmocka_unit_test(without_an_entrypoint_there_is_no_guard),
        cmocka_unit_test(what_a_swarm_does_not_have_is_refused),
        cmocka_unit_test(what_its_managers_would_refuse_is_refused_before),
        cmocka_unit_test(a_text_stays_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
