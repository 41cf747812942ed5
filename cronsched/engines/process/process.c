/* The process engine's table: requests in, work on the pool, answers out. See process.h.
 *
 * The happy path of an attempt:
 *   PREPARE  process_armed.c: on the pool a folder is made and the spawner asked; the supervisor says "ready"
 *            on its socket: PREPARED
 *   RELEASE  "go" on that socket, at once; the supervisor says "started": STARTED
 *   WATCH    process_watch.c: a pidfd on the supervisor, wherever it came from; then the folder is read:
 *            ENDED
 *   sweep    process_sweep.c: the folder goes after retention
 *
 * Failures are told where they happen. Two rules hold for all of them. What a folder says decides, never what
 * this process remembers: FENCE and WATCH work the same after a restart. And whatever is wrong with reading
 * or writing is UNREACHABLE: only a mark that is on disk, or a lock that is free, proves anything.
 */
#include "cronsched/engines/process/process_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct process_engine *of(const struct engine *engine)
{
    return (struct process_engine *)(void *)engine; /* its first member */
}

/* --- answers --- */

void process_answer(struct process_engine *e, const struct engine_answer *answer)
{
    e->host->answer(e->host, answer);
}

void process_answer_text(struct process_engine *e, uint64_t ticket, enum engine_event event, int exit_code,
                         const char *text)
{
    struct engine_answer answer = {
        .ticket = ticket, .event = event, .exit_code = exit_code, .text = text && *text ? text : NULL};

    process_answer(e, &answer);
}

/* What a folder that has its mark means, to FENCE and to WATCH. */
void process_answer_status(struct process_engine *e, uint64_t ticket, const struct attempt_status *s)
{
    static const enum engine_event events[] = {
        [ATTEMPT_FENCED] = ENGINE_NEVER_RAN, [ATTEMPT_RUNNING] = ENGINE_STARTED,
        [ATTEMPT_ENDED] = ENGINE_ENDED,      [ATTEMPT_REFUSED] = ENGINE_REFUSED,
        [ATTEMPT_LOST] = ENGINE_UNKNOWN,
    };
    bool ended = s->state == ATTEMPT_ENDED || s->state == ATTEMPT_REFUSED;
    struct engine_answer answer = {.ticket = ticket,
                                   .event = events[s->state],
                                   .started_ms = s->started_ms,
                                   .at_ms = ended ? s->end.ended_ms : 0,
                                   .exit_code = ended ? s->end.exit_code : -1,
                                   .cause = ended ? s->end.cause : NULL,
                                   .text = s->end.text[0] ? s->end.text : NULL};

    assert(s->state != ATTEMPT_WAITING);
    process_answer(e, &answer);
}

void process_id(const struct process_engine *e, const char *name, char ret[PROCESS_ID_MAX])
{
    snprintf(ret, PROCESS_ID_MAX, "%s@%s", name, e->host_id);
}

const char *engine_process_host(const struct engine *engine)
{
    return of(engine)->host_id;
}

/* --- calls --- */

struct process_call *process_call_new(struct process_engine *e, const struct process_call_ops *ops,
                                      uint64_t ticket, const char *name)
{
    struct process_call *call = alloc_zero(sizeof(*call));

    call->ops = ops;
    call->engine = e;
    call->reign = e->reign;
    call->ticket = ticket;
    call->fd = -1;
    call->work.data = call;
    list_init(&call->link);
    snprintf(call->name, sizeof(call->name), "%s", name);
    process_held(e);
    return call;
}

void process_call_free(struct process_call *call)
{
    struct process_engine *e = call->engine;

    list_remove(&call->link);
    job_unref(call->job);
    json_decref(call->params);
    free(call->cause);
    if (call->fd >= 0)
        close(call->fd);
    free(call);
    process_released(e);
}

static void run_on_pool(uv_work_t *work)
{
    struct process_call *call = work->data;

    call->ops->run(call);
}

