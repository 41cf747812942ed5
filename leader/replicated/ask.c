/* The second way to the leader, through ZooKeeper: a standby that suspects it writes /ask, and the leader answers by a
 * write to /answer. Both files' nodes are made by whoever needs them first.
 *
 *   ask      {epoch, from}; its version is the question's number
 *   answer   {epoch, ask}: the leader of this epoch has seen questions up to this number
 *
 * A question is answered for all who asked before it, so standbys do not wait for one another. Both writes check the
 * epoch: a question about an old leader, and an answer of one, fail. Before a verdict this replica writes once more and
 * reads /answer behind that write: ZooKeeper took its writes, and the leader's would have come before it.
 *
 * Failures: an answer lost, any refusal: this replica's own trouble, no verdict; the link reports again. The leader
 * reads /ask again after every reconnection, and soon after a failure.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* A question that is being written is a request under way; a leader, or who is elected, suspects nobody. */
static void check_invariants(const struct replicated *r)
{
    const struct asks *a = &r->asks;

    assert(a->suspicion.state != SUSPICION_ASKING || a->asking);
    assert(a->suspicion.state == SUSPICION_NONE || !(election_leads(r) || r->election.state == ELECTED));
}

static uint64_t now_ms(const struct replicated *r)
{
    return replicated_now_ms(r);
}

static json_t *parse(const struct coord_reply *reply)
{
    json_t *o = NULL;

    if (reply->result == COORD_OK && reply->size <= NODE_BYTES_MAX)
        o = json_loadb(reply->data, reply->size, 0, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL; /* missing, or a person's: nothing is learnt from it */
}

static json_int_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* Sets the node, or makes it, behind `count` checks of the epoch. There is room for one more in `ops`. */
static void write_node(struct replicated *r, struct coord_op *ops, size_t count, const char *path, bool make,
                       json_t *o, coord_done *done)
{
    char *text = json_dumps(o, JSON_COMPACT);

    assert(count > 0 && count <= 2);
    ops[count] = (struct coord_op){make ? COORD_CREATE : COORD_SET, path, text, strlen(text), COORD_ANY};
    json_decref(o);
    r->coord->ops->multi(r->coord, ops, count + 1, done, r);
    free(text);
}

/* ---- the standby ---- */

void replicated_leader_link(struct journal *journal, int64_t epoch, const struct replicated_link *link)
{
    struct replicated *r = replicated_of(journal);

    check_invariants(r);
    if (election_leads(r) || r->election.state == ELECTED || epoch != tree_epoch(r) || !r->tree.leader ||
        strcmp(r->tree.leader, r->replica) == 0)
        return;
    if (!r->tree.leader_answers && link->state != REPLICATED_LINK_UP)
        return; /* of an older build: it could not answer, so nothing would follow from its silence */
    suspicion_link(&r->asks.suspicion, epoch, link, now_ms(r));
    replicated_pump(r);
}

static void on_answer_read(void *arg, const struct coord_reply *reply);

static void read_answer(struct replicated *r)
{
    check_invariants(r);
    r->asks.answer_reads++;
    r->coord->ops->get(r->coord, NODE_ANSWER, true, on_answer_read, r);
}

static void tell_cleared(struct replicated *r)
{
    uint64_t now = now_ms(r);
    const char *url;

    assert(r->asks.suspicion.state == SUSPICION_CLEARED);
    if (r->asks.told_ms && r->asks.told_epoch == r->asks.suspicion.epoch &&
        now - r->asks.told_ms < ASK_TELL_EVERY_MS)
        return;
    r->asks.told_ms = now;
    r->asks.told_epoch = r->asks.suspicion.epoch;
    url = r->tree.leader_url ? r->tree.leader_url : "?";
    replicated_log(
        r, LOG_WARN, "leader-unreachable",
        "%s cannot reach %s at %s (%s), but it answers through ZooKeeper: check `advertise` there and "
        "the firewalls between them",
        r->replica, r->tree.leader ? r->tree.leader : "the leader", url, r->asks.suspicion.why);
}

static void take_answer(struct replicated *r, const struct coord_reply *reply)
{
    json_t *o = parse(reply);

    check_invariants(r);
    if (o &&
        suspicion_answered(&r->asks.suspicion, number(o, "epoch"), (int32_t)number(o, "ask"), now_ms(r)) &&
        suspicion_lasts(&r->asks.suspicion))
        tell_cleared(r);
    json_decref(o);
}

static void on_answer_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    bool fine = reply->result == COORD_OK || reply->result == COORD_NO_NODE;

    assert(r->asks.answer_reads > 0);
    r->asks.answer_reads--;
    take_answer(r, reply);
    if (!fine)
        suspicion_failed(&r->asks.suspicion, now_ms(r));
    /* The last read is behind the confirming write. */
    else if (r->asks.confirm_written && r->asks.answer_reads == 0)
        suspicion_confirmed(&r->asks.suspicion, now_ms(r));
    replicated_pump(r);
}

