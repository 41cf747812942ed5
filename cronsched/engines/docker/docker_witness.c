/* The start witness of a container (jobs/engine/docker_fence.h): where it is, and how to look for it.
 *
 * A container whose root is read-only takes no file there, so it could not be sealed. Its witness has a volume of its own,
 * which goes with the container: PREFIX-HASH is the volume, PREFIX-HASH/start the witness. The runtime makes that folder
 * like any other before it mounts the tmpfs on it. But a volume is none of the container's changes: it is looked at by
 * reading the folder that the witness would be in. That folder is there, unless the engine cannot mount what the container
 * mounts; of a witness that it does not find alone nobody knows which it is.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/percent.h"

#include <stdio.h>
#include <string.h>

#define IN_VOLUME "/start"

void docker_witness_path(const struct docker *d, const char *name, bool read_only, char *ret, size_t size)
{
    const char *hash = strncmp(name, "cs-", 3) == 0 ? name + 3 : name;

    snprintf(ret, size, "%s%s%s", d->witness_prefix, hash, read_only ? IN_VOLUME : "");
}

bool docker_witness_has_volume(const char *witness)
{
    size_t n = strlen(witness), end = sizeof(IN_VOLUME) - 1;

    return n > end && strcmp(witness + n - end, IN_VOLUME) == 0;
}

int docker_witness_folder(const char *witness)
{
    return docker_witness_has_volume(witness) ? (int)(strlen(witness) - (sizeof(IN_VOLUME) - 1)) : 0;
}

/* An image may bear our labels, a name is given to one container alone. The engine's names begin with a slash. */
bool docker_witness_fits(const json_t *container)
{
    const char *witness =
        json_string_value(json_object_get(json_object_get(container, "Labels"), "cronsched.witness"));
    const json_t *names = json_object_get(container, "Names"), *item;
    size_t i, n = witness ? strlen(witness) : 0;

    if (witness && docker_witness_has_volume(witness))
        n = (size_t)docker_witness_folder(witness);
    json_array_foreach(names, i, item)
    {
        const char *name = json_string_value(item);
        size_t hash = name && strncmp(name, "/cs-", 4) == 0 ? strlen(name + 4) : 0;

        if (hash > 0 && n >= hash && strncmp(witness + n - hash, name + 4, hash) == 0)
            return true;
    }
    return false;
}

void docker_witness_look(struct docker_task *t, docker_done *done)
{
    char path[DOCKER_PATH_MAX], query[DOCKER_PATH_MAX] = "path=", folder[DOCKER_WITNESS_MAX];
    struct docker_call call = {.method = "GET", .path = path};

    if (docker_witness_has_volume(t->witness)) {
        snprintf(folder, sizeof(folder), "%.*s", docker_witness_folder(t->witness), t->witness);
        percent_append(query, sizeof(query), folder); /* it fits: a witness is short */
        call.query = query;
    }
    snprintf(path, sizeof(path), "/containers/%.*s/%s", DOCKER_ID_MAX, t->task.q.id,
             call.query ? "archive" : "changes");
    docker_send(t, &call, done);
}

/* In a container that is there the root and the folder of the witness are; the folder of the host that it mounts is not. */
bool docker_unmountable(const struct docker_reply *reply)
{
    return reply->status == 404 && strstr(reply->text, "Could not find the file");
}

int docker_witness_seen(const struct docker_task *t, const struct docker_reply *reply, bool *ret)
{
    char folder[DOCKER_WITNESS_MAX];

    *ret = false;
    if (!docker_witness_has_volume(t->witness)) {
        *ret = docker_changes_hold(reply->json, t->witness);
        /* No changes are null. What is no list proves nothing, least of all that the witness is not there. */
        return reply->status == 200 && !json_is_array(reply->json) && !json_is_null(reply->json)
                   ? 500
                   : reply->status;
    }
    if (docker_unmountable(reply))
        return 500;
    if (reply->status != 200)
        return reply->status;
    snprintf(folder, sizeof(folder), "%.*s", docker_witness_folder(t->witness), t->witness);
    *ret = docker_archive_holds(reply->body, reply->size, t->witness + 1);
    return docker_archive_holds(reply->body, reply->size, folder + 1) ? 200 : 500;
}
