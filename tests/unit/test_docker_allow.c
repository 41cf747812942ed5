/* What an engine's configuration allows, judged on the request that would go to the engine. */
#include "cronsched/engines/docker/docker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct row {
    const char *allow; /* NULL: not limited */
    const char *job;   /* without its image, unless it has one */
    const char *key;   /* of the refusal; NULL: allowed */
};

static json_t *body_of(const char *text)
{
    json_t *def = json_loads(text, 0, NULL), *body;
    struct docker_task t = {.task.q = {.run = "r", .name = "cs-1"}};
    struct job *job;
    const struct docker_create with = {.cluster = "c", .witness = "/.w", .log_driver = "json-file"};
    struct error error = {0};

    assert_non_null(def);
    if (!json_object_get(def, "image"))
        json_object_set_new(def, "image", json_string("busybox"));
    if (job_from_json(&job, "j", def, NULL, &error) < 0)
        fail_msg("%s: %s", text, error.text);
    t.task.q.job = job;
    body = docker_create_json(&t, &with, &(struct environment){0});
    assert_non_null(body);
    job_unref(job);
    json_decref(def);
    return body;
}

static void judge(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *allow = rows[i].allow ? json_loads(rows[i].allow, 0, NULL) : NULL,
               *body = body_of(rows[i].job);
        struct error error = {0};
        int r = docker_allow_check(allow, body, &error);

        if (r != (rows[i].key ? ERR_DENIED : 0))
            fail_msg("%s with %s: %d %s", rows[i].job, rows[i].allow, r, error.text);
        if (rows[i].key && strncmp(error.text, rows[i].key, strlen(rows[i].key)) != 0)
            fail_msg("%s with %s: %s", rows[i].job, rows[i].allow, error.text);
        json_decref(allow);
        json_decref(body);
    }
}

static void without_a_list_all_goes_but_privileged(void **state)
{
    static const struct row rows[] = {
        {NULL, "{}", NULL},
        {NULL, "{\"volumes\":[\"/:/host\"],\"network\":\"host\",\"cap_add\":[\"ALL\"],\"user\":\"0\"}", NULL},
        {NULL, "{\"privileged\":true}", "privileged"},
        {"{}", "{\"privileged\":true}", "privileged"},
        {"{\"privileged\":false}", "{\"privileged\":true}", "privileged"},
        {"{\"privileged\":true}", "{\"privileged\":true}", NULL},
    };

    judge(rows, COUNT(rows));
}

static void with_an_empty_list_a_job_has_what_its_container_has(void **state)
{
    static const struct row rows[] = {
        {"{}", "{}", NULL},
        {"{}",
         "{\"user\":\"0\",\"cap_drop\":[\"ALL\"],\"read_only\":true,\"tmpfs\":\"/tmp\",\"shm_size\":\"1m\","
         "\"ulimits\":{\"nofile\":5},\"dns\":\"1.1.1.1\",\"extra_hosts\":[\"a:1.1.1.1\"],\"init\":true,"
         "\"hostname\":\"h\",\"pids_limit\":-1,\"resources\":{\"cpus\":1,\"memory\":\"1g\"},\"group_add\":["
         "\"0\"]}",
         NULL},
        {"{}", "{\"volumes\":[\"/srv:/srv\"]}", "volumes"},
        {"{}", "{\"volumes\":[\"data:/srv\"]}", "volumes"},
        {"{}", "{\"network\":\"host\"}", "network"},
        {"{}", "{\"cap_add\":[\"NET_ADMIN\"]}", "cap_add"},
        {"{}", "{\"devices\":[\"/dev/sda\"]}", "devices"},
        {"{}", "{\"security_opt\":[\"seccomp=unconfined\"]}", "security_opt"},
        {"{}", "{\"security_opt\":[\"no-new-privileges:false\"]}", "security_opt"},
        {"{}", "{\"security_opt\":[\"no-new-privileges:true\"]}", NULL},
    };

    judge(rows, COUNT(rows));
}

#define VOLUMES "{\"volumes\":[\"/srv\",\"/data/a\",\"cache\"]}"

