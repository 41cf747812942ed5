/* What an engine's configuration allows its jobs, judged on the request that goes to the engine: whatever key of the job
 * led to it. Pure.
 *
 * Without `allow` everything goes but `privileged`. With it a list that is left out allows nothing of its kind, but that
 * any image and any user goes. What is compared is text: where a container's own files decide what a text means (a
 * user's name), or the engine's (a volume's name), the list is as good as these.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/path.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define IMAGE_MAX 600 /* of job_keys.h, and what is put in front */

static int refuse(struct error *error, const char *key, const char *text)
{
    return error_set(error, ERR_DENIED, "%s: '%.200s' is not allowed by the engine's configuration", key,
                     text);
}

static bool is_listed(const json_t *list, const char *text)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (strcmp(json_string_value(item), text) == 0) return true;
    return false;
}

/* ---- images ---- */

/* REGISTRY/REPOSITORY with what the engine puts in where it is left out; *ret_version: the rest, ":TAG" or "@DIGEST",
 * or "". */
static void image_name(const char *image, char ret[IMAGE_MAX], const char **ret_version)
{
    const char *slash = strchr(image, '/'), *last = strrchr(image, '/'), *digest = strchr(image, '@');
    const char *colon = strchr(last ? last : image, ':');
    size_t host = slash ? (size_t)(slash - image) : 0, n;
    bool registry = slash && (memchr(image, '.', host) || memchr(image, ':', host) ||
                              (host == 9 && strncmp(image, "localhost", 9) == 0));

    *ret_version = digest && (!colon || digest < colon) ? digest : colon;
    if (!*ret_version)
        *ret_version = image + strlen(image);
    n = (size_t)(*ret_version - image);
    if (registry && host == 15 && strncmp(image, "index.docker.io", 15) == 0) { /* the same one */
        image += 6;
        n -= 6;
        host -= 6;
    }
    if (!registry)
        snprintf(ret, IMAGE_MAX, "docker.io/%s%.*s", slash ? "" : "library/", (int)n, image);
    else if (host == 9 && strncmp(image, "docker.io", 9) == 0 && !memchr(slash + 1, '/', n - host - 1))
        snprintf(ret, IMAGE_MAX, "docker.io/library/%.*s", (int)(n - host - 1), image + host + 1);
    else
        snprintf(ret, IMAGE_MAX, "%.*s", (int)n, image);
}

/* Which the engine may take for the beginning of an image's id, of whatever registry. */
static bool may_be_id(const char *image)
{
    size_t prefix = strncmp(image, "sha256:", 7) == 0 ? 7 : 0;

    return strspn(image + prefix, "0123456789abcdef") == strlen(image + prefix);
}

static bool image_matches(const char *entry, const char *image)
{
    char wanted[IMAGE_MAX], is[IMAGE_MAX];
    const char *wanted_version, *version;
    size_t n;

    if (strcmp(entry, image) == 0)
        return true;
    if (may_be_id(image))
        return false;
    image_name(entry, wanted, &wanted_version);
    image_name(image, is, &version);
    n = strlen(wanted);
    if (n > 1 && wanted[n - 1] == '*')
        return strncmp(wanted, is, n - 1) == 0;
    return strcmp(wanted, is) == 0 && (!*wanted_version || strcmp(wanted_version, version) == 0);
}

static int judge_image(const json_t *allow, const json_t *image, struct error *error)
{
    const json_t *list = json_object_get(allow, "images"), *entry;
    const char *text = json_string_value(image);
    size_t i;

    if (!list)
        return 0;
    json_array_foreach(list, i, entry) if (image_matches(json_string_value(entry), text)) return 0;
    return refuse(error, "image", text);
}

/* ---- folders and volumes ---- */

static bool is_below_one(const json_t *folders, const char *path)
{
    const json_t *folder;
    size_t i;

    json_array_foreach(folders, i, folder) if (path_is_below(path, json_string_value(folder))) return true;
    return false;
}

/* Volumes, by name. */
static int judge_binds(const json_t *allow, const json_t *binds, struct error *error)
{
    const json_t *list = json_object_get(allow, "volumes"), *bind;
    size_t i;

    json_array_foreach(binds, i, bind)
    {
        const char *text = json_string_value(bind);
        json_t *name = json_stringn(text, strcspn(text, ":"));
        bool allowed = name && *text != '/' && is_listed(list, json_string_value(name));

        json_decref(name);
        if (!allowed)
            return refuse(error, "volumes", text);
    }
    return 0;
}

/* Folders and files of the host. */
static int judge_mounts(const json_t *allow, const json_t *mounts, struct error *error)
{
    const json_t *list = json_object_get(allow, "volumes"), *mount;
    size_t i;

    json_array_foreach(mounts, i, mount)
    {
        const char *source = json_string_value(json_object_get(mount, "Source"));

        if (!source || !is_below_one(list, source))
            return refuse(error, "volumes", source ? source : "");
    }
    return 0;
}

static int judge_devices(const json_t *allow, const json_t *devices, struct error *error)
{
    const json_t *list = json_object_get(allow, "devices"), *device;
    size_t i;

    json_array_foreach(devices, i, device)
    {
        const char *path = json_string_value(json_object_get(device, "PathOnHost"));

        if (!is_listed(list, path))
            return refuse(error, "devices", path);
    }
    return 0;
}

