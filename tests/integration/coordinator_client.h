/* A client of the coordinator over libzookeeper, for tests on real servers: what it was told, and a loop that is turned
 * until something is so. The including test has cmocka.h.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "leader/zookeeper/zookeeper.h"
#include "tests/support/patience.h"

#include <stdio.h>
#include <string.h>

#define SESSION_MS  4000
#define PATIENCE_MS 30000 /* of a fast machine: tests/support/patience.h */
#define ANSWERS_MAX (ZOOKEEPER_REQUESTS_MAX + 100)
#define CHANGED_MAX 8

struct client {
    uv_loop_t loop;
    struct coord *coord;
    int connected, fresh, lost, expired, closed;
    int64_t session;
    char changed[CHANGED_MAX][COORD_PATH_MAX];
    size_t changed_count;
    uint64_t seed;
    struct answer {
        struct client *client;
        int count; /* how often it was answered */
        int order; /* which answer it was, from 1 */
        enum coord_result result;
        int32_t version;
        int64_t owner;
        char text[64];
    } answers[ANSWERS_MAX];
    int answered;
};

static inline void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    struct client *c = arg;

    assert_true(timeout_ms > 0);
    c->connected++;
    c->fresh += fresh;
    c->session = session;
}

static inline void on_lost(void *arg, const char *why)
{
    ((struct client *)arg)->lost++;
}

static inline void on_expired(void *arg, const char *why)
{
    ((struct client *)arg)->expired++;
}

static inline void on_changed(void *arg, const char *path)
{
    struct client *c = arg;

    assert_true(c->changed_count < CHANGED_MAX);
    snprintf(c->changed[c->changed_count++], COORD_PATH_MAX, "%s", path);
}

static const struct coord_events events = {on_connected, on_lost, on_expired, on_changed};

static inline uint64_t any(void *arg)
{
    struct client *c = arg;

    c->seed = c->seed * 6364136223846793005U + 1442695040888963407U;
    return c->seed >> 33;
}

static inline void on_answer(void *arg, const struct coord_reply *reply)
{
    struct answer *a = arg;

    a->count++;
    a->order = ++a->client->answered;
    a->result = reply->result;
    a->version = reply->stat.version;
    a->owner = reply->stat.owner;
    snprintf(a->text, sizeof(a->text), "%s", reply->data ? (const char *)reply->data : reply->text);
}

static inline void on_closed(void *arg)
{
    ((struct client *)arg)->closed++;
}

static inline void nothing(uv_timer_t *timer)
{
}

/* Turns the loop until the condition holds; fails after PATIENCE_MS. */
#define UNTIL(client, condition)                                                                             \
    do {                                                                                                     \
        uint64_t end_ = uv_hrtime() + (uint64_t)patience_ms(PATIENCE_MS) * UINT64_C(1000000);                \
        uv_timer_t poll_;                                                                                    \
                                                                                                             \
        uv_timer_init(&(client)->loop, &poll_);                                                              \
        uv_timer_start(&poll_, nothing, 10, 10);                                                             \
        while (!(condition) && uv_hrtime() < end_)                                                           \
            uv_run(&(client)->loop, UV_RUN_ONCE);                                                            \
        uv_close((uv_handle_t *)&poll_, NULL);                                                               \
        uv_run(&(client)->loop, UV_RUN_NOWAIT);                                                              \
        if (!(condition))                                                                                    \
            fail_msg("waited for " #condition ": %s", (client)->coord->ops->status((client)->coord));        \
    } while (0)

static inline const char *ensemble(void)
{
    return getenv("ZOOKEEPER_SERVERS");
}

/* The address of server `i`. */
static inline const char *server(int i)
{
    static char text[256];
    char *at = text;

    snprintf(text, sizeof(text), "%s", ensemble());
    for (; i > 0; i--)
        at = strchr(at, ',') + 1;
    at[strcspn(at, ",")] = '\0';
    return at;
}

static inline struct client *client_of(struct zookeeper_options options, uint64_t seed)
{
    struct client *c = alloc_zero(sizeof(*c));
    struct error error = {0};

    options.random = any;
    options.arg = c;
    c->seed = seed;
    uv_loop_init(&c->loop);
    if (zookeeper_open(&c->coord, &c->loop, &options, &error) < 0)
        fail_msg("%s", error.text);
    c->coord->events = &events;
    c->coord->arg = c;
    return c;
}

static inline struct client *client_new(const char *servers, const char *cluster, int64_t session_ms,
                                        uint64_t seed)
{
    return client_of(
        (struct zookeeper_options){.servers = servers, .cluster = cluster, .session_timeout_ms = session_ms},
        seed);
}

static inline struct client *client_connected(const char *cluster)
{
    struct client *c = client_new(ensemble(), cluster, SESSION_MS, 1);

    UNTIL(c, c->connected > 0);
    return c;
}

static inline void client_free(struct client *c)
{
    c->coord->ops->close(c->coord, on_closed, c);
    while (!c->closed)
        uv_run(&c->loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&c->loop), 0);
    free(c);
}

static inline struct answer *slot(struct client *c, int i)
{
    c->answers[i] = (struct answer){.client = c};
    return &c->answers[i];
}

/* One operation, and its outcome. */
static inline enum coord_result write_one(struct client *c, enum coord_op_kind kind, const char *path,
                                          const char *data, int32_t version)
{
    struct coord_op op = {kind, path, data, data ? strlen(data) : 0, version};
    struct answer *a = slot(c, 0);

    c->coord->ops->multi(c->coord, &op, 1, on_answer, a);
    assert_int_equal(a->count, 0); /* never from within the call */
    UNTIL(c, a->count > 0);
    return a->result;
}

static inline struct answer *read_one(struct client *c, const char *path, bool watch)
{
    struct answer *a = slot(c, 1);

    c->coord->ops->get(c->coord, path, watch, on_answer, a);
    UNTIL(c, a->count > 0);
    return a;
}
