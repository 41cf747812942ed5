/* The simulator: one world in one thread on virtual time, around the shipped scheduler, fold, planner and
 * launch protocol. A seed makes the world: jobs, an engine with latencies and failures, a journal with an ack
 * delay, crashes of the scheduler at any event. After every event the invariants that can be checked at once
 * are; at the end, when all is quiet, the ledger of fire times is compared with the schedules.
 *
 *   sim [--seed N] [--worlds N] [--hours H] [--verbose]
 *
 * A failure prints the seed and how to replay it, and exits with 1.
 */
#include "jobs/alloc.h"
#include "jobs/scheduler_priv.h"
#include "jobs/text.h"
#include "jobs/zoneinfo.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define START_MS INT64_C(1763800000000)

/* ---- the world ---- */

enum event_kind {
    EVENT_WAKE,
    EVENT_ACK,
    EVENT_CALL,
    EVENT_ANSWER,
    EVENT_EXIT,
    EVENT_CRASH,
    EVENT_REQUEST,
    EVENT_ENGINE
};

struct event {
    struct heap_item at;
    enum event_kind kind;
    int life; /* of the scheduler it belongs to; others are dropped */
    uint64_t index;
    enum engine_op op;
    struct engine_answer answer;
    char *name, *id, *run, *text;
    uint64_t ticket;
    int attempt;
    bool may_have_run;
};

enum object_state { OBJECT_CREATED, OBJECT_RUNNING, OBJECT_EXITED, OBJECT_GONE };

struct object {
    char name[40], id[48], run[RUN_ID_MAX];
    int attempt, starts, exit_code;
    enum object_state state;
    int64_t started_ms, ended_ms;
    uint64_t watch_ticket;
    int watch_life;
    bool fenced; /* a fence removed it: if that leader dies before its verdict is durable, nobody can know */
    UT_hash_handle hh;
};

struct account { /* one run as history shows it, or a skip */
    char key[RUN_ID_MAX];
    int64_t fire_ms;
    char verdict[16], state[16], cause[16];
    UT_hash_handle hh;
};

struct skip {
    char job[JOB_NAME_MAX + 1];
    int64_t from_ms, to_ms, count;
};

struct world {
    uint64_t rng;
    int64_t now_ms;
    int life;
    bool verbose, down, engine_down, quiet;
    struct heap events;
    uint64_t event_seq, steps;
    char **batches; /* committed texts */
    size_t batch_count, pending_count;
    int64_t epoch, wake_ms;
    struct event *wake;
    struct object *objects;
    struct account *accounts;
    struct skip *skips;
    size_t skip_count;
    struct scheduler *scheduler;
    struct scheduler_env env;
    struct engine engine;
    struct engine *engines[1];
    struct journal journal;
    struct history history;
    uint64_t told; /* the last batch that history knows */
    struct zoneinfo *zones;
    uint64_t failures, crashes, lost, runs_ended;
    uint64_t seed;
};

static uint64_t draw(struct world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}

static int64_t between(struct world *w, int64_t least, int64_t most)
{
    return least + (int64_t)(draw(w) % (uint64_t)(most - least + 1));
}

static bool chance(struct world *w, int per_mille)
{
    return (int)(draw(w) % 1000) < per_mille;
}

