#include "leader/zookeeper/zookeeper_secure.h"

#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

#define PATH_BYTES 1024

struct session {
    struct object object;
    const struct zookeeper_secure_options *o;
    struct zookeeper_secure_result *result;
    struct error *error;
    zhandle_t *handle;
    bool answered;
    int rc; /* of the last answer */
    char who[ZOOKEEPER_ACCESS_TEXT];
    bool is_ours;
    char **names; /* children; the caller's */
    size_t name_count;
};

/* ---- one request at a time ---- */

/* The library's turn: it connects, sends, receives and calls back in there. */
static int turn(struct session *s, int64_t left_ms)
{
    struct timeval tv = {0};
    int fd = -1, want = 0, events = 0, rc = zookeeper_interest(s->handle, &fd, &want, &tv);
    int64_t wait_ms = (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1;
    struct pollfd p = {.fd = fd};

    assert(!s->answered && left_ms > 0);
    if (rc != ZOK && rc != ZCONNECTIONLOSS && rc != ZOPERATIONTIMEOUT)
        return rc;
    p.events = want & ZOOKEEPER_READ ? POLLIN : 0;
    if (want & ZOOKEEPER_WRITE)
        p.events |= POLLOUT;
    if (poll(&p, fd >= 0, (int)(wait_ms < left_ms ? wait_ms : left_ms)) > 0) {
        events |= p.revents & (POLLIN | POLLHUP | POLLERR) ? ZOOKEEPER_READ : 0;
        events |= p.revents & POLLOUT ? ZOOKEEPER_WRITE : 0;
    }
    rc = zookeeper_process(s->handle, events);
    return rc == ZNOTHING || rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT ? ZOK : rc;
}

/* Until the answer is there; `sent` is what the library said to the request. Returns the answer's code. */
static int await(struct session *s, int sent)
{
    int64_t until_ms = clock_mono_ms() + ZOOKEEPER_SECURE_MS, left_ms;

    while (sent == ZOK && !s->answered && (left_ms = until_ms - clock_mono_ms()) > 0)
        sent = turn(s, left_ms);
    if (sent == ZOK)
        sent = s->answered ? s->rc : ZOPERATIONTIMEOUT;
    s->answered = false;
    return sent;
}

static void answer(struct session *s, int rc)
{
    s->rc = rc;
    s->answered = true;
}

static void on_session(zhandle_t *handle, int type, int state, const char *path, void *arg)
{
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE)
        answer(OBJECT(struct session, arg), ZOK);
}

