/* The links between the replicas in the worlds of `elections`: who is asked whether he leads, when he answers, and what
 * comes of it. Beside the replicas there is, now and then, one of the same cluster in another ensemble (a copy of its
 * data was started there), which says that it leads, and perhaps that it holds more.
 *
 * A question is put on its way, answered from what its target is just then, and delivered, each in a step of its own;
 * after ANSWER_MS it is given up. Links are cut and heal; what a replica says also comes unasked, as with a heartbeat.
 *
 * What may never be: one begins to lead while another that it has asked since its election, and that has answered, said
 * so all the time. That the questions do not keep everybody from leading shows at the end of each world.
 */
#include "tests/sim/elections.h"

#include <inttypes.h>
#include <stdio.h>

#define ANSWER_MS     300
#define ELSEWHERE     SEATS_MAX /* its place among the peers */
#define ELSEWHERE_ID  "z"
#define ELSEWHERE_MAX 800 /* steps */

static bool runs(const struct node *n)
{
    return n->journal && !n->frozen;
}

static bool is_there(const struct world *w, size_t peer)
{
    return peer == ELSEWHERE ? w->elsewhere.there : w->nodes[peer].world != NULL;
}

static size_t index_of(const struct node *n)
{
    return (size_t)(n - n->world->nodes);
}

/* ---- what one says ---- */

/* Between two moments in which it says that it leads it may have said that it does not. */
static struct said say(struct world *w, size_t peer)
{
    const struct replicated_view *v;
    struct said s = {.role = REPLICATED_STANDBY};

    if (peer == ELSEWHERE)
        return w->elsewhere.said;
    v = replicated_view(w->nodes[peer].journal);
    s = (struct said){.role = v->role, .base = v->base, .epoch = v->epoch, .mark = *v->mark};
    snprintf(s.nonce, sizeof(s.nonce), "%s", v->nonce);
    if (s.role != REPLICATED_LEADER)
        w->nodes[peer].claims_step = w->steps;
    return s;
}

static void hear(struct node *n, size_t peer, const struct said *s, int64_t asked_ms)
{
    struct replicated_heard heard = {.id = peer == ELSEWHERE ? ELSEWHERE_ID : n->world->nodes[peer].id,
                                     .url = "http://127.0.0.1:1",
                                     .mark = s->mark,
                                     .role = s->role,
                                     .base = s->base,
                                     .epoch = s->epoch,
                                     .nonce = s->nonce,
                                     .asked_ms = (uint64_t)asked_ms};

    replicated_heard(n->journal, &heard);
}

static bool answers(const struct world *w, size_t peer)
{
    return is_there(w, peer) && (peer == ELSEWHERE || runs(&w->nodes[peer]));
}

/* It comes with a heartbeat. */
static void hear_unasked(struct node *n, size_t peer)
{
    struct world *w = n->world;
    struct said s;

    if (peer == index_of(n) || w->link_down[index_of(n)][peer] || !answers(w, peer))
        return;
    s = say(w, peer);
    hear(n, peer, &s, w->zoo.now_ms);
}

/* ---- questions ---- */

static size_t open_questions(const struct node *n)
{
    size_t count = 0;

    for (size_t peer = 0; peer < PEERS_MAX; peer++)
        count += n->world->questions[index_of(n)][peer].asked;
    return count;
}

bool links_ask(struct node *n)
{
    struct world *w = n->world;

    for (size_t peer = 0; peer < PEERS_MAX; peer++) {
        struct question *q = &w->questions[index_of(n)][peer];

        if (peer == index_of(n) || !is_there(w, peer))
            continue;
        if (w->link_down[index_of(n)][peer])
            w->unheard_step[index_of(n)][peer] = w->steps;
        else
            *q = (struct question){.asked = true, .asked_ms = w->zoo.now_ms};
    }
    return open_questions(n) > 0;
}

void links_forget(struct node *n)
{
    memset(n->world->questions[index_of(n)], 0, sizeof(n->world->questions[0]));
}

/* Answered, or given up. */
static void end(struct node *n, size_t peer)
{
    n->world->questions[index_of(n)][peer].asked = false;
    if (open_questions(n) == 0)
        replicated_members_asked(n->journal);
}

static void give_up(struct node *n, size_t peer)
{
    n->world->unheard_step[index_of(n)][peer] = n->world->steps;
    end(n, peer);
}

static void go_on(struct node *n, size_t peer)
{
    struct world *w = n->world;
    struct question *q = &w->questions[index_of(n)][peer];

    if (q->answered) {
        struct said s = q->said;

        hear(n, peer, &s, q->asked_ms);
        if (n->journal && q->asked)
            end(n, peer);
    } else if (w->link_down[index_of(n)][peer] || !is_there(w, peer) ||
               (peer != ELSEWHERE && !w->nodes[peer].journal)) {
        give_up(n, peer); /* refused */
    } else if (answers(w, peer)) {
        q->said = say(w, peer);
        q->answered = true;
    }
}

