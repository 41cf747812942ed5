/* PREPARE: make the container exist, not running.
 *
 * The happy path: read the files of the environment (threads with a deadline) -> [pull] -> POST /containers/create under the
 * attempt's name -> the witness is not there yet -> the host's boot identity -> PREPARED(id, boot_id).
 *
 * Failures:
 *   a file of the environment cannot be read, or does not answer in time: REFUSED with its path; no descriptor
 *                      or no memory for it: UNREACHABLE
 *   no such image      pull: never, or pulled already: REFUSED with the image's name; else pull and create
 *                      again
 *   the pull fails     REFUSED (docker_pull.c)
 *   the reply is lost  create again under the same name; 409 then leads to what the first one made
 *   409, name taken    inspect it: ours by its labels: go on with it; else REFUSED
 *   it was started     by somebody else, meanwhile: PREPARED. Its release finds that out, and does not start it again;
 *                      an attempt that is refused would be followed by another, and so by a second start
 *   other errors       REFUSED with the engine's text, since nothing was started; 503 and no answer:
 *                      UNREACHABLE
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/percent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void create(struct docker_task *t);

static void refuse(struct docker_task *t, const struct docker_reply *reply, const char *what)
{
    task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s: %s", what, reply->text);
}

/* No answer, or one that says "later": try again later. */
static bool unreachable(struct docker_task *t, const struct docker_reply *reply)
{
    if (!docker_lost(reply) && reply->status != 503 && reply->status != 502 && reply->status != 504)
        return false;
    docker_answer_unreachable(t, reply);
    return true;
}

/* ---- the end ---- */

/* When another engine answers by now, nobody knows on which one it is. */
static void prepared(struct docker_task *t, const char *boot_id)
{
    char text[DOCKER_TEXT_MAX];

    FAULT_POINT("docker.prepared", t->task.q.run);
    if (docker_identity_differs(t->docker, t, text, sizeof(text)))
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s", text);
    else
        task_answer(&t->task, &(struct engine_answer){.event = ENGINE_PREPARED,
                                                      .id = t->task.q.id,
                                                      .boot_id = boot_id,
                                                      .identity = t->task.q.identity});
}

static void with_boot_id(struct docker_task *t)
{
    char boot_id[DOCKER_BOOT_ID_MAX];

    if (!t->docker->boot_id[0]) {
        docker_boot_id_read(t, prepared);
        return;
    }
    memcpy(boot_id, t->docker->boot_id, sizeof(boot_id));
    prepared(t, boot_id);
}

/* Whether there is a container to look at; if not, that is answered. */
static bool is_there(struct docker_task *t, const struct docker_reply *reply, int status)
{
    if (unreachable(t, reply))
        return false;
    if (status == 200)
        return true;
    if (status == 404)
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1,
                         "the container was removed while it was being prepared");
    else
        refuse(t, reply, "the container cannot be looked at");
    return false;
}

/* The witness is there. A start takes a moment, and one that failed has a reason. */
static void on_early_state(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state;

    if (!is_there(t, reply, reply->status))
        return;
    if (docker_state_read(reply->json, &state) < 0) {
        refuse(t, reply, "the container cannot be looked at");
    } else if (docker_state_started(&state)) {
        docker_prepared_forget(t->docker, t->task.q.id); /* so that the release looks */
        with_boot_id(t);
    } else if (state.error[0]) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "somebody else tried to start the container: %s",
                         state.error);
    } else {
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "somebody else is starting the container");
    }
}

static void on_changes(struct docker_task *t, const struct docker_reply *reply)
{
    char path[DOCKER_PATH_MAX];
    bool there = false;

    if (!is_there(t, reply, docker_lost(reply) ? 0 : docker_witness_seen(t, reply, &there)))
        return;
    if (!there) {
        with_boot_id(t);
        return;
    }
    snprintf(path, sizeof(path), "/containers/%.*s/json", DOCKER_ID_MAX, t->task.q.id);
    docker_send(t, &(struct docker_call){.method = "GET", .path = path}, on_early_state);
}

