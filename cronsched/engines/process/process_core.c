/* The ground of the process engine: answers, calls on libuv's pool, and what keeps the engine alive. It calls no
 * other file of the engine but attempt_dir.c and spawner.c; what a call does is in the table that it brings.
 */
#include "cronsched/engines/process/process_core.h"

#include "jobs/base/alloc.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- answers ---- */

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
void process_answer_status(struct process_engine *e, uint64_t ticket, const struct attempt_dir_status *s)
{
    static const enum engine_event events[] = {
        [ATTEMPT_DIR_FENCED] = ENGINE_NEVER_RAN, [ATTEMPT_DIR_RUNNING] = ENGINE_STARTED,
        [ATTEMPT_DIR_ENDED] = ENGINE_ENDED,      [ATTEMPT_DIR_REFUSED] = ENGINE_REFUSED,
        [ATTEMPT_DIR_LOST] = ENGINE_UNKNOWN,
    };
    bool ended = s->state == ATTEMPT_DIR_ENDED || s->state == ATTEMPT_DIR_REFUSED;
    struct engine_answer answer = {.ticket = ticket,
                                   .event = events[s->state],
                                   .started_ms = s->started_ms,
                                   .exit_code = -1,
                                   .text = s->end.text[0] ? s->end.text : NULL};

    assert(s->state != ATTEMPT_DIR_WAITING);
    if (ended) {
        answer.at_ms = s->end.ended_ms;
        answer.exit_code = s->end.exit_code;
        answer.cause = s->end.cause;
    }
    process_answer(e, &answer);
}

void process_id(const struct process_engine *e, const char *name, char ret[PROCESS_ID_MAX])
{
    snprintf(ret, PROCESS_ID_MAX, "%s@%s", name, e->host_id);
}

/* ---- calls ---- */

struct process_call *process_call_new(struct process_engine *e, const struct process_call_ops *ops,
                                      uint64_t ticket, const char *name)
{
    struct process_call *call = OBJECT_NEW(struct process_call);

    call->ops = ops;
    call->engine = e;
    call->generation = e->generation;
    call->ticket = ticket;
    call->fd = -1;
    call->work.data = call;
    list_init(&call->link);
    snprintf(call->name, sizeof(call->name), "%s", name);
    memcpy(call->host, e->host_id, sizeof(call->host));
    process_held(e);
    return call;
}

static void wipe_files(struct process_call *call)
{
    if (call->job)
        variable_files_release(call->files, call->job->environment_count);
    call->files = NULL;
}

void process_call_free(struct process_call *call)
{
    struct process_engine *e = call->engine;

    list_remove(&call->link);
    wipe_files(call);
    job_unref(call->job);
    json_decref(call->params);
    free(call->cause);
    if (call->fd >= 0)
        close(call->fd);
    OBJECT_FREE(struct process_call, call);
    process_released(e);
}

static void run_on_pool(uv_work_t *work)
{
    struct process_call *call = OBJECT(struct process_call, work->data);

    call->ops->run(call);
}

static void done_on_pool(uv_work_t *work, int status)
{
    struct process_call *call = OBJECT(struct process_call, work->data);
    struct process_engine *e = call->engine;

    process_held(e);
    e->on_pool--;
    if (call->generation == e->generation)
        call->ops->done(call);
    else if (call->ops->prepares)
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

    list_append(call->ops->prepares ? &e->prepares : &e->calls, &call->link);
    process_pump(e);
}

/* Answers that need no work wait for the next turn: none comes from within submit. */
static void on_later(uv_timer_t *timer)
{
    struct process_engine *e = OBJECT(struct process_engine, timer->data);
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
        if (call->generation == e->generation)
            call->ops->done(call);
        process_call_free(call);
    }
    process_released(e);
}

static void answer_prepared(struct process_call *call)
{
    char id[PROCESS_ID_MAX];
    struct engine_answer answer = {.ticket = call->ticket,
                                   .event = ENGINE_PREPARED,
                                   .id = id,
                                   .boot_id = call->engine->boot_id,
                                   .identity = call->engine->identity};

    process_id(call->engine, call->name, id);
    process_answer(call->engine, &answer);
}

static void answer_text(struct process_call *call)
{
    process_answer_text(call->engine, call->ticket, call->event, -1,
                        call->with_text ? call->error.text : NULL);
}

void process_answer_later(struct process_engine *e, uint64_t ticket, enum engine_event event,
                          const char *name, const char *text)
{
    static const struct process_call_ops prepared = {.done = answer_prepared}, other = {.done = answer_text};
    struct process_call *call =
        process_call_new(e, event == ENGINE_PREPARED ? &prepared : &other, ticket, name);

    call->event = event;
    call->with_text = text != NULL;
    snprintf(call->error.text, sizeof(call->error.text), "%s", text ? text : "");
    list_append(&e->later, &call->link);
    loop_timer_start(&e->later_timer, on_later, 0, 0);
}

/* ---- life ---- */

static void close_run(uv_work_t *work)
{
    struct process_engine *e = OBJECT(struct process_engine, work->data);

    spawner_release(&e->spawner);
    attempt_group_base_release(e->group_base);
    close(e->root);
}

void process_free(struct process_engine *e)
{
    free(e->name);
    free(e->data_dir);
    free(e->program);
    free(e->replica);
    json_decref(e->allow);
    free(e->files_dir);
    OBJECT_FREE(struct process_engine, e);
}

static void close_done(uv_work_t *work, int status)
{
    struct process_engine *e = OBJECT(struct process_engine, work->data);
    void (*done)(void *arg) = e->done;
    void *arg = e->done_arg;

    process_free(e);
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

void process_handle_closed(uv_handle_t *handle)
{
    process_released(OBJECT(struct process_engine, handle->data));
}
