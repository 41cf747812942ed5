/* What the Swarm's JSON says, as the values that the rest works with. Pure. */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/engine/docker_fence.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LABEL_CLUSTER "cronsched.cluster"
#define STOPPED       "node.id == stopped-by-cronsched" /* ids have no hyphens */

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

bool swarm_id_valid(const char *id)
{
    size_t n = 0;

    while (isalnum((unsigned char)id[n]))
        n++;
    return n > 0 && n < SWARM_ID_MAX && !id[n];
}

/* ---- services ---- */

/* Of a spec of tasks. */
static bool is_stopped(const json_t *template)
{
    json_t *each;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(template, "Placement"), "Constraints"), i, each)
    {
        if (json_is_string(each) && strcmp(json_string_value(each), STOPPED) == 0)
            return true;
    }
    return false;
}

bool swarm_task_is_idle(const json_t *task)
{
    return is_stopped(json_object_get(task, "Spec"));
}

json_t *swarm_spec_stopped(const json_t *spec)
{
    json_t *changed = json_deep_copy(spec), *template = json_object_get(changed, "TaskTemplate");
    json_t *placement = json_object_get(template, "Placement"), *constraints;

    if (!json_is_object(placement)) {
        placement = json_object();
        json_object_set_new(template, "Placement", placement);
    }
    constraints = json_object_get(placement, "Constraints");
    if (!json_is_array(constraints)) {
        constraints = json_array();
        json_object_set_new(placement, "Constraints", constraints);
    }
    json_array_append_new(constraints, json_string(STOPPED));
    return changed;
}

/* -1: another mode than this one. */
static int64_t replicas_of(const json_t *replicated)
{
    const json_t *replicas = json_object_get(replicated, "Replicas");

    if (json_is_integer(replicas))
        return json_integer_value(replicas);
    return replicated ? 0 : -1;
}

bool swarm_service_read(const json_t *service, struct swarm_service *ret)
{
    json_t *spec = json_object_get(service, "Spec");
    const json_t *labels = json_object_get(spec, "Labels");
    const json_t *replicated = json_object_get(json_object_get(spec, "Mode"), "Replicated");
    const json_t *version = json_object_get(json_object_get(service, "Version"), "Index");
    const char *id = text_of(service, "ID");

    if (!swarm_id_valid(id) || !json_is_object(spec) || !json_is_integer(version))
        return false;
    *ret = (struct swarm_service){
        .version = (uint64_t)json_integer_value(version),
        .replicas = replicas_of(replicated),
        .released = json_object_get(labels, "cronsched.released") != NULL,
        .stopped = is_stopped(json_object_get(spec, "TaskTemplate")),
        .epoch = docker_number_read(text_of(labels, "cronsched.epoch")),
        .attempt = docker_number_read(text_of(labels, "cronsched.attempt")),
        .cluster = text_of(labels, LABEL_CLUSTER),
        .run = text_of(labels, "cronsched.run"),
        .created_ms = docker_time_read(text_of(service, "CreatedAt")),
        .spec = spec,
    };
    snprintf(ret->id, sizeof(ret->id), "%s", id);
    return true;
}

json_t *swarm_spec_changed(const json_t *spec, int64_t replicas, const char *label, int64_t value)
{
    json_t *changed = json_deep_copy(spec), *labels = json_object_get(changed, "Labels");

    if (!json_is_object(labels)) {
        labels = json_object();
        json_object_set_new(changed, "Labels", labels);
    }
    if (label)
        json_object_set_new(labels, label, json_sprintf("%lld", (long long)value));
    if (replicas >= 0)
        json_object_set_new(json_object_get(changed, "Mode"), "Replicated",
                            json_pack("{s:I}", "Replicas", (json_int_t)replicas));
    return changed;
}

/* ---- tasks ---- */

/* The newest of them, and how many there are, without idle ones. */
static const json_t *newest(const json_t *tasks, int *ret_count)
{
    const json_t *found = NULL;
    json_t *each;
    size_t i;

    *ret_count = 0;
    json_array_foreach(tasks, i, each)
    {
        if (!json_is_object(each) || swarm_task_is_idle(each))
            continue;
        ++*ret_count;
        if (!found || strcmp(text_of(each, "CreatedAt"), text_of(found, "CreatedAt")) > 0)
            found = each;
    }
    return found;
}

