/* How fast the replicated journal is, beside what the bare ZooKeeper client gives on the same servers, all in one run.
 *
 *   ninja -C build-release tests/bench/bench_replicated
 *   tests/integration/zookeeper_servers.py build-release/tests/bench/bench_replicated [SECONDS [BYTES]]
 *
 * Each line is one kind of append of about BYTES (600) for SECONDS (3), on three servers:
 *   client     libzookeeper alone: the multi of one append (check of the epoch, create of the batch, set of head)
 *   journal    the journal over the coordinator, with so many appends in flight; it puts several into one multi
 *   firings    the journal, with batches of FIRINGS fire records
 */
#include "tests/support/journal_node.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

#define SESSION_MS 10000
#define ROOT_SIZE  64
#define OPS        3 /* of one append */
#define FIRINGS    128

static const char *servers;
static double seconds = 3;
static size_t bytes = 600;

static double now_s(void)
{
    return (double)uv_hrtime() / 1e9;
}

static void report(const char *name, double rate, double beside)
{
    printf("%-34s %9.0f /s", name, rate);
    if (beside > 0)
        printf("   %5.1f x the client's", rate / beside);
    printf("\n");
    fflush(stdout);
}

/* ---- the bare client ---- */

struct raw {
    zhandle_t *handle;
    char *data, root[ROOT_SIZE];
    uint64_t sent, done;
};

struct raw_append {
    struct raw *raw;
    char paths[OPS][ROOT_SIZE + 32];
    zoo_op_t ops[OPS];
    zoo_op_result_t results[OPS];
    struct Stat stat;
};

static void raw_turn(struct raw *r)
{
    struct timeval wait;
    struct pollfd p = {0};
    int want = 0, rc = zookeeper_interest(r->handle, &p.fd, &want, &wait);

    assert(rc == ZOK);
    p.events = (short)((want & ZOOKEEPER_READ ? POLLIN : 0) | (want & ZOOKEEPER_WRITE ? POLLOUT : 0));
    poll(&p, 1, (int)(wait.tv_sec * 1000 + wait.tv_usec / 1000));
    want = (p.revents & POLLIN ? ZOOKEEPER_READ : 0) | (p.revents & POLLOUT ? ZOOKEEPER_WRITE : 0);
    do
        rc = zookeeper_process(r->handle, want);
    while (rc == ZOK && want & ZOOKEEPER_READ);
    assert(rc == ZOK || rc == ZNOTHING);
}

static void on_made(int rc, const char *path, const void *arg)
{
    assert(rc == ZOK || rc == ZNODEEXISTS);
    ((struct raw *)(uintptr_t)arg)->done++;
}

static void on_appended(int rc, const void *arg)
{
    struct raw_append *a = (struct raw_append *)(uintptr_t)arg;

    assert(rc == ZOK);
    a->raw->done++;
    free(a);
}

static void raw_append(struct raw *r)
{
    struct raw_append *a = alloc_zero(sizeof(*a));

    a->raw = r;
    snprintf(a->paths[0], sizeof(a->paths[0]), "%s/epoch", r->root);
    snprintf(a->paths[1], sizeof(a->paths[1]), "%s/log/%010" PRIu64, r->root, r->sent);
    snprintf(a->paths[2], sizeof(a->paths[2]), "%s/head", r->root);
    zoo_check_op_init(&a->ops[0], a->paths[0], 0);
    zoo_create_op_init(&a->ops[1], a->paths[1], r->data, (int)bytes, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_set_op_init(&a->ops[2], a->paths[2], "1", 1, (int)r->sent, &a->stat);
    assert(zoo_amulti(r->handle, OPS, a->ops, a->results, on_appended, a) == ZOK);
    r->sent++;
}

static double bench_raw(uint64_t window)
{
    static const char *const nodes[] = {"", "/epoch", "/head", "/log"};
    struct raw r = {.data = alloc_zero(bytes)};
    double start, rate;
    char path[ROOT_SIZE + 32];

    memset(r.data, 'x', bytes);
    snprintf(r.root, sizeof(r.root), "/raw-%" PRIu64, window);
    r.handle = zookeeper_init(servers, NULL, SESSION_MS, NULL, NULL, 0);
    assert(r.handle);
    while (zoo_state(r.handle) != ZOO_CONNECTED_STATE)
        raw_turn(&r);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", r.root, nodes[i]);
        assert(zoo_acreate(r.handle, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, on_made, &r) == ZOK);
        while (r.done == i)
            raw_turn(&r);
    }
    r.done = 0;
    for (start = now_s(); now_s() - start < seconds;) {
        while (r.sent - r.done < window)
            raw_append(&r);
        raw_turn(&r);
    }
    while (r.done < r.sent)
        raw_turn(&r);
    rate = (double)r.done / (now_s() - start);
    zookeeper_close(r.handle);
    free(r.data);
    return rate;
}

