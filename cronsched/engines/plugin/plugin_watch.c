/* WATCH: the log is opened, then the program is asked, with how much of the output is kept already; it sends the rest, and what
 * becomes of the attempt. When the program is started again it is asked again.
 *
 * Output that comes faster than it can be written is dropped, and the log says so: a slow disk holds up nobody.
 */
#include "cronsched/engines/plugin/plugin_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/engine/engine_json.h"

#include <stdio.h>
#include <string.h>

/* ---- asking ---- */

static void ask(struct plugin_task *t)
{
    struct plugin *p = t->plugin;
    json_t *message;

    if (!p->greeted || !t->log_opened)
        return;
    message = engine_request_json(ENGINE_WATCH, &t->task.q, NULL);
    json_object_set_new(message, "log_from", json_integer(t->log_from));
    plugin_epoch_tell(p);
    t->sent = true;
    plugin_program_send(p, message);
}

/* ---- the log ---- */

static void on_opened(void *arg, const struct run_log_place *place)
{
    struct plugin_task *t = OBJECT(struct plugin_task, arg);

    t->log_opened = true;
    t->dropped = !place;
    t->log_from = place ? place->offset : 0;
    ask(t);
}

static void add(struct plugin_task *t, const struct run_log_frame *frame)
{
    int r = run_log_writer_add(t->writer, frame);

    t->busy = r == ERR_BUSY;
    t->dropped = r == ERR_FULL || r == ERR_NOMEM;
}

static void on_drained(void *arg)
{
    struct plugin_task *t = OBJECT(struct plugin_task, arg);
    struct run_log_frame gap = {.kind = RUN_LOG_GAP, .gap_bytes = t->gap_bytes};

    t->busy = false;
    if (t->gap_bytes)
        add(t, &gap);
    t->gap_bytes = 0;
}

void plugin_watch_output(struct plugin_task *t, const char *bytes, size_t size, bool is_stderr)
{
    for (size_t at = 0; at < size && t->writer && !t->dropped;) {
        size_t n = size - at < RUN_LOG_FRAME_MAX ? size - at : RUN_LOG_FRAME_MAX;

        if (t->busy)
            t->gap_bytes += (int64_t)n;
        else
            add(t, &(struct run_log_frame){.kind = is_stderr ? RUN_LOG_ERR : RUN_LOG_OUT,
                                           .ns = clock_wall_ns(),
                                           .data = bytes + at,
                                           .size = n});
        at += n;
    }
    t->log_from += (int64_t)size;
}

/* ---- its end ---- */

static void on_log_written(void *arg, int result, const char *text)
{
    struct plugin_task *t = OBJECT(struct plugin_task, arg);
    struct tasks *tasks = t->task.tasks;
    char whole[PLUGIN_TEXT_MAX];

    if (result < 0 && text) {
        const char *said = t->end.text ? t->end.text : "";

        snprintf(whole, sizeof(whole), "%.300s%sits log: %.150s", said, *said ? "; " : "", text);
        free((char *)(uintptr_t)t->end.text);
        t->end.text = alloc_text(whole);
    }
    if (!task_is_wanted(&t->task))
        return;
    task_answer(&t->task, &t->end);
    tasks_release(tasks);
}

static void over(struct plugin_task *t, const struct engine_answer *answer)
{
    struct run_log_writer *writer = t->writer;

    t->sent = false; /* what it says of it now is of no interest */
    t->writer = NULL;
    t->end = *answer;
    t->end.id = t->end.boot_id = t->end.identity = NULL;
    t->end.text = alloc_text(answer->text);
    t->end.cause = alloc_text(answer->cause);
    if (!writer) {
        task_answer(&t->task, &t->end);
        return;
    }
    task_to_thread(&t->task);
    run_log_writer_finish(writer, on_log_written, t);
}

void plugin_watch_heard(struct plugin_task *t, const struct engine_answer *answer)
{
    struct engine_answer a = *answer;

    if (!engine_event_goes_on(a.event)) {
        over(t, &a);
        return;
    }
    t->away = a.event == ENGINE_UNREACHABLE;
    t->plugin->host->answer(t->plugin->host, &a); /* the task may be gone now */
}

void plugin_watch_detach(struct plugin_task *t)
{
    if (!t->is_watch)
        return;
    t->is_watch = false;
    t->plugin->watched--;
    run_log_writer_abandon(t->writer);
    t->writer = NULL;
}

/* ---- when the program comes and goes ---- */

void plugin_watches_up(struct plugin *p)
{
    LIST_EACH(link, &p->tasks.watches)
    {
        struct plugin_task *t = plugin_task_at(link);

        if (!t->task.on_thread)
            ask(t);
        if (!p->greeted)
            return;
    }
}

void plugin_watches_down(struct plugin *p)
{
    bool any = true;

    LIST_EACH(link, &p->tasks.watches)
    plugin_task_at(link)->sent = false;
    while (any && !p->program && !p->tasks.closing) {
        any = false;
        LIST_EACH(link, &p->tasks.watches)
        {
            struct plugin_task *t = plugin_task_at(link);

            if (t->away || t->task.on_thread)
                continue;
            t->away = any = true;
            p->host->answer(p->host, &(struct engine_answer){.ticket = t->task.q.ticket,
                                                             .event = ENGINE_UNREACHABLE,
                                                             .exit_code = -1,
                                                             .text = p->why});
            break; /* the list may have changed */
        }
    }
}

/* ---- its begin ---- */

static void open_log(struct plugin_task *t)
{
    static const struct run_log_writer_events events = {.opened = on_opened, .drained = on_drained};
    char path[RUN_LOG_PATH_MAX];
    struct error error;

    if (run_log_path(t->plugin->data_dir, t->task.q.run, t->task.q.attempt, path, sizeof(path), &error) ==
            0 &&
        run_log_writer_new(&t->writer, t->plugin->loop, path, t->task.q.job->keep_logs_bytes, RUN_LOG_RESUME,
                           &events, t, &error) == 0)
        return;
    t->log_opened = t->dropped = true;
    ask(t);
}

void plugin_watch_begin(struct plugin_task *t)
{
    struct plugin *p = t->plugin;

    t->is_watch = true;
    t->away = t->task.q.unresolved;
    p->watched++;
    task_watch(&t->task);
    task_wake_in(&t->task, 0); /* nothing is told from within */
    open_log(t);
}
