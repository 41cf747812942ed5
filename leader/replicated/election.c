/* Who leads: campaigning, being elected, resigning; the state and its moves.
 *
 * Happy path: the leader node is missing, this replica is up to date and fit -> one multi {check(epoch, v), delete(its
 * name), create(the new name), create(leader), set(epoch)} -> elected: head is read again, the tail applied -> lead.
 * Sooner: the leader answers on no way (suspicion.h), or does not do its work: the multi deletes the leader
 * node as well. That is safe only when the node and version v belong to the same epoch, which their nonces
 * tell. A leader node of this very replica, from an earlier life or a leadership that ended, is such a case, too.
 * A leader node that belongs to no epoch for longer than a session is an orphan: a session's end that ZooKeeper
 * forgot, or a person's node. The epoch decides who leads, so it is replaced. A leader whose node was removed or replaced,
 * while the epoch is still its own, puts it back.
 * Failures: bad version, exists, no node: another was faster: read again. Answer lost: read again, and a
 * leader node of this session shows that it was elected.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- the state ---- */

#define TO(state) (1u << (state))
#define TO_REST   (TO(FOLLOWING) | TO(RETIRED) | TO(ALARMED))

static const unsigned moves[] = {
    [FOLLOWING] = TO(CAMPAIGNING) | TO(ELECTED) | TO(RETIRED) | TO(ALARMED) | TO(CLOSING),
    [CAMPAIGNING] = TO(ELECTED) | TO_REST | TO(CLOSING),
    [ELECTED] = TO(LEADING) | TO_REST | TO(CLOSING),
    [LEADING] = TO(YIELDING) | TO_REST,
    [YIELDING] = TO(RESIGNING) | TO(DRAINING),
    [RESIGNING] = TO(RESIGN_SENT) | TO(DRAINING) | TO_REST,
    [RESIGN_SENT] = TO(RESIGNING) | TO(DRAINING) | TO_REST,
    [RETIRED] = TO(ALARMED) | TO(CLOSING),
    [ALARMED] = TO(CLOSING),
    [DRAINING] = TO(CLOSING),
    [CLOSING] = 0,
};

/* Whoever is elected knows its epoch by its name; whoever leads does so from a state that was restored. */
static void check_invariants(const struct replicated *r)
{
    const struct election *e = &r->election;
    bool leads = election_leads(r);

    assert(e->state <= CLOSING);
    assert(e->state != RETIRED || e->retire_asked);
    assert(e->state != ALARMED || r->alarm[0]);
    assert(!(leads || e->state == ELECTED) || (e->nonce[0] && e->name[0]));
    assert(!leads || r->follower.restored);
}

static void move(struct replicated *r, enum leadership to)
{
    assert(moves[r->election.state] & TO(to));
    r->election.state = to;
}

bool election_leads(const struct replicated *r)
{
    switch (r->election.state) {
    case LEADING:
    case YIELDING:
    case RESIGNING:
    case RESIGN_SENT:
    case DRAINING:
        return true;
    default:
        return false;
    }
}

bool election_takes_appends(const struct replicated *r)
{
    return r->election.state == LEADING || r->election.state == YIELDING;
}

bool election_closing(const struct replicated *r)
{
    return r->election.state == DRAINING || r->election.state == CLOSING;
}

/* Where a campaign in vain, or a leadership that is over, leads to. */
static enum leadership at_rest(const struct replicated *r)
{
    check_invariants(r);
    if (r->election.state == DRAINING)
        return CLOSING;
    if (r->alarm[0])
        return ALARMED;
    return r->election.retire_asked ? RETIRED : FOLLOWING;
}

/* The owner's last appends come from within its event; then no more is taken. */
static void yield(struct replicated *r, enum leadership then)
{
    check_invariants(r);
    move(r, YIELDING);
    r->journal.events->yield(r->journal.arg);
    move(r, then);
}

