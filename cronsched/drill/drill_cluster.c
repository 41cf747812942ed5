/* What every part of a drill asks for: the time, chance, and what the cluster says of itself. */
#include "cronsched/drill/drill.h"

#include <string.h>
#include <time.h>

volatile sig_atomic_t drill_interrupted;

int64_t drill_now_ms(void)
{
    return output_now_ms();
}

void drill_sleep_until(int64_t wall_ms)
{
    struct timespec at = {.tv_sec = wall_ms / 1000, .tv_nsec = wall_ms % 1000 * 1000000};

    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at,
                    NULL); /* a signal ends it early: callers look again */
}

/* splitmix64 */
uint64_t drill_random(struct drill *d, uint64_t below)
{
    uint64_t z = d->chance += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

static bool is_replica(const struct drill *d, size_t server, const char *id)
{
    const json_t *replica = json_array_get(json_object_get(d->lab.facts, "replicas"), server);
    const char *own = json_string_value(json_object_get(replica, "id"));

    return id && own && strcmp(own, id) == 0;
}

static void take_view(const json_t *cluster, struct drill_view *ret)
{
    int64_t epoch = json_integer_value(json_object_get(cluster, "epoch"));
    const char *leader = json_string_value(json_object_get(json_object_get(cluster, "leader"), "id"));

    if (!leader || epoch <= ret->epoch)
        return;
    ret->epoch = epoch;
    snprintf(ret->leader, sizeof(ret->leader), "%s", leader);
    ret->replicas = json_array_size(json_object_get(cluster, "replicas"));
}

int drill_look(struct drill *d, const char *but_for, struct drill_view *ret, struct error *error)
{
    struct client *client = &d->session->client;
    struct error last = {0};

    *ret = (struct drill_view){0};
    for (size_t i = 0; i < client->server_count; i++) {
        json_t *cluster = NULL;

        if (is_replica(d, i, but_for))
            continue;
        if (client_probe(client, i, "/v1/cluster", &cluster, &last) == 0)
            take_view(cluster, ret);
        json_decref(cluster);
    }
    for (size_t i = 0; i < client->server_count; i++)
        if (is_replica(d, i, ret->leader))
            client->current = i;
    if (ret->epoch > 0)
        return 0;
    return error_set(error, ERR_NO_LEADER, "no server knows a leader%s%s", last.code ? ": " : "", last.text);
}
