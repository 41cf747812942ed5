/* Requests of the coordinator over libzookeeper, see zookeeper_priv.h. The happy path: checked, given to the
 * library (which sends at once what the socket takes), on `outstanding` until its completion, which answers.
 * A watching get is two calls in one breath, exists and get: exists also watches what is not there.
 *
 * Failures:
 * - not connected, or the library does not take it: COORD_LOST, in a later turn. zoo_amulti frees what it
 *   never had when the handle is dead or a path is bad, so neither ever reaches it.
 * - too large, too many, an invalid path: COORD_FAILED, in a later turn, and so perhaps before the
 *   answers of requests made earlier.
 * - the connection breaks: the library completes all with an error, in order: COORD_LOST.
 * - a server answers anything else: what it means is in zookeeper_answer.h. Where the outcome is not known, or the
 *   session is another connection's by now: COORD_LOST, and the connection goes.
 * - at close the owner is answered first; the library's completions then find nobody, on whichever thread.
 */
#include "leader/zookeeper/zookeeper_priv.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG_PATH "/zookeeper/config"

struct request {
    struct object object;
    struct list link;
    struct zookeeper *zk; /* NULL: abandoned */
    coord_done *done;     /* NULL: the making of the cluster's node */
    void *arg;
    size_t bytes;
    size_t wire;      /* at most; of a write */
    uint64_t sent_ns; /* a write; 0: not one */
    bool creates;
    enum coord_result result; /* while due */
    const char *text;
    bool has_stat;
    struct Stat stat; /* of the last set in a multi */
    size_t count;
    zoo_op_result_t results[];
};

static struct request *request_new(struct zookeeper *zk, size_t count, coord_done *done, void *arg)
{
    struct request *r = OBJECT_NEW_SIZE(struct request, sizeof(*r) + count * sizeof(r->results[0]));

    r->zk = zk;
    r->done = done;
    r->arg = arg;
    r->count = count;
    list_init(&r->link);
    return r;
}

/* ---- answers ---- */

static struct coord_stat stat_of(const struct Stat *stat)
{
    return (struct coord_stat){
        .version = stat->version, .owner = stat->ephemeralOwner, .mtime_ms = stat->mtime};
}

/* Off the lists: an answer is on its way. */
static void forget(struct request *r)
{
    assert(r->zk->requests > 0 && r->zk->bytes >= r->bytes);
    list_remove(&r->link);
    r->zk->requests--;
    r->zk->bytes -= r->bytes;
    r->zk = NULL;
}

/* What a server's answer, or the library's for want of one, means beyond the one request. */
static void learn(struct zookeeper *zk, const struct request *r, int rc)
{
    zookeeper_check_invariants(zk);
    if (r->sent_ns)
        zookeeper_learn_answer(zk, rc, r->creates, (int64_t)((uv_hrtime() - r->sent_ns) / 1000));
    if (zookeeper_answer_result(rc) != COORD_LOST)
        return;
    if (r->wire > zk->limit.lost)
        zk->limit.lost = r->wire;
    if (!zk->broken && zk->handle && zoo_state(zk->handle) == ZOO_CONNECTED_STATE)
        zk->answer = rc; /* its own word: the connection stands */
    zk->broken = true;   /* also then: all that follows is as uncertain */
}

static void answer(struct request *r, struct coord_reply *reply, int rc)
{
    struct zookeeper *zk = r->zk;
    char text[ZOOKEEPER_ANSWER_TEXT];

    assert(r->done);
    reply->result = zookeeper_answer_result(rc);
    reply->text = zookeeper_answer_text(rc, text);
    learn(zk, r, rc);
    zk->answers++;
    forget(r);
    r->done(r->arg, reply);
    OBJECT_FREE(struct request, r);
}

static void answer_later(struct request *r, enum coord_result result, const char *text)
{
    assert(r->done && result != COORD_OK);
    r->result = result;
    r->text = text;
    r->bytes = 0; /* never among those under way */
    r->zk->requests++;
    list_append(&r->zk->due, &r->link);
    zookeeper_due(r->zk);
}

