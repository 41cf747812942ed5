/* Who leads: standing for the throne, winning it, giving it up.
 *
 * Happy path: the leader node is missing, this replica is up to date and fit -> one multi {check(epoch, v),
 * create(leader), set(epoch)} -> claimed: head is read afresh, the tail folded -> lead.
 * Sooner: the leader's process is known to be gone, or does not do its work: the multi deletes the leader
 * node as well. That is safe only when the node and version v belong to the same reign, which their nonces
 * tell. A leader node of this very replica, from an earlier life or a reign that ended, is such a case, too.
 * Failures: bad version, exists, no node: somebody was faster: read again. Answer lost: read again, and a
 * node that belongs to this session tells that it was won.
 */
#include "leader/replicated/replicated_priv.h"

#include "jobs/base/mutant.h"

#include <inttypes.h>
#include <stdio.h>

bool replica_fit(struct replicated *r)
{
    const char *why = "";

    return r->o.host->fit(r->o.host->arg, &why);
}

/* An unfit replica, or one that stands back, leaves it to others, as long as there are any. */
static bool lets_others_go_first(struct replicated *r)
{
    uint64_t now = boot_ms(r);
    bool fit = replica_fit(r);

    r->unfit_ms = fit ? 0 : r->unfit_ms ? r->unfit_ms : now;
    if (fit && now >= r->stand_back_ms)
        return false;
    if (!fit && now - r->unfit_ms < UNFIT_PATIENCE_MS)
        return true;
    return members_other_fit(r);
}

/* The epoch as known is mine. What the tail holds is final now; it is read to its end before leading. */
static void claim(struct replicated *r)
{
    r->claimed = true;
    r->token = r->epoch_version;
    memcpy(r->nonce, r->epoch_nonce, sizeof(r->nonce));
    r->head_fresh = false;
    r->head_read.want = true;
    replicated_log(r, 2, "claimed", "epoch %" PRId64 ": %s", my_epoch(r), r->my_cause);
}

