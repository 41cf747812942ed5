#include "cronsched/engines/plugin/plugin_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/base64.h"
#include "jobs/base/printable.h"
#include "jobs/engine/engine_json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARMED_MAX 4096

static void take_text(char *ret, size_t size, const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));

    snprintf(ret, size, "%s", text ? text : "");
    printable_text(ret, false);
}

/* ---- hello ---- */

static const char *take_hello(struct plugin *p, const json_t *message)
{
    const char *guarantee = json_string_value(json_object_get(message, "guarantee"));
    char was[ENGINE_IDENTITY_MAX];
    int64_t version, armed;

    if (p->greeted)
        return "the program says hello twice";
    if (json_text_int(message, "hello", 1, INT_MAX, &version) < 0 || version != 1)
        return "the program speaks another version of the protocol than 1";
    if (!guarantee || (strcmp(guarantee, "at-most-once") != 0 && strcmp(guarantee, "at-least-once") != 0))
        return "the program's hello has no guarantee, at-most-once or at-least-once";
    if (json_text_int(message, "max_armed", 0, ARMED_MAX, &armed) < 0)
        return "the program's hello has an invalid max_armed";
    memcpy(was, p->identity, sizeof(was));
    take_text(p->type, sizeof(p->type), message, "type");
    take_text(p->version, sizeof(p->version), message, "version");
    take_text(p->identity, sizeof(p->identity), message, "identity");
    p->at_least_once = strcmp(guarantee, "at-least-once") == 0;
    p->engine.hands_over = !json_is_false(json_object_get(message, "hands_over"));
    if (armed > 0 && armed < p->engine.max_armed)
        p->engine.max_armed = (int)armed;
    p->greeted = p->told = true;
    plugin_epoch_tell(p);
    plugin_watches_up(p);
    tasks_pump_soon(&p->tasks);
    p->host->back(p->host, &p->engine);
    plugin_list_soon(p);
    return NULL;
}

/* ---- output ---- */

static const char *take_output(struct plugin *p, const json_t *message)
{
    const json_t *log = json_object_get(message, "log");
    int64_t ticket, stream = 1;
    struct plugin_task *t;
    size_t size;
    char *bytes;

    if (!json_is_string(log) || json_text_int(message, "ticket", 1, INT64_MAX, &ticket) < 0 ||
        (json_object_get(message, "stream") && json_text_int(message, "stream", 1, 2, &stream) < 0))
        return "the program sent output without a ticket, or of no stream";
    t = plugin_task_find(p, (uint64_t)ticket);
    if (!t || !t->is_watch)
        return NULL; /* of a watch that is over */
    bytes = alloc_bytes(json_string_length(log) + 1);
    if (!base64_decode(json_string_value(log), json_string_length(log), bytes, &size)) {
        free(bytes);
        return "the program sent output that is no base64";
    }
    plugin_watch_output(t, bytes, size, stream == 2);
    free(bytes);
    return NULL;
}

/* ---- what it has ---- */

static bool may_go(struct plugin *p, const json_t *object, int64_t epoch, const char **ret_id)
{
    const char *run = json_string_value(json_object_get(object, "run"));
    int64_t attempt, its;

    *ret_id = json_string_value(json_object_get(object, "id"));
    if (!run || !*ret_id || json_text_int(object, "attempt", 1, INT_MAX, &attempt) < 0 ||
        json_text_int(object, "epoch", 0, INT64_MAX, &its) < 0)
        return false;
    if (its > epoch || (!json_is_true(json_object_get(object, "ended")) && its >= epoch))
        return false;
    return !tasks_are_busy(&p->tasks, *ret_id, run) &&
           !p->host->keep(p->host, run, (int)attempt, its, *ret_id);
}

static const char *take_found(struct plugin *p, const json_t *list)
{
    int64_t epoch = p->host->epoch(p->host);
    json_t *ids, *object;
    const char *id;
    size_t i;

    if (!json_is_array(list))
        return "the program's 'found' is no list";
    if (epoch <= 0)
        return NULL;
    ids = json_array();
    json_array_foreach(list, i, object)
    {
        if (json_array_size(ids) < PLUGIN_REMOVE_MAX && may_go(p, object, epoch, &id))
            json_array_append_new(ids, json_string(id));
    }
    if (json_array_size(ids) > 0)
        plugin_program_send(p, json_pack("{s:O}", "remove", ids));
    json_decref(ids);
    return NULL;
}

/* ---- answers ---- */

static const char *take_answer(struct plugin *p, const json_t *message, char *buffer, size_t size)
{
    struct engine_answer answer;
    struct plugin_task *t;
    struct error error;

    if (engine_answer_read(message, &answer, &error) < 0) {
        snprintf(buffer, size, "the program sent %s", error.text);
        return buffer;
    }
    t = plugin_task_find(p, answer.ticket);
    if (t && t->is_watch)
        plugin_watch_heard(t, &answer);
    else if (t)
        plugin_request_heard(t, &answer);
    return NULL; /* whom nobody waits for may have been forgotten since */
}

static const char *no_message(const char *line, char *buffer, size_t size)
{
    char said[80];

    snprintf(said, sizeof(said), "%s", line);
    printable_text(said, false);
    snprintf(buffer, size,
             "the program wrote what is no message: '%s'; what it has to say to people goes to stderr", said);
    return buffer;
}

const char *plugin_message_take(struct plugin *p, const char *line, size_t size, char *buffer,
                                size_t buffer_size)
{
    const char *wrong;
    json_t *message;

    if (json_text_object(line, size, "message", &message, NULL) < 0)
        return no_message(line, buffer, buffer_size);
    if (json_object_get(message, "hello"))
        wrong = take_hello(p, message);
    else if (!p->greeted)
        wrong = "the program did not say hello first";
    else if (json_object_get(message, "pong"))
        wrong = NULL;
    else if (json_object_get(message, "log"))
        wrong = take_output(p, message);
    else if (json_object_get(message, "found"))
        wrong = take_found(p, json_object_get(message, "found"));
    else if (json_object_get(message, "ticket"))
        wrong = take_answer(p, message, buffer, buffer_size);
    else
        wrong = NULL; /* of a later version */
    p->ponged_ms = (int64_t)uv_now(p->loop);
    json_decref(message);
    return wrong;
}
