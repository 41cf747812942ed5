/* Attempts in a table by id, answers in a queue for the next turn of the loop, ends in a queue by time: all
 * attempts last equally long, so the queue of starts is the queue of ends. */
#include "cronsched/engines/null.h"

#include "jobs/base/alloc.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define ID_MAX  160
#define BUCKETS 4096 /* a power of two */

enum state { PREPARED, RUNNING, ENDED, FENCED };

struct attempt {
    struct list bucket; /* of `attempts` */
    struct list link;   /* of `running` */
    enum state state;
    bool watched;
    uint64_t watch; /* its ticket */
    int64_t epoch, started_ms, ended_ms;
    uint64_t ends_at; /* uv_now */
    int attempt, exit_code;
    const char *cause;
    char run[RUN_ID_MAX];
    char id[ID_MAX];
};

struct later {
    struct list link;
    struct engine_answer answer;
    char id[ID_MAX];
};

struct null_engine {
    struct object object;
    struct engine engine;
    uv_loop_t *loop;
    struct engine_host *host;
    char *name;
    char boot_id[40]; /* of this life of the process */
    int64_t delay_ms;
    int exit_code;
    struct list attempts[BUCKETS]; /* by id */
    unsigned count;
    struct list running, later;
    int queued, watched;
    uv_timer_t answers, ends, sweep;
    int handles;
    void (*done)(void *arg);
    void *done_arg;
};

static struct null_engine *of(const struct engine *engine)
{
    return OBJECT_OF(struct null_engine, engine, engine);
}

/* ---- answers ---- */

/* Those that come from an answer wait for another turn. */
static void on_answers(uv_timer_t *timer)
{
    struct null_engine *e = OBJECT(struct null_engine, timer->data);

    for (int n = e->queued; n > 0 && !list_empty(&e->later); n--) {
        struct later *l = LIST_ITEM(e->later.next, struct later, link);

        list_remove(&l->link);
        e->queued--;
        if (l->answer.id)
            l->answer.id = l->id;
        e->host->answer(e->host, &l->answer);
        free(l);
    }
    if (!list_empty(&e->later))
        loop_timer_start(timer, on_answers, 0, 0);
}

static void answer(struct null_engine *e, const struct engine_answer *a)
{
    struct later *l = alloc_zero(sizeof(*l));

    l->answer = *a;
    if (a->id)
        snprintf(l->id, sizeof(l->id), "%s", a->id);
    list_append(&e->later, &l->link);
    if (e->queued++ == 0)
        loop_timer_start(&e->answers, on_answers, 0, 0);
}

static void answer_event(struct null_engine *e, uint64_t ticket, enum engine_event event, const char *text)
{
    answer(e, &(struct engine_answer){.ticket = ticket, .event = event, .exit_code = -1, .text = text});
}

static void answer_state(struct null_engine *e, uint64_t ticket, const struct attempt *a)
{
    answer(e, &(struct engine_answer){.ticket = ticket,
                                      .event = a->state == RUNNING ? ENGINE_STARTED : ENGINE_ENDED,
                                      .started_ms = a->started_ms,
                                      .at_ms = a->ended_ms,
                                      .exit_code = a->exit_code,
                                      .cause = a->cause});
}

/* ---- the life of an attempt ---- */

static void end(struct null_engine *e, struct attempt *a, int exit_code, const char *cause)
{
    list_remove(&a->link);
    a->state = ENDED;
    a->ended_ms = e->host->now_ms(e->host);
    a->exit_code = exit_code;
    a->cause = cause;
    if (!a->watched)
        return;
    a->watched = false;
    e->watched--;
    answer_state(e, a->watch, a);
}

static void on_ends(uv_timer_t *timer)
{
    struct null_engine *e = OBJECT(struct null_engine, timer->data);

    while (!list_empty(&e->running)) {
        struct attempt *a = LIST_ITEM(e->running.next, struct attempt, link);

        if (a->ends_at > uv_now(e->loop)) {
            loop_timer_start(&e->ends, on_ends, a->ends_at - uv_now(e->loop), 0);
            return;
        }
        end(e, a, e->exit_code, "exit");
    }
}

