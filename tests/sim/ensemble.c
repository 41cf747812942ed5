/* The replicated journal beneath the schedulers: in these worlds every process has the shipped core of leader/, on a
 * ZooKeeper whose servers lag, whose answers are late or lost, and whose sessions end. What is durable is what its log
 * holds; the monitor is told of it before anybody else can be.
 *
 * Happy path: ensemble_start -> requests wait at the replica's seat, and EVENT_SEAT carries them out and answers them ->
 * the core's events reach the scheduler -> ensemble_crash, whose session ends some time later.
 */
#include "leader/replicated/replicated_priv.h"
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>

#define SECRET     "0000000000000000000000000000000000000000000000000000000000000000"
#define LOG_KEEP   20000 /* bytes: truncated often */
#define TICK_MS    400
#define STOPPED_MS 3000 /* from SIGTERM to the end */
#define AT_ONCE    4    /* answers that come together */

/* ---- what is durable ---- */

static const struct znode_version *at(struct world *w, const char *path)
{
    return znode_at(znodes_find(&w->zoo.tree, path), INT64_MAX);
}

/* A batch's node: the epoch's nonce, a newline, its text. */
static void look(struct world *w)
{
    const struct znode_version *v;
    char path[COORD_PATH_MAX];

    v = at(w, NODE_RECOVERED);
    if (v && !w->failures)
        loss_look(w, v);
    while (!w->failures) {
        const char *from;
        size_t size;
        char *text;

        snprintf(path, sizeof(path), "/log/%010zu", w->batch_count + 1);
        v = at(w, path);
        if (!v)
            return;
        from = memchr(v->data, '\n', v->size);
        if (!from) {
            violation(w, "%s is invalid", path);
            return;
        }
        size = v->size - (size_t)(++from - v->data);
        text = alloc_zero(size + 1);
        memcpy(text, from, size);
        journal_durable(w, text, size);
    }
}

/* ---- the core's events ---- */

static void on_restore(void *arg, const char *text, size_t size, uint64_t index)
{
    struct replica *r = arg;

    look(r->world);
    if (!r->scheduler)
        return;
    r->world->restores += text != NULL;
    if (text && r->told < index)
        r->told = r->kept = index; /* older history is copied from a peer */
    r->fed = index;
    scheduler_journal_events.restore(r->scheduler, text, size, index);
}

static void on_batch(void *arg, const struct batch *batch, const char *text, size_t size)
{
    struct replica *r = arg;

    look(r->world);
    if (!r->scheduler)
        return;
    r->fed = batch->index;
    scheduler_journal_events.batch(r->scheduler, batch, text, size);
    if (!r->world->failures && r->fed == r->world->batch_count)
        check_same_state(r, "following");
}

static int64_t epoch_now(struct world *w)
{
    const struct znode_version *v = at(w, NODE_EPOCH);
    json_t *o = v ? json_loadb(v->data, v->size, 0, NULL) : NULL;
    int64_t epoch = o ? json_integer_value(json_object_get(o, "base")) + v->version : 0;

    json_decref(o);
    return epoch;
}

static void on_lead(void *arg, int64_t epoch, const char *cause)
{
    struct replica *r = arg;
    struct world *w = r->world;

    look(w);
    if (!r->scheduler)
        return;
    if (epoch == epoch_now(w) && r->fed != w->batch_count)
        violation(w, "r%d leads with %" PRIu64 " batches of %zu", r->number, r->fed, w->batch_count);
    tell(w, "r%d LEADS, epoch %" PRId64 ": %s", r->number, epoch, cause);
    r->epoch = epoch;
    w->takeovers += w->epoch > 0;
    if (epoch > w->epoch) {
        w->epoch = epoch;
        w->leader = r->number;
    }
    scheduler_journal_events.lead(r->scheduler, epoch, cause);
    plan_for(r, EVENT_LOOK, between(w, 0, 1000));
}

static void on_recovered(void *arg, const struct journal_recovery *recovery)
{
    struct replica *r = arg;

    if (r->scheduler)
        scheduler_journal_events.recovered(r->scheduler, recovery);
}

static void on_acked(void *arg, uint64_t index)
{
    struct replica *r = arg;

    look(r->world);
    if (r->scheduler)
        scheduler_journal_events.acked(r->scheduler, index);
}

static void leadership_is_over(struct replica *r)
{
    struct world *w = r->world;

    if (w->leader == r->number && r->epoch == w->epoch)
        w->leader = -1;
    journal_forget_offers(w, r->number);
}