void zookeeper_answer_due(struct zookeeper *zk)
{
    struct list now;

    zookeeper_check_invariants(zk);
    list_init(&now);
    while (!list_empty(&zk->due)) {
        struct list *link = zk->due.next;

        list_remove(link);
        list_append(&now, link);
    }
    while (!list_empty(&now)) {
        struct request *r = LIST_ITEM(now.next, struct request, link);
        struct coord_reply reply = {.result = r->result, .text = r->text};

        forget(r);
        r->done(r->arg, &reply);
        OBJECT_FREE(struct request, r);
    }
}

void zookeeper_abandon(struct zookeeper *zk)
{
    zookeeper_check_invariants(zk);
    while (!list_empty(&zk->outstanding)) {
        struct request *r = LIST_ITEM(zk->outstanding.next, struct request, link);
        struct coord_reply reply = {.result = COORD_LOST, .text = "closing"};

        forget(r);
        if (r->done)
            r->done(r->arg, &reply);
    }
}

/* ---- before a request is made ---- */

bool zookeeper_path_valid(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *p = path; *p == '/';) {
        const char *name = p + 1;
        size_t n = strcspn(name, "/");

        if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++)
            if (name[i] <= ' ' || name[i] > '~')
                return false;
        p = name + n;
    }
    return true;
}

static bool path_usable(const char *path)
{
    return zookeeper_path_valid(path) && strlen(path) < COORD_PATH_MAX;
}

static void full_path(const struct zookeeper *zk, const char *path, char *ret, size_t size)
{
    int n = snprintf(ret, size, "%s%s", zk->root, path);

    assert(n > 0 && (size_t)n < size); /* one that is cut names another node */
    (void)n;
}

/* What is wrong with a request of this size, or NULL. */
static const char *objection(const struct zookeeper *zk, size_t bytes)
{
    zookeeper_check_invariants(zk);
    if (bytes > COORD_DATA_MAX)
        return "too much data in one request";
    if (zk->requests >= ZOOKEEPER_REQUESTS_MAX || zk->bytes + bytes > ZOOKEEPER_BYTES_MAX)
        return "too many requests under way";
    return NULL;
}

static bool usable(const struct zookeeper *zk)
{
    zookeeper_check_invariants(zk);
    return zk->state == ZOOKEEPER_UP && !zk->broken && zoo_state(zk->handle) == ZOO_CONNECTED_STATE;
}

/* False: it is answered later, and not to be made. */
static bool may_send(struct request *r, const char *wrong)
{
    assert(r->zk && r->done);
    if (wrong)
        answer_later(r, COORD_FAILED, wrong);
    else if (!usable(r->zk))
        answer_later(r, COORD_LOST, "not connected");
    else
        return true;
    return false;
}

/* rc: what the library said to it. */
static void sent(struct request *r, int rc)
{
    struct zookeeper *zk = r->zk;

    zookeeper_check_invariants(zk);
    if (rc == ZOK) {
        zk->requests++;
        zk->bytes += r->bytes;
        list_append(&zk->outstanding, &r->link);
    } else {
        zk->broken = true;
        answer_later(r, COORD_LOST, zerror(rc));
    }
    zookeeper_touched(zk);
}

/* ---- watches ---- */

static struct zookeeper_watch *watch_find(struct zookeeper *zk, const char *path)
{
    zookeeper_check_invariants(zk);
    for (size_t i = 0; i < zk->watch_count; i++)
        if (strcmp(zk->watches[i].path, path) == 0)
            return &zk->watches[i];
    return NULL;
}

/* Noted when the request is made, not when it is answered: should that never be, a change said in vain does
 * no harm. */
static bool watch_add(struct zookeeper *zk, const char *path)
{
    if (watch_find(zk, path))
        return true;
    if (zk->watch_count == ZOOKEEPER_WATCHES_MAX)
        return false;
    assert(strlen(path) < COORD_PATH_MAX);
    snprintf(zk->watches[zk->watch_count++].path, COORD_PATH_MAX, "%s", path);
    return true;
}

