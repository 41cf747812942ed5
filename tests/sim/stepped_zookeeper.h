/* A ZooKeeper that moves only when told to, one request at a time, so that a test can put any order of events
 * between several replicas: a seat is one replica's connection. A request is executed and, perhaps later, answered.
 * A seat that lags reads an older tree, until it writes, connects or catches up.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "tests/sim/znodes.h"

#include <assert.h>
#include <stdio.h>

#define SEATS_MAX    4
#define SESSION_MS   10000
#define WATCHES_MAX  8
#define CHILDREN_MAX 1024

struct seat;

struct zoo {
    struct znodes tree;
    int64_t now_ms, sessions;
    int64_t ahead_ms; /* its wall clock, of now_ms */
    struct seat *seats[SEATS_MAX];
    size_t count;
    uint64_t writes; /* multis that were carried out */
};

enum ask_kind { ASK_GET, ASK_CHILDREN, ASK_MULTI, ASK_CHANGED };

struct ask {
    struct list link;
    enum ask_kind kind;
    bool watch, executed;
    struct coord_reply reply; /* once it is executed; owns its data and names */
    char path[COORD_PATH_MAX];
    struct coord_op *ops;
    size_t count;
    coord_done *done;
    void *arg;
};

struct seat {
    struct coord coord;
    struct zoo *zoo;
    bool connected, closed, lags;
    int64_t session;  /* 0: none */
    int64_t seen;     /* the transaction up to which its server is */
    struct list asks; /* oldest first; watches that went off are put behind what is executed */
    char watches[WATCHES_MAX][COORD_PATH_MAX], child_watches[WATCHES_MAX][COORD_PATH_MAX];
    void (*gone)(void *arg);
    void *gone_arg;
};

static inline struct ask *ask_new(struct seat *s, enum ask_kind kind, coord_done *done, void *arg)
{
    struct ask *a = alloc_zero(sizeof(*a));

    a->kind = kind;
    a->done = done;
    a->arg = arg;
    list_append(&s->asks, &a->link);
    return a;
}

static inline void ask_free(struct ask *a)
{
    list_remove(&a->link);
    for (size_t i = 0; i < a->count; i++) {
        free((void *)(uintptr_t)a->ops[i].path);
        free((void *)(uintptr_t)a->ops[i].data);
    }
    for (size_t i = 0; i < a->reply.name_count; i++)
        free((void *)(uintptr_t)a->reply.names[i]);
    free((void *)(uintptr_t)a->reply.names);
    free((void *)(uintptr_t)a->reply.data);
    free(a->ops);
    free(a);
}

/* ---- the table ---- */

static inline void seat_read(struct coord *coord, enum ask_kind kind, const char *path, bool watch,
                             coord_done *done, void *arg)
{
    struct ask *a = ask_new((struct seat *)(void *)coord, kind, done, arg);

    a->watch = watch;
    snprintf(a->path, sizeof(a->path), "%s", path);
}

static inline void seat_get(struct coord *coord, const char *path, bool watch, coord_done *done, void *arg)
{
    seat_read(coord, ASK_GET, path, watch, done, arg);
}

static inline void seat_children(struct coord *coord, const char *path, bool watch, coord_done *done,
                                 void *arg)
{
    seat_read(coord, ASK_CHILDREN, path, watch, done, arg);
}

static inline void seat_multi(struct coord *coord, const struct coord_op *ops, size_t count, coord_done *done,
                              void *arg)
{
    struct ask *a = ask_new((struct seat *)(void *)coord, ASK_MULTI, done, arg);
    size_t bytes = 0;

    assert(count <= COORD_OPS_MAX);
    a->ops = alloc_zero(count * sizeof(*ops));
    for (a->count = 0; a->count < count; a->count++) {
        char *data = alloc_zero(ops[a->count].size + 1);

        if (ops[a->count].size)
            memcpy(data, ops[a->count].data, ops[a->count].size);
        a->ops[a->count] = ops[a->count];
        a->ops[a->count].path = alloc_text(ops[a->count].path);
        a->ops[a->count].data = data;
        bytes += ops[a->count].size;
    }
    assert(bytes <= COORD_DATA_MAX);
}

static inline const char *seat_status(const struct coord *coord)
{
    return ((const struct seat *)(const void *)coord)->connected ? "connected" : "not connected";
}

static inline void seat_close(struct coord *coord, void (*done)(void *arg), void *arg)
{
    struct seat *s = (struct seat *)(void *)coord;

    s->closed = true;
    s->gone = done;
    s->gone_arg = arg;
}

static const struct coord_ops seat_ops = {.get = seat_get,
                                          .children = seat_children,
                                          .multi = seat_multi,
                                          .status = seat_status,
                                          .close = seat_close};