static void done_on_pool(uv_work_t *work, int status)
{
    struct process_call *call = work->data;
    struct process_engine *e = call->engine;

    process_held(e);
    e->on_pool--;
    if (call->reign == e->reign)
        call->ops->done(call);
    else if (call->ops == &process_prepare_ops)
        e->preparing--;
    process_call_free(call);
    process_pump(e);
    process_released(e);
}

static struct list *next_queue(struct process_engine *e)
{
    if (!list_empty(&e->calls))
        return &e->calls;
    if (!list_empty(&e->prepares) && e->preparing < PROCESS_PREPARING_MAX)
        return &e->prepares;
    return NULL;
}

void process_pump(struct process_engine *e)
{
    struct list *queue;

    while (e->on_pool < e->parallel && (queue = next_queue(e))) {
        struct process_call *call = LIST_ITEM(queue->next, struct process_call, link);

        list_remove(&call->link);
        if (queue == &e->prepares)
            e->preparing++;
        e->on_pool++;
        uv_queue_work(e->loop, &call->work, run_on_pool, done_on_pool);
    }
}

void process_call_queue(struct process_call *call)
{
    struct process_engine *e = call->engine;

    list_append(call->ops == &process_prepare_ops ? &e->prepares : &e->calls, &call->link);
    process_pump(e);
}

/* Answers that need no work wait for the next turn: none comes from within submit. */
static void on_later(uv_timer_t *timer)
{
    struct process_engine *e = timer->data;
    struct list now;

    process_held(e);
    list_init(&now);
    while (!list_empty(&e->later)) { /* what is added meanwhile waits for another turn */
        struct list *link = e->later.next;

        list_remove(link);
        list_append(&now, link);
    }
    while (!list_empty(&now)) {
        struct process_call *call = LIST_ITEM(now.next, struct process_call, link);

        list_remove(&call->link);
        if (call->reign == e->reign)
            call->ops->done(call);
        process_call_free(call);
    }
    process_released(e);
}

static void answer_prepared(struct process_call *call)
{
    char id[PROCESS_ID_MAX];
    struct engine_answer answer = {
        .ticket = call->ticket, .event = ENGINE_PREPARED, .id = id, .boot = call->engine->boot};

    process_id(call->engine, call->name, id);
    process_answer(call->engine, &answer);
}

static void answer_text(struct process_call *call)
{
    process_answer_text(call->engine, call->ticket, call->event, -1, call->text);
}

static void answer_later(struct process_engine *e, uint64_t ticket, enum engine_event event, const char *name,
                         const char *text)
{
    static const struct process_call_ops prepared = {.done = answer_prepared}, other = {.done = answer_text};
    struct process_call *call =
        process_call_new(e, event == ENGINE_PREPARED ? &prepared : &other, ticket, name);

    call->event = event;
    call->text = text;
    list_append(&e->later, &call->link);
    uv_timer_start(&e->later_timer, on_later, 0, 0);
}

/* --- FENCE, STOP, DISCARD --- */

/* NOT_FOUND: no folder. CONFLICT: it was started, and `status` says how that went. 0: never. */
static void fence_run(struct process_call *call)
{
    int root = call->engine->root, folder = -1;

    FAULT_POINT("process-fence", call->name);
    call->result = attempt_open(root, call->name, &folder, &call->error);
    if (call->result < 0)
        return;
    call->result =
        attempt_abolish(folder, "fenced: no start was found, and none is possible any more", &call->error);
    if (call->result == ERR_CONFLICT && attempt_read(folder, &call->status, &call->error) < 0)
        call->result = ERR_IO;
    close(folder);
}

