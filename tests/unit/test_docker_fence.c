/* The fence of the docker engine: tables of single paths. Every interleaving is in test_docker_fence_search.c. */
#include "jobs/engine/docker_fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define BOOT_A "kernel=a engine=1.1"
#define STEPS  20

struct step {
    enum docker_fence_want want; /* wanted before the fact is told */
    struct docker_fact fact;
};

#define OPENED                                                                                               \
    {                                                                                                        \
        DOCKER_FENCE_OPEN_EVENTS,                                                                            \
        {                                                                                                    \
            .kind = DOCKER_FACT_OPENED                                                                       \
        }                                                                                                    \
    }
#define STATE(s)                                                                                             \
    {                                                                                                        \
        DOCKER_FENCE_INSPECT,                                                                                \
        {                                                                                                    \
            .kind = DOCKER_FACT_STATE, .status = 200, .state = &(s)                                          \
        }                                                                                                    \
    }
#define STATUS(code)                                                                                         \
    {                                                                                                        \
        DOCKER_FENCE_INSPECT,                                                                                \
        {                                                                                                    \
            .kind = DOCKER_FACT_STATE, .status = (code), .text = "oops"                                      \
        }                                                                                                    \
    }
#define CHANGES(w)                                                                                           \
    {                                                                                                        \
        DOCKER_FENCE_CHANGES,                                                                                \
        {                                                                                                    \
            .kind = DOCKER_FACT_CHANGES, .status = 200, .witness = (w)                                       \
        }                                                                                                    \
    }
#define CHANGES_CODE(code)                                                                                   \
    {                                                                                                        \
        DOCKER_FENCE_CHANGES,                                                                                \
        {                                                                                                    \
            .kind = DOCKER_FACT_CHANGES, .status = (code)                                                    \
        }                                                                                                    \
    }
#define IDENTITY(i)                                                                                          \
    {                                                                                                        \
        DOCKER_FENCE_IDENTITY,                                                                               \
        {                                                                                                    \
            .kind = DOCKER_FACT_IDENTITY, .text = (i)                                                        \
        }                                                                                                    \
    }
#define BOOT(b)                                                                                              \
    {                                                                                                        \
        DOCKER_FENCE_BOOT_ID,                                                                                \
        {                                                                                                    \
            .kind = DOCKER_FACT_BOOT_ID, .text = (b)                                                         \
        }                                                                                                    \
    }
#define SEALED(code)                                                                                         \
    {                                                                                                        \
        DOCKER_FENCE_SEAL,                                                                                   \
        {                                                                                                    \
            .kind = DOCKER_FACT_SEALED, .status = (code), .text = "no seal"                                  \
        }                                                                                                    \
    }
#define REMOVED(code)                                                                                        \
    {                                                                                                        \
        DOCKER_FENCE_REMOVE,                                                                                 \
        {                                                                                                    \
            .kind = DOCKER_FACT_REMOVED, .status = (code), .text = "no removal"                              \
        }                                                                                                    \
    }
#define QUIET                                                                                                \
    {                                                                                                        \
        DOCKER_FENCE_WAIT,                                                                                   \
        {                                                                                                    \
            .kind = DOCKER_FACT_QUIET                                                                        \
        }                                                                                                    \
    }
#define DURING(w, e)                                                                                         \
    {                                                                                                        \
        (w),                                                                                                 \
        {                                                                                                    \
            .kind = DOCKER_FACT_EVENT, .event = (e), .at_ms = 5000, .exit_code = 3                           \
        }                                                                                                    \
    }
#define CLOSED(w)                                                                                            \
    {                                                                                                        \
        (w),                                                                                                 \
        {                                                                                                    \
            .kind = DOCKER_FACT_CLOSED                                                                       \
        }                                                                                                    \
    }
#define DROPPED(w)                                                                                           \
    {                                                                                                        \
        (w),                                                                                                 \
        {                                                                                                    \
            .kind = DOCKER_FACT_DROPPED                                                                      \
        }                                                                                                    \
    }
#define LOST(w)                                                                                              \
    {                                                                                                        \
        (w),                                                                                                 \
        {                                                                                                    \
            .kind = DOCKER_FACT_UNREACHABLE, .text = "connection refused"                                    \
        }                                                                                                    \
    }
#define END                                                                                                  \
    {                                                                                                        \
        DOCKER_FENCE_DONE,                                                                                   \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }

