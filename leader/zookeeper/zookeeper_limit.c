/* How much a server takes in one request. A server closes the connection on a request longer than its jute.maxbuffer,
 * without an answer, and would do so again and again.
 *
 * Happy path: the first connection, before the session is used: a probe of the largest size that is used -> taken:
 * there is no limit. The same later: a connection ends by the server's hand while a large request is under way -> the
 * size is suspected -> on the next connection a probe of that size: the question whether a node of a very
 * long name exists, which only the one server answers, without a write -> taken: the size was not the reason.
 * Closed again: half of it, on the next connection, until one is taken, and then between the two, to an eighth.
 * What was taken is the limit from then on: coord.request_max.
 *
 * Failures: a probe that is neither taken nor refused (no answer, the server stopped) is sent again; after
 * INCONCLUSIVE_MAX of these the search is given up. Servers with different limits: each that refuses makes the
 * limit smaller. A limit is looked for again at a connection ZOOKEEPER_LIMIT_AGAIN_MS later: somebody may have
 * raised it.
 */
#include "leader/zookeeper/zookeeper_priv.h"

#include <assert.h>
#include <stdio.h>

#define INCONCLUSIVE_MAX 3
#define LEAST_BYTES      (4 * 1024) /* nothing below is looked for */
#define MOST_BYTES       (COORD_DATA_MAX + COORD_OPS_MAX * COORD_OP_BYTES)

/* A probe belongs to a search; what is too much is more than what was taken. */
static void check_invariants(const struct zookeeper_limit *l)
{
    assert(l->suspect || (!l->probing && !l->passed && !l->failed));
    assert(!l->failed || l->passed < l->failed);
    assert(l->inconclusive < INCONCLUSIVE_MAX);
}

static void finish(struct zookeeper *zk, size_t most)
{
    struct zookeeper_limit *l = &zk->limit;
    char text[256];

    assert(l->suspect && !l->probing);
    if (most)
        snprintf(text, sizeof(text),
                 "jute.maxbuffer of the server %s is below %zu bytes: requests are at most %zu", zk->address,
                 l->failed, most);
    else
        snprintf(text, sizeof(text), "the server %s takes requests of any size that is used", zk->address);
    if (most != zk->coord.request_max)
        zookeeper_say(zk, most ? LOG_WARN : LOG_NOTE, "zookeeper-limit", text);
    zk->coord.request_max = most;
    l->suspect = l->passed = l->failed = 0;
    l->found_ms = uv_now(zk->loop);
}

/* 0: the search is over. */
static size_t next_size(const struct zookeeper_limit *l)
{
    check_invariants(l);
    if (!l->failed)
        return l->passed ? 0 : l->suspect;
    if (!l->passed)
        return l->failed / 2 < LEAST_BYTES ? 0 : l->failed / 2;
    return l->failed - l->passed > l->failed / 8 ? (l->failed + l->passed) / 2 : 0;
}

static void conclude(struct zookeeper *zk)
{
    struct zookeeper_limit *l = &zk->limit;

    assert(l->suspect && !l->probing);
    if (l->failed)
        finish(zk, l->passed ? l->passed : LEAST_BYTES);
    else if (l->passed == MOST_BYTES)
        finish(zk, 0);
    else
        l->suspect = l->passed = 0; /* the connection ended for another reason */
}

bool zookeeper_limit_probe(struct zookeeper *zk)
{
    struct zookeeper_limit *l = &zk->limit;
    size_t size;

    check_invariants(l);
    assert(!l->probing);
    if (!l->suspect && zk->coord.request_max && uv_now(zk->loop) - l->found_ms >= ZOOKEEPER_LIMIT_AGAIN_MS)
        l->looked = false;
    if (!l->suspect && !l->looked)
        l->suspect = MOST_BYTES;
    l->looked = true;
    if (!l->suspect)
        return false;
    size = next_size(l);
    if (size == 0) {
        conclude(zk);
        return false;
    }
    if (!zookeeper_send_probe(zk, size))
        return false;
    l->probing = size;
    return true;
}

void zookeeper_limit_answered(struct zookeeper *zk, bool taken)
{
    struct zookeeper_limit *l = &zk->limit;

    check_invariants(l);
    if (!taken || !l->probing)
        return;
    l->passed = l->probing;
    l->probing = 0;
    l->inconclusive = 0;
}

bool zookeeper_limit_dropped(struct zookeeper *zk, bool by_server)
{
    struct zookeeper_limit *l = &zk->limit;
    size_t lost = l->lost, probing = l->probing;

    check_invariants(l);
    l->lost = l->probing = 0;
    if (probing && by_server) {
        l->failed = probing;
        l->inconclusive = 0;
        return true;
    }
    if (probing) {
        if (++l->inconclusive >= INCONCLUSIVE_MAX)
            l->suspect = l->passed = l->failed = l->inconclusive = 0;
        return false;
    }
    if (by_server && !l->suspect && lost >= ZOOKEEPER_SUSPECT_BYTES)
        l->suspect = lost;
    return false;
}