static void folders_and_volumes(void **state)
{
    static const struct row rows[] = {
        {VOLUMES, "{\"volumes\":[\"/srv:/x\",\"/srv/a/b:/y:ro\",\"/data/a:/z\",\"cache:/c\"]}", NULL},
        {VOLUMES, "{\"volumes\":[\"/srv/:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/srvx:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/data:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/srv/../etc:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/srv/./a:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"//srv/a:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/srv//a:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"cache2:/x\"]}", "volumes"},
        {VOLUMES, "{\"volumes\":[\"/srv/a:/x\",\"/etc:/y\"]}", "volumes: '/etc'"},
        {"{\"volumes\":[\"/\"]}", "{\"volumes\":[\"/etc:/x\",\"/:/y\"]}", NULL},
    };

    judge(rows, COUNT(rows));
}

static void networks(void **state)
{
    static const struct row rows[] = {
        {"{\"networks\":[\"back\"]}", "{\"network\":\"back\"}", NULL},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"none\"}", NULL},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"bridge\"}", NULL},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"default\"}", NULL},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"host\"}", "network"},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"Host\"}", "network"},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"container:back\"}", "network"},
        {"{\"networks\":[\"back\"]}", "{\"network\":\"backx\"}", "network"},
        {"{\"networks\":[\"host\"]}", "{\"network\":\"host\"}", NULL},
    };

    judge(rows, COUNT(rows));
}

#define USERS "{\"users\":[\"1000\",\"7:7\",\"nobody\"],\"groups\":[\"100\",\"mail\"]}"

static void users_and_groups(void **state)
{
    static const struct row rows[] = {
        {USERS, "{\"user\":\"1000\"}", NULL},
        {USERS, "{\"user\":\"1000:100\",\"group_add\":[\"mail\"]}", NULL},
        {USERS, "{\"user\":\"7:7\"}", NULL},
        {USERS, "{\"user\":\"7\"}", "user"},
        {USERS, "{\"user\":\"7:100\"}", "user"},
        {USERS, "{}", "user"},
        {USERS, "{\"user\":\"0\"}", "user"},
        {USERS, "{\"user\":\"root\"}", "user"},
        {USERS, "{\"user\":\"01000\"}", "user"},
        {USERS, "{\"user\":\"1000:0\"}", "user"},
        {USERS, "{\"user\":\"1000:\"}", "user"},
        {USERS, "{\"user\":\"4294968296\"}", "user"}, /* 1000 and 2^32 */
        {USERS, "{\"user\":\"1000\",\"group_add\":[\"0\"]}", "group_add"},
        {"{\"users\":[\"1000\"]}", "{\"user\":\"1000:1000\"}", "user"},
        {"{\"users\":[\"1000\"]}", "{\"user\":\"1000\",\"group_add\":[\"5\"]}", "group_add"},
        {"{\"groups\":[\"5\"]}", "{\"user\":\"0:5\"}", NULL},
        {"{\"groups\":[\"5\"]}", "{\"user\":\"0:6\"}", "user"},
        {"{\"groups\":[\"5\"]}", "{\"user\":\"0\"}", NULL},
    };

    judge(rows, COUNT(rows));
}