static void violation(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violation(struct world *w, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fprintf(stderr, "VIOLATION at +%.3f s, step %llu: ", (double)(w->now_ms - START_MS) / 1000,
            (unsigned long long)w->steps);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nreplay: sim --seed %llu --worlds 1 --verbose\n", (unsigned long long)w->seed);
    w->failures++;
}

static struct event *plan(struct world *w, enum event_kind kind, int64_t delay_ms)
{
    struct event *e = alloc_zero(sizeof(*e));

    e->kind = kind;
    e->life = w->life;
    e->at.seq = w->event_seq++;
    heap_set(&w->events, &e->at, w->now_ms + delay_ms);
    return e;
}

static void event_free(struct event *e)
{
    free(e->name);
    free(e->id);
    free(e->run);
    free(e->text);
    free(e);
}

/* ---- environment ---- */

static int64_t env_wall_ms(struct scheduler_env *env)
{
    return LIST_ITEM(env, struct world, env)->now_ms;
}

static uint64_t env_random(struct scheduler_env *env)
{
    return draw(LIST_ITEM(env, struct world, env));
}

static void env_wake_at(struct scheduler_env *env, int64_t wall_ms)
{
    struct world *w = LIST_ITEM(env, struct world, env);

    if (w->wake) {
        heap_remove(&w->events, &w->wake->at);
        event_free(w->wake);
        w->wake = NULL;
    }
    if (wall_ms != INT64_MAX)
        w->wake = plan(w, EVENT_WAKE, wall_ms > w->now_ms ? wall_ms - w->now_ms : 0);
}

static void env_log(struct scheduler_env *env, int level, const char *event, const char *job, const char *run,
                    const char *text)
{
    struct world *w = LIST_ITEM(env, struct world, env);

    if (w->verbose || level == 0)
        fprintf(stderr, "%10.3f [%d] %s %s %s %s\n", (double)(w->now_ms - START_MS) / 1000, level, event,
                job ? job : "-", run ? run : "-", text ? text : "");
}

/* ---- journal ---- */

static int journal_append(struct journal *journal, struct batch *b)
{
    struct world *w = LIST_ITEM(journal, struct world, journal);
    struct event *e = plan(w, EVENT_ACK, between(w, 1, 15));
    size_t size;

    e->index = b->index;
    e->text = batch_encode(b, &size);
    w->pending_count++;
    if (w->verbose)
        fprintf(stderr, "%10.3f append %s\n", (double)(w->now_ms - START_MS) / 1000, e->text);
    batch_free(b);
    return 0;
}

static void journal_snapshot(struct journal *journal, char *text, size_t size, uint64_t index)
{
    struct state copy;
    struct error error = {0};
    size_t again_size;
    char *again;

    (void)journal;
    (void)index;
    state_init(&copy); /* what a snapshot says must be what the state is */
    if (state_decode(&copy, text, size, &error) < 0)
        violation(LIST_ITEM(journal, struct world, journal), "snapshot: %s", error.text);
    again = state_encode(&copy, &again_size);
    if (again_size != size || memcmp(again, text, size) != 0)
        violation(LIST_ITEM(journal, struct world, journal), "a snapshot decoded and encoded again differs");
    free(again);
    state_release(&copy);
    free(text);
}

static void journal_status(const struct journal *journal, struct journal_status *ret)
{
    (void)journal;
    *ret = (struct journal_status){.leading = true};
}

static const struct journal_ops journal_ops = {
    .append = journal_append, .snapshot = journal_snapshot, .status = journal_status};

static void journal_commit(struct world *w, char *text)
{
    w->batches = alloc_resize(w->batches, (w->batch_count + 1) * sizeof(char *));
    w->batches[w->batch_count++] = text;
}

/* ---- history ---- */

static void note_run(struct world *w, const struct history_run *row)
{
    struct account *a = NULL;
    json_t *json;

    if (strcmp(row->state, "skipped") == 0 && !strstr(row->json, "\"attempts\":[{") &&
        strstr(row->json, "\"count\":"))
        return; /* a view of a skipped range */
    HASH_FIND_STR(w->accounts, row->run, a);
    if (!a) {
        a = alloc_zero(sizeof(*a));
        snprintf(a->key, sizeof(a->key), "%s", row->run);
        HASH_ADD_STR(w->accounts, key, a);
    }
    json = json_loads(row->json, 0, NULL);
    a->fire_ms = row->fire_ms;
    snprintf(a->state, sizeof(a->state), "%s", row->state);
    snprintf(a->verdict, sizeof(a->verdict), "%s", row->verdict ? row->verdict : "");
    snprintf(a->cause, sizeof(a->cause), "%s", json_string_value(json_object_get(json, "cause")));
    json_decref(json);
}

static void history_write(struct history *history, struct history_write *write)
{
    struct world *w = LIST_ITEM(history, struct world, history);

    w->told = write->index;
    for (size_t i = 0; i < write->run_count; i++)
        note_run(w, &write->runs[i]);
    for (size_t i = 0; i < write->skip_count; i++) {
        const struct history_skip *s = &write->skips[i];
        struct skip *n;

        w->skips = alloc_resize(w->skips, (w->skip_count + 1) * sizeof(*w->skips));
        n = &w->skips[w->skip_count++];
        snprintf(n->job, sizeof(n->job), "%s", s->job);
        n->from_ms = s->from_ms;
        n->to_ms = s->to_ms;
        n->count = s->count;
    }
    history_write_free(write);
}

static uint64_t history_applied(const struct history *history)
{
    return LIST_ITEM(history, struct world, history)->told;
}

static const struct history_ops history_ops = {.write = history_write, .applied = history_applied};

/* ---- engine ---- */

static int engine_check(const struct engine *engine, const struct job *job, struct error *error)
{
    (void)engine;
    (void)job;
    (void)error;
    return 0;
}

static void engine_submit(struct engine *engine, enum engine_op op, const struct engine_request *q)
{
    struct world *w = LIST_ITEM(engine, struct world, engine);
    struct event *e = plan(w, EVENT_CALL, between(w, 0, chance(w, 20) ? 3000 : 60));

    e->op = op;
    e->ticket = q->ticket;
    e->name = alloc_text(q->name);
    e->id = alloc_text(q->id);
    e->run = alloc_text(q->run);
    e->attempt = q->attempt;
    e->may_have_run = q->may_have_run;
    e->life = -w->life - 1; /* a request that was sent arrives, also when its sender dies */
}

static void engine_nothing(struct engine *engine)
{
    (void)engine;
}

static void engine_status(const struct engine *engine, struct engine_status *ret)
{
    (void)engine;
    *ret = (struct engine_status){.reachable = true};
}

static const struct engine_ops engine_ops = {
    .check = engine_check, .submit = engine_submit, .abandon = engine_nothing, .status = engine_status};

static void answer(struct world *w, int life, struct engine_answer a, const char *id)
{
    struct event *e = plan(w, EVENT_ANSWER, between(w, 0, 30));

    e->life = life;
    e->answer = a;
    e->id = alloc_text(id);
}

static void object_start(struct world *w, struct object *o)
{
    struct object *other, *next;
    struct event *e;

    if (++o->starts > 1)
        violation(w, "%s attempt %d was started %d times", o->run, o->attempt, o->starts);
    HASH_ITER(hh, w->objects, other, next)
    {
        if (other != o && other->state == OBJECT_RUNNING && strcmp(other->run, o->run) == 0)
            violation(w, "two attempts of %s execute at once", o->run);
        if (other != o && other->attempt == o->attempt && other->starts && strcmp(other->run, o->run) == 0)
            violation(w, "%s attempt %d was started in two objects", o->run, o->attempt);
    }
    o->state = OBJECT_RUNNING;
    o->started_ms = w->now_ms;
    e = plan(w, EVENT_EXIT, chance(w, 50) ? between(w, 1000, 90000) : between(w, 5, 4000));
    e->name = alloc_text(o->name);
    e->life = INT32_MAX;
}

static void watch_end(struct world *w, struct object *o)
{
    if (o->watch_ticket)
        answer(w, o->watch_life,
               (struct engine_answer){.ticket = o->watch_ticket,
                                      .event = ENGINE_ENDED,
                                      .started_ms = o->started_ms,
                                      .at_ms = o->ended_ms,
                                      .exit_code = o->exit_code,
                                      .cause = "exit"},
               NULL);
    o->watch_ticket = 0;
}

static void object_exit(struct world *w, struct object *o, int code)
{
    if (o->state != OBJECT_RUNNING)
        return;
    o->state = OBJECT_EXITED;
    o->exit_code = code;
    o->ended_ms = w->now_ms;
    watch_end(w, o);
}

static struct object *object_by_id(struct world *w, const char *id)
{
    struct object *o, *next;

    HASH_ITER(hh, w->objects, o, next)
    {
        if (strcmp(o->id, id) == 0)
            return o;
    }
    return NULL;
}

static void call_prepare(struct world *w, struct event *e, int life, struct engine_answer a)
{
    struct object *o = NULL;

    HASH_FIND_STR(w->objects, e->name, o);
    if (!o) {
        o = alloc_zero(sizeof(*o));
        snprintf(o->name, sizeof(o->name), "%s", e->name);
        snprintf(o->id, sizeof(o->id), "id-%s", e->name);
        snprintf(o->run, sizeof(o->run), "%s", e->run);
        o->attempt = e->attempt;
        HASH_ADD_STR(w->objects, name, o);
    }
    a.event = ENGINE_PREPARED;
    answer(w, life, a, o->id);
}

static void call_release(struct world *w, struct object *o, int life, struct engine_answer a)
{
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_REFUSED;
        a.exit_code = -1;
        a.text = "no such object";
    } else {
        if (o->state == OBJECT_CREATED || o->state == OBJECT_EXITED) /* as Docker: an exited one runs again */
            object_start(w, o);
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
        if (chance(w, 30)) { /* the reply is lost */
            a.event = ENGINE_UNKNOWN;
            a.text = "reply lost";
        }
    }
    answer(w, life, a, NULL);
}

