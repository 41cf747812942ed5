/* A process engine on a loop and a folder of its own, driven by hand as the scheduler would: for the tests of
 * the process engine. Also the other roles that the test program plays when it is executed again:
 *
 *   __supervise             the spawner and its supervisors
 *   __drive FOLDER TRY      a server that prepares, releases and watches one attempt, for being killed
 *
 * CRASH_AT=POINT[:N] in the environment kills whoever passes that point (jobs/base/fault.h) for the N-th time;
 * STOP_AT=POINT stops it, after its pid is written to the file `stopped` in TEST_FOLDER.
 *
 * Everything aborts the test when it takes longer than DEADLINE_MS. Thread: the loop's.
 */
#pragma once

#include "cronsched/engines/process/process.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#define DEADLINE_MS   30000 /* of a fast machine: tests/support/patience.h */
#define ANSWERS_MAX   2048
#define TEST_JOB      "report"
#define TEST_RUN      "report@20261122T030000Z"
#define TEST_CLUSTER  "5f0c9a3e-cluster"
#define TEST_TEXT_MAX 600

struct test_answer {
    uint64_t ticket;
    enum engine_event event;
    char id[160], boot_id[64], identity[ENGINE_IDENTITY_MAX], cause[16], text[TEST_TEXT_MAX];
    int64_t started_ms, at_ms;
    uint64_t seen_ns; /* when it came, uv_hrtime */
    int exit_code;
};

struct fixture {
    struct engine_host host; /* first */
    uv_loop_t loop;
    struct engine *engine;
    char folder[256]; /* data_dir; also of the ledger and of marks */
    bool own_folder;
    bool without_groups;   /* of the engines that are made from now on */
    int64_t epoch, now_ms; /* what the host says; now_ms 0: the real time */
    bool keep;
    const char *identity; /* in requests; NULL: not known */
    bool unresolved;      /* likewise */
    uint64_t next_ticket;
    struct test_answer answers[ANSWERS_MAX];
    size_t answer_count;
};

/* folder NULL: a new one, which goes with the fixture. */
struct fixture *fixture_new(const char *folder);
struct fixture *fixture_new_with(const char *folder, const struct process_engine_options *options);
void fixture_free(struct fixture *f);
void fixture_restart(struct fixture *f); /* closes the engine and makes another on the same folder */

/* A job that runs a shell script; NULL: no command. The script sees $D, the fixture's folder. */
struct job *fixture_script(struct fixture *f, const char *script);
/* Its variable, added or replaced. */
void fixture_variable(struct job *job, const char *name, const char *value);

/* Submit; they return the ticket. `name` is "cs-" + something. */
uint64_t fixture_prepare(struct fixture *f, struct job *job, const char *name, int try);
uint64_t fixture_submit(struct fixture *f, enum engine_op op, struct job *job, const char *id,
                        bool may_have_run);

/* The next answer to this ticket that was not taken yet; waits for it. */
struct test_answer *fixture_wait(struct fixture *f, uint64_t ticket);
/* Submit and wait. */
struct test_answer *fixture_ask(struct fixture *f, enum engine_op op, struct job *job, const char *id,
                                bool may_have_run);
/* Prepares, which has to work; *ret_id of 160 bytes. */
void fixture_prepared(struct fixture *f, struct job *job, const char *name, char *ret_id);
/* Prepares, releases, watches: the end. */
struct test_answer *fixture_run(struct fixture *f, struct job *job, const char *name);

/* Turns the loop until the condition holds. */
void fixture_until(struct fixture *f, bool (*condition)(void *arg), void *arg, const char *what);
void fixture_until_file(struct fixture *f, const char *name); /* in the folder, not empty */
/* The command of fixture_drive waits until its server has seen it run. */
void fixture_hold(struct fixture *f);
pid_t fixture_pid_in(struct fixture *f, const char *name);     /* waits for the file, which holds an id */
pid_t fixture_supervisor(struct fixture *f, const char *name); /* of an attempt that is ready */
void fixture_until_gone(struct fixture *f, pid_t pid);

/* Files in the folder. */
void fixture_write(struct fixture *f, const char *name, const char *text);
char *fixture_read(struct fixture *f, const char *name); /* a static buffer; "" when it is not there */
int fixture_count(struct fixture *f, const char *name, const char *line); /* lines that begin so */
bool fixture_exists(struct fixture *f, const char *name);
char *fixture_log(struct fixture *f); /* of TEST_RUN, attempt 1 */

/* A second server in a process of its own. `crash` and `stop` are points or NULL. */
pid_t fixture_drive(struct fixture *f, int try, const char *crash, const char *stop);
int fixture_reap(pid_t pid); /* its wait status; killed when it takes too long */

bool process_gone(pid_t pid); /* or a zombie */

/* To be called first in main: plays the other roles, or returns. */
void fixture_main(int argc, char **argv);
