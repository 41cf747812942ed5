/* The conformance drill: an engine is made to do what a cluster asks of it, by leaders that are stopped and killed at each step,
 * and what it says of each attempt is held against the starts that the attempts noted themselves.
 *
 * Each leader is a process of its own (conformance_holder.c): this program with the engine in it, and nothing else of a server.
 * It takes requests as lines of JSON and writes its answers likewise (jobs/engine/engine_json.h). The drill itself
 * (conformance_cases.c) holds no engine. All attempts belong to one cluster that is no real one, CONFORMANCE_CLUSTER, and no leader
 * keeps anything of others, so a drill does not touch what a real cluster has on the engine, nor what another drill has.
 *
 * The result is kept in the data folder (jobs/engine/engine_proof.h), where `cronsched doctor` finds it.
 *
 * Blocking, main thread.
 */
#pragma once

#include "cronsched/config/config.h"
#include "jobs/base/error.h"
#include "jobs/base/text.h"
#include "jobs/engine/engine.h"

#include <jansson.h>
#include <sys/types.h>

#define CONFORMANCE_CLUSTER    "00000000-0000-4000-8000-0000000d8111"
#define CONFORMANCE_TRIALS_MAX 500
#define CONFORMANCE_LINE_MAX   (1024 * 1024)
#define CONFORMANCE_WAIT_MS    120000 /* for one answer, and for an end */
#define CONFORMANCE_TEXT_MAX   256

/* ---- conformance_leader.c: a process that leads ---- */

struct conformance;

struct conformance_leader {
    pid_t pid; /* 0: none */
    int in, out;
    struct text rest; /* of its output: a line that is not whole yet */
    json_t *heard;    /* lines that nobody has asked for yet */
    uint64_t ticket;  /* the last one */
    bool hands_over;
    char type[32], version[64], text[256];
};

/* One that leads with that epoch, and whose engine answers. *ret is to be killed in any case. */
int conformance_leader_start(struct conformance_leader *ret, struct conformance *c, int64_t epoch,
                             struct error *error);
void conformance_leader_kill(struct conformance_leader *leader); /* SIGKILL; one that is none is fine */
/* Does not wait. Returns the ticket. */
uint64_t conformance_leader_ask(struct conformance_leader *leader, enum engine_op op,
                                const struct engine_request *request);
/* The next answer with this ticket; a new reference. NULL: there was none in that time, or it has died. */
json_t *conformance_leader_hear(struct conformance_leader *leader, uint64_t ticket, int64_t wait_ms);

/* ---- conformance_holder.c: what such a process does; returns its exit code ---- */

struct conformance_hold {
    const char *config, *engine, *data_dir;
    int64_t epoch;
    const char *clean; /* the tag of a drill whose attempts are to be removed; NULL: nothing is */
};
int conformance_hold(const struct conformance_hold *options);

/* ---- conformance_attempt.c: attempts, and what becomes of them ---- */

enum conformance_said { SAID_NOTHING, SAID_NEVER, SAID_RAN, SAID_UNKNOWN };

struct conformance_attempt {
    struct job *job;
    char run[128], name[80], id[160], boot[512], identity[ENGINE_IDENTITY_MAX];
    uint64_t ticket; /* of the request under way */
    bool may_have_run;
    enum conformance_said said;
    int exit_code; /* -1: not told */
    int64_t started_ms;
    char text[CONFORMANCE_TEXT_MAX]; /* the last one that came with an answer */
};

struct conformance {
    const char *config_path, *engine, *image, *restart, *remove;
    struct config config;
    char folder[128];  /* of this drill: data of its leaders */
    char ledger[4200]; /* the folder that attempts see */
    char tag[16];
    long trials;
    int64_t epoch;    /* the last one */
    int64_t hello_ms; /* how long the last leader took until its engine answered */
    unsigned made;    /* attempts so far */
    bool counted;     /* they note their starts */
    bool hands_over, passed;
    bool cleans; /* its leaders remove what the drill has made */
    json_t *cases;
    char type[32], version[64];
};

/* body: what its shell does after it has noted the start. */
int conformance_attempt_make(struct conformance *c, struct conformance_attempt *ret, const char *body,
                             struct error *error);
void conformance_attempts_release(struct conformance_attempt *a, size_t count);

/* Each of these asks for all of them at once, then waits for the answers; what is unreachable is asked for again. */
void conformance_prepare(struct conformance_leader *leader, struct conformance_attempt *a, size_t count);
void conformance_send(struct conformance_leader *leader, enum engine_op op, struct conformance_attempt *a,
                      size_t count); /* does not wait */
void conformance_release(struct conformance_leader *leader, struct conformance_attempt *a, size_t count);
/* What a successor does: FENCE, and WATCH where that says that it runs. `sent`: the fences are under way already. */
void conformance_settle(struct conformance_leader *leader, struct conformance_attempt *a, size_t count,
                        bool sent);
/* Of watches that are under way. */
void conformance_ends(struct conformance_leader *leader, struct conformance_attempt *a, size_t count);
void conformance_watch(struct conformance_leader *leader, struct conformance_attempt *a, size_t count);

/* How often its start was noted. */
int conformance_starts(const struct conformance *c, const char *run);

/* ---- conformance_cases.c ---- */

/* All of them, a line each on stdout. An error: the drill could not go on. */
int conformance_run(struct conformance *c, struct error *error);
