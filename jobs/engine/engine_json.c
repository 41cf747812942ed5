#include "jobs/engine/engine_json.h"

#include "jobs/base/alloc.h"

#include <limits.h>
#include <string.h>

#define TIME_MAX_MS INT64_C(253402300799999) /* the end of the year 9999 */
#define TEXT_MAX    4096
#define ID_MAX      150 /* what the journal and messages have room for */
#define BOOT_MAX    500

/* ---- requests ---- */

static json_t *environment_json(const struct environment *environment)
{
    json_t *map = json_object();

    for (size_t i = 0; i < environment->count; i++) {
        const char *item = environment->items[i], *value = strchr(item, '=');
        json_t *name = json_stringn(item, (size_t)(value - item));

        if (!name || json_object_set_new(map, json_string_value(name), json_string(value + 1)) < 0) {
            json_decref(name);
            json_decref(map);
            return NULL;
        }
        json_decref(name);
    }
    return map;
}

json_t *engine_request_json(enum engine_op op, const struct engine_request *q,
                            const struct environment *environment)
{
    json_t *variables = environment ? environment_json(environment) : NULL;
    json_t *o;

    if (environment && !variables)
        return NULL;
    o = json_pack("{s:I,s:s,s:s,s:s,s:i,s:i,s:I,s:s,s:o,s:I,s:I,s:I,s:I,s:b,s:b}", "ticket",
                  (json_int_t)q->ticket, "op", engine_op_name(op), "name", q->name, "run", q->run, "attempt",
                  q->attempt, "try", q->try, "epoch", (json_int_t)q->epoch, "job_name", q->job->name, "job",
                  job_to_json(q->job), "stop_grace_ms", (json_int_t)q->job->stop_grace_ms, "fire_ms",
                  (json_int_t)q->fire_ms, "previous_fire_ms", (json_int_t)q->previous_fire_ms, "started_ms",
                  (json_int_t)q->started_ms, "unresolved", q->unresolved, "may_have_run", q->may_have_run);
    if (!o) {
        json_decref(variables);
        return NULL;
    }
    if (q->id)
        json_object_set_new(o, "id", json_string(q->id));
    if (q->boot_id)
        json_object_set_new(o, "boot", json_string(q->boot_id));
    if (q->identity)
        json_object_set_new(o, "identity", json_string(q->identity));
    if (q->cause)
        json_object_set_new(o, "cause", json_string(q->cause));
    if (q->params)
        json_object_set(o, "params", (json_t *)(uintptr_t)q->params);
    if (variables)
        json_object_set_new(o, "environment", variables);
    return o;
}

/* An integer in these limits; `fallback` where there is none. False: it is something else. */
static bool read_int(const json_t *o, const char *key, int64_t least, int64_t most, int64_t fallback,
                     int64_t *ret)
{
    const json_t *value = json_object_get(o, key);

    *ret = value ? json_integer_value(value) : fallback;
    return !value || (json_is_integer(value) && *ret >= least && *ret <= most);
}

/* A text without NUL of at most that many bytes; NULL where there is none. */
static bool read_text(const json_t *o, const char *key, size_t most, const char **ret)
{
    const json_t *value = json_object_get(o, key);

    *ret = json_string_value(value);
    if (!value || json_is_null(value))
        return true;
    return *ret && json_string_length(value) <= most && strlen(*ret) == json_string_length(value);
}

static bool read_op(const json_t *o, enum engine_op *ret)
{
    const char *name = json_string_value(json_object_get(o, "op"));

    for (int i = ENGINE_PREPARE; name && i <= ENGINE_DISCARD; i++)
        if (strcmp(engine_op_name((enum engine_op)i), name) == 0) {
            *ret = (enum engine_op)i;
            return true;
        }
    return false;
}

int engine_request_read(const json_t *json, enum engine_op *ret_op, struct engine_request *ret,
                        struct error *error)
{
    struct engine_request q = {.params = json_object_get(json, "params")};
    int64_t ticket, attempt, try;
    struct job *job = NULL;
    const char *job_name;
    bool fine = read_op(json, ret_op) && read_int(json, "ticket", 1, INT64_MAX, 0, &ticket) && ticket > 0 &&
                read_int(json, "attempt", 1, INT_MAX, 1, &attempt) &&
                read_int(json, "try", 1, INT_MAX, 1, &try) &&
                read_int(json, "epoch", 0, INT64_MAX, 0, &q.epoch) &&
                read_int(json, "fire_ms", 0, TIME_MAX_MS, 0, &q.fire_ms) &&
                read_int(json, "previous_fire_ms", 0, TIME_MAX_MS, 0, &q.previous_fire_ms) &&
                read_int(json, "started_ms", 0, TIME_MAX_MS, 0, &q.started_ms) &&
                read_text(json, "name", ID_MAX, &q.name) && read_text(json, "run", ID_MAX, &q.run) &&
                read_text(json, "id", ID_MAX, &q.id) && read_text(json, "boot", BOOT_MAX, &q.boot_id) &&
                read_text(json, "identity", ID_MAX, &q.identity) &&
                read_text(json, "cause", ID_MAX, &q.cause) && read_text(json, "job_name", ID_MAX, &job_name);
    int r;