/* Its container cannot have run anything: what failed comes before the program is executed. */
static bool never_executed(const char *error, int code)
{
    static const char *const before[] = {
        "OCI runtime create failed",   "no space left on device",
        "failed to create endpoint",   "error mounting",
        "error creating network",      "network sandbox",
        "error gathering device info", "bind source path does not exist",
    };

    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
        if (strstr(error, before[i]))
            return true;
    return docker_start_never_executed(code, error);
}

static void judge_failed(struct swarm_state *s, const char *error, int code)
{
    char text[SWARM_TEXT_MAX];

    if (strstr(error, "starting container failed") && never_executed(error, code)) {
        s->event = ENGINE_REFUSED;
        s->exit_code = code > 0 ? code : -1;
        snprintf(s->text, sizeof(s->text), "%s",
                 docker_start_explain(s->exit_code, error, text, sizeof(text)));
    } else if (strstr(error, "starting container failed")) {
        s->event = ENGINE_UNKNOWN;
        snprintf(s->text, sizeof(s->text), "whether its program was started is not known: %.400s", error);
    } else if (code > 0) { /* "task: non-zero exit (N)" */
        s->event = ENGINE_ENDED;
        s->exit_code = code;
        s->cause = code > 128 ? "signal" : "exit";
    } else {
        s->event = ENGINE_UNKNOWN;
        snprintf(s->text, sizeof(s->text), "how it ended is not known: %.400s", error);
    }
}

/* It was told to end before it ended by itself: nobody but the Swarm, or a person, or a STOP of ours did so. */
static void judge_shut_down(struct swarm_state *s, const json_t *container)
{
    const json_t *code = json_object_get(container, "ExitCode");

    if (!*text_of(container, "ContainerID")) {
        s->event = ENGINE_NEVER_RAN;
        snprintf(s->text, sizeof(s->text), "it was taken back before it had a container");
        return;
    }
    s->event = ENGINE_ENDED;
    s->cause = "engine";
    s->exit_code = json_is_integer(code) ? (int)json_integer_value(code) : -1;
}

static void say_pending(struct swarm_state *s, const char *state, const char *error)
{
    s->event = ENGINE_PENDING;
    if (*error)
        snprintf(s->text, sizeof(s->text), "%s: %.400s", state, error);
    else if (s->node[0])
        snprintf(s->text, sizeof(s->text), "%s on node %.25s", state, s->node);
    else
        snprintf(s->text, sizeof(s->text), "%s", state);
}

static void judge(struct swarm_state *s, const char *state, const json_t *status)
{
    const json_t *container = json_object_get(status, "ContainerStatus");
    json_int_t code = json_integer_value(json_object_get(container, "ExitCode"));
    const char *error = text_of(status, "Err");

    if (strcmp(state, "running") == 0) {
        s->event = ENGINE_STARTED;
    } else if (strcmp(state, "complete") == 0) {
        s->event = ENGINE_ENDED;
        s->exit_code = 0;
        s->cause = "exit";
    } else if (strcmp(state, "failed") == 0) {
        judge_failed(s, error, code > 0 && code <= INT_MAX ? (int)code : 0);
    } else if (strcmp(state, "rejected") == 0) {
        s->event = ENGINE_REFUSED;
        snprintf(s->text, sizeof(s->text), "%s", *error ? error : "the node rejected it");
    } else if (strcmp(state, "shutdown") == 0 || strcmp(state, "remove") == 0) {
        judge_shut_down(s, container);
    } else if (strcmp(state, "orphaned") == 0) {
        s->event = ENGINE_UNKNOWN;
        snprintf(s->text, sizeof(s->text), "its node was removed from the Swarm: how it ended is not known");
    } else { /* new, allocated, pending, assigned, accepted, preparing, ready, starting; and what is yet to be invented */
        say_pending(s, state, error);
    }
}

bool swarm_state_read(const json_t *tasks, struct swarm_state *ret)
{
    int count;
    const json_t *task = newest(tasks, &count), *status = json_object_get(task, "Status");
    const char *state = text_of(status, "State"), *desired = text_of(task, "DesiredState");

    if (!swarm_id_valid(text_of(task, "ID")) || !*state)
        return false;
    *ret = (struct swarm_state){
        .at_ms = docker_time_read(text_of(status, "Timestamp")),
        .count = count,
        .leaving = strcmp(desired, "running") != 0,
        .exit_code = -1,
    };
    snprintf(ret->id, sizeof(ret->id), "%s", text_of(task, "ID"));
    if (swarm_id_valid(text_of(task, "NodeID")))
        snprintf(ret->node, sizeof(ret->node), "%s", text_of(task, "NodeID"));
    ret->unplaced = ret->leaving && !ret->node[0];
    judge(ret, state, status);
    return true;
}