static void on_watch(zhandle_t *handle, int type, int state, const char *path, void *arg)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, arg);
    struct zookeeper_watch *watch;
    struct zookeeper_watch spent;
    size_t root;

    assert(zk);
    root = strlen(zk->root);
    if (type == ZOO_SESSION_EVENT || zk->state != ZOOKEEPER_UP || zk->closing)
        return;
    if (!path || strncmp(path, zk->root, root) != 0)
        return;
    watch = watch_find(zk, path + root);
    if (!watch)
        return;
    spent = *watch;
    *watch = zk->watches[--zk->watch_count];
    zk->coord.events->changed(zk->coord.arg, spent.path);
}

void zookeeper_fire_watches(struct zookeeper *zk)
{
    struct zookeeper_watch spent[ZOOKEEPER_WATCHES_MAX];
    size_t count = zk->watch_count;

    zookeeper_check_invariants(zk);
    memcpy(spent, zk->watches, count * sizeof(spent[0]));
    zk->watch_count = 0;
    for (size_t i = 0; i < count && !zk->closing; i++)
        zk->coord.events->changed(zk->coord.arg, spent[i].path);
}

/* ---- reading ---- */

/* With a NUL behind it, which the library does not give. */
static void on_data(int rc, const char *value, int size, const struct Stat *stat, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct coord_reply reply = {0};
    struct zookeeper *zk = r->zk;

    if (!zk) {
        OBJECT_FREE(struct request, r);
        return;
    }
    if (rc == ZOK) {
        reply.size = size > 0 ? (size_t)size : 0;
        if (reply.size + 1 > zk->buffer_size) {
            zk->buffer = alloc_resize(zk->buffer, reply.size + 1);
            zk->buffer_size = reply.size + 1;
        }
        if (reply.size > 0)
            memcpy(zk->buffer, value, reply.size);
        zk->buffer[reply.size] = '\0';
        reply.data = zk->buffer;
        reply.stat = stat_of(stat);
    }
    answer(r, &reply, rc);
}

/* The library has noted the watch; whether the node is there is what the get behind it answers. */
static void on_exists(int rc, const struct Stat *stat, const void *arg)
{
}

static void zookeeper_get(struct coord *coord, const char *path, bool watch, coord_done *done, void *arg)
{
    struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
    struct request *r = request_new(zk, 0, done, arg);
    char full[ZOOKEEPER_ROOT_MAX + COORD_PATH_MAX];
    const char *wrong = path_usable(path) ? objection(zk, 0) : "not a path";
    int rc = ZOK;

    if (!wrong && watch && !watch_add(zk, path))
        wrong = "too many watches";
    if (!may_send(r, wrong))
        return;
    full_path(zk, path, full, sizeof(full));
    zookeeper_inside = zk;
    if (watch)
        rc = zoo_awexists(zk->handle, full, on_watch, zk, on_exists, NULL);
    if (rc == ZOK)
        rc = zoo_aget(zk->handle, full, 0, on_data, r);
    sent(r, rc);
}

static void on_children(int rc, const struct String_vector *names, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct coord_reply reply = {0};

    if (!r->zk) {
        OBJECT_FREE(struct request, r);
        return;
    }
    if (rc == ZOK) {
        reply.names = (const char *const *)names->data;
        reply.name_count = (size_t)names->count;
    }
    answer(r, &reply, rc);
}

static void zookeeper_children(struct coord *coord, const char *path, bool watch, coord_done *done, void *arg)
{
    struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
    struct request *r = request_new(zk, 0, done, arg);
    char full[ZOOKEEPER_ROOT_MAX + COORD_PATH_MAX];
    const char *wrong = path_usable(path) ? objection(zk, 0) : "not a path";

    if (!wrong && watch && !watch_add(zk, path))
        wrong = "too many watches";
    if (!may_send(r, wrong))
        return;
    full_path(zk, path, full, sizeof(full));
    zookeeper_inside = zk;
    if (watch)
        sent(r, zoo_awget_children(zk->handle, full, on_watch, zk, on_children, r));
    else
        sent(r, zoo_awget_children(zk->handle, full, NULL, NULL, on_children, r));
}

