/* The words for what engines are asked and what they answer; which engine it is. */
#include "jobs/engine/engine.h"

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

const char *engine_op_name(enum engine_op op)
{
    static const char *const names[] = {"prepare", "release", "fence", "watch", "stop", "discard"};

    return names[op];
}

const char *engine_event_name(enum engine_event event)
{
    static const char *const names[] = {"prepared", "started", "ended",       "never-ran",
                                        "refused",  "unknown", "unreachable", "done"};

    return names[event];
}
