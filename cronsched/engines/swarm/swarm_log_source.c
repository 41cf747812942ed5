/* Where the output of an attempt comes from: the logs of its task, through a manager, which asks the node. A stream that is
 * followed never ends (moby#36626): it is cut when the end is known, and the rest is read.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include <stdio.h>

static struct http_call *log_open(void *arg, const char *query, const struct client_request *with)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    char path[SWARM_PATH_MAX];

    snprintf(path, sizeof(path), "/tasks/%s/logs?%s", swarm_watch_task(t), query);
    return swarm_open(t->swarm, &(struct swarm_call){.method = "GET", .path = path, .timeout_ms = -1}, with,
                      NULL);
}

static void on_wake(struct swarm_task *t)
{
    docker_log_wake(t->log);
}

static void log_wake_in(void *arg, int64_t ms)
{
    swarm_wake_in(OBJECT(struct swarm_task, arg), ms, on_wake);
}

static bool log_reachable(void *arg)
{
    return OBJECT(struct swarm, arg)->link == SWARM_LINK_UP;
}

static uint64_t log_losses(void *arg)
{
    return OBJECT(struct swarm, arg)->losses;
}

static void log_hold(void *arg)
{
    tasks_hold(&OBJECT(struct swarm, arg)->tasks);
}

static void log_release(void *arg)
{
    tasks_release(&OBJECT(struct swarm, arg)->tasks);
}

struct docker_log *swarm_log_of(struct swarm_task *t)
{
    static const struct docker_log_ops ops = {log_open,   log_wake_in, log_reachable,
                                              log_losses, log_hold,    log_release};

    return docker_log_new(&(struct docker_log_source){.ops = &ops,
                                                      .loop = t->swarm->loop,
                                                      .engine = t->swarm,
                                                      .task = t,
                                                      .data_dir = t->swarm->data_dir,
                                                      .run = t->task.q.run,
                                                      .attempt = t->task.q.attempt,
                                                      .keep_bytes = t->task.q.job->keep_logs_bytes,
                                                      .live = &t->swarm->live_logs,
                                                      .endless = true});
}
