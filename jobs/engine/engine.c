/* The words for what engines are asked and what they answer. */
#include "jobs/engine/engine.h"

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
