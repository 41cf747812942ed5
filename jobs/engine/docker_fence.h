/* The fence of a plain Docker engine: did a prepared container ever run, and can nobody start it any more?
 *
 * A pure step machine: the driver sends what `want` says and tells the facts that come back; no clock, no
 * network. So a simulator drives the shipped code.
 *
 * The seal. A container has a tmpfs of its own, the start witness, at a path that its image does not have.
 * The runtime makes a folder there before it executes anything. To seal is to put a regular file at that path
 * (PUT archive, noOverwriteDirNonDir): it fails when the folder is there, and once the file is there no start
 * gets past its mounts. So one of the two happens, the file system decides, and it stays decided: a fence that
 * was cut short, by our death or the engine's, is simply done again. Nothing is removed before the verdict is
 * in the journal, with one exception: a container that cannot be sealed, as its volumes cannot be mounted, is removed
 * instead, without force. When that was cut short, what the events tell of its life decides, as of any that is gone.
 *
 * Further facts of the engine that it rests on (measured, API 1.41):
 *   - A host that crashed may have lost the witness. So the seal proves something only under the boot identity
 *     that was seen at prepare, asked for after it, or when the events tell that the engine has lived all the
 *     time. (It may lose a seal or a removal of its last seconds, too: no start can be under way then.)
 *   - Each start that went well publishes `start`; a seal publishes `extract-to-dir`. The engine sends a
 *     stream's headers before it subscribes to the events; `since` makes it replay those that it remembers (a
 *     ring of 256, in memory only) without a gap to the live ones: the stream must always be opened with
 *     since=1. When it holds the container's `create` and then our seal, the engine's process has lived in
 *     between.
 *   - An engine killed between exec and its own state write says `created` afterwards; the witness is there.
 *
 * The happy path (nothing ever ran): OPEN_EVENTS, INSPECT created, SEAL 200, BOOT the same (only when a start
 * may have been sent): NEVER_RAN.
 *
 * A container that is not there is evidence only on the engine that made it. So nothing is concluded from 404 before
 * the engine has told, after it, that it is the one of the prepare; another one, or one that does not tell, is
 * UNREACHABLE.
 *
 * The driver's duties: one request under way at a time; the stream stays open beside it, and an event that cannot be
 * read is told as DROPPED (a stream that cannot be read further is CLOSED); a request that takes too long is told as
 * UNREACHABLE; in DOCKER_FENCE_WAIT, QUIET is told after DOCKER_FENCE_WAIT_MS; an error in the state that an
 * earlier seal has caused is left out. The machine always ends: rounds are bounded.
 *
 * Plain values; the caller owns the struct; nothing to release.
 */
#pragma once

#include "jobs/engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

#define DOCKER_FENCE_WAIT_MS    500
#define DOCKER_FENCE_ROUNDS_MAX 64 /* waits, reopened streams and refused seals together */
#define DOCKER_FENCE_LOOKS_MAX  8  /* at a witness beside `created`, of an engine that may have died */
#define DOCKER_FENCE_SEALS_MAX  3  /* refused in a row, without a witness: then it is removed */
#define DOCKER_BOOT_ID_MAX      256
#define DOCKER_TEXT_MAX         512

/* ---- the state of a container, as inspect tells it ---- */

enum docker_status {
    DOCKER_CREATED,
    DOCKER_RUNNING,
    DOCKER_PAUSED,
    DOCKER_RESTARTING,
    DOCKER_REMOVING,
    DOCKER_EXITED,
    DOCKER_DEAD,
};

struct docker_state {
    enum docker_status status;
    int64_t started_ms, finished_ms; /* 0: the engine's zero time, it has not */
    int exit_code;                   /* -1: it is over, and the engine does not tell */
    bool oom_killed;
    bool memory_limited;
    int restart_count;           /* starts by the engine itself, of its restart policy */
    bool restarts;               /* it has such a policy; it was made without one */
    int stop_signal;             /* by which the engine stops it; 0: a name that is not known here */
    char error[DOCKER_TEXT_MAX]; /* why a start failed; "" */
};

/* True when it has been started, whatever became of it. */
bool docker_state_started(const struct docker_state *state);

/* True when `error`, of a start that failed, proves that the command was never executed: the runtime could
 * not make the container, or found nothing to run (exit code 127) or nothing that may be run (126). */
bool docker_start_never_executed(int exit_code, const char *error);

/* Of a start that failed: 126, 127; -1 where the engine made the number up, as 128 for whatever is no command's fault. */
int docker_start_exit_code(int exit_code, const char *error);

/* Explains a failed start to people: "the command was not found in the image: ...". Returns buffer. */
const char *docker_start_explain(int exit_code, const char *error, char *buffer, size_t size);

