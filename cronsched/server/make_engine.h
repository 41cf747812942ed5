/* Makes an engine as the configuration describes it. Ownership: the caller's, by ops->close. Thread: the loop's. */
#pragma once

#include "cronsched/cluster/replica.h"
#include "cronsched/config/config.h"
#include "jobs/engine/engine.h"

#include <sys/resource.h>
#include <uv.h>

/* What all of them are made with; all of it outlives them. */
struct make_engine {
    uv_loop_t *loop;
    const struct config *config;
    struct engine_host *host;
    rlim_t files;            /* soft limit of open files that commands get; 0: the server's own */
    struct replica *replica; /* NULL: the journal is in a file */
    const char *id;          /* of the replica */
    int64_t
        retention_ms; /* after which what has ended is removed, and how often it is looked for; 0: as each engine has it */
};

/* ERR_UNSUPPORTED: there is no such type in this build; ERR_INVALID: its options. */
int make_engine(struct engine **ret, const struct make_engine *with, const struct config_engine *config,
                struct error *error);