static void on_stood(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    r->standing = false;
    switch (reply->result) {
    case COORD_OK:
        if (r->alarm[0] || r->closing)
            break; /* the session's end gives it back */
        r->epoch_version = reply->stat.version;
        memcpy(r->epoch_nonce, r->nonce, sizeof(r->epoch_nonce));
        r->leader_read.want = true;
        claim(r);
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
        replicated_odd(r, "standing for the lead", reply);
        break;
    }
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

static void stand(struct replicated *r, bool remove_leader, const char *deposed, const char *cause)
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
    r->standing = true;
    r->coord->ops->multi(r->coord, ops, n, on_stood, r);
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

static void stand_if_called_for(struct replicated *r)
{
    uint64_t now = boot_ms(r);
    char cause[128];

    if (!r->epoch_known || !r->leader_known || r->epoch_read.want || r->epoch_read.asked ||
        r->leader_read.want || r->leader_read.asked)
        return; /* what was read may be old */
    if (!r->restored || !r->head_known || r->applied < r->head || r->retiring || lets_others_go_first(r))
        return;
    if (!r->leader) {
        stand(r, false, NULL, r->epoch_version == 0 ? "start" : "session-ended");
    } else if (!same_reign(r)) {
        return;
    } else if (r->leader_owner == r->session && r->led_epoch != epoch_number(r)) {
        claim(r); /* won by a request whose answer was lost */
    } else if (strcmp(r->leader, r->replica) == 0) {
        stand(r, true, NULL, r->leader_owner == r->session ? "again" : "restart");
    } else if (r->gone_epoch == epoch_number(r)) {
        if (once_in(now, &r->eager_ms, (uint64_t)r->timeout_ms))
            stand(r, true, NULL, "connection-closed");
    } else if (r->overdue_epoch == epoch_number(r)) {
        r->overdue_epoch = 0;
        snprintf(cause, sizeof(cause), "overdue: %s", r->overdue);
        stand(r, true, r->leader, cause);
    }
}

void election_epoch_read(struct replicated *r)
{
    if ((r->claimed || r->leading) && r->epoch_version != r->token)
        reign_end(r, "another reigns: epoch %" PRId64 " (%s)", epoch_number(r), r->cause);
}

static void lead_when_ready(struct replicated *r)
{
    if (!r->restored || ((!r->head_fresh || r->applied != r->head) && !MUTANT(TAIL_UNREAD)))
        return;
    if (r->applied_epoch > my_epoch(r)) { /* it took that long */
        reign_end(r, "another reigns: epoch %" PRId64, r->applied_epoch);
        return;
    }
    r->leading = true;
    r->led_epoch = my_epoch(r);
    r->gone_epoch = r->overdue_epoch = 0;
    append_begin(r);
    r->trouble[0] = '\0';
    r->journal.events->lead(r->journal.arg, my_epoch(r), r->my_cause);
    replicated_changed(r);
}

/* ---- giving it up ---- */

static void on_abdicated(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    if (reply->result == COORD_OK)
        replicated_log(r, 2, "abdicated", "another may lead");
}

void election_abdicate(struct replicated *r)
{
    struct coord_op ops[] = {check_epoch(r),
                             {.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY}};

    r->coord->ops->multi(r->coord, ops, 2, on_abdicated, r);
}

static void on_stepped_down(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = arg;

    r->step_asked = false;
    if (reply->result == COORD_LOST)
        return; /* asked again, or the epoch tells */
    if (boot_ms(r) + REPLICATED_STEP_BACK_MS > r->stand_back_ms)
        r->stand_back_ms = boot_ms(r) + REPLICATED_STEP_BACK_MS;
    if (r->leading)
        reign_end(r, "stepped down");
    replicated_pump(r);
}

static void step_down_when_idle(struct replicated *r)
{
    struct coord_op ops[] = {check_epoch(r),
                             {.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY}};

    if (!r->stepping || r->step_asked || !append_idle(r))
        return;
    r->step_asked = true;
    r->coord->ops->multi(r->coord, ops, 2, on_stepped_down, r);
}

/* What the owner appends now, which enters the core again, still goes out; then no more is taken. */
static void begin_to_step_down(struct replicated *r)
{
    if (r->stepping || r->yielding)
        return;
    r->yielding = true;
    r->journal.events->yield(r->journal.arg);
    r->yielding = false;
    r->stepping = r->leading;
}

static void resign_if_unfit(struct replicated *r)
{
    const char *why = "";
    uint64_t now = boot_ms(r);

    if (r->o.host->fit(r->o.host->arg, &why)) {
        r->unfit_ms = 0;
        return;
    }
    r->unfit_ms = r->unfit_ms ? r->unfit_ms : now;
    if (now - r->unfit_ms < REPLICATED_RESIGN_AFTER_MS || r->stepping || r->yielding || !members_other_fit(r))
        return;
    replicated_log(r, 1, "resigning", "%s, and another replica is better off", why);
    begin_to_step_down(r);
}

void election_pump(struct replicated *r)
{
    if (r->leading) {
        resign_if_unfit(r);
        step_down_when_idle(r);
    } else if (r->claimed) {
        lead_when_ready(r);
    } else if (!r->standing) {
        stand_if_called_for(r);
    }
}

int replicated_step_down(struct journal *journal, struct error *error)
{
    struct replicated *r = (struct replicated *)(void *)journal;

    if (!r->leading)
        return error_set(error, ERR_NO_LEADER, "this replica does not lead");
    if (!members_other_fit(r))
        return error_set(error, ERR_CONFLICT, "no other replica is there and fit to lead");
    begin_to_step_down(r);
    replicated_pump(r);
    return 0;
}

void replicated_retire(struct journal *journal)
{
    struct replicated *r = (struct replicated *)(void *)journal;

    r->retiring = true;
    if (r->leading)
        begin_to_step_down(r);
    replicated_pump(r);
}

bool replicated_depose(struct journal *journal, int64_t epoch, const char *text)
{
    struct replicated *r = (struct replicated *)(void *)journal;
    uint64_t now = boot_ms(r);

    if (r->leading || r->claimed || !r->connected || epoch != epoch_number(r) || !r->leader)
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