void election_end(struct replicated *r, const char *format, ...)
{
    bool led = election_leads(r);
    struct error why = {0};
    va_list ap;

    if (led && MUTANT(MARK_FORGOTTEN))
        guard_forget(r);
    assert(led || r->election.state == ELECTED);
    va_start(ap, format);
    error_setv(&why, ERR_DEPOSED, format, ap);
    va_end(ap);
    move(r, at_rest(r));
    append_drop(r);
    snapshot_drop(r);
    tree_want(r);
    if (led && !MUTANT(KEEP_SPECULATION))
        follow_again(r); /* the owner's speculation is void */
    if (led)
        r->journal.events->deposed(r->journal.arg, &why);
    replicated_changed(r);
}

void election_close(struct replicated *r)
{
    assert(!election_closing(r));
    if (r->election.state == LEADING)
        yield(r, DRAINING);
    else
        move(r, election_leads(r) ? DRAINING : CLOSING);
}

int64_t election_epoch(const struct replicated *r)
{
    return r->tree.epoch_base + r->election.token;
}

size_t election_checks(const struct replicated *r, struct coord_op ops[2])
{
    ops[0] = (struct coord_op){.kind = COORD_CHECK,
                               .path = NODE_EPOCH,
                               .version = MUTANT(NO_EPOCH_CHECK) ? COORD_ANY : r->election.token};
    ops[1] = (struct coord_op){.kind = COORD_CHECK, .path = r->election.name, .version = COORD_ANY};
    return MUTANT(NO_EPOCH_CHECK) || MUTANT(VERSION_ALONE) ? 1 : 2;
}

/* ---- campaigning ---- */

bool election_fit(struct replicated *r)
{
    const char *why = "";

    return r->o.host->fit(r->o.host->arg, &why);
}

static bool clock_disputed(struct replicated *r)
{
    return r->o.host->clock_believed && !r->o.host->clock_believed(r->o.host->arg);
}

/* An unfit replica, or one that holds back, leaves it to others, as long as there are any. */
static bool lets_others_go_first(struct replicated *r)
{
    uint64_t now = replicated_now_ms(r);
    bool fit = election_fit(r);

    assert(r->election.state == FOLLOWING);
    if (fit)
        r->election.unfit_ms = 0;
    else if (!r->election.unfit_ms)
        r->election.unfit_ms = now;
    if (fit && now >= r->election.hold_back_ms)
        return false;
    if (!fit && now - r->election.unfit_ms < UNFIT_PATIENCE_MS)
        return true;
    return members_other_fit(r);
}

/* The epoch as known is mine. What the tail holds is final now; it is read to its end before leading. */
static void elected(struct replicated *r)
{
    assert(r->tree.epoch_known);
    move(r, ELECTED);
    r->election.token = r->tree.epoch_version;
    memcpy(r->election.nonce, r->tree.epoch_nonce, sizeof(r->election.nonce));
    tree_name_path(r->election.nonce, r->election.name);
    guard_elected(r);
    ask_elected(r);
    claims_elected(r);
    replicated_log(r, LOG_NOTE, "elected", "epoch %" PRId64 ": %s", election_epoch(r), r->election.cause);
}

static void on_campaigned(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    bool campaigning = r->election.state == CAMPAIGNING; /* else alarmed or closing: the session ends soon */

    switch (reply->result) {
    case COORD_OK:
        replicated_renew_lease(r, r->election.campaign_ms);
        if (!campaigning)
            break;
        tree_elected(r, reply->stat.version, r->election.nonce);
        elected(r);
        break;
    case COORD_LOST:
        tree_want_leader(r, true);
        break;
    case COORD_NO_NODE:
        tree_look_for_name(r);
        /* fall through */
    case COORD_BAD_VERSION:
    case COORD_EXISTS:
        tree_want_leader(r, false); /* another was faster */
        break;
    default:
        replicated_unexpected(r, "campaigning for leadership", reply);
        break;
    }
    if (r->election.state == CAMPAIGNING)
        move(r, at_rest(r));
    replicated_pump(r);
}