static void on_deposed(void *arg, const struct error *why)
{
    struct replica *r = arg;

    tell(r->world, "r%d is DEPOSED: %s", r->number, why->text);
    leadership_is_over(r);
    if (r->scheduler)
        scheduler_journal_events.deposed(r->scheduler, why);
}

static void on_yield(void *arg)
{
    struct replica *r = arg;

    if (r->scheduler)
        scheduler_journal_events.yield(r->scheduler);
}

static const struct journal_events events = {on_restore, on_batch, on_lead,     on_acked,
                                             on_deposed, on_yield, on_recovered};

/* ---- what the core stands on ---- */

static uint64_t env_boot(void *arg)
{
    struct replica *r = arg;

    return (uint64_t)(r->world->now_ms - START_MS + 1 + r->extra_ms);
}

static int64_t env_wall(void *arg)
{
    return clocks_believed_ms(arg);
}

static uint64_t env_random(void *arg)
{
    return draw(((struct replica *)arg)->world);
}

static void env_wake(void *arg, uint64_t boot_ms)
{
}

static void env_log(void *arg, enum log_level level, const char *event, const char *text)
{
    tell(((struct replica *)arg)->world, "r%d {%d} %s: %s", ((struct replica *)arg)->number, level, event,
         text);
}

static bool host_fit(void *arg, const char **ret_why)
{
    return clocks_fit(arg, ret_why);
}

static bool host_clock_believed(void *arg)
{
    clocks_believed_ms(arg);
    return !((struct replica *)arg)->clock.held;
}

static char *host_state(void *arg, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                        int64_t *ret_time_ms)
{
    return loss_state(arg, index, hash, ret_size, ret_level, ret_time_ms);
}

static json_t *host_member(void *arg)
{
    return json_pack("{s:s}", "url", "http://127.0.0.1:1");
}

static uint64_t host_durable(void *arg)
{
    return ((struct replica *)arg)->kept;
}

static void host_changed(void *arg)
{
}

static void host_marked(void *arg, const struct mark *mark)
{
    ((struct replica *)arg)->mark = *mark;
}

/* ---- lives ---- */

static void connect_seat(struct replica *r)
{
    r->seat.lags = chance(r->world, 600);
    if (r->seat.session == 0 && r->seat.coord.events && r->connected_once)
        r->seat.coord.events->expired(r->seat.coord.arg, "the session has expired");
    r->connected_once = true;
    seat_connect(&r->seat);
}

void ensemble_start(struct replica *r)
{
    struct world *w = r->world;
    struct replicated_options o = {.replica = r->number ? "second" : "first",
                                   .url = "http://127.0.0.1:1",
                                   .cluster_uuid = SIM_CLUSTER,
                                   .mark = r->mark,
                                   .found = true,
                                   .join_cluster = SIM_CLUSTER,
                                   .level = RECORD_LEVEL,
                                   .log_keep_bytes = LOG_KEEP,
                                   .secret = SECRET,
                                   .env = &r->core_env,
                                   .host = &r->core_host};

    w->zoo.now_ms = w->now_ms;
    r->core_env = (struct replicated_env){env_boot, env_wall, env_random, env_wake, env_log, r};
    r->core_host = (struct replicated_host){.fit = host_fit,
                                            .member = host_member,
                                            .durable = host_durable,
                                            .changed = host_changed,
                                            .clock_believed = host_clock_believed,
                                            .state = host_state,
                                            .marked = host_marked,
                                            .arg = r};
    r->seat = (struct seat){.coord = {.ops = &seat_ops}, .zoo = &w->zoo};
    list_init(&r->seat.asks);
    r->connected_once = r->seat_planned = false;
    r->extra_ms = 0;
    w->zoo.seats[r->number] = &r->seat;
    if (w->zoo.count <= (size_t)r->number)
        w->zoo.count = (size_t)r->number + 1;
    r->core = replicated_new(&o, &r->seat.coord, &events, r);
    plan_for(r, EVENT_CONNECT, between(w, 0, 500));
    plan_for(r, EVENT_TICK, TICK_MS);
}

static void nothing(void *arg)
{
}

/* Its session ends, if it is still silent then, or gone. */
static void plan_session_end(struct replica *r, int64_t delay_ms)
{
    struct event *e;

    r->silent_since_ms = r->world->now_ms;
    if (r->seat.session == 0)
        return;
    e = plan(r->world, EVENT_SESSION, delay_ms);
    e->index = (uint64_t)r->seat.session;
    e->host = r->number;
}