static void on_asked(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(r->asks.asking);
    r->asks.asking = false;
    if (reply->result == COORD_OK) {
        replicated_renew_lease(r, r->asks.suspicion.sent_ms);
        /* a node that was just made has no COORD_SET whose version could be told: it is version 0 */
        suspicion_asked(&r->asks.suspicion, r->asks.make_ask ? 0 : reply->stat.version, r->members.write_ms,
                        now_ms(r));
        r->asks.make_ask = false;
    } else if (reply->result == COORD_NO_NODE && !r->asks.make_ask) {
        r->asks.make_ask = true;
        if (r->asks.suspicion.state == SUSPICION_ASKING)
            r->asks.suspicion.state = SUSPICION_WANTED;
    } else {
        r->asks.make_ask = false;
        suspicion_failed(&r->asks.suspicion, now_ms(r));
        if (reply->result == COORD_BAD_VERSION)
            tree_want_leader(r, true); /* another was elected meanwhile */
    }
    replicated_pump(r);
}

static void on_confirmed(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(r->asks.asking);
    r->asks.asking = false;
    r->asks.confirm_written = reply->result == COORD_OK;
    if (reply->result != COORD_OK)
        suspicion_failed(&r->asks.suspicion, now_ms(r));
    if (reply->result == COORD_BAD_VERSION)
        tree_want_leader(r, true);
    replicated_pump(r);
}

/* The question, or the write that confirms the silence; in both cases /answer is read behind it. */
static void send_question(struct replicated *r, coord_done *done)
{
    struct coord_op ops[] = {{.kind = COORD_CHECK, .path = NODE_EPOCH, .version = r->tree.epoch_version},
                             {0}};

    assert(!r->asks.asking);
    suspicion_sending(&r->asks.suspicion, now_ms(r));
    r->asks.asking = true;
    r->asks.confirm_written = false;
    write_node(r, ops, 1, NODE_ASK, r->asks.make_ask,
               json_pack("{s:I, s:s}", "epoch", (json_int_t)r->asks.suspicion.epoch, "from", r->replica),
               done);
    read_answer(r);
}

static void standby_pump(struct replicated *r)
{
    struct suspicion *s = &r->asks.suspicion;

    assert(!election_leads(r) && r->election.state != ELECTED);
    if (s->state == SUSPICION_NONE || r->asks.asking)
        return;
    if (s->epoch != tree_epoch(r) || !r->tree.leader || !guard_trusts(r)) {
        *s = (struct suspicion){0};
        return;
    }
    if (s->state == SUSPICION_WANTED)
        send_question(r, on_asked);
    else if (suspicion_overdue(s, now_ms(r)))
        send_question(r, on_confirmed);
    else if (r->asks.answer_changed && s->state == SUSPICION_ASKED)
        read_answer(r);
    r->asks.answer_changed = false;
}

