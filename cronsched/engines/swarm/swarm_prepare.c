/* PREPARE: make the service exist, without a replica.
 *
 * The happy path: read the files of the environment (threads with a deadline) -> ids of the secrets and configs -> the start
 * guard (swarm_guard.c) -> the credentials for the image's registry (docker_login.h), which the Swarm gives to the node -> POST /services/create under the attempt's name -> PREPARED(id, the Swarm's identity).
 *
 * Failures:
 *   a file of the environment cannot be read, or does not answer in time: REFUSED with its path; no descriptor or no
 *                      memory for it: UNREACHABLE
 *   no such secret, config or network: REFUSED with its name
 *   the file of a registry's password cannot be read: as for files of the environment; other credentials: none are shown
 *   no answer, or a manager without a leader: create again under the same name, then UNREACHABLE; 409 leads to what the
 *                      first one made
 *   409, name taken    look at it: ours by its labels and never released: go on with it; else REFUSED
 *   any other answer   REFUSED with the manager's text
 */
#include "cronsched/engines/docker/docker_login.h"
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void create(struct swarm_task *t);

static void refuse(struct swarm_task *t, const struct docker_reply *reply, const char *what)
{
    task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s: HTTP %d: %s", what, reply->status, reply->text);
}

/* ---- the end ---- */

static void prepared(struct swarm_task *t, const char *id)
{
    struct swarm *s = t->swarm;

    FAULT_POINT("swarm.prepared", t->task.q.run);
    task_answer(&t->task,
                &(struct engine_answer){
                    .event = ENGINE_PREPARED, .exit_code = -1, .id = id, .identity = s->cluster_id});
}

/* ---- the name is taken ---- */

static void on_taken(struct swarm_task *t, const struct docker_reply *reply)
{
    struct swarm *s = t->swarm;
    struct swarm_service found;

    if (swarm_no_answer(reply) || reply->status == 404)
        swarm_answer_unreachable(t, reply);
    else if (reply->status != 200 || !swarm_service_read(reply->json, &found))
        refuse(t, reply, "the service of that name cannot be looked at");
    else if (strcmp(found.cluster, s->host->cluster(s->host)) != 0 || strcmp(found.run, t->task.q.run) != 0 ||
             found.attempt != t->task.q.attempt || found.epoch != t->task.q.epoch)
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "the name %s is taken by a service that is not this attempt's", t->task.q.name);
    else if (found.released || found.replicas != 0)
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the service %s was scaled by somebody else",
                         t->task.q.name);
    else
        prepared(t, found.id);
}

/* ---- create ---- */

static int resolve(void *arg, const struct job_env *variable, char **ret_value, struct error *error)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    size_t i = (size_t)(variable - t->task.q.job->environment);

    if (!t->files || !t->files[i])
        return error_set(error, ERR_UNSUPPORTED, "from_secret cannot be used here");
    *ret_value = alloc_text(t->files[i]);
    return 0;
}

/* Of a network that is not there; the API says so with 500. */
static bool is_final(const struct docker_reply *reply)
{
    return !docker_lost(reply) && reply->status >= 400 &&
           (reply->status < 500 || strstr(reply->text, "not found"));
}

static void on_created(struct swarm_task *t, const struct docker_reply *reply)
{
    const char *id = json_string_value(json_object_get(reply->json, "ID"));
    char path[SWARM_PATH_MAX];

    if (!docker_lost(reply) && reply->status == 201 && id && swarm_id_valid(id)) {
        prepared(t, id);
    } else if (!docker_lost(reply) && reply->status == 409) {
        swarm_service_path(path, t->task.q.name, "");
        swarm_send(t, &(struct swarm_call){.method = "GET", .path = path}, on_taken);
    } else if (is_final(reply)) {
        t->swarm->guard_ms = 0; /* in case somebody has removed its config */
        refuse(t, reply, "the service cannot be created");
    } else if (reply->outcome != HTTP_NOT_SENT && ++t->tries < SWARM_CREATE_TRIES) {
        create(t); /* whatever the first one made has the same name */
    } else {
        swarm_answer_unreachable(t, reply);
    }
}