/* ---- writing ---- */

struct access {
    struct ACL entry;
    struct ACL_vector list;
};

/* What a node that is made gets: the first user's alone. Returns a pointer into `access`, or to a constant. */
static const struct ACL_vector *access_of(struct zookeeper *zk, struct access *access)
{
    static char scheme[] = "digest";

    zookeeper_check_invariants(zk);
    if (zk->users.count == 0 || zk->creates_open)
        return &ZOO_OPEN_ACL_UNSAFE;
    access->entry = (struct ACL){.perms = ZOO_PERM_ALL, .id = {scheme, zk->users.items[0].id}};
    access->list = (struct ACL_vector){1, &access->entry};
    return &access->list;
}

/* The library's verdict is that of the first that failed; but it takes one error for none. */
static int verdict(const struct request *r, int rc)
{
    assert(!r->zk || r->count > 0);
    for (size_t i = 0; rc == ZOK && i < r->count; i++)
        rc = r->results[i].err;
    return rc;
}

static void on_multi(int rc, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct coord_reply reply = {0};

    if (!r->zk) {
        OBJECT_FREE(struct request, r);
        return;
    }
    rc = verdict(r, rc);
    if (rc == ZOK && r->has_stat)
        reply.stat = stat_of(&r->stat);
    answer(r, &reply, rc);
}

static void op_init(struct request *r, const struct coord_op *op, const char *path,
                    const struct ACL_vector *access, zoo_op_t *ret)
{
    int flags = op->kind == COORD_CREATE_EPHEMERAL ? ZOO_EPHEMERAL : 0;

    assert(path[0] == '/');
    switch (op->kind) {
    case COORD_CHECK:
        zoo_check_op_init(ret, path, op->version);
        break;
    case COORD_CREATE:
    case COORD_CREATE_EPHEMERAL:
        zoo_create_op_init(ret, path, op->data, (int)op->size, access, flags, NULL, 0);
        break;
    case COORD_SET:
        zoo_set_op_init(ret, path, op->data, (int)op->size, op->version, &r->stat);
        r->has_stat = true;
        break;
    case COORD_DELETE:
        zoo_delete_op_init(ret, path, op->version);
        break;
    }
}

static const char *multi_objection(const struct zookeeper *zk, const struct coord_op *ops, size_t count,
                                   size_t *ret_bytes)
{
    size_t bytes = 0, most = zk->coord.request_max;

    zookeeper_check_invariants(zk);
    if (count == 0 || count > COORD_OPS_MAX)
        return "no operation, or too many";
    for (size_t i = 0; i < count; i++) {
        if (!path_usable(ops[i].path))
            return "not a path";
        if (ops[i].size > COORD_DATA_MAX)
            return "too much data in one request";
        bytes += ops[i].size;
    }
    *ret_bytes = bytes;
    if (most && bytes + count * COORD_OP_BYTES > most)
        return "larger than jute.maxbuffer of the servers";
    return objection(zk, bytes);
}

/* The library copies everything but the places for results. */
static void zookeeper_multi(struct coord *coord, const struct coord_op *ops, size_t count, coord_done *done,
                            void *arg)
{
    struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
    struct request *r = request_new(zk, count, done, arg);
    char(*paths)[ZOOKEEPER_ROOT_MAX + COORD_PATH_MAX];
    struct access access;
    zoo_op_t *made;

    if (!may_send(r, multi_objection(zk, ops, count, &r->bytes)))
        return;
    paths = alloc_zero(count * sizeof(*paths));
    made = alloc_zero(count * sizeof(*made));
    r->wire = r->bytes + count * COORD_OP_BYTES;
    r->sent_ns = uv_hrtime();
    for (size_t i = 0; i < count; i++) {
        r->creates |= ops[i].kind == COORD_CREATE || ops[i].kind == COORD_CREATE_EPHEMERAL;
        full_path(zk, ops[i].path, paths[i], sizeof(paths[i]));
        op_init(r, &ops[i], paths[i], access_of(zk, &access), &made[i]);
    }
    zookeeper_inside = zk;
    sent(r, zoo_amulti(zk->handle, (int)count, made, r->results, on_multi, r));
    free(made);
    free(paths);
}

