/* Who else says that it leads this cluster.
 *
 * The epoch fences the leaders of one ensemble. Two ensembles with a copy of the same data have an epoch each, and in each
 * one somebody is elected. So replicas also tell one another over their links whether they lead or are elected, in which
 * epoch, and only while they can write: that is a claim. It lasts until its replica says otherwise, or its link is down.
 * A claim that is not of the leader which the tree here shows is an outside claim.
 *
 * - While there is one nobody campaigns, and a winner does not begin to lead. Members are asked again soon: in one
 *   ensemble it ends within milliseconds, when a leader learns that its leadership is over.
 * - A winner asks all members first. It says that it is elected before it asks. So of two winners at least one sees the
 *   other, and neither leads while it does.
 * - A claim that stands for CLAIM_SURE_MS, while own writes succeed and nothing that was read is older than it, is of
 *   another ensemble. Both sides compare the two claims in the same way (beats). The one that loses refuses to lead or to
 *   follow (guard.c); the other reports it.
 *
 * A replica that answers and is not a member in the tree here may also hold batches that this tree lacks, since it is
 * elsewhere. Its mark counts as a member's does if it is above the head, and it counts until somebody says otherwise:
 * this replica could have started before what that one knows.
 *
 * Failures: a member that does not answer cannot be asked, and does not stop anybody. Two parts of a network that cannot
 * reach one another, with an ensemble each, do not learn of one another.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- what is known ---- */

/* The lists are bounded, a question that is to be asked again is under way, and who loses says so for the reason that it
 * reports. */
static void check_invariants(const struct claims *k)
{
    assert(k->count <= CLAIMS_MAX && k->outsider_count <= REPLICATED_MEMBERS_MAX);
    assert(k->asking || !k->again);
    assert(k->other[0] || !k->refusal[0]);
}

static size_t claim_index(const struct claims *k, const char *id)
{
    size_t i = 0;

    while (i < k->count && strcmp(k->list[i].id, id) != 0)
        i++;
    return i;
}

static void drop(struct claims *k, size_t i)
{
    assert(i < k->count);
    k->list[i] = k->list[--k->count];
}

static void drop_id(struct claims *k, const char *id)
{
    size_t i = claim_index(k, id);

    check_invariants(k);
    if (i < k->count)
        drop(k, i);
}

/* It was not heard again in time, perhaps since nobody was asked: so it is not known to be over. */
static void drop_old(struct replicated *r)
{
    struct claims *k = &r->claims;
    uint64_t now = replicated_now_ms(r);

    check_invariants(k);
    for (size_t i = k->count; i-- > 0;)
        if (now - k->list[i].asked_ms > CLAIM_MS) {
            drop(k, i);
            k->asked = false;
        }
}

static bool is_of_this_tree(const struct replicated *r, const struct claim *c)
{
    return c->epoch == tree_epoch(r) && strcmp(c->nonce, r->tree.epoch_nonce) == 0 &&
           election_has_leader(r) && strcmp(r->tree.leader, c->id) == 0;
}

/* What this replica's side claims: itself, or the leader that the tree shows. False: nobody. */
static bool own_side(const struct replicated *r, struct claim *ret)
{
    bool leads = election_leads(r), elected = r->election.state == ELECTED;

    *ret = (struct claim){.base = r->tree.epoch_base, .epoch = tree_epoch(r), .role = REPLICATED_LEADER};
    memcpy(ret->nonce, r->tree.epoch_nonce, sizeof(ret->nonce));
    if (leads || elected) {
        ret->epoch = election_epoch(r);
        ret->role = leads ? REPLICATED_LEADER : REPLICATED_ELECTED;
        memcpy(ret->nonce, r->election.nonce, sizeof(ret->nonce));
    }
    assert(ret->role != REPLICATED_STANDBY && strlen(ret->nonce) < NONCE_SIZE);
    return leads || elected || election_has_leader(r);
}

/* Which of two goes on: both sides compute the same. The one that a person had go on (it raises the base) before others;
 * one that leads before one that is elected; then the older. */
static bool beats(const struct claim *a, const struct claim *b)
{
    if (a->base != b->base)
        return a->base > b->base;
    if (a->role != b->role)
        return a->role > b->role;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch;
    return strcmp(a->nonce, b->nonce) < 0;
}

/* An outside claim, the one that beats the others; NULL: there is none. */
static const struct claim *outside(const struct replicated *r)
{
    const struct claim *found = NULL;

    check_invariants(&r->claims);
    for (size_t i = 0; i < r->claims.count; i++) {
        const struct claim *c = &r->claims.list[i];

        if (!is_of_this_tree(r, c) && (!found || beats(c, found)))
            found = c;
    }
    return found;
}

