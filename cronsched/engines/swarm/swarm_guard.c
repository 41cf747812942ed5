/* The start guard of a Swarm (start_guard.c): a program that is a config of the Swarm, and the entrypoint of the containers that
 * are guarded. It closes the one hole that Swarm leaves: an agent whose engine was killed in mid-start may start the same
 * container again. Then the config is not there any more, or the mark in the container's volume is: the program does not run
 * twice, and the task has visibly failed.
 *
 * Guarded is a job whose entrypoint is known, since the guard takes its place: one that says `entrypoint`, an empty one too; on
 * nodes that all are of this program's architecture. The rest is not guarded, and its run says so.
 *
 * What was found is kept for a while: the nodes are looked at again, and the config, which is named by its content, so that
 * replicas of different versions have one each.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOUND_MS 60000

#if defined(__x86_64__)
#define ARCHITECTURE "x86_64"
#elif defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#else
#define ARCHITECTURE "none"
#endif

/* ---- pure ---- */

bool swarm_guard_fits(const struct job *job)
{
    return job->has_entrypoint && job->entrypoint.count + job->command.count > 0;
}

static char *base64(const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = calloc(size / 3 + 2, 4), *to = text;

    for (size_t i = 0; text && i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        unsigned long bits = (unsigned long)bytes[i] << 16;

        bits |= n > 1 ? (unsigned long)bytes[i + 1] << 8 : 0;
        bits |= n > 2 ? (unsigned long)bytes[i + 2] : 0;
        for (size_t k = 0; k < 4; k++)
            *to++ = k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=';
    }
    return text;
}

static void config_name(char *ret, size_t size)
{
    char hash[HASH_SHA256_HEX];

    snprintf(ret, size, "cronsched-guard-%.16s",
             hash_sha256_hex(swarm_guard_program, swarm_guard_program_size, hash));
}

static void prepend(json_t *list, const char *const *texts, size_t count)
{
    while (count-- > 0)
        json_array_insert_new(list, 0, json_string(texts[count]));
}

static json_t *list_of(json_t *object, const char *key)
{
    json_t *list = json_object_get(object, key);

    if (!list) {
        list = json_array();
        json_object_set_new(object, key, list);
    }
    return list;
}

void swarm_guard_apply(json_t *spec, const char *config_id)
{
    static const char *const words[] = {SWARM_GUARD_PATH, SWARM_GUARD_FOLDER "/started"};
    json_t *template = json_object_get(spec, "TaskTemplate");
    json_t *container = json_object_get(template, "ContainerSpec"), *command = list_of(container, "Command");
    const char *first = json_string_value(json_array_get(command, 0));
    char name[64];

    if (first && !*first) /* of an entrypoint that is to be none */
        json_array_clear(command);
    prepend(command, words, sizeof(words) / sizeof(words[0]));
    config_name(name, sizeof(name));
    json_array_append_new(list_of(container, "Configs"),
                          json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}}", "ConfigID", config_id, "ConfigName",
                                    name, "File", "Name", SWARM_GUARD_PATH, "UID", "0", "GID", "0", "Mode",
                                    0555));
    json_array_append_new(list_of(container, "Mounts"),
                          json_pack("{s:s, s:s}", "Type", "volume", "Target", SWARM_GUARD_FOLDER));
    /* a node that joins later may be another one */
    json_array_append_new(list_of(json_object_get(template, "Placement"), "Constraints"),
                          json_string("node.platform.arch==" ARCHITECTURE));
}

bool swarm_guard_is_applied(const json_t *spec)
{
    const json_t *container = json_object_get(json_object_get(spec, "TaskTemplate"), "ContainerSpec");
    const char *first = json_string_value(json_array_get(json_object_get(container, "Command"), 0));

    return first && strcmp(first, SWARM_GUARD_PATH) == 0;
}

/* ---- finding it ---- */

/* id NULL: unguarded. */
static void found(struct swarm_task *t, const char *id)
{
    struct swarm *s = t->swarm;

    snprintf(s->guard_id, sizeof(s->guard_id), "%s", id ? id : "");
    snprintf(s->guard_cluster, sizeof(s->guard_cluster), "%s", s->cluster_id);
    s->guard_ms = (int64_t)uv_now(s->loop);
    t->on_guard(t);
}

static void on_config(struct swarm_task *t, const struct docker_reply *reply);

static void look_for_config(struct swarm_task *t)
{
    char path[SWARM_PATH_MAX], name[64];

    config_name(name, sizeof(name));
    swarm_list_path(path, sizeof(path), "configs", "name", name, NULL, NULL);
    swarm_send(t, &(struct swarm_call){.method = "GET", .path = path}, on_config);
}

/* 409: another replica was as quick. */
static void on_config_made(struct swarm_task *t, const struct docker_reply *reply)
{
    const char *id = json_string_value(json_object_get(reply->json, "ID"));

    if (!docker_lost(reply) && reply->status == 201 && id && swarm_id_valid(id))
        found(t, id);
    else if (!docker_lost(reply) && reply->status == 409 && t->tries++ < SWARM_CREATE_TRIES)
        look_for_config(t);
    else
        found(t, NULL);
}

static void make_config(struct swarm_task *t)
{
    char name[64], *data = base64(swarm_guard_program, swarm_guard_program_size);
    json_t *body;

    config_name(name, sizeof(name));
    body = json_pack("{s:s, s:s, s:{s:s}}", "Name", name, "Data", data ? data : "", "Labels",
                     "cronsched.guard", ARCHITECTURE);
    free(data);
    swarm_send(t, &(struct swarm_call){.method = "POST", .path = "/configs/create", .body = body},
               on_config_made);
    json_decref(body);
}

static void on_config(struct swarm_task *t, const struct docker_reply *reply)
{
    const char *id = json_string_value(json_object_get(json_array_get(reply->json, 0), "ID"));

    if (docker_lost(reply) || reply->status != 200)
        found(t, NULL);
    else if (id && swarm_id_valid(id))
        found(t, id);
    else
        make_config(t);
}

static bool all_alike(const json_t *nodes)
{
    json_t *each;
    size_t i;

    json_array_foreach(nodes, i, each)
    {
        const json_t *platform = json_object_get(json_object_get(each, "Description"), "Platform");
        const char *architecture = json_string_value(json_object_get(platform, "Architecture"));

        if (!architecture || strcmp(architecture, ARCHITECTURE) != 0)
            return false;
    }
    return json_array_size(nodes) > 0;
}

static void on_nodes(struct swarm_task *t, const struct docker_reply *reply)
{
    if (docker_lost(reply) || reply->status != 200 || !all_alike(reply->json))
        found(t, NULL);
    else
        look_for_config(t);
}

void swarm_guard_find(struct swarm_task *t, void (*next)(struct swarm_task *t))
{
    struct swarm *s = t->swarm;
    bool known = s->guard_ms && strcmp(s->guard_cluster, s->cluster_id) == 0 &&
                 (int64_t)uv_now(s->loop) - s->guard_ms < FOUND_MS;

    t->on_guard = next;
    if (!swarm_guard_fits(t->task.q.job) || swarm_guard_program_size == 0 || known)
        next(t);
    else
        swarm_send(t, &(struct swarm_call){.method = "GET", .path = "/nodes"}, on_nodes);
}