static const struct docker_state created = {.status = DOCKER_CREATED};
static const struct docker_state removing = {.status = DOCKER_REMOVING};
static const struct docker_state running = {.status = DOCKER_RUNNING, .started_ms = 1000};
static const struct docker_state paused = {.status = DOCKER_PAUSED, .started_ms = 1000};
static const struct docker_state exited = {.status = DOCKER_EXITED, .started_ms = 1000, .finished_ms = 2000};
static const struct docker_state dead_started = {
    .status = DOCKER_DEAD, .started_ms = 1000, .finished_ms = 2000};
static const struct docker_state not_found = {
    .status = DOCKER_CREATED,
    .exit_code = 127,
    .error = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
             "container "
             "process: exec: \"nosuch\": executable file not found in $PATH: unknown"};
static const struct docker_state not_allowed = {
    .status = DOCKER_CREATED, .exit_code = 126, .error = "exec: \"/etc\": permission denied: unknown"};
static const struct docker_state not_made = {
    .status = DOCKER_CREATED,
    .exit_code = 128,
    .error = "failed to create shim task: OCI runtime create failed: error mounting \"x\": unknown"};
/* as dockerd 20.10 says it, and older runtimes */
static const struct docker_state folder_on_file = {
    .status = DOCKER_CREATED,
    .exit_code = 127,
    .error = "OCI runtime create failed: runc create failed: unable to start container process: error during "
             "container init: error mounting \"/srv/x\" to rootfs at \"/etc/hosts\": not a directory: "
             "unknown: Are "
             "you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
             "exists"};
static const struct docker_state not_mounted = {
    .status = DOCKER_CREATED,
    .exit_code = 128,
    .error = "error while mounting volume '/var/lib/docker/volumes/v/_data': failed to mount local volume: "
             "no such file"};
static const struct docker_state shim_died = {
    .status = DOCKER_CREATED, .exit_code = 128, .error = "transport is closing: unavailable"};

struct path {
    const char *name;
    bool certainly_not_sent;
    const char *boot;
    const char *identity;
    struct step steps[STEPS];
    enum engine_event event;
    int exit_code;
    const char *part; /* of the text */
};

#define CREATE_REPLAYED DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_CREATE)
#define SEAL_SEEN       DURING(DOCKER_FENCE_WAIT, DOCKER_EVENT_SEAL)
#define DESTROY         DURING(DOCKER_FENCE_WAIT, DOCKER_EVENT_DESTROY)
#define WITNESS         SEALED(500), CHANGES(true)
#define UNSEALED(s)     STATE(s), SEALED(500), CHANGES(false)
#define GOING           DURING(DOCKER_FENCE_REMOVE, DOCKER_EVENT_DESTROY)