static void call_fence(struct world *w, struct object *o, int life, struct engine_answer a)
{
    a.text = "by the simulated engine";
    if (!o || o->state == OBJECT_GONE) {
        a.event = ENGINE_UNKNOWN;
        a.text = "no such object";
    } else if (o->state == OBJECT_CREATED) {
        o->state = OBJECT_GONE;
        o->fenced = true;
        a.event = ENGINE_NEVER_RAN;
    } else {
        a.event = ENGINE_STARTED;
        a.started_ms = o->started_ms;
    }
    answer(w, life, a, NULL);
}

static void run_call(struct world *w, struct event *e)
{
    int life = -e->life - 1;
    struct object *o = e->id ? object_by_id(w, e->id) : NULL;
    struct engine_answer a = {.ticket = e->ticket, .exit_code = -1};

    if (w->engine_down && e->op != ENGINE_WATCH) {
        a.event = ENGINE_UNREACHABLE;
        a.text = "the engine is down";
        answer(w, life, a, NULL);
        return;
    }
    switch (e->op) {
    case ENGINE_PREPARE:
        if (chance(w, 10)) {
            a.event = ENGINE_REFUSED;
            a.text = "no such image";
            answer(w, life, a, NULL);
        } else {
            call_prepare(w, e, life, a);
        }
        break;
    case ENGINE_RELEASE:
        call_release(w, o, life, a);
        break;
    case ENGINE_FENCE:
        call_fence(w, o, life, a);
        break;
    case ENGINE_WATCH:
        assert(o);
        o->watch_ticket = e->ticket;
        o->watch_life = life;
        if (o->state == OBJECT_EXITED)
            watch_end(w, o);
        break;
    case ENGINE_STOP:
        if (o)
            object_exit(w, o, 143);
        a.event = ENGINE_DONE;
        answer(w, life, a, NULL);
        break;
    case ENGINE_DISCARD:
        if (o && o->state == OBJECT_CREATED)
            o->state = OBJECT_GONE;
        break;
    }
}