static void fence_done(struct process_call *call)
{
    struct process_engine *e = call->engine;

    FAULT_POINT("process-fenced", call->name);
    if (call->result == 0 || call->result == ERR_CONFLICT)
        process_armed_drop(process_armed_find(e, call->name));
    if (call->result == 0)
        process_answer_text(e, call->ticket, ENGINE_NEVER_RAN, -1,
                            "its mark says so: fenced before any start, and synced");
    else if (call->result == ERR_CONFLICT)
        process_answer_status(e, call->ticket, &call->status);
    else if (call->result != ERR_NOT_FOUND)
        process_answer_text(e, call->ticket, ENGINE_UNREACHABLE, -1, call->error.text);
    else if (call->may_have_run)
        process_answer_text(e, call->ticket, ENGINE_UNKNOWN, -1,
                            "its folder is gone, and with it what happened after the release");
    else
        process_answer_text(e, call->ticket, ENGINE_NEVER_RAN, -1,
                            "it was never released, and without its folder it cannot start");
}

/* The supervisor stops the command and watches over stop_grace. Where it is gone and the command is not,
 * there is nobody to do so: the command is killed. */
static void stop_run(struct process_call *call)
{
    int folder = -1;

    call->result = attempt_open(call->engine->root, call->name, &folder, &call->error);
    if (call->result < 0)
        return;
    call->result = attempt_read(folder, &call->status, &call->error);
    close(folder);
    if (call->result == 0 && call->status.state == ATTEMPT_RUNNING &&
        attempt_signal(&call->status.supervisor, SIGTERM) == ERR_NOT_FOUND)
        attempt_signal(&call->status.command, SIGKILL);
    FAULT_POINT("process-stopped", call->name);
}

static void discard_run(struct process_call *call)
{
    int root = call->engine->root, folder = -1;

    FAULT_POINT("process-discard", call->name);
    call->result = attempt_open(root, call->name, &folder, &call->error);
    if (call->result < 0)
        return;
    call->result = attempt_abolish(folder, "discarded: revoked before it was released", &call->error);
    close(folder);
    FAULT_POINT("process-discard-fenced", call->name);
    if (call->result == 0)
        call->result = attempt_remove(root, call->name, &call->error);
}

/* A DISCARD that finds a start leaves it alone; WATCH and the sweep have to do with it. */
static void simple_done(struct process_call *call)
{
    bool fine = call->result == 0 || call->result == ERR_NOT_FOUND || call->result == ERR_CONFLICT;

    process_answer_text(call->engine, call->ticket, fine ? ENGINE_DONE : ENGINE_UNREACHABLE, -1,
                        fine ? NULL : call->error.text);
}

/* --- submit --- */

static void submit_prepare(struct process_engine *e, const struct engine_request *r)
{
    struct process_armed *armed = process_armed_find(e, r->name);
    struct process_call *call;

    if (armed && process_armed_waits(armed)) {
        answer_later(e, r->ticket, ENGINE_PREPARED, r->name, NULL);
        return;
    }
    process_armed_drop(armed);
    call = process_call_new(e, &process_prepare_ops, r->ticket, r->name);
    snprintf(call->identity.cluster, sizeof(call->identity.cluster), "%s", e->host->cluster(e->host));
    snprintf(call->identity.run, sizeof(call->identity.run), "%s", r->run);
    call->identity.attempt = r->attempt;
    call->identity.try = r->try;
    call->identity.epoch = r->epoch;
    call->job = job_ref((struct job *)(void *)r->job);
    call->params = json_incref((json_t *)(void *)r->params);
    call->cause = alloc_text(r->cause);
    call->fire_ms = r->fire_ms;
    call->previous_fire_ms = r->previous_fire_ms;
    process_call_queue(call);
}

static void submit_release(struct process_engine *e, const struct engine_request *r, const char *name)
{
    struct process_armed *armed = process_armed_find(e, name);

    FAULT_POINT("process-release", name);
    if (!armed || !process_armed_release(armed, r->ticket))
        answer_later(e, r->ticket, ENGINE_UNKNOWN, name, "its supervisor is not there any more");
    FAULT_POINT("process-sent", name);
}