    if (!fine || !q.name || !q.run || !job_name || (*ret_op != ENGINE_PREPARE && !q.id))
        return error_set(error, ERR_INVALID, "this is not a request to an engine");
    q.ticket = (uint64_t)ticket;
    q.attempt = (int)attempt;
    q.try = (int)try;
    q.unresolved = json_is_true(json_object_get(json, "unresolved"));
    q.may_have_run = json_is_true(json_object_get(json, "may_have_run"));
    r = job_from_json(&job, job_name, json_object_get(json, "job"), NULL, error);
    if (r < 0)
        return r;
    q.job = job;
    engine_request_copy(ret, &q);
    job_unref(job);
    return 0;
}

/* ---- answers ---- */

json_t *engine_answer_json(const struct engine_answer *a)
{
    const struct {
        const char *key, *text;
    } texts[] = {{"id", a->id},
                 {"boot", a->boot_id},
                 {"identity", a->identity},
                 {"cause", a->cause},
                 {"text", a->text}};
    json_t *o = json_pack("{s:I,s:s}", "ticket", (json_int_t)a->ticket, "event", engine_event_name(a->event));

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].text)
            json_object_set_new(o, texts[i].key, json_string(texts[i].text));
    if (a->started_ms)
        json_object_set_new(o, "started_ms", json_integer(a->started_ms));
    if (a->at_ms)
        json_object_set_new(o, "at_ms", json_integer(a->at_ms));
    if (a->event == ENGINE_ENDED || a->event == ENGINE_REFUSED)
        json_object_set_new(o, "exit_code", json_integer(a->exit_code));
    if (a->starts)
        json_object_set_new(o, "starts", json_integer(a->starts));
    return o;
}

static bool read_event(const json_t *o, enum engine_event *ret)
{
    const char *name = json_string_value(json_object_get(o, "event"));

    for (int i = 0; name && i < ENGINE_EVENT_COUNT; i++)
        if (strcmp(engine_event_name((enum engine_event)i), name) == 0) {
            *ret = (enum engine_event)i;
            return true;
        }
    return false;
}

/* The scheduler takes these words alone. */
static bool cause_is_known(const char *cause)
{
    static const char *const known[] = {"exit", "signal", "oom", "engine", "timeout"};

    for (size_t i = 0; cause && i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(cause, known[i]) == 0)
            return true;
    return !cause;
}

int engine_answer_read(const json_t *json, struct engine_answer *ret, struct error *error)
{
    struct engine_answer a = {0};
    int64_t ticket, exit_code, starts;

    if (!read_int(json, "ticket", 1, INT64_MAX, 0, &ticket) || ticket == 0)
        return error_set(error, ERR_INVALID, "an answer without a ticket");
    if (!read_event(json, &a.event))
        return error_set(error, ERR_INVALID, "an answer with an unknown event");
    if (!read_int(json, "started_ms", 0, TIME_MAX_MS, 0, &a.started_ms) ||
        !read_int(json, "at_ms", 0, TIME_MAX_MS, 0, &a.at_ms) ||
        !read_int(json, "exit_code", -1, 255, -1, &exit_code) ||
        !read_int(json, "starts", 0, INT_MAX, 0, &starts))
        return error_set(error, ERR_INVALID, "an answer with an impossible number");
    if (!read_text(json, "id", ID_MAX, &a.id) || !read_text(json, "boot", BOOT_MAX, &a.boot_id) ||
        !read_text(json, "identity", ENGINE_IDENTITY_MAX - 1, &a.identity) ||
        !read_text(json, "cause", ID_MAX, &a.cause) || !cause_is_known(a.cause) ||
        !read_text(json, "text", TEXT_MAX, &a.text))
        return error_set(error, ERR_INVALID, "an answer with an impossible text");
    if (a.event == ENGINE_PREPARED && (!a.id || !*a.id))
        return error_set(error, ERR_INVALID, "'prepared' without an id");
    a.ticket = (uint64_t)ticket;
    a.exit_code = (int)exit_code;
    a.starts = (int)starts;
    *ret = a;
    return 0;
}
