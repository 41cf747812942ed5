/* The words for what engines are asked and what they answer; which engine it is. */
#include "jobs/engine/engine.h"

#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"

#include <stdio.h>
#include <string.h>

bool engine_is_another(const char *self, const char *prepared, char *text, size_t size)
{
    if (!prepared || !*prepared || MUTANT(ENGINE_NOT_COMPARED))
        return false;
    if (self && strcmp(self, prepared) == 0)
        return false;
    if (self && *self)
        snprintf(text, size, "this is another engine (%s), the attempt was prepared on %s", self, prepared);
    else
        snprintf(text, size, "this engine cannot tell which one it is, the attempt was prepared on %s",
                 prepared);
    return true;
}

void engine_request_copy(struct engine_request *to, const struct engine_request *r)
{
    *to = *r;
    to->job = job_ref((struct job *)(uintptr_t)r->job); /* counted by reference, never changed */
    to->run = alloc_text(r->run);
    to->name = alloc_text(r->name);
    to->id = alloc_text(r->id);
    to->boot_id = alloc_text(r->boot_id);
    to->identity = alloc_text(r->identity);
    to->cause = alloc_text(r->cause);
    to->params = json_incref((json_t *)(uintptr_t)r->params);
}

void engine_request_release(struct engine_request *r)
{
    const char *const texts[] = {r->run, r->name, r->id, r->boot_id, r->identity, r->cause};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free((char *)(uintptr_t)texts[i]);
    job_unref((struct job *)(uintptr_t)r->job);
    json_decref((json_t *)(uintptr_t)r->params);
}

void engine_request_set(const char **text, const char *to)
{
    free((char *)(uintptr_t)*text);
    *text = alloc_text(to);
}

const char *engine_op_name(enum engine_op op)
{
    static const char *const names[] = {"prepare", "release", "fence", "watch", "stop", "discard"};

    return names[op];
}

const char *engine_event_name(enum engine_event event)
{
    static const char *const names[] = {"prepared", "started",     "ended", "never-ran", "refused",
                                        "unknown",  "unreachable", "done",  "accepted",  "pending"};

    return names[event];
}

bool engine_event_goes_on(enum engine_event event)
{
    return event == ENGINE_STARTED || event == ENGINE_PENDING || event == ENGINE_UNREACHABLE;
}

void engine_fault(struct engine_faults *faults, int code, const char *format, ...)
{
    struct error fault;
    va_list ap;

    va_start(ap, format);
    error_setv(&fault, code, format, ap);
    va_end(ap);
    if (!faults->first.code)
        faults->first = fault;
    if (faults->texts)
        json_array_append_new(faults->texts, json_string(fault.text));
}

void engine_check_all(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    struct error fault;

    if (engine->ops->faults)
        engine->ops->faults(engine, job, faults);
    else if (engine->ops->check(engine, job, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
}