static void create(struct swarm_task *t)
{
    struct swarm *s = t->swarm;
    struct environment environment;
    struct error error = {0};
    json_t *body;

    FAULT_POINT("swarm.create", t->task.q.run);
    if (environment_build(&environment, &t->task.q, resolve, t, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    body = swarm_spec_json(t, s->host->cluster(s->host), &environment);
    environment_release(&environment);
    if (!body) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the environment or the command is not UTF-8");
        return;
    }
    if (s->guard_id[0] && swarm_guard_fits(t->task.q.job))
        swarm_guard_apply(body, s->guard_id);
    swarm_send(
        t,
        &(struct swarm_call){.method = "POST", .path = "/services/create", .body = body, .header = t->auth},
        on_created);
    json_decref(body);
}

static void on_login(void *arg, const struct docker_login *login)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    struct swarm *s = t->swarm;

    if (!task_is_wanted(&t->task))
        return;
    if (login->error) {
        task_answer_text(&t->task, login->later ? ENGINE_UNREACHABLE : ENGINE_REFUSED, -1, "%s",
                         login->error->text);
    } else {
        t->auth = alloc_text(login->header);
        create(t);
    }
    tasks_release(&s->tasks);
}

static void find_login(struct swarm_task *t)
{
    if (docker_login_find(t->swarm->logins, t->task.q.job->image, on_login, t))
        task_to_thread(&t->task);
    else
        create(t);
}

/* ---- names of secrets and configs ---- */

static const struct kind {
    const char *name; /* in paths, and in the job */
    size_t offset;
} kinds[] = {
    {"secrets", offsetof(struct job, secrets)},
    {"configs", offsetof(struct job, configs)},
};

static const struct strings *names_of(const struct swarm_task *t, const struct kind *kind)
{
    return (const struct strings *)((const char *)t->task.q.job + kind->offset);
}

static void look_up(struct swarm_task *t);

/* The first name whose id is not known yet; NULL: all are. */
static const char *next_name(const struct swarm_task *t, const struct kind **ret_kind)
{
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const struct strings *names = names_of(t, &kinds[k]);

        *ret_kind = &kinds[k];
        for (size_t i = 0; i < names->count; i++)
            if (!json_object_get(json_object_get(t->ids, kinds[k].name), names->items[i]))
                return names->items[i];
    }
    return NULL;
}

/* The filter is one by prefix. */
static const char *id_of(const json_t *list, const char *name)
{
    json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        const char *found = json_string_value(json_object_get(json_object_get(each, "Spec"), "Name"));

        if (found && strcmp(found, name) == 0)
            return json_string_value(json_object_get(each, "ID"));
    }
    return NULL;
}

static void on_looked_up(struct swarm_task *t, const struct docker_reply *reply)
{
    const struct kind *kind;
    const char *name = next_name(t, &kind), *id = id_of(reply->json, name);

    if (swarm_no_answer(reply)) {
        swarm_answer_unreachable(t, reply);
    } else if (reply->status != 200 || !id) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s: the Swarm has no '%s'", kind->name, name);
    } else {
        json_object_set_new(json_object_get(t->ids, kind->name), name, json_string(id));
        look_up(t);
    }
}

static void look_up(struct swarm_task *t)
{
    const struct kind *kind;
    const char *name = next_name(t, &kind);
    char path[SWARM_PATH_MAX];

    if (!name) {
        t->tries = 0;
        swarm_guard_find(t, find_login);
        return;
    }
    swarm_list_path(path, sizeof(path), kind->name, "name", name, NULL, NULL);
    swarm_send(t, &(struct swarm_call){.method = "GET", .path = path}, on_looked_up);
}

/* ---- files of variables ---- */

static void on_variables_read(void *arg, char **values, size_t count, const struct error *error)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    struct swarm *s = t->swarm;

    (void)count;
    t->files = values;
    if (!task_is_wanted(&t->task))
        return;
    if (error)
        task_answer_text(&t->task, environment_file_later(error->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED,
                         -1, "%s", error->text);
    else
        look_up(t);
    tasks_release(&s->tasks);
}

void swarm_prepare_begin(struct swarm_task *t)
{
    struct swarm *s = t->swarm;
    struct engine_faults faults = {0};
    struct error error = {0};

    swarm_engine_faults(t->task.q.job, &faults);
    if (faults.first.code) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", faults.first.text);
    } else if (variable_files_check(t->task.q.job, &s->limits, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
    } else {
        t->ids = json_pack("{s:{}, s:{}}", "secrets", "configs");
        if (variable_files_read(s->reader, t->task.q.job, &s->limits, on_variables_read, t))
            task_to_thread(&t->task);
        else
            look_up(t);
    }
}