/* ---- asking ---- */

static void ask_members(struct replicated *r)
{
    struct claims *k = &r->claims;
    uint64_t now = replicated_now_ms(r);

    check_invariants(k);
    if (k->asking || now < k->again_ms)
        return;
    if (r->election.state == ELECTED && claims_role(r) != REPLICATED_ELECTED)
        return; /* it could not be seen from there */
    k->again_ms = now + (k->since_ms && now - k->since_ms > CLAIM_SURE_MS ? CLAIM_AGAIN_MS : CLAIM_SOON_MS);
    k->asking = r->o.host->ask_members && r->o.host->ask_members(r->o.host->arg);
    k->asked |= !k->asking; /* there is nobody to ask */
}

void claims_elected(struct replicated *r)
{
    assert(r->election.state == ELECTED);
    r->claims.asked = false;
    r->claims.again = r->claims.asking;
    r->claims.again_ms = 0;
    ask_members(r);
}

void replicated_members_asked(struct journal *journal)
{
    struct replicated *r = replicated_of(journal);
    struct claims *k = &r->claims;

    check_invariants(&r->claims);
    if (!k->asking)
        return;
    k->asking = false;
    k->asked |= !k->again; /* begun before the election it says nothing */
    if (k->again) {
        k->again = false;
        k->again_ms = 0;
        ask_members(r);
    }
    replicated_pump(r);
}

bool claims_allow(struct replicated *r)
{
    const struct claim *c = outside(r);

    assert(r->election.state == FOLLOWING || r->election.state == ELECTED);
    if (r->election.state == ELECTED && claims_role(r) != REPLICATED_ELECTED)
        r->claims.asked = false; /* nobody sees that it is elected: once it has written again */
    if (!r->claims.asked || c)
        ask_members(r);
    /* what a person decided has to be said, for the other side to hear it */
    if (c && c->base < r->tree.epoch_base && r->election.state == FOLLOWING)
        c = NULL;
    return (r->claims.asked || MUTANT(MEMBERS_UNASKED)) && !c;
}

/* ---- judging ---- */

static void tell(struct replicated *r, const struct claim *c, bool loses)
{
    struct claims *k = &r->claims;
    char text[sizeof(k->other)] = "";

    check_invariants(k);
    if (c)
        snprintf(text, sizeof(text),
                 "replica %.40s at %.60s %s this cluster (epoch %" PRId64
                 ") through another ZooKeeper ensemble: two hold a copy of its data",
                 c->id, c->url, c->role == REPLICATED_LEADER ? "leads" : "is elected to lead", c->epoch);
    if (strcmp(text, k->other) != 0) {
        memcpy(k->other, text, sizeof(text));
        if (c && !loses)
            replicated_log(r, LOG_ERROR, "two-leaders", "%s", text);
        replicated_changed(r);
    }
    snprintf(k->refusal, sizeof(k->refusal), "%s", loses ? text : "");
    guard_judge(r);
}

static bool is_sure(const struct replicated *r, const struct claim *c)
{
    const struct claims *k = &r->claims;

    assert(k->since_ms > 0);
    return replicated_now_ms(r) - k->since_ms >= CLAIM_SURE_MS && k->written && tree_current(r) &&
           c->asked_ms > k->since_ms;
}

void claims_pump(struct replicated *r)
{
    struct claims *k = &r->claims;
    const struct claim *c;
    struct claim mine;

    check_invariants(k);
    drop_old(r);
    c = outside(r);
    if (!c) {
        k->since_ms = 0;
        if (k->other[0])
            tell(r, NULL, false);
    } else if (!k->since_ms) {
        k->since_ms = replicated_now_ms(r);
        k->written = false;
        members_heartbeat_now(r);
    } else if (is_sure(r, c)) {
        tell(r, c, !own_side(r, &mine) || beats(c, &mine));
    }
}

/* A write that was sent then was acknowledged: what is read from now on is no older. */
void claims_written(struct replicated *r, uint64_t sent_ms)
{
    struct claims *k = &r->claims;

    check_invariants(k);
    if (k->since_ms && !k->written && sent_ms >= k->since_ms) {
        k->written = true;
        tree_want(r);
    }
    for (size_t i = 0; i < k->outsider_count; i++)
        if (k->outsiders[i].mark.index > r->tree.head && sent_ms >= k->outsiders[i].heard_ms) {
            tree_want_head(r);
            return;
        }
}

