#include "leader/zookeeper/zookeeper_access.h"

#include "jobs/base/hash.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

/* ---- the file ---- */

static void make_id(struct zookeeper_user *user)
{
    char base64[HASH_SHA1_BASE64], name[sizeof(user->credential)];

    snprintf(name, sizeof(name), "%s", user->credential);
    name[strcspn(name, ":")] = '\0';
    snprintf(user->id, sizeof(user->id), "%s:%s", name,
             hash_sha1_base64(user->credential, strlen(user->credential), base64));
}

static int parse_user(const char *line, size_t n, int number, struct zookeeper_user *ret, struct error *error)
{
    const char *colon = memchr(line, ':', n);

    if (!colon || colon == line || colon + 1 == line + n || n >= sizeof(ret->credential))
        return error_set(error, ERR_INVALID, "line %d must be USER:PASSWORD, of up to %zu bytes", number,
                         sizeof(ret->credential) - 1);
    for (size_t i = 0; i < n; i++)
        if (line[i] == ' ' || line[i] == '\t' || line[i] == '\v' || line[i] == '\f')
            return error_set(error, ERR_INVALID, "line %d has a blank, which would be a part of the password",
                             number);
    snprintf(ret->credential, sizeof(ret->credential), "%.*s", (int)n, line);
    make_id(ret);
    assert(strchr(ret->id, ':'));
    return 0;
}

int zookeeper_users_parse(const char *text, struct zookeeper_users *ret, struct error *error)
{
    int number = 1, r = 0;

    *ret = (struct zookeeper_users){.count = 0};
    for (size_t n; *text && r == 0; text += n + (text[n] != '\0'), number++) {
        size_t end;

        n = strcspn(text, "\n");
        end = n > 0 && text[n - 1] == '\r' ? n - 1 : n;
        if (end == 0)
            continue;
        if (ret->count == ZOOKEEPER_USERS_MAX)
            r = error_set(error, ERR_LIMIT, "more than %d users", ZOOKEEPER_USERS_MAX);
        else
            r = parse_user(text, end, number, &ret->items[ret->count++], error);
    }
    if (r == 0 && ret->count == 0)
        r = error_set(error, ERR_INVALID, "its first line must be USER:PASSWORD");
    if (r < 0)
        zookeeper_users_forget(ret);
    assert((r == 0) == (ret->count > 0));
    return r;
}

const char *zookeeper_users_weakness(const struct zookeeper_users *users)
{
    assert(users->count <= ZOOKEEPER_USERS_MAX);
    for (size_t i = 0; i < users->count; i++) {
        const char *credential = users->items[i].credential, *password = strchr(credential, ':') + 1;

        if (strlen(password) < ZOOKEEPER_PASSWORD_GOOD)
            return "a password has less than 16 characters: whoever reaches ZooKeeper can try them all";
        if (strncmp(credential, password, (size_t)(password - credential) - 1) == 0)
            return "a password begins with the user's name";
    }
    return NULL;
}

void zookeeper_users_forget(struct zookeeper_users *users)
{
    explicit_bzero(users, sizeof(*users));
}

/* ---- access lists ---- */

static bool is_everybody(const struct Id *id)
{
    return strcmp(id->scheme, "world") == 0;
}

static bool is_user(const struct Id *id, const struct zookeeper_users *users)
{
    assert(users->count <= ZOOKEEPER_USERS_MAX);
    for (size_t i = 0; i < users->count; i++)
        if (strcmp(id->scheme, "digest") == 0 && strcmp(id->id, users->items[i].id) == 0)
            return true;
    return false;
}

bool zookeeper_access_is_ours(const struct ACL_vector *list, const struct zookeeper_users *users,
                              char who[ZOOKEEPER_ACCESS_TEXT])
{
    assert(users->count > 0 && users->count <= ZOOKEEPER_USERS_MAX);
    for (int32_t i = 0; i < list->count; i++) {
        const struct ACL *entry = &list->data[i];

        if (entry->perms == 0 || is_user(&entry->id, users))
            continue;
        if (is_everybody(&entry->id))
            snprintf(who, ZOOKEEPER_ACCESS_TEXT, "everybody");
        else /* what is behind the colon is made of a password */
            snprintf(who, ZOOKEEPER_ACCESS_TEXT, "%s user %.*s", entry->id.scheme,
                     (int)strcspn(entry->id.id, ":"), entry->id.id);
        return false;
    }
    return true;
}

bool zookeeper_access_is_open(const struct ACL_vector *list)
{
    for (int32_t i = 0; i < list->count; i++)
        if (list->data[i].perms == ZOO_PERM_ALL && is_everybody(&list->data[i].id))
            return true;
    return false;
}