/* The scheduler is gone already. So much of what was sent is still carried out. */
void ensemble_crash(struct replica *r)
{
    struct world *w = r->world;
    int64_t epoch = r->epoch;

    w->zoo.now_ms = w->now_ms;
    if (r->seat.connected)
        seat_cut(&r->seat, draw(w) % AT_ONCE);
    look(w);
    leadership_is_over(r);
    plan_session_end(r, chance(w, 500) ? between(w, 0, 2000) : SESSION_MS);
    r->core->ops->close(r->core, nothing, r);
    while (!r->seat.closed) { /* until it has no patience any more; nobody else sees that time */
        r->extra_ms += 1000;
        replicated_tick(r->core);
    }
    r->seat.session = 0;
    seat_finish_close(&r->seat);
    r->core = NULL;
    for (int i = 0; i < w->replica_count; i++)
        if (i != r->number && w->replicas[i].core && chance(w, 600)) /* it sees the connection close */
            plan_for(&w->replicas[i], EVENT_GONE, between(w, 1, 300))->index = (uint64_t)epoch;
}

/* SIGTERM */
void ensemble_stop(struct replica *r)
{
    replicated_retire(r->core);
    plan_for(r, EVENT_END, between(r->world, 0, STOPPED_MS));
}

void ensemble_release(struct world *w)
{
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].core)
            ensemble_crash(&w->replicas[i]);
    for (int i = 0; i < w->replica_count; i++)
        free(w->replicas[i].recovery);
    znodes_copy_free(w->old_tree);
    znodes_copy_free(w->right_tree);
    znodes_release(&w->zoo.tree);
}

void ensemble_init(struct world *w)
{
    znodes_init(&w->zoo.tree);
}

/* ---- what befalls them ---- */

void ensemble_cut(struct replica *r)
{
    struct world *w = r->world;

    if (!r->core || !r->seat.connected)
        return;
    w->journal_failures++;
    tell(w, "r%d is CUT OFF from ZooKeeper", r->number);
    seat_cut(&r->seat, draw(w) % AT_ONCE);
    look(w);
    plan_session_end(r, SESSION_MS);
    plan_for(r, EVENT_CONNECT, often_short(w, 1000, 30000));
}

/* It was stopped just now: what it had sent goes on its way. */
void ensemble_freeze(struct replica *r)
{
    for (uint64_t i = draw(r->world) % AT_ONCE; i > 0 && seat_execute(&r->seat); i--)
        ;
    look(r->world);
    plan_session_end(r, SESSION_MS);
}

static void link_broken(struct replica *r, int64_t epoch)
{
    struct replicated_link link = {REPLICATED_LINK_BROKEN, "Connection refused", 0};

    replicated_leader_link(r->core, epoch, &link);
}

/* Another is told to take its place: it does not fire, or cannot be reached. */
void ensemble_take_over(struct world *w)
{
    struct replica *other = &w->replicas[1 - w->leader];

    if (!other->core || other->frozen_until_ms > w->now_ms)
        return;
    if (chance(w, 500))
        link_broken(other, w->epoch);
    else
        replicated_depose(other->core, w->epoch, "a job is overdue");
}

void ensemble_step_down(struct replica *r)
{
    if (r->core && r->frozen_until_ms <= r->world->now_ms && replicated_step_down(r->core, NULL) == 0)
        r->world->step_downs++;
}

void ensemble_orphan(struct world *w)
{
    static const char *const texts[] = {
        "{\"replica\":\"ghost\",\"url\":\"http://127.0.0.1:1\",\"nonce\":\"0000000000000000\"}", "by hand",
        ""};
    const char *text = texts[draw(w) % (sizeof(texts) / sizeof(texts[0]))];
    const struct znode_txn *txn;
    struct coord_stat stat;
    struct coord_op ops[] = {{.kind = COORD_DELETE, .path = NODE_LEADER, .version = COORD_ANY},
                             {COORD_CREATE, NODE_LEADER, text, strlen(text), COORD_ANY}};
    size_t skip = at(w, NODE_LEADER) ? 0 : 1;

    if (!at(w, NODE_EPOCH))
        return;
    w->orphans++;
    tell(w, "an orphan is in " NODE_LEADER ": %s", text);
    znodes_multi(&w->zoo.tree, ops + skip, 2 - skip, 0, w->now_ms, &txn, &stat);
    zoo_told(&w->zoo);
}

/* ---- a tree that went back ---- */