/* ---- the scheduler's lives ---- */

static void scheduler_up(struct world *w)
{
    static const struct scheduler_pool pools[] = {{"small", 2}};
    struct scheduler_options options = {
        .replica = "sim",
        .cluster_uuid = "00000000-0000-0000-0000-000000000001",
        .default_engine = "docker",
        .engines = w->engines,
        .engine_count = 1,
        .pools = pools,
        .pool_count = 1,
        .arm_ahead_ms = 30000,
        .late_grace_ms = 60000,
        .resolve_within_ms = 3600000,
        .zones = zoneinfo_source(w->zones),
        .history = &w->history,
        .env = &w->env,
    };
    struct error error = {0};

    w->life++;
    w->scheduler = scheduler_new(&options);
    scheduler_set_journal(w->scheduler, &w->journal);
    scheduler_journal_events.restore(w->scheduler, NULL, 0, 0);
    for (size_t i = 0; i < w->batch_count; i++) {
        struct batch *b;

        if (batch_decode(&b, w->batches[i], strlen(w->batches[i]), &error) < 0) {
            violation(w, "batch %zu: %s", i + 1, error.text);
            exit(1);
        }
        scheduler_journal_events.batch(w->scheduler, b, w->batches[i], strlen(w->batches[i]));
        batch_free(b);
    }
    w->down = false;
    scheduler_journal_events.lead(w->scheduler, ++w->epoch);
    scheduler_flush(w->scheduler);
}

