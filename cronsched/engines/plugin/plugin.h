/* The plugin engine: attempts are whatever a program of others makes of them. It is spoken to in lines of JSON
 * (contrib/guide/plugins.md, jobs/engine/engine_json.h), on its stdin and stdout; its stderr goes to the log.
 *
 * id       what the program answers
 * identity likewise
 * output   data_dir/logs/JOB/RUN.ATTEMPT.log, up to the job's keep.logs, as the program sends it
 *
 * Nothing that the program says is trusted further than that it speaks of its own attempts. One that ends, writes what is no
 * message or too long a line, does not read, or does not answer in time is killed, with all that is in its session, and started
 * again, after 1 s to 60 s. Then a release under way is UNKNOWN, everything else UNREACHABLE, and watches go on when it is back.
 *
 * Owner: the caller, by ops->close. Thread: the loop's.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/engine/engine.h"

#include <uv.h>

#define PLUGIN_PARALLEL_DEFAULT  16
#define PLUGIN_MAX_ARMED_DEFAULT 64

struct plugin_engine_options {
    const char *name;
    const char *const *command; /* the program and its arguments; ended by NULL; copied */
    const char *data_dir;       /* for the logs */
    const char *files_dir;      /* environment's from_file must lie below it; NULL: anywhere */
    int parallel;               /* requests under way at once; 0: the default */
    int max_armed;              /* 0: the default */
};

/* Nothing is started before the loop runs; a program that cannot be is no error here. */
int plugin_engine_new(struct engine **ret, uv_loop_t *loop, const struct plugin_engine_options *options,
                      struct engine_host *host, struct error *error);
