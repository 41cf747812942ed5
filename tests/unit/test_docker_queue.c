/* In which order the requests to a docker engine get their places: what is due first is worked on first. */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1764500000000)

static struct docker docker;
static struct job *job;
static char order[256];

static int64_t host_now(struct engine_host *host)
{
    return NOW_MS;
}

static struct engine_host host = {.now_ms = host_now};

static int set_up(void **state)
{
    json_t *def = json_pack("{s:s}", "image", "alpine");
    int r = job_from_json(&job, "j", def, NULL, NULL);

    json_decref(def);
    docker = (struct docker){.host = &host, .parallel = 1, .identity_state = DOCKER_IDENTITY_KNOWN};
    OBJECT_INIT(struct docker, &docker);
    docker.loop = uv_default_loop();
    list_init(&docker.queue);
    list_init(&docker.urgent);
    list_init(&docker.active);
    list_init(&docker.aside);
    list_init(&docker.watches);
    uv_timer_init(docker.loop, &docker.pump);
    uv_timer_init(docker.loop, &docker.tick);
    docker.pump.data = docker.tick.data = &docker;
    return r;
}

static int tear_down(void **state)
{
    uv_close((uv_handle_t *)&docker.pump, NULL);
    uv_close((uv_handle_t *)&docker.tick, NULL);
    uv_run(docker.loop, UV_RUN_DEFAULT);
    job_unref(job);
    return uv_loop_close(docker.loop);
}

static void begin(struct docker_task *task)
{
    size_t n = strlen(order);

    snprintf(order + n, sizeof(order) - n, "%s ", task->run);
    docker_task_free(task); /* the next one gets the place */
}

static void submit(enum engine_op op, const char *name, int64_t due_in_ms)
{
    struct docker_task *t = docker_task_new(
        &docker, op,
        &(struct engine_request){.job = job, .run = name, .id = "ab", .fire_ms = NOW_MS + due_in_ms});

    t->begin = begin;
    docker_task_queue(t);
}

/* A new leader fences all that the one before had prepared, and prepares again what is due first. */
static void what_is_due_first_goes_first(void **state)
{
    submit(ENGINE_FENCE, "fence+1", 1000);
    submit(ENGINE_FENCE, "fence+9", 9000);
    submit(ENGINE_FENCE, "fence+4", 4000);
    submit(ENGINE_DISCARD, "discard", -1000);
    submit(ENGINE_PREPARE, "prepare+2", 2000);
    submit(ENGINE_PREPARE, "prepare+20", 20000);
    submit(ENGINE_PREPARE, "prepare+1", 1000);
    submit(ENGINE_FENCE, "fence-60", -60000);
    submit(ENGINE_STOP, "stop", -3000);
    submit(ENGINE_RELEASE, "release", 0);
    docker.link = DOCKER_LINK_UP;
    uv_run(docker.loop, UV_RUN_DEFAULT); /* until nothing waits any more */
    assert_string_equal(order, "stop release fence-60 fence+1 prepare+1 prepare+2 fence+4 discard fence+9 "
                               "prepare+20 ");
    assert_int_equal(docker.queued, 0);
    assert_int_equal(docker.working, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_due_first_goes_first, set_up, tear_down)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