/* ---- the journal ---- */

static struct batch *firings(struct owner *o)
{
    struct batch *b = batch_new(o->epoch, 1700000000000 + (int64_t)o->index);

    for (int i = 0; i < FIRINGS; i++) {
        struct record *r = batch_add(b, RECORD_FIRE);
        char run[64];

        snprintf(run, sizeof(run), "nightly-report-%d@20261122T030000Z", i);
        RECORD_TEXT(b, r, run, run);
        RECORD_INT(b, r, fire_ms, INT64_C(1795316400000));
        RECORD_INT(b, r, due_ms, INT64_C(1795316400000));
    }
    b->index = o->index + 1;
    memcpy(b->prev, o->hash, sizeof(b->prev));
    return b;
}

/* Appends a second. */
static double bench_journal(uint64_t window, bool firing)
{
    struct journal_node n;
    char cluster[32];
    double start, rate;

    snprintf(cluster, sizeof(cluster), "%s-%" PRIu64, firing ? "firings" : "journal", window);
    journal_node_open(&n, servers, cluster);
    for (start = now_s(); now_s() - start < seconds;) {
        uint64_t acked = n.owner.acked;

        while (n.owner.index - n.owner.acked < window)
            assert(owner_append_batch(&n.owner, firing ? firings(&n.owner)
                                                       : owner_batch_new(&n.owner, bytes - 100)) == 0);
        while (n.owner.acked == acked)
            uv_run(&n.owner.loop, UV_RUN_ONCE);
    }
    OWNER_UNTIL(&n.owner, n.owner.acked == n.owner.index);
    rate = (double)n.owner.acked / (now_s() - start);
    journal_node_close(&n);
    return rate;
}

int main(int argc, char **argv)
{
    static const uint64_t windows[] = {1, 16, 64, 256};
    double client = 0;
    char name[64];

    servers = getenv("ZOOKEEPER_SERVERS");
    if (argc > 1)
        seconds = strtod(argv[1], NULL);
    if (argc > 2)
        bytes = strtoul(argv[2], NULL, 10);
    if (!servers || seconds <= 0 || bytes < 200 || bytes > 200000) {
        fprintf(
            stderr,
            "usage: tests/integration/zookeeper_servers.py bench_replicated [SECONDS [BYTES]], BYTES from "
            "200 to 200000\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    printf("appends of %zu bytes to %s, %g s each\n", bytes, servers, seconds);
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        client = bench_raw(windows[i]);
        snprintf(name, sizeof(name), "client, %" PRIu64 " in flight", windows[i]);
        report(name, client, 0);
        snprintf(name, sizeof(name), "journal, %" PRIu64 " in flight", windows[i]);
        report(name, bench_journal(windows[i], false), client);
    }
    snprintf(name, sizeof(name), "firings, %d a batch, 16 in flight", FIRINGS);
    report(name, bench_journal(16, true) * FIRINGS, 0);
    return 0;
}