static void capabilities_devices_and_options(void **state)
{
    static const struct row rows[] = {
        {"{\"capabilities\":[\"NET_ADMIN\"]}", "{\"cap_add\":[\"CAP_NET_ADMIN\"]}", NULL},
        {"{\"capabilities\":[\"CAP_NET_ADMIN\"]}", "{\"cap_add\":[\"net_admin\"]}", NULL},
        {"{\"capabilities\":[\"NET_ADMIN\"]}", "{\"cap_add\":[\"ALL\"]}", "cap_add"},
        {"{\"capabilities\":[\"NET_ADMIN\"]}", "{\"cap_add\":[\"CAP_ALL\"]}", "cap_add"},
        {"{\"capabilities\":[\"NET_ADMIN\"]}", "{\"cap_add\":[\"NET_ADMIN\",\"SYS_ADMIN\"]}",
         "cap_add: 'SYS_ADMIN'"},
        {"{\"capabilities\":[\"ALL\"]}", "{\"cap_add\":[\"SYS_ADMIN\"]}", NULL},
        {"{\"devices\":[\"/dev/fuse\"]}", "{\"devices\":[\"/dev/fuse:/dev/x:r\"]}", NULL},
        {"{\"devices\":[\"/dev/fuse\"]}", "{\"devices\":[\"/dev/fuse/../sda:/dev/fuse\"]}", "devices"},
        {"{\"devices\":[\"/dev/fuse\"]}", "{\"devices\":[\"/dev/sda:/dev/fuse\"]}", "devices"},
        {"{\"security_opt\":[\"apparmor=a\"]}", "{\"security_opt\":[\"apparmor=a\"]}", NULL},
        {"{\"security_opt\":[\"apparmor=a\"]}", "{\"security_opt\":[\"apparmor=unconfined\"]}",
         "security_opt"},
    };

    judge(rows, COUNT(rows));
}

#define IMAGES                                                                                               \
    "{\"images\":[\"busybox\",\"acme/report:7\",\"registry.example/team/*\",\"registry.example:5000/x\","    \
    "\"localhost/*\"]}"

static void images(void **state)
{
    static const struct {
        const char *image;
        bool fine;
    } table[] = {
        {"busybox", true},
        {"busybox:1.36", true},
        {"busybox@sha256:00", true},
        {"docker.io/busybox", true},
        {"docker.io/library/busybox", true},
        {"index.docker.io/library/busybox:1", true},
        {"library/busybox", true},
        {"evil.example/busybox", false},
        {"evil.example/library/busybox", false},
        {"me/busybox", false},
        {"busybox2", false},
        {"acme/report:7", true},
        {"docker.io/acme/report:7", true},
        {"acme/report:8", false},
        {"acme/report", false},
        {"acme/report:7@sha256:00", false},
        {"registry.example/team/a:1", true},
        {"registry.example/team/a/b", true},
        {"registry.example/team2/a", false},
        {"registry.example:443/team/a", false},
        {"registry.example.evil/team/a", false},
        {"team/a", false},
        {"registry.example:5000/x:1", true},
        {"registry.example/x", false},
        {"registry.example:5001/x", false},
        {"localhost/a", true},
        {"localhost:5000/a", false},
        {"deadbeef", false},
        {"sha256:deadbeef", false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        char job[200];

        snprintf(job, sizeof(job), "{\"image\":\"%s\"}", table[i].image);
        judge(&(struct row){IMAGES, job, table[i].fine ? NULL : "image"}, 1);
    }
    /* Docker Hub's own images: an id would be looked up among all that the engine has */
    judge(&(struct row){"{\"images\":[\"docker.io/library/*\"]}", "{\"image\":\"alpine:3\"}", NULL}, 1);
    judge(&(struct row){"{\"images\":[\"docker.io/library/*\"]}", "{\"image\":\"deadbeef\"}", "image"}, 1);
    judge(&(struct row){"{\"images\":[\"deadbeef\"]}", "{\"image\":\"deadbeef\"}", NULL}, 1);
}

/* What is not known to the judge would pass it. */
static void every_key_of_a_request_is_judged(void **state)
{
    json_t *body = body_of("{}"), *allow = json_object();
    struct error error = {0};

    json_object_set_new(json_object_get(body, "HostConfig"), "PidMode", json_string("host"));
    assert_int_equal(docker_allow_check(allow, body, &error), ERR_DENIED);
    json_decref(body);
    json_decref(allow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_list_all_goes_but_privileged),
        cmocka_unit_test(with_an_empty_list_a_job_has_what_its_container_has),
        cmocka_unit_test(folders_and_volumes),
        cmocka_unit_test(networks),
        cmocka_unit_test(users_and_groups),
        cmocka_unit_test(capabilities_devices_and_options),
        cmocka_unit_test(images),
        cmocka_unit_test(every_key_of_a_request_is_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
