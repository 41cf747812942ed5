#include "tests/support/journal_node.h"

#include <assert.h>

#define SESSION_MS 10000
#define SECRET     "0000000000000000000000000000000000000000000000000000000000000000"

static uint64_t env_boot(void *arg)
{
    return uv_hrtime() / 1000000;
}

static int64_t env_wall(void *arg)
{
    uv_timeval64_t t;

    uv_gettimeofday(&t);
    return t.tv_sec * 1000 + t.tv_usec / 1000;
}

static uint64_t env_random(void *arg)
{
    static uint64_t x = 1;

    return x++ * UINT64_C(0x9e3779b97f4a7c15);
}

static void on_timer(uv_timer_t *timer)
{
    replicated_tick(((struct journal_node *)timer->data)->owner.journal);
}

static void env_wake(void *arg, uint64_t at_ms)
{
    struct journal_node *n = arg;
    uint64_t now_ms = env_boot(NULL);

    uv_timer_start(&n->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void env_log(void *arg, enum log_level level, const char *event, const char *text)
{
}

static bool host_fit(void *arg, const char **ret_why)
{
    return true;
}

static json_t *host_member(void *arg)
{
    return json_pack("{s:s}", "url", "http://127.0.0.1:1");
}

static uint64_t host_durable(void *arg)
{
    return ((struct journal_node *)arg)->owner.index;
}

static void host_changed(void *arg)
{
}

void journal_node_open(struct journal_node *n, const char *servers, const char *cluster)
{
    struct zookeeper_options z = {.servers = servers,
                                  .cluster = cluster,
                                  .session_timeout_ms = SESSION_MS,
                                  .random = env_random,
                                  .log = env_log};
    struct replicated_options o = {.replica = "a",
                                   .url = "http://127.0.0.1:1",
                                   .cluster_uuid = cluster,
                                   .found = true,
                                   .join_cluster = cluster,
                                   .secret = SECRET,
                                   .level = OWNER_LEVEL,
                                   .env = &n->env,
                                   .host = &n->host};

    *n = (struct journal_node){.env = {env_boot, env_wall, env_random, env_wake, env_log, n},
                               .host = {.fit = host_fit,
                                        .member = host_member,
                                        .durable = host_durable,
                                        .changed = host_changed,
                                        .arg = n}};
    uv_loop_init(&n->owner.loop);
    uv_timer_init(&n->owner.loop, &n->timer);
    n->timer.data = n;
    assert(zookeeper_open(&n->coord, &n->owner.loop, &z, NULL) == 0);
    n->owner.journal = replicated_new(&o, n->coord, &owner_events, &n->owner);
    OWNER_UNTIL(&n->owner, n->owner.leading);
}

void journal_node_close(struct journal_node *n)
{
    n->owner.journal->ops->close(n->owner.journal, owner_closed, &n->owner);
    OWNER_UNTIL(&n->owner, n->owner.closed);
    uv_close((uv_handle_t *)&n->timer, NULL);
    uv_run(&n->owner.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&n->owner.loop), 0);
}