static void start(struct null_engine *e, struct attempt *a)
{
    a->state = RUNNING;
    a->started_ms = e->host->now_ms(e->host);
    a->ends_at = uv_now(e->loop) + (uint64_t)e->delay_ms;
    list_append(&e->running, &a->link);
    if (!uv_is_active((uv_handle_t *)&e->ends))
        loop_timer_start(&e->ends, on_ends, (uint64_t)e->delay_ms, 0);
}

/* FNV-1a */
static struct list *bucket_of(struct null_engine *e, const char *id)
{
    uint32_t hash = 2166136261;

    for (; *id; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619;
    return &e->attempts[hash % BUCKETS];
}

static struct attempt *find(struct null_engine *e, const char *id)
{
    struct list *bucket = id ? bucket_of(e, id) : NULL;

    if (!bucket)
        return NULL;
    LIST_EACH(link, bucket)
    {
        struct attempt *a = LIST_ITEM(link, struct attempt, bucket);

        if (strcmp(a->id, id) == 0)
            return a;
    }
    return NULL;
}

static void forget(struct null_engine *e, struct attempt *a)
{
    if (a->watched)
        e->watched--;
    e->count--;
    list_remove(&a->link);
    list_remove(&a->bucket);
    free(a);
}

/* ---- requests ---- */

static void prepare(struct null_engine *e, const struct engine_request *r)
{
    char id[ID_MAX];
    struct attempt *a;

    snprintf(id, sizeof(id), "%s@%s", r->name, e->boot_id);
    a = find(e, id);
    if (!a) {
        a = alloc_zero(sizeof(*a));
        list_init(&a->link);
        memcpy(a->id, id, sizeof(id));
        snprintf(a->run, sizeof(a->run), "%s", r->run);
        a->attempt = r->attempt;
        a->epoch = r->epoch;
        list_append(bucket_of(e, id), &a->bucket);
        e->count++;
    }
    answer(e, &(struct engine_answer){.ticket = r->ticket,
                                      .event = ENGINE_PREPARED,
                                      .id = a->id,
                                      .boot_id = e->boot_id,
                                      .exit_code = -1});
}

static void release(struct null_engine *e, const struct engine_request *r, struct attempt *a)
{
    if (!a || a->state != PREPARED) {
        answer_event(e, r->ticket, ENGINE_UNKNOWN, "it is not prepared here");
        return;
    }
    start(e, a);
    answer_state(e, r->ticket, a);
}

static void fence(struct null_engine *e, const struct engine_request *r, struct attempt *a)
{
    if (!a && r->may_have_run)
        answer_event(e, r->ticket, ENGINE_UNKNOWN, "the process that prepared it is gone");
    else if (!a)
        answer_event(e, r->ticket, ENGINE_NEVER_RAN, "it can no longer be started");
    else if (a->state == RUNNING || a->state == ENDED)
        answer_state(e, r->ticket, a);
    else {
        a->state = FENCED;
        answer_event(e, r->ticket, ENGINE_NEVER_RAN, "it is fenced");
    }
}

static void watch(struct null_engine *e, const struct engine_request *r, struct attempt *a)
{
    if (!a || a->state == PREPARED || a->state == FENCED) {
        answer_event(e, r->ticket, ENGINE_UNKNOWN, "nothing is known of its start");
    } else if (a->state == ENDED) {
        answer_state(e, r->ticket, a);
    } else {
        e->watched += !a->watched;
        a->watched = true;
        a->watch = r->ticket;
    }
}

static void submit(struct engine *engine, enum engine_op op, const struct engine_request *r)
{
    struct null_engine *e = of(engine);
    struct attempt *a = find(e, r->id);

    switch (op) {
    case ENGINE_PREPARE:
        prepare(e, r);
        break;
    case ENGINE_RELEASE:
        release(e, r, a);
        break;
    case ENGINE_FENCE:
        fence(e, r, a);
        break;
    case ENGINE_WATCH:
        watch(e, r, a);
        break;
    case ENGINE_STOP:
        answer_event(e, r->ticket, ENGINE_DONE, NULL);
        if (a && a->state == RUNNING)
            end(e, a, 128 + 15, "signal");
        break;
    case ENGINE_DISCARD:
        if (a && (a->state == PREPARED || a->state == FENCED))
            forget(e, a);
        answer_event(e, r->ticket, ENGINE_DONE, NULL);
        break;
    }
}

/* ---- the rest of the table ---- */

static int check(const struct engine *engine, const struct job *job, struct error *error)
{
    return 0;
}

static void abandon(struct engine *engine)
{
    struct null_engine *e = of(engine);

    while (!list_empty(&e->later)) {
        struct later *l = LIST_ITEM(e->later.next, struct later, link);

        list_remove(&l->link);
        free(l);
    }
    e->queued = 0;
    LIST_EACH(link, &e->running)
    LIST_ITEM(link, struct attempt, link)->watched = false;
    e->watched = 0;
}

static void status(const struct engine *engine, struct engine_status *ret)
{
    const struct null_engine *e = of(engine);

    *ret = (struct engine_status){.reachable = true, .queued = e->queued, .watched = e->watched};
    snprintf(ret->text, sizeof(ret->text), "runs nothing, %u attempts", e->count);
}

static void sweep_bucket(struct null_engine *e, struct list *bucket, int64_t epoch)
{
    LIST_EACH_SAFE(link, bucket)
    {
        struct attempt *a = LIST_ITEM(link, struct attempt, bucket);
        bool over = a->state == ENDED || a->state == FENCED || (a->state == PREPARED && a->epoch < epoch);

        if (over && !a->watched && !e->host->keep(e->host, a->run, a->attempt, a->epoch, a->id))
            forget(e, a);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct null_engine *e = OBJECT(struct null_engine, timer->data);
    int64_t epoch = e->host->epoch(e->host);

    for (size_t i = 0; epoch > 0 && i < BUCKETS; i++)
        sweep_bucket(e, &e->attempts[i], epoch);
}

static void on_closed(uv_handle_t *handle)
{
    struct null_engine *e = OBJECT(struct null_engine, handle->data);

    if (--e->handles > 0)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (!list_empty(&e->attempts[i]))
            forget(e, LIST_ITEM(e->attempts[i].next, struct attempt, bucket));
    if (e->done)
        e->done(e->done_arg);
    free(e->name);
    OBJECT_FREE(struct null_engine, e);
}

static void close_engine(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct null_engine *e = of(engine);

    abandon(engine);
    e->done = done;
    e->done_arg = arg;
    uv_close((uv_handle_t *)&e->answers, on_closed);
    uv_close((uv_handle_t *)&e->ends, on_closed);
    uv_close((uv_handle_t *)&e->sweep, on_closed);
}

static void init_timer(struct null_engine *e, uv_timer_t *timer)
{
    uv_timer_init(e->loop, timer);
    timer->data = e;
    e->handles++;
}

int null_engine_new(struct engine **ret, uv_loop_t *loop, const struct null_engine_options *options,
                    struct engine_host *host, struct error *error)
{
    static const struct engine_ops ops = {
        .check = check, .submit = submit, .abandon = abandon, .status = status, .close = close_engine};
    struct null_engine *e = OBJECT_NEW(struct null_engine);

    e->engine.ops = &ops;
    e->engine.type = "null";
    e->engine.name = e->name = alloc_text(options->name);
    e->engine.max_armed = options->max_armed > 0 ? options->max_armed : NULL_MAX_ARMED_DEFAULT;
    e->loop = loop;
    e->host = host;
    e->delay_ms = options->delay_ms;
    e->exit_code = options->exit_code;
    snprintf(e->boot_id, sizeof(e->boot_id), "%d-%llx", (int)getpid(), (unsigned long long)uv_hrtime());
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&e->attempts[i]);
    list_init(&e->running);
    list_init(&e->later);
    init_timer(e, &e->answers);
    init_timer(e, &e->ends);
    init_timer(e, &e->sweep);
    uv_unref((uv_handle_t *)&e->sweep);
    loop_timer_start(&e->sweep, on_sweep, NULL_SWEEP_MS, NULL_SWEEP_MS);
    *ret = &e->engine;
    return 0;
}
