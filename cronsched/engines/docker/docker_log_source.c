/* Where the output of a container comes from: its logs, over the engine's link. */
#include "cronsched/engines/docker/docker_core.h"

#include <stdio.h>

static struct http_call *log_open(void *arg, const char *query, const struct client_request *with)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    char path[DOCKER_PATH_MAX];

    snprintf(path, sizeof(path), "%s/containers/%.*s/logs", t->docker->api, DOCKER_ID_MAX, t->task.q.id);
    return docker_open(t->docker, &(struct docker_call){.method = "GET", .path = path, .query = query}, with,
                       NULL);
}

static void on_wake(struct docker_task *t)
{
    docker_log_wake(t->log);
}

static void log_wake_in(void *arg, int64_t ms)
{
    docker_wake_in(OBJECT(struct docker_task, arg), ms, on_wake);
}

static bool log_reachable(void *arg)
{
    return OBJECT(struct docker, arg)->link == DOCKER_LINK_UP;
}

static uint64_t log_losses(void *arg)
{
    return OBJECT(struct docker, arg)->link_number;
}

static void log_hold(void *arg)
{
    tasks_hold(&OBJECT(struct docker, arg)->tasks);
}

static void log_release(void *arg)
{
    tasks_release(&OBJECT(struct docker, arg)->tasks);
}

struct docker_log *docker_log_of(struct docker_task *t)
{
    static const struct docker_log_ops ops = {log_open,   log_wake_in, log_reachable,
                                              log_losses, log_hold,    log_release};

    return docker_log_new(&(struct docker_log_source){.ops = &ops,
                                                      .loop = t->docker->loop,
                                                      .engine = t->docker,
                                                      .task = t,
                                                      .data_dir = t->docker->data_dir,
                                                      .run = t->task.q.run,
                                                      .attempt = t->task.q.attempt,
                                                      .keep_bytes = t->task.q.job->keep_logs_bytes,
                                                      .live = &t->docker->live_logs});
}
