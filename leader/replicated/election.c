/* Who leads: campaigning, being elected, resigning; the state and its moves.
 *
 * Happy path: the leader node is missing, this replica is up to date and fit -> one multi {check(epoch, v),
 * create(leader), set(epoch)} -> elected: head is read again, the tail applied -> lead.
 * Sooner: the leader's process is known to be gone, or does not do its work: the multi deletes the leader
 * node as well. That is safe only when the node and version v belong to the same epoch, which their nonces
 * tell. A leader node of this very replica, from an earlier life or a leadership that ended, is such a case, too.
 * Failures: bad version, exists, no node: another was faster: read again. Answer lost: read again, and a
 * node that belongs to this session tells that it was elected.
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

static void move(struct replicated *r, enum leadership to)
{
    assert(moves[r->leadership] & TO(to));
    r->leadership = to;
}

bool election_leads(const struct replicated *r)
{
    switch (r->leadership) {
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
    return r->leadership == LEADING || r->leadership == YIELDING;
}

bool election_closing(const struct replicated *r)
{
    return r->leadership == DRAINING || r->leadership == CLOSING;
}

/* Where a campaign in vain, or a leadership that is over, leads to. */
static enum leadership at_rest(const struct replicated *r)
{
    if (r->leadership == DRAINING)
        return CLOSING;
    if (r->alarm[0])
        return ALARMED;
    return r->retire_asked ? RETIRED : FOLLOWING;
}

/* The owner's last appends come from within its event; then no more is taken. */
static void yield(struct replicated *r, enum leadership then)
{
    move(r, YIELDING);
    r->journal.events->yield(r->journal.arg);
    move(r, then);
}

void election_end(struct replicated *r, const char *format, ...)
{
    bool led = election_leads(r);
    struct error why = {0};
    va_list ap;

    assert(led || r->leadership == ELECTED);
    va_start(ap, format);
    error_setv(&why, ERR_DEPOSED, format, ap);
    va_end(ap);
    move(r, at_rest(r));
    append_drop(r);
    snapshot_drop(r);
    r->epoch_read.want = r->leader_read.want = r->head_read.want = true;
    if (led && !MUTANT(KEEP_SPECULATION))
        follow_again(r); /* the owner's speculation is void */
    if (led)
        r->journal.events->deposed(r->journal.arg, &why);
    replicated_changed(r);
}

void election_alarm(struct replicated *r)
{
    assert(r->alarm[0]);
    if (election_leads(r) || r->leadership == ELECTED)
        election_end(r, "%s", r->alarm);
    else if (r->leadership != CLOSING)
        move(r, ALARMED);
    if (r->connected && r->leader_owner == r->session)
        election_abdicate(r);
}

void election_close(struct replicated *r)
{
    assert(!election_closing(r));
    if (r->leadership == LEADING)
        yield(r, DRAINING);
    else
        move(r, election_leads(r) ? DRAINING : CLOSING);
}

/* ---- campaigning ---- */

bool election_fit(struct replicated *r)
{
    const char *why = "";

    return r->o.host->fit(r->o.host->arg, &why);
}

/* An unfit replica, or one that stands back, leaves it to others, as long as there are any. */
static bool lets_others_go_first(struct replicated *r)
{
    uint64_t now = boot_ms(r);
    bool fit = election_fit(r);

    r->unfit_ms = fit ? 0 : r->unfit_ms ? r->unfit_ms : now;
    if (fit && now >= r->stand_back_ms)
        return false;
    if (!fit && now - r->unfit_ms < UNFIT_PATIENCE_MS)
        return true;
    return members_other_fit(r);
}

/* The epoch as known is mine. What the tail holds is final now; it is read to its end before leading. */
static void elected(struct replicated *r)
{
    move(r, ELECTED);
    r->token = r->epoch_version;
    memcpy(r->nonce, r->epoch_nonce, sizeof(r->nonce));
    r->head_fresh = false;
    r->head_read.want = true;
    replicated_log(r, 2, "elected", "epoch %" PRId64 ": %s", my_epoch(r), r->my_cause);
}

