/* Random worlds around the shipped replicated journal (leader/): replicas that append, crash, freeze, are cut off,
 * lag behind, depose one another and take snapshots, on a ZooKeeper that executes, answers and tells of changes in any
 * order that the real one may. In each world its tree goes back to an earlier copy, or is emptied, at least once. A seed
 * is a world; the first violation ends it, prints the seed and how to replay it, and exits with 1. What may never be,
 * after any step:
 *
 *   - a batch in ZooKeeper that another one replaces, that does not follow the one before, or that is of an older epoch
 *   - a batch that was acknowledged, or given to a replica, and never was in ZooKeeper
 *   - two that lead in one epoch, one that leads without all that was appended before
 *   - one that is given another history than the one that it knows, or leads without what it or a member knows
 *   - one that begins to lead beside one that says over its link that it leads, here or in another ensemble
 *   - a replica that stops for good, or refuses a tree that is right
 *
 * and at the end, when the tree is right again and nothing more befalls them: one leads, an orphan in the leader's place
 * or not; it stays when only links between replicas are down; all are alike, and one that begins with nothing joins.
 */
#include "tests/sim/elections.h"

#include "jobs/base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECRET        "0000000000000000000000000000000000000000000000000000000000000000"
#define LOG_KEEP      4000 /* bytes: truncated often */
#define BATCH_MAX     400
#define APPENDS_MAX   8
#define REST_STEPS    10000  /* without that any time passes */
#define QUIET_MS      400000 /* until all is well: longer than anybody holds back */
#define LEVEL         2
#define REJECTIONS    60 /* of links between replicas, while nothing else fails */
#define FIRST_WALL_MS INT64_C(1700000000000)

double elections_now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t chance(struct world *w, uint64_t n)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng % n;
}

void violated(struct world *w, const char *format, ...)
{
    va_list ap;

    if (w->failed)
        return;
    w->failed = true;
    printf("VIOLATION at step %" PRIu64 ": ", w->steps);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
}

void tell(struct world *w, const char *format, ...)
{
    va_list ap;

    if (!w->verbose)
        return;
    printf("%" PRIu64 " %" PRId64 " ms: ", w->steps, w->zoo.now_ms);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
}

/* ---- what a replica stands on ---- */

static uint64_t env_boot(void *arg)
{
    struct node *n = arg;

    return (uint64_t)(n->world->zoo.now_ms + n->extra_ms);
}

static int64_t env_wall(void *arg)
{
    return (int64_t)env_boot(arg) + FIRST_WALL_MS;
}

static uint64_t env_random(void *arg)
{
    return chance(((struct node *)arg)->world, UINT64_MAX);
}

static void env_wake(void *arg, uint64_t at)
{
}

static void env_log(void *arg, enum log_level level, const char *event, const char *text)
{
    struct node *n = arg;

    tell(n->world, "%s: %s: %s", n->id, event, text);
    if (strcmp(event, "elected") != 0)
        return;
    n->elected_step = n->world->steps;
    for (size_t i = 0; i < n->world->zoo.count; i++)
        n->world->nodes[i].held_up = false;
}

static bool host_fit(void *arg, const char **ret_why)
{
    *ret_why = "its engines do not answer";
    return !((struct node *)arg)->unfit;
}

static bool host_clock_believed(void *arg)
{
    return !((struct node *)arg)->disputed;
}

static json_t *host_member(void *arg)
{
    return json_pack("{s:s}", "url", ((struct node *)arg)->id);
}

static uint64_t host_durable(void *arg)
{
    return ((struct node *)arg)->mark.index;
}

static void host_marked(void *arg, const struct mark *mark)
{
    struct node *n = arg;

    n->mark = *mark;
    tree_check_marked(n);
}

static bool host_ask_members(void *arg)
{
    return links_ask(arg);
}

static char *host_state(void *arg, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                        int64_t *ret_time_ms)
{
    const struct node *n = arg;
    char *text = alloc_zero(64);

    snprintf(text, 64, "%" PRIu64 " %s", index, hash);
    *ret_size = strlen(text);
    *ret_level = LEVEL;
    *ret_time_ms = FIRST_WALL_MS;
    if (n->given)
        return text;
    free(text);
    return NULL;
}