static char *epoch_text(struct replicated *r, const char *deposed)
{
    json_t *o = json_pack("{s:s,s:I,s:s,s:s,s:b,s:s,s:I}", "cluster", r->tree.cluster, "base",
                          (json_int_t)r->tree.epoch_base, "replica", r->replica, "nonce", r->election.nonce,
                          "named", 1, "cause", r->election.cause, "session", (json_int_t)r->session.id);
    char *text;

    assert(r->election.nonce[0]);
    if (deposed)
        json_object_set_new(o, "deposed", json_string(deposed));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static char *leader_text(const struct replicated *r)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:b}", "replica", r->replica, "url", r->url, "nonce",
                          r->election.nonce, "answers", 1);
    char *text = json_dumps(o, JSON_COMPACT);

    assert(r->election.nonce[0]);
    json_decref(o);
    return text;
}

static void campaign(struct replicated *r, bool remove_leader, const char *deposed, const char *cause)
{
    struct coord_op ops[6];
    size_t n = 0;
    char *epoch, *leader, old_name[COORD_PATH_MAX], name[COORD_PATH_MAX];

    if (!guard_may_campaign(r))
        return;
    snprintf(r->election.nonce, sizeof(r->election.nonce), "%016" PRIx64, r->o.env->random(r->o.env->arg));
    snprintf(r->election.cause, sizeof(r->election.cause), "%s", cause);
    epoch = epoch_text(r, deposed);
    leader = leader_text(r);
    n += tree_checks(r, ops, old_name);
    if (n > 1)
        ops[1].kind = COORD_DELETE;
    ops[n++] = (struct coord_op){COORD_CREATE, tree_name_path(r->election.nonce, name), "", 0, COORD_ANY};
    if (remove_leader)
        ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE_EPHEMERAL, NODE_LEADER, leader, strlen(leader), COORD_ANY};
    ops[n++] = (struct coord_op){COORD_SET, NODE_EPOCH, epoch, strlen(epoch), r->tree.epoch_version};
    assert(n <= sizeof(ops) / sizeof(ops[0]));
    move(r, CAMPAIGNING);
    r->election.campaign_ms = replicated_now_ms(r);
    r->coord->ops->multi(r->coord, ops, n, on_campaigned, r);
    free(epoch);
    free(leader);
}

/* The leader node that was read belongs to the epoch that was read. */
bool election_has_leader(const struct replicated *r)
{
    return r->tree.leader && r->tree.leader_nonce[0] &&
           strcmp(r->tree.leader_nonce, r->tree.epoch_nonce) == 0;
}

static bool once_in(uint64_t now, uint64_t *last_ms, uint64_t every_ms)
{
    if (*last_ms && now - *last_ms < every_ms)
        return false;
    *last_ms = now;
    return true;
}

static bool up_to_date(const struct replicated *r)
{
    return r->follower.restored && r->tree.head_known && r->follower.applied >= r->tree.head;
}

/* The leader node is there, and belongs to the epoch. */
static void campaign_against_leader(struct replicated *r)
{
    char cause[128];

    assert(r->tree.leader);
    if (r->tree.leader_owner == r->session.id && r->election.led_epoch != tree_epoch(r) &&
        strcmp(r->tree.epoch_nonce, r->election.nonce) == 0) {
        elected(r); /* by a request whose answer was lost; an older nonce is of a tree that went back */
    } else if (strcmp(r->tree.leader, r->replica) == 0) {
        if (claims_allow(r))
            campaign(r, true, NULL, r->tree.leader_owner == r->session.id ? "again" : "restart");
    } else if (suspicion_verdict(&r->asks.suspicion, tree_epoch(r), replicated_now_ms(r))) {
        if (claims_allow(r))
            campaign(r, true, NULL, suspicion_cause(&r->asks.suspicion));
    } else if (r->election.overdue_epoch == tree_epoch(r)) {
        r->election.overdue_epoch = 0;
        snprintf(cause, sizeof(cause), "overdue: %s", r->election.overdue);
        campaign(r, true, r->tree.leader, cause);
    }
}

static void on_epoch_left(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->election.leaving = false;
    tree_want_leader(r, true);
    if (reply->result == COORD_NO_NODE)
        tree_look_for_name(r);
    if (reply->result == COORD_DENIED || reply->result == COORD_FAILED)
        replicated_unexpected(r, "removing " NODE_LEADER, reply);
    replicated_pump(r);
}