static void on_campaigned(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;
    bool mine = r->leadership ==
                CAMPAIGNING; /* else it is alarmed, or closing: the session's end gives it back */

    switch (reply->result) {
    case COORD_OK:
        if (!mine)
            break;
        r->epoch_version = reply->stat.version;
        memcpy(r->epoch_nonce, r->nonce, sizeof(r->epoch_nonce));
        r->leader_read.want = true;
        elected(r);
        break;
    case COORD_LOST:
        r->epoch_read.want = r->leader_read.want = true;
        break;
    case COORD_BAD_VERSION:
    case COORD_EXISTS:
    case COORD_NO_NODE:
        r->epoch_read.want = r->leader_read.want = true;
        r->epoch_known = r->leader_known = false; /* another was faster */
        break;
    default:
        replicated_odd(r, "campaigning for leadership", reply);
        break;
    }
    if (r->leadership == CAMPAIGNING)
        move(r, at_rest(r));
    replicated_pump(r);
}

static char *epoch_text(struct replicated *r, const char *deposed)
{
    json_t *o = json_pack("{s:s,s:I,s:s,s:s,s:s,s:I}", "cluster", r->cluster, "base",
                          (json_int_t)r->epoch_base, "replica", r->replica, "nonce", r->nonce, "cause",
                          r->my_cause, "session", (json_int_t)r->session);
    char *text;

    if (deposed)
        json_object_set_new(o, "deposed", json_string(deposed));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void campaign(struct replicated *r, bool remove_leader, const char *deposed, const char *cause)
{
    struct coord_op ops[4];
    size_t n = 0;
    char *epoch, *leader;
    json_t *o;

    new_nonce(r, r->nonce);
    snprintf(r->my_cause, sizeof(r->my_cause), "%s", cause);
    epoch = epoch_text(r, deposed);
    o = json_pack("{s:s,s:s,s:s}", "replica", r->replica, "url", r->url, "nonce", r->nonce);
    leader = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    ops[n++] = (struct coord_op){.kind = COORD_CHECK, .path = NODE_EPOCH, .version = r->epoch_version};
    if (remove_leader)
        ops[n++] = (struct coord_op){.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY};
    ops[n++] = (struct coord_op){COORD_CREATE_EPHEMERAL, NODE_LEADER, leader, strlen(leader), COORD_ANY};
    ops[n++] = (struct coord_op){COORD_SET, NODE_EPOCH, epoch, strlen(epoch), r->epoch_version};
    move(r, CAMPAIGNING);
    r->coord->ops->multi(r->coord, ops, n, on_campaigned, r);
    free(epoch);
    free(leader);
}

/* The leader node that was read belongs to the epoch that was read. */
static bool same_reign(const struct replicated *r)
{
    return r->leader && strcmp(r->leader_nonce, r->epoch_nonce) == 0;
}

static bool once_in(uint64_t now, uint64_t *last_ms, uint64_t every_ms)
{
    if (*last_ms && now - *last_ms < every_ms)
        return false;
    *last_ms = now;
    return true;
}

/* What was read of epoch and leader is no older than what is known to have changed. */
static bool tree_is_current(const struct replicated *r)
{
    return r->epoch_known && !r->epoch_read.want && !r->epoch_read.asked && r->leader_known &&
           !r->leader_read.want && !r->leader_read.asked;
}

static bool up_to_date(const struct replicated *r)
{
    return r->restored && r->head_known && r->applied >= r->head;
}

/* The leader node is there, and belongs to the epoch. */
static void campaign_against_leader(struct replicated *r)
{
    char cause[128];

    if (r->leader_owner == r->session && r->led_epoch != epoch_number(r)) {
        elected(r); /* by a request whose answer was lost */
    } else if (strcmp(r->leader, r->replica) == 0) {
        campaign(r, true, NULL, r->leader_owner == r->session ? "again" : "restart");
    } else if (r->gone_epoch == epoch_number(r)) {
        if (once_in(boot_ms(r), &r->eager_ms, (uint64_t)r->timeout_ms))
            campaign(r, true, NULL, "connection-closed");
    } else if (r->overdue_epoch == epoch_number(r)) {
        r->overdue_epoch = 0;
        snprintf(cause, sizeof(cause), "overdue: %s", r->overdue);
        campaign(r, true, r->leader, cause);
    }
}

static void campaign_if_called_for(struct replicated *r)
{
    if (!tree_is_current(r) || !up_to_date(r) || lets_others_go_first(r))
        return;
    if (!r->leader)
        campaign(r, false, NULL, r->epoch_version == 0 ? "start" : "session-ended");
    else if (same_reign(r))
        campaign_against_leader(r);
}

void election_epoch_read(struct replicated *r)
{
    if ((r->leadership == ELECTED || election_leads(r)) && r->epoch_version != r->token)
        election_end(r, "deposed: epoch %" PRId64 " has another leader (%s)", epoch_number(r), r->cause);
}

static void lead_when_ready(struct replicated *r)
{
    if (!r->restored || ((!r->head_fresh || r->applied != r->head) && !MUTANT(TAIL_UNREAD)))
        return;
    if (r->applied_epoch > my_epoch(r)) { /* it took that long */
        election_end(r, "deposed: epoch %" PRId64 " has another leader", r->applied_epoch);
        return;
    }
    move(r, LEADING);
    r->led_epoch = my_epoch(r);
    r->gone_epoch = r->overdue_epoch = 0;
    append_begin(r);
    r->trouble[0] = '\0';
    r->journal.events->lead(r->journal.arg, my_epoch(r), r->my_cause);
    replicated_changed(r);
}

/* ---- resigning ---- */

static void on_abdicated(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (reply->result == COORD_OK)
        replicated_log(r, 2, "resigned", "another may lead");
}

static void remove_leader(struct replicated *r, coord_done *done)
{
    struct coord_op ops[] = {check_epoch(r),
                             {.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY}};

    r->coord->ops->multi(r->coord, ops, 2, done, r);
}

void election_abdicate(struct replicated *r)
{
    remove_leader(r, on_abdicated);
}

static void on_resigned(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (r->leadership == RESIGN_SENT)
        move(r, RESIGNING);
    if (reply->result == COORD_LOST)
        return; /* asked again, or the epoch tells */
    if (boot_ms(r) + REPLICATED_STEP_BACK_MS > r->stand_back_ms)
        r->stand_back_ms = boot_ms(r) + REPLICATED_STEP_BACK_MS;
    if (election_leads(r))
        election_end(r, "stepped down");
    replicated_pump(r);
}

static void resign_when_idle(struct replicated *r)
{
    if (!append_idle(r))
        return;
    move(r, RESIGN_SENT);
    remove_leader(r, on_resigned);
}

/* Since when this leader is unfit. */
static void note_fitness(struct replicated *r, const char **ret_why)
{
    if (r->o.host->fit(r->o.host->arg, ret_why))
        r->unfit_ms = 0;
    else if (!r->unfit_ms)
        r->unfit_ms = boot_ms(r);
}

static void resign_if_unfit(struct replicated *r, const char *why)
{
    if (!r->unfit_ms || boot_ms(r) - r->unfit_ms < REPLICATED_RESIGN_AFTER_MS || !members_other_fit(r))
        return;
    replicated_log(r, 1, "resigning", "%s, and another replica is better off", why);
    yield(r, RESIGNING);
}

void election_pump(struct replicated *r)
{
    const char *why = "";

    if (election_leads(r))
        note_fitness(r, &why);
    switch (r->leadership) {
    case FOLLOWING:
        campaign_if_called_for(r);
        break;
    case ELECTED:
        lead_when_ready(r);
        break;
    case LEADING:
        resign_if_unfit(r, why);
        if (r->leadership == RESIGNING)
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

    if (!election_leads(r))
        return error_set(error, ERR_NO_LEADER, "this replica does not lead");
    if (!members_other_fit(r))
        return error_set(error, ERR_CONFLICT, "no other replica is there and fit to lead");
    if (r->leadership == LEADING)
        yield(r, RESIGNING);
    replicated_pump(r);
    return 0;
}

void replicated_retire(struct journal *journal)
{
    struct replicated *r = replicated_of(journal);

    r->retire_asked = true;
    if (r->leadership == FOLLOWING)
        move(r, RETIRED);
    else if (r->leadership == LEADING)
        yield(r, RESIGNING);
    replicated_pump(r);
}

bool replicated_depose(struct journal *journal, int64_t epoch, const char *text)
{
    struct replicated *r = replicated_of(journal);
    uint64_t now = boot_ms(r);

    if (election_leads(r) || r->leadership == ELECTED || !r->connected || epoch != epoch_number(r) ||
        !r->leader)
        return false;
    if (!r->write_sent_ms || now - r->write_sent_ms > (uint64_t)r->timeout_ms)
        return false; /* perhaps it is this one that cannot write */
    if (lets_others_go_first(r) || !once_in(now, &r->deposed_other_ms, REPLICATED_DEPOSE_EVERY_MS))
        return false;
    r->overdue_epoch = epoch;
    snprintf(r->overdue, sizeof(r->overdue), "%s", text);
    replicated_pump(r);
    return true;
}