uint64_t claims_wake_ms(const struct replicated *r)
{
    const struct claims *k = &r->claims;
    uint64_t now = replicated_now_ms(r), sure_ms = k->since_ms + CLAIM_SURE_MS;

    check_invariants(k);
    if (!k->since_ms)
        return UINT64_MAX;
    if (!k->asking && k->again_ms > now)
        return k->again_ms;
    return sure_ms > now ? sure_ms : UINT64_MAX;
}

/* ---- what is heard ---- */

static bool is_member(const struct replicated *r, const char *id)
{
    for (size_t i = 0; i < r->members.count; i++)
        if (strcmp(r->members.list[i].id, id) == 0)
            return true;
    return false;
}

static void forget_outsider(struct claims *k, const char *id)
{
    check_invariants(k);
    for (size_t i = k->outsider_count; i-- > 0;)
        if (strcmp(k->outsiders[i].id, id) == 0)
            k->outsiders[i] = k->outsiders[--k->outsider_count];
}

void claims_members_read(struct replicated *r)
{
    assert(r->members.asked == 0);
    for (size_t i = 0; i < r->members.count; i++)
        forget_outsider(&r->claims, r->members.list[i].id);
}

static void note_outsider(struct replicated *r, const struct replicated_heard *heard)
{
    struct claims *k = &r->claims;
    struct outsider *o;

    check_invariants(k);
    forget_outsider(k, heard->id);
    if (is_member(r, heard->id) || heard->mark.index == 0 || k->outsider_count == REPLICATED_MEMBERS_MAX)
        return; /* the tree says what a member holds */
    o = &k->outsiders[k->outsider_count++];
    *o = (struct outsider){.mark = heard->mark, .heard_ms = heard->asked_ms};
    snprintf(o->id, sizeof(o->id), "%s", heard->id);
}

static void note_claim(struct replicated *r, const struct replicated_heard *heard)
{
    struct claims *k = &r->claims;
    struct claim *c;

    check_invariants(k);
    drop_id(k, heard->id);
    if (heard->role == REPLICATED_STANDBY || k->count == CLAIMS_MAX)
        return;
    c = &k->list[k->count++];
    *c = (struct claim){
        .base = heard->base, .epoch = heard->epoch, .role = heard->role, .asked_ms = heard->asked_ms};
    snprintf(c->id, sizeof(c->id), "%s", heard->id);
    snprintf(c->url, sizeof(c->url), "%s", heard->url);
    snprintf(c->nonce, sizeof(c->nonce), "%s", heard->nonce);
}

void replicated_heard(struct journal *journal, const struct replicated_heard *heard)
{
    struct replicated *r = replicated_of(journal);
    const char *mine = r->guard.mark.cluster;
    bool claimed = claim_index(&r->claims, heard->id) < r->claims.count;

    assert(strcmp(heard->id, r->replica) != 0);
    if (mine[0] && strcmp(heard->mark.cluster, mine) == 0) {
        note_outsider(r, heard);
        note_claim(r, heard);
    } else {
        drop_id(&r->claims, heard->id); /* of another cluster: it does not count */
    }
    if (claimed || heard->role != REPLICATED_STANDBY)
        replicated_pump(r);
}

void replicated_silent(struct journal *journal, const char *id)
{
    struct replicated *r = replicated_of(journal);
    size_t before = r->claims.count;

    check_invariants(&r->claims);
    drop_id(&r->claims, id);
    if (r->claims.count < before)
        replicated_pump(r);
}

void replicated_forget(struct journal *journal, const char *id)
{
    struct replicated *r = replicated_of(journal);

    check_invariants(&r->claims);
    drop_id(&r->claims, id);
    forget_outsider(&r->claims, id);
    guard_members_read(r);
    replicated_pump(r);
}

/* ---- what this replica says ---- */

enum replicated_role claims_role(const struct replicated *r)
{
    uint64_t now = replicated_now_ms(r), third = (uint64_t)r->session.timeout_ms / 3;
    bool lease = r->session.write_sent_ms && now - r->session.write_sent_ms <= 2 * third;

    if (!lease || election_closing(r))
        return REPLICATED_STANDBY; /* it may have been replaced: it writes before it does anything */
    if (election_leads(r))
        return REPLICATED_LEADER;
    return r->election.state == ELECTED ? REPLICATED_ELECTED : REPLICATED_STANDBY;
}

const char *replicated_role_name(enum replicated_role role)
{
    static const char *const names[] = {"standby", "elected", "leader"};

    return names[role];
}