static void on_void(int rc, const void *arg)
{
    answer(OBJECT(struct session, arg), rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *arg)
{
    answer(OBJECT(struct session, arg), rc);
}

static void on_list(int rc, struct ACL_vector *list, struct Stat *stat, const void *arg)
{
    struct session *s = OBJECT(struct session, arg);
    struct zookeeper_users first = {.items = {s->o->users->items[0]}, .count = 1};

    if (rc == ZOK)
        s->is_ours = zookeeper_access_is_ours(list, &first, s->who);
    zookeeper_users_forget(&first);
    answer(s, rc);
}

static void on_children(int rc, const struct String_vector *names, const void *arg)
{
    struct session *s = OBJECT(struct session, arg);

    s->names = NULL;
    s->name_count = 0;
    if (rc == ZOK) {
        s->names = alloc_zero(((size_t)names->count + 1) * sizeof(*s->names));
        for (int32_t i = 0; i < names->count; i++)
            s->names[s->name_count++] = alloc_text(names->data[i]);
    }
    answer(s, rc);
}

/* ---- the tree ---- */

static int failed(struct session *s, int rc, const char *what, const char *path)
{
    assert(rc != ZOK);
    return error_set(s->error, rc == ZNOAUTH ? ERR_DENIED : ERR_IO, "%s of %s: %s", what, path, zerror(rc));
}

static int close_node(struct session *s, const char *path)
{
    static char scheme[] = "digest";
    struct ACL entry = {.perms = ZOO_PERM_ALL, .id = {scheme, (char *)(uintptr_t)s->o->users->items[0].id}};
    struct ACL_vector list = {1, &entry};

    assert(s->o->change);
    return await(s, zoo_aset_acl(s->handle, path, -1, &list, on_void, s));
}

/* One node. *ret_below: it can be entered. */
static int visit(struct session *s, const char *path, bool *ret_below)
{
    const char *below = path + strlen(s->o->node);
    int rc = await(s, zoo_aget_acl(s->handle, path, on_list, s));

    assert(strncmp(path, s->o->node, strlen(s->o->node)) == 0);
    *ret_below = rc == ZOK;
    if (rc == ZNONODE)
        return 0;
    s->result->nodes++;
    if (rc == ZOK && s->is_ours)
        return 0;
    if (rc == ZOK) {
        s->result->foreign++;
        s->o->tell(s->o->arg, *below ? below : "/", s->who);
        rc = s->o->change ? close_node(s, path) : ZOK;
    }
    if (rc == ZNOAUTH) {
        s->result->denied++;
        s->o->tell(s->o->arg, *below ? below : "/", "users that are not in the file alone");
        *ret_below = false;
        return 0;
    }
    return rc == ZOK || rc == ZNONODE ? 0 : failed(s, rc, "access list", path);
}

/* From above: once a node is closed nobody else can make another one below it. */
static int walk(struct session *s, const char *path)
{
    char **names, child[PATH_BYTES];
    size_t count;
    bool below;
    int r = visit(s, path, &below), rc;

    if (r < 0 || !below)
        return r;
    rc = await(s, zoo_aget_children(s->handle, path, 0, on_children, s));
    if (rc != ZOK)
        return rc == ZNONODE || rc == ZNOAUTH ? 0 : failed(s, rc, "children", path);
    names = s->names;
    count = s->name_count;
    for (size_t i = 0; i < count; i++) {
        if (r == 0 && snprintf(child, sizeof(child), "%s/%s", path, names[i]) < (int)sizeof(child))
            r = walk(s, child);
        free(names[i]);
    }
    free(names);
    return r;
}

static int replace_data(struct session *s)
{
    char path[PATH_BYTES];
    int rc;

    if (!s->o->change || !s->o->path || s->result->denied > 0)
        return 0;
    snprintf(path, sizeof(path), "%s%s", s->o->node, s->o->path);
    rc = await(s, zoo_aset(s->handle, path, s->o->data, (int)strlen(s->o->data), -1, on_stat, s));
    return rc == ZOK || rc == ZNONODE ? 0 : failed(s, rc, "data", path);
}

static int secure(struct session *s)
{
    const struct zookeeper_users *users = s->o->users;
    int rc = await(s, ZOK); /* the session */

    assert(users->count > 0 && users->count <= ZOOKEEPER_USERS_MAX);
    if (rc != ZOK)
        return error_set(s->error, ERR_UNREACHABLE, "ZooKeeper at %s: %s", s->o->servers, zerror(rc));
    for (size_t i = 0; i < users->count; i++) {
        const char *credential = users->items[i].credential;

        rc = await(s, zoo_add_auth(s->handle, "digest", credential, (int)strlen(credential), on_void, s));
        if (rc != ZOK)
            return error_set(s->error, ERR_DENIED, "ZooKeeper at %s: %s", s->o->servers, zerror(rc));
    }
    rc = await(s, zoo_aexists(s->handle, s->o->node, 0, on_stat, s));
    if (rc == ZNONODE)
        return error_set(s->error, ERR_NOT_FOUND, "ZooKeeper has no node %s", s->o->node);
    if (rc != ZOK)
        return failed(s, rc, "existence", s->o->node);
    rc = walk(s, s->o->node);
    return rc < 0 ? rc : replace_data(s);
}

int zookeeper_secure(const struct zookeeper_secure_options *options, struct zookeeper_secure_result *ret,
                     struct error *error)
{
    struct session s = {.object = OBJECT_MARK(struct session), .o = options, .result = ret, .error = error};
    int r;

    *ret = (struct zookeeper_secure_result){.nodes = 0};
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    s.handle = zookeeper_init(options->servers, on_session, ZOOKEEPER_SECURE_MS, NULL, &s, 0);
    if (!s.handle)
        return error_set(error, ERR_UNREACHABLE, "ZooKeeper at %s: %s", options->servers, strerror(errno));
    r = secure(&s);
    zookeeper_close(s.handle);
    return r;
}
