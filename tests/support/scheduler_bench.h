/* The scheduler beside an engine and a journal that do what a test says: for what the simulator's engines
 * never do. Their requests are answered by the test, and batches are durable when bench_settle runs.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/state/run_id.h"
#include "jobs/time/zoneinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct bench {
    struct scheduler_env env;
    struct journal journal;
    struct engine table;
    struct engine *engines[1];
    struct zoneinfo *zones;
    struct scheduler *scheduler;
    int64_t now_ms, wake_ms;
    uint64_t appended;
    size_t batches, largest; /* appended; bytes */
    const char *refused;     /* why the journal takes nothing; NULL: it does */
    bool asked;              /* a request that is not answered yet: */
    enum engine_op op;
    uint64_t ticket;
    int64_t started_ms; /* of that request */
    char identity[32];  /* likewise; "": none */
    bool unresolved;    /* likewise */
    const char *engine; /* the identity of the engine; NULL: none */
    const char *job;    /* what bench_trigger applies; NULL: the simplest */
    char last[4096];    /* the last batch, as JSON */
    int64_t fire_ms;
    int prepared;              /* so often it was asked to prepare */
    int64_t prepared_after_ms; /* and never for a fire time up to this; 0: for any */
    int started_early;         /* so often the log said so */
    int snapshots;
    struct error error;           /* of the last command that was tried and failed */
    struct history *with_history; /* set before bench_setup; NULL: none */
    int64_t max_state_bytes;      /* likewise, and gone with bench_teardown; 0: the default */
};

extern struct bench b;

void bench_settle(void);
void bench_pass(int seconds); /* with each it settles */
/* Time passes until the engine is asked for that. */
void bench_until(enum engine_op op);
void bench_answer(struct engine_answer answer);
int bench_setup(void **state);
int bench_teardown(void **state);
/* Takes the reference. */
void bench_apply(json_t *body);
/* The same, and it may fail: its code, and the reason is in b.error. ret_reply may be NULL. */
int bench_try_apply(json_t *jobs, bool dry, json_t **ret_reply);
/* So many jobs, "job-000000" and on; `every` is their schedule, NULL: once a year each. */
void bench_fill(int count, const char *every);
void bench_trigger(char run[RUN_ID_MAX]);
/* That, until the engine is asked to release it. */
void bench_to_release(char run[RUN_ID_MAX]);
/* The lead is lost, and the state as it stands given to the same scheduler again, as that of a batch above. */
void bench_restore(void);
/* So much time is lost, and it leads again. */
void bench_recover(int64_t lost_ms);