static void host_changed(void *arg)
{
}

/* ---- the owner of its journal ---- */

static void on_restore(void *arg, const char *text, size_t size, uint64_t index)
{
    struct node *n = arg;

    if (n->leading)
        violated(n->world, "%s starts again while it leads", n->id);
    n->restored = n->given = true;
    n->told_of_recovery = false;
    n->index = index;
    n->hash[0] = '\0';
    if (text)
        sscanf(text, "%*u %32s", n->hash);
    n->world->restores += text != NULL;
    tree_check_given(n, "given with a snapshot");
}

static void on_batch(void *arg, const struct batch *batch, const char *text, size_t size)
{
    struct node *n = arg;

    if (!n->restored || batch->index != n->index + 1 || strcmp(batch->prev, n->hash) != 0)
        violated(n->world, "%s was given batch %" PRIu64 " after %" PRIu64, n->id, batch->index, n->index);
    n->index = batch->index;
    batch_hash(text, size, n->hash);
    tree_check_given(n, "given");
}

static void on_lead(void *arg, int64_t epoch, const char *cause)
{
    struct node *n = arg;
    struct world *w = n->world;

    n->epoch = epoch;
    tell(w, "%s leads in epoch %" PRId64 " with %" PRIu64 " batches; the tree is in epoch %" PRId64, n->id,
         epoch, n->index, tree_epoch_now(w));
    tree_check_lead(n);
    links_check_lead(n);
    n->claims_step = w->steps;
    if (n->leading || epoch >= EPOCHS_MAX || (w->led[epoch] && tree_elected_last(n)))
        violated(w, "%s leads in epoch %" PRId64 ", in which one has led", n->id, epoch);
    else if (tree_elected_last(n)) /* else its answers were on the way when the tree went back */
        w->led[epoch] = true;
    w->elections++;
    n->leading = true;
    n->acked = n->index;
    if (w->elected == n && chance(w, 4) == 0)
        w->undo = n;
}

static void append(struct node *n, uint64_t count)
{
    while (count-- > 0 && n->leading) {
        struct batch *b = batch_new(n->epoch, env_wall(n));
        struct record *r = batch_add(b, RECORD_NOTE);
        char text[BATCH_MAX + 1], hash[33], *encoded;
        size_t size = chance(n->world, BATCH_MAX);

        memset(text, 'a' + (int)chance(n->world, 26), size);
        text[size] = '\0';
        RECORD_TEXT(b, r, run, "a@20261122T030000Z");
        RECORD_TEXT(b, r, text, text);
        b->index = n->index + 1;
        memcpy(b->prev, n->hash, sizeof(b->prev));
        encoded = batch_encode(b, &size);
        batch_hash(encoded, size, hash);
        free(encoded);
        if (n->journal->ops->append(n->journal, b) < 0)
            return; /* it steps down */
        n->index++;
        memcpy(n->hash, hash, sizeof(hash));
    }
}

static void on_acked(void *arg, uint64_t index)
{
    struct node *n = arg;
    struct world *w = n->world;

    if (!n->leading || index <= n->acked || index > n->index)
        violated(w, "%s: %" PRIu64 " is acknowledged, of %" PRIu64 " to %" PRIu64, n->id, index, n->acked,
                 n->index);
    tree_check_acked(n, index);
    n->acked = index;
    w->acks++;
    if (w->seed % 8 == 3 && chance(w, 4) == 0) /* the other worlds stay as they were when they went wrong */
        append(n, 1);                          /* from within, as the scheduler does */
}

static void on_deposed(void *arg, const struct error *why)
{
    struct node *n = arg;

    tell(n->world, "%s is deposed: %s", n->id, why->text);
    if (!n->leading)
        violated(n->world, "%s is deposed and did not lead", n->id);
    n->leading = n->restored = false; /* what it appended and nobody acknowledged is void: it is restored */
}

static void on_yield(void *arg)
{
    append(arg, 1);
}

static void on_recovered(void *arg, const struct journal_recovery *recovery)
{
    struct node *n = arg;

    n->told_of_recovery = true;
}

static const struct journal_events events = {on_restore, on_batch, on_lead,     on_acked,
                                             on_deposed, on_yield, on_recovered};