static void put_tree(struct world *w, const struct znodes_copy *copy)
{
    w->zoo.now_ms = w->now_ms;
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].core && w->replicas[i].seat.session)
            seat_session_ends(&w->replicas[i].seat);
    znodes_copy_put(&w->zoo.tree, copy, NULL, 0);
    for (size_t i = 0; i < w->zoo.count; i++)
        seat_catch_up(w->zoo.seats[i]);
}

/* All know more than it then holds, so it goes on with none of them until it is right again. */
void ensemble_goes_wrong(struct world *w)
{
    bool emptied = chance(w, 300);

    if (w->right_tree)
        return;
    if (!w->old_tree || chance(w, 300)) {
        znodes_copy_free(w->old_tree);
        w->old_tree = znodes_copy_take(&w->zoo.tree);
        w->old_count = w->batch_count;
        return;
    }
    for (int i = 0; i < w->replica_count; i++)
        if (w->replicas[i].mark.index <= w->old_count)
            return;
    look(w);
    tell(w, "ZooKeeper's tree GOES BACK to %zu batches", emptied ? (size_t)0 : w->old_count);
    w->wrong_trees++;
    w->right_tree = znodes_copy_take(&w->zoo.tree);
    put_tree(w, emptied ? NULL : w->old_tree);
    if (chance(w, 400))
        plan(w, EVENT_RECOVER, between(w, 1000, 60000));
    else
        plan(w, EVENT_RIGHT, often_short(w, 500, 60000));
}

void ensemble_on_right(struct world *w)
{
    if (!w->right_tree)
        return;
    tell(w, "ZooKeeper's tree is RIGHT again");
    put_tree(w, w->right_tree);
    znodes_copy_free(w->right_tree);
    w->right_tree = NULL;
}

/* ---- events ---- */

void ensemble_on_connect(struct replica *r)
{
    if (r->core && !r->seat.connected)
        connect_seat(r);
}

void ensemble_on_tick(struct replica *r)
{
    const char *alarm;

    clocks_hear(r);
    replicated_tick(r->core);
    alarm = replicated_view(r->core)->alarm;
    if (alarm[0] && r->world->wrong_trees == 0)
        violation(r->world, "r%d refuses a tree that is right: %s", r->number, alarm);
    plan_for(r, EVENT_TICK, between(r->world, TICK_MS / 2, TICK_MS));
}

void ensemble_on_seat(struct replica *r)
{
    struct world *w = r->world;

    r->seat_planned = false;
    if (!r->seat.connected)
        return;
    if (r->seat.session == 0) { /* its server says that the session is over */
        seat_cut(&r->seat, 0);
        plan_for(r, EVENT_CONNECT, often_short(w, 20, 3000));
    } else if (chance(w, 250)) {
        seat_execute(&r->seat);
    } else {
        for (uint64_t i = 1 + draw(w) % AT_ONCE; i > 0 && seat_step(&r->seat); i--)
            ;
        if (chance(w, 200))
            seat_catch_up(&r->seat);
    }
    look(w);
}

void ensemble_on_gone(struct replica *r, int64_t epoch)
{
    link_broken(r, epoch);
}

void ensemble_on_session(struct world *w, int number, int64_t session)
{
    struct replica *r = &w->replicas[number];
    bool alive = r->core && r->seat.session == session;

    if (alive && ((r->seat.connected && r->frozen_until_ms <= w->now_ms) ||
                  w->now_ms - r->silent_since_ms < SESSION_MS))
        return;
    tell(w, "session %" PRId64 " of r%d ends", session, number);
    if (alive) {
        seat_session_ends(&r->seat);
    } else {
        znodes_end_session(&w->zoo.tree, session);
        zoo_told(&w->zoo);
    }
}

/* After every step: who has something on its way gets it some time. */
void ensemble_after_step(struct world *w)
{
    int64_t seen = w->zoo.tree.zxid;

    for (int i = 0; i < w->replica_count; i++) {
        struct replica *r = &w->replicas[i];

        if (!r->core || !r->seat.connected)
            continue;
        seen = r->seat.seen < seen ? r->seat.seen : seen;
        if (r->seat_planned ||
            (list_empty(&r->seat.asks) && r->seat.session && r->seat.seen == w->zoo.tree.zxid))
            continue;
        r->seat_planned = true;
        plan_for(r, EVENT_SEAT, often_short(w, 3, 1500));
    }
    if (w->steps % 64 == 0)
        znodes_trim(&w->zoo.tree, seen);
}