static void verify(struct docker_task *t, const char *id)
{
    engine_request_set(&t->task.q.id, id);
    docker_prepared_add(t->docker,
                        t->task.q.id); /* from here on a start is seen by its event, before by its witness */
    docker_witness_look(t, on_changes);
}

/* ---- the name is taken ---- */

static bool label_is(const json_t *inspect, const char *key, const char *value)
{
    const json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels");
    const char *s = json_string_value(json_object_get(labels, key));

    return s && strcmp(s, value) == 0;
}

static bool is_ours(const struct docker_task *t, const json_t *inspect)
{
    char attempt[16], epoch[24];

    snprintf(attempt, sizeof(attempt), "%d", t->task.q.attempt);
    snprintf(epoch, sizeof(epoch), "%lld", (long long)t->task.q.epoch);
    return label_is(inspect, "cronsched.cluster", t->docker->host->cluster(t->docker->host)) &&
           label_is(inspect, "cronsched.run", t->task.q.run) &&
           label_is(inspect, "cronsched.attempt", attempt) && label_is(inspect, "cronsched.epoch", epoch) &&
           label_is(inspect, "cronsched.witness", t->witness);
}

static void on_taken(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_state state;
    const char *id = json_string_value(json_object_get(reply->json, "Id"));

    if (unreachable(t, reply))
        return;
    if (reply->status == 404)
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1,
                         "the name %s is taken by a container that is being removed", t->task.q.name);
    else if (reply->status != 200 || !id || !docker_id_valid(id) ||
             docker_state_read(reply->json, &state) < 0)
        refuse(t, reply, "the container of that name cannot be looked at");
    else if (!is_ours(t, reply->json))
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "the name %s is taken by a container that is not this attempt's", t->task.q.name);
    else
        verify(t, id);
}

static void look_at_name(struct docker_task *t)
{
    char path[DOCKER_PATH_MAX];

    snprintf(path, sizeof(path), "/containers/%.128s/json", t->task.q.name);
    docker_send(t, &(struct docker_call){.method = "GET", .path = path}, on_taken);
}

/* ---- create ---- */

static int resolve(void *arg, const struct job_env *variable, char **ret_value, struct error *error)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    size_t i = (size_t)(variable - t->task.q.job->environment);

    if (!t->files || !t->files[i])
        return error_set(error, ERR_UNSUPPORTED, "from_secret cannot be used here");
    *ret_value = alloc_text(t->files[i]);
    return 0;
}

static void on_created(struct docker_task *t, const struct docker_reply *reply)
{
    const char *id = json_string_value(json_object_get(reply->json, "Id"));
    bool no_image = reply->status == 404 && !docker_lost(reply) && strstr(reply->text, "No such image");

    if (docker_lost(reply) && reply->outcome != HTTP_NOT_SENT && ++t->tries < DOCKER_CREATE_TRIES) {
        create(t); /* whatever the first one made has the same name */
        return;
    }
    if (unreachable(t, reply))
        return;
    if (reply->status == 201 && id && docker_id_valid(id))
        verify(t, id);
    else if (reply->status == 409)
        look_at_name(t);
    else if (no_image && t->task.q.job->pull == JOB_PULL_NEVER)
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "the image '%s' is not on the engine, and pull is never", t->task.q.job->image);
    else if (no_image && !t->pulled)
        docker_pull_begin(t, create);
    else if (reply->status == 201)
        task_answer_text(&t->task, ENGINE_REFUSED, -1,
                         "the engine gives no id of the container that it created");
    else
        refuse(t, reply, "the container cannot be created");
}

