/* Engines: where attempts execute. This is the table that docker, swarm, kubernetes, process and the
 * simulator's engines implement; the scheduler sees nothing else of them.
 *
 * The scheduler submits requests; each is answered later, from the loop, never from within submit. Requests
 * of different attempts are independent; for one attempt the scheduler has one request under way at a time,
 * except that STOP may be submitted while WATCH is. An engine bounds how many calls it has in flight itself
 * and queues the rest. One thread: the loop's.
 *
 *   PREPARE  make the attempt exist, not running, under the given name. The same request may be submitted
 *            again (after UNREACHABLE) and finds what the first one made.
 *            -> PREPARED(id, boot_id)
 *             | REFUSED(text, exit_code): provably nothing was started, and trying again will not help: no
 *               such image
 *             | UNREACHABLE(text): try again later
 *   RELEASE  send the ONE start request for this id, unless somebody else has started it already: then STARTED, and
 *            text says so.
 *            -> STARTED(at) | ENDED(started_at, at, exit_code): over already
 *             | ACCEPTED(text): handed over to a cluster that will start it when it can; it cannot be taken back but by
 *               STOP. Nothing has been seen to run
 *             | REFUSED(text, exit_code): 127, 126
 *             | UNKNOWN(text): reply lost; the scheduler fences
 *             | UNREACHABLE(text): certainly not sent; may be released again
 *   FENCE    settle whether a prepared id ever ran, and make sure that it can no longer be started unless
 *            it has.
 *            Done again it comes to the same: what proves NEVER_RAN stays until DISCARD.
 *            -> STARTED(started_at): it ran or runs; the scheduler watches next
 *             | ACCEPTED(text): as for RELEASE; the scheduler watches next
 *             | ENDED(started_at, at, exit_code): it ran and is gone
 *             | NEVER_RAN(evidence) | REFUSED(text) | UNKNOWN(evidence) | UNREACHABLE(text)
 *   WATCH    follow a started or an accepted one to its end, over reconnects. Logs are kept (run_log.h) before the end
 *            is answered.
 *            -> any number of UNREACHABLE(text), PENDING(text) (accepted, not started yet, in the cluster's words why)
 *               and STARTED (it starts; alive again; or started again by somebody else: starts, text), then
 *               ENDED(at, exit_code, cause, text)
 *             | REFUSED(text, exit_code): it came as far as a fence would call started, and no further
 *             | NEVER_RAN(evidence): accepted, withdrawn before it started, and it can no longer start
 *             | UNKNOWN(text): gone without evidence
 *   STOP     ask it to end: the stop signal, after stop_grace the kill. What was only accepted is withdrawn.
 *            -> DONE | UNREACHABLE; the end comes by WATCH
 *   DISCARD  remove a prepared one that by the journal is revoked, or never ran.
 *            -> DONE | UNREACHABLE: the sweep finds it later
 *
 * An answer that is not listed for its request proves nothing: the scheduler logs it and asks again, or after
 * a RELEASE fences.
 *
 * An engine is what answers, not its name: two replicas may reach two machines under one name, and an engine may be
 * replaced while the server runs. So an engine that can tells its identity, a mark that stays while its objects do,
 * in its status and with PREPARED; requests carry the one that their attempt was prepared on. Another engine cannot
 * know anything about the attempt: it answers UNREACHABLE with the text of engine_is_another, sends nothing and
 * removes nothing. An identity that is not known, at prepare, is not compared.
 *
 * What has ended is removed by the engine's own sweep after `retention`, once host->keep says that the
 * journal no longer needs it; the sweep touches only objects of its own cluster uuid and of epochs not above
 * host->epoch.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/definition/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define ENGINE_IDENTITY_MAX 128
#define ENGINE_AT_MOST_ONCE "at most one start"

enum engine_op { ENGINE_PREPARE, ENGINE_RELEASE, ENGINE_FENCE, ENGINE_WATCH, ENGINE_STOP, ENGINE_DISCARD };

enum engine_event {
    ENGINE_PREPARED,
    ENGINE_STARTED,
    ENGINE_ENDED,
    ENGINE_NEVER_RAN,
    ENGINE_REFUSED,
    ENGINE_UNKNOWN,
    ENGINE_UNREACHABLE,
    ENGINE_DONE,
    ENGINE_ACCEPTED,
    ENGINE_PENDING,
    ENGINE_EVENT_COUNT
};

/* All borrowed for the time of the call; the engine copies what it keeps (job_ref for the job). */
struct engine_request {
    uint64_t ticket;       /* comes back in each answer */
    const struct job *job; /* frozen definition; never NULL */
    const char *run;       /* run id */
    int attempt, try;      /* both from 1 */
    int64_t epoch;         /* of the ARM */
    const char *name;      /* "cs-" + hex: the object's name */
    const char *id;        /* all but PREPARE: what PREPARED answered */
    const char *boot_id;   /* FENCE: host identity at prepare; NULL when not known */
    const char *identity;  /* of the engine at prepare; NULL when not known */
    int64_t started_ms;    /* WATCH: as STARTED was answered; 0: it was only accepted */
    bool unresolved;       /* WATCH: whether it runs is not known: STARTED is answered once it is */
    bool may_have_run;     /* FENCE: a release may have been sent (by anyone) */
    int64_t stopping_ms;   /* WATCH, STOP: since when it is to end, by the journal; 0: it is not */
    bool
        asked_before; /* STOP: an earlier leader may have asked; the grace goes on from there where the engine can tell */
    const char *cause;                 /* schedule, manual, after, backfill, ... */
    int64_t fire_ms, previous_fire_ms; /* previous: 0 when there is none */
    const json_t *params;              /* object of strings, or NULL */
};