static void snapshot(struct node *n)
{
    char *text = alloc_zero(64);

    snprintf(text, 64, "%" PRIu64 " %s", n->index, n->hash);
    n->journal->ops->snapshot(n->journal, text, strlen(text), n->index, LEVEL);
    n->world->snapshots++;
}

/* ---- lives ---- */

static void start(struct world *w, size_t i)
{
    struct node *n = &w->nodes[i];
    struct replicated_options o = {.replica = n->id,
                                   .url = "http://127.0.0.1:1",
                                   .cluster_uuid = "uuid",
                                   .mark = n->mark,
                                   .found = !w->founded,
                                   .join_cluster = "uuid",
                                   .secret = SECRET,
                                   .level = LEVEL,
                                   .log_keep_bytes = LOG_KEEP,
                                   .env = &n->env,
                                   .host = &n->host};

    snprintf(n->id, sizeof(n->id), "%c", (char)('a' + i));
    n->world = w;
    n->env = (struct replicated_env){env_boot, env_wall, env_random, env_wake, env_log, n};
    n->host = (struct replicated_host){.fit = host_fit,
                                       .member = host_member,
                                       .durable = host_durable,
                                       .changed = host_changed,
                                       .clock_believed = host_clock_believed,
                                       .marked = host_marked,
                                       .ask_members = host_ask_members,
                                       .state = host_state,
                                       .arg = n};
    n->seat = (struct seat){.coord = {.ops = &seat_ops}, .zoo = &w->zoo, .lags = chance(w, 4) > 0};
    n->held_up = n->leading = n->restored = n->frozen = n->unfit = n->disputed = n->given = n->recovering =
        false;
    n->index = n->acked = 0;
    n->closed = 0;
    n->extra_ms = 0;
    list_init(&n->seat.asks);
    w->zoo.seats[i] = &n->seat;
    w->zoo.count = i + 1 > w->zoo.count ? i + 1 : w->zoo.count;
    n->journal = replicated_new(&o, &n->seat.coord, &events, n);
    tell(w, "%s starts", n->id);
    seat_connect(&n->seat);
}

static void on_closed(void *arg)
{
    ((struct node *)arg)->closed++;
}

/* The process is gone; so much of what it had sent is still executed. Its session stands. */
static void crash(struct node *n, size_t executed)
{
    struct world *w = n->world;

    tell(w, "%s dies", n->id);
    if (n->seat.connected)
        seat_cut(&n->seat, executed);
    tree_check(w);
    n->journal->ops->close(n->journal, on_closed, n);
    while (!n->seat.closed) { /* until it has no patience any more; nobody else sees that time */
        n->extra_ms += 1000;
        replicated_tick(n->journal);
    }
    if (n->seat.session && w->dead_count < DEAD_MAX)
        w->dead[w->dead_count++] = n->seat.session;
    n->seat.session = 0;
    seat_finish_close(&n->seat);
    n->journal = NULL;
    links_forget(n);
    w->crashes++;
}

static void connect_seat(struct node *n)
{
    if (n->seat.session == 0)
        n->seat.coord.events->expired(n->seat.coord.arg, "the session has expired");
    n->seat.lags = chance(n->world, 4) > 0;
    seat_connect(&n->seat);
}

static void end_session(struct node *n)
{
    tell(n->world, "the session of %s ends", n->id);
    seat_session_ends(&n->seat);
    n->world->expiries++;
}

static void end_dead_session(struct world *w)
{
    size_t i = chance(w, w->dead_count);

    znodes_end_session(&w->zoo.tree, w->dead[i]);
    w->dead[i] = w->dead[--w->dead_count];
    zoo_told(&w->zoo);
}

static bool campaigns(struct node *n)
{
    const struct ask *a = seat_next(&n->seat);
    bool any = false;

    for (size_t i = 0; a && a->kind == ASK_MULTI && i < a->count; i++)
        any |= a->ops[i].kind == COORD_CREATE_EPHEMERAL && strcmp(a->ops[i].path, NODE_LEADER) == 0;
    return any;
}