/* A leader node of this session would keep others from leading. */
static void leave_epoch(struct replicated *r)
{
    struct coord_op ops[3];
    char name[COORD_PATH_MAX];
    size_t n;

    assert(!election_leads(r) && r->election.state != ELECTED);
    if (!r->tree.leader || r->tree.leader_owner != r->session.id || r->election.leaving || !tree_current(r))
        return;
    r->election.leaving = true;
    n = tree_checks(r, ops, name);
    ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    r->coord->ops->multi(r->coord, ops, n, on_epoch_left, r);
}

/* Notes since when nobody leads, and since when a leader node that belongs to no epoch is there. */
static void note_leader(struct replicated *r)
{
    struct election *e = &r->election;
    uint64_t now = replicated_now_ms(r);
    bool orphan = r->tree.leader && !election_has_leader(r);

    check_invariants(r);
    if (!tree_current(r))
        return;
    if (election_leads(r) || e->state == ELECTED || election_has_leader(r))
        e->leaderless_ms = 0;
    else if (!e->leaderless_ms)
        e->leaderless_ms = now;
    if (!orphan)
        e->orphan_ms = 0;
    else if (!e->orphan_ms || strcmp(e->orphan_nonce, r->tree.leader_nonce) != 0) {
        e->orphan_ms = now;
        e->orphan_read_again = false;
        memcpy(e->orphan_nonce, r->tree.leader_nonce, sizeof(e->orphan_nonce));
    }
}

/* Epoch and leader are two reads; after a session both are read once more, and then it is certain. */
static void replace_orphan(struct replicated *r)
{
    struct election *e = &r->election;

    assert(e->state == FOLLOWING);
    if (!e->orphan_ms || replicated_now_ms(r) - e->orphan_ms <= (uint64_t)r->session.timeout_ms ||
        MUTANT(ORPHAN_KEPT))
        return;
    if (!e->orphan_read_again) {
        e->orphan_read_again = true;
        tree_want_leader(r, true);
        return;
    }
    replicated_log(r, LOG_WARN, "orphan",
                   "the node " NODE_LEADER " of %s does not belong to epoch %" PRId64
                   ": replacing it, since no session's end removes it",
                   r->tree.leader, tree_epoch(r));
    campaign(r, true, NULL, "orphan");
}

static void campaign_if_called_for(struct replicated *r)
{
    assert(r->election.state == FOLLOWING);
    if (!guard_trusts(r)) {
        leave_epoch(r);
        return;
    }
    if (!tree_current(r) || !up_to_date(r) || clock_disputed(r) || lets_others_go_first(r))
        return;
    if (!r->tree.leader && claims_allow(r))
        campaign(r, false, NULL, r->tree.epoch_version == 0 ? "start" : "session-ended");
    else if (!r->tree.leader)
        return; /* members are being asked, or one leads elsewhere */
    else if (election_has_leader(r))
        campaign_against_leader(r);
    else if (claims_allow(r))
        replace_orphan(r);
}

void election_epoch_read(struct replicated *r, bool deposed_me)
{
    check_invariants(r);
    if (deposed_me)
        r->election.hold_back_ms = replicated_now_ms(r) + REPLICATED_DEPOSED_HOLD_MS;
    bool mine = r->tree.epoch_version == r->election.token &&
                strcmp(r->tree.epoch_nonce, r->election.nonce) ==
                    0; /* versions are used again in a tree that went back */

    if ((r->election.state == ELECTED || election_leads(r)) && !mine)
        election_end(r, "deposed: epoch %" PRId64 " has another leader (%s)", tree_epoch(r), r->tree.cause);
}

void election_refused(struct replicated *r)
{
    assert(r->guard.refusal[0]);
    if (election_leads(r) || r->election.state == ELECTED)
        election_end(r, "%s", r->guard.refusal);
}