/* ---- boot identity ---- */

/* "kernel=ID", "engine=ID" or "kernel=ID engine=ID": what was seen of the engine's host (see
 * docker_boot_id.c). True when some part is in both and equal: then the host has not restarted in
 * between. NULL and "" are not known. */
bool docker_boot_id_same(const char *a, const char *b);

/* ---- the fence ---- */

enum docker_fence_want {
    DOCKER_FENCE_OPEN_EVENTS, /* close the old stream, open one of this container's events with since=1 */
    DOCKER_FENCE_INSPECT,
    DOCKER_FENCE_SEAL,     /* a file in the witness's place, unless the witness is there */
    DOCKER_FENCE_REMOVE,   /* the container, without force */
    DOCKER_FENCE_CHANGES,  /* is the witness's path in the container's changes? */
    DOCKER_FENCE_BOOT_ID,  /* the host's boot identity, read now */
    DOCKER_FENCE_IDENTITY, /* the engine's identity, read now */
    DOCKER_FENCE_WAIT,     /* send nothing; an event or QUIET comes */
    DOCKER_FENCE_DONE,     /* see verdict */
};

enum docker_event {
    DOCKER_EVENT_CREATE,
    DOCKER_EVENT_SEAL,
    DOCKER_EVENT_START,
    DOCKER_EVENT_DIE,
    DOCKER_EVENT_DESTROY,
    DOCKER_EVENT_OTHER
};

enum docker_fact_kind {
    DOCKER_FACT_OPENED,  /* answers OPEN_EVENTS */
    DOCKER_FACT_EVENT,   /* at any time while the stream is open: event, at_ms, exit_code of die (-1: none) */
    DOCKER_FACT_DROPPED, /* at any time while the stream is open: an event could not be read */
    DOCKER_FACT_CLOSED,  /* at any time while the stream is open: it ended or broke */
    DOCKER_FACT_STATE,   /* answers INSPECT: status, and state when it is 200 */
    DOCKER_FACT_SEALED,  /* answers SEAL: status */
    DOCKER_FACT_REMOVED, /* answers REMOVE: status */
    DOCKER_FACT_CHANGES, /* answers CHANGES: status, and witness when it is 200 */
    DOCKER_FACT_BOOT_ID, /* answers BOOT: text, NULL when not known */
    DOCKER_FACT_IDENTITY,    /* answers IDENTITY: text, NULL when not known */
    DOCKER_FACT_QUIET,       /* answers WAIT */
    DOCKER_FACT_UNREACHABLE, /* answers any request: no answer, or an invalid one; text */
};

struct docker_fact {
    enum docker_fact_kind kind;
    int status; /* of HTTP */
    const struct docker_state *state;
    bool witness;
    enum docker_event event;
    int64_t at_ms;
    int exit_code;
    const char *text; /* an error's text; the boot identity; the engine's identity */
};

/* As ENGINE_FENCE answers. */
struct docker_verdict {
    enum engine_event event;
    int64_t started_ms, at_ms;
    int exit_code;
    char text[DOCKER_TEXT_MAX + 256];
};

struct docker_fence {
    enum docker_fence_want want;
    struct docker_verdict verdict; /* when want is DONE */

    /* the rest is the machine's own */
    bool may_have_run;
    char boot_id[DOCKER_BOOT_ID_MAX];
    char identity[ENGINE_IDENTITY_MAX]; /* "": not known */
    bool identified;                    /* since it was found gone the engine has told that */
    bool stream_open;
    bool create_seen, seal_seen, destroy_seen; /* on the stream that is open */
    bool dropped;                              /* likewise: what it does not tell proves nothing */
    bool start_seen, die_seen;                 /* ever: a stream that breaks does not undo them */
    int64_t start_ms, die_ms;
    int die_code;
    enum { DOCKER_AWAITS_NOTHING, DOCKER_AWAITS_SEAL, DOCKER_AWAITS_DESTROY } awaits; /* in WAIT: an event */
    char seal_text[DOCKER_TEXT_MAX]; /* why the last seal was refused */
    bool seal_failed;                /* by an error of the engine */
    int unsealed;                    /* so often */
    bool removed;                    /* by this fence, and the stream has lasted */
    int rounds, looks;
    struct docker_state state; /* the last one */
};

/* may_have_run: false only when it is certain that no start request was ever sent, by anybody. boot: the
 * identity of the host at prepare, NULL when not known; identity: the engine's then, NULL likewise. Then look at
 * fence->want. */
void docker_fence_init(struct docker_fence *fence, bool may_have_run, const char *boot_id,
                       const char *identity);

/* True: look at fence->want, there is something new to do. False: go on waiting for what was wanted. */
bool docker_fence_tell(struct docker_fence *fence, const struct docker_fact *fact);
