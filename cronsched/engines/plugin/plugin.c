/* The plugin engine's face: the table of operations, and its life. See plugin.h. */
#include "cronsched/engines/plugin/plugin_core.h"

#include "jobs/base/alloc.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- tasks ---- */

struct plugin_task *plugin_task_at(const struct list *link)
{
    return OBJECT_OF(struct plugin_task, task, LIST_ITEM(link, struct task, link));
}

struct plugin_task *plugin_task_find(const struct plugin *p, uint64_t ticket)
{
    const struct list *const lists[] = {&p->tasks.active, &p->tasks.watches};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        LIST_EACH(link, lists[i])
        {
            struct plugin_task *t = plugin_task_at(link);

            if (t->task.q.ticket == ticket && t->sent)
                return t;
        }
    }
    return NULL;
}

static void task_begin(struct task *task)
{
    plugin_request_begin(OBJECT_OF(struct plugin_task, task, task));
}

/* A request's time is up; or a watch begins while the program is away. */
static void task_wake(struct task *task)
{
    struct plugin_task *t = OBJECT_OF(struct plugin_task, task, task);
    struct plugin *p = t->plugin;

    if (!t->is_watch)
        plugin_program_fail(p, "the program did not answer '%s' within %d s", engine_op_name(task->op),
                            PLUGIN_ANSWER_MS / 1000);
    else if (!p->greeted && p->why[0])
        plugin_watches_down(p);
}

static void task_detach(struct task *task)
{
    plugin_watch_detach(OBJECT_OF(struct plugin_task, task, task));
}

static void task_release(struct task *task)
{
    struct plugin_task *t = OBJECT_OF(struct plugin_task, task, task);

    variable_files_release(t->files, task->q.job->environment_count);
    free((char *)(uintptr_t)t->end.text);
    free((char *)(uintptr_t)t->end.cause);
    OBJECT_FREE(struct plugin_task, t);
}

static bool is_open(void *engine)
{
    return OBJECT(struct plugin, engine)->greeted;
}

static const char *why_away(void *engine)
{
    const struct plugin *p = OBJECT(struct plugin, engine);

    return !p->greeted && p->why[0] ? p->why : NULL;
}

static void plugin_free(struct plugin *p)
{
    for (size_t i = 0; p->command && p->command[i]; i++)
        free(p->command[i]);
    free(p->command);
    free(p->name);
    free(p->data_dir);
    free(p->files_dir);
    OBJECT_FREE(struct plugin, p);
}

static void closed(void *engine)
{
    plugin_free(OBJECT(struct plugin, engine));
}

/* ---- the table ---- */

static struct plugin *plugin_of(const struct engine *engine)
{
    return OBJECT_OF(struct plugin, engine, engine);
}

static int plugin_check(const struct engine *engine, const struct job *job, struct error *error)
{
    return plugin_request_check(plugin_of(engine), job, error);
}

static void plugin_submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    struct plugin *p = plugin_of(engine);
    struct plugin_task *t = OBJECT_NEW(struct plugin_task);

    assert(!p->tasks.closing && request->job && request->run && request->name);
    assert(op == ENGINE_PREPARE || request->id);
    t->plugin = p;
    task_init(&t->task, &p->tasks, op, request);
    if (op == ENGINE_WATCH)
        plugin_watch_begin(t);
    else
        task_queue(&t->task);
}

static void plugin_abandon(struct engine *engine)
{
    struct plugin *p = plugin_of(engine);

    tasks_abandon(&p->tasks);
    if (p->greeted)
        plugin_program_send(p, json_pack("{s:b}", "abandon", 1));
}

static void plugin_status(const struct engine *engine, struct engine_status *ret)
{
    const struct plugin *p = plugin_of(engine);

    *ret = (struct engine_status){
        .reachable = p->greeted,
        .queued = p->tasks.queued,
        .in_flight = p->tasks.working,
        .watched = p->watched,
        .stuck = (int)file_reader_stuck(p->reader),
        .guarantee = p->at_least_once ? "a run may be started twice" : ENGINE_AT_MOST_ONCE,
        .advice = "look at the log for what the program says (plugin-says), and try it by hand",
    };
    snprintf(ret->identity, sizeof(ret->identity), "%s", p->identity);
    if (p->greeted) {
        snprintf(ret->text, sizeof(ret->text), "%s %s, by %.100s", p->type, p->version, p->command[0]);
        snprintf(ret->version, sizeof(ret->version), "%.24s %.36s", p->type, p->version);
    } else {
        snprintf(ret->text, sizeof(ret->text), "%s", p->why);
    }
}

/* ---- timers ---- */