struct engine_answer {
    uint64_t ticket;
    enum engine_event event;
    const char *id, *boot_id; /* PREPARED */
    const char *identity;     /* PREPARED: of the engine; NULL: not known */
    int64_t started_ms;       /* STARTED, ENDED: UTC by the engine; 0: not known */
    int64_t at_ms;            /* ENDED: when */
    int exit_code;            /* ENDED, REFUSED; -1: not known */
    int starts; /* STARTED, ENDED: how often it was started, also by others; 0: once, as it should be */
    const char
        *cause; /* ENDED: "exit", "signal", "oom", "engine"; "timeout": the engine itself ended it, since its
                        * timeout was over and nobody did */
    const char *text; /* error, evidence, remark; NULL: none */
};

struct engine;

/* What an engine's owner provides; outlives the engine. */
struct engine_host {
    void (*answer)(struct engine_host *host, const struct engine_answer *answer);
    /* The sweep asks: must this object stay? */
    bool (*keep)(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id);
    int64_t (*now_ms)(struct engine_host *host); /* wall clock */
    int64_t (*epoch)(struct engine_host *host);  /* mine while I lead; 0 otherwise: then nothing is swept */
    const char *(*cluster)(struct engine_host *host); /* the cluster's uuid; "": not known yet */
    /* What could not be reached answers again (engine NULL: any of them may): nobody waits for it any longer.
     * Requests come at once, from within. */
    void (*back)(struct engine_host *host, const struct engine *engine);
    /* An object that nobody keeps runs: somebody else has started it again after its end. Reported once, and once
     * more when it runs no longer, unless the engine was abandoned in between. NULL: nobody wants to know. */
    void (*stray)(struct engine_host *host, const struct engine *engine, const char *run, int attempt,
                  const char *id, bool running);
};

struct engine_status {
    bool reachable;
    char text[256];                     /* version, or what is wrong */
    char identity[ENGINE_IDENTITY_MAX]; /* "": not known yet, or it has none */
    char version[64];                   /* what a drill's result is of: "docker 20.10.24"; "": not known */
    const char *guarantee; /* what it promises of the starts of an attempt; NULL: nothing to be said */
    bool anonymous;        /* it should have one and cannot tell it; `text` says why */
    char warning[256];     /* what would better be otherwise there, and how; "": nothing */
    int queued, in_flight, watched;
    char trouble[200];  /* it answers, and cannot do its work, as without space; "": no such thing */
    const char *advice; /* what to do about it: a literal */
    int64_t
        clock_offset_ms; /* its clock minus this server's, when it was asked last; 0: alike, or not known */
    int stuck;           /* reads of files of others that were given up and have not come back */
};

struct engine {
    const struct engine_ops *ops;
    const char *name; /* as in the configuration */
    const char *type; /* docker, process, ... */
    int max_armed;    /* attempts prepared ahead at most */
    int64_t ahead_ms; /* attempts are prepared at most so long before their time; 0: as long as any */
    int max_running;  /* runs under way at most, by the configuration; 0: no limit */
    bool hands_over;  /* what is prepared outlives its leader, and can be released by the next one */
    /* Set by its owner, borrowed: why its attempts are another replica's to judge. It then answers UNREACHABLE with this,
     * to all; what it watches already it goes on watching. Of the process engine alone. NULL: they are its own. */
    const char *disowned;
};

/* What an engine cannot honour of a job: each text begins with the key, "image: ...". */
struct engine_faults {
    struct error first; /* code 0: there is none */
    json_t *texts;      /* an array to which each is added; NULL: the first is enough */
};
void engine_fault(struct engine_faults *faults, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct engine_ops {
    /* Pure: what of this job the engine cannot honour; the first such thing in *error. Asked at apply. */
    int (*check)(const struct engine *engine, const struct job *job, struct error *error);
    /* The same, but all such things. NULL: what check says is all that is known. */
    void (*faults)(const struct engine *engine, const struct job *job, struct engine_faults *faults);
    void (*submit)(struct engine *engine, enum engine_op op, const struct engine_request *request);
    /* Forget all requests without answering them: this leader was deposed. What runs, runs on. */
    void (*abandon)(struct engine *engine);
    void (*status)(const struct engine *engine, struct engine_status *ret);
    /* Releases everything; `done` is called once, from the loop. */
    void (*close)(struct engine *engine, void (*done)(void *arg), void *arg);
};

/* A copy that owns all that it holds; to be released, never to be changed. */
void engine_request_copy(struct engine_request *to, const struct engine_request *request);
void engine_request_release(struct engine_request *request);
/* text: of a copy, as &copy.id. */
void engine_request_set(const char **text, const char *to);

/* Whether what was prepared on the engine `prepared` is of no concern to the engine `self`; then *text says so.
 * prepared NULL or "": it is not known, and not compared. self NULL or "": the engine cannot tell, which is no match. */
bool engine_is_another(const char *self, const char *prepared, char *text, size_t size);

/* Its `faults`, or its `check` where it has none. */
void engine_check_all(const struct engine *engine, const struct job *job, struct engine_faults *faults);

const char *engine_op_name(enum engine_op op);
const char *engine_event_name(enum engine_event event);

/* A watch goes on after this answer; any other one is its last. */
bool engine_event_goes_on(enum engine_event event);
