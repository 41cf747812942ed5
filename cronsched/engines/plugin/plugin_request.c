/* Requests but WATCH: sent to the program when they get their place, answered by it, or by its end.
 *
 * A RELEASE that was written into the pipe may have been read, whatever becomes of the program: UNKNOWN. One that was not is
 * UNREACHABLE. Everything else can be asked for again.
 */
#include "cronsched/engines/plugin/plugin_core.h"

#include "jobs/base/alloc.h"
#include "jobs/engine/engine_json.h"

#include <stdio.h>
#include <string.h>

/* ---- answers ---- */

void plugin_request_heard(struct plugin_task *t, const struct engine_answer *answer)
{
    struct engine_answer a = *answer;
    const char *identity = t->plugin->identity;

    if (a.event == ENGINE_PREPARED && !a.identity)
        a.identity = *identity ? identity : NULL;
    task_answer(&t->task, &a);
}

void plugin_requests_cut(struct plugin *p)
{
    int left = p->tasks.count;

    while (left-- > 0 && !p->program && !p->tasks.closing) {
        struct plugin_task *sent = NULL;

        LIST_EACH(link, &p->tasks.active)
        {
            struct plugin_task *t = plugin_task_at(link);

            if (t->sent)
                sent = t;
        }
        if (!sent)
            return;
        if (sent->task.op == ENGINE_RELEASE)
            task_answer_text(&sent->task, ENGINE_UNKNOWN, -1, "the plug-in went away during the start: %s",
                             p->why);
        else
            task_answer_text(&sent->task, ENGINE_UNREACHABLE, -1, "%s", p->why);
    }
}

/* ---- sending ---- */

static void send_request(struct plugin_task *t, const struct environment *environment)
{
    struct plugin *p = t->plugin;
    json_t *message = engine_request_json(t->task.op, &t->task.q, environment);

    if (!message) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the environment or the command is not UTF-8");
        return;
    }
    if (!p->greeted) { /* it went while files were read */
        json_decref(message);
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s", p->why);
        return;
    }
    plugin_epoch_tell(p);
    json_object_set_new(message, "deadline_ms", json_integer(PLUGIN_ANSWER_MS));
    t->sent = true;
    task_wake_in(&t->task, PLUGIN_ANSWER_MS);
    plugin_program_send(p, message); /* where that fails the task is answered, and gone */
}

/* ---- PREPARE ---- */

static int resolve(void *arg, const struct job_env *variable, char **ret_value, struct error *error)
{
    struct plugin_task *t = OBJECT(struct plugin_task, arg);
    size_t i = (size_t)(variable - t->task.q.job->environment);

    if (!t->files || !t->files[i])
        return error_set(error, ERR_UNSUPPORTED, "environment: %.100s: from_secret is not supported",
                         variable->name);
    *ret_value = t->files[i];
    t->files[i] = NULL;
    return 0;
}

static void prepare(struct plugin_task *t)
{
    struct environment environment;
    struct error error = {0};

    if (environment_build(&environment, &t->task.q, resolve, t, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    send_request(t, &environment);
    environment_release(&environment);
}

static void on_variables_read(void *arg, char **values, size_t count, const struct error *error)
{
    struct plugin_task *t = OBJECT(struct plugin_task, arg);
    struct tasks *tasks = t->task.tasks;

    t->files = values;
    if (!task_is_wanted(&t->task))
        return;
    if (error)
        task_answer_text(&t->task, environment_file_later(error->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED,
                         -1, "%s", error->text);
    else
        prepare(t);
    tasks_release(tasks);
}

int plugin_request_check(const struct plugin *p, const struct job *job, struct error *error)
{
    if (p->at_least_once && job->on_lost != JOB_ON_LOST_RERUN)
        return error_set(error, ERR_UNSUPPORTED,
                         "engine: %.64s may start a run twice: a job for it needs 'on_lost: rerun'", p->name);
    for (size_t i = 0; i < job->environment_count; i++)
        if (job->environment[i].from_secret)
            return error_set(error, ERR_UNSUPPORTED, "environment: %.100s: from_secret is not supported",
                             job->environment[i].name);
    return variable_files_check(job, &p->limits, error);
}

void plugin_request_begin(struct plugin_task *t)
{
    struct plugin *p = t->plugin;
    struct error error = {0};
    char text[PLUGIN_TEXT_MAX];

    if (p->tasks.count > TASKS_MAX)
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "more than %d requests wait for the engine",
                         TASKS_MAX);
    else if (engine_is_another(p->identity, t->task.q.identity, text, sizeof(text)))
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s", text);
    else if (t->task.op != ENGINE_PREPARE)
        send_request(t, NULL);
    else if (plugin_request_check(p, t->task.q.job, &error) < 0)
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
    else if (variable_files_read(p->reader, t->task.q.job, &p->limits, on_variables_read, t))
        task_to_thread(&t->task);
    else
        prepare(t);
}