static const struct path paths[] = {
    {"never ran, and the host is the same", .boot = BOOT_A,
     .steps = {OPENED, STATE(created), SEALED(200), BOOT("kernel=a"), END}, .event = ENGINE_NEVER_RAN,
     .exit_code = -1, .part = "not restarted"},
    {"never ran, the host is not known, the whole life was seen", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), SEALED(200), BOOT(NULL), SEAL_SEEN, END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1, .part = "has run without a restart"},
    {"the event of the seal may come first", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), DURING(DOCKER_FENCE_SEAL, DOCKER_EVENT_SEAL),
               SEALED(200), BOOT(NULL), END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1, .part = "has run without a restart"},
    {"an older seal's event is no proof for this one", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_SEAL), STATE(created),
               SEALED(200), BOOT(NULL), SEAL_SEEN, END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1},
    {"another boot, the events are forgotten: the witness may be lost", .boot = BOOT_A,
     .steps = {OPENED, STATE(created), SEALED(200), BOOT("kernel=b engine=1.2"), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "may have restarted"},
    {"boot not known now", .boot = BOOT_A, .steps = {OPENED, STATE(created), SEALED(200), BOOT(NULL), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "may have restarted"},
    {"boot not known then", .boot = NULL, .steps = {OPENED, STATE(created), SEALED(200), BOOT(BOOT_A), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "may have restarted"},
    {"another boot is of no interest when no start was sent", true, BOOT_A,
     .steps = {OPENED, STATE(created), SEALED(200), END}, .event = ENGINE_NEVER_RAN, .exit_code = -1,
     .part = "no start was ever sent"},
    {"running", .steps = {OPENED, STATE(running), END}, .event = ENGINE_STARTED, .exit_code = -1},
    {"paused by somebody", .steps = {OPENED, STATE(paused), END}, .event = ENGINE_STARTED, .exit_code = -1},
    {"exited", .steps = {OPENED, STATE(exited), END}, .event = ENGINE_STARTED, .exit_code = -1},
    {"dead after a run", .steps = {OPENED, STATE(dead_started), END}, .event = ENGINE_STARTED,
     .exit_code = -1},
    {"it started between the look and the seal", .boot = BOOT_A,
     .steps = {OPENED, STATE(created), WITNESS, QUIET, STATE(running), END}, .event = ENGINE_STARTED,
     .exit_code = -1},
    {"its start event while waiting brings the look forward",
     .steps = {OPENED, STATE(created), WITNESS, DURING(DOCKER_FENCE_WAIT, DOCKER_EVENT_START), STATE(running),
               END},
     .event = ENGINE_STARTED, .exit_code = -1},
    {"a start is told, and no file of it: nonsense", .boot = BOOT_A,
     .steps = {OPENED, STATE(created), DURING(DOCKER_FENCE_SEAL, DOCKER_EVENT_START), SEALED(200), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "report a start"},
    {"a start is told after the seal: nonsense too", .boot = BOOT_A,
     .steps = {OPENED, STATE(created), SEALED(200), DURING(DOCKER_FENCE_BOOT_ID, DOCKER_EVENT_START),
               BOOT(BOOT_A), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "report a start"},
    {"a start in progress: witness, and not yet started",
     .steps = {OPENED, STATE(created), WITNESS, QUIET, STATE(running), END}, .event = ENGINE_STARTED,
     .exit_code = -1},
    {"the engine died in mid-start",
     .steps = {OPENED, STATE(created), WITNESS, QUIET, STATE(created), WITNESS,
               DURING(DOCKER_FENCE_WAIT, DOCKER_EVENT_OTHER), QUIET, STATE(created), WITNESS, QUIET, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "middle of the start"},
    /* was said to be lost after four seconds, on a busy machine */
    {"a slow start by an engine that has not died",
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), WITNESS, QUIET, STATE(created), WITNESS, QUIET, END},
     .event = ENGINE_UNREACHABLE, .exit_code = -1, .part = "in progress"},
    {"command not found, with witness", .steps = {OPENED, STATE(not_found), WITNESS, END},
     .event = ENGINE_REFUSED, .exit_code = 127, .part = "not found in the image"},
    {"command not found, without", .steps = {OPENED, STATE(not_found), SEALED(200), END},
     .event = ENGINE_REFUSED, .exit_code = 127, .part = "exec: \"nosuch\""},
    {"command cannot be executed", .steps = {OPENED, STATE(not_allowed), WITNESS, END},
     .event = ENGINE_REFUSED, .exit_code = 126, .part = "cannot be executed"},
    {"the runtime could not make it", .steps = {OPENED, STATE(not_made), WITNESS, END},
     .event = ENGINE_REFUSED, .exit_code = -1, .part = "error mounting"},
    {"a folder on a file: no command is missing", .steps = {OPENED, STATE(folder_on_file), WITNESS, END},
     .event = ENGINE_REFUSED, .exit_code = -1,
     .part = "a volume cannot be mounted in the container: error during"},
    {"the shim died: it may have been executed", .steps = {OPENED, STATE(shim_died), WITNESS, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "transport is closing"},
    {"a start that failed before the runtime", .steps = {OPENED, STATE(shim_died), SEALED(200), END},
     .event = ENGINE_REFUSED, .exit_code = -1, .part = "transport is closing"},
    {"a volume cannot be mounted: not for the start, not for the seal", .boot = BOOT_A,
     .steps = {OPENED, UNSEALED(not_mounted), QUIET, UNSEALED(not_mounted), QUIET, UNSEALED(not_mounted),
               REMOVED(204), DESTROY, END},
     .event = ENGINE_REFUSED, .exit_code = -1, .part = "error while mounting volume"},
    {"the same, with its witness in a volume", .boot = BOOT_A,
     .steps = {OPENED, STATE(not_mounted), SEALED(500), CHANGES_CODE(500), QUIET, STATE(not_mounted),
               SEALED(500), CHANGES_CODE(500), QUIET, STATE(not_mounted), SEALED(500), CHANGES_CODE(500),
               GOING, REMOVED(204), END},
     .event = ENGINE_REFUSED, .exit_code = -1, .part = "error while mounting volume"},
    {"it cannot be sealed, and no start has failed", .boot = BOOT_A,
     .steps = {OPENED, UNSEALED(created), QUIET, UNSEALED(created), QUIET, UNSEALED(created), GOING,
               REMOVED(204), BOOT(BOOT_A), END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1, .part = "was removed without a start witness"},
    {"the same, on another boot: the witness may be lost", .boot = BOOT_A,
     .steps = {OPENED, UNSEALED(created), QUIET, UNSEALED(created), QUIET, UNSEALED(created), GOING,
               REMOVED(204), BOOT("kernel=b"), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "may have restarted"},
    {"it cannot be sealed, and is started before it is removed", .boot = BOOT_A,
     .steps = {OPENED, UNSEALED(created), QUIET, UNSEALED(created), QUIET, UNSEALED(created), REMOVED(409),
               QUIET, STATE(running), END},
     .event = ENGINE_STARTED, .exit_code = -1},
    {"it cannot be sealed, and ran before it was removed",
     .steps = {OPENED, UNSEALED(created), QUIET, UNSEALED(created), QUIET, UNSEALED(created),
               DURING(DOCKER_FENCE_REMOVE, DOCKER_EVENT_START), DURING(DOCKER_FENCE_REMOVE, DOCKER_EVENT_DIE),
               GOING, REMOVED(204), END},
     .event = ENGINE_ENDED, .exit_code = 3},
    {"gone, its whole life is remembered", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, STATUS(404), DESTROY, END}, .event = ENGINE_NEVER_RAN,
     .exit_code = -1, .part = "found removed"},
    {"gone, and an event of its life could not be read", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, DROPPED(DOCKER_FENCE_INSPECT), STATUS(404), DESTROY, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "neither"},
    {"gone, and an event before its creation could not be read", .boot = NULL,
     .steps = {OPENED, DROPPED(DOCKER_FENCE_INSPECT), CREATE_REPLAYED, STATUS(404), DESTROY, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "neither"},
    {"gone, removal in progress seen first",
     .steps = {OPENED, CREATE_REPLAYED, STATE(removing), SEALED(404),
               DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_DESTROY), STATUS(404), END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1},
    {"gone, and it ran",
     .steps = {OPENED, DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_START),
               DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_DIE), STATUS(404), DESTROY, END},
     .event = ENGINE_ENDED, .exit_code = 3},
    {"gone, it ran, its end is forgotten",
     .steps = {OPENED, DURING(DOCKER_FENCE_INSPECT, DOCKER_EVENT_START), STATUS(404), QUIET, END},
     .event = ENGINE_ENDED, .exit_code = -1, .part = "not of its end"},
    {"gone without a trace", .boot = BOOT_A, .steps = {OPENED, STATUS(404), QUIET, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "neither"},
    {"gone, only its removal is remembered", .boot = BOOT_A, .steps = {OPENED, STATUS(404), DESTROY, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1},
    {"gone without a trace, no start was sent", true, .steps = {OPENED, STATUS(404), QUIET, END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1, .part = "no start was ever sent"},
    {"gone, by the engine that made it", .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, IDENTITY("a"), END}, .event = ENGINE_UNKNOWN, .exit_code = -1,
     .part = "neither"},
    {"gone, by another engine", .boot = BOOT_A, .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, IDENTITY("b"), END}, .event = ENGINE_UNREACHABLE, .exit_code = -1,
     .part = "this is another engine (b), the attempt was prepared on a"},
    {"gone, by another engine, and no start was sent", true, .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, IDENTITY("b"), END}, .event = ENGINE_UNREACHABLE, .exit_code = -1},
    {"gone, by an engine that does not tell which one it is", true, .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, IDENTITY(NULL), END}, .event = ENGINE_UNREACHABLE, .exit_code = -1,
     .part = "cannot tell"},
    {"gone, and no answer about the identity", true, .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, LOST(DOCKER_FENCE_IDENTITY), END}, .event = ENGINE_UNREACHABLE,
     .exit_code = -1, .part = "connection refused"},
    {"gone, and the stream breaks while the identity is read: maybe another engine by now", true,
     .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, CLOSED(DOCKER_FENCE_IDENTITY), IDENTITY("a"), OPENED, STATUS(404),
               QUIET, IDENTITY("b"), END},
     .event = ENGINE_UNREACHABLE, .exit_code = -1, .part = "another engine"},
    {"gone, and its start is told while the identity is read", .identity = "a",
     .steps = {OPENED, STATUS(404), QUIET, DURING(DOCKER_FENCE_IDENTITY, DOCKER_EVENT_START), IDENTITY("a"),
               END},
     .event = ENGINE_ENDED, .exit_code = -1},
    {"the stream breaks while the seal is under way: it is done again", .boot = BOOT_A,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), CLOSED(DOCKER_FENCE_SEAL), SEALED(200), OPENED,
               STATE(created), SEALED(200), BOOT(BOOT_A), END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1},
    {"the stream breaks before the event of the seal", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), SEALED(200), CLOSED(DOCKER_FENCE_BOOT_ID), BOOT(NULL),
               OPENED, STATE(created), SEALED(200), BOOT(NULL), END},
     .event = ENGINE_UNKNOWN, .exit_code = -1},
    {"no event of the seal: it is looked at again", .boot = NULL,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), SEALED(200), BOOT(NULL), QUIET, STATE(created),
               SEALED(200), BOOT(NULL), SEAL_SEEN, END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1},
    {"an engine that died in between has forgotten the start: no proof by silence", .boot = BOOT_A,
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), CLOSED(DOCKER_FENCE_SEAL), SEALED(500), OPENED,
               STATE(created), WITNESS, QUIET, STATE(exited), END},
     .event = ENGINE_STARTED, .exit_code = -1},
    {"somebody removes it first",
     .steps = {OPENED, CREATE_REPLAYED, STATE(created), SEALED(404), STATUS(404), DESTROY, END},
     .event = ENGINE_NEVER_RAN, .exit_code = -1},
    {"an error, then all is well",
     .steps = {OPENED, STATUS(500), QUIET, STATE(created), SEALED(500), CHANGES_CODE(500), QUIET,
               STATE(running), END},
     .event = ENGINE_STARTED, .exit_code = -1},
    {"the stream cannot be opened", .steps = {LOST(DOCKER_FENCE_OPEN_EVENTS), END},
     .event = ENGINE_UNREACHABLE, .exit_code = -1, .part = "connection refused"},
    {"no answer to inspect", .steps = {OPENED, LOST(DOCKER_FENCE_INSPECT), END}, .event = ENGINE_UNREACHABLE,
     .exit_code = -1},
    {"no answer to the seal", .steps = {OPENED, STATE(created), LOST(DOCKER_FENCE_SEAL), END},
     .event = ENGINE_UNREACHABLE, .exit_code = -1},
};