static int by_seq(const void *a, const void *b)
{
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;

    return x->at.seq < y->at.seq ? -1 : 1;
}

/* Dies now: what was appended and not acked is durable up to a random point; answers under way are lost. */
static void crash(struct world *w)
{
    struct event **pending = alloc_zero((w->pending_count + 1) * sizeof(*pending));
    size_t n = 0, keep;

    for (size_t i = 1; i <= w->events.count; i++) {
        struct event *e = LIST_ITEM(w->events.items[i], struct event, at);

        if (e->kind == EVENT_ACK && e->life == w->life)
            pending[n++] = e;
    }
    assert(n == w->pending_count);
    qsort(pending, n, sizeof(*pending), by_seq);
    keep = n ? (size_t)between(w, 0, (int64_t)n) : 0;
    for (size_t i = 0; i < n; i++) {
        if (i < keep) {
            journal_commit(w, pending[i]->text);
            pending[i]->text = NULL;
        }
        heap_remove(&w->events, &pending[i]->at);
        event_free(pending[i]);
    }
    free(pending);
    w->pending_count = 0;
    w->crashes++;
    if (w->verbose)
        fprintf(stderr, "%10.3f CRASH, %zu of %zu pending batches survive\n",
                (double)(w->now_ms - START_MS) / 1000, keep, n);
    scheduler_free(w->scheduler);
    w->scheduler = NULL;
    w->down = true;
    plan(w, EVENT_CRASH, chance(w, 200) ? between(w, 60000, 400000) : between(w, 1, 3000))->index = 1;
}

/* Acks come in order: an append is durable only after those before it. */
static void ack(struct world *w, struct event *e)
{
    if (e->index != w->batch_count + 1) { /* an earlier one is still under way: a little later */
        struct event *again = plan(w, EVENT_ACK, 1);

        again->index = e->index;
        again->text = e->text;
        again->at.seq = e->at.seq;
        e->text = NULL;
        return;
    }
    journal_commit(w, e->text);
    e->text = NULL;
    w->pending_count--;
    scheduler_journal_events.acked(w->scheduler, e->index);
}

/* ---- requests at random ---- */

static const char *const names[] = {"every-second", "five",   "minutely", "queued",
                                    "replaced",     "pooled", "child",    "all"};