/* Nothing was appended since: nobody has journaled it. */
static void tell_recovery(struct replicated *r)
{
    const struct recovery_node *n = &r->tree.recovered;
    struct journal_recovery recovery = {.from_ms = n->from_ms, .until_ms = n->until_ms, .by = n->by};

    assert(election_leads(r));
    if (n->exists && r->follower.applied == n->index && strcmp(r->follower.applied_hash, n->hash) == 0 &&
        r->journal.events->recovered)
        r->journal.events->recovered(r->journal.arg, &recovery);
}

static void lead_when_ready(struct replicated *r)
{
    assert(r->election.state == ELECTED);
    if (r->guard.refusal[0]) { /* since before the answer */
        election_refused(r);
        return;
    }
    if (!r->follower.restored ||
        ((!r->tree.head_fresh || r->follower.applied != r->tree.head || !guard_may_lead(r)) &&
         !MUTANT(TAIL_UNREAD)))
        return;
    if (!claims_allow(r))
        return;
    if (r->follower.applied_epoch > election_epoch(r)) { /* it took that long */
        election_end(r, "deposed: epoch %" PRId64 " has another leader", r->follower.applied_epoch);
        return;
    }
    assert(r->follower.applied == r->tree.head || MUTANT(TAIL_UNREAD));
    move(r, LEADING);
    r->election.led_epoch = election_epoch(r);
    r->election.overdue_epoch = 0;
    append_begin(r);
    replicated_clear_error(r);
    tell_recovery(r);
    r->journal.events->lead(r->journal.arg, election_epoch(r), r->election.cause);
    replicated_changed(r);
}

/* ---- a leader whose nodes somebody removed ---- */

static void on_put_back(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    r->election.putting_back = false;
    tree_want_leader(r, true);
    if (reply->result == COORD_NO_NODE)
        tree_look_for_name(r);
    else if (reply->result == COORD_DENIED || reply->result == COORD_FAILED)
        replicated_unexpected(r, "putting " NODE_LEADER " back", reply);
    replicated_pump(r);
}

static void put_back(struct replicated *r)
{
    char *text = leader_text(r);
    struct coord_op ops[4];
    size_t n = election_checks(r, ops);

    assert(r->election.state == LEADING && !r->election.putting_back);
    if (r->tree.leader)
        ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE_EPHEMERAL, NODE_LEADER, text, strlen(text), COORD_ANY};
    r->election.putting_back = true;
    replicated_log(r, LOG_WARN, "leader-node", "%s: putting it back",
                   r->tree.leader ? "the node " NODE_LEADER " was replaced by one that belongs to no epoch"
                                  : "the node " NODE_LEADER " was removed");
    r->coord->ops->multi(r->coord, ops, n, on_put_back, r);
    free(text);
}

/* Epoch and leader were both read since either changed, and the epoch is this leader's. */
static void keep_nodes(struct replicated *r)
{
    const struct tree *t = &r->tree;

    assert(r->election.state == LEADING);
    if (!tree_current(r) || strcmp(t->epoch_nonce, r->election.nonce) != 0)
        return;
    if (strcmp(t->nameless, r->election.nonce) == 0)
        election_end(r, "somebody removed the name of epoch %" PRId64 " from ZooKeeper", election_epoch(r));
    else if (!r->election.putting_back &&
             (!t->leader || t->leader_owner != r->session.id || !election_has_leader(r)))
        put_back(r);
}

/* ---- resigning ---- */

static void on_leader_removed(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (reply->result == COORD_OK)
        replicated_log(r, LOG_NOTE, "resigned", "another may lead");
}

static void remove_leader(struct replicated *r, coord_done *done)
{
    struct coord_op ops[3];
    size_t n = election_checks(r, ops);

    assert(r->session.connected);
    ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    r->coord->ops->multi(r->coord, ops, n, done, r);
}

void election_alarm(struct replicated *r)
{
    assert(r->alarm[0]);
    if (election_leads(r) || r->election.state == ELECTED)
        election_end(r, "%s", r->alarm);
    else if (r->election.state != CLOSING)
        move(r, ALARMED);
    if (r->session.connected && r->tree.leader_owner == r->session.id)
        remove_leader(r, on_leader_removed);
}