static const char *want_name(enum docker_fence_want what)
{
    static const char *const names[] = {
        [DOCKER_FENCE_OPEN_EVENTS] = "open-events",
        [DOCKER_FENCE_INSPECT] = "inspect",
        [DOCKER_FENCE_CHANGES] = "changes",
        [DOCKER_FENCE_BOOT_ID] = "boot",
        [DOCKER_FENCE_IDENTITY] = "identity",
        [DOCKER_FENCE_SEAL] = "seal",
        [DOCKER_FENCE_REMOVE] = "remove",
        [DOCKER_FENCE_WAIT] = "wait",
        [DOCKER_FENCE_DONE] = "done",
    };

    return names[what];
}

static void walk(const struct path *p)
{
    struct docker_fence f;
    docker_fence_init(&f, !p->certainly_not_sent, p->boot, p->identity);
    for (size_t i = 0; i < STEPS && f.want != DOCKER_FENCE_DONE && p->steps[i].want != DOCKER_FENCE_DONE;
         i++) {
        if (p->steps[i].want != f.want)
            fail_msg("%s: step %zu wants %s, expected %s", p->name, i, want_name(f.want),
                     want_name(p->steps[i].want));
        docker_fence_tell(&f, &p->steps[i].fact);
    }
    if (f.want != DOCKER_FENCE_DONE) /* "the engine died in mid-start" ends after more looks than fit a row */
        for (int i = 0; f.want != DOCKER_FENCE_DONE; i++) {
            static const struct step more[] = {STATE(created), WITNESS, QUIET};
            assert_int_equal(f.want, more[i % 4].want);
            docker_fence_tell(&f, &more[i % 4].fact);
        }
    if (f.verdict.event != p->event || f.verdict.exit_code != p->exit_code)
        fail_msg("%s: %d (exit code %d): %s", p->name, f.verdict.event, f.verdict.exit_code, f.verdict.text);
    if (p->part && !strstr(f.verdict.text, p->part))
        fail_msg("%s: '%s' lacks '%s'", p->name, f.verdict.text, p->part);
    assert_string_not_equal(f.verdict.text, "");
}