/* ---- the cluster's own node ---- */

/* Whether it could be made matters only when it is not there: a parent can be closed to us, or it exists. */
static void on_root_made(int rc, const char *path, const void *arg)
{
    OBJECT(struct zookeeper, arg)->root_rc = rc;
}

static void on_root(int rc, const char *value, int size, const struct Stat *stat, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct zookeeper *zk = r->zk;

    if (zk) {
        zk->answers++;
        forget(r);
        zookeeper_prepared(zk, rc == ZNONODE ? zk->root_rc : rc);
    }
    OBJECT_FREE(struct request, r);
}

static void on_parent(int rc, const char *path, const void *arg)
{
}

/* A create is a write even when the node exists, so what is read behind it is fresh; and the node itself is read, which
 * a password can forbid. */
void zookeeper_prepare_root(struct zookeeper *zk)
{
    struct request *r = request_new(zk, 0, NULL, NULL);
    char path[ZOOKEEPER_ROOT_MAX];
    struct access access;
    int rc = ZOK;

    assert(zk->state == ZOOKEEPER_PREPARING && zk->handle);
    zk->creates_open = false; /* until it is known that the node is there, and open */
    zookeeper_inside = zk;
    for (size_t end = 1; zk->root[end] && rc == ZOK; end++) {
        if (zk->root[end] != '/')
            continue;
        snprintf(path, sizeof(path), "%.*s", (int)end, zk->root);
        rc = zoo_acreate(zk->handle, path, "", 0, access_of(zk, &access), 0, on_parent, NULL);
    }
    if (rc == ZOK)
        rc = zoo_acreate(zk->handle, zk->root, "", 0, access_of(zk, &access), 0, on_root_made, zk);
    if (rc == ZOK)
        rc = zoo_aget(zk->handle, zk->root, 0, on_root, r);
    if (rc != ZOK) {
        zk->broken = true;
        OBJECT_FREE(struct request, r);
    } else {
        zk->requests++;
        list_append(&zk->outstanding, &r->link);
    }
    zookeeper_touched(zk);
}

/* ---- about the servers ---- */

/* To be called at once after the library was given the request. */
static void sent_own(struct request *r, int rc)
{
    struct zookeeper *zk = r->zk;

    zookeeper_check_invariants(zk);
    if (rc == ZOK) {
        zk->requests++;
        list_append(&zk->outstanding, &r->link);
    } else {
        zk->broken = true;
        OBJECT_FREE(struct request, r);
    }
    zookeeper_touched(zk);
}

static void on_probe(int rc, const struct Stat *stat, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct zookeeper *zk = r->zk;

    if (zk) {
        forget(r);
        zk->answers++;
        zookeeper_probed(zk, rc == ZOK || rc == ZNONODE);
    }
    OBJECT_FREE(struct request, r);
}

bool zookeeper_send_probe(struct zookeeper *zk, size_t bytes)
{
    struct request *r = request_new(zk, 0, NULL, NULL);
    char *path = alloc_bytes(bytes + 1);
    int rc;

    assert(zk->state == ZOOKEEPER_PREPARING && bytes > 1);
    memset(path, 'x', bytes);
    path[0] = '/';
    path[bytes] = '\0';
    zookeeper_inside = zk;
    rc = zoo_aexists(zk->handle, path, 0, on_probe, r);
    free(path);
    sent_own(r, rc);
    return rc == ZOK;
}

static void on_config_changed(zhandle_t *handle, int type, int state, const char *path, void *arg)
{
    struct zookeeper *zk = OBJECT(struct zookeeper, arg);

    if (type != ZOO_SESSION_EVENT && zk->state == ZOOKEEPER_UP && !zk->closing && zk->handle == handle)
        zookeeper_read_config(zk);
}