/* ---- execution ---- */

static inline void watch_set(char (*watches)[COORD_PATH_MAX], const char *path)
{
    int spare = -1;

    for (int i = 0; i < WATCHES_MAX; i++) {
        if (strcmp(watches[i], path) == 0)
            return;
        if (!watches[i][0])
            spare = i;
    }
    assert(spare >= 0);
    snprintf(watches[spare], COORD_PATH_MAX, "%s", path);
}

/* Events come between the answers of what was executed before and of what is executed after. */
static inline void watch_spend(struct seat *s, char (*watches)[COORD_PATH_MAX], const char *path)
{
    for (int i = 0; i < WATCHES_MAX; i++)
        if (watches[i][0] && strcmp(watches[i], path) == 0) {
            struct ask *a = ask_new(s, ASK_CHANGED, NULL, NULL);
            struct list *next = s->asks.next;

            while (next != &a->link && LIST_ITEM(next, struct ask, link)->executed)
                next = next->next;
            a->executed = true;
            snprintf(a->path, sizeof(a->path), "%s", path);
            if (next != &a->link) {
                list_remove(&a->link);
                list_append(next, &a->link);
            }
            watches[i][0] = '\0';
        }
}

static inline void watches_spend(struct seat *s, const struct znode_txn *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct znode *node = t->changes[i].node;

        watch_spend(s, s->watches, node->path);
        if (t->changes[i].kind != ZNODE_CHANGED && node->parent)
            watch_spend(s, s->child_watches, node->parent->path);
    }
}

/* Its server is up to date now, and tells what that changes. */
static inline void seat_catch_up(struct seat *s)
{
    LIST_EACH(link, &s->zoo->tree.txns)
    {
        const struct znode_txn *t = LIST_ITEM(link, struct znode_txn, all);

        if (s->connected && t->zxid > s->seen)
            watches_spend(s, t);
    }
    s->seen = s->zoo->tree.zxid;
}

static inline void zoo_told(struct zoo *z)
{
    for (size_t n = 0; n < z->count; n++)
        if (z->seats[n]->connected && !z->seats[n]->lags)
            seat_catch_up(z->seats[n]);
}

static inline enum coord_result zoo_multi(struct seat *s, const struct ask *a, struct coord_stat *stat)
{
    const struct znode_txn *t = NULL;
    enum coord_result result = znodes_multi(&s->zoo->tree, a->ops, a->count, s->session,
                                            s->zoo->now_ms + s->zoo->ahead_ms, &t, stat);

    s->zoo->writes += result == COORD_OK;
    seat_catch_up(s); /* a write, even one that fails, is behind all that was written before */
    zoo_told(s->zoo);
    return result;
}

static inline void execute_get(struct seat *s, struct ask *a)
{
    const struct znode_version *v = znode_at(znodes_find(&s->zoo->tree, a->path), s->seen);
    char *data;

    a->reply.result = v ? COORD_OK : COORD_NO_NODE;
    if (a->watch)
        watch_set(s->watches, a->path);
    if (v) {
        data = alloc_zero(v->size + 1);
        memcpy(data, v->data, v->size);
        a->reply.data = data;
        a->reply.size = v->size;
        a->reply.stat = (struct coord_stat){v->version, v->owner, v->mtime_ms};
    }
}

static inline void execute_children(struct seat *s, struct ask *a)
{
    const struct znode *node = znodes_find(&s->zoo->tree, a->path);
    const char **names = alloc_zero(CHILDREN_MAX * sizeof(*names));

    a->reply.result = znode_at(node, s->seen) ? COORD_OK : COORD_NO_NODE;
    a->reply.names = names;
    if (a->watch)
        watch_set(s->child_watches, a->path);
    if (a->reply.result == COORD_OK)
        LIST_EACH(link, &node->children)
        {
            const struct znode *child = LIST_ITEM(link, struct znode, sibling);

            if (znode_at(child, s->seen)) {
                assert(a->reply.name_count < CHILDREN_MAX);
                names[a->reply.name_count++] = alloc_text(strrchr(child->path, '/') + 1);
            }
        }
}

/* The oldest request that is not executed yet. */
static inline struct ask *seat_next(struct seat *s)
{
    LIST_EACH(link, &s->asks)
    {
        if (!LIST_ITEM(link, struct ask, link)->executed)
            return LIST_ITEM(link, struct ask, link);
    }
    return NULL;
}

/* It is refused, as by a server that is overloaded, and not carried out. */
static inline void seat_refuse(struct seat *s)
{
    struct ask *a = seat_next(s);

    if (!a)
        return;
    a->reply = (struct coord_reply){.result = COORD_FAILED, .text = "throttled"};
    a->executed = true;
}