static void submit_work(struct process_engine *e, enum engine_op op, const struct engine_request *r,
                        const char *name)
{
    static const struct process_call_ops fence = {fence_run, fence_done}, stop = {stop_run, simple_done},
                                         discard = {discard_run, simple_done};
    struct process_call *call;

    if (op == ENGINE_DISCARD)
        process_armed_drop(process_armed_find(e, name));
    call = process_call_new(e,
                            op == ENGINE_FENCE  ? &fence
                            : op == ENGINE_STOP ? &stop
                                                : &discard,
                            r->ticket, name);
    call->may_have_run = r->may_have_run;
    process_call_queue(call);
}

/* 0; ERR_INVALID: no id of this engine; ERR_NOT_FOUND: of another data folder. */
static int parse_id(const struct process_engine *e, const char *id, char ret_name[ATTEMPT_NAME_MAX])
{
    const char *at = id ? strrchr(id, '@') : NULL;
    char name[ATTEMPT_NAME_MAX];

    if (!at || (size_t)(at - id) >= sizeof(name))
        return ERR_INVALID;
    memcpy(name, id, (size_t)(at - id));
    name[at - id] = '\0';
    if (!attempt_name_valid(name))
        return ERR_INVALID;
    memcpy(ret_name, name, sizeof(name));
    return strcmp(at + 1, e->host_id) == 0 ? 0 : ERR_NOT_FOUND;
}

static void submit(struct engine *engine, enum engine_op op, const struct engine_request *r)
{
    struct process_engine *e = of(engine);
    char name[ATTEMPT_NAME_MAX] = "";
    int result;

    assert(!e->closing && r->job);
    if (op == ENGINE_PREPARE) {
        assert(attempt_name_valid(r->name));
        submit_prepare(e, r);
        return;
    }
    result = parse_id(e, r->id, name);
    if (result == ERR_INVALID && op == ENGINE_DISCARD)
        answer_later(e, r->ticket, ENGINE_DONE, name, NULL);
    else if (result == ERR_INVALID && op != ENGINE_STOP)
        answer_later(e, r->ticket, ENGINE_UNKNOWN, name, "this is no id of the process engine");
    else if (result < 0)
        answer_later(e, r->ticket, ENGINE_UNREACHABLE, name,
                     "the attempt belongs to another machine's data folder");
    else if (op == ENGINE_RELEASE)
        submit_release(e, r, name);
    else if (op == ENGINE_WATCH)
        process_watch_start(e, r->ticket, name);
    else
        submit_work(e, op, r, name);
}

/* --- the rest of the table --- */

static int check(const struct engine *engine, const struct job *job, struct error *error)
{
    return engine_process_check(job, error);
}

static void free_all(struct list *list)
{
    while (!list_empty(list))
        process_call_free(LIST_ITEM(list->next, struct process_call, link));
}

/* Supervisors that wait leave: no other reign may release them, and whoever fences them finds their folders.
 */
static void abandon(struct engine *engine)
{
    struct process_engine *e = of(engine);

    process_held(e);
    e->reign++;
    free_all(&e->calls);
    free_all(&e->prepares);
    free_all(&e->later);
    process_armed_drop_all(e);
    process_watch_drop_all(e);
    process_released(e);
}

static int count(const struct list *list)
{
    int n = 0;

    LIST_EACH(link, list)
    n++;
    return n;
}

static void status(const struct engine *engine, struct engine_status *ret)
{
    const struct process_engine *e = of(engine);

    *ret = (struct engine_status){.reachable = !e->ill,
                                  .queued = count(&e->calls) + count(&e->prepares),
                                  .in_flight = e->on_pool,
                                  .watched = e->watched};
    if (e->ill)
        snprintf(ret->text, sizeof(ret->text), "%s", e->fault);
    else
        snprintf(ret->text, sizeof(ret->text), "processes of this machine, %d prepared", count(&e->armed));
}