/* It may be closed to us; then nothing is known. */
static void on_config(int rc, const char *value, int size, const struct Stat *stat, const void *arg)
{
    struct request *r = OBJECT(struct request, arg);
    struct zookeeper *zk = r->zk;
    int n = rc == ZOK && size > 0 ? size : 0;

    if (zk) {
        forget(r);
        zk->answers++;
        if (zookeeper_answer_result(rc) != COORD_LOST)
            snprintf(zk->learnt.config, sizeof(zk->learnt.config), "%.*s", n, value ? value : "");
    }
    OBJECT_FREE(struct request, r);
}

void zookeeper_read_config(struct zookeeper *zk)
{
    struct request *r = request_new(zk, 0, NULL, NULL);

    assert(zk->state == ZOOKEEPER_UP);
    zookeeper_inside = zk;
    sent_own(r, zoo_awget(zk->handle, CONFIG_PATH, on_config_changed, zk, on_config, r));
}

/* ---- access lists ---- */

struct list_request {
    struct object object;
    struct request *request; /* counted as any other */
    bool is_root;
    char path[COORD_PATH_MAX];
};

/* A node that is not there is nobody's. One whose list is closed to us is somebody else's. */
static void take_list(struct zookeeper *zk, const struct list_request *l, int rc,
                      const struct ACL_vector *list)
{
    char who[ZOOKEEPER_ACCESS_TEXT] = "others";

    assert(zk->lists_awaited > 0);
    if (l->is_root && rc == ZOK)
        zk->root_open = zookeeper_access_is_open(list);
    if (rc == ZNONODE || zk->others[0] || (rc == ZOK && zookeeper_access_is_ours(list, &zk->users, who)))
        return;
    snprintf(zk->others, sizeof(zk->others), "%s is open to %s", l->path, who);
}

static void on_list(int rc, struct ACL_vector *list, struct Stat *stat, const void *arg)
{
    struct list_request *l = OBJECT(struct list_request, arg);
    struct request *r = l->request;
    struct zookeeper *zk = r->zk;

    if (zk) {
        forget(r);
        zk->answers++;
        if (zookeeper_answer_result(rc) == COORD_LOST) {
            zk->broken = true;
        } else {
            take_list(zk, l, rc, list);
            if (--zk->lists_awaited == 0)
                zookeeper_access_read(zk);
        }
    }
    OBJECT_FREE(struct request, r);
    OBJECT_FREE(struct list_request, l);
}

static void read_list(struct zookeeper *zk, const char *path)
{
    struct list_request *l = OBJECT_NEW(struct list_request);
    char full[ZOOKEEPER_ROOT_MAX + COORD_PATH_MAX];
    int rc;

    l->request = request_new(zk, 0, NULL, NULL);
    l->is_root = !*path;
    snprintf(l->path, sizeof(l->path), "%s", *path ? path : "the cluster's node");
    snprintf(full, sizeof(full), "%s%s", zk->root, path);
    zookeeper_inside = zk;
    rc = zoo_aget_acl(zk->handle, full, on_list, l);
    zk->lists_awaited++;
    sent_own(l->request, rc);
    if (rc != ZOK)
        OBJECT_FREE(struct list_request, l);
}

void zookeeper_read_access(struct zookeeper *zk)
{
    zookeeper_check_invariants(zk);
    zk->lists_awaited = 0;
    zk->others[0] = '\0';
    zk->root_open = false;
    read_list(zk, "");
    for (size_t i = 0; zk->guarded && zk->guarded[i]; i++)
        read_list(zk, zk->guarded[i]);
}

/* ---- the table ---- */

static const char *zookeeper_status(const struct coord *coord)
{
    return OBJECT_OF(struct zookeeper, coord, coord)->status;
}

const struct coord_ops zookeeper_ops = {
    .get = zookeeper_get,
    .children = zookeeper_children,
    .multi = zookeeper_multi,
    .status = zookeeper_status,
    .close = zookeeper_end,
};