static void create(struct docker_task *t)
{
    struct docker *d = t->docker;
    struct environment environment;
    struct error error = {0};
    struct engine_request q = {
        .job = t->task.q.job,
        .run = t->task.q.run,
        .attempt = t->task.q.attempt,
        .epoch = t->task.q.epoch,
        .cause = t->task.q.cause,
        .fire_ms = t->task.q.fire_ms,
        .previous_fire_ms = t->task.q.previous_fire_ms,
        .params = t->task.q.params,
    };
    char query[DOCKER_PATH_MAX], *body;
    json_t *json;

    FAULT_POINT("docker.create", t->task.q.run);
    if (environment_build(&environment, &q, resolve, t, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    json = docker_create_json(t,
                              &(struct docker_create){.cluster = d->host->cluster(d->host),
                                                      .witness = t->witness,
                                                      .sources = t->sources,
                                                      .log_driver = d->log_driver},
                              &environment);
    environment_release(&environment);
    if (json && docker_allow_check(d->allow, json, &error) < 0) {
        json_decref(json);
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!body) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the environment or the command is not UTF-8");
        return;
    }
    snprintf(query, sizeof(query), "name=%.128s", t->task.q.name);
    docker_send(
        t,
        &(struct docker_call){.method = "POST", .path = "/containers/create", .query = query, .body = body},
        on_created);
    explicit_bzero(body, strlen(body));
    free(body);
}

static void create_or_pull(struct docker_task *t)
{
    if (t->task.q.job->pull == JOB_PULL_ALWAYS && !t->pulled)
        docker_pull_begin(t, create);
    else
        create(t);
}

/* ---- what lies on this machine: links of folders, files of variables ---- */

static void on_variables_read(void *arg, char **values, size_t count, const struct error *error)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker *d = t->docker;

    t->files = values;
    if (!task_is_wanted(&t->task))
        return;
    if (error)
        task_answer_text(&t->task, environment_file_later(error->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED,
                         -1, "%s", error->text);
    else
        docker_queue_again(t, create_or_pull);
    tasks_release(&d->tasks);
}

static void read_variables(struct docker_task *t)
{
    struct docker *d = t->docker;

    if (variable_files_read(d->reader, t->task.q.job, &d->limits, on_variables_read, t))
        docker_task_step_out(t);
    else
        create_or_pull(t);
}

static void on_folders_resolved(void *arg, const struct file_content *files, size_t count, size_t at,
                                const struct error *failure)
{
    struct docker_task *t = arg;
    struct docker *d = t->docker;

    if (!failure && !t->sources)
        t->sources = alloc_zero(count * sizeof(*t->sources));
    for (size_t i = 0; !failure && i < count; i++)
        alloc_replace(&t->sources[i], files[i].data);
    if (!task_is_wanted(&t->task))
        return;
    if (failure)
        task_answer_text(&t->task,
                         environment_file_later(failure->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED, -1,
                         "volumes: %s", failure->text);
    else
        docker_queue_again(t, read_variables);
    tasks_release(&d->tasks);
}

/* Where the configuration lists folders, links must not lead out of them. Only an engine of this machine has its folders
 * here. What a folder becomes later is its owner's: one that jobs may change is not to be listed. */
static void resolve_folders(struct docker_task *t)
{
    struct docker *d = t->docker;
    const struct strings *volumes = &t->task.q.job->volumes;
    char *paths[JOB_LIST_MAX] = {NULL};
    size_t folders = 0;

    for (size_t i = 0; d->limits.allow && d->endpoint.unix_socket && i < volumes->count; i++) {
        if (volumes->items[i][0] != '/')
            continue; /* the name of a volume */
        paths[i] = strndup(volumes->items[i], strcspn(volumes->items[i], ":"));
        folders++;
    }
    if (folders == 0) {
        read_variables(t);
        return;
    }
    file_reader_resolve(d->reader, (const char *const *)paths, volumes->count, on_folders_resolved, t);
    docker_task_step_out(t);
    for (size_t i = 0; i < volumes->count; i++)
        free(paths[i]);
}

void docker_prepare_begin(struct docker_task *t)
{
    struct docker *d = t->docker;
    struct error error = {0};

    docker_witness_path(d, t->task.q.name, t->task.q.job->read_only, t->witness, sizeof(t->witness));
    engine_request_set(&t->task.q.identity, d->identity_state == DOCKER_IDENTITY_KNOWN ? d->identity : NULL);
    if (docker_engine_check(t->task.q.job, &error) < 0 ||
        variable_files_check(t->task.q.job, &d->limits, &error) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "%s", error.text);
        return;
    }
    resolve_folders(t);
}