/* It is carried out; its answer stays on the way. False: there is none. */
static inline bool seat_execute(struct seat *s)
{
    struct ask *a = seat_next(s);

    if (!a)
        return false;
    if (a->kind == ASK_GET)
        execute_get(s, a);
    else if (a->kind == ASK_CHILDREN)
        execute_children(s, a);
    else
        a->reply.result = zoo_multi(s, a, &a->reply.stat);
    a->reply.text = a->reply.result == COORD_OK ? "" : "so it is";
    a->executed = true;
    return true;
}

/* Off the list first: who hears of it may ask more, or cut the line. */
static inline void ask_answer(struct ask *a, const struct coord_reply *reply)
{
    list_remove(&a->link);
    a->done(a->arg, reply);
    ask_free(a);
}

/* The oldest answer, or word of a change, arrives. False: there is none. */
static inline bool seat_answer(struct seat *s)
{
    struct ask *a = list_empty(&s->asks) ? NULL : LIST_ITEM(s->asks.next, struct ask, link);

    if (!s->connected || !a || !a->executed)
        return false;
    if (a->kind == ASK_CHANGED) {
        list_remove(&a->link);
        s->coord.events->changed(s->coord.arg, a->path);
        ask_free(a);
    } else {
        ask_answer(a, &a->reply);
    }
    return true;
}

/* The oldest thing outstanding of this seat: carried out and answered. False: there is none. */
static inline bool seat_step(struct seat *s)
{
    if (!s->connected || list_empty(&s->asks))
        return false;
    if (!LIST_ITEM(s->asks.next, struct ask, link)->executed)
        seat_execute(s);
    return seat_answer(s);
}

/* `executed` more requests are carried out, but no answer comes; the connection is gone. */
static inline void seat_cut(struct seat *s, size_t executed)
{
    struct list lost;

    while (executed > 0 && seat_execute(s))
        executed--;
    list_init(&lost);
    while (!list_empty(&s->asks)) {
        struct ask *a = LIST_ITEM(s->asks.next, struct ask, link);

        list_remove(&a->link);
        list_append(&lost, &a->link);
    }
    s->connected = false;
    while (!list_empty(&lost)) {
        struct ask *a = LIST_ITEM(lost.next, struct ask, link);

        if (a->kind == ASK_CHANGED)
            ask_free(a);
        else
            ask_answer(a, &(struct coord_reply){.result = COORD_LOST, .text = "connection lost"});
    }
    s->coord.events->lost(s->coord.arg, "cut");
    while (!list_empty(&s->asks)) /* made meanwhile: certainly not carried out */
        ask_answer(LIST_ITEM(s->asks.next, struct ask, link),
                   &(struct coord_reply){.result = COORD_LOST, .text = "not connected"});
}

/* What the coordinator does by itself: a write goes through first, and every watch is said to have gone off. */
static inline void seat_connect(struct seat *s)
{
    bool fresh = s->session == 0;
    char path[COORD_PATH_MAX];

    if (fresh) {
        s->session = ++s->zoo->sessions;
        memset(s->watches, 0, sizeof(s->watches));
        memset(s->child_watches, 0, sizeof(s->child_watches));
    }
    s->connected = true;
    s->seen = s->zoo->tree.zxid;
    s->coord.events->connected(s->coord.arg, s->session, SESSION_MS, fresh);
    for (int i = 0; i < 2 * WATCHES_MAX; i++) {
        char *watch = i < WATCHES_MAX ? s->watches[i] : s->child_watches[i - WATCHES_MAX];

        if (!watch[0])
            continue;
        snprintf(path, sizeof(path), "%s", watch);
        watch[0] = '\0';
        s->coord.events->changed(s->coord.arg, path);
    }
}

/* The ensemble ends the session; this seat does not know it yet. */
static inline void seat_session_ends(struct seat *s)
{
    znodes_end_session(&s->zoo->tree, s->session);
    s->session = 0;
    zoo_told(s->zoo);
}

/* And learns it. */
static inline void seat_learns_expiry(struct seat *s)
{
    if (s->connected)
        seat_cut(s, 0);
    s->coord.events->expired(s->coord.arg, "session expired");
}

static inline void seat_finish_close(struct seat *s)
{
    while (!list_empty(&s->asks)) {
        struct ask *a = LIST_ITEM(s->asks.next, struct ask, link);

        if (a->kind == ASK_CHANGED)
            ask_free(a);
        else
            ask_answer(a, &(struct coord_reply){.result = COORD_LOST, .text = "closing"});
    }
    if (s->session)
        seat_session_ends(s);
    s->connected = false;
    s->gone(s->gone_arg);
}