static void apply_jobs(struct world *w)
{
    static const char *const text =
        "{\"jobs\":{"
        "\"every-second\":{\"schedule\":[\"* * * * * "
        "*\"],\"image\":\"x\",\"concurrency\":\"allow\",\"catch_up\":\"none\"},"
        "\"five\":{\"schedule\":[\"*/5 * * * * "
        "*\"],\"image\":\"x\",\"timeout\":\"20s\",\"retries\":{\"max\":2,\"delay\":\"1s\"}},"
        "\"minutely\":{\"schedule\":[\"* * * * "
        "*\"],\"image\":\"x\",\"jitter\":\"20s\",\"start_within\":\"90s\"},"
        "\"queued\":{\"schedule\":[\"*/3 * * * * "
        "*\"],\"image\":\"x\",\"concurrency\":\"queue\",\"queue_max\":5},"
        "\"replaced\":{\"schedule\":[\"*/7 * * * * *\"],\"image\":\"x\",\"concurrency\":\"replace\"},"
        "\"pooled\":{\"schedule\":[\"*/2 * * * * "
        "*\"],\"image\":\"x\",\"concurrency\":\"allow\",\"pool\":{\"name\":\"small\"}},"
        "\"child\":{\"image\":\"x\",\"after\":[\"five\",\"minutely\"]},"
        "\"all\":{\"schedule\":[\"*/30 * * * * "
        "*\"],\"image\":\"x\",\"catch_up\":\"all\",\"concurrency\":\"queue\",\"on_lost\":\"rerun\"}"
        "}}";
    json_t *body = json_loads(text, 0, NULL), *reply = NULL;
    struct error error = {0};
    uint64_t index;

    if (scheduler_apply(w->scheduler, body, "sim", &reply, &index, &error) < 0) {
        violation(w, "apply: %s", error.text);
        exit(1);
    }
    json_decref(body);
    json_decref(reply);
}

static void random_request(struct world *w)
{
    const char *name = names[draw(w) % (sizeof(names) / sizeof(names[0]))];
    struct error error = {0};
    json_t *reply = NULL, *body = NULL;
    uint64_t index;

    switch (draw(w) % 8) {
    case 0:
    case 1:
    case 2:
        body = json_pack("{s:b}", "queue", chance(w, 500));
        scheduler_trigger(w->scheduler, name, body, "sim", &reply, &index, &error);
        break;
    case 3:
        scheduler_pause(w->scheduler, name, chance(w, 500) ? w->now_ms + between(w, 100, 20000) : 0, "sim",
                        "sim", &reply, &index, &error);
        break;
    case 4:
    case 5:
        scheduler_resume(w->scheduler, name, "sim", &reply, &index, &error);
        break;
    case 6: {
        struct run *r = w->scheduler->state.runs;

        for (int64_t i = between(w, 0, 20); r && i > 0; i--)
            r = r->by_id.next;
        if (r)
            scheduler_kill(w->scheduler, r->id, "sim", &reply, &index, &error);
        break;
    }
    default: {
        json_t *def = NULL;
        struct job_state *j = state_job(&w->scheduler->state, name);

        if (j) { /* an edit that changes nothing but the definition's text */
            def = job_to_json(j->def);
            json_object_set_new(def, "description", json_integer(0));
            json_object_set_new(def, "description", json_sprintf("edit %lld", (long long)w->now_ms));
            body = json_pack("{s:{s:o}}", "jobs", name, def);
            if (scheduler_apply(w->scheduler, body, "sim", &reply, &index, &error) < 0)
                violation(w, "edit: %s", error.text);
        }
    }
    }
    json_decref(reply);
    json_decref(body);
}

/* ---- one event ---- */