/* Its server tells it when it asks for anything. */
static void move(struct node *n, uint64_t how)
{
    if (!n->seat.connected || n->held_up)
        return;
    if (campaigns(n) && n->seat.session)
        tree_keep_before(n);
    if (n->seat.session == 0) {
        seat_cut(&n->seat, 0);
        return;
    }
    if (how < 10)
        seat_refuse(&n->seat);
    else if (how < 200)
        seat_execute(&n->seat);
    else if (!n->frozen && !seat_step(&n->seat))
        seat_catch_up(&n->seat);
}

static void pass(struct world *w, int64_t ms)
{
    w->zoo.now_ms += ms;
    links_time(w);
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].journal && !w->nodes[i].frozen)
            replicated_tick(w->nodes[i].journal);
    links_pass(w);
}

static void on_recover_done(void *arg, const struct error *error)
{
    struct node *n = arg;

    if (error)
        tell(n->world, "%s has not recovered: %s", n->id, error->text);
    n->recovering = false;
    n->world->recoveries += error == NULL;
}

static void recover(struct node *n, bool from_here)
{
    struct replicated_recovery how = {.from_here = from_here, .by = "somebody"};
    struct error error = {0};

    if (n->recovering)
        return;
    n->recovering = true;
    if (replicated_recover(n->journal, &how, on_recover_done, n, &error) < 0) {
        tell(n->world, "%s does not recover: %s", n->id, error.text);
        n->recovering = false;
    }
}

/* One path rejects: it seems to this replica that the leader is gone. */
static void link_down(struct node *n, int64_t epoch)
{
    struct replicated_link link = {REPLICATED_LINK_BROKEN + chance(n->world, 3), "Connection refused", 0};

    replicated_leader_link(n->journal, epoch, &link);
}

/* A node in place of the leader's that belongs to no replica, with the text and the session of one or of a person. */
static void orphan_leader(struct world *w)
{
    static const char *const texts[] = {
        "{\"replica\":\"ghost\",\"url\":\"http://127.0.0.1:1\",\"nonce\":\"0000000000000000\"}",
        "{\"replica\":\"a\"}", "by hand", ""};
    const char *text = texts[chance(w, sizeof(texts) / sizeof(texts[0]))];
    const struct znode_txn *txn;
    struct coord_stat stat;
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY},
                             {COORD_CREATE, NODE_LEADER, text, strlen(text), COORD_ANY}};
    size_t skip = tree_at(w, NODE_LEADER) ? 0 : 1;

    if (!tree_at(w, NODE_EPOCH))
        return;
    tell(w, "an orphan is in " NODE_LEADER ": %s", text);
    znodes_multi(&w->zoo.tree, ops + skip, 2 - skip, 0, w->zoo.now_ms, &txn, &stat);
    zoo_told(&w->zoo);
}

/* Words of others, true or not. */
static void meddle(struct node *n)
{
    struct world *w = n->world;
    const struct replicated_view *v = replicated_view(n->journal);

    switch (chance(w, 6)) {
    case 0:
        link_down(n, v->epoch);
        break;
    case 1:
        replicated_depose(n->journal, v->epoch, "a job is overdue");
        break;
    case 2:
        replicated_step_down(n->journal, NULL);
        break;
    case 3:
        if (chance(w, 2) == 0)
            recover(n, chance(w, 2));
        break;
    case 4:
        n->disputed = !n->disputed;
        break;
    default:
        n->unfit = !n->unfit;
    }
}

static void befall(struct world *w)
{
    struct node *n = &w->nodes[chance(w, w->zoo.count)];
    uint64_t dice = chance(w, 1000);

    if (!n->journal) {
        if (dice < 100 && w->steps >= n->down_until)
            start(w, (size_t)(n - w->nodes));
        return;
    }
    if (dice < 700) {
        move(n, chance(w, 1000));
    } else if (dice < 790) {
        pass(w, 1 + (int64_t)chance(w, 400));
    } else if (dice < 890) {
        if (n->leading && !n->frozen)
            append(n, 1 + chance(w, APPENDS_MAX));
    } else if (dice < 910) {
        if (n->leading && n->index > 0 && !n->frozen)
            snapshot(n);
    } else if (dice < 925) {
        if (n->seat.connected && !n->frozen) {
            tell(w, "%s is cut off", n->id);
            seat_cut(&n->seat, chance(w, 4));
            w->cuts++;
        }
    } else if (dice < 960) {
        if (!n->seat.connected && !n->frozen)
            connect_seat(n);
    } else if (dice < 980) {
        if (n->seat.session && (!n->seat.connected || n->frozen))
            end_session(n);
        else if (w->dead_count > 0)
            end_dead_session(w);
    } else if (dice < 984) {
        crash(n, chance(w, 4));
    } else if (dice < 989) {
        n->frozen = !n->frozen && chance(w, 2);
    } else if (dice < 990) {
        if (chance(w, 4) == 0)
            orphan_leader(w);
    } else if (!n->frozen) {
        meddle(n);
    }
}

