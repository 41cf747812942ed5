#include "cronsched/engines/process/supervise_user.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ENTRY_BYTES     (64 * 1024)        /* at first: a group may have many members, */
#define ENTRY_BYTES_MAX (64 * 1024 * 1024) /* and so many bytes of them at most */
#define GROUPS_ROOM_MAX (128 * 1024)

/* All digits: an id, within uid_t and not the "no change" of chown. */
static bool to_id(const char *s, unsigned *ret)
{
    unsigned long v;
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    v = strtoul(s, &end, 10);
    if (*end || errno || v >= UINT_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

struct buffer {
    char *data;
    size_t size;
};

/* Larger, when the database has said ERANGE. */
static bool grow(struct buffer *b)
{
    size_t size = b->size ? b->size * 4 : ENTRY_BYTES;
    char *data = size <= ENTRY_BYTES_MAX ? realloc(b->data, size) : NULL;

    if (!data)
        return false;
    b->data = data;
    b->size = size;
    return true;
}

static void from_entry(struct supervise_user *u, const struct passwd *entry)
{
    u->uid = entry->pw_uid;
    u->gid = entry->pw_gid;
    snprintf(u->name, sizeof(u->name), "%s", entry->pw_name);
    snprintf(u->home, sizeof(u->home), "%s", entry->pw_dir && *entry->pw_dir ? entry->pw_dir : "/");
}

static int find_user(const char *s, bool group_given, struct supervise_user *u, struct buffer *b,
                     struct error *error)
{
    struct passwd entry, *found = NULL;
    unsigned id = 0;
    bool number = to_id(s, &id);
    int r;

    do
        r = number ? getpwuid_r(id, &entry, b->data, b->size, &found)
                   : getpwnam_r(s, &entry, b->data, b->size, &found);
    while (r == ERANGE && grow(b));
    if (found)
        from_entry(u, found);
    else if (number && group_given)
        u->uid = id;
    else if (number)
        return error_set(error, ERR_NOT_FOUND,
                         "user: '%s' has no entry; give its group as well: \"%s:GROUP\"", s, s);
    else if (r != 0 && r != ENOENT && r != ESRCH)
        return error_set(error, ERR_IO, "user: cannot look up '%s': %s", s, strerror(r));
    else
        return error_set(error, ERR_NOT_FOUND, "user: there is no user '%s' here", s);
    return 0;
}

static int find_group(const char *s, gid_t *ret, struct buffer *b, struct error *error)
{
    struct group entry, *found = NULL;
    unsigned id;
    int r;

    if (to_id(s, &id)) {
        *ret = id;
        return 0;
    }
    do
        r = getgrnam_r(s, &entry, b->data, b->size, &found);
    while (r == ERANGE && grow(b));
    if (found) {
        *ret = found->gr_gid;
        return 0;
    }
    if (r != 0 && r != ENOENT && r != ESRCH)
        return error_set(error, ERR_IO, "user: cannot look up the group '%s': %s", s, strerror(r));
    return error_set(error, ERR_NOT_FOUND, "user: there is no group '%s' here", s);
}

static int find(const char *user, struct supervise_user *u, struct buffer *b, struct error *error)
{
    char name[256];
    const char *colon = strchr(user, ':');
    size_t n = colon ? (size_t)(colon - user) : strlen(user);
    int r;

    if (n == 0 || n >= sizeof(name) || (colon && !colon[1]))
        return error_set(error, ERR_INVALID, "user: '%.256s' is neither USER nor USER:GROUP", user);
    memcpy(name, user, n);
    name[n] = '\0';
    r = find_user(name, colon != NULL, u, b, error);
    return r == 0 && colon ? find_group(colon + 1, &u->gid, b, error) : r;
}

/* Now, and not after the start: the group database may be a network away as well. */
static int find_groups(struct supervise_user *u, struct error *error)
{
    int room = 64, n;

    if (!u->change || !u->name[0])
        return 0;
    do {
        n = room;
        free(u->groups);
        u->groups = malloc((size_t)room * sizeof(*u->groups));
        if (!u->groups)
            return error_set(error, ERR_NOMEM, "out of memory");
        room *= 2;
    } while (getgrouplist(u->name, u->gid, u->groups, &n) < 0 && room <= GROUPS_ROOM_MAX);
    u->group_count = (size_t)n;
    return 0;
}

int supervise_user_find(const char *user, struct supervise_user *ret, struct error *error)
{
    struct supervise_user u = {.uid = geteuid(), .gid = getegid(), .home = "/"};
    struct passwd entry, *found = NULL;
    struct buffer b = {0};
    int r = 0;

    if (!grow(&b))
        return error_set(error, ERR_NOMEM, "out of memory");
    if (*user)
        r = find(user, &u, &b, error);
    else if (getpwuid_r(u.uid, &entry, b.data, b.size, &found) == 0 && found) {
        from_entry(&u, found);
        u.gid = getegid();
    }
    free(b.data);
    if (r < 0)
        return r;
    u.change = *user && (geteuid() == 0 || u.uid != geteuid() || u.gid != getegid());
    if (u.change && geteuid() != 0)
        return error_set(
            error, ERR_DENIED,
            "user: '%s' is not the user that cronsched runs as; to change that it has to run as root", user);
    r = find_groups(&u, error);
    if (r == 0)
        *ret = u;
    return r;
}

void supervise_user_release(struct supervise_user *user)
{
    free(user->groups);
    user->groups = NULL;
    user->group_count = 0;
}

int supervise_user_become(const struct supervise_user *user)
{
    if (!user->change)
        return 0;
    if ((user->groups ? setgroups(user->group_count, user->groups) : setgroups(1, &user->gid)) < 0)
        return -errno;
    if (setresgid(user->gid, user->gid, user->gid) < 0 || setresuid(user->uid, user->uid, user->uid) < 0)
        return -errno;
    return 0;
}

static bool has(char **env, const char *name)
{
    size_t n = strlen(name);

    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return true;
    return false;
}

char **supervise_user_environment(char **env, const struct supervise_user *user, const char *mark,
                                  char **ret_memory)
{
    const struct {
        const char *name, *value;
    } defaults[] = {{"PATH", DEFAULT_PATH},
                    {"HOME", user->home},
                    {"USER", user->name},
                    {"LOGNAME", user->name},
                    {ATTEMPT_WORK_VARIABLE, mark}};
    const size_t count = sizeof(defaults) / sizeof(*defaults);
    size_t n = 0, bytes = 0;
    char **list, *memory, *at;

    while (env[n])
        n++;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(defaults[i].name) + strlen(defaults[i].value) + 2;
    list = calloc(n + count + 1, sizeof(*list));
    at = memory = malloc(bytes);
    if (!list || !memory) {
        free(list);
        free(memory);
        return NULL;
    }
    memcpy(list, env, n * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        if (!*defaults[i].value || has(env, defaults[i].name))
            continue;
        list[n++] = at;
        at += snprintf(at, bytes - (size_t)(at - memory), "%s=%s", defaults[i].name, defaults[i].value) + 1;
    }
    *ret_memory = memory;
    return list;
}