/* ---- rights ---- */

static int judge_network(const json_t *allow, const json_t *network, struct error *error)
{
    static const char *const own[] = {"", "default", "bridge", "none"};
    const char *text = json_string_value(network);

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(text, own[i]) == 0)
            return 0;
    return is_listed(json_object_get(allow, "networks"), text) ? 0 : refuse(error, "network", text);
}

static const char *capability_name(const char *text)
{
    return strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;
}

static int judge_capabilities(const json_t *allow, const json_t *added, struct error *error)
{
    const json_t *list = json_object_get(allow, "capabilities"), *item, *entry;
    size_t i, k;

    json_array_foreach(added, i, item)
    {
        const char *text = json_string_value(item);
        bool listed = false;

        json_array_foreach(list, k, entry)
        {
            const char *name = capability_name(json_string_value(entry));

            listed |= strcasecmp(name, capability_name(text)) == 0 || strcasecmp(name, "ALL") == 0;
        }
        if (!listed)
            return refuse(error, "cap_add", text);
    }
    return 0;
}

static int judge_security_opt(const json_t *allow, const json_t *options, struct error *error)
{
    static const char *const tighter[] = {"no-new-privileges", "no-new-privileges:true",
                                          "no-new-privileges=true"};
    const json_t *list = json_object_get(allow, "security_opt"), *item;
    size_t i;

    json_array_foreach(options, i, item)
    {
        const char *text = json_string_value(item);
        bool fine = is_listed(list, text);

        for (size_t k = 0; k < sizeof(tighter) / sizeof(tighter[0]); k++)
            fine |= strcmp(text, tighter[k]) == 0;
        if (!fine)
            return refuse(error, "security_opt", text);
    }
    return 0;
}

static int judge_groups(const json_t *allow, const json_t *groups, struct error *error)
{
    const json_t *list = json_object_get(allow, "groups"), *item;
    size_t i;

    if (!list && !json_object_get(allow, "users"))
        return 0;
    json_array_foreach(groups, i, item) if (!is_listed(list, json_string_value(item))) return refuse(
        error, "group_add", json_string_value(item));
    return 0;
}

/* A job that names no user is whoever its image says, root for one. */
static int judge_user(const json_t *allow, const json_t *user, struct error *error)
{
    const json_t *users = json_object_get(allow, "users"), *groups = json_object_get(allow, "groups");
    const char *text = user ? json_string_value(user) : "", *colon = strchr(text, ':');
    json_t *name;
    bool fine;

    if ((!users && (!groups || !colon)) || is_listed(users, text))
        return 0;
    if (!*text)
        return error_set(error, ERR_DENIED, "user: the engine's configuration lists users: name one of them");
    name = json_stringn(text, strcspn(text, ":"));
    fine = name && colon && (!users || is_listed(users, json_string_value(name))) &&
           is_listed(groups, colon + 1);
    json_decref(name);
    return fine ? 0 : refuse(error, "user", text);
}

static int judge_privileged(const json_t *allow, const json_t *privileged, struct error *error)
{
    if (!json_is_true(privileged) || json_is_true(json_object_get(allow, "privileged")))
        return 0;
    return error_set(error, ERR_DENIED, "privileged: the engine's configuration does not allow it");
}

/* ---- the whole ---- */

/* Every key that this engine writes; NULL: it takes nothing from the host. */
static const struct {
    const char *key;
    int (*judge)(const json_t *allow, const json_t *value, struct error *error);
} host_keys[] = {
    {"AutoRemove", NULL},
    {"Binds", judge_binds},
    {"CapAdd", judge_capabilities},
    {"CapDrop", NULL},
    {"Devices", judge_devices},
    {"Dns", NULL},
    {"ExtraHosts", NULL},
    {"GroupAdd", judge_groups},
    {"Init", NULL},
    {"LogConfig", NULL},
    {"Memory", NULL},
    {"Mounts", judge_mounts},
    {"NanoCpus", NULL},
    {"NetworkMode", judge_network},
    {"PidsLimit", NULL},
    {"Privileged", judge_privileged},
    {"ReadonlyRootfs", NULL},
    {"RestartPolicy", NULL},
    {"SecurityOpt", judge_security_opt},
    {"ShmSize", NULL},
    {"Tmpfs", NULL},
    {"Ulimits", NULL},
};

static int judge_host_key(const json_t *allow, const char *key, const json_t *value, struct error *error)
{
    for (size_t i = 0; i < sizeof(host_keys) / sizeof(host_keys[0]); i++)
        if (strcmp(host_keys[i].key, key) == 0)
            return host_keys[i].judge ? host_keys[i].judge(allow, value, error) : 0;
    return refuse(error, "HostConfig", key); /* a new one, of which nobody has thought here */
}

int docker_allow_check(const json_t *allow, const json_t *body, struct error *error)
{
    json_t *host = json_object_get(body, "HostConfig"), *value;
    const char *key;
    int r;

    if (!allow)
        return judge_privileged(NULL, json_object_get(host, "Privileged"), error);
    r = judge_image(allow, json_object_get(body, "Image"), error);
    if (r == 0)
        r = judge_user(allow, json_object_get(body, "User"), error);
    json_object_foreach(host, key, value) if (r == 0) r = judge_host_key(allow, key, value, error);
    return r;
}