/* The ensemble goes on from just before this one was elected. It is paused and knows nothing; a write of it arrives once
 * another has been elected in its place. */
static void undo_election(struct world *w)
{
    struct node *n = w->undo;

    w->undo = NULL;
    if (!n->journal || !n->leading || n->frozen || w->elected != n)
        return;
    tell(w, "the election of %s is undone", n->id);
    append(n, 1);
    n->frozen = n->held_up = true;
    tree_undo_election(w);
}

/* In place of a tree that is put right. */
static void recover_somebody(struct world *w)
{
    size_t first = chance(w, w->zoo.count);

    for (size_t i = 0; i < w->zoo.count; i++) {
        struct node *n = &w->nodes[(first + i) % w->zoo.count];

        if (!n->journal || n->frozen || replicated_view(n->journal)->standing != REPLICATED_REFUSING)
            continue;
        recover(n, chance(w, 2));
        w->right_step = 0;
        return;
    }
}

/* Those that know more are down: perhaps it goes on without them. */
static void leave_one(struct world *w)
{
    size_t left = chance(w, w->zoo.count);

    for (size_t i = 0; i < w->zoo.count; i++)
        if (i != left) {
            if (w->nodes[i].journal)
                crash(&w->nodes[i], 0);
            w->nodes[i].down_until = w->steps + chance(w, 1000);
        }
}

/* A session that ends early leaves one that says that it leads, for the rest of its lease: the others may take it for the
 * leader of another ensemble until then. */
static void check_nodes(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count && !w->failed; i++) {
        struct node *n = &w->nodes[i];
        const struct replicated_view *v = n->journal ? replicated_view(n->journal) : NULL;

        if (v && v->standing == REPLICATED_STOPPED)
            violated(w, "%s stops for good: %s", n->id, v->alarm);
        else if (v && v->standing == REPLICATED_REFUSING && !w->went_back && !w->elsewheres &&
                 !strstr(v->alarm, "through another ZooKeeper ensemble"))
            violated(w, "%s refuses a tree that is right: %s", n->id, v->alarm);
    }
}

/* ---- the end ---- */

/* Its time is over, in the middle: nothing is judged any more. */
static bool is_cut(struct world *w)
{
    w->cut = w->cut || (w->until_s > 0 && elections_now_s() > w->until_s);
    return w->cut;
}

static void settle(struct world *w, int64_t ms)
{
    for (int64_t left = ms; left > 0 && !w->failed && !is_cut(w); left -= 500) {
        uint64_t begun = w->steps;

        for (bool any = true; any && !w->failed;) {
            any = links_answer_all(w);
            if (w->steps - begun > REST_STEPS)
                violated(w, "they never come to rest");
            for (size_t i = 0; i < w->zoo.count && !w->failed; i++)
                if (w->nodes[i].journal && w->nodes[i].seat.session) {
                    any |= seat_step(&w->nodes[i].seat);
                    tree_check(w);
                }
            w->steps++;
        }
        links_hear_all(w);
        pass(w, 500);
        check_nodes(w);
    }
}

static struct node *leader(struct world *w)
{
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].journal && w->nodes[i].leading && tree_elected_last(&w->nodes[i]))
            return &w->nodes[i];
    return NULL;
}

/* What they know is not in one history: nobody leads, until somebody decides. */
static void settle_split(struct world *w)
{
    uint64_t recoveries = w->recoveries;

    w->split++;
    for (size_t i = 0; i < 2 * SEATS_MAX && !w->failed && w->recoveries == recoveries; i++) {
        recover(&w->nodes[i % SEATS_MAX], i < SEATS_MAX && chance(w, 2)); /* not all hold a state */
        settle(w, 20000);
    }
    settle(w, QUIET_MS);
}