static void step(struct world *w)
{
    struct heap_item *item = heap_first(&w->events);
    struct event *e = LIST_ITEM(item, struct event, at);
    struct object *o = NULL;

    heap_remove(&w->events, item);
    if (item->at > w->now_ms)
        w->now_ms = item->at;
    w->steps++;
    if (e == w->wake)
        w->wake = NULL;
    switch (e->kind) {
    case EVENT_WAKE:
        if (!w->down && e->life == w->life)
            scheduler_tick(w->scheduler);
        break;
    case EVENT_ACK:
        if (!w->down && e->life == w->life)
            ack(w, e);
        break;
    case EVENT_CALL:
        run_call(w, e);
        break;
    case EVENT_ANSWER:
        if (!w->down && e->life == w->life) {
            e->answer.id = e->id;
            scheduler_engine_host(w->scheduler)->answer(scheduler_engine_host(w->scheduler), &e->answer);
        }
        break;
    case EVENT_EXIT:
        HASH_FIND_STR(w->objects, e->name, o);
        if (o)
            object_exit(w, o, chance(w, 150) ? 1 : 0);
        break;
    case EVENT_CRASH:
        if (e->index == 1)
            scheduler_up(w);
        else if (!w->quiet && !w->down)
            crash(w);
        if (e->index == 0 && !w->quiet)
            plan(w, EVENT_CRASH, between(w, 500, 60000));
        break;
    case EVENT_REQUEST:
        if (!w->down && !w->quiet)
            random_request(w);
        if (!w->quiet)
            plan(w, EVENT_REQUEST, between(w, 50, 20000));
        break;
    case EVENT_ENGINE:
        w->engine_down = !w->engine_down && !w->quiet;
        if (!w->quiet)
            plan(w, EVENT_ENGINE, w->engine_down ? between(w, 100, 15000) : between(w, 10000, 300000));
        break;
    }
    event_free(e);
    if (!w->down)
        scheduler_flush(w->scheduler);
}

/* ---- the end: everything is accounted for exactly once ---- */

static int covers(struct world *w, const char *job, int64_t at_ms)
{
    char id[RUN_ID_MAX];
    struct account *a = NULL;
    int n = 0;

    HASH_FIND_STR(w->accounts, run_id_format(job, at_ms, false, id), a);
    n += a != NULL;
    for (size_t i = 0; i < w->skip_count; i++)
        n += strcmp(w->skips[i].job, job) == 0 && w->skips[i].from_ms <= at_ms &&
             at_ms <= w->skips[i].to_ms && !(a && strcmp(a->state, "skipped") == 0);
    return n;
}

static bool was_fenced(struct world *w, const char *run)
{
    struct object *o, *next;

    HASH_ITER(hh, w->objects, o, next)
    {
        if (o->fenced && strcmp(o->run, run) == 0)
            return true;
    }
    return false;
}

static void check_end(struct world *w, int64_t applied_ms)
{
    struct job_state *j, *next_job;
    struct account *a, *next;

    HASH_ITER(by_name, w->scheduler->state.jobs, j, next_job)
    {
        struct schedule *schedule = job_schedule(w->scheduler, j);

        if (!schedule)
            continue;
        for (int64_t at = schedule_next(schedule, applied_ms / 1000); at * 1000 <= j->cursor_ms - 5000;
             at = schedule_next(schedule, at)) {
            int n = covers(w, j->name, at * 1000);

            if (n != 1 && !state_paused(&w->scheduler->state, j))
                violation(w, "%s: fire time %lld (+%.0f s) has %d accounts", j->name, (long long)at,
                          (double)(at * 1000 - START_MS) / 1000, n);
        }
    }
    HASH_ITER(hh, w->accounts, a, next)
    {
        w->runs_ended += strcmp(a->state, "ended") == 0;
        w->lost += strcmp(a->verdict, "lost") == 0;
        if (strcmp(a->state, "ended") != 0 && strcmp(a->state, "skipped") != 0 &&
            !state_run(&w->scheduler->state, a->key))
            violation(w, "%s is %s in history and not in the state", a->key, a->state);
        if (strcmp(a->verdict, "lost") == 0 && !was_fenced(w, a->key))
            violation(w, "%s is lost, though nothing here can lose it", a->key);
    }
}