static void single_paths(void **state)
{
    for (size_t i = 0; i < COUNT(paths); i++)
        walk(&paths[i]);
}

static void times_come_from_the_engine(void **state)
{
    struct docker_fence f;
    docker_fence_init(&f, true, NULL, NULL);
    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_OPENED});
    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_STATE, .status = 200, .state = &running});
    assert_int_equal(f.verdict.started_ms, 1000);

    docker_fence_init(&f, true, NULL, NULL);
    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_OPENED});
    docker_fence_tell(
        &f, &(struct docker_fact){.kind = DOCKER_FACT_EVENT, .event = DOCKER_EVENT_START, .at_ms = 10});
    docker_fence_tell(&f,
                      &(struct docker_fact){
                          .kind = DOCKER_FACT_EVENT, .event = DOCKER_EVENT_DIE, .at_ms = 20, .exit_code = 9});
    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_EVENT, .event = DOCKER_EVENT_DESTROY});
    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_STATE, .status = 404});
    assert_int_equal(f.verdict.event, ENGINE_ENDED);
    assert_int_equal(f.verdict.started_ms, 10);
    assert_int_equal(f.verdict.at_ms, 20);
}

/* An engine that answers nothing but nonsense, in every way: the machine ends all the same. */
static void it_always_ends(void **state)
{
    for (int manner = 0; manner < 4; manner++) {
        struct docker_fence f;
        int steps = 0;
        docker_fence_init(&f, true, BOOT_A, NULL);
        while (f.want != DOCKER_FENCE_DONE) {
            struct docker_fact fact = {.status = manner == 2 ? 409 : 500, .state = &created};
            assert_true(++steps < 1000);
            switch (f.want) {
            case DOCKER_FENCE_OPEN_EVENTS:
                fact.kind = DOCKER_FACT_OPENED;
                break;
            case DOCKER_FENCE_INSPECT:
                if (manner == 1)
                    docker_fence_tell(&f, &(struct docker_fact){.kind = DOCKER_FACT_CLOSED});
                fact.kind = DOCKER_FACT_STATE;
                fact.status = manner == 0 ? 500 : 200;
                break;
            case DOCKER_FENCE_CHANGES:
                fact.kind = DOCKER_FACT_CHANGES;
                fact.status = manner == 3 ? 404 : 200;
                break;
            case DOCKER_FENCE_BOOT_ID:
                fact.kind = DOCKER_FACT_BOOT_ID;
                break;
            case DOCKER_FENCE_SEAL:
                fact.kind = DOCKER_FACT_SEALED;
                break;
            default:
                fact.kind = DOCKER_FACT_QUIET;
                break;
            }
            if (f.want != DOCKER_FENCE_DONE)
                docker_fence_tell(&f, &fact);
        }
        assert_int_equal(f.verdict.event, ENGINE_UNREACHABLE);
    }
}

static void boots(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } table[] = {
        {"kernel=a", "kernel=a", true},
        {"kernel=a engine=1", "kernel=a engine=2", true}, /* the engine restarted, its host did not */
        {"kernel=a engine=1", "kernel=b engine=1",
         true}, /* reached by another way, the same engine process */
        {"kernel=a", "kernel=b", false},
        {"kernel=a", "kernel=ab", false},
        {"kernel=ab", "kernel=a", false},
        {"kernel=a", "engine=a", false},
        {"engine=a.b", "engine=a.b", true},
        {"engine=a.b", "engine=a.c", false},
        {"kernel=", "kernel=", false},
        {"", "", false},
        {NULL, "kernel=a", false},
        {"kernel=a", NULL, false},
        {NULL, NULL, false},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        if (docker_boot_id_same(table[i].a, table[i].b) != table[i].same)
            fail_msg("'%s' and '%s'", table[i].a ? table[i].a : "-", table[i].b ? table[i].b : "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_paths),
        cmocka_unit_test(times_come_from_the_engine),
        cmocka_unit_test(it_always_ends),
        cmocka_unit_test(boots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