/* Nothing fails but the ways between replicas: whoever leads stays. */
static void paths_reject(struct world *w, struct node *lead)
{
    for (int i = 0; i < REJECTIONS && !w->failed; i++) {
        struct node *n = &w->nodes[chance(w, w->zoo.count)];

        if (n != lead)
            link_down(n, lead->epoch);
        settle(w, 500);
    }
    if (!w->failed && !w->cut && leader(w) != lead)
        violated(w, "%s was deposed, though it lives and ZooKeeper is well", lead->id);
}

/* Whoever is down starts. */
static void all_connect(struct world *w)
{
    for (size_t i = 0; i < SEATS_MAX && !w->failed; i++) {
        struct node *n = &w->nodes[i];

        n->held_up = n->frozen = n->unfit = n->disputed = false;
        if (!n->journal)
            start(w, i);
        if (n->seat.connected && n->seat.session == 0)
            seat_cut(&n->seat, 0);
        if (!n->seat.connected)
            connect_seat(n);
        n->seat.lags = false;
        seat_catch_up(&n->seat);
    }
}

static void come_to_rest(struct world *w)
{
    struct node *last = &w->nodes[SEATS_MAX - 1], *lead;
    bool one_history;

    tell(w, "nothing more befalls them");
    links_rest(w);
    if (last->journal)
        crash(last, 0);
    while (w->dead_count > 0)
        end_dead_session(w);
    last->mark = (struct mark){.index = 0}; /* its disk is empty: it has to be told everything */
    last->known = NULL;
    all_connect(w);
    settle(w, 1000); /* answers to what the tree does not hold any more may be on the way */
    one_history = tree_put_right(w);
    all_connect(w);
    settle(w, QUIET_MS);
    if (!one_history)
        settle_split(w);
    if (w->cut)
        return;
    lead = leader(w);
    if (!w->failed && !lead)
        violated(w, "nobody leads: %s", replicated_view(last->journal)->alarm);
    if (!w->failed)
        paths_reject(w, lead);
    if (!w->failed) {
        append(lead, 3);
        settle(w, 5000);
    }
    if (w->cut)
        return;
    for (size_t i = 0; i < SEATS_MAX && !w->failed; i++)
        if (w->nodes[i].index != w->last->index || strcmp(w->nodes[i].hash, w->last->hash) != 0)
            violated(w, "%s has %" PRIu64 " batches of %" PRIu64 ": %s", w->nodes[i].id, w->nodes[i].index,
                     w->last->index, replicated_view(w->nodes[i].journal)->alarm);
}

static void trim(struct world *w)
{
    int64_t seen = w->zoo.tree.zxid;

    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].seat.connected && w->nodes[i].seat.seen < seen)
            seen = w->nodes[i].seat.seen;
    znodes_trim(&w->zoo.tree, seen);
}

void elections_run(struct world *w)
{
    znodes_init(&w->zoo.tree);
    w->zoo.now_ms = 1000;
    w->rng = w->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->fault_step = 200 + chance(w, STEPS - 200);
    for (size_t i = 0; i < SEATS_MAX - 1; i++)
        start(w, i);
    while (w->steps < STEPS && !w->failed && !(w->steps % 64 == 0 && is_cut(w))) {
        w->steps++;
        befall(w);
        if (w->undo)
            undo_election(w);
        links_step(w);
        if (w->steps == w->right_step && chance(w, 2))
            recover_somebody(w);
        if (tree_meddle(w) && chance(w, 2))
            leave_one(w);
        tree_check(w);
        check_nodes(w);
        if (w->steps % 64 == 0)
            trim(w);
    }
    if (!w->failed && !w->cut)
        come_to_rest(w);
}

void elections_release(struct world *w)
{
    w->failed = true; /* nothing is judged any more */
    for (size_t i = 0; i < w->zoo.count; i++)
        if (w->nodes[i].journal)
            crash(&w->nodes[i], 0);
    tree_release_copies(w);
    znodes_release(&w->zoo.tree);
}