static void world_free(struct world *w)
{
    struct object *o, *next;
    struct account *a, *next_account;

    scheduler_free(w->scheduler);
    while (heap_first(&w->events)) {
        struct event *e = LIST_ITEM(heap_first(&w->events), struct event, at);

        heap_remove(&w->events, &e->at);
        event_free(e);
    }
    heap_release(&w->events);
    for (size_t i = 0; i < w->batch_count; i++)
        free(w->batches[i]);
    free(w->batches);
    free(w->skips);
    HASH_ITER(hh, w->objects, o, next)
    {
        HASH_DEL(w->objects, o);
        free(o);
    }
    HASH_ITER(hh, w->accounts, a, next_account)
    {
        HASH_DEL(w->accounts, a);
        free(a);
    }
}

static uint64_t run_world(struct zoneinfo *zones, uint64_t seed, int64_t minutes, bool verbose,
                          struct world *ret)
{
    struct world *w = ret;
    int64_t end;

    *w = (struct world){.seed = seed,
                        .rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                        .now_ms = START_MS,
                        .zones = zones,
                        .verbose = verbose};
    heap_init(&w->events);
    w->env = (struct scheduler_env){env_wall_ms, env_random, env_wake_at, env_log};
    w->engine = (struct engine){.ops = &engine_ops, .name = "docker", .type = "docker", .max_armed = 24};
    w->engines[0] = &w->engine;
    w->journal.ops = &journal_ops;
    w->history.ops = &history_ops;
    for (int i = 0; i < 8; i++)
        draw(w);
    scheduler_up(w);
    apply_jobs(w);
    scheduler_flush(w->scheduler);
    plan(w, EVENT_CRASH, between(w, 500, 30000));
    plan(w, EVENT_REQUEST, between(w, 500, 5000));
    plan(w, EVENT_ENGINE, between(w, 10000, 300000));
    end = START_MS + minutes * 60000;
    while (w->now_ms < end && !w->failures)
        step(w);
    w->quiet = true; /* and now no faults: it must come to rest with everything accounted for */
    end = w->now_ms + 600000;
    while (w->now_ms < end && !w->failures)
        step(w);
    while (w->pending_count > 0 && !w->failures)
        step(w); /* history is told of a batch when it is durable */
    if (!w->failures)
        check_end(w, START_MS);
    if (verbose || w->failures)
        fprintf(stderr, "seed %llu: %llu steps, %llu crashes, %zu batches, %u runs, %zu skips\n",
                (unsigned long long)seed, (unsigned long long)w->steps, (unsigned long long)w->crashes,
                w->batch_count, HASH_COUNT(w->accounts), w->skip_count);
    world_free(w);
    return w->failures;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'},
                                            {"worlds", 1, NULL, 'w'},
                                            {"minutes", 1, NULL, 'm'},
                                            {"verbose", 0, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 1, worlds = 10, failures = 0, steps = 0, crashes = 0, runs = 0, lost = 0;
    int64_t minutes = 10;
    bool verbose = false;
    struct zoneinfo *zones;
    static struct world w;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            worlds = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            minutes = strtoll(optarg, NULL, 10);
        else if (c == 'v')
            verbose = true;
        else
            return 2;
    }
    if (zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL) < 0)
        return 2;
    for (uint64_t i = 0; i < worlds && failures == 0; i++) {
        failures += run_world(zones, seed + i, minutes, verbose, &w) > 0;
        steps += w.steps;
        crashes += w.crashes;
        runs += w.runs_ended;
        lost += w.lost;
    }
    printf("%llu worlds, %llu steps, %llu crashes, %llu runs ended, %llu lost by two faults, %llu failed\n",
           (unsigned long long)worlds, (unsigned long long)steps, (unsigned long long)crashes,
           (unsigned long long)runs, (unsigned long long)lost, (unsigned long long)failures);
    zoneinfo_free(zones);
    return failures ? 1 : 0;
}