void links_pass(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count; i++) {
        struct node *n = &w->nodes[i];

        for (size_t peer = 0; peer < PEERS_MAX && runs(n); peer++) {
            const struct question *q = &w->questions[i][peer];

            if (q->asked && w->zoo.now_ms - q->asked_ms >= ANSWER_MS)
                give_up(n, peer);
        }
    }
}

void links_time(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].journal && replicated_view(w->nodes[i].journal)->role != REPLICATED_LEADER)
            w->nodes[i].claims_step = w->steps;
}

bool links_answer_all(struct world *w)
{
    bool any = false;

    for (size_t i = 0; i < w->zoo.count; i++)
        for (size_t peer = 0; peer < PEERS_MAX && runs(&w->nodes[i]); peer++)
            if (w->questions[i][peer].asked && (w->questions[i][peer].answered || answers(w, peer) ||
                                                peer == ELSEWHERE || !w->nodes[peer].journal)) {
                go_on(&w->nodes[i], peer);
                any = true;
            }
    return any;
}

void links_hear_all(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count; i++)
        for (size_t peer = 0; peer < PEERS_MAX && runs(&w->nodes[i]); peer++)
            hear_unasked(&w->nodes[i], peer);
}

/* ---- the one in another ensemble ---- */

static void appear(struct world *w)
{
    struct elsewhere *e = &w->elsewhere;

    *e = (struct elsewhere){
        .there = true, .since_step = w->steps, .until_step = w->steps + chance(w, ELSEWHERE_MAX)};
    e->said.role = chance(w, 4) ? REPLICATED_LEADER : REPLICATED_ELECTED;
    e->said.epoch = tree_epoch_now(w) + (int64_t)chance(w, 4) - 1;
    e->said.base = chance(w, 3) == 0 ? (int64_t)chance(w, 4) : 0;
    snprintf(e->said.nonce, sizeof(e->said.nonce), "%016" PRIx64, chance(w, UINT64_MAX));
    snprintf(e->said.mark.cluster, sizeof(e->said.mark.cluster), "uuid");
    if (w->last && chance(w, 4) == 0)
        e->said.mark = (struct mark){.index = w->last->index + 1 + chance(w, 3), .cluster = "uuid"};
    w->elsewheres++;
    tell(w, "one elsewhere says that it %s in epoch %" PRId64 ", base %" PRId64 ", and holds %" PRIu64,
         replicated_role_name(e->said.role), e->said.epoch, e->said.base, e->said.mark.index);
}

/* A person says that it does not count any more. */
static void disappear(struct world *w)
{
    tell(w, "there is nobody elsewhere any more");
    w->elsewhere.there = false;
    for (size_t i = 0; i < w->zoo.count; i++)
        if (runs(&w->nodes[i]))
            replicated_forget(w->nodes[i].journal, ELSEWHERE_ID);
}

/* ---- what befalls the links ---- */

static void cut_or_heal(struct world *w, struct node *n, size_t peer)
{
    bool *down = &w->link_down[index_of(n)][peer];

    if (peer == index_of(n) || !is_there(w, peer))
        return;
    *down = !*down && chance(w, 2);
    if (peer != ELSEWHERE)
        w->link_down[peer][index_of(n)] = *down;
    if (!*down)
        return;
    w->unheard_step[index_of(n)][peer] = w->steps;
    replicated_silent(n->journal, peer == ELSEWHERE ? ELSEWHERE_ID : w->nodes[peer].id);
    if (peer == ELSEWHERE || !runs(&w->nodes[peer]))
        return;
    w->unheard_step[peer][index_of(n)] = w->steps;
    replicated_silent(w->nodes[peer].journal, n->id);
}

void links_step(struct world *w)
{
    struct node *n = &w->nodes[chance(w, w->zoo.count)];
    size_t peer = chance(w, PEERS_MAX);
    uint64_t dice = chance(w, 1000);

    if (w->elsewhere.there && w->steps >= w->elsewhere.until_step)
        disappear(w);
    else if (!w->elsewhere.there && w->founded && dice == 0)
        appear(w);
    if (!runs(n))
        return;
    if (w->questions[index_of(n)][peer].asked && dice < 900)
        go_on(n, peer);
    else if (dice > 980)
        hear_unasked(n, peer);
    else if (dice > 970)
        cut_or_heal(w, n, peer);
}

void links_rest(struct world *w)
{
    if (w->elsewhere.there)
        disappear(w);
    memset(w->link_down, 0, sizeof(w->link_down));
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].journal)
            replicated_forget(w->nodes[i].journal, ELSEWHERE_ID);
}

/* ---- who may lead ---- */

void links_check_lead(const struct node *n)
{
    struct world *w = n->world;

    for (size_t peer = 0; peer < PEERS_MAX; peer++) {
        uint64_t since = w->elsewhere.since_step;

        if (peer == index_of(n) || !answers(w, peer) ||
            w->unheard_step[index_of(n)][peer] >= n->elected_step || say(w, peer).role != REPLICATED_LEADER)
            continue;
        if (peer != ELSEWHERE)
            since = w->nodes[peer].claims_step;
        if (since < n->elected_step)
            violated(w, "%s leads, though %s said all the time that it leads", n->id,
                     peer == ELSEWHERE ? "one elsewhere" : w->nodes[peer].id);
    }
}