static void on_resigned(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    if (r->election.state == RESIGN_SENT)
        move(r, RESIGNING);
    if (reply->result == COORD_LOST)
        return; /* asked again, or the epoch shows that it was removed */
    if (replicated_now_ms(r) + REPLICATED_RESIGNED_HOLD_MS > r->election.hold_back_ms)
        r->election.hold_back_ms = replicated_now_ms(r) + REPLICATED_RESIGNED_HOLD_MS;
    if (election_leads(r))
        election_end(r, "stepped down");
    replicated_pump(r);
}

static void resign_when_idle(struct replicated *r)
{
    assert(r->election.state == RESIGNING);
    if (!append_idle(r))
        return;
    move(r, RESIGN_SENT);
    remove_leader(r, on_resigned);
}

/* Since when this leader is unfit. */
static void note_fitness(struct replicated *r, const char **ret_why)
{
    assert(election_leads(r));
    if (r->o.host->fit(r->o.host->arg, ret_why))
        r->election.unfit_ms = 0;
    else if (!r->election.unfit_ms)
        r->election.unfit_ms = replicated_now_ms(r);
}

static void resign_if_unfit(struct replicated *r, const char *why)
{
    assert(r->election.state == LEADING);
    if (!r->election.unfit_ms || replicated_now_ms(r) - r->election.unfit_ms < REPLICATED_RESIGN_AFTER_MS ||
        !members_other_fit(r))
        return;
    replicated_log(r, LOG_WARN, "resigning", "%s, and another replica is better off", why);
    yield(r, RESIGNING);
}

void election_pump(struct replicated *r)
{
    const char *why = "";

    check_invariants(r);
    note_leader(r);
    if (election_leads(r))
        note_fitness(r, &why);
    switch (r->election.state) {
    case FOLLOWING:
        campaign_if_called_for(r);
        break;
    case ELECTED:
        lead_when_ready(r);
        break;
    case LEADING:
        keep_nodes(r);
        if (r->election.state != LEADING)
            break;
        if (r->election.retire_asked)
            yield(r, RESIGNING); /* it was asked during the campaign */
        else
            resign_if_unfit(r, why);
        if (r->election.state == RESIGNING)
            resign_when_idle(r);
        break;
    case RESIGNING:
        resign_when_idle(r);
        break;
    default:
        break; /* an answer, or the close, goes on */
    }
}

int replicated_step_down(struct journal *journal, struct error *error)
{
    struct replicated *r = replicated_of(journal);

    check_invariants(r);
    if (!election_leads(r))
        return error_set(error, ERR_NO_LEADER, "this replica does not lead");
    if (!members_other_fit(r))
        return error_set(error, ERR_CONFLICT, "no other replica is there and fit to lead");
    if (r->election.state == LEADING)
        yield(r, RESIGNING);
    replicated_pump(r);
    return 0;
}

void replicated_retire(struct journal *journal)
{
    struct replicated *r = replicated_of(journal);

    check_invariants(r);
    r->election.retire_asked = true;
    if (r->election.state == FOLLOWING)
        move(r, RETIRED);
    else if (r->election.state == LEADING)
        yield(r, RESIGNING);
    replicated_pump(r);
}

bool replicated_depose(struct journal *journal, int64_t epoch, const char *text)
{
    struct replicated *r = replicated_of(journal);
    uint64_t now = replicated_now_ms(r);

    assert(text);
    if (r->election.state != FOLLOWING || !guard_trusts(r) || !r->session.connected ||
        epoch != tree_epoch(r) || !r->tree.leader)
        return false;
    if (!r->session.write_sent_ms || now - r->session.write_sent_ms > (uint64_t)r->session.timeout_ms)
        return false; /* perhaps it is this one that cannot write */
    if (clock_disputed(r) || lets_others_go_first(r) ||
        !once_in(now, &r->election.deposed_other_ms, REPLICATED_DEPOSE_EVERY_MS))
        return false;
    r->election.overdue_epoch = epoch;
    snprintf(r->election.overdue, sizeof(r->election.overdue), "%s", text);
    replicated_pump(r);
    return true;
}
