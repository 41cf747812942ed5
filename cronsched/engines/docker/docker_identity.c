/* The identity of an engine: a mark that the cluster leaves on it. Names, addresses and the engine's own id do not do:
 * the default socket is another engine on each machine, and machines that were cloned share the id.
 *
 * The mark is a volume, cronsched-CLUSTER-identity, whose label holds a random id. Whoever finds none makes it; the
 * engine creates a volume of one name once, and whoever comes second gets the first one's, so it is read again after.
 * A volume that nothing uses may be pruned: where containers of the cluster are still there, the mark is made again
 * as their label has it. What is left is an engine that has neither: it is another one.
 *
 * Read after each loss of the link, before the link counts as up; whenever something of ours is not found; and with
 * every probe, since an address may lead elsewhere from one connection to the next. Until it has been read nothing is
 * begun. An engine that does not permit it (a proxy that hides volumes) has no identity, and the status says why.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/percent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LABEL         "cronsched.identity"
#define ID_BYTES      16
#define ID_LENGTH_MAX 64

static void read_mark(struct docker *d);

/* ---- what was found ---- */

static void settle(struct docker *d, enum docker_identity_state state, const char *identity, const char *why)
{
    bool replaced = state == DOCKER_IDENTITY_KNOWN && d->identity[0] && strcmp(d->identity, identity) != 0;

    if (replaced) {
        d->boot_id[0] = '\0';
        docker_prepared_forget_all(d);
    }
    d->identity_state = state;
    snprintf(d->identity_why, sizeof(d->identity_why), "%s", why);
    if (state == DOCKER_IDENTITY_KNOWN)
        snprintf(d->identity, sizeof(d->identity), "%s", identity);
    d->identity_made = false;
    docker_link_identified(d, replaced);
}

static void unavailable(struct docker *d, const struct docker_reply *reply, const char *what)
{
    char why[sizeof(d->identity_why)];

    snprintf(why, sizeof(why), "%s: HTTP %d: %.100s", what, reply->status, reply->text);
    settle(d, DOCKER_IDENTITY_NONE, "", why);
}

static bool is_id(const char *s)
{
    return s && *s && strlen(s) <= ID_LENGTH_MAX && strspn(s, "0123456789abcdef") == strlen(s);
}

static const char *label_of(const json_t *labels)
{
    const char *s = json_string_value(json_object_get(labels, LABEL));

    return is_id(s) ? s : NULL;
}

/* No answer, or one that says that the engine is ill: the probe has failed. */
static bool failed(struct docker *d, const struct docker_reply *reply)
{
    if (!docker_lost(reply) && reply->status < 500)
        return false;
    docker_link_failed(d, reply);
    return true;
}

/* ---- requests ---- */

static void mark_name(const struct docker *d, char *ret, size_t size)
{
    snprintf(ret, size, "cronsched-%.64s-identity", d->host->cluster(d->host));
}

static void on_created(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    d->probe = NULL;
    if (failed(d, &reply)) {
        /* read again by the next probe */
    } else if (reply.status == 200 || reply.status == 201) {
        d->identity_made = true;
        read_mark(d); /* somebody else may have been first */
    } else {
        unavailable(d, &reply, "its mark cannot be made");
    }
    json_decref(json);
}

static void make_mark(struct docker *d, const char *known)
{
    unsigned char bytes[ID_BYTES];
    char name[128], id[ID_LENGTH_MAX + 1], path[64], *body;
    json_t *json;

    if (known) {
        snprintf(id, sizeof(id), "%s", known);
    } else {
        if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
            abort(); /* the kernel always has it once it runs */
        for (size_t i = 0; i < sizeof(bytes); i++)
            snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    }
    mark_name(d, name, sizeof(name));
    json = json_pack("{s:s, s:{s:s, s:s}}", "Name", name, "Labels", LABEL, id, "cronsched.cluster",
                     d->host->cluster(d->host));
    body = json_dumps(json, JSON_COMPACT);
    snprintf(path, sizeof(path), "%s/volumes/create", d->api);
    docker_link_ask(d, &(struct docker_call){.method = "POST", .path = path, .body = body}, on_created);
    free(body);
    json_decref(json);
}

/* A list that was asked for containers with an identity holds some, or is empty. Only the latter says that there are
 * none. */
static bool makes_sense(const json_t *list, struct docker_reply *reply)
{
    reply->text = "the list of its containers is invalid";
    return json_is_array(list) &&
           (json_array_size(list) == 0 || label_of(json_object_get(json_array_get(list, 0), "Labels")));
}

static void on_containers(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    d->probe = NULL;
    if (reply.status == 200 && !makes_sense(json, &reply))
        reply.complete = false;
    if (failed(d, &reply)) {
        /* read again by the next probe */
    } else if (reply.status == 200) {
        make_mark(d, label_of(json_object_get(json_array_get(json, 0), "Labels")));
    } else {
        unavailable(d, &reply, "its containers cannot be listed");
    }
    json_decref(json);
}

static void ask_containers(struct docker *d)
{
    char path[64], filters[256], query[1024] = "all=1&limit=1&filters=";

    snprintf(path, sizeof(path), "%s/containers/json", d->api);
    snprintf(filters, sizeof(filters), "{\"label\":[\"cronsched.cluster=%.64s\",\"" LABEL "\"]}",
             d->host->cluster(d->host));
    percent_append(query, sizeof(query), filters); /* it fits */
    docker_link_ask(d, &(struct docker_call){.method = "GET", .path = path, .query = query}, on_containers);
}

const char *docker_identity_of(const json_t *volume)
{
    return label_of(json_object_get(volume, "Labels"));
}

void docker_identity_path(const struct docker *d, char *ret, size_t size)
{
    char name[128];

    mark_name(d, name, sizeof(name));
    snprintf(ret, size, "/volumes/%s", name);
}

static void on_mark(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    const char *identity = docker_identity_of(json);

    d->probe = NULL;
    if (reply.status == 200 && !json_is_object(json)) {
        reply.complete = false;
        reply.text = "the answer to its mark is invalid";
    }
    if (failed(d, &reply)) {
        /* read again by the next probe */
    } else if (reply.status == 200 && identity) {
        settle(d, DOCKER_IDENTITY_KNOWN, identity, "");
    } else if (reply.status == 200) {
        reply.text = "it has no label " LABEL ": remove it";
        unavailable(d, &reply, "its mark is not ours");
    } else if (reply.status == 404 && !d->identity_made) {
        ask_containers(d);
    } else {
        unavailable(d, &reply, "its mark cannot be read");
    }
    json_decref(json);
}

static void read_mark(struct docker *d)
{
    char path[DOCKER_PATH_MAX], what[DOCKER_PATH_MAX - 32];

    docker_identity_path(d, what, sizeof(what));
    snprintf(path, sizeof(path), "%s%s", d->api, what);
    docker_link_ask(d, &(struct docker_call){.method = "GET", .path = path}, on_mark);
}

/* ---- for the others ---- */

void docker_identity_read(struct docker *d)
{
    if (d->host->cluster(d->host)[0])
        read_mark(d);
    else
        docker_link_identified(d, false); /* it is read once the cluster is known */
}

void docker_identity_doubt(struct docker *d)
{
    d->identity_state = DOCKER_IDENTITY_UNREAD;
    d->probe_soon(d);
}

bool docker_identity_differs(const struct docker *d, const struct docker_task *task, char *text, size_t size)
{
    return engine_is_another(d->identity_state == DOCKER_IDENTITY_KNOWN ? d->identity : NULL,
                             task->task.q.identity, text, size);
}