void plugin_epoch_tell(struct plugin *p)
{
    int64_t epoch = p->host->epoch(p->host);

    if (!p->greeted || epoch == p->epoch)
        return;
    p->epoch = epoch;
    plugin_program_send(p, json_pack("{s:I}", "epoch", (json_int_t)epoch));
}

/* Is it there? */
static void on_ping(uv_timer_t *timer)
{
    struct plugin *p = OBJECT(struct plugin, timer->data);
    int64_t now = (int64_t)uv_now(p->loop);

    if (!p->program)
        return;
    if (!p->greeted && now - p->started_ms > PLUGIN_HELLO_MS)
        plugin_program_fail(p, "the program did not say hello within %d s", PLUGIN_HELLO_MS / 1000);
    else if (p->greeted && now - p->ponged_ms > PLUGIN_PONG_MS)
        plugin_program_fail(p, "the program did not answer a ping within %d s", PLUGIN_PONG_MS / 1000);
    else if (p->greeted)
        plugin_program_send(p, json_pack("{s:I}", "ping", (json_int_t)now));
    plugin_epoch_tell(p);
}

static void on_list(uv_timer_t *timer)
{
    struct plugin *p = OBJECT(struct plugin, timer->data);

    if (p->greeted && p->host->epoch(p->host) > 0)
        plugin_program_send(p, json_pack("{s:b}", "list", 1));
}

void plugin_list_soon(struct plugin *p)
{
    loop_timer_start(&p->list_timer, on_list, PLUGIN_LIST_FIRST_MS, PLUGIN_LIST_MS);
}

static void on_start(uv_timer_t *timer)
{
    plugin_program_start(OBJECT(struct plugin, timer->data));
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    tasks_release(&OBJECT(struct plugin, handle->data)->tasks);
}

static void on_part_closed(void *arg)
{
    tasks_release(&OBJECT(struct plugin, arg)->tasks);
}

static void plugin_close(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct plugin *p = plugin_of(engine);
    uv_timer_t *const timers[] = {&p->start_timer, &p->ping_timer, &p->list_timer};

    tasks_close(&p->tasks, done, arg);
    plugin_program_kill(p);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        uv_close((uv_handle_t *)timers[i], on_handle_closed);
    tasks_hold(&p->tasks);
    file_reader_close(p->reader, on_part_closed, p);
}

static const struct engine_ops plugin_ops = {
    .check = plugin_check,
    .submit = plugin_submit,
    .abandon = plugin_abandon,
    .status = plugin_status,
    .close = plugin_close,
};

static void set_options(struct plugin *p, const struct plugin_engine_options *o)
{
    size_t n = 0;

    while (o->command[n])
        n++;
    p->command = alloc_zero((n + 1) * sizeof(*p->command));
    for (size_t i = 0; i < n; i++)
        p->command[i] = alloc_text(o->command[i]);
    p->name = alloc_text(o->name ? o->name : "plugin");
    p->data_dir = alloc_text(o->data_dir);
    p->files_dir = alloc_text(o->files_dir);
    p->limits = (struct variable_files_limits){.files_dir = p->files_dir};
    p->engine = (struct engine){.ops = &plugin_ops,
                                .name = p->name,
                                .type = "plugin",
                                .hands_over = true,
                                .max_armed = o->max_armed > 0 ? o->max_armed : PLUGIN_MAX_ARMED_DEFAULT};
}

int plugin_engine_new(struct engine **ret, uv_loop_t *loop, const struct plugin_engine_options *o,
                      struct engine_host *host, struct error *error)
{
    static const struct tasks_ops ops = {.begin = task_begin,
                                         .wake = task_wake,
                                         .detach = task_detach,
                                         .free = task_release,
                                         .open = is_open,
                                         .away = why_away,
                                         .closed = closed};
    struct plugin *p;
    uv_timer_t *timers[3];

    if (!o->command || !o->command[0])
        return error_set(error, ERR_INVALID, "a plug-in needs a command");
    p = OBJECT_NEW(struct plugin);
    p->loop = loop;
    p->host = host;
    set_options(p, o);
    tasks_init(&p->tasks, &ops, p, loop, host, o->parallel > 0 ? o->parallel : PLUGIN_PARALLEL_DEFAULT,
               PLUGIN_TICK_MS);
    timers[0] = &p->start_timer;
    timers[1] = &p->ping_timer;
    timers[2] = &p->list_timer;
    for (size_t i = 0; i < 3; i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = p;
        tasks_hold(&p->tasks);
    }
    p->reader = file_reader_new(loop);
    loop_timer_start(&p->start_timer, on_start, 0, 0);
    loop_timer_start(&p->ping_timer, on_ping, PLUGIN_PING_MS, PLUGIN_PING_MS);
    *ret = &p->engine;
    return 0;
}