/* ---- the leader ---- */

static void leader_failed(struct replicated *r)
{
    assert(!r->asks.ask_read.asked && !r->asks.answering);
    r->asks.ask_read.want = true;
    r->asks.retry_ms = now_ms(r) + ASK_RETRY_MS;
}

static void on_answered(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(r->asks.answering);
    r->asks.answering = false;
    r->asks.make_answer = reply->result == COORD_NO_NODE && !r->asks.make_answer;
    if (reply->result == COORD_OK)
        r->asks.answered = r->asks.answer_sent;
    else if (reply->result == COORD_BAD_VERSION)
        tree_want_leader(r, true); /* another leads */
    else if (r->asks.make_answer || reply->result == COORD_EXISTS)
        r->asks.ask_read.want = true; /* at once: the node is made, or there by now */
    else
        leader_failed(r);
    replicated_pump(r);
}

static void on_ask_read(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);
    json_t *o = parse(reply);
    struct coord_op ops[3];

    assert(r->asks.ask_read.asked);
    r->asks.ask_read.asked = false;
    if (reply->result != COORD_OK && reply->result != COORD_NO_NODE)
        leader_failed(r);
    if (o && (election_leads(r) || r->election.state == ELECTED) && number(o, "epoch") == election_epoch(r) &&
        reply->stat.version != r->asks.answered && !r->asks.answering) {
        r->asks.answering = true;
        r->asks.answer_sent = reply->stat.version;
        write_node(
            r, ops, election_checks(r, ops), NODE_ANSWER, r->asks.make_answer,
            json_pack("{s:I, s:i}", "epoch", (json_int_t)election_epoch(r), "ask", (int)reply->stat.version),
            on_answered);
    }
    json_decref(o);
    replicated_pump(r);
}

static void leader_pump(struct replicated *r)
{
    assert(election_leads(r) || r->election.state == ELECTED);
    if (!r->asks.ask_read.want || r->asks.ask_read.asked || r->asks.answering || now_ms(r) < r->asks.retry_ms)
        return;
    r->asks.ask_read.want = false;
    r->asks.ask_read.asked = true;
    r->coord->ops->get(r->coord, NODE_ASK, true, on_ask_read, r);
}

/* ---- both ---- */

bool ask_may_ask(const struct replicated *r)
{
    return r->session.connected && !r->alarm[0] && !election_closing(r) && r->members.registered;
}

void ask_pump(struct replicated *r)
{
    check_invariants(r);
    if (election_leads(r) || r->election.state == ELECTED)
        leader_pump(r);
    else
        standby_pump(r);
}

void ask_elected(struct replicated *r)
{
    assert(r->election.state == ELECTED);
    r->asks.suspicion = (struct suspicion){0};
    r->asks.ask_read.want = true;
    r->asks.answered = -1;
}

void ask_session(struct replicated *r)
{
    check_invariants(r);
    r->asks.ask_read.want = true;
    r->asks.answered = -1; /* in a tree that went back another question may have that number */
    r->asks.retry_ms = 0;
    suspicion_failed(&r->asks.suspicion, now_ms(r));
}

void ask_changed(struct replicated *r, const char *path)
{
    check_invariants(r);
    if (strcmp(path, NODE_ASK) == 0)
        r->asks.ask_read.want = true;
    else if (strcmp(path, NODE_ANSWER) == 0)
        r->asks.answer_changed = true;
}

uint64_t ask_wake_ms(const struct replicated *r)
{
    check_invariants(r);
    if (election_leads(r) || r->election.state == ELECTED)
        return r->asks.ask_read.want && now_ms(r) < r->asks.retry_ms ? r->asks.retry_ms : UINT64_MAX;
    return r->asks.suspicion.state == SUSPICION_ASKED ? r->asks.suspicion.deadline_ms : UINT64_MAX;
}