/* --- life --- */

static void on_sweep(uv_timer_t *timer)
{
    process_sweep(timer->data);
}

static void close_run(uv_work_t *work)
{
    struct process_engine *e = work->data;

    spawner_release(&e->spawner);
    close(e->root);
}

static void engine_free(struct process_engine *e)
{
    free(e->name);
    free(e->data_dir);
    free(e->program);
    free(e);
}

static void close_done(uv_work_t *work, int status)
{
    struct process_engine *e = work->data;
    void (*done)(void *arg) = e->done;
    void *arg = e->done_arg;

    engine_free(e);
    if (done)
        done(arg);
}

void process_held(struct process_engine *e)
{
    e->held++;
}

void process_released(struct process_engine *e)
{
    assert(e->held > 0);
    if (--e->held > 0 || !e->closing || e->last_work)
        return;
    e->last_work = true;
    e->close_work.data = e;
    uv_queue_work(e->loop, &e->close_work, close_run, close_done);
}

static void on_handle_closed(uv_handle_t *handle)
{
    process_released(handle->data);
}

static void close_engine(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct process_engine *e = of(engine);

    assert(!e->closing);
    e->done = done;
    e->done_arg = arg;
    abandon(engine);
    e->closing = true;
    atomic_store(&e->leaving, true);
    uv_close((uv_handle_t *)&e->later_timer, on_handle_closed);
    uv_close((uv_handle_t *)&e->sweep_timer, on_handle_closed);
}

static void set_options(struct process_engine *e, const struct engine_process_options *o)
{
    e->name = alloc_text(o->name);
    e->data_dir = realpath(o->data_dir, NULL); /* supervisors have a working folder of their own */
    if (!e->data_dir)
        e->data_dir = alloc_text(o->data_dir); /* opening it will say what is wrong */
    e->program = alloc_text(o->program ? o->program : "/proc/self/exe");
    e->parallel = o->parallel > 0 ? o->parallel : PROCESS_PARALLEL_DEFAULT;
    e->retention_ms = o->retention_ms > 0 ? o->retention_ms : PROCESS_RETENTION_MS;
    e->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : PROCESS_SWEEP_MS;
    e->engine.name = e->name;
    e->engine.type = "process";
    e->engine.max_armed = o->max_armed > 0 ? o->max_armed : PROCESS_MAX_ARMED_DEFAULT;
}

static void start_timer(struct process_engine *e, uv_timer_t *timer)
{
    uv_timer_init(e->loop, timer);
    timer->data = e;
    process_held(e);
}

int engine_process_new(struct engine **ret, uv_loop_t *loop, const struct engine_process_options *options,
                       struct engine_host *host, struct error *error)
{
    static const struct engine_ops ops = {
        .check = check, .submit = submit, .abandon = abandon, .status = status, .close = close_engine};
    struct process_engine *e = alloc_zero(sizeof(*e));
    int r;

    e->engine.ops = &ops;
    e->loop = loop;
    e->host = host;
    e->root = -1;
    set_options(e, options);
    list_init(&e->calls);
    list_init(&e->prepares);
    list_init(&e->later);
    list_init(&e->armed);
    list_init(&e->watches);
    if ((r = attempt_boot_id(e->boot, error)) < 0 ||
        (r = attempts_open(e->data_dir, &e->root, e->host_id, error)) < 0 ||
        (r = spawner_init(&e->spawner, e->program)) < 0) {
        if (e->root >= 0)
            close(e->root);
        engine_free(e);
        return r;
    }
    start_timer(e, &e->later_timer);
    start_timer(e, &e->sweep_timer);
    uv_unref((uv_handle_t *)&e->sweep_timer);
    uv_timer_start(&e->sweep_timer, on_sweep, (uint64_t)e->sweep_ms, (uint64_t)e->sweep_ms);
    *ret = &e->engine;
    return 0;
}
