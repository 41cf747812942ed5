/* The fence of the docker engine: tables of single paths, and a search through every interleaving of a small
 * engine that crashes, forgets, starts, ends and loses its host at the worst moments, around the shipped step
 * function. */
#include "jobs/engine/docker_fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- single paths ---- */

#define BOOT_A "kernel=a engine=1.1"
#define STEPS  16

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
     .event = ENGINE_REFUSED, .exit_code = 128, .part = "error mounting"},
    {"the shim died: it may have been executed", .steps = {OPENED, STATE(shim_died), WITNESS, END},
     .event = ENGINE_UNKNOWN, .exit_code = -1, .part = "transport is closing"},
    {"a start that failed before the runtime", .steps = {OPENED, STATE(shim_died), SEALED(200), END},
     .event = ENGINE_REFUSED, .exit_code = 128, .part = "transport is closing"},
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

static void walk(const struct path *p)
{
    struct docker_fence f;
    docker_fence_init(&f, !p->certainly_not_sent, p->boot, p->identity);
    for (size_t i = 0; i < STEPS && f.want != DOCKER_FENCE_DONE && p->steps[i].want != DOCKER_FENCE_DONE;
         i++) {
        if (p->steps[i].want != f.want)
            fail_msg("%s: step %zu wants %s, expected %s", p->name, i, docker_fence_want_name(f.want),
                     docker_fence_want_name(p->steps[i].want));
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

/* ---- every interleaving ---- */

/* One container, one fence, at most one start request that may arrive at any time or never. The engine's lock
 * is held from the start's begin to its state write, but nothing here rests on it: the file system decides
 * between the witness and the seal. */
enum phase { IDLE, LOCKED, MOUNTED /* the witness is there */, EXECUTED /* not yet written down */ };

#define RING_MAX  8
#define QUEUE_MAX 10

struct world {
    struct docker_fence fence;
    /* the engine */
    unsigned char up, exists, status, started, failed, witness, sealed, phase, ran, boot, start_to_come;
    unsigned char ring[RING_MAX], ring_len;
    /* the stream: opened, then (later) subscribed */
    unsigned char stream, subscribed, queue[QUEUE_MAX], queue_len, stream_broke;
    /* the request under way: not yet seen by the engine, or its answer on the way */
    unsigned char asked, answered, answer_lost;
    struct docker_fact answer;
    struct docker_state answer_state;
    /* what may still go wrong */
    unsigned char crashes, host_crashes, forgets, removals, quiets, refences;
    unsigned char may_have_run;
};

/* The states seen are kept as 128 bits of hash: at a million states a collision is a matter of 1e-26. */
struct mark {
    uint64_t a, b;
};

struct search {
    struct mark *seen; /* open addressing; 0, 0: free */
    size_t size, count;
    struct world *stack;
    size_t depth, stack_size;
    bool no_witness, overwrites; /* broken on purpose: the search must find it */
    size_t verdicts[ENGINE_DONE + 1], wrong;
    const char *first_wrong;
};

static struct mark mark_of(const struct world *w)
{
    struct mark m = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu};
    for (size_t i = 0; i < sizeof(*w) / 8; i++) {
        uint64_t word;
        memcpy(&word, (const char *)w + 8 * i, 8);
        if (word == 0) /* most of it is text that is not there */
            continue;
        word ^= (uint64_t)i << 48;
        m.a = (m.a ^ word) * 0xff51afd7ed558ccdu;
        m.a ^= m.a >> 32;
        m.b = (m.b + word) * 0x9fb21c651e98df25u;
        m.b ^= m.b >> 29;
    }
    m.a |= 1;
    return m;
}

static void push(struct search *s, const struct world *w)
{
    struct mark m = mark_of(w);
    size_t at = m.b & (s->size - 1);
    for (; s->seen[at].a; at = (at + 1) & (s->size - 1))
        if (s->seen[at].a == m.a && s->seen[at].b == m.b)
            return;
    assert_true(s->count < s->size / 2);
    s->seen[at] = m;
    s->count++;
    if (s->depth == s->stack_size) {
        s->stack_size = s->stack_size ? 2 * s->stack_size : 1024;
        s->stack = realloc(s->stack, s->stack_size * sizeof(*s->stack));
        assert_non_null(s->stack);
    }
    s->stack[s->depth++] = *w;
}

static void publish(struct world *w, enum docker_event event)
{
    assert_true(w->ring_len < RING_MAX);
    w->ring[w->ring_len++] = (unsigned char)event;
    if (w->subscribed) {
        assert_true(w->queue_len < QUEUE_MAX);
        w->queue[w->queue_len++] = (unsigned char)event;
    }
}

static void engine_dies(struct world *w)
{
    w->up = 0;
    w->phase =
        IDLE; /* LOCKED, MOUNTED: the process was never executed; EXECUTED: it was, and nobody wrote it down */
    if (w->status == DOCKER_RUNNING)
        w->status = DOCKER_EXITED; /* as its next start will find */
    w->ring_len = 0;
    memset(w->ring, 0, sizeof(w->ring));
    w->subscribed = 0;
    if (w->stream)
        w->stream_broke = 1;
    if (w->asked) {
        w->asked = 0;
        w->answered = w->answer_lost = 1;
    }
}

static void remove_container(struct world *w)
{
    w->exists = 0;
    publish(w, DOCKER_EVENT_DESTROY);
}

/* The engine sees the request that is under way. */
static void serve(const struct search *s, struct world *w)
{
    struct docker_fact a = {0};
    switch (w->fence.want) {
    case DOCKER_FENCE_OPEN_EVENTS:
        a.kind = DOCKER_FACT_OPENED;
        w->stream = 1;
        break;
    case DOCKER_FENCE_INSPECT:
        a.kind = DOCKER_FACT_STATE;
        a.status = w->exists ? 200 : 404;
        memset(&w->answer_state, 0, sizeof(w->answer_state));
        w->answer_state.status = w->status;
        w->answer_state.started_ms = w->started;
        if (w->failed) {
            w->answer_state.exit_code = 127;
            memcpy(w->answer_state.error, "exec", 4);
        }
        break;
    case DOCKER_FENCE_CHANGES:
        a.kind = DOCKER_FACT_CHANGES;
        a.status = w->exists ? 200 : 404;
        a.witness = w->witness;
        break;
    case DOCKER_FENCE_BOOT_ID:
        a.kind = DOCKER_FACT_BOOT_ID;
        a.status = w->boot;
        break;
    case DOCKER_FENCE_SEAL:
        a.kind = DOCKER_FACT_SEALED;
        a.status = !w->exists ? 404 : w->witness && !s->overwrites ? 500 : 200;
        if (a.status == 200) {
            w->sealed = 1;
            publish(w, DOCKER_EVENT_SEAL);
        }
        break;
    default:
        fail();
    }
    w->answer = a;
    w->asked = 0;
    w->answered = 1;
}

static void drop_stream(struct world *w)
{
    w->stream = w->subscribed = w->queue_len = w->stream_broke = 0;
    memset(w->queue, 0, sizeof(w->queue));
}

static void begin(struct world *w)
{
    drop_stream(w);
    docker_fence_init(&w->fence, w->may_have_run, "kernel=a", NULL);
    w->asked = 1;
    w->answered = w->answer_lost = 0;
}

static void tell(struct search *s, const struct world *from, const struct docker_fact *fact);

static void deliver_answer(struct search *s, const struct world *from)
{
    struct world w = *from;
    struct docker_fact fact = w.answer;
    bool lost = w.answer_lost;
    fact.state = &from->answer_state;
    if (fact.kind == DOCKER_FACT_BOOT_ID)
        fact.text = w.boot == 0 ? "kernel=a" : "kernel=b";
    w.answered = w.answer_lost = 0;
    memset(&w.answer, 0, sizeof(w.answer));
    memset(&w.answer_state, 0, sizeof(w.answer_state));
    if (lost)
        fact = (struct docker_fact){.kind = DOCKER_FACT_UNREACHABLE};
    tell(s, &w, &fact);
}

static void expect(struct search *s, bool holds, const char *what)
{
    if (holds)
        return;
    s->wrong++;
    if (!s->first_wrong)
        s->first_wrong = what;
}

/* What must hold whenever the fence has decided. */
static void judge(struct search *s, const struct world *w)
{
    s->verdicts[w->fence.verdict.event]++;
    switch (w->fence.verdict.event) {
    case ENGINE_NEVER_RAN:
        expect(s, w->ran == 0, "NEVER_RAN, and it ran");
        expect(s, w->sealed || !w->exists || !w->start_to_come, "NEVER_RAN, and it may yet be started");
        break;
    case ENGINE_REFUSED:
        expect(s, w->ran == 0, "REFUSED, and it ran");
        expect(s, !w->start_to_come, "REFUSED, and it may yet be started");
        break;
    case ENGINE_STARTED:
    case ENGINE_ENDED:
        expect(s, w->ran == 1, "STARTED, and it never ran");
        break;
    case ENGINE_UNKNOWN:
        expect(s, w->sealed || w->witness || !w->exists || !w->start_to_come,
               "UNKNOWN, and it may yet be started");
        break;
    case ENGINE_UNREACHABLE:
        break;
    default:
        fail();
    }
}

static void tell(struct search *s, const struct world *from, const struct docker_fact *fact)
{
    struct world w = *from;
    bool fresh = docker_fence_tell(&w.fence, fact);
    if (w.fence.want == DOCKER_FENCE_DONE) {
        judge(s, &w);
        if (w.fence.verdict.event == ENGINE_UNREACHABLE && w.refences) { /* the scheduler comes again */
            w.refences--;
            begin(&w);
            push(s, &w);
        }
        return;
    }
    w.fence.rounds = 0; /* the bound is tested elsewhere; here it would only blow up the search */
    if (fresh && w.fence.want != DOCKER_FENCE_WAIT) {
        assert_int_equal(w.asked + w.answered, 0);
        if (w.fence.want == DOCKER_FENCE_OPEN_EVENTS)
            drop_stream(&w);
        w.asked = 1;
    }
    push(s, &w);
}

static void deliver_event(struct search *s, const struct world *from)
{
    struct world w = *from;
    struct docker_fact fact = {.kind = DOCKER_FACT_EVENT, .event = w.queue[0], .at_ms = 1, .exit_code = 0};
    memmove(w.queue, w.queue + 1, QUEUE_MAX - 1);
    w.queue[QUEUE_MAX - 1] = 0;
    w.queue_len--;
    tell(s, &w, &fact);
}

static void deliver_close(struct search *s, const struct world *from)
{
    struct world w = *from;
    w.stream = w.subscribed = w.stream_broke = 0;
    tell(s, &w, &(struct docker_fact){.kind = DOCKER_FACT_CLOSED});
}

#define MAYBE(condition, change)                                                                             \
    do {                                                                                                     \
        if (condition) {                                                                                     \
            struct world w = *from;                                                                          \
            change;                                                                                          \
            push(s, &w);                                                                                     \
        }                                                                                                    \
    } while (0)

static void engine_moves(struct search *s, const struct world *from)
{
    bool up = from->up, idle = from->phase == IDLE;
    bool startable = up && idle && from->exists && from->status == DOCKER_CREATED;
    /* the one start request arrives, or never will */
    MAYBE(from->start_to_come && startable, {
        w.start_to_come = 0;
        w.phase = LOCKED;
    });
    MAYBE(from->phase == LOCKED && !from->sealed, {
        w.witness = !s->no_witness;
        w.phase = MOUNTED;
    });
    MAYBE(from->phase == LOCKED, w.phase = IDLE); /* it fails before its mounts, or meets the seal */
    MAYBE(from->start_to_come && up && !from->exists, w.start_to_come = 0);
    MAYBE(from->start_to_come, w.start_to_come = 0);
    MAYBE(from->phase == MOUNTED, {
        w.phase = EXECUTED;
        w.ran = 1;
    });
    MAYBE(from->phase == MOUNTED, {
        w.phase = IDLE;
        w.failed = 1;
    });
    MAYBE(from->phase == EXECUTED, {
        w.phase = IDLE;
        w.status = DOCKER_RUNNING;
        w.started = 1;
        publish(&w, DOCKER_EVENT_START);
    });
    MAYBE(up && from->exists && from->status == DOCKER_RUNNING, {
        w.status = DOCKER_EXITED;
        publish(&w, DOCKER_EVENT_DIE);
    });
    MAYBE(from->asked && up, serve(s, &w));
    MAYBE(from->stream && !from->subscribed && up && !from->stream_broke, {
        w.subscribed = 1;
        memcpy(w.queue, w.ring, w.ring_len);
        w.queue_len = w.ring_len;
    });
    MAYBE(!up, w.up = 1);
}

static void things_go_wrong(struct search *s, const struct world *from)
{
    MAYBE(from->up && from->crashes, {
        w.crashes--;
        engine_dies(&w);
    });
    MAYBE(from->host_crashes, {
        w.host_crashes--;
        engine_dies(&w);
        w.boot = 1;
        /* They were never synced. A start that met the seal died with the host; one that is sent only after
         * all this, by a leader that was deposed long ago, is a matter of its lease. */
        w.start_to_come &= !w.sealed;
        w.witness = w.sealed = 0;
    });
    /* not between a stream's headers and its subscription: 256 events do not happen in those microseconds */
    MAYBE(from->forgets && from->ring_len && (!from->stream || from->subscribed), {
        w.forgets--;
        w.ring_len = 0;
        memset(w.ring, 0, sizeof(w.ring));
    });
    MAYBE(from->removals && from->up && from->phase == IDLE && from->exists && from->status != DOCKER_RUNNING,
          {
              w.removals--;
              remove_container(&w);
          });
    MAYBE(from->asked && !from->up, { /* connection refused */
                                      w.asked = 0;
                                      w.answered = w.answer_lost = 1;
    });
}

static void expand(struct search *s, const struct world *from)
{
    engine_moves(s, from);
    things_go_wrong(s, from);
    if (from->answered)
        deliver_answer(s, from);
    if (from->queue_len)
        deliver_event(s, from);
    else if (from->stream_broke)
        deliver_close(s, from);
    if (from->fence.want == DOCKER_FENCE_WAIT && from->quiets) {
        struct world w = *from;
        w.quiets--;
        tell(s, &w, &(struct docker_fact){.kind = DOCKER_FACT_QUIET});
    }
}

static void search(struct search *s, const struct world *adversity)
{
    struct world w;
    memset(&w, 0, sizeof(w)); /* padding counts in the hash */
    w = *adversity;
    w.up = w.exists = 1;
    w.start_to_come = w.may_have_run;
    w.ring[w.ring_len++] = DOCKER_EVENT_CREATE;
    begin(&w);
    s->size = 1u << 23;
    s->seen = calloc(s->size, sizeof(*s->seen));
    assert_non_null(s->seen);
    push(s, &w);
    while (s->depth > 0) {
        w = s->stack[--s->depth];
        expand(s, &w);
    }
    free(s->seen);
    free(s->stack);
}

static void no_interleaving_makes_it_lie(void **state)
{
    static const struct world adversities[] = {
        {.may_have_run = 1, .crashes = 2, .forgets = 1, .quiets = 2, .refences = 1},
        {.may_have_run = 1, .crashes = 1, .removals = 1, .forgets = 1, .quiets = 2},
        {.may_have_run = 1, .host_crashes = 1, .forgets = 1, .quiets = 2, .refences = 1},
        {.may_have_run = 1, .crashes = 1, .host_crashes = 1, .quiets = 2},
        {.may_have_run = 1,
         .crashes = 1,
         .quiets = DOCKER_FENCE_LOOKS_MAX + 2}, /* looks at a witness to the end */
        {.may_have_run = 0,
         .crashes = 2,
         .host_crashes = 1,
         .removals = 1,
         .forgets = 1,
         .quiets = 2,
         .refences = 1},
    };
    size_t verdicts[ENGINE_DONE + 1] = {0};
    for (size_t i = 0; i < COUNT(adversities); i++) {
        struct search s = {0};
        search(&s, &adversities[i]);
        print_message("# %zu states\n", s.count);
        if (s.wrong)
            fail_msg("%zu: %s (%zu times)", i, s.first_wrong, s.wrong);
        for (size_t v = 0; v < COUNT(verdicts); v++)
            verdicts[v] += s.verdicts[v];
    }
    /* and it is not silent about everything: each verdict is reached */
    assert_true(verdicts[ENGINE_NEVER_RAN] && verdicts[ENGINE_STARTED] && verdicts[ENGINE_ENDED] &&
                verdicts[ENGINE_REFUSED] && verdicts[ENGINE_UNKNOWN] && verdicts[ENGINE_UNREACHABLE]);
}

static void without_faults_nothing_is_unknown(void **state)
{
    static const struct world calm = {.may_have_run = 1, .quiets = 0};
    struct search s = {0};
    search(&s, &calm);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.verdicts[ENGINE_UNKNOWN], 0);
}

static void the_search_finds_what_is_broken_on_purpose(void **state)
{
    static const struct world adversity = {.may_have_run = 1, .crashes = 1, .forgets = 1, .quiets = 2};
    struct search no_witness = {.no_witness = true}, overwrites = {.overwrites = true};
    search(&no_witness, &adversity);
    assert_true(no_witness.wrong > 0);
    search(&overwrites, &adversity);
    assert_true(overwrites.wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_paths),
        cmocka_unit_test(times_come_from_the_engine),
        cmocka_unit_test(it_always_ends),
        cmocka_unit_test(boots),
        cmocka_unit_test(no_interleaving_makes_it_lie),
        cmocka_unit_test(without_faults_nothing_is_unknown),
        cmocka_unit_test(the_search_finds_what_is_broken_on_purpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
