/* What was learnt of the servers from their answers: why they refuse writes, how long writes take, which servers the
 * ensemble says that it has. See zookeeper.h, struct zookeeper_report.
 *
 * A refusal stands until a write that makes a node succeeds, or for ZOOKEEPER_REFUSED_MS: one that replaces data by as
 * many (a heartbeat) says nothing about a quota. It is logged when it begins, changes and ends.
 */
#include "leader/zookeeper/zookeeper_priv.h"

#include <stdio.h>

static void refused(struct zookeeper *zk, int rc)
{
    struct zookeeper_learnt *l = &zk->learnt;
    char answer[ZOOKEEPER_ANSWER_TEXT], text[ZOOKEEPER_ANSWER_TEXT + 64];
    bool stands = l->refused == rc && uv_now(zk->loop) - l->refused_ms < ZOOKEEPER_REFUSED_MS;

    assert(zookeeper_answer_class(rc) == ZOOKEEPER_REFUSED);
    l->refusals++;
    l->refused = rc;
    l->refused_ms = uv_now(zk->loop);
    if (stands)
        return;
    snprintf(text, sizeof(text), "the servers refuse writes: %s", zookeeper_answer_text(rc, answer));
    zookeeper_say(zk, LOG_WARN, "zookeeper-refuses", text);
}

static void took(struct zookeeper_learnt *l, uint64_t now_ms, int64_t us)
{
    uint64_t age = now_ms - l->window_ms;

    if (age >= ZOOKEEPER_WORST_MS) {
        l->worst_us[1] = age < UINT64_C(2) * ZOOKEEPER_WORST_MS ? l->worst_us[0] : 0;
        l->worst_us[0] = 0;
        l->window_ms = now_ms;
    }
    if (us > l->worst_us[0])
        l->worst_us[0] = us;
    assert(l->worst_us[0] >= us);
}

void zookeeper_learn_answer(struct zookeeper *zk, int rc, bool creates, int64_t took_us)
{
    struct zookeeper_learnt *l = &zk->learnt;

    zookeeper_check_invariants(zk);
    if (zookeeper_answer_result(rc) != COORD_LOST)
        took(l, uv_now(zk->loop), took_us);
    if (zookeeper_answer_class(rc) == ZOOKEEPER_REFUSED) {
        refused(zk, rc);
    } else if (rc == ZOK && creates && l->refused) {
        l->refused = 0;
        zookeeper_say(zk, LOG_NOTE, "zookeeper-accepts", "the servers take writes again");
    }
}

void zookeeper_report(const struct coord *coord, struct zookeeper_report *ret)
{
    const struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
    const struct zookeeper_learnt *l = &zk->learnt;
    uint64_t now = uv_now(zk->loop), age = now - l->window_ms;

    *ret = (struct zookeeper_report){.refusals = l->refusals,
                                     .losses = l->losses,
                                     .request_max = coord->request_max,
                                     .timeout_ms = zk->granted_ms};
    if (l->refused && now - l->refused_ms < ZOOKEEPER_REFUSED_MS)
        zookeeper_answer_text(l->refused, ret->refused);
    if (age < UINT64_C(2) * ZOOKEEPER_WORST_MS)
        ret->worst_write_us = l->worst_us[0];
    if (age < ZOOKEEPER_WORST_MS && l->worst_us[1] > l->worst_us[0])
        ret->worst_write_us = l->worst_us[1];
    ret->users = zk->users.count > 0;
    snprintf(ret->others, sizeof(ret->others), "%s", zk->others);
    snprintf(ret->config, sizeof(ret->config), "%s", l->config);
}
